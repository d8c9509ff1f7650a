// What jobs cost: a million tasks submitted, kept and cancelled; tasks that do nothing through the durable
// queue and the ledger, beside Dask's; processes with the runner's whole contract, beside GNU parallel's.
//
//   jobs_bench [--quick] [--rounds N] [--only question]... [--dir PATH] [--scratch PATH]
//
// PATH of --dir is where markets lie, a disk; of --scratch where tasks' files lie, /dev/shm unless told.

#include <malloc.h>
#include <unistd.h>

#include <calyx/calyx.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "../engine/tarballs.hpp"
#include "archive/archive.hpp"
#include "measure.hpp"
#include "spawn.hpp"

namespace calyx::bench {
namespace {

namespace fs = std::filesystem;
namespace json = core::json;

struct Settings {
  unsigned rounds = rounds_min;
  bool quick = false;
  std::vector<std::string> only;
  std::string dir = "/var/tmp";
  std::string scratch = "/dev/shm";

  bool asks(const std::string& question) const {
    return only.empty() || std::find(only.begin(), only.end(), question) != only.end();
  }
};

template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

/// A market in a folder of its own, with a payer and a price.
class BenchMarket {
 public:
  explicit BenchMarket(const Settings& settings)
      : folder_(made_folder(settings.dir)),
        engine(must(Engine::open(in(folder_)))),
        all(engine.as_operator()) {
    payer = must(all.create_wallet({.owner_id = "payer"})).wallet.id;
    must(all.topup({.wallet = payer, .amount = Money{4'000'000'000'000}}));
    must(all.set_prices({.base = Money{1'000}}));
  }
  BenchMarket(const BenchMarket&) = delete;
  BenchMarket& operator=(const BenchMarket&) = delete;
  ~BenchMarket() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  JobId submit(json::Object job) { return must(all.submit_job({.job = std::move(job), .wallet = payer})).id; }

 private:
  static std::string made_folder(const std::string& dir) {
    std::string name = dir + "/calyx-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder in " + dir);
    return name;
  }
  static Options in(const std::string& folder) {
    Options options;
    options.path = folder + "/market.db";
    return options;
  }
  std::string folder_;

 public:
  Engine engine;
  Session all;
  WalletId payer{};
};

json::Object range_of(std::uint64_t tasks) {
  json::Object job;
  job.set("task", "nothing").set("timeout_s", 1).set("max_cost", "1000");
  job.set("fan_out", json::object({{"chunks", tasks}, {"range_field", "n"}, {"total", tasks}}));
  return job;
}

json::Object sweep_of(std::uint64_t side, unsigned axes) {
  json::Object parameters;
  for (unsigned i = 0; i < axes; ++i)
    parameters.set("x" + std::to_string(i), json::object({{"start", 1}, {"stop", side}, {"step", 1}}));
  json::Object job;
  job.set("task", "nothing").set("timeout_s", 1).set("max_cost", "1000").set("type", "sweep");
  job.set("parameters", std::move(parameters));
  return job;
}

// ── submitting, keeping, cancelling ──

Sample submit_of(const Settings& settings, const json::Object& job) {
  BenchMarket market(settings);
  const std::uint64_t commits = market.engine.stats().commits;
  const Sample sample = timed([&] {
    market.submit(job);
    return 1;
  });
  if (market.engine.stats().commits != commits + 1) throw std::runtime_error("a submit took several commits");
  return sample;
}

/// A million items as their text, 43 bytes each, are read, cut, hashed and stored.
Sample submit_of_items(const Settings& settings, const std::string& text) {
  BenchMarket market(settings);
  return timed([&] {
    JobSubmit job = must(JobSubmit::read(text));
    job.wallet = market.payer;
    must(market.all.submit_job(job));
    return 1;
  });
}

std::string items_text(std::uint64_t count) {
  std::string text = R"({"task":"nothing","timeout_s":1,"max_cost":"1000","fan_out":{"items":[)";
  for (std::uint64_t i = 0; i < count; ++i) {
    char item[64];
    std::snprintf(item, sizeof item, R"(%s{"seed":%10llu,"mode":"quick","w":0.125})", i == 0 ? "" : ",",
                  static_cast<unsigned long long>(1'000'000'000 + i));
    text += item;
  }
  return text + "]}}";
}

Sample cancel_of(const Settings& settings, std::uint64_t tasks) {
  BenchMarket market(settings);
  const JobId id = market.submit(range_of(tasks));
  return timed([&] {
    must(market.all.cancel_job(id));
    return 1;
  });
}

/// Durable bytes, so that a submit's wall time has something to stand beside.
Sample bare_sync(const Settings& settings) {
  std::string name = settings.dir + "/calyx-bench-XXXXXX";
  const int file = ::mkstemp(name.data());
  if (file < 0) throw std::runtime_error("no file in " + settings.dir);
  const Sample sample = timed([&] {
    const char bytes[4096] = {};
    if (::pwrite(file, bytes, sizeof bytes, 0) != sizeof bytes || ::fdatasync(file) != 0)
      throw std::runtime_error("cannot sync");
    return 1;
  });
  ::close(file);
  ::unlink(name.c_str());
  return sample;
}

void measure_submits(const Settings& settings) {
  const std::uint64_t million = settings.quick ? 1'000 : 1'000'000;
  const std::uint64_t side = settings.quick ? 10 : 1'000;
  const std::string items = items_text(million);
  const auto series =
      interleave({{"sync", [&] { return bare_sync(settings); }},
                  {"submit_range", [&] { return submit_of(settings, range_of(million)); }},
                  {"submit_grid_of_1e6", [&] { return submit_of(settings, sweep_of(side, 2)); }},
                  {"submit_grid_of_1e3", [&] { return submit_of(settings, sweep_of(side, 1)); }},
                  {"submit_grid_of_1e9", [&] { return submit_of(settings, sweep_of(side, 3)); }},
                  {"submit_items", [&] { return submit_of_items(settings, items); }},
                  {"cancel", [&] { return cancel_of(settings, million); }}},
                 settings.rounds);
  report("submit", series[0], figure::wall);
  for (std::size_t i = 1; i < series.size(); ++i) {
    report("submit", series[i], figure::cpu);
    report("submit", series[i], figure::wall, series[0], Ratio::value_over_peer);
  }
  report("submit", series[4], figure::cpu, series[3], Ratio::value_over_peer);
}

// ── tasks that do nothing ──

Result<json::Value> nothing(const TaskCall& call) { return json::Value(call.index); }

void do_all(BenchMarket& market, JobId id, unsigned threads) {
  Worker worker = must(Worker::start(market.engine, {.threads = threads}));
  const Job job = must(market.all.wait_job(id, std::chrono::minutes(10)));
  if (job.status != JobStatus::completed)
    throw std::runtime_error("the job is " + std::string(word(job.status)) + ": " + job.error);
}

Sample host_tasks(const Settings& settings, std::uint64_t tasks, unsigned threads) {
  BenchMarket market(settings);
  must(market.engine.register_task("nothing", nothing));
  return timed([&] {
    do_all(market, market.submit(range_of(tasks)), threads);
    return tasks;
  });
}

/// What `line` printed, a wall and a CPU time; nothing where the program is not there.
std::optional<Sample> peer(const std::string& line, double operations) {
  std::FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  Sample sample;
  const int read = std::fscanf(pipe, "%lf %lf", &sample.wall_s, &sample.cpu_s);
  sample.operations = operations;
  if (::pclose(pipe) != 0 || read != 2) return std::nullopt;
  return sample;
}

void measure_tasks(const Settings& settings) {
  const std::uint64_t tasks = settings.quick ? 500 : 100'000;
  const unsigned peers_tasks = settings.quick ? 50 : 3'000;
  const std::string dask = std::string("/usr/bin/python3 ") + CALYX_BENCH_SOURCES + "/dask_peer.py " +
                           std::to_string(peers_tasks) + " 2>/dev/null";
  std::vector<Case> cases = {{"host_tasks_1_thread", [&] { return host_tasks(settings, tasks, 1); }},
                             {"host_tasks_2_threads", [&] { return host_tasks(settings, tasks, 2); }}};
  const bool has_dask = !settings.quick && peer(dask, peers_tasks).has_value();
  if (has_dask) cases.push_back({"dask", [&] { return peer(dask, peers_tasks).value(); }});
  const auto series = interleave(cases, settings.rounds);
  if (!has_dask) print_skipped("dask", "python3-distributed is not installed, or this is the short form");
  for (std::size_t i = 0; i < 2; ++i)
    for (const Figure& figure : {figure::rate, figure::cpu_rate}) {
      if (has_dask)
        report("tasks", series[i], figure, series[2], Ratio::value_over_peer);
      else
        report("tasks", series[i], figure);
    }
}

// ── what a million tasks keep in memory ──

Series grown(std::string name, std::size_t before) {
  ::malloc_trim(0);
  const std::size_t now = resident_bytes();
  Sample sample;
  sample.wall_s = now > before ? static_cast<double>(now - before) / (1 << 20) / 1e6 : 0;
  sample.operations = 1;
  return {std::move(name), {sample}};
}

void measure_memory(const Settings& settings) {
  const std::uint64_t million = settings.quick ? 1'000 : 1'000'000;
  constexpr Figure mebibytes{"MiB", &Sample::wall_us};
  BenchMarket market(settings);
  must(market.engine.register_task("nothing", nothing));
  do_all(market, market.submit(range_of(1'000)), 1);
  ::malloc_trim(0);
  const std::size_t before = resident_bytes();
  const JobId id = market.submit(range_of(million));
  report("memory", grown("tasks_pending", before), mebibytes);
  do_all(market, id, 1);
  report("memory", grown("tasks_done", before), mebibytes);
}

// ── processes ──

bool parallel(const Settings& settings, unsigned operations) {
  const std::string joblog = settings.scratch + "/calyx-bench-joblog";
  std::vector<std::string> words = {"parallel", "-j2", "--joblog",  joblog, "--quote",
                                    "/bin/sh",  "-c",  task_script, ":::"};
  for (unsigned i = 0; i < operations; ++i) words.push_back(std::to_string(i));
  const bool ended_well = spawn(words, environ);
  std::error_code ignored;
  fs::remove(joblog, ignored);
  return ended_well;
}

/// Leases, limits, payload, result, logs, ledger and receipt: all of a command task's way.
Sample commands(const Settings& settings, unsigned operations) {
  BenchMarket market(settings);
  const ProjectName code{.name = "code", .wallet = market.payer};
  must(market.all.create_project({.name = "code", .wallet = market.payer}));
  must(market.all.push_project(code, testing::gzip(testing::tar({{"task.sh", task_script + "\n", 0755}}))));
  json::Object job = range_of(operations);
  job.erase("task");
  job.set("project", "code").set("runner_command", json::array({"/bin/sh", "task.sh"})).set("timeout_s", 60);
  return with_children(operations, [&] {
    const JobId id = market.submit(std::move(job));
    WorkerOptions options{.threads = 2};
    options.commands = CommandOptions{.scratch = settings.scratch,
                                      .helper = CALYX_BENCH_RUNNER_HELPER,
                                      .allow_bare_host = true,
                                      .containers = "none"};
    Worker worker = must(Worker::start(market.engine, std::move(options)));
    const Job done = must(market.all.wait_job(id, std::chrono::minutes(10)));
    if (done.status != JobStatus::completed) throw std::runtime_error("commands fail: " + done.error);
  });
}

void measure_commands(const Settings& settings) {
  if (!archive::built()) {
    print_skipped("commands", "calyx was built without libarchive: no project can be pushed");
    return;
  }
  const unsigned operations = settings.quick ? 10 : 300;
  std::vector<Case> cases = {{"posix_spawn_sh",
                              [&] {
                                return spawned(operations, {"/bin/sh", "-c", task_script});
                              }},
                             {"command_tasks", [&] { return commands(settings, operations); }}};
  const bool has_parallel = !settings.quick && parallel(settings, 1);
  if (has_parallel)
    cases.push_back({"gnu_parallel_joblog", [&] {
                       return with_children(operations, [&] {
                         if (!parallel(settings, operations)) throw std::runtime_error("parallel fails");
                       });
                     }});
  const auto series = interleave(cases, settings.rounds);
  report("commands", series[0], figure::cpu);
  report("commands", series[1], figure::cpu, series[0], Ratio::value_over_peer);
  if (has_parallel)
    report("commands", series[1], figure::cpu, series[2], Ratio::value_over_peer);
  else
    print_skipped("gnu_parallel_joblog", "parallel is not installed, or this is the short form");
}

int run(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool has_value = i + 1 < words.size();
    if (words[i] == "--quick") {
      settings.quick = true;
    } else if (words[i] == "--rounds" && has_value) {
      settings.rounds = static_cast<unsigned>(std::stoul(words[++i]));
    } else if (words[i] == "--dir" && has_value) {
      settings.dir = fs::absolute(words[++i]);
    } else if (words[i] == "--scratch" && has_value) {
      settings.scratch = fs::absolute(words[++i]);
    } else if (words[i] == "--only" && has_value) {
      settings.only.push_back(words[++i]);
    } else {
      throw std::runtime_error(
          "jobs_bench [--quick] [--rounds N] [--only submit|tasks|memory|commands]... "
          "[--dir PATH] [--scratch PATH]");
    }
  }
  if (settings.asks("memory")) measure_memory(settings);  // first, while little has been taken and given back
  if (settings.asks("submit")) measure_submits(settings);
  if (settings.asks("tasks")) measure_tasks(settings);
  if (settings.asks("commands")) measure_commands(settings);
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
