/// \file
/// Tapes for a device: what seeds draw, once for all strategies, and the simulation that reads it.
///
/// A simulation is one thread's, and so is a lane of a tape, the draws of one seed: step i of lane l lies at
/// `i * lanes + l`, so that neighbours read neighbouring numbers. What a tape gives is what `SeedDraws`
/// gives, and the result is that of `simulate`, to the bit.
///
/// Start at `record_steps`, `count_orders` and `record_orders`, then `play`.
///
/// Units: as in prop_amm.hpp.

#pragma once

#include <cstddef>
#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "calyx_kernels/prop_amm_sbpf.hpp"

namespace calyx::kernels::prop_amm {

/// The arrays of a tape. Owns: nothing.
struct Tape {
  double* price = nullptr;         ///< `steps * lanes`.
  double* guess = nullptr;         ///< Likewise.
  std::uint16_t* count = nullptr;  ///< Likewise: the orders of a step.
  /// `orders * lanes`, one after the other in each lane: its size in Y, with a sign for a sale.
  double* order = nullptr;
  std::uint64_t lanes = 0;
};

/// Writes the prices and the guesses of a lane.
CALYX_HD inline void record_steps(const Tape& tape, std::uint64_t lane, std::uint64_t seed,
                                  std::uint32_t steps) {
  SeedDraws draws(seed, parameters_of(seed));
  for (std::uint64_t i = 0; i < steps; ++i) {
    tape.price[i * tape.lanes + lane] = draws.price();
    tape.guess[i * tape.lanes + lane] = draws.guess();
  }
}

/// Writes how many orders each step of a lane has, and gives how many they are: their room is not known
/// before.
CALYX_HD inline std::uint64_t count_orders(const Tape& tape, std::uint64_t lane, std::uint64_t seed,
                                           std::uint32_t steps) {
  SeedDraws draws(seed, parameters_of(seed));
  std::uint64_t all = 0;
  for (std::uint64_t i = 0; i < steps; ++i) {
    const std::uint32_t count = draws.orders();
    tape.count[i * tape.lanes + lane] = static_cast<std::uint16_t>(count);
    for (std::uint32_t n = 0; n < count; ++n) draws.order();
    all += count;
  }
  return all;
}

/// Writes the orders of a lane, whose counts are written.
CALYX_HD inline void record_orders(const Tape& tape, std::uint64_t lane, std::uint64_t seed,
                                   std::uint32_t steps) {
  SeedDraws draws(seed, parameters_of(seed));
  std::uint64_t at = lane;
  for (std::uint64_t i = 0; i < steps; ++i) {
    for (std::uint32_t left = draws.orders(); left > 0; --left, at += tape.lanes) {
      const Order order = draws.order();
      tape.order[at] = order.side == Side::sell ? -order.size : order.size;
    }
  }
}

/// What a lane of a tape says, in the place of `SeedDraws`.
class Playback {
 public:
  CALYX_HD Playback(const Tape& tape, std::uint64_t lane) : tape_(tape), step_(lane), order_(lane) {}

  CALYX_HD double price() { return tape_.price[step_]; }
  CALYX_HD double guess() { return tape_.guess[step_]; }
  /// The last that a step asks for, but for the orders themselves.
  CALYX_HD std::uint32_t orders() {
    const std::uint32_t count = tape_.count[step_];
    step_ += tape_.lanes;
    return count;
  }
  CALYX_HD Order order() {
    const double size = tape_.order[order_];
    order_ += tape_.lanes;
    return size < 0.0 ? Order{Side::sell, -size} : Order{Side::buy, size};
  }

 private:
  Tape tape_;
  std::uint64_t step_;
  std::uint64_t order_;
};

namespace detail {

/// `play` for any strategy.
template <class Strategy, class Asks>
CALYX_HD inline bool played(Strategy& strategy, const Tape& tape, std::uint64_t lane, std::uint64_t seed,
                            const Settings& settings, const CallRules& rules, const Asks& stop,
                            Result& result) {
  using Guarded = GuardedStrategy<Strategy, Asks>;
  Guarded guarded(strategy, rules, stop);
  const Result came_to =
      Simulation<Guarded, Playback>(parameters_of(seed), Playback(tape, lane), settings, guarded).run();
  if (guarded.stopped()) return false;
  result = came_to;
  return true;
}

}  // namespace detail

/// Runs a program for the seed whose draws are lane `lane` of `tape`. False when `stop` wanted an end, and
/// then nothing is written. `stack` has `program.stack_slots` slots.
template <class Asks>
CALYX_HD inline bool play(const bytecode::Program& program, std::uint64_t* stack, const Tape& tape,
                          std::uint64_t lane, std::uint64_t seed, const Settings& settings,
                          const CallRules& rules, const Asks& stop, Result& result, Fault& fault) {
  ProgramStrategy strategy(program, stack, rules.fuel);
  if (!detail::played(strategy, tape, lane, seed, settings, rules, stop, result)) return false;
  fault = {};
  if (result.end == End::strategy_failed) fault = {strategy.outcome().ending, strategy.outcome().at};
  return true;
}

/// What a simulation of an object works on: its stack, and behind it its heap.
CALYX_HD inline std::size_t memory_bytes(const sbpf::Program& program) {
  return std::size_t{program.frames} * sbpf::frame_bytes + program.heap_bytes;
}

/// The same for an object. `memory` has `memory_bytes` of it, and what is in them does not matter; a call may
/// execute `limit` instructions.
template <class Asks>
CALYX_HD inline bool play(const sbpf::Program& program, unsigned char* memory, const Tape& tape,
                          std::uint64_t lane, std::uint64_t seed, const Settings& settings,
                          std::uint64_t limit, const Asks& stop, Result& result, SbpfFaults& faults) {
  SbpfStrategy strategy(program, memory, memory + std::size_t{program.frames} * sbpf::frame_bytes, limit);
  if (!detail::played(strategy, tape, lane, seed, settings, {}, stop, result)) return false;
  faults = strategy.faults();
  return true;
}

}  // namespace calyx::kernels::prop_amm
