#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <calyx/core/money.hpp>
#include <calyx/simulated_tokens.hpp>
#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "crypto/sha256.hpp"

namespace calyx {
namespace {

using core::Wide;

constexpr std::string_view first_line = "calyx simulated tokens 1";
constexpr std::size_t digits_max = 37;  // twice 10^37 is below 2^127
constexpr std::string_view nobodys = "-";

std::optional<Wide> read_tokens(std::string_view text) {
  if (text.empty() || text.size() > digits_max) return std::nullopt;
  Wide out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + (c - '0');
  }
  return out;
}

std::string tokens_text(Wide tokens) {
  std::string out;
  do {
    out.push_back(static_cast<char>('0' + static_cast<int>(tokens % 10)));
    tokens /= 10;
  } while (tokens != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

/// What a line can hold as one of its words.
bool is_word(std::string_view text) {
  return !text.empty() && text.size() <= 128 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

std::string line_of(std::initializer_list<std::string_view> words) {
  std::string out;
  for (const std::string_view word : words) {
    if (!out.empty()) out.push_back(' ');
    out.append(word);
  }
  return out;
}

Error out_of_shape(const char* what) {
  return fail(Reason::field_value, std::string("the ").append(what).append(" has no such shape"));
}
Error broken(const char* what) {
  return fail(Reason::io_error, std::string("the file of tokens: ").append(what));
}

Error none_of_ours() {
  return fail(Reason::corrupt, "the file of tokens has a line that is none of its own");
}

SettlementAnswer refusal(const char* reason) {
  return {.outcome = SettlementOutcome::refused, .reason = reason};
}

}  // namespace

struct SimulatedTokens::State {
  /// A payment that moved tokens.
  struct Moved {
    std::string payer, pay_to, amount;
    std::string taken_by;  ///< The key that it counts for; empty: none yet.
  };
  struct Ended {
    std::string transaction, refused;  ///< One of them is empty.
  };

  ~State() {
    if (file >= 0) ::close(file);
  }

  std::mutex mutex;
  int file = -1;  ///< -1: in memory.
  std::uint64_t read_to = 0;
  std::map<std::string, Wide> balances;  ///< By network, asset and address.
  std::map<std::string, Moved> moved;    ///< By transaction, which follows from the nonce.
  std::map<std::string, Ended> ended;    ///< By key.
  std::deque<Answer> told;

  static std::string transaction_of(const VerifiedPayment& of) {
    return "0x" + core::hex(crypto::Sha256{}(line_of({of.network, of.asset, of.payer, of.nonce})));
  }

  std::optional<Answer> pop() {
    if (told.empty()) return std::nullopt;
    const Answer answer = told.front();
    told.pop_front();
    return answer;
  }

  /// Applies a line; false for one that this would not have written.
  bool apply(std::string_view line) {
    std::vector<std::string> words;
    while (!line.empty()) {
      const std::size_t blank = std::min(line.find(' '), line.size());
      words.emplace_back(line.substr(0, blank));
      line.remove_prefix(std::min(blank + 1, line.size()));
    }
    if (words.empty()) return false;
    const auto credit = [&](const std::string& address, Wide by) {
      balances[line_of({words[1], words[2], address})] += by;
    };
    if (words[0] == "mint" && words.size() == 5) {
      const std::optional<Wide> amount = read_tokens(words[4]);
      if (amount) credit(words[3], *amount);
      return amount.has_value();
    }
    // move NETWORK ASSET PAYER PAY_TO AMOUNT TRANSACTION KEY
    if (words[0] == "move" && words.size() == 8) {
      const std::optional<Wide> amount = read_tokens(words[5]);
      if (!amount) return false;
      credit(words[3], -*amount);
      credit(words[4], *amount);
      Moved& of = moved[words[6]];
      of = {words[3], words[4], words[5], {}};
      if (words[7] != nobodys) take(words[6], words[7]);
      return true;
    }
    if (words[0] == "take" && words.size() == 3) {
      if (moved.count(words[1]) == 0) return false;
      take(words[1], words[2]);
      return true;
    }
    if (words[0] == "refuse" && words.size() == 3) {
      ended[words[1]] = {{}, words[2]};
      return true;
    }
    return false;
  }
  void take(const std::string& transaction, const std::string& key) {
    moved[transaction].taken_by = key;
    ended[key] = {transaction, {}};
  }

  /// Applies what others wrote since the last look; what a crash cut short is cut off. Under the file's lock.
  Result<Done> catch_up() {
    if (file < 0) return Done{};
    std::string text;
    char bytes[4096];
    for (;;) {
      const ssize_t got = ::pread(file, bytes, sizeof bytes, static_cast<off_t>(read_to + text.size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return broken("it cannot be read");
      if (got == 0) break;
      text.append(bytes, static_cast<std::size_t>(got));
    }
    std::size_t begin = 0;
    for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      if (read_to == 0 ? line != first_line : !apply(line)) return none_of_ours();
      read_to += line.size() + 1;
    }
    // Of another file, which is left as it is.
    if (read_to == 0 && !first_line.starts_with(text)) return none_of_ours();
    if (begin != text.size() && ::ftruncate(file, static_cast<off_t>(read_to)) != 0)
      return broken("its end cannot be cut off");
    return Done{};
  }

  /// Keeps a line, durably, then applies it. Under the file's lock.
  Result<Done> write(const std::string& line) {
    if (file >= 0) {
      const std::string whole = line + "\n";
      const ssize_t wrote = ::pwrite(file, whole.data(), whole.size(), static_cast<off_t>(read_to));
      if (wrote != static_cast<ssize_t>(whole.size()) || ::fsync(file) != 0)
        return broken("it cannot be written");
      read_to += whole.size();
    }
    if (line != first_line) apply(line);
    return Done{};
  }

  struct Unlock {
    int file;
    ~Unlock() {
      if (file >= 0) ::flock(file, LOCK_UN);
    }
  };
  /// Runs `act` on what all have written so far, alone.
  template <class Act>
  auto alone(Act act) -> std::invoke_result_t<Act&> {
    const std::lock_guard lock(mutex);
    while (file >= 0 && ::flock(file, LOCK_EX) != 0)
      if (errno != EINTR) return broken("it cannot be locked");
    const Unlock unlock{file};
    CALYX_CHECK(catch_up());
    return act();
  }

  /// Why `payment` would not move; null: it would.
  const char* obstacle(const VerifiedPayment& payment) {
    const std::optional<Wide> amount = read_tokens(payment.amount);
    if (!amount || *amount == 0) return "amount";
    if (!payment.on_chain.empty()) {
      const auto found = moved.find(payment.on_chain);
      const bool same = found != moved.end() && found->second.payer == payment.payer &&
                        found->second.pay_to == payment.pay_to && found->second.amount == payment.amount;
      if (!same) return "not_on_chain";
      return found->second.taken_by.empty() ? nullptr : "nonce_used";
    }
    if (moved.count(transaction_of(payment)) != 0) return "nonce_used";
    const auto found = balances.find(line_of({payment.network, payment.asset, payment.payer}));
    return found != balances.end() && found->second >= *amount ? nullptr : "insufficient_funds";
  }

  Result<Done> move(const VerifiedPayment& payment, std::string_view key) {
    if (!payment.on_chain.empty()) return write(line_of({"take", payment.on_chain, key}));
    return write(line_of({"move", payment.network, payment.asset, payment.payer, payment.pay_to,
                          payment.amount, transaction_of(payment), key}));
  }

  SettlementAnswer known(std::string_view key) {
    const auto found = ended.find(std::string(key));
    if (found == ended.end()) return {.outcome = SettlementOutcome::unknown};
    if (found->second.transaction.empty()) return refusal(found->second.refused.c_str());
    return {.outcome = SettlementOutcome::settled, .transaction = found->second.transaction};
  }
};

SimulatedTokens::SimulatedTokens(std::unique_ptr<State> state) : state_(std::move(state)) {}
SimulatedTokens::~SimulatedTokens() = default;

Result<std::shared_ptr<SimulatedTokens>> SimulatedTokens::open(const std::string& path) {
  auto state = std::make_unique<State>();
  State& its = *state;
  if (!path.empty()) {
    its.file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (its.file < 0) return broken("it cannot be opened");
    CALYX_CHECK(its.alone([&]() -> Result<Done> {
      if (its.read_to != 0) return Done{};
      return its.write(std::string(first_line));
    }));
  }
  return std::shared_ptr<SimulatedTokens>(new SimulatedTokens(std::move(state)));
}

Result<Done> SimulatedTokens::mint(const TokenAccount& to, std::string_view amount) {
  if (!is_word(to.network) || !is_word(to.asset) || !is_word(to.address)) return out_of_shape("account");
  const std::optional<Wide> tokens = read_tokens(amount);
  if (!tokens) return out_of_shape("amount");
  return state_->alone([&]() -> Result<Done> {
    Wide all = *tokens;
    for (const auto& [account, has] : state_->balances) all += has;
    // All of them together stay countable, so each balance does.
    if (tokens_text(all).size() > digits_max) return out_of_shape("amount");
    return state_->write(line_of({"mint", to.network, to.asset, to.address, amount}));
  });
}

Result<std::string> SimulatedTokens::balance(const TokenAccount& of) {
  return state_->alone([&]() -> Result<std::string> {
    const auto found = state_->balances.find(line_of({of.network, of.asset, of.address}));
    return tokens_text(found == state_->balances.end() ? Wide{0} : found->second);
  });
}

Result<std::uint64_t> SimulatedTokens::settlements() {
  return state_->alone([&]() -> Result<std::uint64_t> {
    return static_cast<std::uint64_t>(
        std::count_if(state_->ended.begin(), state_->ended.end(),
                      [](const auto& one) { return one.second.refused.empty(); }));
  });
}

void SimulatedTokens::next(Answer answer, std::size_t times) {
  const std::lock_guard lock(state_->mutex);
  state_->told.insert(state_->told.end(), times, answer);
}

SettlementAnswer SimulatedTokens::verify(const VerifiedPayment& payment) {
  const Result<SettlementAnswer> answer = state_->alone([&]() -> Result<SettlementAnswer> {
    if (const std::optional<Answer> told = state_->pop()) {
      if (*told == Answer::pending) return SettlementAnswer{.outcome = SettlementOutcome::pending};
      if (*told == Answer::refused) return refusal("told_to_refuse");
      return SettlementAnswer{};
    }
    if (const char* why = state_->obstacle(payment)) return refusal(why);
    return SettlementAnswer{.outcome = SettlementOutcome::valid};
  });
  return answer.ok() ? *answer : SettlementAnswer{};
}

SettlementAnswer SimulatedTokens::settle(std::string_view key, const VerifiedPayment& payment) {
  for (const std::string_view text : {key, std::string_view(payment.network), std::string_view(payment.asset),
                                      std::string_view(payment.payer), std::string_view(payment.pay_to)})
    if (!is_word(text)) return refusal("shape");
  const Result<SettlementAnswer> answer = state_->alone([&]() -> Result<SettlementAnswer> {
    const std::optional<Answer> told = state_->pop();
    if (told == Answer::unavailable) return SettlementAnswer{};
    if (state_->known(key).outcome == SettlementOutcome::unknown) {
      const char* why = told == Answer::refused ? "told_to_refuse" : state_->obstacle(payment);
      if (why != nullptr)
        CALYX_CHECK(state_->write(line_of({"refuse", key, why})));
      else
        CALYX_CHECK(state_->move(payment, key));
    }
    if (told == Answer::lost) return SettlementAnswer{};
    if (told == Answer::pending) return SettlementAnswer{.outcome = SettlementOutcome::pending};
    return state_->known(key);
  });
  return answer.ok() ? *answer : SettlementAnswer{};
}

SettlementAnswer SimulatedTokens::status(std::string_view key) {
  const Result<SettlementAnswer> answer = state_->alone([&]() -> Result<SettlementAnswer> {
    const std::optional<Answer> told = state_->pop();
    if (told == Answer::pending) return SettlementAnswer{.outcome = SettlementOutcome::pending};
    if (told == Answer::unavailable || told == Answer::lost) return SettlementAnswer{};
    if (told == Answer::refused && is_word(key) && state_->known(key).outcome == SettlementOutcome::unknown)
      CALYX_CHECK(state_->write(line_of({"refuse", key, "told_to_refuse"})));
    return state_->known(key);
  });
  return answer.ok() ? *answer : SettlementAnswer{};
}

Result<std::string> SimulatedTokens::pay(const VerifiedPayment& payment) {
  for (const std::string* text : {&payment.network, &payment.asset, &payment.payer, &payment.pay_to})
    if (!is_word(*text)) return out_of_shape("payment");
  return state_->alone([&]() -> Result<std::string> {
    VerifiedPayment own = payment;
    own.on_chain.clear();
    const char* const why = state_->obstacle(own);
    const std::string_view reason = why == nullptr ? "" : why;
    if (reason == "amount") return out_of_shape("amount");
    if (reason == "nonce_used") return fail(Reason::payment_reused, "the nonce was used before");
    if (!reason.empty()) return fail(Reason::insufficient_balance, "the payer has fewer tokens");
    CALYX_CHECK(state_->move(own, nobodys));
    return State::transaction_of(own);
  });
}

}  // namespace calyx
