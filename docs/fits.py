"""The fits that the pages and figures of the documentation read: `uv run docs/fits.py [--readme]`.

Each is made as a reader would make it, by the command that `COMMANDS` names, into the folder
`docs/gallery/fits`, which git ignores. `made.json` beside them says the command, the commit, the
seconds that it took and the digest of all that decides a fit (code, models, data): it is made again
if and only if that digest has changed. With `--readme` what that of `densing` printed becomes the
output that the README shows.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHERE = ROOT / "docs" / "gallery"
NOTE = WHERE / "fits" / "made.json"
# In the order of their making: the arguments of `bayesdense`, run in `WHERE`.
COMMANDS = {"densing": ("fit", "densing", "--force")}

# What stands between them in the README is printed by `bayesdense fit`.
MARKS = ("<!-- output of `bayesdense fit` -->", "<!-- end of output -->")


def make() -> dict[str, dict[str, object]]:
    """Make the fits that are absent or out of date; what is known of each, by its name."""
    digest = digest_of_sources()
    known = _read_note()
    for name, command in COMMANDS.items():
        there = (WHERE / "fits" / name / "manifest.json").exists()
        if there and known.get(name, {}).get("sources") == digest:
            continue
        known[name] = {**_make(name, command), "sources": digest}
        NOTE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return known


def digest_of_sources() -> str:
    """SHA-256 of the code and of the shipped models and data, in the order of their names."""
    files = sorted(
        path
        for folder, pattern in (("bayesdense", "*.py"), ("models", "*.toml"), ("data", "*.csv"))
        for path in (ROOT / folder).rglob(pattern)
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _make(name: str, command: tuple[str, ...]) -> dict[str, object]:
    """Run one command, keep what it prints, and say how it was made."""
    started = time.monotonic()
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bayesdense", *command],
        cwd=WHERE,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise SystemExit(f"docs/fits.py: {name}: exit status {done.returncode}\n{done.stdout}")
    (WHERE / "fits" / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    return {
        "command": " ".join(["bayesdense", *command]),
        "commit": commit(),
        "seconds": round(time.monotonic() - started, 1),
    }


def commit() -> str:
    """Commit of the working tree, marked where it is changed; unknown outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return described.stdout.strip() or "unknown"


def _read_note() -> dict[str, dict[str, object]]:
    """What is known of the fits that are there."""
    NOTE.parent.mkdir(parents=True, exist_ok=True)
    return json.loads(NOTE.read_text(encoding="utf-8")) if NOTE.exists() else {}


def show_in_readme() -> None:
    """Put what `bayesdense fit` printed between the README's marks."""
    readme = ROOT / "README.md"
    printed = (WHERE / "fits" / "densing.txt").read_text(encoding="utf-8").rstrip()
    text = readme.read_text(encoding="utf-8")
    before, after = text.partition(MARKS[0])[0], text.partition(MARKS[1])[2]
    block = f"{MARKS[0]}\n```text\n{printed}\n```\n{MARKS[1]}"
    readme.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(make(), indent=1))
    if "--readme" in sys.argv[1:]:
        show_in_readme()
