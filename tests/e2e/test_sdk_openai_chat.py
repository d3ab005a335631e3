"""/v1/chat/completions through the official openai client: conversations, tools, formats, streams."""
import asyncio
import json
import math

import openai
import pydantic
import pytest

ASK = [{"role": "user", "content": "What is the capital of Japan?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "additionalProperties": False, "required": ["city"], "properties": {"city": {"enum": ["Paris", "Rome"]}}}}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def chat(server, messages=None, **fields):
    fields = {"messages": messages or ASK, "temperature": 0, "max_tokens": 60, **fields}
    return server.client.chat.completions.create(model=server.model, **fields)


def content(server, messages=None, **fields):
    return chat(server, messages, **fields).choices[0].message.content


def prompt_text(server, messages, **extra):
    return chat(server, messages, max_tokens=1, extra_body={"return_prompt_text": True, **extra}).prompt_text


def test_a_system_message_is_part_of_the_prompt(server):
    shown = prompt_text(server, [{"role": "system", "content": "You are terse."}, *ASK])
    assert shown.startswith("<|im_start|>system\nYou are terse.<|im_end|>")


def test_a_developer_message_counts_as_the_systems(server):
    system, developer = (prompt_text(server, [{"role": role, "content": "You are terse."}, *ASK])
                         for role in ("system", "developer"))
    assert system == developer


def test_a_conversation_of_several_turns_is_shown_in_order(server):
    shown = prompt_text(server, [*ASK, {"role": "assistant", "content": "Tokyo."}, {"role": "user", "content": "Thanks."}])
    assert shown.count("<|im_start|>") == 4
    assert shown.index(ASK[0]["content"]) < shown.index("Tokyo.") < shown.index("Thanks.")


def test_a_refusal_stands_for_content(server):
    refused = [*ASK, {"role": "assistant", "content": None, "refusal": "I would rather not."}]
    assert "I would rather not." in prompt_text(server, [*refused, {"role": "user", "content": "Why?"}])


def test_content_in_parts_is_the_same_text(server):
    parts = [{"role": "user", "content": [{"type": "text", "text": ASK[0]["content"]}]}]
    assert content(server, parts) == content(server)


@pytest.mark.parametrize("part", [
    {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/x.png"}},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    {"type": "file", "file": {"file_id": "f"}},
    {"type": "video_url", "video_url": {"url": "http://127.0.0.1:9/x.mp4"}},
], ids=lambda part: part["type"])
def test_what_is_no_text_is_refused_by_its_type(server, part):
    with pytest.raises(openai.BadRequestError, match=part["type"]):
        chat(server, [{"role": "user", "content": [{"type": "text", "text": "See:"}, part]}])


@pytest.mark.parametrize("fields", [
    {"user": "someone"}, {"store": True}, {"metadata": {"a": "b"}}, {"service_tier": "auto"}, {"modalities": ["text"]},
    {"prediction": {"type": "content", "content": "The capital"}}, {"safety_identifier": "x"}, {"prompt_cache_key": "k"},
    {"parallel_tool_calls": True}, {"response_format": {"type": "text"}}, {"verbosity": "medium"}, {"function_call": "none"},
    {"extra_body": {"functions": [], "audio": None, "grammar": ""}},
    {"extra_body": {"mm_processor_kwargs": {"a": 1}, "media_io_kwargs": {"image": {}}}},
    {"extra_body": {"include_reasoning": True, "add_generation_prompt": True, "documents": None}},
], ids=lambda fields: " ".join(fields.get("extra_body", fields)))
def test_what_asks_for_nothing_changes_nothing(server, fields):
    assert content(server, **fields) == content(server)


@pytest.mark.parametrize("fields,words", [
    ({"functions": [{"name": "f", "parameters": {}}]}, "use `tools`"),
    ({"function_call": {"name": "f"}}, "use `tool_choice`"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"audio": {"voice": "alloy", "format": "mp3"}}, "text only"),
    ({"web_search_options": {}}, "does not search the web"),
    ({"verbosity": "low"}, "verbosity"),
    ({"reasoning_effort": "enormous"}, "reasoning_effort"),
    ({"top_logprobs": 3}, "`logprobs` must be set to true"),
    ({"logprobs": True, "top_logprobs": 21}, "max allowed: 20"),
    ({"response_format": {"type": "yaml"}}, "yaml"),
    ({"tool_choice": "required"}, "`tools` must be set"),
    ({"tools": []}, "must not be an empty array. Either provide at least one tool or omit the field entirely."),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "does not match any"),
    ({"n": 2}, "n must be 1"),
    ({"extra_body": {"best_of": 4}}, "best_of"),
    ({"extra_body": {"chat_template": "{{ messages }}"}}, "--trust-request-chat-template"),
    ({"extra_body": {"chat_template_kwargs": {"chat_template": "{{ messages }}"}}}, "--trust-request-chat-template"),
    ({"extra_body": {"add_generation_prompt": True, "continue_final_message": True}}, "Cannot set both"),
    ({"extra_body": {"structured_outputs": {"json": {}, "regex": "a"}}}, "one kind"),
    ({"extra_body": {"grammar": "root ::= \"a\""}}, "structured_outputs"),
    ({"messages": [{"role": "user"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}, "tool_calls"),
    ({"messages": [*ASK, {"role": "function", "name": "f", "content": "1"}]}, "role `tool`"),
    ({"messages": [*ASK, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]}, "use `tool_calls`"),
    ({"messages": []}, "messages"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_cannot_be_done_is_refused_with_a_reason(server, fields, words):
    with pytest.raises(openai.BadRequestError) as error:
        server.client.chat.completions.create(**{"model": server.model, "messages": ASK, "temperature": 0, **fields})
    assert words in error.value.message and error.value.param


def test_several_answers_are_counted_and_streamed_apart(server):
    fields = {"messages": [{"role": "user", "content": "Tell me a story."}], "n": 3, "temperature": 1.5, "seed": 5,
              "max_tokens": 12}
    whole = chat(server, **fields)
    texts = [""] * 3
    for chunk in chat(server, **fields, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [c.message.content for c in whole.choices] and len(set(texts)) > 1
    assert whole.usage.prompt_tokens < 20


def test_logprobs_follow_the_content_in_a_stream_too(server):
    whole = chat(server, logprobs=True, top_logprobs=2).choices[0]
    scores = [t for t in whole.logprobs.content if not t.token.startswith("<|")]
    assert "".join(t.token for t in scores) == whole.message.content
    assert all(len(t.top_logprobs) == 2 and math.exp(t.logprob) <= 1 for t in scores)
    assert bytes(b for t in scores for b in t.bytes).decode() == whole.message.content
    streamed = [t for c in chat(server, logprobs=True, top_logprobs=2, stream=True) if c.choices and c.choices[0].logprobs
                for t in c.choices[0].logprobs.content]
    assert [t.token for t in streamed] == [t.token for t in whole.logprobs.content]
    assert all(t.top_logprobs == [] for t in chat(server, logprobs=True).choices[0].logprobs.content)


def test_max_completion_tokens_wins_over_max_tokens(server):
    reply = chat(server, max_tokens=50, max_completion_tokens=3)
    assert reply.usage.completion_tokens == 3 and reply.choices[0].finish_reason == "length"


def test_stop_takes_a_string_or_a_list(server):
    whole = content(server)
    for stop in (" Tokyo", ["nowhere", " Tokyo"]):
        choice = chat(server, stop=stop).choices[0]
        assert choice.message.content == whole[:whole.index(" Tokyo")] and choice.stop_reason == " Tokyo"


def test_token_ids_and_the_rendered_prompt_on_request(server):
    reply = chat(server, extra_body={"return_token_ids": True, "return_prompt_text": True})
    assert len(reply.prompt_token_ids) == reply.usage.prompt_tokens
    assert len(reply.choices[0].token_ids) == reply.usage.completion_tokens
    assert reply.prompt_text.endswith("<|im_start|>assistant\n")
    first = next(iter(chat(server, stream=True, extra_body={"return_token_ids": True, "return_prompt_text": True})))
    assert first.prompt_token_ids == reply.prompt_token_ids and first.prompt_text == reply.prompt_text


def test_the_final_message_is_continued(server):
    start = [*ASK, {"role": "assistant", "content": "The capital of"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    rest = content(server, start, extra_body=extra)
    assert rest.startswith(" ") and "Tokyo" in rest
    assert content(server, start, extra_body={**extra, "echo": True}) == "The capital of" + rest


def test_without_a_generation_prompt_the_answer_has_the_last_role(server):
    reply = chat(server, max_tokens=2, extra_body={"add_generation_prompt": False})
    assert reply.choices[0].message.role == "user"


def test_template_variables_reach_the_template(server):
    assert "# Tools" in prompt_text(server, ASK, chat_template_kwargs={"tools": [TOOL]})


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh"])
def test_every_effort_is_taken(server, effort):
    assert content(server, reasoning_effort=effort)


def test_tool_choice_none_writes_no_call(server):
    message = chat(server, WEATHER, tools=[TOOL], tool_choice="none").choices[0].message
    assert not message.tool_calls and message.content


@pytest.mark.parametrize("choice,finish", [("required", "tool_calls"), (NAMED, "stop")], ids=["required", "named"])
def test_a_forced_call_is_streamed_by_the_sdks_helper(server, choice, finish):
    fields = {"model": server.model, "messages": WEATHER, "tools": [TOOL], "tool_choice": choice, "temperature": 0,
              "parallel_tool_calls": False, "max_tokens": 100}
    with server.client.chat.completions.stream(**fields) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds and "tool_calls.function.arguments.done" in kinds
    assert final.finish_reason == finish and len(final.message.tool_calls) == 1
    assert json.loads(final.message.tool_calls[0].function.arguments)["city"] in ("Paris", "Rome")


def test_a_tool_loop_goes_round(server):
    first = chat(server, WEATHER, tools=[TOOL], tool_choice="required", parallel_tool_calls=False).choices[0].message
    call = first.tool_calls[0]
    assert call.id and call.type == "function" and call.function.name == "get_weather"
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees and sunny"}
    reply = chat(server, [*WEATHER, first.model_dump(exclude_none=True), result], tools=[TOOL])
    assert reply.choices[0].message.content and reply.choices[0].finish_reason in ("stop", "length")


def test_pydantic_tools_are_parsed(server):
    class GetTime(pydantic.BaseModel):
        utc: bool
    reply = server.client.chat.completions.parse(
        model=server.model, messages=WEATHER, temperature=0, max_tokens=100, parallel_tool_calls=False,
        tools=[openai.pydantic_function_tool(GetTime)], tool_choice="required")
    assert isinstance(reply.choices[0].message.tool_calls[0].function.parsed_arguments, GetTime)


def test_a_pydantic_answer_is_parsed(server):
    class City(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=12)
        big: bool
    reply = server.client.chat.completions.parse(model=server.model, messages=ASK, response_format=City, temperature=0,
                                                 max_tokens=200)
    assert isinstance(reply.choices[0].message.parsed, City)


def test_json_object_is_json(server):
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    assert set(json.loads(content(server, response_format=wrapped))) == {"a"}


def test_the_sdks_stream_helper_tells_content(server):
    with server.client.chat.completions.stream(model=server.model, messages=ASK, temperature=0, max_tokens=60) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion()
    assert deltas == final.choices[0].message.content == content(server)


def test_usage_of_a_stream(server):
    last = list(chat(server, stream=True, stream_options={"include_usage": True}))[-1]
    assert last.choices == [] and last.usage == chat(server).usage.model_copy(
        update={"prompt_tokens_details": last.usage.prompt_tokens_details})
    counted = [c.usage.completion_tokens for c in chat(server, stream=True, max_tokens=3, stream_options={
        "include_usage": True, "continuous_usage_stats": True})]
    assert counted == [0, 1, 2, 3, 3]


def test_raw_responses_show_the_headers(server):
    raw = server.client.chat.completions.with_raw_response.create(model=server.model, messages=ASK, max_tokens=2,
                                                                  extra_headers={"X-Request-Id": "raw-1"})
    assert raw.headers["content-type"] == "application/json" and raw.parse().id == "chatcmpl-raw-1"
    with server.client.chat.completions.with_streaming_response.create(model=server.model, messages=ASK, max_tokens=2,
                                                                       stream=True) as raw:
        assert raw.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and all(line.startswith("data: {") for line in lines[:-1])


@pytest.mark.parametrize("text", ["😀🎉", "𝄞 ñ", "你好", "\u202eabc", "a\u0000b", "\\u0041 \"quoted\" \n\t"],
                         ids=["emoji", "beyond", "Chinese", "bidi", "NUL", "escapes"])
def test_text_of_any_kind_goes_in_and_comes_back_whole(server, text):
    assert text in prompt_text(server, [{"role": "user", "content": text}])
    body = {"prompt": text, "max_tokens": 1, "echo": True}
    assert server.client.completions.create(model=server.model, **body).choices[0].text.startswith(text)


def test_characters_split_over_tokens_are_streamed_whole(server):
    """Of an emoji's four byte tokens the first three tell nothing, so that no event holds half a character."""
    ids = server.request("/tokenize", {"prompt": "😀", "add_special_tokens": False})[1]["tokens"]
    assert len(ids) > 1
    grammar = {"structured_outputs": {"choice": ["😀😀"]}}
    events = [c.choices[0].delta.content for c in chat(server, stream=True, extra_body=grammar) if c.choices]
    assert "".join(e or "" for e in events) == "😀😀" and not any("\ufffd" in (e or "") for e in events)


def test_the_async_client_gets_the_same(server):
    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client:
            fields = {"model": server.model, "messages": ASK, "temperature": 0, "max_tokens": 60}
            whole = (await client.chat.completions.create(**fields)).choices[0].message.content
            stream = await client.chat.completions.create(**fields, stream=True)
            return whole, "".join([c.choices[0].delta.content or "" async for c in stream])
    assert asyncio.run(ask()) == (content(server), content(server))
