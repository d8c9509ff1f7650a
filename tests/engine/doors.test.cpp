#include "engine/doors.hpp"

#include <doctest/doctest.h>
#include <sodium.h>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/market.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::in_child;
using store::Scratch;
using testing::Door;
using testing::doors;

namespace {

/// The first door of `engine` that answers anything but `expected`, and what it answers; empty when all do.
std::string first_door_open(Engine& engine, Session& session, const std::string& key, Reason expected) {
  for (const Door& door : doors()) {
    const std::string said = door.ask(engine, session, key);
    if (said != (door.tells ? word(expected) : std::string_view())) return door.name + (": " + said);
  }
  return {};
}

/// Writes a line where a parent finds it.
struct Line {
  char text[256] = {};
  void say(const std::string& what) { std::strncpy(text, what.c_str(), sizeof text - 1); }
};

struct Keys {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> open{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  Keys() { crypto_sign_keypair(open.data(), secret.data()); }
};

}  // namespace

TEST_CASE("in a forked child every door of its parent's engine says `forked`") {
  struct Row {
    const char* says;
    std::function<void(Options&)> change;
  };
  const Keys keys;
  const Scratch scratch;
  { CHECK(Engine::open({.path = scratch / "reader.db"}).ok()); }
  const Row rows[] = {
      {"of a market in a file", [&](Options& of) { of.path = scratch / "m.db"; }},
      {"of a market in memory", [](Options&) {}},
      {"of a reader",
       [&](Options& of) {
         of.path = scratch / "reader.db";
         of.read_only = true;
       }},
      {"of a market whose host signs",
       [&](Options& of) {
         of.path = scratch / "signed.db";
         of.sign = [](std::string_view, std::string_view, std::uint8_t*) { return false; };
         of.sign_public_key = keys.open;
       }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Options options;
    row.change(options);
    const bool writes = !options.read_only;
    Engine engine = Engine::open(options).value();
    Session all = engine.as_operator();
    const std::string key = writes ? engine.issue_operator_key("x").value().api_key : "x";
    const store::Shared<Line> found;
    CHECK(in_child([&] {
            found->say(first_door_open(engine, all, key, Reason::forked));
            return 0;
          }) == 0);
    CHECK(std::string(found->text) == "");
    // The parent has noticed nothing.
    CHECK(all.wallets().ok());
    if (writes) CHECK(all.create_wallet({.owner_id = "alice"}).ok());
  }
}

TEST_CASE("so does the market that is behind them") {
  const std::unique_ptr<Market> market = Market::open({}).value();
  CHECK(in_child([&] {
          const auto wrote =
              market->write([](services::Transaction&) -> Result<Done> { return Done{}; }).reason();
          const auto read =
              market->read([](const services::Book&, Instant) -> Result<Done> { return Done{}; }).reason();
          const auto history =
              market->history([](store::MarketStore&) -> Result<Done> { return Done{}; }).reason();
          if (wrote != Reason::forked || read != Reason::forked || history != Reason::forked) return 1;
          if (market->backup("/nowhere/copy.db").reason() != Reason::forked) return 2;
          if (market->rotate_signing_key().reason() != Reason::forked) return 3;
          if (market->checkpoint_note({}).reason() != Reason::forked) return 4;
          return 0;
        }) == 0);
}

TEST_CASE("inside a callback every door of the engine that made it says so, and nobody waits for ever") {
  enum class Made : std::uint8_t { now_us, random, sign };
  for (const bool in_file : {false, true}) {
    const Scratch scratch;
    const Keys keys;
    std::optional<Engine> engine, other;
    std::optional<Session> all, others;
    std::string key, open_door;
    std::optional<Made> watched;  // the callback that is to try the doors
    int tried = 0;
    bool other_answers = true;
    const auto inside = [&](Made made) {
      if (watched != made) return;
      watched.reset();
      ++tried;
      open_door = first_door_open(*engine, *all, key, Reason::handle_invalid);
      // Another engine is another matter.
      other_answers = others->wallets().ok() && others->create_wallet({.owner_id = "theirs"}).ok();
    };
    std::int64_t now_us = 1'790'000'000'000'000;
    Options options;
    if (in_file) options.path = scratch / "m.db";
    options.now_us = [&] {
      inside(Made::now_us);
      return ++now_us;
    };
    options.random = [&](void* out, std::size_t size) {
      inside(Made::random);
      randombytes_buf(out, size);
      return true;
    };
    options.sign = [&](std::string_view, std::string_view message, std::uint8_t* out) {
      inside(Made::sign);
      return crypto_sign_detached(out, nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                                  message.size(), keys.secret.data()) == 0;
    };
    options.sign_public_key = keys.open;
    other.emplace(Engine::open({}).value());
    others.emplace(other->as_operator());
    engine.emplace(Engine::open(options).value());
    all.emplace(engine->as_operator());
    key = engine->issue_operator_key("x").value().api_key;
    const WalletId wallet = all->create_wallet({.owner_id = "alice"}).value().wallet.id;
    all->topup({.wallet = wallet, .amount = Money{1'000}}).value();
    int jobs = 0;
    const auto settle = [&] {
      const std::string job = std::to_string(++jobs);
      return all->spend({.wallet = wallet, .job_id = job, .amount = Money{10}}).ok() &&
             all->earn({.host = wallet, .job_id = job, .gross_amount = Money{5}, .gpu_model = "x"}).ok();
    };
    struct Row {
      const char* says;
      Made made;
      std::function<bool()> call;  // one that makes it
    };
    const Row rows[] = {
        {"the clock, for a writer", Made::now_us, settle},
        {"the clock, for a reader", Made::now_us, [&] { return all->wallet(wallet).ok(); }},
        {"the random source", Made::random, [&] { return all->issue_key(wallet, "laptop").ok(); }},
        {"the signer of a receipt", Made::sign, settle},
        {"the signer of a checkpoint", Made::sign, [&] { return all->checkpoint().ok(); }},
    };
    for (const Row& row : rows) {
      CAPTURE(row.says);
      CAPTURE(in_file);
      const int before = tried;
      watched = row.made;
      CHECK(row.call());  // what a callback was refused is no matter of the call that made it
      CHECK(tried == before + 1);
      CHECK(open_door == "");
      CHECK(other_answers);
      CHECK(settle());
    }
    CHECK(all->audit().value().ok);
  }
}

TEST_CASE("nor may a callback come back by way of another engine's callback") {
  std::optional<Engine> first, second;
  bool armed = false;
  std::string first_said, second_said;
  const auto ask = [](Engine& engine) {
    return std::string(word(engine.as_operator().create_wallet({.owner_id = "x"}).reason()));
  };
  std::int64_t now_us = 1'790'000'000'000'000;
  Options options;
  options.now_us = [&] {
    if (armed && first_said.empty()) {
      first_said = "asked";
      second_said = ask(*second);  // which asks its own clock, which asks the first
    }
    return ++now_us;
  };
  first.emplace(Engine::open(options).value());
  options.now_us = [&] {
    if (armed && first_said == "asked") first_said = ask(*first);
    return ++now_us;
  };
  second.emplace(Engine::open(options).value());
  armed = true;
  CHECK(ask(*first) == "none");
  CHECK(first_said == "handle_invalid");
  CHECK(second_said == "none");
}

TEST_CASE("what runs outside every lock may call: who pays out, and who receives an export") {
  std::optional<Engine> engine;
  int calls = 0;
  Options options;
  options.pay_out = [&](const Payout& payout) {
    Session all = engine->as_operator();
    if (all.payout(payout.id).ok() && all.create_wallet({.owner_id = "x"}).ok()) ++calls;
    return PayoutOutcome::pending;
  };
  engine.emplace(Engine::open(options).value());
  Session all = engine->as_operator();
  const WalletId wallet = all.create_wallet({.owner_id = "alice"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000}}).value();
  CHECK(all.request_payout({.wallet = wallet, .amount = Money{1}, .destination = "iban"}).ok());
  CHECK(calls == 1);
  CHECK(all.export_ledger(ExportFormat::jsonl,
                          [&](std::string_view) {
                            if (all.wallets().ok() && all.create_wallet({.owner_id = "y"}).ok()) ++calls;
                            return true;
                          })
            .ok());
  CHECK(calls == 2);
}
