/// \file
/// The market's file as somebody with an editor sees it: no engine, no authorizer and, in an `Edit`, no
/// triggers.
#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace calyx::testing {

class Raw {
 public:
  explicit Raw(const std::string& path) {
    REQUIRE(sqlite3_open(path.c_str(), &db_) == SQLITE_OK);
    run("PRAGMA synchronous = OFF");
  }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  ~Raw() { sqlite3_close(db_); }

  void run(const std::string& sql) {
    CAPTURE(sql);
    REQUIRE(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  /// The first value of the first row.
  std::int64_t number(const std::string& sql) { return std::stoll(text(sql)); }
  std::string text(const std::string& sql) {
    const std::vector<std::string> rows = texts(sql);
    CAPTURE(sql);
    REQUIRE_FALSE(rows.empty());
    return rows.front();
  }
  /// The first value of every row.
  std::vector<std::string> texts(const std::string& sql) {
    CAPTURE(sql);
    std::vector<std::string> out;
    const auto keep = [](void* to, int, char** row, char**) {
      static_cast<std::vector<std::string>*>(to)->emplace_back(row[0] == nullptr ? "" : row[0]);
      return 0;
    };
    REQUIRE(sqlite3_exec(db_, sql.c_str(), keep, &out, nullptr) == SQLITE_OK);
    return out;
  }
  /// Every value of every row, each after its type and size; nothing when SQLite can't read on.
  std::optional<std::string> all_of(const std::string& sql) {
    std::string out;
    sqlite3_stmt* statement = nullptr;
    int code = sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
      code = sqlite3_step(statement);
      if (code != SQLITE_ROW) break;
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const char type = static_cast<char>('0' + sqlite3_column_type(statement, i));
        const auto* value = static_cast<const char*>(sqlite3_column_blob(statement, i));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, i));
        out += type + std::to_string(size) + ":";
        if (size != 0) out.append(value, size);
      }
      out += '\n';
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? std::optional(out) : std::nullopt;
  }

 protected:
  sqlite3* db_ = nullptr;
};

/// Without triggers, so that rows may change. They stand again when the editor is closed: an engine opens no
/// market without them.
class Edit : public Raw {
 public:
  explicit Edit(const std::string& path) : Raw(path), triggers_(texts("SELECT sql" + from_triggers)) {
    for (const std::string& name : texts("SELECT name" + from_triggers)) run("DROP TRIGGER " + name);
  }
  ~Edit() {
    for (const std::string& trigger : triggers_)
      sqlite3_exec(db_, trigger.c_str(), nullptr, nullptr, nullptr);
  }

  /// Makes `column` NULL where `where` holds, whatever the table says of it.
  void plant_null(const std::string& table, const std::string& column, const std::string& where) {
    const std::string of_table = " FROM sqlite_schema WHERE type = 'table' AND name = '" + table + "'";
    const std::string schema = text("SELECT quote(sql)" + of_table);
    const auto say = [&](const std::string& sql) {
      run("PRAGMA writable_schema = ON");
      run("UPDATE sqlite_schema SET sql = " + sql + " WHERE type = 'table' AND name = '" + table + "'");
      run("PRAGMA writable_schema = RESET");  // which reads it anew
    };
    say("replace(sql, 'NOT NULL', '')");
    run("UPDATE " + table + " SET " + column + " = NULL WHERE " + where);
    REQUIRE(sqlite3_changes(db_) == 1);
    say(schema);
  }

 private:
  static inline const std::string from_triggers = " FROM sqlite_schema WHERE type = 'trigger' ORDER BY name";
  std::vector<std::string> triggers_;
};

}  // namespace calyx::testing
