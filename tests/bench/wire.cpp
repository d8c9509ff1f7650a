#include "wire.hpp"

#include <stdexcept>
#include <utility>

namespace calyx::bench {
namespace {

void need(bool good, const std::string& what) {
  if (!good) throw std::runtime_error("the wire market: " + what);
}

}  // namespace

WireMarket::WireMarket() : engine_(Engine::open({}).value()), session_(engine_.as_operator()) {
  const WalletCreated created =
      session_.create_wallet({.owner_type = OwnerType::human, .owner_id = "payer"}).value();
  payer_ = created.wallet.id;
  key_ = created.api_key;
  session_.topup({.wallet = payer_, .amount = Money{1'000'000'000'000}}).value();
  session_ = engine_.session(key_).value();
}

std::string WireMarket::next_job() { return "job_" + std::to_string(100'000'000 + ++jobs_); }

Sample WireMarket::typed_spends(unsigned count) {
  return timed([&] {
    for (unsigned i = 0; i < count; ++i)
      need(
          session_
              .spend({.wallet = payer_, .job_id = next_job(), .amount = Money{1'000}, .gpu_type = "RTX 4090"})
              .ok(),
          "a typed spend");
    return count;
  });
}

Sample WireMarket::wire_spends(unsigned count) {
  const Request shape{.method = "POST",
                      .target = "/v1/wallets/" + payer_.text() + "/spend",
                      .headers = {{"Content-Type", "application/json"}, {"X-API-Key", key_}}};
  return timed([&] {
    for (unsigned i = 0; i < count; ++i) {
      Request request = shape;
      request.body = R"({"amount":0.001,"job_id":")" + next_job() + R"(","gpu_type":"RTX 4090"})";
      const Response response = handle(engine_, request);
      need(response.status == 200 || response.status == 201, response.body);
    }
    return count;
  });
}

Sample WireMarket::typed_gets(unsigned count) {
  return timed([&] {
    for (unsigned i = 0; i < count; ++i) need(session_.wallet(payer_).ok(), "a typed lookup");
    return count;
  });
}

Sample WireMarket::wire_gets(unsigned count) {
  const Request request{
      .method = "GET", .target = "/v1/wallets/" + payer_.text(), .headers = {{"X-API-Key", key_}}};
  return timed([&] {
    for (unsigned i = 0; i < count; ++i) need(handle(engine_, request).status == 200, "a lookup by the wire");
    return count;
  });
}

}  // namespace calyx::bench
