#include "serve/openai/logprobs_json.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "base/json_writer.h"

namespace octavo::serve {

namespace {

void append_int(std::string& out, int64_t value) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
}

// Minus infinity (a token that was ruled out) has no JSON form: vLLM's floor stands for it.
void append_logprob(std::string& out, float value) {
  if (!(value > -9999.0f)) {
    out += "-9999.0";
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  const std::string_view text(buffer, end - buffer);
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

std::string token_name(const Logprob& token, const AnswerOptions& options) {
  return options.tokens_as_ids ? "token_id:" + std::to_string(token.token) : token.text;
}

int code_points(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// The chosen token and the likeliest ones as one JSON object by name, each name once.
void append_top_object(std::string& out, const TokenLogprobs& at, const AnswerOptions& options) {
  std::unordered_set<std::string> seen;
  out += '{';
  const auto append = [&](const Logprob& token) {
    std::string name = token_name(token, options);
    if (seen.contains(name)) return;
    if (!seen.empty()) out += ',';
    append_json_string(out, name);
    out += ':';
    append_logprob(out, token.logprob);
    seen.insert(std::move(name));
  };
  append(at.chosen);
  for (const Logprob& token : at.top) append(token);
  out += '}';
}

// The four lists of a completion's logprobs grow together.
struct CompletionLists {
  std::string offsets, logprobs, tokens, tops;

  void add(const std::string& name, int& offset, const TokenLogprobs* at,
           const AnswerOptions& options) {
    if (!tokens.empty()) {
      for (std::string* list : {&offsets, &logprobs, &tokens, &tops}) *list += ',';
    }
    append_int(offsets, offset);
    append_json_string(tokens, name);
    offset += code_points(name);
    if (at == nullptr) {
      logprobs += "null";
      tops += "null";
      return;
    }
    append_logprob(logprobs, at->chosen.logprob);
    append_top_object(tops, *at, options);
  }
};

// `bytes` are its text's where it was chosen, whatever it is named, and the name's elsewhere: as in
// vLLM.
void append_chat_token(std::string& out, const Logprob& token, const std::string& bytes,
                       const AnswerOptions& options) {
  out += "{\"token\":";
  append_json_string(out, token_name(token, options));
  out += ",\"logprob\":";
  append_logprob(out, token.logprob);
  out += ",\"bytes\":[";
  bool first = true;
  for (const char c : bytes) {
    if (!first) out += ',';
    append_int(out, static_cast<unsigned char>(c));
    first = false;
  }
  out += ']';
}

}  // namespace

void append_completion_logprobs(std::string& out, std::span<const TokenId> prompt_ids,
                                std::span<const std::optional<TokenLogprobs>> prompt,
                                std::span<const TokenLogprobs> output, const AnswerOptions& options,
                                const Text& text, int& text_offset) {
  if (!options.logprobs) {
    out += "null";
    return;
  }
  CompletionLists lists;
  for (size_t i = 0; i < prompt_ids.size(); ++i) {
    const TokenLogprobs* at = i < prompt.size() && prompt[i] ? &*prompt[i] : nullptr;
    const Logprob bare{.token = prompt_ids[i],
                       .text = at ? "" : text.decode({&prompt_ids[i], 1}, false)};
    lists.add(token_name(at ? at->chosen : bare, options), text_offset, at, options);
  }
  for (const TokenLogprobs& at : output) {
    lists.add(token_name(at.chosen, options), text_offset, &at, options);
  }
  out.append("{\"text_offset\":[").append(lists.offsets);
  out.append("],\"token_logprobs\":[").append(lists.logprobs);
  out.append("],\"tokens\":[").append(lists.tokens);
  out.append("],\"top_logprobs\":[").append(lists.tops).append("]}");
}

void append_logprob_list(std::string& out, std::span<const TokenLogprobs> output,
                         const AnswerOptions& options) {
  out += '[';
  for (const TokenLogprobs& at : output) {
    if (&at != output.data()) out += ',';
    append_chat_token(out, at.chosen, at.chosen.text, options);
    out += ",\"top_logprobs\":[";
    const int wanted = options.logprobs.value_or(0);
    const size_t shown = wanted < 0 ? at.top.size() : std::min<size_t>(wanted, at.top.size());
    for (size_t i = 0; i < shown; ++i) {
      if (i > 0) out += ',';
      append_chat_token(out, at.top[i], token_name(at.top[i], options), options);
      out += '}';
    }
    out += "]}";
  }
  out += ']';
}

void append_chat_logprobs(std::string& out, std::span<const TokenLogprobs> output,
                          const AnswerOptions& options) {
  if (!options.logprobs) {
    out += "null";
    return;
  }
  out += "{\"content\":";
  append_logprob_list(out, output, options);
  out += '}';
}

void append_prompt_logprobs(std::string& out, std::span<const std::optional<TokenLogprobs>> prompt,
                            bool wanted) {
  if (!wanted) {
    out += "null";
    return;
  }
  out += '[';
  for (const auto& at : prompt) {
    if (&at != prompt.data()) out += ',';
    if (!at) {
      out += "null";
      continue;
    }
    std::unordered_set<TokenId> seen;
    out += '{';
    const auto append = [&](const Logprob& token) {
      if (!seen.insert(token.token).second) return;
      if (seen.size() > 1) out += ',';
      out += '"';
      append_int(out, token.token);
      out += "\":{\"logprob\":";
      append_logprob(out, token.logprob);
      out += ",\"rank\":";
      append_int(out, token.rank);
      out += ",\"decoded_token\":";
      append_json_string(out, token.text);
      out += '}';
    };
    append(at->chosen);
    for (const Logprob& token : at->top) append(token);
    out += '}';
  }
  out += ']';
}

}  // namespace octavo::serve
