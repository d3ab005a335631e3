// A tokenizer.model is put to work by the same parts as a tokenizer.json: a normaliser of one step,
// no pre-tokeniser, SentencePiece's BPE or Unigram, and a decoder of one step.
#include "text/tokenizer_sentencepiece.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <cstdio>

#include "base/status_macros.h"
#include "text/sentencepiece_bpe.h"
#include "text/sentencepiece_model.h"
#include "text/sentencepiece_normalizer.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_steps_json.h"
#include "text/unigram.h"

namespace octavo::text {
namespace {

using PieceType = SentencePieceModel::PieceType;
using Kind = SentencePieceModel::Kind;

constexpr std::string_view kMark = "\xE2\x96\x81";
constexpr int64_t kIdsBeyondPieces = 65536;

std::string shown(std::string_view piece) {
  return "'" + std::string(piece.substr(0, 100)) + "'";
}

// What the classes and families of Transformers put around a text unless told otherwise.
struct Ends {
  bool bos, eos;
};
Ends default_ends(const TokenizerSettings& settings) {
  const std::string_view by_class = settings.tokenizer_class();
  for (const char* name : {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer"}) {
    if (by_class == name) return {true, false};
  }
  if (by_class == "T5Tokenizer") return {false, true};
  if (!by_class.empty()) return {false, false};
  for (const char* name : {"llama", "mistral", "mixtral", "gemma", "gemma2"}) {
    if (settings.model_type == name) return {true, false};
  }
  return {false, settings.model_type == "t5"};
}

class Builder {
 public:
  Builder(const SentencePieceModel& model, const TokenizerSettings& settings)
      : model_(model), settings_(settings) {}
  StatusOr<std::unique_ptr<Tokenizer>> build();

 private:
  Status read_pieces();
  Status check_bytes() const;
  Status add_specials();
  Status add_ends();
  Status add_end(std::string_view name, std::string_view piece, std::vector<TokenId>& ends) const;
  StatusOr<SentencePieceNormalizer> make_normalizer() const;
  PieceTrie user_defined() const;
  Status make_model();
  std::vector<Unigram::Piece> unigram_pieces(float& worst) const;

  const SentencePieceModel& model_;
  const TokenizerSettings& settings_;
  TokenizerParts parts_;
  TokenIndex index_;
  TokenId unk_id_ = -1;
};

Status Builder::read_pieces() {
  size_t bytes = 0;
  for (const auto& piece : model_.pieces) bytes += piece.text.size();
  index_.reserve(model_.pieces.size(), bytes);
  parts_.table.reserve(model_.pieces.size() + 64, bytes * 2 + 1024);
  bool mark_inside = false, mark_in_text = false, unused = false;
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    const auto& piece = model_.pieces[i];
    const auto id = static_cast<TokenId>(i);
    if (piece.text.size() > kMaxPieceBytes)
      return data_loss("the piece " + shown(piece.text) + " is longer than 1 KiB");
    if (!index_.insert(piece.text, id))
      return data_loss("the piece " + shown(piece.text) + " stands there twice");
    parts_.table.add(id, piece.text);
    if (piece.type == PieceType::kUnknown) {
      if (unk_id_ >= 0) return data_loss("there are two unknown pieces");
      unk_id_ = id;
    }
    unused |= piece.type == PieceType::kUnused;
    mark_in_text |= piece.text == kMark &&
                    (piece.type == PieceType::kNormal || piece.type == PieceType::kUserDefined);
    std::string_view word = piece.text;
    while (word.starts_with(kMark)) word.remove_prefix(kMark.size());
    mark_inside |= word.find(kMark) != std::string_view::npos;
  }
  if (unk_id_ < 0) return data_loss("there is no unknown piece");
  // Unigram weighs whole texts, and unused pieces come apart as the whole text says.
  parts_.cut_at_metaspace = model_.kind == Kind::kBpe && !mark_inside && !unused &&
                            model_.escape_whitespaces && mark_in_text;
  return check_bytes();
}

Status Builder::check_bytes() const {
  for (const auto& piece : model_.pieces) {
    if (piece.type == PieceType::kByte && !model_.byte_fallback)
      return data_loss("the byte piece " + shown(piece.text) +
                       " stands there without byte_fallback");
  }
  for (int b = 0; model_.byte_fallback && b < 256; ++b) {
    std::array<char, 8> name;
    std::snprintf(name.data(), name.size(), "<0x%02X>", b);
    const TokenId id = index_.find(name.data());
    if (id < 0 || model_.pieces[id].type != PieceType::kByte)
      return data_loss(std::string("byte_fallback without the byte piece ") + name.data());
  }
  return ok_status();
}

PieceTrie Builder::user_defined() const {
  std::vector<PieceTrie::Entry> entries;
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    if (model_.pieces[i].type == PieceType::kUserDefined)
      entries.push_back({model_.pieces[i].text, static_cast<TokenId>(i)});
  }
  return PieceTrie(std::move(entries));
}

StatusOr<SentencePieceNormalizer> Builder::make_normalizer() const {
  SentencePieceNormalizer normalizer;
  if (!model_.charsmap.empty()) {
    ASSIGN_OR_RETURN(normalizer.charsmap, Charsmap::parse(model_.charsmap));
  }
  normalizer.user_defined = user_defined();
  normalizer.add_dummy_prefix =
      model_.add_dummy_prefix && json_bool(settings_.config, "add_prefix_space", true);
  normalizer.dummy_only_at_start = !json_bool(settings_.config, "legacy", true);
  normalizer.whitespace_as_suffix = model_.whitespace_as_suffix;
  normalizer.remove_extra_whitespaces = model_.remove_extra_whitespaces;
  normalizer.escape_whitespaces = model_.escape_whitespaces;
  return normalizer;
}

// A user-defined piece has no score of its own: it gets one above every log probability, the longer
// the better (measured on SentencePiece 0.2.3).
std::vector<Unigram::Piece> Builder::unigram_pieces(float& worst) const {
  worst = FLT_MAX;
  std::vector<Unigram::Piece> pieces;
  pieces.reserve(model_.pieces.size());
  for (const auto& piece : model_.pieces) {
    const bool normal = piece.type == PieceType::kNormal;
    const bool user_defined = piece.type == PieceType::kUserDefined;
    if (normal) worst = std::min(worst, piece.score);
    const float bonus = 0.1F * static_cast<float>(piece.text.size() - 1);
    pieces.push_back({piece.text, user_defined ? bonus : piece.score, normal || user_defined});
  }
  return pieces;
}

Status Builder::make_model() {
  if (model_.kind == Kind::kBpe) {
    parts_.model =
        std::make_unique<const SentencePieceBpe>(model_, std::move(index_), user_defined());
    return ok_status();
  }
  float worst = 0;
  const std::vector<Unigram::Piece> pieces = unigram_pieces(worst);
  Unigram::Config config;
  config.unk_id = unk_id_;
  config.byte_fallback = model_.byte_fallback;
  config.unk_score = worst - 10.0F;
  config.as_sentencepiece = true;
  ASSIGN_OR_RETURN(parts_.model, Unigram::build(config, std::move(index_), pieces));
  return ok_status();
}

// Control pieces, and what the settings name.
Status Builder::add_specials() {
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    if (model_.pieces[i].type != PieceType::kControl) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(i);
    token.content = model_.pieces[i].text;
    token.special = true;
    parts_.table.set_special(token.id);
    parts_.added.add(token, token.content);
  }
  for (const AddedToken& token : settings_.added) {
    if (token.id >= static_cast<int64_t>(model_.pieces.size()) + kIdsBeyondPieces)
      return data_loss("the id of the added token " + shown(token.content) + " is out of range");
    if (!parts_.table.add(token.id, token.content)) {
      return data_loss("id " + std::to_string(token.id) + " stands for both " +
                       shown(parts_.table.string(token.id)) + " and the added token " +
                       shown(token.content));
    }
    if (token.special) parts_.table.set_special(token.id);
    const TokenId piece = index_.find(token.content);
    if (piece < 0) parts_.outside_model.emplace(token.content, token.id);
    // A user-defined piece is the model's own affair: it changes nothing about its neighbours.
    const bool own = piece == token.id && model_.pieces[piece].type == PieceType::kUserDefined;
    if (!own || token.special) parts_.added.add(token, token.content);
  }
  return ok_status();
}

Status Builder::add_end(std::string_view name, std::string_view piece,
                        std::vector<TokenId>& ends) const {
  if (const std::string_view set = settings_.special(name); !set.empty()) piece = set;
  TokenId id = index_.find(piece);
  if (const auto it = parts_.outside_model.find(std::string(piece));
      it != parts_.outside_model.end()) {
    id = it->second;
  }
  if (id < 0) return data_loss(std::string(name) + " " + shown(piece) + " is no token");
  ends.push_back(id);
  return ok_status();
}

Status Builder::add_ends() {
  const Ends ends = default_ends(settings_);
  if (json_bool(settings_.config, "add_bos_token", ends.bos))
    RETURN_IF_ERROR(add_end("bos_token", model_.bos_piece, parts_.prefix));
  if (json_bool(settings_.config, "add_eos_token", ends.eos))
    RETURN_IF_ERROR(add_end("eos_token", model_.eos_piece, parts_.suffix));
  return ok_status();
}

StatusOr<std::unique_ptr<Tokenizer>> Builder::build() {
  if (model_.kind == Kind::kWord || model_.kind == Kind::kChar) {
    return unimplemented(std::string("a SentencePiece model of the type ") +
                         (model_.kind == Kind::kWord ? "WORD" : "CHAR"));
  }
  if (!model_.decoding_charsmap.empty()) return unimplemented("a SentencePiece denormalizer_spec");
  RETURN_IF_ERROR(read_pieces());
  RETURN_IF_ERROR(add_specials());
  RETURN_IF_ERROR(add_ends());
  ASSIGN_OR_RETURN(SentencePieceNormalizer normalizer, make_normalizer());
  std::vector<NormalizerStep> steps;
  steps.emplace_back(
      SentencePieceStep{std::make_shared<const SentencePieceNormalizer>(std::move(normalizer))});
  parts_.normalizer = Normalizer(std::move(steps));
  SentencePieceDecode decode;
  decode.bytes = model_.byte_fallback;
  decode.strips_front = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
  decode.strips_each = model_.remove_extra_whitespaces;
  if (!parts_.table.special(unk_id_)) decode.unk_piece = model_.pieces[unk_id_].text;
  decode.unk_surface = model_.unk_surface;
  ASSIGN_OR_RETURN(parts_.decoder, Decoder::make({std::move(decode)}));
  RETURN_IF_ERROR(make_model());
  RETURN_IF_ERROR(parts_.table.set_bytes(parts_.decoder));
  return make_tokenizer(std::move(parts_));
}

}  // namespace

StatusOr<std::unique_ptr<Tokenizer>> parse_sentencepiece(std::string_view file,
                                                         const TokenizerSettings& settings) {
  ASSIGN_OR_RETURN(const SentencePieceModel model, parse_sentencepiece_model(file));
  return Builder(model, settings).build();
}

}  // namespace octavo::text
