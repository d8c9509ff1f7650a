#include "store/receipt_text.hpp"

#include <doctest/doctest.h>

#include <calyx/core/receipt.hpp>
#include <random>
#include <string>

using namespace calyx;

namespace {

std::string packed(std::string_view payload) {
  std::string out;
  store::append_packed(out, payload);
  return out;
}

/// What `text` unpacks to; a text of its own kind when it does not.
std::string unpacked(std::string_view text) {
  std::string out;
  return store::append_unpacked(out, text) ? out : std::string("(nothing)");
}

std::string payload_of(std::string_view job_id, std::string_view gpu_model, core::Digest output) {
  core::Digest head;
  for (std::size_t i = 0; i < head.bytes.size(); ++i) head.bytes[i] = static_cast<std::uint8_t>(7 * i + 3);
  std::string out;
  core::append_receipt_payload(out, {.id = ReceiptId::make(1, 2, 3),
                                     .issuer = "calyx",
                                     .issued_at = Instant{1'774'990'800'000'000},
                                     .job_id = job_id,
                                     .payer_wallet = WalletId::make(4, 5, 6),
                                     .host_wallet = WalletId::make(7, 8, 9),
                                     .gpu_model = gpu_model,
                                     .duration_seconds = 10'082,
                                     .output_hash = output,
                                     .gross = Money{3'800'000},
                                     .platform_fee = Money{570'000},
                                     .net = Money{3'230'000},
                                     .fee_basis_points = 1500,
                                     .reference = TxnId::make(1, 10, 3),
                                     .seq = 11,
                                     .head = head});
  return out;
}

}  // namespace

TEST_CASE("a payload comes back as it was, and takes less than half of itself") {
  const std::string payload = payload_of("job-441", "RTX 4090", {});
  const std::string bytes = packed(payload);
  CHECK(unpacked(bytes) == payload);
  CHECK(payload.size() > 600);
  CHECK(bytes.size() < payload.size() / 2);
}

TEST_CASE("whatever is signed comes back, ours or not") {
  const std::string usual = payload_of("job-441", "RTX 4090", {});
  struct Row {
    const char* says;
    std::string payload;
  };
  const Row rows[] = {
      {"nothing", ""},
      {"no receipt", "{}"},
      {"one word is missing", usual.substr(0, usual.size() - 5)},
      {"the words in another order", usual.substr(300) + usual.substr(0, 300)},
      {"members behind the last word", usual.substr(0, usual.size() - 1) + R"(,"work":{"kind":"recipe"}})"},
      {"a text that holds a word", payload_of(R"(","ledger":{"head":")", R"(","seq":)", {})},
      {"a text of 64 hex digits", payload_of(std::string(64, 'a'), std::string(64, 'A'), {})},
      {"texts at the sizes where a piece is written in another way",
       payload_of(std::string(249, 'j'), std::string(250, 'g'), {})},
      {"a text of 100,000 bytes", payload_of("j", std::string(100'000, 'g'), {})},
      {"bytes that are no text", std::string("\x00\x01\xff{\x80", 5)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(unpacked(packed(row.payload)) == row.payload);
  }
}

TEST_CASE("what was cut short or altered unpacks to something else or to nothing, and never beyond its end") {
  const std::string payload = payload_of("job-441", "RTX 4090", {});
  const std::string bytes = packed(payload);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(unpacked(std::string_view(bytes).substr(0, size)) != payload);
  }
  std::mt19937_64 drawn(20261125);
  for (int i = 0; i < 20'000; ++i) {
    std::string other = bytes;
    other[drawn() % other.size()] ^= static_cast<char>(1U << (drawn() % 8));
    CAPTURE(i);
    REQUIRE(unpacked(other) != payload);
  }
  for (const char* wrong : {"", "\x02", "\x01", "\x01\xff"}) CHECK(unpacked(wrong) == "(nothing)");
}
