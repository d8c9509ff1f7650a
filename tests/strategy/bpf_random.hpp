/// \file
/// eBPF by chance: programs that the verifier may well take, damaged files, and inputs. The same dice give
/// the same ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

#include "bpf.hpp"

namespace calyx::testing {

/// A fresh seed, printed so that what it led to can be had again.
inline std::uint64_t seed_for(const char* what) {
  const std::uint64_t chosen = std::random_device{}();
  std::cout << what << ": seed " << chosen << '\n';
  return chosen;
}

/// The last one is none.
inline constexpr const char* system_names[] = {
    "abort",         "sol_log_",    "sol_memcpy_",         "sol_memmove_",
    "sol_memcmp_",   "sol_memset_", "sol_set_return_data", "sol_set_storage",
    "sol_unheard_of"};

inline std::vector<unsigned char> random_input(Dice& dice) {
  std::vector<unsigned char> input(kernels::prop_amm::SbpfStrategy::input_bytes);
  input[9] = 4;
  input[16] = static_cast<unsigned char>(dice.below(5));
  for (std::size_t i = 17; i < 100; ++i) input[i] = static_cast<unsigned char>(dice.next());
  return input;
}

/// A slot that the verifier may well take: sound registers, jumps that stay, addresses that exist.
inline Slot random_slot(Dice& dice, std::size_t at, std::size_t count, const std::vector<unsigned>& opcodes) {
  Slot slot;
  slot.opcode = opcodes[dice.below(opcodes.size())];
  slot.d = static_cast<unsigned>(dice.below(10));
  slot.s = static_cast<unsigned>(dice.below(11));
  const bool store = (slot.opcode & 7) == 2 || (slot.opcode & 7) == 3;
  if (store && dice.coin()) slot.d = 10;
  const bool jump =
      (slot.opcode & 7) == 5 && slot.opcode != 0x85 && slot.opcode != 0x8d && slot.opcode != 0x95;
  if (jump)
    slot.offset = static_cast<int>(dice.below(count)) - static_cast<int>(at) - 1;
  else
    slot.offset =
        dice.coin() ? -static_cast<int>(dice.below(64)) : static_cast<int>(dice.below(0x10000)) - 0x8000;
  if (slot.opcode == 0x85)
    slot.immediate = dice.coin() ? -1 : static_cast<int>(dice.below(count)) - static_cast<int>(at) - 1;
  else if (slot.opcode == 0x8d)
    slot.immediate = static_cast<int>(dice.below(10));
  else if (slot.opcode == 0xd4 || slot.opcode == 0xdc)
    slot.immediate = 16 << dice.below(3);
  else
    slot.immediate = 1 + static_cast<int>(dice.below(dice.coin() ? 31 : 0x7fffffff));
  if ((slot.opcode & 0xf7) == 0x67 || (slot.opcode & 0xf7) == 0x77 || (slot.opcode & 0xf7) == 0xc7 ||
      (slot.opcode & 0xf7) == 0x64 || (slot.opcode & 0xf7) == 0x74 || (slot.opcode & 0xf7) == 0xc4)
    slot.immediate &= 31;
  return slot;
}

/// Any instructions at all, in a row.
class RandomPrograms {
 public:
  RandomPrograms() {
    for (unsigned opcode = 1; opcode < 256; ++opcode)
      for (const int immediate : {1, 16})
        if (opcode != 0x18 && !strategy::verify(text_of({{opcode, 0, 0, 0, immediate}, {0x95}}))) {
          opcodes_.push_back(opcode);
          break;
        }
    // Calls are where the rare endings are.
    for (int i = 0; i < 12; ++i) opcodes_.insert(opcodes_.end(), {0x85, 0x8d});
  }

  DynamicFile next(Dice& dice) const {
    DynamicFile file;
    const std::size_t count = 4 + dice.below(60);
    // Registers begin as addresses and small numbers, so that something is done.
    for (unsigned d = 2; d < 10 && file.text.size() + 8 < count; ++d) {
      const std::uint64_t region = 1 + dice.below(4);
      // Of the text often the second half of one of these constants.
      const std::uint64_t in_text = dice.coin() ? dice.below(count * 8) : 8 * (2 * dice.below(8) + 1);
      const std::uint64_t offset =
          region == 1 ? DynamicFile::text_at + in_text : dice.below(region == 4 ? 1'106 : 40'000);
      for (const Slot& slot : wide(d, dice.below(4) == 0 ? dice.below(2'000) : region << 32 | offset))
        file.text.push_back(slot);
    }
    while (file.text.size() < count) {
      const std::size_t at = file.text.size();
      file.text.push_back(random_slot(dice, at, count, opcodes_));
      if (file.text.back().opcode == 0x85 && file.text.back().immediate == -1)
        file.relocations.push_back({DynamicFile::slot_at(at), 10, system_names[dice.below(9)]});
    }
    for (std::uint64_t i = dice.below(16); i > 0; --i)
      file.constants.push_back(static_cast<unsigned char>(dice.next()));
    return file;
  }

 private:
  std::vector<unsigned> opcodes_;
};

/// Programs that mostly stay where they may: functions that call each other, loops that end, memory that is
/// there. So calls go deep before anything fails.
class SoundPrograms {
 public:
  static DynamicFile next(Dice& dice) {
    Writer writer(dice);
    return writer.write();
  }

 private:
  class Writer {
   public:
    explicit Writer(Dice& dice) : dice_(dice) {}

    DynamicFile write() {
      const std::uint64_t functions = 1 + dice_.below(4);
      std::vector<std::pair<std::size_t, std::uint64_t>> calls;
      std::vector<std::size_t> begins;
      for (std::uint64_t i = 0; i < functions; ++i) {
        begins.push_back(file_.text.size());
        calls_.clear();
        function(i == 0);
        for (const std::size_t at : calls_)
          // Mostly to the next function; at times back, which ends by depth or by the limit.
          calls.emplace_back(
              at, dice_.below(16) == 0 ? dice_.below(functions) : i + 1 + dice_.below(functions - i));
      }
      for (const auto& [at, to] : calls) {
        const std::size_t target = begins[static_cast<std::size_t>(std::min(to, functions - 1))];
        file_.text[at].immediate = static_cast<std::int64_t>(target) - static_cast<std::int64_t>(at) - 1;
        // What would be a call of itself and nothing else.
        if (file_.text[at].immediate == -1) file_.text[at] = {0xb7, 0, 0, 0, 1};
      }
      for (int i = 0; i < 24; ++i) file_.constants.push_back(static_cast<unsigned char>(dice_.next()));
      return file_;
    }

   private:
    void put(const Slot& slot) { file_.text.push_back(slot); }
    int small(std::uint64_t limit) { return static_cast<int>(dice_.below(limit)); }
    unsigned low() { return static_cast<unsigned>(dice_.below(6)); }

    /// r6 is the input or an argument, r7 the frame, r8 the heap or the constants, r9 a counter.
    void function(bool first) {
      put({0xbf, 6, 1});
      if (!first && dice_.coin()) put({0xbf, 6, 2});
      put({0xbf, 7, 10});
      put({0x07, 7, 0, 0, -small(512) - 64});
      const bool constants = dice_.below(3) == 0;
      for (const Slot& slot : wide(8, constants ? 0x100000000U + DynamicFile::text_at + dice_.below(64)
                                                : 0x300000000U + dice_.below(20'000)))
        put(slot);
      for (unsigned d = 0; d < 6; ++d)
        if (d != 1 && d != 2) {
          if (dice_.coin()) {
            put({0xb7, d, 0, 0, static_cast<std::int32_t>(dice_.next())});
          } else {
            for (const Slot& slot : wide(d, dice_.next() >> dice_.below(64))) put(slot);
          }
        }
      for (std::uint64_t pieces = 1 + dice_.below(6); pieces > 0; --pieces) piece(2);
      if (first && dice_.below(3) != 0) set_result();
      put({0x95});
    }

    void piece(int nested) {
      switch (dice_.below(nested > 0 ? 9 : 6)) {
        case 0: return pointer();
        case 1: return system();
        case 2: return call();
        case 6: return loop(nested);
        case 7:
        case 8: return fork(nested);
        default:
          for (std::uint64_t i = 1 + dice_.below(8); i > 0; --i) one();
      }
    }

    /// An operation or an access.
    void one() {
      static constexpr unsigned operations[] = {0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x47,
                                                0x4f, 0x57, 0x5f, 0x67, 0x6f, 0x77, 0x7f, 0x87, 0x97,
                                                0x9f, 0xa7, 0xaf, 0xb7, 0xbf, 0xc7, 0xcf};
      static constexpr unsigned loads[] = {0x71, 0x69, 0x61, 0x79};
      static constexpr unsigned stores[] = {0x73, 0x6b, 0x63, 0x7b, 0x72, 0x6a, 0x62, 0x7a};
      const std::uint64_t kind = dice_.below(16);
      const int width = small(4);
      if (kind < 2) return put({loads[width], low(), 6, small(first_bytes)});
      if (kind == 2) return put({stores[width + 4 * small(2)], 6, low(), small(first_bytes), 77});
      if (kind == 3) return put({loads[width], low(), dice_.coin() ? 7U : 8U, small(24)});
      if (kind == 4) return put({stores[width + 4 * small(2)], 7, low(), small(24), -5});
      if (kind == 5) return put({loads[width], low(), 10, -8 - small(600)});
      if (kind == 6)
        return put(
            {stores[width + 4 * small(2)], 10, dice_.below(12) == 0 ? 10U : low(), -8 - small(600), -9});
      if (kind == 7 && dice_.coin()) return put({stores[width], dice_.coin() ? 7U : 8U, 10, small(24)});
      if (kind == 7) {
        // The low half of something.
        const unsigned d = low();
        if (dice_.coin()) put({0xbf, d, low()});
        put({0x67, d, 0, 0, 32});
        return put({dice_.coin() ? 0x77U : 0xc7U, d, 0, 0, 32});
      }
      if (kind == 8) return put({dice_.coin() ? 0xd4U : 0xdcU, low(), 0, 0, 16 << small(3)});
      const unsigned operation = operations[dice_.below(std::size(operations))];
      const bool shifts =
          (operation & 0xf0) == 0x60 || (operation & 0xf0) == 0x70 || (operation & 0xf0) == 0xc0;
      const bool narrow = dice_.below(3) == 0;
      std::int64_t immediate = static_cast<std::int32_t>(dice_.next() >> dice_.below(64));
      if (shifts) immediate &= narrow ? 31 : 63;
      if (((operation & 0xf0) == 0x30 || (operation & 0xf0) == 0x90) && immediate == 0) immediate = 7;
      const unsigned s = dice_.below(10) == 0 ? 6 + static_cast<unsigned>(dice_.below(5)) : low();
      put({narrow ? operation - 3 : operation, low(), s, 0, immediate});
    }

    /// An access through an address that nobody knows beforehand.
    void pointer() {
      const unsigned d = 1 + static_cast<unsigned>(dice_.below(4));
      const std::uint64_t base = dice_.below(8);
      put({0xb7, d, 0, 0, small(700)});
      if (dice_.coin()) {
        put({0x71, d, 6, small(64)});
      }
      if (base < 3)
        put({0x0f, d, 6});
      else if (base < 6)
        put({0x0f, d, 7});
      else if (base < 7)
        put({0x0f, d, 8});
      else
        put({0x0f, d, 10});
      if (dice_.below(12) == 0) put({0x07, d, 0, 0, small(9'000) - 4'500});
      put({dice_.coin() ? 0x79U : 0x71U, 0, d, small(16) - 8});
      if (dice_.coin()) put({dice_.coin() ? 0x7bU : 0x73U, d, 0, small(16) - 8});
    }

    void system() {
      const std::uint64_t which = dice_.below(9);
      const auto address = [&](unsigned d, int limit) {
        put({0xbf, d, 6 + static_cast<unsigned>(dice_.below(2))});
        put({0x07, d, 0, 0, small(static_cast<std::uint64_t>(limit))});
      };
      if (which == 0 && dice_.below(8) != 0) return;
      address(1, 32);
      address(2, 32);
      const bool by_length = which >= 6 || which == 5;
      if (by_length) put({0xb7, 2, 0, 0, which == 7 ? small(1'100) : which == 6 ? 8 - small(2) : small(12)});
      put({0xb7, 3, 0, 0, small(48)});
      address(4, 40);
      file_.relocations.push_back({DynamicFile::slot_at(file_.text.size()), 10, system_names[which]});
      put({0x85, 0, 0, 0, -1});
    }
    void set_result() {
      put({0x7b, 10, 0, -8});
      put({0xbf, 1, 10});
      put({0x07, 1, 0, 0, -8});
      put({0xb7, 2, 0, 0, 8});
      file_.relocations.push_back({DynamicFile::slot_at(file_.text.size()), 10, "sol_set_return_data"});
      put({0x85, 0, 0, 0, -1});
    }

    void call() {
      if (dice_.coin()) {
        put({0xbf, 1, 10});
        put({0x07, 1, 0, 0, -small(256) - 64});
      } else {
        put({0xbf, 1, 6});
      }
      put({0xbf, 2, 6 + static_cast<unsigned>(dice_.below(2))});
      if (dice_.below(24) == 0) return put({0x8d, 0, 0, 0, 8});
      calls_.push_back(file_.text.size());
      put({0x85, 0, 1, 0, 0});
    }

    void loop(int nested) {
      put({0xb7, 9, 0, 0, 1 + small(12)});
      const std::size_t top = file_.text.size();
      piece(nested - 1);
      put({0x07, 9, 0, 0, -1});
      // A loop within may have left a 0.
      put({0xd5, 9, 0, 1, 0});
      put({0x05, 0, 0, static_cast<int>(top) - static_cast<int>(file_.text.size()) - 1});
    }

    void fork(int nested) {
      static constexpr unsigned jumps[] = {0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x55, 0x5d, 0x65,
                                           0x6d, 0x75, 0x7d, 0xa5, 0xad, 0xb5, 0xbd, 0xc5, 0xcd, 0xd5, 0xdd};
      const std::size_t at = file_.text.size();
      put({jumps[dice_.below(std::size(jumps))], low(), static_cast<unsigned>(dice_.below(11)), 0,
           static_cast<std::int32_t>(dice_.next() >> dice_.below(64))});
      piece(nested - 1);
      file_.text[at].offset = static_cast<int>(file_.text.size() - at) - 1;
    }

    static constexpr std::uint64_t first_bytes = 64;
    Dice& dice_;
    DynamicFile file_;
    std::vector<std::size_t> calls_;
  };
};

/// The test vectors' objects and a small one, with some bytes changed.
class DamagedFiles {
 public:
  DamagedFiles() {
    for (const char* name : {"cp30.bpf.o", "ewma_fee.bpf.o", "cp30.sbf.so", "ewma_fee.sbf.so"})
      files_.push_back(object_file(name));
    DynamicFile small;
    small.text = joined(
        {wide(1, DynamicFile::slot_at(6)), {{0x79, 0, 1}, {0x85, 0, 0, 0, -1}, {0x85, 0, 1, 0, 0}, {0x95}}});
    small.constants = {1, 2, 3, 4, 5, 6, 7, 8};
    small.relocations = {{DynamicFile::slot_at(0), 8},
                         {DynamicFile::slot_at(3), 10, "sol_memset_"},
                         {DynamicFile::slot_at(6), 8},
                         {DynamicFile::slot_at(4), 10, "f", DynamicFile::slot_at(5)}};
    files_.push_back(small.bytes());
  }

  std::vector<unsigned char> next(Dice& dice) const {
    auto file = files_[dice.below(4) == 0 ? dice.below(files_.size()) : files_.size() - 1];
    const auto size = file.size();
    for (std::uint64_t i = 1 + dice.below(4); i > 0; --i) {
      // The headers and tables at the ends are where a file can lie most.
      const std::uint64_t kind = dice.below(8);
      const std::size_t at = kind < 2   ? dice.below(232)
                             : kind < 5 ? size - 1 - dice.below(std::min<std::size_t>(size, 1'024))
                                        : dice.below(size);
      const std::uint64_t how = dice.below(4);
      if (how == 0) file[at] = static_cast<unsigned char>(dice.next());
      if (how == 1) file[at] = static_cast<unsigned char>(file[at] ^ 1U << dice.below(8));
      if (how == 2) file[at] = dice.coin() ? 0xff : 0;
      if (how == 3 && at + 8 <= size) {
        const std::uint64_t value = dice.coin() ? dice.below(size + 16) : ~dice.below(64);
        std::memcpy(file.data() + at, &value, 8);
      }
    }
    if (dice.below(16) == 0) file.resize(dice.below(size));
    return file;
  }

 private:
  std::vector<std::vector<unsigned char>> files_;
};

}  // namespace calyx::testing
