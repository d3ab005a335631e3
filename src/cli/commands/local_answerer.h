// LocalAnswerer: answers of an engine in this process. Main thread.
#pragma once

#include <memory>
#include <string>

#include "cli/chat/answerer.h"
#include "cli/options.h"
#include "octavo/engine_client.h"
#include "serve/answer_parsers.h"

namespace octavo::cli {

class LocalAnswerer : public Answerer {
 public:
  // Finds and loads the model that the options name.
  static StatusOr<std::unique_ptr<LocalAnswerer>> load(EngineOptions options,
                                                       const ModelSource& source);
  ~LocalAnswerer() override;

  const std::string& model() const override { return name_; }
  StatusOr<Answer> answer(const Question& question, int stop_fd, const OnPiece& on_piece) override;

 private:
  LocalAnswerer() = default;
  // The request for a question; `prompt` is what the model gets to read.
  StatusOr<GenerateRequest> request_for(const Question& question, std::string& prompt) const;

  std::string name_;
  serve::AnswerParsers parsers_;  // of the thinking alone
  std::unique_ptr<EngineClient> engine_;
};

}  // namespace octavo::cli
