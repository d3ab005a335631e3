// The chat templates of many models against what transformers made of them, our own model's
// template, and the bounds on templates that someone sends.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/testing_files.h"
#include "octavo/value.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;
using octavo::testing::read_file;
using octavo::testing::shared_folder;

constexpr int kGoldensThatPass = 1248;  // of 1,248

// The clock of the goldens: 2026-07-26 12:34:56, local time.
int64_t golden_clock() {
  std::tm local{};
  local.tm_year = 2026 - 1900;
  local.tm_mon = 6;
  local.tm_mday = 26;
  local.tm_hour = 12;
  local.tm_min = 34;
  local.tm_sec = 56;
  local.tm_isdst = -1;
  return std::mktime(&local);
}

Value parsed(std::string_view json) {
  auto value = parse_json(json);
  EXPECT_TRUE(value.ok()) << value.status().to_string();
  return value.ok() ? *value : Value();
}

std::shared_ptr<const ChatTemplate> compiled(const std::string& source) {
  auto result = ChatTemplate::parse(source);
  EXPECT_TRUE(result.ok()) << result.status().to_string();
  return result.ok() ? *result : nullptr;
}

std::string template_source(const fs::path& folder, const std::string& name) {
  if (name == "octavo-tiny")
    return read_file(shared_folder() / "models/octavo-tiny/chat_template.jinja");
  if (fs::is_directory(folder / name)) {
    const Value config = parsed(read_file(folder / name / "tokenizer_config.json"));
    return config.find("chat_template")->as_string();
  }
  return read_file(folder / name);
}

// The variables of one case, as transformers passes them.
Value::Dict variables_of(const Value& conversation, const Value& kwargs) {
  Value messages = *conversation.find("messages");
  copy_reasoning(messages.as_list());
  const auto or_null = [&](std::string_view name) {
    const Value* found = conversation.find(name);
    return found == nullptr ? Value() : *found;
  };
  Value variables(Value::Dict{{"messages", messages},
                              {"tools", or_null("tools")},
                              {"documents", or_null("documents")},
                              {"add_generation_prompt", or_null("add_generation_prompt")}});
  for (const auto& [name, value] : kwargs.as_dict()) variables.set(name, value);
  if (const Value* more = conversation.find("kwargs")) {
    for (const auto& [name, value] : more->as_dict()) variables.set(name, value);
  }
  return variables.as_dict();
}

// "" where the result is the golden's, else how it differs.
std::string difference(const Value& golden, const RenderResult& result) {
  const auto got = [&] {
    if (!result.ok()) return std::string(to_string(result.error)) + ": " + result.message;
    return result.output;
  };
  if (const Value* output = golden.find("output")) {
    return result.ok() && result.output == output->as_string()
               ? ""
               : "expected\n" + output->as_string() + "\ngot\n" + got();
  }
  const std::string& kind = golden.find("kind")->as_string();
  const std::string& message = golden.find("error")->as_string();
  // Whatever fails inside Python may fail here in any way.
  const bool right_kind = kind == "python" ? !result.ok() : to_string(result.error) == kind;
  const bool needs_message = kind == "raised" || kind == "undefined";
  if (right_kind && (!needs_message || result.message == message)) return "";
  return "expected " + kind + ": " + message + "\ngot " + got();
}

TEST(ChatTemplateGoldens, RenderAsTransformersDoes) {
  const fs::path folder = shared_folder() / "data/chat_templates";
  if (!fs::exists(folder / "goldens.jsonl")) {
    GTEST_SKIP() << "ChatTemplateGoldens.RenderAsTransformersDoes needs shared/data/chat_templates "
                    "(OCTAVO_SHARED)";
  }
  std::map<std::string, Value> cases;
  const Value conversations = parsed(read_file(folder / "cases.json"));
  for (const Value& c : conversations.as_list()) cases[c.find("case")->as_string()] = c;
  std::map<std::string, std::shared_ptr<const ChatTemplate>> templates;
  std::map<std::string, int> failures;
  int passed = 0, total = 0;
  std::istringstream lines(read_file(folder / "goldens.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Value golden = parsed(line);
    const std::string name = golden.find("template")->as_string();
    auto& chat_template = templates[name];
    if (chat_template == nullptr) chat_template = compiled(template_source(folder, name));
    ASSERT_NE(chat_template, nullptr) << name;
    const std::string& case_name = golden.find("case")->as_string();
    const auto result = chat_template->render(
        variables_of(cases[case_name], *golden.find("kwargs")), golden_clock());
    const std::string wrong = difference(golden, result);
    ++total;
    passed += wrong.empty();
    if (!wrong.empty() && ++failures[name] == 1)
      ADD_FAILURE() << name << ", " << case_name << ": " << wrong;
  }
  std::printf("chat template goldens: %d of %d pass\n", passed, total);
  RecordProperty("passed", passed);
  EXPECT_GE(passed, kGoldensThatPass);
}

// ---- Our own model's template

std::string render_tiny(const char* variables) {
  const std::string source =
      read_file(octavo::testing::source_dir() / "models/octavo-tiny/chat_template.jinja");
  const auto chat_template = compiled(source);
  if (chat_template == nullptr) return "";
  const auto result = chat_template->render(parsed(variables).as_dict(), 0);
  return result.ok() ? result.output : std::string(to_string(result.error)) + ": " + result.message;
}

TEST(TinyTemplate, WrapsTurnsAndAsksForTheNext) {
  EXPECT_EQ(
      render_tiny(
          R"({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
                            "tools": null, "add_generation_prompt": true})"),
      "<|im_start|>system\nBe "
      "kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(TinyTemplate, WritesToolCallsAndTheirResults) {
  EXPECT_EQ(render_tiny(R"({"messages": [
                {"role": "user", "content": "1+2?"},
                {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]},
                {"role": "tool", "content": "3"}, {"role": "tool", "content": "4"}],
                "tools": null, "add_generation_prompt": false})"),
            "<|im_start|>user\n1+2?<|im_end|>\n<|im_start|>assistant\n"
            "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": "
            "2}}\n</tool_call><|im_end|>\n"
            "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</"
            "tool_response><|im_end|>\n");
}

// ---- The environment

TEST(ChatTemplate, StrftimeNowReadsTheGivenClock) {
  const auto chat_template = compiled("{{ strftime_now('%d %b %Y %H:%M:%S.%f') }}");
  EXPECT_EQ(chat_template->render({}, golden_clock()).output, "26 Jul 2026 12:34:56.000000");
}

TEST(ChatTemplate, RendersTheSameFromManyThreadsAtOnce) {
  const auto chat_template =
      compiled("{% for x in range(100) %}{{ x }}{{ s | upper }}{% endfor %}");
  const std::string expected = chat_template->render({{"s", "a"}}, 0).output;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k)
        wrong += chat_template->render({{"s", "a"}}, 0).output != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ChatTemplate, InvalidUtf8OfAMessageBecomesReplacementCharacters) {
  const auto chat_template = compiled("{{ s }}{{ s | length }}");
  EXPECT_EQ(chat_template->render({{"s", std::string("a\xff")}}, 0).output,
            "a\xEF\xBF\xBD"
            "2");
  EXPECT_FALSE(ChatTemplate::parse("\xff").ok());
}

TEST(ChatTemplate, AVariableHidesTheGlobalOfItsName) {
  EXPECT_EQ(compiled("{{ range }}")->render({{"range", 5}}, 0).output, "5");
}

TEST(CopyReasoning, TakesTheFirstNameThatIsThere) {
  Value messages = parsed(
      R"([{"role": "assistant", "reasoning": "r"}, {"role": "assistant", "thinking": "t", "reasoning": "r"},
                              {"role": "assistant", "reasoning_content": "c", "thinking": "t"}, {"role": "user"}])");
  copy_reasoning(messages.as_list());
  EXPECT_EQ(to_json(messages),
            R"([{"role":"assistant","reasoning":"r","reasoning_content":"r","thinking":"r"},)"
            R"({"role":"assistant","thinking":"t","reasoning":"r","reasoning_content":"t"},)"
            R"({"role":"assistant","reasoning_content":"c","thinking":"t"},{"role":"user"}])");
}

TEST(ChatTemplate, AUsualPromptTakesLessThanAMillisecond) {
  const fs::path folder = shared_folder() / "data/chat_templates";
  if (!fs::exists(folder / "qwen3.jinja")) {
    GTEST_SKIP() << "ChatTemplate.AUsualPromptTakesLessThanAMillisecond needs "
                    "shared/data/chat_templates (OCTAVO_SHARED)";
  }
  const auto chat_template = compiled(read_file(folder / "qwen3.jinja"));
  Value::List messages;
  for (int i = 0; i < 20; ++i) {
    messages.push_back(Value::Dict{{"role", "user"}, {"content", std::string(500, 'q')}});
    messages.push_back(Value::Dict{
        {"role", "assistant"}, {"content", "<think>\nx\n</think>\n\n" + std::string(1000, 'a')}});
  }
  messages.push_back(Value::Dict{{"role", "user"}, {"content", "And now?"}});
  const Value::Dict variables{
      {"messages", messages}, {"tools", Value()}, {"add_generation_prompt", true}};
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const double before = thread_cpu_seconds();
    ASSERT_TRUE(chat_template->render(variables, 0).ok());
    best = std::min(best, thread_cpu_seconds() - before);
  }
  std::printf("a prompt of 41 messages: %.0f us\n", best * 1e6);
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(best, 1e-3);
#endif
}

}  // namespace
}  // namespace octavo::text
