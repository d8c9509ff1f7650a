// Every operation of the recipes on the device and on the CPU: the same bytes. Run with the module of CUDA
// where one was built, and with one that the host emulates; CALYX_TEST_MODULE says which.
#include <doctest/doctest.h>

#include <atomic>
#include <calyx/core/encoding.hpp>
#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>
#include <calyx/prop_amm.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/packing_sample.hpp"
#include "prop_amm_vectors.hpp"
#include "recipes/recipes.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::prop_amm_text;
namespace cuda = kernels::cuda;
namespace json = core::json;

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
                        std::function<bool()> stopped = {}) {
  payload.set("device", device);
  const json::Value whole(std::move(payload));
  CALYX_CHECK(recipe.check(whole));
  TaskCall call{.payload = whole};
  call.stopped = std::move(stopped);
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
                               .checkpoint_every = 4'000};
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
    for (const std::string& checkpoint : kept) {
      CHECK(same(packing::search(options, {}, {}, checkpoint).value()));
      options.device = Device::cpu;
      CHECK(same(packing::search(options, {}, {}, checkpoint).value()));
      options.device = Device::cuda;
    }
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
  asked.device = Device::automatic;
  CHECK(strategy.evaluate(asked).ok());
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
  ::unsetenv("CALYX_TEST_DEVICE_FAILS");
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
