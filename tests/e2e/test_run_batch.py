"""octavo run-batch: a file of requests in, a file of answers out."""
import json
import subprocess

from conftest import BIN, MODEL


def line(custom_id, body, url="/v1/chat/completions", **more):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body, **more}


def run_batch(tmp_path, lines, *flags):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(x if isinstance(x, str) else json.dumps(x) + "\n" for x in lines))
    done = subprocess.run([str(BIN), "run-batch", "-i", str(source), "-o", str(target), "--model", str(MODEL),
                           "--served-model-name", "tiny", *flags], capture_output=True, text=True, timeout=120)
    answers = [json.loads(x) for x in target.read_text().splitlines()] if target.exists() else None
    return done, answers


def chat(text, **more):
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], "max_tokens": 4, "temperature": 0, **more}


def test_a_batch_is_answered_in_order_and_as_the_server_answers(tmp_path):
    lines = [line(f"chat-{i}", chat(f"Count to {i}.", max_tokens=1 + i % 5)) for i in range(20)]
    lines.append(line("completion", {"prompt": "Once upon a time", "max_tokens": 3}, "/v1/completions"))
    lines.append(line("message", chat("hi"), "/v1/messages"))
    lines.append(line("response", {"input": "hi", "max_output_tokens": 3}, "/v1/responses"))
    done, answers = run_batch(tmp_path, lines, "--max-concurrency", "4")
    assert done.returncode == 0, done.stderr
    assert "23 requests, 0 failed" in done.stderr
    assert [a["custom_id"] for a in answers] == [x["custom_id"] for x in lines]
    assert all(a["response"]["status_code"] == 200 and a["error"] is None for a in answers)
    assert [a["response"]["body"]["usage"]["completion_tokens"] for a in answers[:5]] == [1, 2, 3, 4, 5]
    assert len({a["id"] for a in answers}) == len(answers)


def test_a_wrong_line_fails_alone_and_the_exit_code_says_so(tmp_path):
    done, answers = run_batch(tmp_path, ["{ no JSON\n", line("unknown", chat("hi", model="other")), "\n",
                                         line("url", {}, "/v1/embeddings"), line("good", chat("hi"))])
    assert done.returncode == 1
    assert "4 requests, 3 failed" in done.stderr
    assert answers[0]["custom_id"] is None and "JSON" in answers[0]["error"]["message"]
    assert answers[1]["response"]["status_code"] == 404
    assert answers[1]["response"]["body"]["error"]["param"] == "model"
    assert "/v1/embeddings" in answers[2]["error"]["message"]
    assert answers[3]["response"]["status_code"] == 200


def test_files_that_cannot_be_are_refused_before_the_model_is_loaded(tmp_path):
    same = tmp_path / "same.jsonl"
    same.write_text(json.dumps(line("a", chat("hi"))) + "\n")
    for words, reason in ([["-i", str(same), "-o", str(same)], "same file"],
                          [["-i", str(tmp_path / "none"), "-o", str(tmp_path / "out")], "cannot read"],
                          [["-i", str(same), "-o", str(tmp_path / "no" / "folder")], "cannot write"],
                          [["-i", str(same)], "--output-file is needed"]):
        done = subprocess.run([str(BIN), "run-batch", *words, "--model", str(MODEL)], capture_output=True, text=True)
        assert done.returncode in (1, 2) and reason in done.stderr, done.stderr
        assert "loading" not in done.stderr
    assert same.read_text() != ""
