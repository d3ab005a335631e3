// Each step makes a new string; there are rarely more than two.
#include "text/normalizer.h"

#include "base/status_macros.h"

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

StatusOr<std::string_view> Normalizer::apply(std::string_view text, std::string& storage) const {
  for (const NormalizerStep& step : steps_) {
    ASSIGN_OR_RETURN(storage, std::visit([&](const auto& s) { return run(s, text); }, step));
    text = storage;
  }
  return text;
}

}  // namespace octavo::text
