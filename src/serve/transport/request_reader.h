// RequestReader: one HTTP/1.x request, understood as its bytes arrive. What two programs could read
// differently is an error here and never a guess, because a proxy in front that reads it the other
// way lets one request hide in another (RFC 9112, 11.2): bare line feeds, folded headers, blanks
// before a colon, two lengths, a length beside chunks, control characters, a missing or second
// Host. One per request; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "serve/transport/http_server.h"

namespace octavo::serve {

class RequestReader {
 public:
  struct Limits {
    size_t head_bytes;  // request line and headers together; trailers as much again
    size_t body_bytes;
    int headers = 256;
  };
  enum class State { kHead, kBody, kDone, kFailed };

  explicit RequestReader(const Limits& limits) : limits_(limits) {}

  // Takes what belongs to the request off the front of `bytes` and returns how many they were: all,
  // unless the request is done or has failed.
  size_t feed(std::string_view bytes);
  State state() const;

  // Of kFailed: the status to refuse with, and why.
  int error_status() const { return error_status_; }
  const std::string& error() const { return error_; }

  // The request as far as it has come: method, path, query, headers and body. The rest of it is the
  // caller's, who may also change what is whole.
  HttpRequest& request() { return request_; }
  // All headers have come and are as they should be; of a request that is too large too. The
  // following hold from then on.
  bool head_is_whole() const { return head_is_whole_; }
  bool http10() const { return http10_; }
  bool keep_alive() const { return keep_alive_; }
  bool wants_continue() const { return wants_continue_; }

 private:
  enum class Part {
    kRequestLine,
    kHeaders,
    kBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kDone,
    kFailed
  };

  void fail(int status, std::string why);
  bool next_line(std::string_view& bytes);
  void take_line();
  void take_body(std::string_view& bytes);
  void take_request_line();
  bool take_target(std::string_view target);
  bool take_field(bool keep);
  void end_head();
  void take_length(std::string_view value);
  void take_chunk_size();
  void refuse_body();

  const Limits limits_;
  Part part_ = Part::kRequestLine;
  std::string line_;        // with what has come of its end
  size_t lines_bytes_ = 0;  // of the lines that one limit counts together
  uint64_t body_left_ = 0;  // bytes of the body, or of the current chunk
  bool head_is_whole_ = false;
  bool chunked_ = false;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool wants_continue_ = false;
  HttpRequest request_;
  int error_status_ = 0;
  std::string error_;
};

}  // namespace octavo::serve
