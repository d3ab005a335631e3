"""`octavo tokenize` and `octavo render`: every tokenizer and template golden through the real program, the small
things that must hold on every machine, and what they say to bad input.

The goldens are read from the folder `shared` beside the repository (OCTAVO_SHARED names another); without it their
tests are skipped by name."""
import json
import lzma
import os
import subprocess
from pathlib import Path

import pytest

from conftest import BIN, MODEL, ROOT

SHARED = Path(os.environ.get("OCTAVO_SHARED", ROOT.parent / "shared"))
TOKENIZERS = SHARED / "data" / "tokenizers"
TEMPLATES = SHARED / "data" / "chat_templates"
NOW = "2026-07-26T12:34:56"


def octavo(*args, stdin="", code=0):
    """Standard output of one run that must end with `code`; its standard error where that is not 0."""
    run = subprocess.run([str(BIN), *map(str, args)], input=stdin.encode(), capture_output=True, timeout=300)
    assert run.returncode == code, run.stderr.decode()
    return run.stderr.decode() if code else run.stdout.decode()


def to_lines(objects):
    return "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects)


def from_lines(text):
    return [json.loads(line) for line in text.split("\n") if line]  # not splitlines(): U+2028 is no end of line


def tokenize(tokenizer, texts):
    return from_lines(octavo("tokenize", "--tokenizer", tokenizer, "--input", "-", "--output", "-",
                             stdin=to_lines({"text": t} for t in texts)))


def render(template, cases, *more):
    return from_lines(octavo("render", "--chat-template", template, "--input", "-", "--output", "-", *more,
                             stdin=to_lines(cases)))


def needed(path):
    if not path.exists():
        pytest.skip(f"needs {path} (OCTAVO_SHARED)")
    return path


# ---- tokenize


FOLDERS = pytest.mark.parametrize("name,folder", [
    ("gpt2", "gpt2"), ("llama2", "llama2"), ("mistral", "mistral"), ("qwen1", "qwen1"), ("qwen2", "qwen2"),
    ("octavo-tiny", MODEL), ("torchtitan_test", "torchtitan_test"),
    ("gpt2", "scalellm_test")])  # the same vocabulary, its file written another way


def assert_goldens(goldens, folder):
    results = tokenize(TOKENIZERS / folder, [g["text"] for g in goldens])
    assert len(results) == len(goldens)
    for golden, result in zip(goldens, results):
        golden.setdefault("ids_plain", golden["ids_no_special"])  # the goldens leave out what is no different
        assert result == {key: golden[key] for key in
                          ("ids", "ids_no_special", "ids_plain", "decoded", "decoded_skip_special")}, golden["text"][:200]


@FOLDERS
def test_the_tokenizer_goldens_come_out_of_tokenize(name, folder):
    goldens = from_lines(needed(TOKENIZERS / name / "goldens.jsonl").read_text())
    assert len(goldens) == 390
    assert_goldens(goldens, folder)


@FOLDERS
def test_the_paragraphs_of_100_kb_come_out_of_tokenize(name, folder):
    file = needed(TOKENIZERS / name / "goldens_long.jsonl.xz")
    assert_goldens(from_lines(lzma.decompress(file.read_bytes()).decode()), folder)


def test_special_tokens_in_a_text_are_recognised_and_can_be_taken_as_plain_text():
    text = "a<|im_end|>b"
    [result] = tokenize(MODEL, [text])
    assert 8187 in result["ids"] and 8187 in result["ids_no_special"] and 8187 not in result["ids_plain"]
    assert result["decoded"] == text and result["decoded_skip_special"] == "ab"


def test_a_tokenizer_is_a_folder_or_a_file_and_an_empty_text_is_one():
    texts = ["", "Grüße, 世界 👋🏽\n", "\u2028 \u0000 end"]
    results = tokenize(MODEL, texts)
    assert results == tokenize(MODEL / "tokenizer.json", texts)
    assert results[0]["ids"] == [] and [r["decoded"] for r in results] == texts


def test_files_are_read_and_written_line_for_line(tmp_path):
    source, result = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text":"one","more":1}\n\n{"text":"two"}')  # an empty line, and no end of line
    assert octavo("tokenize", "--tokenizer", MODEL, "--input", source, "--output", result) == ""
    assert [r["decoded"] for r in from_lines(result.read_text())] == ["one", "two"]


@pytest.mark.parametrize("line,complaint", [
    ('{"text":', "unexpected end"), ("[]", "expected an object, not array"), ("{}", "`text` is missing"),
    ('{"text":1}', "`text` must be a string, not integer"), ('{"text":"\\ud800"}', "byte 15")])
def test_a_bad_line_is_named_by_its_number(line, complaint):
    error = octavo("tokenize", "--tokenizer", MODEL, "--input", "-", "--output", "-",
                   stdin='{"text":"good"}\n' + line + "\n", code=1)
    assert error.startswith("octavo: standard input, line 2: ") and complaint in error and error.count("\n") == 1


def test_a_missing_flag_or_file_is_named(tmp_path):
    assert "--input is needed" in octavo("tokenize", "--tokenizer", MODEL, "--output", "-", code=2)
    assert "--chat-template is needed" in octavo("render", "--input", "-", "--output", "-", code=2)
    missing = tmp_path / "none.jsonl"
    assert f"cannot read {missing}" in octavo("tokenize", "--tokenizer", MODEL, "--input", missing, "--output", "-",
                                              code=1)
    assert str(tmp_path) in octavo("tokenize", "--tokenizer", tmp_path, "--input", "-", "--output", "-", code=1)
    assert "cannot write" in octavo("tokenize", "--tokenizer", MODEL, "--input", "-", "--output",
                                    tmp_path / "no" / "x", code=1)


def test_the_input_is_never_overwritten(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"text":"one"}\n')
    assert "same file" in octavo("tokenize", "--tokenizer", MODEL, "--input", file, "--output", file, code=1)
    assert file.read_text() == '{"text":"one"}\n'


# ---- render


def template_goldens():
    """{template: [golden]}, or one stand-in that is skipped by name."""
    file = TEMPLATES / "goldens.jsonl"
    grouped = {}
    for golden in from_lines(file.read_text()) if file.exists() else []:
        grouped.setdefault(golden["template"], []).append(golden)
    return grouped


GOLDENS = template_goldens()


def test_the_template_goldens_are_all_here():
    needed(TEMPLATES / "goldens.jsonl")
    assert len(GOLDENS) == 48 and all(len(goldens) == 26 for goldens in GOLDENS.values())


@pytest.mark.parametrize("name", sorted(GOLDENS) or ["goldens"])
def test_the_template_goldens_come_out_of_render(name):
    needed(TEMPLATES / "goldens.jsonl")
    cases = {case["case"]: case for case in json.loads((TEMPLATES / "cases.json").read_text())}
    goldens = GOLDENS[name]
    inputs = []
    for golden in goldens:
        case = cases[golden["case"]]
        inputs.append({**case, "kwargs": {**golden["kwargs"], **case.get("kwargs", {})}})
    results = render(MODEL if name == "octavo-tiny" else TEMPLATES / name, inputs, "--now", NOW)
    assert len(results) == len(goldens)
    for golden, result in zip(goldens, results):
        if "output" in golden:
            assert result == {"output": golden["output"]}, golden["case"]
        elif golden["kind"] == "python":  # a TypeError inside Python: any error will do
            assert list(result) == ["error"], golden["case"]
        else:
            assert result["error"]["kind"] == golden["kind"], golden["case"]
            if golden["kind"] != "security":
                assert result["error"]["message"] == golden["error"], golden["case"]


HELLO = {"messages": [{"role": "user", "content": "Hi <b>"}], "add_generation_prompt": True}


def test_a_template_is_a_file_a_config_or_a_folder(tmp_path):
    source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{{ eos_token }}"
    case = {**HELLO, "kwargs": {"eos_token": "</s>"}}
    expected = [{"output": "[user] Hi <b></s>"}]
    file, config = tmp_path / "mine.jinja", tmp_path / "tokenizer_config.json"
    file.write_text(source)
    assert render(file, [case]) == expected
    config.write_text(json.dumps({"chat_template": source}))
    assert render(config, [case]) == render(tmp_path, [case]) == expected
    config.write_text(json.dumps({"chat_template": [{"name": "rag", "template": "x"},
                                                    {"name": "default", "template": source}]}))
    assert render(tmp_path, [case]) == expected
    (tmp_path / "chat_template.jinja").write_text("the file wins")
    assert render(tmp_path, [case]) == [{"output": "the file wins"}]


def test_the_bundled_template_renders():
    [result] = render(MODEL, [HELLO])
    assert "<|im_start|>user\nHi <b><|im_end|>\n" in result["output"]
    assert result["output"].endswith("<|im_start|>assistant\n")


def test_what_a_template_sees(tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text("{{ strftime_now('%d %b %Y %H:%M:%S') }} {{ tools is none }} {{ documents is none }} "
                    "{{ add_generation_prompt }} {{ messages[0].reasoning_content }} {{ n + 1 }}")
    cases = [{"messages": [{"role": "assistant", "thinking": "hm"}], "kwargs": {"n": 41}}]
    assert render(file, cases, "--now", NOW) == [{"output": "26 Jul 2026 12:34:56 True True False hm 42"}]


def test_an_error_of_the_template_is_a_result_with_its_kind(tmp_path):
    file = tmp_path / "t.jinja"
    file.write_text("{% if k == 'raised' %}{{ raise_exception('No!') }}{% elif k == 'undefined' %}{{ a.b }}"
                    "{% elif k == 'security' %}{{ messages.append(1) }}{% elif k == 'python' %}{{ 1 + 'x' }}{% endif %}")
    kinds = ["raised", "undefined", "security", "python"]
    results = render(file, [{**HELLO, "kwargs": {"k": k}} for k in [*kinds, "none"]])
    assert [r["error"]["kind"] for r in results[:4]] == kinds and results[4] == {"output": ""}
    assert results[0]["error"]["message"] == "No!" and results[1]["error"]["message"] == "'a' is undefined"


def test_what_cannot_be_rendered_is_refused_by_name(tmp_path):
    bad = tmp_path / "bad.jinja"
    bad.write_text("{% if %}")
    files = ["--input", "-", "--output", "-"]
    assert str(bad) in octavo("render", "--chat-template", bad, *files, code=1)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds neither chat_template.jinja" in octavo("render", "--chat-template", empty, *files, code=1)
    (empty / "tokenizer_config.json").write_text("{}")
    assert "holds no chat template" in octavo("render", "--chat-template", empty, *files, code=1)
    for line, complaint in (("{}", "`messages` is missing"), ('{"messages":{}}', "`messages` must be a list"),
                            ('{"messages":[],"tools":1}', "`tools` must be a list"),
                            ('{"messages":[],"kwargs":[]}', "`kwargs` must be an object")):
        error = octavo("render", "--chat-template", MODEL, *files, stdin=json.dumps(HELLO) + "\n" + line, code=1)
        assert f"line 2: {complaint}" in error
    for time in ("yesterday", "2026-02-30T00:00:00", "2026-07-26"):
        assert f"'{time}' is no" in octavo("render", "--chat-template", MODEL, *files, "--now", time, code=2)
