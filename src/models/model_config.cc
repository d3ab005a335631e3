// Reads config.json and generation_config.json. The files come from anywhere, so every number is
// bounded before it sizes anything, and each refusal names the file and the field.
#include "models/model_config.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <sstream>

#include "base/log.h"
#include "base/status_macros.h"
#include "models/families.h"

namespace octavo {
namespace {

constexpr int64_t kMaxParameters = int64_t{1} << 42;    // 4 T: far beyond any machine's memory
constexpr int64_t kMaxRopeElements = int64_t{1} << 31;  // 8 GiB of cosines and sines
constexpr std::streamoff kMaxConfigBytes = 16 << 20;

using Keys = std::initializer_list<std::string_view>;

// Typed, bounded access to one JSON object; remembers the first failure.
class Fields {
 public:
  Fields(const Value& root, std::string file) : root_(root), file_(std::move(file)) {}

  // The first of `keys` that is present and not null.
  const Value* find(Keys keys) const {
    for (std::string_view key : keys) {
      const Value* v = root_.find(key);
      if (v != nullptr && !v->is_null()) return v;
    }
    return nullptr;
  }
  bool has(std::string_view key) const { return root_.find(key) != nullptr; }

  int integer(Keys keys, int64_t low, int64_t high,
              std::optional<int64_t> fallback = std::nullopt) {
    const Value* v = find(keys);
    if (v == nullptr) {
      if (!fallback) fail(std::string(*keys.begin()) + " is missing");
      return static_cast<int>(fallback.value_or(low));
    }
    // A whole number written as 4096.0 is common enough to be meant.
    double d = v->is_number() ? v->as_double() : std::numeric_limits<double>::quiet_NaN();
    if (!(d >= static_cast<double>(low) && d <= static_cast<double>(high)) ||
        d != static_cast<double>(static_cast<int64_t>(d))) {
      fail(std::string(*keys.begin()) + " must be an integer from " + std::to_string(low) + " to " +
           std::to_string(high) + ", not " + shown(*v));
      return static_cast<int>(low);
    }
    return static_cast<int>(d);
  }

  double number(Keys keys, double low, double high, std::optional<double> fallback = std::nullopt) {
    const Value* v = find(keys);
    if (v == nullptr) {
      if (!fallback) fail(std::string(*keys.begin()) + " is missing");
      return fallback.value_or(low);
    }
    if (!v->is_number() || !(v->as_double() >= low && v->as_double() <= high)) {
      std::ostringstream range;
      range << low << " to " << high;
      fail(std::string(*keys.begin()) + " must be a number from " + range.str() + ", not " +
           shown(*v));
      return low;
    }
    return v->as_double();
  }

  bool boolean(std::string_view key, bool fallback) {
    const Value* v = find({key});
    if (v == nullptr) return fallback;
    if (!v->is_bool()) fail(std::string(key) + " must be true or false, not " + shown(*v));
    return v->is_bool() && v->as_bool();
  }

  std::string text(Keys keys, std::string fallback) {
    const Value* v = find(keys);
    if (v == nullptr) return fallback;
    if (!v->is_string()) fail(std::string(*keys.begin()) + " must be a string, not " + shown(*v));
    return v->is_string() ? v->as_string() : fallback;
  }

  void fail(const std::string& what) {
    if (status_.ok()) status_ = invalid_argument(file_ + ": " + what);
  }
  const Status& status() const { return status_; }
  const std::string& file() const { return file_; }

  static std::string shown(const Value& v) {
    std::string text = to_json(v);
    return text.size() > 60 ? text.substr(0, 57) + "..." : text;
  }

 private:
  const Value& root_;
  std::string file_;
  Status status_;
};

StatusOr<Value> parse_object(const std::string& text, const std::string& file) {
  auto parsed = parse_json(text);
  if (!parsed.ok()) return parsed.status().with_context(file);
  if (!parsed->is_dict()) return invalid_argument(file + ": must be a JSON object");
  return parsed;
}

StatusOr<std::string> parse_architecture(const Fields& f) {
  const Value* list = f.find({"architectures"});
  if (list == nullptr || !list->is_list() || list->as_list().empty() ||
      !list->as_list()[0].is_string()) {
    return invalid_argument(f.file() +
                            ": architectures must be a list that names the model's class");
  }
  return list->as_list()[0].as_string();
}

// transformers 5 writes rope_parameters with everything inside; before, rope_theta stood outside of
// rope_scaling.
void parse_rope(const Value& root, Fields& f, RopeConfig& rope) {
  rope.theta = f.number({"rope_theta"}, 1, 1e12, rope.theta);
  const Value* block = f.find({"rope_parameters", "rope_scaling"});
  if (block == nullptr) return;
  if (!block->is_dict()) return f.fail("rope_parameters must be an object");
  Fields r(*block, f.file() + ": rope_parameters");
  rope.type = r.text({"rope_type", "type"}, "default");
  for (const auto& [key, value] : block->as_dict()) {
    if (value.is_dict()) rope.type = "one for each kind of layer";
  }
  rope.theta = r.number({"rope_theta"}, 1, 1e12, rope.theta);
  if (rope.type == "llama3") {
    rope.factor = r.number({"factor"}, 1, 1e6);
    rope.low_freq_factor = r.number({"low_freq_factor"}, 1e-6, 1e6);
    rope.high_freq_factor = r.number({"high_freq_factor"}, 1e-6, 1e6);
    rope.original_max_position = r.integer({"original_max_position_embeddings"}, 1, 1 << 24);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      r.fail("high_freq_factor must be greater than low_freq_factor");
    }
  }
  if (!r.status().ok() && f.status().ok()) f.fail(r.status().message().substr(f.file().size() + 2));
}

// All layers share one window, or there is none; other mixtures are refused.
Status parse_sliding_window(Fields& f, const Family& family, ModelConfig& c) {
  const int fallback = f.has("sliding_window") ? 0 : family.sliding_window;
  int window = f.integer({"sliding_window"}, 0, std::numeric_limits<int>::max(), fallback);
  const auto mixed = [&](const std::string& what) {
    return unimplemented(c.architecture + ": " + what + " is not supported");
  };
  if (family.window == WindowRule::kNone && window > 0) return mixed("sliding_window");
  const Value* types = f.find({"layer_types"});
  const bool switched = family.window == WindowRule::kSwitched;
  if (switched) {
    if (!f.boolean("use_sliding_window", false)) window = 0;
    const int first = f.integer({"max_window_layers"}, 0, 1 << 20, 28);
    if (window > 0 && types == nullptr && first > 0) {
      if (first < c.num_layers)
        return mixed("a sliding window in some layers only (max_window_layers)");
      window = 0;
    }
  }
  if (types != nullptr) {
    if (!types->is_list() || types->as_list().empty()) {
      return invalid_argument(f.file() + ": layer_types must be a list");
    }
    const Value& kind = types->as_list()[0];
    for (const Value& other : types->as_list()) {
      if (other != kind) return mixed("a mixture of layer_types");
    }
    const bool sliding = kind == Value("sliding_attention");
    if (!sliding && kind != Value("full_attention"))
      return mixed("layer_types " + Fields::shown(kind));
    // Where the family's own code does not read layer_types, the two must agree.
    if (sliding && window == 0)
      return mixed("layer_types sliding_attention without a sliding_window");
    if (!sliding && window > 0 && !switched) {
      return mixed("sliding_window with layer_types full_attention");
    }
    if (!sliding) window = 0;
  }
  c.sliding_window = window >= c.max_position ? 0 : window;
  return ok_status();
}

// Ids that can be drawn: an end-of-sequence id outside the vocabulary never ends anything.
void add_eos(Fields& f, ModelConfig& c) {
  const Value* v = f.find({"eos_token_id"});
  if (v == nullptr) return;
  for (const Value& id : v->is_list() ? v->as_list() : Value::List{*v}) {
    if (!id.is_int())
      return f.fail("eos_token_id must be an integer or a list of them, not " + Fields::shown(*v));
    if (id.as_int() < 0 || id.as_int() >= c.vocab_size) {
      log_warning("model",
                  f.file() + ": eos_token_id " + Fields::shown(id) + " is outside the vocabulary");
      continue;
    }
    const auto token = static_cast<TokenId>(id.as_int());
    if (std::find(c.eos_token_ids.begin(), c.eos_token_ids.end(), token) == c.eos_token_ids.end()) {
      c.eos_token_ids.push_back(token);
    }
  }
}

void add_bos(Fields& f, ModelConfig& c) {
  const Value* v = f.find({"bos_token_id"});
  if (v == nullptr || !v->is_int() || v->as_int() < 0 || v->as_int() >= c.vocab_size) return;
  c.bos_token_id = static_cast<TokenId>(v->as_int());
}

Status parse_dimensions(Fields& f, const Family& family, ModelConfig& c) {
  c.vocab_size = f.integer({"vocab_size"}, 1, 1 << 24);
  c.hidden_size = f.integer({"hidden_size", "n_embd"}, 1, 1 << 17);
  c.num_layers = f.integer({"num_hidden_layers", "n_layer"}, 1, 1024);
  c.num_heads = f.integer({"num_attention_heads", "n_head"}, 1, 1024);
  c.num_kv_heads = f.integer({"num_key_value_heads"}, 1, 1024, c.num_heads);
  c.max_position =
      f.integer({"max_position_embeddings", "n_positions"}, 1, 1 << 24, family.max_position);
  const Keys inner = {"intermediate_size", "n_inner"};
  if (family.mlp_ratio > 0 && f.find(inner) == nullptr) {
    c.intermediate_size = family.mlp_ratio * c.hidden_size;
  } else {
    c.intermediate_size = f.integer(inner, 1, 1 << 20);
  }
  const int64_t derived =
      std::max(1, family.head_dim ? family.head_dim : c.hidden_size / c.num_heads);
  c.head_dim = f.integer({"head_dim"}, 1, 1024, derived);
  RETURN_IF_ERROR(f.status());
  if (!family.head_dim && f.find({"head_dim"}) == nullptr && c.hidden_size % c.num_heads != 0) {
    f.fail("hidden_size " + std::to_string(c.hidden_size) +
           " is not a multiple of num_attention_heads " + std::to_string(c.num_heads));
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    f.fail("num_attention_heads " + std::to_string(c.num_heads) +
           " is not a multiple of num_key_value_heads " + std::to_string(c.num_kv_heads));
  }
  if (family.rope && c.head_dim % 2 != 0)
    f.fail("head_dim must be even, not " + std::to_string(c.head_dim));
  const int64_t hidden = c.hidden_size;
  const int64_t layer = hidden * c.head_dim * (2 * c.num_heads + 2 * c.num_kv_heads) +
                        3 * hidden * c.intermediate_size;
  if (layer * c.num_layers + 2 * hidden * c.vocab_size > kMaxParameters) {
    f.fail("the dimensions make a model of more than 4 trillion parameters");
  }
  if (int64_t{c.max_position} * c.head_dim > kMaxRopeElements) {
    f.fail("max_position_embeddings " + std::to_string(c.max_position) + " is too large");
  }
  return f.status();
}

Status parse_main(Fields& f, ModelConfig& c) {
  ASSIGN_OR_RETURN(c.architecture, parse_architecture(f));
  const Family* family = find_family(c.architecture);
  if (family == nullptr) {
    return unimplemented("architecture '" + c.architecture +
                         "' is not supported; supported: " + supported_architectures());
  }
  RETURN_IF_ERROR(parse_dimensions(f, *family, c));
  c.tie_word_embeddings = f.boolean("tie_word_embeddings", family->tied);
  c.norm_eps = f.number({"rms_norm_eps", "layer_norm_epsilon"}, 0, 1, family->norm_eps);
  c.hidden_act = f.text({"hidden_act", "activation_function"}, std::string(family->hidden_act));
  if (family->rope) parse_rope(c.raw, f, c.rope);
  RETURN_IF_ERROR(f.status());
  RETURN_IF_ERROR(parse_sliding_window(f, *family, c));
  auto dtype = parse_dtype(f.text({"dtype", "torch_dtype"}, "float32"));
  if (!dtype.ok()) return dtype.status().with_context(f.file() + ": dtype");
  c.dtype = *dtype;
  if (c.dtype != DType::kF32 && c.dtype != DType::kBF16 && c.dtype != DType::kF16) {
    f.fail("dtype " + std::string(to_string(c.dtype)) + " is not one of a model's weights");
  }
  add_eos(f, c);
  add_bos(f, c);
  return f.status();
}

Status parse_generation(Fields& f, ModelConfig& c) {
  SamplingParams& s = c.default_sampling;
  const int64_t most = std::numeric_limits<int>::max();
  s.repetition_penalty =
      static_cast<float>(f.number({"repetition_penalty"}, 1e-6, 1e6, s.repetition_penalty));
  s.temperature = static_cast<float>(f.number({"temperature"}, 0, 2, s.temperature));
  s.top_k = f.integer({"top_k"}, -1, most, s.top_k);
  s.top_p = static_cast<float>(f.number({"top_p"}, 1e-6, 1, s.top_p));
  s.min_p = static_cast<float>(f.number({"min_p"}, 0, 1, s.min_p));
  if (f.find({"max_new_tokens"}) != nullptr) s.max_tokens = f.integer({"max_new_tokens"}, 1, most);
  add_eos(f, c);
  if (!c.bos_token_id) add_bos(f, c);
  return f.status();
}

StatusOr<ModelConfig> parse(const std::string& config_json, const std::string& config_file,
                            const std::string& generation_json,
                            const std::string& generation_file) {
  ModelConfig config;
  ASSIGN_OR_RETURN(config.raw, parse_object(config_json, config_file));
  Fields fields(config.raw, config_file);
  RETURN_IF_ERROR(parse_main(fields, config));
  if (!generation_json.empty()) {
    ASSIGN_OR_RETURN(const Value generation, parse_object(generation_json, generation_file));
    Fields generation_fields(generation, generation_file);
    RETURN_IF_ERROR(parse_generation(generation_fields, config));
  }
  return config;
}

StatusOr<std::string> read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return not_found("cannot read " + path.string());
  const std::streamoff size = in.tellg();
  if (size < 0) return not_found("cannot read " + path.string());
  if (size > kMaxConfigBytes) return data_loss(path.string() + " is larger than 16 MiB");
  std::string text(static_cast<size_t>(size), '\0');
  in.seekg(0);
  if (!in.read(text.data(), size)) return data_loss("cannot read all of " + path.string());
  return text;
}

}  // namespace

StatusOr<ModelConfig> read_model_config(const std::filesystem::path& directory,
                                        const std::string& generation_config) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) {
    return not_found("'" + directory.string() + "' is not a directory");
  }
  const auto config_path = directory / "config.json";
  if (!std::filesystem::is_regular_file(config_path, error)) {
    return not_found("'" + directory.string() +
                     "' is not a model: it has no config.json (GGUF files and LoRA adapters are "
                     "not supported)");
  }
  ASSIGN_OR_RETURN(const std::string config, read_text(config_path));
  std::string generation;
  std::filesystem::path generation_path;
  if (generation_config != "vllm") {
    const bool own = generation_config == "auto" || generation_config.empty();
    generation_path =
        (own ? directory : std::filesystem::path(generation_config)) / "generation_config.json";
    if (std::filesystem::exists(generation_path, error)) {
      ASSIGN_OR_RETURN(generation, read_text(generation_path));
    } else if (!own) {
      return not_found("no " + generation_path.string());
    }
  }
  return parse(config, config_path.string(), generation, generation_path.string());
}

StatusOr<ModelConfig> parse_model_config(const std::string& config_json,
                                         const std::string& generation_json) {
  return parse(config_json, "config.json", generation_json, "generation_config.json");
}

}  // namespace octavo
