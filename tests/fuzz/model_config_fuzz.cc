// Fuzzes config.json and generation_config.json: the input is both texts, parted by a zero byte.
// What is accepted must be within the bounds that the rest of the program relies on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "models/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const size_t split = text.find('\0');
  const std::string generation = split == std::string::npos ? "" : text.substr(split + 1);
  const auto config = octavo::parse_model_config(text.substr(0, split), generation);
  if (!config.ok()) return 0;
  const octavo::ModelConfig& c = *config;
  const bool sane = c.vocab_size > 0 && c.hidden_size > 0 && c.num_layers > 0 && c.num_heads > 0 &&
                    c.num_kv_heads > 0 && c.num_heads % c.num_kv_heads == 0 && c.head_dim > 0 &&
                    c.intermediate_size > 0 && c.max_position > 0 && c.sliding_window >= 0 &&
                    c.rope.theta >= 1;
  if (!sane) std::abort();
  for (octavo::TokenId id : c.eos_token_ids) {
    if (id < 0 || id >= c.vocab_size) std::abort();
  }
  return 0;
}
