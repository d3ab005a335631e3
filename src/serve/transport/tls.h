// TLS of the server: TlsAcceptor holds the certificate, TlsSession is one connection's part. A
// session knows no socket: it turns bytes off the wire into plain ones and the other way round, so
// the transport's waiting and sending stay as they are. OpenSSL stays behind this header. The
// acceptor is the io thread's; a session belongs to one thread at a time, whichever that is.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "octavo/status.h"

struct ssl_ctx_st;
struct ssl_st;

namespace octavo::serve {

// The files are PEM. Names and meaning are those of Python's ssl, as vLLM has them.
struct TlsOptions {
  std::string certfile;  // with the chain that leads to an authority; empty: no TLS
  std::string keyfile;   // empty: the key is in certfile
  std::string ca_certs;  // authorities of clients' certificates
  int cert_reqs = 0;     // clients' certificates: 0 not asked for, 1 checked if given, 2 required
  std::string ciphers;   // OpenSSL's list, of TLS 1.2; empty: OpenSSL's choice
  bool refresh = false;  // files that change are read again, for new connections
};

// One connection's TLS 1.2 or 1.3, of which ALPN knows http/1.1.
class TlsSession {
 public:
  enum class State {
    kOpen,       // the handshake is under way or done
    kEnded,      // the peer has said so, or broke the protocol; see error()
    kPlainHttp,  // the peer speaks HTTP without TLS
  };

  explicit TlsSession(ssl_ctx_st* context);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // The handshake is done. What receive() costs before is a processor's milliseconds, afterwards a
  // copy.
  bool established() const;
  // Takes what came off the wire. Appends what it says to `plain`, and what TLS itself has to
  // answer to `wire`.
  State receive(std::string_view bytes, std::string& plain, std::string& wire);
  // Appends `plain` to `wire`, encrypted. False: the session does not allow it.
  bool send(std::string_view plain, std::string& wire);
  // Appends the closing alert. Nothing may be sent after it.
  void close(std::string& wire);
  // Why the session broke; empty if it did not.
  const std::string& error() const { return error_; }

 private:
  friend struct TlsWire;
  State end(int result);

  ssl_st* ssl_;
  std::string_view in_;         // during receive(): what OpenSSL has not read yet
  std::string* out_ = nullptr;  // during a call: where OpenSSL writes
  std::string error_;
};

class TlsAcceptor {
 public:
  // Errors name the flag and the file at fault.
  static StatusOr<std::shared_ptr<TlsAcceptor>> load(const TlsOptions& options);

  // For a new connection. With `refresh`, by the files as they are now; if those cannot be used, by
  // the ones before, with a warning in the log. Null if memory is short.
  std::unique_ptr<TlsSession> accept();
  // What sessions are made of now; for tests that look into handshakes.
  ssl_ctx_st* context() const { return context_.get(); }

 private:
  using Context = std::shared_ptr<ssl_ctx_st>;
  // Tells one version of the files from another.
  using Stamp = std::array<int64_t, 12>;

  explicit TlsAcceptor(const TlsOptions& options) : options_(options) {}
  static StatusOr<Context> make_context(const TlsOptions& options);
  Stamp stamp() const;

  const TlsOptions options_;
  Context context_;
  Stamp stamp_{};
};

}  // namespace octavo::serve
