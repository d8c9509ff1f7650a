/// \file
/// What stands between C and C++: no exception passes, the error's text is kept for the thread, and what a
/// caller passes is looked at before it is used.
#pragma once

#include <algorithm>
#include <calyx/core/result.hpp>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "calyx.h"

namespace calyx::capi {

/// A longer text is cut between two characters.
inline constexpr std::size_t last_error_bytes = 1024;

/// What one thread remembers between calls. Plain bytes, so that nothing is built or destroyed with a thread.
struct Desk {
  char last_error[last_error_bytes];
  int callbacks;  ///< Callbacks of the host under way on this thread.
  int functions;  ///< Functions of the host that do a task on this thread.
};
inline thread_local Desk desk;

inline void clear_last_error() noexcept { desk.last_error[0] = '\0'; }

inline void set_last_error(std::string_view word, std::string_view message) noexcept {
  std::size_t size = 0;
  const auto append = [&size](std::string_view text) {
    std::size_t count = std::min(text.size(), last_error_bytes - 1 - size);
    if (count < text.size())
      while (count > 0 && (static_cast<unsigned char>(text[count]) & 0xC0) == 0x80) --count;
    std::memcpy(desk.last_error + size, text.data(), count);
    size += count;
  };
  append(word);
  append(": ");
  append(message);
  desk.last_error[size] = '\0';
}

inline calyx_status status_of(const Error& error) noexcept {
  set_last_error(word(error.reason), error.message);
  return static_cast<calyx_status>(error.status());
}

inline calyx_status status_of(Reason reason, std::string_view message) noexcept {
  set_last_error(word(reason), message);
  return static_cast<calyx_status>(facts(reason).status);
}

/// Stands while a callback of the host runs. A call into calyx from there could wait for the very call that
/// made the callback, so it is refused instead.
class Callback {
 public:
  Callback() noexcept { ++desk.callbacks; }
  ~Callback() {
    --desk.callbacks;
    clear_last_error();  // what a refused call from inside left is not of the call outside
  }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
};

/// Stands while a function of the host does a task. It runs inside no call, so it may call calyx; but its
/// worker waits for it, so it waits for no worker.
class Inside {
 public:
  Inside() noexcept { ++desk.functions; }
  ~Inside() {
    --desk.functions;
    clear_last_error();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

/// What `guarded` does, once for all functions. `work` is called with `of`.
calyx_status run_guarded(bool outs_given, Result<Done> (*work)(void* of), void* of) noexcept;

/// Runs `work`, which gives a `Result<Done>`, as one function of the C ABI: clears the error detail, zeroes
/// the out-parameters and refuses a NULL among them, lets no exception pass.
template <class Work, class... Out>
calyx_status guarded(Work work, Out*... outs) noexcept {
  bool all_given = true;
  ((outs != nullptr ? static_cast<void>(*outs = Out{}) : static_cast<void>(all_given = false)), ...);
  return run_guarded(
      all_given, [](void* of) -> Result<Done> { return (*static_cast<Work*>(of))(); }, &work);
}

/// The same for a function that gives back: there is nobody to tell, and a callback may do it.
template <class Work>
void guarded_end(Work&& work) noexcept {
  clear_last_error();
  try {
    work();
  } catch (...) {  // no memory to look: it stays, and nothing else is lost
    set_last_error(word(Reason::no_memory), "nothing was given back");
  }
}

/// `given`, as this build understands it, or nothing when it asks for more than this build has. `size` is its
/// own struct_size, which the caller has judged.
template <class T>
std::optional<T> understood(const T* given, std::size_t size, const T& defaults) noexcept {
  T out = defaults;
  std::memcpy(static_cast<void*>(&out), given, std::min(size, sizeof(T)));
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(T); i < size; ++i)
    if (bytes[i] != 0) return std::nullopt;
  out.struct_size = sizeof(T);
  return out;
}

/// The text that `letters` begins, which ends in a NUL. Reads one byte more than `bytes_max` at most.
/// Fails: `field_missing`, `too_large`, `not_utf8`.
inline Result<std::string_view> text_at(const char* name, const char* letters, std::size_t bytes_max) {
  if (letters == nullptr) return fail(Reason::field_missing, std::string(name) + " is NULL");
  const std::size_t size = ::strnlen(letters, bytes_max + 1);
  if (size > bytes_max)
    return fail(Reason::too_large,
                std::string(name) + " has more than " + std::to_string(bytes_max) + " bytes");
  const std::string_view text(letters, size);
  if (!core::json::valid_utf8(text)) return fail(Reason::not_utf8, std::string(name) + " is no UTF-8");
  return text;
}

/// The same for a text with a size. Reads nothing of one that is too long.
inline Result<std::string_view> text_at(const char* name, const char* letters, std::size_t size,
                                        std::size_t bytes_max) {
  if (letters == nullptr) return fail(Reason::field_missing, std::string(name) + " is NULL");
  if (size > bytes_max)
    return fail(Reason::too_large, std::string(name) + " has " + std::to_string(size) + " bytes, at most " +
                                       std::to_string(bytes_max));
  const std::string_view text(letters, size);
  if (!core::json::valid_utf8(text)) return fail(Reason::not_utf8, std::string(name) + " is no UTF-8");
  return text;
}

/// Letters on the way to a `calyx_text`, from malloc, with room found before there is anything to lose.
class Letters {
 public:
  explicit Letters(std::size_t room) : room_(room), data_(static_cast<char*>(std::malloc(room + 1))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  Letters(const Letters&) = delete;
  Letters& operator=(const Letters&) = delete;
  ~Letters() { std::free(data_); }

  /// Whether `text` fits and was given to `out`.
  bool give(std::string_view text, calyx_text& out) noexcept {
    if (text.size() > room_) return false;
    std::memcpy(data_, text.data(), text.size());
    data_[text.size()] = '\0';
    out = {std::exchange(data_, nullptr), text.size()};
    return true;
  }

 private:
  std::size_t room_;
  char* data_;
};

}  // namespace calyx::capi
