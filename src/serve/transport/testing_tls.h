// For tests of TLS: a certificate of its own making, and a client over a blocking socket.
#pragma once

#include <openssl/ssl.h>

#include <string>
#include <string_view>

#include "base/testing_directory.h"

namespace octavo::serve {

// Writes a self-signed certificate for `localhost` and its key, in PEM, to new files.
struct TestCertificate {
  TestCertificate();
  // Another pair, in the same files.
  void renew();

  const octavo::testing::TemporaryDirectory temporary;
  const std::string folder = temporary.path().string();
  const std::string certfile = folder + "/cert.pem", keyfile = folder + "/key.pem";
};

class TlsTestClient {
 public:
  // Shakes hands over `fd`, which stays the caller's; see connected().
  explicit TlsTestClient(int fd, int highest_version = TLS1_3_VERSION,
                         std::string_view alpn = "http/1.1");
  ~TlsTestClient();
  TlsTestClient(const TlsTestClient&) = delete;

  bool connected() const { return connected_; }
  std::string protocol() const;  // what ALPN has agreed on
  std::string serial() const;    // of the server's certificate
  bool write(std::string_view bytes);
  // Up to `size` bytes; what came before the end, if that comes first.
  std::string read(size_t size);
  // The server has said that it closes, rather than just gone.
  bool closed_cleanly();
  SSL* ssl() { return ssl_; }

 private:
  SSL_CTX* context_;
  SSL* ssl_;
  bool connected_ = false;
};

}  // namespace octavo::serve
