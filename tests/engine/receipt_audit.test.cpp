/// \file
/// A receipt's job, computed again: what comes out the same, what does not, and what cannot be judged.
#include <atomic>
#include <chrono>
#include <thread>

#include "engine/job_market.hpp"
#include "services/raw.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using testing::Edit;
using testing::JobMarket;
namespace json = core::json;

namespace {

/// What the recipe `count` does, as a test bends it.
struct Bend {
  std::atomic<std::int64_t> adds{0};       ///< To what task `task` gives.
  std::atomic<std::uint64_t> task{0};      ///< Which.
  std::atomic<bool> fails{false};          ///< That task, with an error.
  std::atomic<std::uint64_t> missing{99};  ///< A task that fails the first time, and so has no result.
  std::atomic<std::uint64_t> file{0};      ///< What that task's file says.
};

/// A recipe that doubles `n`, leaves its task's number as a file where `leaves` says so, and takes the 5 ms
/// that make it cost something.
RecipeDefinition count_recipe(JobMarket& market, Bend& bend, RecipeClass result_class = RecipeClass::exact) {
  return {.name = "count",
          .result_class = result_class,
          .run = [&market, &bend](const TaskCall& call) -> Result<json::Value> {
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
            market.now_us += 5'000;
            if (call.index == bend.missing) return fail(Reason::internal, "not this one");
            const bool bent = call.index == bend.task;
            if (bent && bend.fails) return fail(Reason::internal, "cannot any more");
            const json::Value* n = call.payload.find("n");
            const json::Value* leaves = call.payload.find("leaves");
            if (leaves != nullptr && *leaves->boolean())
              CALYX_CHECK(call.leave("out.txt", std::to_string(call.index + (bent ? bend.file.load() : 0U))));
            return json::object({{"n", 2 * *n->integer() + (bent ? bend.adds.load() : 0)}, {"half", 0.5}});
          }};
}

Receipt receipt_of(JobMarket& market, json::Object job) {
  const JobId id =
      market.all.submit_job({.job = std::move(job), .wallet = market.payer, .recipe = "count"}).value().id;
  const Job ended = market.all.run_job(id).value();
  REQUIRE_MESSAGE(ended.receipt, ended.error);
  return market.all.receipt(*ended.receipt).value();
}

json::Object job_of(std::vector<json::Member> members) {
  json::Object out;
  out.set("timeout_s", 10).set("max_retries", 0);
  for (json::Member& member : members) out.set(member.key, std::move(member.value));
  return out;
}

json::Value numbers(std::int64_t count) {
  json::Array out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(json::object({{"n", 7 * i}}));
  return out;
}

}  // namespace

TEST_CASE("a receipt's job computed again comes to the hash that was signed, however it fans out") {
  struct Row {
    const char* says;
    std::vector<json::Member> job;
    std::uint64_t tasks;
  };
  const Row rows[] = {
      {"one payload", {{"payload", json::object({{"n", 21}})}}, 1},
      {"the choice of a device is no part of it",
       {{"payload", json::object({{"n", 21}, {"device", "cpu"}})}},
       1},
      {"one that leaves a file", {{"payload", json::object({{"n", 1}, {"leaves", true}})}}, 1},
      {"items", {{"fan_out", json::object({{"items", numbers(5)}})}}, 5},
      {"a value each",
       {{"payload", json::object({{"n", json::array({1, 2, 3})}, {"leaves", true}})},
        {"fan_out", json::object({{"by", "n"}})}},
       3},
      {"a sweep, ranked",
       {{"type", "sweep"},
        {"parameters", json::object({{"n", json::array({4, 5, 6})}})},
        {"rank_by", json::object({{"metric", "n"}, {"mode", "max"}})}},
       3},
  };
  for (const Row& row : rows) {
    INFO(row.says);
    const store::Scratch scratch;  // files lie beside a market
    Options options;
    options.path = scratch / "m";
    JobMarket market(options);
    market.price(1'000'000);
    Bend bend;
    REQUIRE(market.engine.register_recipe(count_recipe(market, bend)).ok());
    const Receipt receipt = receipt_of(market, job_of(row.job));
    const Money before = market.balance();

    const Result<ReceiptAudit> audit = market.all.audit_receipt(receipt.id);
    REQUIRE_MESSAGE(audit.ok(), audit.error().message);
    CHECK(audit->reproduced());
    CHECK(audit->tasks == row.tasks);
    CHECK_FALSE(audit->first_difference);
    CHECK(audit->receipt == receipt.id);
    CHECK(core::output_hash_text(audit->output_hash) == *receipt.payload.find("output_hash")->string());
    CHECK(market.now(audit->job).input_hash == audit->input_hash);
    CHECK(market.balance() == before);

    // The last task comes to something else: another number, another file, an error.
    bend.task = row.tasks - 1;
    for (int how = 0; how < 3; ++how) {
      CAPTURE(how);
      bend.adds = how == 0 ? 1 : 0;
      bend.file = how == 1 ? 1 : 0;
      bend.fails = how == 2;
      const bool has_files =
          market.all.job_results(audit->job, {}).value().tasks.front().artifacts.size() != 0;
      if (how == 1 && !has_files) continue;
      const ReceiptAudit other = market.all.audit_receipt(receipt.id).value();
      CHECK_FALSE(other.reproduced());
      CHECK(other.output_hash == audit->output_hash);
      if (how == 1)
        CHECK_FALSE(other.first_difference);  // its result is what it was
      else
        CHECK(other.first_difference.value_or(99) == row.tasks - 1);
      CHECK((other.error.find("cannot any more") != std::string::npos) == (how == 2));
    }
    market.check_books();
  }
}

TEST_CASE("a task that had failed is left out, and the rest is computed again") {
  JobMarket market;
  market.price(1'000'000);
  Bend bend;
  bend.missing = 1;
  REQUIRE(market.engine.register_recipe(count_recipe(market, bend)).ok());
  const Receipt receipt = receipt_of(market, job_of({{"fan_out", json::object({{"items", numbers(4)}})}}));
  bend.missing = 99;
  const ReceiptAudit audit = market.all.audit_receipt(receipt.id).value();
  CHECK(audit.reproduced());
  CHECK(audit.tasks == 3);
}

TEST_CASE("what cannot be computed again says why") {
  JobMarket market;
  market.price(1'000'000);
  Bend bend;
  REQUIRE(market.engine.register_recipe(count_recipe(market, bend)).ok());
  const Receipt receipt = receipt_of(market, job_of({{"payload", json::object({{"n", 3}})}}));
  const auto why = [&](ReceiptId id) -> std::string {
    const Result<ReceiptAudit> audit = market.all.audit_receipt(id);
    if (audit.ok()) return "it was judged";
    if (audit.reason() != Reason::not_reproducible) return std::string(word(audit.reason()));
    return *audit.error().details.find("why")->string();
  };
  SUBCASE("nobody but an operator asks") {
    Session payer = market.engine.session(market.all.issue_key(market.payer, "").value().api_key).value();
    CHECK(payer.receipt(receipt.id).ok());
    CHECK(payer.audit_receipt(receipt.id).reason() == Reason::operator_only);
  }
  SUBCASE("a receipt that is not there") {
    CHECK(why(ReceiptId::make(1, 77, receipt.id.tag())) == "receipt_unknown");
  }
  SUBCASE("of a spend, whatever job it calls itself") {
    const JobId job = *JobId::read(*receipt.payload.find("job_id")->string());
    CHECK(market.all.spend({.wallet = market.payer, .job_id = "job-1", .amount = Money{1'000'000}}).ok());
    const WalletId host = market.all.create_wallet({.owner_id = "host"}).value().wallet.id;
    const Earned earned = market.all
                              .earn({.host = host,
                                     .job_id = "job-1",
                                     .gross_amount = Money{1'000'000},
                                     .output_hash = market.now(job).output_hash.value(),
                                     .gpu_model = "CPU",
                                     .duration_seconds = 1})
                              .value();
    CHECK(why(earned.receipt) == "spend");
  }
  SUBCASE("of a task") {
    CHECK(market.engine
              .register_task("count",
                             [&](const TaskCall&) -> Result<json::Value> {
                               std::this_thread::sleep_for(std::chrono::milliseconds(5));
                               market.now_us += 5'000;
                               return json::Value(1);
                             })
              .ok());
    json::Object job = job_of({{"task", "count"}});
    const JobId id = market.all.submit_job({.job = std::move(job), .wallet = market.payer}).value().id;
    CHECK(why(*market.all.run_job(id).value().receipt) == "work");
  }
  SUBCASE("of a recipe that promises less") {
    for (const RecipeClass less : {RecipeClass::open, RecipeClass::bounded}) {
      REQUIRE(market.engine.register_recipe(count_recipe(market, bend, less)).ok());
      CHECK(why(receipt.id) == "class");
    }
  }
  SUBCASE("of a job that came to nothing") {
    bend.missing = 0;
    CHECK(why(receipt_of(market, job_of({{"payload", json::object({{"n", 3}})}})).id) == "no_result");
  }
  SUBCASE("it is asked to stop: before a task, and by one") {
    int asked = 0;
    CHECK(market.all.audit_receipt(receipt.id, [&] { return ++asked == 1; }).reason() == Reason::stopped);
    asked = 0;
    CHECK(market.all.audit_receipt(receipt.id, [&] { return ++asked == 2; }).reason() == Reason::stopped);
    CHECK(market.all.audit_receipt(receipt.id, [] { return false; }).value().reproduced());
  }
}

TEST_CASE("a payload or a result that was edited behind the engine's back is named") {
  const store::Scratch scratch;
  const std::string path = scratch / "m";
  ReceiptId id;
  Bend bend;
  {
    Options options;
    options.path = path;
    JobMarket market(options);
    market.price(1'000'000);
    REQUIRE(market.engine.register_recipe(count_recipe(market, bend)).ok());
    id = receipt_of(market, job_of({{"fan_out", json::object({{"items", numbers(3)}})}})).id;
  }
  const auto audit = [&]() -> Result<ReceiptAudit> {
    Options options;
    options.path = path;
    Engine engine = Engine::open(options).value();
    CHECK(engine
              .register_recipe(
                  {.name = "count",
                   .result_class = RecipeClass::exact,
                   .run = [](const TaskCall& call) -> Result<json::Value> {
                     return json::object({{"n", 2 * *call.payload.find("n")->integer()}, {"half", 0.5}});
                   }})
              .ok());
    return engine.as_operator().audit_receipt(id);
  };
  CHECK(audit().value().reproduced());
  {
    Edit edit(path);
    edit.run(R"(UPDATE results SET body = replace(body, '"n":14', '"n":15'))");
    REQUIRE(edit.number("SELECT changes()") == 1);
  }
  const ReceiptAudit edited = audit().value();
  CHECK(edited.reproduced());  // what was signed is what comes out; what is stored is another thing
  CHECK(edited.first_difference.value_or(99) == 1);
  {
    Edit edit(path);
    edit.run(R"(UPDATE job_items SET body = replace(body, '"n":14', '"n":16'))");
    REQUIRE(edit.number("SELECT changes()") == 1);
  }
  CHECK(audit().reason() == Reason::corrupt);
}
