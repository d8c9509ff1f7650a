// The strategies of the challenge's form: what the original runner quoted, and which sources it refuses.
#include <doctest/doctest.h>
#include <simdjson.h>

#include <fstream>
#include <sstream>

#include "running.hpp"
#include "testing.hpp"

using calyx::kernels::bytecode::Ending;
using calyx::kernels::bytecode::fuel_default;
using calyx::strategy::compile;
using calyx::strategy::Compiled;
using calyx::strategy::Diagnostic;

namespace {

std::string vectors(const std::string& name) { return calyx::testing::vectors + "/prop_amm/" + name; }

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::uint64_t number(simdjson::dom::element element) {
  std::string_view text;
  if (element.get(text) == simdjson::SUCCESS) return std::stoull(std::string(text));
  std::uint64_t value = 0;
  REQUIRE(element.get(value) == simdjson::SUCCESS);
  return value;
}

std::vector<unsigned char> bytes_of(std::string_view hex, std::size_t size) {
  std::vector<unsigned char> bytes(size);
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes[i / 2] = static_cast<unsigned char>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

void put(std::vector<unsigned char>& data, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i) data[at + i] = static_cast<unsigned char>(value >> (8 * i));
}

}  // namespace

TEST_CASE("every strategy of the vectors compiles, and quotes what the original runner quoted") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(vectors("quotes.json")).get(root) == simdjson::SUCCESS);
  std::uint64_t quotes = 0;
  std::uint64_t trades = 0;
  for (const auto [name, strategy] : simdjson::dom::object(root["strategies"])) {
    const std::string named(name);  // clang 14 captures no structured binding
    CAPTURE(named);
    const auto compiled = compile(read(vectors("strategies/" + std::string(name) + ".rs")));
    REQUIRE(std::holds_alternative<Compiled>(compiled));
    const auto& made = std::get<Compiled>(compiled);
    const auto native = calyx::testing::native_of(made);
    for (const auto row : simdjson::dom::array(strategy["quotes"])) {
      const simdjson::dom::array cells = row;
      std::vector<unsigned char> data = bytes_of("", 25);
      data[0] = static_cast<unsigned char>(number(cells.at(0)));
      put(data, 1, number(cells.at(1)));
      put(data, 9, number(cells.at(2)));
      put(data, 17, number(cells.at(3)));
      const auto storage = bytes_of(std::string_view(cells.at(4)), 1024);
      data.insert(data.end(), storage.begin(), storage.end());
      const auto outcome = calyx::testing::call_both(made, native.get(), data, nullptr, fuel_default).outcome;
      REQUIRE(outcome.ending == Ending::returned);
      REQUIRE(outcome.value == number(cells.at(5)));
      ++quotes;
    }
    simdjson::dom::array after;
    if (strategy["after_swap"].get(after) != simdjson::SUCCESS) continue;
    for (const auto row : after) {
      const simdjson::dom::array cells = row;
      std::vector<unsigned char> data(42);
      data[0] = 2;
      data[1] = static_cast<unsigned char>(number(cells.at(0)));
      for (std::size_t i = 0; i < 5; ++i) put(data, 2 + 8 * i, number(cells.at(i + 1)));
      auto storage = bytes_of(std::string_view(cells.at(6)), 1024);
      data.insert(data.end(), storage.begin(), storage.end());
      const auto called = calyx::testing::call_both(made, native.get(), data, &storage, fuel_default);
      REQUIRE(called.outcome.ending == Ending::returned);
      REQUIRE(called.storage == bytes_of(std::string_view(cells.at(7)), 1024));
      ++trades;
    }
  }
  CHECK(quotes == 1600);
  CHECK(trades == 60);
  calyx::testing::told("quotes of compiled strategies compared", quotes);
}

TEST_CASE("a source is refused for the reason that the challenge has") {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  REQUIRE(parser.load(vectors("validate.json")).get(root) == simdjson::SUCCESS);
  std::size_t refused = 0;
  std::size_t taken = 0;
  for (const auto entry : simdjson::dom::array(root["source_cases"])) {
    CAPTURE(std::string(std::string_view(entry["name"])));
    std::string_view reason;
    if (entry["reason"].get(reason) != simdjson::SUCCESS) reason = "";
    const auto compiled = compile(std::string_view(entry["source"]));
    const auto* diagnostic = std::get_if<Diagnostic>(&compiled);
    // Other reasons are found by running the program.
    if (reason.substr(0, 7) == "source_") {
      REQUIRE(diagnostic != nullptr);
      CHECK(diagnostic->code == reason);
      CHECK(!diagnostic->message.empty());
      ++refused;
    } else {
      CHECK(diagnostic == nullptr);
      ++taken;
    }
  }
  CHECK(refused == 21);
  CHECK(taken == 8);
}
