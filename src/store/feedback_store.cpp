#include "store/feedback_store.hpp"

namespace calyx::store {
namespace {

// One statement a string, as in the schema of the ledger.
constexpr const char* schema_of_feedback[] = {
    R"(CREATE TABLE feedback(
  number      INTEGER PRIMARY KEY,  -- gapless from 1
  at_us       INTEGER NOT NULL,
  type        INTEGER NOT NULL,
  title       TEXT NOT NULL,
  description TEXT NOT NULL
) STRICT)",
};

constexpr const char* feedback_records[] = {"feedback"};

constexpr ListingText feedback_listings[] = {
    {"feedback", nullptr, "number + length(title) + length(description)"},
};

}  // namespace

std::span<const char* const> feedback_schema() noexcept { return schema_of_feedback; }
std::span<const char* const> feedback_tables_of_record() noexcept { return feedback_records; }

Result<FeedbackStore> FeedbackStore::make(Connection& connection, bool writes) {
  FeedbackStore store;
  if (writes) {
    CALYX_TRY(store.add_, connection.prepare("INSERT INTO feedback(number, at_us, type, title, description) "
                                             "VALUES(?1, ?2, ?3, ?4, ?5)",
                                             "keeping feedback"));
  }
  CALYX_TRY(store.last_, connection.prepare("SELECT max(number) FROM feedback", "reading the last feedback"));
  CALYX_TRY(store.at_,
            connection.prepare("SELECT at_us FROM feedback WHERE number = ?1", "reading when feedback came"));
  CALYX_TRY(store.from_,
            connection.prepare("SELECT number, at_us, type, title, description FROM feedback WHERE "
                               "number > ?1 ORDER BY number",
                               "reading feedback"));
  CALYX_TRY(store.count_, connection.prepare("SELECT count(*) FROM feedback", "counting feedback"));
  CALYX_TRY(store.listings_, Listings::make(connection, feedback_listings));
  return store;
}

Result<Done> FeedbackStore::add(const FeedbackRow& row) {
  const Statement::Run run(add_);
  return run->bind(1, row.number)
      .bind(2, row.at.us)
      .bind(3, row.type)
      .bind(4, std::string_view(row.title))
      .bind(5, std::string_view(row.description))
      .execute();
}

Result<std::int64_t> FeedbackStore::last() {
  const Statement::Run run(last_);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;  // nothing when there is none
}

Result<std::optional<Instant>> FeedbackStore::at(std::int64_t number) {
  const Statement::Run run(at_);
  run->bind(1, number);
  CALYX_TRY(const bool found, run->step());
  return found ? std::optional<Instant>(Instant{run->column_int(0)}) : std::nullopt;
}

Result<Done> FeedbackStore::from(std::int64_t after, const Each& each) {
  const Statement::Run run(from_);
  run->bind(1, after);
  for (;;) {
    CALYX_TRY(const bool more, run->step());
    if (!more) return Done{};
    const FeedbackRow row{.number = run->column_int(0),
                          .at = Instant{run->column_int(1)},
                          .type = run->column_int(2),
                          .title = std::string(run->column_text(3)),
                          .description = std::string(run->column_text(4))};
    CALYX_TRY(const bool go_on, each(row));
    if (!go_on) return Done{};
  }
}

Result<std::int64_t> FeedbackStore::count() {
  const Statement::Run run(count_);
  CALYX_TRY(const bool row, run->step());
  return row ? run->column_int(0) : 0;
}

}  // namespace calyx::store
