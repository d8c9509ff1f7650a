// What a facilitator answers: which of its words move money here, and which only wait.
//
// An input's first line says what was asked, of whom, and with which HTTP status it was answered ("settle evm
// 200"); the rest is the answer's body.
#include "calyx/facilitator.hpp"

#include <calyx/core/encoding.hpp>
#include <calyx/core/field.hpp>
#include <charconv>
#include <string>
#include <string_view>

#include "fuzz.hpp"
#include "json/reader.hpp"

namespace calyx::fuzz {

namespace {

/// What an answer is about. It waits to be settled, and any other payer's, network's or amount's is not it.
VerifiedPayment facilitated_payment(bool is_evm) {
  VerifiedPayment out;
  out.protocol = PaymentProtocol::x402_v2;
  out.network = is_evm ? "eip155:8453" : "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
  out.payer =
      is_evm ? "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266" : "CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8";
  out.pay_to =
      is_evm ? "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc" : "CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8";
  out.nonce = "n";
  out.amount = "1000000";
  out.credit = Money{100'000'000};
  out.payload = core::base64(R"({"x402Version":2,"accepted":{"scheme":"exact"},"payload":{}})");
  return out;
}

struct FacilitatorCase {
  bool settles = false, is_evm = true;
  int status = 200;
  std::string_view body;
};

FacilitatorCase facilitator_case(std::string_view input) {
  const auto lines = pieces_of(input, 2);
  const auto words = pieces_of(lines[0], 3, ' ');
  FacilitatorCase out;
  out.settles = words[0] == "settle";
  out.is_evm = words[1] != "solana";
  std::from_chars(words[2].data(), words[2].data() + words[2].size(), out.status);
  out.body = lines[1];
  return out;
}

/// What a facilitator that answers so is taken to have said; a settlement is the first try, after a good
/// word.
SettlementAnswer taken_for(const FacilitatorCase& of, bool first) {
  std::string body(R"({"isValid":true})");
  int status = 200;
  FacilitatorOptions options;
  options.url = "https://facilitator.example";
  options.send = [&](const FacilitatorRequest&) {
    return std::optional<FacilitatorReply>(FacilitatorReply{status, body});
  };
  options.sleep = [](std::int64_t) {};
  options.random = [] { return std::uint64_t{0}; };
  options.now_ms = [] { return std::int64_t{1'000'000}; };
  const auto facilitator = Facilitator::open(options).value();
  const VerifiedPayment payment = facilitated_payment(of.is_evm);
  if (of.settles && first)
    demand(facilitator->verify(payment).outcome == SettlementOutcome::valid, "a good word is one");
  body = of.body;
  status = of.status;
  return of.settles ? facilitator->settle("pmt_1", payment) : facilitator->verify(payment);
}

std::string_view said_text(const core::json::Value& in, std::string_view name) {
  const core::json::Value* const found = in.find(name);
  return found == nullptr || found->string() == nullptr ? std::string_view() : *found->string();
}

bool said_bool(const core::json::Value& in, std::string_view name, bool wanted) {
  const core::json::Value* const found = in.find(name);
  return found != nullptr && found->boolean() != nullptr && *found->boolean() == wanted;
}

}  // namespace

void target::facilitator(std::string_view input) {
  const FacilitatorCase of = facilitator_case(input);
  const SettlementAnswer answer = taken_for(of, true);
  const SettlementAnswer again = taken_for(of, true);
  demand(answer.outcome == again.outcome && answer.transaction == again.transaction &&
             answer.reason == again.reason,
         "an answer is taken alike each time");
  demand(!answer.credit, "a payment is worth what it is itself, whatever is said of it");
  for (const std::string* text : {&answer.transaction, &answer.reason})
    for (const char c : *text)
      demand(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F, "no control character comes through");
  demand(answer.reason.size() <= 256 && answer.transaction.size() <= 256, "no text is without an end");

  const auto read = read_json(of.body, {16, facilitator_reply_max});
  const bool is_object = read.ok() && read->object() != nullptr;
  const bool says_yes = is_object && of.status >= 200 && of.status < 300 &&
                        said_bool(*read, of.settles ? "success" : "isValid", true);
  const bool says_no = is_object && said_bool(*read, of.settles ? "success" : "isValid", false);
  switch (answer.outcome) {
    case SettlementOutcome::settled: {
      demand(of.settles && says_yes, "money has moved where that was said, with a status that means it");
      const VerifiedPayment payment = facilitated_payment(of.is_evm);
      const std::string who(said_text(*read, "payer"));
      demand(who.empty() || (of.is_evm ? small_letters(who) : who) == payment.payer,
             "the payer is the payment's");
      const core::json::Value* const amount = read->find("amount");
      demand(amount == nullptr || amount->is_null() || said_text(*read, "amount") == payment.amount,
             "the amount is the payment's");
      const std::string transaction(said_text(*read, "transaction"));
      demand(!answer.transaction.empty() &&
                 (of.is_evm ? small_letters(transaction) : transaction) ==
                     (of.is_evm ? small_letters(answer.transaction) : answer.transaction),
             "the transaction is the one that was named");
      if (of.is_evm)
        demand(answer.transaction.size() == 66 && answer.transaction.starts_with("0x") &&
                   core::read_hex_bytes(answer.transaction).has_value() &&
                   answer.transaction == small_letters(answer.transaction),
               "a chain's transaction is a hash in one spelling");
      break;
    }
    case SettlementOutcome::valid: demand(!of.settles && says_yes, "good is what is called good"); break;
    case SettlementOutcome::refused:
      demand(says_no, "what was refused was refused in words");
      demand((of.status >= 200 && of.status < 300) || of.status == 400 || of.status == 402 ||
                 of.status == 412 || of.status == 422,
             "a status that speaks of who asks refuses no payment");
      if (of.settles)
        demand(said_text(*read, "transaction").find_first_not_of("0x") == std::string_view::npos,
               "what may have been sent to a chain is not refused");
      break;
    case SettlementOutcome::pending:
      demand(
          says_no && said_text(*read, of.settles ? "errorReason" : "invalidReason") == "settlement_pending",
          "only one word waits");
      break;
    default: break;
  }
  // Whoever is not the first to ask cannot know what an earlier try has moved.
  if (of.settles)
    demand(taken_for(of, false).outcome != SettlementOutcome::refused, "a refusal is the first try's alone");
}

}  // namespace calyx::fuzz
