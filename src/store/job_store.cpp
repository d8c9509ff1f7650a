#include "store/job_store.hpp"

#include "store/octets.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_jobs[] = {
    R"(CREATE TABLE jobs(
  number  INTEGER PRIMARY KEY,  -- gapless from 1
  account INTEGER NOT NULL,     -- the payer's wallet; 0: nobody's
  at_us   INTEGER NOT NULL,
  once    TEXT NOT NULL,        -- the caller's key, or empty
  request BLOB NOT NULL,        -- SHA-256 of the whole request
  input   BLOB NOT NULL,        -- SHA-256 of what the tasks are made from, as a receipt says it
  spec    TEXT NOT NULL,        -- the request without its explicit items: canonical JSON
  tasks   INTEGER NOT NULL,
  items   INTEGER NOT NULL,
  lock    INTEGER NOT NULL,     -- seq of the event that holds its budget; 0: it costs nothing
  hold    INTEGER NOT NULL,     -- what that holds
  rate    INTEGER NOT NULL,     -- micro-FLOPS a second of a task
  revision INTEGER NOT NULL     -- of its project; 0: it names none
) STRICT)",
    R"(CREATE INDEX jobs_once ON jobs(account, once) WHERE once <> '')",
    R"(CREATE TABLE job_items(
  job   INTEGER NOT NULL,
  first INTEGER NOT NULL,
  body  TEXT NOT NULL,  -- a JSON array
  PRIMARY KEY(job, first)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE job_edges(
  upstream   INTEGER NOT NULL,
  downstream INTEGER NOT NULL,
  PRIMARY KEY(upstream, downstream)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE job_states(
  number    INTEGER PRIMARY KEY,
  account   INTEGER NOT NULL,
  status    INTEGER NOT NULL,
  priority  INTEGER NOT NULL,
  ready     INTEGER NOT NULL,  -- 1: it has a task to hand out, now or later; 2: its tasks have all ended
  waiting   INTEGER NOT NULL,  -- jobs that must complete first
  fresh     INTEGER NOT NULL,  -- the first task that was never handed out
  completed INTEGER NOT NULL,
  failed    INTEGER NOT NULL,
  running   INTEGER NOT NULL,
  backups   INTEGER NOT NULL,  -- tasks that two workers have
  retrying  INTEGER NOT NULL,
  attempts  INTEGER NOT NULL,  -- that were charged, if for nothing
  low_funds INTEGER NOT NULL,  -- 1: it was told that the money will not last
  charged   INTEGER NOT NULL,
  committed INTEGER NOT NULL,
  host      INTEGER NOT NULL,  -- 0: nobody took a task; -1: several
  ran_ms    INTEGER NOT NULL,
  started   INTEGER NOT NULL,
  ended     INTEGER NOT NULL,
  failure   INTEGER NOT NULL,
  error     TEXT NOT NULL,
  receipt   INTEGER NOT NULL,
  receipts  INTEGER NOT NULL,  -- one a host, from leaf `receipt` on
  output    BLOB,              -- SHA-256 of the merged result
  events    INTEGER NOT NULL
) STRICT)",
    R"(CREATE INDEX job_states_account ON job_states(account, number))",
    R"(CREATE INDEX job_states_ready ON job_states(number) WHERE ready > 0)",
    R"(CREATE INDEX job_states_live ON job_states(number) WHERE status < 3)",
    R"(CREATE INDEX job_states_running ON job_states(account) WHERE running > 0)",
    R"(CREATE TABLE leases(
  token   INTEGER PRIMARY KEY,
  job     INTEGER NOT NULL,
  first   INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  lost    INTEGER NOT NULL,
  worker  TEXT NOT NULL,
  host    INTEGER NOT NULL,
  since   INTEGER NOT NULL,  -- the last report, or the lease itself
  expires INTEGER NOT NULL,
  copied  INTEGER NOT NULL   -- 1: its one task is, or was, also in another lease
) STRICT)",
    R"(CREATE INDEX leases_job ON leases(job, first))",
    R"(CREATE INDEX leases_expires ON leases(expires))",
    R"(CREATE TABLE job_times(
  job    INTEGER NOT NULL,
  bucket INTEGER NOT NULL,  -- of a duration, as core/job.hpp counts them
  count  INTEGER NOT NULL,  -- of tasks that took so long
  PRIMARY KEY(job, bucket)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE retries(
  job        INTEGER NOT NULL,
  task       INTEGER NOT NULL,
  attempts   INTEGER NOT NULL,
  lost       INTEGER NOT NULL,
  not_before INTEGER NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID)",
    R"(CREATE INDEX retries_due ON retries(job, not_before))",
    R"(CREATE TABLE results(
  job      INTEGER NOT NULL,
  first    INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  attempts INTEGER NOT NULL,  -- each of them took
  body     TEXT NOT NULL,     -- a JSON array of `count` results
  PRIMARY KEY(job, first)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE failures(
  job      INTEGER NOT NULL,
  task     INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  failure  INTEGER NOT NULL,
  message  TEXT NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE usage(
  lease      INTEGER NOT NULL,
  sequence   INTEGER NOT NULL,
  job        INTEGER NOT NULL,
  host       INTEGER NOT NULL,
  attempts   INTEGER NOT NULL,
  charged_ms INTEGER NOT NULL,
  amount     INTEGER NOT NULL,
  PRIMARY KEY(job, lease, sequence)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE outputs(
  job      INTEGER NOT NULL,
  task     INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,  -- whose output it is
  out      TEXT NOT NULL,
  err      TEXT NOT NULL,
  out_dropped INTEGER NOT NULL,
  err_dropped INTEGER NOT NULL,
  progress TEXT NOT NULL,
  tried    INTEGER NOT NULL,  -- attempts, as the last one ended that was not the last word
  failure  INTEGER NOT NULL,  -- and how that did
  message  TEXT NOT NULL,
  PRIMARY KEY(job, task)
) STRICT, WITHOUT ROWID)",
    R"(CREATE TABLE job_events(
  job    INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_us  INTEGER NOT NULL,
  body   TEXT NOT NULL,
  PRIMARY KEY(job, number)
) STRICT, WITHOUT ROWID)",
};

constexpr const char* tables_of_record[] = {"jobs",     "job_items", "job_edges", "results",
                                            "failures", "usage",     "job_events"};

constexpr const char* state_columns =
    "number, account, status, priority, ready, waiting, fresh, completed, failed, running, retrying, "
    "charged, "
    "committed, host, ran_ms, started, ended, failure, error, receipt, output, events, backups, attempts, "
    "low_funds, receipts";
constexpr const char* lease_columns =
    "token, job, first, count, attempt, lost, worker, host, since, expires, copied";
constexpr const char* output_columns =
    "job, task, attempt, out, err, out_dropped, err_dropped, progress, tried, failure, message";

/// What an audit walks.
constexpr ListingText job_listings[] = {
    {"jobs", nullptr, "number + length(spec) + length(request) + length(input)", ""},
    {"jobs", nullptr, "number", " WHERE once <> ''"},
    {"jobs", "jobs_once", "number", " WHERE once <> ''"},
    {"job_items", nullptr, "first + length(body)", ""},
    {"job_edges", nullptr, "downstream", ""},
    {"job_states", nullptr, "number", ""},
    {"job_states", "job_states_account", "number", ""},
    {"job_states", nullptr, "number", " WHERE ready > 0"},
    {"job_states", "job_states_ready", "number", " WHERE ready > 0"},
    {"job_states", nullptr, "number", " WHERE status < 3"},
    {"job_states", "job_states_live", "number", " WHERE status < 3"},
    {"job_states", nullptr, "account", " WHERE running > 0"},
    {"job_states", "job_states_running", "account", " WHERE running > 0"},
    {"leases", nullptr, "first", ""},
    {"leases", "leases_job", "first", ""},
    {"leases", nullptr, "expires", ""},
    {"leases", "leases_expires", "expires", ""},
    {"job_times", nullptr, "count", ""},
    {"retries", nullptr, "not_before + 0 * attempts", ""},  // a column that the index has not
    {"retries", "retries_due", "not_before", ""},
    {"results", nullptr, "first + length(body)", ""},
    {"failures", nullptr, "task + length(message)", ""},
    {"usage", nullptr, "amount", ""},
    {"outputs", nullptr, "task + length(out) + length(err) + length(progress) + length(message)", ""},
    {"job_events", nullptr, "number + length(body)", ""},
};

std::int64_t to_signed(std::uint64_t number) noexcept { return static_cast<std::int64_t>(number); }
std::uint64_t to_unsigned(std::int64_t number) noexcept { return static_cast<std::uint64_t>(number); }
template <class Enum>
Result<Enum> one_of(std::int64_t value, Enum last, const char* table, std::int64_t row, const char* column) {
  if (value < 0 || value > static_cast<std::int64_t>(last)) return damaged_row(table, row, column);
  return static_cast<Enum>(value);
}

Result<bool> read_state(Statement& row, JobState& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  int column = 0;
  const auto next = [&] { return row.column_int(column++); };
  out.number = next();
  out.account = next();
  CALYX_TRY(out.status, one_of(next(), JobStatus::cancelled, "job_states", out.number, "no such status"));
  CALYX_TRY(out.priority, one_of(next(), JobPriority::low, "job_states", out.number, "no such priority"));
  CALYX_TRY(out.ready, one_of(next(), Readiness::to_end, "job_states", out.number, "no such readiness"));
  out.waiting = to_unsigned(next());
  out.fresh = to_unsigned(next());
  out.completed = to_unsigned(next());
  out.failed = to_unsigned(next());
  out.running = to_unsigned(next());
  out.retrying = to_unsigned(next());
  out.charged = Money{next()};
  out.committed = Money{next()};
  out.host = next();
  out.ran_ms = next();
  out.started = Instant{next()};
  out.ended = Instant{next()};
  CALYX_TRY(out.failure, one_of(next(), job_failure_last, "job_states", out.number, "no such failure"));
  out.error = row.column_text(column++);
  out.receipt = next();
  out.output.reset();
  if (!row.is_null(column)) {
    out.output = core::digest_of_bytes(chars_of(row.column_blob(column)));
    if (!out.output) return damaged_row("job_states", out.number, "a hash is not 32 bytes");
  }
  ++column;
  out.events = next();
  out.backups = to_unsigned(next());
  out.attempts = to_unsigned(next());
  out.low_funds = next() != 0;
  out.receipts = next();
  return true;
}

void bind_state(Statement& statement, const JobState& state) {
  int column = 1;
  const auto put = [&](auto value) { statement.bind(column++, value); };
  put(state.number);
  put(state.account);
  put(static_cast<std::int64_t>(state.status));
  put(static_cast<std::int64_t>(state.priority));
  put(static_cast<std::int64_t>(state.ready));
  put(to_signed(state.waiting));
  put(to_signed(state.fresh));
  put(to_signed(state.completed));
  put(to_signed(state.failed));
  put(to_signed(state.running));
  put(to_signed(state.retrying));
  put(state.charged.micro);
  put(state.committed.micro);
  put(state.host);
  put(state.ran_ms);
  put(state.started.us);
  put(state.ended.us);
  put(static_cast<std::int64_t>(state.failure));
  put(std::string_view(state.error));
  put(state.receipt);
  if (state.output)
    put(octets_of(*state.output));
  else
    put(nullptr);
  put(state.events);
  put(to_signed(state.backups));
  put(to_signed(state.attempts));
  put(std::int64_t{state.low_funds});
  put(state.receipts);
}

Result<bool> read_lease(Statement& row, LeaseRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.token = row.column_int(0);
  out.job = row.column_int(1);
  out.first = to_unsigned(row.column_int(2));
  out.count = to_unsigned(row.column_int(3));
  out.attempt = row.column_int(4);
  out.lost = row.column_int(5);
  out.worker = row.column_text(6);
  out.host = row.column_int(7);
  out.since = Instant{row.column_int(8)};
  out.expires = Instant{row.column_int(9)};
  out.copied = row.column_int(10) != 0;
  return true;
}

Result<bool> read_retry(Statement& row, RetryRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out = {row.column_int(0), to_unsigned(row.column_int(1)), row.column_int(2), row.column_int(3),
         Instant{row.column_int(4)}};
  return true;
}

Result<bool> read_output(Statement& row, OutputRow& out) {
  CALYX_TRY(const bool more, row.step());
  if (!more) return false;
  out.job = row.column_int(0);
  out.task = to_unsigned(row.column_int(1));
  out.attempt = row.column_int(2);
  out.printed = {std::string(row.column_text(3)), std::string(row.column_text(4)),
                 to_unsigned(row.column_int(5)), to_unsigned(row.column_int(6))};
  out.progress = row.column_text(7);
  out.tried = row.column_int(8);
  CALYX_TRY(out.failure,
            one_of(row.column_int(9), job_failure_last, "outputs", row.column_int(1), "no such failure"));
  out.message = row.column_text(10);
  return true;
}

/// The one row that `read` may find.
template <class Row, class Read>
Result<std::optional<Row>> one(Statement& statement, Read read) {
  Row row;
  CALYX_TRY(const bool found, read(statement, row));
  if (!found) return std::optional<Row>();
  return std::optional<Row>(std::move(row));
}

/// Every row that `read` finds, until `each` has enough.
template <class Row, class Read, class Each>
Result<Done> all(Statement& statement, Read read, const Each& each) {
  Row row;
  for (;;) {
    CALYX_TRY(const bool more, read(statement, row));
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}

Result<Done> all_numbers(Statement& statement, const JobStore::EachNumber& each) {
  for (;;) {
    CALYX_TRY(const bool more, statement.step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(statement.column_int(0)));
    if (!go_on) return Done{};
  }
}

}  // namespace

std::span<const char* const> job_schema() noexcept { return schema_of_jobs; }
std::span<const char* const> job_tables_of_record() noexcept { return tables_of_record; }

Result<JobStore> JobStore::make(Connection& connection, bool writes) {
  JobStore store;
  struct Text {
    Statement& statement;
    std::string sql;
    const char* doing;
  };
  const std::string states = std::string("SELECT ") + state_columns + " FROM job_states ";
  const std::string outputs = std::string("INSERT INTO outputs(") + output_columns + ") ";
  const std::string leases = std::string("SELECT ") + lease_columns + " FROM leases ";
  const Text write_texts[] = {
      {store.add_job_,
       "INSERT INTO jobs(number, account, at_us, once, request, spec, tasks, items, lock, hold, rate, input, "
       "revision) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
       "adding a job"},
      {store.add_items_, "INSERT INTO job_items(job, first, body) VALUES(?1, ?2, ?3)",
       "adding a job's items"},
      {store.add_edge_, "INSERT OR IGNORE INTO job_edges(upstream, downstream) VALUES(?1, ?2)",
       "adding a job's dependency"},
      {store.add_state_,
       std::string("INSERT INTO job_states(") + state_columns +
           ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, "
           "?20, ?21, ?22, ?23, ?24, ?25, ?26)",
       "adding a job"},
      {store.put_state_,
       "UPDATE job_states SET account = ?2, status = ?3, priority = ?4, ready = ?5, waiting = ?6, fresh = "
       "?7, "
       "completed = ?8, failed = ?9, running = ?10, retrying = ?11, charged = ?12, committed = ?13, host = "
       "?14, ran_ms = ?15, started = ?16, ended = ?17, failure = ?18, error = ?19, receipt = ?20, output = "
       "?21, events = ?22, backups = ?23, attempts = ?24, low_funds = ?25, receipts = ?26 WHERE number = ?1",
       "moving a job on"},
      {store.add_lease_,
       std::string("INSERT INTO leases(") + lease_columns +
           ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
       "leasing tasks"},
      {store.put_lease_,
       "UPDATE leases SET first = ?2, count = ?3, since = ?4, expires = ?5, copied = ?6 WHERE token = ?1",
       "moving a lease on"},
      {store.remove_lease_, "DELETE FROM leases WHERE token = ?1", "ending a lease"},
      {store.add_time_,
       "INSERT INTO job_times(job, bucket, count) VALUES(?1, ?2, 1) ON CONFLICT(job, bucket) DO UPDATE SET "
       "count = "
       "count + 1",
       "keeping how long a task took"},
      {store.remove_times_, "DELETE FROM job_times WHERE job = ?1", "ending a job"},
      {store.put_retry_,
       "INSERT INTO retries(job, task, attempts, lost, not_before) VALUES(?1, ?2, ?3, ?4, ?5) "
       "ON CONFLICT(job, task) DO UPDATE SET attempts = ?3, lost = ?4, not_before = ?5",
       "keeping a task for another try"},
      {store.remove_retry_, "DELETE FROM retries WHERE job = ?1 AND task = ?2", "taking a task up again"},
      {store.remove_retries_, "DELETE FROM retries WHERE job = ?1", "ending a job"},
      {store.add_results_,
       "INSERT INTO results(job, first, count, attempts, body) VALUES(?1, ?2, ?3, ?4, ?5)",
       "keeping results"},
      {store.add_failure_,
       "INSERT INTO failures(job, task, attempts, failure, message) VALUES(?1, ?2, ?3, ?4, ?5)",
       "keeping a failure"},
      {store.add_usage_,
       "INSERT INTO usage(lease, sequence, job, host, attempts, charged_ms, amount) VALUES(?1, ?2, ?3, ?4, "
       "?5, ?6, ?7)",
       "keeping what was used"},
      {store.put_output_,
       outputs + "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, '', 0, 0, '') ON CONFLICT(job, task) DO UPDATE SET "
                 "attempt = ?3, out = ?4, err = ?5, out_dropped = ?6, err_dropped = ?7",
       "keeping a task's output"},
      {store.put_ended_,
       outputs + "VALUES(?1, ?2, 0, '', '', 0, 0, '', ?3, ?4, ?5) ON CONFLICT(job, task) DO UPDATE SET tried "
                 "= ?3, failure = ?4, message = ?5",
       "keeping how a task was tried"},
      {store.put_progress_,
       outputs + "VALUES(?1, ?2, ?3, '', '', 0, 0, ?4, 0, 0, '') ON CONFLICT(job, task) DO UPDATE SET "
                 "progress = ?4",
       "keeping a task's progress"},
      {store.add_event_, "INSERT INTO job_events(job, number, at_us, body) VALUES(?1, ?2, ?3, ?4)",
       "keeping a job's event"},
  };
  const Text read_texts[] = {
      {store.last_job_, "SELECT max(number) FROM jobs", "reading the last job"},
      {store.job_,
       "SELECT number, account, at_us, once, request, spec, tasks, items, lock, hold, rate, input, revision "
       "FROM jobs "
       "WHERE number = ?1",
       "reading a job"},
      {store.state_, states + "WHERE number = ?1", "reading a job's state"},
      {store.find_once_, "SELECT number FROM jobs WHERE account = ?1 AND once = ?2 AND once <> ''",
       "looking up a caller's key"},
      {store.lease_, leases + "WHERE token = ?1", "looking up a lease"},
      {store.other_copy_, leases + "WHERE job = ?1 AND first = ?2 AND token <> ?3",
       "looking for a task's other copy"},
      {store.leases_count_, "SELECT count(*) FROM leases WHERE job = ?1", "counting a job's leases"},
      {store.times_of_, "SELECT bucket, count FROM job_times WHERE job = ?1 ORDER BY bucket",
       "reading how long tasks took"},
      {store.next_retry_,
       "SELECT job, task, attempts, lost, not_before FROM retries WHERE job = ?1 ORDER BY not_before LIMIT 1",
       "looking for a task to try again"},
      {store.retry_, "SELECT job, task, attempts, lost, not_before FROM retries WHERE job = ?1 AND task = ?2",
       "looking up a task"},
      {store.output_, std::string("SELECT ") + output_columns + " FROM outputs WHERE job = ?1 AND task = ?2",
       "reading a task's output"},
      {store.outputs_from_,
       std::string("SELECT ") + output_columns + " FROM outputs WHERE job = ?1 AND task >= ?2 ORDER BY task",
       "reading tasks' outputs"},
      {store.items_,
       "SELECT first, body FROM job_items WHERE job = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
       "reading a job's items"},
      {store.running_of_, "SELECT sum(running) FROM job_states WHERE account = ?1 AND running > 0",
       "counting an account's tasks"},
      // By the index of what has not ended, whatever the planner thinks of it. `total` counts in doubles,
      // which no number of tasks overflows.
      {store.census_,
       "SELECT (SELECT max(number) FROM jobs), count(*) FILTER (WHERE s.status = 0), count(*) FILTER (WHERE "
       "s.status = 1), count(*) FILTER (WHERE s.status = 2), CAST(min(total(CASE WHEN s.waiting = 0 THEN "
       "j.tasks - "
       "s.completed - s.failed - s.running END), 9007199254740991) AS INTEGER), (SELECT "
       "CAST(min(total(count), "
       "9007199254740991) AS INTEGER) FROM leases), (SELECT count(*) FROM leases) FROM job_states AS s "
       "INDEXED BY "
       "job_states_live JOIN jobs AS j ON j.number = s.number WHERE s.status < 3",
       "counting jobs"},
      {store.ready_jobs_, states + "WHERE ready > 0 ORDER BY number", "looking for work"},
      {store.jobs_of_, states + "WHERE (?1 = -1 OR account = ?1) AND number < ?2 ORDER BY number DESC",
       "listing jobs"},
      {store.live_jobs_, states + "WHERE status < 3 ORDER BY number", "listing live jobs"},
      {store.jobs_after_, "SELECT downstream FROM job_edges WHERE upstream = ?1", "looking for dependents"},
      {store.leases_of_, leases + "WHERE job = ?1 ORDER BY first, token", "reading a job's leases"},
      {store.expired_leases_, leases + "WHERE expires < ?1 ORDER BY expires", "looking for lost leases"},
      // A range holds at most as many as one lease: the one that holds `from` is the last that begins there
      // or before.
      {store.results_from_,
       "SELECT first, count, attempts, body FROM results WHERE job = ?1 AND first >= coalesce((SELECT "
       "max(first) FROM "
       "results WHERE job = ?1 AND first <= ?2), 0) ORDER BY first",
       "reading results"},
      {store.failures_from_,
       "SELECT job, task, attempts, failure, message FROM failures WHERE job = ?1 AND task >= ?2 ORDER BY "
       "task",
       "reading failures"},
      {store.retries_from_,
       "SELECT job, task, attempts, lost, not_before FROM retries WHERE job = ?1 AND task >= ?2 ORDER BY "
       "task",
       "reading tasks that are tried again"},
      {store.events_of_,
       "SELECT number, at_us, body FROM job_events WHERE job = ?1 AND number > ?2 ORDER BY number",
       "reading a job's events"},
      {store.shares_of_,
       "SELECT host, sum(charged_ms), sum(amount) FROM usage WHERE job = ?1 "
       "GROUP BY host HAVING sum(amount) <> 0 ORDER BY host",
       "summing usage"},
      {store.tally_,
       "SELECT (SELECT sum(count) FROM results WHERE job = ?1), (SELECT count(*) FROM failures WHERE job = "
       "?1), "
       "(SELECT sum(count) - count(*) + count(DISTINCT first) FROM leases WHERE job = ?1), (SELECT count(*) "
       "FROM retries WHERE job = ?1), "
       "(SELECT sum(charged_ms) FROM usage WHERE job = ?1), (SELECT sum(amount) FROM usage WHERE job = ?1), "
       "(SELECT max(number) FROM job_events WHERE job = ?1), "
       "(SELECT count(*) - count(DISTINCT first) FROM leases WHERE job = ?1)",
       "reading what became of a job"},
  };
  if (writes)
    for (const Text& text : write_texts) {
      CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
    }
  for (const Text& text : read_texts) {
    CALYX_TRY(text.statement, connection.prepare(text.sql, text.doing));
  }
  CALYX_TRY(store.listings_, Listings::make(connection, job_listings));
  return store;
}

Result<Done> JobStore::add_job(const JobRow& row) {
  const Statement::Run run(add_job_);
  return run->bind(1, row.number)
      .bind(2, row.account)
      .bind(3, row.at.us)
      .bind(4, std::string_view(row.once))
      .bind(5, octets_of(row.request))
      .bind(6, std::string_view(row.spec))
      .bind(7, to_signed(row.tasks))
      .bind(8, to_signed(row.items))
      .bind(9, row.lock)
      .bind(10, row.hold.micro)
      .bind(11, row.rate.micro)
      .bind(12, octets_of(row.input))
      .bind(13, row.revision)
      .execute();
}
Result<Done> JobStore::add_items(JobNumber job, std::uint64_t first, std::string_view items) {
  const Statement::Run run(add_items_);
  return run->bind(1, job).bind(2, to_signed(first)).bind(3, items).execute();
}
Result<Done> JobStore::add_edge(JobNumber before, JobNumber after) {
  const Statement::Run run(add_edge_);
  return run->bind(1, before).bind(2, after).execute();
}
Result<Done> JobStore::add_state(const JobState& state) {
  const Statement::Run run(add_state_);
  bind_state(*run, state);
  return run->execute();
}
Result<Done> JobStore::put_state(const JobState& state) {
  const Statement::Run run(put_state_);
  bind_state(*run, state);
  return run->execute();
}
Result<Done> JobStore::add_lease(const LeaseRow& row) {
  const Statement::Run run(add_lease_);
  return run->bind(1, row.token)
      .bind(2, row.job)
      .bind(3, to_signed(row.first))
      .bind(4, to_signed(row.count))
      .bind(5, row.attempt)
      .bind(6, row.lost)
      .bind(7, std::string_view(row.worker))
      .bind(8, row.host)
      .bind(9, row.since.us)
      .bind(10, row.expires.us)
      .bind(11, std::int64_t{row.copied})
      .execute();
}
Result<Done> JobStore::put_lease(const LeaseRow& row) {
  const Statement::Run run(put_lease_);
  return run->bind(1, row.token)
      .bind(2, to_signed(row.first))
      .bind(3, to_signed(row.count))
      .bind(4, row.since.us)
      .bind(5, row.expires.us)
      .bind(6, std::int64_t{row.copied})
      .execute();
}
Result<Done> JobStore::remove_lease(std::int64_t token) {
  const Statement::Run run(remove_lease_);
  return run->bind(1, token).execute();
}
Result<Done> JobStore::add_time(JobNumber job, std::int64_t bucket) {
  const Statement::Run run(add_time_);
  return run->bind(1, job).bind(2, bucket).execute();
}
Result<Done> JobStore::remove_times(JobNumber job) {
  const Statement::Run run(remove_times_);
  return run->bind(1, job).execute();
}
Result<Done> JobStore::put_retry(const RetryRow& row) {
  const Statement::Run run(put_retry_);
  return run->bind(1, row.job)
      .bind(2, to_signed(row.task))
      .bind(3, row.attempts)
      .bind(4, row.lost)
      .bind(5, row.not_before.us)
      .execute();
}
Result<Done> JobStore::remove_retry(JobNumber job, std::uint64_t task) {
  const Statement::Run run(remove_retry_);
  return run->bind(1, job).bind(2, to_signed(task)).execute();
}
Result<Done> JobStore::remove_retries(JobNumber job) {
  const Statement::Run run(remove_retries_);
  return run->bind(1, job).execute();
}
Result<Done> JobStore::add_results(JobNumber job, const ResultsRow& row) {
  const Statement::Run run(add_results_);
  return run->bind(1, job)
      .bind(2, to_signed(row.first))
      .bind(3, to_signed(row.count))
      .bind(4, row.attempts)
      .bind(5, row.body)
      .execute();
}
Result<Done> JobStore::add_failure(const FailureRow& row) {
  const Statement::Run run(add_failure_);
  return run->bind(1, row.job)
      .bind(2, to_signed(row.task))
      .bind(3, row.attempts)
      .bind(4, static_cast<std::int64_t>(row.failure))
      .bind(5, std::string_view(row.message))
      .execute();
}
Result<Done> JobStore::add_usage(const UsageRow& row) {
  const Statement::Run run(add_usage_);
  return run->bind(1, row.lease)
      .bind(2, to_signed(row.sequence))
      .bind(3, row.job)
      .bind(4, row.host)
      .bind(5, to_signed(row.attempts))
      .bind(6, row.charged_ms)
      .bind(7, row.amount.micro)
      .execute();
}
Result<Done> JobStore::put_output(JobNumber job, std::uint64_t task, std::int64_t attempt,
                                  const Printed& printed) {
  const Statement::Run run(put_output_);
  return run->bind(1, job)
      .bind(2, to_signed(task))
      .bind(3, attempt)
      .bind(4, std::string_view(printed.out))
      .bind(5, std::string_view(printed.err))
      .bind(6, to_signed(printed.out_dropped))
      .bind(7, to_signed(printed.err_dropped))
      .execute();
}
Result<Done> JobStore::put_ended(const FailureRow& row) {
  const Statement::Run run(put_ended_);
  return run->bind(1, row.job)
      .bind(2, to_signed(row.task))
      .bind(3, row.attempts)
      .bind(4, static_cast<std::int64_t>(row.failure))
      .bind(5, std::string_view(row.message))
      .execute();
}
Result<Done> JobStore::put_progress(JobNumber job, std::uint64_t task, std::int64_t attempt,
                                    std::string_view json) {
  const Statement::Run run(put_progress_);
  return run->bind(1, job).bind(2, to_signed(task)).bind(3, attempt).bind(4, json).execute();
}
Result<Done> JobStore::add_event(JobNumber job, std::int64_t number, Instant at, std::string_view body) {
  const Statement::Run run(add_event_);
  return run->bind(1, job).bind(2, number).bind(3, at.us).bind(4, body).execute();
}

Result<JobNumber> JobStore::last_job() {
  const Statement::Run run(last_job_);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}
Result<std::optional<JobRow>> JobStore::job(JobNumber number) {
  const Statement::Run run(job_);
  run->bind(1, number);
  return one<JobRow>(*run, [](Statement& row, JobRow& out) -> Result<bool> {
    CALYX_TRY(const bool found, row.step());
    if (!found) return false;
    out.number = row.column_int(0);
    out.account = row.column_int(1);
    out.at = Instant{row.column_int(2)};
    out.once = row.column_text(3);
    const auto request = core::digest_of_bytes(chars_of(row.column_blob(4)));
    const auto input = core::digest_of_bytes(chars_of(row.column_blob(11)));
    if (!request || !input) return damaged_row("jobs", out.number, "a hash is not 32 bytes");
    out.request = *request;
    out.input = *input;
    out.spec = row.column_text(5);
    out.tasks = to_unsigned(row.column_int(6));
    out.items = to_unsigned(row.column_int(7));
    out.lock = row.column_int(8);
    out.hold = Money{row.column_int(9)};
    out.rate = Money{row.column_int(10)};
    out.revision = row.column_int(12);
    return true;
  });
}
Result<std::optional<JobState>> JobStore::state(JobNumber number) {
  const Statement::Run run(state_);
  run->bind(1, number);
  return one<JobState>(*run, read_state);
}
Result<std::optional<JobNumber>> JobStore::find_once(std::int64_t account, std::string_view once) {
  const Statement::Run run(find_once_);
  run->bind(1, account).bind(2, once);
  CALYX_TRY(const bool found, run->step());
  return found ? std::optional<JobNumber>(run->column_int(0)) : std::nullopt;
}
Result<std::optional<LeaseRow>> JobStore::lease(std::int64_t token) {
  const Statement::Run run(lease_);
  run->bind(1, token);
  return one<LeaseRow>(*run, read_lease);
}
Result<std::optional<LeaseRow>> JobStore::other_copy(const LeaseRow& of) {
  const Statement::Run run(other_copy_);
  run->bind(1, of.job).bind(2, to_signed(of.first)).bind(3, of.token);
  return one<LeaseRow>(*run, read_lease);
}
Result<std::uint64_t> JobStore::leases_count(JobNumber job) {
  const Statement::Run run(leases_count_);
  run->bind(1, job);
  CALYX_TRY(const bool row, run->step());
  return row ? to_unsigned(run->column_int(0)) : 0;
}
Result<std::vector<core::DurationCount>> JobStore::times_of(JobNumber job) {
  const Statement::Run run(times_of_);
  run->bind(1, job);
  std::vector<core::DurationCount> out;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return out;
    out.push_back({run->column_int(0), to_unsigned(run->column_int(1))});
  }
}
Result<std::optional<RetryRow>> JobStore::next_retry(JobNumber job) {
  const Statement::Run run(next_retry_);
  run->bind(1, job);
  return one<RetryRow>(*run, read_retry);
}
Result<std::optional<RetryRow>> JobStore::retry(JobNumber job, std::uint64_t task) {
  const Statement::Run run(retry_);
  run->bind(1, job).bind(2, to_signed(task));
  return one<RetryRow>(*run, read_retry);
}
Result<std::optional<OutputRow>> JobStore::output(JobNumber job, std::uint64_t task) {
  const Statement::Run run(output_);
  run->bind(1, job).bind(2, to_signed(task));
  return one<OutputRow>(*run, read_output);
}
Result<Done> JobStore::outputs_from(JobNumber job, std::uint64_t from, const EachOutput& each) {
  const Statement::Run run(outputs_from_);
  run->bind(1, job).bind(2, to_signed(from));
  return all<OutputRow>(*run, read_output, each);
}
Result<std::optional<JobStore::Items>> JobStore::items(JobNumber job, std::uint64_t item) {
  const Statement::Run run(items_);
  run->bind(1, job).bind(2, to_signed(item));
  CALYX_TRY(const bool found, run->step());
  if (!found) return std::optional<Items>();
  return std::optional<Items>(Items{to_unsigned(run->column_int(0)), std::string(run->column_text(1))});
}
Result<std::uint64_t> JobStore::running_of(std::int64_t account) {
  const Statement::Run run(running_of_);
  run->bind(1, account);
  CALYX_TRY(const bool row, run->step());
  return row ? to_unsigned(run->column_int(0)) : 0;
}

Result<JobStore::Census> JobStore::census() {
  const Statement::Run run(census_);
  CALYX_TRY(const bool row, run->step());
  if (!row) return Census{};
  return Census{.jobs = to_unsigned(run->column_int(0)),
                .planning = to_unsigned(run->column_int(1)),
                .queued = to_unsigned(run->column_int(2)),
                .running = to_unsigned(run->column_int(3)),
                .tasks_ready = to_unsigned(run->column_int(4)),
                .tasks_running = to_unsigned(run->column_int(5)),
                .leases = to_unsigned(run->column_int(6))};
}

Result<Done> JobStore::ready_jobs(const EachState& each) {
  const Statement::Run run(ready_jobs_);
  return all<JobState>(*run, read_state, each);
}
Result<Done> JobStore::jobs_of(std::int64_t account, JobNumber before, const EachState& each) {
  const Statement::Run run(jobs_of_);
  run->bind(1, account).bind(2, before);
  return all<JobState>(*run, read_state, each);
}
Result<Done> JobStore::live_jobs(const EachState& each) {
  const Statement::Run run(live_jobs_);
  return all<JobState>(*run, read_state, each);
}
Result<Done> JobStore::jobs_after(JobNumber before, const EachNumber& each) {
  const Statement::Run run(jobs_after_);
  run->bind(1, before);
  return all_numbers(*run, each);
}
Result<Done> JobStore::leases_of(JobNumber job, const EachLease& each) {
  const Statement::Run run(leases_of_);
  run->bind(1, job);
  return all<LeaseRow>(*run, read_lease, each);
}
Result<Done> JobStore::expired_leases(Instant now, const EachLease& each) {
  const Statement::Run run(expired_leases_);
  run->bind(1, now.us);
  return all<LeaseRow>(*run, read_lease, each);
}
Result<Done> JobStore::results_from(JobNumber job, std::uint64_t from, const EachResults& each) {
  const Statement::Run run(results_from_);
  run->bind(1, job).bind(2, to_signed(from));
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    const ResultsRow row{.first = to_unsigned(run->column_int(0)),
                         .count = to_unsigned(run->column_int(1)),
                         .attempts = run->column_int(2),
                         .body = run->column_text(3)};
    if (row.first + row.count <= from) continue;
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}
Result<Done> JobStore::failures_from(JobNumber job, std::uint64_t from, const EachFailure& each) {
  const Statement::Run run(failures_from_);
  run->bind(1, job).bind(2, to_signed(from));
  return all<FailureRow>(
      *run,
      [](Statement& row, FailureRow& out) -> Result<bool> {
        CALYX_TRY(const bool more, row.step());
        if (!more) return false;
        out.job = row.column_int(0);
        out.task = to_unsigned(row.column_int(1));
        out.attempts = row.column_int(2);
        CALYX_TRY(out.failure, one_of(row.column_int(3), job_failure_last, "failures", row.column_int(1),
                                      "no such failure"));
        out.message = row.column_text(4);
        return true;
      },
      each);
}
Result<Done> JobStore::retries_from(JobNumber job, std::uint64_t from, const EachRetry& each) {
  const Statement::Run run(retries_from_);
  run->bind(1, job).bind(2, to_signed(from));
  return all<RetryRow>(*run, read_retry, each);
}
Result<Done> JobStore::events_of(JobNumber job, std::int64_t after, const EachJobEvent& each) {
  const Statement::Run run(events_of_);
  run->bind(1, job).bind(2, after);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    CALYX_TRY(const bool go_on, each(run->column_int(0), Instant{run->column_int(1)}, run->column_text(2)));
    if (!go_on) return Done{};
  }
}
Result<std::vector<JobStore::Share>> JobStore::shares_of(JobNumber job) {
  const Statement::Run run(shares_of_);
  run->bind(1, job);
  std::vector<Share> out;
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return out;
    out.push_back({run->column_int(0), run->column_int(1), Money{run->column_int(2)}});
  }
}

Result<JobStore::Tally> JobStore::tally(JobNumber job) {
  const Statement::Run run(tally_);
  run->bind(1, job);
  CALYX_TRY(const bool row, run->step());
  if (!row) return Tally{};
  return Tally{.completed = to_unsigned(run->column_int(0)),
               .failed = to_unsigned(run->column_int(1)),
               .running = to_unsigned(run->column_int(2)),
               .retrying = to_unsigned(run->column_int(3)),
               .ran_ms = run->column_int(4),
               .charged = run->column_int(5),
               .events = run->column_int(6),
               .backups = to_unsigned(run->column_int(7))};
}

}  // namespace calyx::store
