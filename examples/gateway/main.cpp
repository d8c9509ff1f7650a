// The wire contract behind a real HTTP server.
//
//   calyx_gateway --market market.db --port 8080 --issue-operator-key
//   curl http://127.0.0.1:8080/v1/wallets -H "X-API-Key: cyx_op_..." -H "Content-Type: application/json"
//
// Every request is handed to calyx as it came: method, target, headers, body. What this file adds is what
// HTTP needs around that: limits, framing that two readers understand alike, and an orderly end. It logs
// nothing.
//
// It speaks plain HTTP, to this machine unless told otherwise. For others put a proxy in front that does TLS
// and has its own limits of connections and headers, and say --behind-proxy: all connections are then the
// proxy's, and that they come from this machine says nothing of who asks. GET /metrics takes a token too,
// which the environment names in CALYX_METRICS_TOKEN.
#include <httplib.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <calyx/calyx.hpp>
#include <calyx/core/evm.hpp>
#include <calyx/simulated_tokens.hpp>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "facilitator.hpp"
#include "webhooks.hpp"

namespace {

// Each connection holds a thread, as the HTTP library works.
constexpr std::size_t connections_max = 64;
// So some are left for requests that are answered at once.
constexpr int streams_max = 48;
// How often the library gets to see, while a stream is quiet, whether the server stops. That a client is gone
// shows when something is written to it, of which there is a comment now and then.
constexpr std::chrono::milliseconds stream_look(200);
// How long a server that stops waits for its streams to say that they end.
constexpr std::chrono::milliseconds streams_end(2'000);
constexpr std::size_t requests_a_connection_max = 10'000;
constexpr int keep_alive_s = 5;
constexpr int read_timeout_s = 10;
constexpr int write_timeout_s = 10;
// How many bodies longer than most are taken at once: each holds a second thread, and some of them memory.
constexpr int long_bodies_max = 16;
// A body that is over the limit is still taken off the line up to here, so that its sender hears 413 and not
// a broken connection.
constexpr std::size_t drained_bytes_max = std::size_t{16} << 20;
constexpr std::chrono::seconds drained_at_most(5);

constexpr int threads_max = 256;

struct Settings {
  std::string market;  // empty: in memory
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any that is free
  std::size_t body_bytes_max = calyx::artifact_bytes_max;
  bool issue_operator_key = false;
  bool behind_proxy = false;
  unsigned workers = 0;  // threads that do jobs
  std::optional<calyx::CommandOptions> commands;
  std::optional<calyx::core::CallbackRules> callbacks;
  // Where payments settle: at this URL, or in these tokens; without either none are taken.
  std::string facilitator;
  std::shared_ptr<calyx::SimulatedTokens> tokens;
};

constexpr const char* usage =
    "usage: calyx_gateway [--market PATH] [--host ADDRESS] [--port NUMBER] [--max-body BYTES]\n"
    "                     [--issue-operator-key] [--behind-proxy] [--work THREADS [--allow-bare-host]\n"
    "                     [--containers TOOL] [--image-root IMAGE=FOLDER]... [--task-user USER:GROUP]\n"
    "                     [--caches FOLDER]]\n"
    "                     [--callbacks | --callbacks-inside PORT]\n"
    "                     [--facilitator URL | --simulated-tokens NETWORK/ADDRESS=AMOUNT...]\n"
    "\n"
    "  --market PATH         the market file, made when absent (without it: in memory, gone at the end)\n"
    "  --host ADDRESS        where to listen (127.0.0.1)\n"
    "  --port NUMBER         0 takes any that is free (8080)\n"
    "  --max-body BYTES      no longer body, whatever its route takes: 1048576, some up to 2147483648\n"
    "  --issue-operator-key  mint an operator's API key and print it, this once\n"
    "  --callbacks           jobs may name a callback_url: https, port 443, public addresses\n"
    "  --callbacks-inside PORT   the same on this port, with http and to any address: for a closed network\n"
    "  --behind-proxy        connections from this machine are a proxy's: GET /metrics takes a key from all\n"
    "  --work THREADS        do recipes' jobs on so many threads (0: workers elsewhere do all)\n"
    "  --containers TOOL     and run images and Dockerfiles by TOOL: auto, or a path of podman or docker\n"
    "  --image-root IMAGE=FOLDER   or in an unpacked system, by bubblewrap\n"
    "  --allow-bare-host     or commands as processes of this machine's own\n"
    "  --task-user USER:GROUP   as whom commands run where this is root: numbers, as 65534:65534\n"
    "  --caches FOLDER       where projects' cache_mounts are kept from task to task, an absolute path\n"
    "  --facilitator URL     take payments that this facilitator of x402 settles: https, or http to this "
    "machine\n"
    "  --simulated-tokens NETWORK/ADDRESS=AMOUNT   take payments that move no money, to try it: ADDRESS has\n"
    "                        AMOUNT atomic units of the dollar token of base, base-sepolia or megaeth\n"
    "\n"
    "The environment may name a token for GET /metrics alone in CALYX_METRICS_TOKEN, and what a facilitator "
    "is\n"
    "sent as Authorization in CALYX_FACILITATOR_AUTHORIZATION.\n";

template <class Number>
std::optional<Number> number_in(std::string_view text, Number most) {
  Number number = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (fault != std::errc{} || end != text.data() + text.size() || number < 0 || number > most)
    return std::nullopt;
  return number;
}

/// What the command line asks for, or what is wrong with it.
struct CommandLine {
  Settings settings;
  std::string fault;
  bool help = false;
};

/// How commands run, as far as the line says: what it does not name is not used.
calyx::CommandOptions& commands_of(Settings& settings) {
  if (!settings.commands)
    settings.commands = calyx::CommandOptions{.scratch = "/dev/shm", .containers = "none"};
  return *settings.commands;
}

/// Gives an account simulated tokens; says what is wrong with `value`.
std::string mint(Settings& settings, std::string_view value) {
  const std::size_t slash = std::min(value.find('/'), value.size());
  const std::size_t equals = std::min(value.find('=', slash), value.size());
  const calyx::core::EvmAsset* const asset = calyx::core::find_evm_asset(value.substr(0, slash));
  const auto address = slash < equals
                           ? calyx::core::read_evm_address(value.substr(slash + 1, equals - slash - 1))
                           : std::nullopt;
  if (asset == nullptr || !address || equals == value.size())
    return "--simulated-tokens takes NETWORK/ADDRESS=AMOUNT";
  if (!settings.tokens) {
    auto opened = calyx::SimulatedTokens::open();
    if (!opened) return opened.error().message;
    settings.tokens = *std::move(opened);
  }
  const auto contract = calyx::core::read_evm_address(asset->contract);
  const auto minted = settings.tokens->mint({.network = std::string(asset->caip2),
                                             .asset = calyx::core::lower_text(*contract),
                                             .address = calyx::core::lower_text(*address)},
                                            value.substr(equals + 1));
  return minted ? std::string() : "--simulated-tokens: " + minted.error().message;
}

CommandLine read_command_line(int count, char** words) {
  CommandLine line;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--help") {
      line.help = true;
      continue;
    }
    if (word == "--issue-operator-key") {
      line.settings.issue_operator_key = true;
      continue;
    }
    if (word == "--behind-proxy") {
      line.settings.behind_proxy = true;
      continue;
    }
    if (word == "--allow-bare-host") {
      commands_of(line.settings).allow_bare_host = true;
      continue;
    }
    if (word == "--callbacks") {
      line.settings.callbacks.emplace();
      continue;
    }
    if (word != "--market" && word != "--host" && word != "--port" && word != "--max-body" &&
        word != "--work" && word != "--callbacks-inside" && word != "--containers" &&
        word != "--image-root" && word != "--task-user" && word != "--caches" &&
        word != "--simulated-tokens" && word != "--facilitator") {
      line.fault = "there is no option " + std::string(word);
      return line;
    }
    const std::string_view value = i + 1 < count ? words[++i] : "";
    if (value.empty()) {
      line.fault = std::string(word) + " needs a value";
      return line;
    }
    if (word == "--market") line.settings.market = value;
    if (word == "--host") line.settings.host = value;
    if (word == "--port") {
      const auto port = number_in<int>(value, 65'535);
      if (!port) line.fault = "--port takes 0 to 65535";
      line.settings.port = port.value_or(0);
    }
    if (word == "--work") {
      const auto threads = number_in<int>(value, threads_max);
      if (!threads) line.fault = "--work takes 0 to " + std::to_string(threads_max);
      line.settings.workers = static_cast<unsigned>(threads.value_or(0));
    }
    if (word == "--simulated-tokens") line.fault = mint(line.settings, value);
    if (word == "--facilitator") line.settings.facilitator = value;
    if (word == "--caches") commands_of(line.settings).caches = value;
    if (word == "--containers") commands_of(line.settings).containers = value;
    if (word == "--image-root") {
      const std::size_t equals = value.find('=');
      if (equals == std::string_view::npos)
        line.fault = "--image-root takes IMAGE=FOLDER";
      else
        commands_of(line.settings)
            .roots.push_back({std::string(value.substr(0, equals)), std::string(value.substr(equals + 1))});
    }
    if (word == "--task-user") {
      const std::size_t colon = std::min(value.find(':'), value.size());
      const auto user = number_in<std::uint32_t>(value.substr(0, colon), UINT32_MAX);
      const auto group =
          number_in<std::uint32_t>(value.substr(std::min(colon + 1, value.size())), UINT32_MAX);
      if (!user || !group) line.fault = "--task-user takes USER:GROUP, two numbers";
      commands_of(line.settings).user = {user.value_or(0), group.value_or(0)};
    }
    if (word == "--callbacks-inside") {
      const auto port = number_in<int>(value, 65'535);
      if (!port) line.fault = "--callbacks-inside takes a port, 1 to 65535";
      line.settings.callbacks = {
          .allow_http = true, .allow_private = true, .ports = {static_cast<std::uint16_t>(port.value_or(0))}};
    }
    if (word == "--max-body") {
      const auto bytes = number_in<std::size_t>(value, calyx::artifact_bytes_max);
      if (!bytes) line.fault = "--max-body takes 0 to " + std::to_string(calyx::artifact_bytes_max);
      line.settings.body_bytes_max = bytes.value_or(0);
    }
    if (!line.fault.empty()) return line;
  }
  if (line.settings.commands && line.settings.workers == 0)
    line.fault = "--allow-bare-host, --caches, --containers, --image-root and --task-user need --work";
  if (line.settings.tokens && !line.settings.facilitator.empty())
    line.fault = "payments settle at a --facilitator or in --simulated-tokens";
  return line;
}

// ── what HTTP leaves open ──

/// A refusal of the gateway's own, in the shape of the wire's. `message` needs no escapes.
calyx::Response refusal(int status, const std::string& code, const std::string& message,
                        const std::string& details = "{}") {
  return {status,
          {{"Content-Type", "application/json"}},
          R"({"error":{"code":")" + code + R"(","message":")" + message + R"(","details":)" + details + "}}"};
}

calyx::Response too_large(std::size_t most) {
  const std::string number = std::to_string(most);
  return refusal(413, "too_large", "the body has more than " + number + " bytes",
                 R"({"limit":)" + number + "}");
}

/// The same for what is as it should be, and comes at a bad time.
calyx::Response not_now(const std::string& code, const std::string& message) {
  calyx::Response out = refusal(503, code, message + ": ask again later");
  out.headers.push_back({"Retry-After", "5"});
  return out;
}

enum class Body { none, sized, chunked, unclear };

/// How long the body is, when all readers on the way must agree on it. Where they could differ, one request
/// could be taken for two.
Body framing_of(const httplib::Request& request) {
  const std::size_t lengths = request.get_header_value_count("Content-Length");
  const std::size_t encodings = request.get_header_value_count("Transfer-Encoding");
  if (lengths + encodings > 1) return Body::unclear;
  if (encodings == 1) {
    std::string coding = request.get_header_value("Transfer-Encoding");
    std::transform(coding.begin(), coding.end(), coding.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    });
    return coding == "chunked" ? Body::chunked : Body::unclear;
  }
  if (lengths == 0) return Body::none;
  const std::string length = request.get_header_value("Content-Length");
  const bool digits = !length.empty() && length.size() <= 18 &&
                      std::all_of(length.begin(), length.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return Body::unclear;
  return length.find_first_not_of('0') == std::string::npos ? Body::none : Body::sized;
}

/// The methods whose bodies the HTTP library reads.
bool library_reads_body(const std::string& method) {
  return method == "POST" || method == "PUT" || method == "PATCH" || method == "DELETE";
}

/// What becomes of the connection: kept; ended by the gateway, since what is left on the line is not the next
/// request; or ended with the server, which is stopping.
enum class Then { keep, close, stop };

void send(calyx::Response&& answer, httplib::Response& response, Then then) {
  response.status = answer.status;
  std::string content_type = "application/json";
  for (calyx::HeaderField& field : answer.headers) {
    std::string name = field.name;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    });
    if (name == "content-type")
      content_type = std::move(field.value);
    else if (name != "content-length")  // the library counts
      response.set_header(field.name, field.value);
  }
  if (then != Then::keep) response.set_header("Connection", "close");
  if (then != Then::close) {
    if (!answer.body.empty()) response.set_content(answer.body, content_type);
    return;
  }
  // The library closes a connection after a body whose source gave up, so the source gives all of it and then
  // gives up.
  const std::string body = answer.body.empty() ? " " : std::move(answer.body);
  response.set_content_provider(body.size(), content_type,
                                [body](std::size_t offset, std::size_t, httplib::DataSink& sink) {
                                  sink.write(body.data() + offset, body.size() - offset);
                                  return false;
                                });
}

/// The request as it came, but for what the library itself adds to the headers.
calyx::Request as_it_came(const httplib::Request& request, std::string body = {}) {
  calyx::Request asked;
  asked.method = request.method;
  asked.target = request.target;
  for (const auto& [name, value] : request.headers) {
    if (name != "REMOTE_ADDR" && name != "REMOTE_PORT" && name != "LOCAL_ADDR" && name != "LOCAL_PORT")
      asked.headers.push_back({name, value});
  }
  asked.body = std::move(body);
  return asked;
}

/// Whether the connection comes from this machine. A proxy that says that it is one is not believed who
/// asked, only that it was somebody else.
bool from_this_machine(const httplib::Request& request) {
  for (const char* name : {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"})
    if (request.has_header(name)) return false;
  const std::string& address = request.remote_addr;
  return address == "::1" || address.rfind("127.", 0) == 0 || address.rfind("::ffff:127.", 0) == 0;
}

/// A long body on its way from the connection's thread, on which the HTTP library pushes it, to the one that
/// answers and pulls it. What is pulled too slowly is not read off the line.
class Passage {
 public:
  explicit Passage(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Waits for room. False once nobody pulls any more.
  bool push(const char* bytes, std::size_t count) {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [this] { return abandoned_ || held_.size() < held_max; });
    if (abandoned_) return false;
    held_.append(bytes, count);
    moved_.notify_all();
    return true;
  }
  void end(bool whole) {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    whole_ = whole;
    moved_.notify_all();
  }

  /// Waits for bytes, or the end.
  calyx::Result<std::size_t> pull(std::span<char> out) {
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [this] { return ended_ || at_ < held_.size(); });
    if (at_ == held_.size())
      return whole_ ? calyx::Result<std::size_t>(0)
                    : calyx::fail(calyx::Reason::malformed_header, "the body ended before it was whole");
    const std::size_t count = std::min(out.size(), held_.size() - at_);
    std::copy_n(held_.data() + at_, count, out.data());
    at_ += count;
    if (at_ == held_.size()) {
      held_.clear();
      at_ = 0;
      moved_.notify_all();
    }
    pulled_ += count;
    if (pulled_ <= bytes_max_) return count;
    return calyx::fail(calyx::Reason::too_large,
                       "the body has more than " + std::to_string(bytes_max_) + " bytes",
                       calyx::core::json::object({{"limit", bytes_max_}}));
  }
  void abandon() {
    const std::scoped_lock lock(mutex_);
    abandoned_ = true;
    moved_.notify_all();
  }

 private:
  static constexpr std::size_t held_max = std::size_t{1} << 20;
  const std::size_t bytes_max_;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::string held_;
  std::size_t at_ = 0;
  std::size_t pulled_ = 0;
  bool ended_ = false, whole_ = false, abandoned_ = false;
};

// ── the server ──

class Gateway {
 public:
  explicit Gateway(const Settings& settings) : settings_(settings) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(connections_max); };
    server_.set_keep_alive_max_count(requests_a_connection_max);
    server_.set_keep_alive_timeout(keep_alive_s);
    server_.set_read_timeout(read_timeout_s);
    server_.set_write_timeout(write_timeout_s);
    server_.set_tcp_nodelay(true);
    // The library's own choice would let a second gateway share the port, and the two take turns.
    server_.set_socket_options([](socket_t line) {
      const int yes = 1;
      setsockopt(line, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    // The limits on what is sent are kept below, with an answer in the shape of the wire's.
    server_.set_payload_max_length(std::max<std::size_t>(calyx::artifact_bytes_max, drained_bytes_max));

    server_.set_expect_100_continue_handler(
        [this](const httplib::Request& request, httplib::Response& response) {
          // They are the wire's to answer: the library would cut the refusal by them.
          const_cast<httplib::Request&>(request).ranges.clear();
          const std::size_t most = limit_of(request);
          if (framing_of(request) != Body::sized || length_of(request) <= most) return 100;
          send(too_large(most), response, after(Then::close));
          return 413;
        });
    server_.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return begin(request, response) ? httplib::Server::HandlerResponse::Handled
                                      : httplib::Server::HandlerResponse::Unhandled;
    });
    const auto with_body = [this](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& reader) {
      finish(request, response, reader);
    };
    server_.Post("/", with_body).Put("/", with_body).Patch("/", with_body).Delete("/", with_body);
    server_.set_exception_handler(
        [this](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
          // Memory that ran out, and nothing else. Whether the request stands is open.
          send(refusal(503, "outcome_unknown", "memory ran out: repeat the request with the same key"),
               response, after(Then::close));
        });
    // What the library refuses on its own (a request line that is none, a target that is too long) gets a
    // body too; an answer that has one is left as it is.
    const httplib::Server::HandlerWithResponse explain = [this](const httplib::Request&,
                                                                httplib::Response& response) {
      if (response.body.empty() && !response.content_provider_) {
        const bool large = response.status == 413 || response.status == 414;
        calyx::Response said = refusal(response.status, large ? "too_large" : "malformed_target",
                                       large ? "the request is too long" : "the request is no HTTP");
        send(std::move(said), response, after(Then::close));
      }
      return httplib::Server::HandlerResponse::Handled;
    };
    server_.set_error_handler(explain);
  }

  /// The port that is listened on, or nothing.
  std::optional<int> bind() {
    if (settings_.port == 0) {
      const int port = server_.bind_to_any_port(settings_.host);
      return port > 0 ? std::optional<int>(port) : std::nullopt;
    }
    return server_.bind_to_port(settings_.host, settings_.port) ? std::optional<int>(settings_.port)
                                                                : std::nullopt;
  }

  /// Whose requests are served; it outlives that.
  void use(calyx::Engine& engine) { engine_ = &engine; }

  /// Serves until `stop`, and then until the requests under way are answered.
  void serve() {
    server_.listen_after_bind();
    done_ = true;
  }

  /// May come before `serve` has begun.
  void stop() {
    constexpr std::chrono::milliseconds moment(1);
    while (!server_.is_running() && !done_) std::this_thread::sleep_for(moment);
    stopping_ = true;
    // A server that is stopped cuts streams off, so they end first.
    engine_->end_streams();
    const auto until = std::chrono::steady_clock::now() + streams_end;
    while (streams_ != 0 && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(moment);
    server_.stop();
  }

  bool done() const { return done_; }

 private:
  static std::size_t length_of(const httplib::Request& request) {
    return number_in<std::size_t>(request.get_header_value("Content-Length"), SIZE_MAX).value_or(0);
  }

  /// How long the body may be.
  std::size_t limit_of(const httplib::Request& request) const {
    return std::min(settings_.body_bytes_max, calyx::body_limit(request.method, request.target));
  }

  /// Answers what has no body to wait for. Whether it did.
  bool begin(const httplib::Request& request, httplib::Response& response) {
    // The library made the request for this connection and lends it as const. It is the library's own reading
    // of it that has to be held back here: ranges would cut the answer, and the path, of which only the
    // target counts, would be matched by a regular expression that recurses over all of it.
    auto& own = const_cast<httplib::Request&>(request);
    own.ranges.clear();
    own.path = "/";

    const Body body = framing_of(request);
    if (body == Body::unclear) {
      own.method = "GET";  // the answer to a HEAD has no body, and with that no end of the connection
      send(refusal(400, "malformed_header", "the length of the body is not clear"), response,
           after(Then::close));
      return true;
    }
    if (body != Body::none && !library_reads_body(request.method)) {
      own.method = "GET";
      send(refusal(400, "malformed_header", "a body with this method is not read"), response,
           after(Then::close));
      return true;
    }
    if (body == Body::sized) {
      const std::size_t most = limit_of(request);
      if (length_of(request) > std::max(most, drained_bytes_max)) {
        send(too_large(most), response, after(Then::close));
        return true;
      }
    }
    if (body != Body::none) return false;
    calyx::Request asked = as_it_came(request);
    asked.remote_is_local = !settings_.behind_proxy && from_this_machine(request);
    answer(calyx::handle(*engine_, asked), request, response);
    return true;
  }

  /// Reads the body and answers.
  void finish(const httplib::Request& request, httplib::Response& response,
              const httplib::ContentReader& reader) {
    // Forms are the library's idea, not the contract's: under another name of their type it hands out the
    // bytes.
    calyx::Request asked = as_it_came(request);
    const_cast<httplib::Request&>(request).headers.erase("Content-Type");

    const std::size_t most = limit_of(request);
    const std::size_t length = framing_of(request) == Body::sized ? length_of(request) : most;
    if (length <= most && length > calyx::request_body_max)
      return pass_on(std::move(asked), most, response, reader);

    std::size_t seen = 0;
    const bool whole = reader([&](const char* bytes, std::size_t count) {
      seen += count;
      if (seen <= most)
        asked.body.append(bytes, count);
      else
        asked.body.clear();
      return seen <= drained_bytes_max;
    });
    if (seen > most) {
      send(too_large(most), response, after(whole ? Then::keep : Then::close));
    } else if (!whole) {
      send(refusal(400, "malformed_header", "the body ended before its length"), response,
           after(Then::close));
    } else {
      answer(calyx::handle(*engine_, asked), request, response);
    }
  }

  /// Answers a request with a long body while that comes, so that it is never held here. Of a caller who may
  /// not send it no more is taken than for a moment, so that the answer is read.
  void pass_on(calyx::Request asked, std::size_t most, httplib::Response& response,
               const httplib::ContentReader& reader) {
    // Counted as long as it is answered, and not while what nobody wants is taken off the line.
    const int open = ++long_bodies_;
    std::shared_ptr<void> counted(&long_bodies_, [this](void*) { --long_bodies_; });
    std::size_t left = drained_bytes_max;
    std::optional<std::chrono::steady_clock::time_point> until;
    const auto drain = [&](std::size_t count) {
      const auto now = std::chrono::steady_clock::now();
      if (!until) until = now + drained_at_most;
      left -= std::min(left, count);
      return left > 0 && now < *until && !stopping_;
    };
    if (open > long_bodies_max) {
      counted.reset();
      const bool whole = reader([&](const char*, std::size_t count) { return drain(count); });
      send(not_now("too_many_bodies", std::to_string(long_bodies_max) + " long bodies are on their way"),
           response, after(whole ? Then::keep : Then::close));
      return;
    }
    Passage passage(most);
    asked.source = [&passage](std::span<char> out) { return passage.pull(out); };
    std::optional<calyx::Response> answered;
    std::thread answering([&] {
      try {
        answered = calyx::handle(*engine_, asked);
      } catch (const std::bad_alloc&) {  // told below
      }
      counted.reset();
      passage.abandon();
    });
    bool taken = true, whole = false;
    {
      struct Joined {
        std::thread& thread;
        Passage& passage;
        const bool& whole;
        ~Joined() {
          passage.end(whole);
          thread.join();
        }
      } const joined{answering, passage, whole};
      whole = reader([&](const char* bytes, std::size_t count) {
        taken = taken && passage.push(bytes, count);
        if (taken) return !stopping_;
        return drain(count);
      });
    }
    if (!answered) throw std::bad_alloc();
    if (taken && !whole && stopping_) answered = not_now("closed", "the gateway stops");
    send(*std::move(answered), response, after(whole ? Then::keep : Then::close));
  }

  void answer(calyx::Response&& answered, const httplib::Request& request, httplib::Response& response) {
    const std::shared_ptr<calyx::BodyStream> stream = std::move(answered.stream);
    if (stream == nullptr) {
      send(std::move(answered), response, after(Then::keep));
      return;
    }
    // Counted from here until the library lets go of the response, with which the count goes.
    const int open = ++streams_;
    const std::shared_ptr<void> counted(&streams_, [this](void*) { --streams_; });
    if (open > streams_max) {
      send(not_now("too_many_streams", std::to_string(streams_max) + " streams are open"), response,
           after(Then::keep));
      return;
    }
    const auto pull = [stream, counted](std::size_t, httplib::DataSink& sink) {
      try {
        const calyx::BodyPiece piece = stream->next(stream_look);
        if (piece.kind == calyx::BodyPiece::Kind::end) sink.done();
        return piece.bytes.empty() || sink.write(piece.bytes.data(), piece.bytes.size());
      } catch (const std::bad_alloc&) {
        return false;  // the client asks again, from where this one broke off
      }
    };
    std::string content_type;
    std::size_t length = 0;
    for (const calyx::HeaderField& field : answered.headers) {
      if (field.name == "Content-Type") content_type = field.value;
      if (field.name == "Content-Length") length = std::stoull(field.value);
    }
    send(std::move(answered), response, after(Then::keep));
    if (length != 0) {
      const auto sized = [stream, counted](std::size_t, std::size_t, httplib::DataSink& sink) {
        const calyx::BodyPiece piece = stream->next(stream_look);
        // One that ends before its length breaks the connection off, which is how its client knows.
        return piece.kind == calyx::BodyPiece::Kind::bytes &&
               sink.write(piece.bytes.data(), piece.bytes.size());
      };
      response.set_content_provider(length, content_type, sized);
      return;
    }
    if (request.version == "HTTP/1.0")
      response.set_content_provider(content_type, pull);  // its end is the connection's
    else
      response.set_chunked_content_provider(content_type, pull);
  }

  /// A server that stops asks no source for a body any more, and keeps no connection anyhow.
  Then after(Then wanted) const { return stopping_ ? Then::stop : wanted; }

  calyx::Engine* engine_ = nullptr;
  const Settings settings_;
  httplib::Server server_;
  std::atomic<bool> done_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int> streams_{0};
  std::atomic<int> long_bodies_{0};
};

/// Prints to the one who started the gateway, at once even into a pipe.
void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

int complain(const std::string& line) {
  std::fprintf(stderr, "calyx_gateway: %s\n", line.c_str());
  return 1;
}

/// A worker beside the gateway, if one is asked for.
calyx::Result<std::optional<calyx::Worker>> worker_of(calyx::Engine& engine, const Settings& settings) {
  std::optional<calyx::Worker> out;
  if (settings.workers == 0) return out;
  calyx::WorkerOptions options{.name = "gateway", .threads = settings.workers, .commands = settings.commands};
  auto started = calyx::Worker::start(engine, std::move(options));
  if (!started) return started.error();
  out = *std::move(started);
  return out;
}

int run(const Settings& settings) {
  // Signals are waited for by one thread and interrupt none; threads made from here on inherit that.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  std::atomic<bool> ended{false};
  calyx::Options options;
  options.path = settings.market;
  if (const char* token = std::getenv("CALYX_METRICS_TOKEN")) options.metrics_token = token;
  options.callbacks = settings.callbacks;
  options.settlement = settings.tokens;
  if (!settings.facilitator.empty()) {
    const char* authorization = std::getenv("CALYX_FACILITATOR_AUTHORIZATION");
    auto facilitator = calyx::Facilitator::open(
        facilitator_options(settings.facilitator, authorization == nullptr ? "" : authorization, ended));
    if (!facilitator) return complain(facilitator.error().message);
    options.settlement = *std::move(facilitator);
  }
  const bool settles = options.settlement != nullptr;
  // Before the market is opened, which makes it where there is none.
  Gateway gateway(settings);
  const std::optional<int> port = gateway.bind();
  if (!port) return complain("cannot listen on " + settings.host + " port " + std::to_string(settings.port));
  auto engine = calyx::Engine::open(std::move(options));
  if (!engine) return complain(engine.error().message);
  const auto worker = worker_of(*engine, settings);
  if (!worker) return complain(worker.error().message);
  gateway.use(*engine);
  if (settings.issue_operator_key) {
    const auto issued = engine->issue_operator_key("gateway");
    if (!issued) return complain(issued.error().message);
    say("operator key: " + issued->api_key);
    say("operator key's id: " + issued->key.id.text());
  }
  std::thread serving([&gateway] { gateway.serve(); });
  // Each in its own time: one at a time, so that a server that stops waits for one only; what fails here is
  // in the file still.
  constexpr std::chrono::milliseconds rest(200);
  std::thread calling, settling;
  if (settings.callbacks)
    calling = std::thread([&] {
      const calyx::WebhookTransport transport = webhook_transport();
      while (!ended) {
        const auto round = engine->deliver_webhooks(transport, 1);
        if (!round || round->delivered + round->failed + round->dead == 0) std::this_thread::sleep_for(rest);
      }
    });
  if (settles)
    settling = std::thread([&] {
      while (!ended) {
        static_cast<void>(engine->as_operator().settle_payments());
        std::this_thread::sleep_for(rest);
      }
    });
  say("listening on http://" + settings.host + ":" + std::to_string(*port));

  // A server that fails ends the wait too, so the wait is a short one, again and again.
  const timespec pause{0, 200'000'000};
  bool asked = false;
  while (!asked && !gateway.done()) asked = sigtimedwait(&ends, nullptr, &pause) > 0;
  pthread_sigmask(SIG_UNBLOCK, &ends, nullptr);  // a second signal does not wait for anybody
  gateway.stop();
  serving.join();
  ended = true;
  for (std::thread* const thread : {&calling, &settling})
    if (thread->joinable()) thread->join();
  return asked ? 0 : complain("the server ended by itself");
}

}  // namespace

int main(int count, char** words) {
  const CommandLine line = read_command_line(count, words);
  if (line.help) {
    std::printf("%s", usage);
    return 0;
  }
  if (!line.fault.empty()) {
    std::fprintf(stderr, "calyx_gateway: %s\n%s", line.fault.c_str(), usage);
    return 2;
  }
  return run(line.settings);
}
