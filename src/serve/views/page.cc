#include "serve/views/page.h"

#include <algorithm>
#include <string>

#include "serve/errors.h"

namespace octavo::serve {

namespace {

// Scripts, styles and requests of this server alone; nothing inline; and no way from a string to
// markup, whatever a model writes (Trusted Types).
constexpr std::string_view kContentSecurityPolicy =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

// "gzip, deflate;q=0.5", "*": whether gzip is among them and not refused by a weight of zero.
bool takes_gzip(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const size_t comma = std::min(accept_encoding.find(','), accept_encoding.size());
    std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
    item.remove_prefix(std::min(item.find_first_not_of(' '), item.size()));
    const std::string_view coding = item.substr(0, item.find_first_of("; "));
    if (coding != "gzip" && coding != "*") continue;
    const size_t weight = item.find("q=");
    return weight == item.npos || item.find_first_of("123456789", weight) != item.npos;
  }
  return false;
}

}  // namespace

HttpResponse show_page(const HttpRequest& request) {
  const auto& files = page_files();
  const auto file = std::find_if(files.begin(), files.end(),
                                 [&](const PageFile& f) { return f.path == request.path; });
  if (file == files.end()) {
    return error_response(404, "Not Found: the page has no file `" + request.path + "`.");
  }
  HttpHeaders headers = {{"content-security-policy", std::string(kContentSecurityPolicy)},
                         {"referrer-policy", "no-referrer"},
                         {"cross-origin-opener-policy", "same-origin"},
                         {"cache-control", "no-cache"},
                         {"vary", "accept-encoding"},
                         {"etag", std::string(file->etag)}};
  if (request.header("if-none-match").find(file->etag) != std::string_view::npos) {
    return {.status = 304, .body = "", .content_type = "", .headers = std::move(headers)};
  }
  if (!takes_gzip(request.header("accept-encoding"))) {
    return {.status = 406,
            .body =
                "Octavo's page is for browsers, and is sent as gzip (curl --compressed). "
                "The API is under /v1.\n",
            .content_type = "text/plain; charset=utf-8",
            .headers = std::move(headers)};
  }
  headers.emplace_back("content-encoding", "gzip");
  return {.body = std::string(file->gzipped),
          .content_type = std::string(file->content_type),
          .headers = std::move(headers)};
}

}  // namespace octavo::serve
