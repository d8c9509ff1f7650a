#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <calyx/engine.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "engine/openings.hpp"
#include "faults/fault_vfs.hpp"
#include "store/gate.hpp"
#include "store/scratch.hpp"

using namespace calyx;
using store::Scratch;
using testing::at, testing::make_market, testing::reading, testing::run_sql, testing::says;

namespace {

void overwrite(const std::string& path, std::streamoff from, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  REQUIRE(file.good());
  file.seekp(from);
  file << bytes;
}

std::int64_t number(const Error& error, const char* name) {
  const core::json::Value* value = error.details.find(name);
  REQUIRE(value != nullptr);
  REQUIRE(value->integer() != nullptr);
  return *value->integer();
}

/// While it stands the system gives this process no thread: none has room for its stack.
class NoThreads {
 public:
  NoThreads() {
    ::pthread_getattr_default_np(&before_);
    pthread_attr_t endless;
    ::pthread_attr_init(&endless);
    ::pthread_attr_setstacksize(&endless, std::size_t{1} << 50);
    ::pthread_setattr_default_np(&endless);
    ::pthread_attr_destroy(&endless);
  }
  ~NoThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;

 private:
  pthread_attr_t before_;
};

}  // namespace

TEST_CASE("where the system gives no thread, whoever asks for some is told, and nothing else is lost") {
  const Scratch scratch;
  Options options = at(scratch / "m.db");
  Engine engine = Engine::open(options).value();
  REQUIRE(engine.register_task("t", [](const TaskCall&) { return Result(core::json::Value(1)); }).ok());
  Session all = engine.as_operator();
  core::json::Object asked;
  asked.set("task", "t");
  const JobId job = all.submit_job({.job = asked}).value().id;
  const auto refused = [](const auto& result, const std::string& words) {
    CHECK(result.reason() == Reason::no_memory);
    if (!result.ok()) CHECK(result.error().message.find(words) != std::string::npos);
  };
  {
    const NoThreads none;
    options.signing_threads = 2;
    refused(Engine::open(options), "no thread more than 0 of signing_threads' 2");
    refused(Worker::start(engine, {.threads = 3}), "no thread more than 0 of the worker's 3");
    refused(all.run_job(job, {.heartbeats = true}), "no thread more that would keep leases alive");
  }
  CHECK(Engine::open(options).ok());
  const Worker worker = Worker::start(engine, {.threads = 3}).value();
  CHECK(all.run_job(job, {.heartbeats = true}).value().status == JobStatus::completed);
}

TEST_CASE("options that make no sense are refused before any file is touched") {
  const Scratch scratch;
  struct Row {
    std::string says;
    std::function<void(Options&)> spoil;
  };
  const auto sign = [](std::string_view, std::string_view, std::uint8_t*) { return false; };
  const Row rows[] = {
      {"a fee below nothing", [](Options& of) { of.fee_basis_points = -1; }},
      {"a fee above all", [](Options& of) { of.fee_basis_points = 10'001; }},
      {"an issuer with a space", [](Options& of) { of.issuer = "my market"; }},
      {"an issuer with a plus, which a note's key line could not carry",
       [](Options& of) { of.issuer = "a+b"; }},
      {"an issuer that is too long", [](Options& of) { of.issuer = std::string(129, 'i'); }},
      {"a signer without its public key", [&](Options& of) { of.sign = sign; }},
      {"a public key without its signer", [](Options& of) { of.sign_public_key.emplace(); }},
      {"too many signing threads", [](Options& of) { of.signing_threads = signing_threads_max + 1; }},
      {"a reader of memory",
       [](Options& of) {
         of.path.clear();
         of.read_only = true;
       }},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Options options = at(scratch / "m.db");
    row.spoil(options);
    CHECK(Engine::open(options).reason() == Reason::options_invalid);
  }
  CHECK(std::filesystem::is_empty(scratch.folder()));
  Options edge = at(scratch / "m.db");
  edge.fee_basis_points = 10'000;
  edge.issuer = std::string(128, 'i');
  edge.signing_threads = signing_threads_max;
  CHECK(Engine::open(edge).ok());
}

TEST_CASE("a path that is none is refused, and says what to do") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "folder");
  std::filesystem::create_symlink(scratch / "nowhere", scratch / "dangling");
  struct Row {
    std::string says, path;
    Reason expected;
  };
  const Row rows[] = {
      {"a folder", scratch / "folder", Reason::path_refused},
      {"a URI, which could switch locking off", "file:" + (scratch / "m.db") + "?nolock=1",
       Reason::path_refused},
      {"memory by SQLite's name", ":memory:", Reason::path_refused},
      {"a gate", scratch / "m.db-gate", Reason::path_refused},
      {"a key file", scratch / "m.db-keys", Reason::path_refused},
      {"a link to nothing", scratch / "dangling", Reason::path_refused},
      {"a line break", scratch / "m\n.db", Reason::path_refused},
      {"a folder that is not there", scratch / "no/m.db", Reason::file_missing},
      {"a device", "/dev/null", Reason::path_refused},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Result<Engine> opened = Engine::open(at(row.path));
    CHECK(opened.reason() == row.expected);
    if (!opened.ok()) CHECK_FALSE(opened.error().message.empty());
  }
  CHECK(Engine::open(reading(scratch / "m.db")).reason() == Reason::file_missing);
  CHECK_FALSE(std::filesystem::exists(scratch / "m.db"));
  CHECK_FALSE(std::filesystem::exists(scratch / "m.db-gate"));
}

TEST_CASE("a market of a newer calyx is read, and not written") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const WalletId wallet = make_market(path);
  run_sql(path, "PRAGMA user_version=99");
  const Result<Engine> opened = Engine::open(at(path));
  REQUIRE(opened.reason() == Reason::file_newer);
  CHECK(says(opened.error().message, "99"));
  CHECK(says(opened.error().message, "read-only"));
  CHECK(number(opened.error(), "file") == 99);
  CHECK(number(opened.error(), "build") < 99);
  Result<Engine> reader = Engine::open(reading(path));
  REQUIRE(reader.ok());
  CHECK(reader->as_operator().wallet(wallet).value().balance == Money{1'000});
}

TEST_CASE("the key file must be there, be this market's and be its owner's alone") {
  const Scratch scratch;
  const std::string path = scratch / "m.db", other = scratch / "other.db";
  const WalletId wallet = make_market(path);
  make_market(other);
  const std::string keys = path + "-keys", kept = scratch / "kept";
  std::filesystem::copy_file(keys, kept);

  const auto refused = [&](Reason reason, const char* part) {
    const Result<Engine> opened = Engine::open(at(path));
    CHECK(opened.reason() == reason);
    if (opened.ok()) return;
    CAPTURE(opened.error().message);
    CHECK(says(opened.error().message, part));
    CHECK(says(opened.error().message, "-keys"));
    // A reader signs nothing, so it needs no key.
    Result<Engine> reader = Engine::open(reading(path));
    REQUIRE(reader.ok());
    CHECK(reader->as_operator().wallet(wallet).value().balance == Money{1'000});
    CHECK_FALSE(reader->session("cyx_live_anything").ok());
  };
  std::filesystem::remove(keys);
  refused(Reason::keys_missing, "put it back from a backup, or open the market read-only");
  CHECK_FALSE(std::filesystem::exists(keys));  // a new one would open nothing that the old one closed
  std::filesystem::copy_file(other + "-keys", keys);
  REQUIRE(::chmod(keys.c_str(), 0600) == 0);
  refused(Reason::keys_foreign, "");
  std::filesystem::remove(keys);
  std::filesystem::copy_file(kept, keys);
  REQUIRE(::chmod(keys.c_str(), 0644) == 0);
  refused(Reason::path_refused, "644");
  REQUIRE(::chmod(keys.c_str(), 0600) == 0);
  std::filesystem::resize_file(keys, 40);
  refused(Reason::corrupt, "");
  std::filesystem::remove(keys);
  std::filesystem::copy_file(kept, keys);
  REQUIRE(::chmod(keys.c_str(), 0600) == 0);
  CHECK(Engine::open(at(path)).ok());
}

TEST_CASE("the files of a market are for its owner alone") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const mode_t before = ::umask(0);
  make_market(path);
  ::umask(before);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.folder())) {
    CAPTURE(entry.path().string());
    struct stat facts = {};
    REQUIRE(::stat(entry.path().c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0077) == 0);
    ++files;
  }
  CHECK(files >= 3);
}

TEST_CASE("who waits longer than it said gets `store_busy` with the time, and nothing was written") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const WalletId wallet = make_market(path);
  Options options = at(path);
  options.busy_timeout_ms = 80;
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  auto gate = store::Gate::open(path + "-gate").value();
  REQUIRE(gate.lock(5'000).ok());

  const Spend asked{.wallet = wallet, .job_id = "j", .amount = Money{5}};
  const std::int64_t began_us = store::monotonic_us();
  const Result<Spent> spent = all.spend(asked);
  const std::int64_t took_ms = (store::monotonic_us() - began_us) / 1'000;
  REQUIRE(spent.reason() == Reason::store_busy);
  CHECK(spent.error().status() == Status::unavailable);
  CHECK(number(spent.error(), "waited_ms") >= 80);
  CHECK(took_ms >= 80);
  CHECK(says(spent.error().message, std::to_string(number(spent.error(), "waited_ms")).c_str()));
  CHECK(all.wallet(wallet).value().balance == Money{1'000});  // readers don't wait
  CHECK(Engine::open(options).reason() == Reason::store_busy);

  gate.unlock();
  CHECK_FALSE(all.spend(asked).value().replayed);
  CHECK(all.wallet(wallet).value().balance == Money{995});
}

TEST_CASE("a full disk is told, leaves nothing half written, and is forgotten when there is room again") {
  faults::Disk disk;
  Options options;
  options.path = "/mem/market.db";
  options.vfs = disk.vfs_name();
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const WalletId payer =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "p"}).value().wallet.id;
  const WalletId host =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "h"}).value().wallet.id;
  all.topup({.wallet = payer, .amount = Money{1'000}}).value();
  const Spend spend{.wallet = payer, .job_id = "j", .amount = Money{100}, .host_wallet = host};
  const Earn earn{.host = host, .job_id = "j", .gross_amount = Money{60}, .gpu_model = "x"};

  for (const faults::FaultKind kind : {faults::FaultKind::disk_full, faults::FaultKind::short_write}) {
    disk.arm({.calls = faults::Calls::write, .persistent = true, .kind = kind});
    const Result<Spent> refused = all.spend(spend);
    REQUIRE(refused.reason() == Reason::disk_full);
    CHECK(refused.error().status() == Status::unavailable);
    CHECK(all.wallet(payer).value().balance == Money{1'000});
    CHECK(all.spend(spend).reason() == Reason::disk_full);
    disk.disarm();
  }
  CHECK_FALSE(all.spend(spend).value().replayed);
  disk.arm({.calls = faults::Calls::write, .persistent = true, .kind = faults::FaultKind::disk_full});
  CHECK(all.earn(earn).reason() == Reason::disk_full);
  CHECK(all.spend(spend).value().replayed);  // what needs no room is still answered
  disk.disarm();
  CHECK_FALSE(all.earn(earn).value().replayed);
  CHECK(all.wallet(payer).value().balance == Money{940});
  const AuditReport report = all.audit().value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}

TEST_CASE("a damaged file is told apart from a good one, and the host lives on") {
  const Scratch scratch;
  const std::string path = scratch / "m.db";
  const WalletId wallet = make_market(path);
  const auto size = static_cast<std::streamoff>(std::filesystem::file_size(path));
  REQUIRE(size >= 4 * 4096);
  int refused = 0, found = 0;
  for (std::streamoff page = 0; page * 4096 < size; ++page) {
    CAPTURE(page);
    const std::string copy = scratch / ("copy" + std::to_string(page));
    std::filesystem::copy_file(path, copy);
    std::filesystem::copy_file(path + "-keys", copy + "-keys");
    REQUIRE(::chmod((copy + "-keys").c_str(), 0600) == 0);
    // The first page keeps the file's magic, so that SQLite takes it for its own.
    overwrite(copy, page * 4096 + (page == 0 ? 100 : 0), std::string(page == 0 ? 3'996 : 4'096, '\x5A'));
    Result<Engine> opened = Engine::open(at(copy));
    if (!opened.ok()) {
      CHECK((opened.reason() == Reason::corrupt || opened.reason() == Reason::not_a_market));
      ++refused;
      continue;
    }
    Session all = opened->as_operator();
    const Result<AuditReport> report = all.audit();
    const bool bad = report.ok() ? !report->ok : report.error().status() == Status::corrupt;
    CHECK(bad);
    ++found;
    const Result<Spent> spent = all.spend({.wallet = wallet, .job_id = "j", .amount = Money{5}});
    CHECK((spent.ok() || spent.error().status() == Status::corrupt ||
           spent.error().status() == Status::internal));
  }
  CHECK(refused >= 2);
  MESSAGE(refused, " pages refused at opening, ", found, " found by the audit");
  // Cut short.
  const std::string cut = scratch / "cut";
  std::filesystem::copy_file(path, cut);
  std::filesystem::copy_file(path + "-keys", cut + "-keys");
  REQUIRE(::chmod((cut + "-keys").c_str(), 0600) == 0);
  std::filesystem::resize_file(cut, static_cast<std::uintmax_t>(size / 2));
  Result<Engine> opened = Engine::open(at(cut));
  CHECK((!opened.ok() || !opened->as_operator().audit().ok() || !opened->as_operator().audit()->ok));
}

TEST_CASE("a clock outside 1970 to 9999 stops writing while it lasts, and no longer") {
  std::int64_t clock = -1;
  Options options;
  options.now_us = [&clock] { return clock; };
  CHECK(Engine::open(options).reason() == Reason::io_error);
  clock = core::instant_max.us + 1;
  CHECK(Engine::open(options).reason() == Reason::io_error);
  clock = 0;
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const WalletId wallet =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{10}}).value();
  for (const std::int64_t wrong : {std::int64_t{-1}, core::instant_max.us + 1, INT64_MIN, INT64_MAX}) {
    clock = wrong;
    const Result<Spent> spent = all.spend({.wallet = wallet, .job_id = "j", .amount = Money{1}});
    REQUIRE_FALSE(spent.ok());
    CHECK(spent.error().status() == Status::unavailable);
    CHECK(says(spent.error().message, std::to_string(wrong).c_str()));
    CHECK(all.wallet(wallet).value().balance == Money{10});
  }
  clock = core::instant_max.us;
  CHECK(all.spend({.wallet = wallet, .job_id = "j", .amount = Money{1}}).ok());
  clock = 5;  // set back: time stands still in the log, it does not run backwards
  CHECK(all.spend({.wallet = wallet, .job_id = "k", .amount = Money{1}}).ok());
  const auto entries = all.entries(wallet).value();
  CHECK(entries.items.back().at == core::instant_max);
  CHECK(all.audit().value().ok);
}

TEST_CASE("after one call under a clock far ahead time stands still, until the clock has come that far") {
  const Scratch scratch;
  constexpr std::int64_t today = 1'774'990'800'000'000, hour = 3'600 * core::us_per_second;
  constexpr std::int64_t ahead = today + 20'000 * hour;
  std::int64_t clock = today;
  Options options = at(scratch / "m.db");
  options.now_us = [&clock] { return clock; };
  std::optional<Engine> engine = Engine::open(options).value();
  const WalletId alice = engine->as_operator().create_wallet({.owner_id = "alice"}).value().wallet.id;
  WalletCreate an_agent{.owner_type = OwnerType::agent, .owner_id = "agent"};
  an_agent.parent = alice;
  an_agent.policy.spend_cap_per_hour = Money{10};
  const WalletCreated agent = engine->as_operator().create_wallet(an_agent).value();
  engine->as_operator().topup({.wallet = alice, .amount = Money{1'000}}).value();
  engine->as_operator().transfer({.from = alice, .to = agent.wallet.id, .amount = Money{100}}).value();
  const auto spend = [&](const char* job) {
    Spend asked{.wallet = agent.wallet.id, .job_id = job, .amount = Money{10}};
    asked.expires_in_s = 60;
    return engine->session(agent.api_key).value().spend(asked);
  };
  const auto due = [&] {
    return engine->as_operator().wallet(agent.wallet.id).value().expired_pending.micro;
  };

  CHECK(spend("before").ok());
  clock = ahead;
  CHECK(due() == 10);  // who only reads leaves nothing behind
  clock = today;
  CHECK(due() == 0);
  clock = ahead;
  engine->as_operator().topup({.wallet = alice, .amount = Money{1}}).value();
  clock = today;
  CHECK(due() == 10);  // what was set before is due for good
  CHECK(spend("first").ok());
  // A day later nothing has moved, for a later process either: the lock is not due, the hour has not rolled.
  clock = today + 24 * hour;
  engine.reset();
  engine.emplace(Engine::open(options).value());
  CHECK(spend("second").reason() == Reason::spend_cap_per_hour);
  CHECK(due() == 0);
  CHECK(engine->as_operator().entries(agent.wallet.id).value().items.back().at == Instant{ahead});
  CHECK(engine->as_operator().audit().value().ok);
  clock = ahead + 60 * core::us_per_second;
  CHECK(due() == 10);
  CHECK(spend("second").ok());
}

TEST_CASE("what the host's callbacks throw or refuse hurts one call, and the engine goes on") {
  enum class Mood { good, refuses, throws };
  Mood clock = Mood::good, random = Mood::good;
  Options options;
  std::int64_t now = 1'774'990'800'000'000;
  std::uint8_t next = 0;
  options.now_us = [&]() -> std::int64_t {
    if (clock == Mood::throws) throw std::runtime_error("no time");
    return ++now;
  };
  options.random = [&](void* out, std::size_t size) {
    if (random == Mood::throws) throw std::runtime_error("no luck");
    for (std::size_t i = 0; i < size; ++i) static_cast<std::uint8_t*>(out)[i] = ++next;
    return random == Mood::good;
  };
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const auto create = [&] {
    return all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).reason();
  };
  CHECK(create() == Reason::none);
  for (const Mood mood : {Mood::refuses, Mood::throws}) {
    random = mood;
    CHECK(create() == Reason::io_error);
    random = Mood::good;
  }
  clock = Mood::throws;
  CHECK(create() == Reason::io_error);
  clock = Mood::good;
  CHECK(all.wallets().value().items.size() == 1);
  CHECK(create() == Reason::none);

  // An export is its caller's: stopped, or thrown out of, it leaves the market to the others.
  CHECK(all.export_ledger(ExportFormat::jsonl, [](std::string_view) { return false; }).reason() ==
        Reason::stopped);
  CHECK_THROWS_AS(
      static_cast<void>(all.export_ledger(
          ExportFormat::jsonl, [](std::string_view) -> bool { throw std::runtime_error("full"); })),
      std::runtime_error);
  CHECK(create() == Reason::none);
  CHECK(all.audit().value().ok);
}

TEST_CASE("one caller's stopped export takes no other's call with it") {
  Engine engine = Engine::open({}).value();
  Session all = engine.as_operator();
  const WalletId wallet =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000'000}}).value();
  std::atomic<bool> done{false};
  std::atomic<int> bad{0}, stopped{0};
  std::thread other([&] {
    for (int i = 0; i < 300 || stopped.load() == 0; ++i)
      if (!all.spend({.wallet = wallet, .job_id = std::to_string(i), .amount = Money{1}}).ok()) ++bad;
    done = true;
  });
  while (!done.load())
    if (all.export_ledger(ExportFormat::csv, [](std::string_view) { return false; }).reason() ==
        Reason::stopped)
      ++stopped;
  other.join();
  CHECK(bad.load() == 0);
}

TEST_CASE("the host pays out: what it says the payout becomes, and who asked is told that it is pending") {
  PayoutOutcome says = PayoutOutcome::pending;
  int calls = 0;
  Options options;
  options.pay_out = [&](const Payout&) {
    ++calls;
    return says;
  };
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const WalletId wallet =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000}}).value();
  struct Row {
    PayoutOutcome says;
    PayoutStatus becomes;
    std::int64_t balance;
  };
  const Row rows[] = {{PayoutOutcome::pending, PayoutStatus::pending, 900},
                      {PayoutOutcome::confirmed, PayoutStatus::confirmed, 800},
                      {PayoutOutcome::failed, PayoutStatus::failed, 800}};
  for (const Row& row : rows) {
    says = row.says;
    PayoutRequest asked{.wallet = wallet, .amount = Money{100}, .destination = "iban"};
    asked.idempotency_key = "once-" + std::to_string(calls);
    const int before = calls;
    const Money debited{all.wallet(wallet).value().balance.micro - 100};
    const Payout first = all.request_payout(asked).value();
    CHECK(first.status == PayoutStatus::pending);
    CHECK(first.new_balance == debited);
    CHECK(all.payout(first.id).value().status == row.becomes);
    CHECK(all.wallet(wallet).value().balance == Money{row.balance});
    const Payout again = all.request_payout(asked).value();
    CHECK(again.replayed);
    CHECK(again.id == first.id);
    CHECK(again.status == PayoutStatus::pending);
    CHECK(again.new_balance == debited);
    // What has its outcome is handed to nobody again; what is pending is, under the same id.
    CHECK(calls == before + (row.becomes == PayoutStatus::pending ? 2 : 1));
  }
}

TEST_CASE(
    "a pay_out that throws, or whose outcome cannot be written, leaves the payout pending for a retry") {
  int calls = 0;
  std::int64_t clock = 1'774'990'800'000'000;
  std::vector<PayoutId> handed;
  Options options;
  options.now_us = [&] { return clock; };
  options.pay_out = [&](const Payout& payout) {
    handed.push_back(payout.id);
    if (++calls == 1) throw std::runtime_error("the bank is closed");
    if (calls == 2) clock = -1;  // so that the second write fails
    return PayoutOutcome::confirmed;
  };
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const WalletId wallet =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000}}).value();
  const PayoutRequest asked{
      .wallet = wallet, .amount = Money{100}, .destination = "iban", .idempotency_key = "once"};
  const Payout first = all.request_payout(asked).value();
  CHECK(first.status == PayoutStatus::pending);
  CHECK(all.request_payout(asked).value().status == PayoutStatus::pending);
  clock = 1'774'990'800'000'001;
  CHECK(all.payout(first.id).value().status == PayoutStatus::pending);
  CHECK(all.request_payout(asked).value().status == PayoutStatus::pending);
  CHECK(all.payout(first.id).value().status == PayoutStatus::confirmed);
  CHECK(handed == std::vector<PayoutId>{first.id, first.id, first.id});
  CHECK(all.wallet(wallet).value().balance == Money{900});
}

TEST_CASE("issuer and fee are the market's from its first day") {
  const Scratch scratch;
  Options options = at(scratch / "m.db");
  options.issuer = "first.example";
  options.fee_basis_points = 100;
  CHECK(Engine::open(options).value().issuer() == "first.example");
  options.issuer = "second.example";
  options.fee_basis_points = 9'999;
  Engine engine = Engine::open(options).value();
  CHECK(engine.issuer() == "first.example");
  Session all = engine.as_operator();
  const WalletId a = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  all.topup({.wallet = a, .amount = Money{1'000}}).value();
  all.spend({.wallet = a, .job_id = "j", .amount = Money{1'000}}).value();
  CHECK(all.earn({.host = a, .job_id = "j", .gross_amount = Money{1'000}, .gpu_model = "x"})
            .value()
            .platform_fee == Money{10});
}

TEST_CASE("a backup is a market of its own, and never lands on something") {
  const Scratch scratch;
  const std::string path = scratch / "m.db", copy = scratch / "copy.db";
  const WalletId wallet = make_market(path);
  Engine engine = Engine::open(at(path)).value();
  REQUIRE(engine.backup(copy).ok());
  CHECK(engine.backup(copy).reason() == Reason::path_refused);
  CHECK(engine.backup(path).reason() == Reason::path_refused);
  CHECK(Engine::open(at(copy)).reason() == Reason::keys_missing);
  Result<Engine> reader = Engine::open(reading(copy));
  REQUIRE(reader.ok());
  CHECK(reader->as_operator().wallet(wallet).value().balance == Money{1'000});
  CHECK(reader->as_operator().audit().value().ok);
}
