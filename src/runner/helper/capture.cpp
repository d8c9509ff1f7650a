#include "runner/helper/capture.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calyx::runner::helper {
namespace {

void write_at(int file, const void* bytes, std::size_t size, std::uint64_t at) noexcept {
  const char* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::pwrite(file, from, size, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    from += written;
    size -= static_cast<std::size_t>(written);
    at += static_cast<std::uint64_t>(written);
  }
}

}  // namespace

void Capture::append(const char* bytes, std::size_t size) noexcept {
  header_.begun += size;
  // A reader has to know of it only where something that it may be reading goes.
  if (header_.begun > protocol::head_bytes + protocol::tail_bytes) tell();
  std::uint64_t offset = header_.written;
  while (size > 0) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(size, protocol::log_run(offset)));
    write_at(file_, bytes, piece, protocol::log_place(stream_, offset));
    bytes += piece;
    size -= piece;
    offset += piece;
  }
  header_.written = offset;
  tell();
}

void Capture::tell() noexcept {
  write_at(file_, &header_, sizeof header_, static_cast<std::uint64_t>(stream_) * sizeof header_);
}

bool ProgressLines::next(const char*& bytes, std::size_t& size) noexcept {
  constexpr std::size_t prefix_size = sizeof protocol::progress_prefix - 1;
  while (size > 0) {
    if (state_ == State::prefix) {
      const char letter = *bytes++;
      --size;
      if (letter == '\n') {
        matched_ = 0;
      } else if (letter != protocol::progress_prefix[matched_]) {
        state_ = State::plain;
      } else if (++matched_ == prefix_size) {
        state_ = State::inside;
        line_size_ = 0;
      }
      continue;
    }
    const void* const found = std::memchr(bytes, '\n', size);
    const char* const end = found == nullptr ? bytes + size : static_cast<const char*>(found);
    const auto piece = static_cast<std::size_t>(end - bytes);
    if (state_ == State::inside) {
      if (line_size_ + piece > sizeof line_) {
        state_ = State::plain;
      } else {
        std::memcpy(line_ + line_size_, bytes, piece);
        line_size_ += piece;
      }
    }
    bytes = end;
    size -= piece;
    if (found == nullptr) return false;
    ++bytes;
    --size;
    const bool whole = state_ == State::inside;
    state_ = State::prefix;
    matched_ = 0;
    if (whole) return true;
  }
  return false;
}

}  // namespace calyx::runner::helper
