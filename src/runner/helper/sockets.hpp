/// \file
/// A task without network: a seccomp filter that refuses to make sockets, where Landlock knows of TCP alone.
#pragma once

namespace calyx::runner::helper {

/// From here on the calling process, and all that it starts, gets EACCES for a socket that is neither local
/// nor of the kernel's own, and ENOSYS for what would make one past the filter: io_uring, and calls of
/// another architecture than this build's. False when the kernel or the build has no such filter. Safe after
/// `clone`, and only once no new privileges can be had.
bool deny_sockets() noexcept;

}  // namespace calyx::runner::helper
