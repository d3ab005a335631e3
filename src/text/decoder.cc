// Steps that a chain may hold, in the orders that files use: ByteLevel alone; Metaspace; WordPiece,
// BPEDecoder, CTC or SentencePiece's own alone; or Replace, ByteFallback, Fuse, Strip. A Strip
// before Fuse works on every token, behind it on the front of the text.
#include "text/decoder.h"

#include <algorithm>

#include "base/utf8.h"

namespace octavo::text {
namespace {

constexpr std::string_view kReplacementChar = "\xEF\xBF\xBD";
constexpr std::string_view kMark = "\xE2\x96\x81";

// The byte that "<0xE4>" stands for, or -1.
int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  const int high = digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void append_token_bytes(std::string_view token, std::string& out) {
  if (!alphabet_to_bytes(token, out)) out.append(token);
}

using Tokens = std::vector<std::string>;

void run(const ByteLevelDecode&, Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) append_token_bytes(token, bytes);
  tokens.assign(1, replace_invalid_utf8(bytes));
}

void run(const ByteFallbackDecode&, Tokens& tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (valid_utf8(bytes)) {
      if (!bytes.empty()) out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), std::string(kReplacementChar));
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const int byte = fallback_byte(token); byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

void run(const FuseDecode&, Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, std::move(all));
}

std::string strip(const StripDecode& step, std::string_view text) {
  for (int i = 0; i < step.start && text.starts_with(step.content); ++i)
    text.remove_prefix(step.content.size());
  for (int i = 0; i < step.stop && text.ends_with(step.content); ++i)
    text.remove_suffix(step.content.size());
  return std::string(text);
}

void run(const StripDecode& step, Tokens& tokens) {
  for (std::string& token : tokens) token = strip(step, token);
}

std::string replaced(const ReplaceStep& step, std::string_view token) {
  auto result = replace_all(step, token);
  return result.ok() ? std::move(result).value() : std::string(token);
}

void run(const ReplaceStep& step, Tokens& tokens) {
  for (std::string& token : tokens) token = replaced(step, token);
}

std::string metaspace(const MetaspaceDecode& step, std::string_view token, bool drop) {
  ReplaceStep to_space;
  to_space.pattern.literal = step.replacement;
  to_space.content = drop ? "" : " ";
  return replaced(to_space, token);
}

void run(const MetaspaceDecode& step, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = metaspace(step, tokens[i], i == 0 && step.drop_first);
}

// "  ." to " ." and the like, as Transformers tidies English.
void clean_up(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kCleanups[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kCleanups) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
      text.replace(at, from.size(), to);
  }
}

std::string word_piece(const WordPieceDecode& step, std::string_view token, bool first) {
  std::string text(token);
  if (!first && step.prefix && token.starts_with(*step.prefix)) {
    text.erase(0, step.prefix->size());
  } else if (!first) {
    text.insert(text.begin(), ' ');
  }
  if (step.cleanup) clean_up(text);
  return text;
}

void run(const WordPieceDecode& step, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = word_piece(step, tokens[i], i == 0);
}

std::string with(std::string_view token, std::string_view from, std::string_view to) {
  ReplaceStep step;
  step.pattern.literal = from;
  step.content = to;
  return replaced(step, token);
}

std::string bpe(const BpeDecode& step, std::string_view token, bool last) {
  return with(token, step.suffix, last ? "" : " ");
}

void run(const BpeDecode& step, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = bpe(step, tokens[i], i + 1 == tokens.size());
}

std::string ctc(const CtcDecode& step, std::string_view token) {
  std::string text = with(token, step.pad, "");
  if (!step.cleanup) return text;
  clean_up(text);
  return with(text, step.delimiter, " ");
}

void run(const CtcDecode& step, Tokens& tokens) {
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  for (std::string& token : tokens) token = ctc(step, token);
}

int byte_of(const SentencePieceDecode& step, std::string_view token) {
  return step.bytes && token.find_first_of("abcdef") == std::string_view::npos
             ? fallback_byte(token)
             : -1;
}

std::string sentence_piece(const SentencePieceDecode& step, std::string_view token) {
  if (!step.unk_piece.empty() && token == step.unk_piece) return step.unk_surface;
  return with(token, kMark, " ");
}

void run(const SentencePieceDecode& step, Tokens& tokens) {
  std::string out, bytes;
  const auto flush = [&] {
    for (size_t i = 0; i < bytes.size();) {
      const Decoded d = decode_utf8(bytes, i);
      const std::string_view part = std::string_view(bytes).substr(i, d.length);
      for (int n = 0; n < (d.valid ? 1 : d.length); ++n) out += d.valid ? part : kReplacementChar;
      i += d.length;
    }
    bytes.clear();
  };
  bool at_front = step.strips_front;
  for (const std::string& token : tokens) {
    if (const int byte = byte_of(step, token); byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    at_front &= out.empty();
    std::string_view rest = token;
    if (at_front && rest.starts_with(kMark)) {
      rest.remove_prefix(kMark.size());
      at_front = step.strips_each;
    }
    out += sentence_piece(step, rest);
  }
  flush();
  tokens.assign(1, std::move(out));
}

bool stands_alone(const DecoderStep& step) {
  return std::holds_alternative<WordPieceDecode>(step) || std::holds_alternative<BpeDecode>(step) ||
         std::holds_alternative<CtcDecode>(step) ||
         std::holds_alternative<SentencePieceDecode>(step);
}

TextJoin join_of(const DecoderStep& step) {
  TextJoin join;
  if (std::holds_alternative<WordPieceDecode>(step)) join.first_token_alone = true;
  if (std::holds_alternative<BpeDecode>(step)) join.last_token_alone = true;
  if (std::holds_alternative<CtcDecode>(step)) join.repeats_vanish = true;
  if (const auto* s = std::get_if<SentencePieceDecode>(&step)) {
    join.first_token_alone = s->strips_front;
    join.first_has_text = s->strips_each;
    join.each_invalid_byte = true;
  }
  return join;
}

}  // namespace

StatusOr<Decoder> Decoder::make(std::vector<DecoderStep> steps) {
  Decoder decoder;
  bool fused = false, bytes = false;
  for (const DecoderStep& step : steps) {
    if (fused && !std::holds_alternative<StripDecode>(step) &&
        !std::holds_alternative<FuseDecode>(step)) {
      return unimplemented("decoder: a step other than Strip behind Fuse or ByteLevel");
    }
    if (std::holds_alternative<ByteLevelDecode>(step)) decoder.byte_level_ = bytes = fused = true;
    if (std::holds_alternative<ByteFallbackDecode>(step)) bytes = true;
    if (std::holds_alternative<FuseDecode>(step)) fused = true;
    if (stands_alone(step)) {
      if (steps.size() > 1)
        return unimplemented("decoder: WordPiece, BPEDecoder or CTC with other steps");
      decoder.join_ = join_of(step);
    }
    if (const auto* metaspace = std::get_if<MetaspaceDecode>(&step)) {
      decoder.join_.drop_spaces_of_first_token = metaspace->drop_first;
    }
    if (const auto* strip = std::get_if<StripDecode>(&step); strip != nullptr && fused) {
      if (strip->stop > 0 || decoder.join_.strip_count > 0) {
        return unimplemented("decoder: Strip at the end of the text, or twice");
      }
      decoder.join_.strip = strip->content;
      decoder.join_.strip_count = strip->start;
      decoder.byte_level_ = false;
    } else if (strip != nullptr && bytes) {
      return unimplemented("decoder: Strip between ByteFallback and Fuse");
    }
  }
  decoder.steps_ = std::move(steps);
  return decoder;
}

std::string Decoder::decode(std::vector<std::string> tokens) const {
  for (const DecoderStep& step : steps_) {
    std::visit([&](const auto& s) { run(s, tokens); }, step);
  }
  std::string out;
  for (const std::string& token : tokens) out += token;
  return out;
}

std::string Decoder::token_bytes(std::string_view token) const {
  std::string text(token);
  for (const DecoderStep& step : steps_) {
    if (std::holds_alternative<FuseDecode>(step)) break;
    if (std::holds_alternative<ByteLevelDecode>(step)) {
      std::string bytes;
      append_token_bytes(text, bytes);
      return bytes;
    }
    if (std::holds_alternative<ByteFallbackDecode>(step)) {
      if (const int byte = fallback_byte(text); byte >= 0)
        return std::string(1, static_cast<char>(byte));
    } else if (const auto* s = std::get_if<StripDecode>(&step)) {
      text = strip(*s, text);
    } else if (const auto* r = std::get_if<ReplaceStep>(&step)) {
      text = replaced(*r, text);
    } else if (const auto* m = std::get_if<MetaspaceDecode>(&step)) {
      text = metaspace(*m, text, false);
    } else if (const auto* w = std::get_if<WordPieceDecode>(&step)) {
      text = word_piece(*w, text, false);
    } else if (const auto* b = std::get_if<BpeDecode>(&step)) {
      text = bpe(*b, text, false);
    } else if (const auto* c = std::get_if<CtcDecode>(&step)) {
      text = ctc(*c, text);
    } else if (const auto* p = std::get_if<SentencePieceDecode>(&step)) {
      if (const int byte = byte_of(*p, text); byte >= 0)
        return std::string(1, static_cast<char>(byte));
      text = sentence_piece(*p, text);
    }
  }
  return text;
}

}  // namespace octavo::text
