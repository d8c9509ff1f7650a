#include <calyx/feedback.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

void append_feedback(std::string& out, const Feedback& feedback) {
  Members(out)
      .integer("id", feedback.number)
      .text("type", word(feedback.type))
      .text("title", std::string_view(feedback.title))
      .text("description", std::string_view(feedback.description))
      .instant("created_at", feedback.at)
      .close();
}

}  // namespace

Result<Response> submit_feedback(Call& call) {
  constexpr std::size_t bytes_max = std::size_t{64} << 10;  // each letter of the text may be an escape of six
  CALYX_TRY(const core::json::Value body, read_body(call.request, bytes_max));
  FeedbackSubmit asked;
  std::string type;
  Fields fields(body);
  fields.read("type", type);
  fields.read("title", asked.title);
  fields.read("description", asked.description);
  CALYX_CHECK(fields.done());
  const std::optional<FeedbackType> read = read_feedback_type(type);
  if (!read)
    return field_fault(Reason::field_value, "/type",
                       "must be bug, feature_request, provisioning or job_type_request");
  asked.type = *read;
  CALYX_TRY(const Feedback feedback, call.engine.submit_feedback(asked));
  std::string out;
  append_feedback(out, feedback);
  return json_response(201, std::move(out));
}

Result<Response> list_feedback(Call& call) {
  CALYX_TRY(const Page page, read_page(call));
  CALYX_TRY(const Listed<Feedback> listed, call.session->feedback(page));
  return json_response(200, page_text(listed, append_feedback));
}

}  // namespace calyx::wire
