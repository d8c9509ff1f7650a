/// \file
/// `GET /metrics`: the market in numbers, in Prometheus' text format 0.0.4.
#include <calyx/metrics.hpp>

#include "wire/notes.hpp"

namespace calyx::wire {
namespace {

enum class Sample : std::uint8_t { counter, gauge };

/// One family with its samples, in the order in which they are said.
class Exposition {
 public:
  void family(std::string_view name, Sample kind, std::string_view help) {
    name_ = name;
    out.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name);
    out += kind == Sample::counter ? " counter\n" : " gauge\n";
  }
  void sample(std::string_view value, std::string_view labels = {}) {
    out.append(name_).append(labels).append(" ").append(value).append("\n");
  }
  void one(std::string_view name, Sample kind, std::string_view help, std::uint64_t value) {
    family(name, kind, help);
    sample(std::to_string(value));
  }
  void one(std::string_view name, Sample kind, std::string_view help, Money value) {
    family(name, kind, help);
    sample(core::wire_text(value));
  }

  std::string out;

 private:
  std::string_view name_;
};

}  // namespace

Result<Response> get_metrics(Call& call) {
  CALYX_TRY(const Metrics now, call.engine.as_operator().metrics());
  constexpr Sample counter = Sample::counter, gauge = Sample::gauge;
  Exposition text;
  text.family("calyx_build_info", gauge, "The version that answers; always 1.");
  text.sample("1", "{version=\"" CALYX_VERSION "\"}");
  text.one("calyx_events_total", counter, "Events in the market's log.", now.events);
  text.one("calyx_receipts_total", counter, "Receipts in the receipt log.", now.receipts);
  text.one("calyx_wallets", gauge, "Wallets, closed ones too.", now.wallets);
  text.one("calyx_open_escrows", gauge, "Escrows that nothing has ended yet.", now.open_escrows);
  text.one("calyx_supply_flops", gauge, "What wallets, escrows and fees hold.", now.supply);
  text.one("calyx_fees_flops", gauge, "What the platform has earned.", now.fees);
  text.one("calyx_jobs_submitted_total", counter, "Jobs that were ever submitted.", now.jobs);
  text.family("calyx_jobs", gauge, "Jobs that have not ended, by status.");
  text.sample(std::to_string(now.jobs_planning), "{status=\"planning\"}");
  text.sample(std::to_string(now.jobs_queued), "{status=\"queued\"}");
  text.sample(std::to_string(now.jobs_running), "{status=\"running\"}");
  text.one("calyx_jobs_ended_total", counter, "Jobs that have ended.",
           now.jobs - now.jobs_planning - now.jobs_queued - now.jobs_running);
  text.one("calyx_tasks_ready", gauge, "Tasks that wait for a worker and for nothing else.", now.tasks_ready);
  text.one("calyx_tasks_running", gauge, "Tasks with workers.", now.tasks_running);
  text.one("calyx_leases", gauge, "Leases that workers hold.", now.leases);
  text.one("calyx_commits_total", counter, "Commits of this process.", now.engine.commits);
  text.one("calyx_calls_committed_total", counter, "Calls in the commits of this process.",
           now.engine.calls_committed);
  text.one("calyx_checkpoints_total", counter, "Checkpoints of this process.", now.engine.checkpoints);
  return Response{
      200,
      {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}, {"Cache-Control", "no-store"}},
      std::move(text.out)};
}

}  // namespace calyx::wire
