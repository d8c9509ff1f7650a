/// \file
/// The gate of a market: the lock that keeps its writers and its checkpoints apart, across threads'
/// engines and across processes.
///
/// Start at `Gate::open`. SQLite's own locks are not enough: the host cancels them by closing any
/// descriptor of the market's file, and the SQLite of today's distributions can lose commits when a
/// checkpoint meets a writer. So every write transaction, checkpoint, opening, migration and backup
/// holds the gate. It is `flock` on a file of its own, `<db>-gate`, which nobody else opens. Nobody removes
/// it but who made it for what turned out to be no market; who locks a file that no longer bears the gate's
/// name starts over with the one that does.
///
/// Owns: the descriptor and a mapping of the file's first page; both go with the gate.
/// Threads: one at a time (the engine's leader); `wanted_by_others` and `committed_seq` from any thread.
/// Processes: any number. A forked child shares its parent's lock until its copy of the descriptor is
/// closed, which exec does by itself; calls in the child answer `forked` and never unlock.
#pragma once

#include <calyx/core/result.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace calyx::store {

/// Instants for measuring waits; the same clock in every process of the machine. Units: microseconds.
std::int64_t monotonic_us() noexcept;

/// Sleeps that long; not at all for nothing or less.
void sleep_us(std::int64_t us);

/// How long to sleep between two tries for a lock: 50 to 150 us, so that no two waiters keep step.
/// A xorshift generator seeded from an address, the process and the clock; nothing secret is made of it.
class Jitter {
 public:
  Jitter() noexcept;
  std::int64_t next_us() noexcept;  ///< The next pause. Units: microseconds.

 private:
  std::uint64_t state_;
};

class Gate {
 public:
  /// How recent another's try must be for the gate to count as wanted. Units: microseconds.
  static constexpr std::int64_t wanted_window_us = 20'000;

  /// A gate with no file: always open, for a market in memory or a folder that cannot be written.
  Gate() noexcept;

  /// The gate at `path`, made if missing (0600). Waits `timeout_ms` at most for a holder, and only when
  /// the file is new.
  /// Fails, with `path` in the details: `io_error`, `disk_full`, `no_memory`, `store_busy`, `not_a_market`
  /// (the file holds something that is not ours).
  static Result<Gate> open(const std::string& path, std::uint64_t timeout_ms = 5000);

  /// The gate for an engine that only reads: writable where it can be, else read-only, else with no file.
  static Gate open_for_reading(const std::string& path) noexcept;

  Gate(Gate&&) noexcept;
  Gate& operator=(Gate&&) noexcept;
  ~Gate();

  /// Removes the file again if this gate made it: what it was to stand beside is no market. Only while held.
  void withdraw() noexcept;

  /// Whether a file stands behind it.
  bool has_file() const noexcept { return inside_ != nullptr; }

  /// Takes the gate, trying again every 50 to 150 us. Nothing calls back or starts a process under it.
  /// Who just gave it back while others waited stands aside for one such pause first.
  /// Fails: `store_busy` with `waited_ms` in the details; `io_error`; `forked`; `internal` when this gate
  /// is already held, which is a defect of the caller.
  Result<Done> lock(std::uint64_t timeout_ms);

  /// Gives the gate back; nothing when it is not held.
  void unlock() noexcept;

  bool held() const noexcept;

  /// Whether another engine tried for the gate within `wanted_window_us`: time to end the batch.
  bool wanted_by_others() const noexcept;

  /// Tells all processes that `seq` is committed. To be called after the commit and before anyone is told
  /// of it, and once at opening. A smaller number than the one that stands changes nothing.
  void publish(std::uint64_t seq) noexcept;

  /// The same for an engine that opens the market and has read it: a page that was left by a market that
  /// is gone, or by a younger copy, must not stay above it. Only while held, when nobody else can be ahead.
  void begin_at(std::uint64_t seq) noexcept;

  /// The last `seq` that any process published, or nothing without a file. A hint: a reader who knows less
  /// has something to read, but a writer reads the market itself.
  std::optional<std::uint64_t> committed_seq() const noexcept;

 private:
  struct Inside;
  static Result<Gate> open_at(const std::string& path, std::uint64_t timeout_ms);
  explicit Gate(std::unique_ptr<Inside> inside) noexcept;
  std::unique_ptr<Inside> inside_;
};

/// Holds a locked gate and gives it back.
class GateHold {
 public:
  /// `gate` must be locked already.
  explicit GateHold(Gate& gate) noexcept : gate_(&gate) {}
  GateHold(GateHold&& other) noexcept : gate_(other.gate_) { other.gate_ = nullptr; }
  GateHold& operator=(GateHold&&) = delete;
  ~GateHold() {
    if (gate_ != nullptr) gate_->unlock();
  }

  /// Locks `gate` for as long as the answer lives. Fails: as `Gate::lock`.
  static Result<GateHold> take(Gate& gate, std::uint64_t timeout_ms) {
    CALYX_CHECK(gate.lock(timeout_ms));
    return GateHold(gate);
  }

 private:
  Gate* gate_;
};

}  // namespace calyx::store
