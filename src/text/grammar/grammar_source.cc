#include "text/grammar/grammar_source.h"

#include <cstdio>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "octavo/value.h"
#include "text/grammar/json_schema.h"

namespace octavo::text {
namespace {

using Kind = StructuredOutput::Kind;
using Form = GrammarSource::Form;

constexpr int kMaxNesting = 256;
constexpr int kMaxJsonNesting = 64;

// Brackets of every kind; those within literals count too, and need not be balanced there.
Status check_nesting(std::string_view text) {
  int depth = 0, deepest = 0;
  for (const char c : text) {
    if (c == '(' || c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ')' || c == ']' || c == '}') --depth;
  }
  if (deepest <= kMaxNesting) return ok_status();
  return invalid_argument("brackets are nested deeper than " + std::to_string(kMaxNesting));
}

std::string hex_escape(const char* format, char32_t code_point) {
  char text[16];
  snprintf(text, sizeof text, format, static_cast<unsigned>(code_point));
  return text;
}

std::string ebnf_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += hex_escape("\\x%02x", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

StatusOr<std::string> choice_grammar(const std::string& json) {
  ASSIGN_OR_RETURN(const Value choices, parse_json(json, kMaxJsonNesting));
  if (!choices.is_list() || choices.as_list().empty())
    return invalid_argument("it must be a list of at least one string");
  std::string out = "root ::= ";
  for (const Value& choice : choices.as_list()) {
    if (!choice.is_string()) return invalid_argument("it must be a list of strings");
    if (choice.as_string().empty()) return invalid_argument("a choice must not be empty");
    if (out.back() == '"') out += " | ";
    out += ebnf_literal(choice.as_string());
  }
  return out + "\n";
}

// The older form of vLLM and OpenAI's first proposal: schemas that begin with a trigger.
StatusOr<Value> modern_tag(const Value& tag) {
  const Value* structures = tag.find("structures");
  if (structures == nullptr) return tag;
  const Value* triggers = tag.find("triggers");
  if (!structures->is_list() || triggers == nullptr || !triggers->is_list())
    return invalid_argument("`structures` and `triggers` must be lists");
  Value::List tags;
  for (const Value& structure : structures->as_list()) {
    const Value* begin = structure.find("begin");
    const Value* end = structure.find("end");
    const Value* schema = structure.find("schema");
    if (begin == nullptr || end == nullptr)
      return invalid_argument("every structure needs `begin` and `end`");
    const Value content = Value::Dict{{"type", "json_schema"},
                                      {"json_schema", schema != nullptr ? *schema : Value(true)}};
    tags.push_back(Value::Dict{{"begin", *begin}, {"content", content}, {"end", *end}});
  }
  const Value format =
      Value::Dict{{"type", "triggered_tags"}, {"triggers", *triggers}, {"tags", std::move(tags)}};
  return Value(Value::Dict{{"type", "structural_tag"}, {"format", format}});
}

// Prepares the schemas, patterns and grammars that stand within a structural tag.
Status prepare_tag(Value& value) {
  if (value.is_list()) {
    for (Value& item : value.as_list()) RETURN_IF_ERROR(prepare_tag(item));
  }
  if (!value.is_dict()) return ok_status();
  const Value* type = value.find("type");
  const std::string kind = type != nullptr && type->is_string() ? type->as_string() : "";
  for (auto& [key, member] : value.as_dict()) {
    if (key == "json_schema") {
      RETURN_IF_ERROR(prepare_json_schema(member));
    } else if (kind == "regex" && key == "pattern" && member.is_string()) {
      ASSIGN_OR_RETURN(member, prepare_regex(member.as_string()));
    } else if (kind == "grammar" && key == "grammar" && member.is_string()) {
      RETURN_IF_ERROR(check_nesting(member.as_string()));
    } else {
      RETURN_IF_ERROR(prepare_tag(member));
    }
  }
  return ok_status();
}

StatusOr<std::string> tag_source(const std::string& json) {
  ASSIGN_OR_RETURN(const Value given, parse_json(json, kMaxJsonNesting));
  if (!given.is_dict()) return invalid_argument("it must be a JSON object");
  ASSIGN_OR_RETURN(Value tag, modern_tag(given));
  RETURN_IF_ERROR(prepare_tag(tag));
  return to_json(tag);
}

StatusOr<std::string> schema_source(const std::string& json) {
  ASSIGN_OR_RETURN(Value schema, parse_json(json, kMaxJsonNesting));
  RETURN_IF_ERROR(prepare_json_schema(schema));
  return to_json(schema);
}

}  // namespace

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::kJsonSchema:
      return "json";
    case Kind::kJsonObject:
      return "json_object";
    case Kind::kRegex:
      return "regex";
    case Kind::kChoice:
      return "choice";
    case Kind::kGrammar:
      return "grammar";
    case Kind::kStructuralTag:
      return "structural_tag";
  }
  return "structured output";
}

StatusOr<std::string> prepare_regex(std::string_view pattern) {
  RETURN_IF_ERROR(check_nesting(pattern));
  std::string out;
  bool in_class = false;
  for (size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    if (c == 0) return invalid_argument("a pattern must not contain NUL");
    const Decoded next = decode_utf8(pattern, at);
    if (!next.valid) return invalid_argument("a pattern must be valid UTF-8");
    if (c == '\\' && at + 1 < pattern.size()) {
      const auto escaped = static_cast<unsigned char>(pattern[at + 1]);
      ++at;
      if (escaped < 0x20 || escaped >= 0x7f) continue;  // the backslash means nothing
      out += {'\\', static_cast<char>(escaped)};
      ++at;
      continue;
    }
    if (!in_class && pattern.substr(at, 2) == "(?") {
      const std::string_view group = pattern.substr(at + 2, 2);
      if (group.starts_with('=') || group.starts_with('!') || group == "<=" || group == "<!")
        return invalid_argument("look-around ('(?" + std::string(group) +
                                "…') in a pattern is not supported: " + std::string(pattern));
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    if (next.code_point < 0x20 || next.code_point >= 0x7f) {
      out += hex_escape("\\u{%x}", next.code_point);
    } else {
      out += c;
    }
    at += static_cast<size_t>(next.length);
  }
  return out;
}

StatusOr<GrammarSource> prepare_grammar(const StructuredOutput& output) {
  GrammarSource source{.disable_any_whitespace = output.disable_any_whitespace};
  switch (output.kind) {
    case Kind::kJsonSchema: {
      source.form = Form::kJsonSchema;
      ASSIGN_OR_RETURN(source.text, schema_source(output.text));
      break;
    }
    case Kind::kJsonObject: {
      source.form = Form::kJsonSchema;
      source.text = R"({"type":"object"})";
      break;
    }
    case Kind::kRegex: {
      if (output.text.empty()) return invalid_argument("a pattern must not be empty");
      source.form = Form::kRegex;
      ASSIGN_OR_RETURN(source.text, prepare_regex(output.text));
      break;
    }
    case Kind::kChoice: {
      ASSIGN_OR_RETURN(source.text, choice_grammar(output.text));
      break;
    }
    case Kind::kGrammar: {
      if (output.text.empty()) return invalid_argument("a grammar must not be empty");
      if (!valid_utf8(output.text)) return invalid_argument("a grammar must be valid UTF-8");
      if (output.text.find('\0') != std::string::npos)
        return invalid_argument("a grammar must not contain NUL");
      RETURN_IF_ERROR(check_nesting(output.text));
      source.text = output.text;
      break;
    }
    case Kind::kStructuralTag: {
      source.form = Form::kStructuralTag;
      ASSIGN_OR_RETURN(source.text, tag_source(output.text));
      break;
    }
  }
  return source;
}

}  // namespace octavo::text
