/// \file
/// One story in which every kind of call that moves money is told once, and a checker that knows it by heart.
///
/// Start at `tell_story`: it writes the steps. `Stage` plays them on a disk and remembers what each was
/// answered (`Told`); after any accident `find_fault` opens what is left and compares it with that memory:
/// what was acknowledged stands with the same numbers, what was under way stands whole or not at all, its
/// retry brings about exactly what the undisturbed story has, and a second retry changes nothing.
///
/// Clock and randomness are the story's own, so ids, instants and numbers come out the same every time; only
/// the secrets of API keys that are minted again differ.
///
/// Threads: one.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <calyx/calyx.hpp>
#include <calyx/core/event.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/transfer.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/sha256.hpp"
#include "fault_vfs.hpp"
#include "json/reader.hpp"
#include "testing.hpp"

namespace calyx::faults {

inline constexpr const char* market_file = "/mem/market.db";

using testing::by_scale;
using testing::Dice;
using testing::Scale;
using testing::test_scale;

inline constexpr Money flops(std::int64_t whole, std::int64_t micro = 0) {
  return Money{whole * core::micro_per_flops + micro};
}

/// What the callers of the story hold: ids they were given, and secrets.
struct Memory {
  std::map<std::string, WalletId> wallets;
  std::map<std::string, ApprovalId> approvals;
  std::map<std::string, PayoutId> payouts;
  std::map<std::string, QuoteId> quotes;
  std::map<std::string, KeyId> keys;
  std::map<std::string, std::string> secrets;  ///< By the name of the key.
  std::set<std::string> revoked;               ///< Names of keys.
};

/// What a step was answered. `text` holds every value that must come again.
struct Answer {
  Reason reason = Reason::none;
  std::string text;
  std::string message;  ///< Of an error, for people.
};

struct Step {
  std::string name;
  std::int64_t at_us = 0;
  /// Does the step; asked again after it stands, gives the same answer. Null: the engine is closed in peace
  /// and opened again.
  std::function<Answer(Engine&, Memory&)> act;
  /// Whether it still stands when later steps have gone on from it, where asking again would do something
  /// new.
  std::function<Answer(Engine&, Memory&)> look = {};
};

using Story = std::vector<Step>;

namespace story {

template <class T>
Answer refused(const Result<T>& result) {
  return {result.reason(), std::string(word(result.reason())), result.error().message};
}

inline std::string text_of(Money money) { return core::money_text(money); }

inline std::string text_of(const Moved& of) {
  return of.txn.text() + " moved " + text_of(of.amount) + " leaves " + text_of(of.new_balance);
}
inline std::string text_of(const Spent& of) {
  return of.txn.text() + " locked " + text_of(of.amount_locked) + " for " + of.job_id + " leaves " +
         text_of(of.new_balance);
}
inline std::string text_of(const Earned& of) {
  return of.txn.text() + " gross " + text_of(of.gross_amount) + " fee " + text_of(of.platform_fee) + " net " +
         text_of(of.net_payout) + " leaves " + text_of(of.new_balance) + " receipt " + of.receipt.text();
}
inline std::string text_of(const Released& of) {
  return of.txn.text() + (of.burned ? " burned " : " released ") + of.job_id + " " + text_of(of.amount) +
         " leaves " + text_of(of.new_balance);
}
inline std::string text_of(const Outcome& of) {
  return std::visit(
      [](const auto& one) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, Error>)
          return std::string(word(one.reason));
        else
          return text_of(one);
      },
      of);
}
template <class T>
Answer answer(const Result<T>& result) {
  if (!result.ok()) return refused(result);
  return {Reason::none, text_of(*result), {}};
}

/// The last entry of `wallet` of one kind, which a call that cannot be asked again leaves behind.
inline Answer last_entry(Engine& engine, WalletId wallet, std::string_view kind) {
  const auto listed = engine.as_operator().entries(wallet, {.after = {}, .limit = 1000});
  if (!listed.ok()) return refused(listed);
  std::string text;
  for (const EntryView& entry : listed->items)
    if (entry.kind == kind) text = entry.txn.text() + " " + text_of(entry.amount);
  return {Reason::none, text, {}};
}

inline Answer approval_stands(Engine& engine, const Memory& memory, const std::string& name,
                              const std::string& wallet, const std::string& text,
                              const std::set<ApprovalStatus>& as) {
  const auto listed = engine.as_operator().approvals(memory.wallets.at(wallet), {.after = {}, .limit = 1000});
  if (!listed.ok()) return refused(listed);
  for (const Approval& approval : listed->items)
    if (approval.id == memory.approvals.at(name) && as.contains(approval.status))
      return {Reason::none, text, {}};
  return {Reason::approval_unknown, "the approval is not there", {}};
}

inline core::Digest output_hash() {
  core::Digest digest;
  digest.bytes.fill(0xA5);
  return digest;
}

}  // namespace story

/// Settles whatever it is asked to. It remembers nothing, so it says the same before and after any accident.
class AlwaysSettles final : public SettlementBackend {
 public:
  SettlementAnswer verify(const VerifiedPayment&) override { return {.outcome = SettlementOutcome::valid}; }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment&) override {
    return {.outcome = SettlementOutcome::settled, .transaction = "moved-by-" + std::string(key)};
  }
  SettlementAnswer status(std::string_view) override { return {.outcome = SettlementOutcome::unknown}; }
};

inline constexpr std::int64_t story_begins_us = 1'790'000'000'000'000;

/// The story. Two of different `prefix` can be told on one market, the later one with a later beginning.
inline Story tell_story(const std::string& prefix = "a", std::int64_t begins_us = story_begins_us) {
  using namespace story;
  Story steps;
  std::int64_t now_us = begins_us;
  const auto step = [&](std::string name, std::function<Answer(Engine&, Memory&)> act,
                        std::function<Answer(Engine&, Memory&)> look = {}) {
    now_us += 7'000'001;
    steps.push_back({prefix + ": " + std::move(name), now_us, std::move(act), std::move(look)});
  };
  const auto key = [prefix](const char* name) { return prefix + "-" + name; };

  const auto create = [&](const char* name, OwnerType type, const char* parent, Policy policy) {
    step(std::string("a wallet for ") + name, [=](Engine& engine, Memory& memory) -> Answer {
      WalletCreate asked{.owner_type = type,
                         .owner_id = key(name),
                         .policy = policy,
                         .idempotency_key = key((std::string("wallet-") + name).c_str())};
      if (parent != nullptr) asked.parent = memory.wallets.at(parent);
      const auto created = engine.as_operator().create_wallet(asked);
      if (!created.ok()) return refused(created);
      memory.wallets[name] = created->wallet.id;
      memory.keys[name] = created->key;
      // A key that was minted and then lost with its answer is one that nobody holds.
      if (!created->replayed) memory.secrets[name] = created->api_key;
      return {Reason::none,
              created->wallet.id.text() + " " + created->key.text() + " " + created->wallet.owner_id,
              {}};
    });
  };
  const auto topup = [&](const char* wallet, Money amount, const char* reference, const char* once) {
    step(std::string("a top-up of ") + wallet, [=](Engine& engine, Memory& memory) {
      return answer(engine.as_operator().topup({.wallet = memory.wallets.at(wallet),
                                                .amount = amount,
                                                .reference = *reference ? key(reference) : std::string(),
                                                .idempotency_key = *once ? key(once) : std::string()}));
    });
  };
  struct SpendTerms {
    const char* wallet;
    const char* job;
    Money amount;
    const char* host = nullptr;
    std::optional<std::int64_t> expires_in_s = {};
  };
  const auto spend_call = [=](SpendTerms terms) {
    return [=](Engine& engine, Memory& memory) {
      Spend asked{
          .wallet = memory.wallets.at(terms.wallet), .job_id = key(terms.job), .amount = terms.amount};
      asked.gpu_type = "H100";
      if (terms.host != nullptr) asked.host_wallet = memory.wallets.at(terms.host);
      asked.expires_in_s = terms.expires_in_s;
      return engine.as_operator().spend(asked);
    };
  };
  const auto spend = [&](const char* name, SpendTerms terms) {
    step(name, [=](Engine& engine, Memory& memory) { return answer(spend_call(terms)(engine, memory)); });
  };
  const auto earn = [&](const char* name, const char* host, const char* job, Money gross) {
    step(name, [=](Engine& engine, Memory& memory) {
      Earn asked{.host = memory.wallets.at(host), .job_id = key(job), .gross_amount = gross};
      asked.output_hash = output_hash();
      asked.gpu_model = "H100";
      asked.duration_seconds = 12;
      return answer(engine.as_operator().earn(asked));
    });
  };
  const auto release = [&](const char* name, const char* wallet, const char* job) {
    step(name, [=](Engine& engine, Memory& memory) {
      return answer(engine.as_operator().release({.wallet = memory.wallets.at(wallet), .job_id = key(job)}));
    });
  };

  create("human", OwnerType::human, nullptr, {});
  create("host", OwnerType::human, nullptr, {});
  create(
      "agent", OwnerType::agent, "human",
      {.spend_cap_per_job = flops(500), .spend_cap_per_hour = flops(900), .approval_threshold = flops(100)});
  topup("human", flops(1000), "charge-1", "");
  topup("agent", flops(700, 1), "charge-2", "topup-agent");
  step("a transfer", [=](Engine& engine, Memory& memory) {
    return answer(engine.as_operator().transfer({.from = memory.wallets.at("human"),
                                                 .to = memory.wallets.at("agent"),
                                                 .amount = flops(50, 250'000),
                                                 .reference = "rent",
                                                 .idempotency_key = key("transfer")}));
  });
  spend("a spend with a host", {"agent", "job-1", flops(80), "host"});
  earn("a settlement in part", "host", "job-1", flops(33, 333'330));
  spend("a spend for a refund", {"agent", "job-2", flops(40), "host"});
  earn("a settlement of nothing", "host", "job-2", flops(0));
  spend("a spend of little", {"agent", "job-3", flops(0, 3), "host"});
  earn("a settlement in full", "host", "job-3", flops(0, 3));
  spend("a spend to be released", {"agent", "job-4", flops(20)});
  release("a release", "agent", "job-4");
  release("a burn", "agent", "job-never");
  spend("a spend that expires", {"agent", "job-5", flops(30), "host", 60});
  step("the engine is closed and opened", nullptr);
  now_us += 2 * core::us_per_hour;
  spend("a spend that sweeps what expired", {"agent", "job-6", flops(10), "host", 30 * 86'400});

  const SpendTerms large{"agent", "job-7", flops(150), "host"};
  step(
      "a spend that asks for approval",
      [=](Engine& engine, Memory& memory) -> Answer {
        const auto spent = spend_call(large)(engine, memory);
        if (spent.reason() != Reason::approval_required)
          return spent.ok() ? Answer{Reason::none, "passed without approval", {}} : refused(spent);
        const core::json::Value* id = spent.error().details.find("approval_id");
        const auto read =
            id == nullptr || id->string() == nullptr ? std::nullopt : ApprovalId::read(*id->string());
        if (!read) return {Reason::internal, "no approval is named", {}};
        memory.approvals["large"] = *read;
        return {Reason::none, "asked " + read->text(), {}};
      },
      [=](Engine& engine, Memory& memory) {
        return approval_stands(engine, memory, "large", "agent",
                               "asked " + memory.approvals.at("large").text(),
                               {ApprovalStatus::pending, ApprovalStatus::approved, ApprovalStatus::used});
      });
  const auto is_approved = [=](Engine& engine, Memory& memory) {
    return approval_stands(engine, memory, "large", "agent",
                           "approved " + memory.approvals.at("large").text(),
                           {ApprovalStatus::approved, ApprovalStatus::used});
  };
  step(
      "an approval",
      [=](Engine& engine, Memory& memory) -> Answer {
        const auto decided = engine.as_operator().approve(memory.approvals.at("large"));
        if (!decided.ok()) return refused(decided);
        return {Reason::none, "approved " + decided->id.text(), {}};
      },
      is_approved);
  spend("a spend that uses the approval", large);

  const auto payout = [&](const char* name, const char* wallet, Money amount) {
    step(std::string("a payout to be ") + name, [=](Engine& engine, Memory& memory) -> Answer {
      const auto asked = engine.as_operator().request_payout({.wallet = memory.wallets.at(wallet),
                                                              .amount = amount,
                                                              .destination = "bank",
                                                              .idempotency_key = key(name)});
      if (!asked.ok()) return refused(asked);
      memory.payouts[name] = asked->id;
      return {Reason::none,
              asked->id.text() + " " + asked->txn.text() + " pays " + text_of(asked->amount) + " leaves " +
                  text_of(asked->new_balance),
              {}};
    });
    const bool good = std::string_view(name) == "confirmed";
    step(std::string("a payout is ") + name, [=](Engine& engine, Memory& memory) -> Answer {
      Session session = engine.as_operator();
      const PayoutId id = memory.payouts.at(name);
      const auto ended = good ? session.confirm_payout(id) : session.fail_payout(id);
      if (!ended.ok()) return refused(ended);
      return {Reason::none, ended->id.text() + " is " + std::string(word(ended->status)), {}};
    });
  };
  payout("confirmed", "human", flops(25));
  payout("failed", "host", flops(5));
  step("a grant", [=](Engine& engine, Memory& memory) -> Answer {
    const auto granted = engine.as_operator().grant(memory.wallets.at("human"));
    if (granted.ok())
      return {Reason::none, granted->moved.txn.text() + " " + text_of(granted->moved.amount), {}};
    // Taken before means that it stands; its entry says the rest.
    return granted.reason() == Reason::grant_taken ? last_entry(engine, memory.wallets.at("human"), "grant")
                                                   : refused(granted);
  });
  step("a bulk", [=](Engine& engine, Memory& memory) -> Answer {
    const WalletId human = memory.wallets.at("human"), agent = memory.wallets.at("agent"),
                   host = memory.wallets.at("host");
    Spend lock{.wallet = agent, .job_id = key("job-8"), .amount = flops(5)};
    lock.host_wallet = host;
    lock.gpu_type = "H100";
    Earn settle{.host = host, .job_id = key("job-8"), .gross_amount = flops(4, 999'999)};
    settle.output_hash = output_hash();
    settle.gpu_model = "H100";
    const std::vector<Operation> operations = {
        TopUp{.wallet = host, .amount = flops(1), .reference = key("charge-3")},
        WalletTransfer{
            .from = human, .to = agent, .amount = flops(2), .idempotency_key = key("bulk-transfer")},
        lock,
        settle,
        Release{.wallet = agent, .job_id = key("job-unknown")},
        WalletTransfer{.from = agent, .to = host, .amount = flops(90'000'000)},
    };
    const auto outcomes = engine.as_operator().bulk(operations);
    if (!outcomes.ok()) return refused(outcomes);
    std::string text;
    for (const Outcome& outcome : *outcomes) text += text_of(outcome) + ";";
    return {Reason::none, text, {}};
  });
  step("a key is issued", [=](Engine& engine, Memory& memory) -> Answer {
    const auto issued = engine.as_operator().issue_key(memory.wallets.at("agent"), "spare", key("issue"));
    if (!issued.ok()) return refused(issued);
    memory.keys["spare"] = issued->key.id;
    if (!issued->replayed) memory.secrets["spare"] = issued->api_key;
    return {Reason::none, issued->key.id.text() + " issued", {}};
  });
  step("a key is exchanged", [=](Engine& engine, Memory& memory) -> Answer {
    const auto issued = engine.as_operator().rotate_key(memory.keys.at("spare"), key("rotate"));
    if (!issued.ok()) return refused(issued);
    memory.revoked.insert("spare");
    memory.keys["fresh"] = issued->key.id;
    if (!issued->replayed) memory.secrets["fresh"] = issued->api_key;
    return {Reason::none, issued->key.id.text() + " in exchange", {}};
  });
  step("a key is revoked", [=](Engine& engine, Memory& memory) -> Answer {
    const auto revoked = engine.as_operator().revoke_key(memory.keys.at("fresh"));
    if (!revoked.ok()) return refused(revoked);
    memory.revoked.insert("fresh");
    return {Reason::none, revoked->id.text() + " revoked " + std::to_string(revoked->revoked_at->us), {}};
  });
  step("a quote", [=](Engine& engine, Memory& memory) -> Answer {
    const auto quote = engine.as_operator().quote_topup(
        {.wallet = memory.wallets.at("human"), .amount = flops(11), .idempotency_key = key("quote")});
    if (!quote.ok()) return refused(quote);
    memory.quotes["paid"] = quote->id;
    return {Reason::none, quote->id.text() + " asks " + text_of(quote->amount), {}};
  });
  // Three commits: what a cut leaves between them, the same payment takes up again.
  step("a payment", [=](Engine& engine, Memory& memory) -> Answer {
    const auto paid =
        engine.as_operator().present_payment(memory.quotes.at("paid"), {.network = "eip155:8453",
                                                                        .asset = "usdc",
                                                                        .payer = "0xpayer",
                                                                        .pay_to = "0xours",
                                                                        .nonce = key("nonce"),
                                                                        .amount = "110000",
                                                                        .credit = flops(11)});
    if (!paid.ok()) return refused(paid);
    if (!paid->txn) return {Reason::internal, paid->id.text() + " is " + std::string(word(paid->status)), {}};
    return {Reason::none, paid->id.text() + " " + paid->txn->text() + " " + paid->transaction, {}};
  });
  step("a wallet is frozen", [=](Engine& engine, Memory& memory) -> Answer {
    WalletChange change;
    change.status = WalletStatus::frozen;
    const auto changed = engine.as_operator().change_wallet(memory.wallets.at("host"), change);
    if (!changed.ok()) return refused(changed);
    return {Reason::none, changed->id.text() + " " + std::string(word(changed->status)), {}};
  });
  return steps;
}

/// The instant at which `story` is over.
inline std::int64_t end_of(const Story& story) { return story.back().at_us + core::us_per_second; }

// ── the stage ──

struct Setting {
  bool synchronous_normal = false;
  std::string sidecars = {};
  std::uint64_t busy_timeout_ms = 200;
};

/// A disk, a clock, and at most one engine over them.
class Stage {
 public:
  explicit Stage(Disk& disk, Setting setting = {}) : disk_(disk), setting_(std::move(setting)) {}

  /// Opens the engine. `life` tells apart what different processes draw at random; the keys of the market
  /// are the same in every life.
  Result<Done> open(unsigned life) {
    Result<Engine> opened = Engine::open(options(life));
    if (!opened.ok()) return std::move(opened).error();
    engine_.emplace(*std::move(opened));
    return Done{};
  }
  void close() { engine_.reset(); }
  bool is_open() const { return engine_.has_value(); }
  Engine& engine() { return *engine_; }
  Disk& disk() { return disk_; }
  void set_clock(std::int64_t us) { *now_us_ = us; }

  Options options(unsigned life) const {
    Options options;
    options.path = market_file;
    options.vfs = disk_.vfs_name();
    options.sidecars = setting_.sidecars;
    options.busy_timeout_ms = setting_.busy_timeout_ms;
    options.synchronous_normal = setting_.synchronous_normal;
    options.settlement = std::make_shared<AlwaysSettles>();
    options.now_us = [now = now_us_] { return *now; };
    options.random = [draws = std::make_shared<std::uint64_t>(0), life](void* out, std::size_t size) {
      constexpr std::uint64_t keys = 2;  // the market's own, which every life must draw alike
      const std::uint64_t draw = (*draws)++;
      Dice dice(draw < keys ? draw + 1 : (std::uint64_t{life} + 1) * 1'000'003 + draw);
      for (std::size_t i = 0; i < size; ++i)
        static_cast<unsigned char*>(out)[i] = static_cast<unsigned char>(dice.next());
      return true;
    };
    return options;
  }

 private:
  Disk& disk_;
  Setting setting_;
  std::shared_ptr<std::int64_t> now_us_ = std::make_shared<std::int64_t>(story_begins_us);
  std::optional<Engine> engine_;
};

/// What every wallet holds, as the engine says it: equal before and after what must change nothing.
inline std::string standing(Engine& engine) {
  std::string text;
  const auto listed = engine.as_operator().wallets({.after = {}, .limit = 1000});
  if (!listed.ok()) return "no wallets: " + listed.error().message;
  for (const Wallet& wallet : listed->items)
    text += wallet.id.text() + " " + std::string(word(wallet.status)) + " " +
            core::money_text(wallet.balance) + " held " + core::money_text(wallet.held) + " in " +
            std::to_string(wallet.txn_count) + "\n";
  return text;
}

/// A step that was played undisturbed, and all that was known right after it.
struct Told {
  Answer answer;
  std::string standing;
  std::int64_t seq = 0;      ///< Of the last event.
  std::uint64_t events = 0;  ///< Of the disk's trace when the answer came.
  Image image;               ///< What a process that dies now leaves.
  Memory memory;
};

/// The file's number of events, by a connection of its own.
std::int64_t last_seq(const Disk& disk);

/// Plays `story` from an engine that is not open: `told[0]` is the opening, `told[i + 1]` step i. The engine
/// is left open. Throws `Failure` where a step is not answered well: an undisturbed story goes well.
inline std::vector<Told> play(Stage& stage, const Story& story, unsigned life, Memory memory = {}) {
  std::vector<Told> told;
  const auto note = [&](Answer answer) {
    Told one;
    one.events = stage.disk().events();
    one.answer = std::move(answer);
    one.standing = standing(stage.engine());
    one.seq = last_seq(stage.disk());
    one.memory = memory;
    one.image = stage.disk().snapshot();
    told.push_back(std::move(one));
  };
  const auto open = [&] {
    if (Result<Done> opened = stage.open(life++); !opened.ok()) throw Failure(std::move(opened).error());
  };
  open();
  note({});
  for (const Step& step : story) {
    stage.set_clock(step.at_us);
    Answer answer;
    if (step.act) {
      answer = step.act(stage.engine(), memory);
    } else {
      stage.close();
      open();
    }
    if (answer.reason != Reason::none)
      throw Failure(fail(answer.reason, step.name + ": " + answer.text + ": " + answer.message));
    note(std::move(answer));
  }
  return told;
}

// ── the checker ──

/// A plain connection to the market's file, past the engine.
class Raw {
 public:
  explicit Raw(const Disk& disk) {
    sqlite3_open_v2(market_file, &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, disk.vfs_name());
    // Closing the last connection would otherwise tidy the log away, which is not the checker's to do.
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_wal_autocheckpoint(db_, 0);
  }
  ~Raw() { sqlite3_close_v2(db_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  /// Runs `sql` and gives every row, its columns as texts.
  bool rows(const std::string& sql, const std::function<void(const std::vector<std::string>&)>& each) {
    sqlite3_stmt* statement = nullptr;
    int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
      std::vector<std::string> columns;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const void* bytes = sqlite3_column_blob(statement, i);
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
        columns.emplace_back(bytes == nullptr ? "" : static_cast<const char*>(bytes), size);
      }
      each(columns);
      code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE;
  }
  /// The one value that `sql` gives, or the error in words.
  std::string one(const std::string& sql) {
    std::string value = "nothing";
    if (!rows(sql, [&](const std::vector<std::string>& row) { value = row.empty() ? "" : row[0]; }))
      return std::string("error: ") + sqlite3_errmsg(db_);
    return value;
  }
  bool run(const std::string& sql) {
    return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  sqlite3* handle() { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

inline std::int64_t last_seq(const Disk& disk) {
  Raw raw(disk);
  return std::strtoll(raw.one("SELECT coalesce(max(seq), 0) FROM events").c_str(), nullptr, 10);
}

/// The schema as this build makes it, by which a file with a rule missing is told.
inline std::string schema_of(Raw& raw) {
  std::string text;
  raw.rows("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name", [&](const auto& row) {
    for (const std::string& column : row) text += column + "|";
  });
  return text;
}
inline const std::string& usual_schema() {
  static const std::string text = [] {
    Disk disk;
    Stage stage(disk);
    if (Result<Done> opened = stage.open(0); !opened.ok()) throw Failure(std::move(opened).error());
    Raw raw(disk);
    return schema_of(raw);
  }();
  return text;
}

enum class Depth : std::uint8_t {
  rules,
  pages
};  ///< `pages`: SQLite's integrity_check as well, which is slow.

/// The first rule that the tables break, told from the rows alone and with arithmetic of its own; empty when
/// none is broken.
inline std::string find_broken_rule(const Disk& disk, Depth depth) {
  Raw raw(disk);
  if (depth == Depth::pages)
    if (const std::string whole = raw.one("PRAGMA integrity_check"); whole != "ok") return "pages: " + whole;
  if (schema_of(raw) != usual_schema()) return "the schema is not the usual one";
  struct Rule {
    const char* says;
    const char* sql;
    const char* gives;
  };
  const Rule rules[] = {
      {"the books sum to zero", "SELECT coalesce(sum(amount), 0) FROM ledger", "0"},
      {"every transfer sums to zero",
       "SELECT count(*) FROM (SELECT seq FROM ledger GROUP BY seq HAVING sum(amount) <> 0)", "0"},
      {"nobody is below zero",
       "SELECT count(*) FROM (SELECT account FROM ledger WHERE account <> 1 GROUP BY account HAVING "
       "sum(amount) < "
       "0)",
       "0"},
      {"events are numbered without a gap", "SELECT count(*) = coalesce(max(seq), 0) FROM events", "1"},
      {"a lock ends once", "SELECT count(*) - count(DISTINCT lock) FROM resolutions", "0"},
      {"every end of a lock is one event",
       "SELECT (SELECT count(*) FROM resolutions) - (SELECT count(*) FROM events WHERE kind IN (2, 3, 4))",
       "0"},
      {"every lock has one event",
       "SELECT (SELECT count(*) FROM locks) - (SELECT count(*) FROM events WHERE kind IN (1, 5))", "0"},
      {"every settlement has one receipt",
       "SELECT (SELECT count(*) FROM receipts) - (SELECT count(*) FROM events WHERE kind = 2)", "0"},
      {"a key of a caller stands once",
       "SELECT count(*) - count(DISTINCT scope || ' ' || kind || ' ' || key) FROM "
       "requests",
       "0"},
  };
  for (const Rule& rule : rules)
    if (const std::string gives = raw.one(rule.sql); gives != rule.gives)
      return std::string(rule.says) + ": " + gives;

  // The chain, and the arithmetic of every settlement, from the events' own text.
  std::string fault;
  std::map<std::string, Money> locked;  // by the number of the lock
  std::string scratch;
  core::Digest head;
  std::int32_t basis_points = 0;
  const bool read =
      raw.rows("SELECT seq, at_us, kind, fields, hash FROM events ORDER BY seq", [&](const auto& row) {
        if (!fault.empty()) return;
        const auto fields = read_json(row[3]);
        if (!fields.ok()) {
          fault = "event " + row[0] + " cannot be read";
          return;
        }
        const auto text = [&](const char* name) -> std::string {
          const core::json::Value* value = fields->find(name);
          return value == nullptr || value->string() == nullptr ? std::string() : *value->string();
        };
        const auto whole = [&](const char* name) -> std::int64_t {
          const core::json::Value* value = fields->find(name);
          return value == nullptr || value->integer() == nullptr ? 0 : *value->integer();
        };
        const auto kind = static_cast<core::EventKind>(std::atoi(row[2].c_str()));
        if (kind == core::EventKind::market_created) {
          head = crypto::Sha256{}(text("market"));
          basis_points = static_cast<std::int32_t>(whole("fee_basis_points"));
        }
        head = core::event_hash(crypto::Sha256{},
                                {.seq = std::atoll(row[0].c_str()),
                                 .at = Instant{std::atoll(row[1].c_str())},
                                 .kind = kind,
                                 .prev = head},
                                row[3], scratch);
        if (std::string_view(row[4]) != core::chars(head.bytes)) {
          fault = "the chain breaks at event " + row[0];
          return;
        }
        if (kind == core::EventKind::spend) locked[row[0]] = core::read_money(text("amount")).money;
        if (kind != core::EventKind::earn) return;
        const auto lock = locked.find(std::to_string(whole("lock")));
        if (lock == locked.end()) {
          fault = "event " + row[0] + " settles what was not locked, or twice";
          return;
        }
        const std::int64_t gross = core::read_money(text("gross")).money.micro;
        // Half-even, written once more and otherwise than in the engine.
        const std::int64_t parts = gross % 10'000 * basis_points;
        const std::int64_t base = gross / 10'000 * basis_points + parts / 10'000;
        const std::int64_t rest = parts % 10'000;
        const std::int64_t fee = base + (rest > 5'000 || (rest == 5'000 && base % 2 == 1) ? 1 : 0);
        const auto entry = [&](const std::string& account) {
          return std::atoll(raw.one("SELECT coalesce(sum(amount), 0) FROM ledger WHERE seq = " + row[0] +
                                    " AND account = " + account)
                                .c_str());
        };
        const std::string host = std::to_string(whole("host"));
        const std::string escrow = std::to_string(core::escrow_first + whole("lock"));
        if (core::read_money(text("fee")).money.micro != fee ||
            core::read_money(text("net")).money.micro != gross - fee)
          fault = "event " + row[0] + " says another fee than the terms";
        else if (entry("2") != fee)
          fault = "event " + row[0] + " moves another fee than " + std::to_string(fee);
        else if (entry(escrow) != -lock->second.micro)
          fault = "event " + row[0] + " does not empty its escrow";
        else if (entry(host) != gross - fee)
          fault = "event " + row[0] + " pays the host something else";
        locked.erase(lock);
      });
  if (fault.empty() && !read) fault = "the events cannot be read";
  return fault;
}

/// Whether the secrets in `before` open sessions exactly as they should; empty when they do. What the step
/// under way revokes (`after`) may be good or not.
inline std::string find_bad_key(Engine& engine, const Memory& before, const Memory& after) {
  for (const auto& [name, secret] : before.secrets) {
    const auto session = engine.session(secret);
    const bool revoked = before.revoked.contains(name);
    if (!revoked && after.revoked.contains(name)) continue;
    if (session.ok() == revoked) return "the key of " + name + (revoked ? " is still good" : " is refused");
    if (session.ok() && session->principal().key != before.keys.at(name))
      return "the key of " + name + " is another's";
  }
  return {};
}

struct Look {
  std::size_t acknowledged = 0;  ///< Of `told`: how many had been answered when the accident came.
  Depth depth = Depth::rules;
  unsigned life = 1;
  const Memory* held = nullptr;  ///< What callers hold, where other secrets were minted than in `told`.
  /// What the accident let through: what was under way when it came may stand, or (`not_done`) was denied.
  bool may_stand = true;
};

/// What is wrong with the market on `stage`'s disk after an accident; empty when nothing is. The engine is
/// not open before, and not after.
inline std::string find_fault(Stage& stage, const Story& story, const std::vector<Told>& told, Look look) {
  const std::size_t acknowledged = look.acknowledged;
  const Step* const under_way =
      acknowledged >= 1 && acknowledged <= story.size() ? &story[acknowledged - 1] : nullptr;
  stage.set_clock(under_way != nullptr ? under_way->at_us
                  : acknowledged == 0  ? story.front().at_us
                                       : end_of(story));
  if (Result<Done> opened = stage.open(look.life); !opened.ok())
    return "it does not open: " + std::string(word(opened.reason())) + ": " + opened.error().message;
  const auto fault = [&]() -> std::string {
    Engine& engine = stage.engine();
    if (acknowledged == 0) return standing(engine).empty() ? std::string() : "a new market has wallets";
    const Told& before = told[acknowledged - 1];
    const std::string stands = standing(engine);
    const bool done = look.may_stand && acknowledged < told.size() && stands == told[acknowledged].standing;
    if (!done && stands != before.standing)
      return "wallets stand as neither before nor after:\n" + stands + "before:\n" + before.standing +
             (acknowledged < told.size() ? "after:\n" + told[acknowledged].standing : std::string());

    Memory memory = before.memory;
    for (std::size_t i = 1; i < acknowledged; ++i) {
      const Step& step = story[i - 1];
      if (!step.act) continue;
      const Answer again = step.look ? step.look(engine, memory) : step.act(engine, memory);
      if (again.reason != Reason::none || again.text != told[i].answer.text)
        return step.name + ": was \"" + told[i].answer.text + "\", is \"" + again.text + "\" " +
               again.message;
    }
    if (const std::string bad = find_bad_key(engine, look.held != nullptr ? *look.held : before.memory,
                                             told[std::min(acknowledged, told.size() - 1)].memory);
        !bad.empty())
      return bad;
    if (standing(engine) != stands) return "asking again has changed what stands";

    const Told* expected = &before;
    if (under_way != nullptr && under_way->act) {
      expected = &told[acknowledged];
      for (const char* time : {"first", "second"}) {
        const Answer retried = under_way->act(engine, memory);
        if (retried.reason != Reason::none || retried.text != expected->answer.text)
          return under_way->name + ": the " + time + " retry gives \"" + retried.text + "\" " +
                 retried.message + ", undisturbed \"" + expected->answer.text + "\"";
        if (const std::string after = standing(engine); after != expected->standing)
          return under_way->name + ": after the " + time + " retry wallets stand otherwise:\n" + after +
                 "not:\n" + expected->standing;
      }
    }
    const auto report = engine.as_operator().audit({}, AuditDepth::each);
    if (!report.ok()) return "no audit: " + report.error().message;
    if (!report->ok) return "the audit says: " + report->first_fault;
    if (report->seq != expected->seq)
      return "the log has " + std::to_string(report->seq) + " events, undisturbed " +
             std::to_string(expected->seq);
    return find_broken_rule(stage.disk(), look.depth);
  }();
  stage.close();
  return fault;
}

// ── power cuts ──

/// A story as it was told undisturbed, and what the disk was asked meanwhile.
struct Played {
  Story story;
  std::vector<Told> told;
  Trace trace;
};

/// The story of `tell_story` on a disk that never fails, whose images the cases of a test start from.
inline const Played& undisturbed() {
  static const Played played = [] {
    Played made;
    made.story = tell_story();
    Disk disk;
    Stage stage(disk);
    made.told = play(stage, made.story, 20);
    return made;
  }();
  return played;
}

struct Cuts {
  std::uint64_t cuts = 0;
  std::uint64_t distinct = 0;  ///< Images recovered, each another than those seen since the last answer.
  std::uint64_t bad = 0;
  std::string fault;             ///< The first, and where.
  std::size_t acknowledged = 0;  ///< At the last cut: all of `told`.
};

/// Cuts the power before the first event and after every one, and looks at what each of `damages` leaves.
/// Stops looking after `bad_max` faults. Of the images, each `every`th is recovered.
inline Cuts cut_everywhere(const Played& played, const std::vector<Damage>& damages, Syncs syncs,
                           DiskOptions medium = {}, std::uint64_t bad_max = 1, std::uint64_t every = 1) {
  Cuts out;
  Disk left(medium);
  Stage stage(left);
  std::vector<Image> seen;  // since the last answer: what came out the same was looked at already
  std::uint64_t images = 0;
  for_each_cut(played.trace, damages, syncs, [&](const Cut& cut) {
    ++out.cuts;
    const std::size_t before = out.acknowledged;
    while (out.acknowledged < played.told.size() && played.told[out.acknowledged].events <= cut.events)
      ++out.acknowledged;
    if (out.bad >= bad_max) return;
    if (out.acknowledged != before) seen.clear();
    for (const Image& image : seen)
      if (image.same_as(cut.left)) return;
    seen.push_back(cut.left);
    // By the cut too, else the same kinds of damage would be passed over at each.
    if ((images++ + cut.events) % every != 0) return;
    ++out.distinct;
    left.restore(cut.left);
    // integrity_check reads every page, so it takes turns.
    const Depth depth = out.distinct % 8 == 0 ? Depth::pages : Depth::rules;
    const std::string fault = find_fault(stage, played.story, played.told,
                                         {.acknowledged = out.acknowledged, .depth = depth, .life = 30});
    if (fault.empty()) return;
    if (out.bad++ == 0)
      out.fault = "cut after event " + std::to_string(cut.events) + " of " +
                  std::to_string(played.trace.events.size()) + ", " + name_of(cut.damage.kind) + " " +
                  std::to_string(cut.damage.seed) + ", " + std::to_string(out.acknowledged) +
                  " answered: " + fault;
  });
  return out;
}

}  // namespace calyx::faults
