/// \file
/// The version of calyx, once.
#pragma once

#define CALYX_VERSION_MAJOR 0
#define CALYX_VERSION_MINOR 1
#define CALYX_VERSION_PATCH 0
#define CALYX_VERSION "0.1.0"

#if defined(__GNUC__)
#define CALYX_EXPORT __attribute__((visibility("default")))
#else
#define CALYX_EXPORT
#endif
