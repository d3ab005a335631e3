// A protocol buffer is a row of fields: a key (number << 3 | wire type) as a varint, then a varint,
// four or eight bytes, or a length and as many bytes. Messages nest two deep here; fields that we
// do not know are skipped, and a repeated single field counts as it stands last.
#include "text/sentencepiece_model.h"

#include <cstdint>
#include <cstring>

#include "base/status_macros.h"
#include "base/utf8.h"

namespace octavo::text {
namespace {

constexpr size_t kMaxPieces = size_t{1} << 22;

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;      // of a varint, or the bits of a fixed one
  std::string_view bytes;  // of a length-delimited one
  bool delimited = false;
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}
  bool done() const { return rest_.empty(); }

  StatusOr<Field> next() {
    Field field;
    ASSIGN_OR_RETURN(const uint64_t key, varint());
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) return data_loss("a field has no valid number");
    field.number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
      case 0: {
        ASSIGN_OR_RETURN(field.value, varint());
        return field;
      }
      case 1:
        return fixed(field, 8);
      case 2: {
        ASSIGN_OR_RETURN(const uint64_t size, varint());
        if (size > rest_.size()) return cut_short();
        field.bytes = rest_.substr(0, size);
        field.delimited = true;
        rest_.remove_prefix(size);
        return field;
      }
      case 5:
        return fixed(field, 4);
      default:
        return data_loss("a field has the wire type " + std::to_string(key & 7));
    }
  }

 private:
  static Status cut_short() { return data_loss("a field is cut short"); }

  StatusOr<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (rest_.empty()) return cut_short();
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      if (shift < 64) value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return data_loss("a number is longer than ten bytes");
  }

  StatusOr<Field> fixed(Field field, size_t size) {
    if (size > rest_.size()) return cut_short();
    std::memcpy(&field.value, rest_.data(), size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
};

// Hands each field of `message` to `read`, which may refuse it.
template <typename Read>
Status for_each_field(std::string_view message, Read read) {
  for (FieldReader reader(message); !reader.done();) {
    ASSIGN_OR_RETURN(const Field field, reader.next());
    RETURN_IF_ERROR(read(field));
  }
  return ok_status();
}

StatusOr<SentencePieceModel::Piece> read_piece(std::string_view message) {
  SentencePieceModel::Piece piece;
  RETURN_IF_ERROR(for_each_field(message, [&](const Field& field) -> Status {
    if (field.number == 1 && field.delimited) piece.text = field.bytes;
    if (field.number == 2) {
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof bits);
    }
    if (field.number == 3) {
      if (field.value < 1 || field.value > 6)
        return data_loss("a piece has the type " + std::to_string(field.value));
      piece.type = static_cast<SentencePieceModel::PieceType>(field.value);
    }
    return ok_status();
  }));
  if (piece.text.empty()) return data_loss("an empty piece");
  if (!valid_utf8(piece.text)) return data_loss("a piece that is not UTF-8");
  if (piece.text.find('\0') != std::string_view::npos) return data_loss("a piece with a NUL in it");
  if (!(piece.score == piece.score)) return data_loss("a piece whose score is no number");
  return piece;
}

Status read_trainer(std::string_view message, SentencePieceModel& model) {
  return for_each_field(message, [&](const Field& field) -> Status {
    switch (field.number) {
      case 3:
        if (field.value < 1 || field.value > 4)
          return data_loss("the model has the type " + std::to_string(field.value));
        model.kind = static_cast<SentencePieceModel::Kind>(field.value);
        break;
      case 24:
        model.whitespace_as_suffix = field.value != 0;
        break;
      case 35:
        model.byte_fallback = field.value != 0;
        break;
      case 44:
        model.unk_surface = field.bytes;
        break;
      case 46:
        model.bos_piece = field.bytes;
        break;
      case 47:
        model.eos_piece = field.bytes;
        break;
      default:
        break;
    }
    return ok_status();
  });
}

Status read_normalizer(std::string_view message, SentencePieceModel& model) {
  return for_each_field(message, [&](const Field& field) -> Status {
    if (field.number == 2) model.charsmap = field.bytes;
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model.escape_whitespaces = field.value != 0;
    return ok_status();
  });
}

Status read_denormalizer(std::string_view message, SentencePieceModel& model) {
  return for_each_field(message, [&](const Field& field) -> Status {
    if (field.number == 2) model.decoding_charsmap = field.bytes;
    return ok_status();
  });
}

}  // namespace

StatusOr<SentencePieceModel> parse_sentencepiece_model(std::string_view file) {
  SentencePieceModel model;
  RETURN_IF_ERROR(for_each_field(file, [&](const Field& field) -> Status {
    if (!field.delimited) return ok_status();
    if (field.number == 1) {
      if (model.pieces.size() == kMaxPieces) return data_loss("more than 4,194,304 pieces");
      auto piece = read_piece(field.bytes);
      if (!piece.ok())
        return piece.status().with_context("piece " + std::to_string(model.pieces.size()));
      model.pieces.push_back(*piece);
    }
    if (field.number == 2) return read_trainer(field.bytes, model);
    if (field.number == 3) return read_normalizer(field.bytes, model);
    if (field.number == 5) return read_denormalizer(field.bytes, model);
    return ok_status();
  }));
  if (model.pieces.empty()) return data_loss("it holds no pieces");
  if (!valid_utf8(model.unk_surface)) return data_loss("unk_surface is not UTF-8");
  return model;
}

}  // namespace octavo::text
