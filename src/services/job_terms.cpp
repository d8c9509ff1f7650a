#include "services/job_terms.hpp"

#include <algorithm>
#include <calyx/core/words.hpp>

#include "services/access.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;

std::string pointer_to(std::string_view name) { return std::string("/").append(name); }

Error wrong(std::string_view pointer, const char* takes) {
  return field_error(Reason::field_type, pointer, std::string("must be ") + takes);
}

/// Reads members into typed places; the first fault stays, and what was asked for is remembered.
class Terms {
 public:
  explicit Terms(const json::Object& object, std::string base = {})
      : object_(object), base_(std::move(base)) {}

  const json::Value* find(std::string_view name) {
    asked_.push_back(name);
    const json::Value* value = object_.find(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  void text(std::string_view name, std::string& out, std::size_t most) {
    const json::Value* value = find(name);
    if (value == nullptr) return;
    if (value->string() == nullptr) return fault(wrong(at(name), "a string"));
    out = *value->string();
    check(check_name(at(name), out, most));
  }
  void texts(std::string_view name, std::vector<std::string>& out, std::size_t most, std::size_t bytes_most,
             bool words) {
    const json::Value* value = find(name);
    if (value == nullptr) return;
    if (value->array() == nullptr) return fault(wrong(at(name), "a list of strings"));
    if (value->array()->size() > most)
      return fault(field_error(
          Reason::field_value, at(name),
          "has " + std::to_string(value->array()->size()) + " items, takes at most " + std::to_string(most)));
    for (std::size_t i = 0; i < value->array()->size(); ++i) {
      const std::string where = at(name).append("/").append(std::to_string(i));
      const std::string* item = (*value->array())[i].string();
      if (item == nullptr) return fault(wrong(where, "a string"));
      if (words && (item->size() > bytes_most || item->find('\0') != std::string::npos))
        return fault(field_error(Reason::field_value, where,
                                 "has " + std::to_string(item->size()) + " bytes, takes at most " +
                                     std::to_string(bytes_most) + " without a zero"));
      if (!words) check(check_name(where, *item, bytes_most));
      out.push_back(*item);
    }
  }
  void number(std::string_view name, std::int64_t& out, std::int64_t least, std::int64_t most) {
    const json::Value* value = find(name);
    if (value == nullptr) return;
    if (value->integer() == nullptr) return fault(wrong(at(name), "an integer"));
    out = *value->integer();
    if (out < least || out > most)
      fault(field_error(
          Reason::field_value, at(name),
          "is " + std::to_string(out) + ", takes " + std::to_string(least) + " to " + std::to_string(most)));
  }
  void flag(std::string_view name, bool& out) {
    const json::Value* value = find(name);
    if (value == nullptr) return;
    if (value->boolean() == nullptr) return fault(wrong(at(name), "true or false"));
    out = *value->boolean();
  }
  void money(std::string_view name, std::optional<Money>& out) {
    const json::Value* value = find(name);
    if (value == nullptr) return;
    Result<Money> read = read_amount(at(name), *value);
    if (!read.ok()) return fault(std::move(read).error());
    if (out && *out != *read)
      return fault(field_error(Reason::field_value, at(name), "differs from its other name"));
    out = *read;
    check(check_amount(at(name), *read));
  }
  /// The members of the object at `name`, or null.
  const json::Object* object(std::string_view name) {
    const json::Value* value = find(name);
    if (value == nullptr) return nullptr;
    if (value->object() == nullptr) fault(wrong(at(name), "an object"));
    return value->object();
  }
  void fault(Error error) {
    if (!fault_) fault_ = std::move(error);
  }
  void check(Result<Done> done) {
    if (!done.ok()) fault(std::move(done).error());
  }
  /// The first fault, or the first member that nobody asked for.
  Result<Done> done() {
    if (fault_) return *fault_;
    for (const json::Member& member : object_)
      if (std::find(asked_.begin(), asked_.end(), member.key) == asked_.end())
        return field_error(Reason::field_unknown, at(std::string_view(member.key).substr(0, name_max)),
                           "is not a member of this request");
    return Done{};
  }
  std::string at(std::string_view name) const { return base_ + pointer_to(name); }

 private:
  const json::Object& object_;
  std::string base_;
  std::vector<std::string_view> asked_;
  std::optional<Error> fault_;
};

/// `command`: the words, or one text that is split as a shell would split it.
void read_command(Terms& terms, std::vector<std::string>& out) {
  const json::Value* value = terms.find("command");
  if (value == nullptr) return;
  if (value->string() == nullptr)
    return terms.texts("command", out, job_command_words_max, job_word_bytes_max, true);
  const std::string& line = *value->string();
  const std::string where = terms.at("command");
  if (line.size() > job_command_bytes_max || line.find('\0') != std::string::npos)
    return terms.fault(field_error(Reason::field_value, where,
                                   "has " + std::to_string(line.size()) + " bytes, takes at most " +
                                       std::to_string(job_command_bytes_max) + " without a zero"));
  Result<std::vector<std::string>> words = core::split_words(line);
  if (!words.ok()) return terms.fault(field_error(Reason::field_value, where, words.error().message));
  if (words->empty()) return terms.fault(field_error(Reason::field_value, where, "has no word"));
  if (words->size() > job_command_words_max)
    return terms.fault(field_error(Reason::field_value, where,
                                   "has " + std::to_string(words->size()) + " words, takes at most " +
                                       std::to_string(job_command_words_max)));
  out = *std::move(words);
}

/// `image`: as container tools spell one, `registry:port/name:tag@sha256:…`. It stands on their command line,
/// so it begins with no dash.
void read_image(Terms& terms, std::string& out) {
  terms.text("image", out, job_image_bytes_max);
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool fine =
      out.empty() ||
      ((letter(out.front()) || digit(out.front())) && std::all_of(out.begin(), out.end(), [&](char c) {
         return letter(c) || digit(c) || std::string_view("._-/:@").find(c) != std::string_view::npos;
       }));
  if (!fine)
    terms.fault(field_error(Reason::field_value, terms.at("image"),
                            "is no image's name: letters, digits and ._-/:@, the first a letter or a digit"));
}

void read_requirements(Terms& terms, core::Requirements& out) {
  const json::Object* object = terms.object("requirements");
  if (object == nullptr) return;
  Terms inner(*object, "/requirements");
  inner.number("cpu", out.cpu, 0, 1 << 16);
  inner.number("memory_mb", out.memory_mb, 0, std::int64_t{1} << 30);
  inner.number("gpu_count", out.gpu_count, 0, 1 << 16);
  inner.number("gpu_memory_mb", out.gpu_memory_mb, 0, std::int64_t{1} << 30);
  inner.number("storage_gb", out.storage_gb, 0, std::int64_t{1} << 30);
  inner.text("gpu_type", out.gpu_type, key_text_max);
  inner.text("profile", out.profile, key_text_max);
  terms.check(inner.done());
}

}  // namespace

Result<JobTerms> read_terms(const json::Object& job, std::string_view recipe) {
  JobTerms out;
  Terms terms(job);
  for (const std::string_view member : shape_members) static_cast<void>(terms.find(member));

  terms.text("type", out.type, key_text_max);
  constexpr std::string_view types[] = {"structured_runner", "sweep", "map_reduce", "benchmark"};
  if (std::find(std::begin(types), std::end(types), out.type) == std::end(types))
    terms.fault(field_error(Reason::field_value, "/type",
                            "must be structured_runner, sweep, map_reduce or benchmark"));

  std::string task;
  terms.text("task", task, key_text_max);
  terms.texts("runner_command", out.command, job_command_words_max, job_word_bytes_max, true);
  if (out.command.empty()) {
    read_command(terms, out.command);
    out.bare_result = !out.command.empty();
  } else if (terms.find("command") != nullptr) {
    terms.fault(field_error(Reason::field_value, "/command", "stands beside runner_command, its other name"));
  }
  read_image(terms, out.image);
  const int ways = (task.empty() ? 0 : 1) + (out.command.empty() ? 0 : 1) + (recipe.empty() ? 0 : 1);
  const char* const command = out.bare_result ? "/command" : "/runner_command";
  if (ways > 1)
    terms.fault(recipe.empty() ? field_error(Reason::field_value, "/task",
                                             "stands beside a command: a job runs one of them")
                               : field_error(Reason::field_value, command,
                                             "stands in a recipe's job: the recipe supplies what runs"));
  if (ways == 0)
    terms.fault(field_error(Reason::field_missing, "/runner_command",
                            "is missing, or in its place `command` or `task`"));
  if (!out.image.empty() && out.command.empty())
    terms.fault(field_error(Reason::field_value, "/image", "is given, and no command that runs in it"));
  if (!recipe.empty()) {
    out.work = WorkKind::recipe;
    out.name = recipe;
    if (const json::Value* payload = job.find("payload"))
      if (const json::Value* operation = payload->find("operation"))
        if (operation->string() != nullptr) out.operation = *operation->string();
  } else if (!task.empty()) {
    out.work = WorkKind::task;
    out.name = task;
  } else if (!out.command.empty()) {
    out.name = out.command.front().substr(0, key_text_max);
    if (out.name.empty())
      terms.fault(field_error(Reason::field_value, std::string(command) + "/0", "is empty"));
  }
  terms.text("project", out.project, key_text_max);
  if (out.work == WorkKind::command && out.project.empty() && out.image.empty())
    terms.fault(field_error(Reason::field_missing, "/project",
                            "is missing: a command runs in a project or an image"));

  terms.number("timeout_s", out.timeout_s, 1, job_seconds_max);
  terms.number("max_retries", out.max_retries, 0, job_retries_max);
  std::string priority(word(out.priority));
  terms.text("priority", priority, key_text_max);
  bool known = false;
  for (const JobPriority one : {JobPriority::high, JobPriority::normal, JobPriority::low})
    if (priority == word(one)) {
      out.priority = one;
      known = true;
    }
  if (!known) terms.fault(field_error(Reason::field_value, "/priority", "must be high, normal or low"));
  terms.texts("depends_on", out.depends_on, job_depends_on_max, key_text_max, false);
  terms.flag("allow_partial", out.allow_partial);
  terms.texts("tags", out.tags, job_tags_max, key_text_max, false);
  terms.text("callback_url", out.callback_url, 2048);
  read_requirements(terms, out.requirements);
  if (const json::Object* object = terms.object("checkpointing")) {
    Terms inner(*object, "/checkpointing");
    inner.flag("enabled", out.checkpoints);
    inner.flag("resume_from_latest", out.resumes);
    terms.check(inner.done());
    if (out.resumes && !out.checkpoints)
      terms.fault(field_error(Reason::field_value, "/checkpointing/resume_from_latest",
                              "is set, and `enabled` is not: nothing would be there"));
  }
  terms.money("max_cost", out.max_cost);
  terms.money("max_budget", out.max_cost);
  terms.number("max_parallel", out.max_parallel, 1, integer_max);
  if (terms.find("max_failed_tasks") != nullptr)
    terms.number("max_failed_tasks", out.max_failed_tasks.emplace(), 0, integer_max);
  terms.number("deadline_s", out.deadline_s, 1, job_seconds_max);
  terms.number("queue_ttl_s", out.queue_ttl_s, 1, job_seconds_max);
  terms.flag("idempotent", out.idempotent);
  std::vector<std::string> payees;
  terms.texts("allowed_payees", payees, core::key_list_max, key_text_max, false);
  for (std::size_t i = 0; i < payees.size(); ++i) {
    const auto id = WalletId::read(payees[i]);
    if (!id)
      terms.fault(
          field_error(Reason::field_value, "/allowed_payees/" + std::to_string(i), "is no wallet's id"));
    else
      out.allowed_payees.push_back(*id);
  }
  terms.text("retry_of", out.retry_of, key_text_max);
  terms.text("resume_from", out.resume_from, key_text_max);
  CALYX_CHECK(terms.done());
  return out;
}

}  // namespace calyx::services
