/// \file
/// Tarballs to push, made byte for byte: no package is needed for them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::testing {

struct Entry {
  std::string path, text;
  unsigned mode = 0644;
  char type = '0';
};

/// A tar as POSIX.1 has it.
inline std::string tar(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) {
    std::string block(512, '\0');
    const auto put = [&](std::size_t at, std::string_view text) {
      text.copy(block.data() + at, text.size());
    };
    const auto octal = [&](std::size_t at, std::uint64_t number, int digits) {
      char text[16];
      std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(number));
      put(at, text);
    };
    put(0, entry.path);
    octal(100, entry.mode, 7);
    octal(108, 0, 7);
    octal(116, 0, 7);
    octal(124, entry.type == '0' ? entry.text.size() : 0, 11);
    octal(136, 0, 11);
    put(148, "        ");
    block[156] = entry.type;
    if (entry.type != '0') put(157, entry.text);  // where a link leads
    put(257, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    octal(148, sum, 6);
    block[154] = '\0';
    out += block;
    if (entry.type != '0') continue;
    out += entry.text;
    out.append((512 - entry.text.size() % 512) % 512, '\0');
  }
  return out.append(1024, '\0');
}

/// The same as a gzip (RFC 1952) whose blocks are stored.
inline std::string gzip(std::string_view bytes) {
  std::string out("\x1F\x8B\x08\0\0\0\0\0\0\x03", 10);
  const auto little = [&](std::uint32_t number, int count) {
    for (int i = 0; i < count; ++i) out.push_back(static_cast<char>(number >> (8 * i)));
  };
  constexpr std::size_t stored_max = 65'535;
  for (std::size_t at = 0; at < bytes.size(); at += stored_max) {
    const std::string_view piece = bytes.substr(at, stored_max);
    out.push_back(at + piece.size() == bytes.size() ? '\1' : '\0');
    little(static_cast<std::uint32_t>(piece.size()), 2);
    little(~static_cast<std::uint32_t>(piece.size()), 2);
    out += piece;
  }
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xEDB88320 & (0 - (crc & 1)));
  }
  little(~crc, 4);
  little(static_cast<std::uint32_t>(bytes.size()), 4);
  return out;
}

}  // namespace calyx::testing
