/// \file
/// MPP, the `Payment` scheme of HTTP authentication: challenges that carry their own proof of origin, the
/// credentials that answer them, the judgement of an answer, receipts and problem documents.
///
/// Start at `issue` to ask for money, at `read_authorization` and `judge_challenge` when an answer comes, and
/// go on with `judge_evm_authorization` or `judge_solana_transaction`. A good verdict says that a payment was
/// authorized, not that it was made; and an id is good as often as it is shown, so whoever settles keeps ids
/// and payments under UNIQUE.
///
/// Sources: the drafts httpauth-payment, evm-charge and solana-charge, and what mppx 0.11 writes where they
/// leave room. HMAC, SHA-256 and signature checks come in as arguments.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/encoding.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/keccak256.hpp>
#include <calyx/core/receipt.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/solana.hpp>
#include <calyx/core/time.hpp>
#include <calyx/core/uint256.hpp>
#include <calyx/core/x402.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core::mpp {

/// The header that a credential comes in unless its challenge names the other one, which leaves this free for
/// an API key.
inline constexpr std::string_view usual_header = "Authorization";
inline constexpr std::string_view other_header = "Payment-Authorization";
/// The shortest secret that binds challenges. Units: octets.
inline constexpr std::size_t secret_bytes_min = 32;
/// The longest challenge that is issued, as a header's value; clients need not take more.
inline constexpr std::size_t challenge_bytes_max = 8192;
/// The longest credential that is read, as a header's value.
inline constexpr std::size_t credential_bytes_max = 16'384;

/// HMAC-SHA256 as core takes it.
template <class M>
concept HmacSha256 = requires(const M& hmac, std::string_view key, std::string_view message) {
  { hmac(key, message) } -> std::same_as<Digest>;
};

/// A body's digest as mppx writes and checks it: the bare form.
inline std::string body_digest_text(const Digest& digest) {
  std::string out = "sha-256=";
  append_base64(out, digest.view());
  return out;
}
/// The digest that a text spells, in the bare form or between colons as RFC 9530 has it; or nothing.
inline std::optional<Digest> read_body_digest(std::string_view text) {
  constexpr std::string_view mark = "sha-256=";
  if (!text.starts_with(mark)) return std::nullopt;
  text.remove_prefix(mark.size());
  if (text.size() > 2 && text.front() == ':' && text.back() == ':') text = part(text, 1, text.size() - 2);
  const auto bytes = unbase64(text);
  return bytes ? digest_of_bytes(*bytes) : std::nullopt;
}

// Challenges.

/// What is asked for, with all that its id binds but the description. Texts as they stand in the header;
/// empty is absent.
struct Challenge {
  std::string id;
  std::string realm;
  std::string method;       ///< `evm`, `solana`, …
  std::string intent;       ///< `charge`, …
  std::string request;      ///< base64url of the request's canonical JSON.
  std::string expires;      ///< RFC 3339.
  std::string digest;       ///< Of the body that the answer comes with.
  std::string header;       ///< `Payment-Authorization`, or empty for `Authorization`.
  std::string opaque;       ///< base64url of the canonical JSON of an object of strings.
  std::string description;  ///< For people; not bound.

  bool operator==(const Challenge&) const = default;
};

namespace detail {

/// Letters, digits and what else a method's or intent's name may have. No pipe, which divides what is bound.
inline bool is_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == ':';
  });
}
/// Text that may stand in a quoted string of a header.
inline bool fits_header(std::string_view text) noexcept {
  return json::valid_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
         });
}
/// Whether the texts are equal; the time tells their sizes and nothing else.
inline bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  unsigned differs = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    differs |= unsigned{static_cast<unsigned char>(a[i])} ^ static_cast<unsigned char>(b[i]);
  return differs == 0;
}

}  // namespace detail

namespace detail {

/// A challenge's parameters, in the order of mppx.
struct Parameter {
  char name[12];
  bool required;
  std::string Challenge::*text;
};
inline constexpr Parameter parameters[] = {
    {"id", true, &Challenge::id},           {"realm", true, &Challenge::realm},
    {"method", true, &Challenge::method},   {"intent", true, &Challenge::intent},
    {"request", true, &Challenge::request}, {"description", false, &Challenge::description},
    {"digest", false, &Challenge::digest},  {"expires", false, &Challenge::expires},
    {"header", false, &Challenge::header},  {"opaque", false, &Challenge::opaque},
};

}  // namespace detail

/// Whether the challenge's texts are what each of them must be, its id aside. What is bound is these texts
/// with pipes between them; of these only the realm may hold one, and it comes first, so that no other
/// challenge has the same bound text.
inline bool well_formed(const Challenge& challenge) {
  const auto spelled = [](std::string_view text) { return !text.empty() && unbase64url(text).has_value(); };
  return !challenge.realm.empty() && detail::fits_header(challenge.realm) &&
         detail::is_name(challenge.method) && detail::is_name(challenge.intent) &&
         spelled(challenge.request) && (challenge.expires.empty() || read_date_time(challenge.expires)) &&
         (challenge.digest.empty() || read_body_digest(challenge.digest)) &&
         (challenge.header.empty() || challenge.header == other_header) &&
         (challenge.opaque.empty() || spelled(challenge.opaque)) &&
         detail::fits_header(challenge.description);
}

/// What an id binds: seven slots with pipes between them, empty where something is absent; a header that is
/// not the usual one is an eighth slot before the last.
inline std::string bound_text(const Challenge& challenge) {
  std::string out;
  for (const std::string* slot : {&challenge.realm, &challenge.method, &challenge.intent, &challenge.request,
                                  &challenge.expires, &challenge.digest}) {
    out += *slot;
    out.push_back('|');
  }
  if (!challenge.header.empty()) {
    out += challenge.header;
    out.push_back('|');
  }
  out += challenge.opaque;
  return out;
}

/// The id that `secret` gives the challenge: base64url of HMAC-SHA256 over what is bound.
template <HmacSha256 M>
std::string challenge_id(const M& hmac, std::string_view secret, const Challenge& challenge) {
  return base64url(hmac(secret, std::string_view(bound_text(challenge))).view());
}

/// The secrets of a server: the first one binds, all are believed, so that a new one can take over while
/// challenges of the old one are still out.
using Secrets = std::span<const std::string_view>;

/// Whether there is a secret and none is too short.
inline bool fit(Secrets secrets) noexcept {
  return !secrets.empty() && std::all_of(secrets.begin(), secrets.end(), [](std::string_view secret) {
    return secret.size() >= secret_bytes_min;
  });
}

/// `WWW-Authenticate`'s value for a challenge. Send it with `Cache-Control: no-store`.
inline std::string www_authenticate(const Challenge& challenge) {
  std::string out = "Payment";
  char before = ' ';
  for (const detail::Parameter& parameter : detail::parameters) {
    const std::string& text = challenge.*parameter.text;
    if (text.empty()) continue;
    if (before == ',') out.push_back(before);
    out.push_back(' ');
    before = ',';
    out += parameter.name;
    out += "=\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out.push_back('\\');
      out.push_back(c);
    }
    out.push_back('"');
  }
  return out;
}

/// The challenge with its id.
///
/// Fails, in the order checked:
/// - `options_invalid`: no secret, or one of fewer than `secret_bytes_min` octets
/// - `field_value`: a text that is not what it must be
/// - `too_large`: its header would be longer than `challenge_bytes_max`
template <HmacSha256 M>
Result<Challenge> issue(const M& hmac, Secrets secrets, Challenge challenge) {
  if (!fit(secrets)) return fail(Reason::options_invalid, "a secret of a challenge has at least 32 octets");
  if (!well_formed(challenge)) return fail(Reason::field_value, "a challenge cannot say this");
  challenge.id = challenge_id(hmac, secrets[0], challenge);
  if (www_authenticate(challenge).size() > challenge_bytes_max)
    return fail(Reason::too_large, "a challenge has at most 8192 octets");
  return challenge;
}

/// Whether one of the secrets gave this challenge its id.
template <HmacSha256 M>
bool issued(const M& hmac, Secrets secrets, const Challenge& challenge) {
  if (!fit(secrets) || !well_formed(challenge)) return false;
  bool known = false;
  for (const std::string_view secret : secrets)
    known |= detail::equal_in_constant_time(challenge_id(hmac, secret, challenge), challenge.id);
  return known;
}

/// A request or an `opaque` map as a challenge carries it.
inline std::string json_text(const json::Value& value) { return base64url(json::canonical(value)); }

// What clients would rather do.

struct Offer {
  std::string_view method;
  std::string_view intent;
};

namespace detail {

inline std::string_view trimmed(std::string_view text) noexcept {
  const auto space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

/// An entry of `Accept-Payment`; `*` is any.
struct Preference {
  std::string_view method;
  std::string_view intent;
  int thousandths = -1;  ///< Its q-value; negative when the entry is malformed.
};

inline Preference read_preference(std::string_view entry) noexcept {
  Preference out;
  int thousandths = 1000;
  const std::size_t semicolon = std::min(entry.find(';'), entry.size());
  if (semicolon < entry.size()) {
    // q= and 0, 1, or either with up to three decimals; above 1 is nothing.
    const std::string_view q = trimmed(part(entry, semicolon + 1));
    if (q.size() < 3 || q.size() > 7 || (q[0] | 32) != 'q' || q[1] != '=' || (q[2] != '0' && q[2] != '1') ||
        (q.size() > 3 && q[3] != '.'))
      return out;
    thousandths = q[2] == '1' ? 1000 : 0;
    int unit = 100;
    for (std::size_t i = 4; i < q.size(); ++i, unit /= 10) {
      if (q[i] < '0' || q[i] > '9') return out;
      thousandths += unit * (q[i] - '0');
    }
    if (thousandths > 1000) return out;
  }
  entry = trimmed(part(entry, 0, semicolon));
  const std::size_t slash = std::min(entry.find('/'), entry.size());
  out.method = part(entry, 0, slash);
  out.intent = part(entry, std::min(slash + 1, entry.size()));
  if ((out.method == "*" || is_name(out.method)) && (out.intent == "*" || is_name(out.intent)))
    out.thousandths = thousandths;
  return out;
}

}  // namespace detail

/// Which of the offers to make, the best first: those that the client takes, by its q-value and then in their
/// own order. The most specific entry speaks for an offer, a method's name before an intent's. All of them,
/// in their order, when the header is absent (empty), malformed, or takes none: a 402 has a challenge.
inline std::vector<std::size_t> accepted(std::span<const Offer> offers, std::string_view accept_payment) {
  std::vector<std::size_t> out(offers.size());
  for (std::size_t place = 0; place < offers.size(); ++place) out[place] = place;
  if (accept_payment.size() > challenge_bytes_max) return out;
  struct Liking {
    int rank = -1;  ///< How specific the entry is that speaks for it; negative for none.
    int thousandths = 0;
  };
  std::vector<Liking> likings(offers.size());
  while (!accept_payment.empty()) {
    const std::size_t end = std::min(accept_payment.find(','), accept_payment.size());
    const std::string_view entry = detail::trimmed(part(accept_payment, 0, end));
    accept_payment.remove_prefix(std::min(end + 1, accept_payment.size()));
    if (entry.empty()) continue;
    const detail::Preference preference = detail::read_preference(entry);
    if (preference.thousandths < 0) return out;
    for (const std::size_t place : out) {
      const bool any_method = preference.method == "*";
      const bool any_intent = preference.intent == "*";
      if ((!any_method && preference.method != offers[place].method) ||
          (!any_intent && preference.intent != offers[place].intent))
        continue;
      const int rank = (any_method ? 0 : 2) + (any_intent ? 0 : 1);
      Liking& liking = likings[place];
      if (rank > liking.rank || (rank == liking.rank && preference.thousandths > liking.thousandths))
        liking = {rank, preference.thousandths};
    }
  }
  // Few offers: each goes before those in front of it that are liked less. Where none is liked, none moves.
  std::size_t liked = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (likings[i].thousandths > 0) ++liked;
    for (std::size_t k = i; k > 0 && likings[out[k]].thousandths > likings[out[k - 1]].thousandths; --k)
      std::swap(out[k], out[k - 1]);
  }
  if (liked > 0) out.resize(liked);
  return out;
}

// Problems.

// One row a problem: its word, the end of its type's address, its title.
#define CALYX_MPP_PROBLEMS(X)                                             \
  X(none, "", "")                                                         \
  X(payment_required, "payment-required", "Payment Required")             \
  X(payment_insufficient, "payment-insufficient", "Payment Insufficient") \
  X(payment_expired, "payment-expired", "Payment Expired")                \
  X(verification_failed, "verification-failed", "Verification Failed")    \
  X(malformed_credential, "malformed-credential", "Malformed Credential") \
  X(invalid_payload, "invalid-payload", "Invalid Payload")                \
  X(invalid_challenge, "invalid-challenge", "Invalid Challenge")          \
  X(method_unsupported, "method-unsupported", "Method Unsupported")

/// Why an answer is none.
enum class Problem : std::uint8_t {
#define CALYX_MPP_PROBLEM_ROW(word, type, title) word,
  CALYX_MPP_PROBLEMS(CALYX_MPP_PROBLEM_ROW)
#undef CALYX_MPP_PROBLEM_ROW
};
inline constexpr std::size_t problems = static_cast<std::size_t>(Problem::method_unsupported) + 1;

inline constexpr std::string_view problem_types = "https://paymentauth.org/problems/";
/// The end of a problem's type, behind `problem_types`; empty for none.
constexpr std::string_view type_end(Problem problem) noexcept {
#define CALYX_MPP_PROBLEM_ROW(word, type, title) type "\n"
  return line_of(CALYX_MPP_PROBLEMS(CALYX_MPP_PROBLEM_ROW), static_cast<std::size_t>(problem));
#undef CALYX_MPP_PROBLEM_ROW
}
constexpr std::string_view title(Problem problem) noexcept {
#define CALYX_MPP_PROBLEM_ROW(word, type, title) title "\n"
  return line_of(CALYX_MPP_PROBLEMS(CALYX_MPP_PROBLEM_ROW), static_cast<std::size_t>(problem));
#undef CALYX_MPP_PROBLEM_ROW
}
/// The HTTP status: 402 with a fresh challenge, but for a method that nobody here takes.
constexpr int http_status(Problem problem) noexcept {
  return problem == Problem::none ? 200 : problem == Problem::method_unsupported ? 400 : 402;
}

/// The problem document (RFC 9457) of an answer, for `application/problem+json`; `challenge_id` is the fresh
/// challenge's, empty for none. An object, to which other protocols add their members.
inline json::Object problem_document(Problem problem, std::string_view detail,
                                     std::string_view challenge_id) {
  std::string type(problem_types);
  type += type_end(problem);
  json::Object out;
  const auto set = [&out](const char* name, std::string_view text) { out.set(name, text); };
  set("type", type);
  set("title", title(problem));
  out.set("status", http_status(problem));
  set("detail", detail);
  if (!challenge_id.empty()) set("challengeId", challenge_id);
  return out;
}

// Credentials.

/// An answer to a challenge.
struct Credential {
  Challenge challenge;  ///< As the client echoes it.
  json::Value payload;  ///< An object; what it means is the method's.
  std::string source;   ///< Who says to pay, as a DID; empty when unsaid.
};

/// The credential that a JSON value is, or nothing when a member is missing or of another type. Members that
/// it need not have are passed over.
inline std::optional<Credential> read_credential(const json::Value& value) {
  const json::Value* echoed = value.find("challenge");
  const json::Value* payload = value.find("payload");
  if (echoed == nullptr || echoed->object() == nullptr || payload == nullptr || payload->object() == nullptr)
    return std::nullopt;
  std::optional<Credential> out(std::in_place);
  // What is absent is left out: an empty text would be a second spelling of it.
  const auto take = [](const json::Value& from, const char* name, std::string& to, bool required) {
    const json::Value* member = from.find(name);
    if (member == nullptr) return !required;
    if (member->string() != nullptr) to = *member->string();
    return !to.empty();
  };
  bool whole = take(value, "source", out->source, false);
  for (const detail::Parameter& parameter : detail::parameters)
    whole = whole && take(*echoed, parameter.name, out->challenge.*parameter.text, parameter.required);
  out->payload = *payload;
  if (!whole) out.reset();
  return out;
}

struct CredentialReading {
  Problem problem = Problem::none;  ///< `payment_required`: none came; `malformed_credential`.
  Credential credential;
};

/// Reads the value of the header in which a credential comes. The scheme's name may be in any case, and one
/// or two equals signs behind the base64url are passed over, as mppx does; otherwise it is read as strictly
/// as it is written. Another scheme is no credential.
template <JsonReader R>
CredentialReading read_authorization(std::string_view value, const R& read_json) {
  constexpr std::string_view scheme = "payment";
  CredentialReading out;
  out.problem = Problem::payment_required;
  value = detail::trimmed(value);
  const std::string_view name = part(value, 0, std::min(value.find_first_of(" \t"), value.size()));
  if (!std::equal(name.begin(), name.end(), scheme.begin(), scheme.end(),
                  [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; }))
    return out;
  out.problem = Problem::malformed_credential;
  if (value.size() > credential_bytes_max) return out;
  std::string_view text = detail::trimmed(part(value, name.size()));
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  const auto bytes = unbase64url(text);
  const std::optional<json::Value> document =
      bytes ? read_json(std::string_view(*bytes)) : std::optional<json::Value>();
  auto credential = document ? read_credential(*document) : std::optional<Credential>();
  if (!credential) return out;
  out.problem = Problem::none;
  out.credential = *std::move(credential);
  return out;
}

/// What is said of an answer.
struct Verdict {
  Problem problem = Problem::none;
  std::string_view detail;     ///< What is wrong, for the problem document; static text.
  bool needs_backend = false;  ///< Nothing is wrong so far, and only the chain can say the rest.

  bool good() const noexcept { return problem == Problem::none && !needs_backend; }
};

/// Judges what a credential echoes, before its payload is looked at.
///
/// `asked` is what this request would be asked for now: realm, method, intent, request, header, `opaque`, and
/// the digest of the body that came, where challenges of this route bind one. So a genuine challenge of a
/// cheap route is of no use on a dear one. `received_in` is the name of the header that the credential came
/// in.
///
/// Says, in the order checked: `invalid_challenge`, `payment_expired`.
template <HmacSha256 M>
Verdict judge_challenge(const M& hmac, Secrets secrets, const Challenge& echoed, const Challenge& asked,
                        std::string_view received_in, Instant now) {
  const auto invalid = [](std::string_view detail) {
    return Verdict{Problem::invalid_challenge, detail, false};
  };
  if (!issued(hmac, secrets, echoed)) return invalid("the challenge was not issued here");
  if (echoed.realm != asked.realm) return invalid("the challenge is of another realm");
  if (echoed.method != asked.method || echoed.intent != asked.intent)
    return invalid("the challenge is for another method or intent");
  if (echoed.request != asked.request || echoed.opaque != asked.opaque)
    return invalid("the challenge asks for another payment");
  if (echoed.digest.empty() != asked.digest.empty() ||
      (!asked.digest.empty() && read_body_digest(echoed.digest) != read_body_digest(asked.digest)))
    return invalid("the challenge is for another body");
  if (echoed.header != asked.header || received_in != (echoed.header.empty() ? usual_header : other_header))
    return invalid("the challenge is answered in another header");
  if (!echoed.expires.empty() && *read_date_time(echoed.expires) <= now)
    return {Problem::payment_expired, "the challenge has expired", false};
  return {};
}

// Method `evm`, intent `charge`, credential type `authorization`.

namespace detail {

inline std::optional<Uint256> uint256_at(const json::Value& value, std::string_view key) noexcept {
  return read_uint256(core::detail::text_at(value, key));
}
inline std::optional<EvmAddress> evm_address_at(const json::Value& value, std::string_view key) {
  return read_evm_address(core::detail::text_at(value, key));
}

}  // namespace detail

/// What an `evm` charge asks for.
struct EvmCharge {
  Uint256 amount;       ///< Units: the token's atomic units.
  EvmAddress currency;  ///< The token's contract.
  EvmAddress recipient;
  std::uint64_t chain_id = 0;
  bool takes_authorization =
      false;  ///< Its `credentialTypes` have `authorization`, and it asks for no splits.
};

/// The charge that a challenge's request is, or nothing.
inline std::optional<EvmCharge> read_evm_charge(const json::Value& request) {
  std::optional<EvmCharge> out;
  const json::Value* details = request.find("methodDetails");
  const json::Value* chain = details == nullptr ? nullptr : details->find("chainId");
  const auto amount = detail::uint256_at(request, "amount");
  const auto currency = detail::evm_address_at(request, "currency");
  const auto recipient = detail::evm_address_at(request, "recipient");
  if (chain == nullptr || chain->integer() == nullptr || *chain->integer() <= 0 || !currency || !recipient ||
      !amount || *amount == Uint256())
    return out;
  out = EvmCharge{*amount, *currency, *recipient, static_cast<std::uint64_t>(*chain->integer()), false};
  const json::Value* types = details->find("credentialTypes");
  if (types != nullptr && types->array() != nullptr && details->find("splits") == nullptr)
    for (const json::Value& type : *types->array())
      out->takes_authorization |= type.string() != nullptr && *type.string() == "authorization";
  return out;
}

/// The token that a charge is in, by which the domain of what is signed is known; or null: none that takes
/// authorizations.
inline const EvmAsset* asset_of(const EvmCharge& charge) {
  for (const EvmAsset& asset : evm_assets)
    if (asset.eip3009 && asset.chain_id == charge.chain_id &&
        read_evm_address(asset.contract) == charge.currency)
      return &asset;
  return nullptr;
}

/// What the payer of such a charge has signed, and the signature's octets.
struct EvmAuthorization {
  TransferAuthorization transfer;
  std::string signature;
};

/// The authorization that a payload is, or nothing.
inline std::optional<EvmAuthorization> read_evm_authorization(const json::Value& payload) {
  using core::detail::text_at;
  std::optional<EvmAuthorization> out;
  const auto from = detail::evm_address_at(payload, "from");
  const auto to = detail::evm_address_at(payload, "to");
  const auto value = detail::uint256_at(payload, "value");
  const auto valid_after = detail::uint256_at(payload, "validAfter");
  const auto valid_before = detail::uint256_at(payload, "validBefore");
  const auto nonce = read_hex_bytes(text_at(payload, "nonce"));
  auto signature = read_hex_bytes(text_at(payload, "signature"));
  const auto nonce_octets = octets<32>(nonce ? std::string_view(*nonce) : std::string_view());
  if (text_at(payload, "type") == "authorization" && from && to && value && valid_after && valid_before &&
      nonce_octets && signature)
    out = EvmAuthorization{{*from, *to, *value, *valid_after, *valid_before, *nonce_octets},
                           *std::move(signature)};
  return out;
}

/// The source that a client gives for an account: `did:pkh:eip155:<chain>:<address>`, or nothing.
struct EvmSource {
  std::uint64_t chain_id = 0;
  EvmAddress account;
};
inline std::optional<EvmSource> read_evm_source(std::string_view text) {
  constexpr std::string_view mark = "did:pkh:";
  const std::size_t colon = text.rfind(':');
  if (!text.starts_with(mark) || colon < mark.size()) return std::nullopt;
  const auto chain = read_evm_chain(part(text, mark.size(), colon - mark.size()));
  const auto account = read_evm_address(part(text, colon + 1));
  // A chain's name is no CAIP-2.
  if (!chain || !account || !part(text, mark.size()).starts_with("eip155:")) return std::nullopt;
  return EvmSource{*chain, *account};
}

struct EvmVerdict {
  Verdict verdict;
  EvmAuthorization authorization;  ///< Of use when the verdict is good or needs the backend.
  bool not_built = false;          ///< This build checks no signatures: the verdict says no more than that.
};

/// Judges the payload of a credential whose challenge was found good.
///
/// The nonce must be Keccak-256 of the challenge's id and realm, which binds the payment to this challenge. A
/// signature longer than a wallet's is a contract's: only the chain can judge it.
///
/// Says, in the order checked: `invalid_payload`, `verification_failed`, `payment_expired` of the
/// authorization, `verification_failed` of its signature.
template <EvmRecovery R>
EvmVerdict judge_evm_authorization(const Credential& credential, const EvmCharge& charge, Instant now,
                                   const R& recover) {
  EvmVerdict out;
  const auto refuse = [&out](Problem problem, std::string_view detail) {
    out.verdict = {problem, detail, false};
    return out;
  };
  const auto failed = [&refuse](std::string_view detail) {
    return refuse(Problem::verification_failed, detail);
  };
  auto authorization = read_evm_authorization(credential.payload);
  if (!authorization) return refuse(Problem::invalid_payload, "the payload is no authorization");
  out.authorization = *std::move(authorization);
  const TransferAuthorization& given = out.authorization.transfer;
  const EvmAsset* asset = asset_of(charge);
  if (!charge.takes_authorization || asset == nullptr) return failed("the challenge takes no authorization");
  if (given.nonce !=
      keccak256(std::string_view(credential.challenge.id), std::string_view(credential.challenge.realm))
          .bytes)
    return failed("the nonce is another challenge's");
  if (given.to != charge.recipient) return failed("the recipient differs");
  if (given.value != charge.amount) return failed("the amount differs");
  if (!credential.source.empty()) {
    const auto source = read_evm_source(credential.source);
    if (!source || source->chain_id != charge.chain_id || source->account != given.from)
      return failed("the source is not who pays");
  }
  const Uint256 seconds(static_cast<std::uint64_t>(std::max<std::int64_t>(now.us, 0) / us_per_second));
  if (given.valid_after > seconds) return failed("the authorization is not valid yet");
  // It has to last until it is settled: as long as x402 asks of the same words.
  if (given.valid_before < Uint256(*seconds.small() + x402::seconds_left_min))
    return refuse(Problem::payment_expired, "the authorization has expired");
  if (out.authorization.signature.size() > evm_signature_bytes) {
    out.verdict.needs_backend = true;
    return out;
  }
  const Digest digest =
      transfer_digest({asset->name, asset->version, asset->chain_id, charge.currency}, given);
  const Result<EvmAddress> payer = recover(digest, std::string_view(out.authorization.signature));
  out.not_built = payer.reason() == Reason::not_built;
  if (!payer.ok() || *payer != given.from) return failed("the signature is not the payer's");
  return out;
}

// Method `solana`, intent `charge`, credential type `transaction`.

/// What a `solana` charge asks for, when this server pays the fee.
struct SolanaCharge {
  solana::Address mint{};
  solana::Address recipient{};
  solana::Address fee_payer{};
  std::uint64_t amount = 0;  ///< Units: the mint's atomic units.
  std::string external_id;   ///< Stands in the transaction's memo, which ties the payment to the charge.
};

/// The charge that a challenge's request is, or nothing: also for lamports, for splits, and when the client
/// is to pay the fee.
inline std::optional<SolanaCharge> read_solana_charge(const json::Value& request) {
  using core::detail::text_at;
  std::optional<SolanaCharge> out;
  const json::Value* details = request.find("methodDetails");
  const json::Value* sponsored = details == nullptr ? nullptr : details->find("feePayer");
  const auto amount = detail::uint256_at(request, "amount");
  const auto number = amount ? amount->small() : std::optional<std::uint64_t>();
  if (sponsored == nullptr || sponsored->boolean() == nullptr || !*sponsored->boolean() ||
      details->find("splits") != nullptr || !number || *number == 0)
    return out;
  out.emplace();
  out->amount = *number;
  out->external_id = text_at(request, "externalId");
  if (!unbase58_into(out->mint, text_at(request, "currency")) ||
      !unbase58_into(out->recipient, text_at(request, "recipient")) ||
      !unbase58_into(out->fee_payer, text_at(*details, "feePayerKey")))
    out.reset();
  return out;
}

struct SolanaVerdict {
  Verdict verdict;
  solana::ExactVerdict reason = solana::ExactVerdict::ok;  ///< What is wrong with the transaction.
  solana::ExactPayment payment;                            ///< Of use when the verdict is good.
};

/// Judges the payload of a credential whose challenge was found good: a transaction of the layout of `exact`,
/// signed by the payer, whose fee one of our fee payers will pay. An external id must be its only memo. The
/// type `signature`, a transaction that the client has sent itself, is refused, since our fee payer has no
/// part in it.
///
/// `judge(transaction, terms)` is `solana::judge_exact` of the bytes that base 64 spells, as a
/// `solana::ExactReading`.
template <class J>
SolanaVerdict judge_solana_transaction(const Credential& credential, const SolanaCharge& charge,
                                       const J& judge) {
  using core::detail::text_at;
  SolanaVerdict out;
  if (text_at(credential.payload, "type") != "transaction") {
    out.verdict = {Problem::invalid_payload, "the payload is no transaction", false};
    return out;
  }
  const solana::ExactReading reading = judge(
      text_at(credential.payload, "transaction"),
      solana::ExactTerms{charge.mint, charge.recipient, charge.amount, charge.fee_payer, charge.external_id});
  out.reason = reading.verdict;
  out.payment = reading.payment;
  if (reading.verdict != solana::ExactVerdict::ok)
    out.verdict = {Problem::verification_failed, solana::word(reading.verdict), false};
  return out;
}

// Receipts.

/// What a server confirms in `Payment-Receipt`, on a 2xx alone and with `Cache-Control: private`.
struct Receipt {
  std::string method;
  std::string reference;  ///< The chain's name of what settled.
  Instant settled_at;     ///< Printed in whole seconds, rounded down.
  std::string external_id;
  json::Object more;  ///< Members of the method's or our own, behind the others; none of theirs.
};

/// The header's value: base64url of JSON, its members in mppx's order.
inline std::string payment_receipt(const Receipt& receipt) {
  std::string out = "{";
  const auto name = [&out](std::string_view key) {
    if (out.size() > 1) out.push_back(',');
    json::append_string(out, key);
    out.push_back(':');
  };
  const auto put = [&out, &name](std::string_view key, std::string_view text) {
    if (text.empty()) return;
    name(key);
    json::append_string(out, text);
  };
  put("method", receipt.method);
  put("reference", receipt.reference);
  put("externalId", receipt.external_id);
  put("status", "success");
  put("timestamp", iso_text(receipt.settled_at));
  for (const json::Member& member : receipt.more) {
    name(member.key);
    json::append_text(out, member.value);
  }
  out.push_back('}');
  return base64url(out);
}

}  // namespace calyx::core::mpp
