/// \file
/// Helpers of the eBPF tests: instructions spelled in a row, and a program with the memory that it runs on.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "calyx_kernels/prop_amm_sbpf.hpp"
#include "prop_amm_vectors.hpp"
#include "strategy/elf.hpp"
#include "strategy/sbpf_native.hpp"

namespace calyx::testing {

/// One slot of a text.
struct Slot {
  unsigned opcode = 0;
  unsigned d = 0;
  unsigned s = 0;
  int offset = 0;
  std::int64_t immediate = 0;  ///< Cut to 32 bits.
};

inline std::vector<unsigned char> text_of(const std::vector<Slot>& slots) {
  std::vector<unsigned char> text;
  for (const Slot& slot : slots) {
    const auto offset = static_cast<std::uint16_t>(slot.offset);
    const auto immediate = static_cast<std::uint32_t>(slot.immediate);
    text.push_back(static_cast<unsigned char>(slot.opcode));
    text.push_back(static_cast<unsigned char>(slot.d | slot.s << 4));
    for (int i = 0; i < 2; ++i) text.push_back(static_cast<unsigned char>(offset >> (8 * i)));
    for (int i = 0; i < 4; ++i) text.push_back(static_cast<unsigned char>(immediate >> (8 * i)));
  }
  return text;
}

/// `lddw d, value`.
inline std::vector<Slot> wide(unsigned d, std::uint64_t value) {
  return {{0x18, d, 0, 0, static_cast<std::int64_t>(value & 0xffffffffU)},
          {0, 0, 0, 0, static_cast<std::int64_t>(value >> 32)}};
}

inline std::vector<Slot> joined(std::initializer_list<std::vector<Slot>> parts) {
  std::vector<Slot> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

inline strategy::SbpfObject loaded(std::variant<strategy::SbpfObject, strategy::ObjectFault> made) {
  if (const auto* fault = std::get_if<strategy::ObjectFault>(&made))
    FAIL(fault->code << ": " << fault->message);
  return std::get<strategy::SbpfObject>(std::move(made));
}

/// Text that is loaded as a plain object, or with everything that a Solana program has.
inline strategy::SbpfObject loaded_text(const std::vector<Slot>& slots) {
  return loaded(strategy::load_text(text_of(slots)));
}

inline std::vector<unsigned char> object_file(const std::string& name) {
  const std::string text = prop_amm_text("strategies/" + name);
  return {text.begin(), text.end()};
}

inline strategy::SbpfObject loaded_file(const std::string& name) {
  return loaded(strategy::load_elf(object_file(name)));
}

/// A Solana program in the making: what its file says beside text and constants.
struct DynamicFile {
  struct Relocation {
    std::uint64_t place;  ///< In the file: `slot_at`, or a byte of the constants.
    std::uint32_t type;
    std::string name = "";
    std::uint64_t value = 0;  ///< Of the symbol; a function if it is not 0.
  };
  static constexpr std::uint64_t text_at = 64 + 3 * 56;
  static constexpr std::uint64_t slot_at(std::uint64_t slot) { return text_at + 8 * slot; }
  std::uint64_t constants_at() const { return slot_at(text.size()); }

  std::vector<Slot> text;
  std::vector<unsigned char> constants;
  std::vector<Relocation> relocations;
  std::uint64_t entry = 0;
  std::uint32_t flags = 0;
  std::uint16_t machine = 247;

  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> out(text_at);
    const auto put = [&out](std::size_t at, std::uint64_t value, std::size_t width) {
      if (out.size() < at + width) out.resize(at + width);
      for (std::size_t i = 0; i < width; ++i) out[at + i] = static_cast<unsigned char>(value >> (8 * i));
    };
    const auto append = [&out](const auto& part) { out.insert(out.end(), part.begin(), part.end()); };
    append(text_of(text));
    append(constants);
    while (out.size() % 8 != 0) out.push_back(0);
    const std::uint64_t dynamic_at = out.size();
    const std::uint64_t symbols_at = dynamic_at + 6 * 16;
    const std::uint64_t strings_at = symbols_at + 24 * (1 + relocations.size());
    std::string strings(1, '\0');
    out.resize(symbols_at + 24);
    for (std::size_t i = 0; i < relocations.size(); ++i) {
      const std::uint64_t at = symbols_at + 24 * (i + 1);
      put(at, strings.size(), 4);
      put(at + 4, relocations[i].value != 0 ? 0x12 : 0x10, 1);
      put(at + 6, relocations[i].value != 0 ? 1 : 0, 2);
      put(at + 8, relocations[i].value, 8);
      put(at + 16, 0, 8);
      strings += relocations[i].name + '\0';
    }
    append(strings);
    while (out.size() % 8 != 0) out.push_back(0);
    const std::uint64_t relocations_at = out.size();
    for (std::size_t i = 0; i < relocations.size(); ++i) {
      put(relocations_at + 16 * i, relocations[i].place, 8);
      put(relocations_at + 16 * i + 8, relocations[i].type, 4);
      put(relocations_at + 16 * i + 12, i + 1, 4);
    }
    const std::uint64_t relocations_bytes = 16 * relocations.size();
    const std::uint64_t tags[][2] = {{17, relocations.empty() ? 0 : relocations_at},
                                     {18, relocations_bytes},
                                     {19, 16},
                                     {6, symbols_at},
                                     {5, strings_at},
                                     {0, 0}};
    for (std::size_t i = 0; i < 6; ++i) {
      put(dynamic_at + 16 * i, tags[i][0], 8);
      put(dynamic_at + 16 * i + 8, tags[i][1], 8);
    }
    constexpr char all_names[] = "\0.text\0.rodata\0.dynamic\0.dynsym\0.dynstr\0.rel.dyn\0.shstrtab";
    const std::string names(all_names, sizeof all_names);
    const std::uint64_t names_at = out.size();
    append(names);
    while (out.size() % 8 != 0) out.push_back(0);
    const std::uint64_t sections_at = out.size();
    struct Header {
      std::uint64_t name, type, flags, at, bytes, link, entry_bytes;
    };
    const Header headers[] = {{0, 0, 0, 0, 0, 0, 0},
                              {1, 1, 6, text_at, 8 * text.size(), 0, 0},
                              {7, 1, 2, constants_at(), constants.size(), 0, 0},
                              {15, 6, 2, dynamic_at, 96, 5, 16},
                              {24, 11, 2, symbols_at, 24 * (1 + relocations.size()), 5, 24},
                              {32, 3, 2, strings_at, strings.size(), 0, 0},
                              {40, 9, 2, relocations_at, relocations_bytes, 4, 16},
                              {49, 3, 0, names_at, names.size(), 0, 0}};
    for (std::size_t i = 0; i < 8; ++i) {
      const std::uint64_t at = sections_at + 64 * i;
      put(at, headers[i].name, 4);
      put(at + 4, headers[i].type, 4);
      put(at + 8, headers[i].flags, 8);
      put(at + 16, headers[i].flags == 0 ? 0 : headers[i].at, 8);
      put(at + 24, headers[i].at, 8);
      put(at + 32, headers[i].bytes, 8);
      put(at + 40, headers[i].link, 4);
      put(at + 56, headers[i].entry_bytes, 8);
    }
    const std::uint64_t segments[][3] = {
        {1, text_at, dynamic_at - text_at}, {1, dynamic_at, names_at - dynamic_at}, {2, dynamic_at, 96}};
    for (std::size_t i = 0; i < 3; ++i) {
      const std::uint64_t at = 64 + 56 * i;
      put(at, segments[i][0], 4);
      put(at + 4, 4, 4);
      for (std::size_t field = 0; field < 3; ++field) put(at + 8 + 8 * field, segments[i][1], 8);
      put(at + 32, segments[i][2], 8);
      put(at + 40, segments[i][2], 8);
      put(at + 48, 8, 8);
    }
    const unsigned char ident[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    for (std::size_t i = 0; i < sizeof ident; ++i) out[i] = ident[i];
    put(16, 3, 2);
    put(18, machine, 2);
    put(20, 1, 4);
    put(24, slot_at(entry), 8);
    put(32, 64, 8);
    put(40, sections_at, 8);
    put(48, flags, 4);
    put(52, 64, 2);
    put(54, 56, 2);
    put(56, 3, 2);
    put(58, 64, 2);
    put(60, 8, 2);
    put(62, 7, 2);
    return out;
  }
};

/// How an object is run.
enum class Machine : std::uint8_t { interpreter, code };

/// Machine code of `made`, or nothing in a build without an assembler. Every object has some, but those of
/// more slots than any that people write.
inline std::unique_ptr<strategy::SbpfNative> native_of(const strategy::SbpfObject& made) {
  std::string why;
  auto native = strategy::make_sbpf_native(made.view(), &why);
  if (native == nullptr) {
    const bool is_large = why == "the program is too large" && made.view().slots > 65'536;
    REQUIRE_MESSAGE((is_large || why == "this build has no assembler"), why);
  }
  return native;
}

inline bool same(const kernels::sbpf::Outcome& x, const kernels::sbpf::Outcome& y) {
  return x.ending == y.ending && x.at == y.at && x.value == y.value && x.instructions == y.instructions &&
         x.return_data == y.return_data && x.return_bytes == y.return_bytes &&
         x.storage_set == y.storage_set && x.input_written == y.input_written && x.moved == y.moved &&
         x.address == y.address && x.bytes == y.bytes && x.write == y.write;
}

/// A program, its stack, its heap and an input. What is asked of the interpreter is asked of machine code
/// too, where there is some: both do the same.
struct Bench {
  /// `code` was made of `object`, or is null: then it is made here.
  explicit Bench(strategy::SbpfObject object, std::size_t input_bytes = 64,
                 const strategy::SbpfNative* code = nullptr)
      : made(std::move(object)),
        stack(made.stack_bytes()),
        heap(made.heap_bytes),
        input(input_bytes),
        own(code == nullptr ? native_of(made) : nullptr),
        native(code == nullptr ? own.get() : code) {}
  kernels::sbpf::Outcome run(std::uint64_t limit = kernels::sbpf::instructions_default) {
    std::vector<std::vector<unsigned char>> others = {
        stack, heap, input, {storage, storage + kernels::sbpf::storage_bytes_max}};
    const auto outcome = kernels::sbpf::run(made.view(), memory(stack, heap, input, storage), limit);
    if (native == nullptr) return outcome;
    strategy::SbpfCall call;
    native->run(call, made.view(), memory(others[0], others[1], others[2], others[3].data()), limit);
    REQUIRE(same(call.outcome, outcome));
    const bool same_bytes = others[0] == stack && others[1] == heap && others[2] == input &&
                            std::equal(others[3].begin(), others[3].end(), storage);
    REQUIRE(same_bytes);
    return outcome;
  }
  strategy::SbpfObject made;
  std::vector<unsigned char> stack;
  std::vector<unsigned char> heap;
  std::vector<unsigned char> input;
  unsigned char storage[kernels::sbpf::storage_bytes_max] = {};

 private:
  static kernels::sbpf::Memory memory(std::vector<unsigned char>& of_stack,
                                      std::vector<unsigned char>& of_heap,
                                      std::vector<unsigned char>& of_input, unsigned char* of_storage) {
    return {of_stack.data(), of_heap.data(), of_input.data(), static_cast<std::uint32_t>(of_input.size()),
            of_storage};
  }
  std::unique_ptr<strategy::SbpfNative> own;
  const strategy::SbpfNative* native;
};

/// Whether this build makes machine code of objects; says so where it does not.
inline bool native_here(const char* test) {
  if (native_of(loaded_text({{0x95}})) != nullptr) return true;
#if defined(__x86_64__)
  REQUIRE(may_lack(test, "libxbyak-dev"));
#else
  skipped(test, "native code is for x86-64");
#endif
  return false;
}

/// A strategy with the memory that it works on, old bytes in it. `Machine::code` is interpreted in a build
/// without an assembler.
struct SbpfRunning {
  explicit SbpfRunning(const strategy::SbpfObject& made, Machine machine = Machine::interpreter)
      : native(machine == Machine::code ? native_of(made) : nullptr),
        stack(made.stack_bytes(), 0xa5),
        heap(made.heap_bytes, 0xa5),
        strategy(made.view(), stack.data(), heap.data(), kernels::sbpf::instructions_default,
                 strategy::SbpfMachine(native.get())) {}
  std::unique_ptr<strategy::SbpfNative> native;
  std::vector<unsigned char> stack;
  std::vector<unsigned char> heap;
  strategy::NativeSbpfStrategy strategy;
};

}  // namespace calyx::testing
