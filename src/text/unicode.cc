// Two tables, both made from utf8proc at first use: the class bits of every character (about 1 ms),
// and, only when a tokenizer asks for NFC, the characters that NFC never touches (about 10 ms).
// Most text consists of the latter, so normalising copies it in whole stretches and rewrites only
// what lies between.
#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/utf8.h"

namespace octavo::text {
namespace {

// Planes 0 to 3, and the tags and variation selectors of plane 14; all else is unassigned or
// private use.
constexpr char32_t kAssignedEnd = 0x34000, kTagsBegin = 0xE0000, kTagsEnd = 0xE0200;

bool is_white_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

uint8_t compute_classes(char32_t c) {
  uint8_t bits = is_white_space(c) ? kSpace : 0;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
      bits |= kLetter | kWord | kUpper;
      break;
    case UTF8PROC_CATEGORY_LL:
      bits |= kLetter | kWord | kLower;
      break;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      bits |= kLetter | kWord;
      break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      bits |= kNumber | kWord;
      break;
    case UTF8PROC_CATEGORY_NO:
      bits |= kNumber;
      break;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      bits |= kCombining | kWord;
      break;
    case UTF8PROC_CATEGORY_PC:
      bits |= kGraphic | kWord;
      break;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO:
      bits |= kGraphic;
      break;
    default:
      break;
  }
  // Join_Control, and the symbols that are Alphabetic by Other_Alphabetic.
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
      (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189)) {
    bits |= kWord;
  }
  return bits;
}

int combining_class(int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

// Characters that NFC may change, reorder, or join to the one before.
class NfcTable {
 public:
  static const NfcTable& get() {
    static const NfcTable table;
    return table;
  }
  bool inert(char32_t c) const { return c < 0x300 || c >= kAssignedEnd || !active_[c]; }

 private:
  NfcTable() : active_(kAssignedEnd) {
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
    const auto compose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (char32_t c = 0xA0; c < kAssignedEnd; ++c) {
      if (c >= 0xAC00 && c <= 0xD7A3) continue;  // Hangul syllables are composed already
      if (combining_class(static_cast<int32_t>(c)) != 0) active_[c] = true;
      std::array<utf8proc_int32_t, 16> parts;
      int boundary = 0;
      const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                             parts.size(), options, &boundary);
      if (n < 1 || static_cast<size_t>(n) > parts.size() ||
          (n == 1 && parts[0] == static_cast<int32_t>(c))) {
        continue;
      }
      if (n > 1) active_[static_cast<char32_t>(parts[n - 1])] = true;  // may join what precedes it
      const auto joined = utf8proc_normalize_utf32(parts.data(), n, compose);
      if (joined != 1 || parts[0] != static_cast<int32_t>(c)) active_[c] = true;
    }
    std::fill(active_.begin() + 0x1161, active_.begin() + 0x1176, true);  // Hangul vowels
    std::fill(active_.begin() + 0x11A8, active_.begin() + 0x11C3, true);  // and final consonants
  }
  std::vector<bool> active_;
};

bool inert(char32_t c, NormalForm form) {
  return c < 0x80 || (form == NormalForm::kNfc && NfcTable::get().inert(c));
}

// Characters that got their decomposition in Unicode 12.1 or later, after the tables of Hugging
// Face's tokenizers, which leave them as they are; so do we.
bool decomposed_since(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 17> kRanges = {{{0x558, 0x558},
                                                                             {0x58B, 0x58C},
                                                                             {0x209D, 0x209F},
                                                                             {0x32FF, 0x32FF},
                                                                             {0xA7F1, 0xA7F4},
                                                                             {0xAB69, 0xAB69},
                                                                             {0x10781, 0x10785},
                                                                             {0x10787, 0x107B0},
                                                                             {0x107B2, 0x107BF},
                                                                             {0x11938, 0x11938},
                                                                             {0x1B123, 0x1B126},
                                                                             {0x1CCD6, 0x1CCF9},
                                                                             {0x1D6A6, 0x1D6A6},
                                                                             {0x1DF95, 0x1DFFF},
                                                                             {0x1E030, 0x1E06D},
                                                                             {0x1F16C, 0x1F16C},
                                                                             {0x1FBF0, 0x1FBF9}}};
  return std::any_of(kRanges.begin(), kRanges.end(),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

// Appends the normal form of `text`. utf8proc's own driver orders marks by exchanging neighbours,
// which takes quadratic time on a long run of them; here each run is sorted.
void append_normalized(std::string_view text, NormalForm form, std::string& out) {
  const bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compat ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> chars;
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = decode_valid(text.data() + i, length);
    i += length;
    std::array<utf8proc_int32_t, 32> parts;  // the longest decomposition has 18
    int boundary = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                           parts.size(), options, &boundary);
    if (n >= 0 && static_cast<size_t>(n) <= parts.size() && !decomposed_since(c)) {
      chars.insert(chars.end(), parts.begin(), parts.begin() + n);
    } else {
      chars.push_back(static_cast<utf8proc_int32_t>(c));
    }
  }
  for (size_t i = 0; i < chars.size();) {
    size_t end = i;
    while (end < chars.size() && combining_class(chars[end]) != 0) ++end;
    std::stable_sort(chars.begin() + static_cast<ptrdiff_t>(i),
                     chars.begin() + static_cast<ptrdiff_t>(end),
                     [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    i = end + 1;
  }
  auto count = static_cast<utf8proc_ssize_t>(chars.size());
  if (compose) {
    const auto how = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    count = utf8proc_normalize_utf32(chars.data(), count, how);
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(chars[i]));
}

struct Alphabet {
  std::array<char32_t, 256> char_of;
  std::array<int16_t, 0x180> byte_of;  // -1: not of the alphabet

  Alphabet() : char_of{} {
    byte_of.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      char_of[b] = printable ? static_cast<char32_t>(b) : next++;
      byte_of[char_of[b]] = static_cast<int16_t>(b);
    }
  }
  static const Alphabet& get() {
    static const Alphabet alphabet;
    return alphabet;
  }
};

}  // namespace

const CharTable& CharTable::get() {
  static const CharTable table;
  return table;
}

CharTable::CharTable() {
  std::map<std::string, uint16_t> known;
  const auto intern = [&](const std::string& block) {
    const auto [it, fresh] = known.emplace(block, static_cast<uint16_t>(known.size()));
    if (fresh) blocks_.insert(blocks_.end(), block.begin(), block.end());
    return it->second;
  };
  intern(std::string(256, '\0'));
  const auto fill = [&](char32_t begin, char32_t end) {
    std::string block(256, '\0');
    for (char32_t base = begin; base < end; base += 256) {
      for (char32_t i = 0; i < 256; ++i) block[i] = static_cast<char>(compute_classes(base + i));
      block_of_[base >> 8] = intern(block);
    }
  };
  fill(0, kAssignedEnd);
  fill(kTagsBegin, kTagsEnd);
  for (char32_t c = 0; c < 0x80; ++c) ascii_[c] = classes(c);
}

std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;  // everything before is in `out`
  size_t last = 0;    // the character before `i`
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    if (inert(decode_valid(text.data() + i, length), form)) {
      last = i;
      i += length;
      continue;
    }
    // A stretch to rewrite begins with the inert character before it, which it may join.
    const size_t begin = std::max(copied, last);
    out.append(text.substr(copied, begin - copied));
    size_t end = i + length;
    while (end < text.size() && !inert(decode_valid(text.data() + end, length), form))
      end += length;
    append_normalized(text.substr(begin, end - begin), form, out);
    copied = last = i = end;
  }
  out.append(text.substr(copied));
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = decode_valid(text.data() + i, length);
    i += length;
    if (c == 0x130) {
      out += "i\xCC\x87";  // İ is the one character whose lower case is two
    } else {
      append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return out;
}

size_t ClusterBreaks::next(std::string_view text, size_t pos) const {
  int length = 0;
  auto last = static_cast<utf8proc_int32_t>(decode_valid(text.data() + pos, length));
  utf8proc_int32_t state = 0;
  for (pos += length; pos < text.size(); pos += length) {
    const auto c = static_cast<utf8proc_int32_t>(decode_valid(text.data() + pos, length));
    if (utf8proc_grapheme_break_stateful(last, c, &state)) break;
    last = c;
  }
  return pos;
}

std::string bytes_to_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char b : bytes)
    append_utf8(out, Alphabet::get().char_of[static_cast<unsigned char>(b)]);
  return out;
}

bool alphabet_to_bytes(std::string_view text, std::string& bytes) {
  const Alphabet& alphabet = Alphabet::get();
  const size_t before = bytes.size();
  for (size_t i = 0; i < text.size();) {
    int length = 0;
    const char32_t c = decode_valid(text.data() + i, length);
    i += length;
    const int byte = c < alphabet.byte_of.size() ? alphabet.byte_of[c] : -1;
    if (byte < 0) {
      bytes.resize(before);
      return false;
    }
    bytes.push_back(static_cast<char>(byte));
  }
  return true;
}

}  // namespace octavo::text
