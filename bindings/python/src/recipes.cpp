/// \file
/// Recipes for Python without a market: verdicts on packings, strategies of the Prop AMM challenge.
#include <calyx/enclosure.hpp>
#include <calyx/packing.hpp>
#include <calyx/prop_amm.hpp>
#include <cstring>

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

py::object judge_packings(const py::object& candidates, Text device) {
  using calyx::packing::Device;
  using calyx::packing::Verdict;
  const Device asked = device == "auto" ? Device::automatic : device == "cpu" ? Device::cpu : Device::cuda;
  if (asked == Device::cuda && device != "cuda")
    throw Failure(
        fail(Reason::field_value, "must be auto, cpu or cuda", json::object({{"field", "/device"}})));
  if (PyObject_CheckBuffer(candidates.ptr()) == 0)
    throw Failure(fail(Reason::field_type, "must be a buffer of doubles, such as a numpy array",
                       json::object({{"field", "/candidates"}})));
  const py::buffer_info buffer = py::reinterpret_borrow<py::buffer>(candidates).request();
  const std::span<const double> numbers = numbers_of(buffer);
  std::vector<Verdict> verdicts(numbers.size() / calyx::packing::candidate_numbers);
  computed([&] { return calyx::packing::evaluate_batch(numbers, verdicts, asked); });
  return record(
      {{"valid", column(verdicts, [](const Verdict& one) { return std::uint8_t{one.valid}; })},
       {"score", column(verdicts, [](const Verdict& one) { return one.score; })},
       {"centre_x", column(verdicts, [](const Verdict& one) { return one.centre_x; })},
       {"centre_y", column(verdicts, [](const Verdict& one) { return one.centre_y; })},
       {"overlap_total", column(verdicts, [](const Verdict& one) { return one.overlap_total; })},
       {"overlap_max", column(verdicts, [](const Verdict& one) { return one.overlap_max; })},
       {"overlapping_pairs", column(verdicts, [](const Verdict& one) { return one.overlapping_pairs; })}});
}

}  // namespace

void add_recipes(py::module_& module) {
  using py::arg;
  module.def("judge_packings", &judge_packings, arg("candidates"), arg("device"),
             "Verdicts on packings that lie in a buffer of doubles, as columns of bytes.");
  module.def(
      "compile_strategy", [](Text source) { return computed([&] { return Strategy::compile(source); }); },
      arg("source"), "Compiles a strategy of the Prop AMM challenge from its Rust source.");
  py::class_<Strategy>(module, "Strategy")
      .def_property_readonly("name", &Strategy::name)
      .def_property_readonly("model_used", &Strategy::model_used)
      .def_property_readonly("instructions", &Strategy::instructions)
      .def("bytecode", [](const Strategy& self) { return py::bytes(self.bytecode()); })
      .def(
          "evaluate",
          [](const Strategy& self, std::uint64_t seed_base, std::uint64_t start, std::uint64_t count,
             std::uint32_t steps, bool strict_curves, bool bpf_rules, unsigned threads) {
            const prop_amm::Asked asked{.seed_base = seed_base,
                                        .start = start,
                                        .count = count,
                                        .steps = steps,
                                        .strict_curves = strict_curves,
                                        .bpf_rules = bpf_rules,
                                        .threads = threads,
                                        .stopped = until_a_signal()};
            return evaluation_of(computed([&] { return self.evaluate(asked); }));
          },
          arg("seed_base"), arg("start"), arg("count"), arg("steps"), arg("strict_curves"), arg("bpf_rules"),
          arg("threads"))
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
