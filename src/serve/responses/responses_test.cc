// The answers of /v1/responses over real sockets, on a fake engine: items, and the events of
// streams.
#include <future>
#include <set>

#include "serve/responses/testing_responses.h"

namespace octavo::serve {
namespace {

std::string types(const std::vector<Value>& events) {
  std::string out, last;
  for (const Value& event : events) {
    const std::string type = at(event, "type").as_string().substr(9);
    if (type != last) out += type + "\n";
    last = type;
  }
  return out;
}

// Items without their ids, which differ from answer to answer.
std::string items(const Value& response) {
  Value output = at(response, "output");
  std::set<std::string> ids;
  for (Value& item : output.as_list()) {
    EXPECT_TRUE(ids.insert(at(item, "id").as_string()).second);
    item.set("id", Value());
    if (item.find("call_id") != nullptr) {
      EXPECT_TRUE(at(item, "call_id").as_string().starts_with("call_"));
      item.set("call_id", Value());
    }
  }
  return to_json(output);
}

// Both ways of asking, which must tell the same: the last event's response.
Value ask(TestServer& server, const std::string& request) {
  const Value whole = post(server, request);
  const std::vector<Value> events = stream(server, request);
  const Value& last = at(events.back(), "response");
  EXPECT_EQ(items(last), items(whole));
  for (const char* member : {"status", "usage", "incomplete_details", "error"}) {
    EXPECT_EQ(at(last, member), at(whole, member)) << member;
  }
  return whole;
}

TEST(Responses, WholeAnswerHasWhatTheClientsExpect) {
  TestServer server;
  const Value v = post(server, body(R"("max_output_tokens":2,"metadata":{"k":"v"},"user":"u")"));
  EXPECT_TRUE(at(v, "id").as_string().starts_with("resp_"));
  EXPECT_EQ(at(v, "object"), Value("response"));
  EXPECT_EQ(at(v, "status"), Value("incomplete"));
  EXPECT_EQ(at(v, "incomplete_details.reason"), Value("max_output_tokens"));
  EXPECT_EQ(at(v, "output.0.type"), Value("message"));
  EXPECT_EQ(at(v, "output.0.status"), Value("incomplete"));
  EXPECT_EQ(to_json(at(v, "output.0.content.0")),
            R"({"type":"output_text","text":"ab","annotations":[],"logprobs":[]})");
  EXPECT_EQ(
      to_json(at(v, "usage")),
      R"({"input_tokens":20,"input_tokens_details":{"cached_tokens":3,"cache_write_tokens":0},)"
      R"("output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":22})");
  EXPECT_EQ(at(v, "metadata.k"), Value("v"));
  EXPECT_EQ(at(v, "user"), Value("u"));
  EXPECT_EQ(at(v, "max_output_tokens"), Value(2));
  EXPECT_EQ(at(v, "tool_choice"), Value("auto"));
  EXPECT_EQ(at(v, "text.format.type"), Value("text"));
  for (const char* member :
       {"created_at", "completed_at", "error", "instructions", "model", "parallel_tool_calls",
        "previous_response_id", "reasoning", "service_tier", "store", "temperature", "tools",
        "top_p", "top_logprobs", "truncation", "background"}) {
    EXPECT_NE(v.find(member), nullptr) << member;
  }
}

TEST(Responses, StreamTellsEachItemFromItsBeginningToItsEnd) {
  TestServer server({.says = "<think>Hm.</think>Yes." + std::string(kCall)},
                    {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  const std::vector<Value> events = stream(server, body(kTools));
  EXPECT_EQ(types(events),
            "created\nin_progress\n"
            "output_item.added\nreasoning_part.added\nreasoning_text.delta\n"
            "reasoning_text.done\nreasoning_part.done\noutput_item.done\n"
            "output_item.added\ncontent_part.added\noutput_text.delta\n"
            "output_text.done\ncontent_part.done\noutput_item.done\n"
            "output_item.added\nfunction_call_arguments.delta\n"
            "function_call_arguments.done\noutput_item.done\ncompleted\n");
  std::string text[3];
  for (const Value& event : events) {
    const Value* delta = event.find("delta");
    if (delta != nullptr) text[at(event, "output_index").as_int()] += delta->as_string();
    if (event.find("item_id") == nullptr) continue;
    const auto index = std::to_string(at(event, "output_index").as_int());
    EXPECT_EQ(at(event, "item_id"), at(events.back(), "response.output." + index + ".id"));
  }
  EXPECT_EQ(text[0], "Hm.");
  EXPECT_EQ(text[1], "Yes.");
  EXPECT_EQ(text[2], "{\"a\": 1}");
  EXPECT_EQ(at(events[0], "response.status"), Value("in_progress"));
  EXPECT_TRUE(at(events[0], "response.usage").is_null());
}

TEST(Responses, WholeAnswersAndStreamsTellTheSame) {
  TestServer server({.says = "<think>Hm.</think>Yes." + std::string(kCall) + std::string(kCall)},
                    {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  const Value v = ask(server, body(kTools));
  EXPECT_EQ(items(v),
            R"([{"id":null,"status":"completed","type":"reasoning","summary":[],)"
            R"("encrypted_content":null,"content":[{"type":"reasoning_text","text":"Hm."}]},)"
            R"({"id":null,"status":"completed","type":"message","role":"assistant","content":)"
            R"([{"type":"output_text","text":"Yes.","annotations":[],"logprobs":[]}]},)"
            R"({"id":null,"status":"completed","type":"function_call","call_id":null,"name":"f",)"
            R"("arguments":"{\"a\": 1}"},)"
            R"({"id":null,"status":"completed","type":"function_call","call_id":null,"name":"f",)"
            R"("arguments":"{\"a\": 1}"}])");
  EXPECT_EQ(at(v, "status"), Value("completed"));
  EXPECT_EQ(at(v, "usage.output_tokens_details.reasoning_tokens"), Value(10));
}

TEST(Responses, ACallThatTheLimitCutsOffIsIncomplete) {
  TestServer server({.says = std::string(kCall)}, {.tool_call_parser = "hermes"});
  const Value v = ask(server, body(std::string(kTools) + R"(,"max_output_tokens":45)"));
  EXPECT_EQ(at(v, "status"), Value("incomplete"));
  EXPECT_EQ(at(v, "output.0.type"), Value("function_call"));
  EXPECT_EQ(at(v, "output.0.status"), Value("incomplete"));
}

TEST(Responses, LogprobsAreThoseOfTheText) {
  TestServer server({.says = "<think>Hm.</think>Yes."}, {.reasoning_parser = "qwen3"});
  const std::string request =
      body(R"("include":["message.output_text.logprobs"],"top_logprobs":1)");
  const Value v = ask(server, request);
  const Value& logprobs = at(v, "output.1.content.0.logprobs");
  ASSERT_TRUE(logprobs.is_list());
  ASSERT_EQ(logprobs.as_list().size(), 4u);
  EXPECT_EQ(to_json(logprobs.as_list()[0]),
            R"({"token":"Y","logprob":-0.5,"bytes":[89],"top_logprobs":[{"token":"A",)"
            R"("logprob":-0.5,"bytes":[65]}]})");
  size_t told = 0;
  for (const Value& event : stream(server, request)) {
    if (at(event, "type") == Value("response.output_text.delta"))
      told += at(event, "logprobs").as_list().size();
  }
  EXPECT_EQ(told, 4u);
}

TEST(Responses, CreatedIsToldBeforeTheFirstToken) {
  std::promise<void> gate;
  TestServer server({.before_step = [open = gate.get_future().share()] { open.wait(); }});
  TestClient client(server.port());
  client.send_request("POST", kPath, body(R"("stream":true,"max_output_tokens":1)"));
  EXPECT_TRUE(client.read_until("event: response.in_progress"));
  EXPECT_EQ(client.buffer().find("output_item"), std::string::npos);
  gate.set_value();
  EXPECT_TRUE(client.read_until("event: response.incomplete"));
}

TEST(Responses, AFailureOfTheEngineFailsTheStream) {
  TestServer server({.fail_at_token = 2});
  const std::vector<Value> events = stream(server, body(""));
  EXPECT_EQ(at(events.back(), "type"), Value("response.failed"));
  EXPECT_EQ(at(events.back(), "response.status"), Value("failed"));
  EXPECT_EQ(at(events.back(), "response.error.code"), Value("server_error"));
  EXPECT_EQ(at(events.back(), "response.error.message"), Value("the device was lost"));
  EXPECT_EQ(at(events.back(), "response.output.0.content.0.text"), Value("ab"));
}

TEST(Responses, AFailureOfTheEngineFailsTheWholeAnswer) {
  TestServer server({.fail_at_token = 2});
  TestClient client(server.port());
  EXPECT_EQ(client.post(kPath, body("")).status, 500);
}

}  // namespace
}  // namespace octavo::serve
