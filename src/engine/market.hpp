/// \file
/// The inside of an engine: one open market file, the order of its writers, and what readers see.
///
/// Writers queue; the first of the queue leads: it takes the gate, opens one transaction, lets every call
/// that waits decide and append, has the receipts signed, commits once, and wakes everybody. Then the next in
/// the queue leads. Readers look at a book that moves only after a commit, and at the file through
/// connections of their own.
#pragma once

#include <atomic>
#include <calyx/core/receipt.hpp>
#include <calyx/engine.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <shared_mutex>

#include "crypto/key_file.hpp"
#include "crypto/signer.hpp"
#include "engine/sign_pool.hpp"
#include "services/services.hpp"
#include "store/gate.hpp"

namespace calyx {

class Market {
 public:
  static Result<std::unique_ptr<Market>> open(Options options);
  ~Market();
  Market(const Market&) = delete;
  Market& operator=(const Market&) = delete;

  /// Runs `decide(Transaction&)` as one call of a batch and returns what it answered once that is durable.
  template <class Decide>
  auto write(Decide decide) -> std::invoke_result_t<Decide&, services::Transaction&>;

  /// Runs `look(const Book&, Instant now)` on the committed book. Never waits for writers.
  template <class Look>
  auto read(Look look) -> std::invoke_result_t<Look&, const services::Book&, Instant>;

  /// Runs `look(MarketStore&)` in a read transaction on a connection of its own.
  template <class Look>
  auto history(Look look) -> std::invoke_result_t<Look&, store::MarketStore&>;

  Result<Done> backup(const std::string& path);
  /// A fresh signing seed in the key file, and the event that announces it.
  Result<std::string> rotate_signing_key();

  /// The receipt as it was signed. `row` is as stored.
  std::string jws(const store::MarketStore::OwnedReceipt& row) const;
  std::vector<core::TrustedKey> trusted_keys() const;
  /// The head of the receipt log as a signed note.
  Result<std::string> checkpoint_note(const core::merkle::Head& head);

  const services::Seams& seams() const noexcept { return seams_; }
  const Options& options() const noexcept { return options_; }
  std::string issuer() const;
  EngineStats stats() const noexcept;

 private:
  /// A thread's place to wait; it outlives every call that the thread makes.
  struct Waiter {
    enum class Signal : std::uint8_t { none, help, lead, done };
    std::mutex mutex;
    std::condition_variable woken;
    Signal signal = Signal::none;
    void wake(Signal with);
    Signal wait();
  };
  /// One caller's wish, on the caller's stack.
  struct Call {
    virtual ~Call() = default;
    /// False when an error was met that ends the whole batch; `failure` then tells it.
    virtual bool decide(services::Transaction& tx) = 0;
    virtual Error failure() const = 0;
    virtual void fail(const Error& error) = 0;
    Waiter* waiter = nullptr;
  };
  template <class Decide, class Answer>
  struct TypedCall;

  /// A connection for reading, with its statements.
  struct Reader {
    store::Connection connection;
    store::MarketStore store;
  };
  /// The connection for writing, with its statements.
  using Writer = Reader;

  explicit Market(Options options);
  Result<Done> start();
  Result<Done> create_or_load_keys(services::Book& book);
  Result<Done> load_signers(const services::Book& book);

  Result<Done> usable() const;
  void submit(Call& call);
  void lead();
  void run_batch();
  /// Decides and commits one batch, under the gate. `std::bad_alloc` passes only before anybody is taken in.
  Result<Done> decide_batch(std::vector<Call*>& batch);
  /// Tells every call of `batch`, or of the whole queue where an error came before there was one.
  void answer(const std::vector<Call*>& batch, const Result<Done>& done);
  /// Brings the writer's book, and the readers' where it was left unfit, to what the file says.
  Result<Done> ready_books();
  /// Decides the calls; fills `batch`. An error ends the batch.
  Result<Done> fill(services::Transaction& tx, std::vector<Call*>& batch);
  Result<Done> log_receipts(services::Transaction& tx);
  Result<Done> commit(services::Transaction& tx, store::WriteTransaction& transaction);
  void publish(const services::Transaction& tx);
  /// Gives up what a batch did to the writer's book; the next batch makes it anew.
  void undo() noexcept;
  /// Copies the log into the file when it has `frames` or more. Under the gate.
  void checkpoint_when_due(int frames);
  Result<Done> need_writer();

  Result<Writer> open_connection(bool writes) const;
  Result<std::unique_ptr<Reader>> take_reader();
  void give_reader(std::unique_ptr<Reader> reader);
  /// Applies what other processes committed since `book` was last moved on.
  /// `windows` belong to `book` and move on with it; null where nobody keeps any.
  Result<Done> catch_up(services::Book& book, store::MarketStore& store, services::Windows* windows) const;
  Result<Done> refresh();

  Options options_;
  std::string path_;
  std::int64_t pid_ = 0;
  services::Seams seams_;
  crypto::SecretBytes hash_key_;
  std::vector<crypto::SecretBytes> ephemeral_seeds_;
  store::Gate gate_;

  mutable std::shared_mutex signers_mutex_;
  std::vector<std::unique_ptr<crypto::Signer>>
      signers_;                               ///< By place; null for a key whose seed is not here.
  std::vector<std::string> signing_headers_;  ///< By place: base64url of the protected header.

  std::mutex queue_mutex_;
  std::deque<Call*> queue_;
  bool leading_ = false;

  // The leader's.
  std::optional<Writer> writer_;
  /// Broken, and kept open until another writes: closing the last connection would make the next one recover.
  std::vector<Writer> retired_;
  services::Book working_;
  bool working_stale_ = false;  ///< A batch failed: `working_` is not what is committed.
  services::Windows windows_;
  engine::SignPool sign_pool_;
  std::size_t last_batch_ = 0;

  mutable std::shared_mutex committed_mutex_;
  services::Book committed_;
  bool committed_stale_ = false;  ///< Memory or disk failed as it moved on: it must be read from the file.
  std::atomic<bool> fenced_{false};

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Reader>> readers_;

  std::atomic<std::uint64_t> commits_{0}, calls_{0}, checkpoints_{0};
};

/// Whether an error of one call is a matter of that call alone, or of the store under all of them.
constexpr bool is_refusal(Reason reason) noexcept {
  if (reason == Reason::too_many_approvals) return true;  // a rule's word, though time alone mends it
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
  auto answer = [&]() -> std::invoke_result_t<Look&, store::MarketStore&> {
    CALYX_TRY(const store::ReadTransaction snapshot, store::ReadTransaction::begin(reader->connection));
    static_cast<void>(snapshot);
    return look(reader->store);
  }();
  if (!reader->connection.broken()) give_reader(std::move(reader));
  return answer;
}

}  // namespace calyx
