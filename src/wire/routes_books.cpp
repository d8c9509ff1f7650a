#include <calyx/core/digest.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

Result<AuditDepth> depth_of(std::string_view text, std::string_view pointer) {
  if (text == "covered") return AuditDepth::covered;
  if (text == "each") return AuditDepth::each;
  return field_fault(Reason::field_value, pointer, "must be covered or each");
}

}  // namespace

Result<Response> audit(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  AuditDepth depth = AuditDepth::covered;
  if (const auto asked = query.find("depth")) {
    CALYX_TRY(depth, depth_of(*asked, "depth"));
  }
  CALYX_CHECK(query.done());
  CALYX_TRY(const AuditReport report, call.session->audit({}, depth));
  return json_response(200, json_text(report));
}

Result<Response> audit_receipt(Call& call) {
  CALYX_TRY(const ReceiptId id, receipt_id(call));
  CALYX_TRY(const ReceiptAudit audit, call.session->audit_receipt(id));
  std::string body;
  Members members(body);
  members.id("receipt_id", audit.receipt)
      .id("job_id", audit.job)
      .boolean("reproduced", audit.reproduced())
      .count("tasks", audit.tasks)
      .text("input_hash", std::string_view(core::output_hash_text(audit.input_hash)))
      .text("output_hash", std::string_view(core::output_hash_text(audit.output_hash)))
      .text("recomputed_hash", std::string_view(core::output_hash_text(audit.recomputed)));
  audit.first_difference ? members.count("first_difference", *audit.first_difference)
                         : members.null("first_difference");
  members.text_or_null("error", std::string_view(audit.error)).close();
  return json_response(200, std::move(body));
}

Result<Response> audit_with_anchor(Call& call) {
  CALYX_TRY(const core::json::Value body, read_body(call.request));
  Fields fields(body);
  Anchor anchor;
  AuditDepth depth = AuditDepth::covered;
  // A receipt's JWS and a checkpoint are texts; a receipt's document is an object, and is taken as it is.
  const core::json::Value* given = fields.find("anchor");
  if (given != nullptr && given->object() != nullptr)
    core::json::append_text(anchor, *given);
  else
    fields.read_optional("anchor", anchor);
  std::optional<std::string> asked;
  fields.read("depth", asked);
  if (asked) {
    Result<AuditDepth> read = depth_of(*asked, "/depth");
    if (read.ok())
      depth = *read;
    else
      fields.fault(std::move(read).error());
  }
  CALYX_CHECK(fields.done());
  CALYX_TRY(const AuditReport report, call.session->audit(anchor, depth));
  return json_response(200, json_text(report));
}

Result<Response> export_ledger(Call& call) {
  struct Format {
    std::string_view word;
    ExportFormat format;
    const char* content_type;
  };
  constexpr Format formats[] = {
      {"csv", ExportFormat::csv, "text/csv; charset=utf-8"},
      {"jsonl", ExportFormat::jsonl, "application/jsonl; charset=utf-8"},
      {"hledger", ExportFormat::hledger, "text/plain; charset=utf-8"},
  };
  CALYX_TRY(Query query, Query::of(call));
  const auto asked = query.find("format");
  if (!asked) return field_fault(Reason::field_missing, "format", "is missing");
  for (const Format& format : formats) {
    if (format.word != *asked) continue;
    CALYX_CHECK(query.done());
    std::string body;
    CALYX_CHECK(call.session->export_ledger(format.format, [&body](std::string_view piece) {
      body += piece;
      return true;
    }));
    return Response{200, {{"Content-Type", format.content_type}}, std::move(body)};
  }
  return field_fault(Reason::field_value, "format", "must be csv, jsonl or hledger");
}

}  // namespace calyx::wire
