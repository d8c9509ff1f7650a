// Money is counted in micro and said so: nothing is added to it unchecked, and no bare number becomes it.
#include <calyx/core/money.hpp>

using namespace calyx;

std::optional<Money> sum(Money a, Money b) { return core::plus(a, b); }

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
#endif
