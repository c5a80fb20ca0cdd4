"""Markdown tables, and their place in a page."""
import sys


def replace(path, name, text):
    """Puts the text between `<!-- name: begin -->` and `<!-- name: end -->`."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    old = path.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        sys.exit(f"{path} needs the lines {begin.strip()!r} and {end!r} once each")
    head, rest = old.split(begin)
    path.write_text(head + begin + text.rstrip() + "\n" + end + rest.split(end)[1])


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(row) + " |" for row in rows)])
