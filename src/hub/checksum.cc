#include "hub/checksum.h"

#include <openssl/evp.h>

#include <cstdio>

namespace octavo::hub {

struct Checksum::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Checksum::Checksum(std::string expected, int64_t size)
    : expected_(std::move(expected)), size_(size), state_(std::make_unique<State>()) {
  restart();
}

Checksum::~Checksum() = default;

void Checksum::restart() {
  const bool sha256 = expected_.size() == 64;
  EVP_DigestInit_ex(state_->context, sha256 ? EVP_sha256() : EVP_sha1(), nullptr);
  if (sha256) return;
  // Git hashes "blob <size>\0" before the bytes.
  add("blob " + std::to_string(size_) + std::string(1, '\0'));
}

void Checksum::add(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

bool Checksum::matches() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(state_->context, digest, &size) != 1) return false;
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", digest[i]);
    hex += digits;
  }
  return hex == expected_;
}

}  // namespace octavo::hub
