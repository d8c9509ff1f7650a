#include "engine/sign_pool.hpp"

namespace calyx::engine {

void SignPool::open(Sign sign) {
  const std::lock_guard lock(mutex_);
  sign_ = std::move(sign);
  tasks_.clear();
  next_ = done_ = 0;
  closed_ = false;
  failed_.reset();
}

void SignPool::add(services::PendingReceipt& receipt) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(&receipt);
  }
  changed_.notify_one();
}

bool SignPool::sign_next(std::unique_lock<std::mutex>& lock, std::string& scratch) {
  if (next_ == tasks_.size()) return false;
  services::PendingReceipt& task = *tasks_[next_++];
  if (!failed_) {  // of a batch that fails nothing more need be signed
    lock.unlock();
    Result<Done> signed_now = sign_(task, scratch);
    lock.lock();
    if (!signed_now.ok() && !failed_) failed_ = std::move(signed_now).error();
  }
  if (++done_ == tasks_.size() && closed_) changed_.notify_all();
  return true;
}

void SignPool::help() {
  std::string scratch;
  std::unique_lock lock(mutex_);
  for (;;) {
    if (sign_next(lock, scratch)) continue;
    if (closed_) return;
    changed_.wait(lock, [&] { return closed_ || next_ < tasks_.size(); });
  }
}

Result<Done> SignPool::finish() {
  std::string scratch;
  std::unique_lock lock(mutex_);
  closed_ = true;
  changed_.notify_all();
  while (sign_next(lock, scratch)) {
  }
  changed_.wait(lock, [&] { return done_ == tasks_.size(); });
  if (failed_) return *failed_;
  return Done{};
}

}  // namespace calyx::engine
