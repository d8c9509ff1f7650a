/// \file
/// Typed reading of a request's fields, from its JSON body or its query; every fault names its place.
///
/// Start at `read_body` and `Fields`. Only shapes are judged here (is it a string, an amount, an id); how
/// long a name may be and which values fit is judged by the call, so that every door says the same.
#pragma once

#include <calyx/core/json.hpp>
#include <calyx/request.hpp>
#include <calyx/session.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/router.hpp"

namespace calyx::wire {

/// The body as a JSON object. Fails: `too_large`; what the reader says of malformed JSON, `not_json` for an
/// empty body; `field_type` at the root when it is no object.
Result<core::json::Value> read_body(const Request& request, std::size_t bytes_max = request_body_max);

/// Reads the members of one object, one after the other, into typed places. Faults are collected: `done`
/// answers with the first, in the order in which the members were asked for; then comes a member that
/// nobody asked for; then an id that names nothing, as the call itself would come to see.
///
/// A place of `std::optional` takes a member that is absent or null as none; any other must be there.
class Fields {
 public:
  /// `value` outlives the reader and stands in the body at `place`, a JSON pointer; one that is no object is
  /// `field_type` there.
  explicit Fields(const core::json::Value& value, std::string_view place = {});

  void read(std::string_view name, std::string& out);
  void read(std::string_view name, Money& out);
  void read(std::string_view name, std::int64_t& out);
  void read(std::string_view name, OwnerType& out);
  void read(std::string_view name, WalletStatus& out);
  void read(std::string_view name, core::Digest& out);  ///< `sha256:` and 64 hex digits, or these alone.
  void read(std::string_view name, WalletId& out);      ///< Fails later: `wallet_unknown` with the field.
  void read(std::string_view name, std::vector<std::string>& out);
  /// May be left out, or null: then `out` stays as it is.
  void read(std::string_view name, bool& out);

  template <class T>
  void read(std::string_view name, std::optional<T>& out) {
    const core::json::Value* value = find(name);
    if (value == nullptr || value->is_null()) return;
    read_present(name, *value, out.emplace());
  }
  /// A text that may be left out; null and absent are empty, but an empty text is a fault.
  void read_optional(std::string_view name, std::string& out);
  /// A change: absent is none, null engages an empty optional.
  template <class T>
  void read_change(std::string_view name, std::optional<std::optional<T>>& out) {
    const core::json::Value* value = find(name);
    if (value == nullptr) return;
    out.emplace();
    if (!value->is_null()) read_present(name, *value, out->emplace());
  }
  /// A change of what cannot be cleared.
  template <class T>
  void read_change(std::string_view name, std::optional<T>& out) {
    if (const core::json::Value* value = find(name)) read_present(name, *value, out.emplace());
  }
  /// The member itself, for what has a shape of its own.
  const core::json::Value* find(std::string_view name);

  void fault(Error error);
  /// Fails: the first fault.
  Result<Done> done();

 private:
  Result<Done> judge();
  const core::json::Value* need(std::string_view name);
  void read_present(std::string_view name, const core::json::Value& value, std::string& out);
  void read_present(std::string_view name, const core::json::Value& value, Money& out);
  void read_present(std::string_view name, const core::json::Value& value, std::int64_t& out);
  void read_present(std::string_view name, const core::json::Value& value, OwnerType& out);
  void read_present(std::string_view name, const core::json::Value& value, WalletStatus& out);
  void read_present(std::string_view name, const core::json::Value& value, core::Digest& out);
  void read_present(std::string_view name, const core::json::Value& value, WalletId& out);
  void read_present(std::string_view name, const core::json::Value& value, std::vector<std::string>& out);

  const core::json::Object* members_ = nullptr;
  std::string_view place_;
  std::vector<std::string_view> asked_;
  std::optional<Error> fault_;
  std::optional<Error> unknown_id_;
};

/// `{"field": pointer}` and a message: what every fault of a field looks like.
Error field_fault(Reason reason, std::string_view pointer, std::string message);
/// The JSON pointer (RFC 6901) of the member `name`.
std::string pointer_to(std::string_view name);

/// A query's parameters, decoded. A fault's field is the bare name: what begins with a slash is in the body.
class Query {
 public:
  /// Fails: `malformed_target`; `field_value` for a name that comes twice.
  static Result<Query> of(const Call& call);

  std::optional<std::string_view> find(std::string_view name);
  /// A whole number. Fails: `field_missing` unless a default is given, `field_value`.
  Result<std::uint64_t> number(std::string_view name, std::optional<std::uint64_t> otherwise);
  /// Fails: `field_unknown` for a parameter that nobody asked for.
  Result<Done> done() const;

 private:
  struct Parameter {
    std::string name, value;
    bool asked = false;
  };
  std::vector<Parameter> parameters_;
};

/// `after` and `limit` of a query. Fails: `field_value`.
Result<Page> read_page(Query& query);
/// `?after=&limit=`, and nothing else. Fails: `field_value`, `field_unknown`.
Result<Page> read_page(const Call& call);

/// The wallet that an account's route is about: the key's own; an operator names one in `?wallet_id=`.
/// Fails: `field_missing`, `wallet_unknown`.
Result<WalletId> account_of(const Call& call, Query& query);

/// The project that the path names: the caller's own, or with `?wallet_id=` another account's.
/// Fails: `wallet_unknown`, `project_unknown`.
Result<ProjectName> project_name(const Call& call, Query& query);

/// What a money operation asks for, from its body or from an item of a bulk. Fails: as `Fields::done`.
Result<Spend> read_spend(Fields& fields, WalletId wallet);
Result<Earn> read_earn(Fields& fields, WalletId host);
Result<Release> read_release(Fields& fields, WalletId wallet);
Result<TopUp> read_topup(Fields& fields, WalletId wallet);
Result<WalletTransfer> read_transfer(Fields& fields, WalletId from);

/// What a worker has: the members of its `has`, each of which may be left out.
void read_requirements(Fields& fields, core::Requirements& has);

}  // namespace calyx::wire
