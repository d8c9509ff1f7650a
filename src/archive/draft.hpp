/// \file
/// A folder that comes into being whole: filled under another name, then renamed.
#pragma once

#include <calyx/core/result.hpp>
#include <string>

#include "archive.hpp"
#include "beneath.hpp"

namespace calyx::archive {

/// A folder under a name that nobody looks for, held by a lock so that a sweep can tell it from what a crash
/// has left; removed with its owner unless `keep` gave it its name. Threads: one at a time.
class Draft {
 public:
  /// Begins what will be `destination`, and takes away what earlier crashes have left beside it.
  /// Fails: `path_refused`, `file_missing`, `disk_full`, `io_error`, `no_memory`.
  static Result<Draft> begin(const std::string& destination);

  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;
  ~Draft();

  /// The folder itself.
  int folder() const noexcept { return *folder_; }

  /// Gives it the name that it was begun for. Fails as `begin` does, and then there is no such name.
  Result<Done> keep(Keeping keeping);

 private:
  Draft() = default;
  Descriptor parent_;
  Descriptor folder_;
  std::string name_;        ///< What it is to be called.
  std::string draft_name_;  ///< What it is called now; empty when there is nothing to remove.
};

}  // namespace calyx::archive
