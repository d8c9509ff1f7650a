/// \file
/// One macro: `CALYX_HD` marks a function that both the host and the device compile.

#pragma once

#ifdef __CUDACC__
#define CALYX_HD __host__ __device__
#else
#define CALYX_HD
#endif
