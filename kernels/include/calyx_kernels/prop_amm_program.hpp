/// \file
/// A compiled program as a strategy of the Prop AMM simulation, and the CPU's loop over seeds.
///
/// Start at `prop_amm_range`.

#pragma once

#include <cstdint>

#include "calyx_kernels/bytecode.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"

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

  CALYX_HD bool compute_swap(Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                             std::uint64_t reserve_y_nano, const unsigned char*, std::uint64_t& output_nano) {
    // Behind the numbers lies the storage as the last trade left it, so no quote copies it.
    quote_[0] = static_cast<unsigned char>(side);
    put(quote_ + 1, input_nano);
    put(quote_ + 9, reserve_x_nano);
    put(quote_ + 17, reserve_y_nano);
    const bytecode::Memory memory{stack_, quote_, sizeof quote_, nullptr, 0};
    outcome_ = bytecode::compute_swap(program_, memory, fuel_);
    output_nano = outcome_.value;
    return outcome_.ending == bytecode::Ending::returned;
  }

  CALYX_HD bool after_swap(const Trade& trade, unsigned char* storage) {
    if (program_.after_swap == bytecode::Program::no_entry) return true;
    unsigned char payload[trade_bytes + storage_bytes];
    payload[0] = 2;
    payload[1] = static_cast<unsigned char>(trade.side);
    put(payload + 2, trade.input_nano);
    put(payload + 10, trade.output_nano);
    put(payload + 18, trade.reserve_x_nano);
    put(payload + 26, trade.reserve_y_nano);
    put(payload + 34, trade.step);
    for (std::uint32_t i = 0; i < storage_bytes; ++i) payload[trade_bytes + i] = storage[i];
    const bytecode::Memory memory{stack_, payload, sizeof payload, storage, storage_bytes};
    outcome_ = bytecode::after_swap(program_, memory, fuel_);
    for (std::uint32_t i = 0; i < storage_bytes; ++i) quote_[quote_bytes + i] = storage[i];
    return outcome_.ending == bytecode::Ending::returned;
  }

  /// How the last call ended.
  CALYX_HD const bytecode::Outcome& outcome() const { return outcome_; }

 private:
  static constexpr std::uint32_t quote_bytes = 25;
  static constexpr std::uint32_t trade_bytes = 42;

  /// Little-endian, as the challenge lays its payloads out.
  CALYX_HD static void put(unsigned char* to, std::uint64_t value) {
    for (std::uint32_t i = 0; i < 8; ++i) to[i] = static_cast<unsigned char>(value >> (8 * i));
  }

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

/// Runs a program on the CPU for the seeds `seed_base + i`, modulo 2^64, i from `first` to before `last`.
///
/// `results` and `faults` are arrays over all i; only the range is written. A host gives each of its threads
/// a range and a `stack` of `program.stack_slots` slots of its own, and takes `summary_of` of the whole.
void prop_amm_range(const bytecode::Program& program, std::uint64_t* stack, std::uint64_t seed_base,
                    std::uint64_t first, std::uint64_t last, const Settings& settings, std::uint64_t fuel,
                    Result* results, Fault* faults) noexcept;

}  // namespace calyx::kernels::prop_amm
