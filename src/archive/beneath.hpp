/// \file
/// Files and folders below a folder that is held open, so that no link on the way leads out of it.
///
/// Threads: any.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <calyx/core/result.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace calyx::archive {

/// An open file or folder, closed with its owner.
class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();
  int operator*() const noexcept { return number_; }
  bool open() const noexcept { return number_ >= 0; }

 private:
  int number_ = -1;
};

/// How a path is followed below a folder.
enum class Way : std::uint8_t {
  kernel,  ///< openat2, which follows nothing out of the folder.
  steps,   ///< Name by name, each without following a link: for kernels before 5.6 and sandboxes.
};

/// `kernel`, until a call has shown that openat2 is not to be had here.
Way way_here() noexcept;

/// Opens `path` below `folder` with `flags` of open, following no symbolic link anywhere. `mode` counts where
/// the flags make a file. Gives a closed descriptor and errno on failure.
Descriptor open_beneath(int folder, const std::string& path, int flags, mode_t mode, Way way);

/// Makes the folder `path` below `folder`, whose parent is there. False with errno on failure.
bool make_folder_beneath(int folder, const std::string& path, Way way);

/// Takes `name` in `folder` away with all that lies in it, following no link. False with errno where
/// something is left.
bool remove_tree(int folder, const char* name) noexcept;

/// What the system said while `doing`, by what the caller can do about it.
Error system_failure(int number, std::string_view doing);

}  // namespace calyx::archive
