#include "guard.hpp"

namespace calyx::capi {

calyx_status run_guarded(bool outs_given, Result<Done> (*work)(void* of), void* of) noexcept {
  clear_last_error();
  if (!outs_given) return status_of(Reason::field_missing, "an out-parameter is NULL");
  if (desk.callbacks != 0)
    return status_of(Reason::handle_invalid, "a callback must not call calyx: it runs inside a call already");
  try {
    const Result<Done> done = work(of);
    return done.ok() ? CALYX_OK : status_of(done.error());
  } catch (const Failure& failure) {
    return status_of(failure.error());
  } catch (const std::bad_alloc&) {
    return status_of(Reason::no_memory, "memory ran out");
  } catch (const std::exception& error) {
    return status_of(Reason::internal, error.what());
  } catch (...) {
    return status_of(Reason::internal, "something that is no std::exception was thrown");
  }
}

}  // namespace calyx::capi
