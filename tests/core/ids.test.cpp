#include <doctest/doctest.h>

#include <calyx/core/ids.hpp>
#include <cstdint>
#include <random>
#include <string>

using namespace calyx;
using namespace calyx::core;

static_assert(!WalletId::read("wlt_"));
static_assert(WalletId::read("wlt_00000000000000000000000000") == WalletId{});

TEST_CASE("an id is read from its own text, and keeps what it was made of") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto born_us = static_cast<std::int64_t>(random() % 253'402'300'799'999'999);
    const std::uint64_t number = random() & id_number_max;
    const auto tag = static_cast<std::uint32_t>(random());
    const auto index = static_cast<std::uint8_t>(random());
    const auto id = TxnId::make(born_us, number, tag, index);
    const std::string text = id.text();
    REQUIRE(TxnId::read(text) == id);
    REQUIRE(text.size() == 30);
    REQUIRE(id.number() == number);
    REQUIRE(id.index() == index);
    REQUIRE(id.tag() == tag);
    REQUIRE((id.high >> 16) == static_cast<std::uint64_t>(born_us / 1000));
  }
}

TEST_CASE("any 128 bits are an id, with a text of their own") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100'000; ++i) {
    const KeyId id{random(), random()};
    REQUIRE(KeyId::read(id.text()) == id);
  }
  const KeyId all{UINT64_MAX, UINT64_MAX};
  CHECK(all.text() == "key_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  CHECK(KeyId::read(all.text()) == all);
}

TEST_CASE("each bit of an id stands where base 32 puts it") {
  for (unsigned bit = 0; bit < 128; ++bit) {
    CAPTURE(bit);
    const WalletId id{bit >= 64 ? std::uint64_t{1} << (bit - 64) : 0, bit < 64 ? std::uint64_t{1} << bit : 0};
    std::string expected(26, '0');
    expected[25 - bit / 5] = crockford[std::size_t{1} << (bit % 5)];
    CHECK(id.text() == "wlt_" + expected);
    CHECK(WalletId::read("wlt_" + expected) == id);
  }
}

TEST_CASE("ids and their texts sort by time, then number, then index") {
  std::mt19937_64 random(3);
  std::int64_t born_us = 1'767'225'600'000'000;
  std::uint64_t number = 0;
  auto before = ReceiptId::make(born_us, number, UINT32_MAX, 255);
  for (int i = 0; i < 100'000; ++i) {
    if (random() % 2 == 0) born_us += 1000 * static_cast<std::int64_t>(1 + random() % 5);
    ++number;
    const auto after = ReceiptId::make(born_us, number, static_cast<std::uint32_t>(random()),
                                       static_cast<std::uint8_t>(random()));
    REQUIRE(before < after);
    REQUIRE(before.text() < after.text());
    before = after;
  }
  CHECK(TxnId::make(born_us, number, 0xFFFFFFFF, 0) < TxnId::make(born_us, number, 0, 1));
}

TEST_CASE("only the text that an id prints is read") {
  const std::string text = WalletId::make(1'767'225'600'000'000, 5, 99).text();
  const std::string digits = text.substr(4);
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (const std::string& wrong :
       {std::string(), std::string("wlt_"), digits, "txn_" + digits, "WLT_" + digits, text + "0",
        text.substr(0, 29), " " + text, text + " ", lower, "wlt_8" + digits.substr(1),
        "wlt_I" + digits.substr(1), "wlt_" + digits.substr(0, 25) + "L", "wlt_" + digits.substr(0, 25) + "O",
        "wlt_" + digits.substr(0, 25) + "U", "wlt_" + digits.substr(0, 25) + "-",
        "wlt_" + digits.substr(0, 25) + std::string(1, '\0')}) {
    CAPTURE(wrong);
    CHECK_FALSE(WalletId::read(wrong));
  }
  CHECK(WalletId::read(text));
}

TEST_CASE("each kind has a prefix of its own") {
  CHECK(WalletId{}.text().substr(0, 4) == "wlt_");
  CHECK(TxnId{}.text().substr(0, 4) == "txn_");
  CHECK(ReceiptId{}.text().substr(0, 5) == "rcpt_");
  CHECK(ApprovalId{}.text().substr(0, 4) == "apr_");
  CHECK(KeyId{}.text().substr(0, 4) == "key_");
  CHECK(PayoutId{}.text().substr(0, 4) == "pay_");
  CHECK(WaitlistId{}.text().substr(0, 4) == "wtl_");
  CHECK(prefix(IdKind::job) == "job_");
  CHECK(prefix(IdKind::artifact) == "art_");
  CHECK(prefix(IdKind::upload) == "upl_");
}
