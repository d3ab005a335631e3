#include "serve/responses/responses.h"

#include <algorithm>
#include <charconv>

#include "base/json_writer.h"
#include "base/status_macros.h"
#include "serve/errors.h"
#include "serve/generation_start.h"
#include "serve/openai/chat_prompt.h"
#include "serve/responses/responses_format.h"
#include "serve/responses/responses_input.h"
#include "serve/responses/responses_request.h"

namespace octavo::serve {

namespace {

constexpr std::string_view kPath = "/v1/responses/";

// What `previous_id` ends, as messages.
StatusOr<std::vector<Value>> earlier_messages(ServerContext& context, const std::string& owner,
                                              const std::string& previous_id) {
  std::vector<Value> messages;
  if (previous_id.empty()) return messages;
  auto chain = context.responses.chain(owner, previous_id, context.options.max_body_bytes);
  if (!chain.ok()) return Status(chain.status()).with_param("previous_response_id");
  for (const ResponseStore::Pointer& response : *chain) {
    Value::List items;
    for (const auto* list : {&response->input_items, &response->output_items}) {
      for (const StoredResponse::Item& item : *list) {
        ASSIGN_OR_RETURN(Value value, parse_json(item.json));
        items.push_back(std::move(value));
      }
    }
    append_messages(items, messages);
  }
  return messages;
}

// Puts what is kept in the place of references to it.
Status resolve_references(ServerContext& context, const std::string& owner, Value::List& items) {
  size_t left = context.options.max_body_bytes;
  for (Value& item : items) {
    if (!is_reference(item)) continue;
    auto json = context.responses.find_item(owner, item.find("id")->as_string());
    if (!json.ok()) return Status(json.status()).with_param("input");
    if (json->size() > left) {
      return field_error("input",
                         "The items that `input` refers to are more than a request may "
                         "hold.");
    }
    left -= json->size();
    ASSIGN_OR_RETURN(item, parse_json(*json));
  }
  return ok_status();
}

// A limit beyond the context is the context's.
void limit_to_context(const ServerContext& context, const AnswerPrompt& prompt,
                      ChatRequest& fields) {
  const int left = context.engine.model().max_model_len - static_cast<int>(prompt.token_ids.size());
  if (fields.max_tokens && left > 0) fields.max_tokens = std::min(*fields.max_tokens, left);
}

KeepResponse keeper(ServerContext& context, const HttpRequest& http, const AnswerHead& head,
                    const ResponsesRequest& request) {
  StoredResponse stored{.owner = http.owner, .id = head.id, .previous_id = request.previous_id};
  for (const Value& item : request.items) {
    stored.input_items.push_back({item.find("id")->as_string(), to_json(item)});
  }
  return [&store = context.responses, stored = std::move(stored)](
             std::vector<StoredResponse::Item> output_items, std::string body) mutable {
    stored.output_items = std::move(output_items);
    stored.body = std::move(body);
    store.put(std::move(stored));
  };
}

// "/v1/responses/ID/cancel" → "ID".
std::string id_in_path(const HttpRequest& request) {
  const std::string_view rest = std::string_view(request.path).substr(kPath.size());
  return std::string(rest.substr(0, rest.find('/')));
}

// A parameter of the query, as it stands; none: not given.
std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
  }
  return std::nullopt;
}

struct Page {
  std::string_view after;
  size_t limit = 20;
  bool ascending = false;
};

StatusOr<Page> read_page(std::string_view query) {
  Page page;
  page.after = query_parameter(query, "after").value_or("");
  if (const auto limit = query_parameter(query, "limit")) {
    const auto [end, error] =
        std::from_chars(limit->data(), limit->data() + limit->size(), page.limit);
    if (error != std::errc() || end != limit->data() + limit->size() || page.limit < 1 ||
        page.limit > 100) {
      return field_error("limit", "`limit` must be an integer from 1 to 100.");
    }
  }
  const std::string_view order = query_parameter(query, "order").value_or("desc");
  if (order != "asc" && order != "desc") {
    return field_error("order", "`order` must be `asc` or `desc`.");
  }
  page.ascending = order == "asc";
  return page;
}

std::string page_json(const std::vector<StoredResponse::Item>& items, const Page& page) {
  std::vector<const StoredResponse::Item*> sorted;
  for (const auto& item : items) sorted.push_back(&item);
  if (!page.ascending) std::reverse(sorted.begin(), sorted.end());
  auto first = sorted.begin();
  if (!page.after.empty()) {
    first =
        std::find_if(first, sorted.end(), [&](const auto* item) { return item->id == page.after; });
    if (first != sorted.end()) ++first;
  }
  const auto left = static_cast<size_t>(sorted.end() - first);
  const auto last = first + static_cast<ptrdiff_t>(std::min(left, page.limit));
  JsonWriter w;
  w.begin_object().key("object").string("list").key("data").begin_array();
  for (auto item = first; item != last; ++item) w.raw((*item)->json);
  w.end_array();
  w.key("first_id");
  first == last ? w.null() : w.string((*first)->id);
  w.key("last_id");
  first == last ? w.null() : w.string((*(last - 1))->id);
  w.key("has_more").boolean(last != sorted.end()).end_object();
  return std::move(w).take();
}

}  // namespace

Status start_response(ServerContext& context, const HttpRequest& http, const Value& body,
                      std::shared_ptr<HttpExchange> exchange) {
  ASSIGN_OR_RETURN(ResponsesRequest request, parse_responses(body));
  ASSIGN_OR_RETURN(std::vector<Value> messages,
                   earlier_messages(context, http.owner, request.previous_id));
  RETURN_IF_ERROR(resolve_references(context, http.owner, request.items));
  append_messages(request.items, messages);
  ASSIGN_OR_RETURN(ChatRequest fields, make_chat_request(request, std::move(messages),
                                                         context.engine.model().default_sampling));
  fields.call_id_prefix = "call_";
  ASSIGN_OR_RETURN(PreparedChat chat, prepare_chat(context, fields));
  limit_to_context(context, chat.prompt, fields);
  request.store = request.store && context.responses.enabled();
  AnswerHead head = make_chat_head(context, http, fields, chat, "resp_");
  KeepResponse keep = request.store ? keeper(context, http, head, request) : nullptr;
  auto format =
      make_responses_format(std::move(head), echo_members(request, fields), std::move(keep));
  std::vector<AnswerPrompt> prompts;
  prompts.push_back(std::move(chat.prompt));
  return start_generation(context, http, fields, std::move(format), std::move(prompts),
                          std::move(exchange));
}

HttpResponse stored_response(ServerContext& context, const HttpRequest& request) {
  const std::string id = id_in_path(request);
  if (request.method == "DELETE") {
    if (Status status = context.responses.erase(request.owner, id); !status.ok()) {
      return error_response(status);
    }
    JsonWriter w;
    w.begin_object().key("id").string(id).key("object").string("response");
    w.key("deleted").boolean(true).end_object();
    return {.body = std::move(w).take()};
  }
  if (query_parameter(request.query, "stream").value_or("false") != "false" ||
      query_parameter(request.query, "starting_after")) {
    return error_response(
        field_error("stream",
                    "`stream` is not supported for a response that has ended: its events "
                    "are not kept."));
  }
  auto found = context.responses.find(request.owner, id);
  if (!found.ok()) return error_response(found.status());
  return {.body = (*found)->body};
}

HttpResponse response_input_items(ServerContext& context, const HttpRequest& request) {
  StatusOr<Page> page = read_page(request.query);
  if (!page.ok()) return error_response(page.status());
  auto found = context.responses.find(request.owner, id_in_path(request));
  if (!found.ok()) return error_response(found.status());
  return {.body = page_json((*found)->input_items, *page)};
}

HttpResponse cancel_response(ServerContext& context, const HttpRequest& request) {
  auto found = context.responses.find(request.owner, id_in_path(request));
  if (!found.ok()) return error_response(found.status());
  return error_response(invalid_argument(
      "Cannot cancel a synchronous response: it has ended. One under way is cancelled by closing "
      "its connection."));
}

}  // namespace octavo::serve
