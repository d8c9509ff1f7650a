#include "services/export.hpp"

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <sys/wait.h>

#include <array>
#include <calyx/engine.hpp>
#include <cstdio>
#include <fstream>
#include <map>

#include "json/reader.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;

namespace {

constexpr std::int64_t flops = core::micro_per_flops;

/// A small market whose names try every format: a comma, a quote, a colon, a semicolon, brackets, spaces.
struct Names {
  Names() {
    Session all = engine.as_operator();
    owner = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "alice, \"the\" owner"})
                .value()
                .wallet.id;
    agent = all.create_wallet({.owner_type = OwnerType::agent, .owner_id = "r;[2026-01-01]", .parent = owner})
                .value()
                .wallet.id;
    host = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "bob"}).value().wallet.id;
    all.topup({.wallet = owner, .amount = Money{2'000 * flops}, .reference = "a,b\"c\";date:2020-99-99"})
        .value();
    all.transfer({.from = owner, .to = agent, .amount = Money{100 * flops + 1}, .reference = "[x]"}).value();
    all.grant(host).value();
    const auto payout = all.request_payout({.wallet = host, .amount = Money{1}, .destination = "x"}).value();
    all.fail_payout(payout.id).value();
    for (const char* job :
         {"plain", "a:b::c", "(virtual)", "semi;colon", "quo\"te,comma", "=1+1", "100%", "*!@"}) {
      all.spend({.wallet = agent, .job_id = job, .amount = Money{4 * flops}, .host_wallet = host}).value();
      all.earn({.host = host, .job_id = job, .gross_amount = Money{3'230'001}, .gpu_model = "A100"}).value();
    }
    all.spend({.wallet = agent, .job_id = "stays:open", .amount = Money{5}}).value();
    all.spend({.wallet = agent, .job_id = "back", .amount = Money{6}}).value();
    all.release({.wallet = agent, .job_id = "back"}).value();
    all.release({.wallet = agent, .job_id = "never"}).value();
  }
  std::string text(ExportFormat format) {
    std::string out;
    engine.as_operator()
        .export_ledger(format,
                       [&out](std::string_view piece) {
                         out += piece;
                         return true;
                       })
        .value();
    return out;
  }

  std::int64_t us = 1'775'000'000'000'000;
  Engine engine = Engine::open({.now_us = [this] { return us += 40'000'000'000; }}).value();
  WalletId owner, agent, host;
};

/// The rows of a CSV text as RFC 4180 reads them.
std::vector<std::vector<std::string>> csv_rows(std::string_view text) {
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (quoted) {
      if (text[i] != '"')
        field.push_back(text[i]);
      else if (i + 1 < text.size() && text[i + 1] == '"')
        field.push_back(text[++i]);
      else
        quoted = false;
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\n') {
      rows.emplace_back(1);
    } else {
      field.push_back(text[i]);
    }
  }
  rows.pop_back();  // the text ends in a newline
  return rows;
}

/// Micro of a printed amount, by its digits.
std::int64_t micro(std::string text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.erase(0, 1);
  const core::MoneyReading reading = core::read_money(text);
  CAPTURE(text);
  REQUIRE(reading.fault == core::MoneyFault::none);
  return negative ? -reading.money.micro : reading.money.micro;
}

/// SHA-256 by the library itself, with nothing of ours between.
std::string sha256_hex(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  REQUIRE(EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  std::string out;
  for (const unsigned char byte : digest) {
    out.push_back("0123456789abcdef"[byte >> 4]);
    out.push_back("0123456789abcdef"[byte & 15]);
  }
  return out;
}

/// What a command prints, and whether it went well.
std::pair<bool, std::string> output_of(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string out;
  for (int c; (c = std::fgetc(pipe)) != EOF;) out.push_back(static_cast<char>(c));
  const int status = pclose(pipe);
  return {WIFEXITED(status) && WEXITSTATUS(status) == 0, out};
}

}  // namespace

TEST_CASE("the CSV has one row an entry, sums to zero, and gives each wallet its balance") {
  Names market;
  const auto rows = csv_rows(market.text(ExportFormat::csv));
  const std::vector<std::string> header = {"seq",     "at",     "kind",   "txn_id",
                                           "account", "amount", "job_id", "reference"};
  REQUIRE(rows.at(0) == header);
  Session all = market.engine.as_operator();
  CHECK(rows.size() - 1 == all.audit().value().entries);
  std::map<std::string, std::int64_t> sums;
  std::map<std::string, std::string> references;
  std::int64_t all_of_them = 0, seq = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    CAPTURE(i);
    REQUIRE(rows[i].size() == header.size());
    CHECK(std::stoll(rows[i][0]) >= seq);
    seq = std::stoll(rows[i][0]);
    const std::int64_t amount = micro(rows[i][5]);
    all_of_them += amount;
    sums[rows[i][4]] += amount;
    references[rows[i][2]] = rows[i][7];
  }
  CHECK(all_of_them == 0);
  for (const WalletId& id : {market.owner, market.agent, market.host})
    CHECK(sums[id.text()] == all.wallet(id).value().balance.micro);
  CHECK(sums["escrow:stays:open"] == 5);
  CHECK(sums["escrow:quo\"te,comma"] == 0);
  CHECK(sums["fees"] == 8 * 484'500);
  CHECK(sums.size() == 3 + 10 + 2);
  CHECK(references["topup"] == "a,b\"c\";date:2020-99-99");
  CHECK(references["transfer"] == "[x]");
}

TEST_CASE("whoever has the JSON Lines and SHA-256 can check the chain") {
  Names market;
  const std::string text = market.text(ExportFormat::jsonl);
  constexpr std::string_view mark = ",\"event_hash\":\"";
  std::string prev;
  std::int64_t seq = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    CAPTURE(line);

    // As text: what stands before the last member, closed by a brace, is what was hashed.
    const std::size_t cut = line.rfind(mark);
    REQUIRE(cut != std::string::npos);
    const std::string hash = line.substr(cut + mark.size(), 64);
    CHECK(line.substr(cut + mark.size() + 64) == "\"}");
    CHECK(sha256_hex(line.substr(0, cut) + "}") == hash);

    // As JSON: the canonical form without that member is the same text.
    const auto value = read_json(line).value();
    core::json::Object without;
    for (const core::json::Member& member : *value.object())
      if (member.key != "event_hash") without.set(member.key, member.value);
    const core::json::Value document(without);
    CHECK(core::json::canonical(document) == line.substr(0, cut) + "}");
    CHECK(*document.find("seq")->integer() == ++seq);
    if (seq == 1) prev = sha256_hex(*document.find("market")->string());
    CHECK(*document.find("prev")->string() == prev);
    prev = hash;
  }
  const AuditReport report = market.engine.as_operator().audit().value();
  CHECK(seq == report.seq);
  CHECK(prev == report.head);
}

TEST_CASE("hledger takes the journal, strictly, and comes to the same balances") {
  if (std::system("hledger --version >/dev/null 2>&1") != 0) {
    REQUIRE(testing::may_lack("hledger takes the journal", "hledger"));
    return;
  }
  Names market;
  const store::Scratch scratch;
  const std::string file = scratch / "ledger.journal";
  std::ofstream(file) << market.text(ExportFormat::hledger);
  const auto check = output_of("hledger -f " + file + " check --strict ordereddates 2>&1");
  CAPTURE(check.second);
  CHECK(check.first);

  const auto table = output_of("hledger -f " + file + " bal --flat -E --no-total -O csv 2>&1");
  CAPTURE(table.second);
  REQUIRE(table.first);
  std::map<std::string, std::int64_t> balances;
  for (const auto& row : csv_rows(table.second)) {
    if (row.at(0) == "account") continue;
    const std::size_t space = row.at(1).find(' ');
    balances[row[0]] = row[1] == "0" ? 0 : micro(row[1].substr(0, space));
    if (space != std::string::npos) CHECK(row[1].substr(space) == " FLOPS");
  }
  Session all = market.engine.as_operator();
  for (const WalletId& id : {market.owner, market.agent, market.host})
    CHECK(balances["wallets:" + id.text()] == all.wallet(id).value().balance.micro);
  CHECK(balances["platform:fees"] == 8 * 484'500);
  CHECK(balances["escrow:stays%3Aopen"] == 5);
  std::int64_t sum = 0;
  for (const auto& [account, amount] : balances) sum += amount;
  CHECK(sum == 0);
}

TEST_CASE("an export comes in pieces of whole lines, and stops when its receiver says so") {
  std::int64_t us = 1'775'000'000'000'000;
  Engine engine = Engine::open({.now_us = [&us] { return ++us; }}).value();
  Session all = engine.as_operator();
  const WalletId id = all.create_wallet({.owner_type = OwnerType::human, .owner_id = "a"}).value().wallet.id;
  const std::vector<Operation> topups(1'000, TopUp{.wallet = id, .amount = Money{flops}});
  all.bulk(topups).value();
  all.bulk(topups).value();
  for (const ExportFormat format : {ExportFormat::csv, ExportFormat::jsonl, ExportFormat::hledger}) {
    CAPTURE(static_cast<int>(format));
    std::vector<std::size_t> sizes;
    const Result<Done> whole = all.export_ledger(format, [&](std::string_view piece) {
      CHECK(piece.back() == '\n');
      sizes.push_back(piece.size());
      return true;
    });
    CHECK(whole.ok());
    REQUIRE(sizes.size() > 2);
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
      CHECK(sizes[i] >= 64 * 1024);
      CHECK(sizes[i] < 66 * 1024);
    }
    int calls = 0;
    CHECK(all.export_ledger(format, [&](std::string_view) { return ++calls < 2; }).reason() ==
          Reason::stopped);
    CHECK(calls == 2);
  }
  const std::string key = all.issue_key(id, "mine").value().api_key;
  CHECK(engine.session(key)
            .value()
            .export_ledger(ExportFormat::csv, [](std::string_view) { return true; })
            .reason() == Reason::operator_only);
}
