#include <calyx/calyx.hpp>
#include <iostream>

using namespace calyx;

int main() {
  Engine engine = Engine::open({.path = "market.db"}).value();  // made when there is none
  Session market = engine.as_operator();
  const WalletCreated alice = market.create_wallet({.owner_id = "alice"}).value();
  const WalletCreated host = market.create_wallet({.owner_id = "gpu-host-7"}).value();
  WalletCreate an_agent{.owner_type = OwnerType::agent, .owner_id = "research-agent-v1"};
  an_agent.parent = alice.wallet.id;
  an_agent.policy = {.spend_cap_per_job = 5.00_flops, .allowed_gpu_types = {{"RTX 4090", "A100"}}};
  const WalletCreated agent = market.create_wallet(an_agent).value();
  market.topup({.wallet = alice.wallet.id, .amount = 2000_flops}).value();  // USD 20
  market.transfer({.from = alice.wallet.id, .to = agent.wallet.id, .amount = 12.40_flops}).value();

  Session as_agent = engine.session(agent.api_key).value();  // may do what this key may
  Spend lock{.wallet = agent.wallet.id, .job_id = "job-441", .amount = 4.00_flops};
  lock.gpu_type = "RTX 4090";
  lock.host_wallet = host.wallet.id;
  as_agent.spend(lock).value();

  Earn settle{.host = host.wallet.id, .job_id = "job-441", .gross_amount = 3.80_flops};
  settle.output_hash = output_hash("the output");
  settle.gpu_model = "RTX 4090";
  settle.duration_seconds = 10082;
  const Earned earned = engine.session(host.api_key).value().earn(settle).value();

  const Receipt receipt = as_agent.receipt(earned.receipt).value();
  std::cout << "the host got " << core::money_text(earned.net_payout) << " FLOPS\n" << receipt.jws << '\n';
  return engine.verify(receipt.jws).valid ? 0 : 1;
}
