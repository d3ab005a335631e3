#include "cli/chat/conversation.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json_writer.h"
#include "base/status_macros.h"

namespace octavo::cli {
namespace {

constexpr uintmax_t kMaxFileBytes = 64 << 20;
constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};

Value message(std::string_view role, const std::string& content) {
  return Value::Dict{{"role", role}, {"content", content}};
}

bool has_role(const Value& message, std::string_view role) {
  const Value* found = message.find("role");
  return found != nullptr && found->is_string() && found->as_string() == role;
}

Status check_message(const Value& message) {
  const bool known = std::any_of(std::begin(kRoles), std::end(kRoles),
                                 [&](std::string_view role) { return has_role(message, role); });
  if (!known) return invalid_argument("it has no `role` of system, user, assistant or tool");
  const Value* content = message.find("content");
  const bool text = content != nullptr && (content->is_string() || content->is_list());
  if (!text && message.find("tool_calls") == nullptr)
    return invalid_argument("its `content` is no text");
  return {};
}

}  // namespace

std::string Conversation::system() const {
  if (messages_.empty() || !has_role(messages_[0], "system")) return "";
  const Value* content = messages_[0].find("content");
  return content != nullptr && content->is_string() ? content->as_string() : "";
}

void Conversation::set_system(const std::string& text) {
  if (!messages_.empty() && has_role(messages_[0], "system")) messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), message("system", text));
}

void Conversation::add_question(const std::string& text) {
  messages_.push_back(message("user", text));
}

void Conversation::add_answer(const std::string& content, const std::string& reasoning) {
  messages_.push_back(message("assistant", content));
  if (!reasoning.empty()) messages_.back().set("reasoning", reasoning);
}

bool Conversation::drop_last(std::string_view role) {
  if (messages_.empty() || !has_role(messages_.back(), role)) return false;
  messages_.pop_back();
  return true;
}

void Conversation::clear() {
  set_system(system());
  const bool keeps_first = !messages_.empty() && has_role(messages_[0], "system");
  messages_.resize(keeps_first ? 1 : 0);
}

Status Conversation::save(const std::string& path) const {
  JsonWriter json;
  json.begin_object().key("messages").begin_array();
  for (const Value& m : messages_) json.value(m);
  json.end_array().end_object();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << json.text() << '\n';
  file.close();
  if (!file) return unavailable("cannot write " + path + ": " + std::strerror(errno));
  return {};
}

Status Conversation::load(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return not_found("no file " + path);
  if (std::filesystem::file_size(path, error) > kMaxFileBytes)
    return invalid_argument(path + " is too long for a conversation");
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file) return unavailable("cannot read " + path + ": " + std::strerror(errno));
  StatusOr<Value> parsed = parse_json(text);
  if (!parsed.ok()) return parsed.status().with_context(path);
  const Value* list = parsed->is_dict() ? parsed->find("messages") : &*parsed;
  if (list == nullptr || !list->is_list())
    return invalid_argument(path + ": neither a list of messages nor an object with `messages`");
  for (size_t i = 0; i < list->as_list().size(); ++i) {
    const Status status = check_message(list->as_list()[i]);
    if (!status.ok()) return status.with_context(path + ": message " + std::to_string(i + 1));
  }
  messages_ = list->as_list();
  return {};
}

}  // namespace octavo::cli
