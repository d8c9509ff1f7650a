// Streams as somebody on the wire meets them: what they say byte for byte, where they go on, and how they
// end.
#include <thread>

#include "archive/archive.hpp"
#include "engine/tarballs.hpp"
#include "engine/waits.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"
#include "wire/client.hpp"
#include "wire/event_stream.hpp"

using namespace wire_test;
using calyx::BodyPiece;
using calyx::BodyStream;
using std::chrono::milliseconds;
namespace wire = calyx::wire;

namespace {

constexpr milliseconds at_once(0);
constexpr milliseconds long_enough(20'000);

// What a stream gives without waiting.
struct Drained {
  std::string text;
  bool ended = false;
};
Drained drain(BodyStream& stream) {
  for (Drained out;;) {
    BodyPiece piece = stream.next(at_once);
    CHECK(piece.bytes.empty() == (piece.kind != BodyPiece::Kind::bytes));
    out.text += piece.bytes;
    out.ended = piece.kind == BodyPiece::Kind::end;
    if (piece.kind != BodyPiece::Kind::bytes) return out;
  }
}

// One event, as a client takes it apart.
struct Frame {
  std::string id, event, data;
  bool operator==(const Frame&) const = default;
};
std::vector<Frame> frames_of(std::string_view text) {
  std::vector<Frame> out;
  while (!text.empty()) {
    const std::size_t end = text.find("\n\n");
    REQUIRE(end != std::string_view::npos);
    std::string_view block = text.substr(0, end + 1);
    text.remove_prefix(end + 2);
    Frame frame;
    while (!block.empty()) {
      const std::size_t line_end = block.find('\n');
      const std::string_view line = block.substr(0, line_end);
      block.remove_prefix(line_end + 1);
      const std::size_t colon = line.find(": ");
      const std::string_view name = line.substr(0, colon);
      if (name == "id") frame.id = line.substr(colon + 2);
      if (name == "event") frame.event = line.substr(colon + 2);
      if (name == "data") {
        CHECK(frame.data.empty());  // always in one line
        frame.data = line.substr(colon + 2);
      }
    }
    if (!frame.event.empty()) out.push_back(std::move(frame));
  }
  return out;
}
std::string events_of(const std::vector<Frame>& frames) {
  std::string out;
  for (const Frame& frame : frames) out += (out.empty() ? "" : " ") + frame.event;
  return out;
}

calyx::Response ask(calyx::Engine& engine, const std::string& target, const std::string& key,
                    calyx::HeaderFields headers = {}) {
  headers.push_back({"X-API-Key", key});
  return calyx::handle(engine, {"GET", target, std::move(headers), ""});
}

std::string value_of(const calyx::Response& response, std::string_view name) {
  for (const calyx::HeaderField& field : response.headers)
    if (field.name == name) return field.value;
  return {};
}

// Somebody with jobs, and a worker that does as it is told.
struct Yard {
  Market market;
  Owner alice = market.human("alice");

  static std::string job(int tasks) {
    return R"({"task":"work","timeout_s":10,"fan_out":{"chunks":)" + std::to_string(tasks) +
           R"(,"range_field":"n","total":)" + std::to_string(tasks) + "}}";
  }
  std::string submitted(int tasks = 1) {
    const Answer answer = market.post("/api/v1/jobs", alice.key, job(tasks));
    REQUIRE_MESSAGE(answer.status == 201, answer.body);
    return answer.at("job_id");
  }
  calyx::Lease lease(std::uint64_t most = 1) {
    return market.engine()
        .as_operator()
        .lease_tasks({.worker = "w", .tasks = {"work"}, .tasks_max = most})
        .value();
  }
  void done(const calyx::Lease& lease, std::size_t tasks = 1) {
    calyx::Report report{.token = lease.token};
    calyx::TaskOutcome outcome;
    outcome.result = json::Value(7);
    outcome.ran_ms = 1;
    report.outcomes.assign(tasks, outcome);
    REQUIRE(market.engine().as_operator().report_tasks(report).ok());
  }
  void progress(const calyx::Lease& lease, int step) {
    calyx::Session all = market.engine().as_operator();
    REQUIRE(all.report_tasks({.token = lease.token, .progress = json::object({{"step", step}})}).ok());
  }
  void work(std::uint64_t tasks = 1) {
    const calyx::Lease got = lease(tasks);
    REQUIRE(got.count == tasks);
    done(got, tasks);
  }
  calyx::Response stream(const std::string& target, calyx::HeaderFields headers = {}) {
    return ask(market.engine(), target, alice.key, std::move(headers));
  }
  calyx::Response of(const std::string& id, const std::string& after = {}) {
    return stream("/api/v1/jobs/" + id + "/stream" + (after.empty() ? "" : "?last_event_id=" + after));
  }
  Answer refused(const std::string& target, calyx::HeaderFields headers = {}) {
    return market.send("GET", target, alice.key, {}, std::move(headers));
  }
};

std::string watch(const std::vector<std::string>& ids, const std::string& after = {}) {
  std::string out = "/api/v1/jobs/watch?ids=";
  for (const std::string& id : ids) out += (&id == ids.data() ? "" : ",") + id;
  return out + (after.empty() ? "" : "&last_event_id=" + after);
}

}  // namespace

TEST_CASE("CP-57: a job's stream, from its submit to its end, byte for byte") {
  Yard yard;
  const std::string id = yard.submitted();
  const calyx::Response response = yard.of(id);
  CHECK(response.status == 200);
  CHECK(response.body.empty());
  CHECK(response.headers.size() == 2);
  CHECK(value_of(response, "Content-Type") == "text/event-stream");
  CHECK(value_of(response, "Cache-Control") == "no-store");
  REQUIRE(response.stream != nullptr);

  const BodyPiece first = response.stream->next(long_enough);
  CHECK(first.kind == BodyPiece::Kind::bytes);
  CHECK(first.bytes == "retry: 2000\n\n");
  const auto frame = [&](const std::string& number, const std::string& event, const std::string& data) {
    return "id: " + number + "\nevent: " + event + "\ndata: {\"job_id\":\"" + id + "\",\"id\":" + number +
           R"(,"at":"2026-04-01T21:00:00Z","data":)" + data + "}\n\n";
  };
  CHECK(drain(*response.stream).text ==
        frame("1", "submitted", R"({"event":"submitted","status":"queued","tasks":1})"));
  CHECK(response.stream->next(at_once).kind == BodyPiece::Kind::nothing_yet);

  const calyx::Lease lease = yard.lease();
  CHECK(drain(*response.stream).text == frame("2", "started", R"({"event":"started"})"));
  yard.progress(lease, 1);
  CHECK(drain(*response.stream).text ==
        frame("3", "task_progress", R"({"event":"task_progress","index":0,"progress":{"step":1}})"));
  yard.done(lease);
  const std::string job = yard.market.get("/api/v1/jobs/" + id, yard.alice.key).body;
  const std::string hash = yard.market.get("/api/v1/jobs/" + id, yard.alice.key).at("output_hash");
  const Drained rest = drain(*response.stream);
  CHECK(rest.text == frame("4", "ended",
                           R"({"completed":1,"event":"ended","failed":0,"output_hash":")" + hash +
                               R"(","status":"completed"})") +
                         "id: 5\nevent: end\ndata: {\"job_id\":\"" + id + "\",\"id\":5,\"data\":" + job +
                         "}\n\n");
  CHECK(rest.ended);
  CHECK(response.stream->next(long_enough).kind == BodyPiece::Kind::end);
}

TEST_CASE("CP-57: from every place the rest follows, and behind the end there is nothing") {
  Yard yard;
  const std::string id = yard.submitted(3);
  const calyx::Response live = yard.of(id);
  drain(*live.stream);
  yard.work(2);
  yard.work(1);
  const std::vector<Frame> all = frames_of(drain(*yard.of(id).stream).text);
  REQUIRE(all.size() >= 5);
  CHECK(all.front().event == "submitted");
  CHECK(all.back().event == "end");
  const std::string path = "/api/v1/jobs/" + id + "/stream";
  for (std::size_t i = 0; i < all.size(); ++i) {
    CAPTURE(i);
    CHECK(all[i].id == std::to_string(i + 1));
    const std::vector<Frame> rest(all.begin() + static_cast<std::ptrdiff_t>(i) + 1, all.end());
    for (const bool in_header : {true, false}) {
      const calyx::Response response = in_header ? yard.stream(path, {{"Last-Event-ID", all[i].id}})
                                                 : yard.stream(path + "?last_event_id=" + all[i].id);
      if (rest.empty()) {
        CHECK(response.status == 204);
        CHECK(response.body.empty());
        CHECK(response.stream == nullptr);
        CHECK(value_of(response, "Cache-Control") == "no-store");
        continue;
      }
      REQUIRE(response.status == 200);
      const Drained drained = drain(*response.stream);
      CHECK(frames_of(drained.text) == rest);
      CHECK(drained.ended);
    }
  }
  // A browser connects again to the target it had, so what it says in the header is the later word.
  CHECK(yard.stream(path + "?last_event_id=1", {{"Last-Event-ID", all.back().id}}).status == 204);
  CHECK(yard.stream(path, {{"Last-Event-ID", ""}}).status == 200);
}

TEST_CASE("CP-57: what names no place in the stream is refused before it begins") {
  Yard yard;
  const std::string id = yard.submitted();
  const std::string path = "/api/v1/jobs/" + id + "/stream";
  for (const char* wrong : {"x", "-1", "1.5", "%201", "99999999999999999999", "2"}) {  // it has one event
    CAPTURE(wrong);
    const Answer in_query = yard.refused(path + "?last_event_id=" + wrong);
    CHECK(in_query.status == 422);
    CHECK(in_query.code() == "field_value");
    CHECK(in_query.field() == "last_event_id");
  }
  const Answer in_header = yard.refused(path, {{"last-event-id", "x"}});
  CHECK(in_header.status == 422);
  CHECK(in_header.field() == "Last-Event-ID");
  CHECK(yard.refused(path + "?last_event_id=2").at("error.message") ==
        "is 2, the stream of " + id + " is at 1");
  CHECK(yard.refused(path, {{"Last-Event-ID", "0"}, {"last-event-id", "1"}}).code() == "malformed_header");
  CHECK(yard.refused(path + "?after=1").code() == "field_unknown");
  CHECK(yard.refused("/api/v1/jobs/nonsense/stream").code() == "job_unknown");
  const Owner bob = yard.market.human("bob");
  CHECK(yard.market.get(path, bob.key).code() == "job_unknown");
}

TEST_CASE("CP-57: who is a thousand events behind is told each, and beyond that how things stand") {
  Yard yard;
  const std::string id = yard.submitted();
  const calyx::Lease lease = yard.lease();
  for (int i = 3; i <= 1'001; ++i) yard.progress(lease, i);
  const calyx::Response behind = yard.of(id, "1");
  const std::vector<Frame> told = frames_of(drain(*behind.stream).text);
  CHECK(told.size() == 1'000);
  CHECK(told.back().id == "1001");

  const calyx::Response late = yard.of(id);
  const std::vector<Frame> said = frames_of(drain(*late.stream).text);
  REQUIRE(said.size() == 1);
  CHECK(said[0].event == "snapshot");
  CHECK(said[0].id == "1001");
  CHECK(said[0].data == R"({"job_id":")" + id + R"(","id":1001,"data":)" +
                            yard.market.get("/api/v1/jobs/" + id, yard.alice.key).body + "}");
  yard.progress(lease, 1'002);
  CHECK(events_of(frames_of(drain(*late.stream).text)) == "task_progress");
  yard.done(lease);
  CHECK(events_of(frames_of(drain(*late.stream).text)) == "ended end");
  CHECK(events_of(frames_of(drain(*yard.of(id).stream).text)) == "snapshot end");
}

TEST_CASE("CP-58: several jobs in one stream, which goes on exactly where it was left") {
  Yard yard;
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(yard.submitted());
  const calyx::Response live = yard.stream(watch(ids));
  REQUIRE(live.status == 200);
  CHECK(value_of(live, "Content-Type") == "text/event-stream");
  std::string text = drain(*live.stream).text;
  CHECK(events_of(frames_of(text)) == "submitted submitted submitted");
  for (int i = 0; i < 2; ++i) {
    yard.work();
    text += drain(*live.stream).text;
  }
  CHECK(live.stream->next(at_once).kind == BodyPiece::Kind::nothing_yet);  // one is still to come
  yard.work();
  const Drained last = drain(*live.stream);
  text += last.text;
  CHECK(last.ended);

  const std::vector<Frame> all = frames_of(text);
  CHECK(all.size() == 3 * 4);
  for (std::size_t i = 0; i < all.size(); ++i) {
    CAPTURE(i);
    const calyx::Response response = yard.stream(watch(ids), {{"Last-Event-ID", all[i].id}});
    // Each job's events are in their order, and none is told twice; how jobs mix is open.
    std::vector<std::string> rest, wanted;
    for (std::size_t j = i + 1; j < all.size(); ++j) wanted.push_back(all[j].data);
    if (wanted.empty()) {
      CHECK(response.status == 204);
      continue;
    }
    REQUIRE(response.status == 200);
    const Drained drained = drain(*response.stream);
    CHECK(drained.ended);
    for (const Frame& frame : frames_of(drained.text)) rest.push_back(frame.data);
    const auto of_job = [](const std::vector<std::string>& data, const std::string& id) {
      std::vector<std::string> out;
      for (const std::string& one : data)
        if (one.find(id) == std::string("{\"job_id\":\"").size()) out.push_back(one);
      return out;
    };
    CHECK(rest.size() == wanted.size());
    for (const std::string& id : ids) CHECK(of_job(rest, id) == of_job(wanted, id));
    CHECK(frames_of(drained.text).back().id == all.back().id);
  }
  CHECK(yard.stream(watch(ids, all.back().id)).status == 204);
}

TEST_CASE("CP-58: at most 100 jobs, each once, each the caller's") {
  Yard yard;
  std::vector<std::string> ids;
  for (int i = 0; i < 101; ++i) ids.push_back(yard.submitted());
  const Answer many = yard.refused(watch(ids));
  CHECK(many.status == 422);
  CHECK(many.code() == "too_many_operations");
  CHECK(many.at("error.message") == "101 jobs, takes 100");
  CHECK(many.at("error.details") == R"({"field":"ids","jobs":101,"limit":100})");
  ids.pop_back();
  const calyx::Response most = yard.stream(watch(ids));
  CHECK(most.status == 200);
  CHECK(frames_of(drain(*most.stream).text).size() == 100);

  const std::string &one = ids[0], &two = ids[1];
  CHECK(yard.refused(watch({one, one})).code() == "field_value");
  CHECK(yard.refused(watch({one, one})).field() == "ids");
  CHECK(yard.refused("/api/v1/jobs/watch").code() == "field_missing");
  CHECK(yard.refused("/api/v1/jobs/watch?ids=").field() == "ids");
  for (const std::string& unknown : {std::string("job_x"), "job_" + std::string(26, '0'), std::string()}) {
    CHECK(yard.refused(watch({one, unknown})).status == 404);
    CHECK(yard.refused(watch({one, unknown})).code() == "job_unknown");
  }
  const Owner bob = yard.market.human("bob");
  const Answer his = yard.market.post("/api/v1/jobs", bob.key, Yard::job(1));
  CHECK(yard.refused(watch({one, his.at("job_id")})).code() == "job_unknown");

  // A place is one in this very list.
  const std::string place = frames_of(drain(*yard.stream(watch({one, two})).stream).text).back().id;
  CHECK(yard.stream(watch({one, two}, place)).status == 200);
  for (const std::string& target :
       {watch({two, one}, place), watch({one}, place), watch({one, two}, "1.1"),
        watch({one, two}, place + ".1"), watch({one, two}, place + "9"),
        watch({one, two}, place.substr(0, place.size() - 1)), watch({one, two}, place + "x")}) {
    const Answer wrong = yard.refused(target);
    CHECK(wrong.status == 422);
    CHECK(wrong.field() == "last_event_id");
  }
}

TEST_CASE("CP-58: a job with much to tell keeps none of the others quiet") {
  Yard yard;
  const std::string loud = yard.submitted();
  const calyx::Lease lease = yard.lease();
  const std::string quiet = yard.submitted();
  for (int i = 0; i < 500; ++i) yard.progress(lease, i);
  const calyx::Response response = yard.stream(watch({loud, quiet}));
  response.stream->next(at_once);
  std::string text;
  for (int i = 0; i < 2; ++i) text += response.stream->next(at_once).bytes;
  CHECK(frames_of(text).size() == 2 * calyx::news_max);
  CHECK(text.find("\"" + quiet + "\"") != std::string::npos);
  text += drain(*response.stream).text;
  CHECK(frames_of(text).size() == 503);
}

TEST_CASE("a stream that waits is woken by what happens") {
  Yard yard;
  const std::string id = yard.submitted();
  const calyx::Response response = yard.of(id, "1");
  response.stream->next(at_once);
  BodyPiece piece;
  calyx::testing::Waiting waiting([&] { piece = response.stream->next(long_enough); });
  waiting.until_it_waits();
  yard.lease();
  waiting.join();
  CHECK(events_of(frames_of(piece.bytes)) == "started");
}

TEST_CASE("a stream ends when its engine is closed, also while it waits") {
  for (const bool by_word : {false, true}) {
    CAPTURE(by_word);
    auto yard = std::make_unique<Yard>();
    const std::string id = yard->submitted();
    const calyx::Response response = yard->of(id, "1"), also = yard->of(id);
    response.stream->next(at_once);
    BodyPiece piece{.kind = BodyPiece::Kind::nothing_yet};
    calyx::testing::Waiting waiting([&] { piece = response.stream->next(long_enough); });
    waiting.until_it_waits();
    if (by_word) {
      yard->market.engine().end_streams();
    } else {
      yard.reset();
    }
    waiting.join();
    CHECK(piece.kind == BodyPiece::Kind::end);
    CHECK(response.stream->next(long_enough).kind == BodyPiece::Kind::end);
    CHECK(also.stream->next(at_once).kind == BodyPiece::Kind::bytes);  // how it begins needs no engine
    CHECK(also.stream->next(long_enough).kind == BodyPiece::Kind::end);
    if (!by_word) continue;
    const Answer refused = yard->refused("/api/v1/jobs/" + id + "/stream");
    CHECK(refused.status == 503);
    CHECK(refused.code() == "closed");
    CHECK(yard->refused("/api/v1/jobs/" + id).status == 200);
  }
}

TEST_CASE("an engine goes while many streams look, and each of them ends") {
  for (int round = 0; round < 10; ++round) {
    auto yard = std::make_unique<Yard>();
    const std::string id = yard->submitted();
    std::vector<std::shared_ptr<BodyStream>> streams;
    for (int i = 0; i < 8; ++i) streams.push_back(yard->of(id).stream);
    std::vector<std::thread> threads;
    threads.reserve(streams.size());
    for (const auto& stream : streams)
      threads.emplace_back([stream, wait = milliseconds(threads.size() % 2 == 0 ? 0 : 20'000)] {
        while (stream->next(wait).kind != BodyPiece::Kind::end) {
        }
      });
    yard->lease();
    yard.reset();
    for (std::thread& thread : threads) thread.join();
  }
}

TEST_CASE("in a forked child a stream of its parent's ends") {
  Yard yard;
  const calyx::JobId id = *calyx::JobId::read(yard.submitted());
  calyx::JobStream stream = yard.market.engine().as_operator().stream_job(id).value();
  CHECK(calyx::store::in_child([&] {
          return stream.next(long_enough).reason() == calyx::Reason::forked && stream.ended() ? 0 : 1;
        }) == 0);
  CHECK(stream.next(at_once).value().size() == 1);
}

TEST_CASE("a key that is revoked has no stream any more") {
  Yard yard;
  const std::string id = yard.submitted();
  const Answer key = yard.market.post(yard.alice.path("/keys"), yard.alice.key, R"({"label":"second"})");
  REQUIRE(key.status == 201);
  const calyx::Response response =
      ask(yard.market.engine(), "/api/v1/jobs/" + id + "/stream", key.at("api_key"));
  REQUIRE(response.status == 200);
  CHECK(events_of(frames_of(drain(*response.stream).text)) == "submitted");
  REQUIRE(yard.market.send("DELETE", "/v1/keys/" + key.at("id"), yard.alice.key).status == 200);
  yard.lease();
  const BodyPiece piece = response.stream->next(long_enough);
  CHECK(piece.kind == BodyPiece::Kind::end);
  CHECK(ask(yard.market.engine(), "/api/v1/jobs/" + id + "/stream", key.at("api_key")).status == 401);
}

TEST_CASE("a comment shows that the line stands while nothing happens") {
  CHECK(wire::comment_every <= milliseconds(15'000));
  Yard yard;
  const calyx::JobId id = *calyx::JobId::read(yard.submitted());
  const auto stream = wire::job_body(yard.market.engine().as_operator().stream_job(id, 1).value(),
                                     wire::JobIds::number, {{.job = id, .after = 1}}, milliseconds(30));
  CHECK(stream->next(at_once).bytes == "retry: 2000\n\n");
  CHECK(stream->next(at_once).kind == BodyPiece::Kind::nothing_yet);
  CHECK(stream->next(long_enough).bytes == ":\n\n");
  CHECK(stream->next(long_enough).bytes == ":\n\n");
  yard.lease();
  CHECK(events_of(frames_of(stream->next(long_enough).bytes)) == "started");
  CHECK(stream->next(long_enough).bytes == ":\n\n");
}

TEST_CASE("what another engine writes to the same file is told too") {
  const calyx::store::Scratch scratch;
  calyx::Options options;
  options.path = scratch / "m.db";
  calyx::Engine here = calyx::Engine::open(options).value();
  calyx::Engine there = calyx::Engine::open(options).value();
  calyx::Session all = there.as_operator();
  json::Object job;
  job.set("task", "work");
  const calyx::JobId id = all.submit_job({.job = job}).value().id;
  calyx::JobStream stream = here.as_operator().stream_job(id, 1).value();
  CHECK(stream.next(at_once).value().empty());
  std::thread other([&] { all.cancel_job(id).value(); });
  const std::vector<calyx::JobNews> news = stream.next(long_enough).value();
  other.join();
  REQUIRE(!news.empty());
  CHECK(news[0].kind == calyx::NewsKind::event);
  CHECK(news[0].number == 2);
  CHECK(news.back().kind == calyx::NewsKind::end);
  CHECK(news.back().state->status == calyx::JobStatus::cancelled);
  CHECK(stream.ended());
  CHECK(stream.next(long_enough).value().empty());
}

TEST_CASE("the typed streams refuse as the wire does") {
  Yard yard;
  const calyx::JobId id = *calyx::JobId::read(yard.submitted());
  calyx::Session all = yard.market.engine().as_operator();
  CHECK(all.stream_job(id, -1).reason() == calyx::Reason::field_value);
  CHECK(all.stream_job(id, 2).reason() == calyx::Reason::field_value);
  CHECK(all.watch_jobs({}).reason() == calyx::Reason::field_value);
  CHECK(all.watch_jobs(std::vector<calyx::JobCursor>(101, {.job = id})).reason() ==
        calyx::Reason::too_many_operations);
  CHECK(all.watch_jobs(std::vector<calyx::JobCursor>(2, {.job = id})).reason() == calyx::Reason::field_value);
  CHECK(all.stream_job(calyx::JobId{}).reason() == calyx::Reason::job_unknown);
  calyx::JobStream stream = all.stream_job(id).value();
  yard.market.engine().end_streams();
  CHECK(stream.next(long_enough).reason() == calyx::Reason::closed);
  CHECK(stream.ended());
  CHECK(all.stream_job(id).reason() == calyx::Reason::closed);
}

TEST_CASE("CP-43: a project's stream says how it stands, what it becomes, and that it is gone") {
  if (!calyx::archive::built()) {
    CHECK(calyx::testing::may_lack("wire.streams.projects", "libarchive-dev"));
    return;
  }
  const calyx::store::Scratch scratch;
  calyx::Options options;
  options.path = scratch / "m.db";
  calyx::Engine engine = calyx::Engine::open(options).value();
  calyx::Session all = engine.as_operator();
  const std::string key = engine.issue_operator_key("tests").value().api_key;
  REQUIRE(all.create_project({.name = "code"}).ok());
  const std::string path = "/api/v1/projects/code/stream";
  const calyx::Response live = ask(engine, path, key);
  REQUIRE(live.status == 200);
  CHECK(value_of(live, "Content-Type") == "text/event-stream");
  CHECK(drain(*live.stream).text ==
        "retry: 2000\n\nid: 0.0.0\nevent: snapshot\n"
        R"(data: {"project":"code","can_accept_new_jobs":false,"ready_for_jobs":false,)"
        R"("active_revision":null,"revision_state":"none"})"
        "\n\n");

  const std::string tarball = calyx::testing::gzip(calyx::testing::tar({{"script.py", "pass", 0755}}));
  REQUIRE(all.push_project({.name = "code"}, tarball).ok());
  std::vector<Frame> frames = frames_of(drain(*live.stream).text);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].id == "1.0.0");
  CHECK(frames[0].event == "status");
  CHECK(frames[0].data == R"({"project":"code","can_accept_new_jobs":true,"ready_for_jobs":false,)"
                          R"("active_revision":1,"revision_state":"published"})");
  REQUIRE(all.init_project({.name = "code"}).ok());
  frames = frames_of(drain(*live.stream).text);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].id == "1.1.0");
  CHECK(frames[0].data.find("warm") != std::string::npos);

  // Who knows that already hears nothing until it changes; who knows something older hears how it stands.
  const calyx::Response up_to_date = ask(engine, path, key, {{"Last-Event-ID", "1.1.0"}});
  CHECK(drain(*up_to_date.stream).text == "retry: 2000\n\n");
  CHECK(events_of(frames_of(drain(*ask(engine, path + "?last_event_id=1.0.0", key).stream).text)) ==
        "snapshot");
  REQUIRE(all.invalidate_project({.name = "code"}).ok());
  CHECK(drain(*up_to_date.stream).text.find("invalidated") != std::string::npos);
  CHECK(events_of(frames_of(drain(*live.stream).text)) == "status");

  BodyPiece piece;
  calyx::testing::Waiting waiting([&] { piece = live.stream->next(long_enough); });
  waiting.until_it_waits();
  REQUIRE(all.delete_project({.name = "code"}).ok());
  waiting.join();
  CHECK(events_of(frames_of(piece.bytes)) == "end");
  CHECK(live.stream->next(long_enough).kind == BodyPiece::Kind::end);
  CHECK(ask(engine, path, key).status == 404);
}

TEST_CASE("CP-43: a place in a project's stream has a shape") {
  Market market;
  const Owner alice = market.human("alice");
  REQUIRE(market.post("/api/v1/projects", alice.key, R"({"name":"code"})").status == 201);
  for (const char* wrong : {"x", "1", "1.2", "1.2.3.4", "1.2.", ".1.2", "-1.0.0", "1.2.3x"}) {
    CAPTURE(wrong);
    const Answer answer =
        market.get(std::string("/api/v1/projects/code/stream?last_event_id=") + wrong, alice.key);
    CHECK(answer.status == 422);
    CHECK(answer.field() == "last_event_id");
  }
  CHECK(market.get("/api/v1/projects/code/stream", alice.key).status == 200);
  CHECK(market.get("/api/v1/projects/code/stream?x=1", alice.key).code() == "field_unknown");
  CHECK(market.get("/api/v1/projects/none/stream", alice.key).code() == "project_unknown");
}
