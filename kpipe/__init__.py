"""kpipe: deep-learning baselines that are right.

Three ideas on top of Keras and tf.data: a model builder, a pipeline, a Trainer.

    import kpipe

    run = kpipe.run("mnist_mlp", learning_rate=3e-3)  # run.model, run.history, run.metrics
    model = kpipe.load("saved_models/mnist_mlp")      # model.predict(images)

Importing kpipe imports neither TensorFlow nor Keras; the first use of a name does.
"""

import importlib

__version__ = "0.1.0"

# Public name -> module that defines it; None: the name is itself a module.
_EXPORTS = {
    "Target": "evaluation",
    "Trainer": "training",
    "load": "saved_model",
    "run": "pipeline",
    "data": None,
    "datasets": None,
    "disentanglement": None,
    "figures": None,
    "gradients": None,
    "layers": None,
    "losses": None,
    "models": None,
    "optimizers": None,
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str):
    """Imports what is asked for, when it is asked for (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'kpipe' has no attribute {name!r}")
    module = importlib.import_module(f"kpipe.{_EXPORTS[name] or name}")
    value = getattr(module, name) if _EXPORTS[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
