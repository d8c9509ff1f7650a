/// \file
/// An eBPF object as a strategy of the Prop AMM simulation, and the CPU's loop over seeds.
///
/// Start at `prop_amm_sbpf_range`. A host may have a machine of its own (`strategy/sbpf_native.hpp`), which
/// the strategy and the loop then ask in the interpreter's place.
///
/// A plain object (a relocatable one) answers a quote in r0, and after a trade rewrites the storage where it
/// lies in the input. All others answer by `sol_set_return_data` and `sol_set_storage`, and r0 means nothing.
/// A call that ends in an error is a quote of 0, or a trade that changes nothing: it never ends a simulation
/// by itself, as in the challenge.

#pragma once

#include <cstdint>
#include <cstring>

#include "calyx_kernels/bytes.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_payload.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "calyx_kernels/sbpf.hpp"

namespace calyx::kernels::prop_amm {

/// Calls that failed in a simulation. They do not end it, so they are counted.
struct SbpfFaults {
  std::uint64_t count = 0;
  sbpf::Ending first = sbpf::Ending::returned;  ///< How the first of them ended.
  std::uint32_t at = 0;                         ///< Its instruction.
  std::uint64_t address = 0;                    ///< If it was a `memory_access`.
};

/// What runs a program for a strategy, and keeps how the last call ended.
class SbpfInterpreter {
 public:
  CALYX_HD void run(const sbpf::Program& program, const sbpf::Memory& memory, std::uint64_t limit) {
    outcome_ = sbpf::run(program, memory, limit);
  }
  CALYX_HD const sbpf::Outcome& outcome() const { return outcome_; }
  CALYX_HD void clear() { outcome_ = {}; }

 private:
  sbpf::Outcome outcome_;
};

/// Asks an object. `Machine` is `SbpfInterpreter`, or one with the same outcomes. Owns: nothing; the
/// program's arrays, the stack and the heap outlive it.
template <class Machine>
class SbpfStrategyOn {
 public:
  static constexpr bool remembers = true;  ///< In its stack and heap, which nobody clears between calls.

  /// The input is an account count of 0, the payload's length, the payload, and zeros up to this.
  static constexpr std::uint32_t input_bytes = 1'106;

  /// `stack` has `program.frames` frames and `heap` has `program.heap_bytes`, for this strategy alone; what
  /// is in them does not matter. `limit` is what one call may execute.
  CALYX_HD SbpfStrategyOn(const sbpf::Program& program, unsigned char* stack, unsigned char* heap,
                          std::uint64_t limit = sbpf::instructions_default,
                          const Machine& machine = Machine())
      : program_(program), stack_(stack), heap_(heap), limit_(limit), machine_(machine) {
    begin();
  }

  CALYX_HD void begin() {
    fill_bytes(stack_, 0, std::size_t{program_.frames} * sbpf::frame_bytes);
    if (program_.heap_bytes != 0) fill_bytes(heap_, 0, program_.heap_bytes);
    std::memset(quote_, 0, sizeof quote_);
    put_word(quote_ + 8, quote_bytes + storage_bytes);
    machine_.clear();
    faults_ = {};
  }

  /// What the quotes to come see, as if a trade had left it.
  CALYX_HD void set_storage(const unsigned char* storage) {
    std::memcpy(quote_ + payload_at + quote_bytes, storage, storage_bytes);
  }

  CALYX_HD bool compute_swap(Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                             std::uint64_t reserve_y_nano, const unsigned char* storage,
                             std::uint64_t& output_nano) {
    unsigned char* payload = quote_ + payload_at;
    put_quote(payload, side, input_nano, reserve_x_nano, reserve_y_nano);
    // Behind the numbers lies the storage as the last trade left it, so no quote copies it.
    machine_.run(program_, {stack_, heap_, quote_, input_bytes, nullptr}, limit_);
    if (outcome().input_written) {
      std::memset(quote_, 0, sizeof quote_);
      put_word(quote_ + 8, quote_bytes + storage_bytes);
      std::memcpy(quote_ + payload_at + quote_bytes, storage, storage_bytes);
    }
    output_nano = returned() ? program_.plain ? outcome().value : outcome().return_data : 0;
    return true;
  }

  CALYX_HD bool after_swap(const Trade& trade, unsigned char* storage) {
    unsigned char input[input_bytes];
    std::memset(input, 0, sizeof input);
    put_word(input + 8, trade_bytes + storage_bytes);
    unsigned char* payload = input + payload_at;
    put_trade(payload, trade, storage);
    unsigned char written[storage_bytes];
    machine_.run(program_, {stack_, heap_, input, input_bytes, written}, limit_);
    if (!returned() || !(program_.plain ? outcome().input_written : outcome().storage_set)) return true;
    std::memcpy(storage, program_.plain ? payload + trade_bytes : written, storage_bytes);
    set_storage(storage);
    return true;
  }

  /// How the last call ended, and how much it did: a word moved is as good as an instruction.
  CALYX_HD const sbpf::Outcome& outcome() const { return machine_.outcome(); }
  CALYX_HD std::uint64_t executed() const { return outcome().instructions + outcome().moved / 8; }
  /// Since the simulation began.
  CALYX_HD const SbpfFaults& faults() const { return faults_; }

 private:
  static constexpr std::uint32_t payload_at = 16;

  CALYX_HD bool returned() {
    if (outcome().ending == sbpf::Ending::returned) return true;
    if (faults_.count++ == 0) {
      faults_.first = outcome().ending;
      faults_.at = outcome().at;
      faults_.address = outcome().address;
    }
    return false;
  }

  sbpf::Program program_;
  unsigned char* stack_;
  unsigned char* heap_;
  std::uint64_t limit_;
  Machine machine_;
  SbpfFaults faults_;
  unsigned char quote_[input_bytes];
};

using SbpfStrategy = SbpfStrategyOn<SbpfInterpreter>;

/// `prop_amm_sbpf_range` for any strategy of an object.
template <class Strategy>
std::uint64_t sbpf_range(Strategy& strategy, std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                         const Settings& settings, Result* results, SbpfFaults* faults, const Stop& stop) {
  GuardedStrategy<Strategy> guarded(strategy, {}, stop);
  for (std::uint64_t i = first; i < last; ++i) {
    if (stop.wanted != nullptr && stop.wanted(stop.context)) return i;
    results[i] = simulate(seed_base + i, settings, guarded);
    if (guarded.stopped()) return i;
    faults[i] = strategy.faults();
  }
  return last;
}

/// Runs an object on the CPU for the seeds `seed_base + i`, modulo 2^64, i from `first` to before `last`, and
/// gives the i before which it was stopped, or `last`.
///
/// `results` and `faults` are arrays over all i; only the range is written. A host gives each of its threads
/// a range and a `stack` and `heap` of its own, as `SbpfStrategy` has them, and takes `summary_of` of the
/// whole.
std::uint64_t prop_amm_sbpf_range(const sbpf::Program& program, unsigned char* stack, unsigned char* heap,
                                  std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                                  const Settings& settings, std::uint64_t limit, Result* results,
                                  SbpfFaults* faults, const Stop& stop = {});

}  // namespace calyx::kernels::prop_amm
