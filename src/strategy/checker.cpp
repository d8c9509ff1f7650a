#include "strategy/checker.hpp"

#include <algorithm>

namespace calyx::strategy {

using kernels::bytecode::Mode;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;

namespace {

/// Steps of comparing and measuring types; sources that people write need thousands.
constexpr std::uint64_t work_max = 4'000'000;
constexpr std::uint32_t type_slots_max = 4'096;

std::optional<Integer> integer_named(std::string_view name) {
  static constexpr std::string_view names[] = {"u8", "u16", "u32", "u64", "u128", "usize",
                                               "i8", "i16", "i32", "i64", "i128", "isize"};
  const auto* found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) return std::nullopt;
  return static_cast<Integer>(found - std::begin(names));
}
constexpr std::string_view integer_names[] = {"u8", "u16", "u32", "u64", "u128", "usize",
                                              "i8", "i16", "i32", "i64", "i128", "isize"};

std::string last_part(const std::string& path) {
  const std::size_t colon = path.rfind("::");
  return colon == std::string::npos ? path : path.substr(colon + 2);
}
std::string first_part(const std::string& path) { return path.substr(0, path.find("::")); }
std::string before_last(const std::string& path) {
  const std::size_t colon = path.rfind("::");
  return colon == std::string::npos ? std::string() : path.substr(0, colon);
}

}  // namespace

std::optional<IntegerMethod> integer_method(std::string_view name) {
  using Gives = IntegerMethod::Gives;
  Mode mode = Mode::wrapping;
  static constexpr std::pair<std::string_view, Mode> modes[] = {{"wrapping_", Mode::wrapping},
                                                                {"checked_", Mode::checked},
                                                                {"saturating_", Mode::saturating},
                                                                {"overflowing_", Mode::overflowing}};
  struct Row {
    std::string_view name;
    Rare rare;
    bool has_argument;
    bool counted;
    Gives gives;
    bool bare;   ///< Has a form without a mode.
    bool moded;  ///< Has forms with one.
  };
  static constexpr Row rows[] = {
      {"add", Rare::add, true, false, Gives::same, false, true},
      {"sub", Rare::sub, true, false, Gives::same, false, true},
      {"mul", Rare::mul, true, false, Gives::same, false, true},
      {"div", Rare::div, true, false, Gives::same, false, true},
      {"rem", Rare::rem, true, false, Gives::same, false, true},
      {"pow", Rare::power, true, true, Gives::same, true, true},
      {"neg", Rare::negate, false, false, Gives::same, false, true},
      {"abs", Rare::absolute, false, false, Gives::same, true, true},
      {"shl", Rare::shift_left, true, true, Gives::same, false, true},
      {"shr", Rare::shift_right, true, true, Gives::same, false, true},
      {"div_euclid", Rare::div_euclid, true, false, Gives::same, true, true},
      {"rem_euclid", Rare::rem_euclid, true, false, Gives::same, true, true},
      {"div_ceil", Rare::div_ceil, true, false, Gives::same, true, false},
      {"abs_diff", Rare::abs_diff, true, false, Gives::unsigned_same, true, false},
      {"unsigned_abs", Rare::unsigned_abs, false, false, Gives::unsigned_same, true, false},
      {"signum", Rare::sign, false, false, Gives::same, true, false},
      {"leading_zeros", Rare::leading_zeros, false, false, Gives::count, true, false},
      {"trailing_zeros", Rare::trailing_zeros, false, false, Gives::count, true, false},
      {"count_ones", Rare::count_ones, false, false, Gives::count, true, false},
      {"isqrt", Rare::square_root, false, false, Gives::same, true, false},
      {"ilog2", Rare::log2, false, false, Gives::count, true, false},
      {"ilog10", Rare::log10, false, false, Gives::count, true, false},
      {"rotate_left", Rare::rotate_left, true, true, Gives::same, true, false},
      {"rotate_right", Rare::rotate_right, true, true, Gives::same, true, false},
      {"swap_bytes", Rare::swap_bytes, false, false, Gives::same, true, false},
      {"is_power_of_two", Rare::is_power_of_two, false, false, Gives::truth, true, false},
      {"next_power_of_two", Rare::next_power_of_two, false, false, Gives::same, true, false},
  };
  bool moded = false;
  for (const auto& [prefix, wanted] : modes)
    if (name.substr(0, prefix.size()) == prefix) {
      mode = wanted;
      moded = true;
      name.remove_prefix(prefix.size());
      break;
    }
  for (const Row& row : rows)
    if (row.name == name && (moded ? row.moded : row.bare))
      return IntegerMethod{row.rare, mode, row.has_argument, row.counted, row.gives};
  return std::nullopt;
}

std::optional<RealFunction> real_function(std::string_view name) {
  static constexpr std::pair<std::string_view, RealFunction> rows[] = {{"sqrt", RealFunction::square_root},
                                                                       {"exp", RealFunction::exp},
                                                                       {"ln", RealFunction::ln},
                                                                       {"log2", RealFunction::log2},
                                                                       {"log10", RealFunction::log10},
                                                                       {"exp2", RealFunction::exp2},
                                                                       {"floor", RealFunction::floor},
                                                                       {"ceil", RealFunction::ceil},
                                                                       {"round", RealFunction::round},
                                                                       {"trunc", RealFunction::truncate},
                                                                       {"abs", RealFunction::absolute},
                                                                       {"sin", RealFunction::sine},
                                                                       {"cos", RealFunction::cosine},
                                                                       {"signum", RealFunction::sign},
                                                                       {"min", RealFunction::minimum},
                                                                       {"max", RealFunction::maximum},
                                                                       {"copysign", RealFunction::copy_sign}};
  for (const auto& [known, function] : rows)
    if (known == name) return function;
  return std::nullopt;
}

Checker::Checker(Tree tree) : tree_(std::move(tree)) {
  const auto enter = [](auto& names, const auto& items) {
    for (Index i = 0; i < items.size(); ++i) {
      if (items[i].name == "_") continue;
      if (!names.emplace(items[i].name, i).second)
        refuse("source_syntax", items[i].at, "the name `" + items[i].name + "` is defined twice");
    }
  };
  enter(function_names_, tree_.functions);
  enter(constant_names_, tree_.constants);
  enter(structure_names_, tree_.structures);
  enter(enumeration_names_, tree_.enumerations);
  for (Index i = 0; i < tree_.aliases.size(); ++i) alias_names_.emplace(tree_.aliases[i].name, i);
  functions_.resize(tree_.functions.size());
  constants_.resize(tree_.constants.size());
  structure_types_.resize(tree_.structures.size());
  structure_states_.resize(tree_.structures.size());
  variant_types_.resize(tree_.enumerations.size());
  fields_read_ = tree_.fields_named;
  std::sort(fields_read_.begin(), fields_read_.end());
  fields_read_.erase(std::unique(fields_read_.begin(), fields_read_.end()), fields_read_.end());
}

void Checker::spend(Position at) {
  if (++work_ > work_max) refuse("too_large", at, "the types of this source are too complex");
}

Index Checker::make(Type type) {
  spend({});
  types_.push_back(std::move(type));
  return static_cast<Index>(types_.size() - 1);
}
Index Checker::make_integer(Integer integer) {
  Type type;
  type.kind = Kind::integer;
  type.integer = integer;
  return make(type);
}

Index Checker::find(Index type) {
  while (types_[type].bound != none) {
    const Index next = types_[type].bound;
    if (types_[next].bound != none) types_[type].bound = types_[next].bound;
    type = next;
  }
  return type;
}

std::string Checker::text(Index index) {
  spend({});
  const Type type = at(index);
  std::string out;
  const auto list = [&](std::string_view open, std::string_view close) {
    out += open;
    for (std::size_t i = 0; i < type.args.size(); ++i) {
      if (i != 0) out += ", ";
      if (out.size() > 80) {
        out += "…";
        break;
      }
      out += text(type.args[i]);
    }
    out += close;
  };
  switch (type.kind) {
    case Kind::variable:
      return type.wanted == Wanted::integer ? "an integer"
             : type.wanted == Wanted::real  ? "a real number"
                                            : "_";
    case Kind::boolean: return "bool";
    case Kind::integer: return std::string(integer_names[static_cast<std::size_t>(type.integer)]);
    case Kind::real: return "f64";
    case Kind::text: return "str";
    case Kind::unit_error: return "an error";
    case Kind::tuple: list("(", ")"); return out;
    case Kind::array: return "[" + text(type.args[0]) + "; " + std::to_string(type.length) + "]";
    case Kind::slice: return "[" + text(type.args[0]) + "]";
    case Kind::reference: return (type.is_mutable ? "&mut " : "&") + text(type.args[0]);
    case Kind::structure: return tree_.structures[type.item].name;
    case Kind::enumeration: return tree_.enumerations[type.item].name;
    case Kind::option: list("Option<", ">"); return out;
    case Kind::result: list("Result<", ">"); return out;
  }
  return out;
}

bool Checker::occurs(Index variable, Index type) {
  spend({});
  type = find(type);
  if (type == variable) return true;
  // No copy: the arguments are not touched while they are walked.
  for (std::size_t i = 0; i < types_[type].args.size(); ++i)
    if (occurs(variable, types_[type].args[i])) return true;
  return false;
}

bool Checker::unify(Index left, Index right) {
  spend({});
  left = find(left);
  right = find(right);
  if (left == right) return true;
  if (types_[left].kind != Kind::variable) std::swap(left, right);
  if (types_[left].kind == Kind::variable) {
    const Type& other = types_[right];
    const Wanted wanted = types_[left].wanted;
    if (other.kind == Kind::variable) {
      if (wanted != Wanted::anything && other.wanted != Wanted::anything && wanted != other.wanted)
        return false;
      if (wanted != Wanted::anything) types_[right].wanted = wanted;
    } else if ((wanted == Wanted::integer && other.kind != Kind::integer) ||
               (wanted == Wanted::real && other.kind != Kind::real) || occurs(left, right)) {
      return false;
    }
    types_[left].bound = right;
    return true;
  }
  const Type& a = types_[left];
  const Type& b = types_[right];
  if (a.kind != b.kind || a.args.size() != b.args.size() || a.item != b.item || a.length != b.length)
    return false;
  if (a.kind == Kind::integer && a.integer != b.integer) return false;
  for (std::size_t i = 0; i < types_[left].args.size(); ++i)
    if (!unify(types_[left].args[i], types_[right].args[i])) return false;
  return true;
}

Index Checker::lookup(const std::unordered_map<std::string, Index>& names, Index module, std::string path,
                      const std::string& self_type) const {
  if (!self_type.empty() && (path == "Self" || path.compare(0, 6, "Self::") == 0))
    path = self_type + path.substr(4);
  const std::string& here = tree_.modules[module].path;
  const auto known = [&](const std::string& name) {
    const auto found = names.find(name);
    return found == names.end() ? none : found->second;
  };
  const auto from_root = [&](std::string name) {
    std::string base;
    bool relative = false;
    for (;;) {
      if (name.compare(0, 7, "crate::") == 0) {
        base.clear();
        name = name.substr(7);
      } else if (name.compare(0, 6, "self::") == 0) {
        base = here;
        name = name.substr(6);
      } else if (name.compare(0, 7, "super::") == 0) {
        if (!relative) base = here;
        relative = true;
        base = base.empty() ? base : before_last(base.substr(0, base.size() - 2));
        if (!base.empty()) base += "::";
        name = name.substr(7);
      } else {
        return base + name;
      }
    }
  };
  const std::string rooted = from_root(path);
  if (rooted != path) return known(rooted);
  Index found = known(here + path);
  if (found != none) return found;
  const std::string first = first_part(path);
  for (const Use& use : tree_.modules[module].uses) {
    if (use.name == first)
      found = known(from_root(use.path) + path.substr(first.size()));
    else if (use.name == "*")
      found = known(from_root(use.path) + path);
    if (found != none) return found;
    // A path that is used may be relative to its module.
    if (use.name == first)
      found = known(here + use.path + path.substr(first.size()));
    else if (use.name == "*")
      found = known(std::string(here).append(use.path).append(path));
    if (found != none) return found;
  }
  return none;
}

Index Checker::resolve(Index node_index, const std::string& self_type) {
  const TypeNode node = tree_.types[node_index];
  spend(node.at);
  struct Depth {
    std::uint32_t& depth;
    explicit Depth(std::uint32_t& given, Position at) : depth(given) {
      if (++depth > 64) refuse("too_deep", at, "types are nested too deep");
    }
    ~Depth() { --depth; }
  } const depth(resolve_depth_, node.at);
  Type type;
  switch (node.kind) {
    case TypeKind::inferred: type.kind = Kind::variable; break;
    case TypeKind::never: type.kind = Kind::variable; break;
    case TypeKind::reference:
      type.kind = Kind::reference;
      type.is_mutable = node.is_mutable;
      type.args.push_back(resolve(node.kids[0], self_type));
      break;
    case TypeKind::slice:
      type.kind = Kind::slice;
      type.args.push_back(resolve(node.kids[0], self_type));
      break;
    case TypeKind::array: {
      type.kind = Kind::array;
      type.args.push_back(resolve(node.kids[0], self_type));
      const auto value = evaluator->expression(node.length, make_integer(Integer::usize), node.module);
      if (value[0] > type_slots_max * 8) refuse("too_large", node.at, "an array has too many elements");
      type.length = value[0];
      break;
    }
    case TypeKind::tuple:
      for (const Index kid : node.kids) type.args.push_back(resolve(kid, self_type));
      break;
    case TypeKind::path: {
      const std::string last = last_part(node.path);
      if (const auto integer = integer_named(node.path)) return make_integer(*integer);
      const auto wants = [&](std::size_t count) {
        if (node.kids.size() != count)
          refuse("type_mismatch", node.at, "`" + node.path + "` takes " + std::to_string(count) + " types");
      };
      if (node.path == "bool") {
        type.kind = Kind::boolean;
      } else if (node.path == "f64") {
        type.kind = Kind::real;
      } else if (node.path == "str") {
        type.kind = Kind::text;
      } else if (last == "Option") {
        wants(1);
        type.kind = Kind::option;
        type.args.push_back(resolve(node.kids[0], self_type));
      } else if (last == "Result" && !node.kids.empty()) {
        wants(2);
        type.kind = Kind::result;
        for (const Index kid : node.kids) type.args.push_back(resolve(kid, self_type));
      } else if (const Index structure = lookup(structure_names_, node.module, node.path, self_type);
                 structure != none) {
        if (tree_.structures[structure].generic)
          refuse("unsupported", node.at, "types with parameters are not supported");
        type.kind = Kind::structure;
        type.item = structure;
      } else if (const Index enumeration = lookup(enumeration_names_, node.module, node.path, self_type);
                 enumeration != none) {
        if (tree_.enumerations[enumeration].generic)
          refuse("unsupported", node.at, "types with parameters are not supported");
        type.kind = Kind::enumeration;
        type.item = enumeration;
      } else if (const Index alias = lookup(alias_names_, node.module, node.path, self_type); alias != none) {
        TypeNode behind = node;
        behind.path = tree_.aliases[alias].path;
        tree_.types.push_back(behind);
        return resolve(static_cast<Index>(tree_.types.size() - 1), self_type);
      } else if (node.path == "f32" || node.path == "char" || node.path == "String" || node.path == "Vec") {
        refuse("unsupported", node.at, "the type `" + node.path + "` is not supported");
      } else {
        refuse("name_unknown", node.at, "the type `" + node.path + "` is not known");
      }
      break;
    }
  }
  return make(type);
}

std::vector<Index>& Checker::structure_types(Index structure) {
  auto& types = structure_types_[structure];
  const Structure& item = tree_.structures[structure];
  if (structure_states_[structure] == 0 && !item.types.empty()) {
    structure_states_[structure] = 1;
    const std::vector<Index> nodes = item.types;
    const std::string name = item.name;
    for (const Index node : nodes) {
      const Index resolved = resolve(node, name);
      structure_types_[structure].push_back(resolved);
    }
  }
  return types;
}

std::vector<Index>& Checker::variant_types(Index enumeration, Index variant) {
  auto& all = variant_types_[enumeration];
  if (all.empty()) {
    all.resize(tree_.enumerations[enumeration].variants.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      for (const Index node : std::vector<Index>(tree_.enumerations[enumeration].variants[i].types)) {
        const Index resolved = resolve(node, tree_.enumerations[enumeration].name);
        variant_types_[enumeration][i].push_back(resolved);
      }
  }
  return variant_types_[enumeration][variant];
}

Wide Checker::variant_number(Index enumeration, Index variant) {
  const auto variants = tree_.enumerations[enumeration].variants;
  Wide number = 0;
  for (Index i = 0; i <= variant; ++i) {
    if (variants[i].value != none) {
      const auto value = evaluator->expression(variants[i].value, make_integer(Integer::i64),
                                               tree_.enumerations[enumeration].module);
      number = value[0];
    } else if (i != 0) {
      ++number;
    }
  }
  return number;
}

bool Checker::field_is_read(Index structure, Index field) const {
  const Structure& item = tree_.structures[structure];
  return std::binary_search(fields_read_.begin(), fields_read_.end(), item.fields[field]) || item.is_tuple;
}

Index Checker::structure_field(Index type, std::string_view field, Index& field_type) {
  const Type known = at(type);
  if (known.kind == Kind::tuple) {
    for (Index i = 0; i < known.args.size(); ++i)
      if (std::to_string(i) == field) {
        field_type = known.args[i];
        return i;
      }
    return none;
  }
  if (known.kind != Kind::structure) return none;
  const auto& types = structure_types(known.item);
  const auto& fields = tree_.structures[known.item].fields;
  for (Index i = 0; i < fields.size(); ++i)
    if (fields[i] == field) {
      field_type = types[i];
      return i;
    }
  return none;
}

std::uint32_t Checker::slots(Index index) {
  index = find(index);
  const auto known = slots_known_.find(index);
  if (known != slots_known_.end()) {
    if (known->second == none) refuse("type_unknown", {}, "a type contains itself");
    return known->second;
  }
  spend({});
  slots_known_[index] = none;
  const Type type = types_[index];
  std::uint64_t count = 0;
  switch (type.kind) {
    case Kind::variable:
      // What nothing decided: an integer is an i32, and what has no value takes no room.
      count = type.wanted == Wanted::anything ? 0 : 1;
      break;
    case Kind::boolean:
    case Kind::real: count = 1; break;
    case Kind::integer: count = bits_of(type.integer) == 128 ? 2 : 1; break;
    case Kind::text:
    case Kind::unit_error: count = 0; break;
    case Kind::slice: count = 0; break;
    case Kind::tuple:
      for (const Index kid : type.args) count += slots(kid);
      break;
    case Kind::array: count = (std::uint64_t{stride(type.args[0])} * type.length + 7) / 8; break;
    case Kind::reference: {
      const Kind behind = at(type.args[0]).kind;
      count = behind == Kind::slice || behind == Kind::text ? 2 : 1;
      break;
    }
    case Kind::structure: {
      const auto types = structure_types(type.item);
      for (Index i = 0; i < types.size(); ++i)
        if (field_is_read(type.item, i)) count += slots(types[i]);
      break;
    }
    case Kind::enumeration:
      for (Index i = 0; i < tree_.enumerations[type.item].variants.size(); ++i) {
        std::uint64_t payload = 0;
        for (const Index kid : std::vector<Index>(variant_types(type.item, i))) payload += slots(kid);
        count = std::max(count, payload);
      }
      ++count;
      break;
    case Kind::option:
    case Kind::result:
      for (const Index kid : type.args) count = std::max<std::uint64_t>(count, slots(kid));
      ++count;
      break;
  }
  if (count > type_slots_max) refuse("too_large", {}, "a value of this type takes more than 32 KiB");
  slots_known_.erase(index);
  // A variable may still be bound to something larger.
  if (type.kind != Kind::variable && type.args.empty())
    slots_known_[index] = static_cast<std::uint32_t>(count);
  return static_cast<std::uint32_t>(count);
}

std::uint32_t Checker::stride(Index index) {
  const Type& type = at(index);
  if (type.kind == Kind::boolean) return 1;
  if (type.kind == Kind::integer && !is_signed(type.integer) && bits_of(type.integer) < 64)
    return bits_of(type.integer) / 8;
  return slots(index) * 8;
}

/// Checks one body.
class BodyChecker {
 public:
  BodyChecker(Checker& all, Body& body, std::string self_type)
      : all_(all), tree_(all.tree_), body_(body), self_type_(std::move(self_type)) {}

  void function(const Function& function) {
    if (function.generic)
      refuse("unsupported", function.at, "functions with type parameters are not supported");
    body_.result = function.result == none ? unit() : all_.resolve(function.result, self_type_);
    result_ = body_.result;
    for (const Parameter& parameter : function.parameters) {
      const Index type = all_.resolve(parameter.type, self_type_);
      body_.parameters.push_back(type);
      bind(parameter.pattern, type);
    }
    body_.checked = true;
    const Index type = check(function.body, result_);
    coerce(function.body, type, result_);
  }
  void value(Index expr, Index type) {
    body_.checked = true;
    body_.result = type;
    result_ = none;
    coerce(expr, check(expr, type), type);
  }

 private:
  Expr& at(Index expr) { return tree_.exprs[expr]; }
  Type& type(Index index) { return all_.at(index); }
  Kind kind(Index index) { return all_.at(index).kind; }
  Index fresh(Wanted wanted = Wanted::anything) {
    Type made;
    made.kind = Kind::variable;
    made.wanted = wanted;
    return all_.make(made);
  }
  Index simple(Kind kind) {
    Type made;
    made.kind = kind;
    return all_.make(made);
  }
  Index unit() { return simple(Kind::tuple); }
  Index boolean() { return simple(Kind::boolean); }
  Index real() { return simple(Kind::real); }
  Index integer(Integer integer) { return all_.make_integer(integer); }
  Index with(Kind kind, std::vector<Index> args, std::uint64_t length = 0, bool changes = false) {
    Type made;
    made.kind = kind;
    made.args = std::move(args);
    made.length = length;
    made.is_mutable = changes;
    return all_.make(made);
  }
  Index reference(Index to, bool changes = false) { return with(Kind::reference, {to}, 0, changes); }

  [[noreturn]] void mismatch(Position where, Index wanted, Index found) {
    refuse("type_mismatch", where, "expected `" + all_.text(wanted) + "`, found `" + all_.text(found) + "`");
  }
  void same(Position where, Index wanted, Index found) {
    if (!all_.unify(wanted, found)) mismatch(where, wanted, found);
  }
  void coerce(Index expr, Index found, Index wanted) {
    if (kind(found) == Kind::reference && kind(wanted) == Kind::reference) {
      const Index from = type(found).args[0];
      const Index to = type(wanted).args[0];
      if (kind(from) == Kind::array && kind(to) == Kind::slice) {
        same(at(expr).at, type(to).args[0], type(from).args[0]);
        at(expr).unsized_from = from;
        return;
      }
      // `&&T` serves where `&T` is asked for.
      if (kind(from) == Kind::reference && kind(to) != Kind::reference && kind(to) != Kind::variable)
        refuse("unsupported", at(expr).at,
               "a reference to a reference is not taken off by itself; write `*`");
    }
    // A block is told by the value at its end.
    while (at(expr).kind == ExprKind::block && !at(expr).kids.empty()) expr = at(expr).kids[0];
    same(at(expr).at, wanted, found);
  }
  Index behind(Index index, std::uint32_t& peeled) {
    while (kind(index) == Kind::reference) {
      index = type(index).args[0];
      ++peeled;
    }
    return index;
  }
  /// The type has to be known here; a number that nothing decided gets its default.
  Index known(Index index, Position where) {
    if (kind(index) == Kind::variable) {
      if (type(index).wanted == Wanted::integer)
        all_.unify(index, integer(Integer::i32));
      else if (type(index).wanted == Wanted::real)
        all_.unify(index, real());
      else
        refuse("type_unknown", where, "the type must be known here; write it where the variable is made");
    }
    return index;
  }

  Index new_local(const std::string& name, Index type) {
    body_.locals.push_back(type);
    const auto local = static_cast<Index>(body_.locals.size() - 1);
    scope_.emplace_back(name, local);
    return local;
  }
  Index local_named(const std::string& name) const {
    for (auto it = scope_.rbegin(); it != scope_.rend(); ++it)
      if (it->first == name) return it->second;
    return none;
  }

  /// A variant's enumeration and number, where `path` names one.
  std::pair<Index, Index> variant_named(Index module, const std::string& path) {
    std::string full = path;
    if (path.find("::") == std::string::npos)
      for (const Use& use : tree_.modules[module].uses)
        if (use.name == path && use.path.find("::") != std::string::npos) full = use.path;
    std::string owner = before_last(full);
    if (owner.empty()) {
      for (const Use& use : tree_.modules[module].uses)
        if (use.name == "*" && use.path.size() > 2) {
          const auto found = variant_named(module, use.path + path);
          if (found.first != none) return found;
        }
      return {none, none};
    }
    const Index enumeration = all_.lookup(all_.enumeration_names_, module, owner, self_type_);
    if (enumeration == none) return {none, none};
    const auto& variants = tree_.enumerations[enumeration].variants;
    for (Index i = 0; i < variants.size(); ++i)
      if (variants[i].name == last_part(full)) return {enumeration, i};
    return {none, none};
  }
  static bool is_prelude(const std::string& path, std::string_view name) {
    return path == name || path == "Option::" + std::string(name) || path == "Result::" + std::string(name) ||
           path == "core::option::Option::" + std::string(name);
  }

  // Patterns.
  void bind(Index pattern_index, Index matched, int by_reference = 0) {
    Pattern pattern = tree_.patterns[pattern_index];
    all_.spend(pattern.at);
    // A pattern that takes something apart looks behind references, and its names then are references.
    const bool takes_apart = pattern.kind == PatternKind::tuple || pattern.kind == PatternKind::variant ||
                             pattern.kind == PatternKind::structure || pattern.kind == PatternKind::path ||
                             pattern.kind == PatternKind::literal || pattern.kind == PatternKind::range;
    if (pattern.kind == PatternKind::bind && is_constant_name(pattern)) {
      tree_.patterns[pattern_index].kind = PatternKind::path;
      bind(pattern_index, matched, by_reference);
      return;
    }
    std::uint32_t peeled = 0;
    if (takes_apart)
      while (kind(matched) == Kind::reference) {
        by_reference = type(matched).is_mutable ? 2 : 1;
        matched = type(matched).args[0];
        ++peeled;
      }
    const auto done = [&] {
      Pattern& kept = tree_.patterns[pattern_index];
      kept.type = matched;
      kept.peeled = peeled;
      kept.local = pattern.local;
      kept.variant = pattern.variant;
      kept.constant = pattern.constant;
      kept.by_reference = pattern.by_reference;
    };
    switch (pattern.kind) {
      case PatternKind::any:
      case PatternKind::rest: break;
      case PatternKind::bind: {
        if (by_reference != 0) pattern.by_reference = true;
        const Index found = pattern.by_reference ? reference(matched, by_reference == 2) : matched;
        if (either_ != nullptr) {
          // Each side of an `|` binds the same names.
          for (const auto& [name, local] : *either_)
            if (name == pattern.name) {
              same(pattern.at, body_.locals[local], found);
              pattern.local = local;
            }
        }
        if (pattern.local == none) pattern.local = new_local(pattern.name, found);
        break;
      }
      case PatternKind::literal: {
        const Index found = check(pattern.low, matched);
        same(pattern.at, matched, found);
        break;
      }
      case PatternKind::range:
        if (pattern.low != none) same(pattern.at, matched, check(pattern.low, matched));
        if (pattern.high != none) same(pattern.at, matched, check(pattern.high, matched));
        break;
      case PatternKind::tuple: {
        const auto rest = std::find_if(pattern.kids.begin(), pattern.kids.end(), [&](Index kid) {
          return tree_.patterns[kid].kind == PatternKind::rest;
        });
        if (rest != pattern.kids.end()) refuse("unsupported", pattern.at, "`..` in a tuple is not supported");
        if (kind(matched) == Kind::variable) {
          std::vector<Index> parts;
          for (std::size_t i = 0; i < pattern.kids.size(); ++i) parts.push_back(fresh());
          same(pattern.at, matched, with(Kind::tuple, parts));
        }
        if (kind(matched) != Kind::tuple || type(matched).args.size() != pattern.kids.size())
          refuse("type_mismatch", pattern.at,
                 "a tuple of " + std::to_string(pattern.kids.size()) + " is matched with `" +
                     all_.text(matched) + "`");
        for (std::size_t i = 0; i < pattern.kids.size(); ++i)
          bind(pattern.kids[i], type(matched).args[i], by_reference);
        break;
      }
      case PatternKind::path:
      case PatternKind::variant: {
        std::vector<Index> parts;
        if (is_prelude(pattern.name, "Some") || is_prelude(pattern.name, "None")) {
          if (kind(matched) == Kind::variable) same(pattern.at, matched, with(Kind::option, {fresh()}));
          if (kind(matched) != Kind::option) mismatch(pattern.at, matched, with(Kind::option, {fresh()}));
          pattern.variant = is_prelude(pattern.name, "Some") ? 1 : 0;
          if (pattern.variant == 1) parts.push_back(type(matched).args[0]);
        } else if (is_prelude(pattern.name, "Ok") || is_prelude(pattern.name, "Err")) {
          if (kind(matched) == Kind::variable)
            same(pattern.at, matched, with(Kind::result, {fresh(), fresh()}));
          if (kind(matched) != Kind::result)
            mismatch(pattern.at, matched, with(Kind::result, {fresh(), fresh()}));
          pattern.variant = is_prelude(pattern.name, "Ok") ? 1 : 0;
          parts.push_back(type(matched).args[pattern.variant == 1 ? 0 : 1]);
        } else if (const auto [enumeration, variant] = variant_named(pattern.module, pattern.name);
                   enumeration != none) {
          Type made;
          made.kind = Kind::enumeration;
          made.item = enumeration;
          same(pattern.at, matched, all_.make(made));
          pattern.variant = variant;
          parts = all_.variant_types(enumeration, variant);
        } else if (const Index constant =
                       all_.lookup(all_.constant_names_, pattern.module, pattern.name, self_type_);
                   constant != none && pattern.kind == PatternKind::path) {
          pattern.constant = constant;
          same(pattern.at, matched, all_.resolve(tree_.constants[constant].type, self_type_));
        } else if (const Index structure =
                       all_.lookup(all_.structure_names_, pattern.module, pattern.name, self_type_);
                   structure != none && pattern.kind == PatternKind::variant) {
          Type made;
          made.kind = Kind::structure;
          made.item = structure;
          same(pattern.at, matched, all_.make(made));
          parts = all_.structure_types(structure);
        } else {
          refuse("name_unknown", pattern.at, "the pattern `" + pattern.name + "` is not known");
        }
        if (parts.size() != pattern.kids.size())
          refuse("argument_count", pattern.at,
                 "`" + pattern.name + "` has " + std::to_string(parts.size()) + " parts");
        for (std::size_t i = 0; i < parts.size(); ++i) bind(pattern.kids[i], parts[i], by_reference);
        break;
      }
      case PatternKind::structure: {
        const Index structure = all_.lookup(all_.structure_names_, pattern.module, pattern.name, self_type_);
        if (structure == none)
          refuse("name_unknown", pattern.at, "the structure `" + pattern.name + "` is not known");
        Type made;
        made.kind = Kind::structure;
        made.item = structure;
        same(pattern.at, matched, all_.make(made));
        for (std::size_t i = 0; i < pattern.kids.size(); ++i) {
          Index field_type = none;
          if (all_.structure_field(matched, pattern.fields[i], field_type) == none)
            refuse("name_unknown", pattern.at, "there is no field `" + pattern.fields[i] + "`");
          bind(pattern.kids[i], field_type, by_reference);
        }
        break;
      }
      case PatternKind::reference: {
        if (kind(matched) == Kind::variable) same(pattern.at, matched, reference(fresh()));
        if (kind(matched) != Kind::reference) mismatch(pattern.at, reference(fresh()), matched);
        bind(pattern.kids[0], type(matched).args[0]);
        break;
      }
      case PatternKind::either: {
        const std::size_t before = scope_.size();
        bind(pattern.kids[0], matched, by_reference);
        const std::vector<std::pair<std::string, Index>> names(
            scope_.begin() + static_cast<std::ptrdiff_t>(before), scope_.end());
        const auto* outer = either_;
        for (std::size_t i = 1; i < pattern.kids.size(); ++i) {
          either_ = &names;
          bind(pattern.kids[i], matched, by_reference);
          either_ = outer;
          if (scope_.size() != before + names.size())
            refuse("unsupported", pattern.at, "the sides of `|` bind different names");
        }
        break;
      }
    }
    done();
  }

  bool is_constant_name(const Pattern& pattern) {
    if (pattern.by_reference) return false;
    const bool named = is_prelude(pattern.name, "None") ||
                       all_.lookup(all_.constant_names_, pattern.module, pattern.name, self_type_) != none ||
                       variant_named(pattern.module, pattern.name).first != none;
    return named;
  }

  // Expressions.
  Index check(Index expr, Index wanted = none) {
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

  Index check_kind(Index expr, Index wanted) {
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
        if (kind(left) == Kind::reference)
          refuse("type_mismatch", where, "a reference is changed through `*`");
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
        const Index structure =
            all_.lookup(all_.structure_names_, at(expr).module, at(expr).name, self_type_);
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

  Index join(Index left_expr, Index left, Index right_expr, Index right, Index wanted) {
    if (wanted != none && kind(wanted) == Kind::reference) {
      coerce(left_expr, left, wanted);
      coerce(right_expr, right, wanted);
      return wanted;
    }
    if (!all_.unify(left, right)) mismatch(at(right_expr).at, left, right);
    return kind(left) == Kind::variable ? right : left;
  }

  void require_place(Index expr) {
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

  Index named_constant(Index expr, Index constant) {
    at(expr).meaning = Meaning::constant;
    at(expr).target = constant;
    return all_.resolve(tree_.constants[constant].type, tree_.constants[constant].self_type);
  }

  Index path(Index expr, Index wanted) {
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

  void arithmetic(Position where, const std::string& op, Index left, Index right) {
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

  Index binary(Index expr, Index wanted) {
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
  bool comparable(Index index, int depth) {
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

  void range_ends(Index expr, Index type) {
    for (const Index kid : std::vector<Index>(at(expr).kids))
      if (kid != none) same(at(kid).at, type, check(kid, type));
  }

  void arguments(Index expr, const std::vector<Index>& wanted, std::size_t first) {
    const std::vector<Index> kids = at(expr).kids;
    if (kids.size() - first != wanted.size())
      refuse("argument_count", at(expr).at,
             "takes " + std::to_string(wanted.size()) + " arguments, has " +
                 std::to_string(kids.size() - first));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const Index kid = kids[first + i];
      coerce(kid, check(kid, wanted[i]), wanted[i]);
    }
  }

  Index call_function(Index expr, Index function, std::size_t first) {
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

  Index call(Index expr, Index wanted) {
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

  Index method(Index expr, Index wanted) {
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
          const Index target =
              wanted != none && kind(wanted) == Kind::result ? type(wanted).args[0] : fresh();
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

  Index match(Index expr, Index wanted) {
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

  bool diverges(Index expr) {
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

  Index block(Index expr, Index wanted) {
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

  struct Loop {
    std::string label;
    Index result;
    bool left;
    bool endless;
  };
  Loop* loop_named(const std::string& label) {
    for (auto it = loops_.rbegin(); it != loops_.rend(); ++it)
      if (label.empty() || it->label == label) return &*it;
    return nullptr;
  }

  Index loop_for(Index expr) {
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

  Index macro(Index expr) {
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

  Checker& all_;
  Tree& tree_;
  Body& body_;
  std::string self_type_;
  Index result_ = none;
  std::vector<std::pair<std::string, Index>> scope_;
  std::vector<Loop> loops_;
  const std::vector<std::pair<std::string, Index>>* either_ = nullptr;
};

void Checker::check_from(Index function) {
  std::vector<Index> waiting{function};
  while (!waiting.empty()) {
    const Index next = waiting.back();
    waiting.pop_back();
    if (functions_[next].checked) continue;
    const Function item = tree_.functions[next];
    Body body;
    BodyChecker(*this, body, item.self_type).function(item);
    functions_[next] = std::move(body);
    for (const Index callee : functions_[next].callees) waiting.push_back(callee);
  }
}

Body Checker::check_value(Index expr, Index type) {
  Body body;
  BodyChecker(*this, body, "").value(expr, type);
  for (const Index callee : body.callees) check_from(callee);
  return body;
}

void Checker::check_constant(Index constant) {
  if (constants_[constant].checked) return;
  const Constant item = tree_.constants[constant];
  const Index type = resolve(item.type, item.self_type);
  Body body;
  BodyChecker(*this, body, item.self_type).value(item.value, type);
  constants_[constant] = std::move(body);
  for (const Index callee : std::vector<Index>(constants_[constant].callees)) check_from(callee);
}

}  // namespace calyx::strategy
