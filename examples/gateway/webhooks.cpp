#include "webhooks.hpp"

#include <arpa/inet.h>
#include <httplib.h>
#include <netdb.h>
#include <netinet/in.h>

#include <charconv>
#include <chrono>
#include <memory>

#include "deadline.hpp"

namespace {

std::vector<std::string> addresses_of(const std::string& host) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &wanted, &found) != 0) return {};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  std::vector<std::string> out;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void* address =
        one->ai_family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<sockaddr_in*>(one->ai_addr)->sin_addr)
            : &reinterpret_cast<sockaddr_in6*>(one->ai_addr)->sin6_addr;
    if (::inet_ntop(one->ai_family, address, text, sizeof text) != nullptr) out.emplace_back(text);
  }
  return out;
}

calyx::WebhookAnswer post(const calyx::WebhookRequest& asked) {
  const calyx::core::CallbackUrl& target = asked.target;
  const bool is_ipv6 = target.host.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? "[" + target.host + "]" : target.host;
  httplib::Client client((target.https ? "https://" : "http://") + host + ":" + std::to_string(target.port));
  if (!client.is_valid()) return {};  // https, and the library was built without it
  client.set_hostname_addr_map({{target.host, asked.address}});  // the name stays in Host and in TLS
  client.set_follow_location(false);
  client.set_connection_timeout(asked.timeout_s / 2);
  client.set_read_timeout(asked.timeout_s / 2);
  client.set_write_timeout(asked.timeout_s / 2);
  httplib::Request request;
  request.method = "POST";
  request.path = target.target;
  request.body = asked.body;
  for (const auto& [name, value] : asked.headers) request.headers.emplace(name, value);
  request.response_handler = [](const httplib::Response&) { return true; };
  request.content_receiver = [](const char*, std::size_t, std::uint64_t, std::uint64_t) { return false; };
  httplib::Response response;
  httplib::Error error{};
  {
    const Deadline deadline(client, std::chrono::seconds(asked.timeout_s));
    client.send(request, response, error);
  }
  // With a status there was an answer, whatever came of its body, which nobody reads.
  if (response.status < 100) return {};
  calyx::WebhookAnswer answer{.status = response.status};
  const std::string wait = response.get_header_value("Retry-After");
  std::from_chars(wait.data(), wait.data() + wait.size(), answer.retry_after_s);
  return answer;
}

}  // namespace

calyx::WebhookTransport webhook_transport() { return {.resolve = addresses_of, .send = post}; }
