// Thinking in chats and in completions, on a fake engine: where it is told, and what is asked of
// the engine for it.
#include <gtest/gtest.h>

#include "serve/openai/testing_chat.h"

namespace octavo::serve {
namespace {

TEST(Reasoning, IsTakenOffTheContent) {
  TestServer server({.says = "<think>\nHm, 1 < 2.\n</think>\n\nYes."},
                    {.reasoning_parser = "qwen3"});
  const Told told = ask(server, chat(R"("max_tokens":50)"));
  EXPECT_EQ(told.reasoning, "Hm, 1 < 2.");
  EXPECT_EQ(told.content, "Yes.");
  EXPECT_EQ(told.finish_reason, "stop");
  TestClient client(server.port());
  const Value v = client.post(kChatPath, chat(R"("max_tokens":50)")).json();
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
    const Value whole = client.post(kChatPath, chat(fields + "false")).json();
    EXPECT_EQ(at(whole, "choices.0.token_ids").is_list(), shown);
    EXPECT_EQ(at(whole, "choices.0.logprobs").is_dict(), shown);
    EXPECT_TRUE(at(whole, "prompt_token_ids").is_list());
    const std::vector<Value> events = read_stream(client, kChatPath, chat(fields + "true"));
    EXPECT_EQ(at(events.back(), "choices.0.token_ids").is_list(), shown);
    EXPECT_EQ(at(events.back(), "choices.0.logprobs").is_dict(), shown);
  }
}

TEST(Reasoning, BudgetNeedsAParser) {
  TestServer server({.says = "Yes."});
  TestClient client(server.port());
  EXPECT_EQ(client.post(kChatPath, chat(R"("thinking_token_budget":7)")).error("param"),
            "\"thinking_token_budget\"");
  EXPECT_EQ(
      client.post("/v1/completions", R"({"prompt":"x","thinking_token_budget":7})").error("param"),
      "\"thinking_token_budget\"");
}

TEST(Reasoning, BudgetReachesTheEngine) {
  TestServer server({.says = "Yes."}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  ASSERT_EQ(client.post(kChatPath, chat(R"("thinking_token_budget":7)")).status, 200);
  const auto thinking = server.engine().last_request().sampling.thinking;
  ASSERT_TRUE(thinking.has_value());
  EXPECT_EQ(thinking->start, "<think>");
  EXPECT_FALSE(thinking->open);
  EXPECT_EQ(thinking->max_tokens, 7);
  ASSERT_EQ(client.post(kChatPath, chat(R"("thinking_token_budget":-1)")).status, 200);
  EXPECT_FALSE(server.engine().last_request().sampling.thinking->max_tokens.has_value());
}

TEST(Reasoning, BudgetOfACompletionReachesTheEngineAsEachPromptLeavesTheThinking) {
  TestServer server({.says = "Yes."}, {.reasoning_parser = "qwen3"});
  TestClient client(server.port());
  const auto thinking_after = [&](std::string_view prompts, std::string_view more = "") {
    const TestResponse answer =
        client.post("/v1/completions", R"({"thinking_token_budget":7,"prompt":)" +
                                           std::string(prompts) + std::string(more) + "}");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return server.engine().last_request().sampling.thinking;
  };
  const auto open = thinking_after(R"(["a","b<think>\n"])");
  ASSERT_TRUE(open.has_value());
  EXPECT_TRUE(open->open);
  EXPECT_EQ(open->end, "</think>");
  EXPECT_EQ(open->max_tokens, 7);
  const auto untouched = thinking_after(R"(["b<think>\n","a"])");
  ASSERT_TRUE(untouched.has_value());
  EXPECT_FALSE(untouched->open);
  EXPECT_FALSE(thinking_after(R"("<think>\n\n</think>\n\n")").has_value());
  EXPECT_FALSE(
      thinking_after(R"("b<think>\n")", R"(,"truncate_prompt_tokens":2,"truncation_side":"right")")
          ->open);
  ASSERT_EQ(client.post("/v1/completions", R"({"prompt":"<think>\n"})").status, 200);
  EXPECT_FALSE(server.engine().last_request().sampling.thinking.has_value());
}

TEST(Reasoning, EffortReachesTheTemplate) {
  TestServer server({.says = "Yes."});
  TestClient client(server.port());
  const auto prompt = [&](std::string_view fields) {
    const auto answer =
        client.post(kChatPath, chat(std::string(fields) + R"(,"return_prompt_text":true)"));
    return at(answer.json(), "prompt_text").as_string();
  };
  EXPECT_NE(
      prompt(R"("reasoning_effort":"low")").find("reasoning_effort=\"low\"\nenable_thinking=true"),
      std::string::npos);
  EXPECT_NE(prompt(R"("reasoning_effort":"none")").find("enable_thinking=false"),
            std::string::npos);
  EXPECT_EQ(prompt(R"("temperature":0)").find("enable_thinking"), std::string::npos);
}

}  // namespace
}  // namespace octavo::serve
