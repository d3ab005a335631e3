// What the messages of Anthropic's dialect become, and what is said of wrong ones.
#include <gtest/gtest.h>

#include "serve/messages/messages_conversation.h"

namespace octavo::serve {
namespace {

// The conversation that `messages` become, as JSON; or the error.
std::string conversation(std::string_view messages, ChatPrompt* prompt = nullptr) {
  ChatPrompt chat;
  const Status status = read_conversation(nullptr, parse_json(messages)->as_list(), chat);
  if (prompt != nullptr) *prompt = chat;
  return status.ok() ? to_json(Value(chat.messages)) : status.message();
}

TEST(MessagesConversation, NeighboursOfOneRoleAreOneTurn) {
  EXPECT_EQ(conversation(R"([{"role":"user","content":"a"},{"role":"user","content":"b"},)"
                         R"({"role":"assistant","content":"c"},{"role":"assistant","content":"d"},)"
                         R"({"role":"user","content":"e"}])"),
            R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},)"
            R"({"role":"assistant","content":"cd"},{"role":"user","content":"e"}])");
}

TEST(MessagesConversation, CallsResultsAndThinkingTakeTheirPlaces) {
  EXPECT_EQ(
      conversation(
          R"([{"role":"user","content":"q"},{"role":"assistant","content":[)"
          R"({"type":"thinking","thinking":"T","signature":""},{"type":"redacted_thinking","data":"x"},)"
          R"({"type":"text","text":"I look."},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}},)"
          R"({"type":"tool_use","id":"t2","name":"g","input":{}}]},)"
          R"({"role":"user","content":[{"type":"text","text":"and?"},)"
          R"({"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"one"}]},)"
          R"({"type":"tool_result","tool_use_id":"t2","content":"lost","is_error":true}]}])"),
      R"([{"role":"user","content":"q"},{"role":"assistant","content":"I look.",)"
      R"("reasoning":"T","reasoning_content":"T","tool_calls":[)"
      R"({"id":"t1","type":"function","function":{"name":"f","arguments":{"a":1}}},)"
      R"({"id":"t2","type":"function","function":{"name":"g","arguments":{}}}]},)"
      R"({"role":"tool","tool_call_id":"t1","content":"one"},)"
      R"({"role":"tool","tool_call_id":"t2","content":"Error: lost"},)"
      R"({"role":"user","content":"and?"}])");
}

TEST(MessagesConversation, InstructionsAreTheSystemsAtTheHeadAndTheUsersLater) {
  EXPECT_EQ(
      conversation(R"([{"role":"system","content":"s"},{"role":"user","content":"a"},)"
                   R"({"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f"}]},)"
                   R"({"role":"system","content":"note"},{"role":"user","content":[)"
                   R"({"type":"tool_result","tool_use_id":"t"}]}])"),
      R"([{"role":"system","content":"s"},{"role":"user","content":"a"},)"
      R"({"role":"assistant","content":"","tool_calls":[{"id":"t","type":"function",)"
      R"("function":{"name":"f","arguments":{}}}]},)"
      R"({"role":"tool","tool_call_id":"t","content":""},{"role":"user","content":"note"}])");
}

TEST(MessagesConversation, TheAssistantsLastWordsAreGoneOnWith) {
  ChatPrompt chat;
  conversation(R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"}])", &chat);
  EXPECT_TRUE(chat.continue_final_message);
  EXPECT_FALSE(chat.add_generation_prompt);
  // No words: an answer of its own.
  conversation(R"([{"role":"user","content":"a"},{"role":"assistant","content":""}])", &chat);
  EXPECT_FALSE(chat.continue_final_message);
  EXPECT_EQ(chat.messages.size(), 1u);
}

TEST(MessagesConversation, WhatIsWrongIsNamedWithItsPlace) {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"[]", "messages: at least one message is required"},
      {"[5]", "messages.0: Input should be a valid dictionary"},
      {R"([{"role":"user"}])", "messages.0.content: Field required"},
      {R"([{"role":"user","content":5}])", "messages.0.content: Input should be a string or"},
      {R"([{"role":"tool","content":"a"}])", "messages.0.role: Input should be 'user'"},
      {R"([{"role":"user","content":["a"]}])", "messages.0.content.0: Input should be"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "messages.0.content.0.text: "},
      {R"([{"role":"user","content":[{"type":"image","source":{}}]}])",
       "messages.0.content.0: a block of type `image` is not supported"},
      {R"([{"role":"user","content":[{"type":"document","source":{}}]}])", "`document`"},
      {R"([{"role":"user","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]}])",
       "messages.0.content.0: a block of type `tool_use` cannot stand in a message of role `user`"},
      {R"([{"role":"assistant","content":[{"type":"tool_result","tool_use_id":"1"}]}])",
       "cannot stand in a message of role `assistant`"},
      {R"([{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[)"
       R"({"type":"image"}]}]}])",
       "messages.0.content.0.content.0: a block of type `image`"},
      {R"([{"role":"user","content":[{"type":"tool_result"}]}])", "content.0.tool_use_id: "},
      {R"([{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":5}]}])",
       "content.0.input: "},
      {R"([{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f"}]}])",
       "messages.0.content.0: a `tool_use` needs its `tool_result`"},
      {R"([{"role":"assistant","content":""}])", "messages: at least one message needs content"},
  };
  for (const auto& [messages, expected] : kCases) {
    const std::string said = conversation(messages);
    EXPECT_NE(said.find(expected), std::string::npos) << messages << " gives: " << said;
  }
}

}  // namespace
}  // namespace octavo::serve
