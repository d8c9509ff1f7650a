#include "services/feedback.hpp"

namespace calyx::services {

namespace json = core::json;

Result<Feedback> submit_feedback(Transaction& tx, const FeedbackSubmit& asked) {
  CALYX_CHECK(check_name("/title", asked.title, feedback_title_max));
  const std::string& text = asked.description;
  if (text.empty() || text.size() > feedback_description_max || !json::valid_utf8(text) ||
      text.find('\0') != std::string::npos)
    return field_error(Reason::field_value, "/description",
                       "has " + std::to_string(text.size()) + " bytes, takes 1 to " +
                           std::to_string(feedback_description_max) + " of UTF-8 without a zero");
  CALYX_TRY(const std::int64_t last, tx.store().feedback().last());
  if (last >= feedback_kept_max)
    return fail(Reason::feedback_full,
                "the market keeps " + std::to_string(feedback_kept_max) + " pieces of feedback, and has them",
                json::object({{"limit", feedback_kept_max}}));
  CALYX_TRY(const std::optional<Instant> oldest, tx.store().feedback().at(last - feedback_an_hour_max + 1));
  constexpr std::int64_t hour_us = 3'600'000'000;
  if (oldest && oldest->us > tx.now().us - hour_us)
    return fail(
        Reason::too_much_feedback,
        "the market takes " + std::to_string(feedback_an_hour_max) + " pieces of feedback an hour",
        json::object({{"limit", feedback_an_hour_max},
                      {"retry_after_s", (oldest->us + hour_us - tx.now().us + 999'999) / 1'000'000}}));
  const store::FeedbackRow row{.number = last + 1,
                               .at = tx.now(),
                               .type = static_cast<std::int64_t>(asked.type),
                               .title = asked.title,
                               .description = asked.description};
  CALYX_CHECK(tx.change_feedback().add(row));
  return view(row);
}

Result<Feedback> view(const store::FeedbackRow& row) {
  if (row.type < 0 || row.type > static_cast<std::int64_t>(FeedbackType::job_type_request))
    return fail(Reason::corrupt,
                "feedback " + std::to_string(row.number) + " has no such type: keep the file");
  return Feedback{row.number, row.at, static_cast<FeedbackType>(row.type), row.title, row.description};
}

}  // namespace calyx::services
