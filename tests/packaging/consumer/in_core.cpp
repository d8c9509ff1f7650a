// The pure rules, without the library.
#include <calyx/core/money.hpp>

int main() { return calyx::Money{} == calyx::Money{} ? 0 : 1; }
