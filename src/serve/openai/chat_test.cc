// Chats over real sockets, on a fake engine: shapes, thinking and tool calls in whole answers and
// in streams, and what is asked of the engine for them.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kPath = "/v1/chat/completions";
constexpr std::string_view kTools =
    R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object",)"
    R"("properties":{"a":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}}])";

// A chat's body with `fields` beside the messages.
std::string chat(std::string_view fields) {
  return R"({"messages":[{"role":"user","content":"hi"}],)" + std::string(fields) + "}";
}
std::string chat_with_tools(std::string_view fields = {}) {
  return chat(std::string(kTools) + (fields.empty() ? "" : ",") + std::string(fields));
}

// A stream's deltas put together as clients do it, as a message.
struct Told {
  std::string reasoning, content, finish_reason;
  std::vector<std::string> calls;  // "f({…})"
  std::vector<std::string> ids;
};
Told told_by(const std::vector<Value>& events) {
  Told told;
  for (const Value& event : events) {
    if (at(event, "choices").as_list().empty()) continue;
    const Value& delta = at(event, "choices.0.delta");
    if (const Value* text = delta.find("reasoning")) told.reasoning += text->as_string();
    if (const Value* text = delta.find("content")) told.content += text->as_string();
    if (const Value* calls = delta.find("tool_calls")) {
      for (const Value& call : calls->as_list()) {
        const auto index = static_cast<size_t>(call.find("index")->as_int());
        if (const Value* id = call.find("id")) {
          EXPECT_EQ(index, told.calls.size());
          EXPECT_EQ(at(call, "type"), Value("function"));
          told.ids.push_back(id->as_string());
          told.calls.push_back(at(call, "function.name").as_string() + ":");
        }
        told.calls.at(index) += at(call, "function.arguments").as_string();
      }
    }
    const Value& finish = at(event, "choices.0.finish_reason");
    if (finish.is_string()) told.finish_reason = finish.as_string();
  }
  return told;
}
Told told_by(const Value& answer) {
  Told told;
  const Value& message = at(answer, "choices.0.message");
  if (at(message, "reasoning").is_string()) told.reasoning = at(message, "reasoning").as_string();
  if (at(message, "content").is_string()) told.content = at(message, "content").as_string();
  told.finish_reason = at(answer, "choices.0.finish_reason").as_string();
  if (message.find("tool_calls") == nullptr) return told;
  for (const Value& call : message.find("tool_calls")->as_list()) {
    told.ids.push_back(call.find("id")->as_string());
    told.calls.push_back(at(call, "function.name").as_string() + ":" +
                         at(call, "function.arguments").as_string());
  }
  return told;
}

// The same request whole and as a stream: both must tell the same.
Told ask(TestServer& server, const std::string& body) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, body);
  EXPECT_EQ(response.status, 200) << response.body;
  Told whole = told_by(response.json());
  const std::string streamed = body.substr(0, body.size() - 1) + R"(,"stream":true})";
  const Told stream = told_by(read_stream(client, kPath, streamed));
  EXPECT_EQ(stream.reasoning, whole.reasoning);
  EXPECT_EQ(stream.content, whole.content);
  EXPECT_EQ(stream.calls, whole.calls);
  EXPECT_EQ(stream.finish_reason, whole.finish_reason);
  return whole;
}

using Calls = std::vector<std::string>;

TEST(Chat, WholeAnswer) {
  TestServer server;
  TestClient client(server.port());
  const auto response = client.post(
      "/v1/chat/completions",
      R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":[{"type":"text","text":"A"},)"
      R"({"type":"text","text":"B"}]}],"max_completion_tokens":2,"logprobs":true,"top_logprobs":1,)"
      R"("return_prompt_text":true,"chat_template_kwargs":{"k":1}})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Value v = response.json();
  EXPECT_EQ(at(v, "object"), Value("chat.completion"));
  EXPECT_EQ(at(v, "choices.0.message.role"), Value("assistant"));
  EXPECT_EQ(at(v, "choices.0.message.content"), Value("ab"));
  EXPECT_EQ(at(v, "choices.0.message").find("tool_calls"), nullptr);
  EXPECT_EQ(at(v, "prompt_text"), Value("system: S\nuser: A\nB\nk=1\nassistant: "));
  EXPECT_EQ(
      to_json(at(v, "choices.0.logprobs.content.0")),
      R"({"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"A","logprob":-0.5,"bytes":[65]}]})");
}

TEST(Chat, ATokenThatIsNamedByItsIdIsStillListedByItsBytes) {
  TestServer server;
  TestClient client(server.port());
  const Value v =
      client
          .post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"logprobs":true,)"
                R"("return_tokens_as_token_ids":true})")
          .json();
  EXPECT_EQ(to_json(at(v, "choices.0.logprobs.content.0")),
            R"({"token":"token_id:97","logprob":-0.5,"bytes":[97],"top_logprobs":[]})");
}

TEST(Chat, StreamBeginsWithTheRole) {
  TestServer server;
  TestClient client(server.port());
  const auto events = read_stream(
      client, "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"n":2,"stream":true})");
  ASSERT_EQ(events.size(), 8u);
  EXPECT_EQ(to_json(at(events[0], "choices.0.delta")), R"({"role":"assistant","content":""})");
  EXPECT_EQ(to_json(at(events[1], "choices.0.delta")), R"({"content":"a"})");
  EXPECT_EQ(at(events[2], "choices.0.index"), Value(1));
  EXPECT_EQ(at(events[7], "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(events[0].find("usage"), nullptr);
  EXPECT_EQ(events[0].find("system_fingerprint"), nullptr);
  EXPECT_NE(events[7].find("system_fingerprint"), nullptr);
}

TEST(Chat, WithTheUsageAfterItTheEndOfAStreamHasTheFingerprintThere) {
  TestServer server;
  TestClient client(server.port());
  const auto events =
      read_stream(client, "/v1/chat/completions",
                  R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"stream":true,)"
                  R"("stream_options":{"include_usage":true}})");
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(at(events[2], "choices.0.finish_reason"), Value("length"));
  EXPECT_EQ(events[2].find("system_fingerprint"), nullptr);
  EXPECT_NE(events[3].find("system_fingerprint"), nullptr);
}

TEST(Chat, MoreTokensThanTheContextAreRefusedByTheNameTheyWereAskedBy) {
  TestServer server({.max_model_len = 64});
  TestClient client(server.port());
  for (const std::string name : {"max_tokens", "max_completion_tokens"}) {
    const auto response =
        client.post("/v1/chat/completions",
                    R"({"messages":[{"role":"user","content":"hi"}],")" + name + "\":65}");
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(response.error("param"), "\"" + name + "\"");
    EXPECT_NE(response.body.find(name + "=65 cannot be greater"), std::string::npos);
  }
}

TEST(Chat, WithoutMaxTokensTheContextIsTheLimit) {
  FakeEngine::Options engine{.step_seconds = 0.05, .max_model_len = 100};
  TestServer server(engine);
  TestClient client(server.port());
  client.send_request("POST", "/v1/chat/completions",
                      R"({"messages":[{"role":"user","content":"hi"}]})");
  ASSERT_TRUE(server.engine().wait_until_running(1));
  EXPECT_FALSE(server.engine().last_request().sampling.max_tokens.has_value());
}

TEST(Chat, ToolsAreRenderedAndTemplateErrorsAre400) {
  TestServer server({}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const auto answer = client.post(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"x"}],"max_tokens":1,"return_prompt_text":true,)"
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{}}}]})");
  ASSERT_EQ(answer.status, 200);
  EXPECT_NE(at(answer.json(), "prompt_text").as_string().find("tools: ["), std::string::npos);
  const auto refused =
      client.post("/v1/chat/completions", R"({"messages":[{"role":"forbidden","content":"x"}]})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.error("message"), "\"the template raised: no such role\"");
}

TEST(Chat, ContentIsATextWhereNoParserIsOn) {
  TestServer server({.says = "<think>Hm.</think>Yes."});
  const Told told = ask(server, chat(R"("max_tokens":50)"));
  EXPECT_EQ(told.content, "<think>Hm.</think>Yes.");
  EXPECT_EQ(told.finish_reason, "stop");
}

TEST(Reasoning, IsTakenOffTheContent) {
  TestServer server({.says = "<think>\nHm, 1 < 2.\n</think>\n\nYes."},
                    {.reasoning_parser = "qwen3"});
  const Told told = ask(server, chat(R"("max_tokens":50)"));
  EXPECT_EQ(told.reasoning, "Hm, 1 < 2.");
  EXPECT_EQ(told.content, "Yes.");
  EXPECT_EQ(told.finish_reason, "stop");
  TestClient client(server.port());
  const Value v = client.post(kPath, chat(R"("max_tokens":50)")).json();
  EXPECT_EQ(at(v, "choices.0.message.reasoning_content"), Value("Hm, 1 < 2."));
  // Of the thinking: the line breaks and the ten bytes; the last byte of the end marker closes it.
  EXPECT_EQ(at(v, "usage.completion_tokens"), Value(33));
  EXPECT_EQ(at(v, "usage.completion_tokens_details.reasoning_tokens"), Value(19));
}

TEST(Reasoning, OfAModelThatWritesNoneIsNone) {
  TestServer server({.says = "Yes, no thinking."}, {.reasoning_parser = "qwen3"});
  const Told told = ask(server, R"({"messages":[{"role":"user","content":"What is <think>?"}]})");
  EXPECT_EQ(told.reasoning, "");
  EXPECT_EQ(told.content, "Yes, no thinking.");
}

TEST(Reasoning, GoesOnWhereThePromptHasOpenedIt) {
  TestServer server({.says = "Hm.</think>Yes."}, {.reasoning_parser = "qwen3"});
  const Told told = ask(server, chat(R"("chat_template_kwargs":{"begin":"<think>\n"})"));
  EXPECT_EQ(told.reasoning, "Hm.");
  EXPECT_EQ(told.content, "Yes.");
  const auto thinking = server.engine().last_request().sampling.thinking;
  ASSERT_TRUE(thinking.has_value());
  EXPECT_TRUE(thinking->open);
  EXPECT_EQ(thinking->end, "</think>");
}

TEST(Reasoning, ThatThePromptHasClosedLeavesTheEngineNothingToWaitFor) {
  TestServer server({.says = "Yes."}, {.reasoning_parser = "qwen3"});
  ask(server, chat(R"("chat_template_kwargs":{"begin":"<think>\n\n</think>\n\n"})"));
  EXPECT_FALSE(server.engine().last_request().sampling.thinking.has_value());
}

TEST(Reasoning, IsHiddenWhenNotIncluded) {
  TestServer server({.says = "<think>Hm.</think>Yes."}, {.reasoning_parser = "qwen3"});
  const Told told = ask(server, chat(R"("include_reasoning":false)"));
  EXPECT_EQ(told.reasoning, "");
  EXPECT_EQ(told.content, "Yes.");
}

TEST(Reasoning, ThatIsHiddenIsNotToldTokenByTokenEither) {
  TestServer server({.says = "<think>Hm.</think>Yes."}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  constexpr std::string_view kTokens =
      R"("return_token_ids":true,"logprobs":true,"top_logprobs":1,"stream":)";
  for (const bool shown : {true, false}) {
    const std::string fields = std::string(R"("include_reasoning":)") +
                               (shown ? "true," : "false,") + std::string(kTokens);
    const Value whole = client.post(kPath, chat(fields + "false")).json();
    EXPECT_EQ(at(whole, "choices.0.token_ids").is_list(), shown);
    EXPECT_EQ(at(whole, "choices.0.logprobs").is_dict(), shown);
    EXPECT_TRUE(at(whole, "prompt_token_ids").is_list());
    const std::vector<Value> events = read_stream(client, kPath, chat(fields + "true"));
    EXPECT_EQ(at(events.back(), "choices.0.token_ids").is_list(), shown);
    EXPECT_EQ(at(events.back(), "choices.0.logprobs").is_dict(), shown);
  }
}

TEST(Reasoning, BudgetNeedsAParser) {
  TestServer server({.says = "Yes."});
  TestClient client(server.port());
  EXPECT_EQ(client.post(kPath, chat(R"("thinking_token_budget":7)")).error("param"),
            "\"thinking_token_budget\"");
}

TEST(Reasoning, BudgetReachesTheEngine) {
  TestServer server({.says = "Yes."}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  ASSERT_EQ(client.post(kPath, chat(R"("thinking_token_budget":7)")).status, 200);
  const auto thinking = server.engine().last_request().sampling.thinking;
  ASSERT_TRUE(thinking.has_value());
  EXPECT_EQ(thinking->start, "<think>");
  EXPECT_FALSE(thinking->open);
  EXPECT_EQ(thinking->max_tokens, 7);
  ASSERT_EQ(client.post(kPath, chat(R"("thinking_token_budget":-1)")).status, 200);
  EXPECT_FALSE(server.engine().last_request().sampling.thinking->max_tokens.has_value());
}

TEST(Reasoning, EffortReachesTheTemplate) {
  TestServer server({.says = "Yes."});
  TestClient client(server.port());
  const auto prompt = [&](std::string_view fields) {
    const auto answer =
        client.post(kPath, chat(std::string(fields) + R"(,"return_prompt_text":true)"));
    return at(answer.json(), "prompt_text").as_string();
  };
  EXPECT_NE(
      prompt(R"("reasoning_effort":"low")").find("reasoning_effort=\"low\"\nenable_thinking=true"),
      std::string::npos);
  EXPECT_NE(prompt(R"("reasoning_effort":"none")").find("enable_thinking=false"),
            std::string::npos);
  EXPECT_EQ(prompt(R"("temperature":0)").find("enable_thinking"), std::string::npos);
}

TEST(Tools, ACallIsNotContent) {
  TestServer server({.says = "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n"
                             "</tool_call>"},
                    {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools());
  EXPECT_EQ(told.content, "I look.");
  EXPECT_EQ(told.calls, Calls{"f:{\"a\": 1}"});
  EXPECT_EQ(told.finish_reason, "tool_calls");
  EXPECT_TRUE(told.ids[0].starts_with("chatcmpl-tool-"));
}

TEST(Tools, ACallWithoutContentHasNullForIt) {
  TestServer server({.says = "<tool_call>{\"name\": \"g\"}</tool_call>"},
                    {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const Value v = client.post(kPath, chat_with_tools()).json();
  EXPECT_TRUE(at(v, "choices.0.message.content").is_null());
  EXPECT_EQ(at(v, "choices.0.message.tool_calls.0.function.arguments"), Value("{}"));
}

TEST(Tools, AStreamTellsNameThenArgumentsPieceByPiece) {
  TestServer server(
      {.says = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 12}}</tool_call>"},
      {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const auto events = read_stream(client, kPath, chat_with_tools(R"("stream":true)"));
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(to_json(at(events[0], "choices.0.delta")), R"({"role":"assistant","content":""})");
  const Value& first = at(events[1], "choices.0.delta.tool_calls.0");
  EXPECT_EQ(at(first, "function.name"), Value("f"));
  EXPECT_EQ(at(first, "function.arguments"), Value("{"));
  const Value& second = at(events[2], "choices.0.delta.tool_calls.0");
  EXPECT_EQ(to_json(second), R"({"index":0,"function":{"arguments":"\""}})");
  const Value& last = at(events.back(), "choices.0");
  EXPECT_EQ(to_json(at(last, "delta")), "{}");
  EXPECT_EQ(at(last, "finish_reason"), Value("tool_calls"));
}

TEST(Tools, SeveralCallsAndThinkingAreToldApart) {
  TestServer server({.says = "<think>Two.</think><tool_call>{\"name\": \"f\", \"arguments\": {}}"
                             "</tool_call>\n<tool_call>{\"name\": \"g\", \"arguments\": {}}"
                             "</tool_call>"},
                    {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  const Told told = ask(server, chat_with_tools());
  EXPECT_EQ(told.reasoning, "Two.");
  EXPECT_EQ(told.calls, (Calls{"f:{}", "g:{}"}));
  EXPECT_NE(told.ids[0], told.ids[1]);
}

TEST(Tools, WithoutParallelCallsTheFirstAloneIsTold) {
  TestServer server({.says = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"
                             "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>"},
                    {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools(R"("parallel_tool_calls":false)"));
  EXPECT_EQ(told.calls, Calls{"f:{}"});
  EXPECT_EQ(told.finish_reason, "tool_calls");
}

TEST(Tools, AMalformedCallIsContentAndNoCall) {
  const std::string broken = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": }}</tool_call>";
  TestServer server({.says = broken}, {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const Told whole = told_by(client.post(kPath, chat_with_tools()).json());
  EXPECT_EQ(whole.content, broken);
  EXPECT_TRUE(whole.calls.empty());
  EXPECT_EQ(whole.finish_reason, "stop");
  // A stream cannot take back the pieces that it has told; it says the text too.
  const Told stream = told_by(read_stream(client, kPath, chat_with_tools(R"("stream":true)")));
  EXPECT_EQ(stream.content, broken);
  EXPECT_EQ(stream.finish_reason, "stop");
}

TEST(Tools, ACallCutOffByTheLimitIsUnfinishedAndSaysLength) {
  TestServer server({.says = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>"},
                    {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools(R"("max_tokens":45)"));
  EXPECT_EQ(told.content, "");
  EXPECT_EQ(told.calls, Calls{"f:{\"a\": 1"});
  EXPECT_EQ(told.finish_reason, "length");
}

TEST(Tools, AWholeCallBeforeTheLimitStillSaysLength) {
  TestServer server(
      {.says = "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call> and more"},
      {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools(R"("max_tokens":54)"));
  EXPECT_EQ(told.calls, Calls{"g:{}"});
  EXPECT_EQ(told.finish_reason, "length");
}

TEST(Tools, ChoiceNoneLeavesCallsInTheContent) {
  const std::string call = "<tool_call>{\"name\": \"g\"}</tool_call>";
  TestServer server({.says = call}, {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools(R"("tool_choice":"none")"));
  EXPECT_EQ(told.content, call);
  EXPECT_TRUE(told.calls.empty());
}

TEST(Tools, ChoiceNoneCanHideTheToolsFromTheTemplate) {
  TestServer server({.says = "x"},
                    {.tool_call_parser = "hermes", .exclude_tools_when_tool_choice_none = true});
  TestClient client(server.port());
  const auto answer =
      client.post(kPath, chat_with_tools(R"("tool_choice":"none","return_prompt_text":true)"));
  EXPECT_EQ(at(answer.json(), "prompt_text").as_string().find("tools:"), std::string::npos);
}

TEST(Tools, ChoiceRequiredAsksForAListOfCallsAndReadsIt) {
  TestServer server(
      {.says = R"([{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {}}])"},
      {.tool_call_parser = "hermes"});
  const Told told = ask(server, chat_with_tools(R"("tool_choice":"required")"));
  EXPECT_EQ(told.content, "");
  EXPECT_EQ(told.calls, (Calls{"f:{\"a\": 1}", "g:{}"}));
  EXPECT_EQ(told.finish_reason, "tool_calls");
  const auto grammar = server.engine().last_request().sampling.structured_output;
  ASSERT_TRUE(grammar.has_value());
  EXPECT_EQ(grammar->kind, StructuredOutput::Kind::kJsonSchema);
  EXPECT_TRUE(grammar->text.starts_with(R"({"type":"array","minItems":1,"items":{"anyOf":[)"))
      << grammar->text;
}

TEST(Tools, AListOfCallsCutOffBetweenThemLeavesNoContent) {
  TestServer server(
      {.says = R"([{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}])"});
  const Told told = ask(server, chat_with_tools(R"("tool_choice":"required","max_tokens":45)"));
  EXPECT_EQ(told.content, "");
  EXPECT_EQ(told.calls, Calls{"f:{}"});
  EXPECT_EQ(told.finish_reason, "length");
}

TEST(Tools, ANamedChoiceAsksForItsArgumentsAndReadsThem) {
  TestServer server({.says = R"({"a": 1})"});  // needs no parser of the model's
  const Told told =
      ask(server, chat_with_tools(R"("tool_choice":{"type":"function","function":{"name":"f"}})"));
  EXPECT_EQ(told.calls, Calls{"f:{\"a\": 1}"});
  EXPECT_EQ(told.finish_reason, "stop");
  EXPECT_EQ(server.engine().last_request().sampling.structured_output->text,
            R"({"type":"object","properties":{"a":{"type":"integer"}}})");
}

TEST(Tools, AForcedCallComesAfterTheThinking) {
  TestServer server({.says = "<think>Hm.</think>{\"a\": 1}"}, {.reasoning_parser = "qwen3"});
  const Told told = ask(server, chat_with_tools(R"("tool_choice":{"function":{"name":"f"}})"));
  EXPECT_EQ(told.reasoning, "Hm.");
  EXPECT_EQ(told.calls, Calls{"f:{\"a\": 1}"});
  EXPECT_EQ(server.engine().last_request().sampling.thinking->end, "</think>");
}

TEST(Tools, IdsOfMistralHaveNineLetters) {
  TestServer server({.says = "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}]"},
                    {.tool_call_parser = "mistral"});
  EXPECT_EQ(ask(server, chat_with_tools()).ids[0].size(), 9u);
}

TEST(Tools, IdsOfKimiCountTheCallsOfTheConversation) {
  TestServer server({.says = "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:1"
                             "<|tool_call_argument_begin|>{}<|tool_call_end|>"
                             "<|tool_calls_section_end|>"},
                    {.tool_call_parser = "kimi_k2"});
  const std::string body =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":)"
      R"([{"id":"functions.g:0","type":"function","function":{"name":"g","arguments":"{}"}}]},)"
      R"({"role":"tool","content":"b"}],)" +
      std::string(kTools) + "}";
  EXPECT_EQ(ask(server, body).ids[0], "functions.f:1");
}

TEST(Tools, IntervalsJoinThePiecesOfACall) {
  TestServer server({.says = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}</tool_call>"},
                    {.tool_call_parser = "hermes", .stream_interval = 8});
  EXPECT_EQ(ask(server, chat_with_tools()).calls, Calls{"f:{\"a\": 1}"});
}

TEST(Tools, EveryTokenIdIsToldThoughTheParserHoldsTheText) {
  const std::string says = "<think>Hm.</think><tool_call>{\"name\": \"f\"}</tool_call>";
  TestServer server({.says = says}, {.tool_call_parser = "hermes", .reasoning_parser = "qwen3"});
  TestClient client(server.port());
  const auto events = read_stream(
      client, kPath, chat_with_tools(R"("stream":true,"return_token_ids":true,"logprobs":true)"));
  std::string ids, logprobs;
  for (const Value& event : events) {
    const Value& choice = at(event, "choices.0");
    if (const Value* list = choice.find("token_ids"); list != nullptr && list->is_list()) {
      for (const Value& id : list->as_list()) ids += static_cast<char>(id.as_int());
    }
    const Value& content = at(choice, "logprobs.content");
    if (!content.is_list()) continue;
    for (const Value& token : content.as_list()) logprobs += at(token, "token").as_string();
  }
  EXPECT_EQ(ids, says);
  EXPECT_EQ(logprobs, says);
}

const std::string kCall = R"(<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
const FakeEngine::Options kHermesModel{.says = "<think>Hm.</think>" + kCall,
                                       .chat_template = kCall + "</think>"};

TEST(Parsers, AreChosenByTheChatTemplate) {
  TestServer server(kHermesModel);
  const Told told = ask(server, chat_with_tools());
  EXPECT_EQ(told.reasoning, "Hm.");
  EXPECT_EQ(told.calls, Calls{"f:{}"});
}

TEST(Parsers, AreNoneWhereTheFlagsSayNone) {
  TestServer server(kHermesModel, {.tool_call_parser = "none", .reasoning_parser = "none"});
  EXPECT_EQ(ask(server, chat(R"("max_tokens":100)")).content, kHermesModel.says);
  TestClient client(server.port());
  EXPECT_EQ(client.post(kPath, chat_with_tools()).error("param"), "\"tool_choice\"");
}

TEST(Parsers, SeeTheSpecialTokensThatUsersDoNot) {
  TestServer server({.says = "[TOOL_CALLS] no call, yet more"}, {.tool_call_parser = "mistral"});
  EXPECT_EQ(ask(server, chat_with_tools()).content, " no call, yet more");
  EXPECT_EQ(server.engine().last_request().sampling.shown_special_tokens,
            std::vector<TokenId>{258});
  EXPECT_EQ(ask(server, chat_with_tools(R"("skip_special_tokens":false)")).content,
            "[TOOL_CALLS] no call, yet more");
  ask(server, chat(R"("max_tokens":50)"));
  EXPECT_TRUE(server.engine().last_request().sampling.shown_special_tokens.empty());
}

TEST(Parsers, AutoToolChoiceCanBeRefused) {
  TestServer server({.says = "x"},
                    {.tool_call_parser = "hermes", .enable_auto_tool_choice = false});
  TestClient client(server.port());
  EXPECT_EQ(client.post(kPath, chat_with_tools()).error("param"), "\"tool_choice\"");
  EXPECT_EQ(client.post(kPath, chat_with_tools(R"("tool_choice":"none")")).status, 200);
}

}  // namespace
}  // namespace octavo::serve
