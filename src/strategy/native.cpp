#include "strategy/native.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "strategy/native_emit.hpp"

namespace calyx::strategy {
namespace {

using kernels::bytecode::Instruction;
using kernels::bytecode::long_operand;
using kernels::bytecode::Memory;
using kernels::bytecode::Mode;
using kernels::bytecode::Op;
using kernels::bytecode::Outcome;
using kernels::bytecode::Program;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;
using kernels::bytecode::Wide;
namespace kb = kernels::bytecode;
namespace math = kernels::math;

/// The interpreter's own functions do the arithmetic, so there is one of each.
std::uint32_t help(NativeCall* call, std::uint64_t* frame, const Instruction* at) noexcept {
  using namespace kb::detail;
  const Instruction& it = *at;
  std::uint64_t* const stack_end = call->stack + call->segments.bytes[kb::segment_stack] / 8;
  const auto real = [&](std::uint32_t slot) { return math::double_of(frame[slot]); };
  const auto burn = [&](std::uint64_t fuel) {
    if (call->fuel < fuel) return false;
    call->fuel -= fuel;
    return true;
  };
  const auto load = [&](auto type) {
    const auto* from = call->segments.find(frame[it.b] + it.c, sizeof type, false);
    if (from == nullptr) return 0U;
    std::memcpy(&type, from, sizeof type);
    frame[it.a] = type;
    return 1U;
  };
  const auto store = [&](auto type) {
    auto* to = call->segments.find(frame[it.a] + it.c, sizeof type, true);
    if (to == nullptr) return 0U;
    type = static_cast<decltype(type)>(frame[it.b]);
    std::memcpy(to, &type, sizeof type);
    return 1U;
  };
  switch (it.op) {
    case Op::move_many: std::memmove(frame + it.a, frame + it.b, std::size_t{it.c} * 8); return 1;
    case Op::clear: std::memset(frame + it.a, 0, std::size_t{it.c} * 8); return 1;
    case Op::div_s:
    case Op::rem_s: {
      const auto x = static_cast<std::int64_t>(frame[it.b]);
      const auto y = static_cast<std::int64_t>(frame[it.c]);
      if (y == 0 || (y == -1 && frame[it.b] == 0x8000000000000000ULL)) return 0;
      frame[it.a] = static_cast<std::uint64_t>(it.op == Op::div_s ? x / y : x % y);
      return 1;
    }
    case Op::div_uw:
    case Op::rem_uw: {
      const Wide x = wide(frame + it.b);
      const Wide y = wide(frame + it.c);
      if (y == 0) return 0;
      const Wide q = divide(x, y);
      put(frame + it.a, it.op == Op::div_uw ? q : x - q * y);
      return 1;
    }
    case Op::div_sw:
    case Op::rem_sw: {
      const Wide x = wide(frame + it.b);
      const Wide y = wide(frame + it.c);
      if (y == 0 || (y == ~Wide{0} && x == Wide{1} << 127)) return 0;
      const Wide q = quotient(x, y, true);
      put(frame + it.a, it.op == Op::div_sw ? q : x - q * y);
      return 1;
    }
    case Op::div_wi:
    case Op::rem_wi: {
      const Wide x = wide(frame + it.b);
      const Wide q = divide_small(x, it.c);
      put(frame + it.a, it.op == Op::div_wi ? q : x - q * it.c);
      return 1;
    }
    case Op::rem_f: frame[it.a] = bits_put(std::fmod(real(it.b), real(it.c))); return 1;
    case Op::function_f: {
      const auto function = static_cast<RealFunction>(it.c);
      const double second = function >= RealFunction::minimum ? real(std::uint32_t{it.b} + 1) : 0.0;
      frame[it.a] = bits_put(function_of(function, real(it.b), second));
      return 1;
    }
    case Op::power_f: frame[it.a] = bits_put(math::power_of(real(it.b), real(it.c))); return 1;
    case Op::power_i:
      frame[it.a] = bits_put(whole_power(real(it.b), static_cast<std::int32_t>(frame[it.c])));
      return 1;
    case Op::fused_f:
      frame[it.a] = bits_put(std::fma(real(it.b), real(std::uint32_t{it.b} + 1), real(it.c)));
      return 1;
    case Op::u_to_double: frame[it.a] = math::bits_of(static_cast<double>(frame[it.b])); return 1;
    case Op::uw_to_double: frame[it.a] = math::bits_of(double_of_wide(wide(frame + it.b))); return 1;
    case Op::sw_to_double: {
      const Wide x = wide(frame + it.b);
      frame[it.a] = math::bits_of(below_zero(x) ? -double_of_wide(Wide{0} - x) : double_of_wide(x));
      return 1;
    }
    case Op::double_to_u:
      frame[it.a] = static_cast<std::uint64_t>(saturated(real(it.b), it.c, false));
      return 1;
    case Op::double_to_s:
      frame[it.a] = static_cast<std::uint64_t>(saturated(real(it.b), it.c, true));
      return 1;
    case Op::double_to_uw: put(frame + it.a, saturated(real(it.b), 128, false)); return 1;
    case Op::double_to_sw: put(frame + it.a, saturated(real(it.b), 128, true)); return 1;
    case Op::load_8: return load(std::uint8_t{});
    case Op::load_16: return load(std::uint16_t{});
    case Op::load_32: return load(std::uint32_t{});
    case Op::load_64: return load(std::uint64_t{});
    case Op::store_8: return store(std::uint8_t{});
    case Op::store_16: return store(std::uint16_t{});
    case Op::store_32: return store(std::uint32_t{});
    case Op::store_64: return store(std::uint64_t{});
    case Op::load_many: {
      const auto* from = call->segments.find(frame[it.b], std::uint64_t{it.c} * 8, false);
      if (from == nullptr) return 0;
      std::memmove(frame + it.a, from, std::size_t{it.c} * 8);
      return 1;
    }
    case Op::store_many: {
      auto* to = call->segments.find(frame[it.a], std::uint64_t{it.c} * 8, true);
      if (to == nullptr) return 0;
      std::memmove(to, frame + it.b, std::size_t{it.c} * 8);
      return 1;
    }
    case Op::copy: {
      const std::uint64_t size = frame[it.c];
      auto* to = call->segments.find(frame[it.a], size, true);
      const auto* from = call->segments.find(frame[it.b], size, false);
      if (to == nullptr || from == nullptr || !burn(size / 64)) return 0;
      if (size != 0) std::memmove(to, from, size);
      return 1;
    }
    case Op::fill_8: {
      const std::uint64_t size = frame[it.c];
      auto* to = call->segments.find(frame[it.a], size, true);
      if (to == nullptr || !burn(size / 64)) return 0;
      if (size != 0) std::memset(to, static_cast<int>(frame[it.b] & 0xff), size);
      return 1;
    }
    case Op::fill_slots: {
      const std::uint64_t count = frame[it.c];
      const std::uint64_t size = frame[it.c + 1];
      if (count > 0x10000 || size > 0x10000) return 0;
      auto* to = call->segments.find(frame[it.a], count * size * 8, true);
      // The element lies in the frame, as the compiler has it; who says so is checked here alone.
      if (to == nullptr || size > static_cast<std::uint64_t>(stack_end - (frame + it.b)) || !burn(count))
        return 0;
      for (std::uint64_t i = 0; i < count; ++i) std::memmove(to + i * size * 8, frame + it.b, size * 8);
      return 1;
    }
    case Op::index_8: {
      const std::uint64_t index = frame[it.c];
      if (index >= frame[it.b + 1]) return 0;
      const auto* from = call->segments.find(frame[it.b] + index, 1, false);
      if (from == nullptr) return 0;
      frame[it.a] = *from;
      return 1;
    }
    case Op::integer: return integer_operation(it, at[1], frame) == kb::Ending::returned ? 1 : 0;
    default: return 0;
  }
}

bool is_type(std::uint32_t type) {
  const std::uint32_t bits = kb::detail::bits_of_type(type);
  return type < 0x200 && (bits == 8 || bits == 16 || bits == 32 || bits == 64 || bits == 128);
}

/// The slots that an instruction touches, counted from its frame; 0 for one that is at fault.
std::uint32_t slots_of(const Compiled& made, std::uint32_t at) {
  const Instruction& it = made.code[at];
  const auto end = [](std::uint32_t slot, std::uint32_t count) { return count == 0 ? 1 : slot + count; };
  const auto reach = [](std::initializer_list<std::uint32_t> ends) { return std::max(ends); };
  const bool has_next = at + 1 < made.code.size();
  switch (it.op) {
    case Op::jump:
    case Op::call:
    case Op::leave:
    case Op::panic:
    case Op::fuel_end: return 1;
    case Op::load: return end(it.a, 1);
    case Op::constant: return long_operand(it) < made.pool.size() ? end(it.a, 1) : 0;
    case Op::constant_w: return std::uint64_t{long_operand(it)} + 1 < made.pool.size() ? end(it.a, 2) : 0;
    case Op::clear: return end(it.a, it.c);
    case Op::move_many: return reach({end(it.a, it.c), end(it.b, it.c)});
    case Op::jump_if:
    case Op::jump_unless:
    case Op::require:
    case Op::jump_eq_i:
    case Op::jump_ne_i: return end(it.a, 1);
    case Op::jump_zero_w:
    case Op::jump_not_zero_w: return end(it.a, 2);
    case Op::jump_eq:
    case Op::jump_ne:
    case Op::jump_lt_u:
    case Op::jump_le_u:
    case Op::jump_lt_s:
    case Op::jump_le_s:
    case Op::bound: return reach({end(it.a, 1), end(it.b, 1)});
    case Op::div_i:
    case Op::rem_i: return it.c == 0 ? 0 : reach({end(it.a, 1), end(it.b, 1)});
    case Op::move:
    case Op::add_i:
    case Op::sub_i:
    case Op::mul_i:
    case Op::and_i:
    case Op::shift_left_i:
    case Op::shift_right_i:
    case Op::bit_not:
    case Op::bool_not:
    case Op::negate:
    case Op::zero_8:
    case Op::zero_16:
    case Op::zero_32:
    case Op::sign_8:
    case Op::sign_16:
    case Op::sign_32:
    case Op::negate_f:
    case Op::u_to_double:
    case Op::s_to_double:
    case Op::load_8:
    case Op::load_16:
    case Op::load_32:
    case Op::load_64:
    case Op::store_8:
    case Op::store_16:
    case Op::store_32:
    case Op::store_64: return reach({end(it.a, 1), end(it.b, 1)});
    case Op::double_to_u:
    case Op::double_to_s: return it.c == 0 || it.c > 64 ? 0 : reach({end(it.a, 1), end(it.b, 1)});
    case Op::function_f: {
      if (it.c > static_cast<std::uint16_t>(RealFunction::copy_sign)) return 0;
      const bool two = it.c >= static_cast<std::uint16_t>(RealFunction::minimum);
      return reach({end(it.a, 1), end(it.b, two ? 2 : 1)});
    }
    case Op::power_i: return reach({end(it.a, 1), end(it.b, 1), end(it.c, 1)});
    case Op::fused_f: return reach({end(it.a, 1), end(it.b, 2), end(it.c, 1)});
    case Op::address: return end(it.a, 1);
    case Op::address_constant: return end(it.a, 1);
    case Op::load_many: return reach({end(it.a, it.c), end(it.b, 1)});
    case Op::store_many: return reach({end(it.a, 1), end(it.b, it.c)});
    case Op::fill_slots: return reach({end(it.a, 1), end(it.b, 1), end(it.c, 2)});
    case Op::index_address:
      if (!has_next) return 0;
      [[fallthrough]];
    case Op::index_8: return reach({end(it.a, 1), end(it.b, 2), end(it.c, 1)});
    case Op::uw_to_double:
    case Op::sw_to_double: return reach({end(it.a, 1), end(it.b, 2)});
    case Op::double_to_uw:
    case Op::double_to_sw:
    case Op::widen_u:
    case Op::widen_s: return reach({end(it.a, 2), end(it.b, 1)});
    case Op::div_wi:
    case Op::rem_wi:
      if (it.c == 0) return 0;
      [[fallthrough]];
    case Op::move_w:
    case Op::add_wi:
    case Op::sub_wi:
    case Op::mul_wi:
    case Op::not_w:
    case Op::negate_w: return reach({end(it.a, 2), end(it.b, 2)});
    case Op::mul_wide: return reach({end(it.a, 2), end(it.b, 1), end(it.c, 1)});
    case Op::shift_left_w:
    case Op::shift_right_uw:
    case Op::shift_right_sw: return reach({end(it.a, 2), end(it.b, 2), end(it.c, 1)});
    case Op::eq_w:
    case Op::ne_w:
    case Op::lt_uw:
    case Op::le_uw:
    case Op::lt_sw:
    case Op::le_sw: return reach({end(it.a, 1), end(it.b, 2), end(it.c, 2)});
    case Op::add_w:
    case Op::sub_w:
    case Op::mul_w:
    case Op::div_uw:
    case Op::div_sw:
    case Op::rem_uw:
    case Op::rem_sw:
    case Op::and_w:
    case Op::or_w:
    case Op::xor_w:
    case Op::min_uw:
    case Op::max_uw:
    case Op::min_sw:
    case Op::max_sw:
    case Op::sub_saturating_w: return reach({end(it.a, 2), end(it.b, 2), end(it.c, 2)});
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div_u:
    case Op::div_s:
    case Op::rem_u:
    case Op::rem_s:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::shift_left:
    case Op::shift_right_u:
    case Op::shift_right_s:
    case Op::eq:
    case Op::ne:
    case Op::lt_u:
    case Op::le_u:
    case Op::lt_s:
    case Op::le_s:
    case Op::min_u:
    case Op::max_u:
    case Op::min_s:
    case Op::max_s:
    case Op::sub_saturating:
    case Op::add_f:
    case Op::sub_f:
    case Op::mul_f:
    case Op::div_f:
    case Op::rem_f:
    case Op::eq_f:
    case Op::ne_f:
    case Op::lt_f:
    case Op::le_f:
    case Op::power_f:
    case Op::copy:
    case Op::fill_8:
    case Op::range: return reach({end(it.a, 1), end(it.b, 1), end(it.c, 1)});
    case Op::integer: {
      if (!has_next) return 0;
      const Instruction& how = made.code[at + 1];
      const auto kind = static_cast<Rare>(static_cast<std::uint16_t>(how.op));
      if (kind > Rare::convert || how.b > static_cast<std::uint16_t>(Mode::overflowing) || !is_type(how.a) ||
          (kind == Rare::convert && !is_type(how.c)))
        return 0;
      const std::uint32_t width = kb::detail::bits_of_type(how.a) == 128 ? 2 : 1;
      const std::uint32_t from = kind == Rare::convert && kb::detail::bits_of_type(how.c) == 128 ? 2 : width;
      const auto mode = static_cast<Mode>(how.b);
      const std::uint32_t to = mode == Mode::checked || mode == Mode::overflowing ? width + 1 : width;
      // The second operand is read whatever the kind.
      const bool counted = kind == Rare::power || kind == Rare::shift_left || kind == Rare::shift_right ||
                           kind == Rare::rotate_left || kind == Rare::rotate_right;
      return reach({end(it.a, to), end(it.b, std::max(from, width)), end(it.c, counted ? 1 : width)});
    }
  }
  return 0;
}

/// Walks through a function and what it calls.
class Walk {
 public:
  explicit Walk(const Compiled& made) : made_(made) {}

  /// The slots and the chain of calls that the function at `entry` needs.
  struct Need {
    std::uint64_t slots = 0;
    std::uint32_t calls = 0;
    bool open = true;  ///< Being looked at: to meet it again is a recursion.
  };

  const Need& function(std::uint32_t entry) {
    if (const auto known = needs_.find(entry); known != needs_.end()) {
      if (known->second.open) refuse("a function calls itself", entry);
      return known->second;
    }
    needs_[entry];
    if (++depth_ > kb::calls_max + 1) refuse("calls are too deep", entry);
    Need need;
    std::vector<std::uint32_t> left{entry};
    std::vector<bool> seen(made_.code.size());
    while (!left.empty() && fault_.empty()) {
      const std::uint32_t at = left.back();
      left.pop_back();
      if (at >= made_.code.size()) {
        refuse("a jump leads out of the code", at);
        break;
      }
      if (seen[at]) continue;
      seen[at] = true;
      const Instruction& it = made_.code[at];
      const std::uint32_t slots = it.op > Op::integer ? 0 : slots_of(made_, at);
      if (slots == 0) refuse("an instruction makes no sense", at);
      need.slots = std::max(need.slots, std::uint64_t{slots});
      switch (it.op) {
        case Op::leave:
        case Op::panic:
        case Op::fuel_end: continue;
        case Op::call: {
          if (long_operand(it) >= made_.code.size()) {
            refuse("a call leads out of the code", at);
            break;
          }
          const Need callee = function(long_operand(it));
          need.slots = std::max(need.slots, it.a + callee.slots);
          need.calls = std::max(need.calls, callee.calls + 1);
          break;
        }
        case Op::jump: left.push_back(at + 1 + jump_of(it)); continue;
        case Op::jump_if:
        case Op::jump_unless:
        case Op::jump_eq:
        case Op::jump_ne:
        case Op::jump_lt_u:
        case Op::jump_le_u:
        case Op::jump_lt_s:
        case Op::jump_le_s:
        case Op::jump_eq_i:
        case Op::jump_ne_i:
        case Op::jump_zero_w:
        case Op::jump_not_zero_w: left.push_back(at + 1 + jump_of(it)); break;
        default: break;
      }
      left.push_back(at + (it.op == Op::integer || it.op == Op::index_address ? 2 : 1));
    }
    --depth_;
    need.open = false;
    return needs_[entry] = need;
  }

  void root(std::uint32_t entry) {
    if (entry == Program::no_entry || !fault_.empty()) return;
    if (entry >= made_.code.size()) {
      refuse("an entry lies out of the code", entry);
      return;
    }
    const Need need = function(entry);
    if (need.calls > kb::calls_max) refuse("calls are too deep", entry);
    if (need.slots > made_.stack_slots || made_.stack_slots < 4) refuse("the stack is too small", entry);
  }

  const std::string& fault() const { return fault_; }

 private:
  /// As an addition modulo 2^32: what lies before the code lies far behind it.
  static std::uint32_t jump_of(const Instruction& it) {
    return static_cast<std::uint32_t>(std::int32_t{static_cast<std::int16_t>(it.c)});
  }
  void refuse(const char* why, std::uint32_t at) {
    if (fault_.empty()) fault_ = std::string(why) + " at instruction " + std::to_string(at);
  }

  const Compiled& made_;
  std::map<std::uint32_t, Need> needs_;
  std::uint32_t depth_ = 0;
  std::string fault_;
};

}  // namespace

std::string native_fault(const Compiled& made) {
  if (made.code.size() > code_max || made.stack_slots > stack_slots_max) return "the program is too large";
  Walk walk(made);
  walk.root(made.compute_swap);
  walk.root(made.after_swap);
  return walk.fault();
}

std::unique_ptr<NativeCode> make_native(const Compiled& made, std::string* why,
                                        const NativeLengths& lengths) {
  const auto none = [&](std::string reason) -> std::unique_ptr<NativeCode> {
    if (why != nullptr) *why = std::move(reason);
    return nullptr;
  };
  constexpr std::uint32_t length_most = 1 << 20;
  if (std::max({lengths.quote, lengths.trade, lengths.storage}) > length_most)
    return none("a payload is longer than 1 MiB");
  if (std::string fault = native_fault(made); !fault.empty()) return none(std::move(fault));
  std::unique_ptr<NativeCode> code(new NativeCode);
  code->lengths_ = lengths;
  code->instructions_ = made.code;
  Emitted emitted;
  std::string fault;
  if (!emit_native(made, code->instructions_.data(), &help, code->lengths_, emitted, fault))
    return none(std::move(fault));

  if (std::string reason = code->pages_.make(emitted.bytes); !reason.empty()) return none(std::move(reason));
  const auto entry = [&](std::size_t at) {
    return at == Emitted::no_entry ? nullptr : reinterpret_cast<NativeCode::Entry>(code->pages_.place(at));
  };
  code->swap_ = entry(emitted.compute_swap);
  code->after_ = entry(emitted.after_swap);
  return code;
}

Outcome NativeCode::compute_swap(const Program& program, const Memory& memory, std::uint64_t fuel) const {
  if (memory.data_bytes == lengths_.quote && memory.storage_bytes == 0 && swap_ != nullptr) {
    NativeCall call = call_of(program, memory);
    call.fuel = fuel;
    std::uint64_t numbers[3] = {};
    if (memory.data_bytes >= 25) std::memcpy(numbers, memory.data + 1, sizeof numbers);
    Outcome outcome;
    if (quote(call, memory.data, numbers[0], numbers[1], numbers[2], outcome.value, outcome.at)) {
      outcome.fuel_used = fuel - call.fuel;
      return outcome;
    }
  }
  return kb::compute_swap(program, memory, fuel);
}

Outcome NativeCode::after_swap(const Program& program, const Memory& memory, std::uint64_t fuel) const {
  if (program.after_swap == Program::no_entry) return {};
  constexpr std::uint32_t kept_most = kernels::prop_amm::storage_bytes;
  if (memory.data_bytes != lengths_.trade || memory.storage_bytes != lengths_.storage ||
      memory.storage_bytes > kept_most)
    return kb::after_swap(program, memory, fuel);
  // What was written before the code gave up must not be seen by the interpreter.
  unsigned char before[kept_most];
  if (memory.storage_bytes != 0) std::memcpy(before, memory.storage, memory.storage_bytes);
  NativeCall call = call_of(program, memory);
  call.fuel = fuel;
  const Left left = after_(&call, memory.stack, memory.data, 0, 0, 0);
  if (left.at != again)
    return {kb::Ending::returned, static_cast<std::uint32_t>(left.at), left.value, fuel - call.fuel};
  if (memory.storage_bytes != 0) std::memcpy(memory.storage, before, memory.storage_bytes);
  return kb::after_swap(program, memory, fuel);
}

bool NativeStrategy::interpret(std::uint64_t& output_nano) {
  keep(kb::compute_swap(program_, memory_, fuel_));
  output_nano = outcome_.value;
  return outcome_.ending == kb::Ending::returned;
}

bool NativeStrategy::after_swap(const kernels::prop_amm::Trade& trade, unsigned char* storage) {
  if (program_.after_swap == Program::no_entry) return true;
  unsigned char payload[kernels::prop_amm::trade_bytes + kernels::prop_amm::storage_bytes];
  kernels::prop_amm::put_trade(payload, trade, storage);
  const Memory memory{memory_.stack, payload, sizeof payload, storage, kernels::prop_amm::storage_bytes};
  keep(native_ != nullptr ? native_->after_swap(program_, memory, fuel_)
                          : kb::after_swap(program_, memory, fuel_));
  set_storage(storage);
  return outcome_.ending == kb::Ending::returned;
}

std::uint64_t native_range(const Program& program, const NativeCode* native, std::uint64_t* stack,
                           std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                           const kernels::prop_amm::Settings& settings,
                           const kernels::prop_amm::CallRules& rules, kernels::prop_amm::Result* results,
                           kernels::prop_amm::Fault* faults, const kernels::prop_amm::Stop& stop) {
  NativeStrategy strategy(program, native, stack, rules.fuel);
  return kernels::prop_amm::guarded_range(strategy, seed_base, first, last, settings, rules, results, faults,
                                          stop);
}

}  // namespace calyx::strategy
