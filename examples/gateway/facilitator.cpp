#include "facilitator.hpp"

#include <httplib.h>

#include <chrono>
#include <optional>
#include <string_view>

#include "deadline.hpp"

namespace {

// A round asks again what had no answer, so one call need not; and a gateway that stops waits for one try.
constexpr int tries = 1;
constexpr std::int64_t timeout_ms = 20'000;

std::optional<calyx::FacilitatorReply> exchange(const calyx::FacilitatorRequest& asked) {
  const std::size_t path = asked.url.find('/', asked.url.find("://") + 3);
  httplib::Client client(std::string(asked.url.substr(0, path)));
  if (!client.is_valid()) return std::nullopt;  // https, and the library was built without it
  const std::chrono::milliseconds most(asked.timeout_ms);
  client.set_follow_location(false);
  client.set_connection_timeout(most);
  client.set_read_timeout(most);
  client.set_write_timeout(most);
  httplib::Request request;
  request.method = asked.method;
  request.path = asked.url.substr(path);
  request.body = asked.body;
  for (const calyx::HeaderField& field : asked.headers) request.headers.emplace(field.name, field.value);
  calyx::FacilitatorReply reply;
  const auto is_too_long = [&reply] { return reply.body.size() > calyx::facilitator_reply_max; };
  request.content_receiver = [&](const char* bytes, std::size_t count, std::uint64_t, std::uint64_t) {
    reply.body.append(bytes, count);
    return !is_too_long();
  };
  httplib::Response response;
  httplib::Error error{};
  bool whole = false;
  {
    const Deadline deadline(client, most);
    whole = client.send(request, response, error);
  }
  if (!whole && !is_too_long()) return std::nullopt;
  reply.status = response.status;
  return reply;
}

}  // namespace

calyx::FacilitatorOptions facilitator_options(const std::string& url, const std::string& authorization,
                                              const std::atomic<bool>& ended) {
  calyx::FacilitatorOptions out;
  out.url = url;
  out.send = [&ended](const calyx::FacilitatorRequest& asked) {
    return ended ? std::optional<calyx::FacilitatorReply>() : exchange(asked);
  };
  if (!authorization.empty())
    out.authorize = [authorization](std::string_view, std::string_view) {
      return calyx::HeaderFields{{"Authorization", authorization}};
    };
  out.timeout_ms = timeout_ms;
  out.tries = tries;
  return out;
}
