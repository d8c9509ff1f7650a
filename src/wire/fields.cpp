#include "wire/fields.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "json/pointer.hpp"
#include "json/reader.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

/// A stranger's member name is repeated in an answer only this far.
constexpr std::size_t name_said_max = 128;

std::string_view kind_word(json::Kind kind) noexcept {
  constexpr std::string_view words[] = {"null",     "a boolean", "a number", "a number",
                                        "a string", "an array",  "an object"};
  return words[static_cast<std::size_t>(kind)];
}

Error wrong_type(std::string_view pointer, const json::Value& value, std::string_view takes) {
  return field_fault(Reason::field_type, pointer,
                     "is " + std::string(kind_word(value.kind())) + ", must be " + std::string(takes));
}

}  // namespace

std::string pointer_to(std::string_view name) {
  if (name.size() > name_said_max) {
    std::size_t end = name_said_max;  // never inside a character
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
    name = name.substr(0, end);
  }
  std::string out;
  append_pointer_step(out, name);
  return out;
}

Error field_fault(Reason reason, std::string_view pointer, std::string message) {
  return fail(reason, std::move(message), json::object({{"field", pointer}}));
}

Result<json::Value> read_body(const Request& request, std::size_t bytes_max) {
  if (request.body.size() > bytes_max)
    return fail(Reason::too_large,
                "the body has " + std::to_string(request.body.size()) + " bytes, at most " +
                    std::to_string(bytes_max) + " are read",
                json::object({{"limit", bytes_max}}));
  Result<json::Value> body = read_json(request.body, {.bytes = bytes_max});
  if (body.ok() && body->object() == nullptr) return wrong_type("", *body, "an object");
  return body;
}

Fields::Fields(const json::Value& value, std::string_view place) : members_(value.object()), place_(place) {
  asked_.reserve(8);
  if (members_ == nullptr) fault_ = wrong_type("", value, "an object");
}

void Fields::fault(Error error) {
  if (!fault_) fault_ = std::move(error);
}

const json::Value* Fields::find(std::string_view name) {
  asked_.push_back(name);
  return members_ == nullptr ? nullptr : members_->find(name);
}

const json::Value* Fields::need(std::string_view name) {
  const json::Value* value = find(name);
  if (value == nullptr) fault(field_fault(Reason::field_missing, pointer_to(name), "is missing"));
  return value;
}

Result<Done> Fields::done() {
  Result<Done> judged = judge();
  if (judged.ok() || place_.empty()) return judged;
  Error error = std::move(judged).error();
  if (json::Object* details = error.details.object())
    if (const json::Value* field = details->find("field"); field != nullptr && field->string() != nullptr)
      details->set("field", std::string(place_) + *field->string());
  return error;
}

Result<Done> Fields::judge() {
  if (fault_) return *std::move(fault_);
  if (members_ != nullptr)
    for (const json::Member& member : *members_)
      if (std::find(asked_.begin(), asked_.end(), member.key) == asked_.end())
        return field_fault(Reason::field_unknown, pointer_to(member.key), "is not a field of this request");
  if (unknown_id_) return *std::move(unknown_id_);
  return Done{};
}

void Fields::read(std::string_view name, std::string& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, Money& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, std::int64_t& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, OwnerType& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, WalletStatus& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, core::Digest& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, WalletId& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}
void Fields::read(std::string_view name, std::vector<std::string>& out) {
  if (const json::Value* value = need(name)) read_present(name, *value, out);
}

void Fields::read(std::string_view name, bool& out) {
  const json::Value* value = find(name);
  if (value == nullptr || value->is_null()) return;
  if (value->boolean() != nullptr)
    out = *value->boolean();
  else
    fault(wrong_type(pointer_to(name), *value, "true or false"));
}

void Fields::read_optional(std::string_view name, std::string& out) {
  const json::Value* value = find(name);
  if (value == nullptr || value->is_null()) return;
  read_present(name, *value, out);
  if (value->string() != nullptr && out.empty())
    fault(field_fault(Reason::field_value, pointer_to(name), "is empty; leave it out instead"));
}

void Fields::read_present(std::string_view name, const json::Value& value, std::string& out) {
  if (const std::string* text = value.string())
    out = *text;
  else
    fault(wrong_type(pointer_to(name), value, "a string"));
}

void Fields::read_present(std::string_view name, const json::Value& value, Money& out) {
  // The digits as they came: an integer is printed again as it was, a real keeps its token.
  core::MoneyReading reading;
  if (const std::int64_t* integer = value.integer()) {
    char digits[20];
    const auto done = std::to_chars(digits, digits + sizeof digits, *integer);
    reading = core::read_money({digits, static_cast<std::size_t>(done.ptr - digits)});
  } else if (const json::Real* real = value.real()) {
    reading = core::read_money(real->token);
  } else if (const std::string* text = value.string()) {
    reading = core::read_money(*text);
  } else {
    fault(wrong_type(pointer_to(name), value, "a number or a decimal string"));
    return;
  }
  if (reading.fault != core::MoneyFault::none)
    fault(field_fault(core::reason_of(reading.fault), pointer_to(name),
                      std::string(core::message_of(reading.fault))));
  out = reading.money;
}

void Fields::read_present(std::string_view name, const json::Value& value, std::int64_t& out) {
  if (const std::int64_t* integer = value.integer()) {
    out = *integer;
    return;
  }
  const json::Real* real = value.real();
  if (real != nullptr && real->token.find_first_of(".eE") == std::string::npos && real->token != "-0")
    fault(field_fault(Reason::field_value, pointer_to(name), "is an integer beyond 64 bits"));
  else if (real != nullptr)
    fault(field_fault(Reason::field_type, pointer_to(name), "is a number, must be an integer"));
  else
    fault(wrong_type(pointer_to(name), value, "an integer"));
}

void Fields::read_present(std::string_view name, const json::Value& value, OwnerType& out) {
  const std::string* text = value.string();
  if (text == nullptr)
    fault(wrong_type(pointer_to(name), value, "a string"));
  else if (*text == word(OwnerType::human))
    out = OwnerType::human;
  else if (*text == word(OwnerType::agent))
    out = OwnerType::agent;
  else
    fault(field_fault(Reason::field_value, pointer_to(name), "must be human or agent"));
}

void Fields::read_present(std::string_view name, const json::Value& value, WalletStatus& out) {
  const std::string* text = value.string();
  if (text == nullptr) {
    fault(wrong_type(pointer_to(name), value, "a string"));
    return;
  }
  for (const WalletStatus status : {WalletStatus::active, WalletStatus::frozen, WalletStatus::closed})
    if (*text == word(status)) {
      out = status;
      return;
    }
  fault(field_fault(Reason::field_value, pointer_to(name), "must be active, frozen or closed"));
}

void Fields::read_present(std::string_view name, const json::Value& value, core::Digest& out) {
  const std::string* text = value.string();
  if (text == nullptr) {
    fault(wrong_type(pointer_to(name), value, "a string"));
    return;
  }
  if (const auto digest = core::read_output_hash(*text))
    out = *digest;
  else
    fault(field_fault(Reason::field_value, pointer_to(name), "must be sha256: and 64 hex digits"));
}

void Fields::read_present(std::string_view name, const json::Value& value, WalletId& out) {
  const std::string* text = value.string();
  if (text == nullptr) {
    fault(wrong_type(pointer_to(name), value, "a string"));
    return;
  }
  if (const auto id = WalletId::read(*text))
    out = *id;
  else if (!unknown_id_)
    unknown_id_ = field_fault(Reason::wallet_unknown, pointer_to(name), "no wallet has such an id");
}

void Fields::read_present(std::string_view name, const json::Value& value, std::vector<std::string>& out) {
  const json::Array* items = value.array();
  if (items == nullptr) {
    fault(wrong_type(pointer_to(name), value, "an array of strings"));
    return;
  }
  out.reserve(items->size());
  for (const json::Value& item : *items) {
    if (item.string() == nullptr) {
      fault(wrong_type(pointer_to(name) + "/" + std::to_string(out.size()), item, "a string"));
      return;
    }
    out.push_back(*item.string());
  }
}

Result<Query> Query::of(const Call& call) {
  Query out;
  std::string_view rest = call.query;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest = rest.substr(std::min(end + 1, rest.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decoded(pair.substr(0, equals), Plus::space);
    auto value = percent_decoded(pair.substr(std::min(equals + 1, pair.size())), Plus::space);
    if (!name || !value)
      return fail(Reason::malformed_target, "a percent sign in the query begins no escape");
    if (!json::valid_utf8(*name) || !json::valid_utf8(*value))
      return fail(Reason::malformed_target, "the query is not UTF-8");
    for (const Parameter& before : out.parameters_)
      if (before.name == *name)
        return field_fault(Reason::field_value, pointer_to(*name).substr(1), "is given twice");
    out.parameters_.push_back({*std::move(name), *std::move(value)});
  }
  return out;
}

std::optional<std::string_view> Query::find(std::string_view name) {
  for (Parameter& parameter : parameters_)
    if (parameter.name == name) {
      parameter.asked = true;
      return parameter.value;
    }
  return std::nullopt;
}

Result<std::uint64_t> Query::number(std::string_view name, std::optional<std::uint64_t> otherwise) {
  const auto text = find(name);
  if (!text && otherwise) return *otherwise;
  if (!text) return field_fault(Reason::field_missing, name, "is missing");
  std::uint64_t out = 0;
  const auto done = std::from_chars(text->data(), text->data() + text->size(), out);
  if (text->empty() || done.ec != std::errc{} || done.ptr != text->data() + text->size())
    return field_fault(Reason::field_value, name, "must be a whole number");
  return out;
}

Result<Done> Query::done() const {
  for (const Parameter& parameter : parameters_)
    if (!parameter.asked)
      return field_fault(Reason::field_unknown, pointer_to(parameter.name).substr(1),
                         "is not a parameter of this request");
  return Done{};
}

Result<Page> read_page(Query& query) {
  constexpr std::uint64_t limit_max = 1'000;
  Page page;
  CALYX_TRY(const std::uint64_t limit, query.number("limit", page.limit));
  if (limit < 1 || limit > limit_max)
    return field_fault(Reason::field_value, "limit", "is " + std::to_string(limit) + ", takes 1 to 1000");
  page.limit = static_cast<std::uint32_t>(limit);
  if (const auto after = query.find("after")) page.after = *after;
  return page;
}

Result<Page> read_page(const Call& call) {
  if (call.query.empty()) return Page{};
  CALYX_TRY(Query query, Query::of(call));
  CALYX_TRY(Page page, read_page(query));
  CALYX_CHECK(query.done());
  return page;
}

Result<Spend> read_spend(Fields& fields, WalletId wallet) {
  Spend asked;
  asked.wallet = wallet;
  fields.read("job_id", asked.job_id);
  fields.read("amount", asked.amount);
  fields.read("gpu_type", asked.gpu_type);
  fields.read("host_wallet_id", asked.host_wallet);
  fields.read("expires_in_s", asked.expires_in_s);
  CALYX_CHECK(fields.done());
  return asked;
}

Result<Earn> read_earn(Fields& fields, WalletId host) {
  Earn asked;
  asked.host = host;
  fields.read("job_id", asked.job_id);
  fields.read("gross_amount", asked.gross_amount);
  fields.read("output_hash", asked.output_hash);
  fields.read("gpu_model", asked.gpu_model);
  fields.read("duration_seconds", asked.duration_seconds);
  fields.read("payer_wallet_id", asked.payer_wallet);
  CALYX_CHECK(fields.done());
  return asked;
}

Result<Release> read_release(Fields& fields, WalletId wallet) {
  Release asked;
  asked.wallet = wallet;
  fields.read("job_id", asked.job_id);
  CALYX_CHECK(fields.done());
  return asked;
}

Result<TopUp> read_topup(Fields& fields, WalletId wallet) {
  TopUp asked;
  asked.wallet = wallet;
  fields.read("amount", asked.amount);
  fields.read_optional("reference", asked.reference);
  CALYX_CHECK(fields.done());
  return asked;
}

Result<WalletTransfer> read_transfer(Fields& fields, WalletId from) {
  WalletTransfer asked;
  asked.from = from;
  fields.read("to_wallet_id", asked.to);
  fields.read("amount", asked.amount);
  fields.read_optional("reference", asked.reference);
  CALYX_CHECK(fields.done());
  return asked;
}

void read_requirements(Fields& fields, core::Requirements& has) {
  const auto read = [&](std::string_view name, std::int64_t& out) {
    std::optional<std::int64_t> given;
    fields.read(name, given);
    if (given) out = *given;
  };
  read("cpu", has.cpu);
  read("memory_mb", has.memory_mb);
  read("gpu_count", has.gpu_count);
  read("gpu_memory_mb", has.gpu_memory_mb);
  read("storage_gb", has.storage_gb);
  fields.read_optional("profile", has.profile);
}

Result<WalletId> account_of(const Call& call, Query& query) {
  const auto named = query.find("wallet_id");
  if (!named) {
    if (call.session->principal().wallet) return *call.session->principal().wallet;
    return field_fault(Reason::field_missing, "wallet_id",
                       "is missing: an operator has no account of its own");
  }
  const auto id = WalletId::read(*named);
  if (!id)
    return fail(Reason::wallet_unknown, "no wallet has such an id",
                core::json::object({{"field", "wallet_id"}}));
  return *id;
}

}  // namespace calyx::wire
