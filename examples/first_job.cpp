// A paid job, end to end, with one market file and no network.
//
//   first_job [FOLDER]
//
// A human funds an agent; the agent locks escrow for a computed result; a host computes it, settles, and is
// paid; the receipt is verified, and a tampered copy of it is not. Everything is left in FOLDER
// (first-job-files without one), the receipt and the public keys too, so that others can verify them: see
// verify_receipt.sh, which needs openssl alone, and verify_receipt.py.
//
// The exit status is 0 only when every step held.
#include <calyx/calyx.hpp>
#include <calyx/core/encoding.hpp>
#include <calyx/core/receipt.hpp>
#include <calyx_kernels/packing_sample.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

using calyx::core::money_text;
using namespace calyx::literals;  // 12.40_flops
namespace json = calyx::core::json;
namespace packing = calyx::kernels::packing;

void say(const char* step, const std::string& what) { std::printf("%-16s %s\n", step, what.c_str()); }

/// The step did not hold, so the job is not done.
void need(bool held, const char* what) {
  if (!held) throw std::runtime_error(what);
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  need(file.flush().good(), "cannot write a file");
}

/// What the host sells: the verdict on fifteen unit semicircles, by the recipe `packing`. It is of class
/// `exact`, so its numbers have the same bits on every machine, and canonical JSON gives them one spelling.
calyx::JobSubmit eval_of_sample() {
  json::Array candidate;
  for (const double number : packing::sample_candidate) candidate.push_back(number);
  calyx::JobSubmit out{.recipe = "packing"};
  out.job.set("payload", json::object({{"operation", "eval"}, {"candidate", std::move(candidate)}}));
  return out;
}

/// `jws` with one digit of the amount in its payload changed, and the signature left as it was.
std::string tampered(std::string_view jws) {
  const std::size_t first = jws.find('.');
  const std::size_t second = jws.find('.', first + 1);
  std::string payload = calyx::core::unbase64url(jws.substr(first + 1, second - first - 1)).value();
  constexpr std::string_view gross = R"("gross":")";
  payload.at(payload.find(gross) + gross.size()) = '9';  // 3.80 becomes 9.80
  return std::string(jws.substr(0, first + 1)) + calyx::core::base64url(payload) +
         std::string(jws.substr(second));
}

void first_job(const std::filesystem::path& folder) {
  calyx::Options options;
  options.path = (folder / "market.db").string();
  calyx::Engine engine = calyx::Engine::open(options).value();
  calyx::Session market = engine.as_operator();  // trusted, in process: it opens wallets and credits top-ups

  const calyx::WalletCreated alice = market.create_wallet({.owner_id = "alice"}).value();
  const calyx::WalletCreated host = market.create_wallet({.owner_id = "gpu-host-7"}).value();
  say("Create a wallet", "alice, a human: " + alice.wallet.id.text());

  const calyx::Moved bought =
      market.topup({.wallet = alice.wallet.id, .amount = 2000.00_flops, .reference = "invoice-1"}).value();
  say("Top up",
      money_text(bought.amount) + " FLOPS, which is USD 20; alice has " + money_text(bought.new_balance));

  // From here on each speaks with its own key, and can do no more than that key may.
  calyx::Session as_alice = engine.session(alice.api_key).value();
  const calyx::WalletCreate an_agent{.owner_type = calyx::OwnerType::agent,
                                     .owner_id = "research-agent-v1",
                                     .parent = alice.wallet.id,
                                     .policy = {.spend_cap_per_job = 5.00_flops,
                                                .approval_threshold = 20.00_flops,
                                                .allowed_gpu_types = {{"CPU", "RTX 4090", "A100"}}}};
  const calyx::WalletCreated agent = as_alice.create_wallet(an_agent).value();
  as_alice.transfer({.from = alice.wallet.id, .to = agent.wallet.id, .amount = 12.40_flops}).value();
  say("Fund an agent", "research-agent-v1 gets 12.40 and may lock 5.00 a job: " + agent.wallet.id.text());

  calyx::Session as_agent = engine.session(agent.api_key).value();
  calyx::Spend spend{.wallet = agent.wallet.id,
                     .job_id = "job-441",
                     .amount = 6.00_flops,
                     .gpu_type = "CPU",
                     .host_wallet = host.wallet.id};
  const calyx::Result<calyx::Spent> too_much = as_agent.spend(spend);
  need(too_much.reason() == calyx::Reason::spend_cap_per_job, "a cap was not enforced");
  say("Stay in bounds", "6.00 is refused: " + too_much.error().message);

  spend.amount = 4.00_flops;
  const calyx::Spent locked = as_agent.spend(spend).value();
  say("Lock escrow", money_text(locked.amount_locked) + " for job-441; the agent has " +
                         money_text(locked.new_balance) + " left");

  const auto started = std::chrono::steady_clock::now();
  // The host computes it, here on this thread: a job of the operator's costs nobody anything.
  const calyx::JobId computing = market.submit_job(eval_of_sample()).value().id;
  const calyx::core::Digest output_hash = market.run_job(computing).value().output_hash.value();
  const json::Value result = market.job_results(computing).value().result;
  const std::string canonical = json::canonical(result);
  need(calyx::output_hash(canonical) == output_hash, "the result is not what its hash says");
  const auto lasted = std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - started);
  const json::Value& raw = *result.find("raw");  // of the numbers as they are, not rounded
  need(*raw.find("valid")->boolean(), "the packing is not valid");
  say("The job runs", "packing.eval: 15 semicircles fit a circle of " + json::canonical(*raw.find("score")));
  say("", calyx::core::output_hash_text(output_hash));

  calyx::Session as_host = engine.session(host.api_key).value();
  const calyx::Earn settle{.host = host.wallet.id,
                           .job_id = "job-441",
                           .gross_amount = 3.80_flops,
                           .output_hash = output_hash,
                           .gpu_model = "CPU",
                           .duration_seconds = lasted.count()};
  const calyx::Earned earned = as_host.earn(settle).value();
  say("Settle", money_text(earned.gross_amount) + ": the host gets " + money_text(earned.net_payout) +
                    ", the platform " + money_text(earned.platform_fee) +
                    ", and 0.20 goes back to the agent");

  const calyx::Receipt receipt = as_agent.receipt(earned.receipt).value();
  const std::string keys = engine.public_keys();
  const calyx::ReceiptVerdict verdict = calyx::verify_receipt(receipt.jws, keys);
  need(verdict.valid, "the receipt is not valid");
  say("Verify", "calyx says valid: " + receipt.id.text());

  const std::string copy = tampered(receipt.jws);
  const calyx::ReceiptVerdict refused = calyx::verify_receipt(copy, keys);
  need(!refused.valid, "a tampered receipt was taken for good");
  say("Tamper", "a copy that says 9.80 is refused: " + refused.reason);

  const calyx::AuditReport audit =
      market.audit(receipt.jws).value();  // against the receipt that the agent holds
  need(audit.ok, audit.first_fault.c_str());
  say("Audit", "passed: " + std::to_string(audit.events) + " events, " + std::to_string(audit.entries) +
                   " entries, " + std::to_string(audit.receipts) + " receipt");

  const calyx::Money left[] = {market.wallet(alice.wallet.id).value().balance,
                               market.wallet(agent.wallet.id).value().balance,
                               market.wallet(host.wallet.id).value().balance};
  need(left[0] == 1987.60_flops && left[1] == 8.60_flops && left[2] == 3.23_flops, "a balance is wrong");
  say("Balances", "alice " + money_text(left[0]) + ", the agent " + money_text(left[1]) + ", the host " +
                      money_text(left[2]) + ", fees " + money_text(earned.platform_fee));

  write_file(folder / "result.json", canonical);
  write_file(folder / "receipt.jws", receipt.jws);
  write_file(folder / "receipt.json",
             json::text(calyx::core::receipt_document(receipt.payload, receipt.jws, verdict.valid)));
  write_file(folder / "tampered.jws", copy);
  write_file(folder / "keys.json", keys);
  say("Files", (folder / "receipt.jws").string() + " and keys.json are all that a verifier needs");
}

}  // namespace

int main(int count, char** words) {
  try {
    const std::filesystem::path folder = count > 1 ? words[1] : "first-job-files";
    std::filesystem::create_directories(folder);
    first_job(folder);
    return 0;
  } catch (
      const std::exception& fault) {  // calyx itself throws nothing: `value()` does, when asked of an error
    std::fprintf(stderr, "first_job: %s\n", fault.what());
    return 1;
  }
}
