"""The site is made of the pages that the index lists, and its links are followed."""

import importlib.util

from harness import place


def module(name):
    """Of site/, which is no package: Python has a module of that name."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", place.ROOT / "site" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_links_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="deep/page.html#there">1</a><a href="#top">2</a><a href="https://example.com/no">3</a>'
        '<a href="deep/">4</a><img src="gone.svg"><a href="#gone">5</a>')
    (tmp_path / "deep" / "page.html").write_text(
        '<p id="there">x</p><a href="../index.html#top">1</a><a href="/index.html">2</a><a href="../deep/none.html">3</a>'
        '<a href="../index.html#none">4</a><a href="../../outside.html">5</a>')
    (tmp_path / "deep" / "index.html").write_text("x")
    (tmp_path.parent / "outside.html").write_text("x")
    assert sorted(module("links").broken(tmp_path)) == [
        "deep/page.html: ../../outside.html",
        "deep/page.html: ../deep/none.html",
        "deep/page.html: ../index.html#none (no such anchor)",
        "index.html: #gone (no such anchor)",
        "index.html: gone.svg",
    ]


def test_the_site_has_every_page_once():
    chapters = module("build").contents()
    pages = [page for _, _, page in chapters if page]
    assert len(pages) == len(set(pages))
    assert set((place.ROOT / "docs").rglob("*.md")) <= set(pages)
    # It begins with what the project is.
    assert pages[0] == place.ROOT / "README.md"
    assert [title for _, title, page in chapters if not page][0] == "Start"


def test_links_to_directories_lead_to_their_pages():
    build = module("build")
    links = "[a](../tests/fixtures) [b](kms/README.md#aws) [c](format.md) [d](https://example.com/README.md) [e](#top)"
    staged = build.with_site_links(links, place.ROOT / "docs")
    assert staged == "[a](../tests/fixtures/index.md) [b](kms/index.md#aws) [c](format.md) [d](https://example.com/README.md) [e](#top)"
