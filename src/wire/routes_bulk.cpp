/// \file
/// Many operations in one request: `{"operations": [{"op": "spend", "wallet_id": …, …}, …]}`.
///
/// `op` is spend, earn, release, topup or transfer; beside `wallet_id` an item has the fields that the body
/// of `POST /v1/wallets/{id}/<op>` has, and a topup or transfer may have `idempotency_key` for the header.
/// The answer is `{"outcomes": [{"status": 200, "body": {…}}, …]}`, one an item and in their order: the
/// status and body that the operation would have been answered with alone (so a field's pointer starts at
/// the item), and `"replayed": true` where it would have carried `Idempotent-Replayed`. An item that is
/// refused stops nothing; only more than 1,000 items, a body that cannot be read, or the store refuse all.
///
/// With the header `Idempotency-Key` item i, when it is a topup or transfer without a key of its own, has the
/// key "<header> <i>", which no caller can send: of the same request again, what stood is replayed and what
/// was refused is tried again.
#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

/// An item's wallet comes before its other fields, as in a path.
Result<WalletId> wallet_of(Fields& fields) {
  const json::Value* value = fields.find("wallet_id");
  const std::string* text = value == nullptr ? nullptr : value->string();
  if (value == nullptr) return field_fault(Reason::field_missing, "/wallet_id", "is missing");
  if (text == nullptr) return field_fault(Reason::field_type, "/wallet_id", "must be a string");
  if (const auto id = WalletId::read(*text)) return *id;
  return field_fault(Reason::wallet_unknown, "/wallet_id", "no wallet has such an id");
}

template <class Asked>
Result<Operation> operation_in(Session& session, Fields& fields, Right right,
                               Result<Asked> (*read)(Fields&, WalletId)) {
  CALYX_TRY(const WalletId wallet, wallet_of(fields));
  IdempotencyKey once;
  if constexpr (requires(Asked asked) { asked.idempotency_key; })
    fields.read_optional("idempotency_key", once);
  Result<Asked> asked = read(fields, wallet);
  if (!asked.ok()) return first_fault(session, wallet, right, std::move(asked).error());
  if constexpr (requires(Asked some) { some.idempotency_key; }) asked->idempotency_key = std::move(once);
  return Operation(*std::move(asked));
}

Result<Operation> read_operation(Session& session, const json::Value& item) {
  Fields fields(item);
  if (item.object() == nullptr) return fields.done().error();
  std::string op;
  fields.read("op", op);
  if (op == "spend") return operation_in(session, fields, Right::spend, read_spend);
  if (op == "earn") return operation_in(session, fields, Right::spend, read_earn);
  if (op == "release") return operation_in(session, fields, Right::spend, read_release);
  if (op == "topup") return operation_in(session, fields, Right::operate, read_topup);
  if (op == "transfer") return operation_in(session, fields, Right::spend, read_transfer);
  fields.fault(field_fault(Reason::field_value, "/op", "must be spend, earn, release, topup or transfer"));
  return fields.done().error();
}

void append_outcome(std::string& out, const Error& error) {
  Members members(out);
  members.integer("status", facts(error.reason).http);
  members.begin("body");
  append_error(out, error);
  members.close();
}

template <class Answer>
void append_outcome(std::string& out, const Answer& answer) {
  Members members(out);
  members.integer("status", 200);
  members.begin("body");
  append_json(out, answer);
  if (answer.replayed) members.boolean("replayed", true);
  members.close();
}

}  // namespace

Result<Response> bulk(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  const json::Value* given = fields.find("operations");
  if (given == nullptr)
    fields.fault(field_fault(Reason::field_missing, "/operations", "is missing"));
  else if (given->array() == nullptr)
    fields.fault(field_fault(Reason::field_type, "/operations", "must be an array of operations"));
  CALYX_CHECK(fields.done());
  CALYX_TRY(const IdempotencyKey once, idempotency_key(call.request));
  const json::Array& items = *given->array();
  if (items.size() > bulk_max)
    return fail(Reason::too_many_operations,
                "has " + std::to_string(items.size()) + " operations, takes " + std::to_string(bulk_max),
                json::object({{"field", "/operations"}, {"needed", items.size()}, {"limit", bulk_max}}));

  std::vector<Operation> operations;
  std::vector<std::size_t> places;
  std::vector<std::optional<Error>> unread(items.size());
  operations.reserve(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    Result<Operation> operation = read_operation(*call.session, items[i]);
    if (operation.ok()) {
      operations.push_back(*std::move(operation));
      places.push_back(i);
    } else
      unread[i] = std::move(operation).error();
  }

  std::vector<Outcome> outcomes;
  if (!operations.empty()) {
    CALYX_TRY(outcomes, call.session->bulk(operations, once, places));
  }
  if (outcomes.size() != operations.size())
    return fail(Reason::internal, "a bulk answered another number of operations than it was asked");

  constexpr std::size_t usual_outcome_bytes = 192;
  std::string out;
  out.reserve(32 + items.size() * usual_outcome_bytes);
  out += R"({"outcomes":[)";
  std::size_t next = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out.push_back(',');
    if (unread[i])
      append_outcome(out, *unread[i]);
    else
      std::visit([&out](const auto& outcome) { append_outcome(out, outcome); }, outcomes[next++]);
  }
  out += "]}";
  return json_response(200, std::move(out));
}

}  // namespace calyx::wire
