"""Checks built pages: ``python tests/check_pages.py build/pages``; exit code 1 at a fault.

Every link inside them leads to a file and to a place in it, nothing is loaded from a network, and the gallery gives the
answer of every notebook.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("video", "src"), ("source", "src")}
URL = re.compile(r"url\(['\"]?((?:https?:)?//[^)]*)")
GOOD = "every link leads somewhere, nothing is loaded from a network, every notebook has its answer"
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


class Page(HTMLParser):
    """The links and the places of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[tuple[str, str, str]] = []
        self.places: set[str] = {""}
        self.text = path.read_text("utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append((tag, name, value))


def faults(root: Path) -> list[str]:
    """List what is wrong with the pages under a folder."""
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html"))}
    found = [f"{root} holds no index.html"] if (root / "index.html").resolve() not in pages else []
    for path, page in pages.items():
        for tag, name, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if (tag, name) in LOADED and parts.scheme != "data":
                    found.append(f"{path}: {tag} is loaded from {link[:100]}")
                continue
            file, place = urldefrag(unquote(link))
            target = (path.parent / file.split("?")[0]).resolve() if file else path
            if not target.is_file():
                found.append(f"{path}: {link} is not there")
            elif target in pages and place not in pages[target].places:
                found.append(f"{path}: {link} names no place of the page")
    for path in sorted(root.rglob("*.css")):
        found += [f"{path}: loads {url}" for url in URL.findall(path.read_text("utf-8"))]
    return found + unanswered(root)


def unanswered(root: Path) -> list[str]:
    """List the notebooks whose card is missing in the gallery, or has no sentence or image."""
    gallery = root / "gallery" / "index.html"
    cards = gallery.read_text("utf-8").split("<section")[2:] if gallery.is_file() else []
    good = [card for card in cards if "<li>" in card and "<img" in card]
    books = [path.stem.split("_")[0] for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    return [f"{gallery}: no answer of {name}" for name in books if not any(f'href="{name}' in card for card in good)]


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print("\n".join(wrong) or GOOD)
    sys.exit(bool(wrong))
