/// \file
/// A benchmark: named candidates that run the same replicas, and the report that compares them.
///
/// Start at `Benchmark::read` and `BenchmarkReport`. Tasks go replica by replica (all candidates' first, then
/// all second), so that a run that was cut short still compares like with like; replica r has the same seed
/// for every candidate: `seed` + r, wrapping at 2^64.
///
/// Threads: values.
#pragma once

#include <algorithm>
#include <calyx/core/field.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/metric.hpp>
#include <calyx/core/result.hpp>
#include <calyx/core/statistics.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::core {

inline constexpr std::size_t candidates_max = 1'000;
/// The most tasks of a benchmark: a median takes all numbers, of 8 bytes each.
inline constexpr std::uint64_t benchmark_tasks_max = 10'000'000;
inline constexpr std::size_t overlaps_said_max = 10'000;

struct Candidate {
  std::string name;
  json::Object payload;
};

struct Benchmark {
  std::vector<Candidate> candidates;
  std::uint64_t replicas = 1;
  std::uint64_t seed = 0;

  std::uint64_t tasks() const noexcept { return candidates.size() * replicas; }

  /// What task `index` reads: its candidate's payload over the shared one, and its replica's seed.
  json::Object payload(std::uint64_t index, const json::Object& shared) const {
    const Candidate& candidate = candidates[static_cast<std::size_t>(index % candidates.size())];
    json::Object out = merged(shared, candidate.payload);
    out.set("seed", seed_value(seed + index / candidates.size()));
    return out;
  }

  /// Reads `candidates` (`[{name, payload}]`, or an object of name and payload), `replicas` and `seed`.
  ///
  /// Fails: `field_missing`, `field_type`, `field_unknown`; `field_value` when a name comes twice, a payload
  /// has a seed of its own, or there are too many candidates or tasks.
  static Result<Benchmark> read(const Members& submit) {
    CALYX_TRY(const json::Value* const given, submit.need("candidates"));
    const std::string here = submit.at("candidates");
    Benchmark out;
    if (const json::Object* by_name = given->object()) {
      for (const json::Member& member : *by_name) {
        CALYX_TRY(Candidate candidate,
                  candidate_of(pointer_step(here, member.key), member.key, &member.value));
        out.candidates.push_back(std::move(candidate));
      }
    } else if (const json::Array* list = given->array()) {
      std::map<std::string, std::size_t> places;
      for (std::size_t i = 0; i < list->size(); ++i) {
        CALYX_TRY(const Members members, Members::of((*list)[i], pointer_step(here, i), "a candidate"));
        CALYX_CHECK(members.only({"name", "payload"}));
        CALYX_TRY(const std::string name, members.text("name"));
        const auto [place, is_new] = places.emplace(name, i);
        if (!is_new)
          return field_fault(Reason::field_value, members.at("name"),
                             "is the name of candidate " + std::to_string(place->second) + " too");
        CALYX_TRY(Candidate candidate, candidate_of(members.at("payload"), name, members.find("payload")));
        out.candidates.push_back(std::move(candidate));
      }
    } else {
      return wrong_type(here, *given, "an array or an object");
    }
    const std::size_t count = out.candidates.size();
    if (count < 1 || count > candidates_max)
      return field_fault(
          Reason::field_value, here,
          "has " + std::to_string(count) + " candidates, takes 1 to " + std::to_string(candidates_max));
    CALYX_TRY(out.replicas, submit.count_or("replicas", {.most = benchmark_tasks_max / count}, 1));
    CALYX_TRY(out.seed, submit.seed("seed"));
    return out;
  }

  /// Refuses a seed in `payload`, which stands at `pointer`: it would be written over.
  static Result<Done> no_seed(const std::string& pointer, const json::Object& payload) {
    if (payload.find("seed") == nullptr) return Done{};
    return field_fault(Reason::field_value, pointer_step(pointer, "seed"),
                       "is each replica's own; the first one's is given as /seed");
  }

 private:
  static Result<Candidate> candidate_of(const std::string& pointer, const std::string& name,
                                        const json::Value* payload) {
    Candidate out{name, {}};
    if (payload == nullptr || payload->is_null()) return out;
    if (payload->object() == nullptr) return wrong_type(pointer, *payload, "an object");
    CALYX_CHECK(no_seed(pointer, *payload->object()));
    out.payload = *payload->object();
    return out;
  }
};

/// What the replicas of each candidate came to. Feed it every task in any order.
class BenchmarkReport {
 public:
  /// `benchmark` outlives the report. Without `rank_by` there is no number, so nothing is ranked.
  BenchmarkReport(const Benchmark& benchmark, std::optional<RankBy> rank_by)
      : benchmark_(&benchmark), rank_by_(std::move(rank_by)), rows_(benchmark.candidates.size()) {}

  /// The outcome of task `index`: null when it failed or is missing.
  void add(std::uint64_t index, const json::Value* result) {
    Row& row = rows_[static_cast<std::size_t>(index % rows_.size())];
    if (result == nullptr) return;
    ++row.completed;
    if (!rank_by_) return;
    if (const auto number = number_at(rank_by_->metric, *result))
      row.numbers.push_back(number->value);
    else
      ++row.unranked;
  }

  /// The report: candidates from the best to the worst, those without a number last, ties in the order of
  /// their declaration. `incomplete` says that some replica gave no number; `overlaps` names the pairs whose
  /// intervals meet, of which one cannot be called the better.
  json::Value value() && {
    std::vector<Summary> summaries;
    for (Row& row : rows_) summaries.push_back(summary_of(std::move(row.numbers)));
    std::vector<std::size_t> order(rows_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (rank_by_) {
      const auto before = [&](std::size_t a, std::size_t b) {
        if (ranks(summaries[a]) != ranks(summaries[b])) return ranks(summaries[a]);
        if (!ranks(summaries[a])) return false;
        const double x = chosen(summaries[a]);
        const double y = chosen(summaries[b]);
        return rank_by_->mode == Mode::max ? x > y : x < y;
      };
      std::stable_sort(order.begin(), order.end(), before);
    }

    json::Object out;
    if (rank_by_) {
      out.set("metric", rank_by_->metric.text);
      out.set("mode", mode_words[static_cast<std::size_t>(rank_by_->mode)]);
      out.set("statistic", statistic_words[static_cast<std::size_t>(rank_by_->statistic)]);
    }
    out.set("replicas", benchmark_->replicas);
    json::Array candidates;
    bool incomplete = false;
    for (std::size_t place = 0; place < order.size(); ++place) {
      json::Object row = row_of(order[place], summaries[order[place]]);
      if (rank_by_) row.set("rank", ranks(summaries[order[place]]) ? json::Value(place + 1) : json::Value());
      incomplete = incomplete || *row.find("incomplete")->boolean();
      candidates.push_back(std::move(row));
    }
    if (rank_by_) {
      const bool any = ranks(summaries[order.front()]);
      out.set("best", any ? json::Value(benchmark_->candidates[order.front()].name) : json::Value());
    }
    out.set("incomplete", incomplete);
    out.set("candidates", std::move(candidates));
    if (rank_by_) add_overlaps(out, summaries, order);
    return out;
  }

 private:
  struct Row {
    std::uint64_t completed = 0;
    std::uint64_t unranked = 0;
    std::vector<double> numbers;
  };

  /// The mean of numbers whose sum is no double may be none either; there is nothing to rank it by.
  bool ranks(const Summary& summary) const noexcept {
    return summary.n > 0 && std::isfinite(chosen(summary));
  }

  double chosen(const Summary& summary) const noexcept {
    switch (rank_by_->statistic) {
      case Statistic::mean: return summary.mean;
      case Statistic::median: return summary.median;
      case Statistic::min: return summary.min;
      case Statistic::max: break;
    }
    return summary.max;
  }

  json::Object row_of(std::size_t candidate, const Summary& summary) const {
    const Row& row = rows_[candidate];
    json::Object out;
    out.set("name", benchmark_->candidates[candidate].name);
    const std::uint64_t n = rank_by_ ? summary.n : row.completed;
    out.set("n", n);
    out.set("failures", benchmark_->replicas - row.completed);
    if (rank_by_) {
      const auto some = [&](double number) { return summary.n > 0 ? json::Value(number) : json::Value(); };
      out.set("unranked", row.unranked);
      out.set("mean", some(summary.mean));
      out.set("sd", summary.sd ? json::Value(*summary.sd) : json::Value());
      out.set("median", some(summary.median));
      out.set("min", some(summary.min));
      out.set("max", some(summary.max));
      out.set("interval_95", summary.low ? json::array({*summary.low, *summary.high}) : json::Value());
    }
    out.set("incomplete", n < benchmark_->replicas);
    return out;
  }

  /// Pairs come in the order of ranks; there are at most half a million.
  void add_overlaps(json::Object& out, const std::vector<Summary>& summaries,
                    const std::vector<std::size_t>& order) const {
    std::uint64_t count = 0;
    json::Array pairs;
    for (std::size_t a = 0; a < order.size(); ++a)
      for (std::size_t b = a + 1; b < order.size(); ++b) {
        const Summary& x = summaries[order[a]];
        const Summary& y = summaries[order[b]];
        if (!x.low || !y.low || *x.low > *y.high || *y.low > *x.high) continue;
        if (++count <= overlaps_said_max)
          pairs.push_back(
              json::array({benchmark_->candidates[order[a]].name, benchmark_->candidates[order[b]].name}));
      }
    out.set("overlap_count", count);
    out.set("overlaps", std::move(pairs));
  }

  const Benchmark* benchmark_;
  std::optional<RankBy> rank_by_;
  std::vector<Row> rows_;
};

}  // namespace calyx::core
