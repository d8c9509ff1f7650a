#include "engine/market.hpp"

#include <unistd.h>

#include <algorithm>
#include <calyx/core/note.hpp>
#include <calyx/core/receipt.hpp>
#include <chrono>
#include <thread>

#include "crypto/random.hpp"
#include "crypto/sha256.hpp"
#include "engine/commands.hpp"
#include "recipes/recipes.hpp"
#include "services/receipts.hpp"
#include "store/path.hpp"

namespace calyx {

using core::Digest;
using services::Book;
using services::Event;
using services::Seq;
using services::Transaction;

namespace {

/// Calls that share a commit at most; the rest waits for the next.
constexpr std::size_t batch_calls_max = 256;
/// How long a batch goes on taking in calls; the shorter time while another engine waits for the gate. Asked
/// between calls: one that is long itself, a bulk, is not cut. Units: microseconds.
constexpr std::int64_t batch_us_max = 10'000;
constexpr std::int64_t batch_us_when_wanted = 5'000;
/// WAL frames after which what is committed is copied into the file. Units: frames of one page.
constexpr int checkpoint_frames = 2'000;
/// WAL frames after which readers are held back for a moment so that the log can start anew: what is copied
/// while they overlap lets it grow on. Units: frames of one page.
constexpr int restart_frames = 4 * checkpoint_frames;
/// How long the log's restart waits for readers, and readers for it.
constexpr std::uint64_t restart_wait_ms = 50;
constexpr std::chrono::milliseconds log_wait_max{200};
/// Events of others that are applied at a time, between which readers get in.
constexpr std::size_t stretch_events_max = 512;
/// So many events behind, the leader fetches them before it takes the gate.
constexpr services::Seq early_events = 64;
constexpr std::size_t readers_kept = 16;
constexpr std::int64_t sign_deadline_ms = 5'000;

/// The error of a call that met the end of memory; short enough to need none itself.
Error out_of_memory() { return fail(Reason::no_memory, "no memory left"); }

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
crypto::SignCallback sign_of(const void* market, crypto::SignCallback host) {
  return
      [market, host = std::move(host)](std::string_view kid, std::string_view message, std::uint8_t out[64]) {
        const engine::InCallback inside(market);
        return host(kid, message, out);  // what it throws, the signer answers
      };
}

Result<Event> read_event(const store::EventRow& row) {
  CALYX_TRY(services::Fields fields,
            services::read_fields(static_cast<core::EventKind>(row.kind), row.fields));
  return Event{row.seq, row.at, std::move(fields)};
}

/// The hash that the first event names: that of the market's id.
Digest first_head(std::string_view market) { return crypto::Sha256{}(market); }

/// The book of the market in `store`, from the events of standing, the entries and the open locks.
Result<Book> load_book(store::MarketStore& store) {
  Book book;
  CALYX_CHECK(store.standing_events([&](const store::EventRow& row) -> Result<bool> {
    CALYX_TRY(const Event event, read_event(row));
    CALYX_CHECK(book.restore(event));
    return true;
  }));
  CALYX_CHECK(store.entries_from(0, [&](const store::EntryRow& row) -> Result<bool> {
    CALYX_CHECK(book.restore_entry(row.id, {row.account, row.amount}));
    return true;
  }));
  CALYX_TRY(const Money fees, store.sum_of_fees());
  book.restore_fees(fees);
  CALYX_CHECK(store.open_locks([&](Seq lock, Money amount) -> Result<Done> {
    CALYX_TRY(const Event event, services::event_at(store, lock));
    const auto* spend = std::get_if<services::SpendEvent>(&event.fields);
    if (spend == nullptr || spend->amount != amount)
      return fail(Reason::corrupt,
                  "an escrow account holds what no lock put there; keep the file and run an audit");
    return book.restore_lock(event.seq, event.at, *spend);
  }));
  CALYX_TRY(const Seq last, store.last_seq());
  if (last == 0) return book;
  CALYX_TRY(const std::optional<store::MarketStore::OwnedEvent> tail, store.event(last));
  if (!tail || book.market.empty())
    return fail(Reason::corrupt, "the log has no beginning or no end; keep the file and run an audit");
  book.seq = tail->seq;
  book.at = tail->at;
  book.head = tail->hash;
  CALYX_TRY(book.receipt_log, services::load_receipt_log(store, book));
  return book;
}

}  // namespace

Market::Market(Options options) : options_(std::move(options)) {}
Market::~Market() {
  if (pid_ == getpid()) {
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
    return;
  }
  // A forked child leaves the parent's connections alone: closing them would drop the parent's locks.
  if (pid_ == 0) return;
  new std::optional<Writer>(std::move(writer_));                  // NOLINT: on purpose never given back
  new std::vector<Writer>(std::move(retired_));                   // NOLINT
  new std::vector<std::unique_ptr<Reader>>(std::move(readers_));  // NOLINT
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
  return started;
}

Result<std::string> Market::folders_path() const {
  CALYX_CHECK(usable());
  if (!options_.path.empty() && options_.vfs.empty()) return path_;
  return fail(Reason::unsupported, "a market in memory has no folders beside it: open one in a file");
}

Result<engine::Commands*> Market::commands() {
  if (!options_.commands) return nullptr;
  const std::lock_guard lock(commands_mutex_);
  if (commands_ == nullptr) {
    CALYX_TRY(commands_, engine::Commands::open(*options_.commands, 0));
  }
  return commands_.get();
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
    CALYX_TRY(working_, load_book(writer_->store));
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
  return Writer{std::move(connection), std::move(store)};
}

// A market's birth is three steps, and a crash between any two is mended by the next opening: the id in
// the log, the key file that names the id, the log's word for the key.
Result<Done> Market::create_or_load_keys(Book& book) {
  if (!in_file()) {  // an ephemeral key; drawn first, so that a seeded source gives the same one again
    CALYX_TRY(hash_key_, crypto::SecretBytes::random(crypto::hash_key_bytes, seams_.random));
    CALYX_TRY(crypto::SecretBytes seed, crypto::SecretBytes::random(crypto::seed_bytes, seams_.random));
    ephemeral_seeds_.push_back(std::move(seed));
  }
  const auto append = [&](services::Fields fields) -> Result<Done> {
    CALYX_TRY(store::WriteTransaction transaction, store::WriteTransaction::begin(writer_->connection));
    Transaction tx(book, writer_->store, windows_, seams_);
    CALYX_CHECK(tx.tick());
    CALYX_CHECK(tx.append(std::move(fields)));
    return transaction.commit();
  };
  if (book.seq == 0) {
    if (options_.read_only) return fail(Reason::not_a_market, "the file holds no market yet");
    if (blank_ == store::Blank::refused)
      return fail(
          Reason::file_missing,
          "the market's log is empty, and its key file stands: put the market's file and its -wal back");
    std::array<std::uint8_t, 16> id{};
    if (!seams_.random(id.data(), id.size()))
      return fail(Reason::io_error, "the random source gives nothing");
    std::string market = core::hex(core::chars(id));
    book.head = first_head(market);
    CALYX_CHECK(
        append(services::MarketCreated{std::move(market), options_.issuer, options_.fee_basis_points}));
  }
  if (in_file()) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    if (book.signing_keys.empty() && !options_.read_only && access(file.c_str(), F_OK) != 0)
      CALYX_CHECK(crypto::create_key_file(file, book.market, Instant{seams_.now_us()}, seams_.random));
    Result<crypto::KeyFile> keys = crypto::load_key_file(file, book.market);
    if (keys.ok())
      hash_key_ = std::move(keys->hash_key);
    else if (!options_.read_only)
      return std::move(keys).error();
    else
      keys_error_ = std::move(keys).error();  // a reader signs nothing
  }
  CALYX_CHECK(load_signers(book));
  if (options_.read_only) return Done{};

  std::vector<std::string> missing;
  const auto want = [&](const crypto::PublicKey& key) {
    std::string text = core::base64url(core::chars(key));
    if (std::find(book.signing_keys.begin(), book.signing_keys.end(), text) == book.signing_keys.end())
      missing.push_back(std::move(text));
  };
  if (options_.sign) {
    want(*options_.sign_public_key);
  } else if (in_file()) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    CALYX_TRY(const crypto::KeyFile keys, crypto::load_key_file(file, book.market));
    for (const crypto::SigningSeed& seed : keys.seeds) {
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed.seed));
      want(signer->public_key());
    }
  } else {
    for (const crypto::SecretBytes& seed : ephemeral_seeds_) {
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed));
      want(signer->public_key());
    }
  }
  for (std::string& key : missing) CALYX_CHECK(append(services::SigningKeyAdded{std::move(key)}));
  return missing.empty() ? Result<Done>(Done{}) : load_signers(book);
}

Result<Done> Market::load_signers(const Book& book) {
  // Those that are here already, in case that the key file cannot be read just now.
  std::vector<std::shared_ptr<const crypto::Signer>> known = signers_;
  if (options_.sign) {
    if (known.empty())
      known.push_back(std::make_shared<crypto::CallbackSigner>(*options_.sign_public_key,
                                                               sign_of(this, options_.sign),
                                                               std::chrono::milliseconds(sign_deadline_ms)));
  } else if (in_file() && !options_.read_only) {
    const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
    const Result<crypto::KeyFile> keys = crypto::load_key_file(file, book.market);
    for (std::size_t i = 0; keys.ok() && i < keys->seeds.size(); ++i) {
      CALYX_TRY(auto signer, crypto::Ed25519Signer::from_seed(keys->seeds[i].seed));
      known.push_back(std::move(signer));
    }
  }
  for (const crypto::SecretBytes& seed : ephemeral_seeds_) {
    if (options_.sign) break;  // the host signs with its own key alone
    CALYX_TRY(auto signer, crypto::Ed25519Signer::from_seed(seed));
    known.push_back(std::move(signer));
  }
  std::vector<std::shared_ptr<const crypto::Signer>> signers(book.signing_keys.size());
  int place = -1;
  std::vector<std::string> headers;
  for (std::size_t i = 0; i < book.signing_keys.size(); ++i) {
    const auto bytes = core::unbase64url(book.signing_keys[i]);
    const auto key = bytes ? core::octets<32>(*bytes) : std::nullopt;
    if (!key)
      return fail(Reason::corrupt,
                  "a signing key in the log is not 32 bytes; keep the file and run an audit");
    headers.push_back(core::base64url(core::receipt_header(crypto::key_id(*key))));
    for (const auto& signer : known)
      if (signer != nullptr && signer->public_key() == *key) signers[i] = signer;
    if (signers[i] != nullptr) place = static_cast<int>(i);
  }
  const std::unique_lock lock(signers_mutex_);
  signers_ = std::move(signers);
  signing_headers_ = std::move(headers);
  signing_place_ = place;
  seams_.can_sign = place >= 0;
  return Done{};
}

Result<Done> Market::usable() const {
  if (pid_ != getpid()) return fail(Reason::forked, "this process was forked: open the market in it anew");
  if (engine::InCallback::of(this))
    return fail(Reason::handle_invalid,
                "a callback must not call the engine that called it: it runs inside a call already");
  return Done{};
}

// ── writing ──

void Market::submit(Call& call) {
  std::uint32_t heard = 0;
  bool leads = false;
  // Whoever finds nobody leading leads, unless its own call is about to be answered. The bell is asked first:
  // who leads now rings it later.
  const auto claim = [&] {
    heard = bells_[call.bell].heard();
    leads = !leading_ && !call.taken;
    if (leads) leading_ = true;
  };
  {
    const std::lock_guard lock(queue_mutex_);
    queue_.push_back(&call);
    call.bell = bell_;
    claim();
  }
  for (;;) {
    if (leads)
      lead();
    else
      bells_[call.bell].wait(heard);
    if (call.done.load(std::memory_order_acquire)) return;
    {
      const std::lock_guard lock(queue_mutex_);
      claim();
    }
    if (call.done.load(std::memory_order_acquire)) return;
    if (!leads) sign_pool_.help();  // what else one is woken for
  }
}

void Market::lead() {
  // Callers that the last commit woke are about to ask again: letting them in first makes one commit of many.
  for (int i = 0; i < 8; ++i) {
    {
      const std::lock_guard lock(queue_mutex_);
      if (queue_.size() >= last_batch_) break;
    }
    std::this_thread::yield();
  }
  run_batch();
  engine::Doorbell* next = nullptr;
  {
    const std::lock_guard lock(queue_mutex_);
    leading_ = false;
    if (!queue_.empty()) next = &bells_[queue_.front()->bell];
  }
  if (next != nullptr) next->ring_one();  // of those who wait there, whoever wakes first leads
}

void Market::run_batch() {
  std::vector<Call*> batch;
  std::optional<store::GateHold> hold;
  Result<Done> done = out_of_memory();  // unless it comes to something else; no exception may pass the others
  catch_up_early();
  try {
    Result<store::GateHold> taken = store::GateHold::take(gate_, options_.busy_timeout_ms);
    if (taken.ok()) {
      hold.emplace(*std::move(taken));
      done = decide_batch(batch);
    } else {
      done = std::move(taken).error();
    }
  } catch (const std::bad_alloc&) {
  }
  answer(batch, done);
  if (done.ok()) checkpoint_when_due();
}

Result<Done> Market::decide_batch(std::vector<Call*>& batch) {
  CALYX_CHECK(need_writer());
  if (options_.read_only) return fail(Reason::read_only, "the market was opened read-only");
  CALYX_TRY(store::WriteTransaction transaction, store::WriteTransaction::begin(writer_->connection));
  Transaction tx(working_, writer_->store, windows_, seams_);
  Result<Done> done = out_of_memory();
  try {
    done = [&]() -> Result<Done> {
      CALYX_CHECK(ready_books());
      if (working_.signing_keys.size() != signing_headers_.size()) CALYX_CHECK(load_signers(working_));
      CALYX_CHECK(fill(tx, batch));
      if (!tx.wrote()) return Done{};
      return commit(tx, transaction);
    }();
  } catch (const std::bad_alloc&) {
  }
  if (!done.ok()) {
    transaction.rollback();
    undo();
    if (done.error().status() == Status::corrupt || done.error().status() == Status::internal) fenced_ = true;
    return done;
  }
  if (!tx.wrote()) {
    transaction.rollback();
  } else {
    commits_.fetch_add(1, std::memory_order_relaxed);
    calls_.fetch_add(batch.size(), std::memory_order_relaxed);
    publish(tx);
  }
  return done;
}

void Market::answer(const std::vector<Call*>& batch, const Result<Done>& done) {
  bool rings[2] = {};
  const auto end = [&](Call& call) {
    if (!done.ok()) call.fail(done.error());
    rings[call.bell] = true;
    call.done.store(true, std::memory_order_release);
  };
  last_batch_ = batch.size();
  for (Call* call : batch) end(*call);
  while (!done.ok() && batch.empty()) {  // nobody was taken in yet: the error is everybody's
    Call* call = nullptr;
    {
      const std::lock_guard lock(queue_mutex_);
      if (queue_.empty()) break;
      call = queue_.front();
      queue_.pop_front();
      call->taken = true;
    }
    end(*call);
  }
  for (unsigned bell = 0; bell < 2; ++bell)
    if (rings[bell]) bells_[bell].ring_all();
}

Result<Done> Market::ready_books() {
  if (working_stale_) {
    std::shared_lock lock(committed_mutex_);
    if (committed_stale_) {
      lock.unlock();
      CALYX_TRY(working_, load_book(writer_->store));
    } else {
      working_ = committed_;
    }
    working_stale_ = false;
  }
  for (;;) {
    CALYX_TRY(const Seq last, writer_->store.last_seq());
    if (last == working_.seq) break;
    CALYX_TRY(const Stretch stretch, read_on(mark_of(working_), writer_->store));
    CALYX_CHECK(move_on(working_, stretch, &windows_));
    CALYX_CHECK(show(stretch));  // at once: after the commit there is only this batch to show
  }
  {
    const std::shared_lock lock(committed_mutex_);
    if (!committed_stale_) return Done{};
  }
  const std::unique_lock lock(committed_mutex_);
  committed_ = working_;
  committed_stale_ = false;
  return Done{};
}

Result<Done> Market::fill(Transaction& tx, std::vector<Call*>& batch) {
  // Only the leader loads signers, so the batch's stays as it is. What a host signs has one deadline for all.
  batch_signer_ = signing_place_ < 0 ? nullptr : signers_[static_cast<std::size_t>(signing_place_)];
  if (options_.sign && batch_signer_ != nullptr)
    batch_signer_ =
        std::make_shared<crypto::DeadlineSigner>(batch_signer_, std::chrono::milliseconds(sign_deadline_ms));
  Result<Done> filled = out_of_memory();
  // Made before the pool is open: once helpers are in it nothing here may throw but what is caught.
  const engine::SignPool::Keep keep = [&](const services::PendingReceipt& receipt) -> Result<Done> {
    if (!filled.ok()) return out_of_memory();  // whatever ended the batch: nothing is kept of it
    try {
      return log_receipt(tx, receipt);
    } catch (const std::bad_alloc&) {
      return out_of_memory();
    }
  };
  sign_pool_.open(
      [this](services::PendingReceipt& receipt, services::ReceiptScratch& scratch) -> Result<Done> {
        if (batch_signer_ == nullptr) return fail(Reason::internal, "a receipt without a key to sign it");
        try {
          return services::sign_receipt(receipt, *batch_signer_,
                                        signing_headers_[static_cast<std::size_t>(signing_place_)], scratch);
        } catch (const std::bad_alloc&) {  // whoever helps has a call of its own, which must go on
          return out_of_memory();
        }
      });
  const std::int64_t begun_us = store::monotonic_us();
  // Asked once: the C library reads a file to know.
  static const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
  std::size_t shared = 0, helpers = 0;
  const auto take_in = [&]() -> Result<Done> {
    for (;;) {
      {
        const std::lock_guard lock(queue_mutex_);
        // One call is taken in however long the leader was kept waiting.
        if (queue_.empty() || batch.size() >= batch_calls_max || (!batch.empty() && late(begun_us))) {
          bell_ ^= 1U;
          return Done{};
        }
        batch.push_back(queue_.front());
        queue_.front()->taken = true;
        queue_.pop_front();
      }
      Call& call = *batch.back();
      if (!call.decide(tx)) return call.failure();
      std::deque<services::PendingReceipt>& receipts = tx.receipts();
      for (; shared < receipts.size(); ++shared) sign_pool_.add(receipts[shared]);
      // Whoever waits can sign, decided or not.
      if (shared > helpers && helpers + 1 < cores &&
          (bells_[call.bell].nudge_one() || bells_[call.bell ^ 1U].nudge_one()))
        ++helpers;
    }
  };
  try {
    filled = take_in();
  } catch (const std::bad_alloc&) {  // helpers are at the receipts still, so the pool is finished first
  }
  Result<Done> all_signed = sign_pool_.finish(keep);
  return filled.ok() ? all_signed : filled;
}

bool Market::late(std::int64_t begun_us) const noexcept {
  const std::int64_t took_us = store::monotonic_us() - begun_us;
  return took_us > batch_us_max || (took_us > batch_us_when_wanted && gate_.wanted_by_others());
}

Result<Done> Market::log_receipt(Transaction& tx, const services::PendingReceipt& receipt) {
  // The key that signed this batch; one that was added in it signs the next.
  CALYX_CHECK(tx.store().append_receipt({.leaf = receipt.leaf,
                                         .seq = receipt.seq,
                                         .key = signing_place_,
                                         .payload = receipt.packed,
                                         .signature = core::chars(receipt.signature)}));
  Result<Done> kept = Done{};
  core::merkle::Frontier& log = working_.receipt_log;
  log.append(crypto::Sha256{}, receipt.leaf_hash,
             [&](unsigned level, std::uint64_t index, const Digest& hash) {
               if (level == 0 || level % store::tile_levels != 0 || !kept.ok()) return;
               kept = tx.store().append_tile(level, index, hash);
             });
  CALYX_CHECK(std::move(kept));
  if (log.size() % (std::uint64_t{1} << store::tile_levels) != 0) return Done{};
  CALYX_TRY(const std::string note, services::sign_checkpoint({log.size(), log.root(crypto::Sha256{})},
                                                              working_.issuer, *batch_signer_));
  return tx.store().append_checkpoint(log.size(), note);
}

Result<Done> Market::commit(Transaction& tx, store::WriteTransaction& transaction) {
  Result<Done> committed = fail(Reason::outcome_unknown, "no memory");
  try {
    committed = transaction.commit();
    if (committed.ok() || transaction.state() != store::CommitState::unknown) return committed;
  } catch (const std::bad_alloc&) {  // an error at the commit, and no memory to tell which
    if (transaction.state() != store::CommitState::unknown) return out_of_memory();
  }
  try {
    // The error came at the commit itself. Another connection sees whether it stands; the broken one stays
    // open, for if it was the last the next would recover the log, with what may not be on the disk.
    retired_.push_back(std::move(*writer_));
    writer_.reset();
    if (Result<Done> again = need_writer(); again.ok()) {
      // A batch that changed nothing but jobs cannot be told from one that did not come about: repeating it
      // is what tells, as a worker's report does.
      if (!tx.appended().empty()) {
        Result<std::optional<store::MarketStore::OwnedEvent>> last =
            writer_->store.event(tx.appended().back().event.seq);
        if (last.ok() && *last && (*last)->hash == tx.appended().back().hash) return Done{};
      }
      // Nor may a process that opens the market after this one find it there. Where that fails too, the next
      // commit writes over it.
      static_cast<void>(writer_->connection.empty_log());
    }
    return fail(Reason::outcome_unknown,
                committed.error().message + ": repeat the same call with the same key",
                committed.error().details);
  } catch (const std::bad_alloc&) {
    return fail(Reason::outcome_unknown, "no memory");
  }
}

Result<Done> Market::need_writer() {
  if (fenced_)
    return fail(Reason::internal, "the engine met a broken rule and stopped writing: close it, run an audit");
  if (writer_ && !writer_->connection.broken()) {
    retired_.clear();  // it keeps the log's index alive in their stead
    return Done{};
  }
  if (writer_) {
    retired_.push_back(std::move(*writer_));
    writer_.reset();
  }
  for (Writer& old : retired_) old.connection.end_transaction();
  CALYX_TRY(Writer writer, open_connection(!options_.read_only));
  writer_.emplace(std::move(writer));
  return Done{};
}

void Market::undo() noexcept {
  windows_.forget();
  known_jobs_.forget();
  working_stale_ = true;
}

void Market::publish(const Transaction& tx) {
  {
    const std::unique_lock lock(committed_mutex_);
    bool whole = !std::exchange(committed_stale_, true);
    try {
      for (const Transaction::Appended& appended : tx.appended()) {
        if (appended.event.seq <= committed_.seq) continue;  // a reader was here first
        whole = whole && committed_.apply(appended.event, appended.hash).ok();
      }
      if (whole && committed_.seq == working_.seq)
        committed_.receipt_log = working_.receipt_log;
      else
        committed_ = working_;  // other processes' events lie between: take the whole
      committed_stale_ = false;
    } catch (
        const std::bad_alloc&) {  // it is durable all the same: whoever looks next reads it from the file
    }
  }
  gate_.publish(static_cast<std::uint64_t>(working_.seq));
}

void Market::checkpoint_when_due() {
  if (!writer_ || options_.read_only || options_.path.empty()) return;
  const int frames = writer_->connection.wal_frames();
  if (frames < frames_seen_ || checkpoint_due_ == 0) {  // the log has started anew
    checkpoint_due_ = checkpoint_frames;
    restart_due_ = restart_frames;
  }
  frames_seen_ = frames;
  if (frames < checkpoint_due_) return;
  // A reader may be in the way, a full disk or the end of memory too: the log waits for the next time, which
  // is not the next commit.
  checkpoint_due_ = frames + checkpoint_frames;
  try {
    bool done = false;
    if (frames >= restart_due_) {
      restart_due_ = frames + restart_frames;
      done = restart_log().ok();
    }
    if (done || writer_->connection.checkpoint_passive().ok())
      checkpoints_.fetch_add(1, std::memory_order_relaxed);
  } catch (const std::bad_alloc&) {
  }
}

Result<Done> Market::restart_log() {
  log_restarts_.store(true, std::memory_order_relaxed);
  const auto let_in = [&] {
    {
      const std::lock_guard lock(log_mutex_);
      log_restarts_.store(false, std::memory_order_relaxed);
    }
    log_ready_.notify_all();
  };
  try {
    Result<Done> done = writer_->connection.restart_log(restart_wait_ms);
    let_in();
    return done;
  } catch (const std::bad_alloc&) {
    let_in();
    return out_of_memory();
  }
}

// ── reading ──

void Market::wait_for_log() {
  if (!log_restarts_.load(std::memory_order_relaxed)) return;
  std::unique_lock lock(log_mutex_);
  log_ready_.wait_for(lock, log_wait_max, [&] { return !log_restarts_.load(std::memory_order_relaxed); });
}

Market::Mark Market::mark_of(const Book& book) {
  return {book.seq, book.head, book.receipt_log.size(), book.signing_keys};
}

Result<Market::Stretch> Market::read_on(const Mark& from, store::MarketStore& store) {
  Stretch stretch{.first_leaf = from.leaves};
  Book names;  // of which only the keys are asked
  names.signing_keys = from.keys;
  std::uint64_t leaves = from.leaves;
  Digest head = from.head;
  std::string scratch;
  CALYX_CHECK(store.events_from(from.seq + 1, [&](const store::EventRow& row) -> Result<bool> {
    CALYX_TRY(Event event, read_event(row));
    const core::EventHead at{
        .seq = row.seq, .at = row.at, .kind = static_cast<core::EventKind>(row.kind), .prev = head};
    if (core::event_hash(crypto::Sha256{}, at, row.fields, scratch) != row.hash)
      return fail(Reason::corrupt,
                  "event " + std::to_string(row.seq) + " does not carry on the chain; run an audit");
    head = row.hash;
    if (const auto* earn = std::get_if<services::EarnEvent>(&event.fields))
      leaves = static_cast<std::uint64_t>(earn->leaf) + 1;
    if (const auto* added = std::get_if<services::SigningKeyAdded>(&event.fields))
      names.signing_keys.push_back(added->public_key);
    stretch.events.push_back({std::move(event), row.hash});
    return stretch.events.size() < stretch_events_max;
  }));
  if (stretch.events.empty()) {
    CALYX_TRY(const Seq last, store.last_seq());
    if (last == from.seq) return stretch;
    return fail(Reason::corrupt, "the file ends at event " + std::to_string(last) + ", before event " +
                                     std::to_string(from.seq) +
                                     " that this engine has seen: it was put back to an older copy");
  }
  if (leaves > from.leaves)
    CALYX_CHECK(store.receipts_from(static_cast<std::int64_t>(from.leaves),
                                    [&](const store::ReceiptRow& row) -> Result<bool> {
                                      if (static_cast<std::uint64_t>(row.leaf) >= leaves) return false;
                                      CALYX_TRY(const Digest leaf, services::leaf_of(names, row));
                                      stretch.leaves.push_back(leaf);
                                      return true;
                                    }));
  if (stretch.leaves.size() != leaves - from.leaves)
    return fail(Reason::corrupt, "receipts are missing after leaf " +
                                     std::to_string(from.leaves + stretch.leaves.size()) + "; run an audit");
  return stretch;
}

Result<Done> Market::move_on(Book& book, const Stretch& stretch, services::Windows* windows) {
  for (const Transaction::Appended& each : stretch.events) {
    if (each.event.seq <= book.seq) continue;  // somebody was here first
    const core::AccountNumber payer = services::Windows::payer_of(book, each.event.fields);
    CALYX_CHECK(book.apply(each.event, each.hash));
    if (windows != nullptr)
      windows->note(book, each.event, payer);  // what others spent counts in the hour as well
  }
  for (std::size_t i = 0; i < stretch.leaves.size(); ++i)
    if (stretch.first_leaf + i >= book.receipt_log.size())
      book.receipt_log.append(crypto::Sha256{}, stretch.leaves[i]);
  return Done{};
}

Result<Done> Market::show(const Stretch& stretch) {
  const std::unique_lock lock(committed_mutex_);
  // An error half way leaves a book that is neither before nor after.
  if (std::exchange(committed_stale_, true)) return Done{};
  CALYX_CHECK(move_on(committed_, stretch, nullptr));
  committed_stale_ = false;
  return Done{};
}

void Market::catch_up_early() {
  if (options_.path.empty() || options_.read_only || working_stale_ || fenced_) return;
  const std::optional<std::uint64_t> seen = gate_.committed_seq();
  if (!seen || static_cast<Seq>(*seen) <= working_.seq + early_events) return;
  const auto fetch = [&]() -> Result<Done> {
    CALYX_TRY(std::unique_ptr<Reader> reader, take_reader());
    Result<Done> done = [&]() -> Result<Done> {
      while (working_.seq < static_cast<Seq>(*seen)) {
        wait_for_log();
        CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(reader->connection));
        static_cast<void>(snapshot);
        CALYX_TRY(const Stretch stretch, read_on(mark_of(working_), reader->store));
        if (stretch.events.empty()) return Done{};
        CALYX_CHECK(move_on(working_, stretch, &windows_));
        CALYX_CHECK(show(stretch));
      }
      return Done{};
    }();
    if (!reader->connection.broken()) give_reader(std::move(reader));
    return done;
  };
  try {
    if (!fetch().ok()) undo();
  } catch (const std::bad_alloc&) {
    undo();
  }
}

Result<Done> Market::refresh() {
  const std::optional<std::uint64_t> seen = gate_.committed_seq();
  {
    const std::shared_lock lock(committed_mutex_);
    // A reader for whom there is no gate to tell it asks the file; nobody else writes where a writer has
    // none.
    const bool nothing_new = seen ? static_cast<Seq>(*seen) <= committed_.seq : !options_.read_only;
    if (!committed_stale_ && nothing_new) return Done{};
  }
  // In memory the leader's connection is the only one, and the leader mends the book as it begins.
  if (options_.path.empty()) return write([](Transaction&) -> Result<Done> { return Done{}; });
  CALYX_TRY(std::unique_ptr<Reader> reader, take_reader());
  // One stretch, in a snapshot and under the lock for no longer than that takes; false when there is no more.
  const auto step = [&](Seq& goal) -> Result<bool> {
    wait_for_log();
    CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(reader->connection));
    static_cast<void>(snapshot);
    if (goal == 0) {
      CALYX_TRY(goal, reader->store.last_seq());
    }
    bool stale = false;
    Mark mark;
    {
      const std::shared_lock lock(committed_mutex_);
      stale = committed_stale_;
      if (!stale && goal <= committed_.seq) return false;
      if (!stale) mark = mark_of(committed_);
    }
    if (stale) {
      CALYX_TRY(Book fresh, load_book(reader->store));
      const std::unique_lock lock(committed_mutex_);
      if (std::exchange(committed_stale_, false)) committed_ = std::move(fresh);
      return true;
    }
    CALYX_TRY(const Stretch stretch, read_on(mark, reader->store));
    CALYX_CHECK(show(stretch));
    return true;
  };
  Result<Done> done = [&]() -> Result<Done> {
    const std::lock_guard one(refresh_mutex_);
    Seq goal = 0;
    for (bool more = true; more;) {
      CALYX_TRY(more, step(goal));
    }
    return Done{};
  }();
  if (!reader->connection.broken()) give_reader(std::move(reader));
  return done;
}

Result<std::unique_ptr<Market::Reader>> Market::take_reader() {
  {
    const std::lock_guard lock(readers_mutex_);
    if (!readers_.empty()) {
      std::unique_ptr<Reader> reader = std::move(readers_.back());
      readers_.pop_back();
      return reader;
    }
  }
  CALYX_TRY(Reader reader, open_connection(false));
  return std::make_unique<Reader>(std::move(reader));
}

void Market::give_reader(std::unique_ptr<Reader> reader) {
  const std::lock_guard lock(readers_mutex_);
  if (readers_.size() < readers_kept) readers_.push_back(std::move(reader));
}

Result<std::string> Market::jws(const store::MarketStore::OwnedReceipt& row) const {
  CALYX_CHECK(usable());
  const auto place = static_cast<std::size_t>(row.key);
  std::string header;
  {
    const std::shared_lock lock(signers_mutex_);
    if (place < signing_headers_.size()) header = signing_headers_[place];
  }
  if (header.empty()) {  // a key that another process added, and that this one has signed nothing with yet
    CALYX_TRY(const std::vector<core::TrustedKey> keys, trusted_keys());
    if (place < keys.size()) header = core::base64url(core::receipt_header(keys[place].kid));
  }
  std::string out;
  core::append_signing_input(out, header, row.payload);
  out.push_back('.');
  core::append_base64url(out, row.signature);
  return out;
}

Result<Done> Market::can_check_keys() const {
  if (!keys_error_) return Done{};
  return fail(Reason::keys_missing, "no API key can be checked: " + keys_error_->message);
}

Result<std::vector<core::TrustedKey>> Market::trusted_keys() const {
  CALYX_CHECK(usable());
  std::vector<core::TrustedKey> keys;
  const std::shared_lock lock(committed_mutex_);
  for (const std::string& text : committed_.signing_keys) {
    const auto bytes = core::unbase64url(text);
    const auto key = bytes ? core::octets<32>(*bytes) : std::nullopt;
    if (key) keys.push_back({crypto::key_id(*key), *key});
  }
  return keys;
}

Result<std::string> Market::checkpoint_note(const core::merkle::Head& head) {
  CALYX_CHECK(usable());
  std::shared_ptr<const crypto::Signer> signer;
  {
    const std::shared_lock lock(signers_mutex_);
    if (signing_place_ >= 0) signer = signers_[static_cast<std::size_t>(signing_place_)];
  }
  if (signer == nullptr)
    return fail(Reason::keys_missing,
                "the seed of the market's signing key is not here: open the market for writing");
  CALYX_TRY(const std::string name, issuer());
  return services::sign_checkpoint(head, name, *signer);
}

Result<std::string> Market::rotate_signing_key() {
  CALYX_CHECK(usable());
  if (options_.sign || options_.read_only)
    return fail(Reason::unsupported, "this engine does not hold the signing key");
  return write([&](Transaction& tx) -> Result<std::string> {
    crypto::PublicKey key{};
    if (in_file()) {
      const std::string file = store::keys_path(options_.vfs.empty() ? path_ : options_.sidecars);
      CALYX_TRY(const crypto::KeyFile keys,
                crypto::add_signing_seed(file, tx.book().market, tx.now(), seams_.random));
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(keys.seeds.back().seed));
      key = signer->public_key();
    } else {
      CALYX_TRY(crypto::SecretBytes seed, crypto::SecretBytes::random(crypto::seed_bytes, seams_.random));
      CALYX_TRY(const auto signer, crypto::Ed25519Signer::from_seed(seed));
      key = signer->public_key();
      ephemeral_seeds_.push_back(std::move(seed));
    }
    // Receipts of this very batch are signed with the old key: it is the one that the pool holds.
    CALYX_CHECK(tx.append(services::SigningKeyAdded{core::base64url(core::chars(key))}));
    return crypto::key_id(key);
  });
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

Result<std::string> Market::issuer() const {
  CALYX_CHECK(usable());
  const std::shared_lock lock(committed_mutex_);
  return committed_.issuer;
}

EngineStats Market::stats() const noexcept {
  return {commits_.load(), calls_.load(), checkpoints_.load(), store::statements_prepared()};
}

}  // namespace calyx
