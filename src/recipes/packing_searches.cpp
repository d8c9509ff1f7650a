#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>
#include <cmath>

#include "calyx_kernels/packing_search.hpp"

namespace calyx::packing {

namespace kernel = kernels::packing;

namespace {

/// Evaluations between two reports of a search's progress: some hundredths of a second.
constexpr std::uint64_t progress_every = 8'192;
constexpr std::uint64_t evaluations_limit = 1'000'000'000'000;

kernel::SearchSettings settings_of(const SearchOptions& options) {
  kernel::SearchSettings out;
  out.method = options.method == Method::basin_hopping            ? kernel::Method::basin_hopping
               : options.method == Method::differential_evolution ? kernel::Method::differential_evolution
                                                                  : kernel::Method::feasible_optimize;
  out.count = options.pieces;
  out.seed = options.seed;
  out.penalty = options.penalty;
  out.iterations = options.max_iters == 0 ? kernel::iterations_default(out.method) : options.max_iters;
  out.evaluations_max = options.max_evaluations;
  out.restarts = options.n_restarts;
  out.population = options.population_size;
  out.hop_scale = options.hop_scale;
  out.temperature = options.temperature;
  return out;
}

/// The first option that is beyond its limits; empty where none is.
std::string_view fault_in(const SearchOptions& options) {
  const auto refused = [](kernel::SearchSettings settings) { return !kernel::Search::takes(settings); };
  // Each alone among defaults, so that the one at fault is named.
  kernel::SearchSettings one;
  if (one.count = options.pieces; refused(one)) return "/pieces";
  if (one = {}, one.penalty = options.penalty; refused(one)) return "/penalty";
  if (one = {}, one.iterations = options.max_iters; refused(one)) return "/max_iters";
  if (options.max_evaluations > evaluations_limit) return "/max_evaluations";
  if (one = {}, one.restarts = options.n_restarts; refused(one)) return "/n_restarts";
  if (one = {}, one.hop_scale = options.hop_scale; refused(one)) return "/hop_scale";
  if (one = {}, one.temperature = options.temperature; refused(one)) return "/temperature";
  if (one = {}, one.population = options.population_size; refused(one)) return "/population_size";
  return {};
}

Result<Done> check(const SearchOptions& options, std::span<const double> start) {
  if (const std::string_view field = fault_in(options); !field.empty())
    return core::field_fault(Reason::field_value, std::string(field), "is beyond its limits");
  if (start.empty()) return Done{};
  const std::size_t needs = std::size_t{3} * options.pieces;
  if (start.size() != needs) {
    std::string text = "has " + std::to_string(start.size());
    text.append(" numbers, needs ").append(std::to_string(needs));
    return core::field_fault(Reason::field_value, "/start", std::move(text));
  }
  for (std::size_t i = 0; i < start.size(); ++i)
    if (!std::isfinite(start[i]) || (i % 3 != 2 && std::fabs(start[i]) > kernel::coordinate_max))
      return core::field_fault(Reason::field_value, "/start",
                               "has a number that is not finite, or a coordinate beyond 10^9");
  return Done{};
}

/// The best packing so far, rounded.
std::vector<double> best_of(const kernel::Found& found, std::size_t numbers) {
  const bool valid = std::isfinite(found.radius);
  std::vector<double> out;
  out.reserve(numbers);
  for (std::size_t i = 0; i < numbers; ++i)
    out.push_back(valid ? found.rounded[i] : kernel::round6(found.numbers[i]));
  return out;
}

/// Stands between a search and what it calls.
struct Between {
  const kernel::Search* search;
  const SearchCalls* calls;
  std::uint64_t reported;

  static bool asked(void* context, const kernel::SearchProgress& progress) {
    Between& self = *static_cast<Between*>(context);
    if (self.calls->progress && progress.evaluations - self.reported >= progress_every) {
      self.reported = progress.evaluations;
      self.tell(progress);
    }
    return self.calls->stopped && self.calls->stopped();
  }
  static void rests(void* context) { static_cast<Between*>(context)->keep(); }

  void tell(const kernel::SearchProgress& progress) const {
    const std::vector<double> candidate = best_of(search->found(), std::size_t{3} * search->settings().count);
    calls->progress(
        {progress.evaluations, progress.iterations, progress.objective, progress.radius, candidate});
  }
  void keep() const { calls->checkpoint(saved()); }
  std::string saved() const {
    const std::vector<unsigned char> bytes = search->save();
    return {bytes.begin(), bytes.end()};
  }
};

SearchEnd told(kernel::SearchEnd end) {
  return end == kernel::SearchEnd::stopped     ? SearchEnd::stopped
         : end == kernel::SearchEnd::budget    ? SearchEnd::budget
         : end == kernel::SearchEnd::converged ? SearchEnd::converged
                                               : SearchEnd::iterations;
}

}  // namespace

Result<SearchResult> search(const SearchOptions& options, std::span<const double> start,
                            const SearchCalls& calls, std::string_view checkpoint) {
  CALYX_CHECK(check(options, start));
  kernel::Search search(settings_of(options), start.empty() ? nullptr : start.data());
  if (!checkpoint.empty()) {
    const std::vector<unsigned char> bytes(checkpoint.begin(), checkpoint.end());
    if (!search.restore(bytes.data(), bytes.size()))
      return core::field_fault(Reason::field_value, "/checkpoint", "is of another search, or damaged");
  }
  Between between{&search, &calls, search.progress().evaluations};
  kernel::Watch watch{.stops = &Between::asked, .context = &between};
  if (calls.checkpoint) {
    watch.rests = &Between::rests;
    watch.rest_every = calls.checkpoint_every;
  }
  const kernel::SearchEnd end = search.run(watch);
  SearchResult out{.end = told(end),
                   .evaluations = search.progress().evaluations,
                   .iterations = search.progress().iterations,
                   .objective = search.found().objective,
                   .score = search.found().radius,
                   .candidate = best_of(search.found(), std::size_t{3} * options.pieces)};
  if (end != kernel::SearchEnd::stopped) return out;
  // What it had found is told once more, unless the last report was of the step that it gave up.
  if (calls.progress && search.progress().evaluations > between.reported) between.tell(search.progress());
  out.checkpoint = between.saved();
  if (calls.checkpoint) calls.checkpoint(out.checkpoint);
  return out;
}

}  // namespace calyx::packing
