#include "store/webhook_store.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_webhooks[] = {
    R"(CREATE TABLE webhooks(
  job   INTEGER PRIMARY KEY,  -- whose end it tells
  at_us INTEGER NOT NULL,
  body  TEXT NOT NULL         -- JSON, as it is signed and sent
) STRICT)",
    R"(CREATE TABLE webhook_states(
  job      INTEGER PRIMARY KEY,
  status   INTEGER NOT NULL,  -- 0: pending, 1: delivered, 2: dead
  attempts INTEGER NOT NULL,
  claims   INTEGER NOT NULL,  -- the token of who took it last
  due_us   INTEGER NOT NULL,
  last_us  INTEGER NOT NULL,
  answered INTEGER NOT NULL,  -- HTTP status; 0: none
  error    TEXT NOT NULL
) STRICT)",
    R"(CREATE INDEX webhook_states_due ON webhook_states(due_us) WHERE status = 0)",
    R"(CREATE INDEX webhook_states_dead ON webhook_states(job) WHERE status = 2)",
    R"(CREATE TABLE webhook_secrets(
  account INTEGER NOT NULL,
  version INTEGER NOT NULL,  -- from 1; the secret follows from it and the key file
  at_us   INTEGER NOT NULL,
  PRIMARY KEY(account, version)
) STRICT, WITHOUT ROWID)",
};

constexpr const char* webhook_records[] = {"webhooks", "webhook_secrets"};

constexpr const char* webhook_columns = "job, status, attempts, claims, due_us, last_us, answered, error";

constexpr ListingText webhook_listings[] = {
    {"webhooks", nullptr, "job + at_us + length(body)"},
    {"webhook_secrets", nullptr, "account + version + at_us"},
    {"webhook_states", nullptr, "job + due_us", " WHERE status = 0"},
    {"webhook_states", "webhook_states_due", "job + due_us", " WHERE status = 0"},
    {"webhook_states", nullptr, "job + length(error)", " WHERE status = 2"},
    {"webhook_states", "webhook_states_dead", "job + length(error)", " WHERE status = 2"},
};

Result<std::optional<WebhookState>> read_state(Statement& row) {
  CALYX_TRY(const bool found, row.step());
  if (!found) return std::optional<WebhookState>();
  return std::optional(WebhookState{.job = row.column_int(0),
                                    .status = row.column_int(1),
                                    .attempts = row.column_int(2),
                                    .claims = row.column_int(3),
                                    .due = Instant{row.column_int(4)},
                                    .last = Instant{row.column_int(5)},
                                    .answered = row.column_int(6),
                                    .error = std::string(row.column_text(7))});
}

}  // namespace

std::span<const char* const> webhook_schema() noexcept { return schema_of_webhooks; }
std::span<const char* const> webhook_tables_of_record() noexcept { return webhook_records; }

Result<WebhookStore> WebhookStore::make(Connection& connection, bool writes) {
  WebhookStore store;
  const std::string select = std::string("SELECT ") + webhook_columns + " FROM webhook_states ";
  if (writes) {
    CALYX_TRY(store.add_, connection.prepare("INSERT INTO webhooks(job, at_us, body) VALUES(?1, ?2, ?3)",
                                             "keeping a message"));
    CALYX_TRY(store.put_, connection.prepare(std::string("INSERT OR REPLACE INTO webhook_states(") +
                                                 webhook_columns + ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                                             "keeping how far a message is"));
    CALYX_TRY(store.add_secret_,
              connection.prepare("INSERT INTO webhook_secrets(account, version, at_us) VALUES(?1, ?2, ?3)",
                                 "keeping a secret's version"));
  }
  CALYX_TRY(store.message_,
            connection.prepare("SELECT job, at_us, body FROM webhooks WHERE job = ?1", "reading a message"));
  CALYX_TRY(store.state_, connection.prepare(select + "WHERE job = ?1", "reading how far a message is"));
  CALYX_TRY(store.first_due_, connection.prepare(select + "WHERE status = 0 ORDER BY due_us, job LIMIT 1",
                                                 "looking for a message to send"));
  CALYX_TRY(store.dead_from_, connection.prepare(select + "WHERE status = 2 AND job > ?1 ORDER BY job",
                                                 "reading dead messages"));
  CALYX_TRY(store.secrets_of_,
            connection.prepare(
                "SELECT version, at_us FROM webhook_secrets WHERE account = ?1 ORDER BY version DESC",
                "reading a secret's versions"));
  CALYX_TRY(
      store.count_,
      connection.prepare("SELECT count(*), count(webhook_states.job), (SELECT count(*) FROM webhook_states) "
                         "FROM webhooks LEFT JOIN webhook_states USING(job)",
                         "counting messages"));
  CALYX_TRY(store.listings_, Listings::make(connection, webhook_listings));
  return store;
}

Result<Done> WebhookStore::add(const WebhookRow& row) {
  const Statement::Run run(add_);
  return run->bind(1, row.job).bind(2, row.at.us).bind(3, std::string_view(row.body)).execute();
}

Result<Done> WebhookStore::put(const WebhookState& state) {
  const Statement::Run run(put_);
  return run->bind(1, state.job)
      .bind(2, state.status)
      .bind(3, state.attempts)
      .bind(4, state.claims)
      .bind(5, state.due.us)
      .bind(6, state.last.us)
      .bind(7, state.answered)
      .bind(8, std::string_view(state.error))
      .execute();
}

Result<Done> WebhookStore::add_secret(std::int64_t account, std::int64_t version, Instant at) {
  const Statement::Run run(add_secret_);
  return run->bind(1, account).bind(2, version).bind(3, at.us).execute();
}

Result<std::optional<WebhookRow>> WebhookStore::message(std::int64_t job) {
  const Statement::Run run(message_);
  run->bind(1, job);
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<WebhookRow>();
  return std::optional(WebhookRow{.job = run->column_int(0),
                                  .at = Instant{run->column_int(1)},
                                  .body = std::string(run->column_text(2))});
}

Result<std::optional<WebhookState>> WebhookStore::state(std::int64_t job) {
  const Statement::Run run(state_);
  run->bind(1, job);
  return read_state(*run);
}

Result<std::optional<WebhookState>> WebhookStore::first_due() {
  const Statement::Run run(first_due_);
  return read_state(*run);
}

Result<Done> WebhookStore::dead_from(std::int64_t after, const Each& each) {
  const Statement::Run run(dead_from_);
  run->bind(1, after);
  for (;;) {
    CALYX_TRY(const std::optional<WebhookState> state, read_state(*run));
    if (!state) return Done{};
    CALYX_TRY(const bool go_on, each(*state));
    if (!go_on) return Done{};
  }
}

Result<Done> WebhookStore::secrets_of(std::int64_t account, const EachSecret& each) {
  const Statement::Run run(secrets_of_);
  run->bind(1, account);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(run->column_int(0), Instant{run->column_int(1)}));
    if (!go_on) return Done{};
  }
}

Result<WebhookStore::Count> WebhookStore::count() {
  const Statement::Run run(count_);
  CALYX_TRY(const bool row, run->step());
  if (!row) return Count{};
  return Count{run->column_int(0), run->column_int(1), run->column_int(2)};
}

}  // namespace calyx::store
