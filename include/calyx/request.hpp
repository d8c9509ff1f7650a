/// \file
/// The wire contract in process: method, target, headers and body in; status, headers and body out.
///
/// Most bodies are whole when `handle` returns. Those of streams (`GET /api/v1/jobs/{id}/stream`, …) come in
/// pieces, which whoever asked pulls out of `Response::stream`.
///
/// Threads: any, at any time.
#pragma once

#include <calyx/engine.hpp>
#include <calyx/version.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
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

struct Request {
  std::string method{};    ///< As in HTTP, upper case.
  std::string target{};    ///< Path and query, percent-encoded: `/v1/wallets/wlt_…/entries?limit=10`.
  HeaderFields headers{};  ///< Names in any case.
  std::string body{};
  /// Whether it comes from the host's own machine or process, as far as the host knows: by the address of the
  /// connection, never by a header, which anybody may send. `GET /metrics` is then answered without a key.
  bool remote_is_local = false;
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

/// Bytes of a body that are read; more is answered 413.
inline constexpr std::size_t request_body_max = 1 << 20;

/// Answers `request`. A refusal is an answer with its status and a JSON body; nothing is thrown but
/// `std::bad_alloc`.
CALYX_EXPORT Response handle(Engine& engine, const Request& request);

}  // namespace calyx
