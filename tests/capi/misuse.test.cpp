// Every function of the C ABI against every way to call it wrongly. The tables are crossed, so a new function
// or a new kind of misuse is one row.
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "market.hpp"

using namespace calyx_tests;

namespace {

constexpr std::size_t mebibyte = 1048576;

/// Arguments that are good until a row spoils one of them.
struct Args {
  calyx_options options = CALYX_OPTIONS_INIT;
  calyx_engine* engine = nullptr;
  calyx_response* response = nullptr;
  calyx_call* call = nullptr;  // stands only while a function runs: register.test.cpp has those that do
  const char* method = "GET";
  const char* target = "/v1/receipts/keys";
  const char* headers = "{\"Accept\":\"application/json\"}";
  const void* body = nullptr;
  std::size_t body_size = 0;
  const char* label = "tests";
  const char* api_key = "cyx_live_x";
  const char* limits = "{}";
  const char* receipt = "a.b.c";
  std::size_t receipt_size = 5;
  const char* jwks =  // a key of RFC 8037
      R"({"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]})";
  std::size_t jwks_size = 90;
  const char* worker_options = "{}";
  const char* task_options = R"({"name":"nothing"})";
  const char* settlement_options = "{}";
};

int does_nothing(void*, calyx_call*, const calyx_input*) { return 0; }

/// Out-parameters, full of what must not be left there.
struct Outs {
  calyx_engine* engine = reinterpret_cast<calyx_engine*>(std::uintptr_t{0xBAD});
  calyx_response* response = reinterpret_cast<calyx_response*>(std::uintptr_t{0xBAD});
  calyx_worker* worker = reinterpret_cast<calyx_worker*>(std::uintptr_t{0xBAD});
  const void* piece = reinterpret_cast<const void*>(std::uintptr_t{0xBAD});
  std::size_t size = 7;
  int verified = 7;
  calyx_text text{reinterpret_cast<char*>(std::uintptr_t{0xBAD}), 7};
};

enum class Takes : std::uint8_t { nothing, engine, response, call };

struct Call {
  const char* name;
  Takes takes;
  std::function<calyx_status(const Args&, Outs&)> make;
  std::function<bool(const Outs&)> zeroed;
};

/// A function without a status, as if it had one: what it gives for a bad handle is nothing, and the error's
/// text says so.
calyx_status as_status(bool gave) {
  if (gave) return CALYX_OK;
  const std::string reason = last_reason();
  if (reason == "forked") return CALYX_UNAVAILABLE;
  return reason.empty() ? CALYX_INTERNAL : CALYX_INVALID;
}

const std::vector<Call>& calls() {
  static const std::vector<Call> all = {
      {"calyx_open", Takes::nothing, [](const Args& a, Outs& o) { return calyx_open(&a.options, &o.engine); },
       [](const Outs& o) { return o.engine == nullptr; }},
      {"calyx_request", Takes::engine,
       [](const Args& a, Outs& o) {
         return calyx_request(a.engine, a.method, a.target, a.headers, a.body, a.body_size, &o.response);
       },
       [](const Outs& o) { return o.response == nullptr; }},
      {"calyx_response_status", Takes::response,
       [](const Args& a, Outs&) { return as_status(calyx_response_status(a.response) != 0); },
       [](const Outs&) { return true; }},
      {"calyx_response_headers", Takes::response,
       [](const Args& a, Outs&) { return as_status(calyx_response_headers(a.response) != nullptr); },
       [](const Outs&) { return true; }},
      {"calyx_response_body", Takes::response,
       [](const Args& a, Outs& o) { return as_status(calyx_response_body(a.response, &o.size) != nullptr); },
       [](const Outs& o) { return o.size == 0; }},
      {"calyx_response_next", Takes::response,
       [](const Args& a, Outs& o) { return calyx_response_next(a.response, 0, &o.piece, &o.size); },
       [](const Outs& o) { return o.piece == nullptr && o.size == 0; }},
      {"calyx_issue_operator_key", Takes::engine,
       [](const Args& a, Outs& o) { return calyx_issue_operator_key(a.engine, a.label, &o.text); },
       [](const Outs& o) { return o.text.data == nullptr && o.text.size == 0; }},
      {"calyx_public_key", Takes::engine,
       [](const Args& a, Outs& o) { return calyx_public_key(a.engine, &o.text); },
       [](const Outs& o) { return o.text.data == nullptr && o.text.size == 0; }},
      {"calyx_derive_key", Takes::nothing,
       [](const Args& a, Outs& o) { return calyx_derive_key(a.api_key, a.limits, &o.text); },
       [](const Outs& o) { return o.text.data == nullptr && o.text.size == 0; }},
      {"calyx_verify_receipt", Takes::nothing,
       [](const Args& a, Outs& o) {
         return calyx_verify_receipt(a.receipt, a.receipt_size, a.jwks, a.jwks_size, &o.verified);
       },
       [](const Outs& o) { return o.verified == 0; }},
      {"calyx_worker_start", Takes::engine,
       [](const Args& a, Outs& o) { return calyx_worker_start(a.engine, a.worker_options, &o.worker); },
       [](const Outs& o) { return o.worker == nullptr; }},
      {"calyx_register", Takes::engine,
       [](const Args& a, Outs&) {
         return calyx_register(a.engine, CALYX_KIND_TASK, a.task_options, does_nothing, nullptr, nullptr);
       },
       [](const Outs&) { return true; }},
      {"calyx_register, of a settlement", Takes::engine,
       [](const Args& a, Outs&) {
         return calyx_register(a.engine, CALYX_KIND_SETTLEMENT, a.settlement_options, does_nothing, nullptr,
                               nullptr);
       },
       [](const Outs&) { return true; }},
      {"calyx_call_progress", Takes::call,
       [](const Args& a, Outs&) { return calyx_call_progress(a.call, "{}", 2); },
       [](const Outs&) { return true; }},
      {"calyx_call_cancelled", Takes::call, [](const Args& a, Outs&) { return calyx_call_cancelled(a.call); },
       [](const Outs&) { return true; }},
      {"calyx_call_checkpoint", Takes::call,
       [](const Args& a, Outs& o) { return calyx_call_checkpoint(a.call, &o.text); },
       [](const Outs& o) { return o.text.data == nullptr && o.text.size == 0; }},
      {"calyx_call_keep_checkpoint", Takes::call,
       [](const Args& a, Outs&) { return calyx_call_keep_checkpoint(a.call, "7", 1); },
       [](const Outs&) { return true; }},
      {"calyx_call_reply", Takes::call, [](const Args& a, Outs&) { return calyx_call_reply(a.call, "7", 1); },
       [](const Outs&) { return true; }},
  };
  return all;
}

const Call& call_named(std::string_view name) {
  for (const Call& call : calls())
    if (name == call.name) return call;
  FAIL("no call of that name");
  return calls().front();
}

void give_back(Outs& outs) {
  calyx_close(outs.engine);
  calyx_response_free(outs.response);
  calyx_worker_stop(outs.worker);
  if (outs.text.size != 7) calyx_text_free(&outs.text);
}

/// A market and a response that stand, and good arguments with them.
struct Stage {
  Market market;
  Args args;
  Stage() {
    args.engine = market.get();
    const calyx_status asked =
        calyx_request(args.engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &args.response);
    REQUIRE(asked == CALYX_OK);
  }
  ~Stage() { calyx_response_free(args.response); }
};

/// Handles that stand for nothing of their kind, each as an address.
struct BadHandle {
  const char* says;
  void* handle;
};

std::vector<BadHandle> bad_handles(const Stage& stage, Takes takes) {
  calyx_engine* closed = nullptr;
  REQUIRE(calyx_open(nullptr, &closed) == CALYX_OK);
  calyx_close(closed);
  calyx_response* freed = nullptr;
  REQUIRE(calyx_request(stage.args.engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &freed) ==
          CALYX_OK);
  calyx_response_free(freed);
  static int object = 0;
  const bool engine = takes == Takes::engine;
  void* const good = engine ? static_cast<void*>(stage.args.engine) : static_cast<void*>(stage.args.response);
  void* const foreign =
      engine ? static_cast<void*>(stage.args.response) : static_cast<void*>(stage.args.engine);
  const auto number = [](std::uintptr_t bits) { return reinterpret_cast<void*>(bits); };
  const auto bits = reinterpret_cast<std::uintptr_t>(good);
  return {
      {"NULL", nullptr},
      {"given back", engine ? static_cast<void*>(closed) : static_cast<void*>(freed)},
      {"of another kind", foreign},
      {"given back and of another kind", engine ? static_cast<void*>(freed) : static_cast<void*>(closed)},
      {"the address of an object", &object},
      {"1", number(1)},
      {"all ones", number(~std::uintptr_t{0})},
      {"one bit off at the bottom", number(bits ^ 1)},
      {"the next slot's", number(bits + (1u << 4))},
      {"a slot past the last", number(bits | 0xFFFFu << 4)},
      {"the next tenant's", number(bits + (std::uintptr_t{1} << 32))},
      {"the tenant's before", number(bits - (std::uintptr_t{1} << 32))},
  };
}

}  // namespace

TEST_CASE("good arguments pass, so the rows below fail for what they say") {
  Stage stage;
  for (const Call& call : calls()) {
    CAPTURE(call.name);
    Outs outs;
    CHECK(call.make(stage.args, outs) == (call.takes == Takes::call ? CALYX_INVALID : CALYX_OK));
    give_back(outs);
  }
}

TEST_CASE("a handle that does not stand is invalid in every function, and the out-parameters are zeroed") {
  Stage stage;
  int rows = 0;
  for (const Call& call : calls()) {
    if (call.takes == Takes::nothing) continue;
    for (const BadHandle& bad : bad_handles(stage, call.takes)) {
      CAPTURE(call.name);
      CAPTURE(bad.says);
      Args args = stage.args;
      if (call.takes == Takes::engine)
        args.engine = static_cast<calyx_engine*>(bad.handle);
      else if (call.takes == Takes::call)
        args.call = static_cast<calyx_call*>(bad.handle);
      else
        args.response = static_cast<calyx_response*>(bad.handle);
      Outs outs;
      CHECK(call.make(args, outs) == CALYX_INVALID);
      CHECK(last_reason() == "handle_invalid");
      CHECK(call.zeroed(outs));
      ++rows;
    }
  }
  CHECK(rows == 15 * 12);
}

TEST_CASE("giving back what does not stand does nothing") {
  Stage stage;
  for (const BadHandle& bad : bad_handles(stage, Takes::engine)) {
    CAPTURE(bad.says);
    calyx_close(static_cast<calyx_engine*>(bad.handle));
    if (bad.handle != stage.args.response) calyx_response_free(static_cast<calyx_response*>(bad.handle));
    calyx_worker_stop(static_cast<calyx_worker*>(bad.handle));
  }
  for (const BadHandle& bad : bad_handles(stage, Takes::response)) {
    CAPTURE(bad.says);
    if (bad.handle != stage.args.engine) calyx_close(static_cast<calyx_engine*>(bad.handle));
    calyx_response_free(static_cast<calyx_response*>(bad.handle));
    calyx_worker_stop(static_cast<calyx_worker*>(bad.handle));
  }
  // Nor does the right handle in the wrong function.
  calyx_response_free(reinterpret_cast<calyx_response*>(stage.args.engine));
  calyx_close(reinterpret_cast<calyx_engine*>(stage.args.response));
  calyx_text_free(nullptr);
  calyx_text zeroed{nullptr, 0};
  calyx_text_free(&zeroed);
  CHECK(calyx_response_status(stage.args.response) == 200);
  CHECK(ask(stage.args.engine, "GET", "/v1/receipts/keys").http == 200);
}

TEST_CASE("a NULL out-parameter is invalid, and the other one is zeroed all the same") {
  Stage stage;
  const Args& a = stage.args;
  Outs outs;
  const auto refused = [](calyx_status status) {
    return status == CALYX_INVALID && last_reason() == "field_missing";
  };
  CHECK(refused(calyx_open(&a.options, nullptr)));
  CHECK(refused(calyx_request(a.engine, a.method, a.target, a.headers, nullptr, 0, nullptr)));
  CHECK(refused(calyx_response_next(a.response, 0, nullptr, &outs.size)));
  CHECK(outs.size == 0);
  CHECK(refused(calyx_response_next(a.response, 0, &outs.piece, nullptr)));
  CHECK(outs.piece == nullptr);
  CHECK(refused(calyx_issue_operator_key(a.engine, a.label, nullptr)));
  CHECK(refused(calyx_public_key(a.engine, nullptr)));
  CHECK(refused(calyx_derive_key(a.api_key, a.limits, nullptr)));
  CHECK(refused(calyx_verify_receipt(a.receipt, a.receipt_size, a.jwks, a.jwks_size, nullptr)));
  CHECK(refused(calyx_worker_start(a.engine, a.worker_options, nullptr)));
  CHECK(calyx_response_body(a.response, nullptr) == nullptr);
  CHECK(last_reason() == "field_missing");
}

TEST_CASE("a text is not NULL, is UTF-8 and has a longest length, in every function") {
  Stage stage;
  struct Text {
    const char* call;
    const char* says;
    const char* Args::*letters;
    std::size_t Args::*size;  // or null: ends in a NUL
    std::size_t bytes_max;
    bool may_be_null;
  };
  const Text texts[] = {
      {"calyx_request", "method", &Args::method, nullptr, 32, false},
      {"calyx_request", "target", &Args::target, nullptr, 8192, false},
      {"calyx_request", "headers_json", &Args::headers, nullptr, 65536, true},
      {"calyx_issue_operator_key", "label", &Args::label, nullptr, 4096, false},
      {"calyx_derive_key", "api_key", &Args::api_key, nullptr, 8192, false},
      {"calyx_derive_key", "limits_json", &Args::limits, nullptr, 65536, true},
      {"calyx_verify_receipt", "receipt", &Args::receipt, &Args::receipt_size, mebibyte, false},
      {"calyx_verify_receipt", "jwks_json", &Args::jwks, &Args::jwks_size, mebibyte, false},
      {"calyx_worker_start", "options_json", &Args::worker_options, nullptr, 65536, true},
      {"calyx_register", "options_json", &Args::task_options, nullptr, 65536, false},
      {"calyx_register, of a settlement", "options_json", &Args::settlement_options, nullptr, 65536, false},
  };
  // Not UTF-8 by RFC 3629: a byte that never comes, a character cut short, an overlong slash, a surrogate, a
  // character above U+10FFFF, a continuation that continues nothing.
  const char* const spoilt[] = {"\xFF", "a\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80"};

  for (const Text& text : texts) {
    CAPTURE(text.call);
    CAPTURE(text.says);
    const Call& call = call_named(text.call);
    const auto made_with = [&](const char* letters, std::size_t size, Outs& outs) {
      Args args = stage.args;
      args.*text.letters = letters;
      if (text.size != nullptr) args.*text.size = size;
      return call.make(args, outs);
    };
    if (!text.may_be_null) {
      Outs outs;
      CHECK(made_with(nullptr, 1, outs) == CALYX_INVALID);
      CHECK(last_reason() == "field_missing");
      CHECK(call.zeroed(outs));
    }
    for (const char* letters : spoilt) {
      CAPTURE(letters);
      Outs outs;
      CHECK(made_with(letters, std::strlen(letters), outs) == CALYX_INVALID);
      CHECK(last_reason() == "not_utf8");
      CHECK(call.zeroed(outs));
    }
    {
      const std::string longest(text.bytes_max, 'x');
      Outs outs;
      static_cast<void>(made_with(longest.c_str(), longest.size(), outs));
      CHECK(last_reason() != "too_large");
      give_back(outs);
    }
    {
      const std::string too_long(text.bytes_max + 1, 'x');
      Outs outs;
      CHECK(made_with(too_long.c_str(), too_long.size(), outs) == CALYX_INVALID);
      CHECK(last_reason() == "too_large");
      CHECK(call.zeroed(outs));
    }
    if (text.size == nullptr) continue;
    // A size that no memory has: nothing of the one byte that is there may be read past its end.
    for (const std::size_t size : {std::size_t{1} << 31, std::size_t{1} << 32, std::size_t{1} << 63,
                                   std::numeric_limits<std::size_t>::max()}) {
      CAPTURE(size);
      Outs outs;
      CHECK(made_with("x", size, outs) == CALYX_INVALID);
      CHECK(last_reason() == "too_large");
      CHECK(call.zeroed(outs));
    }
    Outs outs;
    // No text is a receipt that does not hold, and no keys judge none.
    CHECK(made_with("", 0, outs) == (text.letters == &Args::jwks ? CALYX_INVALID : CALYX_OK));
    CHECK(outs.verified == 0);
  }
}

TEST_CASE("a body is read to a mebibyte, and a longer one is answered 413 unread") {
  Stage stage;
  const std::string key = operator_key(stage.args.engine);
  const std::string headers = "{\"X-API-Key\":\"" + key + "\"}";
  const std::string room(mebibyte, ' ');
  struct Row {
    const char* says;
    const void* body;
    std::size_t size;
    int http;  // 0: not answered
  };
  const Row rows[] = {
      {"no body is no JSON", nullptr, 0, 400},
      {"a pointer to nothing", "", 0, 400},
      {"one byte", "{", 1, 400},
      {"to the last byte", room.data(), mebibyte, 400},
      {"one past it", room.data(), mebibyte + 1, 413},
      {"2^31", "x", std::size_t{1} << 31, 413},
      {"2^63", "x", std::size_t{1} << 63, 413},
      {"all there is", "x", std::numeric_limits<std::size_t>::max(), 413},
      {"one byte at NULL", nullptr, 1, 0},
      {"all there is at NULL", nullptr, std::numeric_limits<std::size_t>::max(), 0},
      {"bytes that are no UTF-8", "\xFF\xFE", 2, 400},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    calyx_response* response = nullptr;
    const calyx_status status = calyx_request(stage.args.engine, "POST", "/v1/wallets", headers.c_str(),
                                              row.body, row.size, &response);
    CHECK(status == (row.http == 0 ? CALYX_INVALID : CALYX_OK));
    CHECK(calyx_response_status(response) == row.http);
    calyx_response_free(response);
  }
}

TEST_CASE("headers are one JSON object of strings") {
  Stage stage;
  struct Row {
    const char* headers;
    const char* reason;
  };
  const Row rows[] = {
      {nullptr, ""},
      {"{}", ""},
      {"{\"A\":\"\"}", ""},
      {"", "not_json"},
      {"{", "not_json"},
      {"{\"A\":\"b\"} x", "trailing_bytes"},
      {"{\"A\":\"b\",\"A\":\"c\"}", "duplicate_key"},
      {"{\"A\":\"\\u0000\"}", "zero_character"},
      {"[]", "malformed_header"},
      {"null", "malformed_header"},
      {"\"A: b\"", "malformed_header"},
      {"{\"A\":1}", "malformed_header"},
      {"{\"A\":null}", "malformed_header"},
      {"{\"A\":[\"b\"]}", "malformed_header"},
      {"{\"A\":{}}", "malformed_header"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.reason);
    Args args = stage.args;
    args.headers = row.headers;
    Outs outs;
    const calyx_status expected = *row.reason == '\0' ? CALYX_OK : CALYX_INVALID;
    CHECK(call_named("calyx_request").make(args, outs) == expected);
    CHECK(last_reason() == row.reason);
    if (expected != CALYX_OK) CHECK(outs.response == nullptr);
    give_back(outs);
  }
}

TEST_CASE("a method and a target that name nothing are answered, not refused") {
  Stage stage;
  for (const char* target : {"", "/", "v1", "/v1/nothing", "//", "/v1/wallets/%zz", "/%00"}) {
    CAPTURE(target);
    const Said said = ask(stage.args.engine, "GET", target);
    CHECK(said.status == CALYX_OK);
    CHECK(said.http >= 400);
    CHECK(said.http < 500);
  }
  for (const char* method : {"", "get", "BREW", "GET "}) {
    CAPTURE(method);
    const Said said = ask(stage.args.engine, method, "/v1/receipts/keys");
    CHECK(said.status == CALYX_OK);
    CHECK(said.http >= 400);
    CHECK(said.http < 500);
  }
}
