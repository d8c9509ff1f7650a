/// \file
/// Two schemas that could follow this build's, for the tests of how a file goes forward.
#pragma once

#include <calyx/core/result.hpp>

#include "store/schema.hpp"

namespace calyx::store {

inline constexpr const char* remarks_first =
    "CREATE TABLE remarks(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT";
inline constexpr const char* remarks_second =
    "CREATE TABLE remarks(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, text TEXT NOT NULL) STRICT";
inline constexpr const char* remarks_stay =
    "CREATE TRIGGER remarks_stay BEFORE DELETE ON remarks BEGIN SELECT RAISE(ABORT, 'they stay'); END";

/// This build's schema, and a table with a trigger that is filled from the log as the file goes forward.
inline Schema next_schema() {
  Schema schema = own_schema();
  schema.version = schema_version + 1;
  schema.statements.insert(schema.statements.end(), {remarks_first, remarks_stay});
  schema.steps.resize(schema_version);
  schema.steps.back() = {remarks_first, remarks_stay,
                         "INSERT INTO remarks(id, text) SELECT seq, 'of ' || at_us FROM events"};
  return schema;
}

/// The one after it: the table has another column.
inline Schema next_but_one_schema() {
  Schema schema = next_schema();
  ++schema.version;
  for (std::string& sql : schema.statements)
    if (sql == remarks_first) sql = remarks_second;
  schema.steps.push_back({"ALTER TABLE remarks RENAME TO remarks_before", remarks_second,
                          "INSERT INTO remarks(id, at_us, text) "
                          "SELECT b.id, e.at_us, b.text FROM remarks_before b JOIN events e ON e.seq = b.id",
                          "DROP TABLE remarks_before", remarks_stay});
  return schema;
}

}  // namespace calyx::store
