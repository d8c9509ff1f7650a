// Accesses to memory, and the functions that the text calls.
#include <bit>

#include "strategy/ptx_emitter.hpp"

namespace calyx::strategy::ptx {

namespace linked = kernels::linked;

std::uint32_t Emitter::bytes_of(std::uint32_t segment) const {
  switch (segment) {
    case kb::segment_stack: return made_.stack_slots * 8;
    case kb::segment_data: return trade_ ? linked::trade_size : linked::quote_size;
    case kb::segment_storage: return trade_ ? kernels::prop_amm::storage_bytes : 0;
    default: return static_cast<std::uint32_t>(made_.constants.size());
  }
}

std::uint32_t Emitter::skew_of(std::uint32_t segment) const {
  if (segment != kb::segment_data) return 0;
  return trade_ ? linked::trade_skew : linked::quote_skew;
}

Emitter::Size Emitter::size_of(std::uint32_t slot) { return {get(slot), known_.at(slot)}; }

Emitter::Spot Emitter::spot(const std::string& address, std::optional<std::uint64_t> known, std::uint64_t add,
                            const Size& size, bool to_write) {
  static constexpr const char* bases[] = {"%stack", "%data", "%storage", "%constants"};
  const auto may_be = [&](std::uint32_t segment) {
    if (to_write && (segment == kb::segment_data || segment == kb::segment_constants)) return false;
    // Where a size is not known it is compared with all there is.
    return bytes_of(segment) != 0 && size.number.value_or(0) <= bytes_of(segment) &&
           (segment != kb::segment_stack || exposed_ < made_.stack_slots);
  };
  const auto least = [this](std::uint32_t segment) {
    return segment == kb::segment_stack ? std::uint64_t{exposed_} * 8 : 0;
  };
  if (known && size.number) {
    const std::uint64_t at = *known + add;
    const auto segment = static_cast<std::uint32_t>(at >> 32);
    const std::uint64_t offset = at & 0xffffffffU;
    if (segment > kb::segment_constants || !may_be(segment) || offset < least(segment) ||
        offset > bytes_of(segment) - *size.number) {
      again();
      return {bases[kb::segment_data], 0, skew_of(kb::segment_data)};  // nothing comes here
    }
    return {bases[segment], offset, static_cast<std::uint32_t>((offset + skew_of(segment)) % 8)};
  }
  std::string at = in_register(address);
  if (add != 0) at = made("add.u64", at, number(add));
  const std::string segment = made("shr.u64", at, "32");
  const std::string offset = made("and.b64", at, number(0xffffffffU));
  const std::string base = temp();
  const std::string inside = test();
  bool any = false;
  for (std::uint32_t i = kb::segment_stack; i <= kb::segment_constants; ++i) {
    if (!may_be(i)) continue;
    const std::string here = test();
    line("setp.eq.u64", {here, segment, number(i)});
    if (least(i) != 0) line("setp.ge.and.u64", {here, offset, number(least(i)), here});
    if (size.number) {
      line("setp.le.and.u64", {here, offset, number(bytes_of(i) - *size.number), here});
    } else {
      line("setp.le.and.u64", {here, size.word, number(bytes_of(i)), here});
      const std::string room = temp();
      line("sub.u64", {room, in_register(number(bytes_of(i))), size.word});
      line("setp.le.and.u64", {here, offset, room, here});
    }
    if (any) {
      line("selp.b64", {base, bases[i], base, here});
      line("or.pred", {inside, inside, here});
    } else {
      line("mov.b64", {base, bases[i]});
      line("mov.pred", {inside, here});
    }
    any = true;
  }
  if (!any) {
    again();
    return {bases[kb::segment_data], 0, skew_of(kb::segment_data)};
  }
  again_unless(inside);
  return {made("add.u64", base, offset), 0, std::nullopt};
}

std::string Emitter::pointer(const Spot& spot) {
  return spot.offset == 0 ? spot.base : made("add.u64", spot.base, number(spot.offset));
}

std::string Emitter::read(const Spot& spot, std::uint32_t size) {
  const auto place = [&](std::uint64_t offset) { return "[" + spot.base + "+" + number(offset) + "]"; };
  std::string out = temp();
  if (size == 1) {
    line("ld.u8", {out, place(spot.offset)});
    return out;
  }
  if (spot.in_word && *spot.in_word % size == 0) {
    line("ld.u" + number(size * 8), {out, place(spot.offset)});
    return out;
  }
  // The words in which the first and the last byte lie, which may be one.
  const std::string first = temp();
  const std::string last = temp();
  std::string value;
  if (spot.in_word) {
    // The offset of the first word may lie before the payload, where its memory begins.
    const std::string from = made("add.u64", spot.base, number(spot.offset - *spot.in_word));
    line("ld.u64", {first, "[" + from + "+0]"});
    value = made("shr.u64", first, number(std::uint64_t{*spot.in_word} * 8));
    if (*spot.in_word + size > 8) {
      line("ld.u64", {last, "[" + from + "+8]"});
      value = made("or.b64", value, made("shl.b64", last, number(64 - std::uint64_t{*spot.in_word} * 8)));
    }
  } else {
    const std::string at = pointer(spot);
    const std::string shift = word32();
    const std::string back = word32();
    line("ld.u64", {first, "[" + made("and.b64", at, "-8") + "+0]"});
    line("ld.u64", {last, "[" + made("and.b64", made("add.u64", at, number(size - 1)), "-8") + "+0]"});
    line("cvt.u32.u64", {shift, made("shl.b64", made("and.b64", at, "7"), "3")});
    line("sub.u32", {back, "64", shift});
    // A shift by 64 leaves nothing: then both are one word.
    value = made("or.b64", made("shr.u64", first, shift), made("shl.b64", last, back));
  }
  line("mov.b64", {out, value});
  if (size == 8) return out;
  return made("and.b64", out, number((std::uint64_t{1} << (size * 8)) - 1));
}

void Emitter::write(const Spot& spot, std::uint32_t size, const std::string& value) {
  const std::string from = in_register(value);
  const auto place = [&](std::uint64_t offset) { return "[" + spot.base + "+" + number(offset) + "]"; };
  if (size == 1 || (spot.in_word && *spot.in_word % size == 0)) {
    line("st.u" + number(size * 8), {place(spot.offset), from});
    return;
  }
  for (std::uint32_t i = 0; i < size; ++i)
    line("st.u8", {place(spot.offset + i), i == 0 ? from : made("shr.u64", from, number(i * 8))});
}

void Emitter::burn(const Size& fuel) {
  if (fuel.number == std::uint64_t{0}) return;
  const std::string p = test();
  line("setp.lt.u64", {p, "%fuel", fuel.word});
  again_if(p);
  line("sub.u64", {"%fuel", "%fuel", fuel.word});
}

Emitter::Two Emitter::help(const char* name, const std::string& a, const std::string& b, const std::string& c,
                           const std::string& d) {
  const std::string given[] = {in_register(a), in_register(b), in_register(c), in_register(d)};
  Two out{temp(), temp()};
  piece_ += "\t{\n\t.param .b64 a; .param .b64 b; .param .b64 c; .param .b64 d;\n";
  piece_ += "\t.param .align 8 .b8 out[16];\n";
  for (int i = 0; i < 4; ++i)
    piece_ += std::string("\tst.param.b64 [") + "abcd"[i] + "+0], " + given[i] + ";\n";
  piece_ += std::string("\tcall.uni (out), calyx_help_") + name + ", (a, b, c, d);\n";
  piece_ += "\tld.param.b64 " + out.low + ", [out+0];\n\tld.param.b64 " + out.high + ", [out+8];\n\t}\n";
  return out;
}

void Emitter::memory_one(const Instruction& it, std::uint32_t frame) {
  const std::uint32_t a = frame + it.a;
  const std::uint32_t b = frame + it.b;
  const std::uint32_t c = frame + it.c;
  const auto of = [](std::uint64_t bytes) { return Size{number(bytes), bytes}; };
  const auto load = [&](std::uint32_t size) {
    const std::string from = get(b);
    const auto known = known_.at(b);
    // The numbers of a quote come in registers too.
    if (known && !trade_ && size == 8)
      for (const auto& [offset, word] :
           {std::pair{1U, "%input"}, std::pair{9U, "%reserve_x"}, std::pair{17U, "%reserve_y"}})
        if (*known + it.c == (std::uint64_t{kb::segment_data} << 32 | offset)) return put(a, word);
    put(a, read(spot(from, known, it.c, of(size), false), size));
  };
  const auto store = [&](std::uint32_t size) {
    write(spot(get(a), known_.at(a), it.c, of(size), true), size, get(b));
  };
  switch (it.op) {
    case Op::load_8: load(1); break;
    case Op::load_16: load(2); break;
    case Op::load_32: load(4); break;
    case Op::load_64: load(8); break;
    case Op::store_8: store(1); break;
    case Op::store_16: store(2); break;
    case Op::store_32: store(4); break;
    case Op::store_64: store(8); break;
    case Op::load_many: {
      const Spot from = spot(get(b), known_.at(b), 0, of(std::uint64_t{it.c} * 8), false);
      if (a >= exposed_) {
        help("move", made("add.u64", "%stack", number(std::uint64_t{a} * 8)), pointer(from),
             number(std::uint64_t{it.c} * 8));
        break;
      }
      std::vector<std::string> words;
      for (std::uint32_t i = 0; i < it.c; ++i)
        words.push_back(read({from.base, from.offset + 8ULL * i, from.in_word}, 8));
      for (std::uint32_t i = 0; i < it.c; ++i) put(a + i, words[i]);
      break;
    }
    case Op::store_many: {
      const Spot to = spot(get(a), known_.at(a), 0, of(std::uint64_t{it.c} * 8), true);
      if (b >= exposed_) {
        help("move", pointer(to), made("add.u64", "%stack", number(std::uint64_t{b} * 8)),
             number(std::uint64_t{it.c} * 8));
        break;
      }
      std::vector<std::string> words;
      for (std::uint32_t i = 0; i < it.c; ++i) words.push_back(in_register(get(b + i)));
      for (std::uint32_t i = 0; i < it.c; ++i)
        write({to.base, to.offset + 8ULL * i, to.in_word}, 8, words[i]);
      break;
    }
    // Copying and filling cost fuel by their length.
    case Op::copy: {
      const Size size = size_of(c);
      const Spot to = spot(get(a), known_.at(a), 0, size, true);
      const Spot from = spot(get(b), known_.at(b), 0, size, false);
      if (size.number && std::has_single_bit(*size.number) && *size.number <= 8) {
        const auto bytes = static_cast<std::uint32_t>(*size.number);
        write(to, bytes, read(from, bytes));
        break;
      }
      if (size.number)
        burn(of(*size.number / 64));
      else
        burn({made("shr.u64", size.word, "6"), std::nullopt});
      help("move", pointer(to), pointer(from), size.word);
      break;
    }
    case Op::fill_8: {
      const Size size = size_of(c);
      const Spot to = spot(get(a), known_.at(a), 0, size, true);
      if (size.number)
        burn(of(*size.number / 64));
      else
        burn({made("shr.u64", size.word, "6"), std::nullopt});
      help("fill", pointer(to), get(b), size.word);
      break;
    }
    case Op::fill_slots: {
      const Size count = size_of(c);
      const Size size = size_of(c + 1);
      // The element lies in the frame, as the compiler has it; who says so is checked here alone.
      const std::string p = test();
      line("setp.gt.u64", {p, in_register(count.word), number(0x10000)});
      line("setp.gt.or.u64",
           {p, in_register(size.word), number(std::min(std::uint32_t{0x10000}, made_.stack_slots - b)), p});
      again_if(p);
      const std::string bytes = made("shl.b64", made("mul.lo.u64", in_register(count.word), size.word), "3");
      const Spot to = spot(get(a), std::nullopt, 0, {bytes, std::nullopt}, true);
      burn({in_register(count.word), std::nullopt});
      help("fill_slots", pointer(to), made("add.u64", "%stack", number(std::uint64_t{b} * 8)), count.word,
           size.word);
      break;
    }
    case Op::index_8: {
      const std::string at = get(c);
      const std::string p = test();
      line("setp.ge.u64", {p, in_register(at), get(b + 1)});
      again_if(p);
      const auto slice = known_.at(b);
      const auto index = known_.at(c);
      const auto known = slice && index ? std::optional(*slice + *index) : std::nullopt;
      put(a, read(spot(made("add.u64", reg(b), at), known, 0, of(1), false), 1));
      break;
    }
    default: break;
  }
}

}  // namespace calyx::strategy::ptx
