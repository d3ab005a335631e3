#include "serve/views/models.h"

#include <charconv>

#include "base/json_writer.h"
#include "serve/errors.h"

namespace octavo::serve {

namespace {

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    if (text[i] == '%' && i + 2 < text.size()) {
      const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
      if (error == std::errc() && end == text.data() + i + 3) {
        out += static_cast<char>(byte);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

void write_model(JsonWriter& w, const ServerContext& context, const std::string& name) {
  const ModelInfo& model = context.engine.model();
  w.begin_object().key("id").string(name).key("object").string("model");
  w.key("created").number(context.started).key("owned_by").string("octavo");
  w.key("root").string(model.name).key("parent").null();
  w.key("max_model_len").number(model.max_model_len);
  w.key("permission").begin_array().begin_object();
  w.key("id").string("modelperm-" + name).key("object").string("model_permission");
  w.key("created").number(context.started);
  for (const std::string_view right : {"allow_create_engine", "allow_sampling", "allow_logprobs",
                                       "allow_search_indices", "allow_view", "allow_fine_tuning"}) {
    w.key(right).boolean(right == "allow_sampling" || right == "allow_logprobs" ||
                         right == "allow_view");
  }
  w.key("organization").string("*").key("group").null().key("is_blocking").boolean(false);
  w.end_object().end_array().end_object();
}

}  // namespace

HttpResponse list_models(const ServerContext& context) {
  JsonWriter w;
  w.begin_object().key("object").string("list").key("data").begin_array();
  for (const std::string& name : context.model_names) write_model(w, context, name);
  w.end_array().end_object();
  return {.body = std::move(w).take()};
}

HttpResponse show_model(const ServerContext& context, std::string_view id) {
  const std::string name = percent_decoded(id);
  if (Status status = context.check_model(name); !status.ok()) return error_response(status);
  JsonWriter w;
  write_model(w, context, name);
  return {.body = std::move(w).take()};
}

}  // namespace octavo::serve
