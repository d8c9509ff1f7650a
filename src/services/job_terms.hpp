/// \file
/// On what terms a job runs: the members of a submit that are not its shape (core/job_shape.hpp), checked.
#pragma once

#include <calyx/core/ids.hpp>
#include <calyx/core/job.hpp>
#include <calyx/core/result.hpp>
#include <string>
#include <vector>

namespace calyx::services {

/// What executes a job's tasks.
enum class WorkKind : std::uint8_t { task, recipe, command };
constexpr std::string_view word(WorkKind kind) noexcept {
  constexpr std::string_view words[] = {"task", "recipe", "command"};
  return words[static_cast<std::size_t>(kind)];
}

struct JobTerms {
  WorkKind work = WorkKind::command;
  std::string name;                  ///< Of the task or the recipe; a command's first word.
  std::string operation;             ///< A recipe's.
  std::vector<std::string> command;  ///< `runner_command` or `command`, for `WorkKind::command`.
  std::string image;                 ///< The container image that it runs in; empty: its project's, or none.
  bool bare_result = false;          ///< Whether a command that leaves no result has one: null.
  std::string type = "structured_runner";
  std::string project;
  std::int64_t timeout_s = 3600;
  std::int64_t max_retries = 0;
  JobPriority priority = JobPriority::normal;
  std::vector<std::string> depends_on, tags;
  bool allow_partial = false;  ///< A job that it depends on may end `partial`.
  std::string callback_url;
  core::Requirements requirements;
  bool checkpoints = false, resumes = false;
  std::optional<Money> max_cost;
  std::int64_t max_parallel = 0;                 ///< 0: as many as there are workers.
  std::optional<std::int64_t> max_failed_tasks;  ///< Absent: all may fail.
  std::int64_t deadline_s = 0;                   ///< From submission to its end; 0: none.
  std::int64_t queue_ttl_s = 0;                  ///< From submission to its first task; 0: none.
  bool idempotent = false;                       ///< A task may run twice at once.
  std::string retry_of;                          ///< The job whose failed tasks this one tries again.
  std::vector<WalletId> allowed_payees;          ///< Whose workers may do its tasks; empty: anybody's.
  std::string resume_from;                       ///< The sweep whose finished points this one takes over.
};

/// Whether a job of these terms may begin once one that it depends on has ended so.
constexpr bool lets_go_on(const JobTerms& terms, JobStatus ended) noexcept {
  return ended == JobStatus::completed || (ended == JobStatus::partial && terms.allow_partial);
}

/// Members that say what the job splits into, for all types: core/job_shape.hpp judges them.
inline constexpr std::string_view shape_members[] = {
    "payload",       "fan_out", "batch_size", "merge_strategy", "parameters",  "sample",
    "fixed_payload", "rank_by", "split",      "reduce",         "candidates",  "shared_payload",
    "replicas",      "seed",    "key_field",  "weight",         "on_duplicate"};

inline constexpr std::size_t job_tags_max = 20;
inline constexpr std::size_t job_depends_on_max = 200;
inline constexpr std::size_t job_command_words_max = 256;
inline constexpr std::size_t job_word_bytes_max = 4096;
inline constexpr std::size_t job_command_bytes_max = 65'536;  ///< As one text.
inline constexpr std::size_t job_image_bytes_max = 512;
inline constexpr std::int64_t job_seconds_max = 31'536'000;
inline constexpr std::int64_t job_retries_max = 100;

/// Reads `job`; `recipe` is the one that the request's target named, or empty. A member that is neither a
/// term nor one of a shape is refused. A `command` that is a text is split into words (core/words.hpp).
/// Fails: `field_missing`, `field_unknown`, `field_type`, `field_value`,
/// `amount_…`, each with the member's JSON pointer at `field`.
Result<JobTerms> read_terms(const core::json::Object& job, std::string_view recipe);

}  // namespace calyx::services
