// What bad requests get, over real sockets.
#include <gtest/gtest.h>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

struct BadBody {
  std::string_view path;
  std::string body;
  int status;
  std::string_view param;  // of the error object; "" for any
};

TEST(BadInput, EveryBadBodyIsA400WithTheFieldsName) {
  TestServer server({.max_model_len = 64});
  TestClient client(server.port());
  constexpr std::string_view kC = "/v1/completions", kChat = "/v1/chat/completions";
  const std::string deep(200, '[');
  const auto c = [](std::string_view more) {
    return R"({"prompt":"x",)" + std::string(more) + "}";
  };
  const auto chat = [](std::string_view more) {
    return R"({"messages":[{"role":"user","content":"x"}],)" + std::string(more) + "}";
  };
  std::string many_prompts = R"({"prompt":["x")";
  for (int i = 0; i < 1024; ++i) many_prompts += R"(,"x")";
  many_prompts += "]}";
  const std::vector<BadBody> table = {
      {kC, "", 400, "body"},
      {kC, "[]", 400, "body"},
      {kC, "[{\"prompt\":\"x\"}]", 400, "body"},
      {kC, "3", 400, "body"},
      {kC, "null", 400, "body"},
      {kC, "{\"prompt\":\"x\"", 400, "body"},
      {kC, "{\"prompt\":\"x\"} x", 400, "body"},
      {kC, deep, 400, "body"},
      {kC, std::string(1000000, '['), 400, "body"},
      {kC, "{\"prompt\":\"\xff\xfe\"}", 400, "body"},
      {kC, "{\"prompt\":\"\\ud800\"}", 400, "body"},
      {kC, c("\"temperature\":1e999"), 400, "body"},
      {kC, "{}", 400, "body.prompt"},
      {kC, R"({"prompt":null})", 400, "body.prompt"},
      {kC, R"({"prompt":5})", 400, "body.prompt"},
      {kC, R"({"prompt":{}})", 400, "body.prompt"},
      {kC, R"({"prompt":[]})", 400, "prompt"},
      {kC, R"({"prompt":[[]]})", 400, "prompt"},
      {kC, R"({"prompt":"","add_special_tokens":false})", 400, "prompt"},
      {kC, R"({"prompt":["a",1]})", 400, "body.prompt"},
      {kC, R"({"prompt":[1,"a"]})", 400, "body.prompt"},
      {kC, R"({"prompt":[1.5]})", 400, "body.prompt"},
      {kC, R"({"prompt":[true]})", 400, "body.prompt"},
      {kC, R"({"prompt":[99999999999]})", 400, "body.prompt"},
      {kC, R"({"prompt":[300]})", 400, "prompt"},
      {kC, R"({"prompt":[-1]})", 400, "prompt"},
      {kC, many_prompts, 400, "prompt"},
      {kC, c(R"("model":5)"), 400, "body.model"},
      {kC, c(R"("temperature":"hot")"), 400, "body.temperature"},
      {kC, c(R"("temperature":true)"), 400, "body.temperature"},
      {kC, c(R"("temperature":3)"), 400, "temperature"},
      {kC, c(R"("temperature":1e300)"), 400, "body.temperature"},
      {kC, c(R"("max_tokens":"5")"), 400, "body.max_tokens"},
      {kC, c(R"("max_tokens":1.5)"), 400, "body.max_tokens"},
      {kC, c(R"("max_tokens":99999999999)"), 400, "body.max_tokens"},
      {kC, c(R"("stream":"yes")"), 400, "body.stream"},
      {kC, c(R"("stream_options":{"include_usage":true})"), 400, "stream_options"},
      {kC, c(R"("stream":true,"stream_options":5)"), 400, "body.stream_options"},
      {kC, c(R"("stream":true,"prompt_logprobs":1)"), 400, "prompt_logprobs"},
      {kC, c(R"("prompt_logprobs":-2)"), 400, "prompt_logprobs"},
      {kC, c(R"("logprobs":-2)"), 400, "logprobs"},
      {kC, c(R"("stop":5)"), 400, "body.stop"},
      {kC, c(R"("stop":["a",null])"), 400, "body.stop"},
      {kC, c(R"("stop":["a","b","c","d","e"])"), 400, "stop"},
      {kC, c(R"("logit_bias":{"x":1})"), 400, "logit_bias"},
      {kC, c(R"("logit_bias":{"5":"x"})"), 400, "body.logit_bias.5"},
      {kC, c(R"("logit_bias":[1])"), 400, "body.logit_bias"},
      {kC, c(R"("suffix":"y")"), 400, "suffix"},
      {kC, c(R"("best_of":2)"), 400, "best_of"},
      {kC, c(R"("use_beam_search":true)"), 400, "use_beam_search"},
      {kC, c(R"("structured_outputs":{"json":{},"regex":"a"})"), 400, "structured_outputs"},
      {kC, c(R"("structured_outputs":{})"), 400, "structured_outputs"},
      {kC, c(R"("structured_outputs":{"json":3})"), 400, "body.structured_outputs.json"},
      {kC, c(R"("structured_outputs":{"choice":[]})"), 400, "structured_outputs.choice"},
      {kC, c(R"("structured_outputs":{"choice":["a",1]})"), 400, "structured_outputs.choice"},
      {kC, c(R"("structured_outputs":{"regex":""})"), 400, "structured_outputs.regex"},
      {kC, c(R"("guided_json":{})"), 400, "guided_json"},
      {kC, c(R"("response_format":{"type":"json_schema"})"), 400,
       "body.response_format.json_schema.schema"},
      {kC, c(R"("response_format":{"type":"json_object","schema":"x"})"), 400,
       "body.response_format.schema"},
      {kC, c(R"("response_format":{"type":"picture"})"), 400, "response_format"},
      {kC, c(R"("response_format":{})"), 400, "body.response_format.type"},
      {kC, c(R"("prompt_embeds":"AAAA")"), 400, "prompt_embeds"},
      {kC, c(R"("cache_salt":"")"), 400, "cache_salt"},
      {kC, c(R"("cache_salt":5)"), 400, "cache_salt"},
      {kC, c(R"("thinking_token_budget":-2)"), 400, "thinking_token_budget"},
      {kC, c(R"("priority":"high")"), 400, "body.priority"},
      {kC, c(R"("truncate_prompt_tokens":0)"), 400, "truncate_prompt_tokens"},
      {kC, c(R"("truncate_prompt_tokens":65)"), 400, "truncate_prompt_tokens"},
      {kC, c(R"("truncation_side":"middle")"), 400, "truncation_side"},
      {kC, c(R"("stream_interval":0)"), 400, "stream_interval"},
      {kC, R"({"prompt":")" + std::string(100, 'x') + "\"}", 400, "input_tokens"},
      {kChat, "{}", 400, "body.messages"},
      {kChat, R"({"messages":[]})", 400, "messages"},
      {kChat, R"({"messages":"hi"})", 400, "body.messages"},
      {kChat, R"({"messages":["hi"]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"content":"x"}]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"role":5}]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"role":"user","content":5}]})", 400, "body.messages"},
      {kChat,
       R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})",
       400, "messages"},
      {kChat,
       R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]})",
       400, "messages"},
      {kChat, R"({"messages":[{"role":"assistant","tool_calls":[5]}]})", 400, "body.messages"},
      {kChat, R"({"messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]})", 400,
       "body.messages"},
      {kChat, chat(R"("top_logprobs":2)"), 400, "top_logprobs"},
      {kChat, chat(R"("logprobs":2)"), 400, "body.logprobs"},
      {kChat, chat(R"("tools":[])"), 400, "tools"},
      {kChat, chat(R"("tools":[5])"), 400, "body.tools.0"},
      {kChat, chat(R"("tools":[{"type":"function","function":{}}])"), 400,
       "body.tools.0.function.name"},
      {kChat, chat(R"("tools":[{"type":"web","function":{"name":"f"}}])"), 400,
       "body.tools.0.type"},
      {kChat, chat(R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}])"), 400,
       "body.tools.0.function.parameters"},
      {kChat, chat(R"("tool_choice":"auto")"), 400, "tool_choice"},
      {kChat, chat(R"("tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function"})"), 400,
       "tool_choice"},
      {kChat,
       chat(R"("tools":[{"function":{"name":"f"}}],"tool_choice":{"function":{"name":"g"}})"), 400,
       "tool_choice"},
      {kChat, chat(R"("tools":[{"function":{"name":"f"}}],"parallel_tool_calls":1)"), 400,
       "body.parallel_tool_calls"},
      {kChat,
       chat(R"("tools":[{"function":{"name":"f","parameters":{"type":"array"}}}],)"
            R"("tool_choice":"required")"),
       400, "tools"},
      {kChat, chat(R"("reasoning_effort":"some")"), 400, "body.reasoning_effort"},
      {kChat, chat(R"("thinking_token_budget":-2)"), 400, "thinking_token_budget"},
      {kChat, chat(R"("include_reasoning":"no")"), 400, "body.include_reasoning"},
      {kChat, chat(R"("tool_choice":"required")"), 400, "tool_choice"},
      {kChat, chat(R"("tool_choice":{"type":"function","function":{"name":"f"}})"), 400,
       "tool_choice"},
      {kChat, chat(R"("tool_choice":"sometimes")"), 400, "tool_choice"},
      {kChat, chat(R"("modalities":["audio"])"), 400, "modalities"},
      {kChat, chat(R"("chat_template":"x")"), 400, "chat_template"},
      {kChat, chat(R"("chat_template_kwargs":5)"), 400, "body.chat_template_kwargs"},
      {kChat, chat(R"("continue_final_message":true)"), 400, "continue_final_message"},
      {kChat, chat(R"("documents":[5])"), 400, "body.documents"},
      {"/tokenize", "{}", 400, "body.prompt"},
      {"/tokenize", R"({"prompt":5})", 400, "body.prompt"},
      {"/detokenize", "{}", 400, "body.tokens"},
      {"/detokenize", R"({"tokens":["a"]})", 400, "body.tokens"},
      {"/detokenize", R"({"tokens":[-1]})", 400, "body.tokens"},
  };
  for (const BadBody& bad : table) {
    const auto response = client.post(bad.path, bad.body);
    const std::string shown = bad.body.substr(0, 120);
    EXPECT_EQ(response.status, bad.status) << shown << " " << response.body;
    EXPECT_EQ(response.error("param"), "\"" + std::string(bad.param) + "\"")
        << shown << " " << response.body;
    EXPECT_EQ(response.error("code"), std::to_string(bad.status)) << shown;
    EXPECT_GT(response.error("message").size(), 5u) << shown;
  }
  EXPECT_EQ(client.post(kC, R"({"prompt":"x"})").status, 200);
  EXPECT_EQ(client.post(kC, c(R"("cache_salt":[])")).error("message"),
            "\"Parameter 'cache_salt' must be a non-empty string if provided.\"");
  EXPECT_EQ(client.post(kC, c(R"("cache_salt":" /@\u0000")")).status, 200);
  EXPECT_EQ(client.post(kC, "{\"prompt\": x}").error("message").find("\"invalid JSON: "), 0u);
  EXPECT_NE(client.post(kC, "{\"prompt\": x}").error("message").find("at byte 11"),
            std::string::npos);
}

TEST(BadInput, AByteOrderMarkBeforeTheBodyIsNone) {
  TestServer server;
  TestClient client(server.port());
  EXPECT_EQ(client.post("/v1/completions", "\xEF\xBB\xBF{\"prompt\":\"x\"}").status, 200);
  EXPECT_EQ(client.post("/v1/completions", "\xEF\xBB\xBF").status, 400);
}

TEST(BadInput, ACompressedBodyIsRefusedAsTheClientsMistake) {
  TestServer server;
  TestClient client(server.port());
  const auto refused =
      client.request("POST", "/v1/completions", R"({"prompt":"x"})",
                     "Content-Type: application/json\r\nContent-Encoding: gzip\r\n");
  EXPECT_EQ(refused.status, 415);
  EXPECT_EQ(refused.error("type"), "\"UnsupportedMediaTypeError\"");
}

TEST(BadInput, WrongContentTypeIs400) {
  TestServer server;
  TestClient client(server.port());
  EXPECT_EQ(
      client.request("POST", "/v1/completions", R"({"prompt":"x"})", "Content-Type: text/plain\r\n")
          .status,
      400);
  EXPECT_EQ(client.request("POST", "/v1/completions", R"({"prompt":"x"})", "").status, 400);
}

}  // namespace
}  // namespace octavo::serve
