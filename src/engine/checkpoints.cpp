#include "engine/checkpoints.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/folders.hpp"
#include "engine/market.hpp"

namespace calyx::engine {
namespace {

namespace fs = std::filesystem;

std::string all_checkpoints(const std::string& market_path) { return market_path + "-checkpoints"; }

Error failure(int number) { return folder_failure("a task's checkpoint", number); }

/// A descriptor that closes itself.
class Folder {
 public:
  explicit Folder(int number) noexcept : number_(number) {}
  Folder(Folder&& other) noexcept : number_(other.release()) {}
  Folder& operator=(Folder&&) = delete;
  ~Folder() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }
  int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

/// What a function's checkpoint is called.
constexpr const char* state_name = "state";

/// Writes all of `bytes`. False: `errno` says why.
bool write_all(int file, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file, bytes.data(), bytes.size());
    if (put < 0 && errno != EINTR) return false;
    if (put > 0) bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

}  // namespace

Result<std::string> kept_state(const Market& market, const Attempt& attempt) {
  CALYX_TRY(const std::string market_path, market.folders_path());
  const Folder top(find_folder(AT_FDCWD, all_checkpoints(market_path)));
  const Folder of_job(top.get() < 0 ? -1 : find_folder(top.get(), attempt.job.text()));
  const Folder folder(of_job.get() < 0 ? -1 : find_folder(of_job.get(), std::to_string(attempt.task)));
  const Folder file(folder.get() < 0 ? -1
                                     : ::openat(folder.get(), state_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) return std::string();
  struct stat is {};
  if (file.get() < 0 || ::fstat(file.get(), &is) != 0) return failure(errno);
  if (!S_ISREG(is.st_mode)) return failure(EINVAL);
  if (is.st_size > static_cast<off_t>(checkpoint_bytes_max))
    return fail(Reason::too_large, "a checkpoint of " + std::to_string(is.st_size) + " bytes");
  std::string bytes(static_cast<std::size_t>(is.st_size), '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + have, bytes.size() - have);
    if (got < 0 && errno != EINTR) return failure(errno);
    if (got == 0) return failure(EIO);  // it became shorter, which no rename does
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  return bytes;
}

Result<Done> keep_state(const Market& market, const Attempt& attempt, std::string_view bytes) {
  if (bytes.size() > checkpoint_bytes_max)
    return fail(Reason::too_large, "has " + std::to_string(bytes.size()) + " bytes, at most " +
                                       std::to_string(checkpoint_bytes_max) + " are kept");
  CALYX_TRY(const std::string market_path, market.folders_path());
  const Folder top(open_folder(AT_FDCWD, all_checkpoints(market_path)));
  if (top.get() < 0) return failure(errno);
  const Folder of_job(open_folder(top.get(), attempt.job.text()));
  if (of_job.get() < 0) return failure(errno);
  const Folder folder(open_folder(of_job.get(), std::to_string(attempt.task)));
  if (folder.get() < 0) return failure(errno);
  // Each attempt, and each process, has a name of its own to write under.
  std::string name = "next-" + std::to_string(attempt.number);
  name.append("-").append(std::to_string(::getpid()));
  const auto written = [&]() -> bool {
    const Folder file(
        ::openat(folder.get(), name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    return file.get() >= 0 && write_all(file.get(), bytes) && ::fsync(file.get()) == 0;
  };
  if (!written() || ::renameat(folder.get(), name.c_str(), folder.get(), state_name) != 0 ||
      ::fsync(folder.get()) != 0 || ::fsync(of_job.get()) != 0 || ::fsync(top.get()) != 0) {
    const int number = errno;
    ::unlinkat(folder.get(), name.c_str(), 0);
    return failure(number);
  }
  return Done{};
}

Result<Checkpoint> Checkpoint::open(Market& market, JobId job, std::uint64_t task, bool resumes,
                                    const std::function<bool()>& stopped) {
  CALYX_TRY(const std::string market_path, market.folders_path());
  const std::string all = all_checkpoints(market_path);
  const std::string name = std::to_string(task);
  for (;;) {
    const Folder top(open_folder(AT_FDCWD, all));
    if (top.get() < 0) return failure(errno);
    const Folder of_job(open_folder(top.get(), job.text()));
    if (of_job.get() < 0) return failure(errno);
    Folder folder(open_folder(of_job.get(), name));
    if (folder.get() < 0) return failure(errno);
    if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) return failure(errno);
      if (stopped()) return fail(Reason::stopped, "the attempt was stopped before it began");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    // Somebody may have removed it between the two, and made another one.
    struct stat mine {
    }, named{};
    if (::fstat(folder.get(), &mine) != 0 ||
        ::fstatat(of_job.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        mine.st_ino != named.st_ino || mine.st_dev != named.st_dev)
      continue;
    std::string path = all;
    path.append("/").append(job.text()).append("/").append(name);
    if (!resumes) {
      std::error_code failed;
      for (fs::directory_iterator left(path, failed), end; !failed && left != end; left.increment(failed))
        fs::remove_all(left->path(), failed);  // a link goes, and not what it leads to
      if (failed) return failure(failed.value());
    }
    return Checkpoint(std::move(path), folder.release());
  }
}

Checkpoint::Checkpoint(Checkpoint&& other) noexcept
    : path_(std::move(other.path_)), folder_(std::exchange(other.folder_, -1)) {}

Checkpoint::~Checkpoint() {
  if (folder_ >= 0) ::close(folder_);
}

void drop_checkpoints(Market& market, services::JobNumber job) noexcept {
  try {
    const Result<std::string> market_path = market.folders_path();
    std::error_code failed;
    if (!market_path.ok() || !fs::exists(all_checkpoints(*market_path), failed)) return;
    const Result<std::uint32_t> tag =
        market.read([](const services::Book& book, Instant) -> Result<std::uint32_t> { return book.tag; });
    if (!tag.ok()) return;
    const Result<std::string> name = market.history([&](store::MarketStore& store) -> Result<std::string> {
      CALYX_TRY(const auto known, market.known_jobs().get(store, job));
      CALYX_TRY(const std::optional<store::JobState> state, store.jobs().state(job));
      const bool keeps = known->terms.checkpoints || known->terms.work != services::WorkKind::command;
      const bool goes = keeps && state && is_terminal(state->status);
      return goes ? services::job_id_of(*tag, known->row).text() : std::string();
    });
    if (name.ok() && !name->empty()) fs::remove_all(all_checkpoints(*market_path) + '/' + *name, failed);
  } catch (const std::exception&) {  // no memory left
  }
}

void sweep_checkpoints(Market& market) noexcept {
  try {
    const Result<std::string> market_path = market.folders_path();
    if (!market_path.ok()) return;
    std::error_code failed;
    for (fs::directory_iterator left(all_checkpoints(*market_path), failed), end; !failed && left != end;
         left.increment(failed))
      if (const auto job = JobId::read(left->path().filename().string()))
        drop_checkpoints(market, static_cast<services::JobNumber>(job->number()));
  } catch (const std::exception&) {  // no memory left
  }
}

}  // namespace calyx::engine
