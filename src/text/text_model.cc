#include "text/text_model.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/clock.h"
#include "base/status_macros.h"
#include "text/template_file.h"

namespace octavo::text {
namespace {

// More would only cost time: each is looked up among the others.
constexpr size_t kMaxTemplateVariables = 1024;

namespace fs = std::filesystem;

StatusOr<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return not_found("cannot read " + path.string());
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The file's JSON; an empty object where there is none.
StatusOr<Value> read_settings(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return Value(Value::Dict{});
  ASSIGN_OR_RETURN(const std::string json, read_file(file));
  StatusOr<Value> parsed = parse_json(json);
  if (!parsed.ok()) return parsed.status().with_context(file.filename().string());
  return parsed;
}

// A special token stands as a string, or as a dict with its `content`.
const std::string* token_content(const Value& value) {
  if (value.is_string()) return &value.as_string();
  const Value* content = value.find("content");
  return content != nullptr && content->is_string() ? &content->as_string() : nullptr;
}

// What of `ranges` lies before `end`.
void cut(std::vector<TextRange>& ranges, size_t end) {
  while (!ranges.empty() && ranges.back().begin >= end) ranges.pop_back();
  if (!ranges.empty()) ranges.back().end = std::min(ranges.back().end, end);
}

// Lets a rendering end after the last message's text, so that the model goes on with it.
Status end_after(const Value& message, RenderResult& result) {
  const Value* content = message.find("content");
  std::string last = content == nullptr ? "" : content_text(*content);
  // Of several parts the template may have joined otherwise, the last one ends the message.
  if (content != nullptr && content->is_list() && !content->as_list().empty()) {
    last = content_text(Value::List{content->as_list().back()});
  }
  if (last.empty()) {
    return invalid_argument("continue_final_message needs a final message with text content")
        .with_param("messages");
  }
  size_t at = result.output.rfind(last);
  if (at == std::string::npos) {  // many templates trim
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
  cut(result.from_request, at + last.size());
  return ok_status();
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
  const TextJoin& text_join() const override { return join_; }

 private:
  int vocab_size_;
  TextJoin join_;
};

}  // namespace

std::unique_ptr<TextModel> TextModel::without_tokenizer(int vocab_size) {
  auto model = std::make_unique<TextModel>();
  model->tokenizer_ = std::make_unique<NoTokenizer>(vocab_size);
  return model;
}

StatusOr<std::unique_ptr<TextModel>> TextModel::load(const fs::path& tokenizer_path,
                                                     const std::string& chat_template,
                                                     bool trust_request,
                                                     const std::string& content_format) {
  auto model = std::make_unique<TextModel>();
  model->trust_request_ = trust_request;
  ASSIGN_OR_RETURN(model->tokenizer_, load_tokenizer(tokenizer_path));

  std::error_code ignored;
  const fs::path directory =
      fs::is_directory(tokenizer_path, ignored) ? tokenizer_path : tokenizer_path.parent_path();
  ASSIGN_OR_RETURN(const Value config, read_settings(directory / "tokenizer_config.json"));
  if (config.is_dict() && !config.as_dict().empty()) model->config_ = to_json(config);
  ASSIGN_OR_RETURN(const Value older, read_settings(directory / "special_tokens_map.json"));
  for (const char* name : {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token",
                           "cls_token", "mask_token"}) {
    const Value* entry = config.find(name) != nullptr ? config.find(name) : older.find(name);
    if (entry == nullptr) continue;
    if (const std::string* content = token_content(*entry))
      model->special_tokens_.emplace_back(name, *content);
  }

  ModelTemplates sources;
  if (chat_template.empty()) {
    ASSIGN_OR_RETURN(sources, read_model_templates(directory, config));
  } else if (chat_template.find_first_of("{}\n") != std::string::npos) {
    sources.usual =
        chat_template;  // as vLLM: Jinja's brackets or a line break mean the text itself
  } else {
    StatusOr<std::string> file = read_file(chat_template);
    if (!file.ok()) return file.status().with_context("--chat-template");
    sources.usual = *std::move(file);
  }
  // Calls are shown best by the template that is made for them.
  model->source_ = sources.tool_use.empty() ? sources.usual : sources.tool_use;
  const auto tried = [&](std::string& source) {
    return try_template(std::move(source), content_format, model->special_tokens_);
  };
  StatusOr<TriedTemplate> usual = tried(sources.usual), tool_use = tried(sources.tool_use);
  if (usual.ok() && tool_use.ok()) {
    model->template_ = std::make_shared<TriedTemplate>(*std::move(usual));
    model->tool_template_ = std::make_shared<TriedTemplate>(*std::move(tool_use));
    return model;
  }
  const Status error = usual.ok() ? tool_use.status() : usual.status();
  if (!chat_template.empty()) return Status(error).with_context("--chat-template");
  model->template_error_ = Status(error).with_context("the model's chat template cannot be used");
  return model;
}

StatusOr<std::shared_ptr<const TriedTemplate>> TextModel::template_for(
    const ChatPrompt& prompt) const {
  if (!prompt.chat_template.empty()) {
    return request_templates_.get(prompt.chat_template, special_tokens_);
  }
  const bool tools = prompt.tools && !prompt.tools->empty();
  return tools && tool_template_->parsed != nullptr ? tool_template_ : template_;
}

StatusOr<RenderedChat> TextModel::render_chat(const ChatPrompt& prompt) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const TriedTemplate> chat, template_for(prompt));
  if (chat->parsed == nullptr) {
    if (!template_error_.ok()) return template_error_;
    return invalid_argument(
        "this model has no chat template: give one with --chat-template, or use /v1/completions");
  }
  if (prompt.add_generation_prompt && prompt.continue_final_message) {
    return invalid_argument(
        "Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
  }

  if (prompt.template_kwargs.size() > kMaxTemplateVariables) {
    return invalid_argument("A chat takes at most " + std::to_string(kMaxTemplateVariables) +
                            " variables for its template.")
        .with_param("chat_template_kwargs");
  }
  Value globals = Value::Dict{};
  Value::List messages = prompt.messages;
  copy_reasoning(messages);
  apply_content_form(chat->content, messages);
  apply_call_form(chat->calls, messages);
  if (!chat->shows_developer) apply_system_role(messages);
  globals.set("messages", messages);
  globals.set("tools", prompt.tools ? Value(Value::List(*prompt.tools)) : Value());
  globals.set("documents", prompt.documents ? Value(Value::List(*prompt.documents)) : Value());
  globals.set("add_generation_prompt", prompt.add_generation_prompt);
  for (const auto& [name, value] : prompt.template_kwargs) globals.set(name, value);

  RenderResult result = chat->parsed->render(special_tokens_, globals.as_dict(), unix_seconds());
  if (!result.ok()) return invalid_argument(result.message).with_param("messages");
  RETURN_IF_ERROR(check_roles_shown(
      messages, prompt.chat_template.empty() ? source_ : prompt.chat_template, result.output));
  if (prompt.continue_final_message && !prompt.messages.empty()) {
    RETURN_IF_ERROR(end_after(prompt.messages.back(), result));
  }
  if (trust_request_) result.from_request.clear();
  return RenderedChat{std::move(result.output), std::move(result.from_request)};
}

}  // namespace octavo::text
