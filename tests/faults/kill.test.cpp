/// \file
/// Processes that share a real file are killed at any moment, again and again: what any of them was told
/// stands, what was under way stands whole or not at all, and the sums are right.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/core/fee.hpp>
#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

#include "engine_story.hpp"
#include "store/scratch.hpp"

namespace calyx::faults {
namespace {

struct Who {
  std::uint64_t round = 0;
  std::size_t worker = 0;
};

/// The wallets of one worker: made by whoever comes first, the same for all.
struct Wallets {
  WalletId payer, host;
};
Result<Wallets> wallets_of(Engine& engine, std::size_t worker) {
  Session session = engine.as_operator();
  const std::string name = std::to_string(worker);
  CALYX_TRY(const WalletCreated payer,
            session.create_wallet({.owner_id = "payer " + name, .idempotency_key = "payer-" + name}));
  CALYX_TRY(const WalletCreated host,
            session.create_wallet({.owner_id = "host " + name, .idempotency_key = "host-" + name}));
  return Wallets{payer.wallet.id, host.wallet.id};
}

/// What the wallets of one worker hold when everything it began is done once.
struct Books {
  std::int64_t payer = 0, host = 0, held = 0;
};

/// Act `i` of a worker: the same for whoever does it, so that another can do it again. Moves `books` on.
Answer act(Engine& engine, const Wallets& of, Who who, std::uint64_t i, Books& books) {
  Session session = engine.as_operator();
  const std::string name =
      std::to_string(who.round) + "." + std::to_string(who.worker) + "." + std::to_string(i);
  Dice dice(who.round * 1'000'000 + who.worker * 1'000 + i);
  const auto amount = static_cast<std::int64_t>(1 + dice.below(50'000'000));
  const auto spend = [&](const std::string& job) {
    Spend asked{.wallet = of.payer, .job_id = job, .amount = Money{amount}};
    asked.host_wallet = of.host;
    return asked;
  };
  const auto earn = [&](const std::string& job, std::int64_t gross) {
    Earn asked{.host = of.host, .job_id = job, .gross_amount = Money{gross}};
    asked.output_hash = story::output_hash();
    asked.gpu_model = "H100";
    return asked;
  };
  const auto net_of = [](std::int64_t gross) { return core::split_fee(Money{gross}, 1500).net.micro; };
  switch (i % 4) {
    case 0: {
      const auto moved = session.topup({.wallet = of.payer, .amount = flops(200), .reference = name});
      if (moved.ok()) books.payer += flops(200).micro;
      return story::answer(moved);
    }
    case 1: {
      const auto moved = session.transfer(
          {.from = of.payer, .to = of.host, .amount = Money{amount}, .idempotency_key = name});
      if (moved.ok()) {
        books.payer -= amount;
        books.host += amount;
      }
      return story::answer(moved);
    }
    case 2: {
      const auto locked = session.spend(spend(name));
      if (locked.ok()) {
        books.payer -= amount;
        books.held += amount;
      }
      return story::answer(locked);
    }
    default: {
      // The lock of the act before ends, and another is locked and settled in the same commit.
      Dice before(who.round * 1'000'000 + who.worker * 1'000 + i - 1);
      const auto locked = static_cast<std::int64_t>(1 + before.below(50'000'000));
      const std::string job =
          std::to_string(who.round) + "." + std::to_string(who.worker) + "." + std::to_string(i - 1);
      const std::int64_t gross =
          static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(locked) + 1));
      const bool settles = dice.below(3) != 0;
      std::vector<Operation> operations;
      if (settles)
        operations.emplace_back(earn(job, gross));
      else
        operations.emplace_back(Release{.wallet = of.payer, .job_id = job});
      operations.emplace_back(spend(name));
      operations.emplace_back(earn(name, amount));
      const auto outcomes = session.bulk(operations);
      if (!outcomes.ok()) return story::refused(outcomes);
      books.held -= locked;
      books.payer += settles ? locked - gross : locked;
      books.host += settles ? net_of(gross) : 0;
      books.payer -= amount;
      books.host += net_of(amount);
      std::string text;
      for (const Outcome& outcome : *outcomes) {
        if (const auto* error = std::get_if<Error>(&outcome))
          return {error->reason, "refused", error->message};
        text += story::text_of(outcome) + ";";
      }
      return {Reason::none, text, {}};
    }
  }
}

void tell(int pipe, const std::string& line) {
  const std::string whole = line + "\n";
  if (::write(pipe, whole.data(), whole.size()) != static_cast<ssize_t>(whole.size())) ::_exit(3);
}

/// What a child does until it is killed: says what it begins, does it, says what it was answered.
int work(const std::string& path, Who who, int pipe) {
  Options options;
  options.path = path;
  options.busy_timeout_ms = 10'000;
  Result<Engine> engine = Engine::open(options);
  if (!engine.ok()) {
    tell(pipe, "failed to open: " + engine.error().message);
    return 1;
  }
  const Result<Wallets> of = wallets_of(*engine, who.worker);
  if (!of.ok()) {
    tell(pipe, "failed to make wallets: " + of.error().message);
    return 1;
  }
  Books books;
  for (std::uint64_t i = 0;; ++i) {
    tell(pipe, "begun " + std::to_string(i));
    const Answer answer = act(*engine, *of, who, i, books);
    if (answer.reason != Reason::none) {
      tell(pipe, "failed at " + std::to_string(i) + ": " + answer.text + ": " + answer.message);
      return 1;
    }
    tell(pipe, "answered " + answer.text);
  }
}

struct Child {
  pid_t process = -1;
  int pipe = -1;
  std::vector<std::string> answers;
  std::uint64_t begun = 0;
  std::string failure;
};

void hear(Child& child) {
  std::string all;
  char bytes[4096];
  for (ssize_t got; (got = ::read(child.pipe, bytes, sizeof bytes)) > 0;)
    all.append(bytes, static_cast<std::size_t>(got));
  ::close(child.pipe);
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("begun "))
      ++child.begun;
    else if (line.starts_with("answered "))
      child.answers.push_back(line.substr(9));
    else
      child.failure = line;
}

struct Tally {
  std::uint64_t kills = 0, births = 0, answered = 0, under_way = 0, stood = 0;
};

/// One market, through `rounds` of killing. Empty when all is well.
std::string kill_again_and_again(const std::string& path, std::size_t workers, std::uint64_t rounds,
                                 Dice& dice, Tally& tally) {
  std::vector<Books> books(workers);
  std::uint64_t pause_us = 15'000;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    std::vector<Child> children(workers);
    for (std::size_t worker = 0; worker < workers; ++worker) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return "no pipe";
      children[worker].pipe = ends[0];
      children[worker].process = store::start_child([&] {
        for (const Child& other : children)
          if (other.pipe >= 0) ::close(other.pipe);
        return work(path, {round, worker}, ends[1]);
      });
      ::close(ends[1]);
    }
    for (Child& child : children) {  // not all at one moment: who is left finds the gate of the dead open
      std::this_thread::sleep_for(
          std::chrono::microseconds(dice.below(round % 4 == 0 ? 4 * pause_us : pause_us)));
      ::kill(child.process, SIGKILL);
      ++tally.kills;
    }
    for (Child& child : children) {
      store::wait_for(child.process);
      hear(child);
      if (!child.failure.empty()) return "round " + std::to_string(round) + ": a process " + child.failure;
    }

    // Where nobody came to say anything (a slow machine, a sanitizer) the next may live longer.
    const bool mute = std::all_of(children.begin(), children.end(),
                                  [](const Child& child) { return child.answers.empty(); });
    if (mute && pause_us < 500'000) pause_us *= 2;

    Options options;
    options.path = path;
    Result<Engine> engine = Engine::open(options);
    if (!engine.ok()) return "it does not open: " + engine.error().message;
    for (std::size_t worker = 0; worker < workers; ++worker) {
      const Child& child = children[worker];
      const auto of = wallets_of(*engine, worker);
      if (!of.ok()) return "no wallets: " + of.error().message;
      for (std::uint64_t i = 0; i < child.begun; ++i) {
        const std::uint64_t commits = engine->stats().commits;
        const Answer again = act(*engine, *of, {round, worker}, i, books[worker]);
        const bool written = engine->stats().commits != commits;
        const std::string at = "round " + std::to_string(round) + ", act " + std::to_string(i) + ": ";
        if (again.reason != Reason::none) return at + again.text + ": " + again.message;
        if (i < child.answers.size()) {
          ++tally.answered;
          if (written) return at + "what was answered had to be written again";
          if (again.text != child.answers[i])
            return at + "was \"" + child.answers[i] + "\", is \"" + again.text + "\"";
        } else {
          ++tally.under_way;
          if (!written) ++tally.stood;
        }
      }
      const auto payer = engine->as_operator().wallet(of->payer),
                 host = engine->as_operator().wallet(of->host);
      if (!payer.ok() || !host.ok()) return "no wallet";
      if (payer->balance.micro != books[worker].payer || payer->held.micro != books[worker].held ||
          host->balance.micro != books[worker].host)
        return "round " + std::to_string(round) + ": wallets hold other sums than were moved";
    }
    if (round % 5 != 0 && round != rounds) continue;
    const auto report = engine->as_operator().audit();
    if (!report.ok()) return "no audit: " + report.error().message;
    if (!report->ok) return "the audit says: " + report->first_fault;
  }
  // With every engine closed a plain connection disturbs nobody's locks.
  sqlite3* raw = nullptr;
  std::string says;
  sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  for (const char* sql : {"PRAGMA integrity_check", "SELECT sum(amount) FROM entries"}) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(raw, sql, -1, &statement, nullptr);
    if (sqlite3_step(statement) == SQLITE_ROW)
      says += std::string(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0))) + " ";
    sqlite3_finalize(statement);
  }
  sqlite3_close_v2(raw);
  return says == "ok 0 " ? std::string() : "the file says: " + says;
}

}  // namespace

TEST_CASE("processes that share a market may be killed at any moment") {
  const auto begun = std::chrono::steady_clock::now();
  Tally tally;
  std::string fault;
  const std::uint64_t seed = 20'261'123;
  Dice dice(seed);
  const std::uint64_t markets = by_scale<std::uint64_t>(2, 8, 400);
  const std::uint64_t rounds = by_scale<std::uint64_t>(4, 10, 40);
  for (std::uint64_t market = 0; market < markets && fault.empty(); ++market) {
    const store::Scratch folder;
    ++tally.births;
    fault = kill_again_and_again(folder / "market.db", market % 2 == 0 ? 2 : 4, rounds, dice, tally);
  }
  CHECK_MESSAGE(fault.empty(), "seed " << seed << ": " << fault);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
  MESSAGE("kills: ", tally.kills, " processes killed in ", markets, " markets, ", tally.answered,
          " answers kept, ", tally.under_way, " acts under way, of which ", tally.stood, " stood, ", ms,
          " ms");
  testing::told("processes killed", tally.kills);
  testing::told("answers kept over kills", tally.answered);
  CHECK(tally.kills >= by_scale<std::uint64_t>(20, 200, 20'000));
  CHECK(tally.answered > 0);
  CHECK(tally.under_way > 0);
}

}  // namespace calyx::faults
