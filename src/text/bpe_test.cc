// BPE by its definition, one merge at a time over whole words, against what bpe.cc makes of it:
// characters taken as one symbol, words cut into parts, and words remembered.
#include "text/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "text/bpe_atoms.h"

namespace octavo::text {
namespace {

using Ids = std::vector<TokenId>;
using Names = std::vector<std::pair<std::string, std::string>>;

struct Vocabulary {
  std::vector<std::string> tokens;
  Names merges;

  TokenIndex index() const {
    TokenIndex index;
    for (size_t i = 0; i < tokens.size(); ++i) index.insert(tokens[i], static_cast<TokenId>(i));
    return index;
  }
  void merge(const std::string& left, const std::string& right) {
    merges.emplace_back(left, right);
    if (std::find(tokens.begin(), tokens.end(), left + right) == tokens.end())
      tokens.push_back(left + right);
  }
  TokenId id(const std::string& token) const {
    const auto found = std::find(tokens.begin(), tokens.end(), token);
    return found == tokens.end() ? -1 : static_cast<TokenId>(found - tokens.begin());
  }
};

std::unique_ptr<const Bpe> build(const Vocabulary& vocabulary, const BpeConfig& config) {
  const std::vector<Bpe::Merge> views(vocabulary.merges.begin(), vocabulary.merges.end());
  auto bpe =
      Bpe::build(config, vocabulary.index(), views, static_cast<int>(vocabulary.tokens.size()));
  EXPECT_TRUE(bpe.ok()) << bpe.status().to_string();
  return bpe.ok() ? std::move(*bpe) : nullptr;
}

Ids encoded(const Bpe& bpe, std::string_view word) {
  WordModel::Scratch scratch;
  Ids ids;
  EXPECT_TRUE(bpe.encode(word, scratch, ids));
  return ids;
}

// The definition: of all pairs of neighbours that some merge joins, the one of lowest rank,
// leftmost first, until there is none.
Ids merged_by_definition(const Vocabulary& vocabulary, std::vector<std::string> row,
                         bool rank_is_id) {
  for (;;) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      const auto& merges = vocabulary.merges;
      const auto found = std::find(merges.rbegin(), merges.rend(), std::pair(row[i], row[i + 1]));
      if (found == merges.rend()) continue;
      const auto place = static_cast<size_t>(std::distance(found, merges.rend())) - 1;
      const size_t rank =
          rank_is_id ? static_cast<size_t>(vocabulary.id(row[i] + row[i + 1])) : place;
      if (rank < best) best = rank, at = i;
    }
    if (best == SIZE_MAX) break;
    row[at] += row[at + 1];
    row.erase(row.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& token : row) ids.push_back(vocabulary.id(token));
  return ids;
}

std::vector<std::string> bytes_of(std::string_view text) {
  std::vector<std::string> row;
  for (const char c : text) row.emplace_back(1, c);
  return row;
}

// Letters that share bytes with each other, so that merges meet within and across them.
const std::vector<std::string> kLetters = {"a",
                                           "b",
                                           "\xC3\xA0",
                                           "\xC3\xA1",
                                           "\xE4\xBD\xA0",
                                           "\xE4\xBD\xA1",
                                           "\xE5\xA0\xA1",
                                           "\xF0\x9F\x98\x80"};

std::string random_word(std::mt19937& rng, size_t letters) {
  std::string word;
  for (size_t i = 0; i < letters; ++i) word += kLetters[rng() % kLetters.size()];
  return word;
}

Vocabulary random_byte_vocabulary(std::mt19937& rng) {
  Vocabulary v;
  const bool all_bytes = rng() % 4 != 0;
  for (int b = 0; b < 256; ++b) {
    if (all_bytes || rng() % 8 != 0) v.tokens.emplace_back(1, static_cast<char>(b));
  }
  const auto join_letter = [&](const std::string& letter) {
    std::string front = letter.substr(0, 1);
    for (size_t i = 1; i < letter.size(); ++i) {
      if (v.id(front) < 0 || v.id(letter.substr(i, 1)) < 0) return;
      v.merge(front, letter.substr(i, 1));
      front += letter[i];
    }
  };
  // A byte of some letter, or what a merge has made.
  const auto random_token = [&]() -> std::string {
    if (!v.merges.empty() && rng() % 2 == 0) {
      const auto& [left, right] = v.merges[rng() % v.merges.size()];
      return left + right;
    }
    const std::string& letter = kLetters[rng() % kLetters.size()];
    const std::string byte = letter.substr(rng() % letter.size(), 1);
    return v.id(byte) < 0 ? v.tokens.front() : byte;
  };
  // Most merges of a trained vocabulary put letters together before words; a hostile one may not.
  const int hostile = static_cast<int>(rng() % 3);
  for (const std::string& letter : kLetters) {
    if (letter.size() > 1 && rng() % 4 != 0) join_letter(letter);
    if (hostile == 2) v.merge(random_token(), random_token());
  }
  for (int i = 0; i < 40; ++i) {
    const std::string left = random_token(), right = random_token();
    const bool between_letters = left.size() > 1 && right.size() > 1;
    if (left.size() + right.size() < 20 && (hostile > 0 || between_letters)) v.merge(left, right);
  }
  return v;
}

TEST(ByteLevelBpe, IsWhatTheDefinitionSaysForAnyVocabulary) {
  std::mt19937 rng(11);
  for (int round = 0; round < 150; ++round) {
    const Vocabulary v = random_byte_vocabulary(rng);
    const bool rank_is_id = round % 4 == 0;
    const auto bpe = build(v, {.byte_level = true, .rank_is_id = rank_is_id});
    ASSERT_NE(bpe, nullptr);
    for (int i = 0; i < 40; ++i) {
      const std::string word = random_word(rng, 1 + rng() % (i < 36 ? 12 : 80));
      std::vector<std::string> row = bytes_of(word);
      std::erase_if(row, [&](const std::string& byte) { return v.id(byte) < 0; });
      const Ids expected = merged_by_definition(v, row, rank_is_id);
      ASSERT_EQ(encoded(*bpe, word), expected) << word;
      ASSERT_EQ(encoded(*bpe, word), expected) << word << ", remembered";
    }
  }
}

TEST(Bpe, MergesAsDefinedInShortAndLongWords) {
  std::mt19937 rng(2);
  for (int round = 0; round < 40; ++round) {
    Vocabulary v{.tokens = {"a", "b", "c"}, .merges = {}};
    for (int i = 0; i < 30; ++i) {
      const auto random_token = [&] { return v.tokens[rng() % v.tokens.size()]; };
      const auto merge = std::pair(random_token(), random_token());
      if (std::find(v.merges.begin(), v.merges.end(), merge) == v.merges.end())
        v.merge(merge.first, merge.second);
    }
    const auto bpe = build(v, {.byte_level = true});
    ASSERT_NE(bpe, nullptr);
    for (int i = 0; i < 20; ++i) {
      std::string word(rng() % (i < 15 ? 40 : 400), 'a');
      for (char& c : word) c = static_cast<char>('a' + rng() % 3);
      const Ids expected = merged_by_definition(v, bytes_of(word), /*rank_is_id=*/false);
      ASSERT_EQ(encoded(*bpe, word), expected) << word;
      ASSERT_EQ(encoded(*bpe, word), expected) << word << ", remembered";
    }
  }
}

TEST(CharacterBpe, IsWhatTheDefinitionSaysForAnyVocabulary) {
  std::mt19937 rng(12);
  for (int round = 0; round < 150; ++round) {
    Vocabulary v;
    const bool stand_ins_merge = round % 4 == 0;
    const size_t first = stand_ins_merge ? 0 : 7;
    v.tokens = {"<unk>", "<0xC3>", "<0xA1>", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"};
    for (const std::string& letter : kLetters) {
      if (rng() % 5 != 0) v.tokens.push_back(letter);
    }
    if (v.tokens.size() == 7) continue;
    for (int i = 0; i < 40; ++i) {
      const std::string left = v.tokens[first + rng() % (v.tokens.size() - first)];
      const std::string right = v.tokens[first + rng() % (v.tokens.size() - first)];
      if (left.size() + right.size() < 40) v.merge(left, right);
    }
    const auto bpe = build(v, {.byte_fallback = true, .unk_id = 0});
    ASSERT_NE(bpe, nullptr);
    const auto symbol = [&](const std::string& letter) -> std::vector<std::string> {
      if (v.id(letter) >= 0) return {letter};
      if (letter == "\xC3\xA1") return {"<0xC3>", "<0xA1>"};
      if (letter == "\xF0\x9F\x98\x80") return {"<0xF0>", "<0x9F>", "<0x98>", "<0x80>"};
      return {"<unk>"};
    };
    for (int i = 0; i < 40; ++i) {
      std::string word;
      std::vector<std::string> row;
      for (size_t n = 1 + rng() % (i < 36 ? 12 : 80); n > 0; --n) {
        const std::string& letter = kLetters[rng() % kLetters.size()];
        word += letter;
        for (const std::string& s : symbol(letter)) row.push_back(s);
      }
      const Ids expected = merged_by_definition(v, row, false);
      ASSERT_EQ(encoded(*bpe, word), expected) << word;
      ASSERT_EQ(encoded(*bpe, word), expected) << word << ", remembered";
    }
  }
}

TEST(Bpe, TwoModelsInOneThreadDoNotShareWhatTheyRemember) {
  Vocabulary one, two;
  one.tokens = two.tokens = {"a", "b"};
  one.merge("a", "b");
  two.merge("b", "a");
  const auto first = build(one, {.byte_level = true}), second = build(two, {.byte_level = true});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(encoded(*first, "ab"), (Ids{2}));
    EXPECT_EQ(encoded(*second, "ab"), (Ids{0, 1}));
  }
}

TEST(Bpe, ManyThreadsEncodeTheSame) {
  std::mt19937 rng(13);
  const Vocabulary v = random_byte_vocabulary(rng);
  const auto bpe = build(v, {.byte_level = true});
  std::vector<std::string> words;
  for (int i = 0; i < 2000; ++i) words.push_back(random_word(rng, 1 + rng() % 10));
  std::vector<Ids> expected;
  for (const std::string& word : words) expected.push_back(encoded(*bpe, word));
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < words.size(); ++i) count += encoded(*bpe, words[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Bpe, AMergeOfAnEmptyTokenJoinsNothing) {
  Vocabulary v;
  v.tokens = {"", "a"};
  v.merge("", "a");
  v.merge("a", "");
  for (const bool byte_level : {true, false})
    EXPECT_EQ(encoded(*build(v, {.byte_level = byte_level}), "aa"), (Ids{1, 1}));
}

// ---- Atoms

Vocabulary letter_vocabulary() {  // 你, whole after two merges
  Vocabulary v;
  v.tokens = {"\xE4", "\xBD", "\xA0", "a"};
  v.merge("\xE4", "\xBD");
  v.merge("\xE4\xBD", "\xA0");
  return v;
}

TokenId atom(const Vocabulary& v, char32_t c) {
  const TokenIndex index = v.index();
  TokenId byte_id[256];
  for (int b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    byte_id[b] = index.find({&byte, 1});
  }
  MergeTable merges(v.merges.size());
  const std::vector<Bpe::Merge> names(v.merges.begin(), v.merges.end());
  for (size_t r = 0; r < names.size(); ++r) {
    merges.add(index.find(names[r].first), index.find(names[r].second),
               {static_cast<uint32_t>(r), v.id(v.merges[r].first + v.merges[r].second)});
  }
  return find_atoms(merges, names, index, byte_id)[c];
}

TEST(Atoms, ALetterThatIsWholeBeforeAnythingReachesAcrossItsEdgeIsOne) {
  Vocabulary v = letter_vocabulary();
  v.merge("\xE4\xBD\xA0", "\xE4\xBD\xA0");
  v.merge("\xA0", "\xE4");
  EXPECT_EQ(atom(v, U'你'), v.id("\xE4\xBD\xA0"));
}

TEST(Atoms, ALetterWhosePartJoinsItsNeighbourFirstIsNone) {
  Vocabulary v;
  v.tokens = {"\xE4", "\xBD", "\xA0"};
  v.merge("\xA0", "\xE4");  // the end of one with the front of the next
  v.merge("\xE4", "\xBD");
  v.merge("\xE4\xBD", "\xA0");
  EXPECT_EQ(atom(v, U'你'), -1);
}

TEST(Atoms, ALetterThatIsWholeOnlyAfterAMergeOfTheWholeIsDueIsNone) {
  Vocabulary v;
  for (int b = 0; b < 256; ++b) v.tokens.emplace_back(1, static_cast<char>(b));
  const std::string early = "\xE4\xBD\xA0", late = "\xE5\xA0\xA1";
  v.tokens.push_back(late);
  v.merge("\xE4", "\xBD");
  v.merge("\xE4\xBD", "\xA0");
  v.merge(early, late);
  v.merge(early, early);
  v.merge("\xE5", "\xA0");
  v.merge("\xE5\xA0", "\xA1");
  EXPECT_EQ(atom(v, U'堡'), -1);
  EXPECT_EQ(encoded(*build(v, {.byte_level = true}), early + early + late),
            (Ids{v.id(early + early), v.id(late)}));
}

TEST(Atoms, ALetterThatStaysInPartsIsNone) {
  Vocabulary v;
  v.tokens = {"\xE4", "\xBD", "\xA0"};
  v.merge("\xE4", "\xBD");
  EXPECT_EQ(atom(v, U'你'), -1);
}

}  // namespace
}  // namespace octavo::text
