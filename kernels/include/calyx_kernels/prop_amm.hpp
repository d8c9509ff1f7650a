/// \file
/// The Prop AMM simulation: one submission and one fixed pool trade with an arbitrageur and retail orders.
///
/// Start at `simulate`. It follows the challenge's own simulator to the bit, so a seed's edge here is the
/// edge there, but for the seeds that `mean_ln` tells of. It uses + - * / and the square root on doubles,
/// and integers, so every backend agrees, built without contraction.
///
/// Units: X and Y amounts are doubles, as the challenge has them, and whole nanos (1e-9) where a strategy
/// sees them; the price and the edge are in Y; fees are basis points.
/// Threads: nothing is shared.

#pragma once

#include <cstdint>

#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/math.hpp"
#include "calyx_kernels/pcg64.hpp"
#include "calyx_kernels/prop_amm_math.hpp"
#include "calyx_kernels/ziggurat.hpp"

namespace calyx::kernels::prop_amm {

__extension__ typedef unsigned __int128 Wide;

/// A condition that nearly always holds.
#define CALYX_USUALLY(condition) (__builtin_expect((condition) ? 1 : 0, 1) != 0)

inline constexpr std::uint32_t storage_bytes = 1024;
inline constexpr std::uint32_t steps_default = 10'000;

/// What a trader does: pays Y for X, or X for Y.
enum class Side : std::uint8_t { buy = 0, sell = 1 };

/// A trade that took place. Reserves are those after it.
struct Trade {
  Side side;
  std::uint64_t input_nano;
  std::uint64_t output_nano;
  std::uint64_t reserve_x_nano;
  std::uint64_t reserve_y_nano;
  std::uint64_t step;
};

// A strategy is any type with
//   void begin();
//     a new simulation: forget all;
//   bool compute_swap(Side, std::uint64_t input_nano, std::uint64_t reserve_x_nano,
//                     std::uint64_t reserve_y_nano, const unsigned char* storage, std::uint64_t&
//                     output_nano);
//   bool after_swap(const Trade&, unsigned char* storage);
// where `storage` is `storage_bytes` long, zero when a simulation begins, and changed by `after_swap` alone.
// The same arguments give the same output until the next trade, so no search asks twice; a type that cannot
// promise it says `static constexpr bool remembers = true`, and is asked as often as the original asks, in
// its order. False is a failure (a panic, no fuel left): it ends the simulation, and the strategy itself
// remembers why.

/// Whether a strategy's answers may depend on how often it was asked.
template <class Strategy>
inline constexpr bool remembers = requires {
  requires Strategy::remembers;
};

/// How a simulation ended. The numbers never change.
enum class End : std::uint8_t {
  done = 0,
  strategy_failed = 1,
  not_monotone = 2,  ///< More input paid out less.
  not_concave = 3,   ///< More input had a better price.
};

/// The search whose quotes were at fault. The numbers never change.
enum class Search : std::uint8_t {
  none = 0,
  arbitrage_buy = 1,
  arbitrage_sell = 2,
  router_buy = 3,
  router_sell = 4,
};

/// What one seed came to.
struct Result {
  double edge = 0.0;  ///< Of the submission, in Y. 0 unless `end` is `done`.
  End end = End::done;
  Search search = Search::none;  ///< Where the shape was at fault, else `none`.
  std::uint32_t step = 0;        ///< At which it ended early, else 0.
};

struct Settings {
  std::uint32_t steps = steps_default;
  bool strict_curves = true;  ///< Whether quotes that have no proper shape end a simulation.
};

/// What is drawn once for a seed.
struct Parameters {
  double sigma;       ///< Of the price, a step.
  double lambda;      ///< Mean count of retail orders, a step.
  double mean_size;   ///< Of an order, in Y.
  std::uint32_t fee;  ///< Of the fixed pool.
  double liquidity;   ///< The fixed pool's reserves, as a multiple of the submission's.
};

CALYX_HD inline Parameters parameters_of(std::uint64_t seed) {
  Pcg64 words(seed);
  Parameters drawn{};
  drawn.sigma = uniform_between(words, 0.0001, 0.007);
  drawn.lambda = uniform_between(words, 0.4, 1.2);
  drawn.mean_size = uniform_between(words, 12.0, 28.0);
  drawn.fee = uniform_whole(words, 30, 51);
  drawn.liquidity = uniform_between(words, 0.4, 2.0);
  return drawn;
}

/// The price after each step. It begins with the words that the parameters were drawn from, as the original.
class Prices {
 public:
  CALYX_HD Prices(std::uint64_t seed, double sigma)
      : words_(seed), sigma_(sigma), drift_(-0.5 * sigma * sigma) {}
  CALYX_HD double next() {
    price_ *= price_exp(drift_ + sigma_ * standard_normal(words_));
    return price_;
  }

 private:
  Pcg64 words_;
  double sigma_;
  double drift_;
  double price_ = 100.0;
};

/// Order sizes, of retail and of the arbitrageur's first guess.
class Sizes {
 public:
  CALYX_HD explicit Sizes(double mean_size) : mu_(mean_ln(mean_size) - 0.5 * sigma * sigma) {}
  CALYX_HD double draw(Pcg64& words) const { return log_normal(words, mu_, sigma); }

 private:
  static constexpr double sigma = 1.2;
  double mu_;
};

/// Whole nanos of `value`, toward zero; nothing for what is not above 0, and 2^64 - 1 at most.
CALYX_HD inline std::uint64_t to_nano(double value) {
  const double nanos = value * 1e9;
  // All but the largest fit a signed integer, which a processor converts at once.
  if (CALYX_USUALLY(value > 0.0 && nanos < 0x1p63))
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(nanos));
  if (!(value > 0.0)) return 0;
  return nanos >= 0x1p64 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(nanos);
}

CALYX_HD inline double from_nano(std::uint64_t nanos) { return static_cast<double>(nanos) / 1e9; }

/// What the fixed pool pays: a constant product, its fee taken from the input.
CALYX_HD_APART inline std::uint64_t constant_product(Side side, std::uint64_t input, std::uint64_t reserve_x,
                                                     std::uint64_t reserve_y, std::uint32_t fee) {
  if (reserve_x == 0 || reserve_y == 0) return 0;
  const std::uint64_t from = side == Side::buy ? reserve_y : reserve_x;
  const std::uint64_t to = side == Side::buy ? reserve_x : reserve_y;
  // A division in 64 bits where the product has room, which is nearly always.
  const Wide net = input < (std::uint64_t{1} << 50) ? Wide{input * (10'000U - fee) / 10'000U}
                                                    : static_cast<Wide>(input) * (10'000U - fee) / 10'000U;
  const Wide after = from + net;
  const Wide left = (static_cast<Wide>(from) * to + (after - 1)) / after;
  return left >= to ? 0 : to - static_cast<std::uint64_t>(left);
}

/// The points that a search has quoted, and whether their shape is proper: more input never pays less, and
/// never at a better price, both within what rounding to nanos can do.
///
/// A search knows on which side of what is still to come a point lies, so the points are nearly in order
/// without being sorted: those from below in front, those from above behind.
class Curve {
 public:
  CALYX_HD void clear() {
    low_ = 0;
    high_ = points_max;
  }
  CALYX_HD void add_below(std::uint64_t input, double output) {
    if (low_ == high_) return;
    x_[low_] = input;
    y_[low_++] = to_nano(output);
  }
  CALYX_HD void add_above(std::uint64_t input, double output) {
    if (low_ == high_) return;
    x_[--high_] = input;
    y_[high_] = to_nano(output);
  }
  /// `End::done` for a proper shape.
  CALYX_HD_APART End judge() {
    // A proper shape is nearly always found so without sorting; whatever else is, in order.
    if (walk() == Walked::proper) return End::done;
    sort();
    switch (walk()) {
      case Walked::not_monotone: return End::not_monotone;
      case Walked::not_concave: return End::not_concave;
      default: return End::done;
    }
  }

 private:
  static constexpr std::uint64_t slack = 4;

  enum class Walked : std::uint8_t { proper, not_monotone, not_concave, out_of_order };

  /// Goes over the points as far as they are in order and of a proper shape.
  CALYX_HD Walked walk() const {
    constexpr std::uint64_t width_min = 1'000'000;
    std::uint32_t i = low_ != 0 ? 0 : high_;
    if (i == points_max) return Walked::proper;
    // The point that is looked at, and how far from the one before it and what that paid: as yet there is
    // none, and nothing is too little to be at fault.
    std::uint64_t x = x_[i];
    std::uint64_t y = y_[i];
    std::uint64_t step = 0;
    std::uint64_t y_before = 0;
    // The last segment that was wide enough to have a slope.
    std::uint64_t width = 0;
    std::uint64_t rise = 0;
    for (bool more = true; more;) {
      if (++i == low_) i = high_;
      std::uint64_t next = 0;
      more = i < points_max;
      if (more) {
        next = x_[i];
        // Inputs that lie closer than the slack are one point, which pays the most of what they paid.
        if (next - x <= slack) {
          if (y_[i] > y) y = y_[i];
          continue;
        }
        if (next < x) return Walked::out_of_order;
      }
      if (y < y_before && y_before - y > slack) return Walked::not_monotone;
      if (step >= width_min) {
        const std::uint64_t next_rise = y > y_before ? y - y_before : 0;
        const std::uint64_t rise_least = next_rise > slack ? next_rise - slack : 0;
        if (static_cast<Wide>(rise_least) * width > (static_cast<Wide>(rise) + slack) * step)
          return Walked::not_concave;
        width = step;
        rise = next_rise;
      }
      if (!more) break;
      step = next - x;
      y_before = y;
      x = next;
      y = y_[i];
    }
    return Walked::proper;
  }

  /// Puts the points in order, all of them in front.
  CALYX_HD void sort() {
    std::uint32_t count = low_;
    for (std::uint32_t from = high_; from < points_max; ++from, ++count) {
      x_[count] = x_[from];
      y_[count] = y_[from];
    }
    for (std::uint32_t i = 1; i < count; ++i) {
      const std::uint64_t x = x_[i];
      if (x >= x_[i - 1]) continue;
      const std::uint64_t y = y_[i];
      std::uint32_t at = i;
      for (; at > 0 && x_[at - 1] > x; --at) {
        x_[at] = x_[at - 1];
        y_[at] = y_[at - 1];
      }
      x_[at] = x;
      y_[at] = y;
    }
    low_ = count;
    high_ = points_max;
  }

  // A bracket of 26, 16 of the section, with room.
  static constexpr std::uint32_t points_max = 64;
  std::uint32_t low_ = 0;
  std::uint32_t high_ = points_max;
  std::uint64_t x_[points_max];
  std::uint64_t y_[points_max];
};

/// One pool's reserves, and the same in whole nanos.
struct Reserves {
  CALYX_HD Reserves(double with_x, double with_y) { set(with_x, with_y); }
  CALYX_HD void set(double with_x, double with_y) {
    x = with_x;
    y = with_y;
    x_nano = to_nano(x);
    y_nano = to_nano(y);
    quotes = x > 1e-12 && y > 1e-12;
  }
  double x;
  double y;
  std::uint64_t x_nano;
  std::uint64_t y_nano;
  bool quotes;  ///< Whether there is enough to be asked for any.
};

/// What one retail order wants.
struct Order {
  Side side;
  double size;  ///< In Y.
};

/// What a seed draws as its simulation goes on, none of which depends on the strategy. A step asks for its
/// price, its guess, its count of orders, and each of these.
class SeedDraws {
 public:
  CALYX_HD SeedDraws(std::uint64_t seed, const Parameters& drawn)
      : prices_(seed, drawn.sigma),
        sizes_(drawn.mean_size),
        retail_(seed + 1),
        arbitrageur_(seed + 2),
        exp_minus_lambda_(msun_exp(-drawn.lambda)) {}

  CALYX_HD double price() { return prices_.next(); }
  /// The arbitrageur's first guess at a size, in Y.
  CALYX_HD double guess() { return sizes_.draw(arbitrageur_); }
  CALYX_HD std::uint32_t orders() { return poisson(retail_, exp_minus_lambda_); }
  CALYX_HD Order order() {
    const double size = sizes_.draw(retail_);
    return {uniform(retail_) < 0.5 ? Side::buy : Side::sell, size};
  }

 private:
  Prices prices_;
  Sizes sizes_;
  Pcg64 retail_;
  Pcg64 arbitrageur_;
  double exp_minus_lambda_;
};

/// One simulation in progress. Use `simulate`. `Source` gives what a seed draws, as `SeedDraws` does.
template <class Strategy, class Source = SeedDraws>
class Simulation {
 public:
  CALYX_HD Simulation(const Parameters& drawn, const Source& source, const Settings& settings,
                      Strategy& strategy)
      : settings_(settings),
        strategy_(strategy),
        drawn_(drawn),
        source_(source),
        submission_{100.0, 10'000.0},
        fixed_{100.0 * drawn.liquidity, 10'000.0 * drawn.liquidity} {
    for (std::uint32_t i = 0; i < storage_bytes; ++i) storage_[i] = 0;
  }

  CALYX_HD Result run() {
    strategy_.begin();
    for (step_ = 0; step_ < settings_.steps; ++step_) {
      price_ = source_.price();
      arbitrage_submission();
      if (ended()) break;
      arbitrage_fixed();
      for (std::uint32_t orders = source_.orders(); orders > 0; --orders) {
        const Order order = source_.order();
        route(order.side, order.size);
        if (ended()) break;
      }
      if (ended()) break;
    }
    if (ended()) return {0.0, end_, search_, step_};
    return {edge_, End::done, Search::none, 0};
  }

 private:
  static constexpr double golden = 0.6180339887498948;
  static constexpr double amount_min = 0.001;
  static constexpr double profit_min = 0.01;
  static constexpr double input_max = 18446744073709551615.0 / 1e9 * 0.999999;

  /// An input, what it pays, and what that is worth.
  struct Point {
    double input;
    double output;
    double value;
    std::uint64_t input_nano;
  };
  /// An order in two parts: the submission's share and input, and what each pool pays.
  struct Split {
    double share;
    double value;
    double output;
    double output_fixed;
    std::uint64_t input_nano;
    bool asked;  ///< Whether the submission was: a small part is not.
  };

  CALYX_HD bool ended() const { return end_ != End::done; }
  CALYX_HD static double clamp(double value, double low, double high) {
    return value < low ? low : (value > high ? high : value);
  }
  CALYX_HD static double larger(double left, double right) { return left > right ? left : right; }

  CALYX_HD static bool quotable(double input, const Reserves& pool) {
    return input > 0.0 && math::is_finite(input) && pool.quotes;
  }
  CALYX_HD static double within(Side side, std::uint64_t nanos, const Reserves& pool) {
    const double output = from_nano(nanos);
    return output > (side == Side::buy ? pool.x : pool.y) ? 0.0 : output;
  }

  CALYX_HD_HOT double quote_submission(Side side, double input, std::uint64_t input_nano) {
    // What has few nanos is finite.
    const bool asks = input > 0.0 && (input_nano >> 63 == 0 || math::is_finite(input)) && submission_.quotes;
    if (!CALYX_USUALLY(asks && !ended())) return 0.0;
    std::uint64_t output = 0;
    if (!strategy_.compute_swap(side, input_nano, submission_.x_nano, submission_.y_nano,
                                static_cast<const unsigned char*>(storage_), output)) {
      end_ = End::strategy_failed;
      return 0.0;
    }
    return within(side, output, submission_);
  }

  CALYX_HD_APART double quote_fixed(Side side, double input) const {
    if (!quotable(input, fixed_)) return 0.0;
    return within(side, constant_product(side, to_nano(input), fixed_.x_nano, fixed_.y_nano, drawn_.fee),
                  fixed_);
  }

  /// Moves the reserves; false when the output would take all there is.
  CALYX_HD static bool move(Side side, double input, double output, Reserves& pool) {
    if (!(output > 0.0) || output >= (side == Side::buy ? pool.x : pool.y)) return false;
    if (side == Side::buy)
      pool.set(pool.x - output, pool.y + input);
    else
      pool.set(pool.x + input, pool.y - output);
    return true;
  }

  /// Trades with the submission, and counts what that is worth to it. `output` is what it was quoted since
  /// its last trade.
  CALYX_HD_APART void execute_submission(Side side, double input, double output) {
    if constexpr (remembers<Strategy>) output = quote_submission(side, input, to_nano(input));
    if (ended() || !move(side, input, output, submission_)) return;
    const Trade trade{side, to_nano(input), to_nano(output), submission_.x_nano, submission_.y_nano, step_};
    if (!strategy_.after_swap(trade, static_cast<unsigned char*>(storage_))) {
      end_ = End::strategy_failed;
      return;
    }
    edge_ += side == Side::buy ? input - output * price_ : input * price_ - output;
  }

  CALYX_HD_APART void judge_curve(Search search) {
    if (ended() || !settings_.strict_curves) return;
    end_ = curve_.judge();
    if (ended()) search_ = search;
  }

  /// One side of the arbitrageur's search. A trade gains `output * output_price - input * input_price`, of
  /// which one price is 1.
  struct Hunt {
    Side side;
    double input_price;
    double output_price;
    double input_min;
  };
  CALYX_HD Hunt hunt_of(Side side, double input_min) const {
    return side == Side::buy ? Hunt{side, 1.0, price_, input_min} : Hunt{side, price_, 1.0, input_min};
  }

  /// What the arbitrageur gains by `input`.
  CALYX_HD_HOT void ask(const Hunt& hunt, double input, Point& point) {
    point.input = input;
    point.input_nano = to_nano(input);
    point.output = quote_submission(hunt.side, input, point.input_nano);
    const double value = point.output * hunt.output_price - input * hunt.input_price;
    point.value = CALYX_USUALLY(math::is_finite(value)) ? value : -infinity();
  }
  CALYX_HD_APART Point gain(const Hunt& hunt, double input) {
    Point point;
    ask(hunt, input, point);
    return point;
  }
  CALYX_HD static double infinity() { return math::double_of(0x7ff0000000000000ULL); }

  /// Leaves a point to the judge, from below or above of those to come.
  CALYX_HD void note_below(const Point& point, double input_min) {
    if (settings_.strict_curves && point.input > input_min) curve_.add_below(point.input_nano, point.output);
  }
  CALYX_HD void note_above(const Point& point, double input_min) {
    if (settings_.strict_curves && point.input > input_min) curve_.add_above(point.input_nano, point.output);
  }

  /// Where the original asks for a point once more.
  CALYX_HD void ask_again(const Hunt& hunt, Point& point) {
    if constexpr (remembers<Strategy>) {
      note_below(point, hunt.input_min);  // both answers are judged
      point = gain(hunt, point.input);
    }
  }

  CALYX_HD_APART Point plan(Side side, double start, double input_min) {
    const Hunt hunt = hunt_of(side, input_min);
    curve_.clear();
    const double low = larger(input_min, amount_min);
    const double first = clamp(start, low, input_max);
    Point middle = gain(hunt, first);
    if (middle.value > 0.0) {
      double right = 2.0 * first < input_max ? 2.0 * first : input_max;
      if (right > first) {
        Point next = gain(hunt, right);
        Point left{};
        bool left_known = false;
        for (std::uint32_t i = 0; i < 24; ++i) {
          if (next.value <= middle.value || right >= input_max) break;
          if (left_known) note_below(left, input_min);
          left = middle;
          left_known = true;
          middle = next;
          right = 2.0 * right < input_max ? 2.0 * right : input_max;
          next = gain(hunt, right);
        }
        if (left_known)
          ask_again(hunt, left);
        else
          left = gain(hunt, low);
        ask_again(hunt, next);
        note_below(left, input_min);
        note_below(middle, input_min);
        note_above(next, input_min);
        return best_between(hunt, left, next);
      }
    }
    const Point left = gain(hunt, low);
    ask_again(hunt, middle);
    note_below(left, input_min);
    note_above(middle, input_min);
    return best_between(hunt, left, middle);
  }

  /// The best of the ends and of those in between that are looked at.
  CALYX_HD_APART Point best_between(const Hunt& hunt, const Point& low, const Point& high) {
    const double input_min = hunt.input_min;
    double left = low.input;
    double right = high.input;
    const double width = right - left;
    // Points stay where they are put, and change their roles.
    constexpr std::uint32_t looks_max = 12;
    Point seen[2 + looks_max];
    seen[0] = gain(hunt, right - golden * width);
    seen[1] = gain(hunt, left + golden * width);
    const Point* best = &low;
    const auto keep = [&best](const Point& point) {
      if (point.value > best->value) best = &point;
    };
    keep(high);
    const Point* one = &seen[0];
    const Point* two = &seen[1];
    keep(*one);
    keep(*two);
    for (Point* next = &seen[2]; next != seen + 2 + looks_max; ++next) {
      if (right - left <= 0.01 * larger(0.5 * (left + right), 0.001)) break;
      double input = 0.0;
      if (one->value < two->value) {
        note_below(*one, input_min);
        left = one->input;
        one = two;
        two = next;
        input = left + golden * (right - left);
      } else {
        note_above(*two, input_min);
        right = two->input;
        two = one;
        one = next;
        input = right - golden * (right - left);
      }
      ask(hunt, input, *next);
      keep(*next);
    }
    note_below(*one, input_min);
    note_below(*two, input_min);
    return *best;
  }

  CALYX_HD void arbitrage_submission() {
    const double x_min = larger(amount_min, profit_min / price_);
    const double start_y = clamp(larger(source_.guess(), 0.001), 0.01, input_max);
    const double start_x = clamp(start_y / price_, x_min, input_max);
    const Point buy = plan(Side::buy, start_y, 0.01);
    judge_curve(Search::arbitrage_buy);
    if (ended()) return;
    const Point sell = plan(Side::sell, start_x, x_min);
    judge_curve(Search::arbitrage_sell);
    if (ended()) return;
    const bool buys = buy.input >= 0.01 && buy.output > 0.0 && buy.value >= profit_min;
    const bool sells = sell.input >= x_min && sell.output > 0.0 && sell.value >= profit_min;
    if (sells && (!buys || sell.value > buy.value))
      execute_submission(Side::sell, sell.input, sell.output);
    else if (buys)
      execute_submission(Side::buy, buy.input, buy.output);
  }

  CALYX_HD_APART void arbitrage_fixed() {
    const double kept = static_cast<double>(10'000U - drawn_.fee) / 10'000.0;
    const double y_after = math::square_root(price_ * fixed_.x * kept * fixed_.y);
    if (y_after > fixed_.y) {
      const double input = clamp((y_after - fixed_.y) / kept, 0.01, input_max);
      const double output = quote_fixed(Side::buy, input);
      if (output > 0.0 && output * price_ - input >= profit_min) move(Side::buy, input, output, fixed_);
      return;
    }
    const double x_after = math::square_root(fixed_.y * fixed_.x * kept / price_);
    if (x_after > fixed_.x) {
      const double input =
          clamp((x_after - fixed_.x) / kept, larger(amount_min, profit_min / price_), input_max);
      const double output = quote_fixed(Side::sell, input);
      if (output > 0.0 && output - input * price_ >= profit_min) move(Side::sell, input, output, fixed_);
    }
  }

  /// What an order gets when the submission is given `share` of it.
  CALYX_HD_APART Split split(Side side, double total, double share) {
    const double to_submission = total * share;
    const double to_fixed = total * (1.0 - share);
    Split parts{share, 0.0, 0.0, 0.0, 0, to_submission > amount_min};
    if (parts.asked) {
      parts.input_nano = to_nano(to_submission);
      parts.output = quote_submission(side, to_submission, parts.input_nano);
      parts.value = parts.output;
    }
    if (to_fixed > amount_min) {
      parts.output_fixed = quote_fixed(side, to_fixed);
      parts.value += parts.output_fixed;
    }
    return parts;
  }
  CALYX_HD void note_below(const Split& parts) {
    if (settings_.strict_curves && parts.asked) curve_.add_below(parts.input_nano, parts.output);
  }
  CALYX_HD void note_above(const Split& parts) {
    if (settings_.strict_curves && parts.asked) curve_.add_above(parts.input_nano, parts.output);
  }

  CALYX_HD_APART void route(Side side, double size) {
    const double total = side == Side::buy ? size : size / price_;
    curve_.clear();
    double left = 0.0;
    double right = 1.0;
    Split best = split(side, total, left);
    note_below(best);
    const auto keep = [&best](const Split& parts) {
      if (parts.value > best.value) best = parts;
    };
    const Split all = split(side, total, right);
    note_above(all);
    keep(all);
    Split one = split(side, total, right - golden * (right - left));
    keep(one);
    Split two = split(side, total, left + golden * (right - left));
    keep(two);
    for (std::uint32_t i = 0; i < 14; ++i) {
      const double width = right - left;
      const double middle = 0.5 * (left + right);
      if (width <= 1e-3 || total * width <= 0.01 * larger(total * middle, 0.001)) break;
      const double scale = larger(larger(math::absolute(one.value), math::absolute(two.value)), 1e-12);
      if (math::absolute(one.value - two.value) <= 0.01 * scale) break;
      if (one.value < two.value) {
        note_below(one);
        left = one.share;
        one = two;
        two = split(side, total, left + golden * (right - left));
        keep(two);
      } else {
        note_above(two);
        right = two.share;
        two = one;
        one = split(side, total, right - golden * (right - left));
        keep(one);
      }
    }
    const Split centre = split(side, total, 0.5 * (left + right));
    keep(centre);
    note_below(one);
    note_below(centre);
    note_below(two);
    judge_curve(side == Side::buy ? Search::router_buy : Search::router_sell);
    if (ended()) return;
    if (best.asked) execute_submission(side, total * best.share, best.output);
    const double to_fixed = total * (1.0 - best.share);
    if (ended() || !(to_fixed > amount_min)) return;
    move(side, to_fixed, best.output_fixed, fixed_);
  }

  Settings settings_;
  Strategy& strategy_;
  Parameters drawn_;
  Source source_;
  Reserves submission_;
  Reserves fixed_;
  double price_ = 100.0;
  double edge_ = 0.0;
  std::uint32_t step_ = 0;
  End end_ = End::done;
  Search search_ = Search::none;
  Curve curve_;
  unsigned char storage_[storage_bytes];
};

/// Runs `seed` against `strategy`, whose concept is described above.
template <class Strategy>
CALYX_HD Result simulate(std::uint64_t seed, const Settings& settings, Strategy& strategy) {
  const Parameters drawn = parameters_of(seed);
  return Simulation<Strategy>(drawn, SeedDraws(seed, drawn), settings, strategy).run();
}

/// Runs the seeds `seed_base + i`, modulo 2^64, for every i from `first` to before `last`, and puts each
/// result at `out[i]`: ranges that share no i may run at once, each with a strategy of its own.
template <class Strategy>
CALYX_HD void simulate_range(std::uint64_t seed_base, std::uint64_t first, std::uint64_t last,
                             const Settings& settings, Strategy& strategy, Result* out) {
  for (std::uint64_t i = first; i < last; ++i) out[i] = simulate(seed_base + i, settings, strategy);
}

/// What a row of results comes to.
struct Summary {
  double total = 0.0;  ///< The edges, added in the order of the seeds. Means little after an early end.
  std::uint64_t violations = 0;     ///< Seeds at which the shape was at fault.
  std::uint64_t failures = 0;       ///< Seeds at which the strategy failed.
  std::uint64_t first_failure = 0;  ///< The index of the first of these, if there is one.
};

/// Takes the results in their order, so that the sum does not depend on who computed which.
inline Summary summary_of(const Result* results, std::uint64_t count) {
  Summary summary;
  for (std::uint64_t i = 0; i < count; ++i) {
    summary.total += results[i].edge;
    if (results[i].end == End::strategy_failed) {
      if (summary.failures == 0) summary.first_failure = i;
      ++summary.failures;
    } else if (results[i].end != End::done) {
      ++summary.violations;
    }
  }
  return summary;
}

}  // namespace calyx::kernels::prop_amm
