#include "store/listing.hpp"

namespace calyx::store {

Error damaged_row(const char* table, std::int64_t row, const char* what) {
  return fail(
      Reason::corrupt,
      std::string(table) + " row " + std::to_string(row) + ": " + what + "; keep the file and run an audit",
      core::json::object({{"table", table}, {"row", row}}));
}

Result<Listings> Listings::make(Connection& connection, std::span<const ListingText> texts) {
  Listings out;
  for (const ListingText& text : texts) {
    const std::string sql =
        // Of each number its low bits: some are instants, five thousand of which sum to more than 64 bits.
        std::string("SELECT count(*), sum((") + text.sum + ") & 1073741823) FROM " + text.table +
        (text.index == nullptr ? " NOT INDEXED" : std::string(" INDEXED BY ") + text.index) + text.where;
    CALYX_TRY(Statement statement, connection.prepare(sql, "reading every page of a table"));
    out.listings_.push_back({text.table, text.index, std::move(statement)});
  }
  return out;
}

Result<std::string> Listings::fault() {
  std::int64_t rows = 0, sum = 0;
  for (Listing& listing : listings_) {
    const Statement::Run run(listing.statement);
    const Result<bool> row = run->step();
    if (!row.ok()) return row.error();
    if (!*row) return damaged_row(listing.table, 0, "it cannot be counted");
    if (listing.index != nullptr && (run->column_int(0) != rows || run->column_int(1) != sum))
      return std::string(listing.index);
    rows = run->column_int(0);
    sum = run->column_int(1);
  }
  return std::string();
}

}  // namespace calyx::store
