/// \file
/// The small harness that every benchmark shares: named cases in interleaved rounds, one JSON line a case.
///
/// Start at `interleave` and `report`. Cases take turns (A B A B ...), so that a busy minute on the machine
/// falls on all of them alike, and a ratio is the median of the ratios within the rounds.
///
/// Units: seconds in samples; a line names its own.
#pragma once

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace calyx::bench {

/// Fewer rounds than this are a trial, and their line says how many they were.
inline constexpr unsigned rounds_min = 9;

inline double clock_seconds(clockid_t clock) {
  timespec now{};
  if (clock_gettime(clock, &now) != 0) throw std::runtime_error("clock_gettime has no such clock");
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

inline double wall_now_s() { return clock_seconds(CLOCK_MONOTONIC); }

/// CPU time of every thread of this process, user and system.
inline double cpu_now_s() { return clock_seconds(CLOCK_PROCESS_CPUTIME_ID); }

/// CPU time of the children that this process has waited for, user and system.
inline double children_cpu_now_s() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Memory of this process that is in RAM now. Units: bytes; 0 where the system does not say.
inline std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total_pages = 0;
  std::size_t resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) return 0;
  return resident_pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

/// What one round of one case took.
struct Sample {
  double wall_s = 0;
  double cpu_s = 0;
  double operations = 0;

  double per_second() const { return operations / wall_s; }
  double wall_us() const { return wall_s * 1e6 / operations; }
  double cpu_us() const { return cpu_s * 1e6 / operations; }
  double per_cpu_second() const { return operations / cpu_s; }
};

/// Runs `work`, which returns how many operations it did, and times it.
template <class Work>
Sample timed(Work&& work) {
  const double cpu = cpu_now_s();
  const double wall = wall_now_s();
  const double operations = static_cast<double>(std::forward<Work>(work)());
  Sample sample{};
  sample.wall_s = wall_now_s() - wall;
  sample.cpu_s = cpu_now_s() - cpu;
  sample.operations = operations;
  return sample;
}

/// A named thing to measure. `round` sets itself up, times only what the question is about, and cleans up.
struct Case {
  std::string name;
  std::function<Sample()> round;
};

/// The samples of one case, in the order of the rounds.
struct Series {
  std::string name;
  std::vector<Sample> samples;
};

/// Runs every case once a round, in the order given, for `rounds` rounds.
inline std::vector<Series> interleave(const std::vector<Case>& cases, unsigned rounds) {
  std::vector<Series> all;
  for (const Case& each : cases) all.push_back({each.name, {}});
  for (unsigned round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < cases.size(); ++i) all[i].samples.push_back(cases[i].round());
  return all;
}

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

inline Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

/// The figure that a line states of each sample.
struct Figure {
  const char* unit;
  double (Sample::*of)() const;
};

namespace figure {
inline constexpr Figure rate{"1/s", &Sample::per_second};
inline constexpr Figure wall{"us", &Sample::wall_us};
inline constexpr Figure cpu{"cpu_us", &Sample::cpu_us};
inline constexpr Figure cpu_rate{"1/cpu_s", &Sample::per_cpu_second};
}  // namespace figure

/// One line of output. A case without a peer has no ratio.
struct Line {
  std::string_view question;
  std::string_view name;
  std::string_view unit;
  Spread value;
  std::string_view peer;
  std::optional<double> ratio;
  std::size_t rounds = 0;
};

namespace detail {

inline void append_text(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  out += '"';
}

inline void append_number(std::string& out, double value) {
  char text[40];
  // JSON has no spelling for what a division by zero gives.
  if (std::isfinite(value))
    std::snprintf(text, sizeof text, "%.6g", value);
  else
    std::snprintf(text, sizeof text, "null");
  out += text;
}

}  // namespace detail

/// Prints `line` as one line of JSON on standard output, at once: a run that is cut short has said what it
/// knew.
inline void print(const Line& line) {
  std::string out = "{\"question\":";
  detail::append_text(out, line.question);
  out += ",\"case\":";
  detail::append_text(out, line.name);
  out += ",\"value\":";
  detail::append_number(out, line.value.median);
  out += ",\"unit\":";
  detail::append_text(out, line.unit);
  out += ",\"peer\":";
  if (line.peer.empty())
    out += "null";
  else
    detail::append_text(out, line.peer);
  out += ",\"ratio\":";
  if (line.ratio)
    detail::append_number(out, *line.ratio);
  else
    out += "null";
  out += ",\"rounds\":" + std::to_string(line.rounds) + ",\"min\":";
  detail::append_number(out, line.value.min);
  out += ",\"max\":";
  detail::append_number(out, line.value.max);
  out += "}\n";
  std::fputs(out.c_str(), stdout);
  std::fflush(stdout);
}

/// Says that a case was not run, and why.
inline void print_skipped(std::string_view name, std::string_view why) {
  std::string out = "{\"case\":";
  detail::append_text(out, name);
  out += ",\"skipped\":";
  detail::append_text(out, why);
  out += "}\n";
  std::fputs(out.c_str(), stdout);
  std::fflush(stdout);
}

/// Which way a ratio is read.
enum class Ratio : std::uint8_t {
  value_over_peer,  ///< Of rates: how many times faster. Of costs: how many times dearer.
  peer_over_value,  ///< Of costs: how many times cheaper.
};

inline std::vector<double> figures_of(const Series& series, const Figure& figure) {
  std::vector<double> values;
  for (const Sample& sample : series.samples) values.push_back((sample.*figure.of)());
  return values;
}

/// The median of `value` over `peer`, round by round.
inline double ratio_of(const Series& value, const Series& peer, const Figure& figure, Ratio way) {
  const std::vector<double> ours = figures_of(value, figure);
  const std::vector<double> theirs = figures_of(peer, figure);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size() && i < theirs.size(); ++i)
    ratios.push_back(way == Ratio::value_over_peer ? ours[i] / theirs[i] : theirs[i] / ours[i]);
  return spread_of(ratios).median;
}

/// What an operation of `value` costs above one of `peer`, round by round. Units: microseconds of CPU.
inline std::vector<double> above(const Series& value, const Series& peer) {
  std::vector<double> differences;
  for (std::size_t i = 0; i < value.samples.size() && i < peer.samples.size(); ++i)
    differences.push_back(value.samples[i].cpu_us() - peer.samples[i].cpu_us());
  return differences;
}

/// A round's bare costs together: what a pair cannot be cheaper than. Units: one operation a sample.
inline Series sum_of(std::string name, const Series& one, const Series& other) {
  Series both{std::move(name), {}};
  for (std::size_t i = 0; i < one.samples.size() && i < other.samples.size(); ++i) {
    Sample sample{};
    sample.wall_s = (one.samples[i].wall_us() + other.samples[i].wall_us()) * 1e-6;
    sample.cpu_s = (one.samples[i].cpu_us() + other.samples[i].cpu_us()) * 1e-6;
    sample.operations = 1;
    both.samples.push_back(sample);
  }
  return both;
}

/// Prints a case that others are compared with, or that stands alone.
inline void report(std::string_view question, const Series& series, const Figure& figure) {
  Line line{};
  line.question = question;
  line.name = series.name;
  line.unit = figure.unit;
  line.value = spread_of(figures_of(series, figure));
  line.rounds = series.samples.size();
  print(line);
}

/// Prints a case with its ratio against `peer`.
inline void report(std::string_view question, const Series& series, const Figure& figure, const Series& peer,
                   Ratio way) {
  Line line{};
  line.question = question;
  line.name = series.name;
  line.unit = figure.unit;
  line.value = spread_of(figures_of(series, figure));
  line.peer = peer.name;
  line.ratio = ratio_of(series, peer, figure, way);
  line.rounds = series.samples.size();
  print(line);
}

}  // namespace calyx::bench
