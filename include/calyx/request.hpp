/// \file
/// The wire contract in process: method, target, headers and body in; status, headers and body out.
///
/// Most bodies are whole when `handle` returns. Those of streams (`GET /api/v1/jobs/{id}/stream`, …) come in
/// pieces, which whoever asked pulls out of `Response::stream`. A request's own may come in pieces as well
/// (`Request::source`), and how long one may be says `body_limit`.
///
/// Threads: any, at any time.
#pragma once

#include <calyx/engine.hpp>
#include <calyx/version.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx {

struct HeaderField {
  std::string name{};
  std::string value{};
};
using HeaderFields = std::vector<HeaderField>;

/// A request's body that comes in pieces: fills `out` and gives how many bytes it put there, 0 at the end.
/// Its error ends the request and is its answer.
using BodySource = std::function<Result<std::size_t>(std::span<char> out)>;

/// Of a body that is pulled from its source, what is held in memory. Longer ones go to the disk as they come.
inline constexpr std::size_t body_held_max = std::size_t{64} << 20;

struct Request {
  std::string method{};    ///< As in HTTP, upper case.
  std::string target{};    ///< Path and query, percent-encoded: `/v1/wallets/wlt_…/entries?limit=10`.
  HeaderFields headers{};  ///< Names in any case.
  std::string body{};
  /// Whether it comes from the host's own machine or process, as far as the host knows: by the address of the
  /// connection, never by a header, which anybody may send. `GET /metrics` is then answered without a key.
  bool remote_is_local = false;
  /// In place of `body`, which is then empty: pulled inside `handle`, once the key was judged, and never
  /// beyond the limit. A signature (`X-Auth-` headers) covers all of the body, so that of such a request is
  /// held, and is `too_large` above `request_body_max`.
  BodySource source{};
};

/// What a body that comes in pieces has to give just now.
struct BodyPiece {
  enum class Kind : std::uint8_t { bytes, nothing_yet, end };
  Kind kind = Kind::end;
  std::string bytes{};  ///< Not empty with `Kind::bytes`, else empty.
};

/// A body that comes in pieces. It ends when there is nothing more to tell, and when its key is revoked or
/// its engine closed, also while it waits: what a client then has is no error, and asking again says why.
///
/// Owns: it may outlive its engine, whose end ends it; dropping it is all that giving it up takes.
/// Threads: for one at a time.
class CALYX_EXPORT BodyStream {
 public:
  BodyStream() = default;
  BodyStream(const BodyStream&) = delete;
  BodyStream& operator=(const BodyStream&) = delete;
  virtual ~BodyStream();

  /// The next piece, waiting at most `most` for it. After the end there is only the end.
  virtual BodyPiece next(std::chrono::milliseconds most) = 0;
};

struct Response {
  int status = 500;
  HeaderFields headers{};
  std::string body{};                    ///< Empty where there is a `stream`.
  std::shared_ptr<BodyStream> stream{};  ///< Null: `body` is all of it.
};

/// Bytes of a body that most routes read. Some take more, of which `body_limit` knows.
inline constexpr std::size_t request_body_max = 1 << 20;

/// How many bytes of a body are read of a request with `method` and `target`; more is answered 413. Where no
/// route is, `request_body_max`. A server asks before it reads what a client sends.
CALYX_EXPORT std::size_t body_limit(std::string_view method, std::string_view target) noexcept;

/// Answers `request`. A refusal is an answer with its status and a JSON body; nothing is thrown but
/// `std::bad_alloc`.
CALYX_EXPORT Response handle(Engine& engine, const Request& request);

}  // namespace calyx
