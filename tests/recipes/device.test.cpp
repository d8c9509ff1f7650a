// Every operation of the recipes on the device and on the CPU: the same bytes. Run with the module of CUDA
// where one was built, and with one that the host emulates; CALYX_TEST_MODULE says which.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <calyx/core/encoding.hpp>
#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>
#include <calyx/prop_amm.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/packing_sample.hpp"
#include "calyx_kernels/prop_amm_sbpf.hpp"
#include "prop_amm_vectors.hpp"
#include "recipes/recipes.hpp"
#include "strategy/bpf.hpp"
#include "strategy/bpf_random.hpp"
#include "strategy/ptx.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::prop_amm_text;
namespace cuda = kernels::cuda;
namespace json = core::json;
namespace kernel = kernels::prop_amm;
namespace sbpf = kernels::sbpf;

namespace {

std::uint64_t fresh_seed(const char* test) {
  const std::uint64_t seed = std::random_device{}();
  std::cout << test << ": seed " << seed << std::endl;
  return seed;
}

/// Whether `test` has a device; else it says that it was skipped.
bool has_device(const char* test) {
  if (cuda::load().answers) return true;
  testing::skipped(test, cuda::load().why);
  return false;
}

bool emulated() {
  const char* const which = std::getenv("CALYX_TEST_MODULE");
  return which != nullptr && std::string_view(which) == "emulated";
}

Result<json::Value> run(const RecipeDefinition& recipe, json::Object payload, const char* device,
                        std::function<bool()> stopped = {}, const std::string& artifact = {}) {
  payload.set("device", device);
  const json::Value whole(std::move(payload));
  CALYX_CHECK(recipe.check(whole));
  TaskCall call{.payload = whole};
  call.stopped = std::move(stopped);
  if (!artifact.empty()) call.artifact = [&](std::string_view, std::size_t) { return Result(artifact); };
  return recipe.run(call);
}

/// What both devices say, as the bytes that a receipt covers, or the refusal.
std::string said(const Result<json::Value>& result) {
  if (result.ok()) return json::canonical(*result);
  return std::string(word(result.reason())) + ": " + result.error().message;
}

json::Array random_candidate(testing::Dice& dice, double spread) {
  json::Array out;
  for (std::size_t i = 0; i < kernels::packing::candidate_numbers; ++i) {
    const double sample = kernels::packing::sample_candidate[i];
    out.emplace_back(sample + dice.uniform(-spread, spread));
  }
  return out;
}

json::Object strategy_payload(const char* operation, const std::string& source) {
  json::Object out;
  out.set("operation", operation);
  out.set("rs_source_b64", core::base64(source));
  return out;
}

/// Breaks the shape of its curve where the input is large, or panics, or runs for ever, by the input.
std::string source_of_body(const std::string& body) {
  return "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n"
         "pub fn get_model_used() -> &'static str { MODEL_USED }\n"
         "pub fn compute_swap(data: &[u8]) -> u64 {\n" +
         body + "\n}\n";
}

/// The names of all objects among the vectors.
std::vector<std::string> object_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(testing::prop_amm_file("strategies")))
    if (entry.path().extension() == ".o" || entry.path().extension() == ".so")
      names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

/// What seeds came to, and how their calls ended.
struct Simulated {
  explicit Simulated(std::uint64_t count) : results(count), faults(count) {}
  std::vector<kernel::Result> results;
  std::vector<kernel::SbpfFaults> faults;
};

/// Simulations of an object on the device.
struct ObjectSeeds {
  std::uint64_t first;
  std::uint64_t count;
  kernel::Settings settings;
  std::uint64_t limit = sbpf::instructions_default;

  cuda::Status on_device(const sbpf::Program& program, Simulated& out, const kernel::Stop& stop = {}) const {
    cuda::PropAmmObjectCall call{};
    call.program = program;
    call.seed_first = first;
    call.count = count;
    call.settings = settings;
    call.limit = limit;
    call.results = out.results.data();
    call.faults = out.faults.data();
    call.stop = stop;
    return cuda::load().module->prop_amm_objects(&call);
  }
  Simulated on_cpu(const strategy::SbpfObject& object) const {
    Simulated out(count);
    std::vector<unsigned char> stack(object.stack_bytes());
    std::vector<unsigned char> heap(object.heap_bytes);
    kernel::prop_amm_sbpf_range(object.view(), stack.data(), heap.data(), first, 0, count, settings, limit,
                                out.results.data(), out.faults.data());
    return out;
  }
};

bool same(const Simulated& one, const Simulated& two) {
  for (std::size_t i = 0; i < one.results.size(); ++i) {
    const kernel::Result& x = one.results[i];
    const kernel::Result& y = two.results[i];
    const kernel::SbpfFaults& f = one.faults[i];
    const kernel::SbpfFaults& g = two.faults[i];
    if (kernels::math::bits_of(x.edge) != kernels::math::bits_of(y.edge) || x.end != y.end ||
        x.search != y.search || x.step != y.step)
      return false;
    if (f.count != g.count || f.first != g.first || f.at != g.at || f.address != g.address) return false;
  }
  return one.results.size() == two.results.size();
}

/// A Solana program that pays a share of its input and, where the input's low bits are all 0, begins with
/// `body`, at slot 4; the last slot of all is no end.
strategy::SbpfObject program_of(const std::vector<testing::Slot>& body,
                                std::vector<testing::DynamicFile::Relocation> relocations = {}) {
  testing::DynamicFile file;
  const auto slots = static_cast<int>(body.size());
  file.text = testing::joined({{{0x79, 2, 1, 17}, {0xbf, 3, 2}, {0x57, 3, 0, 0, 3}, {0x55, 3, 0, slots}},
                               body,
                               {{0x77, 2, 0, 0, 6},
                                {0x7b, 10, 2, -8},
                                {0xbf, 1, 10},
                                {0x07, 1, 0, 0, -8},
                                {0xb7, 2, 0, 0, 8},
                                {0x85, 0, 0, 0, -1},
                                {0x95},
                                {0xb7, 0, 0, 0, 1}}});
  file.relocations = std::move(relocations);
  file.relocations.push_back(
      {testing::DynamicFile::slot_at(static_cast<std::uint64_t>(slots) + 9), 10, "sol_set_return_data"});
  return testing::loaded(strategy::load_elf(file.bytes()));
}

/// The same with a call of the host's function `name` before the share is paid.
strategy::SbpfObject program_that_calls(const char* name, std::vector<testing::Slot> before) {
  before.push_back({0x85, 0, 0, 0, -1});
  return program_of(before, {{testing::DynamicFile::slot_at(3 + before.size()), 10, name}});
}

/// One that fills its heap until it has moved all that a call may.
strategy::SbpfObject program_that_moves() {
  return program_of(
      testing::joined({testing::wide(1, 0x300000000U),
                       {{0xb7, 3, 0, 0, sbpf::heap_bytes_max}, {0x85, 0, 0, 0, -1}, {0x05, 0, 0, -5}}}),
      {{testing::DynamicFile::slot_at(7), 10, "sol_memset_"}});
}

}  // namespace

TEST_CASE("device: packing's verdicts are the CPU's, in every operation that has them") {
  if (!has_device("recipes.device packing")) return;
  testing::Dice dice(fresh_seed("packing"));
  const RecipeDefinition recipe = recipes::packing_recipe();
  // Near a packing, overlapping somewhat, all over the place, and far apart.
  for (const double spread : {0.0, 1e-4, 0.05, 1.0, 4.0, 1e6}) {
    CAPTURE(spread);
    json::Object one;
    one.set("operation", "eval").set("candidate", random_candidate(dice, spread));
    CHECK(said(run(recipe, one, "cuda")) == said(run(recipe, one, "cpu")));
    json::Array all;
    for (int i = 0; i < testing::by_scale(5, 200, 2'000); ++i)
      all.emplace_back(random_candidate(dice, spread));
    json::Object many;
    many.set("operation", "eval_batch").set("candidates", std::move(all));
    CHECK(said(run(recipe, many, "cuda")) == said(run(recipe, many, "cpu")));
  }
}

TEST_CASE(
    "device: a batch without a market has the CPU's bytes, over several buffers, and so has one unasked") {
  if (!has_device("recipes.device packing batch")) return;
  testing::Dice dice(fresh_seed("packing batch"));
  // A device has buffers of 32,768; the last one is not full.
  const std::size_t count = testing::by_scale<std::size_t>(1'100, emulated() ? 3'000 : 70'001, 500'001);
  std::vector<double> numbers(count * packing::candidate_numbers);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = kernels::packing::sample_candidate[i % packing::candidate_numbers] + dice.uniform(-0.3, 0.3);
  std::vector<kernels::packing::Verdict> cpu(count), device(count), automatic(count);
  REQUIRE(kernels::cpu_backend().packing_eval(numbers.data(), count, cpu.data()) == kernels::Code::ok);
  REQUIRE(kernels::cuda_backend() != nullptr);
  REQUIRE(kernels::cuda_backend()->packing_eval(numbers.data(), count, device.data()) == kernels::Code::ok);
  // A verdict has no padding.
  CHECK(std::memcmp(static_cast<const void*>(cpu.data()), static_cast<const void*>(device.data()),
                    count * sizeof cpu[0]) == 0);
  CHECK(std::string_view(kernels::choose_backend()->name) == "cuda");

  std::vector<packing::Verdict> asked(count), unasked(count);
  REQUIRE(packing::evaluate_batch(numbers, asked, Device::cuda).ok());
  REQUIRE(packing::evaluate_batch(numbers, unasked).ok());
  bool alike = true;
  for (std::size_t i = 0; i < count; ++i)
    alike =
        alike && kernels::math::bits_of(asked[i].score) == kernels::math::bits_of(cpu[i].circle.radius) &&
        kernels::math::bits_of(unasked[i].overlap_total) == kernels::math::bits_of(cpu[i].overlap_total) &&
        asked[i].valid == (cpu[i].valid == 1) && unasked[i].overlapping_pairs == cpu[i].overlapping_count;
  CHECK(alike);
  numbers[numbers.size() - 1] = std::numeric_limits<double>::quiet_NaN();
  CHECK(kernels::cuda_backend()->packing_eval(numbers.data(), count, device.data()) ==
        kernels::Code::not_finite);

  // Pinned memory takes another way through the module.
  const cuda::Module& module = *cuda::load().module;
  auto* const in =
      static_cast<double*>(module.take_pinned(count * packing::candidate_numbers * sizeof(double)));
  auto* const out =
      static_cast<kernels::packing::Verdict*>(module.take_pinned(count * sizeof(kernels::packing::Verdict)));
  REQUIRE(in != nullptr);
  REQUIRE(out != nullptr);
  numbers[numbers.size() - 1] = 0.5;
  std::copy(numbers.begin(), numbers.end(), in);
  REQUIRE(kernels::cpu_backend().packing_eval(in, count, cpu.data()) == kernels::Code::ok);
  REQUIRE(module.packing_eval(in, count, out) == cuda::Status::ok);
  CHECK(std::memcmp(static_cast<const void*>(cpu.data()), static_cast<const void*>(out),
                    count * sizeof cpu[0]) == 0);
  module.give_pinned(in);
  module.give_pinned(out);
}

namespace {

constexpr const char* searches[] = {"feasible_optimize", "basin_hopping", "differential_evolution"};

json::Object search_payload(const char* operation, std::uint64_t seed, std::uint64_t evaluations) {
  json::Object out;
  out.set("operation", operation).set("seed", core::seed_value(seed)).set("max_evaluations", evaluations);
  if (std::string_view(operation) == "differential_evolution") out.set("population_size", 30);
  return out;
}

}  // namespace

TEST_CASE("device: packing's searches find what the CPU finds, to the bit, chain by chain") {
  if (!has_device("recipes.device packing searches")) return;
  testing::Dice dice(fresh_seed("packing searches"));
  const RecipeDefinition recipe = recipes::packing_recipe();
  for (const char* operation : searches) {
    CAPTURE(operation);
    const std::uint64_t evaluations = testing::by_scale(1'500U, 4'000U, 100'000U);
    json::Object payload = search_payload(operation, dice.below(1'000'000), evaluations);
    const std::string alone = said(run(recipe, payload, "cpu"));
    CAPTURE(alone);
    CHECK(alone.find("\"chain") == std::string::npos);
    CHECK(said(run(recipe, payload, "cuda")) == alone);
    CHECK(said(run(recipe, payload, "auto")) == alone);

    json::Object begun = payload;
    begun.set("candidate", random_candidate(dice, 0.01));
    CHECK(said(run(recipe, begun, "cuda")) == said(run(recipe, begun, "cpu")));
    json::Object fewer = payload;
    fewer.set("pieces", 1 + dice.below(kernels::packing::pieces_max)).set("max_evaluations", 1'000);
    CHECK(said(run(recipe, fewer, "cuda")) == said(run(recipe, fewer, "cpu")));

    // Seeds that go on at 0, and more warps than a device has at once.
    json::Object many = search_payload(operation, std::numeric_limits<std::uint64_t>::max() - 2, 800);
    many.set("chains", testing::by_scale(5U, emulated() ? 7U : 3'000U, 4'096U));
    const std::string together = said(run(recipe, many, "cpu"));
    CAPTURE(together);
    CHECK(together.find("\"chain\":") != std::string::npos);
    CHECK(said(run(recipe, many, "cuda")) == together);
  }
}

TEST_CASE("device: a search that is stopped there goes on on either, and the other way around") {
  if (!has_device("recipes.device packing search stop")) return;
  for (const packing::Method method : {packing::Method::feasible_optimize, packing::Method::basin_hopping,
                                       packing::Method::differential_evolution}) {
    CAPTURE(static_cast<int>(method));
    packing::SearchOptions options{
        .method = method, .seed = 3, .max_evaluations = 12'000, .population_size = 30, .chains = 3};
    options.device = Device::cpu;
    const packing::SearchResult whole = packing::search(options).value();
    const auto same = [&](const packing::SearchResult& found) {
      return found.end == whole.end && found.evaluations == whole.evaluations && found.chain == whole.chain &&
             found.candidate == whole.candidate &&
             kernels::math::bits_of(found.objective) == kernels::math::bits_of(whole.objective);
    };
    options.device = Device::cuda;
    std::uint64_t told = 0;
    std::vector<std::string> kept;
    packing::SearchCalls calls{.progress =
                                   [&](const packing::SearchProgress& progress) {
                                     ++told;
                                     CHECK(progress.candidate.size() == packing::candidate_numbers);
                                   },
                               .checkpoint = [&](std::string_view bytes) { kept.emplace_back(bytes); },
                               .checkpoint_every = 1'000};
    CHECK(same(packing::search(options, {}, calls).value()));
    // A device does a short search in one launch.
    if (emulated()) {
      CHECK(told >= 3);
      CHECK(kept.size() >= 3);
    }
    calls.stopped = [&] { return told > 0; };
    told = 0;
    const packing::SearchResult part = packing::search(options, {}, calls).value();
    if (part.end == packing::SearchEnd::stopped) {
      REQUIRE(part.checkpoint == kept.back());
      CHECK(part.evaluations < whole.evaluations);
    }
    // The first, the last and one or two in between.
    for (std::size_t i = 0; i < kept.size(); i += std::max<std::size_t>(1, (kept.size() - 1) / 2)) {
      const std::string& checkpoint = kept[i];
      CHECK(same(packing::search(options, {}, {}, checkpoint).value()));
      options.device = Device::cpu;
      CHECK(same(packing::search(options, {}, {}, checkpoint).value()));
      options.device = Device::cuda;
    }
  }
}

TEST_CASE("device: a search that fails there is told, and its checkpoint is not begun anew") {
  if (!emulated()) return;
  const RecipeDefinition recipe = recipes::packing_recipe();
  packing::SearchOptions options{
      .method = packing::Method::basin_hopping, .seed = 8, .max_evaluations = 9'000, .chains = 4};
  std::string kept;
  const packing::SearchCalls keeps{.checkpoint =
                                       [&](std::string_view bytes) {
                                         if (kept.empty()) kept = bytes;
                                       },
                                   .checkpoint_every = 1'000};
  static_cast<void>(packing::search(options, {}, keeps).value());
  REQUIRE_FALSE(kept.empty());
  json::Object payload = search_payload("basin_hopping", 8, 9'000);
  payload.set("chains", 4).set("device", "cuda");
  const json::Value whole(std::move(payload));
  std::uint64_t written = 0;
  TaskCall call{.payload = whole};
  call.checkpoint = [&]() -> Result<std::string> { return kept; };
  call.keep_checkpoint = [&](std::string_view) -> Result<Done> {
    ++written;
    return Done{};
  };
  for (const char* when : {"1", "later"}) {
    CAPTURE(when);
    ::setenv("CALYX_TEST_DEVICE_FAILS", when, 1);
    CHECK(recipe.run(call).reason() == Reason::io_error);
    ::unsetenv("CALYX_TEST_DEVICE_FAILS");
  }
  CHECK(written == 0);
  // One of another search is as good as none.
  const std::string gone_on = said(recipe.run(call));
  kept = "x";
  CHECK(said(recipe.run(call)) == gone_on);
}

TEST_CASE("device: what a search's callbacks throw passes through it, on either") {
  for (const Device device : {Device::cpu, Device::cuda}) {
    if (device == Device::cuda && !has_device("recipes.device packing search throws")) continue;
    packing::SearchOptions options{.max_evaluations = 1'000'000'000, .chains = 3};
    options.device = device;
    options.threads = 2;
    std::uint64_t asked = 0;
    packing::SearchCalls calls{.stopped = [&] { return ++asked > 20 ? throw asked : false; }};
    CHECK_THROWS_AS(static_cast<void>(packing::search(options, {}, calls)), std::uint64_t);
    calls.stopped = {};
    calls.progress = [](const packing::SearchProgress& progress) { throw progress.evaluations; };
    CHECK_THROWS_AS(static_cast<void>(packing::search(options, {}, calls)), std::uint64_t);
  }
}

TEST_CASE("device: simulations are the CPU's to the bit, with their violations and failures") {
  if (!has_device("recipes.device prop_amm")) return;
  const std::uint64_t seed = fresh_seed("prop_amm");
  const RecipeDefinition recipe = recipes::prop_amm_recipe();
  const auto count = testing::by_scale<std::uint64_t>(9, emulated() ? 20 : 200, 2'000);
  struct Row {
    const char* says;
    const char* shows;  // in what the CPU says
    std::string source;
    std::uint64_t steps;
    bool strict = true;
  };
  const std::string reads =
      "let mut b = [0u8; 8]; b.copy_from_slice(&data[1..9]); let x = u64::from_le_bytes(b);\n"
      "b.copy_from_slice(&data[9..17]); let rx = u64::from_le_bytes(b);\n"
      "b.copy_from_slice(&data[17..25]); let ry = u64::from_le_bytes(b);\n"
      "let (r, o) = if data[0] == 0 { (ry, rx) } else { (rx, ry) };\n"
      "let fair = ((x as u128) * (o as u128) / ((r as u128) + (x as u128))) as u64;\n";
  const Row rows[] = {
      {"the challenge's own curve", "avg_edge\":", prop_amm_text("strategies/cp500.rs"), 300},
      {"one that remembers trades", "avg_edge\":", prop_amm_text("strategies/ewma_fee.rs"), 200},
      {"one whose curve has steps", "avg_edge\":", prop_amm_text("strategies/wobble.rs"), 200},
      {"one that breaks its shape", "monotonicity", prop_amm_text("strategies/bad_monotone.rs"), 100},
      {"a curve that is not concave everywhere", "concavity",
       source_of_body(reads + "if x % 3 == 0 { fair } else { fair / 2 }"), 50},
      {"the same, and nobody minds",
       "avg_edge\":", source_of_body(reads + "if x % 3 == 0 { fair } else { fair / 2 }"), 50, false},
      {"a panic some day", "\"kind\":\"panic\"",
       source_of_body(reads + "if rx < 99_000_000_000 { panic!(\"low\") } fair - fair / 100"), 400},
      {"no end", "step_limit", source_of_body(reads + "let mut n = 0u64; while n < x { n += 0; } fair"), 3},
      {"a division by nothing", "a division by zero", source_of_body(reads + "fair / (x - x)"), 3},
      {"doubles, their functions and more stack than a lane has of its own", "avg_edge\":",
       source_of_body(reads +
                      "let mut a = [0u64; 400]; a[(x % 400) as usize] = fair;\n"
                      "let y = ((fair as f64).sqrt().ln() + (x as f64).exp().min(2.0)).abs();\n"
                      "if y > 0.0 { a[(x % 400) as usize] - a[(x % 400) as usize] / 200 } else { 0 }"),
       40},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    json::Object payload = strategy_payload("eval", row.source);
    // A call without an end costs its fuel.
    const bool slow = row.steps == 3;
    payload.set("seed_base", core::seed_value(seed)).set("count", slow ? 2 : count).set("steps", row.steps);
    payload.set("strict_curves", row.strict).set("per_seed", true);
    const std::string cpu = said(run(recipe, payload, "cpu"));
    CAPTURE(cpu);
    CHECK(cpu.find(row.shows) != std::string::npos);
    CHECK(said(run(recipe, payload, "cuda")) == cpu);
    // Again, and a part: the tape is there already.
    CHECK(said(run(recipe, payload, "cuda")) == cpu);
    payload.set("operation", "eval_chunk").set("start", 1).set("count", 1);
    CHECK(said(run(recipe, payload, "cuda")) == said(run(recipe, payload, "cpu")));
    payload.set("operation", "bpf_eval_chunk");
    CHECK(said(run(recipe, payload, "cuda")) == said(run(recipe, payload, "cpu")));
  }
}

TEST_CASE("device: the golden edges of the challenge come out of it") {
  if (!has_device("recipes.device golden")) return;
  const prop_amm::Strategy strategy =
      prop_amm::Strategy::compile(prop_amm_text("strategies/cp500.rs")).value();
  prop_amm::Asked asked;
  asked.count = testing::by_scale<std::uint64_t>(1, emulated() ? 3 : 40, 100);
  asked.steps = testing::by_scale<std::uint32_t>(500, 10'000, 10'000);
  asked.device = Device::cuda;
  std::vector<std::uint64_t> told;
  asked.progress = [&](std::uint64_t done) { told.push_back(done); };
  const prop_amm::Evaluation device = strategy.evaluate(asked).value();
  CHECK(told.back() == asked.count);
  asked.progress = {};
  asked.device = Device::cpu;
  const prop_amm::Evaluation cpu = strategy.evaluate(asked).value();
  REQUIRE(device.edges.size() == cpu.edges.size());
  for (std::size_t i = 0; i < cpu.edges.size(); ++i)
    CHECK(kernels::math::bits_of(device.edges[i].edge) == kernels::math::bits_of(cpu.edges[i].edge));
  CHECK(device.total_edge == cpu.total_edge);
}

TEST_CASE("device: a program that is linked has the interpreter's results, and ends where it does") {
  if (!has_device("recipes.device linked programs")) return;
  const std::uint64_t seed = fresh_seed("linked programs");
  struct Row {
    std::string says;
    std::string source;
    std::uint64_t fuel = kernels::bytecode::fuel_default;
    bool failures_pay_nothing = false;
  };
  std::vector<Row> rows;
  for (const char* name : {"cp30", "ewma_fee", "wobble", "bad_concave_hidden"})
    rows.push_back({name, prop_amm_text("strategies/" + std::string(name) + ".rs")});
  rows.push_back({"too little fuel", prop_amm_text("strategies/ewma_fee.rs"), 150, true});
  rows.push_back(
      {"a panic now and then", source_of_body("let v = u64::from_le_bytes(data[1..9].try_into().unwrap());\n"
                                              "if v % 7 == 3 { panic!(\"no\"); } v / 70")});
  rows.push_back({"the same, which pays nothing", rows.back().source, 100'000, true});
  rows.push_back(
      {"an endless loop", source_of_body("let mut i = 0u64; loop { i = i.wrapping_add(1); }"), 500});
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const auto made = strategy::compile(row.source);
    REQUIRE(std::holds_alternative<strategy::Compiled>(made));
    const auto& compiled = std::get<strategy::Compiled>(made);
    const std::string ptx = strategy::ptx_of(compiled);
    REQUIRE(!ptx.empty());
    const cuda::SizedProgram program{compiled.view(), compiled.code.size(), compiled.pool.size(), ptx.data(),
                                     ptx.size()};
    constexpr std::uint64_t count = 12;
    std::vector<kernel::Result> results(count), expected(count);
    std::vector<kernel::Fault> faults(count), expected_faults(count);
    bool linked = false;
    cuda::PropAmmCall call{};
    call.programs = &program;
    call.program_count = 1;
    call.seed_first = seed;
    call.count = count;
    call.settings = {40, true};
    call.rules = {row.fuel, row.failures_pay_nothing};
    call.results = results.data();
    call.faults = faults.data();
    call.linked = &linked;
    REQUIRE(cuda::load().module->prop_amm(&call) == cuda::Status::ok);
    CAPTURE(std::string(cuda::load().module->last_error()));
    CHECK(linked);
    std::vector<std::uint64_t> stack(compiled.stack_slots);
    kernel::prop_amm_range(program.view, stack.data(), seed, 0, count, call.settings, call.rules,
                           expected.data(), expected_faults.data());
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(kernels::math::bits_of(results[i].edge) == kernels::math::bits_of(expected[i].edge));
      CHECK(results[i].end == expected[i].end);
      CHECK(results[i].search == expected[i].search);
      CHECK(results[i].step == expected[i].step);
      CHECK(faults[i].ending == expected_faults[i].ending);
      CHECK(faults[i].at == expected_faults[i].at);
    }
  }
}

TEST_CASE("device: programs of 2,000 steps and more are linked, shorter ones are not") {
  // A device that is one does not tell in this way.
  if (!emulated()) return;
  const auto made = prop_amm::Strategy::compile(prop_amm_text("strategies/cp30.rs"));
  REQUIRE(made);
  const char* const forced = std::getenv("CALYX_CUDA_PTX");
  for (const std::uint32_t steps : {1'999U, 2'000U}) {
    CAPTURE(steps);
    prop_amm::Asked asked;
    asked.count = 1;
    asked.steps = steps;
    asked.device = Device::cpu;
    const auto here = made->evaluate(asked);
    asked.device = Device::cuda;
    const auto there = made->evaluate(asked);
    REQUIRE(here);
    REQUIRE(there);
    CHECK(there->edges.front().edge == here->edges.front().edge);
    const bool linked = std::string_view(cuda::load().module->last_error()) == "it ran PTX";
    CHECK(linked == (forced != nullptr || steps >= 2'000));
  }
}

TEST_CASE("device: several strategies in one call, and a seed that wraps") {
  if (!has_device("recipes.device batch of strategies")) return;
  // Bytecode is the recipes' own affair; here a program that pays a fixed share of the input, and one that
  // pays nothing, stand for many.
  using kernels::bytecode::Instruction;
  using kernels::bytecode::Op;
  const Instruction nothing[] = {{Op::load, 0, 0, 0}, {Op::leave, 0, 0, 0}};
  // The input lies at 1 of the payload, whose address is in slot 0.
  const Instruction share[] = {{Op::load_64, 2, 0, 1}, {Op::shift_right_i, 0, 2, 6}, {Op::leave, 0, 0, 0}};
  const auto program = [](const Instruction* code, std::uint64_t instructions) {
    cuda::SizedProgram out{};
    out.view.code = code;
    out.view.stack_slots = 8;
    out.view.compute_swap = 0;
    out.instructions = instructions;
    return out;
  };
  const cuda::SizedProgram programs[] = {program(nothing, 2), program(share, 3), program(nothing, 2)};
  constexpr std::uint64_t count = 70;
  const std::uint64_t seed_first = ~std::uint64_t{0} - 5;
  std::vector<kernels::prop_amm::Result> results(3 * count), expected(count);
  std::vector<kernels::prop_amm::Fault> faults(3 * count), expected_faults(count);
  cuda::PropAmmCall call{};
  call.programs = programs;
  call.program_count = 3;
  call.seed_first = seed_first;
  call.count = count;
  call.settings = {60, true};
  call.results = results.data();
  call.faults = faults.data();
  REQUIRE(cuda::load().module->prop_amm(&call) == cuda::Status::ok);
  bool differs = false;
  for (std::size_t p = 0; p < 3; ++p) {
    std::uint64_t stack[8];
    kernels::prop_amm::prop_amm_range(programs[p].view, stack, seed_first, 0, count, call.settings,
                                      call.rules, expected.data(), expected_faults.data());
    for (std::size_t i = 0; i < count; ++i) {
      const kernels::prop_amm::Result& one = results[p * count + i];
      CHECK(kernels::math::bits_of(one.edge) == kernels::math::bits_of(expected[i].edge));
      CHECK(one.end == expected[i].end);
      CHECK(one.search == expected[i].search);
      CHECK(one.step == expected[i].step);
      CHECK(faults[p * count + i].ending == expected_faults[i].ending);
      differs = differs || one.end != results[i].end || one.edge != results[i].edge;
    }
  }
  CHECK(differs);
}

TEST_CASE("device: an object's simulations are the CPU's to the bit, and so is how its calls fail") {
  if (!has_device("recipes.device objects")) return;
  const std::uint64_t seed = fresh_seed("objects");
  struct Row {
    std::string says;
    strategy::SbpfObject object;
    std::uint32_t steps;
    sbpf::Ending fails = sbpf::Ending::returned;
    std::uint64_t limit = sbpf::instructions_default;
  };
  using sbpf::Ending;
  using testing::Slot;
  using testing::wide;
  std::vector<Row> rows;
  for (const std::string& name : object_names()) {
    const bool spins = name.starts_with("spin");
    const Ending fails = spins                           ? Ending::instruction_limit
                         : name.starts_with("wild_read") ? Ending::memory_access
                                                         : Ending::returned;
    rows.push_back({name, testing::loaded_file(name), spins ? 5U : 30U, fails,
                    spins ? 5'000 : sbpf::instructions_default});
  }
  REQUIRE(rows.size() == 11);
  rows.push_back({"a limit in the middle of a quote", testing::loaded_file("ewma_fee.sbf.so"), 30,
                  Ending::instruction_limit, 150});
  // In these the counts of calls, which are kept in the stack and in the heap, are part of what is paid.
  const std::vector<Slot> counts = {{0x79, 4, 10, -512}, {0x07, 4, 0, 0, 1},  {0x7b, 10, 4, -512},
                                    {0x57, 4, 0, 0, 63}, {0x67, 4, 0, 0, 12}, {0x0f, 2, 4}};
  rows.push_back({"a stack that remembers", program_of(counts), 30});
  rows.push_back({"a heap that remembers",
                  program_of(testing::joined({wide(5, 0x300000000U + sbpf::heap_bytes_max - 8),
                                              {{0x79, 4, 5},
                                               {0x07, 4, 0, 0, 1},
                                               {0x7b, 5, 4},
                                               {0x57, 4, 0, 0, 63},
                                               {0x67, 4, 0, 0, 12},
                                               {0x0f, 2, 4}}})),
                  30});
  rows.push_back({"an endless loop", program_of({{0x05, 0, 0, -1}}), 30, Ending::instruction_limit, 500});
  rows.push_back({"a write to the image",
                  program_of(testing::joined({wide(4, 0x100000000U), {{0x7b, 4, 2}}})), 30,
                  Ending::memory_access});
  rows.push_back(
      {"a read past the heap",
       program_of(testing::joined({wide(4, 0x300000000U + sbpf::heap_bytes_max - 7), {{0x79, 0, 4}}})), 30,
       Ending::memory_access});
  rows.push_back({"a read between two frames",
                  program_of(testing::joined({wide(4, 0x200000000U + sbpf::frame_bytes), {{0x79, 0, 4}}})),
                  30, Ending::memory_access});
  rows.push_back(
      {"a division by nothing", program_of({{0xb7, 4}, {0x3f, 2, 4}}), 30, Ending::divide_by_zero});
  rows.push_back(
      {"calls as deep as they go, and one more", program_of({{0x85, 0, 1, 0, -5}}), 30, Ending::call_depth});
  rows.push_back({"a call of nobody", program_that_calls("sol_unheard_of", {}), 30, Ending::unknown_call});
  rows.push_back({"a call of no code",
                  program_of(testing::joined({wide(4, 0x500000000U), {{0x8d, 0, 0, 0, 4}}})), 30,
                  Ending::call_outside});
  rows.push_back({"a call into the middle of an instruction",
                  program_of(testing::joined(
                      {wide(4, 0x100000000U + testing::DynamicFile::slot_at(5)), {{0x8d, 0, 0, 0, 4}}})),
                  30, Ending::bad_instruction});
  rows.push_back({"a jump past the end", program_of({{0x05, 0, 0, 7}}), 30, Ending::overrun});
  rows.push_back({"abort", program_that_calls("abort", {}), 30, Ending::aborted});
  rows.push_back({"nine bytes of an answer", program_that_calls("sol_set_return_data", {{0xb7, 2, 0, 0, 9}}),
                  30, Ending::argument_too_long});
  // These pay what lies twice as far, which a move in the wrong direction would have overwritten.
  for (const int aside : {1, 8})
    rows.push_back({"the heap over itself, aside by " + std::to_string(aside),
                    program_of(testing::joined({wide(5, 0x300000000U),
                                                {{0x7b, 5, 2},
                                                 {0xbf, 1, 5},
                                                 {0x07, 1, 0, 0, aside},
                                                 {0xbf, 2, 5},
                                                 {0xb7, 3, 0, 0, 48},
                                                 {0x85, 0, 0, 0, -1},
                                                 {0x79, 2, 5, 2 * aside},
                                                 {0x67, 2, 0, 0, aside == 1 ? 8 : 0}}}),
                               {{testing::DynamicFile::slot_at(11), 10, "sol_memmove_"}}),
                    30});
  rows.push_back({"more moved than may be", program_that_moves(), 1, Ending::instruction_limit});
  const auto most = testing::by_scale<std::uint64_t>(9, emulated() ? 20 : 300, 500);
  for (const Row& row : rows) {
    CAPTURE(row.says);
    // Moving all that may be moved takes its time.
    const std::uint64_t count = row.steps == 1 ? 4 : most;
    for (const bool strict : {true, false}) {
      const ObjectSeeds seeds{seed, count, {row.steps, strict}, row.limit};
      const Simulated cpu = seeds.on_cpu(row.object);
      const auto failed = [&](const kernel::SbpfFaults& faults) { return faults.first == row.fails; };
      CHECK(std::any_of(cpu.faults.begin(), cpu.faults.end(), failed));
      Simulated device(count);
      REQUIRE(seeds.on_device(row.object.view(), device) == cuda::Status::ok);
      CHECK(same(device, cpu));
    }
  }
}

TEST_CASE("device: an object runs over as many launches and tapes as its seeds need, and these wrap") {
  if (!has_device("recipes.device object launches")) return;
  const strategy::SbpfObject object = testing::loaded_file("ewma_fee.sbf.so");
  // The emulated device has 3 lanes a launch and 8 a tape.
  for (const std::uint64_t count : {0U, 1U, 2U, 3U, 4U, 8U, 9U, 17U}) {
    CAPTURE(count);
    const ObjectSeeds seeds{~std::uint64_t{0} - 5, count, {20, true}};
    Simulated device(count);
    REQUIRE(seeds.on_device(object.view(), device) == cuda::Status::ok);
    CHECK(same(device, seeds.on_cpu(object)));
  }
}

TEST_CASE("device: eBPF by chance does there what it does here") {
  if (!has_device("recipes.device random objects")) return;
  testing::Dice dice(fresh_seed("random objects"));
  const testing::RandomPrograms random;
  const auto wanted = testing::by_scale(30, emulated() ? 300 : 60, 3'000);
  int loaded = 0;
  std::uint64_t failed = 0;
  std::uint64_t answered = 0;
  for (int i = 0; i < wanted; ++i) {
    const testing::DynamicFile file = i % 4 == 0 ? random.next(dice) : testing::SoundPrograms::next(dice);
    const auto made = strategy::load_elf(file.bytes());
    const auto* const object = std::get_if<strategy::SbpfObject>(&made);
    if (object == nullptr) continue;
    ++loaded;
    const ObjectSeeds seeds{dice.next(), 4, {2, false}, 2'000};
    const Simulated cpu = seeds.on_cpu(*object);
    Simulated device(4);
    REQUIRE(seeds.on_device(object->view(), device) == cuda::Status::ok);
    CHECK(same(device, cpu));
    for (const kernel::SbpfFaults& faults : cpu.faults) ++(faults.count != 0 ? failed : answered);
  }
  CHECK(loaded > wanted / 2);
  CHECK(failed != 0);
  CHECK(answered != 0);
}

TEST_CASE("device: CP-24: the recipe's results of an object are the CPU's bytes") {
  if (!has_device("recipes.device bpf_eval")) return;
  const std::uint64_t seed = fresh_seed("bpf_eval");
  const RecipeDefinition recipe = recipes::prop_amm_recipe();
  for (const std::string& name : object_names()) {
    CAPTURE(name);
    const std::string file = prop_amm_text("strategies/" + name);
    json::Object payload;
    payload.set("operation", "bpf_eval").set("strategy_ref", "art_object").set("per_seed", true);
    payload.set("seed_base", core::seed_value(seed)).set("count", 10);
    payload.set("steps", name.starts_with("spin") ? 1 : 60);
    const std::string cpu = said(run(recipe, payload, "cpu", {}, file));
    CHECK(cpu.find("\"edges\":[{") != std::string::npos);
    CHECK(said(run(recipe, payload, "cuda", {}, file)) == cpu);
    CHECK(said(run(recipe, payload, "auto", {}, file)) == cpu);
    payload.set("operation", "bpf_eval_chunk").set("start", 3).set("count", 4);
    CHECK(said(run(recipe, payload, "cuda", {}, file)) == said(run(recipe, payload, "cpu", {}, file)));
  }
}

TEST_CASE("device: an object goes there where it is asked for, and stays here unasked") {
  if (!emulated()) return;
  const std::vector<unsigned char> file = testing::object_file("cp30.bpf.o");
  const prop_amm::Strategy object = prop_amm::Strategy::load(file).value();
  std::vector<std::uint64_t> told;
  prop_amm::Asked asked{.count = 10, .steps = 30, .device = Device::cuda};
  asked.progress = [&](std::uint64_t done) { told.push_back(done); };
  const prop_amm::Evaluation device = object.evaluate(asked).value();
  CHECK(told == std::vector<std::uint64_t>{3, 6, 8, 10});
  told.clear();
  asked.device = Device::cpu;
  CHECK(*object.evaluate(asked).value().total_edge == *device.total_edge);
  CHECK(told.size() == 10);
  told.clear();
  // As many as take a source there.
  asked.count = 16'384;
  asked.steps = 1;
  asked.device = Device::automatic;
  CHECK(object.evaluate(asked).ok());
  CHECK(told.size() == 16'384);
}

TEST_CASE("device: an object is stopped while it runs, by its instructions or by what they move") {
  if (!has_device("recipes.device object stop")) return;
  // Quotes of 100,000 instructions, or of few that move 8 MiB: the whole would take hours.
  const strategy::SbpfObject objects[] = {testing::loaded_file("spin.sbf.so"), program_that_moves()};
  for (const strategy::SbpfObject& object : objects) {
    const ObjectSeeds seeds{7, 64, {kernel::steps_default, false}};
    Simulated device(64);
    const std::uint64_t unwritten = 77;
    for (kernel::SbpfFaults& faults : device.faults) faults.count = unwritten;
    std::atomic<int> looks{0};
    const kernel::Stop stop{[](void* context) { return ++*static_cast<std::atomic<int>*>(context) > 20; },
                            &looks};
    CHECK(seeds.on_device(object.view(), device, stop) == cuda::Status::stopped);
    CHECK(looks.load() > 20);
    CHECK(device.faults.back().count == unwritten);
  }
  const prop_amm::Strategy strategy = prop_amm::Strategy::load(testing::object_file("spin.bpf.o")).value();
  prop_amm::Asked asked{.count = 64, .strict_curves = false, .device = Device::cuda};
  std::atomic<int> looks{0};
  asked.stopped = [&] { return ++looks > 20; };
  CHECK(strategy.evaluate(asked).reason() == Reason::stopped);
}

TEST_CASE("device: an evaluation is stopped while it runs") {
  if (!has_device("recipes.device stop")) return;
  // Each quote takes some tenth of its fuel, so that the whole would take hours.
  const prop_amm::Strategy strategy =
      prop_amm::Strategy::compile(source_of_body("let mut n = 0u64; while n < 300_000 { n += 1; } 0"))
          .value();
  prop_amm::Asked asked;
  asked.count = 64;
  asked.device = Device::cuda;
  std::atomic<int> looks{0};
  asked.stopped = [&] { return ++looks > 20; };
  CHECK(strategy.evaluate(asked).reason() == Reason::stopped);
}

TEST_CASE("device: what runs on the CPU alone says so") {
  const bool here = cuda::load().answers;
  json::Object few;
  json::Array three{json::Value(0), json::Value(0), json::Value(0)};
  few.set("operation", "eval").set("pieces", 1).set("candidate", std::move(three));
  testing::Dice dice(1);
  json::Object polygons;
  polygons.set("operation", "eval").set("areas", "polygon").set("candidate", random_candidate(dice, 0.0));
  const std::string source = prop_amm_text("strategies/cp500.rs");
  const std::pair<RecipeDefinition, json::Object> rows[] = {
      {recipes::packing_recipe(), few},
      {recipes::packing_recipe(), polygons},
      {recipes::prop_amm_recipe(), strategy_payload("validate", source)},
      {recipes::prop_amm_recipe(), strategy_payload("build", source)},
  };
  for (const auto& [recipe, payload] : rows) {
    const Result<json::Value> refused = run(recipe, payload, "cuda");
    REQUIRE(refused.reason() == Reason::unsupported);
    CHECK(*refused.error().details.find("field")->string() == "/payload/device");
    CHECK((refused.error().message.find("on the CPU alone") != std::string::npos) == here);
    CHECK((refused.error().message.find("no such device answers here") != std::string::npos) == !here);
    CHECK(run(recipe, payload, "auto").ok());
  }
}

TEST_CASE("device: without one, `cuda` is refused with the reason, and `auto` is the CPU") {
  if (cuda::load().answers) return;
  CHECK(*cuda::load().why != '\0');
  if (const char* which = std::getenv("CALYX_TEST_MODULE");
      which != nullptr && std::string_view(which) == "foreign")
    CHECK(std::string_view(cuda::load().why).find("another version") != std::string_view::npos);
  std::vector<double> numbers(kernels::packing::sample_candidate,
                              kernels::packing::sample_candidate + packing::candidate_numbers);
  std::vector<packing::Verdict> out(1);
  const Result<Done> refused = packing::evaluate_batch(numbers, out, Device::cuda);
  REQUIRE(refused.reason() == Reason::unsupported);
  CHECK(refused.error().message.find(cuda::load().why) != std::string::npos);
  CHECK(packing::evaluate_batch(numbers, out).ok());
  CHECK(out[0].valid);
  CHECK(packing::search({.max_evaluations = 10, .device = Device::cuda}).reason() == Reason::unsupported);
  CHECK(packing::search({.max_evaluations = 10}).ok());
  prop_amm::Asked asked{.count = 1, .steps = 10, .device = Device::cuda};
  const prop_amm::Strategy strategy =
      prop_amm::Strategy::compile(prop_amm_text("strategies/cp500.rs")).value();
  CHECK(strategy.evaluate(asked).reason() == Reason::unsupported);
  const prop_amm::Strategy object = prop_amm::Strategy::load(testing::object_file("cp30.bpf.o")).value();
  CHECK(object.evaluate(asked).reason() == Reason::unsupported);
  asked.device = Device::automatic;
  CHECK(strategy.evaluate(asked).ok());
  CHECK(object.evaluate(asked).ok());
}

TEST_CASE("device: one that fails in the middle is told, or unasked the CPU takes its place") {
  if (!emulated()) return;
  ::setenv("CALYX_TEST_DEVICE_FAILS", "1", 1);
  std::vector<double> numbers;
  for (std::size_t i = 0; i < kernels::packing_device_min; ++i)
    numbers.insert(numbers.end(), kernels::packing::sample_candidate,
                   kernels::packing::sample_candidate + packing::candidate_numbers);
  std::vector<packing::Verdict> out(kernels::packing_device_min);
  const Result<Done> failed = packing::evaluate_batch(numbers, out, Device::cuda);
  CHECK(failed.reason() == Reason::io_error);
  CHECK(failed.error().message.find("it was told to") != std::string::npos);
  CHECK(packing::evaluate_batch(numbers, out).ok());
  CHECK(out.back().valid);
  CHECK(packing::search({.max_evaluations = 10, .device = Device::cuda}).reason() == Reason::io_error);
  const prop_amm::Strategy strategy =
      prop_amm::Strategy::compile(prop_amm_text("strategies/cp500.rs")).value();
  prop_amm::Asked asked{.count = 16'384, .steps = 1, .device = Device::cuda};
  CHECK(strategy.evaluate(asked).reason() == Reason::io_error);
  asked.device = Device::automatic;
  CHECK(strategy.evaluate(asked).value().edges.size() == 16'384);
  json::Object probe;
  probe.set("operation", "measure");
  CHECK(run(recipes::gpu_probe_recipe(), probe, "auto").reason() == Reason::io_error);
  const prop_amm::Strategy object = prop_amm::Strategy::load(testing::object_file("cp30.sbf.so")).value();
  prop_amm::Asked few{.count = 4, .steps = 10, .device = Device::cuda};
  const Result<prop_amm::Evaluation> object_failed = object.evaluate(few);
  CHECK(object_failed.reason() == Reason::io_error);
  CHECK(object_failed.error().message.find("it was told to") != std::string::npos);
  ::setenv("CALYX_TEST_DEVICE_FAILS", "no_memory", 1);
  CHECK(object.evaluate(few).reason() == Reason::no_memory);
  CHECK(strategy.evaluate({.count = 4, .steps = 1, .device = Device::cuda}).reason() == Reason::no_memory);
  ::unsetenv("CALYX_TEST_DEVICE_FAILS");
  CHECK(object.evaluate(few).value().edges.size() == 4);
  const prop_amm::Evaluation again = strategy.evaluate(asked).value();
  asked.device = Device::cpu;
  CHECK(again.total_edge == strategy.evaluate(asked).value().total_edge);
}

TEST_CASE("gpu_probe: a payload that does not fit is refused, and so is a host without a device") {
  const RecipeDefinition recipe = recipes::gpu_probe_recipe();
  const auto with = [](std::string_view name, json::Value value) {
    json::Object out;
    out.set("operation", "measure").set(std::string(name), std::move(value));
    return json::Value(std::move(out));
  };
  const std::pair<json::Value, const char*> rows[] = {
      {json::object({}), "/payload/operation"}, {with("size", 255), "/payload/size"},
      {with("size", 257), "/payload/size"},     {with("size", 16'385), "/payload/size"},
      {with("tries", 0), "/payload/tries"},     {with("device", "cpu"), "/payload/device"},
      {with("count", 1), "/payload/count"},
  };
  for (const auto& [payload, field] : rows) {
    const Result<Done> refused = recipe.check(payload);
    REQUIRE_FALSE(refused.ok());
    CHECK(*refused.error().details.find("field")->string() == field);
  }
  CHECK(recipe.check(with("size", 16'384)).ok());
  if (cuda::load().answers) return;
  json::Object payload;
  payload.set("operation", "measure");
  const Result<json::Value> refused = run(recipe, payload, "auto");
  CHECK(refused.reason() == Reason::unsupported);
  CHECK(refused.error().message.find("no such device answers here") != std::string::npos);
}

TEST_CASE("gpu_probe: a device is measured, and its products are right") {
  if (!has_device("recipes.device gpu_probe")) return;
  json::Object payload;
  payload.set("operation", "measure").set("size", 512).set("tries", 2);
  const Result<json::Value> result = run(recipes::gpu_probe_recipe(), payload, "cuda");
  REQUIRE_MESSAGE(result.ok(), said(result));
  CAPTURE(json::canonical(*result));
  CHECK(result->find("memory_bytes_per_s")->real()->value > 0.0);
  CHECK(result->find("to_device_bytes_per_s")->real()->value > 0.0);
  if (result->find("verified")->is_null())
    testing::skipped("recipes.device gpu_probe products", "libcublas is not there");
  else
    CHECK(*result->find("verified")->boolean());
  CHECK(run(recipes::gpu_probe_recipe(), payload, "cuda", [] { return true; }).reason() == Reason::stopped);
}
