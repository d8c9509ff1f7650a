#include "baseline.hpp"

#include <sodium.h>
#include <sqlite3.h>
#include <time.h>

#include <cstdio>
#include <stdexcept>
#include <utility>

namespace calyx::bench {
namespace {

constexpr std::string_view escrow_wallet = "wlt_escrow";
constexpr std::string_view fee_wallet = "wlt_platform_fees";
constexpr std::string_view outside_wallet = "wlt_outside";

/// Why an entry stands in the books.
enum Kind : int { funding = 0, lock = 1, settlement = 2, payout = 3, fee = 4, rest = 5 };

/// The kinds in the hour's sum, 1 and 5, are `lock` and `rest`: what was locked, less what came back.
constexpr const char* schema = R"sql(
CREATE TABLE IF NOT EXISTS wallets(
  id TEXT PRIMARY KEY, cap_job INTEGER NOT NULL, cap_hour INTEGER NOT NULL, allowed_gpus TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries(
  id INTEGER PRIMARY KEY, txn TEXT NOT NULL, wallet TEXT NOT NULL, job TEXT NOT NULL, kind INTEGER NOT NULL,
  amount INTEGER NOT NULL, at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS escrows(
  job TEXT PRIMARY KEY, buyer TEXT NOT NULL, host TEXT, gpu_model TEXT NOT NULL, locked INTEGER NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0, at_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS receipts(
  id TEXT PRIMARY KEY, job TEXT NOT NULL UNIQUE, payload TEXT NOT NULL, signature BLOB NOT NULL
) STRICT;
)sql";

[[noreturn]] void fail(sqlite3* database, const char* doing) {
  throw std::runtime_error(std::string(doing) + ": " + (database ? sqlite3_errmsg(database) : "no memory"));
}

/// One use of a prepared statement: binds in order, and is ready for the next use when it goes.
class Use {
 public:
  explicit Use(sqlite3_stmt* statement) : statement_(statement) {}
  ~Use() { sqlite3_reset(statement_); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  // Static, because a bound text outlives the use that reads it.
  Use& text(std::string_view value) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    return *this;
  }
  Use& integer(std::int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Use& bytes(const unsigned char* data, std::size_t size) {
    sqlite3_bind_blob(statement_, ++bound_, data, static_cast<int>(size), SQLITE_STATIC);
    return *this;
  }

  /// Whether there is a row to read.
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    fail(sqlite3_db_handle(statement_), sqlite3_sql(statement_));
  }

  std::int64_t integer_at(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string_view text_at(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return {data == nullptr ? "" : data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

void append_base64url(std::string& out, std::string_view bytes) {
  static constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const auto at = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
  };
  std::size_t written = out.size();
  out.resize(written + (bytes.size() * 4 + 2) / 3);
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const std::uint32_t three = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    out[written++] = alphabet[three >> 18];
    out[written++] = alphabet[three >> 12 & 63];
    out[written++] = alphabet[three >> 6 & 63];
    out[written++] = alphabet[three & 63];
  }
  if (bytes.size() - i == 1) {
    out[written++] = alphabet[at(i) >> 2];
    out[written++] = alphabet[at(i) << 4 & 63];
  } else if (bytes.size() - i == 2) {
    const std::uint32_t two = at(i) << 8 | at(i + 1);
    out[written++] = alphabet[two >> 10];
    out[written++] = alphabet[two >> 4 & 63];
    out[written++] = alphabet[two << 2 & 63];
  }
}

void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

/// Two to six decimals, as signed JSON prints money.
void append_money(std::string& out, std::int64_t micro) {
  char text[32];
  int size = std::snprintf(text, sizeof text, "%lld.%06lld", static_cast<long long>(micro / 1'000'000),
                           static_cast<long long>(micro % 1'000'000));
  for (int spare = 4; spare > 0 && text[size - 1] == '0'; --spare) --size;
  out += '"';
  out.append(text, static_cast<std::size_t>(size));
  out += '"';
}

/// 15% of `gross`, half to even. The product is 128 bits wide: 1500 times a large amount is not an int64.
std::int64_t fee_of(std::int64_t gross_micro) {
  __extension__ using Wide = __int128;
  const Wide scaled = static_cast<Wide>(gross_micro) * Baseline::fee_basis_points;
  auto whole = static_cast<std::int64_t>(scaled / 10'000);
  const auto left = static_cast<std::int64_t>(scaled % 10'000);
  if (left > 5'000 || (left == 5'000 && whole % 2 == 1)) ++whole;
  return whole;
}

/// Whether `model` stands between two bars of `allowed`.
bool allows(std::string_view allowed, std::string_view model) {
  if (allowed.empty()) return true;
  for (std::size_t at = allowed.find(model); at != std::string_view::npos; at = allowed.find(model, at + 1)) {
    const std::size_t end = at + model.size();
    if (!model.empty() && at > 0 && allowed[at - 1] == '|' && end < allowed.size() && allowed[end] == '|')
      return true;
  }
  return false;
}

void execute(sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(database, sql);
}

void sodium_ready() {
  if (sodium_init() < 0) throw std::runtime_error("libsodium does not start");
}

}  // namespace

Baseline::Baseline(const std::filesystem::path& file, const Options& options) {
  sodium_ready();
  // Every connection signs with the same key, as one program with several threads does.
  std::array<unsigned char, crypto_sign_SEEDBYTES> seed{};
  seed.fill(7);
  crypto_sign_seed_keypair(public_key_.data(), secret_key_.data(), seed.data());
  randombytes_buf(&id_state_, sizeof id_state_);

  std::string x;
  append_base64url(x, {reinterpret_cast<const char*>(public_key_.data()), public_key_.size()});
  const std::string jwk = R"({"crv":"Ed25519","kty":"OKP","x":")" + x + "\"}";
  std::array<unsigned char, crypto_hash_sha256_BYTES> thumbprint{};
  crypto_hash_sha256(thumbprint.data(), reinterpret_cast<const unsigned char*>(jwk.data()), jwk.size());
  std::string kid;
  append_base64url(kid, {reinterpret_cast<const char*>(thumbprint.data()), thumbprint.size()});
  append_base64url(header_, R"({"alg":"EdDSA","kid":")" + kid + R"(","typ":"calyx-receipt+jws"})");
  header_ += '.';
  // A hand-written ledger has no chain: this text only keeps the receipt as long as calyx's.
  head_.assign(64, '0');

  try {
    if (sqlite3_open_v2(file.c_str(), &database_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        nullptr) != SQLITE_OK)
      fail(database_, "open");
    sqlite3_busy_timeout(database_, options.busy_timeout_ms);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    run("PRAGMA cache_size=-65536");
    run("BEGIN IMMEDIATE");
    run(schema);
    run(options.index == WalletIndex::covering
            ? "CREATE INDEX IF NOT EXISTS entries_of_wallet ON entries(wallet, at_us, kind, amount)"
            : "CREATE INDEX IF NOT EXISTS entries_of_wallet ON entries(wallet, at_us)");
    run("COMMIT");

    begin_ = prepared("BEGIN IMMEDIATE");
    commit_ = prepared("COMMIT");
    roll_back_ = prepared("ROLLBACK");
    insert_wallet_ = prepared("INSERT INTO wallets VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING");
    wallet_policy_ = prepared("SELECT cap_job, cap_hour, allowed_gpus FROM wallets WHERE id = ?1");
    hour_sum_ = prepared(
        "SELECT -COALESCE(SUM(amount), 0) FROM entries WHERE wallet = ?1 AND at_us > ?2 AND kind IN (1, 5)");
    balance_sum_ = prepared("SELECT COALESCE(SUM(amount), 0) FROM entries WHERE wallet = ?1");
    insert_escrow_ = prepared(
        "INSERT INTO escrows(job, buyer, gpu_model, locked, at_us) VALUES(?1, ?2, ?3, ?4, ?5) "
        "ON CONFLICT DO NOTHING");
    find_escrow_ = prepared("SELECT buyer, host, gpu_model, locked, settled FROM escrows WHERE job = ?1");
    settle_escrow_ = prepared("UPDATE escrows SET settled = 1, host = ?2 WHERE job = ?1 AND settled = 0");
    insert_entry_ =
        prepared("INSERT INTO entries(txn, wallet, job, kind, amount, at_us) VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
    insert_receipt_ = prepared("INSERT INTO receipts(id, job, payload, signature) VALUES(?1, ?2, ?3, ?4)");
    find_receipt_ = prepared("SELECT payload, signature FROM receipts WHERE job = ?1");
  } catch (...) {
    close();
    throw;
  }
}

Baseline::~Baseline() { close(); }

void Baseline::close() noexcept {
  for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
  statements_.clear();
  sqlite3_close(std::exchange(database_, nullptr));
}

void Baseline::run(const char* sql) { execute(database_, sql); }

sqlite3_stmt* Baseline::prepared(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK)
    fail(database_, sql);
  statements_.push_back(statement);
  return statement;
}

std::int64_t Baseline::single_integer(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) != SQLITE_OK) fail(database_, sql);
  const bool found = sqlite3_step(statement) == SQLITE_ROW;
  const std::int64_t value = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  if (!found) fail(database_, sql);
  return value;
}

void Baseline::begin_call() {
  if (!in_group_) Use(begin_).step();
}

void Baseline::end_call(Outcome outcome) {
  if (!in_group_) Use(outcome == Outcome::done ? commit_ : roll_back_).step();
}

void Baseline::begin_group() {
  Use(begin_).step();
  in_group_ = true;
}

void Baseline::commit_group() {
  Use(commit_).step();
  in_group_ = false;
}

void Baseline::roll_back_group() {
  in_group_ = false;
  Use(roll_back_).step();
}

void Baseline::create_wallet(std::string_view wallet, const BaselinePolicy& policy) {
  Use(insert_wallet_)
      .text(wallet)
      .integer(policy.cap_job_micro)
      .integer(policy.cap_hour_micro)
      .text(policy.allowed_gpus)
      .step();
}

void Baseline::fund(std::string_view wallet, std::int64_t amount_micro) {
  begin_call();
  try {
    std::array<char, 30> txn{};
    const std::string_view id = next_id("txn_", 0, txn);
    insert_entry(id, "", {outside_wallet, -amount_micro, funding}, 0);
    insert_entry(id, "", {wallet, amount_micro, funding}, 0);
    end_call(Outcome::done);
  } catch (...) {
    if (!in_group_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

Outcome Baseline::spend(const BaselineSpend& spend, std::int64_t now_us) {
  begin_call();
  try {
    const Outcome outcome = spend_in_transaction(spend, now_us);
    end_call(outcome);
    return outcome;
  } catch (...) {
    if (!in_group_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

Outcome Baseline::earn(const BaselineEarn& earn, std::int64_t now_us) {
  begin_call();
  try {
    const Outcome outcome = earn_in_transaction(earn, now_us);
    end_call(outcome);
    return outcome;
  } catch (...) {
    if (!in_group_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
}

// Every check comes before the first write, so that a denial inside a group leaves nothing to undo.
Outcome Baseline::spend_in_transaction(const BaselineSpend& spend, std::int64_t now_us) {
  std::int64_t cap_hour = 0;
  {
    Use policy(wallet_policy_);
    if (!policy.text(spend.buyer).step()) return Outcome::wallet_unknown;
    if (!allows(policy.text_at(2), spend.gpu_model)) return Outcome::gpu_not_allowed;
    if (spend.amount_micro > policy.integer_at(0)) return Outcome::above_job_cap;
    cap_hour = policy.integer_at(1);
  }
  {
    Use hour(hour_sum_);
    hour.text(spend.buyer).integer(now_us - hour_us).step();
    if (spend.amount_micro > cap_hour - hour.integer_at(0)) return Outcome::above_hour_cap;
  }
  {
    Use balance(balance_sum_);
    balance.text(spend.buyer).step();
    if (spend.amount_micro > balance.integer_at(0)) return Outcome::insufficient_balance;
  }
  Use(insert_escrow_)
      .text(spend.job)
      .text(spend.buyer)
      .text(spend.gpu_model)
      .integer(spend.amount_micro)
      .integer(now_us)
      .step();
  if (sqlite3_changes(database_) == 0) return Outcome::job_reused;
  std::array<char, 30> txn{};
  const std::string_view id = next_id("txn_", now_us, txn);
  insert_entry(id, spend.job, {spend.buyer, -spend.amount_micro, lock}, now_us);
  insert_entry(id, spend.job, {escrow_wallet, spend.amount_micro, lock}, now_us);
  return Outcome::done;
}

Outcome Baseline::earn_in_transaction(const BaselineEarn& earn, std::int64_t now_us) {
  Use escrow(find_escrow_);
  if (!escrow.text(earn.job).step()) return Outcome::job_unknown;
  const std::string_view named_host = escrow.text_at(1);
  if (escrow.integer_at(4) != 0) return Outcome::already_settled;
  if (!named_host.empty() && named_host != earn.host) return Outcome::not_the_host;
  const std::int64_t locked = escrow.integer_at(3);
  if (earn.gross_micro > locked) return Outcome::gross_above_locked;
  {
    Use host(wallet_policy_);
    if (!host.text(earn.host).step()) return Outcome::wallet_unknown;
  }
  const std::string buyer(escrow.text_at(0));
  const std::string gpu_model(escrow.text_at(2));

  Use(settle_escrow_).text(earn.job).text(earn.host).step();
  if (sqlite3_changes(database_) == 0) return Outcome::already_settled;
  std::array<char, 30> txn{};
  const std::string_view id = next_id("txn_", now_us, txn);
  const std::int64_t fee_micro = fee_of(earn.gross_micro);
  const std::int64_t net_micro = earn.gross_micro - fee_micro;
  insert_entry(id, earn.job, {escrow_wallet, -locked, settlement}, now_us);
  if (net_micro > 0) insert_entry(id, earn.job, {earn.host, net_micro, payout}, now_us);
  if (fee_micro > 0) insert_entry(id, earn.job, {fee_wallet, fee_micro, fee}, now_us);
  if (locked > earn.gross_micro) insert_entry(id, earn.job, {buyer, locked - earn.gross_micro, rest}, now_us);
  write_receipt({buyer, earn.host, earn.job, gpu_model, id, earn.gross_micro, fee_micro,
                 sqlite3_last_insert_rowid(database_), now_us});
  return Outcome::done;
}

void Baseline::insert_entry(std::string_view txn, std::string_view job, const Leg& leg, std::int64_t now_us) {
  Use(insert_entry_)
      .text(txn)
      .text(leg.wallet)
      .text(job)
      .integer(leg.kind)
      .integer(leg.amount_micro)
      .integer(now_us)
      .step();
}

void Baseline::write_receipt(const Settled& settled) {
  std::array<char, 30> drawn{};
  const std::string_view id = next_id("rct_", settled.now_us, drawn);
  std::string receipt_id = "rcpt_";
  receipt_id += id.substr(4);

  const auto seconds = static_cast<time_t>(settled.now_us / 1'000'000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  char issued_at[32];
  std::strftime(issued_at, sizeof issued_at, "%Y-%m-%dT%H:%M:%SZ", &utc);

  // The keys stand in the order of RFC 8785, so that what is written is canonical as it is.
  std::string& out = payload_;
  out.assign(R"({"amount":{"gross":)");
  append_money(out, settled.gross_micro);
  out += R"(,"net":)";
  append_money(out, settled.gross_micro - settled.fee_micro);
  out += R"(,"platform_fee":)";
  append_money(out, settled.fee_micro);
  out += R"(,"unit":"FLOPS"},"duration_seconds":10082,"fee_basis_points":1500,"gpu_model":)";
  append_text(out, settled.gpu_model);
  out += R"(,"host_wallet":)";
  append_text(out, settled.host);
  out += R"(,"id":")";
  out += receipt_id;
  out += R"(","issued_at":")";
  out += issued_at;
  out += R"(","issuer":"calyx.example","job_id":)";
  append_text(out, settled.job);
  out += R"(,"ledger":{"head":")";
  out += head_;
  out += R"(","seq":)";
  out += std::to_string(settled.seq);
  out += R"(},"output_hash":"sha256:4d8e0c1f3b6a29578e0d1c2b3a49586776859403f2e1d0cbbaa9988776655443",)";
  out += R"("payer_wallet":)";
  append_text(out, settled.buyer);
  out += R"(,"settlement":{"rail":"escrow","reference":")";
  out += settled.txn;
  out += R"("},"type":"calyx.compute_receipt","v":1})";

  input_.assign(header_);
  append_base64url(input_, payload_);
  std::array<unsigned char, crypto_sign_BYTES> signature{};
  crypto_sign_detached(signature.data(), nullptr, reinterpret_cast<const unsigned char*>(input_.data()),
                       input_.size(), secret_key_.data());
  Use(insert_receipt_)
      .text(receipt_id)
      .text(settled.job)
      .text(payload_)
      .bytes(signature.data(), signature.size())
      .step();
}

/// Sorts by time, as users like their ids to: 48 bits of milliseconds, then 80 that are drawn.
std::string_view Baseline::next_id(const char* prefix, std::int64_t now_us, std::array<char, 30>& out) {
  static constexpr char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const auto draw = [this] {
    std::uint64_t z = (id_state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  };
  for (std::size_t i = 0; i < 4; ++i) out[i] = prefix[i];
  auto milliseconds = static_cast<std::uint64_t>(now_us / 1000);
  for (std::size_t i = 14; i-- > 4; milliseconds >>= 5) out[i] = alphabet[milliseconds & 31];
  std::uint64_t bits = draw();
  for (std::size_t i = 14; i < 22; ++i, bits >>= 5) out[i] = alphabet[bits & 31];
  bits = draw();
  for (std::size_t i = 22; i < 30; ++i, bits >>= 5) out[i] = alphabet[bits & 31];
  return {out.data(), out.size()};
}

std::int64_t Baseline::balance(std::string_view wallet) {
  Use sum(balance_sum_);
  sum.text(wallet).step();
  return sum.integer_at(0);
}

std::int64_t Baseline::sum_of_books() {
  return single_integer("SELECT COALESCE(SUM(amount), 0) FROM entries");
}

std::int64_t Baseline::entry_count() { return single_integer("SELECT COUNT(*) FROM entries"); }

BaselineReceipt Baseline::receipt(std::string_view job) {
  Use found(find_receipt_);
  if (!found.text(job).step()) throw std::runtime_error("no receipt of job " + std::string(job));
  BaselineReceipt receipt;
  receipt.payload = found.text_at(0);
  const std::string_view signature = found.text_at(1);
  if (signature.size() != receipt.signature.size()) throw std::runtime_error("a signature of another size");
  for (std::size_t i = 0; i < signature.size(); ++i)
    receipt.signature[i] = static_cast<unsigned char>(signature[i]);
  return receipt;
}

std::string Baseline::signing_input(std::string_view payload) const {
  std::string input = header_;
  append_base64url(input, payload);
  return input;
}

void Baseline::checkpoint() { run("PRAGMA wal_checkpoint(TRUNCATE)"); }

Sample bare_signatures(std::size_t message_bytes, unsigned count) {
  sodium_ready();
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_key{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret_key{};
  std::array<unsigned char, crypto_sign_BYTES> signature{};
  crypto_sign_keypair(public_key.data(), secret_key.data());
  std::vector<unsigned char> message(message_bytes, 'm');
  const Sample sample = timed([&] {
    for (unsigned i = 0; i < count; ++i) {
      // The next message holds the last signature's first byte, so no signature can be skipped.
      if (!message.empty()) message[0] = signature[0];
      crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(), secret_key.data());
    }
    return count;
  });
  return sample;
}

Sample bare_four_row_inserts(const std::filesystem::path& folder, unsigned count) {
  const std::filesystem::path file = folder / "four_rows.db";
  const auto remove_files = [&] {
    std::error_code ignored;
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix, ignored);
  };
  remove_files();
  sqlite3* database = nullptr;
  sqlite3_stmt* insert = nullptr;
  Sample sample{};
  try {
    if (sqlite3_open(file.c_str(), &database) != SQLITE_OK) fail(database, "open");
    execute(database,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
            "CREATE TABLE entries(id INTEGER PRIMARY KEY, transfer INTEGER NOT NULL, wallet INTEGER NOT NULL,"
            " kind INTEGER NOT NULL, amount INTEGER NOT NULL, at_us INTEGER NOT NULL) STRICT;"
            "CREATE INDEX entries_of_wallet ON entries(wallet, amount); BEGIN IMMEDIATE");
    constexpr const char* sql =
        "INSERT INTO entries VALUES(?,?,?,?,?,?),(?,?,?,?,?,?),(?,?,?,?,?,?),(?,?,?,?,?,?)";
    if (sqlite3_prepare_v2(database, sql, -1, &insert, nullptr) != SQLITE_OK) fail(database, sql);
    std::uint64_t drawn = 1;
    std::int64_t id = 0;
    sample = timed([&] {
      for (unsigned i = 0; i < count; ++i) {
        Use row(insert);
        for (int leg = 0; leg < 4; ++leg) {
          drawn = drawn * 6364136223846793005u + 1442695040888963407u;
          ++id;
          row.integer(id).integer(i).integer(static_cast<std::int64_t>((drawn >> 33) % 112)).integer(leg);
          row.integer(static_cast<std::int64_t>(drawn >> 40)).integer(1'767'225'600'000'000 + id);
        }
        row.step();
      }
      execute(database, "COMMIT");
      return count;
    });
  } catch (...) {
    sqlite3_finalize(insert);
    sqlite3_close(database);
    remove_files();
    throw;
  }
  sqlite3_finalize(insert);
  sqlite3_close(database);
  remove_files();
  return sample;
}

}  // namespace calyx::bench
