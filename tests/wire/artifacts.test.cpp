// Artifacts over the wire, in a market with a file: puts, ranges, tickets, parts, and who may what.
#include <filesystem>

#include "crypto/sha256.hpp"
#include "store/scratch.hpp"
#include "wire/client.hpp"
#include "wire/router.hpp"

using namespace wire_test;
namespace wire = calyx::wire;

namespace {

std::string hash_of(std::string_view bytes) { return calyx::core::hex(calyx::crypto::Sha256{}(bytes)); }

/// A market in a file, which can be closed and opened again, with Alice, her agent, and Bob.
struct Shop {
  calyx::store::Scratch scratch;
  std::int64_t now_us = 1'800'000'000'000'000;
  std::unique_ptr<calyx::Engine> engine;
  std::string op, alice, agent, bob, agent_id;

  Shop() {
    open();
    op = engine->issue_operator_key("tests").value().api_key;
    calyx::Session all = engine->as_operator();
    const calyx::WalletCreated owner = all.create_wallet({.owner_id = "alice"}).value();
    alice = owner.api_key;
    const calyx::WalletCreated bot =
        all.create_wallet(
               {.owner_type = calyx::OwnerType::agent, .owner_id = "bot", .parent = owner.wallet.id})
            .value();
    agent = bot.api_key;
    agent_id = bot.wallet.id.text();
    bob = all.create_wallet({.owner_id = "bob"}).value().api_key;
  }
  void open() {
    engine.reset();
    calyx::Options options;
    options.path = scratch / "m.db";
    options.now_us = [this] { return now_us; };
    engine = std::make_unique<calyx::Engine>(calyx::Engine::open(std::move(options)).value());
  }
  Answer send(const char* method, const std::string& target, const std::string& key, std::string body = {},
              calyx::HeaderFields headers = {}) {
    if (!key.empty()) headers.push_back({"X-API-Key", key});
    const calyx::Response response =
        calyx::handle(*engine, {method, target, std::move(headers), std::move(body)});
    Answer out{response.status, response.headers, response.body, {}};
    for (calyx::BodyPiece piece; response.stream != nullptr;) {
      piece = response.stream->next(std::chrono::milliseconds(0));
      if (piece.kind == calyx::BodyPiece::Kind::end) break;
      CHECK(piece.bytes.size() <= (std::size_t{256} << 10));
      out.body += piece.bytes;
      ++pieces;
    }
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  }
  Answer put(const std::string& key, std::string bytes, const std::string& query = "?name=a.bin") {
    return send("POST", "/api/v1/artifacts" + query, key, std::move(bytes));
  }
  Answer range(const std::string& id, const std::string& asked) {
    return send("GET", "/api/v1/artifacts/" + id, alice, {}, {{"Range", asked}});
  }
  std::size_t blobs() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch / "m.db-artifacts"))
      if (entry.is_regular_file() && entry.path().filename() != "lock") ++count;
    return count;
  }
  std::size_t pieces = 0;
};

const std::string artifacts = "/api/v1/artifacts";

}  // namespace

TEST_CASE(
    "CP-103, CP-104: an artifact is put, listed and downloaded by its owner, and is not there for a "
    "stranger") {
  Shop shop;
  const Answer made =
      shop.put(shop.alice, "hello", "?name=dir%2F..%2Fmy%20file%22.txt&sha256=" + hash_of("hello"));
  REQUIRE_MESSAGE(made.status == 201, made.body);
  CHECK(made.members() == "artifact_id id wallet_id name size sha256 created_at job_id task");
  CHECK(made.at("size") == "5");
  CHECK(made.at("sha256") == hash_of("hello"));
  CHECK(made.at("job_id") == "null");
  const std::string path = artifacts + "/" + made.at("artifact_id");

  const Answer got = shop.send("GET", path, shop.alice);
  CHECK(got.status == 200);
  CHECK(got.body == "hello");
  CHECK(got.header("Content-Type") == "application/octet-stream");
  CHECK(got.header("Content-Disposition") == "attachment; filename=\"my_file_.txt\"");
  CHECK(got.header("X-Content-Type-Options") == "nosniff");
  CHECK(got.header("Accept-Ranges") == "bytes");
  CHECK(got.header("ETag") == '"' + hash_of("hello") + '"');
  CHECK(shop.send("GET", path, shop.op).body == "hello");

  const Answer stranger = shop.send("GET", path, shop.bob);
  CHECK(stranger.status == 404);
  std::string unknown = made.at("artifact_id");
  unknown.back() = unknown.back() == '0' ? '1' : '0';
  const Answer nothing = shop.send("GET", artifacts + "/" + unknown, shop.bob);
  CHECK(nothing.status == 404);
  CHECK(nothing.code() == stranger.code());
  CHECK(nothing.code() == "artifact_unknown");
  CHECK(shop.send("GET", path, shop.agent).status == 404);  // a parent's is not its agent's
  CHECK(shop.send("GET", artifacts, shop.bob).at("artifacts") == "[]");

  // The same bytes are stored once, under as many names as one likes.
  const Answer again = shop.put(shop.agent, "hello", "");
  CHECK(again.at("name") == "artifact");
  CHECK(shop.blobs() == 1);
  CHECK(shop.send("GET", artifacts + "/" + again.at("id"), shop.alice).body == "hello");
  const Answer listed = shop.send("GET", artifacts + "?limit=1", shop.alice);
  CHECK(listed.at("artifacts.0.id") == again.at("id"));
  const Answer rest = shop.send("GET", artifacts + "?after=" + listed.at("next_cursor"), shop.alice);
  CHECK(rest.at("artifacts.0.id") == made.at("id"));
  CHECK(rest.at("next_cursor") == "null");
  CHECK(shop.send("GET", artifacts + "?wallet_id=" + shop.agent_id, shop.alice).at("artifacts.1") ==
        "absent");
  CHECK(shop.send("GET", artifacts + "?limit=0", shop.alice).status == 422);

  shop.open();
  CHECK(shop.send("GET", path, shop.alice).body == "hello");
  CHECK(shop.engine->as_operator().audit().value().ok);
}

TEST_CASE("CP-104: what is said of an artifact is held against its bytes, and a key means one thing") {
  Shop shop;
  const Answer other = shop.put(shop.alice, "hello", "?name=a&sha256=" + hash_of("bye"));
  CHECK(other.status == 422);
  CHECK(other.code() == "content_mismatch");
  CHECK(shop.blobs() == 0);
  CHECK(shop.put(shop.alice, "x", "?name=a&sha256=zz").field() == "sha256");
  CHECK(shop.put(shop.alice, "x", "?name=").field() == "/name");
  CHECK(shop.put(shop.alice, "x", "?name=a%0Ab").field() == "/name");
  CHECK(shop.put(shop.alice, "x", "?nom=a").code() == "field_unknown");
  CHECK(shop.put(shop.bob, "x", "?name=a&wallet_id=" + shop.agent_id).status == 403);
  const auto once = [&](const std::string& bytes) {
    return shop.send("POST", artifacts + "?name=a", shop.alice, bytes, {{"Idempotency-Key", "k"}});
  };
  const Answer first = once("1");
  CHECK(first.status == 201);
  CHECK(once("1").at("id") == first.at("id"));
  CHECK(once("1").replayed());
  CHECK(once("2").code() == "key_reused");
  CHECK(shop.put(shop.alice, "", "?name=empty").at("size") == "0");
}

TEST_CASE("CP-103: a range is one range of bytes, and what cannot be one is the whole") {
  Shop shop;
  const std::string id = shop.put(shop.alice, "0123456789").at("id");
  struct Row {
    const char* asked;
    int status;
    const char* body;
    const char* content_range;
  };
  const Row rows[] = {
      {"bytes=0-0", 206, "0", "bytes 0-0/10"},
      {"bytes=2-5", 206, "2345", "bytes 2-5/10"},
      {"bytes=7-", 206, "789", "bytes 7-9/10"},
      {"bytes=7-99", 206, "789", "bytes 7-9/10"},
      {"bytes=-3", 206, "789", "bytes 7-9/10"},
      {"bytes=-99", 206, "0123456789", "bytes 0-9/10"},
      {"bytes=10-", 416, nullptr, "bytes */10"},
      {"bytes=-0", 416, nullptr, "bytes */10"},
      {"bytes=18446744073709551615-", 416, nullptr, "bytes */10"},
      {"bytes=5-2", 200, "0123456789", ""},
      {"bytes=0-1,4-5", 200, "0123456789", ""},
      {"bytes=", 200, "0123456789", ""},
      {"bytes=-", 200, "0123456789", ""},
      {"bytes=a-b", 200, "0123456789", ""},
      {"bytes=99999999999999999999-", 200, "0123456789", ""},
      {"lines=1-2", 200, "0123456789", ""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.asked);
    const Answer answer = shop.range(id, row.asked);
    CHECK(answer.status == row.status);
    CHECK(answer.header("Content-Range") == row.content_range);
    if (row.body != nullptr) CHECK(answer.body == row.body);
    if (row.status == 416) CHECK(answer.code() == "range_unsatisfiable");
  }
  const std::string path = artifacts + "/" + id;
  const auto if_range = [&](const std::string& tag) {
    return shop.send("GET", path, shop.alice, {}, {{"Range", "bytes=1-1"}, {"If-Range", tag}});
  };
  CHECK(if_range('"' + hash_of("0123456789") + '"').status == 206);
  CHECK(if_range("\"other\"").status == 200);
  CHECK(shop.range(shop.put(shop.alice, "").at("id"), "bytes=0-").status == 416);
}

TEST_CASE("CP-103: a long artifact comes in pieces, as does a long range of it") {
  Shop shop;
  std::string bytes;
  for (unsigned i = 0; bytes.size() < (std::size_t{3} << 20); ++i) bytes += std::to_string(i * 7919u) + ',';
  const std::string id = shop.put(shop.alice, bytes).at("id");
  const Answer whole = shop.send("GET", artifacts + "/" + id, shop.alice);
  CHECK(shop.pieces > 10);
  CHECK((whole.body == bytes));
  CHECK(whole.header("Content-Length") == std::to_string(bytes.size()));
  const Answer some = shop.range(id, "bytes=100-2000000");
  CHECK((some.body == bytes.substr(100, 1'999'901)));
  CHECK(some.header("Content-Length") == "1999901");

  // A host that closes ends it.
  const calyx::Response open =
      calyx::handle(*shop.engine, {"GET", artifacts + "/" + id, {{"X-API-Key", shop.alice}}, {}});
  CHECK(open.stream->next({}).bytes.size() > 0);
  shop.engine->end_streams();
  CHECK(open.stream->next({}).kind == calyx::BodyPiece::Kind::end);
}

TEST_CASE("CP-100: a body beyond 2 GB is refused, and nothing of it is kept") {
  CHECK(calyx::body_limit("POST", "/api/v1/artifacts?name=x") == calyx::artifact_bytes_max);
  CHECK(calyx::artifact_bytes_max == std::uint64_t{2} << 30);
  Shop shop;
  for (const char* path : {"/api/v1/artifacts/direct", "/api/v1/artifacts/multipart"}) {
    CHECK(shop.send("POST", path, shop.alice, R"({"name":"n","size":2147483648})").status == 201);
    const Answer large = shop.send("POST", path, shop.alice, R"({"name":"n","size":2147483649})");
    CHECK(large.status == 413);
    CHECK(large.code() == "too_large");
    CHECK(large.at("error.details.limit") == "2147483648");
  }
}

TEST_CASE("a body is pulled from its source once its key was judged, and no further than its route takes") {
  Shop shop;
  std::size_t pulled = 0;
  // As many bytes as are asked for, without an end of its own below `size`.
  const auto ask = [&](const char* method, const std::string& target, const calyx::HeaderFields& headers,
                       std::size_t size, const char* text = "") {
    pulled = 0;
    std::string_view head = text;
    calyx::Request asked{method, target, headers};
    asked.source = [&pulled, size, head](std::span<char> out) mutable -> calyx::Result<std::size_t> {
      const std::size_t count = std::min(out.size(), size - pulled);
      std::fill_n(out.begin(), count, ' ');
      head.remove_prefix(head.copy(out.data(), count));
      pulled += count;
      return count;
    };
    const calyx::Response response = calyx::handle(*shop.engine, asked);
    Answer out{response.status, response.headers, response.body, {}};
    if (auto read = calyx::read_json(out.body); read.ok()) out.value = *std::move(read);
    return out;
  };
  const calyx::HeaderFields alice{{"X-API-Key", shop.alice}}, stranger{{"X-API-Key", "cyx_live_nobody"}};
  const calyx::HeaderFields signed_one{{"X-Auth-Address", "0x0"}};
  constexpr std::size_t mebibyte = 1 << 20;

  // One that nobody may send is not looked at.
  CHECK(ask("POST", artifacts, stranger, 3 * mebibyte).status == 401);
  CHECK(ask("POST", "/api/v1/jobs", stranger, 3 * mebibyte).status == 401);
  CHECK(ask("POST", "/api/v1/nothing", alice, 3 * mebibyte).status == 404);
  CHECK(pulled == 0);

  const Answer put = ask("POST", artifacts + "?name=n", alice, 3 * mebibyte);
  CHECK(put.status == 201);
  CHECK(put.at("size") == std::to_string(3 * mebibyte));
  CHECK(put.at("sha256") == hash_of(std::string(3 * mebibyte, ' ')));
  const Answer ticket = shop.send("POST", "/api/v1/artifacts/direct", shop.alice, R"({"name":"n"})");
  CHECK(ask("PUT", ticket.at("url"), {}, 5).at("size") == "5");

  // A job is a text, which is held.
  const Answer job = ask("POST", "/api/v1/jobs", alice, 2 * mebibyte, R"({"task":"t"})");
  CHECK(job.status == 201);
  CHECK(pulled == 2 * mebibyte);
  const Answer wallet = ask("POST", "/v1/wallets", alice, SIZE_MAX);
  CHECK(wallet.status == 413);
  CHECK(wallet.at("error.details.limit") == "1048576");
  CHECK(pulled <= 2 * mebibyte);
  const Answer unsigned_yet = ask("POST", artifacts, signed_one, SIZE_MAX);
  CHECK(unsigned_yet.status == 413);
  CHECK(unsigned_yet.at("error.details.limit") == "1048576");  // so much is held for strangers
  CHECK(ask("POST", artifacts, signed_one, 9).status == 401);

  // Nor is what an operator's route takes, of who is none.
  pulled = 0;
  CHECK(ask("POST", "/api/v1/workers/report", alice, 3 * mebibyte).code() == "operator_only");
  CHECK(pulled == 0);

  // What its source says instead of an end is the answer.
  calyx::Request broken{"POST", artifacts, alice};
  broken.source = [](std::span<char>) -> calyx::Result<std::size_t> {
    return calyx::fail(calyx::Reason::malformed_header, "cut off");
  };
  CHECK(calyx::handle(*shop.engine, broken).status == 400);
}

TEST_CASE("CP-101: a ticket takes one artifact without a key, for an hour") {
  Shop shop;
  const std::string asked = R"({"name":"big.bin","size":3,"sha256":")" + hash_of("abc") + "\"}";
  const Answer ticket =
      shop.send("POST", artifacts + "/direct", shop.alice, asked, {{"Idempotency-Key", "t"}});
  REQUIRE_MESSAGE(ticket.status == 201, ticket.body);
  CHECK(ticket.members() == "upload_id url method expires_at");
  CHECK(ticket.at("method") == "PUT");
  const std::string url = ticket.at("url");
  const Answer replay =
      shop.send("POST", artifacts + "/direct", shop.alice, asked, {{"Idempotency-Key", "t"}});
  CHECK(replay.replayed());
  CHECK(replay.at("upload_id") == ticket.at("upload_id"));
  CHECK(replay.at("url") == "null");  // a secret is shown once

  CHECK(shop.send("PUT", url.substr(0, url.size() - 1) + (url.back() == '0' ? "1" : "0"), "", "abc").status ==
        404);
  CHECK(shop.send("PUT", url.substr(0, url.find('-')), "", "abc").code() == "upload_unknown");
  CHECK(shop.send("PUT", url, "", "abd").code() == "content_mismatch");
  CHECK(shop.send("PUT", url, "", "abcd").code() == "content_mismatch");
  const Answer made = shop.send("PUT", url, "", "abc");
  REQUIRE_MESSAGE(made.status == 201, made.body);
  CHECK(made.at("name") == "big.bin");
  CHECK(shop.send("GET", artifacts + "/" + made.at("id"), shop.alice).body == "abc");
  CHECK(shop.send("GET", artifacts + "/" + made.at("id"), shop.bob).status == 404);
  const Answer again = shop.send("PUT", url, "", "abc");
  CHECK(again.replayed());
  CHECK(again.at("id") == made.at("id"));

  const std::string late = shop.send("POST", artifacts + "/direct", shop.alice, R"({"name":"n"})").at("url");
  const std::string used = shop.send("POST", artifacts + "/direct", shop.alice, R"({"name":"n"})").at("url");
  CHECK(shop.send("PUT", used, "", "one").status == 201);
  CHECK(shop.send("PUT", used, "", "two").code() == "upload_unknown");
  shop.now_us += calyx::artifact_ticket_s * 1'000'000;
  CHECK(shop.send("PUT", late, "", "abc").code() == "upload_unknown");
  // A ticket is no upload in parts.
  CHECK(shop.send("GET", artifacts + "/multipart/" + ticket.at("upload_id") + "/parts", shop.alice).status ==
        404);
}

TEST_CASE(
    "CP-102: an upload in parts goes on after a restart; parts are sent again, and the whole is checked") {
  Shop shop;
  const std::string all = "first,second,third";
  const Answer begun =
      shop.send("POST", artifacts + "/multipart", shop.alice,
                R"({"name":"w.bin","size":18,"sha256":")" + hash_of(all) + "\"}", {{"Idempotency-Key", "m"}});
  REQUIRE_MESSAGE(begun.status == 201, begun.body);
  const std::string id = begun.at("upload_id");
  const std::string upload = artifacts + "/multipart/" + id;
  CHECK(shop.send("GET", upload + "/parts", shop.alice).at("parts") == "[]");
  const auto part = [&](int number, const std::string& bytes, const std::string& query = {}) {
    return shop.send("PUT", upload + "/parts/" + std::to_string(number) + query, shop.alice, bytes);
  };
  CHECK(part(1, "first,").at("sha256") == hash_of("first,"));
  CHECK(part(3, "wrong").status == 200);
  CHECK(part(2, "second,", "?sha256=" + hash_of("other")).code() == "content_mismatch");
  CHECK(part(0, "x").status == 422);
  CHECK(part(10'001, "x").status == 422);
  CHECK(shop.send("PUT", upload + "/parts/one", shop.alice, "x").status == 422);
  CHECK(shop.send("PUT", upload + "/parts/1", shop.bob, "x").code() == "upload_unknown");
  CHECK(shop.send("GET", upload + "/parts", shop.bob).code() == "upload_unknown");
  CHECK(shop.send("DELETE", upload, shop.bob).code() == "upload_unknown");

  shop.open();
  CHECK(shop.send("POST", artifacts + "/multipart", shop.alice,
                  R"({"name":"w.bin","size":18,"sha256":")" + hash_of(all) + "\"}",
                  {{"Idempotency-Key", "m"}})
            .at("upload_id") == id);
  CHECK(shop.send("GET", upload + "/parts", shop.alice).at("parts.1.part_number") == "3");
  const auto complete = [&](const std::string& more, const std::string& key) {
    return shop.send("POST", artifacts + "/multipart/complete", key,
                     R"({"upload_id":")" + id + '"' + more + '}');
  };
  CHECK(complete("", shop.bob).code() == "upload_unknown");
  CHECK(complete("", shop.alice).code() == "content_mismatch");  // a part is missing, and one is wrong
  CHECK(part(2, "second,").status == 200);
  CHECK(part(3, "third").status == 200);  // replaces what was sent
  CHECK(complete(R"(,"size":17)", shop.alice).field() == "/size");
  CHECK(complete(R"(,"parts":[])", shop.alice).field() == "/parts");
  const std::string listed =
      R"(,"parts":[{"part_number":1,"sha256":")" + hash_of("first,") + R"("},{"part_number":2,"sha256":")";
  CHECK(complete(listed + hash_of("other") + "\"}]", shop.alice).at("error.details.part") == "2");
  CHECK(complete(R"(,"parts":[{"part_number":0,"sha256":")" + hash_of("") + "\"}]", shop.alice).field() ==
        "/parts/0/part_number");
  const Answer made =
      complete(listed + hash_of("second,") + R"("},{"part_number":3,"sha256":")" + hash_of("third") + "\"}]",
               shop.alice);
  REQUIRE_MESSAGE(made.status == 201, made.body);
  CHECK(made.at("name") == "w.bin");
  CHECK(shop.send("GET", artifacts + "/" + made.at("id"), shop.alice).body == all);
  const Answer again = complete("", shop.alice);
  CHECK(again.replayed());
  CHECK(again.at("id") == made.at("id"));
  CHECK(part(1, "late").code() == "upload_unknown");
  CHECK(shop.blobs() == 1);
}

TEST_CASE("CP-102: an upload that is given up is over, and so is one that is too old") {
  Shop shop;
  const auto begin = [&] {
    return artifacts + "/multipart/" +
           shop.send("POST", artifacts + "/multipart", shop.alice, R"({"name":"n"})").at("upload_id");
  };
  const std::string given_up = begin();
  CHECK(shop.send("PUT", given_up + "/parts/1", shop.alice, "x").status == 200);
  CHECK(shop.send("DELETE", given_up, shop.alice).at("aborted") == "true");
  CHECK(shop.send("PUT", given_up + "/parts/1", shop.alice, "x").code() == "upload_unknown");
  CHECK(shop.send("DELETE", given_up, shop.alice).code() == "upload_unknown");
  CHECK(shop.blobs() == 0);
  const std::string old = begin();
  CHECK(shop.send("PUT", old + "/parts/1", shop.alice, "x").status == 200);
  shop.now_us += calyx::artifact_upload_s * 1'000'000;
  CHECK(shop.send("PUT", old + "/parts/1", shop.alice, "x").code() == "upload_unknown");
  const Answer collected = shop.send("POST", artifacts + "/collect", shop.op);
  CHECK(collected.at("uploads_ended") == "1");
  CHECK(shop.blobs() == 0);
}

TEST_CASE("a collection takes what nothing names, once it is old, and nothing else") {
  Shop shop;
  const std::string id = shop.put(shop.alice, "kept").at("id");
  // What a crash between the bytes and their row leaves.
  CHECK(shop.put(shop.alice, "left", "?name=a&sha256=" + hash_of("left")).status == 201);
  const auto once = [&](const std::string& bytes) {
    return shop.send("POST", artifacts + "?name=a", shop.alice, bytes, {{"Idempotency-Key", "k"}});
  };
  CHECK(once("1").status == 201);
  CHECK(once("orphan").code() == "key_reused");  // its bytes are there, and no row names them
  CHECK(shop.blobs() == 4);
  CHECK(shop.send("POST", artifacts + "/collect", shop.op).at("removed") == "0");
  shop.now_us += calyx::artifact_grace_s * 1'000'000;
  CHECK(shop.send("POST", artifacts + "/collect", shop.alice).code() == "operator_only");
  const Answer collected = shop.send("POST", artifacts + "/collect", shop.op);
  CHECK(collected.body == R"({"kept":3,"removed":1,"removed_bytes":6,"uploads_ended":0})");
  CHECK(shop.send("GET", artifacts + "/" + id, shop.alice).body == "kept");

  // A folder that was lost is told as what it is.
  std::filesystem::remove_all(shop.scratch / "m.db-artifacts");
  CHECK(shop.send("GET", artifacts + "/" + id, shop.alice).code() == "corrupt");
}

TEST_CASE(
    "CP-84, CP-87: a job names what it reads, and a worker elsewhere what it left, in the words of the "
    "wire") {
  Shop shop;
  const std::string input = shop.put(shop.alice, "input").at("id");
  const auto submit = [&](const std::string& key, const std::string& id) {
    return shop.send("POST", "/api/v1/jobs", key,
                     R"({"task":"t","payload":{"_artifacts":{"download":[{"artifact_id":")" + id +
                         R"(","path":"data/in.bin"}]}}})");
  };
  const Answer stranger = submit(shop.bob, input);
  CHECK(stranger.status == 422);
  CHECK(stranger.field() == "/payload/_artifacts/download/0/artifact_id");
  CHECK(shop.send("POST", "/api/v1/jobs/estimate", shop.alice,
                  R"({"task":"t","payload":{"_artifacts":{"download":[{"url":"https://example.com/x"}]}}})")
            .status == 501);
  const Answer job = submit(shop.alice, input);
  REQUIRE_MESSAGE(job.status == 201, job.body);

  const Answer lease = shop.send("POST", "/api/v1/workers/lease", shop.op, R"({"worker":"w","tasks":["t"]})");
  const std::string left = shop.put(shop.op, "output", "?name=out.bin").at("id");
  const auto report = [&](const std::string& id) {
    return shop.send("POST", "/api/v1/workers/report", shop.op,
                     R"({"lease_id":")" + lease.at("lease.lease_id") +
                         R"(","outcomes":[{"status":"completed","result":1,"ran_ms":0,"artifacts":[")" + id +
                         "\"]}]}");
  };
  CHECK(report("out.bin").field() == "/outcomes/0/artifacts/0");
  CHECK(report(left).at("left") == "0");
  const Answer results = shop.send("GET", "/api/v1/results/" + job.at("job_id"), shop.alice);
  CHECK(results.at("tasks.0.artifacts.0.name") == "out.bin");
  CHECK(results.at("tasks.0.artifacts.0.sha256") == hash_of("output"));
  const Answer got =
      shop.send("GET", artifacts + "/" + results.at("tasks.0.artifacts.0.artifact_id"), shop.alice);
  CHECK(got.body == "output");
  CHECK(shop.send("GET", artifacts + "/" + left, shop.alice).status == 404);  // the worker's own is not hers
}
