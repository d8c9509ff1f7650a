/// \file
/// Macros for functions that both the host and the device compile: `CALYX_HD` marks one; `CALYX_HD_APART` one
/// that the device compiles once, since a copy at each call would take it minutes; `CALYX_HD_HOT` one that
/// the device compiles once and the host never calls, since most of a simulation's time goes there.

#pragma once

#ifdef __CUDACC__
#define CALYX_HD __host__ __device__
#define CALYX_HD_APART __host__ __device__ __noinline__
#define CALYX_HD_HOT __host__ __device__ __noinline__
#else
#define CALYX_HD
#define CALYX_HD_APART
#define CALYX_HD_HOT __attribute__((always_inline)) inline
#endif
