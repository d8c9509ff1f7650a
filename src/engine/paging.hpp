/// \file
/// Pages: where one begins, by the number of the last thing on the one before.
#pragma once

#include <calyx/core/result.hpp>
#include <calyx/ledger.hpp>
#include <charconv>
#include <cstdint>
#include <string>

#include "services/access.hpp"

namespace calyx::engine {

/// The number in `page.after`, 0 when it is empty. Fails: `field_value`, also for a limit that no page has.
inline Result<std::int64_t> cursor(const Page& page) {
  if (page.limit < 1 || page.limit > 1000)
    return services::field_error(Reason::field_value, "limit",
                                 "is " + std::to_string(page.limit) + ", takes 1 to 1000");
  if (page.after.empty()) return std::int64_t{0};
  std::int64_t number = 0;
  const char* const end = page.after.data() + page.after.size();
  const auto read = std::from_chars(page.after.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < 0 || number > services::integer_max)
    return services::field_error(Reason::field_value, "after", "is not the `next` of a page");
  return number;
}

}  // namespace calyx::engine
