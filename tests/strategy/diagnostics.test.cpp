#include <doctest/doctest.h>

#include <cstring>

#include "running.hpp"
#include "testing.hpp"

using calyx::kernels::bytecode::Ending;
using calyx::strategy::compile;
using calyx::strategy::Compiled;
using calyx::strategy::Diagnostic;
using calyx::testing::source_of;

TEST_CASE("what is not supported is told with its place") {
  struct Row {
    const char* items;
    const char* body;
    const char* code;
    std::uint32_t line;
    std::uint32_t column;
  };
  // The body begins on line 5, or one line later for each line of the items.
  const Row rows[] = {
      {"", "let f = |x: u64| x; f(1)", "unsupported", 5, 9},
      {"", "data[0]", "type_mismatch", 5, 5},
      {"", "let x: u64 = 5u32;\nx", "type_mismatch", 5, 14},
      {"", "1u64 + data[0]", "type_mismatch", 5, 6},
      {"", "nothing", "name_unknown", 5, 1},
      {"", "\n  nowhere(1)", "name_unknown", 6, 3},
      {"", "let v = vec![1u64]; v[0]", "unsupported", 5, 9},
      {"", "let x = 5f32; 0", "unsupported", 5, 9},
      {"", "let s = String::new(); 0", "name_unknown", 5, 9},
      {"", "data.iter().sum::<u64>()", "unsupported", 5, 6},
      {"", "x.min(", "source_syntax", 6, 1},
      {"", "let = 5; 0", "source_syntax", 5, 5},
      {"", "1 + ;", "source_syntax", 5, 5},
      {"", "\"open", "source_syntax", 5, 1},
      {"", "/* open", "source_syntax", 5, 1},
      {"", "let x = 300u8; x as u64", "type_mismatch", 5, 9},
      {"", "let a = [0u64; 99999999]; a[0]", "too_large", 5, 9},
      {"", "if data[0] { 1 } else { 2 }", "type_mismatch", 5, 8},
      {"", "break; 0", "source_syntax", 5, 1},
      {"", "two(1)", "name_unknown", 5, 1},
      {"fn two(a: u64, b: u64) -> u64 { a + b }", "two(1)", "argument_count", 5, 1},
      {"fn g<T>(x: T) -> T { x }", "g(1u64)", "unsupported", 5, 1},
      {"fn down(x: u64) -> u64 { if x == 0 { 0 } else { down(x - 1) } }", "down(3)", "recursion", 3, 4},
      {"fn a(x: u64) -> u64 { b(x) }\nfn b(x: u64) -> u64 { a(x) }", "a(3)", "recursion", 3, 4},
      {"trait T {}", "0", "unsupported", 3, 1},
      {"macro_rules! m { () => {} }", "0", "unsupported", 3, 1},
      {"static mut X: u64 = 0;", "0", "unsupported", 3, 8},
      {"use serde::Serialize;", "0", "source_forbidden", 3, 5},
      {"const A: u64 = B; const B: u64 = A;", "A", "constant_failed", 0, 0},
      {"const A: u64 = 1 / 0;", "A", "constant_failed", 5, 1},
      {"const fn f() -> u64 { loop {} } const A: u64 = f();", "A", "constant_failed", 5, 1},
      {"struct S { x: u64 }", "let s = S { x: 1 }; s.y", "name_unknown", 5, 23},
      {"struct S { x: u64 }", "let s = S { }; s.x", "argument_count", 5, 9},
      {"fn f() {}\nfn f() {}", "0", "source_syntax", 4, 4},
      {"struct S { x: S2 } struct S2 { x: S }", "let s: S; let t = s.x; 0", "type_unknown", 0, 0},
      {"fn x() {} }", "0", "source_syntax", 3, 11},
  };
  for (const Row& row : rows) {
    CAPTURE(std::string(row.items));
    CAPTURE(std::string(row.body));
    const auto made = compile(source_of(row.items, row.body));
    const auto* diagnostic = std::get_if<Diagnostic>(&made);
    REQUIRE(diagnostic != nullptr);
    CAPTURE(diagnostic->message);
    CHECK(diagnostic->code == row.code);
    if (row.line == 0) continue;
    CHECK(diagnostic->line == row.line);
    CHECK(diagnostic->column == row.column);
  }
}

TEST_CASE("a hostile source ends in a diagnostic, within the limits") {
  const auto repeated = [](std::string_view text, std::size_t count) {
    std::string made;
    for (std::size_t i = 0; i < count; ++i) made += text;
    return made;
  };
  const auto code = [](const std::string& source) {
    const auto made = compile(source);
    const auto* diagnostic = std::get_if<Diagnostic>(&made);
    return diagnostic == nullptr ? std::string("compiles") : diagnostic->code;
  };
  CHECK(code(source_of("", repeated("(", 20000))) == "too_deep");
  CHECK(code(source_of("", repeated("{", 20000))) == "too_deep");
  CHECK(code(source_of("", repeated("!", 20000))) == "too_deep");
  CHECK(code(source_of("", repeated("&", 20000))) == "too_deep");
  CHECK(code(source_of("", "if true {" + repeated("} else if true {", 5000) + "}")) == "too_deep");
  CHECK(code(source_of("", "let x: " + repeated("[", 20000))) == "too_deep");
  CHECK(code(source_of("", "match 1 { " + repeated("(", 20000))) == "too_deep");
  CHECK(code(source_of("", "1" + repeated(" + 1", 20000))) == "too_deep");
  CHECK(code(source_of("", "0" + repeated(".min(1)", 9000))) == "too_deep");
  CHECK(code(source_of(repeated("mod m { ", 9000), "")) == "too_deep");
  CHECK(code(source_of("", repeated("let x = 1;", 20000) + "x")) == "too_large");
  CHECK(code(std::string(calyx::strategy::source_bytes_max + 1, ' ')) == "too_large");
  CHECK(code(std::string(calyx::strategy::source_bytes_max, ' ')) == "source_name");
  CHECK(code(source_of("", "let x = data[0] as u64;" + repeated("let x = x * x / 3 % x;", 3500) + "x")) ==
        "too_large");
  // Types that double at each step, calls that would double when put in, frames that add up.
  std::string doubling = "let a0 = (1u64, 1u64);";
  for (int i = 1; i < 40; ++i)
    doubling +=
        "let a" + std::to_string(i) + " = (a" + std::to_string(i - 1) + ", a" + std::to_string(i - 1) + ");";
  CHECK(code(source_of("", doubling + "0")) == "too_large");
  std::string calls = "fn f0(x: u64) -> u64 { x + 1 }\n";
  for (int i = 1; i < 400; ++i)
    calls += "fn f" + std::to_string(i) + "(x: u64) -> u64 { f" + std::to_string(i - 1) + "(x) ^ f" +
             std::to_string(i - 1) + "(x + 1) }\n";
  CHECK(code(source_of(calls, "f399(1)")) == "too_deep");
  CHECK(code(source_of("fn g() -> [u64; 4000] { [1; 4000] }",
                       "let a = g(); let b = g(); let c = g(); a[0] + b[0] + c[0]")) == "too_large");
}

TEST_CASE("a mutated source never crashes the compiler or the machine") {
  // The sources of the vectors' form, cut, joined and garbled by a generator that repeats.
  const std::string seeds[] = {
      source_of(
          "const T: [u64; 3] = [1, 2, 3]; struct S { a: u64, b: [u8; 9] }\n"
          "fn word(d: &[u8], at: usize) -> u64 { u64::from_le_bytes(d[at..at + 8].try_into().unwrap()) }",
          "let mut s = 0u64; for i in 0..3 { s += T[i] * word(data, i * 8 + 1); }\n"
          "let q = S { a: s, b: [7; 9] }; match q.b[data[2] as usize] { 0 | 1 => 4, 2..=9 => q.a, _ => 9 }"),
      source_of("fn f(x: u128, y: i64) -> Option<u128> { if y < 0 { None } else { Some(x * 3 / (y as u128 + "
                "1)) } }",
                "let (a, b) = if data[0] == 0 { (1u128, -2i64) } else { (7, 3) };\n"
                "let mut v = [0u8; 16]; v[..8].copy_from_slice(&data[3..11]);\n"
                "if let Some(x) = f(a + u128::from_le_bytes(v), b) { x as u64 } else { (2.5f64).powf(1.5) as "
                "u64 }"),
      source_of("#[derive(wincode::SchemaRead)]\nstruct Q { side: u8, amount: u64, x: u64, y: u64, rest: "
                "[u8; 1024] }",
                "let q: Q = match wincode::deserialize(data) { Ok(v) => v, Err(_) => return 0 };\n"
                "let mut t = 0u64; 'a: loop { t += 1; while t % 7 != 0 { t += q.rest[3] as u64; continue 'a; "
                "} break; }\n"
                "(q.amount as u128 * q.x as u128 / (q.y as u128 + 1)).saturating_sub(t as u128) as u64"),
  };
  static const char* const pieces[] = {
      "(",    ")",    "{",    "}",     "[",     "]",      ";",         ",",      "&",     "mut ", "as ",
      "u8",   "u128", "i64",  "f64",   "0",     "1",      "255",       "-",      "*",     "/",    "<<",
      "..",   "..=",  "let ", "if ",   "else ", "match ", "return ",   "break ", "loop ", "for ", "in ",
      "data", "s",    "x",    "q",     ".0",    ".len()", ".unwrap()", ".min(",  "Some(", "None", "=>",
      "_",    "?",    "self", "impl ", "fn ",   "'a",     "\"",        "\\"};
  const std::uint64_t count = calyx::testing::by_scale<std::uint64_t>(500, 4000, 40000);
  calyx::testing::Dice dice(0x5eed0);
  std::uint64_t compiled = 0;
  std::uint64_t returned = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string source = seeds[dice.below(std::size(seeds))];
    for (std::uint64_t edits = 1 + dice.below(3); edits != 0; --edits) {
      const std::size_t at = dice.below(source.size() + 1);
      switch (dice.below(6)) {
        case 0: source.erase(at, 1 + dice.below(8)); break;
        case 1:
        case 2: source.insert(at, pieces[dice.below(std::size(pieces))]); break;
        case 3: source.insert(at, source.substr(dice.below(source.size()), dice.below(30))); break;
        case 4:
          if (at < source.size() && source[at] >= '0' && source[at] <= '9')
            source[at] = static_cast<char>('0' + dice.below(10));
          break;
        default:
          if (at < source.size()) source[at] = static_cast<char>(dice.below(128));
      }
      if (source.empty()) source = " ";
    }
    const auto made = compile(source);
    const auto* program = std::get_if<Compiled>(&made);
    if (program == nullptr) {
      REQUIRE(!std::get<Diagnostic>(made).code.empty());
      continue;
    }
    ++compiled;
    const auto data = calyx::testing::payload();
    const auto first = calyx::testing::quote(*program, data, 100'000);
    const auto second = calyx::testing::quote(*program, data, 100'000);
    if (first.ending == Ending::returned) ++returned;
    REQUIRE(first.ending == second.ending);
    REQUIRE(first.value == second.value);
    REQUIRE(first.fuel_used == second.fuel_used);
  }
  // A generator that makes nothing but rubbish would test the lexer alone.
  CHECK(compiled > count / 50);
  CHECK(returned > count / 100);
  calyx::testing::told("mutated strategy sources compiled or refused", count);
}
