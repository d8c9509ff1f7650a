#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <calyx/engine.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/market.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using store::Scratch;

namespace {

constexpr std::uintmax_t log_header_bytes = 32, frame_bytes = 24 + 4'096;  // SQLite's file format, section 4
constexpr std::uintmax_t restart_frames = 8'000;  // after which the engine starts the log anew

/// How often the log was started anew: the checkpoint sequence number in its header.
std::uint32_t starts(const std::string& log) {
  constexpr std::streamoff number_offset = 12;
  std::array<unsigned char, 4> bytes{};
  std::ifstream in(log, std::ios::binary);
  in.seekg(number_offset);
  in.read(reinterpret_cast<char*>(bytes.data()), bytes.size());
  REQUIRE(in.good());
  return static_cast<std::uint32_t>(bytes[0]) << 24 | static_cast<std::uint32_t>(bytes[1]) << 16 |
         static_cast<std::uint32_t>(bytes[2]) << 8 | bytes[3];
}
std::uintmax_t frames(const std::string& log) {
  return (std::filesystem::file_size(log) - log_header_bytes) / frame_bytes;
}

/// Two readers of whom one is always inside: each leaves when the other has come. Where that one is kept out
/// it leaves too, in a moment.
class Overlapping {
 public:
  explicit Overlapping(Market& market) : market_(market) {
    for (const std::size_t me : {0U, 1U}) threads_[me] = std::thread([this, me] { read(me); });
  }
  Overlapping(const Overlapping&) = delete;
  Overlapping& operator=(const Overlapping&) = delete;
  ~Overlapping() { stop(); }

  void stop() {
    stop_.store(true);
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }
  std::uint64_t looks() const { return come_[0].load() + come_[1].load(); }
  std::uint64_t wrong() const { return wrong_.load(); }

 private:
  void read(std::size_t me) {
    while (!stop_.load()) {
      const auto looked = market_.history([&](store::MarketStore& store) -> Result<Done> {
        CALYX_TRY(const services::Seq first, store.last_seq());
        const std::uint64_t seen = come_[1 - me].load();
        come_[me].fetch_add(1);
        constexpr int naps = 50;
        for (int i = 0; i < naps && come_[1 - me].load() == seen && !stop_.load(); ++i)
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        CALYX_TRY(const services::Seq again, store.last_seq());
        if (first != again) return fail(Reason::internal, "a snapshot moved");
        return Done{};
      });
      if (!looked.ok()) wrong_.fetch_add(1);
    }
  }

  Market& market_;
  std::atomic<bool> stop_{false};
  std::array<std::atomic<std::uint64_t>, 2> come_{};
  std::atomic<std::uint64_t> wrong_{0};
  std::array<std::thread, 2> threads_;
};

}  // namespace

TEST_CASE(
    "while readers overlap without end the log is started anew all the same, and its file stays small") {
  const Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  options.synchronous_normal = true;  // thousands of commits, of which none is to survive anything
  const std::unique_ptr<Market> market = Market::open(options).value();
  const std::string log = options.path + "-wal";
  const auto commit = [&](auto decide) {
    return market->write([&](services::Transaction& tx) { return decide(tx, Principal{}); }).value();
  };
  const WalletId wallet = commit([](services::Transaction& tx, const Principal& all) {
                            return services::create_wallet(tx, all, {.owner_id = "alice"});
                          }).wallet.id;
  const std::uint32_t before = starts(log);
  const std::uint32_t wanted = testing::by_scale(1U, 2U, 20U);

  Overlapping readers(*market);
  // Once the machine may have kept a reader inside for too long; not every time.
  constexpr std::uintmax_t enough = 3 * restart_frames;
  std::uint64_t commits = 0;
  while (starts(log) - before < wanted && frames(log) < enough) {
    for (int i = 0; i < 50; ++i, ++commits)
      commit([&](services::Transaction& tx, const Principal& all) {
        return services::topup(tx, all, {.wallet = wallet, .amount = Money{1}});
      });
  }
  readers.stop();
  CHECK(starts(log) - before >= wanted);
  CHECK(frames(log) < 2 * restart_frames + 1'000);
  CHECK(readers.wrong() == 0);
  CHECK(readers.looks() > 100);
  testing::told("the log with readers that overlap", std::to_string(commits) + " commits, at most " +
                                                         std::to_string(frames(log)) + " frames, " +
                                                         std::to_string(readers.looks()) + " looks");
  const auto balance = market->read(
      [&](const services::Book& book, Instant) -> Result<Money> { return book.find(wallet)->balance; });
  CHECK(balance.value() == Money{static_cast<std::int64_t>(commits)});
}
