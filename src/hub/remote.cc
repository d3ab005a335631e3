#include "hub/remote.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include "base/status_macros.h"
#include "hub/names.h"
#include "octavo/value.h"

namespace octavo::hub {
namespace {

constexpr size_t kMaxListing = 64 << 20;
constexpr int kMaxRedirects = 5;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The checksum in an ETag: "abc", W/"abc"; empty where there is none that we can compute.
std::string checksum_of(const http::Head& head) {
  const std::string* etag = head.find("X-Linked-Etag");
  if (etag == nullptr) etag = head.find("ETag");
  if (etag == nullptr) return "";
  std::string_view text = *etag;
  if (text.starts_with("W/")) text.remove_prefix(2);
  if (text.size() > 2 && text.front() == '"' && text.back() == '"')
    text = text.substr(1, text.size() - 2);
  const bool known = (text.size() == 64 || text.size() == 40) && is_hex(text);
  return known ? std::string(text) : "";
}

std::optional<int64_t> number_of(const std::string* text) {
  int64_t value = -1;
  if (text != nullptr) std::from_chars(text->data(), text->data() + text->size(), value);
  return value < 0 ? std::nullopt : std::optional(value);
}

// A revision within a path: its slashes are data.
std::string escaped(const std::string& revision) {
  std::string out;
  for (const char c : revision) out += c == '/' ? "%2F" : std::string(1, c);
  return out;
}

}  // namespace

StatusOr<Remote> Remote::make(const std::string& endpoint, const std::string& token) {
  auto url = http::parse_url(endpoint);
  if (!url.ok()) return url.status().with_context("HF_ENDPOINT");
  while (!url->path.empty() && url->path.back() == '/') url->path.pop_back();
  return Remote(*std::move(url), token);
}

http::Request Remote::request(std::string method, const std::string& path) const {
  http::Request request{.method = std::move(method), .url = endpoint_};
  request.url.path += path;
  // Sizes and ranges are those of the file, not of a packed form of it.
  request.headers = {{"User-Agent", "octavo"}, {"Accept-Encoding", "identity"}};
  if (!token_.empty()) request.headers.emplace_back("Authorization", "Bearer " + token_);
  return request;
}

StatusOr<http::Request> Remote::redirected(http::Request request, std::string_view location) const {
  ASSIGN_OR_RETURN(request.url, http::resolve_redirect(request.url, location));
  if (!request.url.same_origin(endpoint_)) {
    std::erase_if(request.headers, [](const auto& h) { return h.first == "Authorization"; });
  }
  return request;
}

Status Remote::refused(const std::string& model, const http::Head& head) const {
  const std::string* code = head.find("X-Error-Code");
  const std::string reason = code == nullptr ? "" : *code;
  const std::string page = endpoint_.to_string() + "/" + model;
  if (reason == "GatedRepo") {
    return {StatusCode::kUnauthenticated,
            "model " + model + " is given to those who accept its conditions: do so at " + page +
                ", and set HF_TOKEN to a token of that account"};
  }
  if (reason == "RevisionNotFound") return not_found("model " + model + " has no such revision");
  if (reason == "EntryNotFound") return not_found("model " + model + " has no such file");
  if (head.status == 401 || head.status == 403) {
    const char* what_to_do = token_.empty()
                                 ? "check the name; a private model needs HF_TOKEN"
                                 : "check the name, and that the account of HF_TOKEN may read it";
    return {StatusCode::kUnauthenticated, "model " + model + ": " + endpoint_.authority() +
                                              " knows no such model, or does not show it (" +
                                              std::to_string(head.status) + "): " + what_to_do};
  }
  if (head.status == 404) {
    return not_found("model " + model + ": " + endpoint_.authority() +
                     " has no such model or file: check the name and the revision");
  }
  if (head.status == 429)
    return resource_exhausted(endpoint_.authority() + " asks for patience (429): try later");
  return unavailable("model " + model + ": " + endpoint_.authority() + " answered " +
                     std::to_string(head.status));
}

StatusOr<Listing> Remote::list(const std::string& model, const std::string& revision) const {
  http::Request get = request("GET", "/api/models/" + model + "/revision/" + escaped(revision));
  http::Answer answer;
  for (int hops = 0;; ++hops) {
    ASSIGN_OR_RETURN(answer, http::fetch_whole(get, {}, kMaxListing));
    const std::string* location = answer.head.find("Location");
    if (!is_redirect(answer.head.status) || location == nullptr || hops == kMaxRedirects) break;
    ASSIGN_OR_RETURN(get, redirected(get, *location));
  }
  if (answer.head.status != 200) return refused(model, answer.head);
  StatusOr<Value> parsed = parse_json(answer.body);
  if (!parsed.ok()) return parsed.status().with_context(get.url.to_string());
  const Value* commit = parsed->find("sha");
  const Value* files = parsed->find("siblings");
  if (commit == nullptr || !commit->is_string() || !is_file_name(commit->as_string()) ||
      files == nullptr || !files->is_list())
    return unavailable(get.url.to_string() + " is no list of a model's files");
  Listing listing{.commit = commit->as_string()};
  for (const Value& file : files->as_list()) {
    const Value* name = file.find("rfilename");
    if (name != nullptr && name->is_string()) listing.files.push_back(name->as_string());
  }
  return listing;
}

http::Url Remote::file_url(const std::string& model, const std::string& commit,
                           const std::string& file) const {
  http::Url url = endpoint_;
  url.path += "/" + model + "/resolve/" + commit + "/" + file;
  return url;
}

StatusOr<RemoteFile> Remote::describe(const std::string& model, const std::string& commit,
                                      const std::string& file, const http::Limits& limits) const {
  http::Request head = request("HEAD", "");
  head.url = file_url(model, commit, file);
  http::Answer answer;
  for (int hops = 0;; ++hops) {
    ASSIGN_OR_RETURN(answer, http::fetch_whole(head, limits, 0));
    if (!is_redirect(answer.head.status)) break;
    // A redirect that carries the checksum leads to the bytes, of which nothing is asked yet.
    if (!checksum_of(answer.head).empty() && answer.head.find("X-Linked-Size") != nullptr) break;
    const std::string* location = answer.head.find("Location");
    if (location == nullptr || hops == kMaxRedirects) break;
    ASSIGN_OR_RETURN(head, redirected(head, *location));
  }
  if (answer.head.status != 200 && !is_redirect(answer.head.status))
    return refused(model, answer.head);
  const std::string* size = answer.head.find("X-Linked-Size");
  const auto bytes = number_of(size != nullptr ? size : answer.head.find("Content-Length"));
  RemoteFile found{.name = file, .checksum = checksum_of(answer.head), .size = bytes.value_or(0)};
  if (!bytes || found.checksum.empty()) {
    return unavailable("model " + model + ": " + endpoint_.authority() +
                       " tells neither size nor checksum of " + file);
  }
  return found;
}

Status Remote::read(const std::string& model, const std::string& commit, const std::string& file,
                    int64_t offset, const http::Limits& limits,
                    const std::function<bool(int64_t)>& on_start,
                    const std::function<bool(std::string_view)>& on_bytes) const {
  http::Request get = request("GET", "");
  get.url = file_url(model, commit, file);
  if (offset > 0) get.headers.emplace_back("Range", "bytes=" + std::to_string(offset) + "-");
  for (int hops = 0; hops <= kMaxRedirects; ++hops) {
    http::Head head;
    const http::Handlers handlers{.on_head =
                                      [&](const http::Head& got) {
                                        head = got;
                                        if (got.status != 200 && got.status != 206) return false;
                                        if (got.status == 200) return on_start(0);
                                        const std::string* range = got.find("Content-Range");
                                        const std::string wanted =
                                            "bytes " + std::to_string(offset) + "-";
                                        if (range != nullptr && range->starts_with(wanted))
                                          return on_start(offset);
                                        head.status = 416;
                                        return false;
                                      },
                                  .on_body = on_bytes};
    RETURN_IF_ERROR(http::fetch(get, limits, handlers));
    const std::string* location = head.find("Location");
    if (!is_redirect(head.status) || location == nullptr) {
      if (head.status == 200 || head.status == 206) return {};
      return refused(model, head);
    }
    ASSIGN_OR_RETURN(get, redirected(get, *location));
  }
  return unavailable("model " + model + ": too many redirects for " + file);
}

}  // namespace octavo::hub
