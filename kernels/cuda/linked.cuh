/// \file
/// Programs that the driver has linked with the simulation, in the interpreter's place.
///
/// Start at `linked_with`. Whatever stands in the way (a driver that cannot link, a text that it refuses,
/// other results than the interpreter's), the interpreter simulates. A program that breaks the device while
/// it runs fails its call, as any kernel would, and is not tried again.

#pragma once

#include <cstdint>
#include <string_view>

#include "launch.cuh"

namespace calyx::kernels::cuda {

/// A program's kernel, which takes what the interpreter's takes. Owned by the module, until others have been
/// linked since.
class Linked;

/// The kernel of `text`, linked now if it was not before; null where it cannot be, and `remember` has why.
Linked* linked_with(std::string_view text);

/// Says that `linked` is of no use: it is not given again.
void refuse(Linked& linked);

/// Launches it over one program. False, and `remember` has why, where the driver does not.
bool launch(const Linked& linked, const Launch& what, cudaStream_t stream);

/// Whether somebody has compared its results with the interpreter's.
bool is_proven(const Linked& linked);
void prove(Linked& linked);

}  // namespace calyx::kernels::cuda
