/// \file
/// One body's names and types: the state that this takes, and the small steps.
///
/// Start at `BodyChecker::function`. Its parts lie in files of their own: checker_patterns.cpp,
/// checker_expressions.cpp, checker_calls.cpp (functions, methods) and checker_blocks.cpp (statements,
/// `match`, loops).
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "strategy/checker.hpp"

namespace calyx::strategy {

using kernels::bytecode::Mode;
using kernels::bytecode::Rare;
using kernels::bytecode::RealFunction;

inline constexpr std::uint32_t type_slots_max = 4'096;

std::optional<Integer> integer_named(std::string_view name);
/// `a::b::c` is `c` last, `a` first, and `a::b` before the last.
std::string last_part(const std::string& path);
std::string first_part(const std::string& path);
std::string before_last(const std::string& path);

/// Checks one body.
class BodyChecker {
 public:
  BodyChecker(Checker& all, Body& body, std::string self_type)
      : all_(all), tree_(all.tree_), body_(body), self_type_(std::move(self_type)) {}
  void function(const Function& function);
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
  Index with(Kind kind, std::vector<Index> args, std::uint64_t length = 0, bool changes = false);
  Index reference(Index to, bool changes = false) { return with(Kind::reference, {to}, 0, changes); }
  [[noreturn]] void mismatch(Position where, Index wanted, Index found) {
    refuse("type_mismatch", where, "expected `" + all_.text(wanted) + "`, found `" + all_.text(found) + "`");
  }
  void same(Position where, Index wanted, Index found) {
    if (!all_.unify(wanted, found)) mismatch(where, wanted, found);
  }
  void coerce(Index expr, Index found, Index wanted);
  Index behind(Index index, std::uint32_t& peeled) {
    while (kind(index) == Kind::reference) {
      index = type(index).args[0];
      ++peeled;
    }
    return index;
  }
  /// The type has to be known here; a number that nothing decided gets its default.
  Index known(Index index, Position where);
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
  std::pair<Index, Index> variant_named(Index module, const std::string& path);
  static bool is_prelude(const std::string& path, std::string_view name) {
    return path == name || path == "Option::" + std::string(name) || path == "Result::" + std::string(name) ||
           path == "core::option::Option::" + std::string(name);
  }

  // Patterns.
  void bind(Index pattern_index, Index matched, int by_reference = 0);
  bool is_constant_name(const Pattern& pattern) {
    if (pattern.by_reference) return false;
    const bool named = is_prelude(pattern.name, "None") ||
                       all_.lookup(all_.constant_names_, pattern.module, pattern.name, self_type_) != none ||
                       variant_named(pattern.module, pattern.name).first != none;
    return named;
  }

  // Expressions.
  Index check(Index expr, Index wanted = none);
  Index check_kind(Index expr, Index wanted);
  Index join(Index left_expr, Index left, Index right_expr, Index right, Index wanted);
  void require_place(Index expr);
  Index named_constant(Index expr, Index constant) {
    at(expr).meaning = Meaning::constant;
    at(expr).target = constant;
    return all_.resolve(tree_.constants[constant].type, tree_.constants[constant].self_type);
  }
  Index path(Index expr, Index wanted);
  void arithmetic(Position where, const std::string& op, Index left, Index right);
  Index binary(Index expr, Index wanted);
  bool comparable(Index index, int depth);
  void range_ends(Index expr, Index type) {
    for (const Index kid : std::vector<Index>(at(expr).kids))
      if (kid != none) same(at(kid).at, type, check(kid, type));
  }
  void arguments(Index expr, const std::vector<Index>& wanted, std::size_t first);
  Index call_function(Index expr, Index function, std::size_t first);
  Index call(Index expr, Index wanted);
  Index method(Index expr, Index wanted);
  Index match(Index expr, Index wanted);
  bool diverges(Index expr);
  Index block(Index expr, Index wanted);
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
  Index loop_for(Index expr);
  Index macro(Index expr);

  Checker& all_;
  Tree& tree_;
  Body& body_;
  std::string self_type_;
  Index result_ = none;
  std::vector<std::pair<std::string, Index>> scope_;
  std::vector<Loop> loops_;
  const std::vector<std::pair<std::string, Index>>* either_ = nullptr;
};

}  // namespace calyx::strategy
