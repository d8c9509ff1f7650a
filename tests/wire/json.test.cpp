// Bodies that are not what they should be: each is refused with its place, and nothing is written.
#include "wire/client.hpp"

using namespace wire_test;

namespace {

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("a body that is not strict JSON is refused with its place, and nothing is written") {
  struct Row {
    const char* says;
    std::string body;
    int status;
    const char* code;
    const char* place;  // what `at` or `field` of the details holds; null: whatever stands there
  };
  const std::string zero("{\"job_id\":\"a\0b\",\"amount\":1}", 26);
  const Row rows[] = {
      {"nothing", "", 400, "not_json", nullptr},
      {"blanks", " \n\t", 400, "not_json", nullptr},
      {"half an object", R"({"job_id":"j","amount":)", 400, "not_json", nullptr},
      {"single quotes", R"({'job_id':'j'})", 400, "not_json", nullptr},
      {"a comment", R"({"job_id":"j"/**/,"amount":1})", 400, "not_json", nullptr},
      {"a comma too many", R"({"job_id":"j","amount":1,})", 400, "not_json", nullptr},
      {"a leading zero", R"({"job_id":"j","amount":01})", 400, "not_json", nullptr},
      {"a plus sign", R"({"job_id":"j","amount":+1})", 400, "not_json", nullptr},
      {"a number that is none", R"({"job_id":"j","amount":NaN})", 400, "not_json", nullptr},
      {"a bare point", R"({"job_id":"j","amount":1.})", 400, "not_json", nullptr},
      {"a raw control", "{\"job_id\":\"a\nb\",\"amount\":1}", 400, "not_json", nullptr},
      {"a byte order mark", "\xEF\xBB\xBF{\"job_id\":\"j\",\"amount\":1}", 400, "not_json", nullptr},
      {"two values", R"({"job_id":"j","amount":1}{})", 400, "trailing_bytes", nullptr},
      {"a stray letter behind", R"({"job_id":"j","amount":1} x)", 400, "trailing_bytes", nullptr},
      {"a key twice", R"({"job_id":"j","amount":1,"amount":2})", 400, "duplicate_key", "/amount"},
      {"a key twice, once escaped", R"({"job_id":"j","amount":1,"\u0061mount":2})", 400, "duplicate_key",
       "/amount"},
      {"a key twice, deep inside", R"({"job_id":"j","amount":1,"x":[{"a":1,"a":1}]})", 400, "duplicate_key",
       "/x/0/a"},
      {"a NUL, escaped", R"({"job_id":"a\u0000b","amount":1})", 400, "zero_character", "/job_id"},
      {"a NUL in a key", R"({"job_id":"j","amount":1,"a\u0000":1})", 400, "zero_character", nullptr},
      {"a NUL, raw", zero, 400, "zero_character", nullptr},
      {"no UTF-8", "{\"job_id\":\"\xFF\",\"amount\":1}", 400, "not_utf8", nullptr},
      {"an overlong slash", "{\"job_id\":\"\xC0\xAF\",\"amount\":1}", 400, "not_utf8", nullptr},
      {"half a surrogate pair", R"({"job_id":"\ud800","amount":1})", 400, "not_utf8", nullptr},
      {"33 deep", R"({"job_id":"j","amount":1,"x":)" + nested(32) + "}", 400, "too_deep", nullptr},
      {"100,000 deep", nested(100'000), 400, "too_deep", nullptr},
      {"32 deep, and so a stranger", R"({"job_id":"j","amount":1,"x":)" + nested(31) + "}", 422,
       "field_unknown", "/x"},
      {"an array", "[]", 422, "field_type", ""},
      {"a string", R"("spend")", 422, "field_type", ""},
      {"null", "null", 422, "field_type", ""},
      {"a stranger", R"({"job_id":"j","amount":1,"Amount":1})", 422, "field_unknown", "/Amount"},
      {"2^53 of everything", R"({"job_id":"j","amount":9007199254740992})", 422, "amount_out_of_range",
       "/amount"},
      {"2^64", R"({"job_id":"j","amount":18446744073709551616})", 422, "amount_out_of_range", "/amount"},
      {"1e400", R"({"job_id":"j","amount":1e400})", 422, "amount_out_of_range", "/amount"},
      {"minus 1e400", R"({"job_id":"j","amount":-1e400})", 422, "amount_negative", "/amount"},
      {"one byte too many", std::string(calyx::request_body_max + 1, ' '), 413, "too_large", nullptr},
      {"as many as are read", std::string(calyx::request_body_max, ' '), 400, "not_json", nullptr},
  };
  Market market;
  const Owner alice = market.human("alice");
  const Owner agent = market.agent(alice, "agent");
  market.fund(agent, "10");
  const std::string head = market.head();
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Answer answer = market.post(agent.path("/spend"), agent.key, row.body);
    CHECK(answer.status == row.status);
    CHECK(answer.code() == row.code);
    const std::string place = answer.at(row.status == 422 ? "error.details.field" : "error.details.at");
    if (row.place != nullptr)
      CHECK(place == row.place);
    else if (row.status == 400)
      CHECK(place != "absent");
    CHECK(market.wallet(agent).at("txn_count") == "1");
  }
  CHECK(market.head() == head);
  // The body that they all meant passes, blanks around it and escapes in it included.
  CHECK(market.post(agent.path("/spend"), agent.key, " {\"job_\\u0069d\" : \"j\", \"amount\" : 1 }\r\n")
            .status == 200);
}

TEST_CASE("every route that reads a body reads it as strictly") {
  Market market;
  const Owner alice = market.human("alice");
  const Owner agent = market.agent(alice, "agent");
  struct Route {
    const char* method;
    std::string target;
  };
  const Route routes[] = {
      {"POST", "/v1/wallets"},        {"PATCH", agent.path()},          {"POST", agent.path("/spend")},
      {"POST", agent.path("/earn")},  {"POST", agent.path("/release")}, {"POST", agent.path("/transfer")},
      {"POST", agent.path("/topup")}, {"POST", agent.path("/payouts")}, {"POST", agent.path("/keys")},
      {"POST", "/v1/waitlist"},       {"POST", "/v1/grants"},           {"POST", "/v1/bulk"},
      {"POST", "/v1/audit"},
  };
  struct Body {
    std::string text;
    const char* code;
  };
  const Body bodies[] = {
      {"", "not_json"},
      {"{", "not_json"},
      {"{}{}", "trailing_bytes"},
      {R"({"a":1,"a":1})", "duplicate_key"},
      {R"({"a":"\u0000"})", "zero_character"},
      {"{\"a\":\"\xFF\"}", "not_utf8"},
      {nested(33), "too_deep"},
      {"[]", "field_type"},
      {std::string(calyx::request_body_max + 1, ' '), "too_large"},
  };
  const std::string head = market.head();
  for (const Route& route : routes)
    for (const Body& body : bodies) {
      CAPTURE(route.target);
      CAPTURE(body.code);
      CHECK(market.send(route.method, route.target, market.op, body.text).code() == body.code);
    }
  for (const Route& route : routes) {
    CAPTURE(route.target);
    const Answer answer = market.send(route.method, route.target, market.op, R"({"stranger":1})");
    CHECK(answer.status == 422);
  }
  CHECK(market.head() == head);
}

TEST_CASE("a body where none is read is passed over") {
  Market market;
  const Owner alice = market.human("alice");
  CHECK(market.send("GET", alice.path(), alice.key, "{").status == 200);
  const std::string key = market.get(alice.path("/keys"), alice.key).at("items.0.id");
  CHECK(market.send("POST", "/v1/keys/" + key + "/rotate", market.op, "{").status == 201);
}

TEST_CASE("what an answer repeats is JSON again, whatever letters it has") {
  Market market;
  const std::string name = R"(Zo\u00eb \"the\\quick\" \ud83d\ude00)";
  const Owner odd = market.human(name);
  const Answer wallet = market.wallet(odd);
  CHECK(wallet.at("owner_id") == "Zo\xC3\xAB \"the\\quick\" \xF0\x9F\x98\x80");
  market.fund(odd, "1");
  const Answer refused = market.spend(odd, "j", "1", R"("gpu_type":"a\u0007b")");
  CHECK(refused.code() == "field_value");
  const std::string stranger(5000, 'x');
  const Answer unknown = market.spend(odd, "j", "1", "\"" + stranger + "\":1");
  CHECK(unknown.code() == "field_unknown");
  CHECK(unknown.body.size() < 500);
}

TEST_CASE("a target is an absolute path in printable letters") {
  Market market;
  for (const std::string& target :
       {std::string(), std::string("v1/wallets"), std::string("*"), std::string("http://x/v1/wallets"),
        std::string("/v1/wal lets"), std::string("/v1/wallets#x"), std::string("/v1/w\xC3\xA4llets"),
        std::string("/v1/\0wallets", 12), std::string("/v1/wallets/%"), std::string("/v1/wallets/%4"),
        std::string("/v1/wallets/%zz"), std::string("/v1/wallets?limit=%f"),
        std::string("/v1/wallets?after=%FF")}) {
    CAPTURE(target);
    const Answer answer = market.get(target, market.op);
    CHECK(answer.status == 400);
    CHECK(answer.code() == "malformed_target");
  }
  CHECK(market.get("/v1/wallets/%2F", market.op).code() == "wallet_unknown");
  CHECK(market.get("/v1/wallets/%00", market.op).code() == "wallet_unknown");
  CHECK(market.get("/v1/wallets/%FF", market.op).code() == "wallet_unknown");
  CHECK(market.get("/v1/wallets?", market.op).status == 200);
  CHECK(market.get("/v1/wallets?&", market.op).status == 200);
}
