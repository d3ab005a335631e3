// Frames: messages on the stream socket between the two processes of an engine. A frame is the
// length of what follows (4 bytes), the message's type (1 byte), and its values as wire.h writes
// them.
//
//   parent ── kStart(EngineStart) ─────────────────────────────► child   loads the model
//   parent ◄── kProgress(line)*, then kReady(ModelInfo) or kFailed(Status) ── child
//   parent ── kAdd(Request) kCancel(key) kFinish(key, index) kResetPrefixCache kAskStats(id) ─►
//   child parent ◄── kEvents(EngineStats, events) kStats(id, EngineStats) kFailed(Status) ── child
//
// The parent closes the socket to end the child. kFailed after kReady says why the child ends.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/process/wire_types.h"
#include "octavo/status.h"

namespace octavo {

enum class MessageType : uint8_t {
  kStart = 1,
  kAdd,
  kCancel,
  kFinish,
  kResetPrefixCache,
  kAskStats,
  kProgress,
  kReady,
  kFailed,
  kEvents,
  kStats,
  kAskState,
  kState,
};

// What a child needs to begin.
struct EngineStart {
  EngineOptions options;
  int32_t log_level = 0;  // LogLevel
};

namespace wire {
template <typename Archive, Is<EngineStart> T>
void fields(Archive& archive, T& start) {
  auto& [options, log_level] = start;
  archive(options, log_level);
}
}  // namespace wire

// The largest frame; more is a breach. Log-probabilities of the whole vocabulary can be long.
constexpr uint32_t kMaxFrameBytes = 1u << 30;

struct Frame {
  MessageType type{};
  std::string payload;

  // Reads exactly `values` from the payload; false if it holds anything else.
  template <typename... Ts>
  [[nodiscard]] bool read(Ts&... values) const {
    wire::Reader reader(payload);
    reader(values...);
    return reader.done();
  }
};

// Header and payload together. REQUIRES: at most kMaxFrameBytes.
std::string frame_bytes(MessageType type, std::string payload);

template <typename... Ts>
std::string make_frame(MessageType type, const Ts&... values) {
  wire::Writer writer;
  writer(values...);
  return frame_bytes(type, writer.take());
}

// The longest event that crosses.
constexpr size_t kMaxEventBytes = kMaxFrameBytes / 2;

// Events in as many frames as their size asks for; each carries `stats`. An event longer than
// `most` bytes becomes the failure of its sequence, which `on_failure` is told of.
std::string make_event_frames(std::vector<SequenceEvent> events, const EngineStats& stats,
                              const std::function<void(const SequenceEvent&)>& on_failure = {},
                              size_t most = kMaxEventBytes);

// Takes frames off a socket. One thread.
class FrameReader {
 public:
  explicit FrameReader(int fd) : fd_(fd) {}  // the descriptor stays the caller's
  // Blocks for the next frame. False at the end: the peer has closed, or error() says what is
  // wrong.
  bool next(Frame& frame);
  const Status& error() const { return error_; }

 private:
  bool fill(size_t wanted);

  const int fd_;
  std::string buffer_;
  size_t begin_ = 0;  // of what is not yet taken, in buffer_
  Status error_;
};

// Puts frames onto a socket from a thread of its own, so that send() never waits for the peer. Any
// thread may send. A peer that is gone is no error here: frames are dropped, the reader finds out.
class FrameWriter {
 public:
  explicit FrameWriter(int fd);  // the descriptor stays the caller's
  ~FrameWriter();  // drops what is not written. REQUIRES: no write can block, as after
                   // shutdown(fd), or when the peer reads

  void send(std::string frame);
  // The same with bytes (whole frames) that `make` encodes on the writer's thread.
  void send(std::function<std::string()> make);
  // Waits until everything sent so far is written, or the peer is gone.
  void flush();

 private:
  void run();
  bool write(const std::string& bytes);

  const int fd_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::condition_variable written_;
  std::vector<std::function<std::string()>> queue_;  // guarded by mutex_
  bool writing_ = false;                             // guarded by mutex_
  bool stopping_ = false;                            // guarded by mutex_
  bool broken_ = false;                              // writer's thread
  std::thread thread_;
};

}  // namespace octavo
