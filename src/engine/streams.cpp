#include <calyx/session.hpp>
#include <calyx/streams.hpp>
#include <charconv>
#include <utility>

#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "services/projects.hpp"

namespace calyx {
namespace {

using engine::FoundJob;
using engine::Lifeline;
using services::Book;
using services::Caller;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using store::MarketStore;

namespace json = core::json;

/// What others write to a shared file is looked for this often; in memory only the clock moves jobs on
/// without telling.
constexpr milliseconds look_again_shared(100);
constexpr milliseconds look_again_alone(1'000);
/// A wait that is longer is as good as one of this length; more could not be added to an instant.
constexpr milliseconds wait_max = std::chrono::hours(24);

/// Whether the stream is over with this error. Else the store had its reasons, which pass.
bool ends_a_stream(Reason reason) noexcept {
  const Status status = facts(reason).status;
  return reason == Reason::closed || reason == Reason::forked ||
         (status != Status::unavailable && status != Status::unknown);
}

/// Looks (`look(Market&)` gives a result, `is_news` says whether that is worth returning), and waits and
/// looks again until `most` has passed.
template <class Look, class IsNews>
auto follow(Lifeline& lifeline, milliseconds most, bool& over, Look look, IsNews is_news)
    -> std::invoke_result_t<Look&, Market&> {
  using Answer = std::invoke_result_t<Look&, Market&>;
  const auto until = steady_clock::now() + std::clamp(most, milliseconds(0), wait_max);
  for (;;) {
    Result<Lifeline::Hold> hold = lifeline.hold();
    if (!hold.ok()) {
      over = true;
      return std::move(hold).error();
    }
    Market& market = hold->market();
    const std::uint64_t told = market.workshop().told();
    if (lifeline.loose()) continue;  // since it was taken: the next one is refused
    Answer answer = look(market);
    if (!answer.ok()) {
      over = ends_a_stream(answer.error().reason);
      return answer;
    }
    if (over || is_news(*answer)) return answer;
    const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) return answer;
    market.workshop().wait_told(told,
                                std::min(left, market.is_shared() ? look_again_shared : look_again_alone));
  }
}

}  // namespace

// ── jobs ──

class JobFollower {
 public:
  struct Followed {
    JobId id;
    std::int64_t after = 0;
    bool ended = false;

    store::JobNumber number() const noexcept { return static_cast<store::JobNumber>(id.number()); }
  };

  JobFollower(std::shared_ptr<Lifeline> lifeline, const Principal& principal, std::vector<Followed> jobs)
      : lifeline_(std::move(lifeline)), principal_(principal), jobs_(std::move(jobs)) {
    note_end();
  }

  Result<std::vector<JobNews>> next(milliseconds most) {
    using News = std::vector<JobNews>;
    if (over_) return News{};
    return follow(
        *lifeline_, most, over_, [&](Market& market) { return look(market); },
        [](const News& news) { return !news.empty(); });
  }
  bool ended() const noexcept { return over_; }

 private:
  void note_end() noexcept {
    over_ = over_ || std::all_of(jobs_.begin(), jobs_.end(), [](const Followed& job) { return job.ended; });
  }

  /// What is new, and of what is told as a state also that.
  struct Seen {
    std::vector<JobNews> news;
    std::vector<std::pair<std::size_t, FoundJob>> states;  ///< With their places in `news`.
    std::vector<Followed> jobs;
    std::size_t turn = 0;
  };

  Result<std::vector<JobNews>> look(Market& market) {
    CALYX_CHECK(market.read([&](const Book& book, Instant) -> Result<Caller> {
      return services::authorize(book, principal_, services::For::derived_keys);
    }));
    CALYX_TRY(Seen seen, market.history([&](MarketStore& store) { return see(market, store); }));
    if (!seen.states.empty()) {
      CALYX_TRY(const engine::Reading by, engine::reading(market, principal_));
      for (const auto& [place, found] : seen.states) seen.news[place].state = engine::shown(by, found);
    }
    jobs_ = std::move(seen.jobs);
    turn_ = seen.turn;
    note_end();
    return std::move(seen.news);
  }

  Result<Seen> see(Market& market, MarketStore& store) const {
    Seen seen{.news = {}, .states = {}, .jobs = jobs_, .turn = turn_};
    // One after the other, from where the last look ran full, so that a loud job keeps none of the others
    // quiet.
    for (std::size_t i = 0; i < seen.jobs.size() && seen.news.size() < news_max; ++i) {
      const std::size_t place = seen.turn;
      CALYX_CHECK(see_one(market, store, place, seen));
      if (seen.news.size() < news_max || i == 0) seen.turn = (place + 1) % seen.jobs.size();
    }
    return seen;
  }

  static Result<Done> see_one(Market& market, MarketStore& store, std::size_t place, Seen& seen) {
    Followed& job = seen.jobs[place];
    if (job.ended) return Done{};
    CALYX_TRY(std::optional<store::JobState> state, store.jobs().state(job.number()));
    if (!state)
      return fail(Reason::corrupt, "job " + job.id.text() + " has no state; run an audit",
                  json::object({{"table", "job_states"}, {"row", job.number()}}));
    const auto tell_state = [&](NewsKind kind, std::int64_t number) -> Result<Done> {
      CALYX_TRY(auto known, market.known_jobs().get(store, job.number()));
      seen.states.emplace_back(seen.news.size(), FoundJob{std::move(known), *state});
      seen.news.push_back({.kind = kind, .place = place, .job = job.id, .number = number});
      job.after = number;
      return Done{};
    };
    if (state->events - job.after > stream_lag_max) {
      CALYX_CHECK(tell_state(NewsKind::snapshot, state->events));
    } else if (state->events > job.after) {
      CALYX_CHECK(store.jobs().events_of(
          job.number(), job.after,
          [&](std::int64_t number, Instant at, std::string_view body) -> Result<bool> {
            if (seen.news.size() == news_max) return false;
            CALYX_TRY(json::Value value, services::read_own_json(body, "a job's event"));
            seen.news.push_back({.kind = NewsKind::event,
                                 .place = place,
                                 .job = job.id,
                                 .number = number,
                                 .at = at,
                                 .body = std::move(value)});
            job.after = number;
            return true;
          }));
    }
    if (!is_terminal(state->status) || job.after < state->events || seen.news.size() == news_max)
      return Done{};
    CALYX_CHECK(tell_state(NewsKind::end, state->events + 1));
    job.ended = true;
    return Done{};
  }

  std::shared_ptr<Lifeline> lifeline_;
  Principal principal_;
  std::vector<Followed> jobs_;
  std::size_t turn_ = 0;  ///< The job that is looked at first.
  bool over_ = false;
};

JobStream::JobStream(std::unique_ptr<JobFollower> follower) noexcept : follower_(std::move(follower)) {}
JobStream::JobStream(JobStream&&) noexcept = default;
JobStream& JobStream::operator=(JobStream&&) noexcept = default;
JobStream::~JobStream() = default;

Result<std::vector<JobNews>> JobStream::next(milliseconds most) { return follower_->next(most); }
bool JobStream::ended() const noexcept { return follower_->ended(); }

Result<JobStream> Session::stream_job(JobId id, std::int64_t after) {
  const JobCursor cursor{.job = id, .after = after};
  return watch_jobs({&cursor, 1});
}

Result<JobStream> Session::watch_jobs(std::span<const JobCursor> jobs) {
  CALYX_TRY(const engine::Reading by, engine::reading(*market_, principal_));
  CALYX_CHECK(market_->lifeline()->hold());
  if (jobs.empty())
    return services::field_error(Reason::field_value, "jobs", "is empty, takes 1 to 100 jobs");
  static_assert(watched_jobs_max == 100, "the message says this number");
  if (jobs.size() > watched_jobs_max)
    return fail(Reason::too_many_operations,
                std::to_string(jobs.size()) + " jobs, takes " + std::to_string(watched_jobs_max),
                json::object({{"field", "jobs"}, {"jobs", jobs.size()}, {"limit", watched_jobs_max}}));
  using Jobs = std::vector<JobFollower::Followed>;
  CALYX_TRY(Jobs followed, market_->history([&](MarketStore& store) -> Result<Jobs> {
    Jobs out;
    out.reserve(jobs.size());
    for (const JobCursor& cursor : jobs) {
      CALYX_TRY(const FoundJob found, engine::find_job(*market_, store, by, cursor.job));
      if (std::any_of(out.begin(), out.end(), [&](const auto& other) { return other.id == cursor.job; }))
        return services::field_error(Reason::field_value, "jobs",
                                     "names " + cursor.job.text() + " more than once");
      const bool terminal = is_terminal(found.state.status);
      const std::int64_t last = found.state.events + (terminal ? 1 : 0);
      if (cursor.after < 0 || cursor.after > last)
        return services::field_error(Reason::field_value, "after",
                                     "is " + std::to_string(cursor.after) + ", the stream of " +
                                         cursor.job.text() + " is at " + std::to_string(last));
      out.push_back(
          {.id = cursor.job, .after = cursor.after, .ended = terminal && cursor.after > found.state.events});
    }
    return out;
  }));
  return JobStream(std::make_unique<JobFollower>(market_->lifeline(), principal_, std::move(followed)));
}

// ── projects ──

class ProjectFollower {
 public:
  ProjectFollower(std::shared_ptr<Lifeline> lifeline, const Principal& principal, ProjectName project,
                  store::ProjectNumber number, ProjectCursor told)
      : lifeline_(std::move(lifeline)),
        principal_(principal),
        project_(std::move(project)),
        number_(number),
        told_(std::move(told)) {}

  Result<std::optional<ProjectNews>> next(milliseconds most) {
    using News = std::optional<ProjectNews>;
    if (over_) return News{};
    return follow(
        *lifeline_, most, over_, [&](Market& market) { return look(market); },
        [](const News& news) { return news.has_value(); });
  }
  bool ended() const noexcept { return over_; }

  /// Fails: as `Session::project`.
  static Result<core::AccountNumber> account_of(Market& market, const Principal& principal,
                                                const ProjectName& project) {
    return market.read([&](const Book& book, Instant) -> Result<core::AccountNumber> {
      CALYX_TRY(const Caller caller, services::authorize(book, principal, services::For::derived_keys));
      return services::account_of(book, caller, project);
    });
  }

 private:
  /// All that the status is made from.
  static ProjectCursor cursor_of(const store::ProjectState& state) {
    return std::to_string(state.active) + '.' + std::to_string(state.warmed) + '.' +
           std::to_string(state.invalidated.us);
  }

  Result<std::optional<ProjectNews>> look(Market& market) {
    CALYX_CHECK(account_of(market, principal_, project_));
    CALYX_TRY(const store::ProjectState state,
              market.history([&](MarketStore& store) -> Result<store::ProjectState> {
                CALYX_TRY(std::optional<store::ProjectState> found, store.projects().state(number_));
                if (!found)
                  return fail(Reason::corrupt,
                              "project " + std::to_string(number_) + " has no state; run an audit",
                              json::object({{"table", "project_states"}, {"row", number_}}));
                return *std::move(found);
              }));
    ProjectNews news{.kind = begun_ ? NewsKind::event : NewsKind::snapshot,
                     .cursor = cursor_of(state),
                     .status = services::status_of(state)};
    begun_ = true;
    if (state.deleted.us != 0) {
      over_ = true;
      news.kind = NewsKind::end;
      return std::optional(std::move(news));
    }
    if (news.cursor == told_) return std::optional<ProjectNews>();
    told_ = news.cursor;
    return std::optional(std::move(news));
  }

  std::shared_ptr<Lifeline> lifeline_;
  Principal principal_;
  ProjectName project_;
  store::ProjectNumber number_;
  ProjectCursor told_;
  bool begun_ = false;
  bool over_ = false;
};

ProjectStream::ProjectStream(std::unique_ptr<ProjectFollower> follower) noexcept
    : follower_(std::move(follower)) {}
ProjectStream::ProjectStream(ProjectStream&&) noexcept = default;
ProjectStream& ProjectStream::operator=(ProjectStream&&) noexcept = default;
ProjectStream::~ProjectStream() = default;

Result<std::optional<ProjectNews>> ProjectStream::next(milliseconds most) { return follower_->next(most); }
bool ProjectStream::ended() const noexcept { return follower_->ended(); }

Result<ProjectStream> Session::stream_project(const ProjectName& project, const ProjectCursor& after) {
  CALYX_TRY(const core::AccountNumber account, ProjectFollower::account_of(*market_, principal_, project));
  CALYX_CHECK(market_->lifeline()->hold());
  CALYX_TRY(const store::ProjectState state,
            market_->history([&](MarketStore& store) -> Result<store::ProjectState> {
              return services::find_project(store, account, project.name);
            }));
  // Only what has the shape of a cursor may say that nothing has changed since.
  constexpr std::size_t numbers = 3;
  const char* at = after.data();
  const char* const end = at + after.size();
  for (std::size_t i = 0; i < numbers && !after.empty(); ++i) {
    std::int64_t number = 0;
    const auto read = std::from_chars(at, end, number);
    const bool last = i + 1 == numbers;
    if (read.ec != std::errc() || number < 0 ||
        (last ? read.ptr != end : read.ptr == end || *read.ptr != '.'))
      return services::field_error(Reason::field_value, "after", "is no place in a project's stream");
    at = last ? end : read.ptr + 1;
  }
  return ProjectStream(
      std::make_unique<ProjectFollower>(market_->lifeline(), principal_, project, state.number, after));
}

}  // namespace calyx
