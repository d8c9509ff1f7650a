#include "payments/mpp.hpp"

#include <utility>

#include "crypto/hmac.hpp"
#include "crypto/sha256.hpp"
#include "json/reader.hpp"
#include "payments/solana.hpp"

namespace calyx::payments::mpp {

namespace {

struct Hmac {
  core::Digest operator()(std::string_view key, std::string_view message) const {
    return crypto::hmac_sha256(key, {message});
  }
};

struct ReadJson {
  std::optional<core::json::Value> operator()(std::string_view text) const {
    auto read = read_json(text, {depth_max, core::mpp::credential_bytes_max});
    return read.ok() ? std::optional<core::json::Value>(*std::move(read)) : std::nullopt;
  }
};

constexpr core::mpp::Verdict not_judged_here = {core::mpp::Problem::method_unsupported,
                                                "the challenge is no charge that is judged here", false};

}  // namespace

Result<core::mpp::Challenge> issue(core::mpp::Secrets secrets, core::mpp::Challenge challenge) {
  return core::mpp::issue(Hmac{}, secrets, std::move(challenge));
}

core::mpp::CredentialReading read_authorization(std::string_view value) {
  return core::mpp::read_authorization(value, ReadJson{});
}

core::mpp::Verdict judge_challenge(core::mpp::Secrets secrets, const core::mpp::Challenge& echoed,
                                   const core::mpp::Challenge& asked, std::string_view received_in,
                                   Instant now) {
  return core::mpp::judge_challenge(Hmac{}, secrets, echoed, asked, received_in, now);
}

std::optional<core::json::Value> read_json_text(std::string_view text) {
  const auto bytes = core::unbase64url(text);
  auto value = bytes ? ReadJson{}(*bytes) : std::nullopt;
  return value && value->object() != nullptr ? std::move(value) : std::nullopt;
}

core::mpp::EvmVerdict judge_evm(const core::mpp::Credential& credential, Instant now,
                                const crypto::EvmSignatures& signatures) {
  const auto request = read_json_text(credential.challenge.request);
  const auto charge = request ? core::mpp::read_evm_charge(*request) : std::nullopt;
  if (charge) return core::mpp::judge_evm_authorization(credential, *charge, now, signatures);
  core::mpp::EvmVerdict out;
  out.verdict = not_judged_here;
  return out;
}

core::mpp::SolanaVerdict judge_solana(const core::mpp::Credential& credential,
                                      std::span<const core::solana::Address> ours) {
  const auto request = read_json_text(credential.challenge.request);
  const auto charge = request ? core::mpp::read_solana_charge(*request) : std::nullopt;
  if (!charge) {
    core::mpp::SolanaVerdict out;
    out.verdict = not_judged_here;
    return out;
  }
  return core::mpp::judge_solana_transaction(
      credential, *charge, [ours](std::string_view transaction, const core::solana::ExactTerms& terms) {
        return judge_exact_solana(transaction, terms, ours);
      });
}

std::string body_digest(std::string_view body) { return core::mpp::body_digest_text(crypto::Sha256{}(body)); }

}  // namespace calyx::payments::mpp
