#include <doctest/doctest.h>

#include <calyx/core/escrow.hpp>
#include <string>
#include <vector>

using namespace calyx;
using core::Entry;
using core::LockFacts;
using core::LockState;

namespace {

std::vector<Entry> all(const core::Legs& legs) {
  CHECK(core::judge(legs) == Reason::none);
  return {legs.all().begin(), legs.all().end()};
}

constexpr core::AccountNumber payer = 16, host = 17;
constexpr std::int64_t lock_seq = 441;
constexpr core::AccountNumber escrow = core::escrow_account(lock_seq);

}  // namespace

TEST_CASE("a settlement is judged by the first rule it breaks, a release by the same but for the amount") {
  constexpr Instant before{999}, deadline{1000}, after{1001};
  struct Row {
    std::string says;
    LockFacts lock;
    Money gross;
    Instant now;
    Reason settles, releases;
  };
  const auto lock = [](LockState state, std::optional<Instant> until) {
    return LockFacts{.state = state, .locked = Money{100}, .deadline = until};
  };
  const Row rows[] = {
      {"open, part", lock(LockState::open, {}), Money{1}, after, Reason::none, Reason::none},
      {"open, nothing", lock(LockState::open, {}), Money{0}, after, Reason::none, Reason::none},
      {"open, all", lock(LockState::open, {}), Money{100}, after, Reason::none, Reason::none},
      {"open, one micro more than all", lock(LockState::open, {}), Money{101}, after,
       Reason::gross_above_locked, Reason::none},
      {"a microsecond early", lock(LockState::open, deadline), Money{100}, before, Reason::none,
       Reason::none},
      {"on the deadline", lock(LockState::open, deadline), Money{100}, deadline, Reason::escrow_expired,
       Reason::escrow_expired},
      {"a microsecond late", lock(LockState::open, deadline), Money{100}, after, Reason::escrow_expired,
       Reason::escrow_expired},
      {"late and too much", lock(LockState::open, deadline), Money{101}, after, Reason::escrow_expired,
       Reason::escrow_expired},
      {"swept", lock(LockState::expired, deadline), Money{101}, after, Reason::escrow_expired,
       Reason::escrow_expired},
      {"expired, though the clock was put back", lock(LockState::expired, deadline), Money{1}, before,
       Reason::escrow_expired, Reason::escrow_expired},
      {"released", lock(LockState::released, deadline), Money{101}, after, Reason::escrow_released,
       Reason::escrow_released},
      {"settled", lock(LockState::settled, deadline), Money{101}, after, Reason::already_settled,
       Reason::already_settled},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::judge_settlement(row.lock, row.gross, row.now) == row.settles);
    CHECK(core::judge_release(row.lock, row.now) == row.releases);
  }
  CHECK_FALSE(core::is_due(std::nullopt, core::instant_max));
}

TEST_CASE("a lock, a release and a plain movement have two legs") {
  CHECK(all(core::lock_legs(payer, lock_seq, Money{100})) ==
        std::vector<Entry>{{payer, Money{-100}}, {escrow, Money{100}}});
  CHECK(all(core::release_legs(payer, lock_seq, Money{100})) ==
        std::vector<Entry>{{escrow, Money{-100}}, {payer, Money{100}}});
  CHECK(all(core::move_legs(payer, host, Money{100})) ==
        std::vector<Entry>{{payer, Money{-100}}, {host, Money{100}}});
  CHECK(all(core::move_legs(core::account_external, payer, core::amount_max)) ==
        std::vector<Entry>{{core::account_external, -core::amount_max}, {payer, core::amount_max}});
}

TEST_CASE("a settlement empties the escrow into fee, net and the rest, without a leg of nothing") {
  struct Row {
    std::string says;
    core::AccountNumber to;
    std::int64_t gross;
    std::int32_t rate;
    std::vector<Entry> expected;
  };
  const Row rows[] = {
      {"part of it",
       host,
       60,
       1500,
       {{escrow, Money{-100}}, {2, Money{9}}, {host, Money{51}}, {payer, Money{40}}}},
      {"all of it", host, 100, 1500, {{escrow, Money{-100}}, {2, Money{15}}, {host, Money{85}}}},
      {"none of it", host, 0, 1500, {{escrow, Money{-100}}, {payer, Money{100}}}},
      {"too little for a fee", host, 1, 1500, {{escrow, Money{-100}}, {host, Money{1}}, {payer, Money{99}}}},
      {"free of fees", host, 60, 0, {{escrow, Money{-100}}, {host, Money{60}}, {payer, Money{40}}}},
      {"a fee of all", host, 60, 10'000, {{escrow, Money{-100}}, {2, Money{60}}, {payer, Money{40}}}},
      {"a payer who is the host",
       payer,
       60,
       1500,
       {{escrow, Money{-100}}, {2, Money{9}}, {payer, Money{91}}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const core::FeeSplit split = core::split_fee(Money{row.gross}, row.rate);
    CHECK(all(core::settlement_legs(payer, row.to, lock_seq, Money{100}, Money{row.gross}, split)) ==
          row.expected);
  }
}
