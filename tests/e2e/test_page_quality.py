"""What holds for the page as a whole: size, privacy, contrast, keyboard, names, phones."""
import urllib.request

import pytest
from page_rig import ANSWERED, ask, browser, open_page, page_server, says, scripted_page  # noqa: F401 (the fixtures)


def test_the_page_is_small_and_asks_nobody_else(browser, page_server):
    page = open_page(browser, page_server)
    ask(page, "What is the capital of Japan?")
    page.press("KeyE", "Alt")
    page.wait("document.querySelector('#figure-running').innerText === '0'")
    requested = page.requested()
    assert requested and all(url.startswith(page_server.url + "/") for url in requested), requested
    files = {url for url in requested if url == page_server.url + "/" or "/page/" in url}
    size = 0
    for url in files:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})) as reply:
            size += len(reply.read())
            assert "unsafe" not in reply.headers["Content-Security-Policy"]
    assert len(files) > 10 and size < 100_000, size
    assert page.js("fetch('https://example.org/').then(() => 'went out', () => 'refused')") == "refused"
    assert page.js("(() => { try { document.body.innerHTML = '<p>'; return 'taken' } catch { return 'refused' } })()") == "refused"


# Every text's contrast with what is really behind it, as WCAG 2 defines it; [ratio, wanted, text] where it is too low.
LOW_CONTRAST = """(() => {
    const parse = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        const layers = [];
        for (let e = element; e; e = e.parentElement) {
            const colour = parse(getComputedStyle(e).backgroundColor);
            if (colour[3] > 0) layers.push(colour);
            if (colour[3] === 1) break;
        }
        return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    };
    const low = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || element.placeholder;
        const box = element.getBoundingClientRect();
        if (!own || !box.width || element.closest("[hidden], .unseen, .skip") || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        const style = getComputedStyle(element, element.placeholder && !element.value ? "::placeholder" : null);
        const background = behind(element);
        const [a, b] = [light(over(parse(style.color), background)), light(background)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const size = parseFloat(style.fontSize);
        const wanted = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
        if (ratio < wanted) low.push([ratio.toFixed(2), wanted, element.tagName + ": " + (element.innerText || element.placeholder || "").slice(0, 40)]);
    }
    return low;
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_enough_contrast(scripted_page, dark):
    page, _ = scripted_page(says("# A\n\nText, `code`, [link](https://example.org).\n\n> quote\n\n```py\ndef f(): return 'x' + 1 # y\nf(2)\n```\n"
                                 "\n|a|b|\n|-|-|\n|1|2|\n\n1. item"), dark=dark)
    assert page.js(LOW_CONTRAST) == [], "the empty page"
    ask(page, "Hello")
    assert page.js(LOW_CONTRAST) == [], "the chat"
    for key, dialog in (("KeyS", "settings"), ("Slash", "help")):
        page.press(key, "Alt")
        page.wait(f"document.querySelector('#{dialog}').open")
        assert page.js(LOW_CONTRAST.replace('"body *"', f'"#{dialog} *"')) == [], dialog
        page.press("Escape")
    page.press("KeyE", "Alt")
    page.wait("document.querySelector('#figure-running').innerText === '0'")
    assert page.js(LOW_CONTRAST) == [], "the engine"


def test_the_chosen_theme_wins_over_the_systems_and_stays(browser, page_server):
    page = open_page(browser, page_server, dark=True)
    ink = lambda: page.js("getComputedStyle(document.body).color")
    dark = ink()
    page.js("(() => { const theme = document.querySelector('#theme'); theme.value = 'light'; theme.dispatchEvent(new Event('change')); })()")
    light = ink()
    assert light != dark
    page.open(page_server.url, dark=True)
    assert ink() == light


def test_the_keyboard_alone_is_enough(browser, page_server):
    page = open_page(browser, page_server)
    page.js("""(() => {
        document.activeElement.blur();
        const look = ({outlineStyle, outlineColor, boxShadow, borderColor, left}) => [outlineStyle, outlineColor, boxShadow, borderColor, left].join();
        window.looks = (e) => look(getComputedStyle(e)) + look(getComputedStyle(e.closest("#composer") ?? e));
        window.before = new Map([...document.querySelectorAll("*")].map((e) => [e, looks(e)]));
    })()""")
    reached, stops = set(), 0
    while stops < 40:
        page.press("Tab")
        stops += 1
        name, visible = page.js("""(() => {
            const at = document.activeElement;
            return [at.id || at.className || at.tagName, at === document.body || looks(at) !== before.get(at)];
        })()""")
        assert visible, f"no focus to be seen on {name}"
        if name in reached:
            break
        reached.add(name)
    assert {"skip", "new", "open-settings", "open-data", "open-help", "theme", "title", "view-chat", "view-engine", "input"} <= reached
    page.js("document.querySelector('#input').focus()")
    page.type("What is the capital")
    page.press("Enter", "Shift")
    page.type("of Japan?")
    assert page.js("document.querySelectorAll('.message').length") == 0
    page.press("Enter")
    page.wait(ANSWERED)
    assert page.js("document.activeElement.id") == "input"
    page.press("Slash", "Alt")
    page.wait("document.querySelector('#help').open")
    assert page.js("document.querySelectorAll('#shortcuts dt').length") == 9
    page.press("Escape")
    page.wait("!document.querySelector('#help').open")
    page.press("KeyN", "Alt")
    page.wait("document.querySelectorAll('.message').length === 0")
    assert page.js("document.activeElement.id") == "input"


def test_everything_that_can_be_pressed_or_filled_has_a_name(scripted_page):
    page, _ = scripted_page(says("```py\nx\n```"))
    ask(page, "Hello")
    for prepare in ("true", "document.querySelector('#settings').showModal()", "document.querySelector('#view-engine').click()"):
        page.js(f"void {prepare}")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        for node in nodes:
            role = node.get("role", {}).get("value")
            if not node.get("ignored") and role in ("button", "textbox", "combobox", "spinbutton", "link", "checkbox", "img", "dialog", "article"):
                assert node["name"]["value"].strip(), (role, node)
        page.js("document.querySelector('#settings').close()")


def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser, page_server):
    page = open_page(browser, page_server, width=360, height=640, scale=2, mobile=True)
    fits = """["html", "body", "main", "header", "#scroller", "#engine"].map((name) => document.querySelector(name))
        .every((e) => e.scrollWidth <= e.clientWidth && e.clientWidth <= innerWidth)"""
    ask(page, "What is the capital of Japan?")
    assert page.js(fits)
    small = page.js("""[...document.querySelectorAll("main button, main select")].filter((e) => e.checkVisibility()).map((e) => [e.id || e.title, e.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.height < 32 || box.width < 32)).map(([name, box]) => [name, box.width, box.height])""")
    assert small == [], "targets for a thumb"
    assert page.js("parseFloat(getComputedStyle(document.querySelector('#input')).fontSize)") >= 16, "or the phone zooms in"
    assert page.js("getComputedStyle(document.querySelector('#sidebar')).visibility") == "hidden"
    page.click("#menu")
    page.wait("getComputedStyle(document.querySelector('#sidebar')).visibility === 'visible' && document.querySelector('#menu').ariaExpanded === 'true'")
    page.press("Escape")
    page.wait("getComputedStyle(document.querySelector('#sidebar')).visibility === 'hidden'")
    page.click("#view-engine")
    page.wait("document.querySelector('#figure-running').innerText === '0'")
    assert page.js(fits)
