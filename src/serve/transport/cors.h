// Which pages of other origins may call the server from a browser (the CORS protocol of the Fetch
// standard), as vLLM's flags have it: by default any, without credentials. Immutable; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "serve/transport/http_server.h"

namespace octavo::serve {

struct CorsOptions {
  // "*" stands for all.
  std::vector<std::string> origins = {"*"};
  std::vector<std::string> methods = {"*"};
  std::vector<std::string> headers = {"*"};
  bool credentials = false;  // answers to requests with cookies may be read too
};

class Cors {
 public:
  explicit Cors(CorsOptions options);

  // What the answer to `request` carries, whatever it is. An origin that is not allowed gets
  // nothing, and its browser keeps the answer from the page.
  HttpHeaders answer_headers(const HttpRequest& request) const;
  // The answer to OPTIONS, by which a browser asks before a request; `methods` are those of the
  // route.
  HttpResponse preflight(const HttpRequest& request, std::string_view methods) const;

 private:
  bool allows_origin(std::string_view origin) const;

  CorsOptions options_;
  bool any_origin_;
  bool any_method_;
  bool any_header_;
};

}  // namespace octavo::serve
