#include "store/nonce_store.hpp"

#include <algorithm>

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_nonces[] = {
    R"(CREATE TABLE nonces(
  account  TEXT NOT NULL,     -- CAIP-10; empty: until_us is the latest of those that were forgotten
  nonce    TEXT NOT NULL,
  until_us INTEGER NOT NULL,
  PRIMARY KEY(account, nonce)
) STRICT, WITHOUT ROWID)",
    R"(CREATE INDEX nonces_until ON nonces(until_us))",
};

constexpr ListingText nonce_listings[] = {
    // Each of them; but for the condition SQLite would read the index here, too, which has all columns.
    {"nonces", nullptr, "until_us + length(account) + length(nonce)", " WHERE account >= ''"},
    {"nonces", "nonces_until", "until_us + length(account) + length(nonce)"},
};

}  // namespace

std::span<const char* const> nonce_schema() noexcept { return schema_of_nonces; }

Result<NonceStore> NonceStore::make(Connection& connection, bool writes) {
  NonceStore store;
  CALYX_TRY(store.listings_, Listings::make(connection, nonce_listings));
  if (!writes) return store;
  CALYX_TRY(store.spent_, connection.prepare("SELECT 1 FROM nonces WHERE (account = ?1 AND nonce = ?2) OR "
                                             "(account = '' AND nonce = '' AND until_us >= ?3) LIMIT 1",
                                             "looking for a nonce"));
  CALYX_TRY(store.kept_,
            connection.prepare("SELECT count(*), min(until_us) FROM (SELECT until_us FROM nonces "
                               "WHERE account = ?1 AND until_us >= ?2 LIMIT ?3)",
                               "counting nonces"));
  CALYX_TRY(store.keep_, connection.prepare("INSERT INTO nonces(account, nonce, until_us) VALUES(?1, ?2, ?3)",
                                            "keeping a nonce"));
  CALYX_TRY(store.forget_,
            connection.prepare("DELETE FROM nonces WHERE (account, nonce) IN (SELECT account, nonce FROM "
                               "nonces WHERE until_us < ?1 AND account != '' ORDER BY until_us LIMIT 4) "
                               "RETURNING until_us",
                               "forgetting nonces"));
  CALYX_TRY(store.forgotten_,
            connection.prepare("INSERT INTO nonces(account, nonce, until_us) VALUES('', '', ?1) ON "
                               "CONFLICT DO UPDATE SET until_us = max(until_us, excluded.until_us)",
                               "keeping how far nonces are forgotten"));
  return store;
}

Result<bool> NonceStore::spent(std::string_view account, std::string_view nonce, Instant until) {
  const Statement::Run run(spent_);
  return run->bind(1, account).bind(2, nonce).bind(3, until.us).step();
}

Result<std::optional<Instant>> NonceStore::full_until(std::string_view account, Instant now,
                                                      std::size_t most) {
  std::optional<Instant> out;
  const auto limit = static_cast<std::int64_t>(most);
  const Statement::Run run(kept_);
  CALYX_CHECK(run->bind(1, account).bind(2, now.us).bind(3, limit).step());
  if (run->column_int(0) >= limit) out = Instant{run->column_int(1)};
  return out;
}

Result<Done> NonceStore::keep(std::string_view account, std::string_view nonce, Instant until, Instant now) {
  std::int64_t forgotten = -1;
  {
    const Statement::Run run(forget_);
    run->bind(1, now.us);
    for (;;) {
      CALYX_TRY(const bool more, run->step());
      if (!more) break;
      forgotten = std::max(forgotten, run->column_int(0));
    }
  }
  if (forgotten >= 0) {
    const Statement::Run run(forgotten_);
    CALYX_CHECK(run->bind(1, forgotten).execute());
  }
  const Statement::Run run(keep_);
  return run->bind(1, account).bind(2, nonce).bind(3, until.us).execute();
}

}  // namespace calyx::store
