/// \file
/// Which file a market's name means, decided once, before any other part of calyx or SQLite sees the name.
///
/// Start at `real_market_path`. SQLite must never see a path as it was given: a name that begins with
/// "file:" can switch its locking off, and two names of one file would have two gates.
///
/// Threads: any.
#pragma once

#include <calyx/core/result.hpp>
#include <cstddef>
#include <string>
#include <string_view>

namespace calyx::store {

/// The longest name that is looked at. Units: bytes.
inline constexpr std::size_t path_bytes_max = 4000;

/// The longest real path of a market. SQLite's Unix layer keeps names in 512 bytes, its own suffixes
/// ("-journal") among them. Units: bytes.
inline constexpr std::size_t real_path_bytes_max = 500;

/// The one absolute name of the file that `given` names: every link on the way is followed, and the file
/// itself need not exist, though its folder must.
///
/// Fails: `path_refused` with the broken rule's word at `rule` of the details: `empty`, `too_long`,
/// `control_character`, `uri`, `memory` (a market in memory has no path), `not_a_file`, `dangling_link`,
/// `many_links` (a file with a second hard link would have a second gate), `sidecar` (a name that belongs
/// to another market), `folder`; `file_missing` when the folder is not there; `no_memory`; `io_error`. Where
/// the file system was asked the details have the `path`.
Result<std::string> real_market_path(std::string_view given);

/// `error`, with `path` before its message and in its details: for those who open a file, and not for those
/// who ask over a wire.
Error at_path(Error error, std::string_view path);

/// The lock file beside the market at `real_path`; never removed.
std::string gate_path(std::string_view real_path);

/// The file of secrets beside the market at `real_path`.
std::string keys_path(std::string_view real_path);

}  // namespace calyx::store
