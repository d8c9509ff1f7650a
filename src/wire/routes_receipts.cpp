#include <calyx/core/receipt.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

/// The receipt as it is served. `verified` is no claim: the signature is checked again for each answer.
void append_receipt(std::string& out, const Engine& engine, const Receipt& receipt) {
  const bool verified = engine.verify(receipt.jws).valid;
  core::json::append_text(out, core::receipt_document(receipt.payload, receipt.jws, verified));
}

/// Why `engine` answers nothing here, in a forked child and in a callback: a session has room to say it.
Error refusal(Engine& engine) { return engine.session(std::string_view()).error(); }

}  // namespace

Result<Response> list_receipts(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<Page> page = read_page(call);
  if (!page.ok()) return first_fault(*call.session, id, Right::read, page.error());
  CALYX_TRY(const Listed<Receipt> listed, call.session->receipts(id, *page));
  return json_response(200, page_text(listed, [&](std::string& out, const Receipt& receipt) {
                         append_receipt(out, call.engine, receipt);
                       }));
}

Result<Response> get_receipt(Call& call) {
  CALYX_TRY(const ReceiptId id, receipt_id(call));
  CALYX_TRY(const Receipt receipt, call.session->receipt(id));
  std::string body;
  append_receipt(body, call.engine, receipt);
  return json_response(200, std::move(body));
}

Result<Response> get_proof(Call& call) {
  CALYX_TRY(const ReceiptId id, receipt_id(call));
  CALYX_TRY(const InclusionProof proof, call.session->inclusion_proof(id));
  return json_response(200, json_text(proof));
}

Result<Response> get_consistency(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::uint64_t old_size, query.number("old_size", std::nullopt));
  CALYX_TRY(const std::uint64_t new_size, query.number("new_size", std::nullopt));
  CALYX_CHECK(query.done());
  CALYX_TRY(const ConsistencyProof proof, call.session->consistency_proof(old_size, new_size));
  return json_response(200, json_text(proof));
}

Result<Response> get_checkpoint(Call& call) {
  CALYX_TRY(std::string note, call.session->checkpoint());
  return Response{200, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(note)};
}

Result<Response> get_receipt_keys(Call& call) {
  std::string keys = call.engine.public_keys();
  if (keys.empty()) return refusal(call.engine);
  return Response{200, {{"Content-Type", "application/jwk-set+json"}}, std::move(keys)};
}

Result<Response> verify_receipt(Call& call) {
  const std::string& presented = call.request.body;
  if (presented.size() > request_body_max)
    return fail(Reason::too_large, "the body has " + std::to_string(presented.size()) + " bytes",
                core::json::object({{"limit", request_body_max}}));
  if (presented.empty()) return fail(Reason::not_json, "the body is empty, a receipt is needed");
  // Whatever else is wrong with what is presented is the answer that was asked for.
  const ReceiptVerdict verdict = call.engine.verify(presented);
  if (verdict.reason == word(Reason::forked) || verdict.reason == word(Reason::handle_invalid))
    return refusal(call.engine);
  std::string body;
  Members members(body);
  members.boolean("valid", verdict.valid);
  if (!verdict.valid) members.text("reason", std::string_view(verdict.reason));
  members.close();
  return json_response(200, std::move(body));
}

}  // namespace calyx::wire
