// A facilitator over the HTTP library's client: what calyx asks its host for, and nothing decided here.
#pragma once

#include <atomic>
#include <calyx/calyx.hpp>
#include <string>

/// `authorization` is the header's value, the same each time; empty: none is sent. Once `ended`, which
/// outlives what comes of this, nobody is asked any more.
calyx::FacilitatorOptions facilitator_options(const std::string& url, const std::string& authorization,
                                              const std::atomic<bool>& ended);
