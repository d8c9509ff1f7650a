#include "services/book_loading.hpp"

#include "services/receipts.hpp"
#include "services/services.hpp"

namespace calyx::services {

Result<Event> read_event(const store::EventRow& row) {
  CALYX_TRY(Fields fields, read_fields(static_cast<core::EventKind>(row.kind), row.fields));
  return Event{row.seq, row.at, std::move(fields)};
}

Result<Book> load_book(store::MarketStore& store) {
  Book book;
  CALYX_CHECK(store.standing_events([&](const store::EventRow& row) -> Result<bool> {
    CALYX_TRY(const Event event, read_event(row));
    CALYX_CHECK(book.restore(event));
    return true;
  }));
  CALYX_CHECK(store.entries_from(0, [&](const store::EntryRow& row) -> Result<bool> {
    CALYX_CHECK(book.restore_entry(row.id, {row.account, row.amount}));
    return true;
  }));
  CALYX_TRY(const Money fees, store.sum_of_fees());
  book.restore_fees(fees);
  CALYX_CHECK(store.open_locks([&](Seq lock, Money amount) -> Result<Done> {
    CALYX_TRY(const Event event, event_at(store, lock));
    const auto* spend = std::get_if<SpendEvent>(&event.fields);
    if (spend == nullptr || spend->amount != amount)
      return fail(Reason::corrupt,
                  "an escrow account holds what no lock put there; keep the file and run an audit");
    return book.restore_lock(event.seq, event.at, *spend);
  }));
  CALYX_TRY(const Seq last, store.last_seq());
  if (last == 0) return book;
  CALYX_TRY(const std::optional<store::MarketStore::OwnedEvent> tail, store.event(last));
  if (!tail || book.market.empty())
    return fail(Reason::corrupt, "the log has no beginning or no end; keep the file and run an audit");
  book.seq = tail->seq;
  book.at = tail->at;
  book.head = tail->hash;
  CALYX_TRY(book.receipt_log, load_receipt_log(store, book));
  return book;
}

}  // namespace calyx::services
