// Reads a YAML file of flags with yaml-cpp, whose exceptions end here.
#include "cli/config_file.h"

#include <yaml-cpp/yaml.h>

#include "base/json_writer.h"
#include "base/status_macros.h"

namespace octavo::cli {
namespace {

std::string position(const YAML::Mark& mark) {
  return "line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1);
}

// A nested value as JSON text, scalars that YAML would read as numbers or booleans unquoted.
void append_json(JsonWriter& out, const YAML::Node& node) {
  if (node.IsMap()) {
    out.begin_object();
    for (const auto& entry : node) {
      out.key(entry.first.as<std::string>());
      append_json(out, entry.second);
    }
    out.end_object();
  } else if (node.IsSequence()) {
    out.begin_array();
    for (const auto& item : node) append_json(out, item);
    out.end_array();
  } else if (node.IsNull()) {
    out.null();
  } else if (const auto number = parse_number(node.Scalar()); node.Tag() == "?" && number.ok()) {
    out.raw(node.Scalar());
  } else if (bool value; node.Tag() == "?" && YAML::convert<bool>::decode(node, value)) {
    out.boolean(value);
  } else {
    out.string(node.Scalar());
  }
}

std::string scalar_or_json(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  JsonWriter out;
  append_json(out, node);
  return std::move(out).take();
}

void append_entry(Words& words, const std::string& key, const YAML::Node& value) {
  if (value.IsNull()) return;
  if (key == "model" && value.IsScalar()) {
    words.push_back(value.Scalar());
    return;
  }
  // An unquoted true or false is a switch; a quoted one is text.
  const std::string& text = value.IsScalar() ? value.Scalar() : key;
  const bool plain = value.IsScalar() && value.Tag() == "?";
  if (plain && (text == "true" || text == "True" || text == "TRUE")) {
    words.push_back("--" + key);
  } else if (plain && (text == "false" || text == "False" || text == "FALSE")) {
    words.push_back("--no-" + key);
  } else if (value.IsSequence()) {
    for (const auto& item : value) words.push_back("--" + key + "=" + scalar_or_json(item));
  } else {
    words.push_back("--" + key + "=" + scalar_or_json(value));
  }
}

}  // namespace

StatusOr<Words> read_config_file(const std::string& path) {
  Words words;
  try {
    const YAML::Node root = YAML::LoadFile(path);
    if (root.IsNull()) return words;
    if (!root.IsMap()) {
      return invalid_argument(path + ": expected flags as `name: value` lines, at " +
                              position(root.Mark()));
    }
    for (const auto& entry : root) {
      if (!entry.first.IsScalar()) {
        return invalid_argument(path + ": a flag's name must be a word, at " +
                                position(entry.first.Mark()));
      }
      append_entry(words, entry.first.Scalar(), entry.second);
    }
  } catch (const YAML::BadFile&) {
    return not_found("--config: cannot read " + path);
  } catch (const YAML::Exception& error) {
    return invalid_argument(path + ": " + error.msg + ", at " + position(error.mark));
  }
  return words;
}

}  // namespace octavo::cli
