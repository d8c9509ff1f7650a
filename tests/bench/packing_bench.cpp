// What a verdict and a search's evaluation of the packing recipe cost, and how small a packing a budget buys:
// calyx's searches beside SciPy's, over the same objective and over the one that the vectors' targets were
// found with, each of them on one thread.
//
//   packing_bench [--quick] [--rounds N] [--dir PATH]      PATH is not used: nothing is written
//   packing_bench --best SEED                              one long search alone: some 13 million evaluations
//
// The payload of that search is
// {"operation":"feasible_optimize","seed":SEED,"max_iters":100000,"n_restarts":4}.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/packing_sample.hpp"
#include "calyx_kernels/packing_search.hpp"
#include "measure.hpp"

namespace calyx::bench {
namespace {

namespace packing = kernels::packing;

struct Settings {
  bool quick = false;
  unsigned rounds = rounds_min;
};

constexpr const char* same_objective = "packing_objective";
constexpr const char* targets_objective = "packing_objective_of_targets";

/// What a search took, and the radius of the smallest valid packing that it found.
struct Outcome {
  Sample sample;
  double radius = 0;
};

Sample verdicts(std::uint64_t count) {
  std::vector<packing::Verdict> out(1);
  return timed([&] {
    double candidate[packing::candidate_numbers];
    std::copy(packing::sample_candidate, packing::sample_candidate + packing::candidate_numbers, candidate);
    for (std::uint64_t i = 0; i < count; ++i) {
      candidate[i % packing::candidate_numbers] += 1e-12;  // so that each is another
      if (kernels::cpu_backend().packing_eval(candidate, 1, out.data()) != kernels::Code::ok)
        throw std::runtime_error("a verdict was refused");
    }
    return count;
  });
}

Outcome ours(packing::Method method, std::uint64_t evaluations, std::uint64_t seed) {
  packing::SearchSettings settings;
  settings.method = method;
  settings.seed = seed;
  settings.iterations = packing::iterations_max;
  settings.evaluations_max = evaluations;
  Outcome out;
  out.sample = timed([&] {
    packing::Search search(settings, nullptr);
    search.run();
    out.radius = search.found().radius;
    return search.progress().evaluations;
  });
  return out;
}

/// SciPy's over an objective of the peers' library, by a child process. Nothing where SciPy is not installed.
std::optional<Outcome> scipy(const char* objective, const char* method, std::uint64_t evaluations,
                             std::uint64_t seed) {
  const std::string command = std::string("/usr/bin/python3 ") + CALYX_BENCH_SOURCES +
                              "/scipy_packing_peer.py " + CALYX_BENCH_PACKING_PEER + " " + objective + " " +
                              method + " " + std::to_string(evaluations) + " " + std::to_string(seed) +
                              " 2>/dev/null";
  FILE* child = ::popen(command.c_str(), "r");
  if (child == nullptr) return std::nullopt;
  Outcome out;
  const int read = std::fscanf(child, "%lf %lf %lf", &out.sample.wall_s, &out.sample.cpu_s, &out.radius);
  out.sample.operations = static_cast<double>(evaluations);
  if (::pclose(child) != 0 || read != 3) return std::nullopt;
  return out;
}

/// A line of radii: one for each seed.
void report_radii(const std::string& name, const std::vector<double>& radii,
                  const std::vector<double>& peers) {
  Line line{};
  line.question = "radius at the budget";
  line.name = name;
  line.unit = "radii of a piece";
  line.value = spread_of(radii);
  line.rounds = radii.size();
  if (!peers.empty()) {
    line.peer = "scipy";
    line.ratio = line.value.median / spread_of(peers).median;
  }
  print(line);
}

void add(Sample& sum, const Sample& more) {
  sum.wall_s += more.wall_s;
  sum.cpu_s += more.cpu_s;
  sum.operations += more.operations;
}

/// Seeds take the place of rounds: each is another search, and the two sides take turns. A search of ours
/// takes a small part of the peer's time, in which a core may change its clock, so it runs some times before
/// the peer and some after it.
void measure_search(const Settings& settings, packing::Method method, const std::string& name,
                    const char* peer) {
  const std::uint64_t evaluations = settings.quick ? 3'000 : 100'000;
  const std::uint64_t seeds = settings.quick ? 1 : 3;
  const unsigned around = settings.quick ? 1 : 8;
  const bool has_peer = peer != nullptr && scipy(same_objective, peer, 10, 1).has_value();
  if (peer != nullptr && !has_peer) print_skipped("scipy_" + name, "python3-scipy is not installed");
  Series mine{name, {}};
  Series theirs{"scipy_" + name, {}};
  Series of_targets{"scipy_" + name + "_of_targets", {}};
  std::vector<double> radii;
  std::vector<double> their_radii;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Outcome outcome = ours(method, evaluations, seed);
    for (unsigned again = 1; again < around; ++again)
      add(outcome.sample, ours(method, evaluations, seed).sample);
    if (has_peer) {
      const std::optional<Outcome> other = scipy(same_objective, peer, evaluations, seed);
      const std::optional<Outcome> target = scipy(targets_objective, peer, evaluations, seed);
      if (!other || !target) throw std::runtime_error("the peer did not end well");
      theirs.samples.push_back(other->sample);
      of_targets.samples.push_back(target->sample);
      their_radii.push_back(other->radius);
      for (unsigned again = 0; again < around; ++again)
        add(outcome.sample, ours(method, evaluations, seed).sample);
    }
    mine.samples.push_back(outcome.sample);
    radii.push_back(outcome.radius);
  }
  if (has_peer) {
    report("evaluations", theirs, figure::cpu_rate);
    report("evaluations", mine, figure::cpu_rate, theirs, Ratio::value_over_peer);
    report("evaluations", of_targets, figure::cpu_rate);
    report("evaluations", mine, figure::cpu_rate, of_targets, Ratio::value_over_peer);
    // An evaluation of a descent comes with its gradient, for which SciPy takes differences: one more look
    // for each number.
    if (method == packing::Method::basin_hopping) {
      Series gradients{"scipy_" + name + "_gradients", theirs.samples};
      for (Sample& sample : gradients.samples) sample.operations /= packing::candidate_numbers + 1;
      report("gradients", gradients, figure::cpu_rate);
      report("gradients", mine, figure::cpu_rate, gradients, Ratio::value_over_peer);
    }
    report_radii("scipy_" + name, their_radii, {});
  } else {
    report("evaluations", mine, figure::cpu_rate);
  }
  report_radii(name, radii, their_radii);
}

/// Prints what the documented search reaches, and what it takes.
int search_for_the_best(std::uint64_t seed) {
  packing::SearchSettings settings;
  settings.seed = seed;
  settings.iterations = 100'000;
  settings.restarts = 4;
  packing::Search search(settings, nullptr);
  const Sample sample = timed([&] {
    search.run();
    return search.progress().evaluations;
  });
  if (packing::evaluate(search.found().rounded).valid == 0)
    throw std::runtime_error("nothing valid was found");
  report_radii("feasible_optimize_best", {search.found().radius}, {});
  report("evaluations", {"feasible_optimize_best", {sample}}, figure::cpu_rate);
  std::printf("{\"evaluations\":%.0f,\"cpu_s\":%.1f,\"candidate\":[", sample.operations, sample.cpu_s);
  for (std::size_t i = 0; i < packing::candidate_numbers; ++i)
    std::printf("%s%.6f", i == 0 ? "" : ",", search.found().rounded[i]);
  std::printf("]}\n");
  return 0;
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "--best") return search_for_the_best(std::stoull(words[1]));
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") settings.quick = true;
    if (words[i] == "--rounds" && i + 1 < words.size())
      settings.rounds = static_cast<unsigned>(std::stoul(words[++i]));
  }
  const std::uint64_t count = settings.quick ? 1'000 : 50'000;
  const auto series = interleave({{"evaluate", [&] { return verdicts(count); }}}, settings.rounds);
  report("verdict", series[0], figure::cpu);
  report("verdict", series[0], figure::cpu_rate);
  measure_search(settings, packing::Method::basin_hopping, "basin_hopping", "basinhopping");
  measure_search(settings, packing::Method::differential_evolution, "differential_evolution",
                 "differential_evolution");
  measure_search(settings, packing::Method::feasible_optimize, "feasible_optimize", nullptr);
  return 0;
}

}  // namespace
}  // namespace calyx::bench

int main(int argc, char** argv) {
  try {
    return calyx::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
