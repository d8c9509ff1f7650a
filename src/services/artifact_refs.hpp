/// \file
/// Where a job's payloads name artifacts: `_artifacts.download`, and the members that its recipe says are
/// refs.
///
/// `"_artifacts": {"download": [{"artifact_id": "art_…", "path": "data/weights.bin"}]}`, with `id` and `ref`
/// as other names of `artifact_id`. A path is relative, below COMPUTALOT_INPUT_DIR.
#pragma once

#include <calyx/artifacts.hpp>
#include <calyx/core/json.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::services {

inline constexpr std::string_view artifacts_member = "_artifacts";
inline constexpr std::size_t downloads_max = 1'000;  ///< Of one task.
inline constexpr std::size_t download_path_max = 1024;
inline constexpr std::size_t download_depth_max = 32;

/// One item of a `download`.
struct Download {
  ArtifactId id;
  std::string path;
};
/// What the value of an `_artifacts` asks for; `place` is its JSON pointer. Fails: `field_…` with the place;
/// `unsupported` for a URL.
Result<std::vector<Download>> read_downloads(const core::json::Value& value, std::string_view place);

/// Whether `value` names any artifact: by `_artifacts`, or by a member of `inputs` that is a text.
bool names_artifacts(const core::json::Value& value, std::span<const std::string> inputs);

/// The hash of an artifact's bytes, for who may read it. An error of status `not_found` is the field's.
using ContentOf = std::function<Result<core::Digest>(ArtifactId id)>;
/// `value`, which stands at `place`, with the hash of each artifact in its ref's place.
/// Fails: as `read_downloads`; `field_value` for an id that is none, or none that may be read.
Result<core::json::Value> replaced_refs(const core::json::Value& value, std::string_view place,
                                        std::span<const std::string> inputs, const ContentOf& content_of);

}  // namespace calyx::services
