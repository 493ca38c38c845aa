#!/usr/bin/env python3
"""Dead links in documents: files that are not there, and headings that a page does not have.

    scripts/links.py FOLDER         every *.md below it; a link may not lead out of it
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6} +(.*?) *$", re.MULTILINE)
ELSEWHERE = re.compile(r"^(https?|mailto):")


def anchors(page):
    """The headings of a page as the usual viewers name them."""
    text = FENCE.sub("", page.read_text())
    seen, names = {}, set()
    for title in HEADING.findall(text):
        title = LINK.sub("]", title)
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        number = seen.get(name, 0)
        seen[name] = number + 1
        names.add(f"{name}-{number}" if number else name)
    return names | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def dead(folder):
    pages = {page: None for page in sorted(folder.rglob("*.md"))}
    for page in pages:
        text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), page.read_text())
        for number, line in enumerate(text.splitlines(), 1):
            # A link's words may be code; its target is none.
            for target in LINK.findall(CODE.sub("code", line)):
                if ELSEWHERE.match(target):
                    continue
                path, _, anchor = target.partition("#")
                at = (page.parent / path).resolve() if path else page
                where = f"{page.relative_to(folder)}:{number}: {target}"
                if not at.is_relative_to(folder):
                    yield f"{where} leads out of the documents"
                elif not at.exists():
                    yield f"{where} is not there"
                elif anchor and at.suffix == ".md":
                    if pages.get(at) is None:
                        pages[at] = anchors(at)
                    if anchor not in pages[at]:
                        yield f"{where}: the page has no such heading"


def main():
    folder = Path(sys.argv[1]).resolve()
    if not any(folder.rglob("*.md")):
        sys.exit(f"links.py: there is no document below {folder}")
    found = list(dead(folder))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
