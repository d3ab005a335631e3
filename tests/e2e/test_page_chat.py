"""What the page makes of what a model says: a scripted one."""
import json
import time

import pytest
from page_rig import ANSWERED, LAST, ask, browser, page_server, plain_page, ready, says, scripted_page  # noqa: F401 (the fixtures)

HOSTILE = """<img src=x onerror="window.hit=1"> <script>window.hit=2</script> <svg onload=window.hit=3>

[click](javascript:window.hit=4) [data](data:text/html,<script>1</script>) [tab](java\tscript:alert(1))
![picture](https://example.org/tracker.png) <javascript:alert(1)> [ok](https://example.org/a?b=<c>&d="e")

| <b>head</b> | x |
|--|--|
| <img src=x onerror=window.hit=5> | `<script>` |

```html"><script>window.hit=6</script>
</code></pre><script>window.hit=7</script>
```
- <iframe src="https://example.org"></iframe>
> <style>*{display:none}</style>
"""


def test_markup_from_the_model_stays_text(scripted_page):
    def script(_):
        yield {"reasoning_content": HOSTILE}
        for at in range(0, len(HOSTILE), 7):
            yield {"content": HOSTILE[at:at + 7]}
        yield {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "<img src=x onerror=window.hit=8>", "arguments": "<script>"}}]}

    page, server = scripted_page(script)
    ask(page, "<img src=x onerror=window.hit=9>")
    page.js("document.querySelector('.reasoning').open = true")
    page.wait("document.querySelector('.reasoning .prose').childElementCount > 0")
    text = page.text("#log")
    for written in ('<img src=x onerror="window.hit=1">', "<script>window.hit=2</script>", "<iframe", "<style>", "</code></pre>"):
        assert written in text
    assert page.js("document.querySelectorAll('#log img, #log script, #log iframe, #log style, #log object, #log [onerror], #log [onload]').length") == 0
    assert page.js("typeof window.hit") == "undefined"
    for link in page.js("[...document.querySelectorAll('#log a')].map((a) => [a.protocol, a.rel, a.target])"):
        assert link[0] in ("http:", "https:", "mailto:") and "noopener" in link[1] and link[2] == "_blank"
    assert all(url.startswith(server.url) for url in page.requested())
    assert page.complaints() == []


def test_markdown_becomes_structure_and_code_can_be_copied(scripted_page):
    page, _ = scripted_page(says(
        "# Title\n\nOne **bold** and *slanted* `code` word, 2 * 3 * 4, snake_case_name.\n\n"
        "1. first\n2. second\n   - inner\n   - [x] done\n\n3. third\n\n"
        "| a | b |\n|:--|--:|\n| 1 | x \\| y |\n\n> quoted\n> more\n\n---\n\n"
        "```py", "thon\ndef f(x):\n    return 'a' + x  # why\n```\n\nhttps://example.org/x_(y). ~~gone~~"))
    ask(page, "Everything, please.")
    shape = lambda selector: page.js(f"[...document.querySelectorAll('.message.assistant .body {selector}')].map((e) => e.innerText)")
    assert shape("h1") == ["Title"]
    assert shape("strong") == ["bold"] and shape("em") == ["slanted"] and shape("p code") == ["code"] and shape("del") == ["gone"]
    assert shape("p")[0] == "One bold and slanted code word, 2 * 3 * 4, snake_case_name."
    assert page.js("document.querySelectorAll('.body > ol > li').length") == 3
    assert shape("ol ul li")[0] == "inner" and page.js("document.querySelector('.task input').checked")
    assert shape("td") == ["1", "x | y"] and page.js("document.querySelectorAll('.body td')[1].className") == "right"
    assert shape("blockquote") == ["quoted\nmore"] and shape("hr") == [""]
    assert shape("pre") == ["def f(x):\n    return 'a' + x  # why"] and shape("figcaption span") == ["python"]
    assert shape(".t-keyword") == ["def", "return"] and shape(".t-string") == ["'a'"] and shape(".t-comment") == ["# why"]
    assert page.js("document.querySelector('.body a').href") == "https://example.org/x_(y)"
    page.js("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.click(".code button")
    page.wait("document.querySelector('.code button').innerText === 'Copied'")
    assert page.js("window.copied") == "def f(x):\n    return 'a' + x  # why"


@pytest.mark.parametrize("piece", ["*a ", "_a", "**", "`a``", "[", "[a](", "![", "> ", "- ", "  - ", "|", "\\", "# ", "``` ", "<http", "1. ",
                                   "https://", "| a ", "~~a", "\n> - ", "\t"])
def test_text_made_to_be_slow_is_rendered_whole(plain_page, piece):
    text = json.dumps(piece * (100_000 // len(piece)) + "\nend")
    assert plain_page.js(f"""import("/page/markdown.js").then(({{ render }}) => {{
        const box = document.createElement("div");
        render(box, {text});
        return box.textContent.trimEnd().endsWith("end");
    }})""")


def test_streamed_markdown_ends_as_if_it_had_come_at_once(plain_page):
    assert plain_page.js(f"""import("/page/markdown.js").then(({{ render }}) => {{
        const text = {json.dumps(HOSTILE)} + "\\n1. a\\n\\n   b\\n2. c\\n\\n***x** y*\\n\\nSetext | t\\n--|--\\n1|2\\n";
        const [grown, whole] = [document.createElement("div"), document.createElement("div")];
        for (let i = 0; i <= text.length; ++i) render(grown, text.slice(0, i));
        render(whole, text);
        return grown.isEqualNode(whole);
    }})""")


def test_reasoning_is_folded_and_tool_calls_go_round(scripted_page):
    def script(body):
        if body["messages"][-1]["role"] == "tool":
            yield {"content": "It is " + body["messages"][-1]["content"]}
            return
        yield {"reasoning": "I should "}
        yield {"reasoning_content": "look."}
        yield {"tool_calls": [{"index": 0, "id": "call-1", "function": {"name": "weather", "arguments": ""}}]}
        for piece in ('{"city"', ': "Paris"}'):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}

    page, server = scripted_page(script)
    page.press("KeyS", "Alt")
    page.js("document.querySelector('#tools').closest('details').open = true")
    page.js("document.querySelector('#tools').value = '[{]'")
    page.click("#settings-done")
    page.wait("!document.querySelector('#settings-problem').hidden && document.querySelector('#settings').open")
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    page.js(f"document.querySelector('#tools').value = {json.dumps(json.dumps(tools))}")
    page.click("#settings-done")
    page.wait("!document.querySelector('#settings').open")
    ask(page, "How is the weather in Paris?")
    assert server.bodies.get(timeout=5)["tools"] == tools
    assert page.js("document.querySelector('.reasoning').open") is False
    assert page.text(".reasoning summary").startswith("Reason")
    page.click(".reasoning summary")
    page.wait("document.querySelector('.reasoning .prose').innerText === 'I should look.'")
    assert page.text(".call summary") == "Calls weather" and '"city": "Paris"' in page.text(".call pre")
    page.click(".result textarea")
    page.type("sunny")
    page.click(".result button")
    page.wait(f"{ANSWERED} && {LAST}.innerText.startsWith('It is sunny')")
    sent = server.bodies.get(timeout=5)["messages"]
    assert sent[1]["tool_calls"] == [{"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}]
    assert sent[2] == {"role": "tool", "tool_call_id": "call-1", "content": "sunny"}


def test_regenerating_and_editing_keep_what_was_there(scripted_page):
    answers = iter(["one", "two", "three"])

    def script(_):
        yield {"content": next(answers)}

    page, server = scripted_page(script)
    ask(page, "First question")
    page.press("KeyR", "Alt")
    page.wait(f"{ANSWERED} && {LAST}.innerText.startsWith('two')")
    assert page.text(".message.assistant .versions") == "2/2"
    page.press("ArrowUp", "Alt")
    page.js("document.querySelector('.edit textarea').select()")
    page.type("Second question")
    page.press("Enter")
    page.wait(f"{ANSWERED} && {LAST}.innerText.startsWith('three')")
    assert [server.bodies.get(timeout=5)["messages"][-1]["content"] for _ in range(3)] == ["First question"] * 2 + ["Second question"]
    page.click(".message.user .versions button")
    page.wait(f"{LAST}.innerText.startsWith('two')")
    page.click(".message.assistant .versions button")
    page.wait(f"{LAST}.innerText.startsWith('one')")
    assert page.text(".message.user .body") == "First question"


def test_settings_and_the_system_prompt_reach_the_model(scripted_page):
    page, server = scripted_page(says("fine"))
    page.press("KeyS", "Alt")
    page.js("document.querySelector('#system').focus()")
    page.type("Be brief.")
    for name, value in (("temperature", "0.5"), ("top_k", "7"), ("max_tokens", "20"), ("stop", "END")):
        page.js(f"document.querySelector('#s-{name}').focus()")
        page.type(value)
    page.click("#settings-done")
    ask(page, "Hello")
    body = server.bodies.get(timeout=5)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (body["temperature"], body["top_k"], body["max_tokens"], body["stop"]) == (0.5, 7, 20, ["END"])
    assert "top_p" not in body and "seed" not in body
    page.press("KeyN", "Alt")
    ask(page, "Again")
    assert server.bodies.get(timeout=5)["messages"][0]["content"] == "Be brief."


def test_failures_before_and_within_an_answer_are_shown(scripted_page):
    steps = iter([503, [{"content": "half"}, {"error": {"message": "the device is lost", "code": 500}}]])

    def script(_):
        step = next(steps)
        yield from [step] if isinstance(step, int) else step

    page, _ = scripted_page(script)
    ask(page, "Hello")
    assert "failure 503" in page.text(".failure")
    page.press("KeyR", "Alt")
    page.wait(f"{ANSWERED} && {LAST}.innerText.includes('device is lost')")
    assert page.text(".message.assistant .body") == "half"


def test_a_screen_reader_hears_sentences_and_not_every_token(scripted_page):
    def script(_):
        for i in range(120):
            yield {"content": f"word{i}" + (". " if i % 10 == 9 else " ")}
            time.sleep(0.03)

    page, _ = scripted_page(script)
    page.js("""(() => { window.heard = [];
        new MutationObserver(() => window.heard.push(document.querySelector('#announcer').textContent))
            .observe(document.querySelector('#announcer'), {childList: true, characterData: true, subtree: true}); })()""")
    ask(page, "Speak")
    heard = page.js("window.heard")
    assert 2 <= len(heard) <= 8, heard
    assert "word0" in " ".join(heard) and "word119" in heard[-1] and "End of the answer" in heard[-1]
    assert page.js("document.querySelector('#log').closest('[aria-live]')") is None


def test_conversations_can_be_exported_imported_and_deleted(scripted_page, tmp_path):
    page, _ = scripted_page(says("an answer"))
    ask(page, "To be kept")
    page.browser.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=page.context,
                      downloadPath=str(tmp_path), eventsEnabled=True)
    page.click("#open-data")
    page.click("#export-all")
    deadline = time.monotonic() + 30
    while not any(event["method"] == "Browser.downloadProgress" and event["params"]["state"] == "completed"
                  for event in page.browser.events):
        page.browser.read(0.1)
        assert time.monotonic() < deadline, "no download"
    exported, = (file.read_text() for file in tmp_path.iterdir())
    page.js("document.querySelector('#data').close()")
    page.click("#conversations li:not(.group) button.icon")
    page.wait("!document.querySelector('#conversations .pick')")
    page.click(".toast button")
    page.wait("!!document.querySelector('#conversations .pick')")
    page.click("#open-data")
    page.click("#delete-all")
    page.wait("!document.querySelector('#conversations .pick')")

    def import_text(text):
        page.js(f"""(() => {{
            const files = new DataTransfer();
            files.items.add(new File([{json.dumps(text)}], "x.json"));
            const input = document.querySelector("#import-file");
            input.files = files.files;
            input.dispatchEvent(new Event("change"));
        }})()""")

    for broken in ("{", "[]", "null", '{"conversations": 3}', '{"conversations": [null, 1, {}]}'):
        import_text(broken)
    page.wait("[...document.querySelectorAll('.toast')].filter((t) => t.innerText.includes('no conversations')).length === 5")
    import_text(exported)
    page.wait("!!document.querySelector('#conversations .pick')")
    page.click("#conversations .pick")
    page.wait("document.querySelectorAll('.message').length === 2")
    assert page.text(".message.assistant .body") == "an answer"
    assert page.complaints() == []


def test_deleting_a_conversation_ends_its_answer_for_good(scripted_page):
    def script(_):
        for _ in range(200):
            yield {"content": "more "}
            time.sleep(0.05)

    page, _ = scripted_page(script)
    page.js("document.querySelector('#input').focus()")
    page.type("Go on for long")
    page.press("Enter")
    page.wait(f"!!document.querySelector('#conversations .pick') && {LAST}.innerText.length > 20")
    page.click("#conversations li:not(.group) button.icon")
    page.wait("document.querySelectorAll('.message').length === 0 && document.querySelector('#stop').hidden")
    time.sleep(1.5)  # it saved itself every second
    page.open(page.js("location.href"))
    ready(page)
    assert page.js("import('/page/store.js').then(({ loadAll }) => loadAll()).then((all) => all.length)") == 0
