// Each row is a piece of Rust and what it gives; the numbers were compared with rustc's.
#include <doctest/doctest.h>

#include "running.hpp"

using calyx::kernels::bytecode::Ending;
using calyx::strategy::compile;
using calyx::strategy::Compiled;
using calyx::strategy::Diagnostic;
using calyx::testing::payload;
using calyx::testing::quote;
using calyx::testing::source_of;

namespace {

struct Row {
  const char* items;
  const char* body;
  std::uint64_t value;
};

const Row rows[] = {
    // clang-format off
    {"", "1 + 2 * 3 - 4 / 2 % 3", 5},
    {"", "u64::MAX.wrapping_add(3)", 2},
    {"", "let a = data[3] as u64; let b = data[250] as u64; b - a", 247},
    {"", "let x: u8 = 200; let y = x.wrapping_add(100); y as u64", 44},
    {"", "let x = 200u8; (x as i8) as i64 as u64", 18446744073709551560u},
    {"", "(-7i64 / 2) as u64", 18446744073709551613u},
    {"", "(-7i64 % 3) as u64", 18446744073709551615u},
    {"", "(-7i32).rem_euclid(3) as u64", 2},
    {"", "(-7i32).div_euclid(3) as i64 as u64", 18446744073709551613u},
    {"", "((1u128 << 100) / 3 >> 60) as u64", 366503875925},
    {"", "((u128::MAX / 7) % 1_000_000_007) as u64", 611376043},
    {"", "(((-5i128) * 1_000_000_000_000_000_000_000) / 7 >> 3) as u64", 2948006082833472365},
    {"", "let mut i = 0; let mut s = 0u64; while i < 10 { s += i; i += 1; } s", 45},
    {"", "let mut s = 0u64; for i in 0..10 { if i == 3 { continue; } if i == 7 { break; } s += i; } s", 18},
    {"", "let mut s = 0u64; for i in (1..=5).rev() { s = s * 10 + i; } s", 54321},
    {"", "let mut s = 0u64; for i in (0..20).step_by(6) { s = s * 100 + i as u64; } s", 61218},
    {"", "let mut s = 0u64; for i in 250u8..=255 { s += i as u64; } s", 1515},
    {"", "let mut n = 0u64; 'outer: for i in 0..10u64 { for j in 0..10u64 { if i * j == 42 { n = i * 100 + j; break 'outer; } if j > i { continue 'outer; } } } n", 607},
    {"", "let v = loop { break 7u64; }; v", 7},
    {"", "let (a, b) = if data[0] == 0 { (3u64, 4u64) } else { (4, 3) }; a * 10 + b", 34},
    {"", "let (mut a, mut b) = (1u64, 2u64); (a, b) = (b, a + b); a * 10 + b", 23},
    {"", "match data[5] { 0 => 1, 1..=4 => 2, 5 | 6 => 3, _ => 4 }", 3},
    {"", "match (data[1], data[2]) { (0, _) => 1, (1, x) if x > 5 => 2, (1, x) => x as u64 + 10, _ => 0 }", 12},
    {"", "match data.get(2000) { Some(x) => *x as u64, None => 77 }", 77},
    {"", "if let Some(&x) = data.get(9) { x as u64 } else { 0 }", 9},
    {"", "let Some(x) = data.get(12) else { return 5; }; *x as u64", 12},
    {"", "data.get(5000).copied().unwrap_or(9) as u64", 9},
    {"", "5u64.checked_sub(6).unwrap_or(42)", 42},
    {"", "match 250u8.checked_add(10) { None => 1, Some(_) => 2 }", 1},
    {"", "5u64.saturating_sub(6) + 250u8.saturating_add(10) as u64 + (-100i8).saturating_sub(100) as u8 as u64", 383},
    {"", "let (v, o) = u64::MAX.overflowing_add(2); if o { v } else { 0 }", 1},
    {"", "u64::MAX.saturating_mul(3) / 2", 9223372036854775807u},
    {"", "3u64.pow(20) % 1000 + 2u128.pow(100).checked_mul(1 << 30).is_none() as u64", 402},
    {"", "(17u64.min(4), 17u64.max(4)).1 + 9i64.clamp(-3, 5) as u64", 22},
    {"", "5u64.abs_diff(9) + (-3i32).abs_diff(4) as u64", 11},
    {"", "(1u64 << 40).leading_zeros() as u64 * 1000 + 40u64.trailing_zeros() as u64 * 10 + 255u8.count_ones() as u64", 23038},
    {"", "1_000_000u64.isqrt() + 999u64.ilog10() as u64 + 1024u64.ilog2() as u64", 1012},
    {"", "10u64.div_ceil(3) + 7u64.rotate_left(62)", 13835058055282163717u},
    {"", "u64::from_le_bytes(data[1..9].try_into().unwrap())", 578437695752307201},
    {"", "u32::from_be_bytes([1, 2, 3, 4]) as u64", 16909060},
    {"", "let b = 0x0102030405060708u64.to_le_bytes(); b[0] as u64 * 10 + b[7] as u64", 81},
    {"", "let mut b = [0u8; 8]; b.copy_from_slice(&data[8..16]); u64::from_le_bytes(b)", 1084818905618843912},
    {"", "let mut b = [0u8; 16]; b[..8].copy_from_slice(&data[..8]); (u128::from_le_bytes(b) >> 8) as u64", 1976943448883713},
    {"", "u64::from(data[7]) + u64::from(true) + u128::from(5u64) as u64", 13},
    {"", "u8::try_from(300u64).is_err() as u64 * 10 + u64::try_from(1u128 << 70).unwrap_or(3)", 13},
    {"", "let x: u32 = 70000u64.try_into().unwrap(); let y: u64 = x.into(); y", 70000},
    {"", "i64::from(-5i32) as u64", 18446744073709551611u},
    {"", "let a = [10u64, 20, 30]; let mut s = 0; for x in a.iter() { s += *x; } for x in &a { s += x; } for x in a { s += x; } s", 180},
    {"", "let a = [5u16, 6, 7]; let mut s = 0u64; for (i, x) in a.iter().enumerate() { s += i as u64 * *x as u64; } s", 20},
    {"", "let mut a = [1u32; 5]; for x in a.iter_mut() { *x += 4; } a[2] = 9; let mut s = 0; for &x in a.iter().rev() { s = s * 10 + x as u64; } s", 55955},
    {"", "let mut s = 0u64; for c in data[..16].chunks_exact(8) { s ^= u64::from_le_bytes(c.try_into().unwrap()); } s", 578721382704613384},
    {"", "let a = [[1u64, 2], [3, 4]]; a[1][0] * 10 + a[0][1]", 32},
    {"", "let mut a = [[0u8; 4]; 3]; a[2][1] = 7; let i = data[2] as usize; a[i][1] as u64 + a[1][1] as u64", 7},
    {"", "let a = [3u64, 1, 2]; let s = &a[1..]; s[0] * 10 + s.len() as u64", 12},
    {"", "let (l, r) = data.split_at(4); l.len() as u64 * 10000 + r[0] as u64", 40004},
    {"", "let mut a = [1u64, 2, 3]; a.swap(0, 2); a[0] * 100 + a[2]", 301},
    {"", "let mut a = [0u64; 4]; a[1..3].fill(6); a[0] + a[1] * 10 + a[2] + a[3]", 66},
    {"fn add(total: &mut u64, x: u64) { *total += x; }", "let mut t = 1; add(&mut t, 5); add(&mut t, 6); t", 12},
    {"fn next(data: &[u8], at: &mut usize) -> u8 { let b = data[*at]; *at += 1; b }", "let mut at = 3; let a = next(data, &mut at); let b = next(data, &mut at); a as u64 * 10 + b as u64 + at as u64 * 100", 534},
    {"fn two(x: u64) -> (u64, bool) { if x > 5 { return (x, true); } (0, false) }", "let (a, b) = two(9); if b { a } else { 0 }", 9},
    {"fn half(x: u64) -> Option<u64> { if x % 2 == 0 { Some(x / 2) } else { None } }\nfn quarter(x: u64) -> Option<u64> { let h = half(x)?; half(h) }", "quarter(12).unwrap_or(1) * 100 + quarter(6).unwrap_or(2)", 302},
    {"fn parse(x: u64) -> Result<u64, u8> { if x < 3 { Ok(x) } else { Err(7) } }", "match parse(5) { Ok(v) => v, Err(e) => e as u64 * 11 }", 77},
    {"struct P { x: u64, y: u128 }\nimpl P { fn new(x: u64) -> Self { Self { x, y: 3 } } fn sum(&self) -> u64 { self.x + self.y as u64 } fn bump(&mut self, by: u64) { self.x += by; } }", "let mut p = P::new(4); p.bump(10); let q = P { y: 100, ..p }; p.sum() * 1000 + q.sum()", 17114},
    {"#[derive(Clone, Copy, PartialEq)]\nenum Side { Buy, Sell }\nimpl Side { fn of(b: u8) -> Side { if b == 0 { Side::Buy } else { Side::Sell } } }", "let s = Side::of(data[1]); if s == Side::Sell { match s { Side::Buy => 1, Side::Sell => 2 } } else { 3 }", 2},
    {"enum Shape { Line(u64), Box(u64, u64), Empty }\nfn area(s: Shape) -> u64 { match s { Shape::Line(_) => 1, Shape::Box(a, b) => a * b, Shape::Empty => 0 } }", "area(Shape::Box(6, 7)) * 100 + area(Shape::Line(3)) * 10 + area(Shape::Empty)", 4210},
    {"enum Level { Low = 10, High = 20, Top }", "Level::Top as u64 + Level::Low as u64 + Level::High as u64", 51},
    {"struct W(u64, u8);", "let w = W(40, 2); w.0 + w.1 as u64", 42},
    {"const TABLE: [u64; 5] = [1, 1, 2, 3, 5]; const N: usize = TABLE.len(); const BIG: u128 = 1 << 90;", "let mut s = 0; for i in 0..N { s += TABLE[i]; } s + (BIG >> 85) as u64", 44},
    {"const fn square(x: u64) -> u64 { x * x } const NINE: u64 = square(3); const S: &[u64] = &[NINE, 2 * NINE]; static Z: [u8; 3] = *b\"abc\";", "S[1] + S.len() as u64 + Z[2] as u64", 119},
    {"mod maths { pub const TWO: u64 = 2; pub fn twice(x: u64) -> u64 { helper(x) } fn helper(x: u64) -> u64 { x * TWO } }\nuse maths::twice;", "twice(4) + maths::twice(maths::TWO)", 12},
    {"type Amount = u128; struct R<'a> { bytes: &'a [u8], at: usize }\nimpl<'a> R<'a> { fn byte(&mut self) -> u8 { let b = self.bytes[self.at]; self.at += 1; b } }", "let mut r = R { bytes: &data[4..], at: 0 }; let a = r.byte(); let b: Amount = r.byte().into(); a as u64 * 10 + b as u64", 45},
    {"", "let x = 2.0f64; ((x.sqrt() * x.sqrt() * 1e6).round() as u64) + (2.5f64).floor() as u64 + (-2.5f64).abs().ceil() as u64", 2000005},
    {"", "(1e30f64 as u64).wrapping_add((-5.0f64) as u64).wrapping_add(f64::NAN as u64)", 18446744073709551615u},
    {"", "((-1e30f64) as i64 as u64) ^ ((3.99f64) as i32 as u64)", 9223372036854775811u},
    {"", "(u128::MAX as f64).to_bits() ^ ((1u64 << 63) as f64).to_bits()", 292733975779082240},
    {"", "((0.1f64 + 0.2) * 10.0).to_bits()", 4613937818241073153u},
    {"", "(10.0f64).powi(-3).to_bits() ^ (2.0f64).powf(0.5).to_bits()", 46939060657099313},
    {"", "(1.0f64).exp().ln().to_bits()", 4607182418800017408u},
    {"", "let a = 0.5f64; let b = f64::NAN; (a.max(b) == 0.5) as u64 + b.is_nan() as u64 * 10 + (b < a) as u64 * 100", 11},
    {"", "let x = 7u64; let x = x * 2; { let x = 1u64; let _ = x; } x", 14},
    {"", "let mut x = 5u64; x <<= 3; x |= 1; x ^= 8; x %= 32; x >>= 1; x", 0},
    {"", "let a = true; let b = false; (a && !b || b) as u64 + (a ^ b) as u64 * 10 + (a & b) as u64 * 100", 11},
    {"", "let mut c = 0u64; let t = { c += 1; c } + { c += 10; c }; t", 12},
    {"", "let mut x = 1u64; let y = x + { x = 10; x } + x; y", 21},
    {"", "let mut t = (1u64, 2u64); t = (t.1, t.0); t.0 * 10 + t.1", 21},
    {"", "let mut o = Some(3u64); let mut n = 0; while let Some(x) = o { n += x; o = if x > 0 { Some(x - 1) } else { None }; } n", 6},
    {"", "let x: u64; if data[0] == 0 { x = 5; } else { x = 6; } x", 5},
    {"", "let s = \"hello\"; s.len() as u64 + s.as_bytes()[1] as u64", 106},
    {"", "(Some((1u64, 2u8)) == Some((1, 2))) as u64 * 10 + (Some(3u64) == None) as u64", 10},
    {"", "if matches!(data[3], 1 | 3) { 1 } else { 2 }", 1},
    {"", "std::cmp::min(4u64, 9) + core::cmp::max(4u64, 9) + u64::min(1, 2)", 14},
    {"", "let mut a = 1u64; let mut b = 2u64; std::mem::swap(&mut a, &mut b); a * 10 + b", 21},
    {"", "let v = data[1] as u64 as u128 * u64::MAX as u128; (v >> 1) as u64", 9223372036854775807u},
    {"", "(0x7fu8 as i8 as i64 - i8::MIN as i64) as u64 + u16::MAX as u64 + u32::BITS as u64", 65822},
    {"", "!0u8 as u64 + (!5i32) as u32 as u64", 4294967545u},
    {"", "1u64.wrapping_shl(65) + (1u32 << (data[3] & 31)) as u64 + 2u64.pow(3)", 18},
    {"", "let i = 3usize; let f = [1.5f64, 2.5, 3.5, 4.5]; (f[i] * 2.0) as u64", 9},
    // clang-format on
};

}  // namespace

TEST_CASE("a construct gives what Rust gives") {
  for (const Row& row : rows) {
    CAPTURE(row.items);
    CAPTURE(row.body);
    const auto made = compile(source_of(row.items, row.body));
    if (const auto* diagnostic = std::get_if<Diagnostic>(&made)) {
      CAPTURE(diagnostic->line);
      FAIL_CHECK(diagnostic->code << ": " << diagnostic->message);
      continue;
    }
    const auto outcome = quote(std::get<Compiled>(made), payload());
    CHECK(outcome.ending == Ending::returned);
    CHECK(outcome.value == row.value);
  }
}

TEST_CASE("what goes wrong ends the call, and says on which line") {
  struct Panic {
    const char* body;
    Ending ending;
    std::uint32_t line;
  };
  const Panic panics[] = {
      {"let i = data.len();\ndata[i] as u64", Ending::panic_index, 6},
      {"let a = [1u64, 2];\nlet i = data[2] as usize;\na[i]", Ending::panic_index, 7},
      {"let a = [1u8, 2];\na[data[2] as usize] as u64", Ending::panic_index, 6},
      {"data[5..2000].len() as u64", Ending::panic_index, 5},
      {"let i = data[9] as usize;\ndata[i..3].len() as u64", Ending::panic_index, 6},
      {"let at = data.len() - 7;\nu64::from_le_bytes(data[at..at + 8].try_into().unwrap())",
       Ending::panic_index, 6},
      {"let d = &data[..8];\nu64::from_le_bytes(d[1..9].try_into().unwrap())", Ending::panic_index, 6},
      {"let at = usize::MAX - 3;\nu64::from_le_bytes(data[at..at + 8].try_into().unwrap())",
       Ending::panic_index, 6},
      {"\n1 / data[0] as u64", Ending::panic_divide, 6},
      {"1 % data[0] as u64", Ending::panic_divide, 5},
      {"(1 / data[0] as u128) as u64", Ending::panic_divide, 5},
      {"(1u128 % data[0] as u128) as u64", Ending::panic_divide, 5},
      {"let m = i64::MIN;\n(m / (data[0] as i64 - 1)) as u64", Ending::panic_divide, 6},
      {"let m = i8::MIN;\n(m / (data[0] as i8 - 1)) as u64", Ending::panic_divide, 6},
      {"data.get(5000).copied().unwrap() as u64", Ending::panic_unwrap, 5},
      {"u64::from_le_bytes(data[0..7].try_into().unwrap())", Ending::panic_unwrap, 5},
      {"let b: [u8; 4] = data[0..3].try_into().unwrap();\nb[0] as u64", Ending::panic_unwrap, 5},
      {"let mut b = [0u8; 8];\nb.copy_from_slice(&data[0..7]);\n0", Ending::panic_length, 6},
      {"if data[1] == 1 {\npanic!(\"no {}\", 1)\n}\n0", Ending::panic_explicit, 6},
      {"assert!(data[1] == 2);\n0", Ending::panic_explicit, 5},
      {"5u64.clamp(7, 3)", Ending::panic_argument, 5},
      {"let mut i = 0u64;\nloop { i += 1; }", Ending::step_limit, 6},
      {"while true {}\n0", Ending::step_limit, 5},
  };
  for (const Panic& panic : panics) {
    CAPTURE(panic.body);
    const auto made = compile(source_of("", panic.body));
    if (const auto* diagnostic = std::get_if<Diagnostic>(&made)) {
      FAIL_CHECK(diagnostic->code << ": " << diagnostic->message);
      continue;
    }
    const auto& program = std::get<Compiled>(made);
    const auto outcome = quote(program, payload());
    CHECK(outcome.ending == panic.ending);
    CHECK(program.line_at(outcome.at) == panic.line);
    if (panic.ending == Ending::step_limit)
      CHECK(outcome.fuel_used == calyx::kernels::bytecode::fuel_default);
  }
}

TEST_CASE("fuel is counted to the instruction") {
  const auto made = compile(source_of("", "let mut s = 0u64; for i in 0..100u64 { s += i; } s"));
  REQUIRE(std::holds_alternative<Compiled>(made));
  const auto& program = std::get<Compiled>(made);
  const auto whole = quote(program, payload());
  REQUIRE(whole.ending == Ending::returned);
  CHECK(whole.value == 4950);
  CHECK(quote(program, payload(), whole.fuel_used).ending == Ending::returned);
  CHECK(quote(program, payload(), whole.fuel_used - 1).ending == Ending::step_limit);
}
