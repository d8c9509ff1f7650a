/// \file
/// Instants: microseconds since 1970-01-01 UTC, and how they are spelled. No clock: time is an argument.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

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

/// The instant that an RFC 3339 date-time spells, or nothing. The fraction may have any number of digits,
/// beyond six they are cut off; a leap second counts as the one before it.
inline std::optional<Instant> read_date_time(std::string_view text) noexcept {
  // yyyy-mm-ddThh:mm:ss[.f]Z or +hh:mm
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:dd";
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() <= form.size()) return std::nullopt;
  for (std::size_t i = 0; i < form.size(); ++i)
    if (form[i] == 'd' ? !digit(text[i]) : text[i] != form[i] && !(form[i] == 'T' && text[i] == 't'))
      return std::nullopt;
  const auto number = [text](std::size_t at, std::size_t digits) {
    unsigned out = 0;
    for (std::size_t i = at; i < at + digits; ++i) out = out * 10 + static_cast<unsigned>(text[i] - '0');
    return out;
  };
  const unsigned year = number(0, 4);
  const unsigned month = number(5, 2);
  const unsigned day = number(8, 2);
  const unsigned hour = number(11, 2);
  const unsigned minute = number(14, 2);
  const unsigned second = number(17, 2);
  if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  constexpr std::array<unsigned, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (day < 1 || day > days[month - 1] + (month == 2 && leap ? 1U : 0U)) return std::nullopt;

  std::size_t at = form.size();
  std::int64_t fraction_us = 0;
  if (text[at] == '.') {
    const std::size_t begin = ++at;
    std::int64_t unit = 100'000;
    for (; at < text.size() && digit(text[at]); ++at, unit /= 10) fraction_us += unit * (text[at] - '0');
    if (at == begin) return std::nullopt;
  }
  if (at == text.size()) return std::nullopt;
  std::int64_t offset_minutes = 0;
  const char zone = text[at++];
  if (zone == '+' || zone == '-') {
    if (text.size() - at != 5 || text[at + 2] != ':') return std::nullopt;
    for (const std::size_t i : {at, at + 1, at + 3, at + 4})
      if (!digit(text[i])) return std::nullopt;
    if (number(at, 2) > 23 || number(at + 3, 2) > 59) return std::nullopt;
    offset_minutes = static_cast<std::int64_t>(number(at, 2)) * 60 + number(at + 3, 2);
    if (zone == '-') offset_minutes = -offset_minutes;
  } else if ((zone != 'Z' && zone != 'z') || at != text.size()) {
    return std::nullopt;
  }

  // Days from 1970, by years that begin on 1 March, as `date_of` counts.
  const std::int64_t shifted_year = static_cast<std::int64_t>(year) - (month <= 2 ? 1 : 0);
  const std::int64_t era = (shifted_year >= 0 ? shifted_year : shifted_year - 399) / 400;
  const std::int64_t year_of_era = shifted_year - era * 400;
  const std::int64_t month_from_march = month > 2 ? month - 3 : month + 9;
  const std::int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  const std::int64_t day_number = era * 146'097 + day_of_era - 719'468;
  const std::int64_t seconds = day_number * 86'400 + hour * 3600 + minute * 60 + std::min(second, 59U);
  return Instant{(seconds - offset_minutes * 60) * us_per_second + fraction_us};
}

/// The instant that `iso_text` spells so, or nothing.
inline std::optional<Instant> read_iso(std::string_view text) {
  const auto at = read_date_time(text);
  return at && at->us >= 0 && iso_text(*at) == text ? at : std::nullopt;
}

}  // namespace core
}  // namespace calyx
