/// \file
/// Packings of unit semicircles, without a market: verdicts on them, and searches for small ones, as the
/// recipe `packing` does both.
///
/// Start at `evaluate` and `search`. A candidate is three numbers a piece: x, y and direction (radians, of
/// the curved side), one piece after the other. A verdict rounds no number, as the scorer's library has it
/// (its command line rounds to 6 decimals first, and so does the recipe's `rounded`).
///
/// Threads: any, at any time; nothing is shared. None is started but those that a search may use, which end
/// with its call, and a device's driver's own.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/device.hpp>
#include <calyx/version.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::packing {

inline constexpr std::size_t pieces = 15;
inline constexpr std::size_t candidate_numbers = 3 * pieces;

struct Verdict {
  bool valid = false;  ///< No pair shares more than 1e-6, and all pieces lie in the circle.
  double score = 0.0;  ///< The radius of the smallest circle around all pieces; smaller is better.
  double centre_x = 0.0;
  double centre_y = 0.0;
  double overlap_total = 0.0;           ///< The areas that pairs share, added.
  double overlap_max = 0.0;             ///< The largest of them.
  std::uint32_t overlapping_pairs = 0;  ///< Those that share more than 1e-6.
};

using calyx::Device;

/// Which areas decide whether two pieces overlap, and are added.
enum class Areas : std::uint8_t {
  exact,    ///< The pieces' own.
  polygon,  ///< Those of polygons drawn into the pieces, 4,096 points on each arc, as the scorer has them.
};

/// Judges one candidate, on the CPU: in some microseconds, and by polygons in some milliseconds. Fails:
/// `field_value`: not 45 numbers, one that is not finite, or a coordinate beyond 10^9.
CALYX_EXPORT Result<Verdict> evaluate(std::span<const double> candidate, Areas areas = Areas::exact);

/// Judges candidates that lie one after the other, into as many verdicts. Fails, having written nothing:
/// `field_value`, as `evaluate`, with the `index` of the candidate in the details, or where `out` is not as
/// long as there are candidates; `unsupported`: no such device answers, or not for polygons, which the CPU
/// alone has; on a device also `io_error` and `no_memory`, and then what was written means nothing.
CALYX_EXPORT Result<Done> evaluate_batch(std::span<const double> candidates, std::span<Verdict> out,
                                         Device device = Device::automatic, Areas areas = Areas::exact);

enum class Method : std::uint8_t {
  feasible_optimize,       ///< Local search, feasibility first.
  basin_hopping,           ///< Gaussian hops, each with a descent.
  differential_evolution,  ///< best/1/bin over a population, with descents.
};

inline constexpr std::uint32_t chains_max = 4'096;
inline constexpr unsigned threads_max = 1'024;

/// What a search is asked for; the members of the recipe's payload, by their names.
struct SearchOptions {
  Method method = Method::feasible_optimize;
  std::uint32_t pieces = packing::pieces;  ///< 1 to 32.
  std::uint64_t seed = 0;
  double penalty = 100.0;             ///< What a unit of shared area costs: 1 to 10^6.
  std::uint64_t max_iters = 0;        ///< Moves a restart, hops or generations, to 10^9; 0: the method's own.
  std::uint64_t max_evaluations = 0;  ///< To 10^12; 0: no limit.
  std::uint32_t n_restarts = 8;       ///< Of `feasible_optimize`: 1 to 100,000.
  double hop_scale = 0.1;             ///< Of `basin_hopping`: above 0, to 2.5.
  double temperature = 1.0;           ///< Of `basin_hopping`: 0 to 10^6.
  std::uint32_t population_size = 675;  ///< Of `differential_evolution`: 5 to 10,000.
  /// Independent searches, 1 to `chains_max`, whose populations take a GiB at most. Their seeds are `seed`
  /// and those that follow, and each has all of the limits above for itself; the best of them is the result,
  /// of equals the first.
  std::uint32_t chains = 1;
  /// `cuda` runs a chain on each warp of the device; `automatic` is the CPU. What is found is the same.
  Device device = Device::automatic;
  unsigned threads = 1;  ///< That the CPU may use, one for each chain at most: 1 to `threads_max`.
};

/// How far a search is.
struct SearchProgress {
  std::uint64_t evaluations;
  std::uint64_t iterations;
  double objective;  ///< The smallest; an infinity before the first.
  double score;      ///< Of the smallest packing found that is valid; an infinity before the first.
  /// That packing, of numbers with 6 decimals; else the one with the smallest objective, rounded. Stands for
  /// the time of the call.
  std::span<const double> candidate;
};

/// What a search calls, on the caller's thread. Each may be empty, and what it throws passes. None of them
/// changes what is found.
struct SearchCalls {
  /// Asked at least every 32 evaluations of one chain, on a device some hundred times a second; true stops
  /// the search.
  std::function<bool()> stopped{};
  /// Told every 8,192 evaluations or so, of several chains of all that they have made, and of the best of
  /// them.
  std::function<void(const SearchProgress& progress)> progress{};
  /// Given what `search` goes on from, every `checkpoint_every` evaluations of each chain or so, and where it
  /// was stopped: 5 KB a chain, and what its population takes.
  std::function<void(std::string_view checkpoint)> checkpoint{};
  std::uint64_t checkpoint_every = std::uint64_t{1} << 18;
};

enum class SearchEnd : std::uint8_t {
  stopped,     ///< As it was asked to; its `checkpoint` goes on.
  iterations,  ///< All were done.
  budget,      ///< `max_evaluations` were made.
  converged,   ///< The population came together.
};

struct SearchResult {
  SearchEnd end = SearchEnd::stopped;
  std::uint64_t evaluations = 0;
  std::uint64_t iterations = 0;
  double objective = 0.0;  ///< As in `SearchProgress`, and so are the next two.
  double score = 0.0;
  std::vector<double> candidate{};
  std::string checkpoint{};  ///< Of a search that was stopped: what goes on from there.
  std::uint32_t chain = 0;   ///< Which of them found it; `end`, too, is its own. The counts are of all.
};

/// Searches for a small valid packing, from `start`, if it is not empty, or from chance. What it finds
/// depends on the options and the start alone, and not on how often it was stopped and went on.
///
/// `checkpoint` is empty, or of a search with these options and this start, which then goes on.
///
/// Fails: `field_value`: an option beyond its limits, a start as in `evaluate`, a checkpoint of another
/// search or a damaged one; `unsupported`: no such device answers; on a device also `io_error` and
/// `no_memory`.
CALYX_EXPORT Result<SearchResult> search(const SearchOptions& options, std::span<const double> start = {},
                                         const SearchCalls& calls = {}, std::string_view checkpoint = {});

}  // namespace calyx::packing
