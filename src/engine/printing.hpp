/// \file
/// What a command prints, as those who may read its job see it: as text, without this machine's paths, and as
/// much as is kept.
#pragma once

#include <calyx/core/printed.hpp>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/runner.hpp"

namespace calyx::engine {

/// What names something of this machine, and the word that is shown in its place.
class ShownNames {
 public:
  /// An empty `name` is none.
  void add(std::string name, std::string_view shown);
  /// `path`, and what it leads to where links are on its way.
  void add_path(const std::string& path, std::string_view shown);
  /// `text` with the words in place.
  std::string shown(std::string text) const { return take(text, true); }
  /// What of `pending` can be shown, which is taken from it: its end may be the beginning of a name, unless
  /// that is the `whole` of it.
  std::string take(std::string& pending, bool whole) const;
  std::size_t longest() const noexcept { return names_.empty() ? 0 : names_.front().first.size(); }

 private:
  std::vector<std::pair<std::string, std::string>> names_;  ///< The longest first.
  std::string firsts_;                                      ///< The bytes that they begin with.
};

/// One stream of it. However much there is, a call reads little more than what is kept.
class ShownStream {
 public:
  /// Takes `bytes` that follow those before; the `whole` of it has come with them.
  void add(std::string_view bytes, const ShownNames& names, bool whole);
  /// Takes what `log` has since the last call; whether that was anything.
  bool look(const runner::Log& log, const ShownNames& names, bool whole);
  core::KeptText& kept() noexcept { return kept_; }

 private:
  void pass_over(std::uint64_t bytes, const ShownNames& names);

  std::uint64_t offset_ = 0;  ///< Of what comes next in the log.
  std::string raw_;           ///< What may be the beginning of a name,
  std::string bytes_;         ///< and of a character.
  bool torn_ = false;         ///< What comes next may be the end of a name.
  core::KeptText kept_;
};

/// Both streams of a task that runs.
class Printing {
 public:
  Printing(runner::Log out, runner::Log err, ShownNames names)
      : out_log_(std::move(out)), err_log_(std::move(err)), names_(std::move(names)) {}
  /// Whether there is something to tell, and it is time: the more there is, the more seldom it is told, so
  /// that what is written for a task is bounded by its time.
  bool has_news();
  Printed all(bool whole);

 private:
  runner::Log out_log_, err_log_;
  ShownNames names_;
  ShownStream out_, err_;
  std::chrono::steady_clock::time_point due_{};
};

}  // namespace calyx::engine
