#include <doctest/doctest.h>

#include <calyx/core/reason.hpp>
#include <calyx/core/result.hpp>
#include <memory>
#include <set>
#include <string>
#include <utility>

using namespace calyx;

namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(Reason::field_value, "odd", core::json::object({{"number", number}}));
  return number / 2;
}
Result<int> quarter(int number) {
  CALYX_TRY(const int once, half(number));
  CALYX_TRY(const int twice, half(once));
  return twice;
}
Result<Done> is_even(int number) {
  CALYX_CHECK(half(number));
  return Done{};
}

}  // namespace

TEST_CASE("every reason has a word of its own, a status and an HTTP code that agree") {
  std::set<std::string> words;
  for (std::size_t i = 0; i < reasons; ++i) {
    const auto reason = static_cast<Reason>(i);
    const ReasonFacts& row = facts(reason);
    CAPTURE(std::string(row.word));
    CHECK(words.insert(std::string(row.word)).second);
    CHECK_FALSE(row.word.empty());
    CHECK(row.word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos);
    CHECK(word(reason) == row.word);
    switch (row.status) {
      case Status::ok: CHECK(row.http == 200); break;
      case Status::invalid:
        CHECK((row.http == 400 || row.http == 405 || row.http == 413 || row.http == 416 || row.http == 422));
        break;
      case Status::not_found: CHECK(row.http == 404); break;
      case Status::conflict: CHECK((row.http == 409 || row.http == 410)); break;
      case Status::refused: CHECK((row.http == 401 || row.http == 402 || row.http == 403)); break;
      case Status::unavailable: CHECK((row.http == 429 || row.http == 503 || row.http == 507)); break;
      case Status::unknown: CHECK(row.http == 503); break;
      case Status::unsupported: CHECK((row.http == 501 || row.http == 503)); break;
      case Status::corrupt:
      case Status::internal: CHECK(row.http == 500); break;
      case Status::stopped: CHECK(row.word == "stopped"); break;
    }
  }
  CHECK(words.size() == reasons);
}

TEST_CASE("the statuses have the numbers that the C ABI promises") {
  const char* const expected[] = {"ok",      "invalid",     "not_found", "conflict", "refused", "unavailable",
                                  "stopped", "unsupported", "corrupt",   "internal", "unknown"};
  for (std::size_t i = 0; i < std::size(expected); ++i)
    CHECK(word(static_cast<Status>(static_cast<std::int32_t>(i))) == expected[i]);
  CHECK(static_cast<int>(Status::unknown) == 10);
}

TEST_CASE("the codes that the documents name are these") {
  struct Row {
    Reason reason;
    std::string word;
    int http;
  };
  const Row rows[] = {
      {Reason::archive_refused, "archive_refused", 422},
      {Reason::content_mismatch, "content_mismatch", 422},
      {Reason::range_unsatisfiable, "range_unsatisfiable", 416},
      {Reason::artifact_unknown, "artifact_unknown", 404},
      {Reason::upload_unknown, "upload_unknown", 404},
      {Reason::not_built, "not_built", 501},
      {Reason::unauthorized, "unauthorized", 401},
      {Reason::insufficient_balance, "insufficient_balance", 402},
      {Reason::gpu_not_allowed, "gpu_not_allowed", 403},
      {Reason::spend_cap_per_job, "spend_cap_per_job", 403},
      {Reason::spend_cap_per_hour, "spend_cap_per_hour", 403},
      {Reason::approval_required, "approval_required", 403},
      {Reason::wallet_not_active, "wallet_not_active", 403},
      {Reason::not_your_wallet, "not_your_wallet", 403},
      {Reason::not_the_host, "not_the_host", 403},
      {Reason::wallet_unknown, "wallet_unknown", 404},
      {Reason::job_unknown, "job_unknown", 404},
      {Reason::receipt_unknown, "receipt_unknown", 404},
      {Reason::route_unknown, "route_unknown", 404},
      {Reason::job_id_reused, "job_id_reused", 409},
      {Reason::already_settled, "already_settled", 409},
      {Reason::escrow_released, "escrow_released", 409},
      {Reason::job_burned, "job_burned", 409},
      {Reason::job_ambiguous, "job_ambiguous", 409},
      {Reason::key_reused, "key_reused", 409},
      {Reason::quote_unknown, "quote_unknown", 404},
      {Reason::payment_unknown, "payment_unknown", 404},
      {Reason::payment_insufficient, "payment_insufficient", 402},
      {Reason::payment_required, "payment_required", 402},
      {Reason::payment_invalid, "payment_invalid", 402},
      {Reason::payment_malformed, "payment_malformed", 400},
      {Reason::too_many_quotes, "too_many_quotes", 429},
      {Reason::too_many_wallets, "too_many_wallets", 429},
      {Reason::too_many_nonces, "too_many_nonces", 429},
      {Reason::signature_invalid, "signature_invalid", 401},
      {Reason::challenge_invalid, "challenge_invalid", 401},
      {Reason::not_whitelisted, "not_whitelisted", 403},
      {Reason::wallet_exists, "wallet_exists", 409},
      {Reason::signature_needed, "signature_needed", 403},
      {Reason::quote_paid, "quote_paid", 409},
      {Reason::quote_failed, "quote_failed", 409},
      {Reason::payment_reused, "payment_reused", 409},
      {Reason::quote_expired, "quote_expired", 410},
      {Reason::escrow_expired, "escrow_expired", 410},
      {Reason::approval_expired, "approval_expired", 410},
      {Reason::too_large, "too_large", 413},
      {Reason::gross_above_locked, "gross_above_locked", 422},
      {Reason::agent_needs_parent, "agent_needs_parent", 422},
      {Reason::too_many_approvals, "too_many_approvals", 429},
      {Reason::store_busy, "store_busy", 503},
      {Reason::disk_full, "disk_full", 503},
      {Reason::outcome_unknown, "outcome_unknown", 503},
      {Reason::internal, "internal", 500},
      {Reason::corrupt, "corrupt", 500},
  };
  for (const Row& row : rows) {
    CAPTURE(row.word);
    CHECK(word(row.reason) == row.word);
    CHECK(facts(row.reason).http == row.http);
  }
}

TEST_CASE("a result is a value or an error, and an error goes up as it is") {
  CHECK(quarter(12).value() == 3);
  CHECK(quarter(12).reason() == Reason::none);
  const Result<int> failed = quarter(6);
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.reason() == Reason::field_value);
  CHECK(failed.error().status() == Status::invalid);
  CHECK(failed.error().message == "odd");
  CHECK(core::json::text(failed.error().details) == R"({"number":3})");
  CHECK(is_even(2).ok());
  CHECK(is_even(3).reason() == Reason::field_value);
}

TEST_CASE("asking an error for its value throws what it says") {
  CHECK_THROWS_WITH_AS(static_cast<void>(half(1).value()), "field_value: odd", Failure);
  try {
    static_cast<void>(half(1).value());
    FAIL("no exception");
  } catch (const Failure& failure) {
    CHECK(failure.error().reason == Reason::field_value);
  }
}

TEST_CASE("a value that can only be moved is moved out") {
  Result<std::unique_ptr<int>> held(std::make_unique<int>(7));
  const std::unique_ptr<int> out = std::move(held).value();
  CHECK(*out == 7);
}
