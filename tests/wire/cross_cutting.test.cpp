// What holds across all systems, in so far as this one has it; and that no row of the list is without a test.
#include <calyx.h>
#include <dirent.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

#include "testing.hpp"
#include "wire/client.hpp"

using namespace wire_test;

namespace {

// Open sockets and threads of this process, as the system counts them.
struct Footprint {
  int sockets = 0;
  int threads = 0;
  bool operator==(const Footprint&) const = default;
};

Footprint footprint() {
  const auto each = [](const char* folder, const auto& look) {
    DIR* const opened = ::opendir(folder);
    REQUIRE(opened != nullptr);
    while (const dirent* entry = ::readdir(opened))
      if (entry->d_name[0] != '.') look(std::string(folder) + "/" + entry->d_name);
    ::closedir(opened);
  };
  Footprint out;
  each("/proc/self/fd", [&](const std::string& path) {
    char target[256] = {};
    if (::readlink(path.c_str(), target, sizeof target - 1) > 0 && std::strncmp(target, "socket:", 7) == 0)
      ++out.sockets;
  });
  each("/proc/self/task", [&](const std::string&) { ++out.threads; });
  return out;
}

std::string text_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("X-01: one dispatcher answers every route, with a query and raw bytes, and opens no socket") {
  const Footprint before = footprint();
  Market market;
  const Owner alice = market.human("alice");
  const std::string id = alice.id;
  struct Route {
    const char* method;
    std::string target;
  };
  const Route routes[] = {
      {"POST", "/v1/wallets"},
      {"GET", "/v1/wallets?limit=2"},
      {"GET", "/v1/wallets/" + id},
      {"PATCH", "/v1/wallets/" + id},
      {"POST", "/v1/wallets/" + id + "/spend"},
      {"POST", "/v1/wallets/" + id + "/earn"},
      {"POST", "/v1/wallets/" + id + "/release"},
      {"POST", "/v1/wallets/" + id + "/transfer"},
      {"POST", "/v1/wallets/" + id + "/topup"},
      {"POST", "/v1/wallets/" + id + "/payouts"},
      {"GET", "/v1/wallets/" + id + "/entries?limit=2"},
      {"GET", "/v1/wallets/" + id + "/escrows"},
      {"GET", "/v1/wallets/" + id + "/approvals"},
      {"GET", "/v1/wallets/" + id + "/keys"},
      {"POST", "/v1/wallets/" + id + "/keys"},
      {"GET", "/v1/wallets/" + id + "/receipts"},
      {"DELETE", "/v1/keys/key_00000000000000000000000000"},
      {"POST", "/v1/keys/key_00000000000000000000000000/rotate"},
      {"POST", "/v1/approvals/apr_00000000000000000000000000/approve"},
      {"POST", "/v1/approvals/apr_00000000000000000000000000/deny"},
      {"POST", "/v1/payouts/pay_00000000000000000000000000/confirm"},
      {"POST", "/v1/payouts/pay_00000000000000000000000000/fail"},
      {"POST", "/v1/waitlist"},
      {"POST", "/v1/waitlist/wtl_00000000000000000000000000/approve"},
      {"POST", "/v1/grants"},
      {"POST", "/v1/bulk"},
      {"GET", "/v1/receipts/keys"},
      {"POST", "/v1/receipts/verify"},
      {"GET", "/v1/receipts/checkpoint"},
      {"GET", "/v1/receipts/consistency?old=0&new=0"},
      {"GET", "/v1/receipts/rcpt_00000000000000000000000000"},
      {"GET", "/v1/receipts/rcpt_00000000000000000000000000/proof"},
      {"GET", "/v1/audit"},
      {"POST", "/v1/audit"},
      {"GET", "/v1/export?format=csv"},
  };
  for (const Route& route : routes) {
    CAPTURE(route.method);
    CAPTURE(route.target);
    // Bytes that are no text at all are the body of each: they reach the route, and none breaks on them.
    const Answer answer = market.send(route.method, route.target, market.op, std::string("\xFF\x00{", 3));
    CHECK(answer.status >= 200);
    CHECK(answer.status < 500);
    CHECK(answer.status != 405);
    CHECK(answer.code() != "route_unknown");
    // The path alone decides: what is not the method's is told so.
    CHECK(market.send("OPTIONS", route.target, market.op).status == 405);
  }
  CHECK(footprint() == before);
}

TEST_CASE("X-04: a long answer is pulled piece by piece, to the same bytes, and says when it ends") {
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(nullptr, &engine) == CALYX_OK);
  calyx_text key{};
  REQUIRE(calyx_issue_operator_key(engine, "tests", &key) == CALYX_OK);
  const std::string headers = R"({"X-API-Key":")" + std::string(key.data, key.size) + "\"}";
  const auto ask = [&](const char* method, const char* target, const std::string& body) {
    calyx_response* response = nullptr;
    REQUIRE(calyx_request(engine, method, target, headers.c_str(), body.data(), body.size(), &response) ==
            CALYX_OK);
    return response;
  };
  for (int i = 0; i < 200; ++i)
    calyx_response_free(ask("POST", "/v1/wallets",
                            R"({"owner_type":"human","owner_id":"owner-)" + std::to_string(i) + "\"}"));
  calyx_response* const whole = ask("GET", "/v1/export?format=jsonl", {});
  calyx_response* const pulled = ask("GET", "/v1/export?format=jsonl", {});
  std::size_t size = 0;
  const auto* bytes = static_cast<const char*>(calyx_response_body(whole, &size));
  REQUIRE(bytes != nullptr);
  const std::string expected(bytes, size);
  REQUIRE(expected.size() > 20'000);
  std::string got;
  for (int pieces = 0; pieces < 100'000; ++pieces) {
    const void* piece = nullptr;
    const calyx_status status = calyx_response_next(pulled, 1'000, &piece, &size);
    if (status == CALYX_UNAVAILABLE) continue;
    REQUIRE(status == CALYX_OK);
    if (size == 0) break;
    got.append(static_cast<const char*>(piece), size);
  }
  CHECK(got == expected);
  const void* piece = nullptr;
  CHECK(calyx_response_next(pulled, 0, &piece, &size) == CALYX_OK);  // the end stays the end
  CHECK(size == 0);
  calyx_response_free(whole);
  calyx_response_free(pulled);
  calyx_text_free(&key);
  calyx_close(engine);
}

TEST_CASE("X-11: what was refused for want of money passes unchanged once there is some") {
  Market market;
  const Owner alice = market.human("alice");
  const Owner bob = market.human("bob");
  struct Row {
    const char* says;
    std::string target, body;
    int passes;
  };
  const Row rows[] = {
      {"a spend", alice.path("/spend"), R"({"job_id":"job-1","amount":5})", 200},
      {"a transfer", alice.path("/transfer"), R"({"to_wallet_id":")" + bob.id + R"(","amount":5})", 200},
      {"a payout", alice.path("/payouts"), R"({"amount":5,"destination":"bank"})", 202},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const std::string once = "once-" + std::to_string(&row - rows);
    const std::string before = market.head();
    for (int i = 0; i < 2; ++i) {
      const Answer refused = market.post(row.target, alice.key, row.body, once);
      CHECK(refused.status == 402);
      CHECK(refused.code() == "insufficient_balance");
      CHECK_FALSE(refused.replayed());
    }
    CHECK(market.head() == before);  // nothing was written, and no key was used up
    market.fund(alice, "5");
    const Answer passed = market.post(row.target, alice.key, row.body, once);
    CHECK(passed.status == row.passes);
    CHECK_FALSE(passed.replayed());
    CHECK(market.balance(alice) == "0.0");
    CHECK(market.post(row.target, alice.key, row.body, once).replayed());
  }
}

TEST_CASE("X-12: what is outside comes in by an interface, and without one nothing outside is asked") {
  const Footprint before = footprint();
  std::vector<calyx::Payout> handed;
  std::int64_t now_us = 1'775'077'200'000'000;
  std::size_t drawn = 0;
  calyx::Options options;
  options.now_us = [&] { return now_us; };
  options.random = [&](void* out, std::size_t size) {
    std::memset(out, static_cast<int>(++drawn), size);
    return true;
  };
  options.pay_out = [&](const calyx::Payout& payout) {
    handed.push_back(payout);
    return calyx::PayoutOutcome::confirmed;
  };
  for (const bool with_interface : {true, false}) {
    CAPTURE(with_interface);
    calyx::Engine engine =
        calyx::Engine::open(with_interface ? std::move(options) : calyx::Options{}).value();
    calyx::Session all = engine.as_operator();
    const calyx::WalletCreated created =
        all.create_wallet({.owner_type = calyx::OwnerType::human, .owner_id = "alice"}).value();
    CHECK((created.wallet.created_at.us == now_us) == with_interface);
    all.topup({.wallet = created.wallet.id, .amount = calyx::Money{9'000'000}}).value();
    const calyx::Payout payout =
        all.request_payout(
               {.wallet = created.wallet.id, .amount = calyx::Money{4'000'000}, .destination = "bank"})
            .value();
    CHECK(all.wallet(created.wallet.id).value().balance == calyx::Money{5'000'000});
    if (with_interface) {
      REQUIRE(handed.size() == 1);
      CHECK(handed.front().id == payout.id);
      CHECK(handed.front().destination == "bank");
      CHECK(drawn > 0);
    } else {
      CHECK(payout.status == calyx::PayoutStatus::pending);
      CHECK(all.confirm_payout(payout.id).value().status == calyx::PayoutStatus::confirmed);
    }
    CHECK(footprint() == before);  // no socket, and no thread that nobody asked for
  }
}

TEST_CASE("every row of the list has a test that bears its number") {
  std::set<std::string> rows;
  const auto number = [](int n) { return (n < 10 ? "0" : "") + std::to_string(n); };
  for (int i = 1; i <= 13; ++i) rows.insert("X-" + number(i));
  for (int i = 1; i <= 52; ++i) rows.insert("CX-" + number(i));
  std::set<std::string> tested;
  for (const char* file : {"capabilities", "cross_cutting"}) {
    const std::string text = text_of_file(calyx::testing::vectors + "/../wire/" + file + ".test.cpp");
    for (std::size_t at = 0; (at = text.find("TEST_CASE(", at)) != std::string::npos;) {
      const std::size_t open = text.find('"', at);
      std::string name = text.substr(open + 1, text.find('"', open + 1) - open - 1);
      name = name.substr(0, std::min(name.find(':'), name.size()));
      for (std::size_t begin = 0; begin < name.size();) {
        const std::size_t end = std::min(name.find(", ", begin), name.size());
        tested.insert(name.substr(begin, end - begin));
        begin = end + 2;
      }
      at = open;
    }
  }
  // What Python alone has stands in the first words of a test there.
  const std::string python = text_of_file(calyx::testing::vectors + "/../python/test_jobs.py");
  constexpr std::string_view told = ") -> None:\n    \"\"\"CX-";
  for (std::size_t at = 0; (at = python.find(told, at)) != std::string::npos; ++at)
    tested.insert(python.substr(at + told.size() - 3, 5));
  for (const std::string& row : rows) CHECK_MESSAGE(tested.contains(row), row);
}
