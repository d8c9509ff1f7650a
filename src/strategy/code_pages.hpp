/// \file
/// Machine code in pages of its own, which were never writable and executable at once.

#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace calyx::strategy {

/// Owns the pages. Threads: never changed once made, so any number may run what is in them.
class CodePages {
 public:
  CodePages() = default;
  CodePages(const CodePages&) = delete;
  CodePages& operator=(const CodePages&) = delete;
  ~CodePages();

  /// Copies `code` into fresh pages, once. An empty text, or why it could not: a host may refuse either step.
  /// Units: bytes.
  std::string make(std::span<const unsigned char> code);

  /// Where the byte `at` of the code lies.
  void* place(std::size_t at) const noexcept { return static_cast<unsigned char*>(pages_) + at; }
  std::size_t size() const noexcept { return size_; }

 private:
  void* pages_ = nullptr;
  std::size_t mapped_ = 0;
  std::size_t size_ = 0;
};

}  // namespace calyx::strategy
