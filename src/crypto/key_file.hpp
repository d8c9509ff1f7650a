/// \file
/// The key file beside a market: `<db>-keys`, a JSON text that only its owner may read.
///
/// Start at `create_key_file` when a market is made, `load_key_file` when it is opened. The file's final
/// name only ever names a whole file: it is written under another name, synced, and then given its name.
///
/// Threads: two writers of one file are kept apart by the caller (the gate); a loser's call fails and
/// spoils nothing.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/core/time.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "random.hpp"
#include "secret.hpp"

namespace calyx::crypto {

inline constexpr std::size_t key_file_bytes_max = 64 * 1024;
inline constexpr std::size_t signing_seeds_max = 256;

struct SigningSeed {
  std::string kid;  ///< The thumbprint of the seed's public key; a file where it is not is refused.
  SecretBytes seed;
  Instant created_at;
};

struct KeyFile {
  std::string market;              ///< The market's id, in lower hex.
  SecretBytes hash_key;            ///< For `api_key_hash`.
  std::vector<SigningSeed> seeds;  ///< Oldest first, never empty; the last one signs.
};

/// `<db>-keys`.
std::string key_file_path(std::string_view database_path);

/// Makes the file at `path` with a fresh hash key and one fresh seed, durably. Never replaces a file.
///
/// Fails: `path_refused` when there is a file already; `disk_full`; `io_error`, also when `random` gives
/// nothing; `internal` when `market` is no lower hex of 1 to 128 digits; `no_memory`.
Result<KeyFile> create_key_file(const std::string& path, std::string_view market, Instant now,
                                const RandomSource& random);

/// The file at `path`, which must be that of `market`.
///
/// Fails: `keys_missing`; `path_refused` when group or others may use it, or it is no regular file;
/// `keys_foreign`; `file_newer`; `corrupt`; `io_error`, `no_memory`.
Result<KeyFile> load_key_file(const std::string& path, std::string_view market);

/// Adds a fresh seed, which signs from now on; the older ones stay. The file is replaced at once or not at
/// all. Fails: as `load_key_file` and `create_key_file` do; `unsupported` at `signing_seeds_max`.
Result<KeyFile> add_signing_seed(const std::string& path, std::string_view market, Instant now,
                                 const RandomSource& random);

}  // namespace calyx::crypto
