"""The studies that figures of the gallery read, as files: `uv run docs/studies.py`.

They take minutes, so that they are made by hand and kept in `docs/evidence/studies`, each in a
folder of its own as its user would have it. `made.json` beside them says the command, the commit
and the seconds. Of a backtest the rows of single scores, most of its file, are left out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fits

WHERE = Path(__file__).parent / "evidence" / "studies"
AXES = "reference_tokens,params,trend,family,decomposition"
COMMANDS = {
    "sweep-densing": ("sweep", "densing", "--axes", AXES, "--draws", "500"),
    "backtest-densing": ("backtest", "densing", "--draws", "500"),
}


def make(name: str, command: tuple[str, ...], commit: str) -> dict[str, object]:
    """Run a study, keep its result, and say how it was made."""
    started, verb = time.monotonic(), command[0]
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "bayesdense", *command, *sys.argv[1:], "--out", folder]
        done = subprocess.run(words, stdout=subprocess.DEVNULL)
        if done.returncode not in (0, 1):  # 1: a check failed, which the file says
            raise SystemExit(f"docs/studies.py: {name}: exit status {done.returncode}")
        found = json.loads((Path(folder) / f"{verb}.json").read_text(encoding="utf-8"))
    if verb == "backtest":
        found["scores"] = []
    (WHERE / name).mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, ensure_ascii=False) + "\n"
    (WHERE / name / f"{verb}.json").write_text(text, encoding="utf-8")
    return {
        "command": " ".join(["bayesdense", *command]),
        "commit": commit,
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    began_at = fits.commit()
    made = {name: make(name, command, began_at) for name, command in COMMANDS.items()}
    (WHERE / "made.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
