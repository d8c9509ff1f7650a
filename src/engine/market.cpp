#include "engine/market.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "crypto/sha256.hpp"
#include "engine/commands.hpp"
#include "services/book_loading.hpp"
#include "services/receipts.hpp"

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

/// The error of a call that met the end of memory; short enough to need none itself.
Error out_of_memory() { return fail(Reason::no_memory, "no memory left"); }

}  // namespace

Result<engine::Commands*> Market::commands() {
  if (!options_.commands) return nullptr;
  const std::lock_guard lock(commands_mutex_);
  if (commands_ == nullptr) {
    CALYX_TRY(commands_, engine::Commands::open(*options_.commands, 0));
  }
  return commands_.get();
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
      CALYX_TRY(working_, services::load_book(writer_->store));
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
    batch_signer_ = std::make_shared<crypto::DeadlineSigner>(batch_signer_, sign_deadline);
  Result<Done> filled = out_of_memory();
  // Made before the pool is open: once helpers are in it nothing here may throw but what is caught.
  tx.hand_receipts_to([this](services::PendingReceipt& receipt) { sign_pool_.add(receipt); });
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
  std::size_t helpers = sign_threads_.count();
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
      // Whoever waits can sign, decided or not.
      if (tx.receipts() > helpers && helpers + 1 < cores &&
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
    CALYX_TRY(Event event, services::read_event(row));
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
      CALYX_TRY(Book fresh, services::load_book(reader->store));
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

Result<std::string> Market::issuer() const {
  CALYX_CHECK(usable());
  const std::shared_lock lock(committed_mutex_);
  return committed_.issuer;
}

EngineStats Market::stats() const noexcept {
  return {commits_.load(), calls_.load(), checkpoints_.load(), store::statements_prepared()};
}

}  // namespace calyx
