/// \file
/// Payments for Python: quotes and what pays them, and who settles that.
#include <calyx/core/payment_terms.hpp>
#include <calyx/simulated_tokens.hpp>
#include <tuple>

#include "native.hpp"

namespace calyx_python {
namespace {

using calyx::Session;
using calyx::SettlementAnswer;
using calyx::SettlementCall;
using calyx::SimulatedTokens;
using calyx::VerifiedPayment;

py::object facts_of(const VerifiedPayment& facts) {
  return record({{"protocol", out(word(facts.protocol))},
                 {"network", out(facts.network)},
                 {"asset", out(facts.asset)},
                 {"payer", out(facts.payer)},
                 {"pay_to", out(facts.pay_to)},
                 {"nonce", out(facts.nonce)},
                 {"amount", py::int_(out(facts.amount))},
                 {"credit", out(facts.credit)},
                 {"valid_before", out(facts.valid_before)},
                 {"payload", out(facts.payload)},
                 {"on_chain", text_or_none(facts.on_chain)}});
}
py::object payment_of(const calyx::Payment& payment) {
  const bool paid = payment.status == calyx::PaymentStatus::paid;
  return record({{"id", out(payment.id)},
                 {"quote_id", out(payment.quote)},
                 {"wallet_id", out(payment.wallet)},
                 {"status", out(word(payment.status))},
                 {"surplus", out(payment.surplus)},
                 {"facts", facts_of(payment.facts)},
                 {"created_at", out(payment.created_at)},
                 {"ended_at", maybe(payment.ended_at)},
                 {"transaction", text_or_none(payment.transaction)},
                 {"credited", paid ? out(payment.credited) : py::none()},
                 {"txn_id", maybe(payment.txn)},
                 {"error", text_or_none(payment.error)},
                 {"replayed", out(payment.replayed)}});
}
py::object quote_of(const calyx::Quote& quote) {
  return record({{"id", out(quote.id)},
                 {"wallet_id", out(quote.wallet)},
                 {"kind", out(word(quote.kind))},
                 {"amount", out(quote.amount)},
                 {"created_at", out(quote.created_at)},
                 {"expires_at", out(quote.expires_at)},
                 {"status", out(word(quote.status))},
                 {"payments", list_of(quote.payments, payment_of)},
                 {"replayed", out(quote.replayed)}});
}
py::object terms_of(const calyx::PaymentTerms& terms) {
  return record({{"base_url", out(terms.base_url)},
                 {"realm", out(terms.realm)},
                 {"networks", list_of(terms.networks, [](const calyx::PaymentNetwork& one) {
                    return record({{"network", out(one.network)},
                                   {"pay_to", out(one.pay_to)},
                                   {"asset", text_or_none(one.asset)},
                                   {"fee_payer", text_or_none(one.fee_payer)}});
                  })}});
}

py::object challenge_of(const calyx::PaymentChallenge& challenge) {
  return record({{"payment_required", out(challenge.payment_required)},
                 {"www_authenticate", texts_of(challenge.www_authenticate)},
                 {"body", plain(challenge.body)}});
}
py::object answer_of(const calyx::PaymentAnswer& answer) {
  return record({{"payment", payment_of(answer.payment)}, {"response", text_or_none(answer.response)}});
}

calyx::QuoteId quote_id(Text text) { return id_of<calyx::QuoteId>(text, Reason::quote_unknown, "quote"); }

/// The header `name`, by which a payment came.
calyx::PaymentHeader header_of(std::string name) {
  using enum calyx::PaymentHeader;
  for (char& letter : name)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  if (name == "x-payment") return x_payment;
  if (name == "payment-signature") return payment_signature;
  if (name == "authorization") return authorization;
  if (name == "payment-authorization") return payment_authorization;
  throw Failure(
      fail(Reason::field_value,
           "a payment comes in X-PAYMENT, PAYMENT-SIGNATURE, Authorization or Payment-Authorization",
           json::object({{"field", "header"}})));
}

// ── who settles ──

/// A Python function that is asked, as payments.py makes it: `(call, key, payment) -> (outcome, transaction,
/// micro, reason)`, with `judges_contracts` on it.
class PySettlement final : public calyx::SettlementBackend {
 public:
  explicit PySettlement(const py::object& function)
      : function_(function), judges_contracts_(function.attr("judges_contracts").cast<bool>()) {}

  SettlementAnswer verify(const VerifiedPayment& payment) override {
    return ask(SettlementCall::verify, {}, &payment);
  }
  SettlementAnswer settle(std::string_view key, const VerifiedPayment& payment) override {
    return ask(SettlementCall::settle, key, &payment);
  }
  SettlementAnswer status(std::string_view key) override { return ask(SettlementCall::status, key, nullptr); }
  bool judges_contracts() const noexcept override { return judges_contracts_; }

 private:
  SettlementAnswer ask(SettlementCall call, std::string_view key, const VerifiedPayment* payment) const {
    return function_.use(SettlementAnswer{}, [&](const py::object& function) {
      using Said = std::tuple<std::string, std::string, std::optional<std::int64_t>, std::string>;
      const py::object facts = payment == nullptr ? py::none() : facts_of(*payment);
      const auto [outcome, transaction, micro, reason] =
          function(out(word(call)), out(key), facts).cast<Said>();
      const auto& words = calyx::settlement_outcome_words;
      const auto found = std::find(std::begin(words), std::end(words), outcome);
      if (found == std::end(words)) throw py::value_error("no outcome " + outcome);
      return SettlementAnswer{.outcome = static_cast<calyx::SettlementOutcome>(found - std::begin(words)),
                              .transaction = transaction,
                              .credit = money_of(micro),
                              .reason = reason};
    });
  }

  Callback function_;
  bool judges_contracts_;
};

/// `work()` without the GIL: what is simulated may lie in a file.
template <class Work>
auto without_gil(Work work) {
  std::optional<decltype(work())> answer;
  {
    const Outside none;
    answer.emplace(work());
  }
  return (*std::move(answer)).value();
}

/// An account by the names that payments have: the network by CAIP-2, an EVM address in lower case. An empty
/// asset is the dollar token that calyx knows there.
calyx::TokenAccount account_of(Text network, Text asset, Text address) {
  const auto spelled = [](Text text) {
    const auto evm = core::read_evm_address(text);
    return evm ? core::lower_text(*evm) : text;
  };
  const std::string_view caip2 = core::caip2_of(network);
  calyx::TokenAccount account{caip2.empty() ? network : std::string(caip2), spelled(asset), spelled(address)};
  if (const core::EvmAsset* const evm = core::find_evm_asset(network); asset.empty() && evm != nullptr)
    account.asset = spelled(std::string(evm->contract));
  if (const core::SolanaAsset* const solana = core::find_solana_asset(network);
      asset.empty() && solana != nullptr)
    account.asset = std::string(solana->mint);
  return account;
}

}  // namespace

std::shared_ptr<calyx::SettlementBackend> settlement_from(const py::object& given) {
  if (given.is_none()) return nullptr;
  if (py::isinstance<SimulatedTokens>(given)) return given.cast<std::shared_ptr<SimulatedTokens>>();
  return std::make_shared<PySettlement>(given);
}

void add_settlement(py::module_& module, py::class_<Open, OpenPtr>& engines,
                    py::class_<PySession>& sessions) {
  using py::arg;
  py::class_<SimulatedTokens, std::shared_ptr<SimulatedTokens>>(module, "SimulatedTokens",
                                                                "A ledger of tokens for tests and demos.")
      .def(
          "mint",
          [](const std::shared_ptr<SimulatedTokens>& self, Text network, Text asset, Text address,
             Text amount) {
            const auto to = account_of(network, asset, address);
            without_gil([&] { return self->mint(to, amount); });
          },
          arg("network"), arg("asset"), arg("address"), arg("amount"))
      .def(
          "balance",
          [](const std::shared_ptr<SimulatedTokens>& self, Text network, Text asset, Text address) {
            const auto of = account_of(network, asset, address);
            return without_gil([&] { return self->balance(of); });
          },
          arg("network"), arg("asset"), arg("address"))
      .def("settlements", [](const std::shared_ptr<SimulatedTokens>& self) {
        return without_gil([&] { return self->settlements(); });
      });
  module.def(
      "open_tokens", [](Text path) { return without_gil([&] { return SimulatedTokens::open(path); }); },
      arg("path"), "Opens a ledger of tokens; an empty path is one in memory.");

  engines
      .def(
          "set_settlement",
          [](const OpenPtr& self, const py::object& settlement) {
            outside(self, [backend = settlement_from(settlement)](calyx::Engine& engine) mutable {
              engine.set_settlement(std::move(backend));
              return true;
            });
          },
          arg("settlement"))
      .def(
          "payment_challenge",
          [](const OpenPtr& self, std::int64_t micro, Text resource, Text network, bool key_in_authorization,
             Text error, Text detail) {
            const calyx::PaymentAsk ask{.resource = resource,
                                        .key_in_authorization = key_in_authorization,
                                        .network = network,
                                        .error = error,
                                        .detail = detail};
            const auto challenge = outside(
                self, [&](calyx::Engine& engine) { return engine.payment_challenge(money_of(micro), ask); });
            return challenge_of(challenge.value());
          },
          arg("micro"), arg("resource"), arg("network"), arg("key_in_authorization"), arg("error"),
          arg("detail"))
      .def(
          "pay_for_call",
          [](const OpenPtr& self, std::int64_t micro, Text header, Text text) {
            const calyx::PaymentWords words{.header = header_of(header), .text = text};
            const auto paid = outside(self, [&](calyx::Engine& engine) {
                                return engine.pay_for_call(money_of(micro), words);
                              }).value();
            const py::object session =
                paid.session ? py::cast(PySession{self, *paid.session}) : py::object(py::none());
            return record({{"answer", answer_of(paid.answer)}, {"session", session}});
          },
          arg("micro"), arg("header"), arg("text"));

  sessions
      .def(
          "quote_topup",
          [](const PySession& self, Text wallet, std::int64_t micro, std::int64_t lasts_s,
             Text idempotency_key) {
            const calyx::QuoteTopup topup{.wallet = wallet_id(wallet),
                                          .amount = money_of(micro),
                                          .lasts_s = lasts_s,
                                          .idempotency_key = idempotency_key};
            return quote_of(asked(self, [&](Session& session) { return session.quote_topup(topup); }));
          },
          arg("wallet"), arg("micro"), arg("lasts_s"), arg("idempotency_key"))
      .def(
          "quote",
          [](const PySession& self, Text quote) {
            const auto id = quote_id(quote);
            return quote_of(asked(self, [&](Session& session) { return session.quote(id); }));
          },
          arg("quote"))
      .def(
          "quotes",
          [](const PySession& self, Text wallet, Text after, std::uint32_t limit) {
            const auto id = wallet_id(wallet);
            return page_of(asked(self,
                                 [&](Session& session) {
                                   return session.quotes(id, {after, limit});
                                 }),
                           quote_of);
          },
          arg("wallet"), arg("after"), arg("limit"))
      .def(
          "payment_challenge",
          [](const PySession& self, Text quote, Text resource, Text network, bool key_in_authorization) {
            const auto id = quote_id(quote);
            const auto challenge = asked(self, [&](Session& session) {
              return session.payment_challenge(
                  id,
                  {.resource = resource, .key_in_authorization = key_in_authorization, .network = network});
            });
            return challenge_of(challenge);
          },
          arg("quote"), arg("resource"), arg("network"), arg("key_in_authorization"))
      .def(
          "pay_quote",
          [](const PySession& self, Text quote, Text header, Text text) {
            const auto id = quote_id(quote);
            const calyx::PaymentWords words{.header = header_of(header), .text = text};
            return answer_of(asked(self, [&](Session& session) { return session.pay_quote(id, words); }));
          },
          arg("quote"), arg("header"), arg("text"))
      .def("settle_payments",
           [](const PySession& self) {
             const auto round = asked(self, [](Session& session) { return session.settle_payments(); });
             return record(
                 {{"paid", out(round.paid)}, {"failed", out(round.failed)}, {"waiting", out(round.waiting)}});
           })
      .def("payment_terms",
           [](const PySession& self) {
             return terms_of(asked(self, [](Session& session) { return session.payment_terms(); }));
           })
      .def(
          "set_payment_terms",
          [](const PySession& self, MaybeText base_url, MaybeText realm, const py::object& networks) {
            calyx::PaymentTermsChange change{.base_url = base_url, .realm = realm};
            if (!networks.is_none()) {
              change.networks.emplace();
              for (const auto& [network, pay_to, asset, fee_payer] :
                   networks
                       .cast<std::vector<std::tuple<std::string, std::string, std::string, std::string>>>())
                change.networks->push_back({network, asset, pay_to, fee_payer});
            }
            return terms_of(asked(self, [&](Session& session) { return session.change_settings(change); }));
          },
          arg("base_url"), arg("realm"), arg("networks"));
}

}  // namespace calyx_python
