// The beginning and the end of a market, and its copies: what stands at the path, the gate, the connections.
#include <unistd.h>

#include <chrono>

#include "crypto/random.hpp"
#include "engine/commands.hpp"
#include "engine/market.hpp"
#include "recipes/recipes.hpp"
#include "services/book_loading.hpp"
#include "store/path.hpp"

namespace calyx {

namespace json = core::json;

namespace {

std::int64_t system_now_us() {
  using namespace std::chrono;
  return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

// What a host's callback throws must not pass through a batch, where others wait: a clock that throws tells
// no time, and a source that throws gives nothing.
// Nor may it ask the market that waits for it, which `InCallback` lets it refuse.
std::function<std::int64_t()> clock_of(const void* market, std::function<std::int64_t()> host) {
  return [market, host = std::move(host)]() -> std::int64_t {
    const engine::InCallback inside(market);
    try {
      return host();
    } catch (...) {
      return INT64_MIN;
    }
  };
}

crypto::RandomSource random_of(const void* market, std::function<bool(void*, std::size_t)> host) {
  return [market, host = std::move(host)](void* out, std::size_t size) {
    const engine::InCallback inside(market);
    try {
      return host(out, size);
    } catch (...) {
      return false;
    }
  };
}

}  // namespace

Market::Market(Options options) : options_(std::move(options)) {
  if (options_.callbacks) webhooks_ = std::make_shared<const Webhooks>(Webhooks{*options_.callbacks, {}});
}

Market::~Market() {
  lifeline_->loosen();
  workshop_.tell();
  lifeline_->cut();
  // A file that is closed in peace is left with an empty log, so that it alone is the market, unless
  // somebody else is at it.
  try {
    readers_.clear();
    if (!writer_ || options_.read_only || options_.path.empty() || fenced_) return;
    const Result<store::GateHold> hold = store::GateHold::take(gate_, 0);
    if (!hold.ok() || gate_.wanted_by_others()) return;
    // Without a gate nothing keeps another engine's commit out of the moment in which the log is cut.
    if (!gate_.held() || !writer_->connection.empty_log_if_idle().ok())
      static_cast<void>(writer_->connection.checkpoint_passive());
  } catch (const std::bad_alloc&) {  // no memory to say that somebody is
  }
}

void Market::end(std::unique_ptr<Market> market) noexcept {
  if (market == nullptr || market->pid_ == getpid()) return;
  Market& left = *market.release();  // NOLINT: on purpose never given back
  left.gate_ = {};
  left.signers_.clear();
  left.batch_signer_.reset();
  left.hash_key_ = {};
  left.ephemeral_seeds_.clear();
}

Result<std::unique_ptr<Market>> Market::open(Options options) {
  if (options.fee_basis_points < 0 || options.fee_basis_points > core::basis_points_whole)
    return fail(Reason::options_invalid,
                "fee_basis_points is " + std::to_string(options.fee_basis_points) + ", takes 0 to 10000");
  if (options.issuer.empty()) options.issuer = "calyx";
  if (!services::check_key_text("issuer", options.issuer, services::Empty::refused).ok() ||
      options.issuer.find('+') != std::string::npos)
    return fail(Reason::options_invalid, "issuer takes 1 to 128 bytes of 0x21-0x7E without a plus");
  constexpr std::size_t metrics_token_min = 16;
  if (!options.metrics_token.empty() &&
      (options.metrics_token.size() < metrics_token_min ||
       !services::check_key_text("metrics_token", options.metrics_token, services::Empty::refused).ok()))
    return fail(Reason::options_invalid, "metrics_token takes 16 to 128 bytes of 0x21-0x7E");
  if (!services::check_key_text("signature_first_line", options.signature_first_line,
                                services::Empty::refused)
           .ok())
    return fail(Reason::options_invalid, "signature_first_line takes 1 to 128 bytes of 0x21-0x7E");
  if (static_cast<bool>(options.sign) != options.sign_public_key.has_value())
    return fail(Reason::options_invalid, "sign and sign_public_key go together");
  if (options.signing_threads > signing_threads_max)
    return fail(Reason::options_invalid, "signing_threads is " + std::to_string(options.signing_threads) +
                                             ", takes 0 to " + std::to_string(signing_threads_max));
  if (options.read_only && options.path.empty())
    return fail(Reason::options_invalid, "a market in memory can't be read-only");
  if (!crypto::crypto_ready()) return fail(Reason::io_error, "the system gives no random bytes");
  std::unique_ptr<Market> market(new Market(std::move(options)));
  CALYX_CHECK(market->start());
  return market;
}

Result<Done> Market::start() {
  pid_ = getpid();
  seams_.now_us = options_.now_us ? clock_of(this, options_.now_us) : system_now_us;
  seams_.random = options_.random ? random_of(this, options_.random) : crypto::system_random();
  seams_.hash_key = &hash_key_;
  seams_.known_jobs = &known_jobs_;
  workshop_.put_recipe(recipes::packing_recipe());
  workshop_.put_recipe(recipes::prop_amm_recipe());
  workshop_.put_recipe(recipes::gpu_probe_recipe());

  const bool plain_file = !options_.path.empty() && options_.vfs.empty();
  if (plain_file) {
    CALYX_TRY(path_, store::real_market_path(options_.path));
    CALYX_CHECK(look_before_opening());
  } else {
    path_ = options_.path;
  }
  const std::string sidecars = plain_file ? path_ : options_.sidecars;
  if (!sidecars.empty()) {
    if (options_.read_only) {
      gate_ = store::Gate::open_for_reading(store::gate_path(sidecars));
    } else {
      CALYX_TRY(gate_, store::Gate::open(store::gate_path(sidecars), options_.busy_timeout_ms));
    }
  }
  const Result<store::GateHold> hold = store::GateHold::take(gate_, options_.busy_timeout_ms);
  if (!hold.ok()) return store::at_path(hold.error(), path_);
  Result<Done> started = start_under_gate();
  if (started.reason() == Reason::not_a_market || started.reason() == Reason::file_missing) gate_.withdraw();
  CALYX_CHECK(std::move(started));
  return sign_threads_.start(sign_pool_, options_.read_only ? 0 : options_.signing_threads);
}

Result<std::string> Market::folders_path() const {
  CALYX_CHECK(usable());
  if (!options_.path.empty() && options_.vfs.empty()) return path_;
  return fail(Reason::unsupported, "a market in memory has no folders beside it: open one in a file");
}

Result<Done> Market::look_before_opening() {
  // The key file first: whoever is making the market just now makes it after the file.
  const bool keys_stand = access(store::keys_path(path_).c_str(), F_OK) == 0;
  if (keys_stand) blank_ = store::Blank::refused;
  CALYX_TRY(const store::Standing standing, store::look_at(path_));
  switch (standing) {
    case store::Standing::plausible: return Done{};
    case store::Standing::no_market:
      return fail(Reason::not_a_market, path_ + " is not a market: give a market's path");
    case store::Standing::lost:
      return fail(Reason::file_missing,
                  path_ + " is missing or empty, and " + path_ +
                      "-wal holds what was committed: put the market's file back beside "
                      "it, or move the -wal away to begin a new market");
    case store::Standing::missing:
    case store::Standing::blank: break;
  }
  if (keys_stand)
    return fail(Reason::file_missing,
                "no market at " + path_ + ", and its key file " + path_ +
                    "-keys stands: put the market's file and its -wal back, or move the "
                    "key file away to begin a new market");
  if (!options_.read_only) return Done{};
  if (access(path_.c_str(), F_OK) != 0) return fail(Reason::file_missing, "no market at " + path_);
  return fail(Reason::not_a_market, path_ + " is empty, and was opened to be read only");
}

Result<Done> Market::start_under_gate() {
  CALYX_TRY(Writer writer, open_connection(!options_.read_only));
  writer_.emplace(std::move(writer));
  {
    std::optional<store::ReadTransaction> snapshot;
    CALYX_TRY(store::ReadTransaction begun, store::ReadTransaction::begin(writer_->connection));
    snapshot.emplace(std::move(begun));
    CALYX_TRY(working_, services::load_book(writer_->store));
  }
  CALYX_CHECK(create_or_load_keys(working_));
  committed_ = working_;
  gate_.begin_at(static_cast<std::uint64_t>(committed_.seq));
  checkpoint_when_due();
  if (!options_.path.empty()) {
    CALYX_TRY(std::unique_ptr<Reader> reader, take_reader());
    give_reader(std::move(reader));
  }
  return Done{};
}

Result<Market::Writer> Market::open_connection(bool writes) const {
  CALYX_TRY(store::Connection connection,
            store::Connection::open({.path = path_,
                                     .read_only = !writes,
                                     .in_memory = options_.path.empty(),
                                     .vfs = options_.vfs.empty() ? nullptr : options_.vfs.c_str(),
                                     .busy_timeout_ms = options_.busy_timeout_ms,
                                     .synchronous_full = !options_.synchronous_normal}));
  CALYX_CHECK(store::migrate(connection, !writes, blank_));
  connection.seal();
  CALYX_TRY(store::MarketStore store, store::MarketStore::make(connection, writes));
  connection.freeze();
  return Writer{std::move(connection), std::move(store)};
}

std::string Market::schema_fault() const {
  const Result<Reader> opened = open_connection(false);
  const json::Value* difference = opened.ok() ? nullptr : opened.error().details.find("difference");
  return difference == nullptr ? std::string() : *difference->string();
}

Result<Done> Market::backup(const std::string& path) {
  CALYX_CHECK(usable());
  if (options_.path.empty()) return fail(Reason::unsupported, "a market in memory has no file to copy");
  CALYX_TRY(const std::string real, store::real_market_path(path));
  CALYX_TRY(std::unique_ptr<Reader> reader, take_reader());
  CALYX_TRY(store::Gate gate, store::Gate::open(store::gate_path(path_), options_.busy_timeout_ms));
  CALYX_TRY(const store::GateHold hold, store::GateHold::take(gate, options_.busy_timeout_ms));
  static_cast<void>(hold);
  return reader->connection.backup_to(real);
}

}  // namespace calyx
