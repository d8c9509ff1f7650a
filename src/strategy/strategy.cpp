#include "strategy/strategy.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>

#include "strategy/ast.hpp"
#include "strategy/checker.hpp"
#include "strategy/lexer.hpp"
#include "strategy/lowering.hpp"

namespace calyx::strategy {
namespace {

bool is_mark(const std::vector<Token>& tokens, std::size_t i, std::string_view text) {
  return i < tokens.size() && tokens[i].kind == TokenKind::mark && tokens[i].text == text;
}
bool is_name(const std::vector<Token>& tokens, std::size_t i, std::string_view text) {
  return i < tokens.size() && tokens[i].kind == TokenKind::name && tokens[i].text == text;
}

/// What the challenge forbids can be seen without knowing the grammar, inside of macros too.
std::optional<Diagnostic> forbidden(const std::vector<Token>& tokens) {
  const auto told = [](std::string code, const Token& token, std::string message) {
    return Diagnostic{std::move(code), token.at.line, token.at.column, std::move(message)};
  };
  for (const Token& token : tokens)
    if (token.kind == TokenKind::name && token.text == "unsafe")
      return told("source_unsafe", token, "`unsafe` is not allowed");
  static constexpr std::string_view macros[] = {"include",    "include_str", "include_bytes", "env",
                                                "option_env", "asm",         "global_asm"};
  static constexpr std::string_view crates[] = {
      "pinocchio", "wincode", "prop_amm_submission_sdk", "core", "std", "alloc", "crate", "self", "super"};
  // A module or an enumeration of this file may be used by its name.
  std::set<std::string_view> own;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i)
    if (is_name(tokens, i, "mod") || is_name(tokens, i, "enum")) own.insert(tokens[i + 1].text);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    if (token.kind != TokenKind::name) continue;
    if (is_mark(tokens, i + 1, "!") &&
        std::find(std::begin(macros), std::end(macros), token.text) != std::end(macros))
      return told("source_forbidden", token, "the macro `" + std::string(token.text) + "!` is not allowed");
    if (token.text == "extern" && is_name(tokens, i + 1, "crate"))
      return told("source_forbidden", token, "`extern crate` is not allowed");
    if (token.text == "mod" && i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::name &&
        is_mark(tokens, i + 2, ";"))
      return told("source_forbidden", token, "a module in another file is not allowed");
    if (token.text == "use" && i + 2 < tokens.size() && is_mark(tokens, i + 2, "::") &&
        std::find(std::begin(crates), std::end(crates), tokens[i + 1].text) == std::end(crates) &&
        !own.contains(tokens[i + 1].text))
      return told("source_forbidden", tokens[i + 1],
                  "the crate `" + std::string(tokens[i + 1].text) + "` is not allowed");
  }
  return std::nullopt;
}

/// The text of a constant `&str` at the root, or nothing.
std::string text_constant(const Tree& tree, std::string_view name) {
  for (const Constant& constant : tree.constants) {
    if (constant.name != name || constant.is_static) continue;
    const TypeNode& type = tree.types[constant.type];
    if (type.kind != TypeKind::reference || tree.types[type.kids[0]].path != "str") return {};
    const Expr& value = tree.exprs[constant.value];
    if (value.kind != ExprKind::text || value.flag) return {};
    if (value.name.find_first_not_of(" \t\r\n") == std::string::npos) return {};
    return value.name;
  }
  return {};
}

Index function_named(const Tree& tree, std::string_view name) {
  for (Index i = 0; i < tree.functions.size(); ++i)
    if (tree.functions[i].name == name) return i;
  return none;
}

bool is_bytes(const Tree& tree, Index type, bool changes) {
  const TypeNode& node = tree.types[type];
  if (node.kind != TypeKind::reference || (changes && !node.is_mutable)) return false;
  const TypeNode& behind = tree.types[node.kids[0]];
  return behind.kind == TypeKind::slice && tree.types[behind.kids[0]].path == "u8";
}

Compiled compile_source(std::string_view source) {
  if (source.size() > source_bytes_max) refuse("too_large", {}, "the source has more than 256 KiB");
  const std::vector<Token> tokens = lex(source);
  if (auto found = forbidden(tokens)) throw Refusal{std::move(*found)};
  Tree tree = parse(tokens);
  Compiled made;
  made.name = text_constant(tree, "NAME");
  if (made.name.empty()) refuse("source_name", {}, "`const NAME: &str` is missing, empty or no plain text");
  made.model_used = text_constant(tree, "MODEL_USED");
  if (made.model_used.empty())
    refuse("source_model_used", {}, "`const MODEL_USED: &str` is missing, empty or no plain text");
  if (function_named(tree, "get_model_used") == none)
    refuse("source_get_model_used", {}, "`fn get_model_used` is missing");
  const Index swap = function_named(tree, "compute_swap");
  if (swap == none) refuse("source_no_compute_swap", {}, "`fn compute_swap` is missing");
  const Function& swap_item = tree.functions[swap];
  if (swap_item.parameters.size() != 1 || !is_bytes(tree, swap_item.parameters[0].type, false) ||
      swap_item.result == none || tree.types[swap_item.result].path != "u64")
    refuse("type_mismatch", swap_item.at, "`compute_swap` takes `&[u8]` and gives `u64`");
  const Index after = function_named(tree, "after_swap");
  if (after != none) {
    const Function& item = tree.functions[after];
    if (item.parameters.size() != 2 || !is_bytes(tree, item.parameters[0].type, false) ||
        !is_bytes(tree, item.parameters[1].type, true) || item.result != none)
      refuse("type_mismatch", item.at, "`after_swap` takes `&[u8]` and `&mut [u8]`");
  }
  Checker checker(std::move(tree));
  Lowering lowering(checker);
  Unit unit;
  const auto add = [&](Index function) {
    checker.check_from(function);
    lowering.add(unit, function);
    const Unit::Made& entry = unit.functions.at(function);
    made.stack_slots = std::max({made.stack_slots, entry.stack_slots, std::uint32_t{4}});
    return entry.entry;
  };
  made.compute_swap = add(swap);
  if (after != none) made.after_swap = add(after);
  made.code = std::move(unit.code);
  made.lines = std::move(unit.lines);
  made.pool = std::move(unit.pool);
  made.constants = std::move(lowering.constants());
  return made;
}

}  // namespace

kernels::bytecode::Program Compiled::view() const noexcept {
  kernels::bytecode::Program program;
  program.code = code.data();
  program.pool = pool.data();
  program.constants = constants.data();
  program.constants_bytes = static_cast<std::uint32_t>(constants.size());
  program.stack_slots = stack_slots;
  program.compute_swap = compute_swap;
  program.after_swap = after_swap;
  return program;
}

std::variant<Compiled, Diagnostic> compile(std::string_view source) {
  try {
    return compile_source(source);
  } catch (Refusal& refusal) {
    return std::move(refusal.diagnostic);
  }
}

std::string bytes_of(const Compiled& compiled) {
  std::string out = "calyx-bytecode/1\n";
  const auto put = [&out](std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  };
  for (const std::uint64_t number :
       {std::uint64_t{compiled.compute_swap}, std::uint64_t{compiled.after_swap},
        std::uint64_t{compiled.stack_slots}, std::uint64_t{compiled.code.size()},
        std::uint64_t{compiled.pool.size()}, std::uint64_t{compiled.constants.size()}})
    put(number, 4);
  for (const kernels::bytecode::Instruction& it : compiled.code)
    for (const std::uint16_t part : {static_cast<std::uint16_t>(it.op), it.a, it.b, it.c}) put(part, 2);
  for (const std::uint32_t line : compiled.lines) put(line, 4);
  for (const std::uint64_t word : compiled.pool) put(word, 8);
  out.append(compiled.constants.begin(), compiled.constants.end());
  return out;
}

}  // namespace calyx::strategy
