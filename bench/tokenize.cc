// How fast a tokenizer encodes, one thread: bench_tokenize TOKENIZER FILE [ROUNDS]. The file holds
// documents, each ended by a zero byte; every round encodes each of them by itself. Prints one line
// of JSON: bytes, tokens, and the seconds of each round. bench/peers/tokenizers.py runs it beside
// Hugging Face's tokenizers.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: bench_tokenize TOKENIZER FILE [ROUNDS]\n");
    return 2;
  }
  const auto tokenizer = octavo::text::load_tokenizer(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().to_string().c_str());
    return 1;
  }
  std::ostringstream whole;
  whole << std::ifstream(argv[2], std::ios::binary).rdbuf();
  const std::string text = whole.str();
  std::vector<std::string_view> documents;
  for (size_t begin = 0, end; (end = text.find('\0', begin)) != std::string::npos; begin = end + 1)
    documents.push_back(std::string_view(text).substr(begin, end - begin));

  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  size_t tokens = 0;
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    tokens = 0;
    const auto start = std::chrono::steady_clock::now();
    for (const std::string_view document : documents) {
      const auto ids = (*tokenizer)->encode(document, {.add_special_tokens = false});
      if (!ids.ok()) {
        std::fprintf(stderr, "%s\n", ids.status().to_string().c_str());
        return 1;
      }
      tokens += ids->size();
    }
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    seconds.push_back(taken.count());
  }
  std::printf("{\"bytes\": %zu, \"tokens\": %zu, \"seconds\": [", text.size() - documents.size(),
              tokens);
  for (size_t i = 0; i < seconds.size(); ++i) std::printf("%s%.4f", i > 0 ? ", " : "", seconds[i]);
  std::printf("]}\n");
}
