#include <doctest/doctest.h>

#include <calyx/core/time.hpp>
#include <cstdint>
#include <string>

using namespace calyx;
using namespace calyx::core;

TEST_CASE("an instant prints as people know its second") {
  struct Row {
    std::int64_t seconds;
    std::string text;
  };
  const Row rows[] = {
      {0, "1970-01-01T00:00:00Z"},
      {-1, "1969-12-31T23:59:59Z"},
      {86'399, "1970-01-01T23:59:59Z"},
      {86'400, "1970-01-02T00:00:00Z"},
      {951'782'400, "2000-02-29T00:00:00Z"},
      {951'868'800, "2000-03-01T00:00:00Z"},
      {1'000'000'000, "2001-09-09T01:46:40Z"},
      {1'234'567'890, "2009-02-13T23:31:30Z"},
      {1'709'164'800, "2024-02-29T00:00:00Z"},
      {1'767'225'600, "2026-01-01T00:00:00Z"},
      {1'767'235'683, "2026-01-01T02:48:03Z"},
      {1'775'077'200, "2026-04-01T21:00:00Z"},
      {2'147'483'647, "2038-01-19T03:14:07Z"},
      {4'107'542'400, "2100-03-01T00:00:00Z"},
      {4'107'456'000, "2100-02-28T00:00:00Z"},
      {-2'203'891'200, "1900-03-01T00:00:00Z"},
      {-62'135'596'800, "0001-01-01T00:00:00Z"},
      {253'402'300'799, "9999-12-31T23:59:59Z"},
  };
  for (const Row& row : rows) CHECK(iso_text(Instant{row.seconds * us_per_second}) == row.text);
}

TEST_CASE("a part of a second is rounded down, before 1970 too") {
  CHECK(iso_text(Instant{999'999}) == "1970-01-01T00:00:00Z");
  CHECK(iso_text(Instant{-1}) == "1969-12-31T23:59:59Z");
  CHECK(iso_text(Instant{-1'000'000}) == "1969-12-31T23:59:59Z");
  CHECK(iso_text(Instant{-1'000'001}) == "1969-12-31T23:59:58Z");
  CHECK(iso_text(instant_max) == "9999-12-31T23:59:59Z");
}

TEST_CASE("the calendar goes on day by day for eight centuries") {
  const auto leap = [](std::int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); };
  std::int64_t year = 1970;
  unsigned month = 1;
  unsigned day = 1;
  int wrong = 0;
  for (std::int64_t days = 0; year < 2770; ++days) {
    const Date date = date_of(days);
    if (date.year != year || date.month != month || date.day != day) ++wrong;
    const unsigned length = month == 2                                                ? (leap(year) ? 29 : 28)
                            : (month == 4 || month == 6 || month == 9 || month == 11) ? 30
                                                                                      : 31;
    if (++day <= length) continue;
    day = 1;
    if (++month <= 12) continue;
    month = 1;
    ++year;
  }
  CHECK(wrong == 0);
}
