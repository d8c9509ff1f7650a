// The module's table with the host in the device's place: the bodies of its kernels, lane by lane, in the
// form that they have on a device. The environment's CALYX_TEST_DEVICE_FAILS makes every call but the first
// question fail, as a device does that was lost, or, if it is `no_memory`, one that is full; if it is
// `later`, a search's third launch alone. Where a program comes with PTX, that is what runs, and `last_error`
// then says so.
#define CALYX_FOR_DEVICE

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../../strategy/ptx_machine.hpp"
#include "calyx_kernels/cuda_module.hpp"
#include "calyx_kernels/freivalds.hpp"
#include "calyx_kernels/packing_groups.hpp"
#include "calyx_kernels/packing_steps.hpp"
#include "calyx_kernels/packing_warp.hpp"
#include "calyx_kernels/packing_warp_crew.hpp"
#include "calyx_kernels/prop_amm_linked.hpp"
#include "calyx_kernels/prop_amm_tape.hpp"

namespace {

namespace amm = calyx::kernels::prop_amm;
namespace bytecode = calyx::kernels::bytecode;
namespace cuda = calyx::kernels::cuda;
namespace packing = calyx::kernels::packing;
using cuda::Status;

constexpr std::uint64_t searches_max = 3;      // that there is room for, so that a call has several groups
constexpr std::uint64_t search_slice = 512;    // evaluations of a search, from one rest to the next
constexpr std::uint64_t lanes_max = 8;         // of a tape, so that a test has several
constexpr std::uint64_t object_lanes_max = 3;  // of a launch, so that a tape has several

/// Whether the last simulations ran PTX.
std::atomic<bool> ran_linked{false};

/// What the environment wants of a call: `ok`, if nothing, or not yet.
Status wanted() {
  const char* const fails = std::getenv("CALYX_TEST_DEVICE_FAILS");
  if (fails == nullptr || std::string_view(fails) == "later") return Status::ok;
  ran_linked = false;
  return std::string_view(fails) == "no_memory" ? Status::no_memory : Status::failed;
}

Status device(cuda::Device* out) noexcept {
  *out = {};
  std::snprintf(out->name, sizeof out->name, "emulated");
  out->memory_bytes = 1;
  out->multiprocessors = 1;
  out->capability_major = 9;
  out->driver_version = 13'000;
  out->runtime_version = 12'040;
  return Status::ok;
}

Status packing_eval(const double* candidates, std::size_t count, packing::Verdict* out) noexcept {
  if (wanted() != Status::ok) return wanted();
  packing::WarpScratch scratch;
  for (std::size_t i = 0; i < count; ++i) {
    const double* const candidate = candidates + i * packing::candidate_numbers;
    packing::judge_areas(packing::LoopWarp{static_cast<std::uint32_t>(i % packing::warp_lanes)}, candidate,
                         scratch, out[i]);
    packing::judge_circles(candidate, out[i]);
  }
  return Status::ok;
}

/// The tape of some seeds, and its arrays.
struct Recorded {
  Recorded(std::uint64_t seed_first, std::uint64_t lanes, std::uint32_t steps)
      : price(steps * lanes), guess(steps * lanes), count(steps * lanes) {
    tape = {price.data(), guess.data(), count.data(), nullptr, lanes};
    std::uint64_t most = 0;
    for (std::uint64_t lane = 0; lane < lanes; ++lane) {
      amm::record_steps(tape, lane, seed_first + lane, steps);
      const std::uint64_t orders = amm::count_orders(tape, lane, seed_first + lane, steps);
      if (orders > most) most = orders;
    }
    order.resize(most * lanes);
    tape.order = order.data();
    for (std::uint64_t lane = 0; lane < lanes; ++lane)
      amm::record_orders(tape, lane, seed_first + lane, steps);
  }
  std::vector<double> price, guess, order;
  std::vector<std::uint16_t> count;
  amm::Tape tape;
};

/// Records tapes, and lets `simulate(tape, lane, seed, at)` run each lane, the call's seed `at`; false is a
/// simulation that was stopped.
template <class Simulate>
Status for_launches(const cuda::SeedsAsked& asked, std::uint64_t launch_lanes, Simulate simulate) {
  for (std::uint64_t first = 0; first < asked.count; first += lanes_max) {
    const std::uint64_t lanes = std::min(lanes_max, asked.count - first);
    if (asked.stop.asked()) return Status::stopped;
    const Recorded recorded(asked.seed_first + first, lanes, asked.settings.steps);
    for (std::uint64_t i = 0; i < lanes; i += launch_lanes) {
      const std::uint64_t now = std::min(launch_lanes, lanes - i);
      for (std::uint64_t lane = i; lane < i + now; ++lane)
        if (!simulate(recorded.tape, lane, asked.seed_first + first + lane, first + lane))
          return Status::stopped;
      if (asked.progress != nullptr) asked.progress(asked.progress_context, first + i + now);
    }
  }
  return Status::ok;
}

/// What a driver would have linked: of one program, as the module does.
std::optional<calyx::testing::PtxText> linked_of(const cuda::PropAmmCall& call) {
  if (call.program_count != 1 || call.programs->ptx_bytes == 0) return std::nullopt;
  const cuda::SizedProgram& it = *call.programs;
  return std::optional<calyx::testing::PtxText>(std::in_place, std::string(it.ptx, it.ptx_bytes),
                                                it.view.stack_slots, it.view.constants,
                                                it.view.constants_bytes);
}

Status prop_amm(const cuda::PropAmmCall* call) noexcept {
  if (wanted() != Status::ok) return wanted();
  try {
    const auto linked = linked_of(*call);
    ran_linked = linked.has_value();
    if (call->linked != nullptr) *call->linked = ran_linked;
    return for_launches(*call, lanes_max,
                        [&](const amm::Tape& tape, std::uint64_t lane, std::uint64_t seed, std::uint64_t s) {
                          bool stopped = false;
                          for (std::uint64_t p = 0; p < call->program_count && !stopped; ++p) {
                            const bytecode::Program& program = call->programs[p].view;
                            std::vector<std::uint64_t> stack(program.stack_slots);
                            const std::uint64_t at = p * call->count + s;
                            amm::Result& result = call->results[at];
                            amm::Fault& fault = call->faults[at];
                            if (linked)
                              stopped = !calyx::kernels::linked::play(
                                  calyx::testing::PtxAsked{&*linked}, program, stack.data(), tape, lane, seed,
                                  call->settings, call->rules, call->stop, result, fault);
                            else
                              stopped = !amm::play(program, stack.data(), tape, lane, seed, call->settings,
                                                   call->rules, call->stop, result, fault);
                          }
                          return !stopped;
                        });
  } catch (const std::bad_alloc&) {
    return Status::no_memory;
  } catch (const calyx::testing::PtxMachine::Fault&) {
    return Status::failed;
  }
}

Status prop_amm_objects(const cuda::PropAmmObjectCall* call) noexcept {
  if (wanted() != Status::ok) return wanted();
  try {
    // What was in the memory of a device is still there.
    const std::size_t bytes = amm::memory_bytes(call->program);
    std::vector<unsigned char> memory(bytes * object_lanes_max, 0xa5);
    return for_launches(*call, object_lanes_max,
                        [&](const amm::Tape& tape, std::uint64_t lane, std::uint64_t seed, std::uint64_t s) {
                          return amm::play(call->program, memory.data() + lane % object_lanes_max * bytes,
                                           tape, lane, seed, call->settings, call->limit, call->stop,
                                           call->results[s], call->faults[s]);
                        });
  } catch (const std::bad_alloc&) {
    return Status::no_memory;
  }
}

struct AsksStop {
  static constexpr std::uint32_t every = 64;
  amm::Stop stop;
  bool stops(const packing::SearchProgress& /*progress*/) const { return stop.asked(); }
};

/// The device of a call of searches, with memory of its own, in which lies what a device's memory may hold.
class Searching {
 public:
  explicit Searching(const cuda::PackingSearchCall& call) : call_(call) {}

  Status put(const cuda::SearchGroup& group) {
    people_.assign(group.count * group.people_numbers, 0.0);
    trials_.assign(group.people_numbers, -1.0);
    states_.clear();
    for (std::uint64_t i = 0; i < group.count; ++i) {
      states_.push_back(group.state(i));
      if (group.people_numbers != 0)
        std::copy_n(group.people(i), group.people_numbers, people_.data() + i * group.people_numbers);
    }
    group_ = std::make_unique<cuda::SearchGroup>(group);
    return Status::ok;
  }

  Status launch(std::uint64_t /*slice*/) {
    if (++launches_ == 3 && wanted_later()) return Status::failed;
    using Crew = packing::WarpCrew<packing::LoopWarp>;
    for (std::uint64_t i = 0; i < states_.size(); ++i) {
      const packing::SearchSettings settings = group_->settings(i);
      const std::uint64_t rest_at = states_[i].marks.evaluations + search_slice;
      std::memset(static_cast<void*>(work_.get()), 0xa5, sizeof *work_);
      std::memset(static_cast<void*>(scratch_.get()), 0x5a, sizeof *scratch_);
      const packing::LoopWarp warp{static_cast<std::uint32_t>(i % packing::warp_lanes)};
      packing::Steps<Crew, AsksStop> steps(settings, call_.has_start, states_[i], *work_,
                                           {people_.data() + i * group_->people_numbers, trials_.data()},
                                           Crew(warp, *scratch_, settings.count), AsksStop{call_.stop});
      if (steps.go(rest_at) == packing::Pause::told) return Status::stopped;
    }
    return Status::ok;
  }

  Status bring(const cuda::SearchGroup& group, cuda::Brought what) {
    for (std::uint64_t i = 0; i < group.count; ++i) {
      group.state(i) = states_[i];
      if (what == cuda::Brought::all && group.people_numbers != 0)
        std::copy_n(people_.data() + i * group.people_numbers, group.people_numbers, group.people(i));
    }
    return Status::ok;
  }

 private:
  static bool wanted_later() {
    const char* const fails = std::getenv("CALYX_TEST_DEVICE_FAILS");
    return fails != nullptr && std::string_view(fails) == "later";
  }

  const cuda::PackingSearchCall& call_;
  std::unique_ptr<cuda::SearchGroup> group_;
  std::vector<packing::SearchState> states_;
  std::vector<double> people_, trials_;
  std::unique_ptr<packing::Workspace> work_ = std::make_unique<packing::Workspace>();
  std::unique_ptr<packing::CrewScratch> scratch_ = std::make_unique<packing::CrewScratch>();
  std::uint64_t launches_ = 0;
};

Status packing_search(const cuda::PackingSearchCall* call) noexcept {
  if (wanted() != Status::ok) return wanted();
  try {
    Searching device(*call);
    return cuda::search_in_groups(*call, searches_max, device);
  } catch (const std::bad_alloc&) {
    return Status::no_memory;
  }
}

Status probe(const cuda::ProbeAsked* asked, cuda::ProbeFound* out) noexcept {
  if (wanted() != Status::ok) return wanted();
  if (asked->stop.asked()) return Status::stopped;
  *out = {1e12, 2e12, 0.0, 3e12, 4e9, 5e9, 2, 0};
  return Status::ok;
}

void* take_pinned(std::size_t bytes) noexcept { return std::malloc(bytes); }
void give_pinned(void* memory) noexcept { std::free(memory); }
const char* last_error() noexcept { return ran_linked ? "it ran PTX" : "it was told to"; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const cuda::Module* calyx_cuda_module() {
  static const cuda::Module module{
      cuda::module_version, sizeof(cuda::Module), device,     packing_eval,     prop_amm,      probe,
      take_pinned,          give_pinned,          last_error, prop_amm_objects, packing_search};
  return &module;
}
