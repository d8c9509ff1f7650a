// What a host sets for all: prices, and where payments are taken.
#include <calyx/core/job.hpp>

#include "wire/fields.hpp"
#include "wire/router.hpp"
#include "wire/writers.hpp"

namespace calyx::wire {
namespace {

namespace json = core::json;

Result<core::Prices> read_prices(const json::Value& value) {
  core::Prices out;
  Fields fields(value, "/prices");
  const auto read = [&](std::string_view name, Money& price) {
    std::optional<Money> given;
    fields.read(name, given);
    if (given) price = *given;
  };
  read("base", out.base);
  read("cpu", out.cpu);
  read("memory_gb", out.memory_gb);
  if (const json::Value* gpus = fields.find("gpus"); gpus != nullptr && !gpus->is_null()) {
    Fields types(*gpus, "/gpus");
    if (const json::Object* members = gpus->object())
      for (const json::Member& member : *members) types.read(member.key, out.gpus[member.key]);
    if (Result<Done> done = types.done(); !done.ok()) fields.fault(done.error());
  }
  CALYX_CHECK(fields.done());
  return out;
}

void append_settings(std::string& out, const core::Prices& prices, const PaymentTerms& terms) {
  Members members(out);
  members.begin("prices");
  Members inner(out);
  inner.money("base", prices.base)
      .money("cpu", prices.cpu)
      .money("memory_gb", prices.memory_gb)
      .begin("gpus");
  Members gpus(out);
  for (const auto& [type, price] : prices.gpus) {
    std::string name;  // a type may hold what a JSON name must escape
    json::append_string(name, type);
    gpus.money(std::string_view(name).substr(1, name.size() - 2), price);
  }
  gpus.close();
  inner.close();
  members.text_or_null("base_url", terms.base_url).text_or_null("realm", terms.realm).begin("networks");
  append_list(out, terms.networks, [&](const PaymentNetwork& one) {
    Members(out)
        .text("network", std::string_view(one.network))
        .text("asset", std::string_view(one.asset))
        .text("pay_to", std::string_view(one.pay_to))
        .text_or_null("fee_payer", one.fee_payer)
        .close();
  });
  members.close();
}

/// What is given of payment terms; null empties a text.
PaymentTermsChange read_payment_terms(Fields& fields) {
  PaymentTermsChange out;
  for (const auto& [name, text] : {std::pair("base_url", &out.base_url), std::pair("realm", &out.realm)}) {
    std::optional<std::optional<std::string>> given;
    fields.read_change(name, given);
    if (given) *text = given->value_or(std::string());
  }
  const json::Value* const networks = fields.find("networks");
  if (networks == nullptr) return out;
  out.networks.emplace();
  if (networks->array() == nullptr) {
    fields.fault(field_fault(Reason::field_type, "/networks", "is no array"));
    return out;
  }
  for (const json::Value& one : *networks->array()) {
    const std::string place = "/networks/" + std::to_string(out.networks->size());
    Fields members(one, place);
    PaymentNetwork& network = out.networks->emplace_back();
    members.read("network", network.network);
    members.read_optional("asset", network.asset);
    members.read("pay_to", network.pay_to);
    members.read_optional("fee_payer", network.fee_payer);
    if (Result<Done> done = members.done(); !done.ok()) fields.fault(done.error());
  }
  return out;
}

}  // namespace

Result<Response> get_settings(Call& call) {
  CALYX_TRY(const core::Prices prices, call.session->prices());
  CALYX_TRY(const PaymentTerms terms, call.session->payment_terms());
  std::string out;
  append_settings(out, prices, terms);
  return json_response(200, std::move(out));
}

Result<Response> put_settings(Call& call) {
  CALYX_TRY(const json::Value body, read_body(call.request));
  Fields fields(body);
  const json::Value* const prices_given = fields.find("prices");
  const PaymentTermsChange terms = read_payment_terms(fields);
  CALYX_CHECK(fields.done());
  std::optional<core::Prices> prices;
  if (prices_given != nullptr) {
    CALYX_TRY(prices, read_prices(*prices_given));
  }
  CALYX_CHECK(call.session->change_settings(terms, prices));
  return get_settings(call);
}

}  // namespace calyx::wire
