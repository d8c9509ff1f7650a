#include <calyx/artifacts.hpp>
#include <charconv>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

/// A longer answer comes in pieces, so that nobody holds it whole.
constexpr std::uint64_t body_bytes_max = std::uint64_t{1} << 20;
constexpr std::size_t piece_bytes = std::size_t{256} << 10;

Result<ArtifactId> artifact_id(const Call& call) {
  if (const auto id = ArtifactId::read(call.id)) return *id;
  json::Object details;
  if (const auto said = sayable(call.id)) details.set("artifact_id", *said);
  return fail(Reason::artifact_unknown, "no artifact has such an id", std::move(details));
}

Result<UploadId> upload_id(std::string_view text) {
  if (const auto id = UploadId::read(text)) return *id;
  json::Object details;
  if (const auto said = sayable(text)) details.set("upload_id", *said);
  return fail(Reason::upload_unknown, "no upload has such an id", std::move(details));
}

Result<std::optional<core::Digest>> read_sha256(Query& query) {
  const auto given = query.find("sha256");
  if (!given) return std::optional<core::Digest>();
  const auto read = core::read_output_hash(*given);
  if (!read) return field_fault(Reason::field_value, "sha256", "must be 64 hex digits");
  return read;
}

Result<std::optional<WalletId>> read_wallet(Query& query) {
  const auto given = query.find("wallet_id");
  if (!given) return std::optional<WalletId>();
  const auto read = WalletId::read(*given);
  if (!read)
    return fail(Reason::wallet_unknown, "no wallet has such an id", json::object({{"field", "wallet_id"}}));
  return read;
}

/// A member that is a count of bytes, where it is there.
void read_size(Fields& fields, std::optional<std::uint64_t>& out) {
  std::optional<std::int64_t> size;
  fields.read("size", size);
  if (!size) return;
  if (*size < 0) return fields.fault(field_fault(Reason::field_value, "/size", "must not be negative"));
  out = static_cast<std::uint64_t>(*size);
}

/// What is said of an upload that is still to come.
Result<ArtifactPut> read_put(const Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  ArtifactPut out;
  Fields fields(body);
  fields.read("name", out.name);
  read_size(fields, out.size);
  fields.read("sha256", out.sha256);
  fields.read("wallet_id", out.wallet);
  CALYX_CHECK(fields.done());
  CALYX_TRY(out.idempotency_key, idempotency_key(call.request));
  return out;
}

Response artifact_response(const ArtifactStored& stored) {
  std::string out;
  append_json(out, stored.artifact);
  return json_response(201, std::move(out), stored.replayed ? Replay::again : Replay::first);
}

void append_part(std::string& out, const ArtifactPart& part) {
  Members(out)
      .integer("part_number", part.number)
      .count("size", part.size)
      .digest("sha256", part.sha256)
      .close();
}

/// A name that every system takes and no header misreads: the last step of `name`, its letters, digits, and
/// the marks between them.
std::string file_name(std::string_view name) {
  std::string out(name.substr(name.find_last_of('/') + 1));
  for (char& c : out) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    if (!plain) c = '_';
  }
  if (!out.empty() && (out.front() == '.' || out.front() == '-')) out.front() = '_';
  return out.empty() ? "artifact" : out;
}

struct Range {
  std::uint64_t first = 0, count = 0;
  bool partial = false;
};

/// Which bytes `Range` asks for, as RFC 9110 14.2 reads it: one that is no single range of bytes asks for all
/// of them. Nothing for one that begins behind the end.
std::optional<Range> range_of(std::string_view asked, std::uint64_t size) {
  const Range all{0, size, false};
  constexpr std::string_view unit = "bytes=";
  if (!asked.starts_with(unit)) return all;
  asked.remove_prefix(unit.size());
  const auto number = [&](std::uint64_t& out) {
    const auto read = std::from_chars(asked.data(), asked.data() + asked.size(), out);
    const auto digits = static_cast<std::size_t>(read.ptr - asked.data());
    asked.remove_prefix(digits);
    return digits != 0 && read.ec == std::errc();
  };
  std::uint64_t first = 0, last = UINT64_MAX;
  const bool begins = number(first);
  if (!asked.starts_with('-')) return all;
  asked.remove_prefix(1);
  const bool ends = number(last);
  if (!asked.empty() || (!begins && !ends) || (begins && last < first)) return all;
  if (!begins) {
    if (last == 0 || size == 0) return std::nullopt;
    const std::uint64_t count = std::min(last, size);
    return Range{size - count, count, true};
  }
  if (first >= size) return std::nullopt;
  return Range{first, std::min(last, size - 1) - first + 1, true};
}

/// A piece of an artifact, as it is pulled.
class ArtifactBody final : public BodyStream {
 public:
  ArtifactBody(ArtifactReader reader, Range range) : reader_(std::move(reader)), range_(range) {}

  BodyPiece next(std::chrono::milliseconds) override {
    std::string piece(std::min<std::uint64_t>(piece_bytes, range_.count), '\0');
    const Result<std::size_t> read = reader_.read_at(range_.first, piece);
    // Too short for its Content-Length, which is how a client learns of it.
    if (!read.ok() || *read == 0) range_.count = 0;
    if (range_.count == 0) return {};
    piece.resize(*read);
    range_.first += *read;
    range_.count -= *read;
    return {.kind = BodyPiece::Kind::bytes, .bytes = std::move(piece)};
  }

 private:
  ArtifactReader reader_;
  Range range_;
};

}  // namespace

void append_json(std::string& out, const Artifact& artifact) {
  Members members(out);
  members.id("artifact_id", artifact.id)
      .id("id", artifact.id)
      .id("wallet_id", artifact.wallet)
      .text("name", std::string_view(artifact.name))
      .count("size", artifact.size)
      .digest("sha256", artifact.sha256)
      .instant("created_at", artifact.created_at)
      .id("job_id", artifact.job);
  artifact.task ? members.count("task", *artifact.task) : members.null("task");
  members.close();
}

Result<Response> put_artifact(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  ArtifactPut asked{.name = std::string(query.find("name").value_or("artifact"))};
  CALYX_TRY(asked.sha256, read_sha256(query));
  CALYX_TRY(asked.wallet, read_wallet(query));
  CALYX_CHECK(query.done());
  CALYX_TRY(asked.idempotency_key, idempotency_key(call.request));
  if (!call.request.source) asked.size = call.request.body.size();
  CALYX_TRY(const ArtifactStored stored, call.request.source
                                             ? call.session->put_artifact(asked, call.request.source)
                                             : call.session->put_artifact(asked, call.request.body));
  return artifact_response(stored);
}

Result<Response> list_artifacts(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::optional<WalletId> wallet, read_wallet(query));
  CALYX_TRY(const Page page, read_page(query));
  CALYX_CHECK(query.done());
  CALYX_TRY(const Listed<Artifact> listed, call.session->artifacts(page, wallet));
  std::string out;
  Members members(out);
  members.begin("artifacts");
  append_list(out, listed.items, [&](const Artifact& artifact) { append_json(out, artifact); });
  members.text_or_null("next_cursor", listed.next).close();
  return json_response(200, std::move(out));
}

namespace {

/// The bytes, or the range of them that was asked for.
Result<Response> bytes_response(const Call& call, ArtifactReader reader) {
  const Artifact& artifact = reader.artifact();
  const std::string etag = '"' + core::hex(artifact.sha256) + '"';
  CALYX_TRY(const auto asked, header(call.request, "Range"));
  CALYX_TRY(const auto same, header(call.request, "If-Range"));
  const std::optional<Range> range =
      range_of(!asked || (same && *same != etag) ? std::string_view() : *asked, artifact.size);
  const std::string of_all = '/' + std::to_string(artifact.size);
  if (!range) {
    Response out =
        error_response(fail(Reason::range_unsatisfiable, "the range begins behind the artifact's end",
                            json::object({{"size", artifact.size}})));
    out.headers.push_back({"Content-Range", "bytes *" + of_all});
    return out;
  }
  Response out{
      .status = range->partial ? 206 : 200,
      .headers = {{"Content-Type", "application/octet-stream"},
                  {"Content-Disposition", "attachment; filename=\"" + file_name(artifact.name) + '"'},
                  {"X-Content-Type-Options", "nosniff"},
                  {"Accept-Ranges", "bytes"},
                  {"ETag", etag},
                  {"Cache-Control", "private"}},
      .body = {},
      .stream = {}};
  if (range->partial)
    out.headers.push_back({"Content-Range", "bytes " + std::to_string(range->first) + '-' +
                                                std::to_string(range->first + range->count - 1) + of_all});
  if (range->count > body_bytes_max) {
    out.headers.push_back({"Content-Length", std::to_string(range->count)});
    out.stream = std::make_shared<ArtifactBody>(std::move(reader), *range);
    return out;
  }
  out.body.resize(range->count);
  CALYX_CHECK(reader.read_at(range->first, out.body));
  return out;
}

}  // namespace

Result<Response> get_artifact(Call& call) {
  CALYX_TRY(const ArtifactId id, artifact_id(call));
  CALYX_TRY(ArtifactReader reader, call.session->open_artifact(id));
  return bytes_response(call, std::move(reader));
}

Result<Response> get_lease_source(Call& call) {
  CALYX_TRY(const std::int64_t token, read_token(call.id));
  CALYX_TRY(ArtifactReader reader, call.session->lease_source(token));
  return bytes_response(call, std::move(reader));
}

// ── a ticket ──

Result<Response> direct_artifact(Call& call) {
  CALYX_TRY(const ArtifactPut asked, read_put(call));
  CALYX_TRY(const ArtifactTicket ticket, call.session->direct_artifact(asked));
  std::string out;
  Members(out)
      .id("upload_id", ticket.id)
      .text_or_null("url", ticket.secret.empty() ? "" : "/api/v1/artifacts/direct/" + ticket.secret)
      .text("method", std::string_view("PUT"))
      .instant("expires_at", ticket.expires_at)
      .close();
  return json_response(201, std::move(out), ticket.replayed ? Replay::again : Replay::first);
}

Result<Response> put_direct(Call& call) {
  CALYX_TRY(const ArtifactStored stored, call.request.source
                                             ? call.engine.put_direct(call.id, call.request.source)
                                             : call.engine.put_direct(call.id, call.request.body));
  return artifact_response(stored);
}

// ── in parts ──

Result<Response> start_artifact(Call& call) {
  CALYX_TRY(const ArtifactPut asked, read_put(call));
  CALYX_TRY(const ArtifactUpload upload, call.session->start_artifact(asked));
  std::string out;
  Members members(out);
  members.id("upload_id", upload.id)
      .id("wallet_id", upload.wallet)
      .text("name", std::string_view(upload.name));
  upload.size ? members.count("size", *upload.size) : members.null("size");
  upload.sha256 ? members.digest("sha256", *upload.sha256) : members.null("sha256");
  members.count("part_bytes_max", artifact_part_bytes_max)
      .count("parts_max", artifact_parts_max)
      .instant("created_at", upload.created_at)
      .instant("expires_at", upload.expires_at)
      .close();
  return json_response(201, std::move(out), upload.replayed ? Replay::again : Replay::first);
}

Result<Response> put_artifact_part(Call& call) {
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(const std::optional<core::Digest> sha256, read_sha256(query));
  CALYX_CHECK(query.done());
  CALYX_TRY(const UploadId id, upload_id(call.id));
  std::uint32_t number = 0;  // which is no part's
  const char* const end = call.key.data() + call.key.size();
  if (const auto read = std::from_chars(call.key.data(), end, number);
      read.ec != std::errc() || read.ptr != end)
    number = 0;
  CALYX_TRY(const ArtifactPart part, call.session->put_artifact_part(id, number, call.request.body, sha256));
  std::string out;
  append_part(out, part);
  return json_response(200, std::move(out));
}

Result<Response> list_artifact_parts(Call& call) {
  CALYX_TRY(const UploadId id, upload_id(call.id));
  CALYX_TRY(const std::vector<ArtifactPart> parts, call.session->artifact_parts(id));
  std::string out;
  Members members(out);
  members.id("upload_id", id).begin("parts");
  append_list(out, parts, [&](const ArtifactPart& part) { append_part(out, part); });
  members.close();
  return json_response(200, std::move(out));
}

Result<Response> complete_artifact(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request, parts_text_bytes_max));
  CALYX_CHECK(idempotency_key(call.request));  // an upload is completed once in any case
  Fields fields(body);
  std::string upload;
  ArtifactComplete asked;
  fields.read("upload_id", upload);
  read_size(fields, asked.size);
  fields.read("sha256", asked.sha256);
  const json::Value* parts = fields.find("parts");
  CALYX_CHECK(fields.done());
  if (parts != nullptr && !parts->is_null()) {
    if (parts->array() == nullptr)
      return field_fault(Reason::field_type, "/parts", "must be a list of parts");
    if (parts->array()->empty())
      return field_fault(Reason::field_value, "/parts", "is empty: leave it out for all that were sent");
    for (std::size_t i = 0; i < parts->array()->size(); ++i) {
      const std::string place = "/parts/" + std::to_string(i);
      Fields part((*parts->array())[i], place);
      std::int64_t number = 0;
      ArtifactComplete::Listed listed;
      part.read("part_number", number);
      part.read("sha256", listed.sha256);
      if (number < 1 || number > artifact_parts_max)
        part.fault(field_fault(Reason::field_value, "/part_number",
                               "takes 1 to " + std::to_string(artifact_parts_max)));
      CALYX_CHECK(part.done());
      listed.number = static_cast<std::uint32_t>(number);
      asked.parts.push_back(listed);
    }
  }
  CALYX_TRY(const UploadId id, upload_id(upload));
  CALYX_TRY(const ArtifactStored stored, call.session->complete_artifact(id, asked));
  return artifact_response(stored);
}

Result<Response> abort_artifact(Call& call) {
  CALYX_TRY(const UploadId id, upload_id(call.id));
  CALYX_CHECK(call.session->abort_artifact(id));
  std::string out;
  Members(out).id("upload_id", id).boolean("aborted", true).close();
  return json_response(200, std::move(out));
}

Result<Response> collect_artifacts(Call& call) {
  CALYX_TRY(const ArtifactsCollected collected, call.session->collect_artifacts());
  std::string out;
  Members(out)
      .count("kept", collected.kept)
      .count("removed", collected.removed)
      .count("removed_bytes", collected.removed_bytes)
      .count("uploads_ended", collected.uploads_ended)
      .close();
  return json_response(200, std::move(out));
}

}  // namespace calyx::wire
