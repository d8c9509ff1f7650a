#include "services/book.hpp"

#include <doctest/doctest.h>

#include <calyx/engine.hpp>
#include <map>
#include <random>
#include <string>

#include "store/scratch.hpp"

using namespace calyx;
using namespace calyx::services;

namespace {

constexpr Instant start{1'774'990'800'000'000};
constexpr AccountNumber alice = core::wallet_first, agent = alice + 1, host = alice + 2;

core::Digest some_hash(Seq seq) {
  core::Digest out;
  out.bytes.fill(static_cast<std::uint8_t>(seq));
  return out;
}

/// A book to which events are applied one after the other, a second apart.
class Log {
 public:
  Book book;
  std::vector<Event> events;

  Log() {
    add(MarketCreated{"00112233445566778899aabbccddeeff", "calyx", 1500});
    add(SigningKeyAdded{"key"});
    add(WalletCreatedEvent{alice, OwnerType::human, "alice", 0, {}, {}, 0});
    add(WalletCreatedEvent{agent, OwnerType::agent, "agent", alice, {}, {}, 0});
    add(WalletCreatedEvent{host, OwnerType::human, "host", 0, {}, {}, 0});
  }
  Reason try_to(Fields fields) {
    return book.apply(next(std::move(fields)), some_hash(book.seq + 1)).reason();
  }
  Seq add(Fields fields) {
    const Event event = next(std::move(fields));
    const auto legs = book.legs(event);
    REQUIRE(legs.ok());
    REQUIRE(core::judge(*legs) == Reason::none);
    for (std::size_t place = 0; place < legs->count(); ++place)
      entries.emplace_back(core::entry_id(event.seq, place), legs->all()[place]);
    REQUIRE(book.apply(event, some_hash(event.seq)).ok());
    events.push_back(event);
    return event.seq;
  }
  Money balance(AccountNumber of) const { return book.wallet(of)->balance; }

  std::vector<std::pair<core::EntryId, core::Entry>> entries;

 private:
  Event next(Fields fields) const {
    return {book.seq + 1, Instant{start.us + book.seq * core::us_per_second}, std::move(fields)};
  }
};

void same_standing(const Book& a, const Book& b) {
  CHECK(a.market == b.market);
  CHECK(a.issuer == b.issuer);
  CHECK(a.tag == b.tag);
  CHECK(a.fee_basis_points == b.fee_basis_points);
  CHECK(a.signing_keys == b.signing_keys);
  CHECK(a.external == b.external);
  CHECK(a.external_trail == b.external_trail);
  CHECK(a.fees == b.fees);
  CHECK(a.paying_out == b.paying_out);
  CHECK(a.grants == b.grants);
  CHECK(a.granted_owners == b.granted_owners);
  CHECK(a.waitlist_by_owner == b.waitlist_by_owner);
  CHECK(a.approval_by_terms == b.approval_by_terms);
  REQUIRE(a.wallets.size() == b.wallets.size());
  for (std::size_t i = 0; i < a.wallets.size(); ++i) {
    CAPTURE(i);
    const WalletState &x = a.wallets[i], &y = b.wallets[i];
    CHECK(x.id == y.id);
    CHECK(x.status == y.status);
    CHECK(x.policy == y.policy);
    CHECK(x.balance == y.balance);
    CHECK(x.held == y.held);
    CHECK(x.txn_count == y.txn_count);
    CHECK(x.last_entry == y.last_entry);
    CHECK(x.open_locks == y.open_locks);
    CHECK(x.deadlines == y.deadlines);
    CHECK(x.children == y.children);
    CHECK(x.keys == y.keys);
    CHECK(x.paying_out == y.paying_out);
    CHECK(x.payouts == y.payouts);
    CHECK(x.approvals == y.approvals);
  }
  REQUIRE(a.locks.size() == b.locks.size());
  for (const auto& [seq, lock] : a.locks) {
    REQUIRE(b.locks.contains(seq));
    CHECK(lock.amount == b.locks.at(seq).amount);
    CHECK(lock.deadline == b.locks.at(seq).deadline);
    CHECK(lock.host == b.locks.at(seq).host);
    CHECK(lock.job_id == b.locks.at(seq).job_id);
  }
  REQUIRE(a.payouts.size() == b.payouts.size());
  for (const auto& [seq, payout] : a.payouts) CHECK(payout.status == b.payouts.at(seq).status);
  for (const auto& [seq, approval] : a.approvals) CHECK(approval.status == b.approvals.at(seq).status);
}

/// The book as an opening makes it: from the events of standing, the entries and the open locks.
Book reopened(const Log& log) {
  Book book;
  for (const Event& event : log.events)
    if (static_cast<int>(kind_of(event.fields)) >= core::standing_first) REQUIRE(book.restore(event).ok());
  std::map<AccountNumber, Money> held;
  Money fees;
  for (const auto& [id, entry] : log.entries) {
    REQUIRE(book.restore_entry(id, entry).ok());
    if (core::is_escrow(entry.account)) held[entry.account].micro += entry.amount.micro;
    if (entry.account == core::account_fees) fees.micro += entry.amount.micro;
  }
  book.restore_fees(fees);
  for (const auto& [account, sum] : held) {
    if (sum.micro == 0) continue;
    const Event& event = log.events[static_cast<std::size_t>(account - core::escrow_first - 1)];
    REQUIRE(book.restore_lock(event.seq, event.at, std::get<SpendEvent>(event.fields)).ok());
  }
  return book;
}

}  // namespace

TEST_CASE("money goes where the events send it") {
  Log log;
  log.add(TopUpEvent{alice, Money{1'000}, {}, {}});
  log.add(TransferEvent{alice, agent, Money{300}, false, {}, {}, 0});
  const Seq settled = log.add(SpendEvent{agent, "a", Money{100}, {}, host, {}});
  const Seq released = log.add(SpendEvent{agent, "b", Money{50}, {}, {}, {}});
  const Seq expired = log.add(SpendEvent{agent, "c", Money{20}, {}, {}, 60});
  CHECK(log.balance(agent) == Money{130});
  CHECK(log.book.wallet(agent)->held == Money{170});
  CHECK(log.book.wallet(agent)->open_locks == 3);
  log.add(EarnEvent{settled, host, Money{80}, Money{12}, Money{68}, {}, "x", 1, 0});
  log.add(ReleaseEvent{released});
  log.add(ExpireEvent{expired});
  log.add(BurnEvent{agent, "d"});
  CHECK(log.balance(alice) == Money{700});
  CHECK(log.balance(agent) == Money{220});
  CHECK(log.balance(host) == Money{68});
  CHECK(log.book.fees == Money{12});
  CHECK(log.book.external == Money{-1'000});
  CHECK(log.book.wallet(agent)->held == Money{});
  CHECK(log.book.wallet(agent)->open_locks == 0);
  CHECK(log.book.wallet(agent)->deadlines.empty());
  CHECK(log.book.locks.empty());
  const Seq paid = log.add(PayoutEvent{alice, Money{200}, "iban", false, {}, 0});
  CHECK(log.book.external == Money{-800});
  log.add(PayoutFailed{paid});
  CHECK(log.balance(alice) == Money{700});
  log.add(GrantEvent{host, Money{5}});
  CHECK(log.balance(host) == Money{73});
  CHECK(log.book.grants_left() == grants_max - 1);
}

TEST_CASE("what is due is counted from the deadline's microsecond on") {
  Log log;
  log.add(TopUpEvent{alice, Money{1'000}, {}, {}});
  const Instant first{log.book.at.us + core::us_per_second};
  log.add(SpendEvent{alice, "a", Money{100}, {}, {}, 60});
  log.add(SpendEvent{alice, "b", Money{30}, {}, {}, 120});
  log.add(SpendEvent{alice, "c", Money{7}, {}, {}, {}});
  const auto due = [&](std::int64_t after_us) {
    return log.book.due(*log.book.wallet(alice), Instant{first.us + after_us}).micro;
  };
  CHECK(due(0) == 0);
  CHECK(due(60 * core::us_per_second - 1) == 0);
  CHECK(due(60 * core::us_per_second) == 100);
  CHECK(due(121 * core::us_per_second - 1) == 100);
  CHECK(due(121 * core::us_per_second) == 130);
  // Who needs less than all of it is told of the first that suffice, and the others are not looked at.
  const auto enough = [&](std::int64_t micro) {
    return log.book.due(*log.book.wallet(alice), Instant{first.us + 121 * core::us_per_second}, Money{micro})
        .micro;
  };
  CHECK(enough(-5) == 0);
  CHECK(enough(0) == 0);
  CHECK(enough(1) == 100);
  CHECK(enough(100) == 100);
  CHECK(enough(101) == 130);
  CHECK(enough(1'000) == 130);
}

TEST_CASE("an event that cannot follow is refused and moves nothing") {
  Log log;
  log.add(TopUpEvent{alice, Money{1'000}, {}, {}});
  const Seq lock = log.add(SpendEvent{alice, "a", Money{100}, {}, {}, {}});
  const Seq paid = log.add(PayoutEvent{alice, Money{200}, "iban", false, {}, 0});
  log.add(ReleaseEvent{lock});
  const Seq open = log.add(SpendEvent{alice, "open", Money{100}, {}, {}, {}});
  const Seq before = log.book.seq;
  struct Row {
    std::string says;
    Fields fields;
  };
  const Row rows[] = {
      {"a lock that was ended", ReleaseEvent{lock}},
      {"a lock that was ended, expiring", ExpireEvent{lock}},
      {"a lock that was ended, settling", EarnEvent{lock, host, Money{1}, Money{}, Money{1}, {}, "x", 1, 0}},
      {"a lock out of which others were paid otherwise",
       EarnEvent{open, host, Money{1}, Money{}, Money{1}, {}, "x", 1, 0, {}, Money{7}, false}},
      {"a lock that never was", ReleaseEvent{999}},
      {"a payout that is no payout", PayoutFailed{lock}},
      {"a payout that never was", PayoutConfirmed{paid + 100}},
      {"a wallet that is not the next", WalletCreatedEvent{host + 2, OwnerType::human, "x", 0, {}, {}, 0}},
      {"a parent that never was", WalletCreatedEvent{host + 1, OwnerType::agent, "x", 99'999, {}, {}, 0}},
      {"a spend by nobody", SpendEvent{99'999, "z", Money{1}, {}, {}, {}}},
      {"a change of nobody", WalletChanged{99'999, WalletStatus::frozen, {}, 0}},
      {"a key that is not the next", KeyIssuedEvent{7, alice, {}, "abcd", "", 0, "", 0}},
      {"a key that never was", KeyRevokedEvent{7, 0}},
      {"an approval that never was", ApprovalDecided{7, true, 0}},
      {"the use of one", ApprovalUsed{7}},
      {"an entry that never was", WaitlistApprovedEvent{7}},
      {"a grant to nobody", GrantEvent{99'999, Money{1}}},
      {"a market without a proper id", MarketCreated{"abc", "calyx", 1500}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(log.try_to(row.fields) == Reason::corrupt);
    CHECK(log.book.seq == before);
    CHECK(log.balance(alice) == Money{700});
  }
  const Event late{before + 2, log.book.at, BurnEvent{alice, "z"}};
  CHECK(log.book.apply(late, {}).reason() == Reason::corrupt);
}

TEST_CASE("a book made from sums is the book that followed the events") {
  std::mt19937_64 random(20261123);
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  for (int story = 0; story < 40; ++story) {
    Log log;
    std::vector<Seq> open;
    std::vector<Seq> waiting;
    for (const AccountNumber of : {alice, agent, host}) log.add(TopUpEvent{of, Money{1'000'000}, {}, {}});
    for (int step = 0; step < 120; ++step) {
      const AccountNumber of = alice + below(3);
      const AccountNumber other = alice + (of - alice + 1 + below(2)) % 3;
      const Money amount{1 + below(500)};
      switch (random() % 12) {
        case 0:
        case 1:
        case 2: {
          const auto expires = random() % 2 == 0 ? std::optional<std::int64_t>(1 + below(100)) : std::nullopt;
          const auto who = random() % 2 == 0 ? std::optional<AccountNumber>(other) : std::nullopt;
          open.push_back(
              log.add(SpendEvent{of, "job-" + std::to_string(step), amount, "A100", who, expires}));
          break;
        }
        case 3:
        case 4:
          if (!open.empty()) {
            const Seq lock = open.back();
            open.pop_back();
            const Money gross{below(static_cast<std::uint64_t>(log.book.locks.at(lock).amount.micro) + 1)};
            const core::FeeSplit split = core::split_fee(gross, 1500);
            log.add(EarnEvent{lock, other, gross, split.fee, split.net, {}, "x", 1, 0});
          }
          break;
        case 5:
          if (!open.empty()) {
            log.add(random() % 2 == 0 ? Fields(ReleaseEvent{open.front()})
                                      : Fields(ExpireEvent{open.front()}));
            open.erase(open.begin());
          }
          break;
        case 6: log.add(TransferEvent{of, other, amount, random() % 2 == 0, {}, {}, 0}); break;
        case 7: waiting.push_back(log.add(PayoutEvent{of, amount, "iban", false, {}, 0})); break;
        case 8:
          if (!waiting.empty()) {
            log.add(random() % 2 == 0 ? Fields(PayoutFailed{waiting.back()})
                                      : Fields(PayoutConfirmed{waiting.back()}));
            waiting.pop_back();
          }
          break;
        case 9: log.add(WalletChanged{of, WalletStatus::frozen, Policy{amount, {}, {}, {}}, 0}); break;
        case 10: {
          const Seq asked =
              log.add(ApprovalRequested{of, "spend", amount, "j", {}, "t" + std::to_string(step), 60});
          if (random() % 2 == 0) log.add(ApprovalDecided{asked, random() % 2 == 0, 0});
          break;
        }
        default: log.add(BurnEvent{of, "burn-" + std::to_string(step)}); break;
      }
    }
    std::int64_t all = 0;
    std::map<AccountNumber, Money> sums;
    for (const auto& [id, entry] : log.entries) {
      all += entry.amount.micro;
      sums[entry.account].micro += entry.amount.micro;
    }
    CHECK(all == 0);
    for (const AccountNumber of : {alice, agent, host}) CHECK(log.balance(of) == sums[of]);
    same_standing(log.book, reopened(log));
  }
}

TEST_CASE("a market that is closed and opened again stands as it stood") {
  const store::Scratch scratch;
  std::int64_t clock = start.us;
  const Options options{.path = scratch / "m.db", .now_us = [&clock] { return clock; }};
  std::vector<Wallet> before;
  std::string keys;
  ReceiptId receipt;
  WalletId payer;
  {
    Engine engine = Engine::open(options).value();
    Session all = engine.as_operator();
    payer = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice"}).value().wallet.id;
    const WalletId seller =
        all.create_wallet({.owner_type = OwnerType::human, .owner_id = "bob"}).value().wallet.id;
    all.topup({.wallet = payer, .amount = Money{1'000'000}}).value();
    for (int i = 0; i < 300; ++i) {  // beyond one tile of the receipt log
      const std::string job = "job-" + std::to_string(i);
      all.spend({.wallet = payer, .job_id = job, .amount = Money{100}, .host_wallet = seller}).value();
      receipt = all.earn({.host = seller, .job_id = job, .gross_amount = Money{60}, .gpu_model = "A100"})
                    .value()
                    .receipt;
    }
    all.spend({.wallet = payer, .job_id = "open", .amount = Money{7}, .expires_in_s = 60}).value();
    before = all.wallets().value().items;
    keys = engine.public_keys();
  }
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const std::vector<Wallet> after = all.wallets().value().items;
  REQUIRE(after.size() == before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    CHECK(after[i].id == before[i].id);
    CHECK(after[i].balance == before[i].balance);
    CHECK(after[i].held == before[i].held);
    CHECK(after[i].txn_count == before[i].txn_count);
  }
  CHECK(engine.public_keys() == keys);
  CHECK(engine.verify(all.receipt(receipt).value().jws).valid);
  CHECK(all.inclusion_proof(receipt).ok());

  clock += 60 * core::us_per_second;
  CHECK(all.wallet(payer).value().expired_pending == Money{7});
  CHECK(all.spend({.wallet = payer, .job_id = "open", .amount = Money{7}, .expires_in_s = 60})
            .value()
            .replayed);
  CHECK(all.release({.wallet = payer, .job_id = "open"}).reason() == Reason::escrow_expired);
  const AuditReport report = all.audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}
