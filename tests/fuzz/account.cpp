// Names of accounts and chains: EIP-55 addresses, Solana's in base 58, CAIP-2, CAIP-10 and did:pkh.
#include <calyx/core/evm.hpp>
#include <calyx/core/mpp.hpp>
#include <calyx/core/payment_terms.hpp>
#include <calyx/core/request_signature.hpp>
#include <calyx/core/solana.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace calyx::fuzz {

namespace {

namespace signing = core::request_signature;

bool has_both_cases(std::string_view digits) {
  bool small = false;
  bool capital = false;
  for (const char c : digits) {
    small = small || (c >= 'a' && c <= 'f');
    capital = capital || (c >= 'A' && c <= 'F');
  }
  return small && capital;
}

void evm_address(std::string_view text) {
  const auto read = core::read_evm_address(text);
  demand(read == core::read_evm_address(text), "an address is read alike each time");
  if (!read) return;
  demand(text.size() == 42 && text.substr(0, 2) == "0x", "an address is 0x and 40 digits");
  const std::string lower = core::lower_text(*read);
  const std::string checksummed = core::checksummed_text(*read);
  demand(small_letters(text) == lower && small_letters(checksummed) == lower, "an address is its digits");
  demand(core::read_evm_address(lower) == read && core::read_evm_address(checksummed) == read,
         "each spelling of an address is read as the same");
  if (has_both_cases(text.substr(2))) demand(text == checksummed, "letters of both cases are EIP-55's");
  // Of the 40 letters' cases a single one that is wrong shows, unless the others are all alike.
  for (std::size_t i = 2; i < checksummed.size(); ++i) {
    std::string wrong = checksummed;
    if (wrong[i] < 'A') continue;
    wrong[i] = static_cast<char>(wrong[i] ^ 0x20);
    demand(!has_both_cases(std::string_view(wrong).substr(2)) || !core::read_evm_address(wrong),
           "a wrong checksum is refused");
  }
}

void solana_names(std::string_view text) {
  if (const auto address = core::solana::read_address(text)) {
    demand(core::solana::text(*address) == text, "a Solana address has one spelling");
    demand(text.size() >= 32 && text.size() <= 44, "a Solana address has 32 to 44 letters");
    demand(!core::solana::read_signature(text), "an address is no signature");
  }
  if (const auto signature = core::solana::read_signature(text))
    demand(core::solana::text(*signature) == text && text.size() <= 88, "a signature has one spelling");
}

void chain_names(std::string_view text) {
  if (const auto chain = core::read_evm_chain(text)) {
    const core::EvmAsset* const asset = core::find_evm_asset(text);
    demand(text == "eip155:" + std::to_string(*chain) || (asset != nullptr && asset->network == text),
           "a chain is named by CAIP-2, or is known");
    demand(core::read_evm_chain("eip155:" + std::to_string(*chain)) == chain, "CAIP-2 names the same chain");
  }
  const std::string_view kept = core::caip2_of(text);
  demand(core::caip2_of(kept) == kept, "a network that is kept is found by the name it is kept by");
  demand(kept.empty() || kept.find(':') != std::string_view::npos, "networks are kept by CAIP-2");
  demand((core::find_evm_asset(text) != nullptr) + (core::find_solana_asset(text) != nullptr) ==
             (kept.empty() ? 0 : 1),
         "a network is of one kind of chain");
}

void account_names(std::string_view text) {
  if (const auto address = signing::address_in(text)) {
    demand(!address->empty() && (signing::account_of(signing::Chain::base, *address) == text ||
                                 signing::account_of(signing::Chain::solana, *address) == text),
           "an account is its chain and its address");
  }
  if (const auto source = core::mpp::read_evm_source(text)) {
    demand(small_letters(text) ==
               "did:pkh:eip155:" + std::to_string(source->chain_id) + ":" + core::lower_text(source->account),
           "a source is its chain and its address");
    demand(text.substr(0, 15) == "did:pkh:eip155:", "only the address has capitals");
  }
}

}  // namespace

void target::account(std::string_view input) {
  evm_address(input);
  solana_names(input);
  chain_names(input);
  account_names(input);
}

}  // namespace calyx::fuzz
