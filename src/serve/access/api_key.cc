#include "serve/access/api_key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/log.h"
#include "base/status_macros.h"

namespace octavo::serve {

namespace {

constexpr off_t kMaxFileBytes = 1 << 20;
constexpr double kSecondsBetweenLooks = 1;

std::array<unsigned char, 32> digest_of(std::string_view key) {
  std::array<unsigned char, 32> digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  return text.substr(0, text.find_last_not_of(kBlank) + 1);
}

// The KEY of "Bearer KEY"; empty if it is something else.
std::string_view bearer_key(std::string_view authorization) {
  static constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(authorization[i])) != kScheme[i]) return {};
  }
  return trimmed(authorization.substr(kScheme.size()));
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

bool path_is_open(std::string_view path) {
  static constexpr std::string_view kOpen[] = {"",         "/",     "/health",  "/ping",
                                               "/version", "/load", "/metrics", "/openapi.json"};
  return std::find(std::begin(kOpen), std::end(kOpen), path) != std::end(kOpen) ||
         path.starts_with("/page/");
}

StatusOr<std::unique_ptr<ApiKeys>> ApiKeys::load(const std::vector<std::string>& keys,
                                                 const std::string& file) {
  std::unique_ptr<ApiKeys> out(new ApiKeys(file));
  for (const std::string& key : keys) {
    if (trimmed(key).empty()) return invalid_argument("an API key must not be empty");
    out->given_.push_back(digest_of(trimmed(key)));
  }
  if (file.empty()) return out;
  if (Status status = out->read_file(); !status.ok()) return status;
  if (out->from_file_.empty()) {
    return invalid_argument("--api-key-file: " + file + " holds no key");
  }
  return out;
}

Status ApiKeys::read_file() {
  struct stat now {};
  const auto failure = [&](const std::string& why) {
    return invalid_argument("--api-key-file: " + file_ + ": " + why);
  };
  if (::stat(file_.c_str(), &now) != 0) return failure(std::strerror(errno));
  seen_ = now;  // a file that cannot be read is tried again once it changes
  if (!S_ISREG(now.st_mode)) return failure("is no file");
  if (now.st_size > kMaxFileBytes) return failure("is larger than 1 MiB");
  std::ifstream in(file_);
  std::vector<Digest> keys;
  for (std::string line; std::getline(in, line);) {
    const std::string_view key = trimmed(line);
    if (!key.empty() && key.front() != '#') keys.push_back(digest_of(key));
  }
  if (!in.eof()) return failure("cannot be read");
  from_file_ = std::move(keys);
  return ok_status();
}

// A file that is gone or unreadable leaves the keys as they were; one that can be read is obeyed,
// even if it holds none any more.
void ApiKeys::refresh(double now) {
  if (file_.empty() || now < looked_ + kSecondsBetweenLooks) return;
  looked_ = now;
  struct stat current {};
  if (::stat(file_.c_str(), &current) != 0 || same_file(current, seen_)) return;
  if (const Status status = read_file(); status.ok()) {
    log_info("serve",
             file_ + " has changed: it holds " + std::to_string(from_file_.size()) + " API keys");
  } else {
    log_warning("serve", status.message() + "; the keys stay as they were");
  }
}

bool ApiKeys::holds(const Digest& digest) const {
  bool found = false;
  for (const std::vector<Digest>* keys : {&given_, &from_file_}) {
    for (const Digest& key : *keys) {
      found |= CRYPTO_memcmp(key.data(), digest.data(), digest.size()) == 0;
    }
  }
  return found;
}

ApiKeys::Check ApiKeys::check(const HttpRequest& request, double now) {
  refresh(now);
  Verdict verdict = Verdict::kMissing;
  for (const std::string_view key :
       {bearer_key(request.header("authorization")), trimmed(request.header("x-api-key"))}) {
    if (key.empty()) continue;
    const Digest digest = digest_of(key);
    if (holds(digest)) {
      return {Verdict::kValid, std::string(reinterpret_cast<const char*>(digest.data()), 32)};
    }
    verdict = Verdict::kWrong;
  }
  return {verdict, {}};
}

}  // namespace octavo::serve
