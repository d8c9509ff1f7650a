// Derived keys: their text, their limits as a document, and the chain that holds them.
#include <doctest/doctest.h>

#include <calyx/core/derived_key.hpp>
#include <functional>
#include <string>
#include <vector>

#include "core/crypto_for_tests.hpp"
#include "testing.hpp"

using namespace calyx;
using core::DerivedKey;
using core::for_tests::Check;
using core::for_tests::ReadJson;
using core::for_tests::Signer;
namespace json = core::json;

namespace {

constexpr Money flops(std::int64_t whole) { return Money{whole * core::micro_per_flops}; }
constexpr Instant noon{1'800'014'400'000'000};  // 2027-01-15T12:00:00Z

KeyLimits all_limits() {
  KeyLimits limits;
  limits.policy = {.spend_cap_per_job = flops(6),
                   .spend_cap_per_hour = Money{20'500'000},
                   .approval_threshold = flops(5),
                   .allowed_gpu_types = std::vector<std::string>{"H100", "RTX 4090"}};
  limits.budget = flops(100);
  limits.allowed_recipes = std::vector<std::string>{"packing"};
  limits.allowed_payees = std::vector<WalletId>{WalletId::make(noon.us, 17, 5)};
  limits.not_before = noon;
  limits.not_after = Instant{noon.us + core::us_per_hour};
  return limits;
}

core::PublicKey public_of(const std::array<std::uint8_t, 32>& seed) {
  return Signer(std::string(core::chars(seed))).key;
}

/// The key that the seeds `a`, `b`, … give, one a block.
DerivedKey chain(const std::vector<std::string>& limits) {
  DerivedKey key;
  char letter = 'a';
  key.root = Signer(letter).key;
  for (const std::string& text : limits) {
    const Signer signer(letter), next(static_cast<char>(letter + 1));
    const core::Signature* before = key.blocks.empty() ? nullptr : &key.blocks.back().signature;
    const core::Signature signature = signer(core::block_signing_input(before, next.key, text));
    key.blocks.push_back({text, next.key, signature});
    ++letter;
  }
  key.secret.fill(static_cast<std::uint8_t>(letter));
  return key;
}

bool holds(const DerivedKey& key) { return core::chain_holds(key, Check{}, public_of); }

std::optional<KeyLimits> read(std::string_view text, std::string& bad_at) {
  const auto document = ReadJson{}(text);
  return document ? core::read_limits(*document, bad_at) : std::nullopt;
}
std::optional<KeyLimits> read(std::string_view text) {
  std::string bad_at;
  return read(text, bad_at);
}

}  // namespace

TEST_CASE("limits are one document, with AP2's names where it has them, and are read back") {
  const KeyLimits limits = all_limits();
  const std::string text = json::canonical(core::limits_document(limits));
  CHECK(text ==
        R"({"allowed_gpu_types":["H100","RTX 4090"],"allowed_payees":[")" +
            limits.allowed_payees->front().text() +
            R"("],"allowed_recipes":["packing"],"amount_range":{"max":"6.00"},"approval_threshold":"5.00",)"
            R"("budget":{"max":"100.00"},"execution_date":{"not_after":"2027-01-15T13:00:00Z",)"
            R"("not_before":"2027-01-15T12:00:00Z"},"spend_cap_per_hour":"20.50"})");
  CHECK(read(text) == limits);
  CHECK(read("{}") == KeyLimits{});
  CHECK(json::canonical(core::limits_document({})) == "{}");
}

TEST_CASE("instants are kept in whole seconds, and never wider than they were meant") {
  KeyLimits limits;
  limits.not_before = Instant{noon.us + 1};
  limits.not_after = Instant{noon.us + 999'999};
  const auto kept = read(json::canonical(core::limits_document(limits)));
  REQUIRE(kept);
  CHECK(kept->not_before == Instant{noon.us + core::us_per_second});
  CHECK(kept->not_after == noon);

  const core::KeyBlocks blocks = {{.id = {}, .limits = {.not_before = noon, .not_after = noon}}};
  CHECK_FALSE(core::in_time(blocks, Instant{noon.us - 1}));
  CHECK(core::in_time(blocks, noon));
  CHECK(core::in_time(blocks, Instant{noon.us + 999'999}));  // the second that it names is its last
  CHECK_FALSE(core::in_time(blocks, Instant{noon.us + core::us_per_second}));
}

TEST_CASE("each day of four centuries is read back as it was written") {
  for (std::int64_t day = 0; day < 146'097; day += 13) {
    const Instant at{(day * 86'400 + day % 86'400) * core::us_per_second};
    CHECK(core::read_iso(core::iso_text(at)) == at);
  }
  CHECK(core::read_iso(core::iso_text(core::instant_max)) == Instant{core::instant_max.us - 999'999});
  for (const char* text :
       {"2027-02-29T00:00:00Z", "2027-13-01T00:00:00Z", "2027-01-00T00:00:00Z", "2027-01-01T24:00:00Z",
        "2027-01-01T00:60:00Z", "2027-01-01T00:00:60Z", "1969-12-31T23:59:59Z", "2027-01-01T00:00:00z",
        "2027-01-01 00:00:00Z", "2027-1-01T00:00:00ZZ", "+027-01-01T00:00:00Z", "2027-01-01T00:00:00", ""})
    CHECK_MESSAGE(!core::read_iso(text), text);
}

TEST_CASE("a document that says anything else is none: what nobody knows may be what would have bound") {
  const std::string id = WalletId::make(noon.us, 17, 5).text();
  struct Row {
    std::string text, at;
  };
  const Row bad[] = {
      {R"([])", "/"},
      {R"("{}")", "/"},
      {R"({"max_jobs":3})", "/max_jobs"},
      {R"({"budget":{"max":"100.00","currency":"USD"}})", "/budget/currency"},
      {R"({"budget":{}})", "/budget"},
      {R"({"budget":"100.00"})", "/budget"},
      {R"({"budget":{"max":100.5}})", "/budget/max"},
      {R"({"budget":{"max":"-1.00"}})", "/budget/max"},
      {R"({"budget":{"max":-1}})", "/budget/max"},
      {R"({"budget":{"max":true}})", "/budget/max"},
      {R"({"budget":null})", "/budget"},
      {R"({"amount_range":{"min":"1.00"}})", "/amount_range/min"},
      {R"({"amount_range":{"max":"6.00","min":"1.00"}})", "/amount_range/min"},
      {R"({"approval_threshold":"5.0000000"})", "/approval_threshold"},
      {R"({"spend_cap_per_hour":"9999999999999999999.00"})", "/spend_cap_per_hour"},
      {R"({"execution_date":{}})", "/execution_date"},
      {R"({"execution_date":{"not_after":"2027-01-15"}})", "/execution_date/not_after"},
      {R"({"execution_date":{"not_after":"2027-01-15T13:00:00.5Z"}})", "/execution_date/not_after"},
      {R"({"execution_date":{"not_after":7}})", "/execution_date/not_after"},
      {R"({"allowed_recipes":"packing"})", "/allowed_recipes"},
      {R"({"allowed_recipes":[""]})", "/allowed_recipes"},
      {R"({"allowed_recipes":[7]})", "/allowed_recipes"},
      {R"({"allowed_recipes":{}})", "/allowed_recipes"},
      {R"({"allowed_payees":["wal_1"]})", "/allowed_payees"},
      {R"({"allowed_payees":[")" + id + R"(",7]})", "/allowed_payees"},
      {R"({"allowed_gpu_types":[")" + std::string(129, 'x') + R"("]})", "/allowed_gpu_types"},
  };
  for (const Row& row : bad) {
    std::string at;
    CHECK_MESSAGE(!read(row.text, at), row.text);
    CHECK(at == row.at);
  }
  // Beside each of which stands one that is good.
  CHECK(read(R"({"budget":{"max":"100.00"}})"));
  CHECK(read(R"({"budget":{"max":100}})")->budget == flops(100));
  CHECK(read(R"({"budget":{"max":"100"}})")->budget == flops(100));
  CHECK(read(R"({"allowed_payees":[")" + id + R"("]})"));
  CHECK(read(R"({"allowed_recipes":[]})"));
  CHECK(read(R"({"allowed_gpu_types":[")" + std::string(128, 'x') + R"("]})"));
}

TEST_CASE("what no key may say is named") {
  struct Row {
    const char* field;
    std::function<void(KeyLimits&)> spoil;
  };
  const Money above{core::amount_max.micro + 1};
  const Row rows[] = {
      {"/allowed_gpu_types", [](KeyLimits& of) { of.policy.allowed_gpu_types->push_back(""); }},
      {"/allowed_gpu_types", [](KeyLimits& of) { of.policy.allowed_gpu_types->assign(65, "x"); }},
      {"/allowed_payees", [](KeyLimits& of) { of.allowed_payees->resize(65); }},
      {"/allowed_recipes", [](KeyLimits& of) { of.allowed_recipes->push_back("\xff"); }},
      {"/amount_range/max", [&](KeyLimits& of) { of.policy.spend_cap_per_job = above; }},
      {"/approval_threshold", [](KeyLimits& of) { of.policy.approval_threshold = Money{-1}; }},
      {"/budget/max", [&](KeyLimits& of) { of.budget = above; }},
      {"/execution_date/not_after", [](KeyLimits& of) { of.not_after = Instant{-1}; }},
      {"/execution_date/not_before",
       [](KeyLimits& of) { of.not_before = Instant{core::instant_max.us + 1}; }},
      {"/spend_cap_per_hour", [](KeyLimits& of) { of.policy.spend_cap_per_hour = Money{INT64_MIN}; }},
  };
  CHECK(core::limits_fault(all_limits()).empty());
  CHECK(core::limits_fault({}).empty());
  for (const Row& row : rows) {
    KeyLimits limits = all_limits();
    row.spoil(limits);
    CHECK(core::limits_fault(limits) == row.field);
  }
}

TEST_CASE("a key's text is read back, and only as it was written") {
  const DerivedKey key = chain({"{}", R"({"budget":{"max":"1.00"}})"});
  const std::string text = core::derived_key_text(key);
  REQUIRE(core::is_derived_key(text));
  const auto read_key = core::read_derived_key(text);
  REQUIRE(read_key);
  CHECK(core::derived_key_text(*read_key) == text);
  CHECK(holds(*read_key));

  // Each octet in another one's place: no other text is the same key, and hardly any is one.
  for (std::size_t i = 0; i < text.size(); ++i)
    for (const char other : {'A', 'b', '.', '~', '='}) {
      std::string changed = text;
      if (changed[i] == other) continue;
      changed[i] = other;
      const auto as_key = core::read_derived_key(changed);
      CHECK_MESSAGE((!as_key || !holds(*as_key)), changed);
    }
  for (std::size_t size = 0; size < text.size(); ++size)
    CHECK_FALSE(core::read_derived_key(text.substr(0, size)));
  CHECK_FALSE(core::read_derived_key(text + "A"));
  CHECK_FALSE(core::read_derived_key(core::derived_key_text(chain({}))));  // no block, so no limits
  CHECK(core::read_derived_key(core::derived_key_text(chain(std::vector<std::string>(8, "{}")))));
  CHECK_FALSE(core::read_derived_key(core::derived_key_text(chain(std::vector<std::string>(9, "{}")))));
  CHECK_FALSE(core::read_derived_key(core::derived_key_text(chain({std::string(2049, ' ')}))));
}

TEST_CASE("a chain holds only whole: no block is left out, put elsewhere, changed or borrowed") {
  const DerivedKey key = chain({R"({"budget":{"max":"9.00"}})", R"({"budget":{"max":"5.00"}})", "{}"});
  REQUIRE(holds(key));
  const auto spoilt = [&](const char* says, const std::function<void(DerivedKey&)>& spoil) {
    DerivedKey other = key;
    spoil(other);
    CHECK_MESSAGE(!holds(other), says);
  };
  spoilt("the last block is gone", [](DerivedKey& of) { of.blocks.pop_back(); });
  spoilt("the last is gone, and its holder's own secret stands there", [](DerivedKey& of) {
    of.blocks.pop_back();
    of.secret.fill('e');
  });
  spoilt("the first is gone", [](DerivedKey& of) { of.blocks.erase(of.blocks.begin()); });
  spoilt("the middle is gone", [](DerivedKey& of) { of.blocks.erase(of.blocks.begin() + 1); });
  spoilt("two are in each other's place", [](DerivedKey& of) { std::swap(of.blocks[0], of.blocks[1]); });
  spoilt("limits are wider", [](DerivedKey& of) { of.blocks[1].limits = R"({"budget":{"max":"6.00"}})"; });
  spoilt("another key comes next", [](DerivedKey& of) { of.blocks[1].next = Signer('z').key; });
  spoilt("another root", [](DerivedKey& of) { of.root = Signer('z').key; });
  spoilt("a signature's bit", [](DerivedKey& of) { of.blocks[2].signature[7] ^= 1; });
  spoilt("no secret", [](DerivedKey& of) { of.secret.fill(0); });
  spoilt("a block of another chain under the same key", [&](DerivedKey& of) {
    // Its signer is the same, but it followed another signature.
    DerivedKey other = chain({"{}", R"({"budget":{"max":"8.00"}})"});
    of.blocks[1] = other.blocks[1];
  });
  // Whoever has the secret may add one.
  DerivedKey longer = key;
  const Signer holder('d'), next('e');
  const std::string limits = "{}";
  longer.blocks.push_back(
      {limits, next.key, holder(core::block_signing_input(&key.blocks.back().signature, next.key, limits))});
  longer.secret.fill('e');
  CHECK(holds(longer));
}
