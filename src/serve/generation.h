// Generation: one HTTP request to the model, from its submitted prompts to the last byte of its
// answer. start_generation() makes one; each prompt has an engine request and a StreamSink
// that leads back here.
//
// Concurrency: start() runs on an I/O pool thread, sinks on the engine's output threads (one
// prompt's outputs come in order, those of two prompts may come at once), cancel() on any thread. A
// Generation lives as long as a sink or its exchange holds it. What is shared between prompts is
// atomic or guarded.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "octavo/engine_client.h"
#include "serve/answer_format.h"
#include "serve/task_pool.h"
#include "serve/transport/http_server.h"

namespace octavo::serve {

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(EngineClient& engine, TaskPool& pool, std::shared_ptr<HttpExchange> exchange,
             std::unique_ptr<AnswerFormat> format, std::vector<AnswerPrompt> prompts);

  // Submits one request per prompt. A refused one fails them all: the answer is its error.
  void start(std::vector<GenerateRequest> requests);
  // Ends what is under way in the engine.
  void cancel();

 private:
  class Sink;
  class StreamingSink;
  class CollectingSink;

  // Writes what the stream begins with, if nobody has yet: a sink may be faster than start().
  void open_stream();
  // What a prompt's sink reports with its last output.
  void prompt_finished(const Usage& usage);
  void fail(const Status& status);
  void finish_stream();
  void finish_whole();

  EngineClient& engine_;
  TaskPool& pool_;
  const std::shared_ptr<HttpExchange> exchange_;
  const std::unique_ptr<AnswerFormat> format_;
  const AnswerHead& head_;             // of the format
  std::vector<AnswerPrompt> prompts_;  // each touched by its own sink, until all have finished
  std::vector<std::vector<AnswerPiece>> collected_;  // by prompt; likewise
  std::atomic<int> unfinished_;
  std::atomic<bool> failed_ = false;
  std::once_flag opened_;

  std::mutex mutex_;
  Usage usage_;                          // guarded
  std::vector<std::string> engine_ids_;  // guarded
  bool cancelled_ = false;               // guarded
};

}  // namespace octavo::serve
