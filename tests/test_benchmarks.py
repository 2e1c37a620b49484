"""The benchmark compares contestants that compute the same, and tells how sure a ratio is."""

import pathlib

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_kpipe_keras_and_numpy_have_the_same_losses():
    import contestants

    found = {name: contestants.CONTESTANTS[name].losses("gmm") for name in ("keras", "numpy")}
    assert len(found["keras"]) == contestants.CHECKED_STEPS
    np.testing.assert_allclose(found["numpy"], found["keras"], rtol=1e-5)
    # A fused program returns the last running mean only.
    np.testing.assert_allclose(contestants.Kpipe.losses("gmm"), found["keras"][-1:], rtol=1e-5)


def test_a_contestant_that_computes_something_else_is_found(monkeypatch):
    import run

    losses = {"keras": [1.0, 0.9], "kpipe": [0.9], "torch": [1.0, 0.9], "numpy": [1.0, 0.8]}

    class Process:
        def __init__(self, name, workload):
            self.name = name

        def ask(self, what):
            return losses[self.name]

        def end(self):
            pass

    monkeypatch.setattr(run, "Process", Process)
    run.check("gmm", ["keras", "kpipe", "torch"])
    with pytest.raises(SystemExit, match=r"gmm: numpy computes \[1.0, 0.8\], keras \[1.0, 0.9\]"):
        run.check("gmm", list(losses))


@pytest.mark.parametrize(("turns", "skipped"), [(4, 0), (5, 0), (9, 1), (20, 5)])
def test_the_interval_of_a_ratio_holds_nine_times_of_ten(turns, skipped):
    """Order statistics around the median, from a table: Conover (1999), A3."""
    import run

    faster = np.full(turns, 2.0)
    found = run.ratio(2 * np.random.RandomState(0).permutation(np.arange(1.0, turns + 1)), faster)
    assert found["median"] == (turns + 1) / 2
    assert (found["low"], found["high"]) == (1 + skipped, turns - skipped)
