// Strategies without a market: what the challenge's validation says of them, and evaluations on several
// threads.
#include <atomic>
#include <calyx/enclosure.hpp>
#include <calyx/prop_amm.hpp>

#include "prop_amm_vectors.hpp"

using namespace calyx;
using calyx::prop_amm::Checks;
using calyx::prop_amm::Strategy;
using testing::prop_amm_text;

namespace {

Strategy strategy(const std::string& name) {
  return Strategy::compile(prop_amm_text("strategies/" + name + ".rs")).value();
}

/// A strategy whose `compute_swap` has this body.
Strategy of_body(const std::string& body) {
  return Strategy::compile(
             "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n"
             "pub fn get_model_used() -> &'static str { MODEL_USED }\n"
             "pub fn compute_swap(data: &[u8]) -> u64 {\n" +
             body + "\n}\n")
      .value();
}

/// What the vectors expect of one operation: `word` is pass or reject.
void compare(const Strategy& strategy, Checks checks, std::string_view word, std::string_view reason,
             simdjson::dom::element expected) {
  const prop_amm::Verdict verdict = strategy.validate(checks).value();
  REQUIRE((word == "pass" || word == "reject"));
  CHECK(verdict.valid == (word == "pass"));
  CHECK(verdict.reason == reason);
  CHECK(verdict.message.empty() == verdict.valid);
  std::string_view side;
  if (!verdict.valid && reason != "runtime_shape" && expected["side"].get(side) == simdjson::SUCCESS)
    CHECK(verdict.side == side);
  double size = 0.0;
  if (!verdict.valid && reason != "runtime_shape" && expected["size"].get(size) == simdjson::SUCCESS)
    CHECK(verdict.size == size);
}

void compare_all(const Strategy& strategy, simdjson::dom::element expected) {
  const auto word = [&](const char* member) {
    std::string_view out;
    return expected[member].get(out) == simdjson::SUCCESS ? out : std::string_view();
  };
  // The hidden kink is found by the simulations alone.
  const std::string_view reason = word("reason");
  if (!word("validate").empty())
    compare(strategy, Checks::fast, word("validate"), word("validate") == "pass" ? "" : reason, expected);
  if (!word("validate_full").empty())
    compare(strategy, Checks::full, word("validate_full"), reason, expected);
  if (!word("concavity_check").empty())
    compare(strategy, Checks::concavity, word("concavity_check"), word("concavity_check_reason"), expected);
}

}  // namespace

TEST_CASE("prop_amm: strategies are valid, or not, for the challenge's reasons") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(testing::prop_amm_file("validate.json")).get(root) == simdjson::SUCCESS);
  std::size_t judged = 0;
  for (const auto [name, expected] : simdjson::dom::object(root["strategies"])) {
    const std::string named(name);  // clang 14 captures no structured binding
    CAPTURE(named);
    const Strategy made = strategy(std::string(name));
    compare_all(made, expected);
    double total = 0.0;
    if (expected["parity_total"].get(total) == simdjson::SUCCESS) {
      const prop_amm::Verdict verdict = made.validate(Checks::full).value();
      REQUIRE(verdict.runs);
      CHECK(verdict.runs->edges.size() == 12);
      CHECK(*verdict.runs->total_edge == doctest::Approx(total).epsilon(1e-9));
    }
    ++judged;
  }
  CHECK(judged == 8);
  std::size_t compiled = 0;
  for (const auto entry : simdjson::dom::array(root["source_cases"])) {
    CAPTURE(std::string(std::string_view(entry["name"])));
    const Result<Strategy> made = Strategy::compile(std::string_view(entry["source"]));
    if (!made.ok()) {
      CHECK(made.reason() == Reason::strategy_refused);
      CHECK(*made.error().details.find("code")->string() == std::string_view(entry["reason"]));
      CHECK(*made.error().details.find("line")->integer() >= 1);
      continue;
    }
    compare_all(*made, entry);
    ++compiled;
  }
  CHECK(compiled == 8);
}

TEST_CASE("prop_amm: a call that does not return is told with its line") {
  const prop_amm::Verdict panics = of_body("let x = data[5000]; x as u64").validate(Checks::fast).value();
  CHECK_FALSE(panics.valid);
  CHECK(panics.reason == "panic");
  CHECK(panics.line == 4);
  CHECK(panics.message == "an index or a range lies outside of its slice");
  const prop_amm::Verdict spins = of_body("loop {}").validate(Checks::fast).value();
  CHECK(spins.reason == "step_limit");
  CHECK(spins.line == 4);
}

TEST_CASE("prop_amm: threads and chunks change nothing") {
  const Strategy made = strategy("ewma_fee");
  prop_amm::Asked asked{.seed_base = ~std::uint64_t{0} - 3, .count = 24, .steps = 200};
  std::uint64_t told = 0;
  asked.progress = [&](std::uint64_t done) { told = std::max(told, done); };
  const prop_amm::Evaluation one = made.evaluate(asked).value();
  REQUIRE(one.edges.size() == 24);
  CHECK(told == 24);
  CHECK(one.edges[4].seed == 0);  // they wrap
  asked.threads = 3;
  const prop_amm::Evaluation three = made.evaluate(asked).value();
  CHECK(*one.total_edge == *three.total_edge);
  CHECK(*one.avg_edge == *one.total_edge / 24.0);
  double chunks = 0.0;
  for (asked.start = 0; asked.start < 24; asked.start += 8) {
    asked.count = 8;
    const prop_amm::Evaluation chunk = made.evaluate(asked).value();
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(chunk.edges[i].seed == one.edges[asked.start + i].seed);
      CHECK(chunk.edges[i].edge == one.edges[asked.start + i].edge);
      chunks += chunk.edges[i].edge;
    }
  }
  CHECK(chunks == *one.total_edge);  // added in the same order
}

TEST_CASE("prop_amm: a violation has no edge, and no mean is made of the rest") {
  const Strategy made = strategy("bad_concave_hidden");
  prop_amm::Asked asked{.count = 8, .steps = 2'000};
  const prop_amm::Evaluation strict = made.evaluate(asked).value();
  CHECK(strict.violations > 0);
  CHECK_FALSE(strict.total_edge);
  CHECK_FALSE(strict.avg_edge);
  std::uint64_t told = 0;
  for (const prop_amm::SeedEdge& edge : strict.edges) {
    if (!edge.violation) continue;
    ++told;
    CHECK(edge.violation->kind == "concavity");
    CHECK(edge.violation->context.ends_with("search"));
  }
  CHECK(told == strict.violations);
  asked.strict_curves = false;
  const prop_amm::Evaluation loose = made.evaluate(asked).value();
  CHECK(loose.violations == 0);
  CHECK(loose.total_edge);
}

TEST_CASE("prop_amm: the first seed at which a call fails ends all, whoever ran it") {
  // Reserves that only some simulations come to, at steps of their own.
  const std::string body =
      "let rx = u64::from_le_bytes(data[9..17].try_into().unwrap()) as u128;\n"
      "let ry = u64::from_le_bytes(data[17..25].try_into().unwrap()) as u128;\n"
      "let input = u64::from_le_bytes(data[1..9].try_into().unwrap()) as u128 * 9934 / 10000;\n"
      "if ry > 10_600_000_000_000 { panic!() }\n"
      "if data[0] == 0 { (rx * input / (ry + input)) as u64 } else { (ry * input / (rx + input)) as u64 }";
  const Strategy made = of_body(body);
  prop_amm::Asked asked{.count = 40, .steps = 300};
  const prop_amm::Evaluation one = made.evaluate(asked).value();
  REQUIRE(one.failure);
  CHECK(one.failure->kind == "panic");
  CHECK(one.failure->line == 7);
  CHECK(one.failure->step > 0);
  CHECK(one.failure->seed > 0);
  CHECK(one.edges.size() == one.failure->seed);
  CHECK_FALSE(one.total_edge);
  asked.threads = 4;
  const prop_amm::Evaluation four = made.evaluate(asked).value();
  REQUIRE(four.failure);
  CHECK(four.failure->seed == one.failure->seed);
  CHECK(four.failure->step == one.failure->step);
  CHECK(four.edges.size() == one.edges.size());

  // By the rules of the BPF runtime such a quote pays nothing, and all goes on.
  asked.bpf_rules = true;
  asked.strict_curves = false;
  const prop_amm::Evaluation lenient = made.evaluate(asked).value();
  CHECK_FALSE(lenient.failure);
  CHECK(lenient.edges.size() == 40);
}

TEST_CASE("prop_amm: by the rules of the BPF runtime a failed after_swap leaves the storage as it was") {
  const std::string head =
      "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n"
      "pub fn get_model_used() -> &'static str { MODEL_USED }\n"
      "pub fn compute_swap(data: &[u8]) -> u64 {\n"
      "  let rx = u64::from_le_bytes(data[9..17].try_into().unwrap()) as u128;\n"
      "  let ry = u64::from_le_bytes(data[17..25].try_into().unwrap()) as u128;\n"
      "  let keep = 9934 - data[25] as u128;\n"
      "  let input = u64::from_le_bytes(data[1..9].try_into().unwrap()) as u128 * keep / 10000;\n"
      "  if data[0] == 0 { (rx * input / (ry + input)) as u64 } else { (ry * input / (rx + input)) as u64 }\n"
      "}\n";
  const std::string writes = "pub fn after_swap(data: &[u8], storage: &mut [u8]) { storage[0] = 200;";
  const Strategy plain = Strategy::compile(head).value();
  const Strategy breaks = Strategy::compile(head + writes + " panic!() }").value();
  const Strategy keeps = Strategy::compile(head + writes + " }").value();
  const prop_amm::Asked asked{.count = 4, .steps = 300, .bpf_rules = true};
  const double total = *plain.evaluate(asked).value().total_edge;
  CHECK(*breaks.evaluate(asked).value().total_edge == total);
  CHECK(*keeps.evaluate(asked).value().total_edge != total);
}

TEST_CASE("prop_amm: whoever asks it to stop is heard within a call's fuel") {
  // Each call uses most of its fuel: a simulation would take hours.
  const Strategy made = of_body("let mut i = 0u64; while i < 2_000_000 { i += 1; } i");
  std::atomic<std::uint64_t> asks{0};
  prop_amm::Asked asked{.count = 2, .threads = 2};
  asked.stopped = [&] { return asks.fetch_add(1) > 5; };
  CHECK(made.evaluate(asked).reason() == Reason::stopped);
  asks = 5;
  CHECK(made.validate(Checks::full, asked.stopped).reason() == Reason::stopped);
}

TEST_CASE("prop_amm: what is asked has limits, and they are told") {
  const Strategy made = strategy("cp30");
  CHECK(made.name() == "cp 30 bps");
  CHECK(made.model_used() == "None");
  prop_amm::Asked asked{.count = 0};
  CHECK(made.evaluate(asked).reason() == Reason::field_value);
  asked.count = prop_amm::count_max + 1;
  CHECK(made.evaluate(asked).error().message == "is 1000001, takes 1 to 1000000");
  asked = {.steps = 0};
  CHECK(made.evaluate(asked).reason() == Reason::field_value);
  asked = {.threads = 0};
  CHECK(made.evaluate(asked).reason() == Reason::field_value);
}

TEST_CASE("prop_amm: one source has one bytecode") {
  const std::string bytes = strategy("cp66").bytecode();
  CHECK(bytes == strategy("cp66").bytecode());
  CHECK(bytes != strategy("cp500").bytecode());
  CHECK(bytes.starts_with("calyx-bytecode/1\n"));
  CHECK(bytes.size() >= 17 + 24 + 12 * strategy("cp66").instructions());
}

TEST_CASE("prop_amm: an eBPF object earns what the challenge's own runtime said, and is not believed") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(testing::prop_amm_file("bpf.json")).get(root) == simdjson::SUCCESS);
  std::size_t compared = 0;
  for (const char* name : {"cp30", "ewma_fee"}) {
    for (const char* kind : {".bpf.o", ".sbf.so"}) {
      const std::string file = prop_amm_text(std::string("strategies/") + name + kind);
      const Strategy object =
          Strategy::load({reinterpret_cast<const unsigned char*>(file.data()), file.size()}).value();
      CHECK(object.name().empty());
      CHECK(object.validate(Checks::fast).reason() == Reason::unsupported);
      for (const auto block :
           simdjson::dom::array(root["objects"][name]["edges_through_the_challenge_bpf_runtime"])) {
        const auto steps = static_cast<std::uint32_t>(testing::prop_amm_number(block["steps"]));
        if (steps > 200) continue;
        for (const auto edge : simdjson::dom::array(block["edges"])) {
          const std::uint64_t seed = testing::prop_amm_number(edge["seed"]);
          const prop_amm::Evaluation found =
              object.evaluate({.seed_base = seed, .count = 1, .steps = steps}).value();
          CHECK(kernels::math::bits_of(found.edges.at(0).edge) ==
                std::stoull(std::string(std::string_view(edge["bits"])), nullptr, 16));
          ++compared;
        }
      }
      const prop_amm::Evaluation one = object.evaluate({.count = 6, .steps = 100}).value();
      const prop_amm::Evaluation two = object.evaluate({.count = 6, .steps = 100, .threads = 2}).value();
      CHECK(*one.total_edge == *two.total_edge);
    }
  }
  CHECK(compared >= 8);
  const unsigned char none[] = {0x7f, 'E', 'L', 'F', 2, 1};
  const Result<Strategy> refused = Strategy::load(none);
  CHECK(refused.reason() == Reason::strategy_refused);
  CHECK(*refused.error().details.find("code")->string() == "elf_malformed");
  CHECK(refused.error().details.find("at")->integer() != nullptr);
}

TEST_CASE("prop_amm: parity is skipped for a reason of its own, and failed by two answers alone") {
  const Strategy made = strategy("cp30");
  std::size_t asked = 0;
  const auto judged = [&](Result<EnclosedEnd> ended) {
    const RunEnclosed run = [&](const EnclosedTask& task, const std::function<bool()>&) {
      ++asked;
      CHECK(task.tool == "rustc");
      CHECK(task.files.back().name == "asked");
      // 25 bytes of each quote and its letter, and the storages that they see.
      CHECK(task.files.back().bytes.size() > 10'000 * 26 + 100 * 1'025);
      return ended;
    };
    return made.validate(Checks::full, {}, run).value();
  };
  struct Row {
    const char* says;
    Result<EnclosedEnd> ended;
    std::string_view reason;
  };
  const auto exited = [](int code) { return EnclosedEnd{.how = "exited", .code = code, .err = "error: no"}; };
  const Row rows[] = {
      {"no compiler", fail(Reason::file_missing, "none", core::json::object({{"tool", "rustc"}})),
       "no_rustc"},
      {"no helper", fail(Reason::file_missing, "none"), "no_enclosure"},
      {"no place", fail(Reason::bare_host_refused, "none"), "no_enclosure"},
      {"no linker", exited(93), "rustc_failed"},
      {"a compiler that cannot", exited(91), "rustc_failed"},
      {"a source that it refuses", exited(92), "source_refused"},
      {"a program that crashed", exited(94), "not_answered"},
      {"a program that said nothing", exited(0), "not_answered"},
      {"too slow", EnclosedEnd{.how = "timed_out"}, "timed_out"},
      {"too large", EnclosedEnd{.how = "out_of_memory"}, "not_answered"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const prop_amm::Verdict verdict = judged(row.ended);
    CHECK(verdict.valid);
    CHECK(verdict.parity == "skipped");
    CHECK(verdict.parity_reason == row.reason);
    CHECK_FALSE(verdict.parity_message.empty());
  }
  EnclosedEnd zeros = exited(0);
  zeros.out.assign(10'000 * 9, '\0');
  const prop_amm::Verdict failed = judged(zeros);
  CHECK_FALSE(failed.valid);
  CHECK(failed.reason == "parity");
  CHECK(failed.parity == "failed");
  CHECK_MESSAGE(failed.message.starts_with("question "), failed.message);
  CHECK_MESSAGE(failed.message.ends_with(" and by rustc 0"), failed.message);
  CHECK(asked == std::size(rows) + 1);

  const RunEnclosed stops = [](const EnclosedTask&, const std::function<bool()>&) -> Result<EnclosedEnd> {
    return fail(Reason::stopped, "stopped");
  };
  CHECK(made.validate(Checks::full, {}, stops).reason() == Reason::stopped);
  CHECK(made.validate(Checks::full).value().parity_reason == "no_enclosure");
  CHECK(made.validate(Checks::fast).value().parity == "");
  CHECK(strategy("bad_concave").validate(Checks::full, {}, stops).value().parity_reason == "not_reached");
}

TEST_CASE("prop_amm: answers that hang on the C library are no fault where they differ") {
  const std::string head =
      "let input = u64::from_le_bytes(data[1..9].try_into().unwrap());\n"
      "let side = data[0] as usize;\n"
      "let from = u64::from_le_bytes(data[17 - 8 * side..25 - 8 * side].try_into().unwrap());\n"
      "let to = u64::from_le_bytes(data[9 + 8 * side..17 + 8 * side].try_into().unwrap());\n"
      "let paid = (to as u128 * input as u128 / (from as u128 + input as u128 + 1)) as u64;\n";
  const RunEnclosed zeros = [](const EnclosedTask&, const std::function<bool()>&) -> Result<EnclosedEnd> {
    return EnclosedEnd{.how = "exited", .out = std::string(10'000 * 9, '\0')};
  };
  const auto verdict =
      of_body(head + "let _ = (input as f64).ln();\npaid").validate(Checks::full, {}, zeros).value();
  REQUIRE_MESSAGE(verdict.runs, verdict.message);
  CHECK(verdict.valid);
  CHECK(verdict.parity_reason == "libm");
  CHECK(of_body(head + "let _ = (input as f64).sqrt();\npaid")
            .validate(Checks::full, {}, zeros)
            .value()
            .reason == "parity");
}
