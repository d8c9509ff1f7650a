/// \file
/// The `main` of every test program, and where its checkout is. A file of tests defines none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "testing.hpp"

namespace calyx::testing {

const std::string vectors = CALYX_TEST_VECTORS;
const std::string runner_helper = CALYX_TEST_RUNNER_HELPER;
const std::string hostile_program = CALYX_TEST_HOSTILE;
const std::string docker_program = CALYX_TEST_DOCKER;

}  // namespace calyx::testing
