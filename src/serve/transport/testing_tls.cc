#include "serve/transport/testing_tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <signal.h>

#include <cstdio>

namespace octavo::serve {

TestCertificate::TestCertificate() {
  renew();
}

void TestCertificate::renew() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
  X509_set_version(certificate, X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  FILE* out = fopen(keyfile.c_str(), "w");
  PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
  fclose(out);
  out = fopen(certfile.c_str(), "w");
  PEM_write_X509(out, certificate);
  fclose(out);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

TlsTestClient::TlsTestClient(int fd, int highest_version, std::string_view alpn)
    : context_(SSL_CTX_new(TLS_client_method())), ssl_(nullptr) {
  SSL_CTX_set_max_proto_version(context_, highest_version);
  ssl_ = SSL_new(context_);
  const std::string list = static_cast<char>(alpn.size()) + std::string(alpn);
  if (!alpn.empty()) {
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(list.data()),
                        static_cast<unsigned>(list.size()));
  }
  SSL_set_fd(ssl_, fd);
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets that the server may have closed
  connected_ = SSL_connect(ssl_) == 1;
}

TlsTestClient::~TlsTestClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

std::string TlsTestClient::protocol() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string TlsTestClient::serial() const {
  X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return "";
  uint64_t serial = 0;
  ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(certificate));
  return std::to_string(serial);
}

bool TlsTestClient::write(std::string_view bytes) {
  size_t written = 0;
  return SSL_write_ex(ssl_, bytes.data(), bytes.size(), &written) == 1;
}

std::string TlsTestClient::read(size_t size) {
  std::string out;
  char buffer[16 << 10];
  while (out.size() < size) {
    size_t n = 0;
    if (SSL_read_ex(ssl_, buffer, std::min(sizeof buffer, size - out.size()), &n) != 1) break;
    out.append(buffer, n);
  }
  return out;
}

bool TlsTestClient::closed_cleanly() {
  char byte = 0;
  return SSL_get_error(ssl_, SSL_read(ssl_, &byte, 1)) == SSL_ERROR_ZERO_RETURN;
}

}  // namespace octavo::serve
