/// \file
/// Macros for functions that both the host and the device compile: `CALYX_HD` marks one; `CALYX_HD_APART` one
/// that the device compiles once, since a copy at each call would take it minutes; `CALYX_HD_HOT` one that
/// the device compiles once and the host never calls, since most of a simulation's time goes there.
///
/// `CALYX_DEVICE_FORM` is 1 where a function that has two forms takes the device's: under the device's
/// compiler, and in a program of the host's that stands for a device and says so (`CALYX_FOR_DEVICE`).

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

#if defined(__CUDACC__) || defined(CALYX_FOR_DEVICE)
#define CALYX_DEVICE_FORM 1
#else
#define CALYX_DEVICE_FORM 0
#endif
