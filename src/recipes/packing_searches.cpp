#include <algorithm>
#include <atomic>
#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>
#include <chrono>
#include <cmath>
#include <exception>
#include <limits>
#include <new>
#include <system_error>
#include <thread>

#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/packing_search.hpp"
#include "recipes/device.hpp"

namespace calyx::packing {

namespace cuda = kernels::cuda;
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
  if (options.chains < 1 || options.chains > chains_max) return "/chains";
  if (options.threads < 1 || options.threads > threads_max) return "/threads";
  if (!kernel::populations_fit(settings_of(options), options.chains)) return "/chains";
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

SearchEnd told(kernel::SearchEnd end) {
  return end == kernel::SearchEnd::stopped     ? SearchEnd::stopped
         : end == kernel::SearchEnd::budget    ? SearchEnd::budget
         : end == kernel::SearchEnd::converged ? SearchEnd::converged
                                               : SearchEnd::iterations;
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

/// Searches that are alike but for their seeds, and what they call.
class Chains {
 public:
  Chains(const SearchOptions& options, std::span<const double> start, const SearchCalls& calls)
      : options_(options), calls_(calls) {
    kernel::SearchSettings settings = settings_of(options);
    chains_.reserve(options.chains);
    for (std::uint32_t i = 0; i < options.chains; ++i, ++settings.seed)
      chains_.emplace_back(settings, start.empty() ? nullptr : start.data());
  }

  /// False for a checkpoint of other searches, or a damaged one.
  bool restore(std::string_view checkpoint) {
    if (chains_.size() == 1) return restore(chains_[0], checkpoint);
    for (kernel::Search& chain : chains_) {
      if (checkpoint.size() < frame_bytes) return false;
      const std::uint64_t size = size_in(checkpoint);
      checkpoint.remove_prefix(frame_bytes);
      if (size > checkpoint.size() || !restore(chain, checkpoint.substr(0, size))) return false;
      checkpoint.remove_prefix(size);
    }
    return checkpoint.empty();
  }

  /// Goes on until all are over. False when it was stopped.
  bool on_cpu() {
    begin();
    if (chains_.size() == 1) return alone();
    while (!over()) {
      if (!round()) return false;
      if (!rests() && !over()) return false;
    }
    return true;
  }

  Result<bool> on_device() {
    begin();
    CALYX_TRY(const cuda::Module* const module, recipes::device_for("/device"));
    std::vector<kernel::SearchState*> states;
    std::vector<double*> people;
    for (kernel::Search& chain : chains_) {
      states.push_back(&chain.state());
      people.push_back(chain.people());
    }
    cuda::PackingSearchCall call{};
    call.settings = chains_[0].settings();
    call.has_start = chains_[0].has_start();
    call.count = chains_.size();
    call.states = states.data();
    call.people = people.data();
    const std::uint64_t never = std::numeric_limits<std::uint64_t>::max();
    const bool keeps = calls_.checkpoint && calls_.checkpoint_every <= never / chains_.size();
    call.people_every = keeps ? calls_.checkpoint_every * chains_.size() : never;
    call.stop = {[](void* self) { return static_cast<Chains*>(self)->stops_device(); }, this};
    call.rests = [](void* self, cuda::Brought what) {
      return static_cast<Chains*>(self)->rests_on_device(what == cuda::Brought::all);
    };
    call.rests_context = this;
    const cuda::Status status = module->packing_search(&call);
    if (thrown_) std::rethrow_exception(thrown_);
    if (status == cuda::Status::stopped) return false;
    if (status != cuda::Status::ok) return recipes::device_failed(*module, status);
    return true;
  }

  SearchResult result(bool ended) {
    const kernel::Search& best = chains_[this->best()];
    SearchResult out{.end = ended ? told(best.end()) : SearchEnd::stopped,
                     .evaluations = evaluations(),
                     .iterations = iterations(),
                     .objective = best.found().objective,
                     .score = best.found().radius,
                     .candidate = candidate_of(best),
                     .chain = static_cast<std::uint32_t>(this->best())};
    if (ended) return out;
    // What it had found is told once more, unless the last report was of the steps that it gave up.
    if (calls_.progress && out.evaluations > reported_) tell();
    out.checkpoint = saved();
    if (calls_.checkpoint) calls_.checkpoint(out.checkpoint);
    return out;
  }

 private:
  /// Before each chain's checkpoint, where there are several: its bytes, little-endian.
  static constexpr std::size_t frame_bytes = 8;
  /// Evaluations of a chain while it has its turn.
  static constexpr std::uint64_t slice = 2 * progress_every;

  static std::uint64_t size_in(std::string_view frame) {
    std::uint64_t size = 0;
    for (std::size_t i = 0; i < frame_bytes; ++i)
      size |= std::uint64_t{static_cast<unsigned char>(frame[i])} << (8 * i);
    return size;
  }

  static bool restore(kernel::Search& chain, std::string_view checkpoint) {
    const std::vector<unsigned char> bytes(checkpoint.begin(), checkpoint.end());
    return chain.restore(bytes.data(), bytes.size());
  }

  std::string saved() const {
    std::string out;
    out.reserve(chains_.size() * (frame_bytes + kernel::checkpoint_bytes(chains_[0].settings())));
    for (const kernel::Search& chain : chains_) {
      const std::vector<unsigned char> bytes = chain.save();
      for (std::size_t i = 0; chains_.size() != 1 && i < frame_bytes; ++i)
        out.push_back(static_cast<char>(bytes.size() >> (8 * i)));
      out.append(bytes.begin(), bytes.end());
    }
    return out;
  }

  void begin() { reported_ = kept_ = evaluations(); }

  bool over() const {
    return std::all_of(chains_.begin(), chains_.end(),
                       [](const kernel::Search& chain) { return chain.over(); });
  }

  /// The chain with the smallest valid packing, or, where none has one, with the smallest objective; of
  /// equals the first.
  std::size_t best() const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < chains_.size(); ++i) {
      const kernel::Found& one = chains_[i].found();
      const kernel::Found& other = chains_[best].found();
      if (one.radius < other.radius || (std::isinf(other.radius) && one.objective < other.objective))
        best = i;
    }
    return best;
  }

  std::uint64_t evaluations() const {
    std::uint64_t all = 0;
    for (const kernel::Search& chain : chains_) all += chain.progress().evaluations;
    return all;
  }
  std::uint64_t iterations() const {
    std::uint64_t all = 0;
    for (const kernel::Search& chain : chains_) all += chain.progress().iterations;
    return all;
  }

  std::vector<double> candidate_of(const kernel::Search& chain) const {
    return best_of(chain.found(), std::size_t{3} * options_.pieces);
  }

  bool asked() const { return calls_.stopped && calls_.stopped(); }

  void tell() const {
    const kernel::Search& chain = chains_[best()];
    const std::vector<double> candidate = candidate_of(chain);
    calls_.progress({evaluations(), iterations(), chain.found().objective, chain.found().radius, candidate});
  }

  /// All chains lie between two steps. False: to stop.
  bool rests() {
    tell_now_and_then();
    const std::uint64_t now = evaluations();
    // As often for each chain as for one alone: several take as many times the room.
    if (calls_.checkpoint && (now - kept_) / chains_.size() >= calls_.checkpoint_every) {
      kept_ = now;
      calls_.checkpoint(saved());
    }
    return !asked();
  }

  void tell_now_and_then() {
    const std::uint64_t now = evaluations();
    if (!calls_.progress || now - reported_ < progress_every) return;
    reported_ = now;
    tell();
  }

  // No exception passes through a device's module: it stops the searches, and is thrown again behind them.

  bool stops_device() noexcept {
    return held([this] { return asked(); });
  }
  bool rests_on_device(bool whole) noexcept {
    return !held([this, whole] {
      if (whole) return !rests();
      tell_now_and_then();
      return asked();
    });
  }
  template <class F>
  bool held(F stops) noexcept {
    try {
      return thrown_ || stops();
    } catch (...) {
      thrown_ = std::current_exception();
      return true;
    }
  }

  /// One chain on the caller's thread, which is told of its progress within steps, too.
  bool alone() {
    kernel::Watch watch{
        .stops =
            [](void* context, const kernel::SearchProgress& progress) {
              Chains& self = *static_cast<Chains*>(context);
              if (self.calls_.progress && progress.evaluations - self.reported_ >= progress_every) {
                self.reported_ = progress.evaluations;
                self.tell(progress);
              }
              return self.asked();
            },
        .context = this};
    if (calls_.checkpoint) {
      watch.rests = [](void* context) {
        Chains& self = *static_cast<Chains*>(context);
        self.calls_.checkpoint(self.saved());
      };
      watch.rest_every = calls_.checkpoint_every;
    }
    return chains_[0].run(watch) != kernel::SearchEnd::stopped;
  }

  void tell(const kernel::SearchProgress& progress) const {
    const std::vector<double> candidate = candidate_of(chains_[0]);
    calls_.progress(
        {progress.evaluations, progress.iterations, progress.objective, progress.radius, candidate});
  }

  /// As many chains as there may be threads, the first that are not over, each to its next rest. False when
  /// it was stopped.
  bool round() {
    std::vector<kernel::Search*> turn;
    for (kernel::Search& chain : chains_)
      if (!chain.over() && turn.size() < options_.threads) turn.push_back(&chain);
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint32_t> busy{0};
    std::atomic<bool> stopping{false};
    const auto work = [&](const kernel::Watch& watch) {
      for (std::size_t i = 0; (i = next.fetch_add(1)) < turn.size() && !stopping;) {
        kernel::Search& chain = *turn[i];
        if (chain.go(chain.progress().evaluations + slice, watch) == kernel::Pause::told) stopping = true;
      }
    };
    const kernel::Watch hears{.stops =
                                  [](void* context, const kernel::SearchProgress& /*progress*/) {
                                    return static_cast<std::atomic<bool>*>(context)->load();
                                  },
                              .context = &stopping};
    std::vector<std::jthread> threads;  // which are joined at the end of this scope, however it ends
    // Where the caller's functions throw, nobody goes on without it.
    struct Stops {
      std::atomic<bool>& flag;
      bool unless = false;
      ~Stops() {
        if (!unless) flag = true;
      }
    } ends{stopping};
    for (std::size_t i = 1; i < turn.size(); ++i) {
      try {
        threads.emplace_back([&] {
          try {
            work(hears);
          } catch (const std::bad_alloc&) {  // before its chain took a step: another round has that
          }
          busy.fetch_sub(1);
        });
        busy.fetch_add(1);
      } catch (const std::system_error&) {
        break;
      }
    }
    const kernel::Watch asks{.stops =
                                 [](void* context, const kernel::SearchProgress& /*progress*/) {
                                   return static_cast<const Chains*>(context)->asked();
                                 },
                             .context = this};
    work(asks);
    while (busy.load() != 0) {
      if (asked()) stopping = true;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    ends.unless = true;
    return !stopping;
  }

  const SearchOptions& options_;
  const SearchCalls& calls_;
  std::vector<kernel::Search> chains_;
  std::uint64_t reported_ = 0;  // evaluations when progress was last told
  std::uint64_t kept_ = 0;      // and when a checkpoint was
  std::exception_ptr thrown_;   // by what a device called
};

}  // namespace

Result<SearchResult> search(const SearchOptions& options, std::span<const double> start,
                            const SearchCalls& calls, std::string_view checkpoint) {
  CALYX_CHECK(check(options, start));
  Chains chains(options, start, calls);
  if (!checkpoint.empty() && !chains.restore(checkpoint))
    return core::field_fault(Reason::field_value, "/checkpoint", "is of another search, or damaged");
  if (options.device != Device::cuda) return chains.result(chains.on_cpu());
  CALYX_TRY(const bool ended, chains.on_device());
  return chains.result(ended);
}

}  // namespace calyx::packing
