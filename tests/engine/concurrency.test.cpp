#include <doctest/doctest.h>

#include <atomic>
#include <calyx/engine.hpp>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "store/gate.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using store::in_child;
using store::Scratch;
using store::start_child;
using store::wait_for;

namespace {

void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

constexpr std::int64_t each = 1'000'000;  // what every wallet begins with, in micro

Options at(const std::string& path) {
  Options options;
  options.path = path;
  options.busy_timeout_ms = 60'000;
  options.fee_basis_points = 0;  // so that wallets and escrow alone hold all that there is
  return options;
}

/// Makes a market with `count` human wallets that hold `each`.
std::vector<WalletId> populate(const std::string& path, int count) {
  Engine engine = Engine::open(at(path)).value();
  Session all = engine.as_operator();
  std::vector<WalletId> wallets;
  for (int i = 0; i < count; ++i) {
    const std::string owner = "owner-" + std::to_string(i);
    wallets.push_back(
        all.create_wallet({.owner_type = OwnerType::human, .owner_id = owner}).value().wallet.id);
    all.topup({.wallet = wallets.back(), .amount = Money{each}}).value();
  }
  return wallets;
}

/// All that the wallets hold, escrow included, in one look.
std::int64_t total(Session session) {
  std::int64_t sum = 0;
  for (const Wallet& wallet : session.wallets(Page{.limit = 1'000}).value().items)
    sum += wallet.balance.micro + wallet.held.micro;
  return sum;
}

/// One caller's random business; false when an answer was none that the rules know.
bool business(Session all, const std::vector<WalletId>& wallets, std::uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  const auto any = [&] { return wallets[random() % wallets.size()]; };
  const auto fine = [](Reason reason) {
    return reason == Reason::none || reason == Reason::insufficient_balance ||
           reason == Reason::already_settled || reason == Reason::escrow_released ||
           reason == Reason::job_unknown || reason == Reason::not_the_host || reason == Reason::job_burned ||
           reason == Reason::gross_above_locked || reason == Reason::job_id_reused ||
           reason == Reason::job_ambiguous || reason == Reason::same_wallet;
  };
  for (int i = 0; i < steps; ++i) {
    const std::string job = "job-" + std::to_string(random() % 400);
    const Money amount{static_cast<std::int64_t>(1 + random() % 1'000)};
    Reason reason = Reason::none;
    switch (random() % 6) {
      case 0:
      case 1:
        reason = all.spend({.wallet = any(), .job_id = job, .amount = amount, .host_wallet = any()}).reason();
        break;
      case 2:
      case 3:
        reason = all.earn({.host = any(), .job_id = job, .gross_amount = amount, .gpu_model = "x"}).reason();
        break;
      case 4: reason = all.release({.wallet = any(), .job_id = job}).reason(); break;
      default: reason = all.transfer({.from = any(), .to = any(), .amount = amount}).reason(); break;
    }
    if (!fine(reason)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("eight callers at once lose and make no money, and a reader never sees a movement half done") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 12);
  Engine engine = Engine::open(at(path)).value();
  Engine beside = Engine::open(at(path)).value();
  const WalletId pairs = engine.as_operator()
                             .create_wallet({.owner_type = OwnerType::human, .owner_id = "pairs"})
                             .value()
                             .wallet.id;
  const std::int64_t expected = total(engine.as_operator());

  std::atomic<int> writing{8};
  std::atomic<std::uint64_t> looks{0}, wrong{0}, odd{0}, bad_answers{0};
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      // Half of the callers use another engine on the same file.
      Session all = (i % 2 == 0 ? engine : beside).as_operator();
      const int steps = testing::by_scale(60, 800, 20'000);
      if (!business(all, wallets, i, steps)) ++bad_answers;
      // Two in one commit: nobody may ever see one of them.
      for (int n = 0; n < 10; ++n) {
        const WalletTransfer one{.from = wallets[i], .to = pairs, .amount = Money{1}};
        const Operation both[] = {one, one};
        if (!all.bulk(both).ok()) ++bad_answers;
      }
      --writing;
    });
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&, i] {
      Session all = (i == 0 ? engine : beside).as_operator();
      while (writing.load() > 0) {
        if (total(all) != expected) ++wrong;
        if (all.wallet(pairs).value().balance.micro % 2 != 0) ++odd;
        ++looks;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(odd.load() == 0);
  CHECK(bad_answers.load() == 0);
  CHECK(looks.load() > 10);
  CHECK(total(engine.as_operator()) == expected);
  CHECK(total(beside.as_operator()) == expected);
  CHECK(engine.as_operator().wallet(pairs).value().balance.micro == 160);
  const AuditReport report = engine.as_operator().audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

TEST_CASE("eight calls that wait together share a commit") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 8);
  Engine engine = Engine::open(at(path)).value();
  auto gate = store::Gate::open(path + "-gate").value();
  REQUIRE(gate.lock(5'000).ok());
  const EngineStats before = engine.stats();

  std::atomic<int> asking{0}, passed{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      ++asking;
      if (engine.as_operator().spend({.wallet = wallets[i], .job_id = "j", .amount = Money{5}}).ok())
        ++passed;
    });
  while (asking.load() < 8) pause_ms(1);
  pause_ms(200);  // the first waits at the gate, the others in its queue
  CHECK(passed.load() == 0);
  gate.unlock();
  for (std::thread& thread : threads) thread.join();
  const EngineStats after = engine.stats();
  CHECK(passed.load() == 8);
  CHECK(after.calls_committed - before.calls_committed == 8);
  CHECK(after.commits - before.commits <= 2);
  for (const WalletId& wallet : wallets)
    CHECK(engine.as_operator().wallet(wallet).value().balance == Money{each - 5});
}

TEST_CASE("two engines on one file see each other's commits and give each other's answers again") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 2);
  Engine one = Engine::open(at(path)).value(), two = Engine::open(at(path)).value();
  Session first = one.as_operator(), second = two.as_operator();

  const Spend asked{.wallet = wallets[0], .job_id = "j", .amount = Money{100}, .host_wallet = wallets[1]};
  const Spent spent = first.spend(asked).value();
  CHECK(second.wallet(wallets[0]).value().balance == spent.new_balance);
  CHECK(second.wallet(wallets[0]).value().held == Money{100});
  const Spent again = second.spend(asked).value();
  CHECK(again.replayed);
  CHECK(again.txn == spent.txn);
  CHECK(again.new_balance == spent.new_balance);

  const Earn settled{.host = wallets[1], .job_id = "j", .gross_amount = Money{60}, .gpu_model = "x"};
  const Earned earned = second.earn(settled).value();
  CHECK(first.earn(settled).value().replayed);
  CHECK(first.earn(settled).value().receipt == earned.receipt);
  CHECK(first.release({.wallet = wallets[0], .job_id = "j"}).reason() == Reason::already_settled);
  CHECK(first.wallet(wallets[1]).value().balance == Money{each + 60});

  // A key that one engine made opens the other, and one that it revoked does not.
  const KeyIssued key = first.issue_key(wallets[0], "laptop").value();
  const Result<Session> session = two.session(key.api_key);
  REQUIRE(session.ok());
  first.revoke_key(key.key.id).value();
  CHECK(two.session(key.api_key).reason() == Reason::unauthorized);
  Session stale = *session;
  CHECK(stale.wallet(wallets[0]).reason() == Reason::unauthorized);
}

TEST_CASE("a cap an hour holds over all engines together") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 2);
  Engine one = Engine::open(at(path)).value(), two = Engine::open(at(path)).value();
  Session first = one.as_operator(), second = two.as_operator();
  first.change_wallet(wallets[0], {.spend_cap_per_hour = Money{10}}).value();
  const auto spend = [&](Session& by, const char* job, std::int64_t amount) {
    return by.spend({.wallet = wallets[0], .job_id = job, .amount = Money{amount}, .host_wallet = wallets[1]})
        .reason();
  };
  CHECK(spend(first, "a", 4) == Reason::none);  // from now on the first engine remembers the hour
  CHECK(spend(second, "b", 4) == Reason::none);
  CHECK(spend(first, "c", 3) == Reason::spend_cap_per_hour);
  CHECK(spend(second, "c", 3) == Reason::spend_cap_per_hour);
  CHECK(spend(first, "c", 2) == Reason::none);
  // What comes back at one engine is room at the other.
  second.release({.wallet = wallets[0], .job_id = "a"}).value();
  CHECK(spend(first, "d", 4) == Reason::none);
  second.earn({.host = wallets[1], .job_id = "b", .gross_amount = Money{1}, .gpu_model = "x"}).value();
  CHECK(spend(first, "e", 4) == Reason::spend_cap_per_hour);
  CHECK(spend(first, "e", 3) == Reason::none);
}

TEST_CASE("a receipt under a key that another engine added is served whole") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 2);
  Engine one = Engine::open(at(path)).value(), two = Engine::open(at(path)).value();
  Options reading = at(path);
  reading.read_only = true;
  Engine reader = Engine::open(reading).value();
  one.rotate_signing_key().value();
  one.as_operator()
      .spend({.wallet = wallets[0], .job_id = "j", .amount = Money{9}, .host_wallet = wallets[1]})
      .value();
  const ReceiptId id =
      one.as_operator()
          .earn({.host = wallets[1], .job_id = "j", .gross_amount = Money{9}, .gpu_model = "x"})
          .value()
          .receipt;
  const std::string jws = one.as_operator().receipt(id).value().jws;
  CHECK(one.verify(jws).valid);
  for (Engine* other : {&two, &reader}) {
    CHECK(other->as_operator().receipt(id).value().jws == jws);
    CHECK(other->verify(jws).valid);
    CHECK(other->public_keys() == one.public_keys());
  }
}

TEST_CASE(
    "two processes on one file see each other's commits, and a retry in the other is the first answer") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 3);
  Engine engine = Engine::open(at(path)).value();
  Session all = engine.as_operator();
  const Spend asked{.wallet = wallets[0], .job_id = "theirs", .amount = Money{100}};
  CHECK(in_child([&] {
          Engine own = Engine::open(at(path)).value();
          return own.as_operator().spend(asked).ok() ? 0 : 1;
        }) == 0);
  CHECK(all.wallet(wallets[0]).value().balance == Money{each - 100});
  const Spent again = all.spend(asked).value();
  CHECK(again.replayed);
  CHECK(again.new_balance == Money{each - 100});

  // Both at once: every job is of one of them alone, and the other gets that one's answer.
  constexpr int jobs = 60;
  const auto run = [&](std::size_t host) {
    Engine own = Engine::open(at(path)).value();
    Session mine = own.as_operator();
    for (int i = 0; i < jobs; ++i) {
      const Spend same{.wallet = wallets[0], .job_id = "both-" + std::to_string(i), .amount = Money{10}};
      const Result<Spent> spent = mine.spend(same);
      if (!spent.ok()) return 1;
      if (mine.wallet(wallets[0]).value().balance > spent->new_balance) return 2;
      const WalletTransfer moved{.from = wallets[0], .to = wallets[host], .amount = Money{1}};
      if (!mine.transfer(moved).ok()) return 3;
    }
    return 0;
  };
  const pid_t one = start_child([&] { return run(1); });
  const pid_t two = start_child([&] { return run(2); });
  CHECK(wait_for(one) == 0);
  CHECK(wait_for(two) == 0);
  const Wallet payer = all.wallet(wallets[0]).value();
  CHECK(payer.balance == Money{each - 100 - jobs * 10 - 2 * jobs});
  CHECK(payer.held == Money{100 + jobs * 10});
  CHECK(total(all) == 3 * each);
  const AuditReport report = all.audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

TEST_CASE("engines come and go while others write") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 6);
  const pid_t other = start_child([&] {
    for (std::uint64_t i = 0; i < 6; ++i) {
      Engine own = Engine::open(at(path)).value();
      if (!business(own.as_operator(), wallets, 100 + i, 20)) return 1;
      if (total(own.as_operator()) != 6 * each) return 2;
    }
    return 0;
  });
  Engine engine = Engine::open(at(path)).value();
  std::atomic<bool> good{true}, done{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !done.load(); ++i)
      if (!business(engine.as_operator(), wallets, i, 10)) good = false;
  });
  for (int i = 0; i < testing::by_scale(5, 20, 500); ++i) {
    Options options = at(path);
    options.read_only = i % 2 == 0;
    Engine visitor = Engine::open(options).value();
    CHECK(total(visitor.as_operator()) == 6 * each);
  }
  done = true;
  writer.join();
  CHECK(good.load());
  CHECK(wait_for(other) == 0);
  const AuditReport report = engine.as_operator().audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

TEST_CASE("a forked child gets `forked` from its parent's engine, and may let go of it harmlessly") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 2);
  Options options = at(path);
  options.signing_threads = 2;  // which the child has not
  auto engine = std::make_unique<Engine>(Engine::open(options).value());
  Session all = engine->as_operator();
  const std::string key = all.issue_key(wallets[0], "key").value().api_key;
  all.entries(wallets[0]).value();  // so that connections for reading stand as well
  const int code = in_child([&] {
    if (all.wallet(wallets[0]).reason() != Reason::forked) return 1;
    if (all.spend({.wallet = wallets[0], .job_id = "child", .amount = Money{1}}).reason() != Reason::forked)
      return 2;
    if (all.entries(wallets[0]).reason() != Reason::forked) return 3;
    if (engine->session(key).reason() != Reason::forked) return 4;
    if (all.audit().reason() != Reason::forked) return 5;
    if (engine->backup(path + ".copy").reason() != Reason::forked) return 6;
    if (engine->issue_operator_key("x").reason() != Reason::forked) return 7;
    engine.reset();
    Engine own = Engine::open(at(path)).value();  // its own engine works
    return own.as_operator().spend({.wallet = wallets[0], .job_id = "own", .amount = Money{1}}).ok() ? 0 : 8;
  });
  CHECK(code == 0);
  CHECK(all.wallet(wallets[0]).value().balance == Money{each - 1});
  CHECK(all.spend({.wallet = wallets[0], .job_id = "parent", .amount = Money{2}}).ok());
  // The parent's locks are still there: another process's commits and its own don't meet.
  const pid_t other = start_child([&] {
    Engine own = Engine::open(at(path)).value();
    return business(own.as_operator(), wallets, 1, 40) ? 0 : 1;
  });
  CHECK(business(all, wallets, 2, 40));
  CHECK(wait_for(other) == 0);
  CHECK(total(all) == 2 * each);
  const AuditReport report = all.audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

TEST_CASE("a forked child may let go of its parent's workers, which go on in the parent") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 1);
  auto engine = std::make_unique<Engine>(Engine::open(at(path)).value());
  REQUIRE(engine->register_task("t", [](const TaskCall&) { return Result(core::json::Value(1)); }).ok());
  std::optional<Worker> worker = Worker::start(*engine, {.threads = 2}).value();
  std::optional<Worker> other = Worker::start(*engine, {}).value();
  CHECK(in_child([&] {
          worker->ask_to_stop();
          *other = *std::move(worker);
          other.reset();
          worker.reset();
          engine.reset();
          return 0;
        }) == 0);
  Session all = engine->as_operator();
  core::json::Object asked;
  asked.set("task", "t");
  const JobId job = all.submit_job({.job = asked}).value().id;
  Job now = all.job(job).value();
  for (int i = 0; i < 6'000 && !is_terminal(now.status); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    now = all.job(job).value();
  }
  CHECK(now.status == JobStatus::completed);
}

TEST_CASE("a read-only engine sees what others commit and changes nothing itself") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const std::vector<WalletId> wallets = populate(path, 2);
  Options options = at(path);
  options.read_only = true;
  Engine reader = Engine::open(options).value();
  Engine writer = Engine::open(at(path)).value();
  Session looks = reader.as_operator();
  for (int i = 1; i <= 5; ++i) {
    const std::string job = "j" + std::to_string(i);
    writer.as_operator().spend({.wallet = wallets[0], .job_id = job, .amount = Money{10}}).value();
    CHECK(looks.wallet(wallets[0]).value().balance == Money{each - 10 * i});
    CHECK(looks.escrows(wallets[0]).value().items.size() == static_cast<std::size_t>(i));
  }
  CHECK(looks.spend({.wallet = wallets[0], .job_id = "mine", .amount = Money{1}}).reason() ==
        Reason::read_only);
  CHECK(looks.create_wallet({.owner_type = OwnerType::human, .owner_id = "x"}).reason() == Reason::read_only);
  CHECK(reader.rotate_signing_key().reason() != Reason::none);
  CHECK(looks.audit().value().ok);
  CHECK(looks.wallet(wallets[0]).value().balance == Money{each - 50});
}
