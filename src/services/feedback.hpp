/// \file
/// Feedback as a service: anybody gives it, within limits that hold for all together, and operators read it.
#pragma once

#include <calyx/feedback.hpp>

#include "services/access.hpp"
#include "services/transaction.hpp"

namespace calyx::services {

/// Fails: `field_value`; `feedback_full`; `too_much_feedback`.
Result<Feedback> submit_feedback(Transaction& tx, const FeedbackSubmit& asked);
/// Fails: `corrupt`.
Result<Feedback> view(const store::FeedbackRow& row);

}  // namespace calyx::services
