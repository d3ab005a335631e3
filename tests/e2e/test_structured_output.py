"""Structured output through the API: whatever the model would say, the answer has the form asked for. Drawn at a high
temperature, octavo-tiny walks through the grammars at random."""
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import openai
import pytest
from conftest import ROOT, Server
from pydantic import BaseModel, Field
from test_engine_process import child_of

PROMPT = [{"role": "user", "content": "Tell me about Paris, as JSON."}]


class Address(BaseModel):
    street: str
    number: int = Field(ge=1, le=999)


class Person(BaseModel):
    name: str = Field(min_length=1, max_length=12)
    age: int
    tags: list[str] = Field(max_length=2)
    address: Address | None


def rows(name):
    with open(ROOT / "tests" / "data" / "schemas" / f"{name}.jsonl") as file:
        return [json.loads(line) for line in file]


def complete(server, structured_outputs, prompt="Answer:", max_tokens=200, **more):
    return server.request("/v1/completions", {
        "model": server.model, "prompt": prompt, "max_tokens": max_tokens,
        "structured_outputs": structured_outputs, **more})


def text_of(server, structured_outputs, **more):
    status, body = complete(server, structured_outputs, **more)
    assert status == 200, body
    choice = body["choices"][0]
    return choice["text"], choice["finish_reason"]


@pytest.fixture(scope="module", params=["in process", "in a child"])
def either(request, server):
    if request.param == "in process":
        yield server
    else:
        with Server("--engine-process") as s:
            yield s


def test_a_pydantic_model_parses_from_every_choice(either):
    answer = either.client.chat.completions.parse(
        model=either.model, messages=PROMPT, response_format=Person, n=3, seed=1, temperature=1.0, max_tokens=300,
        logprobs=True, top_logprobs=2)
    assert len(answer.choices) == 3
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert isinstance(choice.message.parsed, Person)
        assert "".join(t.token for t in choice.logprobs.content).startswith("{")
    assert len({choice.message.content for choice in answer.choices}) > 1


def test_a_streamed_pydantic_model_parses(server):
    with server.client.chat.completions.stream(
            model=server.model, messages=PROMPT, response_format=Person, seed=2, max_tokens=300) as stream:
        for event in stream:
            pass
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Person)
    assert final.choices[0].finish_reason == "stop"


def test_json_object_is_an_object(either):
    answer = either.client.chat.completions.create(
        model=either.model, messages=PROMPT, response_format={"type": "json_object"}, temperature=0, max_tokens=200)
    assert answer.choices[0].finish_reason == "stop"
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


@pytest.mark.parametrize("family", ["pydantic", "zod", "keywords"])
def test_answers_at_random_are_valid_for_their_schemas(server, family):
    def walk(job):
        row, seed = job
        text, finish = text_of(server, {"json": row["schema"], "disable_any_whitespace": seed % 2 == 1}, seed=seed,
                               temperature=1.4, max_tokens=500)
        return row, text, finish

    finished = 0
    jobs = [(row, seed) for seed, row in enumerate(rows(family))]
    with ThreadPoolExecutor(16) as pool:
        for row, text, finish in pool.map(walk, jobs):
            if finish != "stop":
                continue
            finished += 1
            cls = jsonschema.validators.validator_for(row["schema"], default=jsonschema.Draft202012Validator)
            cls(row["schema"], format_checker=cls.FORMAT_CHECKER).validate(json.loads(text))
    assert finished >= len(jobs) * 0.6  # the others met max_tokens


def test_unenforced_keywords_are_refused_by_name(server):
    for row in rows("refused"):
        status, body = complete(server, {"json": row["schema"]})
        assert status == 400, row
        assert f"`{row['keyword']}`" in body["error"]["message"], (row, body)
        assert body["error"]["param"] == "structured_outputs"
    with pytest.raises(openai.BadRequestError) as refusal:
        server.client.chat.completions.create(
            model=server.model, messages=PROMPT,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}})
    assert refusal.value.param == "response_format"


@pytest.mark.parametrize("kind, source, pattern", [
    ("regex", r"\d{3}-\d{4}", r"\d{3}-\d{4}"),
    ("choice", ["red", "green", "deep blue"], "red|green|deep blue"),
    ("grammar", 'root ::= word (" " word){1,3} "."\nword ::= [a-z]{1,5}\n', r"[a-z]{1,5}( [a-z]{1,5}){1,3}\."),
    ("structural_tag", {"type": "structural_tag", "format": {
        "type": "tag", "begin": "<n>", "content": {"type": "json_schema", "json_schema": {"type": "boolean"}},
        "end": "</n>"}}, "<n>(true|false)</n>"),
])
def test_each_kind_holds(either, kind, source, pattern):
    for seed in range(4):
        text, finish = text_of(either, {kind: source}, seed=seed, temperature=1.5)
        assert finish == "stop"
        assert re.fullmatch(pattern, text), text


def test_a_structural_tag_is_also_a_response_format(server):
    answer = server.client.chat.completions.create(
        model=server.model, messages=PROMPT, seed=1, max_tokens=100, extra_body={"response_format": {
            "type": "structural_tag", "format": {"type": "const_string", "value": "just this"}}})
    assert answer.choices[0].message.content == "just this"


def test_the_answer_ends_with_its_grammar_whatever_the_limits_say(server):
    for more in ({"ignore_eos": True}, {"min_tokens": 50}, {"stop_token_ids": [5]}):
        assert text_of(server, {"choice": ["yes"]}, **more) == ("yes", "stop")
    text, finish = text_of(server, {"regex": "a{50}"}, max_tokens=3)
    assert finish == "length" and set(text) == {"a"}


@pytest.mark.parametrize("body, words", [
    ({"guided_json": {}}, "structured_outputs"), ({"guided_regex": "a"}, "structured_outputs"),
    ({"guided_choice": ["a"]}, "structured_outputs"), ({"structured_outputs": {}}, "none are specified"),
    ({"structured_outputs": {"json": {}, "regex": "a"}}, "multiple are specified: json, regex"),
    ({"structured_outputs": {"choice": []}}, "at least one"), ({"structured_outputs": {"regex": "a(?=b)"}}, "look-around"),
    ({"structured_outputs": {"json": {}, "whitespace_pattern": " "}}, "whitespace_pattern"),
    ({"structured_outputs": {"grammar": "root ::= nothing"}}, "grammar"), ({"structured_outputs": {"json": "{"}}, "JSON"),
    ({"response_format": {"type": "json_schema"}}, "Field required"), ({"response_format": {"type": "xml"}}, "xml"),
    ({"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}}, "cannot be combined"),
])
def test_what_cannot_be_compiled_is_a_400_that_says_why(server, body, words):
    status, answer = server.request("/v1/chat/completions", {"model": server.model, "messages": PROMPT, **body})
    assert status == 400 and words in answer["error"]["message"], answer


def test_constrained_and_free_answers_of_one_batch_leave_each_other_alone(server):
    def ask(i):
        if i % 2:
            return text_of(server, {"regex": "[ab]{20}"}, seed=i)[0]
        status, body = server.request("/v1/completions", {"model": server.model, "prompt": "The capital of France is",
                                                          "max_tokens": 12, "temperature": 0})
        assert status == 200
        return body["choices"][0]["text"]

    alone = ask(0)
    with ThreadPoolExecutor(24) as pool:
        for i, text in enumerate(pool.map(ask, range(48))):
            assert re.fullmatch("[ab]{20}", text) if i % 2 else text == alone


def test_a_constrained_stream_survives_the_death_of_the_engine_process():
    with Server("--engine-process") as s:
        body = {"json": {"type": "array", "items": {"type": "integer"}, "minItems": 60, "maxItems": 60},
                "disable_any_whitespace": True}
        expected, finish = text_of(s, body, seed=3, max_tokens=900)
        assert finish == "stop" and len(json.loads(expected)) == 60
        stream = s.client.completions.create(model=s.model, prompt="Answer:", max_tokens=900, seed=3, stream=True,
                                             extra_body={"structured_outputs": body})
        text, killed = "", False
        for chunk in stream:
            text += chunk.choices[0].text
            if not killed and len(text) > 40:
                os.kill(child_of(s), signal.SIGKILL)
                killed = True
        assert killed and text == expected
