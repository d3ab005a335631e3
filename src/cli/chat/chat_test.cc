// Tests of what stands between a user and a model: where a message ends, commands, settings, saved
// conversations, and that an answer cannot drive the terminal.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "cli/chat/answer_view.h"
#include "cli/chat/conversation.h"
#include "cli/chat/input.h"
#include "cli/chat/session.h"

namespace octavo::cli {
namespace {

TEST(Input, IsWholeAtTheEndOfALineButForBackslashesAndQuotes) {
  EXPECT_EQ(enter_means("hello"), EnterMeans::kEnd);
  EXPECT_EQ(enter_means(""), EnterMeans::kEnd);
  EXPECT_EQ(enter_means("first \\"), EnterMeans::kDropBackslash);
  EXPECT_EQ(enter_means("\"\"\"poem"), EnterMeans::kNewline);
  EXPECT_EQ(enter_means("\"\"\""), EnterMeans::kNewline);
  EXPECT_EQ(enter_means("\"\"\"poem\\"), EnterMeans::kNewline);
  EXPECT_EQ(enter_means("\"\"\"a\nb\n\"\"\""), EnterMeans::kEnd);
  EXPECT_EQ(without_quotes("\"\"\"\na\n\nb\n\"\"\""), "a\n\nb");
  EXPECT_EQ(without_quotes("say \"\"\""), "say \"\"\"");
}

TEST(Input, TakesASlashAndAWordForACommand) {
  EXPECT_EQ(parse_command("/save  my file.json ").name, "save");
  EXPECT_EQ(parse_command("/save  my file.json ").argument, "my file.json");
  EXPECT_EQ(parse_command("/system \"\"\"a\nb\"\"\"").argument, "a\nb");
  for (const char* message : {"/", "/etc/passwd", " /help", "a /help", "/1"})
    EXPECT_EQ(parse_command(message).name, "") << message;
}

TEST(AnswerSettings, NamesTheSettingThatIsWrongAndKeepsTheOthers) {
  AnswerSettings settings;
  EXPECT_TRUE(settings.set("top-p", "0.5").ok());
  EXPECT_EQ(settings.set("temprature", "1").message(),
            "there is no setting 'temprature'; did you mean temperature?");
  EXPECT_EQ(settings.set("temperature", "3").message(), "temperature: must be between 0 and 2");
  EXPECT_EQ(settings.set("max_tokens", "1.5").message(), "max_tokens: '1.5' is not an integer");
  EXPECT_TRUE(settings.set("seed", "-7").ok());
  EXPECT_TRUE(settings.set("stop", "END").ok());
  SamplingParams params;
  settings.apply(params);
  EXPECT_FLOAT_EQ(params.top_p, 0.5f);
  EXPECT_EQ(params.seed, -7);
  EXPECT_EQ(params.stop, std::vector<std::string>{"END"});
  EXPECT_TRUE(settings.set("seed", "default").ok());
  EXPECT_EQ(settings.fields().size(), 2u);
}

TEST(AnswerView, LetsNoAnswerDriveTheTerminal) {
  EXPECT_EQ(harmless("a\x1b[2Jb\rc\b\x07\x7f\u009b31m\n\tü"), "a[2Jbc31m\n\tü");
  EXPECT_EQ(harmless("\xff"), "\ufffd");
}

TEST(AnswerView, CountsTheRateFromTheFirstToken) {
  const Answer answer{
      .finish_reason = "length", .tokens = 11, .first_seconds = 0.5, .seconds = 1.5};
  EXPECT_EQ(summary_of(answer),
            "[11 tokens, 10 tok/s, first after 500 ms, cut off by max_tokens or the context]");
  EXPECT_EQ(summary_of({.stopped = true, .tokens = 1}), "[1 token, stopped]");
}

// Answers with the number of messages it was given, or fails.
class CountingAnswerer : public Answerer {
 public:
  const std::string& model() const override { return name_; }
  StatusOr<Answer> answer(const Question& question, int, const OnPiece& on_piece) override {
    asked.push_back(question.messages);
    if (fail) return unavailable("no answer today");
    AnswerBuilder builder(on_piece);
    if (stop) {
      builder.answer().stopped = true;
      return builder.answer();
    }
    builder.add("hm", true);
    builder.add(std::to_string(question.messages.size()), false);
    return builder.answer();
  }
  std::vector<Value::List> asked;
  bool fail = false;
  bool stop = false;

 private:
  std::string name_ = "counter";
};

class Session : public testing::Test {
 protected:
  Session() : out_(std::tmpfile()), session_(answerer_, AnswerView(out_, false), false, nullptr) {}
  ~Session() override { std::fclose(out_); }
  std::string written() const {
    std::rewind(out_);
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), out_));
    return text;
  }
  CountingAnswerer answerer_;
  std::FILE* out_;
  ChatSession session_;
};

TEST_F(Session, KeepsTheConversationAndWritesAnswersAlone) {
  EXPECT_TRUE(session_.handle("one"));
  EXPECT_TRUE(session_.handle("two"));
  EXPECT_TRUE(session_.handle(""));
  EXPECT_EQ(written(), "1\n3\n");
  EXPECT_FALSE(session_.failed());
}

TEST_F(Session, AnswersAgainWithoutTheAnswerBefore) {
  session_.handle("one");
  session_.handle("/regen");
  EXPECT_EQ(answerer_.asked[0], answerer_.asked[1]);
  EXPECT_EQ(session_.conversation().messages().size(), 2u);
  answerer_.fail = true;
  session_.handle("/regen");
  EXPECT_EQ(session_.conversation().messages().size(), 2u);
}

TEST_F(Session, ForgetsTheMessageThatCouldNotBeAnswered) {
  answerer_.fail = true;
  EXPECT_TRUE(session_.handle("one"));
  EXPECT_TRUE(session_.failed());
  EXPECT_TRUE(session_.conversation().messages().empty());
}

TEST_F(Session, ForgetsTheMessageWhoseAnswerWasStoppedBeforeItBegan) {
  session_.handle("one");
  answerer_.stop = true;
  session_.handle("two");
  session_.handle("/regen");
  EXPECT_EQ(session_.conversation().messages().size(), 2u);
  EXPECT_FALSE(session_.failed());
}

TEST_F(Session, KeepsTheSystemMessageWhenItIsCleared) {
  session_.handle("/system be brief");
  session_.handle("one");
  session_.handle("/clear");
  ASSERT_EQ(session_.conversation().messages().size(), 1u);
  EXPECT_EQ(session_.conversation().system(), "be brief");
  session_.handle("/system none");
  EXPECT_TRUE(session_.conversation().messages().empty());
}

TEST_F(Session, LeavesOnExitAndNotOnAnUnknownCommand) {
  EXPECT_TRUE(session_.handle("/exti"));
  EXPECT_TRUE(session_.failed());
  EXPECT_FALSE(session_.handle("/exit"));
}

class ConversationFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "octavo-chat-" + std::to_string(getpid()) + ".json";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void write(const std::string& text) const { std::ofstream(path_) << text; }
  std::string path_;
};

TEST_F(ConversationFile, ComesBackAsItWasSaved) {
  Conversation saved;
  saved.set_system("s");
  saved.add_question("q\n\"ü\"");
  saved.add_answer("a", "why");
  ASSERT_TRUE(saved.save(path_).ok());
  Conversation loaded;
  ASSERT_TRUE(loaded.load(path_).ok());
  EXPECT_EQ(loaded.messages(), saved.messages());
}

TEST_F(ConversationFile, MayBeAListAloneAndIsRefusedWholeWhereItIsWrong) {
  Conversation conversation;
  write(R"([{"role": "user", "content": "hi"}])");
  ASSERT_TRUE(conversation.load(path_).ok());
  for (const char* wrong : {"", "[", "7", R"({"messages": 1})", R"([{"role": "king"}])",
                            R"([{"role": "user", "content": 1}])"}) {
    write(wrong);
    const Status status = conversation.load(path_);
    EXPECT_FALSE(status.ok()) << wrong;
    EXPECT_NE(status.message().find(path_), std::string::npos);
    EXPECT_EQ(conversation.messages().size(), 1u);
  }
}

}  // namespace
}  // namespace octavo::cli
