/// \file
/// Every page of some tables, read for an audit: each table by its own rows, then by each of its indices.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "store/database.hpp"

namespace calyx::store {

/// One walk: the rows of `table` that pass `where`, for the sum of `sum`, which must need every row. Texts
/// are measured in it, which reads them to their end. Of an index the rows are those of the text before it.
struct ListingText {
  const char* table;
  const char* index;  ///< Null for the table's own rows.
  const char* sum;
  const char* where = "";
};

/// A row of a table without an index in its error's name.
Error damaged_row(const char* table, std::int64_t row, const char* what);

class Listings {
 public:
  static Result<Listings> make(Connection& connection, std::span<const ListingText> texts);
  /// The first index that lists other rows than its table; empty when all is well. Fails: the store,
  /// `corrupt` above all.
  Result<std::string> fault();

 private:
  struct Listing {
    const char* table;
    const char* index;
    Statement statement;
  };
  std::vector<Listing> listings_;
};

}  // namespace calyx::store
