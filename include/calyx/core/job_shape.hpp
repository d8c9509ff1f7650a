/// \file
/// A job's shape: how many tasks it has, what each of them reads, and how their results come together. All of
/// it is read from the submit once; a task's payload is then a function of its index.
///
/// Start at `JobShape::read`. A job of a million tasks is a few hundred bytes here: explicit items are not
/// kept, only counted, and handed back by whoever stores them.
///
/// | type | one task for each | reads |
/// | --- | --- | --- |
/// | structured_runner | job | `payload` |
/// | with fan_out.by | value of that list of the payload | the payload, the value in the list's place |
/// | with fan_out.items | item | `payload`, the item's members over it |
/// | with fan_out.chunks | chunk of 0 to `total` - 1 | `payload`, the chunk as below |
/// | sweep | point of the grid, or of the sample | `fixed_payload` and the point's parameters |
/// | map_reduce | chunk of the split | `payload`, the chunk as below |
/// | benchmark | replica and candidate | `shared_payload`, the candidate's over it, `seed` |
///
/// A chunk of fan_out with the `range_field` f is f, its size; f_start; f_end, which is not in it. A script
/// that does f pieces of work in one go then does its share. A chunk of a split is a slice of the list, under
/// the name of `split.field` or `items`; of a range it is `range`: `{start, end}`. More chunks than there are
/// indices are refused: empty ones would be paid for.
///
/// With `batch_size` b, of a fan-out or a sweep, a task stands for b units (fewer in the last one) and reads
/// `{"items": [...]}`: what each unit would have read.
///
/// A map_reduce whose `reduce` is a command has more tasks behind its chunks (core/reduce_tree.hpp). Such a
/// task reads the `payload` and `results`: what the tasks that it takes came to, in their order.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <array>
#include <calyx/core/benchmark.hpp>
#include <calyx/core/chunks.hpp>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/metric.hpp>
#include <calyx/core/reduce.hpp>
#include <calyx/core/reduce_tree.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/sweep.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core {

inline constexpr std::uint64_t tasks_max = exact_integer_max;
inline constexpr std::uint64_t batch_size_max = 100'000;

enum class JobType : std::uint8_t { structured_runner, sweep, map_reduce, benchmark };
inline constexpr std::string_view job_type_words[] = {"structured_runner", "sweep", "map_reduce",
                                                      "benchmark"};

/// How the results of a fan-out come together.
enum class MergeStrategy : std::uint8_t { collect, keyed, weighted_avg };
inline constexpr std::string_view merge_strategy_words[] = {"collect", "keyed", "weighted_avg"};

/// What `keyed` does with a key that comes again.
enum class OnDuplicate : std::uint8_t { error, last };
inline constexpr std::string_view on_duplicate_words[] = {"error", "last"};

class JobShape {
 public:
  /// Item `index` of the explicit ones, which stood at `items_pointer()`.
  using ItemAt = std::function<Result<json::Value>(std::uint64_t)>;

  /// Reads what a submit says of its shape. Members that say nothing of it are somebody else's and ignored;
  /// those of another type are refused.
  ///
  /// Fails, with the place in `details.field`: `field_missing`, `field_type`, `field_value`, `field_unknown`.
  static Result<JobShape> read(const json::Object& submit) { return read(submit, std::nullopt); }

  /// Reads the same of a submit whose explicit items were cut out: whatever stands at `items_pointer()` is
  /// not looked at, and there are `items` of them. A shape that has none is read as by `read`.
  static Result<JobShape> read_stored(const json::Object& submit, std::uint64_t items) {
    return read(submit, std::optional<std::uint64_t>(items));
  }

  JobType type() const noexcept { return type_; }
  std::uint64_t tasks() const noexcept {
    if (tree_) return tree_->tasks();
    return batch_size_ == 0 ? units_ : sized_chunks(units_, batch_size_);
  }

  /// Which tasks reduce by the command of `reduce()`, and what each takes; null where none do. Those before
  /// them are as many as units.
  const ReduceTree* reduce_tree() const noexcept { return tree_ ? &*tree_ : nullptr; }
  bool reduces(std::uint64_t index) const noexcept { return tree_ && index >= units_; }

  /// What tasks stand for: an item, a point, a chunk, a candidate's replica. As many as tasks without
  /// batches.
  std::uint64_t units() const noexcept { return units_; }
  /// The units of task `index`; none of one that reduces.
  Chunk units_of(std::uint64_t index) const noexcept {
    if (reduces(index)) return {units_, units_};
    return batch_size_ == 0 ? Chunk{index, index + 1} : sized_chunk(units_, batch_size_, index);
  }
  /// Whether tasks read `{"items": [...]}`, even of one.
  bool batched() const noexcept { return batch_size_ != 0; }

  std::uint64_t items() const noexcept { return items_; }  ///< 0: no explicit items.
  std::string_view items_pointer() const noexcept { return items_pointer_; }

  /// The explicit items that task `index` needs, for whoever reads them ahead.
  Chunk items_of(std::uint64_t index) const noexcept {
    if (items_ == 0 || reduces(index)) return {};
    return source_ == Source::split_list ? split_chunk(index) : units_of(index);
  }

  /// What task `index`, which is below `tasks()` and reduces nothing, reads. Fails: as `item` does.
  Result<json::Value> payload(std::uint64_t index, const ItemAt& item) const {
    const Chunk units = units_of(index);
    if (!batched()) return unit_payload(units.start, item);
    json::Array items;
    for (std::uint64_t unit = units.start; unit < units.end; ++unit) {
      CALYX_TRY(json::Value payload, unit_payload(unit, item));
      items.push_back(std::move(payload));
    }
    return json::object({{"items", std::move(items)}});
  }

  /// What a task that reduces `results` reads.
  json::Value reduce_payload(json::Array results) const {
    json::Object out = base_;
    out.set("results", std::move(results));
    if (source_ == Source::split_list) out.erase(field_);  // what is there of the list is nothing
    return json::Value(std::move(out));
  }

  /// The parameters of a sweep's point `unit`, as its `point_identity` is made of. Empty for other types.
  json::Object point(std::uint64_t unit) const { return points_ ? (*points_)[unit] : json::Object(); }

  /// Item `index` as `item` gives it. Fails: as it does, and `internal` when there is none to ask.
  static Result<json::Value> asked(const ItemAt& item, std::uint64_t index) {
    if (!item) return fail(Reason::internal, "nobody gives item " + std::to_string(index) + " back");
    return item(index);
  }

  // How results come together; `Merger` reads these.
  bool fans_out() const noexcept { return source_ != Source::one; }
  MergeStrategy merge_strategy() const noexcept { return merge_strategy_; }
  OnDuplicate on_duplicate() const noexcept { return on_duplicate_; }
  const std::optional<Path>& key_field() const noexcept { return key_field_; }
  /// The reduction of map_reduce, or what stands for `weighted_avg`.
  const ReduceRule& reduce() const noexcept { return reduce_; }
  const std::optional<RankBy>& rank_by() const noexcept { return rank_by_; }
  const Benchmark& benchmark() const noexcept { return benchmark_; }

 private:
  enum class Source : std::uint8_t { one, by, items, chunks, grid, split_list, split_range, replicas };

  static Result<JobShape> read(const json::Object& submit, std::optional<std::uint64_t> stored) {
    const Members members(submit, "", "a job");
    CALYX_TRY(const std::size_t type, members.word("type", job_type_words));
    JobShape out;
    out.type_ = static_cast<JobType>(type);
    CALYX_CHECK(out.refuse_others(members));
    switch (out.type_) {
      case JobType::structured_runner: CALYX_CHECK(out.read_fan_out(members, stored)); break;
      case JobType::sweep: CALYX_CHECK(out.read_sweep(members)); break;
      case JobType::map_reduce: CALYX_CHECK(out.read_map_reduce(members, stored)); break;
      case JobType::benchmark: CALYX_CHECK(out.read_benchmark(members)); break;
    }
    return out;
  }

  /// Fails: `field_unknown`, when a member belongs to another type.
  Result<Done> refuse_others(const Members& submit) const {
    struct Row {
      std::string_view name;
      std::array<bool, 4> of;  // in the order of JobType
    };
    constexpr Row rows[] = {
        {"payload", {true, false, true, false}},         {"fan_out", {true, false, false, false}},
        {"batch_size", {true, true, false, false}},      {"merge_strategy", {true, false, false, false}},
        {"key_field", {true, false, false, false}},      {"on_duplicate", {true, false, false, false}},
        {"weight", {true, false, false, false}},         {"parameters", {false, true, false, false}},
        {"fixed_payload", {false, true, false, false}},  {"sample", {false, true, false, false}},
        {"rank_by", {false, true, false, true}},         {"split", {false, false, true, false}},
        {"reduce", {false, false, true, false}},         {"candidates", {false, false, false, true}},
        {"shared_payload", {false, false, false, true}}, {"replicas", {false, false, false, true}},
        {"seed", {false, false, false, true}},
    };
    const auto type = static_cast<std::size_t>(type_);
    for (const Row& row : rows)
      if (!row.of[type] && submit.has(row.name))
        return field_fault(Reason::field_unknown, submit.at(row.name),
                           "is not a field of " + std::string(job_type_words[type]));
    return Done{};
  }

  Result<Done> read_fan_out(const Members& submit, std::optional<std::uint64_t> stored) {
    const json::Value* fan_out = submit.find("fan_out");
    CALYX_CHECK(read_merge(submit));
    if (fan_out == nullptr) {
      if (submit.has("batch_size"))
        return field_fault(Reason::field_value, submit.at("batch_size"), "needs a fan_out to group");
      CALYX_TRY(base_, submit.object_or_empty("payload"));
      units_ = 1;
      return Done{};
    }
    CALYX_TRY(const Members shape, Members::of(*fan_out, submit.at("fan_out"), "fan_out"));
    CALYX_CHECK(shape.only({"by", "items", "chunks", "range_field", "total", "batch_size"}));
    CALYX_CHECK(read_batch_size(submit, &shape));
    std::vector<std::string_view> shapes;
    if (shape.has("by")) shapes.push_back("by");
    if (shape.has("items")) shapes.push_back("items");
    if (shape.has("chunks") || shape.has("range_field") || shape.has("total")) shapes.push_back("chunks");
    if (shapes.empty() && stored) shapes.push_back("items");  // cut out without a trace
    if (shapes.empty())
      return field_fault(Reason::field_missing, shape.pointer(), "needs one of by, items and chunks");
    if (shapes.size() > 1)
      return field_fault(Reason::field_value, shape.pointer(),
                         "mixes " + listed(shapes, "and") + ", takes exactly one");
    if (shapes.front() == "by") {
      source_ = Source::by;
      CALYX_TRY(field_, shape.text("by"));
      CALYX_CHECK(read_payload_list(submit, shape.at("by"), stored));
      units_ = items_;
    } else if (shapes.front() == "items") {
      source_ = Source::items;
      CALYX_TRY(base_, submit.object_or_empty("payload"));
      CALYX_CHECK(read_list(shape.at("items"), shape.find("items"), stored));
      units_ = items_;
      if (!stored) CALYX_CHECK(all_objects(*shape.find("items")->array()));
    } else {
      source_ = Source::chunks;
      CALYX_TRY(base_, submit.object_or_empty("payload"));
      CALYX_TRY(field_, shape.text("range_field"));
      CALYX_TRY(total_, shape.count("total", {}));
      CALYX_TRY(chunks_, shape.count("chunks", {.most = total_}));
      units_ = chunks_;
    }
    const bool keyed = merge_strategy_ == MergeStrategy::keyed;
    if (keyed && !key_field_ && source_ != Source::by)
      return field_fault(Reason::field_missing, submit.at("key_field"),
                         "is missing: keyed takes keys from it, or from fan_out.by");
    return Done{};
  }

  Result<Done> read_merge(const Members& submit) {
    CALYX_TRY(const std::size_t strategy, submit.word("merge_strategy", merge_strategy_words));
    merge_strategy_ = static_cast<MergeStrategy>(strategy);
    const auto only_with = [&](std::string_view name, MergeStrategy with) -> Result<Done> {
      if (!submit.has(name) || merge_strategy_ == with) return Done{};
      return field_fault(
          Reason::field_value, submit.at(name),
          "is for merge_strategy " + std::string(merge_strategy_words[static_cast<std::size_t>(with)]));
    };
    CALYX_CHECK(only_with("key_field", MergeStrategy::keyed));
    CALYX_CHECK(only_with("on_duplicate", MergeStrategy::keyed));
    CALYX_CHECK(only_with("weight", MergeStrategy::weighted_avg));
    if (const json::Value* key = submit.find("key_field")) {
      CALYX_TRY(key_field_, read_path(submit.at("key_field"), *key));
    }
    CALYX_TRY(const std::size_t on_duplicate, submit.word("on_duplicate", on_duplicate_words));
    on_duplicate_ = static_cast<OnDuplicate>(on_duplicate);
    if (merge_strategy_ == MergeStrategy::weighted_avg) {
      OperatorRule average{.op = Operator::weighted_avg};
      if (const json::Value* weight = submit.find("weight")) {
        CALYX_TRY(average.weight, read_path(submit.at("weight"), *weight));
      }
      reduce_.fields.push_back({Path{}, std::move(average)});
    }
    return Done{};
  }

  /// The sources name it beside `fan_out` without saying where, so it may stand in either.
  Result<Done> read_batch_size(const Members& submit, const Members* shape) {
    const bool inner = shape != nullptr && shape->has("batch_size");
    if (inner && submit.has("batch_size"))
      return field_fault(Reason::field_value, shape->at("batch_size"), "is given twice: also as /batch_size");
    const Members& from = inner ? *shape : submit;
    if (!from.has("batch_size")) return Done{};
    CALYX_TRY(batch_size_, from.count("batch_size", {.most = batch_size_max}));
    return Done{};
  }

  Result<Done> read_sweep(const Members& submit) {
    source_ = Source::grid;
    CALYX_TRY(const json::Value* const parameters, submit.need("parameters"));
    CALYX_TRY(Grid grid, Grid::read(submit.at("parameters"), *parameters));
    CALYX_TRY(base_, submit.object_or_empty("fixed_payload"));
    for (const std::string& name : grid.names())
      if (base_.find(name) != nullptr)
        return field_fault(Reason::field_value, pointer_step(submit.at("fixed_payload"), name),
                           "is a parameter too");
    CALYX_TRY(points_, Points::read(std::move(grid), submit.find("sample")));
    CALYX_CHECK(read_batch_size(submit, nullptr));
    if (const json::Value* rank_by = submit.find("rank_by")) {
      CALYX_TRY(rank_by_, read_rank_by(*rank_by, Ranks::points));
    }
    units_ = points_->size();
    return Done{};
  }

  Result<Done> read_map_reduce(const Members& submit, std::optional<std::uint64_t> stored) {
    CALYX_TRY(const json::Value* const split, submit.need("split"));
    CALYX_TRY(const Members shape, Members::of(*split, submit.at("split"), "split"));
    CALYX_CHECK(shape.only({"field", "items", "range", "chunk_size", "chunks"}));
    std::vector<std::string_view> shapes;
    for (const std::string_view name : {"field", "items", "range"})
      if (shape.has(name)) shapes.push_back(name);
    if (shapes.empty() && stored) shapes.push_back("items");  // cut out without a trace
    if (shapes.empty())
      return field_fault(Reason::field_missing, shape.pointer(), "needs one of field, items and range");
    if (shapes.size() > 1)
      return field_fault(Reason::field_value, shape.pointer(),
                         "mixes " + listed(shapes, "and") + ", takes exactly one");
    if (shape.has("range")) {
      source_ = Source::split_range;
      CALYX_TRY(base_, submit.object_or_empty("payload"));
      CALYX_CHECK(read_range(shape.at("range"), *shape.find("range")));
    } else {
      source_ = Source::split_list;
      if (shape.has("field")) {
        CALYX_TRY(field_, shape.text("field"));
        CALYX_CHECK(read_payload_list(submit, shape.at("field"), stored));
      } else {
        field_ = "items";
        CALYX_TRY(base_, submit.object_or_empty("payload"));
        CALYX_CHECK(read_list(shape.at("items"), shape.find("items"), stored));
      }
      total_ = items_;
    }
    const bool sized = shape.has("chunk_size");
    if (sized == shape.has("chunks"))
      return field_fault(
          sized ? Reason::field_value : Reason::field_missing, shape.pointer(),
          sized ? "has chunk_size and chunks, takes one of them" : "needs chunk_size or chunks");
    if (sized) {
      CALYX_TRY(chunk_size_, shape.count("chunk_size", {}));
      units_ = sized_chunks(total_, chunk_size_);
    } else {
      CALYX_TRY(chunks_, shape.count("chunks", {.most = total_}));
      units_ = chunks_;
    }
    CALYX_TRY(const json::Value* const reduce, submit.need("reduce"));
    CALYX_TRY(reduce_, read_reduce(*reduce));
    if (reduce_.command.empty()) return Done{};
    tree_.emplace(units_, reduce_.fan_in);
    if (tree_->tasks() > tasks_max)
      return field_fault(Reason::field_value, submit.at("reduce"),
                         "makes " + std::to_string(tree_->tasks()) + " tasks of these chunks, the most is " +
                             std::to_string(tasks_max));
    return Done{};
  }

  /// An integer n stands for 0 to n - 1; `{start, end}` for what lies between, without the end.
  Result<Done> read_range(const std::string& pointer, const json::Value& value) {
    if (value.object() == nullptr) {
      CALYX_TRY(total_, read_count(pointer, value, {}));
      return Done{};
    }
    const Members members(*value.object(), pointer, "a range");
    CALYX_CHECK(members.only({"start", "end"}));
    CALYX_TRY(start_, members.count_or("start", {.least = 0, .most = exact_integer_max - 1}, 0));
    CALYX_TRY(const std::uint64_t end, members.count("end", {.least = start_ + 1}));
    total_ = end - start_;
    return Done{};
  }

  Result<Done> read_benchmark(const Members& submit) {
    source_ = Source::replicas;
    CALYX_TRY(benchmark_, Benchmark::read(submit));
    CALYX_TRY(base_, submit.object_or_empty("shared_payload"));
    CALYX_CHECK(Benchmark::no_seed(submit.at("shared_payload"), base_));
    if (const json::Value* rank_by = submit.find("rank_by")) {
      CALYX_TRY(rank_by_, read_rank_by(*rank_by, Ranks::candidates));
    }
    units_ = benchmark_.tasks();
    return Done{};
  }

  /// The list that the payload has under `field_`, which was named at `pointer`. The rest of the payload is
  /// kept, with nothing in the list's place, which it keeps.
  Result<Done> read_payload_list(const Members& submit, const std::string& pointer,
                                 std::optional<std::uint64_t> stored) {
    const json::Value* payload = submit.find("payload");
    static const json::Object none;
    if (payload != nullptr && payload->object() == nullptr)
      return wrong_type(submit.at("payload"), *payload, "an object");
    const json::Object& members = payload == nullptr ? none : *payload->object();
    const json::Value* list = members.find(field_);
    if (!stored && (list == nullptr || list->array() == nullptr))
      return field_fault(Reason::field_value, pointer,
                         list == nullptr ? "names no member of the payload" : "names no list of the payload");
    CALYX_CHECK(read_list(full_pointer_step(submit.at("payload"), field_), list, stored));
    std::vector<json::Member> rest;
    for (const json::Member& member : members)
      rest.push_back({member.key, member.key == field_ ? json::Value() : member.value});
    base_ = *json::Object::of(std::move(rest));  // each key once, as in the payload
    return Done{};
  }

  Result<Done> read_list(std::string pointer, const json::Value* list, std::optional<std::uint64_t> stored) {
    if (!stored) {
      if (list->array() == nullptr) return wrong_type(pointer, *list, "an array");
      if (list->array()->empty()) return field_fault(Reason::field_value, pointer, "is empty");
    }
    items_ = stored ? *stored : list->array()->size();
    items_pointer_ = std::move(pointer);
    return Done{};
  }

  Result<Done> all_objects(const json::Array& items) const {
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i].object() == nullptr)
        return wrong_type(pointer_step(items_pointer_, i), items[i], "an object, one task's payload");
    return Done{};
  }

  Chunk split_chunk(std::uint64_t index) const noexcept {
    return chunk_size_ != 0 ? sized_chunk(total_, chunk_size_, index) : even_chunk(total_, chunks_, index);
  }

  Result<json::Value> unit_payload(std::uint64_t unit, const ItemAt& item) const {
    json::Object out = base_;
    switch (source_) {
      case Source::one: break;
      case Source::by: {
        CALYX_TRY(json::Value value, asked(item, unit));
        out.set(field_, std::move(value));
        break;
      }
      case Source::items: {
        CALYX_TRY(const json::Value own, asked(item, unit));
        if (own.object() == nullptr) return wrong_type(pointer_step(items_pointer_, unit), own, "an object");
        out = merged(std::move(out), *own.object());
        break;
      }
      case Source::chunks: {
        const Chunk chunk = even_chunk(total_, chunks_, unit);
        out.set(field_, chunk.size());
        out.set(field_ + "_start", chunk.start);
        out.set(field_ + "_end", chunk.end);
        break;
      }
      case Source::grid: out = merged(std::move(out), (*points_)[unit]); break;
      case Source::split_list: {
        const Chunk chunk = split_chunk(unit);
        json::Array slice;
        for (std::uint64_t i = chunk.start; i < chunk.end; ++i) {
          CALYX_TRY(json::Value value, asked(item, i));
          slice.push_back(std::move(value));
        }
        out.set(field_, std::move(slice));
        break;
      }
      case Source::split_range: {
        const Chunk chunk = split_chunk(unit);
        out.set("range", json::object({{"start", start_ + chunk.start}, {"end", start_ + chunk.end}}));
        break;
      }
      case Source::replicas: return json::Value(benchmark_.payload(unit, base_));
    }
    return json::Value(std::move(out));
  }

  JobType type_ = JobType::structured_runner;
  Source source_ = Source::one;
  std::uint64_t units_ = 0;
  std::uint64_t batch_size_ = 0;  ///< 0: no batches.
  std::uint64_t items_ = 0;
  std::string items_pointer_;

  json::Object base_;  ///< What all tasks read.
  std::string field_;  ///< Where a task's own part goes.
  std::uint64_t start_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t chunks_ = 0;
  std::uint64_t chunk_size_ = 0;  ///< 0: `chunks_` share evenly.
  std::optional<Points> points_;
  Benchmark benchmark_;

  MergeStrategy merge_strategy_ = MergeStrategy::collect;
  OnDuplicate on_duplicate_ = OnDuplicate::error;
  std::optional<Path> key_field_;
  ReduceRule reduce_;
  std::optional<ReduceTree> tree_;
  std::optional<RankBy> rank_by_;
};

}  // namespace calyx::core
