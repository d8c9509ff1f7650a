#include "services/audit_beside.hpp"

#include "services/artifact_refs.hpp"
#include "services/jobs.hpp"
#include "services/payments.hpp"
#include "services/webhooks.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

class Beside {
 public:
  Beside(store::MarketStore& store, const Book& book, Told told, AuditDepth depth)
      : store_(store), book_(book), told_(std::move(told)), depth_(depth) {}

  Result<std::string> first_fault() {
    using Step = Result<bool> (Beside::*)();
    constexpr Step steps[] = {&Beside::compare_jobs,      &Beside::compare_projects,
                              &Beside::compare_feedback,  &Beside::compare_webhooks,
                              &Beside::compare_artifacts, &Beside::compare_payments};
    for (const Step step : steps) {
      CALYX_TRY(const bool good, (this->*step)());
      if (!good) break;
    }
    return std::move(fault_);
  }

 private:
  bool fault(std::string line) {
    fault_ = std::move(line);
    return false;
  }

  /// Jobs are no part of the log, but what they hold and have settled is; and what a job's state says of its
  /// tasks must be what their rows come to.
  Result<bool> compare_jobs() {
    store::JobStore& jobs = store_.jobs();
    CALYX_TRY(const std::string index, jobs.index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    CALYX_TRY(store::JobNumber next, jobs.last_job());
    std::uint64_t holding = 0;
    std::vector<store::JobState> states;
    CALYX_CHECK(jobs.jobs_of(-1, INT64_MAX, [&](const store::JobState& state) -> Result<bool> {
      states.push_back(state);
      return true;
    }));
    for (const store::JobState& state : states) {
      const auto job_fault = [&](const std::string& what) {
        return fault("job " + std::to_string(state.number) + ": " + what);
      };
      if (state.number != next--) return job_fault("job " + std::to_string(next + 1) + " has no state");
      CALYX_TRY(const std::optional<store::JobRow> row, jobs.job(state.number));
      if (!row) return job_fault("its row is missing");
      if (row->account != state.account) return job_fault("its state names another payer");
      if (request_of(row->spec, row->items != 0, row->input) != row->request)
        return job_fault("its request is not the one whose hash it has");
      const auto lock = book_.locks.find(row->lock);
      if (row->lock != 0 && !is_terminal(state.status)) {
        ++holding;
        if (lock == book_.locks.end() || lock->second.job != state.number)
          return job_fault("what it holds is no open lock of its own");
        if (lock->second.amount != row->hold || lock->second.payer != row->account)
          return job_fault("holds " + core::money_text(row->hold) + ", its lock " +
                           core::money_text(lock->second.amount));
      }
      if (is_terminal(state.status) && lock != book_.locks.end() && lock->second.job == state.number)
        return job_fault("has ended, and its lock is open");
      CALYX_TRY(const std::string money, money_fault(*row, state));
      if (!money.empty()) return job_fault(money);
      CALYX_TRY(const store::JobStore::Tally tally, jobs.tally(state.number));
      const store::JobStore::Tally said{.completed = state.completed,
                                        .failed = state.failed,
                                        .running = state.running,
                                        .retrying = state.retrying,
                                        .ran_ms = state.ran_ms,
                                        .charged = state.charged.micro,
                                        .events = state.events,
                                        .backups = state.backups};
      if (tally != said) return job_fault("its state says other than its tasks' rows");
      if (state.completed + state.failed + state.running + state.retrying > row->tasks)
        return job_fault("has more tasks than it was made with");
      if (is_terminal(state.status) && row->spec.find("callback_url") != std::string::npos) {
        CALYX_TRY(const std::string webhook, webhook_fault(state));
        if (!webhook.empty()) return job_fault(webhook);
      }
      if (depth_ == AuditDepth::each) {
        CALYX_TRY(const std::string work, work_fault(*row, state));
        if (!work.empty()) return job_fault(work);
      }
    }
    if (next != 0) return fault("job " + std::to_string(next) + " has no state");
    std::uint64_t held = 0;
    for (const auto& [seq, lock] : book_.locks)
      if (lock.job != 0) ++held;
    return held == holding || fault(std::to_string(held) + " locks are jobs' budgets, and " +
                                    std::to_string(holding) + " jobs hold one");
  }

  /// What is wrong between a job's rows and the events of its money: its hold, and its settlement.
  Result<std::string> money_fault(const store::JobRow& row, const store::JobState& state) {
    const bool bare = state.receipt < 0 && state.receipts == 0;
    if (row.lock == 0) return std::string(bare ? "" : "has a receipt, and held nothing");
    const auto budget = told_.budgets.find(row.lock);
    if (budget == told_.budgets.end() || budget->second.job != row.number)
      return std::string("what it held was no lock of its own");
    if (budget->second.amount != row.hold || budget->second.payer != row.account)
      return "held " + core::money_text(row.hold) + ", its lock " + core::money_text(budget->second.amount);
    const auto found = told_.settlements.find(row.lock);
    if (found == told_.settlements.end())
      return std::string(bare && (!is_terminal(state.status) || state.charged.micro == 0)
                             ? ""
                             : "says that it was settled, which it was not");
    const Told::Settlement& of = found->second;
    Told::Shares shares{{state.host, state.charged}};
    if (state.host == store::several_hosts) {
      shares.clear();
      CALYX_TRY(const auto used, store_.jobs().shares_of(row.number));
      for (const store::JobStore::Share& share : used) shares.emplace_back(share.host, share.charged);
    }
    const bool same = of.leaf == state.receipt &&
                      state.receipts == static_cast<std::int64_t>(of.shares.size()) && of.shares == shares &&
                      state.output == of.output && row.input == of.input;
    return std::string(same ? "" : "was settled for other work than its rows tell of");
  }

  /// What is wrong with a job's explicit items and with its tasks' results: whether they still have the
  /// hashes that stand in its row and its state. Of a job that names artifacts the input is not looked at,
  /// since their hashes stand in it.
  Result<std::string> work_fault(const store::JobRow& row, const store::JobState& state) {
    const auto what = [](const auto& read) -> Result<std::string> {
      if (read.reason() == Reason::corrupt) return std::string(read.error().message);
      return read.error();
    };
    const Result<std::shared_ptr<const KnownJob>> known = known_jobs_.get(store_, state.number);
    if (!known.ok()) return what(known);
    if ((*known)->terms.work != WorkKind::recipe) {
      const Result<std::shared_ptr<const LongList>> items = items_of(store_, **known);
      if (!items.ok()) return what(items);
      const Result<json::Value> spec = read_own_json(row.spec, "a job's request");
      if (!spec.ok()) return what(spec);
      const std::vector<std::string> member{std::string(artifacts_member)};
      const json::Value& job = *spec->find("job");
      if (!names_artifacts(job, {}) && !has_member(**items, member) &&
          input_of(*job.object(), **items) != row.input)
        return std::string("its items are not the ones whose hash it has");
    }
    if (state.status != JobStatus::completed && state.status != JobStatus::partial) return std::string();
    const Result<Merged> merged = merge_job(store_, **known, nullptr);
    if (!merged.ok()) return what(merged);
    return std::string(merged->output == state.output ? ""
                                                      : "its tasks' results have another hash than it says");
  }

  /// What a project's state says must be what was pushed to it and what its runs share.
  Result<bool> compare_projects() {
    store::ProjectStore& projects = store_.projects();
    CALYX_TRY(const std::string index, projects.index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    CALYX_TRY(const store::ProjectNumber last, projects.last_project());
    std::vector<store::ProjectState> states;
    CALYX_CHECK(projects.all_from(0, [&](const store::ProjectState& state) -> Result<bool> {
      states.push_back(state);
      return true;
    }));
    store::ProjectNumber next = 0;
    for (const store::ProjectState& state : states) {
      const auto project_fault = [&](const std::string& what) {
        return fault("project " + std::to_string(state.number) + ": " + what);
      };
      if (state.number != ++next) return fault("project " + std::to_string(next) + " has no state");
      CALYX_TRY(const std::optional<store::ProjectRow> row, projects.project(state.number));
      if (!row) return project_fault("its row is missing");
      if (row->account != state.account || row->name != state.name)
        return project_fault("its state names another account or name");
      CALYX_TRY(const store::ProjectStore::Tally tally, projects.tally(state.number));
      if (tally.last_revision != state.active ||
          tally.revisions != (state.active == 0 ? 0 : state.active - row->revisions_before))
        return project_fault("its state says other than its revisions");
      if (state.warmed != 0 && state.warmed != state.active)
        return project_fault("a revision is prepared that is not its active one");
      if (tally.kv_keys != state.kv_keys) return project_fault("shares other than its state says");
    }
    return next == last || fault("project " + std::to_string(last) + " has no state");
  }

  /// Feedback has no state beside it: its rows are there, in one piece, and in their types.
  Result<bool> compare_feedback() {
    store::FeedbackStore& feedback = store_.feedback();
    CALYX_TRY(const std::string index, feedback.index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    CALYX_TRY(const std::int64_t last, feedback.last());
    CALYX_TRY(const std::int64_t count, feedback.count());
    return last == count || fault("feedback: the last one is " + std::to_string(last) + ", and " +
                                  std::to_string(count) + " are there");
  }

  /// What is wrong with the message that the end of a job left, if it was to leave one.
  Result<std::string> webhook_fault(const store::JobState& state) {
    CALYX_TRY(const std::shared_ptr<const KnownJob> known, known_jobs_.get(store_, state.number));
    if (known->terms.callback_url.empty()) return std::string();
    CALYX_TRY(const std::optional<store::WebhookRow> row, store_.webhooks().message(state.number));
    if (!row) return std::string("the message of its end is missing");
    ++messages_;
    CALYX_TRY(const std::optional<Webhook> webhook, webhook_of(store_, state.number, {}));
    if (row->at != state.ended || row->body != webhook_body(book_.tag, *known, state))
      return std::string("the message of its end says other than its state");
    return std::string();
  }

  /// Messages are of jobs that have ended and want one (which `compare_jobs` has counted), each with a state.
  Result<bool> compare_webhooks() {
    CALYX_TRY(const std::string index, store_.webhooks().index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    CALYX_TRY(const std::string nonces, store_.nonces().index_fault());
    if (!nonces.empty()) return fault(nonces + ": lists other rows than its table has");
    CALYX_TRY(const store::WebhookStore::Count count, store_.webhooks().count());
    return (count.messages == messages_ && count.states == messages_ && count.all_states == messages_) ||
           fault("webhooks: " + std::to_string(count.messages) + " messages and " +
                 std::to_string(count.all_states) + " states are there for " + std::to_string(messages_) +
                 " jobs");
  }

  /// Artifacts and uploads are there in one piece; whether their blobs are is not asked of the file.
  Result<bool> compare_artifacts() {
    store::ArtifactStore& artifacts = store_.artifacts();
    CALYX_TRY(const std::string index, artifacts.index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    CALYX_TRY(const std::int64_t last, artifacts.last());
    CALYX_TRY(const std::int64_t count, artifacts.count());
    CALYX_TRY(const std::int64_t last_upload, artifacts.last_upload());
    CALYX_TRY(const std::int64_t uploads, artifacts.count_uploads());
    if (last != count)
      return fault("artifacts: the last one is " + std::to_string(last) + ", and " + std::to_string(count) +
                   " are there");
    return last_upload == uploads || fault("uploads: the last one is " + std::to_string(last_upload) +
                                           ", and " + std::to_string(uploads) + " are there");
  }

  /// A payment that is paid has its top-up, and such a top-up its payment.
  Result<bool> compare_payments() {
    store::PaymentStore& payments = store_.payments();
    CALYX_TRY(const std::string index, payments.index_fault());
    if (!index.empty()) return fault(index + ": lists other rows than its table has");
    std::vector<store::QuoteRow> quotes;
    CALYX_CHECK(payments.all_quotes([&](const store::QuoteRow& row) -> Result<bool> {
      quotes.push_back(row);
      return true;
    }));
    for (std::size_t i = 0; i < quotes.size(); ++i) {
      const store::QuoteRow& row = quotes[i];
      const auto quote_fault = [&](const char* what) {
        return fault("quote " + std::to_string(i + 1).append(": ").append(what));
      };
      if (row.number != static_cast<std::int64_t>(i) + 1) return quote_fault("is missing");
      if (book_.wallet(row.account) == nullptr || row.amount.micro < 1 || row.amount > core::amount_max ||
          row.kind < 0 || row.kind > static_cast<std::int64_t>(QuoteKind::call) || row.expires <= row.at)
        return quote_fault("is none that calyx gives");
    }
    std::int64_t count = 0;
    std::string first;
    CALYX_CHECK(payments.all_payments([&](const store::PaymentRow& row) -> Result<bool> {
      ++count;
      CALYX_TRY(first, payment_fault(row, count, quotes));
      if (!first.empty()) first.insert(0, "payment " + std::to_string(count).append(": "));
      return first.empty();
    }));
    if (!first.empty()) return fault(std::move(first));
    CALYX_TRY(const std::int64_t states, payments.count_states());
    if (states != count)
      return fault("payments: " + std::to_string(count).append(" are there, and ") + std::to_string(states) +
                   " states");
    if (told_.credits.empty()) return true;
    return fault("event " + std::to_string(told_.credits.begin()->second.seq) + ": credits " +
                 told_.credits.begin()->first + ", which was not paid");
  }

  Result<std::string> payment_fault(const store::PaymentRow& row, std::int64_t number,
                                    const std::vector<store::QuoteRow>& quotes) {
    if (row.number != number) return std::string("is missing");
    if (row.quote < 1 || static_cast<std::size_t>(row.quote) > quotes.size())
      return std::string("is for no quote");
    const store::QuoteRow& quote = quotes[static_cast<std::size_t>(row.quote) - 1];
    if (!row.surplus && (row.credit < quote.amount || row.at >= quote.expires))
      return std::string("is none that its quote takes");
    CALYX_TRY(const std::optional<store::PaymentState> state, store_.payments().state(number));
    if (!state || state->status < 0 || state->status > static_cast<std::int64_t>(PaymentStatus::failed))
      return std::string("has no state");
    const auto status = static_cast<PaymentStatus>(state->status);
    if (is_terminal(status) != (state->ended.us != 0)) return std::string("its end is at no time");
    if (status != PaymentStatus::paid)
      return std::string(state->seq == 0 && state->credited.micro == 0 ? "" : "is credited, and not paid");
    const auto credit = told_.credits.find(credit_reference(book_.tag, quote, row));
    if (credit == told_.credits.end()) return std::string("is paid, and was not credited");
    const Told::Credit is = credit->second;
    told_.credits.erase(credit);
    const bool same = is.seq == state->seq && is.at == state->ended && is.account == quote.account &&
                      is.amount == state->credited;
    return std::string(same ? "" : "was credited other than its state says");
  }

  store::MarketStore& store_;
  const Book& book_;
  Told told_;  ///< Without the credits whose payment was met.
  AuditDepth depth_;
  JobCache known_jobs_;
  std::int64_t messages_ = 0;  ///< Of jobs that have ended and want one.
  std::string fault_;
};

}  // namespace

Result<std::string> fault_beside(store::MarketStore& store, const Book& book, Told told, AuditDepth depth) {
  return Beside(store, book, std::move(told), depth).first_fault();
}

}  // namespace calyx::services
