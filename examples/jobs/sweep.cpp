// A sweep: a function of this program is tried with every combination of two parameters, by two threads,
// within a budget. What it cost is settled once, with a receipt whose hash covers the ranked table.
#include <calyx/calyx.hpp>
#include <cmath>
#include <iostream>

using namespace calyx;
namespace json = core::json;

// How far gradient descent gets on Rosenbrock's valley with this step and this much momentum.
Result<json::Value> descend(const TaskCall& call) {
  const auto number = [&](const char* name) {
    const json::Value& value = *call.payload.find(name);
    return value.real() != nullptr ? value.real()->value : static_cast<double>(*value.integer());
  };
  const double step = number("step"), momentum = number("momentum");
  double x = -1.2, y = 1, vx = 0, vy = 0;
  for (int i = 0; i < 500'000; ++i) {
    if (i % 1'000 == 0 && call.stopped()) return fail(Reason::stopped, "it was stopped");
    vx = momentum * vx - step * (-2 * (1 - x) - 400 * x * (y - x * x));
    vy = momentum * vy - step * (200 * (y - x * x));
    x += vx;
    y += vy;
    if (!std::isfinite(x) || !std::isfinite(y)) return fail(Reason::stopped, "it diverged");
  }
  return json::object({{"loss", (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x)}});
}

int main() {
  Engine engine = Engine::open({.path = "jobs.db"}).value();
  Session market = engine.as_operator();
  const WalletId alice = market.create_wallet({.owner_id = "alice"}).value().wallet.id;
  market.topup({.wallet = alice, .amount = 2000_flops}).value();
  market.set_prices({.base = 0.5_flops}).value();  // a second of a task
  engine.register_task("descend", descend).value();

  json::Object job;
  job.set("type", "sweep").set("task", "descend").set("timeout_s", 60).set("max_cost", "100");
  job.set(
      "parameters",
      json::object({{"step", json::object({{"start", 0.0001}, {"stop", 0.01}, {"num", 5}, {"scale", "log"}})},
                    {"momentum", json::array({0.0, 0.5, 0.9})}}));
  job.set("rank_by", json::object({{"metric", "loss"}, {"mode", "min"}}));
  const JobId id = market.submit_job({.job = job, .wallet = alice}).value().id;

  Worker worker = Worker::start(engine, {.threads = 2, .tasks_max = 2}).value();
  const Job done = market.wait_job(id, std::chrono::minutes(2)).value();
  const JobResults results = market.job_results(id).value();
  for (const json::Value& row : *results.result.find("ranked")->array())
    std::cout << json::canonical(*row.find("value")) << "  " << json::canonical(*row.find("parameters"))
              << '\n';
  std::cout << done.progress.completed << " of " << done.progress.tasks << " tasks, " << word(done.status)
            << ", " << core::money_text(done.cost) << " of " << core::money_text(done.hold) << " FLOPS\n";
  if (!done.receipt) return 1;
  const Receipt receipt = market.receipt(*done.receipt).value();
  return engine.verify(receipt.jws).valid && done.output_hash == output_hash(json::canonical(results.result))
             ? 0
             : 1;
}
