/// \file
/// Solana as far as a payment needs it: addresses, transactions as bytes, associated token accounts, and the
/// judgement of a transaction that is to pay by x402's scheme `exact`.
///
/// Start at `judge_exact`. It says what can be said without a chain: that the accounts exist, that the
/// blockhash is young and that the transfer will succeed is for the settlement backend to find out.
///
/// Sources: Solana's wire format of transactions, and x402's `exact` on SVM as its reference facilitator
/// judges it. Where that one is looser than what a payment means, this is the stricter of the two, and says
/// so.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/encoding.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::core::solana {

/// An account or a program: 32 octets, a public key or a derived address.
using Address = PublicKey;

/// The address that `text` spells in base 58, or nothing when it is not exactly 32 octets.
constexpr std::optional<Address> read_address(std::string_view text) noexcept {
  return unbase58_octets<32>(text);
}
/// The signature that `text` spells in base 58, or nothing when it is not exactly 64 octets.
constexpr std::optional<Signature> read_signature(std::string_view text) noexcept {
  return unbase58_octets<64>(text);
}
inline std::string text(const Address& address) { return base58(chars(address)); }
inline std::string text(const Signature& signature) { return base58(chars(signature)); }

namespace program {
inline constexpr Address compute_budget = *read_address("ComputeBudget111111111111111111111111111111");
inline constexpr Address token = *read_address("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
inline constexpr Address token_2022 = *read_address("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
inline constexpr Address associated_token = *read_address("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");
inline constexpr Address memo = *read_address("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");
inline constexpr Address lighthouse = *read_address("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");
}  // namespace program

/// The largest transaction that the network carries. Units: octets.
inline constexpr std::size_t transaction_bytes_max = 1232;

/// A call of a program. Accounts and program are places among the transaction's accounts.
struct Instruction {
  std::uint8_t program = 0;
  std::string_view accounts;  ///< One octet an account. With lookups, a place may lie behind the static ones.
  std::string_view data;
};

/// A transaction, read. Owns: its views are of the bytes that were read, which outlive it.
struct Transaction {
  std::string_view signatures;           ///< 64 octets each.
  std::string_view message;              ///< What is signed.
  std::optional<std::uint8_t> version;   ///< 0, or nothing for a legacy transaction.
  std::uint8_t required_signatures = 0;  ///< Of the first accounts, the fee payer before all.
  std::uint8_t readonly_signed = 0;      ///< The last of those.
  std::uint8_t readonly_unsigned = 0;    ///< The last of the others.
  std::string_view accounts;             ///< The static ones, 32 octets each, none twice.
  std::string_view recent_blockhash;     ///< 32 octets.
  std::vector<Instruction> instructions;
  std::size_t lookups = 0;  ///< Tables on the chain that a v0 transaction takes more accounts from.

  /// The octets of the static account at a place, or the signature. The place must be one.
  std::string_view account(std::size_t place) const noexcept { return part(accounts, 32 * place, 32); }
  Signature signature(std::size_t place) const noexcept {
    return *octets<64>(part(signatures, 64 * place, 64));
  }
};

enum class TransactionFault : std::uint8_t {
  none,
  too_long,          ///< More than `transaction_bytes_max`.
  truncated,         ///< It ends before what it announces.
  bad_length,        ///< A compact-u16 that is not the shortest, or above 65,535.
  unknown_version,   ///< Neither legacy nor 0.
  bad_header,        ///< Counts of signers and read-only accounts that do not fit together.
  repeated_account,  ///< A static account twice.
  bad_place,         ///< An instruction names an account that there is not, or the fee payer as its program.
  trailing_bytes,    ///< Something behind the end.
};

struct TransactionReading {
  TransactionFault fault = TransactionFault::none;
  Transaction transaction;  ///< Of use only without a fault.
};

namespace detail {

/// Takes bytes from the front; once something was missing, all that follows is missing too.
class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept : rest_(bytes) {}

  TransactionFault fault() const noexcept { return fault_; }
  bool failed() const noexcept { return fault_ != TransactionFault::none; }
  std::string_view rest() const noexcept { return rest_; }

  std::string_view take(std::size_t size) noexcept {
    if (size > rest_.size()) fault_ = failed() ? fault_ : TransactionFault::truncated;
    if (failed()) return {};
    const std::string_view out = part(rest_, 0, size);
    rest_.remove_prefix(size);
    return out;
  }
  std::uint8_t octet() noexcept {
    const std::string_view one = take(1);
    return one.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(one[0]);
  }
  /// A compact-u16: seven bits an octet, the lowest first, the highest bit of each says that one follows. Two
  /// spellings of one number would be two texts of one transaction, so only the shortest is read.
  std::size_t length() noexcept {
    std::size_t value = 0;
    for (unsigned shift = 0; shift < 21; shift += 7) {
      const unsigned next = octet();
      if (failed()) return 0;
      value |= std::size_t{next & 127} << shift;
      if (next == 0 && shift != 0) break;
      if (next < 128 && value <= 0xFFFF) return value;
    }
    fault_ = TransactionFault::bad_length;
    return 0;
  }

 private:
  std::string_view rest_;
  TransactionFault fault_ = TransactionFault::none;
};

inline TransactionFault read_into(Transaction& out, std::string_view bytes) {
  if (bytes.size() > transaction_bytes_max) return TransactionFault::too_long;
  Reader reader(bytes);
  out.signatures = reader.take(64 * reader.length());
  out.message = reader.rest();
  std::uint8_t first = reader.octet();
  if ((first & 128) != 0) {
    out.version = static_cast<std::uint8_t>(first & 127);
    if (*out.version != 0) return TransactionFault::unknown_version;
    first = reader.octet();
  }
  out.required_signatures = first;
  out.readonly_signed = reader.octet();
  out.readonly_unsigned = reader.octet();
  const std::size_t accounts = reader.length();
  out.accounts = reader.take(32 * accounts);
  out.recent_blockhash = reader.take(32);
  const std::size_t instructions = reader.length();
  if (reader.failed()) return reader.fault();
  // The fee payer signs and is written to. A signature for each signer, neither more nor fewer.
  if (out.required_signatures == 0 || out.readonly_signed >= out.required_signatures ||
      out.signatures.size() != std::size_t{64} * out.required_signatures ||
      std::size_t{out.required_signatures} + out.readonly_unsigned > accounts)
    return TransactionFault::bad_header;
  for (std::size_t i = 1; i < accounts; ++i)  // there are at most 38
    for (std::size_t k = 0; k < i; ++k)
      if (out.account(i) == out.account(k)) return TransactionFault::repeated_account;

  // A count is held to what is left before room is made, so a short text cannot ask for much.
  if (instructions > reader.rest().size() / 3) return TransactionFault::truncated;
  out.instructions.resize(instructions);
  for (Instruction& instruction : out.instructions) {
    instruction.program = reader.octet();
    instruction.accounts = reader.take(reader.length());
    instruction.data = reader.take(reader.length());
  }
  std::size_t all = accounts;
  if (out.version) {
    out.lookups = reader.length();
    for (std::size_t i = 0; i < out.lookups && !reader.failed(); ++i) {
      reader.take(32);
      const std::size_t writable = reader.take(reader.length()).size();
      const std::size_t readonly = reader.take(reader.length()).size();
      if (!reader.failed() && writable + readonly == 0) return TransactionFault::bad_place;
      all += writable + readonly;
    }
  }
  if (reader.failed()) return reader.fault();
  if (!reader.rest().empty()) return TransactionFault::trailing_bytes;
  if (all > 256) return TransactionFault::bad_place;
  for (const Instruction& instruction : out.instructions) {
    if (instruction.program == 0 || instruction.program >= accounts) return TransactionFault::bad_place;
    for (const char place : instruction.accounts)
      if (static_cast<std::uint8_t>(place) >= all) return TransactionFault::bad_place;
  }
  return TransactionFault::none;
}

}  // namespace detail

/// Reads the bytes of a transaction, signatures in front. Each transaction has one text that is read: all
/// lengths are the shortest, and nothing stands behind the end.
inline TransactionReading read_transaction(std::string_view bytes) {
  TransactionReading out;
  out.fault = detail::read_into(out.transaction, bytes);
  return out;
}

/// A test whether 32 octets are a point of Ed25519's curve, of any order, as core takes it.
template <class C>
concept CurveTest = requires(const C& on_curve, const PublicKey& point) {
  { on_curve(point) } -> std::same_as<bool>;
};

/// The associated token account of `owner` for tokens of `mint`: the first address off the curve among those
/// that SHA-256 derives from owner, token program, mint and a counter from 255 down. Nothing when there is
/// none, which nobody has seen.
template <Sha256 H, CurveTest C>
std::optional<Address> associated_token_account(const H& sha256, const C& on_curve, const Address& owner,
                                                const Address& mint, const Address& token_program) {
  constexpr std::string_view mark = "ProgramDerivedAddress";
  std::string seeds;
  for (const Address* part : {&owner, &token_program, &mint}) seeds += chars(*part);
  std::string behind(chars(program::associated_token));
  behind += mark;
  for (unsigned counter = 256; counter-- > 0;) {
    const char octet = static_cast<char>(counter);
    const Address derived =
        sha256(std::string_view(seeds), std::string_view(&octet, 1), std::string_view(behind)).bytes;
    if (!on_curve(derived)) return derived;
  }
  return std::nullopt;
}

/// The highest price of a compute unit: 5 lamports. Units: micro-lamports, in which the instruction states
/// it.
inline constexpr std::uint64_t compute_price_max = 5'000'000;
/// The highest limit of compute units, since the fee payer pays the product; clients ask for 20,000.
inline constexpr std::uint32_t compute_limit_max = 400'000;

/// What a payment by `exact` must be. Owns: nothing.
struct ExactTerms {
  Address mint{};            ///< Requirement's `asset`.
  Address pay_to{};          ///< The wallet, not its token account.
  std::uint64_t amount = 0;  ///< Units: the mint's atomic units.
  Address fee_payer{};       ///< Requirement's `extra.feePayer`.
  std::string_view memo;     ///< Requirement's `extra.memo`; empty: any or none.
};

// One row a verdict: its word, the reference's word for it in x402 version 2 (@x402/svm 2.27.0 and its
// successors) behind `invalid_exact_svm_`, and the closest one of version 1, whose clients know a closed
// list, behind `invalid_exact_svm_payload_transaction`.
#define CALYX_SOLANA_EXACT_VERDICTS(X)                                                             \
  X(ok, "", "")                                                                                    \
  X(fee_payer_not_ours, "fee_payer_not_managed_by_facilitator", "")                                \
  X(not_a_transaction, "payload_transaction_could_not_be_decoded", "")                             \
  X(lookup_tables, "payload_transaction_could_not_be_decoded", "")                                 \
  X(instruction_count, "payload_transaction_instructions_length", "_instructions_length")          \
  X(compute_limit, "payload_transaction_instructions_compute_limit_instruction",                   \
    "_instructions_compute_limit_instruction")                                                     \
  X(compute_price, "payload_transaction_instructions_compute_price_instruction",                   \
    "_instructions_compute_price_instruction")                                                     \
  X(compute_price_too_high, "payload_transaction_instructions_compute_price_instruction_too_high", \
    "_instructions_compute_price_instruction_too_high")                                            \
  X(not_a_transfer, "payload_no_transfer_instruction", "_not_a_transfer_instruction")              \
  X(fee_payer_moves_funds, "payload_transaction_fee_payer_transferring_funds", "_instructions")    \
  X(other_mint, "payload_mint_mismatch", "_transfer_to_incorrect_ata")                             \
  X(other_recipient, "payload_recipient_mismatch", "_transfer_to_incorrect_ata")                   \
  X(other_amount, "payload_amount_mismatch", "_amount_mismatch")                                   \
  X(unknown_fourth, "payload_unknown_fourth_instruction", "_instructions")                         \
  X(unknown_fifth, "payload_unknown_fifth_instruction", "_instructions")                           \
  X(unknown_sixth, "payload_unknown_sixth_instruction", "_instructions")                           \
  X(memo_count, "payload_memo_count", "_instructions")                                             \
  X(other_memo, "payload_memo_mismatch", "_instructions")                                          \
  X(other_fee_payer, "fee_payer_mismatch", "")                                                     \
  X(signers, "payload_excessive_signers", "")                                                      \
  X(signature, "payload_signature_invalid", "")

/// What is said of a transaction that is to pay by `exact`.
enum class ExactVerdict : std::uint8_t {
#define CALYX_SOLANA_EXACT_WORD(word, v2, v1) word,
  CALYX_SOLANA_EXACT_VERDICTS(CALYX_SOLANA_EXACT_WORD)
#undef CALYX_SOLANA_EXACT_WORD
};
inline constexpr std::size_t exact_verdicts = static_cast<std::size_t>(ExactVerdict::signature) + 1;

/// Our word for the verdict.
constexpr std::string_view word(ExactVerdict verdict) noexcept {
#define CALYX_SOLANA_EXACT_WORD(word, v2, v1) #word "\n"
  return line_of(CALYX_SOLANA_EXACT_VERDICTS(CALYX_SOLANA_EXACT_WORD), static_cast<std::size_t>(verdict));
#undef CALYX_SOLANA_EXACT_WORD
}
/// `invalidReason` of x402 version 2; empty for `ok`.
inline std::string v2_code(ExactVerdict verdict) {
#define CALYX_SOLANA_EXACT_WORD(word, v2, v1) v2 "\n"
  const std::string_view end =
      line_of(CALYX_SOLANA_EXACT_VERDICTS(CALYX_SOLANA_EXACT_WORD), static_cast<std::size_t>(verdict));
#undef CALYX_SOLANA_EXACT_WORD
  std::string out(end.empty() ? "" : "invalid_exact_svm_");
  out += end;
  return out;
}
/// `invalidReason` or `errorReason` of x402 version 1; empty for `ok`.
inline std::string v1_code(ExactVerdict verdict) {
  if (verdict == ExactVerdict::ok) return {};
  if (verdict == ExactVerdict::fee_payer_not_ours) return "invalid_payment_requirements";
#define CALYX_SOLANA_EXACT_WORD(word, v2, v1) v1 "\n"
  std::string out = "invalid_exact_svm_payload_transaction";
  out += line_of(CALYX_SOLANA_EXACT_VERDICTS(CALYX_SOLANA_EXACT_WORD), static_cast<std::size_t>(verdict));
#undef CALYX_SOLANA_EXACT_WORD
  return out;
}

/// What a transaction pays, who, and out of what. Of use when the verdict is `ok`.
struct ExactPayment {
  Address payer{};  ///< The transfer's authority, who signed.
  Address source{};
  Address destination{};
  Address token_program{};
  std::uint64_t amount = 0;         ///< Units: the mint's atomic units.
  std::uint32_t compute_limit = 0;  ///< Units: compute units.
  std::uint64_t compute_price = 0;  ///< Units: micro-lamports a compute unit; the fee payer pays the product.
  Signature signature{};            ///< The payer's.
  /// The SHA-256 of the message: what makes a payment the same one. The chain takes a message once;
  /// signatures over it may be many, so neither they nor the transaction's text tell a repetition.
  Digest message_hash;
};

struct ExactReading {
  ExactVerdict verdict = ExactVerdict::ok;
  ExactPayment payment;
};

namespace detail {

inline std::uint64_t lowest_first(std::string_view octets) noexcept {
  std::uint64_t out = 0;
  for (std::size_t i = octets.size(); i-- > 0;) out = out << 8 | static_cast<std::uint8_t>(octets[i]);
  return out;
}

/// Layout, terms and signers, in the reference's order; the signature comes after.
template <Sha256 H, CurveTest C>
ExactVerdict judge_layout(ExactPayment& out, const Transaction& transaction, const ExactTerms& terms,
                          std::span<const Address> ours, const H& sha256, const C& on_curve) {
  using enum ExactVerdict;
  // What a table holds is known on the chain alone.
  if (transaction.lookups != 0) return lookup_tables;
  const std::vector<Instruction>& all = transaction.instructions;
  if (all.size() < 3 || all.size() > 6) return instruction_count;
  const auto calls = [&transaction](const Instruction& instruction, const Address& program) {
    return transaction.account(instruction.program) == chars(program);
  };
  const auto account = [&transaction](const Instruction& instruction, std::size_t i) {
    return transaction.account(static_cast<std::uint8_t>(instruction.accounts[i]));
  };

  const Instruction& limit = all[0];
  if (!calls(limit, program::compute_budget) || limit.data.size() != 5 || limit.data[0] != 2)
    return compute_limit;
  out.compute_limit = static_cast<std::uint32_t>(lowest_first(part(limit.data, 1)));
  if (out.compute_limit > compute_limit_max) return compute_limit;
  const Instruction& price = all[1];
  if (!calls(price, program::compute_budget) || price.data.size() != 9 || price.data[0] != 3)
    return compute_price;
  out.compute_price = lowest_first(part(price.data, 1));
  if (out.compute_price > compute_price_max) return compute_price_too_high;

  // TransferChecked: source, mint, destination, authority; 12, the amount, the mint's decimals. Further
  // accounts would be the signers of a shared authority, whom nobody here can judge.
  const Instruction& transfer = all[2];
  const bool by_token = calls(transfer, program::token);
  if ((!by_token && !calls(transfer, program::token_2022)) || transfer.data.size() != 10 ||
      transfer.data[0] != 12 || transfer.accounts.size() != 4)
    return not_a_transfer;
  out.token_program = by_token ? program::token : program::token_2022;
  std::memcpy(out.source.data(), account(transfer, 0).data(), 32);
  std::memcpy(out.destination.data(), account(transfer, 2).data(), 32);
  std::memcpy(out.payer.data(), account(transfer, 3).data(), 32);
  out.amount = lowest_first(part(transfer.data, 1, 8));
  // A fee payer that signs for us must stay out of reach of what it signs: no instruction names it.
  for (const Instruction& instruction : all)
    for (std::size_t i = 0; i < instruction.accounts.size(); ++i)
      for (const Address& one : ours)
        if (account(instruction, i) == chars(one)) return fee_payer_moves_funds;
  if (account(transfer, 1) != chars(terms.mint)) return other_mint;
  // From an account to itself nothing is paid, though the chain takes it.
  if (out.source == out.destination || associated_token_account(sha256, on_curve, terms.pay_to, terms.mint,
                                                                out.token_program) != out.destination)
    return other_recipient;
  if (out.amount != terms.amount) return other_amount;

  std::size_t memos = 0;
  std::string_view memo;
  for (std::size_t i = 3; i < all.size(); ++i) {
    if (calls(all[i], program::memo)) {
      ++memos;
      memo = all[i].data;
    } else if (!calls(all[i], program::lighthouse)) {
      return i == 3 ? unknown_fourth : i == 4 ? unknown_fifth : unknown_sixth;
    }
  }
  if (!terms.memo.empty() && memos != 1) return memo_count;
  if (!terms.memo.empty() && memo != terms.memo) return other_memo;

  if (transaction.account(0) != chars(terms.fee_payer)) return other_fee_payer;
  // The fee payer and the authority, in this order: each further signer costs our fee payer, and might not
  // sign.
  if (transaction.required_signatures != 2 || transaction.account(1) != chars(out.payer)) return signers;
  return ok;
}

}  // namespace detail

/// Judges the bytes of a transaction by `terms`. `ours` are the fee payers that the backend signs for.
///
/// The layout is fixed: the limit and the price of compute units, one TransferChecked of the token program or
/// token-2022, and up to three of Lighthouse or Memo. No instruction names one of `ours`. The tokens go to
/// the associated account of `pay_to`, exactly `amount` of them, and the payer's signature over the message
/// is good. The fee payer's own signature is left to whoever settles.
///
/// Stricter than the reference on purpose: accounts from lookup tables, shared authorities, further signers
/// and a transfer from an account to itself are refused, and `ours` may not even be named by a memo.
template <Sha256 H, CurveTest C, Ed25519Check V>
ExactReading judge_exact(std::string_view bytes, const ExactTerms& terms, std::span<const Address> ours,
                         const H& sha256, const C& on_curve, const V& check) {
  ExactReading out;
  if (std::find(ours.begin(), ours.end(), terms.fee_payer) == ours.end()) {
    out.verdict = ExactVerdict::fee_payer_not_ours;
    return out;
  }
  const TransactionReading reading = read_transaction(bytes);
  if (reading.fault != TransactionFault::none) {
    out.verdict = ExactVerdict::not_a_transaction;
    return out;
  }
  const Transaction& transaction = reading.transaction;
  out.verdict = detail::judge_layout(out.payment, transaction, terms, ours, sha256, on_curve);
  if (out.verdict != ExactVerdict::ok) return out;
  out.payment.signature = transaction.signature(1);
  out.payment.message_hash = sha256(transaction.message);
  if (!check(out.payment.payer, transaction.message, out.payment.signature))
    out.verdict = ExactVerdict::signature;
  return out;
}

}  // namespace calyx::core::solana
