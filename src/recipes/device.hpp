/// \file
/// The device as recipes ask for it: whether one answers, and how its absence and its failures are told.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/device.hpp>
#include <string>
#include <string_view>

#include "calyx_kernels/cuda_module.hpp"

namespace calyx::recipes {

/// The `device` that a payload's word stands for: the order of `schema::devices`.
constexpr Device device_of(std::size_t word) noexcept { return static_cast<Device>(word); }

/// The module, whose device answers. Fails: `unsupported`, with `field` in the details, and why no device
/// does.
Result<const kernels::cuda::Module*> device_for(std::string_view field);

/// That a device is of no use for what `field` was asked of.
Error only_on_cpu(std::string_view field, std::string_view what);

/// What a call of the module's came to, which is not `ok`: `stopped`, `no_memory`, `unsupported` (the device
/// is gone) or `io_error` (it failed).
Error device_failed(const kernels::cuda::Module& module, kernels::cuda::Status status);

/// The same where a backend said `Code::no_device`, which does not tell more.
Error device_failed();

}  // namespace calyx::recipes
