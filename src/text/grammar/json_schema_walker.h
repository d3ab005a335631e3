// The walk behind prepare_json_schema(): one object per schema. json_schema.cc walks,
// json_schema_types.cc knows the keywords of each type, json_schema_merge.cc puts schemas together
// that must hold at once, or shows that two cannot.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/status.h"
#include "octavo/value.h"

namespace octavo::text {

class SchemaWalker {
 public:
  // `root` is rewritten in place.
  explicit SchemaWalker(Value& root) : root_(root) {}
  Status run();

 private:
  // json_schema.cc
  Status walk(Value& schema, const std::string& at);
  Status walk_list(Value& list, const std::string& at);
  Status walk_children(Value& schema, const std::string& at);
  Status check_values(Value& schema, const std::string& at);
  Status walk_options(Value& schema, const std::string& keyword, const std::string& at);
  Status follow_references();
  void lower_root();
  Value* find_pointer(std::string_view pointer);
  // The schema that a chain of bare references ends at; null: there is none within the root.
  const Value* resolve(const Value& schema);
  Status refuse(const std::string& keyword, const std::string& at, const std::string& why) const;

  // json_schema_types.cc
  Status check_type(Value& schema, std::string_view type, const std::string& at);
  Status check_number(Value& schema, bool integer, const std::string& at);
  Status check_string(Value& schema, const std::string& at);
  Status check_pattern(Value& schema, const std::string& at);
  Status check_array(Value& schema, const std::string& at);
  Status check_object(Value& schema, const std::string& at);
  Status check_keys(Value& schema, const std::string& at);

  // json_schema_merge.cc
  Status merge_all_of(Value& schema, const std::string& at);
  StatusOr<Value> merge(const Value& a, const Value& b, const std::string& at, int depth);
  Status merge_keyword(Value& into, const std::string& key, const Value& value,
                       const std::string& at);
  bool exclusive(const Value& a, const Value& b);
  Status check_exclusive(const Value& options, const std::string& at);

  Value& root_;
  std::set<std::string> walked_;         // pointers of schemas that are done
  std::vector<std::string> referenced_;  // pointers still to look at
  bool refers_to_root_ = false;
  int work_left_ = 20000;  // schemas walked and merged
};

// Keywords that constrain; all others are annotations. In the family they belong to.
enum class KeywordFamily { kNone, kAny, kNumber, kString, kArray, kObject };
KeywordFamily family_of(std::string_view keyword);

// The names in `type`; empty: every type.
std::vector<std::string> types_of(const Value& schema);
bool value_has_type(const Value& value, std::string_view type);
void erase_member(Value& dict, std::string_view key);

}  // namespace octavo::text
