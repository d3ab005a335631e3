// The output items of /v1/responses: what an answer thought, said and called, as JSON, whole or as
// the events of a stream. Any thread, one at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/answer_format.h"

namespace octavo::serve {

struct ResponseItem {
  enum class Kind { kReasoning, kMessage, kCall };
  Kind kind;
  std::string id;                       // "rs_…", "msg_…", "fc_…"
  std::string text;                     // of a call: its arguments
  std::string call_id, name;            // of a call
  std::vector<TokenLogprobs> logprobs;  // of a message, if asked for
  std::string_view status = "in_progress";
};

// A whole answer's items: reasoning, message, calls, as far as there are any. (In a stream they
// come as the model writes them; text after a call is a message of its own there.)
std::vector<ResponseItem> make_items(const AnswerPiece& answer);

std::string item_json(const ResponseItem& item, const AnswerOptions& options);
// A JSON list.
std::string items_json(const std::vector<ResponseItem>& items, const AnswerOptions& options);

// Numbers the events of one stream and writes what is around their members.
class EventWriter {
 public:
  // `event: TYPE`, `data: {"type":TYPE,"sequence_number":N`; members follow, each after a comma.
  void begin(std::string& out, std::string_view type);
  void end(std::string& out) { out += "}\n\n"; }

 private:
  int next_ = 0;
};

// Items as they come to be, one open at a time, and the events that tell of them.
class ItemStream {
 public:
  // Both must outlive this.
  ItemStream(EventWriter& events, const AnswerOptions& options)
      : events_(events), options_(options) {}

  void add(std::string& out, const AnswerPiece& piece);
  // Ends the open item. An answer that was cut off has cut it off, too.
  void finish(std::string& out, FinishReason reason);
  const std::vector<ResponseItem>& items() const { return items_; }

 private:
  using Kind = ResponseItem::Kind;
  void open(std::string& out, ResponseItem item);
  void close(std::string& out, std::string_view status);
  void add_text(std::string& out, Kind kind, const std::string& text,
                std::vector<TokenLogprobs> logprobs);
  void add_call(std::string& out, const ToolCallDelta& call);
  void begin_event(std::string& out, std::string_view type);
  void append_part_event(std::string& out, bool done);

  EventWriter& events_;
  const AnswerOptions& options_;
  std::vector<ResponseItem> items_;
  bool open_ = false;                   // the last item
  int open_call_ = -1;                  // its index among calls
  std::vector<TokenLogprobs> waiting_;  // of tokens whose text has not come yet
};

}  // namespace octavo::serve
