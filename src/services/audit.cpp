#include "services/audit.hpp"

#include <algorithm>
#include <array>
#include <calyx/core/note.hpp>
#include <calyx/core/receipt.hpp>
#include <map>

#include "crypto/random.hpp"
#include "crypto/sha256.hpp"
#include "crypto/signer.hpp"
#include "crypto/verify.hpp"
#include "json/reader.hpp"
#include "services/access.hpp"
#include "services/audit_beside.hpp"
#include "services/payments.hpp"
#include "services/receipts.hpp"

namespace calyx::services {
namespace {

namespace json = core::json;
namespace merkle = core::merkle;
namespace note = core::note;

/// Receipts that are compared in one look at their table; also the leaves between two checkpoints.
constexpr std::size_t chunk_receipts = std::size_t{1} << store::tile_levels;
/// Entries that are compared in one look at their table.
constexpr std::size_t chunk_entries = std::size_t{1} << 10;

// ── canonical fields, read without building a JSON value ──

/// Reads members in the order in which they are written. After the first thing that is not as usual,
/// `good` stays false.
class UsualReader {
 public:
  explicit UsualReader(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

  /// Whether `literal` comes next; if so it is passed.
  bool take(std::string_view literal) {
    if (static_cast<std::size_t>(end_ - at_) < literal.size() ||
        std::memcmp(at_, literal.data(), literal.size()) != 0)
      return false;
    at_ += literal.size();
    return true;
  }
  UsualReader& need(std::string_view literal) {
    if (!take(literal)) good_ = false;
    return *this;
  }
  bool done() { return good_ && take("}") && at_ == end_; }

  UsualReader& text(std::string& out) {
    if (!good_ || !take("\"")) return bad();
    const char* const start = at_;
    while (at_ != end_ && *at_ != '"') {
      const auto c = static_cast<unsigned char>(*at_);
      if (c < 0x20 || c >= 0x80 || c == '\\') return bad();
      ++at_;
    }
    out.assign(start, at_);
    return need("\"");
  }
  UsualReader& number(std::int64_t& out) {
    const char* const start = at_;
    std::uint64_t value = 0;
    if (!good_ || !digits(value)) return bad();
    if (at_ - start > 1 && *start == '0') return bad();
    out = static_cast<std::int64_t>(value);
    return *this;
  }
  UsualReader& money(Money& out) {
    if (!good_ || !take("\"")) return bad();
    const char* const start = at_;
    std::uint64_t whole = 0, decimals = 0;
    if (!digits(whole) || (at_ - start > 1 && *start == '0') || at_ - start > 10 || !take(".")) return bad();
    const char* const point = at_;
    if (!digits(decimals)) return bad();
    const auto count = at_ - point;
    if (count < 2 || count > 6 || (count > 2 && at_[-1] == '0')) return bad();
    for (auto i = count; i < 6; ++i) decimals *= 10;
    out.micro = static_cast<std::int64_t>(whole * 1'000'000 + decimals);
    if (out > core::amount_max) return bad();
    return need("\"");
  }
  UsualReader& digest(core::Digest& out) {
    if (!good_ || end_ - at_ < 66 || at_[0] != '"' || at_[65] != '"') return bad();
    const auto value = [](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    for (std::size_t i = 0; i < 32; ++i) {
      const int high = value(at_[2 * i + 1]), low = value(at_[2 * i + 2]);
      if (high < 0 || low < 0) return bad();
      out.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    at_ += 66;
    return *this;
  }

 private:
  UsualReader& bad() { return good_ = false, *this; }
  /// One digit or more, below 10^18.
  bool digits(std::uint64_t& out) {
    const char* const start = at_;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9'; ++at_) {
      if (at_ - start == 18) return false;
      out = out * 10 + static_cast<std::uint64_t>(*at_ - '0');
    }
    return at_ != start;
  }
  const char* at_;
  const char* end_;
  bool good_ = true;
};

// ── a table as one number ──

/// The sum of a keyed hash over the rows of a table, in whatever order they come.
///
/// The key is drawn for each audit and seen by nobody, so a file that was made to deceive was made without
/// it: two different tables then agree with probability 2^-64. The hash is SipHash-1-3 over words.
class Fingerprint {
 public:
  struct Key {
    std::uint64_t first = 0, second = 0;
  };
  explicit Fingerprint(Key key) : key_(key) {}

  void add(std::initializer_list<std::int64_t> words) {
    Sip sip(key_);
    for (const std::int64_t word : words) sip.word(static_cast<std::uint64_t>(word));
    count(sip);
  }
  void add(std::string_view text, std::initializer_list<std::int64_t> words) {
    Sip sip(key_);
    sip.word(text.size());  // so that no text runs into what follows it
    while (!text.empty()) {
      std::uint64_t eight = 0;
      const std::size_t size = std::min<std::size_t>(text.size(), 8);
      std::memcpy(&eight, text.data(), size);
      sip.word(eight);
      text.remove_prefix(size);
    }
    for (const std::int64_t word : words) sip.word(static_cast<std::uint64_t>(word));
    count(sip);
  }
  std::uint64_t rows() const noexcept { return rows_; }
  bool operator==(const Fingerprint& other) const noexcept {
    return sum_ == other.sum_ && rows_ == other.rows_;
  }

 private:
  struct Sip {
    explicit Sip(Key key)
        : a(key.first ^ 0x736f6d6570736575),
          b(key.second ^ 0x646f72616e646f6d),
          c(key.first ^ 0x6c7967656e657261),
          d(key.second ^ 0x7465646279746573) {}
    void round() noexcept {
      a += b, b = std::rotl(b, 13) ^ a, a = std::rotl(a, 32);
      c += d, d = std::rotl(d, 16) ^ c;
      a += d, d = std::rotl(d, 21) ^ a;
      c += b, b = std::rotl(b, 17) ^ c, c = std::rotl(c, 32);
    }
    void word(std::uint64_t word) noexcept {
      d ^= word;
      round();
      a ^= word;
    }
    std::uint64_t end() noexcept {
      c ^= 0xff;
      round(), round(), round();
      return a ^ b ^ c ^ d;
    }
    std::uint64_t a, b, c, d;
  };
  void count(Sip& sip) noexcept {
    sum_ += sip.end();
    ++rows_;
  }
  Key key_;
  std::uint64_t sum_ = 0, rows_ = 0;
};

// ── what an event leaves in the other tables ──

struct RequestEntry {
  AccountNumber scope = 0;
  store::RequestKind kind = store::RequestKind::idempotency_key;
  std::string_view key;
};
/// `each(RequestEntry)` for the caller's keys that an event used up, until it gives false.
template <class Each>
bool for_requests_of(const Fields& fields, Each&& each) {
  const auto once = [&](AccountNumber scope, const std::string& key) {
    return key.empty() || each(RequestEntry{scope, store::RequestKind::idempotency_key, key});
  };
  if (const auto* topup = std::get_if<TopUpEvent>(&fields)) {
    if (!once(0, topup->once)) return false;  // only an operator tops up
    return topup->reference.empty() ||
           each(RequestEntry{topup->wallet, store::RequestKind::topup_reference, topup->reference});
  }
  if (const auto* of = std::get_if<TransferEvent>(&fields)) return once(of->by, of->once);
  if (const auto* of = std::get_if<PayoutEvent>(&fields)) return once(of->by, of->once);
  if (const auto* of = std::get_if<WalletCreatedEvent>(&fields)) return once(of->by, of->once);
  if (const auto* of = std::get_if<KeyIssuedEvent>(&fields)) return once(of->by, of->once);
  if (const auto* of = std::get_if<KeyBoundEvent>(&fields)) return once(of->by, of->once);
  // Only an operator gives these.
  if (const auto* of = std::get_if<GrantEvent>(&fields)) return once(0, of->once);
  if (const auto* of = std::get_if<WaitlistJoined>(&fields)) return once(0, of->once);
  if (const auto* of = std::get_if<WaitlistApprovedEvent>(&fields)) return once(0, of->once);
  return true;
}

/// Whether an event of money names only wallets that are there and amounts that are some, and ends nothing
/// that may not be ended; else what is wrong. The book takes events as they come, since the engine judged
/// them, and its sums would not survive every number that fits the fields.
class Judge {
 public:
  Judge(const Book& book, Instant at) : book_(book), at_(at) {}

  std::string_view operator()(const SpendEvent& of) const {
    if (!known(of.wallet)) return "its wallet is unknown";
    if (of.host && !known(*of.host)) return "its host is unknown";
    if (of.expires_in_s && (*of.expires_in_s < 1 || *of.expires_in_s > expires_in_s_max))
      return "its deadline is out of range";
    if (of.under.size() > core::key_blocks_max) return "its key has more blocks than one may have";
    return some(of.amount);
  }
  std::string_view operator()(const EarnEvent& of) const {
    const auto lock = book_.locks.find(of.lock);
    if (lock == book_.locks.end()) return "its lock is not open";
    if (!known(of.host)) return "its host is unknown";
    if (lock->second.host != 0 && lock->second.host != of.host) return "its lock names another host";
    if (of.before != lock->second.paid) return "others were paid otherwise out of its lock";
    if (of.more && (lock->second.job == 0 || of.gross == lock->second.amount))
      return "nobody can be paid after it";
    const core::LockFacts facts{.locked = lock->second.amount, .deadline = lock->second.deadline};
    if (const Reason reason = core::judge_settlement(facts, of.gross, at_); reason != Reason::none)
      return word(reason);
    const core::FeeSplit split = core::split_fee(of.gross, book_.fee_basis_points);
    if (split.fee != of.fee || split.net != of.net) return "its fee is not the market's";
    return {};
  }
  std::string_view operator()(const ReleaseEvent& of) const {
    const auto lock = book_.locks.find(of.lock);
    if (lock == book_.locks.end()) return "its lock is not open";
    return core::is_due(lock->second.deadline, at_) ? word(Reason::escrow_expired) : std::string_view();
  }
  std::string_view operator()(const ExpireEvent& of) const {
    const auto lock = book_.locks.find(of.lock);
    if (lock == book_.locks.end()) return "its lock is not open";
    return core::is_due(lock->second.deadline, at_) ? std::string_view() : "its deadline has not come";
  }
  std::string_view operator()(const BurnEvent& of) const {
    return known(of.wallet) ? std::string_view() : "its wallet is unknown";
  }
  std::string_view operator()(const TransferEvent& of) const {
    if (!known(of.from) || !known(of.to)) return "its wallet is unknown";
    if (of.from == of.to) return "it pays itself";
    return some(of.amount);
  }
  std::string_view operator()(const TopUpEvent& of) const {
    return known(of.wallet) ? some(of.amount) : "its wallet is unknown";
  }
  std::string_view operator()(const KeyBoundEvent& of) const {
    if (of.once.empty()) return "it binds no key";
    return of.event >= 1 && of.event <= book_.seq ? std::string_view() : "it names no event before it";
  }
  std::string_view operator()(const MarketCreated& of) const {
    if (!book_.market.empty()) return "the market was created before";
    if (of.fee_basis_points < 0 || of.fee_basis_points > core::basis_points_whole)
      return "its fee is out of range";
    return {};
  }
  std::string_view operator()(const WalletCreatedEvent& of) const {
    if (of.parent != 0 && !known(of.parent)) return "its parent is unknown";
    const bool by_signature = of.by == of.wallet;
    if (by_signature && (of.owner_type != OwnerType::human || of.parent != 0 ||
                         !core::request_signature::address_in(of.owner_id)))
      return "no signature opens such a wallet";
    return {};
  }
  std::string_view operator()(const WalletChanged& of) const {
    return known(of.wallet) ? std::string_view() : "its wallet is unknown";
  }
  std::string_view operator()(const WalletWhitelisted& of) const {
    if (!known(of.wallet)) return "its wallet is unknown";
    return book_.wallet(of.wallet)->owner_type == OwnerType::human ? std::string_view()
                                                                   : "its wallet is an agent's";
  }
  std::string_view operator()(const KeyIssuedEvent& of) const {
    if (of.wallet != 0 && !known(of.wallet)) return "its wallet is unknown";
    if (of.expires_in_s.has_value() != (of.kind == KeyKind::session))
      return "a session ends, no other key does";
    if (of.kind == KeyKind::jobs && of.wallet == 0) return "operators get no key for jobs";
    if (!is_managed(of.kind) && (of.wallet == 0 || of.by != of.wallet))
      return "nobody but the wallet's owner gets such a key";
    if (of.delegate.has_value() != (of.wallet != 0))
      return "of wallets' keys others are derived, of no operator's";
    return {};
  }
  std::string_view operator()(const ApprovalRequested& of) const {
    if (!known(of.wallet)) return "its wallet is unknown";
    return of.expires_in_s < 1 || of.expires_in_s > expires_in_s_max ? "its deadline is out of range"
                                                                     : std::string_view();
  }
  std::string_view operator()(const GrantEvent& of) const {
    if (!known(of.wallet)) return "its wallet is unknown";
    if (book_.granted_owners.contains(book_.wallet(of.wallet)->owner_id))
      return "its owner had the grant before";
    return some(of.amount);
  }
  std::string_view operator()(const PayoutEvent& of) const {
    return known(of.wallet) ? some(of.amount) : "its wallet is unknown";
  }
  std::string_view operator()(const PayoutConfirmed& of) const { return pending(of.payout); }
  std::string_view operator()(const PayoutFailed& of) const { return pending(of.payout); }
  std::string_view operator()(const auto&) const { return {}; }

 private:
  bool known(AccountNumber account) const {
    return core::is_wallet(account) && book_.wallet(account) != nullptr;
  }
  static std::string_view some(Money amount) {
    return amount.micro > 0 ? std::string_view() : "its amount is nothing";
  }
  std::string_view pending(Seq payout) const {
    const auto found = book_.payouts.find(payout);
    if (found == book_.payouts.end()) return "its payout is unknown";
    return found->second.status == PayoutStatus::pending ? std::string_view() : "its payout ended before";
  }
  const Book& book_;
  Instant at_;
};

std::optional<json::Value> read_value(std::string_view text) {
  Result<json::Value> value = read_json(text);
  return value.ok() ? std::optional<json::Value>(*std::move(value)) : std::nullopt;
}

std::string event_name(Seq seq) { return "event " + std::to_string(seq); }

/// An anchor as it was read; nothing in it is believed before it is judged by the market's keys.
struct ReadAnchor {
  enum class Kind : std::uint8_t { none, receipt, checkpoint } kind = Kind::none;
  std::string text;  ///< The receipt as it came, or the note.

  std::string jws;
  std::int64_t leaf = 0;
  Seq seq = 0;
  core::Digest head;

  std::uint64_t size = 0;
  core::Digest root;
  std::string origin;
};

Error malformed_anchor(std::string what) {
  return fail(Reason::anchor_malformed, "the anchor " + std::move(what),
              json::object({{"field", "/anchor"}}));
}

Result<ReadAnchor> read_anchor(const Anchor& anchor) {
  ReadAnchor out;
  const std::size_t last = anchor.find_last_not_of(" \t\r\n");
  if (last == std::string::npos) return out;
  const std::size_t first = anchor.find_first_not_of(" \t\r\n");
  out.text = anchor.substr(first, last + 1 - first);

  if (out.text.front() != '{' && out.text.find('\n') != std::string::npos) {
    out.kind = ReadAnchor::Kind::checkpoint;
    out.text.push_back('\n');  // a note ends in one, which a shell's $(cat note) takes away
    const auto opened = note::read_note(out.text);
    auto checkpoint = opened ? note::read_checkpoint(opened->text) : std::nullopt;
    if (!checkpoint) return malformed_anchor("is no signed checkpoint");
    out.size = checkpoint->head.size;
    out.root = checkpoint->head.root;
    out.origin = std::move(checkpoint->origin);
    return out;
  }

  out.kind = ReadAnchor::Kind::receipt;
  out.jws = out.text;
  if (out.text.front() == '{') {
    const auto document = read_value(out.text);
    const json::Value* jws = document ? document->find("jws") : nullptr;
    if (jws == nullptr || jws->string() == nullptr)
      return malformed_anchor("is no receipt: a document with its jws is needed");
    out.jws = *jws->string();
  }
  const std::size_t dot = out.jws.find('.');
  const std::size_t second = dot == std::string::npos ? dot : out.jws.find('.', dot + 1);
  const auto payload_bytes =
      second == std::string::npos
          ? std::nullopt
          : core::unbase64url(std::string_view(out.jws).substr(dot + 1, second - dot - 1));
  const auto payload = payload_bytes ? read_value(*payload_bytes) : std::nullopt;
  const json::Value* id = payload ? payload->find("id") : nullptr;
  const json::Value* ledger = payload ? payload->find("ledger") : nullptr;
  const json::Value* seq = ledger != nullptr ? ledger->find("seq") : nullptr;
  const json::Value* head = ledger != nullptr ? ledger->find("head") : nullptr;
  if (id == nullptr || id->string() == nullptr || seq == nullptr || seq->integer() == nullptr ||
      head == nullptr || head->string() == nullptr)
    return malformed_anchor("is neither a receipt nor a checkpoint of this kind of market");
  const auto receipt_id = ReceiptId::read(*id->string());
  const auto head_hash = core::read_digest_hex(*head->string());
  if (!receipt_id || !head_hash) return malformed_anchor("is a receipt whose id or ledger can't be read");
  out.leaf = static_cast<std::int64_t>(receipt_id->number());
  out.seq = *seq->integer();
  out.head = *head_hash;
  return out;
}

/// One audit. Every step answers true to go on and false once `report.first_fault` is written.
class Audit {
 public:
  Audit(store::MarketStore& store, AuditDepth depth, ReadAnchor anchor, Fingerprint::Key key)
      : store_(store),
        depth_(depth),
        anchor_(std::move(anchor)),
        locks_(key),
        resolutions_(key),
        parts_(key),
        key_spends_(key),
        requests_(key),
        standing_(key),
        indexed_(key),
        key_(key) {}

  Result<AuditReport> run() {
    const Result<bool> good = all();
    if (!good.ok()) {
      // What the store calls damaged is what an audit is there to find.
      if (good.error().status() != Status::corrupt) return good.error();
      std::string line = good.error().message;
      fault(line.substr(0, line.find("; keep the file")));
    }
    report_.ok = report_.first_fault.empty();
    report_.seq = book_.seq;
    report_.head = core::hex(book_.head);
    return std::move(report_);
  }

 private:
  /// A receipt as the log says it must be.
  struct Expected {
    Seq seq = 0;
    std::size_t end = 0;  ///< Of its payload in `payloads_`.
  };
  struct Mark {
    std::uint64_t size = 0;
    core::Digest root;
  };
  struct SigningKey {
    std::optional<core::PublicKey> key;  ///< Absent when the log's word for it is none.
    std::string header;                  ///< base64url of the protected header.
  };

  static void add(Fingerprint& to, const store::ResolutionRow& row) {
    to.add({row.lock, row.seq, row.amount.micro, row.fee.micro});
  }

  static void add(Fingerprint& to, const store::KeySpendRow& row) {
    to.add(row.block.view(), {row.seq, row.lock, row.amount.micro, row.total.micro});
  }

  using Pair = std::pair<std::int64_t, std::int64_t>;
  using Pairs = std::vector<Pair>;

  bool fault(std::string line) {
    if (report_.first_fault.empty()) report_.first_fault = std::move(line);
    return false;
  }

  Result<bool> all() {
    using Step = Result<bool> (Audit::*)();
    constexpr Step steps[] = {&Audit::read_standing, &Audit::read_checkpoints, &Audit::walk_events,
                              &Audit::end_receipts,  &Audit::compare_tables,   &Audit::compare_tiles,
                              &Audit::look_up_each,  &Audit::judge_anchor,     &Audit::compare_beside,
                              &Audit::compare_schema};
    for (const Step step : steps) {
      CALYX_TRY(const bool good, (this->*step)());
      if (!good) return false;
    }
    return true;
  }

  /// What lies beside the log.
  Result<bool> compare_beside() {
    CALYX_TRY(std::string wrong, fault_beside(store_, book_, std::move(told_), depth_));
    return wrong.empty() || fault(std::move(wrong));
  }

  /// A trigger that is gone lets rows change, and one that was added may do anything at the next write.
  Result<bool> compare_schema() {
    CALYX_TRY(const std::string difference, store_.schema_fault());
    return difference.empty() || fault("schema: " + difference);
  }

  // ── what must be known before the events ──

  /// Reads the events of standing by their index, as opening does: the signing keys, and what the index
  /// lists.
  Result<bool> read_standing() {
    CALYX_CHECK(store_.standing_events([&](const store::EventRow& row) -> Result<bool> {
      std::int64_t start;
      std::memcpy(&start, row.hash.bytes.data(), sizeof start);
      indexed_.add({row.seq, row.kind, start});
      const auto kind = static_cast<EventKind>(row.kind);
      if (kind != EventKind::market_created && kind != EventKind::signing_key_added) return true;
      const Result<Fields> fields = read_fields(kind, row.fields);
      if (!fields.ok()) return true;  // the walk over all events names it
      if (const auto* created = std::get_if<MarketCreated>(&*fields)) {
        if (origin_.empty()) origin_ = checkpoint_origin(created->issuer);
        return true;
      }
      const std::string& text = std::get<SigningKeyAdded>(*fields).public_key;
      const auto bytes = core::unbase64url(text);
      SigningKey key{bytes ? core::octets<32>(*bytes) : std::nullopt, {}};
      if (key.key) {
        const std::string kid = crypto::key_id(*key.key);
        key.header = core::base64url(core::receipt_header(kid));
        trusted_.push_back({kid, *key.key});
        verifiers_.push_back(note::verifier_key(crypto::Sha256{}, origin_, *key.key));
      }
      keys_.push_back(std::move(key));
      return true;
    }));
    return true;
  }

  Result<bool> read_checkpoints() {
    if (origin_.empty()) return true;  // nothing says whose they would be; the walk says so of event 1
    bool good = true;
    CALYX_CHECK(store_.all_checkpoints([&](std::uint64_t size, std::string_view text) -> Result<bool> {
      const auto opened = note::open_checkpoint(text, origin_, verifiers_, crypto::Ed25519{});
      const std::string name = "checkpoint " + std::to_string(size) + ": ";
      if (opened.fault != note::Fault::none)
        good = fault(name + "its note is not to be believed: " + std::string(note::word(opened.fault)));
      else if (opened.checkpoint.head.size != size)
        good = fault(name + "its note is of " + std::to_string(opened.checkpoint.head.size) + " receipts");
      else
        marks_.push_back({size, opened.checkpoint.head.root});
      report_.checkpoints += good ? 1U : 0U;
      return good;
    }));
    // Every mark is compared with the root of the leaves before it, so the newest vouches for all of them.
    covered_ = marks_.empty() || depth_ == AuditDepth::each ? 0 : marks_.back().size;
    return good;
  }

  // ── events ──

  Result<bool> walk_events() {
    bool good = true;
    CALYX_CHECK(store_.events_from(INT64_MIN, [&](const store::EventRow& row) -> Result<bool> {
      CALYX_TRY(good, take(row));
      return good;
    }));
    if (!good) return false;
    if (book_.seq == 0) return fault("events: there is none, and the first would say which market this is");
    if (standing_ == indexed_) return true;
    return fault("events: the index of standing lists " + std::to_string(indexed_.rows()) +
                 " events, and not the " + std::to_string(standing_.rows()) + " that the log has");
  }

  bool at_event(Seq seq, std::string_view what) { return fault(event_name(seq) + ": " + std::string(what)); }

  Result<bool> take(const store::EventRow& row) {
    if (row.seq != book_.seq + 1)
      return row.seq > book_.seq ? at_event(book_.seq + 1, "is missing")
                                 : at_event(row.seq, "stands before the first");
    if (row.at < book_.at || row.at > core::instant_max) return at_event(row.seq, "its time is out of order");
    const auto kind = static_cast<EventKind>(row.kind);
    if (row.kind < 1 || row.kind > 255 || word(kind).empty())
      return at_event(row.seq, std::to_string(row.kind) + " is no kind of event");

    std::optional<Fields> fields = read_usual_fields(kind, row.fields);
    if (!fields) fields = spelled_as_ours(kind, row.fields);
    if (row.seq == 1) {
      const auto* created = fields ? std::get_if<MarketCreated>(&*fields) : nullptr;
      if (created == nullptr) return at_event(1, "does not create a market");
      book_.head = crypto::Sha256{}(created->market);
    }
    const core::EventHead head{.seq = row.seq, .at = row.at, .kind = kind, .prev = book_.head};
    if (core::event_hash(crypto::Sha256{}, head, row.fields, document_) != row.hash)
      return at_event(row.seq, "its hash does not follow from its fields and the hash before");
    if (!fields) return at_event(row.seq, "its fields are not what calyx writes");
    return follow({row.seq, row.at, *std::move(fields)}, row);
  }

  /// The fields, if they are spelled in the one way that calyx spells them.
  std::optional<Fields> spelled_as_ours(EventKind kind, std::string_view text) {
    Result<Fields> fields = read_fields(kind, text);
    if (!fields.ok()) return std::nullopt;
    document_.clear();
    append_fields(document_, *fields);
    if (document_ != text) return std::nullopt;
    return *std::move(fields);
  }

  Result<bool> follow(const Event& event, const store::EventRow& row) {
    if (const std::string_view wrong = std::visit(Judge(book_, event.at), event.fields); !wrong.empty())
      return at_event(event.seq, wrong);
    Result<core::Legs> legs = book_.legs(event);
    if (!legs.ok()) return fault(legs.error().message);
    if (const Reason reason = core::judge(*legs); reason != Reason::none)
      return at_event(event.seq, word(reason));
    for (const core::Entry& leg : legs->all()) {
      // Wallets never go below zero, so none can hold more than what came from outside.
      if (leg.account == core::account_external && !core::plus(book_.external, leg.amount))
        return at_event(event.seq, "more than 2^63 micro-FLOPS came from outside");
    }
    CALYX_TRY(const bool same, expect_entries(event.seq, *legs));
    if (!same) return false;
    if (const auto end = resolution_of(book_, event)) add(resolutions_, *end);
    if (const auto part = part_of(event)) add(parts_, *part);
    for (store::KeySpendRow& spent : key_spends_of(book_, event)) {
      Money& total = key_totals_[spent.block];
      const auto sum = core::plus(total, spent.amount);
      if (!sum) return at_event(event.seq, "a derived key spent more than 2^63 micro-FLOPS");
      spent.total = total = *sum;
      add(key_spends_, spent);
    }
    if (const auto* spend = std::get_if<SpendEvent>(&event.fields); spend != nullptr && spend->job != 0)
      told_.budgets[event.seq] = {spend->job, spend->wallet, spend->amount};

    if (const auto* earn = std::get_if<EarnEvent>(&event.fields)) {
      CALYX_TRY(const bool good, expect_receipt(*earn, event, row.hash));
      if (!good) return false;
      if (earn->work) {
        Told::Settlement& of = told_.settlements[earn->lock];
        if (of.shares.empty()) of = {earn->leaf, earn->output_hash, earn->work->input_hash, {}};
        // One that is of another output or out of its row is no share of this.
        const bool fits = earn->output_hash == of.output && earn->work->input_hash == of.input &&
                          earn->leaf == of.leaf + static_cast<std::int64_t>(of.shares.size());
        of.shares.emplace_back(fits ? earn->host : 0, earn->gross);
      }
    }
    if (const auto* earn = std::get_if<EarnEvent>(&event.fields); earn != nullptr && earn->net.micro == 0)
      if (book_.locks.at(earn->lock).payer != earn->host) zero_earnings_.emplace_back(earn->host, event.seq);
    if (const auto* topup = std::get_if<TopUpEvent>(&event.fields);
        topup != nullptr && is_credit_reference(topup->reference))
      told_.credits[topup->reference] = {event.seq, event.at, topup->wallet, topup->amount};
    if (Result<Done> applied = book_.apply(event, row.hash); !applied.ok())
      return fault(applied.error().message);

    for (const core::Entry& leg : legs->all()) {
      if (!core::is_wallet(leg.account)) continue;
      if (book_.wallet(leg.account)->balance.micro < 0)
        return at_event(event.seq, "account " + std::to_string(leg.account) + " goes below zero");
    }
    if (const auto lock = job_taken_by(event.fields))
      locks_.add(lock->job_id, {lock->payer, event.seq, lock->locked.micro});
    for_requests_of(event.fields, [&](const RequestEntry& request) {
      requests_.add(request.key, {request.scope, static_cast<int>(request.kind), event.seq});
      return true;
    });
    if (row.kind >= core::standing_first) {
      std::int64_t start;
      std::memcpy(&start, row.hash.bytes.data(), sizeof start);
      standing_.add({row.seq, row.kind, start});
    }
    if (anchor_.kind == ReadAnchor::Kind::receipt && event.seq == anchor_.seq) anchored_hash_ = row.hash;
    ++report_.events;
    return true;
  }

  // ── entries ──

  /// Takes note of the rows that the legs of event `seq` become, and compares them when they are many.
  Result<bool> expect_entries(Seq seq, const core::Legs& legs) {
    report_.entries += legs.count();
    CALYX_CHECK(
        for_entries(book_, seq, legs, [&](const store::EntryRow& row, bool milestone) -> Result<Done> {
          expected_entries_.push_back(row);
          if (milestone) milestones_.emplace_back(row.account, row.id);
          return Done{};
        }));
    return expected_entries_.size() < chunk_entries ? Result<bool>(true) : compare_entries(seq);
  }

  /// Compares the entries that wait with the rows of the events up to `last`.
  Result<bool> compare_entries(Seq last) {
    const auto name = [](const store::EntryRow& row) {
      return "entries: account " + std::to_string(row.account) + " at event " +
             std::to_string(core::event_of(row.id)) + " has ";
    };
    bool good = true;
    auto next = expected_entries_.begin();
    // The first look starts before the first event, where nothing may stand either.
    CALYX_CHECK(store_.entries_from(entries_from_, [&](const store::EntryRow& row) -> Result<bool> {
      if (core::event_of(row.id) > last) return false;
      if (next == expected_entries_.end() || row.id < next->id)
        good = fault(name(row) + core::money_text(row.amount) + ", the event says nothing of it");
      else if (row.id > next->id)
        good = fault(name(*next) + "no row, the event says " + core::money_text(next->amount));
      else if (row.account != next->account || row.amount != next->amount)
        good = fault(name(row) + core::money_text(row.amount) + ", the event says " +
                     core::money_text(next->amount) + " of account " + std::to_string(next->account));
      else if (row.previous != next->previous)
        good = fault(name(row) + "entry " + std::to_string(row.previous) + " before it, and not " +
                     std::to_string(next->previous));
      else
        ++next;
      return good;
    }));
    if (good && next != expected_entries_.end())
      good = fault(name(*next) + "no row, the event says " + core::money_text(next->amount));
    expected_entries_.clear();
    if (last != INT64_MAX) entries_from_ = core::entry_id(last + 1, 0);
    return good;
  }

  // ── receipts ──

  std::uint64_t next_leaf() const { return log_.size() + expected_.size(); }

  Result<bool> expect_receipt(const EarnEvent& earn, const Event& event, const core::Digest& hash) {
    if (earn.leaf != static_cast<std::int64_t>(next_leaf()))
      return at_event(event.seq, "its receipt is leaf " + std::to_string(earn.leaf) + ", the next one is " +
                                     std::to_string(next_leaf()));
    const OpenLock& lock = book_.locks.find(earn.lock)->second;
    core::append_receipt_payload(payloads_, {.id = book_.receipt_id(earn.leaf, event.at),
                                             .issuer = book_.issuer,
                                             .issued_at = event.at,
                                             .job_id = lock.job_id,
                                             .payer_wallet = book_.wallet(lock.payer)->id,
                                             .host_wallet = book_.wallet(earn.host)->id,
                                             .gpu_model = earn.gpu_model,
                                             .duration_seconds = earn.duration_seconds,
                                             .output_hash = earn.output_hash,
                                             .gross = earn.gross,
                                             .platform_fee = earn.fee,
                                             .net = earn.net,
                                             .fee_basis_points = book_.fee_basis_points,
                                             .reference = book_.txn_id(event.seq, event.at),
                                             .seq = static_cast<std::uint64_t>(event.seq),
                                             .head = hash,
                                             .work = earn.work ? &*earn.work : nullptr});
    expected_.push_back({event.seq, payloads_.size()});
    if (expected_.size() < chunk_receipts) return true;
    return compare_receipts();
  }

  /// Compares the receipts that wait with the rows of their leaves.
  Result<bool> compare_receipts() {
    if (expected_.empty()) return true;
    bool good = true;
    std::size_t next = 0, begin = 0;
    // The first look starts before leaf 0, where nothing may stand either.
    const std::int64_t from = log_.size() == 0 ? INT64_MIN : static_cast<std::int64_t>(log_.size());
    CALYX_CHECK(store_.receipts_from(from, [&](const store::ReceiptRow& row) -> Result<bool> {
      const Expected& expected = expected_[next];
      good =
          compare_receipt(row, expected.seq, std::string_view(payloads_).substr(begin, expected.end - begin));
      begin = expected.end;
      return good && ++next < expected_.size();
    }));
    if (good && next < expected_.size())
      good = at_receipt(static_cast<std::int64_t>(log_.size()), "is missing");
    expected_.clear();
    payloads_.clear();
    return good;
  }

  bool at_receipt(std::int64_t leaf, std::string_view what) {
    return fault("receipt " + std::to_string(leaf) + ": " + std::string(what));
  }

  bool compare_receipt(const store::ReceiptRow& row, Seq seq, std::string_view payload) {
    const auto leaf = static_cast<std::int64_t>(log_.size());
    if (row.leaf != leaf)
      return row.leaf > leaf ? at_receipt(leaf, "is missing")
                             : at_receipt(row.leaf, "stands before the first");
    if (row.seq != seq)
      return at_receipt(leaf,
                        "names event " + std::to_string(row.seq) + ", it is of event " + std::to_string(seq));
    if (row.payload != payload)
      return at_receipt(leaf, "does not say what event " + std::to_string(seq) + " says");
    const auto place = static_cast<std::size_t>(row.key);
    if (row.key < 0 || place >= keys_.size() || !keys_[place].key)
      return at_receipt(leaf, "signing key " + std::to_string(row.key) + " is unknown");
    const auto signature = core::octets<64>(row.signature);
    if (!signature) return at_receipt(leaf, "signature");

    jws_.clear();
    core::append_signing_input(jws_, keys_[place].header, payload);
    if (static_cast<std::uint64_t>(leaf) >= covered_) {
      ++report_.signatures;
      if (!crypto::ed25519_verify(*keys_[place].key, jws_, *signature)) return at_receipt(leaf, "signature");
    }
    core::append_signature(jws_, *signature);
    if (anchor_.kind == ReadAnchor::Kind::receipt && leaf == anchor_.leaf) {
      anchored_leaf_ = true;
      anchored_same_ = jws_ == anchor_.jws;
    }
    log_.append(crypto::Sha256{}, merkle::leaf_hash(crypto::Sha256{}, jws_),
                [&](unsigned level, std::uint64_t, const core::Digest& hash) {
                  if (level == 0 || level % store::tile_levels != 0) return;
                  tiles_[level / store::tile_levels - 1].push_back(hash);
                });
    ++report_.receipts;
    return compare_mark();
  }

  /// At every 256th leaf there is a checkpoint, and wherever one is its root is this tree's.
  bool compare_mark() {
    if (anchor_.kind == ReadAnchor::Kind::checkpoint && log_.size() == anchor_.size)
      anchored_root_ = log_.root(crypto::Sha256{});
    if (next_mark_ < marks_.size() && marks_[next_mark_].size == log_.size()) {
      if (log_.root(crypto::Sha256{}) == marks_[next_mark_++].root) return true;
      return fault("checkpoint " + std::to_string(log_.size()) + ": its root is not that of the receipts");
    }
    if (log_.size() % chunk_receipts != 0) return true;
    return fault("checkpoint " + std::to_string(log_.size()) + ": is missing");
  }

  Result<bool> end_receipts() {
    CALYX_TRY(bool good, compare_receipts());
    if (!good) return false;
    const std::int64_t from = log_.size() == 0 ? INT64_MIN : static_cast<std::int64_t>(log_.size());
    CALYX_CHECK(store_.receipts_from(from, [&](const store::ReceiptRow& row) -> Result<bool> {
      return good = at_receipt(row.leaf, "no event settles it");
    }));
    if (good && next_mark_ < marks_.size())
      good = fault("checkpoint " + std::to_string(marks_[next_mark_].size) + ": the log has only " +
                   std::to_string(log_.size()) + " receipts");
    return good;
  }

  // ── the other tables ──

  Result<bool> compare_tables() {
    core::Wide all = static_cast<core::Wide>(book_.external.micro) + book_.fees.micro;
    for (const WalletState& wallet : book_.wallets)
      all += static_cast<core::Wide>(wallet.balance.micro) + wallet.held.micro;
    if (all != 0) return fault("balances: they do not sum to zero");

    CALYX_TRY(bool good, compare_entries(INT64_MAX));
    if (!good) return false;
    Fingerprint locks(key_), resolutions(key_), parts(key_), key_spends(key_), requests(key_);
    core::Wide in_escrow = 0, fees = 0;
    CALYX_CHECK(store_.all_locks([&](std::string_view job_id, const store::LockRow& row) -> Result<bool> {
      locks.add(job_id, {row.payer, row.seq, row.amount.micro});
      in_escrow += row.amount.micro;
      return true;
    }));
    const auto end = [&](Fingerprint& of, const store::ResolutionRow& row) {
      add(of, row);
      in_escrow -= row.amount.micro;
      fees += row.fee.micro;
      return true;
    };
    CALYX_CHECK(store_.all_resolutions(
        [&](const store::ResolutionRow& row) -> Result<bool> { return end(resolutions, row); }));
    CALYX_CHECK(
        store_.all_parts([&](const store::ResolutionRow& row) -> Result<bool> { return end(parts, row); }));
    CALYX_CHECK(store_.all_key_spends([&](const store::KeySpendRow& row) -> Result<bool> {
      add(key_spends, row);
      return true;
    }));
    CALYX_CHECK(store_.all_requests(
        [&](AccountNumber scope, store::RequestKind kind, std::string_view key, Seq seq) -> Result<bool> {
          requests.add(key, {scope, static_cast<int>(kind), seq});
          return true;
        }));
    if (locks != locks_ || resolutions != resolutions_ || requests != requests_) return name_row();
    if (parts != parts_) return fault("parts: they are not what the events say");
    if (key_spends != key_spends_) return fault("key_spends: they are not what the events say");
    // What these rows are compared with is made as they were made themselves; the sums come from the legs.
    if (fees != book_.fees.micro) return fault("fees: the rows' sum is not what the events moved");
    for (const WalletState& wallet : book_.wallets) in_escrow -= wallet.held.micro;
    if (in_escrow != 0) return fault("escrow: the rows' sum is not what the events left in it");
    std::sort(zero_earnings_.begin(), zero_earnings_.end());
    CALYX_TRY(good, compare_pairs("zero_earnings", "event", zero_earnings_,
                                  &store::MarketStore::all_zero_earnings));
    if (!good) return false;
    std::sort(milestones_.begin(), milestones_.end());
    return compare_pairs("milestones", "entry", milestones_, &store::MarketStore::all_milestones);
  }

  /// Compares the rows of `table`, each an account and the number of a `what`, with those that the events
  /// say; both are sorted.
  template <class All>
  Result<bool> compare_pairs(const char* table, const char* what, const Pairs& wanted, All walk) {
    const auto name = [&](const Pair& row) {
      return std::string(table) + ": account " + std::to_string(row.first) + " at " + what + " " +
             std::to_string(row.second);
    };
    bool good = true;
    auto next = wanted.begin();
    CALYX_CHECK((store_.*walk)([&](std::int64_t first, std::int64_t second) -> Result<bool> {
      const Pair row(first, second);
      if (next == wanted.end() || row < *next)
        good = fault(name(row) + " has a row, the event says nothing of it");
      else if (*next < row)
        good = fault(name(*next) + " has no row");
      else
        ++next;
      return good;
    }));
    if (!good) return false;
    return next == wanted.end() || fault(name(*next) + " has no row");
  }

  /// Locks, resolutions or requests differ from the events: names the first row, those that lack before
  /// those that are too many.
  Result<bool> name_row() {
    CALYX_TRY(bool good, look_up());
    if (!good) return false;
    const auto said = [&](Seq seq, auto&& says) -> Result<bool> {
      CALYX_TRY(const auto row, store_.event(seq));
      if (!row) return false;
      CALYX_TRY(const Fields fields, read_fields(static_cast<EventKind>(row->kind), row->fields));
      return says(fields);
    };
    CALYX_CHECK(store_.all_locks([&](std::string_view job_id, const store::LockRow& row) -> Result<bool> {
      std::optional<Money> locked;
      CALYX_TRY(const bool known, said(row.seq, [&](const Fields& fields) {
                  const auto lock = job_taken_by(fields);
                  if (lock) locked = lock->locked;
                  return lock && lock->job_id == job_id && lock->payer == row.payer;
                }));
      const std::string name =
          "locks: job " + std::string(job_id) + " of account " + std::to_string(row.payer);
      if (!known)
        good = fault(name + " names event " + std::to_string(row.seq) + ", which does not lock it");
      else if (row.amount != *locked)
        good = fault(name + " has " + core::money_text(row.amount) + ", event " + std::to_string(row.seq) +
                     " says " + core::money_text(*locked));
      return good;
    }));
    if (!good) return false;
    CALYX_CHECK(store_.all_resolutions([&](const store::ResolutionRow& row) -> Result<bool> {
      store::ResolutionRow wanted;
      Money before;  // what others were paid, which was locked and is not there any more
      const auto ends = [&](const Fields& fields) {
        if (const auto* earn = std::get_if<EarnEvent>(&fields)) {
          wanted.fee = earn->fee;
          before = earn->before;
        }
        return lock_ended_by(fields) == row.lock;
      };
      CALYX_TRY(const bool known, said(row.seq, ends));
      CALYX_TRY(const bool locked, said(row.lock, [&](const Fields& fields) {
                  const auto lock = job_taken_by(fields);
                  if (lock) wanted.amount.micro = lock->locked.micro - before.micro;
                  return lock.has_value();
                }));
      const std::string name = "resolutions: lock " + std::to_string(row.lock);
      if (!known || !locked)
        good = fault(name + " names event " + std::to_string(row.seq) + ", which does not end it");
      else if (row.amount != wanted.amount)
        good = fault(name + " gave out " + core::money_text(row.amount) + ", the events say " +
                     core::money_text(wanted.amount));
      else if (row.fee != wanted.fee)
        good = fault(name + " has a fee of " + core::money_text(row.fee) + ", event " +
                     std::to_string(row.seq) + " says " + core::money_text(wanted.fee));
      return good;
    }));
    if (!good) return false;
    CALYX_CHECK(store_.all_requests(
        [&](AccountNumber scope, store::RequestKind kind, std::string_view key, Seq seq) -> Result<bool> {
          CALYX_TRY(const bool known, said(seq, [&](const Fields& fields) {
                      return !for_requests_of(fields, [&](const RequestEntry& entry) {
                        return entry.scope != scope || entry.kind != kind || entry.key != key;
                      });
                    }));
          if (!known)
            good = fault("requests: a key of account " + std::to_string(scope) + " names event " +
                         std::to_string(seq) + ", which does not use it");
          return good;
        }));
    if (!good) return false;
    return fault("locks, resolutions and requests: they are not what the events say");
  }

  /// Looks every row that the events imply up by its key.
  Result<bool> look_up() {
    bool good = true;
    CALYX_CHECK(store_.events_from(1, [&](const store::EventRow& row) -> Result<bool> {
      CALYX_TRY(Fields fields, read_fields(static_cast<EventKind>(row.kind), row.fields));
      const Event event{row.seq, row.at, std::move(fields)};
      const auto is = [&](const std::optional<Seq>& found, std::string line) {
        if (found == event.seq) return true;
        return fault(std::move(line) + " of event " + std::to_string(event.seq) +
                     (found ? " leads to event " + std::to_string(*found) : std::string(" is not found")));
      };
      if (const auto lock = job_taken_by(event.fields)) {
        CALYX_TRY(const auto found, store_.find_lock(lock->job_id, lock->payer));
        good = is(found, "locks: job " + std::string(lock->job_id));
      }
      if (const Seq ended = lock_ended_by(event.fields); good && ended != 0) {
        CALYX_TRY(const auto found, store_.find_resolution(ended));
        good = is(found, "resolutions: lock " + std::to_string(ended));
      }
      Result<Done> found_all = Done{};
      for_requests_of(event.fields, [&](const RequestEntry& request) {
        const auto found = store_.find_request(request.scope, request.kind, request.key);
        if (!found.ok())
          found_all = found.error();
        else
          good = good && is(*found, "requests: a key");
        return good && found.ok();
      });
      CALYX_CHECK(std::move(found_all));
      return good;
    }));
    return good;
  }

  Result<bool> look_up_each() {
    if (depth_ != AuditDepth::each) return true;
    CALYX_TRY(bool good, look_up());
    if (!good) return false;
    for (Seq seq = 1; seq <= book_.seq; ++seq) {
      CALYX_TRY(const auto row, store_.event(seq));
      if (!row) return at_event(seq, "is not found by its number");
      if (row->kind != static_cast<int>(EventKind::earn)) continue;
      CALYX_TRY(const Fields fields, read_fields(EventKind::earn, row->fields));
      const std::int64_t leaf = std::get<EarnEvent>(fields).leaf;
      CALYX_TRY(const auto receipt, store_.receipt(leaf));
      if (!receipt) return at_receipt(leaf, "is not found by its number");
    }
    for (const WalletState& wallet : book_.wallets) {
      CALYX_TRY(const Money sum, store_.sum_of(wallet.number, wallet.last_entry, 0));
      if (sum != wallet.balance)
        return fault("entries: account " + std::to_string(wallet.number) + " sums to " +
                     core::money_text(sum) + ", the events say " + core::money_text(wallet.balance));
    }
    for (std::size_t level = 0; level < tiles_.size(); ++level)
      for (std::size_t place = 0; place < tiles_[level].size(); ++place) {
        const auto number = static_cast<unsigned>((level + 1) * store::tile_levels);
        CALYX_TRY(const auto tile, store_.tile(number, place));
        if (!tile) return at_tile(number, place, "is not found by its number");
      }
    return true;
  }

  bool at_tile(std::uint64_t level, std::uint64_t place, std::string_view what) {
    return fault("tile " + std::to_string(level) + "/" + std::to_string(place) + ": " + std::string(what));
  }

  Result<bool> compare_tiles() {
    bool good = true;
    std::size_t level = 0, place = 0;  // of the next one that must come
    const auto pass_ended = [&] {
      while (level < tiles_.size() && place == tiles_[level].size()) ++level, place = 0;
    };
    const auto number = [&] { return (level + 1) * store::tile_levels; };
    CALYX_CHECK(store_.all_tiles(
        [&](unsigned row_level, std::uint64_t index, const core::Digest& hash) -> Result<bool> {
          pass_ended();
          if (level == tiles_.size() || row_level < number() || (row_level == number() && index < place))
            good = at_tile(row_level, index, "there is no such subtree");
          else if (row_level != number() || index != place)
            good = at_tile(number(), place, "is missing");
          else if (hash != tiles_[level][place])
            good = at_tile(row_level, index, "is not the hash of its receipts");
          ++place;
          return good;
        }));
    if (!good) return false;
    pass_ended();
    return level == tiles_.size() || at_tile(number(), place, "is missing");
  }

  // ── the anchor ──

  Result<bool> judge_anchor() {
    if (anchor_.kind == ReadAnchor::Kind::none) return true;
    const std::string receipts = std::to_string(log_.size());
    if (anchor_.kind == ReadAnchor::Kind::checkpoint) {
      const auto opened = note::open_checkpoint(anchor_.text, origin_, verifiers_, crypto::Ed25519{});
      switch (opened.fault) {
        case note::Fault::none: break;
        case note::Fault::no_known_key: return fault("anchor: no key of this market signed it");
        case note::Fault::origin:
          return fault("anchor: it is of the log " + anchor_.origin + ", this is " + origin_);
        default: return fault("anchor: its signature does not fit");
      }
      if (anchor_.size > log_.size())
        return fault("the file is older than the anchor: it has " + receipts + " receipts, the anchor " +
                     std::to_string(anchor_.size));
      if (anchor_.size == 0) anchored_root_ = merkle::empty_root(crypto::Sha256{});
      if (anchored_root_ != anchor_.root)
        return fault("the file was rewritten: its first " + std::to_string(anchor_.size) +
                     " receipts are not those of the anchor");
      return true;
    }

    const auto verdict = core::verify_receipt_document(
        anchor_.text, trusted_, [](std::string_view text) { return read_value(text); }, crypto::Ed25519{});
    if (verdict.reason == "key") return fault("anchor: no key of this market signed it");
    if (verdict.reason == "fields_differ")
      return malformed_anchor("says something else than what was signed in it");
    if (!verdict.valid) return fault("anchor: not a valid receipt: " + verdict.reason);
    if (anchor_.seq > book_.seq)
      return fault("the file is older than the anchor: it ends at event " + std::to_string(book_.seq) +
                   ", the anchor is of event " + std::to_string(anchor_.seq));
    if (anchored_hash_ != anchor_.head)
      return fault("the file was rewritten: " + event_name(anchor_.seq) +
                   " is not the one that the anchor names");
    if (!anchored_leaf_)
      return fault("the file is older than the anchor: it has " + receipts +
                   " receipts, the anchor is number " + std::to_string(anchor_.leaf));
    if (!anchored_same_)
      return fault("the file was rewritten: receipt " + std::to_string(anchor_.leaf) + " is not the anchor");
    return true;
  }

  store::MarketStore& store_;
  AuditDepth depth_;
  ReadAnchor anchor_;
  AuditReport report_;
  Told told_;
  Book book_;

  std::string origin_;  ///< Of the market's checkpoints.
  std::vector<SigningKey> keys_;
  std::vector<core::TrustedKey> trusted_;
  std::vector<note::VerifierKey> verifiers_;
  std::vector<Mark> marks_;
  std::size_t next_mark_ = 0;
  std::uint64_t covered_ = 0;  ///< Leaves whose signatures a checkpoint vouches for.

  merkle::Frontier log_;
  std::vector<store::EntryRow> expected_entries_;
  core::EntryId entries_from_ = INT64_MIN;  ///< The first row that was not compared yet.
  Pairs zero_earnings_, milestones_;        ///< As the events say.
  std::array<std::vector<core::Digest>, 64 / store::tile_levels> tiles_;
  std::vector<Expected> expected_;
  std::string payloads_, jws_, document_;  // kept between rows: the walk allocates little

  Fingerprint locks_, resolutions_, parts_, key_spends_, requests_, standing_,
      indexed_;                                                     ///< As the events say.
  std::unordered_map<core::Digest, Money, DigestHash> key_totals_;  ///< Of derived keys' blocks.
  Fingerprint::Key key_;

  std::optional<core::Digest> anchored_hash_, anchored_root_;
  bool anchored_leaf_ = false, anchored_same_ = false;
};

}  // namespace

std::optional<Fields> read_usual_fields(EventKind kind, std::string_view text) {
  UsualReader in(text);
  switch (kind) {
    case EventKind::spend: {
      std::optional<Fields> out(std::in_place, std::in_place_type<SpendEvent>);
      SpendEvent& of = std::get<SpendEvent>(*out);
      in.need("{\"amount\":").money(of.amount);
      if (in.take(",\"expires_in_s\":")) in.number(of.expires_in_s.emplace());
      if (in.take(",\"gpu_type\":")) in.text(of.gpu_type.emplace());
      if (in.take(",\"host\":")) in.number(of.host.emplace());
      in.need(",\"job_id\":").text(of.job_id).need(",\"wallet\":").number(of.wallet);
      return in.done() ? std::move(out) : std::nullopt;
    }
    case EventKind::earn: {
      std::optional<Fields> out(std::in_place, std::in_place_type<EarnEvent>);
      EarnEvent& of = std::get<EarnEvent>(*out);
      in.need("{\"duration_seconds\":").number(of.duration_seconds);
      in.need(",\"fee\":").money(of.fee).need(",\"gpu_model\":").text(of.gpu_model);
      in.need(",\"gross\":").money(of.gross).need(",\"host\":").number(of.host);
      in.need(",\"leaf\":").number(of.leaf).need(",\"lock\":").number(of.lock);
      in.need(",\"net\":").money(of.net).need(",\"output_hash\":").digest(of.output_hash);
      return in.done() ? std::move(out) : std::nullopt;
    }
    case EventKind::release: {
      ReleaseEvent of;
      in.need("{\"lock\":").number(of.lock);
      return in.done() ? std::optional<Fields>(of) : std::nullopt;
    }
    case EventKind::expire: {
      ExpireEvent of;
      in.need("{\"lock\":").number(of.lock);
      return in.done() ? std::optional<Fields>(of) : std::nullopt;
    }
    case EventKind::transfer: {
      std::optional<Fields> out(std::in_place, std::in_place_type<TransferEvent>);
      TransferEvent& of = std::get<TransferEvent>(*out);
      in.need("{\"amount\":").money(of.amount);
      // What is absent is zero, empty or false; spelled out it would not be canonical.
      if (in.take(",\"by\":") && (in.number(of.by), of.by == 0)) return std::nullopt;
      in.need(",\"from\":").number(of.from);
      if (in.take(",\"idempotency_key\":") && (in.text(of.once), of.once.empty())) return std::nullopt;
      if (in.take(",\"reference\":") && (in.text(of.reference), of.reference.empty())) return std::nullopt;
      of.spends = in.take(",\"spends\":true");
      in.need(",\"to\":").number(of.to);
      return in.done() ? std::move(out) : std::nullopt;
    }
    case EventKind::topup: {
      std::optional<Fields> out(std::in_place, std::in_place_type<TopUpEvent>);
      TopUpEvent& of = std::get<TopUpEvent>(*out);
      in.need("{\"amount\":").money(of.amount);
      if (in.take(",\"idempotency_key\":") && (in.text(of.once), of.once.empty())) return std::nullopt;
      if (in.take(",\"reference\":") && (in.text(of.reference), of.reference.empty())) return std::nullopt;
      in.need(",\"wallet\":").number(of.wallet);
      return in.done() ? std::move(out) : std::nullopt;
    }
    default: return std::nullopt;
  }
}

Result<AuditReport> audit(store::MarketStore& store, const Anchor& anchor, AuditDepth depth) {
  CALYX_TRY(ReadAnchor read, read_anchor(anchor));
  // Nothing that anybody sees depends on what is drawn here.
  Fingerprint::Key key;
  if (!crypto::system_random()(&key, sizeof key))
    return fail(Reason::io_error, "the system gives no random bytes");
  return Audit(store, depth, std::move(read), key).run();
}

}  // namespace calyx::services
