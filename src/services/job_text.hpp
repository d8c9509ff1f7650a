/// \file
/// How a submit is spelled: what is stored of it, and what is hashed. Explicit items may be millions, so no
/// text has all of them.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "json/reader.hpp"

namespace calyx::services {

inline constexpr std::size_t items_a_segment = 4096;

/// Cuts the list at `pointer` out of `job`, which keeps it. Nothing when there is no list.
LongList cut_items(const core::json::Object& job, std::string_view pointer);

/// Whether any item has, at whatever depth, a member of one of these names.
bool has_member(const LongList& items, std::span<const std::string> names);

/// `job` with its items back in their place. Fails: `internal` when there is no such place.
Result<core::json::Object> with_items(const core::json::Object& job, const LongList& items);

struct JobText {
  std::string spec;      ///< {"job","recipe"}, canonical, with an empty list where the explicit items stood.
  core::Digest input;    ///< Of what the tasks are made from: `input_hash` of a receipt.
  core::Digest request;  ///< Of all that was asked.
};

/// What a receipt's `input_hash` covers of a submit: what its tasks are made from, without the choice of a
/// device, which changes no result. `items` is what was cut out of `job`, or of none.
core::Digest input_of(const core::json::Object& job, const LongList& items);

JobText spell_job(const core::json::Object& job, std::string_view recipe, const LongList& items);

/// Of all that was asked: of the spec, and of explicit items as they are in `input`.
core::Digest request_of(std::string_view spec, bool has_items, const core::Digest& input);

}  // namespace calyx::services
