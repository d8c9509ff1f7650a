/// \file
/// What a reader is told of each route: the index, the references and the OpenAPI document are made of it.
///
/// The notes stand in the order of the route table, which does not compile unless each of its routes has one.
#pragma once

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "wire/router.hpp"

namespace calyx::wire {

/// Under which heading a route is listed.
enum class Group : std::uint8_t {
  discovery,
  recipes,
  jobs,
  projects,
  artifacts,
  account,
  workers,
  wallets,
  money,
  keys,
  receipts,
  books,
  ops
};
inline constexpr std::size_t groups = 13;
constexpr std::string_view word(Group group) noexcept {
  constexpr std::string_view words[groups] = {"Discovery", "Recipes", "Jobs",      "Projects", "Artifacts",
                                              "Account",   "Workers", "Wallets",   "Money",    "Keys",
                                              "Receipts",  "Books",   "Operations"};
  return words[static_cast<std::size_t>(group)];
}

/// Lists of members are words between single blanks: `name`, `name:kind`, `name!` or `name!:kind` for one
/// that must be there. Without a kind a member is a string.
struct Note {
  Method method;
  std::string_view path;
  Group group;
  std::string_view summary;     ///< One line, which ends without a full stop.
  std::string_view parameters;  ///< Of the query, and headers of the kind `header`.
  std::string_view body;        ///< Or `@` and a content type, for a body that is no JSON object.
  std::string_view answer;      ///< The members at the top of a 2xx answer that is an object.
  int status = 200;
  std::string_view content = "application/json";
};

/// One word of a list.
struct NotedMember {
  std::string_view name, kind;
  bool required = false;
};
inline constexpr std::string_view member_kinds[] = {"string", "int",   "bool", "flops", "object",
                                                    "array",  "texts", "any",  "header"};

/// Cuts the first word off `list`.
constexpr NotedMember next_member(std::string_view& list) noexcept {
  const std::string_view one = list.substr(0, std::min(list.find(' '), list.size()));
  list.remove_prefix(std::min(one.size() + 1, list.size()));
  NotedMember out;
  const std::size_t colon = std::min(one.find(':'), one.size());
  out.name = one.substr(0, colon);
  out.kind = colon == one.size() ? member_kinds[0] : one.substr(colon + 1);
  out.required = out.name.ends_with('!');
  if (out.required) out.name.remove_suffix(1);
  return out;
}

namespace noted {

inline constexpr std::string_view once = "Idempotency-Key:header";
inline constexpr std::string_view page = "after limit:int";
inline constexpr std::string_view follow = "last_event_id Last-Event-ID:header";
inline constexpr std::string_view events = "text/event-stream";
inline constexpr std::string_view listed = "items:array next";
inline constexpr std::string_view policy =
    "status spend_cap_per_job:flops allowed_gpu_types:texts approval_threshold:flops "
    "spend_cap_per_hour:flops";
inline constexpr std::string_view wallet =
    "id owner_type owner_id status balance:flops spend_cap_per_job:flops approval_threshold:flops "
    "allowed_gpu_types:texts created_at parent_wallet_id spend_cap_per_hour:flops held:flops "
    "expired_pending:flops txn_count:int";
inline constexpr std::string_view wallet_created =
    "id owner_type owner_id status balance:flops spend_cap_per_job:flops approval_threshold:flops "
    "allowed_gpu_types:texts created_at parent_wallet_id spend_cap_per_hour:flops held:flops "
    "expired_pending:flops txn_count:int key_id key_last4 api_key";
inline constexpr std::string_view moved = "txn_id amount:flops new_balance:flops";
inline constexpr std::string_view payout =
    "id txn_id wallet_id amount:flops destination status new_balance:flops created_at";
inline constexpr std::string_view approval =
    "id wallet_id status operation amount:flops job_id gpu_type created_at expires_at";
inline constexpr std::string_view issued = "id api_key key_last4 label created_at";
inline constexpr std::string_view webhook_secret = "wallet_id version:int created_at previous_until secret";
inline constexpr std::string_view webhook =
    "job_id status attempts:int answered:int error created_at last_at next_at";
inline constexpr std::string_view audited = "ok:bool checked:object seq:int head";
inline constexpr std::string_view submit =
    "wallet_id task runner_command:texts command:any image type payload:object fan_out:object batch_size:int "
    "merge_strategy "
    "key_field:any on_duplicate weight:any parameters:object fixed_payload:object sample:object rank_by:any "
    "split:object reduce:any candidates:array shared_payload:object replicas:int seed:any project "
    "timeout_s:int max_retries:int priority depends_on:texts allow_partial:bool tags:texts callback_url "
    "checkpointing:object requirements:object "
    "max_cost:flops max_budget:flops max_parallel:int max_failed_tasks:int "
    "deadline_s:int queue_ttl_s:int idempotent:bool allowed_payees:texts retry_of resume_from";
inline constexpr std::string_view submit_recipe =
    "payload:object wallet_id fan_out:object batch_size:int merge_strategy timeout_s:int max_retries:int "
    "priority depends_on:texts allow_partial:bool tags:texts callback_url requirements:object max_cost:flops "
    "max_budget:flops "
    "max_parallel:int max_failed_tasks:int deadline_s:int queue_ttl_s:int allowed_payees:texts";
inline constexpr std::string_view submitted = "job_id id status hold:flops estimate:object";
inline constexpr std::string_view job =
    "job_id id status type work:object project revision:int wallet_id priority tags:texts depends_on:texts "
    "progress:object hold:flops cost:flops error:object recommended_action input_hash output_hash "
    "receipt_id receipt_ids:texts retry_of resume_from created_at started_at ended_at";
inline constexpr std::string_view project =
    "name wallet_id remote_dir description created_at active_revision:int";
inline constexpr std::string_view readiness =
    "project can_accept_new_jobs:bool ready_for_jobs:bool active_revision:int revision_state";

inline constexpr std::string_view settings = "prices:object base_url realm networks:array";
inline constexpr std::string_view quote =
    "quote_id wallet_id kind status amount:flops unit created_at expires_at pay payments:array";

inline constexpr std::string_view artifact =
    "artifact_id id wallet_id name size:int sha256 created_at job_id task:int";
inline constexpr std::string_view bytes = "application/octet-stream";
inline constexpr std::string_view upload = "name! size:int sha256 wallet_id";

inline constexpr std::string_view text = "text/plain; charset=utf-8";
inline constexpr std::string_view markdown = "text/markdown; charset=utf-8";
inline constexpr std::string_view html = "text/html; charset=utf-8";

using enum Method;
using enum Group;

inline constexpr Note notes[] = {
    {post, "/v1/wallets", wallets,
     "Open a wallet for a human, or for an agent under one; its key is shown once", once,
     "owner_type! owner_id! parent_wallet_id spend_cap_per_job:flops allowed_gpu_types:texts "
     "approval_threshold:flops spend_cap_per_hour:flops",
     wallet_created, 201},
    {get, "/v1/wallets", wallets, "List the wallets that the key may read", page, "", listed},
    {get, "/v1/wallets/{id}", wallets, "Read a wallet: balance, what is held, policy", "", "", wallet},
    {patch, "/v1/wallets/{id}", wallets, "Change a wallet's policy or status", "", policy, wallet},
    {post, "/v1/wallets/{id}/spend", money, "Lock escrow for a job", "",
     "job_id! amount!:flops gpu_type host_wallet_id expires_in_s:int",
     "txn_id job_id amount_locked:flops new_balance:flops"},
    {post, "/v1/wallets/{id}/earn", money, "Settle a job: pay its host, refund the rest, sign a receipt", "",
     "job_id! gross_amount!:flops output_hash! gpu_model! duration_seconds!:int payer_wallet_id",
     "txn_id gross_amount:flops platform_fee:flops net_payout:flops new_balance:flops receipt_id"},
    {post, "/v1/wallets/{id}/release", money, "Give a job's whole lock back, or burn a job_id never used", "",
     "job_id!", "txn_id job_id amount:flops new_balance:flops burned:bool"},
    {post, "/v1/wallets/{id}/transfer", money, "Move credits to another wallet, free", once,
     "to_wallet_id! amount!:flops reference", moved},
    {post, "/v1/wallets/{id}/topup", money, "Credit what was bought outside; a reference counts once", once,
     "amount!:flops reference", moved},
    {post, "/v1/wallets/{id}/payouts", money, "Ask for credits to be paid out", once,
     "amount!:flops destination!", payout, 202},
    {get, "/v1/wallets/{id}/payouts", money, "List a wallet's payouts", page, "", listed},
    {get, "/v1/wallets/{id}/entries", wallets, "List a wallet's entries, oldest first", page, "", listed},
    {get, "/v1/wallets/{id}/escrows", wallets, "List a wallet's escrows, how each stands or ended", page, "",
     listed},
    {get, "/v1/wallets/{id}/approvals", wallets, "List what waits for a human, or was decided", page, "",
     listed},
    {get, "/v1/wallets/{id}/keys", keys, "List a wallet's API keys, without their secrets", page, "", listed},
    {post, "/v1/wallets/{id}/keys", keys, "Issue one more key for a wallet; it is shown once", once,
     "label kind", issued, 201},
    {get, "/v1/wallets/{id}/receipts", receipts, "List receipts of jobs that the wallet paid for or hosted",
     page, "", listed},
    {get, "/v1/wallets/{id}/webhook-secret", keys, "Whether a wallet has a secret that signs its webhooks",
     "", "", webhook_secret},
    {post, "/v1/wallets/{id}/webhook-secret", keys,
     "Make a wallet's next webhook secret, shown once; the one before signs too for a day", "", "",
     webhook_secret, 201},
    {get, "/v1/webhooks", ops, "List webhooks that were given up", page, "", listed},
    {post, "/v1/webhooks/deliver", ops,
     "Send webhooks that are due, `limit` at most and one after the other, by the transport that the host "
     "has "
     "set: ask with a small one where receivers may be slow",
     "limit:int", "", "delivered:int failed:int dead:int next_at"},
    {get, "/v1/keys", keys, "List the operators' keys, without their secrets", page, "", listed},
    {delete_, "/v1/keys/{id}", keys, "Revoke a key for ever", "", "",
     "id wallet_id label key_last4 created_at revoked_at"},
    {post, "/v1/keys/{id}/rotate", keys, "Exchange a key for a new one", once, "", issued, 201},
    {post, "/v1/approvals/{id}/approve", wallets, "Let a call over its threshold pass once", "", "",
     approval},
    {post, "/v1/approvals/{id}/deny", wallets, "Turn a call over its threshold down", "", "", approval},
    {get, "/v1/payouts/{id}", money, "Read a payout as it stands", "", "", payout},
    {post, "/v1/payouts/{id}/confirm", money, "Say that a payout was made", once, "", payout},
    {post, "/v1/payouts/{id}/fail", money, "Say that a payout failed; its amount comes back", once, "",
     payout},
    {post, "/v1/waitlist", wallets, "Put an owner on the waitlist", once, "owner_id!",
     "id owner_id status created_at", 201},
    {post, "/v1/waitlist/{id}/approve", wallets, "Open a human wallet for an entry of the waitlist", once, "",
     "id owner_id status created_at wallet:object"},
    {post, "/v1/grants", money, "Give a human wallet the promotional grant, once an owner", once,
     "wallet_id!", "txn_id amount:flops new_balance:flops remaining:int"},
    {post, "/v1/bulk", money, "Up to 1,000 operations in one commit, each with its own outcome", once,
     "operations!:array", "outcomes:array"},
    {get, "/v1/receipts/keys", receipts, "The public keys that verify receipts, as a JSON Web Key Set", "",
     "", "keys:array", 200, "application/jwk-set+json"},
    {post, "/v1/receipts/verify", receipts, "Judge a receipt: its JSON document or its bare JWS", "",
     "@application/jose", "valid:bool reason"},
    {get, "/v1/receipts/checkpoint", receipts, "The head of the receipt log as a signed note", "", "", "",
     200, text},
    {get, "/v1/receipts/consistency", receipts, "Proof that the log of one size begins with that of another",
     "old_size!:int new_size!:int", "", "old_size:int new_size:int old_root_hash new_root_hash path:texts"},
    {get, "/v1/receipts/{id}", receipts, "Read a receipt: its fields, and the JWS that was signed", "", "",
     "amount:object duration_seconds:int fee_basis_points:int gpu_model host_wallet id issued_at issuer "
     "job_id "
     "ledger:object output_hash payer_wallet settlement type v:int receipt_id flops_spent verified:bool jws"},
    {get, "/v1/receipts/{id}/proof", receipts, "Proof that a receipt is in the log", "", "",
     "leaf_index:int tree_size:int leaf_hash root_hash path:texts checkpoint"},
    {post, "/v1/receipts/{id}/audit", books,
     "Compute a receipt's job again, and compare with what was signed", "", "",
     "receipt_id job_id reproduced:bool tasks:int input_hash output_hash recomputed_hash "
     "first_difference:int "
     "error"},
    {get, "/v1/audit", books, "Re-sum, re-chain and re-verify everything", "depth", "", audited},
    {post, "/v1/audit", books, "The same, against a receipt or a checkpoint that somebody kept", "",
     "anchor:any depth", audited},
    {get, "/v1/export", books, "The ledger as csv, jsonl or hledger", "format!", "", "", 200,
     "text/csv; charset=utf-8"},
    {get, "/v1/settings", ops, "What a second of a task costs, and where payments are taken", "", "",
     settings},
    {put, "/v1/settings", ops,
     "Set prices, all of them, or where payments are taken; a member left out stays", "", settings, settings},
    {post, "/v1/paid-calls", ops,
     "Judge and settle the payment of a call that the host sells, whose client gets the 402 and the headers. "
     "The operator's key comes in X-API-Key, since Authorization may bring the payment. Key the call by "
     "`payment_id`: a payment that comes again begins no other one, and nothing at all unless `fresh`",
     "X-PAYMENT:header PAYMENT-SIGNATURE:header Payment-Authorization:header", "price!:flops resource",
     "wallet_id fresh:bool payment:object"},
    {post, "/api/v1/jobs", jobs, "Submit a job; its budget is held", once, submit, submitted, 201},
    {get, "/api/v1/jobs", jobs, "List jobs, the youngest first", "status project tag after limit:int", "",
     "jobs:array next_cursor"},
    {post, "/api/v1/jobs/batch", jobs,
     "Submit up to 200 jobs, each with its own outcome; by `alias` one's `depends_on` names another", once,
     "jobs!:array", "jobs:array"},
    {post, "/api/v1/jobs/estimate", jobs, "What a job would hold, with nothing submitted", "", submit,
     "tasks:int rate_per_second:flops worst_case:flops hold:flops"},
    {get, "/api/v1/jobs/{id}", jobs, "Read a job: status, progress, cost, error, recommended_action", "", "",
     job},
    {put, "/api/v1/jobs/{id}/cancel", jobs, "End a job; what ran is charged and the rest comes back", "", "",
     job},
    {get, "/api/v1/jobs/{id}/output", jobs,
     "What a task's last attempt has printed so far: the first 64 KiB and the last 192, and between them a "
     "line "
     "that says how much was dropped",
     "task:int", "",
     "job_id task:int attempt:int stdout stderr stdout_dropped_bytes:int stderr_dropped_bytes:int"},
    {get, "/api/v1/jobs/{id}/tasks", jobs, "A job's tasks: payload, progress, result, error", page, "",
     "job_id tasks:array next_cursor"},
    {get, "/api/v1/jobs/{id}/events", jobs, "What happened to a job so far", page, "",
     "job_id events:array next_cursor"},
    {get, "/api/v1/jobs/{id}/stream", jobs, "What happens to a job, as it happens, until it has ended",
     follow, "", "", 200, events},
    {get, "/api/v1/jobs/watch", jobs, "The same of up to 100 jobs, whose ids are parted by commas",
     "ids! last_event_id Last-Event-ID:header", "", "", 200, events},
    {get, "/api/v1/jobs/{id}/webhooks", jobs, "The webhook of a job's end, and how far it is", "", "",
     listed},
    {post, "/api/v1/jobs/{id}/webhooks/replay", jobs, "Send a webhook again that was given up or delivered",
     "", "", webhook},
    {get, "/api/v1/results/{id}", jobs, "A job's merged result, and each task's", page, "",
     "job_id status result:any notes:object tasks:array next_cursor"},
    {get, "/api/v1/presets", jobs, "Requirements to submit with, and what a second of them costs", "", "",
     "presets:array"},
    {post, "/api/v1/projects", projects, "Create a project", "", "name! remote_dir description wallet_id",
     project, 201},
    {get, "/api/v1/projects", projects, "List projects, the oldest first", "wallet_id after limit:int", "",
     "projects:array next_cursor"},
    {get, "/api/v1/projects/{id}", projects, "Read a project, by its name", "wallet_id", "", project},
    {put, "/api/v1/projects/{id}", projects, "Change a project's remote_dir or description", "wallet_id",
     "remote_dir description", project},
    {delete_, "/api/v1/projects/{id}", projects, "Take a project's name away; its jobs keep their revision",
     "wallet_id", "", "project deleted:bool"},
    {post, "/api/v1/projects/{id}/push", projects, "Publish a revision: the bytes of a tarball, no form",
     "wallet_id", "@application/octet-stream",
     "project revision:int created_at sha256 size:int files:array manifest:object tarball_diff:object", 201},
    {post, "/api/v1/projects/{id}/init", projects, "Prepare the active revision ahead of a job", "wallet_id",
     "", readiness},
    {get, "/api/v1/projects/{id}/status", projects, "Whether a project takes jobs, and is prepared",
     "wallet_id", "", readiness},
    {get, "/api/v1/projects/{id}/status/details", projects, "The same with its revision, and what would help",
     "wallet_id", "",
     "project can_accept_new_jobs:bool ready_for_jobs:bool active_revision:int revision_state "
     "revision:object "
     "diagnostics:array"},
    {get, "/api/v1/projects/{id}/stream", projects, "How a project stands, and what that becomes",
     "wallet_id last_event_id Last-Event-ID:header", "", "", 200, events},
    {post, "/api/v1/projects/{id}/invalidate", projects, "Have the active revision prepared anew",
     "wallet_id", "", readiness},
    {put, "/api/v1/projects/{id}/kv/{key}", projects,
     "Write shared state; with a version, only onto that one", "wallet_id", "value!:any version:int",
     "key value:any version:int"},
    {get, "/api/v1/projects/{id}/kv/{key}", projects, "Read shared state", "wallet_id", "",
     "key value:any version:int"},
    {post, "/api/v1/artifacts", artifacts, "Keep the bytes of the body, at most 2 GB",
     "name sha256 wallet_id Idempotency-Key:header", "@application/octet-stream", artifact, 201},
    {get, "/api/v1/artifacts", artifacts, "List artifacts, the youngest first", "wallet_id after limit:int",
     "", "artifacts:array next_cursor"},
    {get, "/api/v1/artifacts/{id}", artifacts, "Download an artifact, or a range of its bytes",
     "Range:header If-Range:header", "", "", 200, bytes},
    {post, "/api/v1/artifacts/direct", artifacts, "A URL that takes one artifact, once, without a key", once,
     upload, "upload_id url method expires_at", 201},
    {put, "/api/v1/artifacts/direct/{id}", artifacts, "Upload to such a URL", "", "@application/octet-stream",
     artifact, 201},
    {post, "/api/v1/artifacts/multipart", artifacts, "Begin an upload in parts, which can be gone on with",
     once, upload,
     "upload_id wallet_id name size:int sha256 part_bytes_max:int parts_max:int created_at expires_at", 201},
    {post, "/api/v1/artifacts/multipart/complete", artifacts, "Make an artifact of the parts", once,
     "upload_id! parts:array size:int sha256", artifact, 201},
    {get, "/api/v1/artifacts/multipart/{id}/parts", artifacts, "The parts that were sent", "", "",
     "upload_id parts:array"},
    {put, "/api/v1/artifacts/multipart/{id}/parts/{key}", artifacts,
     "Send part 1 to 10,000, at most 64 MB; again, it replaces the one before", "sha256",
     "@application/octet-stream", "part_number:int size:int sha256"},
    {delete_, "/api/v1/artifacts/multipart/{id}", artifacts, "Give an upload up", "", "",
     "upload_id aborted:bool"},
    {post, "/api/v1/artifacts/collect", artifacts, "Remove blobs that nothing names any more", "", "",
     "kept:int removed:int removed_bytes:int uploads_ended:int"},
    {get, "/api/v1/recipes", recipes, "List the recipes and their operations", "", "", "recipes:array"},
    {get, "/api/v1/recipes/{id}", recipes, "Read a recipe, by its name: the schema of its payload", "", "",
     "name summary class payload_schema:object operations:texts artifact_inputs:texts"},
    {post, "/api/v1/recipes/{id}/jobs", recipes, "Submit a recipe's job: a payload is all it needs", once,
     submit_recipe, submitted, 201},
    {post, "/api/v1/auth/wallet/challenge", keys, "Ask for the text that signs a wallet in; no key is needed",
     "", "address! chain!", "challenge:object"},
    {post, "/api/v1/auth/wallet/verify", keys,
     "Answer it with the wallet's signature, for a session's key; of wallets on the whitelist", "",
     "challenge_id! signature!", "token expires_at wallet_id"},
    {post, "/api/v1/auth/wallet/whitelist", keys,
     "Let the wallet of an address sign in and run jobs, or no more", "", "address! chain! allowed:bool",
     "wallet_id owner_id whitelisted:bool"},
    {get, "/api/v1/account/balance", account, "Balance, what is held, what is available", "wallet_id", "",
     "wallet_id balance:flops held:flops available:flops unit"},
    {get, "/api/v1/account/ledger", account, "Every movement, oldest first", "wallet_id after limit:int", "",
     listed},
    {get, "/api/v1/account/holds", account, "What is held, by job", "wallet_id after limit:int", "", listed},
    {get, "/api/v1/account/quotes", account, "List funding quotes, oldest first", "wallet_id after limit:int",
     "", listed},
    {post, "/api/v1/account/quotes/topup", account, "Ask for a quote of credits, to be paid until it expires",
     once, "amount!:flops wallet_id expires_in_s:int", quote, 201},
    {get, "/api/v1/account/quotes/{id}", account, "Read a quote, and what came for it", "", "", quote},
    {post, "/api/v1/account/quotes/{id}/pay/x402", account,
     "Pay a quote by x402 or MPP: 402 says how, the same call with a payment settles it; 202 while it "
     "settles",
     "X-PAYMENT:header PAYMENT-SIGNATURE:header Payment-Authorization:header", "", quote},
    {post, "/compute/api-keys", keys, "Make a key for an agent, by the signature of the wallet's owner", once,
     "label", "api_key id label created_at", 201},
    {get, "/compute/api-keys", keys, "List the wallet's keys for agents, oldest first", page, "",
     "api_keys:array next"},
    {delete_, "/compute/api-keys/{id}", keys,
     "Revoke an agent's key at once, by the signature of the wallet's owner", "", "",
     "id label key_last4 created_at revoked_at"},
    {get, "/compute/credits/balance", account, "Read the credits of the wallet that asks, in dollars", "", "",
     "wallet balance:any total_deposited:any total_spent:any"},
    {post, "/compute/credits/topup", account,
     "Buy credits by x402 or MPP: 402 says how, the same call with a payment settles it; 202 while it "
     "settles",
     "X-PAYMENT:header PAYMENT-SIGNATURE:header Payment-Authorization:header", "amount!:flops network!",
     "success:bool deposited:flops new_balance tx_hash"},
    {post, "/api/v1/workers/lease", workers, "Take tasks to do, for thirty seconds from the last report", "",
     "worker! host_wallet_id tasks:texts recipes:texts commands:bool images:texts "
     "tasks_max:int has:object",
     "lease:object"},
    {post, "/api/v1/workers/report", workers,
     "Say how leased tasks went; with no outcome it is a heartbeat, whose stdout and stderr are all that the "
     "task has printed so far, and with job_id and attempt kept of one that a cancel has stopped, too",
     "",
     "lease_id! job_id first:int attempt:int gives_back:bool outcomes:array progress:object stdout stderr "
     "stdout_dropped_bytes:int "
     "stderr_dropped_bytes:int",
     "left:int expires_at"},
    {get, "/api/v1/workers/leases/{id}/source", workers,
     "Download the tarball of the project that a lease's commands run in, or a range of its bytes",
     "Range:header If-Range:header", "", "", 200, bytes},
    {get, "/health", ops, "Whether the process answers", "", "", "status"},
    {get, "/live", ops, "The same", "", "", "status"},
    {get, "/ready", ops, "Whether the market's file is read; 503 until then", "", "", "status"},
    {get, "/metrics", ops, "The market in numbers, as Prometheus reads them", "", "", "", 200,
     "text/plain; version=0.0.4; charset=utf-8"},
    {post, "/api/v1/feedback", ops, "Report a bug, or ask for a feature, access or a type of job", "",
     "type! title! description!", "id:int type title description created_at", 201},
    {get, "/api/v1/feedback", ops, "Read what was reported, oldest first", page, "", listed},
    {get, "/skill.md", discovery, "For agents: start here", "", "", "", 200, markdown},
    {get, "/llms.txt", discovery, "The compact reference", "", "", "", 200, text},
    {get, "/llms-full.txt", discovery, "The full reference, with tutorials", "", "", "", 200, text},
    {get, "/docs", discovery, "The reference for people", "", "", "", 200, html},
    {get, "/openapi.json", discovery, "The OpenAPI 3.1 document", "", "",
     "openapi info:object servers:array security:array tags:array paths:object components:object"},
    {get, "/api/v1/docs", discovery, "The index of all routes and pages", "", "",
     "name version pages:array routes:array"},
    {get, "/api/v1/docs/recipes", discovery, "The guide to this market's recipes", "", "", "", 200, markdown},
    {get, "/api/v1/docs/python-sdk", discovery, "The guide to the Python client and command line", "", "", "",
     200, markdown},
    {get, "/api/v1/docs/workflows", discovery, "Ways to put jobs together", "", "", "", 200, markdown},
};

constexpr bool well_formed(std::string_view list) noexcept {
  if (list.starts_with('@')) return list.find(' ') == std::string_view::npos && list.size() > 1;
  while (!list.empty()) {
    const NotedMember member = next_member(list);
    if (member.name.empty() ||
        std::find(std::begin(member_kinds), std::end(member_kinds), member.kind) == std::end(member_kinds))
      return false;
  }
  return true;
}
static_assert(std::all_of(std::begin(notes), std::end(notes), [](const Note& note) {
  return !note.summary.empty() && !note.summary.ends_with('.') && well_formed(note.parameters) &&
         well_formed(note.body) && well_formed(note.answer);
}));

}  // namespace noted

/// The note of a route, which is at the same place in its table.
inline const Note& note_of(const Route& route) noexcept { return noted::notes[&route - routes().data()]; }

}  // namespace calyx::wire
