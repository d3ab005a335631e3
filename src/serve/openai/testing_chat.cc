#include "serve/openai/testing_chat.h"

#include <gtest/gtest.h>

namespace octavo::serve {

std::string chat(std::string_view fields) {
  return R"({"messages":[{"role":"user","content":"hi"}],)" + std::string(fields) + "}";
}

std::string chat_with_tools(std::string_view fields) {
  return chat(std::string(kChatTools) + (fields.empty() ? "" : ",") + std::string(fields));
}

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

Told ask(TestServer& server, const std::string& body) {
  TestClient client(server.port());
  const TestResponse response = client.post(kChatPath, body);
  EXPECT_EQ(response.status, 200) << response.body;
  Told whole = told_by(response.json());
  const Told stream = told_by(read_stream(client, kChatPath, streamed(body)));
  EXPECT_EQ(stream.reasoning, whole.reasoning);
  EXPECT_EQ(stream.content, whole.content);
  EXPECT_EQ(stream.calls, whole.calls);
  EXPECT_EQ(stream.finish_reason, whole.finish_reason);
  return whole;
}

}  // namespace octavo::serve
