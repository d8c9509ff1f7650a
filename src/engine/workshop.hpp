/// \file
/// What one process can run, where its workers wait for something to do, and its streams for news.
///
/// Threads: any.
#pragma once

#include <calyx/worker.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace calyx::engine {

class Workshop {
 public:
  // What had the name goes outside the lock: what it holds of the host's may have an end of its own.
  void put_task(const std::string& name, TaskFunction run) {
    auto task = std::make_shared<const TaskFunction>(std::move(run));
    const std::lock_guard lock(mutex_);
    tasks_[name].swap(task);
  }
  void put_recipe(RecipeDefinition given) {
    auto recipe = std::make_shared<const RecipeDefinition>(std::move(given));
    const std::string name = recipe->name;
    const std::lock_guard lock(mutex_);
    recipes_[name].swap(recipe);
  }
  std::shared_ptr<const TaskFunction> task(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = tasks_.find(name);
    return found == tasks_.end() ? nullptr : found->second;
  }
  std::shared_ptr<const RecipeDefinition> recipe(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = recipes_.find(name);
    return found == recipes_.end() ? nullptr : found->second;
  }
  std::vector<std::shared_ptr<const RecipeDefinition>> recipes() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<const RecipeDefinition>> out;
    out.reserve(recipes_.size());
    for (const auto& [name, recipe] : recipes_) out.push_back(recipe);
    return out;
  }
  std::vector<std::string> task_names() const { return names(tasks_); }
  std::vector<std::string> recipe_names() const { return names(recipes_); }

  /// Something may be to do, or has ended: whoever waits looks again.
  void knock() {
    {
      const std::lock_guard lock(mutex_);
      ++knocks_;
      ++told_;
    }
    knocked_.notify_all();
    news_.notify_all();
  }
  /// Asked before one looks, so that `wait` misses no knock after it.
  std::uint64_t heard() const {
    const std::lock_guard lock(mutex_);
    return knocks_;
  }
  /// Until somebody knocks, or `most` has passed: other processes knock at no door of this one.
  void wait(std::uint64_t heard, std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    knocked_.wait_for(lock, most, [&] { return knocks_ != heard; });
  }

  /// A job or a project has changed, and nothing more is to do: whoever follows one looks again.
  void tell() {
    {
      const std::lock_guard lock(mutex_);
      ++told_;
    }
    news_.notify_all();
  }
  /// Asked before one looks, as `heard`.
  std::uint64_t told() const {
    const std::lock_guard lock(mutex_);
    return told_;
  }
  /// Until somebody tells or knocks, or `most` has passed.
  void wait_told(std::uint64_t told, std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, most, [&] { return told_ != told; });
  }

 private:
  template <class Named>
  std::vector<std::string> names(const Named& named) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    out.reserve(named.size());
    for (const auto& [name, one] : named) out.push_back(name);
    return out;
  }

  mutable std::mutex mutex_;
  std::condition_variable knocked_;
  std::uint64_t knocks_ = 0;
  std::condition_variable news_;
  std::uint64_t told_ = 0;
  std::map<std::string, std::shared_ptr<const TaskFunction>> tasks_;
  std::map<std::string, std::shared_ptr<const RecipeDefinition>> recipes_;
};

}  // namespace calyx::engine
