#include "engine/projects.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "crypto/sha256.hpp"
#include "engine/job_market.hpp"
#include "engine/market.hpp"
#include "engine/pushes.hpp"
#include "engine/tarballs.hpp"
#include "store/scratch.hpp"
#include "testing.hpp"

using namespace calyx;
using testing::gzip;
using testing::JobMarket;
using testing::tar;
namespace json = core::json;

namespace {

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

constexpr const char* manifest =
    R"({"data_sources":[{"name":"weights","type":"huggingface","source":"org/model",
  "revision":"main","mount_path":"/models/weights"}],"cache_mounts":[{"name":"cache","mount_path":"/cache"}]})";

std::string first_push() {
  return gzip(tar({{"script.py", "print(1)\n", 0755},
                   {"computalot.project.json", manifest},
                   {"lib/old.py", "old"},
                   {"lib/kept.py", "kept"}}));
}

/// Made before the market that lies in it, and gone after it.
struct Home {
  store::Scratch scratch;
};

/// A market in a file, with a project of its payer.
struct ProjectMarket : Home, JobMarket {
  ProjectMarket() : JobMarket(in(scratch)), code{.name = "code", .wallet = payer} {
    const Result<Project> made =
        all.create_project({.name = "code", .remote_dir = "/root/code", .wallet = payer});
    REQUIRE_MESSAGE(made.ok(), made.error().message);
  }
  static Options in(const store::Scratch& folder) {
    Options options;
    options.path = folder / "m.db";
    return options;
  }
  Revision push(const std::string& bytes) {
    Result<Revision> pushed = all.push_project(code, bytes);
    REQUIRE_MESSAGE(pushed.ok(), pushed.error().message);
    return *std::move(pushed);
  }
  /// How many files lie below `name`, beside the market.
  std::size_t files_in(const std::string& name) const {
    std::size_t count = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch / name, ignored))
      if (entry.is_regular_file() && entry.file_size() != 0) ++count;
    return count;
  }
  json::Object project_job() const { return job(1, {{"project", "code"}}); }

  ProjectName code;
};

}  // namespace

TEST_CASE("CP-30, CP-31: a project is named once an account, changed, listed and deleted") {
  JobMarket market;
  const WalletId other = market.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  const Project made =
      market.all.create_project({.name = "p", .remote_dir = "/root/p", .wallet = market.payer}).value();
  CHECK(made.name == "p");
  CHECK(made.wallet == market.payer);
  CHECK(made.created_at.us == market.now_us);
  CHECK(made.active_revision == 0);
  CHECK(market.all.create_project({.name = "p", .wallet = market.payer}).reason() == Reason::project_exists);
  CHECK(market.all.create_project({.name = "p", .wallet = other}).ok());
  CHECK(market.all.create_project({.name = "p"}).ok());  // nobody's
  for (const char* name : {"", ".", "..", "-p", "a/b", "a b", "\xC3\xA4"})
    CHECK(market.all.create_project({.name = name, .wallet = other}).reason() == Reason::field_value);
  CHECK(market.all.create_project({.name = std::string(128, 'p'), .wallet = other}).ok());
  CHECK(market.all.create_project({.name = std::string(129, 'p'), .wallet = other}).reason() ==
        Reason::field_value);

  const ProjectName p{.name = "p", .wallet = market.payer};
  CHECK(market.all.change_project(p, {.description = "mine"}).value().description == "mine");
  CHECK(market.all.project(p).value().remote_dir == "/root/p");
  CHECK(market.all.change_project(p, {.remote_dir = std::string(1025, 'x')}).reason() == Reason::field_value);

  CHECK(market.all.projects().value().items.size() == 4);
  CHECK(market.all.projects({}, other).value().items.size() == 2);
  const Listed<Project> page = market.all.projects({.limit = 3}).value();
  CHECK(page.items.size() == 3);
  CHECK(market.all.projects({.after = page.next, .limit = 3}).value().items.size() == 1);

  CHECK(market.all.kv_put(p, {.key = "k", .value = json::Value(1)}).ok());
  CHECK(market.all.delete_project(p).ok());
  CHECK(market.all.project(p).reason() == Reason::project_unknown);
  CHECK(market.all.delete_project(p).reason() == Reason::project_unknown);
  CHECK(market.all.projects().value().items.size() == 3);
  CHECK(market.all.create_project({.name = "p", .wallet = market.payer}).ok());
  CHECK(market.all.kv_get(p, "k").reason() == Reason::kv_unknown);
  CHECK(market.all.push_project(p, first_push()).reason() == Reason::unsupported);  // in memory
  market.check_books();
}

TEST_CASE("CP-32, CP-33, CP-34: a push publishes a revision, says what changed, and jobs are taken at once") {
  if (!testing::pushes("engine.projects.push")) return;
  ProjectMarket market;
  ProjectStatus status = market.all.project_status(market.code).value();
  CHECK_FALSE(status.can_accept_new_jobs);
  CHECK(status.revision_state == RevisionState::none);
  CHECK(market.all.project_status_details(market.code).value().diagnostics[0].code == "nothing_pushed");

  const std::string bytes = first_push();
  const Revision first = market.push(bytes);
  CHECK(first.number == 1);
  CHECK(first.size == bytes.size());
  CHECK(first.sha256 == crypto::Sha256{}(bytes));
  REQUIRE(first.files.size() == 4);
  CHECK(first.files[0].path == "computalot.project.json");
  CHECK(first.files[3].path == "script.py");
  CHECK(first.files[3].mode == 0755);
  CHECK(first.files[3].sha256 == crypto::Sha256{}("print(1)\n"));
  CHECK(first.manifest.find("data_sources")->array()->size() == 1);
  CHECK(first.tarball_diff.added.size() == 4);

  status = market.all.project_status(market.code).value();
  CHECK(status.can_accept_new_jobs);
  CHECK_FALSE(status.ready_for_jobs);  // the first job prepares it
  CHECK(status.active_revision == 1);
  CHECK(status.revision_state == RevisionState::published);
  const JobId early = market.submit(market.project_job());

  // By pieces of one byte, as a slow sender has them.
  const std::string changed = gzip(tar({{"script.py", "print(1)\n", 0644},
                                        {"computalot.project.json", "{}"},
                                        {"lib/kept.py", "kept"},
                                        {"lib/new.py", "new"}}));
  std::size_t at = 0;
  const Result<Revision> second =
      market.all.push_project(market.code, [&](std::span<char> out) -> Result<std::size_t> {
        if (at == changed.size()) return std::size_t{0};
        out[0] = changed[at++];
        return std::size_t{1};
      });
  REQUIRE(second.ok());
  CHECK(second->number == 2);
  CHECK(second->tarball_diff.added == std::vector<std::string>{"lib/new.py"});
  CHECK(second->tarball_diff.removed == std::vector<std::string>{"lib/old.py"});
  CHECK(second->tarball_diff.changed ==
        std::vector<std::string>{"computalot.project.json", "script.py"});  // its mode
  CHECK(market.all.project_status_details(market.code).value().revision->number == 2);

  // A job keeps the revision that it was submitted with.
  CHECK(market.now(early).revision == 1);
  CHECK(market.now(market.submit(market.project_job())).revision == 2);
  CHECK(market.lease().revision == 1);
  CHECK(market.files_in("m.db-artifacts") == 2);
  CHECK(market.files_in("m.db-projects") == 0);  // nothing is unpacked before it is used

  // Whoever runs a job gets its revision's files, made once for all who ask.
  const core::AccountNumber account = core::wallet_first;  // the payer's
  std::array<std::string, 4> folders;
  std::vector<std::thread> all;
  for (std::string& folder : folders)
    all.emplace_back([&] {
      const auto beside = Market::open(ProjectMarket::in(market.scratch)).value();
      folder = engine::project_folder(*beside, account, "code", 1).value().path;
    });
  for (std::thread& one : all) one.join();
  for (const std::string& folder : folders) CHECK(folder == folders[0]);
  CHECK(market.files_in("m.db-projects") == 4);
  CHECK(read(folders[0] + "/lib/old.py") == "old");
  const auto beside = Market::open(ProjectMarket::in(market.scratch)).value();
  CHECK_FALSE(market.all.project_status(market.code).value().ready_for_jobs);  // the active one is another
  CHECK(read(engine::project_folder(*beside, account, "code", 2).value().path + "/lib/new.py") == "new");
  CHECK(market.all.project_status(market.code).value().ready_for_jobs);
  CHECK(engine::project_folder(*beside, account, "code", 3).reason() == Reason::project_unknown);
  CHECK(engine::project_folder(*beside, account, "other", 1).reason() == Reason::project_unknown);
  CHECK(market.all.delete_project(market.code).ok());
  CHECK(engine::project_folder(*beside, account, "code", 1).value().path == folders[0]);
  market.check_books();
}

TEST_CASE("CP-46: a submit names a project of its payer's that was pushed to") {
  ProjectMarket market;
  const auto submit = [&](const char* project) {
    return market.all.submit_job({.job = JobMarket::job(1, {{"project", project}}), .wallet = market.payer});
  };
  const Result<JobSubmitted> early = submit("code");
  CHECK(early.reason() == Reason::project_not_ready);
  CHECK(*early.error().details.find("field")->string() == "/project");
  for (const char* none : {"other", "a/b"}) {
    const Result<JobSubmitted> refused = submit(none);
    CHECK(refused.reason() == Reason::project_unknown);
    CHECK(*refused.error().details.find("field")->string() == "/project");
  }
  if (!testing::pushes("engine.projects.submit")) return;
  market.push(first_push());
  CHECK(submit("code").ok());
  const WalletId other = market.all.create_wallet({.owner_id = "other"}).value().wallet.id;
  CHECK(market.all.submit_job({.job = market.project_job(), .wallet = other}).reason() ==
        Reason::project_unknown);
  CHECK(market.all.submit_job({.job = market.project_job()}).reason() == Reason::project_unknown);
  CHECK(market.all.delete_project(market.code).ok());
  CHECK(submit("code").reason() == Reason::project_unknown);
}

TEST_CASE("CP-44: a tarball or a manifest that is refused leaves everything as it was") {
  if (!testing::pushes("engine.projects.refused")) return;
  ProjectMarket market;
  market.push(first_push());
  const std::size_t blobs = market.files_in("m.db-artifacts");
  struct Row {
    const char* says;
    std::string bytes;
    Reason reason;
    const char* key;
    const char* value;
  };
  const auto with_manifest = [](const std::string& text) {
    return gzip(tar({{"computalot.project.json", text}}));
  };
  std::string too_many;
  for (std::size_t i = 0; i <= manifest_items_max; ++i)
    too_many += std::string(i == 0 ? "" : ",") + R"({"name":"c)" + std::to_string(i) +
                R"(","mount_path":"/c)" + std::to_string(i) + R"("})";
  const Row rows[] = {
      {"a way out", gzip(tar({{"../out", "x"}})), Reason::archive_refused, "rule", "parent_folder"},
      {"an absolute path", gzip(tar({{"/out", "x"}})), Reason::archive_refused, "rule", "absolute"},
      {"a link", gzip(tar({{"link", "/etc", 0777, '2'}})), Reason::archive_refused, "rule", "symbolic_link"},
      {"nothing", "", Reason::archive_refused, "rule", "empty"},
      {"no archive", "hello", Reason::archive_refused, "rule", "not_an_archive"},
      {"half of one", first_push().substr(0, 700), Reason::archive_refused, "rule", nullptr},
      {"a manifest that is no JSON", with_manifest("{"), Reason::field_value, "file",
       "computalot.project.json"},
      {"one that is a list", with_manifest("[]"), Reason::field_type, "field", ""},
      {"an unknown member", with_manifest(R"({"mounts":[]})"), Reason::field_unknown, "field", "/mounts"},
      {"one that is no list", with_manifest(R"({"cache_mounts":{}})"), Reason::field_type, "field",
       "/cache_mounts"},
      {"a name that is missing", with_manifest(R"({"cache_mounts":[{"mount_path":"/c"}]})"),
       Reason::field_missing, "field", "/cache_mounts/0/name"},
      {"a way up", with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/c/../d"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/mount_path"},
      {"a name that is a path", with_manifest(R"({"cache_mounts":[{"name":"../c","mount_path":"/c"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/name"},
      {"a name that is a folder's", with_manifest(R"({"cache_mounts":[{"name":"..","mount_path":"/c"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/name"},
      {"a place of calyx's", with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/calyx/task"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/mount_path"},
      {"one more than a list takes", with_manifest(R"({"cache_mounts":[)" + too_many + "]}"),
       Reason::field_value, "field", "/cache_mounts"},
      {"a container's own", with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/tmp"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/mount_path"},
      {"a place below it, and one of the system's",
       with_manifest(
           R"({"cache_mounts":[{"name":"b","mount_path":"/tmp/b"},{"name":"c","mount_path":"/sys"}]})"),
       Reason::field_value, "field", "/cache_mounts/1/mount_path"},
      {"a place of the system's", with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/proc"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/mount_path"},
      {"a place that tools would part",
       with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/c,readonly"}]})"), Reason::field_value,
       "field", "/cache_mounts/0/mount_path"},
      {"one in another",
       with_manifest(R"({"cache_mounts":[{"name":"a","mount_path":"/c"},{"name":"b","mount_path":"/c/d"}]})"),
       Reason::field_value, "field", "/cache_mounts/1/mount_path"},
      {"one around another, of another list",
       with_manifest(R"({"data_sources":[{"name":"a","type":"url","source":"s","mount_path":"/c/d"}],)"
                     R"("cache_mounts":[{"name":"a","mount_path":"/c"}]})"),
       Reason::field_value, "field", "/cache_mounts/0/mount_path"},
      {"another type",
       with_manifest(R"({"data_sources":[{"name":"c","type":"ftp","source":"s","mount_path":"/c"}]})"),
       Reason::field_value, "field", "/data_sources/0/type"},
      {"an unknown member of an item",
       with_manifest(R"({"cache_mounts":[{"name":"c","mount_path":"/c","x":1}]})"), Reason::field_unknown,
       "field", "/cache_mounts/0/x"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    const Result<Revision> pushed = market.all.push_project(market.code, row.bytes);
    REQUIRE(pushed.reason() == row.reason);
    const json::Value* found = pushed.error().details.find(row.key);
    REQUIRE(found != nullptr);
    if (row.value != nullptr) CHECK(*found->string() == row.value);
    CHECK(market.all.project_status(market.code).value().active_revision == 1);
    CHECK(market.files_in("m.db-artifacts") == blobs);
    CHECK(market.files_in("m.db-projects") == 0);
  }
  // A sender that gives up.
  CHECK(market.all
            .push_project(
                market.code,
                [](std::span<char>) -> Result<std::size_t> { return fail(Reason::stopped, "enough"); })
            .reason() == Reason::stopped);
  CHECK(market.files_in("m.db-artifacts") == blobs);
  CHECK(market.push(first_push()).number == 2);
  market.check_books();
}

TEST_CASE("CP-32: a push whose tarball comes slowly holds no other push, and what a crash left goes") {
  if (!testing::pushes("engine.projects.slow")) return;
  ProjectMarket market;
  const std::string home = market.scratch / "m.db-projects/1";
  for (const char* left : {"/incoming/lib", "/incoming-AbCdEf/files/lib"})
    std::filesystem::create_directories(home + left);
  std::ofstream(home + "/incoming-AbCdEf/lock") << "";
  std::atomic<bool> begun{false}, go_on{false};
  Session other = market.engine.as_operator();
  const std::string bytes = first_push();
  std::string_view rest = bytes;
  std::int64_t late = 0;
  std::thread slow([&] {
    late = other
               .push_project(market.code,
                             [&](std::span<char> out) -> Result<std::size_t> {
                               // Not for ever, so that a push that waits for this one is a failure, too.
                               for (int i = 0; begun.exchange(true) && !go_on && i < 20'000; ++i)
                                 std::this_thread::sleep_for(std::chrono::milliseconds(1));
                               const std::size_t some =
                                   rest.copy(out.data(), std::min<std::size_t>(out.size(), 700));
                               rest.remove_prefix(some);
                               return some;
                             })
               .value()
               .number;
  });
  while (!begun) std::this_thread::yield();
  const auto left_over = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(home))
      if (entry.path().filename().string().starts_with("incoming"))
        names.insert(entry.path().filename().string());
    return names;
  };
  CHECK(market.push(first_push()).number == 1);
  CHECK(left_over().size() == 1);  // the slow one's
  CHECK(left_over().count("incoming-AbCdEf") == 0);
  CHECK(market.push(first_push()).number == 2);
  go_on = true;
  slow.join();
  CHECK(late == 3);
  CHECK(left_over().empty());
  CHECK(market.all.project_status(market.code).value().active_revision == 3);
  market.check_books();
}

TEST_CASE(
    "CP-35, CP-40, CP-41: an init is free, needs a balance, and prepares the revision; invalidated, it is "
    "prepared anew") {
  if (!testing::pushes("engine.projects.init")) return;
  ProjectMarket market;
  CHECK(market.all.init_project(market.code).reason() == Reason::project_not_ready);
  market.push(first_push());
  const auto set_balance = [&](std::int64_t micro) {
    const WalletId sink = market.all.create_wallet({.owner_id = "sink"}).value().wallet.id;
    CHECK(market.all
              .transfer({.from = market.payer, .to = sink, .amount = Money{market.balance().micro - micro}})
              .ok());
  };
  set_balance(init_balance_min.micro - 1);
  const Result<ProjectStatus> poor = market.all.init_project(market.code);
  REQUIRE(poor.reason() == Reason::insufficient_balance);
  CHECK(json::text(*poor.error().details.find("shortfall")) == core::wire_text(Money{1}));
  CHECK_FALSE(market.all.project_status(market.code).value().ready_for_jobs);

  CHECK(market.all.topup({.wallet = market.payer, .amount = Money{1}}).ok());
  CHECK(market.all.init_project(market.code).value().ready_for_jobs);
  CHECK(market.balance() == init_balance_min);
  const std::string folder = engine::projects_path(market.scratch / "m.db") + "/1/1";
  CHECK(read(folder + "/script.py") == "print(1)\n");
  CHECK(market.all.init_project(market.code).value().revision_state == RevisionState::warm);

  const ProjectStatus invalidated = market.all.invalidate_project(market.code).value();
  CHECK(invalidated.can_accept_new_jobs);
  CHECK_FALSE(invalidated.ready_for_jobs);
  CHECK(invalidated.revision_state == RevisionState::invalidated);
  CHECK(market.all.project_status_details(market.code).value().diagnostics[0].code == "invalidated");
  std::ofstream(folder + "/script.py") << "print(2)\n";
  std::filesystem::remove(folder + "/lib/old.py");
  CHECK(market.all.init_project(market.code).value().ready_for_jobs);
  CHECK(read(folder + "/script.py") == "print(1)\n");
  CHECK(read(folder + "/lib/old.py") == "old");

  // What is gone from the disk is told, and mended by the next push.
  std::filesystem::remove_all(market.scratch / "m.db-artifacts");
  CHECK(market.all.project_status_details(market.code).value().diagnostics[0].code == "tarball_missing");
  CHECK(market.all.invalidate_project(market.code).ok());
  std::filesystem::remove_all(folder);
  CHECK(market.all.init_project(market.code).reason() == Reason::artifact_unknown);
  market.push(first_push());
  CHECK(market.all.init_project(market.code).value().ready_for_jobs);
  market.check_books();
}

TEST_CASE("a project is its account's: its own key, its parent's and an operator's reach it") {
  ProjectMarket market;
  const auto human = [&](const char* name) { return market.all.create_wallet({.owner_id = name}).value(); };
  const WalletCreated parent = human("parent"), stranger = human("stranger");
  const WalletCreated agent =
      market.all
          .create_wallet({.owner_type = OwnerType::agent, .owner_id = "agent", .parent = parent.wallet.id})
          .value();
  Session own = market.engine.session(agent.api_key).value();
  Session above = market.engine.session(parent.api_key).value();
  Session beside = market.engine.session(stranger.api_key).value();
  CHECK(own.create_project({.name = "mine"}).value().wallet == agent.wallet.id);

  const ProjectName mine{.name = "mine"}, named{.name = "mine", .wallet = agent.wallet.id};
  CHECK(own.project(mine).ok());
  CHECK(above.project(mine).reason() == Reason::project_unknown);  // of its own account
  CHECK(above.project(named).ok());
  CHECK(above.projects().value().items.size() == 1);
  CHECK(market.all.project(named).ok());
  CHECK(beside.projects().value().items.empty());
  CHECK(beside.projects({}, agent.wallet.id).reason() == Reason::not_your_wallet);
  CHECK(beside.create_project({.name = "x", .wallet = agent.wallet.id}).reason() == Reason::not_your_wallet);
  CHECK(own.kv_put(mine, {.key = "k", .value = json::Value(1)}).ok());
  for (const ProjectName& name : {mine, named}) {
    CHECK(beside.project(name).reason() == Reason::project_unknown);
    CHECK(beside.change_project(name, {}).reason() == Reason::project_unknown);
    CHECK(beside.delete_project(name).reason() == Reason::project_unknown);
    CHECK(beside.push_project(name, "x").reason() == Reason::project_unknown);
    CHECK(beside.project_status(name).reason() == Reason::project_unknown);
    CHECK(beside.project_status_details(name).reason() == Reason::project_unknown);
    CHECK(beside.init_project(name).reason() == Reason::project_unknown);
    CHECK(beside.invalidate_project(name).reason() == Reason::project_unknown);
    CHECK(beside.kv_get(name, "k").reason() == Reason::project_unknown);
    CHECK(beside.kv_put(name, {.key = "k"}).reason() == Reason::project_unknown);
  }
  CHECK(above.kv_get(named, "k").ok());
  CHECK(above.delete_project(named).ok());
}

TEST_CASE("CP-42: what a project shares has versions, and of those who saw one version one goes on from it") {
  JobMarket market;
  CHECK(market.all.create_project({.name = "p", .wallet = market.payer}).ok());
  const ProjectName p{.name = "p", .wallet = market.payer};
  CHECK(market.all.kv_get(p, "count").reason() == Reason::kv_unknown);
  const Result<KvEntry> missing =
      market.all.kv_put(p, {.key = "count", .value = json::Value(0), .version = 1});
  CHECK(missing.reason() == Reason::kv_changed);
  CHECK(*missing.error().details.find("version")->integer() == 0);
  CHECK(market.all.kv_put(p, {.key = "count", .value = json::Value(0), .version = 0}).value().version == 1);
  CHECK(market.all.kv_put(p, {.key = "other", .value = json::object({{"a", 1}})}).value().version == 1);
  CHECK(market.all.kv_put(p, {.key = "other", .value = json::object({{"a", 2}})}).value().version == 2);
  CHECK(*market.all.kv_get(p, "other").value().value.find("a")->integer() == 2);

  constexpr int threads = 8, each = 25;
  std::array<std::atomic<int>, threads * each + 2> winners{};
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i)
    all.emplace_back([&] {
      for (int done = 0; done < each;) {
        const KvEntry seen = market.all.kv_get(p, "count").value();
        const Result<KvEntry> put = market.all.kv_put(
            p, {.key = "count", .value = json::Value(*seen.value.integer() + 1), .version = seen.version});
        if (put.ok()) {
          ++winners[static_cast<std::size_t>(put->version)];
          ++done;
        } else if (put.reason() != Reason::kv_changed) {
          return;
        }
      }
    });
  for (std::thread& one : all) one.join();
  const KvEntry last = market.all.kv_get(p, "count").value();
  CHECK(last.version == threads * each + 1);
  CHECK(*last.value.integer() == threads * each);
  for (std::size_t version = 2; version < winners.size(); ++version) CHECK(winners[version] == 1);

  CHECK(market.all.kv_put(p, {.key = "", .value = json::Value(1)}).reason() == Reason::field_value);
  const auto put_text = [&](std::size_t bytes) {
    return market.all.kv_put(p, {.key = "text", .value = json::Value(std::string(bytes - 2, 'x'))}).reason();
  };
  CHECK(put_text(kv_value_bytes_max) == Reason::none);
  CHECK(put_text(kv_value_bytes_max + 1) == Reason::field_value);
  market.check_books();
}

TEST_CASE("projects stand after a restart, and a job's revision outlives its project") {
  if (!testing::pushes("engine.projects.restart")) return;
  store::Scratch scratch;
  Options options;
  options.path = scratch / "m.db";
  JobId id;
  WalletId payer;
  {
    JobMarket market(options);
    payer = market.payer;
    const ProjectName code{.name = "code", .wallet = payer};
    CHECK(market.all.create_project({.name = "code", .wallet = payer}).ok());
    CHECK(market.all.push_project(code, first_push()).ok());
    CHECK(market.all.kv_put(code, {.key = "k", .value = json::Value("v")}).ok());
    id = market.submit(JobMarket::job(1, {{"project", "code"}}));
  }
  Engine engine = Engine::open(options).value();
  Session all = engine.as_operator();
  const ProjectName code{.name = "code", .wallet = payer};
  CHECK(all.project(code).value().active_revision == 1);
  CHECK(*all.kv_get(code, "k").value().value.string() == "v");
  CHECK(all.job(id).value().revision == 1);
  CHECK(all.delete_project(code).ok());
  CHECK(all.create_project({.name = "code", .wallet = payer}).ok());
  CHECK(all.project_status(code).value().active_revision == 0);
  CHECK(all.push_project(code, first_push()).value().number == 2);  // never the 1 of before
  CHECK(all.push_project(code, first_push()).value().tarball_diff.added.empty());
  CHECK(all.job(id).value().revision == 1);
  const AuditReport report = all.audit({}, AuditDepth::each).value();
  CHECK_MESSAGE(report.ok, report.first_fault);
}
