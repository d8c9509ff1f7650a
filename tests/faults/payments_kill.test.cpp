/// \file
/// Processes that present and reconcile payments are killed between every two states, and at any moment: no
/// payment is credited twice, none that settled is lost, and what was answered stands.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/calyx.hpp>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "faults/children.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

namespace calyx::faults {
namespace {

using testing::by_scale;
using testing::Dice;

constexpr Money price{5'000'000};
constexpr std::int64_t tokens_a_payment = 50'000;
const TokenAccount ours{"eip155:84532", "usdc", "0xours"}, theirs{"eip155:84532", "usdc", "0xtheirs"};

VerifiedPayment payment_of(std::uint64_t run) {
  return {.network = ours.network,
          .asset = ours.asset,
          .payer = theirs.address,
          .pay_to = ours.address,
          .nonce = "nonce" + std::to_string(run),
          .amount = std::to_string(tokens_a_payment),
          .credit = price,
          .valid_before = Instant{1'900'000'000'000'000},
          .payload = "payload"};
}

/// Where a process dies. What is durable by then stands in the comment.
enum class Point : std::uint8_t {
  quoted,        ///< The quote alone.
  authorized,    ///< The payment, as `authorized`; the backend is about to be asked.
  verified,      ///< The same; the backend has answered.
  settling,      ///< `settling`; nothing has moved.
  moved,         ///< `settling`; the tokens have moved, and nobody was told.
  status_asked,  ///< The same, in a process that reconciles.
  status_told,   ///< The same, and the backend has said so.
  paid,          ///< `paid`, and nobody was told.
  any,           ///< Whatever it was when the parent came.
};
constexpr std::size_t points = 9;

void die() { ::kill(::getpid(), SIGKILL); }

/// Tokens in a file, and a process that dies at its point.
struct Dying final : SettlementBackend {
  std::shared_ptr<SimulatedTokens> tokens;
  Point point;
  Dying(std::shared_ptr<SimulatedTokens> its, Point where) : tokens(std::move(its)), point(where) {}

  SettlementAnswer verify(const VerifiedPayment& payment) override {
    if (point == Point::authorized) die();
    SettlementAnswer answer = tokens->verify(payment);
    if (point == Point::verified) die();
    return answer;
  }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override {
    if (point == Point::settling) die();
    SettlementAnswer answer = tokens->settle(key, payment);
    if (point == Point::moved) die();
    return answer;
  }
  SettlementAnswer status(std::string_view key) override {
    if (point == Point::status_asked) die();
    SettlementAnswer answer = tokens->status(key);
    if (point == Point::status_told) die();
    return answer;
  }
};

struct Opened {
  std::shared_ptr<SimulatedTokens> tokens;
  Engine engine;
};
Result<Opened> open(const store::Scratch& folder, Point point) {
  CALYX_TRY(std::shared_ptr<SimulatedTokens> tokens, SimulatedTokens::open(folder / "tokens"));
  Options options;
  options.path = folder / "market.db";
  options.busy_timeout_ms = 10'000;
  options.settlement = std::make_shared<Dying>(tokens, point);
  CALYX_TRY(Engine engine, Engine::open(std::move(options)));
  return Opened{std::move(tokens), std::move(engine)};
}

Result<WalletId> payer_of(Session& all) {
  CALYX_TRY(const WalletCreated payer, all.create_wallet({.owner_id = "payer", .idempotency_key = "payer"}));
  return payer.wallet.id;
}
Result<Quote> quote_of(Session& all, std::uint64_t run) {
  CALYX_TRY(const WalletId payer, payer_of(all));
  return all.quote_topup(
      {.wallet = payer, .amount = price, .idempotency_key = "quote" + std::to_string(run)});
}

std::string told_of(const Payment& payment) {
  return std::string(word(payment.status)) + " " + payment.id.text() + " " + payment.transaction + " " +
         (payment.txn ? payment.txn->text() : "-");
}

/// What a child does. It says what it was answered, unless it dies before.
int present(const store::Scratch& folder, std::uint64_t run, Point point, int pipe) {
  Result<Opened> opened = open(folder, point);
  if (!opened.ok()) {
    tell(pipe, "no market: " + opened.error().message);
    return 1;
  }
  Session all = opened->engine.as_operator();
  const Result<Quote> quote = quote_of(all, run);
  if (!quote.ok()) {
    tell(pipe, "no quote: " + quote.error().message);
    return 1;
  }
  if (point == Point::quoted) die();
  const Result<Payment> payment = all.present_payment(quote->id, payment_of(run));
  if (point == Point::paid) die();
  if (!payment.ok()) {
    tell(pipe, "no payment: " + payment.error().message);
    return 1;
  }
  tell(pipe, told_of(*payment));
  return 0;
}

int reconcile(const store::Scratch& folder, Point point, int pipe) {
  Result<Opened> opened = open(folder, point);
  if (!opened.ok()) {
    tell(pipe, "no market: " + opened.error().message);
    return 1;
  }
  const Result<PaymentRound> round = opened->engine.as_operator().settle_payments();
  if (!round.ok()) tell(pipe, "no round: " + round.error().message);
  return round.ok() ? 0 : 1;
}

struct Tally {
  std::uint64_t kills = 0, answers = 0;
  std::map<std::string, std::uint64_t> found;  ///< How often a quote was found so after its process died.
};

/// After a kill: whether the tokens and the credits agree, as far as they may by then.
std::string judge(Opened& opened, std::uint64_t run, std::uint64_t paid_before, Tally* tally) {
  Session all = opened.engine.as_operator();
  const Result<Quote> quote = quote_of(all, run);
  if (!quote.ok()) return "no quote: " + quote.error().message;
  if (tally != nullptr) ++tally->found[std::string(word(quote->status))];
  const std::int64_t credited = all.wallet(payer_of(all).value()).value().balance.micro;
  const std::string has = opened.tokens->balance(ours).value();
  const bool is_paid = quote->status == QuoteStatus::paid;
  const std::uint64_t credits = paid_before + (is_paid ? 1 : 0);
  if (credited != price.micro * static_cast<std::int64_t>(credits))
    return "the wallet was credited " + std::to_string(credited);
  const std::int64_t moved = std::atoll(has.c_str()) / tokens_a_payment;
  const auto before = static_cast<std::int64_t>(paid_before);
  const bool may_have_moved = is_paid || quote->status == QuoteStatus::settling;
  if (moved != before && !(moved == before + 1 && may_have_moved))
    return "tokens of " + std::to_string(moved) + " payments have moved, of " + std::to_string(before) +
           " and one that is " + std::string(word(quote->status));
  if (is_paid && moved != before + 1) return "credits were given for tokens that have not moved";
  return {};
}

std::string killed_run(const store::Scratch& folder, std::uint64_t run, Point point, Dice& dice,
                       Tally& tally) {
  std::vector<std::string> answers;
  const auto keep = [&](const std::vector<std::string>& lines) {
    answers.insert(answers.end(), lines.begin(), lines.end());
  };
  // What dies at `status` finds a payment that another left `settling`.
  const bool reconciles = point == Point::status_asked || point == Point::status_told;
  if (reconciles) {
    keep(hear(start({},
                    [&](int pipe) {
                      return present(folder, run, dice.coin() ? Point::settling : Point::moved, pipe);
                    }),
              &tally.kills));
  }
  const Child child = start({}, [&](int pipe) {
    return reconciles ? reconcile(folder, point, pipe) : present(folder, run, point, pipe);
  });
  if (point == Point::any) {
    std::this_thread::sleep_for(std::chrono::microseconds(dice.below(40'000)));
    ::kill(child.process, SIGKILL);
  }
  keep(hear(child, &tally.kills));
  const bool silent = point != Point::any;
  if (silent && !answers.empty()) return "a process lived: " + answers.front();
  {
    Result<Opened> opened = open(folder, Point::any);
    if (!opened.ok()) return "it does not open: " + opened.error().message;
    if (std::string fault = judge(*opened, run, run, &tally); !fault.empty()) return fault;
  }
  // One more dies while it goes on from there.
  if (dice.coin()) {
    const Point second = static_cast<Point>(dice.below(points - 1));
    const bool by_round = dice.coin();
    keep(hear(start({},
                    [&](int pipe) {
                      return by_round ? reconcile(folder, second, pipe) : present(folder, run, second, pipe);
                    }),
              &tally.kills));
  }
  Result<Opened> opened = open(folder, Point::any);
  if (!opened.ok()) return "it does not open: " + opened.error().message;
  if (std::string fault = judge(*opened, run, run, nullptr); !fault.empty()) return fault;
  Session all = opened->engine.as_operator();
  if (dice.coin() && !all.settle_payments().ok()) return "it does not reconcile";
  const Result<Payment> last = all.present_payment(quote_of(all, run).value().id, payment_of(run));
  if (!last.ok()) return "the last: " + last.error().message;
  if (last->status != PaymentStatus::paid) return "it ends as " + std::string(word(last->status));
  for (const std::string& answer : answers)
    if (answer != told_of(*last)) return "was answered \"" + answer + "\", is \"" + told_of(*last) + "\"";
  tally.answers += answers.size();
  if (std::string fault = judge(*opened, run, run, nullptr); !fault.empty()) return fault;
  if (opened->tokens->settlements().value() != run + 1) return "a payment settled other than once";
  if (run % 10 != 0) return {};
  const Result<AuditReport> report = all.audit({}, AuditDepth::each);
  if (!report.ok()) return "no audit: " + report.error().message;
  return report->ok ? std::string() : "the audit says: " + report->first_fault;
}

Result<Done> begin(const store::Scratch& folder) {
  CALYX_TRY(Opened opened, open(folder, Point::any));
  CALYX_CHECK(opened.tokens->mint(theirs, "1000000000000"));
  Session all = opened.engine.as_operator();
  CALYX_CHECK(payer_of(all));
  return Done{};
}

}  // namespace

TEST_CASE("a payment survives kills between every two of its states") {
  const std::uint64_t seed = 20'261'129;
  Dice dice(seed);
  Tally tally;
  std::string fault;
  const store::Scratch folder;
  REQUIRE(begin(folder).ok());
  const std::uint64_t runs = points * by_scale<std::uint64_t>(2, 36, 1'000);
  for (std::uint64_t run = 0; run < runs && fault.empty(); ++run) {
    const Point point = static_cast<Point>(run % points);
    fault = killed_run(folder, run, point, dice, tally);
    if (!fault.empty())
      fault =
          "run " + std::to_string(run) + ", point " + std::to_string(static_cast<int>(point)) + ": " + fault;
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  std::string found;
  for (const auto& [status, count] : tally.found) found += " " + status + " " + std::to_string(count);
  MESSAGE("payments: ", tally.kills, " processes killed, after which the quote was", found);
  testing::told("processes killed as they settled payments", tally.kills);
  CHECK(tally.kills >= runs);
  for (const char* status : {"open", "authorized", "settling", "paid"}) CHECK(tally.found[status] > 0);
}

TEST_CASE("four processes that present one payment, some of them killed, credit it once") {
  const std::uint64_t seed = 20'261'130;
  Dice dice(seed);
  const store::Scratch folder;
  REQUIRE(begin(folder).ok());
  const std::uint64_t runs = by_scale<std::uint64_t>(3, 30, 500);
  std::uint64_t answers = 0;
  std::string fault;
  for (std::uint64_t run = 0; run < runs && fault.empty(); ++run) {
    std::vector<Child> children;
    const bool kills = run % 3 == 2;
    for (std::size_t i = 0; i < 4; ++i)
      children.push_back(start(children, [&](int pipe) { return present(folder, run, Point::any, pipe); }));
    if (kills) {
      std::this_thread::sleep_for(std::chrono::microseconds(dice.below(40'000)));
      for (std::size_t i = 0; i < 2; ++i) ::kill(children[i].process, SIGKILL);
    }
    std::set<std::string> told;
    for (const Child& child : children) {
      for (const std::string& line : hear(child)) {
        told.insert(line);
        ++answers;
      }
    }
    Result<Opened> opened = open(folder, Point::any);
    if (!opened.ok()) {
      fault = "it does not open: " + opened.error().message;
      break;
    }
    Session all = opened->engine.as_operator();
    const Result<Payment> last = all.present_payment(quote_of(all, run).value().id, payment_of(run));
    if (!last.ok() || told.size() != 1 || *told.begin() != told_of(*last))
      fault = std::to_string(told.size()) + " answers, the first: " + (told.empty() ? "-" : *told.begin());
    if (fault.empty()) fault = judge(*opened, run, run, nullptr);
    if (fault.empty() && opened->tokens->settlements().value() != run + 1)
      fault = "it settled other than once";
    if (!fault.empty()) fault = "run " + std::to_string(run) + ": " + fault;
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  CHECK(answers >= 2 * runs);
  Result<Opened> opened = open(folder, Point::any);
  REQUIRE(opened.ok());
  const AuditReport report = opened->engine.as_operator().audit({}, AuditDepth::each).value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

}  // namespace calyx::faults
