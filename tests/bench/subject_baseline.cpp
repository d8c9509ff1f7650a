#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <utility>
#include <vector>

#include "baseline.hpp"
#include "subject.hpp"

namespace calyx::bench {
namespace {

std::int64_t now_us() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

/// As long as calyx's ids, so that rows and receipts weigh the same.
std::string wallet_id(const char* role, unsigned number) {
  char text[40];
  std::snprintf(text, sizeof text, "wlt_%-6s%020u", role, number);
  std::string id = text;
  for (char& c : id)
    if (c == ' ') c = '0';
  return id;
}

/// The baseline as a subject: a connection a caller, and one commit a call or a bulk.
class BaselineSubject final : public Subject {
 public:
  std::string_view name() const override { return "baseline"; }

  void open(const std::filesystem::path& file) override {
    file_ = file;
    connections_.push_back(std::make_unique<Baseline>(file_));
  }

  void prepare(const Market& market) override {
    gpu_model_ = market.gpu_model;
    buyers_.clear();
    hosts_.clear();
    for (unsigned i = 0; i < market.buyers; ++i) buyers_.push_back(wallet_id("BUYER", i));
    for (unsigned i = 0; i < market.hosts; ++i) hosts_.push_back(wallet_id("HOST", i));
    Baseline& ledger = *connections_.front();
    if (ledger.entry_count() != 0) return;
    std::string allowed = "|";
    for (const std::string_view gpu : market.allowed_gpus) allowed += std::string(gpu) + "|";
    ledger.begin_group();
    for (const std::string& buyer : buyers_) {
      ledger.create_wallet(buyer, {market.cap_job_micro, market.cap_hour_micro, allowed});
      ledger.fund(buyer, market.funded_micro);
    }
    for (const std::string& host : hosts_) ledger.create_wallet(host, {});
    ledger.commit_group();
  }

  void expect_callers(unsigned callers) override {
    while (connections_.size() < callers) connections_.push_back(std::make_unique<Baseline>(file_));
  }

  void spend(unsigned caller, const Operation& operation) override { one(*connections_[caller], operation); }
  void earn(unsigned caller, const Operation& operation) override { one(*connections_[caller], operation); }

  void bulk(unsigned caller, std::span<const Operation> operations) override {
    Baseline& ledger = *connections_[caller];
    ledger.begin_group();
    try {
      for (const Operation& operation : operations) one(ledger, operation);
    } catch (...) {
      ledger.roll_back_group();
      throw;
    }
    ledger.commit_group();
  }

  std::int64_t balance(unsigned buyer) override { return connections_.front()->balance(buyers_[buyer]); }

  void audit() override {
    if (connections_.front()->sum_of_books() != 0)
      throw std::runtime_error("the baseline's books do not sum to zero");
  }

  std::int64_t entry_count() override { return connections_.front()->entry_count(); }

  std::size_t signing_input_bytes() override {
    if (last_job_.empty()) throw std::runtime_error("no receipt has been signed yet");
    const Baseline& ledger = *connections_.front();
    return ledger.signing_input(connections_.front()->receipt(last_job_).payload).size();
  }

  std::string entries_query() const override { return "SELECT wallet, amount FROM entries"; }

  void close() override {
    if (!connections_.empty()) connections_.front()->checkpoint();
    connections_.clear();
  }

 private:
  void one(Baseline& ledger, const Operation& operation) {
    const bool spends = operation.kind == Operation::Kind::spend;
    const Outcome outcome =
        spends ? ledger.spend({buyers_[operation.party], operation.job, gpu_model_, operation.amount_micro},
                              now_us())
               : ledger.earn({hosts_[operation.party], operation.job, operation.amount_micro}, now_us());
    if (outcome != Outcome::done)
      throw std::runtime_error("the baseline refused job " + std::string(operation.job) + " with outcome " +
                               std::to_string(static_cast<int>(outcome)));
    // Only ever read after calls by the first caller alone.
    if (!spends && &ledger == connections_.front().get()) last_job_ = operation.job;
  }

  std::filesystem::path file_;
  std::string gpu_model_;
  std::vector<std::string> buyers_;
  std::vector<std::string> hosts_;
  std::vector<std::unique_ptr<Baseline>> connections_;
  std::string last_job_;
};

}  // namespace

std::unique_ptr<Subject> make_baseline() { return std::make_unique<BaselineSubject>(); }

}  // namespace calyx::bench
