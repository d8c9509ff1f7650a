#include "store/nonce_store.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_nonces[] = {
    R"(CREATE TABLE nonces(
  account  TEXT NOT NULL,     -- CAIP-10
  nonce    TEXT NOT NULL,
  until_us INTEGER NOT NULL,
  PRIMARY KEY(account, nonce)
) STRICT, WITHOUT ROWID)",
    R"(CREATE INDEX nonces_until ON nonces(until_us))",
};

}  // namespace

std::span<const char* const> nonce_schema() noexcept { return schema_of_nonces; }

Result<NonceStore> NonceStore::make(Connection& connection, bool writes) {
  NonceStore store;
  if (!writes) return store;
  CALYX_TRY(store.take_, connection.prepare("INSERT INTO nonces(account, nonce, until_us) VALUES(?1, ?2, ?3) "
                                            "ON CONFLICT DO NOTHING RETURNING 1",
                                            "keeping a nonce"));
  CALYX_TRY(store.forget_,
            connection.prepare("DELETE FROM nonces WHERE (account, nonce) IN (SELECT account, nonce FROM "
                               "nonces WHERE until_us < ?1 ORDER BY until_us LIMIT 4)",
                               "forgetting nonces"));
  return store;
}

Result<bool> NonceStore::take(std::string_view account, std::string_view nonce, Instant until, Instant now) {
  {
    const Statement::Run run(forget_);
    CALYX_CHECK(run->bind(1, now.us).execute());
  }
  const Statement::Run run(take_);
  return run->bind(1, account).bind(2, nonce).bind(3, until.us).step();
}

}  // namespace calyx::store
