// tool_choice and the schemas of forced calls.
#include <gtest/gtest.h>

#include "serve/openai/tool_choice.h"

namespace octavo::serve {
namespace {

StatusOr<std::string> schema_for(const std::string& body) {
  const Value value = *parse_json(body);
  JsonFields fields(value);
  std::optional<std::vector<Value>> tools;
  const ToolChoice choice = read_tools(fields, tools);
  EXPECT_TRUE(fields.status().ok()) << fields.status().to_string();
  return call_schema(choice, *tools);
}

TEST(CallSchema, OfARequiredCallIsAListOfNamesAndParameters) {
  EXPECT_EQ(
      *schema_for(R"({"tool_choice":"required","tools":[{"function":{"name":"f","parameters":)"
                  R"({"type":"object","properties":{}}}},{"function":{"name":"g"}}]})"),
      R"({"type":"array","minItems":1,"items":{"anyOf":[)"
      R"({"type":"object","properties":{"name":{"type":"string","enum":["f"]},)"
      R"("parameters":{"type":"object","properties":{}}},)"
      R"("required":["name","parameters"],"additionalProperties":false},)"
      R"({"type":"object","properties":{"name":{"type":"string","enum":["g"]},)"
      R"("parameters":{"type":"object","properties":{},"additionalProperties":false}},)"
      R"("required":["name","parameters"],"additionalProperties":false}]}})");
}

TEST(CallSchema, HoldsASingleCallWhereCallsMayNotBeParallel) {
  EXPECT_EQ(schema_for(R"({"tool_choice":"required","parallel_tool_calls":false,)"
                       R"("tools":[{"function":{"name":"f"}}]})")
                ->find(R"({"type":"array","minItems":1,"maxItems":1,)"),
            0u);
}

TEST(CallSchema, OfANamedCallIsItsParameters) {
  EXPECT_EQ(*schema_for(R"({"tool_choice":{"function":{"name":"g"}},"tools":[{"function":)"
                        R"({"name":"f"}},{"function":{"name":"g","parameters":{"properties":)"
                        R"({"a":{"type":"string"}},"required":["a"]}}}]})"),
            R"({"type":"object","properties":{"a":{"type":"string"}},"required":["a"]})");
}

TEST(CallSchema, BringsDefinitionsToTheRoot) {
  EXPECT_EQ(*schema_for(R"({"tool_choice":{"function":{"name":"f"}},"tools":[{"function":)"
                        R"({"name":"f","parameters":{"type":"object","$defs":{"A":{"type":)"
                        R"("integer"}},"properties":{"a":{"$ref":"#/$defs/A"}}}}}]})"),
            R"({"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},)"
            R"("$defs":{"A":{"type":"integer"}}})");
  const auto two =
      schema_for(R"({"tool_choice":"required","tools":[)"
                 R"({"function":{"name":"f","parameters":{"$defs":{"A":{"type":"integer"}}}}},)"
                 R"({"function":{"name":"g","parameters":{"$defs":{"A":{"type":"string"}}}}}]})");
  ASSERT_FALSE(two.ok());
  EXPECT_EQ(two.status().message(),
            "Tool definition 'A' has multiple schemas, which is not supported.");
}

// With a search through all definitions for each, this would take minutes.
TEST(CallSchema, TakesADefinitionOfManyByItsNameAndNotBySearch) {
  std::string definitions;
  for (int i = 0; i < 200'000; ++i) {
    definitions += (i > 0 ? ",\"D" : "\"D") + std::to_string(i) + "\":true";
  }
  const auto schema = schema_for(
      R"({"tool_choice":"required","tools":[{"function":{"name":"f","parameters":{"$defs":{)" +
      definitions + "}}}}]}");
  ASSERT_TRUE(schema.ok());
  EXPECT_TRUE(schema->ends_with("\"D199999\":true}}"));
}

}  // namespace
}  // namespace octavo::serve
