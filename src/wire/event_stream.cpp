#include "wire/event_stream.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <thread>
#include <utility>

#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How often a store that is busy or full is asked again.
constexpr milliseconds ask_again(100);
constexpr milliseconds wait_at_most = std::chrono::hours(24);

/// `data` is JSON of one line: canonical text escapes what would end it.
void append_frame(std::string& out, std::string_view id, std::string_view event, std::string_view data) {
  out += "id: ";
  out += id;
  out += "\nevent: ";
  out += event;
  out += "\ndata: ";
  out += data;
  out += "\n\n";
}

/// What all bodies of events have around their events: the beginning, comments, the end.
class EventBody : public BodyStream {
 public:
  explicit EventBody(milliseconds comment_after) : comment_after_(comment_after) {}

  BodyPiece next(milliseconds most) final {
    if (!begun_) {
      begun_ = true;
      return given("retry: " + std::to_string(reconnect_after.count()) + "\n\n");
    }
    if (broken_ || over()) return {};
    const auto quiet_for = std::chrono::duration_cast<milliseconds>(steady_clock::now() - last_);
    const milliseconds wait =
        std::clamp(std::min(most, comment_after_ - quiet_for), milliseconds(0), wait_at_most);
    std::string frames;
    broken_ = true;  // until it is told in full: what memory ran out for is not passed over in silence
    const Result<Done> told = tell(wait, frames);
    broken_ = false;
    if (!told.ok()) {
      if (over()) return {};
      // A store that is busy or full for a while is no end of the stream; nor is it asked all the time.
      std::this_thread::sleep_for(std::min(wait, ask_again));
    }
    if (!frames.empty()) return given(std::move(frames));
    if (over()) return {};
    if (steady_clock::now() - last_ >= comment_after_) return given(":\n\n");
    return {.kind = BodyPiece::Kind::nothing_yet, .bytes = {}};
  }

 private:
  /// Appends what is new as frames, waiting at most `most` for it.
  virtual Result<Done> tell(milliseconds most, std::string& frames) = 0;
  virtual bool over() const noexcept = 0;

  BodyPiece given(std::string bytes) {
    last_ = steady_clock::now();
    return {.kind = BodyPiece::Kind::bytes, .bytes = std::move(bytes)};
  }

  const milliseconds comment_after_;
  steady_clock::time_point last_ = steady_clock::now();
  bool begun_ = false;
  bool broken_ = false;
};

class JobBody final : public EventBody {
 public:
  JobBody(JobStream stream, JobIds ids, std::vector<JobCursor> jobs, milliseconds comment_after)
      : EventBody(comment_after), stream_(std::move(stream)), ids_(ids), jobs_(std::move(jobs)) {}

 private:
  Result<Done> tell(milliseconds most, std::string& frames) override {
    CALYX_TRY(const std::vector<JobNews> told, stream_.next(most));
    std::string data;
    for (const JobNews& news : told) {
      jobs_[news.place].after = news.number;
      data.clear();
      Members members(data);
      members.id("job_id", news.job).integer("id", news.number);
      std::string_view event = word(news.kind);
      if (news.state) {
        members.begin("data");
        append_json(data, *news.state);
      } else {
        members.instant("at", news.at);
        append_value(members, data, "data", news.body);
        const json::Value* name = news.body.find("event");
        if (name != nullptr && name->string() != nullptr) event = *name->string();
      }
      members.close();
      append_frame(frames, ids_ == JobIds::number ? std::to_string(news.number) : watch_id(jobs_), event,
                   data);
    }
    return Done{};
  }
  bool over() const noexcept override { return stream_.ended(); }

  JobStream stream_;
  JobIds ids_;
  std::vector<JobCursor> jobs_;
};

class ProjectBody final : public EventBody {
 public:
  ProjectBody(ProjectStream stream, milliseconds comment_after)
      : EventBody(comment_after), stream_(std::move(stream)) {}

 private:
  Result<Done> tell(milliseconds most, std::string& frames) override {
    CALYX_TRY(const std::optional<ProjectNews> news, stream_.next(most));
    if (!news) return Done{};
    std::string data;
    Members members(data);
    append_status(members, news->status);
    members.close();
    append_frame(frames, news->cursor,
                 news->kind == NewsKind::event ? std::string_view("status") : word(news->kind), data);
    return Done{};
  }
  bool over() const noexcept override { return stream_.ended(); }

  ProjectStream stream_;
};

/// FNV-1a, in 32 bits: it tells lists apart that were mixed up, and guards nothing.
std::uint32_t mark_of(const std::vector<JobCursor>& jobs) noexcept {
  std::uint32_t mark = 2'166'136'261U;
  for (const JobCursor& job : jobs)
    for (const char c : job.job.text()) mark = (mark ^ static_cast<unsigned char>(c)) * 16'777'619U;
  return mark;
}

}  // namespace

std::string watch_id(const std::vector<JobCursor>& jobs) {
  std::string out = std::to_string(mark_of(jobs));
  for (const JobCursor& job : jobs) out += '.' + std::to_string(job.after);
  return out;
}

bool read_watch_id(std::string_view id, std::vector<JobCursor>& jobs) {
  const auto number = [&](auto& out) {
    const auto read = std::from_chars(id.data(), id.data() + id.size(), out);
    if (read.ec != std::errc() || id.front() == '-') return false;
    id.remove_prefix(static_cast<std::size_t>(read.ptr - id.data()));
    return true;
  };
  std::uint32_t mark = 0;
  if (id.empty() || !number(mark) || mark != mark_of(jobs)) return false;
  for (JobCursor& job : jobs) {
    if (id.size() < 2 || id.front() != '.') return false;
    id.remove_prefix(1);
    if (!number(job.after)) return false;
  }
  return id.empty();
}

std::shared_ptr<BodyStream> job_body(JobStream stream, JobIds ids, std::vector<JobCursor> jobs,
                                     milliseconds comment_after) {
  return std::make_shared<JobBody>(std::move(stream), ids, std::move(jobs), comment_after);
}

std::shared_ptr<BodyStream> project_body(ProjectStream stream, milliseconds comment_after) {
  return std::make_shared<ProjectBody>(std::move(stream), comment_after);
}

Response stream_response(std::shared_ptr<BodyStream> stream) {
  return {.status = 200,
          .headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}},
          .body = {},
          .stream = std::move(stream)};
}

Response nothing_more() {
  return {.status = 204, .headers = {{"Cache-Control", "no-store"}}, .body = {}, .stream = {}};
}

}  // namespace calyx::wire
