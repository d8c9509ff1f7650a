#include "baseline.hpp"

#include <doctest/doctest.h>
#include <sodium.h>
#include <stdlib.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using calyx::bench::Baseline;
using calyx::bench::BaselineEarn;
using calyx::bench::BaselinePolicy;
using calyx::bench::BaselineReceipt;
using calyx::bench::BaselineSpend;
using calyx::bench::Outcome;
using calyx::bench::WalletIndex;

constexpr std::int64_t flops = 1'000'000;
constexpr std::int64_t noon_us = 1'795'003'200'000'000;
constexpr const char* agent = "wlt_agent";
constexpr const char* host = "wlt_host";

/// A folder of its own, gone with the test.
class Folder {
 public:
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "calyx-baseline-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("no folder for the test");
    path_ = path;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::filesystem::path file() const { return path_ / "baseline.db"; }

 private:
  std::filesystem::path path_;
};

/// An agent with 20 FLOPS, 5 a job and 12 an hour, and a host.
void fill(Baseline& ledger) {
  ledger.create_wallet(agent, {5 * flops, 12 * flops, "|RTX 4090|A100|"});
  ledger.create_wallet(host, {});
  ledger.fund(agent, 20 * flops);
}

BaselineSpend lock(const char* job, std::int64_t amount_micro) {
  return {agent, job, "RTX 4090", amount_micro};
}

bool verifies(const Baseline& ledger, const BaselineReceipt& receipt) {
  const std::string input = ledger.signing_input(receipt.payload);
  return crypto_sign_verify_detached(receipt.signature.data(),
                                     reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                                     ledger.public_key().data()) == 0;
}

bool holds(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

TEST_CASE("the baseline moves money as calyx does, and its books sum to zero") {
  for (const WalletIndex index : {WalletIndex::by_time, WalletIndex::covering}) {
    CAPTURE(static_cast<int>(index));
    const Folder folder;
    Baseline ledger(folder.file(), {index, 1000});
    fill(ledger);
    REQUIRE(ledger.spend(lock("job-441", 4 * flops), noon_us) == Outcome::done);
    CHECK(ledger.balance(agent) == 16 * flops);
    CHECK(ledger.balance("wlt_escrow") == 4 * flops);
    REQUIRE(ledger.earn({host, "job-441", 3'800'000}, noon_us) == Outcome::done);
    CHECK(ledger.balance(host) == 3'230'000);
    CHECK(ledger.balance("wlt_platform_fees") == 570'000);
    CHECK(ledger.balance("wlt_escrow") == 0);
    CHECK(ledger.balance(agent) == 16'200'000);
    CHECK(ledger.sum_of_books() == 0);
    CHECK(ledger.entry_count() == 2 + 2 + 4);
  }
}

TEST_CASE("the baseline refuses what calyx refuses, and writes nothing") {
  struct Row {
    const char* says;
    BaselineSpend spend;
    Outcome expected;
  };
  const Row rows[] = {
      {"an unknown wallet", {"wlt_nobody", "job-1", "RTX 4090", flops}, Outcome::wallet_unknown},
      {"a model off the list", {agent, "job-1", "H100", flops}, Outcome::gpu_not_allowed},
      {"a part of a listed name", {agent, "job-1", "RTX", flops}, Outcome::gpu_not_allowed},
      {"no model at all", {agent, "job-1", "", flops}, Outcome::gpu_not_allowed},
      {"one micro above the job's cap", lock("job-1", 5 * flops + 1), Outcome::above_job_cap},
      {"the same job twice", lock("job-0", flops), Outcome::job_reused},
  };
  const Folder folder;
  Baseline ledger(folder.file());
  fill(ledger);
  REQUIRE(ledger.spend(lock("job-0", flops), noon_us) == Outcome::done);
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(ledger.spend(row.spend, noon_us) == row.expected);
    CHECK(ledger.balance(agent) == 19 * flops);
    CHECK(ledger.entry_count() == 4);
  }
}

TEST_CASE("the baseline's hour rolls, and what came back unspent does not count") {
  const Folder folder;
  Baseline ledger(folder.file());
  fill(ledger);
  REQUIRE(ledger.spend(lock("job-1", 5 * flops), noon_us) == Outcome::done);
  REQUIRE(ledger.spend(lock("job-2", 5 * flops), noon_us) == Outcome::done);
  CHECK(ledger.spend(lock("job-3", 2 * flops + 1), noon_us) == Outcome::above_hour_cap);
  REQUIRE(ledger.earn({host, "job-2", 4 * flops}, noon_us) == Outcome::done);
  CHECK(ledger.spend(lock("job-3", 3 * flops), noon_us) == Outcome::done);
  CHECK(ledger.spend(lock("job-4", 1), noon_us + Baseline::hour_us - 1) == Outcome::above_hour_cap);
  // A lock exactly 60 minutes old is outside.
  CHECK(ledger.spend(lock("job-4", 5 * flops), noon_us + Baseline::hour_us) == Outcome::done);
  // 20 less 5, 4, 3 and 5.
  CHECK(ledger.balance(agent) == 3 * flops);
  CHECK(ledger.spend(lock("job-5", 3 * flops + 1), noon_us + 2 * Baseline::hour_us) ==
        Outcome::insufficient_balance);
  CHECK(ledger.spend(lock("job-5", 3 * flops), noon_us + 2 * Baseline::hour_us) == Outcome::done);
}

TEST_CASE("the baseline settles a job once") {
  const Folder folder;
  Baseline ledger(folder.file());
  fill(ledger);
  REQUIRE(ledger.spend(lock("job-1", 4 * flops), noon_us) == Outcome::done);
  CHECK(ledger.earn({host, "job-2", flops}, noon_us) == Outcome::job_unknown);
  CHECK(ledger.earn({host, "job-1", 4 * flops + 1}, noon_us) == Outcome::gross_above_locked);
  CHECK(ledger.earn({"wlt_nobody", "job-1", flops}, noon_us) == Outcome::wallet_unknown);
  CHECK(ledger.earn({host, "job-1", 4 * flops}, noon_us) == Outcome::done);
  CHECK(ledger.earn({host, "job-1", 4 * flops}, noon_us) == Outcome::already_settled);
  CHECK(ledger.balance(host) == 3'400'000);
  CHECK(ledger.sum_of_books() == 0);
}

TEST_CASE("fee and net are gross, for every amount, and half a micro goes to the even side") {
  struct Row {
    std::int64_t gross_micro, fee_micro;
  };
  const Row rows[] = {{0, 0}, {1, 0}, {3, 0}, {4, 1}, {10, 2}, {30, 4}, {50, 8}, {3'230'000, 484'500}};
  const Folder folder;
  Baseline ledger(folder.file());
  ledger.create_wallet(agent, {5 * flops, 100 * flops, ""});
  ledger.create_wallet(host, {});
  ledger.fund(agent, 100 * flops);
  std::int64_t fees = 0;
  for (const Row& row : rows) {
    CAPTURE(row.gross_micro);
    const std::string job = "job-" + std::to_string(row.gross_micro);
    REQUIRE(ledger.spend({agent, job, "", 5 * flops}, noon_us) == Outcome::done);
    REQUIRE(ledger.earn({host, job, row.gross_micro}, noon_us) == Outcome::done);
    fees += row.fee_micro;
    CHECK(ledger.balance("wlt_platform_fees") == fees);
    CHECK(ledger.balance("wlt_escrow") == 0);
    CHECK(ledger.sum_of_books() == 0);
  }
}

TEST_CASE("the baseline's receipt has the shape and the size of calyx's, and its signature holds") {
  const Folder folder;
  Baseline ledger(folder.file());
  const std::string buyer = "wlt_" + std::string(26, 'B');
  const std::string seller = "wlt_" + std::string(26, 'H');
  ledger.create_wallet(buyer, {5 * flops, 12 * flops, "|RTX 4090|"});
  ledger.create_wallet(seller, {});
  ledger.fund(buyer, 20 * flops);
  const std::string job = "job_" + std::string(26, 'J');
  REQUIRE(ledger.spend({buyer, job, "RTX 4090", 4 * flops}, noon_us) == Outcome::done);
  REQUIRE(ledger.earn({seller, job, 3'800'000}, noon_us) == Outcome::done);
  BaselineReceipt receipt = ledger.receipt(job);
  CAPTURE(receipt.payload);
  for (const char* part :
       {R"("amount":{"gross":"3.80","net":"3.23","platform_fee":"0.57","unit":"FLOPS"})",
        R"("fee_basis_points":1500)", R"("gpu_model":"RTX 4090")", R"("ledger":{"head":")",
        R"("issued_at":"2026-11-18T12:00:00Z")", R"("settlement":{"rail":"escrow","reference":"txn_)",
        R"("type":"calyx.compute_receipt","v":1})"})
    CHECK_MESSAGE(holds(receipt.payload, part), part);
  CHECK(receipt.payload.size() >= 620);
  CHECK(receipt.payload.size() <= 700);
  CHECK(verifies(ledger, receipt));
  receipt.payload[receipt.payload.find("3.80")] = '4';
  CHECK_FALSE(verifies(ledger, receipt));
}

TEST_CASE("a group of the baseline is one commit: all of it stands, or none") {
  const Folder folder;
  Baseline ledger(folder.file());
  Baseline other(folder.file());
  fill(ledger);
  ledger.begin_group();
  REQUIRE(ledger.spend(lock("job-1", flops), noon_us) == Outcome::done);
  CHECK(ledger.spend(lock("job-1", flops), noon_us) == Outcome::job_reused);
  REQUIRE(ledger.earn({host, "job-1", flops}, noon_us) == Outcome::done);
  CHECK(other.balance(agent) == 20 * flops);
  ledger.commit_group();
  CHECK(other.balance(agent) == 19 * flops);
  ledger.begin_group();
  REQUIRE(ledger.spend(lock("job-2", flops), noon_us) == Outcome::done);
  ledger.roll_back_group();
  CHECK(other.balance(agent) == 19 * flops);
  CHECK(other.sum_of_books() == 0);
}

TEST_CASE("eight threads with a connection each lose nothing and spend nothing twice") {
  const Folder folder;
  Baseline first(folder.file());
  first.create_wallet(agent, {flops, 1000 * flops, ""});
  first.create_wallet(host, {});
  // Enough for 40 of the 64 that are asked for.
  first.fund(agent, 40 * flops);
  std::vector<int> done(8, 0);
  std::vector<int> short_of_funds(8, 0);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 8; ++thread)
    threads.emplace_back([&, thread] {
      Baseline mine(folder.file());
      for (int i = 0; i < 8; ++i) {
        const std::string job = "job-" + std::to_string(thread) + "-" + std::to_string(i);
        const Outcome outcome = mine.spend({agent, job, "", flops}, noon_us);
        if (outcome == Outcome::done && mine.earn({host, job, flops}, noon_us) == Outcome::done)
          ++done[thread];
        if (outcome == Outcome::insufficient_balance) ++short_of_funds[thread];
      }
    });
  for (std::thread& thread : threads) thread.join();
  int pairs = 0;
  int refused = 0;
  for (std::size_t i = 0; i < 8; ++i) {
    pairs += done[i];
    refused += short_of_funds[i];
  }
  CHECK(pairs == 40);
  CHECK(refused == 24);
  CHECK(first.balance(agent) == 0);
  CHECK(first.balance(host) == 40 * 850'000);
  CHECK(first.sum_of_books() == 0);
}

TEST_CASE("what the machine itself costs is measured, not guessed") {
  const Folder folder;
  CHECK(calyx::bench::bare_signatures(1000, 200).cpu_us() > 1.0);
  CHECK(calyx::bench::bare_four_row_inserts(folder.file().parent_path(), 2000).cpu_us() > 0.1);
  CHECK(std::filesystem::is_empty(folder.file().parent_path()));
}

TEST_CASE("rounds take turns, and a ratio is the median of the ratios within them") {
  using calyx::bench::Sample;
  std::string order;
  const auto round = [&order](char name, double operations) {
    return [&order, name, operations] {
      order += name;
      return Sample{.wall_s = order.size() < 3 ? 1.0 : 2.0, .cpu_s = 1.0, .operations = operations};
    };
  };
  const auto series = calyx::bench::interleave({{"a", round('a', 30)}, {"b", round('b', 10)}}, 3);
  CHECK(order == "ababab");
  REQUIRE(series.size() == 2);
  CHECK(calyx::bench::spread_of({4, 1, 9}).median == 4);
  CHECK(calyx::bench::spread_of({4, 1, 9, 6}).median == 5);
  using calyx::bench::Ratio;
  namespace figure = calyx::bench::figure;
  CHECK(calyx::bench::ratio_of(series[0], series[1], figure::rate, Ratio::value_over_peer) ==
        doctest::Approx(3));
  CHECK(calyx::bench::ratio_of(series[0], series[1], figure::wall, Ratio::peer_over_value) ==
        doctest::Approx(3));
}

}  // namespace
