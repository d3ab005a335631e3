// Anthropic's dialect over real sockets, on a fake engine: messages and the events of their
// streams, what a request becomes, and errors.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kPath = "/v1/messages";
constexpr std::string_view kTools =
    R"("tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"integer"}}}},)"
    R"({"name":"g","description":"G","input_schema":{}}])";
const std::string kCall = R"(<tool_call>{"name": "f", "arguments": {"a": 12}}</tool_call>)";

// A body with `fields` beside those that must be there.
std::string message(std::string_view fields = {}) {
  return R"({"model":"fake/model","max_tokens":1000,"messages":[{"role":"user","content":"hi"}])" +
         std::string(fields.empty() ? "" : ",") + std::string(fields) + "}";
}
std::string with_tools(std::string_view fields = {}) {
  return message(std::string(kTools) + (fields.empty() ? "" : ",") + std::string(fields));
}

// The events of a stream; each says its type twice.
std::vector<Value> events_of(const TestResponse& response) {
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.header("content-type"), "text/event-stream; charset=utf-8");
  std::vector<Value> events;
  std::string_view rest = response.body;
  while (!rest.empty()) {
    const size_t data = rest.find("\ndata: "), end = rest.find("\n\n");
    EXPECT_TRUE(rest.starts_with("event: ") && data < end && end != std::string_view::npos) << rest;
    if (end == std::string_view::npos) break;
    const std::string_view type = rest.substr(7, data - 7);
    auto event = parse_json(rest.substr(data + 7, end - data - 7));
    EXPECT_TRUE(event.ok()) << rest;
    if (!event.ok()) break;
    EXPECT_EQ(at(*event, "type"), Value(type));
    events.push_back(*std::move(event));
    rest.remove_prefix(end + 2);
  }
  return events;
}

// A message as a client sees it: "thinking: …", "text: …", "f: {…}", and why it ended.
struct Told {
  std::vector<std::string> blocks;
  std::string stop_reason;
  Value usage;
};

std::string told_block(const Value& block) {
  const std::string& type = at(block, "type").as_string();
  if (type == "tool_use") {
    EXPECT_TRUE(at(block, "id").as_string().starts_with("toolu_"));
    return at(block, "name").as_string() + ": " + to_json(at(block, "input"));
  }
  return type + ": " + at(block, type).as_string();
}

Told told_by(const Value& answer) {
  Told told{.blocks = {},
            .stop_reason = at(answer, "stop_reason").as_string(),
            .usage = at(answer, "usage")};
  for (const Value& block : at(answer, "content").as_list()) {
    told.blocks.push_back(told_block(block));
  }
  return told;
}

Told told_by(const std::vector<Value>& events) {
  Told told;
  bool open = false;
  for (const Value& event : events) {
    const std::string& type = at(event, "type").as_string();
    if (type == "content_block_start") {
      EXPECT_FALSE(open);
      EXPECT_EQ(at(event, "index"), Value(static_cast<int64_t>(told.blocks.size())));
      open = true;
      told.blocks.push_back(told_block(at(event, "content_block")));
      if (told.blocks.back().ends_with("{}"))
        told.blocks.back().resize(told.blocks.back().size() - 2);
    } else if (type == "content_block_delta") {
      EXPECT_TRUE(open);
      EXPECT_EQ(at(event, "index"), Value(static_cast<int64_t>(told.blocks.size()) - 1));
      for (const char* member : {"text", "thinking", "partial_json"}) {
        const Value& text = at(event, std::string("delta.") + member);
        if (text.is_string()) told.blocks.back() += text.as_string();
      }
    } else if (type == "content_block_stop") {
      EXPECT_TRUE(open);
      open = false;
    } else if (type == "message_delta") {
      EXPECT_FALSE(open);
      told.stop_reason = at(event, "delta.stop_reason").as_string();
      told.usage = at(event, "usage");
    }
  }
  return told;
}

// `{"a": 12}` and `{"a":12}` are one.
void normalise(Told& told) {
  for (std::string& block : told.blocks) {
    const size_t input = block.find(": {");
    if (input == std::string::npos) continue;
    if (auto value = parse_json(block.substr(input + 2)); value.ok()) {
      block.replace(input + 2, std::string::npos, to_json(*value));
    }
  }
}

// The same request whole and as a stream: both must tell the same.
Told ask(TestServer& server, const std::string& body) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, body);
  EXPECT_EQ(response.status, 200) << response.body;
  Told whole = told_by(response.json());
  Told stream = told_by(events_of(client.post(kPath, streamed(body))));
  normalise(stream);
  EXPECT_EQ(stream.blocks, whole.blocks);
  EXPECT_EQ(stream.stop_reason, whole.stop_reason);
  EXPECT_EQ(stream.usage, whole.usage);
  return whole;
}

using Blocks = std::vector<std::string>;

TEST(Messages, AnAnswerIsAMessage) {
  TestServer server;
  TestClient client(server.port());
  const TestResponse response =
      client.post(kPath, R"({"model":"fake/model","max_tokens":3,"system":"S",)"
                         R"("messages":[{"role":"user","content":"hi"}]})");
  ASSERT_EQ(response.status, 200) << response.body;
  Value answer = response.json();
  EXPECT_TRUE(at(answer, "id").as_string().starts_with("msg_"));
  answer.set("id", "msg_1");
  // Three of the prompt's tokens are the fake engine's cached ones.
  EXPECT_EQ(to_json(answer),
            R"({"id":"msg_1","type":"message","role":"assistant","model":"fake/model",)"
            R"("content":[{"type":"text","text":"abc"}],"stop_reason":"max_tokens",)"
            R"("stop_sequence":null,"usage":{"input_tokens":27,"cache_creation_input_tokens":0,)"
            R"("cache_read_input_tokens":3,"output_tokens":3}})");
}

TEST(Messages, AStreamHasTheEventsInTheirOrder) {
  TestServer server({.says = "<think>Hm</think>Hi"}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  const auto events = events_of(client.post(kPath, message(R"("stream":true)")));
  std::string order;
  for (const Value& event : events) order += at(event, "type").as_string() + " ";
  EXPECT_EQ(order,
            "message_start content_block_start content_block_delta content_block_delta "
            "content_block_delta content_block_stop content_block_start content_block_delta "
            "content_block_delta content_block_stop message_delta message_stop ");
  ASSERT_EQ(events.size(), 12u);
  EXPECT_EQ(at(events[0], "message.role"), Value("assistant"));
  EXPECT_EQ(to_json(at(events[0], "message.content")), "[]");
  EXPECT_EQ(at(events[0], "message.stop_reason"), Value());
  EXPECT_EQ(at(events[0], "message.usage.output_tokens"), Value(0));
  EXPECT_EQ(to_json(events[1]),
            R"({"type":"content_block_start","index":0,"content_block":{"type":"thinking",)"
            R"("thinking":"","signature":""}})");
  EXPECT_EQ(to_json(events[2]),
            R"({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta",)"
            R"("thinking":"H"}})");
  EXPECT_EQ(to_json(at(events[4], "delta")), R"({"type":"signature_delta","signature":""})");
  EXPECT_EQ(to_json(events[5]), R"({"type":"content_block_stop","index":0})");
  EXPECT_EQ(to_json(events[7]),
            R"({"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"H"}})");
  EXPECT_EQ(to_json(at(events[10], "delta")), R"({"stop_reason":"end_turn","stop_sequence":null})");
  EXPECT_EQ(to_json(events[11]), R"({"type":"message_stop"})");
}

TEST(Messages, AStreamBeginsBeforeItsFirstToken) {
  TestServer server({.step_seconds = 0.5});
  TestClient first(server.port()), second(server.port());
  first.send_request("POST", kPath, message());
  ASSERT_TRUE(server.engine().wait_until_running(1));  // the engine sleeps from now on
  second.send_request("POST", kPath, message(R"("stream":true)"));
  EXPECT_TRUE(second.read_until("event: message_start"));
  EXPECT_EQ(second.buffer().find("content_block"), std::string::npos);
}

TEST(Messages, ThinkingTextAndCallsAreBlocks) {
  TestServer server({.says = "<think>\nHm.\n</think>\n\nI look.\n" + kCall},
                    {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  const Told told = ask(server, with_tools());
  ASSERT_EQ(told.blocks.size(), 3u);
  EXPECT_TRUE(told.blocks[0].starts_with("thinking: "));
  EXPECT_TRUE(told.blocks[1].starts_with("text: "));
  EXPECT_NE(told.blocks[1].find("I look."), std::string::npos);
  EXPECT_EQ(told.blocks[2], R"(f: {"a":12})");
  EXPECT_EQ(told.stop_reason, "tool_use");
}

TEST(Messages, WhiteSpaceAloneIsABlock) {
  TestServer server({.says = "\n"});
  EXPECT_EQ(ask(server, message()).blocks, (Blocks{"text: \n"}));
}

TEST(Messages, WhiteSpaceBesideOtherBlocksIsNone) {
  TestServer server({.says = "<think>Hm.</think>\n\n" + kCall + "\n" + kCall + "\n"},
                    {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  EXPECT_EQ(ask(server, with_tools()).blocks,
            (Blocks{"thinking: Hm.", R"(f: {"a":12})", R"(f: {"a":12})"}));
}

TEST(Messages, TextAfterACallIsAnotherBlock) {
  TestServer server({.says = "I look." + kCall + "Done."}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const Told stream = told_by(events_of(client.post(kPath, with_tools(R"("stream":true)"))));
  ASSERT_EQ(stream.blocks.size(), 3u);
  EXPECT_EQ(stream.blocks[2], "text: Done.");
}

TEST(Messages, ForcedCallsAreToldAsTheyCome) {
  TestServer any(
      {.says = R"([{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {}}])"});
  const std::string body = with_tools(R"("tool_choice":{"type":"any"})");
  const Told told = ask(any, body);
  EXPECT_EQ(told.blocks, (Blocks{R"(f: {"a":1})", "g: {}"}));
  EXPECT_EQ(told.stop_reason, "tool_use");
  TestClient client(any.port());
  size_t deltas = 0;
  for (const Value& event : events_of(client.post(kPath, streamed(body)))) {
    deltas += at(event, "delta.type") == Value("input_json_delta");
  }
  EXPECT_GT(deltas, 5u);
}

TEST(Messages, ANamedToolsArgumentsAreACall) {
  TestServer named({.says = R"({"a": 1})"});
  const Told call = ask(named, with_tools(R"("tool_choice":{"type":"tool","name":"f"})"));
  EXPECT_EQ(call.blocks, (Blocks{R"(f: {"a":1})"}));
  EXPECT_EQ(call.stop_reason, "tool_use");
}

TEST(Messages, OneCallAtMostWhereParallelUseIsDisabled) {
  TestServer server({.says = kCall + kCall}, {.tool_call_parser = "hermes"});
  EXPECT_EQ(
      ask(server, with_tools(R"("tool_choice":{"type":"auto","disable_parallel_tool_use":true})"))
          .blocks.size(),
      1u);
}

TEST(Messages, WhatTurnsOutToBeNoCallIsNeverToldAsOne) {
  const std::string broken = R"(<tool_call>{"name": "f", "arguments": {"a": nonsense</tool_call>)";
  TestServer server({.says = broken}, {.tool_call_parser = "hermes"});
  const Told told = ask(server, with_tools());
  EXPECT_EQ(told.blocks, (Blocks{"text: " + broken}));
  EXPECT_EQ(told.stop_reason, "end_turn");
}

TEST(Messages, ACallThatTheLimitCutsOffHasWhatThereIsOfIt) {
  TestServer server({.says = kCall}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  std::string body = with_tools();
  body.replace(body.find("1000"), 4, "45");
  const Told whole = told_by(client.post(kPath, body).json());
  EXPECT_EQ(whole.blocks, (Blocks{"f: {}"}));
  EXPECT_EQ(whole.stop_reason, "max_tokens");
  body.insert(1, R"("stream":true,)");
  const Told stream = told_by(events_of(client.post(kPath, body)));
  ASSERT_EQ(stream.blocks.size(), 1u);
  EXPECT_TRUE(stream.blocks[0].starts_with("f: {\"a\"")) << stream.blocks[0];
  EXPECT_EQ(stream.stop_reason, "max_tokens");
}

TEST(Messages, ALongCallIsAwaitedWithPings) {
  const std::string text(300, 'x');
  TestServer server(
      {.says = R"(<tool_call>{"name": "f", "arguments": {"a": ")" + text + R"("}}</tool_call>)"},
      {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  size_t pings = 0;
  for (const Value& event : events_of(client.post(kPath, with_tools(R"("stream":true)")))) {
    pings += at(event, "type") == Value("ping");
  }
  EXPECT_GE(pings, 5u);
}

TEST(Messages, AnAnswerMayFillTheContext) {
  TestServer server({.max_model_len = 40});
  const Told told = ask(server, message());  // 20 tokens of prompt
  EXPECT_EQ(at(told.usage, "output_tokens"), Value(20));
  EXPECT_EQ(told.stop_reason, "model_context_window_exceeded");
  TestClient client(server.port());
  std::string body = message();
  body.replace(body.find("1000"), 4, "20");
  EXPECT_EQ(told_by(client.post(kPath, body).json()).stop_reason, "max_tokens");
}

// What the fake engine was asked: its tokenizer's tokens are bytes.
std::string prompt_of(TestServer& server) {
  std::string out;
  for (const TokenId id : server.engine().last_request().prompt_token_ids) {
    out += static_cast<char>(id);
  }
  return out;
}

TEST(Messages, SystemBlocksToolsAndVariablesReachTheTemplate) {
  TestServer server({}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const TestResponse response = client.post(
      kPath,
      R"({"model":"fake/model","max_tokens":1,"system":[{"type":"text","text":"x-anthropic-billing-header: 5"},)"
      R"({"type":"text","text":"S","cache_control":{"type":"ephemeral"}}],)"
      R"("messages":[{"role":"user","content":"hi"}],"metadata":{"user_id":"u"},)"
      R"("service_tier":"auto","chat_template_kwargs":{"k":1},)"
      R"("tools":[{"type":"custom","name":"f","description":"F","input_schema":{}}]})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(prompt_of(server),
            "system: S\nuser: hi\ntools: [{\"type\":\"function\",\"function\":{\"name\":\"f\","
            "\"description\":\"F\",\"parameters\":{\"type\":\"object\"}}}]\nk=1\nassistant: ");
}

TEST(Messages, SamplingFieldsReachTheEngine) {
  TestServer server;
  TestClient client(server.port());
  ASSERT_EQ(
      client
          .post(kPath, message(R"("temperature":0.5,"top_p":0.25,"top_k":7,)"
                               R"("stop_sequences":["a","b"],"output_config":)"
                               R"({"format":{"type":"json_schema","schema":{"type":"object"}}})"))
          .status,
      200);
  const SamplingParams sampling = server.engine().last_request().sampling;
  EXPECT_EQ(sampling.temperature, 0.5f);
  EXPECT_EQ(sampling.top_p, 0.25f);
  EXPECT_EQ(sampling.top_k, 7);
  EXPECT_EQ(sampling.max_tokens, 1000);
  EXPECT_EQ(sampling.stop, (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(sampling.structured_output.has_value());
  EXPECT_EQ(sampling.structured_output->text, R"({"type":"object"})");
}

TEST(Messages, ThinkingIsAskedForOfTemplateAndEngine) {
  TestServer server({.says = "<think>Hm.</think>Yes."}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  ASSERT_EQ(client
                .post(kPath, message(R"("thinking":{"type":"enabled","budget_tokens":1024},)"
                                     R"("output_config":{"effort":"low"})"))
                .status,
            200);
  EXPECT_NE(prompt_of(server).find("enable_thinking=true\nthinking=true\nreasoning_effort=\"low\""),
            std::string::npos);
  EXPECT_EQ(server.engine().last_request().sampling.thinking->max_tokens, 1024);
  EXPECT_EQ(ask(server, message(R"("thinking":{"type":"disabled"})")).stop_reason, "end_turn");
  EXPECT_NE(prompt_of(server).find("enable_thinking=false"), std::string::npos);
  EXPECT_EQ(ask(server, message(R"("thinking":{"type":"adaptive","display":"omitted"})")).blocks,
            (Blocks{"text: Yes."}));
}

TEST(Messages, AModelThatDoesNotThinkKeepsEveryBudget) {
  TestServer server;
  TestClient client(server.port());
  EXPECT_EQ(
      client.post(kPath, message(R"("thinking":{"type":"enabled","budget_tokens":1024})")).status,
      200);
}

TEST(Messages, CountTokensIsThePromptsLength) {
  TestServer server;
  TestClient client(server.port());
  const std::string fields = R"({"model":"fake/model","messages":[{"role":"user","content":"hi"}])";
  const Value count = client.post("/v1/messages/count_tokens", fields + "}").json();
  const Value usage = at(client.post(kPath, fields + R"(,"max_tokens":1})").json(), "usage");
  EXPECT_EQ(at(count, "input_tokens").as_int(),
            at(usage, "input_tokens").as_int() + at(usage, "cache_read_input_tokens").as_int());
}

void expect_error(const TestResponse& response, int status, std::string_view type,
                  std::string_view message) {
  const Value body = response.json();
  EXPECT_EQ(response.status, status) << response.body;
  EXPECT_EQ(at(body, "type"), Value("error"));
  EXPECT_EQ(at(body, "error.type"), Value(type));
  ASSERT_TRUE(at(body, "error.message").is_string()) << response.body;
  EXPECT_NE(at(body, "error.message").as_string().find(message), std::string::npos)
      << response.body;
}

TEST(MessagesErrors, FieldsThatCannotBeHadAreRefusedByName) {
  TestServer server;
  TestClient client(server.port());
  const std::pair<std::string, std::string_view> kCases[] = {
      {R"({"max_tokens":1,"messages":[]})", "model"},
      {R"({"model":"fake/model","messages":[{"role":"user","content":"a"}]})", "max_tokens"},
      {R"({"model":"fake/model","max_tokens":1})", "messages"},
      {message(R"("max_tokens":0)"), "max_tokens"},
      {message(R"("system":5)"), "system"},
      {message(R"("stream":"yes")"), "stream"},
      {message(R"("temperature":"hot")"), "temperature"},
      {message(R"("temperature":3)"), "temperature"},
      {message(R"("stop_sequences":[""])"), "stop_sequences"},
      {message(R"("stop_sequences":[5])"), "stop_sequences"},
      {message(R"("container":"c")"), "container"},
      {message(R"("mcp_servers":[{"type":"url"}])"), "mcp_servers"},
      {message(R"("thinking":{"type":"enabled"})"), "thinking.budget_tokens"},
      {message(R"("thinking":{"type":"much"})"), "thinking.type"},
      {message(R"("output_config":{"format":{"type":"xml"}})"), "output_config.format.type"},
      {message(R"("output_config":{"effort":"none"})"), "output_config.effort"},
      {message(R"("tools":[{"type":"web_search_20250305","name":"web_search"}])"),
       "tools.0: a tool of type `web_search_20250305` is not supported"},
      {message(R"("tools":[{"name":"f"}])"), "tools.0.input_schema"},
      {message(R"("tools":[{"name":5,"input_schema":{}}])"), "tools.0.name"},
      {message(R"("tool_choice":{"type":"any"})"), "tool_choice"},
      {with_tools(R"("tool_choice":{"type":"some"})"), "tool_choice.type"},
      {with_tools(R"("tool_choice":{"type":"tool"})"), "tool_choice.name"},
      {with_tools(R"("tool_choice":{"type":"tool","name":"h"})"), "tool_choice"},
      {with_tools(), "tool-call-parser"},  // auto, and no parser is known for this model
      {message(R"("metadata":"m")"), "metadata"},
      {message(R"("chat_template_kwargs":{"chat_template":"x"})"), "chat_template"},
  };
  for (const auto& [body, expected] : kCases) {
    SCOPED_TRACE(body);
    expect_error(client.post(kPath, body), 400, "invalid_request_error", expected);
  }
}

TEST(MessagesErrors, EveryRefusalHasTheDialectsShape) {
  TestServer server({}, {.max_body_bytes = 1000});
  TestClient client(server.port());
  expect_error(client.post(kPath, R"({"model":"claude","max_tokens":1,)"
                                  R"("messages":[{"role":"user","content":"a"}]})"),
               404, "not_found_error", "claude");
  expect_error(client.post(kPath, "{"), 400, "invalid_request_error", "");
  expect_error(client.request("GET", kPath), 405, "invalid_request_error", "POST");
  expect_error(client.post("/v1/messages/batches", "{}"), 404, "not_found_error", "batches");
  expect_error(client.request("POST", kPath, "x", "Content-Type: text/plain\r\n"), 400,
               "invalid_request_error", "application/json");
  // Elsewhere it is OpenAI's.
  EXPECT_NE(client.post("/v1/chat/completions", "{}").error("message"), "");
  expect_error(client.post(kPath, std::string(2000, ' ')), 413, "request_too_large", "");
}

TEST(MessagesErrors, ARequestIdIsInHeaderAndBody) {
  TestServer server;
  TestClient client(server.port());
  const TestResponse refused = client.post(kPath, "{}");
  EXPECT_TRUE(refused.header("request-id").starts_with("req_"));
  EXPECT_EQ(at(refused.json(), "request_id"), Value(refused.header("request-id")));
  EXPECT_TRUE(client.post(kPath, message()).header("request-id").starts_with("req_"));
  const TestResponse streamed = client.post(kPath, message(R"("stream":true)"));
  EXPECT_TRUE(streamed.header("request-id").starts_with("req_"));
  EXPECT_EQ(client.post("/v1/completions", "{}").header("request-id"), "");
}

TEST(MessagesErrors, APromptBeyondTheContextIsTooLong) {
  TestServer server({.max_model_len = 10});
  TestClient client(server.port());
  expect_error(client.post(kPath, message()), 400, "invalid_request_error", "prompt is too long: ");
}

TEST(MessagesErrors, AWrongKeyIsAnAuthenticationError) {
  TestServer server({}, {.api_keys = {"secret"}});
  TestClient client(server.port());
  expect_error(client.post(kPath, message()), 401, "authentication_error", "");
  EXPECT_EQ(client
                .request("POST", kPath, message(),
                         "Content-Type: application/json\r\nx-api-key: secret\r\n")
                .status,
            200);
}

TEST(MessagesErrors, AFailureOfTheEngineIsAnErrorOrAnEvent) {
  TestServer server({.fail_at_token = 2});
  TestClient client(server.port());
  expect_error(client.post(kPath, message()), 500, "api_error", "the device was lost");
  const auto events = events_of(client.post(kPath, message(R"("stream":true)")));
  EXPECT_EQ(at(events.back(), "type"), Value("error"));
  EXPECT_EQ(at(events.back(), "error.type"), Value("api_error"));
}

}  // namespace
}  // namespace octavo::serve
