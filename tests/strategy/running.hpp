/// \file
/// Helpers of the strategy tests: a source around a few lines, and one call of what was made of it.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "strategy/native.hpp"
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

/// Native code of `made`, or nothing in a build without an assembler. Every program has some.
inline std::unique_ptr<strategy::NativeCode> native_of(const strategy::Compiled& made) {
  std::string why;
  auto native = strategy::make_native(made, &why);
  if (native == nullptr) {
    REQUIRE(why == "this build has no assembler");
  }
  return native;
}

/// What a call came to, and the storage it left.
struct Called {
  kernels::bytecode::Outcome outcome;
  std::vector<unsigned char> storage;
};

/// One call, interpreted, or native where `native` is given. With `storage` it is `after_swap`.
inline Called call(const strategy::Compiled& made, const strategy::NativeCode* native,
                   const std::vector<unsigned char>& data, std::vector<unsigned char>* storage,
                   std::uint64_t fuel) {
  // Old values in the stack must not matter, so they are never zero.
  std::vector<std::uint64_t> stack(made.stack_slots, 0xdeadbeefdeadbeefULL);
  Called called;
  if (storage != nullptr) called.storage = *storage;
  kernels::bytecode::Memory memory;
  memory.stack = stack.data();
  memory.data = data.data();
  memory.data_bytes = static_cast<std::uint32_t>(data.size());
  if (storage != nullptr) {
    memory.storage = called.storage.data();
    memory.storage_bytes = static_cast<std::uint32_t>(called.storage.size());
  }
  const auto program = made.view();
  if (native == nullptr)
    called.outcome = storage == nullptr ? kernels::bytecode::compute_swap(program, memory, fuel)
                                        : kernels::bytecode::after_swap(program, memory, fuel);
  else
    called.outcome = storage == nullptr ? native->compute_swap(program, memory, fuel)
                                        : native->after_swap(program, memory, fuel);
  return called;
}

/// One call, both ways: whatever a test asks of the interpreter it asks of the native code too.
inline Called call_both(const strategy::Compiled& made, const strategy::NativeCode* native,
                        const std::vector<unsigned char>& data, std::vector<unsigned char>* storage,
                        std::uint64_t fuel) {
  const Called one = call(made, nullptr, data, storage, fuel);
  if (native == nullptr) return one;
  const Called other = call(made, native, data, storage, fuel);
  REQUIRE(other.outcome.ending == one.outcome.ending);
  REQUIRE(other.outcome.value == one.outcome.value);
  REQUIRE(other.outcome.at == one.outcome.at);
  REQUIRE(other.outcome.fuel_used == one.outcome.fuel_used);
  REQUIRE(other.storage == one.storage);
  return one;
}

inline kernels::bytecode::Outcome quote(const strategy::Compiled& made,
                                        const std::vector<unsigned char>& data,
                                        std::uint64_t fuel = kernels::bytecode::fuel_default) {
  return call_both(made, native_of(made).get(), data, nullptr, fuel).outcome;
}

}  // namespace calyx::testing
