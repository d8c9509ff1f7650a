/// \file
/// The inside of an engine: one open market file, the order of its writers, and what readers see.
///
/// Writers queue; the first of the queue leads: it takes the gate, opens one transaction, lets every call
/// that waits decide and append, has the receipts signed, commits once, and wakes everybody. Then one of
/// those who came meanwhile leads. Readers look at a book that moves only after a commit, and at the file
/// through connections of their own. Its beginning and end are in market_opening.cpp, its keys in
/// market_keys.cpp.
#pragma once

#include <atomic>
#include <calyx/core/receipt.hpp>
#include <calyx/engine.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <shared_mutex>

#include "crypto/key_file.hpp"
#include "crypto/signer.hpp"
#include "engine/callback.hpp"
#include "engine/doorbell.hpp"
#include "engine/lifeline.hpp"
#include "engine/sign_pool.hpp"
#include "engine/turnstile.hpp"
#include "engine/workshop.hpp"
#include "services/known_job.hpp"
#include "services/services.hpp"
#include "store/gate.hpp"
#include "store/market_store.hpp"

namespace calyx {
namespace engine {
class Commands;
}

class Market {
 public:
  static Result<std::unique_ptr<Market>> open(Options options);
  /// Ends `market`. A forked child leaves its parent's alone, but for the gate and the keys: closing the
  /// connections would drop the parent's locks, and what other threads waited for as it was made it would
  /// wait for without end.
  static void end(std::unique_ptr<Market> market) noexcept;
  ~Market();
  Market(const Market&) = delete;
  Market& operator=(const Market&) = delete;

  /// What every call asks first, before it touches a lock. Fails: `forked`; `handle_invalid` inside a
  /// callback of this very market.
  Result<Done> usable() const;

  /// Runs `decide(Transaction&)` as one call of a batch and returns what it answered once that is durable.
  template <class Decide>
  auto write(Decide decide) -> std::invoke_result_t<Decide&, services::Transaction&>;

  /// Runs `look(const Book&, Instant now)` on the committed book. Never waits for writers.
  template <class Look>
  auto read(Look look) -> std::invoke_result_t<Look&, const services::Book&, Instant>;

  /// Runs `look(MarketStore&)` in a read transaction on a connection of its own.
  template <class Look>
  auto history(Look look) -> std::invoke_result_t<Look&, store::MarketStore&>;

  /// What runs commands on callers' threads, opened when it is first asked for; null without
  /// `Options::commands`.
  Result<engine::Commands*> commands();

  Result<Done> backup(const std::string& path);
  /// A fresh signing seed in the key file, and the event that announces it.
  Result<std::string> rotate_signing_key();

  /// The receipt as it was signed. `row` is as stored. Fails: as `usable`, as do the two below.
  Result<std::string> jws(const store::MarketStore::OwnedReceipt& row) const;
  Result<std::vector<core::TrustedKey>> trusted_keys() const;
  Result<std::string> issuer() const;
  /// Whether an API key can be told from a wrong one. Fails: `keys_missing`, for a reader without the key
  /// file.
  Result<Done> can_check_keys() const;
  /// How the file's schema differs from this build's, as an opening sees it; empty where it does not, or is a
  /// newer one.
  std::string schema_fault() const;
  /// The head of the receipt log as a signed note.
  Result<std::string> checkpoint_note(const core::merkle::Head& head);

  const services::Seams& seams() const noexcept { return seams_; }
  const Options& options() const noexcept { return options_; }
  /// Who settles payments, or null. Hold it as long as a call of it: another one may be set meanwhile.
  std::shared_ptr<SettlementBackend> settlement() const;
  /// Who was there before goes outside the lock: it is the host's, and may have an end of its own.
  void set_settlement(std::shared_ptr<SettlementBackend>& swapped) {
    const std::lock_guard lock(settlement_mutex_);
    options_.settlement.swap(swapped);
  }
  /// Which URLs jobs may name, and who sends to them where the host does not; null: jobs may name none. Hold
  /// it as long as a call of it.
  struct Webhooks {
    core::CallbackRules rules;
    WebhookTransport transport;
  };
  std::shared_ptr<const Webhooks> webhooks() const {
    const std::lock_guard lock(settlement_mutex_);
    return webhooks_;
  }
  void set_webhooks(std::shared_ptr<const Webhooks>& swapped) {
    const std::lock_guard lock(settlement_mutex_);
    webhooks_.swap(swapped);
  }
  /// The market's real path, beside which its folders lie. Fails: `unsupported` for a market in memory, or in
  /// a file system of its own.
  Result<std::string> folders_path() const;
  EngineStats stats() const noexcept;

  services::JobCache& known_jobs() noexcept { return known_jobs_; }
  /// What this process can run, and where its workers wait for something to do.
  engine::Workshop& workshop() noexcept { return workshop_; }
  /// For what may outlive this market.
  const std::shared_ptr<engine::Lifeline>& lifeline() const noexcept { return lifeline_; }
  /// Whether others may write to it too, who knock at no door of this process.
  bool is_shared() const noexcept { return !options_.path.empty(); }

 private:
  /// One caller's wish, on the caller's stack.
  struct Call {
    virtual ~Call() = default;
    /// False when an error was met that ends the whole batch; `failure` then tells it.
    virtual bool decide(services::Transaction& tx) = 0;
    virtual Error failure() const = 0;
    virtual void fail(const Error& error) = 0;
    unsigned bell = 0;   ///< Which of `bells_` its caller waits at.
    bool taken = false;  ///< Into a batch; under `queue_mutex_`.
    /// Set last, by the leader that answered it: from then on it may be gone.
    std::atomic<bool> done{false};
  };
  template <class Decide, class Answer>
  struct TypedCall;

  /// How long a host may take to sign what one batch holds.
  static constexpr std::chrono::milliseconds sign_deadline{5'000};

  /// A connection for reading, with its statements.
  struct Reader {
    store::Connection connection;
    store::MarketStore store;
  };
  /// The connection for writing, with its statements.
  using Writer = Reader;

  explicit Market(Options options);
  Result<Done> start();
  /// What stands at the path, before anything is made beside it.
  Result<Done> look_before_opening();
  Result<Done> start_under_gate();
  bool in_file() const noexcept {
    return !options_.path.empty() && (options_.vfs.empty() || !options_.sidecars.empty());
  }
  Result<Done> create_or_load_keys(services::Book& book);
  Result<Done> load_signers(const services::Book& book);

  void submit(Call& call);
  void lead();
  void run_batch();
  /// Decides and commits one batch, under the gate. `std::bad_alloc` passes only before anybody is taken in.
  Result<Done> decide_batch(std::vector<Call*>& batch);
  /// Tells every call of `batch`, or of the whole queue where an error came before there was one.
  void answer(const std::vector<Call*>& batch, const Result<Done>& done);
  /// Brings the writer's book, and the readers' where it was left unfit, to what the file says.
  Result<Done> ready_books();
  /// Brings the writer's book near to what others have committed before the gate is taken, so that nobody
  /// waits for that. What fails here is met again under the gate.
  void catch_up_early();
  /// Decides the calls, has their receipts signed, and keeps those; fills `batch`. An error ends the batch.
  Result<Done> fill(services::Transaction& tx, std::vector<Call*>& batch);
  /// Whether the batch that began at `begun_us` should take in no more.
  bool late(std::int64_t begun_us) const noexcept;
  /// Appends a receipt that is signed, and what the log of receipts keeps of its tree.
  Result<Done> log_receipt(services::Transaction& tx, const services::PendingReceipt& receipt);
  Result<Done> commit(services::Transaction& tx, store::WriteTransaction& transaction);
  void publish(const services::Transaction& tx);
  /// Gives up what a batch did to the writer's book; the next batch makes it anew.
  void undo() noexcept;
  /// Copies the log into the file when it has grown enough since the last time, and starts it anew when it
  /// has grown far beyond that because readers overlap. Under the gate.
  void checkpoint_when_due();
  Result<Done> restart_log();
  Result<Done> need_writer();

  Result<Writer> open_connection(bool writes) const;
  Result<std::unique_ptr<Reader>> take_reader();
  void give_reader(std::unique_ptr<Reader> reader);
  /// Waits for the short moment in which the log is started anew.
  void wait_for_log();

  /// How far a book is.
  struct Mark {
    services::Seq seq = 0;
    core::Digest head;
    std::uint64_t leaves = 0;
    std::vector<std::string> keys;
  };
  static Mark mark_of(const services::Book& book);
  /// A stretch of the log as others committed it, checked against the hash before it.
  struct Stretch {
    std::vector<services::Transaction::Appended> events;
    std::uint64_t first_leaf = 0;
    std::vector<core::Digest> leaves;
  };
  /// What stands in `store` after `from`, up to a limit. Fails: `corrupt`, also when the file ends before
  /// `from`; the store.
  static Result<Stretch> read_on(const Mark& from, store::MarketStore& store);
  /// Moves `book` over what it has not seen of `stretch`. `windows` belong to `book` and move on with it;
  /// null where nobody keeps any.
  static Result<Done> move_on(services::Book& book, const Stretch& stretch, services::Windows* windows);
  /// Moves the committed book over `stretch`, under its lock.
  Result<Done> show(const Stretch& stretch);
  Result<Done> refresh();

  Options options_;
  std::string path_;
  std::int64_t pid_ = 0;
  services::Seams seams_;
  services::JobCache known_jobs_;
  engine::Workshop workshop_;
  std::shared_ptr<engine::Lifeline> lifeline_ = std::make_shared<engine::Lifeline>(*this);
  crypto::SecretBytes hash_key_;
  std::optional<Error> keys_error_;  ///< Why a reader has no `hash_key_`.
  std::vector<crypto::SecretBytes> ephemeral_seeds_;
  store::Blank blank_ = store::Blank::becomes_a_market;
  store::Gate gate_;

  mutable std::shared_mutex signers_mutex_;
  std::vector<std::shared_ptr<const crypto::Signer>>
      signers_;                               ///< By place; null for a key whose seed is not here.
  std::vector<std::string> signing_headers_;  ///< By place: base64url of the protected header.
  /// The newest key whose seed is here, which signs; -1 for none.
  int signing_place_ = -1;

  std::mutex queue_mutex_;
  std::deque<Call*> queue_;
  bool leading_ = false;
  /// Calls wait at one bell until a batch is full, the next ones at the other: the end of a batch wakes those
  /// who were in it, and few others.
  engine::Doorbell bells_[2];
  unsigned bell_ = 0;  ///< Of the next call; under `queue_mutex_`.

  // The leader's.
  std::optional<Writer> writer_;
  /// Broken, and kept open until another writes: closing the last connection would make the next one recover.
  std::vector<Writer> retired_;
  services::Book working_;
  bool working_stale_ = false;  ///< A batch failed: `working_` is not what is committed.
  services::Windows windows_;
  engine::SignPool sign_pool_;
  engine::SignThreads sign_threads_;  // after the pool, which they use
  std::shared_ptr<const crypto::Signer> batch_signer_;
  std::size_t last_batch_ = 0;
  /// The log's frames when it was last looked at, and where the next checkpoint and the next restart are due.
  int frames_seen_ = 0, checkpoint_due_ = 0, restart_due_ = 0;

  std::mutex refresh_mutex_;  ///< One reader at a time fetches what others committed.
  mutable engine::Turnstile committed_mutex_;
  services::Book committed_;
  bool committed_stale_ = false;  ///< Memory or disk failed as it moved on: it must be read from the file.
  std::atomic<bool> fenced_{false};

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Reader>> readers_;

  mutable std::mutex settlement_mutex_;  ///< Over `options_.settlement` and what follows.
  std::shared_ptr<const Webhooks> webhooks_;

  std::mutex commands_mutex_;
  std::unique_ptr<engine::Commands> commands_;

  std::mutex log_mutex_;
  std::condition_variable log_ready_;
  std::atomic<bool> log_restarts_{false};  ///< New read transactions are held back.

  std::atomic<std::uint64_t> commits_{0}, calls_{0}, checkpoints_{0};
};

/// Whether an error of one call is a matter of that call alone, or of the store under all of them.
constexpr bool is_refusal(Reason reason) noexcept {
  // A rule's word, though time alone mends it; and what concerns only the settlement that needs a signature.
  if (reason == Reason::too_many_approvals || reason == Reason::keys_missing ||
      reason == Reason::too_much_feedback || reason == Reason::feedback_full ||
      reason == Reason::too_many_quotes || reason == Reason::too_many_wallets ||
      reason == Reason::too_many_nonces)
    return true;
  const Status status = facts(reason).status;
  return status == Status::invalid || status == Status::not_found || status == Status::conflict ||
         status == Status::refused || status == Status::stopped || status == Status::unsupported;
}

template <class Decide, class Answer>
struct Market::TypedCall final : Market::Call {
  explicit TypedCall(Decide& how) : decide_(how) {}
  bool decide(services::Transaction& tx) override {
    if (Result<Done> ticked = tx.tick(); !ticked.ok())
      answer.emplace(std::move(ticked).error());
    else
      answer.emplace(decide_(tx));
    return answer->ok() || is_refusal(answer->error().reason);
  }
  Error failure() const override { return answer->error(); }
  void fail(const Error& error) override {
    try {
      answer.emplace(error);
    } catch (const std::bad_alloc&) {  // the words are lost, what happened is not
      answer.emplace(Error{error.reason, {}, {}});
    }
  }
  std::optional<Answer> answer;

 private:
  Decide& decide_;
};

template <class Decide>
auto Market::write(Decide decide) -> std::invoke_result_t<Decide&, services::Transaction&> {
  using Answer = std::invoke_result_t<Decide&, services::Transaction&>;
  CALYX_CHECK(usable());
  TypedCall<Decide, Answer> call(decide);
  submit(call);
  return *std::move(call.answer);
}

template <class Look>
auto Market::read(Look look) -> std::invoke_result_t<Look&, const services::Book&, Instant> {
  CALYX_CHECK(usable());
  CALYX_CHECK(refresh());
  const std::int64_t now_us = seams_.now_us();
  const std::shared_lock lock(committed_mutex_);
  if (committed_stale_) return fail(Reason::no_memory, "no memory left");
  return look(committed_, Instant{std::max(now_us, committed_.at.us)});
}

template <class Look>
auto Market::history(Look look) -> std::invoke_result_t<Look&, store::MarketStore&> {
  CALYX_CHECK(usable());
  if (options_.path.empty())  // one connection, which is the leader's
    return write([&](services::Transaction& tx) { return look(tx.store()); });
  CALYX_TRY(std::unique_ptr<Reader> reader, take_reader());
  wait_for_log();
  auto answer = [&]() -> std::invoke_result_t<Look&, store::MarketStore&> {
    CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(reader->connection));
    static_cast<void>(snapshot);
    return look(reader->store);
  }();
  if (!reader->connection.broken()) give_reader(std::move(reader));
  return answer;
}

}  // namespace calyx
