#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

template <class Asked>
using Reader = Result<Asked> (*)(Fields&, WalletId);

/// Whether the header `Idempotency-Key` is the operation's: what has a `job_id` needs no other key.
template <class Asked>
concept Keyed = requires(Asked asked) {
  asked.idempotency_key;
};

template <class Asked>
Result<Asked> asked_in(const Call& call, WalletId wallet, Reader<Asked> read) {
  CALYX_TRY(const core::json::Value body, read_body(call.request));
  Fields fields(body);
  CALYX_TRY(Asked asked, read(fields, wallet));
  if constexpr (Keyed<Asked>) {
    CALYX_TRY(asked.idempotency_key, idempotency_key(call.request));
  }
  return asked;
}

/// The one path of every operation on the wallet that the target names.
template <class Asked, class Answer>
Result<Response> operate(Call& call, Right right, Reader<Asked> read,
                         Result<Answer> (Session::*operation)(const Asked&), int status = 200) {
  CALYX_TRY(const WalletId wallet, wallet_id(call));
  const Result<Asked> asked = asked_in(call, wallet, read);
  if (!asked.ok()) return first_fault(*call.session, wallet, right, asked.error());
  CALYX_TRY(const Answer answer, ((*call.session).*operation)(*asked));
  return json_response(status, json_text(answer), answer.replayed ? Replay::again : Replay::first);
}

template <class Answer>
Replay replay(const Answer& answer) {
  return answer.replayed ? Replay::again : Replay::first;
}

Result<PayoutRequest> read_payout(Fields& fields, WalletId wallet) {
  PayoutRequest asked;
  asked.wallet = wallet;
  fields.read("amount", asked.amount);
  fields.read("destination", asked.destination);
  CALYX_CHECK(fields.done());
  return asked;
}

}  // namespace

Result<Response> topup(Call& call) { return operate(call, Right::operate, read_topup, &Session::topup); }
Result<Response> transfer(Call& call) {
  return operate(call, Right::spend, read_transfer, &Session::transfer);
}
Result<Response> spend(Call& call) { return operate(call, Right::spend, read_spend, &Session::spend); }
Result<Response> earn(Call& call) { return operate(call, Right::spend, read_earn, &Session::earn); }
Result<Response> release(Call& call) { return operate(call, Right::spend, read_release, &Session::release); }
Result<Response> request_payout(Call& call) {
  return operate(call, Right::spend, read_payout, &Session::request_payout, 202);
}

Result<Response> get_payout(Call& call) {
  CALYX_TRY(const PayoutId id, payout_id(call));
  CALYX_TRY(const Payout payout, call.session->payout(id));
  return json_response(200, json_text(payout));
}

Result<Response> list_payouts(Call& call) {
  CALYX_TRY(const WalletId id, wallet_id(call));
  const Result<Page> page = read_page(call);
  if (!page.ok()) return first_fault(*call.session, id, Right::read, page.error());
  CALYX_TRY(const Listed<Payout> listed, call.session->payouts(id, *page));
  return json_response(200, page_text(listed));
}

Result<Response> confirm_payout(Call& call) {
  CALYX_TRY(const PayoutId id, payout_id(call));
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const Payout payout, call.session->confirm_payout(id, once));
  return json_response(200, json_text(payout), replay(payout));
}

Result<Response> fail_payout(Call& call) {
  CALYX_TRY(const PayoutId id, payout_id(call));
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const Payout payout, call.session->fail_payout(id, once));
  return json_response(200, json_text(payout), replay(payout));
}

Result<Response> grant(Call& call) {
  CALYX_TRY(const core::json::Value body, read_body(call.request));
  WalletId wallet;
  Fields fields(body);
  fields.read("wallet_id", wallet);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  CALYX_TRY(const Granted granted, call.session->grant(wallet, once));
  return json_response(200, json_text(granted), replay(granted.moved));
}

}  // namespace calyx::wire
