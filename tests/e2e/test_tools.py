"""Tool calls and thinking through the official openai client, against the real program.

octavo-tiny does not think by itself: a message that the answer goes on with brings it about."""
import json

import openai
import pytest
from conftest import Server

WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "The weather in a city", "parameters": {
        "type": "object", "additionalProperties": False, "required": ["city", "unit"],
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "unit": {"$ref": "#/$defs/Unit"}},
        "$defs": {"Unit": {"enum": ["celsius", "fahrenheit"]}}}}},
    {"type": "function", "function": {"name": "get_time", "parameters": {
        "type": "object", "additionalProperties": False, "required": ["utc"],
        "properties": {"utc": {"type": "boolean"}}}}},
]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
THINKS = [{"role": "user", "content": "What is the capital of Japan?"},
          {"role": "assistant", "content": "<think>\nThe user asks"}]


def chat(server, **fields):
    fields = {"messages": WEATHER, "temperature": 0, "max_tokens": 200, **fields}
    return server.client.chat.completions.create(model=server.model, **fields)


def put_together(stream):
    """(reasoning, content, [(id, name, arguments)], finish reason) of a stream."""
    reasoning, content, calls, finish = "", "", [], None
    for chunk in stream:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        reasoning += (delta.model_extra or {}).get("reasoning") or ""
        content += delta.content or ""
        for piece in delta.tool_calls or []:
            if piece.id:
                assert piece.index == len(calls) and piece.type == "function"
                calls.append([piece.id, piece.function.name, ""])
            calls[piece.index][2] += piece.function.arguments
        finish = chunk.choices[0].finish_reason or finish
    return reasoning, content, calls, finish


def check_call(name, arguments):
    arguments = json.loads(arguments)
    if name == "get_weather":
        assert set(arguments) == {"city", "unit"}
        assert arguments["city"] in ("Paris", "Rome") and arguments["unit"] in ("celsius", "fahrenheit")
    else:
        assert name == "get_time" and isinstance(arguments["utc"], bool)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_required_call_obeys_its_schema(server, temperature):
    choice = chat(server, tools=TOOLS, tool_choice="required", temperature=temperature, seed=1, max_tokens=400,
                  parallel_tool_calls=False).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls
    check_call(call.function.name, call.function.arguments)


def test_a_named_call_is_of_that_function_and_says_stop(server):
    choice = chat(server, tools=TOOLS, tool_choice=NAMED).choices[0]
    assert choice.finish_reason == "stop"
    [call] = choice.message.tool_calls
    assert call.function.name == "get_weather"
    check_call(call.function.name, call.function.arguments)


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
def test_a_stream_of_calls_joins_to_the_whole_answer(server, choice):
    fields = dict(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    whole = chat(server, **fields).choices[0]
    _, content, calls, finish = put_together(chat(server, stream=True, **fields))
    assert content == ""
    assert finish == whole.finish_reason
    assert [(name, arguments) for _, name, arguments in calls] == \
        [(c.function.name, c.function.arguments) for c in whole.message.tool_calls]


def test_a_call_cut_off_by_the_limit_says_length(server):
    choice = chat(server, tools=TOOLS, tool_choice=NAMED, max_tokens=4).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.tool_calls[0].function.arguments.startswith("{")


def test_a_forced_call_comes_after_thinking_that_the_prompt_has_opened(server):
    reply = chat(server, messages=THINKS, tools=TOOLS, tool_choice=NAMED, extra_body={
        "continue_final_message": True, "add_generation_prompt": False, "thinking_token_budget": 6})
    message = reply.choices[0].message
    assert message.model_extra["reasoning"]
    check_call("get_weather", message.tool_calls[0].function.arguments)


def test_tools_without_a_choice_leave_plain_answers_alone(server):
    plain = chat(server, messages=THINKS[:1]).choices[0]
    assert "Tokyo" in plain.message.content


def test_the_models_own_call_is_taken_off_the_content(server):
    choice = chat(server, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls
    assert call.function.name == "get_weather" and json.loads(call.function.arguments)["city"] == "Paris"
    reasoning, content, calls, finish = put_together(chat(server, tools=TOOLS, stream=True))
    assert (reasoning, content, finish) == ("", "", "tool_calls")
    assert [call[1:] for call in calls] == [[call.function.name, call.function.arguments]]
    answer = chat(server, tools=TOOLS, tool_choice="none").choices[0]
    assert "<tool_call>" in answer.message.content and answer.finish_reason == "stop"


def test_an_answer_without_thinking_is_not_filed_as_reasoning(server):
    reply = chat(server, messages=[{"role": "user", "content": "What is the capital of Japan? <think>"}])
    message = reply.choices[0].message
    assert message.content
    assert message.model_extra.get("reasoning") is None
    assert reply.usage.completion_tokens_details.reasoning_tokens == 0


def test_a_thinking_budget_ends_the_thinking(server):
    fields = dict(messages=THINKS, extra_body={"continue_final_message": True, "add_generation_prompt": False,
                                               "thinking_token_budget": 5})
    reply = chat(server, **fields)
    message = reply.choices[0].message
    assert message.model_extra["reasoning"] == message.model_extra["reasoning_content"] != ""
    assert reply.usage.completion_tokens_details.reasoning_tokens <= 5
    assert "</think>" not in (message.content or "")
    reasoning, content, _, _ = put_together(chat(server, stream=True, **fields))
    assert (reasoning, content) == (message.model_extra["reasoning"], message.content or "")
    fields["extra_body"]["include_reasoning"] = False
    assert chat(server, **fields).choices[0].message.model_extra.get("reasoning") is None


@pytest.mark.parametrize("fields,param", [
    ({"tools": []}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": "maybe"}, "tool_choice"),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": 5}}]}, "body.tools.0.function.name"),
    ({"extra_body": {"thinking_token_budget": -5}}, "thinking_token_budget"),
    ({"reasoning_effort": "some"}, "body.reasoning_effort"),
])
def test_what_is_wrong_about_tools_is_named(server, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        chat(server, **fields)
    assert error.value.param == param


def test_old_messages_with_calls_and_results_are_rendered(server):
    reply = chat(server, tools=TOOLS, tool_choice="none", max_tokens=20, messages=WEATHER + [
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {
            "name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius"}'}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "21 degrees"}]}],
        extra_body={"return_prompt_text": True})
    prompt = reply.model_extra["prompt_text"]
    assert '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}' in prompt
    assert "21 degrees" in prompt
    assert reply.choices[0].message.content


def test_flags_switch_the_parsers_off():
    with Server("--tool-call-parser", "none", "--reasoning-parser", "none") as off:
        with pytest.raises(openai.BadRequestError) as error:
            chat(off, tools=TOOLS)
        assert error.value.param == "tool_choice"
        with pytest.raises(openai.BadRequestError) as error:
            chat(off, extra_body={"thinking_token_budget": 5})
        assert error.value.param == "thinking_token_budget"
        answer = chat(off, messages=THINKS[:1] + [{"role": "assistant", "content": "</think>"}],
                      extra_body={"continue_final_message": True, "add_generation_prompt": False})
        assert answer.choices[0].message.content
        named = chat(off, tools=TOOLS, tool_choice=NAMED).choices[0].message  # needs no parser of the model's
        check_call("get_weather", named.tool_calls[0].function.arguments)


def test_an_engine_in_a_child_process_holds_forced_calls_too():
    with Server("--engine-process") as child:
        [call] = chat(child, tools=TOOLS, tool_choice=NAMED).choices[0].message.tool_calls
        check_call(call.function.name, call.function.arguments)
