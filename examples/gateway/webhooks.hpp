// Webhooks over the HTTP library's client: what calyx asks its host for, and nothing decided here.
#pragma once

#include <calyx/calyx.hpp>

calyx::WebhookTransport webhook_transport();
