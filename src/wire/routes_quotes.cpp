// Quotes, and the one 402 that x402's and MPP's clients answer.
#include <calyx/payments.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

Result<QuoteId> quote_id(const Call& call) {
  if (const std::optional<QuoteId> id = QuoteId::read(call.id)) return *id;
  json::Object details;
  if (const auto said = sayable(call.id)) details.set("quote_id", *said);
  return fail(Reason::quote_unknown, "no quote has such an id", std::move(details));
}

std::string pay_path(QuoteId id) { return "/api/v1/account/quotes/" + id.text() + "/pay/x402"; }

void append_payment(std::string& out, const Payment& payment) {
  Members(out)
      .id("payment_id", payment.id)
      .text("status", word(payment.status))
      .boolean("surplus", payment.surplus)
      .text("protocol", word(payment.facts.protocol))
      .text("network", std::string_view(payment.facts.network))
      .text("asset", std::string_view(payment.facts.asset))
      .text("payer", std::string_view(payment.facts.payer))
      .text("amount", std::string_view(payment.facts.amount))
      .money("credit", payment.facts.credit)
      .text_or_null("transaction", payment.transaction)
      .money("credited",
             payment.status == PaymentStatus::paid ? std::optional(payment.credited) : std::nullopt)
      .id("txn_id", payment.txn)
      .text_or_null("error", payment.error)
      .instant("created_at", payment.created_at)
      .instant("ended_at", payment.ended_at)
      .close();
}

void append_quote(std::string& out, const Quote& quote) {
  Members members(out);
  members.id("quote_id", quote.id)
      .id("wallet_id", quote.wallet)
      .text("kind", word(quote.kind))
      .text("status", word(quote.status))
      .money("amount", quote.amount)
      .text("unit", std::string_view("FLOPS"))
      .instant("created_at", quote.created_at)
      .instant("expires_at", quote.expires_at)
      .text("pay", std::string_view(pay_path(quote.id)))
      .begin("payments");
  append_list(out, quote.payments, [&](const Payment& payment) { append_payment(out, payment); });
  members.close();
}

Response quote_response(int status, const Quote& quote, bool replayed = false) {
  std::string out;
  append_quote(out, quote);
  return json_response(status, std::move(out), replayed ? Replay::again : Replay::first);
}

/// The header that an answer to a payment in `header` has.
constexpr std::string_view response_header(PaymentHeader header) noexcept {
  switch (header) {
    case PaymentHeader::x_payment: return "X-PAYMENT-RESPONSE";
    case PaymentHeader::payment_signature: return "PAYMENT-RESPONSE";
    case PaymentHeader::authorization:
    case PaymentHeader::payment_authorization: break;
  }
  return "Payment-Receipt";
}

/// Whether `value`, without blanks around it, is of the scheme `Payment`.
bool is_payment_scheme(std::string_view value) noexcept {
  return same_ignoring_case(value.substr(0, value.find_first_of(" \t")), "Payment");
}

/// The payment that a request brings, or nothing. Fails: `malformed_header`; `payment_malformed` when there
/// are two, of which only one could be meant.
Result<std::optional<PaymentWords>> payment_in(const Request& request) {
  struct Place {
    const char* name;
    PaymentHeader header;
  };
  constexpr Place places[] = {{"X-PAYMENT", PaymentHeader::x_payment},
                              {"PAYMENT-SIGNATURE", PaymentHeader::payment_signature},
                              {"Payment-Authorization", PaymentHeader::payment_authorization}};
  std::optional<PaymentWords> out;
  bool several = false;
  const auto take = [&](PaymentHeader header, std::string_view text) {
    several = several || (out && (out->header != header || out->text != text));
    out = PaymentWords{.header = header, .text = text};
  };
  for (const Place& place : places) {
    CALYX_TRY(const std::optional<std::string_view> given, header(request, place.name));
    if (given) take(place.header, *given);
  }
  // A key may stand in `Authorization` beside a payment elsewhere.
  for (const HeaderField& field : request.headers)
    if (same_ignoring_case(field.name, "Authorization") && is_payment_scheme(without_blanks(field.value)))
      take(PaymentHeader::authorization, without_blanks(field.value));
  if (several)
    return fail(Reason::payment_malformed, "two headers bring a payment: one pays",
                json::object({{"code", "invalid_payload"}}));
  return out;
}

bool key_in_authorization(const Request& request) {
  for (const HeaderField& field : request.headers)
    if (same_ignoring_case(field.name, "Authorization") && !is_payment_scheme(without_blanks(field.value)))
      return true;
  return false;
}

/// The 402 of the quote `id`: `why` in calyx's words beside those of the protocols.
Result<Response> payable(Call& call, QuoteId id, const Error& why) {
  PaymentAsk ask;
  const std::string path = pay_path(id);
  ask.resource = path;
  ask.key_in_authorization = key_in_authorization(call.request);
  if (const json::Value* const code = why.details.find("code"); code != nullptr && code->string() != nullptr)
    ask.error = *code->string();
  if (!ask.error.empty()) ask.detail = why.message;
  CALYX_TRY(PaymentChallenge challenge, call.session->payment_challenge(id, ask));
  json::Object body = *challenge.body.object();
  body.set("code", word(why.reason));
  body.set("message", why.message);
  body.set("details", why.details.object() != nullptr ? why.details : json::Value(json::Object{}));
  Response out;
  out.status = facts(Reason::payment_required).http;
  out.headers = {{"Content-Type", "application/problem+json"},
                 {"Cache-Control", "no-store"},
                 {"PAYMENT-REQUIRED", std::move(challenge.payment_required)}};
  for (std::string& one : challenge.www_authenticate)
    out.headers.push_back({"WWW-Authenticate", std::move(one)});
  json::append_text(out.body, json::Value(std::move(body)));
  return out;
}

}  // namespace

void offer_quote(Session& session, Error& error) {
  if (error.reason != Reason::insufficient_balance) return;
  const json::Value* const wallet = error.details.find("wallet_id");
  const json::Value* const shortfall = error.details.find("shortfall");
  if (wallet == nullptr || wallet->string() == nullptr || shortfall == nullptr) return;
  const auto id = WalletId::read(*wallet->string());
  const core::MoneyReading lacks = core::read_money(json::text(*shortfall));
  const Result<PaymentTerms> terms = session.payment_terms();
  if (!id || lacks.fault != core::MoneyFault::none || !terms.ok() || terms->networks.empty()) return;
  const Result<Quote> quote =
      session.quote_topup({.wallet = *id, .amount = lacks.money, .kind = QuoteKind::shortfall});
  // The refusal stands by itself where no quote is given, or none could be paid.
  if (!quote.ok() || !session.payment_challenge(quote->id).ok()) return;
  error.details.object()->set("quote", json::object({{"quote_id", quote->id.text()},
                                                     {"amount", *shortfall},
                                                     {"expires_at", core::iso_text(quote->expires_at)},
                                                     {"pay", pay_path(quote->id)}}));
}

Result<Response> list_quotes(Call& call) {
  std::optional<WalletId> wallet;
  Page page;
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(page, read_page(query));
  CALYX_TRY(wallet, account_of(call, query));
  CALYX_CHECK(query.done());
  CALYX_TRY(const Listed<Quote> listed, call.session->quotes(*wallet, page));
  return json_response(200, page_text(listed, append_quote));
}

Result<Response> quote_topup(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  QuoteTopup asked;
  std::optional<WalletId> wallet = call.session->principal().wallet;
  std::optional<std::int64_t> lasts_s;
  fields.read("amount", asked.amount);
  fields.read("wallet_id", wallet);
  fields.read("expires_in_s", lasts_s);
  CALYX_CHECK(fields.done());
  if (!wallet)
    return field_fault(Reason::field_value, "/wallet_id",
                       "names nobody, and an operator has no account of its own");
  asked.wallet = *wallet;
  if (lasts_s) asked.lasts_s = *lasts_s;
  CALYX_TRY(asked.idempotency_key, idempotency_key(call.request));
  CALYX_TRY(const Quote quote, call.session->quote_topup(asked));
  return quote_response(201, quote, quote.replayed);
}

Result<Response> get_quote(Call& call) {
  CALYX_TRY(const QuoteId id, quote_id(call));
  CALYX_TRY(const Quote quote, call.session->quote(id));
  return quote_response(200, quote);
}

Result<Response> pay_quote(Call& call) {
  CALYX_TRY(const QuoteId id, quote_id(call));
  CALYX_TRY(const std::optional<PaymentWords> words, payment_in(call.request));
  if (!words) return payable(call, id, fail(Reason::payment_required, "the quote waits for its payment"));
  const Result<PaymentAnswer> answer = call.session->pay_quote(id, *words);
  if (answer.reason() == Reason::payment_invalid || answer.reason() == Reason::payment_insufficient)
    return payable(call, id, answer.error());
  if (!answer.ok()) return answer.error();

  Response out;
  if (answer->payment.status == PaymentStatus::failed) {
    out = error_response(fail(Reason::payment_invalid, "the payment did not settle: ask for another quote",
                              json::object({{"code", answer->payment.error},
                                            {"payment_id", answer->payment.id.text()},
                                            {"quote_id", id.text()}})));
  } else {
    CALYX_TRY(const Quote quote, call.session->quote(id));
    out = quote_response(is_terminal(answer->payment.status) ? 200 : 202, quote, answer->payment.replayed);
  }
  out.headers.push_back({"Cache-Control", "private"});
  if (!answer->response.empty())
    out.headers.push_back({std::string(response_header(words->header)), answer->response});
  return out;
}

}  // namespace calyx::wire
