// The syntax tree of a template. Nodes lie in the template's Arena, never change after parsing, and
// are read by any number of renderings at once. The parser makes them, the evaluator walks them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "text/jinja/builtins.h"
#include "text/jinja/operators.h"
#include "text/jinja/value.h"

namespace octavo::text::jinja::ast {

using SymbolId = int32_t;  // a variable's name, numbered per template

enum class ExprType : uint8_t {
  kConstant,
  kName,
  kList,
  kTuple,
  kDict,
  kNot,
  kNegate,
  kPositive,
  kBinary,
  kAnd,
  kOr,
  kCompare,
  kConcat,
  kConditional,
  kAttribute,
  kSubscript,
  kSlice,
  kCall,
  kFilter,
  kTest,
  kNamespaceTarget,
};

struct Expr {
  ExprType type;
  int line;
};
using ExprList = std::span<const Expr* const>;

struct Constant : Expr {
  Value value;
};
struct Name : Expr {
  SymbolId symbol;
  std::string_view name;
};
struct Items : Expr {
  ExprList items;
};  // a list, tuple or concatenation (~)
struct DictItem {
  const Expr* key;
  const Expr* value;
};
struct DictLiteral : Expr {
  std::span<const DictItem> items;
};
struct Unary : Expr {
  const Expr* operand;
};
struct Logic : Expr {
  const Expr* left;
  const Expr* right;
};
struct Binary : Expr {
  BinaryOp op;
  const Expr* left;
  const Expr* right;
};
struct CompareLink {
  CompareOp op;
  const Expr* right;
};
struct Compare : Expr {
  const Expr* first;
  std::span<const CompareLink> links;
};  // a < b < c
struct Conditional : Expr {
  const Expr* test;
  const Expr* yes;
  const Expr* no;
};  // no: may be null
struct Attribute : Expr {
  const Expr* object;
  std::string_view name;
};
struct Subscript : Expr {
  const Expr* object;
  const Expr* key;
};
struct Slice : Expr {
  const Expr* object;
  const Expr* start;
  const Expr* stop;
  const Expr* step;
};  // may be null
struct NamespaceTarget : Expr {
  SymbolId symbol;
  std::string_view name;
  std::string_view attribute;
};

struct KeywordExpr {
  std::string_view name;
  const Expr* value;
};
struct Arguments {
  ExprList positional;
  std::span<const KeywordExpr> keywords;
  const Expr* star = nullptr;         // *args
  const Expr* double_star = nullptr;  // **kwargs
};
struct Call : Expr {
  const Expr* callee;
  Arguments arguments;
};
// `input` is null for the first filter of a filter block. `function` is null for an unknown name:
// Jinja fails only when such a filter is reached.
struct Filter : Expr {
  const Expr* input;
  std::string_view name;
  FilterFunction function;
  Arguments arguments;
};
struct Test : Expr {
  const Expr* input;
  std::string_view name;
  TestFunction function;
  Arguments arguments;
};

enum class StmtType : uint8_t {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kDo,
  kBreak,
  kContinue,
  kScope,
  kUnsupported,
};

struct Stmt {
  StmtType type;
  int line;
};
using Body = std::span<const Stmt* const>;

struct Text : Stmt {
  std::string_view text;
};
struct Output : Stmt {
  const Expr* value;
};
struct Branch {
  const Expr* test;
  Body body;
};
struct If : Stmt {
  std::span<const Branch> branches;
  Body otherwise;
};
struct For : Stmt {
  const Expr* target;
  const Expr* iterable;
  const Expr* filter;  // may be null
  bool recursive;
  Body body;
  Body otherwise;
};
struct Set : Stmt {
  const Expr* target;
  const Expr* value;
};
struct SetBlock : Stmt {
  const Expr* target;
  const Expr* filter;
  Body body;
};  // filter: may be null
struct Parameter {
  SymbolId symbol;
  std::string_view name;
  const Expr* fallback;
};  // fallback: may be null
// A macro, or the body of a call block, which is the macro `caller` of the macro that is called.
struct Macro : Stmt {
  std::string_view name;
  SymbolId symbol;
  std::span<const Parameter> parameters;
  Body body;
  bool uses_caller, uses_kwargs, uses_varargs;  // and so takes them
};
struct CallBlock : Stmt {
  const Call* call;
  const Macro* caller;
};
struct FilterBlock : Stmt {
  const Expr* filter;
  Body body;
};
struct With : Stmt {
  std::span<const Expr* const> targets;
  ExprList values;
  Body body;
};
struct Do : Stmt {
  const Expr* value;
};
// A body with variables of its own: {% generation %}, {% block %}.
struct Scope : Stmt {
  Body body;
};
// Fails when it is reached: {% include %} and its kin, as no template is loaded by name here.
struct Unsupported : Stmt {
  std::string_view tag;
};

}  // namespace octavo::text::jinja::ast
