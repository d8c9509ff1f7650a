#include "calyx.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/engine.hpp>
#include <calyx/receipts.hpp>
#include <calyx/request.hpp>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "guard.hpp"
#include "handles.hpp"
#include "json/reader.hpp"
#include "opened.hpp"
#include "wire/router.hpp"

namespace calyx::capi {
namespace {

static_assert(CALYX_OK == static_cast<int>(Status::ok) &&
              CALYX_INVALID == static_cast<int>(Status::invalid) &&
              CALYX_NOT_FOUND == static_cast<int>(Status::not_found) &&
              CALYX_CONFLICT == static_cast<int>(Status::conflict) &&
              CALYX_REFUSED == static_cast<int>(Status::refused) &&
              CALYX_UNAVAILABLE == static_cast<int>(Status::unavailable) &&
              CALYX_STOPPED == static_cast<int>(Status::stopped) &&
              CALYX_UNSUPPORTED == static_cast<int>(Status::unsupported) &&
              CALYX_CORRUPT == static_cast<int>(Status::corrupt) &&
              CALYX_INTERNAL == static_cast<int>(Status::internal) &&
              CALYX_UNKNOWN == static_cast<int>(Status::unknown));

// What calyx.h promises to read of a text, in bytes.
constexpr std::size_t path_bytes_max = 4096;
constexpr std::size_t issuer_bytes_max = 128;
constexpr std::size_t method_bytes_max = 32;
constexpr std::size_t target_bytes_max = 8192;
constexpr std::size_t headers_bytes_max = 65536;
constexpr std::size_t label_bytes_max = 4096;  // the engine knows how long a label may be
constexpr std::size_t limits_bytes_max = 65536;
constexpr std::size_t receipt_bytes_max = json_bytes_max;
static_assert(core::derived_key_bytes_max == 8192 && receipt_bytes_max == 1048576 &&
                  request_body_max == 1048576 && tarball_bytes_max == 536870912 &&
                  job_text_bytes_max == 67108864 && artifact_part_bytes_max == 67108864 &&
                  artifact_bytes_max == 2147483648 && wire::parts_text_bytes_max == 4194304,
              "calyx.h says these numbers");

constexpr std::size_t struct_size_min = sizeof(std::size_t);
constexpr std::size_t struct_size_max = 4096;

/// Where the fields of `calyx_options` end: the sizes that a caller from before this build may have.
constexpr std::size_t option_ends[] = {offsetof(calyx_options, path),
                                       offsetof(calyx_options, busy_timeout_ms),
                                       offsetof(calyx_options, flags),
                                       offsetof(calyx_options, issuer),
                                       offsetof(calyx_options, ctx),
                                       offsetof(calyx_options, now_us),
                                       offsetof(calyx_options, random),
                                       offsetof(calyx_options, sign),
                                       offsetof(calyx_options, signing_threads)};
static_assert(offsetof(calyx_options, signing_threads) + sizeof(calyx_options::signing_threads) ==
                  sizeof(calyx_options),
              "padding at the end would hide a new field from the check of what is zero");

/// An answer that a C caller holds.
struct Answer {
  int status = 0;
  std::string headers_json;
  std::string body;
  std::atomic<bool> body_given{false};  // by calyx_response_next

  std::shared_ptr<BodyStream> stream;  // null: the body is whole
  std::weak_ptr<Engine> engine;        // of the stream
  std::mutex stream_mutex;             // over what follows, and the stream itself
  std::string piece;
};

Result<std::shared_ptr<Answer>> answer_of(const calyx_response* handle) {
  return HandleTable::current().find<Answer>(Kind::response, handle);
}

/// `given` as this build understands it. Fails: `options_invalid`.
Result<calyx_options> options_of(const calyx_options* given) {
  const calyx_options defaults = CALYX_OPTIONS_INIT;
  if (given == nullptr) return defaults;
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  const bool cut = size < sizeof(calyx_options) &&
                   std::find(std::begin(option_ends), std::end(option_ends), size) == std::end(option_ends);
  if (size < struct_size_min || size > struct_size_max || cut)
    return fail(Reason::options_invalid, "struct_size is " + std::to_string(size) +
                                             ", CALYX_OPTIONS_INIT sets " +
                                             std::to_string(sizeof(calyx_options)));
  const auto options = understood(given, size, defaults);
  if (!options)
    return fail(Reason::options_invalid, "a field after the first " + std::to_string(sizeof(calyx_options)) +
                                             " bytes is set, which calyx " CALYX_VERSION " does not know");
  return *options;
}

/// Asks the host's signer for its public half.
Result<std::array<std::uint8_t, 32>> public_key_of(const calyx_options& options) {
  std::array<std::uint8_t, 64> out{};
  const Callback inside;
  if (options.sign(options.ctx, "", nullptr, 0, out.data()) != 0)
    return fail(Reason::signer_failed, "sign gave no public key when asked with kid \"\" and no message");
  std::array<std::uint8_t, 32> key{};
  std::copy_n(out.begin(), key.size(), key.begin());
  return key;
}

Result<Options> engine_options(const calyx_options& given) {
  Options options;
  if (given.path != nullptr) {
    CALYX_TRY(options.path, text_at("path", given.path, path_bytes_max));
    // An empty variable of the environment must not become a market that is gone with the process.
    if (options.path.empty()) return fail(Reason::path_refused, "path is empty; NULL is a market in memory");
  }
  if (given.issuer != nullptr) {
    CALYX_TRY(options.issuer, text_at("issuer", given.issuer, issuer_bytes_max));
    if (options.issuer.empty()) return fail(Reason::options_invalid, "issuer is empty; NULL is \"calyx\"");
  }
  if ((given.flags & ~std::uint64_t{CALYX_READ_ONLY}) != 0)
    return fail(Reason::options_invalid, "flags has bits that calyx " CALYX_VERSION " does not know");
  options.read_only = (given.flags & CALYX_READ_ONLY) != 0;
  options.busy_timeout_ms = given.busy_timeout_ms;
  // What is too large for the engine is too large for its type.
  options.signing_threads = static_cast<unsigned>(std::min<std::uint64_t>(given.signing_threads, UINT_MAX));
  void* const ctx = given.ctx;
  if (const auto now_us = given.now_us) {
    options.now_us = [ctx, now_us] {
      const Callback inside;
      return now_us(ctx);
    };
  }
  if (const auto random = given.random) {
    options.random = [ctx, random](void* out, std::size_t size) {
      const Callback inside;
      return random(ctx, out, size) == 0;
    };
  }
  if (const auto sign = given.sign) {
    CALYX_TRY(options.sign_public_key, public_key_of(given));
    options.sign = [ctx, sign](std::string_view kid, std::string_view message, std::uint8_t out[64]) {
      const std::string kid_in_c(kid);
      const Callback inside;
      return sign(ctx, kid_in_c.c_str(), message.data(), message.size(), out) == 0;
    };
  }
  return options;
}

/// Fails: as `read_json`; `malformed_header` for anything but an object of strings.
Result<HeaderFields> headers_of(const char* headers_json) {
  HeaderFields headers;
  if (headers_json == nullptr) return headers;
  CALYX_TRY(const std::string_view text, text_at("headers_json", headers_json, headers_bytes_max));
  CALYX_TRY(core::json::Value read, read_json(text));
  const core::json::Object* fields = read.object();
  if (fields == nullptr) return fail(Reason::malformed_header, "headers_json is no JSON object");
  headers.reserve(fields->size());
  for (const core::json::Member& field : *fields) {
    const std::string* value = field.value.string();
    if (value == nullptr)
      return fail(Reason::malformed_header, "the value of header " + field.key + " is no string");
    headers.push_back({field.key, *value});
  }
  return headers;
}

/// The headers as one JSON object: fields of one name are joined as RFC 9110 5.3 says.
std::string json_of(const HeaderFields& headers) {
  core::json::Object fields;
  for (const HeaderField& header : headers) {
    const core::json::Value* before = fields.find(header.name);
    fields.set(header.name, before == nullptr ? header.value : *before->string() + ", " + header.value);
  }
  return core::json::text(core::json::Value(std::move(fields)));
}

/// Hands `request` over. From here on memory that runs out leaves open whether the request stands.
Result<Done> answer(const std::shared_ptr<Engine>& engine, const Request& request, Answer& out) {
  try {
    Response response = handle(*engine, request);
    out.status = response.status;
    out.headers_json = json_of(response.headers);
    out.body = std::move(response.body);
    out.stream = std::move(response.stream);
    if (out.stream != nullptr) out.engine = engine;
    return Done{};
  } catch (const std::bad_alloc&) {
    return fail(Reason::outcome_unknown, "memory ran out: repeat the call");
  }
}

/// Wipes in a way that the compiler may not leave out for being followed by a free.
void wipe(void* bytes, std::size_t size) noexcept {
  auto* at = static_cast<volatile unsigned char*>(bytes);
  for (std::size_t i = 0; i < size; ++i) at[i] = 0;
}

Result<Done> request(const calyx_engine* handle, const char* method, const char* target,
                     const char* headers_json, const void* body, std::size_t body_size,
                     calyx_response*& out) {
  CALYX_TRY(const auto engine, engine_of(handle));
  Request asked;
  CALYX_TRY(asked.method, text_at("method", method, method_bytes_max));
  CALYX_TRY(asked.target, text_at("target", target, target_bytes_max));
  CALYX_TRY(asked.headers, headers_of(headers_json));
  if (body == nullptr && body_size != 0)
    return fail(Reason::field_missing, "body is NULL and its size " + std::to_string(body_size));
  if (const std::size_t most = body_limit(asked.method, asked.target); body_size > most) {
    // The wire says 413 by the size alone, so what is too long is neither read nor copied.
    asked.body.assign(most + 1, ' ');
  } else if (body_size != 0) {
    asked.body.assign(static_cast<const char*>(body), body_size);
  }
  HandleTable& table = HandleTable::current();
  const auto holder = std::make_shared<Answer>();
  CALYX_TRY(void* const response, table.put(Kind::response, holder));
  Lease lease(table, Kind::response, response);
  CALYX_CHECK(answer(engine, asked, *holder));
  out = static_cast<calyx_response*>(lease.release());
  return Done{};
}

/// The next piece of a body. `nothing_yet` is no error, so none is told.
Result<Done> next_piece(Answer& held, std::uint32_t timeout_ms, const void*& piece, std::size_t& size,
                        bool& nothing_yet) {
  if (held.stream == nullptr) {
    if (held.body_given.exchange(true)) return Done{};
    piece = held.body.c_str();
    size = held.body.size();
    return Done{};
  }
  const std::unique_lock lock(held.stream_mutex, std::try_to_lock);
  if (!lock) return fail(Reason::handle_invalid, "another thread waits for the next piece of this response");
  // An engine that a callback closes goes with this call, not under it.
  const std::shared_ptr<Engine> engine = held.engine.lock();
  BodyPiece next = held.stream->next(std::chrono::milliseconds(timeout_ms));
  nothing_yet = next.kind == BodyPiece::Kind::nothing_yet;
  held.piece = std::move(next.bytes);
  if (next.kind != BodyPiece::Kind::bytes) return Done{};
  piece = held.piece.c_str();
  size = held.piece.size();
  return Done{};
}

Result<Done> open(const calyx_options* options, calyx_engine*& out) {
  CALYX_TRY(const calyx_options understood_options, options_of(options));
  CALYX_TRY(Options asked, engine_options(understood_options));
  CALYX_TRY(Engine opened, Engine::open(std::move(asked)));
  auto market = std::make_shared<Opened>(std::move(opened));
  CALYX_TRY(void* const handle, HandleTable::current().put(Kind::engine, std::move(market)));
  out = static_cast<calyx_engine*>(handle);
  return Done{};
}

Result<Done> issue_operator_key(const calyx_engine* handle, const char* label, calyx_text& out) {
  CALYX_TRY(const auto engine, engine_of(handle));
  CALYX_TRY(const std::string_view text, text_at("label", label, label_bytes_max));
  Letters letters(
      256);  // a key has about fifty; one minted and then lost for want of memory stays in the books
  CALYX_TRY(KeyIssued issued, engine->issue_operator_key(text));
  const bool given = letters.give(issued.api_key, out);
  wipe(issued.api_key.data(), issued.api_key.size());
  if (!given)
    return fail(Reason::internal, "an API key of " + std::to_string(issued.api_key.size()) + " bytes");
  return Done{};
}

Result<Done> derive(const char* api_key, const char* limits_json, calyx_text& out) {
  CALYX_TRY(const std::string_view key, text_at("api_key", api_key, core::derived_key_bytes_max));
  KeyLimits limits;
  if (limits_json != nullptr) {
    CALYX_TRY(const std::string_view text, text_at("limits_json", limits_json, limits_bytes_max));
    CALYX_TRY(limits, read_key_limits(text));
  }
  CALYX_TRY(std::string made, derive_key(key, limits));
  Letters(made.size()).give(made, out);
  wipe(made.data(), made.size());
  return Done{};
}

Result<Done> public_key(const calyx_engine* handle, calyx_text& out) {
  CALYX_TRY(const auto engine, engine_of(handle));
  const std::string keys = engine->public_keys();
  Letters(keys.size()).give(keys, out);
  return Done{};
}

Result<Done> verify(const char* receipt, std::size_t size, const char* jwks_json, std::size_t jwks_size,
                    int& verified) {
  CALYX_TRY(const std::string_view text, text_at("receipt", receipt, size, receipt_bytes_max));
  CALYX_TRY(const std::string_view jwks, text_at("jwks_json", jwks_json, jwks_size, receipt_bytes_max));
  const ReceiptVerdict verdict = verify_receipt(text, jwks);
  // Keys that cannot be read judge nothing: that is no word against the receipt.
  if (verdict.reason == "jwks") return fail(Reason::field_value, "jwks_json is no JSON Web Key Set");
  verified = verdict.valid ? 1 : 0;
  if (!verdict.valid) set_last_error(verdict.reason, "the receipt does not hold");
  return Done{};
}

}  // namespace
}  // namespace calyx::capi

using namespace calyx;        // NOLINT: this file is the seam
using namespace calyx::capi;  // NOLINT

calyx_status calyx_open(const calyx_options* options, calyx_engine** out) noexcept {
  return guarded([&] { return capi::open(options, *out); }, out);
}

void calyx_close(calyx_engine* engine) noexcept {
  guarded_end([&] {
    const auto held = std::static_pointer_cast<Opened>(HandleTable::current().take(Kind::engine, engine));
    if (held == nullptr) return;
    held->engine.end_streams();  // whoever waits for news holds it until then
    held->ask_workers_to_stop();
  });
}

calyx_status calyx_request(calyx_engine* engine, const char* method, const char* target,
                           const char* headers_json, const void* body, size_t body_size,
                           calyx_response** out) noexcept {
  return guarded([&] { return capi::request(engine, method, target, headers_json, body, body_size, *out); },
                 out);
}

int calyx_response_status(const calyx_response* response) noexcept {
  int status = 0;
  const calyx_status done = guarded([&]() -> Result<Done> {
    CALYX_TRY(const auto held, answer_of(response));
    status = held->status;
    return Done{};
  });
  return done == CALYX_OK ? status : 0;
}

const char* calyx_response_headers(const calyx_response* response) noexcept {
  const char* headers = nullptr;
  const calyx_status done = guarded([&]() -> Result<Done> {
    CALYX_TRY(const auto held, answer_of(response));
    headers = held->headers_json.c_str();  // the table still holds it
    return Done{};
  });
  return done == CALYX_OK ? headers : nullptr;
}

const void* calyx_response_body(const calyx_response* response, size_t* size) noexcept {
  const char* body = nullptr;
  const calyx_status done = guarded(
      [&]() -> Result<Done> {
        CALYX_TRY(const auto held, answer_of(response));
        body = held->body.c_str();
        *size = held->body.size();
        return Done{};
      },
      size);
  return done == CALYX_OK ? body : nullptr;
}

calyx_status calyx_response_next(calyx_response* response, uint32_t timeout_ms, const void** piece,
                                 size_t* size) noexcept {
  bool nothing_yet = false;
  const calyx_status done = guarded(
      [&]() -> Result<Done> {
        CALYX_TRY(const auto held, answer_of(response));
        return next_piece(*held, timeout_ms, *piece, *size, nothing_yet);
      },
      piece, size);
  return done == CALYX_OK && nothing_yet ? CALYX_UNAVAILABLE : done;
}

void calyx_response_free(calyx_response* response) noexcept {
  guarded_end([&] { HandleTable::current().take(Kind::response, response); });
}

calyx_status calyx_issue_operator_key(calyx_engine* engine, const char* label, calyx_text* out) noexcept {
  return guarded([&] { return capi::issue_operator_key(engine, label, *out); }, out);
}

calyx_status calyx_derive_key(const char* api_key, const char* limits_json, calyx_text* out) noexcept {
  return guarded([&] { return capi::derive(api_key, limits_json, *out); }, out);
}

calyx_status calyx_public_key(calyx_engine* engine, calyx_text* out) noexcept {
  return guarded([&] { return capi::public_key(engine, *out); }, out);
}

calyx_status calyx_verify_receipt(const char* receipt, size_t size, const char* jwks_json, size_t jwks_size,
                                  int* verified) noexcept {
  return guarded([&] { return capi::verify(receipt, size, jwks_json, jwks_size, *verified); }, verified);
}

void calyx_text_free(calyx_text* text) noexcept {
  guarded_end([&] {
    if (text == nullptr) return;
    if (text->data != nullptr) wipe(text->data, text->size);
    std::free(text->data);
    *text = {};
  });
}

const char* calyx_last_error() noexcept { return desk.last_error; }

const char* calyx_version() noexcept { return CALYX_VERSION; }

uint32_t calyx_abi_version() noexcept { return CALYX_ABI_VERSION; }
