/// \file
/// The route table and what stands around it: a target is split and decoded, a key becomes a session, a
/// handler answers, an error becomes its JSON.
///
/// Start at `routes`, the one list of everything the wire answers. Checks come in this order: the target's
/// shape (400), the route (404, 405), the key (401), the operator's routes (403), the wallet (403, 404), the
/// body (413, 400, 422), the call itself.
#pragma once

#include <calyx/request.hpp>
#include <calyx/session.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace calyx::wire {

/// One request on its way through a handler. Owns: nothing but the session; the request outlives it.
struct Call {
  Engine& engine;
  const Request& request;
  std::string_view path;
  std::string_view query;  ///< Still encoded, without the question mark.
  std::string_view id;     ///< The path's `{id}`, decoded; empty when the route has none.
  std::string_view key;    ///< The same of its `{key}`.
  std::optional<Session>
      session;  ///< Present on every route that is neither public nor of `Access::metrics`.
};

using Handler = Result<Response> (*)(Call&);
/// What a call costs. Judges the body first, as the handler would: nobody is asked to pay for what is
/// refused.
using Pricer = Result<Money> (*)(Call&);

enum class Method : std::uint8_t { get, post, put, patch, delete_ };
inline constexpr std::size_t methods = 5;
constexpr std::string_view word(Method method) noexcept {
  constexpr std::string_view words[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  return words[static_cast<std::size_t>(method)];
}

/// Who may call at all; whose wallet it is about is the handler's to ask.
enum class Access : std::uint8_t {
  anyone,
  key,
  operator_,
  metrics,  ///< The host's own machine, the metrics token, an operator's key.
};

struct Route {
  Method method;
  std::string_view path;  ///< `/v1/wallets/{id}/spend`: at most one `{id}` and one `{key}`, never empty.
  Access access;
  Handler handle;
  std::size_t body_bytes_max = request_body_max;  ///< Of the body, before anything is read of it.
  /// Not null: a call without a key pays this much with itself. Its handler's session is then
  /// `PaidCall::session`.
  Pricer price = nullptr;
};

/// What completes an upload: 10,000 parts with their hashes.
inline constexpr std::size_t parts_text_bytes_max = std::size_t{4} << 20;

/// Every route. Where a literal and `{id}` both fit a path, the literal is meant.
std::span<const Route> routes() noexcept;

/// What a method and a path lead to.
struct Match {
  const Route* route = nullptr;  ///< Null: `allow` says whether the path or only the method is unknown.
  std::string_view id;           ///< The `{id}` segment, still encoded,
  std::string_view key;          ///< and the `{key}` one.
  unsigned allow = 0;            ///< A bit for each `Method` that the path has.
};
Match match(std::string_view method, std::string_view path) noexcept;

/// The bytes that percent-encoded `text` stands for, or nothing when an escape is cut or is no hex.
enum class Plus : std::uint8_t { literal, space };
std::optional<std::string> percent_decoded(std::string_view text, Plus plus);

/// Whether two names of headers, or of schemes, are the same one.
bool same_ignoring_case(std::string_view a, std::string_view b) noexcept;
/// `text` without the blanks and tabs around it.
std::string_view without_blanks(std::string_view text) noexcept;

/// The value of the header `name` (any case), without the blanks around it. Given twice with one value it
/// is that value. Fails: `malformed_header` when two values differ.
Result<std::optional<std::string_view>> header(const Request& request, std::string_view name);

/// `text`, a piece of a request, where an answer may repeat it: short, printable, and with nothing in it that
/// looks like an API key.
std::optional<std::string_view> sayable(std::string_view text) noexcept;

/// The caller's key. Fails: `unauthorized` when there is none, or two that differ.
Result<std::string_view> api_key(const Request& request);
/// Whether a request has `X-Auth-` headers.
bool is_signed(const Request& request) noexcept;
/// Whether a request says who makes it, by a key or a signature, good or not.
bool says_who(const Request& request) noexcept;
/// The session that a request's key opens, or its `X-Auth-` headers (identity.hpp); `of_jobs`: of a
/// signature that may run jobs. Fails: as `api_key`, also when a key and a signature are given;
/// `malformed_header`; as `Engine::session`.
Result<Session> session_of(Engine& engine, const Request& request, bool of_jobs);
/// The header `Idempotency-Key`; without one `key_of_payment`. Fails: `malformed_header`, `field_value` when
/// it is empty; its length and letters are judged by the call that takes it.
Result<IdempotencyKey> idempotency_key(const Request& request);

enum class Replay : bool { first, again };
/// A JSON answer; a replay says so in a header.
Response json_response(int status, std::string body, Replay replay = Replay::first);
/// `{"error": {"code", "message", "details"}}` with the status of the reason; details are always an object.
Response error_response(const Error& error);
void append_error(std::string& out, const Error& error);

/// What a call on a wallet needs the key to be.
enum class Right : std::uint8_t {
  read,        ///< The wallet's own, its parent's, an operator's.
  spend,       ///< The wallet's own, or an operator's.
  manage,      ///< Its parent's, or an operator's.
  manage_own,  ///< The same, and a human's for its own wallet.
  operate,     ///< An operator's.
};
/// What is answered for a request whose body or query is at fault: `fault`, unless the key has not the
/// right that comes first. The calls themselves judge rights before fields, so a good body never asks this.
Error first_fault(Session& session, WalletId wallet, Right right, Error fault);

/// The `{id}` of the path. Fails: the kind's `…_unknown`: a name that cannot be is a name of nothing.
Result<WalletId> wallet_id(const Call& call);
Result<KeyId> key_id(const Call& call);
Result<ApprovalId> approval_id(const Call& call);
Result<PayoutId> payout_id(const Call& call);
Result<WaitlistId> waitlist_id(const Call& call);
Result<ReceiptId> receipt_id(const Call& call);
Result<JobId> job_id(const Call& call);

// ── handlers, by file ──

// routes_wallets.cpp
Result<Response> create_wallet(Call& call);
Result<Response> list_wallets(Call& call);
Result<Response> get_wallet(Call& call);
Result<Response> change_wallet(Call& call);
Result<Response> list_entries(Call& call);
Result<Response> list_escrows(Call& call);
Result<Response> list_approvals(Call& call);
Result<Response> approve(Call& call);
Result<Response> deny(Call& call);
Result<Response> join_waitlist(Call& call);
Result<Response> approve_waitlist(Call& call);

// routes_money.cpp
Result<Response> topup(Call& call);
Result<Response> transfer(Call& call);
Result<Response> spend(Call& call);
Result<Response> earn(Call& call);
Result<Response> release(Call& call);
Result<Response> request_payout(Call& call);
Result<Response> get_payout(Call& call);
Result<Response> list_payouts(Call& call);
Result<Response> confirm_payout(Call& call);
Result<Response> fail_payout(Call& call);
Result<Response> grant(Call& call);

// routes_keys.cpp
Result<Response> list_keys(Call& call);
Result<Response> list_operator_keys(Call& call);
Result<Response> issue_key(Call& call);
Result<Response> revoke_key(Call& call);
Result<Response> rotate_key(Call& call);

// routes_receipts.cpp
Result<Response> list_receipts(Call& call);
Result<Response> get_receipt(Call& call);
Result<Response> get_proof(Call& call);
Result<Response> get_consistency(Call& call);
Result<Response> get_checkpoint(Call& call);
Result<Response> get_receipt_keys(Call& call);
Result<Response> verify_receipt(Call& call);

// routes_books.cpp
Result<Response> audit_receipt(Call& call);
Result<Response> audit(Call& call);
Result<Response> audit_with_anchor(Call& call);
Result<Response> export_ledger(Call& call);

// routes_jobs.cpp
Result<Response> submit_job(Call& call);
Result<Response> submit_jobs(Call& call);
Result<Response> estimate_job(Call& call);
Result<Response> list_jobs(Call& call);
Result<Response> get_job(Call& call);
Result<Response> cancel_job(Call& call);
Result<Response> get_job_output(Call& call);
Result<Response> get_job_tasks(Call& call);
Result<Response> get_job_events(Call& call);
Result<Response> get_results(Call& call);
Result<Response> list_recipes(Call& call);
Result<Response> get_recipe(Call& call);
Result<Response> submit_recipe_job(Call& call);
Result<Response> get_balance(Call& call);
Result<Response> get_account_ledger(Call& call);
Result<Response> get_holds(Call& call);
Result<Response> lease_tasks(Call& call);
Result<Response> report_tasks(Call& call);
/// A lease's token, which is told as a decimal string: it is a secret, and no number to reckon with. Fails:
/// `lease_lost`.
Result<std::int64_t> read_token(std::string_view text);
Result<Response> get_health(Call& call);
Result<Response> get_ready(Call& call);
Result<Response> get_metrics(Call& call);
Result<Response> get_presets(Call& call);

// routes_identity.cpp
Result<Response> start_sign_in(Call& call);
Result<Response> finish_sign_in(Call& call);
Result<Response> whitelist_wallet(Call& call);
Result<Response> issue_compute_key(Call& call);
Result<Response> list_compute_keys(Call& call);
Result<Response> revoke_compute_key(Call& call);

// routes_quotes.cpp
Result<Response> get_credits(Call& call);
Result<Response> topup_credits(Call& call);

// routes_settings.cpp
Result<Response> get_settings(Call& call);
Result<Response> put_settings(Call& call);

/// For a host that sells calls of its own: judges and settles the payment that came with one, as
/// `Engine::pay_for_call`.
Result<Response> take_paid_call(Call& call);

/// What tells a call that brings its payment from others, where it has no key: one payment pays for one call.
/// Empty for a call without one.
IdempotencyKey key_of_payment(const Request& request);

/// The answer to a call that says nobody's name, of a route with a price: a 402, or what its payment paid
/// for. What MPP paid for has a key for its payer beside it (`Engine::issue_management_key`).
Result<Response> answer_for_price(Call& call, const Route& route);

/// The answer of `route` to `call`, whose session is yet to be opened. Fails: as whoever is asked.
Result<Response> answer_of(Call& call, const Route& route);

/// The answer to a call that `handle` refused for want of balance. Where payments are taken, the refusal
/// names a quote of what is missing (`quote` of its details) and says how to pay; a call that brings the
/// payment pays first and is then made.
Result<Response> answer_for_payment(Call& call, Handler handle, const Error& refused);

// routes_quotes.cpp
Result<Response> list_quotes(Call& call);
Result<Response> quote_topup(Call& call);
Result<Response> get_quote(Call& call);
Result<Response> pay_quote(Call& call);

// routes_projects.cpp
Result<Response> create_project(Call& call);
Result<Response> list_projects(Call& call);
Result<Response> get_project(Call& call);
Result<Response> change_project(Call& call);
Result<Response> delete_project(Call& call);
Result<Response> push_project(Call& call);
Result<Response> init_project(Call& call);
Result<Response> get_project_status(Call& call);
Result<Response> get_project_details(Call& call);
Result<Response> invalidate_project(Call& call);
Result<Response> put_kv(Call& call);
Result<Response> get_kv(Call& call);

// routes_artifacts.cpp
Result<Response> put_artifact(Call& call);
Result<Response> list_artifacts(Call& call);
Result<Response> get_artifact(Call& call);
Result<Response> direct_artifact(Call& call);
Result<Response> put_direct(Call& call);
Result<Response> start_artifact(Call& call);
Result<Response> put_artifact_part(Call& call);
Result<Response> list_artifact_parts(Call& call);
Result<Response> complete_artifact(Call& call);
Result<Response> abort_artifact(Call& call);
Result<Response> collect_artifacts(Call& call);
Result<Response> get_lease_source(Call& call);

// routes_streams.cpp
Result<Response> stream_job(Call& call);
Result<Response> watch_jobs(Call& call);
Result<Response> stream_project(Call& call);

// routes_bulk.cpp
Result<Response> bulk(Call& call);

// routes_docs.cpp
Result<Response> get_skill(Call& call);
Result<Response> get_compact_reference(Call& call);
Result<Response> get_full_reference(Call& call);
Result<Response> get_docs(Call& call);
Result<Response> get_docs_index(Call& call);
Result<Response> get_recipe_guide(Call& call);
Result<Response> get_python_guide(Call& call);
Result<Response> get_workflow_guide(Call& call);

// routes_feedback.cpp
Result<Response> submit_feedback(Call& call);
Result<Response> list_feedback(Call& call);

// routes_webhooks.cpp
Result<Response> get_webhook_secret(Call& call);
Result<Response> rotate_webhook_secret(Call& call);
Result<Response> list_dead_webhooks(Call& call);
Result<Response> deliver_webhooks(Call& call);
Result<Response> list_job_webhooks(Call& call);
Result<Response> replay_webhook(Call& call);

// openapi.cpp
Result<Response> get_openapi(Call& call);

}  // namespace calyx::wire
