// Functions of the host as tasks and recipes, the calls that are made of them, and workers.
#include <algorithm>
#include <calyx/core/field.hpp>
#include <calyx/worker.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <utility>

#include "calyx.h"
#include "guard.hpp"
#include "handles.hpp"
#include "json/reader.hpp"
#include "opened.hpp"
#include "wire/fields.hpp"

namespace calyx::capi {
namespace {

namespace json = core::json;
using wire::Fields;

constexpr std::size_t options_bytes_max = 65536;
constexpr std::size_t progress_bytes_max = 65536;
constexpr std::size_t reply_bytes_max = job_text_bytes_max;
static_assert(reply_bytes_max == 67108864 && checkpoint_bytes_max == 67108864, "calyx.h says this number");

/// One call of a host's function. The function may hand its handle to threads, which may use it until it is
/// over and are waited for then.
class HostCall {
 public:
  explicit HostCall(const TaskCall& call) noexcept : call_(&call) {}

  Result<Done> progress(const json::Value& value) {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands());
    call_->progress(value);
    return Done{};
  }
  Result<Done> cancelled() {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands());
    if (call_->stopped()) return fail(Reason::stopped, "it was cancelled, is late, or its worker stops");
    return Done{};
  }
  Result<std::string> checkpoint() {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands());
    if (!call_->checkpoint) return no_place();
    return call_->checkpoint();
  }
  Result<Done> keep_checkpoint(std::string_view bytes) {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands());
    if (!call_->keep_checkpoint) return no_place();
    return call_->keep_checkpoint(bytes);
  }
  Result<Done> reply(std::string_view text) {
    std::string kept(text);
    const std::lock_guard lock(mutex_);
    CALYX_CHECK(stands());
    reply_ = std::move(kept);
    return Done{};
  }
  /// Ends it. Gives what was replied last.
  std::optional<std::string> end() noexcept {
    const std::lock_guard lock(mutex_);
    call_ = nullptr;
    return std::exchange(reply_, std::nullopt);
  }

 private:
  static Error no_place() {
    return fail(Reason::unsupported, "a receipt's job that is computed again keeps nothing");
  }
  Result<Done> stands() const {
    if (call_ == nullptr) return fail(Reason::handle_invalid, "the call is over");
    return Done{};
  }

  std::shared_mutex mutex_;  // shared by those who ask of the engine, which may take its time
  const TaskCall* call_;
  std::optional<std::string> reply_;
};

/// A function of the host, and what is to be dropped once nothing can call it any more.
class HostFunction {
 public:
  HostFunction(calyx_function function, void* ctx) noexcept : function_(function), ctx_(ctx) {}
  HostFunction(const HostFunction&) = delete;
  HostFunction& operator=(const HostFunction&) = delete;
  ~HostFunction() {
    if (drop_ == nullptr) return;
    const Callback inside;  // it may end an engine, or come at the end of any call
    drop_(ctx_);
  }
  /// From now on `ctx` is calyx's to drop. The one who calls this still holds the function.
  void take_over(calyx_drop drop) noexcept { drop_ = drop; }

  Result<json::Value> run(const TaskCall& call) const {
    const std::string payload = json::text(call.payload);
    const std::string job = call.job.text();
    const auto made = std::make_shared<HostCall>(call);
    HandleTable& table = HandleTable::current();
    CALYX_TRY(void* const handle, table.put(Kind::call, made));
    const Over over{*made, table, handle};
    const calyx_input input = {sizeof(calyx_input), payload.c_str(), payload.size(),
                               job.c_str(),         call.index,      call.attempt};
    int gave = 0;
    {
      const Inside inside;
      gave = function_(ctx_, static_cast<calyx_call*>(handle), &input);
    }
    const std::optional<std::string> said = made->end();
    if (gave != 0)
      return fail(Reason::stopped, said ? *said : "it gave " + std::to_string(gave) + " and no word");
    if (!said) return json::Value();
    Result<json::Value> result = read_json(*said, {.bytes = reply_bytes_max});
    if (!result.ok()) return fail(Reason::stopped, "what it replied is no JSON: " + result.error().message);
    return result;
  }

 private:
  /// Ends a call, also of a function that threw.
  struct Over {
    HostCall& call;
    HandleTable& table;
    void* handle;
    ~Over() {
      table.take(Kind::call, handle);
      call.end();
    }
  };

  calyx_function function_;
  void* ctx_;
  calyx_drop drop_ = nullptr;
};

/// `error`, of a member of `options_json`, with its place: C has no details to look into.
Error placed(Error error) {
  const json::Value* field = error.details.find("field");
  if (field != nullptr && field->string() != nullptr && error.status() == Status::invalid)
    error.message = "options_json" + *field->string() + ' ' + error.message;
  return error;
}

Result<json::Value> options_from(const char* options_json) {
  CALYX_TRY(const std::string_view text, text_at("options_json", options_json, options_bytes_max));
  return read_json(text);
}

template <class T>
void read_count(Fields& fields, std::string_view name, T& out) {
  std::optional<std::int64_t> given;
  fields.read(name, given);
  if (!given) return;
  constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
  if (*given < 0 || *given > most)
    fields.fault(wire::field_fault(Reason::field_value, wire::pointer_to(name),
                                   "is " + std::to_string(*given) + ", takes 1 and more"));
  else
    out = static_cast<T>(*given);
}

void read_texts(Fields& fields, std::string_view name, std::vector<std::string>& out) {
  std::optional<std::vector<std::string>> given;
  fields.read(name, given);
  if (given) out = *std::move(given);
}

/// Lets `read` take the members of the object `name`, which may be left out.
template <class Read>
void read_object(Fields& fields, std::string_view name, Read read) {
  const json::Value* value = fields.find(name);
  if (value == nullptr || value->is_null()) return;
  const std::string place = wire::pointer_to(name);
  Fields inner(*value, place);
  read(inner);
  if (Result<Done> done = inner.done(); !done.ok()) fields.fault(std::move(done).error());
}

Result<WorkerOptions> worker_options(const json::Value& value) {
  WorkerOptions out;
  Fields fields(value);
  fields.read_optional("name", out.name);
  read_count(fields, "threads", out.threads);
  read_count(fields, "tasks_max", out.tasks_max);
  fields.read("host_wallet_id", out.host_wallet);
  read_object(fields, "has", [&](Fields& inner) { wire::read_requirements(inner, out.has); });
  read_texts(fields, "gpu_types", out.gpu_types);
  read_object(fields, "commands", [&](Fields& inner) {
    CommandOptions& commands = out.commands.emplace();
    inner.read("scratch", commands.scratch);
    inner.read_optional("helper", commands.helper);
    read_texts(inner, "readable", commands.readable);
    read_texts(inner, "writable", commands.writable);
    inner.read("network", commands.network);
    inner.read("allow_bare_host", commands.allow_bare_host);
    inner.read_optional("containers", commands.containers);
    inner.read_optional("bubblewrap", commands.bubblewrap);
    if (const json::Value* roots = inner.find("roots"); roots != nullptr && roots->object() != nullptr)
      read_object(inner, "roots", [&](Fields& folders) {
        for (const json::Member& root : *roots->object())
          folders.read(root.key, commands.roots.emplace_back(ImageRoot{.image = root.key}).folder);
      });
  });
  CALYX_CHECK(fields.done());
  return out;
}

Result<RecipeDefinition> recipe_from(const json::Value& value) {
  RecipeDefinition out;
  Fields fields(value);
  fields.read("name", out.name);
  fields.read_optional("summary", out.summary);
  if (const json::Value* schema = fields.find("payload_schema")) out.payload_schema = json::Value(*schema);
  read_texts(fields, "operations", out.operations);
  read_texts(fields, "artifact_inputs", out.artifact_inputs);
  std::string result_class(word(out.result_class));
  fields.read_optional("class", result_class);
  const auto& words = recipe_class_words;
  const auto found = std::find(words.begin(), words.end(), result_class);
  if (found == words.end())
    fields.fault(core::field_fault(Reason::field_value, "/class", "must be " + core::listed(words)));
  else
    out.result_class = static_cast<RecipeClass>(found - words.begin());
  CALYX_CHECK(fields.done());
  return out;
}

Result<Done> register_function(const calyx_engine* handle, std::uint32_t kind, const char* options_json,
                               calyx_function run, void* ctx, calyx_drop drop) {
  CALYX_TRY(const auto engine, engine_of(handle));
  CALYX_TRY(const json::Value options, options_from(options_json));
  if (kind != CALYX_KIND_TASK && kind != CALYX_KIND_RECIPE)
    return fail(Reason::unsupported, "calyx " CALYX_VERSION
                                     " takes tasks and recipes, no functions of kind " +
                                         std::to_string(kind));
  if (run == nullptr) return fail(Reason::field_missing, "function is NULL");
  const auto function = std::make_shared<HostFunction>(run, ctx);
  TaskFunction task = [function](const TaskCall& call) { return function->run(call); };
  const auto registered = [&]() -> Result<Done> {
    if (kind == CALYX_KIND_RECIPE) {
      CALYX_TRY(RecipeDefinition recipe, recipe_from(options));
      recipe.run = std::move(task);
      return engine->register_recipe(std::move(recipe));
    }
    std::string name;
    Fields fields(options);
    fields.read("name", name);
    CALYX_CHECK(fields.done());
    return engine->register_task(name, std::move(task));
  }();
  if (!registered.ok()) return placed(registered.error());
  function->take_over(drop);
  return Done{};
}

Result<Done> worker_start(const calyx_engine* handle, const char* options_json, calyx_worker*& out) {
  CALYX_TRY(const auto opened, opened_of(handle));
  WorkerOptions options;
  if (options_json != nullptr) {
    CALYX_TRY(const json::Value given, options_from(options_json));
    Result<WorkerOptions> read = worker_options(given);
    if (!read.ok()) return placed(read.error());
    options = *std::move(read);
  }
  HandleTable& table = HandleTable::current();
  const auto running = std::make_shared<Running>(opened);
  CALYX_TRY(void* const worker, table.put(Kind::worker, running));
  Lease lease(table, Kind::worker, worker);
  opened->add(running);
  Result<Worker> started = Worker::start(opened->engine, std::move(options));
  if (!started.ok()) return placed(started.error());
  running->begin(*std::move(started));
  out = static_cast<calyx_worker*>(lease.release());
  return Done{};
}

/// Asks `use` of the call that `handle` stands for.
template <class Use>
Result<Done> with_call(const calyx_call* handle, Use use) {
  CALYX_TRY(const auto call, HandleTable::current().find<HostCall>(Kind::call, handle));
  return use(*call);
}

Result<Done> progress(const calyx_call* handle, const char* text, std::size_t size) {
  return with_call(handle, [&](HostCall& call) -> Result<Done> {
    CALYX_TRY(const std::string_view told, text_at("progress", text, size, progress_bytes_max));
    CALYX_TRY(const json::Value value, read_json(told));
    if (value.object() == nullptr) return fail(Reason::field_type, "progress is no JSON object");
    return call.progress(value);
  });
}

Result<Done> checkpoint(const calyx_call* handle, calyx_text& out) {
  return with_call(handle, [&](HostCall& call) -> Result<Done> {
    CALYX_TRY(const std::string bytes, call.checkpoint());
    Letters(bytes.size()).give(bytes, out);
    return Done{};
  });
}

Result<Done> keep_checkpoint(const calyx_call* handle, const void* bytes, std::size_t size) {
  return with_call(handle, [&](HostCall& call) -> Result<Done> {
    if (bytes == nullptr && size != 0) return fail(Reason::field_missing, "bytes is NULL");
    if (size > checkpoint_bytes_max)
      return fail(Reason::too_large, "bytes has " + std::to_string(size) + " bytes, at most " +
                                         std::to_string(checkpoint_bytes_max));
    return call.keep_checkpoint(size == 0 ? std::string_view()
                                          : std::string_view(static_cast<const char*>(bytes), size));
  });
}

Result<Done> reply(const calyx_call* handle, const char* text, std::size_t size) {
  return with_call(handle, [&](HostCall& call) -> Result<Done> {
    CALYX_TRY(const std::string_view said, text_at("reply", text, size, reply_bytes_max));
    if (said.find('\0') != std::string_view::npos) return fail(Reason::zero_character, "reply holds U+0000");
    return call.reply(said);
  });
}

void worker_stop(const calyx_worker* handle) {
  HandleTable& table = HandleTable::current();
  if (desk.callbacks != 0 || desk.functions != 0) {
    // What it would wait for may be this very thread, or wait for it.
    const auto running = table.find<Running>(Kind::worker, handle);
    if (!running.ok()) return;
    (*running)->ask_to_stop();
    set_last_error(word(Reason::handle_invalid), "it stops, and still stands: nobody waits for it in here");
    return;
  }
  const auto running = std::static_pointer_cast<Running>(table.take(Kind::worker, handle));
  if (running != nullptr) running->stop();
}

}  // namespace
}  // namespace calyx::capi

using namespace calyx;        // NOLINT: this file is the seam
using namespace calyx::capi;  // NOLINT

calyx_status calyx_register(calyx_engine* engine, uint32_t kind, const char* options_json,
                            calyx_function function, void* ctx, calyx_drop drop) noexcept {
  return guarded([&] { return capi::register_function(engine, kind, options_json, function, ctx, drop); });
}

calyx_status calyx_call_progress(calyx_call* call, const char* json, size_t size) noexcept {
  return guarded([&] { return capi::progress(call, json, size); });
}

calyx_status calyx_call_cancelled(calyx_call* call) noexcept {
  return guarded([&] { return with_call(call, [](HostCall& held) { return held.cancelled(); }); });
}

calyx_status calyx_call_checkpoint(calyx_call* call, calyx_text* out) noexcept {
  return guarded([&] { return capi::checkpoint(call, *out); }, out);
}

calyx_status calyx_call_keep_checkpoint(calyx_call* call, const void* bytes, size_t size) noexcept {
  return guarded([&] { return capi::keep_checkpoint(call, bytes, size); });
}

calyx_status calyx_call_reply(calyx_call* call, const char* text, size_t size) noexcept {
  return guarded([&] { return capi::reply(call, text, size); });
}

calyx_status calyx_worker_start(calyx_engine* engine, const char* options_json, calyx_worker** out) noexcept {
  return guarded([&] { return capi::worker_start(engine, options_json, *out); }, out);
}

void calyx_worker_stop(calyx_worker* worker) noexcept {
  guarded_end([&] { capi::worker_stop(worker); });
}
