// What the models' own templates make of calls, read back: parse(render(calls)) = calls.
#include <gtest/gtest.h>

#include "text/chat_content.h"
#include "text/chat_template.h"
#include "text/parsers/testing_parse.h"
#include "text/template_file.h"

namespace octavo::text {
namespace {

// What the template writes for an assistant's message: after the prompt for it, or after `begin`.
std::string rendered_answer(const std::string& name, const Value& calls, const std::string& begin,
                            const std::string& end) {
  const auto source = read_chat_template(templates_folder() / name);
  EXPECT_TRUE(source.ok()) << name;
  const auto chat_template = ChatTemplate::parse(*source);
  EXPECT_TRUE(chat_template.ok()) << name;
  const Value user(Value::Dict{{"role", "user"}, {"content", "Go."}});
  const Value answer(Value::Dict{{"role", "assistant"}, {"content", ""}, {"tool_calls", calls}});
  const CallForm form = call_form(**chat_template, {});
  const auto render = [&](Value::List messages, bool prompt) {
    apply_call_form(form, messages);
    return (*chat_template)
        ->render({{"messages", Value(std::move(messages))},
                  {"tools", Value()},
                  {"add_generation_prompt", Value(prompt)},
                  {"bos_token", Value("<s>")},
                  {"eos_token", Value("</s>")}},
                 0);
  };
  const auto prompt = render({user}, true);
  const auto whole = render({user, answer}, false);
  EXPECT_TRUE(prompt.ok() && whole.ok()) << name << prompt.message << whole.message;
  size_t head = prompt.output.size();
  if (!begin.empty()) head = whole.output.rfind(begin) + begin.size();
  EXPECT_TRUE(!begin.empty() || whole.output.starts_with(prompt.output)) << whole.output;
  if (head > whole.output.size()) return "";
  std::string text = whole.output.substr(head);
  const size_t at = text.rfind(end);
  EXPECT_NE(at, std::string::npos) << text;
  return text.substr(0, at);
}

TEST(ToolParsers, UndoWhatTheModelsTemplatesWrite) {
  if (!std::filesystem::exists(templates_folder())) {
    GTEST_SKIP() << "ToolParsers.UndoWhatTheModelsTemplatesWrite needs shared/data/chat_templates "
                    "(OCTAVO_SHARED)";
  }
  struct Case {
    const char *file, *parser, *end;
    bool many = true;     // the template writes several calls
    bool strings = true;  // it quotes strings
    bool others = true;   // it writes other values as what they are
    const char* begin = "";
    const char* reasoning = "";
  };
  const std::vector<Case> cases = {
      {"tool_chat_template_hermes.jinja", "hermes", "<|im_end|>"},
      {"qwen3.jinja", "hermes", "<|im_end|>", true, true, true, "", "qwen3"},
      {"tool_chat_template_llama3.1_json.jinja", "llama3_json", "<|eot_id|>", false},
      {"tool_chat_template_llama3.2_json.jinja", "llama3_json", "<|eot_id|>", false},
      {"tool_chat_template_mistral.jinja", "mistral", "</s>"},
      {"tool_chat_template_mistral_parallel.jinja", "mistral", "</s>"},
      {"tool_chat_template_mistral3.jinja", "mistral", "</s>"},
      {"tool_chat_template_qwen3coder.jinja", "qwen3_coder", "<|im_end|>"},
      {"qwen35.jinja", "qwen3_coder", "<|im_end|>"},
      {"tool_chat_template_deepseekv31.jinja", "deepseek_v31", "<｜end▁of▁sentence｜>", true, true,
       true, "<｜Assistant｜></think>"},
      {"tool_chat_template_llama3.2_pythonic.jinja", "pythonic", "<|eot_id|>", true, false},
      {"qwen3_30b", "hermes", "<|im_end|>", true, true, true, "", "qwen3"},
      {"deepseek_v31", "deepseek_v31", "<｜end▁of▁sentence｜>", true, true, true,
       "<｜Assistant｜></think>"},
      {"deepseek_r1_qwen_14b", "deepseek_v3", "", false, true, true, "<｜Assistant｜>"},
      {"tool_chat_template_deepseekv3.jinja", "deepseek_v3", "<｜end▁of▁sentence｜>", true, true,
       true, "<｜Assistant｜>"},
      {"tool_chat_template_deepseekr1.jinja", "deepseek_v3", "<｜end▁of▁sentence｜>", true, true,
       true, "<｜Assistant｜>"},
      {"tool_chat_template_granite.jinja", "granite", "<|end_of_text|>"},
      {"tool_chat_template_llama4_pythonic.jinja", "llama4_pythonic", "<|eot|>", true, true, false},
  };
  const std::vector<std::string> any = {
      R"({"s": "Paris, \"FR\" 北京\n</x>"})", R"({"i": 7, "n": -2})", R"({})",
      R"({"s": "a", "o": {"k": [1, null, true]}})", R"({"i": 0})"};
  const std::vector<std::string> plain_strings = {R"({"s": "Paris"})", R"({"s": "a, [b] c"})",
                                                  R"({"s": "北京", "t": "[]"})", "{}"};
  const Value tools = sample_tools();
  for (const Case& c : cases) {
    const auto& arguments = c.others ? any : plain_strings;
    for (size_t first = 0; first < arguments.size(); ++first) {
      Value::List calls;
      std::vector<Value> expected;
      for (size_t i = 0; i < (c.many ? 1 + first % 3 : 1); ++i) {
        const std::string& json = arguments[(first + i) % arguments.size()];
        if (!c.strings && json.find('"' + std::string("s\"")) != std::string::npos) continue;
        const Value a = *parse_json(json);
        expected.push_back(a);
        calls.push_back(
            Value(Value::Dict{{"id", "abc123def"},
                              {"type", "function"},
                              {"function", Value(Value::Dict{{"name", "f"}, {"arguments", a}})}}));
      }
      if (calls.empty()) continue;
      SCOPED_TRACE(std::string(c.file) + ": " + to_json(Value(calls)));
      const std::string text = rendered_answer(c.file, Value(calls), c.begin, c.end);
      SCOPED_TRACE(text);
      const auto out = parse_every_way(
          {.reasoning_parser = c.reasoning, .tool_parser = c.parser, .tools = tools}, text);
      EXPECT_EQ(out.content, "");
      ASSERT_EQ(out.calls.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(out.calls[i].name, "f");
        EXPECT_EQ(*parse_json(out.calls[i].arguments), expected[i]);
      }
    }
  }
}
}  // namespace
}  // namespace octavo::text
