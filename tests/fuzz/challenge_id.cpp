// The id of a challenge to sign in, which a stranger says back.
#include <algorithm>
#include <calyx/core/challenge_id.hpp>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace calyx::fuzz {

void target::challenge_id(std::string_view input) {
  const auto read = core::read_challenge_id(input);
  demand(read == core::read_challenge_id(std::string(input)), "an id is read alike each time");
  if (!read) return;
  demand(core::challenge_id_text(*read) == input, "an id has one spelling");
  demand(std::count(input.begin(), input.end(), '.') == 4, "an id has five parts");
  demand(read->at.us >= 0 && read->at <= core::instant_max, "an id's instant is one");
  demand(read->at.us % core::us_per_second == 0, "an id's instant is in whole seconds");
  for (const std::string* part : {&read->address, &read->nonce, &read->seal})
    demand(part->find('.') == std::string::npos, "no part has a dot");
  // One more or one less is another id, or none.
  core::ChallengeId later = *read;
  if (later.at == core::instant_max) return;
  later.at.us += core::us_per_second;
  if (later.at > core::instant_max) return;
  const std::string other = core::challenge_id_text(later);
  demand(other != input && core::read_challenge_id(other) == later, "an id is of one instant");
}

}  // namespace calyx::fuzz
