"""Pipelines as scikit-learn estimators, for its cross-validation, grids and ensembles."""

import contextlib
import dataclasses
import io
import math
import os
import reprlib
from typing import Any, Self

import keras
import numpy as np
from keras.src.wrappers.fixes import _validate_data
from keras.src.wrappers.sklearn_wrapper import SKLBase
from sklearn.utils.validation import check_is_fitted

from . import environment, inputs, tasks
from .data import Data, Split
from .datasets import Source
from .datasets.splits import divide
from .errors import UserError
from .experiments import keys, modules, objects, own
from .experiments.experiment import Experiment
from .experiments.running import open_experiment
from .experiments.session import own_session
from .formatting import counted
from .inputs.tokens import Texts

OWN = {"seed": 0, "validation_fraction": None}  # parameters that are no keys of the pipeline
SOURCE = Source("own", "X and y", "X and y", {}, False)


def as_sklearn(
    name: Any, *, seed: int = 0, validation_fraction: float | None = None, **overrides: object
) -> "Classifier | Regressor":
    """Returns a pipeline as a scikit-learn estimator, for GridSearchCV, cross_val_score and others.

    It is a `keras.wrappers.SKLearnClassifier` or `SKLearnRegressor`. Its parameters are those of
    this function, with all keys of the pipeline and of its Trainer. `fit(X, y)` trains as
    `kpipe.run` does, with the same bits for the same seed. A row of `X` contains the numbers of an
    example: pixels from 0 to 255, or token ids, padded with 0. `load_data` returns the pipeline's
    own train split in this form. Classes in `y` can be words.

    Args:
        name: A pipeline for classification or regression: a name, the path of a file, or an object.
        seed: Random seed of weights, example order, augmentation, dropout and the part of `X` for
            validation.
        validation_fraction: Share of `X` that determines the best epoch and early stopping, by
            default that of the pipeline's data. With 0 all epochs are trained, on all of `X`, and
            the weights of the last one remain.
        **overrides: Values of the pipeline's keys.

    Raises:
        UserError: There is no such pipeline or key, or the pipeline learns something else.

    Example:
        from sklearn.model_selection import GridSearchCV

        estimator = kpipe.as_sklearn("mnist_mlp", learning_rate=3e-3)
        X, y = estimator.load_data()
        search = GridSearchCV(estimator, {"dropout": [0.1, 0.3]})  # search.fit(X, y)
    """
    options: Any = {"seed": seed, "validation_fraction": validation_fraction, **overrides}
    estimator = Classifier(name, **options)
    task = estimator._resolved().module.task
    if task == "regression":
        return Regressor(name, **options)
    if task != "classification":
        raise UserError(
            f"{estimator}: the task is {task}; expected a pipeline of classification or regression"
        )
    return estimator


class _Estimator(SKLBase):
    """A pipeline as what Keras' wrappers are to scikit-learn, see `as_sklearn`.

    Attributes:
        n_features_in_: Number of columns of `X`.
        model_: The trained Keras model, which takes examples in the shape of the pipeline's inputs.
        history_: Columns of the training's history; val_loss only if part of `X` was for
            validation.
    """

    task: str
    output: str

    def __init__(self, name: Any, **parameters: Any) -> None:
        self.name = name
        self.parameters = parameters  # those that were given

    def __repr__(self) -> str:  # type: ignore[override]
        given = {k: v for k, v in self.parameters.items() if k not in OWN or v != OWN[k]}
        said = [f", {key}={value!r}" for key, value in given.items()]
        name = repr(self.name) if isinstance(self.name, str) else reprlib.repr(self.name)
        return f"kpipe.as_sklearn({name}{''.join(said)})"

    def _repr_html_(self) -> None:
        """Lets a notebook show `repr`."""

    def __sklearn_clone__(self) -> Self:
        """Copies what was given: the default of a key may depend on other keys."""
        return type(self)(self.name, **self.parameters)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = False  # unlike Keras' wrappers, by the seed
        return tags

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the name and all parameters with their values; of the keys, those in use."""
        experiment = self._resolved()
        own = {key: self.parameters.get(key, default) for key, default in OWN.items()}
        of_trainer = experiment.trainer.settings()
        return {"name": self.name, **own, **experiment.hyperparameters, **of_trainer}

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, and returns the estimator.

        Raises:
            UserError: A key is unknown or has no effect, or a value has the wrong type or range.
        """
        if params.pop("name", self.name) != self.name:
            raise UserError(f"{self}: the name cannot be set; use kpipe.as_sklearn(name)")
        changed = type(self)(self.name, **{**self.parameters, **params})
        changed._resolved()
        self.parameters = changed.parameters
        return self

    @own_session()
    def _resolved(self) -> Experiment:
        """Returns the pipeline with its keys resolved.

        Raises:
            UserError: A parameter is wrong, or the inputs of the pipeline are not only numbers.
        """
        environment.check_keras()
        environment.fix_threads()
        own_values = {key: self.parameters.get(key, default) for key, default in OWN.items()}
        seed = keys.parse_number("seed", own_values["seed"], 0, 2**31 - 1, integer=True)
        if (share := own_values["validation_fraction"]) is not None:
            keys.parse_number("validation_fraction", share, 0, 0.9, integer=False)
        module, policy = self._module()
        settings = keys.resolve(module, self._overrides)
        dataset = settings.dataset
        modules.choose_task(module, dataset)
        for key, values in settings.choices.items():
            raise UserError(f"{key}={values}: expected one value; several are for GridSearchCV")
        if dataset.columns:
            raise UserError(f"{module.__name__} is for tables; expected one for numbers or images")
        if dataset.vectorization and dataset.vectorization.embeddings:
            raise UserError("embeddings: X has token ids, not the words that they are looked up by")
        return Experiment(module, settings, SOURCE, seed, dtype_policy=policy)

    @property
    def _overrides(self) -> dict[str, Any]:
        """The keys that were given; None is written as on the command line."""
        given = {key: value for key, value in self.parameters.items() if key not in OWN}
        return {key: "none" if value is None else value for key, value in given.items()}

    def _module(self) -> tuple[Any, str]:
        if objects.is_pipeline(self.name):
            return objects.load(self.name)
        found = own.find(self.name, {})
        if found.data is not None:
            raise UserError(f"{found.name} is data; expected the name or the file of a pipeline")
        return modules.load(*found)

    @own_session()
    def load_data(
        self, data: str = "auto", data_dir: str | os.PathLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the train split of the pipeline's own data, in the form that `fit` takes.

        Args:
            data: "real", "sample" or "auto", see `kpipe.run`.
            data_dir: Folder of the TFDS datasets.

        Returns:
            X (n, columns), and y (n,): names of classes, or values.
        """
        experiment = open_experiment(
            self.name,
            self._overrides,
            data=data,
            data_dir=data_dir,
            seed=self.parameters.get("seed", 0),
        )
        train = experiment.prepare().train
        values, labels = train.take(np.arange(len(train)), trim=False)
        if labels.dtype.kind == "i":
            labels = np.array(experiment.dataset.label_names)[labels]
        return values.reshape(len(values), -1), labels

    def fit(self, X: Any, y: Any) -> Self:  # type: ignore[override]
        """Trains the pipeline's network, and returns the estimator.

        Args:
            X: Numbers (n, columns).
            y: The class, or the value, of each example (n,).

        Raises:
            UserError: X or y do not fit the pipeline.
            RunError: The loss is not finite any more.
            ValueError: They are no arrays of finite numbers, as scikit-learn says.
        """
        with contextlib.redirect_stdout(io.StringIO()):  # one line an epoch
            self._fit(X, y)
        return self

    @own_session()
    def _fit(self, X: Any, y: Any) -> None:
        experiment = self._resolved()
        dataset, trainer, seed = experiment.dataset, experiment.trainer, experiment.seed
        self._input, self._targets = inputs.of(dataset), inputs.targets_of(dataset)
        self._refuse_others(X)
        X, y = _validate_data(self, X, y)
        labels, names = self._labels(self._process_target(y, reset=True), dataset.label_names)
        rows = {"train": np.arange(len(labels))}
        share = self.parameters.get("validation_fraction")
        if share := dataset.val_fraction if share is None else share:
            try:
                rows = dict(zip(("train", "val"), divide(labels, share, seed), strict=True))
            except UserError as error:
                raise UserError(f"{error}, or validation_fraction=0") from None
        else:  # there is nothing to stop by
            trainer = dataclasses.replace(trainer, patience=0, reduce_lr_patience=0)
        self._targets = self._targets.fitted(labels[rows["train"]])
        whole = self._split(X, labels)
        data = Data(
            name=experiment.name,
            kind=SOURCE.kind,
            official=False,
            description=SOURCE.description,
            fingerprint="",
            label_names=names,
            input_shape=dataset.input_shape,
            augmentation=dataset.augmentation,
            splits={name: whole.at(some) for name, some in rows.items()} | {"test": whole},
        )
        model, _ = experiment.build_model(data)
        experiment.task.check(model, data)
        history = trainer.fit(model, data, seed=seed)
        if trainer.retrain and data.val:
            data = data.with_val_in_train()
            model, _ = experiment.build_model(data)
            again = dataclasses.replace(trainer, epochs=history.best_epoch, patience=0)
            again.fit(model, data, seed=seed)
        answers = experiment.task.inference(model, data)
        # Without optimizer and loss: a pipeline's own loss could not be pickled.
        self.model_ = keras.Model(answers.inputs, answers.output, name=model.name)
        self.history_ = history.columns
        self._data = dataclasses.replace(data, splits={})

    def _answers(self, X: Any) -> np.ndarray:
        """Predicts examples as a run predicts its test split."""
        check_is_fitted(self)
        self._refuse_others(X)
        X = _validate_data(self, X, reset=False)
        split = self._split(X, np.zeros(len(X), np.int32))
        data = dataclasses.replace(self._data, splits={"train": split, "test": split})
        return tasks.find(self.task).measure(self.model_, data, 0)[self.output]

    def _labels(self, y: np.ndarray, known: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Returns the labels of encoded targets, and a name for each class of the pipeline."""
        raise NotImplementedError

    def _refuse_others(self, X: Any) -> None:
        """Refuses what scikit-learn would, but says what to do."""
        values = np.asarray(X)
        if values.ndim > 2:
            raise UserError(
                f"X has the shape {values.shape}; expected a row of numbers for each example: "
                "X.reshape(len(X), -1)"
            )
        if values.size and isinstance(values.flat[0], (str, bytes)):
            raise UserError(
                "X contains texts; expected numbers: token ids, padded with 0, as load_data() of "
                "this estimator returns them"
            )

    def _split(self, X: np.ndarray, labels: np.ndarray) -> Split:
        """Returns rows of numbers as examples of the pipeline.

        Raises:
            UserError: Their number of columns, or a number, is none of its inputs.
        """
        kind, rows = self._input, np.arange(len(X))
        column: inputs.Column
        if isinstance(kind, inputs.TextInput):
            tokens = _converted(X, "int32", kind.vectorization.vocabulary_size - 1)
            lengths = tokens.shape[1] - (tokens[:, ::-1] != 0).argmax(axis=1)
            lengths = np.where(tokens.any(axis=1), lengths, 1).astype(np.int32)
            column = inputs.Tokens(tokens, lengths, Texts.of([]))
        else:
            assert isinstance(kind, inputs.ArrayInput)
            if X.shape[1] != math.prod(kind.shape):
                sizes = " × ".join(map(str, kind.shape))
                raise UserError(
                    f"X has {counted(X.shape[1], 'column')}; expected {math.prod(kind.shape):,} "
                    f"({sizes}), as the examples of {self} have"
                )
            column = inputs.Rows(_converted(X, kind.dtype).reshape(-1, *kind.shape))
        return Split(column, labels, rows, kind, self._targets)


def _converted(X: np.ndarray, dtype: str, largest: int | None = None) -> np.ndarray:
    """Returns numbers as the type of a pipeline's inputs.

    Raises:
        UserError: A number would change by more than rounding.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # they are refused here
        converted = X.astype(dtype)
    if converted.dtype.kind == "f":
        wrong, expected = ~np.isfinite(converted), f"finite numbers of {dtype}"
    else:
        low, high = (0, largest) if largest else _limits(converted.dtype)
        wrong = (converted != X) | (converted < low) | (converted > high)
        expected = f"integers from {low:,} to {high:,}"
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        raise UserError(f"X[{row}, {place}] is {X[row, place]}; expected {expected}")
    return converted


def _limits(dtype: np.dtype) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


class Classifier(_Estimator, keras.wrappers.SKLearnClassifier):
    """A pipeline of classification as a scikit-learn classifier, see `as_sklearn`.

    Attributes:
        classes_: The classes in `y`, sorted.
    """

    task, output = "classification", "probabilities"

    @property
    def decision_function(self) -> None:  # type: ignore[override]
        """Hides that of Keras' wrapper, so that scores use `predict_proba`."""
        raise AttributeError("decision_function: use predict_proba")

    def _labels(
        self, one_hot: np.ndarray, known: tuple[str, ...]
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        given = tuple(map(str, self.classes_))
        if len(given) > len(known):
            raise UserError(
                f"y has {len(given)} classes; {self} has {len(known)}: {', '.join(known)}"
            )
        unused = tuple(f"unused {i}" for i in range(len(known) - len(given)))
        return one_hot.argmax(axis=1).astype(np.int32), given + unused

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probability of each class in `classes_`: float32 (n, classes)."""
        answers = self._answers(X)
        found = answers[:, : len(self.classes_)]
        # A class that a network has, but y had not, as in a fold, is none of the answers.
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Returns the most probable class of each example (n,)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]


class Regressor(_Estimator, keras.wrappers.SKLearnRegressor):
    """A pipeline of regression as a scikit-learn regressor, see `as_sklearn`."""

    task, output = "regression", "value"

    def _labels(self, y: np.ndarray, known: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
        return y.reshape(-1).astype(np.float32), known

    def predict(self, X: Any) -> np.ndarray:
        """Returns the value of each example, in the unit of `y`: float32 (n,)."""
        return self._answers(X)
