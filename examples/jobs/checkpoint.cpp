// A checkpoint: a command adds up numbers step by step, keeps how far it came, is killed in its middle, and
// goes on from there when it is tried again. Usage: jobs_checkpoint [PATH OF calyx-runner]
//
// The folder that it may keep files in is in COMPUTALOT_CHECKPOINT_DIR. A file there is written under another
// name and renamed, so that there is a whole one whenever the command is killed.
#include <calyx/calyx.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

using namespace calyx;
namespace json = core::json;

constexpr const char* script = R"(
cd "$COMPUTALOT_CHECKPOINT_DIR" || exit 1
read -r step sum < latest 2>/dev/null || { step=0; sum=0; }
echo "begins at step $step"
while [ "$step" -lt 100 ]; do
  step=$((step + 1)); sum=$((sum + step))
  echo "$step $sum" > next && mv next latest
  if [ "$step" -eq 60 ]; then kill -9 $$; fi  # as a machine that goes down would
done
echo "$sum" > "$COMPUTALOT_TASK_RESULT"
)";

int main(int count, char** arguments) {
  // A project is pushed as a tarball.
  std::filesystem::create_directory("code");
  std::ofstream("code/sum.sh") << script;
  if (std::system("tar -czf code.tar.gz -C code sum.sh") != 0) return 1;
  std::ostringstream tarball;
  tarball << std::ifstream("code.tar.gz", std::ios::binary).rdbuf();

  Engine engine = Engine::open({.path = "jobs.db"}).value();
  Session market = engine.as_operator();
  const WalletId alice = market.create_wallet({.owner_id = "alice"}).value().wallet.id;
  market.topup({.wallet = alice, .amount = 2000_flops}).value();
  market.set_prices({.base = 0.5_flops}).value();  // a second of a task
  market.create_project({.name = "code", .wallet = alice}).value();
  market.push_project({.name = "code", .wallet = alice}, tarball.str()).value();

  json::Object job;
  job.set("project", "code").set("runner_command", json::array({"sh", "sum.sh"}));
  job.set("timeout_s", 60).set("max_retries", 1).set("max_cost", "100");
  job.set("checkpointing", json::object({{"enabled", true}, {"resume_from_latest", true}}));
  const JobId id = market.submit_job({.job = job, .wallet = alice}).value().id;

  CommandOptions commands{.scratch = std::filesystem::current_path() / "tasks", .allow_bare_host = true};
  if (count > 1) commands.helper = arguments[1];
  std::filesystem::create_directory(commands.scratch);
  Worker worker = Worker::start(engine, {.commands = commands}).value();
  const Job done = market.wait_job(id, std::chrono::minutes(1)).value();

  const JobOutput output = market.job_output(id).value();
  std::cout << "attempt " << output.attempt << ' ' << output.out;
  std::cout << word(done.status) << ", " << json::canonical(market.job_results(id).value().result) << ' '
            << done.error << '\n';
  return output.attempt == 2 && output.out == "begins at step 60\n" &&
                 json::canonical(market.job_results(id).value().result) == "5050"
             ? 0
             : 1;
}
