/// \file
/// The C ABI as the tests hold it: what is given back by itself, and answers as values.
#pragma once

#include <calyx.h>
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace calyx_tests {

/// The reason that the last call on this thread left: the word before the colon, or nothing.
inline std::string last_reason() {
  const std::string_view text = calyx_last_error();
  return std::string(text.substr(0, text.find(':')));
}

/// An engine that is given back.
class Market {
 public:
  explicit Market(const calyx_options* options = nullptr) {
    const calyx_status opened = calyx_open(options, &engine_);
    REQUIRE_MESSAGE(opened == CALYX_OK, calyx_last_error());
  }
  Market(const Market&) = delete;
  Market& operator=(const Market&) = delete;
  ~Market() { calyx_close(engine_); }
  calyx_engine* get() const { return engine_; }

 private:
  calyx_engine* engine_ = nullptr;
};

/// What `calyx_request` said, all of it.
struct Said {
  calyx_status status = CALYX_INTERNAL;
  int http = 0;
  std::string headers;
  std::string body;
};

inline Said ask(calyx_engine* engine, const char* method, const std::string& target,
                const std::string& key = {}, const std::string& body = {}) {
  const std::string headers = key.empty() ? "{}" : "{\"X-API-Key\":\"" + key + "\"}";
  calyx_response* response = nullptr;
  Said said;
  said.status = calyx_request(engine, method, target.c_str(), headers.c_str(),
                              body.empty() ? nullptr : body.data(), body.size(), &response);
  if (said.status != CALYX_OK) return said;
  said.http = calyx_response_status(response);
  said.headers = calyx_response_headers(response);
  std::size_t size = 0;
  const void* bytes = calyx_response_body(response, &size);
  said.body.assign(static_cast<const char*>(bytes), size);
  calyx_response_free(response);
  return said;
}

/// The text at the first `"name":` in `json`: enough to follow an id from one answer into the next request.
inline std::string member(const std::string& json, const std::string& name) {
  std::size_t at = json.find('"' + name + '"');
  if (at == std::string::npos) return {};
  at = json.find_first_not_of(": ", at + name.size() + 2);
  if (at == std::string::npos) return {};
  if (json[at] != '"') return json.substr(at, json.find_first_of(",}", at) - at);
  return json.substr(at + 1, json.find('"', at + 1) - at - 1);
}

inline std::string operator_key(calyx_engine* engine) {
  calyx_text text{nullptr, 0};
  const calyx_status issued = calyx_issue_operator_key(engine, "tests", &text);
  REQUIRE_MESSAGE(issued == CALYX_OK, calyx_last_error());
  REQUIRE(std::strlen(text.data) == text.size);
  const std::string key(text.data, text.size);
  calyx_text_free(&text);
  return key;
}

}  // namespace calyx_tests
