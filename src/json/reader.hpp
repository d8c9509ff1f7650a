/// \file
/// JSON in: strict, whole, and with the digits of each number kept.
///
/// Start at `read_json`. What one reader takes and another refuses is how requests are smuggled, so every
/// text that two readers could understand differently is refused.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace calyx {

inline constexpr std::size_t json_depth_max = 32;
inline constexpr std::size_t json_bytes_max = std::size_t{1} << 20;

struct ReadLimits {
  std::size_t depth = json_depth_max;  ///< Arrays and objects inside one another; a bare scalar has depth 0.
  std::size_t bytes = json_bytes_max;
};

/// The value that `text` spells. A number that is an int64 without point, exponent and minus zero is an
/// integer; every other number, `1e400` and 2^64 among them, is a real that keeps its digits, so that
/// whoever reads the field can say what is wrong with it and where.
///
/// Fails, with `details` {`at`: a JSON pointer where a value is meant, else a byte offset}:
/// - `too_large`: more than `limits.bytes`
/// - `not_utf8`: bytes that are no UTF-8, or an escape that names half a surrogate pair
/// - `not_json`: anything the grammar of RFC 8259 does not have, a byte order mark included
/// - `too_deep`, `zero_character` (U+0000 in a string or key, escaped or raw), `duplicate_key` (after
///   unescaping), `trailing_bytes` (something after the first value)
///
/// Of several faults the first one met is named, but UTF-8 comes first of all.
///
/// Threads: any. Each keeps a small buffer for the next call.
Result<core::json::Value> read_json(std::string_view text, const ReadLimits& limits = {});

/// A list that is too long to be held as values: the canonical text (RFC 8785) of its items instead.
struct LongList {
  std::string pointer;                ///< Where it stood.
  std::uint64_t items = 0;            ///< 0: no list was so long.
  std::vector<std::string> segments;  ///< JSON arrays of `items_a_segment` each, the last one of fewer.
  bool objects = true;                ///< Whether all items are objects.
};

/// As `read_json`, but the first list of more than `items_a_segment` items that is a member of the root's
/// member is put into `cut`, and an empty one stands in its place. It takes a tenth of the time and memory.
Result<core::json::Value> read_json(std::string_view text, const ReadLimits& limits,
                                    std::size_t items_a_segment, LongList& cut);

}  // namespace calyx
