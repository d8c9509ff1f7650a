/// \file
/// What tests of opening share: options, a small market, and somebody else's hand in a file.
#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <calyx/engine.hpp>
#include <string>

namespace calyx::testing {

inline Options at(const std::string& path) {
  Options options;
  options.path = path;
  return options;
}
inline Options reading(const std::string& path) {
  Options options = at(path);
  options.read_only = true;
  return options;
}

/// Writes one wallet that holds 1,000 micro.
inline WalletId populate(Engine& engine) {
  Session all = engine.as_operator();
  const WalletId wallet =
      all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice"}).value().wallet.id;
  all.topup({.wallet = wallet, .amount = Money{1'000}}).value();
  return wallet;
}
/// Makes a market with such a wallet, and closes it.
inline WalletId make_market(const std::string& path) {
  Engine engine = Engine::open(at(path)).value();
  return populate(engine);
}

inline void run_sql(const std::string& path, const char* sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  REQUIRE(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

inline bool says(const std::string& message, const char* part) {
  return message.find(part) != std::string::npos;
}

}  // namespace calyx::testing
