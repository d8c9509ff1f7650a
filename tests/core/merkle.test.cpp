#include <calyx/core/merkle.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "crypto_for_tests.hpp"

using namespace calyx::core;
using for_tests::digest_at;
using for_tests::number_of;

namespace {

const for_tests::Hash sha256;

/// A log as a store keeps it: the frontier, and every complete subtree that an append brought forth.
struct Log {
  merkle::Frontier frontier;
  std::map<std::pair<unsigned, std::uint64_t>, Digest> nodes;
  std::vector<Digest> roots{merkle::empty_root(sha256)};  // by size

  void append(std::string_view leaf) {
    frontier.append(sha256, merkle::leaf_hash(sha256, leaf),
                    [this](unsigned level, std::uint64_t index, const Digest& digest) {
                      const bool first = nodes.emplace(std::pair{level, index}, digest).second;
                      CHECK(first);  // a subtree is completed once
                    });
    roots.push_back(frontier.root(sha256));
  }
  auto subtree() const {
    return [this](unsigned level, std::uint64_t index) { return nodes.at({level, index}); };
  }
};

Log log_of(std::uint64_t size) {
  Log log;
  for (std::uint64_t i = 0; i < size; ++i) log.append("entry-" + std::to_string(i));
  return log;
}

merkle::Path path_at(const json::Value& value, std::string_view key) {
  merkle::Path out;
  REQUIRE(value.find(key) != nullptr);
  for (const json::Value& item : *value.find(key)->array()) {
    const auto digest = read_digest_hex(*item.string());
    REQUIRE(digest);
    out.push_back(*digest);
  }
  return out;
}

/// The vectors' two trees: the eight well-known leaves, and a thousand.
Log well_known() {
  Log log;
  const json::Array rows = for_tests::vectors("merkle_rfc6962.json");
  for (const json::Value& leaf : *rows.at(0).find("leaves_hex")->array()) log.append(*unhex(*leaf.string()));
  return log;
}

void check_inclusion(const Log& log, std::uint64_t size, const Digest& root, const json::Value& proof) {
  const std::uint64_t index = number_of(proof, "index");
  CAPTURE(index);
  const merkle::Path path = path_at(proof, "path");
  CHECK(merkle::inclusion_path(sha256, index, size, log.subtree()) == path);
  CHECK(merkle::verify_inclusion(sha256, digest_at(proof, "leaf_hash"), index, size, path, root));
  CHECK_FALSE(merkle::verify_inclusion(sha256, root, index, size + 1, path, root));
}

}  // namespace

TEST_CASE("roots and proofs are those of the RFC 9162 vectors") {
  const Log small = well_known();
  const Log big = log_of(1000);
  int roots = 0;
  int inclusions = 0;
  int consistencies = 0;
  for (const json::Value& row : for_tests::vectors("merkle_rfc6962.json")) {
    const std::string name = for_tests::text_of(row, "name");
    CAPTURE(name);
    if (name == "ct_reference_roots") {
      CHECK(small.roots[0] == digest_at(row, "empty_root"));
      for (const json::Value& root : *row.find("roots_by_size")->array())
        CHECK(hex(small.roots[static_cast<std::size_t>(++roots)]) == *root.string());
    } else if (name.rfind("inclusion_", 0) == 0) {
      const std::uint64_t size = number_of(row, "size");
      CHECK(small.roots[size] == digest_at(row, "root"));
      for (const json::Value& proof : *row.find("proofs")->array()) {
        check_inclusion(small, size, digest_at(row, "root"), proof);
        ++inclusions;
      }
    } else if (name.rfind("consistency_", 0) == 0) {
      const merkle::Head older{number_of(row, "old_size"), digest_at(row, "old_root")};
      const merkle::Head newer{number_of(row, "new_size"), digest_at(row, "new_root")};
      const merkle::Path path = path_at(row, "proof");
      CHECK(merkle::consistency_path(sha256, older.size, newer.size, small.subtree()) == path);
      CHECK(merkle::verify_consistency(sha256, older, newer, path));
      ++consistencies;
    } else {
      REQUIRE(name == "big_1000");
      const merkle::Head newer{number_of(row, "size"), digest_at(row, "root")};
      CHECK(big.roots.back() == newer.root);
      for (const json::Value& proof : *row.find("proofs")->array()) {
        check_inclusion(big, newer.size, newer.root, proof);
        ++inclusions;
      }
      for (const json::Value& proof : *row.find("consistency")->array()) {
        const merkle::Head older{number_of(proof, "old_size"), digest_at(proof, "old_root")};
        const merkle::Path path = path_at(proof, "proof");
        CHECK(merkle::consistency_path(sha256, older.size, newer.size, big.subtree()) == path);
        CHECK(merkle::verify_consistency(sha256, older, newer, path));
        ++consistencies;
      }
    }
  }
  CHECK(roots == 8);
  CHECK(inclusions >= 17);
  CHECK(consistencies >= 5);
}

TEST_CASE("every leaf of every small tree has a proof, and it proves nothing else") {
  constexpr std::uint64_t most = 40;
  const Log log = log_of(most);
  for (std::uint64_t size = 1; size <= most; ++size) {
    CHECK(merkle::tree_root(sha256, size, log.subtree()) == log.roots[size]);
    for (std::uint64_t index = 0; index < size; ++index) {
      CAPTURE(size);
      CAPTURE(index);
      const Digest leaf = log.nodes.at({0U, index});
      const auto path = merkle::inclusion_path(sha256, index, size, log.subtree());
      REQUIRE(path);
      const Digest& root = log.roots[size];
      CHECK(merkle::verify_inclusion(sha256, leaf, index, size, *path, root));
      CHECK_FALSE(merkle::verify_inclusion(sha256, leaf, (index + 1) % (size + 1), size, *path, root));
      CHECK_FALSE(merkle::verify_inclusion(sha256, root, index, size + 1, *path, root));
      for (std::size_t i = 0; i < path->size(); ++i) {
        merkle::Path bent = *path;
        bent[i].bytes[7] ^= 1;
        CHECK_FALSE(merkle::verify_inclusion(sha256, leaf, index, size, bent, root));
      }
      merkle::Path longer = *path;
      longer.push_back(leaf);
      CHECK_FALSE(merkle::verify_inclusion(sha256, leaf, index, size, longer, root));
      if (path->empty()) continue;
      merkle::Path shorter(path->begin(), path->end() - 1);
      CHECK_FALSE(merkle::verify_inclusion(sha256, leaf, index, size, shorter, root));
    }
  }
}

TEST_CASE("every small tree is proved to be the beginning of every larger one, and of no other") {
  constexpr std::uint64_t most = 33;
  const Log log = log_of(most);
  Log other;
  for (std::uint64_t i = 0; i < most; ++i) other.append("other-" + std::to_string(i));
  for (std::uint64_t old_size = 0; old_size <= most; ++old_size)
    for (std::uint64_t new_size = old_size; new_size <= most; ++new_size) {
      CAPTURE(old_size);
      CAPTURE(new_size);
      const auto path = merkle::consistency_path(sha256, old_size, new_size, log.subtree());
      REQUIRE(path);
      const merkle::Head older{old_size, log.roots[old_size]};
      const merkle::Head newer{new_size, log.roots[new_size]};
      CHECK(merkle::verify_consistency(sha256, older, newer, *path));
      if (old_size != 0) {
        CHECK_FALSE(merkle::verify_consistency(sha256, {old_size, other.roots[old_size]}, newer, *path));
        CHECK_FALSE(merkle::verify_consistency(sha256, older, {new_size, other.roots[new_size]}, *path));
      }
      if (old_size != new_size) {
        CHECK_FALSE(merkle::verify_consistency(sha256, newer, older, *path));
        CHECK_FALSE(merkle::verify_consistency(sha256, {old_size, newer.root}, newer, *path));
      }
      for (std::size_t i = 0; i < path->size(); ++i) {
        merkle::Path bent = *path;
        bent[i].bytes[0] ^= 128;
        CHECK_FALSE(merkle::verify_consistency(sha256, older, newer, bent));
      }
      merkle::Path longer = *path;
      longer.push_back(newer.root);
      CHECK_FALSE(merkle::verify_consistency(sha256, older, newer, longer));
      if (path->empty()) continue;
      const merkle::Path shorter(path->begin(), path->end() - 1);
      CHECK_FALSE(merkle::verify_consistency(sha256, older, newer, shorter));
    }
}

TEST_CASE("a proof of what is not there is not made") {
  const Log log = log_of(5);
  CHECK_FALSE(merkle::inclusion_path(sha256, 5, 5, log.subtree()));
  CHECK_FALSE(merkle::inclusion_path(sha256, 0, 0, log.subtree()));
  CHECK_FALSE(merkle::consistency_path(sha256, 6, 5, log.subtree()));
}

TEST_CASE("hostile sizes and paths are answered, quickly and with no") {
  const Digest any = sha256(std::string_view("any"));
  const std::vector<Digest> many(10'000, any);
  const std::uint64_t most = UINT64_MAX;
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 63, most})
    for (const std::uint64_t index : {std::uint64_t{0}, size - 1, size / 2, size, most})
      for (const std::size_t length : {0U, 1U, 63U, 64U, 65U, 66U, 10'000U}) {
        CAPTURE(size);
        CAPTURE(index);
        CAPTURE(length);
        const std::span<const Digest> path(many.data(), length);
        const Digest root = sha256(std::string_view("root"));
        CHECK_FALSE(merkle::verify_inclusion(sha256, any, index, size, path, root));
        CHECK_FALSE(merkle::verify_consistency(sha256, {index, any}, {size, root}, path));
      }
  CHECK_FALSE(merkle::verify_consistency(sha256, {0, any}, {0, any}, {}));
  CHECK_FALSE(merkle::verify_consistency(sha256, {0, any}, {5, any}, {}));
}

TEST_CASE("a frontier picked up from stored subtrees goes on as if it had never stopped") {
  const Log log = log_of(70);
  for (std::uint64_t size = 0; size < 70; ++size) {
    CAPTURE(size);
    merkle::Frontier frontier = merkle::Frontier::of(size, log.subtree());
    CHECK(frontier.size() == size);
    CHECK(frontier.root(sha256) == log.roots[size]);
    frontier.append(sha256, log.nodes.at({0U, size}));
    CHECK(frontier.root(sha256) == log.roots[size + 1]);
  }
}

TEST_CASE("a node cannot be passed off as a leaf") {
  const Digest left = merkle::leaf_hash(sha256, "a");
  const Digest right = merkle::leaf_hash(sha256, "b");
  const std::string joined = std::string(left.view()) + std::string(right.view());
  CHECK(merkle::leaf_hash(sha256, joined) != merkle::node_hash(sha256, left, right));
}
