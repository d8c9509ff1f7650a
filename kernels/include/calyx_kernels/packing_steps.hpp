/// \file
/// The steps of a search for packings, by one thread of a host or by a device's warp: the same bits.
///
/// A search stands still between steps: an iteration of `feasible_optimize`, a hop of `basin_hopping`, a
/// generation of `differential_evolution`. What is between two of them is in a `SearchState`; a step that is
/// told to stop leaves there what was before it.
///
/// Start at `Steps`, whose code follows the rules of packing_crew.hpp.
///
/// Units: as in packing_objective.hpp.
/// Threads: a search is one crew's; several are independent.

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "calyx_kernels/elementary.hpp"
#include "calyx_kernels/host_device.hpp"
#include "calyx_kernels/packing_crew.hpp"
#include "calyx_kernels/packing_lanes.hpp"
#include "calyx_kernels/packing_search.hpp"
#include "calyx_kernels/philox.hpp"

namespace calyx::kernels::packing {

/// How many scales moves have.
inline constexpr std::uint32_t move_scales = 8;

/// The radius of a layout that is valid, or an infinity.
template <class Crew = Alone>
CALYX_HD_APART inline double valid_radius(Layout& layout, const double* numbers, std::uint32_t count,
                                          const Crew& crew = {}) {
  layout.set(numbers, count, crew);
  if (!layout.feasible() || !contains(layout.support(crew).circle, layout.all(), count))
    return std::numeric_limits<double>::infinity();
  return layout.radius(crew);
}

/// A place of a descent, and the gradient there: rows of lanes.
struct DescentPlace {
  alignas(row_alignment) double numbers[row_max];
  alignas(row_alignment) double gradient[row_max];
};

/// What a crew shares while it takes steps. Nothing in it outlasts a step but `settled`, which is set up from
/// the state. What is in it at first does not matter.
struct Workspace {
  DescentPlace places[2];
  Memory memory;
  alignas(row_alignment) double way[row_max];
  alignas(row_alignment) double limits[row_max];  ///< Of each number's size, in a descent.
  SearchState before;                             ///< A step that is told to stop goes back there.
  Layout layout, settled;
  Layout::Before undo[2];
  double x[numbers_max + 1];  ///< What a step makes of a layout, and its radius.
  double rounded[numbers_max];
  double spread[numbers_max];
  double allowed[pairs_max];
};

/// Where a population lies: the individuals one after the other, and behind them their objectives.
struct People {
  double* now;     ///< The population.
  double* trials;  ///< What a generation would put in its place; what is in it at first does not matter.
};

/// A search at work. `Crew` is as packing_crew.hpp has it, with a descent's sums (`LanesCrew`); `Asks` has
/// `stops(progress)`, and `every`, the evaluations between two such questions.
template <class Crew, class Asks>
class Steps {
 public:
  /// All that is handed in outlives it. Both of `people` have `people_numbers`; nobody looks at them where
  /// that is 0.
  CALYX_HD Steps(const SearchSettings& settings, bool has_start, SearchState& state, Workspace& work,
                 const People& people, const Crew& crew, const Asks& asks)
      : settings_(settings),
        has_start_(has_start),
        state_(state),
        work_(work),
        people_(people),
        crew_(crew),
        asks_(asks),
        count_(settings.count),
        numbers_(3 * settings.count),
        bound_(coordinate_bound(settings.count)),
        outer_(outer_part * bound_),
        iterations_(iterations_of(settings)),
        stiffness_(softness * settings.penalty),
        at_(state.marks) {
    const std::uint32_t numbers = numbers_;
    const double outer = outer_;
    double* const limits = work_.limits;
    crew_.each(row_max, [=](std::uint32_t i) { limits[i] = i < numbers && i % 3 != 2 ? outer : infinity; });
    if (at_.phase != Phase::over && (!evolves() || at_.phase == Phase::settles))
      work_.settled.set(state_.settled, count_, crew_);
  }

  /// Goes on until the search is over, is told to stop, or has made `rest_at` evaluations in all and is
  /// between two steps. Leaves in the state where it stands.
  CALYX_HD Pause go(std::uint64_t rest_at) {
    Pause pause = Pause::over;
    while (at_.phase != Phase::over) {
      limit_ = settings_.evaluations_max;
      if (limit_ != 0 && at_.phase < Phase::closes) limit_ -= reserve_of(limit_);
      used_up_ = false;
      if (!step()) {
        pause = Pause::told;
        break;
      }
      if (at_.phase == Phase::over || at_.evaluations < rest_at) continue;
      pause = Pause::rests;
      break;
    }
    crew_.once([&] { state_.marks = at_; });
    return pause;
  }

 private:
  /// What random numbers are drawn for: the last word of their place.
  enum Purpose : std::uint32_t { beginning, moving, hopping, settling, crossing };

  static constexpr double infinity = std::numeric_limits<double>::infinity();

  /// Descents and moves may leave the bounds of hops by so much: the best packing known has a centre 2.774
  /// from the middle.
  static constexpr double outer_part = 1.2;

  /// How stiff contacts are while a chain hops, in penalties: soft enough that pieces pass through each
  /// other.
  static constexpr double softness = 0.2;
  static constexpr double stiffness_last = 2e6;
  static constexpr std::uint32_t descent_evaluations = 240, first_evaluations = 700, press_evaluations = 400;
  static constexpr std::uint32_t squeeze_rounds = 24;
  static constexpr double squeeze_first = 1e-6, squeeze_stiffness = 1e6, squeeze_margin = 5e-7;
  /// The largest part of a gradient that counts as none.
  static constexpr double descent_end = 1e-4, press_end = 1e-6;

  /// Every eighth iteration of `feasible_optimize` takes pieces out and puts them elsewhere.
  static constexpr std::uint64_t rebuild_every = 8;
  /// How much worse a rebuilt layout may be and still be taken, in the mean.
  static constexpr double rebuild_temperature = 0.003;
  /// After so many hops the lowest layout is made valid, if it is new.
  static constexpr std::uint64_t hops_a_press = 32;
  /// A gain in energy below this is no gain.
  static constexpr double gain_min = 1e-6;

  static constexpr std::uint64_t failures_max = 5'000;

  static constexpr std::uint64_t adapt_every = 50;
  static constexpr double adapt_factor = 0.9, accept_rate = 0.5;  // SciPy's

  static constexpr double crossover = 0.7, tolerance = 0.01;
  /// In a generation one individual descends, and one more for so many.
  static constexpr std::uint32_t individuals_a_descent = 200;

  /// Deviation of a move. They have their turns; the last two are for layouts that hardly move any more.
  CALYX_HD static double move_scale(std::uint64_t turn) {
    constexpr double scales[move_scales] = {0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 1e-4, 1e-5};
    return scales[turn];
  }

  /// How much of a budget is kept for making the best valid.
  CALYX_HD static std::uint64_t reserve_of(std::uint64_t budget) {
    return budget / 4 < 12'000 ? budget / 4 : 12'000;
  }

  /// `angle` within [-pi, pi), to rounding.
  CALYX_HD static double wrapped(double angle) {
    if (angle >= -math::pi && angle < math::pi) return angle;
    return angle - 2.0 * math::pi * std::floor((angle + math::pi) / (2.0 * math::pi));
  }

  CALYX_HD static double smaller(double a, double b) { return b < a ? b : a; }
  CALYX_HD static double larger(double a, double b) { return a < b ? b : a; }
  CALYX_HD static double clipped(double value, double bound) { return smaller(larger(value, -bound), bound); }

  CALYX_HD void copy(const double* from, std::uint32_t numbers, double* to) const {
    crew_.each(numbers, [=](std::uint32_t i) { to[i] = from[i]; });
  }

  // Evaluations.

  /// Counts one more. False when there is none left, or the search was told to stop: then nothing was done.
  CALYX_HD bool spend() {
    if (used_up_ || told_) return false;
    if (limit_ != 0 && at_.evaluations >= limit_) {
      used_up_ = true;
      return false;
    }
    if (++unasked_ >= asks_.every) {
      unasked_ = 0;
      const auto stops = [&] {
        return asks_.stops({at_.evaluations, at_.steps, state_.found.objective, state_.found.radius});
      };
      if (crew_.agreed(stops)) {
        told_ = true;
        return false;
      }
    }
    ++at_.evaluations;
    return true;
  }

  /// The objective of `numbers`, which is kept when it is the best; an infinity when it could not be counted,
  /// or is plainly larger than `bar`.
  CALYX_HD_APART double objective_of(const double* numbers, double bar = infinity) {
    if (!spend()) return infinity;
    if (!work_.layout.set_below(numbers, count_, settings_.penalty, bar, crew_)) return infinity;
    const double objective = work_.layout.objective(settings_.penalty, crew_);
    if (objective < state_.found.objective) {
      copy(numbers, numbers_, state_.found.numbers);
      crew_.once([&] { state_.found.objective = objective; });
    }
    return objective;
  }

  /// The radius of rounded numbers, which are kept when they are the smallest valid ones; an infinity when
  /// they are not valid, or could not be counted.
  CALYX_HD_APART double judge(const double* rounded) {
    if (!spend()) return infinity;
    const double radius = valid_radius(work_.layout, rounded, count_, crew_);
    if (radius < infinity) keep_valid(rounded, radius);
    return radius;
  }

  CALYX_HD_APART void keep_valid(const double* rounded, double radius) {
    if (!(radius < state_.found.radius)) return;
    copy(rounded, numbers_, state_.found.rounded);
    crew_.once([&] { state_.found.radius = radius; });
  }

  // Descents.

  CALYX_HD static void project(double* x, std::uint32_t i, double bound) {
    if (i % 3 != 2) x[i] = clipped(x[i], bound);
  }

  /// Follows the energy downhill from `x`, whose last number is the radius, by a limited-memory quasi-Newton
  /// method with steps cut to the bounds; returns the energy there, or an infinity when nothing was counted.
  CALYX_HD_APART double descend(double* x, double stiffness, std::uint32_t evaluations, double end,
                                const double* allowed = nullptr) {
    const double value = follow(x, stiffness, evaluations, end, allowed);
    crew_.each(count_, [=](std::uint32_t i) { x[3 * i + 2] = wrapped(x[3 * i + 2]); });
    return value;
  }

  CALYX_HD double follow(double* x, double stiffness, std::uint32_t evaluations, double end,
                         const double* allowed) {
    const std::uint32_t n = numbers_ + 1;
    DescentPlace* here = work_.places;
    crew_.each(row_max, [=](std::uint32_t i) {
      here[0].numbers[i] = i < n ? x[i] : 0.0;
      here[0].gradient[i] = here[1].numbers[i] = here[1].gradient[i] = 0.0;
    });
    if (!spend()) return infinity;
    const double value = go_down(here, work_.places + 1, stiffness, evaluations, end, allowed);
    copy(here->numbers, n, x);
    return value;
  }

  /// Leaves `here` at the place of the value that it returns.
  CALYX_HD_APART double go_down(DescentPlace*& here, DescentPlace* next, double stiffness,
                                std::uint32_t evaluations, double end, const double* allowed) {
    constexpr double longest = 0.3;  // that any number goes in a step
    const std::uint32_t n = numbers_ + 1;
    const std::uint32_t row = row_of(n);
    Memory& memory = work_.memory;
    double* const way = work_.way;
    crew_.begin_descent();
    forget(memory);
    double value = crew_.energy(here->numbers, count_, stiffness, here->gradient, allowed);
    while (crew_.largest(here->gradient, row) >= end) {
      const Heading heading = crew_.heading(memory, here->gradient, stiffness, row, way);
      if (!(heading.slope > 0.0)) {
        if (memory.held == 0) break;
        forget(memory);
        continue;
      }
      double length = heading.largest > longest ? longest / heading.largest : 1.0;
      bool taken = false;
      double next_value = 0.0;
      for (std::uint32_t trial = 0; trial < 20 && !taken; ++trial) {
        if (trial > 0) length *= 0.5;
        if (evaluations-- == 0 || !spend()) return value;
        const double expected =
            crew_.step(here->numbers, length, way, work_.limits, here->gradient, n, row, next->numbers);
        next_value = crew_.energy(next->numbers, count_, stiffness, next->gradient, allowed);
        taken = expected > 0.0 && next_value <= value - 1e-4 * expected;
      }
      if (!taken) {
        if (memory.held == 0) break;
        forget(memory);
        continue;
      }
      crew_.remember(memory, here->numbers, next->numbers, here->gradient, next->gradient, row);
      DescentPlace* const left = here;
      here = next;
      next = left;
      value = next_value;
    }
    return value;
  }

  CALYX_HD void forget(Memory& memory) const {
    crew_.once([&] { memory.held = memory.head = 0; });
  }

  /// Puts the middle of the circle at the origin, where the energy has it, and writes the radius behind.
  CALYX_HD_APART void centre(double* x) {
    work_.layout.set(x, count_, crew_);
    const Circle circle = work_.layout.support(crew_).circle;
    const double outer = outer_;
    const std::uint32_t last = numbers_;
    const double radius = smaller(circle.radius, 1.3 * bound_);
    crew_.each(last + 1, [=](std::uint32_t i) {
      if (i == last) {
        x[i] = radius;
        return;
      }
      if (i % 3 == 2) return;
      x[i] -= i % 3 == 0 ? circle.centre.x : circle.centre.y;
      project(x, i, outer);
    });
  }

  /// Moves the pieces of `x` apart until the rounded layout is valid, and no further than that takes. Writes
  /// that layout and returns its radius, or an infinity.
  ///
  /// Every centre goes outwards and, by a third of that, to where its piece looks: the first alone would not
  /// part two flat sides whose centres have passed each other, and with both every kind of contact opens.
  CALYX_HD_APART double spread(const double* x, double* out) {
    double* const rounded = work_.spread;
    double best = infinity;
    const auto fits = [&](double by) {
      crew_.each(count_, [=](std::uint32_t i) {
        const double* at = x + 3 * i;
        const math::Unit facing = math::direction(at[2]);
        rounded[3 * i] = round6(at[0] * (1.0 + 3.0 * by) + by * facing.x);
        rounded[3 * i + 1] = round6(at[1] * (1.0 + 3.0 * by) + by * facing.y);
        rounded[3 * i + 2] = round6(wrapped(at[2]));
      });
      const double radius = judge(rounded);
      if (!(radius < infinity)) return false;
      best = radius;
      copy(rounded, numbers_, out);
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
  CALYX_HD_APART void press() {
    double* const x = work_.x;
    double* const rounded = work_.rounded;
    copy(state_.lowest, numbers_ + 1, x);
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
    if (!halted()) at_.unpressed = 0;
  }

  /// Makes the best valid layout smaller by what the challenge lets every pair share: each pair is let in by
  /// as much as gives it that area, less what rounding may add.
  CALYX_HD_APART void squeeze() {
    double* const x = work_.x;
    double* const rounded = work_.rounded;
    double* const allowed = work_.allowed;
    copy(state_.found.rounded, numbers_, x);
    centre(x);
    crew_.each(pairs_max, [=](std::uint32_t i) { allowed[i] = squeeze_first; });
    for (std::uint32_t round = 0; round < squeeze_rounds; ++round) {
      descend(x, squeeze_stiffness, descent_evaluations, press_end, allowed);
      if (!spend()) return;
      const Layout& layout = work_.layout;
      work_.layout.set(x, count_, crew_);
      const std::uint32_t count = count_;
      crew_.each_pair(count, [=, &layout](std::uint32_t i, std::uint32_t j) {
        const double area = layout.pair_area(i, j);
        if (area == 0.0) return;
        // What a step of one unit would add: rounding is up to half a millionth of it, for each of the two.
        const double edge = length(overlap_gradient(layout.piece(i), layout.piece(j)).step);
        const double wanted = larger(overlap_area_max - squeeze_margin * edge, 0.2 * overlap_area_max);
        // Area grows with the depth between flat sides, its square at a corner, and in between where arcs
        // meet.
        const double factor = math::square_root(wanted / area);
        double& depth = allowed[pair_index(i, j, count)];
        // Who does not lean on the other yet is let in no further.
        const bool leans = -gap(layout.piece(i), layout.piece(j)).distance > 0.9 * depth;
        if (factor < 1.0 || leans) depth *= smaller(larger(factor, 0.25), 4.0);
      });
    }
    offer(rounded, spread(x, rounded));
  }

  // What Deb's rules compare: what is feasible comes before what is not, less overlap before more, and of two
  // that are feasible the smaller first.

  /// Takes a valid layout where it is better than the one settled on.
  CALYX_HD_APART void offer(const double* rounded, double radius) {
    if (!(radius < infinity) || settings_.method != Method::feasible_optimize) return;
    if (at_.overlap_settled > 0.0 || radius < at_.radius_settled) settle_on(rounded);
  }

  CALYX_HD_APART void settle_on(const double* rounded) {
    copy(rounded, numbers_, state_.settled);
    work_.settled.set(rounded, count_, crew_);
    at_.overlap_settled = overlap_of_settled();
    at_.radius_settled = work_.settled.radius(crew_);
  }

  CALYX_HD double overlap_of_settled() const {
    return work_.settled.feasible() ? 0.0 : work_.settled.overlap_total();
  }

  /// Moves a piece or two of the layout settled on, and keeps that when Deb's rules find it no worse. False
  /// when it could not be counted.
  CALYX_HD_APART bool move(Draws& draws) {
    if (!spend()) return false;
    Layout& settled = work_.settled;
    const double chance = draws.uniform();
    const double scale = move_scale(at_.scale);
    const std::uint32_t moved = chance >= 0.95 && count_ > 1 ? 2 : 1;
    std::uint32_t piece[2] = {draws.below(count_), 0};
    piece[1] = moved == 2 ? (piece[0] + 1 + draws.below(count_ - 1)) % count_ : 0;
    double numbers[2][3];
    for (std::uint32_t n = 0; n < moved; ++n) {
      double* at = numbers[n];
      for (std::uint32_t i = 0; i < 3; ++i) at[i] = state_.settled[3 * piece[n] + i];
      const bool all = moved == 2 || chance < 0.5;
      const auto shifted = [&](double from) {
        return round6(clipped(from + scale * draws.normal(), outer_));
      };
      if (all || chance < 0.7) at[0] = shifted(at[0]);
      if (all || (chance >= 0.7 && chance < 0.85)) at[1] = shifted(at[1]);
      if (all || chance >= 0.85) at[2] = round6(wrapped(at[2] + scale * draws.normal()));
      settled.move(piece[n], piece_at(at[0], at[1], at[2]), work_.undo[n], crew_);
    }
    const double overlap = overlap_of_settled();
    const bool taken =
        overlap < at_.overlap_settled ||
        (overlap == at_.overlap_settled && (overlap > 0.0 || settled.radius(crew_) <= at_.radius_settled));
    if (!taken) {
      for (std::uint32_t n = moved; n-- > 0;) settled.undo(work_.undo[n], crew_);
      if (++at_.failures >= failures_allowed()) {
        at_.failures = 0;
        at_.scale = (at_.scale + 1) % move_scales;
      }
      return true;
    }
    const bool better = overlap < at_.overlap_settled || settled.radius(crew_) < at_.radius_settled;
    if (better) at_.failures = 0;
    crew_.once([&] {
      for (std::uint32_t n = 0; n < moved; ++n)
        for (std::uint32_t i = 0; i < 3; ++i) state_.settled[3 * piece[n] + i] = numbers[n][i];
    });
    at_.overlap_settled = overlap;
    at_.radius_settled = settled.radius(crew_);
    if (overlap == 0.0) keep_valid(state_.settled, at_.radius_settled);
    return true;
  }

  /// A short search tries all scales, too.
  CALYX_HD std::uint64_t failures_allowed() const {
    const std::uint64_t part = 1 + iterations_ / 16;
    return part < failures_max ? part : failures_max;
  }

  // Chains of descents.

  CALYX_HD_APART void draw_numbers(double* x) const {
    Draws draws = draws_for(0, beginning);
    for (std::uint32_t i = 0; i < numbers_; ++i)
      x[i] = i % 3 == 2 ? draws.uniform(-math::pi, math::pi) : draws.uniform(-0.8 * bound_, 0.8 * bound_);
  }

  /// The first point of a chain: what was given, or one by chance, and down from there.
  CALYX_HD_APART void begin_chain() {
    double* const rounded = work_.rounded;
    at_.overlap_settled = infinity;
    at_.radius_settled = infinity;
    at_.failures = 0;
    at_.scale = 0;
    at_.accepted = 0;
    at_.hop_scale = settings_.hop_scale;
    if (at_.restart == 0 && has_start_) {
      copy(state_.start, numbers_, state_.now);
      objective_of(state_.now);
      round_to(state_.start, rounded);
      offer(rounded, judge(rounded));
    } else {
      crew_.once([&] { draw_numbers(state_.now); });
      objective_of(state_.now);
    }
    centre(state_.now);
    at_.energy_now = descend(state_.now, stiffness_, first_evaluations, descent_end);
    at_.energy_lowest = at_.energy_now;
    copy(state_.now, numbers_ + 1, state_.lowest);
    at_.unpressed = 1;
    objective_of(state_.now);
    if (settings_.method != Method::feasible_optimize || halted()) return;
    if (at_.overlap_settled < infinity) return;
    const double* const now = state_.now;
    crew_.each(numbers_,
               [=](std::uint32_t i) { rounded[i] = round6(i % 3 == 2 ? wrapped(now[i]) : now[i]); });
    if (spend()) settle_on(rounded);
  }

  CALYX_HD_APART void round_to(const double* numbers, double* rounded) const {
    crew_.each(numbers_, [=](std::uint32_t i) { rounded[i] = round6(numbers[i]); });
  }

  /// Descends from `x` and goes there, or stays, as Metropolis has it. True when it went.
  CALYX_HD_APART bool hop_to(double* x, double temperature, Draws& draws) {
    const double chance = draws.uniform();
    const double energy_there = descend(x, stiffness_, descent_evaluations, descent_end);
    objective_of(x);
    if (halted() && !(energy_there < at_.energy_lowest)) return false;
    const double rise = energy_there - at_.energy_now;
    bool taken = rise <= 0.0;
    if (!taken && temperature > 0.0) taken = chance < math::exponential(-rise / temperature);
    if (taken) {
      at_.energy_now = energy_there;
      copy(x, numbers_ + 1, state_.now);
    }
    if (energy_there < at_.energy_lowest - gain_min) {
      at_.energy_lowest = energy_there;
      copy(x, numbers_ + 1, state_.lowest);
      at_.unpressed = 1;
    }
    return taken;
  }

  /// Takes pieces of `x` out and puts them elsewhere, in one of a few ways.
  CALYX_HD_APART void scatter(Draws& draws, double* x) const {
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
      for (std::uint32_t i = 0; i < 2; ++i) {
        const double from = one[i];
        one[i] = other[i];
        other[i] = from;
      }
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
  }

  CALYX_HD_APART void rebuild() {
    Draws draws = draws_for(at_.iteration, hopping);
    // Each lane has a copy of its own: what is drawn here is drawn by all.
    double x[numbers_max + 1];
    for (std::uint32_t i = 0; i <= numbers_; ++i) x[i] = state_.now[i];
    scatter(draws, x);
    put_projected(x);
    hop_to(work_.x, rebuild_temperature, draws);
  }

  CALYX_HD_APART void hop() {
    Draws draws = draws_for(at_.iteration, hopping);
    double x[numbers_max + 1];
    for (std::uint32_t i = 0; i < numbers_; ++i) x[i] = state_.now[i] + at_.hop_scale * draws.normal();
    x[numbers_] = state_.now[numbers_];
    put_projected(x);
    if (hop_to(work_.x, settings_.temperature, draws)) ++at_.accepted;
    if ((at_.iteration + 1) % adapt_every != 0) return;
    const double rate = static_cast<double>(at_.accepted) / static_cast<double>(adapt_every);
    at_.accepted = 0;
    if (rate > accept_rate)
      at_.hop_scale = smaller(at_.hop_scale / adapt_factor, hop_scale_max);
    else
      at_.hop_scale *= adapt_factor;
  }

  /// Puts a lane's own numbers where a hop descends from, within the bounds of hops.
  CALYX_HD void put_projected(const double* x) {
    double* const out = work_.x;
    const double bound = bound_;
    const std::uint32_t last = numbers_;
    crew_.each(last + 1, [=](std::uint32_t i) {
      out[i] = x[i];
      if (i < last) project(out, i, bound);
    });
  }

  // Differential evolution.

  CALYX_HD std::uint32_t population() const { return settings_.population; }
  CALYX_HD double* individual(std::uint32_t i) const { return people_.now + std::size_t{i} * numbers_; }
  CALYX_HD double* objectives() const { return individual(population()); }
  CALYX_HD double* trial(std::uint32_t i) const { return people_.trials + std::size_t{i} * numbers_; }
  CALYX_HD double* trial_objectives() const { return trial(population()); }

  CALYX_HD std::uint32_t best_individual() const {
    std::uint32_t best = 0;
    for (std::uint32_t i = 1; i < population(); ++i)
      if (objectives()[i] < objectives()[best]) best = i;
    return best;
  }

  /// A latin hypercube, and around the start, if there is one, an eighth of the population.
  CALYX_HD_APART void begin_population() {
    double* const rounded = work_.rounded;
    crew_.each(numbers_, [&](std::uint32_t j) { draw_column(j); });
    crew_.each(population(), [&](std::uint32_t i) { objectives()[i] = infinity; });
    if (has_start_) {
      crew_.once([&] { draw_around_start(); });
      round_to(state_.start, rounded);
      judge(rounded);
    }
    for (std::uint32_t i = 0; i < population() && !halted(); ++i) {
      const double objective = objective_of(individual(i));
      crew_.once([&] { objectives()[i] = objective; });
    }
    at_.unpressed = 1;
  }

  /// The j-th number of everybody: one of each of as many slices as there are individuals.
  CALYX_HD_APART void draw_column(std::uint32_t j) const {
    Draws draws = draws_for(j, beginning);
    double* const column = people_.now + j;
    const auto at = [&](std::uint32_t i) -> double& { return column[std::size_t{i} * numbers_]; };
    for (std::uint32_t i = 0; i < population(); ++i) at(i) = static_cast<double>(i);
    for (std::uint32_t i = population(); i > 1; --i) {
      double& other = at(draws.below(i));
      const double slice = at(i - 1);
      at(i - 1) = other;
      other = slice;
    }
    const double half = j % 3 == 2 ? math::pi : bound_;
    for (std::uint32_t i = 0; i < population(); ++i)
      at(i) = half * (2.0 * (at(i) + draws.uniform()) / static_cast<double>(population()) - 1.0);
  }

  CALYX_HD_APART void draw_around_start() const {
    Draws draws = draws_for(numbers_max, beginning);
    const std::uint32_t seeded = population() / 8 > 1 ? population() / 8 : 1;
    for (std::uint32_t i = 0; i < seeded; ++i)
      for (std::uint32_t j = 0; j < numbers_; ++j) {
        const double value = state_.start[j] + (i == 0 ? 0.0 : settings_.hop_scale * draws.normal());
        individual(i)[j] = i == 0 ? value : j % 3 == 2 ? wrapped(value) : clipped(value, bound_);
      }
  }

  /// best/1/bin for everybody, from the population as it was; then a few of them descend.
  CALYX_HD_APART void generation() {
    const auto turn = static_cast<std::uint32_t>(at_.iteration);
    const std::uint32_t best = best_individual();
    Draws dither(settings_.seed, 1, turn, crossing);
    const double factor = dither.uniform(0.5, 1.0);
    crew_.each(population(), [&](std::uint32_t i) {
      trial_objectives()[i] = infinity;
      cross(i, best, factor, turn);
    });
    for (std::uint32_t i = 0; i < population() && !halted(); ++i) {
      const double objective = objective_of(trial(i), objectives()[i]);
      crew_.once([&] { trial_objectives()[i] = objective; });
    }
    Draws draws(settings_.seed, 3, turn, crossing);
    for (std::uint32_t i = 0; i <= population() / individuals_a_descent && !halted(); ++i) {
      // The best is among them every other time: it may not have descended yet.
      const std::uint32_t chance = draws.below(population());
      descend_individual(i == 0 && turn % 2 == 0 ? best : chance);
    }
    if (told_) return;
    crew_.each(population(), [&](std::uint32_t i) {
      if (!(trial_objectives()[i] <= objectives()[i])) return;
      objectives()[i] = trial_objectives()[i];
      for (std::uint32_t j = 0; j < numbers_; ++j) individual(i)[j] = trial(i)[j];
    });
  }

  /// Writes the i-th trial of a generation.
  CALYX_HD_APART void cross(std::uint32_t i, std::uint32_t best, double factor, std::uint32_t turn) const {
    Draws draws(settings_.seed, 2, turn, i);
    std::uint32_t first = draws.below(population() - 1);
    first += first >= i ? 1U : 0U;
    std::uint32_t second = draws.below(population() - 2);
    second += second >= (i < first ? i : first) ? 1U : 0U;
    second += second >= (i < first ? first : i) ? 1U : 0U;
    const std::uint32_t always = draws.below(numbers_);
    std::uint64_t word = 0;  // two of its halves decide about two numbers
    double* const out = trial(i);
    for (std::uint32_t j = 0; j < numbers_; ++j) {
      word = j % 2 == 0 ? draws.next() : word >> 32;
      const bool crosses = static_cast<double>(word & 0xffffffffU) * 0x1p-32 < crossover;
      if (!crosses && j != always) {
        out[j] = individual(i)[j];
        continue;
      }
      const double value = individual(best)[j] + factor * (individual(first)[j] - individual(second)[j]);
      if (j % 3 == 2)
        out[j] = wrapped(value);
      else
        out[j] = math::absolute(value) <= bound_ ? value : draws.uniform(-bound_, bound_);
    }
  }

  /// Lets what stands for an individual after this generation descend, which takes its place if that is
  /// better.
  CALYX_HD_APART void descend_individual(std::uint32_t i) {
    const bool crossed = trial_objectives()[i] <= objectives()[i];
    double* const x = work_.x;
    copy(crossed ? trial(i) : individual(i), numbers_, x);
    centre(x);
    double stiffness = stiffness_;
    while (stiffness < 1000.0 * stiffness_) {
      descend(x, stiffness, descent_evaluations, descent_end);
      stiffness *= 16.0;
    }
    const double objective = objective_of(x);
    if (!(objective < smaller(trial_objectives()[i], objectives()[i]))) return;
    crew_.once([&] { trial_objectives()[i] = objective; });
    copy(x, numbers_, trial(i));
  }

  /// Whether the objectives lie closer together than `tolerance` of their mean.
  CALYX_HD_APART bool converged() const {
    double sum = 0.0;
    for (std::uint32_t i = 0; i < population(); ++i) sum += objectives()[i];
    const double mean = sum / static_cast<double>(population());
    double squares = 0.0;
    for (std::uint32_t i = 0; i < population(); ++i)
      squares += (objectives()[i] - mean) * (objectives()[i] - mean);
    return math::square_root(squares / static_cast<double>(population())) <= tolerance * math::absolute(mean);
  }

  // The steps.

  CALYX_HD bool halted() const { return used_up_ || told_; }
  CALYX_HD bool evolves() const { return settings_.method == Method::differential_evolution; }

  CALYX_HD Draws draws_for(std::uint64_t generation, Purpose purpose) const {
    return {settings_.seed, static_cast<std::uint32_t>(at_.restart), static_cast<std::uint32_t>(generation),
            purpose};
  }

  CALYX_HD bool is_rebuild() const { return at_.iteration % rebuild_every == rebuild_every - 1; }

  /// One step. False when it was told to stop, and then nothing of it is left.
  CALYX_HD bool step() {
    if (at_.phase == Phase::settles) {
      Draws draws = draws_for(at_.settles, settling);
      if (move(draws))
        ++at_.settles;
      else if (!told_)
        at_.phase = Phase::over;
      return !told_;
    }
    if (at_.phase == Phase::goes && settings_.method == Method::feasible_optimize &&
        at_.iteration < iterations_ && !is_rebuild()) {
      Draws draws = draws_for(at_.iteration, moving);
      if (move(draws))
        advance();
      else if (!told_)
        close(SearchEnd::budget);
      return !told_;
    }
    const SearchMarks before = at_;
    crew_.once([&] { work_.before = state_; });
    long_step();
    if (!told_) return true;
    at_ = before;
    crew_.once([&] { state_ = work_.before; });
    return false;
  }

  CALYX_HD void advance() {
    ++at_.iteration;
    ++at_.steps;
  }

  CALYX_HD void close(SearchEnd end) {
    at_.ended = static_cast<std::uint64_t>(end);
    at_.phase = Phase::closes;
  }

  CALYX_HD void long_step() {
    if (at_.phase == Phase::begins) {
      if (evolves())
        begin_population();
      else
        begin_chain();
      at_.phase = Phase::goes;
    } else if (at_.phase == Phase::closes) {
      close_up();
      return;
    } else if (at_.phase == Phase::squeezes) {
      settle_down();
      return;
    } else if (at_.iteration == iterations_) {
      if (settings_.method == Method::feasible_optimize && at_.restart + 1 < settings_.restarts) {
        if (at_.unpressed != 0) press();
        ++at_.restart;
        at_.iteration = 0;
        at_.phase = Phase::begins;
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
      if (!evolves() && at_.unpressed != 0 && (at_.iteration + 1) % presses_at == 0) press();
      if (!used_up_) advance();
      if (evolves() && !used_up_ && converged()) close(SearchEnd::converged);
    }
    if (used_up_ && at_.phase != Phase::closes) close(SearchEnd::budget);
  }

  /// Makes the best valid. Then it is squeezed, and what is left of a budget goes into moves.
  CALYX_HD_APART void close_up() {
    if (evolves()) {
      copy(individual(best_individual()), numbers_, state_.lowest);
      centre(state_.lowest);
    }
    if (at_.unpressed != 0) press();
    at_.phase = state_.found.radius < infinity ? Phase::squeezes : Phase::over;
  }

  CALYX_HD_APART void settle_down() {
    squeeze();
    const bool more = at_.ended == static_cast<std::uint64_t>(SearchEnd::budget) && !used_up_;
    if (more) settle_on(state_.found.rounded);
    at_.failures = 0;
    at_.scale = 0;
    at_.phase = more ? Phase::settles : Phase::over;
  }

  const SearchSettings& settings_;
  const bool has_start_;
  SearchState& state_;
  Workspace& work_;
  const People people_;
  const Crew crew_;
  const Asks asks_;
  const std::uint32_t count_;
  const std::uint32_t numbers_;
  const double bound_;
  const double outer_;  // where descents and moves end: a hop's bounds would cut off corners of the circle
  const std::uint64_t iterations_;
  const double stiffness_;

  SearchMarks at_;  // every lane's own: the state has them between two calls of `go`
  std::uint64_t limit_ = 0;
  std::uint32_t unasked_ = 0;
  bool used_up_ = false, told_ = false;
};

}  // namespace calyx::kernels::packing
