"""The documentation as a book: python site/build.py [MDBOOK], into target/site.

docs/README.md is the table of contents, for readers of the repository and for the site: each `## ` is a part, each
line of a list a chapter with its first link, and its other links are below that. Pages stand in the book where they
stand in the repository, so that relative links lead to the same place in both.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BOOK = TARGET / "book"
CONTENTS = ROOT / "docs" / "README.md"
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


def main(mdbook="mdbook"):
    chapters = contents()
    shutil.rmtree(BOOK, ignore_errors=True)
    shutil.rmtree(TARGET / "site", ignore_errors=True)
    source = BOOK / "src"
    source.mkdir(parents=True)
    pages = [page for _, _, page in chapters if page]
    more = []
    for page in pages:
        place(page, source)
        for file in sorted(set(linked(page))):
            if file.suffix != ".md":
                place(file, source)
            elif file not in pages:
                pages.append(file)
                more.append((0, re.search(r"^# (.*)", file.read_text(), re.M)[1], file))
    # Pages that a page links to, and the table of contents does not have.
    chapters += [(0, "More", None), *more] if more else []
    (source / "SUMMARY.md").write_text(summary(chapters))
    for file in ("book.toml", "site.css", "site.js"):
        shutil.copy(ROOT / "site" / file, BOOK / file)
    subprocess.run([mdbook, "build", BOOK], check=True, env=os.environ | {"RUST_LOG": os.environ.get("RUST_LOG", "warn")})


def contents():
    """Depth, title and page of each chapter; a part has no page."""
    found = []
    # An item goes on in the lines that are indented.
    text = re.sub(r"\n +", " ", CONTENTS.read_text())
    for line in text.splitlines():
        if line.startswith("## "):
            found.append((0, line[3:], None))
        elif line.startswith("- "):
            for depth, (title, target) in enumerate(LINK.findall(line)):
                if "#" not in target:
                    found.append((min(depth, 1), title, (CONTENTS.parent / target).resolve()))
    # It is a page itself, behind the one that begins the site.
    return [*found[:2], (0, "All pages", CONTENTS), *found[2:]]


def summary(chapters):
    lines = ["# Summary", ""]
    for depth, title, page in chapters:
        if not page:
            lines += ["", f"# {title}", ""]
        else:
            lines.append(f"{'    ' * depth}- [{title}]({page_name(page.relative_to(ROOT).as_posix())})")
    return "\n".join(lines) + "\n"


def linked(page):
    """The files of this repository to which the page links."""
    for _, target in LINK.findall(re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.S | re.M)):
        path = target.partition("#")[0]
        if path and not re.match(r"[a-z]+:", path):
            file = (page.parent / path).resolve()
            if file.is_dir():
                file /= "README.md"
            if not file.is_file():
                sys.exit(f"{page.relative_to(ROOT)} links to {target}, which is no file, nor a directory with a README.md")
            yield file


def place(file, source):
    to = source / page_name(file.relative_to(ROOT).as_posix())
    to.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".md":
        to.write_text(with_site_links(file.read_text(), file.parent))
    else:
        shutil.copyfile(file, to)


def with_site_links(text, directory):
    """Links to pages as the site names them; one to a directory leads to its page."""
    def site_link(link):
        path, hash_mark, anchor = link[2].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        if (directory / path).is_dir():
            path = f"{path.rstrip('/')}/README.md"
        return link[0].replace(f"({link[2]})", f"({page_name(path)}{hash_mark}{anchor})")
    return LINK.sub(site_link, text)


def page_name(path):
    """What the repository shows of a directory is README.md, on a site it is index.html. mdBook renames the page, but not
    what links to it."""
    return re.sub(r"\bREADME\.md$", "index.md", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
