// ServerAnswerer: answers of an OpenAI server, streamed. Main thread.
#pragma once

#include <memory>
#include <string>

#include "cli/chat/answerer.h"
#include "http/fetch.h"

namespace octavo::cli {

class ServerAnswerer : public Answerer {
 public:
  struct Options {
    std::string url;      // "http://host:port", with or without "/v1"
    std::string api_key;  // empty: none is sent
    std::string model;    // empty: the first of /v1/models
  };
  // Asks the server for its models unless one is named.
  static StatusOr<std::unique_ptr<ServerAnswerer>> connect(const Options& options);

  const std::string& model() const override { return model_; }
  StatusOr<Answer> answer(const Question& question, int stop_fd, const OnPiece& on_piece) override;

 private:
  ServerAnswerer(http::Url base, std::string api_key)
      : base_(std::move(base)), api_key_(std::move(api_key)) {}
  http::Request request(std::string_view path) const;
  Status find_model();

  http::Url base_;  // its path ends without a slash
  std::string api_key_, model_;
};

}  // namespace octavo::cli
