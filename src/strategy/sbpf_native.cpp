#include "strategy/sbpf_native.hpp"

#include <utility>

namespace calyx::strategy {
namespace {

namespace sbpf = kernels::sbpf;

/// The interpreter's own function does what is asked of the host, so there is one.
std::uint32_t ask(SbpfCall* call, std::uint32_t what) noexcept {
  const sbpf::Ending ending = sbpf::detail::ask(static_cast<sbpf::SystemCall>(what), *call->program,
                                                *call->memory, call->state, call->outcome);
  call->outcome.ending = ending;
  return static_cast<std::uint32_t>(ending);
}

}  // namespace

std::unique_ptr<SbpfNative> make_sbpf_native(const sbpf::Program& program, std::string* why) {
  const auto none = [&](std::string reason) -> std::unique_ptr<SbpfNative> {
    if (why != nullptr) *why = std::move(reason);
    return nullptr;
  };
  // What is longer takes longer to make than it is worth, to whoever sends such a thing.
  constexpr std::uint32_t slots_most = 65'536;
  if (program.slots > slots_most) return none("the program is too large");
  Flow flow;
  std::string reason;
  if (!flow_of(program, flow, reason)) return none(std::move(reason));
  SbpfEmitted emitted;
  if (!emit_sbpf(program, flow, &ask, emitted, reason)) return none(std::move(reason));
  std::unique_ptr<SbpfNative> native(new SbpfNative);
  if (reason = native->pages_.make(emitted.bytes); !reason.empty()) return none(std::move(reason));
  native->charged_ = std::move(emitted.charged);
  native->input_bytes_ = emitted.input_bytes;
  native->entry_ = reinterpret_cast<SbpfNative::Entry>(native->pages_.place(0));
  return native;
}

void SbpfNative::run(SbpfCall& call, const sbpf::Program& program, const sbpf::Memory& memory,
                     std::uint64_t limit) const {
  if (memory.input_bytes < input_bytes_) {
    call.outcome = sbpf::run(program, memory, limit);
    return;
  }
  call.input = memory.input;
  for (std::uint32_t width = 0; width < 4; ++width)
    call.input_last[width] = memory.input_bytes - (1U << width);
  call.stack = memory.stack;
  call.heap = memory.heap;
  call.image = program.image;
  call.frame = memory.stack + sbpf::frame_bytes;
  call.frame_last = memory.stack + std::size_t{program.frames} * sbpf::frame_bytes;
  call.frame_base = (std::uint64_t{sbpf::region_stack} << 32) - sbpf::frame_bytes -
                    2 * static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(memory.stack));
  sbpf::detail::State& state = call.state;
  call.caller = state.callers;
  call.program = &program;
  call.memory = &memory;
  call.outcome = {};
  state.left = limit;
  state.moved = 0;
  sbpf::Outcome& outcome = call.outcome;
  const SbpfLeft left = entry_(&call);
  std::uint32_t slot = call.slot;
  // What was charged of the block and did not run is given back.
  if (left == SbpfLeft::again) {
    state.left += charged_[slot];
    const auto depth = static_cast<std::uint64_t>(call.frame - memory.stack) / sbpf::frame_bytes - 1;
    state.depth = static_cast<std::uint32_t>(depth);
    state.r[10] = (std::uint64_t{sbpf::region_stack} << 32) + (2 * depth + 1) * sbpf::frame_bytes;
    if (!sbpf::detail::advance<false>(program, memory, state, slot, outcome))
      sbpf::detail::advance<true>(program, memory, state, slot, outcome);
  } else {
    state.left += charged_[slot] - 1;
  }
  outcome.at = slot;
  outcome.instructions = limit - state.left;
  outcome.moved = state.moved;
}

std::uint64_t native_sbpf_range(const sbpf::Program& program, const SbpfNative* native, unsigned char* stack,
                                unsigned char* heap, std::uint64_t seed_base, std::uint64_t first,
                                std::uint64_t last, const kernels::prop_amm::Settings& settings,
                                std::uint64_t limit, kernels::prop_amm::Result* results,
                                kernels::prop_amm::SbpfFaults* faults, const kernels::prop_amm::Stop& stop) {
  NativeSbpfStrategy strategy(program, stack, heap, limit, SbpfMachine(native));
  return kernels::prop_amm::sbpf_range(strategy, seed_base, first, last, settings, results, faults, stop);
}

}  // namespace calyx::strategy
