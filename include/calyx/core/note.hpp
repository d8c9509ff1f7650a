/// \file
/// Signed notes, log checkpoints and offline inclusion proofs, as C2SP's signed-note, tlog-checkpoint and
/// tlog-proof lay them out; signatures are Ed25519 alone.
///
/// Start at `checkpoint_text` to make a checkpoint, at `open_checkpoint` and `open_proof` to trust one.
#pragma once

#include <calyx/core/digest.hpp>
#include <calyx/core/json.hpp>
#include <calyx/core/merkle.hpp>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace calyx::core::note {

inline constexpr std::size_t signatures_max = 100;
inline constexpr std::size_t note_bytes_max = 1'000'000;
inline constexpr std::string_view signature_mark = "\xE2\x80\x94 ";  // an em dash and a space
inline constexpr char ed25519_type = '\x01';
inline constexpr std::string_view proof_mark = "c2sp.org/tlog-proof@v1";

/// Whether `name` may name a key: not empty, no plus sign, no space of any kind, no control character.
inline bool valid_key_name(std::string_view name) noexcept {
  if (name.empty() || !json::valid_utf8(name)) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto byte = static_cast<unsigned char>(name[i]);
    if (byte <= 0x20 || byte == 0x7F || byte == '+') return false;
    // U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
    const std::string_view two = name.substr(i, 2);
    const std::string_view three = name.substr(i, 3);
    if (two == "\xC2\x85" || two == "\xC2\xA0") return false;
    if (three == "\xE1\x9A\x80" || three == "\xE2\x81\x9F" || three == "\xE3\x80\x80") return false;
    if (three.size() == 3 && three.substr(0, 2) == "\xE2\x80") {
      const auto last = static_cast<unsigned char>(three[2]);
      if (last <= 0x8A || last == 0xA8 || last == 0xA9 || last == 0xAF) return false;
    }
  }
  return true;
}

/// A decimal number without leading zeros, or nothing.
inline std::optional<std::uint64_t> read_decimal(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  return number;
}

/// A key that notes are checked against. `id` is short: it finds the key, it proves nothing.
struct VerifierKey {
  std::string name;
  std::uint32_t id = 0;
  PublicKey key{};
};

template <Sha256 H>
VerifierKey verifier_key(const H& sha256, std::string name, const PublicKey& key) {
  const Digest digest = sha256(std::string_view(name), std::string_view("\n\x01", 2), chars(key));
  std::uint32_t id = 0;
  for (std::size_t i = 0; i < 4; ++i) id = id << 8 | digest.bytes[i];
  return VerifierKey{std::move(name), id, key};
}

inline std::string id_bytes(std::uint32_t id) {
  std::string out;
  for (unsigned shift = 32; shift != 0; shift -= 8) out.push_back(static_cast<char>(id >> (shift - 8) & 255));
  return out;
}

/// `name+id+key`: how a verifier key is handed from person to person.
inline std::string text(const VerifierKey& key) {
  std::string typed(1, ed25519_type);
  typed += chars(key.key);
  return key.name + "+" + hex(id_bytes(key.id)) + "+" + base64(typed);
}

/// The verifier key that `text` spells, or nothing: also when its id is not the key's own, or it is no
/// Ed25519 key.
template <Sha256 H>
std::optional<VerifierKey> read_verifier_key(const H& sha256, std::string_view text) {
  const std::size_t first = text.find('+');
  if (first == std::string_view::npos) return std::nullopt;
  const std::size_t second = text.find('+', first + 1);  // base 64 has a plus too: only the first two divide
  if (second == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(0, first);
  const auto typed = unbase64(text.substr(second + 1));
  if (!valid_key_name(name) || !typed || typed->empty() || typed->front() != ed25519_type)
    return std::nullopt;
  const auto key = octets<32>(std::string_view(*typed).substr(1));
  if (!key) return std::nullopt;
  VerifierKey out = verifier_key(sha256, std::string(name), *key);
  if (text.substr(first + 1, second - first - 1) != hex(id_bytes(out.id))) return std::nullopt;
  return out;
}

/// The line that says that `key` signed the note's text.
inline std::string signature_line(std::string_view name, std::uint32_t id, const Signature& signature) {
  std::string out(signature_mark);
  out += name;
  out.push_back(' ');
  std::string bytes = id_bytes(id);
  bytes += chars(signature);
  append_base64(out, bytes);
  out.push_back('\n');
  return out;
}

/// The note of a text, which ends in a newline, and one or more signature lines.
inline std::string signed_note(std::string_view text, std::string_view lines) {
  std::string out(text);
  out.push_back('\n');
  out += lines;
  return out;
}

struct NoteSignature {
  std::string_view name;
  std::uint32_t id = 0;
  std::string bytes;
};

/// A note taken apart; nothing in it is to be believed yet. Owns: views into the text it was read from.
struct Note {
  std::string_view text;  ///< What was signed, its last newline included.
  std::vector<NoteSignature> signatures;
};

/// The note that `bytes` spells, or nothing.
inline std::optional<Note> read_note(std::string_view bytes) {
  if (bytes.size() > note_bytes_max || !json::valid_utf8(bytes)) return std::nullopt;
  for (const char c : bytes)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') return std::nullopt;
  const std::size_t blank = bytes.rfind("\n\n");  // the text may have empty lines; the last one divides
  if (blank == std::string_view::npos) return std::nullopt;
  Note note;
  note.text = bytes.substr(0, blank + 1);
  std::string_view rest = bytes.substr(blank + 2);
  if (rest.empty()) return std::nullopt;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos || note.signatures.size() == signatures_max) return std::nullopt;
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.substr(0, signature_mark.size()) != signature_mark) return std::nullopt;
    line.remove_prefix(signature_mark.size());
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    auto signature = unbase64(line.substr(space + 1));
    if (!valid_key_name(line.substr(0, space)) || !signature || signature->size() < 5) return std::nullopt;
    std::uint32_t id = 0;
    for (std::size_t i = 0; i < 4; ++i) id = id << 8 | static_cast<unsigned char>((*signature)[i]);
    signature->erase(0, 4);
    note.signatures.push_back(NoteSignature{line.substr(0, space), id, *std::move(signature)});
  }
  return note;
}

/// Why a note is not to be believed.
enum class Fault : std::uint8_t {
  none,
  malformed,     ///< Not a note, or not what was expected inside it.
  no_known_key,  ///< Nobody signed whom the caller knows.
  signature,     ///< A known key's signature does not fit the text.
  origin,        ///< Another log's checkpoint.
  proof,         ///< The path does not lead from the leaf to the checkpoint's root.
};
constexpr std::string_view word(Fault fault) noexcept {
  constexpr std::string_view words[] = {"none", "malformed", "no_known_key", "signature", "origin", "proof"};
  return words[static_cast<std::size_t>(fault)];
}

/// What the keys the caller knows say of `note`. Unknown keys' signatures are passed over; one known key
/// must have signed, and a known key's bad signature spoils the note whoever else signed.
template <Ed25519Check V>
Fault judge(const Note& note, std::span<const VerifierKey> keys, const V& check) {
  bool good = false;
  for (const NoteSignature& signature : note.signatures)
    for (const VerifierKey& key : keys) {
      if (key.id != signature.id || key.name != signature.name) continue;
      const auto bytes = octets<64>(signature.bytes);
      if (!bytes || !check(key.key, note.text, *bytes)) return Fault::signature;
      good = true;
    }
  return good ? Fault::none : Fault::no_known_key;
}

/// A log's head, and the log it is the head of.
struct Checkpoint {
  std::string origin;
  merkle::Head head;
};

/// The text that a checkpoint's signature covers.
inline std::string checkpoint_text(std::string_view origin, const merkle::Head& head) {
  std::string out(origin);
  out.push_back('\n');
  out += std::to_string(head.size);
  out.push_back('\n');
  append_base64(out, head.root.view());
  out.push_back('\n');
  return out;
}

/// The checkpoint in a note's text, or nothing. Extension lines are let pass, for other logs have them.
inline std::optional<Checkpoint> read_checkpoint(std::string_view text) {
  std::string_view lines[3];
  for (std::size_t i = 0; !text.empty(); ++i) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    if (i < std::size(lines)) lines[i] = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  const auto size = read_decimal(lines[1]);
  const auto root_bytes = unbase64(lines[2]);
  if (lines[0].empty() || !size || !root_bytes) return std::nullopt;
  const auto root = digest_of_bytes(*root_bytes);
  if (!root) return std::nullopt;
  return Checkpoint{std::string(lines[0]), merkle::Head{*size, *root}};
}

struct CheckpointVerdict {
  Fault fault = Fault::malformed;
  Checkpoint checkpoint;  ///< To be believed when `fault` is `none`, and empty otherwise.
};

/// The checkpoint that `bytes` holds, when one of `keys` signed it for the log `origin`.
template <Ed25519Check V>
CheckpointVerdict open_checkpoint(std::string_view bytes, std::string_view origin,
                                  std::span<const VerifierKey> keys, const V& check) {
  const auto note = read_note(bytes);
  if (!note) return {Fault::malformed, {}};
  if (const Fault fault = judge(*note, keys, check); fault != Fault::none) return {fault, {}};
  auto checkpoint = read_checkpoint(note->text);
  if (!checkpoint) return {Fault::malformed, {}};
  if (checkpoint->origin != origin) return {Fault::origin, {}};
  return {Fault::none, *std::move(checkpoint)};
}

/// What a receipt's holder keeps to prove offline that it is in the log.
struct Proof {
  std::optional<std::string> extra;  ///< Bytes that nothing signs.
  std::uint64_t index = 0;
  merkle::Path path;
  std::string checkpoint;  ///< The signed note, as it was served.
};

inline std::string text(const Proof& proof) {
  std::string out(proof_mark);
  out.push_back('\n');
  if (proof.extra) {
    out += "extra ";
    append_base64(out, *proof.extra);
    out.push_back('\n');
  }
  out += "index ";
  out += std::to_string(proof.index);
  out.push_back('\n');
  for (const Digest& digest : proof.path) {
    append_base64(out, digest.view());
    out.push_back('\n');
  }
  out.push_back('\n');
  out += proof.checkpoint;
  return out;
}

/// The proof that `bytes` spells, or nothing; its checkpoint is not looked into.
inline std::optional<Proof> read_proof(std::string_view bytes) {
  if (bytes.size() > note_bytes_max) return std::nullopt;
  const auto line = [&bytes]() -> std::optional<std::string_view> {
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view out = bytes.substr(0, end);
    bytes.remove_prefix(end + 1);
    return out;
  };
  constexpr std::string_view extra_mark = "extra ";
  constexpr std::string_view index_mark = "index ";
  if (line() != proof_mark) return std::nullopt;
  Proof proof;
  auto next = line();
  if (next && next->substr(0, extra_mark.size()) == extra_mark) {
    proof.extra = unbase64(next->substr(extra_mark.size()));
    if (!proof.extra) return std::nullopt;
    next = line();
  }
  if (!next || next->substr(0, index_mark.size()) != index_mark) return std::nullopt;
  const auto index = read_decimal(next->substr(index_mark.size()));
  if (!index) return std::nullopt;
  proof.index = *index;
  for (next = line(); next && !next->empty(); next = line()) {
    const auto digest_bytes = unbase64(*next);
    const auto digest = digest_bytes ? digest_of_bytes(*digest_bytes) : std::nullopt;
    if (!digest || proof.path.size() == merkle::path_max) return std::nullopt;
    proof.path.push_back(*digest);
  }
  if (!next) return std::nullopt;
  proof.checkpoint = bytes;
  return proof;
}

struct ProofVerdict {
  Fault fault = Fault::malformed;
  std::uint64_t index = 0;
  Checkpoint checkpoint;  ///< To be believed when `fault` is `none`, and empty otherwise.
};

/// Whether `bytes` proves that the leaf with hash `leaf` (of a receipt: `merkle::leaf_hash` of its JWS) is
/// in the log `origin`, by a checkpoint that one of `keys` signed.
template <Sha256 H, Ed25519Check V>
ProofVerdict open_proof(const H& sha256, std::string_view bytes, const Digest& leaf, std::string_view origin,
                        std::span<const VerifierKey> keys, const V& check) {
  const auto proof = read_proof(bytes);
  if (!proof) return {Fault::malformed, 0, {}};
  auto opened = open_checkpoint(proof->checkpoint, origin, keys, check);
  if (opened.fault != Fault::none) return {opened.fault, 0, {}};
  const merkle::Head& head = opened.checkpoint.head;
  if (!merkle::verify_inclusion(sha256, leaf, proof->index, head.size, proof->path, head.root))
    return {Fault::proof, 0, {}};
  return {Fault::none, proof->index, std::move(opened.checkpoint)};
}

}  // namespace calyx::core::note
