/// \file
/// Machine code for eBPF objects: the interpreter's outcomes, sooner.
///
/// Start at `make_sbpf_native` and `native_sbpf_range`. Code is made for x86-64 Linux in builds that found
/// the assembler; everywhere else, and where the system refuses executable memory, `make_sbpf_native` gives
/// nothing and all that follows interprets.
///
/// The code does the usual only, and charges a block of instructions at its beginning. Before an instruction
/// that would do anything else (an address that is nowhere, a division by zero, a block that the limit does
/// not cover, a call through a register) it writes the program's registers back and leaves, and the
/// interpreter goes on there. So a call has the interpreter's outcome in every case, to the last count, and
/// leaves the same bytes in stack, heap, input and storage.
///
/// Threads: code is never changed once made, and any number of threads may run it, each with memory of its
/// own.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "calyx_kernels/prop_amm_sbpf.hpp"
#include "strategy/code_pages.hpp"
#include "strategy/elf.hpp"
#include "strategy/sbpf_emit.hpp"

namespace calyx::strategy {

/// An object's code, in pages of its own.
class SbpfNative {
 public:
  /// As `kernels::sbpf::run` of the program that this was made of, which `program` is. `call` is for this
  /// call alone while it lasts; the outcome is in it.
  void run(SbpfCall& call, const kernels::sbpf::Program& program, const kernels::sbpf::Memory& memory,
           std::uint64_t limit) const;

  /// Units: bytes of machine code.
  std::size_t size() const noexcept { return pages_.size(); }

 private:
  friend std::unique_ptr<SbpfNative> make_sbpf_native(const kernels::sbpf::Program&, std::string*);
  using Entry = SbpfLeft (*)(SbpfCall*);

  CodePages pages_;
  std::vector<std::uint32_t> charged_;
  std::uint32_t input_bytes_ = 0;
  Entry entry_ = nullptr;
};

/// Makes code of `program`, or gives nothing and says in `why`, if there is one, what stood in the way.
/// Throws `std::bad_alloc` alone.
std::unique_ptr<SbpfNative> make_sbpf_native(const kernels::sbpf::Program& program,
                                             std::string* why = nullptr);

/// What runs an object for `kernels::prop_amm::SbpfStrategyOn`: its code, or the interpreter where there is
/// none. Owns: nothing; the code outlives it.
class SbpfMachine {
 public:
  /// `native` was made of the program that is run, or is null.
  explicit SbpfMachine(const SbpfNative* native = nullptr) : native_(native) {}
  void run(const kernels::sbpf::Program& program, const kernels::sbpf::Memory& memory, std::uint64_t limit) {
    if (native_ != nullptr)
      native_->run(call_, program, memory, limit);
    else
      call_.outcome = kernels::sbpf::run(program, memory, limit);
  }
  const kernels::sbpf::Outcome& outcome() const { return call_.outcome; }
  void clear() { call_.outcome = {}; }

 private:
  const SbpfNative* native_;
  SbpfCall call_;
};

using NativeSbpfStrategy = kernels::prop_amm::SbpfStrategyOn<SbpfMachine>;

/// As `kernels::prop_amm::prop_amm_sbpf_range`, with `native` in the interpreter's place where it is not
/// null.
std::uint64_t native_sbpf_range(const kernels::sbpf::Program& program, const SbpfNative* native,
                                unsigned char* stack, unsigned char* heap, std::uint64_t seed_base,
                                std::uint64_t first, std::uint64_t last,
                                const kernels::prop_amm::Settings& settings, std::uint64_t limit,
                                kernels::prop_amm::Result* results, kernels::prop_amm::SbpfFaults* faults,
                                const kernels::prop_amm::Stop& stop = {});

}  // namespace calyx::strategy
