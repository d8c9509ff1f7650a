/// \file
/// `Result<T>`: a value, or an `Error` that says what to do next (`status`), what happened (`reason`),
/// in which numbers (`message`, `details`).
///
/// Threads: values; share them as you would a `std::string`.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/core/reason.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace calyx {

/// Why a call gave no value. `details` is an object of numbers and names, or null.
struct Error {
  Reason reason = Reason::internal;
  std::string message;  ///< One line with the numbers in it; no secret.
  core::json::Value details;

  Status status() const noexcept { return facts(reason).status; }
};

/// What `Result::value` throws for a caller who prefers exceptions; calyx itself throws for nothing
/// that `CALYX_REASONS` lists.
class Failure : public std::runtime_error {
 public:
  explicit Failure(Error error)
      : std::runtime_error(std::string(word(error.reason)) + ": " + error.message),
        error_(std::move(error)) {}
  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// Nothing, as a value: `Result<Done>` is a call that either worked or says why not.
struct Done {};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: converts on purpose
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool ok() const noexcept { return held_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  /// The value. Throws `Failure` when there is none.
  T& value() & { return need(), *std::get_if<0>(&held_); }
  const T& value() const& { return need(), *std::get_if<0>(&held_); }
  T value() && { return need(), std::move(*std::get_if<0>(&held_)); }

  /// The value, for a caller who has asked `ok()`.
  T& operator*() & noexcept { return *std::get_if<0>(&held_); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&held_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<0>(&held_)); }
  T* operator->() noexcept { return std::get_if<0>(&held_); }
  const T* operator->() const noexcept { return std::get_if<0>(&held_); }

  /// The error, for a caller who has asked `ok()`.
  const Error& error() const& noexcept { return *std::get_if<1>(&held_); }
  Error&& error() && noexcept { return std::move(*std::get_if<1>(&held_)); }

  /// `none` when there is a value.
  Reason reason() const noexcept { return ok() ? Reason::none : error().reason; }

 private:
  void need() const {
    if (!ok()) throw Failure(error());
  }
  std::variant<T, Error> held_;
};

inline Error fail(Reason reason, std::string message, core::json::Value details = {}) {
  return Error{reason, std::move(message), std::move(details)};
}

}  // namespace calyx

#define CALYX_JOIN_(a, b) a##b
#define CALYX_JOIN(a, b) CALYX_JOIN_(a, b)
#define CALYX_TRY_(held, target, ...)             \
  auto&& held = (__VA_ARGS__);                    \
  if (!held.ok()) return std::move(held).error(); \
  target = *std::move(held)
/// `CALYX_TRY(auto x, call())`: x is call's value, or its error returns from here, untouched.
#define CALYX_TRY(target, ...) CALYX_TRY_(CALYX_JOIN(calyx_held_, __COUNTER__), target, __VA_ARGS__)
#define CALYX_CHECK_(held, ...)                                                \
  do {                                                                         \
    if (auto held = (__VA_ARGS__); !held.ok()) return std::move(held).error(); \
  } while (false)
/// The same for a call whose value is not needed.
#define CALYX_CHECK(...) CALYX_CHECK_(CALYX_JOIN(calyx_held_, __COUNTER__), __VA_ARGS__)
