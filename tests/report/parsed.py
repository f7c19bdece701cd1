"""A page as its readers see it, without a browser: tags, text, and the columns of its script."""

import base64
import json
import zlib
from html.parser import HTMLParser

import numpy as np

import epsball as eb


class Parsed(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.scripts = [], [], {}
        self._script = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data
        else:
            self.text.append(data)

    @property
    def said(self):
        return " ".join(" ".join(self.text).split())


def parsed(folder, *more, **options):
    return Parsed(eb.page(folder, *more, **options).html)


def payload(page):
    """Return the columns as the script reads them."""
    meta = json.loads(page.scripts["meta"])
    content = zlib.decompress(base64.b64decode(page.scripts["columns"]))
    types = {"Uint8": "<u1", "Uint16": "<u2", "Uint32": "<u4", "Float32": "<f4"}
    return meta, {
        column["name"]: np.frombuffer(content, types[column["type"]], meta["total"], column["at"])
        for column in meta["columns"]
    }
