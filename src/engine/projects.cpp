#include "engine/projects.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/session.hpp>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "archive/archive.hpp"
#include "artifacts/artifacts.hpp"
#include "crypto/sha256.hpp"
#include "engine/artifacts.hpp"
#include "engine/market.hpp"
#include "services/projects.hpp"

namespace calyx {

using core::AccountNumber;
using services::Book;
using services::Caller;
using services::ProjectNumber;
using services::ProjectState;
using services::Transaction;
using store::MarketStore;

namespace {

namespace json = core::json;

constexpr std::size_t projects_looked_at = 10'000;

Error system_failure(int number, const char* doing) {
  return fail(number == ENOSPC || number == EDQUOT ? Reason::disk_full : Reason::io_error,
              std::string(doing) + ": " + std::system_category().message(number));
}

Result<Done> make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return Done{};
  return system_failure(errno, "making a folder of projects");
}

/// The project's own folder, made when it is not there.
Result<std::string> project_home(const std::string& market_path, ProjectNumber number) {
  const std::string all = engine::projects_path(market_path);
  CALYX_CHECK(make_folder(all));
  std::string home = all + '/' + std::to_string(number);
  CALYX_CHECK(make_folder(home));
  return home;
}

Result<Done> remove_folder(const std::string& path) {
  std::error_code failed;
  std::filesystem::remove_all(path, failed);
  if (failed) return system_failure(failed.value(), "removing a folder of a project");
  return Done{};
}

/// One at a time, among threads and processes: each taking opens the file anew, since the lock belongs to an
/// open file. The system gives it up where a process ends.
class FolderLock {
 public:
  static Result<FolderLock> take(const std::string& path) {
    CALYX_TRY(std::optional<FolderLock> lock, take(path, LOCK_EX));
    return *std::move(lock);
  }
  /// Nothing where somebody has it.
  static Result<std::optional<FolderLock>> take_if_free(const std::string& path) {
    return take(path, LOCK_EX | LOCK_NB);
  }
  FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock() {
    if (file_ >= 0) ::close(file_);
  }

 private:
  FolderLock() = default;
  static Result<std::optional<FolderLock>> take(const std::string& path, int how) {
    FolderLock lock;
    lock.file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock.file_ < 0) return system_failure(errno, "opening the lock of a project");
    while (::flock(lock.file_, how) != 0) {
      if (errno == EWOULDBLOCK) return std::optional<FolderLock>();
      if (errno != EINTR) return system_failure(errno, "locking a project");
    }
    return std::optional(std::move(lock));
  }
  int file_ = -1;
};

/// Of one project at a time: each unpacked tarball takes room on the market's disk.
constexpr std::size_t pushes_max = 8;

/// Where a push unpacks what comes, which may come slowly: a folder of its own, that goes with it.
class Incoming {
 public:
  /// Takes away first what crashes left of others: a push has the lock of its folder, and none is made
  /// meanwhile.
  static Result<Incoming> make(const std::string& home) {
    CALYX_TRY(const FolderLock lock, FolderLock::take(home + "/push.lock"));
    static_cast<void>(lock);
    std::error_code failed;
    std::vector<std::string> left;
    for (std::filesystem::directory_iterator at(home, failed), end; !failed && at != end;
         at.increment(failed))
      if (at->path().filename().string().starts_with("incoming")) left.push_back(at->path().string());
    if (failed) return system_failure(failed.value(), "looking for what a push left");
    std::size_t others = 0;
    for (const std::string& folder : left) {
      // It may go meanwhile, as its push ends; what cannot be removed stays for the next one.
      const Result<std::optional<FolderLock>> free = FolderLock::take_if_free(folder + lock_name);
      if (free.ok() && *free) static_cast<void>(remove_folder(folder));
      if (free.ok() && !*free) ++others;
    }
    if (others >= pushes_max)
      return fail(
          Reason::store_busy,
          std::to_string(others) + " pushes of this project are under way: push again when one is done",
          json::object({{"limit", pushes_max}}));
    std::string path = home + "/incoming-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return system_failure(errno, "making a folder of projects");
    CALYX_TRY(FolderLock own, FolderLock::take(path + lock_name));
    return Incoming(std::move(path), std::move(own));
  }
  Incoming(Incoming&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  Incoming& operator=(Incoming&&) = delete;
  ~Incoming() {
    if (!path_.empty()) static_cast<void>(remove_folder(path_));
  }
  /// Where nothing is.
  std::string files() const { return path_ + "/files"; }

 private:
  static constexpr const char* lock_name = "/lock";
  Incoming(std::string path, FolderLock lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  FolderLock lock_;
};

Result<artifacts::Store> tarballs(const std::string& market_path) {
  return artifacts::open_store(artifacts::folder_path(market_path), {.blob_bytes_max = tarball_bytes_max});
}

/// The file at `path` as far as `most` bytes, and one more where it is longer.
Result<std::string> read_file(const std::string& path, std::size_t most) {
  std::ifstream in(path, std::ios::binary);
  std::string out(most + 1, '\0');
  in.read(out.data(), static_cast<std::streamsize>(out.size()));
  if (in.bad() || !in.is_open()) return fail(Reason::io_error, "reading a file of a project");
  out.resize(static_cast<std::size_t>(in.gcount()));
  return out;
}

/// Whether `folder` holds the files as they were pushed. What was added beside them is not asked for.
bool holds(const std::string& folder, const Revision& revision) {
  std::string block(engine::read_block_bytes, '\0');
  for (const ProjectFile& file : revision.files) {
    std::ifstream in(folder + '/' + file.path, std::ios::binary);
    crypto::Sha256Stream hash;
    while (in) {
      in.read(block.data(), static_cast<std::streamsize>(block.size()));
      hash.update(std::string_view(block).substr(0, static_cast<std::size_t>(in.gcount())));
    }
    if (!in.eof() || hash.finish() != file.sha256) return false;
    struct stat is {};
    if (::stat((folder + '/' + file.path).c_str(), &is) != 0 || (is.st_mode & 0777) != file.mode)
      return false;
  }
  return true;
}

/// A project as a caller reaches it.
struct Reached {
  AccountNumber account = 0;
  std::optional<WalletId> wallet;
};
Result<Reached> reach(Market& market, const Principal& principal, const ProjectName& project,
                      services::For keys = services::For::derived_keys) {
  return market.read([&](const Book& book, Instant) -> Result<Reached> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal, keys));
    Reached out;
    CALYX_TRY(out.account, services::account_of(book, caller, project));
    if (const services::WalletState* owner = book.wallet(out.account)) out.wallet = owner->id;
    return out;
  });
}

/// Runs `look(MarketStore&, ProjectState)` on the project as it stands.
template <class Look>
auto with_project(Market& market, const Principal& principal, const ProjectName& project, Look look)
    -> std::invoke_result_t<Look&, MarketStore&, const ProjectState&> {
  CALYX_TRY(const Reached by, reach(market, principal, project));
  return market.history(
      [&](MarketStore& store) -> std::invoke_result_t<Look&, MarketStore&, const ProjectState&> {
        CALYX_TRY(const ProjectState state, services::find_project(store, by.account, project.name));
        return look(store, state);
      });
}

Result<store::ProjectRow> row_of(MarketStore& store, ProjectNumber number) {
  CALYX_TRY(const std::optional<store::ProjectRow> row, store.projects().project(number));
  if (row) return *row;
  return fail(Reason::corrupt, "project " + std::to_string(number) + " has no row; run an audit",
              json::object({{"table", "projects"}, {"row", number}}));
}

Result<Project> shown(MarketStore& store, const ProjectState& state, std::optional<WalletId> wallet) {
  CALYX_TRY(const store::ProjectRow row, row_of(store, state.number));
  return Project{.name = state.name,
                 .wallet = wallet,
                 .remote_dir = state.remote_dir,
                 .description = state.description,
                 .created_at = row.at,
                 .active_revision = state.active};
}

std::vector<archive::File> archive_files(const Revision& revision) {
  std::vector<archive::File> out;
  out.reserve(revision.files.size());
  for (const ProjectFile& file : revision.files)
    out.push_back({.path = file.path, .size = file.size, .mode = file.mode, .sha256 = file.sha256});
  return out;
}

/// The manifest of what was unpacked at `folder`, which may be none.
Result<json::Object> manifest_of(const std::string& folder, const std::vector<archive::File>& files) {
  for (const archive::File& file : files) {
    if (file.path != manifest_path) continue;
    CALYX_TRY(const std::string text, read_file(folder + '/' + file.path, manifest_bytes_max));
    return services::read_manifest(text);
  }
  return json::Object();
}

/// Unpacks the tarball of `revision` to `folder`, where nothing is.
Result<Done> unpack_revision(const std::string& market_path, const Revision& revision,
                             const std::string& folder) {
  CALYX_TRY(const artifacts::Store store, tarballs(market_path));
  CALYX_TRY(const artifacts::Reader tarball, store.open(revision.sha256));
  std::uint64_t at = 0;
  CALYX_CHECK(archive::unpack(
      [&](std::span<char> out) -> Result<std::size_t> {
        CALYX_TRY(const std::size_t bytes, tarball.read_at(at, out));
        at += bytes;
        return bytes;
      },
      folder));
  return Done{};
}

}  // namespace

namespace engine {

std::string projects_path(std::string_view market_path) { return std::string(market_path) + "-projects"; }

Result<PreparedFolder> project_folder(Market& market, AccountNumber account, const std::string& project,
                                      std::int64_t revision) {
  CALYX_TRY(const std::string base, market.folders_path());
  Instant created{};
  CALYX_TRY(const services::FoundRevision found,
            market.history([&](MarketStore& store) -> Result<services::FoundRevision> {
              CALYX_TRY(services::FoundRevision one,
                        services::find_revision(store, account, project, revision));
              CALYX_TRY(const store::ProjectRow row, row_of(store, one.project.number));
              created = row.at;
              return one;
            }));
  const ProjectState& state = found.project;
  std::string folder =
      projects_path(base) + '/' + std::to_string(state.number) + '/' + std::to_string(revision);
  const auto prepared = [&] {
    return market.read([&](const Book& book, Instant) -> Result<PreparedFolder> {
      PreparedFolder out{folder, found.revision.sha256,   state.number, book.tag,
                         {},     found.revision.manifest, created};
      if (const services::WalletState* owner = book.wallet(account)) out.wallet = owner->id;
      return out;
    });
  };
  // One that is not the active revision, or not to be prepared anew, is as good as it was when it was made.
  const bool prepares = state.active == revision && state.warmed != revision && state.deleted.us == 0;
  std::error_code ignored;
  if (std::filesystem::is_directory(folder, ignored) && (!prepares || market.options().read_only))
    return prepared();
  if (market.options().read_only)
    return fail(Reason::read_only,
                "the revision was not unpacked yet, and the market was opened to be read only");

  CALYX_TRY(const std::string home, project_home(base, state.number));
  {
    CALYX_TRY(const FolderLock lock, FolderLock::take(home + "/prepare.lock"));
    static_cast<void>(lock);
    CALYX_TRY(const Revision row, services::view(found.revision));
    if (std::filesystem::is_directory(folder, ignored) && !holds(folder, row))
      CALYX_CHECK(remove_folder(folder));
    if (!std::filesystem::is_directory(folder, ignored)) CALYX_CHECK(unpack_revision(base, row, folder));
  }
  if (prepares) {
    CALYX_CHECK(market.write(
        [&](Transaction& tx) { return services::mark_warm(tx, found.project.number, revision); }));
    market.workshop().tell();
  }
  return prepared();
}

}  // namespace engine

Result<Project> Session::create_project(const ProjectCreate& asked) {
  CALYX_TRY(const ProjectState state,
            market_->write([&](Transaction& tx) { return services::create_project(tx, principal_, asked); }));
  static_cast<void>(state);
  return project({.name = asked.name, .wallet = asked.wallet});
}

Result<Listed<Project>> Session::projects(const Page& page, const std::optional<WalletId>& wallet) {
  if (page.limit < 1 || page.limit > 1000)
    return services::field_error(Reason::field_value, "limit",
                                 "is " + std::to_string(page.limit) + ", takes 1 to 1000");
  ProjectNumber after = 0;
  const char* const end = page.after.data() + page.after.size();
  if (const auto read = std::from_chars(page.after.data(), end, after);
      !page.after.empty() && (read.ec != std::errc() || read.ptr != end || after < 0))
    return services::field_error(Reason::field_value, "after", "is not the `next` of a page");

  struct Reading {
    bool all = false;
    std::vector<AccountNumber> accounts;
    std::vector<WalletId> wallets;  ///< By number less `wallet_first`.
  };
  CALYX_TRY(const Reading by, market_->read([&](const Book& book, Instant) -> Result<Reading> {
    CALYX_TRY(const Caller caller, services::authorize(book, principal_, services::For::derived_keys));
    Reading out{.all = caller.is_operator() && !wallet};
    CALYX_TRY(const AccountNumber account, services::project_account(book, caller, wallet));
    out.accounts.push_back(account);
    if (!wallet && !caller.is_operator())
      for (const AccountNumber child : book.wallet(account)->children) out.accounts.push_back(child);
    for (const services::WalletState& one : book.wallets) out.wallets.push_back(one.id);
    return out;
  }));
  return market_->history([&](MarketStore& store) -> Result<Listed<Project>> {
    Listed<Project> out;
    std::size_t looked_at = 0;
    CALYX_CHECK(store.projects().all_from(after, [&](const ProjectState& state) -> Result<bool> {
      if (out.items.size() == page.limit || ++looked_at > projects_looked_at) {
        out.next = std::to_string(state.number - 1);
        return false;
      }
      if (state.deleted.us != 0) return true;
      if (!by.all && std::find(by.accounts.begin(), by.accounts.end(), state.account) == by.accounts.end())
        return true;
      std::optional<WalletId> owner;
      if (state.account != 0)
        owner = by.wallets[static_cast<std::size_t>(state.account - core::wallet_first)];
      CALYX_TRY(Project one, shown(store, state, owner));
      out.items.push_back(std::move(one));
      return true;
    }));
    return out;
  });
}

Result<Project> Session::project(const ProjectName& project) {
  CALYX_TRY(const Reached by, reach(*market_, principal_, project));
  return market_->history([&](MarketStore& store) -> Result<Project> {
    CALYX_TRY(const ProjectState state, services::find_project(store, by.account, project.name));
    return shown(store, state, by.wallet);
  });
}

Result<Project> Session::change_project(const ProjectName& name, const ProjectChange& change) {
  CALYX_CHECK(market_->write(
      [&](Transaction& tx) { return services::change_project(tx, principal_, name, change); }));
  return project(name);
}

Result<Done> Session::delete_project(const ProjectName& project) {
  CALYX_CHECK(
      market_->write([&](Transaction& tx) { return services::delete_project(tx, principal_, project); }));
  market_->workshop().tell();
  return Done{};
}

Result<Revision> Session::push_project(const ProjectName& project, std::string_view tarball) {
  return push_project(project, TarballSource(archive::source_of(tarball)));
}

Result<Revision> Session::push_project(const ProjectName& project, const TarballSource& source) {
  CALYX_CHECK(market_->usable());
  CALYX_CHECK(reach(*market_, principal_, project, services::For::whole_keys));
  CALYX_TRY(const ProjectState state,
            with_project(*market_, principal_, project, [](MarketStore&, const ProjectState& found) {
              return Result<ProjectState>(found);
            }));
  if (market_->options().read_only) return fail(Reason::read_only, "the market was opened to be read only");
  CALYX_TRY(const std::string base, market_->folders_path());
  if (!archive::built())
    return fail(Reason::not_built, "this build unpacks no tarballs: it has no libarchive");
  CALYX_TRY(const std::string home, project_home(base, state.number));

  store::RevisionRow row{.project = state.number};
  {
    CALYX_TRY(const Incoming incoming, Incoming::make(home));
    CALYX_TRY(const artifacts::Store store, tarballs(base));
    CALYX_TRY(artifacts::Upload upload, store.begin());
    const archive::Source kept = [&](std::span<char> out) -> Result<std::size_t> {
      CALYX_TRY(const std::size_t bytes, source(out));
      CALYX_CHECK(upload.write({out.data(), bytes}));
      return bytes;
    };
    CALYX_TRY(const archive::Unpacked unpacked,
              archive::unpack(kept, incoming.files(), {.archive_bytes_max = tarball_bytes_max},
                              archive::Keeping::scratch));
    CALYX_TRY(const json::Object manifest, manifest_of(incoming.files(), unpacked.files));
    std::vector<ProjectFile> files;
    files.reserve(unpacked.files.size());
    for (const archive::File& file : unpacked.files)
      files.push_back({.path = file.path, .size = file.size, .mode = file.mode, .sha256 = file.sha256});
    row.files = services::files_text(files);
    row.manifest = json::canonical(json::Value(manifest));
    // Durable before the row that names it.
    CALYX_TRY(const artifacts::Stored stored, upload.finish(Instant{market_->seams().now_us()}));
    row.sha256 = stored.sha256;
    row.size = stored.size;
  }
  CALYX_TRY(const services::Published published, market_->write([&](Transaction& tx) {
    return services::publish_revision(tx, principal_, project, row);
  }));
  market_->workshop().tell();
  return market_->history([&](MarketStore& store) -> Result<Revision> {
    CALYX_TRY(Revision revision, services::view(published.row));
    Revision before;
    if (published.before != 0) {
      CALYX_TRY(const std::optional<store::RevisionRow> old,
                store.projects().revision(published.row.project, published.before));
      if (old) {
        CALYX_TRY(before, services::view(*old));
      }
    }
    archive::TarballDiff diff = archive::tarball_diff(archive_files(before), archive_files(revision));
    revision.tarball_diff = {std::move(diff.added), std::move(diff.removed), std::move(diff.changed)};
    return revision;
  });
}

Result<ProjectStatus> Session::project_status(const ProjectName& project) {
  return with_project(*market_, principal_, project, [](MarketStore&, const ProjectState& state) {
    return Result<ProjectStatus>(services::status_of(state));
  });
}

Result<ProjectStatusDetails> Session::project_status_details(const ProjectName& project) {
  CALYX_TRY(ProjectStatusDetails out,
            with_project(*market_, principal_, project,
                         [](MarketStore& store, const ProjectState& state) -> Result<ProjectStatusDetails> {
                           ProjectStatusDetails read{.status = services::status_of(state)};
                           if (state.active == 0) return read;
                           CALYX_TRY(const std::optional<store::RevisionRow> row,
                                     store.projects().revision(state.number, state.active));
                           if (row) {
                             CALYX_TRY(read.revision, services::view(*row));
                           }
                           return read;
                         }));
  const auto note = [&](const char* code, std::string message, const char* action) {
    out.diagnostics.push_back({code, std::move(message), action});
  };
  if (!out.revision) {
    note("nothing_pushed", "the project has no revision yet", "push a tarball");
    return out;
  }
  const Revision& revision = *out.revision;
  if (Result<std::string> base = market_->folders_path(); base.ok()) {
    Reason kept =
        Reason::artifact_unknown;  // also where the whole folder is gone, which nobody makes to look
    if (std::error_code ignored; std::filesystem::is_directory(artifacts::folder_path(*base), ignored)) {
      const Result<artifacts::Store> store = tarballs(*base);
      kept = store.ok() ? store->open(revision.sha256).reason() : store.reason();
    }
    if (kept == Reason::artifact_unknown)
      note("tarball_missing", "the tarball of the active revision is no longer kept", "push it again");
    else if (kept != Reason::none)
      note("tarball_unreadable",
           "the tarball of the active revision can't be read: " + std::string(word(kept)),
           "look at the folder of artifacts beside the market");
  }
  if (out.status.revision_state == RevisionState::invalidated)
    note("invalidated", "the runtime is to be prepared anew", "submit a job, or call init ahead of one");
  else if (!out.status.ready_for_jobs)
    note("not_prepared", "the runtime is prepared by the first job", "");
  const auto has = [&](std::string_view path) {
    return std::any_of(revision.files.begin(), revision.files.end(),
                       [&](const ProjectFile& file) { return file.path == path; });
  };
  if (has("Dockerfile"))
    note("dockerfile", "its Dockerfile is built where commands run, if podman or docker is there", "");
  if (const json::Value* sources = revision.manifest.find("data_sources");
      sources != nullptr && !sources->array()->empty())
    note("data_sources",
         std::to_string(sources->array()->size()) +
             " data sources: a task of a host that has no answer for one of them ends as source_unavailable",
         "");
  if (const json::Value* caches = revision.manifest.find("cache_mounts");
      caches != nullptr && !caches->array()->empty())
    note("cache_mounts",
         std::to_string(caches->array()->size()) +
             " cache mounts: kept from task to task on a host with a folder for caches, else each task's own",
         "");
  return out;
}

Result<ProjectStatus> Session::init_project(const ProjectName& project) {
  CALYX_TRY(const Reached by, reach(*market_, principal_, project, services::For::whole_keys));
  CALYX_TRY(const ProjectStatus before, project_status(project));
  if (before.active_revision == 0)
    return fail(Reason::project_not_ready, "nothing was pushed to the project yet",
                json::object({{"project", project.name}}));
  CALYX_CHECK(market_->read([&](const Book& book, Instant now) -> Result<Done> {
    const services::WalletState* payer = book.wallet(by.account);
    if (payer == nullptr) return Done{};  // nobody's, which only an operator reaches
    const Money has{payer->balance.micro + book.due(*payer, now).micro};
    if (has >= init_balance_min) return Done{};
    const Money shortfall{init_balance_min.micro - has.micro};
    return fail(Reason::insufficient_balance,
                "needs " + services::say(init_balance_min) + " FLOPS available, has " + services::say(has),
                json::object({{"wallet_id", payer->id.text()},
                              {"needed", services::number(init_balance_min)},
                              {"available", services::number(has)},
                              {"shortfall", services::number(shortfall)}}));
  }));
  CALYX_CHECK(engine::project_folder(*market_, by.account, project.name, before.active_revision));
  return project_status(project);
}

Result<ProjectStatus> Session::invalidate_project(const ProjectName& project) {
  CALYX_TRY(const ProjectState state, market_->write([&](Transaction& tx) {
    return services::invalidate_project(tx, principal_, project);
  }));
  market_->workshop().tell();
  return services::status_of(state);
}

Result<KvEntry> Session::kv_get(const ProjectName& project, std::string_view key) {
  return with_project(*market_, principal_, project, [&](MarketStore& store, const ProjectState& state) {
    return services::kv_entry(store, state.number, key);
  });
}

Result<KvEntry> Session::kv_put(const ProjectName& project, const KvPut& asked) {
  return market_->write([&](Transaction& tx) { return services::put_kv(tx, principal_, project, asked); });
}

}  // namespace calyx
