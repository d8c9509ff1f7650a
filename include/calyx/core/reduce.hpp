/// \file
/// The operators by which the results of tasks become one: what they are told (`ReduceRule`), and what they
/// know of a stretch of tasks (`Reduction`), which merges with what they know of the next one.
///
/// Start at `read_reduce` and `Reduction::of`. Feed an `IndexTree<Reduction>`.
///
/// | operator | of | gives | of nothing |
/// | --- | --- | --- | --- |
/// | `sum` | numbers | an integer while all are and it fits 64 bits, else a double | 0 |
/// | `count` | anything but null | how many | 0 |
/// | `min`, `max` | numbers | the number as it came | null |
/// | `mean`, `var` | numbers | a double; the variance is the sample's and null below two | null |
/// | `any`, `all` | booleans | a boolean | false, true |
/// | `weighted_avg` | numbers | their mean, each weighted by `weight` in its result | null |
/// | `concat` | arrays, end to end; what is none is one item | an array | [] |
/// | `merge` | objects | their members, the later task's where both have one | {} |
/// | `top_k` | anything; an array is so many | the k best by the number at `by` | [] |
/// | `histogram` | numbers and arrays of them | counts between `edges`, and below and above | zeros |
///
/// Those of numbers or booleans alone (`sum`, `min`, `max`, `mean`, `var`, `any`, `all`, `weighted_avg`) also
/// take objects and arrays: they work leaf by leaf, and give the same shape. A leaf that tasks disagree on (a
/// number here, a text there; arrays of two lengths) is dropped, and said in the notes.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/metric.hpp>
#include <calyx/core/money.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/statistics.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace calyx::core {

enum class Operator : std::uint8_t {
  sum,
  count,
  min,
  max,
  mean,
  var,
  concat,
  merge,
  any,
  all,
  weighted_avg,
  top_k,
  histogram
};
inline constexpr std::string_view operator_words[] = {"sum",          "count",  "min",      "max", "mean",
                                                      "var",          "concat", "merge",    "any", "all",
                                                      "weighted_avg", "top_k",  "histogram"};

inline constexpr std::uint64_t top_k_max = 10'000;
inline constexpr std::size_t histogram_edges_max = 10'001;
inline constexpr std::size_t reduced_fields_max = 1'000;
inline constexpr std::uint64_t fan_in_default = 64;
inline constexpr std::uint64_t fan_in_max = 10'000;
inline constexpr std::size_t command_words_max = 1'000;

/// One operator and what it was told.
struct OperatorRule {
  Operator op = Operator::sum;
  Path by{};              ///< top_k: where the number stands in a value. Empty: the value itself.
  Path weight{"count"};   ///< weighted_avg: where the weight stands in a result.
  std::uint64_t k = 0;    ///< top_k.
  Mode mode = Mode::max;  ///< top_k.
  std::vector<double>
      edges{};  ///< histogram: rising; bin i is from edge i up to edge i + 1, the last includes it.
};

/// What becomes of the results: one operator over whole results, an operator for each of some fields, or a
/// command of the caller's, which core cannot run.
struct ReduceRule {
  struct Field {
    Path path;  ///< Empty: the result itself.
    OperatorRule rule;
  };
  std::vector<Field> fields;
  bool whole = true;                 ///< One operator, over whole results.
  std::vector<std::string> command;  ///< Its words, when a command reduces; then there are no fields.
  std::uint64_t fan_in = 0;          ///< How many results, or results of the command, it takes at a time.
};

/// Whether `value` is written as one of the operators: its word, or an object of that one word.
inline bool says_operator(const json::Value& value) noexcept {
  const std::string* word = value.string();
  if (const json::Object* members = value.object(); members != nullptr && members->size() == 1)
    word = &members->begin()->key;
  return word != nullptr &&
         std::find(std::begin(operator_words), std::end(operator_words), *word) != std::end(operator_words);
}

/// `"sum"`, or `{"top_k": {...}}` for one that is told something.
inline Result<OperatorRule> read_operator(const std::string& pointer, const json::Value& value) {
  if (!says_operator(value)) {
    if (value.string() == nullptr && value.object() == nullptr)
      return wrong_type(pointer, value, "an operator or an object");
    return field_fault(Reason::field_value, pointer, "must be one operator: " + listed(operator_words));
  }
  const bool plain = value.string() != nullptr;
  const std::string& word = plain ? *value.string() : value.object()->begin()->key;
  OperatorRule out;
  out.op = static_cast<Operator>(std::find(std::begin(operator_words), std::end(operator_words), word) -
                                 std::begin(operator_words));
  const bool needs_more = out.op == Operator::top_k || out.op == Operator::histogram;
  if (plain && needs_more)
    return field_fault(Reason::field_value, pointer,
                       out.op == Operator::top_k ? "needs {\"top_k\": {\"by\", \"k\", \"mode\"}}"
                                                 : "needs {\"histogram\": {\"edges\"}}");
  if (plain) return out;

  CALYX_TRY(const Members told,
            Members::of(value.object()->begin()->value, pointer_step(pointer, word), word));
  if (out.op == Operator::top_k) {
    CALYX_CHECK(told.only({"by", "k", "mode"}));
    if (const json::Value* by = told.find("by")) {
      CALYX_TRY(out.by, read_path(told.at("by"), *by));
    }
    CALYX_TRY(out.k, told.count("k", {.least = 1, .most = top_k_max}));
    CALYX_TRY(const std::size_t mode, told.word("mode", mode_words));
    out.mode = static_cast<Mode>(mode);
    return out;
  }
  if (out.op == Operator::weighted_avg) {
    CALYX_CHECK(told.only({"weight"}));
    if (const json::Value* weight = told.find("weight")) {
      CALYX_TRY(out.weight, read_path(told.at("weight"), *weight));
    }
    return out;
  }
  if (out.op == Operator::histogram) {
    CALYX_CHECK(told.only({"edges"}));
    CALYX_TRY(const json::Value* const edges, told.need("edges"));
    const json::Array* numbers = edges->array();
    if (numbers == nullptr) return wrong_type(told.at("edges"), *edges, "an array of numbers");
    if (numbers->size() < 2 || numbers->size() > histogram_edges_max)
      return field_fault(Reason::field_value, told.at("edges"),
                         "has " + std::to_string(numbers->size()) + " numbers, takes 2 to " +
                             std::to_string(histogram_edges_max));
    for (const json::Value& number : *numbers) {
      const std::string here = pointer_step(told.at("edges"), out.edges.size());
      const auto edge = number_of(number);
      if (!edge) return wrong_type(here, number, "a number");
      if (!out.edges.empty() && !(edge->value > out.edges.back()))
        return field_fault(Reason::field_value, here, "is not above the edge before it");
      out.edges.push_back(edge->value);
    }
    return out;
  }
  CALYX_CHECK(told.only({}));
  return out;
}

/// Reads `reduce`: an operator, an object of field and operator, or `{runner_command, fan_in}`.
///
/// An object of one member whose name is an operator's is that operator, unless its value is an operator
/// itself:
/// `{"top_k": {"k": 3}}` reduces whole results, `{"sum": "sum"}` their field sum.
inline Result<ReduceRule> read_reduce(const json::Value& value) {
  const std::string here = "/reduce";
  ReduceRule out;
  const json::Object* members = value.object();
  if (members == nullptr || (says_operator(value) && !says_operator(members->begin()->value))) {
    CALYX_TRY(OperatorRule rule, read_operator(here, value));
    out.fields.push_back({Path{}, std::move(rule)});
    return out;
  }
  if (members->find("runner_command") != nullptr) {
    const Members told(*members, here, "a reducing command");
    CALYX_CHECK(told.only({"runner_command", "fan_in"}));
    CALYX_TRY(const json::Value* const command, told.need("runner_command"));
    const std::string at = told.at("runner_command");
    if (command->array() == nullptr) return wrong_type(at, *command, "an array of strings");
    const std::size_t words = command->array()->size();
    if (words < 1 || words > command_words_max)
      return field_fault(
          Reason::field_value, at,
          "has " + std::to_string(words) + " words, takes 1 to " + std::to_string(command_words_max));
    for (const json::Value& word : *command->array()) {
      if (word.string() == nullptr) return wrong_type(pointer_step(at, out.command.size()), word, "a string");
      out.command.push_back(*word.string());
    }
    CALYX_TRY(out.fan_in, told.count_or("fan_in", {.least = 2, .most = fan_in_max}, fan_in_default));
    return out;
  }
  out.whole = false;
  if (members->empty() || members->size() > reduced_fields_max)
    return field_fault(Reason::field_value, here,
                       "has " + std::to_string(members->size()) + " fields, takes 1 to " +
                           std::to_string(reduced_fields_max));
  for (const json::Member& member : *members) {
    const std::string at = pointer_step(here, member.key);
    CALYX_TRY(OperatorRule rule, read_operator(at, member.value));
    CALYX_TRY(Path path, read_path(at, json::Value(member.key)));
    out.fields.push_back({std::move(path), std::move(rule)});
  }
  return out;
}

/// Where a reduction had to leave something out.
struct ReduceNotes {
  static constexpr std::size_t dropped_said_max = 100;
  std::vector<std::string> dropped;  ///< Pointers into the outcome; at most `dropped_said_max` are said.
  std::uint64_t dropped_count = 0;

  void drop(const std::string& pointer) {
    if (++dropped_count <= dropped_said_max) dropped.push_back(pointer);
  }
};

/// An exact sum of integers beside a sum of doubles.
struct SumLeaf {
  Wide whole = 0;  ///< 2^53 integers of 64 bits fit.
  double real = 0;
  bool all_whole = true;

  bool merge(const SumLeaf& right) noexcept {
    whole += right.whole;
    real += right.real;
    all_whole = all_whole && right.all_whole;
    return true;
  }
  json::Value value() const {
    if (all_whole && whole <= INT64_MAX && whole >= INT64_MIN) return static_cast<std::int64_t>(whole);
    return static_cast<double>(whole) + real;
  }
};

/// The smallest or largest, as it came. Of equals the first.
struct ExtremeLeaf {
  Mode mode;
  Number number;
  json::Value held;

  bool merge(ExtremeLeaf&& right) {
    if (better(right.number, number, mode)) *this = std::move(right);
    return true;
  }
  const json::Value& value() const noexcept { return held; }
};

struct MomentsLeaf {
  bool variance;
  Moments moments;

  bool merge(const MomentsLeaf& right) noexcept {
    moments.merge(right.moments);
    return true;
  }
  json::Value value() const {
    if (!variance) return moments.mean;
    const auto of_sample = moments.variance();
    return of_sample ? json::Value(*of_sample) : json::Value();
  }
};

struct TruthLeaf {
  bool all;
  bool truth;

  bool merge(const TruthLeaf& right) noexcept {
    truth = all ? truth && right.truth : truth || right.truth;
    return true;
  }
  json::Value value() const noexcept { return truth; }
};

/// A weighted mean. Means are moved towards each other, not summed: equal ones then give exactly that one.
struct AverageLeaf {
  double weight;
  double mean;

  bool merge(const AverageLeaf& right) noexcept {
    if (right.weight == 0) return true;
    if (weight == 0) {
      *this = right;
      return true;
    }
    mean += (right.mean - mean) * (right.weight / (weight + right.weight));
    weight += right.weight;
    return true;
  }
  json::Value value() const { return weight > 0 ? json::Value(mean) : json::Value(); }
};

/// Something that is no number, which all must have alike.
struct AgreedLeaf {
  json::Value held;

  bool merge(const AgreedLeaf& right) const { return held == right.held; }
  const json::Value& value() const noexcept { return held; }
};

/// What results have at each of their leaves, in their shape.
class LeafTree {
 public:
  LeafTree() = default;

  /// The leaves of `value`, as `rule` sees them. A null, and a number that is not finite, is none. `weight`
  /// is the result's, and `weight_at` the value that it was read from or null: weights themselves are summed.
  static LeafTree of(const OperatorRule& rule, const json::Value& value, double weight,
                     const json::Value* weight_at) {
    LeafTree out;
    if (const json::Object* members = value.object()) {
      out.shape_ = Shape::object;
      std::vector<const json::Member*> sorted;
      for (const json::Member& member : *members) sorted.push_back(&member);
      std::sort(sorted.begin(), sorted.end(),
                [](const json::Member* a, const json::Member* b) { return a->key < b->key; });
      for (const json::Member* member : sorted) {
        out.keys_.push_back(member->key);
        out.items_.push_back(of(rule, member->value, weight, weight_at));
      }
    } else if (const json::Array* items = value.array()) {
      out.shape_ = Shape::array;
      for (const json::Value& item : *items) out.items_.push_back(of(rule, item, weight, weight_at));
    } else if (!value.is_null()) {
      out.put(rule, value, weight, &value == weight_at);
    }
    return out;
  }

  void merge(LeafTree&& right) {
    if (right.shape_ == Shape::nothing || shape_ == Shape::dropped) return;
    if (shape_ == Shape::nothing) {
      *this = std::move(right);
      return;
    }
    if (shape_ != right.shape_ || (shape_ == Shape::array && items_.size() != right.items_.size()))
      return drop();
    if (shape_ == Shape::leaf) {
      const bool fits = std::visit(
          [&right](auto& mine) {
            auto* theirs = std::get_if<std::decay_t<decltype(mine)>>(&right.leaf_);
            return theirs != nullptr && mine.merge(std::move(*theirs));
          },
          leaf_);
      if (!fits) drop();
      return;
    }
    if (keys_ == right.keys_) {  // so it is with arrays, and with nearly all objects
      for (std::size_t i = 0; i < items_.size(); ++i) items_[i].merge(std::move(right.items_[i]));
      return;
    }
    LeafTree both;
    std::size_t theirs = 0;
    const auto take = [&both](LeafTree& from, std::size_t i) {
      both.keys_.push_back(std::move(from.keys_[i]));
      both.items_.push_back(std::move(from.items_[i]));
    };
    for (std::size_t mine = 0; mine < items_.size(); ++mine) {
      while (theirs < right.items_.size() && right.keys_[theirs] < keys_[mine]) take(right, theirs++);
      if (theirs < right.items_.size() && right.keys_[theirs] == keys_[mine])
        items_[mine].merge(std::move(right.items_[theirs++]));
      take(*this, mine);
    }
    while (theirs < right.items_.size()) take(right, theirs++);
    keys_ = std::move(both.keys_);
    items_ = std::move(both.items_);
  }

  bool empty() const noexcept { return shape_ == Shape::nothing; }

  /// The outcome, without what was dropped; members are sorted.
  json::Value value(const std::string& pointer, ReduceNotes& notes) const {
    switch (shape_) {
      case Shape::nothing: return {};
      case Shape::dropped: notes.drop(pointer); return {};
      case Shape::leaf: return std::visit([](const auto& leaf) { return json::Value(leaf.value()); }, leaf_);
      case Shape::array: {
        json::Array out;
        for (std::size_t i = 0; i < items_.size(); ++i)
          out.push_back(items_[i].value(pointer_step(pointer, i), notes));
        return out;
      }
      case Shape::object: {
        std::vector<json::Member> out;
        for (std::size_t i = 0; i < items_.size(); ++i) {
          json::Value value = items_[i].value(pointer_step(pointer, keys_[i]), notes);
          if (items_[i].shape_ != Shape::dropped) out.push_back({keys_[i], std::move(value)});
        }
        return *json::Object::of(std::move(out));  // keys are those of objects, merged: each once
      }
    }
    return {};
  }

 private:
  enum class Shape : std::uint8_t { nothing, leaf, object, array, dropped };
  using Leaf = std::variant<AgreedLeaf, SumLeaf, ExtremeLeaf, MomentsLeaf, TruthLeaf, AverageLeaf>;

  void drop() {
    shape_ = Shape::dropped;
    keys_.clear();
    items_.clear();
    leaf_ = AgreedLeaf{};
  }

  void put(const OperatorRule& rule, const json::Value& value, double weight, bool is_weight) {
    const auto number = number_of(value);
    const bool numeric = value.integer() != nullptr || value.real() != nullptr;
    if (numeric && !number) return;
    shape_ = Shape::leaf;
    switch (rule.op) {
      case Operator::sum:
        if (number) return set(sum_of(value, *number));
        break;
      case Operator::min:
        if (number) return set(ExtremeLeaf{Mode::min, *number, value});
        break;
      case Operator::max:
        if (number) return set(ExtremeLeaf{Mode::max, *number, value});
        break;
      case Operator::mean:
      case Operator::var:
        if (number) return set(MomentsLeaf{rule.op == Operator::var, Moments::of(number->value)});
        break;
      case Operator::any:
      case Operator::all:
        if (value.boolean() != nullptr) return set(TruthLeaf{rule.op == Operator::all, *value.boolean()});
        break;
      case Operator::weighted_avg:
        if (number && is_weight) return set(sum_of(value, *number));
        if (number) return set(AverageLeaf{weight, number->value});
        return set(AgreedLeaf{value});
      case Operator::count:
      case Operator::concat:
      case Operator::merge:
      case Operator::top_k:
      case Operator::histogram: break;  // these never look at leaves
    }
    drop();
  }
  template <class L>
  void set(L leaf) {
    leaf_ = std::move(leaf);
  }
  static SumLeaf sum_of(const json::Value& value, const Number& number) noexcept {
    if (const std::int64_t* integer = value.integer()) return {.whole = *integer};
    return {.real = number.value, .all_whole = false};
  }

  Shape shape_ = Shape::nothing;
  Leaf leaf_;
  std::vector<std::string> keys_;  ///< Of an object's items, sorted.
  std::vector<LeafTree> items_;
};

/// What one operator knows of a stretch of tasks.
class FieldReduction {
 public:
  FieldReduction() = default;

  /// Of one task: `result`, and the `value` in it that the operator is about.
  FieldReduction(const OperatorRule& rule, std::uint64_t index, const json::Value& result,
                 const json::Value& value)
      : rule_(&rule) {
    switch (rule.op) {
      case Operator::count: count_ = value.is_null() ? 0 : 1; return;
      case Operator::concat:
        if (value.array() != nullptr)
          list_ = *value.array();
        else if (!value.is_null())
          list_.push_back(value);
        return;
      case Operator::merge:
        if (const json::Object* members = value.object())
          union_.assign(members->begin(), members->end());
        else
          ++skipped_;
        return;
      case Operator::top_k: {
        best_ = Best(rule.k, rule.mode);
        each(value, [&](const json::Value& one) {
          if (const auto number = number_at(rule.by, one))
            best_.add({number, index, one});
          else
            ++skipped_;
        });
        return;
      }
      case Operator::histogram:
        bins_.resize(rule.edges.size() + 1);
        each(value, [&](const json::Value& one) {
          if (const auto number = number_of(one))
            ++bins_[bin_of(number->value)];
          else
            ++skipped_;
        });
        return;
      case Operator::weighted_avg: {
        const json::Value* at = rule.weight.find(result);
        if (at != nullptr && at->is_null()) at = nullptr;
        const auto number = at == nullptr ? std::optional<Number>(Number{1, 0}) : number_of(*at);
        if (number && number->value >= 0)
          leaves_ = LeafTree::of(rule, value, number->value, at);
        else
          ++skipped_;
        return;
      }
      case Operator::sum:
      case Operator::min:
      case Operator::max:
      case Operator::mean:
      case Operator::var:
      case Operator::any:
      case Operator::all: leaves_ = LeafTree::of(rule, value, 1, nullptr); return;
    }
  }

  /// Takes in what is known of the tasks that follow.
  void merge(FieldReduction&& right) {
    if (right.rule_ == nullptr) return;
    if (rule_ == nullptr) {
      *this = std::move(right);
      return;
    }
    skipped_ += right.skipped_;
    count_ += right.count_;
    switch (rule_->op) {
      case Operator::count: return;
      case Operator::concat:
        list_.insert(list_.end(), std::make_move_iterator(right.list_.begin()),
                     std::make_move_iterator(right.list_.end()));
        return;
      case Operator::merge: unite(std::move(right.union_)); return;
      case Operator::top_k: best_.add(std::move(right.best_)); return;
      case Operator::histogram:
        for (std::size_t i = 0; i < bins_.size(); ++i) bins_[i] += right.bins_[i];
        return;
      default: leaves_.merge(std::move(right.leaves_)); return;
    }
  }

  std::uint64_t skipped() const noexcept { return skipped_; }

  /// The outcome of `rule`, which may have met nothing.
  json::Value value(const OperatorRule& rule, const std::string& pointer, ReduceNotes& notes) && {
    switch (rule.op) {
      case Operator::count: return count_;
      case Operator::concat: return std::move(list_);
      case Operator::merge: return *json::Object::of(std::move(union_));
      case Operator::top_k: {
        json::Array out;
        for (Best::Entry& entry : std::move(best_).sorted()) out.push_back(std::move(entry.value));
        return out;
      }
      case Operator::histogram: {
        bins_.resize(rule.edges.size() + 1);
        json::Array edges(rule.edges.begin(), rule.edges.end());
        json::Array counts(bins_.begin() + 1, bins_.end() - 1);
        return json::object({{"edges", std::move(edges)},
                             {"counts", std::move(counts)},
                             {"below", bins_.front()},
                             {"above", bins_.back()}});
      }
      case Operator::sum: return leaves_.empty() ? json::Value(0) : leaves_.value(pointer, notes);
      case Operator::any:
      case Operator::all:
        return leaves_.empty() ? json::Value(rule.op == Operator::all) : leaves_.value(pointer, notes);
      default: return leaves_.value(pointer, notes);
    }
  }

 private:
  template <class Each>
  static void each(const json::Value& value, const Each& take) {
    if (const json::Array* items = value.array())
      std::for_each(items->begin(), items->end(), take);
    else
      take(value);
  }

  /// 0 is below the first edge; the last edge belongs to the last bin.
  std::size_t bin_of(double number) const noexcept {
    const std::vector<double>& edges = rule_->edges;
    if (number == edges.back()) return edges.size() - 1;
    return static_cast<std::size_t>(std::upper_bound(edges.begin(), edges.end(), number) - edges.begin());
  }

  /// A member that both have keeps its place and takes the later value, so many tasks with the same few
  /// members take the room of one.
  void unite(std::vector<json::Member> right) {
    std::unordered_map<std::string_view, std::size_t> places;
    union_.reserve(union_.size() + right.size());  // the keys that are looked at must not move
    places.reserve(union_.size());
    for (std::size_t i = 0; i < union_.size(); ++i) places.emplace(union_[i].key, i);
    for (json::Member& member : right) {
      const auto place = places.find(member.key);
      if (place != places.end())
        union_[place->second].value = std::move(member.value);
      else
        union_.push_back(std::move(member));
    }
  }

  const OperatorRule* rule_ = nullptr;  ///< Null: no task yet.
  std::uint64_t skipped_ = 0;
  std::uint64_t count_ = 0;
  LeafTree leaves_;
  json::Array list_;
  std::vector<json::Member> union_;
  Best best_;
  std::vector<std::uint64_t> bins_;
};

/// What a rule knows of a stretch of tasks. The rule outlives it.
class Reduction {
 public:
  Reduction() = default;

  /// Of one task, whose result is null when it failed or is missing: then it is nothing.
  static Reduction of(const ReduceRule& rule, std::uint64_t index, const json::Value* result) {
    Reduction out;
    if (result == nullptr) return out;
    for (const ReduceRule::Field& field : rule.fields) {
      One one;
      if (const json::Value* value = field.path.find(*result))
        one.field = FieldReduction(field.rule, index, *result, *value);
      else
        one.missing = 1;
      out.fields_.push_back(std::move(one));
    }
    return out;
  }

  void merge(Reduction&& right) {
    if (right.fields_.empty()) return;
    if (fields_.empty()) {
      *this = std::move(right);
      return;
    }
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      fields_[i].missing += right.fields_[i].missing;
      fields_[i].field.merge(std::move(right.fields_[i].field));
    }
  }

  /// The outcome, and what had to be left out: `{missing, skipped, dropped}`, each only where there is some.
  json::Value value(const ReduceRule& rule, json::Object& notes) && {
    fields_.resize(rule.fields.size());
    ReduceNotes left_out;
    json::Object missing;
    json::Object skipped;
    json::Object out;
    json::Value whole;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const ReduceRule::Field& field = rule.fields[i];
      const std::string pointer = rule.whole ? std::string() : pointer_step("", field.path.text);
      if (fields_[i].missing > 0) missing.set(field.path.text, fields_[i].missing);
      if (const std::uint64_t count = fields_[i].field.skipped(); count > 0)
        skipped.set(field.path.text, count);
      json::Value value = std::move(fields_[i].field).value(field.rule, pointer, left_out);
      if (rule.whole)
        whole = std::move(value);
      else
        out.set(field.path.text, std::move(value));
    }
    if (!missing.empty()) notes.set("missing", std::move(missing));
    if (!skipped.empty()) notes.set("skipped", std::move(skipped));
    if (left_out.dropped_count > 0) {
      notes.set("dropped_count", left_out.dropped_count);
      notes.set("dropped", json::Array(left_out.dropped.begin(), left_out.dropped.end()));
    }
    return rule.whole ? whole : json::Value(std::move(out));
  }

 private:
  struct One {
    std::uint64_t missing = 0;
    FieldReduction field;
  };
  std::vector<One> fields_;
};

}  // namespace calyx::core
