"""`octavo chat` and `octavo complete`: the real program behind a pseudo-terminal, and through pipes; with the model in
its own process, and against `octavo serve`."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import BIN, MODEL

ANSWER = "Tokyo"
QUESTION = "What is the capital of Japan?"


class Terminal:
    """A program at a terminal of 80 by 24, typed at and read like a person would."""

    def __init__(self, *args, env=None, columns=80):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.seen = ""

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([str(BIN), *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=take_terminal,
                                        env={**os.environ, "TERM": "xterm", **(env or {})})

    def type(self, text):
        os.write(self.master, text.encode())

    def line(self, text):
        self.type(text + "\r")

    def expect(self, pattern, seconds=60):
        """Reads until the pattern is there; returns all up to its end, and forgets it."""
        deadline = time.time() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.time()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            try:
                more = os.read(self.master, 65536)
            except OSError:  # the program has closed its terminal
                more = b""
            assert more, f"the program ended; no {pattern!r} in {self.seen!r}"
            self.seen += more.decode(errors="replace")
        before, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return before

    def answer(self, text):
        """Types a line; what came up to the figures after the answer."""
        self.line(text)
        return self.expect(r"\[\d+ tokens?[^\]]*\]")

    def prompt(self):
        return self.expect(r">>> \x1b\[\?25h|>>> .*\r\x1b\[4C\x1b\[\?25h")

    def interrupt(self):
        self.type("\x03")

    def end(self, seconds=30):
        # What is still written must be read, or the program waits for its reader.
        deadline = time.time() + seconds
        while self.process.poll() is None and time.time() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        return self.process.wait(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def home(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture(params=["in this process", "on a server"])
def chat(request, home):
    where = [MODEL] if request.param == "in this process" else ["--url", request.getfixturevalue("server").url]
    with Terminal("chat", *where, "--temperature", "0", env=home) as terminal:
        terminal.prompt()
        yield terminal


def run(*args, stdin="", code=0, env=None):
    done = subprocess.run([str(BIN), *map(str, args)], input=stdin.encode(), capture_output=True, timeout=120,
                          env={**os.environ, **(env or {})})
    assert done.returncode == code, (done.returncode, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode() if code == 0 else done.stderr.decode()


# ---- at a terminal


def test_an_answer_comes_with_its_figures_and_the_conversation_goes_on(chat):
    shown = chat.answer(QUESTION)
    assert ANSWER in shown
    assert re.search(r"\[\d+ tokens, [\d.e+]+ tok/s, first after [\d.e+]+ ms\]", shown)
    assert "Rome" in chat.answer("What is the capital of Italy?")
    chat.line("/exit")
    assert chat.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(chat):
    chat.line("/params max_tokens 1900")
    chat.prompt()
    chat.line("/params temperature 1.9")  # babbles on
    chat.prompt()
    chat.line("/params seed 3")
    chat.prompt()
    stopped = False
    for _ in range(5):  # an answer may end by itself before Ctrl-C is there
        chat.line("Tell me a very long story about the sea.")
        chat.expect(r"\r\n\S")
        chat.interrupt()
        if "stopped]" in chat.expect(r"\[\d+ tokens?[^\]]*\]"):
            stopped = True
            break
        chat.prompt()
    assert stopped
    chat.prompt()
    chat.line("/params temperature 0")
    chat.prompt()
    chat.line("/clear")
    chat.prompt()
    assert ANSWER in chat.answer(QUESTION)
    assert chat.process.poll() is None


def test_ctrl_c_twice_at_an_empty_prompt_leaves(chat):
    chat.type("half a message")
    chat.expect("message")
    chat.interrupt()  # throws it away
    chat.prompt()
    chat.interrupt()
    chat.expect("once more leaves")
    chat.prompt()
    chat.interrupt()
    assert chat.end() == 0


def test_ctrl_d_leaves_and_the_terminal_is_as_it_was(chat):
    chat.type("\x04")
    assert chat.end() == 0
    assert termios.tcgetattr(chat.slave) == chat.before


def test_sigterm_leaves_the_terminal_as_it_was(chat):
    chat.process.send_signal(signal.SIGTERM)
    assert chat.end() == -signal.SIGTERM
    assert termios.tcgetattr(chat.slave) == chat.before


def test_commands_show_set_and_name_what_is_wrong(chat):
    chat.line("/help")
    shown = chat.prompt()
    for command in ["/system", "/params", "/save", "/load", "/clear", "/regen", "/exit"]:
        assert command in shown
    chat.line("/params top_p 0.5")
    chat.prompt()
    chat.line("/params")
    shown = chat.prompt()
    assert re.search(r"top_p +0.5", shown) and re.search(r"temperature +0.0 ", shown)
    chat.line("/params top_p 5")
    chat.expect("top_p: must be between")
    chat.line("/sav x")
    chat.expect("did you mean /save")
    chat.line("/system Answer in one word.")
    chat.expect("is set")
    chat.line("/system")
    chat.expect("Answer in one word.\r\n")


def test_a_conversation_is_saved_and_loaded(chat, tmp_path):
    file = tmp_path / "a chat.json"
    chat.answer(QUESTION)
    chat.line(f"/save {file}")
    chat.expect("Saved 2 messages")
    messages = json.loads(file.read_text())["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"]
    assert messages[0]["content"] == QUESTION and ANSWER in messages[1]["content"]
    chat.line("/clear")
    chat.expect("empty")
    chat.line(f"/load {file}")
    chat.expect("Loaded 2 messages")
    chat.line("/regen")
    assert ANSWER in chat.expect(r"\[\d+ tokens?[^\]]*\]")
    chat.line(f"/load {tmp_path / 'none'}")
    chat.expect("no file")


def test_messages_of_several_lines(chat, tmp_path):
    file = tmp_path / "chat.json"
    chat.line('"""')
    chat.line("first")
    chat.line("second\\")
    chat.answer('"""')
    chat.prompt()
    chat.line("third \\")
    chat.answer("fourth")
    chat.prompt()
    chat.type("\x1b[200~fifth\rsixth \\\r/exit\x1b[201~")
    chat.answer("")
    chat.prompt()
    chat.type("seventh\x1b\r")
    chat.answer("eighth")
    chat.prompt()
    chat.line(f"/save {file}")
    chat.expect("Saved")
    users = [m["content"] for m in json.loads(file.read_text())["messages"] if m["role"] == "user"]
    assert users == ["first\nsecond\\", "third \nfourth", "fifth\nsixth \\\n/exit", "seventh\neighth"]


def test_the_history_is_there_on_the_next_day(home):
    with Terminal("chat", MODEL, "--temperature", "0", "--max-tokens", "2", env=home) as terminal:
        terminal.prompt()
        terminal.answer("an old question")
        terminal.line("/exit")
        assert terminal.end() == 0
    with Terminal("chat", MODEL, "--temperature", "0", "--max-tokens", "2", env=home) as terminal:
        terminal.prompt()
        terminal.type("\x1b[A\x1b[A")
        terminal.expect("an old question")
        terminal.type("\x1b[A\x1b[B!")  # up beyond the oldest stays there, down goes to /exit
        terminal.expect("/exit!")


def test_editing_in_the_middle_of_a_line(chat, tmp_path):
    file = tmp_path / "chat.json"
    # Left of "rl" comes an o, before all "hello ", at the end a word that is killed and given back.
    chat.answer("wrld\x1b[D\x1b[D\x1b[Do\x01hello \x05 世界\x17\x19")
    chat.prompt()
    chat.line(f"/save {file}")
    chat.expect("Saved")
    assert json.loads(file.read_text())["messages"][0]["content"] == "hello world 世界"


def test_what_is_typed_during_an_answer_waits_for_the_prompt(chat):
    chat.type(QUESTION + "\rWhat is the capital of Italy?\r")
    assert ANSWER in chat.expect(r"\[\d+ tokens?[^\]]*\]")
    assert "Rome" in chat.expect(r"\[\d+ tokens?[^\]]*\]")


def test_the_thinking_of_the_model_is_dim_and_no_part_of_the_answer(chat, tmp_path):
    file = tmp_path / "chat.json"
    chat.line("/system Think before you answer. Put your thoughts between <think> and </think>.")
    chat.expect("is set")
    shown = chat.answer("What is 38 + 47?")
    assert re.search(r"\x1b\[2m[^\x1b]*The tens", shown) and re.search(r"\x1b\[0m[^\x1b]*85", shown)
    assert "<think>" not in shown[shown.index("\x1b[2m"):]
    chat.prompt()
    chat.line(f"/save {file}")
    chat.expect("Saved")
    answer = json.loads(file.read_text())["messages"][-1]
    assert "The tens" in answer["reasoning"] and "85" in answer["content"] and "tens" not in answer["content"]


def screen_of(output, columns, rows=24):
    """What a terminal shows after `output`: the rows, without blanks at their ends. Only what the editor uses."""
    cells, row, column = [[" "] * columns for _ in range(rows)], 0, 0
    for found in re.finditer(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b])", output):
        number, final, home, newline, text = found.groups()
        if home:
            column = 0
        elif newline:
            row += 1
        elif text:
            if column == columns:  # the wrap that waits for the next character
                row, column = row + 1, 0
            cells[row][column] = text
            column += 1
        elif final == "A":
            row -= int(number or 1)
        elif final == "B":
            row += int(number or 1)
        elif final == "C":
            column += int(number or 1)
        elif final == "J" and not number:
            cells[row][column:] = [" "] * (columns - column)
            cells[row + 1:] = [[" "] * columns for _ in range(rows - row - 1)]
    return ["".join(line).rstrip() for line in cells], (row, column)


def test_a_long_line_wraps_and_the_cursor_stands_where_it_types(home):
    with Terminal("chat", MODEL, env=home, columns=20) as terminal:
        shown = terminal.expect(r">>> \r\x1b\[4C\x1b\[\?25h")
        shown = shown[shown.rindex("\x1b[?25l"):]  # the greeting is above
        terminal.type("abcdefghijklmnopqrstuvwxyz0123456789")
        shown += terminal.expect(r"6789\r\r\n\r\x1b\[\?25h")
        terminal.type("\x01")
        shown += terminal.expect(r"\x1b\[1A\r\x1b\[4C\x1b\[\?25h")
        terminal.type("X")
        shown += terminal.expect(r"\x1b\[\dA\r\x1b\[5C\x1b\[\?25h")
        rows, cursor = screen_of(shown, 20)
        assert rows[:3] == [">>> Xabcdefghijklmno", "pqrstuvwxyz012345678", "9"] and cursor == (0, 5)
        terminal.type("\x0b!")
        shown += terminal.expect(r"X!\r\x1b\[6C\x1b\[\?25h")
        rows, cursor = screen_of(shown, 20)
        assert rows[:3] == [">>> X!", "", ""] and cursor == (0, 6)


# ---- a server of another kind, with thinking and with malice


class Scripted:
    """A server that answers every chat with the given events, and keeps what it was asked."""

    def __init__(self, events=(), status=200, body=b"", wait=None):
        outer, self.asked = self, []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, code, body, kind="application/json"):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.reply(200, json.dumps({"data": [{"id": "scripted"}]}).encode())

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, self.headers.get("Authorization"), asked))
                if status != 200:
                    return self.reply(status, body)
                if wait:
                    wait.wait(30)
                text = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events) + b"data: [DONE]\n\n"
                self.reply(200, text, "text/event-stream")

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def delta(finish=None, **fields):
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_thinking_is_dim_and_kept_out_of_pipes_and_of_the_next_request(home):
    events = [delta(reasoning="let me see"), delta(content="forty-two"), delta("stop")]
    with Scripted(events) as server:
        with Terminal("chat", "--url", server.url, env=home) as terminal:
            terminal.prompt()
            shown = terminal.answer("how many?")
            assert "\x1b[2mlet me see" in shown and re.search(r"\x1b\[0m\S*forty-two", shown)
            terminal.answer("sure?")
        messages = server.asked[-1][2]["messages"]
        assert messages[1] == {"role": "assistant", "content": "forty-two"}
        assert run("chat", "--url", server.url, stdin="how many?\n") == "forty-two\n"
        assert run("complete", "--url", server.url, "-p", "how many?") == "forty-two\n"


def test_an_answer_cannot_drive_the_terminal(home):
    with Scripted([delta(content="a\x1b]0;title\x07b\x1b[2Jc\r"), delta("stop")]) as server:
        with Terminal("chat", "--url", server.url, env=home) as terminal:
            terminal.prompt()
            terminal.line("x")
            assert "a]0;titleb[2Jc" in terminal.expect(r"\[1 token")


def test_ctrl_c_stops_the_wait_for_a_server_that_does_not_answer(home):
    silent = threading.Event()
    with Scripted([delta(content="late"), delta("stop")], wait=silent) as server:
        with Terminal("chat", "--url", server.url, env=home) as terminal:
            terminal.prompt()
            terminal.line("x")
            while not server.asked:
                time.sleep(0.01)
            terminal.interrupt()
            terminal.expect("stopped]")
            silent.set()
            terminal.prompt()
            assert "late" in terminal.answer("y")


def test_the_key_and_the_settings_reach_the_server():
    with Scripted([delta(content="x"), delta("stop")]) as server:
        run("complete", "--url", server.url + "/v1/", "-p", "hi", "--top-p", "0.25", "--seed", "7", "--max-tokens", "9",
            "--system-prompt", "be brief", "--json", '{"type": "object"}', env={"OPENAI_API_KEY": "secret"})
        path, key, asked = server.asked[0]
        assert (path, key) == ("/v1/chat/completions", "Bearer secret")
        assert (asked["model"], asked["top_p"], asked["seed"], asked["max_tokens"]) == ("scripted", 0.25, 7, 9)
        assert asked["messages"][0] == {"role": "system", "content": "be brief"}
        assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert "temperature" not in asked


def test_a_refusal_says_what_to_do():
    body = json.dumps({"error": {"message": "Incorrect API key"}}).encode()
    with Scripted(status=401, body=body) as server:
        error = run("complete", "--url", server.url, "-p", "hi", code=1)
        assert "401: Incorrect API key; give the key by --api-key or OPENAI_API_KEY" in error
    assert "cannot connect" in run("complete", "--url", "http://127.0.0.1:9", "-p", "hi", code=1)
    assert "neither http:// nor https://" in run("complete", "--url", "ftp://x", "-p", "hi", code=1)


def test_a_stream_that_breaks_is_an_error_and_no_answer():
    with Scripted([delta(content="half"), {"error": {"message": "the engine is gone"}}]) as server:
        assert "the engine is gone" in run("complete", "--url", server.url, "-p", "hi", code=1)
    with Scripted(status=200) as server:
        assert "did not answer with a stream" in run("complete", "--url", server.url, "-p", "hi", code=1)


# ---- pipes


@pytest.fixture(params=["in this process", "on a server"])
def where(request):
    return [MODEL] if request.param == "in this process" else ["--url", request.getfixturevalue("server").url]


def test_through_a_pipe_each_line_is_a_message_and_answers_alone_come_out(where, tmp_path):
    file = tmp_path / "chat.json"
    out = run("chat", *where, "--temperature", "0",
              stdin=f'{QUESTION}\n\n/clear\n"""\nWhat is the capital\nof Italy?\n"""\n/save {file}\n')
    lines = out.splitlines()
    assert len(lines) == 2 and ANSWER in lines[0]
    assert json.loads(file.read_text())["messages"][0]["content"] == "What is the capital\nof Italy?"


def test_a_failure_in_a_pipe_is_told_by_the_exit_code():
    assert "no command /no" in run("chat", MODEL, stdin="/no\n", code=1)


def test_complete_reads_a_prompt_from_a_flag_or_a_pipe(where):
    by_flag = run("complete", *where, "-p", QUESTION, "--temperature", "0")
    assert ANSWER in by_flag and by_flag.endswith("\n") and not by_flag.endswith("\n\n")
    assert run("complete", *where, "--temperature", "0", "--stream", stdin=QUESTION + "\n") == by_flag
    # With the temperature at its default a seed decides.
    draws = {run("complete", *where, "-p", "Tell me a story.", "--seed", "5", "--max-tokens", "12") for _ in range(2)}
    assert len(draws) == 1


def test_complete_goes_on_with_a_raw_text(where):
    raw = run("complete", *where, "--raw", "-p", "The capital of France is", "--max-tokens", "4", "--temperature", "0")
    assert "Paris" in raw
    assert "no place in a --raw prompt" in run("complete", *where, "--raw", "--system-prompt", "x", "-p", "y", code=2)


def test_complete_needs_a_prompt_and_a_schema_that_is_one():
    assert "prompt is empty" in run("complete", MODEL, stdin="", code=2)
    assert "--json" in run("complete", MODEL, "-p", "x", "--json", "{", code=2)
    assert "neither an object nor a file" in run("complete", MODEL, "-p", "x", "--json", "no-such-file", code=2)
    assert "max_tokens: must be between" in run("complete", MODEL, "-p", "x", "--max-tokens", "0", code=2)


def test_an_answer_matches_its_schema(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}},
                                  "required": ["n", "ok"], "additionalProperties": False}))
    answer = json.loads(run("complete", MODEL, "-p", "Give me some JSON.", "--json", schema, "--max-tokens", "200",
                            "--temperature", "0"))
    assert set(answer) == {"n", "ok"} and isinstance(answer["n"], int) and isinstance(answer["ok"], bool)
