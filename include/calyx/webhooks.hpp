/// \file
/// Webhooks: a job with a `callback_url` tells its end there, signed as Standard Webhooks 1.0 says.
///
/// Start at `Options::callbacks`, without which jobs with a `callback_url` are refused, and
/// `Engine::deliver_webhooks`, which the host calls now and then: calyx has no thread and no socket for it.
/// `Engine::set_webhooks` stands for both where an operator's client calls, over the wire. A receiver checks
/// what came with `verify_webhook`.
///
/// The commit that ends a job writes its message, once. It is sent at least once: a receiver that sees a
/// `webhook-id` again has it already. A message that fails is tried ten times within five days
/// (core/callback.hpp); then it is dead, which an operator sees and may replay.
///
/// Units: instants are microseconds since 1970-01-01 UTC.
#pragma once

#include <calyx/core/callback.hpp>
#include <calyx/core/ids.hpp>
#include <calyx/version.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx {

/// The numbers are in the file.
enum class WebhookStatus : std::uint8_t { pending, delivered, dead };
constexpr std::string_view word(WebhookStatus status) noexcept {
  constexpr std::string_view words[] = {"pending", "delivered", "dead"};
  return words[static_cast<std::size_t>(status)];
}

/// How far the message of a job is. Its `webhook-id` is the job's id.
struct Webhook {
  JobId job{};
  WebhookStatus status = WebhookStatus::pending;
  std::int64_t attempts = 0;  ///< Begun, since the last replay.
  Instant created_at{};
  std::optional<Instant> last_at{};  ///< When the last attempt began.
  std::optional<Instant> next_at{};  ///< While pending; under way, when it is given up as lost.
  int answered = 0;                  ///< The last attempt's HTTP status; 0: there was no answer.
  std::string error{};  ///< Why nothing was sent or answered: `no_answer`, or a word of core/callback.hpp.
};

/// The secret with which the messages of a wallet's jobs are signed. Each wallet has its own; it follows from
/// the market's key file and stands in no other.
struct WebhookSecret {
  std::int64_t version = 0;  ///< 0: there is none yet.
  std::optional<Instant> created_at{};
  /// Until when messages bear a signature with the secret before it as well.
  std::optional<Instant> previous_until{};
  std::string secret{};  ///< `whsec_…`; only in the answer that made it.
};
inline constexpr std::int64_t webhook_overlap_s = 86'400;

/// One attempt, for the host's HTTP client: a POST that follows no redirection, uses no proxy and reads no
/// more of the answer than its status and Retry-After.
struct WebhookRequest {
  std::string_view url{};      ///< As it was submitted; its host is the Host header and the name for TLS.
  core::CallbackUrl target{};  ///< The same in its parts.
  std::string address{};  ///< Where to connect to: the one that was judged. Never resolve the name again.
  std::vector<std::pair<std::string, std::string>> headers{};
  std::string_view body{};  ///< JSON; the exact bytes that are signed.
  std::int64_t timeout_s = 20;
};

struct WebhookAnswer {
  int status = 0;                  ///< 0: there was none in time.
  std::int64_t retry_after_s = 0;  ///< The header Retry-After; 0: none.
};

/// The host's network. Both are called outside every lock, on the thread of `deliver_webhooks`, on several
/// where several call it, and may call the engine; one that throws has not answered.
struct WebhookTransport {
  /// All IP addresses of a name, as text. Not asked for a URL whose host is an address.
  std::function<std::vector<std::string>(const std::string& host)> resolve{};
  std::function<WebhookAnswer(const WebhookRequest& request)> send{};
};

/// What a call of `deliver_webhooks` did.
struct WebhookRound {
  std::uint64_t delivered = 0, failed = 0, dead = 0;
  std::optional<Instant> next_at{};  ///< When the next message is due; absent: none waits.
};

/// A delivery's claim on a message ends after this long: whoever has not said by then how it went is taken
/// for gone, and the message is sent again.
inline constexpr std::int64_t webhook_claim_s = 60;
inline constexpr std::int64_t webhook_tolerance_s = 300;  ///< Between a message's clock and its receiver's.

/// A message as it came.
struct WebhookReceived {
  std::string_view id{}, timestamp{}, signature{};  ///< The headers `webhook-id` and so on.
  std::string_view body{};                          ///< The bytes as they came, before any reading of them.
};
struct WebhookVerdict {
  bool valid = false;
  /// Empty when valid, else `secret` (it is none), `malformed`, `timestamp` (too old, or of the future),
  /// `signature`.
  std::string_view reason{};
};
/// Whether `received` was signed with `secret` within five minutes of `now`. Signatures are compared in
/// constant time. That an id was seen before is the receiver's to know. Threads: any.
CALYX_EXPORT WebhookVerdict verify_webhook(std::string_view secret, const WebhookReceived& received,
                                           Instant now);

}  // namespace calyx
