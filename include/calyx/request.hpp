/// \file
/// The wire contract in process: method, target, headers and body in; status, headers and body out.
///
/// Threads: any, at any time.
#pragma once

#include <calyx/engine.hpp>
#include <calyx/version.hpp>
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

struct Response {
  int status = 500;
  HeaderFields headers{};
  std::string body{};
};

/// Bytes of a body that are read; more is answered 413.
inline constexpr std::size_t request_body_max = 1 << 20;

/// Answers `request`. A refusal is an answer with its status and a JSON body; nothing is thrown but
/// `std::bad_alloc`.
CALYX_EXPORT Response handle(Engine& engine, const Request& request);

}  // namespace calyx
