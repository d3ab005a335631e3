// Which parsers take a chat's answer apart, on a fake engine.
#include <gtest/gtest.h>

#include "serve/openai/testing_chat.h"

namespace octavo::serve {
namespace {

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
  EXPECT_EQ(client.post(kChatPath, chat_with_tools()).error("param"), "\"tool_choice\"");
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
  EXPECT_EQ(client.post(kChatPath, chat_with_tools()).error("param"), "\"tool_choice\"");
  EXPECT_EQ(client.post(kChatPath, chat_with_tools(R"("tool_choice":"none")")).status, 200);
}

}  // namespace
}  // namespace octavo::serve
