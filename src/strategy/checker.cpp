#include "strategy/checker.hpp"

#include <algorithm>

#include "strategy/body_checker.hpp"

namespace calyx::strategy {

namespace {

/// Steps of comparing and measuring types; sources that people write need thousands.
constexpr std::uint64_t work_max = 4'000'000;
constexpr std::string_view integer_names[] = {"u8", "u16", "u32", "u64", "u128", "usize",
                                              "i8", "i16", "i32", "i64", "i128", "isize"};

}  // namespace

std::optional<Integer> integer_named(std::string_view name) {
  const auto* found = std::find(std::begin(integer_names), std::end(integer_names), name);
  if (found == std::end(integer_names)) return std::nullopt;
  return static_cast<Integer>(found - std::begin(integer_names));
}

std::string last_part(const std::string& path) {
  const std::size_t colon = path.rfind("::");
  return colon == std::string::npos ? path : path.substr(colon + 2);
}
std::string first_part(const std::string& path) { return path.substr(0, path.find("::")); }
std::string before_last(const std::string& path) {
  const std::size_t colon = path.rfind("::");
  return colon == std::string::npos ? std::string() : path.substr(0, colon);
}

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

void BodyChecker::function(const Function& function) {
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

Index BodyChecker::with(Kind kind, std::vector<Index> args, std::uint64_t length, bool changes) {
  Type made;
  made.kind = kind;
  made.args = std::move(args);
  made.length = length;
  made.is_mutable = changes;
  return all_.make(made);
}

void BodyChecker::coerce(Index expr, Index found, Index wanted) {
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
      refuse("unsupported", at(expr).at, "a reference to a reference is not taken off by itself; write `*`");
  }
  // A block is told by the value at its end.
  while (at(expr).kind == ExprKind::block && !at(expr).kids.empty()) expr = at(expr).kids[0];
  same(at(expr).at, wanted, found);
}

Index BodyChecker::known(Index index, Position where) {
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

std::pair<Index, Index> BodyChecker::variant_named(Index module, const std::string& path) {
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
