/// \file
/// Searches for small valid packings: feasibility-first local search, basin hopping, differential evolution.
///
/// What a search finds is a function of its settings and its start alone: the same bits on every machine,
/// however often it was stopped and went on from its checkpoint. It stands still between steps: an iteration
/// of `feasible_optimize`, a hop of `basin_hopping`, a generation of `differential_evolution`. One that is
/// told to stop gives up the step that it was in, so a checkpoint always lies between two.
///
/// Every look at a layout counts as one evaluation, whatever it costs: the objective of a layout or of one in
/// which a piece moved, a step of a descent (with its gradient), a check of rounded numbers. With a budget, a
/// search that does not end before uses all of it and no more.
///
/// Start at `Search`.
///
/// Units: as in packing_objective.hpp.
/// Threads: a search is one thread's; several are independent. No thread is started.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "calyx_kernels/packing_objective.hpp"
#include "calyx_kernels/recipe.hpp"

namespace calyx::kernels::packing {

enum class Method : std::uint32_t {
  feasible_optimize = 1,
  basin_hopping = 2,
  differential_evolution = 3,
};

inline constexpr std::uint64_t iterations_max = 1'000'000'000;
inline constexpr std::uint32_t restarts_max = 100'000;
inline constexpr std::uint32_t population_min = 5;
inline constexpr std::uint32_t population_max = 10'000;
inline constexpr double penalty_min = 1.0;
inline constexpr double penalty_max = 1e6;
inline constexpr double hop_scale_max = 2.5;
inline constexpr double temperature_max = 1e6;

/// What a search is asked for. Names and defaults are SciPy's where SciPy has them.
struct SearchSettings {
  Method method = Method::feasible_optimize;
  std::uint32_t count = pieces;  ///< How many pieces: 1 to `pieces_max`.
  std::uint64_t seed = 0;
  double penalty = penalty_default;   ///< `penalty_min` to `penalty_max`.
  std::uint64_t iterations = 0;       ///< 0: `iterations_default`; else to `iterations_max`.
  std::uint64_t evaluations_max = 0;  ///< The budget; 0: none.
  std::uint32_t restarts = 8;         ///< Of `feasible_optimize`: 1 to `restarts_max`.
  std::uint32_t population = 675;     ///< Of `differential_evolution`, as a count of individuals.
  double hop_scale = 0.1;    ///< Of `basin_hopping`: deviation of a hop; above 0, to `hop_scale_max`.
  double temperature = 1.0;  ///< Of `basin_hopping`: 0 (only downhill) to `temperature_max`.
};

/// Iterations of a restart, hops, or generations.
constexpr std::uint64_t iterations_default(Method method) {
  return method == Method::feasible_optimize ? 10'000 : method == Method::basin_hopping ? 100 : 1'000;
}

constexpr std::uint64_t iterations_of(const SearchSettings& settings) {
  return settings.iterations == 0 ? iterations_default(settings.method) : settings.iterations;
}

/// How far from 0 a coordinate may be: 2.5 for the challenge's pieces, and for more of them in proportion to
/// the circle that they fill.
CALYX_HD inline double coordinate_bound(std::uint32_t count) {
  return 2.5 * math::square_root(static_cast<double>(count) / static_cast<double>(pieces));
}

/// The best that a search has met.
struct Found {
  double objective;  ///< The smallest one; an infinity before the first.
  double numbers[numbers_max];
  /// Of the smallest layout that is valid with six decimals; an infinity before the first.
  double radius;
  double rounded[numbers_max];
};

/// How far a search is.
struct SearchProgress {
  std::uint64_t evaluations;
  std::uint64_t iterations;  ///< Steps done, over all restarts.
  double objective;          ///< As in `Found`.
  double radius;
};

/// Somebody who is asked, at least every 32 evaluations, whether to go on.
struct Watch {
  bool (*stops)(void* context, const SearchProgress& progress) = nullptr;
  void* context = nullptr;
  /// Called between two steps, where the search can be saved, once `rest_every` evaluations were made since
  /// the last time. May be null.
  void (*rests)(void* context) = nullptr;
  std::uint64_t rest_every = 0;
};

/// Whether a layout is valid as the challenge says, for any count of pieces; `evaluate` says the same of 15.
bool valid(const double* numbers, std::uint32_t count);

/// Why a search paused.
enum class Pause : std::uint32_t {
  over,   ///< Nothing is left to do.
  rests,  ///< As many evaluations were made as it was to make.
  told,   ///< To stop, in the middle of a step.
};

/// How a run came to its end.
enum class SearchEnd : std::uint32_t {
  stopped = 0,     ///< Told to stop; it can go on.
  iterations = 1,  ///< All were done.
  budget = 2,      ///< The evaluations were used up.
  converged = 3,   ///< The population came together.
};

/// Where a search stands between its steps. Its numbers never change.
enum class Phase : std::uint64_t { begins = 0, goes = 1, closes = 2, squeezes = 3, settles = 4, over = 5 };

/// What changes from step to step besides layouts: words, then doubles.
struct SearchMarks {
  Phase phase;
  std::uint64_t ended;  ///< A `SearchEnd`, once nothing but a last polish is left.
  std::uint64_t evaluations;
  std::uint64_t steps;  ///< Over all restarts.
  std::uint64_t restart;
  std::uint64_t iteration;  ///< Within the restart.
  std::uint64_t settles;    ///< Moves of the last phase.
  std::uint64_t failures;   ///< Moves in a row that were not taken.
  std::uint64_t scale;      ///< Which of the moves' scales.
  std::uint64_t accepted;   ///< Hops taken since the hops' scale was last adapted.
  std::uint64_t unpressed;  ///< 1: `lowest` is newer than the last layout pressed.
  double hop_scale;
  double energy_now;
  double energy_lowest;
  double overlap_settled;  ///< 0 where `settled` is feasible.
  double radius_settled;
};

/// Everything that changes but the population: 64 bits each, so that it is saved word by word.
struct SearchState {
  SearchMarks marks;
  double start[numbers_max];
  double now[numbers_max + 1];  ///< Where the chain of descents stands; the last number in use is a radius.
  double lowest[numbers_max + 1];  ///< The lowest that this restart's chain met.
  double settled[numbers_max];     ///< What Deb's rules compare with: six decimals.
  Found found;
};

/// Numbers of a population and its objectives, one individual after the other and then those; 0 where a
/// method has none.
constexpr std::size_t people_numbers(const SearchSettings& settings) {
  return settings.method == Method::differential_evolution
             ? std::size_t{settings.population} * (3 * std::size_t{settings.count} + 1)
             : 0;
}

/// Bytes of a checkpoint, at most.
constexpr std::size_t checkpoint_bytes(const SearchSettings& settings) {
  return sizeof(std::uint64_t) * (14 + people_numbers(settings)) + sizeof(SearchState);
}

/// Whether the populations of `chains` searches, at least one, take a GiB at most.
constexpr bool populations_fit(const SearchSettings& settings, std::uint64_t chains) {
  constexpr std::uint64_t numbers_most = (std::uint64_t{1} << 30) / sizeof(double);
  return people_numbers(settings) <= numbers_most / chains;
}

/// One search, between its first step and its last.
class Search {
 public:
  /// Whether `settings` are within their limits.
  static bool takes(const SearchSettings& settings);

  /// At its beginning. `settings` are such as `takes` takes; `start` are `3 * count` finite numbers within
  /// `coordinate_max`, or null for a start by chance. Nothing of `start` is kept by reference.
  Search(const SearchSettings& settings, const double* start);

  /// Goes on until it ends or `watch` stops it. After another end than `stopped` it does nothing more.
  SearchEnd run(const Watch& watch = {});
  /// Likewise, but rests between the first two steps before which `rest_at` evaluations were made in all.
  /// Whether `watch` has a rest of its own does not matter.
  Pause go(std::uint64_t rest_at, const Watch& watch = {});
  /// How it ended, once it is over.
  SearchEnd end() const { return static_cast<SearchEnd>(state_.marks.ended); }
  bool over() const { return state_.marks.phase == Phase::over; }

  /// The best so far. With `start` that was valid with six decimals, never worse than that.
  const Found& found() const { return state_.found; }
  SearchProgress progress() const;
  const SearchSettings& settings() const { return settings_; }
  bool has_start() const { return has_start_; }

  /// What changes, for who runs the search elsewhere, as a device does: what it leaves in both is where the
  /// search stands then. `people` is null but for `differential_evolution`.
  SearchState& state() { return state_; }
  double* people() { return people_.empty() ? nullptr : people_.data(); }

  /// What `restore` goes on from: little-endian words of 64 bits. Word 0 is the format's name, 1 its version,
  /// 2 to 11 the settings in their order, 12 whether there was a start; then the state in its order, doubles
  /// as their bits; the population, one after the other, and its objectives; and last a sum over all of it
  /// that tells a damaged one.
  std::vector<unsigned char> save() const;
  /// Puts the search where the checkpoint was taken. False, and nothing changed, for bytes that are none of a
  /// search with these very settings and this start.
  bool restore(const unsigned char* bytes, std::size_t size);

 private:
  /// The words that a checkpoint begins with.
  std::vector<std::uint64_t> head() const;

  SearchSettings settings_;
  bool has_start_ = false;
  SearchState state_;
  std::vector<double> people_;  // the population and its objectives; not written before it begins
};

inline constexpr Recipe packing_feasible_recipe{"packing", "feasible_optimize", Exactness::exact};
inline constexpr Recipe packing_hopping_recipe{"packing", "basin_hopping", Exactness::exact};
inline constexpr Recipe packing_evolution_recipe{"packing", "differential_evolution", Exactness::exact};

}  // namespace calyx::kernels::packing
