#include "http/fetch.h"

#include <vector>

#include "base/status_macros.h"

namespace octavo::http {
namespace {

StatusOr<std::string> head_of(const Request& request) {
  std::string out = request.method + " " + request.url.path +
                    " HTTP/1.1\r\nHost: " + request.url.authority() + "\r\nConnection: close\r\n";
  for (const auto& [name, value] : request.headers) {
    if ((name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      return invalid_argument("the header " + name + " holds a line break");
    out += name + ": " + value + "\r\n";
  }
  if (!request.body.empty() || request.method == "POST")
    out += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return out + "\r\n";
}

}  // namespace

Status fetch(const Request& request, const Limits& limits, const Handlers& handlers) {
  ASSIGN_OR_RETURN(const std::string head, head_of(request));
  ASSIGN_OR_RETURN(const auto connection, Connection::open(request.url, limits));
  RETURN_IF_ERROR(connection->write(head + request.body));

  using State = HttpReader::State;
  HttpReader reader(request.method == "HEAD");
  std::vector<char> buffer(64 << 10);
  std::string body;
  bool head_told = false;
  while (reader.state() != State::kDone) {
    ASSIGN_OR_RETURN(const size_t n, connection->read(buffer.data(), buffer.size()));
    body.clear();
    const State state = n > 0 ? reader.feed({buffer.data(), n}, body) : reader.finish();
    if (!head_told && (state == State::kBody || state == State::kDone)) {
      head_told = true;
      if (handlers.on_head && !handlers.on_head({reader.status(), reader.headers()})) return {};
    }
    if (!body.empty() && handlers.on_body && !handlers.on_body(body)) return {};
    if (state == State::kBad) {
      return unavailable(request.url.authority() + (head_told ? ": the answer was cut short"
                                                              : ": it does not speak HTTP/1.1"));
    }
  }
  return {};
}

StatusOr<Answer> fetch_whole(const Request& request, const Limits& limits, size_t max_body) {
  Answer answer;
  bool too_large = false;
  const Handlers handlers{.on_head =
                              [&](const Head& head) {
                                answer.head = head;
                                return true;
                              },
                          .on_body =
                              [&](std::string_view bytes) {
                                too_large = answer.body.size() + bytes.size() > max_body;
                                if (!too_large) answer.body += bytes;
                                return !too_large;
                              }};
  RETURN_IF_ERROR(fetch(request, limits, handlers));
  if (too_large) {
    return Status(StatusCode::kTooLarge,
                  request.url.to_string() + ": the answer is longer than it should be");
  }
  return answer;
}

}  // namespace octavo::http
