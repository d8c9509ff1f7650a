#include "strategy/body_checker.hpp"

namespace calyx::strategy {

Index BodyChecker::match(Index expr, Index wanted) {
  const Index subject = at(expr).kids[0];
  // `match wincode::deserialize(data)` gets its type from what its arms give.
  const Index matched = check(subject);
  Index result = none;
  Index first = none;
  for (std::size_t i = 0; i < at(expr).arms.size(); ++i) {
    const MatchArm arm = at(expr).arms[i];
    const std::size_t before = scope_.size();
    bind(arm.pattern, matched);
    if (arm.guard != none) same(at(arm.guard).at, boolean(), check(arm.guard));
    const Index found = check(arm.body, wanted);
    scope_.resize(before);
    if (result == none) {
      result = found;
      first = arm.body;
      if (wanted != none && kind(wanted) == Kind::reference) {
        coerce(arm.body, found, wanted);
        result = wanted;
      }
    } else {
      result = join(first, result, arm.body, found, wanted);
    }
  }
  return result == none ? fresh() : result;
}

bool BodyChecker::diverges(Index expr) {
  const Expr& node = at(expr);
  switch (node.kind) {
    case ExprKind::give_back:
    case ExprKind::leave_loop:
    case ExprKind::next_turn: return true;
    case ExprKind::macro:
      return node.name == "panic" || node.name == "unreachable" || node.name == "todo" ||
             node.name == "unimplemented";
    case ExprKind::endless: return kind(node.type) == Kind::variable;
    case ExprKind::condition:
      return node.kids.size() == 3 && diverges(node.kids[1]) && diverges(node.kids[2]);
    case ExprKind::match: {
      for (const MatchArm& arm : node.arms)
        if (!diverges(arm.body)) return false;
      return true;
    }
    case ExprKind::block:
      for (const Statement& statement : node.statements)
        if (statement.value != none && diverges(statement.value)) return true;
      return !node.kids.empty() && diverges(node.kids[0]);
    default: return false;
  }
}

Index BodyChecker::block(Index expr, Index wanted) {
  const std::size_t before = scope_.size();
  bool ends = false;
  for (std::size_t i = 0; i < at(expr).statements.size(); ++i) {
    const Statement statement = at(expr).statements[i];
    if (statement.kind == StatementKind::let) {
      Index type = statement.type == none ? none : all_.resolve(statement.type, self_type_);
      if (statement.value != none) {
        const Index found = check(statement.value, type);
        if (type == none)
          type = found;
        else
          coerce(statement.value, found, type);
      } else if (type == none) {
        type = fresh();
      }
      if (statement.otherwise != none) {
        check(statement.otherwise);
        if (!diverges(statement.otherwise))
          refuse("type_mismatch", statement.at, "the block behind `else` must leave");
      }
      bind(statement.pattern, type);
    } else {
      const Index found = check(statement.value);
      if (!statement.closed) same(at(statement.value).at, unit(), found);
    }
    if (statement.value != none && diverges(statement.value)) ends = true;
  }
  Index result = none;
  if (!at(expr).kids.empty()) {
    const Index tail = at(expr).kids[0];
    result = check(tail, wanted);
    if (wanted != none && kind(wanted) == Kind::reference) {
      coerce(tail, result, wanted);
      result = wanted;
    }
  } else {
    result = ends ? fresh() : unit();
  }
  scope_.resize(before);
  return result;
}

Index BodyChecker::loop_for(Index expr) {
  Iteration iteration;
  Index base = at(expr).kids[0];
  const Position where = at(expr).at;
  bool by_value = false;
  bool explicit_iterator = false;
  // The chain is read from its end: `(0..n).rev()`, `x.iter().enumerate()`.
  while (at(base).kind == ExprKind::method) {
    const std::string name = at(base).name;
    const std::size_t count = at(base).kids.size();
    if (name == "rev" && count == 1 && !iteration.counted)
      iteration.backwards = true;
    else if (name == "enumerate" && count == 1 && !iteration.backwards)
      iteration.counted = true;
    else if ((name == "copied" || name == "cloned") && count == 1)
      by_value = true;
    else if (name == "step_by" && count == 2 && !iteration.backwards)
      iteration.step = at(base).kids[1];
    else if ((name == "iter" || name == "iter_mut" || name == "into_iter") && count == 1) {
      explicit_iterator = true;
      base = at(base).kids[0];
      break;
    } else if (name == "chunks_exact" && count == 2) {
      iteration.over = Iteration::Over::chunks;
      iteration.step = at(base).kids[1];
      explicit_iterator = true;
      base = at(base).kids[0];
      break;
    } else {
      break;
    }
    base = at(base).kids[0];
  }
  Index item = none;
  iteration.base = base;
  if (at(base).kind == ExprKind::range && !explicit_iterator) {
    if (at(base).kids[0] == none) refuse("type_unknown", where, "a loop's range has a beginning");
    const Index type = fresh(Wanted::integer);
    range_ends(base, type);
    at(base).type = unit();
    iteration.element = type;
    item = type;
  } else {
    Index found = check(base);
    std::uint32_t peeled = 0;
    Index slice = known(behind(found, peeled), where);
    if (kind(slice) != Kind::array && kind(slice) != Kind::slice)
      refuse("unsupported", where, "a `for` goes over a range, a slice or an array");
    iteration.element = type(slice).args[0];
    if (iteration.over == Iteration::Over::chunks) {
      same(where, integer(Integer::usize), check(iteration.step, integer(Integer::usize)));
      item = reference(with(Kind::slice, {iteration.element}));
    } else {
      if (iteration.step != none) refuse("unsupported", where, "`step_by` is for a range only");
      const bool values = by_value || (peeled == 0 && !explicit_iterator);
      iteration.over = values ? Iteration::Over::values : Iteration::Over::references;
      item = values ? iteration.element : reference(iteration.element, true);
    }
  }
  if (iteration.over == Iteration::Over::range && iteration.step != none)
    same(where, integer(Integer::usize), check(iteration.step, integer(Integer::usize)));
  if (iteration.counted) item = with(Kind::tuple, {integer(Integer::usize), item});
  if (at(expr).kids[0] != base) at(at(expr).kids[0]).type = unit();
  const std::size_t before = scope_.size();
  bind(at(expr).pattern, item);
  loops_.push_back({at(expr).name, unit(), false, false});
  same(where, unit(), check(at(expr).kids[1]));
  loops_.pop_back();
  scope_.resize(before);
  all_.iterations_[expr] = iteration;
  return unit();
}

Index BodyChecker::macro(Index expr) {
  const std::string name = at(expr).name;
  const Position where = at(expr).at;
  if (name == "panic" || name == "unreachable" || name == "todo" || name == "unimplemented") return fresh();
  if (name == "debug_assert" || name == "debug_assert_eq" || name == "debug_assert_ne") return unit();
  if (name == "assert") {
    same(where, boolean(), check(at(expr).kids[0]));
    return unit();
  }
  if (name == "assert_eq" || name == "assert_ne") {
    const Index left = check(at(expr).kids[0]);
    same(where, left, check(at(expr).kids[1], left));
    if (kind(left) != Kind::integer && kind(left) != Kind::boolean && kind(left) != Kind::real)
      refuse("unsupported", where, "`" + name + "!` is for numbers only");
    return unit();
  }
  if (name == "matches") {
    const std::size_t before = scope_.size();
    bind(at(expr).pattern, check(at(expr).kids[0]));
    scope_.resize(before);
    return boolean();
  }
  refuse("unsupported", where, "the macro `" + name + "!` is not supported");
}

}  // namespace calyx::strategy
