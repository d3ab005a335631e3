#include "serve/views/openapi.h"

#include <string>

#include "base/json_writer.h"

namespace octavo::serve {

HttpResponse show_openapi(ServerContext& context, const HttpRequest&) {
  const std::string& root = context.options.root_path;
  std::string body = "{\"servers\":[{\"url\":";
  append_json_string(body, root.empty() ? "/" : root);
  body.append("}],").append(openapi_document().substr(1));
  return {.body = std::move(body)};
}

}  // namespace octavo::serve
