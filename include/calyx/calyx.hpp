/// \file
/// The whole C++ face of calyx. Start at `Engine::open`.
#pragma once

#include <calyx/engine.hpp>            // IWYU pragma: export
#include <calyx/facilitator.hpp>       // IWYU pragma: export
#include <calyx/request.hpp>           // IWYU pragma: export
#include <calyx/session.hpp>           // IWYU pragma: export
#include <calyx/simulated_tokens.hpp>  // IWYU pragma: export
#include <calyx/version.hpp>           // IWYU pragma: export
#include <calyx/worker.hpp>            // IWYU pragma: export
