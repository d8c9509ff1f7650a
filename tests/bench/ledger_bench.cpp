// One program for the ledger's questions of speed, size and memory. Each case prints one JSON line; a ratio
// is the median over rounds in which the cases took turns.
//
//   ledger_bench [--quick] [--only question,...] [--rounds N] [--entries N] [--dir PATH]

#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "baseline.hpp"
#include "measure.hpp"
#include "pairs.hpp"
#include "pgledger.hpp"
#include "subject.hpp"
#include "wire.hpp"

extern char** environ;

namespace calyx::bench {
namespace {

namespace fs = std::filesystem;
using Maker = std::unique_ptr<Subject> (*)();

volatile sig_atomic_t interrupted = 0;

/// An interrupt ends the run between two rounds, so that files and servers still go with their owners.
void go_on_or_throw() {
  if (interrupted != 0) throw std::runtime_error("interrupted");
}

struct Options {
  bool quick = false;
  unsigned rounds = rounds_min;
  std::uint64_t entries = 1'000'000;
  double slice_s = 0.5;  ///< How long one round of one caller runs, and twice as long for several.
  unsigned bulks = 2;    ///< How many bulks of a thousand pairs a round has.
  std::vector<std::string> only;
  fs::path dir;
};

/// A new folder, gone with the object.
class Folder {
 public:
  explicit Folder(const fs::path& under) {
    std::string made = (under / "calyx-bench-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr)
      throw std::runtime_error("cannot make a folder under " + under.string() + ": " + std::strerror(errno));
    path_ = made;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Folder(Folder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  Folder& operator=(Folder&&) = delete;

  const fs::path& path() const { return path_; }
  fs::path file() const { return path_ / "market.db"; }

 private:
  fs::path path_;
};

std::uintmax_t bytes_in(const fs::path& folder) {
  std::uintmax_t bytes = 0;
  for (const fs::directory_entry& each : fs::directory_iterator(folder))
    if (each.is_regular_file() && each.path().extension() != ".db-shm") bytes += each.file_size();
  return bytes;
}

/// A subject with its market open, and its folder.
class Opened {
 public:
  Opened(Maker make, Folder folder, unsigned callers) : folder_(std::move(folder)), subject_(make()) {
    subject_->open(folder_.file());
    subject_->prepare(Market{});
    subject_->expect_callers(callers);
  }
  ~Opened() {
    try {
      subject_->close();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "close: %s\n", error.what());
    }
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  Subject& operator*() const { return *subject_; }
  Subject* operator->() const { return subject_.get(); }

 private:
  Folder folder_;
  std::unique_ptr<Subject> subject_;
};

/// Runs `work(caller)` in as many threads as there are callers; it gives how many operations it did.
template <class Work>
std::uint64_t in_threads(unsigned callers, const Work& work) {
  if (callers == 1) return work(0u);
  std::vector<std::uint64_t> done(callers, 0);
  std::vector<std::exception_ptr> failed(callers);
  std::vector<std::thread> threads;
  for (unsigned caller = 0; caller < callers; ++caller)
    threads.emplace_back([&, caller] {
      try {
        done[caller] = work(caller);
      } catch (...) {
        failed[caller] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& each : failed)
    if (each) std::rethrow_exception(each);
  std::uint64_t total = 0;
  for (const std::uint64_t each : done) total += each;
  return total;
}

void durable_pair(Subject& subject, unsigned caller, std::uint64_t pair, const Market& market) {
  const std::string job = new_job();
  subject.spend(caller, {Operation::Kind::spend, buyer_of(caller, pair, market), job, market.locked_micro});
  subject.earn(caller, {Operation::Kind::earn, host_of(pair, market), job, market.gross_micro});
}

Batch spends_batch(std::size_t spends, const Market& market) {
  Batch batch;
  batch.jobs.reserve(spends);
  for (std::size_t i = 0; i < spends; ++i)
    batch.operations.push_back({Operation::Kind::spend, buyer_of(0, i, market),
                                batch.jobs.emplace_back(new_job()), market.locked_micro});
  return batch;
}

/// A connection of no engine, for the bare scans and sums that calyx is compared with.
class PlainFile {
 public:
  explicit PlainFile(const fs::path& file) {
    if (sqlite3_open(file.c_str(), &database_) != SQLITE_OK) {
      const std::string why = sqlite3_errmsg(database_);
      sqlite3_close(database_);
      throw std::runtime_error("cannot open " + file.string() + ": " + why);
    }
    sqlite3_busy_timeout(database_, 10'000);
    run("PRAGMA cache_size=-65536");
  }
  ~PlainFile() {
    for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    sqlite3_close(database_);
  }
  PlainFile(const PlainFile&) = delete;
  PlainFile& operator=(const PlainFile&) = delete;

  void run(const std::string& sql) {
    if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
      throw std::runtime_error(sql + ": " + sqlite3_errmsg(database_));
  }

  /// Prepares `sql` for `read`, so that no peer is charged for it.
  sqlite3_stmt* prepared(const std::string& sql) {
    sqlite3_stmt*& statement = statements_[sql];
    if (statement == nullptr &&
        sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
      throw std::runtime_error(sql + ": " + sqlite3_errmsg(database_));
    return statement;
  }

  /// Reads every row of `sql`, and gives the sum of the last column.
  std::int64_t read(const std::string& sql) {
    sqlite3_stmt* const statement = prepared(sql);
    std::int64_t sum = 0;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW)
      sum += sqlite3_column_int64(statement, sqlite3_column_count(statement) - 1);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) throw std::runtime_error(sql + ": " + sqlite3_errmsg(database_));
    return sum;
  }

 private:
  sqlite3* database_ = nullptr;
  std::map<std::string, sqlite3_stmt*> statements_;
};

/// Runs this program again on `file`, as another process would use it.
void run_again(const char* option, const fs::path& file) {
  std::string program = "/proc/self/exe";
  std::string word = option;
  std::string path = file.string();
  char* arguments[] = {program.data(), word.data(), path.data(), nullptr};
  pid_t child = 0;
  const int code = posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ);
  if (code != 0)
    throw std::runtime_error("cannot run this program again: " + std::string(std::strerror(code)));
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw std::runtime_error("waitpid: " + std::string(std::strerror(errno)));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error(word + " failed in the other process");
}

/// One spend by buyer 0 from this process, for the one that waits for us.
void spend_as_other_process(const fs::path& file) {
  const Market market;
  const std::unique_ptr<Subject> subject = make_calyx();
  subject->open(file);
  subject->prepare(market);
  subject->expect_callers(1);
  const std::string job = "job_of_another_process_" + std::to_string(getpid());
  subject->spend(0, {Operation::Kind::spend, 0, job, market.locked_micro});
  subject->close();
}

void report_open_memory(const fs::path& file) {
  const std::unique_ptr<Subject> subject = make_calyx();
  const double before = static_cast<double>(resident_bytes());
  subject->open(file);
  const double megabytes = (static_cast<double>(resident_bytes()) - before) / 1e6;
  const std::string name = std::string(subject->name()) + ", memory taken by an open of the long history";
  Line line{};
  line.question = "rebuild";
  line.name = name;
  line.unit = "MB";
  line.value = {megabytes, megabytes, megabytes};
  line.rounds = 1;
  print(line);
  subject->close();
}

/// The questions, and what they share.
class Bench {
 public:
  explicit Bench(Options options)
      : options_(std::move(options)),
        work_(options_.dir),
        ours_(make_template(make_calyx)),
        theirs_(make_template(make_baseline)),
        our_name_(make_calyx()->name()) {}

  /// One caller, each call durable.
  void one_caller() { callers_against_baseline("one_caller", 1, 1); }

  /// Eight callers against eight threads of the baseline, then 64 against the same.
  void callers_8() { callers_against_baseline("callers_8", 8, 8); }
  void callers_64() { callers_against_baseline("callers_64", 64, 8); }

  void bulk_1000() {
    bulks_against("bulk_1000", bulk_case(make_baseline, 1, 1000, "baseline, 1,000 pairs a commit"));
  }

  void bulk_1000_over_single() {
    bulks_against("bulk_1000_over_single", callers_case(make_baseline, 1, "baseline, one commit a call"));
  }

  /// Bulk pairs against this core's signatures of the same message, and CPU against what cannot be saved.
  void sign_rate() {
    std::size_t message_bytes = 0;
    {
      const Opened market(make_calyx, fresh(make_calyx), 1);
      durable_pair(*market, 0, 0, Market{});
      message_bytes = market->signing_input_bytes();
    }
    const unsigned count = options_.quick ? 500 : 3000;
    const auto series =
        interleave({{"bare signatures of " + std::to_string(message_bytes) + " bytes, one thread",
                     [&] { return bare_signatures(message_bytes, count); }},
                    {"bare inserts of four rows", [&] { return bare_four_row_inserts(work_.path(), count); }},
                    bulk_case(make_calyx, 1, 1000, our_name_ + ", bulk of 1,000 pairs, one thread"),
                    bulk_case(make_calyx, 2, 1000, our_name_ + ", bulks of 1,000 pairs, two threads")},
                   options_.rounds);
    report("sign_rate", series[0], figure::rate);
    report("sign_rate", series[2], figure::rate, series[0], Ratio::value_over_peer);
    report("sign_rate", series[3], figure::rate, series[0], Ratio::value_over_peer);

    const Series floor = sum_of("bare signature + bare insert of four rows", series[0], series[1]);
    report("cpu_a_pair", series[0], figure::cpu);
    report("cpu_a_pair", series[1], figure::cpu);
    report("cpu_a_pair", floor, figure::cpu);
    report("cpu_a_pair", series[2], figure::cpu, floor, Ratio::value_over_peer);
    report("cpu_a_pair", series[3], figure::cpu, floor, Ratio::value_over_peer);
  }

  void pgledger() {
    if (const std::optional<std::string> why = PgLedger::why_not()) {
      print_skipped("pgledger", *why);
      return;
    }
    PgLedger::Accounts accounts{};
    const Market market;
    accounts.buyers = market.buyers;
    accounts.hosts = market.hosts;
    accounts.funded_micro = market.funded_micro;
    PgLedger ledger(options_.dir, accounts);
    std::vector<PgLedger::Client> clients;
    for (int i = 0; i < 8; ++i) clients.emplace_back(ledger);
    std::uint64_t pairs = 0;

    const auto single = [&](unsigned callers) {
      return [&, callers] {
        go_on_or_throw();
        const Sample sample = timed([&] {
          const double deadline = wall_now_s() + slice_s(callers);
          return in_threads(callers, [&](unsigned caller) {
            std::uint64_t done = 0;
            for (; wall_now_s() < deadline; ++done)
              clients[caller].pair({buyer_of(caller, done, market), host_of(done, market)});
            return done;
          });
        });
        pairs += static_cast<std::uint64_t>(sample.operations);
        return sample;
      };
    };
    const auto grouped = [&] {
      go_on_or_throw();
      std::vector<PgPair> group;
      for (unsigned i = 0; i < 100; ++i) group.push_back({buyer_of(0, i, market), host_of(i, market)});
      const unsigned groups = options_.quick ? 1 : 5;
      pairs += groups * group.size();
      return timed([&] {
        for (unsigned i = 0; i < groups; ++i) clients[0].pairs_in_one_transaction(group);
        return groups * group.size();
      });
    };
    const auto series = interleave({callers_case(make_calyx, 1, our_name_ + ", one caller"),
                                    {"pgledger, one client", single(1)},
                                    callers_case(make_calyx, 8, our_name_ + ", 8 callers"),
                                    {"pgledger, 8 clients", single(8)},
                                    bulk_case(make_calyx, 1, 100, our_name_ + ", bulk of 100 pairs"),
                                    {"pgledger, 100 pairs a transaction", grouped}},
                                   options_.rounds);
    if (!ledger.books_are_right(pairs)) throw std::runtime_error("pgledger's books are wrong: no peer");
    for (std::size_t i = 0; i < series.size(); i += 2) {
      report("pgledger", series[i + 1], figure::rate);
      report("pgledger", series[i], figure::rate, series[i + 1], Ratio::value_over_peer);
    }
  }

  /// What a spend costs when there is much behind it.
  void spend_history() {
    const fs::path small = history(1000);
    const Opened large(make_calyx, copy_of(history(options_.entries)), 1);
    const Market market;
    const auto durable = [&](Subject& subject) {
      for (unsigned i = 0; i < 5; ++i) one_spend(subject, i, market);
      return timed([&] {
        // Few, so that a market of 1,000 entries still is one at the end.
        for (unsigned i = 0; i < 50; ++i) one_spend(subject, i, market);
        return 50;
      });
    };
    const auto bulk = [&](Subject& subject) {
      const Batch batch = spends_batch(200, market);
      return timed([&] {
        subject.bulk(0, batch.operations);
        return batch.operations.size();
      });
    };
    const auto on_small = [&](const auto& work) {
      return [&] {
        go_on_or_throw();
        const Opened opened(make_calyx, copy_of(small), 1);
        return work(*opened);
      };
    };
    const auto on_large = [&](const auto& work) {
      return [&] {
        go_on_or_throw();
        return work(*large);
      };
    };
    const std::string long_name = "a spend at " + std::to_string(options_.entries) + " entries";
    const auto series = interleave({{"a spend at 1000 entries", on_small(durable)},
                                    {long_name, on_large(durable)},
                                    {"a spend in bulk at 1000 entries", on_small(bulk)},
                                    {long_name + ", in bulk", on_large(bulk)}},
                                   options_.rounds);
    for (const Figure& figure : {figure::wall, figure::cpu})
      for (std::size_t i = 0; i < series.size(); i += 2) {
        report("spend_history", series[i], figure);
        report("spend_history", series[i + 1], figure, series[i], Ratio::value_over_peer);
      }
  }

  /// A balance at a long history, against sums over an index that holds the amounts.
  void balance() {
    make_plain_table();
    const Folder folder = copy_of(history(options_.entries));
    const fs::path file = folder.file();
    const std::unique_ptr<Subject> subject = make_calyx();
    subject->open(file);
    const Market market;
    subject->prepare(market);
    subject->expect_callers(1);
    const std::int64_t before = subject->balance(0);
    run_again("--spend-as-other-process", file);
    if (subject->balance(0) != before - market.locked_micro)
      throw std::runtime_error("a balance does not see what another process committed");

    PlainFile plain(plain_file());
    const unsigned reads = options_.quick ? 2000 : 50'000;
    std::int64_t sink = 0;
    const std::string entries = std::to_string(options_.entries);
    const auto series = interleave(
        {{our_name_ + ", a balance at " + entries + " entries",
          [&] {
            return timed([&] {
              for (unsigned i = 0; i < reads; ++i) sink += subject->balance(i % market.buyers);
              return reads;
            });
          }},
         {"covering SUM over one wallet of " + entries + " entries",
          [&] {
            go_on_or_throw();
            return timed([&] {
              sink += plain.read("SELECT SUM(amount) FROM one_wallet WHERE wallet = 7");
              return 1;
            });
          }},
         {"covering SUM over one buyer of the same market",
          [&] {
            return timed([&] {
              for (unsigned i = 0; i < 20; ++i)
                sink += plain.read(
                    "SELECT SUM(amount) FROM plain_entries WHERE wallet = (SELECT wallet FROM a_buyer)");
              return 20;
            });
          }}},
        options_.rounds);
    subject->close();
    // Used, so that no sum can be left out.
    if (sink == 1) std::fputs("", stderr);
    report("balance", series[1], figure::wall);
    report("balance", series[2], figure::wall);
    report("balance", series[0], figure::wall, series[1], Ratio::peer_over_value);
    report("balance", series[0], figure::wall, series[2], Ratio::peer_over_value);
  }

  /// What an open and an audit cost, against bare scans of as many entries.
  void rebuild() {
    make_plain_table();
    const Folder folder = copy_of(history(options_.entries));
    const fs::path file = folder.file();
    const std::string own_query =
        "SELECT wallet, SUM(amount) FROM (" + make_calyx()->entries_query() + ") GROUP BY wallet";
    std::int64_t sum = 0;
    const auto scan = [&](const fs::path& of, const std::string& sql) {
      return [&sum, of, sql] {
        go_on_or_throw();
        PlainFile plain(of);
        plain.prepared(sql);
        return timed([&] {
          sum += plain.read(sql);
          return 1;
        });
      };
    };
    const auto series =
        interleave({{"GROUP BY over a plain table, covering index",
                     scan(plain_file(), "SELECT wallet, SUM(amount) FROM plain_entries GROUP BY wallet")},
                    {"GROUP BY over the market's own entries", scan(file, own_query)},
                    {our_name_ + ", open",
                     [&] {
                       go_on_or_throw();
                       const std::unique_ptr<Subject> subject = make_calyx();
                       const Sample sample = timed([&] {
                         subject->open(file);
                         return 1;
                       });
                       subject->close();
                       return sample;
                     }},
                    {our_name_ + ", audit",
                     [&] {
                       go_on_or_throw();
                       const std::unique_ptr<Subject> subject = make_calyx();
                       subject->open(file);
                       subject->prepare(Market{});
                       const Sample sample = timed([&] {
                         subject->audit();
                         return 1;
                       });
                       subject->close();
                       return sample;
                     }}},
                   options_.rounds);
    if (sum != 0) throw std::runtime_error("a scan of the books does not sum to zero");
    for (const Figure& figure : {figure::wall, figure::cpu}) {
      report("rebuild", series[0], figure);
      report("rebuild", series[1], figure);
      for (std::size_t ours = 2; ours < 4; ++ours)
        for (std::size_t peer = 0; peer < 2; ++peer)
          report("rebuild", series[ours], figure, series[peer], Ratio::value_over_peer);
    }
    run_again("--report-open-memory", file);
  }

  /// What an open of the long history takes: CPU of one core, and memory in a process of its own.
  void open_memory() {
    const Folder folder = copy_of(history(options_.entries));
    const fs::path file = folder.file();
    const Case opening{our_name_ + ", open at " + std::to_string(options_.entries) + " entries", [&] {
                         go_on_or_throw();
                         const std::unique_ptr<Subject> subject = make_calyx();
                         const Sample sample = timed([&] {
                           subject->open(file);
                           return 1;
                         });
                         subject->close();
                         return sample;
                       }};
    report("open_memory", interleave({opening}, options_.rounds)[0], figure::cpu);
    run_again("--report-open-memory", file);
  }

  /// What a request of the wire costs above the typed call that it comes to, and lookups of one core.
  void wire() {
    WireMarket market;
    const unsigned count = options_.quick ? 500 : 5000;
    const auto round = [&](Sample (WireMarket::*ask)(unsigned)) {
      return [&market, ask, count] {
        go_on_or_throw();
        return (market.*ask)(count);
      };
    };
    const auto series = interleave({{our_name_ + ", spend, typed", round(&WireMarket::typed_spends)},
                                    {our_name_ + ", spend, wire", round(&WireMarket::wire_spends)},
                                    {our_name_ + ", wallet, typed", round(&WireMarket::typed_gets)},
                                    {our_name_ + ", GET /v1/wallets/{id}", round(&WireMarket::wire_gets)}},
                                   options_.rounds);
    for (const std::size_t wire : {std::size_t{1}, std::size_t{3}}) {
      report("wire", series[wire - 1], figure::cpu);
      report("wire", series[wire], figure::cpu, series[wire - 1], Ratio::value_over_peer);
      Line line{};
      line.question = "wire";
      const std::string name = series[wire].name + ", above the typed call";
      line.name = name;
      line.unit = "cpu_us";
      line.value = spread_of(above(series[wire], series[wire - 1]));
      line.rounds = series[wire].samples.size();
      print(line);
    }
    report("wire", series[3], figure::cpu_rate);
  }

  void file_bytes() {
    history(options_.entries);
    const double bytes = long_history_bytes_a_pair_;
    Line line{};
    line.question = "file_bytes";
    const std::string name = our_name_ + ", bytes a pair at " + std::to_string(options_.entries) + " entries";
    line.name = name;
    line.unit = "B";
    line.value = {bytes, bytes, bytes};
    line.rounds = 1;
    print(line);
  }

 private:
  /// A market with its wallets and no pairs, to be copied: a round must not pay for making it.
  Folder make_template(Maker make) {
    Folder folder(work_.path());
    const std::unique_ptr<Subject> subject = make();
    subject->open(folder.file());
    subject->prepare(Market{});
    subject->close();
    return folder;
  }

  Folder copy_of(const fs::path& folder) {
    Folder copy(work_.path());
    fs::copy(folder, copy.path(), fs::copy_options::recursive);
    return copy;
  }

  Folder fresh(Maker make) {
    go_on_or_throw();
    return copy_of(make == make_baseline ? theirs_.path() : ours_.path());
  }

  static void one_spend(Subject& subject, std::uint64_t number, const Market& market) {
    const std::string job = new_job();
    subject.spend(0, {Operation::Kind::spend, buyer_of(0, number, market), job, market.locked_micro});
  }

  /// A caller that sleeps for a lock when time is up still counts its wait: the longer the round, the less.
  double slice_s(unsigned callers) const { return callers == 1 ? options_.slice_s : 2 * options_.slice_s; }

  /// Pairs of durable calls in a market without history.
  Case callers_case(Maker make, unsigned callers, std::string name) {
    return {std::move(name), [this, make, callers] {
              const Opened market(make, fresh(make), callers);
              const Market terms;
              const auto run = [&](double seconds) {
                const double deadline = wall_now_s() + seconds;
                return in_threads(callers, [&](unsigned caller) {
                  std::uint64_t done = 0;
                  // At least one, so that a starved machine still gives a figure.
                  do durable_pair(*market, caller, done++, terms);
                  while (wall_now_s() < deadline);
                  return done;
                });
              };
              // The first calls meet cold caches and an empty log on every side.
              run(slice_s(callers) / 10);
              return timed([&] { return run(slice_s(callers)); });
            }};
  }

  /// Bulks in a market without history, from one thread or several.
  Case bulk_case(Maker make, unsigned callers, std::size_t pairs, std::string name) {
    return {std::move(name), [this, make, callers, pairs] {
              const Opened market(make, fresh(make), callers);
              const Market terms;
              std::vector<std::vector<Batch>> batches(callers);
              const std::size_t count = std::max<std::size_t>(1, options_.bulks * 1000 / pairs);
              for (unsigned caller = 0; caller < callers; ++caller)
                for (std::size_t i = 0; i < count; ++i)
                  batches[caller].push_back(pairs_batch(pairs, caller, terms));
              const Batch first = pairs_batch(50, 0, terms);
              market->bulk(0, first.operations);
              return timed([&] {
                return in_threads(callers, [&](unsigned caller) {
                  for (const Batch& batch : batches[caller]) market->bulk(caller, batch.operations);
                  return static_cast<std::uint64_t>(count * pairs);
                });
              });
            }};
  }

  /// One caller's bulks, signed by its own thread, and with the thread that a host may ask for beside it.
  void bulks_against(std::string_view question, const Case& theirs) {
    const std::string bulk = our_name_ + ", bulk of 1,000 pairs";
    const auto series =
        interleave({bulk_case(make_calyx, 1, 1000, bulk),
                    bulk_case(make_calyx_signing, 1, 1000, bulk + ", a signing thread"), theirs},
                   options_.rounds);
    for (const auto what : {figure::rate, figure::cpu}) {
      report(question, series[2], what);
      report(question, series[0], what, series[2], Ratio::value_over_peer);
      report(question, series[1], what, series[2], Ratio::value_over_peer);
    }
  }

  void compare(std::string_view question, const Case& ours, const Case& theirs) {
    const auto series = interleave({ours, theirs}, options_.rounds);
    report(question, series[1], figure::rate);
    report(question, series[0], figure::rate, series[1], Ratio::value_over_peer);
    report(question, series[1], figure::cpu);
    report(question, series[0], figure::cpu, series[1], Ratio::value_over_peer);
  }

  void callers_against_baseline(std::string_view question, unsigned callers, unsigned threads) {
    const auto counted = [](unsigned count, const char* one, const char* many) {
      return count == 1 ? std::string("one ") + one : std::to_string(count) + " " + many;
    };
    compare(question,
            callers_case(make_calyx, callers, our_name_ + ", " + counted(callers, "caller", "callers")),
            callers_case(make_baseline, threads, "baseline, " + counted(threads, "thread", "threads")));
  }

  /// The folder of a closed market with about `entries` entries, made when first asked for.
  fs::path history(std::uint64_t entries) {
    std::optional<Folder>& kept = entries == options_.entries ? long_history_ : short_history_;
    if (kept) return kept->path();
    Folder folder = fresh(make_calyx);
    const std::uintmax_t bytes_before = bytes_in(folder.path());
    const std::unique_ptr<Subject> subject = make_calyx();
    subject->open(folder.file());
    const Market market;
    subject->prepare(market);
    subject->expect_callers(1);
    // Two for the spend; four for the settlement, with the host's, the fee's and the payer's share.
    const std::uint64_t wanted =
        entries - std::min(entries, static_cast<std::uint64_t>(subject->entry_count()));
    std::uint64_t pairs = 0;
    while (pairs * 6 < wanted) {
      go_on_or_throw();
      const std::uint64_t next = std::min<std::uint64_t>(1000, (wanted - pairs * 6 + 5) / 6);
      subject->bulk(
          0,
          pairs_batch(static_cast<std::size_t>(next), static_cast<unsigned>(pairs % 97), market).operations);
      pairs += next;
    }
    const auto found = static_cast<std::uint64_t>(subject->entry_count());
    subject->close();
    if (found + 1000 < entries || found > entries + 1000)
      throw std::runtime_error("a history of " + std::to_string(entries) + " entries came out at " +
                               std::to_string(found));
    if (entries == options_.entries)
      long_history_bytes_a_pair_ =
          static_cast<double>(bytes_in(folder.path()) - bytes_before) / static_cast<double>(pairs);
    kept.emplace(std::move(folder));
    return kept->path();
  }

  fs::path plain_file() const { return work_.path() / "plain.db"; }

  /// The long history's entries in a table of nothing else, and as many entries of one wallet.
  void make_plain_table() {
    if (plain_made_) return;
    const Folder source = copy_of(history(options_.entries));
    {
      // The market's own file comes first, so that its query finds its own tables whatever ours are called.
      PlainFile market(source.file());
      market.run("ATTACH '" + plain_file().string() + "' AS plain");
      market.run("PRAGMA plain.journal_mode=WAL");
      market.run("CREATE TABLE plain.plain_entries(wallet, amount INTEGER NOT NULL)");
      market.run("CREATE TABLE plain.one_wallet(wallet INTEGER NOT NULL, amount INTEGER NOT NULL)");
      market.run("INSERT INTO plain_entries SELECT wallet, amount FROM (" + make_calyx()->entries_query() +
                 ")");
      market.run("INSERT INTO one_wallet SELECT 7, amount FROM plain_entries");
    }
    PlainFile plain(plain_file());
    plain.run("CREATE INDEX entries_of_wallet ON plain_entries(wallet, amount)");
    plain.run("CREATE INDEX one_wallet_amounts ON one_wallet(wallet, amount)");
    // Wallets with more entries than a buyer are the hosts, the fees and what stands outside; a wallet of one
    // job's escrow has fewer. So the wallet that comes sixtieth is a buyer's.
    plain.run(
        "CREATE TABLE a_buyer AS SELECT wallet FROM plain_entries GROUP BY wallet ORDER BY COUNT(*) DESC"
        " LIMIT 1 OFFSET 60");
    plain.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const std::int64_t copied = plain.read("SELECT COUNT(*) FROM one_wallet");
    if (copied + 1000 < static_cast<std::int64_t>(options_.entries))
      throw std::runtime_error("the plain table got " + std::to_string(copied) + " entries: no peer");
    plain_made_ = true;
  }

  Options options_;
  Folder work_;
  Folder ours_;
  Folder theirs_;
  std::string our_name_;
  std::optional<Folder> short_history_;
  std::optional<Folder> long_history_;
  double long_history_bytes_a_pair_ = 0;
  bool plain_made_ = false;
};

struct Question {
  const char* name;
  void (Bench::*ask)();
};

constexpr Question questions[] = {
    {"one_caller", &Bench::one_caller},
    {"callers_8", &Bench::callers_8},
    {"callers_64", &Bench::callers_64},
    {"bulk_1000", &Bench::bulk_1000},
    {"bulk_1000_over_single", &Bench::bulk_1000_over_single},
    {"sign_rate", &Bench::sign_rate},
    {"pgledger", &Bench::pgledger},
    {"spend_history", &Bench::spend_history},
    {"balance", &Bench::balance},
    {"rebuild", &Bench::rebuild},
    {"open_memory", &Bench::open_memory},
    {"wire", &Bench::wire},
    {"file_bytes", &Bench::file_bytes},
};

[[noreturn]] void misused(const std::string& why) {
  std::string text = why +
                     "\nusage: ledger_bench [--quick] [--only question,...] [--rounds N] [--entries N]"
                     " [--dir PATH]\nquestions:";
  for (const Question& question : questions) text += std::string(" ") + question.name;
  throw std::invalid_argument(text);
}

Options read_options(const std::vector<std::string>& words) {
  Options options;
  // Not /tmp by default: where it is memory, a sync costs nothing and a figure says nothing.
  const char* temporary = std::getenv("TMPDIR");
  options.dir = temporary != nullptr && *temporary != '\0' ? temporary : "/var/tmp";
  std::optional<unsigned> rounds;
  std::optional<std::uint64_t> entries;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == words.size()) misused(word + " needs a value");
      return words[++i];
    };
    const auto number = [&]() -> std::uint64_t {
      const std::string& text = value();
      if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
        misused(word + " needs a number, not " + text);
      return std::stoull(text);
    };
    if (word == "--quick") {
      options.quick = true;
    } else if (word == "--only") {
      std::string list = value() + ",";
      for (std::size_t end = 0; (end = list.find(',')) != std::string::npos; list.erase(0, end + 1))
        if (end > 0) options.only.push_back(list.substr(0, end));
    } else if (word == "--rounds") {
      rounds = static_cast<unsigned>(number());
    } else if (word == "--entries") {
      entries = number();
    } else if (word == "--dir") {
      options.dir = value();
    } else {
      misused("unknown option " + word);
    }
  }
  if (options.quick) {
    options.rounds = 3;
    options.entries = 20'000;
    options.slice_s = 0.1;
    options.bulks = 1;
  }
  if (rounds) options.rounds = *rounds;
  if (entries) options.entries = *entries;
  if (options.rounds == 0) misused("--rounds must be at least 1");
  if (options.entries < 5000) misused("--entries must be at least 5000, to be longer than the short history");
  for (const std::string& name : options.only)
    if (std::none_of(std::begin(questions), std::end(questions),
                     [&](const Question& q) { return name == q.name; }))
      misused("unknown question " + name);
  return options;
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "--spend-as-other-process") {
    spend_as_other_process(words[1]);
    return 0;
  }
  if (words.size() == 2 && words[0] == "--report-open-memory") {
    report_open_memory(words[1]);
    return 0;
  }
  const Options options = read_options(words);
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  Bench bench(options);
  int failed = 0;
  for (const Question& question : questions) {
    const std::vector<std::string>& only = options.only;
    if (!only.empty() && std::find(only.begin(), only.end(), question.name) == only.end()) continue;
    try {
      (bench.*question.ask)();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", question.name, error.what());
      failed = 1;
      if (interrupted != 0) break;
    }
  }
  return failed;
}

}  // namespace
}  // namespace calyx::bench

int main(int argc, char** argv) {
  try {
    return calyx::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
