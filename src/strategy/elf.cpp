#include "strategy/elf.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace calyx::strategy {
namespace {

namespace sbpf = kernels::sbpf;
using sbpf::Op;
using Bytes = std::span<const unsigned char>;

// Of the ELF specification and the BPF supplement.
constexpr std::uint16_t type_relocatable = 1;
constexpr std::uint16_t type_dynamic = 3;
constexpr std::uint16_t machine_bpf = 247;
constexpr std::uint16_t machine_sbpf = 263;
constexpr std::uint64_t header_bytes = 64;
constexpr std::uint64_t section_header_bytes = 64;
constexpr std::uint64_t segment_header_bytes = 56;
constexpr std::uint64_t symbol_bytes = 24;
constexpr std::uint64_t relocation_bytes = 16;
constexpr std::uint64_t dynamic_bytes = 16;
enum : std::uint32_t {
  section_null = 0,
  section_progbits = 1,
  section_symbols = 2,
  section_strings = 3,
  section_rela = 4,
  section_dynamic = 6,
  section_nobits = 8,
  section_rel = 9,
  section_dynamic_symbols = 11
};
constexpr std::uint64_t flag_write = 1;
constexpr std::uint32_t segment_load = 1;
constexpr std::uint32_t segment_dynamic = 2;
enum : std::uint64_t {
  tag_end = 0,
  tag_symbols = 6,
  tag_rela = 7,
  tag_rel = 17,
  tag_rel_bytes = 18,
  tag_rel_entry = 19
};
enum : std::uint32_t { relocation_64 = 1, relocation_relative = 8, relocation_call = 10 };
constexpr std::uint64_t program_begin = std::uint64_t{sbpf::region_program} << 32;

constexpr std::uint8_t opcode_load_constant = 0x18;
constexpr std::uint8_t opcode_call = 0x85;
constexpr std::size_t slot_bytes = 8;
// Of a section's or symbol's name: every relocation may look for the end of one.
constexpr std::uint64_t name_bytes_max = 256;

template <class T>
T read(Bytes bytes, std::uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <class T>
void write(std::vector<unsigned char>& bytes, std::uint64_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

bool holds(std::uint64_t size, std::uint64_t at, std::uint64_t bytes) {
  return at <= size && bytes <= size - at;
}

/// An instruction as it is written.
struct Raw {
  std::uint8_t opcode;
  std::uint8_t d;
  std::uint8_t s;
  std::int16_t offset;
  std::int32_t immediate;
};
Raw raw_at(Bytes text, std::size_t slot) {
  const unsigned char* from = text.data() + slot * slot_bytes;
  Raw raw{from[0], static_cast<std::uint8_t>(from[1] & 0xf), static_cast<std::uint8_t>(from[1] >> 4), 0, 0};
  std::memcpy(&raw.offset, from + 2, sizeof raw.offset);
  std::memcpy(&raw.immediate, from + 4, sizeof raw.immediate);
  return raw;
}

/// What is to be looked at in an instruction beside its registers.
enum class Check : std::uint8_t { none, store, divisor, shift_32, shift_64, ends, wide, branch, target };

struct Known {
  Op op;
  Check check = Check::none;
};

/// The instructions of version 1.
std::optional<Known> known(std::uint8_t opcode) {
  switch (opcode) {
    case 0x07: return Known{Op::add_i};
    case 0x0f: return Known{Op::add_r};
    case 0x17: return Known{Op::sub_i};
    case 0x1f: return Known{Op::sub_r};
    case 0x27: return Known{Op::mul_i};
    case 0x2f: return Known{Op::mul_r};
    case 0x37: return Known{Op::div_i, Check::divisor};
    case 0x3f: return Known{Op::div_r};
    case 0x47: return Known{Op::or_i};
    case 0x4f: return Known{Op::or_r};
    case 0x57: return Known{Op::and_i};
    case 0x5f: return Known{Op::and_r};
    case 0x67: return Known{Op::shl_i, Check::shift_64};
    case 0x6f: return Known{Op::shl_r};
    case 0x77: return Known{Op::shr_i, Check::shift_64};
    case 0x7f: return Known{Op::shr_r};
    case 0x87: return Known{Op::neg};
    case 0x97: return Known{Op::mod_i, Check::divisor};
    case 0x9f: return Known{Op::mod_r};
    case 0xa7: return Known{Op::xor_i};
    case 0xaf: return Known{Op::xor_r};
    case 0xb7: return Known{Op::mov_i};
    case 0xbf: return Known{Op::mov_r};
    case 0xc7: return Known{Op::sar_i, Check::shift_64};
    case 0xcf: return Known{Op::sar_r};

    case 0x04: return Known{Op::add_32_i};
    case 0x0c: return Known{Op::add_32_r};
    case 0x14: return Known{Op::sub_32_i};
    case 0x1c: return Known{Op::sub_32_r};
    case 0x24: return Known{Op::mul_32_i};
    case 0x2c: return Known{Op::mul_32_r};
    case 0x34: return Known{Op::div_32_i, Check::divisor};
    case 0x3c: return Known{Op::div_32_r};
    case 0x44: return Known{Op::or_32_i};
    case 0x4c: return Known{Op::or_32_r};
    case 0x54: return Known{Op::and_32_i};
    case 0x5c: return Known{Op::and_32_r};
    case 0x64: return Known{Op::shl_32_i, Check::shift_32};
    case 0x6c: return Known{Op::shl_32_r};
    case 0x74: return Known{Op::shr_32_i, Check::shift_32};
    case 0x7c: return Known{Op::shr_32_r};
    case 0x84: return Known{Op::neg_32};
    case 0x94: return Known{Op::mod_32_i, Check::divisor};
    case 0x9c: return Known{Op::mod_32_r};
    case 0xa4: return Known{Op::xor_32_i};
    case 0xac: return Known{Op::xor_32_r};
    case 0xb4: return Known{Op::mov_32_i};
    case 0xbc: return Known{Op::mov_32_r};
    case 0xc4: return Known{Op::sar_32_i, Check::shift_32};
    case 0xcc: return Known{Op::sar_32_r};
    case 0xd4: return Known{Op::little_16, Check::ends};
    case 0xdc: return Known{Op::big_16, Check::ends};

    case opcode_load_constant: return Known{Op::load_constant, Check::wide};
    case 0x71: return Known{Op::load_8};
    case 0x69: return Known{Op::load_16};
    case 0x61: return Known{Op::load_32};
    case 0x79: return Known{Op::load_64};
    case 0x73: return Known{Op::store_8_r, Check::store};
    case 0x6b: return Known{Op::store_16_r, Check::store};
    case 0x63: return Known{Op::store_32_r, Check::store};
    case 0x7b: return Known{Op::store_64_r, Check::store};
    case 0x72: return Known{Op::store_8_i, Check::store};
    case 0x6a: return Known{Op::store_16_i, Check::store};
    case 0x62: return Known{Op::store_32_i, Check::store};
    case 0x7a: return Known{Op::store_64_i, Check::store};

    case 0x05: return Known{Op::jump, Check::branch};
    case 0x15: return Known{Op::jump_eq_i, Check::branch};
    case 0x1d: return Known{Op::jump_eq_r, Check::branch};
    case 0x25: return Known{Op::jump_gt_u_i, Check::branch};
    case 0x2d: return Known{Op::jump_gt_u_r, Check::branch};
    case 0x35: return Known{Op::jump_ge_u_i, Check::branch};
    case 0x3d: return Known{Op::jump_ge_u_r, Check::branch};
    case 0x45: return Known{Op::jump_set_i, Check::branch};
    case 0x4d: return Known{Op::jump_set_r, Check::branch};
    case 0x55: return Known{Op::jump_ne_i, Check::branch};
    case 0x5d: return Known{Op::jump_ne_r, Check::branch};
    case 0x65: return Known{Op::jump_gt_s_i, Check::branch};
    case 0x6d: return Known{Op::jump_gt_s_r, Check::branch};
    case 0x75: return Known{Op::jump_ge_s_i, Check::branch};
    case 0x7d: return Known{Op::jump_ge_s_r, Check::branch};
    case opcode_call: return Known{Op::call};
    case 0x8d: return Known{Op::call_register, Check::target};
    case 0x95: return Known{Op::leave};
    case 0xa5: return Known{Op::jump_lt_u_i, Check::branch};
    case 0xad: return Known{Op::jump_lt_u_r, Check::branch};
    case 0xb5: return Known{Op::jump_le_u_i, Check::branch};
    case 0xbd: return Known{Op::jump_le_u_r, Check::branch};
    case 0xc5: return Known{Op::jump_lt_s_i, Check::branch};
    case 0xcd: return Known{Op::jump_lt_s_r, Check::branch};
    case 0xd5: return Known{Op::jump_le_s_i, Check::branch};
    case 0xdd: return Known{Op::jump_le_s_r, Check::branch};
    default: return std::nullopt;
  }
}

ObjectFault malformed(std::uint64_t at, std::string what) {
  return {"elf_malformed", at, "byte " + std::to_string(at) + ": " + std::move(what)};
}
ObjectFault unsupported(std::uint64_t at, std::string what) {
  return {"elf_unsupported", at, "byte " + std::to_string(at) + ": " + std::move(what)};
}
ObjectFault too_large(std::uint64_t at, std::string what) { return {"elf_too_large", at, std::move(what)}; }
ObjectFault refused(std::uint64_t slot, std::string what) {
  return {"bpf_verify", slot, "instruction " + std::to_string(slot) + ": " + std::move(what)};
}

/// MurmurHash3, 32 bits, seed 0: how version 1 names what it calls.
std::uint32_t murmur3(Bytes bytes) {
  const auto rotated = [](std::uint32_t value, int by) { return value << by | value >> (32 - by); };
  const auto mixed = [&](std::uint32_t word) { return rotated(word * 0xcc9e2d51U, 15) * 0x1b873593U; };
  std::uint32_t hash = 0;
  std::size_t at = 0;
  for (; at + 4 <= bytes.size(); at += 4)
    hash = rotated(hash ^ mixed(read<std::uint32_t>(bytes, at)), 13) * 5 + 0xe6546b64U;
  std::uint32_t rest = 0;
  for (std::size_t i = at; i < bytes.size(); ++i) rest |= std::uint32_t{bytes[i]} << (8 * (i - at));
  if (at < bytes.size()) hash ^= mixed(rest);
  hash ^= static_cast<std::uint32_t>(bytes.size());
  hash = (hash ^ hash >> 16) * 0x85ebca6bU;
  hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
  return hash ^ hash >> 16;
}
std::uint32_t key_of_name(std::string_view name) {
  return murmur3({reinterpret_cast<const unsigned char*>(name.data()), name.size()});
}
std::uint32_t key_of_slot(std::uint64_t slot) {
  unsigned char bytes[8];
  std::memcpy(bytes, &slot, sizeof slot);
  return murmur3(bytes);
}

std::optional<sbpf::SystemCall> system_call_of(std::uint32_t key) {
  using sbpf::SystemCall;
  static const std::pair<std::uint32_t, SystemCall> calls[] = {
      {key_of_name("abort"), SystemCall::abort},
      {key_of_name("sol_log_"), SystemCall::log},
      {key_of_name("sol_memcpy_"), SystemCall::copy},
      {key_of_name("sol_memmove_"), SystemCall::move},
      {key_of_name("sol_memcmp_"), SystemCall::compare},
      {key_of_name("sol_memset_"), SystemCall::fill},
      {key_of_name("sol_set_return_data"), SystemCall::set_return_data},
      {key_of_name("sol_set_storage"), SystemCall::set_storage},
  };
  for (const auto& call : calls)
    if (call.first == key) return call.second;
  return std::nullopt;
}

/// The functions that a program calls, by the key that stands in the call.
using Functions = std::unordered_map<std::uint32_t, std::uint32_t>;

/// Puts a key into every call that names its function by distance. Gives the fault, if there is one.
std::optional<ObjectFault> key_calls(std::vector<unsigned char>& file, std::uint64_t text_at,
                                     std::uint64_t slots, bool plain, Functions& functions) {
  for (std::uint64_t slot = 0; slot < slots; ++slot) {
    const std::uint64_t at = text_at + slot * slot_bytes;
    const Raw raw = raw_at(Bytes(file).subspan(at, slot_bytes), 0);
    if (raw.opcode != opcode_call) continue;
    // The kernel's helpers are called by number, and have no register field.
    if (plain && raw.s != 1)
      return unsupported(at, "instruction " + std::to_string(slot) + " calls the helper function " +
                                 std::to_string(raw.immediate));
    if (raw.immediate == -1) continue;
    const std::int64_t target = static_cast<std::int64_t>(slot) + 1 + raw.immediate;
    if (target < 0 || target >= static_cast<std::int64_t>(slots))
      return refused(slot, "calls outside of the text");
    const std::uint32_t key = key_of_slot(static_cast<std::uint64_t>(target));
    if (system_call_of(key)) return unsupported(at, "a function has the key of a system call");
    functions[key] = static_cast<std::uint32_t>(target);
    write(file, at + 4, key);
  }
  return std::nullopt;
}

/// Makes verified text into code. Gives the fault, if a call is at fault.
std::optional<ObjectFault> decode(Bytes text, const Functions& functions, SbpfObject& out) {
  const std::size_t slots = text.size() / slot_bytes;
  out.code.assign(slots + 1, {Op::end, 0, 0, 0, 0, 1});
  bool calls = false;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const Raw raw = raw_at(text, slot);
    sbpf::Instruction& it = out.code[slot];
    if (raw.opcode == 0) {
      it = {Op::half, 0, 0, 0, 0, 1};
      continue;
    }
    const Known what = *known(raw.opcode);
    it = {what.op, raw.d, raw.s, raw.offset, raw.immediate, 1};
    const auto after = [](Op op, std::uint32_t by) {
      return static_cast<Op>(static_cast<std::uint32_t>(op) + by);
    };
    const auto in_frame = [&raw](std::int32_t bytes) {
      return raw.offset <= -bytes && raw.offset >= -static_cast<std::int32_t>(sbpf::frame_bytes);
    };
    switch (what.op) {
      case Op::little_16:
      case Op::big_16: it.op = after(what.op, raw.immediate == 16 ? 0 : raw.immediate == 32 ? 1 : 2); break;
      case Op::load_constant: it.offset = raw_at(text, slot + 1).immediate; break;
      case Op::load_8:
      case Op::load_16:
      case Op::load_32:
      case Op::load_64: {
        const auto width = static_cast<std::uint32_t>(what.op) - static_cast<std::uint32_t>(Op::load_8);
        if (raw.s == 10 && in_frame(1 << width)) it.op = after(Op::load_8_frame, width);
        break;
      }
      case Op::store_8_r:
      case Op::store_16_r:
      case Op::store_32_r:
      case Op::store_64_r: {
        const auto width = static_cast<std::uint32_t>(what.op) - static_cast<std::uint32_t>(Op::store_8_r);
        if (raw.d == 10 && in_frame(1 << width)) it.op = after(Op::store_8_frame, width);
        break;
      }
      case Op::call_register:
        it.d = static_cast<std::uint8_t>(raw.immediate);
        calls = true;
        break;
      case Op::call: {
        const auto key = static_cast<std::uint32_t>(raw.immediate);
        if (const auto system = system_call_of(key)) {
          it.op = Op::call_system;
          it.offset = static_cast<std::int32_t>(*system);
        } else if (const auto found = functions.find(key); found != functions.end()) {
          if (raw_at(text, found->second).opcode == 0)
            return refused(slot, "calls into the middle of an lddw");
          it.offset = static_cast<std::int32_t>(found->second);
          calls = true;
        } else {
          it.op = Op::call_unknown;
        }
        break;
      }
      default: break;
    }
  }
  for (std::size_t slot = slots; slot-- > 0;) {
    sbpf::Instruction& it = out.code[slot];
    const bool ends = (it.op >= Op::jump && it.op <= Op::call_register) || it.op >= Op::call_unknown;
    if (!ends) it.length = 1 + out.code[slot + (it.op == Op::load_constant ? 2 : 1)].length;
  }
  // A plain object knows of no heap, and without calls it has one frame.
  out.frames = calls || !out.plain ? sbpf::frames_max : 1;
  out.heap_bytes = out.plain ? 0 : sbpf::heap_bytes_max;
  return std::nullopt;
}

struct Section {
  std::uint32_t name;
  std::uint32_t type;
  std::uint64_t flags;
  std::uint64_t address;
  std::uint64_t at;
  std::uint64_t bytes;
  std::uint32_t link;
  std::uint32_t info;
  std::uint64_t entry_bytes;
  std::uint64_t header_at;
};

struct Segment {
  std::uint32_t type;
  std::uint64_t at;
  std::uint64_t address;
  std::uint64_t bytes;
};

/// One file on its way to an object. Each step gives the fault that it found.
class Loader {
 public:
  explicit Loader(Bytes file) : file_(file) {}

  std::variant<SbpfObject, ObjectFault> load() {
    using Step = std::optional<ObjectFault> (Loader::*)();
    for (const Step step :
         {&Loader::read_header, &Loader::read_tables, &Loader::check_overlaps, &Loader::find_text})
      if (auto fault = (this->*step)()) return std::move(*fault);
    edited_.assign(file_.begin(), file_.end());
    if (auto fault = type_ == type_relocatable ? enter_object() : enter_program()) return std::move(*fault);
    const Section& text = sections_[text_];
    const Bytes code = Bytes(edited_).subspan(text.at, text.bytes);
    if (auto fault = verify(code)) return std::move(*fault);
    if (auto fault = decode(code, functions_, out_)) return std::move(*fault);
    return std::move(out_);
  }

 private:
  bool fits(std::uint64_t at, std::uint64_t bytes) const { return holds(file_.size(), at, bytes); }

  std::optional<ObjectFault> read_header() {
    if (file_.size() > object_bytes_max)
      return too_large(object_bytes_max, "the file has " + std::to_string(file_.size()) +
                                             " bytes, of at most " + std::to_string(object_bytes_max));
    if (file_.size() < header_bytes) return malformed(file_.size(), "the file ends in its header");
    if (std::memcmp(file_.data(),
                    "\x7f"
                    "ELF",
                    4) != 0)
      return malformed(0, "this is no ELF file");
    if (file_[4] != 2) return unsupported(4, "the class is not 64 bits");
    if (file_[5] != 1) return unsupported(5, "the byte order is not little-endian");
    if (file_[6] != 1 || read<std::uint32_t>(file_, 20) != 1)
      return malformed(6, "the version of ELF is not 1");
    if (file_[7] != 0) return unsupported(7, "the ABI is not System V's");
    type_ = read<std::uint16_t>(file_, 16);
    const auto machine = read<std::uint16_t>(file_, 18);
    if (type_ != type_relocatable && type_ != type_dynamic)
      return unsupported(16, "the type " + std::to_string(type_) + " is neither ET_REL nor ET_DYN");
    if (machine != machine_bpf && !(machine == machine_sbpf && type_ == type_dynamic))
      return unsupported(18, "the machine " + std::to_string(machine) + " is not BPF");
    const auto flags = read<std::uint32_t>(file_, 48);
    if (type_ == type_dynamic && flags != 0)
      return unsupported(48, flags == 0x20 ? std::string("this is sBPF version 2, of which only 1 is taken")
                                           : "sBPF flags " + std::to_string(flags) + " are not version 1");
    if (read<std::uint16_t>(file_, 52) != header_bytes) return malformed(52, "the header has another size");
    return std::nullopt;
  }

  std::optional<ObjectFault> read_tables() {
    const std::uint64_t sections_at = read<std::uint64_t>(file_, 40);
    const std::uint16_t sections = read<std::uint16_t>(file_, 60);
    const std::uint64_t segments_at = read<std::uint64_t>(file_, 32);
    const std::uint16_t segments = read<std::uint16_t>(file_, 56);
    if (sections == 0) return malformed(60, "there are no sections");
    if (sections > sections_max)
      return too_large(60,
                       std::to_string(sections) + " sections, of at most " + std::to_string(sections_max));
    if (segments > segments_max)
      return too_large(56,
                       std::to_string(segments) + " segments, of at most " + std::to_string(segments_max));
    if (read<std::uint16_t>(file_, 58) != section_header_bytes)
      return malformed(58, "section headers have another size");
    if (segments != 0 && read<std::uint16_t>(file_, 54) != segment_header_bytes)
      return malformed(54, "segment headers have another size");
    if (!fits(sections_at, sections * section_header_bytes))
      return malformed(40, "the section headers are not in the file");
    if (segments != 0 && !fits(segments_at, segments * segment_header_bytes))
      return malformed(32, "the segment headers are not in the file");
    taken_.push_back({0, header_bytes});
    taken_.push_back({sections_at, sections * section_header_bytes});
    if (segments != 0) taken_.push_back({segments_at, segments * segment_header_bytes});

    for (std::uint16_t i = 0; i < sections; ++i) {
      const std::uint64_t at = sections_at + i * section_header_bytes;
      Section section{read<std::uint32_t>(file_, at),      read<std::uint32_t>(file_, at + 4),
                      read<std::uint64_t>(file_, at + 8),  read<std::uint64_t>(file_, at + 16),
                      read<std::uint64_t>(file_, at + 24), read<std::uint64_t>(file_, at + 32),
                      read<std::uint32_t>(file_, at + 40), read<std::uint32_t>(file_, at + 44),
                      read<std::uint64_t>(file_, at + 56), at};
      if ((i == 0) != (section.type == section_null)) {
        if (i == 0) return malformed(at, "the first section is not the empty one");
        section.bytes = 0;
      }
      if (section.type == section_null || section.type == section_nobits) {
        section.at = 0;
        section.bytes = 0;
      }
      if (!fits(section.at, section.bytes))
        return malformed(at, "section " + std::to_string(i) + " is not in the file");
      if (section.bytes != 0) taken_.push_back({section.at, section.bytes});
      sections_.push_back(section);
    }
    for (std::uint16_t i = 0; i < segments; ++i) {
      const std::uint64_t at = segments_at + i * segment_header_bytes;
      const Segment segment{read<std::uint32_t>(file_, at), read<std::uint64_t>(file_, at + 8),
                            read<std::uint64_t>(file_, at + 16), read<std::uint64_t>(file_, at + 32)};
      if (!fits(segment.at, segment.bytes))
        return malformed(at, "segment " + std::to_string(i) + " is not in the file");
      segments_.push_back(segment);
    }
    const auto names = read<std::uint16_t>(file_, 62);
    if (names >= sections || sections_[names].type != section_strings)
      return malformed(62, "there are no section names");
    names_ = names;
    return std::nullopt;
  }

  std::optional<ObjectFault> check_overlaps() {
    std::sort(taken_.begin(), taken_.end());
    for (std::size_t i = 1; i < taken_.size(); ++i)
      if (taken_[i].first < taken_[i - 1].first + taken_[i - 1].second)
        return malformed(taken_[i].first, "two parts of the file overlap");
    return std::nullopt;
  }

  /// The text at `offset` of a table of strings, or nothing if it does not end there.
  std::optional<std::string_view> text_at(const Section& strings, std::uint64_t offset) const {
    if (strings.type != section_strings || offset >= strings.bytes) return std::nullopt;
    const auto* begin = reinterpret_cast<const char*>(file_.data() + strings.at + offset);
    const auto* end =
        static_cast<const char*>(std::memchr(begin, 0, std::min(strings.bytes - offset, name_bytes_max)));
    if (end == nullptr) return std::nullopt;
    return std::string_view(begin, static_cast<std::size_t>(end - begin));
  }

  std::optional<ObjectFault> find_text() {
    for (std::size_t i = 1; i < sections_.size(); ++i) {
      const Section& section = sections_[i];
      const auto name = text_at(sections_[names_], section.name);
      if (!name) return malformed(section.header_at, "section " + std::to_string(i) + " has no name");
      section_names_.resize(i + 1);
      section_names_[i] = *name;
      if (*name != ".text") continue;
      if (text_ != 0) return malformed(section.header_at, "there are two sections .text");
      if (section.type != section_progbits) return malformed(section.header_at, ".text holds no program");
      text_ = i;
    }
    if (text_ == 0) return malformed(40, "there is no section .text");
    const Section& text = sections_[text_];
    if (text.bytes > text_instructions_max * slot_bytes)
      return too_large(text.header_at, std::to_string(text.bytes / slot_bytes) +
                                           " instructions, of at most " +
                                           std::to_string(text_instructions_max));
    if (text.bytes == 0 || text.bytes % slot_bytes != 0)
      return refused(text.bytes / slot_bytes, "the text is not whole instructions");
    return std::nullopt;
  }

  // A relocatable object.
  std::optional<ObjectFault> enter_object() {
    const Section& text = sections_[text_];
    bool found = false;
    for (const Section& section : sections_) {
      if ((section.type == section_rel || section.type == section_rela) && section.info == text_ &&
          section.bytes != 0)
        return unsupported(section.header_at, ".text has relocations");
      if (section.type != section_symbols) continue;
      if (section.entry_bytes != symbol_bytes || section.bytes % symbol_bytes != 0 ||
          section.link >= sections_.size())
        return malformed(section.header_at, "this is no table of symbols");
      for (std::uint64_t at = section.at; at < section.at + section.bytes; at += symbol_bytes) {
        if (read<std::uint16_t>(file_, at + 6) != text_) continue;
        const auto name = text_at(sections_[section.link], read<std::uint32_t>(file_, at));
        if (!name) return malformed(at, "a symbol has no name");
        if (*name != "entrypoint") continue;
        if (read<std::uint64_t>(file_, at + 8) != 0)
          return unsupported(at + 8, "the function entrypoint does not begin the text");
        found = true;
      }
    }
    if (!found) return unsupported(text.header_at, "there is no function entrypoint");
    out_.plain = true;
    if (auto fault = key_calls(edited_, text.at, text.bytes / slot_bytes, true, functions_)) return fault;
    const Bytes code = Bytes(edited_).subspan(text.at, text.bytes);
    out_.image.assign(code.begin(), code.end());
    return std::nullopt;
  }

  // A Solana program.
  std::optional<ObjectFault> enter_program() {
    const Section& text = sections_[text_];
    const auto entry = read<std::uint64_t>(file_, 24);
    if (entry < text.address || entry - text.address >= text.bytes)
      return malformed(24, "the entry point is not in the text");
    if ((entry - text.address) % slot_bytes != 0)
      return malformed(24, "the entry point is in the middle of an instruction");
    out_.entry = static_cast<std::uint32_t>((entry - text.address) / slot_bytes);
    if (auto fault = find_image()) return fault;
    functions_[key_of_name("entrypoint")] = out_.entry;
    if (auto fault = key_calls(edited_, text.at, text.bytes / slot_bytes, false, functions_)) return fault;
    if (auto fault = relocate()) return fault;
    copy_image();
    return std::nullopt;
  }

  static bool starts_with(std::string_view text, std::string_view start) {
    return text.substr(0, start.size()) == start;
  }

  /// Which sections a program can read. They lie where their addresses say.
  std::optional<ObjectFault> find_image() {
    for (std::size_t i = 1; i < sections_.size(); ++i) {
      const Section& section = sections_[i];
      const std::string_view name = section_names_[i];
      if (starts_with(name, ".bss") || ((section.flags & flag_write) != 0 && starts_with(name, ".data") &&
                                        !starts_with(name, ".data.rel")))
        return unsupported(section.header_at, "data that can be written: section " + std::to_string(i));
      if (name != ".text" && name != ".rodata" && name != ".data.rel.ro" && name != ".eh_frame") continue;
      if (section.bytes == 0) continue;
      if (section.address != section.at)
        return unsupported(section.header_at + 16,
                           "section " + std::to_string(i) + " does not lie at its address");
      image_.push_back(i);
    }
    return std::nullopt;
  }

  void copy_image() {
    std::uint64_t begin = ~std::uint64_t{0};
    std::uint64_t end = 0;
    for (const std::size_t i : image_) {
      begin = std::min(begin, sections_[i].at);
      end = std::max(end, sections_[i].at + sections_[i].bytes);
    }
    out_.image_at = static_cast<std::uint32_t>(begin);
    out_.text_at = static_cast<std::uint32_t>(sections_[text_].address);
    const auto from = edited_.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto to = edited_.begin() + static_cast<std::ptrdiff_t>(end);
    // As the original has it: what lies between sections is read only if no other section does.
    if (image_.back() - image_.front() + 1 == image_.size()) {
      out_.image.assign(from, to);
      return;
    }
    out_.image.assign(end - begin, 0);
    for (const std::size_t i : image_)
      std::memcpy(out_.image.data() + (sections_[i].at - begin), edited_.data() + sections_[i].at,
                  sections_[i].bytes);
  }

  /// Where in the file the address is.
  std::optional<std::uint64_t> place_of(std::uint64_t address) const {
    for (const Segment& segment : segments_)
      if (segment.type == segment_load && address >= segment.address &&
          address - segment.address < segment.bytes)
        return segment.at + (address - segment.address);
    for (const Section& section : sections_)
      if (section.bytes != 0 && section.address == address) return section.at;
    return std::nullopt;
  }

  std::optional<ObjectFault> relocate() {
    std::uint64_t table_at = 0;
    std::uint64_t table_bytes = 0;
    for (const Segment& segment : segments_)
      if (segment.type == segment_dynamic && table_bytes == 0) {
        table_at = segment.at;
        table_bytes = segment.bytes;
      }
    for (const Section& section : sections_)
      if (section.type == section_dynamic && table_bytes == 0) {
        table_at = section.at;
        table_bytes = section.bytes;
      }
    if (table_bytes % dynamic_bytes != 0) return malformed(table_at, "the dynamic table has another size");
    std::uint64_t relocations = 0;
    std::uint64_t relocations_bytes = 0;
    std::uint64_t relocation_size = 0;
    std::uint64_t symbols = 0;
    for (std::uint64_t at = table_at; at < table_at + table_bytes; at += dynamic_bytes) {
      const auto tag = read<std::uint64_t>(file_, at);
      const auto value = read<std::uint64_t>(file_, at + 8);
      if (tag == tag_end) break;
      if (tag == tag_rela) return unsupported(at, "relocations with addends");
      if (tag == tag_rel) relocations = value;
      if (tag == tag_rel_bytes) relocations_bytes = value;
      if (tag == tag_rel_entry) relocation_size = value;
      if (tag == tag_symbols) symbols = value;
    }
    if (relocations == 0) return std::nullopt;
    if (relocation_size != relocation_bytes || relocations_bytes % relocation_bytes != 0)
      return malformed(table_at, "relocations have another size");
    const auto first = place_of(relocations);
    if (!first || !fits(*first, relocations_bytes))
      return malformed(table_at, "the relocations are not in the file");
    const Section* symbol_table = nullptr;
    if (symbols != 0) {
      for (const Section& section : sections_)
        if (section.address == symbols &&
            (section.type == section_symbols || section.type == section_dynamic_symbols))
          symbol_table = &section;
      if (symbol_table == nullptr || symbol_table->bytes % symbol_bytes != 0 ||
          symbol_table->link >= sections_.size())
        return malformed(table_at, "there is no table of dynamic symbols");
    }
    for (std::uint64_t at = *first; at < *first + relocations_bytes; at += relocation_bytes)
      if (auto fault = relocate_one(at, symbol_table)) return fault;
    return std::nullopt;
  }

  std::optional<ObjectFault> relocate_one(std::uint64_t at, const Section* symbols) {
    const Section& text = sections_[text_];
    const auto place = read<std::uint64_t>(file_, at);
    const auto type = read<std::uint32_t>(file_, at + 8);
    const auto index = read<std::uint32_t>(file_, at + 12);
    const bool in_text = place >= text.at && place - text.at < text.bytes;
    // Two instructions are touched at most.
    const std::uint64_t touched = type == relocation_64 || (type == relocation_relative && in_text) ? 16 : 8;
    if (!fits(place, touched)) return malformed(at, "a relocation is outside of the file");
    std::uint64_t symbol = 0;
    if (type == relocation_64 || type == relocation_call) {
      if (symbols == nullptr || index >= symbols->bytes / symbol_bytes)
        return malformed(at, "a relocation names no symbol");
      symbol = symbols->at + index * symbol_bytes;
    }
    const auto based = [](std::uint64_t address) {
      return address < program_begin ? program_begin + address : address;
    };
    const auto put_address = [&](std::uint64_t address) {
      write(edited_, place + 4, static_cast<std::uint32_t>(address));
      write(edited_, place + 12, static_cast<std::uint32_t>(address >> 32));
    };
    switch (type) {
      case relocation_64: {
        const std::uint64_t value = read<std::uint64_t>(file_, symbol + 8);
        const std::uint64_t added = read<std::uint32_t>(edited_, place + 4);
        // A sum that would wrap leads nowhere either way.
        put_address(based(value > ~std::uint64_t{0} - added ? ~std::uint64_t{0} : value + added));
        return std::nullopt;
      }
      case relocation_relative: {
        const std::uint64_t low = read<std::uint32_t>(edited_, place + 4);
        if (in_text) {
          const std::uint64_t address = std::uint64_t{read<std::uint32_t>(edited_, place + 12)} << 32 | low;
          if (address == 0) return malformed(at, "a relocation of no address");
          put_address(based(address));
        } else {
          write(edited_, place, program_begin + low);
        }
        return std::nullopt;
      }
      case relocation_call: {
        const auto name = text_at(sections_[symbols->link], read<std::uint32_t>(file_, symbol));
        if (!name) return malformed(symbol, "a symbol has no name");
        const std::uint64_t value = read<std::uint64_t>(file_, symbol + 8);
        std::uint32_t key = key_of_name(*name);
        if ((file_[symbol + 4] & 0xf) == 2 && value != 0) {
          if (value < text.address || value - text.address >= text.bytes)
            return malformed(symbol, "a function is not in the text");
          const std::uint64_t slot = (value - text.address) / slot_bytes;
          if (*name != "entrypoint") key = key_of_slot(slot);
          if (system_call_of(key)) return unsupported(symbol, "a function has the key of a system call");
          const auto [known_as, fresh] = functions_.emplace(key, static_cast<std::uint32_t>(slot));
          if (!fresh && known_as->second != slot) return unsupported(symbol, "two functions have one key");
        }
        write(edited_, place + 4, key);
        return std::nullopt;
      }
      default: return unsupported(at, "a relocation of type " + std::to_string(type));
    }
  }

  Bytes file_;
  std::vector<unsigned char> edited_;  ///< The file, with keys and addresses put in.
  std::uint16_t type_ = 0;
  std::vector<Section> sections_;
  std::vector<std::string_view> section_names_;
  std::vector<Segment> segments_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> taken_;
  std::vector<std::size_t> image_;
  std::size_t names_ = 0;
  std::size_t text_ = 0;
  Functions functions_;
  SbpfObject out_;
};

}  // namespace

kernels::sbpf::Program SbpfObject::view() const noexcept {
  kernels::sbpf::Program program;
  program.code = code.data();
  program.slots = static_cast<std::uint32_t>(code.empty() ? 0 : code.size() - 1);
  program.entry = entry;
  program.image = image.data();
  program.image_at = image_at;
  program.image_bytes = static_cast<std::uint32_t>(image.size());
  program.text_at = text_at;
  program.frames = frames;
  program.heap_bytes = heap_bytes;
  program.plain = plain;
  return program;
}

std::optional<ObjectFault> verify(std::span<const unsigned char> text) {
  const std::size_t slots = text.size() / slot_bytes;
  if (slots == 0 || text.size() % slot_bytes != 0)
    return refused(slots, "the text is not whole instructions");
  if (slots > text_instructions_max)
    return too_large(
        0, std::to_string(slots) + " instructions, of at most " + std::to_string(text_instructions_max));
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const Raw raw = raw_at(text, slot);
    const auto what = known(raw.opcode);
    if (!what) return refused(slot, "the opcode " + std::to_string(raw.opcode) + " is unknown");
    std::size_t next = slot;
    switch (what->check) {
      case Check::none:
      case Check::store: break;
      case Check::divisor:
        if (raw.immediate == 0) return refused(slot, "divides by zero");
        break;
      case Check::shift_32:
      case Check::shift_64:
        if (raw.immediate < 0 || raw.immediate >= (what->check == Check::shift_32 ? 32 : 64))
          return refused(slot, "shifts by " + std::to_string(raw.immediate));
        break;
      case Check::ends:
        if (raw.immediate != 16 && raw.immediate != 32 && raw.immediate != 64)
          return refused(slot, "turns " + std::to_string(raw.immediate) + " bits");
        break;
      case Check::wide:
        if (slot + 1 == slots || raw_at(text, slot + 1).opcode != 0) return refused(slot, "half of an lddw");
        ++next;
        break;
      case Check::branch: {
        const std::int64_t to = static_cast<std::int64_t>(slot) + 1 + raw.offset;
        if (to < 0 || to >= static_cast<std::int64_t>(slots))
          return refused(slot, "jumps outside of the text");
        if (raw_at(text, static_cast<std::size_t>(to)).opcode == 0)
          return refused(slot, "jumps into the middle of an lddw");
        break;
      }
      case Check::target:
        if (raw.immediate < 0 || raw.immediate > 9)
          return refused(slot, "calls through the register " + std::to_string(raw.immediate));
        break;
    }
    if (raw.s > 10) return refused(slot, "there is no register " + std::to_string(raw.s));
    if (raw.d > 10) return refused(slot, "there is no register " + std::to_string(raw.d));
    if (raw.d == 10 && what->check != Check::store) return refused(slot, "writes r10");
    slot = next;
  }
  return std::nullopt;
}

std::variant<SbpfObject, ObjectFault> load_elf(std::span<const unsigned char> file) {
  return Loader(file).load();
}

std::variant<SbpfObject, ObjectFault> load_text(std::span<const unsigned char> text) {
  if (text.size() > text_instructions_max * slot_bytes)
    return too_large(0, std::to_string(text.size() / slot_bytes) + " instructions, of at most " +
                            std::to_string(text_instructions_max));
  std::vector<unsigned char> edited(text.begin(), text.end());
  SbpfObject out;
  out.plain = true;
  Functions functions;
  if (auto fault = key_calls(edited, 0, edited.size() / slot_bytes, true, functions))
    return std::move(*fault);
  if (auto fault = verify(edited)) return std::move(*fault);
  if (auto fault = decode(edited, functions, out)) return std::move(*fault);
  out.image = std::move(edited);
  return out;
}

}  // namespace calyx::strategy
