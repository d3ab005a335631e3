// Batch files through the routes of a server that listens nowhere, on a fake engine.
#include "serve/batch.h"

#include <gtest/gtest.h>

#include "serve/testing_fake_engine.h"
#include "serve/testing_server.h"

namespace octavo::serve {
namespace {

std::string line_for(const std::string& id, const std::string& body,
                     const std::string& url = "/v1/completions") {
  return R"({"custom_id":")" + id + R"(","method":"POST","url":")" + url + R"(","body":)" + body +
         "}";
}

struct BatchRun {
  StatusOr<BatchResult> result;
  std::vector<Value> lines;
};

BatchRun run(FakeEngine& engine, const std::vector<std::string>& input, size_t max_in_flight = 0,
             size_t fail_at = SIZE_MAX) {
  std::vector<Value> lines;
  size_t next = 0;
  BatchOptions options;
  options.max_in_flight = max_in_flight;
  options.read = [&](std::string& text) {
    if (next == input.size()) return false;
    text = input[next++];
    return true;
  };
  options.write = [&](std::string_view text) -> Status {
    if (lines.size() == fail_at) return unavailable("the disk is full");
    lines.push_back(*parse_json(text));
    return ok_status();
  };
  auto result = run_batch(engine, {}, options);
  return {std::move(result), std::move(lines)};
}

TEST(Batch, AnswersEachLineByItsIdInTheOrderOfTheInput) {
  FakeEngine engine;
  std::vector<std::string> input;
  for (int i = 0; i < 40; ++i) {
    const int tokens = 1 + (40 - i) % 7;  // later ones are often done first
    input.push_back(line_for("r" + std::to_string(i),
                             R"({"prompt":"a","max_tokens":)" + std::to_string(tokens) + "}"));
  }
  const BatchRun done = run(engine, input, 3);
  ASSERT_TRUE(done.result.ok());
  EXPECT_EQ(done.result->lines, 40u);
  EXPECT_EQ(done.result->failed, 0u);
  ASSERT_EQ(done.lines.size(), 40u);
  for (size_t i = 0; i < done.lines.size(); ++i) {
    EXPECT_EQ(at(done.lines[i], "custom_id"), Value("r" + std::to_string(i)));
    EXPECT_EQ(at(done.lines[i], "response.status_code"), Value(200));
    EXPECT_EQ(at(done.lines[i], "response.body.usage.completion_tokens"),
              Value(static_cast<int>(1 + (40 - i) % 7)));
    EXPECT_TRUE(at(done.lines[i], "error").is_null());
  }
}

TEST(Batch, SpeaksEveryDialect) {
  FakeEngine engine;
  const std::string messages = R"("messages":[{"role":"user","content":"hi"}])";
  const BatchRun done =
      run(engine,
          {line_for("chat", "{" + messages + R"(,"max_tokens":1})", "/v1/chat/completions"),
           line_for("response", R"({"input":"hi","max_output_tokens":1})", "/v1/responses"),
           line_for("message",
                    "{" + messages + R"(,"max_tokens":1,"model":")" + engine.model().name + R"("})",
                    "/v1/messages")});
  ASSERT_EQ(done.lines.size(), 3u);
  EXPECT_EQ(at(done.lines[0], "response.body.object"), Value("chat.completion"));
  EXPECT_EQ(at(done.lines[1], "response.body.object"), Value("response"));
  EXPECT_EQ(at(done.lines[2], "response.body.type"), Value("message"));
}

TEST(Batch, TellsWhatALineGetsWrongInThatLineAndGoesOn) {
  FakeEngine engine;
  const BatchRun done =
      run(engine,
          {"no JSON", "[1]", R"({"method":"POST"})", "  ", line_for("url", "{}", "/v1/embeddings"),
           line_for("body", "[]"), line_for("stream", R"({"prompt":"a","stream":true})"),
           line_for("field", R"({"prompt":"a","temperature":"hot"})"),
           R"({"custom_id":"get","method":"GET","url":"/v1/completions","body":{}})",
           line_for("good", R"({"prompt":"a","max_tokens":1})")});
  ASSERT_TRUE(done.result.ok());
  EXPECT_EQ(done.result->lines, 9u);  // a blank one is none
  EXPECT_EQ(done.result->failed, 8u);
  ASSERT_EQ(done.lines.size(), 9u);
  EXPECT_TRUE(at(done.lines[0], "custom_id").is_null());
  for (const size_t refused : {0, 1, 2, 3, 4, 5, 7}) {
    EXPECT_TRUE(at(done.lines[refused], "response").is_null()) << refused;
    EXPECT_TRUE(at(done.lines[refused], "error.message").is_string()) << refused;
  }
  EXPECT_EQ(at(done.lines[6], "custom_id"), Value("field"));
  EXPECT_EQ(at(done.lines[6], "response.status_code"), Value(400));
  EXPECT_EQ(at(done.lines[6], "response.body.error.param"), Value("body.temperature"));
  EXPECT_EQ(at(done.lines[8], "response.status_code"), Value(200));
}

TEST(Batch, EndsWhatIsUnderWayWhenItsOutputCannotBeWritten) {
  FakeEngine engine;
  std::vector<std::string> input = {line_for("first", R"({"prompt":"a","max_tokens":1})")};
  for (int i = 0; i < 5; ++i) {
    input.push_back(line_for("long", R"({"prompt":"a","max_tokens":500000})"));
  }
  const BatchRun done = run(engine, input, 6, 0);
  EXPECT_FALSE(done.result.ok());
  EXPECT_EQ(done.result.status().message(), "the disk is full");
  EXPECT_TRUE(engine.wait_until_running(0));  // cancelled, on the engine's own thread
}

}  // namespace
}  // namespace octavo::serve
