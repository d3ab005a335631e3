#include "serve/openai/structured_output_fields.h"

#include <algorithm>

#include "octavo/value.h"
#include "serve/errors.h"

namespace octavo::serve {
namespace {

using Kind = StructuredOutput::Kind;

// JSON given as an object, or as text that holds one.
std::string json_text(const Value& value) {
  return value.is_string() ? value.as_string() : to_json(value);
}

// vLLM dropped these names for the members of structured_outputs.
void refuse_old_names(JsonFields& fields) {
  constexpr std::string_view kOldNames[][2] = {{"guided_json", "json"},
                                               {"guided_regex", "regex"},
                                               {"guided_choice", "choice"},
                                               {"guided_grammar", "grammar"},
                                               {"structural_tag", "structural_tag"},
                                               {"guided_whitespace_pattern", "whitespace_pattern"}};
  for (const auto& [old_name, name] : kOldNames) {
    if (!fields.has(old_name)) continue;
    fields.fail(field_error(old_name, "`" + std::string(old_name) +
                                          "` is not supported: use `structured_outputs`: {\"" +
                                          std::string(name) + "\": …}."));
  }
  for (const char* name : {"guided_decoding_backend", "guided_json_object"}) {
    if (fields.has(name))
      fields.fail(field_error(
          name, "`" + std::string(name) + "` is not supported: use `structured_outputs`."));
  }
}

// Null: none is given. llama-server takes one beside the type json_object, too, where an empty one
// means any object.
const Value* schema_of(const Value& format, bool object) {
  const Value* wrapper = object ? &format : format.find("json_schema");
  const Value* schema = wrapper != nullptr ? wrapper->find("schema") : nullptr;
  const bool none = schema == nullptr || schema->is_null() ||
                    (object && schema->is_dict() && schema->as_dict().empty());
  return none ? nullptr : schema;
}

void read_response_format(JsonFields& fields, SamplingParams& sampling) {
  if (fields.dict("response_format") == nullptr) return;
  const Value& format = *fields.get("response_format");
  const Value* type = format.find("type");
  if (type == nullptr || !type->is_string())
    return fields.fail(shape_error("response_format.type", "Field required"));
  const std::string& kind = type->as_string();
  if (kind == "text") return;
  StructuredOutput output{.field = "response_format"};
  if (kind == "json_object" || kind == "json_schema") {
    const bool object = kind == "json_object";
    const Value* schema = schema_of(format, object);
    const std::string field =
        object ? "response_format.schema" : "response_format.json_schema.schema";
    if (schema == nullptr && !object) return fields.fail(shape_error(field, "Field required"));
    if (schema != nullptr && !schema->is_dict() && !schema->is_bool())
      return fields.fail(shape_error(field, "Input should be a valid dictionary"));
    output.kind = schema != nullptr ? Kind::kJsonSchema : Kind::kJsonObject;
    if (schema != nullptr) output.text = to_json(*schema);
  } else if (kind == "structural_tag") {
    output.kind = Kind::kStructuralTag;
    output.text = to_json(format);
  } else {
    return fields.fail(field_error("response_format",
                                   "`response_format` of type `" + kind + "` is not supported."));
  }
  sampling.structured_output = std::move(output);
}

// One member of structured_outputs as the text of its kind; empty: none of this name is given.
std::string read_kind(JsonFields& options, const char* name, Kind kind) {
  const Value* value = options.get(name);
  if (value == nullptr) return {};
  const std::string field = std::string("structured_outputs.") + name;
  const bool json = kind == Kind::kJsonSchema || kind == Kind::kStructuralTag;
  if (kind == Kind::kJsonObject) {
    if (value->is_bool() && value->as_bool()) return "true";
    options.fail(field_error(field, "structured_outputs.json_object must be true or left out."));
  } else if (kind == Kind::kChoice) {
    const bool strings =
        value->is_list() && std::all_of(value->as_list().begin(), value->as_list().end(),
                                        [](const Value& v) { return v.is_string(); });
    if (strings && !value->as_list().empty()) return to_json(*value);
    options.fail(
        field_error(field, "structured_outputs.choice must be a list of at least one string."));
  } else if (json && (value->is_dict() || value->is_bool())) {
    return to_json(*value);
  } else if (!value->is_string()) {
    options.fail(shape_error(field, "Input should be a valid string"));
  } else if (value->as_string().empty()) {
    options.fail(field_error(field, field + " must not be empty."));
  } else {
    return json_text(*value);
  }
  return {};
}

void read_structured_outputs(JsonFields& fields, SamplingParams& sampling) {
  if (fields.dict("structured_outputs") == nullptr) return;
  JsonFields options(*fields.get("structured_outputs"), "structured_outputs.");
  constexpr std::pair<const char*, Kind> kKinds[] = {
      {"json", Kind::kJsonSchema},        {"regex", Kind::kRegex},
      {"choice", Kind::kChoice},          {"grammar", Kind::kGrammar},
      {"json_object", Kind::kJsonObject}, {"structural_tag", Kind::kStructuralTag}};
  StructuredOutput output{.field = "structured_outputs"};
  std::string given;
  for (const auto& [name, kind] : kKinds) {
    std::string text = read_kind(options, name, kind);
    if (text.empty()) continue;
    given += (given.empty() ? "" : ", ") + std::string(name);
    output.kind = kind;
    output.text = kind == Kind::kJsonObject ? "" : std::move(text);
  }
  options.read("disable_any_whitespace", output.disable_any_whitespace);
  bool closed = true;  // objects are, unless the schema says otherwise
  options.read("disable_additional_properties", closed);
  if (options.has("whitespace_pattern")) {
    options.fail(field_error("structured_outputs.whitespace_pattern",
                             "structured_outputs.whitespace_pattern is not supported: use "
                             "disable_any_whitespace."));
  }
  fields.fail(options.status());
  if (given.empty() || given.find(',') != std::string::npos) {
    return fields.fail(field_error(
        "structured_outputs",
        given.empty() ? "You must use one kind of structured outputs constraint but none are "
                        "specified."
                      : "You can only use one kind of structured outputs constraint but multiple "
                        "are specified: " +
                            given + "."));
  }
  if (sampling.structured_output) {
    return fields.fail(field_error("structured_outputs",
                                   "`structured_outputs` cannot be combined with `response_format` "
                                   "of type other than text."));
  }
  sampling.structured_output = std::move(output);
}

}  // namespace

void read_structured_output(JsonFields& fields, SamplingParams& sampling) {
  refuse_old_names(fields);
  read_response_format(fields, sampling);
  read_structured_outputs(fields, sampling);
}

}  // namespace octavo::serve
