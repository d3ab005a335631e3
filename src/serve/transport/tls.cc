#include "serve/transport/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

#include "base/log.h"
#include "base/status_macros.h"

namespace octavo::serve {

namespace {

// The oldest entry of OpenSSL's queue, which tells the cause; the queue is empty afterwards.
std::string take_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

Status file_error(const char* flag, const std::string& file) {
  return invalid_argument(std::string(flag) + ": cannot use " + file + ": " + take_error());
}

int refuse_password(char*, int, int, void*) {
  return -1;  // OpenSSL would ask at the terminal
}

// http/1.1 if the client has it on its list; a client that wants only others is told so (RFC 7301).
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  static constexpr unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, chosen_size, kOurs, sizeof kOurs - 1, offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

Status use_authorities(SSL_CTX* context, const TlsOptions& options) {
  if (options.cert_reqs < 0 || options.cert_reqs > 2) {
    return invalid_argument("--ssl-cert-reqs: must be 0, 1 or 2");
  }
  if (options.ca_certs.empty()) {
    if (options.cert_reqs == 0) return ok_status();
    return invalid_argument("--ssl-cert-reqs needs --ssl-ca-certs, to check certificates against");
  }
  if (SSL_CTX_load_verify_locations(context, options.ca_certs.c_str(), nullptr) != 1) {
    return file_error("--ssl-ca-certs", options.ca_certs);
  }
  SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(options.ca_certs.c_str()));
  static constexpr int kModes[] = {SSL_VERIFY_NONE, SSL_VERIFY_PEER,
                                   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
  SSL_CTX_set_verify(context, kModes[options.cert_reqs], nullptr);
  return ok_status();
}

}  // namespace

// What OpenSSL takes for the network: reads come out of the session's in_, writes go to its out_.
struct TlsWire {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* target, int size) {
    std::string_view& in = session(bio).in_;
    BIO_clear_retry_flags(bio);
    const size_t n = std::min(in.size(), static_cast<size_t>(std::max(size, 0)));
    if (n == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    std::memcpy(target, in.data(), n);
    in.remove_prefix(n);
    return static_cast<int>(n);
  }

  static int write(BIO* bio, const char* bytes, int size) {
    BIO_clear_retry_flags(bio);
    session(bio).out_->append(bytes, static_cast<size_t>(size));
    return size;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "octavo");
      BIO_meth_set_read(m, read);
      BIO_meth_set_write(m, write);
      BIO_meth_set_ctrl(m, control);
      return m;
    }();
    return method;
  }
};

TlsSession::TlsSession(SSL_CTX* context) : ssl_(SSL_new(context)) {
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(TlsWire::method());
  if (bio == nullptr) {
    SSL_free(ssl_);
    throw std::bad_alloc();
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_accept_state(ssl_);
}

TlsSession::~TlsSession() {
  SSL_free(ssl_);
}

bool TlsSession::established() const {
  return SSL_is_init_finished(ssl_) != 0;
}

TlsSession::State TlsSession::receive(std::string_view bytes, std::string& plain,
                                      std::string& wire) {
  in_ = bytes;
  out_ = &wire;
  ERR_clear_error();
  char buffer[16 << 10];  // a record at most
  size_t size = 0;
  int result = 0;
  while ((result = SSL_read_ex(ssl_, buffer, sizeof buffer, &size)) == 1) {
    plain.append(buffer, size);
  }
  return end(result);
}

// Where a session stands after a call that did not succeed.
TlsSession::State TlsSession::end(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return State::kOpen;
    case SSL_ERROR_ZERO_RETURN:
      return State::kEnded;
    default:
      break;
  }
  const unsigned long code = ERR_peek_error();
  const bool plain_http =
      ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST;
  error_ = take_error();
  return plain_http ? State::kPlainHttp : State::kEnded;
}

bool TlsSession::send(std::string_view plain, std::string& wire) {
  if (plain.empty()) return true;
  out_ = &wire;
  ERR_clear_error();
  size_t written = 0;
  if (SSL_write_ex(ssl_, plain.data(), plain.size(), &written) == 1) return true;
  error_ = take_error();
  return false;
}

void TlsSession::close(std::string& wire) {
  if (!error_.empty() || !established()) return;
  out_ = &wire;
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

StatusOr<TlsAcceptor::Context> TlsAcceptor::make_context(const TlsOptions& options) {
  if (options.certfile.empty()) {
    return invalid_argument("--ssl-keyfile needs --ssl-certfile, the certificate of that key");
  }
  ERR_clear_error();
  const Context shared(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX* context = shared.get();
  if (context == nullptr) return internal_error("OpenSSL cannot start: " + take_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // Tickets let clients resume; nothing is kept here for those that do not come back.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kName[] = "octavo";
  SSL_CTX_set_session_id_context(context, kName, sizeof kName - 1);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // idle connections keep none
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  SSL_CTX_set_default_passwd_cb(context, refuse_password);

  if (SSL_CTX_use_certificate_chain_file(context, options.certfile.c_str()) != 1) {
    return file_error("--ssl-certfile", options.certfile);
  }
  const bool apart = !options.keyfile.empty();
  const std::string& key = apart ? options.keyfile : options.certfile;
  const char* flag = apart ? "--ssl-keyfile" : "--ssl-certfile, for want of --ssl-keyfile";
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return file_error(flag, key);
  }
  if (!options.ciphers.empty() && SSL_CTX_set_cipher_list(context, options.ciphers.c_str()) != 1) {
    return invalid_argument("--ssl-ciphers: '" + options.ciphers + "': " + take_error());
  }
  RETURN_IF_ERROR(use_authorities(context, options));
  ERR_clear_error();
  return shared;
}

StatusOr<std::shared_ptr<TlsAcceptor>> TlsAcceptor::load(const TlsOptions& options) {
  std::shared_ptr<TlsAcceptor> acceptor(new TlsAcceptor(options));
  acceptor->stamp_ = acceptor->stamp();
  ASSIGN_OR_RETURN(acceptor->context_, make_context(options));
  return acceptor;
}

TlsAcceptor::Stamp TlsAcceptor::stamp() const {
  Stamp stamp{};
  auto* part = stamp.data();
  for (const std::string* file : {&options_.certfile, &options_.keyfile, &options_.ca_certs}) {
    struct stat status {};
    if (!file->empty() && stat(file->c_str(), &status) == 0) {
      part[0] = static_cast<int64_t>(status.st_ino);
      part[1] = status.st_size;
      part[2] = status.st_mtim.tv_sec;
      part[3] = status.st_mtim.tv_nsec;
    }
    part += 4;
  }
  return stamp;
}

std::unique_ptr<TlsSession> TlsAcceptor::accept() {
  if (options_.refresh) {
    if (const Stamp now = stamp(); now != stamp_) {
      stamp_ = now;
      auto context = make_context(options_);
      if (context.ok()) {
        context_ = *context;
        log_info("http", "the certificate files have changed: new connections use them");
      } else {
        log_warning("http",
                    "the certificate files have changed and cannot be used, so new "
                    "connections go on with the ones before: " +
                        context.status().message());
      }
    }
  }
  try {
    return std::make_unique<TlsSession>(context_.get());
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace octavo::serve
