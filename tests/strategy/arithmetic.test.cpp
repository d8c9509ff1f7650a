// Random expressions of every integer type, against what C++ computes for them.
#include <doctest/doctest.h>

#include "running.hpp"
#include "testing.hpp"

using calyx::kernels::bytecode::Ending;
using calyx::kernels::bytecode::SignedWide;
using calyx::kernels::bytecode::Wide;
using calyx::strategy::compile;
using calyx::strategy::Compiled;
using calyx::strategy::Diagnostic;

namespace {

struct Kind {
  const char* name;
  std::uint32_t bits;
  bool is_signed;
};
constexpr Kind kinds[] = {{"u8", 8, false},     {"u16", 16, false},  {"u32", 32, false},  {"u64", 64, false},
                          {"u128", 128, false}, {"i8", 8, true},     {"i16", 16, true},   {"i32", 32, true},
                          {"i64", 64, true},    {"i128", 128, true}, {"usize", 64, false}};

/// `value` as the type keeps it: the sign or zeros fill 128 bits.
Wide kept(Wide value, const Kind& kind) {
  if (kind.bits == 128) return value;
  const Wide low = value & ((Wide{1} << kind.bits) - 1);
  const bool negative = kind.is_signed && (low >> (kind.bits - 1)) != 0;
  return negative ? low | ~((Wide{1} << kind.bits) - 1) : low;
}

std::string text_of(Wide value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return digits;
}

struct Made {
  std::string text;
  Wide value;
};

class Maker {
 public:
  explicit Maker(calyx::testing::Dice& dice) : dice_(dice) {}

  Made leaf(const Kind& kind) {
    Wide value = static_cast<Wide>(dice_.next()) << 64 | dice_.next();
    // Small numbers and the ends of the range meet more rules than others.
    if (dice_.coin()) value >>= dice_.below(127);
    if (dice_.below(8) == 0) value = Wide{1} << (kind.bits - 1);
    value = kept(value, kind);
    if (dice_.below(4) == 0) {
      const std::size_t at = dice_.below(256);
      return {"(data[" + std::to_string(at) + "] as " + kind.name + ")", kept(at, kind)};
    }
    if (!kind.is_signed) return {text_of(value) + kind.name, value};
    return {"(" + text_of(value) + "u128 as " + kind.name + ")", value};
  }

  Made expression(const Kind& kind, int depth) {
    if (depth == 0) return leaf(kind);
    const auto left = [&] { return expression(kind, depth - 1); };
    const auto s = [](Wide value) { return static_cast<SignedWide>(value); };
    const std::string name = kind.name;
    switch (dice_.below(12)) {
      case 0: return two(left(), left(), kind, "+", [](Wide a, Wide b) { return a + b; });
      case 1: return two(left(), left(), kind, "-", [](Wide a, Wide b) { return a - b; });
      case 2: return two(left(), left(), kind, "*", [](Wide a, Wide b) { return a * b; });
      case 3: return two(left(), left(), kind, "&", [](Wide a, Wide b) { return a & b; });
      case 4: return two(left(), left(), kind, "^", [](Wide a, Wide b) { return a ^ b; });
      case 5:
      case 6: {
        // A divisor of small size, never 0 nor -1.
        const Made a = left();
        const std::uint64_t b = 2 + dice_.below(100);
        const bool rest = dice_.coin();
        const Wide value = kind.is_signed ? static_cast<Wide>(rest ? s(a.value) % static_cast<SignedWide>(b)
                                                                   : s(a.value) / static_cast<SignedWide>(b))
                           : rest         ? a.value % b
                                          : a.value / b;
        return {"(" + a.text + (rest ? " % " : " / ") + std::to_string(b) + ")", kept(value, kind)};
      }
      case 7: {
        const Made a = left();
        const Made b = left();
        const bool less = kind.is_signed ? s(a.value) < s(b.value) : a.value < b.value;
        const Made c = left();
        const Made d = left();
        return {"(if " + a.text + " < (" + b.text + ") { " + c.text + " } else { " + d.text + " })",
                less ? c.value : d.value};
      }
      case 8: {
        const std::uint64_t by = dice_.below(kind.bits);
        const Made a = left();
        if (dice_.coin())
          return {"(" + a.text + " << " + std::to_string(by) + ")", kept(a.value << by, kind)};
        const Wide value = kind.is_signed ? static_cast<Wide>(s(a.value) >> by) : a.value >> by;
        return {"(" + a.text + " >> " + std::to_string(by) + ")", kept(value, kind)};
      }
      case 9: {
        const Kind& other = kinds[dice_.below(std::size(kinds))];
        const Made a = expression(other, depth - 1);
        return {"(" + a.text + " as " + name + ")", kept(a.value, kind)};
      }
      case 10: {
        const Made a = left();
        const Made b = left();
        const bool least = dice_.coin();
        const bool less = kind.is_signed ? s(a.value) < s(b.value) : a.value < b.value;
        return {"(" + a.text + (least ? ").min(" : ").max(") + b.text + ")",
                less == least ? a.value : b.value};
      }
      default: {
        const Made a = left();
        const Made b = left();
        // Exact in 128 bits for the narrow types; the wide ones are told by their signs.
        const Wide sum = a.value + b.value;
        Wide value = kept(sum, kind);
        const Wide most = kind.is_signed     ? (Wide{1} << (kind.bits - 1)) - 1
                          : kind.bits == 128 ? ~Wide{0}
                                             : (Wide{1} << kind.bits) - 1;
        if (kind.is_signed) {
          if (s(a.value) < 0 && s(b.value) < 0 && s(value) >= 0)
            value = kept(Wide{1} << (kind.bits - 1), kind);
          else if (s(a.value) >= 0 && s(b.value) >= 0 && s(value) < 0)
            value = most;
        } else if (value < a.value) {
          value = most;
        }
        return {"(" + a.text + ").saturating_add(" + b.text + ")", value};
      }
    }
  }

 private:
  template <class Rule>
  Made two(const Made& a, const Made& b, const Kind& kind, const char* op, Rule rule) {
    return {"(" + a.text + " " + op + " " + b.text + ")", kept(rule(a.value, b.value), kind)};
  }
  calyx::testing::Dice& dice_;
};

}  // namespace

TEST_CASE("random expressions give what C++ gives") {
  const std::uint64_t count = calyx::testing::by_scale<std::uint64_t>(200, 2000, 20000);
  calyx::testing::Dice dice(0xa417);
  Maker maker(dice);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Kind& kind = kinds[dice.below(std::size(kinds))];
    const Made made = maker.expression(kind, static_cast<int>(1 + dice.below(4)));
    // Both halves of a wide result count.
    const std::string body = "let x: " + std::string(kind.name) + " = " + made.text +
                             ";\n(x as u128 as u64) ^ ((x as u128) >> 64) as u64";
    CAPTURE(body);
    const auto compiled = compile(calyx::testing::source_of("", body));
    if (const auto* diagnostic = std::get_if<Diagnostic>(&compiled)) {
      FAIL(diagnostic->code << ": " << diagnostic->message);
    }
    const auto outcome = calyx::testing::quote(std::get<Compiled>(compiled), calyx::testing::payload());
    REQUIRE(outcome.ending == Ending::returned);
    REQUIRE(outcome.value ==
            (static_cast<std::uint64_t>(made.value) ^ static_cast<std::uint64_t>(made.value >> 64)));
  }
  calyx::testing::told("random strategy expressions compared", count);
}
