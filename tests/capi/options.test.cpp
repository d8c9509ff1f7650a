// How calyx_options grows, and what the host's callbacks may do.
#include <sodium.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <stdexcept>

#include "market.hpp"

using namespace calyx_tests;

namespace {

/// The struct as a later version may have it.
struct LaterOptions {
  calyx_options known = CALYX_OPTIONS_INIT;
  std::uint64_t later = 0;
  unsigned char rest[4096] = {};
};

/// Opens with `options`, closes again, and gives the status.
calyx_status opens(const void* options) {
  calyx_engine* engine = nullptr;
  const calyx_status status = calyx_open(static_cast<const calyx_options*>(options), &engine);
  CHECK((engine != nullptr) == (status == CALYX_OK));
  const std::string reason = last_reason();
  calyx_close(engine);
  if (status != CALYX_OK) CHECK(reason != "");
  return status;
}

}  // namespace

TEST_CASE("the size of the options says which fields were compiled in, and cuts none") {
  LaterOptions options;
  for (std::size_t size = 0; size <= sizeof options.known; ++size) {
    CAPTURE(size);
    options.known.struct_size = size;
    CHECK(opens(&options) == (size >= 8 && size % 8 == 0 ? CALYX_OK : CALYX_INVALID));
  }
  struct Row {
    std::size_t size;
    calyx_status expected;
  };
  const Row rows[] = {
      {sizeof(calyx_options) + 8, CALYX_OK},
      {4096, CALYX_OK},
      {4097, CALYX_INVALID},
      {std::size_t{1} << 32, CALYX_INVALID},
      {std::numeric_limits<std::size_t>::max(), CALYX_INVALID},
  };
  for (const Row& row : rows) {
    CAPTURE(row.size);
    options.known.struct_size = row.size;
    CHECK(opens(&options) == row.expected);
  }
}

TEST_CASE("a newer caller is refused only when it set what this build does not know") {
  LaterOptions options;
  options.known.struct_size = sizeof options.known + sizeof options.later;
  CHECK(opens(&options) == CALYX_OK);
  options.later = 1;
  CHECK(opens(&options) == CALYX_INVALID);
  options.later = std::uint64_t{1} << 63;
  CHECK(opens(&options) == CALYX_INVALID);
  options.known.struct_size = sizeof options.known;
  CHECK(opens(&options) == CALYX_OK);
}

TEST_CASE("what lies beyond an older caller's struct is not read") {
  LaterOptions options;
  options.known.flags = ~std::uint64_t{0};  // memory that is not the caller's struct
  options.known.issuer = reinterpret_cast<const char*>(std::uintptr_t{8});
  options.known.struct_size = offsetof(calyx_options, flags);
  CHECK(opens(&options) == CALYX_OK);
}

TEST_CASE("options that mean nothing are refused") {
  const std::string long_path(4097, 'p');
  const std::string long_issuer(129, 'i');
  struct Row {
    const char* says;
    const char* path;
    const char* issuer;
    std::uint64_t flags;
    const char* reason;
  };
  const Row rows[] = {
      {"an empty path is not a market in memory", "", nullptr, 0, "path_refused"},
      {"a path that is no UTF-8", "market\xFF.db", nullptr, 0, "not_utf8"},
      {"a path without an end", long_path.c_str(), nullptr, 0, "too_large"},
      {"an empty issuer", nullptr, "", 0, "options_invalid"},
      {"an issuer that is no UTF-8", nullptr, "\xC3", 0, "not_utf8"},
      {"an issuer one byte too long", nullptr, long_issuer.c_str(), 0, "too_large"},
      {"a flag of another version", nullptr, nullptr, 2, "options_invalid"},
      {"the highest flag", nullptr, nullptr, std::uint64_t{1} << 63, "options_invalid"},
      {"a file that is not there, to be read", "/nonexistent/market.db", nullptr, CALYX_READ_ONLY, nullptr},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    calyx_options options = CALYX_OPTIONS_INIT;
    options.path = row.path;
    options.issuer = row.issuer;
    options.flags = row.flags;
    calyx_engine* engine = nullptr;
    CHECK(calyx_open(&options, &engine) != CALYX_OK);
    CHECK(engine == nullptr);
    CHECK(last_reason() != "");
    if (row.reason != nullptr) CHECK(last_reason() == row.reason);
  }
  for (const std::uint64_t threads : {std::uint64_t{65}, std::uint64_t{1} << 32, UINT64_MAX}) {
    CAPTURE(threads);
    calyx_options options = CALYX_OPTIONS_INIT;
    options.signing_threads = threads;
    calyx_engine* engine = nullptr;
    CHECK(calyx_open(&options, &engine) == CALYX_INVALID);
    CHECK(engine == nullptr);
    CHECK(last_reason() == "options_invalid");
  }
}

namespace {

/// What a host's callbacks were asked, and what they do.
struct Host {
  std::atomic<int> asked{0};
  bool reenter = false;
  bool fail = false;
  calyx_engine* engine = nullptr;
  std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_key{};
  std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret_key{};
  std::atomic<int> keys_asked{0};
  std::atomic<int> signed_count{0};
  std::atomic<std::int64_t> now_us{1'775'077'200'000'000};

  Host() { crypto_sign_keypair(public_key.data(), secret_key.data()); }
};

int host_random(void* ctx, void* out, std::size_t size) {
  auto& host = *static_cast<Host*>(ctx);
  ++host.asked;
  if (host.reenter) {
    calyx_engine* engine = reinterpret_cast<calyx_engine*>(std::uintptr_t{0xBAD});
    CHECK(calyx_open(nullptr, &engine) == CALYX_INVALID);
    CHECK(engine == nullptr);
    CHECK(last_reason() == "handle_invalid");
    calyx_response* response = nullptr;
    CHECK(calyx_request(host.engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response) ==
          CALYX_INVALID);
    calyx_text text{nullptr, 0};
    CHECK(calyx_public_key(host.engine, &text) == CALYX_INVALID);
    calyx_response_free(nullptr);
    calyx_text_free(&text);
    CHECK(std::string(calyx_version()) != "");
  }
  if (host.fail) return 1;
  randombytes_buf(out, size);
  return 0;
}

std::int64_t host_now(void* ctx) {
  auto& host = *static_cast<Host*>(ctx);
  return host.now_us += 1000;
}

int host_sign(void* ctx, const char* kid, const void* message, std::size_t size, unsigned char out[64]) {
  auto& host = *static_cast<Host*>(ctx);
  if (size == 0) {
    CHECK(std::string(kid) == "");
    ++host.keys_asked;
    if (host.fail) return -1;
    std::memcpy(out, host.public_key.data(), host.public_key.size());
    return 0;
  }
  CHECK(std::string(kid) != "");
  ++host.signed_count;
  return crypto_sign_detached(out, nullptr, static_cast<const unsigned char*>(message), size,
                              host.secret_key.data());
}

calyx_options options_with(Host& host) {
  calyx_options options = CALYX_OPTIONS_INIT;
  options.ctx = &host;
  return options;
}

}  // namespace

TEST_CASE("a call from inside a callback is refused, and leaves nothing in the call outside") {
  Host host;
  calyx_options options = options_with(host);
  options.random = host_random;
  host.reenter = true;
  Market market(&options);
  CHECK(host.asked > 0);
  CHECK(std::string(calyx_last_error()) == "");
  host.engine = market.get();
  const int asked = host.asked;
  const std::string key = operator_key(market.get());
  CHECK(host.asked > asked);
  CHECK(std::string(calyx_last_error()) == "");
  CHECK(ask(market.get(), "GET", "/v1/wallets", key).http == 200);
}

namespace {

/// A host that, asked for `watched`, tries every function of calyx before it answers.
struct Curious {
  enum Made : int { now_us, random, sign, public_key };
  Host host;
  int watched = -1;
  int tried = 0;
  calyx_engine* engine = nullptr;
  calyx_response* response = nullptr;

  void inside(int made) {
    if (watched != made) return;
    ++tried;
    const auto refused = [](calyx_status status) {
      CHECK(status == CALYX_INVALID);
      CHECK(last_reason() == "handle_invalid");
    };
    calyx_engine* opened = nullptr;
    refused(calyx_open(nullptr, &opened));
    calyx_response* made_response = nullptr;
    refused(calyx_request(engine, "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &made_response));
    calyx_text text{nullptr, 0};
    refused(calyx_issue_operator_key(engine, "inside", &text));
    refused(calyx_public_key(engine, &text));
    int verified = 7;
    refused(calyx_verify_receipt("x", 1, "{}", 2, &verified));
    calyx_worker* worker = nullptr;
    refused(calyx_worker_start(engine, nullptr, &worker));
    refused(calyx_register(
        engine, CALYX_KIND_TASK, R"({"name":"inside"})",
        [](void*, calyx_call*, const calyx_input*) { return 0; }, nullptr, nullptr));
    refused(calyx_call_cancelled(nullptr));
    const void* piece = nullptr;
    std::size_t size = 7;
    refused(calyx_response_next(response, 0, &piece, &size));
    CHECK(calyx_response_status(response) == 0);
    CHECK(calyx_response_headers(response) == nullptr);
    CHECK(calyx_response_body(response, &size) == nullptr);
    CHECK(last_reason() == "handle_invalid");
    CHECK(size == 0);
    CHECK((opened == nullptr && made_response == nullptr && text.data == nullptr && worker == nullptr));
    // What gives back, and what only tells, may be called.
    calyx_response_free(nullptr);
    calyx_close(nullptr);
    calyx_worker_stop(nullptr);
    calyx_text_free(&text);
    CHECK(calyx_abi_version() == CALYX_ABI_VERSION);
  }
};

}  // namespace

TEST_CASE("inside each callback every function of calyx is refused, and the call outside ends well") {
  Curious curious;
  calyx_options options = CALYX_OPTIONS_INIT;
  options.ctx = &curious;
  options.now_us = [](void* ctx) {
    static_cast<Curious*>(ctx)->inside(Curious::now_us);
    return host_now(&static_cast<Curious*>(ctx)->host);
  };
  options.random = [](void* ctx, void* out, std::size_t size) {
    static_cast<Curious*>(ctx)->inside(Curious::random);
    return host_random(&static_cast<Curious*>(ctx)->host, out, size);
  };
  options.sign = [](void* ctx, const char* kid, const void* message, std::size_t size, unsigned char* out) {
    static_cast<Curious*>(ctx)->inside(size == 0 ? Curious::public_key : Curious::sign);
    return host_sign(&static_cast<Curious*>(ctx)->host, kid, message, size, out);
  };
  Market another;  // whose functions are refused inside as well
  calyx_response* response = nullptr;
  REQUIRE(calyx_request(another.get(), "GET", "/v1/receipts/keys", nullptr, nullptr, 0, &response) ==
          CALYX_OK);
  curious.engine = another.get();
  curious.response = response;
  for (const int made : {Curious::now_us, Curious::random, Curious::public_key}) {
    CAPTURE(made);
    curious.watched = made;
    const int before = curious.tried;
    CHECK(opens(&options) == CALYX_OK);
    CHECK(curious.tried > before);
  }
  curious.watched = -1;
  Market market(&options);
  const std::string op = operator_key(market.get());
  for (calyx_engine* engine : {market.get(), another.get()}) {
    curious.engine = engine;
    for (const int made : {Curious::now_us, Curious::random, Curious::sign}) {
      CAPTURE(made);
      curious.watched = made;
      const int before = curious.tried;
      if (made == Curious::sign)  // signs the head of the log
        CHECK(ask(market.get(), "GET", "/v1/receipts/checkpoint", op).http == 200);
      else
        CHECK(ask(market.get(), "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"x"})").http ==
              201);
      CHECK(curious.tried > before);
      CHECK(std::string(calyx_last_error()) == "");
    }
  }
  curious.watched = -1;
  CHECK(calyx_response_status(response) == 200);
  calyx_response_free(response);
}

TEST_CASE("an engine can be closed from inside its own callback, and the call under way still ends well") {
  struct Closing {
    calyx_engine* engine = nullptr;
  } closing;
  calyx_options options = CALYX_OPTIONS_INIT;
  options.ctx = &closing;
  options.random = [](void* ctx, void* out, std::size_t size) {
    calyx_close(static_cast<Closing*>(ctx)->engine);
    randombytes_buf(out, size);
    return 0;
  };
  calyx_engine* engine = nullptr;
  REQUIRE(calyx_open(&options, &engine) == CALYX_OK);
  closing.engine = engine;
  calyx_text text{nullptr, 0};
  CHECK(calyx_issue_operator_key(engine, "last", &text) == CALYX_OK);
  CHECK(text.size > 0);
  calyx_text_free(&text);
  CHECK(calyx_issue_operator_key(engine, "later", &text) == CALYX_INVALID);
}

TEST_CASE("a host without randomness gets no market") {
  Host host;
  calyx_options options = options_with(host);
  options.random = host_random;
  host.fail = true;
  CHECK(opens(&options) != CALYX_OK);
  CHECK(host.asked > 0);
}

TEST_CASE("a callback that throws ends in an error, not in the end of the process") {
  calyx_options options = CALYX_OPTIONS_INIT;
  options.random = [](void*, void*, std::size_t) -> int { throw std::runtime_error("no entropy today"); };
  CHECK(opens(&options) != CALYX_OK);
}

TEST_CASE("a signer is asked for its public key once, and a market without one is not opened") {
  Host host;
  calyx_options options = options_with(host);
  options.sign = host_sign;
  {
    Market market(&options);
    CHECK(host.keys_asked == 1);
    calyx_text keys{nullptr, 0};
    REQUIRE(calyx_public_key(market.get(), &keys) == CALYX_OK);
    char x[64];
    sodium_bin2base64(x, sizeof x, host.public_key.data(), host.public_key.size(),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    CHECK(member(std::string(keys.data, keys.size), "x") == x);
    calyx_text_free(&keys);
    CHECK(keys.data == nullptr);
    CHECK(keys.size == 0);
  }
  host.fail = true;
  calyx_engine* engine = nullptr;
  CHECK(calyx_open(&options, &engine) == CALYX_UNAVAILABLE);
  CHECK(last_reason() == "signer_failed");
  CHECK(engine == nullptr);
}

TEST_CASE(
    "a paid job through the C ABI, with the host's clock, chance and signature, ends in a good receipt") {
  Host host;
  calyx_options options = options_with(host);
  options.issuer = "c-host";
  options.now_us = host_now;
  options.random = host_random;
  options.sign = host_sign;
  options.signing_threads = 2;
  Market market(&options);
  calyx_engine* const engine = market.get();
  const std::string op = operator_key(engine);

  const Said alice = ask(engine, "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"alice"})");
  REQUIRE_MESSAGE(alice.http == 201, alice.body);
  const std::string payer = "/v1/wallets/" + member(alice.body, "id");
  const Said bob = ask(engine, "POST", "/v1/wallets", op, R"({"owner_type":"human","owner_id":"bob"})");
  REQUIRE_MESSAGE(bob.http == 201, bob.body);
  const std::string payee = "/v1/wallets/" + member(bob.body, "id");
  CHECK(ask(engine, "POST", payer + "/topup", op, R"({"amount":12.40})").http == 200);
  const Said spent = ask(engine, "POST", payer + "/spend", member(alice.body, "api_key"),
                         R"({"job_id":"job-441","amount":4.00,"gpu_type":"RTX 4090"})");
  CHECK_MESSAGE(spent.http == 200, spent.body);
  CHECK(member(spent.body, "new_balance") == "8.4");
  const Said earned = ask(
      engine, "POST", payee + "/earn", op,
      R"({"job_id":"job-441","gross_amount":3.80,"gpu_model":"RTX 4090","duration_seconds":10082,"output_hash":)"
      R"("sha256:0000000000000000000000000000000000000000000000000000000000000000"})");
  REQUIRE_MESSAGE(earned.http == 200, earned.body);
  CHECK(member(earned.body, "net_payout") == "3.23");
  CHECK(host.signed_count > 0);

  const Said receipt = ask(engine, "GET", "/v1/receipts/" + member(earned.body, "receipt_id"), op);
  REQUIRE(receipt.http == 200);
  calyx_text keys{nullptr, 0};
  REQUIRE(calyx_public_key(engine, &keys) == CALYX_OK);
  const std::string jws = member(receipt.body, "jws");
  struct Row {
    const char* says;
    std::string receipt;
    int verified;
  };
  std::string tampered = jws;
  tampered[tampered.size() / 2] = tampered[tampered.size() / 2] == 'A' ? 'B' : 'A';
  const Row rows[] = {
      {"the bare JWS", jws, 1},
      {"the document that carries it", receipt.body, 1},
      {"one letter changed", tampered, 0},
      {"cut short", jws.substr(0, jws.size() - 1), 0},
      {"something else", "receipt", 0},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    int verified = 7;
    CHECK(calyx_verify_receipt(row.receipt.data(), row.receipt.size(), keys.data, keys.size, &verified) ==
          CALYX_OK);
    CHECK(verified == row.verified);
    CHECK((std::string(calyx_last_error()) == "") == (row.verified == 1));
  }
  // Keys that say nothing are no word against the receipt.
  for (const std::string broken : {"{", "{}", "[]", R"({"keys":[]})", R"({"keys":[{"kty":"OKP"}]})"}) {
    CAPTURE(broken);
    int verified = 7;
    CHECK(calyx_verify_receipt(jws.data(), jws.size(), broken.data(), broken.size(), &verified) ==
          CALYX_INVALID);
    CHECK(verified == 0);
  }
  calyx_text_free(&keys);
}
