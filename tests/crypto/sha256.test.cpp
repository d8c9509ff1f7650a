#include "crypto/sha256.hpp"

#include <doctest/doctest.h>

#include <calyx/core/digest.hpp>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using calyx::core::hex;
using calyx::crypto::Sha256;
using calyx::crypto::Sha256Stream;

TEST_CASE("SHA-256 gives the published digests") {
  struct Row {
    std::string message;
    const char* digest;
  };
  const Row rows[] = {
      // FIPS 180-4's examples, and the empty message
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const Row& row : rows) CHECK(hex(Sha256{}(row.message)) == row.digest);
}

TEST_CASE("parts are hashed as if they were one text, wherever it is cut") {
  std::string text;
  for (int i = 0; i < 150; ++i) text.push_back(static_cast<char>(i * 7));
  const std::string_view all = text;
  const auto whole = Sha256{}(all);
  for (std::size_t a = 0; a <= all.size(); a += 13) {
    CHECK(Sha256{}(all.substr(0, a), all.substr(a)) == whole);
    for (std::size_t b = a; b <= all.size(); b += 29)
      CHECK(Sha256{}(all.substr(0, a), all.substr(a, b - a), all.substr(b)) == whole);
  }
  CHECK(Sha256{}("", "") == Sha256{}(""));
  CHECK(Sha256{}("ab") != Sha256{}("ba"));
}

TEST_CASE("a stream of pieces has the digest of the whole, and begins anew when it is finished") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text.push_back(static_cast<char>(i * 11));
  const std::string_view all = text;
  Sha256Stream stream;
  CHECK(stream.finish() == Sha256{}(""));
  for (const std::size_t piece : {1U, 7U, 63U, 64U, 65U, 999U, 1000U, 2000U}) {
    for (std::size_t at = 0; at < all.size(); at += piece) stream.update(all.substr(at, piece));
    CHECK(stream.finish() == Sha256{}(all));
  }
  stream.update("cal");
  Sha256Stream moved = std::move(stream);
  moved.update("yx");
  CHECK(moved.finish() == Sha256{}("calyx"));
}

TEST_CASE("threads hash at once, and a thread's end takes nothing with it") {
  const auto expected = Sha256{}("calyx");
  for (int round = 0; round < 3; ++round) {
    std::vector<int> right(4, 0);
    std::vector<std::thread> threads;
    for (int& count : right)
      threads.emplace_back([&count, &expected] {
        for (int i = 0; i < 1000; ++i) count += Sha256{}("cal", "yx") == expected ? 1 : 0;
      });
    for (std::thread& thread : threads) thread.join();
    for (const int count : right) CHECK(count == 1000);
  }
}
