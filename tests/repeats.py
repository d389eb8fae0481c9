"""Fits with one seed, and what came out of each as a digest, in a process of its own.

`python repeats.py CORES ...`: each model with each of these numbers of cores, one after the other.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence

import xarray as xr
from modelling import small_joint

from bayesdense.dataset import load_dataset
from bayesdense.inference import fit
from bayesdense.spec import load_spec


def digest(groups: Mapping[str, xr.Dataset]) -> str:
    """SHA-256 of every number in every group, bit by bit."""
    found = hashlib.sha256()
    for group, data in sorted(groups.items()):
        for name, values in sorted(data.data_vars.items()):
            found.update(f"{group}/{name}{values.dims}{values.shape}".encode())
            found.update(values.to_numpy().tobytes())
    return found.hexdigest()


def digests(cores: Sequence[int]) -> list[dict[str, str]]:
    """Of the compiled density and of a `pm.Model` that PyTensor compiles."""
    models = {
        "joint": small_joint(),
        "trend_only": (load_spec("trend_only"), load_dataset("densing-published")),
    }
    return [
        {
            name: digest(
                {
                    group: node.to_dataset()
                    for group, node in fit(
                        spec, data, draws=100, tune=100, chains=2, seed=5, cores=n_cores
                    ).tree.children.items()
                }
            )
            for name, (spec, data) in models.items()
        }
        for n_cores in cores
    ]


if __name__ == "__main__":
    print(json.dumps(digests([int(word) for word in sys.argv[1:]])))
