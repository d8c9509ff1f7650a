/// \file
/// Payload schemas: each keyword by what it takes and what it refuses, and what is no keyword.
#include <doctest/doctest.h>

#include <calyx/core/schema.hpp>
#include <climits>

using namespace calyx;
namespace json = core::json;

namespace {

json::Value list(std::vector<json::Value> items) { return json::Value(json::Array(std::move(items))); }
json::Value of(std::string_view keyword, json::Value value) {
  return json::object({{std::string(keyword), std::move(value)}});
}

}  // namespace

TEST_CASE("schema: each keyword takes what it says, and names what it does not") {
  struct Row {
    json::Value schema;
    json::Value value;
    Reason reason;  ///< `none`: it passes.
    const char* field = "/p";
  };
  const json::Value big = json::Value::number_token("9223372036854775808");  // 2^63
  const json::Value pair = json::object(
      {{"properties", json::object({{"a", of("type", "integer")}, {"b", true}, {"no", false}})}});
  json::Value closed = pair;
  closed.object()->set("additionalProperties", false).set("required", json::array({"a"}));
  json::Value texts = pair;
  texts.object()->set("additionalProperties", of("type", "string"));
  const Row rows[] = {
      {true, 1, Reason::none},
      {false, 1, Reason::field_unknown},
      {json::object({}), nullptr, Reason::none},
      // type
      {of("type", "null"), nullptr, Reason::none},
      {of("type", "null"), 0, Reason::field_type},
      {of("type", "boolean"), true, Reason::none},
      {of("type", "boolean"), 1, Reason::field_type},
      {of("type", "integer"), 1, Reason::none},
      {of("type", "integer"), 1.0, Reason::none},  // as the specification has it
      {of("type", "integer"), 1.5, Reason::field_type},
      {of("type", "integer"), big, Reason::none},
      {of("type", "integer"), "1", Reason::field_type},
      {of("type", "number"), 1, Reason::none},
      {of("type", "number"), 1.5, Reason::none},
      {of("type", "number"), true, Reason::field_type},
      {of("type", "string"), "", Reason::none},
      {of("type", "string"), 1, Reason::field_type},
      {of("type", "array"), list({}), Reason::none},
      {of("type", "array"), json::object({}), Reason::field_type},
      {of("type", "object"), json::object({}), Reason::none},
      {of("type", "object"), list({}), Reason::field_type},
      {of("type", json::array({"integer", "string"})), "7", Reason::none},
      {of("type", json::array({"integer", "string"})), nullptr, Reason::field_type},
      // enum, const
      {of("enum", json::array({"a", 1})), "a", Reason::none},
      {of("enum", json::array({"a", 1})), 1.0, Reason::none},
      {of("enum", json::array({"a", 1})), "b", Reason::field_value},
      {of("enum", list({})), 1, Reason::field_value},
      {of("const", json::object({{"a", 1}, {"b", list({2.0})}})),
       json::object({{"b", list({2})}, {"a", 1.0}}), Reason::none},
      {of("const", json::object({{"a", 1}})), json::object({{"a", 1}, {"b", 1}}), Reason::field_value},
      {of("const", list({1, 2})), list({1}), Reason::field_value},
      {of("const", nullptr), nullptr, Reason::none},
      {of("const", nullptr), false, Reason::field_value},
      // numbers, exactly
      {of("minimum", 3), 3, Reason::none},
      {of("minimum", 3), 2, Reason::field_value},
      {of("minimum", 2.5), 3, Reason::none},
      {of("minimum", 2.5), 2, Reason::field_value},
      {of("minimum", -2.5), -3, Reason::field_value},
      {of("minimum", -2.5), -2, Reason::none},
      {of("exclusiveMinimum", 3), 3, Reason::field_value},
      {of("exclusiveMinimum", 3), 3.0, Reason::field_value},
      {of("exclusiveMinimum", 3), 3.5, Reason::none},
      {of("maximum", 3), 3.0, Reason::none},
      {of("maximum", 3), 3.5, Reason::field_value},
      {of("exclusiveMaximum", 3.5), 3, Reason::none},
      {of("exclusiveMaximum", 3), 3, Reason::field_value},
      {of("maximum", INT64_MAX), big, Reason::field_value},
      {of("maximum", big), INT64_MAX, Reason::none},
      {of("minimum", big), INT64_MAX, Reason::field_value},
      {of("minimum", -9223372036854775808.0), INT64_MIN, Reason::none},
      {of("minimum", 9007199254740993), 9007199254740992.0, Reason::field_value},  // 2^53 + 1 is no double
      {of("minimum", 3), "a text", Reason::none},                                  // judges numbers alone
      // texts, in characters
      {of("minLength", 2), "\xC3\xA4\xC3\xB6", Reason::none},
      {of("maxLength", 2), "\xC3\xA4\xC3\xB6", Reason::none},
      {of("minLength", 3), "\xC3\xA4\xC3\xB6", Reason::field_value},
      {of("maxLength", 1), "\xC3\xA4\xC3\xB6", Reason::field_value},
      // lists
      {of("minItems", 1), list({}), Reason::field_value},
      {of("maxItems", 1), list({1, 2}), Reason::field_value},
      {of("maxItems", 1), json::object({{"a", 1}, {"b", 2}}), Reason::none},
      {of("items", of("type", "integer")), list({1, 2}), Reason::none},
      {of("items", of("type", "integer")), list({1, "2"}), Reason::field_type, "/p/1"},
      {of("items", false), list({}), Reason::none},
      {of("items", false), list({1}), Reason::field_unknown, "/p/0"},
      // members
      {of("required", json::array({"a"})), json::object({}), Reason::field_missing, "/p/a"},
      {of("required", json::array({"a"})), json::object({{"a", nullptr}}), Reason::none},
      {of("minProperties", 1), json::object({}), Reason::field_value},
      {of("maxProperties", 0), json::object({{"a", 1}}), Reason::field_value},
      {pair, json::object({{"a", 1}, {"c", 2}}), Reason::none},
      {pair, json::object({{"a", "1"}}), Reason::field_type, "/p/a"},
      {pair, json::object({{"no", 1}}), Reason::field_unknown, "/p/no"},
      {closed, json::object({{"a", 1}, {"b", 2}}), Reason::none},
      {closed, json::object({{"a", 1}, {"c", 2}}), Reason::field_unknown, "/p/c"},
      {closed, json::object({{"b", 1}}), Reason::field_missing, "/p/a"},
      {texts, json::object({{"x/y", 2}}), Reason::field_type, "/p/x~1y"},
      {texts, json::object({{"a", 2}, {"c", "2"}}), Reason::none},
  };
  for (const Row& row : rows) {
    INFO(json::canonical(row.schema));
    CAPTURE(json::canonical(row.value));
    REQUIRE(core::check_schema(row.schema, "/s").ok());
    const Result<Done> judged = core::check_by_schema(row.schema, row.value, "/p");
    CHECK(judged.reason() == row.reason);
    if (!judged.ok()) CHECK(*judged.error().details.find("field")->string() == row.field);
  }
}

TEST_CASE("schema: a fault says what was given and what is taken") {
  const auto says = [](const json::Value& schema, const json::Value& value) {
    return core::check_by_schema(schema, value, "/p").error().message;
  };
  CHECK(says(of("minimum", 3), 2) == "is 2, must be at least 3");
  CHECK(says(of("exclusiveMaximum", 1.5), 2) == "is 2, must be below 1.5");
  CHECK(says(of("enum", json::array({"a", "b"})), "c") == R"(is "c", must be one of ["a","b"])");
  CHECK(says(of("maxItems", 1), list({1, 2})) == "has 2 items, takes at most 1");
  CHECK(says(of("type", "integer"), 1.5) == "is 1.5, must be an integer");
  CHECK(says(of("type", "integer"), "1") == "is a string, must be of type integer");
  CHECK(says(of("const", 1), std::string(500, 'x')).size() < 200);  // no stranger's text comes back whole
}

TEST_CASE("schema: what would be passed over is refused, and so is what is no schema") {
  json::Value deep = true;
  for (unsigned i = 0; i < core::schema_depth_max; ++i) deep = of("items", std::move(deep));
  json::Value deeper = of("items", deep);
  struct Row {
    json::Value schema;
    Reason reason;
    const char* field;
  };
  const Row rows[] = {
      {of("pattern", "a+"), Reason::field_unknown, "/s/pattern"},
      {of("anyOf", list({})), Reason::field_unknown, "/s/anyOf"},
      {of("properties", of("a", of("multipleOf", 2))), Reason::field_unknown, "/s/properties/a/multipleOf"},
      {of("items", of("$ref", "#")), Reason::field_unknown, "/s/items/$ref"},
      {of("additionalProperties", of("if", true)), Reason::field_unknown, "/s/additionalProperties/if"},
      {7, Reason::field_type, "/s"},
      {of("items", list({})), Reason::field_type, "/s/items"},
      {of("properties", list({})), Reason::field_type, "/s/properties"},
      {of("type", 7), Reason::field_type, "/s/type"},
      {of("type", "text"), Reason::field_value, "/s/type"},
      {of("type", json::array({"string", "text"})), Reason::field_value, "/s/type"},
      {of("enum", "a"), Reason::field_type, "/s/enum"},
      {of("required", json::array({"a", 1})), Reason::field_type, "/s/required"},
      {of("minimum", "3"), Reason::field_type, "/s/minimum"},
      {of("maxItems", 1.5), Reason::field_type, "/s/maxItems"},
      {of("minLength", -1), Reason::field_value, "/s/minLength"},
      {of("$schema", "http://json-schema.org/draft-07/schema#"), Reason::field_value, "/s/$schema"},
      {of("$schema", core::schema_dialect), Reason::none, ""},
      {json::object({{"title", "t"}, {"description", 1}, {"default", list({})}, {"format", "date"}}),
       Reason::none, ""},
      {deep, Reason::none, ""},
      {deeper, Reason::field_value, nullptr},
  };
  for (const Row& row : rows) {
    INFO(json::canonical(row.schema));
    const Result<Done> judged = core::check_schema(row.schema, "/s");
    CHECK(judged.reason() == row.reason);
    if (!judged.ok() && row.field != nullptr)
      CHECK(*judged.error().details.find("field")->string() == row.field);
  }
}
