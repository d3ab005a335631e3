// Which of a directory's files is its tokenizer. A later one in the list below is often a leftover
// of the conversion that made an earlier one, so the order is that of Transformers.

#include <optional>

#include "base/status_macros.h"
#include "text/tokenizer.h"
#include "text/tokenizer_sentencepiece.h"
#include "text/tokenizer_settings.h"
#include "text/tokenizer_tiktoken.h"
#include "text/tokenizer_vocabulary.h"

namespace octavo::text {
namespace {

namespace fs = std::filesystem;

bool present(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::optional<fs::path> find_by_extension(const fs::path& directory, std::string_view extension) {
  std::optional<fs::path> first;  // by name, for directories are listed in any order
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == extension && (!first || entry->path() < *first))
      first = entry->path();
  }
  return first;
}

Status nothing_found(const fs::path& directory) {
  if (present(directory / "vocab.json"))
    return not_found(directory.string() + " has vocab.json, and merges.txt is missing beside it");
  if (present(directory / "tekken.json"))
    return unimplemented((directory / "tekken.json").string() + ": Mistral's tekken format");
  if (present(directory / "sentencepiece.bpe.model")) {
    return unimplemented((directory / "sentencepiece.bpe.model").string() +
                         ": its ids are renumbered by the tokenizer's class");
  }
  return not_found(directory.string() +
                   " holds no tokenizer: tokenizer.json, tokenizer.model, spiece.model, "
                   "tiktoken.model, *.tiktoken, vocab.json with merges.txt, and vocab.txt are all "
                   "missing");
}

StatusOr<fs::path> find_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "spiece.model", "tiktoken.model"}) {
    if (present(path / name)) return path / name;
  }
  if (auto ranks = find_by_extension(path, ".tiktoken")) return *std::move(ranks);
  if (present(path / "vocab.json") && present(path / "merges.txt")) return path / "vocab.json";
  if (present(path / "vocab.txt")) return path / "vocab.txt";
  return nothing_found(path);
}

StatusOr<std::unique_ptr<Tokenizer>> load_file(const fs::path& file) {
  const std::string name = file.filename().string(), extension = file.extension().string();
  const bool vocabulary = name == "vocab.json" || name == "vocab.txt";
  if (!vocabulary && extension != ".model" && extension != ".tiktoken") {
    ASSIGN_OR_RETURN(const std::string json, read_tokenizer_file(file));
    return parse_tokenizer_json(json);
  }
  ASSIGN_OR_RETURN(const TokenizerSettings settings, read_tokenizer_settings(file.parent_path()));
  if (extension == ".tiktoken") return load_tiktoken(file, settings);
  ASSIGN_OR_RETURN(const std::string text, read_tokenizer_file(file));
  if (name == "vocab.txt") return parse_vocab_txt(text, settings);
  if (name == "vocab.json") {
    ASSIGN_OR_RETURN(const std::string merges,
                     read_tokenizer_file(file.parent_path() / "merges.txt"));
    return parse_vocab_json(text, merges, settings);
  }
  if (looks_like_tiktoken(text)) return load_tiktoken(file, settings);
  return parse_sentencepiece(text, settings);
}

}  // namespace

bool has_tokenizer(const fs::path& directory) {
  const auto file = find_file(directory);
  return file.ok() || file.status().code() != StatusCode::kNotFound;
}

StatusOr<std::unique_ptr<Tokenizer>> load_tokenizer(const fs::path& path) {
  ASSIGN_OR_RETURN(const fs::path file, find_file(path));
  auto tokenizer = load_file(file);
  const bool named =
      tokenizer.ok() || tokenizer.status().message().find(file.string()) != std::string::npos;
  if (!named) return tokenizer.status().with_context(file.string());
  return tokenizer;
}

}  // namespace octavo::text
