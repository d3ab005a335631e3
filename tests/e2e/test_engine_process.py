"""--engine-process: the model in a child that dies, the streams that go on, and the limits of that."""
import asyncio
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

from conftest import BIN, MODEL, Server


def child_of(server):
    """Process id of the server's engine process, or None while there is none, or none that runs its own program yet."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return next((pid for pid in pids if "engine-child" in words_of(pid)), None)


def words_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_child(server):
    """Kills the child and waits for the next one."""
    pid = child_of(server)
    os.kill(pid, signal.SIGKILL)
    deadline = time.time() + 10
    while child_of(server) in (pid, None) and time.time() < deadline:
        time.sleep(0.005)
    return pid


def bodies(salt):
    """Forty requests: greedy and seeded, with everything whose state must survive the child. Those of one salt find no
    prefix that another left in the cache."""
    out = []
    for i in range(40):
        body = {"prompt": [(17 * i + k) % 8000 for k in range(3 + 11 * i % 200)], "max_tokens": 150 + 5 * i, "ignore_eos": True, "cache_salt": salt}
        body["temperature"] = 0 if i % 2 == 0 else 0.9
        if i % 2:
            body |= {"seed": i, "top_p": 0.95, "top_k": 50}
        if i % 3 == 0:
            body |= {"frequency_penalty": 0.8, "presence_penalty": 0.3, "repetition_penalty": 1.2}
        if i % 4 == 1:
            body |= {"logprobs": 3}
        if i % 5 == 2:
            body |= {"stop": ["the", " and"], "min_tokens": 60, "include_stop_str_in_output": True}
        if i % 8 == 3:
            body |= {"n": 2}
        if i % 10 == 9:
            body |= {"echo": True, "logprobs": 1}
        if i % 7 == 6:
            body |= {"ignore_eos": False, "min_tokens": 100}
        out.append(body)
    return out


async def stream(port, body, counter):
    """The choices of a streamed completion, joined, and its usage. Counts events in `counter`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    data = json.dumps({"stream": True, "stream_options": {"include_usage": True}, **body}).encode()
    writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(data) + data)
    await writer.drain()
    choices, usage, done = {}, None, False
    status = int((await reader.readline()).split()[1])
    while line := await reader.readline():
        if line.startswith(b"data: [DONE]"):
            done = True
        elif line.startswith(b"data: "):
            event = json.loads(line[6:])
            assert "error" not in event, event
            counter[0] += 1
            usage = event.get("usage") or usage
            for part in event["choices"]:
                choice = choices.setdefault(part["index"], {"text": "", "logprobs": [], "end": None, "stop": None})
                choice["text"] += part["text"]
                if part.get("logprobs"):
                    choice["logprobs"].append(part["logprobs"])
                choice["end"] = part["finish_reason"] or choice["end"]
                choice["stop"] = part.get("stop_reason") or choice["stop"]
    writer.close()
    assert status == 200 and done
    return choices, usage


def run(server, requests, during=None):
    """All at once; `during(counter)` runs on a thread of its own meanwhile."""
    async def all_of_them():
        counter = [0]
        others = asyncio.get_running_loop().run_in_executor(None, during, counter) if during else None
        results = await asyncio.gather(*(stream(server.port, body, counter) for body in requests))
        if others:
            await others
        return results
    return asyncio.run(all_of_them())


def test_streams_go_on_as_if_nothing_had_happened_when_the_engine_is_killed():
    killed = []

    def kill_twice(counter):
        for at in (1500, 4500):
            deadline = time.time() + 60
            while counter[0] < at and time.time() < deadline:
                time.sleep(0.005)
            killed.append((counter[0], kill_child(server)))

    with Server("--engine-process", "--max-num-seqs", 48) as server:
        undisturbed = run(server, bodies("a"))
        disturbed = run(server, bodies("b"), during=kill_twice)
        assert len(killed) == 2 and killed[0][1] != killed[1][1]
        for i, (a, b) in enumerate(zip(undisturbed, disturbed, strict=True)):
            assert a == b, f"request {i}"
        m = server.wait_idle()
        assert m["vllm:kv_cache_usage_perc"] == 0
        assert m['vllm:request_success_total{finished_reason="error"}'] == 0
        assert server.request("/health")[0] == 200
        assert server.read_log().count("was killed by signal 9") == 2


def test_the_child_gives_the_answers_that_one_process_gives(server):
    with Server("--engine-process") as other:
        assert run(server, bodies("two")) == run(other, bodies("one"))


def test_an_engine_that_dies_again_and_again_is_given_up():
    with Server("--engine-process") as server:
        for _ in range(3):
            kill_child(server)
        assert server.request("/v1/completions", {"prompt": [5], "max_tokens": 4})[0] == 200
        pid = child_of(server)
        os.kill(pid, signal.SIGKILL)
        deadline = time.time() + 5
        while server.request("/health")[0] == 200 and time.time() < deadline:
            time.sleep(0.01)
        assert server.request("/health")[0] == 503
        status, reply = server.request("/v1/completions", {"prompt": [5], "max_tokens": 4})
        assert status == 503
        assert "was killed by signal 9" in reply["error"]["message"]
        assert server.metrics()["vllm:num_requests_running"] == 0


def test_the_child_goes_with_its_parent_however_that_ends():
    for end in (signal.SIGTERM, signal.SIGKILL):
        with Server("--engine-process") as server:
            pid = child_of(server)
            server.stop(end)
            deadline = time.time() + 5
            while is_alive(pid) and time.time() < deadline:
                time.sleep(0.01)
            assert not is_alive(pid)


def test_a_child_that_loads_a_model_goes_with_its_parent_too(tmp_path):
    for file in MODEL.iterdir():
        (tmp_path / file.name).symlink_to(file)
    shard = next(tmp_path.glob("*.safetensors"))
    shard.unlink()
    os.mkfifo(shard)  # whoever opens it waits for ever
    with subprocess.Popen([str(BIN), "serve", str(tmp_path), "--engine-process"], stderr=subprocess.DEVNULL) as parent:
        deadline = time.time() + 10
        while not (pid := child_of(SimpleNamespace(process=parent))) and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(0.5)  # it comes to the weights
        assert is_alive(pid)
        parent.kill()
    while is_alive(pid) and time.time() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_a_signal_to_the_whole_group_drains_both_processes():
    with Server("--engine-process") as server:
        def interrupt(counter):
            while counter[0] < 100:
                time.sleep(0.005)
            for pid in (child_of(server), server.process.pid):
                os.kill(pid, signal.SIGINT)
        results = run(server, [{"prompt": [5], "max_tokens": 400, "ignore_eos": True}] * 4, during=interrupt)
        assert [usage["completion_tokens"] for _, usage in results] == [400] * 4
        assert server.process.wait(10) == 0


def test_a_new_child_holds_no_connection_of_the_server_open():
    with Server("--engine-process") as server:
        kill_child(server)
        server.request("/health")
        sockets = [fd for fd in os.listdir(f"/proc/{child_of(server)}/fd")
                   if os.readlink(f"/proc/{child_of(server)}/fd/{fd}").startswith("socket:")]
        assert sockets == ["3"]


def test_a_model_that_cannot_be_loaded_is_reported_as_by_one_process(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for words in ([], ["--engine-process"]):
        ended = subprocess.run([str(BIN), "serve", str(tmp_path), *words], capture_output=True, text=True, timeout=30)
        assert ended.returncode == 1
        message = [line for line in ended.stderr.splitlines() if line.startswith("octavo:")]
        assert len(message) == 1 and "config.json" in message[0]


def test_the_hidden_command_refuses_to_run_by_itself():
    ended = subprocess.run([str(BIN), "engine-child"], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert ended.returncode == 2
    assert "engine-process" in ended.stderr
