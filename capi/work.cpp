// Functions of the host as tasks, recipes, settlements, the transport of webhooks and what finds data
// sources, the calls that are made of them, and workers.
#include <algorithm>
#include <calyx/core/field.hpp>
#include <calyx/payments.hpp>
#include <calyx/worker.hpp>
#include <cstdint>
#include <iterator>
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
#include "wire/writers.hpp"

namespace calyx::capi {
namespace {

namespace json = core::json;
using namespace std::string_view_literals;
using wire::Fields;

constexpr std::size_t options_bytes_max = 65536;
constexpr std::size_t progress_bytes_max = 65536;
constexpr std::size_t reply_bytes_max = job_text_bytes_max;
static_assert(reply_bytes_max == 67108864 && checkpoint_bytes_max == 67108864, "calyx.h says this number");

/// One call of a host's function. The function may hand its handle to threads, which may use it until it is
/// over and are waited for then.
class HostCall {
 public:
  /// What a reply must be.
  using Judge = Result<Done> (*)(std::string_view reply);

  explicit HostCall(const TaskCall& task) noexcept : task_(&task), stopped_(&task.stopped) {}
  /// It can reply what `judge` lets pass and, unless `stopped` is null, ask whether to stop.
  HostCall(Judge judge, const std::function<bool()>* stopped) noexcept : stopped_(stopped), judge_(judge) {}

  // Those of a task fail also: `handle_invalid` when it is over; `unsupported` where there is none.
  Result<Done> progress(const json::Value& value) {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands(task_ != nullptr));
    task_->progress(value);
    return Done{};
  }
  Result<Done> cancelled() {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands(stopped_ != nullptr));
    if ((*stopped_)()) return fail(Reason::stopped, "it was cancelled, is late, or its worker stops");
    return Done{};
  }
  Result<std::string> checkpoint() {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands(task_ != nullptr));
    if (!task_->checkpoint) return no_place();
    return task_->checkpoint();
  }
  Result<Done> keep_checkpoint(std::string_view bytes) {
    const std::shared_lock lock(mutex_);
    CALYX_CHECK(stands(task_ != nullptr));
    if (!task_->keep_checkpoint) return no_place();
    return task_->keep_checkpoint(bytes);
  }
  Result<Done> reply(std::string_view text) {
    std::string kept(text);
    const std::lock_guard lock(mutex_);
    CALYX_CHECK(stands(true));
    if (judge_ != nullptr) CALYX_CHECK(judge_(kept));
    reply_ = std::move(kept);
    return Done{};
  }
  /// Ends it. Gives what was replied last.
  std::optional<std::string> end() noexcept {
    const std::lock_guard lock(mutex_);
    over_ = true;
    return std::exchange(reply_, std::nullopt);
  }

 private:
  static Error no_place() {
    return fail(Reason::unsupported, "a receipt's job that is computed again keeps nothing");
  }
  Result<Done> stands(bool can) const {
    if (!over_ && can) return Done{};
    return fail(over_ ? Reason::handle_invalid : Reason::unsupported,
                over_ ? "the call is over" : "it is no task's call: that cannot be asked of it");
  }

  std::shared_mutex mutex_;  // shared by those who ask of the engine, which may take its time
  const TaskCall* task_ = nullptr;
  const std::function<bool()>* stopped_;
  Judge judge_ = nullptr;
  bool over_ = false;
  std::optional<std::string> reply_;
};

}  // namespace

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

  /// Calls it for `made`; `said` is what it replied last. Fails: `stopped`, with its word, when it did not
  /// give 0; `no_memory`.
  Result<Done> call(const std::shared_ptr<HostCall>& made, const calyx_input& input,
                    std::optional<std::string>& said) const {
    HandleTable& table = HandleTable::current();
    CALYX_TRY(void* const handle, table.put(Kind::call, made));
    const Over over{*made, table, handle};
    int gave = 0;
    {
      const Inside inside;
      gave = function_(ctx_, static_cast<calyx_call*>(handle), &input);
    }
    said = made->end();
    if (gave != 0)
      return fail(Reason::stopped, said ? *said : "it gave " + std::to_string(gave) + " and no word");
    return Done{};
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

namespace {

/// `error`, of a member of `what`, with its place: C has no details to look into.
Error placed(const char* what, Error error) {
  const json::Value* field = error.details.find("field");
  if (field != nullptr && field->string() != nullptr && error.status() == Status::invalid)
    error.message = what + *field->string() + ' ' + error.message;
  return error;
}

/// What a reply said, unless `fields` found fault with it. Fails: as `Fields::done`, with the place.
template <class T>
Result<T> said_by(Fields& fields, T out) {
  Result<Done> done = fields.done();
  if (!done.ok()) return placed("reply", std::move(done).error());
  return out;
}

/// The place of `given` among `words`, which is the number of what it names; any other word is a fault of the
/// member `name`, and 0.
template <class Enum, class Words>
Enum word_among(Fields& fields, const char* name, const Words& words, std::string_view given) {
  const auto found = std::find(std::begin(words), std::end(words), given);
  if (found != std::end(words)) return static_cast<Enum>(found - std::begin(words));
  fields.fault(
      core::field_fault(Reason::field_value, wire::pointer_to(name), "must be " + core::listed(words)));
  return Enum{};
}

/// Calls a function that is no task's with the JSON `payload`, and reads its reply by `read`, which judges it
/// as it comes, too: one that was lost may be money. Where it says nothing, a value that says nothing. It may
/// ask whether to stop unless `stopped` is null.
template <auto read>
auto answer_to(const HostFunction& function, const std::string& payload,
               const std::function<bool()>* stopped = nullptr) {
  const HostCall::Judge judge = [](std::string_view reply) -> Result<Done> {
    CALYX_CHECK(read(reply));
    return Done{};
  };
  const calyx_input input = {sizeof(calyx_input), payload.c_str(), payload.size(), "", 0, 0};
  std::optional<std::string> said;
  const bool replied = function.call(std::make_shared<HostCall>(judge, stopped), input, said).ok() && said;
  auto answer = read(replied ? *said : std::string());
  return answer.ok() ? *std::move(answer) : std::decay_t<decltype(*answer)>{};
}

Result<json::Value> options_from(const char* options_json) {
  CALYX_TRY(const std::string_view text, text_at("options_json", options_json, options_bytes_max));
  return read_json(text);
}

Result<json::Value> run_task(const HostFunction& function, const TaskCall& call) {
  const std::string payload = json::text(call.payload);
  const std::string job = call.job.text();
  const calyx_input input = {sizeof(calyx_input), payload.c_str(), payload.size(),
                             job.c_str(),         call.index,      call.attempt};
  std::optional<std::string> said;
  CALYX_CHECK(function.call(std::make_shared<HostCall>(call), input, said));
  if (!said) return json::Value();
  Result<json::Value> result = read_json(*said, {.bytes = reply_bytes_max});
  if (!result.ok()) return fail(Reason::stopped, "what it replied is no JSON: " + result.error().message);
  return result;
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
    read_count(inner, "memory_mb", commands.memory_mb);
    read_count(inner, "disk_mb", commands.disk_mb);
    inner.read_optional("caches", commands.caches);
    read_count(inner, "cache_mb", commands.cache_mb);
    read_object(inner, "user", [&](Fields& of) {
      TaskUser& user = commands.user.emplace();
      for (const auto& [member, number] : {std::pair{"user", &user.user}, std::pair{"group", &user.group}}) {
        std::int64_t given = 0;
        of.read(member, given);
        if (given < 0 || given > std::numeric_limits<std::uint32_t>::max())
          of.fault(wire::field_fault(Reason::field_value, wire::pointer_to(member),
                                     "is " + std::to_string(given) + ", and no user's or group's number"));
        else
          *number = static_cast<std::uint32_t>(given);
      }
    });
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
  out.result_class = word_among<RecipeClass>(fields, "class", recipe_class_words, result_class);
  CALYX_CHECK(fields.done());
  return out;
}

// ── settlements ──

/// What a reply says. Fails: as `read_json` and `Fields::done`, with the place of what is wrong.
Result<SettlementAnswer> read_answer(std::string_view reply) {
  CALYX_TRY(const json::Value value, read_json(reply));
  SettlementAnswer out;
  Fields fields(value);
  std::string outcome;
  fields.read("outcome", outcome);
  out.outcome = word_among<SettlementOutcome>(fields, "outcome", settlement_outcome_words, outcome);
  fields.read_optional("transaction", out.transaction);
  if (out.outcome == SettlementOutcome::settled) fields.read("transaction", out.transaction);
  fields.read("credit", out.credit);
  fields.read_optional("reason", out.reason);
  return said_by(fields, std::move(out));
}

void append_payment(std::string& out, const VerifiedPayment& payment) {
  constexpr struct {
    char name[8];
    std::string VerifiedPayment::*text;
  } texts[] = {{"network", &VerifiedPayment::network}, {"asset", &VerifiedPayment::asset},
               {"payer", &VerifiedPayment::payer},     {"pay_to", &VerifiedPayment::pay_to},
               {"nonce", &VerifiedPayment::nonce},     {"amount", &VerifiedPayment::amount},
               {"payload", &VerifiedPayment::payload}};
  wire::Members members(out);
  members.text("protocol", word(payment.protocol));
  for (const auto& one : texts) members.text(one.name, std::string_view(payment.*one.text));
  members.text("credit", std::string_view(core::money_text(payment.credit)))
      .text("valid_before", std::string_view(core::iso_text(payment.valid_before)))
      .text_or_null("on_chain", payment.on_chain)
      .close();
}

class HostSettlement final : public SettlementBackend {
 public:
  HostSettlement(std::shared_ptr<const HostFunction> function, bool judges_contracts) noexcept
      : function_(std::move(function)), judges_contracts_(judges_contracts) {}

  SettlementAnswer verify(const VerifiedPayment& payment) override {
    return ask(SettlementCall::verify, {}, &payment);
  }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override {
    return ask(SettlementCall::settle, key, &payment);
  }
  SettlementAnswer status(std::string_view key) override { return ask(SettlementCall::status, key, nullptr); }
  bool judges_contracts() const noexcept override { return judges_contracts_; }

 private:
  SettlementAnswer ask(SettlementCall call, std::string_view key, const VerifiedPayment* payment) const {
    std::string text;
    wire::Members members(text);
    members.text("call", word(call));
    if (!key.empty()) members.text("key", key);
    if (payment != nullptr) {
      members.begin("payment");
      append_payment(text, *payment);
    }
    members.close();
    return answer_to<read_answer>(*function_, text);
  }

  std::shared_ptr<const HostFunction> function_;
  bool judges_contracts_;
};

// ── data sources ──

/// How a host's function answers for a data source.
enum class SourceOutcome : std::uint8_t { found, unavailable, refused };
constexpr std::array<std::string_view, 3> source_outcome_words = {"found", "unavailable", "refused"};

/// What a reply says of a data source. Fails: as `read_json` and `Fields::done`, with the place of what is
/// wrong.
struct SourceReply {
  SourceOutcome outcome = SourceOutcome::unavailable;
  std::string path, reason;
};
Result<SourceReply> read_source_reply(std::string_view reply) {
  CALYX_TRY(const json::Value value, read_json(reply));
  SourceReply out;
  Fields fields(value);
  std::string outcome;
  fields.read("outcome", outcome);
  out.outcome = word_among<SourceOutcome>(fields, "outcome", source_outcome_words, outcome);
  if (out.outcome == SourceOutcome::found)
    fields.read("path", out.path);
  else
    fields.read_optional("reason", out.reason);
  return said_by(fields, std::move(out));
}

/// Asks the engine's function for a data source, whichever it is by then.
Result<std::string> find_source(const Opened& opened, const DataSource& source,
                                const std::function<bool()>& stopped) {
  const std::shared_ptr<const HostFunction> function = opened.sources();
  if (function == nullptr) return fail(Reason::io_error, "this worker's host finds none");
  std::string text;
  wire::Members(text)
      .text("name", std::string_view(source.name))
      .text("type", std::string_view(source.type))
      .text("source", std::string_view(source.source))
      .text_or_null("revision", source.revision)
      .text("sha256", source.sha256 ? std::optional(core::hex(*source.sha256)) : std::nullopt)
      .text("mount_path", std::string_view(source.mount_path))
      .text("project", std::string_view(source.project))
      .integer("project_revision", source.project_revision)
      .id("wallet_id", source.wallet)
      .close();
  SourceReply reply = answer_to<read_source_reply>(*function, text, &stopped);
  if (reply.outcome == SourceOutcome::found) return std::move(reply.path);
  return fail(reply.outcome == SourceOutcome::refused ? Reason::file_missing : Reason::io_error,
              reply.reason.empty() ? "the host gives no reason" : std::move(reply.reason));
}

// ── the transport of webhooks ──

Result<core::CallbackRules> callback_rules(const json::Value& value) {
  core::CallbackRules out;
  Fields fields(value);
  fields.read("allow_http", out.allow_http);
  fields.read("allow_private", out.allow_private);
  if (const json::Value* ports = fields.find("ports"); ports != nullptr && !ports->is_null()) {
    out.ports.clear();
    const json::Array* const list = ports->array();
    bool good = list != nullptr;
    for (std::size_t i = 0; good && i < list->size(); ++i) {
      const std::int64_t* const port = (*list)[i].integer();
      good = port != nullptr && *port >= 1 && *port <= std::numeric_limits<std::uint16_t>::max();
      if (good) out.ports.push_back(static_cast<std::uint16_t>(*port));
    }
    if (!good)
      fields.fault(core::field_fault(Reason::field_value, "/ports", "is no list of numbers from 1 to 65535"));
  }
  CALYX_CHECK(fields.done());
  return out;
}

/// What replies say. Fail: as `read_json` and `Fields::done`, with the place of what is wrong.
Result<std::vector<std::string>> read_addresses(std::string_view reply) {
  CALYX_TRY(const json::Value value, read_json(reply));
  std::vector<std::string> out;
  Fields fields(value);
  fields.read("addresses", out);
  return said_by(fields, std::move(out));
}
Result<WebhookAnswer> read_sent(std::string_view reply) {
  CALYX_TRY(const json::Value value, read_json(reply));
  std::int64_t status = 0;
  std::optional<std::int64_t> retry_after_s;
  Fields fields(value);
  fields.read("status", status);
  if (status < 100 || status > 999)
    fields.fault(core::field_fault(Reason::field_value, "/status", "is no status of HTTP"));
  fields.read("retry_after_s", retry_after_s);
  return said_by(fields, WebhookAnswer{static_cast<int>(status), retry_after_s.value_or(0)});
}

WebhookTransport transport_of(const std::shared_ptr<const HostFunction>& function) {
  WebhookTransport out;
  out.resolve = [function](const std::string& host) {
    std::string text;
    wire::Members(text).text("call", "resolve"sv).text("host", std::string_view(host)).close();
    return answer_to<read_addresses>(*function, text);
  };
  out.send = [function](const WebhookRequest& request) {
    std::string text;
    wire::Members members(text);
    members.text("call", "send"sv)
        .text("url", request.url)
        .text("address", std::string_view(request.address))
        .text("host", std::string_view(request.target.host))
        .integer("port", request.target.port)
        .boolean("https", request.target.https)
        .text("target", std::string_view(request.target.target));
    members.begin("headers");
    {
      wire::Members headers(text);
      for (const auto& [name, value] : request.headers) headers.text(name, std::string_view(value));
      headers.close();
    }
    members.text("body", request.body).integer("timeout_s", request.timeout_s).close();
    return answer_to<read_sent>(*function, text);
  };
  return out;
}

// ── what C calls ──

Result<Done> register_function(const calyx_engine* handle, std::uint32_t kind, const char* options_json,
                               calyx_function run, void* ctx, calyx_drop drop) {
  CALYX_TRY(const auto opened, opened_of(handle));
  Engine* const engine = &opened->engine;
  CALYX_TRY(const json::Value options, options_from(options_json));
  if (kind < CALYX_KIND_TASK || kind > CALYX_KIND_DATA_SOURCE || kind == CALYX_KIND_CONTAINER)
    return fail(Reason::unsupported,
                "calyx " CALYX_VERSION " takes no functions of kind " + std::to_string(kind));
  if (run == nullptr) return fail(Reason::field_missing, "function is NULL");
  const auto function = std::make_shared<HostFunction>(run, ctx);
  TaskFunction task = [function](const TaskCall& call) { return run_task(*function, call); };
  const auto registered = [&]() -> Result<Done> {
    if (kind == CALYX_KIND_RECIPE) {
      CALYX_TRY(RecipeDefinition recipe, recipe_from(options));
      recipe.run = std::move(task);
      return engine->register_recipe(std::move(recipe));
    }
    if (kind == CALYX_KIND_TRANSPORT) {
      CALYX_TRY(core::CallbackRules rules, callback_rules(options));
      engine->set_webhooks(std::move(rules), transport_of(function));
      return Done{};
    }
    std::string name;
    bool judges_contracts = false;
    Fields fields(options);
    if (kind == CALYX_KIND_SETTLEMENT) {
      fields.read_optional("name", name);  // of use to nobody yet: there is one
      fields.read("judges_contracts", judges_contracts);
    } else if (kind == CALYX_KIND_TASK) {
      fields.read("name", name);
    }
    CALYX_CHECK(fields.done());
    if (kind == CALYX_KIND_TASK) return engine->register_task(name, std::move(task));
    if (kind == CALYX_KIND_DATA_SOURCE) {
      opened->set_sources(function);
      return Done{};
    }
    engine->set_settlement(std::make_shared<HostSettlement>(function, judges_contracts));
    return Done{};
  }();
  if (!registered.ok()) return placed("options_json", registered.error());
  function->take_over(drop);
  return Done{};
}

Result<Done> worker_start(const calyx_engine* handle, const char* options_json, calyx_worker*& out) {
  CALYX_TRY(const auto opened, opened_of(handle));
  WorkerOptions options;
  if (options_json != nullptr) {
    CALYX_TRY(const json::Value given, options_from(options_json));
    Result<WorkerOptions> read = worker_options(given);
    if (!read.ok()) return placed("options_json", read.error());
    options = *std::move(read);
  }
  if (options.commands)
    options.commands->data_sources = [weak = std::weak_ptr<const Opened>(opened)](
                                         const DataSource& source, const std::function<bool()>& stopped) {
      const std::shared_ptr<const Opened> held = weak.lock();
      if (held == nullptr) return Result<std::string>(fail(Reason::closed, "the engine was closed"));
      return find_source(*held, source, stopped);
    };
  HandleTable& table = HandleTable::current();
  const auto running = std::make_shared<Running>(opened);
  CALYX_TRY(void* const worker, table.put(Kind::worker, running));
  Lease lease(table, Kind::worker, worker);
  opened->add(running);
  Result<Worker> started = Worker::start(opened->engine, std::move(options));
  if (!started.ok()) return placed("options_json", started.error());
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
