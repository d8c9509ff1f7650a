// MPP's challenges as they are issued and spelled, and what clients say they would rather do.
//
// An input is lines: realm, method, intent, request, expires, digest, header, opaque, description; and
// besides, all of it as the value of `Accept-Payment`.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz.hpp"
#include "payments/mpp.hpp"

namespace calyx::fuzz {

namespace {

namespace mpp = core::mpp;

constexpr std::string_view usual_secret = "a secret of thirty-two octets or";
constexpr std::string_view newer_secret = "another that came later, as long";

bool same_issue(const Result<mpp::Challenge>& one, const Result<mpp::Challenge>& other) {
  return one.reason() == other.reason() && (!one.ok() || *one == *other);
}

/// The parameters of `WWW-Authenticate`, by RFC 9110's grammar of quoted strings alone.
mpp::Challenge parameters_in(std::string_view header) {
  mpp::Challenge out;
  demand(header.substr(0, 8) == "Payment ", "a challenge has its scheme");
  header.remove_prefix(8);
  while (!header.empty()) {
    const std::size_t equals = header.find('=');
    demand(equals != std::string_view::npos && header.substr(equals, 2) == "=\"", "a parameter is quoted");
    const std::string_view name = header.substr(0, equals);
    std::string text;
    std::size_t at = equals + 2;
    for (; at < header.size() && header[at] != '"'; ++at) {
      if (header[at] == '\\') ++at;
      demand(at < header.size(), "a backslash stands before something");
      text.push_back(header[at]);
    }
    demand(at < header.size(), "a quoted string has its end");
    header.remove_prefix(at + 1);
    if (!header.empty()) {
      demand(header.substr(0, 2) == ", ", "parameters have commas between them");
      header.remove_prefix(2);
    }
    bool known = false;
    for (const auto& [of, member] : {std::pair{"id", &mpp::Challenge::id},
                                     {"realm", &mpp::Challenge::realm},
                                     {"method", &mpp::Challenge::method},
                                     {"intent", &mpp::Challenge::intent},
                                     {"request", &mpp::Challenge::request},
                                     {"expires", &mpp::Challenge::expires},
                                     {"digest", &mpp::Challenge::digest},
                                     {"header", &mpp::Challenge::header},
                                     {"opaque", &mpp::Challenge::opaque},
                                     {"description", &mpp::Challenge::description}}) {
      if (name != of) continue;
      known = true;
      demand((out.*member).empty() && !text.empty(), "a parameter stands once, and says something");
      out.*member = text;
    }
    demand(known, "a parameter is one of a challenge's");
  }
  return out;
}

/// The challenge that a bound text is of, read from its end, since only the realm may hold a pipe.
mpp::Challenge bound_in(std::string text) {
  mpp::Challenge out;
  const auto take = [&text](std::string& to) {
    const std::size_t pipe = text.rfind('|');
    demand(pipe != std::string::npos, "a bound text has its slots");
    to = text.substr(pipe + 1);
    text.resize(pipe);
  };
  take(out.opaque);
  take(out.digest);
  if (out.digest == mpp::other_header) {
    out.header = out.digest;
    take(out.digest);
  }
  take(out.expires);
  take(out.request);
  take(out.intent);
  take(out.method);
  out.realm = text;
  return out;
}

void issued_challenge(const mpp::Challenge& asked, const mpp::Challenge& issued) {
  mpp::Challenge bare = issued;
  bare.id.clear();
  demand(bare == asked && !issued.id.empty(), "a challenge is what was asked for, with an id");
  const std::string header = mpp::www_authenticate(issued);
  demand(header.size() <= mpp::challenge_bytes_max, "a challenge keeps its limit");
  demand(std::none_of(header.begin(), header.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }),
         "a header has no control in it");
  demand(parameters_in(header) == issued, "a challenge that is spelled is read as the same");
  mpp::Challenge bound = bare;
  bound.description.clear();
  demand(bound_in(mpp::bound_text(issued)) == bound, "an id binds one challenge");

  const auto judge = [&](mpp::Secrets secrets, const mpp::Challenge& echoed) {
    return payments::mpp::judge_challenge(
               secrets, echoed, bare, bare.header.empty() ? mpp::usual_header : mpp::other_header, Instant{})
        .good();
  };
  const std::string_view usual[] = {usual_secret};
  const std::string_view newer[] = {newer_secret};
  const std::string_view both[] = {newer_secret, usual_secret};
  const auto expires = issued.expires.empty() ? std::nullopt : core::read_date_time(issued.expires);
  const bool in_time = !expires || *expires > Instant{};
  demand(judge(usual, issued) == in_time && judge(both, issued) == in_time,
         "a challenge is known by its secret");
  demand(!judge(newer, issued), "another secret knows it not");
  for (std::string mpp::Challenge::*const member :
       {&mpp::Challenge::id, &mpp::Challenge::realm, &mpp::Challenge::method, &mpp::Challenge::intent,
        &mpp::Challenge::request, &mpp::Challenge::expires, &mpp::Challenge::digest, &mpp::Challenge::header,
        &mpp::Challenge::opaque}) {
    mpp::Challenge changed = issued;
    (changed.*member).push_back('A');
    demand(!judge(usual, changed), "a challenge that was changed is not known");
  }
}

void preferences(std::string_view text) {
  constexpr mpp::Offer offers[] = {
      {"evm", "charge"}, {"solana", "charge"}, {"evm", "session"}, {"card", "charge"}};
  const std::vector<std::size_t> accepted = mpp::accepted(offers, text);
  demand(accepted == mpp::accepted(offers, text), "preferences are read alike each time");
  demand(!accepted.empty(), "something is offered");
  std::vector<std::size_t> sorted = accepted;
  std::sort(sorted.begin(), sorted.end());
  demand(
      std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end() && sorted.back() < std::size(offers),
      "each offer is made once");
}

}  // namespace

void target::mpp_challenge(std::string_view input) {
  preferences(input);
  const std::vector<std::string_view> lines = pieces_of(input, 9);
  mpp::Challenge asked;
  asked.realm = lines[0];
  asked.method = lines[1];
  asked.intent = lines[2];
  asked.request = lines[3];
  asked.expires = lines[4];
  asked.digest = lines[5];
  asked.header = lines[6];
  asked.opaque = lines[7];
  asked.description = lines[8];
  const std::string_view secrets[] = {usual_secret};
  const Result<mpp::Challenge> issued = payments::mpp::issue(secrets, asked);
  demand(same_issue(issued, payments::mpp::issue(secrets, asked)), "a challenge is issued alike each time");
  if (issued.ok())
    issued_challenge(asked, *issued);
  else
    demand(issued.reason() == (mpp::well_formed(asked) ? Reason::too_large : Reason::field_value),
           "what is not issued is malformed or too large");
  if (const auto value = payments::mpp::read_json_text(asked.request)) {
    const std::string spelled = mpp::json_text(*value);
    const auto again = payments::mpp::read_json_text(spelled);
    demand(value->object() != nullptr && again && mpp::json_text(*again) == spelled,
           "a request that is spelled is read as the same");
  }
}

}  // namespace calyx::fuzz
