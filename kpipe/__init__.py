"""kpipe: deep-learning baselines you can trust, on Keras 3 and TensorFlow.

It adds three ideas to Keras and tf.data: a model builder, a pipeline, a Trainer.

    import kpipe

    run = kpipe.run("mnist_mlp", learning_rate=3e-3)  # run.model, run.history, run.metrics
    run = kpipe.run("houses.csv", target="price")     # your own data
    model = kpipe.load("saved_models/mnist_mlp")      # model.predict(images)
    kpipe.runs()                                      # a table of all runs

Importing kpipe imports neither TensorFlow nor Keras; the first use of a public name does.
"""

import functools
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it.
_NAMES = {
    "Target": "measures.verdict",
    "Trainer": "training.trainer",
    "as_sklearn": "estimator",
    "check_labels": "label_checking",
    "compare": "comparing",
    "convert": "formats.converting",
    "diff": "diffing",
    "learning_curve": "extrapolating",
    "load": "export.loading",
    "look": "looking",
    "open_run": "records.folder",
    "predict": "predicting",
    "reproduce": "reproducing",
    "run": "experiments.running",
    "runs": "records.listing",
    "search": "searching",
    "verify": "verifying",
}
# Public module -> where it is.
_MODULES = {
    "disentanglement": "measures.disentanglement",
    **{
        name: name
        for name in "data datasets explaining figures gradients layers losses models".split()
    },
    "optimizers": "optimizers",
}

__all__ = ["__version__", *_NAMES, *_MODULES]


if TYPE_CHECKING:  # the same names for type checkers and editors
    from . import data as data
    from . import datasets as datasets
    from . import explaining as explaining
    from . import figures as figures
    from . import gradients as gradients
    from . import layers as layers
    from . import losses as losses
    from . import models as models
    from . import optimizers as optimizers
    from .comparing import compare as compare
    from .diffing import diff as diff
    from .estimator import as_sklearn as as_sklearn
    from .experiments.running import run as run
    from .export.loading import load as load
    from .extrapolating import learning_curve as learning_curve
    from .formats.converting import convert as convert
    from .label_checking import check_labels as check_labels
    from .looking import look as look
    from .measures import Target as Target
    from .measures import disentanglement as disentanglement
    from .predicting import predict as predict
    from .records import open_run as open_run
    from .records import runs as runs
    from .reproducing import reproduce as reproduce
    from .searching import search as search
    from .training import Trainer as Trainer
    from .verifying import verify as verify
else:

    def __getattr__(name: str) -> Any:
        """Imports a public name at its first use (PEP 562)."""
        if name in {**_NAMES, **_MODULES}:
            _choose_backend()
            _be_quiet_in_a_notebook()
        if name in _NAMES:
            value = getattr(importlib.import_module(f"kpipe.{_NAMES[name]}"), name)
        elif name in _MODULES:
            value = importlib.import_module(f"kpipe.{_MODULES[name]}")
        else:
            raise AttributeError(f"module 'kpipe' has no attribute {name!r}")
        globals()[name] = value
        return value


def _choose_backend() -> None:
    """Lets Keras run on TensorFlow, unless it has been imported: see `environment.check_keras`."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"


@functools.cache
def _be_quiet_in_a_notebook() -> None:
    """Keeps TensorFlow's log out of a notebook's cells, as the command line does."""
    if "ipykernel.kernelapp" in sys.modules:
        importlib.import_module("kpipe.quiet").move_logs()


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES, *_MODULES])
