#include <algorithm>

#include "archive.hpp"

namespace calyx::archive {
namespace {

std::vector<const File*> by_path(std::span<const File> files) {
  std::vector<const File*> sorted;
  sorted.reserve(files.size());
  for (const File& file : files) sorted.push_back(&file);
  std::sort(sorted.begin(), sorted.end(), [](const File* a, const File* b) { return a->path < b->path; });
  return sorted;
}

}  // namespace

TarballDiff tarball_diff(std::span<const File> before, std::span<const File> after) {
  TarballDiff diff;
  const auto old_files = by_path(before);
  const auto new_files = by_path(after);
  auto was = old_files.begin();
  auto is = new_files.begin();
  while (was != old_files.end() || is != new_files.end()) {
    if (is == new_files.end() || (was != old_files.end() && (*was)->path < (*is)->path)) {
      diff.removed.push_back((*was++)->path);
    } else if (was == old_files.end() || (*is)->path < (*was)->path) {
      diff.added.push_back((*is++)->path);
    } else {
      if (!(**was == **is)) diff.changed.push_back((*is)->path);
      ++was;
      ++is;
    }
  }
  return diff;
}

Source source_of(std::string_view bytes) {
  return [rest = bytes](std::span<char> out) mutable -> Result<std::size_t> {
    const std::size_t size = rest.copy(out.data(), out.size());
    rest.remove_prefix(size);
    return size;
  };
}

}  // namespace calyx::archive
