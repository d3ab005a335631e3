"""A headless Chromium, driven over its DevTools pipe: JSON messages that end in a zero byte, on descriptors 3 and 4.

Enough of a driver for one page, and nothing to install but the browser. OCTAVO_CHROMIUM names another one."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell", "chrome")
# Windows virtual key codes, as the protocol wants them; a character without one goes by its own.
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "Home": 36, "End": 35, "Space": 32}
MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}


def find_browser():
    """The browser's path, or None."""
    named = os.environ.get("OCTAVO_CHROMIUM")
    return named if named else next((path for path in map(shutil.which, NAMES) if path), None)


class Chromium:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="octavo-chromium-", ignore_cleanup_errors=True)
        to_browser, self.to_browser = os.pipe()
        self.from_browser, from_browser = os.pipe()
        # Chromium wants them as 3 and 4; the shell moves them there, from numbers that these two are not.
        child_ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser, from_browser)]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{child_ends[0]} 4>&{child_ends[1]}', "bash", find_browser(), "--headless", "--remote-debugging-pipe",
             f"--user-data-dir={self.profile.name}", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", "--mute-audio", "about:blank"],
            pass_fds=child_ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (to_browser, from_browser, *child_ends):
            os.close(fd)
        self.buffer = b""
        self.next_id = 0
        self.replies = {}
        self.events = []

    def call(self, method, session=None, timeout=60, **params):
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_browser, data):]
        deadline = time.monotonic() + timeout
        while self.next_id not in self.replies:
            self.read(deadline - time.monotonic())
            assert time.monotonic() < deadline, f"{method}: Chromium does not answer"
        reply = self.replies.pop(self.next_id)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def read(self, seconds=0):
        """Takes in what has come, waiting up to `seconds` for something."""
        if not select.select([self.from_browser], [], [], max(0, seconds))[0]:
            return
        data = os.read(self.from_browser, 1 << 20)
        assert data, "Chromium has ended"
        *messages, self.buffer = (self.buffer + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.replies[message["id"]] = message
            else:
                self.events.append(message)

    def page(self, url, width=1200, height=800, scale=1, mobile=False, dark=False):
        """A page of its own storage."""
        return Page(self, url, width, height, scale, mobile, dark)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)
        self.profile.cleanup()


class Page:
    def __init__(self, browser, url, width, height, scale, mobile, dark):
        self.browser = browser
        self.context = browser.call("Target.createBrowserContext")["browserContextId"]
        self.open(url, width, height, scale, mobile, dark)

    def open(self, url, width=1200, height=800, scale=1, mobile=False, dark=False):
        """Another tab of the same storage takes this one's place."""
        target = self.browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = self.browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        if mobile:
            self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        self.set_dark(dark)
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def call(self, method, **params):
        return self.browser.call(method, session=self.session, **params)

    def set_dark(self, dark):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def js(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, expression, seconds=30):
        """Waits until the expression is true; returns its value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.js(expression)
            if value:
                return value
            self.browser.read(0.02)
        raise AssertionError(f"not within {seconds} s: {expression}\nThe page says: {self.js('document.body.innerText')[:2000]}")

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")

    def click(self, selector):
        where = self.js(f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: "nearest"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def type(self, text):
        """Into whatever has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key, *modifiers):
        """A key by its name or character, with modifiers held: press("Enter"), press("KeyN", "Alt")."""
        letter = key[3:].lower() if key.startswith("Key") else key
        params = {"key": letter, "code": key, "windowsVirtualKeyCode": KEYS.get(key, ord(letter[0].upper())),
                  "modifiers": sum(MODIFIERS[name] for name in modifiers)}
        if key in ("Enter", "Space") and not modifiers:
            params["text"] = "\r" if key == "Enter" else " "
        self.call("Input.dispatchKeyEvent", type="keyDown" if "text" in params else "rawKeyDown", **params)
        self.call("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in params.items() if k != "text"})

    def mine(self, method):
        return [event["params"] for event in self.browser.events
                if event.get("sessionId") == self.session and event["method"] == method]

    def requested(self):
        """Addresses of all requests so far."""
        return [params["request"]["url"] for params in self.mine("Network.requestWillBeSent")]

    def complaints(self):
        """What the page's console holds that should not be there: exceptions, errors, breaches of the policy."""
        errors = [params["exceptionDetails"] for params in self.mine("Runtime.exceptionThrown")]
        return errors + [params["entry"]["text"] for params in self.mine("Log.entryAdded") if params["entry"]["level"] == "error"]

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
