#include "serve/responses/testing_responses.h"

namespace octavo::serve {

std::string body(std::string_view fields, std::string_view input) {
  std::string out = R"({"input":)" + std::string(input);
  if (!fields.empty()) out.append(",").append(fields);
  return out + "}";
}

std::string prompt(TestServer& server) {
  const std::vector<TokenId> ids = server.engine().last_request().prompt_token_ids;
  return {ids.begin(), ids.end()};
}

Value post(TestServer& server, const std::string& request) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 200) << response.body;
  return response.json();
}

std::string refusal(TestServer& server, const std::string& request, const std::string& param) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_EQ(response.error("param"), '"' + param + '"') << response.body;
  return response.error("message");
}

std::vector<Value> stream(TestServer& server, std::string request) {
  TestClient client(server.port());
  request.insert(request.size() - 1, R"(,"stream":true)");
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 200) << response.body;
  std::vector<Value> events;
  std::string_view rest = response.body;
  while (!rest.empty()) {
    const size_t line = rest.find('\n');
    const size_t end = rest.find("\n\n");
    if (end == std::string_view::npos || !rest.starts_with("event: ")) {
      ADD_FAILURE() << rest;
      break;
    }
    const auto data = parse_json(rest.substr(line + 7, end - line - 7));
    EXPECT_EQ(rest.substr(line + 1, 6), "data: ");
    EXPECT_TRUE(data.ok()) << rest.substr(0, end);
    if (!data.ok()) break;
    EXPECT_EQ(at(*data, "type"), Value(rest.substr(7, line - 7)));
    EXPECT_EQ(at(*data, "sequence_number"), Value(static_cast<int64_t>(events.size())));
    events.push_back(*data);
    rest.remove_prefix(end + 2);
  }
  return events;
}

}  // namespace octavo::serve
