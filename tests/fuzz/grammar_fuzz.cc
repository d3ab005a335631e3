// Fuzzes structured output: a kind and a source from a user, compiled within small limits, and a
// walk through the masks of what compiles. The first byte picks the kind, the second the walk.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "fuzzing.h"
#include "text/grammar/grammar_compiler.h"
#include "text/grammar/testing_vocabulary.h"

using namespace octavo;
using namespace octavo::text;

namespace {

// Takes allowed tokens, now this one, now that; what the mask allows, accept() must take.
void walk(const std::shared_ptr<const CompiledGrammar>& grammar, const TestVocabulary& vocabulary,
          uint8_t seed) {
  GrammarMatcher matcher(grammar);
  std::vector<uint32_t> mask((static_cast<size_t>(vocabulary.vocab_size()) + 31) / 32);
  for (int step = 0; step < 50 && !matcher.failed() && !matcher.ended(); ++step) {
    matcher.fill(mask);
    const int size = vocabulary.vocab_size();
    TokenId next = (seed * 7 + step * 31) % size;
    int tried = 0;
    while (tried < size && (mask[static_cast<size_t>(next) / 32] >> (next % 32) & 1) == 0) {
      next = (next + 1) % size;
      ++tried;
    }
    if (tried == size) return;
    require(matcher.accept(next) || matcher.failed());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TestVocabulary vocabulary;
  if (size < 2) return 0;
  // A compiler an input: its cache would hold whatever the last ones left.
  GrammarCompiler compiler(
      vocabulary, vocabulary.vocab_size(), {vocabulary.end()},
      {.source_bytes = 4096, .cpu_seconds = 0.5, .memory_bytes = int64_t{256} << 20, .threads = 1});
  const auto kind = static_cast<StructuredOutput::Kind>(data[0] % 6);
  const std::string source(reinterpret_cast<const char*>(data + 2), size - 2);
  const auto grammar = compiler.compile({kind, source, (data[1] & 1) != 0});
  if (grammar.ok()) {
    walk(*grammar, vocabulary, data[1]);
  } else {
    require(!grammar.status().message().empty());
  }
  return 0;
}
