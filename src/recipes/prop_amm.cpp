#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/core/field.hpp>
#include <calyx/prop_amm.hpp>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "calyx_kernels/prop_amm_sbpf.hpp"
#include "recipes/device.hpp"
#include "recipes/prop_amm_parity.hpp"
#include "strategy/curve.hpp"
#include "strategy/elf.hpp"
#include "strategy/native.hpp"
#include "strategy/ptx.hpp"
#include "strategy/sbpf_native.hpp"
#include "strategy/strategy.hpp"

namespace calyx::prop_amm {

namespace bytecode = kernels::bytecode;
namespace cuda = kernels::cuda;
namespace json = core::json;
namespace kernel = kernels::prop_amm;
using core::field_fault;

namespace {

constexpr std::uint64_t bpf_fuel = 100'000;

/// Seeds from which a device is worth it unasked. A lane there is hundreds of times slower than native code
/// here.
constexpr std::uint64_t device_seeds_min = 16'384;

/// Steps from which a program is linked for a device. A driver makes machine code of it first, whatever comes
/// then; lanes run side by side, so it is the steps of one that the interpreter's time goes by. From how many
/// on that pays nobody has measured: this is a fifth of the challenge's own number.
constexpr std::uint32_t linked_steps_min = 2'000;

/// Whether a program is given to a device as PTX too. CALYX_CUDA_PTX decides for the tests: 0 never, 1
/// always.
bool is_linked(std::uint32_t steps) {
  const char* const wanted = std::getenv("CALYX_CUDA_PTX");
  if (wanted == nullptr || *wanted == '\0') return steps >= linked_steps_min;
  return *wanted != '0';
}

/// The challenge's parity runs: where `validate_full` looks.
constexpr std::uint64_t parity_seed = 9'001;
constexpr std::uint64_t parity_stride = 7;
constexpr std::uint64_t parity_count = 12;
constexpr std::uint32_t parity_steps = 2'000;

std::string_view say(bytecode::Ending ending) {
  switch (ending) {
    case bytecode::Ending::returned: return "returned";
    case bytecode::Ending::step_limit: return "a call used up its instructions";
    case bytecode::Ending::panic_index: return "an index or a range lies outside of its slice";
    case bytecode::Ending::panic_divide: return "a division by zero, or one whose quotient does not fit";
    case bytecode::Ending::panic_unwrap: return "`unwrap` or `expect` of nothing";
    case bytecode::Ending::panic_explicit: return "`panic!`, `unreachable!` or a failed `assert!`";
    case bytecode::Ending::panic_length: return "two slices that should be equally long";
    case bytecode::Ending::panic_argument: return "an argument that the function refuses";
    case bytecode::Ending::panic_memory: return "a reference to what is gone";
  }
  return "unknown";
}

std::string_view kind_of(bytecode::Ending ending) {
  return ending == bytecode::Ending::step_limit ? "step_limit" : "panic";
}

std::optional<Violation> violation_of(const kernel::Result& result) {
  constexpr std::array<std::string_view, 5> searches = {"", "arbitrage buy search", "arbitrage sell search",
                                                        "router buy split search",
                                                        "router sell split search"};
  if (result.end != kernel::End::not_monotone && result.end != kernel::End::not_concave) return std::nullopt;
  return Violation{result.end == kernel::End::not_monotone ? "monotonicity" : "concavity",
                   searches[static_cast<std::size_t>(result.search)]};
}

bool wanted(void* context) { return (*static_cast<const std::function<bool()>*>(context))(); }

/// `stopped` as a kernel asks it. It must outlive what is made.
kernel::Stop stop_of(const std::function<bool()>& stopped) {
  if (!stopped) return {};
  return {wanted, const_cast<std::function<bool()>*>(&stopped)};
}

Error was_stopped() { return fail(Reason::stopped, "the evaluation was stopped"); }

Result<Done> check(const Asked& asked) {
  const auto refused = [](std::string_view field, std::uint64_t is, std::uint64_t most) {
    return field_fault(Reason::field_value, field,
                       "is " + std::to_string(is) + ", takes 1 to " + std::to_string(most));
  };
  if (asked.count < 1 || asked.count > count_max) return refused("/count", asked.count, count_max);
  if (asked.steps < 1 || asked.steps > steps_max) return refused("/steps", asked.steps, steps_max);
  if (asked.threads < 1 || asked.threads > threads_max)
    return refused("/threads", asked.threads, threads_max);
  return Done{};
}

/// A strategy as it runs: a program or an object, with native code where that can be made.
struct Runnable {
  strategy::Compiled compiled;
  std::optional<strategy::SbpfObject> object;

  /// Made when it is first run: who only asks whether a source compiles does not pay for it. May be null.
  const strategy::NativeCode* native() const {
    std::call_once(once_, [this] { native_ = strategy::make_native(compiled); });
    return native_.get();
  }
  /// The same of `object`, which there is.
  const strategy::SbpfNative* object_native() const {
    std::call_once(once_, [this] { object_native_ = strategy::make_sbpf_native(object->view()); });
    return object_native_.get();
  }

 private:
  mutable std::once_flag once_;
  mutable std::unique_ptr<strategy::NativeCode> native_;
  mutable std::unique_ptr<strategy::SbpfNative> object_native_;
};

/// The seeds of one evaluation, which its threads take one by one.
class Seeds {
 public:
  Seeds(const Runnable& runnable, const Asked& asked)
      : runnable_(runnable),
        asked_(asked),
        results_(asked.count),
        faults_(asked.count),
        object_faults_(runnable.object ? asked.count : 0) {
    last_.store(asked.count);
  }

  void work(bool tells) {
    const std::function<bool()> ends = [this] {
      if (asked_.stopped && asked_.stopped()) stopped_.store(true);
      return stopped_.load();
    };
    const kernel::Stop stop = stop_of(ends);
    if (runnable_.object) {
      std::vector<unsigned char> stack(runnable_.object->stack_bytes());
      std::vector<unsigned char> heap(runnable_.object->heap_bytes);
      take(tells, [&](std::uint64_t i) {
        return strategy::native_sbpf_range(runnable_.object->view(), runnable_.object_native(), stack.data(),
                                           heap.data(), first_seed(), i, i + 1, settings(), bpf_fuel,
                                           results_.data(), object_faults_.data(), stop);
      });
      return;
    }
    std::vector<std::uint64_t> stack(runnable_.compiled.stack_slots);
    take(tells, [&](std::uint64_t i) {
      return strategy::native_range(runnable_.compiled.view(), runnable_.native(), stack.data(), first_seed(),
                                    i, i + 1, settings(), rules(), results_.data(), faults_.data(), stop);
    });
  }

  /// Simulates on the device, where that was asked for or is worth it. True when all is done.
  Result<bool> on_device() {
    const bool asked = asked_.device == Device::cuda;
    // An object has machine code here, and there an interpreter alone and up to 288 KiB a lane. From how many
    // seeds on that pays nobody has measured, so it is done for those who ask for it.
    const bool worth_it = !runnable_.object && asked_.count >= device_seeds_min;
    if (asked_.device == Device::cpu || (!asked && !worth_it)) return false;
    if (asked) CALYX_CHECK(recipes::device_for("/device"));
    if (!cuda::load().answers) return false;
    const cuda::Module& module = *cuda::load().module;
    const cuda::Status status = runnable_.object ? ask_for_object(module) : ask_for_program(module);
    if (status == cuda::Status::stopped) {
      stopped_.store(true);
      return true;
    }
    if (status != cuda::Status::ok) {
      if (asked) return recipes::device_failed(module, status);
      return false;
    }
    const auto failed = [](const kernel::Result& result) {
      return result.end == kernel::End::strategy_failed;
    };
    const auto first = std::find_if(results_.begin(), results_.end(), failed);
    if (first != results_.end()) lower_last(static_cast<std::uint64_t>(first - results_.begin()) + 1);
    return true;
  }

  bool stopped() const { return stopped_.load(); }

  Evaluation evaluation() const {
    Evaluation out;
    const std::uint64_t last = last_.load();
    out.edges.reserve(last);
    double total = 0.0;
    for (std::uint64_t i = 0; i < last; ++i) {
      const kernel::Result& result = results_[i];
      const std::uint64_t seed = first_seed() + i;
      if (result.end == kernel::End::strategy_failed) {
        const kernel::Fault& fault = faults_[i];
        out.failure = {seed, result.step, kind_of(fault.ending), say(fault.ending),
                       runnable_.compiled.line_at(fault.at)};
        break;
      }
      out.edges.push_back({seed, result.edge, violation_of(result)});
      if (out.edges.back().violation) ++out.violations;
      total += result.edge;
    }
    if (out.violations == 0 && !out.failure) {
      out.total_edge = total;
      out.avg_edge = total / static_cast<double>(out.edges.size());
    }
    return out;
  }

 private:
  std::uint64_t first_seed() const { return asked_.seed_base + asked_.start; }
  kernel::Settings settings() const { return {asked_.steps, asked_.strict_curves}; }
  kernel::CallRules rules() const {
    return {asked_.bpf_rules ? bpf_fuel : bytecode::fuel_default, asked_.bpf_rules};
  }

  cuda::Status ask_for_program(const cuda::Module& module) {
    const strategy::Compiled& compiled = runnable_.compiled;
    const std::string ptx = is_linked(asked_.steps) ? strategy::ptx_of(compiled) : std::string();
    const cuda::SizedProgram program{compiled.view(), compiled.code.size(), compiled.pool.size(), ptx.data(),
                                     ptx.size()};
    cuda::PropAmmCall call{seeds_asked()};
    call.programs = &program;
    call.program_count = 1;
    call.rules = rules();
    call.results = results_.data();
    call.faults = faults_.data();
    return module.prop_amm(&call);
  }
  cuda::Status ask_for_object(const cuda::Module& module) {
    cuda::PropAmmObjectCall call{seeds_asked()};
    call.program = runnable_.object->view();
    call.limit = bpf_fuel;
    call.results = results_.data();
    call.faults = object_faults_.data();
    return module.prop_amm_objects(&call);
  }
  cuda::SeedsAsked seeds_asked() {
    cuda::SeedsAsked seeds{};
    seeds.seed_first = first_seed();
    seeds.count = asked_.count;
    seeds.settings = settings();
    seeds.stop = stop_of(asked_.stopped);
    if (asked_.progress) {
      seeds.progress = [](void* context, std::uint64_t done) {
        static_cast<const Asked*>(context)->progress(done);
      };
      seeds.progress_context = const_cast<Asked*>(&asked_);
    }
    return seeds;
  }

  /// Takes seeds until none are left, or `run`, which gives the index that it was given, was stopped.
  template <class Run>
  void take(bool tells, Run run) {
    for (;;) {
      const std::uint64_t i = next_.fetch_add(1);
      // Seeds behind a failure are nobody's: the first failure ends all.
      if (i >= last_.load() || run(i) == i) return;
      if (results_[i].end == kernel::End::strategy_failed) lower_last(i + 1);
      const std::uint64_t done = done_.fetch_add(1) + 1;
      if (tells && asked_.progress) asked_.progress(done);
    }
  }

  void lower_last(std::uint64_t to) {
    std::uint64_t is = last_.load();
    while (to < is && !last_.compare_exchange_weak(is, to)) {
    }
  }

  const Runnable& runnable_;
  const Asked& asked_;
  std::vector<kernel::Result> results_;
  std::vector<kernel::Fault> faults_;
  std::vector<kernel::SbpfFaults> object_faults_;
  std::atomic<std::uint64_t> next_{0}, last_{0}, done_{0};
  std::atomic<bool> stopped_{false};
};

std::string shown(double size) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, size).ptr;
  return {text, end};
}

Verdict told(const strategy::CurveVerdict& found) {
  Verdict out;
  if (found.fault == strategy::CurveFault::none) return out;
  out.valid = false;
  const bool buys = found.side == kernel::Side::buy;
  out.side = buys ? "buy" : "sell";
  out.size = found.size;
  std::string at(buys ? "a purchase for " : "the sale of ");
  at.append(shown(found.size)).append(buys ? " Y" : " X");
  switch (found.fault) {
    case strategy::CurveFault::zero_output:
      out.reason = "zero_output";
      out.message = at.append(" pays nothing");
      break;
    case strategy::CurveFault::monotonicity:
      out.reason = "monotonicity";
      out.message = at.append(" pays no more than the next smaller one");
      break;
    default:
      out.reason = "concavity";
      out.message = at.append(": of two steps of 0.001 more, the second pays more than the first");
      break;
  }
  return out;
}

/// A verdict that comes before the comparison with rustc's build.
Verdict not_compared(Checks checks, Verdict verdict) {
  if (checks == Checks::full) {
    verdict.parity = "skipped";
    verdict.parity_reason = "not_reached";
  }
  return verdict;
}

}  // namespace

struct Strategy::Made {
  Runnable runnable;
  std::string source;  ///< Of an object none.
};

Strategy::Strategy(std::shared_ptr<const Made> made) : made_(std::move(made)) {}

Result<Strategy> Strategy::compile(std::string_view source) {
  std::variant<strategy::Compiled, strategy::Diagnostic> compiled = strategy::compile(source);
  if (const auto* wrong = std::get_if<strategy::Diagnostic>(&compiled)) {
    std::string message = "line " + std::to_string(wrong->line);
    message.append(", column ").append(std::to_string(wrong->column)).append(": ").append(wrong->message);
    return fail(Reason::strategy_refused, std::move(message),
                json::object({{"code", wrong->code}, {"line", wrong->line}, {"column", wrong->column}}));
  }
  auto made = std::make_shared<Made>();
  made->runnable.compiled = std::get<strategy::Compiled>(std::move(compiled));
  made->source = source;
  return Strategy(std::move(made));
}

Result<Strategy> Strategy::load(std::span<const unsigned char> object) {
  std::variant<strategy::SbpfObject, strategy::ObjectFault> loaded = strategy::load_elf(object);
  if (const auto* wrong = std::get_if<strategy::ObjectFault>(&loaded))
    return fail(Reason::strategy_refused, wrong->message,
                json::object({{"code", wrong->code}, {"at", wrong->at}}));
  auto made = std::make_shared<Made>();
  made->runnable.object = std::get<strategy::SbpfObject>(std::move(loaded));
  return Strategy(std::move(made));
}

const std::string& Strategy::name() const noexcept { return made_->runnable.compiled.name; }
const std::string& Strategy::model_used() const noexcept { return made_->runnable.compiled.model_used; }
std::uint64_t Strategy::instructions() const noexcept { return made_->runnable.compiled.code.size(); }
std::string Strategy::bytecode() const { return strategy::bytes_of(made_->runnable.compiled); }

Result<Evaluation> Strategy::evaluate(const Asked& asked) const {
  CALYX_CHECK(check(asked));
  Seeds seeds(made_->runnable, asked);
  CALYX_TRY(const bool done, seeds.on_device());
  if (!done) {
    std::vector<std::jthread> threads;  // which are joined at the end of this scope, however it ends
    const std::uint64_t useful = std::min<std::uint64_t>(asked.threads, asked.count);
    threads.reserve(useful);
    for (std::uint64_t i = 1; i < useful; ++i) {
      try {
        threads.emplace_back([&seeds] {
          try {
            seeds.work(false);
          } catch (const std::bad_alloc&) {  // before its first seed: fewer hands do the same
          }
        });
      } catch (const std::system_error&) {
        break;
      }
    }
    seeds.work(true);
  }
  if (seeds.stopped()) return was_stopped();
  return seeds.evaluation();
}

Result<Verdict> Strategy::validate(Checks checks, const std::function<bool()>& stopped,
                                   const RunEnclosed& enclosed) const {
  const Runnable& runnable = made_->runnable;
  if (runnable.object) return fail(Reason::unsupported, "an object is not validated, a source is");
  std::vector<std::uint64_t> stack(runnable.compiled.stack_slots);
  strategy::NativeStrategy program(runnable.compiled.view(), runnable.native(), stack.data());
  kernel::GuardedStrategy<strategy::NativeStrategy> guarded(program, {}, stop_of(stopped));
  const strategy::CurveVerdict curve = strategy::check_curve(
      guarded, checks == Checks::concavity ? strategy::CurveChecks::shape : strategy::CurveChecks::all);
  if (guarded.stopped()) return was_stopped();
  if (curve.fault == strategy::CurveFault::failed) {
    Verdict out;
    out.valid = false;
    out.reason = kind_of(program.outcome().ending);
    out.message = say(program.outcome().ending);
    out.line = runnable.compiled.line_at(program.outcome().at);
    return not_compared(checks, std::move(out));
  }
  Verdict out = told(curve);
  if (!out.valid || checks != Checks::full) return not_compared(checks, std::move(out));

  Evaluation runs;
  double total = 0.0;
  for (std::uint64_t i = 0; i < parity_count && out.valid; ++i) {
    Asked one;
    one.seed_base = parity_seed + parity_stride * i;
    one.count = 1;
    one.steps = parity_steps;
    one.stopped = stopped;
    CALYX_TRY(Evaluation run, evaluate(one));
    if (run.failure) {
      out.valid = false;
      out.reason = run.failure->kind;
      out.message = run.failure->message;
      out.line = run.failure->line;
      runs.failure = run.failure;
      break;
    }
    const SeedEdge& edge = run.edges.front();
    runs.edges.push_back(edge);
    total += edge.edge;
    if (!edge.violation) continue;
    ++runs.violations;
    out.valid = false;
    out.reason = "runtime_shape";
    out.message.append(edge.violation->kind).append(" fails in the ").append(edge.violation->context);
    out.message.append(" of seed ").append(std::to_string(edge.seed));
  }
  if (out.valid) {
    runs.total_edge = total;
    runs.avg_edge = total / static_cast<double>(parity_count);
  }
  out.runs = std::move(runs);
  if (!out.valid) return not_compared(checks, std::move(out));

  CALYX_TRY(Parity parity,
            compare_with_rustc(runnable.compiled, runnable.native(), made_->source, enclosed, stopped));
  out.parity = parity.word;
  out.parity_reason = parity.reason;
  if (parity.word == "failed") {
    out.valid = false;
    out.reason = "parity";
    out.message = std::move(parity.message);
    out.line = parity.line;
  } else {
    out.parity_message = std::move(parity.message);
  }
  return out;
}

}  // namespace calyx::prop_amm
