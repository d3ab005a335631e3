#include "cli/chat/answer_view.h"

#include <cstdlib>

#include "base/utf8.h"

namespace octavo::cli {

std::string harmless(std::string_view text) {
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const Decoded c = decode_utf8(text, at);
    const size_t length = static_cast<size_t>(c.length);
    const bool control = c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0);
    if (!control || c.code_point == '\n' || c.code_point == '\t')
      kept += c.valid ? std::string(text.substr(at, length)) : "\xef\xbf\xbd";
    at += length;
  }
  return kept;
}

std::string summary_of(const Answer& answer) {
  // The rate is that of the tokens after the first one.
  const double decoding = answer.seconds - answer.first_seconds;
  char text[128];
  int length =
      std::snprintf(text, sizeof text, "[%d token%s", answer.tokens, answer.tokens == 1 ? "" : "s");
  std::string line(text, static_cast<size_t>(length));
  if (answer.tokens > 1 && decoding > 0) {
    length = std::snprintf(text, sizeof text, ", %.3g tok/s", (answer.tokens - 1) / decoding);
    line.append(text, static_cast<size_t>(length));
  }
  if (answer.first_seconds > 0) {
    length = std::snprintf(text, sizeof text, ", first after %.3g ms", answer.first_seconds * 1e3);
    line.append(text, static_cast<size_t>(length));
  }
  if (answer.stopped)
    line += ", stopped";
  else if (answer.finish_reason == "length")
    line += ", cut off by max_tokens or the context";
  else if (!answer.finish_reason.empty() && answer.finish_reason != "stop")
    line += ", " + harmless(answer.finish_reason);
  return line + "]";
}

AnswerView::AnswerView(std::FILE* out, bool terminal)
    : out_(out), terminal_(terminal), colour_(terminal && std::getenv("NO_COLOR") == nullptr) {}

void AnswerView::dim(bool on) {
  if (on == dim_) return;
  dim_ = on;
  if (colour_) std::fputs(on ? "\x1b[2m" : "\x1b[0m", out_);
}

void AnswerView::end_line() {
  if (line_is_open_) std::fputc('\n', out_);
  line_is_open_ = false;
}

void AnswerView::show(std::string_view text, bool reasoning) {
  if (reasoning && !terminal_) return;
  if (!reasoning && !began_ && dim_) {
    end_line();
    std::fputc('\n', out_);
  }
  dim(reasoning);
  began_ = began_ || !reasoning;
  const std::string shown = terminal_ ? harmless(text) : std::string(text);
  std::fwrite(shown.data(), 1, shown.size(), out_);
  if (!shown.empty()) line_is_open_ = shown.back() != '\n';
  std::fflush(out_);
}

void AnswerView::abandon() {
  end_line();
  dim(false);
  began_ = false;
  std::fflush(out_);
}

void AnswerView::finish(const Answer& answer) {
  if (!terminal_ && answer.content.empty()) line_is_open_ = true;  // an empty answer is a line too
  end_line();
  if (terminal_) {
    dim(true);
    std::fprintf(out_, "%s\n", summary_of(answer).c_str());
  }
  abandon();
}

}  // namespace octavo::cli
