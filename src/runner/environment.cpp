#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "runner/runner.hpp"

namespace calyx::runner {
namespace {

constexpr std::size_t name_bytes_max = 128;
constexpr std::size_t value_bytes_max = 32 << 10;

constexpr std::string_view reserved[] = {"HOME", "TMPDIR", "CUDA_VISIBLE_DEVICES"};
constexpr std::string_view reserved_beginnings[] = {"COMPUTALOT_"};
constexpr std::string_view loading[] = {
    "BASH_ENV", "ENV",      "IFS",     "GCONV_PATH", "GLIBC_TUNABLES",   "NODE_OPTIONS",
    "PERL5LIB", "PERL5OPT", "RUBYLIB", "RUBYOPT",    "JAVA_TOOL_OPTIONS"};
constexpr std::string_view loading_beginnings[] = {"LD_", "DYLD_", "PYTHON", "BASH_FUNC_"};
constexpr std::string_view credential_beginnings[] = {"AWS_", "AZURE_", "SSH_",
                                                      "GPG_", "CALYX_", "GOOGLE_APPLICATION_"};
constexpr std::string_view credential_endings[] = {"TOKEN",       "SECRET",       "PASSWORD", "PASSWD",
                                                   "PASSPHRASE",  "CREDENTIALS",  "_API_KEY", "_ACCESS_KEY",
                                                   "_SECRET_KEY", "_PRIVATE_KEY", "_AUTH"};

template <std::size_t count>
bool among(const std::string_view (&words)[count], std::string_view name) noexcept {
  return std::find(std::begin(words), std::end(words), name) != std::end(words);
}
template <std::size_t count>
bool begins(const std::string_view (&words)[count], std::string_view name) noexcept {
  return std::any_of(std::begin(words), std::end(words),
                     [name](std::string_view word) { return name.substr(0, word.size()) == word; });
}
template <std::size_t count>
bool ends(const std::string_view (&words)[count], std::string_view name) noexcept {
  return std::any_of(std::begin(words), std::end(words), [name](std::string_view word) {
    return name.size() >= word.size() && name.substr(name.size() - word.size()) == word;
  });
}

bool well_formed(std::string_view name) noexcept {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && name.size() <= name_bytes_max && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/// The rule that the variable breaks, or nothing. Cases are one: some programs read both.
std::string_view broken_rule(std::string_view name, std::string_view value) {
  if (!well_formed(name)) return "name";
  if (value.find('\0') != std::string_view::npos) return "value";
  if (value.size() > value_bytes_max) return "too_large";
  std::string upper(name);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (among(reserved, upper) || begins(reserved_beginnings, upper)) return "reserved";
  if (among(loading, upper) || begins(loading_beginnings, upper)) return "loader";
  if (begins(credential_beginnings, upper) || ends(credential_endings, upper)) return "credential";
  return {};
}

}  // namespace

Result<Done> check_environment(const std::vector<std::pair<std::string, std::string>>& environment) {
  std::set<std::string_view> names;
  for (const auto& [name, value] : environment) {
    std::string_view rule = broken_rule(name, value);
    if (rule.empty() && !names.insert(name).second) rule = "twice";
    if (rule.empty()) continue;
    // A name that is no name may hold anything, so it is not repeated; nor is any value.
    const std::string_view shown = rule == "name" ? std::string_view() : std::string_view(name);
    return fail(Reason::field_value,
                rule == "name" ? std::string("a variable's name is not of letters, digits and underscores")
                               : "the variable " + std::string(shown) + " is refused: " + std::string(rule),
                core::json::object({{"name", shown}, {"rule", rule}}));
  }
  return Done{};
}

}  // namespace calyx::runner
