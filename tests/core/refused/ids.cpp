// An id of one thing is not an id of another, and no text or number becomes one by itself.
#include <calyx/core/ids.hpp>

using namespace calyx;

bool same(WalletId wallet, WalletId other) { return wallet == other; }

#if CALYX_WRONG == 1
bool wrong(WalletId wallet, ReceiptId receipt) { return wallet == receipt; }
#elif CALYX_WRONG == 2
WalletId wrong(PayoutId payout) { return payout; }
#elif CALYX_WRONG == 3
WalletId wrong() { return "wlt_00000000000000000000000000"; }
#elif CALYX_WRONG == 4
bool wrong(WalletId wallet, PayoutId payout) { return same(wallet, payout); }
#endif
