"""Pages as a browser reads them, and texts that try to become markup."""

from html.parser import HTMLParser

HOSTILE = [
    "<script>alert(1)</script>",
    '"',
    "'",
    "</td></table>",
    "<!--",
    "&lt;",
    "<img src=x onerror=y>",
    "]]>",
    "|",
    "\n",
]


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.content = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.content += data
