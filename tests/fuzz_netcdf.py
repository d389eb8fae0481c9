"""Fits whose `fit.nc` is damaged and whose manifest agrees: read in a process of their own.

Nobody but a forger makes such a file, and HDF5 is C: what it does with one may end the process.
`python tests/fuzz_netcdf.py FOLDER FIRST LAST` prints a line per case before and after it.
"""

import logging
import random
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

#: Address space of the process that reads: a file that asks for more is refused by then.
_ROOM = 6 << 30
_SECONDS = 30.0


def main(folder: Path, first: int, last: int) -> None:
    """Read cases one by one."""
    from fuzz_kinds import fit_files, judged, write_fit
    from fuzz_mutations import mutated_bytes

    from bayesdense.results import load_fit

    resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for seed in range(first, last):
        place = folder / "case"
        place.mkdir()
        rng = random.Random(f"damaged {seed}")
        files = fit_files()
        files["fit.nc"] = mutated_bytes(files["fit.nc"], rng)
        written = write_fit(place, files, seal=True)
        print(f"{seed} begins", flush=True)
        try:
            verdict, _ = judged(f"damaged {seed}", lambda w=written: load_fit(w), lambda _: None)
        except AssertionError as error:
            verdict = f"failed {str(error)!r}"
        print(f"{seed} {verdict}", flush=True)
        shutil.rmtree(place)


def outcomes(folder: Path, count: int) -> tuple[Counter[str], list[str]]:
    """Counts of verdicts over so many cases, `died` among them, and what failed."""
    found: Counter[str] = Counter()
    failures: list[str] = []
    first = 0
    while first < count:
        command = [sys.executable, __file__, str(folder), str(first), str(count)]
        began = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_SECONDS * count
        )
        lines = done.stdout.split("\n")
        for line in lines:
            _, _, verdict = line.partition(" ")
            if verdict and verdict != "begins":
                found[verdict.split(" ")[0]] += 1
                failures += [verdict] if verdict.startswith("failed") else []
        first = sum(found.values())
        if done.returncode:
            found["died"] += 1
            failures.append(f"case {first}: status {done.returncode}: {done.stderr[-300:]}")
            first += 1
            shutil.rmtree(folder / "case", ignore_errors=True)
            assert time.monotonic() > began
    return found, failures


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
