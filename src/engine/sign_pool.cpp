#include "engine/sign_pool.hpp"

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
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back({&receipt});
  }
  changed_.notify_one();
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
  for (;;) {
    if (keep_next(lock, keep) || sign_next(lock, scratch)) continue;
    if (done_ == tasks_.size()) break;  // and all that may be kept is
    changed_.wait(lock, [&] { return done_ == tasks_.size() || (!failed_ && tasks_[kept_].is_signed); });
  }
  if (failed_) return *failed_;
  return Done{};
}

}  // namespace calyx::engine
