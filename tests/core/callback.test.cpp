#include <doctest/doctest.h>

#include <calyx/core/callback.hpp>
#include <string>
#include <vector>

#include "testing.hpp"

using namespace calyx;
using core::address_fault;
using core::CallbackNext;
using core::CallbackRules;
using core::read_callback_url;

TEST_CASE("an address is public or has a word for what it is") {
  struct Row {
    const char* address;
    const char* fault;
  };
  const Row rows[] = {
      {"93.184.216.34", ""},
      {"8.8.8.8", ""},
      {"9.255.255.255", ""},
      {"11.0.0.0", ""},
      {"100.63.255.255", ""},
      {"100.128.0.0", ""},
      {"172.15.255.255", ""},
      {"172.32.0.0", ""},
      {"192.167.255.255", ""},
      {"223.255.255.255", ""},
      {"0.0.0.0", "unspecified"},
      {"0.1.2.3", "unspecified"},
      {"10.0.0.1", "private"},
      {"100.64.0.1", "shared"},
      {"100.127.255.255", "shared"},
      {"100.100.100.200", "shared"},
      {"127.0.0.1", "loopback"},
      {"127.255.255.254", "loopback"},
      {"168.63.129.16", "metadata"},
      {"169.254.0.1", "link_local"},
      {"169.254.169.254", "metadata"},
      {"172.16.0.1", "private"},
      {"172.31.255.255", "private"},
      {"192.0.0.192", "reserved"},
      {"192.0.2.1", "documentation"},
      {"192.88.99.1", "transition"},
      {"192.168.1.1", "private"},
      {"198.18.0.1", "benchmarking"},
      {"198.19.255.255", "benchmarking"},
      {"198.51.100.7", "documentation"},
      {"203.0.113.7", "documentation"},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.1", "reserved"},
      {"255.255.255.255", "broadcast"},
      // IPv6
      {"2606:4700:4700::1111", ""},
      {"2A00:1450:4001:82f::200e", ""},
      {"2001:4860:4860::8888", ""},
      {"::", "unspecified"},
      {"::1", "loopback"},
      {"0:0:0:0:0:0:0:1", "loopback"},
      {"::ffff:8.8.8.8", "mapped"},
      {"::ffff:127.0.0.1", "mapped"},
      {"::ffff:7f00:1", "mapped"},
      {"::7f00:1", "reserved"},
      {"::127.0.0.1", "reserved"},
      {"64:ff9b::7f00:1", "nat64"},
      {"64:ff9b:1::1", "nat64"},
      {"100::1", "reserved"},
      {"2001::1", "transition"},
      {"2001:2::1", "reserved"},
      {"2001:20::1", "reserved"},
      {"2001:db8::1", "documentation"},
      {"2002:7f00:1::", "transition"},
      {"3fff::1", "documentation"},
      {"4000::1", "reserved"},
      {"fc00::1", "private"},
      {"fd00:ec2::254", "private"},
      {"fe80::1", "link_local"},
      {"fec0::1", "link_local"},
      {"ff02::1", "multicast"},
      // Spelled otherwise than usual
      {"", "address"},
      {"127.1", "address"},
      {"2130706433", "address"},
      {"0x7f000001", "address"},
      {"0177.0.0.1", "address"},
      {"08.8.8.8", "address"},
      {"8.8.8.8.", "address"},
      {"8.8.8", "address"},
      {"8.8.8.8.8", "address"},
      {"8.8.8.256", "address"},
      {"8.8.8.0008", "address"},
      {" 8.8.8.8", "address"},
      {"8.8.8.8/8", "address"},
      {"fe80::1%eth0", "address"},
      {"1::2::3", "address"},
      {"1:2:3:4:5:6:7", "address"},
      {"1:2:3:4:5:6:7:8:9", "address"},
      {"1:2:3:4:5:6:7:8::", "address"},
      {"12345::", "address"},
      {":1::", "address"},
      {"1:", "address"},
      {"[::1]", "address"},
      {"::1.2.3", "address"},
      {"1:2:3:4:5:6:7:1.2.3.4", "address"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.address);
    CHECK(address_fault(row.address) == row.fault);
  }
}

TEST_CASE("one bad address among many refuses all, and none at all does too") {
  const CallbackRules rules;
  using Addresses = std::vector<std::string>;
  CHECK(core::judge_addresses(rules, Addresses{"93.184.216.34", "2606:4700::1"}).empty());
  CHECK(core::judge_addresses(rules, Addresses{"93.184.216.34", "10.0.0.1"}) == "private");
  CHECK(core::judge_addresses(rules, Addresses{"::1", "93.184.216.34"}) == "loopback");
  CHECK(core::judge_addresses(rules, Addresses{}) == "unresolved");
  const CallbackRules open{.allow_private = true};
  CHECK(core::judge_addresses(open, Addresses{"127.0.0.1", "::1"}).empty());
  CHECK(core::judge_addresses(open, Addresses{"localhost"}) == "address");
  CHECK(core::judge_addresses(open, Addresses{}) == "unresolved");
}

TEST_CASE("a callback's URL is https to a public name on a port of the list") {
  struct Row {
    std::string url;
    const char* fault;
  };
  const Row rows[] = {
      {"https://example.org", ""},
      {"HTTPS://Example.ORG:443/hook?a=b", ""},
      {"https://sub.a-b.example.org/%20", ""},
      {"https://8.8.8.8/", ""},
      {"https://[2606:4700:4700::1111]/", ""},
      {"https://xn--bcher-kva.example.com/", ""},
      {"", "scheme"},
      {"example.org", "scheme"},
      {"//example.org", "scheme"},
      {"http://example.org/", "scheme"},
      {"ftp://example.org/", "scheme"},
      {"file:///etc/passwd", "scheme"},
      {"gopher://example.org/", "scheme"},
      {"https:/example.org/", "scheme"},
      {"https:///", "host"},
      {"https://?x", "host"},
      {"https://user@example.org/", "userinfo"},
      {"https://user:pass@example.org/", "userinfo"},
      {"https://example.org@127.0.0.1/", "userinfo"},
      {"https://example.org/#part", "fragment"},
      {"https://127.0.0.1#@example.org/", "fragment"},
      {"https://example.org:80/", "port"},
      {"https://example.org:22/", "port"},
      {"https://example.org:/", "port"},
      {"https://example.org:0443x/", "port"},
      {"https://example.org:-443/", "port"},
      {"https://example.org:65979/", "port"},
      {"https://example.org:4294967739/", "port"},
      {"https://[2606:4700::1]x/", "port"},
      {"https://exa mple.org/", "characters"},
      {"https://example.org/\r\nX-Evil: 1", "characters"},
      {"https://example.org\\@127.0.0.1/", "characters"},
      {std::string("https://example.org/\0x", 22), "characters"},
      {"https://b\xC3\xBC"
       "cher.example.com/",
       "characters"},
      {"https://localhost/", "host"},
      {"https://LOCALHOST/", "host"},
      {"https://a.localhost/", "host"},
      {"https://printer.local/", "host"},
      {"https://metadata.google.internal/", "host"},
      {"https://intranet/", "host"},
      {"https://example.org./", "host"},
      {"https://.example.org/", "host"},
      {"https://exam..ple.org/", "host"},
      {"https://-example.org/", "host"},
      {"https://example-.org/", "host"},
      {"https://exa_mple.org/", "host"},
      {"https://%6cocalhost/", "host"},
      {"https://[::1/", "host"},
      {"https://" + std::string(64, 'a') + ".org/", "host"},
      {"https://127.0.0.1/", "loopback"},
      {"https://[::1]/", "loopback"},
      {"https://[::ffff:127.0.0.1]/", "mapped"},
      {"https://169.254.169.254/latest/meta-data/", "metadata"},
      {"https://10.0.0.1/", "private"},
      {"https://0177.0.0.1/", "address"},
      {"https://0x7f.0.0.1/", "address"},
      {"https://0x7f000001/", "address"},
      {"https://2130706433/", "address"},
      {"https://127.1/", "address"},
      {"https://0/", "address"},
      {"https://example.0x7f/", "address"},
      {"https://1.2.3.4.5/", "address"},
      {"https://[example.org]/", "address"},
      {"https://[fe80::1%25eth0]/", "address"},
      {"https://example.org/" + std::string(2048, 'a'), "too_long"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.url);
    CHECK(read_callback_url({}, row.url).fault == row.fault);
  }

  const core::CallbackReading read = read_callback_url({}, "HTTPS://Example.ORG:443?a=B");
  CHECK(read.url.host == "example.org");
  CHECK(read.url.target == "/?a=B");
  CHECK(read.url.port == 443);
  CHECK(read.url.https);
  CHECK_FALSE(read.url.is_address);
  CHECK(read_callback_url({}, "https://[2606:4700::1]/").url.host == "2606:4700::1");

  const CallbackRules open{.allow_http = true, .allow_private = true, .ports = {80, 8080}};
  CHECK(read_callback_url(open, "http://127.0.0.1:8080/hook").fault.empty());
  CHECK(read_callback_url(open, "http://localhost/hook").url.port == 80);
  CHECK(read_callback_url(open, "https://example.org/").fault == "port");
  CHECK(read_callback_url(open, "http://0177.0.0.1/").fault == "address");
}

TEST_CASE("an answer of 2xx is success, 410 the end, and ten attempts are all") {
  CHECK(core::callback_attempts_max == 10);
  for (int status = 0; status < 700; ++status) {
    CAPTURE(status);
    const bool good = status >= 200 && status < 300;
    CHECK(core::judge_callback(status, 1) == (good            ? CallbackNext::delivered
                                              : status == 410 ? CallbackNext::dead
                                                              : CallbackNext::again));
    CHECK(core::judge_callback(status, 10) == (good ? CallbackNext::delivered : CallbackNext::dead));
  }
}

TEST_CASE("an attempt is made no earlier than listed, a tenth later at most, or when the receiver asks") {
  constexpr std::int64_t listed_s[] = {0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};
  for (std::int64_t attempts = 1; attempts < 10; ++attempts) {
    CAPTURE(attempts);
    const std::int64_t us = listed_s[attempts] * 1'000'000;
    CHECK(core::callback_delay_us(attempts, 0, 0) == us);
    for (const std::uint32_t random : {1U, 512U, 1023U, 4'000'000'000U}) {
      CHECK(core::callback_delay_us(attempts, 0, random) >= us);
      CHECK(core::callback_delay_us(attempts, 0, random) <= us + us / 10);
    }
  }
  CHECK(core::callback_delay_us(1, 0, 1023) != core::callback_delay_us(1, 0, 1));
  CHECK(core::callback_delay_us(1, 120, 0) == 120'000'000);
  CHECK(core::callback_delay_us(2, 120, 0) == 300'000'000);
  CHECK(core::callback_delay_us(1, 86'401, 0) == 86'400'000'000);
  CHECK(core::callback_delay_us(1, INT64_MAX, 0) == 86'400'000'000);
  CHECK(core::callback_delay_us(1, -5, 0) == 5'000'000);
}
