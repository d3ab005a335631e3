"""The official anthropic client, sync and async, against the real program.

octavo-tiny does not think by itself: a message that the answer goes on with brings it about."""
import asyncio
import json
import urllib.request

import anthropic
import pydantic
import pytest
from conftest import Server

USER = {"role": "user", "content": "What is the capital of Japan?"}
WEATHER = {"role": "user", "content": "What is the weather in Paris?"}
THINKS = {"role": "assistant", "content": "<think>\nThe user asks"}
TOOLS = [
    {"name": "get_weather", "description": "The weather in a city", "input_schema": {
        "type": "object", "additionalProperties": False, "required": ["city", "unit"],
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "unit": {"enum": ["celsius", "fahrenheit"]}}}},
    {"name": "get_time", "input_schema": {
        "type": "object", "additionalProperties": False, "required": ["utc"],
        "properties": {"utc": {"type": "boolean"}}}},
]


@pytest.fixture(scope="module")
def client(server):
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=120) as c:
        yield c


@pytest.fixture(scope="module")
def ask(server, client):
    """A message; what a test does not say is the shortest that works."""
    def create(**fields):
        return client.messages.create(**defaults(server, **fields))
    return create


def defaults(server, **fields):
    """The client's arguments; those that it has no name for (any more) go along in the body."""
    fields = {"model": server.model, "max_tokens": 100, "messages": [USER], "temperature": 0, **fields}
    beside = {name: fields.pop(name) for name in ("temperature", "top_p", "top_k", "container") if name in fields}
    return {**fields, "extra_body": beside}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def check_call(block):
    assert block.type == "tool_use" and block.id.startswith("toolu_")
    if block.name == "get_weather":
        assert set(block.input) == {"city", "unit"}
        assert block.input["city"] in ("Paris", "Rome") and block.input["unit"] in ("celsius", "fahrenheit")
    else:
        assert block.name == "get_time" and isinstance(block.input["utc"], bool)


def test_a_message_has_every_field(server, ask):
    message = ask()
    assert message.id.startswith("msg_") and message.type == "message" and message.role == "assistant"
    assert message.model == server.model
    assert [block.type for block in message.content] == ["text"]
    assert "Tokyo" in text_of(message)
    assert message.stop_reason == "end_turn" and message.stop_sequence is None
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")


def test_the_answer_is_the_one_of_the_other_dialect(server, ask):
    chat = server.client.chat.completions.create(model=server.model, messages=[USER], temperature=0, max_tokens=100)
    message = ask()
    assert text_of(message) == chat.choices[0].message.content
    assert message.usage.output_tokens == chat.usage.completion_tokens


def test_input_tokens_are_those_not_found_in_the_cache(ask, client, server):
    messages = [{"role": "user", "content": "Count the words. " * 20}]
    count = client.messages.count_tokens(model=server.model, messages=messages).input_tokens
    first, second = (ask(messages=messages, max_tokens=1).usage for _ in range(2))
    assert first.input_tokens + first.cache_read_input_tokens == count
    assert second.input_tokens + second.cache_read_input_tokens == count
    assert second.cache_read_input_tokens > 0 and second.cache_creation_input_tokens == 0


def test_max_tokens_ends_the_answer(ask):
    message = ask(max_tokens=2)
    assert message.stop_reason == "max_tokens" and message.usage.output_tokens == 2


def test_more_tokens_than_the_context_holds_may_be_asked_for(ask):
    assert ask(max_tokens=32000).stop_reason == "end_turn"


def test_a_stop_sequence_ends_the_answer_and_is_told(ask):
    word = text_of(ask()).split()[1]
    message = ask(stop_sequences=["never said", word])
    assert message.stop_reason == "stop_sequence" and message.stop_sequence == word
    assert word not in text_of(message)


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief.",
                                                   "cache_control": {"type": "ephemeral"}}]], ids=["text", "blocks"])
def test_a_system_prompt_is_part_of_the_prompt(client, server, ask, system):
    bare = client.messages.count_tokens(model=server.model, messages=[USER]).input_tokens
    with_system = client.messages.count_tokens(model=server.model, messages=[USER], system=system).input_tokens
    assert with_system > bare
    assert ask(system=system, max_tokens=1).usage.output_tokens == 1


def test_blocks_and_strings_are_one(client, server, ask):
    blocks = [{"role": "user", "content": [{"type": "text", "text": USER["content"]}]}]
    assert text_of(ask(messages=blocks)) == text_of(ask())
    count = client.messages.count_tokens
    assert count(model=server.model, messages=blocks) == count(model=server.model, messages=[USER])


def test_neighbours_of_one_role_are_accepted(ask):
    assert ask(messages=[{"role": "user", "content": "Hello."}, USER], max_tokens=5).usage.output_tokens == 5


def test_an_answer_goes_on_with_the_assistants_last_words(ask):
    whole = text_of(ask())
    begun = whole[:len(whole) // 2].rstrip()
    rest = text_of(ask(messages=[USER, {"role": "assistant", "content": begun}]))
    assert not rest.startswith(begun) and (begun + rest).replace(" ", "") == whole.replace(" ", "")


def test_a_conversation_goes_back_as_it_came(ask):
    first = ask()
    second = ask(messages=[USER, {"role": "assistant", "content": first.content}, WEATHER], max_tokens=20)
    assert text_of(second)


def test_sampling_fields_are_taken(ask):
    assert ask(temperature=1, top_p=0.5, top_k=3, max_tokens=5).usage.output_tokens <= 5
    assert text_of(ask(temperature=1, top_k=1)) == text_of(ask())


def test_fields_for_an_account_are_passed_over(ask):
    message = ask(metadata={"user_id": "u"}, service_tier="auto", max_tokens=2,
                  extra_headers={"anthropic-beta": "interleaved-thinking-2025-05-14", "anthropic-version": "2023-06-01"})
    assert message.usage.output_tokens == 2


# Streams.


def test_the_raw_stream_has_the_events_in_their_order(ask):
    types = [event.type for event in ask(stream=True)]
    deltas = types.count("content_block_delta")
    assert deltas > 1
    assert types == ["message_start", "content_block_start", *["content_block_delta"] * deltas,
                     "content_block_stop", "message_delta", "message_stop"]


def test_a_stream_joins_to_the_whole_answer(server, client, ask):
    whole = ask()
    with client.messages.stream(**defaults(server)) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(final) == text_of(whole)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens + final.usage.cache_read_input_tokens == \
        whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert stream.request_id.startswith("req_")


def test_a_stream_tells_its_stop_sequence(server, client, ask):
    word = text_of(ask()).split()[1]
    with client.messages.stream(**defaults(server, stop_sequences=[word])) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", word)


def test_an_abandoned_stream_leaves_nothing_behind(server, client):
    with client.messages.stream(**defaults(server, max_tokens=2000, messages=[
            {"role": "user", "content": "Count."}])) as stream:
        next(iter(stream))
    server.wait_idle()


def test_the_async_client_streams_side_by_side(server, ask):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client:
            async def one():
                async with client.messages.stream(**defaults(server)) as stream:
                    return text_of(await stream.get_final_message())
            whole = client.messages.create(**defaults(server))
            count = client.messages.count_tokens(model=server.model, messages=[USER])
            return await asyncio.gather(whole, count, *(one() for _ in range(8)))
    whole, count, *streams = asyncio.run(run())
    assert count.input_tokens > 0
    assert set(streams) == {text_of(whole)} == {text_of(ask())}


# Tools.


@pytest.mark.parametrize("temperature", [0, 1])
def test_any_makes_a_call_that_obeys_its_schema(ask, temperature):
    message = ask(messages=[WEATHER], tools=TOOLS, temperature=temperature, max_tokens=400,
                  tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert message.stop_reason == "tool_use"
    [call] = message.content
    check_call(call)


def test_a_named_tool_is_called(ask):
    message = ask(messages=[WEATHER], tools=TOOLS, tool_choice={"type": "tool", "name": "get_time"})
    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert call.name == "get_time"
    check_call(call)


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any", "disable_parallel_tool_use": True},
                                    {"type": "tool", "name": "get_weather"}], ids=["auto", "any", "tool"])
def test_a_stream_of_calls_joins_to_the_whole_answer(server, client, ask, choice):
    fields = dict(messages=[WEATHER], tools=TOOLS, tool_choice=choice, max_tokens=400)
    whole = ask(**fields)
    with client.messages.stream(**defaults(server, **fields)) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert final.stop_reason == whole.stop_reason == "tool_use"
    assert [(b.name, b.input) for b in final.content] == [(b.name, b.input) for b in whole.content]
    assert json.loads("".join(pieces)) == whole.content[0].input
    assert len(pieces) > 1 or choice["type"] == "auto"


def test_the_models_own_call_is_a_block(ask):
    message = ask(messages=[WEATHER], tools=TOOLS)
    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert call.name == "get_weather" and call.input["city"] == "Paris"


def test_none_makes_no_call(ask):
    message = ask(messages=[WEATHER], tools=TOOLS, tool_choice={"type": "none"}, max_tokens=20)
    assert {block.type for block in message.content} == {"text"}


def test_a_tool_loop_comes_to_an_answer(ask):
    messages = [WEATHER]
    first = ask(messages=messages, tools=TOOLS)
    [call] = first.content
    messages += [{"role": "assistant", "content": first.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": [
                     {"type": "text", "text": "21 degrees"}]}]}]
    answer = ask(messages=messages, tools=TOOLS, tool_choice={"type": "none"})
    assert text_of(answer) and answer.stop_reason in ("end_turn", "max_tokens")


def test_the_clients_tool_runner_calls_and_returns(server, client):
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: its name
        """
        asked.append(city)
        return "21 degrees and sunny"

    runner = client.beta.messages.tool_runner(tools=[get_weather], max_iterations=3, **defaults(
        server, messages=[WEATHER]))
    last = runner.until_done()
    assert asked and asked[0] == "Paris"
    assert last.role == "assistant"


def test_a_failed_tools_result_is_accepted(ask):
    messages = [WEATHER, {"role": "assistant", "content": [
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris", "unit": "celsius"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True,
                                      "content": "no network"}, {"type": "text", "text": "Try again."}]}]
    assert ask(messages=messages, tools=TOOLS, max_tokens=5).usage.output_tokens == 5


# Thinking and structured outputs.


def test_thinking_is_a_block_of_its_own(server, client, ask):
    fields = dict(messages=[USER, THINKS], thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=200)
    message = ask(**fields)
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking and message.content[0].signature == ""
    assert message.usage.output_tokens_details.thinking_tokens > 0
    with client.messages.stream(**defaults(server, **fields)) as stream:
        events = {event.type for event in stream}
        final = stream.get_final_message()
    assert {"thinking", "signature"} <= events
    assert [b.type for b in final.content] == [b.type for b in message.content]
    assert final.content[0].thinking == message.content[0].thinking


def test_a_thinking_budget_is_kept(ask):
    message = ask(messages=[USER, THINKS], thinking={"type": "enabled", "budget_tokens": 5})
    assert message.usage.output_tokens_details.thinking_tokens <= 5


def test_thinking_may_be_left_out(ask):
    message = ask(messages=[USER, THINKS], thinking={"type": "adaptive", "display": "omitted"})
    assert all(block.type == "text" for block in message.content)


def test_an_output_format_is_parsed(server, client):
    class Capital(pydantic.BaseModel):
        country: str
        large: bool

    message = client.messages.parse(**defaults(server, max_tokens=300), output_format=Capital)
    if message.stop_reason == "end_turn":
        assert isinstance(message.parsed_output, Capital)
    else:
        assert text_of(message).lstrip().startswith("{")


# Errors.


@pytest.mark.parametrize("fields,named", [
    ({"temperature": 5}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": ""}}]}]}, "messages.0.content.0"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"container": "c"}, "container"),
    ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "no such"}}}}, "output_config.format"),
    ({"messages": [{"role": "user", "content": "long " * 50000}]}, "prompt is too long: "),
])
def test_what_is_wrong_is_a_bad_request_that_names_it(ask, fields, named):
    with pytest.raises(anthropic.BadRequestError) as error:
        ask(**fields)
    assert error.value.type == "invalid_request_error"
    assert named in error.value.api_message
    assert error.value.request_id == error.value.body["request_id"]


def test_the_model_is_listed(server, client):
    assert server.model in [model.id for model in client.models.list()]
    assert client.models.retrieve(server.model).id == server.model


def test_a_stream_is_refused_before_it_begins(server, client):
    with pytest.raises(anthropic.BadRequestError):
        with client.messages.stream(**defaults(server, temperature=5)):
            pass


def test_another_model_is_not_found(ask):
    with pytest.raises(anthropic.NotFoundError) as error:
        ask(model="claude-local")
    assert error.value.type == "not_found_error" and "claude-local" in error.value.api_message


def test_a_path_that_is_not_there_is_not_found(server, client):
    with pytest.raises(anthropic.NotFoundError) as error:
        client.messages.batches.list()
    assert error.value.type == "not_found_error"


def test_a_body_beyond_the_limit_is_too_large(server):
    request = urllib.request.Request(server.url + "/v1/messages", data=b" " * (33 << 20), headers={
        "Content-Type": "application/json"})
    with pytest.raises(OSError) as error:
        urllib.request.urlopen(request, timeout=60)
    if isinstance(error.value, urllib.error.HTTPError):  # else the connection went before all was sent
        assert error.value.code == 413
        assert json.loads(error.value.read())["error"]["type"] == "request_too_large"


def test_keys_and_an_alias_for_the_model():
    with Server("--api-key", "secret", "--served-model-name", "claude-local") as guarded:
        fields = dict(model="claude-local", max_tokens=2, messages=[USER])
        for key in ({"api_key": "secret"}, {"auth_token": "secret"}):  # x-api-key; Authorization
            with anthropic.Anthropic(base_url=guarded.url, max_retries=0, **key) as client:
                assert client.messages.create(**fields).model == "claude-local"
        with anthropic.Anthropic(base_url=guarded.url, max_retries=0, api_key="guess") as client:
            with pytest.raises(anthropic.AuthenticationError) as error:
                client.messages.create(**fields)
            assert error.value.type == "authentication_error"
