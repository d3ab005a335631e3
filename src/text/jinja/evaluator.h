// Evaluator: renders a parsed template once, by walking its tree. Made by ChatTemplate::render and
// gone with it. One thread; the Template is shared and only read.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/loop.h"
#include "text/jinja/parser.h"
#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja {

// The variables of one scope: the template, a loop, a macro's call. Scopes are lexical: a macro
// keeps the frame in which it was defined, so frames live in the arena.
class Frame {
 public:
  explicit Frame(Frame* outer) : outer_(outer) {}
  // Binds any of `symbol_count` symbols in one step, as do frames with many variables.
  static Frame* dense(Runtime& runtime, size_t symbol_count);

  // The innermost binding of `symbol` here or further out; null if there is none.
  const Value* find(ast::SymbolId symbol) const;
  void set(Runtime& runtime, ast::SymbolId symbol, const Value& value, size_t symbol_count);
  void clear();

 private:
  struct Binding {
    ast::SymbolId symbol;
    Value value;
  };
  static constexpr uint32_t kScanAtMost = 16;

  Frame* const outer_;
  Binding* bindings_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  Value* dense_ = nullptr;  // by symbol, kMissing where unbound; instead of bindings_
  uint32_t dense_size_ = 0;
};

struct Macro {
  const ast::Macro* definition;
  Frame* outer;
};

class Evaluator {
 public:
  Evaluator(const Template& source, Runtime& runtime) : template_(source), runtime_(runtime) {}

  // `model`: variables whose strings are the template's own; `request`: those that came with the
  // request, and that hide the model's of the same name. Throws TemplateError.
  Draft render(const octavo::Value::Dict& model, const octavo::Value::Dict& request);

  // Evaluates the `if` of a loop, for the generator that filters its items.
  bool passes(const ast::For& loop, Frame* frame, const Value& item);

 private:
  enum class Flow { kNext, kBreak, kContinue };
  // The arguments of a call, evaluated.
  struct Evaluated {
    std::vector<Value> positional;
    std::vector<Keyword> keywords;
    Args args() const { return {positional, keywords}; }
  };
  class FrameScope;

  // Expressions.
  Value evaluate(const ast::Expr* expr);
  Value evaluate_name(const ast::Name& name);
  Value evaluate_items(const ast::Items& node);
  Value evaluate_dict(const ast::DictLiteral& node);
  Value evaluate_compare(const ast::Compare& node);
  Value evaluate_concat(const ast::Items& node);
  Value evaluate_conditional(const ast::Conditional& node);
  Value evaluate_slice(const ast::Slice& node);
  Value evaluate_call(const ast::Call& node, const Macro* caller);
  Value evaluate_filter(const ast::Filter& node, const Value* input);
  Value evaluate_test(const ast::Test& node);
  Evaluated evaluate_arguments(const ast::Arguments& arguments);
  Value call(const Value& callee, const Args& args);
  Value call_macro(const Macro& macro, const Args& args);
  void bind_macro(const Macro& macro, const Args& args);

  // Statements, onto out_.
  Flow execute(ast::Body body);
  Flow execute(const ast::Stmt* stmt);
  Flow execute_if(const ast::If& node);
  void execute_set_block(const ast::SetBlock& node);
  Flow execute_with(const ast::With& node);
  void execute_call_block(const ast::CallBlock& node);
  void execute_filter_block(const ast::FilterBlock& node);
  Flow run_loop(const ast::For& node, const Value& iterable, Frame* outer, int64_t depth0);
  void assign(const ast::Expr* target, const Value& value);
  void set(ast::SymbolId symbol, const Value& value) {
    frame_->set(runtime_, symbol, value, template_.symbols.size());
  }
  // What `f` writes, as a string value.
  template <typename F>
  Value capture(F f);

  const Template& template_;
  Runtime& runtime_;
  Frame* frame_ = nullptr;
  Draft* out_ = nullptr;
};

}  // namespace octavo::text::jinja
