/// \file
/// A question to an open connection, for tests.
#pragma once

#include <string>

#include "store/database.hpp"

namespace calyx::store {

/// The first column of the first row, as text; or the reason why there is none.
inline std::string ask(Connection& connection, const std::string& sql) {
  auto statement = connection.prepare(sql);
  if (!statement.ok()) return std::string(calyx::word(statement.reason()));
  const Statement::Run run(*statement);
  const auto row = run->step();
  if (!row.ok()) return std::string(calyx::word(row.reason()));
  if (!*row) return "no row";
  return run->is_integer(0) ? std::to_string(run->column_int(0)) : std::string(run->column_text(0));
}

}  // namespace calyx::store
