// Tests of loading: what reaches the parameters, and what is refused with which words.
#include "weights/loader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/testing_files.h"
#include "nn/testing_backend.h"
#include "weights/testing_safetensors.h"

namespace octavo {
namespace {

using testing::FileTensor;
using testing::safetensors_bytes;
using testing::TemporaryDirectory;
using testing::write_file;

// A model of nothing but parameters, which remembers what was written.
class RecordingModel : public Model {
 public:
  struct Slot {
    Parameter parameter;
    std::vector<float> values;
  };
  Slot& add(const std::string& name, Shape shape) {
    Slot& slot = slots_[name];
    slot.parameter.name = name;
    slot.parameter.shape = shape;
    slot.values.assign(static_cast<size_t>(shape.count()), NAN);
    slot.parameter.load_rows = [&slot](int64_t row, const Tensor& src) {
      const int64_t columns = src.dim(0) > 0 ? src.count() / src.dim(0) : 0;
      for (int64_t i = 0; i < src.count(); ++i) {
        slot.values[static_cast<size_t>(row * columns + i)] = read_float(src, i);
      }
    };
    return slot;
  }
  const std::vector<float>& values(const std::string& name) const { return slots_.at(name).values; }

  std::vector<KvCacheSpec> kv_groups() const override { return {}; }
  Tensor forward(ForwardContext&) override { return {}; }
  Tensor logits(ForwardContext&, const Tensor&) override { return {}; }
  void for_each_parameter(const ParameterVisitor& visit) override {
    for (auto& [name, slot] : slots_) visit(slot.parameter);
  }

 private:
  std::map<std::string, Slot> slots_;
};

std::vector<float> ramp(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<float>(i % 251) - 100;
  return values;
}

// The message of loading `tensors` into a model of "a" [2, 3] and "b" [4].
std::string refusal(const std::vector<FileTensor>& tensors) {
  const TemporaryDirectory dir;
  write_file(dir.path() / "model.safetensors", safetensors_bytes(tensors));
  RecordingModel model;
  model.add("a", {2, 3});
  model.add("b", {4});
  auto report = load_safetensors(dir.path(), model, 2);
  return report.ok() ? "" : report.status().to_string();
}

const FileTensor kA{"a", DType::kBF16, {2, 3}, {1}};
const FileTensor kB{"b", DType::kF32, {4}, {2}};

#define EXPECT_REFUSED(tensors, part) \
  EXPECT_NE(refusal tensors.find(part), std::string::npos) << refusal tensors

TEST(LoadSafetensors, FillsEveryDtypeInChunksFromSeveralThreads) {
  const TemporaryDirectory dir;
  const int64_t rows = 3000, columns = 257;
  // The odd-sized first tensor leaves the others unaligned in the file.
  write_file(dir.path() / "model.safetensors",
             safetensors_bytes({{"odd", DType::kBF16, {1}, {1}},
                                {"f32", DType::kF32, {rows, columns}, ramp(rows * columns)},
                                {"bf16", DType::kBF16, {rows, columns}, ramp(rows * columns)},
                                {"f16", DType::kF16, {rows, columns}, ramp(rows * columns)},
                                {"empty", DType::kF16, {0, 4}, {0}}}));
  for (int threads : {1, 3}) {
    RecordingModel model;
    for (const char* name : {"f32", "bf16", "f16"}) model.add(name, {rows, columns});
    model.add("odd", {1});
    model.add("empty", {0, 4});
    auto report = load_safetensors(dir.path(), model, threads);
    ASSERT_TRUE(report.ok()) << report.status().to_string();
    EXPECT_EQ(report->num_parameters, 3 * rows * columns + 1);
    for (const char* name : {"f32", "bf16", "f16"})
      EXPECT_EQ(model.values(name), ramp(rows * columns)) << name;
  }
}

TEST(LoadSafetensors, NamesMissingExtraAndMisshapenTensors) {
  EXPECT_EQ(refusal({kA, kB}), "");
  EXPECT_REFUSED(({kA}), "missing 'b'");
  EXPECT_REFUSED(({kA, kB, {"c", DType::kF32, {1}, {0}}}), "not part of this model: 'c'");
  EXPECT_REFUSED(({kA, {"b", DType::kF32, {2, 2}, {0}}}),
                 "'b' has shape [2, 2], but config.json makes it [4]");
  EXPECT_REFUSED(({kB, {"a", DType::kF32, {3, 2}, {0}}}), "'a' has shape [3, 2]");
}

TEST(LoadSafetensors, NamesATensorWithAValueThatIsNotFinite) {
  EXPECT_REFUSED(({{"a", DType::kBF16, {2, 3}, {0, 0, NAN, 0, 0, 0}}, kB}),
                 "tensor 'a' holds a value that is not finite");
  EXPECT_REFUSED(({kA, {"b", DType::kF16, {4}, {0, 0, 0, INFINITY}}}), "tensor 'b'");
}

TEST(LoadSafetensors, IgnoresBuffersThatCheckpointsCarry) {
  EXPECT_EQ(refusal({kA,
                     kB,
                     {"model.layers.0.self_attn.rotary_emb.inv_freq", DType::kF32, {4}, {0}},
                     {"h.0.attn.bias", DType::kF32, {1, 1, 2, 2}, {0}},
                     {"lm_head.weight", DType::kF32, {1}, {0}}}),
            "");
}

TEST(LoadSafetensors, TakesAParameterUnderItsAlias) {
  const TemporaryDirectory dir;
  write_file(dir.path() / "model.safetensors", safetensors_bytes({{"wte", DType::kF32, {2}, {7}}}));
  RecordingModel model;
  model.add("transformer.wte", {2}).parameter.alias = "wte";
  auto report = load_safetensors(dir.path(), model, 1);
  ASSERT_TRUE(report.ok()) << report.status().to_string();
  EXPECT_EQ(model.values("transformer.wte"), (std::vector<float>{7, 7}));
}

class Shards : public ::testing::Test {
 protected:
  void SetUp() override {
    write_file(dir_.path() / "one.safetensors", safetensors_bytes({kA}));
    write_file(dir_.path() / "two.safetensors", safetensors_bytes({kB}));
  }
  std::string load(const std::string& index) {
    write_file(dir_.path() / "model.safetensors.index.json", index);
    RecordingModel model;
    model.add("a", {2, 3});
    model.add("b", {4});
    auto report = load_safetensors(dir_.path(), model, 2);
    return report.ok() ? "" : report.status().to_string();
  }
  TemporaryDirectory dir_;
};

TEST_F(Shards, AreReadTogether) {
  EXPECT_EQ(load(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})"), "");
}

TEST_F(Shards, AnIndexMustSayTheTruth) {
  const auto expect = [&](const std::string& index, const std::string& part) {
    const std::string message = load(index);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}})",
         "tensor 'b' is not in one.safetensors");
  expect(R"({"weight_map": {"a": "one.safetensors", "b": "three.safetensors"}})",
         "three.safetensors");
  expect(R"({"weight_map": {"a": "../one.safetensors"}})",
         "no name of a file in the same directory");
  expect(R"({"weight_map": {"a": "/etc/passwd"}})", "no name of a file in the same directory");
  expect(R"({"weight_map": {"a": ".."}})", "no name of a file in the same directory");
  expect(R"({"weight_map": {"a": 3}})", "no name of a file in the same directory");
  expect(R"({"weight_map": []})", "no weight_map");
  expect(R"({"weight)", "invalid JSON");
  write_file(dir_.path() / "two.safetensors", safetensors_bytes({kA, kB}));
  expect(R"({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}})",
         "tensor 'a' is in both");
}

TEST(LoadSafetensors, SaysWhenADirectoryHoldsNoWeights) {
  const TemporaryDirectory dir;
  RecordingModel model;
  EXPECT_NE(load_safetensors(dir.path(), model, 1).status().message().find("no weights"),
            std::string::npos);
}

std::vector<float> dummy_values(uint64_t seed, int threads, const std::string& name) {
  RecordingModel model;
  model.add("matrix", {1000, 777});
  model.add("other", {1000, 777});
  Parameter& norm = model.add("norm", {10}).parameter;
  norm.constant = true;
  norm.fill = 1;
  EXPECT_TRUE(load_dummy(model, seed, threads).ok());
  return model.values(name);
}

TEST(LoadDummy, IsUniformWithinAThousandthAndFillsConstants) {
  const std::vector<float> values = dummy_values(1, 2, "matrix");
  double sum = 0, squares = 0;
  for (float v : values) {
    ASSERT_LE(std::fabs(v), 1e-3f);
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 5e-6);
  EXPECT_NEAR(squares / n, 1e-6 / 3, 2e-9);
  EXPECT_EQ(dummy_values(1, 2, "norm"), std::vector<float>(10, 1.0f));
}

TEST(LoadDummy, DependsOnSeedAndNameButNotOnThreads) {
  EXPECT_EQ(dummy_values(1, 1, "matrix"), dummy_values(1, 3, "matrix"));
  EXPECT_NE(dummy_values(1, 1, "matrix"), dummy_values(2, 1, "matrix"));
  EXPECT_NE(dummy_values(1, 1, "matrix"), dummy_values(1, 1, "other"));
}

TEST(LoadSafetensors, Gpt2CheckpointsMayLackThePrefix) {
  const std::filesystem::path golden = octavo::testing::source_dir() / "tests/data/goldens/gpt2";
  std::ifstream in(golden / "model.safetensors", std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  // Renames in place keep the header's length: a blank after the name's quote is valid JSON.
  for (size_t at = 0; (at = bytes.find("\"transformer.", at)) != std::string::npos; ++at) {
    bytes.replace(at, 13, "            \"");
  }
  const TemporaryDirectory dir;
  write_file(dir.path() / "model.safetensors", bytes);
  auto config = read_model_config(golden);
  ASSERT_TRUE(config.ok()) << config.status().to_string();
  testing::TestingBackend backend;
  auto model = make_model(*config, DType::kF32, backend);
  ASSERT_TRUE(model.ok());
  auto report = load_safetensors(dir.path(), **model, 2);
  EXPECT_TRUE(report.ok()) << report.status().to_string();
}

}  // namespace
}  // namespace octavo
