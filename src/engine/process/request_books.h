// RequestBooks: what the parent of an engine process knows of every request that has not ended,
// what was asked and which tokens came, and which of them the child may have.
//
// A request whose computation kills the child would kill the next one too, and end them all. A step
// computes many requests, so a death alone does not say whose it was. But a request that kills each
// child never gets past the same token: one that was in two deaths and made no headway between is a
// suspect. The next child gets the suspects one by one, the worst first, each when the one before
// has made headway or is gone, and everybody else waits until all have passed. A request that dies
// with a child that never had another is the culprit, and leaves the books. Clients try again what
// failed, so it is remembered for a while.
//
// ChildEngine's, under its mutex.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/scheduler.h"

namespace octavo {

class RequestBooks {
 public:
  // As the child's scheduler: how many sequences it has in a step, and in which order.
  RequestBooks(int max_num_seqs, SchedulingPolicy policy)
      : max_num_seqs_(static_cast<size_t>(max_num_seqs)), policy_(policy) {}

  size_t size() const { return bookings_.size(); }
  size_t num_waiting() const { return waiting_.size(); }  // that the child does not have
  bool suspects_wait() const { return worst_suspect().has_value(); }

  void add(std::shared_ptr<const Request> request);
  // False: it is not there.
  bool erase(RequestKey key);
  // One answer is complete; the request's last one takes it out of the books. False: as erase().
  bool finish(RequestKey key, int index);
  // Notes what an event says. False: it concerns no answer that is under way.
  bool enter(const SequenceEvent& event);

  // The requests that the child may have now, each once a child, with their progress, in the order
  // they came. To be called whenever something has changed; at once if num_waiting() is 0.
  std::vector<std::shared_ptr<const Request>> take_ready();
  // The child is gone, and with it all it had. Returns the culprit if one is known, else null.
  // `now`: steady seconds.
  std::shared_ptr<const Request> child_died(double now);
  // Whether one with the same prompt and parameters was a culprit lately.
  bool was_culprit(const Request& request, double now) const;

 private:
  struct Booking {
    std::shared_ptr<Request> request;
    // Children in a row that died while they may have computed it and it made no headway.
    int deaths = 0;
    std::vector<size_t> tokens_at_death;  // of each answer, at the last of them
  };
  using Bookings = std::map<RequestKey, Booking>;  // in the order they came

  static bool made_headway(const Booking& booking);
  void erase(Bookings::iterator found);
  std::vector<Booking*> perhaps_computed();
  std::optional<RequestKey> worst_suspect() const;
  std::shared_ptr<const Request> hand_over(RequestKey key);

  const size_t max_num_seqs_;
  const SchedulingPolicy policy_;
  Bookings bookings_;
  std::set<RequestKey> waiting_;
  std::optional<RequestKey> on_trial_;
  struct Culprit {
    std::shared_ptr<const Request> request;
    double found = 0;  // steady seconds
  };
  std::deque<Culprit> culprits_;  // the newest last
  int64_t handed_over_ = 0;       // to this child, in its whole life
};

}  // namespace octavo
