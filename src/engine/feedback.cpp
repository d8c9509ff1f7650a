#include "services/feedback.hpp"

#include <calyx/engine.hpp>

#include "engine/market.hpp"
#include "engine/paging.hpp"

namespace calyx {

Result<Feedback> Engine::submit_feedback(const FeedbackSubmit& asked) {
  return market_->write([&](services::Transaction& tx) { return services::submit_feedback(tx, asked); });
}

Result<Listed<Feedback>> Session::feedback(const Page& page) {
  CALYX_CHECK(market_->read([&](const services::Book& book, Instant) -> Result<Done> {
    CALYX_TRY(const services::Caller caller, services::authorize(book, principal_));
    return services::operator_only(caller);
  }));
  CALYX_TRY(const std::int64_t after, engine::cursor(page));
  return market_->history([&](store::MarketStore& store) -> Result<Listed<Feedback>> {
    Listed<Feedback> out;
    CALYX_CHECK(store.feedback().from(after, [&](const store::FeedbackRow& row) -> Result<bool> {
      if (out.items.size() == page.limit) {
        out.next = std::to_string(out.items.back().number);
        return false;
      }
      CALYX_TRY(out.items.emplace_back(), services::view(row));
      return true;
    }));
    return out;
  });
}

}  // namespace calyx
