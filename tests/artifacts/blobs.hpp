/// \file
/// What the tests of artifacts share: bytes by chance, and a look at the store's folder from outside.
#pragma once

#include <doctest/doctest.h>

#include <calyx/core/encoding.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include "artifacts/artifacts.hpp"
#include "crypto/sha256.hpp"
#include "testing.hpp"

namespace calyx::artifacts {

inline std::string noise(testing::Dice& dice, std::size_t size) {
  std::string out;
  out.reserve(size + 8);
  while (out.size() < size) {
    const std::uint64_t eight = dice.next();
    out.append(reinterpret_cast<const char*>(&eight), sizeof eight);
  }
  out.resize(size);
  return out;
}

inline core::Digest hash_of(std::string_view bytes) { return crypto::Sha256{}(bytes); }

/// Every blob in the folder by its name's digest, with its bytes; each must hash to its name.
inline std::map<core::Digest, std::string> blobs_in(const std::string& folder) {
  std::map<core::Digest, std::string> blobs;
  for (const auto& pair : core::hex_pairs) {
    const std::string first(pair.data(), 2);
    if (!std::filesystem::exists(folder + "/" + first)) continue;
    for (const auto& found : std::filesystem::directory_iterator(folder + "/" + first)) {
      const auto digest = core::read_digest_hex(first + found.path().filename().string());
      REQUIRE(digest);
      std::ifstream in(found.path(), std::ios::binary);
      std::string bytes{std::istreambuf_iterator<char>(in), {}};
      REQUIRE(hash_of(bytes) == *digest);
      blobs.emplace(*digest, std::move(bytes));
    }
  }
  return blobs;
}

inline std::ptrdiff_t entries_in(const std::string& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

/// Stores `bytes` in pieces of any sizes.
inline Result<Stored> put(const Store& store, std::string_view bytes, Instant now = Instant{1},
                          const Expected& expected = {}, std::size_t piece = 60'000) {
  CALYX_TRY(Upload upload, store.begin());
  for (std::string_view rest = bytes; !rest.empty(); rest.remove_prefix(std::min(piece, rest.size())))
    CALYX_CHECK(upload.write(rest.substr(0, piece)));
  return upload.finish(now, expected);
}

}  // namespace calyx::artifacts
