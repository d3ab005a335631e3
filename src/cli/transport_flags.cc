#include "cli/transport_flags.h"

#include "base/status_macros.h"
#include "octavo/value.h"
#include "serve/transport/proxy.h"

namespace octavo::cli {
namespace {

StatusOr<Words> parse_json_list(const std::string& text) {
  const auto list = parse_json(text);
  const Status expected = invalid_argument("must be a JSON list of strings, such as '[\"*\"]'");
  if (!list.ok() || !list->is_list()) return expected;
  Words words;
  for (const Value& item : list->as_list()) {
    if (!item.is_string()) return expected;
    words.push_back(item.as_string());
  }
  return words;
}

void declare_tls_flags(FlagSet& flags, serve::TlsOptions& tls) {
  flags.text("ssl-certfile", &tls.certfile, "FILE",
             "certificate and its chain, in PEM; the server then speaks HTTPS");
  flags.text("ssl-keyfile", &tls.keyfile, "FILE",
             "the certificate's key; otherwise --ssl-certfile");
  flags.text("ssl-ca-certs", &tls.ca_certs, "FILE", "authorities of clients' certificates");
  flags.integer("ssl-cert-reqs", &tls.cert_reqs, {0, 2},
                "clients' certificates: 0 not asked for, 1 checked if given, 2 required");
  flags.text("ssl-ciphers", &tls.ciphers, "LIST", "ciphers of TLS 1.2, in OpenSSL's words");
  flags.toggle("enable-ssl-refresh", &tls.refresh,
               "new connections use certificate files that have changed");
}

void declare_cors_flags(FlagSet& flags, serve::CorsOptions& cors) {
  const auto list = [&flags](std::string name, Words* target, std::string help) {
    flags.custom(std::move(name), "JSON", "[\"*\"]", std::move(help),
                 [target](const std::string& v) -> Status {
                   ASSIGN_OR_RETURN(*target, parse_json_list(v));
                   return {};
                 });
  };
  list("allowed-origins", &cors.origins, "origins whose pages may call the server from a browser");
  list("allowed-methods", &cors.methods, "methods that they may use");
  list("allowed-headers", &cors.headers, "headers that they may send");
  flags.toggle("allow-credentials", &cors.credentials, "they may send cookies");
}

}  // namespace

void declare_transport_flags(FlagSet& flags, serve::ServerOptions& server) {
  flags.text("host", &server.host, "ADDRESS", "address to listen on");
  flags.integer("port", &server.port, {0, 65535}, "0: any free port");
  flags.text("uds", &server.uds, "PATH", "Unix socket to listen on, in place of --host and --port");
  declare_tls_flags(flags, server.tls);
  flags.custom("root-path", "PATH", "", "prefix of our paths behind a proxy, stripped by it or not",
               [&server](const std::string& v) -> Status {
                 ASSIGN_OR_RETURN(server.root_path, serve::parse_root_path(v));
                 return {};
               });
  flags.list("forwarded-allow-ips", &server.forwarded_allow_ips, "ADDRESS",
             "proxies whose X-Forwarded-For and -Proto are believed: addresses, networks, `*`");
  declare_cors_flags(flags, server.cors);
}

}  // namespace octavo::cli
