// TextModel: the public Text of a model directory: tokenizer, chat template and the special tokens
// that the template sees as variables. Nobody sees it change after load; any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "octavo/text.h"
#include "text/tokenizer.h"
#include "text/tried_template.h"

namespace octavo::text {

class TextModel : public Text {
 public:
  // `tokenizer_path`: as load_tokenizer takes it; the chat template is looked for beside it,
  // unless `chat_template` names a file or holds template text.
  // `trust_request`: ModelOptions::trust_request_special_tokens; `content_format`: likewise.
  static StatusOr<std::unique_ptr<TextModel>> load(const std::filesystem::path& tokenizer_path,
                                                   const std::string& chat_template,
                                                   bool trust_request = false,
                                                   const std::string& content_format = "auto");

  // For a model directory without a tokenizer: ids in, ids out; every use of text is an error that
  // says so.
  static std::unique_ptr<TextModel> without_tokenizer(int vocab_size);

  StatusOr<std::vector<TokenId>> encode(std::string_view text,
                                        EncodeOptions options) const override {
    return tokenizer_->encode(text, options);
  }
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    return tokenizer_->decode(ids, skip_special_tokens);
  }
  std::string token_string(TokenId id) const override { return tokenizer_->token_string(id); }
  bool is_special(TokenId id) const override { return tokenizer_->is_special(id); }
  int vocab_size() const override { return tokenizer_->vocab_size(); }
  bool has_chat_template() const override {
    return template_->parsed != nullptr || !template_error_.ok();
  }
  std::string_view chat_template() const override { return source_; }
  std::string_view tokenizer_config() const override { return config_; }
  StatusOr<RenderedChat> render_chat(const ChatPrompt& prompt) const override;

  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
  // The request's own, or one of the model's.
  StatusOr<std::shared_ptr<const TriedTemplate>> template_for(const ChatPrompt& prompt) const;

  // Never null.
  std::shared_ptr<const TriedTemplate> template_ = std::make_shared<TriedTemplate>();
  // Of models that have one of its own for conversations with tools.
  std::shared_ptr<const TriedTemplate> tool_template_ = std::make_shared<TriedTemplate>();
  mutable TriedTemplateCache request_templates_;
  std::string source_;          // of the template
  std::string config_;          // tokenizer_config.json
  Status template_error_;       // the model's template does not parse: told to those who chat
  Value::Dict special_tokens_;  // bos_token, eos_token, …
  bool trust_request_ = false;
};

}  // namespace octavo::text
