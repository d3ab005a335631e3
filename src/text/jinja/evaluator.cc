// A walk over the tree: evaluate() gives an expression's value, execute() writes a statement's
// text. Each takes one step and one level of depth, which is what bounds templates that loop or
// recurse. Break and continue are return values (Flow); failures are exceptions, which
// ChatTemplate::render catches.
#include "text/jinja/evaluator.h"

#include <algorithm>
#include <utility>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace octavo::text::jinja {

using ast::Expr;
using ast::ExprType;
using ast::StmtType;

// ---- Frame

Frame* Frame::dense(Runtime& runtime, size_t symbol_count) {
  Frame* frame = runtime.arena.make<Frame>(nullptr);
  frame->dense_ = runtime.arena.make_array<Value>(symbol_count);
  frame->dense_size_ = static_cast<uint32_t>(symbol_count);
  return frame;
}

const Value* Frame::find(ast::SymbolId symbol) const {
  for (const Frame* frame = this; frame != nullptr; frame = frame->outer_) {
    if (frame->dense_ != nullptr) {
      if (!frame->dense_[symbol].is_missing()) return &frame->dense_[symbol];
      continue;
    }
    for (uint32_t i = 0; i < frame->size_; ++i) {
      if (frame->bindings_[i].symbol == symbol) return &frame->bindings_[i].value;
    }
  }
  return nullptr;
}

void Frame::set(Runtime& runtime, ast::SymbolId symbol, const Value& value, size_t symbol_count) {
  if (dense_ != nullptr) {
    dense_[symbol] = value;
    return;
  }
  for (uint32_t i = 0; i < size_; ++i) {
    if (bindings_[i].symbol == symbol) {
      bindings_[i].value = value;
      return;
    }
  }
  if (size_ == kScanAtMost) {
    dense_ = runtime.arena.make_array<Value>(symbol_count);
    dense_size_ = static_cast<uint32_t>(symbol_count);
    for (uint32_t i = 0; i < size_; ++i) dense_[bindings_[i].symbol] = bindings_[i].value;
    dense_[symbol] = value;
    return;
  }
  if (size_ == capacity_) {
    capacity_ = std::max<uint32_t>(4, capacity_ * 2);
    Binding* bigger = runtime.arena.make_array<Binding>(capacity_);
    std::copy(bindings_, bindings_ + size_, bigger);
    bindings_ = bigger;
  }
  bindings_[size_++] = {symbol, value};
}

void Frame::clear() {
  size_ = 0;
  if (dense_ != nullptr) std::fill(dense_, dense_ + dense_size_, Value());
}

// A frame as the current one, for as long as it lives.
class Evaluator::FrameScope {
 public:
  FrameScope(Evaluator& evaluator, Frame* frame)
      : evaluator_(evaluator), before_(std::exchange(evaluator.frame_, frame)) {}
  ~FrameScope() { evaluator_.frame_ = before_; }
  FrameScope(const FrameScope&) = delete;
  FrameScope& operator=(const FrameScope&) = delete;

 private:
  Evaluator& evaluator_;
  Frame* before_;
};

template <typename F>
Value Evaluator::capture(F f) {
  Draft text;
  Draft* before = std::exchange(out_, &text);
  f();
  out_ = before;
  return runtime_.text(text);
}

Draft Evaluator::render(const octavo::Value::Dict& model, const octavo::Value::Dict& request) {
  const auto own = [&](std::string_view text) { runtime_.provenance.claim(text); };
  own(template_.source);
  template_.arena.each_chunk(own);
  own(kRoles);
  for (const auto& [name, value] : model) {
    if (value.is_string()) own(value.as_string());
  }
  frame_ = Frame::dense(runtime_, template_.symbols.size());
  const auto define = [&](std::string_view name, auto make_value) {
    const auto symbol = template_.symbols.find(name);
    if (symbol != template_.symbols.end()) set(symbol->second, make_value());
  };
  for (const NamedGlobal& global : global_functions()) {
    define(global.name, [&] { return runtime_.function(global.name, global.function); });
  }
  for (const octavo::Value::Dict* variables : {&model, &request}) {
    for (const auto& [name, value] : *variables)
      define(name, [&, &from = value] { return import_value(runtime_, from); });
  }
  Draft out;
  out_ = &out;
  execute(template_.body);
  return out;
}

// ---- Expressions

Value Evaluator::evaluate(const Expr* expr) {
  const DepthGuard guard(runtime_);
  runtime_.charge(1);
  switch (expr->type) {
    case ExprType::kConstant:
      return static_cast<const ast::Constant*>(expr)->value;
    case ExprType::kName:
      return evaluate_name(*static_cast<const ast::Name*>(expr));
    case ExprType::kList:
    case ExprType::kTuple:
      return evaluate_items(*static_cast<const ast::Items*>(expr));
    case ExprType::kDict:
      return evaluate_dict(*static_cast<const ast::DictLiteral*>(expr));
    case ExprType::kNot:
      return Value::boolean(!truthy(evaluate(static_cast<const ast::Unary*>(expr)->operand)));
    case ExprType::kNegate:
      return negate(evaluate(static_cast<const ast::Unary*>(expr)->operand));
    case ExprType::kPositive:
      return positive(evaluate(static_cast<const ast::Unary*>(expr)->operand));
    case ExprType::kBinary: {
      const auto& node = *static_cast<const ast::Binary*>(expr);
      const Value left = evaluate(node.left);
      return binary(runtime_, node.op, left, evaluate(node.right));
    }
    case ExprType::kAnd: {
      const auto& node = *static_cast<const ast::Logic*>(expr);
      const Value left = evaluate(node.left);
      return truthy(left) ? evaluate(node.right) : left;
    }
    case ExprType::kOr: {
      const auto& node = *static_cast<const ast::Logic*>(expr);
      const Value left = evaluate(node.left);
      return truthy(left) ? left : evaluate(node.right);
    }
    case ExprType::kCompare:
      return evaluate_compare(*static_cast<const ast::Compare*>(expr));
    case ExprType::kConcat:
      return evaluate_concat(*static_cast<const ast::Items*>(expr));
    case ExprType::kConditional:
      return evaluate_conditional(*static_cast<const ast::Conditional*>(expr));
    case ExprType::kAttribute: {
      const auto& node = *static_cast<const ast::Attribute*>(expr);
      return get_attribute(runtime_, evaluate(node.object), node.name);
    }
    case ExprType::kSubscript: {
      const auto& node = *static_cast<const ast::Subscript*>(expr);
      const Value object = evaluate(node.object);
      return get_item(runtime_, object, evaluate(node.key));
    }
    case ExprType::kSlice:
      return evaluate_slice(*static_cast<const ast::Slice*>(expr));
    case ExprType::kCall:
      return evaluate_call(*static_cast<const ast::Call*>(expr), nullptr);
    case ExprType::kFilter:
      return evaluate_filter(*static_cast<const ast::Filter*>(expr), nullptr);
    case ExprType::kTest:
      return evaluate_test(*static_cast<const ast::Test*>(expr));
    case ExprType::kNamespaceTarget:
      break;  // only ever assigned to
  }
  return Value::none();
}

Value Evaluator::evaluate_name(const ast::Name& name) {
  const Value* found = frame_->find(name.symbol);
  return found != nullptr ? *found : runtime_.undefined_variable(name.name);
}

Value Evaluator::evaluate_items(const ast::Items& node) {
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const Expr* item : node.items) items.push_back(evaluate(item));
  return node.type == ExprType::kList ? runtime_.list(items) : runtime_.tuple(items);
}

Value Evaluator::evaluate_dict(const ast::DictLiteral& node) {
  Dict* dict = runtime_.arena.make<Dict>();
  for (const ast::DictItem& item : node.items) {
    const Value key = evaluate(item.key);
    dict->set(runtime_, key, evaluate(item.value));
  }
  return Value::dict(dict);
}

Value Evaluator::evaluate_compare(const ast::Compare& node) {
  Value left = evaluate(node.first);
  for (const ast::CompareLink& link : node.links) {
    const Value right = evaluate(link.right);
    if (!compare(runtime_, link.op, left, right)) return Value::boolean(false);
    left = right;
  }
  return Value::boolean(true);
}

Value Evaluator::evaluate_concat(const ast::Items& node) {
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const Expr* item : node.items) items.push_back(to_str(runtime_, evaluate(item)));
  Value text = items[0];
  for (size_t i = 1; i < items.size(); ++i)
    text = runtime_.concat(text.as_string(), items[i].as_string());
  return text;
}

Value Evaluator::evaluate_conditional(const ast::Conditional& node) {
  if (truthy(evaluate(node.test))) return evaluate(node.yes);
  if (node.no != nullptr) return evaluate(node.no);
  return runtime_.undefined_hint("the inline if-expression on line " + std::to_string(node.line) +
                                 " evaluated to false and no else section was defined.");
}

Value Evaluator::evaluate_slice(const ast::Slice& node) {
  const Value object = evaluate(node.object);
  const auto bound = [&](const Expr* expr) {
    return expr == nullptr ? Value::none() : evaluate(expr);
  };
  const Value start = bound(node.start);
  const Value stop = bound(node.stop);
  return slice(runtime_, object, start, stop, bound(node.step));
}

Evaluator::Evaluated Evaluator::evaluate_arguments(const ast::Arguments& arguments) {
  Evaluated out;
  out.positional.reserve(arguments.positional.size());
  for (const Expr* argument : arguments.positional) out.positional.push_back(evaluate(argument));
  for (const ast::KeywordExpr& keyword : arguments.keywords) {
    out.keywords.push_back({keyword.name, evaluate(keyword.value)});
  }
  if (arguments.star != nullptr) {
    Cursor cursor(runtime_, evaluate(arguments.star));
    for (Value item; cursor.next(runtime_, item);) out.positional.push_back(item);
  }
  if (arguments.double_star != nullptr) {
    const Value mapping = evaluate(arguments.double_star);
    if (!mapping.is(Kind::kDict)) throw_python("TypeError: argument after ** must be a mapping");
    for (const Dict::Entry& entry : mapping.as_dict().entries()) {
      if (!entry.key.is_string()) throw_python("TypeError: keywords must be strings");
      out.keywords.push_back({entry.key.as_string(), entry.value});
    }
  }
  return out;
}

Value Evaluator::evaluate_call(const ast::Call& node, const Macro* caller) {
  const Value callee = evaluate(node.callee);
  Evaluated arguments = evaluate_arguments(node.arguments);
  if (caller != nullptr) arguments.keywords.push_back({"caller", Value::macro(caller)});
  return call(callee, arguments.args());
}

Value Evaluator::call(const Value& callee, const Args& args) {
  switch (callee.kind()) {
    case Kind::kFunction:
      return callee.as_function().call(runtime_, callee.as_function().self, args);
    case Kind::kMacro:
      return call_macro(callee.as_macro(), args);
    case Kind::kUndefined:
      throw_undefined(callee.as_undefined());
    case Kind::kLoop: {
      const Loop& loop = callee.as_loop();
      if (!loop.statement->recursive) {
        throw_python(
            "TypeError: The loop must have the 'recursive' marker to be called recursively.");
      }
      Value iterable[1];
      bind("loop", args, {"iterable"}, 1, iterable);
      return capture([&] { run_loop(*loop.statement, iterable[0], loop.outer, loop.depth0 + 1); });
    }
    default:
      throw_python("TypeError: '" + std::string(type_name(callee)) + "' object is not callable");
  }
}

Value Evaluator::call_macro(const Macro& macro, const Args& args) {
  const DepthGuard guard(runtime_);
  const FrameScope scope(*this, runtime_.arena.make<Frame>(macro.outer));
  bind_macro(macro, args);
  return capture([&] { execute(macro.definition->body); });
}

// Binds a macro's parameters in the current frame, and `caller`, `kwargs` and `varargs` if its body
// reads them.
void Evaluator::bind_macro(const Macro& macro, const Args& args) {
  const ast::Macro& definition = *macro.definition;
  const std::string name(definition.name);
  std::vector<bool> taken(args.keywords.size(), false);
  const auto take = [&](std::string_view keyword) {
    for (size_t i = 0; i < args.keywords.size(); ++i) {
      if (taken[i] || args.keywords[i].name != keyword) continue;
      taken[i] = true;
      return args.keywords[i].value;
    }
    return Value();
  };
  bool has_caller = false;
  for (size_t i = 0; i < definition.parameters.size(); ++i) {
    const ast::Parameter& parameter = definition.parameters[i];
    has_caller |= parameter.symbol == template_.caller_symbol;
    Value value = i < args.positional.size() ? args.positional[i] : take(parameter.name);
    if (value.is_missing() && parameter.fallback != nullptr) {
      value = evaluate(parameter.fallback);
    } else if (value.is_missing()) {
      value = runtime_.undefined_hint("parameter '" + std::string(parameter.name) +
                                      "' was not provided");
    }
    set(parameter.symbol, value);
  }
  if (definition.uses_caller && !has_caller) {
    const Value caller = take("caller");
    set(template_.caller_symbol,
        caller.is_missing() ? runtime_.undefined_hint("No caller defined") : caller);
  }
  Dict* kwargs = definition.uses_kwargs ? runtime_.arena.make<Dict>() : nullptr;
  for (size_t i = 0; i < args.keywords.size(); ++i) {
    if (taken[i]) continue;
    if (kwargs == nullptr) {
      throw_python("TypeError: macro '" + name + "' takes no keyword argument '" +
                   std::string(args.keywords[i].name) + "'");
    }
    kwargs->set(runtime_, Value::string(args.keywords[i].name), args.keywords[i].value);
  }
  if (kwargs != nullptr) set(template_.kwargs_symbol, Value::dict(kwargs));
  const size_t named = std::min(args.positional.size(), definition.parameters.size());
  if (definition.uses_varargs) {
    set(template_.varargs_symbol,
        runtime_.tuple({args.positional.begin() + named, args.positional.end()}));
  } else if (args.positional.size() > named) {
    throw_python("TypeError: macro '" + name + "' takes not more than " + std::to_string(named) +
                 " argument(s)");
  }
}

Value Evaluator::evaluate_filter(const ast::Filter& node, const Value* block_input) {
  // Only the first filter of a filter block has no input expression: it takes the block's text.
  Value input;
  if (node.input == nullptr) {
    input = *block_input;
  } else if (block_input != nullptr && node.input->type == ExprType::kFilter) {
    const DepthGuard guard(runtime_);
    input = evaluate_filter(*static_cast<const ast::Filter*>(node.input), block_input);
  } else {
    input = evaluate(node.input);
  }
  const Evaluated arguments = evaluate_arguments(node.arguments);
  if (node.function == nullptr)
    throw_raised("No filter named '" + std::string(node.name) + "' found.");
  return node.function(runtime_, input, arguments.args());
}

Value Evaluator::evaluate_test(const ast::Test& node) {
  const Value input = evaluate(node.input);
  const Evaluated arguments = evaluate_arguments(node.arguments);
  if (node.function == nullptr)
    throw_raised("No test named '" + std::string(node.name) + "' found.");
  return Value::boolean(node.function(runtime_, input, arguments.args()));
}

// ---- Statements

Evaluator::Flow Evaluator::execute(ast::Body body) {
  for (const ast::Stmt* stmt : body) {
    if (const Flow flow = execute(stmt); flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::execute(const ast::Stmt* stmt) {
  const DepthGuard guard(runtime_);
  runtime_.charge(1);
  switch (stmt->type) {
    case StmtType::kText:
      runtime_.append(*out_, static_cast<const ast::Text*>(stmt)->text);
      break;
    case StmtType::kOutput: {
      const Value value = evaluate(static_cast<const ast::Output*>(stmt)->value);
      append_str(runtime_, *out_, value);
      break;
    }
    case StmtType::kIf:
      return execute_if(*static_cast<const ast::If*>(stmt));
    case StmtType::kFor: {
      const auto& node = *static_cast<const ast::For*>(stmt);
      return run_loop(node, evaluate(node.iterable), frame_, 0);
    }
    case StmtType::kSet: {
      const auto& node = *static_cast<const ast::Set*>(stmt);
      assign(node.target, evaluate(node.value));
      break;
    }
    case StmtType::kSetBlock:
      execute_set_block(*static_cast<const ast::SetBlock*>(stmt));
      break;
    case StmtType::kMacro: {
      const auto& node = *static_cast<const ast::Macro*>(stmt);
      set(node.symbol, Value::macro(runtime_.arena.make<Macro>(&node, frame_)));
      break;
    }
    case StmtType::kCallBlock:
      execute_call_block(*static_cast<const ast::CallBlock*>(stmt));
      break;
    case StmtType::kFilterBlock:
      execute_filter_block(*static_cast<const ast::FilterBlock*>(stmt));
      break;
    case StmtType::kWith:
      return execute_with(*static_cast<const ast::With*>(stmt));
    case StmtType::kDo:
      evaluate(static_cast<const ast::Do*>(stmt)->value);
      break;
    case StmtType::kBreak:
      return Flow::kBreak;
    case StmtType::kContinue:
      return Flow::kContinue;
    case StmtType::kScope: {
      const FrameScope scope(*this, runtime_.arena.make<Frame>(frame_));
      return execute(static_cast<const ast::Scope*>(stmt)->body);
    }
    case StmtType::kUnsupported: {
      const std::string tag(static_cast<const ast::Unsupported*>(stmt)->tag);
      throw_python("TypeError: no loader for this environment specified (" + tag + ")");
    }
  }
  return Flow::kNext;
}

Evaluator::Flow Evaluator::execute_if(const ast::If& node) {
  for (const ast::Branch& branch : node.branches) {
    if (truthy(evaluate(branch.test))) return execute(branch.body);
  }
  return execute(node.otherwise);
}

void Evaluator::execute_set_block(const ast::SetBlock& node) {
  Value text;
  {
    const FrameScope scope(*this, runtime_.arena.make<Frame>(frame_));
    text = capture([&] { execute(node.body); });
  }
  if (node.filter != nullptr)
    text = evaluate_filter(*static_cast<const ast::Filter*>(node.filter), &text);
  assign(node.target, text);
}

Evaluator::Flow Evaluator::execute_with(const ast::With& node) {
  Frame* inner = runtime_.arena.make<Frame>(frame_);
  std::vector<Value> values;
  for (const Expr* value : node.values) values.push_back(evaluate(value));
  const FrameScope scope(*this, inner);
  for (size_t i = 0; i < values.size(); ++i) assign(node.targets[i], values[i]);
  return execute(node.body);
}

void Evaluator::execute_call_block(const ast::CallBlock& node) {
  const Macro* caller = runtime_.arena.make<Macro>(node.caller, frame_);
  append_str(runtime_, *out_, evaluate_call(*node.call, caller));
}

void Evaluator::execute_filter_block(const ast::FilterBlock& node) {
  const FrameScope scope(*this, runtime_.arena.make<Frame>(frame_));
  const Value text = capture([&] { execute(node.body); });
  append_str(runtime_, *out_,
             evaluate_filter(*static_cast<const ast::Filter*>(node.filter), &text));
}

void Evaluator::assign(const Expr* target, const Value& value) {
  if (target->type == ExprType::kName)
    return set(static_cast<const ast::Name*>(target)->symbol, value);
  if (target->type == ExprType::kNamespaceTarget) {
    const auto& node = *static_cast<const ast::NamespaceTarget*>(target);
    const Value* found = frame_->find(node.symbol);
    if (found == nullptr || !found->is(Kind::kNamespace)) {
      throw_raised("cannot assign attribute on non-namespace object");
    }
    return found->as_namespace().set(runtime_, Value::string(node.attribute), value);
  }
  const ast::ExprList targets = static_cast<const ast::Items*>(target)->items;
  std::vector<Value> items;
  Cursor cursor(runtime_, value);
  for (Value item; items.size() <= targets.size() && cursor.next(runtime_, item);)
    items.push_back(item);
  const std::string expected = "(expected " + std::to_string(targets.size());
  if (items.size() > targets.size())
    throw_python("ValueError: too many values to unpack " + expected + ")");
  if (items.size() < targets.size()) {
    throw_python("ValueError: not enough values to unpack " + expected + ", got " +
                 std::to_string(items.size()) + ")");
  }
  for (size_t i = 0; i < items.size(); ++i) assign(targets[i], items[i]);
}

// ---- Loops

namespace {
// The items for which a loop's `if` holds, found as the loop asks for them.
class FilteredItems : public Iterator {
 public:
  FilteredItems(Evaluator* evaluator, const ast::For* loop, Cursor source, Frame* frame)
      : evaluator_(evaluator), loop_(loop), source_(source), frame_(frame) {}
  bool next(Runtime& runtime, Value& out) override {
    while (source_.next(runtime, out)) {
      if (evaluator_->passes(*loop_, frame_, out)) return true;
    }
    return false;
  }

 private:
  Evaluator* evaluator_;
  const ast::For* loop_;
  Cursor source_;
  Frame* frame_;
};
}  // namespace

bool Evaluator::passes(const ast::For& loop, Frame* frame, const Value& item) {
  const FrameScope scope(*this, frame);
  assign(loop.target, item);
  return truthy(evaluate(loop.filter));
}

Evaluator::Flow Evaluator::run_loop(const ast::For& node, const Value& iterable, Frame* outer,
                                    int64_t depth0) {
  const DepthGuard guard(runtime_);
  Cursor items(runtime_, iterable);
  if (node.filter != nullptr) {
    Frame* filter_frame = runtime_.arena.make<Frame>(outer);
    items = Cursor(runtime_, Value::iterator(runtime_.arena.make<FilteredItems>(this, &node, items,
                                                                                filter_frame)));
  }
  Loop* loop = runtime_.arena.make<Loop>(items, &node, outer, depth0);
  bool completed =
      false;  // as compiled by Jinja: `else` runs unless some iteration reached its end
  {
    // One frame for all iterations, as in Python: a macro defined in the body sees the last one's
    // variables.
    Frame* frame = runtime_.arena.make<Frame>(outer);
    const FrameScope scope(*this, frame);
    while (loop->next(runtime_)) {
      frame->clear();
      set(template_.loop_symbol, Value::loop(loop));
      assign(node.target, loop->current);
      const Flow flow = execute(node.body);
      if (flow == Flow::kBreak) break;
      if (flow == Flow::kNext) completed = true;
    }
  }
  if (!completed && !node.otherwise.empty()) {
    const FrameScope scope(*this, runtime_.arena.make<Frame>(outer));
    return execute(node.otherwise);
  }
  return Flow::kNext;
}

}  // namespace octavo::text::jinja
