#include <array>
#include <calyx/core/encoding.hpp>
#include <calyx/core/field.hpp>
#include <calyx/prop_amm.hpp>

#include "recipes/device.hpp"
#include "recipes/recipes.hpp"
#include "recipes/schema.hpp"

namespace calyx::recipes {
namespace {

namespace json = core::json;
using core::field_fault;
using core::Members;

/// The order of the payload's words.
enum class Operation : std::uint8_t {
  eval,
  eval_chunk,
  validate,
  validate_full,
  bpf_eval,
  bpf_eval_chunk,
  build,
  concavity_check,
};
constexpr std::array<std::string_view, 8> operations = {"eval",          "eval_chunk",     "validate",
                                                        "validate_full", "bpf_eval",       "bpf_eval_chunk",
                                                        "build",         "concavity_check"};

/// The values of the member `parity`: what becomes of the comparison with rustc's build.
enum class ParityWish : std::uint8_t { skip, automatic, require };
constexpr std::array<std::string_view, 3> parity_wishes = {"skip", "auto", "require"};

constexpr std::size_t source_bytes_max = 256 * 1024;
constexpr std::size_t object_bytes_max = 10 * 1024 * 1024;  // an ELF file; a longer source is refused as one
constexpr std::uint64_t per_seed_max = 100'000;
constexpr std::uint64_t progress_every = 16;  // seeds

bool runs_seeds(Operation operation) {
  return operation == Operation::eval || operation == Operation::eval_chunk ||
         operation == Operation::bpf_eval || operation == Operation::bpf_eval_chunk;
}
bool is_chunk(Operation operation) {
  return operation == Operation::eval_chunk || operation == Operation::bpf_eval_chunk;
}

json::Value payload_schema() {
  return schema::payload(json::object(
      {{"operation", schema::one_of(operations)},
       {"rs_source_b64", json::object({{"type", "string"},
                                       {"contentEncoding", "base64"},
                                       {"description", "the strategy's lib.rs; or strategy_ref"}})},
       {"strategy_ref",
        schema::text("an artifact that holds the strategy's lib.rs; for bpf_*, or an eBPF object (ELF)")},
       {"seed_base", schema::seed("the first seed,")},
       {"start", schema::seed("*_chunk: the chunk's first seed, counted from seed_base,")},
       {"count", schema::integer(1, prop_amm::count_max, "seeds; 1000 if left out")},
       {"chunk_index", schema::integer(0, prop_amm::count_max - 1, "*_chunk: which of chunk_count, from 0")},
       {"chunk_count", schema::integer(1, prop_amm::count_max, "*_chunk: into how many total_count is cut")},
       {"total_count", schema::integer(1, prop_amm::count_max, "*_chunk: seeds of all chunks")},
       {"steps", schema::integer(1, prop_amm::steps_max, "of each simulation; 10000 if left out")},
       {"strict_curves", schema::flag("whether quotes without a proper shape end a simulation; true")},
       {"per_seed", schema::flag("whether the result lists each seed's edge; false")},
       {"parity",
        json::object(
            {{"enum", json::array({"skip", "auto", "require"})},
             {"description",
              "validate_full: whether rustc's build of the source is asked for the same answers. skip, "
              "which holds if left out: it is not; auto: where the worker's host has rustc and runs "
              "commands, so that hosts may differ in the result; require: it is, or the task fails"}})},
       {"device", schema::one_of(schema::devices)}}));
}

/// What a payload asks for, checked.
struct Payload {
  Operation operation = Operation::eval;
  std::optional<std::string> source;
  std::string strategy_ref;
  prop_amm::Asked asked;
  bool per_seed = false;
  ParityWish parity = ParityWish::skip;
};

Result<bool> flag(const Members& members, std::string_view name, bool otherwise) {
  const json::Value* value = members.find(name);
  if (value == nullptr) return otherwise;
  if (value->boolean() == nullptr) return core::wrong_type(members.at(name), *value, "a boolean");
  return *value->boolean();
}

/// Which seeds a chunk has: `start` and `count`, or one of equal parts of `total_count`.
Result<Done> read_chunk(const Members& members, prop_amm::Asked& asked) {
  const bool cut = members.has("chunk_index") || members.has("chunk_count") || members.has("total_count");
  if (!cut) {
    CALYX_TRY(asked.start, members.seed("start"));
    return Done{};
  }
  for (const std::string_view name : {"start", "count"})
    if (members.has(name))
      return field_fault(Reason::field_unknown, members.at(name), "does not go with chunk_index");
  CALYX_TRY(const std::uint64_t total, members.count("total_count", {1, prop_amm::count_max}));
  CALYX_TRY(const std::uint64_t chunks, members.count("chunk_count", {1, total}));
  CALYX_TRY(const std::uint64_t index, members.count("chunk_index", {0, chunks - 1}));
  asked.start = total * index / chunks;
  asked.count = total * (index + 1) / chunks - asked.start;
  return Done{};
}

Result<Payload> read_payload(const json::Value& payload) {
  CALYX_TRY(const Members members, Members::of(payload, "/payload", "this recipe's payload"));
  CALYX_CHECK(members.only({"operation", "rs_source_b64", "strategy_ref", "seed_base", "start", "count",
                            "chunk_index", "chunk_count", "total_count", "steps", "strict_curves", "per_seed",
                            "parity", "device"}));
  Payload out;
  CALYX_CHECK(members.need("operation"));
  CALYX_TRY(const std::size_t operation, members.word("operation", operations));
  out.operation = static_cast<Operation>(operation);
  if (members.has("rs_source_b64") == members.has("strategy_ref"))
    return field_fault(members.has("strategy_ref") ? Reason::field_unknown : Reason::field_missing,
                       members.at("rs_source_b64"), "or strategy_ref: exactly one is needed");
  if (members.has("rs_source_b64")) {
    CALYX_TRY(const std::string encoded, members.text("rs_source_b64"));
    out.source = core::read_base64(encoded, core::base64_standard);
    if (!out.source || out.source->size() > source_bytes_max)
      return field_fault(Reason::field_value, members.at("rs_source_b64"),
                         "must be the base64 of at most " + std::to_string(source_bytes_max) + " bytes");
  } else {
    CALYX_TRY(out.strategy_ref, members.text("strategy_ref"));
  }
  CALYX_TRY(const std::size_t device, members.word("device", schema::devices));
  out.asked.device = device_of(device);

  if (!runs_seeds(out.operation)) {
    for (const std::string_view name : {"seed_base", "count", "steps", "strict_curves", "per_seed"})
      if (members.has(name))
        return field_fault(Reason::field_unknown, members.at(name), "is not a field of this operation");
  }
  if (out.operation != Operation::validate_full && members.has("parity"))
    return field_fault(Reason::field_unknown, members.at("parity"), "is a field of validate_full alone");
  CALYX_TRY(const std::size_t parity, members.word("parity", parity_wishes));
  out.parity = static_cast<ParityWish>(parity);
  if (!is_chunk(out.operation)) {
    for (const std::string_view name : {"start", "chunk_index", "chunk_count", "total_count"})
      if (members.has(name))
        return field_fault(Reason::field_unknown, members.at(name), "is a field of chunks alone");
  }
  CALYX_TRY(out.asked.seed_base, members.seed("seed_base"));
  CALYX_TRY(out.asked.count, members.count_or("count", {1, prop_amm::count_max}, out.asked.count));
  if (is_chunk(out.operation)) CALYX_CHECK(read_chunk(members, out.asked));
  CALYX_TRY(const std::uint64_t steps, members.count_or("steps", {1, prop_amm::steps_max}, out.asked.steps));
  out.asked.steps = static_cast<std::uint32_t>(steps);
  CALYX_TRY(out.asked.strict_curves, flag(members, "strict_curves", true));
  CALYX_TRY(out.per_seed, flag(members, "per_seed", false));
  if (out.per_seed && out.asked.count > per_seed_max)
    return field_fault(Reason::field_value, members.at("count"),
                       "is " + std::to_string(out.asked.count) + ", takes at most " +
                           std::to_string(per_seed_max) + " with per_seed");
  out.asked.bpf_rules = out.operation == Operation::bpf_eval || out.operation == Operation::bpf_eval_chunk;
  return out;
}

json::Value number_or_null(const std::optional<double>& number) {
  return number ? json::Value(*number) : json::Value();
}

json::Value shown(const prop_amm::SeedEdge& edge) {
  json::Object out;
  out.set("seed", core::seed_value(edge.seed));
  out.set("edge", edge.violation ? json::Value() : json::Value(edge.edge));
  if (edge.violation)
    out.set("violation",
            json::object({{"kind", edge.violation->kind}, {"context", edge.violation->context}}));
  return out;
}

json::Value shown(const prop_amm::CallFailure& failure) {
  return json::object({{"seed", core::seed_value(failure.seed)},
                       {"step", failure.step},
                       {"kind", failure.kind},
                       {"message", failure.message},
                       {"line", failure.line}});
}

Result<json::Value> evaluated(const prop_amm::Strategy& strategy, Payload payload, const TaskCall& call) {
  payload.asked.stopped = call.stopped;
  if (call.progress)
    payload.asked.progress = [&](std::uint64_t done) {
      if (done % progress_every == 0)
        call.progress(json::object({{"seeds", done}, {"of", payload.asked.count}}));
    };
  CALYX_TRY(const prop_amm::Evaluation found, strategy.evaluate(payload.asked));
  json::Object out;
  out.set("seed_base", core::seed_value(payload.asked.seed_base));
  if (is_chunk(payload.operation)) out.set("start", core::seed_value(payload.asked.start));
  out.set("count", payload.asked.count);
  out.set("steps", payload.asked.steps);
  out.set("total_edge", number_or_null(found.total_edge));
  out.set("avg_edge", number_or_null(found.avg_edge));
  out.set("violations", found.failure ? json::Value() : json::Value(found.violations));
  if (found.failure) out.set("failure", shown(*found.failure));
  if (payload.per_seed) {
    json::Array edges;
    edges.reserve(found.edges.size());
    for (const prop_amm::SeedEdge& edge : found.edges) edges.push_back(shown(edge));
    out.set("edges", std::move(edges));
  }
  return json::Value(std::move(out));
}

/// The verdict on a strategy that is no program at all.
json::Value refused(const Error& error) {
  return json::object({{"valid", false},
                       {"reason", *error.details.find("code")},
                       {"message", error.message},
                       {"line", *error.details.find("line")},
                       {"column", *error.details.find("column")}});
}

/// What `require` makes of a comparison that was skipped: a source that rustc refuses is not valid, and what
/// this host cannot do another one may.
Result<Done> require_parity(prop_amm::Verdict& verdict) {
  if (verdict.parity != "skipped" || verdict.parity_reason == "not_reached") return Done{};
  if (verdict.parity_reason != "source_refused")
    return fail(Reason::unsupported, "parity is required, and was skipped: " + verdict.parity_message,
                json::object({{"field", "/payload/parity"}, {"parity_reason", verdict.parity_reason}}));
  verdict.valid = false;
  verdict.reason = "parity";
  verdict.message = std::move(verdict.parity_message);
  return Done{};
}

Result<json::Value> validated(const prop_amm::Strategy& strategy, prop_amm::Checks checks, ParityWish wish,
                              const TaskCall& call) {
  CALYX_TRY(
      prop_amm::Verdict verdict,
      strategy.validate(checks, call.stopped, wish == ParityWish::skip ? RunEnclosed() : call.enclosed));
  if (wish == ParityWish::skip && verdict.parity_reason == "no_enclosure")
    verdict.parity_reason = "not_asked";
  if (wish == ParityWish::require) CALYX_CHECK(require_parity(verdict));
  // In words for a person, and no part of the result: it differs from host to host.
  if (call.progress && !verdict.parity_message.empty())
    call.progress(json::object({{"parity", verdict.parity}, {"message", verdict.parity_message}}));
  json::Object out;
  out.set("valid", verdict.valid);
  if (!verdict.valid) {
    out.set("reason", verdict.reason);
    out.set("message", verdict.message);
    if (!verdict.side.empty()) out.set("side", verdict.side);
    if (verdict.size) out.set("size", *verdict.size);
    if (verdict.line != 0) out.set("line", verdict.line);
  }
  out.set("name", strategy.name());
  out.set("model_used", strategy.model_used());
  if (checks == prop_amm::Checks::full) {
    out.set("parity", verdict.parity);
    if (!verdict.parity_reason.empty()) out.set("parity_reason", verdict.parity_reason);
    if (verdict.runs) {
      json::Array edges;
      for (const prop_amm::SeedEdge& edge : verdict.runs->edges) edges.push_back(shown(edge));
      out.set("runs", json::object({{"edges", std::move(edges)},
                                    {"total_edge", number_or_null(verdict.runs->total_edge)}}));
    }
  }
  return json::Value(std::move(out));
}

Result<json::Value> built(const prop_amm::Strategy& strategy, const TaskCall& call) {
  constexpr std::string_view file = "strategy.calyx-bytecode";
  const std::string bytes = strategy.bytecode();
  if (call.leave) CALYX_CHECK(call.leave(file, bytes));
  return json::object(
      {{"valid", true},
       {"name", strategy.name()},
       {"model_used", strategy.model_used()},
       {"bytecode", json::object({{"artifact", call.leave ? json::Value(file) : json::Value()},
                                  {"bytes", bytes.size()},
                                  {"instructions", strategy.instructions()}})},
       {"bpf", json::Value()}});
}

Result<json::Value> run(const TaskCall& call) {
  CALYX_TRY(Payload payload, read_payload(call.payload));
  if (payload.asked.device == Device::cuda) {
    CALYX_CHECK(device_for("/payload/device"));
    if (!runs_seeds(payload.operation)) return only_on_cpu("/payload/device", "this operation");
  }
  if (!payload.source) {
    if (!call.artifact)
      return fail(Reason::unsupported, "there is no market whose artifacts strategy_ref could name",
                  json::object({{"field", "/payload/strategy_ref"}}));
    CALYX_TRY(payload.source, call.artifact(payload.strategy_ref, object_bytes_max));
  }
  const bool is_object = payload.source->starts_with(
      "\x7f"
      "ELF");
  if (is_object && !payload.asked.bpf_rules)
    return field_fault(Reason::field_value, "/payload/strategy_ref",
                       "is an ELF file, which bpf_eval and bpf_eval_chunk take");
  const Result<prop_amm::Strategy> strategy =
      is_object ? prop_amm::Strategy::load({reinterpret_cast<const unsigned char*>(payload.source->data()),
                                            payload.source->size()})
                : prop_amm::Strategy::compile(*payload.source);
  const bool judges = payload.operation == Operation::validate ||
                      payload.operation == Operation::validate_full ||
                      payload.operation == Operation::concavity_check;
  if (!strategy.ok()) return judges ? Result<json::Value>(refused(strategy.error())) : strategy.error();
  switch (payload.operation) {
    case Operation::validate: return validated(*strategy, prop_amm::Checks::fast, payload.parity, call);
    case Operation::validate_full: return validated(*strategy, prop_amm::Checks::full, payload.parity, call);
    case Operation::concavity_check:
      return validated(*strategy, prop_amm::Checks::concavity, payload.parity, call);
    case Operation::build: return built(*strategy, call);
    default: return evaluated(*strategy, std::move(payload), call);
  }
}

/// A source that lies in the payload is compiled before any money is held, where the result would not be the
/// verdict on it.
Result<Done> check(const json::Value& value) {
  CALYX_TRY(const Payload payload, read_payload(value));
  if (!payload.source || !(runs_seeds(payload.operation) || payload.operation == Operation::build))
    return Done{};
  Result<prop_amm::Strategy> strategy = prop_amm::Strategy::compile(*payload.source);
  if (strategy.ok()) return Done{};
  Error error = strategy.error();
  json::Object details = *error.details.object();
  details.set("field", "/payload/rs_source_b64");
  error.details = std::move(details);
  return error;
}

}  // namespace

RecipeDefinition prop_amm_recipe() {
  std::vector<std::string> names(operations.begin(), operations.end());
  return {.name = "prop_amm",
          .summary = "A pricing strategy of the Prop AMM challenge: what does it earn, and is it one at all?",
          .payload_schema = payload_schema(),
          .operations = std::move(names),
          .artifact_inputs = {"strategy_ref"},
          .result_class = RecipeClass::exact,
          .check = check,
          .run = run};
}

}  // namespace calyx::recipes
