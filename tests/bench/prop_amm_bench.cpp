// What a simulation of the prop_amm recipe costs, by the typed call and with the shape check: strategies as
// source and as eBPF objects, on one thread and on two.
//
//   prop_amm_bench [--quick] [--rounds N] [--dir PATH]      PATH is not used: nothing is written
//
// Peers are programs that a reader builds himself; a case whose peer is not named in the environment stands
// alone. Each prints the seconds that its runs took, wall and CPU, then a line for each seed: the seed, and
// the bits of its edge in hexadecimal. The edges must be ours to the bit.
//
//   CALYX_PROP_AMM_REFERENCE   run as `PROGRAM cp30 SEED_BASE COUNT STEPS WORKERS`: the challenge's native
//   runner
//                              with the source's build loaded
//   CALYX_SBPF_REFERENCE       run as `PROGRAM simulate FILE.sbf.so SEED_BASE COUNT STEPS interpreter`: the
//   same
//                              simulator asking solana_rbpf's interpreter

#include <algorithm>
#include <bit>
#include <calyx/prop_amm.hpp>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "measure.hpp"

namespace calyx::bench {
namespace {

struct Settings {
  bool quick = false;
  unsigned rounds = rounds_min;
};

using Edges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;  // seeds, and the bits of their edges

std::string strategy_path(const std::string& file) {
  return std::string(CALYX_BENCH_SOURCES).append("/../vectors/prop_amm/strategies/").append(file);
}

std::string contents_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// How much is run.
struct Work {
  std::uint64_t count;
  std::uint32_t steps;
};

/// Our side of a case: its strategy, made before anything is timed, and the edges of its last run.
class Ours {
 public:
  Ours(const std::string& file, const Work& work) : strategy_(made_of(contents_of(strategy_path(file)))) {
    asked_.count = work.count;
    asked_.steps = work.steps;
    // Native code is made when it is first asked for.
    prop_amm::Asked least;
    least.count = 1;
    least.steps = 1;
    strategy_.evaluate(least).value();
  }
  Sample run(unsigned threads) {
    asked_.threads = threads;
    prop_amm::Evaluation found;
    const Sample sample = timed([&] {
      found = strategy_.evaluate(asked_).value();
      return found.edges.size();
    });
    if (!found.total_edge) throw std::runtime_error("a simulation did not end well");
    edges_.clear();
    edges_.reserve(found.edges.size());
    for (const prop_amm::SeedEdge& edge : found.edges)
      edges_.emplace_back(edge.seed, std::bit_cast<std::uint64_t>(edge.edge));
    return sample;
  }
  const Edges& edges() const { return edges_; }

 private:
  static prop_amm::Strategy made_of(const std::string& text) {
    if (text.rfind("\x7f"
                   "ELF",
                   0) != 0)
      return prop_amm::Strategy::compile(text).value();
    return prop_amm::Strategy::load({reinterpret_cast<const unsigned char*>(text.data()), text.size()})
        .value();
  }

  prop_amm::Strategy strategy_;
  prop_amm::Asked asked_;
  Edges edges_;
};

/// Runs a peer, which must come to `wanted`.
Sample peer_run(const std::string& command, const Edges& wanted) {
  FILE* child = ::popen(command.c_str(), "r");
  if (child == nullptr) throw std::runtime_error("cannot run " + command);
  Sample sample;
  Edges edges;
  edges.reserve(wanted.size());
  const int read = std::fscanf(child, "%lf %lf", &sample.wall_s, &sample.cpu_s);
  std::uint64_t seed = 0;
  std::uint64_t bits = 0;
  while (std::fscanf(child, "%" SCNu64 " %" SCNx64, &seed, &bits) == 2) edges.emplace_back(seed, bits);
  if (::pclose(child) != 0 || read != 2) throw std::runtime_error("the peer did not end well: " + command);
  if (edges != wanted) throw std::runtime_error("the peer has other edges: " + command);
  sample.operations = static_cast<double>(edges.size());
  return sample;
}

const char* peer_named(const char* variable, const std::string& name) {
  const char* program = std::getenv(variable);
  if (program != nullptr && *program != '\0') return program;
  print_skipped(name, std::string(variable).append(" names no program"));
  return nullptr;
}

double best_wall_s(const Series& series) {
  double best = series.samples.front().wall_s;
  for (const Sample& sample : series.samples) best = std::min(best, sample.wall_s);
  return best;
}

/// What a second thread brings. The best rounds are compared: whatever else runs here costs two threads more
/// than one. And what it costs in CPU time, which others do not add to.
void report_scaling(const Series& one, const Series& two) {
  Line line{};
  line.question = "scaling, best of the rounds";
  line.name = two.name;
  line.unit = figure::rate.unit;
  line.value = spread_of(figures_of(two, figure::rate));
  line.peer = one.name;
  line.ratio = best_wall_s(one) / best_wall_s(two);
  line.rounds = two.samples.size();
  print(line);
  report("CPU time on two threads", two, figure::cpu, one, Ratio::value_over_peer);
}

void measure_source(const Settings& settings, const std::string& name) {
  const Work work = settings.quick ? Work{2, 200} : Work{16, 10'000};
  Ours ours(name + ".rs", work);
  const std::string reference_name = "challenge_native_" + name;
  const char* reference = peer_named("CALYX_PROP_AMM_REFERENCE", reference_name);
  std::vector<Case> cases = {{name, [&] { return ours.run(1); }},
                             {name + "_two_threads", [&] { return ours.run(2); }}};
  std::string command;
  if (reference != nullptr) {
    command.append(reference).append(" ").append(name).append(" 0 ").append(std::to_string(work.count));
    command.append(" ").append(std::to_string(work.steps)).append(" 1");
    cases.push_back({reference_name, [&] { return peer_run(command, ours.edges()); }});
  }
  const std::vector<Series> series = interleave(cases, settings.rounds);
  if (reference != nullptr) {
    report("simulations", series[2], figure::cpu_rate);
    report("simulations", series[0], figure::cpu_rate, series[2], Ratio::value_over_peer);
  } else {
    report("simulations", series[0], figure::cpu_rate);
  }
  report("simulations", series[0], figure::rate);
  report_scaling(series[0], series[1]);
}

void measure_object(const Settings& settings, const std::string& name) {
  const Work work = settings.quick ? Work{1, 10} : Work{1, 1'000};
  Ours plain(name + ".bpf.o", work);
  Ours solana(name + ".sbf.so", work);
  const std::string reference_name = "rbpf_interpreter_" + name;
  const char* reference = peer_named("CALYX_SBPF_REFERENCE", reference_name);
  std::vector<Case> cases = {{name + ".bpf.o", [&] { return plain.run(1); }},
                             {name + ".sbf.so", [&] { return solana.run(1); }}};
  std::string command;
  if (reference != nullptr) {
    command.append(reference).append(" simulate ").append(strategy_path(name + ".sbf.so")).append(" 0 ");
    command.append(std::to_string(work.count)).append(" ").append(std::to_string(work.steps));
    command.append(" interpreter");
    cases.push_back({reference_name, [&] { return peer_run(command, solana.edges()); }});
  }
  const std::vector<Series> series = interleave(cases, settings.rounds);
  if (plain.edges() != solana.edges())
    throw std::runtime_error("two objects of one strategy have other edges");
  if (reference != nullptr) report("simulations of an object", series[2], figure::cpu_rate);
  for (std::size_t i = 0; i < 2; ++i) {
    if (reference != nullptr)
      report("simulations of an object", series[i], figure::cpu_rate, series[2], Ratio::value_over_peer);
    else
      report("simulations of an object", series[i], figure::cpu_rate);
  }
}

int run(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") settings.quick = true;
    if (words[i] == "--rounds" && i + 1 < words.size())
      settings.rounds = static_cast<unsigned>(std::stoul(words[++i]));
  }
  for (const char* name : {"cp30", "cp66", "ewma_fee"}) measure_source(settings, name);
  for (const char* name : {"cp30", "ewma_fee"}) measure_object(settings, name);
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
