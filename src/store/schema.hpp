/// \file
/// What a market's file is made of, and how one that an older calyx made goes forward.
///
/// Whoever changes what is made here: `schema_version` goes up by one, `own_schema` gets a step from the
/// version before, and a market of that version is kept among the tests' vectors before anything changes,
/// where each one so far is carried forward. A step never touches what the log says: no event, no entry, no
/// receipt is written anew.
#pragma once

#include <string>
#include <vector>

#include "store/database.hpp"

namespace calyx::store {

inline constexpr int schema_version = 1;
inline constexpr std::int64_t application_id = 0x43594C58;  ///< "CYLX"

struct Schema {
  int version = schema_version;
  /// What a new file is made by, one object each.
  std::vector<std::string> statements;
  /// By place: what turns a file of version place + 1 into one of the next, to the letter as `statements`
  /// make it. So a table that changes is renamed, made anew, filled and the old one dropped; SQLite would
  /// keep another text for one that is altered.
  std::vector<std::vector<std::string>> steps;
};

/// This build's.
Schema own_schema();

/// What `migrate` does with a database in which nothing was made.
enum class Blank : std::uint8_t { becomes_a_market, refused };

/// Makes the tables in an empty file, carries a file of an older version forward, or checks that the file is
/// a market this build can use, with every table, index and trigger as this build makes them and nothing
/// beside. Before a file goes forward its pages are checked and a copy of it is made beside it, named after
/// it and its version: `<db>-schema1`, or `<db>-schema1-2` and so on to 9 where one stands. The host removes
/// them. The steps and the new version are one transaction. Under the gate, unless `read_only`. Fails:
/// `not_a_market`, `file_missing` for a blank one that is refused, `file_newer` (unless `read_only`),
/// `read_only` for an older one that would have to be written, `path_refused` where there are 9 copies,
/// `corrupt` (with `difference` where it is the schema's), the store.
Result<Done> migrate(Connection& connection, bool read_only, Blank blank = Blank::becomes_a_market,
                     const Schema& schema = own_schema());

/// All that a file's schema says, for `schema_difference`.
inline constexpr const char* schema_text = "SELECT type, name, sql FROM sqlite_schema";

/// The first difference between the rows of `statement`, which asks for `schema_text`, and `schema`; empty
/// for none. Fails: the store.
Result<std::string> schema_difference(Statement& statement, const Schema& schema = own_schema());

}  // namespace calyx::store
