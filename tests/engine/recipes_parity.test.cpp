// Strategies as this machine's rustc builds them, beside their bytecode: who agrees, who is told apart, and
// what a stranger's source cannot reach on the way. The recipe's own words without a compiler: tests/recipes.
#include <unistd.h>

#include <calyx/core/encoding.hpp>
#include <calyx/enclosure.hpp>
#include <calyx/prop_amm.hpp>
#include <filesystem>
#include <fstream>

#include "engine/job_market.hpp"
#include "prop_amm_vectors.hpp"
#include "recipes/prop_amm_parity.hpp"
#include "store/scratch.hpp"
#include "strategy/native.hpp"
#include "testing.hpp"

using namespace calyx;
using calyx::prop_amm::Checks;
using calyx::prop_amm::Parity;
using testing::JobMarket;
using testing::prop_amm_text;
namespace json = core::json;

namespace {

/// What holds the compiler: both ways are tried where both are there.
enum class Held : std::uint8_t { by_bubblewrap, by_landlock };

/// A folder for the enclosed, and what runs them; nothing, with the skip told, where this machine has none.
struct Yard {
  store::Scratch scratch;
  RunEnclosed run;

  Yard(std::string_view test, Held held) {
    std::filesystem::create_directory(scratch / "tasks");
    Result<RunEnclosed> opened = open_enclosure(options(held));
    if (!opened.ok()) {
      testing::skipped(test, opened.error().message);
      return;
    }
    const Result<EnclosedEnd> tried = (*opened)({.argv = {"/bin/sh", "-c", "exit 5"}, .tool = "rustc"}, {});
    if (!tried.ok()) {
      testing::skipped(test, tried.error().message);
      return;
    }
    CHECK(tried->how == "exited");
    CHECK(tried->code == 5);
    run = *std::move(opened);
  }
  EnclosureOptions options(Held held) const {
    return {.scratch = scratch / "tasks",
            .helper = calyx::testing::runner_helper,
            .bubblewrap = held == Held::by_landlock ? "none" : "auto",
            .allow_bare_host = held == Held::by_landlock};
  }
};

Parity compared(const std::string& source, const RunEnclosed& run) {
  auto made = strategy::compile(source);
  REQUIRE(std::holds_alternative<strategy::Compiled>(made));
  const auto& compiled = std::get<strategy::Compiled>(made);
  const auto native = strategy::make_native(compiled);
  return prop_amm::compare_with_rustc(compiled, native.get(), source, run, {}).value();
}

/// The same place, where rustc is given `source` instead of the one that was compiled to bytecode.
RunEnclosed with_source(const RunEnclosed& run, std::string source) {
  return [run, source = std::move(source)](const EnclosedTask& asked, const std::function<bool()>& stopped) {
    EnclosedTask task = asked;
    for (EnclosedFile& file : task.files)
      if (file.name == "source.rs") file.bytes = source;
    return run(task, stopped);
  };
}

/// A whole source whose `compute_swap` has this body.
std::string of_body(const std::string& body) {
  return "const NAME: &str = \"t\"; const MODEL_USED: &str = \"None\";\n"
         "pub fn get_model_used() -> &'static str { MODEL_USED }\n"
         "pub fn compute_swap(data: &[u8]) -> u64 {\n" +
         body + "\n}\n";
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

const std::string numbers =
    "let input = u64::from_le_bytes(data[1..9].try_into().unwrap());\n"
    "let x = u64::from_le_bytes(data[9..17].try_into().unwrap());\n"
    "let y = u64::from_le_bytes(data[17..25].try_into().unwrap());\n";

}  // namespace

TEST_CASE("parity: rustc's builds of all strategies give the bytecode's answers") {
  const Yard yard("engine.parity.strategies", Held::by_bubblewrap);
  if (!yard.run) return;
  const std::vector<std::string> some = {"cp30", "ewma_fee"};
  const std::vector<std::string> all = {"cp30",   "ewma_fee",     "cp66",        "cp500",
                                        "wobble", "bad_monotone", "bad_concave", "bad_concave_hidden"};
  for (const std::string& name : testing::by_scale(some, all, all)) {
    CAPTURE(name);
    const Parity found = compared(prop_amm_text("strategies/" + name + ".rs"), yard.run);
    CHECK(found.word == "passed");
    CHECK(found.message == "");
    testing::told("strategies that rustc agreed on", std::uint64_t{1});
  }
}

TEST_CASE("parity: one digit in a source that rustc gets is found, and the first question is named") {
  for (const Held held : {Held::by_bubblewrap, Held::by_landlock}) {
    const Yard yard("engine.parity.altered", held);
    if (!yard.run) continue;
    const std::string source = prop_amm_text("strategies/ewma_fee.rs");
    const auto made = prop_amm::Strategy::compile(source).value();
    const prop_amm::Verdict good = made.validate(Checks::full, {}, yard.run).value();
    CHECK(good.valid);
    CHECK(good.parity == "passed");
    CHECK(good.parity_reason == "");
    CHECK(good.runs->edges.size() == 12);

    // A quote differs at once; a storage does so once a trade has changed it, which no quote shows.
    const auto fee =
        with_source(yard.run, replaced(source, "START_PPM: u64 = 6_600", "START_PPM: u64 = 6_601"));
    const prop_amm::Verdict quotes = made.validate(Checks::full, {}, fee).value();
    CHECK_FALSE(quotes.valid);
    CHECK(quotes.reason == "parity");
    CHECK(quotes.parity == "failed");
    CHECK_MESSAGE(quotes.message.starts_with("question "), quotes.message);
    CHECK_MESSAGE(quotes.message.find(" of 11000, a ") != std::string::npos, quotes.message);
    const auto count =
        with_source(yard.run, replaced(source, "put(storage, 16, step);", "put(storage, 16, step + 1);"));
    const prop_amm::Verdict storage = made.validate(Checks::full, {}, count).value();
    CHECK(storage.reason == "parity");
    CHECK_MESSAGE(storage.message.find(" of 11000, after a ") != std::string::npos, storage.message);
    CHECK_MESSAGE(storage.message.find("storage of hash ") != std::string::npos, storage.message);
  }
}

TEST_CASE("parity: a panic is an answer, floats are answers, and what rustc refuses is none") {
  const Yard yard("engine.parity.answers", Held::by_bubblewrap);
  if (!yard.run) return;
  // Divides by zero, indexes by what it is given, overflows.
  const std::string panics = of_body(
      numbers +
      "let sum = (x as u128 * y as u128 + input as u128) as u64;\n"
      "let part = sum / (x % 4);\nlet at = (input % 1100) as usize;\npart.wrapping_mul(data[at] as u64 + 1)");
  CHECK(compared(panics, yard.run).word == "passed");
  const Parity never = compared(panics, with_source(yard.run, replaced(panics, "(x % 4)", "(x % 4).max(1)")));
  CHECK(never.word == "failed");
  CHECK_MESSAGE(never.message.find(": a panic, and by rustc ") != std::string::npos, never.message);
  CHECK(never.line == 8);
  const std::string floats = of_body(
      numbers +
      "let a = x as f64 * 1.1 + (y as f64).sqrt() / (input as f64 + 0.5);\n"
      "let b = a.mul_add(3.0, -2.0).floor().min(1e19).powi(1).abs();\n(b as u64) ^ (a as i64 as u64)");
  CHECK(compared(floats, yard.run).word != "failed");
  // Nothing calls it, so it has no bytecode; rustc reads all of a source.
  const std::string borrowed =
      of_body("7") + "pub fn unused() -> u64 { let a = vec![1u64]; drop(a); a[0] }\n";
  const Parity refused = compared(borrowed, yard.run);
  CHECK(refused.word == "skipped");
  CHECK(refused.reason == "source_refused");
  CHECK_MESSAGE(refused.message.starts_with("rustc: error"), refused.message);
}

TEST_CASE(
    "parity: neither a source that is compiled nor its program reaches this machine's files or network") {
  for (const Held held : {Held::by_bubblewrap, Held::by_landlock}) {
    const Yard yard("engine.parity.hostile", held);
    if (!yard.run) continue;
    const std::string secret = yard.scratch / "secret";
    std::ofstream(secret) << "told to nobody";
    const std::string plain = of_body("9");
    const auto asks = [&](const std::string& body) {
      return compared(plain, with_source(yard.run, of_body(body)));
    };
    // The front end refuses these macros; the enclosure does not need it to.
    const std::string ours = "/proc/" + std::to_string(::getpid()) + "/environ";
    for (const std::string& path : {secret, std::string("/etc/passwd"), ours}) {
      CAPTURE(path);
      CHECK(asks("include_bytes!(\"" + path + "\").len() as u64").reason == "source_refused");
      CHECK(asks("let _ = data; std::fs::read(\"" + path + "\").map_or(9, |it| it.len() as u64)").word ==
            "passed");
    }
    const std::string put = "std::fs::write(\"" + secret + "\", b\"x\").map_or(9, |_| 8)";
    CHECK(asks("let _ = data; " + put).word == "passed");
    std::ifstream file(secret);
    std::string kept;
    std::getline(file, kept);
    CHECK(kept == "told to nobody");
    CHECK(asks("let _ = data; std::net::UdpSocket::bind(\"127.0.0.1:0\").and_then(|it| "
               "it.connect(\"192.0.2.1:9\")).map_or(9, |_| 8)")
              .word == "passed");
  }
}

TEST_CASE("parity: who does not end is ended, and was asked nothing else") {
  const Yard yard("engine.parity.endless", Held::by_bubblewrap);
  if (!yard.run) return;
  const std::string plain = of_body("9");
  const auto briefly = [&](const EnclosedTask& asked, const std::function<bool()>& stopped) {
    EnclosedTask task = asked;
    task.cpu_s = 2;
    return with_source(yard.run, of_body("loop { std::hint::spin_loop(); if data.len() == 1 { return 1 } }"))(
        task, stopped);
  };
  const Parity spins = compared(plain, briefly);
  CHECK(spins.word == "skipped");
  CHECK_MESSAGE((spins.reason == "not_answered" || spins.reason == "timed_out"), spins.reason);
  // Of the bytecode's own calls those that use up their fuel are no questions; the rest is.
  const std::string half = of_body(numbers + "if y % 512 == 0 { loop {} }\ninput ^ x");
  CHECK(compared(half, yard.run).word == "passed");
  auto made = prop_amm::Strategy::compile(prop_amm_text("strategies/cp30.rs")).value();
  bool began = false;
  const auto stops = [&](const EnclosedTask& task, const std::function<bool()>&) {
    began = true;
    return yard.run(task, [] { return true; });
  };
  CHECK(made.validate(Checks::full, {}, stops).reason() == Reason::stopped);
  CHECK(began);
}

TEST_CASE("parity: a job has it where its worker runs commands, and says so where it has not") {
  const Yard yard("engine.parity.jobs", Held::by_landlock);
  if (!yard.run) return;
  std::string encoded;
  core::append_base64(encoded, prop_amm_text("strategies/cp66.rs"));
  const auto done = [&](JobMarket& market, std::string_view parity) {
    json::Object payload;
    payload.set("operation", "validate_full").set("rs_source_b64", encoded);
    if (!parity.empty()) payload.set("parity", parity);
    json::Object job;
    job.set("payload", std::move(payload));
    const JobId id =
        market.all.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "prop_amm"})
            .value()
            .id;
    return market.all.run_job(id).value();
  };
  const auto parity_of = [](JobMarket& market, const Job& job) {
    const json::Value result = market.all.job_results(job.id).value().result;
    const json::Value* reason = result.find("parity_reason");
    return *result.find("parity")->string() + (reason == nullptr ? "" : " " + *reason->string());
  };
  JobMarket without;
  CHECK(parity_of(without, done(without, "")) == "skipped not_asked");
  CHECK(parity_of(without, done(without, "auto")) == "skipped no_enclosure");
  const Job required = done(without, "require");
  CHECK(required.status == JobStatus::failed);
  Options options;
  options.path = yard.scratch / "m.db";
  options.commands = CommandOptions{.scratch = yard.scratch / "tasks",
                                    .helper = calyx::testing::runner_helper,
                                    .allow_bare_host = true,
                                    .containers = "none",
                                    .bubblewrap = "none"};
  JobMarket with(options);
  CHECK(parity_of(with, done(with, "auto")) == "passed");
  CHECK(parity_of(with, done(with, "require")) == "passed");
  CHECK(parity_of(with, done(with, "")) == "skipped not_asked");
}
