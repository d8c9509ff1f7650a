#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

struct IssueAsked {
  std::string label;
  KeyKind kind = KeyKind::api;
  IdempotencyKey once;
};

Result<IssueAsked> read_issue(const Request& request) {
  CALYX_TRY(const core::json::Value body, read_body(request));
  IssueAsked asked;
  Fields fields(body);
  std::optional<std::string> label;
  std::string kind(word(KeyKind::api));
  fields.read("label", label);
  fields.read_optional("kind", kind);
  CALYX_CHECK(fields.done());
  if (kind == word(KeyKind::jobs))
    asked.kind = KeyKind::jobs;
  else if (kind != word(KeyKind::api))
    return field_fault(Reason::field_value, "/kind", "takes api or jobs");
  if (label) asked.label = *std::move(label);
  CALYX_TRY(asked.once, idempotency_key(request));
  return asked;
}

Response issued_response(int status, const KeyIssued& issued) {
  return json_response(status, json_text(issued), issued.replayed ? Replay::again : Replay::first);
}

}  // namespace

Result<Response> list_keys(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<Page> page = read_page(call);
  if (!page.ok()) return first_fault(*call.session, id, Right::read, page.error());
  CALYX_TRY(const Listed<ApiKey> listed, call.session->keys(id, *page));
  return json_response(200, page_text(listed));
}

Result<Response> list_operator_keys(Call& call) {
  CALYX_TRY(const Page page, read_page(call));
  CALYX_TRY(const Listed<ApiKey> listed, call.session->operator_keys(page));
  return json_response(200, page_text(listed));
}

Result<Response> issue_key(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<IssueAsked> asked = read_issue(call.request);
  if (!asked.ok()) return first_fault(*call.session, id, Right::manage_own, asked.error());
  CALYX_TRY(const KeyIssued issued, call.session->issue_key(id, asked->label, asked->once, asked->kind));
  return issued_response(201, issued);
}

Result<Response> revoke_key(Call& call) {
  CALYX_TRY(const KeyId id, key_id(call));
  CALYX_TRY(const ApiKey key, call.session->revoke_key(id));
  return json_response(200, json_text(key));
}

Result<Response> rotate_key(Call& call) {
  CALYX_TRY(const KeyId id, key_id(call));
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const KeyIssued issued, call.session->rotate_key(id, once));
  return issued_response(201, issued);
}

}  // namespace calyx::wire
