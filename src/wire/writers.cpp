#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

void append_members(Members& members, const Wallet& wallet) {
  members.id("id", wallet.id)
      .text("owner_type", word(wallet.owner_type))
      .text("owner_id", std::string_view(wallet.owner_id))
      .text("status", word(wallet.status))
      .money("balance", wallet.balance)
      .money("spend_cap_per_job", wallet.policy.spend_cap_per_job)
      .money("approval_threshold", wallet.policy.approval_threshold)
      .texts("allowed_gpu_types", wallet.policy.allowed_gpu_types)
      .instant("created_at", wallet.created_at)
      .id("parent_wallet_id", wallet.parent)
      .money("spend_cap_per_hour", wallet.policy.spend_cap_per_hour)
      .money("held", wallet.held)
      .money("expired_pending", wallet.expired_pending)
      .count("txn_count", wallet.txn_count);
}

void append_members(Members& members, const WaitlistEntry& entry) {
  members.id("id", entry.id)
      .text("owner_id", std::string_view(entry.owner_id))
      .text("status", word(entry.status))
      .instant("created_at", entry.created_at);
}

}  // namespace

Members& Members::digest(std::string_view name, const core::Digest& value) {
  begin(name);
  out_.push_back('"');
  core::append_hex(out_, value);
  out_.push_back('"');
  return *this;
}

Members& Members::digests(std::string_view name, const std::vector<core::Digest>& values) {
  begin(name);
  out_.push_back('[');
  for (const core::Digest& value : values) {
    if (&value != values.data()) out_.push_back(',');
    out_.push_back('"');
    core::append_hex(out_, value);
    out_.push_back('"');
  }
  out_.push_back(']');
  return *this;
}

Members& Members::texts(std::string_view name, const std::optional<std::vector<std::string>>& values) {
  if (!values) return null(name);
  begin(name);
  out_.push_back('[');
  for (const std::string& value : *values) {
    if (&value != values->data()) out_.push_back(',');
    core::json::append_string(out_, value);
  }
  out_.push_back(']');
  return *this;
}

void append_json(std::string& out, const Wallet& wallet) {
  Members members(out);
  append_members(members, wallet);
  members.close();
}

void append_json(std::string& out, const WalletCreated& created) {
  Members members(out);
  append_members(members, created.wallet);
  members.id("key_id", created.key)
      .text("key_last4", std::string_view(created.key_last4))
      .text_or_null("api_key", created.api_key)
      .close();
}

void append_json(std::string& out, const Moved& moved) {
  Members members(out);
  members.id("txn_id", moved.txn)
      .money("amount", moved.amount)
      .money("new_balance", moved.new_balance)
      .close();
}

void append_json(std::string& out, const Spent& spent) {
  Members members(out);
  members.id("txn_id", spent.txn)
      .text("job_id", std::string_view(spent.job_id))
      .money("amount_locked", spent.amount_locked)
      .money("new_balance", spent.new_balance)
      .close();
}

void append_json(std::string& out, const Earned& earned) {
  Members members(out);
  members.id("txn_id", earned.txn)
      .money("gross_amount", earned.gross_amount)
      .money("platform_fee", earned.platform_fee)
      .money("net_payout", earned.net_payout)
      .money("new_balance", earned.new_balance)
      .id("receipt_id", earned.receipt)
      .close();
}

void append_json(std::string& out, const Released& released) {
  Members members(out);
  members.id("txn_id", released.txn)
      .text("job_id", std::string_view(released.job_id))
      .money("amount", released.amount)
      .money("new_balance", released.new_balance)
      .boolean("burned", released.burned)
      .close();
}

void append_json(std::string& out, const EntryView& entry) {
  Members members(out);
  members.id("txn_id", entry.txn)
      .integer("seq", entry.seq)
      .text("kind", std::string_view(entry.kind))
      .money("amount", entry.amount)
      .text_or_null("job_id", entry.job_id)
      .text_or_null("reference", entry.reference)
      .instant("at", entry.at)
      .close();
}

void append_json(std::string& out, const EscrowView& escrow) {
  Members members(out);
  members.text("job_id", std::string_view(escrow.job_id))
      .id("payer_wallet_id", escrow.payer)
      .id("host_wallet_id", escrow.host)
      .money("amount", escrow.amount)
      .text("gpu_type", escrow.gpu_type)
      .text("state", word(escrow.state))
      .id("locked_by", escrow.locked_by)
      .instant("locked_at", escrow.locked_at)
      .instant("expires_at", escrow.expires_at)
      .id("ended_by", escrow.ended_by)
      .id("receipt_id", escrow.receipt)
      .close();
}

void append_json(std::string& out, const Approval& approval) {
  Members members(out);
  members.id("id", approval.id)
      .id("wallet_id", approval.wallet)
      .text("status", word(approval.status))
      .text("operation", std::string_view(approval.operation))
      .money("amount", approval.amount)
      .text_or_null("job_id", approval.job_id)
      .text("gpu_type", approval.gpu_type)
      .instant("created_at", approval.created_at)
      .instant("expires_at", approval.expires_at)
      .close();
}

void append_json(std::string& out, const ApiKey& key) {
  Members members(out);
  members.id("id", key.id)
      .id("wallet_id", key.wallet)
      .text("label", std::string_view(key.label))
      .text("key_last4", std::string_view(key.last4))
      .instant("created_at", key.created_at)
      .instant("revoked_at", key.revoked_at)
      .close();
}

void append_json(std::string& out, const KeyIssued& issued) {
  Members members(out);
  members.id("id", issued.key.id)
      .text_or_null("api_key", issued.api_key)
      .text("key_last4", std::string_view(issued.key.last4))
      .text("label", std::string_view(issued.key.label))
      .instant("created_at", issued.key.created_at)
      .close();
}

void append_json(std::string& out, const Payout& payout) {
  Members members(out);
  members.id("id", payout.id)
      .id("txn_id", payout.txn)
      .id("wallet_id", payout.wallet)
      .money("amount", payout.amount)
      .text("destination", std::string_view(payout.destination))
      .text("status", word(payout.status))
      .money("new_balance", payout.new_balance)
      .instant("created_at", payout.created_at)
      .close();
}

void append_json(std::string& out, const Granted& granted) {
  Members members(out);
  members.id("txn_id", granted.moved.txn)
      .money("amount", granted.moved.amount)
      .money("new_balance", granted.moved.new_balance)
      .integer("remaining", granted.remaining)
      .close();
}

void append_json(std::string& out, const WaitlistEntry& entry) {
  Members members(out);
  append_members(members, entry);
  members.close();
}

void append_json(std::string& out, const WaitlistApproved& approved) {
  Members members(out);
  append_members(members, approved.entry);
  members.begin("wallet");
  append_json(out, approved.created);
  members.close();
}

void append_json(std::string& out, const InclusionProof& proof) {
  Members members(out);
  members.count("leaf_index", proof.leaf)
      .count("tree_size", proof.size)
      .digest("leaf_hash", proof.leaf_hash)
      .digest("root_hash", proof.root)
      .digests("path", proof.path)
      .text("checkpoint", std::string_view(proof.checkpoint))
      .close();
}

void append_json(std::string& out, const ConsistencyProof& proof) {
  Members members(out);
  members.count("old_size", proof.old_size)
      .count("new_size", proof.new_size)
      .digest("old_root_hash", proof.old_root)
      .digest("new_root_hash", proof.new_root)
      .digests("path", proof.path)
      .close();
}

void append_json(std::string& out, const AuditReport& report) {
  Members members(out);
  members.boolean("ok", report.ok);
  members.begin("checked");
  Members checked(out);
  checked.count("events", report.events)
      .count("entries", report.entries)
      .count("receipts", report.receipts)
      .count("signatures", report.signatures)
      .count("checkpoints", report.checkpoints)
      .close();
  members.integer("seq", report.seq).text("head", std::string_view(report.head));
  if (!report.ok) members.text("first_fault", std::string_view(report.first_fault));
  members.close();
}

std::string uuid_text(KeyId id) {
  const std::string digits = [&] {
    std::string octets;
    for (const std::uint64_t half : {id.high, id.low})
      for (int shift = 56; shift >= 0; shift -= 8) octets.push_back(static_cast<char>(half >> shift & 0xFF));
    return core::hex(octets);
  }();
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) out.push_back('-');
    out.push_back(digits[i]);
  }
  return out;
}

}  // namespace calyx::wire
