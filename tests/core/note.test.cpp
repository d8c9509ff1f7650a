#include <calyx/core/note.hpp>
#include <string>
#include <vector>

#include "crypto_for_tests.hpp"

using namespace calyx::core;
using for_tests::text_of;
using note::Fault;

namespace {

const for_tests::Hash sha256;
const for_tests::Check check;
const char* const origin = "calyx.example/receipts";

note::VerifierKey key_of(const std::string& name, const for_tests::Signer& signer) {
  return note::verifier_key(sha256, name, signer.key);
}
std::string line_of(const note::VerifierKey& key, const for_tests::Signer& signer, std::string_view text) {
  return note::signature_line(key.name, key.id, signer(text));
}
Fault judged(std::string_view bytes, const std::vector<note::VerifierKey>& keys) {
  const auto read = note::read_note(bytes);
  return read ? note::judge(*read, keys, check) : Fault::malformed;
}

/// A log of five receipts' stand-ins, and the checkpoint over it.
struct Log {
  for_tests::Signer signer{'s'};
  note::VerifierKey key = key_of(origin, signer);
  std::vector<Digest> leaves;
  merkle::Head head;
  std::string checkpoint;

  Log() {
    merkle::Frontier frontier;
    for (const char* leaf : {"a", "b", "c", "d", "e"}) {
      leaves.push_back(merkle::leaf_hash(sha256, leaf));
      frontier.append(sha256, leaves.back());
    }
    head = {frontier.size(), frontier.root(sha256)};
    const std::string text = note::checkpoint_text(origin, head);
    checkpoint = note::signed_note(text, line_of(key, signer, text));
  }
  note::Proof proof(std::uint64_t index) const {
    const auto subtree = [this](unsigned level, std::uint64_t at) {
      merkle::Frontier frontier;
      for (std::uint64_t i = at << level; i < (at + 1) << level; ++i) frontier.append(sha256, leaves.at(i));
      return frontier.root(sha256);
    };
    note::Proof out;
    out.index = index;
    out.path = *merkle::inclusion_path(sha256, index, head.size, subtree);
    out.checkpoint = checkpoint;
    return out;
  }
};

}  // namespace

TEST_CASE("notes, checkpoints and proofs are judged as their vectors say") {
  int accepted = 0;
  int refused = 0;
  for (const json::Value& row : for_tests::vectors("signed_note_checkpoint.json")) {
    const std::string name = text_of(row, "name");
    CAPTURE(name);
    const auto key = note::read_verifier_key(sha256, text_of(row, "verifier_key"));
    REQUIRE(key);
    CHECK(note::text(*key) == text_of(row, "verifier_key"));
    const std::vector<note::VerifierKey> keys{*key};
    const std::string expected = text_of(row, "calyx_expect");

    if (row.find("tlog_proof") != nullptr) {
      const std::string bytes = text_of(row, "tlog_proof");
      const Digest leaf = merkle::leaf_hash(sha256, text_of(row, "leaf_utf8"));
      const auto proof = note::read_proof(bytes);
      REQUIRE(proof);
      CHECK(note::text(*proof) == bytes);
      const auto verdict = note::open_proof(sha256, bytes, leaf, origin, keys, check);
      CHECK(verdict.fault == Fault::none);
      CHECK(verdict.index == proof->index);
      CHECK(verdict.checkpoint.head.size == 6);
      Digest other = leaf;
      other.bytes[0] ^= 1;
      CHECK(note::open_proof(sha256, bytes, other, origin, keys, check).fault == Fault::proof);
      CHECK(note::open_proof(sha256, bytes, leaf, "another.example", keys, check).fault == Fault::origin);
      ++accepted;
      continue;
    }
    const std::string bytes = text_of(row, "note");
    const Fault fault = judged(bytes, keys);
    if (expected != "ok") {
      CHECK(fault == (expected == "signature" ? Fault::signature : Fault::no_known_key));
      CHECK(note::open_checkpoint(bytes, origin, keys, check).fault == fault);
      ++refused;
      continue;
    }
    CHECK(fault == Fault::none);
    ++accepted;
    if (row.find("origin") == nullptr) {
      // The published example is a note and no checkpoint.
      CHECK(note::open_checkpoint(bytes, origin, keys, check).fault == Fault::malformed);
      continue;
    }
    const auto verdict = note::open_checkpoint(bytes, text_of(row, "origin"), keys, check);
    REQUIRE(verdict.fault == Fault::none);
    CHECK(verdict.checkpoint.origin == text_of(row, "origin"));
    CHECK(verdict.checkpoint.head.size == for_tests::number_of(row, "tree_size"));
    CHECK(base64(verdict.checkpoint.head.root.view()) == text_of(row, "root_base64"));
    const auto read = note::read_note(bytes);
    CHECK(note::checkpoint_text(verdict.checkpoint.origin, verdict.checkpoint.head) == read->text);
  }
  CHECK(accepted == 6);
  CHECK(refused == 2);
}

TEST_CASE("a checkpoint that is made is the vector's, byte for byte") {
  const auto seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  const for_tests::Signer signer{std::string_view(*seed)};
  for (const json::Value& row : for_tests::vectors("signed_note_checkpoint.json")) {
    if (row.find("origin") == nullptr) continue;
    const auto root = digest_of_bytes(*unbase64(text_of(row, "root_base64")));
    const std::string name = text_of(row, "origin");
    const std::string text = note::checkpoint_text(name, {for_tests::number_of(row, "tree_size"), *root});
    CHECK(note::signed_note(text, line_of(key_of(name, signer), signer, text)) == text_of(row, "note"));
  }
}

TEST_CASE("a note needs one known signature and no bad one of a known key") {
  const for_tests::Signer alice('a');
  const for_tests::Signer bob('b');
  const for_tests::Signer stranger('x');
  const note::VerifierKey alice_key = key_of("alice.example", alice);
  const note::VerifierKey bob_key = key_of("bob.example", bob);
  const note::VerifierKey stranger_key = key_of("stranger.example", stranger);
  const std::vector<note::VerifierKey> known{alice_key, bob_key};

  const std::string text = "first\n\nand a paragraph of its own\n";
  const std::string by_alice = line_of(alice_key, alice, text);
  const std::string by_bob = line_of(bob_key, bob, text);
  const std::string by_stranger = line_of(stranger_key, stranger, text);
  const std::string forged = line_of(bob_key, stranger, text);
  const std::string other_name = note::signature_line("alice.other", alice_key.id, alice(text));
  const std::string other_id = note::signature_line("alice.example", alice_key.id + 1, alice(text));

  struct Row {
    std::string says;
    std::string lines;
    Fault expected;
  };
  const Row rows[] = {
      {"one known", by_alice, Fault::none},
      {"both known", by_alice + by_bob, Fault::none},
      {"a stranger beside", by_stranger + by_alice, Fault::none},
      {"a stranger alone", by_stranger, Fault::no_known_key},
      {"a known id under another name", other_name, Fault::no_known_key},
      {"a known name with another id", other_id, Fault::no_known_key},
      {"a forgery beside a good one", by_alice + forged, Fault::signature},
      {"a forgery before a good one", forged + by_alice, Fault::signature},
      {"the same signature twice", by_alice + by_alice, Fault::none},
  };
  for (const Row& row : rows) {
    CAPTURE(row.says);
    CHECK(judged(note::signed_note(text, row.lines), known) == row.expected);
  }
  const std::string whole = note::signed_note(text, by_alice);
  const auto read = note::read_note(whole);
  REQUIRE(read);
  CHECK(read->text == text);
}

TEST_CASE("what is no note is not read") {
  const for_tests::Signer signer('a');
  const note::VerifierKey key = key_of("alice.example", signer);
  const std::string text = "text\n";
  const std::string line = line_of(key, signer, text);
  const auto with = [](std::string in, std::string_view from, std::string_view to) {
    const std::size_t at = in.find(from);
    REQUIRE(at != std::string::npos);
    return in.replace(at, from.size(), to);
  };
  std::string many;
  for (std::size_t i = 0; i < note::signatures_max; ++i) many += line;
  CHECK(judged(note::signed_note(text, many), {key}) == Fault::none);

  const std::string rows[] = {
      "",
      "\n",
      "\n\n",
      text,
      text + "\n",
      text + line,                                                  // no empty line
      note::signed_note(text, line.substr(0, line.size() - 1)),     // no newline at the end
      note::signed_note(text, line + "\n"),                         // an empty line behind
      note::signed_note(text, with(line, "\xE2\x80\x94", "-")),     // a hyphen
      note::signed_note(text, with(line, "alice.example ", "")),    // no name
      note::signed_note(text, with(line, "alice.example", "a+b")),  // a plus in the name
      note::signed_note(text, with(line, "alice.example",
                                   "a\xC2\xA0"
                                   "b")),  // a no-break space
      note::signed_note(text, with(line, "alice.example",
                                   "a\xE3\x80\x80"
                                   "b")),                                           // an ideographic one
      note::signed_note(text, with(line, "=", "")),                                 // padding missing
      note::signed_note(text, std::string(note::signature_mark) + "a AAAAAA==\n"),  // an id and no signature
      note::signed_note("te\txt\n", line),                                          // a control character
      note::signed_note("te\xFFxt\n", line),                                        // no UTF-8
      note::signed_note(text, many + line),                                         // one too many
      note::signed_note(std::string(note::note_bytes_max, 'x') + "\n", line),
  };
  for (const std::string& row : rows) {
    CAPTURE(row.substr(0, 120));
    CHECK_FALSE(note::read_note(row));
  }
}

TEST_CASE("a verifier key is read with the id that is its own") {
  const for_tests::Signer signer('a');
  const note::VerifierKey key = key_of("alice.example", signer);
  const std::string text = note::text(key);
  const auto again = note::read_verifier_key(sha256, text);
  REQUIRE(again);
  CHECK(again->name == key.name);
  CHECK(again->id == key.id);
  CHECK(again->key == key.key);
  std::string other_id = text;
  char& digit = other_id[key.name.size() + 1];
  digit = digit == '0' ? '1' : '0';
  std::string other_type(1, '\x02');
  other_type += chars(key.key);
  const std::string with_type = key.name + "+" + hex(note::id_bytes(key.id)) + "+" + base64(other_type);
  for (const std::string& wrong : {std::string(), std::string("alice.example"), std::string("a+b"), other_id,
                                   with_type, text + "A", "x" + text, text.substr(1)}) {
    CAPTURE(wrong);
    CHECK_FALSE(note::read_verifier_key(sha256, wrong));
  }
}

TEST_CASE("a checkpoint is three lines or more, none of them empty") {
  const std::string root = base64(std::string(32, '\x05'));
  const auto read = note::read_checkpoint("log\n12\n" + root + "\n");
  REQUIRE(read);
  CHECK(read->origin == "log");
  CHECK(read->head.size == 12);
  CHECK(read->head.root.bytes[31] == 5);
  CHECK(note::read_checkpoint("log\n0\n" + root + "\nextension\nanother\n"));
  CHECK(note::read_checkpoint("log\n18446744073709551615\n" + root + "\n"));
  for (const std::string& wrong :
       {std::string(), std::string("log\n"), std::string("log\n12\n"), "log\n12\n" + root,
        "log\n012\n" + root + "\n", "log\n-1\n" + root + "\n", "log\n+1\n" + root + "\n",
        "log\n\n" + root + "\n", "\n12\n" + root + "\n", "log\n1x\n" + root + "\n",
        "log\n18446744073709551616\n" + root + "\n", "log\n12\n" + root + "\n\n",
        "log\n12\n" + root.substr(4) + "\n", "log\n12\n" + root + "AAAA\n"}) {
    CAPTURE(wrong);
    CHECK_FALSE(note::read_checkpoint(wrong));
  }
}

TEST_CASE("a proof leads its own leaf to a signed root") {
  const Log log;
  const std::vector<note::VerifierKey> keys{log.key};
  for (std::uint64_t index = 0; index < log.leaves.size(); ++index) {
    CAPTURE(index);
    const std::string bytes = note::text(log.proof(index));
    CHECK(note::open_proof(sha256, bytes, log.leaves[index], origin, keys, check).fault == Fault::none);
    const Digest& another = log.leaves[(index + 1) % log.leaves.size()];
    CHECK(note::open_proof(sha256, bytes, another, origin, keys, check).fault == Fault::proof);
  }
  const for_tests::Signer stranger('x');
  const std::vector<note::VerifierKey> strangers{key_of(origin, stranger)};
  const std::string bytes = note::text(log.proof(2));
  CHECK(note::open_proof(sha256, bytes, log.leaves[2], origin, strangers, check).fault ==
        Fault::no_known_key);
}

TEST_CASE("a proof carries bytes of the holder's own, and is read strictly") {
  const Log log;
  note::Proof proof = log.proof(4);
  proof.extra = "remark";
  const std::string bytes = note::text(proof);
  const auto read = note::read_proof(bytes);
  REQUIRE(read);
  CHECK(read->extra == "remark");
  CHECK(read->index == 4);
  CHECK(read->path == proof.path);
  CHECK(read->checkpoint == log.checkpoint);

  const std::string head = std::string(note::proof_mark) + "\n";
  const std::string hash = base64(std::string(32, 'h')) + "\n";
  std::string many;
  for (std::size_t i = 0; i < merkle::path_max; ++i) many += hash;
  CHECK(note::read_proof(head + "index 0\n" + many + "\n"));
  for (const std::string& wrong :
       {std::string(), std::string("c2sp.org/tlog-proof@v2\nindex 0\n\n"), head, head + "index 0\n",
        head + "index 00\n\n", head + "index -1\n\n", head + "index x\n\n", head + "index 0\nAAAA\n\n",
        head + "index 0\n" + hash, head + "extra *\nindex 0\n\n", head + "index 0\nextra AAAA\n\n",
        head + "index 0\n" + many + hash + "\n"}) {
    CAPTURE(wrong.substr(0, 100));
    CHECK_FALSE(note::read_proof(wrong));
  }
}
