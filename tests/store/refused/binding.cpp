// A statement reads its texts when it steps: one that would be gone by then is not bound, nor is a REAL.
#include "store/database.hpp"

using calyx::store::Statement;

void bind(Statement& statement, const std::string& text) { statement.bind(1, text); }

#if CALYX_WRONG == 1
void wrong(Statement& statement) { statement.bind(1, std::string("gone")); }
#elif CALYX_WRONG == 2
void wrong(Statement& statement) { statement.bind(1, 0.5); }
#endif
