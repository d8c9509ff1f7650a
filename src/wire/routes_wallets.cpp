#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

Result<WalletCreate> read_create(const Request& request) {
  CALYX_TRY(const core::json::Value body, read_body(request));
  WalletCreate asked;
  Fields fields(body);
  fields.read("owner_type", asked.owner_type);
  fields.read("owner_id", asked.owner_id);
  fields.read("parent_wallet_id", asked.parent);
  fields.read("spend_cap_per_job", asked.policy.spend_cap_per_job);
  fields.read("allowed_gpu_types", asked.policy.allowed_gpu_types);
  fields.read("approval_threshold", asked.policy.approval_threshold);
  fields.read("spend_cap_per_hour", asked.policy.spend_cap_per_hour);
  CALYX_CHECK(fields.done());
  CALYX_TRY(asked.idempotency_key, idempotency_key(request));
  return asked;
}

Result<WalletChange> read_change(const Request& request) {
  CALYX_TRY(const core::json::Value body, read_body(request));
  WalletChange change;
  Fields fields(body);
  fields.read_change("status", change.status);
  fields.read_change("spend_cap_per_job", change.spend_cap_per_job);
  fields.read_change("allowed_gpu_types", change.allowed_gpu_types);
  fields.read_change("approval_threshold", change.approval_threshold);
  fields.read_change("spend_cap_per_hour", change.spend_cap_per_hour);
  CALYX_CHECK(fields.done());
  return change;
}

template <class T>
using ListCall = Result<Listed<T>> (Session::*)(WalletId, const Page&);

/// A list of what belongs to the wallet in the path.
template <class T>
Result<Response> list_of(Call& call, ListCall<T> list) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<Page> page = read_page(call);
  if (!page.ok()) return first_fault(*call.session, id, Right::read, page.error());
  CALYX_TRY(const Listed<T> listed, ((*call.session).*list)(id, *page));
  return json_response(200, page_text(listed));
}

}  // namespace

Result<Response> create_wallet(Call& call) {
  // No body lets an agent create wallets, so this is said before it is read.
  if (call.session->principal().role == Role::agent)
    return fail(Reason::human_only, "an agent's key may not create wallets");
  CALYX_TRY(const WalletCreate asked, read_create(call.request));
  CALYX_TRY(const WalletCreated created, call.session->create_wallet(asked));
  return json_response(201, json_text(created), created.replayed ? Replay::again : Replay::first);
}

Result<Response> list_wallets(Call& call) {
  CALYX_TRY(const Page page, read_page(call));
  CALYX_TRY(const Listed<Wallet> listed, call.session->wallets(page));
  return json_response(200, page_text(listed));
}

Result<Response> get_wallet(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  CALYX_TRY(const Wallet wallet, call.session->wallet(id));
  return json_response(200, json_text(wallet));
}

Result<Response> change_wallet(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<WalletChange> change = read_change(call.request);
  if (!change.ok()) return first_fault(*call.session, id, Right::manage, change.error());
  CALYX_TRY(const Wallet wallet, call.session->change_wallet(id, *change));
  return json_response(200, json_text(wallet));
}

Result<Response> list_entries(Call& call) { return list_of<EntryView>(call, &Session::entries); }
Result<Response> list_escrows(Call& call) { return list_of<EscrowView>(call, &Session::escrows); }
Result<Response> list_approvals(Call& call) { return list_of<Approval>(call, &Session::approvals); }

Result<Response> approve(Call& call) {
  CALYX_TRY(const ApprovalId id, approval_id(call));
  CALYX_TRY(const Approval approval, call.session->approve(id));
  return json_response(200, json_text(approval));
}

Result<Response> deny(Call& call) {
  CALYX_TRY(const ApprovalId id, approval_id(call));
  CALYX_TRY(const Approval approval, call.session->deny(id));
  return json_response(200, json_text(approval));
}

Result<Response> join_waitlist(Call& call) {
  CALYX_TRY(const core::json::Value body, read_body(call.request));
  std::string owner_id;
  Fields fields(body);
  fields.read("owner_id", owner_id);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const WaitlistEntry entry, call.session->join_waitlist(owner_id, once));
  return json_response(201, json_text(entry), entry.replayed ? Replay::again : Replay::first);
}

Result<Response> approve_waitlist(Call& call) {
  CALYX_TRY(const WaitlistId id, waitlist_id(call));
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const WaitlistApproved approved, call.session->approve_waitlist(id, once));
  return json_response(200, json_text(approved), approved.entry.replayed ? Replay::again : Replay::first);
}

}  // namespace calyx::wire
