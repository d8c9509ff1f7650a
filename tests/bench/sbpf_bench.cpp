// What an eBPF object costs: a call that does nothing, an instruction, and a simulation, interpreted and as
// machine code.
//
//   sbpf_bench [--quick] [--rounds N] [--dir PATH]      PATH is not used: nothing is written

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "measure.hpp"
#include "strategy/sbpf_native.hpp"

namespace calyx::bench {
namespace {

namespace prop_amm = kernels::prop_amm;
namespace sbpf = kernels::sbpf;

struct Settings {
  bool quick = false;
  unsigned rounds = rounds_min;
};

/// An object, ready to be run both ways.
struct Subject {
  explicit Subject(std::variant<strategy::SbpfObject, strategy::ObjectFault> loaded) {
    if (const auto* fault = std::get_if<strategy::ObjectFault>(&loaded))
      throw std::runtime_error(fault->message);
    object = std::get<strategy::SbpfObject>(std::move(loaded));
    native = strategy::make_sbpf_native(object.view());
    stack.resize(object.stack_bytes());
    heap.resize(object.heap_bytes);
  }
  strategy::SbpfObject object;
  std::unique_ptr<strategy::SbpfNative> native;
  std::vector<unsigned char> stack;
  std::vector<unsigned char> heap;
};

std::unique_ptr<Subject> from_file(const std::string& name) {
  std::ifstream file((CALYX_BENCH_SOURCES "/../vectors/prop_amm/strategies/") + name, std::ios::binary);
  const std::vector<unsigned char> bytes((std::istreambuf_iterator<char>(file)), {});
  return std::make_unique<Subject>(strategy::load_elf(bytes));
}

/// Instructions in a row.
class Text {
 public:
  Text& add(unsigned opcode, unsigned d, unsigned s, int offset, std::int32_t immediate) {
    bytes_.push_back(static_cast<unsigned char>(opcode));
    bytes_.push_back(static_cast<unsigned char>(d | s << 4));
    for (int i = 0; i < 2; ++i) bytes_.push_back(static_cast<unsigned char>(offset >> (8 * i)));
    for (int i = 0; i < 4; ++i)
      bytes_.push_back(static_cast<unsigned char>(static_cast<std::uint32_t>(immediate) >> (8 * i)));
    return *this;
  }
  std::unique_ptr<Subject> subject() const { return std::make_unique<Subject>(strategy::load_text(bytes_)); }

 private:
  std::vector<unsigned char> bytes_;
};

std::unique_ptr<Subject> empty() { return Text().add(0xb7, 0, 0, 0, 7).add(0x95, 0, 0, 0, 0).subject(); }

/// A constant product without a fee in 64 bits, without a loop: numbers are put together from bytes, as a
/// compiler does that knows nothing of their alignment, and counted in thousands of nano.
std::unique_ptr<Subject> straight() {
  Text text;
  for (unsigned field = 0; field < 3; ++field) {
    const unsigned d = 2 + field;
    text.add(0xb7, d, 0, 0, 0);
    for (int i = 7; i >= 0; --i)
      text.add(0x67, d, 0, 0, 8)
          .add(0x71, 5, 1, 17 + 8 * static_cast<int>(field) + i, 0)
          .add(0x4f, d, 5, 0, 0);
    text.add(0x37, d, 0, 0, 1'000);
  }
  // r6 = from, r7 = to, by the side.
  text.add(0x71, 5, 1, 16, 0).add(0xbf, 6, 4, 0, 0).add(0xbf, 7, 3, 0, 0);
  text.add(0x15, 5, 0, 2, 0).add(0xbf, 6, 3, 0, 0).add(0xbf, 7, 4, 0, 0);
  text.add(0xbf, 8, 6, 0, 0).add(0x0f, 8, 2, 0, 0).add(0x2f, 6, 7, 0, 0).add(0x3f, 6, 8, 0, 0);
  text.add(0xbf, 0, 7, 0, 0).add(0x1f, 0, 6, 0, 0).add(0x27, 0, 0, 0, 1'000).add(0x95, 0, 0, 0, 0);
  return text.subject();
}

struct Quotes {
  Sample sample;  ///< An operation is a quote.
  double instructions = 0;
};

Quotes quotes(Subject& subject, bool code, std::uint64_t count) {
  strategy::NativeSbpfStrategy strategy(subject.object.view(), subject.stack.data(), subject.heap.data(),
                                        sbpf::instructions_default,
                                        strategy::SbpfMachine(code ? subject.native.get() : nullptr));
  const unsigned char storage[prop_amm::storage_bytes] = {};
  Quotes out;
  std::uint64_t instructions = 0;
  out.sample = timed([&] {
    std::uint64_t output = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      strategy.compute_swap(static_cast<prop_amm::Side>(i % 2), 1'000'000'000 + i * 7'919, 100'000'000'000,
                            10'000'000'000'000, storage, output);
      instructions += strategy.outcome().instructions;
    }
    return count;
  });
  if (strategy.faults().count != 0) throw std::runtime_error("a quote failed");
  out.instructions = static_cast<double>(instructions);
  return out;
}

Sample simulations(Subject& subject, bool code, std::uint64_t count) {
  std::vector<prop_amm::Result> results(count);
  std::vector<prop_amm::SbpfFaults> faults(count);
  return timed([&] {
    strategy::native_sbpf_range(subject.object.view(), code ? subject.native.get() : nullptr,
                                subject.stack.data(), subject.heap.data(), 0, 0, count, {2'000, true},
                                sbpf::instructions_default, results.data(), faults.data());
    return count;
  });
}

/// One line, and one with its ratio: how many times cheaper the code is. Units: a multiple of microseconds.
void report_pair(const std::string& question, const char* unit, double of_us, const Series& interpreted,
                 const Series& code) {
  for (const Series* series : {&interpreted, &code}) {
    Line line{};
    line.question = question;
    line.name = series->name;
    line.unit = unit;
    std::vector<double> values = figures_of(*series, figure::cpu);
    for (double& value : values) value *= of_us;
    line.value = spread_of(values);
    line.rounds = series->samples.size();
    if (series == &code) {
      line.peer = interpreted.name;
      line.ratio = ratio_of(code, interpreted, figure::cpu, Ratio::peer_over_value);
    }
    print(line);
  }
}

int run(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") settings.quick = true;
    if (words[i] == "--rounds" && i + 1 < words.size())
      settings.rounds = static_cast<unsigned>(std::stoul(words[++i]));
  }
  const auto nothing = empty();
  if (nothing->native == nullptr) {
    print_skipped("sbpf", "this build has no assembler");
    return 0;
  }
  const auto both = [&](const auto& sample) {
    return interleave(
        {{"interpreted", [&] { return sample(false); }}, {"code", [&] { return sample(true); }}},
        settings.rounds);
  };
  const std::uint64_t count = settings.quick ? 1'000 : 200'000;
  auto series = both([&](bool code) { return quotes(*nothing, code, 5 * count).sample; });
  report_pair("a call of an object that only returns", "cpu_ns", 1e3, series[0], series[1]);
  const auto product = straight();
  const auto of_instructions = [](const Quotes& asked) {
    Sample sample = asked.sample;
    sample.operations = asked.instructions;
    return sample;
  };
  const auto straight_count = static_cast<std::uint64_t>(quotes(*product, false, 1).instructions);
  series = both([&](bool code) { return quotes(*product, code, count).sample; });
  std::string question("a quote without a loop, instructions: ");
  question.append(std::to_string(straight_count));
  report_pair(question, "cpu_ns", 1e3, series[0], series[1]);
  series = both([&](bool code) { return of_instructions(quotes(*product, code, count)); });
  report_pair("an instruction of them", "cpu_ns", 1e3, series[0], series[1]);
  for (const char* name : {"cp30.bpf.o", "ewma_fee.bpf.o", "cp30.sbf.so", "ewma_fee.sbf.so"}) {
    const auto subject = from_file(name);
    series = both([&](bool code) { return of_instructions(quotes(*subject, code, count / 50)); });
    report_pair(std::string("an instruction of ") + name, "cpu_ns", 1e3, series[0], series[1]);
    if (settings.quick) continue;
    series = both([&](bool code) { return simulations(*subject, code, 1); });
    report_pair(std::string("2,000 steps with ") + name, "cpu_ms", 1e-3, series[0], series[1]);
  }
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
