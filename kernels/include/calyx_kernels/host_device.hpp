/// \file
/// Two macros for functions that both the host and the device compile: `CALYX_HD` marks one, and
/// `CALYX_HD_APART` one that the device compiles once, since a copy at each call would take it minutes.

#pragma once

#ifdef __CUDACC__
#define CALYX_HD __host__ __device__
#define CALYX_HD_APART __host__ __device__ __noinline__
#else
#define CALYX_HD
#define CALYX_HD_APART
#endif
