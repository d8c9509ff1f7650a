/// \file
/// What tests that push a project ask first.
#pragma once

#include <doctest/doctest.h>

#include "archive/archive.hpp"
#include "testing.hpp"

namespace calyx::testing {

/// Whether projects can be pushed at all; told for `test` where they can't.
inline bool pushes(const char* test) {
  if (archive::built()) return true;
  CHECK(may_lack(test, "libarchive-dev"));
  return false;
}

}  // namespace calyx::testing
