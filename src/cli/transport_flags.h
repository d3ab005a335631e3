// The flags of `octavo serve` about how clients reach it: addresses, TLS, proxies, origins.
#pragma once

#include "cli/flags.h"
#include "serve/server.h"

namespace octavo::cli {

void declare_transport_flags(FlagSet& flags, serve::ServerOptions& server);

}  // namespace octavo::cli
