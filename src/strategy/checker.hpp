/// \file
/// What the names and expressions of a source mean, and which types they have.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "strategy/ast.hpp"

namespace calyx::strategy {

enum class Kind : std::uint8_t {
  variable,
  boolean,
  integer,
  real,
  text,
  unit_error,
  tuple,
  array,
  slice,
  reference,
  structure,
  enumeration,
  option,
  result,
};

enum class Integer : std::uint8_t { u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize };
inline std::uint32_t bits_of(Integer integer) {
  constexpr std::uint32_t bits[] = {8, 16, 32, 64, 128, 64};
  return bits[static_cast<std::size_t>(integer) % 6];
}
inline bool is_signed(Integer integer) { return integer >= Integer::i8; }
inline std::uint16_t code_of(Integer integer) {
  return static_cast<std::uint16_t>(bits_of(integer) | (is_signed(integer) ? 0x100U : 0U));
}

/// A variable stands for any type, for an integer, or for a real number, until it is bound.
enum class Wanted : std::uint8_t { anything, integer, real };

struct Type {
  Kind kind = Kind::tuple;
  Integer integer = Integer::i32;
  Wanted wanted = Wanted::anything;
  bool is_mutable = false;
  std::vector<Index> args;
  Index item = none;  ///< The structure or enumeration.
  std::uint64_t length = 0;
  Index bound = none;
};

/// A method of integers that has an instruction of the rare kind.
struct IntegerMethod {
  kernels::bytecode::Rare rare;
  kernels::bytecode::Mode mode;
  bool has_argument;
  bool counted;  ///< Its argument is a u32.
  enum class Gives : std::uint8_t { same, count, truth, unsigned_same } gives;
};
std::optional<IntegerMethod> integer_method(std::string_view name);
std::optional<kernels::bytecode::RealFunction> real_function(std::string_view name);

/// How a `for` goes through its items.
struct Iteration {
  enum class Over : std::uint8_t { range, references, values, chunks } over = Over::range;
  Index base = none;  ///< The range's expression, or the slice's.
  Index step = none;  ///< Of `step_by`, or the length of a chunk.
  bool backwards = false;
  bool counted = false;  ///< `enumerate`.
  Index element = none;  ///< The type of an element, or of the range's ends.
};

/// What was found out about a function, or about a constant, which is a function without parameters.
struct Body {
  bool checked = false;
  std::vector<Index> locals;  ///< Their types.
  std::vector<Index> callees;
  std::vector<Index> parameters;
  Index result = none;
};

class Checker {
 public:
  explicit Checker(Tree tree);

  Tree& tree() { return tree_; }
  /// Checks `function` and all that it calls.
  void check_from(Index function);
  void check_constant(Index constant);
  /// Checks an expression that stands alone, as an array's length.
  Body check_value(Index expr, Index type);
  Body& body(Index function) { return functions_[function]; }
  Body& constant_body(Index constant) { return constants_[constant]; }
  const Iteration& iteration(Index expr) const { return iterations_.at(expr); }
  Index find_function(const std::string& name) const {
    const auto found = function_names_.find(name);
    return found == function_names_.end() ? none : found->second;
  }

  // Types.
  Index find(Index type);
  Type& at(Index type) { return types_[find(type)]; }
  std::string text(Index type);
  std::uint32_t slots(Index type);
  /// The bytes from one element of a slice to the next.
  std::uint32_t stride(Index type);
  Index structure_field(Index type, std::string_view field, Index& field_type);
  std::vector<Index>& variant_types(Index enumeration, Index variant);
  std::vector<Index>& structure_types(Index structure);
  bool field_is_read(Index structure, Index field) const;
  Wide variant_number(Index enumeration, Index variant);
  Index make(Type type);
  Index make_integer(Integer integer);

  /// The value of a constant, as slots; set by who can run code.
  class Evaluator {
   public:
    virtual ~Evaluator() = default;
    virtual const std::vector<std::uint64_t>& constant(Index constant, Position at) = 0;
    virtual std::vector<std::uint64_t> expression(Index expr, Index type, Index module) = 0;
  };
  Evaluator* evaluator = nullptr;

  // The words of a type as it is written.
  Index resolve(Index node, const std::string& self_type);

 private:
  friend class BodyChecker;
  void spend(Position at);
  Index lookup(const std::unordered_map<std::string, Index>& names, Index module, std::string path,
               const std::string& self_type) const;
  bool unify(Index left, Index right);
  bool occurs(Index variable, Index type);

  Tree tree_;
  std::vector<Type> types_;
  std::unordered_map<std::string, Index> function_names_;
  std::unordered_map<std::string, Index> constant_names_;
  std::unordered_map<std::string, Index> structure_names_;
  std::unordered_map<std::string, Index> enumeration_names_;
  std::unordered_map<std::string, Index> alias_names_;
  std::vector<Body> functions_;
  std::vector<Body> constants_;
  std::vector<std::vector<Index>> structure_types_;
  std::vector<std::vector<std::vector<Index>>> variant_types_;
  std::vector<std::uint8_t> structure_states_;
  std::map<Index, Iteration> iterations_;
  std::vector<std::string> fields_read_;
  std::uint64_t work_ = 0;
  std::uint32_t resolve_depth_ = 0;
  std::unordered_map<Index, std::uint32_t> slots_known_;
};

}  // namespace calyx::strategy
