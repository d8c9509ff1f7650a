#include "calyx_kernels/packing_search.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "calyx_kernels/elementary.hpp"
#include "calyx_kernels/packing_lanes.hpp"
#include "calyx_kernels/philox.hpp"

namespace calyx::kernels::packing {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What random numbers are drawn for: the last word of their place.
enum Purpose : std::uint32_t { beginning, moving, hopping, settling, crossing };

enum Phase : std::uint64_t { begins = 0, goes = 1, closes = 2, squeezes = 3, settles = 4, over = 5 };

/// Descents and moves may leave the bounds of hops by so much: the best packing known has a centre 2.774 from
/// the middle.
constexpr double outer_part = 1.2;

/// How stiff contacts are while a chain hops, in penalties: soft enough that pieces pass through each other.
constexpr double softness = 0.2;
constexpr double stiffness_last = 2e6;
constexpr std::uint32_t descent_evaluations = 240, first_evaluations = 700, press_evaluations = 400;
constexpr std::uint32_t squeeze_rounds = 24;
constexpr double squeeze_first = 1e-6, squeeze_stiffness = 1e6, squeeze_margin = 5e-7;
constexpr double descent_end = 1e-4, press_end = 1e-6;  // the largest part of a gradient that counts as none

/// Every eighth iteration of `feasible_optimize` takes pieces out and puts them elsewhere.
constexpr std::uint64_t rebuild_every = 8;
/// How much worse a rebuilt layout may be and still be taken, in the mean.
constexpr double rebuild_temperature = 0.003;
/// After so many hops the lowest layout is made valid, if it is new.
constexpr std::uint64_t hops_a_press = 32;
/// A gain in energy below this is no gain.
constexpr double gain_min = 1e-6;

/// Deviations of the moves, in turn. The last two are for layouts that hardly move any more.
constexpr double move_scales[] = {0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 1e-4, 1e-5};
constexpr std::uint64_t failures_max = 5'000;

constexpr std::uint64_t adapt_every = 50;
constexpr double adapt_factor = 0.9, accept_rate = 0.5;  // SciPy's

constexpr double crossover = 0.7, tolerance = 0.01;
/// In a generation one individual descends, and one more for so many.
constexpr std::uint32_t individuals_a_descent = 200;

/// How much of a budget is kept for making the best valid.
std::uint64_t reserve_of(std::uint64_t budget) { return std::min<std::uint64_t>(12'000, budget / 4); }

/// `angle` within [-pi, pi), to rounding.
double wrapped(double angle) {
  if (angle >= -math::pi && angle < math::pi) return angle;
  return angle - 2.0 * math::pi * std::floor((angle + math::pi) / (2.0 * math::pi));
}

double clipped(double value, double bound) { return std::min(std::max(value, -bound), bound); }

/// The radius of a layout that is valid, or an infinity.
double valid_radius(Layout& layout, const double* numbers, std::uint32_t count) {
  layout.set(numbers, count);
  if (!layout.feasible() || !contains(layout.support().circle, layout.all(), count)) return infinity;
  return layout.radius();
}

}  // namespace

bool valid(const double* numbers, std::uint32_t count) {
  Layout layout;
  return valid_radius(layout, numbers, count) < infinity;
}

/// The search at work: what it needs besides its state.
class Steps {
 public:
  Steps(Search& search, const Watch& watch)
      : search_(search),
        settings_(search.settings_),
        state_(search.state_),
        watch_(watch),
        count_(search.settings_.count),
        numbers_(3 * search.settings_.count),
        bound_(coordinate_bound(search.settings_.count)),
        outer_(outer_part * bound_),
        iterations_(settings_.iterations == 0 ? iterations_default(settings_.method) : settings_.iterations),
        stiffness_(softness * settings_.penalty) {
    for (std::uint32_t i = 0; i < row_max; ++i) limits_[i] = i < numbers_ && i % 3 != 2 ? outer_ : infinity;
  }

  SearchEnd run() {
    if (state_.phase == over) return static_cast<SearchEnd>(state_.ended);
    if (!evolves() || state_.phase == settles) settled_.set(state_.settled, count_);
    std::uint64_t rested = state_.evaluations;
    while (state_.phase != over) {
      limit_ = settings_.evaluations_max;
      if (limit_ != 0 && state_.phase < closes) limit_ -= reserve_of(limit_);
      used_up_ = false;
      if (!step()) return SearchEnd::stopped;
      if (watch_.rests == nullptr || state_.evaluations - rested < watch_.rest_every) continue;
      rested = state_.evaluations;
      watch_.rests(watch_.context);
    }
    return static_cast<SearchEnd>(state_.ended);
  }

 private:
  using State = Search::State;

  // Evaluations.

  /// Counts one more. False when there is none left, or the search was told to stop: then nothing was done.
  bool spend() {
    if (used_up_ || told_) return false;
    if (limit_ != 0 && state_.evaluations >= limit_) {
      used_up_ = true;
      return false;
    }
    if (++unasked_ >= 32) {
      unasked_ = 0;
      if (watch_.stops != nullptr && watch_.stops(watch_.context, search_.progress())) {
        told_ = true;
        return false;
      }
    }
    ++state_.evaluations;
    return true;
  }

  /// The objective of `numbers`, which is kept when it is the best; an infinity when it could not be counted,
  /// or is plainly larger than `bar`.
  double objective_of(const double* numbers, double bar = infinity) {
    if (!spend()) return infinity;
    if (!layout_.set_below(numbers, count_, settings_.penalty, bar)) return infinity;
    const double objective = layout_.objective(settings_.penalty);
    if (objective < state_.found.objective) {
      state_.found.objective = objective;
      std::copy(numbers, numbers + numbers_, state_.found.numbers);
    }
    return objective;
  }

  /// The radius of rounded numbers, which are kept when they are the smallest valid ones; an infinity when
  /// they are not valid, or could not be counted.
  double judge(const double* rounded) {
    if (!spend()) return infinity;
    const double radius = valid_radius(layout_, rounded, count_);
    if (radius < infinity) keep_valid(rounded, radius);
    return radius;
  }

  void keep_valid(const double* rounded, double radius) {
    if (!(radius < state_.found.radius)) return;
    state_.found.radius = radius;
    std::copy(rounded, rounded + numbers_, state_.found.rounded);
  }

  // Descents.

  static void project(double* x, std::uint32_t numbers, double bound) {
    for (std::uint32_t i = 0; i < numbers; ++i)
      if (i % 3 != 2) x[i] = clipped(x[i], bound);
  }

  /// Follows the energy downhill from `x`, whose last number is the radius, by a limited-memory quasi-Newton
  /// method with steps cut to the bounds; returns the energy there, or an infinity when nothing was counted.
  double descend(double* x, double stiffness, std::uint32_t evaluations, double end,
                 const double* allowed = nullptr) {
    const double value = follow(x, stiffness, evaluations, end, allowed);
    for (std::uint32_t i = 2; i < numbers_; i += 3) x[i] = wrapped(x[i]);
    return value;
  }

  /// A place of a descent, and the gradient there: rows of lanes.
  struct Place {
    alignas(row_alignment) double numbers[row_max];
    alignas(row_alignment) double gradient[row_max];
  };

  double follow(double* x, double stiffness, std::uint32_t evaluations, double end, const double* allowed) {
    const std::uint32_t n = numbers_ + 1;
    Place places[2] = {};
    Place* here = places;
    std::copy(x, x + n, here->numbers);
    if (!spend()) return infinity;
    const double value = go_down(here, places + 1, stiffness, evaluations, end, allowed);
    std::copy(here->numbers, here->numbers + n, x);
    return value;
  }

  /// Leaves `here` at the place of the value that it returns.
  double go_down(Place*& here, Place* next, double stiffness, std::uint32_t evaluations, double end,
                 const double* allowed) {
    constexpr double longest = 0.3;  // that any number goes in a step
    const std::uint32_t n = numbers_ + 1;
    const std::uint32_t row = row_of(n);
    Memory memory;
    Nearby nearby;
    alignas(row_alignment) double way[row_max];
    double value = lanes_.energy(here->numbers, count_, stiffness, here->gradient, allowed, nearby);
    while (lanes_.largest(here->gradient, row) >= end) {
      const Heading heading = lanes_.heading(memory, here->gradient, stiffness, row, way);
      if (!(heading.slope > 0.0)) {
        if (memory.held == 0) break;
        memory.held = 0;
        continue;
      }
      double length = heading.largest > longest ? longest / heading.largest : 1.0;
      bool taken = false;
      double next_value = 0.0;
      for (std::uint32_t trial = 0; trial < 20 && !taken; ++trial) {
        if (trial > 0) length *= 0.5;
        if (evaluations-- == 0 || !spend()) return value;
        const double expected =
            lanes_.step(here->numbers, length, way, limits_, here->gradient, n, row, next->numbers);
        next_value = lanes_.energy(next->numbers, count_, stiffness, next->gradient, allowed, nearby);
        taken = expected > 0.0 && next_value <= value - 1e-4 * expected;
      }
      if (!taken) {
        if (memory.held == 0) break;
        memory.held = 0;
        continue;
      }
      lanes_.remember(memory, here->numbers, next->numbers, here->gradient, next->gradient, row);
      std::swap(here, next);
      value = next_value;
    }
    return value;
  }

  /// Puts the middle of the circle at the origin, where the energy has it, and writes the radius behind.
  void centre(double* x) {
    layout_.set(x, count_);
    const Circle circle = layout_.support().circle;
    for (std::uint32_t i = 0; i < count_; ++i) {
      x[3 * i] -= circle.centre.x;
      x[3 * i + 1] -= circle.centre.y;
    }
    project(x, numbers_, outer_);
    x[numbers_] = std::min(circle.radius, 1.3 * bound_);
  }

  /// Moves the pieces of `x` apart until the rounded layout is valid, and no further than that takes. Writes
  /// that layout and returns its radius, or an infinity.
  ///
  /// Every centre goes outwards and, by a third of that, to where its piece looks: the first alone would not
  /// part two flat sides whose centres have passed each other, and with both every kind of contact opens.
  double spread(const double* x, double* out) {
    double rounded[numbers_max];
    double best = infinity;
    const auto fits = [&](double by) {
      for (std::uint32_t i = 0; i < count_; ++i) {
        const double* at = x + 3 * i;
        const math::Unit facing = math::direction(at[2]);
        rounded[3 * i] = round6(at[0] * (1.0 + 3.0 * by) + by * facing.x);
        rounded[3 * i + 1] = round6(at[1] * (1.0 + 3.0 * by) + by * facing.y);
        rounded[3 * i + 2] = round6(wrapped(at[2]));
      }
      const double radius = judge(rounded);
      if (!(radius < infinity)) return false;
      best = radius;
      std::copy(rounded, rounded + numbers_, out);
      return true;
    };
    constexpr double furthest = 100.0;
    double low = 0.0;
    double high = 1e-7;
    while (high < furthest && !fits(high)) {
      if (halted()) return best;
      low = high;
      high *= 2.0;
    }
    for (std::uint32_t i = 0; i < 6 && high < furthest; ++i) {
      const double middle = 0.5 * (low + high);
      if (fits(middle))
        high = middle;
      else if (halted())
        break;
      else
        low = middle;
    }
    return best;
  }

  /// Makes a valid layout of `lowest`: contacts grow stiff by and by, and what is left of overlaps is spread.
  void press() {
    double x[numbers_max + 1];
    double rounded[numbers_max];
    std::copy(state_.lowest, state_.lowest + numbers_ + 1, x);
    // Something valid comes first, for who has little to spend.
    if (!(state_.found.radius < infinity)) offer(rounded, spread(x, rounded));
    // A chain's lowest point lies at the end of a descent, an individual does not.
    if (evolves()) descend(x, stiffness_, descent_evaluations, descent_end);
    double stiffness = 4.0 * stiffness_;
    while (stiffness < stiffness_last) {
      descend(x, stiffness, press_evaluations, press_end);
      stiffness *= 4.0;
    }
    objective_of(x);
    offer(rounded, spread(x, rounded));
    if (!halted()) state_.unpressed = 0;
  }

  /// Makes the best valid layout smaller by what the challenge lets every pair share: each pair is let in by
  /// as much as gives it that area, less what rounding may add.
  void squeeze() {
    double x[numbers_max + 1];
    double rounded[numbers_max];
    double allowed[pairs_max];
    std::copy(state_.found.rounded, state_.found.rounded + numbers_, x);
    centre(x);
    std::fill(allowed, allowed + pairs_max, squeeze_first);
    for (std::uint32_t round = 0; round < squeeze_rounds; ++round) {
      descend(x, squeeze_stiffness, descent_evaluations, press_end, allowed);
      if (!spend()) return;
      layout_.set(x, count_);
      for (std::uint32_t i = 0; i < count_; ++i) {
        for (std::uint32_t j = i + 1; j < count_; ++j) {
          const double area = layout_.pair_area(i, j);
          if (area == 0.0) continue;
          // What a step of one unit would add: rounding is up to half a millionth of it, for each of the two.
          const double edge = length(overlap_gradient(layout_.piece(i), layout_.piece(j)).step);
          const double wanted = std::max(overlap_area_max - squeeze_margin * edge, 0.2 * overlap_area_max);
          // Area grows with the depth between flat sides, its square at a corner, and in between where arcs
          // meet.
          const double factor = math::square_root(wanted / area);
          double& depth = allowed[pair_index(i, j, count_)];
          // Who does not lean on the other yet is let in no further.
          const bool leans = -gap(layout_.piece(i), layout_.piece(j)).distance > 0.9 * depth;
          if (factor < 1.0 || leans) depth *= std::min(std::max(factor, 0.25), 4.0);
        }
      }
    }
    offer(rounded, spread(x, rounded));
  }

  // What Deb's rules compare: what is feasible comes before what is not, less overlap before more, and of two
  // that are feasible the smaller first.

  /// Takes a valid layout where it is better than the one settled on.
  void offer(const double* rounded, double radius) {
    if (!(radius < infinity) || settings_.method != Method::feasible_optimize) return;
    if (state_.overlap_settled > 0.0 || radius < state_.radius_settled) settle_on(rounded);
  }

  void settle_on(const double* rounded) {
    std::copy(rounded, rounded + numbers_, state_.settled);
    settled_.set(rounded, count_);
    state_.overlap_settled = settled_.feasible() ? 0.0 : settled_.overlap_total();
    state_.radius_settled = settled_.radius();
  }

  /// Moves a piece or two of the layout settled on, and keeps that when Deb's rules find it no worse. False
  /// when it could not be counted.
  bool move(Draws& draws) {
    if (!spend()) return false;
    const double chance = draws.uniform();
    const double scale = move_scales[state_.scale];
    const std::uint32_t moved = chance >= 0.95 && count_ > 1 ? 2 : 1;
    std::uint32_t piece[2] = {draws.below(count_), 0};
    piece[1] = moved == 2 ? (piece[0] + 1 + draws.below(count_ - 1)) % count_ : 0;
    double numbers[2][3];
    Layout::Before before[2];
    for (std::uint32_t n = 0; n < moved; ++n) {
      double* at = numbers[n];
      std::copy(state_.settled + 3 * piece[n], state_.settled + 3 * piece[n] + 3, at);
      const bool all = moved == 2 || chance < 0.5;
      const auto shifted = [&](double from) {
        return round6(clipped(from + scale * draws.normal(), outer_));
      };
      if (all || chance < 0.7) at[0] = shifted(at[0]);
      if (all || (chance >= 0.7 && chance < 0.85)) at[1] = shifted(at[1]);
      if (all || chance >= 0.85) at[2] = round6(wrapped(at[2] + scale * draws.normal()));
      settled_.move(piece[n], piece_at(at[0], at[1], at[2]), before[n]);
    }
    const double overlap = settled_.feasible() ? 0.0 : settled_.overlap_total();
    const bool taken =
        overlap < state_.overlap_settled ||
        (overlap == state_.overlap_settled && (overlap > 0.0 || settled_.radius() <= state_.radius_settled));
    if (!taken) {
      for (std::uint32_t n = moved; n-- > 0;) settled_.undo(before[n]);
      if (++state_.failures >= failures_allowed()) {
        state_.failures = 0;
        state_.scale = (state_.scale + 1) % std::size(move_scales);
      }
      return true;
    }
    const bool better = overlap < state_.overlap_settled || settled_.radius() < state_.radius_settled;
    if (better) state_.failures = 0;
    for (std::uint32_t n = 0; n < moved; ++n)
      std::copy(numbers[n], numbers[n] + 3, state_.settled + 3 * piece[n]);
    state_.overlap_settled = overlap;
    state_.radius_settled = settled_.radius();
    if (overlap == 0.0) keep_valid(state_.settled, state_.radius_settled);
    return true;
  }

  /// A short search tries all scales, too.
  std::uint64_t failures_allowed() const {
    return std::min<std::uint64_t>(failures_max, 1 + iterations_ / 16);
  }

  // Chains of descents.

  void random_numbers(Draws& draws, double* x) const {
    for (std::uint32_t i = 0; i < numbers_; ++i)
      x[i] = i % 3 == 2 ? draws.uniform(-math::pi, math::pi) : draws.uniform(-0.8 * bound_, 0.8 * bound_);
  }

  /// The first point of a chain: what was given, or one by chance, and down from there.
  void begin_chain() {
    Draws draws = draws_for(0, beginning);
    state_.overlap_settled = infinity;
    state_.radius_settled = infinity;
    state_.failures = 0;
    state_.scale = 0;
    state_.accepted = 0;
    state_.hop_scale = settings_.hop_scale;
    if (state_.restart == 0 && has_start()) {
      std::copy(state_.start, state_.start + numbers_, state_.now);
      objective_of(state_.now);
      double rounded[numbers_max];
      for (std::uint32_t i = 0; i < numbers_; ++i) rounded[i] = round6(state_.start[i]);
      offer(rounded, judge(rounded));
    } else {
      random_numbers(draws, state_.now);
      objective_of(state_.now);
    }
    centre(state_.now);
    state_.energy_now = descend(state_.now, stiffness_, first_evaluations, descent_end);
    state_.energy_lowest = state_.energy_now;
    std::copy(state_.now, state_.now + numbers_ + 1, state_.lowest);
    state_.unpressed = 1;
    objective_of(state_.now);
    if (settings_.method != Method::feasible_optimize || halted()) return;
    if (state_.overlap_settled < infinity) return;
    double rounded[numbers_max];
    for (std::uint32_t i = 0; i < numbers_; ++i)
      rounded[i] = round6(i % 3 == 2 ? wrapped(state_.now[i]) : state_.now[i]);
    if (spend()) settle_on(rounded);
  }

  /// Descends from `x` and goes there, or stays, as Metropolis has it. True when it went.
  bool hop_to(double* x, double temperature, Draws& draws) {
    const double chance = draws.uniform();
    const double energy_there = descend(x, stiffness_, descent_evaluations, descent_end);
    objective_of(x);
    if (halted() && !(energy_there < state_.energy_lowest)) return false;
    const double rise = energy_there - state_.energy_now;
    bool taken = rise <= 0.0;
    if (!taken && temperature > 0.0) taken = chance < math::exponential(-rise / temperature);
    if (taken) {
      state_.energy_now = energy_there;
      std::copy(x, x + numbers_ + 1, state_.now);
    }
    if (energy_there < state_.energy_lowest - gain_min) {
      state_.energy_lowest = energy_there;
      std::copy(x, x + numbers_ + 1, state_.lowest);
      state_.unpressed = 1;
    }
    return taken;
  }

  /// Takes pieces out and puts them elsewhere, in one of a few ways, and descends.
  void rebuild() {
    Draws draws = draws_for(state_.iteration, hopping);
    double x[numbers_max + 1];
    std::copy(state_.now, state_.now + numbers_ + 1, x);
    const double within = 0.88 * bound_;
    const auto somewhere = [&](double* at) {
      const double far = within * math::square_root(draws.uniform());
      const math::Unit way = math::direction(draws.uniform(-math::pi, math::pi));
      at[0] = far * way.x;
      at[1] = far * way.y;
    };
    const std::uint32_t kind = draws.below(10);
    if (kind < 4) {  // one or two pieces, anywhere
      const std::uint32_t many = 1 + draws.below(2);
      for (std::uint32_t n = 0; n < many; ++n) {
        double* at = x + 3 * draws.below(count_);
        somewhere(at);
        at[2] = draws.uniform(-math::pi, math::pi);
      }
    } else if (kind < 6) {  // one piece is turned, half of the time around
      double* at = x + 3 * draws.below(count_);
      at[2] += draws.below(2) == 0 ? math::pi : draws.uniform(-math::pi, math::pi);
    } else if (kind < 7) {  // two pieces change places and keep their directions
      double* one = x + 3 * draws.below(count_);
      double* other = x + 3 * draws.below(count_);
      std::swap(one[0], other[0]);
      std::swap(one[1], other[1]);
    } else if (kind < 8) {  // what lies around some place is shaken
      double middle[2];
      somewhere(middle);
      for (std::uint32_t i = 0; i < count_; ++i) {
        double* at = x + 3 * i;
        if (length({at[0] - middle[0], at[1] - middle[1]}) >= 1.2) continue;
        at[0] += 0.5 * draws.normal();
        at[1] += 0.5 * draws.normal();
        at[2] += 1.5 * draws.normal();
      }
    } else {  // everything is shaken
      const double scale = kind == 8 ? 0.1 : 0.3;
      for (std::uint32_t i = 0; i < numbers_; ++i) x[i] += scale * draws.normal();
    }
    project(x, numbers_, bound_);
    hop_to(x, rebuild_temperature, draws);
  }

  void hop() {
    Draws draws = draws_for(state_.iteration, hopping);
    double x[numbers_max + 1];
    for (std::uint32_t i = 0; i < numbers_; ++i) x[i] = state_.now[i] + state_.hop_scale * draws.normal();
    x[numbers_] = state_.now[numbers_];
    project(x, numbers_, bound_);
    if (hop_to(x, settings_.temperature, draws)) ++state_.accepted;
    if ((state_.iteration + 1) % adapt_every != 0) return;
    const double rate = static_cast<double>(state_.accepted) / static_cast<double>(adapt_every);
    state_.accepted = 0;
    if (rate > accept_rate)
      state_.hop_scale = std::min(state_.hop_scale / adapt_factor, hop_scale_max);
    else
      state_.hop_scale *= adapt_factor;
  }

  // Differential evolution.

  double* individual(std::size_t i) { return search_.population_.data() + i * numbers_; }
  std::size_t population() const { return settings_.population; }

  std::size_t best_individual() const {
    const std::vector<double>& all = search_.objectives_;
    return static_cast<std::size_t>(std::min_element(all.begin(), all.end()) - all.begin());
  }

  /// A latin hypercube, and around the start, if there is one, an eighth of the population.
  void begin_population() {
    std::vector<double> all(population() * numbers_);
    std::vector<double> objectives(population(), infinity);
    std::vector<std::uint32_t> order(population());
    for (std::uint32_t j = 0; j < numbers_; ++j) {
      Draws draws = draws_for(j, beginning);
      std::iota(order.begin(), order.end(), 0U);
      for (std::uint32_t i = settings_.population; i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
      const double half = j % 3 == 2 ? math::pi : bound_;
      for (std::size_t i = 0; i < population(); ++i)
        all[i * numbers_ + j] = half * (2.0 * (static_cast<double>(order[i]) + draws.uniform()) /
                                            static_cast<double>(population()) -
                                        1.0);
    }
    if (has_start()) {
      Draws draws = draws_for(numbers_max, beginning);
      const std::size_t seeded = std::max<std::size_t>(1, population() / 8);
      for (std::size_t i = 0; i < seeded; ++i)
        for (std::uint32_t j = 0; j < numbers_; ++j) {
          const double value = state_.start[j] + (i == 0 ? 0.0 : settings_.hop_scale * draws.normal());
          all[i * numbers_ + j] = i == 0 ? value : j % 3 == 2 ? wrapped(value) : clipped(value, bound_);
        }
      double rounded[numbers_max];
      for (std::uint32_t i = 0; i < numbers_; ++i) rounded[i] = round6(state_.start[i]);
      judge(rounded);
    }
    for (std::size_t i = 0; i < population() && !halted(); ++i)
      objectives[i] = objective_of(all.data() + i * numbers_);
    if (told_) return;
    search_.population_ = std::move(all);
    search_.objectives_ = std::move(objectives);
    state_.unpressed = 1;
  }

  /// best/1/bin for everybody, from the population as it was; then a few of them descend.
  void generation() {
    const auto turn = static_cast<std::uint32_t>(state_.iteration);
    const std::size_t best = best_individual();
    Draws dither(settings_.seed, 1, turn, crossing);
    const double factor = dither.uniform(0.5, 1.0);
    trials_.resize(population() * numbers_);
    trial_objectives_.assign(population(), infinity);
    for (std::uint32_t i = 0; i < settings_.population && !halted(); ++i) {
      Draws draws(settings_.seed, 2, turn, i);
      std::uint32_t first = draws.below(settings_.population - 1);
      first += first >= i ? 1U : 0U;
      std::uint32_t second = draws.below(settings_.population - 2);
      second += second >= std::min(i, first) ? 1U : 0U;
      second += second >= std::max(i, first) ? 1U : 0U;
      const std::uint32_t always = draws.below(numbers_);
      std::uint64_t word = 0;  // two of its halves decide about two numbers
      double* trial = trials_.data() + std::size_t{i} * numbers_;
      for (std::uint32_t j = 0; j < numbers_; ++j) {
        word = j % 2 == 0 ? draws.next() : word >> 32;
        const bool crosses = static_cast<double>(word & 0xffffffffU) * 0x1p-32 < crossover;
        if (!crosses && j != always) {
          trial[j] = individual(i)[j];
          continue;
        }
        const double value = individual(best)[j] + factor * (individual(first)[j] - individual(second)[j]);
        if (j % 3 == 2)
          trial[j] = wrapped(value);
        else
          trial[j] = math::absolute(value) <= bound_ ? value : draws.uniform(-bound_, bound_);
      }
      trial_objectives_[i] = objective_of(trial, search_.objectives_[i]);
    }
    Draws draws(settings_.seed, 3, turn, crossing);
    for (std::uint32_t i = 0; i <= settings_.population / individuals_a_descent && !halted(); ++i) {
      // The best is among them every other time: it may not have descended yet.
      const std::uint32_t chance = draws.below(settings_.population);
      descend_individual(i == 0 && turn % 2 == 0 ? static_cast<std::uint32_t>(best) : chance);
    }
    if (told_) return;
    for (std::uint32_t i = 0; i < settings_.population; ++i) {
      if (!(trial_objectives_[i] <= search_.objectives_[i])) continue;
      search_.objectives_[i] = trial_objectives_[i];
      std::copy(trials_.data() + std::size_t{i} * numbers_, trials_.data() + std::size_t{i + 1} * numbers_,
                individual(i));
    }
  }

  /// Lets what stands for an individual after this generation descend, which takes its place if that is
  /// better.
  void descend_individual(std::uint32_t i) {
    double* trial = trials_.data() + std::size_t{i} * numbers_;
    const bool crossed = trial_objectives_[i] <= search_.objectives_[i];
    const double* from = crossed ? trial : individual(i);
    double x[numbers_max + 1];
    std::copy(from, from + numbers_, x);
    centre(x);
    double stiffness = stiffness_;
    while (stiffness < 1000.0 * stiffness_) {
      descend(x, stiffness, descent_evaluations, descent_end);
      stiffness *= 16.0;
    }
    const double objective = objective_of(x);
    if (!(objective < std::min(trial_objectives_[i], search_.objectives_[i]))) return;
    trial_objectives_[i] = objective;
    std::copy(x, x + numbers_, trial);
  }

  /// Whether the objectives lie closer together than `tolerance` of their mean.
  bool converged() const {
    double sum = 0.0;
    for (const double value : search_.objectives_) sum += value;
    const double mean = sum / static_cast<double>(population());
    double squares = 0.0;
    for (const double value : search_.objectives_) squares += (value - mean) * (value - mean);
    return math::square_root(squares / static_cast<double>(population())) <= tolerance * math::absolute(mean);
  }

  // The steps.

  bool halted() const { return used_up_ || told_; }
  bool has_start() const { return search_.has_start_; }
  bool evolves() const { return settings_.method == Method::differential_evolution; }

  Draws draws_for(std::uint64_t generation, Purpose purpose) const {
    return {settings_.seed, static_cast<std::uint32_t>(state_.restart),
            static_cast<std::uint32_t>(generation), purpose};
  }

  bool is_rebuild() const { return state_.iteration % rebuild_every == rebuild_every - 1; }

  /// One step. False when it was told to stop, and then nothing of it is left.
  bool step() {
    if (state_.phase == settles) {
      Draws draws = draws_for(state_.settles, settling);
      if (move(draws))
        ++state_.settles;
      else if (!told_)
        state_.phase = over;
      return !told_;
    }
    if (state_.phase == goes && settings_.method == Method::feasible_optimize &&
        state_.iteration < iterations_ && !is_rebuild()) {
      Draws draws = draws_for(state_.iteration, moving);
      if (move(draws))
        advance();
      else if (!told_)
        close(SearchEnd::budget);
      return !told_;
    }
    const State before = state_;
    long_step();
    if (!told_) return true;
    state_ = before;
    return false;
  }

  void advance() {
    ++state_.iteration;
    ++state_.steps;
  }

  void close(SearchEnd end) {
    state_.ended = static_cast<std::uint64_t>(end);
    state_.phase = closes;
  }

  void long_step() {
    if (state_.phase == begins) {
      if (evolves())
        begin_population();
      else
        begin_chain();
      state_.phase = goes;
    } else if (state_.phase == closes) {
      close_up();
      return;
    } else if (state_.phase == squeezes) {
      settle_down();
      return;
    } else if (state_.iteration == iterations_) {
      if (settings_.method == Method::feasible_optimize && state_.restart + 1 < settings_.restarts) {
        if (state_.unpressed != 0) press();
        ++state_.restart;
        state_.iteration = 0;
        state_.phase = begins;
      } else {
        close(SearchEnd::iterations);
      }
    } else {
      if (evolves())
        generation();
      else if (settings_.method == Method::basin_hopping)
        hop();
      else
        rebuild();
      const std::uint64_t presses_at =
          settings_.method == Method::basin_hopping ? hops_a_press : rebuild_every * hops_a_press;
      if (!evolves() && state_.unpressed != 0 && (state_.iteration + 1) % presses_at == 0) press();
      if (!used_up_) advance();
      if (evolves() && !used_up_ && converged()) close(SearchEnd::converged);
    }
    if (used_up_ && state_.phase != closes) close(SearchEnd::budget);
  }

  /// Makes the best valid. Then it is squeezed, and what is left of a budget goes into moves.
  void close_up() {
    if (evolves()) {
      std::copy(individual(best_individual()), individual(best_individual()) + numbers_, state_.lowest);
      centre(state_.lowest);
    }
    if (state_.unpressed != 0) press();
    state_.phase = state_.found.radius < infinity ? squeezes : over;
  }

  void settle_down() {
    squeeze();
    const bool more = state_.ended == static_cast<std::uint64_t>(SearchEnd::budget) && !used_up_;
    if (more) settle_on(state_.found.rounded);
    state_.failures = 0;
    state_.scale = 0;
    state_.phase = more ? settles : over;
  }

  Search& search_;
  const SearchSettings& settings_;
  Search::State& state_;
  const Watch& watch_;
  const std::uint32_t count_;
  const std::uint32_t numbers_;
  const double bound_;
  const double outer_;  // where descents and moves end: a hop's bounds would cut off corners of the circle
  const std::uint64_t iterations_;
  const double stiffness_;

  const Lanes& lanes_ = best_lanes();
  alignas(row_alignment) double limits_[row_max];  // of each number's size, in a descent

  std::uint64_t limit_ = 0;
  std::uint32_t unasked_ = 0;
  bool used_up_ = false, told_ = false;
  Layout layout_, settled_;
  std::vector<double> trials_, trial_objectives_;
};

bool Search::takes(const SearchSettings& settings) {
  const auto within = [](double value, double low, double high) { return value >= low && value <= high; };
  return settings.method >= Method::feasible_optimize && settings.method <= Method::differential_evolution &&
         settings.count >= 1 && settings.count <= pieces_max &&
         within(settings.penalty, penalty_min, penalty_max) && settings.iterations <= iterations_max &&
         settings.restarts >= 1 && settings.restarts <= restarts_max &&
         settings.population >= population_min && settings.population <= population_max &&
         settings.hop_scale > 0.0 && settings.hop_scale <= hop_scale_max &&
         within(settings.temperature, 0.0, temperature_max);
}

Search::Search(const SearchSettings& settings, const double* start) : settings_(settings) {
  has_start_ = start != nullptr;
  if (has_start_) std::copy(start, start + 3 * settings.count, state_.start);
  state_.hop_scale = settings.hop_scale;
  state_.found.objective = infinity;
  state_.found.radius = infinity;
}

SearchEnd Search::run(const Watch& watch) { return Steps(*this, watch).run(); }

SearchProgress Search::progress() const {
  return {state_.evaluations, state_.steps, state_.found.objective, state_.found.radius};
}

namespace {

constexpr std::uint64_t checkpoint_name = 0x4b43415058594c43ULL;  // the bytes "CLYXPACK"
constexpr std::uint64_t checkpoint_version = 1;

/// FNV-1a over words.
std::uint64_t sum_of(const std::uint64_t* words, std::size_t count) {
  std::uint64_t sum = 0xcbf29ce484222325ULL;
  for (std::size_t i = 0; i < count; ++i) sum = (sum ^ words[i]) * 0x100000001b3ULL;
  return sum;
}

}  // namespace

std::vector<std::uint64_t> Search::head() const {
  return {checkpoint_name,
          checkpoint_version,
          static_cast<std::uint64_t>(settings_.method),
          settings_.count,
          settings_.seed,
          math::bits_of(settings_.penalty),
          settings_.iterations,
          settings_.evaluations_max,
          settings_.restarts,
          settings_.population,
          math::bits_of(settings_.hop_scale),
          math::bits_of(settings_.temperature),
          has_start_ ? 1U : 0U};
}

std::vector<unsigned char> Search::save() const {
  std::vector<std::uint64_t> words = head();
  std::uint64_t of_state[sizeof(State) / 8];
  std::memcpy(of_state, &state_, sizeof state_);
  words.insert(words.end(), std::begin(of_state), std::end(of_state));
  for (const double number : population_) words.push_back(math::bits_of(number));
  for (const double number : objectives_) words.push_back(math::bits_of(number));
  words.push_back(sum_of(words.data(), words.size()));
  std::vector<unsigned char> bytes;
  bytes.reserve(8 * words.size());
  for (const std::uint64_t word : words)
    for (std::uint32_t i = 0; i < 8; ++i) bytes.push_back(static_cast<unsigned char>(word >> (8 * i)));
  return bytes;
}

bool Search::restore(const unsigned char* bytes, std::size_t size) {
  const std::vector<std::uint64_t> expected = head();
  constexpr std::size_t state_words = sizeof(State) / 8;
  const std::size_t people = settings_.method == Method::differential_evolution ? settings_.population : 0;
  const std::size_t without = expected.size() + state_words + 1;
  const std::size_t with = without + people * (3 * std::size_t{settings_.count} + 1);
  if (size != 8 * without && size != 8 * with) return false;
  std::vector<std::uint64_t> words(size / 8);
  for (std::size_t i = 0; i < size; ++i) words[i / 8] |= std::uint64_t{bytes[i]} << (8 * (i % 8));
  if (!std::equal(expected.begin(), expected.end(), words.begin())) return false;
  if (sum_of(words.data(), words.size() - 1) != words.back()) return false;
  State state{};
  std::memcpy(&state, words.data() + expected.size(), sizeof state);
  std::vector<double> rest;
  for (std::size_t i = expected.size() + state_words; i + 1 < words.size(); ++i)
    rest.push_back(math::double_of(words[i]));

  // What is used as an index or as a layout must be one, whoever wrote the sum.
  const auto finite = [](const double* numbers, std::size_t count) {
    return std::all_of(numbers, numbers + count, math::is_finite);
  };
  if (state.phase > over || state.ended > static_cast<std::uint64_t>(SearchEnd::converged) ||
      state.scale >= std::size(move_scales) || state.restart >= settings_.restarts)
    return false;
  if (!finite(state.now, numbers_max + 1) || !finite(state.lowest, numbers_max + 1) ||
      !finite(state.settled, numbers_max) || !finite(state.found.numbers, numbers_max) ||
      !finite(state.found.rounded, numbers_max) || !finite(&state.hop_scale, 1))
    return false;
  const auto same_bits = [](double a, double b) { return math::bits_of(a) == math::bits_of(b); };
  if (!std::equal(std::begin(state.start), std::end(state.start), std::begin(state_.start), same_bits))
    return false;
  const std::size_t numbers = rest.size() - (rest.empty() ? 0 : people);
  if (!finite(rest.data(), numbers)) return false;
  if (people != 0 && rest.empty() != (state.phase == begins)) return false;
  state_ = state;
  population_.assign(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(numbers));
  objectives_.assign(rest.begin() + static_cast<std::ptrdiff_t>(numbers), rest.end());
  return true;
}

}  // namespace calyx::kernels::packing
