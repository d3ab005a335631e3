// One entry a line; line breaks and backslashes in it are written \n and \\.
#include "cli/terminal/history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace octavo::cli {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxEntryBytes = 64 << 10;
constexpr uintmax_t kMaxFileBytes = 16 << 20;

std::string escape(const std::string& entry) {
  std::string line;
  for (const char c : entry) {
    if (c == '\n')
      line += "\\n";
    else if (c == '\\')
      line += "\\\\";
    else
      line += c;
  }
  return line + "\n";
}

std::string unescape(const std::string& line) {
  std::string entry;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size())
      entry += line[i];
    else
      entry += line[++i] == 'n' ? '\n' : line[i];
  }
  return entry;
}

void write_all(const fs::path& path, int flags, const std::string& bytes) {
  const int fd = open(path.c_str(), flags | O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const ssize_t written = write(fd, bytes.data(), bytes.size());
  static_cast<void>(written);  // a full disk costs the history an entry, and the chat nothing
  close(fd);
}

}  // namespace

History::History(fs::path file) : file_(std::move(file)) {
  if (file_.empty()) return;
  std::error_code error;
  if (fs::create_directories(file_.parent_path(), error))
    fs::permissions(file_.parent_path(), fs::perms::owner_all, error);
  if (!fs::is_regular_file(file_, error) || fs::file_size(file_, error) > kMaxFileBytes) return;
  std::ifstream in(file_);
  size_t lines = 0;
  for (std::string line; std::getline(in, line); ++lines) entries_.push_back(unescape(line));
  if (entries_.size() > kMaxEntries)
    entries_.erase(entries_.begin(), entries_.end() - static_cast<ptrdiff_t>(kMaxEntries));
  if (lines > 2 * kMaxEntries) rewrite();
}

void History::add(const std::string& entry) {
  if (entry.empty() || entry.size() > kMaxEntryBytes) return;
  if (!entries_.empty() && entries_.back() == entry) return;
  entries_.push_back(entry);
  if (entries_.size() > kMaxEntries) entries_.erase(entries_.begin());
  if (!file_.empty()) write_all(file_, O_APPEND, escape(entry));
}

void History::rewrite() const {
  std::string bytes;
  for (const std::string& entry : entries_) bytes += escape(entry);
  const fs::path fresh = file_.string() + "." + std::to_string(getpid());
  write_all(fresh, O_TRUNC, bytes);
  std::error_code error;
  fs::rename(fresh, file_, error);
}

fs::path state_file(const std::string& name) {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return fs::path(state) / "octavo" / name;
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return fs::path(home) / ".local/state/octavo" / name;
}

}  // namespace octavo::cli
