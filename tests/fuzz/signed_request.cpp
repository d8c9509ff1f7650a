// The headers of a request that a wallet signed.
//
// An input is lines: method, target, address, chain, timestamp, nonce, encoding, signature, and the body. A
// tab stands for the end of a line within the first two and the nonce, where it would shift the lines that
// are signed.
#include <algorithm>
#include <calyx/core/request_signature.hpp>
#include <calyx/core/solana.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secp256k1.hpp"
#include "crypto/sha256.hpp"
#include "crypto/verify.hpp"
#include "fuzz.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

namespace requests = core::request_signature;
using requests::Judged;
using RequestVerdict = requests::Verdict;

constexpr Instant asked_at{1'767'225'600 * core::us_per_second};

bool same_judged(const Judged& one, const Judged& other) {
  return one.verdict == other.verdict && one.chain == other.chain && one.address == other.address &&
         one.at == other.at;
}

Judged judged(const requests::Request& request, const requests::Headers& headers, Instant now,
              std::string_view first_line = requests::first_line_default) {
  const auto judge = [&] {
    return requests::judge_request(request, headers, now, crypto::EvmSignatures{}, crypto::Ed25519{},
                                   core::solana::read_address, first_line);
  };
  const Judged out = judge();
  demand(same_judged(out, judge()), "a request is judged alike each time");
  const Judged claim =
      requests::judge_claim(request.method, request.target, headers, now, core::solana::read_address);
  if (claim.verdict != RequestVerdict::ok)
    demand(same_judged(claim, out), "what is wrong before the signature is wrong with it");
  else
    demand((out.verdict == RequestVerdict::ok || out.verdict == RequestVerdict::signature ||
            out.verdict == RequestVerdict::not_built) &&
               claim.address == out.address && claim.at == out.at,
           "what is right before the signature is left to it");
  return out;
}

/// Nine lines, of which each is what it says: no two requests have one text.
void check_text(const requests::Request& request, const requests::Headers& headers, const Judged& who) {
  const std::string text = requests::signed_text(requests::first_line_default, who.chain, who.address,
                                                 request, headers.timestamp, headers.nonce);
  demand(std::count(text.begin(), text.end(), '\n') == 8, "what is signed has nine lines");
  const std::vector<std::string_view> lines = pieces_of(text, 9);
  demand(lines[0] == "X402-COMPUTE-AUTH" && lines[1] == "v1" && lines[2] == headers.chain &&
             lines[3] == who.address && lines[4] == request.method && lines[5] == request.target &&
             lines[6] == core::hex(request.body_sha256) && lines[7] == headers.timestamp &&
             lines[8] == headers.nonce,
         "what is signed is the request");
}

/// The address as it is compared and kept.
void check_address(const requests::Headers& headers, const Judged& who) {
  const std::string account = requests::account_of(who.chain, who.address);
  demand(requests::address_in(account) == std::string_view(who.address), "an account names its address");
  if (who.chain == requests::Chain::base)
    demand(who.address == small_letters(headers.address) && core::read_evm_address(who.address).has_value(),
           "an address of Base is kept in small letters");
  else
    demand(who.address == headers.address &&
               core::solana::text(*core::solana::read_address(who.address)) == who.address,
           "an address of Solana has one spelling");
}

void good_request(const requests::Request& request, const requests::Headers& headers, const Judged& who) {
  demand(!headers.nonce.empty() && headers.nonce.size() <= requests::nonce_bytes_max,
         "a nonce keeps its limit");
  demand(core::read_uint256(headers.timestamp) == core::Uint256(static_cast<std::uint64_t>(who.at.us / 1000)),
         "the instant is the one that was said");
  check_text(request, headers, who);
  check_address(headers, who);
  // The window, to the microsecond.
  const auto at = [&](std::int64_t us) { return judged(request, headers, Instant{who.at.us + us}).verdict; };
  demand(
      at(requests::age_max_us) == RequestVerdict::ok && at(requests::age_max_us + 1) == RequestVerdict::stale,
      "a request is good for its time");
  demand(at(-requests::ahead_max_us) == RequestVerdict::ok &&
             at(-requests::ahead_max_us - 1) == RequestVerdict::too_early,
         "a request may be a little early");
  demand(requests::stays_used_until(who.at).us - who.at.us >= requests::age_max_us,
         "a nonce is kept as long as its request is good");

  requests::Request other = request;
  const std::string target = std::string(request.target) + "/";
  other.target = target;
  demand(judged(other, headers, who.at).verdict == RequestVerdict::signature,
         "a signature is for one target");
  other = request;
  other.body_sha256.bytes[0] ^= 1;
  demand(judged(other, headers, who.at).verdict == RequestVerdict::signature, "a signature is for one body");
  requests::Headers later = headers;
  const std::string nonce = std::string(headers.nonce.substr(0, requests::nonce_bytes_max - 1)) + "x";
  if (nonce != headers.nonce) {
    later.nonce = nonce;
    demand(judged(request, later, who.at).verdict == RequestVerdict::signature,
           "a signature is for one nonce");
  }
  demand(judged(request, headers, who.at, "ANOTHER-HOST").verdict == RequestVerdict::signature,
         "a signature is for one host");
}

/// The same request of our own wallet on the chain that it names.
void signed_by_wallet(const requests::Request& request, requests::Headers headers) {
  const bool base = headers.chain == requests::word(requests::Chain::base);
  if (base && !evm_signs) return;
  static const EdWallet solana(std::string(32, 'r'));
  const std::string address =
      base ? core::checksummed_text(evm_wallet().address()) : core::solana::text(solana.key());
  headers.address = address;
  headers.encoding = base ? "hex" : "base64";
  const std::string text = requests::signed_text(
      requests::first_line_default, base ? requests::Chain::base : requests::Chain::solana,
      small_letters(base ? address : std::string()).append(base ? "" : address), request, headers.timestamp,
      headers.nonce);
  std::string good;
  std::vector<std::string> spoilt;
  if (base) {
    good = evm_wallet().sign(core::personal_message_digest(text));
    spoilt = spoilt_evm_signatures(evm_wallet(), good);
  } else {
    core::Signature octets = solana.sign(text);
    good = core::chars(octets);
    const core::Signature beyond = with_order_added(octets);
    spoilt.emplace_back(core::chars(beyond));
    octets[3] ^= 1;
    spoilt.emplace_back(core::chars(octets));
    spoilt.push_back(good.substr(0, 63));
  }
  const auto spelled = [base](std::string_view octets) {
    return base ? "0x" + core::hex(octets) : core::base64(octets);
  };
  const std::string signature = spelled(good);
  headers.signature = signature;
  // When the request says that it was made, if it does.
  const auto ms = core::read_uint256(headers.timestamp);
  const auto small = ms ? ms->small() : std::nullopt;
  const Instant now =
      small && *small < 250'000'000'000'000 ? Instant{static_cast<std::int64_t>(*small) * 1000} : asked_at;
  const Judged own = judged(request, headers, now);
  demand(own.verdict != RequestVerdict::signature && own.verdict != RequestVerdict::stale &&
             own.verdict != RequestVerdict::address_malformed &&
             own.verdict != RequestVerdict::signature_malformed,
         "the wallet's own signature is found good");
  if (own.verdict != RequestVerdict::ok) return;
  good_request(request, headers, own);
  for (const std::string& octets : spoilt) {
    const std::string changed = spelled(octets);
    headers.signature = changed;
    const RequestVerdict verdict = judged(request, headers, now).verdict;
    demand(verdict == RequestVerdict::signature || verdict == RequestVerdict::signature_malformed,
           "a signature that was changed is refused");
  }
}

}  // namespace

void target::signed_request(std::string_view input) {
  const std::vector<std::string_view> lines = pieces_of(input, 9);
  std::string broken[3];
  const std::size_t may_break[] = {0, 1, 5};
  for (std::size_t i = 0; i < std::size(may_break); ++i) {
    broken[i] = lines[may_break[i]];
    std::replace(broken[i].begin(), broken[i].end(), '\t', '\n');
  }
  const requests::Request request{broken[0], broken[1], crypto::Sha256{}(lines[8])};
  requests::Headers headers;
  headers.address = lines[2];
  headers.chain = lines[3];
  headers.timestamp = lines[4];
  headers.nonce = broken[2];
  headers.encoding = lines[6];
  headers.signature = lines[7];
  const Judged who = judged(request, headers, asked_at);
  if (who.verdict == RequestVerdict::ok) good_request(request, headers, who);
  if (headers.chain == "base" || headers.chain == "solana") signed_by_wallet(request, headers);
}

}  // namespace calyx::fuzz
