// Aho and Corasick's automaton (Efficient String Matching, CACM 18, 1975): linear in the text,
// however many stop strings there are. The depth of its state is exactly the length of text that
// must be held back.
#include "text/stop_checker.h"

#include <algorithm>

namespace octavo::text {

StopChecker::StopChecker(std::vector<std::string> stop, bool include_stop_str_in_output)
    : nodes_(1), include_(include_stop_str_in_output) {
  for (size_t i = 0; i < stop.size(); ++i) {
    lengths_.push_back(static_cast<int32_t>(stop[i].size()));
    if (!stop[i].empty()) add_stop(stop[i], static_cast<int32_t>(i));
  }
  link_failures();
}

int32_t StopChecker::child(int32_t node, uint8_t byte) const {
  for (const auto& [b, to] : nodes_[node].next) {
    if (b == byte) return to;
  }
  return -1;
}

void StopChecker::add_stop(std::string_view stop, int32_t index) {
  int32_t node = 0;
  for (const char c : stop) {
    const auto byte = static_cast<uint8_t>(c);
    int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_.push_back({{}, 0, nodes_[node].depth + 1, -1});
      nodes_[node].next.emplace_back(byte, next);
    }
    node = next;
  }
  if (nodes_[node].stop < 0) nodes_[node].stop = index;
}

void StopChecker::link_failures() {
  std::vector<int32_t> queue;  // by depth
  for (const auto& [byte, node] : nodes_[0].next) queue.push_back(node);
  for (size_t i = 0; i < queue.size(); ++i) {
    const int32_t node = queue[i];
    for (const auto& [byte, next] : nodes_[node].next) {
      int32_t fail = nodes_[node].fail;
      while (fail != 0 && child(fail, byte) < 0) fail = nodes_[fail].fail;
      nodes_[next].fail = std::max(0, child(fail, byte));
      queue.push_back(next);
    }
    // What ends at the failure state ends here too, only later begun.
    if (nodes_[node].stop < 0) nodes_[node].stop = nodes_[nodes_[node].fail].stop;
  }
}

// The state after one more byte.
int32_t StopChecker::follow(int32_t node, uint8_t byte) const {
  int32_t next = child(node, byte);
  while (next < 0 && node != 0) {
    node = nodes_[node].fail;
    next = child(node, byte);
  }
  return std::max(0, next);
}

StopChecker::Result StopChecker::append(std::string_view new_text) {
  Result result;
  if (stopped_) return result;
  if (nodes_.size() == 1) {
    result.text = new_text;
    return result;
  }
  held_.reserve(held_.size() + new_text.size());
  for (const char c : new_text) {
    held_.push_back(c);
    state_ = follow(state_, static_cast<uint8_t>(c));
    if (nodes_[state_].stop < 0) continue;
    stopped_ = true;
    result.stop_index = nodes_[state_].stop;
    if (!include_) held_.resize(held_.size() - static_cast<size_t>(lengths_[result.stop_index]));
    result.text = std::move(held_);
    held_.clear();
    return result;
  }
  result.text = take_certain();
  return result;
}

std::string StopChecker::pass(std::string_view new_text) {
  if (stopped_) return {};
  for (const char c : new_text) state_ = follow(state_, static_cast<uint8_t>(c));
  held_ += new_text;
  return take_certain();
}

// What no stop string can begin in.
std::string StopChecker::take_certain() {
  const size_t certain = held_.size() - static_cast<size_t>(nodes_[state_].depth);
  std::string text = held_.substr(0, certain);
  held_.erase(0, certain);
  return text;
}

std::string StopChecker::flush() {
  state_ = 0;
  std::string rest = std::move(held_);
  held_.clear();
  return rest;
}

}  // namespace octavo::text
