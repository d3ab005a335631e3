// Tests of the line editor's parts: keys from bytes, the text under them, rows on the screen, the
// history's file. tests/e2e/test_terminal.py drives the whole through a pseudo-terminal.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/testing_directory.h"
#include "cli/terminal/edit_buffer.h"
#include "cli/terminal/history.h"
#include "cli/terminal/keys.h"

namespace octavo::cli {
namespace {

std::vector<KeyPress> press(std::string_view bytes, size_t step) {
  KeyReader reader;
  std::vector<KeyPress> out;
  for (size_t i = 0; i < bytes.size(); i += step) reader.feed(bytes.substr(i, step), out);
  return out;
}

TEST(KeyReader, ReadsTheSameKeysHoweverTheBytesAreSplit) {
  const std::string bytes =
      "aé世\x1b[A\x1b[1;5C\x1bOF\x1b[3~\x03\x1b[200~one\r\ntwo\x1b[31m\x1b[201~\x1b\r\r";
  const std::vector<KeyPress> expected = {
      {Key::kText, "a"},   {Key::kText, "é"},     {Key::kText, "世"},
      {Key::kUp, ""},      {Key::kWordRight, ""}, {Key::kEnd, ""},
      {Key::kDelete, ""},  {Key::kInterrupt, ""}, {Key::kPaste, "one\ntwo[31m"},
      {Key::kNewline, ""}, {Key::kEnter, ""}};
  for (size_t step = 1; step <= bytes.size(); ++step) EXPECT_EQ(press(bytes, step), expected);
}

TEST(KeyReader, DropsWhatIsNoKeyAndGoesOn) {
  const std::vector<KeyPress> expected = {{Key::kText, "x"}};
  EXPECT_EQ(press("\xff\xc3\x1b[99;99q\x01"
                  "f",
                  1)
                .size(),
            2u);                               // Ctrl-A and f
  EXPECT_EQ(press("\xc2\x9bx", 1), expected);  // an eight-bit CSI is no text
  EXPECT_EQ(press("\x1b[" + std::string(100, '1') + "Ax", 1).back(), expected.back());
}

TEST(KeyReader, KeepsOnlySoMuchOfAPasteAndStillSeesItsEnd) {
  KeyReader reader;
  std::vector<KeyPress> out;
  reader.feed("\x1b[200~", out);
  reader.feed(std::string(KeyReader::kMaxPaste + 1000, 'p'), out);
  reader.feed("\x1b[201~q", out);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].key, Key::kPaste);
  EXPECT_LE(out[0].text.size(), KeyReader::kMaxPaste + 8);
  EXPECT_EQ(out[1].text, "q");
}

TEST(EditBuffer, MovesByWhatAReaderTakesForACharacter) {
  EditBuffer buffer;
  buffer.set("ae\u0301👩‍👩‍👧");  // an accent that combines, a family joined of three
  buffer.backspace();
  EXPECT_EQ(buffer.text(), "ae\u0301");
  buffer.left();
  EXPECT_EQ(buffer.cursor(), 1u);
  buffer.delete_next();
  EXPECT_EQ(buffer.text(), "a");
}

TEST(EditBuffer, KillsAndYanks) {
  EditBuffer buffer;
  buffer.set("one two  three");
  buffer.kill_word();
  EXPECT_EQ(buffer.text(), "one two  ");
  buffer.line_start();
  buffer.yank();
  EXPECT_EQ(buffer.text(), "threeone two  ");
  buffer.kill_to_end();
  EXPECT_EQ(buffer.text(), "three");
  buffer.kill_to_start();
  EXPECT_EQ(buffer.text(), "");
}

TEST(EditBuffer, GoesUpAndDownItsLinesAndSaysWhereTheyEnd) {
  EditBuffer buffer;
  buffer.set("long line\nab\nthird");
  EXPECT_FALSE(buffer.down());
  EXPECT_TRUE(buffer.up());
  EXPECT_EQ(buffer.cursor(), 12u);  // at the end of the short line
  EXPECT_TRUE(buffer.up());
  EXPECT_EQ(buffer.cursor(), 2u);
  EXPECT_FALSE(buffer.up());
}

TEST(Layout, CutsRowsAtTheWidthAndKnowsWideCharacters) {
  const Layout layout = lay_out("abcdef\n世界世", 6, "> ", ". ", 6);
  EXPECT_EQ(layout.rows, (std::vector<std::string>{"> abcd", "ef", ". 世界", "世"}));
  EXPECT_EQ(layout.cursor_row, 1u);
  EXPECT_EQ(layout.cursor_column, 2u);
}

TEST(Layout, GivesTheCursorAColumnWhereTheTextFillsItsRow) {
  const Layout layout = lay_out("abcd", 4, "> ", ". ", 6);
  EXPECT_EQ(layout.rows.size(), 2u);
  EXPECT_EQ(layout.cursor_row, 1u);
  EXPECT_EQ(layout.cursor_column, 0u);
}

class HistoryFile : public ::testing::Test {
 protected:
  const octavo::testing::TemporaryDirectory temporary_;
  const std::filesystem::path& folder_ = temporary_.path();
};

TEST_F(HistoryFile, KeepsEntriesOfSeveralLinesForItsOwnerAlone) {
  const auto file = folder_ / "deep" / "history";
  {
    History history(file);
    history.add("one\ntwo \\n \\");
    history.add("one\ntwo \\n \\");
    history.add("three");
  }
  EXPECT_EQ(History(file).entries(), (std::vector<std::string>{"one\ntwo \\n \\", "three"}));
  struct stat found {};
  ASSERT_EQ(stat(file.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(HistoryFile, IsCutToItsLastEntries) {
  const auto file = folder_ / "history";
  std::ofstream out(file);
  for (int i = 0; i < 3000; ++i) out << i << '\n';
  out.close();
  const History history(file);
  EXPECT_EQ(history.entries().size(), History::kMaxEntries);
  EXPECT_EQ(history.entries().back(), "2999");
  EXPECT_EQ(History(file).entries().front(), "2000");
}

TEST_F(HistoryFile, IsNoReasonToFailWhereItCannotBeWritten) {
  History history("/proc/no/such/history");
  history.add("kept while the program runs");
  EXPECT_EQ(history.entries().size(), 1u);
}

}  // namespace
}  // namespace octavo::cli
