// Tool calls in chats, on a fake engine: in whole answers and in streams, and the grammars of
// forced ones.
#include <gtest/gtest.h>

#include "serve/openai/chat_request.h"
#include "serve/openai/testing_chat.h"

namespace octavo::serve {
namespace {

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
  const Value v = client.post(kChatPath, chat_with_tools()).json();
  EXPECT_TRUE(at(v, "choices.0.message.content").is_null());
  EXPECT_EQ(at(v, "choices.0.message.tool_calls.0.function.arguments"), Value("{}"));
}

TEST(Tools, AStreamTellsNameThenArgumentsPieceByPiece) {
  TestServer server(
      {.says = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 12}}</tool_call>"},
      {.tool_call_parser = "hermes"});
  TestClient client(server.port());
  const auto events = read_stream(client, kChatPath, chat_with_tools(R"("stream":true)"));
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
  const Told whole = told_by(client.post(kChatPath, chat_with_tools()).json());
  EXPECT_EQ(whole.content, broken);
  EXPECT_TRUE(whole.calls.empty());
  EXPECT_EQ(whole.finish_reason, "stop");
  // A stream cannot take back the pieces that it has told; it says the text too.
  const Told stream = told_by(read_stream(client, kChatPath, chat_with_tools(R"("stream":true)")));
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
      client.post(kChatPath, chat_with_tools(R"("tool_choice":"none","return_prompt_text":true)"));
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
      std::string(kChatTools) + "}";
  EXPECT_EQ(ask(server, body).ids[0], "functions.f:1");
}

TEST(Tools, CallsOfTheConversationWithoutArgumentsHaveEmptyOnes) {
  for (const char* arguments :
       {"", R"(,"arguments":null)", R"(,"arguments":"")", R"(,"arguments":"null")"}) {
    const auto body =
        parse_json(R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f")" +
                   std::string(arguments) + "}}]}]}");
    const auto request = parse_chat(*body, {});
    ASSERT_TRUE(request.ok()) << request.status().message();
    EXPECT_EQ(at(request->chat.messages[0], "tool_calls.0.function.arguments"), Value("{}"))
        << arguments;
  }
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
  const auto events =
      read_stream(client, kChatPath,
                  chat_with_tools(R"("stream":true,"return_token_ids":true,"logprobs":true)"));
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

}  // namespace
}  // namespace octavo::serve
