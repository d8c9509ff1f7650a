// What `_flops` must not take: digits that are no amount.
#include <calyx/core/money.hpp>

using namespace calyx;

static_assert(12.40_flops == Money{12'400'000});
#if CALYX_WRONG == 1
constexpr Money too_precise = 0.0000001_flops;
#elif CALYX_WRONG == 2
constexpr Money out_of_range = 8000000000.000001_flops;
#elif CALYX_WRONG == 3
constexpr Money malformed = 0x10_flops;
#endif

int main() { return 0; }
