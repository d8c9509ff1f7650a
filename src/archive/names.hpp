/// \file
/// Which names an archive may use, judged before any of them meets a file system.
#pragma once

#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "archive.hpp"

namespace calyx::archive {

/// The refusal of an archive for breaking `rule`, at `entry` if that is not empty, which a message may show.
Error refusal(std::string_view rule, std::string message, std::string_view entry = {});

/// The same for a number above its limit.
struct Excess {
  std::uint64_t found = 0;
  std::uint64_t limit = 0;
};
Error refusal(std::string_view rule, std::string message, std::string_view entry, Excess excess);

/// `name` as a message may show it: what is not printable UTF-8 as `\xNN`, a long one cut.
std::string shown(std::string_view name);

enum class EntryKind : std::uint8_t { file, folder };

/// The names of one archive, as a tree. Threads: one at a time.
class Names {
 public:
  explicit Names(const Limits& limits) : limits_(limits) {}

  /// An accepted entry: its path without "." and doubled slashes, and the folders on its way that no entry
  /// before has named, outermost first.
  struct Accepted {
    std::string path;  ///< Empty for the root itself.
    std::vector<std::string> folders_to_make;
    bool made_already = false;  ///< A folder that an earlier path has implied.
  };

  /// Takes the next entry's name in, or refuses it. Fails: `archive_refused`.
  Result<Accepted> add(std::string_view given, EntryKind kind);

 private:
  struct Node {
    std::string name;  ///< As it was spelled when it came.
    std::uint32_t id = 0;
    EntryKind kind = EntryKind::folder;
    bool named = false;  ///< By an entry of its own, not only on the way to another.
  };
  Result<Done> count_one(std::string_view given);

  Limits limits_;
  std::uint64_t entries_ = 0;
  bool root_named_ = false;
  std::uint32_t last_id_ = 0;
  std::unordered_map<std::string, Node> nodes_;  ///< By the parent's id and the folded name.
};

}  // namespace calyx::archive
