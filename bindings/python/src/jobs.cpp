/// \file
/// Jobs for Python: what `Session` says of them, tasks that are Python functions, and workers.
///
/// Start at `function_of` (a task's function), `run_here` (a job on the caller's thread) and `PyWorker`.
///
/// What a task reads and gives is JSON as Python has it: None, bool, int, float, str, list and dict.
///
/// Threads: a worker's threads take the GIL for as long as a function runs, and for nothing else.
#include <algorithm>
#include <calyx/core/field.hpp>
#include <cmath>
#include <condition_variable>
#include <optional>

#include "native.hpp"

namespace calyx_python {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// ── JSON, both ways ──

/// As a reader of JSON has it: what is deeper could be written and never be read again.
constexpr std::size_t json_depth_max = 32;

[[noreturn]] void refuse(Reason reason, const std::string& at, const std::string& message) {
  throw Failure(fail(reason, message, json::object({{"field", at}})));
}

std::string text_from(const py::handle& text, const std::string& at) {
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (bytes == nullptr) {
    PyErr_Clear();
    refuse(Reason::not_utf8, at, "has a surrogate, which UTF-8 cannot spell");
  }
  std::string out(bytes, static_cast<std::size_t>(size));
  if (out.find('\0') != std::string::npos) refuse(Reason::zero_character, at, "holds U+0000");
  return out;
}

json::Value integer_from(const py::handle& number, Numbers numbers, const std::string& at) {
  constexpr std::int64_t exact_max = (std::int64_t{1} << 53) - 1;
  int beyond = 0;
  const long long small = PyLong_AsLongLongAndOverflow(number.ptr(), &beyond);
  // Beyond it canonical JSON rounds, and a seed that became another one is worse than none. Of a result the
  // engine says so itself, as far as it can hold it.
  if (beyond != 0 || (numbers == Numbers::finite && (small > exact_max || small < -exact_max)))
    refuse(Reason::field_value, at, "is an integer beyond 2^53 - 1: give its digits as text");
  return {static_cast<std::int64_t>(small)};
}

}  // namespace

json::Value value_from(const py::handle& value, Numbers numbers, const std::string& at, std::size_t depth) {
  if (value.is_none()) return {};
  if (PyBool_Check(value.ptr())) return {value.ptr() == Py_True};
  if (PyLong_Check(value.ptr())) return integer_from(value, numbers, at);
  if (PyFloat_Check(value.ptr())) {
    const double number = PyFloat_AS_DOUBLE(value.ptr());
    if (numbers == Numbers::finite && !std::isfinite(number))
      refuse(Reason::field_value, at, "is a NaN or an infinity, which JSON has no word for");
    return {number};
  }
  if (PyUnicode_Check(value.ptr())) return {text_from(value, at)};
  const bool is_list = PyList_Check(value.ptr()) || PyTuple_Check(value.ptr());
  if (!is_list && !PyDict_Check(value.ptr()))
    refuse(Reason::field_type, at,
           std::string("is ") + Py_TYPE(value.ptr())->tp_name +
               "; takes None, bool, int, float, str, list or dict");
  if (depth == json_depth_max)
    refuse(Reason::too_deep, at, "is nested deeper than " + std::to_string(json_depth_max));
  if (is_list) {
    json::Array items;
    std::size_t index = 0;
    for (const py::handle item : value)
      items.push_back(value_from(item, numbers, at + "/" + std::to_string(index++), depth + 1));
    return {std::move(items)};
  }
  std::vector<json::Member> members;
  for (const auto& [key, item] : py::reinterpret_borrow<py::dict>(value)) {
    if (!PyUnicode_Check(key.ptr()))
      refuse(Reason::field_type, at,
             std::string("has a key that is ") + Py_TYPE(key.ptr())->tp_name + "; takes str");
    std::string name = text_from(key, at);
    json::Value member = value_from(item, numbers, at + "/" + name, depth + 1);
    members.push_back({std::move(name), std::move(member)});
  }
  // A dictionary has no key twice, unless a subclass of str compares as it likes.
  std::optional<json::Object> object = json::Object::of(std::move(members));
  if (!object) refuse(Reason::duplicate_key, at, "has a key twice");
  return {*std::move(object)};
}

py::object plain(const json::Value& value) {
  switch (value.kind()) {
    case json::Kind::real: {
      const json::Real& real = *value.real();
      if (!real.token.empty() && real.token.find_first_of(".eE") == std::string::npos)
        return py::reinterpret_steal<py::object>(PyLong_FromString(real.token.c_str(), nullptr, 10));
      return py::float_(real.value);
    }
    case json::Kind::array: {
      py::list items;
      for (const json::Value& item : *value.array()) items.append(plain(item));
      return items;
    }
    case json::Kind::object: {
      py::dict members;
      for (const json::Member& member : *value.object()) members[out(member.key)] = plain(member.value);
      return members;
    }
    default: return out(value);
  }
}

namespace {

json::Object object_from(const py::dict& value) {
  json::Value read = value_from(value, Numbers::finite, "", 0);
  return std::move(*read.object());
}

// ── records ──

py::object failure_of(calyx::JobFailure failure) {
  return failure == calyx::JobFailure::none ? py::none() : out(word(failure));
}

py::object estimate_of(const calyx::JobEstimate& estimate) {
  return record({{"tasks", out(estimate.tasks)},
                 {"rate_per_second", out(estimate.rate)},
                 {"worst_case", maybe(estimate.worst_case)},
                 {"hold", out(estimate.hold)}});
}
py::object submitted_of(const calyx::JobSubmitted& submitted) {
  return record({{"id", out(submitted.id)},
                 {"status", out(word(submitted.status))},
                 {"estimate", estimate_of(submitted.estimate)},
                 {"replayed", out(submitted.replayed)}});
}
py::object job_of(const calyx::Job& job) {
  const auto& progress = job.progress;
  return record(
      {{"id", out(job.id)},
       {"status", out(word(job.status))},
       {"type", out(job.type)},
       {"work", out(job.work)},
       {"name", out(job.name)},
       {"project", text_or_none(job.project)},
       {"wallet_id", maybe(job.wallet)},
       {"priority", out(word(job.priority))},
       {"tags", texts_of(job.tags)},
       {"depends_on", texts_of(job.depends_on)},
       {"progress", record({{"tasks", out(progress.tasks)},
                            {"completed", out(progress.completed)},
                            {"failed", out(progress.failed)},
                            {"running", out(progress.running)},
                            {"queued", out(progress.queued)}})},
       {"hold", out(job.hold)},
       {"cost", out(job.cost)},
       {"failure", failure_of(job.failure)},
       {"error", text_or_none(job.error)},
       {"recommended_action", text_or_none(std::string(recommended_action(job.failure)))},
       {"input_hash", out(core::output_hash_text(job.input_hash))},
       {"output_hash", job.output_hash ? out(core::output_hash_text(*job.output_hash)) : py::none()},
       {"receipt_id", maybe(job.receipt)},
       {"receipt_ids", list_of(job.receipts, [](const calyx::ReceiptId& id) { return out(id); })},
       {"retry_of", maybe(job.retry_of)},
       {"resume_from", maybe(job.resume_from)},
       {"created_at", out(job.created_at)},
       {"started_at", maybe(job.started_at)},
       {"ended_at", maybe(job.ended_at)}});
}
py::object artifact_of(const calyx::Artifact& artifact) {
  return record({{"id", out(artifact.id)},
                 {"wallet_id", maybe(artifact.wallet)},
                 {"name", out(artifact.name)},
                 {"size", out(artifact.size)},
                 {"sha256", out(artifact.sha256)},
                 {"created_at", out(artifact.created_at)},
                 {"job_id", maybe(artifact.job)},
                 {"task", maybe(artifact.task)}});
}
py::object task_of(const calyx::JobTask& task) {
  return record({{"index", out(task.index)},
                 {"status", out(word(task.status))},
                 {"attempts", out(task.attempts)},
                 {"failure", failure_of(task.failure)},
                 {"error", text_or_none(task.error)},
                 {"payload", plain(task.payload)},
                 {"result", plain(task.result)},
                 {"progress", plain(task.progress)},
                 {"artifacts", list_of(task.artifacts, artifact_of)},
                 {"artifacts_skipped", list_of(task.artifacts_skipped, [](const calyx::SkippedFile& file) {
                    return record({{"name", out(file.name)}, {"why", out(file.why)}});
                  })}});
}
py::object results_of(const calyx::JobResults& results) {
  return record({{"status", out(word(results.status))},
                 {"result", plain(results.result)},
                 {"notes", plain(json::Value(results.notes))},
                 {"tasks", list_of(results.tasks, task_of)},
                 {"next", out(results.next)}});
}
py::object output_of(const calyx::JobOutput& output) {
  const auto text = [](const std::string& bytes) {  // as a command printed it, UTF-8 or not
    return py::reinterpret_steal<py::object>(
        PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
  };
  return record({{"task", out(output.task)},
                 {"attempt", out(output.attempt)},
                 {"stdout", text(output.out)},
                 {"stderr", text(output.err)},
                 {"stdout_dropped_bytes", out(output.out_dropped)},
                 {"stderr_dropped_bytes", out(output.err_dropped)}});
}
py::object event_of(const calyx::JobEvent& event) {
  return record({{"number", out(event.number)}, {"at", out(event.at)}, {"data", plain(event.body)}});
}
py::object prices_of(const core::Prices& prices) {
  py::dict gpus;
  for (const auto& [type, price] : prices.gpus) gpus[out(type)] = out(price);
  return record({{"base", out(prices.base)},
                 {"cpu", out(prices.cpu)},
                 {"memory_gb", out(prices.memory_gb)},
                 {"gpus", gpus}});
}
py::object lease_of(const calyx::Lease& lease, const std::vector<json::Value>& payloads) {
  return record({{"token", out(lease.token)},
                 {"job_id", out(lease.job)},
                 {"first", out(lease.first)},
                 {"attempt", out(lease.attempt)},
                 {"work", out(lease.work)},
                 {"name", out(lease.name)},
                 {"operation", text_or_none(lease.operation)},
                 {"command", texts_of(lease.command)},
                 {"image", text_or_none(lease.image)},
                 {"project", text_or_none(lease.project)},
                 {"timeout_s", out(lease.timeout_s)},
                 {"expires_at", out(lease.expires_at)},
                 {"payloads", list_of(payloads, plain)}});
}

calyx::ArtifactId artifact_id(Text text) {
  return id_of<calyx::ArtifactId>(text, Reason::artifact_unknown, "artifact");
}
calyx::JobId job_id(Text text) { return id_of<calyx::JobId>(text, Reason::job_unknown, "job"); }

core::Requirements requirements_from(const py::dict& has) {
  core::Requirements out;
  for (const auto& [key, value] : has) {
    const auto name = key.cast<std::string>();
    if (name == "cpu")
      out.cpu = value.cast<std::int64_t>();
    else if (name == "memory_mb")
      out.memory_mb = value.cast<std::int64_t>();
    else if (name == "gpu_count")
      out.gpu_count = value.cast<std::int64_t>();
    else if (name == "gpu_memory_mb")
      out.gpu_memory_mb = value.cast<std::int64_t>();
    else if (name == "storage_gb")
      out.storage_gb = value.cast<std::int64_t>();
    else if (name == "profile")
      out.profile = value.cast<std::string>();
    else
      throw py::type_error("a worker has no " + name);
  }
  return out;
}

calyx::TaskOutcome outcome_from(const py::dict& outcome) {
  calyx::TaskOutcome out;
  for (const auto& [key, value] : outcome) {
    const auto name = key.cast<std::string>();
    if (name == "status") {
      const auto status = value.cast<std::string>();
      const std::optional<calyx::JobFailure> failure = calyx::read_job_failure(status);
      if (status != "completed" && (!failure || *failure == calyx::JobFailure::none))
        refuse(Reason::field_value, "/status", "must be completed, or the word of a failure");
      out.failure = failure.value_or(calyx::JobFailure::none);
    } else if (name == "result") {
      out.result = value_from(value, Numbers::finite, "/result", 0);
    } else if (name == "message") {
      out.error = value.cast<std::string>();
    } else if (name == "ran_ms") {
      out.ran_ms = value.cast<std::int64_t>();
    } else if (name == "stdout") {
      out.out = value.cast<std::string>();
    } else if (name == "stderr") {
      out.err = value.cast<std::string>();
    } else {
      throw py::type_error("an outcome has no " + name);
    }
  }
  return out;
}

// ── tasks ──

/// What an artifact that a function reads whole may have: as much as a checkpoint.
constexpr std::size_t artifact_bytes_max = calyx::checkpoint_bytes_max;

/// A task as its function sees it. The function may keep it, and hand it to threads: once the task is over it
/// asks to stop and tells nothing.
class Call {
  /// What `part` of a call says, which one that is computed again may lack.
  template <class Part, class... Arguments>
  static auto asked_of(const Part& part, Arguments... arguments) -> decltype(part(arguments...)) {
    if (!part) return fail(Reason::unsupported, "there is no market here that it could ask");
    return part(arguments...);
  }
  /// Asks `use` of the call without the GIL, and gives what it says or raises its error.
  template <class Use>
  auto asked(Use use) {
    std::optional<std::invoke_result_t<Use, const calyx::TaskCall&>> answer;
    {
      const Outside none;
      const std::lock_guard lock(telling_);
      if (call_ != nullptr) answer.emplace(use(*call_));
    }
    if (!answer) throw Failure(fail(Reason::stopped, "the task is over"));
    if (!answer->ok()) throw Failure(answer->error());
    return **std::move(answer);
  }

 public:
  explicit Call(const calyx::TaskCall& call)
      : job_(call.job.text()), index_(call.index), attempt_(call.attempt), call_(&call) {}

  const std::string& job() const { return job_; }
  std::uint64_t index() const { return index_; }
  std::int64_t attempt() const { return attempt_; }
  /// With the GIL, under which alone `call_` is changed.
  bool stopped() const { return call_ == nullptr || call_->stopped(); }
  void progress(const py::dict& progress) {
    const json::Value told = value_from(progress, Numbers::finite, "", 0);
    const Outside none;  // the engine may write it, and wait for others
    const std::lock_guard lock(telling_);
    if (call_ != nullptr && call_->progress) call_->progress(told);
  }
  /// The bytes of an artifact that the job's payer may read.
  py::bytes artifact(Text id) {
    return py::bytes(
        asked([&](const calyx::TaskCall& call) { return asked_of(call.artifact, id, artifact_bytes_max); }));
  }
  py::object artifact_json(Text id) {
    return plain(asked(
        [&](const calyx::TaskCall& call) { return asked_of(call.artifact_json, id, artifact_bytes_max); }));
  }
  void leave(Text name, const py::bytes& content) {
    const std::string_view bytes = content;
    asked([&](const calyx::TaskCall& call) { return asked_of(call.leave, name, bytes); });
  }
  py::object checkpoint() {
    const std::string kept = asked([](const calyx::TaskCall& call) { return asked_of(call.checkpoint); });
    return kept.empty() ? py::object(py::none()) : py::object(py::bytes(kept));
  }
  void keep_checkpoint(const py::bytes& content) {
    const std::string_view bytes = content;
    asked([&](const calyx::TaskCall& call) { return asked_of(call.keep_checkpoint, bytes); });
  }
  /// The task is over. With the GIL; lets go of it for those that still tell.
  void end() {
    std::unique_lock lock(telling_, std::defer_lock);
    {
      const Outside none;
      lock.lock();
    }
    call_ = nullptr;
  }

 private:
  std::string job_;
  std::uint64_t index_;
  std::int64_t attempt_;
  std::mutex telling_;  // held without the GIL, but by `end`, which has it and waits for nobody
  const calyx::TaskCall* call_;
};

/// How many jobs this thread is doing tasks of, as a caller and no worker.
thread_local int calling = 0;
class Calling {
 public:
  Calling() { ++calling; }
  ~Calling() { --calling; }
  Calling(const Calling&) = delete;
  Calling& operator=(const Calling&) = delete;
};

/// One line, as a traceback ends with it: `ValueError: no such colour`.
std::string line_of(const py::error_already_set& error) {
  std::string line = Py_TYPE(error.value().ptr())->tp_name;
  constexpr std::size_t letters_max = 1000;
  try {
    const py::str said = py::str(error.value()).attr("__getitem__")(py::slice(0, letters_max, 1));
    const std::string text = said.attr("encode")("utf-8", "replace").cast<std::string>();
    if (!text.empty()) line += ": " + text;
  } catch (py::error_already_set&) {  // its own __str__ raised
  }
  for (char& letter : line)
    if (letter == '\0') letter = ' ';
  return line;
}

/// Runs the Python function `held` as a task's. An exception's last line is the task's error.
Result<json::Value> run_python(PyObject* held, const calyx::TaskCall& call) {
  const Error closed = fail(Reason::closed, "the interpreter is shutting down");
  if (!interpreter_alive()) return closed;
  const py::gil_scoped_acquire gil;
  const bool is_worker = calling == 0;
  if (is_worker) ++worker_tasks;
  const auto told = std::make_shared<Call>(call);
  std::optional<Result<json::Value>> answer;
  try {
    const py::object given = py::reinterpret_borrow<py::object>(held)(plain(call.payload), told);
    answer.emplace(value_from(given, Numbers::any, "", 0));
  } catch (py::error_already_set& error) {
    answer.emplace(fail(Reason::stopped, line_of(error)));
    // An interrupt is the caller's; a worker has none that it could raise it to.
    if (!is_worker && !error.matches(PyExc_Exception)) interrupted = std::current_exception();
  } catch (const Failure& failure) {
    const json::Value* field = failure.error().details.find("field");
    answer.emplace(fail(Reason::stopped, "the result" + (field == nullptr ? "" : *field->string()) + " " +
                                             failure.error().message));
  } catch (const std::exception& thrown) {  // what the function kept of the call must not outlive it
    answer.emplace(fail(Reason::stopped, thrown.what()));
  }
  told->end();
  if (is_worker) --worker_tasks;
  return *std::move(answer);
}

calyx::TaskFunction function_of(const py::function& function) {
  return [held = kept(function)](const calyx::TaskCall& call) { return run_python(held.get(), call); };
}

/// Judges a payload by the Python function `held`, which raises what is wrong with it.
Result<calyx::Done> check_python(PyObject* held, const json::Value& payload) {
  if (!interpreter_alive()) return fail(Reason::closed, "the interpreter is shutting down");
  const py::gil_scoped_acquire gil;
  const auto refused = [](std::string says) {
    return fail(Reason::field_value, std::move(says), json::object({{"field", "/payload"}}));
  };
  try {
    py::reinterpret_borrow<py::object>(held)(plain(payload));
    return calyx::Done{};
  } catch (const py::error_already_set& error) {
    return refused(line_of(error));
  } catch (const std::exception& thrown) {
    return refused(thrown.what());
  }
}

// ── a job on the caller's thread ──

/// Does tasks on this thread until the job has ended, `until` has come, a signal's handler has raised, or
/// `stop` says so, a callable or None: the last two also end what runs.
Result<calyx::Job> run_here(calyx::Session& session, calyx::JobId id,
                            std::optional<steady_clock::time_point> until, const py::object& stop) {
  const Calling here;
  const auto stopped = [&] {
    if (signal_came()) return true;
    if (stop.is_none()) return false;
    const py::gil_scoped_acquire gil;
    return stop().cast<bool>();
  };
  return session.run_job(id, {.stopped = stopped,
                              .enough = [&] { return until && steady_clock::now() >= *until; },
                              .heartbeats = true});
}

// ── workers ──

class Running final : public Stoppable {
 public:
  Running(std::shared_ptr<calyx::Engine> engine, calyx::Worker worker)
      : engine_(std::move(engine)), worker_(std::make_unique<calyx::Worker>(std::move(worker))) {}
  ~Running() override { stop(); }
  void stop() noexcept override {
    // A forked child has none of the threads: waiting for them would not end.
    if (getpid() != owner_) {
      static_cast<void>(worker_.release());
      return;
    }
    const std::lock_guard lock(mutex_);
    worker_.reset();
    engine_.reset();
  }

 private:
  pid_t owner_ = getpid();
  std::mutex mutex_;
  std::shared_ptr<calyx::Engine> engine_;  // outlives the worker
  std::unique_ptr<calyx::Worker> worker_;
};

/// What Python holds of a worker. Letting go of it stops nothing: the market has it until it is stopped.
struct PyWorker {
  OpenPtr open;
  std::weak_ptr<Stoppable> running;

  bool is_running() const {
    const auto worker = running.lock();
    return worker != nullptr &&
           std::find(open->workers.begin(), open->workers.end(), worker) != open->workers.end();
  }
  void stop() {
    std::shared_ptr<Stoppable> worker = running.lock();
    if (worker == nullptr) return;
    if (worker_tasks > 0)
      throw Failure(fail(Reason::handle_invalid, "a worker's task cannot wait for a worker to stop"));
    const Outside none;
    worker->stop();
    {
      const py::gil_scoped_acquire gil;
      std::erase(open->workers, worker);
    }
    worker.reset();
  }
};

}  // namespace

namespace {

/// Asks the Python function `held`, `Commands._find` in commands.py, for a data source.
Result<std::string> find_in_python(PyObject* held, const calyx::DataSource& source,
                                   const std::function<bool()>& stopped) {
  if (!interpreter_alive()) return fail(Reason::closed, "the interpreter is shutting down");
  const py::gil_scoped_acquire gil;
  const bool is_worker = calling == 0;
  if (is_worker) ++worker_tasks;
  // Python may keep what it is given: it then says that nobody waits.
  const auto asked = std::make_shared<const std::function<bool()>*>(&stopped);
  Result<std::string> answer = std::string();
  try {
    const py::object raw = record({{"name", out(source.name)},
                                   {"type", out(source.type)},
                                   {"source", out(source.source)},
                                   {"revision", out(source.revision)},
                                   {"sha256", out(source.sha256 ? core::hex(*source.sha256) : std::string())},
                                   {"mount_path", out(source.mount_path)},
                                   {"project", out(source.project)},
                                   {"project_revision", out(source.project_revision)},
                                   {"wallet_id", source.wallet ? out(*source.wallet) : py::none()}});
    const py::cpp_function is_stopped([asked] { return *asked == nullptr || (**asked)(); });
    const auto [how, text] =
        py::reinterpret_borrow<py::object>(held)(raw, is_stopped).cast<std::pair<std::string, std::string>>();
    if (how.empty())
      answer = text;
    else
      answer = fail(how == "stopped"       ? Reason::stopped
                    : how == "unavailable" ? Reason::io_error
                                           : Reason::file_missing,
                    text);
  } catch (py::error_already_set& error) {
    answer = fail(Reason::io_error, line_of(error));
    if (!is_worker && !error.matches(PyExc_Exception)) interrupted = std::current_exception();
  } catch (const std::exception& thrown) {
    answer = fail(Reason::io_error, thrown.what());
  }
  *asked = nullptr;
  if (is_worker) --worker_tasks;
  return answer;
}

}  // namespace

calyx::CommandOptions commands_from(const py::dict& given) {
  calyx::CommandOptions options{.scratch = given["scratch"].cast<std::string>(),
                                .helper = given["helper"].cast<std::string>(),
                                .readable = given["readable"].cast<std::vector<std::string>>(),
                                .writable = given["writable"].cast<std::vector<std::string>>(),
                                .network = given["network"].cast<bool>(),
                                .memory_mb = given["memory_mb"].cast<std::uint64_t>(),
                                .disk_mb = given["disk_mb"].cast<std::uint64_t>(),
                                .caches = given["caches"].cast<std::string>(),
                                .cache_mb = given["cache_mb"].cast<std::uint64_t>(),
                                .allow_bare_host = given["allow_bare_host"].cast<bool>(),
                                .containers = given["containers"].cast<std::string>(),
                                .bubblewrap = given["bubblewrap"].cast<std::string>()};
  if (const auto user = given["user"].cast<std::optional<std::pair<std::uint32_t, std::uint32_t>>>())
    options.user = calyx::TaskUser{user->first, user->second};
  if (const py::object find = given["data_sources"]; !find.is_none())
    options.data_sources = [held = kept(find)](const calyx::DataSource& source,
                                               const std::function<bool()>& stopped) {
      return find_in_python(held.get(), source, stopped);
    };
  for (auto& [image, folder] : given["roots"].cast<std::map<std::string, std::string>>())
    options.roots.push_back({image, folder});
  return options;
}

namespace {

PyWorker start_worker(const OpenPtr& open, Text name, std::uint32_t threads, std::uint64_t tasks_max,
                      MaybeText host, const py::dict& has, std::vector<std::string> gpu_types,
                      const std::optional<py::dict>& commands) {
  calyx::WorkerOptions options{.name = name,
                               .threads = threads,
                               .tasks_max = tasks_max,
                               .host_wallet = wallet_id(host),
                               .has = requirements_from(has),
                               .gpu_types = std::move(gpu_types)};
  if (commands) options.commands = commands_from(*commands);
  const std::shared_ptr<calyx::Engine> engine = open->take();
  std::optional<Result<calyx::Worker>> started;
  {
    const Outside none;
    started.emplace(calyx::Worker::start(*engine, std::move(options)));
  }
  auto running = std::make_shared<Running>(engine, std::move(*started).value());
  if (open->engine == nullptr) {  // closed meanwhile
    const Outside none;
    running->stop();
    throw Failure(fail(Reason::closed, "the market was closed"));
  }
  open->workers.push_back(running);
  return {open, running};
}

void register_task(const OpenPtr& open, Text name, const py::function& function) {
  const calyx::TaskFunction run = function_of(function);
  const Result<calyx::Done> done =
      outside(open, [&](calyx::Engine& engine) { return engine.register_task(name, run); });
  if (!done.ok()) throw Failure(done.error());
}

void register_recipe(const OpenPtr& open, Text name, const py::function& function, Text summary,
                     const py::object& payload_schema, std::vector<std::string> operations,
                     std::vector<std::string> artifact_inputs, Text result_class, const py::object& check) {
  calyx::RecipeDefinition recipe{
      .name = name,
      .summary = summary,
      .payload_schema = value_from(payload_schema, Numbers::finite, "/payload_schema", 0),
      .operations = std::move(operations),
      .artifact_inputs = std::move(artifact_inputs),
      .run = function_of(function)};
  const auto& words = calyx::recipe_class_words;
  const auto word = std::find(words.begin(), words.end(), result_class);
  if (word == words.end())
    throw Failure(core::field_fault(Reason::field_value, "/result_class", "must be " + core::listed(words)));
  recipe.result_class = static_cast<calyx::RecipeClass>(word - words.begin());
  if (!check.is_none())
    recipe.check = [held = kept(check.cast<py::function>())](const json::Value& payload) {
      return check_python(held.get(), payload);
    };
  const Result<calyx::Done> done =
      outside(open, [&](calyx::Engine& engine) { return engine.register_recipe(std::move(recipe)); });
  if (!done.ok()) throw Failure(done.error());
}

py::object receipt_audit_of(const calyx::ReceiptAudit& audit) {
  return record({{"receipt_id", out(audit.receipt)},
                 {"job_id", out(audit.job)},
                 {"reproduced", out(audit.reproduced())},
                 {"tasks", out(audit.tasks)},
                 {"input_hash", out(core::output_hash_text(audit.input_hash))},
                 {"output_hash", out(core::output_hash_text(audit.output_hash))},
                 {"recomputed_hash", out(core::output_hash_text(audit.recomputed))},
                 {"first_difference", audit.first_difference ? out(*audit.first_difference) : py::none()},
                 {"error", text_or_none(audit.error)}});
}

// ── streams ──

py::object news_of(const calyx::JobNews& news) {
  const bool is_event = news.kind == calyx::NewsKind::event;
  return record({{"kind", out(word(news.kind))},
                 {"job_id", out(news.job)},
                 {"number", out(news.number)},
                 {"at", is_event ? out(news.at) : py::none()},
                 {"data", is_event ? plain(news.body) : py::none()},
                 {"state", news.state ? job_of(*news.state) : py::none()}});
}

/// A stream of jobs. It may be let go of at any time, also after its market.
class PyJobStream {
 public:
  PyJobStream(OpenPtr open, calyx::JobStream stream) : open_(std::move(open)), stream_(std::move(stream)) {}

  py::object next(std::int64_t most_ms) {
    const std::unique_lock lock = only_one(mutex_);
    const milliseconds most = *most_of(most_ms);
    return list_of(outside(open_, [&](calyx::Engine&) { return stream_.next(most); }).value(), news_of);
  }
  bool ended() {
    const std::unique_lock lock = only_one(mutex_);
    return stream_.ended();
  }

 private:
  OpenPtr open_;
  std::mutex mutex_;
  calyx::JobStream stream_;
};

calyx::JobSubmit submit_from(const py::dict& job, MaybeText wallet, Text recipe, Text idempotency_key) {
  return {.job = object_from(job),
          .wallet = wallet_id(wallet),
          .idempotency_key = idempotency_key,
          .recipe = recipe};
}

calyx::JobFilter filter_from(Text status, Text project, Text tag) {
  calyx::JobFilter filter{.project = project, .tag = tag};
  if (status.empty()) return filter;
  for (int i = 0; i <= static_cast<int>(calyx::JobStatus::cancelled); ++i)
    if (status == word(static_cast<calyx::JobStatus>(i))) filter.status = static_cast<calyx::JobStatus>(i);
  if (!filter.status) refuse(Reason::field_value, "status", "is no job's status");
  return filter;
}

}  // namespace

void add_jobs(py::module_& module, py::class_<Open, OpenPtr>& engines, py::class_<PySession>& sessions) {
  using calyx::Session;
  using py::arg;
  using Limit = std::uint32_t;

  py::class_<Call, std::shared_ptr<Call>>(module, "TaskCall", "One task, as its function sees it.")
      .def_property_readonly("job_id", &Call::job, "The job that it is of.")
      .def_property_readonly("index", &Call::index, "Which of the job's tasks it is, from 0.")
      .def_property_readonly("attempt", &Call::attempt, "Which try of it this is, from 1.")
      .def("stopped", &Call::stopped, "Whether to end: cancelled, out of time, or the worker stops.")
      .def("progress", &Call::progress, arg("progress"), "Tells how far it is, as a dictionary.")
      .def("artifact", &Call::artifact, arg("artifact"),
           "The bytes of an artifact that the job's payer may read.")
      .def("artifact_json", &Call::artifact_json, arg("artifact"), "The JSON that such an artifact holds.")
      .def("leave", &Call::leave, arg("name"), arg("content"),
           "Keeps bytes as an artifact that the task leaves, once a name.")
      .def("checkpoint", &Call::checkpoint, "What an attempt of this task kept last, or None.")
      .def("keep_checkpoint", &Call::keep_checkpoint, arg("content"),
           "Keeps bytes for a later attempt of this task, in the place of those before.");
  py::class_<PyWorker>(module, "Worker", "A worker that was started.")
      .def_property_readonly("running", &PyWorker::is_running)
      .def("stop", &PyWorker::stop);

  py::class_<PyJobStream>(module, "JobStream", "What happens to jobs, as it happens.")
      .def_property_readonly("ended", &PyJobStream::ended, "Whether nothing will come any more.")
      .def("next", &PyJobStream::next, arg("most_ms"), "What is new; empty when nothing came in time.");

  engines
      .def_property_readonly(
          "has_workers",
          // A worker's task that waits for a job may be what keeps that job's worker busy: it helps itself.
          [](const Open& self) { return !self.workers.empty() && worker_tasks == 0; },
          "Whether workers do what this thread waits for.")
      .def("register_task", &register_task, arg("name"), arg("function"))
      .def("register_recipe", &register_recipe, arg("name"), arg("function"), arg("summary"),
           arg("payload_schema"), arg("operations"), arg("artifact_inputs"), arg("result_class"),
           arg("check"))
      .def("start_worker", &start_worker, arg("name"), arg("threads"), arg("tasks_max"), arg("host"),
           arg("has"), arg("gpu_types"), arg("commands"));

  sessions
      .def(
          "submit_job",
          [](const PySession& self, const py::dict& job, MaybeText wallet, Text recipe,
             Text idempotency_key) {
            const auto submit = submit_from(job, wallet, recipe, idempotency_key);
            return submitted_of(asked(self, [&](Session& session) { return session.submit_job(submit); }));
          },
          arg("job"), arg("wallet"), arg("recipe"), arg("idempotency_key"))
      .def(
          "estimate_job",
          [](const PySession& self, const py::dict& job, MaybeText wallet, Text recipe) {
            const auto submit = submit_from(job, wallet, recipe, {});
            return estimate_of(asked(self, [&](Session& session) { return session.estimate_job(submit); }));
          },
          arg("job"), arg("wallet"), arg("recipe"))
      .def(
          "job",
          [](const PySession& self, Text job) {
            const auto id = job_id(job);
            return job_of(asked(self, [&](Session& session) { return session.job(id); }));
          },
          arg("job"))
      .def(
          "jobs",
          [](const PySession& self, Text status, Text project, Text tag, Text after, Limit limit) {
            const auto filter = filter_from(status, project, tag);
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.jobs(filter, {after, limit});
                                 }),
                           job_of);
          },
          arg("status"), arg("project"), arg("tag"), arg("after"), arg("limit"))
      .def(
          "cancel_job",
          [](const PySession& self, Text job) {
            const auto id = job_id(job);
            return job_of(asked(self, [&](Session& session) { return session.cancel_job(id); }));
          },
          arg("job"))
      .def(
          "job_tasks",
          [](const PySession& self, Text job, Text after, Limit limit) {
            const auto id = job_id(job);
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.job_tasks(id, {after, limit});
                                 }),
                           task_of);
          },
          arg("job"), arg("after"), arg("limit"))
      .def(
          "job_results",
          [](const PySession& self, Text job, Text after, Limit limit) {
            const auto id = job_id(job);
            return results_of(asked(self, [&](Session& session) {
              return session.job_results(id, {after, limit});
            }));
          },
          arg("job"), arg("after"), arg("limit"))
      .def(
          "put_artifact",
          [](const PySession& self, const py::bytes& data, Text name, Text once) {
            const std::string_view bytes = data;
            return artifact_of(asked(self, [&](Session& session) {
                                 return session.put_artifact({.name = name, .idempotency_key = once}, bytes);
                               }).artifact);
          },
          arg("data"), arg("name"), arg("idempotency_key"))
      .def(
          "put_artifact_file",
          [](const PySession& self, Text path, Text name, Text once) {
            return artifact_of(asked(self, [&](Session& session) {
                                 return session.put_artifact_file({.name = name, .idempotency_key = once},
                                                                  path);
                               }).artifact);
          },
          arg("path"), arg("name"), arg("idempotency_key"))
      .def(
          "artifacts",
          [](const PySession& self, Text after, Limit limit) {
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.artifacts({after, limit});
                                 }),
                           artifact_of);
          },
          arg("after"), arg("limit"))
      .def(
          "artifact",
          [](const PySession& self, Text artifact) {
            const auto id = artifact_id(artifact);
            return artifact_of(asked(self, [&](Session& session) { return session.artifact(id); }));
          },
          arg("artifact"))
      .def(
          "read_artifact",
          [](const PySession& self, Text artifact, std::uint64_t offset, std::uint32_t count) {
            const auto id = artifact_id(artifact);
            std::string bytes(count, '\0');
            const std::size_t size = asked(self, [&](Session& session) -> calyx::Result<std::size_t> {
              CALYX_TRY(const calyx::ArtifactReader reader, session.open_artifact(id));
              return reader.read_at(offset, bytes);
            });
            return py::bytes(bytes.data(), size);
          },
          arg("artifact"), arg("offset"), arg("count"))
      .def(
          "job_output",
          [](const PySession& self, Text job, std::uint64_t task) {
            const auto id = job_id(job);
            return output_of(asked(self, [&](Session& session) { return session.job_output(id, task); }));
          },
          arg("job"), arg("task"))
      .def(
          "job_events",
          [](const PySession& self, Text job, Text after, Limit limit) {
            const auto id = job_id(job);
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.job_events(id, {after, limit});
                                 }),
                           event_of);
          },
          arg("job"), arg("after"), arg("limit"))
      .def(
          "stream_jobs",
          [](const PySession& self, const std::vector<std::pair<std::string, std::int64_t>>& jobs) {
            std::vector<calyx::JobCursor> cursors;
            cursors.reserve(jobs.size());
            for (const auto& [job, after] : jobs) cursors.push_back({.job = job_id(job), .after = after});
            return std::make_unique<PyJobStream>(
                self.open, asked(self, [&](Session& session) { return session.watch_jobs(cursors); }));
          },
          arg("jobs"))
      .def(
          "wait_job",
          [](const PySession& self, Text job, std::int64_t most_ms) {
            const auto id = job_id(job);
            const milliseconds most = *most_of(most_ms);
            return job_of(asked(self, [&](Session& session) { return session.wait_job(id, most); }));
          },
          arg("job"), arg("most_ms"))
      .def(
          "run_job",
          [](const PySession& self, Text job, std::optional<std::int64_t> most_ms, const py::object& stop) {
            const auto id = job_id(job);
            const std::optional<milliseconds> most = most_of(most_ms);
            std::optional<steady_clock::time_point> until;
            if (most) until = steady_clock::now() + *most;
            Session session = self.session;
            return job_of(outside(self.open, [&](calyx::Engine&) {
                            return run_here(session, id, until, stop);
                          }).value());
          },
          arg("job"), arg("most_ms"), arg("stop"))
      .def(
          "audit_receipt",
          [](PySession& self, Text receipt) {
            const auto id = receipt_id(receipt);
            return receipt_audit_of(asked(self, [&](Session& session) {
              const Calling here;
              return session.audit_receipt(id, signal_came);
            }));
          },
          arg("receipt"))
      .def(
          "lease_tasks",
          [](const PySession& self, Text worker, MaybeText host, std::vector<std::string> tasks,
             std::vector<std::string> recipes, bool commands, std::vector<std::string> images,
             const py::dict& has, std::vector<std::string> gpu_types, std::uint64_t tasks_max) -> py::object {
            const calyx::LeaseAsked wants{.worker = worker,
                                          .host_wallet = wallet_id(host),
                                          .tasks = std::move(tasks),
                                          .recipes = std::move(recipes),
                                          .commands = commands,
                                          .images = std::move(images),
                                          .has = requirements_from(has),
                                          .gpu_types = std::move(gpu_types),
                                          .tasks_max = tasks_max};
            std::vector<json::Value> payloads;
            const calyx::Lease lease = asked(self, [&](Session& session) -> Result<calyx::Lease> {
              CALYX_TRY(calyx::Lease got, session.lease_tasks(wants));
              if (got.count == 0) return got;
              CALYX_TRY(payloads, session.task_payloads(got));
              return got;
            });
            if (lease.count == 0) return py::none();
            return lease_of(lease, payloads);
          },
          arg("worker"), arg("host"), arg("tasks"), arg("recipes"), arg("commands"), arg("images"),
          arg("has"), arg("gpu_types"), arg("tasks_max"))
      .def(
          "report_tasks",
          [](const PySession& self, std::int64_t token, const std::vector<py::dict>& outcomes,
             bool gives_back) {
            calyx::Report report{.token = token, .gives_back = gives_back};
            for (const py::dict& outcome : outcomes) report.outcomes.push_back(outcome_from(outcome));
            const auto reported = asked(self, [&](Session& session) { return session.report_tasks(report); });
            return record({{"left", out(reported.left)}, {"expires_at", out(reported.expires_at)}});
          },
          arg("token"), arg("outcomes"), arg("gives_back"))
      .def("prices",
           [](const PySession& self) {
             return prices_of(asked(self, [](Session& session) { return session.prices(); }));
           })
      .def(
          "set_prices",
          [](const PySession& self, std::int64_t base, std::int64_t cpu, std::int64_t memory_gb,
             const py::dict& gpus) {
            core::Prices prices{money_of(base), money_of(cpu), money_of(memory_gb), {}};
            for (const auto& [type, price] : gpus)
              prices.gpus[type.cast<std::string>()] = money_of(price.cast<std::int64_t>());
            return prices_of(asked(self, [&](Session& session) { return session.set_prices(prices); }));
          },
          arg("base"), arg("cpu"), arg("memory_gb"), arg("gpus"))
      .def("recipes", [](const PySession& self) {
        const auto recipes = outside(self.open, [&](calyx::Engine&) { return self.session.recipes(); });
        return list_of(recipes, [](const std::shared_ptr<const calyx::RecipeDefinition>& recipe) {
          return record({{"name", out(recipe->name)},
                         {"summary", out(recipe->summary)},
                         {"payload_schema", plain(recipe->payload_schema)},
                         {"operations", texts_of(recipe->operations)},
                         {"artifact_inputs", texts_of(recipe->artifact_inputs)},
                         {"result_class", out(word(recipe->result_class))}});
        });
      });
}

}  // namespace calyx_python
