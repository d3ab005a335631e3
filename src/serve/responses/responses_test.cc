// /v1/responses over real sockets, on a fake engine: items in, items out, the events of streams,
// and what is kept for later.
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

constexpr std::string_view kPath = "/v1/responses";
constexpr std::string_view kTools =
    R"("tools":[{"type":"function","name":"f","parameters":{"type":"object",)"
    R"("properties":{"a":{"type":"integer"}}}},{"type":"function","name":"g"}])";
constexpr std::string_view kCall =
    "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";

std::string body(std::string_view fields, std::string_view input = "\"hi\"") {
  std::string out = R"({"input":)" + std::string(input);
  if (!fields.empty()) out.append(",").append(fields);
  return out + "}";
}

// The prompt that the engine got.
std::string prompt(TestServer& server) {
  const std::vector<TokenId> ids = server.engine().last_request().prompt_token_ids;
  return {ids.begin(), ids.end()};
}

Value post(TestServer& server, const std::string& request) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 200) << response.body;
  return response.json();
}

// The message of a refusal, which must be a 400 with that param.
std::string refusal(TestServer& server, const std::string& request, const std::string& param) {
  TestClient client(server.port());
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 400) << response.body;
  EXPECT_EQ(response.error("param"), '"' + param + '"') << response.body;
  return response.error("message");
}

// The events of a stream: each has its name twice and the next number, and there is no [DONE].
std::vector<Value> stream(TestServer& server, std::string request) {
  TestClient client(server.port());
  request.insert(request.size() - 1, R"(,"stream":true)");
  const TestResponse response = client.post(kPath, request);
  EXPECT_EQ(response.status, 200) << response.body;
  std::vector<Value> events;
  std::string_view rest = response.body;
  while (!rest.empty()) {
    const size_t line = rest.find('\n');
    const size_t end = rest.find("\n\n");
    if (end == std::string_view::npos || !rest.starts_with("event: ")) {
      ADD_FAILURE() << rest;
      break;
    }
    const auto data = parse_json(rest.substr(line + 7, end - line - 7));
    EXPECT_EQ(rest.substr(line + 1, 6), "data: ");
    EXPECT_TRUE(data.ok()) << rest.substr(0, end);
    if (!data.ok()) break;
    EXPECT_EQ(at(*data, "type"), Value(rest.substr(7, line - 7)));
    EXPECT_EQ(at(*data, "sequence_number"), Value(static_cast<int64_t>(events.size())));
    events.push_back(*data);
    rest.remove_prefix(end + 2);
  }
  return events;
}

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

std::string get(TestServer& server, const std::string& path, int status = 200,
                std::string_view method = "GET", std::string_view headers = "") {
  TestClient client(server.port());
  const TestResponse response = client.request(method, path, "", headers);
  EXPECT_EQ(response.status, status) << response.body;
  return response.body;
}

std::string path_of(const Value& response, const std::string& rest = "") {
  return std::string(kPath) + "/" + at(response, "id").as_string() + rest;
}

TEST(ResponsesStore, GivesAnAnswerAgainUntilItIsDeleted) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(""));
  EXPECT_EQ(*parse_json(get(server, path_of(v))), v);
  EXPECT_EQ(get(server, path_of(v), 200, "DELETE"),
            R"({"id":")" + at(v, "id").as_string() + R"(","object":"response","deleted":true})");
  get(server, path_of(v), 404);
  get(server, path_of(v), 404, "DELETE");
  get(server, path_of(v, "/input_items"), 404);
  get(server, path_of(v, "/nothing"), 404);
  get(server, std::string(kPath) + "/", 404);
}

TEST(ResponsesStore, KeepsWhatAStreamTold) {
  TestServer server({.says = "ok"});
  const std::vector<Value> events = stream(server, body(""));
  const Value& v = at(events.back(), "response");
  EXPECT_EQ(*parse_json(get(server, path_of(v))), v);
}

TEST(ResponsesStore, DoesNotKeepWhatItShouldNot) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(R"("store":false)"));
  EXPECT_EQ(at(v, "store"), Value(false));
  get(server, path_of(v), 404);
}

TEST(ResponsesStore, OfAServerThatKeepsNothingSaysSo) {
  TestServer server({.says = "ok"}, {.response_store_bytes = 0});
  const Value v = post(server, body(""));
  EXPECT_EQ(at(v, "store"), Value(false));
  EXPECT_NE(get(server, path_of(v), 404).find("--response-store-bytes"), std::string::npos);
}

TEST(ResponsesStore, SaysThatAnAnswerHasEndedAlready) {
  TestServer server({.says = "ok"});
  const Value v = post(server, body(""));
  EXPECT_NE(get(server, path_of(v, "/cancel"), 400, "POST").find("Cannot cancel"),
            std::string::npos);
  get(server, path_of(v) + "?stream=true", 400);
  get(server, std::string(kPath) + "/resp_none/cancel", 404, "POST");
  get(server, path_of(v, "/cancel"), 405);
}

TEST(ResponsesStore, ListsTheInputItemsInPages) {
  TestServer server({.says = "ok"});
  std::string input = "[";
  for (int i = 0; i < 5; ++i) {
    input += R"({"id":"m)" + std::to_string(i) + R"(","role":"user","content":"x"},)";
  }
  input.back() = ']';
  const Value v = post(server, body("", input));
  const auto page = [&](const std::string& query) {
    const Value list = *parse_json(get(server, path_of(v, "/input_items" + query)));
    std::string out;
    for (const Value& item : at(list, "data").as_list()) out += at(item, "id").as_string();
    return out + (at(list, "has_more").as_bool() ? "…" : "");
  };
  EXPECT_EQ(page(""), "m4m3m2m1m0");
  EXPECT_EQ(page("?order=asc&limit=2"), "m0m1…");
  EXPECT_EQ(page("?order=asc&limit=2&after=m1"), "m2m3…");
  EXPECT_EQ(page("?after=m1"), "m0");
  EXPECT_EQ(page("?after=none"), "");
  get(server, path_of(v, "/input_items?limit=0"), 400);
  get(server, path_of(v, "/input_items?order=up"), 400);
}

TEST(ResponsesStore, AConversationGoesOnWithoutItsInstructions) {
  TestServer server({.says = "ok"});
  const Value first = post(server, body(R"("instructions":"Shout.")", "\"one\""));
  const auto go_on = [&](const Value& from, const std::string& input) {
    return post(server, body(R"("previous_response_id":")" + at(from, "id").as_string() + "\"",
                             "\"" + input + "\""));
  };
  const Value second = go_on(first, "two");
  EXPECT_EQ(prompt(server), "user: one\nassistant: ok\nuser: two\nassistant: ");
  EXPECT_EQ(at(second, "previous_response_id"), at(first, "id"));
  go_on(second, "three");
  EXPECT_EQ(prompt(server),
            "user: one\nassistant: ok\nuser: two\nassistant: ok\nuser: three\nassistant: ");
  go_on(first, "other");
  EXPECT_EQ(prompt(server), "user: one\nassistant: ok\nuser: other\nassistant: ");
}

TEST(ResponsesStore, ACallIsAnsweredByItsId) {
  TestServer server({.says = std::string(kCall)}, {.tool_call_parser = "hermes"});
  const Value v = post(server, body(kTools));
  post(server, body(R"("previous_response_id":")" + at(v, "id").as_string() + "\"",
                    R"([{"type":"function_call_output","call_id":)" +
                        to_json(at(v, "output.0.call_id")) + R"(,"output":"42"}])"));
  EXPECT_EQ(prompt(server), "user: hi\nassistant: \ntool: 42\nassistant: ");
}

TEST(ResponsesStore, AnItemMayBeReferredTo) {
  TestServer server({.says = "ok"});
  const std::string id = to_json(at(post(server, body("")), "output.0.id"));
  const std::string input = R"([{"role":"user","content":"hi"},{"type":"item_reference","id":)" +
                            id + R"(},{"id":)" + id + R"(},{"role":"user","content":"more"}])";
  post(server, body("", input));
  EXPECT_EQ(prompt(server), "user: hi\nassistant: ok\nassistant: ok\nuser: more\nassistant: ");
  TestClient client(server.port());
  const auto response = client.post(kPath, body("", R"([{"type":"item_reference","id":"msg_x"}])"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.error("param"), "\"input\"");
}

TEST(ResponsesStore, AnUnknownPreviousResponseIsNotFound) {
  TestServer server;
  TestClient client(server.port());
  const auto response = client.post(kPath, body(R"("previous_response_id":"resp_x")"));
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.error("param"), "\"previous_response_id\"");
}

TEST(ResponsesStore, BelongsToTheKeyThatAsked) {
  TestServer server({.says = "ok"}, {.api_keys = {"mine", "yours"}});
  constexpr std::string_view kMine = "Authorization: Bearer mine\r\n";
  constexpr std::string_view kYours = "Authorization: Bearer yours\r\n";
  TestClient client(server.port());
  const auto response = client.request("POST", kPath, body(""),
                                       std::string(kMine) + "Content-Type: application/json\r\n");
  ASSERT_EQ(response.status, 200) << response.body;
  const std::string path = path_of(response.json());
  get(server, path, 200, "GET", kMine);
  get(server, path, 404, "GET", kYours);
  get(server, path, 404, "DELETE", kYours);
  get(server, path + "/input_items", 404, "GET", kYours);
  get(server, path, 401);
  get(server, path, 200, "DELETE", kMine);
}

TEST(ResponsesStore, DoesNotKeepAnAnswerThatNobodyWaitedFor) {
  TestServer server;
  std::string id;
  {
    TestClient client(server.port());
    client.send_request("POST", kPath, body(R"("stream":true,"request_id":"resp_mine")"));
    ASSERT_TRUE(client.read_until("output_text.delta"));
  }
  ASSERT_TRUE(server.engine().wait_until_running(0));
  get(server, std::string(kPath) + "/resp_mine", 404);
}

TEST(ResponsesStore, AnIdOfTheClientsChoiceHasOnePrefix) {
  TestServer server({.says = "ok"});
  EXPECT_EQ(at(post(server, body(R"("request_id":"resp_mine")")), "id"), Value("resp_mine"));
  EXPECT_EQ(at(post(server, body(R"("request_id":"mine")")), "id"), Value("resp_mine"));
}

}  // namespace
}  // namespace octavo::serve
