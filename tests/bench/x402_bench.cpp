// What a payment by x402 costs until its verdict: version 2, from the header's text on, beside the one
// recovery of a key that nobody can do without; and what else goes into it.
//
//   x402_bench [--quick] [--rounds N] [--dir PATH]      PATH is not used: nothing is written

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/secp256k1.hpp"
#include "json/reader.hpp"
#include "measure.hpp"
#include "payments/x402.hpp"

#if CALYX_HAVE_SECP256K1
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#endif

namespace calyx::bench {
namespace {

#if CALYX_HAVE_SECP256K1

using core::json::Value;
using core::x402::Verdict;

struct Subject {
  std::string header;
  core::x402::Requirement requirement;
  Value extensions;
  Instant now;
  core::Digest digest;
  std::string signature;
};

const Value& at(const Value& value, std::string_view key) {
  const Value* const member = value.find(key);
  if (member == nullptr) throw std::runtime_error("a vector lacks " + std::string(key));
  return *member;
}
const std::string& text_at(const Value& value, std::string_view key) {
  const std::string* const text = at(value, key).string();
  if (text == nullptr) throw std::runtime_error("no text: " + std::string(key));
  return *text;
}

/// The payments of version 2's vectors.
std::vector<Subject> subjects() {
  std::ifstream file(CALYX_BENCH_SOURCES "/../vectors/payments/x402_v2_exact_evm.json", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const Value document = read_json(text).value();
  std::vector<Subject> out;
  for (const Value& row : *at(document, "vectors").array()) {
    Subject subject;
    subject.header = text_at(row, "payment_signature_header");
    const Value& challenge = at(row, "payment_required");
    const Value& entry = (*at(challenge, "accepts").array())[0];
    subject.requirement.network = text_at(entry, "network");
    subject.requirement.amount = core::read_uint256(text_at(entry, "amount")).value();
    subject.requirement.asset = text_at(entry, "asset");
    subject.requirement.pay_to = text_at(entry, "payTo");
    subject.requirement.max_timeout_seconds =
        static_cast<std::uint32_t>(*at(entry, "maxTimeoutSeconds").integer());
    subject.requirement.extra = at(entry, "extra");
    if (const Value* extensions = challenge.find("extensions")) subject.extensions = *extensions;
    subject.now = {*at(row, "now").integer() * core::us_per_second};
    subject.digest =
        core::read_digest_hex(std::string_view(text_at(at(row, "eip712"), "digest")).substr(2)).value();
    subject.signature = core::read_hex_bytes(text_at(row, "signature")).value();
    out.push_back(std::move(subject));
  }
  return out;
}

Sample verifications(const std::vector<Subject>& all, std::uint64_t count) {
  return timed([&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      const Subject& subject = all[i % all.size()];
      const auto reading =
          payments::read_x402_payment(subject.header, payments::X402Header::payment_signature);
      if (reading.verdict != Verdict::ok ||
          core::x402::verify_exact_evm(reading.payment, subject.requirement, subject.extensions, subject.now,
                                       crypto::EvmSignatures{}) != Verdict::ok)
        throw std::runtime_error("a payment was refused");
    }
    return count;
  });
}

Sample decodings(const std::vector<Subject>& all, std::uint64_t count) {
  return timed([&] {
    for (std::uint64_t i = 0; i < count; ++i)
      if (payments::read_x402_payment(all[i % all.size()].header, payments::X402Header::payment_signature)
              .verdict != Verdict::ok)
        throw std::runtime_error("a header was refused");
    return count;
  });
}

/// The library alone: a public key from a digest and a signature.
Sample recoveries(const std::vector<Subject>& all, std::uint64_t count) {
  return timed([&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      const Subject& subject = all[i % all.size()];
      const auto* octets = reinterpret_cast<const unsigned char*>(subject.signature.data());
      secp256k1_ecdsa_recoverable_signature signature;
      secp256k1_pubkey key;
      if (secp256k1_ecdsa_recoverable_signature_parse_compact(secp256k1_context_static, &signature, octets,
                                                              octets[64] - 27) != 1 ||
          secp256k1_ecdsa_recover(secp256k1_context_static, &key, &signature, subject.digest.bytes.data()) !=
              1)
        throw std::runtime_error("a signature was refused");
    }
    return count;
  });
}

Sample hashes(std::uint64_t count) {
  std::string text(224, 'x');
  unsigned all = 0;
  const Sample sample = timed([&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      text[0] = static_cast<char>(i);
      all += core::keccak256(text).bytes[0];
    }
    return count;
  });
  if (all == 0) throw std::runtime_error("the hashes were not made");
  return sample;
}

#endif

int run(const std::vector<std::string>& words) {
  bool quick = false;
  unsigned rounds = rounds_min;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--quick") quick = true;
    if (words[i] == "--rounds" && i + 1 < words.size())
      rounds = static_cast<unsigned>(std::stoul(words[++i]));
  }
#if CALYX_HAVE_SECP256K1
  const std::vector<Subject> all = subjects();
  const std::uint64_t count = quick ? 100 : 10'000;
  const auto series = interleave({{"header to verdict", [&] { return verifications(all, count); }},
                                  {"bare recovery", [&] { return recoveries(all, count); }},
                                  {"header alone", [&] { return decodings(all, count); }},
                                  {"keccak-256 of 224 bytes", [&] { return hashes(10 * count); }}},
                                 rounds);
  constexpr std::string_view question = "an x402 payment of version 2";
  report(question, series[0], figure::cpu_rate, series[1], Ratio::value_over_peer);
  report(question, series[1], figure::cpu_rate);
  report(question, series[2], figure::cpu);
  report(question, series[3], figure::cpu);
#else
  static_cast<void>(quick);
  static_cast<void>(rounds);
  print_skipped("x402", "this build has no libsecp256k1");
#endif
  return 0;
}

}  // namespace
}  // namespace calyx::bench

int main(int argc, char** argv) {
  try {
    return calyx::bench::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
