#include "engine/places.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

namespace calyx::engine {
namespace {

using runner::Enclosure;
using Words = std::vector<std::string>;

constexpr std::string_view automatic = "auto", none = "none";
constexpr std::int64_t answer_ms = 10'000;

/// Where `name` is among the folders that commands are looked for in; empty where it is not.
std::string found(const char* name) {
  for (const char* folder : {"/usr/local/bin/", "/usr/bin/", "/bin/"}) {
    std::string path = std::string(folder) + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

/// A tool of the host's, run for what it says.
runner::Task tool_task(Words argv, std::int64_t timeout_ms) {
  runner::Task task;
  task.argv = std::move(argv);
  task.trusted = true;
  task.result_optional = true;
  task.limits.timeout_ms = timeout_ms;
  task.limits.file_mb = task.limits.disk_mb = task.limits.open_files = 0;
  return task;
}

bool is_path_or(std::string_view said, std::initializer_list<std::string_view> words) {
  return (!said.empty() && said.front() == '/') || std::find(words.begin(), words.end(), said) != words.end();
}

Error not_a_tool(const char* field, const std::string& said) {
  return fail(Reason::options_invalid, "is " + said.substr(0, 200) + ", takes auto, none or an absolute path",
              core::json::object({{"field", field}}));
}

Error no_place(const std::string& why) {
  return fail(Reason::bare_host_refused,
              "commands have no place to run: " + why + ", and allow_bare_host is not set",
              core::json::object({{"field", "/commands/allow_bare_host"}}));
}

}  // namespace

Places::Places(const CommandOptions& options, runner::Runner& runner)
    : runner_(runner), bare_(options.allow_bare_host), network_(options.network), roots_(options.roots) {}

bool Places::works(const std::string& program, Words words, const std::function<bool()>& stopped) const {
  words.insert(words.begin(), program);
  return runner_.run(tool_task(std::move(words), answer_ms), {.cancelled = stopped}).how ==
         runner::How::succeeded;
}

bool Places::has(const std::string& image, const std::function<bool()>& stopped) const {
  return works(tool_->program, {"image", "inspect", "--format", "{{.Id}}", image}, stopped);
}

Result<Done> Places::check(const CommandOptions& options) {
  if (!is_path_or(options.containers, {automatic, none}))
    return not_a_tool("/commands/containers", options.containers);
  if (!is_path_or(options.bubblewrap, {automatic, none}))
    return not_a_tool("/commands/bubblewrap", options.bubblewrap);
  for (const ImageRoot& root : options.roots)
    if (root.image.empty() || !is_path_or(root.folder, {}))
      return fail(Reason::options_invalid, "an image's root is not named, or its folder is not absolute",
                  core::json::object({{"field", "/commands/roots"}}));
  const bool no_roots = options.roots.empty() || options.bubblewrap == none;
  if (!options.allow_bare_host && options.containers == none && no_roots)
    return no_place("containers and roots are not used");
  return Done{};
}

Result<std::unique_ptr<Places>> Places::find(const CommandOptions& options, runner::Runner& runner) {
  std::unique_ptr<Places> places(new Places(options, runner));
  const auto try_tool = [&](const std::string& program) {
    if (places->tool_ || program.empty()) return;
    const bool podman = std::filesystem::path(program).filename() == "podman";
    // The one has no daemon and is asked for its store, the other for its daemon.
    if (places->works(program, {podman ? "info" : "version"}))
      places->tool_ =
          Enclosure{.kind = podman ? Enclosure::Kind::podman : Enclosure::Kind::docker, .program = program};
  };
  if (options.containers == automatic) {
    try_tool(found("podman"));
    try_tool(found("docker"));
  } else if (options.containers != none) {
    try_tool(options.containers);
    if (!places->tool_)
      return fail(Reason::options_invalid, "the container tool " + options.containers + " does not answer",
                  core::json::object({{"field", "/commands/containers"}}));
  }
  const std::string bubble = options.bubblewrap == automatic ? found("bwrap")
                             : options.bubblewrap == none    ? std::string()
                                                             : options.bubblewrap;
  // Some kernels give no namespaces, to nobody or to nobody but root.
  if (!options.roots.empty() && !bubble.empty() &&
      places->works(bubble, {"--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "/bin/true"}))
    places->bubble_ = Enclosure{.kind = Enclosure::Kind::bubblewrap, .program = bubble};
  if (!places->bare_ && !places->tool_ && !places->bubble_)
    return no_place("neither podman nor docker answers, bubblewrap has no root or does not work here");
  return places;
}

std::vector<std::string> Places::images() const {
  if (tool_ || bare_) return {std::string(any_image)};
  std::vector<std::string> names;
  if (bubble_)
    for (const ImageRoot& root : roots_) names.push_back(root.image);
  return names;
}

Result<std::optional<Enclosure>> Places::of(const std::string& image) const {
  if (!image.empty() && tool_) {
    Enclosure out = *tool_;
    out.image = image;
    return std::optional(std::move(out));
  }
  const auto root =
      std::find_if(roots_.begin(), roots_.end(), [&](const ImageRoot& one) { return one.image == image; });
  if (bubble_ && root != roots_.end()) {
    Enclosure out = *bubble_;
    out.root = root->folder;
    return std::optional(std::move(out));
  }
  if (bare_) return std::optional<Enclosure>();
  return fail(Reason::bare_host_refused,
              image.empty() ? "a command without an image runs on the bare host, and its worker has no "
                              "allow_bare_host"
                            : "its worker has neither podman nor docker, no root of the job's image, and no "
                              "allow_bare_host");
}

Result<std::optional<Enclosure>> Places::of_project(const std::string& folder, const core::Digest& tarball,
                                                    std::int64_t timeout_ms,
                                                    const std::function<bool()>& stopped) {
  std::error_code ignored;
  if (!tool_ || !std::filesystem::is_regular_file(folder + "/Dockerfile", ignored)) return of({});
  // By its contents: the tool's store is the machine's, and other markets give the same numbers.
  const std::string image = "localhost/calyx-project:" + core::hex(tarball);
  CALYX_CHECK(build_once(image, folder, timeout_ms, stopped));
  return of(image);
}

Result<Done> Places::build_once(const std::string& image, const std::string& folder, std::int64_t timeout_ms,
                                const std::function<bool()>& stopped) {
  for (std::unique_lock lock(mutex_);;) {
    const auto [known, ours] = images_.try_emplace(image, Image::being_built);
    if (ours) break;
    if (known->second == Image::built) return Done{};
    // Asked without the lock: a lease is looked after by whoever asks whether it is lost.
    lock.unlock();
    if (stopped()) return fail(Reason::stopped, "the wait for a build was stopped");
    lock.lock();
    constexpr std::chrono::milliseconds ask_every(50);
    changed_.wait_for(lock, ask_every, [&] {
      const auto now = images_.find(image);
      return now == images_.end() || now->second == Image::built;
    });
  }
  // Whoever waits goes on, also where the build failed, or did not come to an end: then the next one tries.
  bool built = false;
  const auto settle = [&](const Places*) {
    {
      const std::lock_guard lock(mutex_);
      if (built)
        images_[image] = Image::built;
      else
        images_.erase(image);
    }
    changed_.notify_all();
  };
  const std::unique_ptr<const Places, decltype(settle)> ends(this, settle);
  CALYX_CHECK(build_missing(image, folder, timeout_ms, stopped));
  built = true;
  return Done{};
}

Result<Done> Places::build_missing(const std::string& image, const std::string& folder,
                                   std::int64_t timeout_ms, const std::function<bool()>& stopped) {
  if (has(image, stopped)) return Done{};
  const runner::Ended built = build(image, folder, timeout_ms, stopped);
  if (built.how == runner::How::succeeded) return Done{};
  if (built.how == runner::How::cancelled) return fail(Reason::stopped, "the build was stopped");
  constexpr std::size_t shown = 2'000;
  const std::string said = built.err.text();
  return fail(Reason::unsupported, "its Dockerfile cannot be built: " + built.message + "; " +
                                       said.substr(said.size() - std::min(said.size(), shown)));
}

void Places::look_again(const std::string& image, const std::function<bool()>& stopped) {
  if (has(image, stopped)) return;
  const std::lock_guard lock(mutex_);
  // One that is being built is its builder's to settle.
  const auto known = images_.find(image);
  if (known != images_.end() && known->second == Image::built) images_.erase(known);
}

runner::Ended Places::build(const std::string& image, const std::string& folder, std::int64_t timeout_ms,
                            const std::function<bool()>& stopped) {
  Words words = {tool_->program, "build", "--tag", image};
  if (!network_) words.insert(words.end(), {"--network", "none"});
  words.push_back(folder);
  return runner_.run(tool_task(std::move(words), timeout_ms), {.cancelled = stopped});
}

}  // namespace calyx::engine
