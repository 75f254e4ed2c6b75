"""A headless Chromium that is told what to do, over its own DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from websockets.sync.client import connect

FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)

# The innermost element that is seen and says just these words, or else contains them.
_FIND: Final = """
(words) => {
  const seen = e => e.getClientRects().length && getComputedStyle(e).visibility !== 'hidden';
  const said = e => (e.innerText || e.getAttribute('aria-label') || '').trim();
  const all = [...document.querySelectorAll('body *')].filter(seen);
  const found = all.filter(e => said(e) === words);
  const loose = found.length ? found : all.filter(e => said(e).includes(words));
  return loose.filter(e => !loose.some(o => o !== e && e.contains(o)))[0];
}
"""


class Browser:
    def __init__(self, width: int = 1440, height: int = 900) -> None:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        if chromium is None:
            sys.exit("no Chromium here: apt-get install chromium")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        profile = f"--user-data-dir={self._profile.name}"
        self._process = subprocess.Popen(
            [chromium, *FLAGS, profile, f"--window-size={width},{height}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._number = itertools.count(1)
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}

    def __enter__(self) -> Browser:
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        self._until(port_file.exists, 30, "Chromium")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
            page = next(p for p in json.load(answer) if p["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._ask("Page.enable")
        self._ask("Emulation.setDeviceMetricsOverride", **self._size)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)
        self._profile.cleanup()

    def open(self, url: str, *, says: str = "", within_s: float = 60) -> None:
        self._ask("Page.navigate", url=url)
        if says:
            self.wait(says, within_s)

    def wait(self, words: str, within_s: float = 60) -> None:
        """Until the page shows the words."""
        self._until(lambda: words in self.text(), within_s, f"{words!r} in the page")

    def wait_gone(self, words: str, within_s: float = 60) -> None:
        self._until(lambda: words not in self.text(), within_s, f"{words!r} to go")

    def text(self) -> str:
        return str(self.run("document.body ? document.body.innerText : ''") or "")

    def click(self, words: str) -> None:
        """Press what says just these words, as a mouse does."""
        where = f"(() => {{ const e = ({_FIND})({json.dumps(words)}); if (!e) return null;"
        where += " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
        where += " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        self._until(lambda: self.run(where), 30, f"{words!r} to press")
        time.sleep(0.3)  # what scrolls or slides in comes to rest
        x, y = self.run(where)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, placeholder: str, words: str) -> None:
        """Write into the last field whose placeholder begins so, and press Enter."""
        begins = json.dumps(placeholder)
        found = self.run(
            "(() => { const e = [...document.querySelectorAll('input')].filter("
            f"e => (e.placeholder || '').startsWith({begins})).pop();"
            " if (!e) return false; e.focus(); e.select(); return true; })()"
        )
        if not found:
            raise LookupError(f"no field {placeholder!r}")
        self._ask("Input.insertText", text=words)
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
            self._ask("Input.dispatchKeyEvent", type=kind, **key)

    def press_last(self, words: str) -> None:
        """Press the last button that begins so: a dialog stands behind the page it covers."""
        self.run(
            "[...document.querySelectorAll('button')].filter("
            f"e => e.innerText.trim().startsWith({json.dumps(words)})).pop().click()"
        )

    def run(self, script: str) -> Any:
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def picture(self, path: Path, *, settle_s: float = 2.0) -> None:
        time.sleep(settle_s)
        shot = self._ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._number)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _until(self, look: Any, within_s: float, what: str) -> None:
        end = time.monotonic() + within_s
        while not look():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {within_s:.0f} s in vain for {what}")
            time.sleep(0.25)
