#include <calyx/core/digest.hpp>
#include <string>

#include "crypto_for_tests.hpp"

using namespace calyx::core;

static_assert(Sha256<for_tests::Hash>);
static_assert(Ed25519Check<for_tests::Check>);
static_assert(!Sha256<for_tests::Check>);

TEST_CASE("a hash over pieces is the hash over the whole") {
  const for_tests::Hash sha256;
  const Digest whole = sha256(std::string_view("abc"));
  CHECK(hex(whole) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(std::string_view("a"), std::string_view("bc")) == whole);
  CHECK(sha256(std::string_view("a"), std::string_view(""), std::string_view("bc")) == whole);
}

TEST_CASE("a digest is read from 64 lower-case hex digits") {
  const std::string text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const auto digest = read_digest_hex(text);
  REQUIRE(digest);
  CHECK(hex(*digest) == text);
  CHECK(digest_of_bytes(digest->view()) == digest);
  std::string upper = text;
  upper[0] = 'B';
  for (const std::string& wrong :
       {upper, text.substr(1), text + "0", text + " ", std::string(64, 'g'), std::string()}) {
    CAPTURE(wrong);
    CHECK_FALSE(read_digest_hex(wrong));
  }
  CHECK_FALSE(digest_of_bytes("short"));
}

TEST_CASE("an output hash is taken in four spellings and kept in one") {
  const std::string lower(64, 'a');
  const std::string upper(64, 'A');
  const std::string kept = "sha256:" + lower;
  for (const std::string& text : {lower, upper, "sha256:" + lower, "sha256:" + upper}) {
    CAPTURE(text);
    const auto digest = read_output_hash(text);
    REQUIRE(digest);
    CHECK(output_hash_text(*digest) == kept);
  }
  for (const std::string& text : {"sha256:sha256:" + lower, "SHA256:" + lower, "sha256:" + lower.substr(1),
                                  "md5:" + lower, lower + "a", "sha256: " + lower, std::string()}) {
    CAPTURE(text);
    CHECK_FALSE(read_output_hash(text));
  }
}

TEST_CASE("digests are ordered by their bytes") {
  Digest a;
  Digest b;
  b.bytes[0] = 1;
  a.bytes[31] = 255;
  CHECK(a < b);
  CHECK(a != b);
}
