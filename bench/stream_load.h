// StreamLoad: many streamed requests from one thread, for benchmarks of servers. sweep() reads
// every socket that has something and waits for none, so the server is not charged for waking a
// client at each token, as it is on one machine and would not be over a network. wait() is the
// usual client, which sleeps until something comes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octavo {

class StreamLoad {
 public:
  // Streams are answers of POST `path` at 127.0.0.1:`port`.
  StreamLoad(int port, std::string path) : port_(port), path_(std::move(path)) {}
  ~StreamLoad();
  StreamLoad(const StreamLoad&) = delete;

  // Connects and sends one request. False: no connection.
  bool add(const std::string& body);
  // Reads what has come.
  void sweep();
  // Reads what comes within `seconds`, each time as soon as it comes.
  void wait(double seconds);

  struct Counts {
    int64_t events = 0;  // `data: ` lines
    int64_t chunks = 0;  // of the chunked coding that begin with one
    int64_t bytes = 0;
    int begun = 0;  // streams with two events at least: of a chat, the role and a token
    int ended = 0;  // connections that the server closed, or that said [DONE]
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Stream {
    int fd = -1;
    std::string tail;  // the last bytes read, where an event may have begun
    int events = 0;
  };
  void read(Stream& stream);
  void count(Stream& stream, std::string_view bytes);

  const int port_;
  const std::string path_;
  std::vector<Stream> streams_;
  int epoll_ = -1;  // of wait(), from its first call on: being watched costs the sender, too
  Counts counts_;
  std::string buffer_ = std::string(64 << 10, '\0');
};

}  // namespace octavo
