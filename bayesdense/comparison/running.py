"""A small loop that runs tasks one by one, and keeps what is finished."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bayesdense.comparison.tasks import Result, Task, run
from bayesdense.dataset import Dataset
from bayesdense.errors import BayesdenseError
from bayesdense.files import probe_writable, write_text_atomic

#: Told of the tasks done, of all of them, and of what begins now.
type Progress = Callable[[int, int, str], object]
_FOLDER: Final = "tasks"


def open_folder(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something, unless a run goes on there; before any work.

    Raises
    ------
    BayesdenseError
        It is a file, cannot be written, or holds files and `resume` is false.
    """
    try:
        if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not resume)):
            what = "holds files already" if out.is_dir() else "is a file"
            raise BayesdenseError(
                f"{out}: {what}; go on with a run that was ended by --resume (resume=True in "
                "Python), or give another folder with --out"
            )
        probe_writable(out)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BayesdenseError(
            f"{out}: cannot be written: {reason}; give another folder with --out"
        ) from error


def run_tasks(
    tasks: Sequence[Task],
    dataset: Dataset,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    before: int = 0,
    total: int | None = None,
) -> list[Result]:
    """Run tasks in their order; finished ones that are in `out` are read, not run again.

    Parameters
    ----------
    tasks
        All about this dataset.
    dataset
        The data.
    out
        Folder that keeps a file `tasks/<key>.json` for each finished task; None: nothing is kept.
    progress
        Told before each task.
    before, total
        Tasks done before these, and in all, as progress tells them.

    Returns
    -------
    list
        Results in the order of the tasks.
    """
    results = []
    for k, task in enumerate(tasks):
        if progress is not None:
            progress(before + k, total or before + len(tasks), _words(task))
        results.append(_run_once(task, dataset, out))
    return results


def _run_once(task: Task, dataset: Dataset, out: Path | None) -> Result:
    """Run a task unless its result is there; a file that is no JSON counts as none."""
    if out is None:
        return run(task, dataset)
    path = out / _FOLDER / f"{task.key}.json"
    try:
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (FileNotFoundError, ValueError):
        pass
    except OSError as error:
        raise BayesdenseError(f"{path}: cannot be read: {error.strerror}") from error
    result = run(task, dataset)
    if "failed" not in result:  # what failed is tried again
        write_study(path.parent, path.name, json.dumps(result, allow_nan=False) + "\n")
    return result


def write_study(folder: Path, name: str, text: str) -> None:
    """Write a file of a study, whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / name, text)
    except OSError as error:
        raise BayesdenseError(f"{folder / name}: cannot be written: {error.strerror}") from error


def _words(task: Task) -> str:
    """What a task does, for progress."""
    arguments, trend = task.arguments, task.model.trend
    return {
        "hypothesis": f"{trend}: fit, evidence, leave one out",
        "at_width": f"{trend}: priors {arguments.get('factor'):g} times as wide"
        if "factor" in arguments
        else "",
        "without_family": f"{trend}: without family {arguments.get('family')}",
        "until": f"{trend}: as of block {arguments.get('k')}",
    }[task.function]
