// HttpReader: an HTTP/1.1 answer, understood as its bytes arrive; the answer of a hostile server
// costs no more memory than the limits here. take_events() cuts a body that is a server-sent event
// stream into its `data:` payloads. One per connection; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octavo::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The value of the first header of that name, whatever its case; null if there is none.
const std::string* find_header(const Headers& headers, std::string_view name);

class HttpReader {
 public:
  enum class State { kHead, kBody, kDone, kBad };
  static constexpr size_t kMaxHeadBytes = 64 << 10;

  HttpReader() = default;
  // `no_body`: the answer to a HEAD, whose length speaks of a body that does not come.
  explicit HttpReader(bool no_body) : no_body_(no_body) {}

  // Takes all of `bytes` and appends what belongs to the body, freed of chunk framing, to `body`.
  State feed(std::string_view bytes, std::string& body);
  // The server closed the connection: the end of a body without length, or an error.
  State finish();
  void reset() { *this = HttpReader(); }

  State state() const { return state_; }
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  // Whether the connection may carry another request once the answer is done.
  bool keep_alive() const { return keep_alive_; }
  bool started() const { return state_ != State::kHead || !line_.empty(); }

 private:
  enum class Framing { kNone, kLength, kChunkSize, kChunkData, kChunkEnd, kTrailer, kToClose };
  bool next_line(std::string_view& bytes);  // a whole line is in line_, without its end
  void take_status_line();
  void take_head_line();
  void take_chunk_size();
  void body_begins();

  State state_ = State::kHead;
  Framing framing_ = Framing::kNone;
  int status_ = 0;
  bool no_body_ = false;
  bool keep_alive_ = true;
  bool chunked_ = false;
  bool line_complete_ = false;
  int64_t left_ = -1;      // bytes of the body, or of the current chunk; -1: not known
  size_t head_bytes_ = 0;  // of all head and trailer lines
  std::string line_;
  Headers headers_;
};

// Calls on_data(payload) for each whole `data:` line of `body` and removes what was read.
template <typename OnData>
void take_events(std::string& body, OnData&& on_data) {
  size_t begin = 0;
  for (size_t end; (end = body.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line(body.data() + begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.substr(0, 5) != "data:") continue;
    line.remove_prefix(5);
    if (!line.empty() && line[0] == ' ') line.remove_prefix(1);
    on_data(line);
  }
  body.erase(0, begin);
}

}  // namespace octavo::http
