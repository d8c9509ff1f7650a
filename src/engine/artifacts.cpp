#include "engine/artifacts.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <calyx/session.hpp>
#include <cerrno>
#include <unordered_set>
#include <utility>

#include "crypto/sha256.hpp"
#include "engine/job_reading.hpp"
#include "engine/market.hpp"
#include "engine/paging.hpp"
#include "services/artifacts.hpp"
#include "services/projects.hpp"

namespace calyx {

using core::AccountNumber;
using engine::open_blobs;
using engine::reading;
using services::AddedArtifact;
using services::Book;
using services::Kept;
using services::Transaction;
using store::ArtifactRow;
using store::MarketStore;
using store::UploadRow;

namespace {

constexpr std::size_t artifacts_looked_at = 10'000;
constexpr std::size_t secret_bytes = 16;

/// Copies `source` to `upload`, to its end.
Result<Done> copy(const ArtifactSource& source, artifacts::Upload& upload) {
  std::string block(engine::read_block_bytes, '\0');
  for (;;) {
    CALYX_TRY(const std::size_t bytes, source(block));
    if (bytes == 0) return Done{};
    CALYX_CHECK(upload.write({block.data(), bytes}));
  }
}

ArtifactSource source_of(std::string_view bytes) {
  return [bytes](std::span<char> out) mutable -> Result<std::size_t> {
    const std::size_t some = bytes.copy(out.data(), out.size());
    bytes.remove_prefix(some);
    return some;
  };
}

artifacts::Expected expected_of(const std::optional<core::Digest>& sha256,
                                const std::optional<std::uint64_t>& size) {
  return {.sha256 = sha256, .size = size};
}

std::optional<WalletId> wallet_of(const engine::Reading& by, AccountNumber account) {
  // One that was opened since the book was read is told the next time.
  const auto place = static_cast<std::size_t>(account - core::wallet_first);
  if (account == 0 || place >= by.wallets.size()) return std::nullopt;
  return by.wallets[place];
}

Result<ArtifactStored> shown(Market& market, const Principal& principal, const AddedArtifact& added) {
  CALYX_TRY(const engine::Reading by, reading(market, principal));
  return market.history([&](MarketStore& store) -> Result<ArtifactStored> {
    CALYX_TRY(Artifact artifact, engine::view_artifact(store, by, added.row));
    return ArtifactStored{std::move(artifact), added.replayed};
  });
}

ArtifactUpload shown(const engine::Reading& by, const services::BegunUpload& begun) {
  return {.id = services::upload_id_of(by.tag, begun.row),
          .wallet = wallet_of(by, begun.row.account),
          .name = begun.row.name,
          .size = begun.row.size,
          .sha256 = begun.row.sha256,
          .created_at = begun.row.at,
          .expires_at = begun.row.expires,
          .replayed = begun.replayed};
}

/// The upload in parts that `id` names. Fails: `upload_unknown`, also for somebody else's.
Result<UploadRow> find_upload(Market& market, const Principal& principal, UploadId id) {
  // Whose key began it is not kept, so that a derived one can begin none, and change nobody's.
  CALYX_TRY(const engine::Reading by, reading(market, principal, services::For::whole_keys));
  return market.history([&](MarketStore& store) -> Result<UploadRow> {
    CALYX_TRY(std::optional<UploadRow> row,
              store.artifacts().upload(static_cast<store::UploadNumber>(id.number())));
    if (!row || row->ticket || services::upload_id_of(by.tag, *row) != id ||
        !engine::may_read(by, row->account))
      return services::no_upload(id);
    return *std::move(row);
  });
}

/// The same while it is open, and where its parts lie.
struct Parts {
  UploadRow row;
  artifacts::Store blobs;
};
Result<Parts> open_parts(Market& market, const Principal& principal, UploadId id) {
  CALYX_TRY(UploadRow row, find_upload(market, principal, id));
  CALYX_TRY(const Instant now, market.read([](const Book&, Instant at) -> Result<Instant> { return at; }));
  if (!services::is_open(row, now)) return services::no_upload(id);
  CALYX_TRY(artifacts::Store blobs, open_blobs(market));
  return Parts{std::move(row), std::move(blobs)};
}

/// What both ways to say how an upload must come out agree on. Fails: `field_value`.
template <class T>
Result<std::optional<T>> agreed(const std::optional<T>& before, const std::optional<T>& now,
                                const char* field) {
  if (before && now && *before != *now)
    return services::field_error(Reason::field_value, field, "differs from what the upload began with");
  return before ? before : now;
}

}  // namespace

namespace engine {

Result<artifacts::Store> open_blobs(const Market& market) {
  CALYX_TRY(const std::string base, market.folders_path());
  return artifacts::open_store(artifacts::folder_path(base), {.blob_bytes_max = artifact_bytes_max});
}

Result<artifacts::Store> writable_blobs(const Market& market) {
  if (market.options().read_only) return fail(Reason::read_only, "the market was opened to be read only");
  return open_blobs(market);
}

Result<artifacts::Stored> keep_blob(const artifacts::Store& blobs, Instant now, const ArtifactSource& source,
                                    const artifacts::Expected& expected) {
  CALYX_TRY(artifacts::Upload upload, blobs.begin());
  CALYX_CHECK(copy(source, upload));
  return upload.finish(now, expected);
}

Result<Artifact> view_artifact(MarketStore& store, const Reading& by, const ArtifactRow& row) {
  Artifact out{.id = services::artifact_id_of(by.tag, row),
               .wallet = wallet_of(by, row.account),
               .name = row.name,
               .size = row.size,
               .sha256 = row.sha256,
               .created_at = row.at};
  if (row.job == 0) return out;
  CALYX_TRY(const std::optional<store::JobRow> job, store.jobs().job(row.job));
  if (job) out.job = services::job_id_of(by.tag, *job);
  out.task = row.task;
  return out;
}

Result<ArtifactRow> find_artifact(MarketStore& store, const Reading& by, ArtifactId id) {
  CALYX_TRY(ArtifactRow row, services::artifact_row(store, by.tag, id));
  if (!may_read(by, row.account)) return services::no_artifact(id);
  return row;
}

}  // namespace engine

// ── put and read ──

Result<ArtifactStored> Session::put_artifact(const ArtifactPut& asked, const ArtifactSource& source) {
  CALYX_CHECK(
      market_->read([&](const Book& book, Instant) { return services::check_put(book, principal_, asked); }));
  CALYX_TRY(const artifacts::Store blobs, engine::writable_blobs(*market_));
  CALYX_TRY(const artifacts::Stored stored, engine::keep_blob(blobs, Instant{market_->seams().now_us()},
                                                              source, expected_of(asked.sha256, asked.size)));
  CALYX_TRY(const AddedArtifact added, market_->write([&](Transaction& tx) {
    return services::add_artifact(tx, principal_, asked, {stored.size, stored.sha256});
  }));
  return shown(*market_, principal_, added);
}

Result<ArtifactStored> Session::put_artifact(const ArtifactPut& asked, std::string_view bytes) {
  return put_artifact(asked, source_of(bytes));
}

Result<ArtifactStored> Session::put_artifact_file(const ArtifactPut& asked, const std::string& path) {
  const auto failed = [](const char* doing) {
    return fail(errno == ENOENT ? Reason::file_missing : Reason::io_error,
                std::string(doing) + ": " + std::system_category().message(errno));
  };
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (opened < 0) return failed("opening the file");
  const std::shared_ptr<void> closes(nullptr, [opened](void*) { ::close(opened); });
  ArtifactPut named = asked;
  if (named.name.empty()) named.name = path.substr(path.find_last_of('/') + 1);
  return put_artifact(named, [&](std::span<char> out) -> Result<std::size_t> {
    for (;;) {
      const ssize_t got = ::read(opened, out.data(), out.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return failed("reading the file");
    }
  });
}

Result<Listed<Artifact>> Session::artifacts(const Page& page, const std::optional<WalletId>& wallet) {
  CALYX_TRY(const std::int64_t after, engine::cursor(page));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  std::optional<AccountNumber> only;
  if (wallet) {
    CALYX_TRY(only, market_->read([&](const Book& book, Instant) -> Result<AccountNumber> {
      return services::project_account(book, by.caller, wallet);
    }));
  }
  return market_->history([&](MarketStore& store) -> Result<Listed<Artifact>> {
    Listed<Artifact> out;
    std::size_t looked_at = 0;
    CALYX_CHECK(store.artifacts().all_before(
        after == 0 ? INT64_MAX : after, [&](const ArtifactRow& row) -> Result<bool> {
          if (out.items.size() == page.limit || ++looked_at > artifacts_looked_at) {
            out.next = std::to_string(row.number + 1);
            return false;
          }
          if (only ? row.account != *only : !engine::may_read(by, row.account)) return true;
          CALYX_TRY(out.items.emplace_back(), engine::view_artifact(store, by, row));
          return true;
        }));
    return out;
  });
}

Result<Artifact> Session::artifact(ArtifactId id) {
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return market_->history([&](MarketStore& store) -> Result<Artifact> {
    CALYX_TRY(const ArtifactRow row, engine::find_artifact(store, by, id));
    return engine::view_artifact(store, by, row);
  });
}

class OpenArtifact {
 public:
  OpenArtifact(Artifact artifact, artifacts::Reader blob, std::shared_ptr<engine::Lifeline> lifeline)
      : artifact_(std::move(artifact)), blob_(std::move(blob)), lifeline_(std::move(lifeline)) {}
  const Artifact& artifact() const noexcept { return artifact_; }
  const artifacts::Reader& blob() const noexcept { return blob_; }
  bool closed() const noexcept { return lifeline_->loose(); }

 private:
  Artifact artifact_;
  artifacts::Reader blob_;
  std::shared_ptr<engine::Lifeline> lifeline_;
};

ArtifactReader::ArtifactReader(std::shared_ptr<const OpenArtifact> inside) noexcept
    : inside_(std::move(inside)) {}
const Artifact& ArtifactReader::artifact() const noexcept { return inside_->artifact(); }
Result<std::size_t> ArtifactReader::read_at(std::uint64_t offset, std::span<char> out) const {
  if (inside_->closed()) return fail(Reason::closed, "the engine was closed");
  return inside_->blob().read_at(offset, out);
}
Result<Done> ArtifactReader::check() const { return inside_->blob().check(); }

Result<ArtifactReader> Session::open_artifact(ArtifactId id) {
  CALYX_TRY(Artifact found, artifact(id));
  return open_bytes(std::move(found), id.text());
}

Result<ArtifactReader> Session::lease_source(std::int64_t token) {
  CALYX_CHECK(market_->read([&](const Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const services::Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  CALYX_TRY(Artifact found, market_->history([&](MarketStore& store) -> Result<Artifact> {
    CALYX_TRY(const std::optional<store::LeaseRow> lease, store.jobs().lease(token));
    if (!lease) return fail(Reason::lease_lost, "no such lease");
    CALYX_TRY(const std::shared_ptr<const services::KnownJob> job,
              market_->known_jobs().get(store, lease->job));
    if (job->row.revision == 0) return fail(Reason::project_not_ready, "the lease's tasks run in no project");
    CALYX_TRY(const services::FoundRevision revision,
              services::find_revision(store, job->row.account, job->terms.project, job->row.revision));
    Artifact out;
    out.name = job->terms.project + ".tar.gz";
    out.size = revision.revision.size;
    out.sha256 = revision.revision.sha256;
    return out;
  }));
  const std::string what = found.name;
  return open_bytes(std::move(found), what);
}

Result<ArtifactReader> Session::open_bytes(Artifact found, const std::string& what) {
  CALYX_TRY(const artifacts::Store blobs, open_blobs(*market_));
  Result<artifacts::Reader> blob = blobs.open(found.sha256);
  // The row says that it is there: that its blob is gone is a fault of the folder, and not the caller's.
  if (blob.reason() == Reason::artifact_unknown || (blob.ok() && blob->size() != found.size))
    return fail(Reason::corrupt,
                "the bytes of " + what + " are not in the folder of artifacts: put it back beside the market",
                core::json::object({{"sha256", core::hex(found.sha256)}}));
  if (!blob.ok()) return blob.error();
  return ArtifactReader(
      std::make_shared<OpenArtifact>(std::move(found), *std::move(blob), market_->lifeline()));
}

// ── a ticket ──

Result<ArtifactTicket> Session::direct_artifact(const ArtifactPut& asked) {
  CALYX_CHECK(
      market_->read([&](const Book& book, Instant) { return services::check_put(book, principal_, asked); }));
  CALYX_CHECK(market_->folders_path());
  char bytes[secret_bytes];
  if (!market_->seams().random(bytes, sizeof bytes))
    return fail(Reason::io_error, "the random source gives no bytes");
  const std::string secret = core::hex({bytes, sizeof bytes});
  CALYX_TRY(const services::BegunUpload begun, market_->write([&](Transaction& tx) {
    return services::begin_upload(tx, principal_, asked, crypto::Sha256{}(secret));
  }));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  const UploadId id = services::upload_id_of(by.tag, begun.row);
  return ArtifactTicket{.id = id,
                        .secret = begun.replayed ? std::string() : id.text() + '-' + secret,
                        .expires_at = begun.row.expires,
                        .replayed = begun.replayed};
}

Result<ArtifactStored> Engine::put_direct(std::string_view ticket, const ArtifactSource& source) {
  const auto unknown = [] { return fail(Reason::upload_unknown, "the ticket is unknown, or it is over"); };
  const std::size_t dash = std::min(ticket.find('-'), ticket.size());
  const auto id = UploadId::read(ticket.substr(0, dash));
  if (!id || dash == ticket.size()) return unknown();
  const core::Digest secret = crypto::Sha256{}(ticket.substr(dash + 1));
  CALYX_TRY(const engine::Reading by, reading(*market_, Principal{}));
  CALYX_TRY(const Instant now, market_->read([](const Book&, Instant at) -> Result<Instant> { return at; }));
  CALYX_TRY(const std::optional<UploadRow> row,
            market_->history([&](MarketStore& store) -> Result<std::optional<UploadRow>> {
              return store.artifacts().upload(static_cast<store::UploadNumber>(id->number()));
            }));
  // Compared as hashes, whose first different byte tells nothing of the secret.
  if (!row || services::upload_id_of(by.tag, *row) != *id || row->ticket != secret ||
      (row->artifact <= 0 && !services::is_open(*row, now)))
    return unknown();
  CALYX_TRY(const artifacts::Store blobs, engine::writable_blobs(*market_));
  CALYX_TRY(const artifacts::Stored stored, engine::keep_blob(blobs, Instant{market_->seams().now_us()},
                                                              source, expected_of(row->sha256, row->size)));
  CALYX_TRY(const AddedArtifact added, market_->write([&](Transaction& tx) {
    return services::end_upload(tx, *row, {stored.size, stored.sha256});
  }));
  if (added.row.sha256 != stored.sha256) return unknown();  // it was used for other bytes
  return shown(*market_, Principal{}, added);
}

Result<ArtifactStored> Engine::put_direct(std::string_view ticket, std::string_view bytes) {
  return put_direct(ticket, source_of(bytes));
}

// ── in parts ──

Result<ArtifactUpload> Session::start_artifact(const ArtifactPut& asked) {
  CALYX_CHECK(reading(*market_, principal_, services::For::whole_keys));
  CALYX_CHECK(
      market_->read([&](const Book& book, Instant) { return services::check_put(book, principal_, asked); }));
  CALYX_CHECK(market_->folders_path());
  CALYX_TRY(const services::BegunUpload begun, market_->write([&](Transaction& tx) {
    return services::begin_upload(tx, principal_, asked, std::nullopt);
  }));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  return shown(by, begun);
}

Result<ArtifactPart> Session::put_artifact_part(UploadId id, std::uint32_t number, std::string_view bytes,
                                                const std::optional<core::Digest>& sha256) {
  CALYX_TRY(const Parts parts, open_parts(*market_, principal_, id));
  if (bytes.size() > artifact_part_bytes_max)
    return fail(Reason::too_large,
                "the part has " + std::to_string(bytes.size()) + " bytes, takes " +
                    std::to_string(artifact_part_bytes_max),
                core::json::object({{"limit", artifact_part_bytes_max}}));
  CALYX_CHECK(parts.blobs.start(id.text()));
  CALYX_TRY(const artifacts::Part part,
            parts.blobs.part(id.text(), number, bytes, expected_of(sha256, std::nullopt)));
  return ArtifactPart{part.number, part.size, part.sha256};
}

Result<std::vector<ArtifactPart>> Session::artifact_parts(UploadId id) {
  CALYX_TRY(const Parts parts, open_parts(*market_, principal_, id));
  std::vector<ArtifactPart> out;
  const Result<std::vector<artifacts::Part>> sent = parts.blobs.list(id.text());
  if (sent.reason() == Reason::upload_unknown) return out;  // none was sent yet
  if (!sent.ok()) return sent.error();
  for (const artifacts::Part& part : *sent) out.push_back({part.number, part.size, part.sha256});
  return out;
}

Result<ArtifactStored> Session::complete_artifact(UploadId id, const ArtifactComplete& asked) {
  CALYX_TRY(const UploadRow row, find_upload(*market_, principal_, id));
  CALYX_TRY(const auto size, agreed(row.size, asked.size, "/size"));
  CALYX_TRY(const auto sha256, agreed(row.sha256, asked.sha256, "/sha256"));
  Kept kept;
  std::optional<artifacts::Store> blobs;
  if (row.artifact <= 0) {  // one that became an artifact is answered with it, however often
    CALYX_TRY(Parts parts, open_parts(*market_, principal_, id));
    blobs = std::move(parts.blobs);
    std::vector<artifacts::ListedPart> listed;
    for (const ArtifactComplete::Listed& part : asked.parts) listed.push_back({part.number, part.sha256});
    if (listed.empty()) {
      CALYX_TRY(const std::vector<ArtifactPart> sent, artifact_parts(id));
      for (const ArtifactPart& part : sent) listed.push_back({part.number, part.sha256});
      if (sent.empty()) return services::field_error(Reason::field_value, "/parts", "no part was sent");
    }
    CALYX_TRY(const artifacts::Stored stored,
              blobs->complete(id.text(), listed, expected_of(sha256, size),
                              Instant{market_->seams().now_us()}, artifacts::PartsThen::stay));
    kept = {stored.size, stored.sha256};
  }
  CALYX_TRY(const AddedArtifact added,
            market_->write([&](Transaction& tx) { return services::end_upload(tx, row, kept); }));
  // The parts are in the way from now on; a collection takes them where this fails.
  if (blobs) static_cast<void>(blobs->abort(id.text()));
  return shown(*market_, principal_, added);
}

Result<Done> Session::abort_artifact(UploadId id) {
  CALYX_TRY(const Parts parts, open_parts(*market_, principal_, id));
  CALYX_CHECK(market_->write([&](Transaction& tx) { return services::abort_upload(tx, parts.row); }));
  static_cast<void>(parts.blobs.abort(id.text()));
  return Done{};
}

// ── what nobody wants ──

Result<ArtifactsCollected> Session::collect_artifacts() {
  CALYX_TRY(const Instant now, market_->read([&](const Book& book, Instant at) -> Result<Instant> {
    CALYX_TRY(const services::Caller caller, services::authorize(book, principal_));
    CALYX_CHECK(services::operator_only(caller));
    return at;
  }));
  CALYX_TRY(const engine::Reading by, reading(*market_, principal_));
  CALYX_TRY(const artifacts::Store blobs, engine::writable_blobs(*market_));
  // What is stored from now on is younger than the grace, so a list that is made once is enough.
  std::unordered_set<std::string> wanted;
  std::vector<UploadId> over;
  CALYX_TRY(const std::vector<std::string> uploads, blobs.uploads());
  CALYX_CHECK(market_->history([&](MarketStore& store) -> Result<Done> {
    for (const std::string& name : uploads) {
      const auto id = UploadId::read(name);
      if (!id) continue;
      CALYX_TRY(const std::optional<UploadRow> row,
                store.artifacts().upload(static_cast<store::UploadNumber>(id->number())));
      if (!row || services::upload_id_of(by.tag, *row) != *id || !services::is_open(*row, now))
        over.push_back(*id);
    }
    return store.artifacts().blobs([&](const core::Digest& blob) -> Result<bool> {
      wanted.emplace(blob.view());
      return true;
    });
  }));
  ArtifactsCollected out;
  for (const UploadId id : over) {
    CALYX_TRY(const bool ended, blobs.abort(id.text()));
    if (ended) ++out.uploads_ended;
  }
  CALYX_TRY(const artifacts::Collected collected,
            blobs.collect([&](const core::Digest& blob)
                              -> Result<bool> { return wanted.count(std::string(blob.view())) != 0; },
                          Instant{market_->seams().now_us()}, artifact_grace_s* core::us_per_second));
  out.kept = collected.kept;
  out.removed = collected.removed;
  out.removed_bytes = collected.removed_bytes;
  return out;
}

}  // namespace calyx
