#include "strategy/body_checker.hpp"

namespace calyx::strategy {

void BodyChecker::arguments(Index expr, const std::vector<Index>& wanted, std::size_t first) {
  const std::vector<Index> kids = at(expr).kids;
  if (kids.size() - first != wanted.size())
    refuse(
        "argument_count", at(expr).at,
        "takes " + std::to_string(wanted.size()) + " arguments, has " + std::to_string(kids.size() - first));
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Index kid = kids[first + i];
    coerce(kid, check(kid, wanted[i]), wanted[i]);
  }
}

Index BodyChecker::call_function(Index expr, Index function, std::size_t first) {
  at(expr).meaning = Meaning::function;
  at(expr).target = function;
  body_.callees.push_back(function);
  const Function& item = tree_.functions[function];
  std::vector<Index> wanted;
  const std::string self_type = item.self_type;
  const std::vector<Parameter> parameters = item.parameters;
  const Index result = item.result;
  if (item.generic) refuse("unsupported", at(expr).at, "functions with type parameters are not supported");
  wanted.reserve(parameters.size());
  for (const Parameter& parameter : parameters) wanted.push_back(all_.resolve(parameter.type, self_type));
  if (first == 1 && !wanted.empty()) {
    // A method: the receiver was checked, and is borrowed or looked behind as the parameter asks.
    wanted.erase(wanted.begin());
  }
  arguments(expr, wanted, 1);
  return result == none ? unit() : all_.resolve(result, self_type);
}

Index BodyChecker::call(Index expr, Index wanted) {
  const Index callee = at(expr).kids[0];
  const Position where = at(expr).at;
  if (at(callee).kind != ExprKind::path) refuse("unsupported", where, "only functions are called");
  const std::string name = at(callee).name;
  const Index module = at(callee).module;
  const std::size_t count = at(expr).kids.size() - 1;
  const std::string last = last_part(name);
  std::string owner = before_last(name);
  at(callee).type = unit();
  if (const Index function = all_.lookup(all_.function_names_, module, name, self_type_); function != none)
    return call_function(expr, function, 0);
  const auto one = [&] {
    if (count != 1) refuse("argument_count", where, "`" + name + "` takes 1 argument");
    return at(expr).kids[1];
  };
  if (is_prelude(name, "Some") || is_prelude(name, "Ok") || is_prelude(name, "Err")) {
    const Index kid = one();
    const bool option = is_prelude(name, "Some");
    const bool good = !is_prelude(name, "Err");
    Index made = wanted;
    if (wanted == none || kind(wanted) != (option ? Kind::option : Kind::result))
      made = option ? with(Kind::option, {fresh()}) : with(Kind::result, {fresh(), fresh()});
    const Index part = type(made).args[good ? 0 : 1];
    coerce(kid, check(kid, part), part);
    at(expr).meaning = Meaning::variant;
    at(expr).variant = good ? 1 : 0;
    return made;
  }
  if (const auto [enumeration, variant] = variant_named(module, name); enumeration != none) {
    Type made;
    made.kind = Kind::enumeration;
    made.item = enumeration;
    arguments(expr, std::vector<Index>(all_.variant_types(enumeration, variant)), 1);
    at(expr).meaning = Meaning::variant;
    at(expr).variant = variant;
    return all_.make(made);
  }
  if (const Index structure = all_.lookup(all_.structure_names_, module, name, self_type_);
      structure != none) {
    Type made;
    made.kind = Kind::structure;
    made.item = structure;
    arguments(expr, std::vector<Index>(all_.structure_types(structure)), 1);
    at(expr).meaning = Meaning::structure;
    return all_.make(made);
  }
  std::string full = name;
  for (const Use& use : tree_.modules[module].uses)
    if (use.name == first_part(name)) full = use.path + name.substr(use.name.size());
  if (full == "wincode::deserialize") {
    const Index kid = one();
    const Index bytes = reference(with(Kind::slice, {integer(Integer::u8)}));
    coerce(kid, check(kid, bytes), bytes);
    at(expr).name = "deserialize";
    if (at(callee).type_node != none)
      return with(Kind::result, {all_.resolve(at(callee).type_node, self_type_), simple(Kind::unit_error)});
    return with(Kind::result,
                {wanted != none && kind(wanted) == Kind::result ? type(wanted).args[0] : fresh(),
                 simple(Kind::unit_error)});
  }
  if (full == "std::mem::swap" || full == "core::mem::swap") {
    if (count != 2) refuse("argument_count", where, "`swap` takes 2 arguments");
    const Index left = known(check(at(expr).kids[1]), where);
    same(where, left, check(at(expr).kids[2], left));
    if (kind(left) != Kind::reference) mismatch(where, reference(fresh(), true), left);
    at(expr).name = "swap";
    return unit();
  }
  const bool compares = full == "std::cmp::min" || full == "core::cmp::min" || full == "std::cmp::max" ||
                        full == "core::cmp::max";
  const auto named = integer_named(owner);
  if (named || owner == "f64") {
    const Index self = named ? integer(*named) : real();
    if (last == "from_le_bytes" || last == "from_be_bytes" || last == "from_ne_bytes") {
      const Index kid = one();
      const std::uint64_t size = named ? bits_of(*named) / 8 : 8;
      const Index bytes = with(Kind::array, {integer(Integer::u8)}, size);
      same(at(kid).at, bytes, check(kid, bytes));
      at(expr).name = last == "from_be_bytes" ? "from_be_bytes" : "from_le_bytes";
      return self;
    }
    if (last == "from_bits" && !named) {
      const Index kid = one();
      same(at(kid).at, integer(Integer::u64), check(kid, integer(Integer::u64)));
      at(expr).name = "from_bits";
      return self;
    }
    if (last == "from") {
      const Index kid = one();
      Index from = check(kid);
      if (kind(from) == Kind::variable && type(from).wanted == Wanted::integer)
        all_.unify(from, named ? self : integer(Integer::i32));
      known(from, where);
      if (kind(from) != Kind::integer && kind(from) != Kind::boolean && kind(from) != Kind::real)
        mismatch(where, self, from);
      at(expr).name = "from";
      return self;
    }
    if (last == "try_from" && named) {
      const Index kid = one();
      Index from = check(kid);
      known(from, where);
      if (kind(from) != Kind::integer) mismatch(where, self, from);
      at(expr).name = "try_from";
      return with(Kind::result, {self, simple(Kind::unit_error)});
    }
  }
  // `u64::min(a, b)` is `a.min(b)`.
  if ((named || owner == "f64" || compares) && count >= 1) {
    Expr turned = at(expr);
    turned.kind = ExprKind::method;
    turned.name = last;
    turned.kids.erase(turned.kids.begin());
    at(expr) = turned;
    const Index hint = named ? integer(*named) : owner == "f64" ? real() : wanted;
    return method(expr, hint);
  }
  if (last == "set_return_data_u64" || last == "set_return_data_bytes" || last == "set_storage")
    refuse("unsupported", where, "`" + last + "` is for the entry point only");
  refuse("name_unknown", where, "the function `" + name + "` is not known");
}

Index BodyChecker::method(Index expr, Index wanted) {
  const Position where = at(expr).at;
  const std::string name = at(expr).name;
  const Index receiver = at(expr).kids[0];
  const std::size_t count = at(expr).kids.size() - 1;
  const auto takes = [&](std::size_t wants) {
    if (count != wants)
      refuse("argument_count", where, "`" + name + "` takes " + std::to_string(wants) + " arguments");
  };
  // A number without a type of its own takes it from what is wanted, or from the argument.
  Index found = check(receiver, wanted);
  if (kind(found) == Kind::variable && type(found).wanted != Wanted::anything) {
    if (count == 1 && (name == "min" || name == "max" || name == "saturating_sub" || name == "abs_diff"))
      all_.unify(found, check(at(expr).kids[1]));
    if (kind(found) == Kind::variable && wanted != none &&
        (kind(wanted) == Kind::integer || kind(wanted) == Kind::real))
      all_.unify(found, wanted);
  }
  std::uint32_t peeled = 0;
  Index self = known(behind(found, peeled), where);
  at(expr).peeled = peeled;
  const Type self_type = type(self);
  const auto argument = [&](Index type) {
    takes(1);
    const Index kid = at(expr).kids[1];
    coerce(kid, check(kid, type), type);
  };
  // Methods of this file.
  if (self_type.kind == Kind::structure || self_type.kind == Kind::enumeration) {
    const std::string owner = self_type.kind == Kind::structure ? tree_.structures[self_type.item].name
                                                                : tree_.enumerations[self_type.item].name;
    const Index function = all_.find_function(owner + "::" + name);
    if (function != none && tree_.functions[function].has_self) return call_function(expr, function, 1);
  }
  if (name == "clone" || name == "to_owned") {
    takes(0);
    at(expr).name = "clone";
    return self;
  }
  switch (self_type.kind) {
    case Kind::integer: {
      if (name == "min" || name == "max") {
        argument(self);
        return self;
      }
      if (name == "clamp") {
        arguments(expr, {self, self}, 1);
        return self;
      }
      if (name == "to_le_bytes" || name == "to_be_bytes" || name == "to_ne_bytes") {
        takes(0);
        return with(Kind::array, {integer(Integer::u8)}, bits_of(self_type.integer) / 8);
      }
      if (name == "is_positive" || name == "is_negative") {
        takes(0);
        return boolean();
      }
      if (name == "try_into") {
        takes(0);
        const Index target =
            wanted != none && kind(wanted) == Kind::result ? type(wanted).args[0] : fresh(Wanted::integer);
        return with(Kind::result, {target, simple(Kind::unit_error)});
      }
      if (name == "into") {
        takes(0);
        return wanted != none ? wanted : fresh();
      }
      const auto known_method = integer_method(name);
      if (!known_method) break;
      if (known_method->has_argument)
        argument(known_method->counted ? integer(Integer::u32) : self);
      else
        takes(0);
      Index result = self;
      if (known_method->gives == IntegerMethod::Gives::count) result = integer(Integer::u32);
      if (known_method->gives == IntegerMethod::Gives::truth) result = boolean();
      if (known_method->gives == IntegerMethod::Gives::unsigned_same && is_signed(self_type.integer))
        result = integer(static_cast<Integer>(static_cast<int>(self_type.integer) - 6));
      if (known_method->mode == Mode::checked) return with(Kind::option, {result});
      if (known_method->mode == Mode::overflowing) return with(Kind::tuple, {result, boolean()});
      return result;
    }
    case Kind::real: {
      if (name == "powf") {
        argument(self);
        return self;
      }
      if (name == "powi") {
        argument(integer(Integer::i32));
        return self;
      }
      if (name == "clamp" || name == "mul_add") {
        arguments(expr, {self, self}, 1);
        return self;
      }
      if (name == "recip") {
        takes(0);
        return self;
      }
      if (name == "is_nan" || name == "is_finite" || name == "is_infinite" || name == "is_sign_negative" ||
          name == "is_sign_positive") {
        takes(0);
        return boolean();
      }
      if (name == "to_bits") {
        takes(0);
        return integer(Integer::u64);
      }
      if (name == "to_le_bytes") {
        takes(0);
        return with(Kind::array, {integer(Integer::u8)}, 8);
      }
      const auto function = real_function(name);
      if (!function) break;
      if (*function >= RealFunction::minimum)
        argument(self);
      else
        takes(0);
      return self;
    }
    case Kind::array:
    case Kind::slice: {
      const Index element = self_type.args[0];
      const Index slice = with(Kind::slice, {element});
      if (name == "len") {
        takes(0);
        return integer(Integer::usize);
      }
      if (name == "is_empty") {
        takes(0);
        return boolean();
      }
      if (name == "as_slice" || name == "as_mut_slice" || name == "as_ref" || name == "as_mut") {
        takes(0);
        return reference(slice);
      }
      if (name == "get" || name == "get_mut") {
        takes(1);
        const Index kid = at(expr).kids[1];
        if (at(kid).kind == ExprKind::range) {
          range_ends(kid, integer(Integer::usize));
          at(kid).type = unit();
          return with(Kind::option, {reference(slice, name == "get_mut")});
        }
        argument(integer(Integer::usize));
        return with(Kind::option, {reference(element, name == "get_mut")});
      }
      if (name == "first" || name == "last") {
        takes(0);
        return with(Kind::option, {reference(element)});
      }
      if (name == "copy_from_slice" || name == "clone_from_slice") {
        argument(reference(slice));
        return unit();
      }
      if (name == "fill") {
        argument(element);
        return unit();
      }
      if (name == "swap") {
        arguments(expr, {integer(Integer::usize), integer(Integer::usize)}, 1);
        return unit();
      }
      if (name == "split_at") {
        argument(integer(Integer::usize));
        return with(Kind::tuple, {reference(slice), reference(slice)});
      }
      if (name == "try_into") {
        takes(0);
        const Index target = wanted != none && kind(wanted) == Kind::result ? type(wanted).args[0] : fresh();
        return with(Kind::result, {target, simple(Kind::unit_error)});
      }
      break;
    }
    case Kind::text:
      if (name == "len") {
        takes(0);
        return integer(Integer::usize);
      }
      if (name == "is_empty") {
        takes(0);
        return boolean();
      }
      if (name == "as_bytes") {
        takes(0);
        return reference(with(Kind::slice, {integer(Integer::u8)}));
      }
      break;
    case Kind::option:
    case Kind::result: {
      const Index inner = self_type.args[0];
      if (name == "unwrap" || name == "unwrap_or_default" || name == "expect") {
        if (name == "expect")
          argument(reference(simple(Kind::text)));
        else
          takes(0);
        // `slice.try_into().unwrap()`: what is wanted decides what is made.
        if (wanted != none && kind(inner) == Kind::variable && peeled == 0) all_.unify(inner, wanted);
        return inner;
      }
      if (name == "unwrap_or") {
        if (wanted != none && kind(inner) == Kind::variable) all_.unify(inner, wanted);
        argument(inner);
        return inner;
      }
      if (name == "is_some" || name == "is_none" || name == "is_ok" || name == "is_err") {
        takes(0);
        return boolean();
      }
      if (name == "ok" && self_type.kind == Kind::result) {
        takes(0);
        return with(Kind::option, {inner});
      }
      if ((name == "copied" || name == "cloned") && self_type.kind == Kind::option) {
        takes(0);
        if (kind(inner) != Kind::reference) mismatch(where, reference(fresh()), inner);
        return with(Kind::option, {type(inner).args[0]});
      }
      break;
    }
    default: break;
  }
  refuse("unsupported", where, "the method `" + name + "` of `" + all_.text(self) + "` is not supported");
}

}  // namespace calyx::strategy
