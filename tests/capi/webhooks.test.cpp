// A function of the host that sends webhooks: who may be called back, what it is asked, and what its answers
// make of a message.
#include <functional>
#include <string>
#include <vector>

#include "market.hpp"

using namespace calyx_tests;

namespace {

/// The host's function, what it was asked, and how often it was dropped.
struct Sender {
  std::function<int(calyx_call*, const std::string& asked)> answer;
  std::vector<std::string> asked;
  int dropped = 0;
};

int send(void* ctx, calyx_call* call, const calyx_input* input) {
  Sender& sender = *static_cast<Sender*>(ctx);
  const std::string payload(input->payload, input->payload_size);
  sender.asked.push_back(payload);
  if (input->struct_size != sizeof(calyx_input) || input->payload[input->payload_size] != '\0' ||
      *input->job_id != '\0' || input->index != 0 || input->attempt != 0)
    return 7;
  return sender.answer(call, payload);
}
void drop(void* ctx) { ++static_cast<Sender*>(ctx)->dropped; }

int say(calyx_call* call, const std::string& text) {
  return static_cast<int>(calyx_call_reply(call, text.data(), text.size()));
}

/// Resolves every name to a public address, and answers what is sent with `reply`.
std::function<int(calyx_call*, const std::string&)> answers(
    const std::string& reply, const std::string& addresses = R"({"addresses":["93.184.216.34"]})") {
  return [=](calyx_call* call, const std::string& asked) {
    return say(call, member(asked, "call") == "resolve" ? addresses : reply);
  };
}

/// A market, and a wallet with a webhook secret.
class Post {
 public:
  Post() {
    REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
    op = operator_key(engine);
    const Said made = ask(engine, "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"a"})");
    REQUIRE_MESSAGE(made.http == 201, made.body);
    key = member(made.body, "api_key");
    const Said secret =
        ask(engine, "POST", "/v1/wallets/" + member(made.body, "id") + "/webhook-secret", key);
    REQUIRE_MESSAGE(secret.http == 201, secret.body);
  }
  ~Post() { calyx_close(engine); }
  Post(const Post&) = delete;
  Post& operator=(const Post&) = delete;

  calyx_status sends(Sender& sender, const char* options = "{}") const {
    return calyx_register(engine, CALYX_KIND_TRANSPORT, options, send, &sender, drop);
  }
  /// A job that has ended, and has somebody to tell.
  std::string ended(const std::string& url = "https://hooks.example.org/x?y=1") const {
    const Said said =
        ask(engine, "POST", "/api/v1/jobs", key, R"({"task":"t","callback_url":")" + url + "\"}");
    REQUIRE_MESSAGE(said.http == 201, said.body);
    const std::string job = "/api/v1/jobs/" + member(said.body, "job_id");
    REQUIRE(ask(engine, "PUT", job + "/cancel", key).http == 200);
    return job;
  }
  Said deliver(const std::string& query = "") const {
    return ask(engine, "POST", "/v1/webhooks/deliver" + query, op);
  }
  std::string webhook(const std::string& job) const {
    return ask(engine, "GET", job + "/webhooks", key).body;
  }

  calyx_engine* engine = nullptr;
  std::string op, key;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("CP-81: a C function sends a job's end, to the address that was judged") {
  Sender sender, before;
  {
    const Post post;
    // Before it is there nobody is called back.
    CHECK(ask(post.engine, "POST", "/api/v1/jobs", post.key,
              R"({"task":"t","callback_url":"https://hooks.example.org/x"})")
              .http == 501);
    CHECK(post.deliver().http == 501);
    REQUIRE(post.sends(before) == CALYX_OK);
    sender.answer = answers(R"({"status":204})");
    REQUIRE(post.sends(sender) == CALYX_OK);
    CHECK(before.dropped == 1);

    const std::string job = post.ended();
    const Said round = post.deliver();
    CHECK_MESSAGE(round.http == 200, round.body);
    CHECK(member(round.body, "delivered") == "1");
    CHECK(member(round.body, "failed") == "0");
    CHECK(member(round.body, "dead") == "0");
    CHECK(member(round.body, "next_at") == "null");
    CHECK(has(post.webhook(job), R"("status":"delivered")"));
    REQUIRE(sender.asked.size() == 2);
    CHECK(sender.asked[0] == R"({"call":"resolve","host":"hooks.example.org"})");
    const std::string& sent = sender.asked[1];
    CAPTURE(sent);
    CHECK(member(sent, "call") == "send");
    CHECK(member(sent, "url") == "https://hooks.example.org/x?y=1");
    CHECK(member(sent, "address") == "93.184.216.34");
    CHECK(member(sent, "host") == "hooks.example.org");
    CHECK(member(sent, "port") == "443");
    CHECK(member(sent, "https") == "true");
    CHECK(member(sent, "target") == "/x?y=1");
    CHECK(member(sent, "webhook-id") == job.substr(job.rfind('/') + 1));
    CHECK(has(member(sent, "webhook-signature"), "v1,"));
    CHECK(has(sent, R"(\"type\":\"job.cancelled\"})"));
    CHECK(member(sent, "timeout_s") == "20");

    CHECK(post.deliver("?limit=0").http == 422);
    CHECK(post.deliver("?after=1").http == 422);
    CHECK(ask(post.engine, "POST", "/v1/webhooks/deliver", post.key).http == 403);
  }
  CHECK(sender.dropped == 1);
}

TEST_CASE("CP-81: what a C function says of a message decides when it is sent again") {
  struct Row {
    const char* says;
    std::function<int(calyx_call*, const std::string&)> answer;
    const char* webhook;
    std::size_t asked;
  };
  const auto fails = [](calyx_call* call, const std::string&) { return say(call, R"({"status":204})") + 1; };
  const Row rows[] = {
      {"an error of the receiver", answers(R"({"status":500,"retry_after_s":60})"), R"("answered":500)", 2},
      {"gone for good", answers(R"({"status":410})"), R"("status":"dead")", 2},
      {"a failure", fails, R"("error":"unresolved")", 1},
      {"no word", [](calyx_call*, const std::string&) { return 0; }, R"("error":"unresolved")", 1},
      {"no address", answers("", R"({"addresses":[]})"), R"("error":"unresolved")", 1},
      {"an address of this machine", answers("", R"({"addresses":["127.0.0.1"]})"), R"("error":"loopback")",
       1},
      {"no answer to what was sent",
       [](calyx_call* call, const std::string& asked) {
         return member(asked, "call") == "resolve" ? say(call, R"({"addresses":["93.184.216.34"]})") : 0;
       },
       R"("error":"no_answer")", 2},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Sender sender;
    const Post post;
    REQUIRE(post.sends(sender) == CALYX_OK);
    sender.answer = row.answer;
    const std::string job = post.ended();
    const Said round = post.deliver("?limit=1");
    CHECK(round.http == 200);
    CHECK(member(round.body, "delivered") == "0");
    CHECK_MESSAGE(has(post.webhook(job), row.webhook), post.webhook(job));
    CHECK(sender.asked.size() == row.asked);
  }

  struct Wrong {
    const char* to;
    const char* reply;
    const char* error;  // how it begins
  };
  const Wrong wrong[] = {
      {"resolve", "", "not_json: "},
      {"resolve", R"({"status":200})", "field_"},
      {"resolve", R"({"addresses":"1.2.3.4"})", "field_type: reply/addresses "},
      {"send", R"({"status":"200"})", "field_type: reply/status "},
      {"send", R"({"status":99})", "field_value: reply/status "},
      {"send", R"({"status":200,"body":""})", "field_unknown: reply/body "},
  };
  std::string errors;
  Sender sender;
  sender.answer = [&](calyx_call* call, const std::string& asked) {
    const std::string to = member(asked, "call");
    if (calyx_call_cancelled(call) != CALYX_UNSUPPORTED) errors += "it can be asked whether to stop\n";
    for (const Wrong& row : wrong) {
      if (row.to != to) continue;
      const bool refused = calyx_call_reply(call, row.reply, std::strlen(row.reply)) == CALYX_INVALID;
      const std::string error = calyx_last_error();
      if (!refused || error.find(row.error) != 0) errors += error + "; not: " + row.error + '\n';
    }
    return say(call, to == "resolve" ? R"({"addresses":["93.184.216.34"]})" : R"({"status":200})");
  };
  const Post post;
  REQUIRE(post.sends(sender) == CALYX_OK);
  static_cast<void>(post.ended());
  CHECK(member(post.deliver().body, "delivered") == "1");
  CHECK(errors == "");
}

TEST_CASE("CP-81: the rules of a C function's transport are those that jobs are held to") {
  Sender sender;
  const Post post;
  sender.answer = answers(R"({"status":200})", R"({"addresses":["10.0.0.1"]})");
  const auto takes = [&](const char* url) {
    return ask(post.engine, "POST", "/api/v1/jobs", post.key,
               R"({"task":"t","callback_url":")" + std::string(url) + "\"}")
        .http;
  };
  REQUIRE(post.sends(sender) == CALYX_OK);
  CHECK(takes("http://hooks.example.org/") == 422);
  CHECK(takes("https://hooks.example.org:8443/") == 422);
  REQUIRE(post.sends(sender, R"({"allow_http":true,"allow_private":true,"ports":[80,8443]})") == CALYX_OK);
  CHECK(takes("https://hooks.example.org/") == 422);
  const std::string job = post.ended("http://hooks.example.org/");
  const std::string other = post.ended("https://hooks.example.org:8443/");
  CHECK(member(post.deliver().body, "delivered") == "2");
  CHECK(has(post.webhook(job), R"("status":"delivered")"));
  CHECK(has(post.webhook(other), R"("status":"delivered")"));
}
