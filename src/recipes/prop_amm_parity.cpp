#include "recipes/prop_amm_parity.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "calyx_kernels/prop_amm_payload.hpp"
#include "calyx_kernels/prop_amm_program.hpp"
#include "strategy/curve.hpp"

namespace calyx::prop_amm {
namespace {

namespace bytecode = kernels::bytecode;
namespace kernel = kernels::prop_amm;
using kernel::Side;
using strategy::detail::Mixer;

constexpr std::uint64_t parity_seed = 0x70617269'7479;  // any number, the same everywhere
constexpr std::size_t answer_bytes = 9;
constexpr std::uint64_t rounds = parity_updates;
constexpr std::uint64_t quotes_a_round = parity_quotes / rounds;

/// One question, and the bytecode's answer.
struct Asked {
  bool is_update = false;
  kernel::Trade trade{};  ///< Of a quote without output and step.
  bool panics = false;
  std::uint64_t value = 0;  ///< What is paid, or a hash of the storage.
  std::uint32_t at = 0;     ///< The instruction of a panic.
};

std::uint64_t hash(const unsigned char* bytes, std::size_t count) {
  std::uint64_t out = 0xcbf29ce484222325ULL;  // FNV-1a
  for (std::size_t i = 0; i < count; ++i) out = (out ^ bytes[i]) * 0x100000001b3ULL;
  return out;
}

/// A number where arithmetic breaks, or one of any length.
std::uint64_t odd_number(Mixer& mixer) {
  constexpr std::array<std::uint64_t, 16> edges = {0,
                                                   1,
                                                   2,
                                                   3,
                                                   999,
                                                   1'000'000,
                                                   999'999'999,
                                                   1'000'000'000,
                                                   0xffff'ffff,
                                                   0x1'0000'0000,
                                                   0x20'0000'0000'0000,
                                                   0x7fff'ffff'ffff'ffff,
                                                   0x8000'0000'0000'0000,
                                                   0xffff'ffff'0000'0000,
                                                   0xffff'ffff'ffff'fffe,
                                                   0xffff'ffff'ffff'ffff};
  const std::uint64_t drawn = mixer.next();
  return drawn % 2 == 0 ? edges[drawn / 2 % edges.size()] : mixer.next() >> (drawn / 2 % 64);
}

/// A trade as the fast check's random states have them, or one of odd numbers.
kernel::Trade draw(Mixer& mixer) {
  kernel::Trade out{};
  const std::uint64_t drawn = mixer.next();
  out.side = drawn % 2 == 0 ? Side::buy : Side::sell;
  out.step = mixer.next() % 10'000;
  if (drawn / 2 % 2 == 0) {
    out.reserve_x_nano = 1'000'000'000 + mixer.next() % 2'000'000'000'000;
    out.reserve_y_nano = 1'000'000'000 + mixer.next() % 200'000'000'000'000;
    out.input_nano = 1'000'000 + mixer.next() % 10'000'000'000;
    out.output_nano = mixer.next() % out.reserve_x_nano;
  } else {
    out.reserve_x_nano = odd_number(mixer);
    out.reserve_y_nano = odd_number(mixer);
    out.input_nano = odd_number(mixer);
    out.output_nano = odd_number(mixer);
  }
  return out;
}

/// The questions, as the enclosed program reads them, each with the bytecode's answer.
class Questions {
 public:
  Questions(const strategy::Compiled& compiled, const strategy::NativeCode* native, const kernel::Stop& stop)
      : stack_(compiled.stack_slots),
        program_(compiled.view(), native, stack_.data()),
        guarded_(program_, {}, stop),
        stop_(stop),
        has_after_swap_(compiled.after_swap != bytecode::Program::no_entry) {}

  /// False when it was stopped.
  bool ask_all() {
    Mixer mixer(parity_seed);
    program_.begin();
    asked_.reserve(parity_quotes + parity_updates);
    for (std::uint64_t round = 0; round < rounds && used_ < parity_fuel; ++round) {
      // Calls that fail are many instructions or few, and the guard asks after the others alone.
      if (stop_.wanted != nullptr && stop_.wanted(stop_.context)) return false;
      // Four rounds in turn: what trades have left is what most quotes see in a market.
      if (round % 4 == 0) set_storage(mixer, round / 4 % 3);
      for (std::uint64_t i = 0; i < quotes_a_round && used_ < parity_fuel; ++i)
        if (!quote(draw(mixer))) return false;
      if (has_after_swap_ && used_ < parity_fuel && !update(draw(mixer))) return false;
    }
    return true;
  }

  const std::vector<Asked>& asked() const { return asked_; }
  std::string& bytes() { return bytes_; }

 private:
  /// Zeros; as the fast check has it; random to the last byte.
  void set_storage(Mixer& mixer, std::uint64_t kind) {
    const std::size_t random = kind == 0 ? 0 : kind == 1 ? 32 : sizeof storage_;
    std::memset(storage_, 0, sizeof storage_);
    for (std::size_t i = 0; i < random; ++i) storage_[i] = static_cast<unsigned char>(mixer.next());
    program_.set_storage(storage_);
    bytes_.push_back('s');
    bytes_.append(reinterpret_cast<const char*>(storage_), sizeof storage_);
  }

  bool quote(const kernel::Trade& trade) {
    std::uint64_t output = 0;
    guarded_.compute_swap(trade.side, trade.input_nano, trade.reserve_x_nano, trade.reserve_y_nano, storage_,
                          output);
    if (guarded_.stopped()) return false;
    unsigned char payload[kernel::quote_bytes];
    kernel::put_quote(payload, trade.side, trade.input_nano, trade.reserve_x_nano, trade.reserve_y_nano);
    keep('q', payload, sizeof payload, trade, output);
    return true;
  }

  bool update(const kernel::Trade& trade) {
    unsigned char payload[kernel::trade_bytes + kernel::storage_bytes];
    kernel::put_trade(payload, trade, storage_);
    guarded_.after_swap(trade, storage_);
    if (guarded_.stopped()) return false;
    if (program_.outcome().ending != bytecode::Ending::returned)
      std::memcpy(storage_, payload + kernel::trade_bytes, sizeof storage_);
    program_.set_storage(storage_);
    keep('u', payload, kernel::trade_bytes, trade, hash(storage_, sizeof storage_));
    return true;
  }

  /// Who has no fuel would not be asked to end: a call that used up its own is no question.
  void keep(char kind, const unsigned char* payload, std::size_t bytes, const kernel::Trade& trade,
            std::uint64_t value) {
    const bytecode::Outcome& outcome = program_.outcome();
    used_ += outcome.fuel_used;
    if (outcome.ending == bytecode::Ending::step_limit) return;
    const bool panics = outcome.ending != bytecode::Ending::returned;
    asked_.push_back({kind == 'u', trade, panics, panics ? 0 : value, outcome.at});
    bytes_.push_back(kind);
    bytes_.append(reinterpret_cast<const char*>(payload), bytes);
  }

  std::vector<std::uint64_t> stack_;
  strategy::NativeStrategy program_;
  kernel::GuardedStrategy<strategy::NativeStrategy> guarded_;
  const kernel::Stop stop_;
  const bool has_after_swap_;
  unsigned char storage_[kernel::storage_bytes] = {};
  std::vector<Asked> asked_;
  std::string bytes_;
  std::uint64_t used_ = 0;
};

/// Whether it calls functions whose last bit each C library has its own opinion on.
bool uses_libm(const strategy::Compiled& compiled) {
  using bytecode::Op;
  using bytecode::RealFunction;
  const auto is_one = [](const bytecode::Instruction& it) {
    if (it.op == Op::power_f) return true;
    if (it.op != Op::function_f) return false;
    switch (static_cast<RealFunction>(it.c)) {
      case RealFunction::exp:
      case RealFunction::ln:
      case RealFunction::log2:
      case RealFunction::log10:
      case RealFunction::exp2:
      case RealFunction::sine:
      case RealFunction::cosine: return true;
      default: return false;
    }
  };
  return std::any_of(compiled.code.begin(), compiled.code.end(), is_one);
}

std::string shown(const Asked& asked, bool panics, std::uint64_t value) {
  if (panics) return "a panic";
  return (asked.is_update ? "storage of hash " : "") + std::to_string(value);
}

std::string name_of(std::size_t index, std::size_t count, const Asked& asked) {
  const kernel::Trade& trade = asked.trade;
  std::string out = "question " + std::to_string(index + 1);
  out.append(" of ").append(std::to_string(count)).append(asked.is_update ? ", after a " : ", a ");
  out.append(trade.side == Side::buy ? "purchase for " : "sale of ").append(std::to_string(trade.input_nano));
  out.append(" nanos at reserves of ").append(std::to_string(trade.reserve_x_nano));
  out.append(" and ").append(std::to_string(trade.reserve_y_nano));
  return out;
}

Parity skipped(std::string_view reason, std::string message) {
  return {"skipped", reason, std::move(message), 0};
}

/// The first line that tells of an error, or of anything.
std::string first_error(std::string_view said) {
  constexpr std::size_t bytes_max = 300;
  const std::size_t at = said.starts_with("error") ? 0 : said.find("\nerror");
  if (at != std::string_view::npos) said.remove_prefix(at);
  while (said.starts_with('\n')) said.remove_prefix(1);
  return std::string(said.substr(0, std::min({said.find('\n'), said.size(), bytes_max})));
}

/// Why a program that did not end with answers has none.
Parity without_answers(const EnclosedEnd& ended) {
  if (ended.how == "timed_out") return skipped("timed_out", "rustc and its program took too long");
  if (ended.how != "exited") return skipped("not_answered", "rustc or its program ended: " + ended.how);
  switch (ended.code) {
    case 92: return skipped("source_refused", "rustc: " + first_error(ended.err));
    case 91:
    case 93: return skipped("rustc_failed", "rustc builds nothing here: " + first_error(ended.err));
    default: return skipped("not_answered", "the program that rustc made did not end well");
  }
}

Parity compare(const std::vector<Asked>& asked, const strategy::Compiled& compiled,
               std::string_view answers) {
  if (answers.size() != asked.size() * answer_bytes)
    return skipped("not_answered",
                   "the program that rustc made answered with " + std::to_string(answers.size()) + " bytes");
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const char* answer = answers.data() + i * answer_bytes;
    std::uint64_t value = 0;
    std::memcpy(&value, answer + 1, sizeof value);
    const bool panics = answer[0] != 0;
    if (panics == asked[i].panics && value == asked[i].value) continue;
    std::string message = name_of(i, asked.size(), asked[i]);
    message.append(": ").append(shown(asked[i], asked[i].panics, asked[i].value));
    message.append(", and by rustc ").append(shown(asked[i], panics, value));
    if (uses_libm(compiled)) return skipped("libm", message);
    return {"failed", {}, std::move(message), asked[i].panics ? compiled.line_at(asked[i].at) : 0};
  }
  return {"passed", {}, {}, 0};
}

}  // namespace

Result<Parity> compare_with_rustc(const strategy::Compiled& compiled, const strategy::NativeCode* native,
                                  std::string_view source, const RunEnclosed& enclosed,
                                  const std::function<bool()>& stopped) {
  if (!enclosed) return skipped("no_enclosure", "there is no place to run rustc in");
  kernel::Stop stop;
  if (stopped)
    stop = {[](void* context) { return (*static_cast<const std::function<bool()>*>(context))(); },
            const_cast<std::function<bool()>*>(&stopped)};
  Questions questions(compiled, native, stop);
  if (!questions.ask_all()) return fail(Reason::stopped, "the comparison was stopped");
  EnclosedTask task;
  task.tool = "rustc";
  task.files = rust_files(source.find("wincode") != std::string_view::npos,
                          compiled.after_swap != bytecode::Program::no_entry);
  task.files.push_back({"source.rs", std::string(source)});
  task.files.push_back({"asked", std::move(questions.bytes())});
  // The script lies with the other files, whose folder is known inside alone.
  task.argv = {"/bin/sh", "-c", ". \"$COMPUTALOT_INPUT_DIR/build.sh\""};
  const Result<EnclosedEnd> ended = enclosed(task, stopped);
  if (ended.reason() == Reason::stopped) return ended.error();
  if (!ended.ok()) {
    const bool no_tool =
        ended.reason() == Reason::file_missing && ended.error().details.find("tool") != nullptr;
    return skipped(no_tool ? "no_rustc" : "no_enclosure", ended.error().message);
  }
  if (ended->how != "exited" || ended->code != 0) return without_answers(*ended);
  return compare(questions.asked(), compiled, ended->out);
}

}  // namespace calyx::prop_amm
