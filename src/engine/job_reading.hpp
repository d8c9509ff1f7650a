/// \file
/// Reading jobs: what the book says of who asks, and the job itself, or that there is none.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "engine/market.hpp"
#include "services/jobs.hpp"

namespace calyx::engine {

/// What reading jobs needs of the book, copied out of it.
struct Reading {
  std::uint32_t tag = 0;
  services::Caller caller;
  std::vector<WalletId> wallets;         ///< By number less `wallet_first`.
  std::vector<core::AccountNumber> own;  ///< Accounts whose jobs the caller may read; unused for an operator.
};
inline Result<Reading> reading(Market& market, const Principal& principal,
                               services::For keys = services::For::derived_keys) {
  return market.read([&](const services::Book& book, Instant) -> Result<Reading> {
    Reading out{.tag = book.tag};
    CALYX_TRY(out.caller, services::authorize(book, principal, keys));
    for (const services::WalletState& wallet : book.wallets) out.wallets.push_back(wallet.id);
    if (!out.caller.is_operator()) {
      out.own.push_back(out.caller.wallet);
      for (const core::AccountNumber child : book.wallet(out.caller.wallet)->children)
        out.own.push_back(child);
    }
    return out;
  });
}

/// What the account of a payer reads: its own and its agents'; nobody's jobs are the operators'. Without the
/// wallets, unless it is nobody's.
inline Result<Reading> reading_of(Market& market, core::AccountNumber account) {
  if (account == 0) return reading(market, Principal{});
  return market.read([&](const services::Book& book, Instant) -> Result<Reading> {
    Reading out{.tag = book.tag, .caller = {Role::human, account}};
    out.own.push_back(account);
    for (const core::AccountNumber child : book.wallet(account)->children) out.own.push_back(child);
    return out;
  });
}

inline bool may_read(const Reading& reading, core::AccountNumber account) {
  return reading.caller.is_operator() ||
         std::find(reading.own.begin(), reading.own.end(), account) != reading.own.end();
}
inline bool may_read(const Reading& reading, const store::JobState& state) {
  return may_read(reading, state.account);
}

struct FoundJob {
  std::shared_ptr<const services::KnownJob> known;
  store::JobState state;
};

/// Fails: `job_unknown`, also for somebody else's.
inline Result<FoundJob> find_job(Market& market, store::MarketStore& store, const Reading& by, JobId id) {
  const Error unknown =
      fail(Reason::job_unknown, "no job " + id.text(), core::json::object({{"job_id", id.text()}}));
  const auto number = static_cast<services::JobNumber>(id.number());
  CALYX_TRY(std::optional<store::JobState> state, store.jobs().state(number));
  if (!state || !may_read(by, *state)) return unknown;
  CALYX_TRY(std::shared_ptr<const services::KnownJob> known, market.known_jobs().get(store, number));
  if (services::job_id_of(by.tag, known->row) != id) return unknown;
  return FoundJob{std::move(known), *std::move(state)};
}

/// Checks, reads and spells a submit that has all of its members. Fails: as `Session::submit_job`, before the
/// gate.
Result<services::PreparedJob> prepare_whole(Market& market, const Principal& principal,
                                            const JobSubmit& asked);

inline Job shown(const Reading& by, const FoundJob& found) {
  return services::view(by.tag, *found.known, found.state, [&](core::AccountNumber account) {
    return by.wallets[static_cast<std::size_t>(account - core::wallet_first)];
  });
}

}  // namespace calyx::engine
