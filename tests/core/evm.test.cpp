#include <doctest/doctest.h>

#include <algorithm>
#include <calyx/core/evm.hpp>
#include <cctype>
#include <string>
#include <string_view>

#include "crypto_for_tests.hpp"

using namespace calyx::core;
using namespace calyx::core::for_tests;

namespace {

EvmAddress address(std::string_view text) {
  const auto read = read_evm_address(text);
  REQUIRE_MESSAGE(read, "no address: " << std::string(text));
  return *read;
}
Digest digest_0x(const json::Value& value, std::string_view key) {
  const auto read = read_digest_hex(std::string_view(text_of(value, key)).substr(2));
  REQUIRE(read);
  return *read;
}
const json::Value& member(const json::Value& value, std::string_view key) {
  const json::Value* found = value.find(key);
  REQUIRE_MESSAGE(found != nullptr, "no member " << std::string(key));
  return *found;
}
Uint256 number(const json::Value& value, std::string_view key) {
  return read_uint256(text_of(value, key)).value();
}

}  // namespace

TEST_CASE("an address is read in one case or with its checksum, and printed both ways") {
  for (const json::Value& row : vectors("eip55.json")) {
    const std::string lower = text_of(row, "lower");
    const std::string checksummed = text_of(row, "checksummed");
    CAPTURE(checksummed);
    const EvmAddress read = address(checksummed);
    CHECK(read == address(lower));
    CHECK(lower_text(read) == lower);
    CHECK(checksummed_text(read) == checksummed);
    std::string upper = lower;
    std::transform(upper.begin() + 2, upper.end(), upper.begin() + 2,
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    CHECK(address(upper) == read);
    // Any letter in the other case is a wrong checksum.
    for (std::size_t i = 2; i < checksummed.size(); ++i) {
      const auto c = static_cast<unsigned char>(checksummed[i]);
      if (std::isalpha(c) == 0) continue;
      std::string wrong = checksummed;
      wrong[i] = static_cast<char>(std::isupper(c) != 0 ? std::tolower(c) : std::toupper(c));
      CHECK_FALSE(read_evm_address(wrong).has_value());
    }
    if (row.find("public_key_uncompressed") == nullptr) continue;
    const auto point = read_hex_bytes(text_of(row, "public_key_uncompressed"));
    REQUIRE(point);
    CHECK(evm_address_of(std::string_view(*point).substr(1)) == read);
  }
}

TEST_CASE("what is no address is not read") {
  const std::string good = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
  CHECK(read_evm_address(good).has_value());
  CHECK(read_evm_address("0x" + std::string(40, '1')).has_value());
  for (const std::string& bad :
       {std::string(), std::string("0x"), good.substr(2), good + "0", good.substr(0, 41),
        "0X" + good.substr(2), " " + good, good + " ", good.substr(0, 41) + "g"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_evm_address(bad).has_value());
  }
  CHECK(read_hex_bytes("0x") == std::string());
  CHECK(read_hex_bytes("0xaB") == std::string("\xab"));
  for (const std::string_view bad : {"", "0", "ab", "0xa", "0xzz", "0Xab"})
    CHECK_FALSE(read_hex_bytes(bad).has_value());
}

TEST_CASE("a personal message's digest is of the length in bytes") {
  std::size_t seen = 0;
  for (const json::Value& row : vectors("eip191_personal_sign.json")) {
    CAPTURE(text_of(row, "name"));
    CHECK(personal_message_digest(text_of(row, "message")) == digest_0x(row, "digest"));
    ++seen;
  }
  CHECK(seen == 8);
}

TEST_CASE("EIP-3009: domain, message and digest are those that real clients sign") {
  for (const char* file : {"x402_v1_exact_evm.json", "x402_v2_exact_evm.json"})
    for (const json::Value& row : vectors(file)) {
      CAPTURE(text_of(row, "name"));
      const json::Value& typed = member(row, "eip712");
      const json::Value& domain_of = member(typed, "domain");
      const std::string name = text_of(domain_of, "name");
      const std::string version = text_of(domain_of, "version");
      const EvmDomain domain{name, version, number_of(domain_of, "chainId"),
                             address(text_of(domain_of, "verifyingContract"))};
      CHECK(domain_separator(domain) == digest_0x(typed, "domain_separator"));
      const json::Value& signed_part = member(member(member(row, "payload"), "payload"), "authorization");
      const TransferAuthorization transfer{
          address(text_of(signed_part, "from")), address(text_of(signed_part, "to")),
          number(signed_part, "value"),          number(signed_part, "validAfter"),
          number(signed_part, "validBefore"),    digest_0x(signed_part, "nonce").bytes};
      CHECK(struct_hash(transfer) == digest_0x(typed, "struct_hash"));
      CHECK(transfer_digest(domain, transfer) == digest_0x(typed, "digest"));
    }
}

TEST_CASE("Permit2: a domain without a version, and a witness") {
  for (const json::Value& row : vectors("x402_v2_permit2.json")) {
    CAPTURE(text_of(row, "name"));
    const json::Value& typed = member(row, "eip712");
    const std::uint64_t chain_id = number_of(member(typed, "domain"), "chainId");
    CHECK(domain_separator({"Permit2", std::nullopt, chain_id, permit2_contract}) ==
          digest_0x(typed, "domain_separator"));
    const json::Value& signed_part =
        member(member(member(row, "payload"), "payload"), "permit2Authorization");
    const json::Value& permitted = member(signed_part, "permitted");
    const json::Value& witness = member(signed_part, "witness");
    CHECK(address(text_of(signed_part, "spender")) == x402_permit2_proxy);
    const Permit2Transfer transfer{address(text_of(permitted, "token")),
                                   number(permitted, "amount"),
                                   address(text_of(signed_part, "spender")),
                                   number(signed_part, "nonce"),
                                   number(signed_part, "deadline"),
                                   address(text_of(witness, "to")),
                                   number(witness, "validAfter")};
    CHECK(struct_hash(transfer) == digest_0x(typed, "struct_hash"));
    CHECK(permit2_digest(chain_id, transfer) == digest_0x(typed, "digest"));
  }
}

TEST_CASE("the assets that calyx knows have the domains that are on their chains") {
  const auto separator = [](std::string_view network) {
    const EvmAsset* asset = find_evm_asset(network);
    REQUIRE(asset != nullptr);
    return hex(domain_separator({asset->name, asset->version, asset->chain_id, address(asset->contract)}));
  };
  // As the contracts have them.
  CHECK(separator("base") == "02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f");
  CHECK(separator("eip155:84532") == "71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818");
  CHECK(checksummed_text(permit2_contract) == "0x000000000022D473030F116dDEE9F6B43aC78BA3");
  CHECK(checksummed_text(x402_permit2_proxy) == "0x402085c248EeA27D92E8b30b2C58ed07f9E20001");
  for (const EvmAsset& asset : evm_assets) {
    CHECK(checksummed_text(address(asset.contract)) == asset.contract);
    CHECK(read_evm_chain(asset.network) == asset.chain_id);
    CHECK(read_evm_chain(asset.caip2) == asset.chain_id);
    CHECK(asset.caip2 == "eip155:" + std::to_string(asset.chain_id));
  }
  CHECK(read_evm_chain("eip155:1") == 1);
  for (const std::string_view bad : {"", "eip155:", "eip155:01", "eip155:0x1", "eip155:18446744073709551616",
                                     "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "Base", "EIP155:1"}) {
    CAPTURE(bad);
    CHECK_FALSE(read_evm_chain(bad).has_value());
  }
}
