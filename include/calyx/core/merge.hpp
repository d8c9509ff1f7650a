/// \file
/// A job's one result, from those of its tasks.
///
/// Start at `Merger`. Which tasks finished first means nothing: outcomes come in the order of their indices,
/// and what is summed is summed in one fixed tree over them.
///
/// | shape | result |
/// | --- | --- |
/// | one task | its result, or null |
/// | fan-out, collect | a list in the order of units, null for what failed |
/// | fan-out, keyed | an object: each result under its key |
/// | fan-out, weighted_avg | the mean of each numeric leaf, weighted; the sum of the weights themselves |
/// | sweep | the best points in order, as below |
/// | map_reduce | what its operators give |
/// | benchmark | `BenchmarkReport` |
///
/// A sweep gives `{points, failed, metric, mode, unranked, best, ranked, left_out}`. An entry of `ranked` is
/// `{index, parameters, value, result}`; `best` is the first, or null when none has a number. What has none
/// stands last and is counted in `unranked`. `left_out` counts the results beyond `rank_by.limit`: all of
/// them can be read task by task. Without `rank_by` there is no `value`, and the points that are listed are
/// the first.
///
/// Memory is bounded, whatever the number of tasks, for weighted_avg, sweeps and the operators but `concat`
/// and `merge`; collect and keyed hold all results, a benchmark one number a task.
///
/// Threads: a merger belongs to one thread at a time.
#pragma once

#include <calyx/core/benchmark.hpp>
#include <calyx/core/chunks.hpp>
#include <calyx/core/field.hpp>
#include <calyx/core/index_tree.hpp>
#include <calyx/core/job_shape.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/metric.hpp>
#include <calyx/core/reduce.hpp>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace calyx::core {

/// How a task of a batch said what became of its items.
enum class BatchAnswer : std::uint8_t {
  each,      ///< `{"results": [...]}`, one entry an item, in their order.
  together,  ///< Anything else: one result for all of them.
  wrong,     ///< Another number of results than of items.
};

inline BatchAnswer batch_answer(const json::Value& result, std::uint64_t items) noexcept {
  const json::Value* results = result.find("results");
  if (results == nullptr || results->array() == nullptr) return BatchAnswer::together;
  return results->array()->size() == items ? BatchAnswer::each : BatchAnswer::wrong;
}

/// What one entry of `results` says of its item: the result, or null when the item failed.
///
/// | entry | the item |
/// | --- | --- |
/// | `{"ok": false, ...}`, `{"error": e}` alone | failed |
/// | `{"ok": true, "result": r}` | r |
/// | `{"ok": r}` alone, r no boolean | r |
/// | anything else | the entry |
inline const json::Value* item_result(const json::Value& entry) noexcept {
  const json::Object* members = entry.object();
  if (members == nullptr) return &entry;
  const json::Value* ok = members->find("ok");
  if (ok == nullptr) return members->size() == 1 && members->begin()->key == "error" ? nullptr : &entry;
  if (ok->boolean() == nullptr) return members->size() == 1 ? ok : &entry;
  if (!*ok->boolean()) return nullptr;
  const json::Value* result = members->find("result");
  return result != nullptr ? result : &entry;
}

/// Whether `result` is one that task `index` may give: of a batch, one entry an item where there are any, and
/// always in a sweep, whose points are ranked one by one. For whoever takes results in: a task that fails
/// this has failed.
///
/// Fails: `field_value`, at the place in the result.
inline Result<Done> check_result(const JobShape& shape, std::uint64_t index, const json::Value& result) {
  if (!shape.batched()) return Done{};
  const std::uint64_t items = shape.units_of(index).size();
  const BatchAnswer answer = batch_answer(result, items);
  if (answer == BatchAnswer::wrong)
    return field_fault(Reason::field_value, "/results",
                       "has " + std::to_string(result.find("results")->array()->size()) + " results for " +
                           std::to_string(items) + " items");
  if (answer == BatchAnswer::together && shape.type() == JobType::sweep)
    return field_fault(Reason::field_missing, "/results",
                       "is missing: a batch of points needs the result of each");
  return Done{};
}

/// A job's result, and what had to be left out of it.
struct Merged {
  json::Value result;
  /// `failed`: units without a result; where a command reduces, tasks. `unkeyed`: results without a key.
  /// `missing`, `skipped`: values that an operator could not use, by field. `dropped`: leaves that results
  /// disagree on. Each only where there is some.
  json::Object notes;
};

class Merger {
 public:
  /// `shape` outlives the merger and stays where it is. `item` gives explicit items back; it is asked only
  /// when results are keyed by the values of `fan_out.by`.
  explicit Merger(const JobShape& shape, JobShape::ItemAt item = {})
      : shape_(&shape), item_(std::move(item)), report_(shape.benchmark(), shape.rank_by()) {
    if (shape.type() != JobType::sweep) return;
    // Without a metric all points are equal, and ties go to the smaller index.
    best_ = Best(shape.rank_by() ? shape.rank_by()->limit : ranked_default,
                 shape.rank_by() ? shape.rank_by()->mode : Mode::max);
  }

  /// Takes the outcome of task `index`: its result, or null when it failed or is missing. Indices come in
  /// order from 0 without a gap.
  ///
  /// Fails: `internal` when they do not; `field_value` when a key comes again; as `item` does.
  Result<Done> add(std::uint64_t index, const json::Value* result) {
    if (index != next_ || index >= shape_->tasks())
      return fail(Reason::internal, "task " + std::to_string(index) + " came where " + std::to_string(next_) +
                                        " of " + std::to_string(shape_->tasks()) + " was due");
    ++next_;
    if (shape_->reduce_tree() != nullptr) {  // the last task has reduced all
      if (result == nullptr) ++failed_;
      if (next_ == shape_->tasks() && result != nullptr) alone_ = *result;
      return Done{};
    }
    const Chunk units = shape_->units_of(index);
    if (!shape_->batched()) return add_unit(units.start, result);
    if (result != nullptr && !check_result(*shape_, index, *result).ok()) result = nullptr;
    if (result == nullptr) {
      for (std::uint64_t unit = units.start; unit < units.end; ++unit) CALYX_CHECK(add_unit(unit, nullptr));
      return Done{};
    }
    if (batch_answer(*result, units.size()) == BatchAnswer::together) return add_together(units, *result);
    const json::Array& entries = *result->find("results")->array();
    for (std::uint64_t unit = units.start; unit < units.end; ++unit)
      CALYX_CHECK(add_unit(unit, item_result(entries[static_cast<std::size_t>(unit - units.start)])));
    return Done{};
  }

  /// The job's result. Tasks that were not added count as failed; a list ends before them.
  Merged finish() && {
    Merged out;
    if (next_ < shape_->tasks())
      failed_ += shape_->reduce_tree() != nullptr ? shape_->tasks() - next_
                                                  : shape_->units() - shape_->units_of(next_).start;
    if (failed_ > 0) out.notes.set("failed", failed_);
    switch (shape_->type()) {
      case JobType::structured_runner: finish_fan_out(out); break;
      case JobType::sweep: out.result = ranking(); break;
      case JobType::map_reduce:
        out.result = shape_->reduce_tree() != nullptr
                         ? std::move(alone_)
                         : std::move(tree_).finish().value(shape_->reduce(), out.notes);
        break;
      case JobType::benchmark: out.result = std::move(report_).value(); break;
    }
    return out;
  }

 private:
  Result<Done> add_unit(std::uint64_t unit, const json::Value* result) {
    if (result == nullptr) ++failed_;
    switch (shape_->type()) {
      case JobType::structured_runner: break;
      case JobType::sweep: add_point(unit, result); return Done{};
      case JobType::map_reduce: tree_.add(Reduction::of(shape_->reduce(), unit, result)); return Done{};
      case JobType::benchmark: report_.add(unit, result); return Done{};
    }
    if (!shape_->fans_out()) {
      if (result != nullptr) alone_ = *result;
      return Done{};
    }
    switch (shape_->merge_strategy()) {
      case MergeStrategy::collect:
        list_.push_back(result == nullptr ? json::Value() : *result);
        return Done{};
      case MergeStrategy::keyed: return result == nullptr ? Result<Done>(Done{}) : add_keyed(unit, *result);
      case MergeStrategy::weighted_avg: break;
    }
    tree_.add(Reduction::of(shape_->reduce(), unit, result));
    return Done{};
  }

  /// One result of several units stands once, in the first one's place.
  Result<Done> add_together(Chunk units, const json::Value& result) {
    switch (shape_->merge_strategy()) {
      case MergeStrategy::collect: list_.push_back(result); return Done{};
      case MergeStrategy::keyed:
        // The values of fan_out.by are several, so such a result has the key that it says or none.
        if (shape_->key_field()) return add_keyed(units.start, result);
        ++unkeyed_;
        return Done{};
      case MergeStrategy::weighted_avg: break;
    }
    tree_.add(Reduction::of(shape_->reduce(), units.start, &result));
    for (std::uint64_t unit = units.start + 1; unit < units.end; ++unit) tree_.add(Reduction());
    return Done{};
  }

  /// Under its key: text as it is, anything else as its canonical JSON.
  Result<Done> add_keyed(std::uint64_t unit, const json::Value& result) {
    json::Value from_item;
    const json::Value* key = nullptr;
    if (shape_->key_field()) {
      key = shape_->key_field()->find(result);
    } else {
      CALYX_TRY(from_item, JobShape::asked(item_, unit));
      key = &from_item;
    }
    if (key == nullptr || key->is_null()) {
      ++unkeyed_;
      return Done{};
    }
    std::string text = key->string() != nullptr ? *key->string() : json::canonical(*key);
    const auto [place, is_new] = places_.emplace(text, Place{members_.size(), unit});
    if (is_new) {
      members_.push_back({std::move(text), result});
      return Done{};
    }
    if (shape_->on_duplicate() == OnDuplicate::error)
      return field_fault(Reason::field_value, "/merge_strategy",
                         "has the key " + std::string(repeatable(text)) + " for units " +
                             std::to_string(place->second.unit) + " and " + std::to_string(unit) +
                             "; on_duplicate may be last");
    members_[place->second.at].value = result;
    return Done{};
  }

  void add_point(std::uint64_t unit, const json::Value* result) {
    if (result == nullptr) return;
    std::optional<Number> number;
    if (shape_->rank_by()) {
      number = number_at(shape_->rank_by()->metric, *result);
      if (!number) ++unranked_;
    }
    ++completed_;
    if (best_.takes(number, unit)) best_.add({number, unit, *result});
  }

  json::Value ranking() {
    const std::uint64_t left_out = completed_ - best_.size();
    json::Array ranked;
    for (Best::Entry& entry : std::move(best_).sorted()) {
      json::Object row;
      row.set("index", entry.index);
      row.set("parameters", shape_->point(entry.index));
      if (shape_->rank_by()) {
        const json::Value* value = entry.number ? shape_->rank_by()->metric.find(entry.value) : nullptr;
        row.set("value", value == nullptr ? json::Value() : *value);
      }
      row.set("result", std::move(entry.value));
      ranked.push_back(std::move(row));
    }
    json::Object out;
    out.set("points", shape_->units());
    out.set("failed", failed_);
    if (shape_->rank_by()) {
      out.set("metric", shape_->rank_by()->metric.text);
      out.set("mode", mode_words[static_cast<std::size_t>(shape_->rank_by()->mode)]);
      out.set("unranked", unranked_);
      const bool any = !ranked.empty() && !ranked.front().find("value")->is_null();
      out.set("best", any ? ranked.front() : json::Value());
    }
    out.set("ranked", std::move(ranked));
    out.set("left_out", left_out);
    return out;
  }

  void finish_fan_out(Merged& out) {
    if (!shape_->fans_out()) {
      out.result = std::move(alone_);
      return;
    }
    switch (shape_->merge_strategy()) {
      case MergeStrategy::collect: out.result = std::move(list_); return;
      case MergeStrategy::keyed:
        if (unkeyed_ > 0) out.notes.set("unkeyed", unkeyed_);
        out.result = *json::Object::of(std::move(members_));  // `places_` kept keys apart
        return;
      case MergeStrategy::weighted_avg: break;
    }
    out.result = std::move(tree_).finish().value(shape_->reduce(), out.notes);
  }

  struct Place {
    std::size_t at;
    std::uint64_t unit;
  };

  const JobShape* shape_;
  JobShape::ItemAt item_;
  std::uint64_t next_ = 0;  ///< The task that is due.
  std::uint64_t failed_ = 0;
  std::uint64_t unkeyed_ = 0;
  std::uint64_t unranked_ = 0;
  std::uint64_t completed_ = 0;  ///< Points with a result.

  json::Value alone_;
  json::Array list_;
  std::vector<json::Member> members_;
  std::unordered_map<std::string, Place> places_;
  IndexTree<Reduction> tree_;
  Best best_;
  BenchmarkReport report_;
};

}  // namespace calyx::core
