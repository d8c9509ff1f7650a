/// \file
/// Archives for tests, honest and hostile: tar headers byte for byte, and what libarchive's writer makes.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::archive {

/// One header of a tar as POSIX.1 has it, with whatever anybody may write into its fields.
struct Header {
  std::string name;
  char type = '0';
  std::uint64_t size = 0;
  unsigned mode = 0644;
  std::string link;
};

inline void put_field(std::string& block, std::size_t at, std::string_view text) {
  text.copy(block.data() + at, text.size());
}
inline std::string octal(std::uint64_t number, int digits) {
  std::string text(static_cast<std::size_t>(digits) + 2, '\0');
  const int size =
      std::snprintf(text.data(), text.size(), "%0*llo", digits, static_cast<unsigned long long>(number));
  text.resize(static_cast<std::size_t>(size));
  return text;
}
inline void put_checksum(std::string& block) {
  put_field(block, 148, "        ");
  std::uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put_field(block, 148, octal(sum, 6) + std::string("\0 ", 2));
}

inline std::string header(const Header& of) {
  std::string block(512, '\0');
  put_field(block, 0, std::string_view(of.name).substr(0, 100));
  put_field(block, 100, octal(of.mode, 7));
  put_field(block, 108, octal(0, 7));
  put_field(block, 116, octal(0, 7));
  put_field(block, 124, octal(of.size, 11));
  put_field(block, 136, octal(1'700'000'000, 11));
  block[156] = of.type;
  put_field(block, 157, std::string_view(of.link).substr(0, 100));
  put_field(block, 257, std::string_view("ustar\00000", 8));
  put_field(block, 329, octal(0, 7));
  put_field(block, 337, octal(0, 7));
  put_checksum(block);
  return block;
}

inline std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 511) / 512 * 512);
  return bytes;
}

/// A header, and the bytes behind it.
inline std::string entry(Header of, const std::string& body = {}) {
  of.size = body.size();
  return header(of) + padded(body);
}
/// A file whose name is longer than a header has room for, as GNU tar writes it.
inline std::string long_entry(const std::string& name, const std::string& body = {}) {
  return entry({.name = "././@LongLink", .type = 'L'}, name + '\0') +
         entry({.name = name.substr(0, 100)}, body);
}
/// The same by a pax header with `records`, each `key=value`.
inline std::string pax_entry(const std::vector<std::string>& records, const Header& of,
                             const std::string& body = {}) {
  std::string text;
  for (const std::string& record : records) {
    std::size_t size = record.size() + 3;  // a digit, a space, the line's end
    while (std::to_string(size).size() + record.size() + 2 != size) ++size;
    text += std::to_string(size) + " " + record + "\n";
  }
  return entry({.name = "PaxHeaders/x", .type = 'x'}, text) + entry(of, body);
}

inline std::string tar_end() { return std::string(1024, '\0'); }

enum class Packing : std::uint8_t { plain, gzip, zstd, bzip2 };

struct Written {
  void operator()(struct ::archive* handle) const noexcept { ::archive_write_free(handle); }
};
using Writer = std::unique_ptr<struct ::archive, Written>;

inline void must(int code, struct ::archive* handle) {
  if (code == ARCHIVE_OK) return;
  const char* said = ::archive_error_string(handle);
  throw std::runtime_error(said == nullptr ? "libarchive's writer" : said);
}

inline la_ssize_t gather(struct ::archive* /*handle*/, void* out, const void* bytes, size_t size) {
  static_cast<std::string*>(out)->append(static_cast<const char*>(bytes), size);
  return static_cast<la_ssize_t>(size);
}

inline void pack_with(struct ::archive* writer, Packing packing) {
  switch (packing) {
    case Packing::plain: must(::archive_write_add_filter_none(writer), writer); break;
    case Packing::gzip: must(::archive_write_add_filter_gzip(writer), writer); break;
    case Packing::zstd: must(::archive_write_add_filter_zstd(writer), writer); break;
    case Packing::bzip2: must(::archive_write_add_filter_bzip2(writer), writer); break;
  }
  must(::archive_write_set_bytes_per_block(writer, 0), writer);
}

/// `bytes`, compressed.
inline std::string packed(std::string_view bytes, Packing packing = Packing::gzip) {
  std::string out;
  const Writer writer(::archive_write_new());
  must(::archive_write_set_format_raw(writer.get()), writer.get());
  pack_with(writer.get(), packing);
  must(::archive_write_open(writer.get(), &out, nullptr, gather, nullptr), writer.get());
  const std::unique_ptr<struct ::archive_entry, decltype(&::archive_entry_free)> fields(::archive_entry_new(),
                                                                                        ::archive_entry_free);
  ::archive_entry_set_filetype(fields.get(), AE_IFREG);
  must(::archive_write_header(writer.get(), fields.get()), writer.get());
  if (::archive_write_data(writer.get(), bytes.data(), bytes.size()) < 0) must(ARCHIVE_FATAL, writer.get());
  must(::archive_write_close(writer.get()), writer.get());
  return out;
}

/// An entry as libarchive's writer takes it.
struct Member {
  std::string path;
  std::string body;
  unsigned type = AE_IFREG;
  unsigned mode = 0644;
  std::string symlink;
  std::string hardlink;
  std::vector<std::pair<std::int64_t, std::int64_t>> pieces;  ///< Of a sparse file: offsets and sizes.
};

/// An archive of `members` in libarchive's format `format` ("gnutar", "pax", "ustar", "zip", "cpio").
inline std::string archive_of(const std::vector<Member>& members, Packing packing = Packing::gzip,
                              const char* format = "pax") {
  // libarchive's writer takes names by the thread's locale, as its reader does.
  static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  struct Back {
    locale_t before;
    ~Back() { ::uselocale(before); }
  } const back{::uselocale(utf8)};
  std::string out;
  const Writer writer(::archive_write_new());
  must(::archive_write_set_format_by_name(writer.get(), format), writer.get());
  pack_with(writer.get(), packing);
  must(::archive_write_open(writer.get(), &out, nullptr, gather, nullptr), writer.get());
  for (const Member& member : members) {
    const std::unique_ptr<struct ::archive_entry, decltype(&::archive_entry_free)> fields(
        ::archive_entry_new(), ::archive_entry_free);
    ::archive_entry_set_pathname(fields.get(), member.path.c_str());
    ::archive_entry_set_filetype(fields.get(), member.type);
    ::archive_entry_set_perm(fields.get(), static_cast<mode_t>(member.mode));
    ::archive_entry_set_size(fields.get(), static_cast<la_int64_t>(member.body.size()));
    if (!member.symlink.empty()) ::archive_entry_set_symlink(fields.get(), member.symlink.c_str());
    if (!member.hardlink.empty()) ::archive_entry_set_hardlink(fields.get(), member.hardlink.c_str());
    if (member.type == AE_IFCHR || member.type == AE_IFBLK) ::archive_entry_set_rdev(fields.get(), 259);
    for (const auto& [offset, size] : member.pieces)
      ::archive_entry_sparse_add_entry(fields.get(), offset, size);
    must(::archive_write_header(writer.get(), fields.get()), writer.get());
    if (!member.body.empty() &&
        ::archive_write_data(writer.get(), member.body.data(), member.body.size()) < 0)
      must(ARCHIVE_FATAL, writer.get());
  }
  must(::archive_write_close(writer.get()), writer.get());
  return out;
}

}  // namespace calyx::archive
