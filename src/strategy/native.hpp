/// \file
/// Native code for programs: the same answers as the interpreter, sooner.
///
/// Start at `make_native` and `native_range`. Code is made for x86-64 Linux in builds that found the
/// assembler; everywhere else, and where the system refuses executable memory, `make_native` gives nothing
/// and all that follows interprets.
///
/// The code does the usual path only. Whatever is unusual (a panic, an address out of its segment, no fuel
/// left, a division by zero) leaves it with "again": the whole call is then interpreted from the same inputs,
/// with the storage as it was, and that is where an `Ending` other than `returned` and its instruction come
/// from. So a call has the interpreter's outcome in every case, `fuel_used` included.
///
/// The one difference: what a call leaves in its stack is not the interpreter's, and nobody may read it.
///
/// Threads: code is never changed once made, and any number of threads may run it, each with a stack of its
/// own.

#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "calyx_kernels/bytecode.hpp"
#include "calyx_kernels/prop_amm.hpp"
#include "calyx_kernels/prop_amm_payload.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "strategy/code_pages.hpp"
#include "strategy/strategy.hpp"

namespace calyx::strategy {

/// The lengths that code is made for, so that it need not check an index which it knows. A call with others
/// is interpreted. Units: bytes.
struct NativeLengths {
  std::uint32_t quote = kernels::prop_amm::quote_bytes +
                        kernels::prop_amm::storage_bytes;  ///< Of the payload of `compute_swap`.
  std::uint32_t trade =
      kernels::prop_amm::trade_bytes + kernels::prop_amm::storage_bytes;  ///< Of that of `after_swap`.
  std::uint32_t storage =
      kernels::prop_amm::storage_bytes;  ///< Of what `after_swap` may change; 1,024 at most.
};

/// What native code reads and writes of its caller. Its offsets are part of the code.
struct NativeCall {
  std::uint64_t fuel = 0;
  std::uint64_t* stack = nullptr;
  kernels::bytecode::detail::Segments segments{};
};

/// A program's code, in pages of its own that were never writable and executable at once.
class NativeCode {
 public:
  NativeCode(const NativeCode&) = delete;
  NativeCode& operator=(const NativeCode&) = delete;

  /// As `kernels::bytecode::compute_swap` of the program that this was made of, which `program` is.
  kernels::bytecode::Outcome compute_swap(const kernels::bytecode::Program& program,
                                          const kernels::bytecode::Memory& memory, std::uint64_t fuel) const;

  /// The native part of it, for many calls with one memory, of which `call` was made, with the fuel in it.
  /// The lengths must be those of the code, and the numbers those at 1, 9 and 17 of the payload. False where
  /// the interpreter has to be asked.
  bool quote(NativeCall& call, const unsigned char* data, std::uint64_t input, std::uint64_t reserve_x,
             std::uint64_t reserve_y, std::uint64_t& value, std::uint32_t& at) const {
    const Left left = swap_(&call, call.stack, data, input, reserve_x, reserve_y);
    value = left.value;
    at = static_cast<std::uint32_t>(left.at);
    return left.at != again;
  }
  static NativeCall call_of(const kernels::bytecode::Program& program,
                            const kernels::bytecode::Memory& memory) {
    return {0,
            memory.stack,
            {{reinterpret_cast<unsigned char*>(memory.stack), const_cast<unsigned char*>(memory.data),
              memory.storage, const_cast<unsigned char*>(program.constants)},
             {program.stack_slots * 8, memory.data_bytes, memory.storage_bytes, program.constants_bytes}}};
  }
  const NativeLengths& lengths() const noexcept { return lengths_; }

  /// As `kernels::bytecode::after_swap`.
  kernels::bytecode::Outcome after_swap(const kernels::bytecode::Program& program,
                                        const kernels::bytecode::Memory& memory, std::uint64_t fuel) const;

  /// Units: bytes of machine code.
  std::size_t size() const noexcept { return pages_.size(); }

 private:
  friend std::unique_ptr<NativeCode> make_native(const Compiled&, std::string*, const NativeLengths&);
  /// What the code leaves in two registers: the value, and the instruction at which it returned.
  struct Left {
    std::uint64_t value;
    std::uint64_t at;
  };
  using Entry = Left (*)(NativeCall*, std::uint64_t* stack, const unsigned char* data, std::uint64_t input,
                         std::uint64_t reserve_x, std::uint64_t reserve_y);
  static constexpr std::uint64_t again = ~std::uint64_t{0};

  NativeCode() = default;

  NativeLengths lengths_;
  std::vector<kernels::bytecode::Instruction> instructions_;  ///< The code hands them to its helpers.
  CodePages pages_;
  Entry swap_ = nullptr;
  Entry after_ = nullptr;
};

/// Makes code of `made`, or gives nothing and says in `why`, if there is one, what stood in the way.
///
/// The bytecode is not trusted: jumps, slots, pool entries and the depth of calls are checked here, and
/// each address when it is used, as the interpreter does. Throws `std::bad_alloc` alone.
std::unique_ptr<NativeCode> make_native(const Compiled& made, std::string* why = nullptr,
                                        const NativeLengths& lengths = {});

/// A program as a strategy of the simulation: as `kernels::prop_amm::ProgramStrategy`, natively where it can.
/// Owns: nothing; the program's arrays, its code and its stack outlive it.
class NativeStrategy {
 public:
  /// `native` was made of `program`, or is null. `stack` has `program.stack_slots` slots, for this strategy
  /// alone. `fuel` is what one call may use.
  NativeStrategy(const kernels::bytecode::Program& program, const NativeCode* native, std::uint64_t* stack,
                 std::uint64_t fuel = kernels::bytecode::fuel_default)
      : program_(program),
        native_(native != nullptr && native->lengths().quote == sizeof quote_ ? native : nullptr),
        memory_{stack, quote_, sizeof quote_, nullptr, 0},
        call_(NativeCode::call_of(program, memory_)),
        fuel_(fuel) {}

  NativeStrategy(const NativeStrategy&) = delete;
  NativeStrategy& operator=(const NativeStrategy&) = delete;

  void begin() {
    std::memset(quote_, 0, sizeof quote_);
    keep({});
  }

  /// What the quotes to come see, as if a trade had left it.
  void set_storage(const unsigned char* storage) {
    std::memcpy(quote_ + quote_bytes, storage, kernels::prop_amm::storage_bytes);
  }

  bool compute_swap(kernels::prop_amm::Side side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
                    std::uint64_t reserve_y_nano, const unsigned char*, std::uint64_t& output_nano) {
    kernels::prop_amm::put_quote(quote_, side, input_nano, reserve_x_nano, reserve_y_nano);
    call_.fuel = fuel_;
    native_returned_ = native_ != nullptr && native_->quote(call_, quote_, input_nano, reserve_x_nano,
                                                            reserve_y_nano, output_nano, native_at_);
    return CALYX_USUALLY(native_returned_) || interpret(output_nano);
  }

  bool after_swap(const kernels::prop_amm::Trade& trade, unsigned char* storage);

  /// How the last call ended, but for what it paid.
  kernels::bytecode::Outcome outcome() const {
    if (!native_returned_) return outcome_;
    return {kernels::bytecode::Ending::returned, native_at_, 0, executed()};
  }
  /// How many instructions it had.
  std::uint64_t executed() const { return fuel_ - call_.fuel; }

 private:
  bool interpret(std::uint64_t& output_nano);
  /// Of any call but a quote that returned natively, which leaves its instructions in `call_` and no more.
  void keep(const kernels::bytecode::Outcome& outcome) {
    native_returned_ = false;
    outcome_ = outcome;
    call_.fuel = fuel_ - outcome.fuel_used;
  }

  static constexpr std::uint32_t quote_bytes = kernels::prop_amm::quote_bytes;

  kernels::bytecode::Program program_;
  const NativeCode* native_;
  kernels::bytecode::Memory memory_;  ///< Of a quote.
  NativeCall call_;
  std::uint64_t fuel_;
  bool native_returned_ = false;
  std::uint32_t native_at_ = 0;
  kernels::bytecode::Outcome outcome_;
  alignas(64) unsigned char quote_[quote_bytes + kernels::prop_amm::storage_bytes] = {};
};

/// As `kernels::prop_amm::prop_amm_range`, with `native` in the interpreter's place where it is not null.
std::uint64_t native_range(const kernels::bytecode::Program& program, const NativeCode* native,
                           std::uint64_t* stack, std::uint64_t seed_base, std::uint64_t first,
                           std::uint64_t last, const kernels::prop_amm::Settings& settings,
                           const kernels::prop_amm::CallRules& rules, kernels::prop_amm::Result* results,
                           kernels::prop_amm::Fault* faults, const kernels::prop_amm::Stop& stop = {});

}  // namespace calyx::strategy
