/// \file
/// x402's headers, in and out: base 64 and JSON to values that `core/x402.hpp` judges, and back.
///
/// Start at `read_x402_payment`. Nothing here knows of quotes or of the ledger.
///
/// Threads: any.
#pragma once

#include <calyx/core/x402.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::payments {

/// The most that a header's text may be. Units: bytes. Real ones are below 2,000; a contract wallet's
/// signature may have some thousands.
inline constexpr std::size_t x402_header_bytes_max = std::size_t{16} << 10;

/// Which header a payment came in.
enum class X402Header : std::uint8_t {
  x_payment,          ///< `X-PAYMENT`, version 1.
  payment_signature,  ///< `PAYMENT-SIGNATURE`, version 2.
};

/// A payment, or why there is none.
struct X402Reading {
  core::x402::Verdict verdict = core::x402::Verdict::ok;  ///< `ok`, `malformed`, `version` or `scheme`.
  core::x402::Payment payment;                            ///< As far as it was read.
  std::string pointer;  ///< Where the fault stands in the JSON; empty: base 64, or the JSON itself.
};

/// Reads the header `text`: standard base 64 with its padding, then strict JSON.
///
/// Amounts and instants are strings of decimal digits without a leading zero; addresses pass EIP-55; a nonce
/// has 32 octets. Members that the version does not name are passed over, since later clients add some; so
/// are extensions, but for the id of `payment-identifier`, which has to be one.
X402Reading read_x402_payment(std::string_view text, X402Header header);

/// The body of a 402 of version 1: the entries of `offered` that its client can pay.
core::json::Value x402_v1_challenge(std::string_view error,
                                    const std::vector<core::x402::Requirement>& offered);

/// What a 402 of version 2 says. `error` may be empty, and `extensions` null: they are left out.
struct X402Challenge {
  std::string_view error;
  std::vector<core::x402::Requirement> offered;  ///< The first one's resource is that of all.
  core::json::Value extensions;
};

/// The value of the header `PAYMENT-REQUIRED`.
std::string x402_payment_required(const X402Challenge& challenge);

/// How a settlement ended, for the client.
struct X402Settlement {
  std::string_view error;  ///< The wire's code; empty: it went well.
  std::string_view transaction;
  std::string_view network;  ///< As the client wrote it.
  std::string_view payer;    ///< Empty: left out.
};

/// The value of the header `X-PAYMENT-RESPONSE` (version 1) or `PAYMENT-RESPONSE` (version 2).
///
/// Version 1's client refuses a transaction that does not look like a hash, the empty one of a failure
/// included: without one its header has 32 zero octets.
std::string x402_payment_response(const X402Settlement& settlement, int version);

}  // namespace calyx::payments
