#include <algorithm>
#include <array>
#include <calyx/core/field.hpp>
#include <calyx/packing.hpp>
#include <cmath>

#include "calyx_kernels/backend.hpp"
#include "calyx_kernels/packing_polygon.hpp"
#include "calyx_kernels/packing_search.hpp"
#include "recipes/device.hpp"
#include "recipes/recipes.hpp"
#include "recipes/schema.hpp"

namespace calyx::recipes {
namespace {

namespace json = core::json;
namespace packing = kernels::packing;
using core::field_fault;
using core::Members;

/// The order of the payload's words.
enum class Operation : std::uint8_t {
  eval,
  eval_batch,
  feasible_optimize,
  basin_hopping,
  differential_evolution,
};
constexpr std::array<std::string_view, 5> operations = {"eval", "eval_batch", "feasible_optimize",
                                                        "basin_hopping", "differential_evolution"};

constexpr std::size_t candidates_max = 10'000;
constexpr std::uint64_t evaluations_limit = 1'000'000'000'000;
constexpr std::array<std::string_view, 2> areas_words = {"exact", "polygon"};

using Numbers = std::vector<double>;

bool searches(Operation operation) {
  return operation != Operation::eval && operation != Operation::eval_batch;
}

calyx::packing::Method method_of(Operation operation) {
  using calyx::packing::Method;
  return operation == Operation::basin_hopping            ? Method::basin_hopping
         : operation == Operation::differential_evolution ? Method::differential_evolution
                                                          : Method::feasible_optimize;
}

json::Value payload_schema() {
  const auto candidate = [](std::string_view what) {
    return json::object({{"type", "array"},
                         {"items", json::object({{"type", "number"}})},
                         {"minItems", 3},
                         {"maxItems", packing::numbers_max},
                         {"description", what}});
  };
  return schema::payload(json::object(
      {{"operation", schema::one_of(operations)},
       {"candidate", candidate("x, y and direction of each piece; where a search starts, if it is given")},
       {"candidates", json::object({{"type", "array"},
                                    {"items", candidate("as candidate")},
                                    {"minItems", 1},
                                    {"maxItems", candidates_max},
                                    {"description", "eval_batch"}})},
       {"candidate_ref", schema::text("an artifact that holds candidate, as JSON")},
       {"candidates_ref", schema::text("an artifact that holds candidates, as JSON")},
       {"pieces", schema::integer(1, packing::pieces_max, "how many; 15 if left out")},
       {"areas", json::object({{"enum", json::array({"exact", "polygon"})},
                               {"description",
                                "eval, eval_batch: which areas decide; polygon is the scorer's own way, "
                                "4096 points an arc, on the CPU alone; exact"}})},
       {"seed", schema::seed("of a search; 0 if left out,")},
       {"penalty", schema::number(packing::penalty_min, packing::penalty_max,
                                  "of a search: what a unit of shared area costs; 100")},
       {"max_iters",
        schema::integer(1, packing::iterations_max,
                        "of a search: moves of a restart (10000), hops (100) or generations (1000)")},
       {"max_evaluations",
        schema::integer(1, evaluations_limit, "of a search: its budget; none if left out")},
       {"n_restarts", schema::integer(1, packing::restarts_max, "feasible_optimize; 8")},
       {"hop_scale", schema::number(0, packing::hop_scale_max, "basin_hopping: deviation of a hop; 0.1")},
       {"temperature",
        schema::number(0, packing::temperature_max, "basin_hopping: of its Metropolis rule; 1")},
       {"population_size", schema::integer(packing::population_min, packing::population_max,
                                           "differential_evolution: how many individuals; 675")},
       {"chains",
        schema::integer(1, calyx::packing::chains_max,
                        "of a search: how many independent ones, whose seeds are seed and those that "
                        "follow, each with all of the limits; the best one is the result; 1")},
       {"device", schema::one_of(schema::devices)}}));
}

Result<Numbers> read_candidate(const std::string& pointer, const json::Value& value, std::uint32_t pieces) {
  if (value.array() == nullptr) return core::wrong_type(pointer, value, "a list of numbers");
  const json::Array& items = *value.array();
  if (items.size() != std::size_t{3} * pieces)
    return field_fault(Reason::field_value, pointer,
                       "has " + std::to_string(items.size()) + " numbers, needs " +
                           std::to_string(3 * pieces) + ": x, y and direction of each of " +
                           std::to_string(pieces) + " pieces");
  Numbers out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    if (const std::int64_t* integer = items[i].integer())
      out.push_back(static_cast<double>(*integer));
    else if (const json::Real* real = items[i].real())
      out.push_back(real->value);
    else
      return core::wrong_type(at, items[i], "a number");
    if (!std::isfinite(out.back()) || (i % 3 != 2 && std::fabs(out.back()) > packing::coordinate_max))
      return field_fault(Reason::field_value, at, "is no finite number, or no coordinate within 10^9");
  }
  return out;
}

/// A number from `low` to `high`, or what stands for one that is left out.
Result<double> number_or(const Members& members, std::string_view name, double low, double high,
                         double otherwise) {
  const json::Value* value = members.find(name);
  if (value == nullptr) return otherwise;
  double number = 0;
  if (const std::int64_t* integer = value->integer())
    number = static_cast<double>(*integer);
  else if (const json::Real* real = value->real())
    number = real->value;
  else
    return core::wrong_type(members.at(name), *value, "a number");
  if (!(number >= low && number <= high))
    return field_fault(
        Reason::field_value, members.at(name),
        "must be from " + json::canonical(json::Value(low)) + " to " + json::canonical(json::Value(high)));
  return number;
}

/// What a payload asks for, checked.
struct Payload {
  Operation operation = Operation::eval;
  Device device = Device::automatic;
  std::uint32_t pieces = packing::pieces;
  bool refers = false;              ///< The candidates are in an artifact, and not here yet.
  std::vector<Numbers> candidates;  ///< Of a search at most one: its start.
  calyx::packing::Areas areas = calyx::packing::Areas::exact;
  calyx::packing::SearchOptions search;
  bool tells_chain = false;  ///< The payload names a count of chains.
};

/// An artifact may hold what a member would: its numbers as JSON.
constexpr std::array<std::string_view, 2> by_reference = {"candidate", "candidates"};
constexpr std::size_t reference_bytes_max = std::size_t{32} << 20;

std::string reference_to(std::string_view member) { return std::string(member) + "_ref"; }

/// The members that are an operation's own.
Result<Done> check_members(const Members& members, Operation operation) {
  CALYX_CHECK(
      members.only({"operation", "candidate", "candidate_ref", "candidates", "candidates_ref", "pieces",
                    "areas", "seed", "penalty", "max_iters", "max_evaluations", "n_restarts", "hop_scale",
                    "temperature", "population_size", "chains", "device"}));
  const auto only_with = [&](bool fits, std::string_view name, std::string_view whose) -> Result<Done> {
    if (fits || !members.has(name)) return Done{};
    return field_fault(Reason::field_unknown, members.at(name),
                       "is a field of " + std::string(whose) + " alone");
  };
  const bool batch = operation == Operation::eval_batch;
  for (const std::string_view name : {"candidate", "candidate_ref"})
    CALYX_CHECK(only_with(!batch, name, "the other operations"));
  for (const std::string_view name : {"candidates", "candidates_ref"})
    CALYX_CHECK(only_with(batch, name, "eval_batch"));
  for (const std::string_view name : by_reference)
    if (members.has(name) && members.has(reference_to(name)))
      return field_fault(Reason::field_unknown, members.at(reference_to(name)),
                         "does not go with " + std::string(name));
  for (const std::string_view name : {"seed", "penalty", "max_iters", "max_evaluations", "chains"})
    CALYX_CHECK(only_with(searches(operation), name, "searches"));
  CALYX_CHECK(only_with(!searches(operation), "areas", "verdicts"));
  CALYX_CHECK(only_with(operation == Operation::feasible_optimize, "n_restarts", "feasible_optimize"));
  CALYX_CHECK(only_with(operation == Operation::basin_hopping, "hop_scale", "basin_hopping"));
  CALYX_CHECK(only_with(operation == Operation::basin_hopping, "temperature", "basin_hopping"));
  return only_with(operation == Operation::differential_evolution, "population_size",
                   "differential_evolution");
}

/// What the size of a chain hangs on.
packing::SearchSettings sizes_of(const calyx::packing::SearchOptions& options) {
  packing::SearchSettings out;
  if (options.method == calyx::packing::Method::differential_evolution)
    out.method = packing::Method::differential_evolution;
  out.count = options.pieces;
  out.population = options.population_size;
  return out;
}

/// What the checkpoints of all chains take, at most.
std::size_t checkpoints_bytes(const calyx::packing::SearchOptions& options) {
  return options.chains * (sizeof(std::uint64_t) + packing::checkpoint_bytes(sizes_of(options)));
}

Result<calyx::packing::SearchOptions> read_search(const Members& members, Operation operation,
                                                  std::uint32_t pieces) {
  calyx::packing::SearchOptions out;
  out.method = method_of(operation);
  out.pieces = pieces;
  CALYX_TRY(out.seed, members.seed("seed"));
  CALYX_TRY(out.penalty,
            number_or(members, "penalty", packing::penalty_min, packing::penalty_max, out.penalty));
  CALYX_TRY(out.max_iters, members.count_or("max_iters", {1, packing::iterations_max}, 0));
  CALYX_TRY(out.max_evaluations, members.count_or("max_evaluations", {1, evaluations_limit}, 0));
  CALYX_TRY(const std::uint64_t restarts,
            members.count_or("n_restarts", {1, packing::restarts_max}, out.n_restarts));
  out.n_restarts = static_cast<std::uint32_t>(restarts);
  CALYX_TRY(const std::uint64_t population,
            members.count_or("population_size", {packing::population_min, packing::population_max},
                             out.population_size));
  out.population_size = static_cast<std::uint32_t>(population);
  CALYX_TRY(const std::uint64_t chains,
            members.count_or("chains", {1, calyx::packing::chains_max}, out.chains));
  out.chains = static_cast<std::uint32_t>(chains);
  if (!packing::populations_fit(sizes_of(out), chains))
    return field_fault(
        Reason::field_value, members.at("chains"),
        "is more than 1 GiB has room for, with populations of " + std::to_string(out.population_size));
  CALYX_TRY(out.hop_scale, number_or(members, "hop_scale", 0, packing::hop_scale_max, out.hop_scale));
  if (out.hop_scale == 0) return field_fault(Reason::field_value, members.at("hop_scale"), "must be above 0");
  CALYX_TRY(out.temperature, number_or(members, "temperature", 0, packing::temperature_max, out.temperature));
  return out;
}

Result<Payload> read_payload(const json::Value& payload) {
  CALYX_TRY(const Members members, Members::of(payload, "/payload", "this recipe's payload"));
  Payload out;
  CALYX_CHECK(members.need("operation"));
  CALYX_TRY(const std::size_t operation, members.word("operation", operations));
  out.operation = static_cast<Operation>(operation);
  CALYX_CHECK(check_members(members, out.operation));
  CALYX_TRY(const std::size_t device, members.word("device", schema::devices));
  out.device = device_of(device);
  CALYX_TRY(const std::uint64_t pieces,
            members.count_or("pieces", {1, packing::pieces_max}, packing::pieces));
  out.pieces = static_cast<std::uint32_t>(pieces);
  CALYX_TRY(const std::size_t areas, members.word("areas", areas_words));
  if (areas == 1) out.areas = calyx::packing::Areas::polygon;
  for (const std::string_view name : by_reference)
    if (members.has(reference_to(name))) {
      CALYX_CHECK(members.text(reference_to(name)));
      out.refers = true;
    }
  if (searches(out.operation)) {
    CALYX_TRY(out.search, read_search(members, out.operation, out.pieces));
    out.search.device = out.device;
    out.tells_chain = members.has("chains");
    if (!members.has("candidate")) return out;
  }
  if (out.refers) return out;
  if (out.operation != Operation::eval_batch) {
    CALYX_TRY(const json::Value* const one, members.need("candidate"));
    CALYX_TRY(Numbers numbers, read_candidate(members.at("candidate"), *one, out.pieces));
    out.candidates.push_back(std::move(numbers));
    return out;
  }
  CALYX_TRY(const json::Value* const list, members.need("candidates"));
  if (list->array() == nullptr || list->array()->empty() || list->array()->size() > candidates_max)
    return field_fault(Reason::field_value, members.at("candidates"),
                       "must be a list of 1 to " + std::to_string(candidates_max) + " candidates");
  for (std::size_t i = 0; i < list->array()->size(); ++i) {
    CALYX_TRY(Numbers numbers, read_candidate(members.at("candidates") + "/" + std::to_string(i),
                                              (*list->array())[i], out.pieces));
    out.candidates.push_back(std::move(numbers));
  }
  return out;
}

/// What the rule says of one candidate, whatever its count of pieces.
struct Judged {
  bool valid = false;
  packing::Circle circle{};
  double overlap_total = 0, overlap_max = 0;
  json::Array overlapping_pairs;
};

Judged judged(const packing::Verdict& verdict) {
  Judged out{verdict.valid != 0, verdict.circle, verdict.overlap_total, verdict.overlap_max, {}};
  for (std::uint32_t i = 0; i < packing::pieces; ++i)
    for (std::uint32_t j = i + 1; j < packing::pieces; ++j)
      if (packing::overlaps(verdict, i, j)) out.overlapping_pairs.push_back(json::array({i, j}));
  return out;
}

Judged judged(const double* numbers, std::uint32_t pieces, calyx::packing::Areas areas) {
  packing::Layout layout;
  layout.set(numbers, pieces);
  Judged out{packing::valid(numbers, pieces),
             layout.support().circle,
             layout.overlap_total(),
             layout.overlap_max(),
             {}};
  std::array<double, packing::pairs_max> shared{};
  const bool polygons = areas == calyx::packing::Areas::polygon;
  if (polygons) {
    packing::polygon_areas(layout.all(), pieces, shared.data());
    out.overlap_total = out.overlap_max = 0;
  }
  for (std::uint32_t i = 0; i < pieces; ++i)
    for (std::uint32_t j = i + 1; j < pieces; ++j) {
      const double area = polygons ? shared[packing::pair_index(i, j, pieces)] : layout.pair_area(i, j);
      if (area > packing::overlap_area_max) out.overlapping_pairs.push_back(json::array({i, j}));
      if (!polygons) continue;
      out.overlap_total += area;
      out.overlap_max = std::max(out.overlap_max, area);
    }
  if (polygons)
    out.valid = out.overlapping_pairs.empty() && packing::contains(out.circle, layout.all(), pieces);
  return out;
}

json::Value shown(Judged judged) {
  const packing::Circle& circle = judged.circle;
  return json::object(
      {{"valid", judged.valid},
       {"score", circle.radius},
       {"mec", json::object({{"cx", circle.centre.x}, {"cy", circle.centre.y}, {"r", circle.radius}})},
       {"overlapping_pairs", std::move(judged.overlapping_pairs)},
       {"overlap_total", judged.overlap_total},
       {"overlap_max", judged.overlap_max}});
}

/// The verdicts on each candidate's numbers as they are and with the six decimals that are scored, in turn.
Result<std::vector<Judged>> judge(const std::vector<Numbers>& candidates, std::uint32_t pieces,
                                  calyx::packing::Areas areas, Device device) {
  std::vector<double> numbers;
  for (const Numbers& raw : candidates) {
    numbers.insert(numbers.end(), raw.begin(), raw.end());
    for (const double number : raw) numbers.push_back(packing::round6(number));
  }
  const std::size_t count = 2 * candidates.size();
  std::vector<Judged> out;
  out.reserve(count);
  if (pieces != packing::pieces || areas == calyx::packing::Areas::polygon) {
    for (std::size_t i = 0; i < count; ++i)
      out.push_back(judged(numbers.data() + i * 3 * pieces, pieces, areas));
    return out;
  }
  std::vector<packing::Verdict> verdicts(count);
  const bool may_choose = device == Device::automatic && count >= kernels::packing_device_min;
  const kernels::Backend* const backend =
      kernels::choose_backend(device == Device::cuda ? kernels::Preference::cuda
                              : may_choose           ? kernels::Preference::none
                                                     : kernels::Preference::cpu);
  kernels::Code code = backend->packing_eval(numbers.data(), count, verdicts.data());
  // The bytes are the same, wherever they come from.
  if (code == kernels::Code::no_device && device == Device::automatic)
    code = kernels::cpu_backend().packing_eval(numbers.data(), count, verdicts.data());
  if (code == kernels::Code::no_device) return device_failed();
  if (code != kernels::Code::ok)
    return fail(Reason::internal, "a candidate passed its check, and the kernel refused it");
  for (const packing::Verdict& verdict : verdicts) out.push_back(judged(verdict));
  return out;
}

Result<json::Value> evaluated(const Payload& payload) {
  CALYX_TRY(std::vector<Judged> verdicts,
            judge(payload.candidates, payload.pieces, payload.areas, payload.device));
  json::Array all;
  json::Value best;
  double best_score = 0;
  for (std::size_t i = 0; i < payload.candidates.size(); ++i) {
    const Judged& scored = verdicts[2 * i + 1];
    if (scored.valid && (best.is_null() || scored.circle.radius < best_score)) {
      best = json::Value(i);
      best_score = scored.circle.radius;
    }
    all.push_back(json::object(
        {{"raw", shown(std::move(verdicts[2 * i]))}, {"rounded", shown(std::move(verdicts[2 * i + 1]))}}));
  }
  if (payload.operation == Operation::eval) return all.front();
  return json::object({{"results", std::move(all)}, {"best", std::move(best)}});
}

json::Value finite_or_null(double number) {
  return std::isfinite(number) ? json::Value(number) : json::Value();
}

std::string_view word_of(calyx::packing::SearchEnd end) {
  using calyx::packing::SearchEnd;
  return end == SearchEnd::budget ? "budget" : end == SearchEnd::converged ? "converged" : "iterations";
}

json::Value listed(std::span<const double> numbers) {
  json::Array out;
  out.reserve(numbers.size());
  for (const double number : numbers) out.emplace_back(number);
  return json::Value(std::move(out));
}

/// How far a search is, with the best that it has: it stays with the task, also where that is cancelled or
/// runs out of time.
json::Value shown(const calyx::packing::SearchProgress& progress) {
  const bool any = std::isfinite(progress.objective);
  return json::object({{"evaluations", progress.evaluations},
                       {"iterations", progress.iterations},
                       {"objective", finite_or_null(progress.objective)},
                       {"score", finite_or_null(progress.score)},
                       {"candidate", any ? listed(progress.candidate) : json::Value()}});
}

/// The search, from where an earlier attempt of the task left it.
Result<calyx::packing::SearchResult> found_by(const Payload& payload, const TaskCall& call) {
  calyx::packing::SearchCalls calls{.stopped = call.stopped};
  if (call.progress)
    calls.progress = [&](const calyx::packing::SearchProgress& progress) { call.progress(shown(progress)); };
  // Without a place for checkpoints, or room there, a search is as good, until it is broken off.
  if (call.keep_checkpoint && checkpoints_bytes(payload.search) <= checkpoint_bytes_max)
    calls.checkpoint = [&](std::string_view bytes) { static_cast<void>(call.keep_checkpoint(bytes)); };
  std::span<const double> start;
  if (!payload.candidates.empty()) start = payload.candidates[0];
  if (call.checkpoint) {
    const Result<std::string> kept = call.checkpoint();
    if (kept.ok() && !kept->empty()) {
      Result<calyx::packing::SearchResult> found =
          calyx::packing::search(payload.search, start, calls, *kept);
      const json::Value* const field = found.ok() ? nullptr : found.error().details.find("field");
      // One that is damaged, or another version's, is not gone on from.
      if (field == nullptr || field->string() == nullptr || *field->string() != "/checkpoint") return found;
    }
  }
  return calyx::packing::search(payload.search, start, calls);
}

/// A search's result says nothing that two runs of it would say differently.
Result<json::Value> searched(const Payload& payload, const TaskCall& call) {
  CALYX_TRY(const calyx::packing::SearchResult found, found_by(payload, call));
  if (found.end == calyx::packing::SearchEnd::stopped)
    return fail(Reason::stopped, "was asked to stop; the task's progress has the best so far");
  CALYX_TRY(std::vector<Judged> verdicts,
            judge({found.candidate}, payload.pieces, payload.areas, Device::cpu));
  json::Value out = json::object({{"operation", operations[static_cast<std::size_t>(payload.operation)]},
                                  {"pieces", payload.pieces},
                                  {"seed", core::seed_value(payload.search.seed)},
                                  {"penalty", payload.search.penalty},
                                  {"evaluations", found.evaluations},
                                  {"iterations", found.iterations},
                                  {"ended", word_of(found.end)},
                                  {"objective", finite_or_null(found.objective)},
                                  {"score", finite_or_null(found.score)},
                                  {"candidate", listed(found.candidate)},
                                  {"raw", shown(std::move(verdicts[0]))},
                                  {"rounded", shown(std::move(verdicts[1]))}});
  // Who does not ask for chains has the bytes that a search had before there were any.
  if (payload.tells_chain) out.object()->set("chains", payload.search.chains).set("chain", found.chain);
  return out;
}

/// The payload with what its references hold in their place.
Result<json::Value> resolved(const TaskCall& call) {
  json::Object out;
  for (const json::Member& member : *call.payload.object()) {
    const auto refers = [&](std::string_view name) { return member.key == reference_to(name); };
    const auto found = std::find_if(by_reference.begin(), by_reference.end(), refers);
    if (found == by_reference.end() || member.value.is_null()) {
      out.set(member.key, member.value);
      continue;
    }
    if (!call.artifact_json)
      return fail(Reason::unsupported, "there is no market whose artifacts it could name",
                  json::object({{"field", core::pointer_step("/payload", member.key)}}));
    CALYX_TRY(json::Value held, call.artifact_json(*member.value.string(), reference_bytes_max));
    out.set(std::string(*found), std::move(held));
  }
  return json::Value(std::move(out));
}

Result<json::Value> run(const TaskCall& call) {
  CALYX_TRY(Payload payload, read_payload(call.payload));
  if (payload.refers) {
    CALYX_TRY(const json::Value whole, resolved(call));
    CALYX_TRY(payload, read_payload(whole));
  }
  if (payload.device == Device::cuda) {
    CALYX_CHECK(device_for("/payload/device"));
    if (searches(payload.operation)) return searched(payload, call);
    if (payload.pieces != packing::pieces)
      return only_on_cpu("/payload/device", "another count of pieces than 15");
    if (payload.areas == calyx::packing::Areas::polygon)
      return only_on_cpu("/payload/device", "a verdict by polygons");
  }
  if (searches(payload.operation)) return searched(payload, call);
  return evaluated(payload);
}

}  // namespace

RecipeDefinition packing_recipe() {
  std::vector<std::string> names(operations.begin(), operations.end());
  return {.name = "packing",
          .summary =
              "Unit semicircles in the smallest circle: is a packing valid, how large is it, and is "
              "there a smaller one?",
          .payload_schema = payload_schema(),
          .operations = std::move(names),
          .artifact_inputs = {"candidate_ref", "candidates_ref"},
          .result_class = RecipeClass::exact,
          .check = [](const json::Value& payload) -> Result<Done> {
            CALYX_CHECK(read_payload(payload));
            return Done{};
          },
          .run = run};
}

}  // namespace calyx::recipes
