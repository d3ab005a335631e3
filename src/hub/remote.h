// Remote: a hub of models, as huggingface.co is one, seen through its HTTP interface. It only asks;
// files are put together in hub/blob.h. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/fetch.h"
#include "octavo/status.h"

namespace octavo::hub {

struct Listing {
  std::string commit;
  std::vector<std::string> files;
};

// One file of a commit.
struct RemoteFile {
  std::string name;
  std::string checksum;  // SHA-256 (64 hex digits) or that of a git blob, SHA-1 (40)
  int64_t size = 0;
};

class Remote {
 public:
  // `token` may be empty; it goes to `endpoint` alone, never along with a redirect to another host.
  static StatusOr<Remote> make(const std::string& endpoint, const std::string& token);

  // Errors say what to do: an unknown name, a revision that is not there, a model that is private
  // or whose conditions must be accepted first.
  StatusOr<Listing> list(const std::string& model, const std::string& revision) const;
  StatusOr<RemoteFile> describe(const std::string& model, const std::string& commit,
                                const std::string& file, const http::Limits& limits) const;
  // The bytes from `offset` on; `on_start` hears from where they really come, which is 0 where the
  // server knows no ranges. Both may return false to end the call.
  Status read(const std::string& model, const std::string& commit, const std::string& file,
              int64_t offset, const http::Limits& limits,
              const std::function<bool(int64_t offset)>& on_start,
              const std::function<bool(std::string_view)>& on_bytes) const;

 private:
  Remote(http::Url endpoint, std::string token)
      : endpoint_(std::move(endpoint)), token_(std::move(token)) {}
  http::Request request(std::string method, const std::string& path) const;
  http::Url file_url(const std::string& model, const std::string& commit,
                     const std::string& file) const;
  // The request for where a redirect leads, with the token or without it.
  StatusOr<http::Request> redirected(http::Request request, std::string_view location) const;
  Status refused(const std::string& model, const http::Head& head) const;

  http::Url endpoint_;  // its path ends without a slash
  std::string token_;
};

}  // namespace octavo::hub
