/// \file
/// The `main` of every test program. A file of tests defines none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
