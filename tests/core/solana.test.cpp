#include <calyx/core/solana.hpp>
#include <string>
#include <vector>

#include "payments_for_tests.hpp"
#include "testing.hpp"

using namespace calyx::core;
using namespace calyx::core::solana;

namespace {

using for_tests::text_of;
using for_tests::vectors;

const for_tests::Hash hash;
const for_tests::OnCurve on_curve;
const for_tests::Check check;

Address address(std::string_view text) {
  const auto out = read_address(text);
  REQUIRE(out);
  return *out;
}

// The RFC 8032 seeds that the vectors were made with: the payer, the receiver, the fee payer.
const std::string payer_seed = *unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
const std::string receiver_seed = *unhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
const std::string fee_payer_seed = *unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");

std::string compact(std::size_t value) {
  std::string out;
  for (; value > 127; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
  return out;
}
std::string lowest_first(std::uint64_t value, std::size_t octets) {
  std::string out;
  for (; octets-- > 0; value >>= 8) out.push_back(static_cast<char>(value & 255));
  return out;
}
std::string places(std::initializer_list<int> indices) {
  std::string out;
  for (const int index : indices) out.push_back(static_cast<char>(index));
  return out;
}

/// A transaction to be written: by default one that pays.
struct Draft {
  struct Call {
    int program;
    std::string accounts;
    std::string data;
  };
  struct Table {
    Address table;
    std::string writable;
    std::string readonly;
  };

  for_tests::Signer payer{payer_seed};
  for_tests::Signer receiver{receiver_seed};
  for_tests::Signer fee_payer{fee_payer_seed};
  Address mint = address("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
  bool versioned = true;
  int version = 0;
  int required = 2, readonly_signed = 1, readonly_unsigned = 4;
  // 0 fee payer, 1 payer, 2 destination, 3 source, 4 mint, 5 compute budget, 6 memo, 7 token
  std::vector<Address> accounts = {
      fee_payer.key,
      payer.key,
      *associated_token_account(hash, on_curve, receiver.key, mint, program::token),
      *associated_token_account(hash, on_curve, payer.key, mint, program::token),
      mint,
      program::compute_budget,
      program::memo,
      program::token};
  std::vector<Call> calls = {{5, "", '\2' + lowest_first(20'000, 4)},
                             {5, "", '\3' + lowest_first(1, 8)},
                             {7, places({3, 4, 2, 1}), '\14' + lowest_first(1'000'000, 8) + '\6'},
                             {6, "", "a memo"}};
  std::vector<Table> tables;

  std::string message() const {
    std::string out;
    if (versioned) out.push_back(static_cast<char>(128 | version));
    for (const int count : {required, readonly_signed, readonly_unsigned})
      out.push_back(static_cast<char>(count));
    out += compact(accounts.size());
    for (const Address& account : accounts) out += chars(account);
    out += std::string(32, '\11');
    out += compact(calls.size());
    for (const Call& call : calls) {
      out.push_back(static_cast<char>(call.program));
      out += compact(call.accounts.size()) + call.accounts;
      out += compact(call.data.size()) + call.data;
    }
    if (!versioned) return out;
    out += compact(tables.size());
    for (const Table& table : tables) {
      out += chars(table.table);
      out += compact(table.writable.size()) + table.writable;
      out += compact(table.readonly.size()) + table.readonly;
    }
    return out;
  }
  /// The message with as many signatures as it asks for, the payer's in the second place.
  std::string bytes() const { return signed_bytes(message()); }
  std::string signed_bytes(const std::string& message) const {
    std::string out = compact(static_cast<std::size_t>(required));
    for (int i = 0; i < required; ++i)
      out += i == 1 ? std::string(chars(payer(message))) : std::string(64, '\0');
    return out + message;
  }
  ExactTerms terms() const { return {mint, receiver.key, 1'000'000, fee_payer.key, {}}; }
  ExactReading judge(const ExactTerms& terms) const { return judge(bytes(), terms); }
  ExactReading judge(std::string_view bytes, const ExactTerms& terms) const {
    const Address ours[] = {fee_payer.key};
    return judge_exact(bytes, terms, ours, hash, on_curve, check);
  }
  ExactVerdict verdict() const { return judge(terms()).verdict; }
};

TransactionFault fault_of(const std::string& bytes) { return read_transaction(bytes).fault; }

/// The requirement of a vector.
ExactTerms terms_of(const json::Value& requirement) {
  const json::Value* extra = requirement.find("extra");
  REQUIRE(extra != nullptr);
  ExactTerms out;
  out.mint = address(text_of(requirement, "asset"));
  out.pay_to = address(text_of(requirement, "payTo"));
  out.amount = std::stoull(text_of(requirement, "amount"));
  out.fee_payer = address(text_of(*extra, "feePayer"));
  if (const json::Value* memo = extra->find("memo")) out.memo = *memo->string();
  return out;
}

const json::Value& at(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  REQUIRE_MESSAGE(member != nullptr, "no member " << std::string(key));
  return *member;
}

std::string transaction_of(const json::Value& row) {
  const auto bytes = unbase64(text_of(at(at(row, "payload"), "payload"), "transaction"));
  REQUIRE(bytes);
  return *bytes;
}

}  // namespace

TEST_CASE("an address is 32 octets in base 58, a signature 64") {
  CHECK(text(program::token) == "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
  CHECK(text(Address{}) == std::string(32, '1'));
  CHECK_FALSE(read_address(""));
  CHECK_FALSE(read_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"));
  CHECK_FALSE(read_address(std::string(31, '1')));
  CHECK_FALSE(read_address(" TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"));
  int rows = 0;
  for (const json::Value& row : vectors("solana_ed25519.json")) {
    CAPTURE(text_of(row, "name"));
    const auto key = read_address(text_of(at(row, "signing_key"), "address"));
    REQUIRE(key);
    CHECK(hex(chars(*key)) == text_of(at(row, "signing_key"), "public_key_hex"));
    const auto signature = read_signature(text_of(row, "signature_base58"));
    REQUIRE(signature);
    CHECK(base64(chars(*signature)) == text_of(row, "signature_base64"));
    CHECK(text(*signature) == text_of(row, "signature_base58"));
    CHECK_FALSE(read_address(text_of(row, "signature_base58")));
    CHECK(check(*key, text_of(row, "message"), *signature) == (text_of(row, "calyx_expect") == "ok"));
    ++rows;
  }
  CHECK(rows == 6);
}

TEST_CASE(
    "a real client's transactions are read as they were made, and judged as the reference judged them") {
  int rows = 0;
  int positives = 0;
  for (const json::Value& row : vectors("x402_exact_svm.json")) {
    CAPTURE(text_of(row, "name"));
    ++rows;
    const std::string bytes = transaction_of(row);
    const ExactTerms terms = terms_of(at(row, "payment_requirements"));
    const Address ours[] = {address("Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr")};
    const ExactReading reading = judge_exact(bytes, terms, ours, hash, on_curve, check);
    const json::Value& result = at(row, "reference_result");
    if (!*at(result, "isValid").boolean()) {
      CHECK(v2_code(reading.verdict) == text_of(result, "invalidReason"));
      continue;
    }
    ++positives;
    CHECK(word(reading.verdict) == "ok");
    CHECK(text(reading.payment.payer) == text_of(result, "payer"));
    CHECK(text(reading.payment.source) == text_of(row, "source_ata"));
    CHECK(text(reading.payment.destination) == text_of(row, "destination_ata"));
    CHECK(reading.payment.amount == terms.amount);
    CHECK(reading.payment.compute_limit == 20'000);
    CHECK(reading.payment.compute_price == 1);
    CHECK(associated_token_account(hash, on_curve, reading.payment.payer, terms.mint, program::token) ==
          reading.payment.source);

    const TransactionReading read = read_transaction(bytes);
    REQUIRE(read.fault == TransactionFault::none);
    const Transaction& transaction = read.transaction;
    CHECK(hex(transaction.message) == text_of(row, "message_bytes_hex"));
    CHECK(reading.payment.message_hash == hash(transaction.message));
    const json::Value& decoded = at(row, "decoded");
    CHECK(transaction.version == 0);
    const json::Value& header = at(decoded, "header");
    CHECK(transaction.required_signatures == for_tests::number_of(header, "numSignerAccounts"));
    CHECK(transaction.readonly_signed == for_tests::number_of(header, "numReadonlySignerAccounts"));
    CHECK(transaction.readonly_unsigned == for_tests::number_of(header, "numReadonlyNonSignerAccounts"));
    CHECK(base58(transaction.recent_blockhash) == text_of(decoded, "recent_blockhash"));
    std::vector<std::string> accounts;
    for (const json::Value& account : *at(decoded, "static_accounts").array())
      accounts.push_back(*account.string());
    REQUIRE(transaction.accounts.size() == 32 * accounts.size());
    for (std::size_t i = 0; i < accounts.size(); ++i) CHECK(base58(transaction.account(i)) == accounts[i]);
    const json::Array& calls = *at(decoded, "instructions").array();
    REQUIRE(transaction.instructions.size() == calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i) {
      const Instruction& instruction = transaction.instructions[i];
      CHECK(base58(transaction.account(instruction.program)) == text_of(calls[i], "program"));
      CHECK(hex(instruction.data) == text_of(calls[i], "data_hex"));
      const json::Array& named = *at(calls[i], "accounts").array();
      REQUIRE(instruction.accounts.size() == named.size());
      for (std::size_t k = 0; k < named.size(); ++k)
        CHECK(base58(transaction.account(static_cast<std::uint8_t>(instruction.accounts[k]))) ==
              *named[k].string());
    }
    const json::Array& signatures = *at(row, "signatures").array();
    CHECK(text(transaction.signature(1)) == text_of(signatures[1], "signature_base58"));
  }
  CHECK(rows == 6);
  CHECK(positives == 3);
}

TEST_CASE("each refusal has a verdict, and each verdict a word in both versions") {
  CHECK(word(Draft{}.verdict()) == "ok");
  struct Row {
    const char* verdict;
    void (*change)(Draft& draft, ExactTerms& terms);
  };
  const Row rows[] = {
      {"ok", [](Draft& draft, ExactTerms&) { draft.versioned = false; }},
      {"ok", [](Draft& draft, ExactTerms&) { draft.calls.pop_back(); }},
      {"ok", [](Draft&, ExactTerms& terms) { terms.memo = "a memo"; }},
      {"ok",
       [](Draft& draft, ExactTerms&) {
         draft.accounts.push_back(program::lighthouse);
         draft.readonly_unsigned++;
         draft.calls.push_back({8, places({3}), "guard"});
         draft.calls.push_back({8, places({2, 1}), ""});
       }},
      {"ok", [](Draft& draft, ExactTerms&) { draft.calls[1].data = '\3' + lowest_first(5'000'000, 8); }},
      {"ok",  // out of an account that is nobody's associated one
       [](Draft& draft, ExactTerms&) { draft.accounts[3] = Address{7}; }},
      {"fee_payer_not_ours", [](Draft& draft, ExactTerms& terms) { terms.fee_payer = draft.receiver.key; }},
      {"lookup_tables",
       [](Draft& draft, ExactTerms&) {
         draft.tables.push_back({Address{9}, places({0}), ""});
       }},
      {"not_a_transaction", [](Draft& draft, ExactTerms&) { draft.version = 1; }},
      {"instruction_count", [](Draft& draft, ExactTerms&) { draft.calls.resize(2); }},
      {"instruction_count", [](Draft& draft, ExactTerms&) { draft.calls.resize(7, draft.calls[3]); }},
      {"compute_limit", [](Draft& draft, ExactTerms&) { std::swap(draft.calls[0], draft.calls[1]); }},
      {"compute_limit", [](Draft& draft, ExactTerms&) { draft.calls[0].data.pop_back(); }},
      {"compute_limit", [](Draft& draft, ExactTerms&) { draft.calls[0].data.clear(); }},
      {"compute_limit",
       [](Draft& draft, ExactTerms&) { draft.calls[0].data = '\2' + lowest_first(400'001, 4); }},
      {"compute_limit", [](Draft& draft, ExactTerms&) { draft.calls[0].program = 6; }},
      {"compute_price", [](Draft& draft, ExactTerms&) { draft.calls[1] = draft.calls[0]; }},
      {"compute_price", [](Draft& draft, ExactTerms&) { draft.calls[1].data += '\0'; }},
      {"compute_price", [](Draft& draft, ExactTerms&) { draft.calls[1].program = 6; }},
      {"compute_price_too_high",
       [](Draft& draft, ExactTerms&) { draft.calls[1].data = '\3' + lowest_first(5'000'001, 8); }},
      {"compute_price_too_high",
       [](Draft& draft, ExactTerms&) {
         draft.calls[1].data = '\3' + lowest_first(std::uint64_t{1} << 63, 8);
       }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { std::swap(draft.calls[2], draft.calls[3]); }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { draft.calls[2].data[0] = '\3'; }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { draft.calls[2].data.pop_back(); }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { draft.calls[2].accounts.pop_back(); }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { draft.calls[2].accounts += '\1'; }},
      {"not_a_transfer", [](Draft& draft, ExactTerms&) { draft.accounts[7] = Address{3}; }},
      {"fee_payer_moves_funds",
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].accounts = places({3, 4, 2, 0});
       }},
      {"fee_payer_moves_funds",
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].accounts = places({0, 4, 2, 1});
       }},
      {"fee_payer_moves_funds", [](Draft& draft, ExactTerms&) { draft.calls[3].accounts = places({0}); }},
      {"fee_payer_moves_funds", [](Draft& draft, ExactTerms&) { draft.calls[0].accounts = places({0}); }},
      {"other_mint", [](Draft& draft, ExactTerms& terms) { terms.mint = draft.receiver.key; }},
      {"other_mint",
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].accounts = places({3, 5, 2, 1});
       }},
      {"other_recipient", [](Draft& draft, ExactTerms& terms) { terms.pay_to = draft.payer.key; }},
      {"other_recipient",  // the wallet itself instead of its token account
       [](Draft& draft, ExactTerms&) { draft.accounts[2] = draft.receiver.key; }},
      {"other_recipient",  // the account of the other token program
       [](Draft& draft, ExactTerms&) { draft.accounts[7] = program::token_2022; }},
      {"other_recipient",
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].accounts = places({2, 4, 3, 1});
       }},
      {"other_recipient",  // from the right account to itself
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].accounts = places({2, 4, 2, 1});
       }},
      {"other_amount", [](Draft&, ExactTerms& terms) { terms.amount += 1; }},
      {"other_amount", [](Draft&, ExactTerms& terms) { terms.amount -= 1; }},
      {"other_amount",
       [](Draft& draft, ExactTerms&) {
         draft.calls[2].data = '\14' + lowest_first(1'000'000 + (std::uint64_t{1} << 32), 8) + '\6';
       }},
      {"unknown_fourth", [](Draft& draft, ExactTerms&) { draft.calls[3] = draft.calls[2]; }},
      {"unknown_fourth", [](Draft& draft, ExactTerms&) { draft.accounts[6] = Address{5}; }},
      {"unknown_fifth", [](Draft& draft, ExactTerms&) { draft.calls.push_back(draft.calls[2]); }},
      {"unknown_sixth",
       [](Draft& draft, ExactTerms&) {
         draft.calls.push_back(draft.calls[3]);
         draft.calls.push_back(draft.calls[2]);
       }},
      {"memo_count",
       [](Draft& draft, ExactTerms& terms) {
         draft.calls.pop_back();
         terms.memo = "a memo";
       }},
      {"memo_count",
       [](Draft& draft, ExactTerms& terms) {
         draft.calls.push_back(draft.calls[3]);
         terms.memo = "a memo";
       }},
      {"other_memo", [](Draft&, ExactTerms& terms) { terms.memo = "a memo "; }},
      {"other_memo", [](Draft&, ExactTerms& terms) { terms.memo = "a mem"; }},
      {"other_fee_payer", [](Draft& draft, ExactTerms&) { draft.accounts[0] = draft.receiver.key; }},
      {"signers",
       [](Draft& draft, ExactTerms&) {
         draft.required = 3;
         draft.readonly_signed = 1;
       }},
      {"signers",
       [](Draft& draft, ExactTerms&) {
         draft.required = 1;
         draft.readonly_signed = 0;
       }},
      {"signers",  // the second signer is not the one who pays
       [](Draft& draft, ExactTerms&) {
         std::swap(draft.accounts[1], draft.accounts[3]);
         draft.calls[2].accounts = places({1, 4, 2, 3});
       }},
      {"signature", [](Draft& draft, ExactTerms&) { draft.payer = for_tests::Signer('x'); }},
  };
  std::vector<std::string> seen;
  for (const Row& row : rows) {
    Draft draft;
    ExactTerms terms = draft.terms();
    row.change(draft, terms);
    CAPTURE(std::string(row.verdict));
    CHECK(word(draft.judge(terms).verdict) == row.verdict);
    seen.push_back(row.verdict);
  }
  for (std::size_t i = 0; i < exact_verdicts; ++i) {
    const auto verdict = static_cast<ExactVerdict>(i);
    CAPTURE(std::string(word(verdict)));
    CHECK(std::find(seen.begin(), seen.end(), word(verdict)) != seen.end());
    CHECK((v2_code(verdict).substr(0, 18) == "invalid_exact_svm_") == (i != 0));
    CHECK((v1_code(verdict).substr(0, 8) == "invalid_") == (i != 0));
  }
  CHECK(v2_code(ExactVerdict::ok).empty());
  CHECK(v1_code(ExactVerdict::ok).empty());
  CHECK(word(ExactVerdict::signature) == "signature");
  CHECK(v1_code(ExactVerdict::fee_payer_not_ours) == "invalid_payment_requirements");
  CHECK(v1_code(ExactVerdict::signature) == "invalid_exact_svm_payload_transaction");
  CHECK(v1_code(ExactVerdict::other_amount) == "invalid_exact_svm_payload_transaction_amount_mismatch");
  CHECK(v2_code(ExactVerdict::signature) == "invalid_exact_svm_payload_signature_invalid");
}

TEST_CASE("token-2022 pays into that program's account") {
  Draft draft;
  draft.accounts[7] = program::token_2022;
  draft.accounts[2] =
      *associated_token_account(hash, on_curve, draft.receiver.key, draft.mint, program::token_2022);
  const ExactReading reading = draft.judge(draft.terms());
  CHECK(word(reading.verdict) == "ok");
  CHECK(reading.payment.token_program == program::token_2022);
}

TEST_CASE("any of our fee payers is out of reach, not the one that pays alone") {
  Draft draft;
  draft.accounts.insert(draft.accounts.end(), draft.receiver.key);
  draft.readonly_unsigned++;
  draft.calls[3].accounts = places({8});
  const Address ours[] = {draft.fee_payer.key, draft.receiver.key};
  CHECK(word(judge_exact(draft.bytes(), draft.terms(), ours, hash, on_curve, check).verdict) ==
        "fee_payer_moves_funds");
  CHECK(word(draft.verdict()) == "ok");
  CHECK(word(judge_exact(draft.bytes(), draft.terms(), {}, hash, on_curve, check).verdict) ==
        "fee_payer_not_ours");
}

TEST_CASE("a transaction has one text, and what is not quite one says why") {
  const Draft draft;
  const std::string whole = draft.bytes();
  REQUIRE(fault_of(whole) == TransactionFault::none);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    const TransactionFault fault = fault_of(whole.substr(0, size));
    CHECK((fault == TransactionFault::truncated || fault == TransactionFault::bad_header));
  }
  CHECK(fault_of(whole + '\0') == TransactionFault::trailing_bytes);
  CHECK(fault_of(std::string(transaction_bytes_max + 1, '\1')) == TransactionFault::too_long);
  CHECK(fault_of("") == TransactionFault::truncated);

  // The number of signatures, in two octets and in three, and one that ends nowhere.
  const std::string behind = whole.substr(1);
  CHECK(fault_of("\x82" + std::string(1, '\0') + behind) == TransactionFault::bad_length);
  CHECK(fault_of("\x82\x80" + std::string(1, '\0') + behind) == TransactionFault::bad_length);
  CHECK(fault_of("\x82\x80\x80\x80" + behind) == TransactionFault::bad_length);
  CHECK(fault_of("\xFF\xFF\x04" + behind) == TransactionFault::bad_length);
  CHECK(fault_of("\xFF\xFF\x03" + behind) == TransactionFault::truncated);

  const auto changed = [](void (*change)(Draft&)) {
    Draft other;
    change(other);
    return fault_of(other.bytes());
  };
  CHECK(changed([](Draft& d) { d.version = 1; }) == TransactionFault::unknown_version);
  CHECK(changed([](Draft& d) { d.version = 127; }) == TransactionFault::unknown_version);
  CHECK(changed([](Draft& d) { d.required = 0; }) == TransactionFault::bad_header);
  CHECK(changed([](Draft& d) { d.readonly_signed = 2; }) == TransactionFault::bad_header);
  CHECK(changed([](Draft& d) { d.readonly_unsigned = 7; }) == TransactionFault::bad_header);
  CHECK(changed([](Draft& d) { d.readonly_unsigned = 6; }) == TransactionFault::none);
  CHECK(changed([](Draft& d) { d.accounts[4] = d.accounts[2]; }) == TransactionFault::repeated_account);
  CHECK(changed([](Draft& d) { d.calls[3].program = 8; }) == TransactionFault::bad_place);
  CHECK(changed([](Draft& d) { d.calls[3].program = 0; }) == TransactionFault::bad_place);
  CHECK(changed([](Draft& d) { d.calls[3].accounts = places({8}); }) == TransactionFault::bad_place);
  CHECK(changed([](Draft& d) { d.tables.push_back({Address{}, "", ""}); }) == TransactionFault::bad_place);
  CHECK(changed([](Draft& d) {
          d.tables.push_back({Address{}, places({1}), places({2})});
          d.calls[3].accounts = places({8, 9});
        }) == TransactionFault::none);
  CHECK(changed([](Draft& d) {
          d.tables.push_back({Address{}, places({1}), ""});
          d.calls[3].accounts = places({9});
        }) == TransactionFault::bad_place);
  CHECK(changed([](Draft& d) {
          d.tables.push_back({Address{}, std::string(249, '\1'), ""});
        }) == TransactionFault::bad_place);

  // One signature too few for the message.
  CHECK(fault_of('\1' + whole.substr(65)) == TransactionFault::bad_header);
}

TEST_CASE("no change of a transaction is taken for another payment") {
  const std::uint64_t seed = for_tests::seed_for("changed transactions");
  CAPTURE(seed);
  calyx::testing::Dice dice(seed);
  const auto count = calyx::testing::by_scale(2'000, 40'000, 1'000'000);
  const Draft draft;
  const ExactTerms terms = draft.terms();
  const ExactPayment meant = draft.judge(terms).payment;
  const std::string original = draft.message();
  int taken = 0;
  int taken_changed = 0;
  for (int i = 0; i < count; ++i) {
    std::string message = original;
    std::string bytes = draft.bytes();
    std::string& text = dice.coin() ? message : bytes;
    for (std::uint64_t changes = 1 + dice.below(3); changes-- > 0;) {
      const std::size_t place = dice.below(text.size());
      const char other = static_cast<char>(dice.below(256));
      switch (dice.below(6)) {
        case 0: text[place] = other; break;
        case 1: text[place] = static_cast<char>(text[place] ^ 1 << dice.below(8)); break;
        case 2: text.insert(place, 1, other); break;
        case 3: text.erase(place, 1 + dice.below(3)); break;
        case 4: text.insert(place, text.substr(dice.below(text.size()), dice.below(40))); break;
        default: text.resize(place); break;
      }
      if (text.empty()) text.push_back(other);
    }
    // A change of the message is signed again by the payer, so that the signature does not hide the other
    // checks.
    if (&text == &message) bytes = draft.signed_bytes(message);
    const ExactReading reading = draft.judge(bytes, terms);
    if (reading.verdict != ExactVerdict::ok) continue;
    ++taken;
    CAPTURE(hex(bytes));
    CHECK(reading.payment.payer == meant.payer);
    CHECK(reading.payment.destination == meant.destination);
    CHECK(reading.payment.token_program == meant.token_program);
    CHECK(reading.payment.amount == meant.amount);
    CHECK(reading.payment.compute_price <= compute_price_max);
    if (message == original) {
      // Nobody signed again: then it is the same message, whatever stands in the fee payer's place.
      CHECK(reading.payment.message_hash == meant.message_hash);
    } else {
      ++taken_changed;
      CHECK(reading.payment.message_hash != meant.message_hash);
    }
  }
  calyx::testing::told("changed Solana transactions", static_cast<std::uint64_t>(count));
  CHECK(taken > 0);  // else nothing was looked at: blockhash, memo and the empty signature may change
  CHECK(taken_changed > 0);
}
