/// \file
/// A client of an x402 facilitator, over the host's own HTTP: who verifies and settles payments on a chain.
///
/// Start at `Facilitator::open`, and hand it to `Options::settlement`. Payments of x402's versions 1 and 2 go
/// out as they came in; one of MPP signs the same message (EIP-3009), so it goes out as version 2's `exact`.
///
/// A settlement happens somewhere else, and its answer may get lost. What is said then follows from this:
///
/// - The chain takes a payer's nonce once. So the same `settle` may be sent again and again: it moves money
///   once at most, and a facilitator that moved it before refuses, each with a word of its own.
/// - A `refused` of `settle` is for good. It is said only where no try before this one can have moved
///   anything (`verify` and then `settle`, once, in this process) and where the reason is one that is found
///   before anything is sent to a chain: `insufficient_funds`, most of `invalid_…`. All else is
///   `unavailable`: no answer, one that is not x402's or is longer than 64 KB, 5xx, 429, 401, a used nonce,
///   `invalid_transaction_state`, `duplicate_settlement`, words not known here, and whatever a second try is
///   refused with. Even `insufficient_funds` may then mean that the first one took the payer's last coin.
///   Only `settlement_pending` is `pending`.
/// - A `settled` has to fit: it names a transaction, and no other payer, network or amount than was asked
///   for. Else it is `unavailable` as well.
/// - A used nonce is no proof of payment either: its payer may have signed two messages with it.
/// - A facilitator keeps no status. `status` says `unknown`, by which the engine asks `settle` once more, and
///   `settle` is then not the first. Between two such rounds is a pause of 1 s, doubled up to 5 min, within
///   which `status` (and `verify`) answers `unavailable` at once.
///
/// So a payment whose settlement's answer was lost stays `settling` until the facilitator gives that answer
/// again, or `lookup` says what the chain has of it. Give `lookup` wherever a chain can be asked. There is
/// one gap: two processes over one market each believe that they are the first to settle a payment that both
/// were brought at the same moment. If one's answer is lost after the money moved, and the other is refused
/// for want of what has just been moved, the payment counts as failed.
///
/// Nothing is kept on disk. What is remembered in memory only makes answers quicker, or surer, never wrong by
/// being forgotten.
///
/// A facilitator is believed that it settled a payment, since nobody else says so, but not how much that is:
/// a payment is credited as what it is itself.
///
/// Source: x402's specification of versions 1 and 2, the facilitator's API.
///
/// Units: milliseconds. Threads: any, also for the functions that the host gives.
#pragma once

#include <algorithm>
#include <calyx/core/json.hpp>
#include <calyx/core/result.hpp>
#include <calyx/payments.hpp>
#include <calyx/request.hpp>
#include <calyx/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace calyx {

/// The most that is read of an answer. Units: bytes.
inline constexpr std::size_t facilitator_reply_max = std::size_t{64} << 10;
inline constexpr std::int64_t facilitator_timeout_ms_max = 300'000;
inline constexpr std::int64_t facilitator_pause_ms_max = 60'000;
inline constexpr int facilitator_tries_max = 10;

/// One HTTP exchange, for the host's client. It follows no redirection and believes no certificate that is
/// not the host's in the URL.
struct FacilitatorRequest {
  std::string_view method{};  ///< `GET` or `POST`.
  std::string_view url{};
  HeaderFields headers{};
  std::string_view body{};      ///< JSON; empty for `GET`.
  std::int64_t timeout_ms = 0;  ///< From the call to the last byte of the answer.
};

struct FacilitatorReply {
  int status = 0;  ///< HTTP's.
  /// All of it. Of one longer than `facilitator_reply_max` it is enough to give a byte more than that.
  std::string body{};
};

struct FacilitatorOptions {
  /// Where `/verify`, `/settle` and `/supported` are, without a last slash: `https://…`, or `http://` to
  /// `localhost`, `127.0.0.1` or `[::1]`. 256 bytes at most.
  std::string url{};
  /// Nothing where no whole answer came in time. What throws says the same.
  std::function<std::optional<FacilitatorReply>(const FacilitatorRequest& request)> send{};
  /// Headers that say who asks, for each try anew, since tokens of some facilitators are good for one URL and
  /// some seconds. Empty: none.
  std::function<HeaderFields(std::string_view method, std::string_view url)> authorize{};
  /// What a chain has of a payment; the one way to learn how a settlement ended whose answer was lost, and to
  /// take payments that are `on_chain`. It says
  /// - `settled`, with the transaction: the tokens went from the payer to the address that is paid, by this
  ///   nonce (or in the transaction that the payer named), and will stay there. That the nonce was used is
  ///   not enough.
  /// - `refused`: they did not, and never will: the nonce was used for something else, or `valid_before` has
  ///   passed on the chain, and no block that says so will go again.
  /// - `pending`: seen, and not final yet. `unknown`: not there so far. All else: nobody could tell.
  ///
  /// Empty, or where it throws: nobody can tell.
  std::function<SettlementAnswer(const VerifiedPayment& payment)> lookup{};
  /// What requirements of version 1 name as the resource, an absolute URL: facilitators want one, and nothing
  /// is signed of it. Empty: `url`.
  std::string resource{};

  std::int64_t timeout_ms = 30'000;  ///< Of one try, 1 to 300,000. A settlement waits for a block.
  int tries = 3;                     ///< Of one call, 1 to 10.
  /// Before the second try, 0 to 60,000; twice as much before each later one, within the same, and up to half
  /// less by chance.
  std::int64_t pause_ms = 500;
  std::function<void(std::int64_t ms)> sleep{};  ///< Empty: the calling thread sleeps.
  std::function<std::uint64_t()> random{};  ///< Of no use to an attacker. Empty: the clock's last digits.
  std::function<std::int64_t()> now_ms{};   ///< A clock that never runs back. Empty: the system's.
};

namespace detail {

/// What the library is handed: the host's functions, which here give what they promise. None throws but for a
/// lack of memory.
struct FacilitatorWork {
  std::string resource{};
  int tries = 0;
  /// A status of 0: no answer.
  std::function<FacilitatorReply(const char* path, std::string_view body, std::string_view key)> exchange{};
  std::function<void(const VerifiedPayment& payment, SettlementAnswer& out)> lookup{};
  std::function<void(int after)> pause{};  ///< After the first try 0.
  std::function<std::int64_t()> now_ms{};
};

}  // namespace detail

class CALYX_EXPORT Facilitator final : public SettlementBackend {
 public:
  /// Asks nobody yet. Fails: `options_invalid`.
  static Result<std::shared_ptr<Facilitator>> open(FacilitatorOptions options);
  ~Facilitator() override;

  /// What it settles, for a host to compare with its settings: an array of objects with `x402Version`,
  /// `scheme`, `network` and maybe `extra`, as they came. Of Solana `extra` has `feePayer`, which
  /// `PaymentNetwork::fee_payer` has to be. One try. Fails: `io_error`, without such an answer.
  Result<core::json::Value> supported();

  /// Refuses with the facilitator's `invalidReason`; with `invalid_payload` what it could not be told: a
  /// payload that is no header of its protocol, or version 1 or MPP for a token that calyx does not know;
  /// with `not_on_chain` a named transaction that `lookup` does not see.
  SettlementAnswer verify(const VerifiedPayment& payment) override;
  /// May take `tries` times the timeout and the pauses. Sends `key` as `Idempotency-Key`, for who heeds it.
  /// Pending, and nothing is sent, while another call is at it, and as long as `status` waits; and so
  /// `verify`, unavailable.
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override;
  SettlementAnswer status(std::string_view key) override;
  bool judges_contracts() const noexcept override;

 private:
  struct State;
  explicit Facilitator(std::shared_ptr<const detail::FacilitatorWork> work);
  std::unique_ptr<State> state_;
};

// What calls the host's functions is inline: it is compiled where they are.

namespace detail {

/// Whether what goes to `url` is read by nobody on the way: TLS, or this machine.
inline bool is_safe_url(std::string_view url) noexcept {
  for (const std::string_view begin : {"https://", "http://127.0.0.1", "http://localhost", "http://[::1]"}) {
    if (!url.starts_with(begin)) continue;
    url.remove_prefix(begin.size());
    if (begin.ends_with('/')) return !url.empty() && url.front() != '/';
    return url.empty() || url.front() == ':' || url.front() == '/';
  }
  return false;
}
/// Whether `text` may stand in a URL, a header and quotes.
inline bool is_plain_text(std::string_view text) noexcept {
  return text.size() <= 256 && std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != '#' && c != '@';
         });
}

inline const char* facilitator_fault(const FacilitatorOptions& options) noexcept {
  if (!is_plain_text(options.url) || !is_safe_url(options.url) || options.url.ends_with('/') ||
      options.url.find('?') != std::string::npos)
    return "a facilitator's url is https, or http to this machine, without a last slash";
  if (!is_plain_text(options.resource)) return "a facilitator's resource is no URL of 256 bytes at most";
  if (!options.send) return "a facilitator needs a function that sends";
  if (options.timeout_ms < 1 || options.timeout_ms > facilitator_timeout_ms_max)
    return "a facilitator's timeout_ms is 1 to 300000";
  if (options.tries < 1 || options.tries > facilitator_tries_max) return "a facilitator's tries are 1 to 10";
  if (options.pause_ms < 0 || options.pause_ms > facilitator_pause_ms_max)
    return "a facilitator's pause_ms is 0 to 60000";
  return nullptr;
}

inline FacilitatorReply facilitator_exchange(const FacilitatorOptions& options, const char* path,
                                             std::string_view body, std::string_view key) {
  try {
    const std::string url = options.url + path;
    FacilitatorRequest request{
        .method = body.empty() ? "GET" : "POST", .url = url, .body = body, .timeout_ms = options.timeout_ms};
    if (options.authorize) request.headers = options.authorize(request.method, url);
    request.headers.push_back({"Accept", "application/json"});
    if (!body.empty()) request.headers.push_back({"Content-Type", "application/json"});
    if (!key.empty() && is_plain_text(key)) request.headers.push_back({"Idempotency-Key", std::string(key)});
    if (std::optional<FacilitatorReply> reply = options.send(request)) return *std::move(reply);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
  }
  return {};
}

inline void facilitator_lookup(const FacilitatorOptions& options, const VerifiedPayment& payment,
                               SettlementAnswer& out) {
  out = {};
  try {
    if (options.lookup) out = options.lookup(payment);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (...) {
  }
  if (out.outcome == SettlementOutcome::valid) out = {};  // a chain has no such word
}

inline void facilitator_pause(const FacilitatorOptions& options, int after) {
  const std::int64_t whole = std::min(options.pause_ms << after, facilitator_pause_ms_max);
  // Calls that fail together are not made again together.
  const std::uint64_t drawn =
      options.random
          ? options.random()
          : static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const std::int64_t ms =
      whole - static_cast<std::int64_t>(drawn % static_cast<std::uint64_t>(whole / 2 + 1));
  if (options.sleep)
    options.sleep(ms);
  else
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace detail

inline Result<std::shared_ptr<Facilitator>> Facilitator::open(FacilitatorOptions options) {
  if (const char* const fault = detail::facilitator_fault(options))
    return fail(Reason::options_invalid, fault);
  const auto its = std::make_shared<const FacilitatorOptions>(std::move(options));
  auto work = std::make_shared<detail::FacilitatorWork>();
  work->resource = its->resource.empty() ? its->url : its->resource;
  work->tries = its->tries;
  work->exchange = [its](const char* path, std::string_view body, std::string_view key) {
    return detail::facilitator_exchange(*its, path, body, key);
  };
  work->lookup = [its](const VerifiedPayment& payment, SettlementAnswer& out) {
    detail::facilitator_lookup(*its, payment, out);
  };
  work->pause = [its](int after) { detail::facilitator_pause(*its, after); };
  work->now_ms = its->now_ms;
  if (!work->now_ms)
    work->now_ms = [] {
      return std::int64_t{std::chrono::steady_clock::now().time_since_epoch() / std::chrono::milliseconds(1)};
    };
  return std::shared_ptr<Facilitator>(new Facilitator(std::move(work)));
}

}  // namespace calyx
