#include "strategy/ptx.hpp"

#include <algorithm>

#include "strategy/native_emit.hpp"
#include "strategy/ptx_emitter.hpp"

namespace calyx::strategy::ptx {

bool Known::meet(const Known& other) {
  const std::size_t before = numbers_.size();
  for (auto it = numbers_.begin(); it != numbers_.end();)
    it = other.at(it->first) == it->second ? std::next(it) : numbers_.erase(it);
  return numbers_.size() < before;
}

Emitter::Emitter(const Compiled& made, bool trade, std::size_t bytes_max)
    : made_(made),
      trade_(trade),
      bytes_max_(bytes_max),
      leads_(made.code.size() + 1),
      exposed_(made.stack_slots) {
  for (std::uint32_t i = 0; i < made.code.size(); ++i) {
    const Instruction& it = made.code[i];
    if (it.op != Op::jump && !is_conditional(it.op)) continue;
    // The second word of an instruction may look like a jump to anywhere.
    const Place to = target({0, i});
    if (to.second < leads_.size()) leads_[to.second] = true;
  }
}

Place Emitter::target(Place place) const {
  const auto by = static_cast<std::int16_t>(made_.code[place.second].c);
  return {place.first, place.second + 1 + static_cast<std::uint32_t>(std::int32_t{by})};
}

const Instruction* Emitter::next_word(Place place) const {
  const Op op = made_.code[place.second].op;
  return op == Op::integer || op == Op::index_address ? &made_.code[place.second + 1] : nullptr;
}

std::optional<Place> Emitter::after(Place place) {
  const Instruction& it = made_.code[place.second];
  if (it.op == Op::leave) {
    if (place.first == 0) return std::nullopt;
    return calls_[place.first].back;
  }
  if (it.op != Op::call) return Place{place.first, place.second + (next_word(place) != nullptr ? 2 : 1)};
  auto& callee = callees_[place];
  if (callee == 0) {
    callee = static_cast<std::uint32_t>(calls_.size());
    const Place back{place.first, place.second + 1};
    calls_.push_back({frame_of(place) + it.a, back});
    returned_to_.insert(back);
  }
  return Place{callee, long_operand(it)};
}

void Emitter::expose(const Instruction& it, std::uint32_t frame, const Known& known) {
  const auto from = [this](std::uint64_t slot) {
    if (slot < exposed_) exposed_ = static_cast<std::uint32_t>(slot);
  };
  const auto named = [&](std::uint32_t slot, std::uint64_t add) {
    const auto address = known.at(frame + slot);
    if (address && ((*address + add) >> 32) == kb::segment_stack) from((*address + add) / 8);
  };
  switch (it.op) {
    case Op::address:
    case Op::fill_slots: from(frame + it.b); break;
    case Op::load_8:
    case Op::load_16:
    case Op::load_32:
    case Op::load_64: named(it.b, it.c); break;
    case Op::store_8:
    case Op::store_16:
    case Op::store_32:
    case Op::store_64: named(it.a, it.c); break;
    case Op::load_many: named(it.b, 0); break;
    case Op::store_many:
    case Op::fill_8: named(it.a, 0); break;
    case Op::copy:
      named(it.a, 0);
      named(it.b, 0);
      break;
    default: break;
  }
}

void Emitter::transfer(Place place, std::uint32_t frame, Known& known) const {
  const Instruction& it = made_.code[place.second];
  switch (it.op) {
    case Op::move:
    case Op::move_w:
    case Op::move_many: {
      const std::uint32_t count = it.op == Op::move ? 1 : it.op == Op::move_w ? 2 : it.c;
      std::vector<std::optional<std::uint64_t>> numbers;
      for (std::uint32_t i = 0; i < count; ++i) numbers.push_back(known.at(frame + it.b + i));
      for (std::uint32_t i = 0; i < count; ++i) known.set(frame + it.a + i, numbers[i]);
      return;
    }
    case Op::clear:
      for (std::uint32_t i = 0; i < it.c; ++i) known.set(frame + it.a + i, 0);
      return;
    case Op::store_8:
    case Op::store_16:
    case Op::store_32:
    case Op::store_64:
    case Op::store_many:
    case Op::copy:
    case Op::fill_8:
    case Op::fill_slots: {
      const auto address = known.at(frame + it.a);
      if (!address || ((*address + it.c) >> 32) == kb::segment_stack || (*address >> 32) == kb::segment_stack)
        known.forget(exposed_, made_.stack_slots);
      return;
    }
    default: break;
  }
  const Folded words = folded(made_, it, frame, known);
  const Written out = written(it, next_word(place));
  if (words.count == 0) known.forget(frame + out.first, out.count);
  for (std::uint32_t i = 0; i < words.count; ++i) known.set(frame + out.first + i, words.words[i]);
}

void Emitter::arrive(Place place, const Known& known) {
  const auto [met, first] = known_at_.try_emplace(place, known);
  if (first || met->second.meet(known)) to_walk_.insert(place);
}

namespace {

/// Those that an instruction goes over one by one.
std::uint32_t slots_of(const Instruction& it) {
  const bool many =
      it.op == Op::move_many || it.op == Op::clear || it.op == Op::load_many || it.op == Op::store_many;
  return many ? it.c : 0;
}

}  // namespace

bool Emitter::walk(Place place) {
  Known known = known_at_.at(place);
  for (;;) {
    const Instruction& it = made_.code[place.second];
    walked_ += 1 + slots_of(it);
    if (walked_ > walked_most || calls_.size() > calls_most) return false;
    const std::uint32_t frame = frame_of(place);
    if (it.op == Op::panic || it.op == Op::fuel_end) return true;
    if (it.op == Op::jump) {
      arrive(target(place), known);
      return true;
    }
    if (is_conditional(it.op)) {
      const auto known_to = jumps(it, frame, known);
      if (known_to.value_or(true)) arrive(target(place), known);
      if (known_to.value_or(false)) return true;
    }
    expose(it, frame, known);
    transfer(place, frame, known);
    const auto next = after(place);
    if (!next) return true;
    if (is_leader(*next)) {
      arrive(*next, known);
      return true;
    }
    place = *next;
  }
}

bool Emitter::learn(std::uint32_t entry) {
  for (;;) {
    const std::uint32_t exposed = exposed_;
    calls_.assign(1, {0, {nowhere, nowhere}});
    callees_.clear();
    returned_to_.clear();
    known_at_.clear();
    Known given;
    given.set(0, std::uint64_t{kb::segment_data} << 32);
    given.set(1, bytes_of(kb::segment_data));
    if (trade_) {
      given.set(2, std::uint64_t{kb::segment_storage} << 32);
      given.set(3, bytes_of(kb::segment_storage));
    }
    arrive({0, entry}, given);
    while (!to_walk_.empty()) {
      const Place next = *to_walk_.begin();
      to_walk_.erase(to_walk_.begin());
      if (!walk(next)) return false;
    }
    // What was learnt of slots that lie in memory holds only where they were known to.
    if (exposed_ == exposed) return true;
  }
}

void Emitter::charge() {
  if (fuel_ != 0) {
    const std::string p = test();
    const std::string count = number(fuel_);
    body_ += "\tsetp.lt.u64 " + p + ", %fuel, " + count + ";\n\t@" + p + " bra AGAIN;\n";
    body_ += "\tsub.u64 %fuel, %fuel, " + count + ";\n";
  }
  body_ += piece_;
  piece_.clear();
  fuel_ = 0;
}

void Emitter::needs(Place place) {
  if (emitted_.count(place) == 0) to_emit_.push_back(place);
}

void Emitter::emit_from(Place place) {
  if (emitted_.count(place) != 0) return;
  const auto begin = [this](Place at) {
    charge();
    emitted_.insert(at);
    known_ = known_at_.at(at);
    body_ += label(at) + ":\n";
  };
  begin(place);
  // Goes on at a leader: there itself, if it has no text yet.
  const auto reach = [&](Place at) {
    if (emitted_.count(at) != 0) {
      piece_ += "\tbra.uni " + label(at) + ";\n";
      return false;
    }
    begin(at);
    place = at;
    return true;
  };
  for (;;) {
    if (is_too_long(0)) return;
    const Instruction& it = made_.code[place.second];
    const std::uint32_t frame = frame_of(place);
    ++fuel_;
    if (it.op == Op::jump) {
      if (!reach(target(place))) break;
      continue;
    }
    if (is_conditional(it.op)) {
      const auto known_to = jumps(it, frame, known_);
      if (known_to.value_or(false)) {
        if (!reach(target(place))) break;
        continue;
      }
      if (!known_to) {
        const std::string p = condition(it, frame);
        piece_ += "\t@" + p + " bra " + label(target(place)) + ";\n";
        needs(target(place));
        charge();
      }
    } else if (!one(place)) {
      break;
    }
    transfer(place, frame, known_);
    const auto next = after(place);
    if (!next) break;
    if (!is_leader(*next))
      place = *next;
    else if (!reach(*next))
      break;
  }
  charge();
}

bool Emitter::function(const char* name, std::uint32_t entry, std::string& text) {
  if (entry != kb::Program::no_entry) {
    if (!learn(entry)) return false;
    to_emit_.push_back({0, entry});
  }
  while (!to_emit_.empty()) {
    const Place next = to_emit_.back();
    to_emit_.pop_back();
    emit_from(next);
    if (is_too_long(text.size())) return false;
  }
  // The arguments' slots, where some text reads them as registers.
  known_ = {};
  put(0, number(std::uint64_t{kb::segment_data} << 32));
  put(1, number(bytes_of(kb::segment_data)));
  if (trade_) {
    put(2, number(std::uint64_t{kb::segment_storage} << 32));
    put(3, number(bytes_of(kb::segment_storage)));
  }
  const std::string given = std::move(piece_);
  text += "\n.visible .func (.param .align 8 .b8 end[24]) ";
  text += name;
  text +=
      "(\n\t.param .b64 stack, .param .b64 data, .param .b64 storage, .param .b64 constants,\n"
      "\t.param .b64 fuel, .param .b64 input, .param .b64 reserve_x, .param .b64 reserve_y)\n{\n";
  const auto registers = [&text](const char* type, const char* prefix, std::uint32_t count) {
    text += "\t.reg ." + std::string(type) + " %" + prefix + "<" + std::to_string(count + 1) + ">;\n";
  };
  registers("b64", "s", slots_);
  registers("b64", "t", temps_);
  registers("b32", "w", words_);
  registers("f64", "d", reals_);
  registers("pred", "p", tests_);
  if (has_scratch_) text += "\t.local .align 8 .b8 scratch[56];\n";
  text += "\t.reg .b64 %stack, %data, %storage, %constants, %fuel, %input, %reserve_x, %reserve_y, %last;\n";
  for (const char* parameter :
       {"stack", "data", "storage", "constants", "fuel", "input", "reserve_x", "reserve_y"})
    text += "\tld.param.u64 %" + std::string(parameter) + ", [" + parameter + "];\n";
  text += given;
  text += body_;
  text +=
      "AGAIN:\n\tmov.b64 %last, -1;\n\tst.param.b64 [end+0], %last;\n\tst.param.b64 [end+8], %last;\n"
      "\tst.param.b64 [end+16], %last;\n\tret;\n}\n";
  return text.size() <= bytes_max_;
}

}  // namespace calyx::strategy::ptx

namespace calyx::strategy {

std::string ptx_of(const Compiled& made, std::string* why, std::size_t bytes_max) {
  const auto nothing = [&](std::string reason) {
    if (why != nullptr) *why = std::move(reason);
    return std::string();
  };
  if (std::string fault = native_fault(made); !fault.empty()) return nothing(std::move(fault));
  if (made.compute_swap == kernels::bytecode::Program::no_entry) return nothing("it quotes nothing");
  // What drivers for CUDA 11 and devices from Turing on understand.
  std::string text = ".version 7.0\n.target sm_75\n.address_size 64\n\n";
#define CALYX_DECLARED(name)                                              \
  text += ".extern .func (.param .align 8 .b8 out[16]) calyx_help_" #name \
          "(.param .b64 a, .param .b64 b, .param .b64 c, .param .b64 d);\n";
  CALYX_LINKED_HELPERS(CALYX_DECLARED)
#undef CALYX_DECLARED
  constexpr const char* too_long = "its text would be too long";
  if (!ptx::Emitter(made, false, bytes_max).function(kernels::linked::swap_name, made.compute_swap, text))
    return nothing(too_long);
  if (!ptx::Emitter(made, true, bytes_max).function(kernels::linked::after_name, made.after_swap, text))
    return nothing(too_long);
  return text;
}

}  // namespace calyx::strategy
