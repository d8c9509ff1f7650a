#include "crypto/secret.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <calyx/core/encoding.hpp>
#include <cstring>
#include <ostream>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

using calyx::Reason;
using calyx::crypto::api_key_hash;
using calyx::crypto::api_key_text;
using calyx::crypto::RandomSource;
using calyx::crypto::SecretBytes;

namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};
template <class T>
concept Text =
    std::is_convertible_v<const T&, std::string> || std::is_convertible_v<const T&, std::string_view>;

static_assert(!Printable<SecretBytes> && !Text<SecretBytes>);
static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes> &&
              std::is_nothrow_move_assignable_v<SecretBytes>);

/// 0, 1, 2, … again with each call.
bool counting(void* out, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) static_cast<unsigned char*>(out)[i] = static_cast<unsigned char>(i);
  return true;
}
bool nothing(void*, std::size_t) { return false; }

/// Whether `act` ends the process that runs it.
template <class Act>
bool dies(Act act) {
  const pid_t child = ::fork();
  if (child == 0) {
    // The test framework and the sanitizers would report the fault as one of ours.
    for (const int fault : {SIGSEGV, SIGBUS}) ::signal(fault, SIG_DFL);
    act();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace

TEST_CASE("a secret is read, moved and never written again") {
  auto made = SecretBytes::random(32, counting);
  REQUIRE(made.ok());
  SecretBytes secret = *std::move(made);
  CHECK(secret.size() == 32);
  CHECK(secret.bytes()[31] == 31);

  const std::uint8_t* const where = secret.bytes().data();
  SecretBytes moved = std::move(secret);
  CHECK(moved.bytes().data() == where);
  CHECK(secret.empty());  // NOLINT: what is left behind is nothing
  secret = std::move(moved);
  CHECK(secret.bytes().data() == where);

  CHECK_FALSE(dies([&] { static_cast<void>(*static_cast<volatile const std::uint8_t*>(where)); }));
  CHECK(dies([&] { *static_cast<volatile std::uint8_t*>(const_cast<std::uint8_t*>(where)) = 1; }));
  CHECK(dies([&] { static_cast<void>(*static_cast<volatile const std::uint8_t*>(where + 32)); }));
}

TEST_CASE("a secret that could not be filled is no secret") {
  CHECK(SecretBytes::random(32, nothing).reason() == Reason::io_error);
  CHECK(SecretBytes::filled(8, [](auto) { return false; }).reason() == Reason::internal);
  CHECK(SecretBytes::filled(std::size_t{1} << 60, [](auto) { return true; }).reason() == Reason::no_memory);
  bool zeros = true;
  CHECK(SecretBytes::filled(100, [&zeros](std::span<std::uint8_t> bytes) {
          for (const std::uint8_t byte : bytes) zeros = zeros && byte == 0;
          return true;
        }).ok());
  CHECK(zeros);
  const auto none = SecretBytes::copy_of({});
  REQUIRE(none.ok());
  CHECK(none->empty());
}

TEST_CASE("an API key is its prefix and 32 random bytes in base58") {
  const auto text = api_key_text("cyx_live_", counting);
  REQUIRE(text.ok());
  std::string bytes(32, '\0');
  counting(bytes.data(), bytes.size());
  CHECK(*text == "cyx_live_" + calyx::core::base58(bytes));
  CHECK(api_key_text("cyx_live_", nothing).reason() == Reason::io_error);

  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto key = api_key_text("cyx_op_", calyx::crypto::system_random());
    REQUIRE(key.ok());
    CHECK(key->size() >= 7 + 32);
    CHECK(key->size() <= 7 + 44);
    seen.insert(*key);
  }
  CHECK(seen.size() == 100);
}

TEST_CASE("an API key's hash is BLAKE2b under the market's own key") {
  const auto key = SecretBytes::random(32, counting);
  REQUIRE(key.ok());
  // Made with another implementation of BLAKE2b: key 00 to 1f, 32 bytes out.
  CHECK(calyx::core::hex(api_key_hash(*key, "")) ==
        "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d");
  CHECK(calyx::core::hex(api_key_hash(*key, "cyx_live_abc")) ==
        "9a93fa8a76e64286abb4c6c5b79a348a0d2f6911c3f57cc67f390c3e51122ac5");
  const auto other = SecretBytes::copy_of(std::array<std::uint8_t, 32>{1});
  REQUIRE(other.ok());
  CHECK(api_key_hash(*other, "cyx_live_abc") != api_key_hash(*key, "cyx_live_abc"));
}

TEST_CASE("equal bytes are equal, and no others are") {
  using calyx::crypto::equal_in_constant_time;
  CHECK(equal_in_constant_time("", ""));
  CHECK(equal_in_constant_time("abc", "abc"));
  CHECK_FALSE(equal_in_constant_time("abc", "abd"));
  CHECK_FALSE(equal_in_constant_time("abc", "abcd"));
  CHECK_FALSE(equal_in_constant_time("abc", ""));
  calyx::core::Digest a;
  calyx::core::Digest b;
  CHECK(equal_in_constant_time(a, b));
  b.bytes[31] = 1;
  CHECK_FALSE(equal_in_constant_time(a, b));
}

TEST_CASE("what is wiped is gone") {
  std::array<std::uint8_t, 4> bytes{1, 2, 3, 4};
  calyx::crypto::wipe(bytes);
  CHECK(bytes == std::array<std::uint8_t, 4>{});
  std::string text = "a secret that is too long to be kept inside the string";
  const char* const where = text.data();
  const std::size_t size = text.size();
  calyx::crypto::wipe(text);
  CHECK(text.empty());
  std::size_t left = 0;
  for (std::size_t i = 0; i < size; ++i) left += where[i] != '\0' ? 1 : 0;
  CHECK(left == 0);
}
