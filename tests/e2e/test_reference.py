"""octavo-tiny answers as transformers does: the same greedy tokens and log-probabilities."""
import pytest


def complete(server, prompt, **extra):
    body = {"prompt": prompt, "max_tokens": 48, "temperature": 0, "ignore_eos": True, "return_token_ids": True, **extra}
    status, reply = server.request("/v1/completions", body)
    assert status == 200, reply
    return reply["choices"][0]


def test_the_twenty_prompts_give_the_reference_tokens_in_float32(server32, reference):
    wrong = [p["name"] for p in reference["prompts"]
             if complete(server32, p["ids"])["token_ids"] != p["float32"]["ids"]]
    assert wrong == []


def test_log_probabilities_are_within_a_thousandth_of_the_reference(server32, reference):
    for p in reference["prompts"]:
        choice = complete(server32, p["ids"], logprobs=5, return_tokens_as_token_ids=True)
        for got, expected in zip(choice["logprobs"]["token_logprobs"], p["float32"]["top"]):
            assert got == pytest.approx(expected["logprobs"][0], abs=1e-3), p["name"]


def test_the_prompt_texts_tokenize_to_the_reference_ids(server, reference):
    for p in reference["prompts"]:
        status, reply = server.request("/tokenize", {"prompt": p["text"]})
        assert status == 200 and reply["tokens"] == p["ids"], p["name"]
        status, reply = server.request("/detokenize", {"tokens": p["ids"]})
        assert reply["prompt"] == p["text"], p["name"]


def test_all_prompts_at_once_give_what_each_gives_alone(server, reference):
    alone = [complete(server, p["ids"])["token_ids"] for p in reference["prompts"]]
    status, reply = server.request("/v1/completions", {
        "prompt": [p["ids"] for p in reference["prompts"]], "max_tokens": 48, "temperature": 0, "ignore_eos": True,
        "return_token_ids": True})
    assert status == 200
    assert [c["token_ids"] for c in reply["choices"]] == alone
