#include <doctest/doctest.h>

#include <calyx/core/statistics.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

using namespace calyx::core;

namespace {

/// The probability that |t| is at most `t`: the finite series 26.7.3 and 26.7.4 of Abramowitz and Stegun.
double within(double t, unsigned freedom) {
  constexpr double pi = 3.14159265358979323846;
  const double n = freedom;
  const double angle = std::atan(t / std::sqrt(n));
  const double cosine = std::cos(angle);
  double sum = 0;
  double term = freedom % 2 == 1 ? cosine : 1;
  for (unsigned k = freedom % 2 == 1 ? 1 : 0; k + 2 <= freedom; k += 2) {
    sum += term;
    term *= cosine * cosine * (k + 1) / (k + 2);
  }
  if (freedom % 2 == 0) return std::sin(angle) * sum;
  return 2 / pi * (angle + (freedom == 1 ? 0 : std::sin(angle) * sum));
}

}  // namespace

TEST_CASE("Student's t leaves 5 % outside, at every degree of freedom") {
  CHECK(student_t_975(1) == doctest::Approx(12.706).epsilon(1e-4));  // as printed in every table
  CHECK(student_t_975(10) == doctest::Approx(2.228).epsilon(1e-3));
  CHECK(student_t_975(1'000'000'000) == doctest::Approx(1.959964).epsilon(1e-6));
  for (unsigned freedom = 1; freedom <= 400; ++freedom) {
    CAPTURE(freedom);
    CHECK(std::abs(within(student_t_975(freedom), freedom) - 0.95) < 2e-8);
  }
}

TEST_CASE("moments merge to what one would have counted") {
  const std::vector<double> numbers = {2, 4, 4, 4, 5, 5, 7, 9};  // mean 5, squared distances 32
  for (std::size_t cut = 0; cut <= numbers.size(); ++cut) {
    CAPTURE(cut);
    Moments left, right;
    for (std::size_t i = 0; i < numbers.size(); ++i) (i < cut ? left : right).merge(Moments::of(numbers[i]));
    left.merge(right);
    CHECK(left.n == 8);
    CHECK(left.mean == doctest::Approx(5).epsilon(1e-14));
    CHECK(left.m2 == doctest::Approx(32).epsilon(1e-14));
    CHECK(*left.variance() == doctest::Approx(32.0 / 7).epsilon(1e-14));
  }
  CHECK_FALSE(Moments{}.variance());
  CHECK_FALSE(Moments::of(3).variance());
}

TEST_CASE("numbers far from zero keep their variance") {
  Moments moments;
  for (const double number : {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}) moments.merge(Moments::of(number));
  CHECK(*moments.variance() == doctest::Approx(30).epsilon(1e-12));
}

TEST_CASE("a summary of none, one, two and more numbers") {
  const Summary none = summary_of({});
  CHECK(none.n == 0);
  CHECK_FALSE(none.sd);

  const Summary one = summary_of({3});
  CHECK(one.n == 1);
  CHECK(one.mean == 3);
  CHECK(one.median == 3);
  CHECK_FALSE(one.sd);
  CHECK_FALSE(one.low);

  const Summary two = summary_of({1, 3});
  CHECK(two.median == 2);
  CHECK(*two.sd == doctest::Approx(std::sqrt(2.0)));
  CHECK(*two.high == doctest::Approx(2 + 12.706204736));

  // Recomputed with numpy (std, ddof=1) and scipy (stats.t.interval).
  const Summary five = summary_of({5, 1, 2, 5, 3});
  CHECK(five.mean == doctest::Approx(3.2));
  CHECK(five.median == 3);
  CHECK(five.min == 1);
  CHECK(five.max == 5);
  CHECK(*five.sd == doctest::Approx(1.788854382));
  CHECK(*five.low == doctest::Approx(0.978843916));
  CHECK(*five.high == doctest::Approx(5.421156084));
  CHECK(summary_of({1e308, 1.5e308}).median == doctest::Approx(1.25e308));
}
