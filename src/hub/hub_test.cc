// Tests of names, checksums, the choice of files and the cache's layout. Downloads are tested
// against a stand-in hub in tests/e2e/test_hub.py.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/testing_directory.h"
#include "hub/cache.h"
#include "hub/checksum.h"
#include "hub/download.h"
#include "hub/names.h"

namespace octavo::hub {
namespace {

namespace fs = std::filesystem;

TEST(Names, OfModelsHaveTwoPartsThatMeanNoFolder) {
  for (const char* good : {"a/b", "Qwen/Qwen3-0.6B", "o_1/x.y-z"}) EXPECT_TRUE(is_model_name(good));
  for (const char* bad : {"", "a", "/b", "a/", "a/b/c", "../b", "a/..", "a--b/c", "a/b--c", ".a/b",
                          "a/-b", "a/b.", "a b/c", "a/b\n", "ä/b", "a/b@c", "a/b%2F"}) {
    EXPECT_FALSE(is_model_name(bad)) << bad;
  }
  EXPECT_FALSE(is_model_name("a/" + std::string(200, 'b')));
}

TEST(Names, OfRevisionsMayHaveSlashes) {
  for (const char* good : {"main", "refs/pr/1", "v1.0", "0123abcd"}) EXPECT_TRUE(is_revision(good));
  for (const char* bad : {"", "/main", "main/", "a//b", "..", "a/../b", "-x", "a b", ".", "./a"})
    EXPECT_FALSE(is_revision(bad)) << bad;
  EXPECT_EQ(parse_model_reference("a/b@refs/pr/1")->revision, "refs/pr/1");
  EXPECT_EQ(parse_model_reference("a/b")->revision, "");
  EXPECT_FALSE(parse_model_reference("a/b@").ok());
}

TEST(Names, OfFilesStayInTheirFolder) {
  EXPECT_TRUE(is_file_name("model-00001-of-00002.safetensors"));
  for (const char* bad : {"", "a/b", "..", ".hidden", "../x", "-x", "a\\b", "a\nb"})
    EXPECT_FALSE(is_file_name(bad)) << bad;
}

TEST(Checksum, IsThatOfTheFileOrOfItsGitBlob) {
  Checksum sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 3);
  sha256.add("a");
  sha256.restart();
  sha256.add("ab");
  sha256.add("c");
  EXPECT_TRUE(sha256.matches());
  Checksum git("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", 3);  // git hash-object of "abc"
  git.add("abc");
  EXPECT_TRUE(git.matches());
  Checksum other("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f", 4);
  other.add("abc");
  EXPECT_FALSE(other.matches());
}

TEST(Download, ChoosesWhatServingNeeds) {
  const std::vector<std::string> files = {"config.json",       "model.safetensors.index.json",
                                          "tokenizer.json",    "qwen.tiktoken",
                                          "pytorch_model.bin", "model.onnx",
                                          "README.md",         "sub/tokenizer.json",
                                          "../x.tiktoken",     "chat_template.jinja"};
  EXPECT_EQ(choose_small_files(files, Wanted::kEverything),
            (std::vector<std::string>{"config.json", "model.safetensors.index.json",
                                      "tokenizer.json", "qwen.tiktoken", "chat_template.jinja"}));
  EXPECT_EQ(choose_small_files(files, Wanted::kAllButWeights),
            (std::vector<std::string>{"config.json", "tokenizer.json", "qwen.tiktoken",
                                      "chat_template.jinja"}));
}

class Cache : public ::testing::Test {
 protected:
  void write(const fs::path& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  const octavo::testing::TemporaryDirectory temporary_;
  const fs::path& root_ = temporary_.path();
};

TEST_F(Cache, FindsASnapshotByRefAndByCommitAndByNothingElse) {
  const fs::path repository = "models--o--n";
  write(repository / "refs/main", "abc\n");
  write(repository / "refs/evil", "../../../etc");
  write(repository / "snapshots/abc/config.json", "{}");
  const HubCache cache(root_);
  EXPECT_EQ(*cache.find_snapshot("o/n", "main"), root_ / repository / "snapshots/abc");
  EXPECT_TRUE(cache.find_snapshot("o/n", "abc").ok());
  for (const char* none : {"evil", "v2", "refs/pr/1"})
    EXPECT_EQ(cache.find_snapshot("o/n", none).status().code(), StatusCode::kNotFound) << none;
  EXPECT_FALSE(cache.find_snapshot("o/m", "main").ok());
}

TEST_F(Cache, KnowsWhatIsMissingFromASnapshot) {
  const fs::path s = root_ / "s";
  write("s/config.json", "{}");
  EXPECT_TRUE(is_whole(s, Wanted::kAllButWeights));
  EXPECT_FALSE(is_whole(s, Wanted::kEverything));
  write("s/model.safetensors.index.json",
        R"({"weight_map": {"a": "1.st", "b": "2.st", "c": "1.st"}})");
  write("s/1.st", "");
  EXPECT_FALSE(is_whole(s, Wanted::kEverything));
  write("s/2.st", "");
  EXPECT_TRUE(is_whole(s, Wanted::kEverything));
  EXPECT_EQ(*shards_of_index(s / "model.safetensors.index.json"),
            (std::vector<std::string>{"1.st", "2.st"}));
}

TEST_F(Cache, RefusesAnIndexThatReachesOut) {
  for (const char* bad : {"", "[]", "{}", R"({"weight_map": {}})", R"({"weight_map": {"a": 1}})",
                          R"({"weight_map": {"a": "../x"}})", R"({"weight_map": {"a": "/x"}})"}) {
    write("index.json", bad);
    EXPECT_FALSE(shards_of_index(root_ / "index.json").ok()) << bad;
  }
}

TEST_F(Cache, ListsItsModels) {
  write("models--o--n/blobs/1234", "12345");
  write("models--o--n/snapshots/abc/config.json", "{}");
  write("models--o--n/snapshots/abc/model.safetensors", "");
  write("models--gpt2/blobs/1", "1");
  write("datasets--o--d/blobs/1", "1");
  const auto models = HubCache(root_).list();
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0].name, "gpt2");
  EXPECT_FALSE(models[0].whole);
  EXPECT_EQ(models[1].name, "o/n");
  EXPECT_EQ(models[1].bytes, 5u);
  EXPECT_TRUE(models[1].whole);
  EXPECT_GT(models[1].last_used, 0);
  EXPECT_TRUE(HubCache(root_ / "none").list().empty());
}

}  // namespace
}  // namespace octavo::hub
