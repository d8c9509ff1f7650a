/// \file
/// Helpers of the strategy tests: a source around a few lines, and one call of what was made of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "strategy/strategy.hpp"

namespace calyx::testing {

/// A whole strategy whose `compute_swap` has `body`, with `items` before it.
inline std::string source_of(std::string_view items, std::string_view body) {
  std::string source = "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n";
  source += "pub fn get_model_used() -> &'static str { MODEL_USED }\n";
  source += items;
  source += "\npub fn compute_swap(data: &[u8]) -> u64 {\n";
  source += body;
  return source + "\n}\n";
}

/// The payload of the tables: bytes 0, 1, 2, … of the length that a quote has.
inline std::vector<unsigned char> payload() {
  std::vector<unsigned char> data(1049);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<unsigned char>(i);
  return data;
}

inline kernels::bytecode::Outcome quote(const strategy::Compiled& made,
                                        const std::vector<unsigned char>& data,
                                        std::uint64_t fuel = kernels::bytecode::fuel_default) {
  // Old values in the stack must not matter, so they are never zero.
  std::vector<std::uint64_t> stack(made.stack_slots, 0xdeadbeefdeadbeefULL);
  kernels::bytecode::Memory memory;
  memory.stack = stack.data();
  memory.data = data.data();
  memory.data_bytes = static_cast<std::uint32_t>(data.size());
  return kernels::bytecode::compute_swap(made.view(), memory, fuel);
}

}  // namespace calyx::testing
