"""Every link of the built site leads to a file and an anchor of it: python site/links.py DIRECTORY"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def broken(site):
    """Page and link of each that leads nowhere."""
    site = site.resolve()
    pages = {file: Page(file.read_text()) for file in site.rglob("*.html")}
    for file, page in pages.items():
        for link in page.links:
            path, anchor = urldefrag(link)
            if ":" in path.split("/")[0] or path.startswith("//"):
                continue
            # The page for what is not found has its links from the root.
            start = site if path.startswith("/") else file.parent
            to = (start / unquote(path).lstrip("/")).resolve() if path else file
            if to.is_dir():
                to /= "index.html"
            if site not in to.parents or not to.is_file():
                yield f"{file.relative_to(site)}: {link}"
            elif to in pages and unquote(anchor) not in pages[to].anchors:
                yield f"{file.relative_to(site)}: {link} (no such anchor)"


if __name__ == "__main__":
    found = sorted(set(broken(Path(sys.argv[1]))))
    sys.exit("\n".join(["broken links:", *found]) if found else 0)
