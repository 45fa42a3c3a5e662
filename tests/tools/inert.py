"""Reads a folder of reports as those do who use them, and says what is alive in it that should be text.

Usage: inert.py REPORTS SCHEMAS. The reports are of an image that says `<img src=x onerror=..>`, formulas, and more.
Exit code 1, with a line for each complaint.
"""

import csv
import html.parser
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

import jsonschema
from junitparser import JUnitXml

reports, schemas = map(pathlib.Path, sys.argv[1:])
complaints = []


def complain(path, what):
    complaints.append(f"{path.name}: {what}")


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: elements, and attributes that run something."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements, self.running, self.text = {}, [], []

    def handle_starttag(self, tag, attributes):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.running += [f"<{tag} {name}={value!r}>" for name, value in attributes
                         if name.startswith("on") or str(value).strip().lower().startswith("javascript:")]

    def handle_data(self, data):
        self.text.append(data)


names = {path.name for path in reports.iterdir()}
for name in ("report.html", "findings.csv", "summary.md", "checklist.ckl", "checklist.cklb", "results.sarif",
             "results.xccdf.xml", "results.junit.xml", "results.hdf.json", "assessment-results.oscal.json"):
    if name not in names:
        complaints.append(f"{name} is missing")

for path in sorted(reports.iterdir()):
    data = path.read_bytes()
    text = data.decode("utf-8")
    if path.suffix in (".json", ".sarif", ".cklb"):
        document = json.loads(text)
        for schema in schemas.glob("*.schema.json"):
            if path.name.endswith(schema.name.removesuffix(".schema.json")):
                errors = jsonschema.Draft202012Validator(json.loads(schema.read_text())).iter_errors(document)
                for error in list(errors)[:5]:
                    complain(path, f"{error.json_path}: {error.message[:200]}")
    elif path.suffix in (".ckl", ".xml"):
        root = xml.fromstring(data)
        strange = {element.tag for element in root.iter() if element.tag.split("}")[-1].lower() in ("img", "script", "b")}
        if strange:
            complain(path, f"elements of the image's: {strange}")
    elif path.suffix == ".csv":
        rows = list(csv.reader(text.splitlines(keepends=True), strict=True))
        if len({len(row) for row in rows}) != 1:
            complain(path, "rows of different lengths")
        for cell in (cell for row in rows for cell in row):
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
                complain(path, f"a formula: {cell[:60]!r}")
    elif path.suffix == ".html":
        page = Page()
        page.feed(text)
        if page.running or "img" in page.elements or page.elements.get("script", 0) > 1:
            complain(path, f"{page.running} {page.elements}")
        if not any("onerror" in part for part in page.text):
            complain(path, "it does not show what the image says")
    elif path.suffix == ".md":
        if re.search(r"<\s*(img|script|/)", text) or re.search(r"(?<!\\)\]\(javascript:", text):
            complain(path, "mark-up of the image's")
        tables = [line for line in text.splitlines() if line.startswith("| ")]
        if any(len(re.findall(r"(?<!\\)\|", line)) not in (5, 6, 3, 7) for line in tables):
            complain(path, "a row with another number of cells")
JUnitXml.fromfile(str(reports / "results.junit.xml"))

print("\n".join(complaints))
sys.exit(1 if complaints else 0)
