#include "engine/process/request_books.h"

#include <algorithm>

#include "engine/process/wire_types.h"

namespace octavo {
namespace {

constexpr int kDeathsOfASuspect = 2;
// A step may die while the tokens of one or two before it are still on their way: this many more
// may arrive in the next child without the request having got any further.
constexpr size_t kTokensOnTheWay = 2;

// How many culprits are remembered, and how long.
constexpr size_t kMaxCulprits = 16;
constexpr double kCulpritSeconds = 600;

bool all_ended(const Request& request) {
  const auto& answers = request.progress.answers;
  return std::all_of(answers.begin(), answers.end(), [](const auto& a) { return a.ended; });
}

std::string bytes_of(const SamplingParams& params) {
  wire::Writer writer;
  writer(params);
  return writer.take();
}

bool ask_the_same(const Request& a, const Request& b) {
  return *a.prompt == *b.prompt && a.max_tokens == b.max_tokens &&
         bytes_of(*a.params) == bytes_of(*b.params);
}

}  // namespace

void RequestBooks::add(std::shared_ptr<const Request> request) {
  Booking booking{.request = std::make_shared<Request>(*request)};
  const auto answers = static_cast<size_t>(std::max(1, request->params->n));
  booking.request->progress.answers.resize(answers);
  booking.tokens_at_death.resize(answers);
  waiting_.insert(request->key);
  bookings_.emplace(request->key, std::move(booking));
}

bool RequestBooks::erase(RequestKey key) {
  const auto found = bookings_.find(key);
  if (found == bookings_.end()) return false;
  erase(found);
  return true;
}

void RequestBooks::erase(Bookings::iterator found) {
  waiting_.erase(found->first);
  bookings_.erase(found);
}

bool RequestBooks::finish(RequestKey key, int index) {
  const auto found = bookings_.find(key);
  if (found == bookings_.end()) return false;
  Request& request = *found->second.request;
  request.progress.answers[static_cast<size_t>(index)].ended = true;
  if (all_ended(request)) erase(found);
  return true;
}

bool RequestBooks::enter(const SequenceEvent& event) {
  const auto found = bookings_.find(event.request);
  if (found == bookings_.end()) return false;
  RequestProgress& progress = found->second.request->progress;
  if (event.index < 0 || static_cast<size_t>(event.index) >= progress.answers.size()) return false;
  RequestProgress::Answer& answer = progress.answers[static_cast<size_t>(event.index)];
  // What an ended answer draws is nobody's, but its sibling's prompt may come with it.
  if (answer.ended && event.prompt_logprobs.empty()) return false;
  progress.admitted = true;
  progress.num_cached = event.num_cached_tokens;
  progress.first_scheduled = event.first_scheduled;
  if (!event.prompt_logprobs.empty()) {
    progress.next_prompt_logprob =
        event.prompt_logprobs_first + static_cast<int>(event.prompt_logprobs.size());
  }
  if (event.has_token) answer.tokens.push_back(event.token.token);
  if (event.finish != FinishReason::kNone) answer.ended = true;
  if (all_ended(*found->second.request)) erase(found);
  return true;
}

bool RequestBooks::made_headway(const Booking& booking) {
  const auto& answers = booking.request->progress.answers;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i].ended &&
        answers[i].tokens.size() <= booking.tokens_at_death[i] + kTokensOnTheWay)
      return false;
  }
  return true;
}

std::shared_ptr<const Request> RequestBooks::hand_over(RequestKey key) {
  ++handed_over_;
  return bookings_.at(key).request;
}

// The waiting suspect with the most deaths; of several the newest, because what was added last
// before the first death is the likeliest cause.
std::optional<RequestKey> RequestBooks::worst_suspect() const {
  std::optional<RequestKey> worst;
  int deaths = kDeathsOfASuspect;
  for (const RequestKey key : waiting_) {
    const Booking& booking = bookings_.at(key);
    if (booking.deaths < deaths) continue;
    worst = key;
    deaths = booking.deaths;
  }
  return worst;
}

std::vector<std::shared_ptr<const Request>> RequestBooks::take_ready() {
  std::vector<std::shared_ptr<const Request>> ready;
  if (waiting_.empty()) return ready;
  if (on_trial_) {
    const auto tried = bookings_.find(*on_trial_);
    if (tried != bookings_.end() && !made_headway(tried->second)) return ready;
  }
  on_trial_ = worst_suspect();
  if (on_trial_) {
    waiting_.erase(*on_trial_);
    ready.push_back(hand_over(*on_trial_));
    return ready;
  }
  for (const RequestKey key : waiting_) ready.push_back(hand_over(key));
  waiting_.clear();
  return ready;
}

// Those the child had that can have been in its last steps: the first in its scheduler's order. Few
// more than there is room for, because answers of one request may wait for each other.
std::vector<RequestBooks::Booking*> RequestBooks::perhaps_computed() {
  std::vector<Booking*> line;
  for (auto& [key, booking] : bookings_) {
    if (!waiting_.contains(key)) line.push_back(&booking);
  }
  if (policy_ == SchedulingPolicy::kPriority) {
    std::stable_sort(line.begin(), line.end(), [](const Booking* a, const Booking* b) {
      return a->request->priority < b->request->priority;
    });
  }
  if (line.size() > max_num_seqs_) line.resize(max_num_seqs_);
  return line;
}

std::shared_ptr<const Request> RequestBooks::child_died(double now) {
  std::shared_ptr<const Request> culprit;
  for (Booking* booking : perhaps_computed()) {
    booking->deaths = made_headway(*booking) ? 1 : booking->deaths + 1;
    const auto& answers = booking->request->progress.answers;
    for (size_t i = 0; i < answers.size(); ++i)
      booking->tokens_at_death[i] = answers[i].tokens.size();
    if (handed_over_ == 1 && booking->deaths >= kDeathsOfASuspect) culprit = booking->request;
  }
  if (culprit) {
    // The deaths are explained: the others are free of suspicion until there is another two.
    for (auto& [key, booking] : bookings_) booking.deaths = std::min(booking.deaths, 1);
    erase(culprit->key);
    culprits_.push_back({culprit, now});
    if (culprits_.size() > kMaxCulprits) culprits_.pop_front();
  }
  for (const auto& [key, booking] : bookings_) waiting_.insert(waiting_.end(), key);
  on_trial_.reset();
  handed_over_ = 0;
  return culprit;
}

bool RequestBooks::was_culprit(const Request& request, double now) const {
  return std::any_of(culprits_.begin(), culprits_.end(), [&](const Culprit& culprit) {
    return now < culprit.found + kCulpritSeconds && ask_the_same(request, *culprit.request);
  });
}

}  // namespace octavo
