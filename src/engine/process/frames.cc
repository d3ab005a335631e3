#include "engine/process/frames.h"

#include <pthread.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/check.h"

namespace octavo {
namespace {

constexpr size_t kHeaderBytes = 5;
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kEventFrameBytes = 1 << 20;  // a frame of events is closed when it is that long

std::string event_frame(const EngineStats& stats, const std::vector<SequenceEvent>& events) {
  return make_frame(MessageType::kEvents, stats, events);
}

size_t wire_size(const SequenceEvent& event) {
  wire::Writer writer;
  writer(event);
  return writer.size();
}

// A quick upper bound for events without long lists, which is nearly all of them.
bool is_short(const SequenceEvent& event) {
  return event.prompt_logprobs.empty() && event.token.top.size() <= 32 && event.error.size() < 1024;
}

SequenceEvent too_long(const SequenceEvent& event) {
  SequenceEvent failure;
  failure.request = event.request;
  failure.index = event.index;
  failure.sequence = event.sequence;
  failure.finish = FinishReason::kError;
  failure.error = "the log-probabilities asked for are too many to be handed on";
  return failure;
}

}  // namespace

std::string frame_bytes(MessageType type, std::string payload) {
  const auto length = static_cast<uint32_t>(payload.size() + 1);
  CHECK(payload.size() < kMaxFrameBytes);
  std::string bytes(kHeaderBytes, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  bytes[4] = static_cast<char>(type);
  bytes += payload;
  return bytes;
}

std::string make_event_frames(std::vector<SequenceEvent> events, const EngineStats& stats,
                              const std::function<void(const SequenceEvent&)>& on_failure,
                              size_t most) {
  constexpr size_t kShort = 2048;
  std::string bytes;
  std::vector<SequenceEvent> part;
  size_t size = 0;
  for (SequenceEvent& event : events) {
    const bool brief = is_short(event);
    size_t more = brief ? kShort : wire_size(event);
    if (!brief && more > most) {
      event = too_long(event);
      more = kShort;
      if (on_failure) on_failure(event);
    }
    if (!part.empty() && size + more > kEventFrameBytes) {
      bytes += event_frame(stats, part);
      part.clear();
      size = 0;
    }
    part.push_back(std::move(event));
    size += more;
  }
  if (!part.empty()) bytes += event_frame(stats, part);
  return bytes;
}

// Reads until `wanted` bytes lie in the buffer.
bool FrameReader::fill(size_t wanted) {
  if (begin_ > 0 && buffer_.size() - begin_ < wanted) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  while (buffer_.size() - begin_ < wanted) {
    const size_t old = buffer_.size();
    buffer_.resize(old + kReadBytes);
    const ssize_t got = recv(fd_, buffer_.data() + old, kReadBytes, 0);
    buffer_.resize(old + static_cast<size_t>(got > 0 ? got : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
  }
  return true;
}

bool FrameReader::next(Frame& frame) {
  if (!error_.ok() || !fill(kHeaderBytes)) return false;
  uint32_t length = 0;
  std::memcpy(&length, buffer_.data() + begin_, sizeof length);
  if (length < 1 || length > kMaxFrameBytes) {
    error_ = data_loss("a frame of " + std::to_string(length) + " bytes");
    return false;
  }
  if (!fill(sizeof length + length)) return false;
  frame.type = static_cast<MessageType>(buffer_[begin_ + 4]);
  frame.payload.assign(buffer_, begin_ + kHeaderBytes, length - 1);
  begin_ += sizeof length + length;
  return true;
}

FrameWriter::FrameWriter(int fd) : fd_(fd), thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), "octavo-wire");
}

FrameWriter::~FrameWriter() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_one();
  thread_.join();
}

void FrameWriter::send(std::string frame) {
  send([frame = std::move(frame)]() mutable { return std::move(frame); });
}

void FrameWriter::send(std::function<std::string()> make) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(make));
  }
  ready_.notify_one();
}

void FrameWriter::flush() {
  std::unique_lock lock(mutex_);
  written_.wait(lock, [this] { return queue_.empty() && !writing_; });
}

void FrameWriter::run() {
  std::vector<std::function<std::string()>> batch;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      writing_ = false;
      if (queue_.empty()) written_.notify_all();
      ready_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) {
        queue_.clear();
        written_.notify_all();
        return;
      }
      batch.swap(queue_);
      writing_ = true;
    }
    std::string bytes;
    for (auto& make : batch) {
      bytes += make();
      if (bytes.size() < kReadBytes) continue;
      if (!broken_) broken_ = !write(bytes);
      bytes.clear();
    }
    if (!broken_) broken_ = !write(bytes);
    batch.clear();
  }
}

bool FrameWriter::write(const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

}  // namespace octavo
