#include "runner/log.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "runner/protocol.hpp"

namespace calyx::runner {
namespace {

using Header = protocol::LogHeader::Stream;

std::size_t read_at(int file, void* into, std::size_t size, std::uint64_t at) noexcept {
  auto* bytes = static_cast<char*>(into);
  std::size_t have = 0;
  while (have < size) {
    const ssize_t got = ::pread(file, bytes + have, size - have, static_cast<off_t>(at + have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

Header read_header(int file, int stream) noexcept {
  Header header{};
  read_at(file, &header, sizeof header, static_cast<std::uint64_t>(stream) * sizeof header);
  return header;
}

/// The first byte behind the head that the ring still holds, once `begun` bytes have been put in.
std::uint64_t tail_start(std::uint64_t begun) noexcept {
  return begun > protocol::head_bytes + protocol::tail_bytes ? begun - protocol::tail_bytes
                                                             : protocol::head_bytes;
}

}  // namespace

std::uint64_t Log::written() const noexcept {
  return file_ == nullptr ? 0 : read_header(file_->descriptor.get(), stream_).written;
}

std::uint64_t Log::dropped() const noexcept { return tail_start(written()) - protocol::head_bytes; }

Log::Piece Log::read(std::uint64_t offset, std::size_t bytes_max) const {
  Piece piece{offset, {}};
  if (file_ == nullptr) return piece;
  const int file = file_->descriptor.get();
  Header header = read_header(file, stream_);
  if (piece.offset >= protocol::head_bytes) piece.offset = std::max(piece.offset, tail_start(header.begun));
  while (piece.offset + piece.bytes.size() < header.written && piece.bytes.size() < bytes_max) {
    const std::uint64_t at = piece.offset + piece.bytes.size();
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(
        {protocol::log_run(at), header.written - at, bytes_max - piece.bytes.size()}));
    const std::size_t have = piece.bytes.size();
    piece.bytes.resize(have + size);
    if (read_at(file, piece.bytes.data() + have, size, protocol::log_place(stream_, at)) != size) {
      piece.bytes.resize(have);
      break;
    }
    // The end of the head: what follows may not be what came next.
    if (at < protocol::head_bytes && tail_start(header.begun) > protocol::head_bytes) break;
  }
  if (piece.offset < protocol::head_bytes) {
    // A piece that runs over from the head into the ring is cut there if the ring has begun to turn
    // meanwhile.
    header = read_header(file, stream_);
    if (tail_start(header.begun) > protocol::head_bytes)
      piece.bytes.resize(std::min<std::uint64_t>(piece.bytes.size(), protocol::head_bytes - piece.offset));
    return piece;
  }
  // What the ring passed over while it was read is taken off again.
  const std::uint64_t kept = tail_start(read_header(file, stream_).begun);
  if (kept > piece.offset) {
    const std::uint64_t lost = std::min<std::uint64_t>(kept - piece.offset, piece.bytes.size());
    piece.bytes.erase(0, static_cast<std::size_t>(lost));
    piece.offset += lost;
  }
  return piece;
}

std::string Log::text() const {
  std::string text;
  for (std::uint64_t at = 0;;) {
    Piece piece = read(at, protocol::head_bytes + protocol::tail_bytes);
    if (piece.bytes.empty()) return text;
    text += piece.bytes;
    at = piece.offset + piece.bytes.size();
  }
}

}  // namespace calyx::runner
