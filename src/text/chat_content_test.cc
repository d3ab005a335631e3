// In which form a template wants the content of messages, and which of a model's templates is
// meant.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "text/chat_content.h"
#include "text/template_file.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

ContentForm detected(const std::string& source) {
  const auto chat_template = ChatTemplate::parse(source);
  EXPECT_TRUE(chat_template.ok());
  return *content_form("auto", **chat_template, {});
}

TEST(ContentForm, IsTriedOutOnTheTemplate) {
  EXPECT_EQ(detected("{% for m in messages %}{{ m.content }}{% endfor %}"), ContentForm::kString);
  EXPECT_EQ(detected("{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}"),
            ContentForm::kString);
  EXPECT_EQ(detected("{% for m in messages %}{% for part in m.content %}{{ part.text }}"
                     "{% endfor %}{% endfor %}"),
            ContentForm::kParts);
  EXPECT_EQ(detected("{% macro show(c) %}{% if c is string %}{{ c }}{% else %}"
                     "{% for part in c %}{{ part.text }}{% endfor %}{% endif %}{% endmacro %}"
                     "{% for m in messages %}{{ show(m.content) }}{% endfor %}"),
            ContentForm::kEither);
  EXPECT_EQ(detected("{{ raise_exception('never') }}"), ContentForm::kString);
}

TEST(ContentForm, CanBeSaidByVllmsWords) {
  const auto any = ChatTemplate::parse("x");
  EXPECT_EQ(*content_form("string", **any, {}), ContentForm::kString);
  EXPECT_EQ(*content_form("openai", **any, {}), ContentForm::kParts);
  EXPECT_FALSE(content_form("list", **any, {}).ok());
}

TEST(ContentForm, IsAppliedToEveryMessage) {
  const Value::List given =
      parse_json(R"([{"role":"user","content":[{"type":"text","text":"a"},)"
                 R"({"type":"text","text":"b"}]},{"role":"user","content":"c"},)"
                 R"({"role":"assistant","content":""},{"role":"user"}])")
          ->as_list();
  Value::List strings = given;
  apply_content_form(ContentForm::kString, strings);
  EXPECT_EQ(to_json(strings), R"([{"role":"user","content":"a\nb"},{"role":"user","content":"c"},)"
                              R"({"role":"assistant","content":""},{"role":"user"}])");
  Value::List parts = given;
  apply_content_form(ContentForm::kParts, parts);
  EXPECT_EQ(to_json(parts[1]), R"({"role":"user","content":[{"type":"text","text":"c"}]})");
  EXPECT_EQ(parts[0], given[0]);
  EXPECT_EQ(parts[2], given[2]);
  Value::List either = given;
  apply_content_form(ContentForm::kEither, either);
  EXPECT_EQ(either, given);
}

TEST(CallForm, IsTriedOutOnTheTemplate) {
  const auto wants_text = [](const std::string& how) {
    const auto chat_template = ChatTemplate::parse(
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.name + '(' + " + how +
        " }}{% endfor %}{% endfor %}");
    return call_form(**chat_template, {}).arguments_as_text;
  };
  EXPECT_TRUE(wants_text("c.function.arguments"));
  EXPECT_FALSE(wants_text("c.function.arguments | tojson"));
  EXPECT_FALSE(wants_text("c.function.arguments.items() | list | tojson"));
}

TEST(CallForm, OfATemplateThatShowsCallsOnlyWithoutContentHasNone) {
  const auto chat_template = ChatTemplate::parse(
      "{% for m in messages %}{% if m.content is none %}{{ m.tool_calls[0].function.name }}"
      "{% endif %}{% endfor %}");
  EXPECT_TRUE(call_form(**chat_template, {}).null_content);
  Value::List messages =
      parse_json(R"([{"content":"","tool_calls":[]},{"content":""}])")->as_list();
  apply_call_form({.null_content = true}, messages);
  EXPECT_EQ(to_json(messages), R"([{"content":null,"tool_calls":[]},{"content":""}])");
}

TEST(DeveloperRole, IsShownAsItIsOrAsTheSystems) {
  const auto shown = [](const std::string& condition, const std::string& content = "m.content") {
    const auto chat_template =
        ChatTemplate::parse("{% for m in messages %}{% if " + condition + " %}{{ m.role }}: {{ " +
                            content + " }}{% endif %}{% endfor %}");
    const ContentForm form = *content_form("auto", **chat_template, {});
    return shows_developer(**chat_template, {}, form);
  };
  EXPECT_TRUE(shown("true"));
  EXPECT_TRUE(shown("true", "m.content[0].text"));
  EXPECT_FALSE(shown("m.role in ['system', 'user']"));
  EXPECT_FALSE(shown("m.role != 'developer' or raise_exception('no such role')"));
  Value::List messages =
      parse_json(R"([{"role":"developer","content":"a"},{"role":"user"}])")->as_list();
  apply_system_role(messages);
  EXPECT_EQ(to_json(messages), R"([{"role":"system","content":"a"},{"role":"user"}])");
}

TEST(Roles, ThatATemplateDoesNotNameMustBeShown) {
  const auto check = [](const char* messages, std::string_view source, std::string_view rendered) {
    return check_roles_shown(parse_json(messages)->as_list(), source, rendered);
  };
  constexpr const char* kCritic =
      R"([{"role":"critic","content":" No. "},{"role":"critic","content":"Yes"}])";
  EXPECT_TRUE(check(kCritic, "{{ m.role }}", "critic: No.\ncritic: Yes").ok());
  EXPECT_TRUE(check(kCritic, "{{ m.role }}", "Yes No.").ok());
  EXPECT_TRUE(check(kCritic, "m.role == 'critic'", "nothing").ok()) << "it knows what it does";
  EXPECT_TRUE(check(R"([{"role":"critic","content":""},{"role":"critic"}])", "", "").ok());
  const Status status = check(kCritic, "{{ m.role }}", "critic: No.");
  EXPECT_EQ(status.param(), "messages");
  EXPECT_NE(status.message().find("`critic`"), std::string::npos);
}

TEST(CallForm, IsAppliedToEveryCall) {
  const Value::List given =
      parse_json(R"([{"role":"user"},{"role":"assistant","tool_calls":[)"
                 R"({"function":{"name":"f","arguments":"{\"a\": 1}"}},)"
                 R"({"function":{"name":"g","arguments":{"b":2}}},)"
                 R"({"function":{"name":"h","arguments":"{"}},{"function":{"name":"i"}}]}])")
          ->as_list();
  Value::List dicts = given;
  apply_call_form({}, dicts);
  EXPECT_EQ(to_json(dicts[1]), R"({"role":"assistant","tool_calls":[)"
                               R"({"function":{"name":"f","arguments":{"a":1}}},)"
                               R"({"function":{"name":"g","arguments":{"b":2}}},)"
                               R"({"function":{"name":"h","arguments":"{"}},)"
                               R"({"function":{"name":"i"}}]})");
  Value::List texts = given;
  apply_call_form({.arguments_as_text = true}, texts);
  EXPECT_EQ(to_json(texts[1]), R"({"role":"assistant","tool_calls":[)"
                               R"({"function":{"name":"f","arguments":"{\"a\": 1}"}},)"
                               R"({"function":{"name":"g","arguments":"{\"b\":2}"}},)"
                               R"({"function":{"name":"h","arguments":"{"}},)"
                               R"({"function":{"name":"i"}}]})");
}

TEST(ModelTemplates, AreNamedInAListOfTokenizerConfig) {
  const Value config = *parse_json(
      R"({"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]})");
  const auto templates = read_model_templates("no such folder", config);
  ASSERT_TRUE(templates.ok());
  EXPECT_EQ(templates->usual, "D");
  EXPECT_EQ(templates->tool_use, "T");
  EXPECT_EQ(
      read_model_templates("no such folder", *parse_json(R"({"chat_template":"D"})"))->tool_use,
      "");
}

TEST(ModelTemplates, InFilesComeBeforeTokenizerConfig) {
  const fs::path folder = fs::path(testing::TempDir()) / "model_templates";
  fs::create_directories(folder / "additional_chat_templates");
  std::ofstream(folder / "chat_template.jinja") << "F";
  std::ofstream(folder / "additional_chat_templates" / "tool_use.jinja") << "FT";
  const auto templates = read_model_templates(folder, *parse_json(R"({"chat_template":"D"})"));
  ASSERT_TRUE(templates.ok());
  EXPECT_EQ(templates->usual, "F");
  EXPECT_EQ(templates->tool_use, "FT");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace octavo::text
