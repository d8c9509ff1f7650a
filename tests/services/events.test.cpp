#include "services/events.hpp"

#include <doctest/doctest.h>

#include <calyx/core/json.hpp>
#include <random>
#include <set>
#include <string>

#include "json/reader.hpp"

using namespace calyx;
using namespace calyx::services;
namespace json = core::json;

namespace {

std::string spelled(const Fields& fields) {
  std::string out;
  append_fields(out, fields);
  return out;
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t operator()() { return random_(); }
  bool yes() { return random_() % 2 == 0; }
  std::int64_t number(std::int64_t most) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(most));
  }
  Money money() { return Money{number(core::amount_max.micro) >> (random_() % 53)}; }
  std::string text(bool may_be_empty = true) {
    static const char* const pieces[] = {"a", "\"", "\\", "\n", "\x01", "é",   "😀",
                                         "{", "}",  ",",  ":",  " ",    "\x7F"};
    std::string out = may_be_empty ? "" : "x";
    for (std::uint64_t n = random_() % 6; n > 0; --n) out += pieces[random_() % std::size(pieces)];
    return out;
  }
  core::Digest digest() {
    core::Digest out;
    for (auto& byte : out.bytes) byte = static_cast<std::uint8_t>(random_());
    return out;
  }
  Policy policy() {
    Policy out;
    if (yes()) out.spend_cap_per_job = money();
    if (yes()) out.spend_cap_per_hour = Money{};
    if (yes()) out.approval_threshold = money();
    if (yes()) {
      out.allowed_gpu_types.emplace();
      for (std::uint64_t n = random_() % 3; n > 0; --n) out.allowed_gpu_types->push_back(text());
    }
    return out;
  }

 private:
  std::mt19937_64 random_;
};

/// An event of every kind with random fields, in the order of `Fields`.
std::vector<Fields> one_of_each(Dice& dice) {
  const auto maybe = [&](auto value) { return dice.yes() ? std::optional(value) : std::nullopt; };
  const auto seq = [&] { return 1 + dice.number(1'000'000'000'000); };
  const auto wallet = [&] { return core::wallet_first + dice.number(1'000'000); };
  const auto by = [&] { return dice.yes() ? 0 : wallet(); };
  const std::string hex_id = "00112233445566778899aabbccddeeff";
  return {
      SpendEvent{
          wallet(), dice.text(), dice.money(), maybe(dice.text()), maybe(wallet()), maybe(seq()),
          dice.yes() ? 0 : seq(),
          dice.yes() ? std::vector<core::Digest>{} : std::vector<core::Digest>{dice.digest(), dice.digest()}},
      EarnEvent{seq(), wallet(), dice.money(), dice.money(), dice.money(), dice.digest(), dice.text(),
                dice.number(1'000), dice.number(1'000'000),
                maybe(core::ReceiptWork{dice.text(), dice.text(), dice.text(), dice.text(), dice.digest()}),
                dice.yes() ? dice.money() : Money{}, dice.yes()},
      ReleaseEvent{seq()},
      ExpireEvent{seq()},
      BurnEvent{wallet(), dice.text()},
      TransferEvent{wallet(), wallet(), dice.money(), dice.yes(), dice.text(), dice.text(), by()},
      TopUpEvent{wallet(), dice.money(), dice.text(), dice.text()},
      KeyBoundEvent{seq(), dice.text(), by()},
      MarketCreated{hex_id, dice.text(), static_cast<std::int32_t>(dice.number(10'001))},
      WalletCreatedEvent{wallet(), dice.yes() ? OwnerType::human : OwnerType::agent, dice.text(), by(),
                         dice.policy(), dice.text(), by()},
      WalletChanged{wallet(), static_cast<WalletStatus>(dice.number(3)), dice.policy(), by()},
      KeyIssuedEvent{seq(), by(), dice.digest(), dice.text(), dice.text(), dice.yes() ? 0 : seq(),
                     dice.text(), by(), static_cast<KeyKind>(dice.number(3)), maybe(seq()),
                     maybe(dice.digest())},
      KeyRevokedEvent{seq(), by()},
      ApprovalRequested{wallet(), dice.text(), dice.money(), dice.text(), maybe(dice.text()), dice.text(),
                        seq()},
      ApprovalDecided{seq(), dice.yes(), by()},
      ApprovalUsed{seq()},
      GrantEvent{wallet(), dice.money(), dice.text()},
      PayoutEvent{wallet(), dice.money(), dice.text(), dice.yes(), dice.text(), by()},
      PayoutConfirmed{seq()},
      PayoutFailed{seq()},
      WaitlistJoined{dice.text(), dice.text()},
      WaitlistApprovedEvent{seq(), dice.text()},
      SigningKeyAdded{dice.text()},
      PricesSet{
          {dice.money(), dice.money(), dice.money(), {{dice.text(), dice.money()}, {"*", dice.money()}}}},
      PaymentTermsSet{{dice.text(),
                       dice.text(),
                       {{dice.text(), dice.text(), dice.text(), dice.text()},
                        {dice.text(), dice.text(), dice.text(), dice.text()}}}},
      WalletWhitelisted{wallet(), dice.yes()},
  };
}

}  // namespace

TEST_CASE("an event is spelled as canonical JSON and read back as the same event, whatever its fields") {
  Dice dice(20261123);
  std::set<EventKind> kinds;
  for (int round = 0; round < 500; ++round)
    for (const Fields& fields : one_of_each(dice)) {
      const EventKind kind = kind_of(fields);
      kinds.insert(kind);
      const std::string text = spelled(fields);
      CAPTURE(text);
      const auto value = read_json(text);
      REQUIRE(value.ok());
      REQUIRE(json::canonical(*value) == text);
      const auto read = read_fields(kind, text);
      REQUIRE(read.ok());
      REQUIRE(kind_of(*read) == kind);
      REQUIRE(read->index() == fields.index());
      REQUIRE(spelled(*read) == text);
    }
  CHECK(kinds.size() == std::variant_size_v<Fields>);
}

TEST_CASE("no two events are spelled alike: a field more, less or other is seen") {
  Dice dice(7);
  for (const Fields& fields : one_of_each(dice)) {
    const EventKind kind = kind_of(fields);
    const std::string text = spelled(fields);
    CAPTURE(text);
    const auto value = read_json(text);
    REQUIRE(value.ok());
    REQUIRE(value->object() != nullptr);

    json::Object more = *value->object();
    more.set("zzz", 1);
    CHECK(read_fields(kind, json::canonical(json::Value(more))).reason() == Reason::corrupt);

    for (const json::Member& member : *value->object()) {
      CAPTURE(member.key);
      json::Object other = *value->object();
      other.set(member.key, member.value.array() == nullptr ? json::array({}) : json::Value(7));
      CHECK(read_fields(kind, json::canonical(json::Value(other))).reason() == Reason::corrupt);
    }
  }
}

TEST_CASE("what calyx would not have written is no event") {
  struct Row {
    std::string says;
    EventKind kind;
    const char* text;
  };
  const Row rows[] = {
      {"no JSON", EventKind::release, "{"},
      {"no object", EventKind::release, "[1]"},
      {"nothing", EventKind::release, ""},
      {"a network without its asset", EventKind::payment_terms_set,
       R"({"base_url":"","networks":[{"fee_payer":"","network":"a","pay_to":"b"}],"realm":""})"},
      {"a network that is a text", EventKind::payment_terms_set,
       R"({"base_url":"","networks":["a"],"realm":""})"},
      {"a flag that is false", EventKind::wallet_whitelisted, R"({"allowed":false,"wallet":16})"},
      {"a kind of key that is left out where it is usual", EventKind::key_issued,
       R"({"hash":"0000000000000000000000000000000000000000000000000000000000000000","issued_as":"api",)"
       R"("key":1,"label":"","last4":"abcd"})"},
      {"a missing lock", EventKind::release, "{}"},
      {"a lock that is a text", EventKind::release, R"({"lock":"1"})"},
      {"a lock that is a fraction", EventKind::release, R"({"lock":1.5})"},
      {"another event's field", EventKind::release, R"({"lock":1,"wallet":16})"},
      {"a number that is no kind", static_cast<EventKind>(31), R"({"lock":1})"},
      {"zero is no kind", static_cast<EventKind>(0), R"({"lock":1})"},
      {"an amount that is a number", EventKind::grant, R"({"amount":5,"wallet":16})"},
      {"an amount too precise", EventKind::grant, R"({"amount":"5.0000001","wallet":16})"},
      {"a negative amount", EventKind::grant, R"({"amount":"-5.00","wallet":16})"},
      {"a flag that says no", EventKind::approval_decided, R"({"approval":1,"approved":false})"},
      {"a hash too short", EventKind::earn,
       R"({"duration_seconds":1,"fee":"0.00","gpu_model":"x","gross":"0.00","host":16,"leaf":0,"lock":1,"net":"0.00","output_hash":"ab"})"},
      {"an allowlist of numbers", EventKind::wallet_changed,
       R"({"policy":{"allowed_gpu_types":[1]},"status":"active","wallet":16})"},
      {"a rule that is none", EventKind::wallet_changed,
       R"({"policy":{"spend_cap_per_day":"1.00"},"status":"active","wallet":16})"},
      {"a status that is none", EventKind::wallet_changed, R"({"status":"asleep","wallet":16})"},
      {"an owner that is neither", EventKind::wallet_created,
       R"({"owner_id":"a","owner_type":"robot","wallet":16})"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(read_fields(row.kind, row.text).reason() == Reason::corrupt);
  }
}

TEST_CASE("the spelling in the file is the one that stands here") {
  struct Row {
    Fields fields;
    const char* text;
  };
  const Row rows[] = {
      {SpendEvent{17, "job-441", Money{4'000'000}, "RTX 4090", 18, 3600},
       R"({"amount":"4.00","expires_in_s":3600,"gpu_type":"RTX 4090","host":18,"job_id":"job-441","wallet":17})"},
      {SpendEvent{17, "job-442", Money{1}, std::nullopt, std::nullopt, std::nullopt},
       R"({"amount":"0.000001","job_id":"job-442","wallet":17})"},
      {ReleaseEvent{7}, R"({"lock":7})"},
      {TransferEvent{16, 17, Money{12'400'000}, true, "rent", "once-1", 17},
       R"({"amount":"12.40","by":17,"from":16,"idempotency_key":"once-1","reference":"rent","spends":true,"to":17})"},
      {TransferEvent{16, 17, Money{12'400'000}, false, "", "", 0}, R"({"amount":"12.40","from":16,"to":17})"},
      {WalletCreatedEvent{17, OwnerType::agent, "research", 16, Policy{Money{5'000'000}, {}, {}, {{"A100"}}},
                          "", 0},
       R"({"owner_id":"research","owner_type":"agent","parent":16,"policy":{"allowed_gpu_types":["A100"],"spend_cap_per_job":"5.00"},"wallet":17})"},
      {WalletChanged{17, WalletStatus::frozen, {}, 16}, R"({"by":16,"status":"frozen","wallet":17})"},
      {ApprovalDecided{9, false, 16}, R"({"approval":9,"by":16})"},
  };
  for (const Row& row : rows) CHECK(spelled(row.fields) == row.text);
}
