#include <algorithm>
#include <utility>

#include "strategy/ast.hpp"

namespace calyx::strategy {
namespace {

class Parser {
 public:
  explicit Parser(const std::vector<Token>& tokens) : tokens_(tokens) {}

  Tree all() {
    tree_.modules.push_back({});
    items(TokenKind::end);
    return std::move(tree_);
  }

 private:
  // Tokens.
  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[at_ + ahead < tokens_.size() ? at_ + ahead : tokens_.size() - 1];
  }
  bool is(std::string_view text, std::size_t ahead = 0) const {
    const Token& token = peek(ahead);
    return (token.kind == TokenKind::mark || token.kind == TokenKind::name) && token.text == text;
  }
  bool is_name(std::size_t ahead = 0) const { return peek(ahead).kind == TokenKind::name; }
  const Token& next() {
    const Token& token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool take(std::string_view text) {
    if (!is(text)) return false;
    next();
    return true;
  }
  [[noreturn]] void fail(std::string_view wanted) const {
    const Token& token = peek();
    std::string found = token.kind == TokenKind::end ? "the end of the file"
                                                     : "`" + std::string(token.text.substr(0, 40)) + "`";
    refuse("source_syntax", token.at, "expected " + std::string(wanted) + ", found " + found);
  }
  [[noreturn]] static void unsupported(Position at, std::string what) {
    refuse("unsupported", at, std::move(what));
  }
  void expect(std::string_view text) {
    if (!take(text)) fail("`" + std::string(text) + "`");
  }
  std::string name(std::string_view what = "a name") {
    static constexpr std::string_view keywords[] = {
        "as",  "break",  "const",  "continue", "else",  "enum",  "extern", "false", "fn",    "for",
        "if",  "impl",   "in",     "let",      "loop",  "match", "mod",    "move",  "mut",   "pub",
        "ref", "return", "static", "struct",   "trait", "true",  "type",   "use",   "where", "while"};
    if (!is_name() || std::find(std::begin(keywords), std::end(keywords), peek().text) != std::end(keywords))
      fail(what);
    return std::string(next().text);
  }
  // `&&` and `||` stand for two marks where a type or a pattern begins; the first half is taken.
  bool take_half(std::string_view whole) {
    if (is(whole) && !halved_) {
      halved_ = true;
      return true;
    }
    if (is(whole)) {
      halved_ = false;
      next();
      return true;
    }
    return false;
  }

  struct Deeper {
    explicit Deeper(Parser& in) : parser(in) {
      if (++in.depth_ > 2 * nesting_max) refuse("too_deep", in.peek().at, "nested more than 200 deep");
    }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  // Nodes. Chains such as `a + b + c` nest without the parser's recursion, so depth is counted here too.
  Index add(Expr expr) {
    std::uint32_t depth = 0;
    const auto look = [&](Index kid) {
      if (kid != none) depth = std::max(depth, tree_.exprs[kid].depth);
    };
    for (const Index kid : expr.kids) look(kid);
    for (const Statement& statement : expr.statements) {
      look(statement.value);
      look(statement.otherwise);
    }
    for (const MatchArm& arm : expr.arms) {
      look(arm.guard);
      look(arm.body);
    }
    expr.depth = depth + 1;
    if (expr.depth > nesting_max) refuse("too_deep", expr.at, "nested more than 200 deep");
    expr.module = module_;
    tree_.exprs.push_back(std::move(expr));
    return static_cast<Index>(tree_.exprs.size() - 1);
  }
  Index add(Pattern pattern) {
    pattern.module = module_;
    tree_.patterns.push_back(std::move(pattern));
    return static_cast<Index>(tree_.patterns.size() - 1);
  }
  Index add(TypeNode type) {
    type.module = module_;
    tree_.types.push_back(std::move(type));
    return static_cast<Index>(tree_.types.size() - 1);
  }
  static Expr node(ExprKind kind, Position at) {
    Expr expr;
    expr.kind = kind;
    expr.at = at;
    return expr;
  }

  void skip_tree() {
    // Brackets are matched by count alone: what is skipped is not read.
    std::size_t depth = 0;
    do {
      if (peek().kind == TokenKind::end) fail("a closing bracket");
      if (is("(") || is("[") || is("{")) ++depth;
      if (is(")") || is("]") || is("}")) {
        if (depth == 0) fail("an opening bracket");
        --depth;
      }
      next();
    } while (depth != 0);
  }

  // Items.
  struct Attributes {
    bool test = false;
    bool decodes = false;
  };
  Attributes attributes() {
    Attributes found;
    while (is("#")) {
      next();
      take("!");
      if (!is("[")) fail("`[`");
      const std::size_t begin = at_;
      skip_tree();
      for (std::size_t i = begin; i < at_; ++i) {
        const std::string_view text = tokens_[i].text;
        if (text == "SchemaRead") found.decodes = true;
        if (text == "test" && i > 0 && (tokens_[i - 1].text == "(" || tokens_[i - 1].text == "["))
          found.test = true;
      }
    }
    return found;
  }

  void items(TokenKind until) {
    for (;;) {
      if (until == TokenKind::end ? peek().kind == TokenKind::end : is("}")) return;
      const Attributes attribute = attributes();
      if (until == TokenKind::end ? peek().kind == TokenKind::end : is("}")) return;
      item(attribute, "");
    }
  }

  bool at_item() const {
    if (is("fn") || is("struct") || is("enum") || is("impl") || is("trait") || is("mod") || is("use") ||
        is("static") || is("pub") || is("extern") || is("type") || is("macro_rules"))
      return true;
    return is("const") && !is("{", 1);
  }

  void item(const Attributes& attribute, const std::string& self_type) {
    Deeper deeper(*this);
    const std::size_t first_function = tree_.functions.size();
    if (take("pub") && is("(")) skip_tree();
    const Position at = peek().at;
    if (is("const") && (is("fn", 1) || is("extern", 1))) next();
    if (is("extern") && peek(1).kind == TokenKind::text) {
      next();
      next();
    }
    if (is("fn")) {
      function(self_type);
      if (attribute.test) tree_.functions.resize(first_function);
    } else if (is("const") || is("static")) {
      constant(self_type);
    } else if (is("struct")) {
      structure(attribute.decodes);
    } else if (is("enum")) {
      enumeration();
    } else if (is("impl")) {
      implementation();
    } else if (take("mod")) {
      const std::string called = name();
      if (attribute.test) {
        skip_tree();
        return;
      }
      expect("{");
      const Index outer = module_;
      tree_.modules.push_back({tree_.modules[outer].path + called + "::", {}});
      module_ = static_cast<Index>(tree_.modules.size() - 1);
      items(TokenKind::mark);
      module_ = outer;
      expect("}");
    } else if (take("use")) {
      take("::");
      use_tree("");
      expect(";");
    } else if (take("type")) {
      const std::string called = tree_.modules[module_].path + name();
      if (is("<")) unsupported(peek().at, "a type alias with parameters is not supported");
      expect("=");
      const Index type = this->type();
      expect(";");
      if (tree_.types[type].kind != TypeKind::path || !tree_.types[type].kids.empty())
        unsupported(at, "a type alias stands for a plain name only");
      tree_.aliases.push_back({called, tree_.types[type].path});
    } else if (is("trait")) {
      unsupported(at, "traits are not supported");
    } else if (is("macro_rules") && is("!", 1)) {
      unsupported(at, "macros of one's own are not supported");
    } else if (is_name()) {
      // entrypoint!(…), pinocchio::no_allocator!() and their like.
      std::string path = name();
      while (take("::")) path = name();
      if (!take("!")) fail("an item");
      static constexpr std::string_view known[] = {"entrypoint",
                                                   "program_entrypoint",
                                                   "lazy_program_entrypoint",
                                                   "default_allocator",
                                                   "default_panic_handler",
                                                   "no_allocator",
                                                   "nostd_panic_handler",
                                                   "declare_id"};
      if (std::find(std::begin(known), std::end(known), path) == std::end(known))
        unsupported(at, "the macro `" + path + "!` is not supported");
      const bool braces = is("{");
      skip_tree();
      if (!braces) expect(";");
    } else {
      fail("an item");
    }
  }

  void use_tree(const std::string& prefix) {
    Deeper deeper(*this);
    if (take("*")) {
      tree_.modules[module_].uses.push_back({"*", prefix});
      return;
    }
    if (take("{")) {
      while (!is("}")) {
        use_tree(prefix);
        if (!take(",")) break;
      }
      expect("}");
      return;
    }
    if (!is_name()) fail("a path");
    const std::string part(next().text);
    if (take("::")) {
      use_tree(prefix + part + "::");
      return;
    }
    std::string path =
        part == "self" && !prefix.empty() ? prefix.substr(0, prefix.size() - 2) : prefix + part;
    const std::size_t colon = path.rfind("::");
    std::string called = colon == std::string::npos ? path : path.substr(colon + 2);
    if (take("as")) called = std::string(next().text);
    tree_.modules[module_].uses.push_back({called, path});
  }

  /// `<'a>` says nothing that matters here; a parameter that is a type or a number does.
  bool parameters_of_type() {
    if (!take("<")) return false;
    bool generic = false;
    std::size_t depth = 1;
    while (depth != 0) {
      if (peek().kind == TokenKind::end || is("{") || is(";")) fail("`>`");
      if (is("<"))
        ++depth;
      else if (is(">"))
        --depth;
      else if (is_name())
        generic = true;
      next();
    }
    return generic;
  }

  void function(const std::string& self_type) {
    Function made;
    made.at = peek().at;
    expect("fn");
    made.at = peek().at;
    made.name = tree_.modules[module_].path + (self_type.empty() ? "" : self_type + "::") + name();
    made.module = module_;
    made.self_type = self_type;
    made.generic = parameters_of_type();
    expect("(");
    while (!is(")")) {
      attributes();
      Parameter parameter;
      const Position at = peek().at;
      std::size_t ahead = 0;
      bool reference = false;
      if (is("&")) {
        reference = true;
        ahead = 1;
        if (peek(1).kind == TokenKind::lifetime) ahead = 2;
      }
      const bool changes = is("mut", ahead);
      if (!self_type.empty() && is("self", ahead + (changes ? 1 : 0)) && made.parameters.empty()) {
        for (std::size_t i = 0; i <= ahead + (changes ? 1 : 0); ++i) next();
        made.has_self = true;
        Pattern self;
        self.kind = PatternKind::bind;
        self.at = at;
        self.name = "self";
        parameter.pattern = add(self);
        TypeNode type;
        type.at = at;
        type.kind = TypeKind::path;
        type.path = "Self";
        parameter.type = add(type);
        if (reference) {
          TypeNode behind;
          behind.at = at;
          behind.kind = TypeKind::reference;
          behind.kids = {parameter.type};
          behind.is_mutable = changes;
          parameter.type = add(behind);
        }
      } else {
        parameter.pattern = pattern();
        expect(":");
        parameter.type = type();
      }
      made.parameters.push_back(parameter);
      if (!take(",")) break;
    }
    expect(")");
    if (take("->")) made.result = type();
    if (is("where")) unsupported(peek().at, "`where` is not supported");
    if (!is("{")) fail("a function's body");
    self_type_ = self_type;
    made.body = block();
    tree_.functions.push_back(std::move(made));
  }

  void constant(const std::string& self_type) {
    Constant made;
    made.is_static = is("static");
    next();
    made.at = peek().at;
    if (is("mut")) unsupported(made.at, "a static that changes is not supported");
    const std::string called = take("_") ? std::string("_") : name();
    made.name = tree_.modules[module_].path + (self_type.empty() ? "" : self_type + "::") + called;
    made.module = module_;
    made.self_type = self_type;
    expect(":");
    made.type = type();
    expect("=");
    made.value = expression();
    expect(";");
    tree_.constants.push_back(std::move(made));
  }

  void structure(bool decodes) {
    next();
    Structure made;
    made.at = peek().at;
    made.name = tree_.modules[module_].path + name();
    made.module = module_;
    made.decodes = decodes;
    made.generic = parameters_of_type();
    if (take("(")) {
      made.is_tuple = true;
      while (!is(")")) {
        attributes();
        if (take("pub") && is("(")) skip_tree();
        made.fields.push_back(std::to_string(made.fields.size()));
        made.types.push_back(type());
        if (!take(",")) break;
      }
      expect(")");
      expect(";");
    } else if (!take(";")) {
      expect("{");
      while (!is("}")) {
        attributes();
        if (take("pub") && is("(")) skip_tree();
        made.fields.push_back(name("a field"));
        expect(":");
        made.types.push_back(type());
        if (!take(",")) break;
      }
      expect("}");
    }
    tree_.structures.push_back(std::move(made));
  }

  void enumeration() {
    next();
    Enumeration made;
    made.at = peek().at;
    made.name = tree_.modules[module_].path + name();
    made.module = module_;
    made.generic = parameters_of_type();
    expect("{");
    while (!is("}")) {
      attributes();
      Variant variant;
      variant.name = name("a variant");
      if (is("{")) unsupported(peek().at, "a variant with named fields is not supported");
      if (take("(")) {
        while (!is(")")) {
          variant.types.push_back(type());
          if (!take(",")) break;
        }
        expect(")");
      }
      if (take("=")) variant.value = expression();
      made.variants.push_back(std::move(variant));
      if (!take(",")) break;
    }
    expect("}");
    tree_.enumerations.push_back(std::move(made));
  }

  void implementation() {
    next();
    if (parameters_of_type())
      unsupported(peek().at, "an implementation with type parameters is not supported");
    Index type = this->type();
    if (take("for")) type = this->type();
    if (tree_.types[type].kind != TypeKind::path)
      unsupported(tree_.types[type].at, "an implementation is for a type of this file only");
    const std::string self_type = tree_.types[type].path;
    expect("{");
    while (!is("}")) {
      const Attributes attribute = attributes();
      if (is("type")) unsupported(peek().at, "types inside of an implementation are not supported");
      item(attribute, self_type);
    }
    expect("}");
  }

  // Types.
  Index type() {
    Deeper deeper(*this);
    TypeNode made;
    made.at = peek().at;
    if (is("&") || is("&&")) {
      if (is("&"))
        next();
      else
        take_half("&&");
      made.kind = TypeKind::reference;
      if (peek().kind == TokenKind::lifetime) next();
      if (!halved_) made.is_mutable = take("mut");
      made.kids.push_back(type());
    } else if (take("(")) {
      made.kind = TypeKind::tuple;
      bool comma = false;
      while (!is(")")) {
        made.kids.push_back(type());
        comma = take(",");
        if (!comma) break;
      }
      expect(")");
      if (made.kids.size() == 1 && !comma) return made.kids[0];
    } else if (take("[")) {
      made.kind = TypeKind::slice;
      made.kids.push_back(type());
      if (take(";")) {
        made.kind = TypeKind::array;
        made.length = expression();
      }
      expect("]");
    } else if (take("!")) {
      made.kind = TypeKind::never;
    } else if (take("_")) {
      made.kind = TypeKind::inferred;
    } else if (is("impl") || is("dyn") || is("fn") || is("*") || is("Box")) {
      unsupported(made.at, "the type `" + std::string(peek().text) + " …` is not supported");
    } else {
      made.kind = TypeKind::path;
      take("::");
      made.path = name("a type");
      for (;;) {
        if (is("<")) {
          next();
          type_arguments(made.kids);
        }
        if (!take("::")) break;
        if (is("<")) continue;
        made.path += "::" + name("a type");
      }
    }
    return add(made);
  }

  void type_arguments(std::vector<Index>& into) {
    while (!is(">")) {
      if (peek().kind == TokenKind::lifetime)
        next();
      else
        into.push_back(type());
      if (!take(",")) break;
    }
    expect(">");
  }

  // Patterns.
  Index pattern() {
    Deeper deeper(*this);
    take("|");
    const Position at = peek().at;
    const Index first = simple_pattern();
    if (!is("|")) return first;
    Pattern either;
    either.kind = PatternKind::either;
    either.at = at;
    either.kids.push_back(first);
    while (take("|")) either.kids.push_back(simple_pattern());
    return add(either);
  }

  std::string path() {
    take("::");
    if (!is_name()) fail("a path");
    std::string made(next().text);
    while (is("::") && is_name(1)) {
      next();
      made += "::" + std::string(next().text);
    }
    return made;
  }

  bool at_literal() const {
    const TokenKind kind = peek().kind;
    return kind == TokenKind::integer || kind == TokenKind::real || is("true") || is("false") || is("-");
  }
  Index literal_of_pattern() {
    const Position at = peek().at;
    if (take("-")) {
      Expr minus = node(ExprKind::unary, at);
      minus.op = "-";
      minus.kids.push_back(primary());
      return add(minus);
    }
    if (at_literal()) return primary();
    Expr named = node(ExprKind::path, at);
    named.name = path();
    return add(named);
  }

  void pattern_list(Pattern& made, std::string_view close) {
    while (!is(close)) {
      made.kids.push_back(pattern());
      if (!take(",")) break;
    }
    expect(close);
  }

  Index simple_pattern() {
    Deeper deeper(*this);
    Pattern made;
    made.at = peek().at;
    if (take("_")) return add(made);
    if (is("..")) {
      next();
      made.kind = PatternKind::rest;
      return add(made);
    }
    if (is("..=")) {
      next();
      made.kind = PatternKind::range;
      made.high = literal_of_pattern();
      return add(made);
    }
    if (is("&") || is("&&")) {
      if (is("&"))
        next();
      else
        take_half("&&");
      made.kind = PatternKind::reference;
      if (!halved_) take("mut");
      made.kids.push_back(simple_pattern());
      return add(made);
    }
    if (take("(")) {
      made.kind = PatternKind::tuple;
      bool comma = false;
      while (!is(")")) {
        made.kids.push_back(pattern());
        comma = take(",");
        if (!comma) break;
      }
      expect(")");
      if (made.kids.size() == 1 && !comma && tree_.patterns[made.kids[0]].kind != PatternKind::rest)
        return made.kids[0];
      return add(made);
    }
    if (is("[")) unsupported(made.at, "patterns of slices are not supported");
    if (is("ref") || is("mut")) {
      made.kind = PatternKind::bind;
      made.by_reference = take("ref");
      take("mut");
      made.name = name();
      return add(made);
    }
    if (at_literal()) {
      made.kind = PatternKind::literal;
      made.low = literal_of_pattern();
      return range_of_pattern(made);
    }
    if (peek().kind == TokenKind::text || peek().kind == TokenKind::byte_text ||
        peek().kind == TokenKind::character)
      unsupported(made.at, "patterns of text are not supported");
    if (!is_name()) fail("a pattern");
    const std::size_t before = at_;
    const std::string called = path();
    if (take("(")) {
      made.kind = PatternKind::variant;
      made.name = called;
      pattern_list(made, ")");
      return add(made);
    }
    if (take("{")) {
      made.kind = PatternKind::structure;
      made.name = called;
      while (!is("}")) {
        if (take("..")) {
          made.open = true;
          break;
        }
        if (is_name() && is(":", 1)) {
          made.fields.push_back(name());
          next();
          made.kids.push_back(pattern());
        } else {
          Pattern field;
          field.kind = PatternKind::bind;
          field.at = peek().at;
          take("mut");
          field.name = name("a field");
          made.fields.push_back(field.name);
          made.kids.push_back(add(field));
        }
        tree_.fields_named.push_back(made.fields.back());
        if (!take(",")) break;
      }
      expect("}");
      return add(made);
    }
    if (is("..=") || is("..")) {
      at_ = before;
      made.kind = PatternKind::literal;
      made.low = literal_of_pattern();
      return range_of_pattern(made);
    }
    if (is("@")) unsupported(peek().at, "`@` in a pattern is not supported");
    // A plain name binds, unless it turns out to be a constant or a variant.
    at_ = before;
    if (!is("::", 1) && !is("::"))
      name();
    else
      path();
    made.kind = called.find("::") == std::string::npos ? PatternKind::bind : PatternKind::path;
    made.name = called;
    return add(made);
  }

  Index range_of_pattern(Pattern& made) {
    if (!is("..=") && !is("..")) return add(made);
    made.kind = PatternKind::range;
    made.inclusive = is("..=");
    next();
    if (at_literal() || is_name()) {
      if (!is("if")) made.high = literal_of_pattern();
    }
    return add(made);
  }

  // Statements.
  Index block() {
    Deeper deeper(*this);
    Expr made = node(ExprKind::block, peek().at);
    expect("{");
    while (!is("}")) {
      if (take(";")) continue;
      const Attributes attribute = attributes();
      if (at_item() && !(is("const") && is("{", 1))) {
        // Items inside of a function are seen in the whole file; their names must not clash.
        item(attribute, "");
        continue;
      }
      Statement statement;
      statement.at = peek().at;
      if (take("let")) {
        statement.kind = StatementKind::let;
        statement.pattern = pattern();
        if (take(":")) statement.type = type();
        if (take("=")) {
          statement.value = expression();
          if (take("else")) statement.otherwise = block();
        }
        expect(";");
        statement.closed = true;
        made.statements.push_back(statement);
        continue;
      }
      statement.value = statement_expression();
      if (take(";")) {
        statement.closed = true;
        made.statements.push_back(statement);
      } else if (is("}")) {
        made.kids.push_back(statement.value);
      } else if (ends_by_itself(statement.value)) {
        made.statements.push_back(statement);
      } else {
        fail("`;` or `}`");
      }
    }
    expect("}");
    return add(std::move(made));
  }

  bool ends_by_itself(Index expr) const {
    switch (tree_.exprs[expr].kind) {
      case ExprKind::condition:
      case ExprKind::match:
      case ExprKind::block:
      case ExprKind::endless:
      case ExprKind::loop_while:
      case ExprKind::loop_for: return true;
      default: return false;
    }
  }
  bool at_block() const {
    return is("if") || is("match") || is("{") || is("loop") || is("while") || is("for") ||
           (peek().kind == TokenKind::lifetime && is(":", 1));
  }

  /// One that begins with a block ends there, unless a dot or a question mark goes on.
  Index statement_expression() {
    if (!at_block()) return expression();
    const Index made = primary();
    if (is(".") || is("?")) return binary_from(postfix(made), 0);
    return made;
  }

  // Expressions, loosest first.
  Index expression(bool structures = true) {
    Deeper deeper(*this);
    const bool outer = structures_;
    structures_ = structures;
    const Index made = assignment();
    structures_ = outer;
    return made;
  }
  bool begins_expression() const {
    if (is("{")) return structures_;
    return !(is(")") || is("]") || is("}") || is(",") || is(";") || is("=>") ||
             peek().kind == TokenKind::end);
  }

  Index assignment() {
    const Position at = peek().at;
    if (is("return") || is("break") || is("continue")) return leaving();
    if (is("|") || is("||") || is("move")) unsupported(at, "closures are not supported");
    const Index left = range();
    if (is("=")) {
      Expr made = node(ExprKind::assign, peek().at);
      next();
      made.kids = {left, deep_assignment()};
      return add(made);
    }
    static constexpr std::string_view ops[] = {"+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "<<="};
    for (const std::string_view op : ops)
      if (is(op)) {
        Expr made = node(ExprKind::assign_op, peek().at);
        next();
        made.op = op.substr(0, op.size() - 1);
        made.kids = {left, deep_assignment()};
        return add(made);
      }
    // `>>=` comes as `>` and `>=` or as three marks.
    if (is(">") && is(">", 1) && is("=", 2) && !peek(1).spaced && !peek(2).spaced) {
      Expr made = node(ExprKind::assign_op, peek().at);
      next();
      next();
      next();
      made.op = ">>";
      made.kids = {left, deep_assignment()};
      return add(made);
    }
    return left;
  }
  Index deep_assignment() {
    Deeper deeper(*this);
    return assignment();
  }

  Index leaving() {
    const Position at = peek().at;
    Expr made = node(is("return")  ? ExprKind::give_back
                     : is("break") ? ExprKind::leave_loop
                                   : ExprKind::next_turn,
                     at);
    next();
    if (made.kind != ExprKind::give_back && peek().kind == TokenKind::lifetime)
      made.name = std::string(next().text);
    if (made.kind != ExprKind::next_turn && begins_expression()) made.kids.push_back(deep_assignment());
    return add(made);
  }

  Index range() {
    const Position at = peek().at;
    if (is("..") || is("..=")) {
      Expr made = node(ExprKind::range, at);
      made.op = is("..=") ? "..=" : "..";
      next();
      made.kids = {none, none};
      if (begins_expression()) made.kids[1] = binary(1);
      return add(made);
    }
    const Index left = binary(1);
    if (!is("..") && !is("..=")) return left;
    Expr made = node(ExprKind::range, peek().at);
    made.op = is("..=") ? "..=" : "..";
    next();
    made.kids = {left, none};
    if (begins_expression()) made.kids[1] = binary(1);
    return add(made);
  }

  struct Operator {
    std::string_view text;
    int level = 0;
    std::size_t tokens = 1;
  };
  Operator operator_here() const {
    if (peek().kind != TokenKind::mark) return {};
    const std::string_view text = peek().text;
    if (text == "||") return {"||", 1};
    if (text == "&&") return {"&&", 2};
    if (text == ">") {
      const bool joined = is(">", 1) && !peek(1).spaced;
      if (joined && is("=", 2) && !peek(2).spaced) return {};
      if (joined) return {">>", 7, 2};
      if (is("=", 1) && !peek(1).spaced) return {">=", 3, 2};
      return {">", 3};
    }
    if (text == "==" || text == "!=" || text == "<" || text == "<=") return {text, 3};
    if (text == "|") return {"|", 4};
    if (text == "^") return {"^", 5};
    if (text == "&") return {"&", 6};
    if (text == "<<") return {"<<", 7};
    if (text == "+" || text == "-") return {text, 8};
    if (text == "*" || text == "/" || text == "%") return {text, 9};
    return {};
  }

  Index binary(int level) { return binary_from(unary(), level); }

  Index binary_from(Index left, int level) {
    Deeper deeper(*this);
    bool compared = false;
    for (;;) {
      // `as` binds tighter than every operator of two sides.
      if (is("as")) {
        Expr made = node(ExprKind::cast, peek().at);
        next();
        made.kids.push_back(left);
        made.type_node = type();
        left = add(made);
        continue;
      }
      const Operator op = operator_here();
      if (op.level == 0 || op.level < level) return left;
      const Position at = peek().at;
      if (op.level == 3 && compared) fail("brackets between two comparisons");
      compared = op.level == 3;
      for (std::size_t i = 0; i < op.tokens; ++i) next();
      Expr made = node(op.level <= 2 ? ExprKind::logical : ExprKind::binary, at);
      made.op = op.text;
      const Index right = is("return") || is("break") || is("continue") ? leaving() : binary(op.level + 1);
      made.kids = {left, right};
      left = add(made);
    }
  }

  Index unary() {
    Deeper deeper(*this);
    const Position at = peek().at;
    if (is("-") || is("!")) {
      Expr made = node(ExprKind::unary, at);
      made.op = next().text;
      made.kids.push_back(unary());
      return add(made);
    }
    if (take("*")) {
      Expr made = node(ExprKind::dereference, at);
      made.kids.push_back(unary());
      return add(made);
    }
    if (is("&") || is("&&")) {
      Expr made = node(ExprKind::borrow, at);
      const bool twice = is("&&");
      next();
      made.flag = take("mut");
      made.kids.push_back(unary());
      const Index once = add(made);
      if (!twice) return once;
      Expr again = node(ExprKind::borrow, at);
      again.kids.push_back(once);
      return add(again);
    }
    return postfix(primary());
  }

  Index postfix(Index left) {
    for (;;) {
      const Position at = peek().at;
      if (take("?")) {
        Expr made = node(ExprKind::attempt, at);
        made.kids.push_back(left);
        left = add(made);
      } else if (take("(")) {
        Expr made = node(ExprKind::call, tree_.exprs[left].at);
        made.kids.push_back(left);
        arguments(made, ")");
        left = add(made);
      } else if (take("[")) {
        Expr made = node(ExprKind::index, at);
        made.kids = {left, expression()};
        expect("]");
        left = add(made);
      } else if (take(".")) {
        if (is("await")) unsupported(at, "`await` is not supported");
        const Token& token = peek();
        if (token.kind == TokenKind::integer) {
          left = field(left, token.at, std::string(next().text));
        } else if (token.kind == TokenKind::real) {
          // `t.0.1`
          const std::string text(next().text);
          const std::size_t dot = text.find('.');
          if (dot == std::string::npos || dot + 1 == text.size()) fail("a field");
          left = field(left, token.at, text.substr(0, dot));
          left = field(left, token.at, text.substr(dot + 1));
        } else {
          const Position named = token.at;
          const std::string called = name("a field or a method");
          if (is("::") && is("<", 1)) {
            next();
            next();
            std::vector<Index> given;
            type_arguments(given);
            if (!is("(")) fail("`(`");
          }
          if (take("(")) {
            Expr made = node(ExprKind::method, named);
            made.name = called;
            made.kids.push_back(left);
            arguments(made, ")");
            left = add(made);
          } else {
            left = field(left, named, called);
          }
        }
      } else {
        return left;
      }
    }
  }

  Index field(Index left, Position at, std::string called) {
    Expr made = node(ExprKind::field, at);
    made.name = std::move(called);
    made.kids.push_back(left);
    tree_.fields_named.push_back(made.name);
    return add(made);
  }

  void arguments(Expr& made, std::string_view close) {
    while (!is(close)) {
      made.kids.push_back(expression());
      if (!take(",")) break;
    }
    expect(close);
  }

  /// A condition may be a chain of `let` and tests joined by `&&`.
  Index condition() {
    const bool outer = structures_;
    structures_ = false;
    const Index made = condition_part();
    structures_ = outer;
    return made;
  }
  Index condition_part() {
    Deeper deeper(*this);
    const Position at = peek().at;
    if (!is("let")) {
      // Without a `let` further on this is a plain expression.
      return assignment();
    }
    next();
    Expr made = node(ExprKind::let_condition, at);
    made.pattern = pattern();
    expect("=");
    made.kids.push_back(binary(3));
    const Index first = add(made);
    if (!is("&&")) return first;
    Expr both = node(ExprKind::logical, peek().at);
    next();
    both.op = "&&";
    both.kids = {first, condition_part()};
    return add(both);
  }

  Index primary() {
    Deeper deeper(*this);
    const Token& token = peek();
    const Position at = token.at;
    switch (token.kind) {
      case TokenKind::integer: {
        Expr made = node(ExprKind::integer, at);
        made.number = token.number;
        made.suffix = token.suffix;
        next();
        return add(made);
      }
      case TokenKind::real: {
        Expr made = node(ExprKind::real, at);
        made.real = token.real;
        made.suffix = token.suffix;
        next();
        return add(made);
      }
      case TokenKind::text:
      case TokenKind::byte_text: {
        Expr made = node(ExprKind::text, at);
        made.name = token.value;
        made.flag = token.kind == TokenKind::byte_text;
        next();
        return add(made);
      }
      case TokenKind::character: unsupported(at, "characters are not supported");
      case TokenKind::lifetime: {
        const std::string label(token.text);
        next();
        expect(":");
        if (!is("loop") && !is("while") && !is("for")) unsupported(peek().at, "a label is for a loop only");
        return loop(label);
      }
      default: break;
    }
    if (take("(")) {
      Expr made = node(ExprKind::tuple, at);
      bool comma = false;
      while (!is(")")) {
        made.kids.push_back(expression());
        comma = take(",");
        if (!comma) break;
      }
      expect(")");
      if (made.kids.size() == 1 && !comma) return made.kids[0];
      return add(made);
    }
    if (take("[")) {
      Expr made = node(ExprKind::array, at);
      if (!is("]")) {
        made.kids.push_back(expression());
        if (take(";")) {
          made.kind = ExprKind::array_repeat;
          made.kids.push_back(expression());
        } else if (take(",")) {
          arguments(made, "]");
          return add(made);
        }
      }
      expect("]");
      return add(made);
    }
    if (is("{")) return inside_block();
    if (is("if")) return branch();
    if (is("match")) return choice();
    if (is("loop") || is("while") || is("for")) return loop("");
    if (is("return") || is("break") || is("continue")) return leaving();
    if (is("true") || is("false")) {
      Expr made = node(ExprKind::boolean, at);
      made.flag = is("true");
      next();
      return add(made);
    }
    if (is("|") || is("||") || is("move")) unsupported(at, "closures are not supported");
    if (is("async") || is("const"))
      unsupported(at, "`" + std::string(token.text) + "` blocks are not supported");
    if (is("let")) fail("an expression");
    if (is("<")) unsupported(at, "a path that begins with a type in brackets is not supported");
    take("::");
    if (!is_name()) fail("an expression");
    Expr made = node(ExprKind::path, at);
    made.name = name("an expression");
    while (is("::")) {
      next();
      if (take("<")) {
        std::vector<Index> given;
        type_arguments(given);
        if (!given.empty()) made.type_node = given[0];
      } else {
        if (!is_name()) fail("a name");
        made.name += "::" + std::string(next().text);
      }
    }
    if (is("!") && !is("=", 1)) return macro(made.name, at);
    if (is("{") && structures_ && structure_follows()) return structure_literal(made.name, at);
    return add(made);
  }

  Index inside_block() {
    const bool outer = structures_;
    structures_ = true;
    const Index made = block();
    structures_ = outer;
    return made;
  }

  bool structure_follows() const {
    return is("}", 1) || (is_name(1) && (is(":", 2) || is(",", 2) || is("}", 2))) || is("..", 1) ||
           (peek(1).kind == TokenKind::integer && is(":", 2));
  }

  Index structure_literal(const std::string& called, Position at) {
    Expr made = node(ExprKind::structure, at);
    made.name = called;
    expect("{");
    while (!is("}")) {
      if (is("..")) {
        next();
        made.flag = true;
        made.kids.push_back(expression());
        break;
      }
      const Position here = peek().at;
      made.fields.push_back(name("a field"));
      if (take(":")) {
        made.kids.push_back(expression());
      } else {
        Expr same = node(ExprKind::path, here);
        same.name = made.fields.back();
        made.kids.push_back(add(same));
      }
      if (!take(",")) break;
    }
    expect("}");
    return add(made);
  }

  Index macro(const std::string& called, Position at) {
    expect("!");
    Expr made = node(ExprKind::macro, at);
    const std::size_t colon = called.rfind("::");
    made.name = colon == std::string::npos ? called : called.substr(colon + 2);
    if (!is("(") && !is("[") && !is("{")) fail("`(`");
    if (made.name == "assert" || made.name == "matches" || made.name == "assert_eq" ||
        made.name == "assert_ne") {
      const std::string close = is("(") ? ")" : is("[") ? "]" : "}";
      const bool outer = structures_;
      structures_ = true;
      next();
      made.kids.push_back(assignment());
      if (made.name == "matches") {
        expect(",");
        made.pattern = pattern();
        if (take("if")) unsupported(peek().at, "a guard in `matches!` is not supported");
        take(",");
      } else {
        if (made.name != "assert") {
          expect(",");
          made.kids.push_back(assignment());
        }
        // The message is for nobody here.
        while (!is(close)) {
          if (peek().kind == TokenKind::end) fail("`" + close + "`");
          if (is("(") || is("[") || is("{"))
            skip_tree();
          else
            next();
        }
      }
      structures_ = outer;
      expect(close);
      return add(made);
    }
    skip_tree();
    return add(made);
  }

  Index branch() {
    Deeper deeper(*this);
    Expr made = node(ExprKind::condition, peek().at);
    expect("if");
    made.kids.push_back(condition());
    made.kids.push_back(inside_block());
    if (take("else")) made.kids.push_back(is("if") ? branch() : inside_block());
    return add(made);
  }

  Index choice() {
    Expr made = node(ExprKind::match, peek().at);
    expect("match");
    made.kids.push_back(expression(false));
    expect("{");
    while (!is("}")) {
      attributes();
      MatchArm arm;
      arm.pattern = pattern();
      if (take("if")) arm.guard = expression();
      expect("=>");
      const bool outer = structures_;
      structures_ = true;
      const bool block_first = is("{");
      arm.body = block_first ? statement_expression() : expression();
      structures_ = outer;
      made.arms.push_back(arm);
      if (!take(",") && !is("}") && !(block_first && ends_by_itself(arm.body))) fail("`,` or `}`");
    }
    expect("}");
    return add(std::move(made));
  }

  Index loop(const std::string& label) {
    const Position at = peek().at;
    if (take("loop")) {
      Expr made = node(ExprKind::endless, at);
      made.name = label;
      made.kids.push_back(inside_block());
      return add(made);
    }
    if (take("while")) {
      Expr made = node(ExprKind::loop_while, at);
      made.name = label;
      made.kids.push_back(condition());
      made.kids.push_back(inside_block());
      return add(made);
    }
    expect("for");
    Expr made = node(ExprKind::loop_for, at);
    made.name = label;
    made.pattern = pattern();
    expect("in");
    made.kids.push_back(expression(false));
    made.kids.push_back(inside_block());
    return add(made);
  }

  const std::vector<Token>& tokens_;
  std::size_t at_ = 0;
  std::uint32_t depth_ = 0;
  Index module_ = 0;
  bool structures_ = true;
  bool halved_ = false;
  std::string self_type_;
  Tree tree_;
};

}  // namespace

Tree parse(const std::vector<Token>& tokens) { return Parser(tokens).all(); }

}  // namespace calyx::strategy
