// Reads tokenizer.json, the format of Hugging Face's tokenizers, into the parts of a tokenizer. The
// file is not trusted: every id is bounded before memory depends on it, every name is looked up,
// and what we lack is refused by name. Runs once, when a model is loaded; most of its time goes
// into the vocabulary and the merges.
#include <boost/json.hpp>
#include <limits>

#include "base/status_macros.h"
#include "text/bpe.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_steps_json.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace octavo::text {
namespace {

namespace bj = boost::json;

constexpr size_t kMaxFileBytes = size_t{256} << 20;
constexpr int64_t kMaxId = int64_t{1} << 24;
constexpr size_t kMaxAddedTokenBytes = 4096;
constexpr std::string_view kMetaspace = "\xE2\x96\x81";

std::string shown(std::string_view token) {
  return "'" + std::string(token.substr(0, 100)) + "'";
}

StatusOr<TokenId> read_id(const bj::value* value, std::string_view token, int64_t limit) {
  if (value == nullptr || !value->is_int64())
    return data_loss("the id of " + shown(token) + " is no integer");
  const int64_t id = value->get_int64();
  if (id < 0 || id >= limit) {
    return data_loss("the id of " + shown(token) + " is " + std::to_string(id) +
                     ", out of range (limit " + std::to_string(limit) + ")");
  }
  return static_cast<TokenId>(id);
}

enum class Model { kBpe, kUnigram, kWordPiece, kWordLevel };

class Loader {
 public:
  StatusOr<std::unique_ptr<Tokenizer>> load(const bj::object& root);

 private:
  StatusOr<Model> read_model_type(const bj::object& model) const;
  Status read_pieces(const bj::array& pieces, TokenIndex& index);
  Status make_model(Model type, const bj::object& model, TokenIndex index);
  Status make_unigram(const bj::object& model, TokenIndex index);
  StatusOr<PieceTrie> read_trie(const bj::object& vocabulary) const;  // its ids have been read
  Status make_wordpiece(Model type, const bj::object& model, TokenIndex index);
  Status read_bert_ends(const bj::object& post);
  Status read_vocabulary(const bj::object& vocabulary, TokenIndex& index);
  Status read_added_tokens(const bj::object& root);
  Status read_added_token(const bj::object& token);
  Status read_merges(const bj::object& model, TokenIndex index);
  StatusOr<BpeConfig> read_config(const bj::object& model, const TokenIndex& index);
  Status read_post_processor(const bj::value* value);
  Status read_template(const bj::object& post);
  StatusOr<bool> merge_key(std::string_view token, std::string& keys) const;
  bool byte_level() const { return parts_.pretokenizer.byte_level(); }

  TokenizerParts parts_;
  const TokenIndex* index_ = nullptr;  // while the model is not yet built
  int64_t id_limit_ = 0;
  std::vector<Unigram::Piece> unigram_pieces_;  // strings lie in the JSON
};

// Files of old tokenizers name no type; then the model's other members tell.
StatusOr<Model> Loader::read_model_type(const bj::object& model) const {
  const std::string_view type = json_string(model, "type");
  const bj::value* vocabulary = json_member(model, "vocab");
  Model found;
  if (type == "BPE" || (type.empty() && model.contains("merges"))) {
    found = Model::kBpe;
  } else if (type == "Unigram" ||
             (type.empty() && vocabulary != nullptr && vocabulary->is_array())) {
    found = Model::kUnigram;
  } else if (type == "WordPiece" || (type.empty() && model.contains("max_input_chars_per_word"))) {
    found = Model::kWordPiece;
  } else if (type == "WordLevel") {
    found = Model::kWordLevel;
  } else {
    return unimplemented("tokenizer model " + shown(type));
  }
  if (found != Model::kBpe && byte_level())
    return unimplemented("pre_tokenizer 'ByteLevel' with the model " + shown(type));
  if (const bj::value* dropout = json_member(model, "dropout");
      dropout != nullptr && !(dropout->is_number() && dropout->to_number<double>() == 0)) {
    return unimplemented("BPE with dropout");
  }
  return found;
}

// Unigram's vocabulary: a list of [piece, score], in the order of the ids.
Status Loader::read_pieces(const bj::array& pieces, TokenIndex& index) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bj::value& entry = pieces[i];
    if (!entry.is_array() || entry.get_array().size() != 2 || !entry.get_array()[0].is_string() ||
        !entry.get_array()[1].is_number()) {
      return data_loss("piece " + std::to_string(i) + " of model.vocab is no [string, score]");
    }
    const std::string_view piece = entry.get_array()[0].get_string();
    const auto id = static_cast<TokenId>(i);
    if (static_cast<int64_t>(i) >= kMaxId) return data_loss("model.vocab has too many pieces");
    parts_.table.add(id, piece);
    if (!index.insert(piece, id)) return data_loss("two ids for the piece " + shown(piece));
    unigram_pieces_.push_back({piece, entry.get_array()[1].to_number<double>()});
  }
  return ok_status();
}

Status Loader::make_unigram(const bj::object& model, TokenIndex index) {
  // An unknown character costs ten more than the worst piece.
  constexpr double kUnknownPenalty = 10;
  double worst = std::numeric_limits<double>::infinity();
  for (const Unigram::Piece& piece : unigram_pieces_) worst = std::min(worst, piece.score);
  Unigram::Config config;
  config.unk_score = worst - kUnknownPenalty;
  config.byte_fallback = json_bool(model, "byte_fallback", false);
  if (const bj::value* unk = json_member(model, "unk_id"); unk != nullptr) {
    ASSIGN_OR_RETURN(config.unk_id, read_id(unk, "unk_id", kMaxId));
  }
  ASSIGN_OR_RETURN(parts_.model, Unigram::build(config, std::move(index), unigram_pieces_));
  return ok_status();
}

StatusOr<PieceTrie> Loader::read_trie(const bj::object& vocabulary) const {
  std::vector<PieceTrie::Entry> entries;
  entries.reserve(vocabulary.size());
  for (const auto& entry : vocabulary) {
    if (entry.key().size() > kMaxPieceBytes)
      return data_loss("WordPiece: " + shown(entry.key()) + " is longer than 1 KiB");
    entries.push_back({entry.key(), static_cast<TokenId>(entry.value().get_int64())});
  }
  return PieceTrie(std::move(entries));
}

Status Loader::make_wordpiece(Model type, const bj::object& model, TokenIndex index) {
  const std::string_view unk = json_string(model, "unk_token");
  const TokenId unk_id = index.find(unk.empty() ? "[UNK]" : unk);
  if (type == Model::kWordLevel) {
    parts_.model = std::make_unique<const WordLevel>(unk_id, std::move(index));
    return ok_status();
  }
  WordPiece::Config config;
  config.unk_id = unk_id;
  if (const bj::value* prefix = json_member(model, "continuing_subword_prefix");
      prefix != nullptr && prefix->is_string()) {
    config.continuing_prefix = prefix->get_string();
  }
  if (const bj::value* max = json_member(model, "max_input_chars_per_word"); max != nullptr) {
    if (!max->is_int64() || max->get_int64() < 0)
      return data_loss("model.max_input_chars_per_word is no count");
    config.max_chars = static_cast<size_t>(max->get_int64());
  }
  ASSIGN_OR_RETURN(PieceTrie pieces, read_trie(json_member(model, "vocab")->get_object()));
  parts_.model =
      std::make_unique<const WordPiece>(std::move(config), std::move(index), std::move(pieces));
  return ok_status();
}

Status Loader::make_model(Model type, const bj::object& model, TokenIndex index) {
  if (type != Model::kBpe) parts_.cut_at_metaspace = false;
  if (type == Model::kBpe) return read_merges(model, std::move(index));
  if (type == Model::kUnigram) return make_unigram(model, std::move(index));
  return make_wordpiece(type, model, std::move(index));
}

Status Loader::read_vocabulary(const bj::object& vocabulary, TokenIndex& index) {
  size_t bytes = 0;
  for (const auto& entry : vocabulary) bytes += entry.key().size();
  index.reserve(vocabulary.size(), bytes);
  parts_.table.reserve(vocabulary.size() + 64, bytes * 2 + 1024);
  bool mark_inside = false;
  std::string key;
  for (const auto& entry : vocabulary) {
    const std::string_view token = entry.key();
    ASSIGN_OR_RETURN(const TokenId id, read_id(&entry.value(), token, id_limit_));
    if (parts_.table.known(id)) {
      return data_loss("id " + std::to_string(id) + " stands for both " +
                       shown(parts_.table.string(id)) + " and " + shown(token));
    }
    parts_.table.add(id, token);
    key.clear();
    if (!byte_level()) {
      index.insert(token, id);
      const size_t mark =
          token.find(kMetaspace, token.starts_with(kMetaspace) ? kMetaspace.size() : 0);
      if (mark != std::string_view::npos) {
        const size_t word = token.find_first_not_of(kMetaspace);
        mark_inside |= word != std::string_view::npos &&
                       token.find(kMetaspace, word) != std::string_view::npos;
      }
    } else if (!token.empty() && alphabet_to_bytes(token, key)) {
      index.insert(key, id);
    } else {
      parts_.outside_model.emplace(token, id);
    }
  }
  parts_.cut_at_metaspace = !byte_level() && !mark_inside && index.find(kMetaspace) >= 0;
  return ok_status();
}

Status Loader::read_added_token(const bj::object& json) {
  AddedToken token;
  token.content = json_string(json, "content");
  if (token.content.empty()) return ok_status();
  if (token.content.size() > kMaxAddedTokenBytes)
    return data_loss("an added token is longer than 4 KiB");
  ASSIGN_OR_RETURN(token.id, read_id(json_member(json, "id"), token.content, id_limit_));
  token.special = json_bool(json, "special", false);
  token.single_word = json_bool(json, "single_word", false);
  token.lstrip = json_bool(json, "lstrip", false);
  token.rstrip = json_bool(json, "rstrip", false);
  token.normalized = json_bool(json, "normalized", !token.special);

  if (!parts_.table.add(token.id, token.content)) {
    return data_loss("id " + std::to_string(token.id) + " stands for both " +
                     shown(parts_.table.string(token.id)) + " and the added token " +
                     shown(token.content));
  }
  std::string key;
  const bool mapped = !byte_level() || alphabet_to_bytes(token.content, key);
  const TokenId in_model = mapped ? index_->find(byte_level() ? key : token.content) : -1;
  if (in_model >= 0 && in_model != token.id) {
    return data_loss("the added token " + shown(token.content) + " has id " +
                     std::to_string(token.id) + ", and " + std::to_string(in_model) +
                     " in the vocabulary");
  }
  if (in_model < 0) {
    const auto [it, fresh] = parts_.outside_model.emplace(token.content, token.id);
    if (!fresh && it->second != token.id) return data_loss("two ids for " + shown(token.content));
  }
  if (token.special) parts_.table.set_special(token.id);
  if (!token.normalized) {
    parts_.added.add(token, token.content);
    return ok_status();
  }
  std::string storage;
  ASSIGN_OR_RETURN(const std::string_view pattern, parts_.normalizer.apply(token.content, storage));
  parts_.added_normalized.add(token, pattern);
  return ok_status();
}

Status Loader::read_added_tokens(const bj::object& root) {
  const bj::value* list = json_member(root, "added_tokens");
  if (list == nullptr) return ok_status();
  if (!list->is_array()) return data_loss("added_tokens is no list");
  for (const bj::value& token : list->get_array()) {
    if (!token.is_object()) return data_loss("an added token is no object");
    RETURN_IF_ERROR(read_added_token(token.get_object()));
  }
  return ok_status();
}

// Appends the index's key of `token`. False where it has none, since text never reads so: its
// merges are dead.
StatusOr<bool> Loader::merge_key(std::string_view token, std::string& keys) const {
  if (!byte_level()) {
    keys += token;
    return true;
  }
  if (alphabet_to_bytes(token, keys)) return true;
  if (parts_.outside_model.contains(std::string(token))) return false;
  return data_loss("a merge names " + shown(token) + ", which is not in the vocabulary");
}

Status Loader::read_merges(const bj::object& model, TokenIndex index) {
  const bj::value* list = json_member(model, "merges");
  if (list != nullptr && !list->is_array()) return data_loss("model.merges is no list");
  const bj::array none;
  const bj::array& merges = list != nullptr ? list->get_array() : none;
  std::string keys;
  std::vector<std::pair<uint32_t, uint32_t>> lengths;
  lengths.reserve(merges.size());
  keys.reserve(merges.size() * 8);
  for (const bj::value& merge : merges) {
    std::string_view left, right;
    if (merge.is_string()) {
      const std::string_view both = merge.get_string();
      const size_t space = both.find(' ');
      if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
        return data_loss("the merge " + shown(both) + " is not two tokens with a space between");
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else if (merge.is_array() && merge.get_array().size() == 2 &&
               merge.get_array()[0].is_string() && merge.get_array()[1].is_string()) {
      left = merge.get_array()[0].get_string();
      right = merge.get_array()[1].get_string();
    } else {
      return data_loss("a merge is neither a string nor a pair of strings");
    }
    const size_t begin = keys.size();
    ASSIGN_OR_RETURN(const bool left_reachable, merge_key(left, keys));
    const size_t middle = keys.size();
    ASSIGN_OR_RETURN(const bool right_reachable, merge_key(right, keys));
    if (!left_reachable || !right_reachable) {
      keys.resize(begin);
      continue;
    }
    lengths.emplace_back(middle - begin, keys.size() - middle);
  }
  std::vector<Bpe::Merge> pairs;
  pairs.reserve(lengths.size());
  size_t at = 0;
  for (const auto& [left, right] : lengths) {
    pairs.emplace_back(std::string_view(keys).substr(at, left),
                       std::string_view(keys).substr(at + left, right));
    at += left + right;
  }
  ASSIGN_OR_RETURN(BpeConfig config, read_config(model, index));
  ASSIGN_OR_RETURN(parts_.model,
                   Bpe::build(std::move(config), std::move(index), pairs, parts_.table.size()));
  return ok_status();
}

StatusOr<BpeConfig> Loader::read_config(const bj::object& model, const TokenIndex& index) {
  BpeConfig config;
  config.byte_level = byte_level();
  config.byte_fallback = json_bool(model, "byte_fallback", false);
  config.fuse_unk = json_bool(model, "fuse_unk", false);
  config.ignore_merges = json_bool(model, "ignore_merges", false);
  config.continuing_prefix = json_string(model, "continuing_subword_prefix");
  config.end_suffix = json_string(model, "end_of_word_suffix");
  if (config.byte_level) {
    std::string prefix, suffix;
    if (!alphabet_to_bytes(config.continuing_prefix, prefix) ||
        !alphabet_to_bytes(config.end_suffix, suffix)) {
      return unimplemented("ByteLevel with a subword prefix or suffix outside its alphabet");
    }
    config.continuing_prefix = std::move(prefix);
    config.end_suffix = std::move(suffix);
    // The fallback would be to the bytes of the alphabet's characters; with all 256 in place it is
    // never used.
    for (int b = 0; config.byte_fallback && b < 256; ++b) {
      const char byte = static_cast<char>(b);
      if (index.find({&byte, 1}) < 0)
        return unimplemented("byte_fallback with an incomplete ByteLevel vocabulary");
    }
    config.byte_fallback = false;
  }
  if (const std::string_view unk = json_string(model, "unk_token"); !unk.empty()) {
    std::string key;
    const bool mapped = !config.byte_level || alphabet_to_bytes(unk, key);
    config.unk_id = mapped ? index.find(config.byte_level ? key : unk) : -1;
    if (config.unk_id < 0 && !config.byte_level) {
      return data_loss("the unknown token " + shown(unk) + " is not in the vocabulary");
    }
  }
  const bool plain = config.continuing_prefix.empty() && config.end_suffix.empty();
  parts_.cut_at_metaspace &= plain && !config.ignore_merges;
  return config;
}

Status Loader::read_template(const bj::object& post) {
  const bj::value* single = json_member(post, "single");
  const bj::value* specials = json_member(post, "special_tokens");
  if (single == nullptr || !single->is_array())
    return data_loss("TemplateProcessing without a list 'single'");
  std::vector<TokenId> before, after;
  bool seen_text = false;
  for (const bj::value& piece : single->get_array()) {
    if (!piece.is_object()) return data_loss("TemplateProcessing: a piece is no object");
    if (const bj::value* sequence = json_member(piece.get_object(), "Sequence");
        sequence != nullptr) {
      if (seen_text) return data_loss("TemplateProcessing: the text stands twice in 'single'");
      seen_text = true;
      continue;
    }
    const bj::value* special = json_member(piece.get_object(), "SpecialToken");
    if (special == nullptr || !special->is_object())
      return data_loss("TemplateProcessing: a piece of no known kind");
    const std::string_view name = json_string(special->get_object(), "id");
    const bj::value* entry = specials != nullptr && specials->is_object()
                                 ? json_member(specials->get_object(), name)
                                 : nullptr;
    const bj::value* ids =
        entry != nullptr && entry->is_object() ? json_member(entry->get_object(), "ids") : nullptr;
    if (ids == nullptr || !ids->is_array()) {
      return data_loss("TemplateProcessing names " + shown(name) + ", which has no ids");
    }
    for (const bj::value& id : ids->get_array()) {
      ASSIGN_OR_RETURN(const TokenId token, read_id(&id, name, parts_.table.size()));
      if (!parts_.table.known(token)) {
        return data_loss("TemplateProcessing: id " + std::to_string(token) + " of " + shown(name) +
                         " is not a token");
      }
      (seen_text ? after : before).push_back(token);
    }
  }
  if (!seen_text) return data_loss("TemplateProcessing: 'single' leaves out the text");
  parts_.prefix.insert(parts_.prefix.begin(), before.begin(), before.end());
  parts_.suffix.insert(parts_.suffix.end(), after.begin(), after.end());
  return ok_status();
}

// "cls" before the text and "sep" behind it, each [token, id].
Status Loader::read_bert_ends(const bj::object& post) {
  for (const std::string_view name : {"cls", "sep"}) {
    const bj::value* pair = json_member(post, name);
    if (pair == nullptr || !pair->is_array() || pair->get_array().size() != 2)
      return data_loss("post-processor: '" + std::string(name) + "' is no [token, id]");
    ASSIGN_OR_RETURN(const TokenId id, read_id(&pair->get_array()[1], name, parts_.table.size()));
    if (!parts_.table.known(id)) {
      return data_loss("post-processor: id " + std::to_string(id) + " of '" + std::string(name) +
                       "' is not a token");
    }
    if (name == "cls") {
      parts_.prefix.insert(parts_.prefix.begin(), id);
    } else {
      parts_.suffix.push_back(id);
    }
  }
  return ok_status();
}

Status Loader::read_post_processor(const bj::value* value) {
  if (value == nullptr) return ok_status();
  if (!value->is_object()) return data_loss("post_processor is no object");
  const bj::object& post = value->get_object();
  const std::string_view type = json_string(post, "type");
  if (type == "ByteLevel") return ok_status();  // it moves offsets, not ids
  if (type == "TemplateProcessing") return read_template(post);
  if (type == "BertProcessing" || type == "RobertaProcessing") return read_bert_ends(post);
  if (type != "Sequence") return unimplemented("post-processor " + shown(type));
  const bj::value* list = json_member(post, "processors");
  if (list == nullptr || !list->is_array())
    return data_loss("post-processor Sequence without a list 'processors'");
  for (const bj::value& processor : list->get_array())
    RETURN_IF_ERROR(read_post_processor(&processor));
  return ok_status();
}

StatusOr<std::unique_ptr<Tokenizer>> Loader::load(const bj::object& root) {
  const bj::value* model = json_member(root, "model");
  if (model == nullptr || !model->is_object()) return data_loss("tokenizer.json has no model");
  ASSIGN_OR_RETURN(parts_.normalizer, read_normalizer(json_member(root, "normalizer")));
  ASSIGN_OR_RETURN(parts_.pretokenizer, read_pretokenizer(json_member(root, "pre_tokenizer")));
  ASSIGN_OR_RETURN(parts_.decoder, read_decoder(json_member(root, "decoder")));

  ASSIGN_OR_RETURN(const Model type, read_model_type(model->get_object()));
  const bj::value* vocabulary = json_member(model->get_object(), "vocab");
  const bool list = type == Model::kUnigram;
  if (vocabulary == nullptr || !(list ? vocabulary->is_array() : vocabulary->is_object()))
    return data_loss(list ? "model.vocab is no list" : "model.vocab is no object");

  // Tables are as long as the largest id: a few entries may not claim a great one.
  const bj::value* added = json_member(root, "added_tokens");
  const size_t entries = (list ? vocabulary->get_array().size() : vocabulary->get_object().size()) +
                         (added != nullptr && added->is_array() ? added->get_array().size() : 0);
  id_limit_ = std::min(kMaxId, static_cast<int64_t>(65536 + 8 * entries));

  TokenIndex index;
  RETURN_IF_ERROR(list ? read_pieces(vocabulary->get_array(), index)
                       : read_vocabulary(vocabulary->get_object(), index));
  index_ = &index;
  RETURN_IF_ERROR(read_added_tokens(root));
  index_ = nullptr;
  if (parts_.table.size() == 0) return data_loss("the tokenizer has no tokens");
  RETURN_IF_ERROR(make_model(type, model->get_object(), std::move(index)));
  RETURN_IF_ERROR(read_post_processor(json_member(root, "post_processor")));
  RETURN_IF_ERROR(parts_.table.set_bytes(parts_.decoder));
  return make_tokenizer(std::move(parts_));
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> build_tokenizer(const bj::object& root) {
  return Loader().load(root);
}

StatusOr<std::unique_ptr<Tokenizer>> parse_tokenizer_json(std::string_view json) {
  if (json.size() > kMaxFileBytes) return data_loss("tokenizer.json is longer than 256 MiB");
  boost::system::error_code error;
  bj::monotonic_resource memory(std::max<size_t>(4096, json.size() * 4));
  bj::stream_parser parser(&memory);
  const size_t read = parser.write_some(json.data(), json.size(), error);
  if (!error) parser.finish(error);
  if (!error && json.find_first_not_of(" \t\r\n", read) != std::string_view::npos) {
    error = bj::make_error_code(bj::error::extra_data);
  }
  if (error) {
    return data_loss("tokenizer.json is not JSON: " + error.message() + " near byte " +
                     std::to_string(read));
  }
  const bj::value root = parser.release();
  if (!root.is_object()) return data_loss("tokenizer.json is no object");
  return build_tokenizer(root.get_object());
}

}  // namespace octavo::text
