"""What tests of an export share: the proof in this process, and golden.npz by its meaning."""

import contextlib
import importlib.util
import json
import sys

import numpy as np
import pytest

from kpipe.export import writing


def load_proof(monkeypatch):
    """The script proof.py in this process, TensorFlow being loaded."""
    path = writing.pathlib.Path(writing.__file__).with_name("proof.py")
    spec = importlib.util.spec_from_file_location("proof", path)
    proof = importlib.util.module_from_spec(spec)
    for name in ("keras", "kpipe"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # undoes the script's blocking
    spec.loader.exec_module(proof)
    return proof


@contextlib.contextmanager
def verified_in_this_process():
    """Exports of runs and of `kpipe verify` are verified here: another process takes seconds."""
    from kpipe import verifying
    from kpipe.experiments import execution

    with pytest.MonkeyPatch.context() as patch:
        proof = load_proof(patch)

    def prove(folder, test_files):
        return json.loads(json.dumps(proof.main(folder, *test_files)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "prove", prove)
        patch.setattr(verifying, "prove", prove)
        yield


class Golden:
    """golden.npz of a run, to be looked at or altered.

    Attributes:
        cases: What it lists.
        arrays: By the names that the cases use.
    """

    def __init__(self, folder):
        self.path = folder / "golden.npz"
        with np.load(self.path, allow_pickle=False) as content:
            self.arrays = dict(content)
        self.cases = json.loads(str(self.arrays.pop("cases")))

    def case(self, endpoint, test=False):
        """The only case of an endpoint, on the test split or not."""
        (found,) = (c for c in self.cases if c["endpoint"] == endpoint and c["test"] is test)
        return found

    def given(self, endpoint):
        """The array that an endpoint is given."""
        (name,) = self.case(endpoint)["given"].values()
        return self.arrays[name]

    def texts(self, endpoint):
        """The strings of bytes that an endpoint is given."""
        (name,) = self.case(endpoint)["given"].values()
        content, sizes = self.arrays[name].tobytes(), self.arrays[f"{name}_sizes"]
        ends = np.cumsum(sizes)
        return [content[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def expected(self, endpoint, output, test=False):
        """The array that an output of an endpoint is compared with."""
        return self.arrays[self._names(endpoint, output, "array", test)[0]]

    def rows(self, endpoint, output, test=False):
        """Which of its rows are compared."""
        return self.arrays[next(filter(None, self._names(endpoint, output, "rows", test)))]

    def _names(self, endpoint, output, field, test):
        expected = self.case(endpoint, test)["expected"]
        return [c[field] for c in expected if c["output"] == output]

    def save(self):
        np.savez(self.path, cases=np.array(json.dumps(self.cases)), **self.arrays)


def change_predictions(folder, **arrays):
    """Replaces arrays of predictions.npz."""
    with np.load(folder / "predictions.npz", allow_pickle=False) as content:
        arrays = {**content, **arrays}
    np.savez(folder / "predictions.npz", **arrays)


def leave_undecided(folder):
    """Notes that no choice of a latent's class is certain, in golden.npz and predictions.npz."""
    golden = Golden(folder)
    for case in golden.cases:
        for comparison in case["expected"]:
            rows = comparison["rows"]
            if rows and not rows.startswith("predictions/"):
                golden.arrays[rows] = np.zeros_like(golden.arrays[rows])
    golden.arrays["decided"] = np.zeros_like(golden.arrays["decided"])
    golden.save()
    with np.load(folder / "predictions.npz", allow_pickle=False) as content:
        certain = content["certain"]
    change_predictions(folder, certain=np.zeros_like(certain))
