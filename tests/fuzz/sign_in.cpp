// The texts by which wallets sign in, EIP-4361 and Sign-In With Solana, and the instants in them.
#include <time.h>

#include <algorithm>
#include <calyx/core/sign_in.hpp>
#include <calyx/core/time.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/secp256k1.hpp"
#include "fuzz.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

namespace signs = core::sign_in;

/// The instant that RFC 3339 spells, by the C library's calendar; `text` was read before.
std::int64_t us_by_calendar(std::string_view text) {
  const auto number = [text](std::size_t at, std::size_t digits) {
    return std::stoi(std::string(text.substr(at, digits)));
  };
  ::tm parts{};
  parts.tm_year = number(0, 4) - 1900;
  parts.tm_mon = number(5, 2) - 1;
  parts.tm_mday = number(8, 2);
  parts.tm_hour = number(11, 2);
  parts.tm_min = number(14, 2);
  parts.tm_sec = std::min(number(17, 2), 59);
  const int day = parts.tm_mday;
  std::int64_t us = static_cast<std::int64_t>(::timegm(&parts)) * core::us_per_second;
  demand(parts.tm_mday == day, "a day is one of its month");
  std::size_t at = 19;
  if (text[at] == '.') {
    std::string micro;
    for (++at; text[at] >= '0' && text[at] <= '9'; ++at) micro.push_back(text[at]);
    micro.resize(6, '0');
    us += std::stoi(micro);
  }
  if (text[at] == '+' || text[at] == '-') {
    const std::int64_t minutes = number(at + 1, 2) * 60 + number(at + 4, 2);
    us += (text[at] == '+' ? -minutes : minutes) * 60 * core::us_per_second;
  }
  return us;
}

void date_time(std::string_view text) {
  const auto instant = core::read_date_time(text);
  if (!instant) return;
  demand(instant->us == us_by_calendar(text), "an instant is the calendar's");
  if (instant->us < 0 || *instant > core::instant_max) return;
  const std::int64_t whole = instant->us - instant->us % core::us_per_second;
  demand(core::read_date_time(core::iso_text(*instant)) == Instant{whole},
         "an instant that is spelled is read");
}

bool same_signs_reading(const signs::Reading& one, const signs::Reading& other) {
  return one.fault == other.fault && one.line == other.line && one.message == other.message;
}

/// The first instants at which the message is good and no longer good, as far as it says.
void its_time(const signs::Message& message) {
  const auto begins = core::read_date_time(message.not_before);
  const auto ends = core::read_date_time(message.expiration_time);
  if (ends) {
    demand(signs::judge(message, {}, *ends) != signs::Fault::none, "a message ends with its last instant");
    if (!begins || *begins < *ends)
      demand(signs::judge(message, {}, Instant{ends->us - 1}) == signs::Fault::none,
             "a message is good to its end");
  }
  if (begins && (!ends || *begins < *ends)) {
    demand(signs::judge(message, {}, *begins) == signs::Fault::none, "a message is good from its beginning");
    demand(signs::judge(message, {}, Instant{begins->us - 1}) == signs::Fault::not_yet_valid,
           "a message is not good before");
  }
  const std::string other = message.domain + ".other";
  demand(signs::judge(message, {.domain = other}, {}) == signs::Fault::other_domain,
         "a domain is one domain");
  const std::string nonce = message.nonce + "0";
  demand(signs::judge(message, {.domain = message.domain, .nonce = nonce}, {}) == signs::Fault::other_nonce,
         "a nonce is one nonce");
}

/// The same message of our own wallet, which signs it.
void signed_message(signs::Message message) {
  if (!evm_signs) return;
  message.address = core::checksummed_text(evm_wallet().address());
  const auto text = signs::sign_in_text(message, signs::Chain::ethereum);
  demand(text.has_value(), "a message of another address is a message");
  const auto begins = core::read_date_time(message.not_before);
  const auto ends = core::read_date_time(message.expiration_time);
  const Instant now = begins ? *begins : ends ? Instant{ends->us - 1} : Instant{};
  const auto verdict = [&](std::string_view of, std::string_view signature) {
    return signs::verify_sign_in(of, signature, {}, now, crypto::EvmSignatures{});
  };
  const std::string length = std::to_string(text->size());
  const std::string good =
      evm_wallet().sign(core::keccak256("\x19"
                                        "Ethereum Signed Message:\n" +
                                        length + *text));
  const signs::Fault own = verdict(*text, good);
  demand(own == signs::judge(message, {}, now), "the wallet's own signature is found good");
  if (own != signs::Fault::none) return;
  for (const std::string& spoilt : spoilt_evm_signatures(evm_wallet(), good))
    demand(verdict(*text, spoilt) == signs::Fault::signature, "a signature that was changed is refused");
  message.nonce += "0";
  const auto other = signs::sign_in_text(message, signs::Chain::ethereum);
  demand(other.has_value() && verdict(*other, good) == signs::Fault::signature,
         "a signature is over one text");
}

void sign_in_of(std::string_view text, signs::Chain chain) {
  const signs::Reading reading = signs::read_sign_in(text, chain);
  demand(same_signs_reading(reading, signs::read_sign_in(std::string(text), chain)),
         "a text is read alike each time");
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  // Where a line is missing the one behind the end is told.
  demand(reading.line <= lines + 1, "a fault stands in a line");
  if (reading.fault != signs::Fault::none) {
    demand(signs::malformed(reading.fault), "a reader blames the text alone");
    return;
  }
  const signs::Message& message = reading.message;
  demand(text.size() <= signs::text_bytes_max, "a text keeps its limit");
  demand(signs::sign_in_text(message, chain) == std::string(text), "a message has one spelling");
  demand(text.find('\r') == std::string_view::npos && !text.ends_with('\n'),
         "lines end with LF, the last with none");
  if (chain == signs::Chain::ethereum) {
    demand(!message.uri.empty() && message.version == "1" && !message.chain_id.empty() &&
               !message.issued_at.empty() && message.nonce.size() >= signs::nonce_bytes_min,
           "what is demanded is there");
    const auto address = core::read_evm_address(message.address);
    demand(address && core::checksummed_text(*address) == message.address, "an address is checksummed");
    signed_message(message);
  } else {
    demand(message.scheme.empty() && core::unbase58_octets<32>(message.address).has_value(),
           "an address of Solana is one");
  }
  demand(!message.resources || message.resources->size() <= signs::resources_max,
         "resources keep their limit");
  its_time(message);
  for (const std::string* instant : {&message.issued_at, &message.expiration_time, &message.not_before})
    date_time(*instant);
}

}  // namespace

void target::sign_in(std::string_view input) {
  sign_in_of(input, signs::Chain::ethereum);
  sign_in_of(input, signs::Chain::solana);
  date_time(input);
}

}  // namespace calyx::fuzz
