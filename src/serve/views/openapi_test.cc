// The description of the API and the router tell of the same routes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "serve/routes.h"
#include "serve/testing_server.h"
#include "serve/views/openapi.h"

namespace octavo::serve {
namespace {

using Operations = std::set<std::string>;  // "GET /v1/models/{}"

// Every parameter is called the same.
std::string unnamed(std::string_view path) {
  std::string out;
  bool inside = false;
  for (const char c : path) {
    if (c == '}') inside = false;
    if (!inside) out += c;
    if (c == '{') inside = true;
  }
  return out;
}

Operations described() {
  Operations out;
  const Value document = *parse_json(openapi_document());
  for (const auto& [path, item] : at(document, "paths").as_dict()) {
    for (const auto& [name, operation] : item.as_dict()) {
      if (name == "parameters") continue;
      std::string method = name;
      std::transform(method.begin(), method.end(), method.begin(),
                     [](unsigned char c) { return std::toupper(c); });
      out.insert(method + " " + unnamed(path));
    }
  }
  return out;
}

Operations routed() {
  Operations out;
  for (const Route& route : all_routes()) {
    const std::string path = unnamed(route.path) + (route.prefix ? "{}" : "");
    for (std::string_view methods = route.methods; !methods.empty();) {
      const size_t comma = std::min(methods.find(", "), methods.size());
      out.insert(std::string(methods.substr(0, comma)) + " " + path);
      methods.remove_prefix(std::min(comma + 2, methods.size()));
    }
  }
  return out;
}

TEST(OpenApi, DescribesEveryRouteAndNoOther) {
  EXPECT_EQ(described(), routed());
}

void collect_references(const Value& value, std::set<std::string>& out) {
  if (value.is_list()) {
    for (const Value& item : value.as_list()) collect_references(item, out);
  } else if (value.is_dict()) {
    for (const auto& [name, member] : value.as_dict()) {
      if (name == "$ref") out.insert(member.as_string());
      collect_references(member, out);
    }
  }
}

TEST(OpenApi, RefersToNothingThatIsNotThere) {
  const Value document = *parse_json(openapi_document());
  std::set<std::string> references;
  collect_references(document, references);
  for (const std::string& reference : references) {
    std::string path = reference.substr(2);
    std::replace(path.begin(), path.end(), '/', '.');
    EXPECT_FALSE(at(document, path).is_null()) << reference;
  }
}

TEST(OpenApi, NamesItsServerByTheRootPath) {
  ServerOptions options;
  options.root_path = "/behind/a/proxy";
  TestServer server({}, options);
  TestClient client(server.port());
  const TestResponse response = client.request("GET", "/openapi.json");
  EXPECT_EQ(response.status, 200);
  const Value document = response.json();
  EXPECT_EQ(at(document, "servers.0.url"), Value("/behind/a/proxy"));
  EXPECT_EQ(at(document, "openapi"), Value("3.1.0"));
  EXPECT_NE(at(document, "info.version"), Value("@version@"));
}

}  // namespace
}  // namespace octavo::serve
