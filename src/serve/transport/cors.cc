#include "serve/transport/cors.h"

#include <algorithm>

#include "serve/transport/http_words.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kMaxAgeSeconds = "600";
// A browser sends these without asking.
constexpr std::string_view kSimpleHeaders[] = {"Accept", "Accept-Language", "Content-Language",
                                               "Content-Type"};

bool has_star(const std::vector<std::string>& list) {
  return std::find(list.begin(), list.end(), "*") != list.end();
}

template <typename List>
bool has_word(const List& list, std::string_view word) {
  return std::any_of(std::begin(list), std::end(list),
                     [&](std::string_view entry) { return equals_ignoring_case(entry, word); });
}

template <typename List>
std::string join(std::string text, const List& list) {
  for (const std::string_view entry : list) {
    if (!text.empty()) text += ", ";
    text += entry;
  }
  return text;
}

HttpResponse refuse(std::string_view why) {
  return {.status = 400,
          .body = "Disallowed CORS " + std::string(why),
          .content_type = "text/plain; charset=utf-8"};
}

}  // namespace

Cors::Cors(CorsOptions options)
    : options_(std::move(options)),
      any_origin_(has_star(options_.origins)),
      any_method_(has_star(options_.methods)),
      any_header_(has_star(options_.headers)) {}

bool Cors::allows_origin(std::string_view origin) const {
  return any_origin_ || std::find(options_.origins.begin(), options_.origins.end(), origin) !=
                            options_.origins.end();
}

HttpHeaders Cors::answer_headers(const HttpRequest& request) const {
  HttpHeaders headers;
  const std::string_view origin = request.header("origin");
  // With credentials no browser takes "*". An answer that differs by origin must say so, also to
  // those who sent none, or a cache gives one origin's answer to another.
  const bool same_for_all = any_origin_ && !options_.credentials;
  if (!same_for_all) headers.emplace_back("vary", "Origin");
  if (origin.empty() || !allows_origin(origin)) return headers;
  headers.emplace_back("access-control-allow-origin", same_for_all ? "*" : std::string(origin));
  if (options_.credentials) headers.emplace_back("access-control-allow-credentials", "true");
  return headers;
}

HttpResponse Cors::preflight(const HttpRequest& request, std::string_view methods) const {
  const std::string_view origin = request.header("origin");
  const std::string_view method = request.header("access-control-request-method");
  const std::string_view wanted = request.header("access-control-request-headers");
  if (!origin.empty() && !allows_origin(origin)) return refuse("origin");
  if (!any_method_ && !method.empty() &&
      std::find(options_.methods.begin(), options_.methods.end(), method) ==
          options_.methods.end()) {
    return refuse("method");
  }
  for (std::string_view list = any_header_ ? "" : wanted; !list.empty();) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view name = trim_blanks(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!has_word(options_.headers, name) && !has_word(kSimpleHeaders, name)) {
      return refuse("headers");
    }
  }
  const std::string allow = std::string(methods) + ", OPTIONS";
  std::string headers = wanted.empty() ? "*" : std::string(wanted);
  if (!any_header_) headers = join(join("", kSimpleHeaders), options_.headers);
  return {.status = 200,
          .body = "",
          .content_type = "",
          .headers = {
              {"allow", allow},
              {"access-control-allow-methods", any_method_ ? allow : join("", options_.methods)},
              {"access-control-allow-headers", headers},
              {"access-control-max-age", std::string(kMaxAgeSeconds)}}};
}

}  // namespace octavo::serve
