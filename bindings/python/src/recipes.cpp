/// \file
/// Recipes for Python without a market: verdicts on packings, strategies of the Prop AMM challenge.
#include <array>
#include <calyx/enclosure.hpp>
#include <calyx/packing.hpp>
#include <calyx/prop_amm.hpp>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "native.hpp"

namespace calyx_python {
namespace {

namespace prop_amm = calyx::prop_amm;
using prop_amm::Strategy;

/// Runs `work()` without the GIL, and gives its value or raises its error, or what a signal's handler raised.
template <class Work>
auto computed(Work work) {
  std::optional<decltype(work())> answer;
  {
    const Outside none;
    answer.emplace(work());
  }
  if (interrupted) std::rethrow_exception(std::exchange(interrupted, nullptr));
  if (!answer->ok()) throw Failure(answer->error());
  return **std::move(answer);
}

/// Asked on the thread of the call alone, since no other hears signals.
std::function<bool()> until_a_signal() {
  return
      [caller = std::this_thread::get_id()] { return std::this_thread::get_id() == caller && signal_came(); };
}

py::object number_or_none(const std::optional<double>& number) {
  return number ? py::object(py::float_(*number)) : py::object(py::none());
}

py::object edge_of(const prop_amm::SeedEdge& edge) {
  py::object violation = py::none();
  if (edge.violation) violation = py::make_tuple(out(edge.violation->kind), out(edge.violation->context));
  return py::make_tuple(edge.seed, edge.violation ? py::object(py::none()) : py::float_(edge.edge),
                        violation);
}

py::object evaluation_of(const prop_amm::Evaluation& found) {
  py::object failure = py::none();
  if (found.failure)
    failure = record({{"seed", out(found.failure->seed)},
                      {"step", out(std::uint64_t{found.failure->step})},
                      {"kind", out(found.failure->kind)},
                      {"message", out(found.failure->message)},
                      {"line", out(std::uint64_t{found.failure->line})}});
  return record({{"edges", list_of(found.edges, edge_of)},
                 {"violations", out(found.violations)},
                 {"failure", failure},
                 {"total_edge", number_or_none(found.total_edge)},
                 {"avg_edge", number_or_none(found.avg_edge)}});
}

prop_amm::Checks checks_of(Text word) {
  if (word == "concavity") return prop_amm::Checks::concavity;
  if (word == "fast") return prop_amm::Checks::fast;
  if (word == "full") return prop_amm::Checks::full;
  throw Failure(
      fail(Reason::field_value, "must be concavity, fast or full", json::object({{"field", "/checks"}})));
}

py::object verdict_of(const prop_amm::Verdict& verdict) {
  return record({{"valid", out(verdict.valid)},
                 {"reason", out(verdict.reason)},
                 {"message", out(verdict.message)},
                 {"side", out(verdict.side)},
                 {"size", number_or_none(verdict.size)},
                 {"line", out(std::uint64_t{verdict.line})},
                 {"runs", verdict.runs ? evaluation_of(*verdict.runs) : py::object(py::none())},
                 {"parity", out(verdict.parity)},
                 {"parity_reason", out(verdict.parity_reason)},
                 {"parity_message", out(verdict.parity_message)}});
}

/// The numbers of `candidates`, where they lie: any buffer of doubles in C's order, of one axis or two.
std::span<const double> numbers_of(const py::buffer_info& buffer) {
  const auto refused = [](std::string is) {
    throw Failure(fail(Reason::field_type, "is " + is + ", must be doubles in C's order",
                       json::object({{"field", "/candidates"}})));
  };
  if (buffer.format != py::format_descriptor<double>::format() || buffer.itemsize != sizeof(double))
    refused("of the format " + buffer.format);
  py::ssize_t stride = buffer.itemsize;
  for (py::ssize_t axis = buffer.ndim; axis-- > 0; stride *= buffer.shape[static_cast<std::size_t>(axis)])
    if (buffer.shape[static_cast<std::size_t>(axis)] > 1 &&
        buffer.strides[static_cast<std::size_t>(axis)] != stride)
      refused("not contiguous");
  return {static_cast<const double*>(buffer.ptr), static_cast<std::size_t>(buffer.size)};
}

/// One member of all verdicts, as bytes that Python looks at as an array.
template <class Member>
py::bytes column(const std::vector<calyx::packing::Verdict>& verdicts, Member member) {
  using Item = decltype(member(verdicts.front()));
  py::bytes out(nullptr, verdicts.size() * sizeof(Item));
  char* to = PyBytes_AS_STRING(out.ptr());
  for (const calyx::packing::Verdict& verdict : verdicts) {
    const Item item = member(verdict);
    std::memcpy(to, &item, sizeof item);
    to += sizeof item;
  }
  return out;
}

calyx::packing::Areas areas_of(Text word) {
  if (word == "exact") return calyx::packing::Areas::exact;
  if (word == "polygon") return calyx::packing::Areas::polygon;
  throw Failure(fail(Reason::field_value, "must be exact or polygon", json::object({{"field", "/areas"}})));
}

calyx::Device device_of(std::string_view word) {
  if (word == "auto") return calyx::Device::automatic;
  if (word == "cpu") return calyx::Device::cpu;
  if (word == "cuda") return calyx::Device::cuda;
  throw Failure(fail(Reason::field_value, "must be auto, cpu or cuda", json::object({{"field", "/device"}})));
}

py::object judge_packings(const py::object& candidates, Text device, Text areas_word) {
  using calyx::packing::Device;
  using calyx::packing::Verdict;
  const Device asked = device_of(device);
  const calyx::packing::Areas areas = areas_of(areas_word);
  if (PyObject_CheckBuffer(candidates.ptr()) == 0)
    throw Failure(fail(Reason::field_type, "must be a buffer of doubles, such as a numpy array",
                       json::object({{"field", "/candidates"}})));
  const py::buffer_info buffer = py::reinterpret_borrow<py::buffer>(candidates).request();
  const std::span<const double> numbers = numbers_of(buffer);
  std::vector<Verdict> verdicts(numbers.size() / calyx::packing::candidate_numbers);
  computed([&] { return calyx::packing::evaluate_batch(numbers, verdicts, asked, areas); });
  return record(
      {{"valid", column(verdicts, [](const Verdict& one) { return std::uint8_t{one.valid}; })},
       {"score", column(verdicts, [](const Verdict& one) { return one.score; })},
       {"centre_x", column(verdicts, [](const Verdict& one) { return one.centre_x; })},
       {"centre_y", column(verdicts, [](const Verdict& one) { return one.centre_y; })},
       {"overlap_total", column(verdicts, [](const Verdict& one) { return one.overlap_total; })},
       {"overlap_max", column(verdicts, [](const Verdict& one) { return one.overlap_max; })},
       {"overlapping_pairs", column(verdicts, [](const Verdict& one) { return one.overlapping_pairs; })}});
}

// ── searches ──

namespace packing = calyx::packing;

packing::SearchOptions options_of(Text method, const py::dict& given) {
  packing::SearchOptions out;
  out.method = method == "basin_hopping"            ? packing::Method::basin_hopping
               : method == "differential_evolution" ? packing::Method::differential_evolution
                                                    : packing::Method::feasible_optimize;
  for (const auto& [key, value] : given) {
    const std::string name = key.cast<std::string>();
    const auto read = [&](auto& member) {
      using Member = std::remove_reference_t<decltype(member)>;
      try {
        member = value.cast<Member>();
      } catch (const py::cast_error&) {
        throw Failure(
            fail(Reason::field_value,
                 std::is_floating_point_v<Member> ? "is no number" : "is no number from 0 on, or too large",
                 json::object({{"field", "/" + name}})));
      }
    };
    if (name == "pieces") read(out.pieces);
    if (name == "seed") read(out.seed);
    if (name == "penalty") read(out.penalty);
    if (name == "max_iters") read(out.max_iters);
    if (name == "max_evaluations") read(out.max_evaluations);
    if (name == "n_restarts") read(out.n_restarts);
    if (name == "hop_scale") read(out.hop_scale);
    if (name == "temperature") read(out.temperature);
    if (name == "population_size") read(out.population_size);
    if (name == "chains") read(out.chains);
    if (name == "threads") read(out.threads);
    if (name == "device")
      out.device = device_of(py::isinstance<py::str>(value) ? value.cast<std::string>() : "");
  }
  return out;
}

py::object finite_or_none(double number) {
  return std::isfinite(number) ? py::object(py::float_(number)) : py::object(py::none());
}

py::list floats_of(std::span<const double> numbers) {
  py::list out;
  for (const double number : numbers) out.append(number);
  return out;
}

py::object search_packings(Text method, const py::dict& given, const py::object& start,
                           const py::object& callback, const py::object& checkpoint) {
  const packing::SearchOptions options = options_of(method, given);
  std::vector<double> from;
  if (!start.is_none()) from = start.cast<std::vector<double>>();
  std::string goes_on;
  if (!checkpoint.is_none()) goes_on = checkpoint.cast<py::bytes>();
  bool enough = false;
  packing::SearchCalls calls;
  calls.stopped = [&, signal = until_a_signal()] { return enough || signal(); };
  if (!callback.is_none())
    calls.progress = [&](const packing::SearchProgress& progress) {
      if (enough || interrupted) return;  // it was told, or is not to be asked any more
      const py::gil_scoped_acquire gil;
      try {
        const py::object said = callback(record({{"evaluations", out(progress.evaluations)},
                                                 {"iterations", out(progress.iterations)},
                                                 {"objective", finite_or_none(progress.objective)},
                                                 {"score", finite_or_none(progress.score)},
                                                 {"candidate", floats_of(progress.candidate)}}));
        enough = said.cast<bool>();
      } catch (const py::error_already_set&) {
        interrupted = std::current_exception();
        enough = true;
      }
    };
  const packing::SearchResult found =
      computed([&] { return packing::search(options, from, calls, goes_on); });
  constexpr std::array<std::string_view, 4> ends = {"stopped", "iterations", "budget", "converged"};
  return record({{"ended", out(std::string(ends[static_cast<std::size_t>(found.end)]))},
                 {"evaluations", out(found.evaluations)},
                 {"iterations", out(found.iterations)},
                 {"objective", finite_or_none(found.objective)},
                 {"score", finite_or_none(found.score)},
                 {"candidate", floats_of(found.candidate)},
                 {"chain", out(found.chain)},
                 {"checkpoint", found.checkpoint.empty() ? py::object(py::none())
                                                         : py::object(py::bytes(found.checkpoint))}});
}

}  // namespace

void add_recipes(py::module_& module) {
  using py::arg;
  module.def("judge_packings", &judge_packings, arg("candidates"), arg("device"), arg("areas"),
             "Verdicts on packings that lie in a buffer of doubles, as columns of bytes.");
  module.def("search_packings", &search_packings, arg("method"), arg("options"), arg("start"),
             arg("callback"), arg("checkpoint"),
             "A search for a small packing, with a look at signals and the callback now and then.");
  module.def(
      "compile_strategy", [](Text source) { return computed([&] { return Strategy::compile(source); }); },
      arg("source"), "Compiles a strategy of the Prop AMM challenge from its Rust source.");
  module.def(
      "load_strategy",
      [](const py::bytes& object_file) {
        const std::string bytes = object_file;
        return computed([&] {
          return Strategy::load({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
        });
      },
      arg("object_file"), "Loads an object of the Prop AMM challenge.");
  py::class_<Strategy>(module, "Strategy")
      .def_property_readonly("name", &Strategy::name)
      .def_property_readonly("model_used", &Strategy::model_used)
      .def_property_readonly("instructions", &Strategy::instructions)
      .def("bytecode", [](const Strategy& self) { return py::bytes(self.bytecode()); })
      .def(
          "evaluate",
          [](const Strategy& self, std::uint64_t seed_base, std::uint64_t start, std::uint64_t count,
             std::uint32_t steps, bool strict_curves, bool bpf_rules, unsigned threads, Text device) {
            const prop_amm::Asked asked{.seed_base = seed_base,
                                        .start = start,
                                        .count = count,
                                        .steps = steps,
                                        .strict_curves = strict_curves,
                                        .bpf_rules = bpf_rules,
                                        .threads = threads,
                                        .stopped = until_a_signal(),
                                        .device = device_of(device)};
            return evaluation_of(computed([&] { return self.evaluate(asked); }));
          },
          arg("seed_base"), arg("start"), arg("count"), arg("steps"), arg("strict_curves"), arg("bpf_rules"),
          arg("threads"), arg("device"))
      .def(
          "validate",
          [](const Strategy& self, Text checks, const std::optional<py::dict>& commands) {
            const prop_amm::Checks asked = checks_of(checks);
            calyx::RunEnclosed enclosed;
            if (commands) {
              const calyx::CommandOptions given = commands_from(*commands);
              enclosed = computed([&] {
                return calyx::open_enclosure({.scratch = given.scratch,
                                              .helper = given.helper,
                                              .bubblewrap = given.bubblewrap,
                                              .allow_bare_host = given.allow_bare_host});
              });
            }
            return verdict_of(computed([&] { return self.validate(asked, until_a_signal(), enclosed); }));
          },
          arg("checks"), arg("commands"));
}

}  // namespace calyx_python
