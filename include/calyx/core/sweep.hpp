/// \file
/// The grid of a sweep: every combination of its parameters' values, each computed from its index when it is
/// asked for, so that a grid of 10^18 points costs no more than one of ten.
///
/// Start at `Grid::read`. Parameters are in the order of their declaration; the last one moves fastest.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/permutation.hpp>
#include <calyx/core/result.hpp>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core {

inline constexpr std::size_t parameters_max = 100;
/// The most points of a grid; more than 2^53 - 1 can only be sampled, since that many tasks no job has.
inline constexpr std::uint64_t points_max = (std::uint64_t{1} << 63) - 1;

/// The values of one parameter: a list, or a range with both ends in it.
///
/// | range | value i | count |
/// | --- | --- | --- |
/// | `{start, stop, step}` | start + i * step | as many as do not pass stop |
/// | `{start, stop, num}` | start + i * (stop - start) / (num - 1) | num |
/// | `{start, stop, step, scale: log}` | start * step^i | as many as do not pass stop |
/// | `{start, stop, num, scale: log}` | start * (stop / start)^(i / (num - 1)) | num |
///
/// Where all values are integers they stay integers and are exact. Else start + i * step is rounded once
/// (`std::fma`), never accumulated, and a last value within a billionth of a step from stop is stop. A log
/// scale takes `std::pow`, whose last place differs between libraries: its values are rounded to 15 digits,
/// so that 1 to 1000 in four has 10 and 100 and a plan reads the same elsewhere. First and last are as they
/// were given.
class Axis {
 public:
  /// Fails: `field_missing`, `field_type`, `field_value`, `field_unknown`, at `pointer` or below.
  static Result<Axis> read(const std::string& pointer, const json::Value& given) {
    if (const json::Array* values = given.array()) {
      if (values->empty()) return field_fault(Reason::field_value, pointer, "is empty");
      Axis out;
      out.values_ = *values;
      out.size_ = values->size();
      return out;
    }
    if (given.object() == nullptr) return wrong_type(pointer, given, "an array or a range");
    const Members members(*given.object(), pointer, "a range");
    CALYX_CHECK(members.only({"start", "stop", "step", "num", "scale"}));
    constexpr std::string_view scales[] = {"lin", "log"};
    CALYX_TRY(const std::size_t scale, members.word("scale", scales));
    CALYX_TRY(const json::Value start, number(members, "start"));
    CALYX_TRY(const json::Value stop, number(members, "stop"));
    const bool stepped = members.has("step");
    if (stepped == members.has("num"))
      return field_fault(stepped ? Reason::field_value : Reason::field_missing, pointer,
                         stepped ? "has step and num, takes one of them" : "needs step or num");
    Axis out;
    out.first_ = start;
    out.last_ = stop;
    if (scale == 1 && (real_of(start) <= 0 || real_of(stop) <= 0))
      return field_fault(Reason::field_value, pointer, "has a log scale, so start and stop must be above 0");
    if (stepped) {
      CALYX_TRY(const json::Value step, number(members, "step"));
      CALYX_CHECK(scale == 1 ? out.read_log_step(members, step) : out.read_step(members, step));
    } else {
      CALYX_TRY(out.size_, members.count("num", {.least = 1, .most = points_max}));
      CALYX_CHECK(scale == 1 ? out.read_log_num(members) : out.read_num(members));
    }
    return out;
  }

  std::uint64_t size() const noexcept { return size_; }

  /// The value at `index`, which is below `size()`.
  json::Value value(std::uint64_t index) const {
    switch (rule_) {
      case Rule::list: return values_[static_cast<std::size_t>(index)];
      case Rule::integers:
        return static_cast<std::int64_t>(Wide{*first_.integer()} + static_cast<Wide>(index) * whole_step_);
      case Rule::integer_powers: {
        std::int64_t value = *first_.integer();
        while (index-- > 0) value = static_cast<std::int64_t>(value * whole_step_);
        return value;
      }
      case Rule::reals:
      case Rule::powers: break;
    }
    if (index == 0) return first_;
    if (index + 1 == size_ && ends_at_stop_) return last_;
    const auto i = static_cast<double>(index);
    const double start = real_of(first_);
    if (rule_ == Rule::reals) return std::fma(i, step_, start);
    return short_of(start * std::pow(step_, by_num_ ? i / static_cast<double>(size_ - 1) : i));
  }

 private:
  enum class Rule : std::uint8_t { list, integers, reals, integer_powers, powers };

  /// What two reals count as equal, in steps: their quotient has an error of some last places.
  static constexpr double hair = 1e-9;

  static double real_of(const json::Value& number) noexcept {
    return number.integer() != nullptr ? static_cast<double>(*number.integer()) : number.real()->value;
  }
  /// `value` to 15 digits.
  static double short_of(double value) {
    std::array<char, 32> text;
    const auto done =
        std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific, 14);
    std::from_chars(text.data(), done.ptr, value);
    return value;
  }

  static Result<json::Value> number(const Members& members, std::string_view name) {
    CALYX_TRY(const json::Value* const value, members.need(name));
    if (value->integer() != nullptr) return *value;
    if (value->real() == nullptr) return wrong_type(members.at(name), *value, "a number");
    if (!std::isfinite(value->real()->value))
      return field_fault(Reason::field_value, members.at(name), "is beyond the range of a double");
    return json::Value(value->real()->value);
  }

  static Error too_many(const Members& members, const std::string& count) {
    return field_fault(Reason::field_value, members.pointer(),
                       "has " + count + " values, takes at most " + std::to_string(points_max));
  }
  static Error leads_away(const Members& members) {
    return field_fault(Reason::field_value, members.at("step"), "never leads from start to stop");
  }

  Error one_value_alone(const Members& members) const {
    return field_fault(Reason::field_value, members.at("num"),
                       "is " + std::to_string(size_) + ", and start is stop: takes 1");
  }

  bool integral() const noexcept { return first_.integer() != nullptr && last_.integer() != nullptr; }

  Result<Done> read_step(const Members& members, const json::Value& step) {
    const double reach = real_of(last_) - real_of(first_);
    if (integral() && step.integer() != nullptr) {
      const Wide apart = Wide{*last_.integer()} - *first_.integer();
      whole_step_ = *step.integer();
      if (whole_step_ == 0 || (apart != 0 && (apart > 0) != (whole_step_ > 0))) return leads_away(members);
      const Wide count = apart / whole_step_ + 1;
      if (count > Wide{points_max}) return too_many(members, "more than 2^63 - 1");
      rule_ = Rule::integers;
      size_ = static_cast<std::uint64_t>(count);
      return Done{};
    }
    rule_ = Rule::reals;
    step_ = real_of(step);
    if (!std::isfinite(reach))
      return field_fault(Reason::field_value, members.pointer(),
                         "start and stop are too far apart for a double");
    if (step_ == 0 || (reach != 0 && (reach > 0) != (step_ > 0))) return leads_away(members);
    return count_steps(members, reach / step_);
  }

  Result<Done> read_num(const Members& members) {
    if (size_ == 1) last_ = first_;
    const double reach = real_of(last_) - real_of(first_);
    const bool same = integral() ? first_ == last_ : reach == 0;
    if (size_ > 1 && same) return one_value_alone(members);
    const Wide gaps = size_ == 1 ? 1 : static_cast<Wide>(size_ - 1);
    if (integral()) {
      const Wide apart = Wide{*last_.integer()} - *first_.integer();
      if (apart % gaps == 0) {
        rule_ = Rule::integers;
        whole_step_ = apart / gaps;
        return Done{};
      }
    }
    if (!std::isfinite(reach))
      return field_fault(Reason::field_value, members.pointer(),
                         "start and stop are too far apart for a double");
    rule_ = Rule::reals;
    step_ = reach / static_cast<double>(gaps);
    ends_at_stop_ = true;
    return Done{};
  }

  Result<Done> read_log_step(const Members& members, const json::Value& step) {
    step_ = real_of(step);
    const double reach = std::log(real_of(last_)) - std::log(real_of(first_));
    if (step_ <= 0 || step_ == 1 || (reach != 0 && (reach > 0) != (step_ > 1))) return leads_away(members);
    if (integral() && step.integer() != nullptr) {
      rule_ = Rule::integer_powers;
      whole_step_ = *step.integer();
      size_ = 1;
      for (Wide value = Wide{*first_.integer()} * whole_step_; value <= *last_.integer();
           value *= whole_step_)
        ++size_;
      return Done{};
    }
    rule_ = Rule::powers;
    return count_steps(members, reach / std::log(step_));
  }

  Result<Done> read_log_num(const Members& members) {
    if (size_ == 1) last_ = first_;
    if (size_ > 1 && real_of(last_) == real_of(first_)) return one_value_alone(members);
    rule_ = Rule::powers;
    step_ = real_of(last_) / real_of(first_);
    if (!std::isfinite(step_) || step_ == 0)
      return field_fault(Reason::field_value, members.pointer(),
                         "start and stop are too far apart for a double");
    ends_at_stop_ = true;
    by_num_ = true;
    return Done{};
  }

  /// The size that follows from a quotient with an error of some last places.
  Result<Done> count_steps(const Members& members, double quotient) {
    const double nearest = std::round(quotient);
    // Of many steps the last place itself is more than a hair.
    ends_at_stop_ = std::abs(quotient - nearest) <= hair * std::max(1.0, std::abs(quotient) * 1e-6);
    const double steps = ends_at_stop_ ? nearest : std::floor(quotient);
    // Beyond 2^53 steps neighbours would be one double.
    if (!(steps < static_cast<double>(exact_integer_max)))
      return field_fault(Reason::field_value, members.at("step"),
                         "makes more than " + std::to_string(exact_integer_max) + " values");
    size_ = static_cast<std::uint64_t>(steps) + 1;
    return Done{};
  }

  Rule rule_ = Rule::list;
  bool ends_at_stop_ = false;  ///< The last value is stop itself.
  bool by_num_ = false;
  std::uint64_t size_ = 0;
  json::Array values_;
  json::Value first_;
  json::Value last_;
  Wide whole_step_ = 0;
  double step_ = 0;
};

/// All combinations of the values of some parameters.
class Grid {
 public:
  /// Reads `parameters`: an object of lists and ranges. Nothing is laid out: the size alone is computed, with
  /// overflow seen.
  ///
  /// Fails: `field_type`; `field_value` when there are no or too many parameters, or more than 2^63 - 1
  /// points; what an axis refuses.
  static Result<Grid> read(const std::string& pointer, const json::Value& parameters) {
    CALYX_TRY(const Members members, Members::of(parameters, pointer, "a grid"));
    const std::size_t count = members.object().size();
    if (count < 1 || count > parameters_max)
      return field_fault(
          Reason::field_value, pointer,
          "has " + std::to_string(count) + " parameters, takes 1 to " + std::to_string(parameters_max));
    Grid out;
    for (const json::Member& member : members.object()) {
      CALYX_TRY(Axis axis, Axis::read(members.at(member.key), member.value));
      const Wide size = static_cast<Wide>(out.size_) * static_cast<Wide>(axis.size());
      if (size > Wide{points_max})
        return field_fault(Reason::field_value, pointer,
                           "has " + std::to_string(out.size_) + " times " + std::to_string(axis.size()) +
                               " points or more, takes at most " + std::to_string(points_max));
      out.size_ = static_cast<std::uint64_t>(size);
      out.names_.push_back(member.key);
      out.axes_.push_back(std::move(axis));
    }
    return out;
  }

  std::uint64_t size() const noexcept { return size_; }
  const std::vector<std::string>& names() const noexcept { return names_; }

  /// Which value each parameter has at point `index`: the index in mixed radix.
  std::vector<std::uint64_t> digits(std::uint64_t index) const {
    std::vector<std::uint64_t> out(axes_.size());
    for (std::size_t i = axes_.size(); i-- > 0;) {
      out[i] = index % axes_[i].size();
      index /= axes_[i].size();
    }
    return out;
  }
  /// The point with these digits.
  std::uint64_t index(const std::vector<std::uint64_t>& digits) const noexcept {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < axes_.size(); ++i) out = out * axes_[i].size() + digits[i];
    return out;
  }

  /// The parameters at point `index`, which is below `size()`.
  json::Object point(std::uint64_t index) const {
    const std::vector<std::uint64_t> at = digits(index);
    json::Object out;
    for (std::size_t i = 0; i < axes_.size(); ++i) out.set(names_[i], axes_[i].value(at[i]));
    return out;
  }

 private:
  std::uint64_t size_ = 1;
  std::vector<std::string> names_;
  std::vector<Axis> axes_;
};

/// What a point of a grid is known by, whatever job it is in: the canonical JSON of its parameters. A sweep
/// that is resumed, or grown by new values, skips the points that are finished already.
inline std::string point_identity(const json::Object& parameters) {
  return json::canonical(json::Value(parameters));
}

/// The points of a grid that a sweep takes: all in order, or `k` distinct ones drawn by `seed`.
class Points {
 public:
  /// `sample` is null or `{k, seed}`. Fails: `field_type`, `field_missing`, `field_value` when there are
  /// fewer points than `k`, or more tasks than 2^53 - 1 without a sample.
  static Result<Points> read(Grid grid, const json::Value* sample) {
    Points out;
    if (sample != nullptr) {
      CALYX_TRY(const Members members, Members::of(*sample, "/sample", "a sample"));
      CALYX_CHECK(members.only({"k", "seed"}));
      CALYX_TRY(out.size_, members.count("k", {.most = std::min(grid.size(), exact_integer_max)}));
      CALYX_TRY(const std::uint64_t seed, members.seed("seed"));
      out.order_.emplace(grid.size(), seed);
    } else {
      if (grid.size() > exact_integer_max)
        return field_fault(Reason::field_value, "/parameters",
                           "has " + std::to_string(grid.size()) + " points, takes at most " +
                               std::to_string(exact_integer_max) + " without a sample");
      out.size_ = grid.size();
    }
    out.grid_ = std::move(grid);
    return out;
  }

  std::uint64_t size() const noexcept { return size_; }
  const Grid& grid() const noexcept { return grid_; }
  json::Object operator[](std::uint64_t index) const {
    return grid_.point(order_ ? (*order_)(index) : index);
  }

 private:
  Grid grid_;
  std::optional<Permutation> order_;
  std::uint64_t size_ = 0;
};

}  // namespace calyx::core
