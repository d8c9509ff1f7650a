/// \file
/// Instants: microseconds since 1970-01-01 UTC, and their ISO 8601 spelling. No clock: time is an argument.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace calyx {

/// A point in time. Units: microseconds since 1970-01-01T00:00:00Z.
struct Instant {
  std::int64_t us = 0;
  auto operator<=>(const Instant&) const = default;
};

namespace core {

inline constexpr std::int64_t us_per_second = 1'000'000;
inline constexpr std::int64_t us_per_hour = 3600 * us_per_second;
/// The last instant that has a four-digit year; the engine refuses a clock beyond it.
inline constexpr Instant instant_max{253'402'300'799'999'999};

struct Date {
  std::int64_t year;
  unsigned month, day;
};

/// The civil date `days` after 1970-01-01 (proleptic Gregorian, by 400-year eras that begin on 1 March).
constexpr Date date_of(std::int64_t days) noexcept {
  const std::int64_t shifted = days + 719'468;  // days from 0000-03-01
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - 146'096) / 146'097;
  const auto day_of_era = static_cast<unsigned>(shifted - era * 146'097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned month_from_march = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {static_cast<std::int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

/// The two decimal digits of each number below 100.
inline constexpr auto decimal_pairs = [] {
  std::array<std::array<char, 2>, 100> pairs{};
  for (std::size_t i = 0; i < pairs.size(); ++i)
    pairs[i] = {static_cast<char>('0' + i / 10), static_cast<char>('0' + i % 10)};
  return pairs;
}();

inline constexpr std::size_t iso_bytes = 20;

/// Writes `2026-04-01T21:00:00Z` where `to` points, and gives its end: whole seconds, rounded down, as the
/// documents print them.
inline char* put_iso(char* to, Instant instant) noexcept {
  std::int64_t seconds = instant.us / us_per_second;
  if (instant.us % us_per_second < 0) --seconds;
  std::int64_t days = seconds / 86'400;
  if (seconds % 86'400 < 0) --days;
  const auto of_day = static_cast<unsigned>(seconds - days * 86'400);
  const Date date = date_of(days);
  const auto year = static_cast<unsigned>(static_cast<std::uint64_t>(date.year) % 10'000);
  std::memcpy(to, "yyyy-mm-ddThh:mm:ssZ", iso_bytes);
  const auto put = [to](std::size_t at, unsigned value) {
    std::memcpy(to + at, decimal_pairs[value].data(), 2);
  };
  put(0, year / 100);
  put(2, year % 100);
  put(5, date.month);
  put(8, date.day);
  put(11, of_day / 3600);
  put(14, of_day / 60 % 60);
  put(17, of_day % 60);
  return to + iso_bytes;
}
inline void append_iso(std::string& out, Instant instant) {
  char text[iso_bytes];
  put_iso(text, instant);
  out.append(text, iso_bytes);
}
inline std::string iso_text(Instant instant) {
  std::string out;
  append_iso(out, instant);
  return out;
}

}  // namespace core
}  // namespace calyx
