// Reads SentencePiece's tokenizer.model: a protocol buffer that holds the pieces and how text is
// made ready for them. Called while a model is loaded. The file is not trusted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"

namespace octavo::text {

// The fields of sentencepiece_model.proto that encoding and decoding depend on; strings lie in the
// file's text.
struct SentencePieceModel {
  enum class PieceType {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,      // <s>: has an id, and no text
    kUserDefined = 4,  // always one piece, wherever the text reads so
    kUnused = 5,
    kByte = 6,
  };
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  struct Piece {
    std::string_view text;
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Piece> pieces;  // by id
  // trainer_spec
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string_view unk_surface = " \xE2\x81\x87 ";  // what the unknown piece reads as
  std::string_view bos_piece = "<s>", eos_piece = "</s>";
  // normalizer_spec
  std::string_view charsmap;  // empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  // denormalizer_spec
  std::string_view decoding_charsmap;
};

// `file` must outlive the model.
StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view file);

}  // namespace octavo::text
