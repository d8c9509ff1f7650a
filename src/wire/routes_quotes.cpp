// Quotes, and the one 402 that x402's and MPP's clients answer.
#include <calyx/payments.hpp>
#include <functional>

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

/// What a 402 at `path` says of the last payment, which is `why`.
PaymentAsk ask_of(const Call& call, std::string_view path, const Error& why, std::string_view network = {}) {
  PaymentAsk ask;
  ask.resource = path;
  ask.network = network;
  ask.key_in_authorization = key_in_authorization(call.request);
  if (const json::Value* const code = why.details.find("code"); code != nullptr && code->string() != nullptr)
    ask.error = *code->string();
  if (!ask.error.empty()) ask.detail = why.message;
  return ask;
}

/// A 402: what calyx `says` beside the words of the protocols. Of a call that was `refused` it says that as
/// all refusals do, in place of version 1's text.
Response payable(PaymentChallenge challenge, const Error& says, bool refused = false) {
  json::Object body = *challenge.body.object();
  json::Object words;
  words.set("code", word(says.reason));
  words.set("message", says.message);
  words.set("details", says.details.object() != nullptr ? says.details : json::Value(json::Object{}));
  if (refused) {
    body.set("error", std::move(words));
  } else {
    for (const json::Member& member : words) body.set(member.key, member.value);
  }
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

/// The 402 of the quote `id`, which is paid at `path`.
Result<Response> payable(Call& call, QuoteId id, std::string_view path, const Error& why,
                         std::string_view network = {}) {
  CALYX_TRY(PaymentChallenge challenge,
            call.session->payment_challenge(id, ask_of(call, path, why, network)));
  return payable(std::move(challenge), why);
}

/// Whether another payment may do what the refused one did not.
constexpr bool may_pay_again(Reason reason) noexcept {
  return reason == Reason::payment_invalid || reason == Reason::payment_insufficient;
}

/// Whether nothing can be paid at a quote any more.
constexpr bool is_over(Reason reason) noexcept {
  return reason == Reason::quote_expired || reason == Reason::quote_failed || reason == Reason::quote_paid;
}

Response did_not_settle(const PaymentAnswer& answer) {
  return error_response(fail(Reason::payment_invalid, "the payment did not settle: ask for another quote",
                             json::object({{"code", answer.payment.error},
                                           {"payment_id", answer.payment.id.text()},
                                           {"quote_id", answer.payment.quote.text()}})));
}

Error still_settles(const PaymentAnswer& answer) {
  return fail(
      Reason::outcome_unknown, "the payment still settles: make the same call again, with it",
      json::object({{"payment_id", answer.payment.id.text()}, {"quote_id", answer.payment.quote.text()}}));
}

/// `out` as the answer to a payment.
Response paid_response(Response out, const PaymentAnswer& answer, const PaymentWords& words) {
  // A 402 says already that it is not to be stored.
  const bool said = std::any_of(out.headers.begin(), out.headers.end(),
                                [](const HeaderField& field) { return field.name == "Cache-Control"; });
  if (!said) out.headers.push_back({"Cache-Control", "private"});
  if (!answer.response.empty())
    out.headers.push_back({std::string(response_header(words.header)), answer.response});
  return out;
}

Result<WalletId> own_wallet(const Call& call) {
  if (const auto& wallet = call.session->principal().wallet) return *wallet;
  return field_fault(Reason::field_value, "/wallet_id", "an operator has no account of its own");
}

/// As the machines' interface counts: in dollars, rounded down to the micro-dollar.
constexpr Money in_dollars(Money money) noexcept { return {money.micro / core::flops_per_usd}; }

/// Dollars to the cent, rounded down.
std::string dollars(Money money) {
  constexpr std::int64_t micro_per_cent = core::micro_per_flops / 100;
  const Money exact = in_dollars(money);
  std::string out;
  core::append_money(out, Money{exact.micro - exact.micro % micro_per_cent}, 2);
  return out;
}

Response with_exact_balance(Response out, const Wallet& wallet) {
  std::string exact;
  core::append_money(exact, wallet.balance, 0);
  out.headers.push_back({"X-Calyx-Balance", std::move(exact)});
  return out;
}

/// What a refusal for want of balance says is missing, and in which wallet.
struct Lack {
  WalletId wallet;
  Money amount;
};
std::optional<Lack> lack_in(const Error& refused) {
  const json::Value* const wallet = refused.details.find("wallet_id");
  const json::Value* const shortfall = refused.details.find("shortfall");
  if (wallet == nullptr || wallet->string() == nullptr || shortfall == nullptr) return std::nullopt;
  const auto id = WalletId::read(*wallet->string());
  const core::MoneyReading lacks = core::read_money(json::text(*shortfall));
  if (!id || lacks.fault != core::MoneyFault::none) return std::nullopt;
  return Lack{*id, lacks.money};
}

/// `refused` with a quote of what is missing, and with `why` it is still to be paid in the words of the
/// protocols. It stands by itself where no quote is given, or none could be paid.
Response lacking(Call& call, const Error& refused, const Error& why) {
  Session& session = *call.session;
  const std::optional<Lack> lack = lack_in(refused);
  const Result<PaymentTerms> terms = session.payment_terms();
  if (!lack || !terms.ok() || terms->networks.empty()) return error_response(refused);
  const Result<Quote> quote =
      session.quote_topup({.wallet = lack->wallet, .amount = lack->amount, .kind = QuoteKind::shortfall});
  if (!quote.ok()) return error_response(refused);
  // Somebody else's wallet is paid for at its quote alone.
  const bool here = lack->wallet == session.principal().wallet;
  Error offers = refused;
  offers.details.object()->set("quote", json::object({{"quote_id", quote->id.text()},
                                                      {"amount", *refused.details.find("shortfall")},
                                                      {"expires_at", core::iso_text(quote->expires_at)},
                                                      {"pay", pay_path(quote->id)}}));
  Result<PaymentChallenge> challenge =
      session.payment_challenge(quote->id, ask_of(call, here ? call.path : pay_path(quote->id), why));
  if (!challenge.ok()) return error_response(refused);
  return here ? payable(*std::move(challenge), offers, true) : error_response(offers);
}

}  // namespace

IdempotencyKey key_of_payment(const Request& request) {
  const Result<std::optional<PaymentWords>> words = payment_in(request);
  if (!words.ok() || !*words) return {};
  return "payment-" + core::hex(output_hash((*words)->text));
}

bool says_who(const Request& request) noexcept {
  return is_signed(request) || key_in_authorization(request) ||
         std::any_of(request.headers.begin(), request.headers.end(),
                     [](const HeaderField& field) { return same_ignoring_case(field.name, "X-API-Key"); });
}

namespace {

/// Has `out`, an object, say the key of who paid with `answer`.
void add_management_key(Response& out, Engine& engine, const PaymentAnswer& answer) {
  if (out.stream != nullptr || out.body.size() < 2 || out.body.back() != '}') return;
  const Result<KeyIssued> issued = engine.issue_management_key(answer.payment.id);
  // A wallet that has all the keys it may have goes without another one.
  if (!issued.ok()) return;
  std::string members;
  Members(members)
      .text_or_null("management_api_key", issued->api_key)
      .text("management_api_key_id", std::string_view(uuid_text(issued->key.id)))
      .text("management_api_key_last4", std::string_view(issued->key.last4))
      .text("management_note",
            std::string_view(issued->replayed ? "the key was shown before, when it was made"
                                              : "keep this key: it is shown this once"))
      .close();
  out.body.pop_back();
  out.body.append(out.body.size() > 1 ? "," : "").append(members, 1, std::string::npos);
  out.headers.push_back({"Cache-Control", "no-store"});
}

}  // namespace

namespace {

/// Has `done` answer a call of `price` at `path` once what came with it has settled; until then it is told
/// how to pay.
Result<Response> once_paid(Call& call, Money price, std::string_view path,
                           const std::function<Result<Response>(const PaidCall&)>& done) {
  CALYX_TRY(const std::optional<PaymentWords> words, payment_in(call.request));
  const auto ask = [&](const Error& why) -> Result<Response> {
    CALYX_TRY(PaymentChallenge challenge, call.engine.payment_challenge(price, ask_of(call, path, why)));
    return payable(std::move(challenge), why);
  };
  if (!words)
    return ask(fail(Reason::payment_required, "the call is paid for with itself, or made with a key"));
  Result<PaidCall> paid = call.engine.pay_for_call(price, *words);
  if (may_pay_again(paid.reason())) return ask(paid.error());
  if (!paid.ok()) return std::move(paid).error();
  const PaymentAnswer& answer = paid->answer;
  if (answer.payment.status == PaymentStatus::failed) {
    CALYX_TRY(
        Response again,
        ask(fail(Reason::payment_invalid, "the payment did not settle: pay anew, by another id if it had one",
                 json::object({{"code", answer.payment.error}, {"payment_id", answer.payment.id.text()}}))));
    return paid_response(std::move(again), answer, *words);
  }
  if (!paid->session) return still_settles(answer);
  const Result<Response> out = done(*paid);
  if (may_pay_again(out.reason())) return ask(out.error());
  return paid_response(out.ok() ? *out : error_response(out.error()), answer, *words);
}

constexpr std::size_t resource_bytes_max = 1024;

}  // namespace

Result<Response> answer_for_price(Call& call, const Route& route) {
  CALYX_TRY(const Money price, route.price(call));
  Result<Response> out = once_paid(call, price, call.path, [&](const PaidCall& paid) -> Result<Response> {
    call.session = paid.session;
    const Result<Response> made = route.handle(call);
    Response done = made.ok() ? *made : error_response(made.error());
    const bool mpp = paid.answer.payment.facts.protocol == PaymentProtocol::mpp;
    if (mpp && done.status < 300) add_management_key(done, call.engine, paid.answer);
    return done;
  });
  // Where no payments are taken a key is what is missing.
  if (out.reason() == Reason::unsupported || out.reason() == Reason::not_built)
    return api_key(call.request).error();
  return out;
}

Result<Response> take_paid_call(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  Money price;
  std::string resource;
  fields.read("price", price);
  fields.read_optional("resource", resource);
  CALYX_CHECK(fields.done());
  if (!resource.empty() && (resource.front() != '/' || resource.size() > resource_bytes_max))
    return field_fault(Reason::field_value, "/resource",
                       "is no path with its leading slash, of 1024 bytes at most");
  return once_paid(call, price, resource, [price](const PaidCall& paid) -> Result<Response> {
    const Payment& payment = paid.answer.payment;
    // Of what came before the price was not judged.
    if (payment.credited < price)
      return fail(Reason::payment_insufficient, "the payment brought less than the call costs",
                  json::object({{"payment_id", payment.id.text()}}));
    // Its session may spend nothing once the payment's words begin nothing any more.
    const bool fresh = paid.session->principal().blocks->front().limits.budget != Money{};
    std::string out;
    Members members(out);
    members.id("wallet_id", payment.wallet).boolean("fresh", fresh).begin("payment");
    append_payment(out, payment);
    members.close();
    return json_response(200, std::move(out), payment.replayed ? Replay::again : Replay::first);
  });
}

Result<Response> answer_for_payment(Call& call, Handler handle, const Error& refused) {
  const std::optional<Lack> lack = lack_in(refused);
  CALYX_TRY(const std::optional<PaymentWords> words, payment_in(call.request));
  const Error waits = fail(Reason::payment_required, "the call waits for what its wallet lacks");
  if (!words || !lack || lack->wallet != call.session->principal().wallet)
    return lacking(call, refused, waits);
  const Result<PaymentAnswer> answer = call.session->pay_credits(lack->amount, *words, QuoteKind::shortfall);
  if (may_pay_again(answer.reason())) return lacking(call, refused, answer.error());
  // The quote that was asked for has had its payment, or its time: here is another one.
  if (is_over(answer.reason()))
    return lacking(
        call, refused,
        fail(Reason::payment_invalid, answer.error().message, json::object({{"code", "payment-expired"}})));
  // Who may not pay was refused for want of balance all the same.
  if (answer.reason() == Reason::key_limited || answer.reason() == Reason::too_many_quotes) return refused;
  if (!answer.ok()) return answer.error();
  if (answer->payment.status == PaymentStatus::failed)
    return paid_response(did_not_settle(*answer), *answer, *words);
  if (answer->payment.status != PaymentStatus::paid) return still_settles(*answer);
  Result<Response> again = handle(call);
  // Its money may be gone again, to somebody quicker.
  if (again.reason() == Reason::insufficient_balance)
    return paid_response(lacking(call, again.error(), waits), *answer, *words);
  return paid_response(again.ok() ? *std::move(again) : error_response(again.error()), *answer, *words);
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
  if (!words)
    return payable(call, id, pay_path(id), fail(Reason::payment_required, "the quote waits for its payment"));
  const Result<PaymentAnswer> answer = call.session->pay_quote(id, *words);
  if (may_pay_again(answer.reason())) return payable(call, id, pay_path(id), answer.error());
  if (!answer.ok()) return answer.error();
  if (answer->payment.status == PaymentStatus::failed)
    return paid_response(did_not_settle(*answer), *answer, *words);
  CALYX_TRY(const Quote quote, call.session->quote(id));
  return paid_response(
      quote_response(is_terminal(answer->payment.status) ? 200 : 202, quote, answer->payment.replayed),
      *answer, *words);
}

Result<Response> get_credits(Call& call) {
  CALYX_TRY(const WalletId id, own_wallet(call));
  CALYX_TRY(const Wallet wallet, call.session->wallet(id));
  CALYX_TRY(const Money deposited, call.session->paid_in(id));
  const Money there{wallet.balance.micro + wallet.held.micro};
  // What other ways brought it is no deposit, and may cover what was spent.
  const Money spent{std::max<std::int64_t>(deposited.micro - there.micro, 0)};
  std::string out;
  Members members(out);
  if (deposited.micro == 0 && there.micro == 0) {
    for (const char* name : {"balance", "total_deposited", "total_spent"}) members.integer(name, 0);
  } else {
    const auto address = core::request_signature::address_in(wallet.owner_id);
    const std::string id_text = id.text();
    const std::pair<const char*, std::string> texts[] = {{"wallet", std::string(address.value_or(id_text))},
                                                         {"balance", dollars(wallet.balance)},
                                                         {"total_deposited", dollars(deposited)},
                                                         {"total_spent", dollars(spent)}};
    for (const auto& [name, text] : texts) members.text(name, std::string_view(text));
  }
  members.close();
  return with_exact_balance(json_response(200, std::move(out)), wallet);
}

Result<Response> topup_credits(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  Money amount;
  std::string network;
  fields.read("amount", amount);
  fields.read("network", network);
  CALYX_CHECK(fields.done());
  CALYX_TRY(const WalletId id, own_wallet(call));
  // As yet in dollars.
  if (amount.micro < core::micro_per_flops)
    return field_fault(Reason::field_value, "/amount", "is below 1 dollar, the least that is taken");
  if (amount.micro > core::amount_max.micro / core::flops_per_usd)
    return field_fault(Reason::amount_out_of_range, "/amount", "is above what one amount may be");
  amount.micro *= core::flops_per_usd;
  if (network != "base" && network != "solana" && network != "megaeth")
    return field_fault(Reason::field_value, "/network", "takes base, solana or megaeth");

  CALYX_TRY(const std::optional<PaymentWords> words, payment_in(call.request));
  const auto ask_once_more = [&](const Error& why) -> Result<Response> {
    CALYX_TRY(const Quote quote,
              call.session->quote_topup({.wallet = id, .amount = amount, .kind = QuoteKind::credits}));
    return payable(call, quote.id, call.path, why, network);
  };
  if (!words)
    return ask_once_more(fail(Reason::payment_required, "credits are paid for with this very call"));
  const Result<PaymentAnswer> answer = call.session->pay_credits(amount, *words);
  if (may_pay_again(answer.reason())) return ask_once_more(answer.error());
  // MPP says 402 and a fresh challenge whatever became of the one that was answered.
  const bool mpp =
      words->header == PaymentHeader::authorization || words->header == PaymentHeader::payment_authorization;
  if (mpp && is_over(answer.reason()))
    return ask_once_more(
        fail(Reason::payment_invalid, answer.error().message, json::object({{"code", "payment-expired"}})));
  if (!answer.ok()) return answer.error();
  const Payment& payment = answer->payment;
  if (payment.status == PaymentStatus::failed) return paid_response(did_not_settle(*answer), *answer, *words);
  const bool paid = payment.status == PaymentStatus::paid;
  CALYX_TRY(const Wallet wallet, call.session->wallet(id));
  std::string out;
  Members(out)
      .boolean("success", paid)
      .money("deposited", in_dollars(payment.credited))
      .text("new_balance", std::string_view(dollars(wallet.balance)))
      .text_or_null("tx_hash", payment.transaction)
      .id("quote_id", payment.quote)
      .close();
  return with_exact_balance(paid_response(json_response(paid ? 200 : 202, std::move(out),
                                                        payment.replayed ? Replay::again : Replay::first),
                                          *answer, *words),
                            wallet);
}

}  // namespace calyx::wire
