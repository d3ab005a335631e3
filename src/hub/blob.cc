#include "hub/blob.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/log.h"
#include "base/status_macros.h"
#include "hub/checksum.h"

namespace octavo::hub {
namespace fs = std::filesystem;
namespace {

constexpr int kMaxFruitlessTries = 5;
constexpr double kSilenceSeconds = 30;

Status file_error(const fs::path& path) {
  if (errno == ENOSPC || errno == EDQUOT) {
    return resource_exhausted("the disk is full: " + path.string() +
                              "; make room, or name another cache by HF_HOME or --download-dir, "
                              "and begin again: what is there is kept");
  }
  return unavailable("cannot write " + path.string() + ": " + std::strerror(errno));
}

// Ends early, with kCancelled, once stop_fd is readable.
Status pause(int stop_fd, int milliseconds) {
  pollfd watched{stop_fd, POLLIN, 0};
  return poll(&watched, 1, milliseconds) > 0 ? cancelled("stopped") : ok_status();
}

// An open file; held as a lock where it is one.
class File {
 public:
  ~File() {
    if (fd >= 0) close(fd);
  }
  int fd = -1;
};

Status take_lock(const fs::path& path, int stop_fd, File& lock) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  lock.fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock.fd < 0) return file_error(path);
  for (bool told = false; flock(lock.fd, LOCK_EX | LOCK_NB) != 0;) {
    if (errno != EWOULDBLOCK && errno != EINTR) return file_error(path);
    if (!told) log_warning("hub", "another program is fetching the same file; waiting for it");
    told = true;
    RETURN_IF_ERROR(pause(stop_fd, 200));
  }
  return {};
}

// The file while it is not whole.
class Partial {
 public:
  Partial(fs::path path, const RemoteFile& file, std::atomic<int64_t>& done)
      : path_(std::move(path)), file_(file), checksum_(file.checksum, file.size), done_(done) {}

  // Opens it and reads what an earlier attempt left.
  Status open_existing();
  int64_t have() const { return have_; }
  bool full() const { return have_ == file_.size; }
  Status begin_anew();
  Status add(std::string_view bytes);
  bool matches() { return checksum_.matches(); }
  // Makes it the blob itself.
  Status keep_as(const fs::path& blob);

 private:
  const fs::path path_;
  const RemoteFile& file_;
  Checksum checksum_;
  std::atomic<int64_t>& done_;
  File out_;
  int64_t have_ = 0;
};

Status Partial::open_existing() {
  out_.fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (out_.fd < 0) return file_error(path_);
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t n = read(out_.fd, buffer.data(), buffer.size());
    if (n < 0) return file_error(path_);
    if (n == 0) break;
    checksum_.add({buffer.data(), static_cast<size_t>(n)});
    have_ += n;
    done_ += n;
    if (have_ > file_.size) return begin_anew();
  }
  return {};
}

Status Partial::begin_anew() {
  if (ftruncate(out_.fd, 0) != 0 || lseek(out_.fd, 0, SEEK_SET) != 0) return file_error(path_);
  checksum_.restart();
  done_ -= have_;
  have_ = 0;
  return {};
}

Status Partial::add(std::string_view bytes) {
  if (have_ + static_cast<int64_t>(bytes.size()) > file_.size)
    return data_loss(file_.name + ": more bytes came than it has");
  checksum_.add(bytes);
  while (!bytes.empty()) {
    const ssize_t n = write(out_.fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error(path_);
    bytes.remove_prefix(static_cast<size_t>(n));
    have_ += n;
    done_ += n;
  }
  return {};
}

Status Partial::keep_as(const fs::path& blob) {
  // A name must never stand for bytes that a crash could take back.
  if (fsync(out_.fd) != 0 || rename(path_.c_str(), blob.c_str()) != 0) return file_error(blob);
  return {};
}

// One call for the rest of the file.
Status read_rest(const BlobSource& source, const RemoteFile& file, int stop_fd, Partial& partial) {
  Status trouble;
  const http::Limits limits{.silence_seconds = kSilenceSeconds, .wake_fd = stop_fd};
  RETURN_IF_ERROR(source.remote.read(
      source.model, source.commit, file.name, partial.have(), limits,
      [&](int64_t offset) {
        if (offset != partial.have()) trouble = partial.begin_anew();
        return trouble.ok();
      },
      [&](std::string_view bytes) {
        trouble = partial.add(bytes);
        return trouble.ok();
      }));
  return trouble;
}

// Until the partial file is full; the pauses between tries grow.
Status fill(const BlobSource& source, const RemoteFile& file, int stop_fd, Partial& partial) {
  for (int fruitless = 0; !partial.full();) {
    const int64_t before = partial.have();
    const Status status = read_rest(source, file, stop_fd, partial);
    if (partial.full()) return {};
    if (!status.ok() && status.code() != StatusCode::kUnavailable) return status;
    fruitless = partial.have() > before ? 0 : fruitless + 1;
    if (fruitless == kMaxFruitlessTries) {
      return unavailable(file.name + ": " +
                         (status.ok() ? "the server sends less than it has" : status.message()));
    }
    RETURN_IF_ERROR(pause(stop_fd, 100 << fruitless));
  }
  return {};
}

}  // namespace

Status fetch_blob(const BlobSource& source, const RemoteFile& file, int stop_fd,
                  std::atomic<int64_t>& done) {
  const fs::path folder = source.cache.repository(source.model) / "blobs";
  const fs::path blob = folder / file.checksum;
  const auto is_there = [&] {
    std::error_code error;
    return fs::exists(blob, error) && fs::file_size(blob, error) == uintmax_t(file.size);
  };
  File lock;
  if (!is_there())
    RETURN_IF_ERROR(take_lock(source.cache.lock_file(source.model, file.checksum), stop_fd, lock));
  if (is_there()) {
    done += file.size;
    return {};
  }
  Partial partial(folder / (file.checksum + ".incomplete"), file, done);
  RETURN_IF_ERROR(partial.open_existing());
  // What was there may be another program's bad luck: wrong bytes get a second chance.
  for (const bool second : {false, true}) {
    RETURN_IF_ERROR(fill(source, file, stop_fd, partial));
    if (partial.matches()) return partial.keep_as(blob);
    RETURN_IF_ERROR(partial.begin_anew());
    if (!second) log_warning("hub", file.name + ": its bytes are not what they should be; again");
  }
  return data_loss(
      "model " + source.model + ": " + file.name +
      " came twice with a wrong checksum: the hub, or something on the way, damages it");
}

}  // namespace octavo::hub
