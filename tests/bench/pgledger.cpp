#include "pgledger.hpp"

#include <cstdlib>
#include <stdexcept>

#if defined(CALYX_BENCH_HAVE_LIBPQ)

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

namespace calyx::bench {
namespace {

namespace fs = std::filesystem;

/// PostgreSQL refuses to run as root, so root hands its commands to this user.
constexpr const char* server_user = "postgres";
constexpr const char* runuser = "/usr/sbin/runuser";

/// The newest installed server's programs, or an empty path.
fs::path server_programs() {
  fs::path newest;
  int newest_version = 0;
  std::error_code ignored;
  for (const fs::directory_entry& each : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    const int version = std::atoi(each.path().filename().c_str());
    const fs::path programs = each.path() / "bin";
    if (version > newest_version && fs::exists(programs / "initdb", ignored) &&
        fs::exists(programs / "pg_ctl", ignored)) {
      newest_version = version;
      newest = programs;
    }
  }
  return newest;
}

fs::path checkout() {
  const char* path = std::getenv("CALYX_PGLEDGER");
  return path == nullptr ? fs::path() : fs::path(path);
}

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Runs a server program without a shell, in `folder`, its output in the file `log`. Gives its exit status.
int run_program(std::vector<std::string> words, const fs::path& folder, const fs::path& log) {
  if (geteuid() == 0) {
    const std::vector<std::string> first{runuser, "-u", server_user, "--"};
    words.insert(words.begin(), first.begin(), first.end());
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork: " + std::string(std::strerror(errno)));
  if (child == 0) {
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    // The server's own output must not mix with our lines of JSON.
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 ||
        chdir(folder.c_str()) != 0)
      _exit(126);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) throw std::runtime_error("waitpid: " + std::string(std::strerror(errno)));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

struct ResultDelete {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultHandle = std::unique_ptr<PGresult, ResultDelete>;

struct ConnectionDelete {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using ConnectionHandle = std::unique_ptr<PGconn, ConnectionDelete>;

ResultHandle checked(PGconn* connection, PGresult* raw) {
  ResultHandle result(raw);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
    throw std::runtime_error("postgresql: " + std::string(PQerrorMessage(connection)));
  return result;
}

ResultHandle query(PGconn* connection, const std::string& sql) {
  return checked(connection, PQexec(connection, sql.c_str()));
}

std::string decimal(std::int64_t micro) {
  char text[40];
  std::snprintf(text, sizeof text, "%lld.%06lld", static_cast<long long>(micro / 1'000'000),
                static_cast<long long>(micro % 1'000'000));
  return text;
}

}  // namespace

struct PgLedger::Cluster {
  fs::path programs;
  fs::path folder;  ///< Holds the data, the socket and the log; owned by the server's user.
  bool started = false;
  Accounts sizes;
  std::vector<std::string> available;
  std::vector<std::string> pending;
  std::vector<std::string> hosts;
  std::string platform;
  std::string outside;
  std::string gross, fee, net;
  std::uint64_t entries_before = 0;

  ~Cluster() {
    // Immediate: the data is thrown away, so a last checkpoint would be for nobody.
    if (started) {
      try {
        run_program({(programs / "pg_ctl").string(), "-D", (folder / "data").string(), "-m", "immediate",
                     "-w", "stop"},
                    folder, folder / "log");
      } catch (...) {
        // A destructor has nobody to tell; the folder's removal below stops the server in time.
      }
    }
    std::error_code ignored;
    if (!folder.empty()) fs::remove_all(folder, ignored);
  }

  ConnectionHandle connect() const {
    const std::string where = "host=" + folder.string() + " user=calyx dbname=postgres connect_timeout=10";
    ConnectionHandle connection(PQconnectdb(where.c_str()));
    if (PQstatus(connection.get()) != CONNECTION_OK)
      throw std::runtime_error("postgresql: " + std::string(PQerrorMessage(connection.get())));
    // Else each CREATE without an effect prints a notice on standard error.
    PQsetNoticeProcessor(
        connection.get(), [](void*, const char*) {}, nullptr);
    return connection;
  }

  void start(const fs::path& under) {
    programs = server_programs();
    std::string made = (under / "calyx-pg-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr)
      throw std::runtime_error("cannot make a folder under " + under.string());
    folder = made;
    if (geteuid() == 0) {
      const passwd* user = getpwnam(server_user);
      if (user == nullptr || chown(made.c_str(), user->pw_uid, user->pw_gid) != 0)
        throw std::runtime_error("root cannot hand " + made + " to the user postgres");
    }
    const fs::path log = folder / "log";
    const auto run_checked = [&](const char* program, std::vector<std::string> words) {
      words.insert(words.begin(), (programs / program).string());
      const int status = run_program(words, folder, log);
      if (status == 0) return;
      std::string said = contents(log);
      std::replace(said.begin(), said.end(), '\n', ' ');
      throw std::runtime_error(std::string(program) + " ended with " + std::to_string(status) + ": " + said);
    };
    // Only the making of the cluster skips its syncs; the server runs with fsync and synchronous_commit on.
    run_checked("initdb", {"-D", (folder / "data").string(), "-U", "calyx", "--auth=trust", "--encoding=UTF8",
                           "--no-locale", "--no-sync"});
    const std::string server = "-k '" + folder.string() + "' -c listen_addresses='' -c max_connections=30";
    // A start that gives up waiting may yet come to life, and then has to be stopped too.
    started = true;
    run_checked("pg_ctl", {"-D", (folder / "data").string(), "-l", (folder / "server.log").string(), "-o",
                           server, "-w", "-t", "60", "start"});
  }

  std::string account(PGconn* connection, const std::string& name, bool may_go_negative) const {
    const std::string sql = "SELECT id FROM pgledger_create_account('" + name +
                            "', 'FLOPS', allow_negative_balance => " + (may_go_negative ? "true" : "false") +
                            ")";
    const ResultHandle row = query(connection, sql);
    return PQgetvalue(row.get(), 0, 0);
  }

  static std::uint64_t count_entries(PGconn* connection) {
    const ResultHandle row = query(connection, "SELECT count(*) FROM pgledger_entries");
    return std::strtoull(PQgetvalue(row.get(), 0, 0), nullptr, 10);
  }

  void load(const Accounts& accounts) {
    sizes = accounts;
    gross = decimal(accounts.gross_micro);
    fee = decimal(accounts.fee_micro);
    net = decimal(accounts.gross_micro - accounts.fee_micro);
    const ConnectionHandle connection = connect();
    const ResultHandle durable =
        query(connection.get(), "SELECT current_setting('fsync'), current_setting('synchronous_commit')");
    if (std::string(PQgetvalue(durable.get(), 0, 0)) != "on" ||
        std::string(PQgetvalue(durable.get(), 0, 1)) != "on")
      throw std::runtime_error("the cluster does not sync its commits");
    const fs::path from = checkout();
    // The helpers for text ids come with pgledger, and have to be there first.
    for (const char* helper : {"ulid-to-uuid.sql", "uuid-to-ulid.sql"})
      query(connection.get(), contents(from / "vendor" / "scoville-pgsql-ulid" / helper));
    query(connection.get(), contents(from / "pgledger.sql"));

    query(connection.get(), "BEGIN");
    platform = account(connection.get(), "platform", false);
    outside = account(connection.get(), "outside", true);
    for (unsigned i = 0; i < accounts.hosts; ++i)
      hosts.push_back(account(connection.get(), "host." + std::to_string(i), false));
    for (unsigned i = 0; i < accounts.buyers; ++i) {
      const std::string name = "buyer." + std::to_string(i);
      available.push_back(account(connection.get(), name + ".available", false));
      pending.push_back(account(connection.get(), name + ".pending", false));
      query(connection.get(), "SELECT id FROM pgledger_create_transfer('" + outside + "', '" +
                                  available.back() + "', " + decimal(accounts.funded_micro) + ")");
    }
    query(connection.get(), "COMMIT");
    query(connection.get(), "ANALYZE");
    entries_before = count_entries(connection.get());
  }
};

struct PgLedger::Client::Connection {
  const Cluster* cluster = nullptr;
  ConnectionHandle handle;

  template <std::size_t n>
  void call(const char* statement, const std::array<const char*, n>& values) const {
    checked(handle.get(),
            PQexecPrepared(handle.get(), statement, static_cast<int>(n), values.data(), nullptr, nullptr, 0));
  }
  void hold(const PgPair& pair) const {
    call<3>("hold", {cluster->available[pair.buyer].c_str(), cluster->pending[pair.buyer].c_str(),
                     cluster->gross.c_str()});
  }
  void settle(const PgPair& pair) const {
    call<5>("settle", {cluster->pending[pair.buyer].c_str(), cluster->hosts[pair.host].c_str(),
                       cluster->net.c_str(), cluster->platform.c_str(), cluster->fee.c_str()});
  }
};

std::optional<std::string> PgLedger::why_not() {
  const fs::path from = checkout();
  std::error_code ignored;
  if (from.empty()) return "CALYX_PGLEDGER is not set";
  if (!fs::exists(from / "pgledger.sql", ignored)) return "CALYX_PGLEDGER holds no pgledger.sql";
  if (server_programs().empty()) return "no PostgreSQL server is installed under /usr/lib/postgresql";
  if (geteuid() == 0 && (getpwnam(server_user) == nullptr || access(runuser, X_OK) != 0))
    return "as root, PostgreSQL needs runuser and the user postgres";
  return std::nullopt;
}

PgLedger::PgLedger(const fs::path& folder, const Accounts& accounts) : cluster_(std::make_unique<Cluster>()) {
  cluster_->start(folder);
  cluster_->load(accounts);
}

PgLedger::~PgLedger() = default;

bool PgLedger::books_are_right(std::uint64_t pairs) {
  const ConnectionHandle connection = cluster_->connect();
  const ResultHandle row =
      query(connection.get(),
            "SELECT (SELECT sum(amount) FROM pgledger_entries) = 0 AND"
            " (SELECT sum(balance) FROM pgledger_accounts) = 0 AND"
            " (SELECT sum(balance) FROM pgledger_accounts WHERE name LIKE '%.pending') = 0");
  // A hold leaves two entries, a settlement in two legs four.
  return std::string(PQgetvalue(row.get(), 0, 0)) == "t" &&
         Cluster::count_entries(connection.get()) == cluster_->entries_before + 6 * pairs;
}

PgLedger::Client::Client(const PgLedger& ledger) : connection_(std::make_unique<Connection>()) {
  connection_->cluster = ledger.cluster_.get();
  connection_->handle = ledger.cluster_->connect();
  PGconn* handle = connection_->handle.get();
  checked(handle,
          PQprepare(handle, "hold",
                    "SELECT id FROM pgledger_create_transfer($1::text, $2::text, $3::numeric)", 0, nullptr));
  checked(handle,
          PQprepare(
              handle, "settle",
              "SELECT id FROM pgledger_create_transfers(($1::text, $2::text, $3::numeric)::transfer_request,"
              " ($1::text, $4::text, $5::numeric)::transfer_request)",
              0, nullptr));
  checked(handle, PQprepare(handle, "begin", "BEGIN", 0, nullptr));
  checked(handle, PQprepare(handle, "commit", "COMMIT", 0, nullptr));
}

PgLedger::Client::~Client() = default;
PgLedger::Client::Client(Client&&) noexcept = default;

void PgLedger::Client::pair(const PgPair& pair) {
  connection_->hold(pair);
  connection_->settle(pair);
}

void PgLedger::Client::pairs_in_one_transaction(const std::vector<PgPair>& pairs) {
  connection_->call<0>("begin", {});
  for (const PgPair& each : pairs) pair(each);
  connection_->call<0>("commit", {});
}

}  // namespace calyx::bench

#else  // Without libpq the driver stands, and says why it does nothing.

namespace calyx::bench {

struct PgLedger::Cluster {};
struct PgLedger::Client::Connection {};

std::optional<std::string> PgLedger::why_not() {
  if (std::getenv("CALYX_PGLEDGER") == nullptr) return "CALYX_PGLEDGER is not set";
  return "built without libpq";
}

PgLedger::PgLedger(const std::filesystem::path&, const Accounts&) {
  throw std::runtime_error("built without libpq");
}
PgLedger::~PgLedger() = default;
bool PgLedger::books_are_right(std::uint64_t) { return false; }
PgLedger::Client::Client(const PgLedger&) { throw std::runtime_error("built without libpq"); }
PgLedger::Client::~Client() = default;
PgLedger::Client::Client(Client&&) noexcept = default;
void PgLedger::Client::pair(const PgPair&) {}
void PgLedger::Client::pairs_in_one_transaction(const std::vector<PgPair>&) {}

}  // namespace calyx::bench

#endif
