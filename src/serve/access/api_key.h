// API keys: who may call. Keys come from the command line, the environment and a file; they are
// kept as SHA-256 digests, which are compared in constant time, and never logged.
//
// The file holds a key a line; blank lines and lines that begin with # count for nothing. It is
// read again when it changes, so that a key is revoked by whoever can write the file, be that an
// editor or a mounted secret, without a signal to the right process. Once a second at most, and
// when a request asks for it, its modification time, size and inode are looked at.
//
// Concurrency: load() on the main thread, then check() on the io thread alone.
#pragma once

#include <sys/stat.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

// Probes, metrics, the page and the API's description ask for no key; everything else does, routes
// that do not exist included. (vLLM asks for one under /v1, /v2, /inference and /cohere only.)
bool path_is_open(std::string_view path);

class ApiKeys {
 public:
  // Neither keys nor file: none is asked for. Errors: an empty key, a file that cannot be read,
  // holds no key or is larger than 1 MiB.
  static StatusOr<std::unique_ptr<ApiKeys>> load(const std::vector<std::string>& keys,
                                                 const std::string& file);

  bool asked_for() const { return !file_.empty() || !given_.empty(); }

  // Every user of this machine can read the file.
  bool file_is_public() const { return (seen_.st_mode & S_IROTH) != 0; }

  enum class Verdict { kValid, kMissing, kWrong };
  struct Check {
    Verdict verdict;
    std::string client;  // kValid: names the key's owner, without giving the key away
  };
  // By `Authorization: Bearer KEY` or, as Anthropic's clients send it, `x-api-key: KEY`.
  // `now` is the steady clock.
  Check check(const HttpRequest& request, double now);

 private:
  using Digest = std::array<unsigned char, 32>;
  explicit ApiKeys(std::string file) : file_(std::move(file)) {}
  Status read_file();
  void refresh(double now);
  bool holds(const Digest& digest) const;

  const std::string file_;  // empty: none
  std::vector<Digest> given_;
  std::vector<Digest> from_file_;
  struct stat seen_ = {};  // of the file as it was read
  double looked_ = 0;      // steady clock
};

}  // namespace octavo::serve
