/// \file
/// What can go wrong, once: the status that tells a caller what to do next, and the reason that tells
/// what happened. Every door (C++, wire, C, Python) prints these words and no others.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace calyx {

/// What the caller does next. The numbers are part of the C ABI: new ones may appear, none moves.
enum class Status : std::int32_t {
  ok = 0,
  invalid = 1,      ///< Mend the request.
  not_found = 2,    ///< Ask about something else.
  conflict = 3,     ///< Read again and decide again.
  refused = 4,      ///< Change the terms: funds, policy or rights said no.
  unavailable = 5,  ///< Make the same call later; nothing was written.
  stopped = 6,      ///< The caller's own callback asked.
  unsupported = 7,  ///< Use another build or version.
  corrupt = 8,      ///< Stop, keep the file, call a person.
  internal = 9,     ///< Report a defect in calyx.
  unknown = 10,     ///< Repeat the same call with the same key: it may stand.
};

// One row a reason: its word, the status it belongs to, and the HTTP code it has on the wire.
#define CALYX_REASONS(X)                  \
  X(none, ok, 200)                        \
  /* The request's text. */               \
  X(not_utf8, invalid, 400)               \
  X(not_json, invalid, 400)               \
  X(duplicate_key, invalid, 400)          \
  X(too_deep, invalid, 400)               \
  X(zero_character, invalid, 400)         \
  X(trailing_bytes, invalid, 400)         \
  X(malformed_header, invalid, 400)       \
  X(malformed_target, invalid, 400)       \
  X(payment_malformed, invalid, 400)      \
  X(too_large, invalid, 413)              \
  X(range_unsatisfiable, invalid, 416)    \
  /* The request's fields. */             \
  X(field_missing, invalid, 422)          \
  X(field_unknown, invalid, 422)          \
  X(field_type, invalid, 422)             \
  X(field_value, invalid, 422)            \
  X(amount_malformed, invalid, 422)       \
  X(amount_too_precise, invalid, 422)     \
  X(amount_out_of_range, invalid, 422)    \
  X(amount_negative, invalid, 422)        \
  X(amount_zero, invalid, 422)            \
  X(balance_out_of_range, invalid, 422)   \
  X(supply_out_of_range, invalid, 422)    \
  X(gross_above_locked, invalid, 422)     \
  X(agent_needs_parent, invalid, 422)     \
  X(parent_not_human, invalid, 422)       \
  X(human_has_parent, invalid, 422)       \
  X(same_wallet, invalid, 422)            \
  X(too_many_operations, invalid, 422)    \
  X(dependency_cycle, invalid, 422)       \
  X(dependency_refused, invalid, 422)     \
  X(strategy_refused, invalid, 422)       \
  X(wallet_not_empty, invalid, 422)       \
  X(anchor_malformed, invalid, 422)       \
  X(options_invalid, invalid, 422)        \
  X(handle_invalid, invalid, 422)         \
  /* Archives and artifacts. */           \
  X(archive_refused, invalid, 422)        \
  X(content_mismatch, invalid, 422)       \
  /* Transfers. */                        \
  X(legs_out_of_range, invalid, 422)      \
  X(sum_not_zero, invalid, 422)           \
  /* Rights, funds, policy. */            \
  X(unauthorized, refused, 401)           \
  X(signature_invalid, refused, 401)      \
  X(challenge_invalid, refused, 401)      \
  X(insufficient_balance, refused, 402)   \
  X(payment_insufficient, refused, 402)   \
  X(payment_required, refused, 402)       \
  X(payment_invalid, refused, 402)        \
  X(not_your_wallet, refused, 403)        \
  X(operator_only, refused, 403)          \
  X(human_only, refused, 403)             \
  X(not_the_host, refused, 403)           \
  X(not_whitelisted, refused, 403)        \
  X(signature_needed, refused, 403)       \
  X(wallet_not_active, refused, 403)      \
  X(bare_host_refused, refused, 403)      \
  X(gpu_not_allowed, refused, 403)        \
  X(spend_cap_per_job, refused, 403)      \
  X(spend_cap_per_hour, refused, 403)     \
  X(budget_spent, refused, 403)           \
  X(key_limited, refused, 403)            \
  X(approval_required, refused, 403)      \
  /* Things that are not there. */        \
  X(wallet_unknown, not_found, 404)       \
  X(job_unknown, not_found, 404)          \
  X(receipt_unknown, not_found, 404)      \
  X(approval_unknown, not_found, 404)     \
  X(key_unknown, not_found, 404)          \
  X(payout_unknown, not_found, 404)       \
  X(quote_unknown, not_found, 404)        \
  X(payment_unknown, not_found, 404)      \
  X(waitlist_unknown, not_found, 404)     \
  X(checkpoint_unknown, not_found, 404)   \
  X(recipe_unknown, not_found, 404)       \
  X(task_unknown, not_found, 404)         \
  X(artifact_unknown, not_found, 404)     \
  X(upload_unknown, not_found, 404)       \
  X(project_unknown, not_found, 404)      \
  X(kv_unknown, not_found, 404)           \
  X(route_unknown, not_found, 404)        \
  X(method_not_allowed, invalid, 405)     \
  /* What stands already. */              \
  X(job_id_reused, conflict, 409)         \
  X(already_settled, conflict, 409)       \
  X(escrow_released, conflict, 409)       \
  X(job_burned, conflict, 409)            \
  X(job_ambiguous, conflict, 409)         \
  X(key_reused, conflict, 409)            \
  X(approval_decided, conflict, 409)      \
  X(payout_decided, conflict, 409)        \
  X(quote_paid, conflict, 409)            \
  X(quote_failed, conflict, 409)          \
  X(payment_reused, conflict, 409)        \
  X(waitlist_decided, conflict, 409)      \
  X(wallet_exists, conflict, 409)         \
  X(grant_taken, conflict, 409)           \
  X(grants_exhausted, conflict, 409)      \
  X(job_escrow, conflict, 409)            \
  X(lease_lost, conflict, 409)            \
  X(project_exists, conflict, 409)        \
  X(project_not_ready, conflict, 409)     \
  X(kv_changed, conflict, 409)            \
  X(not_reproducible, conflict, 409)      \
  X(escrow_expired, conflict, 410)        \
  X(approval_expired, conflict, 410)      \
  X(quote_expired, conflict, 410)         \
  /* What must wait. */                   \
  X(too_many_approvals, unavailable, 429) \
  X(too_many_quotes, unavailable, 429)    \
  X(too_many_wallets, unavailable, 429)   \
  X(too_many_nonces, unavailable, 429)    \
  X(too_much_feedback, unavailable, 429)  \
  X(feedback_full, unavailable, 507)      \
  /* The store. */                        \
  X(store_busy, unavailable, 503)         \
  X(disk_full, unavailable, 503)          \
  X(io_error, unavailable, 503)           \
  X(no_memory, unavailable, 503)          \
  X(signer_failed, unavailable, 503)      \
  X(read_only, unsupported, 503)          \
  X(forked, unavailable, 503)             \
  X(closed, unavailable, 503)             \
  X(outcome_unknown, unknown, 503)        \
  X(path_refused, invalid, 422)           \
  X(file_missing, not_found, 404)         \
  X(keys_missing, unavailable, 503)       \
  X(keys_foreign, corrupt, 500)           \
  X(file_newer, unsupported, 503)         \
  X(not_a_market, corrupt, 500)           \
  X(corrupt, corrupt, 500)                \
  X(stopped, stopped, 503)                \
  X(unsupported, unsupported, 501)        \
  X(not_built, unsupported, 501)          \
  X(internal, internal, 500)

/// What happened: one word for each way to fail.
enum class Reason : std::uint16_t {
#define CALYX_REASON_WORD(word, status, http) word,
  CALYX_REASONS(CALYX_REASON_WORD)
#undef CALYX_REASON_WORD
};

/// A reason's fixed facts.
struct ReasonFacts {
  std::string_view word;
  Status status;
  int http;
};

inline constexpr ReasonFacts reason_table[] = {
#define CALYX_REASON_ROW(word, status, http) {#word, Status::status, http},
    CALYX_REASONS(CALYX_REASON_ROW)
#undef CALYX_REASON_ROW
};
inline constexpr std::size_t reasons = std::size(reason_table);

constexpr const ReasonFacts& facts(Reason reason) noexcept {
  return reason_table[static_cast<std::size_t>(reason)];
}
constexpr std::string_view word(Reason reason) noexcept { return facts(reason).word; }

inline constexpr std::array<std::string_view, 11> status_words = {
    "ok",      "invalid",     "not_found", "conflict", "refused", "unavailable",
    "stopped", "unsupported", "corrupt",   "internal", "unknown"};
constexpr std::string_view word(Status status) noexcept {
  return status_words[static_cast<std::size_t>(status)];
}

}  // namespace calyx
