#include "strategy/body_checker.hpp"

namespace calyx::strategy {

Index BodyChecker::check(Index expr, Index wanted) {
  all_.spend(at(expr).at);
  const Index found = check_kind(expr, wanted);
  at(expr).type = found;
  bool effects = false;
  const Expr& node = at(expr);
  switch (node.kind) {
    case ExprKind::integer:
    case ExprKind::real:
    case ExprKind::boolean:
    case ExprKind::text:
    case ExprKind::path: break;
    case ExprKind::unary:
    case ExprKind::binary:
    case ExprKind::field:
    case ExprKind::index:
    case ExprKind::borrow:
    case ExprKind::dereference:
    case ExprKind::cast:
    case ExprKind::range:
    case ExprKind::tuple:
    case ExprKind::array:
      for (const Index kid : node.kids)
        if (kid != none) effects = effects || at(kid).effects;
      break;
    default: effects = true;
  }
  at(expr).effects = effects;
  return found;
}

Index BodyChecker::check_kind(Index expr, Index wanted) {
  const ExprKind expr_kind = at(expr).kind;
  const Position where = at(expr).at;
  switch (expr_kind) {
    case ExprKind::integer: {
      const std::string suffix = at(expr).suffix;
      if (suffix.empty()) {
        return fresh(Wanted::integer);
      }
      if (const auto named = integer_named(suffix)) return integer(*named);
      if (suffix == "f32") refuse("unsupported", where, "the type `f32` is not supported");
      refuse("source_syntax", where, "the suffix `" + suffix + "` is unknown");
    }
    case ExprKind::real:
      if (at(expr).suffix == "f32") refuse("unsupported", where, "the type `f32` is not supported");
      if (!at(expr).suffix.empty() && at(expr).suffix != "f64")
        refuse("source_syntax", where, "the suffix `" + at(expr).suffix + "` is unknown");
      return real();
    case ExprKind::boolean: return boolean();
    case ExprKind::text:
      return at(expr).flag ? reference(with(Kind::array, {integer(Integer::u8)}, at(expr).name.size()))
                           : reference(simple(Kind::text));
    case ExprKind::path: return path(expr, wanted);
    case ExprKind::unary: {
      const Index inner = check(at(expr).kids[0], wanted);
      std::uint32_t peeled = 0;
      const Index value = behind(inner, peeled);
      at(expr).peeled = peeled;
      const bool minus = at(expr).op == "-";
      const Type& found = type(value);
      const bool number =
          found.kind == Kind::integer || (found.kind == Kind::variable && found.wanted != Wanted::anything);
      if (minus ? !(number || found.kind == Kind::real) ||
                      (found.kind == Kind::integer && !is_signed(found.integer))
                : !(number || found.kind == Kind::boolean))
        refuse("type_mismatch", where, "`" + at(expr).op + "` is not for `" + all_.text(value) + "`");
      return value;
    }
    case ExprKind::logical:
      for (const Index kid : std::vector<Index>(at(expr).kids)) same(at(kid).at, boolean(), check(kid));
      return boolean();
    case ExprKind::binary: return binary(expr, wanted);
    case ExprKind::assign: {
      if (at(at(expr).kids[0]).kind == ExprKind::path && at(at(expr).kids[0]).name == "_") {
        check(at(expr).kids[1]);
        return unit();
      }
      const Index left = check(at(expr).kids[0]);
      require_place(at(expr).kids[0]);
      const Index right = at(expr).kids[1];
      coerce(right, check(right, left), left);
      return unit();
    }
    case ExprKind::assign_op: {
      const Index left_expr = at(expr).kids[0];
      const Index left = check(left_expr);
      if (kind(left) == Kind::reference) refuse("type_mismatch", where, "a reference is changed through `*`");
      require_place(left_expr);
      const std::string op = at(expr).op;
      std::uint32_t peeled = 0;
      const Index right = behind(check(at(expr).kids[1], op == "<<" || op == ">>" ? none : left), peeled);
      arithmetic(where, op, left, right);
      return unit();
    }
    case ExprKind::call: return call(expr, wanted);
    case ExprKind::method: return method(expr, wanted);
    case ExprKind::field: {
      std::uint32_t peeled = 0;
      const Index base = known(behind(check(at(expr).kids[0]), peeled), where);
      at(expr).peeled = peeled;
      Index field_type = none;
      at(expr).target = all_.structure_field(base, at(expr).name, field_type);
      if (at(expr).target == none)
        refuse("name_unknown", where, "`" + all_.text(base) + "` has no field `" + at(expr).name + "`");
      return field_type;
    }
    case ExprKind::index: {
      std::uint32_t peeled = 0;
      const Index base = known(behind(check(at(expr).kids[0]), peeled), where);
      at(expr).peeled = peeled;
      if (kind(base) != Kind::array && kind(base) != Kind::slice)
        refuse("type_mismatch", where, "`" + all_.text(base) + "` has no elements");
      const Index element = type(base).args[0];
      const Index index_expr = at(expr).kids[1];
      if (at(index_expr).kind == ExprKind::range) {
        range_ends(index_expr, integer(Integer::usize));
        at(index_expr).type = unit();
        return with(Kind::slice, {element});
      }
      same(at(index_expr).at, integer(Integer::usize), check(index_expr, integer(Integer::usize)));
      return element;
    }
    case ExprKind::range: refuse("unsupported", where, "a range is for an index or a `for` only");
    case ExprKind::borrow: {
      const Index hint = wanted != none && kind(wanted) == Kind::reference ? type(wanted).args[0] : none;
      const Index inner_hint = hint != none && kind(hint) == Kind::slice ? none : hint;
      Index inner = check(at(expr).kids[0], inner_hint);
      if (inner_hint == none && hint != none && kind(inner) == Kind::array)
        same(where, type(hint).args[0], type(inner).args[0]);
      return reference(inner, at(expr).flag);
    }
    case ExprKind::dereference: {
      const Index inner = check(at(expr).kids[0]);
      if (kind(inner) != Kind::reference)
        refuse("type_mismatch", where, "`*` is not for `" + all_.text(inner) + "`");
      return type(inner).args[0];
    }
    case ExprKind::cast: {
      const Index to = all_.resolve(at(expr).type_node, self_type_);
      const Index from = check(at(expr).kids[0]);
      const Kind target = kind(to);
      if (target != Kind::integer && target != Kind::real)
        refuse("unsupported", where, "a cast to `" + all_.text(to) + "` is not supported");
      if (kind(from) == Kind::variable) {
        if (type(from).wanted == Wanted::integer && target == Kind::integer) all_.unify(from, to);
        known(from, where);
      }
      const Kind source = kind(from);
      if (source != Kind::integer && source != Kind::real && source != Kind::boolean &&
          source != Kind::enumeration)
        refuse("type_mismatch", where, "`" + all_.text(from) + "` cannot be cast");
      return to;
    }
    case ExprKind::let_condition: {
      const Index matched = check(at(expr).kids[0]);
      bind(at(expr).pattern, matched);
      return boolean();
    }
    case ExprKind::condition: {
      const std::size_t before = scope_.size();
      const Index test = at(expr).kids[0];
      same(at(test).at, boolean(), check(test));
      const Index yes = at(expr).kids[1];
      const Index found = check(yes, wanted);
      scope_.resize(before);
      if (at(expr).kids.size() == 2) {
        same(at(yes).at, unit(), found);
        return unit();
      }
      const Index no = at(expr).kids[2];
      return join(yes, found, no, check(no, wanted), wanted);
    }
    case ExprKind::match: return match(expr, wanted);
    case ExprKind::block: return block(expr, wanted);
    case ExprKind::endless: {
      loops_.push_back({at(expr).name, fresh(), false, true});
      same(where, unit(), check(at(expr).kids[0]));
      const Index found = loops_.back().result;
      loops_.pop_back();
      return found;
    }
    case ExprKind::loop_while: {
      const std::size_t before = scope_.size();
      same(where, boolean(), check(at(expr).kids[0]));
      loops_.push_back({at(expr).name, unit(), false, false});
      same(where, unit(), check(at(expr).kids[1]));
      loops_.pop_back();
      scope_.resize(before);
      return unit();
    }
    case ExprKind::loop_for: return loop_for(expr);
    case ExprKind::leave_loop: {
      Loop* loop = loop_named(at(expr).name);
      if (loop == nullptr) refuse("source_syntax", where, "there is no such loop to leave");
      if (at(expr).kids.empty()) {
        same(where, loop->result, unit());
      } else {
        if (!loop->endless) refuse("type_mismatch", where, "only `loop` is left with a value");
        const Index result = loop->result;
        same(where, result, check(at(expr).kids[0], result));
      }
      return fresh();
    }
    case ExprKind::next_turn:
      if (loop_named(at(expr).name) == nullptr)
        refuse("source_syntax", where, "there is no such loop to go on with");
      return fresh();
    case ExprKind::give_back: {
      if (result_ == none) refuse("source_syntax", where, "`return` stands outside of a function");
      if (at(expr).kids.empty()) {
        same(where, result_, unit());
      } else {
        const Index value = at(expr).kids[0];
        coerce(value, check(value, result_), result_);
      }
      return fresh();
    }
    case ExprKind::tuple: {
      std::vector<Index> parts;
      const std::vector<Index> kids = at(expr).kids;
      for (std::size_t i = 0; i < kids.size(); ++i) {
        const bool hinted =
            wanted != none && kind(wanted) == Kind::tuple && type(wanted).args.size() == kids.size();
        const Index hint = hinted ? type(wanted).args[i] : none;
        const Index part = check(kids[i], hint);
        if (hint != none && kind(hint) == Kind::reference) {
          coerce(kids[i], part, hint);
          parts.push_back(hint);
        } else {
          parts.push_back(part);
        }
      }
      return with(Kind::tuple, parts);
    }
    case ExprKind::array: {
      const Index element = wanted != none && kind(wanted) == Kind::array ? type(wanted).args[0] : fresh();
      for (const Index kid : std::vector<Index>(at(expr).kids)) coerce(kid, check(kid, element), element);
      return with(Kind::array, {element}, at(expr).kids.size());
    }
    case ExprKind::array_repeat: {
      const Index element = wanted != none && kind(wanted) == Kind::array ? type(wanted).args[0] : fresh();
      const Index kid = at(expr).kids[0];
      coerce(kid, check(kid, element), element);
      const auto count =
          all_.evaluator->expression(at(expr).kids[1], integer(Integer::usize), at(expr).module);
      if (count[0] > type_slots_max * 8) refuse("too_large", where, "an array has too many elements");
      at(expr).number = count[0];
      return with(Kind::array, {element}, count[0]);
    }
    case ExprKind::structure: {
      const Index structure = all_.lookup(all_.structure_names_, at(expr).module, at(expr).name, self_type_);
      if (structure == none)
        refuse("name_unknown", where, "the structure `" + at(expr).name + "` is not known");
      Type made;
      made.kind = Kind::structure;
      made.item = structure;
      const Index result = all_.make(made);
      const auto fields = at(expr).fields;
      for (std::size_t i = 0; i < fields.size(); ++i) {
        Index field_type = none;
        if (all_.structure_field(result, fields[i], field_type) == none)
          refuse("name_unknown", where, "there is no field `" + fields[i] + "`");
        const Index kid = at(expr).kids[i];
        coerce(kid, check(kid, field_type), field_type);
      }
      if (at(expr).flag) {
        same(where, result, check(at(expr).kids.back()));
      } else if (fields.size() != tree_.structures[structure].fields.size()) {
        refuse("argument_count", where, "fields are missing in `" + at(expr).name + "`");
      }
      at(expr).target = structure;
      return result;
    }
    case ExprKind::attempt: {
      const Index inner = known(check(at(expr).kids[0]), where);
      if (result_ == none) refuse("unsupported", where, "`?` stands outside of a function");
      if (kind(inner) == Kind::option) {
        if (kind(result_) != Kind::option) mismatch(where, result_, inner);
        return type(inner).args[0];
      }
      if (kind(inner) != Kind::result)
        refuse("type_mismatch", where, "`?` is not for `" + all_.text(inner) + "`");
      if (kind(result_) != Kind::result) mismatch(where, result_, inner);
      same(where, type(result_).args[1], type(inner).args[1]);
      return type(inner).args[0];
    }
    case ExprKind::macro: return macro(expr);
  }
  return unit();
}

Index BodyChecker::join(Index left_expr, Index left, Index right_expr, Index right, Index wanted) {
  if (wanted != none && kind(wanted) == Kind::reference) {
    coerce(left_expr, left, wanted);
    coerce(right_expr, right, wanted);
    return wanted;
  }
  if (!all_.unify(left, right)) mismatch(at(right_expr).at, left, right);
  return kind(left) == Kind::variable ? right : left;
}

void BodyChecker::require_place(Index expr) {
  const Expr& node = at(expr);
  if (node.kind == ExprKind::path && node.meaning == Meaning::local) return;
  if (node.kind == ExprKind::tuple) {
    for (const Index kid : std::vector<Index>(node.kids)) require_place(kid);
    return;
  }
  if (node.kind == ExprKind::field || node.kind == ExprKind::index || node.kind == ExprKind::dereference)
    return;
  refuse("type_mismatch", node.at, "this cannot be assigned to");
}

Index BodyChecker::path(Index expr, Index wanted) {
  const std::string name = at(expr).name;
  const Index module = at(expr).module;
  const Position where = at(expr).at;
  if (const Index local = local_named(name); local != none) {
    at(expr).meaning = Meaning::local;
    at(expr).target = local;
    return body_.locals[local];
  }
  if (const Index constant = all_.lookup(all_.constant_names_, module, name, self_type_); constant != none)
    return named_constant(expr, constant);
  if (is_prelude(name, "None")) {
    at(expr).meaning = Meaning::variant;
    at(expr).variant = 0;
    return wanted != none && kind(wanted) == Kind::option ? wanted : with(Kind::option, {fresh()});
  }
  if (const auto [enumeration, variant] = variant_named(module, name); enumeration != none) {
    if (!all_.variant_types(enumeration, variant).empty())
      refuse("argument_count", where, "the variant `" + name + "` takes values");
    Type made;
    made.kind = Kind::enumeration;
    made.item = enumeration;
    at(expr).meaning = Meaning::variant;
    at(expr).variant = variant;
    return all_.make(made);
  }
  const std::string last = last_part(name);
  std::string owner = before_last(name);
  // `std::u64::MAX` and `core::f64::EPSILON` are the old names.
  if (owner.compare(0, 5, "std::") == 0) owner = owner.substr(5);
  if (owner.compare(0, 6, "core::") == 0) owner = owner.substr(6);
  if (const auto named = integer_named(owner)) {
    at(expr).meaning = Meaning::number;
    const std::uint32_t bits = bits_of(*named);
    const Wide all_bits = bits == 128 ? ~Wide{0} : (Wide{1} << bits) - 1;
    if (last == "BITS") {
      at(expr).number = bits;
      return integer(Integer::u32);
    }
    if (last == "MAX")
      at(expr).number = is_signed(*named) ? all_bits >> 1 : all_bits;
    else if (last == "MIN")
      at(expr).number = is_signed(*named) ? ~(all_bits >> 1) : 0;
    else
      refuse("name_unknown", where, "the name `" + name + "` is not known");
    return integer(*named);
  }
  struct Number {
    std::string_view name;
    double value;
  };
  static constexpr Number numbers[] = {{"f64::MAX", 0x1.fffffffffffffp+1023},
                                       {"f64::MIN", -0x1.fffffffffffffp+1023},
                                       {"f64::EPSILON", 0x1p-52},
                                       {"f64::MIN_POSITIVE", 0x1p-1022},
                                       {"f64::INFINITY", kernels::math::infinity},
                                       {"f64::NEG_INFINITY", -kernels::math::infinity},
                                       {"f64::consts::PI", 0x1.921fb54442d18p+1},
                                       {"f64::consts::TAU", 0x1.921fb54442d18p+2},
                                       {"f64::consts::E", 0x1.5bf0a8b145769p+1},
                                       {"f64::consts::LN_2", 0x1.62e42fefa39efp-1},
                                       {"f64::consts::LN_10", 0x1.26bb1bbb55516p+1},
                                       {"f64::consts::SQRT_2", 0x1.6a09e667f3bcdp+0}};
  std::string full = owner + "::" + last;
  for (const Use& use : tree_.modules[module].uses)
    if (use.name == first_part(name)) full = use.path + name.substr(use.name.size());
  for (const std::string_view prefix : {"std::", "core::"})
    if (full.compare(0, prefix.size(), prefix) == 0) full = full.substr(prefix.size());
  for (const Number& number : numbers)
    if (number.name == full) {
      at(expr).meaning = Meaning::number;
      at(expr).real = number.value;
      return real();
    }
  if (full == "f64::NAN") {
    at(expr).meaning = Meaning::number;
    at(expr).real = kernels::math::not_a_number();
    return real();
  }
  refuse("name_unknown", where, "the name `" + name + "` is not known");
}

void BodyChecker::arithmetic(Position where, const std::string& op, Index left, Index right) {
  if (op == "<<" || op == ">>") {
    known(right, where);
    if (kind(right) != Kind::integer) mismatch(where, integer(Integer::u32), right);
    if (kind(left) == Kind::variable && type(left).wanted == Wanted::integer) return;
    if (kind(left) != Kind::integer)
      refuse("type_mismatch", where, "`" + op + "` is not for `" + all_.text(left) + "`");
    return;
  }
  same(where, left, right);
  const Type& found = type(left);
  const bool bitwise = op == "&" || op == "|" || op == "^";
  const bool fits = found.kind == Kind::integer || found.kind == Kind::variable ||
                    (bitwise ? found.kind == Kind::boolean : found.kind == Kind::real);
  if (!fits) refuse("type_mismatch", where, "`" + op + "` is not for `" + all_.text(left) + "`");
}

Index BodyChecker::binary(Index expr, Index wanted) {
  const std::string op = at(expr).op;
  const Index left_expr = at(expr).kids[0];
  const Index right_expr = at(expr).kids[1];
  const Position where = at(expr).at;
  const bool compares = op == "==" || op == "!=" || op == "<" || op == ">" || op == "<=" || op == ">=";
  std::uint32_t peeled = 0;
  Index left = behind(check(left_expr, compares ? none : wanted), peeled);
  const bool shifts = op == "<<" || op == ">>";
  Index right = behind(check(right_expr, shifts ? none : left), peeled);
  if (compares) {
    same(where, left, right);
    const Kind found = kind(left);
    const bool ordered = op != "==" && op != "!=";
    const bool fits = found == Kind::integer || found == Kind::real || found == Kind::boolean ||
                      found == Kind::variable || (!ordered && comparable(left, 0));
    if (!fits) refuse("unsupported", where, "`" + op + "` is not supported for `" + all_.text(left) + "`");
    return boolean();
  }
  arithmetic(where, op, left, right);
  return left;
}

bool BodyChecker::comparable(Index index, int depth) {
  all_.spend({});
  const Kind found = kind(index);
  if (depth > 8) return false;
  if (found == Kind::integer || found == Kind::boolean || found == Kind::real || found == Kind::variable)
    return true;
  if (found == Kind::enumeration) {
    for (Index i = 0; i < tree_.enumerations[type(index).item].variants.size(); ++i)
      if (!all_.variant_types(type(index).item, i).empty()) return false;
    return true;
  }
  if (found != Kind::tuple && found != Kind::option) return false;
  for (const Index kid : std::vector<Index>(type(index).args))
    if (!comparable(kid, depth + 1)) return false;
  return true;
}

}  // namespace calyx::strategy
