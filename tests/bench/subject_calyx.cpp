#include <calyx/calyx.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "subject.hpp"

namespace calyx::bench {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result.ok())
    throw std::runtime_error(std::string(word(result.error().reason)) + ": " + result.error().message);
  return *std::move(result);
}

class CalyxSubject final : public Subject {
 public:
  explicit CalyxSubject(unsigned signing_threads) : signing_threads_(signing_threads) {}

  std::string_view name() const override { return "calyx"; }

  void open(const std::filesystem::path& file) override {
    Options options;
    options.path = file.string();
    options.signing_threads = signing_threads_;
    engine_.emplace(must(Engine::open(std::move(options))));
  }

  void prepare(const Market& market) override {
    market_ = market;
    buyers_.clear();
    hosts_.clear();
    find_wallets();
    if (!buyers_.empty()) return;
    Session session = engine_->as_operator();
    Policy policy;
    policy.spend_cap_per_job = Money{market.cap_job_micro};
    policy.spend_cap_per_hour = Money{market.cap_hour_micro};
    policy.allowed_gpu_types.emplace(std::begin(market.allowed_gpus), std::end(market.allowed_gpus));
    for (unsigned i = 0; i < market.buyers; ++i) {
      WalletCreate asked{
          .owner_type = OwnerType::human, .owner_id = "buyer-" + std::to_string(i), .policy = policy};
      buyers_.push_back(must(session.create_wallet(asked)).wallet.id);
      must(session.topup({.wallet = buyers_.back(), .amount = Money{market.funded_micro}}));
    }
    for (unsigned i = 0; i < market.hosts; ++i) {
      WalletCreate asked{.owner_type = OwnerType::human, .owner_id = "host-" + std::to_string(i)};
      hosts_.push_back(must(session.create_wallet(asked)).wallet.id);
    }
  }

  void expect_callers(unsigned) override {}

  void spend(unsigned, const Operation& operation) override {
    must(engine_->as_operator().spend(spend_of(operation)));
  }
  void earn(unsigned, const Operation& operation) override {
    must(engine_->as_operator().earn(earn_of(operation)));
  }

  void bulk(unsigned, std::span<const Operation> operations) override {
    // One call takes calyx::bulk_max operations, half of what a thousand pairs are: two commits.
    std::vector<calyx::Operation> asked;
    for (std::size_t begin = 0; begin < operations.size(); begin += calyx::bulk_max) {
      asked.clear();
      for (const Operation& operation :
           operations.subspan(begin, std::min(calyx::bulk_max, operations.size() - begin))) {
        if (operation.kind == Operation::Kind::spend)
          asked.emplace_back(spend_of(operation));
        else
          asked.emplace_back(earn_of(operation));
      }
      for (const Outcome& outcome : must(engine_->as_operator().bulk(asked)))
        if (const auto* error = std::get_if<Error>(&outcome)) throw std::runtime_error(error->message);
    }
  }

  std::int64_t balance(unsigned buyer) override {
    return must(engine_->as_operator().wallet(buyers_[buyer])).balance.micro;
  }

  void audit() override {
    const AuditReport report = must(engine_->as_operator().audit());
    if (!report.ok) throw std::runtime_error(report.first_fault);
  }

  std::int64_t entry_count() override {
    return static_cast<std::int64_t>(must(engine_->as_operator().audit()).entries);
  }

  std::size_t signing_input_bytes() override {
    const std::string jws =
        must(engine_->as_operator().receipts(hosts_.front(), {.limit = 1})).items.at(0).jws;
    return jws.rfind('.');
  }

  std::string entries_query() const override { return "SELECT account AS wallet, amount FROM ledger"; }

  void close() override { engine_.reset(); }

 private:
  void find_wallets() {
    Session session = engine_->as_operator();
    Page page{.limit = 1000};
    do {
      const Listed<Wallet> listed = must(session.wallets(page));
      for (const Wallet& wallet : listed.items)
        (wallet.owner_id.starts_with("buyer-") ? buyers_ : hosts_).push_back(wallet.id);
      page.after = listed.next;
    } while (!page.after.empty());
  }
  Spend spend_of(const Operation& operation) const {
    return {.wallet = buyers_[operation.party],
            .job_id = std::string(operation.job),
            .amount = Money{operation.amount_micro},
            .gpu_type = std::string(market_.gpu_model)};
  }
  Earn earn_of(const Operation& operation) const {
    return {.host = hosts_[operation.party],
            .job_id = std::string(operation.job),
            .gross_amount = Money{operation.amount_micro},
            .gpu_model = std::string(market_.gpu_model),
            .duration_seconds = 10'082};
  }

  unsigned signing_threads_;
  std::optional<Engine> engine_;
  Market market_;
  std::vector<WalletId> buyers_, hosts_;
};

}  // namespace

std::unique_ptr<Subject> make_calyx() { return std::make_unique<CalyxSubject>(0U); }
std::unique_ptr<Subject> make_calyx_signing() { return std::make_unique<CalyxSubject>(1U); }

}  // namespace calyx::bench
