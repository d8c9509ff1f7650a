// Transactions of Solana, byte by byte, and the verdict on one that is to pay by `exact`.
#include "payments/solana.hpp"

#include <algorithm>
#include <calyx/core/encoding.hpp>
#include <calyx/core/solana.hpp>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/curve.hpp"
#include "crypto/sha256.hpp"
#include "fuzz.hpp"
#include "wallets.hpp"

namespace calyx::fuzz {

namespace {

using core::solana::Address;
using core::solana::ExactReading;
using core::solana::ExactTerms;
using core::solana::ExactVerdict;
using core::solana::Instruction;
using core::solana::Transaction;
using core::solana::TransactionFault;

/// A compact-u16 in its shortest spelling.
std::string compact(std::size_t number) {
  std::string out;
  do {
    out.push_back(static_cast<char>((number & 127) | (number > 127 ? 128 : 0)));
    number >>= 7;
  } while (number != 0);
  return out;
}

/// The bytes of a transaction from what was read of it, up to the tables that it names.
std::string bytes_of(const Transaction& transaction) {
  std::string out = compact(transaction.signatures.size() / 64);
  out += transaction.signatures;
  if (transaction.version) out.push_back(static_cast<char>(128 | *transaction.version));
  for (const std::uint8_t count :
       {transaction.required_signatures, transaction.readonly_signed, transaction.readonly_unsigned})
    out.push_back(static_cast<char>(count));
  out += compact(transaction.accounts.size() / 32);
  out += transaction.accounts;
  out += transaction.recent_blockhash;
  out += compact(transaction.instructions.size());
  for (const Instruction& instruction : transaction.instructions) {
    out.push_back(static_cast<char>(instruction.program));
    out += compact(instruction.accounts.size());
    out += instruction.accounts;
    out += compact(instruction.data.size());
    out += instruction.data;
  }
  if (transaction.version) out += compact(transaction.lookups);
  return out;
}

void accepted_transaction(std::string_view bytes, const Transaction& transaction) {
  demand(bytes.size() <= core::solana::transaction_bytes_max, "a transaction keeps its limit");
  const std::string spelled = bytes_of(transaction);
  demand(transaction.lookups == 0 ? spelled == bytes : bytes.starts_with(spelled),
         "a transaction has one spelling");
  demand(bytes.ends_with(transaction.message) && !transaction.message.empty(),
         "the message is what is signed");
  const std::size_t accounts = transaction.accounts.size() / 32;
  demand(transaction.accounts.size() % 32 == 0 && transaction.recent_blockhash.size() == 32,
         "addresses are whole");
  demand(transaction.required_signatures > 0 &&
             transaction.signatures.size() == std::size_t{64} * transaction.required_signatures &&
             transaction.required_signatures <= accounts &&
             transaction.readonly_signed < transaction.required_signatures,
         "a signature for each signer, the first of whom pays the fee");
  for (const Instruction& instruction : transaction.instructions) {
    demand(instruction.program > 0 && instruction.program < accounts, "a program is an account");
    for (const char place : instruction.accounts)
      demand(transaction.lookups != 0 || static_cast<std::uint8_t>(place) < accounts,
             "an instruction names accounts that there are");
  }
  for (std::size_t i = 0; i < accounts; ++i)
    for (std::size_t k = 0; k < i; ++k)
      demand(transaction.account(i) != transaction.account(k), "no account stands twice");
}

std::uint64_t number_in(std::string_view octets) {
  std::uint64_t out = 0;
  for (auto octet = octets.rbegin(); octet != octets.rend(); ++octet)
    out = out * 256 + static_cast<std::uint8_t>(*octet);
  return out;
}

const EdWallet& payer() {
  static const EdWallet wallet(std::string(32, 'p'));
  return wallet;
}
Address fee_payer() {
  static const EdWallet wallet(std::string(32, 'f'));
  return wallet.key();
}

ExactReading judged(std::string_view bytes, const ExactTerms& terms) {
  const Address ours[] = {fee_payer(), terms.fee_payer};
  const auto judge = [&] { return payments::judge_exact_solana(core::base64(bytes), terms, ours); };
  const ExactReading out = judge();
  const ExactReading same = judge();
  demand(out.verdict == same.verdict && out.payment.message_hash == same.payment.message_hash,
         "a transaction is judged alike each time");
  return out;
}

/// What the transfer in a transaction would be for, or nothing where there is none to be judged.
struct Meant {
  ExactTerms terms;
  std::size_t authority = 0, destination = 0;  ///< Places of accounts.
  Address token_program{};
};
std::optional<Meant> meant_by(const Transaction& transaction) {
  const auto place_of = [&](const Instruction& instruction, std::size_t i) -> std::size_t {
    return static_cast<std::uint8_t>(instruction.accounts[i]);
  };
  const std::size_t accounts = transaction.accounts.size() / 32;
  if (transaction.lookups != 0 || transaction.instructions.size() < 3) return std::nullopt;
  const Instruction& transfer = transaction.instructions[2];
  if (transfer.accounts.size() != 4 || transfer.data.size() != 10) return std::nullopt;
  for (std::size_t i = 0; i < 4; ++i)
    if (place_of(transfer, i) >= accounts) return std::nullopt;
  Meant out;
  std::memcpy(out.token_program.data(), transaction.account(transfer.program).data(), 32);
  std::memcpy(out.terms.mint.data(), transaction.account(place_of(transfer, 1)).data(), 32);
  out.terms.pay_to.fill(7);
  out.terms.amount = number_in(transfer.data.substr(1, 8));
  std::memcpy(out.terms.fee_payer.data(), transaction.account(0).data(), 32);
  out.destination = place_of(transfer, 2);
  out.authority = place_of(transfer, 3);
  return out;
}

void good_transfer(const std::string& bytes, const ExactTerms& terms, const ExactReading& reading) {
  const Transaction transaction = core::solana::read_transaction(bytes).transaction;
  const Instruction& transfer = transaction.instructions[2];
  const auto account = [&](std::size_t i) {
    return transaction.account(static_cast<std::uint8_t>(transfer.accounts[i]));
  };
  demand(transaction.required_signatures == 2 && transaction.lookups == 0,
         "the payer and the fee payer sign");
  demand(transaction.account(0) == core::chars(terms.fee_payer),
         "the fee payer is the one that was asked for");
  demand(account(1) == core::chars(terms.mint) && number_in(transfer.data.substr(1, 8)) == terms.amount &&
             reading.payment.amount == terms.amount,
         "the transfer is of what was asked for");
  demand(account(0) == core::chars(reading.payment.source) && account(0) != account(2) &&
             account(2) == core::chars(reading.payment.destination) &&
             account(3) == core::chars(reading.payment.payer),
         "the transfer is between two accounts");
  for (const Instruction& instruction : transaction.instructions)
    for (const char place : instruction.accounts)
      demand(transaction.account(static_cast<std::uint8_t>(place)) != core::chars(terms.fee_payer),
             "no instruction names the fee payer");
  demand(reading.payment.compute_limit <= core::solana::compute_limit_max &&
             reading.payment.compute_price <= core::solana::compute_price_max,
         "the fee has a limit");
  demand(reading.payment.message_hash == crypto::Sha256{}(transaction.message), "a payment is its message");

  // The signature stands behind the count and the fee payer's own.
  std::string spoilt = bytes;
  const auto put = [&spoilt](const core::Signature& signature) {
    std::memcpy(spoilt.data() + 1 + 64, signature.data(), signature.size());
  };
  put(with_order_added(reading.payment.signature));
  demand(judged(spoilt, terms).verdict == ExactVerdict::signature, "S beyond the order is refused");
  core::Signature other = reading.payment.signature;
  other[3] ^= 1;
  put(other);
  demand(judged(spoilt, terms).verdict == ExactVerdict::signature, "a signature that was changed is refused");
  // The fee payer's is not looked at, and is no part of what makes a payment the same one.
  std::string paid = bytes;
  paid[1] = static_cast<char>(paid[1] ^ 1);
  const ExactReading again = judged(paid, terms);
  demand(again.verdict == ExactVerdict::ok && again.payment.message_hash == reading.payment.message_hash,
         "a payment is the same whoever pays its fee");

  ExactTerms dearer = terms;
  ++dearer.amount;
  demand(judged(bytes, dearer).verdict == ExactVerdict::other_amount, "another amount is refused");
  ExactTerms others = terms;
  others.pay_to.fill(8);
  demand(judged(bytes, others).verdict == ExactVerdict::other_recipient, "another's account is refused");
  std::size_t memos = 0;
  others = terms;
  for (const Instruction& instruction : transaction.instructions)
    if (transaction.account(instruction.program) == core::chars(core::solana::program::memo)) {
      others.memo = instruction.data;
      ++memos;
    }
  if (!others.memo.empty())
    demand(judged(bytes, others).verdict == (memos == 1 ? ExactVerdict::ok : ExactVerdict::memo_count),
           "the one memo binds");
  others.memo = "a memo that nobody wrote";
  demand(judged(bytes, others).verdict == (memos == 1 ? ExactVerdict::other_memo : ExactVerdict::memo_count),
         "another memo is refused");
}

/// The same transaction made to pay us, by our own payer and fee payer: what is left to refuse is its layout.
void made_ours(std::string bytes, const Transaction& transaction, Meant meant) {
  if (transaction.required_signatures < 2 || transaction.accounts.size() < 3 * 32) return;
  const auto at = [&](std::string_view part) {
    return static_cast<std::size_t>(part.data() - transaction.message.data());
  };
  const std::size_t message = bytes.size() - transaction.message.size();
  const std::size_t accounts = message + at(transaction.accounts);
  const auto destination = core::solana::associated_token_account(
      crypto::Sha256{}, crypto::Ed25519Curve{}, meant.terms.pay_to, meant.terms.mint, meant.token_program);
  if (!destination) return;
  const auto put = [&](std::size_t place, const Address& address) {
    std::memcpy(bytes.data() + accounts + 32 * place, address.data(), address.size());
  };
  put(meant.destination, *destination);
  put(1, payer().key());
  put(0, fee_payer());
  meant.terms.fee_payer = fee_payer();
  const core::Signature signature = payer().sign(std::string_view(bytes).substr(message));
  std::memcpy(bytes.data() + message - transaction.signatures.size() + 64, signature.data(),
              signature.size());
  const ExactReading reading = judged(bytes, meant.terms);
  demand(reading.verdict != ExactVerdict::signature, "the payer's own signature is found good");
  if (reading.verdict == ExactVerdict::ok) good_transfer(bytes, meant.terms, reading);
}

}  // namespace

void target::solana(std::string_view input) {
  const core::solana::TransactionReading reading = core::solana::read_transaction(input);
  const std::string text = core::base64(input);
  const Address ours[] = {fee_payer()};
  ExactTerms nobody;
  nobody.fee_payer = fee_payer();
  const ExactReading bare = payments::judge_exact_solana(text, nobody, ours);
  demand((bare.verdict == ExactVerdict::not_a_transaction) == (reading.fault != TransactionFault::none),
         "what is no transaction is judged as none");
  if (reading.fault != TransactionFault::none) return;
  accepted_transaction(input, reading.transaction);
  const std::optional<Meant> meant = meant_by(reading.transaction);
  if (!meant) return;
  judged(input, meant->terms);
  made_ours(std::string(input), reading.transaction, *meant);
}

}  // namespace calyx::fuzz
