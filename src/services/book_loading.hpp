/// \file
/// A book, made from what a market's file holds.
#pragma once

#include "services/book.hpp"
#include "store/market_store.hpp"

namespace calyx::services {

/// Fails: as `read_fields`.
Result<Event> read_event(const store::EventRow& row);

/// The book of the market in `store`, from the events of standing, the entries and the open locks. Without
/// its market's id for a file whose log is empty.
/// Fails: `corrupt`; the store.
Result<Book> load_book(store::MarketStore& store);

}  // namespace calyx::services
