// First the small files, among them the index that names the shards; then the weights. The revision
// gets its ref at the end, so that a cache never says that it has what is not there.
#include "hub/download.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/status_macros.h"
#include "hub/blob.h"
#include "hub/names.h"

namespace octavo::hub {
namespace fs = std::filesystem;
namespace {

constexpr int kAtOnce = 4;
constexpr std::chrono::milliseconds kProgressInterval(100);
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kSmallFiles[] = {"config.json",
                                            "generation_config.json",
                                            "tokenizer.json",
                                            "tokenizer.model",
                                            "tokenizer_config.json",
                                            "special_tokens_map.json",
                                            "added_tokens.json",
                                            "vocab.json",
                                            "vocab.txt",
                                            "merges.txt",
                                            "chat_template.jinja",
                                            "chat_template.json",
                                            "spiece.model",
                                            "sentencepiece.bpe.model",
                                            "preprocessor_config.json",
                                            "quantize_config.json"};

// A descriptor that wakes every wait once something has failed.
class Stop {
 public:
  Stop() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Stop() { close(fd_); }
  int fd() const { return fd_; }
  void set() const {
    const uint64_t one = 1;
    const ssize_t written = write(fd_, &one, sizeof one);
    static_cast<void>(written);
  }

 private:
  const int fd_;
};

// Runs job(0) … job(count - 1), kAtOnce at a time, and on_tick() now and then from this thread. The
// first failure stops the others and is returned.
Status run_jobs(size_t count, const Stop& stop, const std::function<Status(size_t)>& job,
                const std::function<void()>& on_tick) {
  std::mutex mutex;
  std::condition_variable changed;
  const size_t num_threads = std::min<size_t>(count, kAtOnce);
  size_t next = 0, running = num_threads;
  Status failure;
  const auto work = [&] {
    std::unique_lock lock(mutex);
    while (next < count && failure.ok()) {
      const size_t i = next++;
      lock.unlock();
      const Status status = job(i);
      lock.lock();
      if (status.ok() || !failure.ok()) continue;
      failure = status;
      stop.set();
    }
    --running;
    changed.notify_all();
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < num_threads; ++i) threads.emplace_back(work);
  {
    std::unique_lock lock(mutex);
    while (!changed.wait_for(lock, kProgressInterval, [&] { return running == 0; })) {
      lock.unlock();
      on_tick();
      lock.lock();
    }
  }
  for (std::thread& thread : threads) thread.join();
  return failure;
}

// Under a name of its own first, so that nobody sees half of it.
Status put_in_place(const fs::path& path, const std::function<bool(const fs::path&)>& make) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path fresh = path.string() + "." + std::to_string(getpid()) + ".new";
  fs::remove(fresh, error);
  if (!make(fresh))
    return unavailable("cannot write " + path.string() + ": " + std::strerror(errno));
  fs::rename(fresh, path, error);
  return error ? unavailable("cannot write " + path.string() + ": " + error.message())
               : ok_status();
}

class Download {
 public:
  Download(BlobSource source, const std::function<void(const DownloadProgress&)>& on_progress)
      : source_(std::move(source)), on_progress_(on_progress) {}

  fs::path snapshot() const {
    return source_.cache.repository(source_.model) / "snapshots" / source_.commit;
  }
  // `last`: no more files follow, so that the total says how far it is.
  Status fetch(const std::vector<std::string>& names, bool last);
  void tell_progress() const {
    if (on_progress_) on_progress_({bytes_, total_bytes_, files_, total_files_});
  }

 private:
  StatusOr<std::vector<RemoteFile>> describe(const std::vector<std::string>& names);
  Status check_space(const std::vector<RemoteFile>& files) const;
  Status fetch_one(const RemoteFile& file);

  const BlobSource source_;
  const std::function<void(const DownloadProgress&)>& on_progress_;
  const Stop stop_;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<int> files_ = 0;
  int64_t total_bytes_ = 0;
  int total_files_ = 0;
};

StatusOr<std::vector<RemoteFile>> Download::describe(const std::vector<std::string>& names) {
  std::vector<RemoteFile> files(names.size());
  RETURN_IF_ERROR(run_jobs(
      names.size(), stop_,
      [&](size_t i) -> Status {
        const http::Limits limits{.wake_fd = stop_.fd()};
        ASSIGN_OR_RETURN(files[i],
                         source_.remote.describe(source_.model, source_.commit, names[i], limits));
        return {};
      },
      [] {}));
  return files;
}

Status Download::check_space(const std::vector<RemoteFile>& files) const {
  const fs::path blobs = source_.cache.repository(source_.model) / "blobs";
  std::error_code error;
  int64_t needed = 0;
  for (const RemoteFile& file : files) {
    if (fs::exists(blobs / file.checksum, error)) continue;
    const auto have = fs::file_size(blobs / (file.checksum + ".incomplete"), error);
    needed += file.size - (error ? 0 : static_cast<int64_t>(have));
  }
  const fs::space_info space = fs::space(blobs, error);
  if (error || needed <= static_cast<int64_t>(space.available)) return {};
  constexpr double kGigabyte = 1e9;
  char text[160];
  std::snprintf(text, sizeof text, "needs %.1f GB more, and its disk has %.1f GB",
                needed / kGigabyte, static_cast<double>(space.available) / kGigabyte);
  return resource_exhausted("model " + source_.model + ": " + source_.cache.root().string() + " " +
                            text +
                            "; make room, or name another cache by HF_HOME or --download-dir");
}

Status Download::fetch_one(const RemoteFile& file) {
  RETURN_IF_ERROR(fetch_blob(source_, file, stop_.fd(), bytes_));
  ++files_;
  return put_in_place(snapshot() / file.name, [&](const fs::path& link) {
    std::error_code error;
    fs::create_symlink(fs::path("../../blobs") / file.checksum, link, error);
    return !error;
  });
}

Status Download::fetch(const std::vector<std::string>& names, bool last) {
  std::error_code error;
  const fs::path blobs = source_.cache.repository(source_.model) / "blobs";
  fs::create_directories(blobs, error);
  if (error) {
    return unavailable("cannot write " + blobs.string() + ": " + error.message() +
                       "; HF_HOME or --download-dir names another cache");
  }
  ASSIGN_OR_RETURN(const std::vector<RemoteFile> files, describe(names));
  for (const RemoteFile& file : files) total_bytes_ += file.size;
  total_files_ += static_cast<int>(files.size());
  RETURN_IF_ERROR(check_space(files));
  return run_jobs(
      files.size(), stop_, [&](size_t i) { return fetch_one(files[i]); },
      [&] {
        if (last) tell_progress();
      });
}

bool has(const std::vector<std::string>& files, std::string_view name) {
  return std::find(files.begin(), files.end(), name) != files.end();
}

// The weights: one file, or the shards of the index that has been fetched.
StatusOr<std::vector<std::string>> choose_weights(const std::string& model,
                                                  const std::vector<std::string>& files,
                                                  const fs::path& snapshot) {
  if (has(files, kIndex)) {
    ASSIGN_OR_RETURN(std::vector<std::string> shards, shards_of_index(snapshot / kIndex));
    for (const std::string& shard : shards) {
      if (!has(files, shard))
        return data_loss("model " + model + ": its index names " + shard + ", which it lacks");
    }
    return shards;
  }
  if (has(files, "model.safetensors")) return std::vector<std::string>{"model.safetensors"};
  const bool gguf = std::any_of(files.begin(), files.end(),
                                [](const std::string& f) { return f.ends_with(".gguf"); });
  return unimplemented("model " + model + " has no model.safetensors" +
                       (gguf ? ", only GGUF files" : "") +
                       "; octavo serves weights in safetensors alone");
}

}  // namespace

std::vector<std::string> choose_small_files(const std::vector<std::string>& files, Wanted wanted) {
  std::vector<std::string> chosen;
  for (const std::string& file : files) {
    const bool known =
        std::find(std::begin(kSmallFiles), std::end(kSmallFiles), file) != std::end(kSmallFiles);
    const bool tiktoken = file.ends_with(".tiktoken") && is_file_name(file);
    const bool index = file == kIndex && wanted == Wanted::kEverything;
    if (known || tiktoken || index) chosen.push_back(file);
  }
  return chosen;
}

StatusOr<fs::path> download(const Remote& remote, const HubCache& cache, const std::string& model,
                            const std::string& revision, Wanted wanted,
                            const std::function<void(const DownloadProgress&)>& on_progress) {
  ASSIGN_OR_RETURN(const Listing listing, remote.list(model, revision));
  if (wanted == Wanted::kEverything && !has(listing.files, "config.json"))
    return unimplemented("model " + model + " has no config.json: no model that octavo can serve");
  Download download({remote, cache, model, listing.commit}, on_progress);
  RETURN_IF_ERROR(
      download.fetch(choose_small_files(listing.files, wanted), wanted == Wanted::kAllButWeights));
  if (wanted == Wanted::kEverything) {
    ASSIGN_OR_RETURN(const std::vector<std::string> weights,
                     choose_weights(model, listing.files, download.snapshot()));
    RETURN_IF_ERROR(download.fetch(weights, true));
  }
  if (revision != listing.commit) {
    RETURN_IF_ERROR(
        put_in_place(cache.repository(model) / "refs" / revision, [&](const fs::path& file) {
          std::ofstream out(file);
          out << listing.commit;
          out.close();
          return !out.fail();
        }));
  }
  download.tell_progress();
  return download.snapshot();
}

}  // namespace octavo::hub
