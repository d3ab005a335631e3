"""The page at `/` in a real browser, with the real server and its model behind it."""
import re
import threading
import time

from conftest import Server
from page_rig import ANSWERED, LAST, ask, browser, open_page, page_server, ready  # noqa: F401 (the fixtures)


def test_a_chat_streams_and_names_model_context_and_speed(browser, page_server):
    page = open_page(browser, page_server)
    assert page.text(".welcome h2") == "octavo-tiny"
    assert "2,048" in page.text(".welcome")
    ask(page, "What is the capital of Japan?")
    assert page.text(".message.assistant .body") == "The capital of Japan is Tokyo."
    stats = page.text(".message.assistant .stats").replace("\u00a0", " ")
    assert re.fullmatch(r"octavo-tiny · 8 tokens · [\d.,]+ tok/s · first token [\d.]+ m?s", stats), stats
    assert re.fullmatch(r"\d+ of 2,048 tokens", page.text("#context").replace("\u00a0", " "))
    assert page.text("#conversations .current") == "What is the capital of Japan?"
    assert page.complaints() == []


def test_a_reload_keeps_the_conversation_and_it_goes_on(browser, page_server):
    page = open_page(browser, page_server)
    ask(page, "What is the capital of France?")
    address = page.js("location.href")
    page.open(page_server.url)
    ready(page)
    page.wait("!!document.querySelector('#conversations .pick')")
    page.click("#conversations .pick")
    page.wait("document.querySelectorAll('.message').length === 2")
    assert "Paris" in page.text(".message.assistant .body")
    page.open(address)
    ready(page)
    page.wait("document.querySelectorAll('.message').length === 2")
    page.js("document.querySelector('#input').focus()")
    page.type("What is the capital of Italy?")
    page.press("Enter")
    page.wait(f"document.querySelectorAll('.message').length === 4 && {ANSWERED}")
    assert "Rome" in page.js(f"{LAST}.innerText")


def test_stop_ends_the_answer_and_the_request_behind_it(browser, page_server):
    page = open_page(browser, page_server)
    page.js("localStorage.setItem('octavo.defaults', JSON.stringify({sampling: {ignore_eos: true}}))")
    page.press("KeyN", "Alt")
    page.js("document.querySelector('#input').focus()")
    page.type("Count for ever.")
    page.press("Enter")
    page.wait(f"!document.querySelector('#stop').hidden && {LAST}.innerText.length > 20")
    page.click("#stop")
    page.wait(ANSWERED)
    assert page.text(".message.assistant .stats").endswith("stopped")
    kept = page.text(".message.assistant .body")
    assert page_server.wait_idle()["vllm:num_requests_running"] == 0
    page.open(page_server.url)
    page.wait("!!document.querySelector('#conversations .pick')")
    page.click("#conversations .pick")
    page.wait("document.querySelectorAll('.message').length === 2")
    assert page.text(".message.assistant .body") == kept


def test_the_engine_view_agrees_with_the_metrics(browser, page_server):
    page = open_page(browser, page_server)
    page.press("KeyE", "Alt")
    stop = threading.Event()
    started = threading.Barrier(4)
    prompt = [{"role": "user", "content": "Tell me about the capital of Japan, please, at length. " * 4}]
    page_server.client.chat.completions.create(model="octavo-tiny", messages=prompt, max_tokens=1)  # the prefix is there

    def stream():
        with page_server.client.chat.completions.create(model="octavo-tiny", stream=True, max_tokens=1900,
                                                        extra_body={"ignore_eos": True}, messages=prompt) as chunks:
            for i, _ in enumerate(chunks):
                if i == 1:
                    started.wait(60)
                if stop.is_set():
                    break

    threads = [threading.Thread(target=stream) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait(60)
    try:
        page.wait("document.querySelector('#figure-running').innerText === '3'")
        page.wait("parseFloat(document.querySelector('#figure-output').innerText) > 0")
        assert page_server.metrics()["vllm:num_requests_running"] == 3
        blocks = {state: int(page.js(f"document.querySelector('#maps .key.{state}').dataset.blocks"))
                  for state in ("used", "shared", "cached", "free")}
        total = sum(blocks.values())
        assert blocks["shared"] > 0 and blocks["used"] > 0, "three streams share their prompt and hold their answers"
        info = next(name for name in page_server.metrics() if name.startswith("vllm:cache_config_info"))
        assert f'num_gpu_blocks="{total}"' in info
        assert page.js("document.querySelectorAll('.sequence').length") == 3
        # The picture shows what the legend counts.
        page.wait("""(() => {
            const canvas = document.querySelector('#maps canvas');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const used = getComputedStyle(document.documentElement).getPropertyValue('--used').trim();
            const [r, g, b] = [1, 3, 5].map((i) => parseInt(used.slice(i, i + 2), 16));
            for (let i = 0; i < pixels.length; i += 4) if (pixels[i] === r && pixels[i + 1] === g && pixels[i + 2] === b) return true;
            return false;
        })()""")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    metrics = page_server.wait_idle()
    page.wait("document.querySelector('#figure-running').innerText === '0' && document.querySelector('#maps .key.used').dataset.blocks === '0'")
    assert metrics["vllm:kv_cache_usage_perc"] == 0
    assert page.text("#figure-kv") == "0 %"
    hits = metrics["vllm:prefix_cache_hits_total"] / metrics["vllm:prefix_cache_queries_total"]
    assert abs(float(page.text("#figure-hits").split()[0]) - 100 * hits) <= 0.5
    assert page.complaints() == []


def test_nothing_asks_the_engine_while_its_view_is_not_shown(browser, page_server):
    page = open_page(browser, page_server)
    page.press("KeyE", "Alt")
    page.wait("document.querySelector('#figure-running').innerText === '0'")
    page.press("KeyE", "Alt")
    page.wait("document.querySelector('#engine').hidden")
    time.sleep(0.7)  # one that was under way
    page.browser.read()
    before = len([url for url in page.requested() if url.endswith("/engine/state")])
    time.sleep(1.2)
    ask(page, "What is the capital of Spain?")
    assert len([url for url in page.requested() if url.endswith("/engine/state")]) == before


def test_a_server_with_keys_asks_for_one_and_the_browser_keeps_it(browser):
    with Server("--api-key", "secret") as server:
        page = browser.page(server.url)
        page.wait("document.querySelector('#key').open")
        page.type("wrong")
        page.press("Enter")
        page.wait("document.querySelector('#key').open && !document.querySelector('#key-problem').hidden")
        page.js("document.querySelector('#key-input').focus()")
        page.type("secret")
        page.press("Enter")
        ready(page)
        ask(page, "What is the capital of Japan?")
        assert "Tokyo" in page.text(".message.assistant .body")
        page.press("KeyE", "Alt")
        page.wait("document.querySelector('#figure-running').innerText === '0'")
        page.open(server.url)
        ready(page)
        assert not page.js("document.querySelector('#key').open")


def test_what_the_server_refuses_is_said_in_its_words(browser, page_server):
    page = open_page(browser, page_server)
    ask(page, "word " * 3000)
    assert "2048" in page.text(".failure")
