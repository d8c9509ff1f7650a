/// \file
/// What is kept of the text that a task prints, however much that is: its beginning and its end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace calyx {

/// What a task has printed so far, as much as is kept of it: of each stream the first 64 KiB and the last
/// 192. Where bytes between them were dropped a line `[… 39,737,767 bytes dropped …]` says so in their place.
struct Printed {
  std::string out{}, err{};
  std::uint64_t out_dropped = 0, err_dropped = 0;  ///< As that line says; 0: there is no such line.
};

namespace core {

inline constexpr std::size_t printed_head_bytes = std::size_t{64} << 10;
inline constexpr std::size_t printed_tail_bytes = std::size_t{192} << 10;
/// Of one stream, with the line between.
inline constexpr std::size_t printed_bytes_max = printed_head_bytes + printed_tail_bytes + 128;

/// One stream's text as it comes, in UTF-8. It is cut between characters.
class KeptText {
 public:
  void add(std::string_view text) {
    if (tail_.empty() && dropped_ == 0) {
      std::size_t room = printed_head_bytes - head_.size();
      if (text.size() <= room) {
        head_ += text;
        return;
      }
      while (room > 0 && continues(text[room])) --room;
      head_ += text.substr(0, room);
      text.remove_prefix(room);
    }
    tail_ += text;
    if (tail_.size() > 2 * printed_tail_bytes) trim();
  }
  /// `bytes` came that nobody has; what was kept behind the beginning is older than they are.
  void skip(std::uint64_t bytes) {
    dropped_ += tail_.size() + bytes;
    tail_.clear();
  }
  bool is_full() const noexcept { return !tail_.empty() || dropped_ != 0; }  ///< Its beginning is.
  std::uint64_t dropped() const noexcept { return dropped_; }
  std::size_t size() const noexcept { return head_.size() + tail_.size(); }
  std::string text() {
    trim();
    if (dropped_ == 0) return head_ + tail_;
    std::string digits = std::to_string(dropped_);
    for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, 1, ',');
    return head_ + "\n[… " + digits + " bytes dropped …]\n" + tail_;
  }

 private:
  static bool continues(char byte) noexcept { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }
  void trim() {
    if (tail_.size() <= printed_tail_bytes) return;
    std::size_t cut = tail_.size() - printed_tail_bytes;
    while (cut < tail_.size() && continues(tail_[cut])) ++cut;
    dropped_ += cut;
    tail_.erase(0, cut);
  }

  std::string head_, tail_;
  std::uint64_t dropped_ = 0;
};

/// Keeps of `text` what is kept of a stream; `dropped` becomes how much it lost, or stays.
inline void keep_printed(std::string& text, std::uint64_t& dropped) {
  if (text.size() <= printed_bytes_max) return;
  KeptText kept;
  kept.add(text);
  text = kept.text();
  dropped = kept.dropped();
}

}  // namespace core
}  // namespace calyx
