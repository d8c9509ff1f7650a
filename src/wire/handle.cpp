#include <algorithm>
#include <calyx/request.hpp>
#include <span>
#include <string>
#include <utility>

#include "wire/router.hpp"

namespace calyx {
namespace {

namespace json = core::json;

/// A target is an absolute path with an optional query, in the letters that a request line may carry.
Result<Done> check_target(std::string_view target) {
  const auto malformed = [](const char* message) { return fail(Reason::malformed_target, message); };
  if (target.empty() || target[0] != '/') return malformed("a target begins with a slash");
  if (!std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '#'; }))
    return malformed("a target holds bytes that must be percent-encoded");
  return Done{};
}

/// What was asked for, as far as an answer may repeat it: never the query, which may hold anything.
json::Object asked_for(std::string_view method, std::string_view path) {
  json::Object details;
  if (const auto said = wire::sayable(method)) details.set("method", *said);
  if (const auto said = wire::sayable(path)) details.set("path", *said);
  return details;
}

Response not_allowed(std::string_view method, std::string_view path, unsigned allow) {
  std::string words;
  for (std::size_t i = 0; i < wire::methods; ++i) {
    if ((allow >> i & 1) == 0) continue;
    if (!words.empty()) words += ", ";
    words += word(static_cast<wire::Method>(i));
  }
  constexpr std::size_t method_said_max = 16;
  const bool sayable = method.size() <= method_said_max &&
                       std::all_of(method.begin(), method.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  json::Object details = asked_for(method, path);
  details.set("allow", std::string_view(words));
  Response out = wire::error_response(fail(Reason::method_not_allowed,
                                           (sayable ? std::string(method) : std::string("this method")) +
                                               " is not answered here, " + words +
                                               (words.find(',') == std::string::npos ? " is" : " are"),
                                           std::move(details)));
  out.headers.push_back({"Allow", std::move(words)});
  return out;
}

/// Whether `principal` may call `route` at all. Fails: `operator_only`, `not_whitelisted`.
Result<Done> may_enter(const wire::Route& route, const Principal& principal) {
  if (route.access != wire::Access::key && principal.role != Role::operator_)
    return fail(Reason::operator_only, "only an operator's key may do this",
                json::object({{"role", principal.role == Role::human ? "human" : "agent"}}));
  if (route.path.starts_with("/api/v1/") && !principal.whitelisted)
    return fail(Reason::not_whitelisted, "no operator has put this wallet on the whitelist",
                json::object({{"wallet_id", principal.wallet->text()}}));
  return Done{};
}

/// Takes the body out of its source into memory, up to `most`. Fails: `too_large`; as the source does.
Result<Done> hold_body(Request& request, std::size_t most) {
  const BodySource source = std::exchange(request.source, nullptr);
  constexpr std::size_t block_bytes = std::size_t{64} << 10;
  for (std::size_t size = 0;;) {
    request.body.resize(size + block_bytes);
    CALYX_TRY(const std::size_t more, source(std::span(request.body).subspan(size)));
    size += more;
    request.body.resize(size);
    if (more == 0) return Done{};
    if (size > most)
      return fail(Reason::too_large, "the body has more than " + std::to_string(most) + " bytes",
                  json::object({{"limit", most}}));
  }
}

Result<Response> answer(Engine& engine, const Request& given) {
  Request held;  // one whose body is pulled
  if (given.source) held = given;
  const Request& request = given.source ? held : given;
  const std::string_view target = request.target;
  CALYX_CHECK(check_target(target));
  const std::size_t mark = std::min(target.find('?'), target.size());
  wire::Call call{.engine = engine,
                  .request = request,
                  .path = target.substr(0, mark),
                  .query = mark == target.size() ? std::string_view{} : target.substr(mark + 1),
                  .id = {},
                  .key = {},
                  .session = {}};

  const wire::Match found = wire::match(request.method, call.path);
  // A path that cannot be decoded leads nowhere by chance only, so it is named for what it is.
  std::string decoded, decoded_key;
  call.id = found.id;
  call.key = found.key;
  if (call.path.find('%') != std::string_view::npos) {
    if (!wire::percent_decoded(call.path, wire::Plus::literal))
      return fail(Reason::malformed_target, "a percent sign in the path begins no escape");
    decoded = *wire::percent_decoded(found.id, wire::Plus::literal);
    call.id = decoded;
    decoded_key = *wire::percent_decoded(found.key, wire::Plus::literal);
    call.key = decoded_key;
  }
  if (found.allow == 0)
    return fail(Reason::route_unknown, "nothing is answered at this path",
                asked_for(request.method, call.path));
  if (found.route == nullptr) return not_allowed(request.method, call.path, found.allow);

  // A longer one goes to the disk as it comes, unless a signature covers it, which is judged behind the body:
  // so much is held for strangers. A key, and what it is for, is judged before what it comes with.
  const bool is_signed = request.source && wire::is_signed(request);
  if (request.source && (is_signed || found.route->body_bytes_max <= body_held_max)) {
    const wire::Access needs = found.route->access;
    const bool pays = found.route->price != nullptr && !wire::says_who(request);
    if (!is_signed && !pays && (needs == wire::Access::key || needs == wire::Access::operator_)) {
      CALYX_TRY(const Session session, wire::session_of(engine, request, false));
      CALYX_CHECK(may_enter(*found.route, session.principal()));
    }
    CALYX_CHECK(
        hold_body(held, std::min(found.route->body_bytes_max, is_signed ? request_body_max : body_held_max)));
  }

  return wire::answer_of(call, *found.route);
}

}  // namespace

Result<Response> wire::answer_of(Call& call, const Route& route) {
  Engine& engine = call.engine;
  const Request& request = call.request;
  const Access access = route.access;
  if (route.price != nullptr && !says_who(request)) return answer_for_price(call, route);
  if (access != Access::anyone && !(access == Access::metrics && request.remote_is_local)) {
    if (access == Access::metrics) {
      const Result<std::string_view> token = api_key(request);
      if (token.ok() && engine.is_metrics_token(*token)) return route.handle(call);
    }
    // What belongs to jobs is for those who may run them, whoever gave out their key.
    const bool of_jobs = route.path.starts_with("/api/v1/");
    // No signature is an operator's, so none opens a wallet on their routes.
    if (access != Access::key && is_signed(request))
      return fail(Reason::operator_only, "only an operator's key may do this",
                  json::object({{"role", "human"}}));
    CALYX_TRY(Session session, session_of(engine, request, of_jobs));
    CALYX_CHECK(may_enter(route, session.principal()));
    call.session = std::move(session);
  }
  Result<Response> answered = route.handle(call);
  if (answered.reason() != Reason::insufficient_balance || !call.session) return answered;
  return answer_for_payment(call, route.handle, answered.error());
}

BodyStream::~BodyStream() = default;

std::size_t body_limit(std::string_view method, std::string_view target) noexcept {
  const wire::Match found = wire::match(method, target.substr(0, target.find('?')));
  return found.route == nullptr ? request_body_max : found.route->body_bytes_max;
}

Response handle(Engine& engine, const Request& request) {
  Result<Response> answered = answer(engine, request);
  return answered.ok() ? *std::move(answered) : wire::error_response(answered.error());
}

}  // namespace calyx
