// What /v1/responses keeps, over real sockets: answers asked for again, conversations that go on,
// and whose they are.
#include "serve/responses/testing_responses.h"

namespace octavo::serve {
namespace {

std::string get(TestServer& server, const std::string& path, int status = 200,
                std::string_view method = "GET", std::string_view headers = "") {
  TestClient client(server.port());
  const TestResponse response = client.request(method, path, "", headers);
  EXPECT_EQ(response.status, status) << response.body;
  return response.body;
}

std::string path_of(const Value& response, const std::string& rest = "") {
  return std::string(kPath) + "/" + at(response, "id").as_string() + rest;
}

TEST(ResponsesStore, GivesAnAnswerAgainUntilItIsDeleted) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(""));
  EXPECT_EQ(*parse_json(get(server, path_of(v))), v);
  EXPECT_EQ(get(server, path_of(v), 200, "DELETE"),
            R"({"id":")" + at(v, "id").as_string() + R"(","object":"response","deleted":true})");
  get(server, path_of(v), 404);
  get(server, path_of(v), 404, "DELETE");
  get(server, path_of(v, "/input_items"), 404);
  get(server, path_of(v, "/nothing"), 404);
  get(server, std::string(kPath) + "/", 404);
}

TEST(ResponsesStore, KeepsWhatAStreamTold) {
  TestServer server({.says = "ok"});
  const std::vector<Value> events = stream(server, body(""));
  const Value& v = at(events.back(), "response");
  EXPECT_EQ(*parse_json(get(server, path_of(v))), v);
}

TEST(ResponsesStore, DoesNotKeepWhatItShouldNot) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(R"("store":false)"));
  EXPECT_EQ(at(v, "store"), Value(false));
  get(server, path_of(v), 404);
}

TEST(ResponsesStore, OfAServerThatKeepsNothingSaysSo) {
  TestServer server({.says = "ok"}, {.response_store_bytes = 0});
  const Value v = post(server, body(""));
  EXPECT_EQ(at(v, "store"), Value(false));
  EXPECT_NE(get(server, path_of(v), 404).find("--response-store-bytes"), std::string::npos);
}

TEST(ResponsesStore, SaysThatAnAnswerHasEndedAlready) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(""));
  EXPECT_NE(get(server, path_of(v, "/cancel"), 400, "POST").find("Cannot cancel"),
            std::string::npos);
  get(server, path_of(v) + "?stream=true", 400);
  get(server, std::string(kPath) + "/resp_none/cancel", 404, "POST");
  get(server, path_of(v, "/cancel"), 405);
}

TEST(ResponsesStore, ListsTheInputItemsInPages) {
  TestServer server({.says = "ok"});
  std::string input = "[";
  for (int i = 0; i < 5; ++i) {
    input += R"({"id":"m)" + std::to_string(i) + R"(","role":"user","content":"x"},)";
  }
  input.back() = ']';
  const Value v = post(server, body("", input));
  const auto page = [&](const std::string& query) {
    const Value list = *parse_json(get(server, path_of(v, "/input_items" + query)));
    std::string out;
    for (const Value& item : at(list, "data").as_list()) out += at(item, "id").as_string();
    return out + (at(list, "has_more").as_bool() ? "…" : "");
  };
  EXPECT_EQ(page(""), "m4m3m2m1m0");
  EXPECT_EQ(page("?order=asc&limit=2"), "m0m1…");
  EXPECT_EQ(page("?order=asc&limit=2&after=m1"), "m2m3…");
  EXPECT_EQ(page("?after=m1"), "m0");
  EXPECT_EQ(page("?after=none"), "");
  get(server, path_of(v, "/input_items?limit=0"), 400);
  get(server, path_of(v, "/input_items?order=up"), 400);
}

TEST(ResponsesStore, AConversationGoesOnWithoutItsInstructions) {
  TestServer server({.says = "ok"});
  const Value first = post(server, body(R"("instructions":"Shout.")", "\"one\""));
  const auto go_on = [&](const Value& from, const std::string& input) {
    return post(server, body(R"("previous_response_id":")" + at(from, "id").as_string() + "\"",
                             "\"" + input + "\""));
  };
  const Value second = go_on(first, "two");
  EXPECT_EQ(prompt(server), "user: one\nassistant: ok\nuser: two\nassistant: ");
  EXPECT_EQ(at(second, "previous_response_id"), at(first, "id"));
  go_on(second, "three");
  EXPECT_EQ(prompt(server),
            "user: one\nassistant: ok\nuser: two\nassistant: ok\nuser: three\nassistant: ");
  go_on(first, "other");
  EXPECT_EQ(prompt(server), "user: one\nassistant: ok\nuser: other\nassistant: ");
}

TEST(ResponsesStore, ACallIsAnsweredByItsId) {
  TestServer server({.says = std::string(kCall)}, {.tool_call_parser = "hermes"});
  const Value v = post(server, body(kTools));
  post(server, body(R"("previous_response_id":")" + at(v, "id").as_string() + "\"",
                    R"([{"type":"function_call_output","call_id":)" +
                        to_json(at(v, "output.0.call_id")) + R"(,"output":"42"}])"));
  EXPECT_EQ(prompt(server), "user: hi\nassistant: \ntool: 42\nassistant: ");
}

TEST(ResponsesStore, AnItemMayBeReferredTo) {
  TestServer server({.says = "ok"});
  const std::string id = to_json(at(post(server, body("")), "output.0.id"));
  const std::string input = R"([{"role":"user","content":"hi"},{"type":"item_reference","id":)" +
                            id + R"(},{"id":)" + id + R"(},{"role":"user","content":"more"}])";
  post(server, body("", input));
  EXPECT_EQ(prompt(server), "user: hi\nassistant: ok\nassistant: ok\nuser: more\nassistant: ");
  TestClient client(server.port());
  const auto response = client.post(kPath, body("", R"([{"type":"item_reference","id":"msg_x"}])"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.error("param"), "\"input\"");
}

TEST(ResponsesStore, AnUnknownPreviousResponseIsNotFound) {
  TestServer server;
  TestClient client(server.port());
  const auto response = client.post(kPath, body(R"("previous_response_id":"resp_x")"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.error("param"), "\"previous_response_id\"");
}

TEST(ResponsesStore, BelongsToTheKeyThatAsked) {
  TestServer server({.says = "ok"}, {.api_keys = {"mine", "yours"}});
  constexpr std::string_view kMine = "Authorization: Bearer mine\r\n";
  constexpr std::string_view kYours = "Authorization: Bearer yours\r\n";
  TestClient client(server.port());
  const auto response = client.request("POST", kPath, body(""),
                                       std::string(kMine) + "Content-Type: application/json\r\n");
  ASSERT_EQ(response.status, 200) << response.body;
  const std::string path = path_of(response.json());
  get(server, path, 200, "GET", kMine);
  get(server, path, 404, "GET", kYours);
  get(server, path, 404, "DELETE", kYours);
  get(server, path + "/input_items", 404, "GET", kYours);
  get(server, path, 401);
  get(server, path, 200, "DELETE", kMine);
}

TEST(ResponsesStore, DoesNotKeepAnAnswerThatNobodyWaitedFor) {
  TestServer server;
  std::string id;
  {
    TestClient client(server.port());
    client.send_request("POST", kPath, body(R"("stream":true,"request_id":"resp_mine")"));
    ASSERT_TRUE(client.read_until("output_text.delta"));
  }
  ASSERT_TRUE(server.engine().wait_until_running(0));
  get(server, std::string(kPath) + "/resp_mine", 404);
}

TEST(ResponsesStore, AnIdOfTheClientsChoiceHasOnePrefix) {
  TestServer server({.says = "ok"});
  EXPECT_EQ(at(post(server, body(R"("request_id":"resp_mine")")), "id"), Value("resp_mine"));
  EXPECT_EQ(at(post(server, body(R"("request_id":"mine")")), "id"), Value("resp_mine"));
}

}  // namespace
}  // namespace octavo::serve
