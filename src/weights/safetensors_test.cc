// Tests of the safetensors reader: an honest file is read, and every kind of damage is named.
#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "weights/finite.h"
#include "weights/testing_safetensors.h"

namespace octavo {
namespace {

using testing::with_length;

// The refusal of a file whose header is `header` and whose data are `data_bytes` zeros.
std::string refusal(const std::string& header, size_t data_bytes) {
  const std::string file = with_length(header, std::string(data_bytes, '\0'));
  auto parsed = parse_safetensors_header(file, file.size(), "f.safetensors");
  return parsed.ok() ? "" : parsed.status().to_string();
}

#define EXPECT_REFUSED(header, bytes, part) \
  EXPECT_NE(refusal(header, bytes).find(part), std::string::npos) << refusal(header, bytes)

TEST(SafetensorsHeader, ReadsNamesShapesAndRanges) {
  const std::string file = testing::safetensors_bytes({{"a", DType::kBF16, {2, 3}, {1}},
                                                       {"scalar", DType::kF32, {}, {2}},
                                                       {"none", DType::kF16, {0, 4}, {0}}});
  auto entries = parse_safetensors_header(file, file.size(), "f");
  ASSERT_TRUE(entries.ok()) << entries.status().to_string();
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].dtype, DType::kBF16);
  EXPECT_EQ((*entries)[0].shape_text(), "[2, 3]");
  EXPECT_EQ((*entries)[0].end - (*entries)[0].begin, 12u);
  EXPECT_EQ((*entries)[1].shape_text(), "[]");
  EXPECT_EQ((*entries)[2].begin, (*entries)[2].end);
  EXPECT_EQ((*entries)[1].end, file.size());
}

TEST(SafetensorsHeader, AllowsPaddingAndDtypesThatWeDoNotLoad) {
  EXPECT_EQ(refusal(R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}   )", 3), "");
  EXPECT_EQ(refusal("{}", 0), "");
}

TEST(SafetensorsHeader, NamesWhatIsDamaged) {
  EXPECT_REFUSED("", 0, "no JSON object");
  EXPECT_REFUSED("[1]", 0, "no JSON object");
  EXPECT_REFUSED(R"({"a":)", 0, "invalid JSON");
  EXPECT_REFUSED(R"({"a":3})", 0, "tensor 'a'");
  EXPECT_REFUSED(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "dtype is missing");
  EXPECT_REFUSED(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4,
                 "unknown dtype 'F31'");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "shape holds -1");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4,
                 "shape holds 1.5");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "no range");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "not two numbers");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 4,
                 "no range");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "does not fill");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
                 "does not fill");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "beyond the end");
}

TEST(SafetensorsHeader, RefusesRangesThatDoNotTileTheData) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_REFUSED("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8,
                 "'a' and 'b' overlap");
  EXPECT_REFUSED("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16,
                 "before tensor 'b'");
  EXPECT_REFUSED("{" + a + "}", 12, "4 bytes at the end");
}

TEST(SafetensorsHeader, RefusesANameThatOccursTwice) {
  const std::string a = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  EXPECT_REFUSED("{" + a + "," + a + "}", 4, "tensor 'a' occurs twice");
  EXPECT_REFUSED(R"({"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}})", 4,
                 "name twice");
  EXPECT_REFUSED("{" + a + R"(,"\u0061":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", 4,
                 "name twice");
}

TEST(SafetensorsHeader, RefusesALengthThatLies) {
  std::string file = with_length("{}");
  file[7] = '\x7f';
  EXPECT_NE(parse_safetensors_header(file, file.size(), "f").status().message().find("100 MB"),
            std::string::npos);
  file = with_length("{}");
  file[0] = 3;
  EXPECT_NE(
      parse_safetensors_header(file, file.size(), "f").status().message().find("beyond the end"),
      std::string::npos);
  EXPECT_FALSE(parse_safetensors_header("1234567", 7, "f").ok());
}

TEST(SafetensorsHeader, SurvivesTheLossOfAnyPartOfAFile) {
  const std::string whole =
      testing::safetensors_bytes({{"a", DType::kF32, {2, 3}, {1}}, {"b", DType::kBF16, {5}, {2}}});
  ASSERT_TRUE(parse_safetensors_header(whole, whole.size(), "f").ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_safetensors_header(whole.substr(0, size), size, "f").ok()) << size;
  }
}

TEST(SafetensorsFile, NamesAFileThatIsMissingEmptyOrADirectory) {
  const testing::TemporaryDirectory dir;
  EXPECT_NE(
      SafetensorsFile::open(dir.path() / "no.safetensors").status().message().find("cannot open"),
      std::string::npos);
  testing::write_file(dir.path() / "empty", "");
  EXPECT_NE(SafetensorsFile::open(dir.path() / "empty").status().message().find("empty"),
            std::string::npos);
  EXPECT_FALSE(SafetensorsFile::open(dir.path()).ok());
}

TEST(SafetensorsFile, DroppedPagesReadTheSameAgain) {
  const testing::TemporaryDirectory dir;
  testing::write_file(dir.path() / "f",
                      testing::safetensors_bytes({{"a", DType::kF32, {5000}, {3.5}}}));
  auto file = SafetensorsFile::open(dir.path() / "f");
  ASSERT_TRUE(file.ok());
  const SafetensorsEntry& e = (*file)->entries()[0];
  (*file)->prefetch(e.begin, e.end);
  (*file)->drop(e.begin, e.end);
  float last;
  std::memcpy(&last, (*file)->data(e.end - 4), 4);
  EXPECT_EQ(last, 3.5f);
}

TEST(AllFinite, FindsOneBadValueAnywhereInAnyDtype) {
  std::vector<float> wide(40000, 3.0e38f);
  std::vector<uint16_t> bf16(40000, float_to_bf16(-3.0e38f)), f16(40000, float_to_f16(65504));
  const Tensor f32_tensor{wide.data(), DType::kF32, {200, 200}};
  const Tensor bf16_tensor{bf16.data(), DType::kBF16, {40000}},
      f16_tensor{f16.data(), DType::kF16, {40000}};
  EXPECT_TRUE(all_finite(f32_tensor));
  EXPECT_TRUE(all_finite(bf16_tensor));
  EXPECT_TRUE(all_finite(f16_tensor));
  for (size_t at : {size_t{0}, size_t{16384}, size_t{39999}}) {
    for (float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      wide[at] = bad;
      bf16[at] = float_to_bf16(bad);
      f16[at] = float_to_f16(bad);
      EXPECT_FALSE(all_finite(f32_tensor));
      EXPECT_FALSE(all_finite(bf16_tensor));
      EXPECT_FALSE(all_finite(f16_tensor));
      wide[at] = 0;
      bf16[at] = f16[at] = 0;
    }
  }
}

}  // namespace
}  // namespace octavo
