// What a request may ask for and cannot have is refused by name; what asks for nothing passes.
#include "serve/openai/unsupported_fields.h"

#include <gtest/gtest.h>

#include "serve/openai/chat_request.h"
#include "serve/openai/openai_request.h"

namespace octavo::serve {
namespace {

Status completions_status(const std::string& member) {
  return parse_completions(*parse_json("{\"prompt\":\"a\"," + member + "}"), {}).status();
}

Status chat_status(const std::string& member) {
  return parse_chat(*parse_json(R"({"messages":[{"role":"user","content":"a"}],)" + member + "}"),
                    {})
      .status();
}

TEST(UnsupportedFields, AreRefusedByNameWithWhatToDoInstead) {
  const std::pair<const char*, const char*> fields[] = {
      {"functions", R"([{"name":"f"}])"},
      {"function_call", R"("auto")"},
      {"function_call", R"({"name":"f"})"},
      {"audio", R"({"voice":"alloy"})"},
      {"web_search_options", "{}"},
      {"verbosity", R"("low")"},
      {"use_beam_search", "true"},
      {"logprob_token_ids", "[1]"},
      {"prompt_embeds", R"("AAAA")"},
      {"kv_transfer_params", R"({"a":1})"},
      {"ec_transfer_params", R"({"a":1})"},
      {"vllm_xargs", R"({"a":1})"},
      {"logits_processors", R"(["x"])"},
      {"watermarking", "true"},
      {"grammar", R"("root ::= \"a\"")"},
      {"json_schema", R"({"type":"object"})"},
      {"best_of", "2"},
  };
  for (const auto& [name, value] : fields) {
    const std::string member = std::string("\"") + name + "\":" + value;
    for (const Status& status : {completions_status(member), chat_status(member)}) {
      EXPECT_EQ(status.param(), name) << member;
      EXPECT_NE(status.message().find(": "), std::string::npos) << status.message();
    }
  }
}

TEST(UnsupportedFields, PassWhereTheyAskForNothing) {
  for (const char* member :
       {R"("functions":[])", R"("functions":null)", R"("function_call":"none")",
        R"("verbosity":"medium")", R"("use_beam_search":false)", R"("kv_transfer_params":{})",
        R"("vllm_xargs":{})", R"("logprob_token_ids":[])", R"("grammar":"")", R"("best_of":1)",
        R"("n":2,"best_of":2)", R"("web_search_options":null)"}) {
    EXPECT_TRUE(completions_status(member).ok()) << member;
    EXPECT_TRUE(chat_status(member).ok()) << member;
  }
}

TEST(UnsupportedFields, OfAValueThatCanAskForNothingAreRefused) {
  EXPECT_EQ(chat_status(R"("audio":3)").param(), "audio");
}

TEST(ChatTemplate, OfTheRequestIsReadFromEitherPlaceAndTheFieldWins) {
  const auto parsed = [](const std::string& members) {
    return parse_chat(
        *parse_json(R"({"messages":[{"role":"user","content":"a"}],)" + members + "}"), {});
  };
  EXPECT_EQ(parsed(R"("chat_template":"A")")->chat.chat_template, "A");
  const auto among = parsed(R"("chat_template_kwargs":{"b":1,"chat_template":"B"})");
  EXPECT_EQ(among->chat.chat_template, "B");
  EXPECT_EQ(to_json(Value(among->chat.template_kwargs)), R"({"b":1})");
  const auto both = parsed(R"("chat_template":"A","chat_template_kwargs":{"chat_template":"B"})");
  EXPECT_EQ(both->chat.chat_template, "A");
  EXPECT_EQ(parsed(R"("chat_template_kwargs":{"chat_template":1})").status().param(),
            "body.chat_template_kwargs.chat_template");
}

}  // namespace
}  // namespace octavo::serve
