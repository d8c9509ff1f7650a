#include <doctest/doctest.h>

#include <calyx/core/payment_terms.hpp>
#include <string>
#include <vector>

using namespace calyx;
using namespace calyx::core;

namespace {

constexpr const char* ours = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
constexpr const char* solana_wallet = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";

PaymentTerms terms_of(std::vector<PaymentNetwork> networks) {
  return {.base_url = "https://calyx.example", .realm = "calyx.example", .networks = std::move(networks)};
}
std::string fault_of(const PaymentTerms& terms) {
  const auto kept = kept_terms(terms);
  if (kept.ok()) return {};
  CHECK(kept.reason() == Reason::field_value);
  return *kept.error().details.find("field")->string();
}

}  // namespace

TEST_CASE("terms are kept in one spelling, and kept again are the same") {
  const auto kept = kept_terms(terms_of({{"base", "", ours, ""},
                                         {"megaeth", "0xfafddbb3fc7688494971a79cc65dca3ef82079e7", ours, ""},
                                         {"solana", "", solana_wallet, solana_wallet}}));
  REQUIRE(kept.ok());
  CHECK(kept->networks[0] ==
        PaymentNetwork{"eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", ours, ""});
  CHECK(kept->networks[1] ==
        PaymentNetwork{"eip155:4326", "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7", ours, ""});
  CHECK(kept->networks[2] == PaymentNetwork{"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
                                            "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", solana_wallet,
                                            solana_wallet});
  CHECK(*kept_terms(*kept) == *kept);
  CHECK(*kept_terms({}) == PaymentTerms{});
}

TEST_CASE("terms that nobody could pay by are refused, where the fault is") {
  CHECK(fault_of(terms_of({{"base", "", ours, ""}})).empty());
  CHECK(fault_of(terms_of({{"base", "", ours, ""}, {"eip155:8453", "", ours, ""}})) == "/networks/1/network");
  CHECK(fault_of(terms_of({{"base", ours, ours, ""}})) == "/networks/0/asset");
  CHECK(fault_of(terms_of({{"base", "", ours, solana_wallet}})) == "/networks/0/fee_payer");
  CHECK(fault_of(terms_of({{"solana", "", solana_wallet, ""}})) == "/networks/0/fee_payer");
  CHECK(fault_of(terms_of({{"solana", ours, solana_wallet, solana_wallet}})) == "/networks/0/asset");
  CHECK(fault_of(terms_of({{"eip155:1", "", ours, ""}})) == "/networks/0/network");
  CHECK(fault_of({.base_url = "", .realm = "", .networks = {{"base", "", ours, ""}}}) == "/base_url");
  CHECK(fault_of({.base_url = "https://a/?b", .realm = "", .networks = {}}) == "/base_url");
  CHECK(fault_of({.base_url = "https://" + std::string(248, 'a'), .realm = "", .networks = {}}).empty());
  CHECK(fault_of({.base_url = "https://" + std::string(249, 'a'), .realm = "", .networks = {}}) ==
        "/base_url");
  CHECK(fault_of({.base_url = "", .realm = "a|b", .networks = {}}) == "/realm");
  CHECK(fault_of({.base_url = "", .realm = std::string(129, 'a'), .networks = {}}) == "/realm");
  CHECK(fault_of(terms_of({{"base", "", "0x0000000000000000000000000000000000000000", ""}})) ==
        "/networks/0/pay_to");
  CHECK(fault_of(terms_of({{"base", "", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", ""}})) ==
        "/networks/0/pay_to");
  const std::string nobody(32, '1');  // 32 zero octets
  CHECK(fault_of(terms_of({{"solana", "", nobody, solana_wallet}})) == "/networks/0/pay_to");
  CHECK(fault_of(terms_of({{"solana", "", solana_wallet, nobody}})) == "/networks/0/fee_payer");
  CHECK(fault_of(terms_of({{"solana", "", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", solana_wallet}})) ==
        "/networks/0/pay_to");
  CHECK(fault_of(terms_of({{"base", "", ours, ""}, {"base-sepolia", "", ours, ""}})) ==
        "/networks/1/network");
  CHECK(fault_of(
            terms_of({{"base-sepolia", "", ours, ""}, {"solana-devnet", "", solana_wallet, solana_wallet}}))
            .empty());
}

TEST_CASE("a token's amount covers the money, by less than one atomic unit") {
  CHECK(text(amount_covering(Money{100'000'000}, 6)) == "1000000");
  CHECK(text(amount_covering(Money{100'000'001}, 6)) == "1000001");
  CHECK(text(amount_covering(Money{1}, 6)) == "1");
  CHECK(text(amount_covering(Money{1}, 18)) == "10000000000");
  CHECK(text(amount_covering(Money{7}, 8)) == "7");
  for (const std::int64_t micro : {std::int64_t{1}, std::int64_t{99}, std::int64_t{100}, std::int64_t{101},
                                   std::int64_t{123'456'789}, amount_max.micro})
    for (const unsigned decimals : {6U, 8U, 18U}) {
      CAPTURE(micro);
      CAPTURE(decimals);
      const auto worth = worth_of(amount_covering(Money{micro}, decimals), decimals);
      if (!worth) {
        CHECK(micro == amount_max.micro);  // rounded up it is above what one amount may be
        continue;
      }
      CHECK(worth->money.micro >= micro);
      CHECK(worth->money.micro - micro < 100);
      CHECK(worth->rest == Uint256());
    }
}

TEST_CASE("requirements come one a network, in their order; MPP asks where there is EIP-3009") {
  const auto kept = kept_terms(terms_of(
      {{"megaeth", "", ours, ""}, {"solana", "", solana_wallet, solana_wallet}, {"base", "", ours, ""}}));
  REQUIRE(kept.ok());
  const auto offered = requirements_of(
      *kept, {.amount = Money{100'000'000}, .memo = "qte_1", .resource = "/pay", .description = "credits"});
  REQUIRE(offered.size() == 3);
  CHECK(json::canonical(x402::v2_value(offered[0])) ==
        R"({"amount":"1000000000000000000","asset":"0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7",)"
        R"("extra":{"assetTransferMethod":"permit2","name":"MegaUSD","version":"1"},"maxTimeoutSeconds":300,)"
        R"("network":"eip155:4326","payTo":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC","scheme":"exact"})");
  CHECK(json::canonical(offered[1].extra) ==
        R"({"feePayer":")" + std::string(solana_wallet) + R"(","memo":"qte_1"})");
  CHECK(offered[2].resource == "https://calyx.example/pay");
  CHECK_FALSE(evm_charge_of(offered[0]));
  CHECK_FALSE(evm_charge_of(offered[1]));
  const auto charge = evm_charge_of(offered[2]);
  REQUIRE(charge);
  CHECK(json::canonical(*charge) ==
        R"({"amount":"1000000","currency":"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",)"
        R"("methodDetails":{"chainId":8453,"credentialTypes":["authorization"],"decimals":6},)"
        R"("recipient":"0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"})");
}
