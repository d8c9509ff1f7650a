/// \file
/// The harness proves itself: what it is there to find is planted, and it must go red each time.
#include <doctest/doctest.h>

#include "engine_story.hpp"

namespace calyx::faults {
namespace {

Played played_with(Setting setting) {
  Played played;
  played.story = tell_story();
  Disk disk;
  Stage stage(disk, setting);
  disk.start_trace();
  played.told = play(stage, played.story, 20);
  stage.close();
  played.trace = disk.take_trace();
  return played;
}

/// Runs `change` while no trigger guards the tables, which stand again afterwards word for word.
void past_the_triggers(Raw& raw, const std::function<void()>& change) {
  std::vector<std::string> texts;
  std::vector<std::string> names;
  REQUIRE(raw.rows("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'", [&](const auto& row) {
    names.push_back(row[0]);
    texts.push_back(row[1]);
  }));
  REQUIRE(names.size() == 56);
  for (const std::string& name : names) REQUIRE(raw.run("DROP TRIGGER " + name));
  change();
  for (const std::string& text : texts) REQUIRE(raw.run(text));
}

std::string hex_of(std::string_view bytes) {
  std::string out;
  core::append_hex(out, bytes);
  return out;
}

/// Computes every hash of the chain anew, as a forger with the whole file would. `left_out` is a member that
/// the last event's document is hashed without.
void chain_anew(Raw& raw, const std::string& left_out = {}) {
  struct Row {
    std::string seq, hash;
  };
  std::vector<Row> rows;
  core::Digest head;
  std::string scratch;
  const std::string last = raw.one("SELECT max(seq) FROM events");
  REQUIRE(raw.rows("SELECT seq, at_us, kind, fields FROM events ORDER BY seq", [&](const auto& row) {
    const auto fields = read_json(row[3]);
    REQUIRE(fields.ok());
    const auto kind = static_cast<core::EventKind>(std::atoi(row[2].c_str()));
    if (kind == core::EventKind::market_created) head = crypto::Sha256{}(*fields->find("market")->string());
    std::string hashed = row[3];
    if (row[0] == last && !left_out.empty()) {
      core::json::Object rest;
      for (const core::json::Member& member : *fields->object())
        if (member.key != left_out) rest.set(member.key, member.value);
      REQUIRE(rest.size() + 1 == fields->object()->size());
      hashed = core::json::canonical(core::json::Value(std::move(rest)));
    }
    head = core::event_hash(crypto::Sha256{},
                            {.seq = std::atoll(row[0].c_str()),
                             .at = Instant{std::atoll(row[1].c_str())},
                             .kind = kind,
                             .prev = head},
                            hashed, scratch);
    rows.push_back({row[0], hex_of(head.view())});
  }));
  for (const Row& row : rows)
    REQUIRE(raw.run("UPDATE events SET hash = x'" + row.hash + "' WHERE seq = " + row.seq));
}

/// The number of the first settlement that has a fee.
std::string a_settlement(Raw& raw) { return raw.one("SELECT min(seq) FROM resolutions WHERE fee <> 0"); }

}  // namespace

TEST_CASE("commits that are not synced are seen to be lost") {
  struct Row {
    std::string says;
    bool synchronous_normal;
    Syncs syncs;
    bool red;
  };
  const Row rows[] = {
      {"as it should be", false, Syncs::honours, false},
      {"synchronous=NORMAL", true, Syncs::honours, true},
      {"a disk that ignores syncs", false, Syncs::ignores, true},
  };
  const std::vector<Damage> damages = {
      {DamageKind::drop_all, 0}, {DamageKind::mixed, 1}, {DamageKind::reordered, 0}};
  for (const Row& row : rows) {
    const Played played = played_with({.synchronous_normal = row.synchronous_normal});
    const Cuts found = cut_everywhere(played, damages, row.syncs, {}, 1000);
    MESSAGE("sensitivity, ", row.says, ": ", found.bad, " of ", found.distinct,
            " recoveries are red; first: ", found.fault.substr(0, 160));
    CHECK((found.bad > 0) == row.red);
  }
}

TEST_CASE("what is planted in a file turns the checker red") {
  const Played played = played_with({});
  Disk whole;
  Image image = played.told.back().image;
  struct Row {
    std::string says;
    std::function<void(Raw&)> plant;
    bool by_the_rows;   ///< Whether the rows alone give it away,
    bool by_the_audit;  ///< and whether the audit does.
  };
  const auto change = [](std::string sql) { return [sql](Raw& raw) { REQUIRE(raw.run(sql)); }; };
  const Row rows[] = {
      {"nothing", [](Raw&) {}, false, false},
      {"locks may end twice: the key of `resolutions` is dropped",
       change("PRAGMA legacy_alter_table = ON; ALTER TABLE resolutions RENAME TO old;"
              "CREATE TABLE resolutions(lock INTEGER, seq INTEGER NOT NULL, amount INTEGER NOT NULL,"
              " fee INTEGER NOT NULL) STRICT;"
              "INSERT INTO resolutions SELECT * FROM old; DROP TABLE old"),
       true, true},
      {"and one did",
       change("PRAGMA legacy_alter_table = ON; ALTER TABLE resolutions RENAME TO old;"
              "CREATE TABLE resolutions(lock INTEGER, seq INTEGER NOT NULL, amount INTEGER NOT NULL,"
              " fee INTEGER NOT NULL) STRICT;"
              "INSERT INTO resolutions SELECT * FROM old; DROP TABLE old;"
              "INSERT INTO resolutions SELECT * FROM resolutions LIMIT 1"),
       true, true},
      {"a lock settled a second time, in a sound chain",
       [](Raw& raw) {
         const std::string seq = a_settlement(raw);
         const std::string next = raw.one("SELECT max(seq) + 1 FROM events");
         REQUIRE(raw.run("INSERT INTO events SELECT " + next +
                         ", (SELECT max(at_us) FROM events), kind, fields, hash "
                         "FROM events WHERE seq = " +
                         seq));
         REQUIRE(
             raw.run("INSERT INTO entries SELECT 8 * " + next +
                     " + id % 8, account, amount, (SELECT max(id) FROM entries others WHERE others.account = "
                     "entries.account) FROM entries WHERE id / 8 = " +
                     seq));
         chain_anew(raw);
       },
       true, true},
      {"a field that the chain passes over", [](Raw& raw) { chain_anew(raw, "status"); }, true, true},
      {"a field altered under its old hash",
       change("UPDATE events SET fields = replace(fields, '\"reference\":\"rent\"', "
              "'\"reference\":\"cent\"') WHERE "
              "kind = 6"),
       true, true},
      {"an instant altered under its old hash", change("UPDATE events SET at_us = at_us + 1 WHERE seq = 9"),
       true, true},
      {"a derived key's spending that no event made",
       change("INSERT INTO key_spends VALUES (zeroblob(32), 3, 3, 1, 1)"), false, true},
      {"a fee off by one, sums kept",
       [](Raw& raw) {
         const std::string seq = a_settlement(raw);
         REQUIRE(raw.run("UPDATE resolutions SET fee = fee + 1 WHERE seq = " + seq));
         REQUIRE(raw.run("UPDATE entries SET amount = amount - 1 WHERE account = 17 AND id / 8 = " + seq));
       },
       true, true},
      {"a fee off by one, in the event, the entries and the whole chain",
       [](Raw& raw) {
         const std::string seq = a_settlement(raw);
         const std::string fields = raw.one("SELECT fields FROM events WHERE seq = " + seq);
         auto value = *read_json(fields);
         for (const auto& [name, by] : {std::pair{"fee", 1}, std::pair{"net", -1}}) {
           const Money old = core::read_money(*value.find(name)->string()).money;
           value.object()->set(name, core::money_text(Money{old.micro + by}));
         }
         REQUIRE(
             raw.run("UPDATE events SET fields = '" + core::json::canonical(value) + "' WHERE seq = " + seq));
         REQUIRE(raw.run("UPDATE resolutions SET fee = fee + 1 WHERE seq = " + seq));
         REQUIRE(raw.run("UPDATE entries SET amount = amount - 1 WHERE account = 17 AND id / 8 = " + seq));
         chain_anew(raw);
       },
       true, true},
      {"one leg of a transfer lost", change("DELETE FROM entries WHERE account = 16 AND id / 8 = 9"), true,
       true},
      {"the last event lost", change("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)"), false,
       false},
      {"a caller's key forgotten", change("DELETE FROM requests WHERE key = 'a-transfer'"), false, true},
      {"a transfer done twice, in a sound chain",
       [](Raw& raw) {
         const std::string next = raw.one("SELECT max(seq) + 1 FROM events");
         const std::string seq = raw.one("SELECT min(seq) FROM events WHERE kind = 6");
         REQUIRE(raw.run("INSERT INTO events SELECT " + next +
                         ", (SELECT max(at_us) FROM events), kind, "
                         "json_remove(fields, '$.idempotency_key'), hash FROM events WHERE seq = " +
                         seq));
         REQUIRE(
             raw.run("INSERT INTO entries SELECT 8 * " + next +
                     " + id % 8, account, amount, (SELECT max(id) FROM entries others WHERE others.account = "
                     "entries.account) FROM entries WHERE id / 8 = " +
                     seq));
         chain_anew(raw);
       },
       false, false},
      {"a receipt's payload altered",
       change("UPDATE receipts SET payload = CAST(replace(payload, 'H100', 'A100') AS BLOB) WHERE leaf = 1"),
       false, true},
      {"feedback out of its place", change("INSERT INTO feedback VALUES(7, 1, 0, 'title', 'text')"), false,
       true},
      {"an artifact out of its place",
       change("INSERT INTO artifacts VALUES(7, 0, 1, 'name', 0, zeroblob(32), 0, 0, '')"), false, true},
      {"an upload lost", change("INSERT INTO uploads VALUES(2, 0, 1, 1, 'name', NULL, NULL, NULL, '', 0)"),
       false, true},
      {"a payment credited otherwise than it says",
       change("UPDATE payment_states SET credited = credited + 1"), false, true},
      {"a quote lost", change("DELETE FROM quotes"), false, true},
      {"a receipt lost", change("DELETE FROM receipts WHERE leaf = (SELECT max(leaf) FROM receipts)"), true,
       true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    Disk disk;
    disk.restore(image);
    {
      Raw raw(disk);
      past_the_triggers(raw, [&] { row.plant(raw); });
    }
    const bool control = row.says == "nothing";
    const std::string broken = find_broken_rule(disk, Depth::pages);
    CHECK_MESSAGE(broken.empty() != row.by_the_rows, broken);
    Stage stage(disk);
    stage.set_clock(end_of(played.story));
    if (const auto opened = stage.open(40); opened.ok()) {
      const auto report = stage.engine().as_operator().audit({}, AuditDepth::each);
      REQUIRE(report.ok());
      CHECK_MESSAGE(report->ok != row.by_the_audit, report->first_fault);
      stage.close();
    } else {
      CHECK(!control);
    }
    const std::string fault =
        find_fault(stage, played.story, played.told, {.acknowledged = played.told.size(), .life = 41});
    CHECK_MESSAGE(fault.empty() == control, fault);
    MESSAGE("planted: ", row.says, ": ", fault.empty() ? "green" : fault.substr(0, 120));
  }
}

}  // namespace calyx::faults
