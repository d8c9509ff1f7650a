#include "strategy/sbpf_flow.hpp"

#include <algorithm>
#include <cstddef>

namespace calyx::strategy {
namespace {

namespace sbpf = kernels::sbpf;
using sbpf::Instruction;
using sbpf::Op;
using Kind = Known::Kind;

std::uint8_t region_of(const Known& known) {
  if (known.kind != Kind::number) return known.region;
  const std::uint64_t region = known.value >> 32;
  return region >= sbpf::region_program && region <= sbpf::region_input ? static_cast<std::uint8_t>(region)
                                                                        : std::uint8_t{0};
}
Known number(std::uint64_t value) { return {Kind::number, 0, value}; }
Known anything(std::uint8_t region = 0) { return {Kind::anything, region, 0}; }
std::uint64_t wide(std::int32_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
}

/// What holds of both. It only ever rises from `none` to `anything`, so whoever repeats this comes to an end.
Known joined(const Known& x, const Known& y) {
  if (x.kind == Kind::none) return y;
  if (y.kind == Kind::none || x == y) return x;
  const std::uint8_t region = region_of(x);
  return anything(region == region_of(y) ? region : std::uint8_t{0});
}

Known sum(const Known& x, const Known& y) {
  if (x.kind == Kind::number && y.kind == Kind::number) return number(x.value + y.value);
  if (x.kind == Kind::frame && y.kind == Kind::number) return {Kind::frame, x.region, x.value + y.value};
  if (x.kind == Kind::number && y.kind == Kind::frame) return {Kind::frame, y.region, x.value + y.value};
  const std::uint8_t region = region_of(x);
  return anything(region != 0 ? region : region_of(y));
}

Known difference(const Known& x, const Known& y) {
  if (x.kind == Kind::number && y.kind == Kind::number) return number(x.value - y.value);
  if (x.kind == Kind::frame && y.kind == Kind::number) return {Kind::frame, x.region, x.value - y.value};
  return anything(region_of(y) == 0 ? region_of(x) : std::uint8_t{0});
}

class Walk {
 public:
  Walk(const sbpf::Program& program, Flow& flow) : program_(program), flow_(flow) {}

  bool walk(std::string& why) {
    if (!cut(why)) return false;
    Registers first;
    for (Known& known : first.r) known = number(0);
    first.r[1] = number(std::uint64_t{sbpf::region_input} << 32);
    arrive(program_.entry, first);
    while (!waiting_.empty()) {
      Block& block = flow_.blocks[waiting_.back()];
      waiting_.pop_back();
      block.waiting = false;
      pass(block);
    }
    return true;
  }

 private:
  const Instruction& at(std::size_t slot) const { return program_.code[slot]; }

  /// Finds where blocks begin.
  bool cut(std::string& why) {
    const std::size_t slots = program_.slots;
    const auto refuse = [&](std::size_t slot) {
      why = "instruction " + std::to_string(slot) + " makes no sense";
      return false;
    };
    if (program_.entry >= slots || at(slots).op != Op::end) return refuse(slots);
    std::vector<bool> begins(slots + 1);
    begins[program_.entry] = true;
    begins[slots] = true;
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const Instruction& it = at(slot);
      if (it.op > Op::end || it.d > 10 || it.s > 10) return refuse(slot);
      // Nobody writes r10, and what it has lies in no register of ours.
      const bool reads_d = (it.op >= Op::store_8_r && it.op <= Op::store_64_i) ||
                           (it.op >= Op::store_8_frame && it.op <= Op::store_64_frame) || it.op >= Op::call;
      if (it.d == 10 && !reads_d) return refuse(slot);
      if (it.op >= Op::load_8_frame && it.op <= Op::store_64_frame) {
        const auto width = (static_cast<unsigned>(it.op) - static_cast<unsigned>(Op::load_8_frame)) & 3U;
        if (it.offset < -static_cast<std::int32_t>(sbpf::frame_bytes) || it.offset > -(1 << width))
          return refuse(slot);
      }
      const bool divides =
          it.op == Op::div_i || it.op == Op::mod_i || it.op == Op::div_32_i || it.op == Op::mod_32_i;
      if (divides && it.immediate == 0) return refuse(slot);
      if (it.op == Op::load_constant && (slot + 1 >= slots || at(slot + 1).op != Op::half))
        return refuse(slot);
      if (branches(it.op) && it.op != Op::half) begins[slot + 1] = true;
      if (!jumps_perhaps(it.op) && it.op != Op::jump && it.op != Op::call) continue;
      const std::int64_t to = it.op == Op::call ? it.offset : static_cast<std::int64_t>(slot) + 1 + it.offset;
      if (to < 0 || to >= static_cast<std::int64_t>(slots) || at(static_cast<std::size_t>(to)).op == Op::half)
        return refuse(slot);
      if (it.op == Op::call && program_.frames != sbpf::frames_max) return refuse(slot);
      begins[static_cast<std::size_t>(to)] = true;
    }
    flow_.block_of.assign(slots + 1, Flow::no_block);
    flow_.blocks.clear();
    for (std::size_t slot = 0; slot <= slots; ++slot) {
      if (!begins[slot]) continue;
      flow_.block_of[slot] = static_cast<std::uint32_t>(flow_.blocks.size());
      flow_.blocks.emplace_back();
      flow_.blocks.back().slot = static_cast<std::uint32_t>(slot);
    }
    return true;
  }

  void arrive(std::size_t slot, const Registers& from) {
    Block& block = flow_.blocks[flow_.block_of[slot]];
    Registers both = from;
    if (block.reached) {
      for (std::size_t i = 0; i < 10; ++i) both.r[i] = joined(block.before.r[i], from.r[i]);
      both.depth_least = std::min(block.before.depth_least, from.depth_least);
      both.may_be_inner = block.before.may_be_inner || from.may_be_inner;
      if (both == block.before) return;
    }
    block.before = both;
    block.reached = true;
    if (block.waiting) return;
    block.waiting = true;
    waiting_.push_back(flow_.block_of[slot]);
  }

  void pass(Block& block) {
    Registers now = block.before;
    std::size_t slot = block.slot;
    block.length = 0;
    for (;;) {
      const Instruction& it = at(slot);
      ++block.length;
      if (branches(it.op)) break;
      follow(now, it);
      slot += slots_of(it);
      if (flow_.block_of[slot] == Flow::no_block) continue;
      arrive(slot, now);
      return;
    }
    const Instruction& it = at(slot);
    if (it.op == Op::jump || jumps_perhaps(it.op))
      arrive(static_cast<std::size_t>(static_cast<std::int64_t>(slot) + 1 + it.offset), now);
    if (jumps_perhaps(it.op)) arrive(slot + 1, now);
    if (it.op != Op::call) return;
    Registers inner = now;
    for (Known& known : inner.r)
      if (known.kind == Kind::frame) known.value -= 2 * sbpf::frame_bytes;
    inner.may_be_inner = true;
    if (inner.depth_least < sbpf::frames_max) ++inner.depth_least;
    arrive(static_cast<std::size_t>(it.offset), inner);
    // A function gives r6 to r9 back as it found them.
    for (std::size_t i = 0; i < 6; ++i) now.r[i] = anything();
    arrive(slot + 1, now);
  }

  const sbpf::Program& program_;
  Flow& flow_;
  std::vector<std::uint32_t> waiting_;
};

}  // namespace

void follow(Registers& registers, const Instruction& it) {
  const auto set = [&](const Known& known) { registers.r[it.d] = known; };
  switch (it.op) {
    case Op::mov_i: return set(number(wide(it.immediate)));
    case Op::mov_32_i: return set(number(static_cast<std::uint32_t>(it.immediate)));
    case Op::load_constant:
      return set(number(static_cast<std::uint32_t>(it.immediate) | wide(it.offset) << 32));
    case Op::mov_r: return set(registers.at(it.s));
    case Op::add_i: return set(sum(registers.r[it.d], number(wide(it.immediate))));
    case Op::add_r: return set(sum(registers.r[it.d], registers.at(it.s)));
    case Op::sub_i: return set(difference(registers.r[it.d], number(wide(it.immediate))));
    case Op::sub_r: return set(difference(registers.r[it.d], registers.at(it.s)));
    case Op::call_system: registers.r[0] = number(0); return;
    default: break;
  }
  const bool writes_no_register = it.op >= Op::store_8_r && it.op != Op::load_8_frame &&
                                  it.op != Op::load_16_frame && it.op != Op::load_32_frame &&
                                  it.op != Op::load_64_frame;
  if (!writes_no_register) set(anything());
}

bool flow_of(const sbpf::Program& program, Flow& flow, std::string& why) {
  return Walk(program, flow).walk(why);
}

}  // namespace calyx::strategy
