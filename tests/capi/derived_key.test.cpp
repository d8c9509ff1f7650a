// Keys that C makes of keys.
#include <string>

#include "capi/market.hpp"

using namespace calyx_tests;

namespace {

struct Made {
  calyx_status status;
  std::string reason, key;
};
Made derived(const std::string& key, const char* limits) {
  calyx_text text{nullptr, 0};
  Made out{calyx_derive_key(key.c_str(), limits, &text), {}, {}};
  out.reason = last_reason();
  if (text.data != nullptr) out.key.assign(text.data, text.size);
  calyx_text_free(&text);
  return out;
}

}  // namespace

TEST_CASE("a key that C derives spends within its limits, and no further") {
  Market market;
  const std::string op = operator_key(market.get());
  const Said made =
      ask(market.get(), "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"alice"})");
  REQUIRE(made.http == 201);
  const std::string wallet = "/v1/wallets/" + member(made.body, "id"), key = member(made.body, "api_key");
  REQUIRE(ask(market.get(), "POST", wallet + "/topup", op, R"({"amount":100})").http == 200);

  const Made first = derived(key, R"({"budget":{"max":"10.00"}})");
  REQUIRE_MESSAGE(first.status == CALYX_OK, calyx_last_error());
  const Made second = derived(first.key, R"({"amount_range":{"max":4}})");
  REQUIRE(second.status == CALYX_OK);
  const auto spend = [&](const std::string& with, const char* job, int amount) {
    return ask(market.get(), "POST", wallet + "/spend", with,
               R"({"job_id":")" + std::string(job) + R"(","amount":)" + std::to_string(amount) + "}");
  };
  CHECK(spend(second.key, "a", 4).http == 200);
  CHECK(member(spend(second.key, "b", 5).body, "code") == "spend_cap_per_job");
  CHECK(member(spend(first.key, "b", 7).body, "code") == "budget_spent");
  CHECK(spend(first.key, "b", 6).http == 200);
  CHECK(derived(key, nullptr).status == CALYX_OK);

  const Made below = derived(key, R"({"budget":{"max":"-1"}})");
  CHECK(below.status == CALYX_INVALID);
  CHECK(below.reason == "field_value");
  CHECK(derived(key, R"({"colour":"red"})").reason == "field_value");
  CHECK(derived(key, "{").reason == "not_json");
  CHECK(derived(op, "{}").status == CALYX_REFUSED);
  CHECK(derived("", "{}").status == CALYX_REFUSED);
}
