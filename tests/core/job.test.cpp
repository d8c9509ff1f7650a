#include <doctest/doctest.h>

#include <calyx/core/job.hpp>
#include <set>
#include <vector>

#include "testing.hpp"

using namespace calyx;
using core::Waiting;
using core::Wide;

TEST_CASE("every state of a job and of a task has a word of its own, and the numbers in the file stand") {
  std::set<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(JobStatus::cancelled); ++i)
    words.insert(word(static_cast<JobStatus>(i)));
  CHECK(words == std::set<std::string_view>{"planning", "queued", "running", "completed", "partial", "failed",
                                            "cancelled"});
  CHECK(static_cast<int>(JobStatus::completed) == 3);  // the store's index of live jobs says `status < 3`
  CHECK(word(TaskStatus::queued) == "queued");
  CHECK(word(TaskStatus::running) == "running");
  CHECK(word(TaskStatus::completed) == "completed");
  CHECK(word(TaskStatus::failed) == "failed");
  CHECK(word(TaskStatus::cancelled) == "cancelled");
  CHECK(word(JobPriority::high) == "high");
  CHECK(word(JobPriority::normal) == "normal");
  CHECK(word(JobPriority::low) == "low");
}

TEST_CASE("a job is over in the four states that never change, and in no other") {
  struct Row {
    JobStatus status;
    bool over;
  };
  const Row rows[] = {{JobStatus::planning, false}, {JobStatus::queued, false}, {JobStatus::running, false},
                      {JobStatus::completed, true}, {JobStatus::partial, true}, {JobStatus::failed, true},
                      {JobStatus::cancelled, true}};
  for (const Row& row : rows) {
    CAPTURE(word(row.status));
    CHECK(is_terminal(row.status) == row.over);
  }
}

TEST_CASE("a failure is read by its own word alone, and each says what to do about it") {
  std::set<std::string_view> words, actions;
  for (std::size_t i = 0; i < job_failures; ++i) {
    const auto failure = static_cast<JobFailure>(i);
    CAPTURE(word(failure));
    CHECK(read_job_failure(word(failure)) == failure);
    words.insert(word(failure));
    if (failure == JobFailure::none) continue;
    CHECK_FALSE(recommended_action(failure).empty());
    actions.insert(recommended_action(failure));
  }
  CHECK(words.size() == job_failures);
  CHECK(actions.size() == job_failures - 1);  // no two failures are mended the same way
  CHECK(recommended_action(JobFailure::none).empty());
  for (const char* none : {"", "None", "timed out", "timed_out ", "cancelled\n", "completed"}) {
    CAPTURE(none);
    CHECK_FALSE(read_job_failure(none));
  }
}

TEST_CASE("an attempt is charged unless it was the worker's or its source's, and the worker's costs no try") {
  for (std::size_t i = 0; i < job_failures; ++i) {
    const auto failure = static_cast<JobFailure>(i);
    CAPTURE(word(failure));
    const bool workers = failure == JobFailure::lease_lost || failure == JobFailure::not_started ||
                         failure == JobFailure::source_unavailable;
    const bool final = failure == JobFailure::source_refused;
    CHECK(core::is_charged(failure) == !(workers || final));
    CHECK(core::is_infrastructure(failure) == workers);
    CHECK(core::is_final(failure) == final);
  }
}

TEST_CASE("how a job ended follows from how many tasks failed and how many did not") {
  CHECK(core::status_of(5, 0) == JobStatus::completed);
  CHECK(core::status_of(4, 1) == JobStatus::partial);
  CHECK(core::status_of(1, 4) == JobStatus::partial);
  CHECK(core::status_of(0, 5) == JobStatus::failed);
}

TEST_CASE("a second costs the base and what the task needs, memory by the MB and rounded up") {
  core::Prices prices{.base = Money{7}, .cpu = Money{100}, .memory_gb = Money{1024}};
  prices.gpus = {{"H100", Money{5'000}}, {"*", Money{300}}};
  struct Row {
    const char* says;
    core::Requirements needs;
    Wide expected;
  };
  const Row rows[] = {
      {"nothing but itself", {}, 7},
      {"two cores", {.cpu = 2}, 207},
      {"a MB", {.memory_mb = 1}, 8},
      {"a MB and a GB", {.memory_mb = 1025}, 7 + 1025},
      {"two of a GPU with a price", {.gpu_count = 2, .gpu_type = "H100"}, 7 + 10'000},
      {"one of any other", {.gpu_count = 1, .gpu_type = "A100"}, 307},
      {"one that is not named", {.gpu_count = 1}, 307},
      {"a name alone rents none", {.gpu_type = "H100"}, 7},
      {"what has no price of its own", {.gpu_memory_mb = 1'000, .storage_gb = 1'000}, 7},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::rate_of(prices, row.needs) == row.expected);
  }
  prices.gpus.erase("*");
  CHECK(core::rate_of(prices, {.gpu_count = 1, .gpu_type = "A100"}) == 7);
  prices.memory_gb = Money{1};
  CHECK(core::rate_of(prices, {.memory_mb = 1}) == 8);  // a part of a micro is a micro
  prices.memory_gb = core::amount_max;
  prices.cpu = core::amount_max;
  constexpr std::int64_t most = (std::int64_t{1} << 53) - 1;
  CHECK(core::rate_of(prices, {.cpu = most, .memory_mb = most}) >
        static_cast<Wide>(core::amount_max.micro) * most);  // and does not wrap
}

TEST_CASE("a charge is rounded up to the micro, and never beyond the next one") {
  struct Row {
    std::int64_t rate, ms, expected;
  };
  const Row rows[] = {
      {0, 1'000'000, 0}, {1, 0, 0},   {1, 1, 1},      {1, 1'000, 1},
      {1, 1'001, 2},     {999, 1, 1}, {1'000, 1, 1},  {1'001, 1, 2},
      {3, 333, 1},       {3, 334, 2}, {7, 2'000, 14}, {1'000'000, 1'500, 1'500'000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rate);
    CAPTURE(row.ms);
    CHECK(core::charge(row.rate, row.ms) == row.expected);
  }
  testing::Dice dice(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto rate =
        static_cast<std::int64_t>(dice.below(static_cast<std::uint64_t>(core::amount_max.micro)));
    const auto ms = static_cast<std::int64_t>(dice.below(100'000'000'000));
    const Wide cost = core::charge(rate, ms);
    const Wide exact = static_cast<Wide>(rate) * ms;  // thousandths
    REQUIRE(cost * 1000 >= exact);
    REQUIRE(cost * 1000 - exact < 1000);
  }
}

TEST_CASE("what attempts are charged never adds up to more than the worst case of the job") {
  testing::Dice dice(2);
  for (int i = 0; i < 20'000; ++i) {
    const auto rate = static_cast<std::int64_t>(dice.below(1'000'000));
    const auto tasks = 1 + dice.below(5), tries = 1 + dice.below(4), timeout_s = 1 + dice.below(100);
    Wide charged = 0;
    for (std::uint64_t attempt = 0; attempt < tasks * tries; ++attempt)
      charged += core::charge(rate, static_cast<std::int64_t>(dice.below(timeout_s * 1'000 + 1)));
    const auto worst =
        core::worst_case(rate, tasks, static_cast<std::int64_t>(tries), static_cast<std::int64_t>(timeout_s));
    REQUIRE(worst);
    REQUIRE(charged <= *worst);
  }
}

TEST_CASE("a worst case is exact, or none at all beyond 2^126") {
  constexpr Wide limit = Wide{1} << 126;
  CHECK(core::worst_case(3, 5, 2, 10) == Wide{300});
  CHECK(core::worst_case(0, UINT64_MAX, INT64_MAX, INT64_MAX) == Wide{0});
  CHECK(core::worst_case(3, 5, 2, 0) == Wide{0});
  CHECK(core::worst_case(limit, 1, 1, 1) == limit);
  CHECK_FALSE(core::worst_case(limit, 2, 1, 1));
  CHECK_FALSE(core::worst_case(limit, 1, 2, 1));
  CHECK_FALSE(core::worst_case(limit, 1, 1, 2));
  CHECK(core::worst_case(Wide{1} << 63, std::uint64_t{1} << 63, 1, 1) == limit);
  CHECK_FALSE(core::worst_case((Wide{1} << 63) + 1, std::uint64_t{1} << 63, 1, 1));
  CHECK_FALSE(core::worst_case(core::amount_max.micro, UINT64_MAX, INT64_MAX, INT64_MAX));
}

TEST_CASE("a task waits longer after each try, never as long as the cap, and anything below its bound") {
  struct Row {
    std::int64_t attempt, bound;
  };
  const Row rows[] = {{1, 1'000},   {2, 2'000},    {3, 4'000},    {4, 8'000},           {8, 128'000},
                      {9, 256'000}, {10, 300'000}, {11, 300'000}, {1'000'000, 300'000}, {INT64_MAX, 300'000}};
  testing::Dice dice(3);
  for (const Row& row : rows) {
    CAPTURE(row.attempt);
    const auto bound = static_cast<std::uint64_t>(row.bound);
    CHECK(core::retry_delay_ms(row.attempt, 0) == 0);
    CHECK(core::retry_delay_ms(row.attempt, bound - 1) == row.bound - 1);  // the bound is reached
    CHECK(core::retry_delay_ms(row.attempt, bound) == 0);                  // and not passed
    std::int64_t least = row.bound, most = 0;
    for (int i = 0; i < 1'000; ++i) {
      const std::int64_t delay = core::retry_delay_ms(row.attempt, dice.next());
      REQUIRE(delay >= 0);
      REQUIRE(delay < row.bound);
      least = std::min(least, delay);
      most = std::max(most, delay);
    }
    // Full jitter: what failed together is spread over the whole of the bound.
    CHECK(least < row.bound / 20);
    CHECK(most > row.bound - row.bound / 20);
  }
}

TEST_CASE("durations fall into buckets, four to a doubling, each longer than the one before") {
  struct Row {
    std::int64_t ms, bucket, longest;
  };
  const Row rows[] = {{-5, 0, 0},   {0, 0, 0},    {1, 1, 1},    {3, 3, 3},    {4, 4, 4},         {7, 7, 7},
                      {8, 8, 9},    {9, 8, 9},    {10, 9, 11},  {15, 11, 15}, {16, 12, 19},      {19, 12, 19},
                      {20, 13, 23}, {31, 15, 31}, {32, 16, 39}, {64, 20, 79}, {1'000, 35, 1'023}};
  for (const Row& row : rows) {
    CAPTURE(row.ms);
    CHECK(core::duration_bucket(row.ms) == row.bucket);
    CHECK(core::longest_in(row.bucket) == row.longest);
  }
  // No gap and no overlap, as far as a timeout may go; and nothing is rounded up by more than a quarter.
  for (std::int64_t bucket = 0; bucket < 120; ++bucket) {
    CAPTURE(bucket);
    const std::int64_t longest = core::longest_in(bucket);
    REQUIRE(core::duration_bucket(longest) == bucket);
    REQUIRE(core::duration_bucket(longest + 1) == bucket + 1);
    if (bucket > 0) REQUIRE(longest * 4 <= (core::longest_in(bucket - 1) + 1) * 5);
  }
}

TEST_CASE("a task is late at twice what three of four took, after 30 s, once ten have told") {
  struct Row {
    const char* says;
    std::vector<core::DurationCount> times;
    std::int64_t p75;
    std::optional<std::int64_t> late;
  };
  const auto at = [](std::int64_t ms) { return core::duration_bucket(ms); };
  const Row rows[] = {
      {"nothing", {}, 0, std::nullopt},
      {"nine", {{at(1), 9}}, 1, std::nullopt},
      {"ten", {{at(1), 10}}, 1, 30'000},
      {"ten in all", {{at(1), 4}, {at(2), 6}}, 2, 30'000},
      {"at three of four", {{at(1), 9}, {at(60'000), 3}}, 1, 30'000},
      {"a bit beyond", {{at(1), 8}, {at(60'000), 4}}, 65'535, 131'070},
      {"of ten it is the eighth", {{at(1), 7}, {at(20'000), 3}}, 20'479, 40'958},
      {"and what few took is not asked", {{at(5), 75}, {at(9'000'000), 25}}, 5, 30'000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::p75_ms(row.times) == row.p75);
    CHECK(core::straggler_ms(row.times) == row.late);
  }
}

TEST_CASE("a job nears its end when three of four tasks have ended") {
  for (std::uint64_t tasks = 1; tasks < 200; ++tasks)
    for (std::uint64_t ended = 0; ended <= tasks; ++ended)
      REQUIRE(core::nears_its_end(tasks, ended) == (4 * ended >= 3 * tasks));
  CHECK_FALSE(core::nears_its_end(UINT64_MAX, UINT64_MAX / 2));
  CHECK(core::nears_its_end(UINT64_MAX, UINT64_MAX - UINT64_MAX / 4));
}

TEST_CASE(
    "a lease takes an even share of half of what is left, unless its worker is alone or its tasks are "
    "short") {
  struct Row {
    const char* says;
    std::uint64_t left, workers;
    std::int64_t mean_ms;
    std::uint64_t expected;
  };
  const Row rows[] = {
      {"who works alone leaves none", 100, 1, 10, 100},
      {"half of it among two", 100, 2, 10, 25},
      {"short tasks are taken whole", 100, 2, 9, 100},
      {"also where many work", 1'000'000, 64, 0, 1'000'000},
      {"half of it among four", 100, 4, 1'000, 13},
      {"the last one", 1, 8, 1'000, 1},
      {"one each", 16, 8, 1'000, 1},
      {"and a bit", 17, 8, 1'000, 2},
      {"nobody is alone", 100, 0, 1'000, 100},
      {"nothing is left", 0, 4, 1'000, 0},
      {"as many as there may be", UINT64_MAX, 2, 1'000, std::uint64_t{1} << 62},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::lease_share(row.left, row.workers, row.mean_ms) == row.expected);
  }
}

TEST_CASE("money runs short when another attempt's worst case is not left before the last task") {
  struct Row {
    const char* says;
    core::Spending job;
    std::optional<std::uint64_t> lasts_for;
  };
  const Row rows[] = {
      {"nothing was tried", {.left = 0, .each = 10, .tasks = 5, .tasks_left = 5}, std::nullopt},
      {"what was tried cost nothing",
       {.left = 0, .attempts = 5, .each = 10, .tasks = 9, .tasks_left = 4},
       std::nullopt},
      {"it lasts",
       {.left = 100, .charged = 20, .attempts = 10, .each = 10, .tasks = 50, .tasks_left = 45},
       std::nullopt},
      {"to the last task",
       {.left = 98, .charged = 20, .attempts = 10, .each = 10, .tasks = 50, .tasks_left = 45},
       std::nullopt},
      {"one micro less",
       {.left = 97, .charged = 20, .attempts = 10, .each = 10, .tasks = 50, .tasks_left = 45},
       44},
      {"for one", {.left = 10, .charged = 20, .attempts = 10, .each = 10, .tasks = 50, .tasks_left = 45}, 1},
      {"for none", {.left = 9, .charged = 20, .attempts = 10, .each = 10, .tasks = 50, .tasks_left = 45}, 0},
      {"of a large job the first tell too little",
       {.left = 9, .charged = 10, .attempts = 9, .each = 10, .tasks = 500, .tasks_left = 45},
       std::nullopt},
      {"ten are enough",
       {.left = 9, .charged = 10, .attempts = 10, .each = 10, .tasks = 500, .tasks_left = 45},
       0},
      {"of a small one the first is enough",
       {.left = 1, .charged = 9, .attempts = 1, .each = 10, .tasks = 2, .tasks_left = 1},
       0},
      {"all have ended",
       {.left = 0, .charged = 9, .attempts = 2, .each = 10, .tasks = 2, .tasks_left = 0},
       std::nullopt},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::runs_short(row.job) == row.lasts_for);
  }
  // A job that holds its worst case is never short of money.
  testing::Dice dice(7);
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t tasks = 1 + dice.below(50), ended = dice.below(tasks + 1);
    const Wide each = 1 + static_cast<Wide>(dice.below(1'000));
    Wide charged = 0;
    for (std::uint64_t one = 0; one < ended; ++one)
      charged += static_cast<Wide>(dice.below(static_cast<std::uint64_t>(each) + 1));
    REQUIRE_FALSE(core::runs_short({.left = each * static_cast<Wide>(tasks) - charged,
                                    .charged = charged,
                                    .attempts = ended,
                                    .each = each,
                                    .tasks = tasks,
                                    .tasks_left = tasks - ended}));
  }
}

TEST_CASE("what is left is spent as fast as what was, unless that is for ever") {
  constexpr std::int64_t second = core::us_per_second, millennium = std::int64_t{365'000} * 86'400 * second;
  struct Row {
    Wide left, charged;
    std::int64_t ran_us;
    std::optional<std::int64_t> us;
  };
  const Row rows[] = {{100, 10, second, 10 * second},
                      {0, 10, second, 0},
                      {1, 3, second, 333'333},
                      {100, 0, second, std::nullopt},
                      {100, 10, 0, std::nullopt},
                      {100, 10, -second, std::nullopt},
                      {millennium - 1, 1, 1, millennium - 1},
                      {millennium, 1, 1, std::nullopt},
                      {core::amount_max.micro, 1, millennium, std::nullopt}};
  for (const Row& row : rows) {
    CAPTURE(row.ran_us);
    CHECK(core::spent_in_us(row.left, row.charged, row.ran_us) == row.us);
  }
}

TEST_CASE("a job rises a class each quarter of an hour, to the top and no higher") {
  constexpr std::int64_t age = core::ageing_us;
  struct Row {
    JobPriority own;
    std::int64_t waited_us;
    JobPriority expected;
  };
  const Row rows[] = {
      {JobPriority::low, 0, JobPriority::low},
      {JobPriority::low, age - 1, JobPriority::low},
      {JobPriority::low, age, JobPriority::normal},
      {JobPriority::low, 2 * age - 1, JobPriority::normal},
      {JobPriority::low, 2 * age, JobPriority::high},
      {JobPriority::low, 1'000 * age, JobPriority::high},
      {JobPriority::normal, age - 1, JobPriority::normal},
      {JobPriority::normal, age, JobPriority::high},
      {JobPriority::high, 5 * age, JobPriority::high},
      {JobPriority::low, -5 * age, JobPriority::low},  // a clock that was set back
  };
  for (const Row& row : rows) {
    CAPTURE(row.waited_us);
    CAPTURE(word(row.own));
    const Waiting job{.number = 1, .priority = row.own, .since = Instant{100 * age}};
    CHECK(core::aged(job, Instant{100 * age + row.waited_us}) == row.expected);
  }
}

TEST_CASE("whose turn it is: the class, then who has fewer tasks running, then who came first") {
  const Instant now{10 * core::ageing_us};
  struct Row {
    const char* says;
    Waiting first, second;
  };
  const Row rows[] = {
      {"a class outweighs all else", {9, JobPriority::high, now, 100}, {1, JobPriority::normal, now, 0}},
      {"fewer running before older", {9, JobPriority::normal, now, 1}, {1, JobPriority::normal, now, 2}},
      {"the older of two that are even", {1, JobPriority::low, now, 3}, {2, JobPriority::low, now, 3}},
      {"age makes a class", {9, JobPriority::normal, Instant{0}, 0}, {1, JobPriority::high, now, 1}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(core::before(row.first, row.second, now));
    CHECK_FALSE(core::before(row.second, row.first, now));
  }
}

TEST_CASE("whose turn it is is one order: nobody is before itself, and before what it is behind") {
  std::vector<Waiting> jobs;
  for (const std::int64_t number : {1, 2})
    for (const JobPriority priority : {JobPriority::high, JobPriority::normal, JobPriority::low})
      for (const std::int64_t waited : {0, 1, 2})
        for (const std::uint64_t running : {std::uint64_t{0}, UINT64_MAX})
          jobs.push_back({number, priority, Instant{(5 - waited) * core::ageing_us}, running});
  const Instant now{5 * core::ageing_us};
  const auto even = [&](const Waiting& a, const Waiting& b) {
    return !core::before(a, b, now) && !core::before(b, a, now);
  };
  for (const Waiting& a : jobs) {
    REQUIRE_FALSE(core::before(a, a, now));
    for (const Waiting& b : jobs) {
      REQUIRE_FALSE((core::before(a, b, now) && core::before(b, a, now)));
      if (a.number != b.number) REQUIRE_FALSE(even(a, b));  // no two jobs wait for each other to go first
      for (const Waiting& c : jobs) {
        if (core::before(a, b, now) && core::before(b, c, now)) REQUIRE(core::before(a, c, now));
        if (even(a, b) && even(b, c)) REQUIRE(even(a, c));
      }
    }
  }
}
