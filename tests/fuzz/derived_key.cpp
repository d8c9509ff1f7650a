// Derived keys: their text, the chain that holds them, and the limits that each block states.
#include <calyx/core/derived_key.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "crypto/delegate.hpp"
#include "crypto/verify.hpp"
#include "fuzz.hpp"
#include "json/reader.hpp"

namespace calyx::fuzz {

namespace {

bool holds(const core::DerivedKey& key) {
  return core::chain_holds(key, crypto::Ed25519{},
                           [](std::span<const std::uint8_t> seed) { return crypto::public_key_of(seed); });
}

void limits(std::string_view text) {
  const Result<core::json::Value> document = read_json(text);
  if (!document.ok()) return;
  std::string bad_at;
  const auto read = core::read_limits(*document, bad_at);
  demand(read.has_value() == bad_at.empty(), "what is no limit is named, and nothing else is");
  demand(bad_at.empty() || bad_at[0] == '/', "what is wrong is named by its place");
  if (!read) return;
  demand(core::limits_fault(*read).empty(), "limits that are read are what a key may say");
  const core::json::Value said = core::limits_document(*read);
  demand(core::read_limits(said, bad_at) == read, "limits are read as they are said");
  demand(document->object()->size() == said.object()->size(), "nothing that was said is left out");
}

void key(std::string_view text) {
  const auto read = core::read_derived_key(text);
  if (!read) return;
  demand(core::derived_key_text(*read) == text, "a key has one spelling");
  demand(!read->blocks.empty() && read->blocks.size() <= core::key_blocks_max &&
             text.size() <= core::derived_key_bytes_max,
         "a key keeps its limits");
  const bool good = holds(*read);
  demand(good == holds(*read), "a chain is judged alike each time");
  if (!good) return;
  // Whatever is changed of one that holds, it holds no more.
  for (std::size_t i = 0; i < read->blocks.size(); ++i) {
    core::DerivedKey other = *read;
    other.blocks[i].limits += ' ';
    demand(!holds(other), "limits are signed");
    other = *read;
    other.blocks[i].next[0] ^= 1;
    demand(!holds(other), "the next key is signed");
    other = *read;
    other.blocks.erase(other.blocks.begin() + static_cast<std::ptrdiff_t>(i));
    demand(!holds(other), "no block is left out");
  }
}

}  // namespace

void target::derived_key(std::string_view input) {
  key(input);
  limits(input);
}

}  // namespace calyx::fuzz
