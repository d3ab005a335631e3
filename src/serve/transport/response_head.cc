#include "serve/transport/response_head.h"

#include <ctime>
#include <string_view>

namespace octavo::serve {

namespace {

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7f ? ' ' : c;
  }
  out.append("\r\n");
}

std::string_view http_date() {
  static thread_local time_t last = 0;
  static thread_local char text[40];
  const time_t now = time(nullptr);
  if (now != last) {
    tm utc;
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    last = now;
  }
  return text;
}

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Entity";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 529:
      return "Overloaded";
    default:
      return "";  // the reason may be empty; clients go by the number
  }
}

}  // namespace

void append_response_head(std::string& out, const HttpResponse& response, const HttpHeaders& more,
                          const ResponseFraming& framing) {
  out.append(framing.http10 ? "HTTP/1.0 " : "HTTP/1.1 ");
  out.append(std::to_string(response.status)).append(" ");
  out.append(reason(response.status)).append("\r\n");
  append_header(out, "date", http_date());
  append_header(out, "server", "octavo");
  if (!response.content_type.empty()) {
    append_header(out, "content-type", response.content_type);
    // Errors quote what came: a browser must not see a page in them.
    append_header(out, "x-content-type-options", "nosniff");
  }
  for (const auto& [name, value] : response.headers) append_header(out, name, value);
  for (const auto& [name, value] : more) append_header(out, name, value);
  if (framing.chunked) {
    append_header(out, "transfer-encoding", "chunked");
  } else if (framing.length_known && response.status != 204 && response.status != 304) {
    append_header(out, "content-length", std::to_string(framing.body_bytes));
  }
  if (!framing.keep_alive) {
    append_header(out, "connection", "close");
  } else if (framing.http10) {
    append_header(out, "connection", "keep-alive");
  }
  out.append("\r\n");
}

}  // namespace octavo::serve
