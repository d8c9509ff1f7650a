/// \file
/// Every door of an engine, as a table: what asks a market, and may have to be refused.
#pragma once

#include <calyx/engine.hpp>
#include <calyx/request.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace calyx::testing {

/// A call of an engine, a session or the wire. `key` is an operator's API key.
struct Door {
  const char* name;
  /// The word of the reason that it answers, or what it gives instead; empty where it gives nothing.
  std::string (*ask)(Engine& engine, Session& session, const std::string& key);
  bool tells = true;  ///< Whether there is room for a reason in what it answers.
};

namespace detail {

template <class T>
std::string said(const Result<T>& result) {
  return std::string(word(result.reason()));
}

inline std::string wired(Engine& engine, const std::string& key, std::string method, std::string target,
                         std::string body = {}) {
  const Response response = handle(engine, {.method = std::move(method),
                                            .target = std::move(target),
                                            .headers = {{"X-API-Key", key}},
                                            .body = std::move(body)});
  constexpr std::string_view member = "\"code\":\"";
  const std::size_t at = response.body.find(member);
  if (response.status < 400 || at == std::string::npos) return std::to_string(response.status);
  const std::size_t begin = at + member.size();
  return response.body.substr(begin, response.body.find('"', begin) - begin);
}

}  // namespace detail

inline const std::vector<Door>& doors() {
  using detail::said;
  using detail::wired;
  using Text = const std::string&;
  static const std::vector<Door> all = {
      {"Engine::session", [](Engine& e, Session&, Text key) { return said(e.session(key)); }},
      {"Engine::issue_operator_key",
       [](Engine& e, Session&, Text) { return said(e.issue_operator_key("x")); }},
      {"Engine::public_keys", [](Engine& e, Session&, Text) { return e.public_keys(); }, false},
      {"Engine::rotate_signing_key", [](Engine& e, Session&, Text) { return said(e.rotate_signing_key()); }},
      {"Engine::verify", [](Engine& e, Session&, Text) { return e.verify("receipt").reason; }},
      {"Engine::backup", [](Engine& e, Session&, Text) { return said(e.backup("/nowhere/copy.db")); }},
      {"Engine::issuer", [](Engine& e, Session&, Text) { return e.issuer(); }, false},

      {"Session::create_wallet",
       [](Engine&, Session& s, Text) { return said(s.create_wallet({.owner_id = "x"})); }},
      {"Session::wallets", [](Engine&, Session& s, Text) { return said(s.wallets()); }},
      {"Session::wallet", [](Engine&, Session& s, Text) { return said(s.wallet({})); }},
      {"Session::change_wallet", [](Engine&, Session& s, Text) { return said(s.change_wallet({}, {})); }},
      {"Session::topup", [](Engine&, Session& s, Text) { return said(s.topup({})); }},
      {"Session::transfer", [](Engine&, Session& s, Text) { return said(s.transfer({})); }},
      {"Session::spend", [](Engine&, Session& s, Text) { return said(s.spend({})); }},
      {"Session::earn", [](Engine&, Session& s, Text) { return said(s.earn({})); }},
      {"Session::release", [](Engine&, Session& s, Text) { return said(s.release({})); }},
      {"Session::bulk",
       [](Engine&, Session& s, Text) {
         const Operation operations[] = {Spend{}};
         return said(s.bulk(operations));
       }},
      {"Session::bulk of too many",
       [](Engine&, Session& s, Text) { return said(s.bulk(std::vector<Operation>(bulk_max + 1, Spend{}))); }},
      {"Session::bulk with places amiss",
       [](Engine&, Session& s, Text) {
         const Operation operations[] = {Spend{}};
         const std::size_t places[] = {1, 2};
         return said(s.bulk(operations, {}, places));
       }},
      {"Session::narrowed, and a call",
       [](Engine&, Session& s, Text) { return said(s.narrowed({}).spend({})); }},
      {"Session::entries", [](Engine&, Session& s, Text) { return said(s.entries({})); }},
      {"Session::escrows", [](Engine&, Session& s, Text) { return said(s.escrows({})); }},
      {"Session::approvals", [](Engine&, Session& s, Text) { return said(s.approvals({})); }},
      {"Session::keys", [](Engine&, Session& s, Text) { return said(s.keys({})); }},
      {"Session::receipts", [](Engine&, Session& s, Text) { return said(s.receipts({})); }},
      {"Session::payouts", [](Engine&, Session& s, Text) { return said(s.payouts({})); }},
      {"Session::operator_keys", [](Engine&, Session& s, Text) { return said(s.operator_keys()); }},
      {"Session::issue_key", [](Engine&, Session& s, Text) { return said(s.issue_key({}, "x")); }},
      {"Session::revoke_key", [](Engine&, Session& s, Text) { return said(s.revoke_key({})); }},
      {"Session::rotate_key", [](Engine&, Session& s, Text) { return said(s.rotate_key({})); }},
      {"Session::approve", [](Engine&, Session& s, Text) { return said(s.approve({})); }},
      {"Session::deny", [](Engine&, Session& s, Text) { return said(s.deny({})); }},
      {"Session::request_payout", [](Engine&, Session& s, Text) { return said(s.request_payout({})); }},
      {"Session::payout", [](Engine&, Session& s, Text) { return said(s.payout({})); }},
      {"Session::confirm_payout", [](Engine&, Session& s, Text) { return said(s.confirm_payout({})); }},
      {"Session::fail_payout", [](Engine&, Session& s, Text) { return said(s.fail_payout({})); }},
      {"Session::grant", [](Engine&, Session& s, Text) { return said(s.grant({})); }},
      {"Session::join_waitlist", [](Engine&, Session& s, Text) { return said(s.join_waitlist("x")); }},
      {"Session::approve_waitlist", [](Engine&, Session& s, Text) { return said(s.approve_waitlist({})); }},
      {"Session::receipt", [](Engine&, Session& s, Text) { return said(s.receipt({})); }},
      {"Session::inclusion_proof", [](Engine&, Session& s, Text) { return said(s.inclusion_proof({})); }},
      {"Session::consistency_proof",
       [](Engine&, Session& s, Text) { return said(s.consistency_proof(0, 0)); }},
      {"Session::checkpoint", [](Engine&, Session& s, Text) { return said(s.checkpoint()); }},
      {"Session::create_project",
       [](Engine&, Session& s, Text) { return said(s.create_project({.name = "x"})); }},
      {"Session::projects", [](Engine&, Session& s, Text) { return said(s.projects()); }},
      {"Session::project", [](Engine&, Session& s, Text) { return said(s.project({.name = "x"})); }},
      {"Session::change_project",
       [](Engine&, Session& s, Text) { return said(s.change_project({.name = "x"}, {})); }},
      {"Session::delete_project",
       [](Engine&, Session& s, Text) { return said(s.delete_project({.name = "x"})); }},
      {"Session::push_project",
       [](Engine&, Session& s, Text) { return said(s.push_project({.name = "x"}, "bytes")); }},
      {"Session::project_status",
       [](Engine&, Session& s, Text) { return said(s.project_status({.name = "x"})); }},
      {"Session::project_status_details",
       [](Engine&, Session& s, Text) { return said(s.project_status_details({.name = "x"})); }},
      {"Session::init_project",
       [](Engine&, Session& s, Text) { return said(s.init_project({.name = "x"})); }},
      {"Session::invalidate_project",
       [](Engine&, Session& s, Text) { return said(s.invalidate_project({.name = "x"})); }},
      {"Session::kv_get", [](Engine&, Session& s, Text) { return said(s.kv_get({.name = "x"}, "k")); }},
      {"Session::kv_put",
       [](Engine&, Session& s, Text) { return said(s.kv_put({.name = "x"}, {.key = "k"})); }},
      {"Session::audit", [](Engine&, Session& s, Text) { return said(s.audit()); }},
      {"Session::export_ledger",
       [](Engine&, Session& s,
          Text) { return said(s.export_ledger(ExportFormat::csv, [](std::string_view) { return true; })); }},

      {"a request with a key",
       [](Engine& e, Session&, Text key) { return wired(e, key, "GET", "/v1/wallets"); }},
      {"a request for the keys",
       [](Engine& e, Session&, Text key) { return wired(e, key, "GET", "/v1/receipts/keys"); }},
      {"a request to verify",
       [](Engine& e, Session&, Text key) { return wired(e, key, "POST", "/v1/receipts/verify", "receipt"); }},
  };
  return all;
}

}  // namespace calyx::testing
