// The chat templates of many models against what transformers made of them, our own model's template, and the
// bounds on templates that someone sends.
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "octavo/value.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

constexpr int kGoldensThatPass = 1248;  // of 1,248

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

fs::path shared_folder() {
  if (const char* set = std::getenv("OCTAVO_SHARED")) return set;
  return fs::path(OCTAVO_SOURCE_DIR) / ".." / "shared";
}

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
  if (name == "octavo-tiny") return read_file(shared_folder() / "models/octavo-tiny/chat_template.jinja");
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
    return result.ok() && result.output == output->as_string() ? "" : "expected\n" + output->as_string() + "\ngot\n" + got();
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
    GTEST_SKIP() << "ChatTemplateGoldens.RenderAsTransformersDoes needs shared/data/chat_templates (OCTAVO_SHARED)";
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
    const auto result = chat_template->render(variables_of(cases[case_name], *golden.find("kwargs")), golden_clock());
    const std::string wrong = difference(golden, result);
    ++total;
    passed += wrong.empty();
    if (!wrong.empty() && ++failures[name] == 1) ADD_FAILURE() << name << ", " << case_name << ": " << wrong;
  }
  std::printf("chat template goldens: %d of %d pass\n", passed, total);
  RecordProperty("passed", passed);
  EXPECT_GE(passed, kGoldensThatPass);
}

}  // namespace
}  // namespace octavo::text
