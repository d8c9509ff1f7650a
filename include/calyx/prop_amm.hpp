/// \file
/// Strategies of the Prop AMM challenge, without a market: compiled, validated and simulated in the caller's
/// process, to the bit of the challenge's own simulator. The recipe `prop_amm` is this as a job.
///
/// Start at `Strategy::compile`. A strategy is one Rust file in the challenge's form; it is compiled to a
/// bytecode that can reach nothing but its own arguments, and every call of it ends, by its fuel if need be.
///
/// Units: edges are in Y; seeds are any u64 and wrap at 2^64.
/// Threads: a `Strategy` never changes; any number of threads may use it at once.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/device.hpp>
#include <calyx/enclosure.hpp>
#include <calyx/version.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::prop_amm {

inline constexpr std::uint64_t count_max = 1'000'000;  ///< Seeds of one evaluation.
inline constexpr std::uint32_t steps_max = 1'000'000;  ///< Of one simulation.
inline constexpr unsigned threads_max = 1'024;

/// What is simulated, and how.
struct Asked {
  std::uint64_t seed_base = 0;  ///< The first seed is `seed_base + start`.
  std::uint64_t start = 0;
  std::uint64_t count = 1'000;   ///< 1 to `count_max`.
  std::uint32_t steps = 10'000;  ///< 1 to `steps_max`.
  /// A seed at which the quotes have no proper shape has no edge, as the challenge's runner has it.
  bool strict_curves = true;
  /// Calls have the challenge's 100,000 instructions instead of 10,000,000, and one that fails pays nothing
  /// instead of ending all: the rules of its BPF runtime.
  bool bpf_rules = false;
  /// Threads that the call may use besides its own, which it starts and joins: results do not depend on it.
  unsigned threads = 1;
  /// Asked by each of those threads, often: true ends the call with `stopped`. Empty: it runs to its end.
  /// Neither this nor `progress` may throw.
  std::function<bool()> stopped{};
  /// Told, on the calling thread, how many seeds are done.
  std::function<void(std::uint64_t done)> progress{};
  /// A device simulates seeds side by side, and `threads` then means nothing. For a source it is worth it
  /// from thousands of seeds on; an eBPF object goes there only where it is asked for.
  Device device = Device::automatic;
};

/// What quotes had no proper shape, and in which search.
struct Violation {
  std::string_view kind{};     ///< `monotonicity` or `concavity`.
  std::string_view context{};  ///< `arbitrage buy search` and so on, as the challenge says it.
};

struct SeedEdge {
  std::uint64_t seed = 0;
  double edge = 0.0;  ///< 0 at a violation.
  std::optional<Violation> violation{};
};

/// The call of the strategy that ended everything.
struct CallFailure {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
  std::string_view kind{};     ///< `step_limit` or `panic`.
  std::string_view message{};  ///< In words.
  std::uint32_t line = 0;      ///< Of the source.
};

struct Evaluation {
  std::vector<SeedEdge> edges{};  ///< In the order of the seeds; up to the failure, where there is one.
  std::uint64_t violations = 0;
  std::optional<CallFailure> failure{};
  /// The edges added in their order; absent where there was a violation or a failure.
  std::optional<double> total_edge{};
  std::optional<double> avg_edge{};  ///< That by their count.
};

/// What `Strategy::validate` looks at, each with all that is before it.
enum class Checks : std::uint8_t {
  concavity,  ///< The shape of the curve at ten sizes a side, alone.
  fast,       ///< The first quotes, the shape, and 32 states that no market has had.
  full,       ///< And 12 simulations of 2,000 steps, and the same answers from rustc's build of the source.
};

/// The first fault that was found.
struct Verdict {
  bool valid = true;
  /// `zero_output`, `monotonicity`, `concavity`, `runtime_shape`, `step_limit`, `panic` or `parity`; empty
  /// when valid.
  std::string reason{};
  std::string message{};
  std::string side{};                ///< `buy` or `sell`, where the fault has one,
  std::optional<double> size{};      ///< in Y for a purchase, in X for a sale.
  std::uint32_t line = 0;            ///< Of the source, where a call did not return.
  std::optional<Evaluation> runs{};  ///< What the simulations of `full` came to, when it came to them.
  /// Of `full`: whether the source as rustc builds it gave the bytecode's answers to 10,000 quotes and 1,000
  /// changes of the storage: `passed`, `failed`, which alone is a fault, or `skipped`. Else empty.
  std::string parity{};
  /// Why `skipped`: `not_reached` (an earlier fault), `no_enclosure`, `no_rustc`, `rustc_failed` (it builds
  /// nothing here), `source_refused` (by rustc), `not_answered` (the program did not end well), `timed_out`,
  /// `libm` (answers differ, and hang on the C library's `exp` and the like).
  std::string parity_reason{};
  std::string parity_message{};  ///< That in words, which differ from host to host.
};

/// A strategy that was compiled.
class CALYX_EXPORT Strategy {
 public:
  /// Fails: `strategy_refused`, with `code` (`source_unsafe`, `source_name`, `unsupported` and so on), `line`
  /// and `column` in the details.
  static Result<Strategy> compile(std::string_view source);

  /// An eBPF object (ELF): one function `entrypoint` as clang makes it, or a Solana program of sBPF
  /// version 1. It is verified before it may run, and always runs by `Asked::bpf_rules`. Fails:
  /// `strategy_refused`, with `code` (`elf_malformed`, `elf_unsupported`, `elf_too_large`, `bpf_verify`) and
  /// `at` (the byte of the file, or the instruction) in the details.
  static Result<Strategy> load(std::span<const unsigned char> object);

  const std::string& name() const noexcept;        ///< Its constant NAME; empty for an object.
  const std::string& model_used() const noexcept;  ///< Its constant MODEL_USED; likewise.
  /// The bytecode of a source, the same for the same source and version of calyx: what `build` leaves.
  std::string bytecode() const;
  std::uint64_t instructions() const noexcept;  ///< Of the bytecode.

  /// Fails: `field_value` for what `Asked` does not take; `stopped`; where a device was asked for also
  /// `unsupported` (none answers), `io_error`, `no_memory`.
  Result<Evaluation> evaluate(const Asked& asked = {}) const;
  /// `stopped` as in `Asked`. `enclosed` is where rustc and what it makes are run: nothing of the source ever
  /// runs in this process but its bytecode. Without it, as on a host without rustc, parity is skipped. Fails:
  /// `stopped`; `unsupported` for an object.
  Result<Verdict> validate(Checks checks, const std::function<bool()>& stopped = {},
                           const RunEnclosed& enclosed = {}) const;

 private:
  struct Made;
  explicit Strategy(std::shared_ptr<const Made> made);
  std::shared_ptr<const Made> made_;
};

}  // namespace calyx::prop_amm
