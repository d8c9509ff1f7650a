#include "strategy/lowering.hpp"

#include <algorithm>
#include <cstring>

#include "strategy/body_lowering.hpp"

namespace calyx::strategy {

using kernels::bytecode::Ending;
using lowering::BodyLowering;

namespace {

constexpr std::uint32_t constants_bytes_max = 256 * 1024;

}  // namespace

namespace lowering {

Unit::Made BodyLowering::function(Index index) {
  const auto begin = static_cast<std::uint32_t>(unit_.code.size());
  const Function& item = c_.tree().functions[index];
  Body& body = c_.body(index);
  enter(body);
  Slot at = 0;
  std::vector<Place> places;
  for (const Index type : body.parameters) {
    places.push_back({false, true, at, 0});
    at += c_.slots(type);
  }
  const Slot result_slots = c_.slots(body.result);
  top_ = std::max(at, result_slots);
  grow();
  result_ = alloc(result_slots, item.at);
  for (std::size_t i = 0; i < places.size(); ++i)
    match(item.parameters[i].pattern, body.parameters[i], places[i], nullptr);
  into(item.body, result_);
  place_label(end_);
  move(0, result_, result_slots);
  emit(Op::leave);
  return finish(begin);
}

Unit::Made BodyLowering::value(Index expr, Body& body) {
  const auto begin = static_cast<std::uint32_t>(unit_.code.size());
  enter(body);
  const Slot slots = c_.slots(body.result);
  top_ = slots;
  grow();
  into(expr, 0);
  emit(Op::leave);
  return finish(begin);
}

}  // namespace lowering

Lowering::Lowering(Checker& checker) : checker_(checker) { checker.evaluator = this; }

void Lowering::add(Unit& unit, Index function) {
  // Callees first, without recursion here: what is open when it is met again calls itself.
  struct Open {
    Index function;
    std::size_t next;
  };
  std::vector<Open> open{{function, 0}};
  std::map<Index, bool> is_open;
  is_open[function] = true;
  while (!open.empty()) {
    Open& top = open.back();
    const Body& body = checker_.body(top.function);
    if (unit.functions.count(top.function) != 0 || top.next == body.callees.size()) {
      if (unit.functions.count(top.function) == 0)
        unit.functions[top.function] = BodyLowering(*this, unit).function(top.function);
      is_open[top.function] = false;
      open.pop_back();
      continue;
    }
    const Index callee = body.callees[top.next++];
    if (unit.functions.count(callee) != 0) continue;
    if (is_open[callee])
      refuse("recursion", checker_.tree().functions[callee].at,
             "`" + checker_.tree().functions[callee].name + "` calls itself; recursion is not supported");
    is_open[callee] = true;
    open.push_back({callee, 0});
  }
}

std::uint32_t Lowering::place_bytes(const void* bytes, std::size_t size) {
  while (constants_.size() % 8 != 0) constants_.push_back(0);
  if (constants_.size() + size > constants_bytes_max)
    refuse("too_large", {}, "the constants take more than 256 KiB");
  const auto place = static_cast<std::uint32_t>(constants_.size());
  const auto* from = static_cast<const unsigned char*>(bytes);
  if (size != 0) constants_.insert(constants_.end(), from, from + size);
  return place;
}

std::uint32_t Lowering::constant_place(Index constant_index, Position at) {
  const auto found = places_.find(constant_index);
  if (found != places_.end()) return found->second;
  const std::vector<std::uint64_t> value = constant(constant_index, at);
  const std::uint32_t place = place_bytes(value.data(), value.size() * 8);
  places_[constant_index] = place;
  return place;
}

std::vector<std::uint64_t> Lowering::run(Index expr, Index type, Body& body, Position at) {
  Unit unit;
  for (const Index callee : body.callees) add(unit, callee);
  const Unit::Made made = BodyLowering(*this, unit).value(expr, body);
  std::vector<std::uint64_t> stack(made.stack_slots + 8);
  kernels::bytecode::Program program;
  program.code = unit.code.data();
  program.pool = unit.pool.data();
  program.constants = constants_.data();
  program.constants_bytes = static_cast<std::uint32_t>(constants_.size());
  program.stack_slots = static_cast<std::uint32_t>(stack.size());
  kernels::bytecode::Memory memory;
  memory.stack = stack.data();
  const auto outcome = kernels::bytecode::run_at(program, made.entry, memory, fuel_);
  fuel_ -= std::min(fuel_, outcome.fuel_used);
  if (outcome.ending != Ending::returned)
    refuse("constant_failed", at,
           outcome.ending == Ending::step_limit ? "this constant takes too long to compute"
                                                : "computing this constant panics");
  std::vector<std::uint64_t> value(stack.begin(), stack.begin() + checker_.slots(type));
  keep(value.data(), type, stack, 0);
  return value;
}

void Lowering::keep(std::uint64_t* value, Index type, const std::vector<std::uint64_t>& stack, int depth) {
  // What a constant refers to may lie on the stack that computed it: it moves among the constants.
  const Type found = checker_.at(type);
  if (found.kind == Kind::tuple) {
    for (const Index kid : found.args) {
      keep(value, kid, stack, depth);
      value += checker_.slots(kid);
    }
  }
  if (found.kind != Kind::reference || value[0] >> 32 != 0) return;
  if (depth > 4) refuse("unsupported", {}, "references in each other in a constant");
  const Type behind = checker_.at(found.args[0]);
  const bool slice = behind.kind == Kind::slice;
  if (slice ? checker_.at(behind.args[0]).kind == Kind::reference : behind.kind == Kind::reference)
    refuse("unsupported", {}, "references in each other in a constant");
  std::uint64_t size = checker_.slots(found.args[0]) * std::uint64_t{8};
  if (slice) size = checker_.stride(behind.args[0]) * value[1];
  if (behind.kind == Kind::text) size = value[1];
  const std::uint64_t offset = value[0] & 0xffffffffU;
  if (offset > stack.size() * 8 || size > stack.size() * 8 - offset)
    refuse("constant_failed", {}, "a constant refers to what is gone");
  const std::uint32_t place = place_bytes(reinterpret_cast<const unsigned char*>(stack.data()) + offset,
                                          static_cast<std::size_t>(size));
  value[0] = static_cast<std::uint64_t>(kernels::bytecode::segment_constants) << 32 | place;
}

namespace {
/// Constants that need each other are nested; few levels are enough for what people write.
class Nested {
 public:
  Nested(std::uint32_t& depth, Position at) : depth_(depth) {
    if (++depth_ > 8) {
      --depth_;
      refuse("constant_failed", at, "constants depend on each other too deeply, or in a circle");
    }
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;
  ~Nested() { --depth_; }

 private:
  std::uint32_t& depth_;
};
}  // namespace

const std::vector<std::uint64_t>& Lowering::constant(Index constant_index, Position at) {
  const auto found = values_.find(constant_index);
  if (found != values_.end()) return found->second;
  const Nested nested(depth_, at);
  checker_.check_constant(constant_index);
  Body& body = checker_.constant_body(constant_index);
  const Index expr = checker_.tree().constants[constant_index].value;
  auto value = run(expr, body.result, body, at);
  return values_[constant_index] = std::move(value);
}

std::vector<std::uint64_t> Lowering::expression(Index expr, Index type, Index) {
  const Expr& node = checker_.tree().exprs[expr];
  if (node.kind == ExprKind::integer && node.suffix.empty())
    return {static_cast<std::uint64_t>(node.number > ~std::uint64_t{0} ? ~std::uint64_t{0} : node.number)};
  const Position at = node.at;
  const Nested nested(depth_, at);
  Body body = checker_.check_value(expr, type);
  return run(expr, type, body, at);
}

}  // namespace calyx::strategy
