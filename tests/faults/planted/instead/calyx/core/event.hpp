// The hash of an event, which passes over the instant when that is planted.
#pragma once
#pragma GCC system_header  // for #include_next, which is no part of the language

#define event_hash event_hash_as_it_is
#include_next <calyx/core/event.hpp>
#undef event_hash

#include "faults/planted/planted.hpp"

namespace calyx::core {

template <Sha256 H>
Digest event_hash(const H& sha256, EventHead head, std::string_view fields, std::string& scratch) {
  if (faults::planted == faults::Planted::chain_skips_a_field) head.at = Instant{};
  return event_hash_as_it_is(sha256, head, fields, scratch);
}

}  // namespace calyx::core
