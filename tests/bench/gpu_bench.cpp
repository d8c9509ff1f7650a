// What a device does of the recipes' work in a second, beside one core of the CPU: simulations of one
// strategy, of many in one launch and of an eBPF object, verdicts on packings, and evaluations of searches
// for them. Without a device every case is skipped by its name.
//
//   gpu_bench [--quick] [--rounds N] [--dir PATH]      PATH is not used: nothing is written
//
// The first call of each kind is a line of its own: it loads the code (for a device without code of its own
// in the module it is translated then) and records the tapes; what follows has both at hand.

#include <algorithm>
#include <calyx/packing.hpp>
#include <calyx/prop_amm.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/packing_sample.hpp"
#include "measure.hpp"
#include "strategy/native.hpp"
#include "strategy/strategy.hpp"

namespace calyx::bench {
namespace {

namespace amm = kernels::prop_amm;
namespace cuda = kernels::cuda;
namespace packing = kernels::packing;

struct Settings {
  bool quick = false;
  unsigned rounds = rounds_min;
};

strategy::Compiled strategy_of_the_challenge() {
  std::ifstream file(std::string(CALYX_BENCH_SOURCES) + "/../vectors/prop_amm/strategies/cp500.rs");
  std::ostringstream text;
  text << file.rdbuf();
  std::variant<strategy::Compiled, strategy::Diagnostic> made = strategy::compile(text.str());
  if (std::holds_alternative<strategy::Diagnostic>(made))
    throw std::runtime_error("the strategy was refused");
  return std::get<strategy::Compiled>(std::move(made));
}

/// A sample as one operation, whatever it did.
Sample whole(Sample sample) {
  sample.operations = 1;
  return sample;
}

void check(cuda::Status status) {
  if (status != cuda::Status::ok)
    throw std::runtime_error(std::string("the device failed: ").append(cuda::load().module->last_error()));
}

/// Each of `count` seeds with each of `programs`, the shape of curves being checked.
class Simulations {
 public:
  Simulations(std::size_t programs, std::uint64_t count, std::uint32_t steps)
      : compiled_(strategy_of_the_challenge()), results_(programs * count), faults_(programs * count) {
    programs_.assign(programs, {compiled_.view(), compiled_.code.size(), compiled_.pool.size()});
    call_.programs = programs_.data();
    call_.program_count = programs;
    call_.count = count;
    call_.settings = {steps, true};
    call_.results = results_.data();
    call_.faults = faults_.data();
  }

  Sample on_device() {
    return timed([&] {
      check(cuda::load().module->prop_amm(&call_));
      return results_.size();
    });
  }

  /// As many as `count`, by native code where that can be made; and whether the device said the same.
  Sample on_a_core(std::uint64_t count) {
    std::vector<amm::Result> results(count);
    std::vector<amm::Fault> faults(count);
    std::vector<std::uint64_t> stack(compiled_.stack_slots);
    const auto native = strategy::make_native(compiled_);
    const Sample sample = timed([&] {
      return strategy::native_range(compiled_.view(), native.get(), stack.data(), 0, 0, count, call_.settings,
                                    call_.rules, results.data(), faults.data());
    });
    for (std::uint64_t i = 0; i < count; ++i)
      if (kernels::math::bits_of(results[i].edge) != kernels::math::bits_of(results_[i].edge))
        throw std::runtime_error("the device has another edge than the CPU");
    return sample;
  }

 private:
  strategy::Compiled compiled_;
  std::vector<cuda::SizedProgram> programs_;
  std::vector<amm::Result> results_;
  std::vector<amm::Fault> faults_;
  cuda::PropAmmCall call_{};
};

void measure_simulations(const Settings& settings, const char* name, std::size_t programs) {
  const std::uint64_t count = settings.quick ? 8 : 1'000;
  Simulations simulations(programs, count, settings.quick ? 50 : 10'000);
  report("first call", {name, {whole(simulations.on_device())}}, figure::wall);
  const std::string core = std::string("one_core_of_") + name;
  const auto series = interleave({{core, [&] { return simulations.on_a_core(settings.quick ? 2 : 16); }},
                                  {name, [&] { return simulations.on_device(); }}},
                                 settings.rounds);
  report("simulations", series[0], figure::rate);
  report("simulations", series[1], figure::rate, series[0], Ratio::value_over_peer);
  Series all{name, {}};
  for (const Sample& sample : series[1].samples) all.samples.push_back(whole(sample));
  report("time of all", all, figure::wall);
}

/// Memory that the device reads at full speed.
template <class T>
class Pinned {
 public:
  explicit Pinned(std::size_t count) : memory_(cuda::load().module->take_pinned(count * sizeof(T))) {
    if (memory_ == nullptr) throw std::runtime_error("there is no pinned memory left");
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned() { cuda::load().module->give_pinned(memory_); }
  T* data() const { return static_cast<T*>(memory_); }

 private:
  void* memory_;
};

void measure_verdicts(const Settings& settings) {
  const std::size_t count = settings.quick ? 2'000 : 4'000'000;
  const std::size_t by_core = settings.quick ? 100 : 20'000;
  const Pinned<double> numbers(count * packing::candidate_numbers);
  const Pinned<packing::Verdict> verdicts(count);
  for (std::size_t i = 0; i < count * packing::candidate_numbers; ++i)
    numbers.data()[i] = packing::sample_candidate[i % packing::candidate_numbers] +
                        1e-9 * static_cast<double>(i / packing::candidate_numbers);
  const auto on_device = [&] {
    return timed([&] {
      check(cuda::load().module->packing_eval(numbers.data(), count, verdicts.data()));
      return count;
    });
  };
  const auto on_a_core = [&] {
    std::vector<packing::Verdict> out(by_core);
    const Sample sample = timed([&] {
      if (kernels::cpu_backend().packing_eval(numbers.data(), by_core, out.data()) != kernels::Code::ok)
        throw std::runtime_error("a candidate was refused");
      return by_core;
    });
    if (std::memcmp(static_cast<const void*>(out.data()), static_cast<const void*>(verdicts.data()),
                    by_core * sizeof out[0]) != 0)
      throw std::runtime_error("the device has another verdict than the CPU");
    return sample;
  };
  report("first call", {"packing_eval_batch", {whole(on_device())}}, figure::wall);
  const auto series = interleave(
      {{"one_core_of_packing_eval_batch", on_a_core}, {"packing_eval_batch", on_device}}, settings.rounds);
  report("verdicts", series[0], figure::rate);
  report("verdicts", series[1], figure::rate, series[0], Ratio::value_over_peer);
}

/// The same of an object, which the CPU runs as machine code.
void measure_object(const Settings& settings, const char* name) {
  std::ifstream file(CALYX_BENCH_SOURCES "/../vectors/prop_amm/strategies/cp500.bpf.o", std::ios::binary);
  const std::vector<unsigned char> bytes((std::istreambuf_iterator<char>(file)), {});
  const prop_amm::Strategy object = prop_amm::Strategy::load(bytes).value();
  prop_amm::Asked asked;
  asked.steps = settings.quick ? 50 : 10'000;
  const auto evaluate = [&](Device device, std::uint64_t count) {
    asked.device = device;
    asked.count = count;
    return timed([&] { return object.evaluate(asked).value().edges.size(); });
  };
  const std::uint64_t count = settings.quick ? 8 : 1'000;
  report("first call", {name, {whole(evaluate(Device::cuda, count))}}, figure::wall);
  const std::string core = std::string("one_core_of_") + name;
  const auto series = interleave({{core, [&] { return evaluate(Device::cpu, settings.quick ? 2 : 16); }},
                                  {name, [&] { return evaluate(Device::cuda, count); }}},
                                 settings.rounds);
  report("simulations", series[0], figure::rate);
  report("simulations", series[1], figure::rate, series[0], Ratio::value_over_peer);
}

/// Hops of chains that begin where chance puts them.
void measure_searches(const Settings& settings, const char* name) {
  calyx::packing::SearchOptions options;
  options.method = calyx::packing::Method::basin_hopping;
  options.max_iters = 1'000'000;
  options.max_evaluations = settings.quick ? 500 : 20'000;
  const auto search = [&](Device device, std::uint32_t chains) {
    options.device = device;
    options.chains = chains;
    return timed([&] { return calyx::packing::search(options).value().evaluations; });
  };
  const std::uint32_t chains = settings.quick ? 3 : 4'096;
  report("first call", {name, {whole(search(Device::cuda, chains))}}, figure::wall);
  const std::string core = std::string("one_core_of_") + name;
  const auto series = interleave({{core, [&] { return search(Device::cpu, settings.quick ? 1 : 16); }},
                                  {name, [&] { return search(Device::cuda, chains); }}},
                                 settings.rounds);
  report("evaluations", series[0], figure::rate);
  report("evaluations", series[1], figure::rate, series[0], Ratio::value_over_peer);
}

int run(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") settings.quick = true;
    if (words[i] == "--rounds" && i + 1 < words.size())
      settings.rounds = static_cast<unsigned>(std::stoul(words[++i]));
  }
  if (!cuda::load().answers) {
    for (const char* name : {"prop_amm_one_strategy", "prop_amm_64_strategies", "prop_amm_object",
                             "packing_eval_batch", "packing_chains"})
      print_skipped(name, cuda::load().why);
    return 0;
  }
  std::fprintf(stderr, "%s\n", cuda::load().device.name);
  measure_simulations(settings, "prop_amm_one_strategy", 1);
  measure_simulations(settings, "prop_amm_64_strategies", settings.quick ? 2 : 64);
  measure_object(settings, "prop_amm_object");
  measure_verdicts(settings);
  measure_searches(settings, "packing_chains");
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
