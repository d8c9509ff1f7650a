#include "engine/printing.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "json/reader.hpp"

namespace calyx::engine {
namespace {

namespace json = core::json;

/// The bytes of one character of UTF-8 at the front of `text`; 0 where there is none, or a zero byte.
std::size_t character(std::string_view text) noexcept {
  for (std::size_t bytes = 1; bytes <= 4 && bytes <= text.size(); ++bytes)
    if (json::valid_utf8(text.substr(0, bytes))) return text[0] == '\0' ? 0 : bytes;
  return 0;
}

/// `bytes` as text: what is no UTF-8 is spelled `\xHH`, so that nothing is lost and the rest can be read.
std::string as_text(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (json::valid_utf8(bytes) && bytes.find('\0') == std::string_view::npos) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const std::size_t size = character(bytes);
    if (size != 0) {
      out += bytes.substr(0, size);
    } else {
      const auto octet = static_cast<unsigned char>(bytes[0]);
      out += {'\\', 'x', digits[octet >> 4], digits[octet & 15]};
    }
    bytes.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

/// How much of `bytes` does not end in the middle of a character.
std::size_t whole_characters(std::string_view bytes) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const auto octet = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((octet & 0xC0) == 0x80) continue;
    const std::size_t size = octet >= 0xF0 ? 4 : octet >= 0xE0 ? 3 : octet >= 0xC0 ? 2 : 1;
    return size > back ? bytes.size() - back : bytes.size();
  }
  return bytes.size();
}

}  // namespace

void ShownNames::add(std::string name, std::string_view shown) {
  if (name.empty()) return;
  if (firsts_.find(name.front()) == std::string::npos) firsts_ += name.front();
  names_.emplace_back(std::move(name), shown);
  for (std::size_t i = names_.size() - 1; i > 0 && names_[i - 1].first.size() < names_[i].first.size(); --i)
    std::swap(names_[i - 1], names_[i]);
}

void ShownNames::add_path(const std::string& path, std::string_view shown) {
  if (path.empty()) return;
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  if (real != nullptr && path != real.get()) add(real.get(), shown);
  add(path, shown);
}

std::string ShownNames::take(std::string& pending, bool whole) const {
  std::string out;
  std::size_t at = 0;
  while (at < pending.size()) {
    const std::size_t next = std::min(pending.find_first_of(firsts_, at), pending.size());
    out.append(pending, at, next - at);
    at = next;
    if (at == pending.size()) break;
    const std::string_view rest = std::string_view(pending).substr(at);
    const auto name = std::find_if(names_.begin(), names_.end(), [&](const auto& one) {
      return rest.starts_with(one.first) || (!whole && std::string_view(one.first).starts_with(rest));
    });
    if (name == names_.end()) {
      out += pending[at++];
      continue;
    }
    if (!rest.starts_with(name->first)) break;
    out += name->second;
    at += name->first.size();
  }
  pending.erase(0, at);
  return out;
}

void ShownStream::add(std::string_view bytes, const ShownNames& names, bool whole) {
  if (torn_ && !bytes.empty()) {
    // A name's end is dropped with what was before it: to the end of its line, or as far as a name goes.
    const std::string_view reach = bytes.substr(0, names.longest());
    std::size_t drop = std::min(reach.find('\n'), reach.size() - 1) + 1;
    while (drop < bytes.size() && (static_cast<unsigned char>(bytes[drop]) & 0xC0) == 0x80) ++drop;
    kept_.skip(drop);
    bytes.remove_prefix(drop);
    torn_ = false;
  }
  raw_ += bytes;
  bytes_ += names.take(raw_, whole);
  const std::size_t ready = whole ? bytes_.size() : whole_characters(bytes_);
  kept_.add(as_text(std::string_view(bytes_).substr(0, ready)));
  bytes_.erase(0, ready);
}

void ShownStream::pass_over(std::uint64_t bytes, const ShownNames& names) {
  add({}, names, true);
  kept_.skip(bytes);
  offset_ += bytes;
  torn_ = true;
}

bool ShownStream::look(const runner::Log& log, const ShownNames& names, bool whole) {
  constexpr std::uint64_t reach = core::printed_tail_bytes;
  constexpr std::size_t piece_bytes = std::size_t{64} << 10;
  const std::uint64_t before = offset_;
  const std::uint64_t until = log.written();
  while (offset_ < until) {
    if (kept_.is_full() && until - offset_ > 2 * reach) pass_over(until - offset_ - reach, names);
    const runner::Log::Piece piece = log.read(offset_, piece_bytes);
    if (piece.bytes.empty()) break;
    if (piece.offset > offset_) pass_over(piece.offset - offset_, names);
    offset_ += piece.bytes.size();
    add(piece.bytes, names, false);
  }
  if (whole) add({}, names, true);
  return offset_ != before;
}

bool Printing::has_news() {
  using std::chrono::milliseconds;
  constexpr std::size_t bytes_a_ms = 64;
  const auto now = std::chrono::steady_clock::now();
  if (now < due_) return false;
  const bool out = out_.look(out_log_, names_, false);
  const bool err = err_.look(err_log_, names_, false);
  const std::size_t size = out_.kept().size() + err_.kept().size();
  due_ = now + milliseconds(500 + size / bytes_a_ms);
  return out || err;
}

Printed Printing::all(bool whole) {
  if (whole) {
    out_.look(out_log_, names_, true);
    err_.look(err_log_, names_, true);
  }
  Printed printed{.out = out_.kept().text(), .err = err_.kept().text()};
  printed.out_dropped = out_.kept().dropped();
  printed.err_dropped = err_.kept().dropped();
  return printed;
}

}  // namespace calyx::engine
