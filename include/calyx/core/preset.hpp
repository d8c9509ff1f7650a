/// \file
/// Presets: requirements under a name, for who does not want to choose cores and memory by hand.
///
/// Threads: values.
#pragma once

#include <calyx/core/job.hpp>

namespace calyx::core {

/// What a task gets that is submitted with the preset's `requirements`.
struct ResourcePreset {
  std::string_view name;
  std::string_view summary;
  std::int64_t cpu = 0;
  std::int64_t memory_mb = 0;
  std::string_view gpu_type{};  ///< One GPU of this model; empty: none.
  std::int64_t gpu_memory_mb = 0;
};

/// A job may ask for any GPU by its model; these are common ones. Beside each are the cores and memory that a
/// machine with several of them has for one.
inline constexpr ResourcePreset resource_presets[] = {
    {"cpu-small", "One core, for a script", 1, 2048},
    {"cpu-medium", "Four cores, for a parallel program", 4, 16384},
    {"cpu-large", "Sixteen cores, for what needs memory", 16, 65536},
    {"gpu-rtx-4090", "One RTX 4090 with 24 GB", 8, 32768, "RTX 4090", 24576},
    {"gpu-a100", "One A100 with 80 GB", 12, 98304, "A100", 81920},
    {"gpu-h100", "One H100 with 80 GB", 16, 131072, "H100", 81920},
};

inline Requirements requirements_of(const ResourcePreset& preset) {
  Requirements out;
  out.cpu = preset.cpu;
  out.memory_mb = preset.memory_mb;
  out.gpu_count = preset.gpu_type.empty() ? 0 : 1;
  out.gpu_memory_mb = preset.gpu_memory_mb;
  out.gpu_type = preset.gpu_type;
  return out;
}

}  // namespace calyx::core
