#include <doctest/doctest.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/core/encoding.hpp>
#include <calyx/engine.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/waits.hpp"
#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::Scratch;
using testing::Waiting;
namespace fs = std::filesystem;

namespace {

Options at(const std::string& path) {
  Options options;
  options.path = path;
  options.busy_timeout_ms = 60'000;
  return options;
}

WalletId make_payer(Engine& engine) {
  Session all = engine.as_operator();
  const WalletId wallet = all.create_wallet({.owner_id = "payer"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000'000}}).value();
  return wallet;
}

/// The kid in the header of the receipt of one more job.
std::string signing_kid(Engine& engine, WalletId wallet, const std::string& job) {
  Session all = engine.as_operator();
  all.spend({.wallet = wallet, .job_id = job, .amount = Money{10}}).value();
  const Earned earned =
      all.earn({.host = wallet, .job_id = job, .gross_amount = Money{5}, .gpu_model = "x"}).value();
  const std::string jws = all.receipt(earned.receipt).value().jws;
  CHECK(engine.verify(jws).valid);
  const std::string header = core::unbase64url(jws.substr(0, jws.find('.'))).value();
  const std::string member = "\"kid\":\"";
  const std::size_t begin = header.find(member) + member.size();
  return header.substr(begin, header.find('"', begin) - begin);
}

void put(const std::string& from, const std::string& to) {
  fs::copy_file(from, to, fs::copy_options::overwrite_existing);
  REQUIRE(::chmod(to.c_str(), 0600) == 0);
}

}  // namespace

TEST_CASE("of a market's signing keys the newest whose seed is here signs") {
  const Scratch scratch;
  const std::string path = scratch / "m.db", keys = path + "-keys";
  std::vector<std::string> kids, files;
  std::string public_keys;
  WalletId wallet;
  {
    Engine engine = Engine::open(at(path)).value();
    wallet = make_payer(engine);
    for (int i = 0; i < 3; ++i) {
      const std::string number = std::to_string(i);
      if (i > 0) kids.push_back(engine.rotate_signing_key().value());
      const std::string kid = signing_kid(engine, wallet, "made-" + number);
      if (i == 0) kids.push_back(kid);
      CHECK(kid == kids.back());
      files.push_back(scratch / ("keys-" + number));
      put(keys, files.back());
    }
    public_keys = engine.public_keys();
  }
  // As the key file is put back from an older copy, and found again.
  for (const std::size_t have : {0U, 1U, 2U, 0U}) {
    CAPTURE(have);
    put(files[have], keys);
    Engine engine = Engine::open(at(path)).value();
    CHECK(signing_kid(engine, wallet, "kept-" + std::to_string(kids.size())) == kids[have]);
    CHECK(engine.public_keys() == public_keys);
    const std::string fresh = engine.rotate_signing_key().value();
    CHECK(std::find(kids.begin(), kids.end(), fresh) == kids.end());
    kids.push_back(fresh);
    CHECK(signing_kid(engine, wallet, "fresh-" + std::to_string(kids.size())) == fresh);
    public_keys = engine.public_keys();
    CHECK(engine.as_operator().audit({}, AuditDepth::each).value().ok);
  }
}

TEST_CASE("who cannot read a key that another added signs with the newest that it has") {
  const Scratch scratch;
  const std::string path = scratch / "m.db", keys = path + "-keys";
  Engine one = Engine::open(at(path)).value(), two = Engine::open(at(path)).value();
  const WalletId wallet = make_payer(one);
  const std::string first = signing_kid(two, wallet, "a");
  const std::string second = one.rotate_signing_key().value();
  CHECK(signing_kid(one, wallet, "b") == second);
  fs::rename(keys, scratch / "away");
  CHECK(signing_kid(two, wallet, "c") == first);
  CHECK(signing_kid(one, wallet, "d") == second);
  fs::rename(scratch / "away", keys);
  const std::string third = one.rotate_signing_key().value();
  CHECK(signing_kid(two, wallet, "e") == third);
  CHECK(signing_kid(one, wallet, "f") == third);
  CHECK(two.as_operator().audit({}, AuditDepth::each).value().ok);
}

TEST_CASE(
    "a signature that the host gives not, wrong or late undoes its batch, which says so and can come again") {
  enum class Mood : std::uint8_t { good, refuses, throws, wrong, slow };
  struct Row {
    const char* says;
    Mood mood;
    int asked;  // signatures, of the three receipts, and one more where somebody helped meanwhile
  };
  // The five seconds are of the batch: each of the two signatures was in time for itself.
  const Row rows[] = {{"not given", Mood::refuses, 1},
                      {"thrown out of", Mood::throws, 1},
                      {"wrong", Mood::wrong, 1},
                      {"late together", Mood::slow, 2}};
  const Scratch scratch;
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  crypto_sign_keypair(public_key.data(), secret.data());
  Mood mood = Mood::good;
  std::atomic<int> asked{0};
  Options options = at(scratch / "m.db");
  options.sign = [&](std::string_view, std::string_view message, std::uint8_t* out) {
    ++asked;
    if (mood == Mood::refuses) return false;
    if (mood == Mood::throws) throw std::runtime_error("the vault is closed");
    if (mood == Mood::slow) std::this_thread::sleep_for(std::chrono::milliseconds(2'600));
    crypto_sign_detached(out, nullptr, reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                         secret.data());
    if (mood == Mood::wrong) out[0] ^= 1;
    return true;
  };
  options.sign_public_key = public_key;
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const WalletId wallet = make_payer(engine);
  store::Gate gate = store::Gate::open(options.path + "-gate").value();

  std::uint64_t leaf = 0;
  for (const Row& row : rows) {
    CAPTURE(row.says);
    std::vector<Operation> settlements;
    for (const char* end : {"-1", "-2", "-3"}) {
      const std::string job = row.says + std::string(end);
      std::string id = job;
      std::replace(id.begin(), id.end(), ' ', '-');
      all.spend({.wallet = wallet, .job_id = id, .amount = Money{10}}).value();
      settlements.emplace_back(
          Earn{.host = wallet, .job_id = id, .gross_amount = Money{10}, .gpu_model = "x"});
    }
    const Money before = all.wallet(wallet).value().balance;
    Reason settled = Reason::none, beside = Reason::none;
    Error error{Reason::none, {}, {}};
    asked = 0;
    mood = row.mood;
    // Somebody who needs no signature shares the batch.
    REQUIRE(gate.lock(60'000).ok());
    Waiting leader([&] {
      const auto outcomes = all.bulk(settlements);
      settled = outcomes.reason();
      if (!outcomes.ok()) error = outcomes.error();
    });
    leader.until_it_waits();
    const TopUp topup{.wallet = wallet,
                      .amount = Money{7},
                      .reference = std::to_string(row.asked) + "-" + std::to_string(leaf)};
    Waiting other([&] { beside = all.topup(topup).reason(); });
    other.until_it_waits();
    gate.unlock();
    leader.join();
    other.join();
    mood = Mood::good;

    CHECK(settled == Reason::signer_failed);
    CHECK(error.status() == Status::unavailable);
    CHECK(beside == Reason::signer_failed);
    CHECK(asked >= row.asked);
    CHECK(asked <= row.asked + 1);
    CHECK(all.wallet(wallet).value().balance == before);
    const auto again = all.bulk(settlements).value();
    for (const Outcome& outcome : again) {
      REQUIRE(std::holds_alternative<Earned>(outcome));
      const Earned& earned = std::get<Earned>(outcome);
      CHECK_FALSE(earned.replayed);
      const Receipt receipt = all.receipt(earned.receipt).value();
      CHECK(receipt.leaf == leaf++);
      CHECK(engine.verify(receipt.jws).valid);
    }
    CHECK_FALSE(all.topup(topup).value().replayed);
  }
  CHECK(all.audit({}, AuditDepth::each).value().ok);
}

namespace {

/// A host's key, which notes who signs with it.
struct Vault {
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  const std::thread::id caller = std::this_thread::get_id();
  unsigned threads;
  std::atomic<bool> refuses_others{false};

  std::mutex mutex;
  std::condition_variable came;
  std::set<std::thread::id> others;
  std::size_t by_others = 0, before_the_caller = 0;
  bool caller_signed = false, others_take_signals = false, others_keep_faults = true;

  explicit Vault(unsigned count) : threads(count) { crypto_sign_keypair(public_key.data(), secret.data()); }

  void forget() {
    const std::lock_guard lock(mutex);
    others.clear();
    by_others = before_the_caller = 0;
    caller_signed = false;
  }
  Options options(const std::string& path) {
    Options out = at(path);
    out.signing_threads = threads;
    out.sign_public_key = public_key;
    out.sign = [this](std::string_view, std::string_view message, std::uint8_t* to) {
      if (std::this_thread::get_id() == caller) {
        const std::lock_guard lock(mutex);
        if (!std::exchange(caller_signed, true)) before_the_caller = by_others;
      } else {
        if (refuses_others) return false;
        note_other();
      }
      crypto_sign_detached(to, nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                           message.size(), secret.data());
      return true;
    };
    return out;
  }

 private:
  void note_other() {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    std::unique_lock lock(mutex);
    ++by_others;
    if (sigismember(&mask, SIGTERM) != 1) others_take_signals = true;
    if (sigismember(&mask, SIGSEGV) != 0) others_keep_faults = false;
    // The first ones wait for the rest of them, which work is there for.
    if (!others.insert(std::this_thread::get_id()).second) return;
    came.notify_all();
    came.wait_for(lock, std::chrono::seconds(4), [this] { return others.size() == threads; });
  }
};

/// `pairs` jobs of `wallet` for itself, each locked and settled.
std::vector<Operation> pairs_of(WalletId wallet, std::size_t pairs, const std::string& name) {
  std::vector<Operation> out;
  for (std::size_t i = 0; i < pairs; ++i) {
    const std::string job = name + '-' + std::to_string(i);
    out.emplace_back(Spend{.wallet = wallet, .job_id = job, .amount = Money{10}});
    out.emplace_back(Earn{.host = wallet, .job_id = job, .gross_amount = Money{10}, .gpu_model = "x"});
  }
  return out;
}

std::size_t threads_of_this_process() {
  const fs::directory_iterator tasks("/proc/self/task");
  return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
}

/// Once a thread was joined the system may take a moment to forget it.
bool comes_down_to(std::size_t threads) {
  for (int i = 0; i < 1'000 && threads_of_this_process() > threads; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return threads_of_this_process() == threads;
}

}  // namespace

TEST_CASE("threads that the host asked for sign what one caller's bulk settles") {
  const Scratch scratch;
  Vault vault(2);
  const std::size_t before = threads_of_this_process();
  {
    Engine engine = Engine::open(vault.options(scratch / "m.db")).value();
    CHECK(threads_of_this_process() == before + 2);
    Session all = engine.as_operator();
    const WalletId wallet = make_payer(engine);
    std::uint64_t leaf = 0;
    const auto settles = [&](const std::string& name) {
      vault.forget();
      for (const Outcome& outcome : all.bulk(pairs_of(wallet, 200, name)).value()) {
        REQUIRE_FALSE(std::holds_alternative<Error>(outcome));
        const auto* earned = std::get_if<Earned>(&outcome);
        if (earned == nullptr) continue;
        const Receipt receipt = all.receipt(earned->receipt).value();
        CHECK(receipt.leaf == leaf++);  // in the order of the operations, whoever signed them
        CHECK(engine.verify(receipt.jws).valid);
      }
      CHECK(vault.others.size() == 2);
    };
    settles("first");
    CHECK_FALSE(vault.others_take_signals);
    CHECK(vault.others_keep_faults);
    // What fails there undoes the call as it would here, and the threads go on.
    vault.refuses_others = true;
    const Money balance = all.wallet(wallet).value().balance;
    CHECK(all.bulk(pairs_of(wallet, 200, "second")).reason() == Reason::signer_failed);
    CHECK(all.wallet(wallet).value().balance == balance);
    vault.refuses_others = false;
    settles("second");
    CHECK(all.audit({}, AuditDepth::each).value().ok);
  }
  CHECK(comes_down_to(before));
  Options reads = at(scratch / "m.db");
  reads.read_only = true;
  reads.signing_threads = 2;
  const Engine reader = Engine::open(reads).value();
  CHECK(threads_of_this_process() == before);
}

TEST_CASE("a receipt is signed while the bulk that it is of is still decided") {
  const Scratch scratch;
  Vault vault(1);
  Engine engine = Engine::open(vault.options(scratch / "m.db")).value();
  Session all = engine.as_operator();
  const WalletId wallet = make_payer(engine);
  // The caller's own thread signs once all is decided: what was signed before was so meanwhile. A thread that
  // gets no core in time has another go.
  std::size_t most = 0;
  for (int round = 0; round < 50 && most < 10; ++round) {
    vault.forget();
    all.bulk(pairs_of(wallet, 500, "round-" + std::to_string(round))).value();
    most = std::max(most, vault.before_the_caller);
  }
  CHECK(most >= 10);
}

TEST_CASE("of a few receipts that are left each thread signs one") {
  // Each signature waits for the others: signed one after another they would be late together.
  constexpr unsigned receipts = 3;
  const Scratch scratch;
  Vault vault(2);
  Options options = vault.options(scratch / "m.db");
  std::mutex mutex;
  std::condition_variable came;
  unsigned at_it = 0;
  options.sign = [&, signs = options.sign](std::string_view kid, std::string_view message, std::uint8_t* to) {
    std::unique_lock lock(mutex);
    ++at_it;
    came.notify_all();
    const bool together = came.wait_for(lock, std::chrono::seconds(4), [&] { return at_it >= receipts; });
    lock.unlock();
    return together && signs(kid, message, to);
  };
  Engine engine = Engine::open(options).value();
  const WalletId wallet = make_payer(engine);
  CHECK(engine.as_operator().bulk(pairs_of(wallet, receipts, "few")).ok());
}

TEST_CASE("callers that settle at once share signing threads, and lose none of their receipts") {
  constexpr std::size_t callers = 4, rounds = 6, pairs = 40;
  const Scratch scratch;
  Options options = at(scratch / "m.db");
  options.signing_threads = 2;
  Engine engine = Engine::open(options).value();
  const WalletId wallet = make_payer(engine);
  std::atomic<std::size_t> settled{0};
  std::vector<std::thread> threads;
  for (std::size_t caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      Session all = engine.as_operator();
      for (std::size_t round = 0; round < rounds; ++round) {
        const std::string name = std::to_string(caller) + '-' + std::to_string(round);
        // One at a time, too: then nobody need be woken.
        const std::size_t many = round % 2 == 0 ? pairs : 1;
        const auto outcomes = all.bulk(pairs_of(wallet, many, name));
        if (!outcomes.ok()) return;
        for (const Outcome& outcome : *outcomes) settled += std::holds_alternative<Earned>(outcome) ? 1 : 0;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(settled == callers * (rounds / 2) * (pairs + 1));
  const AuditReport report = engine.as_operator().audit({}, AuditDepth::each).value();
  CHECK_MESSAGE(report.ok, report.first_fault);
  CHECK(report.receipts == settled);
}
