// safetensors headers and files: see the header. The format's own rules
// (github.com/huggingface/safetensors): the header is at most 100 MB, begins with '{', names are
// unique, and the byte ranges tile the data exactly.
#include "weights/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "base/status_macros.h"
#include "octavo/value.h"

namespace octavo {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kPrefix = 8;
constexpr uint64_t kPage = 4096;
constexpr int kMaxDepth = 8;  // name → field → list; metadata → text

struct FormatDType {
  std::string_view name;
  unsigned bytes;
};
constexpr FormatDType kFormats[] = {
    {"F32", 4},  {"BF16", 2},    {"F16", 2}, {"F64", 8},     {"I64", 8},    {"I32", 4},
    {"I16", 2},  {"I8", 1},      {"U64", 8}, {"U32", 4},     {"U16", 2},    {"U8", 1},
    {"BOOL", 1}, {"F8_E4M3", 1}, {"C64", 8}, {"F8_E5M2", 1}, {"F8_E8M0", 1}};

Status bad(const std::string& file, const std::string& what) {
  return data_loss(file + ": " + what);
}

// Keys written in a JSON text that is known to be valid. parse_json merges duplicates, which in a
// header would let one name stand for two tensors. The first key that occurs twice in the outermost
// object is left in `twice`.
size_t count_keys(std::string_view json, std::string& twice) {
  std::set<std::string_view> seen;
  size_t keys = 0;
  int depth = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    if (c != '"') continue;
    const size_t begin = ++i;
    while (json[i] != '"') i += json[i] == '\\' ? 2 : 1;
    const std::string_view text = json.substr(begin, i - begin);
    const size_t next = json.find_first_not_of(" \t\r\n", i + 1);
    if (next == std::string_view::npos || json[next] != ':') continue;
    ++keys;
    if (depth == 1 && !seen.insert(text).second && twice.empty()) twice = text;
  }
  return keys;
}

size_t count_keys(const Value& value) {
  size_t keys = 0;
  if (value.is_dict()) {
    keys = value.as_dict().size();
    for (const auto& [name, member] : value.as_dict()) keys += count_keys(member);
  } else if (value.is_list()) {
    for (const Value& element : value.as_list()) keys += count_keys(element);
  }
  return keys;
}

// A byte count or a dimension.
std::optional<uint64_t> as_size(const Value& value) {
  if (!value.is_int() || value.as_int() < 0) return std::nullopt;
  return static_cast<uint64_t>(value.as_int());
}

// dtype size times dimensions; none if that overflows 63 bits.
std::optional<uint64_t> bytes_of(uint64_t element, const std::vector<int64_t>& dims) {
  uint64_t bytes = element;
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return 0;
  for (int64_t d : dims) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(d), &bytes) || bytes >> 63)
      return std::nullopt;
  }
  return bytes;
}

StatusOr<SafetensorsEntry> parse_entry(const std::string& name, const Value& fields,
                                       uint64_t data_begin, uint64_t data_bytes,
                                       const std::string& file) {
  const auto fail = [&](const std::string& what) {
    return bad(file, "tensor '" + name + "': " + what);
  };
  SafetensorsEntry entry{.name = name};
  const Value* dtype = fields.find("dtype");
  const Value* shape = fields.find("shape");
  const Value* offsets = fields.find("data_offsets");
  if (!dtype || !dtype->is_string()) return fail("dtype is missing or no string");
  if (!shape || !shape->is_list()) return fail("shape is missing or no list");
  if (!offsets || !offsets->is_list() || offsets->as_list().size() != 2) {
    return fail("data_offsets is missing or not two numbers");
  }
  entry.dtype_name = dtype->as_string();
  const auto* format =
      std::find_if(std::begin(kFormats), std::end(kFormats),
                   [&](const FormatDType& f) { return f.name == entry.dtype_name; });
  if (format == std::end(kFormats)) return fail("unknown dtype '" + entry.dtype_name + "'");
  if (auto known = parse_dtype(entry.dtype_name); known.ok()) entry.dtype = *known;
  for (const Value& d : shape->as_list()) {
    const auto size = as_size(d);
    if (!size) return fail("shape holds " + to_json(d));
    entry.dims.push_back(static_cast<int64_t>(*size));
  }
  const auto begin = as_size(offsets->as_list()[0]);
  const auto end = as_size(offsets->as_list()[1]);
  if (!begin || !end || *begin > *end)
    return fail("data_offsets " + to_json(*offsets) + " are no range");
  if (*end > data_bytes) {
    return fail("data_offsets " + to_json(*offsets) +
                " reach beyond the end of the file, which holds " + std::to_string(data_bytes) +
                " bytes of data; the file may be cut short");
  }
  const auto bytes = bytes_of(format->bytes, entry.dims);
  if (!bytes || *bytes != *end - *begin) {
    return fail("shape " + entry.shape_text() + " of " + entry.dtype_name + " does not fill its " +
                std::to_string(*end - *begin) + " bytes");
  }
  entry.begin = data_begin + *begin;
  entry.end = data_begin + *end;
  return entry;
}

// The ranges must follow each other without overlap or hole, to the end of the file.
Status check_tiling(const std::vector<SafetensorsEntry>& entries, uint64_t data_begin,
                    uint64_t file_bytes, const std::string& file) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& e : entries) order.push_back(&e);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  uint64_t at = data_begin;
  for (size_t i = 0; i < order.size(); ++i) {
    const SafetensorsEntry& e = *order[i];
    if (e.begin < at) {
      return bad(file, "tensors '" + order[i - 1]->name + "' and '" + e.name + "' overlap");
    }
    if (e.begin > at) {
      return bad(file, std::to_string(e.begin - at) + " bytes before tensor '" + e.name +
                           "' belong to no tensor");
    }
    at = e.end;
  }
  if (at != file_bytes) {
    return bad(file, std::to_string(file_bytes - at) + " bytes at the end belong to no tensor");
  }
  return ok_status();
}

}  // namespace

std::string SafetensorsEntry::shape_text() const {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

StatusOr<std::vector<SafetensorsEntry>> parse_safetensors_header(std::string_view start,
                                                                 uint64_t file_bytes,
                                                                 const std::string& file) {
  if (file_bytes < kPrefix || start.size() < kPrefix) {
    return bad(file, "no safetensors file: it has only " + std::to_string(file_bytes) + " bytes");
  }
  uint64_t length = 0;
  for (unsigned i = 0; i < kPrefix; ++i)
    length |= uint64_t{static_cast<unsigned char>(start[i])} << (8 * i);
  if (length > kMaxHeader) {
    return bad(file, "no safetensors file, or a damaged one: its header would have " +
                         std::to_string(length) + " bytes, more than the format's 100 MB");
  }
  if (length > file_bytes - kPrefix || length > start.size() - kPrefix) {
    return bad(file, "the header of " + std::to_string(length) +
                         " bytes reaches beyond the end of the file; "
                         "the file may be cut short");
  }
  const std::string_view json = start.substr(kPrefix, length);
  if (json.empty() || json.front() != '{') return bad(file, "the header is no JSON object");
  auto parsed = parse_json(json, kMaxDepth);
  if (!parsed.ok()) return bad(file, "header: " + parsed.status().message());
  if (!parsed->is_dict()) return bad(file, "the header is no JSON object");
  std::string twice;
  if (count_keys(json, twice) != count_keys(*parsed)) {
    return bad(file, twice.empty() ? "the header holds a name twice"
                                   : "tensor '" + twice + "' occurs twice");
  }
  const uint64_t data_begin = kPrefix + length;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, fields] : parsed->as_dict()) {
    if (name == "__metadata__") continue;
    if (!fields.is_dict()) return bad(file, "tensor '" + name + "' is described by no JSON object");
    ASSIGN_OR_RETURN(SafetensorsEntry entry,
                     parse_entry(name, fields, data_begin, file_bytes - data_begin, file));
    entries.push_back(std::move(entry));
  }
  RETURN_IF_ERROR(check_tiling(entries, data_begin, file_bytes, file));
  return entries;
}

StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::open(
    const std::filesystem::path& path) {
  const std::string name = path.string();
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return not_found("cannot open " + name + ": " + std::strerror(errno));
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return not_found(name + " is no regular file");
  }
  const auto bytes = static_cast<uint64_t>(info.st_size);
  void* map = bytes == 0 ? MAP_FAILED : mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  const int map_error = errno;
  close(fd);
  if (bytes == 0) return bad(name, "the file is empty");
  if (map == MAP_FAILED)
    return resource_exhausted("cannot map " + name + ": " + std::strerror(map_error));
  std::unique_ptr<SafetensorsFile> file(
      new SafetensorsFile(name, static_cast<std::byte*>(map), bytes));
  const std::string_view all(static_cast<const char*>(map), bytes);
  ASSIGN_OR_RETURN(file->entries_, parse_safetensors_header(all, bytes, name));
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  munmap(map_, bytes_);
}

void SafetensorsFile::prefetch(uint64_t begin, uint64_t end) const {
  const uint64_t first = begin / kPage * kPage;
  (void)madvise(map_ + first, end - first, MADV_WILLNEED);
}

void SafetensorsFile::drop(uint64_t begin, uint64_t end) const {
  const uint64_t first = begin / kPage * kPage;
  (void)madvise(map_ + first, end - first, MADV_DONTNEED);
}

}  // namespace octavo
