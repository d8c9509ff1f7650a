// The entries of one account among those of many: the walk from its last entry back, and its milestones.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "services/raw.hpp"
#include "store/market_store.hpp"
#include "store/scratch.hpp"

using namespace calyx;

namespace {

struct Place {
  store::Seq seq = 0;
  core::EntryId id = 0;
  Money amount;
};

/// A market's file with the entries of five accounts in events that take them by chance.
class Mixed {
 public:
  static constexpr core::AccountNumber accounts = 5;

  explicit Mixed(store::Seq events) {
    auto connection = store::Connection::open({.path = file, .create = true}).value();
    REQUIRE(store::migrate(connection, false).ok());
    auto store = store::MarketStore::make(connection, true).value();
    auto transaction = store::WriteTransaction::begin(connection).value();
    std::mt19937 chance(7);
    for (store::Seq seq = 1; seq <= events; ++seq) {
      REQUIRE(store.append_event(seq, Instant{seq}, 6, "{}", {}).ok());
      // The first account has nearly all of it; the last is seldom seen.
      const auto one = static_cast<core::AccountNumber>(chance() % 10 == 0 ? 1 + chance() % 4 : 0);
      const core::AccountNumber other = (one + 1) % accounts;
      append(store, seq, 0, one, Money{-static_cast<std::int64_t>(1 + chance() % 100)});
      if (chance() % 2 == 0)
        append(store, seq, 1, other, Money{static_cast<std::int64_t>(1 + chance() % 100)});
    }
    REQUIRE(transaction.commit().ok());
  }

  store::Scratch scratch;
  std::string file = scratch / "mixed.db";
  std::vector<Place> of[accounts];

  static core::AccountNumber number(core::AccountNumber account) { return core::wallet_first + account; }

 private:
  void append(store::MarketStore& store, store::Seq seq, std::size_t place, core::AccountNumber account,
              Money amount) {
    std::vector<Place>& entries = of[account];
    const core::EntryId id = core::entry_id(seq, place);
    REQUIRE(store.append_entry({id, number(account), amount, entries.empty() ? 0 : entries.back().id}).ok());
    entries.push_back({seq, id, amount});
    if (entries.size() % store::entries_a_milestone == 0)
      REQUIRE(store.append_milestone(number(account), id).ok());
  }
};

struct Reading {
  explicit Reading(const Mixed& mixed)
      : connection(store::Connection::open({.path = mixed.file, .create = false}).value()),
        store(store::MarketStore::make(connection, false).value()) {}
  store::Connection connection;
  store::MarketStore store;
};

}  // namespace

TEST_CASE("an account's entries come oldest first from anywhere on, and sum to anywhere back") {
  const Mixed mixed(400);
  Reading reading(mixed);
  std::size_t walks = 0;
  for (core::AccountNumber account = 0; account < Mixed::accounts; ++account) {
    const std::vector<Place>& all = mixed.of[account];
    REQUIRE(all.size() > 10);
    const core::AccountNumber number = Mixed::number(account);
    // To the very last entry, and to one that was the last when somebody looked.
    for (const std::size_t count :
         {all.size(), all.size() - 1, all.size() / 2, std::size_t{1}, std::size_t{0}}) {
      const core::EntryId last = count == 0 ? 0 : all[count - 1].id;
      for (store::Seq after = 0; after <= 401; after += 3) {
        std::vector<Place> wanted;
        Money sum;
        for (std::size_t i = 0; i < count; ++i)
          if (all[i].seq > after) wanted.push_back(all[i]), sum.micro += all[i].amount.micro;
        std::vector<Place> found;
        REQUIRE(reading.store
                    .entries_of(number, last, after,
                                [&](Money amount, const store::EventRow& row) -> Result<bool> {
                                  found.push_back({row.seq, 0, amount});
                                  return true;
                                })
                    .ok());
        REQUIRE(found.size() == wanted.size());
        bool same = true;
        for (std::size_t i = 0; i < found.size(); ++i)
          same = same && found[i].seq == wanted[i].seq && found[i].amount == wanted[i].amount;
        REQUIRE(same);
        REQUIRE(reading.store.sum_of(number, last, after).value() == sum);
        ++walks;
      }
    }
  }
  CHECK(walks > 3'000);
  // A cursor beyond every number is beyond every entry.
  CHECK(reading.store.sum_of(Mixed::number(0), mixed.of[0].back().id, INT64_MAX).value() == Money{});
}

TEST_CASE("who has seen enough is asked no more, and a page begins at a milestone") {
  const Mixed mixed(1'500);
  const std::vector<Place>& all = mixed.of[0];
  {
    testing::Edit raw(mixed.file);
    // What lies beyond the page's milestones is not looked at: were it, its absence would be told.
    raw.run("DELETE FROM entries WHERE id IN (" + std::to_string(all[100].id) + ", " +
            std::to_string(all[900].id) + ")");
  }
  Reading reading(mixed);
  std::vector<store::Seq> page;
  REQUIRE(reading.store
              .entries_of(Mixed::number(0), all.back().id, all[500].seq,
                          [&](Money, const store::EventRow& row) -> Result<bool> {
                            page.push_back(row.seq);
                            return page.size() < 100;
                          })
              .ok());
  REQUIRE(page.size() == 100);
  CHECK(page.front() == all[501].seq);
  CHECK(page.back() == all[600].seq);
  // Who walks over the gap is told.
  const auto on = [](Money, const store::EventRow&) { return Result<bool>(true); };
  const Result<Done> walked = reading.store.entries_of(Mixed::number(0), all.back().id, all[50].seq, on);
  REQUIRE(walked.reason() == Reason::corrupt);
  CHECK(walked.error().message.find("entries row " + std::to_string(all[100].id) + ": it is missing") == 0);
  CHECK(reading.store.sum_of(Mixed::number(0), all.back().id, 0).reason() == Reason::corrupt);
}

TEST_CASE("a walk that is led astray ends, and says where") {
  const Mixed sound(200);
  const std::string from = std::to_string(sound.of[0][20].id),
                    stranger = std::to_string(sound.of[1].front().id);
  const auto after = [&](const std::string& edit) {
    const Mixed mixed(200);  // the same again
    testing::Edit(mixed.file).run("UPDATE entries SET " + edit);
    Reading reading(mixed);
    const Result<Money> sum = reading.store.sum_of(Mixed::number(0), mixed.of[0].back().id, 0);
    REQUIRE(sum.reason() == Reason::corrupt);
    return sum.error().message.substr(0, sum.error().message.find(';'));
  };
  CHECK(after("previous = id WHERE id = " + from) == "entries row " + from + ": it names no entry before it");
  CHECK(after("previous = " + stranger + " WHERE id = " + from) ==
        "entries row " + stranger + ": it is of another account");
  CHECK(after("previous = 15 WHERE id = " + from) == "entries row 15: it is missing");
  CHECK(after("amount = 9223372036854775807").find(": its account's sum is beyond 2^63 micro-FLOPS") !=
        std::string::npos);
}
