"""Valid files spoilt at random: bytes, lines, cells and entries, each case from its own seed."""

import csv
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

type Tree = Any

#: Texts that programs have tripped over: numbers, dates, control characters, markup, paths.
NASTY = (
    "", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "-0.0", "1e-400", "73.2", "1.0000001", "2",
    "1e5", "99999", "1e18", "1.1e18", "0x10", "1_000", "1,000", "0,5", "7B", "50%", "\uff11\uff12",
    "\u0663", "\U0001d7d9", "1" * 400, "true", "TRUE", "no", "null", "NA", "?", "2024-02-30",
    "2024-13-01", "1899-12-30", "9999-12-31", "0000-00-00", "2024-1-1", "20240101", "45310",
    "2024-01-01T00:00:00", "\x00", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\x7f",
    "\x08\x08", "\u202egnp.exe", "\u200b", "\ufeff", "\u2028", "e\u0301", "\u00e9", "\U0001f600",
    "\u0130", "\u00df", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;",
    "{{7*7}}", "[bold]x[/bold]", "[/]", "=HYPERLINK(1)", "../../etc/passwd", "/dev/zero",
    "..\\..\\x", "a" * 201, "a" * 200_000, "'; DROP TABLE", "%s%s%n", "$(id)", "`id`", "\r", "\n",
    '"', '""', ",", ";", "\t", "|", "heldout", "MMLU", "Alpha-7B",
)  # fmt: skip
#: Values of JSON and TOML that are not what an entry holds.
VALUES: tuple[Tree, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"),
    float("-inf"), 2**53 + 1, 2**63, 2**64, -(2**200), [], {}, [[]], [None], {"": ""}, [1, "a", {}],
    "Normal", "exponential", "benchmark", "1.5",
)  # fmt: skip
#: Stand for text that no writer of JSON or TOML makes.
_LITERALS = {
    "@deep-list@": "[" * 100_000 + "]" * 100_000,
    "@deep-object@": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "@digits@": "9" * 5000,
    "@long-float@": "0." + "3" * 100_000,
    "@exponent@": "1e999999999",
}
_ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "utf-8-sig", "shift_jis")


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Spoil bytes, once or a few times."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        content = rng.choice(_BYTES)(content, rng)
    return content


def _places(content: bytes, rng: random.Random) -> tuple[int, int]:
    """Two places in order, mostly near each other."""
    first = rng.randrange(len(content) + 1)
    return first, min(len(content), first + rng.choice((1, 1, 2, 8, 64, 1000)))


def _flip(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    changed = content[place] ^ (1 << rng.randrange(8))
    return content[:place] + bytes([changed]) + content[place + 1 :]


def _overwrite(content: bytes, rng: random.Random) -> bytes:
    first, last = _places(content, rng)
    return content[:first] + rng.randbytes(last - first) + content[last:]


def _cut(content: bytes, rng: random.Random) -> bytes:
    first, last = _places(content, rng)
    return content[:first] + content[last:]


def _double(content: bytes, rng: random.Random) -> bytes:
    first, last = _places(content, rng)
    return content[:last] + content[first:]


def _truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _insert(content: bytes, rng: random.Random) -> bytes:
    place, _ = _places(content, rng)
    added = rng.choice(NASTY).encode("utf-8", "surrogatepass")
    return content[:place] + added + content[place:]


def _swap(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[b:] + content[a:b] + content[:a]


def _recode(content: bytes, rng: random.Random) -> bytes:
    return content.decode("utf-8", "replace").encode(rng.choice(_ENCODINGS), "replace")


def _dress(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            b"\xef\xbb\xbf",
            b"\xef\xbb\xbf" + content,
            b"\xef\xbb\xbf\xef\xbb\xbf" + content,
            content + b"\x00" * 100,
            b"\x00" + content,
            content.replace(b"\n", b"\r"),
            content.replace(b"\n", b"\r\n"),
            content.replace(b"\n", b" "),
            b"\x1f\x8b\x08\x00" + content,
            b"PK\x03\x04" + content,
            b"\x89HDF\r\n\x1a\n" + content,
            b"\x80\x04\x95" + content,  # how pickles begin
            content * 3,
            rng.randbytes(rng.randrange(2000)),
        )
    )


def _renumber(content: bytes, rng: random.Random) -> bytes:
    """Put another number in place of one."""
    found = list(re.finditer(rb"[0-9]+(\.[0-9]+)?", content))
    if not found:
        return content
    chosen = rng.choice(found)
    number = rng.choice(("-1", "0", "1e400", "nan", "inf", "9" * 5000, "1e-400", "0.5", "1e9"))
    return content[: chosen.start()] + number.encode() + content[chosen.end() :]


def _lines(content: bytes, rng: random.Random) -> bytes:
    """Double, drop, swap or shuffle lines."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(i, lines[j])
        case 1:
            del lines[i]
        case 2:
            lines[i], lines[j] = lines[j], lines[i]
        case 3:
            lines[i] = lines[i].strip() * 300 + b"\n"
        case _:
            rng.shuffle(lines)
    return b"".join(lines)


_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _overwrite, _cut, _double, _truncate, _insert, _insert, _swap, _recode, _dress,
    _renumber, _renumber, _lines, _lines,
)  # fmt: skip


def mutated_csv(rows: Sequence[Sequence[str]], rng: random.Random) -> bytes:
    """Spoil cells, rows and columns of a table, and sometimes the bytes of its file."""
    spoilt = [list(row) for row in rows]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        spoilt = _spoil_table(spoilt, rng)
    stream = io.StringIO()
    writer = csv.writer(
        stream,
        delimiter=rng.choice(",,,,,,,,,,;\t|"),
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        lineterminator=rng.choice(("\n", "\n", "\r\n", "\r")),
    )
    writer.writerows(spoilt)
    content = stream.getvalue().encode("utf-8", "surrogatepass")
    return mutated_bytes(content, rng) if rng.random() < 0.15 else content


def _spoil_table(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    rows = [list(row) for row in rows if row] or [["llm"]]
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    column = rng.randrange(len(rows[0]))
    other = rng.randrange(len(rows[0]))
    text = rng.choice(NASTY)
    match rng.randrange(17):
        case 0 | 1 | 2 | 3:
            rows[i][min(column, len(rows[i]) - 1)] = text
        case 4:
            a, b = min(column, len(rows[i]) - 1), min(other, len(rows[j]) - 1)
            rows[i][a], rows[j][b] = rows[j][b], rows[i][a]
        case 5:
            rows.insert(i, list(rows[j]))
        case 6:
            del rows[i]
        case 7:
            rows[i], rows[j] = rows[j], rows[i]
        case 8:
            rows = [row[:column] + row[column + 1 :] for row in rows]
        case 9:
            rows = [[*row, row[min(column, len(row) - 1)]] for row in rows]
        case 10:
            rows = [[*row, text] for row in rows]
        case 11:
            rows = [rows[0], *([*row[:column], text, *row[column + 1 :]] for row in rows[1:])]
        case 12:
            rows[i] = rows[i][:column] if rng.random() < 0.5 else [*rows[i], text]
        case 13:
            rows[0][column] = rng.choice((text, rows[0][column].upper(), rows[0][column][:-1]))
        case 14:
            order = list(range(len(rows[0])))
            rng.shuffle(order)
            rows = [[row[k] if k < len(row) else "" for k in order] for row in rows]
        case 15:
            rows = rows[:1] if rng.random() < 0.5 else [*rows, *([[]] * 50), rows[-1]]
        case _:
            width = rng.choice((30, 3000))
            rows = [[*row, *(f"{text[:9]}{k}" for k in range(width))] for row in rows]
    return rows


def mutated_tree(tree: Tree, rng: random.Random) -> Tree:
    """Spoil entries of nested objects and lists; the tree itself stays as it is."""
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _spoil_tree(tree, rng)
    return tree


def _nodes(tree: Tree) -> list[tuple[Tree, Any]]:
    """Every entry as (container, key)."""
    found: list[tuple[Tree, Any]] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                stack.append(node[key])
    return found


def _spoil_tree(tree: Tree, rng: random.Random) -> None:
    nodes = _nodes(tree)
    if not nodes:
        return
    shallow = [entry for entry in nodes if entry[0] is tree]
    node, key = rng.choice(shallow if rng.random() < 0.25 else nodes)
    other, there = rng.choice(nodes)
    match rng.randrange(9):
        case 0 | 1:
            node[key] = rng.choice(VALUES)
        case 2:
            node[key] = rng.choice((*NASTY, *_LITERALS))
        case 3:
            del node[key]
        case 4:
            node[key] = json.loads(json.dumps(other[there])) if other is not tree else {}
        case 5 if isinstance(node, dict):
            node[rng.choice(NASTY)] = node.pop(key)
        case 6 if isinstance(node, dict):
            node[rng.choice(NASTY)] = rng.choice(VALUES)
        case 7:
            node[key] = rng.choice(([node[key]], {"a": node[key]}, str(node[key])))
        case _:
            value = node[key]
            is_number = isinstance(value, int | float)
            node[key] = rng.choice((-value, value * 1e300, value + 1) if is_number else VALUES)


def json_bytes(tree: Tree) -> bytes:
    """JSON of a tree, NaN and infinity as Python writes them, stand-ins as what they stand for."""
    text = json.dumps(tree, ensure_ascii=False)
    for name, literal in _LITERALS.items():
        text = text.replace(f'"{name}"', literal)
    return text.encode("utf-8", "surrogatepass")


def toml_bytes(tree: Tree) -> bytes:
    """TOML of a tree without None, stand-ins as what they stand for."""
    import tomli_w

    text = tomli_w.dumps(_without_none(tree))
    for name, literal in _LITERALS.items():
        text = text.replace(f'"{name}"', literal.replace(":", "="))
    return text.encode("utf-8", "surrogatepass")


def _without_none(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: _without_none(part) for key, part in tree.items() if part is not None}
    if isinstance(tree, list):
        return [_without_none(part) for part in tree if part is not None]
    return tree
