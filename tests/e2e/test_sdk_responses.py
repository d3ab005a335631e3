"""/v1/responses with the official openai client, against the real program."""
import asyncio
import json
import threading

import openai
import pydantic
import pytest
from conftest import Server

CAPITAL = "What is the capital of Japan?"
WEATHER = {"type": "function", "name": "get_weather", "description": "The weather in a city", "strict": True,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                          "additionalProperties": False}}


@pytest.fixture(scope="module")
def tools_server():
    with Server("--tool-call-parser", "hermes", "--reasoning-parser", "qwen3") as s:
        yield s


@pytest.fixture
def responses(tools_server):
    return tools_server.client.responses


@pytest.fixture
def model(tools_server):
    return tools_server.model


def ask(responses, input=CAPITAL, **more):
    """The server has one model: its name may be left out."""
    return responses.create(**{"input": input, "temperature": 0, **more})


def strictly(model):
    """The object checked against the client's own types, every required field included."""
    return type(model).model_validate_json(model.model_dump_json(by_alias=True), strict=False)


def test_a_text_is_answered(responses):
    reply = ask(responses)
    assert "Tokyo" in reply.output_text
    assert reply.status == "completed" and reply.error is None and reply.incomplete_details is None
    assert reply.completed_at >= reply.created_at
    strictly(reply)


def test_the_usage_is_that_of_the_chat(tools_server, responses):
    chat = tools_server.client.chat.completions.create(model=tools_server.model, temperature=0,
                                                       messages=[{"role": "user", "content": CAPITAL}])
    reply = ask(responses)
    assert reply.output_text == chat.choices[0].message.content
    assert reply.usage.input_tokens == chat.usage.prompt_tokens
    assert reply.usage.output_tokens == chat.usage.completion_tokens
    assert reply.usage.total_tokens == chat.usage.total_tokens


def test_instructions_are_the_system_message(tools_server, responses):
    chat = tools_server.client.chat.completions.create(
        model=tools_server.model, temperature=0, max_tokens=20,
        messages=[{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": CAPITAL}])
    reply = ask(responses, instructions="You are a pirate.", max_output_tokens=20)
    assert reply.output_text == chat.choices[0].message.content
    assert reply.instructions == "You are a pirate."


def test_a_list_of_items_is_a_conversation(tools_server, responses):
    messages = [{"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Hello Ada."},
                {"role": "user", "content": "What is my name?"}]
    chat = tools_server.client.chat.completions.create(model=tools_server.model, temperature=0, messages=messages)
    assert ask(responses, messages).output_text == chat.choices[0].message.content


def test_an_answer_may_be_sent_back_as_it_came(responses):
    first = ask(responses)
    again = ask(responses, [{"role": "user", "content": CAPITAL}] + [o.model_dump() for o in first.output]
                + [{"role": "user", "content": "And of France?"}])
    assert again.output_text == ask(responses, "And of France?", previous_response_id=first.id).output_text


def test_an_item_may_be_referred_to(responses):
    first = ask(responses)
    reference = {"type": "item_reference", "id": first.output[0].id}
    again = ask(responses, [{"role": "user", "content": CAPITAL}, reference, {"role": "user", "content": "And of France?"}])
    assert again.output_text == ask(responses, "And of France?", previous_response_id=first.id).output_text
    with pytest.raises(openai.NotFoundError, match="Item with id"):
        ask(responses, [{"type": "item_reference", "id": "msg_unknown"}])


def test_a_client_that_checks_every_answer_is_content(tools_server):
    strict = openai.OpenAI(base_url=tools_server.url + "/v1", api_key="none", _strict_response_validation=True)
    reply = strict.responses.create(model=tools_server.model, input=CAPITAL, temperature=0, tools=[WEATHER])
    assert strict.responses.retrieve(reply.id) == reply
    assert strict.responses.input_items.list(reply.id).data[0].content[0].text == CAPITAL


def test_a_limit_makes_the_answer_incomplete(responses):
    reply = ask(responses, max_output_tokens=2)
    assert reply.status == "incomplete" and reply.incomplete_details.reason == "max_output_tokens"
    assert reply.usage.output_tokens == 2 and reply.output[0].status == "incomplete"


def test_what_was_asked_for_is_repeated(responses):
    reply = ask(responses, metadata={"a": "b"}, max_output_tokens=5, top_p=0.5, user="u", parallel_tool_calls=False,
                truncation="auto", reasoning={"effort": "low"}, tools=[WEATHER], tool_choice="none", store=False)
    assert reply.metadata == {"a": "b"} and reply.max_output_tokens == 5 and reply.top_p == 0.5 and reply.user == "u"
    assert reply.parallel_tool_calls is False and reply.truncation == "auto" and reply.reasoning.effort == "low"
    assert reply.tools[0].name == "get_weather" and reply.tool_choice == "none" and reply.temperature == 0
    strictly(reply)


def test_logprobs_are_those_of_the_text(responses):
    reply = ask(responses, include=["message.output_text.logprobs"], top_logprobs=3)
    logprobs = reply.output[-1].content[0].logprobs
    assert "".join(p.token for p in logprobs) == reply.output_text
    assert all(len(p.top_logprobs) == 3 and p.top_logprobs[0].logprob <= 0 for p in logprobs)


def test_a_raw_stream_has_its_events_in_order(responses):
    events = list(ask(responses, stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert [e.type for e in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == ask(responses).output_text
    for event in events:
        strictly(event)


def test_the_stream_helper_puts_the_answer_together(responses, model):
    with responses.stream(model=model, input=CAPITAL, temperature=0) as stream:
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text and "Tokyo" in final.output_text


def test_a_stream_that_is_cut_off_ends_incomplete(responses):
    events = list(ask(responses, stream=True, max_output_tokens=2))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


def test_the_async_client_streams(tools_server):
    async def run():
        client = openai.AsyncOpenAI(base_url=tools_server.url + "/v1", api_key="none", max_retries=0)
        async with client.responses.stream(model=tools_server.model, input=CAPITAL, temperature=0) as stream:
            return (await stream.get_final_response()).output_text
    assert "Tokyo" in asyncio.run(run())


def test_a_named_function_is_called(responses):
    reply = ask(responses, "Weather in Paris?", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"},
                max_output_tokens=200)
    call = reply.output[-1]
    assert call.type == "function_call" and call.name == "get_weather" and call.call_id and call.status == "completed"
    assert set(json.loads(call.arguments)) == {"city"}


def test_a_required_call_streams_its_arguments(responses, model):
    with responses.stream(model=model, input="Weather in Paris?", tools=[WEATHER], tool_choice="required",
                          parallel_tool_calls=False, temperature=0, max_output_tokens=200) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert done and done[0].arguments == final.output[-1].arguments
    assert len(done) == 1 and deltas == done[0].arguments


def test_a_tool_loop_goes_on_by_id_and_by_items(responses):
    first = ask(responses, "Weather in Paris?", tools=[WEATHER], tool_choice="required", parallel_tool_calls=False,
                max_output_tokens=200)
    call = next(o for o in first.output if o.type == "function_call")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 21 degrees."}
    by_id = ask(responses, [result], previous_response_id=first.id, tools=[WEATHER])
    by_items = ask(responses, [{"role": "user", "content": "Weather in Paris?"}, *[o.model_dump() for o in first.output], result],
                   tools=[WEATHER])
    assert by_id.usage.input_tokens == by_items.usage.input_tokens
    assert by_id.output_text == by_items.output_text


def test_thinking_is_an_item_of_its_own(responses):
    begun = [{"role": "user", "content": CAPITAL},
             {"type": "message", "role": "assistant", "status": "incomplete", "content": "<think>\nThe user asks"}]
    reply = ask(responses, begun, extra_body={"thinking_token_budget": 6})
    assert [o.type for o in reply.output] == ["reasoning", "message"]
    assert reply.output[0].content[0].text and "think" not in reply.output_text
    assert 0 < reply.usage.output_tokens_details.reasoning_tokens <= 6
    events = list(ask(responses, begun, stream=True, extra_body={"thinking_token_budget": 6}))
    assert "".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == reply.output[0].content[0].text
    assert {"response.reasoning_part.added", "response.reasoning_part.done"} <= {e.type for e in events}
    assert events[-1].response.output_text == reply.output_text
    ask(responses, [{"role": "user", "content": CAPITAL}, *[o.model_dump() for o in reply.output],
                    {"role": "user", "content": "And of France?"}], max_output_tokens=4)


def test_allowed_tools_restrict_the_choice(responses):
    other = {**WEATHER, "name": "get_time"}
    reply = ask(responses, "Weather in Paris?", tools=[WEATHER, other], parallel_tool_calls=False, max_output_tokens=200,
                tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]})
    assert reply.output[-1].name == "get_time"
    assert len(reply.tools) == 2


def test_parse_gives_a_typed_answer(responses, model):
    class City(pydantic.BaseModel):
        name: str
        large: bool
    reply = responses.parse(model=model, input="Name a city.", text_format=City, temperature=0, max_output_tokens=100)
    assert isinstance(reply.output_parsed, City)


def test_a_json_object_is_one(responses):
    reply = ask(responses, "A JSON object, please.", text={"format": {"type": "json_object"}}, max_output_tokens=300,
                extra_body={"seed": 1})
    if reply.status == "completed":
        assert isinstance(json.loads(reply.output_text), dict)
    assert reply.output_text.startswith("{")


def test_a_response_is_retrieved_deleted_and_then_gone(responses):
    reply = ask(responses)
    assert responses.retrieve(reply.id).output_text == reply.output_text
    responses.delete(reply.id)
    with pytest.raises(openai.NotFoundError) as error:
        responses.retrieve(reply.id)
    assert "deleted" in error.value.message


def test_input_items_are_listed(responses):
    reply = ask(responses, [{"role": "user", "content": f"word {i}"} for i in range(25)], max_output_tokens=1)
    items = list(responses.input_items.list(reply.id, order="asc", limit=10))
    assert [i.content[0].text for i in items] == [f"word {i}" for i in range(25)]
    assert len({i.id for i in items}) == 25


def test_a_finished_response_cannot_be_cancelled(responses):
    with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
        responses.cancel(ask(responses).id)


def test_store_false_keeps_nothing(responses):
    reply = ask(responses, store=False)
    with pytest.raises(openai.NotFoundError):
        responses.retrieve(reply.id)
    with pytest.raises(openai.NotFoundError) as error:
        ask(responses, "And now?", previous_response_id=reply.id)
    assert error.value.body["param"] == "previous_response_id"


def test_many_conversations_at_once_keep_apart(responses):
    wrong = []

    def talk(i):
        first = ask(responses, f"The number is {i}.", max_output_tokens=4)
        second = ask(responses, "Go on.", previous_response_id=first.id, max_output_tokens=4)
        items = list(responses.input_items.list(first.id))
        if items[0].content[0].text != f"The number is {i}." or second.previous_response_id != first.id:
            wrong.append(i)
    threads = [threading.Thread(target=talk, args=(i,)) for i in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert wrong == []


@pytest.mark.parametrize("more, word", [
    ({"tools": [{"type": "web_search"}]}, "web_search"),
    ({"background": True}, "background"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}]}, "input_image"),
    ({"input": [{"type": "computer_call", "id": "c"}]}, "computer_call"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"temperature": 5}, "temperature"),
])
def test_what_cannot_be_done_is_refused_by_name(responses, more, word):
    with pytest.raises(openai.BadRequestError, match=word):
        ask(responses, **more)


def test_the_store_stays_within_its_bytes():
    with Server("--response-store-bytes", 20000, "--response-store-seconds", 3600) as server:
        replies = [server.client.responses.create(model=server.model, input="x" * 1000, max_output_tokens=1) for _ in range(12)]
        server.client.responses.retrieve(replies[-1].id)
        with pytest.raises(openai.NotFoundError, match="made room"):
            server.client.responses.retrieve(replies[0].id)


def test_a_response_belongs_to_its_key():
    with Server("--api-key", "mine", "yours") as server:
        def client(key):
            return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0)
        mine = client("mine")
        reply = mine.responses.create(model=mine.models.list().data[0].id, input="Hi", max_output_tokens=2)
        assert mine.responses.retrieve(reply.id).id == reply.id
        with pytest.raises(openai.NotFoundError):
            client("yours").responses.retrieve(reply.id)
        with pytest.raises(openai.NotFoundError):
            client("yours").responses.create(model=reply.model, input="Go on", previous_response_id=reply.id)
        with pytest.raises(openai.AuthenticationError):
            client("other").responses.retrieve(reply.id)
