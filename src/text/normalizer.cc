// Each step makes a new string; there are rarely more than two.
#include "text/normalizer.h"

#include "base/status_macros.h"
#include "base/utf8.h"
#include "text/bert_categories.h"

namespace octavo::text {
namespace {

// No real tokenizer makes text this much longer; a hostile one would, until memory ends.
constexpr size_t kMaxGrowth = 16, kMaxGrowthBytes = 4096, kMaxReplacedBytes = size_t{1} << 31;

StatusOr<std::string> run(NormalForm form, std::string_view text) {
  return normalize(text, form);
}

StatusOr<std::string> run(const PrependStep& step, std::string_view text) {
  return text.empty() ? std::string() : step.prefix + std::string(text);
}

StatusOr<std::string> run(const ReplaceStep& step, std::string_view text) {
  return replace_all(step, text);
}

StatusOr<std::string> run(LowercaseStep, std::string_view text) {
  return to_lower(text);
}

StatusOr<std::string> run(const StripStep& step, std::string_view text) {
  const CharTable& table = CharTable::get();
  int length = 0;
  while (step.left && !text.empty() && table.is(decode_valid(text.data(), length), kSpace)) {
    text.remove_prefix(length);
  }
  while (step.right && !text.empty()) {
    const size_t last = previous_char(text, text.size());
    if (!table.is(decode_valid(text.data() + last, length), kSpace)) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

// `text` with each character as `rewrite(character, out)` appends it.
template <typename Rewrite>
std::string rewrite_chars(std::string_view text, Rewrite rewrite) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    rewrite(decode_valid(text.data() + i, length), out);
    i += length;
  }
  return out;
}

StatusOr<std::string> run(StripAccentsStep, std::string_view text) {
  return rewrite_chars(text, [](char32_t c, std::string& out) {
    if (!is_mark(c)) append_utf8(out, c);
  });
}

StatusOr<std::string> run(NmtStep, std::string_view text) {
  const auto dropped = [](char32_t c) {
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
           c == 0x9F;
  };
  const auto spaced = [](char32_t c) {
    return c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  };
  return rewrite_chars(text, [&](char32_t c, std::string& out) {
    if (!dropped(c)) append_utf8(out, spaced(c) ? U' ' : c);
  });
}

StatusOr<std::string> run(ByteLevelAlphabetStep, std::string_view text) {
  return bytes_to_alphabet(text);
}

// The blocks that BERT's authors listed; later extensions are not among them.
bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

StatusOr<std::string> run(const BertStep& step, std::string_view text) {
  const CharTable& table = CharTable::get();
  std::string out = rewrite_chars(text, [&](char32_t c, std::string& to) {
    const bool line = c == '\t' || c == '\n' || c == '\r';
    if (step.clean_text && !line && (c == 0 || c == 0xFFFD || is_control_or_format(c))) return;
    if (step.clean_text && table.is(c, kSpace)) c = ' ';
    const bool apart = step.handle_chinese_chars && is_ideograph(c);
    if (apart) to.push_back(' ');
    append_utf8(to, c);
    if (apart) to.push_back(' ');
  });
  if (step.strip_accents) {
    out = rewrite_chars(normalize(out, NormalForm::kNfd), [](char32_t c, std::string& to) {
      if (!is_nonspacing_mark(c)) append_utf8(to, c);
    });
  }
  return step.lowercase ? to_lower(out) : out;
}

StatusOr<std::string> run(const PrecompiledStep& step, std::string_view text) {
  return step.map->apply(text);
}

StatusOr<std::string> run(const SentencePieceStep& step, std::string_view text) {
  return step.rules->apply(text, true);
}

StatusOr<std::string> run_step(const NormalizerStep& step, std::string_view text, bool at_start) {
  if (const auto* pieces = std::get_if<SentencePieceStep>(&step))
    return pieces->rules->apply(text, at_start);
  return std::visit([&](const auto& s) { return run(s, text); }, step);
}

}  // namespace

StatusOr<std::string> replace_all(const ReplaceStep& step, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t from = 0; from <= text.size();) {
    size_t begin = 0, end = 0;
    ASSIGN_OR_RETURN(const bool found, step.pattern.find(text, from, begin, end));
    if (!found) break;
    out.append(text.substr(done, begin - done));
    out.append(step.content);
    if (out.size() > text.size() * kMaxGrowth + kMaxGrowthBytes || out.size() > kMaxReplacedBytes) {
      return resource_exhausted("the tokenizer's Replace makes the text too long");
    }
    done = from = end;
    if (end > begin) continue;
    if (end == text.size()) break;
    int length = 0;  // behind an empty match, one character is copied as it stands
    decode_valid(text.data() + end, length);
    from += length;
  }
  out.append(text.substr(done));
  return out;
}

StatusOr<std::string_view> Normalizer::apply(std::string_view text, std::string& storage,
                                             bool at_start) const {
  for (const NormalizerStep& step : steps_) {
    ASSIGN_OR_RETURN(storage, run_step(step, text, at_start));
    text = storage;
  }
  return text;
}

// A part's normal form as it stands within a text: only what is at the front gets a prefix.
StatusOr<std::string> Normalizer::apply_inside(std::string_view part, bool at_front) const {
  std::string out(part);
  for (const NormalizerStep& step : steps_) {
    if (std::holds_alternative<PrependStep>(step) && !at_front) continue;
    ASSIGN_OR_RETURN(out, run_step(step, out, at_front));
  }
  return out;
}

StatusOr<std::vector<TextRange>> Normalizer::map(std::string_view text, std::string_view normalized,
                                                 std::span<const TextRange> ranges) const {
  if (steps_.empty()) return std::vector<TextRange>(ranges.begin(), ranges.end());
  std::vector<TextRange> out;
  size_t from = 0, to = 0;  // in `text`, in `normalized`
  const auto advance = [&](size_t end) -> StatusOr<bool> {
    if (end == from) return true;
    ASSIGN_OR_RETURN(const std::string part,
                     apply_inside(text.substr(from, end - from), from == 0));
    if (!normalized.substr(to).starts_with(part)) return false;
    from = end;
    to += part.size();
    return true;
  };
  for (const TextRange& range : ranges) {
    ASSIGN_OR_RETURN(bool same, advance(range.begin));
    const size_t begin = to;
    if (same) {
      ASSIGN_OR_RETURN(same, advance(range.end));
    }
    out.push_back({begin, same ? to : normalized.size()});
    if (!same) return out;
  }
  ASSIGN_OR_RETURN(const bool same, advance(text.size()));
  if (!same || to != normalized.size()) out.push_back({to, normalized.size()});
  return out;
}

}  // namespace octavo::text
