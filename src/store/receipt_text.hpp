/// \file
/// A receipt's payload as it lies in the file: the same bytes, without the words that every receipt has.
///
/// More than half of a payload is names of members, which no file needs once for each job. Nothing is read or
/// spelled again: the payload is cut at known words, and what lies between them
/// is kept, so unpacking gives back the very bytes that were signed, whatever they were.
///
/// The first byte says how the rest is packed: 0, as it is; 1, the pieces around `words` in receipt_text.cpp,
/// which therefore never change: new words take a new number.
#pragma once

#include <string>
#include <string_view>

namespace calyx::store {

/// Appends `payload`, packed.
void append_packed(std::string& out, std::string_view payload);

/// Appends what was packed; false when `packed` is nothing that `append_packed` wrote.
bool append_unpacked(std::string& out, std::string_view packed);

}  // namespace calyx::store
