/// \file
/// Feedback: what users without any key tell the market's operators.
///
/// Start at `Engine::submit_feedback`; operators read it with `Session::feedback`. It is kept in the market's
/// file and never changed. Anybody may write it, so there are limits on how much, which hold for all
/// together.
#pragma once

#include <calyx/core/time.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace calyx {

/// The numbers are in the file.
enum class FeedbackType : std::uint8_t { bug, feature_request, provisioning, job_type_request };
constexpr std::string_view word(FeedbackType type) noexcept {
  constexpr std::string_view words[] = {"bug", "feature_request", "provisioning", "job_type_request"};
  return words[static_cast<std::size_t>(type)];
}
constexpr std::optional<FeedbackType> read_feedback_type(std::string_view text) noexcept {
  for (const FeedbackType type : {FeedbackType::bug, FeedbackType::feature_request,
                                  FeedbackType::provisioning, FeedbackType::job_type_request})
    if (text == word(type)) return type;
  return std::nullopt;
}

struct FeedbackSubmit {
  FeedbackType type = FeedbackType::bug;
  std::string title{};        ///< 1 to 200 bytes of UTF-8 without controls.
  std::string description{};  ///< 1 to 8,192 bytes of UTF-8 without a zero.
};

struct Feedback {
  std::int64_t number = 0;  ///< Gapless from 1.
  Instant at{};
  FeedbackType type = FeedbackType::bug;
  std::string title{}, description{};
};

inline constexpr std::size_t feedback_title_max = 200;
inline constexpr std::size_t feedback_description_max = 8'192;
inline constexpr std::int64_t feedback_an_hour_max =
    60;  ///< Then `too_much_feedback`, until the hour has passed.
inline constexpr std::int64_t feedback_kept_max = 10'000;  ///< Then `feedback_full`, for good.

}  // namespace calyx
