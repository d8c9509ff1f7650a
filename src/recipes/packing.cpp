#include <algorithm>
#include <array>
#include <calyx/core/field.hpp>

#include "calyx_kernels/backend.hpp"
#include "recipes/recipes.hpp"

namespace calyx::recipes {
namespace {

namespace json = core::json;
namespace packing = kernels::packing;
using core::field_fault;

constexpr std::size_t candidates_max = 10'000;
constexpr std::size_t member_shown_max = 128;  // bytes of a stranger's word in an error
using Numbers = std::array<double, packing::candidate_numbers>;

json::Value packing_schema() {
  const auto candidate = [] {
    return json::object({{"type", "array"},
                         {"items", json::object({{"type", "number"}})},
                         {"minItems", packing::candidate_numbers},
                         {"maxItems", packing::candidate_numbers},
                         {"description", "x, y and direction of each of 15 pieces"}});
  };
  return json::object(
      {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
       {"type", "object"},
       {"required", json::array({"operation"})},
       {"additionalProperties", false},
       {"properties",
        json::object({{"operation", json::object({{"enum", json::array({"eval", "eval_batch"})}})},
                      {"candidate", candidate()},
                      {"candidates", json::object({{"type", "array"},
                                                   {"items", candidate()},
                                                   {"minItems", 1},
                                                   {"maxItems", candidates_max}})},
                      {"pieces", json::object({{"const", packing::pieces}})},
                      {"device", json::object({{"enum", json::array({"auto", "cpu", "cuda"})}})}})}});
}

Result<Numbers> read_candidate(const std::string& pointer, const json::Value* value) {
  if (value == nullptr) return field_fault(Reason::field_missing, pointer, "is missing");
  if (value->array() == nullptr) return field_fault(Reason::field_type, pointer, "must be a list of numbers");
  const json::Array& items = *value->array();
  if (items.size() != packing::candidate_numbers)
    return field_fault(Reason::field_value, pointer,
                       "has " + std::to_string(items.size()) + " numbers, needs " +
                           std::to_string(packing::candidate_numbers) + ": x, y and direction of each of " +
                           std::to_string(packing::pieces) + " pieces");
  Numbers out{};
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string at = pointer + "/" + std::to_string(i);
    if (const std::int64_t* integer = items[i].integer())
      out[i] = static_cast<double>(*integer);
    else if (const json::Real* real = items[i].real())
      out[i] = real->value;
    else
      return field_fault(Reason::field_type, at, "must be a number");
    Numbers one{};
    one[i] = out[i];
    if (packing::check_candidate(one.data(), one.size()) != kernels::Code::ok)
      return field_fault(Reason::field_value, at, "is no finite number, or no coordinate within 10^9");
  }
  return out;
}

/// What a payload asks for, checked.
struct Asked {
  bool batch = false;
  kernels::Preference device = kernels::Preference::none;
  std::vector<Numbers> candidates;
};

Result<Asked> read_payload(const json::Value& payload) {
  if (payload.object() == nullptr) return field_fault(Reason::field_type, "/payload", "must be an object");
  constexpr std::string_view known[] = {"operation", "candidate", "candidates", "pieces", "device"};
  for (const json::Member& member : *payload.object())
    if (std::find(std::begin(known), std::end(known), member.key) == std::end(known))
      return field_fault(Reason::field_unknown,
                         "/payload/" + std::string(std::string_view(member.key).substr(0, member_shown_max)),
                         "is not a member of this recipe's payload");
  Asked out;
  const json::Value* operation = payload.find("operation");
  if (operation == nullptr) return field_fault(Reason::field_missing, "/payload/operation", "is missing");
  const std::string* name = operation->string();
  if (name == nullptr || (*name != "eval" && *name != "eval_batch"))
    return field_fault(Reason::field_value, "/payload/operation", "must be eval or eval_batch");
  out.batch = *name == "eval_batch";
  if (const json::Value* pieces = payload.find("pieces"))
    if (pieces->integer() == nullptr || *pieces->integer() != static_cast<std::int64_t>(packing::pieces))
      return field_fault(Reason::field_value, "/payload/pieces",
                         "must be " + std::to_string(packing::pieces) + " in this version");
  if (const json::Value* device = payload.find("device")) {
    const std::string text = device->string() == nullptr ? std::string() : *device->string();
    if (text == "cpu")
      out.device = kernels::Preference::cpu;
    else if (text == "cuda")
      out.device = kernels::Preference::cuda;
    else if (text != "auto")
      return field_fault(Reason::field_value, "/payload/device", "must be auto, cpu or cuda");
  }
  const char* other = out.batch ? "candidate" : "candidates";
  if (payload.find(other) != nullptr)
    return field_fault(Reason::field_unknown, std::string("/payload/") + other,
                       "is not a member of this operation");
  if (!out.batch) {
    CALYX_TRY(const Numbers one, read_candidate("/payload/candidate", payload.find("candidate")));
    out.candidates.push_back(one);
    return out;
  }
  const json::Value* list = payload.find("candidates");
  if (list == nullptr) return field_fault(Reason::field_missing, "/payload/candidates", "is missing");
  if (list->array() == nullptr || list->array()->empty() || list->array()->size() > candidates_max)
    return field_fault(Reason::field_value, "/payload/candidates",
                       "must be a list of 1 to " + std::to_string(candidates_max) + " candidates");
  for (std::size_t i = 0; i < list->array()->size(); ++i) {
    CALYX_TRY(const Numbers one,
              read_candidate("/payload/candidates/" + std::to_string(i), &(*list->array())[i]));
    out.candidates.push_back(one);
  }
  return out;
}

json::Value shown(const packing::Verdict& verdict) {
  json::Array pairs;
  for (std::uint32_t i = 0; i < packing::pieces; ++i)
    for (std::uint32_t j = i + 1; j < packing::pieces; ++j)
      if (packing::overlaps(verdict, i, j)) pairs.push_back(json::array({i, j}));
  const packing::Circle& circle = verdict.circle;
  return json::object(
      {{"valid", verdict.valid != 0},
       {"score", circle.radius},
       {"mec", json::object({{"cx", circle.centre.x}, {"cy", circle.centre.y}, {"r", circle.radius}})},
       {"overlapping_pairs", std::move(pairs)},
       {"overlap_total", verdict.overlap_total},
       {"overlap_max", verdict.overlap_max}});
}

Result<json::Value> run(const TaskCall& call) {
  CALYX_TRY(const Asked asked, read_payload(call.payload));
  const kernels::Backend* backend = kernels::choose_backend(asked.device);
  if (backend == nullptr)
    return fail(Reason::unsupported, "no such device answers here; device may be auto",
                json::object({{"field", "/payload/device"}}));
  // The raw numbers of each candidate, and the six decimals that are scored.
  std::vector<double> numbers;
  for (const Numbers& raw : asked.candidates) {
    Numbers rounded{};
    packing::round_candidate(raw.data(), rounded.data());
    numbers.insert(numbers.end(), raw.begin(), raw.end());
    numbers.insert(numbers.end(), rounded.begin(), rounded.end());
  }
  std::vector<packing::Verdict> verdicts(2 * asked.candidates.size());
  if (backend->packing_eval(numbers.data(), verdicts.size(), verdicts.data()) != kernels::Code::ok)
    return fail(Reason::internal, "a candidate passed its check, and the kernel refused it");
  const auto both = [&](std::size_t i) {
    return json::object({{"raw", shown(verdicts[2 * i])}, {"rounded", shown(verdicts[2 * i + 1])}});
  };
  if (!asked.batch) return both(0);
  json::Array all;
  json::Value best;
  double best_score = 0;
  for (std::size_t i = 0; i < asked.candidates.size(); ++i) {
    all.push_back(both(i));
    const packing::Verdict& scored = verdicts[2 * i + 1];
    if (scored.valid == 0 || (!best.is_null() && scored.circle.radius >= best_score)) continue;
    best = json::Value(i);
    best_score = scored.circle.radius;
  }
  return json::object({{"results", std::move(all)}, {"best", std::move(best)}});
}

}  // namespace

RecipeDefinition packing_recipe() {
  return {
      .name = "packing",
      .summary = "Fifteen unit semicircles in the smallest circle: is a packing valid, and how large is it?",
      .payload_schema = packing_schema(),
      .operations = {"eval", "eval_batch"},
      .check = [](const json::Value& payload) -> Result<Done> {
        CALYX_CHECK(read_payload(payload));
        return Done{};
      },
      .run = run};
}

}  // namespace calyx::recipes
