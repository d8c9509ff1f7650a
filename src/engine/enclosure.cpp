#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/enclosure.hpp>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "runner/runner.hpp"

namespace calyx {
namespace {

using runner::How;

/// What programs of a distribution are made of. Not `/etc`, `/proc` or `/usr` as a whole: an enclosed
/// compiler reads what its source names.
constexpr std::string_view system_places[] = {
    "/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64",        "/usr/libexec",     "/bin",
    "/lib",     "/lib32",   "/lib64",     "/etc/alternatives", "/etc/ld.so.cache", "/usr/local/lib/gcc"};
constexpr std::int64_t answer_ms = 10'000;

bool is_program(const std::string& path) noexcept {
  struct stat facts;
  return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

void add_if_there(std::vector<std::string>& places, std::string path) {
  if (::access(path.c_str(), R_OK) == 0) places.push_back(std::move(path));
}

std::string variable(const char* name) {
  const char* value = ::secure_getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? std::string() : value;
}

/// A program of the host's, with the host's rights, for what it says; nothing where it fails.
std::optional<std::string> said_by(runner::Runner& runner, std::vector<std::string> argv) {
  runner::Task task;
  task.argv = std::move(argv);
  task.trusted = true;
  task.result_optional = true;
  task.limits.timeout_ms = answer_ms;
  const runner::Ended ended = runner.run(task);
  if (ended.how != How::succeeded) return std::nullopt;
  return ended.out.text();
}

struct Rustc {
  std::string program;
  std::vector<std::string> places;  ///< What it needs to read.
};

/// The first `rustc` that says where its toolchain is. What is found in a PATH may be rustup's, which starts
/// another one and needs more of the host than an enclosed program gets.
std::optional<Rustc> find_rustc(runner::Runner& runner) {
  std::string folders = variable("PATH");
  if (const std::string home = variable("HOME"); !home.empty())
    folders.append(":").append(home).append("/.cargo/bin");
  folders += ":/usr/local/bin:/usr/bin";
  for (std::size_t begin = 0; begin < folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string found = folders.substr(begin, end - begin) + "/rustc";
    begin = end + 1;
    if (found.front() != '/' || !is_program(found)) continue;
    std::optional<std::string> root = said_by(runner, {found, "--print", "sysroot"});
    if (!root) continue;
    while (!root->empty() && (root->back() == '\n' || root->back() == '/')) root->pop_back();
    Rustc out{*root + "/bin/rustc", {}};
    if (root->empty() || root->front() != '/' || !is_program(out.program)) continue;
    if (*root != "/usr")
      for (const char* part : {"/bin", "/lib", "/lib64", "/libexec"}) add_if_there(out.places, *root + part);
    return out;
  }
  return std::nullopt;
}

class Place {
 public:
  static Result<std::shared_ptr<Place>> open(const EnclosureOptions& options) {
    const auto refused = [](const std::string& why) {
      return fail(Reason::bare_host_refused, why + ", and allow_bare_host is not set",
                  core::json::object({{"field", "/allow_bare_host"}}));
    };
    const bool named = !options.bubblewrap.empty() && options.bubblewrap.front() == '/';
    if (!named && options.bubblewrap != "auto" && options.bubblewrap != "none")
      return fail(Reason::options_invalid, "bubblewrap takes auto, none or an absolute path",
                  core::json::object({{"field", "/bubblewrap"}}));
    if (options.bubblewrap == "none" && !options.allow_bare_host) return refused("bubblewrap is not used");
    runner::Options wanted;
    wanted.scratch = options.scratch;
    wanted.helper = options.helper;
    wanted.readable.clear();  // each task says what it reads
    wanted.landlock_required = true;
    CALYX_TRY(std::unique_ptr<runner::Runner> runner, runner::Runner::open(std::move(wanted)));
    auto place = std::make_shared<Place>();
    place->runner_ = std::move(runner);
    if (options.bubblewrap != "none") {
      std::vector<std::string> tools = {"/usr/local/bin/bwrap", "/usr/bin/bwrap", "/bin/bwrap"};
      if (named) tools = {options.bubblewrap};
      for (const std::string& tool : tools) {
        if (!is_program(tool)) continue;
        // Some kernels give no namespaces, to nobody or to nobody but root.
        if (said_by(*place->runner_,
                    {tool, "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"}))
          place->bubble_ = tool;
        break;
      }
    }
    if (place->bubble_.empty() && !options.allow_bare_host) return refused("bubblewrap does not work here");
    return place;
  }

  Result<EnclosedEnd> run(const EnclosedTask& asked, const std::function<bool()>& stopped) {
    runner::Task task;
    task.argv = asked.argv;
    for (const std::string_view path : system_places) add_if_there(task.readable, std::string(path));
    if (!asked.tool.empty()) {
      if (asked.tool != "rustc")
        return fail(Reason::unsupported, "no enclosed program is given " + asked.tool.substr(0, 100),
                    core::json::object({{"tool", asked.tool}}));
      const std::lock_guard lock(mutex_);  // one looks for it, others wait
      if (!rustc_) rustc_ = find_rustc(*runner_);
      if (!rustc_)
        return fail(Reason::file_missing, "there is no rustc on this host that answers",
                    core::json::object({{"tool", asked.tool}}));
      task.readable.insert(task.readable.end(), rustc_->places.begin(), rustc_->places.end());
      task.environment.emplace_back("RUSTC", rustc_->program);
    }
    task.inputs.reserve(asked.files.size());
    for (const EnclosedFile& file : asked.files)
      task.inputs.push_back(
          {file.name, [&file](std::uint64_t offset, std::span<char> out) -> Result<std::size_t> {
             const std::size_t at = std::min<std::size_t>(offset, file.bytes.size());
             return file.bytes.copy(out.data(), out.size(), at);
           }});
    if (!bubble_.empty())
      task.enclosure = runner::Enclosure{.kind = runner::Enclosure::Kind::bubblewrap, .program = bubble_};
    task.result_optional = true;
    task.limits.timeout_ms = asked.timeout_ms;
    task.limits.cpu_s = asked.cpu_s;
    task.limits.memory_mb = asked.memory_mb;
    task.limits.disk_mb = task.limits.file_mb = asked.disk_mb;
    task.limits.artifacts = 0;
    const runner::Ended ended = runner_->run(task, {.cancelled = stopped});
    if (ended.how == How::cancelled) return fail(Reason::stopped, "the enclosed program was stopped");
    if (ended.how == How::not_started)
      return fail(ended.why == "landlock" ? Reason::bare_host_refused : Reason::io_error, ended.message);
    EnclosedEnd out{.how = std::string(word(ended.how)), .code = ended.code};
    if (ended.how == How::succeeded || ended.how == How::exited_nonzero || ended.how == How::result_missing ||
        ended.how == How::result_invalid)
      out.how = "exited";
    out.out = ended.out.text();
    out.err = ended.err.text();
    return out;
  }

 private:
  std::unique_ptr<runner::Runner> runner_;
  std::string bubble_;  ///< Or empty: Landlock holds what is run.
  std::mutex mutex_;
  std::optional<Rustc> rustc_;
};

}  // namespace

Result<RunEnclosed> open_enclosure(const EnclosureOptions& options) {
  CALYX_TRY(std::shared_ptr<Place> place, Place::open(options));
  return RunEnclosed(
      [place = std::move(place)](const EnclosedTask& task, const std::function<bool()>& stopped) {
        return place->run(task, stopped);
      });
}

}  // namespace calyx
