/// \file
/// A compiled program as a strategy of the Prop AMM simulation, and the CPU's loop over seeds.
///
/// Start at `prop_amm_range`.

#pragma once

#include <cstdint>
#include <cstring>

#include "calyx_kernels/bytecode.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_payload.hpp"

namespace calyx::kernels::prop_amm {

/// Asks a program. Owns: nothing; the program's arrays and its stack outlive it.
class ProgramStrategy {
 public:
  /// `stack` has `program.stack_slots` slots, for this strategy alone. `fuel` is what one call may use.
  CALYX_HD ProgramStrategy(const bytecode::Program& program, std::uint64_t* stack,
                           std::uint64_t fuel = bytecode::fuel_default)
      : program_(program), stack_(stack), fuel_(fuel) {}

  CALYX_HD void begin() {
    for (std::uint32_t i = 0; i < sizeof quote_; ++i) quote_[i] = 0;
    outcome_ = {};
  }

  /// What the quotes to come see, as if a trade had left it.
  CALYX_HD void set_storage(const unsigned char* storage) {
    for (std::uint32_t i = 0; i < storage_bytes; ++i) quote_[quote_bytes + i] = storage[i];
  }

  CALYX_HD bool compute_swap(Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                             std::uint64_t reserve_y_nano, const unsigned char*, std::uint64_t& output_nano) {
    // Behind the numbers lies the storage as the last trade left it, so no quote copies it.
    put_quote(quote_, side, input_nano, reserve_x_nano, reserve_y_nano);
    const bytecode::Memory memory{stack_, quote_, sizeof quote_, nullptr, 0};
    outcome_ = bytecode::compute_swap(program_, memory, fuel_);
    output_nano = outcome_.value;
    return outcome_.ending == bytecode::Ending::returned;
  }

  CALYX_HD bool after_swap(const Trade& trade, unsigned char* storage) {
    if (program_.after_swap == bytecode::Program::no_entry) return true;
    unsigned char payload[trade_bytes + storage_bytes];
    put_trade(payload, trade, storage);
    const bytecode::Memory memory{stack_, payload, sizeof payload, storage, storage_bytes};
    outcome_ = bytecode::after_swap(program_, memory, fuel_);
    set_storage(storage);
    return outcome_.ending == bytecode::Ending::returned;
  }

  /// How the last call ended, and how many instructions it had.
  CALYX_HD const bytecode::Outcome& outcome() const { return outcome_; }
  CALYX_HD std::uint64_t executed() const { return outcome_.fuel_used; }

 private:
  bytecode::Program program_;
  std::uint64_t* stack_;
  std::uint64_t fuel_;
  bytecode::Outcome outcome_;
  unsigned char quote_[quote_bytes + storage_bytes] = {};
};

/// Where a program failed: `ending` is `returned` if it did not.
struct Fault {
  bytecode::Ending ending = bytecode::Ending::returned;
  std::uint32_t at = 0;  ///< The instruction.
};

/// What a call may use, and what becomes of one that fails.
struct CallRules {
  std::uint64_t fuel = bytecode::fuel_default;
  /// A quote that fails pays nothing and a failed `after_swap` changes nothing, as in the challenge's BPF
  /// runtime. Else a failure ends the simulation.
  bool failures_pay_nothing = false;
};

/// Somebody who may want a range to end early. Asked after each 2^20 instructions, words that
/// a system call moves among them, and between seeds.
struct Stop {
  bool (*wanted)(void* context) = nullptr;  ///< Null: nobody does.
  void* context = nullptr;

  bool asked() const { return wanted != nullptr && wanted(context); }
};

/// A program's strategy under rules: `simulate` runs it in its place. `Strategy` is what asks the program:
/// `ProgramStrategy`, or one that gives the same answers sooner. `Asks` is what to ask whether to stop:
/// `Stop`, or what a device can ask.
template <class Strategy, class Asks = Stop>
class GuardedStrategy {
 public:
  static constexpr bool remembers = prop_amm::remembers<Strategy>;

  CALYX_HD GuardedStrategy(Strategy& strategy, const CallRules& rules, const Asks& stop)
      : strategy_(strategy), rules_(rules), stop_(stop) {}

  CALYX_HD void begin() { strategy_.begin(); }
  CALYX_HD void set_storage(const unsigned char* storage) { strategy_.set_storage(storage); }

  CALYX_HD bool compute_swap(Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                             std::uint64_t reserve_y_nano, const unsigned char* storage,
                             std::uint64_t& output_nano) {
    if (!strategy_.compute_swap(side, input_nano, reserve_x_nano, reserve_y_nano, storage, output_nano)) {
      if (!rules_.failures_pay_nothing) return false;
      output_nano = 0;
    }
    return goes_on();
  }

  CALYX_HD bool after_swap(const Trade& trade, unsigned char* storage) {
    if (!rules_.failures_pay_nothing) return strategy_.after_swap(trade, storage) && goes_on();
    unsigned char before[storage_bytes];
    std::memcpy(before, storage, sizeof before);
    if (!strategy_.after_swap(trade, storage)) {
      std::memcpy(storage, before, sizeof before);
      strategy_.set_storage(storage);
    }
    return goes_on();
  }

  CALYX_HD bool stopped() const { return stopped_; }

 private:
  CALYX_HD bool goes_on() {
    used_ += strategy_.executed();
    if (used_ < ask_after) return true;
    used_ = 0;
    stopped_ = stop_.asked();
    return !stopped_;
  }

  static constexpr std::uint64_t ask_after = std::uint64_t{1} << 20;
  Strategy& strategy_;
  const CallRules rules_;
  const Asks stop_;
  std::uint64_t used_ = 0;
  bool stopped_ = false;
};

/// `prop_amm_range` for any strategy of a program.
template <class Strategy>
std::uint64_t guarded_range(Strategy& strategy, std::uint64_t seed_base, std::uint64_t first,
                            std::uint64_t last, const Settings& settings, const CallRules& rules,
                            Result* results, Fault* faults, const Stop& stop) {
  GuardedStrategy<Strategy> guarded(strategy, rules, stop);
  for (std::uint64_t i = first; i < last; ++i) {
    if (stop.asked()) return i;
    results[i] = simulate(seed_base + i, settings, guarded);
    if (guarded.stopped()) return i;
    faults[i] = {};
    if (results[i].end == End::strategy_failed)
      faults[i] = {strategy.outcome().ending, strategy.outcome().at};
  }
  return last;
}

/// Runs a program on the CPU for the seeds `seed_base + i`, modulo 2^64, i from `first` to before `last`,
/// and gives the i before which it was stopped, or `last`.
///
/// `results` and `faults` are arrays over all i; only the range is written. A host gives each of its threads
/// a range and a `stack` of `program.stack_slots` slots of its own, and takes `summary_of` of the whole.
std::uint64_t prop_amm_range(const bytecode::Program& program, std::uint64_t* stack, std::uint64_t seed_base,
                             std::uint64_t first, std::uint64_t last, const Settings& settings,
                             const CallRules& rules, Result* results, Fault* faults, const Stop& stop = {});

}  // namespace calyx::kernels::prop_amm
