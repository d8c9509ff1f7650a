/// \file
/// What `libcalyx_cuda.so` and the library that loads it agree on: one function, which gives one table.
///
/// Start at `load`. The module is loaded when it is first asked for and never unloaded. It lies beside the
/// library (or the program that was linked with `libcalyx.a`), or where the environment's `CALYX_CUDA_MODULE`
/// says. Nothing here names a type of CUDA, and only the module needs a driver.
///
/// What a call of the table computes is the CPU's result to the bit; `probe` alone measures.
///
/// Threads: any, at any time; the module does one call after the other, and searches beside them. The driver
/// starts threads of its own.

#pragma once

#include <cstddef>
#include <cstdint>

#include "calyx_kernels/bytecode.hpp"
#include "calyx_kernels/packing.hpp"
#include "calyx_kernels/packing_search.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "calyx_kernels/prop_amm_sbpf.hpp"
#include "calyx_kernels/sbpf.hpp"

namespace calyx::kernels::cuda {

/// Grows with every change of what follows; another version is not used.
inline constexpr std::uint32_t module_version = 3;

/// How a call of the table ended. The numbers never change.
enum class Status : std::int32_t {
  ok = 0,
  no_driver = 1,  ///< None is installed, or it is older than the module.
  no_device = 2,
  no_memory = 3,   ///< On the device, or pinned on the host.
  stopped = 4,     ///< As the caller wished.
  no_library = 5,  ///< `libcublas` is not there.
  failed = 6,      ///< The device or its driver said no; `last_error` has its words.
};

/// The device that is used: the first one that the driver shows.
struct Device {
  char name[128];
  std::uint64_t memory_bytes;
  std::uint32_t multiprocessors;
  std::uint32_t capability_major, capability_minor;
  std::uint32_t driver_version, runtime_version;  ///< As CUDA numbers them: 13000 is 13.0.
};

/// A program with what its view does not tell.
struct SizedProgram {
  bytecode::Program view;
  std::uint64_t instructions;
  std::uint64_t pool_words;
  /// What `strategy::ptx_of` made of it, which a driver may link and run in the interpreter's place, with the
  /// same results; none where `ptx_bytes` is 0.
  const char* ptx;
  std::uint64_t ptx_bytes;
};

/// What every call of simulations asks for.
struct SeedsAsked {
  std::uint64_t seed_first;  ///< The seeds are this and those that follow, modulo 2^64.
  std::uint64_t count;
  prop_amm::Settings settings;
  /// Asked on the calling thread, some hundred times a second, and by the device soon after.
  prop_amm::Stop stop;
  /// Told on the calling thread how many of the `count` seeds are done; may be null.
  void (*progress)(void* context, std::uint64_t done);
  void* progress_context;
};

/// Simulations: each of `count` seeds with each of `programs`.
struct PropAmmCall : SeedsAsked {
  const SizedProgram* programs;
  std::uint64_t program_count;
  prop_amm::CallRules rules;
  /// Result and fault of program p and seed s, counted from 0, lie at p * count + s.
  prop_amm::Result* results;
  prop_amm::Fault* faults;
  /// Whether linked PTX did it, where the call went well; `last_error` has why not. May be null.
  bool* linked;
};

/// Simulations of an eBPF object.
struct PropAmmObjectCall : SeedsAsked {
  sbpf::Program program;
  std::uint64_t limit;  ///< Instructions that a call may execute.
  /// Of seed s, counted from 0, at s.
  prop_amm::Result* results;
  prop_amm::SbpfFaults* faults;
};

/// What is back from a device where searches rest.
enum class Brought : std::uint32_t {
  states,  ///< But not the populations, where there are any: those that the caller has are older.
  all,
};

/// Searches for packings that differ in their seeds alone, a warp each.
struct PackingSearchCall {
  packing::SearchSettings settings;  ///< Of the first; the seeds of the others follow, modulo 2^64.
  bool has_start;
  std::uint64_t count;
  /// Of each search its state and, where the method has one, its population: taken from there, and brought
  /// back.
  packing::SearchState* const* states;
  double* const* people;
  /// Evaluations of all searches between two times that populations are brought back: states are, more often.
  std::uint64_t people_every;
  /// Asked on the calling thread, some hundred times a second; the searches give up the step that they are
  /// in.
  prop_amm::Stop stop;
  /// Told on the calling thread, now and then, that each search is between two steps. False ends the call,
  /// with `stopped`.
  bool (*rests)(void* context, Brought what);
  void* rests_context;
};

/// What a device does in a second, each the best of some tries.
struct ProbeFound {
  /// Multiplications and additions of the product of two square matrices; 0 without `libcublas`.
  double fp64_flops, fp32_flops, bf16_flops;
  double memory_bytes;  ///< Read and written within the device's memory.
  double to_device_bytes, to_host_bytes;
  std::uint32_t products_checked;  ///< Of the three, by Freivalds' method.
  std::uint32_t products_wrong;
};

struct ProbeAsked {
  std::uint32_t size;            ///< Of the matrices: 256 to 16,384, a multiple of 16.
  std::uint32_t tries;           ///< 1 to 100.
  std::uint64_t transfer_bytes;  ///< At a time.
  std::uint64_t seed;            ///< Of the matrices, and of the check.
  prop_amm::Stop stop;           ///< Asked between measurements.
};

/// The table. Every call but `last_error` and `give_pinned` may fail with `no_driver`, `no_device`,
/// `no_memory` and `failed`.
struct Module {
  std::uint32_t version;
  std::uint32_t bytes;  ///< Of this table.
  Status (*device)(Device* out) noexcept;
  /// As `Backend::packing_eval`, of candidates that `packing::check_candidate` took. Of arrays that came from
  /// `take_pinned` nothing is copied on the way.
  Status (*packing_eval)(const double* candidates, std::size_t count, packing::Verdict* out) noexcept;
  /// Fails also: `stopped`; then what was written means nothing. What the seeds draw stays on the device for
  /// the next call with these seeds and steps.
  Status (*prop_amm)(const PropAmmCall* call) noexcept;
  /// Fails also: `stopped`.
  Status (*probe)(const ProbeAsked* asked, ProbeFound* out) noexcept;
  /// Memory of the host that a device reads at full speed. Null when there is none left.
  void* (*take_pinned)(std::size_t bytes) noexcept;
  void (*give_pinned)(void* memory) noexcept;
  /// What the device or its driver last said no with, on any thread; never null.
  const char* (*last_error)() noexcept;
  /// As `prop_amm`.
  Status (*prop_amm_objects)(const PropAmmObjectCall* call) noexcept;
  /// Fails also: `stopped`; then all is brought back, too. After any other failure what was brought back may
  /// be of different moments.
  Status (*packing_search)(const PackingSearchCall* call) noexcept;
};

/// The name of the function that the module exports, and its type.
inline constexpr const char* entry_name = "calyx_cuda_module";
using Entry = const Module* (*)();

/// What came of loading the module.
struct Loaded {
  const Module* module = nullptr;  ///< Null: there is none.
  const char* why = "";            ///< One line for people, when `module` is null or no device answers.
  bool answers = false;            ///< A device does.
  Device device{};
};

/// Loads the module at the first call and asks it for its device; gives the same ever after. Throws nothing.
const Loaded& load() noexcept;

}  // namespace calyx::kernels::cuda
