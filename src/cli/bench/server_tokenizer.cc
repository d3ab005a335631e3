// Calls of /tokenize, /detokenize and /v1/models.
#include "cli/bench/server_tokenizer.h"

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "octavo/value.h"

namespace octavo::bench {
namespace {

StatusOr<Value> parse_answer(const std::string& path, const StatusOr<HttpAnswer>& answer) {
  if (!answer.ok()) return answer.status();
  if (answer->status != 200) {
    return unavailable(path + " answered " + std::to_string(answer->status) + ": " +
                       answer->body.substr(0, 200));
  }
  auto value = parse_json(answer->body);
  if (!value.ok()) return value.status().with_context(path);
  return value;
}

}  // namespace

StatusOr<std::vector<TokenId>> ServerTokenizer::tokenize(const std::string& text,
                                                         bool add_special_tokens) {
  JsonWriter json;
  json.begin_object().key("model").string(model_).key("prompt").string(text).key("content").string(
      text);
  json.key("add_special_tokens")
      .boolean(add_special_tokens)
      .key("add_special")
      .boolean(add_special_tokens);
  json.end_object();
  ASSIGN_OR_RETURN(const Value answer,
                   parse_answer("/tokenize", caller_.call("/tokenize", json.text())));
  const Value* tokens = answer.find("tokens");
  if (tokens == nullptr || !tokens->is_list())
    return unavailable("/tokenize answered without tokens");
  std::vector<TokenId> ids;
  for (const Value& id : tokens->as_list()) {
    if (!id.is_int()) return unavailable("/tokenize answered something that is no token id");
    ids.push_back(static_cast<TokenId>(id.as_int()));
  }
  return ids;
}

StatusOr<std::string> ServerTokenizer::detokenize(const std::vector<TokenId>& ids) {
  JsonWriter json;
  json.begin_object().key("model").string(model_).key("tokens").begin_array();
  for (const TokenId id : ids) json.number(id);
  json.end_array().end_object();
  ASSIGN_OR_RETURN(const Value answer,
                   parse_answer("/detokenize", caller_.call("/detokenize", json.text())));
  const Value* text = answer.find("prompt");
  if (text == nullptr) text = answer.find("content");
  if (text == nullptr || !text->is_string())
    return unavailable("/detokenize answered without a text");
  return text->as_string();
}

StatusOr<int> ServerTokenizer::special_tokens() {
  ASSIGN_OR_RETURN(const auto with, tokenize("a", true));
  ASSIGN_OR_RETURN(const auto without, tokenize("a", false));
  return static_cast<int>(with.size()) - static_cast<int>(without.size());
}

StatusOr<int> ServerTokenizer::vocab_size() {
  RETURN_IF_ERROR(detokenize({0}).status());
  const auto known = [this](int id) {
    const auto text = detokenize({id});
    return text.ok() && !text->empty();
  };
  int high = 256;
  while (high < 1 << 24 && known(high)) high *= 2;
  int low = high / 2;  // the answer lies in (low, high]
  while (low + 1 < high) {
    const int middle = low + (high - low) / 2;
    (known(middle) ? low : high) = middle;
  }
  return high;
}

Status realign_prompts(ServerTokenizer& tokenizer, int vocab_size, uint64_t seed,
                       std::vector<Prompt>& prompts,
                       const std::function<void(size_t done)>& on_progress) {
  constexpr int kRounds = 10;
  Random random(seed + 1);
  for (size_t i = 0; i < prompts.size(); ++i) {
    Prompt& p = prompts[i];
    const auto wanted = static_cast<size_t>(p.input_len);
    for (int round = 0; round < kRounds; ++round) {
      ASSIGN_OR_RETURN(p.text, tokenizer.detokenize(p.ids));
      ASSIGN_OR_RETURN(p.ids, tokenizer.tokenize(p.text, false));
      p.input_len = static_cast<int>(p.ids.size());
      if (p.ids.size() == wanted) break;
      if (p.ids.size() > wanted) p.ids.resize(wanted);
      while (p.ids.size() < wanted)
        p.ids.push_back(static_cast<TokenId>(random.integer(0, vocab_size - 1)));
    }
    if (on_progress) on_progress(i + 1);
  }
  return {};
}

StatusOr<std::string> first_model(const Endpoint& endpoint) {
  HttpCaller caller(endpoint);
  ASSIGN_OR_RETURN(const Value answer, parse_answer("/v1/models", caller.call("/v1/models")));
  const Value* list = answer.find("data");
  if (list == nullptr || !list->is_list() || list->as_list().empty()) {
    return unavailable("/v1/models names no model");
  }
  const Value* id = list->as_list()[0].find("id");
  if (id == nullptr || !id->is_string()) return unavailable("/v1/models names no model");
  return id->as_string();
}

}  // namespace octavo::bench
