/// \file
/// Calls that bring a payment in place of a key: made by many threads and processes at once, and by processes
/// that are killed between every two states. A payment is credited once and buys once, none that settled is
/// lost, a wallet is opened once, and what was answered stands.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/calyx.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

#include "faults/children.hpp"
#include "payments/payer_for_tests.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

#if CALYX_HAVE_SECP256K1
namespace calyx::faults {
namespace {

namespace paying = payments::for_tests;
using testing::by_scale;
using testing::Dice;

constexpr Money price{5'000'000};
constexpr std::uint64_t tokens_a_payment = 50'000;
/// Fewer than the runs of a soak, so that payers come back.
constexpr std::uint64_t payers = 200;
const TokenAccount ours{"eip155:8453", "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",
                        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"};

struct Payer {
  paying::EvmWallet wallet;
  explicit Payer(std::uint64_t run) : wallet(paying::octets_of(1 + run % payers)) {}
  std::string address() const { return core::lower_text(wallet.address()); }
  std::string owner_id() const { return "eip155:8453:" + address(); }
};

/// The payment of a run. Version 1 does not look at members that it does not know, so there are many words
/// for one payment: `spelling` is such a member.
std::string words_of(std::uint64_t run, std::uint64_t spelling = 0) {
  core::json::Value payload = paying::signed_payload(
      Payer(run).wallet,
      {.pay_to = ours.address, .value = tokens_a_payment, .valid_before = 1'900'000'000, .nonce = run + 1});
  if (spelling != 0) payload.object()->set("spelling", static_cast<std::int64_t>(spelling));
  return paying::v1_words(std::move(payload));
}
std::string nonce_of(std::uint64_t run) { return "0x" + core::hex(paying::octets_of(run + 1)); }
std::string job_of(std::uint64_t run) { return "call-" + std::to_string(run); }

/// Where a process dies. What is durable by then stands in the comment.
enum class Point : std::uint8_t {
  asked,         ///< Nothing; the backend is about to be asked whether it would settle.
  verified,      ///< Nothing; it has answered.
  settling,      ///< The wallet, the quote and the payment, as `settling`; nothing has moved.
  moved,         ///< The same; the tokens have moved, and nobody was told.
  status_asked,  ///< The same, in a process that goes on with it.
  status_told,   ///< The same, and the backend has said so.
  paid,          ///< `paid`; nothing was bought.
  bought,        ///< The call is done, and nobody was told.
  any,           ///< Whatever it was when the parent came.
};
constexpr std::size_t points = 9;

/// How the backend answers who settles.
enum class Mood : std::uint8_t { prompt, slow, pending, silent };
constexpr std::size_t moods = 4;

void die() { ::kill(::getpid(), SIGKILL); }

/// Tokens in a file, and a process that dies at its point.
struct Moody final : SettlementBackend {
  std::shared_ptr<SimulatedTokens> tokens;
  Point point;
  Mood mood;
  Moody(std::shared_ptr<SimulatedTokens> its, Point where, Mood how)
      : tokens(std::move(its)), point(where), mood(how) {}

  SettlementAnswer told(SettlementAnswer answer) const {
    if (mood == Mood::slow) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (mood == Mood::pending) return {.outcome = SettlementOutcome::pending};
    if (mood == Mood::silent) return {};
    return answer;
  }
  SettlementAnswer verify(const VerifiedPayment& payment) override {
    if (point == Point::asked) die();
    SettlementAnswer answer = tokens->verify(payment);
    if (point == Point::verified) die();
    return answer;
  }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override {
    if (point == Point::settling) die();
    SettlementAnswer answer = tokens->settle(key, payment);
    if (point == Point::moved) die();
    return told(std::move(answer));
  }
  SettlementAnswer status(std::string_view key) override {
    if (point == Point::status_asked) die();
    SettlementAnswer answer = tokens->status(key);
    if (point == Point::status_told) die();
    return told(std::move(answer));
  }
};

struct Opened {
  std::shared_ptr<SimulatedTokens> tokens;
  Engine engine;
};
Result<Opened> open(const store::Scratch& folder, Point point = Point::any, Mood mood = Mood::prompt) {
  CALYX_TRY(std::shared_ptr<SimulatedTokens> tokens, SimulatedTokens::open(folder / "tokens"));
  Options options;
  options.path = folder / "market.db";
  options.busy_timeout_ms = 30'000;
  options.settlement = std::make_shared<Moody>(tokens, point, mood);
  CALYX_TRY(Engine engine, Engine::open(std::move(options)));
  return Opened{std::move(tokens), std::move(engine)};
}

Result<Done> begin(const store::Scratch& folder) {
  CALYX_TRY(Opened opened, open(folder));
  for (std::uint64_t run = 0; run < payers; ++run)
    CALYX_CHECK(opened.tokens->mint({ours.network, ours.asset, Payer(run).address()}, "1000000000"));
  CALYX_CHECK(opened.engine.as_operator().change_settings(
      {.base_url = "https://calyx.example",
       .networks = std::vector<PaymentNetwork>{{.network = "base", .pay_to = ours.address}}}));
  return Done{};
}

std::string told_of(const Payment& payment) {
  return payment.id.text() + " " + std::string(word(payment.status)) + " " + payment.transaction + " " +
         (payment.txn ? payment.txn->text() : "-");
}

/// The call of a run, and what it buys: an escrow of its price.
std::string call(Opened& opened, const std::string& words, const std::string& job, Point point = Point::any) {
  Result<PaidCall> paid = opened.engine.pay_for_call(price, {PaymentHeader::x_payment, words});
  if (!paid.ok()) return std::string(word(paid.reason()));
  const Payment& payment = paid->answer.payment;
  if (point == Point::paid) die();
  if (!paid->session) return told_of(payment) + " -";
  const Result<Spent> spent =
      paid->session->spend({.wallet = payment.wallet, .job_id = job, .amount = price});
  if (point == Point::bought) die();
  return told_of(payment) + " " + std::string(word(spent.reason()));
}

int make(const store::Scratch& folder, std::uint64_t run, Point point, Mood mood, int pipe) {
  Result<Opened> opened = open(folder, point, mood);
  if (!opened.ok()) {
    tell(pipe, "no market: " + opened.error().message);
    return 1;
  }
  tell(pipe, call(*opened, words_of(run), job_of(run), point));
  return 0;
}

int reconcile(const store::Scratch& folder, Point point, Mood mood, int pipe) {
  Result<Opened> opened = open(folder, point, mood);
  if (!opened.ok()) {
    tell(pipe, "no market: " + opened.error().message);
    return 1;
  }
  const Result<PaymentRound> round = opened->engine.as_operator().settle_payments();
  if (!round.ok()) tell(pipe, "no round: " + round.error().message);
  return round.ok() ? 0 : 1;
}

/// How the payment of a run stands: `open` where there is none.
struct Standing {
  std::string status = "open";
  std::size_t wallets = 0, payments = 0;
  std::uint64_t paid = 0;  ///< Of the payer, this one included.
  Money balance{}, held{};
};
Result<Standing> standing_of(Session& all, std::uint64_t run) {
  Standing out;
  const std::string owner = Payer(run).owner_id(), nonce = nonce_of(run);
  CALYX_TRY(const Listed<Wallet> wallets, all.wallets({.limit = 1000}));
  for (const Wallet& wallet : wallets.items) {
    if (wallet.owner_id != owner) continue;
    ++out.wallets;
    out.balance = wallet.balance;
    out.held = wallet.held;
    CALYX_TRY(const Listed<Quote> quotes, all.quotes(wallet.id, {.limit = 1000}));
    for (const Quote& quote : quotes.items) {
      for (const Payment& payment : quote.payments) {
        if (payment.status == PaymentStatus::paid) ++out.paid;
        if (payment.facts.nonce != nonce) continue;
        ++out.payments;
        out.status = word(payment.status);
      }
    }
  }
  return out;
}

/// After a kill: whether the tokens and the credits agree, as far as they may by then. The runs before it
/// have settled.
std::string judge(Opened& opened, std::uint64_t run, const Standing& now) {
  if (now.wallets > 1) return "the payer has " + std::to_string(now.wallets) + " wallets";
  if (now.payments > 1) return "there are " + std::to_string(now.payments) + " payments";
  const bool paid = now.status == word(PaymentStatus::paid);
  if (now.wallets == 0 && now.status != "open") return "a payment has no wallet";
  const std::int64_t credited = now.balance.micro + now.held.micro;
  if (credited != price.micro * static_cast<std::int64_t>(now.paid))
    return "the wallet has " + std::to_string(credited) + " of " + std::to_string(now.paid) + " payments";
  const std::uint64_t moved = std::strtoull(opened.tokens->balance(ours).value().c_str(), nullptr, 10);
  const bool may_have_moved = paid || now.status == word(PaymentStatus::settling);
  if (moved != run * tokens_a_payment && !(moved == (run + 1) * tokens_a_payment && may_have_moved))
    return "tokens have moved, " + std::to_string(moved) + ", where the payment is " + now.status;
  if (paid && moved != (run + 1) * tokens_a_payment)
    return "credits were given for tokens that have not moved";
  return {};
}

/// Whether what was answered, `id status transaction txn bought`, stands beside the last answer.
bool stands(const std::string& answer, const std::string& last) {
  return answer == last ||
         (answer.substr(0, PaymentId::text_bytes) == last.substr(0, PaymentId::text_bytes) &&
          answer.ends_with(" settling  - -"));
}

struct Tally {
  std::uint64_t kills = 0, answers = 0;
  std::map<std::string, std::uint64_t> found;  ///< How often a payment was found so after its process died.
};

std::string killed_run(const store::Scratch& folder, std::uint64_t run, Point point, Mood mood, Dice& dice,
                       Tally& tally) {
  std::vector<std::string> answers;
  /// Whether a signal ended it.
  const auto ended = [&](const Child& child) {
    const std::uint64_t before = tally.kills;
    for (std::string& line : hear(child, &tally.kills)) answers.push_back(std::move(line));
    return tally.kills != before;
  };
  // What dies at `status` finds a payment that another left `settling`.
  const bool goes_on = point == Point::status_asked || point == Point::status_told;
  if (goes_on) {
    const Point before = dice.coin() ? Point::settling : Point::moved;
    if (!ended(start({}, [&](int pipe) { return make(folder, run, before, mood, pipe); })))
      return "the first process lived";
  }
  const bool by_round = goes_on && dice.coin();
  const Child child = start({}, [&](int pipe) {
    return by_round ? reconcile(folder, point, mood, pipe) : make(folder, run, point, mood, pipe);
  });
  if (point == Point::any) {
    std::this_thread::sleep_for(std::chrono::microseconds(dice.below(40'000)));
    ::kill(child.process, SIGKILL);
  }
  const bool killed = ended(child);
  // Nothing is bought with what has not settled yet.
  const bool may_live =
      point == Point::any || (point == Point::bought && (mood == Mood::pending || mood == Mood::silent));
  if (!may_live && !killed) return "a process lived" + (answers.empty() ? "" : ": " + answers.front());
  const auto fault_now = [&](Opened& opened, bool counts) -> std::string {
    Session all = opened.engine.as_operator();
    const Result<Standing> now = standing_of(all, run);
    if (!now.ok()) return "it does not read: " + now.error().message;
    if (counts) ++tally.found[now->status];
    return judge(opened, run, *now);
  };
  {
    Result<Opened> opened = open(folder);
    if (!opened.ok()) return "it does not open: " + opened.error().message;
    if (std::string fault = fault_now(*opened, true); !fault.empty()) return fault;
  }
  // One more dies while it goes on from there.
  if (dice.coin()) {
    const Point second = static_cast<Point>(dice.below(points - 1));
    const bool round = dice.coin();
    ended(start({}, [&](int pipe) {
      return round ? reconcile(folder, second, mood, pipe) : make(folder, run, second, mood, pipe);
    }));
  }
  Result<Opened> opened = open(folder);
  if (!opened.ok()) return "it does not open: " + opened.error().message;
  if (std::string fault = fault_now(*opened, false); !fault.empty()) return fault;
  Session all = opened->engine.as_operator();
  if (dice.coin() && !all.settle_payments().ok()) return "it does not reconcile";
  const std::string last = call(*opened, words_of(run), job_of(run));
  if (last.find(" paid ") == std::string::npos || !last.ends_with(" none")) return "it ends as " + last;
  for (const std::string& answer : answers)
    if (!stands(answer, last)) return "was answered \"" + answer + "\", is \"" + last + "\"";
  tally.answers += answers.size();
  // It is paid for once, and buys once.
  if (const std::string other = call(*opened, words_of(run), "another"); !other.ends_with(" budget_spent"))
    return "another call on the same payment: " + other;
  if (std::string fault = fault_now(*opened, false); !fault.empty()) return fault;
  if (opened->tokens->settlements().value() != run + 1) return "a payment settled other than once";
  if (run % 20 != 0) return {};
  const Result<AuditReport> report = all.audit({}, AuditDepth::each);
  if (!report.ok()) return "no audit: " + report.error().message;
  return report->ok ? std::string() : "the audit says: " + report->first_fault;
}

/// All that `threads` of one process are answered: the payment of `run` in one of two spellings, each for a
/// job of its own. The spelling, a digit and a blank, stands before each.
std::vector<std::string> at_once(Opened& opened, std::uint64_t run, std::size_t threads, std::size_t first) {
  std::vector<std::string> out;
  std::mutex mutex;
  std::vector<std::thread> started;
  started.reserve(threads);
  for (std::size_t i = first; i < first + threads; ++i)
    started.emplace_back([&, i] {
      std::string answer = std::to_string(i % 2) + " " +
                           call(opened, words_of(run, i % 2), job_of(run) + "-" + std::to_string(i));
      const std::lock_guard lock(mutex);
      out.push_back(std::move(answer));
    });
  for (std::thread& thread : started) thread.join();
  return out;
}

/// What is wrong where all of `answers` were given for one payment.
std::string judge_at_once(const store::Scratch& folder, std::uint64_t run,
                          const std::vector<std::string>& answers,
                          std::map<std::string, std::uint64_t>& said) {
  std::string payment;
  char spelling = 0;  // of the payment
  std::size_t bought = 0;
  for (const std::string& spelt : answers)
    if (spelt.find(' ', 2) != std::string::npos) spelling = spelt.front();
  for (const std::string& spelt : answers) {
    const std::string answer = spelt.substr(2);
    const std::string how = answer.substr(answer.rfind(' ') + 1);
    ++said[how];
    if (answer == "outcome_unknown") continue;
    // In other words it is a nonce that came before, here or on the chain.
    if (spelt.front() != spelling && (answer == "payment_reused" || answer == "payment_invalid")) continue;
    if (how != "none" && how != "budget_spent" && how != "-") return "was answered " + answer;
    if (how == "none") ++bought;
    const std::string id = answer.substr(0, PaymentId::text_bytes);
    if (!payment.empty() && id != payment) return "two payments came of one";
    payment = id;
  }
  Result<Opened> opened = open(folder);
  if (!opened.ok()) return "it does not open: " + opened.error().message;
  Session all = opened->engine.as_operator();
  const Result<Standing> now = standing_of(all, run);
  if (!now.ok()) return "it does not read: " + now.error().message;
  if (std::string fault = judge(*opened, run, *now); !fault.empty()) return fault;
  if (now->status != word(PaymentStatus::paid) || now->wallets != 1) return "it ends as " + now->status;
  if (bought != 1 || now->held.micro != price.micro * static_cast<std::int64_t>(now->paid) ||
      now->balance != Money{})
    return "it bought " + std::to_string(bought) + " times";
  if (opened->tokens->settlements().value() != run + 1) return "it settled other than once";
  return {};
}

void tell_counts(std::string text, const std::map<std::string, std::uint64_t>& counts) {
  for (const auto& [word, count] : counts) text += " " + word + " " + std::to_string(count);
  MESSAGE(text);
}

}  // namespace

TEST_CASE("XM-05, SG-02: a paid call survives kills between every two states of its payment") {
  const std::uint64_t seed = 20'261'201;
  Dice dice(seed);
  Tally tally;
  std::string fault;
  const store::Scratch folder;
  REQUIRE(begin(folder).ok());
  const std::uint64_t runs = points * moods * by_scale<std::uint64_t>(1, 9, 60);
  for (std::uint64_t run = 0; run < runs && fault.empty(); ++run) {
    const auto point = static_cast<Point>(run % points);
    const auto mood = static_cast<Mood>(run / points % moods);
    fault = killed_run(folder, run, point, mood, dice, tally);
    if (!fault.empty())
      fault = "run " + std::to_string(run) + ", point " + std::to_string(static_cast<int>(point)) +
              ", mood " + std::to_string(static_cast<int>(mood)) + ": " + fault;
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  tell_counts("paid calls: how their payments were found after kills:", tally.found);
  testing::told("processes killed as they paid for calls", tally.kills);
  CHECK(tally.kills >= runs);
  for (const char* status : {"open", "settling", "paid"}) CHECK(tally.found[status] > 0);
  // Judged, it is `settling` at once: nothing is durable that the backend was not about to settle.
  CHECK(tally.found["authorized"] == 0);
}

TEST_CASE("XM-05, SG-02: 64 threads that pay for calls by one payment are credited once, and buy once") {
  const store::Scratch folder;
  REQUIRE(begin(folder).ok());
  std::map<std::string, std::uint64_t> said;
  std::string fault;
  for (std::uint64_t run = 0; run < by_scale<std::uint64_t>(1, 3, 40) && fault.empty(); ++run) {
    std::vector<std::string> answers;
    {
      Result<Opened> opened = open(folder, Point::any, run % 2 == 0 ? Mood::prompt : Mood::slow);
      REQUIRE(opened.ok());
      answers = at_once(*opened, run, 64, 0);
    }
    fault = judge_at_once(folder, run, answers, said);
  }
  CHECK_MESSAGE(fault.empty(), fault);
  tell_counts("64 threads with one payment were answered:", said);
}

TEST_CASE(
    "XM-05, SG-02: four processes of 16 threads that pay by one payment are credited once, and buy once") {
  const store::Scratch folder;
  REQUIRE(begin(folder).ok());
  std::map<std::string, std::uint64_t> said;
  std::string fault;
  for (std::uint64_t run = 0; run < by_scale<std::uint64_t>(1, 4, 60) && fault.empty(); ++run) {
    std::vector<Child> children;
    for (std::size_t i = 0; i < 4; ++i)
      children.push_back(start(children, [&](int pipe) {
        Result<Opened> opened = open(folder, Point::any, run % 2 == 0 ? Mood::prompt : Mood::slow);
        if (!opened.ok()) return 1;
        for (const std::string& answer : at_once(*opened, run, 16, 16 * i)) tell(pipe, answer);
        return 0;
      }));
    std::vector<std::string> answers;
    for (const Child& child : children)
      for (std::string& line : hear(child)) answers.push_back(std::move(line));
    if (answers.size() != 64) fault = std::to_string(answers.size()) + " answers came";
    if (fault.empty()) fault = judge_at_once(folder, run, answers, said);
  }
  CHECK_MESSAGE(fault.empty(), fault);
  tell_counts("four processes with one payment were answered:", said);
  Result<Opened> opened = open(folder);
  REQUIRE(opened.ok());
  const AuditReport report = opened->engine.as_operator().audit({}, AuditDepth::each).value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

}  // namespace calyx::faults
#else
TEST_CASE("XM-05, SG-02: a paid call survives kills between every two states of its payment") {
  CHECK(calyx::testing::may_lack("faults.paid_calls_kill", "libsecp256k1-dev"));
}
#endif
