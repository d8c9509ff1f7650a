#include "key_file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <calyx/core/encoding.hpp>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "signer.hpp"

namespace calyx::crypto {
namespace {

constexpr std::int64_t version_known = 1;
constexpr std::size_t market_digits_max = 128;
constexpr std::string_view draft_end = ".new";
constexpr std::size_t draft_digits = 16;

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int operator*() const noexcept { return number_; }
  bool open() const noexcept { return number_ >= 0; }

 private:
  int number_;
};

/// What the system said of `path`, by what the caller can do about it.
Error system_error(int number, std::string_view doing, const std::string& path) {
  const Reason reason = number == ENOSPC || number == EDQUOT ? Reason::disk_full : Reason::io_error;
  return fail(reason, "the key file " + path + ": " + std::string(doing) + ": " +
                          std::generic_category().message(number));
}

bool is_market(std::string_view text) noexcept {
  return !text.empty() && text.size() <= market_digits_max &&
         text.find_first_not_of(core::hex_digits) == std::string_view::npos;
}

/// The name of `seed`'s public key. The library also computes the secret half; it is wiped here.
std::string seed_key_id(const SecretBytes& seed) {
  PublicKey key{};
  std::array<std::uint8_t, crypto_sign_SECRETKEYBYTES> secret{};
  crypto_sign_seed_keypair(key.data(), secret.data(), seed.bytes().data());
  wipe(secret);
  return key_id(key);
}

// ---- The text. It is read and written in guarded memory by this file alone: a general JSON reader would
// leave copies of the seeds behind in its buffers.

/// Reads the members in the one order in which they are written; spaces may stand anywhere between.
class TextReader {
 public:
  explicit TextReader(std::string_view text) noexcept : text_(text) {}

  bool take(char c) noexcept {
    skip_spaces();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take_key(std::string_view key) noexcept {
    const auto read = string();
    return read && *read == key && take(':');
  }
  /// A string without escapes: nothing written here needs one.
  std::optional<std::string_view> string() noexcept {
    if (!take('"')) return std::nullopt;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      const char c = text_[i];
      if (c == '"') {
        const std::string_view out = text_.substr(0, i);
        text_.remove_prefix(i + 1);
        return out;
      }
      if (c == '\\' || c < ' ' || c > '~') return std::nullopt;
    }
    return std::nullopt;
  }
  std::optional<std::int64_t> integer() noexcept {
    skip_spaces();
    std::int64_t out = 0;
    const auto read = std::from_chars(text_.data(), text_.data() + text_.size(), out);
    if (read.ec != std::errc()) return std::nullopt;
    text_.remove_prefix(static_cast<std::size_t>(read.ptr - text_.data()));
    return out;
  }
  bool at_end() noexcept {
    skip_spaces();
    return text_.empty();
  }

 private:
  void skip_spaces() noexcept {
    const std::size_t at = text_.find_first_not_of(" \t\r\n");
    text_.remove_prefix(std::min(at, text_.size()));
  }
  std::string_view text_;
};

/// 32 bytes out of their base64url, from guarded memory into guarded memory.
Result<SecretBytes> read_secret(std::string_view letters) {
  return SecretBytes::filled(32, [letters](std::span<std::uint8_t> out) {
    std::size_t size = 0;
    return sodium_base642bin(out.data(), out.size(), letters.data(), letters.size(), nullptr, &size, nullptr,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           size == out.size();
  });
}

Result<KeyFile> read_text(std::string_view text, const std::string& path) {
  const auto damaged = [&path](std::string_view what) {
    return fail(Reason::corrupt, "the key file " + path + " is damaged (" + std::string(what) +
                                     "): put it back from a backup");
  };
  // A secret that cannot be decoded is damage; that there is no memory for it is not.
  const auto secret = [&damaged](std::optional<std::string_view> letters,
                                 std::string_view what) -> Result<SecretBytes> {
    if (!letters) return damaged(what);
    auto read = read_secret(*letters);
    if (read.reason() == Reason::internal) return damaged(what);
    return read;
  };
  TextReader in(text);
  KeyFile file;
  if (!in.take('{') || !in.take_key("version")) return damaged("version");
  const auto version = in.integer();
  if (!version || *version < 1) return damaged("version");
  if (*version > version_known)
    return fail(Reason::file_newer, "the key file " + path + " has version " + std::to_string(*version) +
                                        ", this build reads " + std::to_string(version_known));
  if (!in.take(',') || !in.take_key("market")) return damaged("market");
  const auto market = in.string();
  if (!market || !is_market(*market)) return damaged("market");
  file.market = std::string(*market);
  if (!in.take(',') || !in.take_key("hash_key")) return damaged("hash_key");
  CALYX_TRY(file.hash_key, secret(in.string(), "hash_key"));
  if (!in.take(',') || !in.take_key("seeds") || !in.take('[')) return damaged("seeds");
  do {
    if (file.seeds.size() == signing_seeds_max) return damaged("seeds");
    SigningSeed seed;
    if (!in.take('{') || !in.take_key("kid")) return damaged("kid");
    const auto kid = in.string();
    if (!kid || !in.take(',') || !in.take_key("seed")) return damaged("kid");
    CALYX_TRY(seed.seed, secret(in.string(), "seed"));
    seed.kid = std::string(*kid);
    if (seed.kid != seed_key_id(seed.seed)) return damaged("kid");
    if (!in.take(',') || !in.take_key("created_at_us")) return damaged("created_at_us");
    const auto created = in.integer();
    if (!created || !in.take('}')) return damaged("created_at_us");
    seed.created_at = Instant{*created};
    for (const SigningSeed& other : file.seeds)
      if (other.kid == seed.kid) return damaged("kid");
    file.seeds.push_back(std::move(seed));
  } while (in.take(','));
  if (!in.take(']') || !in.take('}') || !in.at_end()) return damaged("end");
  return file;
}

/// Writes into guarded memory that is large enough for it.
class TextWriter {
 public:
  explicit TextWriter(std::span<std::uint8_t> out) noexcept : out_(out) {}

  TextWriter& text(std::string_view letters) noexcept {
    std::memcpy(out_.data() + size_, letters.data(), letters.size());
    size_ += letters.size();
    return *this;
  }
  TextWriter& secret(const SecretBytes& bytes) noexcept {
    constexpr int form = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
    const std::size_t with_end = sodium_base64_encoded_len(bytes.size(), form);
    sodium_bin2base64(reinterpret_cast<char*>(out_.data() + size_), with_end, bytes.bytes().data(),
                      bytes.size(), form);
    size_ += with_end - 1;  // the NUL is overwritten by what follows
    return *this;
  }
  std::size_t size() const noexcept { return size_; }

 private:
  std::span<std::uint8_t> out_;
  std::size_t size_ = 0;
};

/// The file's text, and how much of the memory it takes.
struct Text {
  SecretBytes memory;
  std::size_t size = 0;
  std::string_view view() const noexcept { return core::chars(memory.bytes().first(size)); }
};

Result<Text> text_of(const KeyFile& file) {
  constexpr std::size_t head_bytes = 256;  // above what the fixed letters and one secret need
  constexpr std::size_t seed_row_bytes = 256;
  Text text;
  CALYX_TRY(text.memory,
            SecretBytes::filled(head_bytes + file.market.size() + seed_row_bytes * file.seeds.size(),
                                [&](std::span<std::uint8_t> memory) {
                                  TextWriter out(memory);
                                  out.text("{\"version\":1,\n \"market\":\"").text(file.market);
                                  out.text("\",\n \"hash_key\":\"").secret(file.hash_key);
                                  out.text("\",\n \"seeds\":[");
                                  std::string_view before = "\n  ";
                                  for (const SigningSeed& seed : file.seeds) {
                                    out.text(before).text("{\"kid\":\"").text(seed.kid);
                                    out.text("\",\"seed\":\"").secret(seed.seed);
                                    out.text("\",\"created_at_us\":");
                                    out.text(std::to_string(seed.created_at.us)).text("}");
                                    before = ",\n  ";
                                  }
                                  out.text("]}\n");
                                  text.size = out.size();
                                  return true;
                                }));
  return text;
}

// ---- The file.

/// A path as the folder and the name in it.
struct Folder {
  std::string folder;
  std::string name;
};
Folder split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

/// Whether `entry` is a draft of `name` that somebody left behind.
bool is_draft(std::string_view entry, std::string_view name) noexcept {
  return entry.size() == name.size() + 1 + draft_digits + draft_end.size() &&
         entry.substr(0, name.size()) == name && entry[name.size()] == '-' &&
         entry.substr(entry.size() - draft_end.size()) == draft_end &&
         entry.substr(name.size() + 1, draft_digits).find_first_not_of(core::hex_digits) ==
             std::string_view::npos;
}

/// Takes away what a crash left half-written: it may hold secrets. Nothing depends on its success.
void remove_old_drafts(int folder, const std::string& name) {
  const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return;
  DIR* const entries = ::fdopendir(copy);
  if (entries == nullptr) {
    ::close(copy);
    return;
  }
  // Threads may read folders at once, each through a stream of its own.
  while (const dirent* entry = ::readdir(entries))  // NOLINT(concurrency-mt-unsafe)
    if (is_draft(entry->d_name, name)) ::unlinkat(folder, entry->d_name, 0);
  ::closedir(entries);
}

int write_all(int file, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(file, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return 0;
}

enum class Placing { only_new, replace };

/// Puts `text` at `path`, whole or not at all, and durably.
Result<Done> put(const std::string& path, std::string_view text, Placing placing) {
  const Folder at = split(path);
  const Descriptor folder(::open(at.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.open()) return system_error(errno, "opening its folder", path);
  remove_old_drafts(*folder, at.name);

  std::array<std::uint8_t, draft_digits / 2> random{};
  if (!system_random()(random.data(), random.size()))
    return fail(Reason::io_error, "the system gives no random bytes");
  const std::string draft = at.name + "-" + core::hex(core::chars(random)) + std::string(draft_end);
  const Descriptor file(
      ::openat(*folder, draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.open()) return system_error(errno, "creating it", path);

  const auto give_up = [&](int number, std::string_view doing) {
    ::unlinkat(*folder, draft.c_str(), 0);
    return system_error(number, doing, path);
  };
  // The umask may have taken rights from the owner, too.
  if (::fchmod(*file, 0600) != 0) return give_up(errno, "setting its mode");
  if (const int number = write_all(*file, text)) return give_up(number, "writing it");
  if (::fsync(*file) != 0) return give_up(errno, "syncing it");

  if (placing == Placing::replace) {
    if (::renameat(*folder, draft.c_str(), *folder, at.name.c_str()) != 0)
      return give_up(errno, "replacing it");
  } else {
    // A link, unlike a rename, refuses to replace what is there.
    if (::linkat(*folder, draft.c_str(), *folder, at.name.c_str(), 0) != 0) {
      const int number = errno;
      Error error = give_up(number, "naming it");
      if (number != EEXIST) return error;
      return fail(
          Reason::path_refused,
          "there is a key file " + path + " already: it belongs to a market, move both or take another name");
    }
    ::unlinkat(*folder, draft.c_str(), 0);
  }
  if (::fsync(*folder) != 0) {
    Error error = system_error(errno, "syncing its folder", path);
    if (placing == Placing::only_new) ::unlinkat(*folder, at.name.c_str(), 0);
    return error;
  }
  return Done{};
}

/// The bytes of the file at `path`, once it is known that only its owner may use it.
Result<SecretBytes> get(const std::string& path) {
  // Without O_NONBLOCK a pipe put in the file's place would hold the caller for ever.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK));
  if (!file.open()) {
    const int number = errno;
    if (number == ENOENT)
      return fail(
          Reason::keys_missing,
          "the key file " + path + " is not there: put it back from a backup, or open the market read-only");
    if (number == ELOOP)
      return fail(Reason::path_refused,
                  "the key file " + path + " is a symbolic link: put the file itself there");
    if (number == EACCES)
      return fail(Reason::path_refused,
                  "the key file " + path + " may not be read by this user: run as its owner");
    return system_error(number, "opening it", path);
  }
  struct stat facts {};
  if (::fstat(*file, &facts) != 0) return system_error(errno, "looking at it", path);
  if (!S_ISREG(facts.st_mode))
    return fail(Reason::path_refused, "the key file " + path + " is no regular file: move it away");
  if ((facts.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(facts.st_mode & 07777));
    return fail(Reason::path_refused, "the key file " + path + " has mode " + mode +
                                          ", so others may use it: run chmod 600 " + path);
  }
  if (facts.st_size <= 0 || static_cast<std::uint64_t>(facts.st_size) > key_file_bytes_max)
    return fail(Reason::corrupt, "the key file " + path + " has " + std::to_string(facts.st_size) +
                                     " bytes: put it back from a backup");
  int number = 0;
  auto read = SecretBytes::filled(static_cast<std::size_t>(facts.st_size), [&](std::span<std::uint8_t> out) {
    while (!out.empty()) {
      const ssize_t got = ::read(*file, out.data(), out.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        number = got < 0 ? errno : EIO;
        return false;
      }
      out = out.subspan(static_cast<std::size_t>(got));
    }
    return true;
  });
  if (number != 0) return system_error(number, "reading it", path);
  return read;
}

/// Adds a fresh seed, born `now`, as the one that signs.
Result<Done> add_seed(KeyFile& file, Instant now, const RandomSource& random) {
  SigningSeed fresh;
  CALYX_TRY(fresh.seed, SecretBytes::random(seed_bytes, random));
  fresh.kid = seed_key_id(fresh.seed);
  for (const SigningSeed& old : file.seeds)
    if (old.kid == fresh.kid) return fail(Reason::io_error, "the random source repeats itself");
  fresh.created_at = now;
  file.seeds.push_back(std::move(fresh));
  return Done{};
}

}  // namespace

std::string key_file_path(std::string_view database_path) { return std::string(database_path) + "-keys"; }

Result<KeyFile> create_key_file(const std::string& path, std::string_view market, Instant now,
                                const RandomSource& random) {
  if (!is_market(market)) return fail(Reason::internal, "a market id is lower hex");
  KeyFile file;
  file.market = std::string(market);
  CALYX_TRY(file.hash_key, SecretBytes::random(hash_key_bytes, random));
  CALYX_CHECK(add_seed(file, now, random));
  CALYX_TRY(const Text text, text_of(file));
  CALYX_CHECK(put(path, text.view(), Placing::only_new));
  return load_key_file(path, market);
}

Result<KeyFile> load_key_file(const std::string& path, std::string_view market) {
  CALYX_TRY(const SecretBytes text, get(path));
  CALYX_TRY(KeyFile file, read_text(core::chars(text.bytes()), path));
  if (file.market != market)
    return fail(Reason::keys_foreign,
                "the key file " + path + " is that of market " + file.market + ", not of " +
                    std::string(market) + ": put the right one back",
                core::json::object({{"market", market}, {"found", file.market}}));
  return file;
}

Result<KeyFile> add_signing_seed(const std::string& path, std::string_view market, Instant now,
                                 const RandomSource& random) {
  CALYX_TRY(KeyFile file, load_key_file(path, market));
  if (file.seeds.size() >= signing_seeds_max)
    return fail(Reason::unsupported, "the key file " + path + " has " + std::to_string(file.seeds.size()) +
                                         " seeds, the most it takes");
  CALYX_CHECK(add_seed(file, now, random));
  CALYX_TRY(const Text text, text_of(file));
  CALYX_CHECK(put(path, text.view(), Placing::replace));
  return load_key_file(path, market);
}

}  // namespace calyx::crypto
