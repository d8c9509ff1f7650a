#include "services/export.hpp"

#include "crypto/sha256.hpp"
#include "services/book.hpp"

namespace calyx::services {

/// One event as the formats see it, with the book that stands before it.
struct ExportLine {
  const Book& book;
  const Event& event;
  const core::Legs& legs;
  const store::EventRow& row;
  const core::Digest& prev;
};

/// A format: what stands before the first line, and what an event becomes.
class LedgerExport::Format {
 public:
  virtual ~Format() = default;
  virtual void begin(std::string& out) = 0;
  virtual void write(std::string& out, const ExportLine& line) = 0;
};

namespace {

using Line = ExportLine;

constexpr std::size_t piece_bytes = 64 * 1024;
/// Events read in one transaction at most, once there is something to hand over.
constexpr std::size_t piece_events_max = 4'096;

/// The lock that an event opens, ends or burns. The view is into the event or the book.
struct LockName {
  AccountNumber payer = 0;
  std::string_view job;
};
LockName lock_of(const Line& line) {
  const auto open = [&](Seq seq) -> LockName {
    const auto lock = line.book.locks.find(seq);
    return lock == line.book.locks.end() ? LockName() : LockName{lock->second.payer, lock->second.job_id};
  };
  if (const auto* of = std::get_if<SpendEvent>(&line.event.fields)) return {of->wallet, of->job_id};
  if (const auto* of = std::get_if<BurnEvent>(&line.event.fields)) return {of->wallet, of->job_id};
  if (const auto* of = std::get_if<EarnEvent>(&line.event.fields)) return open(of->lock);
  if (const auto* of = std::get_if<ReleaseEvent>(&line.event.fields)) return open(of->lock);
  if (const auto* of = std::get_if<ExpireEvent>(&line.event.fields)) return open(of->lock);
  return {};
}

std::string_view reference_of(const Fields& fields) {
  if (const auto* of = std::get_if<TopUpEvent>(&fields)) return of->reference;
  if (const auto* of = std::get_if<TransferEvent>(&fields)) return of->reference;
  return {};
}

/// A field of CSV: in quotes when it holds what would end it.
void append_csv(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out.push_back('"');
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
}

/// A name as a journal takes it: a colon would make accounts of it, a semicolon a comment, a bracket a date.
void append_name(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       c == '-' || c == '_' || c == '.';
    if (plain) {
      out.push_back(c);
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out.push_back('%');
    out.push_back(digits[byte >> 4]);
    out.push_back(digits[byte & 15]);
  }
}

/// `escrow:<payer>:`, in which a lock's account is named by its job: two payers may use one job id.
void append_escrow_of(std::string& out, const Line& line, AccountNumber payer) {
  out += "escrow:";
  if (const WalletState* wallet = line.book.wallet(payer)) wallet->id.append_to(out);
  out.push_back(':');
}

class Csv final : public LedgerExport::Format {
 public:
  void begin(std::string& out) override { out += "seq,at,kind,txn_id,account,amount,job_id,reference\n"; }

  void write(std::string& out, const Line& line) override {
    const auto [payer, job] = lock_of(line);
    std::string escrow;
    append_escrow_of(escrow, line, payer);
    escrow += job;
    for (const core::Entry& leg : line.legs.all()) {
      core::json::append_integer(out, line.event.seq);
      out.push_back(',');
      core::append_iso(out, line.event.at);
      out.push_back(',');
      out += core::word(kind_of(line.event.fields));
      out.push_back(',');
      line.book.txn_id(line.event.seq, line.event.at).append_to(out);
      out.push_back(',');
      if (leg.account == core::account_external)
        out += "external";
      else if (leg.account == core::account_fees)
        out += "fees";
      else if (core::is_escrow(leg.account))
        append_csv(out, escrow);
      else if (const WalletState* wallet = line.book.wallet(leg.account))
        wallet->id.append_to(out);
      out.push_back(',');
      core::append_money(out, leg.amount, 2);
      out.push_back(',');
      append_csv(out, job);
      out.push_back(',');
      append_csv(out, reference_of(line.event.fields));
      out.push_back('\n');
    }
  }
};

class JsonLines final : public LedgerExport::Format {
 public:
  void begin(std::string&) override {}

  void write(std::string& out, const Line& line) override {
    const core::EventHead head{
        .seq = line.event.seq, .at = line.event.at, .kind = kind_of(line.event.fields), .prev = line.prev};
    core::append_event_document(out, head, line.row.fields);
    out.back() = ',';  // the closing brace comes one member later
    out += "\"event_hash\":\"";
    core::append_hex(out, line.row.hash);
    out += "\"}\n";
  }
};

class Journal final : public LedgerExport::Format {
 public:
  void begin(std::string& out) override {
    out +=
        "commodity 1000.000000 FLOPS\n"
        "account external\n"
        "account platform:fees\n";
  }

  void write(std::string& out, const Line& line) override {
    if (const auto* created = std::get_if<WalletCreatedEvent>(&line.event.fields)) {
      out += "account wallets:";
      WalletId::make(line.event.at.us, static_cast<std::uint64_t>(created->wallet), line.book.tag)
          .append_to(out);
      out.push_back('\n');
    }
    if (line.legs.count() == 0) return;
    const auto [payer, job] = lock_of(line);
    if (std::holds_alternative<SpendEvent>(line.event.fields)) {
      out += "account ";
      append_escrow_of(out, line, payer);
      append_name(out, job);
      out.push_back('\n');
    }
    out.append(core::iso_text(line.event.at), 0, 10);
    out += " (";
    line.book.txn_id(line.event.seq, line.event.at).append_to(out);
    out += ") ";
    out += core::word(kind_of(line.event.fields));
    if (!job.empty()) {
      out.push_back(' ');
      append_name(out, job);
    }
    out += "  ; seq ";
    core::json::append_integer(out, line.event.seq);
    if (const std::string_view reference = reference_of(line.event.fields); !reference.empty()) {
      out += ", reference ";
      append_name(out, reference);
    }
    out.push_back('\n');
    for (const core::Entry& leg : line.legs.all()) {
      out += "    ";
      if (leg.account == core::account_external) {
        out += "external";
      } else if (leg.account == core::account_fees) {
        out += "platform:fees";
      } else if (core::is_escrow(leg.account)) {
        append_escrow_of(out, line, payer);
        append_name(out, job);
      } else if (const WalletState* wallet = line.book.wallet(leg.account)) {
        out += "wallets:";
        wallet->id.append_to(out);
      }
      out += "  ";
      core::append_money(out, leg.amount, 6);
      out += " FLOPS\n";
    }
    out.push_back('\n');
  }
};

}  // namespace

LedgerExport::LedgerExport(ExportFormat format) : book_(std::make_unique<Book>()) {
  if (format == ExportFormat::csv) format_ = std::make_unique<Csv>();
  if (format == ExportFormat::jsonl) format_ = std::make_unique<JsonLines>();
  if (format == ExportFormat::hledger) format_ = std::make_unique<Journal>();
}
LedgerExport::~LedgerExport() = default;

Result<std::string> LedgerExport::next(store::MarketStore& store) {
  Book& book = *book_;
  std::string piece;
  if (!last_) {
    CALYX_TRY(last_, store.last_seq());
    format_->begin(piece);
  }
  if (book.seq >= *last_) return piece;
  piece.reserve(piece_bytes + 4096);
  std::size_t events = 0;
  CALYX_CHECK(store.events_from(book.seq + 1, [&](const store::EventRow& row) -> Result<bool> {
    CALYX_TRY(Fields fields, read_fields(static_cast<EventKind>(row.kind), row.fields));
    const Event event{row.seq, row.at, std::move(fields)};
    if (const auto* created = std::get_if<MarketCreated>(&event.fields); created != nullptr && row.seq == 1)
      book.head = crypto::Sha256{}(created->market);
    CALYX_TRY(const core::Legs legs, book.legs(event));
    format_->write(piece, {book, event, legs, row, book.head});
    CALYX_CHECK(book.apply(event, row.hash));
    if (row.seq >= *last_ || piece.size() >= piece_bytes) return false;
    // Events that moved nothing leave no line in most formats: the piece ends with something to hand over.
    return ++events < piece_events_max || piece.empty();
  }));
  return piece;
}

}  // namespace calyx::services
