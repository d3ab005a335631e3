#include "text/tried_template.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace octavo::text {
namespace {

constexpr const char* kTakesParts =
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";

std::string numbered(int i) {
  return "{{ messages[0].content }}" + std::to_string(i);
}

std::shared_ptr<const TriedTemplate> get(TriedTemplateCache& cache, const std::string& source) {
  auto tried = cache.get(source, {});
  EXPECT_TRUE(tried.ok()) << tried.status().message();
  return tried.ok() ? *tried : nullptr;
}

TEST(TriedTemplate, KnowsWhatTheTemplateTakes) {
  const auto parts = try_template(kTakesParts, "auto", {});
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(parts->content, ContentForm::kParts);
  EXPECT_EQ(try_template(kTakesParts, "string", {})->content, ContentForm::kString);
  EXPECT_EQ(try_template("", "auto", {})->parsed, nullptr);
  EXPECT_FALSE(try_template("{% if %}", "auto", {}).ok());
}

TEST(TriedTemplateCache, TriesATemplateOutOnce) {
  TriedTemplateCache cache;
  const auto first = get(cache, kTakesParts);
  EXPECT_EQ(first->content, ContentForm::kParts);
  EXPECT_NE(get(cache, numbered(1)), first);
  EXPECT_EQ(get(cache, kTakesParts), first);
}

TEST(TriedTemplateCache, KeepsThoseUsedLast) {
  TriedTemplateCache cache({.templates = 2});
  const auto first = get(cache, numbered(1)), second = get(cache, numbered(2));
  EXPECT_EQ(get(cache, numbered(1)), first);
  get(cache, numbered(3));
  EXPECT_EQ(get(cache, numbered(1)), first);
  EXPECT_NE(get(cache, numbered(2)), second);
}

TEST(TriedTemplateCache, IsBoundedInBytes) {
  TriedTemplateCache cache({.source_bytes = 3 * numbered(1).size() - 1});
  const auto first = get(cache, numbered(1)), second = get(cache, numbered(2));
  get(cache, numbered(3));
  EXPECT_EQ(get(cache, numbered(2)), second);
  EXPECT_NE(get(cache, numbered(1)), first);
}

TEST(TriedTemplateCache, LeavesOutWhatIsLargerThanItself) {
  TriedTemplateCache cache({.source_bytes = 100});
  const auto small = get(cache, numbered(1));
  const std::string large(200, 'x');
  EXPECT_NE(get(cache, large), get(cache, large));
  EXPECT_EQ(get(cache, numbered(1)), small);
}

TEST(TriedTemplateCache, TellsAnErrorEachTime) {
  TriedTemplateCache cache;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(cache.get("{% if %}", {}).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(TriedTemplateCache, MayBeAskedByManyThreads) {
  TriedTemplateCache cache({.templates = 3});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string source = numbered((i * (t + 1)) % 5);
        const auto tried = get(cache, source);
        const Value::Dict hello = {{"messages", Value::List{Value::Dict{{"content", "hi"}}}}};
        EXPECT_EQ(tried->parsed->render(hello, 0).output, "hi" + source.substr(source.size() - 1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(get(cache, kTakesParts), get(cache, kTakesParts));
}

}  // namespace
}  // namespace octavo::text
