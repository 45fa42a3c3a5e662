"""Opens a report in a headless Chromium and tells what a reader would meet, as one JSON object.

Usage: page.py BROWSER REPORT.html [FOLDER-FOR-PICTURES]

Speaks the DevTools protocol over a pipe, so that it needs nothing beyond Python's own library.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

browser, report = sys.argv[1:3]
pictures = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None


class Page:
    """One tab. Commands are answered in order; events are kept."""

    def __init__(self, profile):
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()

        def wire():
            # The browser reads from descriptor 3 and writes to 4.
            os.dup2(commands, 10), os.dup2(answers, 11)
            os.dup2(10, 3), os.dup2(11, 4)

        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([browser, *arguments], preexec_fn=wire, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands), os.close(answers)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def receive(self):
        while b"\0" not in self.buffer:
            part = os.read(self.answers, 1 << 20)
            if not part:
                raise SystemExit("the browser ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.receive())

    def ask(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def theme(self, theme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def picture(self, name):
        if pictures:
            data = self.call("Page.captureScreenshot", format="png")["data"]
            (pictures / f"{name}.png").write_bytes(base64.b64decode(data))


# Sets a field as a reader does, and counts the rules that are left.
SET = """((id, value) => {
  const field = document.getElementById(id)
  field.value = value
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'))
  return document.querySelectorAll('#rules > li:not([hidden])').length
})"""
# The contrast of a text with what is behind it (WCAG 2), the least of all visible ones.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const bytes = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const light = (rgb) => rgb.slice(0, 3).map((c) => (c /= 255, c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = bytes(getComputedStyle(element).backgroundColor)
      if (color[3] === 255) return color
    }
    return [255, 255, 255, 255]
  }
  let least = [99, '']
  for (const element of document.querySelectorAll('main *')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
    if (!text || !element.checkVisibility() || element.closest('svg')) continue
    const [a, b] = [light(bytes(getComputedStyle(element).color)), light(behind(element))]
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05)
    if (ratio < least[0]) least = [ratio, element.className + ': ' + element.textContent.slice(0, 40)]
  }
  return least
})()"""

found = {}
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    page = Page(profile)
    for domain in ["Page", "Runtime", "Log", "Network"]:
        page.call(f"{domain}.enable")
    page.size(1200, 1500)
    page.call("Page.navigate", url=pathlib.Path(report).resolve().as_uri())
    page.wait("Page.loadEventFired")

    found["rules"] = page.ask("document.querySelectorAll('#rules > li').length")
    found["shown"] = {
        f"{field}={value}": page.ask(f"{SET}({json.dumps(field)}, {json.dumps(value)})")
        for field, value in [("status", "open"), ("status", "pass"), ("status", "not_applicable"),
                             ("status", "not_reviewed"), ("status", "changed"), ("status", ""),
                             ("severity", "high"), ("severity", ""), ("kind", "audit_policy"), ("kind", ""),
                             ("search", "guest RENAMED"), ("search", "no such text at all"), ("search", "")]}
    found["links"] = page.ask("[...document.links].map((link) => link.getAttribute('href'))")
    found["unlabelled"] = page.ask(
        "[...document.querySelectorAll('input,select,button')].filter((f) => !(f.labels?.length || f.textContent.trim())).length")
    for theme in ["light", "dark"]:
        page.theme(theme)
        found[theme] = page.ask("getComputedStyle(document.body).backgroundColor")
        page.ask("scrollTo(0, 0)")
        page.picture(theme)
        page.ask("for (const details of [...document.querySelectorAll('#rules details')].slice(0, 4)) details.open = true")
        found[f"{theme}_contrast"] = page.ask(CONTRAST)
        page.picture(f"{theme}-open")
        page.ask("document.querySelector('#rules').nextElementSibling.scrollIntoView()")
        page.picture(f"{theme}-behind")
        page.ask("for (const details of document.querySelectorAll('details')) details.open = false")
    page.ask("document.getElementById('theme').click()")
    found["switched"] = page.ask("getComputedStyle(document.body).backgroundColor")
    page.ask("document.getElementById('theme').click()")
    page.theme("light")
    page.ask("delete document.documentElement.dataset.theme")
    page.size(400, 1800)
    found["narrow_width"] = page.ask("document.documentElement.scrollWidth")
    page.ask("scrollTo(0, 0)")
    page.picture("narrow")
    page.ask("document.querySelector('#rules details').open = true; document.getElementById('rules').scrollIntoView()")
    page.picture("narrow-open")
    page.ask("document.querySelector('table').scrollIntoView()")
    found["narrow_width_open"] = page.ask("document.documentElement.scrollWidth")
    page.picture("narrow-table")
    page.ask("document.querySelector('#rules details').open = false")
    page.size(1200, 1500)
    pdf = base64.b64decode(page.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"])
    found["pdf_bytes"] = len(pdf) if pdf.startswith(b"%PDF-") else 0
    found["open_after_print"] = page.ask("document.querySelectorAll('details[open]').length")
    if pictures:
        (pictures / "page.pdf").write_bytes(pdf)
    page.ask("0")  # whatever was on its way has come
    found["complaints"] = [
        event["params"] for event in page.events
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
        or event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning")]
    found["requests"] = [
        event["params"]["request"]["url"] for event in page.events if event.get("method") == "Network.requestWillBeSent"]
    page.process.terminate()
    page.process.wait()
print(json.dumps(found))
