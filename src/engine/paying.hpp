/// \file
/// What else is known of a payment by its words.
#pragma once

#include <calyx/payments.hpp>

namespace calyx::engine {

/// Whether the signature in its payload is a contract's, which nobody here can have judged.
bool signed_by_contract(const VerifiedPayment& payment);

}  // namespace calyx::engine
