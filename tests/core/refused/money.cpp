// Money is counted in micro and said so: nothing is added to it unchecked, no bare number becomes it, and
// `_flops` takes no digits that are no amount.
#include <calyx/core/money.hpp>

using namespace calyx;

std::optional<Money> sum(Money a, Money b) { return core::plus(a, b); }
static_assert(12.40_flops == Money{12'400'000});

#if CALYX_WRONG == 1
Money wrong(Money a) { return a + 1; }
#elif CALYX_WRONG == 2
Money wrong(Money a, Money b) { return a + b; }
#elif CALYX_WRONG == 3
Money wrong() { return 5; }
#elif CALYX_WRONG == 4
Money wrong() { return Money{0.5}; }
#elif CALYX_WRONG == 5
std::optional<Money> wrong(Money a) { return core::plus(a, 1); }
#elif CALYX_WRONG == 6
Money wrong(Money a) { return a * 2; }
#elif CALYX_WRONG == 7
constexpr Money too_precise = 0.0000001_flops;
#elif CALYX_WRONG == 8
constexpr Money out_of_range = 8000000000.000001_flops;
#elif CALYX_WRONG == 9
constexpr Money malformed = 0x10_flops;
#endif
