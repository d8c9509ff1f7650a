#include "services/services.hpp"

namespace calyx::services {

Result<Approval> decide_approval(Transaction& tx, const Principal& principal, ApprovalId id, bool approved) {
  const Book& book = tx.book();
  CALYX_TRY(const Caller caller, authorize(book, principal));
  const auto found = book.approvals.find(static_cast<Seq>(id.number()));
  if (found == book.approvals.end() || found->second.id != id)
    return fail(Reason::approval_unknown, "no approval " + id.text(),
                core::json::object({{"approval_id", id.text()}}));
  const ApprovalState& approval = found->second;
  CALYX_TRY(const WalletState* wallet,
            manageable(book, caller, book.wallet(approval.wallet)->id, Own::refused));
  static_cast<void>(wallet);

  // What was used is used; everything else is nothing any more at its end.
  if (approval.status != ApprovalStatus::used && tx.now() >= approval.expires_at)
    return expired(Reason::approval_expired, "the approval", approval.expires_at);
  const ApprovalStatus wanted = approved ? ApprovalStatus::approved : ApprovalStatus::denied;
  if (approval.status == wanted) return book.view(approval, tx.now());  // decided so before
  if (approval.status != ApprovalStatus::pending)
    return fail(Reason::approval_decided, "the approval is " + std::string(word(approval.status)),
                core::json::object({{"status", word(approval.status)}}));
  CALYX_CHECK(
      tx.append(ApprovalDecided{.approval = found->first, .approved = approved, .by = caller.wallet}));
  return book.view(approval, tx.now());
}

}  // namespace calyx::services
