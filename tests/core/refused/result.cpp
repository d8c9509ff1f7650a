// What a call came to is looked at: a result is neither dropped nor taken for its value. Time is not money.
#include <calyx/core/money.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>

using namespace calyx;

Result<Money> ask() { return Money{1}; }
Money look() { return ask().value(); }

#if CALYX_WRONG == 1
void wrong() { ask(); }
#elif CALYX_WRONG == 2
Money wrong() { return ask(); }
#elif CALYX_WRONG == 3
bool wrong(Instant at) { return at == Money{1}; }
#endif
