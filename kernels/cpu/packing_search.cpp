#include "calyx_kernels/packing_search.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "calyx_kernels/packing_lanes.hpp"
#include "calyx_kernels/packing_steps.hpp"

namespace calyx::kernels::packing {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Asks a watch, every 32 evaluations.
struct AsksWatch {
  static constexpr std::uint32_t every = 32;
  const Watch& watch;

  bool stops(const SearchProgress& progress) const {
    return watch.stops != nullptr && watch.stops(watch.context, progress);
  }
};

}  // namespace

bool valid(const double* numbers, std::uint32_t count) {
  Layout layout;
  return valid_radius(layout, numbers, count) < infinity;
}

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
  std::memset(&state_, 0, sizeof state_);
  if (has_start_) std::copy(start, start + 3 * settings.count, state_.start);
  state_.marks.hop_scale = settings.hop_scale;
  state_.found.objective = infinity;
  state_.found.radius = infinity;
  people_.resize(people_numbers(settings));
}

namespace {

/// A search with what its steps take, on this thread.
struct Worked {
  std::unique_ptr<Workspace> work = std::make_unique<Workspace>();
  std::vector<double> trials;
  Nearby nearby;
  Steps<LanesCrew, AsksWatch> steps;

  Worked(Search& search, const Watch& watch)
      : trials(people_numbers(search.settings())),
        steps(search.settings(), search.has_start(), search.state(), *work, {search.people(), trials.data()},
              LanesCrew(best_lanes(), nearby), AsksWatch{watch}) {}
};

}  // namespace

Pause Search::go(std::uint64_t rest_at, const Watch& watch) { return Worked(*this, watch).steps.go(rest_at); }

SearchEnd Search::run(const Watch& watch) {
  Worked worked(*this, watch);
  constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
  for (;;) {
    const std::uint64_t rest_at =
        watch.rests == nullptr ? never : state_.marks.evaluations + watch.rest_every;
    switch (worked.steps.go(rest_at)) {
      case Pause::over: return end();
      case Pause::told: return SearchEnd::stopped;
      case Pause::rests: watch.rests(watch.context); break;
    }
  }
}

SearchProgress Search::progress() const {
  return {state_.marks.evaluations, state_.marks.steps, state_.found.objective, state_.found.radius};
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
  std::uint64_t of_state[sizeof(SearchState) / 8];
  std::memcpy(of_state, &state_, sizeof state_);
  words.insert(words.end(), std::begin(of_state), std::end(of_state));
  if (state_.marks.phase != Phase::begins)
    for (const double number : people_) words.push_back(math::bits_of(number));
  words.push_back(sum_of(words.data(), words.size()));
  std::vector<unsigned char> bytes;
  bytes.reserve(8 * words.size());
  for (const std::uint64_t word : words)
    for (std::uint32_t i = 0; i < 8; ++i) bytes.push_back(static_cast<unsigned char>(word >> (8 * i)));
  return bytes;
}

bool Search::restore(const unsigned char* bytes, std::size_t size) {
  const std::vector<std::uint64_t> expected = head();
  constexpr std::size_t state_words = sizeof(SearchState) / 8;
  const std::size_t without = expected.size() + state_words + 1;
  if (size != 8 * without && size != 8 * (without + people_.size())) return false;
  std::vector<std::uint64_t> words(size / 8);
  for (std::size_t i = 0; i < size; ++i) words[i / 8] |= std::uint64_t{bytes[i]} << (8 * (i % 8));
  if (!std::equal(expected.begin(), expected.end(), words.begin())) return false;
  if (sum_of(words.data(), words.size() - 1) != words.back()) return false;
  SearchState state{};
  std::memcpy(&state, words.data() + expected.size(), sizeof state);
  std::vector<double> rest;
  for (std::size_t i = expected.size() + state_words; i + 1 < words.size(); ++i)
    rest.push_back(math::double_of(words[i]));

  // What is used as an index or as a layout must be one, whoever wrote the sum.
  const auto finite = [](const double* numbers, std::size_t count) {
    return std::all_of(numbers, numbers + count, math::is_finite);
  };
  const SearchMarks& marks = state.marks;
  if (marks.phase > Phase::over || marks.ended > static_cast<std::uint64_t>(SearchEnd::converged) ||
      marks.scale >= move_scales || marks.restart >= settings_.restarts ||
      marks.iteration > iterations_of(settings_))
    return false;
  if (!finite(state.now, numbers_max + 1) || !finite(state.lowest, numbers_max + 1) ||
      !finite(state.settled, numbers_max) || !finite(state.found.numbers, numbers_max) ||
      !finite(state.found.rounded, numbers_max) || !finite(&marks.hop_scale, 1))
    return false;
  const auto same_bits = [](double a, double b) { return math::bits_of(a) == math::bits_of(b); };
  if (!std::equal(std::begin(state.start), std::end(state.start), std::begin(state_.start), same_bits))
    return false;
  const std::size_t objectives = people_.empty() || rest.empty() ? 0 : settings_.population;
  if (!finite(rest.data(), rest.size() - objectives)) return false;
  if (!people_.empty() && rest.empty() != (marks.phase == Phase::begins)) return false;
  state_ = state;
  if (!rest.empty()) people_ = std::move(rest);
  return true;
}

}  // namespace calyx::kernels::packing
