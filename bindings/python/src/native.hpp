/// \file
/// What the files of the module `calyx._native` share: the interpreter's life, an open market, and the values
/// that pass between C++ and Python.
///
/// Start at `Open` and `outside`. The rules of module.cpp hold for all of them.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <calyx/calyx.hpp>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace calyx_python {

namespace py = pybind11;
namespace core = calyx::core;
namespace json = calyx::core::json;
using calyx::Error;
using calyx::fail;
using calyx::Failure;
using calyx::Reason;
using calyx::Result;

// ── the interpreter's life ──

/// Calls that have let go of the GIL, or are about to take it again. Once the interpreter is going down, a
/// thread that asks for the GIL never returns; so the exit hook lets no new call out and waits for these.
inline std::atomic<int> calls_outside{0};
inline thread_local int calls_here = 0;  ///< Those of this thread.
inline bool going_down = false;          // under the GIL
inline constexpr std::chrono::seconds drain_max{10};

inline bool interpreter_alive() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsInitialized() != 0 && Py_IsFinalizing() == 0;
#else
  return Py_IsInitialized() != 0 && _Py_IsFinalizing() == 0;
#endif
}

/// While it lives, this thread does not hold the GIL.
class Outside {
 public:
  Outside() {
    ++calls_here;
    calls_outside.fetch_add(1);
    state_ = PyEval_SaveThread();
  }
  ~Outside() {
    PyEval_RestoreThread(state_);
    calls_outside.fetch_sub(1);
    --calls_here;
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

 private:
  PyThreadState* state_;
};

/// A worker that was started. Threads: any; stopping it again does nothing.
class Stoppable {
 public:
  Stoppable() = default;
  Stoppable(const Stoppable&) = delete;
  Stoppable& operator=(const Stoppable&) = delete;
  virtual ~Stoppable() = default;
  /// Without the GIL, which the tasks that it waits for may need.
  virtual void stop() noexcept = 0;
};
using Workers = std::vector<std::shared_ptr<Stoppable>>;
inline void stop_all(Workers& workers) noexcept {
  for (const auto& worker : workers) worker->stop();
  workers.clear();
}
/// How many tasks of workers this thread is in the midst of: while there is one it waits for no worker's end.
inline thread_local int worker_tasks = 0;

/// A file that was opened. A forked child has its parent's engine but must not touch it, not even to end it:
/// closing the file there would end the parent's locks on it.
struct Open {
  std::shared_ptr<calyx::Engine> engine;  // null once closed; its deleter spares a forked child
  py::object clock;                       // null when the engine reads the system's
  std::shared_ptr<std::atomic<std::int64_t>> instant_us;  // what `clock` said last, for the engine
  Workers workers;                                        // those that run, until they are stopped

  std::shared_ptr<calyx::Engine> take() const {
    if (going_down) throw Failure(fail(Reason::closed, "the interpreter is shutting down"));
    if (engine != nullptr && clock) instant_us->store(read_clock(clock));
    if (engine == nullptr) throw Failure(fail(Reason::closed, "the market was closed"));
    return engine;
  }

  /// What `clock` says. It is asked before a call and not by the engine in its midst: so what it raises
  /// (an interrupt, too) is the caller's to see, and nothing was begun.
  static std::int64_t read_clock(const py::object& clock) {
    const py::object said = clock();
    if (!PyLong_Check(said.ptr())) throw py::type_error("clock gives microseconds as an int");
    int beyond = 0;
    const long long us = PyLong_AsLongLongAndOverflow(said.ptr(), &beyond);
    if (beyond != 0 || us < 0 || us > core::instant_max.us)
      throw py::value_error("clock gives an instant outside 1970 to 9999");
    return us;
  }

  /// Ends the workers, then the engine, once the calls under way are over.
  void close() {
    std::shared_ptr<calyx::Engine> last = std::move(engine);
    const py::object forgotten = std::move(clock);  // it may hold the market that holds it
    if (last == nullptr) return;
    last->end_streams();
    Workers ending = std::exchange(workers, {});
    if (!ending.empty() && worker_tasks > 0) {
      // This thread is one of those that would be waited for, so another one waits.
      calls_outside.fetch_add(1);
      std::thread([ending = std::move(ending), last = std::move(last)]() mutable {
        stop_all(ending);
        last.reset();
        calls_outside.fetch_sub(1);
      }).detach();
      return;
    }
    const Outside none;
    stop_all(ending);
    last.reset();
  }
  void stop_workers() {
    Workers ending = std::exchange(workers, {});
    if (ending.empty()) return;
    const Outside none;
    stop_all(ending);
  }
  ~Open() { close(); }
};
using OpenPtr = std::shared_ptr<Open>;

/// Every market that is open, for the exit hook. Never destroyed: it outlives the interpreter.
inline std::vector<std::weak_ptr<Open>>& all_open() {
  static auto& list = *new std::vector<std::weak_ptr<Open>>;
  return list;
}

inline void at_exit(pid_t owner) {
  if (getpid() == owner)  // their tasks may still call the market
    for (const std::weak_ptr<Open>& one : std::vector(all_open()))
      if (const OpenPtr open = one.lock()) open->stop_workers();
  going_down = true;
  if (getpid() != owner) return;  // a forked child: calls of its parent's threads will never end here
  const auto deadline = std::chrono::steady_clock::now() + drain_max;
  while (calls_outside.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    const py::gil_scoped_release none;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (const std::weak_ptr<Open>& one : all_open())
    if (const OpenPtr open = one.lock()) open->close();
}

/// What a callback raised on this thread that is nobody's to swallow (an interrupt, an exit): the call that
/// is under way on the thread raises it, once what it did is recorded.
inline thread_local std::exception_ptr interrupted;

/// Whether a signal's handler raised, which is then for the end of the call to raise.
inline bool signal_came() {
  if (!interrupted) {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) {
      try {
        throw py::error_already_set();
      } catch (...) {
        interrupted = std::current_exception();
      }
    }
  }
  return interrupted != nullptr;
}

/// Runs `work(engine)` without the GIL and gives what it answered, or raises what interrupted it.
template <class Work>
auto outside(const OpenPtr& open, Work work) {
  std::shared_ptr<calyx::Engine> engine = open->take();
  std::optional<decltype(work(*engine))> answer;
  {
    const Outside none;
    answer.emplace(work(*engine));
    engine.reset();  // after a `close` meanwhile this is its end, which may take its time
  }
  if (interrupted) std::rethrow_exception(std::exchange(interrupted, nullptr));
  return *std::move(answer);
}

/// For what is one thread's at a time. A second one is told, and kept from nothing: waiting here, with the
/// GIL, would keep the first one from its end.
inline std::unique_lock<std::mutex> only_one(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::try_to_lock);
  if (!lock) throw Failure(fail(Reason::handle_invalid, "another thread waits on this stream"));
  return lock;
}

// ── values for Python ──

/// An object of Python's that is looked up once and kept for ever.
struct Known {
  py::object flops;        ///< calyx.money.Flops
  py::object decimal;      ///< decimal.Decimal
  py::object decimal_new;  ///< Decimal.__new__, which makes a Flops of digits as they are
  py::object error_of;     ///< calyx.errors.of
};
inline const Known& known() {
  static const Known* held = nullptr;
  if (held == nullptr) {
    const py::object decimal = py::module_::import("decimal").attr("Decimal");
    held = new Known{py::module_::import("calyx.money").attr("Flops"), decimal, decimal.attr("__new__"),
                     py::module_::import("calyx.errors").attr("of")};
  }
  return *held;
}

inline py::object out(const std::string& text) { return py::str(text); }
inline py::object out(std::string_view text) { return py::str(text.data(), text.size()); }
/// Octets, to be told from text.
struct Bytes {
  std::string_view octets;
};
inline py::object out(Bytes bytes) { return py::bytes(bytes.octets.data(), bytes.octets.size()); }
inline py::object out(std::same_as<bool> auto truth) { return py::bool_(truth); }
template <std::integral T>
requires(!std::same_as<T, bool>) py::object out(T number) { return py::int_(number); }
inline py::object out(calyx::Money money) {
  return known().decimal_new(known().flops, core::money_text(money));
}
inline py::object out(const core::Digest& digest) { return py::str(core::hex(digest)); }
template <calyx::IdKind K>
inline py::object out(const calyx::Id<K>& id) {
  return py::str(id.text());
}
py::object out(calyx::Instant instant);  // in module.cpp: datetime.h keeps its table to a file
/// What a number with decimals is: in an error's details an amount, elsewhere anything.
enum class Reals : std::uint8_t { decimals, amounts };
inline py::object out(const json::Value& value, Reals reals = Reals::decimals) {
  switch (value.kind()) {
    case json::Kind::null: return py::none();
    case json::Kind::boolean: return py::bool_(*value.boolean());
    case json::Kind::integer: return py::int_(*value.integer());
    case json::Kind::real: {  // by its digits: an amount in an error's details is never a float
      std::string digits;
      json::append_text(digits, value);
      const bool negative = !digits.empty() && digits[0] == '-';
      const core::MoneyReading amount = core::read_money(std::string_view(digits).substr(negative ? 1 : 0));
      if (reals == Reals::amounts && amount.fault == core::MoneyFault::none)
        return out(negative ? -amount.money : amount.money);
      return known().decimal(digits);
    }
    case json::Kind::string: return out(*value.string());
    case json::Kind::array: {
      py::list items;
      for (const json::Value& item : *value.array()) items.append(out(item, reals));
      return items;
    }
    case json::Kind::object: {
      py::dict members;
      for (const json::Member& member : *value.object()) members[out(member.key)] = out(member.value, reals);
      return members;
    }
  }
  return py::none();
}
template <class T, class Make>
py::list list_of(const std::vector<T>& items, Make make) {
  py::list made;
  for (const T& item : items) made.append(make(item));
  return made;
}
template <class T, class Make>
py::object page_of(const calyx::Listed<T>& listed, Make make) {
  return py::make_tuple(list_of(listed.items, make), listed.next);
}
template <class T>
py::object maybe(const std::optional<T>& value) {
  return value ? out(*value) : py::none();
}
inline py::list texts_of(const std::vector<std::string>& texts) {
  return list_of(texts, [](const std::string& text) { return out(text); });
}
inline py::object text_or_none(const std::string& text) {
  return text.empty() ? py::none() : py::object(out(text));
}

/// A dictionary whose keys are the names of a record's fields in Python.
inline py::object record(std::initializer_list<std::pair<const char*, py::object>> fields) {
  py::dict made;
  for (const auto& [name, value] : fields) made[name] = value;
  return made;
}

/// JSON as Python's `json.loads` has it: a number with decimals is a float. In jobs.cpp.
py::object plain(const json::Value& value);

// ── values from Python ──

/// Whether a number that JSON does not keep (a NaN, 2^53) is refused here, or by who reads the result.
enum class Numbers : std::uint8_t { finite, any };

/// `value` as JSON, in jobs.cpp. Fails, with its place in `details.field`: `field_type`, `field_value`,
/// `too_deep`, `not_utf8`, `zero_character`.
json::Value value_from(const py::handle& value, Numbers numbers, const std::string& at, std::size_t depth);

inline std::optional<std::chrono::milliseconds> most_of(std::optional<std::int64_t> ms) {
  constexpr std::int64_t ms_max = std::int64_t{365} * 86'400'000;  // a deadline that no clock overflows at
  return ms ? std::optional(std::chrono::milliseconds(std::clamp<std::int64_t>(*ms, 0, ms_max)))
            : std::nullopt;
}

using Text = const std::string&;
using MaybeText = const std::optional<std::string>&;
using MaybeMicro = const std::optional<std::int64_t>&;

/// An id that no market gives is one that names nothing: there is no other error for it.
template <class T>
T id_of(Text text, Reason unknown, const char* noun) {
  if (const auto id = T::read(text)) return *id;
  constexpr std::size_t said_max = 64;
  std::string said = json::valid_utf8(text) && text.size() <= said_max ? text : "of that spelling";
  throw Failure(fail(unknown, std::string("no ") + noun + " " + std::move(said)));
}
inline calyx::WalletId wallet_id(Text text) {
  return id_of<calyx::WalletId>(text, Reason::wallet_unknown, "wallet");
}
inline std::optional<calyx::WalletId> wallet_id(MaybeText text) {
  return text ? std::optional(wallet_id(*text)) : std::nullopt;
}
inline calyx::KeyId key_id(Text text) { return id_of<calyx::KeyId>(text, Reason::key_unknown, "key"); }
inline calyx::ReceiptId receipt_id(Text text) {
  return id_of<calyx::ReceiptId>(text, Reason::receipt_unknown, "receipt");
}
inline calyx::ApprovalId approval_id(Text text) {
  return id_of<calyx::ApprovalId>(text, Reason::approval_unknown, "approval");
}
inline calyx::PayoutId payout_id(Text text) {
  return id_of<calyx::PayoutId>(text, Reason::payout_unknown, "payout");
}
inline calyx::WaitlistId waitlist_id(Text text) {
  return id_of<calyx::WaitlistId>(text, Reason::waitlist_unknown, "waitlist entry");
}

inline calyx::Money money_of(std::int64_t micro) { return calyx::Money{micro}; }
inline std::optional<calyx::Money> money_of(MaybeMicro micro) {
  return micro ? std::optional(calyx::Money{*micro}) : std::nullopt;
}

// ── callbacks ──

/// A Python object that something of C++ keeps. It is let go wherever that ends, with the GIL or without.
inline std::shared_ptr<PyObject> kept(const py::object& object) {
  return {py::object(object).release().ptr(), [](PyObject* last) {
            if (!interpreter_alive()) return;
            const py::gil_scoped_acquire gil;
            Py_DECREF(last);
          }};
}

/// A Python function that an engine keeps. It is let go wherever the engine ends, with the GIL or without.
class Callback {
 public:
  explicit Callback(const py::object& function) : held_(kept(function)) {}

  /// `use(function)` under the GIL, or `otherwise` when that raises: there is nobody here to raise to, so
  /// Python is told through `sys.unraisablehook`. What is no `Exception` waits in `interrupted` for the end
  /// of the call.
  template <class T, class Use>
  T use(T otherwise, Use use) const {
    if (!interpreter_alive()) return otherwise;
    const py::gil_scoped_acquire gil;
    const auto function = py::reinterpret_borrow<py::object>(held_.get());
    try {
      return use(function);
    } catch (py::error_already_set& error) {
      // On a thread of the engine's own no call will raise it.
      if (error.matches(PyExc_Exception) || calls_here == 0)
        error.discard_as_unraisable(function);
      else
        interrupted = std::current_exception();
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_TypeError, error.what());
      PyErr_WriteUnraisable(function.ptr());
    }
    return otherwise;
  }

 private:
  std::shared_ptr<PyObject> held_;
};

/// How commands run, from what `Commands._native` in commands.py gives.
calyx::CommandOptions commands_from(const py::dict& given);

// ── sessions ──

struct PySession {
  OpenPtr open;
  calyx::Session session;

  /// `call(session)` without the GIL, as Python reads its answer. For module.cpp, which knows the records.
  template <class Call>
  py::object ask(Call call);
  /// The same for a list of one wallet.
  template <class List>
  py::object list(List member, Text wallet, Text after, std::uint32_t limit);
};

/// `call(session)` without the GIL.
template <class Call>
auto asked(const PySession& self, Call call) {
  calyx::Session session = self.session;
  return outside(self.open, [&](calyx::Engine&) { return call(session); }).value();
}

/// Adds what jobs and workers need: jobs.cpp.
void add_jobs(py::module_& module, py::class_<Open, OpenPtr>& engine, py::class_<PySession>& session);
/// Adds projects: projects.cpp.
void add_projects(py::module_& module, py::class_<PySession>& sessions);
/// Who settles payments, in settlement.cpp: nobody, tokens that are simulated, or a function.
std::shared_ptr<calyx::SettlementBackend> settlement_from(const py::object& given);
/// Adds quotes, payments and who settles them: settlement.cpp.
void add_settlement(py::module_& module, py::class_<Open, OpenPtr>& engine, py::class_<PySession>& sessions);
/// recipes.cpp: recipes without a market.
void add_recipes(py::module_& module);

}  // namespace calyx_python
