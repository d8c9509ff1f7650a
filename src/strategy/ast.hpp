/// \file
/// A source as a tree: nodes lie in arrays and name each other by index, so no chain of them is walked to
/// free it.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "strategy/lexer.hpp"

namespace calyx::strategy {

using Index = std::uint32_t;
inline constexpr Index none = 0xffffffffU;

enum class TypeKind : std::uint8_t { path, reference, slice, array, tuple, never, inferred };

/// A type as it is written.
struct TypeNode {
  TypeKind kind = TypeKind::inferred;
  Position at;
  std::string path;
  std::vector<Index> kids;  ///< Types: arguments, members, or the one behind `&` or in brackets.
  Index length = none;      ///< An array's expression.
  bool is_mutable = false;
  std::uint32_t depth = 1;
  Index module = 0;  ///< In which its names are looked up.
};

enum class PatternKind : std::uint8_t {
  any,
  rest,
  bind,
  literal,
  range,
  tuple,
  path,
  variant,
  structure,
  reference,
  either
};

struct Pattern {
  PatternKind kind = PatternKind::any;
  Position at;
  std::string name;                 ///< A binding, or a path.
  std::vector<Index> kids;          ///< Patterns.
  std::vector<std::string> fields;  ///< Of a structure, one a kid.
  Index low = none;                 ///< Expressions: the literal, a range's ends.
  Index high = none;
  bool inclusive = true;
  bool by_reference = false;
  bool open = false;  ///< A structure's `..`.
  std::uint32_t depth = 1;
  Index module = 0;
  // What the checker found.
  Index local = none;
  Index type = none;     ///< Of what is matched, references taken off.
  Index variant = none;  ///< Of an enumeration, or none for a constant.
  Index constant = none;
  std::uint32_t peeled = 0;  ///< References taken off before this pattern was matched.
};

enum class ExprKind : std::uint8_t {
  integer,
  real,
  boolean,
  text,
  path,
  unary,
  binary,
  assign,
  assign_op,
  call,
  method,
  field,
  index,
  range,
  borrow,
  dereference,
  cast,
  condition,
  match,
  block,
  endless,
  loop_while,
  loop_for,
  leave_loop,
  next_turn,
  give_back,
  tuple,
  array,
  array_repeat,
  structure,
  let_condition,
  attempt,
  macro,
  logical,
};

enum class StatementKind : std::uint8_t { let, expression };
struct Statement {
  StatementKind kind = StatementKind::expression;
  Position at;
  Index pattern = none;
  Index type = none;
  Index value = none;
  Index otherwise = none;  ///< The block of let-else.
  bool closed = false;     ///< Ends in a semicolon.
};

struct MatchArm {
  Index pattern = none;
  Index guard = none;
  Index body = none;
};

/// What a path means.
enum class Meaning : std::uint8_t { unknown, local, constant, function, variant, structure, number };

struct Expr {
  ExprKind kind = ExprKind::tuple;
  Position at;
  std::uint32_t depth = 1;
  std::string op;    ///< Of unary, binary, assign_op, logical.
  std::string name;  ///< A path, a method, a field, a label, a macro, a string's bytes.
  std::vector<Index> kids;
  std::vector<std::string> fields;
  std::vector<Statement> statements;  ///< Of a block, whose value is the last kid or nothing.
  std::vector<MatchArm> arms;
  Wide number = 0;
  double real = 0.0;
  std::string suffix;
  Index pattern = none;
  Index type_node = none;
  bool flag = false;  ///< `&mut`, an inclusive range, a byte string, a range without its low end, true.
  Index module = 0;
  // What the checker found.
  Index type = none;
  Meaning meaning = Meaning::unknown;
  Index target = none;
  Index variant = none;
  Index unsized_from = none;  ///< Coerced from a reference to this array type to a slice.
  std::uint32_t peeled = 0;   ///< References taken off the first kid.
  bool effects = false;       ///< May change a variable.
};

struct Parameter {
  Index pattern = none;
  Index type = none;
};

struct Function {
  std::string name;  ///< With its modules, and its type for a method.
  Position at;
  std::vector<Parameter> parameters;
  Index result = none;
  Index body = none;
  Index module = 0;
  std::string self_type;
  bool has_self = false;
  bool generic = false;
};

struct Constant {
  std::string name;
  Position at;
  Index type = none;
  Index value = none;
  Index module = 0;
  std::string self_type;
  bool is_static = false;
};

struct Structure {
  std::string name;
  Position at;
  std::vector<std::string> fields;  ///< "0", "1" of a tuple structure.
  std::vector<Index> types;
  Index module = 0;
  bool decodes = false;  ///< Derives wincode's reader.
  bool generic = false;
  bool is_tuple = false;
};

struct Variant {
  std::string name;
  std::vector<Index> types;
  Index value = none;  ///< The expression of its number.
};
struct Enumeration {
  std::string name;
  Position at;
  std::vector<Variant> variants;
  Index module = 0;
  bool generic = false;
};

struct Use {
  std::string name;  ///< What it is called here.
  std::string path;
};
struct Module {
  std::string path;  ///< "" at the root, else "a::b::".
  std::vector<Use> uses;
};

struct Tree {
  std::vector<TypeNode> types;
  std::vector<Pattern> patterns;
  std::vector<Expr> exprs;
  std::vector<Function> functions;
  std::vector<Constant> constants;
  std::vector<Structure> structures;
  std::vector<Enumeration> enumerations;
  std::vector<Module> modules;
  std::vector<Use> aliases;  ///< `type A = B` with B a path.
  std::vector<std::string>
      fields_named;  ///< Names behind a dot or in a pattern: what is not here is not read.
};

/// Reads a whole file. Throws `Refusal`.
Tree parse(const std::vector<Token>& tokens);

}  // namespace calyx::strategy
