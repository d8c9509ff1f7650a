/// \file
/// What core takes as arguments, for its tests: SHA-256, Ed25519 and a strict JSON reader, straight from
/// libraries, so that these tests need nothing of calyx but core.
#pragma once

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <simdjson.h>
#include <sodium.h>

#include <array>
#include <calyx/core/digest.hpp>
#include <calyx/core/json.hpp>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "testing.hpp"

namespace calyx::core::for_tests {

struct Hash {
  template <class... Pieces>
  Digest operator()(const Pieces&... pieces) const {
    Digest out;
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
    (EVP_DigestUpdate(context, pieces.data(), pieces.size()), ...);
    EVP_DigestFinal_ex(context, out.bytes.data(), nullptr);
    EVP_MD_CTX_free(context);
    return out;
  }
};

struct Check {
  bool operator()(const PublicKey& key, std::string_view message, const Signature& signature) const {
    return crypto_sign_verify_detached(signature.data(),
                                       reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                       key.data()) == 0;
  }
};

/// A key pair made from a seed of one repeated octet.
struct Signer {
  PublicKey key{};
  std::array<std::uint8_t, 64> secret{};

  explicit Signer(std::string_view seed) {
    REQUIRE(seed.size() == 32);
    crypto_sign_seed_keypair(key.data(), secret.data(), reinterpret_cast<const unsigned char*>(seed.data()));
  }
  explicit Signer(char repeated) : Signer(std::string(32, repeated)) {}

  Signature operator()(std::string_view message) const {
    Signature out{};
    crypto_sign_detached(out.data(), nullptr, reinterpret_cast<const unsigned char*>(message.data()),
                         message.size(), secret.data());
    return out;
  }
};

/// Builds a value, or gives nothing where an object has a key twice.
inline std::optional<json::Value> value_of(const simdjson::dom::element& element) {
  using simdjson::dom::element_type;
  switch (element.type()) {
    case element_type::NULL_VALUE: return json::Value();
    case element_type::BOOL: return json::Value(element.get_bool().value_unsafe());
    case element_type::INT64: return json::Value(element.get_int64().value_unsafe());
    case element_type::UINT64: return json::Value(element.get_uint64().value_unsafe());
    case element_type::DOUBLE: return json::Value(element.get_double().value_unsafe());
    case element_type::STRING: return json::Value(element.get_string().value_unsafe());
    case element_type::ARRAY: {
      json::Array items;
      simdjson::dom::array elements;
      if (element.get_array().get(elements) != simdjson::SUCCESS) return std::nullopt;
      for (const auto item : elements) {
        auto value = value_of(item);
        if (!value) return std::nullopt;
        items.push_back(*std::move(value));
      }
      return json::Value(std::move(items));
    }
    case element_type::OBJECT: {
      std::vector<json::Member> members;
      simdjson::dom::object fields;
      if (element.get_object().get(fields) != simdjson::SUCCESS) return std::nullopt;
      for (const auto field : fields) {
        auto value = value_of(field.value);
        if (!value) return std::nullopt;
        members.push_back(json::Member{std::string(field.key), *std::move(value)});
      }
      auto object = json::Object::of(std::move(members));
      return object ? std::optional<json::Value>(*std::move(object)) : std::nullopt;
    }
  }
  return std::nullopt;
}

struct ReadJson {
  std::optional<json::Value> operator()(std::string_view text) const {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    if (parser.parse(simdjson::padded_string(text)).get(root) != simdjson::SUCCESS) return std::nullopt;
    return value_of(root);
  }
};

inline std::string vector_text(std::string_view name) {
  const std::string path = calyx::testing::vectors + "/payments/" + std::string(name);
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), "no such file: " << path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

/// The array "vectors" of one of the files.
inline json::Array vectors(std::string_view name) {
  const auto document = ReadJson{}(vector_text(name));
  REQUIRE(document);
  const json::Value* items = document->find("vectors");
  REQUIRE(items != nullptr);
  REQUIRE(items->array() != nullptr);
  REQUIRE_FALSE(items->array()->empty());
  return *items->array();
}

/// The text at `key`, which must be there.
inline std::string text_of(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  REQUIRE_MESSAGE(member != nullptr, "no member " << std::string(key));
  REQUIRE(member->string() != nullptr);
  return *member->string();
}
inline std::uint64_t number_of(const json::Value& value, std::string_view key) {
  const json::Value* member = value.find(key);
  REQUIRE_MESSAGE(member != nullptr, "no member " << std::string(key));
  REQUIRE(member->integer() != nullptr);
  return static_cast<std::uint64_t>(*member->integer());
}
inline Digest digest_at(const json::Value& value, std::string_view key) {
  const auto digest = read_digest_hex(text_of(value, key));
  REQUIRE(digest);
  return *digest;
}

}  // namespace calyx::core::for_tests
