#include "text/grammar/grammar_compiler.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <variant>

#include "base/allocation_limit.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "text/grammar/grammar_impl.h"
#include "text/grammar/grammar_source.h"
#include "text/grammar/schema_rules.h"
#include "text/grammar/xgrammar_log.h"

namespace octavo::text {
namespace {

using Compiled = StatusOr<std::shared_ptr<const CompiledGrammar>>;

// xgrammar recurses over what users send, up to the length of it. Only what is touched is taken.
constexpr size_t kStackBytes = size_t{256} << 20;

// Threads that run tasks in the order they were posted, with stacks that std::thread cannot give.
class DeepStackPool {
 public:
  explicit DeepStackPool(int threads) : wanted_(threads) {}
  ~DeepStackPool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  }
  // False where there is no thread, and none can be had.
  bool post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (idle_ == 0 && static_cast<int>(threads_.size()) < wanted_) start_thread();
    if (threads_.empty()) return false;
    tasks_.push_back(std::move(task));
    changed_.notify_one();
    return true;
  }

 private:
  void start_thread() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    const auto run = [](void* self) -> void* {
      static_cast<DeepStackPool*>(self)->work();
      return nullptr;
    };
    pthread_t thread{};
    const bool started = pthread_create(&thread, &attributes, run, this) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) return;
    pthread_setname_np(thread, "octavo-grammar");
    threads_.push_back(thread);
  }
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      --idle_;
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  const int wanted_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  std::vector<pthread_t> threads_;
  int idle_ = 0;
  bool ending_ = false;
};

// Special tokens can be drawn for their text only under a structural tag, which may name them as
// its markers. A JSON string that holds one would end the turn for whoever reads it.
StatusOr<xgrammar::TokenizerInfo> read_vocabulary(const Tokenizer& tokenizer, int vocab_size,
                                                  const std::vector<TokenId>& eos_ids,
                                                  bool with_special) {
  std::vector<std::string> vocabulary(static_cast<size_t>(vocab_size));
  bool any = false;
  for (TokenId id = 0; id < vocab_size; ++id) {
    if (!with_special && tokenizer.is_special(id)) continue;
    vocabulary[static_cast<size_t>(id)] = tokenizer.token_bytes(id);
    any |= !vocabulary[static_cast<size_t>(id)].empty();
  }
  if (!any)
    return failed_precondition("structured output needs a tokenizer, and this model has none");
  return xgrammar::TokenizerInfo(vocabulary, xgrammar::VocabType::RAW, vocab_size, eos_ids, false);
}

// The rules as xgrammar writes them, before it looks at the vocabulary.
xgrammar::Grammar read_grammar(const GrammarSource& source,
                               const xgrammar::TokenizerInfo& vocabulary) {
  switch (source.form) {
    case GrammarSource::Form::kJsonSchema:
      return xgrammar::Grammar::FromJSONSchema(source.text, !source.disable_any_whitespace);
    case GrammarSource::Form::kRegex:
      return xgrammar::Grammar::FromRegex(source.text);
    case GrammarSource::Form::kEbnf:
      return xgrammar::Grammar::FromEBNF(source.text);
    case GrammarSource::Form::kStructuralTag: {
      const auto grammar = xgrammar::Grammar::FromStructuralTag(source.text, vocabulary);
      if (const auto* read = std::get_if<xgrammar::Grammar>(&grammar)) return *read;
      return std::visit(
          [](const auto& error) -> xgrammar::Grammar { throw std::runtime_error(error.what()); },
          std::get<xgrammar::StructuralTagError>(grammar));
    }
  }
  CHECK(false);
}

xgrammar::CompiledGrammar compile_source(const xgrammar::TokenizerInfo& vocabulary,
                                         xgrammar::GrammarCompiler& compiler,
                                         const GrammarSource& source) {
  const xgrammar::Grammar grammar = read_grammar(source, vocabulary);
  const bool of_schemas = source.form == GrammarSource::Form::kJsonSchema ||
                          source.form == GrammarSource::Form::kStructuralTag;
  if (!of_schemas) return compiler.CompileGrammar(grammar);
  const std::string rules = grammar.ToString();
  const std::string respelled = respell_rules(rules);
  return respelled == rules ? compiler.CompileGrammar(grammar) : compiler.CompileGrammar(respelled);
}

}  // namespace

struct GrammarCompiler::Impl {
  struct Key {
    StructuredOutput::Kind kind;
    bool disable_any_whitespace;
    std::string text;
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    std::shared_future<Compiled> compiled;
    int64_t bytes = 0;  // 0 until it is compiled
    std::list<Key>::iterator use;
  };

  Impl(const Tokenizer& tokenizer, int vocab_size, std::vector<TokenId> eos_ids,
       const Limits& limits)
      : tokenizer(tokenizer),
        vocab_size(vocab_size),
        eos_ids(std::move(eos_ids)),
        limits(limits),
        pool(limits.threads) {}

  struct Vocabulary {
    xgrammar::TokenizerInfo tokens;
    xgrammar::GrammarCompiler compiler;
  };
  StatusOr<Vocabulary> vocabulary_for(StructuredOutput::Kind kind);
  Compiled compile(const StructuredOutput& output);
  void keep(const Key& key, int64_t bytes);

  const Tokenizer& tokenizer;
  const int vocab_size;
  const std::vector<TokenId> eos_ids;
  const Limits limits;

  std::mutex vocabulary_mutex;
  std::optional<Vocabulary> vocabularies[2];  // guarded; without, with special tokens

  std::mutex mutex;
  std::map<Key, Entry> entries;  // guarded, as all below
  std::list<Key> uses;           // latest first
  int64_t bytes = 0;
  DeepStackPool pool;  // last: its tasks use all of the above
};

// A reference to a vocabulary, which is made when it is first asked for.
StatusOr<GrammarCompiler::Impl::Vocabulary> GrammarCompiler::Impl::vocabulary_for(
    StructuredOutput::Kind kind) {
  const bool with_special = kind == StructuredOutput::Kind::kStructuralTag;
  const std::lock_guard lock(vocabulary_mutex);
  auto& vocabulary = vocabularies[with_special ? 1 : 0];
  if (!vocabulary) {
    ASSIGN_OR_RETURN(xgrammar::TokenizerInfo tokens,
                     read_vocabulary(tokenizer, vocab_size, eos_ids, with_special));
    vocabulary.emplace(Vocabulary{
        tokens, xgrammar::GrammarCompiler(tokens, /*max_threads=*/1, /*cache_enabled=*/false)});
  }
  return *vocabulary;
}

// On a thread of the pool.
Compiled GrammarCompiler::Impl::compile(const StructuredOutput& output) {
  ASSIGN_OR_RETURN(Vocabulary vocabulary, vocabulary_for(output.kind));
  std::string failure;
  bool exhausted = false;
  take_xgrammar_warning();
  try {
    AllocationLimit limit(limits.memory_bytes, limits.cpu_seconds);
    try {
      ASSIGN_OR_RETURN(const GrammarSource source, prepare_grammar(output));
      auto compiled = std::make_unique<CompiledGrammar::Impl>(
          CompiledGrammar::Impl{compile_source(vocabulary.tokens, vocabulary.compiler, source)});
      if (!limit.exhausted()) return std::make_shared<const CompiledGrammar>(std::move(compiled));
    } catch (const std::bad_alloc&) {
      // Told by exhausted().
    }
    exhausted = limit.exhausted();
  } catch (const std::exception& error) {
    failure = error.what();
  }
  if (const std::string warning = take_xgrammar_warning(); !warning.empty()) {
    failure = warning;
  } else if (exhausted) {
    failure = "it takes too much time or memory to compile";
  } else if (failure.empty()) {
    return resource_exhausted("no memory to compile a grammar");
  }
  return invalid_argument(failure).with_context(name_of(output.kind));
}

// The grammar is compiled: it counts, and the least recently used ones go until all fit.
void GrammarCompiler::Impl::keep(const Key& key, int64_t size) {
  const std::lock_guard lock(mutex);
  entries.at(key).bytes = size;
  bytes += size;
  for (auto last = uses.end(); bytes > limits.cache_bytes && last != uses.begin();) {
    --last;
    const auto entry = entries.find(*last);
    if (entry->second.bytes == 0 || entry->first == key) continue;
    bytes -= entry->second.bytes;
    entries.erase(entry);
    last = uses.erase(last);
  }
}

GrammarCompiler::GrammarCompiler(const Tokenizer& tokenizer, int vocab_size,
                                 std::vector<TokenId> eos_ids, const Limits& limits)
    : impl_(std::make_unique<Impl>(tokenizer, vocab_size, std::move(eos_ids), limits)) {}
GrammarCompiler::~GrammarCompiler() = default;

Compiled GrammarCompiler::compile(const StructuredOutput& output) {
  Impl& impl = *impl_;
  if (output.text.size() > impl.limits.source_bytes) {
    return invalid_argument(std::string(name_of(output.kind)) + " is longer than " +
                            std::to_string(impl.limits.source_bytes) + " bytes");
  }
  std::shared_future<Compiled> compiled;
  {
    const std::lock_guard lock(impl.mutex);
    const Impl::Key key{output.kind, output.disable_any_whitespace, output.text};
    auto found = impl.entries.find(key);
    if (found != impl.entries.end()) {
      impl.uses.splice(impl.uses.begin(), impl.uses, found->second.use);
    } else {
      auto promise = std::make_shared<std::promise<Compiled>>();
      impl.uses.push_front(key);
      found = impl.entries
                  .emplace(key, Impl::Entry{promise->get_future().share(), 0, impl.uses.begin()})
                  .first;
      const bool posted = impl.pool.post([&impl, promise, output, key] {
        Compiled result = impl.compile(output);
        // A refusal is kept as well, so that a hostile text costs its time once.
        const auto text_bytes = static_cast<int64_t>(2 * key.text.size() + 1024);
        impl.keep(key, text_bytes + (result.ok() ? (*result)->bytes() : 0));
        promise->set_value(std::move(result));
      });
      if (!posted) {
        impl.entries.erase(found);
        impl.uses.pop_front();
        return resource_exhausted("no thread can be started to compile a grammar");
      }
    }
    compiled = found->second.compiled;
  }
  return compiled.get();
}

}  // namespace octavo::text
