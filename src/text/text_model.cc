#include "text/text_model.h"

#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "base/status_macros.h"
#include "text/template_file.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

StatusOr<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return not_found("cannot read " + path.string());
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// A special token stands as a string, or as a dict with its `content`.
const std::string* token_content(const Value& value) {
  if (value.is_string()) return &value.as_string();
  const Value* content = value.find("content");
  return content != nullptr && content->is_string() ? &content->as_string() : nullptr;
}

// Stands in where a model directory holds no tokenizer.
class NoTokenizer : public Tokenizer {
 public:
  explicit NoTokenizer(int vocab_size) : vocab_size_(vocab_size) {}
  StatusOr<std::vector<TokenId>> encode(std::string_view, EncodeOptions) const override {
    return invalid_argument("this model has no tokenizer: send the prompt as token ids");
  }
  std::string decode(std::span<const TokenId>, bool) const override { return ""; }
  std::string_view token_bytes(TokenId) const override { return {}; }
  std::string token_string(TokenId) const override { return ""; }
  TokenId token_id(std::string_view) const override { return -1; }
  bool is_special(TokenId) const override { return false; }
  int vocab_size() const override { return vocab_size_; }
  const TextStart& text_start() const override { return start_; }

 private:
  int vocab_size_;
  TextStart start_;
};

}  // namespace

std::unique_ptr<TextModel> TextModel::without_tokenizer(int vocab_size) {
  auto model = std::make_unique<TextModel>();
  model->tokenizer_ = std::make_unique<NoTokenizer>(vocab_size);
  return model;
}

StatusOr<std::unique_ptr<TextModel>> TextModel::load(const fs::path& tokenizer_path,
                                                     const std::string& chat_template) {
  auto model = std::make_unique<TextModel>();
  ASSIGN_OR_RETURN(model->tokenizer_, load_tokenizer(tokenizer_path));

  std::error_code ignored;
  const fs::path directory =
      fs::is_directory(tokenizer_path, ignored) ? tokenizer_path : tokenizer_path.parent_path();
  Value config = Value::Dict{};
  if (fs::exists(directory / "tokenizer_config.json", ignored)) {
    ASSIGN_OR_RETURN(std::string json, read_file(directory / "tokenizer_config.json"));
    StatusOr<Value> parsed = parse_json(json);
    if (!parsed.ok()) return parsed.status().with_context("tokenizer_config.json");
    config = std::move(*parsed);
  }
  for (const char* name : {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token",
                           "cls_token", "mask_token"}) {
    const Value* entry = config.find(name);
    if (entry == nullptr) continue;
    if (const std::string* content = token_content(*entry))
      model->special_tokens_.emplace_back(name, *content);
  }

  std::string source;
  if (!chat_template.empty()) {
    // As vLLM: a name that exists is a file; anything with Jinja's brackets or a line break is the
    // template itself.
    if (chat_template.find_first_of("{}\n") == std::string::npos) {
      ASSIGN_OR_RETURN(source, read_file(chat_template));
    } else {
      source = chat_template;
    }
  } else if (fs::exists(directory / "chat_template.jinja", ignored)) {
    ASSIGN_OR_RETURN(source, read_file(directory / "chat_template.jinja"));
  } else {
    source = configured_template(config);
  }
  if (!source.empty()) {
    StatusOr<std::shared_ptr<const ChatTemplate>> parsed = ChatTemplate::parse(std::move(source));
    if (parsed.ok()) {
      model->template_ = std::move(*parsed);
    } else if (!chat_template.empty()) {
      return parsed.status().with_context("--chat-template");
    } else {
      model->template_error_ =
          parsed.status().with_context("the model's chat template cannot be used");
    }
  }
  return model;
}

StatusOr<std::string> TextModel::render_chat(const ChatPrompt& prompt) const {
  std::shared_ptr<const ChatTemplate> chat = template_;
  if (!prompt.chat_template.empty()) {
    ASSIGN_OR_RETURN(chat, ChatTemplate::parse(prompt.chat_template));
  }
  if (!chat) {
    if (!template_error_.ok()) return template_error_;
    return invalid_argument(
        "this model has no chat template: give one with --chat-template, or use /v1/completions");
  }
  if (prompt.add_generation_prompt && prompt.continue_final_message) {
    return invalid_argument(
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
  }

  Value::Dict variables = special_tokens_;
  Value globals = std::move(variables);
  Value::List messages = prompt.messages;
  copy_reasoning(messages);
  globals.set("messages", std::move(messages));
  globals.set("tools", prompt.tools ? Value(Value::List(*prompt.tools)) : Value());
  globals.set("documents", prompt.documents ? Value(Value::List(*prompt.documents)) : Value());
  globals.set("add_generation_prompt", prompt.add_generation_prompt);
  for (const auto& [name, value] : prompt.template_kwargs) globals.set(name, value);

  RenderResult result = chat->render(globals.as_dict(), unix_seconds());
  if (!result.ok()) return invalid_argument(result.message).with_param("messages");
  if (prompt.continue_final_message && !prompt.messages.empty()) {
    // The rendering ends after the last message's content, so that the model goes on with it.
    const Value* content = prompt.messages.back().find("content");
    if (content == nullptr || !content->is_string() || content->as_string().empty()) {
      return invalid_argument("continue_final_message needs a final message with text content")
          .with_param("messages");
    }
    std::string last = content->as_string();
    size_t at = result.output.rfind(last);
    if (at == std::string::npos) {
      const size_t end = last.find_last_not_of(" \t\r\n");
      last = end == std::string::npos ? last : last.substr(0, end + 1);
      at = result.output.rfind(last);
    }
    if (at == std::string::npos) {
      return invalid_argument(
                 "continue_final_message is set but the final message does not appear in the "
                 "rendered chat")
          .with_param("messages");
    }
    result.output.resize(at + last.size());
  }
  return std::move(result.output);
}

}  // namespace octavo::text
