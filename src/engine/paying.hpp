/// \file
/// What x402 and MPP ask for, what comes in answer, and how far that is believed; in whose name it is asked
/// is the caller's.
///
/// Start at `asked_of`, then `challenge_of` for the 402 and `judge` for the payment that follows.
#pragma once

#include <calyx/core/mpp.hpp>
#include <calyx/core/payment_terms.hpp>
#include <calyx/payments.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/market.hpp"

namespace calyx::engine {

/// What is asked, and in whose name.
struct AskedFor {
  Money amount{};
  Instant expires_at{};  ///< Until when MPP's challenge may be answered.
  std::string name{};    ///< Of a quote, or of a call, which MPP's challenge and Solana's memo repeat.
  bool of_call = false;  ///< Nothing is kept of what was asked: what is echoed says the name and the end.
};

/// All that a payment is judged by.
struct Asked {
  AskedFor what{};
  PaymentTerms terms{};
  Instant now{};
  std::vector<core::x402::Requirement> offered{};  ///< One a network of `terms`.
  std::string secret{};                            ///< Of MPP's challenges; empty: MPP is not offered.
  bool judges_contracts = false;                   ///< The backend does.
};

/// `what` at `resource`, by which no payment is judged; on `network` alone, if one is named. Fails:
/// `unsupported`, `not_built`, `amount_out_of_range`, as `Session::payment_challenge`.
Result<Asked> asked_of(Market& market, AskedFor what, std::string_view resource,
                       std::string_view network = {});

/// The 402. Fails: the random source.
Result<PaymentChallenge> challenge_of(const Asked& asked, const PaymentAsk& ask);

/// Fails: `payment_malformed`, `payment_invalid`, as `Session::pay_quote`; `amount_out_of_range`.
Result<VerifiedPayment> judge(const Asked& asked, const PaymentWords& words);
/// Why a payment of MPP is not accepted.
Error refused(const core::mpp::Verdict& verdict);

constexpr bool is_mpp(PaymentHeader header) noexcept {
  return header == PaymentHeader::authorization || header == PaymentHeader::payment_authorization;
}
/// The name that a challenge of MPP has as `member` of its `opaque`, `quote` or `call`; empty without one.
std::string name_in(const core::mpp::Challenge& challenge, const char* member);

/// What the client of a payment is told in a header of the answer.
std::string response_to(const Payment& payment, const PaymentWords& words);
/// Whether `payment` came in these words.
bool same_words(const Payment& payment, const PaymentWords& words);
/// Whether the signature in its payload may be a contract's alone, which nobody here can have judged.
bool signed_by_contract(const VerifiedPayment& payment);
/// What the client calls its payment, by `payment-identifier`, after the payer that it names; empty if it
/// does not.
std::string identifier_of(const PaymentWords& words);

}  // namespace calyx::engine
