// octavo tokenize: texts to token ids and back, to compare a tokenizer with the one it was made
// after.
#include <memory>

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "cli/commands/commands.h"
#include "cli/commands/jsonl.h"
#include "text/tokenizer.h"

namespace octavo::cli {
namespace {

void write_ids(JsonWriter& json, const char* name, const std::vector<TokenId>& ids) {
  json.key(name).begin_array();
  for (const TokenId id : ids) json.number(id);
  json.end_array();
}

StatusOr<std::string> tokenize(const text::Tokenizer& tokenizer, const Value& object) {
  const Value* text = object.find("text");
  if (text == nullptr) return invalid_argument("`text` is missing");
  if (!text->is_string())
    return invalid_argument("`text` must be a string, not " + std::string(text->type_name()));
  const auto encode = [&](bool add_special, bool parse_special) {
    return tokenizer.encode(text->as_string(), {add_special, parse_special});
  };
  ASSIGN_OR_RETURN(const std::vector<TokenId> ids, encode(true, true));
  ASSIGN_OR_RETURN(const std::vector<TokenId> no_special, encode(false, true));
  ASSIGN_OR_RETURN(const std::vector<TokenId> plain, encode(false, false));
  JsonWriter json;
  json.begin_object();
  write_ids(json, "ids", ids);
  write_ids(json, "ids_no_special", no_special);
  write_ids(json, "ids_plain", plain);
  json.key("decoded").string(tokenizer.decode(ids, false));
  json.key("decoded_skip_special").string(tokenizer.decode(ids, true));
  json.end_object();
  return std::move(json).take();
}

}  // namespace

int tokenize_command(const Words& args) {
  FlagSet flags(
      "octavo tokenize --tokenizer DIR_OR_FILE --input FILE --output FILE",
      "Encodes the `text` of each line, and decodes what came out. Each line of the output\n"
      "holds `ids`; `ids_no_special`, without the tokens that the tokenizer adds by itself;\n"
      "`ids_plain`, the same with special tokens in the text taken as plain text; and the\n"
      "texts `decoded` and `decoded_skip_special`, both from `ids`.");
  std::string path;
  JsonlFiles files;
  flags.text("tokenizer", &path, "DIR_OR_FILE", "A model's folder, or its tokenizer's file.");
  files.declare(flags);
  if (const auto code = parse_or_exit(flags, args, "tokenize")) return *code;
  const Status complete = require_flags(flags, {"tokenizer", "input", "output"});
  if (!complete.ok()) return report(complete, kUsage);

  const auto tokenizer = text::load_tokenizer(path);
  if (!tokenizer.ok()) return report(tokenizer.status());
  const Status done =
      convert_jsonl(files, [&](const Value& object) { return tokenize(**tokenizer, object); });
  return done.ok() ? 0 : report(done);
}

}  // namespace octavo::cli
