/// \file
/// Checked trees to bytecode, and the values of constants, which are found by running theirs.

#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "strategy/checker.hpp"

namespace calyx::strategy {

/// Code that belongs together: a program's, or that of one constant.
struct Unit {
  std::vector<kernels::bytecode::Instruction> code;
  std::vector<std::uint32_t> lines;
  std::vector<std::uint64_t> pool;
  struct Made {
    std::uint32_t entry = 0;
    std::uint32_t size = 0;         ///< Instructions.
    std::uint32_t stack_slots = 0;  ///< With all that it calls.
    std::uint32_t calls = 0;        ///< The deepest chain of calls.
  };
  std::map<Index, Made> functions;
};

class Lowering : public Checker::Evaluator {
 public:
  explicit Lowering(Checker& checker);

  /// Adds `function` and what it calls to `unit`; they have been checked.
  void add(Unit& unit, Index function);
  const std::vector<std::uint64_t>& constant(Index constant, Position at) override;
  std::vector<std::uint64_t> expression(Index expr, Index type, Index module) override;
  /// The place of `bytes` among the constants.
  std::uint32_t place_bytes(const void* bytes, std::size_t size);
  std::vector<unsigned char>& constants() { return constants_; }
  Checker& checker() { return checker_; }
  std::uint32_t constant_place(Index constant, Position at);

 private:
  std::vector<std::uint64_t> run(Index expr, Index type, Body& body, Position at);
  void keep(std::uint64_t* value, Index type, const std::vector<std::uint64_t>& stack, int depth);

  Checker& checker_;
  std::vector<unsigned char> constants_;
  std::map<Index, std::vector<std::uint64_t>> values_;
  std::map<Index, std::uint32_t> places_;
  std::uint32_t depth_ = 0;
  std::uint64_t fuel_ = 20'000'000;  ///< For all constants together.
};

}  // namespace calyx::strategy
