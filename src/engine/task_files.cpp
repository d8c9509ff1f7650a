#include "engine/task_files.hpp"

#include <unistd.h>

#include <algorithm>
#include <calyx/core/field.hpp>
#include <cerrno>
#include <memory>

#include "engine/artifacts.hpp"
#include "json/reader.hpp"
#include "services/artifact_refs.hpp"
#include "services/artifacts.hpp"

namespace calyx::engine {

namespace json = core::json;

Result<std::vector<runner::Input>> task_inputs(Market& market, core::AccountNumber payer,
                                               const json::Value& payload) {
  std::vector<runner::Input> out;
  const json::Value* asked = payload.find(services::artifacts_member);
  if (asked == nullptr) return out;
  CALYX_TRY(const std::vector<services::Download> downloads,
            services::read_downloads(*asked, std::string("/").append(services::artifacts_member)));
  CALYX_TRY(const Reading by, reading_of(market, payer));
  CALYX_TRY(const artifacts::Store blobs, open_blobs(market));
  for (const services::Download& download : downloads) {
    CALYX_TRY(const store::ArtifactRow row, market.history([&](store::MarketStore& store) {
      return find_artifact(store, by, download.id);
    }));
    CALYX_TRY(artifacts::Reader blob, blobs.open(row.sha256));
    out.push_back({.path = download.path,
                   .read = [blob = std::move(blob)](std::uint64_t offset, std::span<char> bytes) {
                     return blob.read_at(offset, bytes);
                   }});
  }
  return out;
}

Result<std::string> task_artifact(Market& market, core::AccountNumber payer, std::string_view id,
                                  std::size_t bytes_max) {
  const std::optional<ArtifactId> named = ArtifactId::read(id);
  if (!named) return fail(Reason::artifact_unknown, "no artifact " + std::string(core::repeatable(id)));
  CALYX_TRY(const Reading by, reading_of(market, payer));
  CALYX_TRY(const store::ArtifactRow row,
            market.history([&](store::MarketStore& store) { return find_artifact(store, by, *named); }));
  CALYX_TRY(const artifacts::Store blobs, open_blobs(market));
  CALYX_TRY(const artifacts::Reader blob, blobs.open(row.sha256));
  if (blob.size() > bytes_max)
    return fail(Reason::too_large, "the artifact has " + std::to_string(blob.size()) + " bytes, at most " +
                                       std::to_string(bytes_max) + " are read");
  return blob.read_at(0, static_cast<std::size_t>(blob.size()));
}

Result<json::Value> task_artifact_json(Market& market, core::AccountNumber payer, std::string_view id,
                                       std::size_t bytes_max) {
  CALYX_TRY(const std::string text, task_artifact(market, payer, id, bytes_max));
  return read_json(text, {.bytes = bytes_max});
}

Result<Done> check_left(std::string_view name, const services::TaskFiles& files) {
  CALYX_CHECK(services::check_name("/name", name, artifact_name_bytes_max));
  for (const store::ArtifactRow& kept : files.kept)
    if (kept.name == name)
      return services::field_error(Reason::field_value, "/name", "is the name of a file that is there");
  return Done{};
}

Result<Done> leave_file(const Market& market, std::string_view name, std::string_view bytes,
                        services::TaskFiles& files) {
  CALYX_CHECK(check_left(name, files));
  CALYX_TRY(const artifacts::Store blobs, writable_blobs(market));
  const ArtifactSource source = [bytes](std::span<char> out) mutable -> Result<std::size_t> {
    const std::size_t now = bytes.copy(out.data(), out.size());
    bytes.remove_prefix(now);
    return now;
  };
  CALYX_TRY(const artifacts::Stored stored, keep_blob(blobs, Instant{market.seams().now_us()}, source));
  files.kept.push_back({.name = std::string(name), .size = stored.size, .sha256 = stored.sha256});
  return Done{};
}

Result<services::TaskFiles> keep_files(const Market& market, const runner::Ended& ended) {
  services::TaskFiles out;
  std::optional<artifacts::Store> blobs;
  for (const runner::Artifact& file : ended.artifacts.found) {
    // A task's names are its own; one that no artifact may bear is told, and not kept.
    if (!services::check_name("/name", file.name, artifact_name_bytes_max).ok()) {
      out.skipped.push_back({"", "name"});
      continue;
    }
    CALYX_TRY(const int opened, ended.open(file));
    const std::shared_ptr<void> closes(nullptr, [opened](void*) { ::close(opened); });
    const ArtifactSource bytes_of = [&](std::span<char> bytes) -> Result<std::size_t> {
      for (;;) {
        const ssize_t got = ::read(opened, bytes.data(), bytes.size());
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR) return fail(Reason::io_error, "reading a task's file");
      }
    };
    if (!blobs) {
      CALYX_TRY(blobs, writable_blobs(market));
    }
    CALYX_TRY(const artifacts::Stored stored, keep_blob(*blobs, Instant{market.seams().now_us()}, bytes_of));
    out.kept.push_back({.name = file.name, .size = stored.size, .sha256 = stored.sha256});
  }
  for (const runner::Artifacts::Skipped& file : ended.artifacts.skipped) {
    std::string name = file.name;
    if (!services::check_name("/name", name, artifact_name_bytes_max).ok()) name.clear();
    out.skipped.push_back({std::move(name), std::string(file.why)});
  }
  return out;
}

}  // namespace calyx::engine
