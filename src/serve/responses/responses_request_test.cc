// What a request to /v1/responses becomes, over real sockets: a prompt, sampling, tools and
// grammars, or a refusal that names the field.
#include "serve/responses/testing_responses.h"

namespace octavo::serve {
namespace {

TEST(Responses, InstructionsComeFirstAndItemsBecomeMessages) {
  TestServer server({.says = "ok"});
  post(server, body(R"("instructions":"Be brief.")",
                    R"([{"role":"user","content":[{"type":"input_text","text":"A"},)"
                    R"({"type":"input_text","text":"B"}]},)"
                    R"({"type":"message","role":"assistant","content":[{"type":"output_text",)"
                    R"("text":"C","annotations":[]}]},{"role":"user","content":"D"}])"));
  EXPECT_EQ(prompt(server), "system: Be brief.\nuser: A\nB\nassistant: C\nuser: D\nassistant: ");
}

TEST(Responses, OneTurnOfTheAssistantIsOneMessage) {
  TestServer server({.says = "ok"});
  post(server,
       body("", R"([{"role":"user","content":"Q"},{"type":"reasoning","id":"rs_1","summary":[],)"
                R"("content":[{"type":"reasoning_text","text":"hm"}]},)"
                R"({"type":"message","role":"assistant","content":"So:"},)"
                R"({"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},)"
                R"({"type":"function_call","call_id":"c2","name":"g","arguments":""},)"
                R"({"type":"function_call_output","call_id":"c1","output":"1"},)"
                R"({"type":"function_call_output","call_id":"c2",)"
                R"("output":[{"type":"input_text","text":"2"}]}])"));
  EXPECT_EQ(prompt(server), "user: Q\nassistant: So:\ntool: 1\ntool: 2\nassistant: ");
}

TEST(Responses, AnUnfinishedLastMessageIsGoneOnFrom) {
  TestServer server({.says = "ok"});
  post(server, body("", R"([{"role":"user","content":"Q"},{"type":"message","role":"assistant",)"
                        R"("status":"incomplete","content":"Half a"}])"));
  EXPECT_EQ(prompt(server), "user: Q\nassistant: Half a\n");
}

TEST(Responses, SamplingAndEffortReachTheEngineAndTheTemplate) {
  TestServer server({.says = "ok"});
  const Value v =
      post(server, body(R"("temperature":0.7,"top_p":0.5,"top_k":7,"seed":3,"max_output_tokens":9,)"
                        R"("reasoning":{"effort":"low","summary":"auto"},"cache_salt":"s",)"
                        R"("truncation":"auto","service_tier":"flex")"));
  const GenerateRequest request = server.engine().last_request();
  EXPECT_FLOAT_EQ(request.sampling.temperature, 0.7f);
  EXPECT_EQ(request.sampling.top_k, 7);
  EXPECT_EQ(request.sampling.seed, 3);
  EXPECT_EQ(request.sampling.max_tokens, 9);
  EXPECT_EQ(request.cache_salt, "s");
  EXPECT_NE(prompt(server).find("reasoning_effort=\"low\""), std::string::npos);
  EXPECT_EQ(at(v, "temperature"), Value(0.7));
  EXPECT_EQ(at(v, "reasoning.effort"), Value("low"));
  EXPECT_EQ(at(v, "service_tier"), Value("default"));
}

TEST(Responses, ALimitBeyondTheContextIsTheContexts) {
  TestServer server({.max_model_len = 100, .says = "ok"});
  post(server, body(R"("max_output_tokens":5000)"));
  EXPECT_EQ(server.engine().last_request().sampling.max_tokens, 80);
}

TEST(Responses, TextFormatBecomesAGrammar) {
  TestServer server({.says = "ok"});
  post(server, body(R"("text":{"format":{"type":"json_schema","name":"n","strict":true,)"
                    R"("schema":{"type":"object"}}})"));
  const auto schema = server.engine().last_request().sampling.structured_output;
  ASSERT_TRUE(schema.has_value());
  EXPECT_EQ(schema->text, R"({"type":"object"})");
  EXPECT_EQ(schema->field, "text.format");
  post(server, body(R"("text":{"format":{"type":"json_object"}})"));
  EXPECT_EQ(server.engine().last_request().sampling.structured_output->kind,
            StructuredOutput::Kind::kJsonObject);
  post(server, body(R"("text":{"format":{"type":"text"},"verbosity":"medium"})"));
  EXPECT_FALSE(server.engine().last_request().sampling.structured_output.has_value());
  refusal(server, body(R"("text":{"format":{"type":"xml"}})"), "body.text.format.type");
  refusal(server, body(R"("text":{"format":{"type":"json_schema"}})"), "body.text.format.schema");
  EXPECT_NE(refusal(server, body(R"("text":{"verbosity":"low"})"), "text.verbosity")
                .find("text.verbosity"),
            std::string::npos);
}

TEST(ResponsesTools, AChoiceIsTranslated) {
  TestServer server({.says = "ok"}, {.tool_call_parser = "hermes"});
  const auto grammar = [&](std::string_view choice) {
    post(server, body(std::string(kTools) + R"(,"tool_choice":)" + std::string(choice)));
    const auto output = server.engine().last_request().sampling.structured_output;
    return output ? output->text : "";
  };
  EXPECT_EQ(grammar(R"("auto")"), "");
  EXPECT_EQ(grammar(R"("none")"), "");
  EXPECT_NE(grammar(R"("required")").find(R"("enum":["g"])"), std::string::npos);
  EXPECT_NE(grammar(R"({"type":"function","name":"f"})").find(R"("a")"), std::string::npos);
  const std::string allowed = grammar(
      R"({"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"g"}]})");
  EXPECT_NE(allowed.find(R"("enum":["g"])"), std::string::npos);
  EXPECT_EQ(allowed.find(R"("enum":["f"])"), std::string::npos);
}

TEST(ResponsesTools, WhatIsNoFunctionIsRefusedByName) {
  TestServer server;
  for (const char* type : {"web_search", "file_search", "mcp", "code_interpreter", "custom"}) {
    const std::string message =
        refusal(server, body(R"("tools":[{"type":")" + std::string(type) + "\"}]"), "tools");
    EXPECT_NE(message.find(type), std::string::npos) << message;
  }
  refusal(server, body(R"("tool_choice":{"type":"web_search"})"), "tool_choice");
  refusal(server, body(std::string(kTools) + R"(,"tool_choice":{"type":"function","name":"h"})"),
          "tool_choice");
  refusal(server, body(R"("tools":[{"type":"function"}])"), "body.tools.0.name");
}

TEST(ResponsesTools, NoneAtAllWithTheUsualChoiceIsFine) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(R"("tools":[],"tool_choice":"auto")"));
  EXPECT_EQ(at(v, "tools"), Value(Value::List{}));
}

TEST(Responses, WhatIsNotSupportedIsRefusedByName) {
  TestServer server;
  refusal(server, "{}", "body.input");
  refusal(server, R"({"input":7})", "body.input");
  refusal(server, R"({"input":[]})", "input");
  refusal(server, R"([])", "body");
  for (const char* field :
       {R"("background":true)", R"("conversation":"c")", R"("prompt":{"id":"p"})",
        R"("messages":[])", R"("max_tokens":5)", R"("response_format":{"type":"text"})", R"("n":2)",
        R"("reasoning_effort":"low")"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    EXPECT_NE(refusal(server, body(field), name).find("`" + name + "`"), std::string::npos);
  }
  refusal(server, body(R"("max_output_tokens":0)"), "max_output_tokens");
  refusal(server, body(R"("metadata":{"a":1})"), "body.metadata.a");
  refusal(server, body(R"("include":["everything"])"), "body.include");
  refusal(server, body(R"("reasoning":{"effort":"much"})"), "body.reasoning.effort");
  refusal(server, body(R"("truncation":"middle")"), "body.truncation");
  refusal(server, body(R"("temperature":3)"), "temperature");
}

TEST(Responses, ItemsAreCheckedOneByOne) {
  TestServer server;
  const auto refused = [&](const std::string& item, const std::string& param) {
    return refusal(server, body("", "[" + item + "]"), param);
  };
  EXPECT_NE(
      refused(R"({"role":"user","content":[{"type":"input_image","image_url":"x"}]})", "input")
          .find("input_image"),
      std::string::npos);
  EXPECT_NE(refused(R"({"type":"web_search_call","id":"w"})", "input").find("web_search_call"),
            std::string::npos);
  refused(R"({"type":"item_reference"})", "body.input.0.id");
  refused(R"({"type":"reasoning","id":"r","summary":[],"encrypted_content":"x"})", "input");
  refused(R"({"type":"function_call","call_id":"c","name":"f","arguments":"{"})", "input");
  refused(R"({"type":"function_call","call_id":"c","name":"f"})", "body.input.0.arguments");
  refused(R"({"type":"function_call_output","output":"x"})", "body.input.0.call_id");
  refused(R"({"type":"function_call_output","call_id":"c"})", "body.input.0.output");
  refused(R"({"role":"pope","content":"x"})", "body.input.0.role");
  refused(R"({"role":"user"})", "body.input.0.content");
  refused(R"({"role":"user","content":[7]})", "body.input.0.content.0");
  refused(R"({"role":"user","content":[{"type":"input_text"}]})", "body.input.0.content.0.text");
  refused(R"("text")", "body.input.0");
}

}  // namespace
}  // namespace octavo::serve
