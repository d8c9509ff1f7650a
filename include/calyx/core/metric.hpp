/// \file
/// A number in a task's result: where it stands, how two of them compare, and which of many are best.
///
/// Start at `RankBy`. Integers compare exactly at any size, also with doubles.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/result.hpp>
#include <charconv>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace calyx::core {

/// Where something stands in a result: `a.b.0` is item 0 of the member b of the member a. A name with a
/// dot in it cannot be said.
struct Path {
  std::string text;  ///< Empty: the result itself.

  const json::Value* find(const json::Value& in) const {
    const json::Value* at = &in;
    std::string_view rest = text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('.'), rest.size());
      const std::string_view name = rest.substr(0, end);
      rest = rest.substr(std::min(end + 1, rest.size()));
      if (const json::Array* items = at->array()) {
        std::size_t index = 0;
        const auto done = std::from_chars(name.data(), name.data() + name.size(), index);
        if (done.ec != std::errc{} || done.ptr != name.data() + name.size() || index >= items->size())
          return nullptr;
        at = &(*items)[index];
        continue;
      }
      at = at->find(name);
      if (at == nullptr) return nullptr;
    }
    return at;
  }
};

/// Fails: `field_type`; `field_value` when a name between two dots is empty.
inline Result<Path> read_path(std::string_view pointer, const json::Value& value) {
  if (value.string() == nullptr) return wrong_type(pointer, value, "a string");
  const std::string& text = *value.string();
  if (text.empty() || text.front() == '.' || text.back() == '.' || text.find("..") != std::string::npos)
    return field_fault(Reason::field_value, pointer, "must be names with dots between them, as in loss.mean");
  return Path{text};
}

/// A finite number that orders as the JSON number it was read from. A double cannot hold every int64: what
/// it leaves over decides between two that round to one double.
struct Number {
  double value = 0;
  std::int64_t rest = 0;

  std::partial_ordering operator<=>(const Number&) const = default;
  bool operator==(const Number&) const = default;
};

/// The number that `value` is, or nothing when it is none or not finite.
inline std::optional<Number> number_of(const json::Value& value) noexcept {
  if (const std::int64_t* integer = value.integer()) {
    const auto nearest = static_cast<double>(*integer);
    // 2^63 itself is a double and no int64, so the difference is taken in 128 bits.
    return Number{nearest, static_cast<std::int64_t>(Wide{*integer} - static_cast<Wide>(nearest))};
  }
  if (const json::Real* real = value.real())
    if (std::isfinite(real->value)) return Number{real->value, 0};
  return std::nullopt;
}
inline std::optional<Number> number_at(const Path& path, const json::Value& in) {
  const json::Value* value = path.find(in);
  return value == nullptr ? std::nullopt : number_of(*value);
}

enum class Mode : std::uint8_t { max, min };
inline constexpr std::string_view mode_words[] = {"max", "min"};

/// Whether `a` is the better of two that differ.
inline bool better(const Number& a, const Number& b, Mode mode) noexcept {
  return mode == Mode::max ? a > b : a < b;
}

/// The statistic by which candidates of a benchmark are ranked.
enum class Statistic : std::uint8_t { mean, median, min, max };
inline constexpr std::string_view statistic_words[] = {"mean", "median", "min", "max"};

/// What results are ranked by.
struct RankBy {
  Path metric;
  Mode mode = Mode::max;
  Statistic statistic = Statistic::mean;  ///< Of replicas: a benchmark's alone.
  std::uint64_t limit = 0;                ///< Most places in the list: a sweep's alone.
};

inline constexpr std::uint64_t ranked_default = 1'000;
inline constexpr std::uint64_t ranked_max = 10'000;

enum class Ranks : std::uint8_t { points, candidates };

/// `"a.b"`, which is ranked by its largest, or `{metric, mode}` with `limit` for the points of a sweep and
/// `statistic` for the candidates of a benchmark.
inline Result<RankBy> read_rank_by(const json::Value& value, Ranks ranks) {
  constexpr std::string_view here = "/rank_by";
  RankBy out;
  out.limit = ranked_default;
  if (value.string() != nullptr) {
    CALYX_TRY(out.metric, read_path(here, value));
    return out;
  }
  if (value.object() == nullptr) return wrong_type(here, value, "a string or an object");
  const Members members(*value.object(), std::string(here), "rank_by");
  if (ranks == Ranks::points)
    CALYX_CHECK(members.only({"metric", "mode", "limit"}));
  else
    CALYX_CHECK(members.only({"metric", "mode", "statistic"}));
  CALYX_TRY(const json::Value* const metric, members.need("metric"));
  CALYX_TRY(out.metric, read_path(members.at("metric"), *metric));
  CALYX_TRY(const std::size_t mode, members.word("mode", mode_words));
  out.mode = static_cast<Mode>(mode);
  CALYX_TRY(const std::size_t statistic, members.word("statistic", statistic_words));
  out.statistic = static_cast<Statistic>(statistic);
  CALYX_TRY(out.limit, members.count_or("limit", {.least = 1, .most = ranked_max}, ranked_default));
  return out;
}

/// The best `limit` of many, kept as they come. One without a number comes after all that have one; ties go
/// to the smaller index.
class Best {
 public:
  struct Entry {
    std::optional<Number> number;
    std::uint64_t index = 0;
    json::Value value;
  };

  Best() = default;
  Best(std::uint64_t limit, Mode mode) : limit_(static_cast<std::size_t>(limit)), mode_(mode) {}

  bool before(const Entry& a, const Entry& b) const noexcept {
    if (a.number && b.number && *a.number != *b.number) return better(*a.number, *b.number, mode_);
    if (a.number.has_value() != b.number.has_value()) return a.number.has_value();
    return a.index < b.index;
  }

  /// Whether one with this number would be among the best now: asked before something large is copied.
  bool takes(const std::optional<Number>& number, std::uint64_t index) const noexcept {
    return heap_.size() < limit_ || (limit_ > 0 && before(Entry{number, index, {}}, heap_.front()));
  }

  void add(Entry entry) {
    const auto order = [this](const Entry& a, const Entry& b) { return before(a, b); };
    if (heap_.size() == limit_) {
      if (limit_ == 0 || !before(entry, heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end(), order);
      heap_.pop_back();
    }
    heap_.push_back(std::move(entry));
    std::push_heap(heap_.begin(), heap_.end(), order);
  }
  void add(Best&& other) {
    for (Entry& entry : other.heap_) add(std::move(entry));
  }

  std::size_t size() const noexcept { return heap_.size(); }

  /// The best first.
  std::vector<Entry> sorted() && {
    std::sort(heap_.begin(), heap_.end(), [this](const Entry& a, const Entry& b) { return before(a, b); });
    return std::move(heap_);
  }

 private:
  std::vector<Entry> heap_;  ///< Its front is the worst that is kept.
  std::size_t limit_ = 0;
  Mode mode_ = Mode::max;
};

}  // namespace calyx::core
