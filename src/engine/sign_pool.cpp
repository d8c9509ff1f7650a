#include "engine/sign_pool.hpp"

#include <csignal>
#include <system_error>
#include <utility>

namespace calyx::engine {

void SignPool::open(Sign sign) {
  const std::lock_guard lock(mutex_);
  sign_ = std::move(sign);
  tasks_.clear();
  next_ = done_ = kept_ = 0;
  closed_ = false;
  failed_.reset();
}

void SignPool::add(services::PendingReceipt& receipt) {
  bool serve = false;
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({&receipt});
    serve = has_backlog();
  }
  changed_.notify_one();
  if (serve) backlog_.notify_one();
}

bool SignPool::sign_next(std::unique_lock<std::mutex>& lock, services::ReceiptScratch& scratch) {
  if (next_ == tasks_.size()) return false;
  const std::size_t place = next_++;
  if (!failed_) {  // of a batch that fails nothing more need be signed
    services::PendingReceipt& receipt = *tasks_[place].receipt;
    lock.unlock();
    Result<Done> signed_now = sign_(receipt, scratch);
    lock.lock();
    tasks_[place].is_signed = signed_now.ok();
    if (!signed_now.ok() && !failed_) failed_ = std::move(signed_now).error();
  }
  ++done_;
  if (closed_ && next_ == tasks_.size()) changed_.notify_all();  // whoever finishes may wait for this one
  return true;
}

bool SignPool::keep_next(std::unique_lock<std::mutex>& lock, const Keep& keep) {
  if (failed_ || kept_ == tasks_.size() || !tasks_[kept_].is_signed) return false;
  const services::PendingReceipt& receipt = *tasks_[kept_++].receipt;
  lock.unlock();
  Result<Done> kept_now = keep(receipt);
  lock.lock();
  if (!kept_now.ok() && !failed_) failed_ = std::move(kept_now).error();
  return true;
}

void SignPool::help() {
  services::ReceiptScratch scratch;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (sign_next(lock, scratch)) continue;
    if (closed_) return;
    changed_.wait(lock, [&] { return closed_ || next_ < tasks_.size(); });
  }
}

Result<Done> SignPool::finish(const Keep& keep) {
  services::ReceiptScratch scratch;
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  if (tasks_.size() - next_ > 1) backlog_.notify_all();  // the leader begins with one of them
  for (;;) {
    if (keep_next(lock, keep) || sign_next(lock, scratch)) continue;
    if (done_ == tasks_.size()) break;  // and all that may be kept is
    changed_.wait(lock, [&] { return done_ == tasks_.size() || (!failed_ && tasks_[kept_].is_signed); });
  }
  if (failed_) return *failed_;
  return Done{};
}

void SignPool::serve() {
  services::ReceiptScratch scratch;
  std::unique_lock lock(mutex_);
  while (!dismissed_)
    if (!has_backlog() || !sign_next(lock, scratch)) backlog_.wait(lock);
}

void SignPool::dismiss() {
  {
    const std::lock_guard lock(mutex_);
    dismissed_ = true;
  }
  backlog_.notify_all();
}

namespace {

/// While it stands, threads that this one makes take no signals: those are for the host's own. But what a
/// thread does wrong itself goes to the handler that the host has for it.
class WithoutSignals {
 public:
  WithoutSignals() noexcept {
    sigset_t blocked;
    sigfillset(&blocked);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
      sigdelset(&blocked, own);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

Result<Done> SignThreads::start(SignPool& pool, unsigned count) {
  pool_ = &pool;
  threads_.reserve(count);
  const WithoutSignals while_made;
  try {
    while (threads_.size() < count) threads_.emplace_back([&pool] { pool.serve(); });
  } catch (const std::system_error&) {
    return fail(Reason::no_memory, "the system gives no thread more than " + std::to_string(threads_.size()) +
                                       " of signing_threads' " + std::to_string(count));
  }
  return Done{};
}

SignThreads::~SignThreads() {
  if (threads_.empty()) return;
  pool_->dismiss();
  for (std::thread& thread : threads_) thread.join();
}

}  // namespace calyx::engine
