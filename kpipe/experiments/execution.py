"""A run on its way: data, training, evaluation, export, proof, report, in this direction."""

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Mapping

import keras
import numpy as np

from .. import data, environment, files, models
from ..errors import RunError, UserError
from ..experiments import catalogue
from ..export import writing as export
from ..inputs.texts import Vectorizer
from ..measures import baselines, evaluation, reconstruction
from ..report import page as report
from ..training.trainer import choose_plan, leaf_layers, weights_sha256
from .keys import Settings
from .runs import Run, first_kernel, open_run, read_json, standing_predictions, summary

FORMAT_VERSION = 1
# What an unfinished run must agree on to be resumed, and a finished one to be reported.
IDENTITY = ("pipeline", "hyperparameters", "trainer", "seed", "code_sha256")


class Execution:
    """One run on its way; each method is a part of it, in the order in which they stand."""

    def __init__(self, settings: Settings, dataset, source, seed, plan, budget, folder):
        self.settings, self.dataset, self.source = settings, dataset, source
        self.seed, self.plan, self.budget, self.folder = seed, plan, budget, folder
        self.module, self.trainer = settings.module, settings.trainer
        self.times = {}

    def run(self) -> Run:
        record = self._begin()
        if record["status"] == "finished":
            self._remove_checkpoints()
            run = open_run(self.folder)
            print(summary(run), flush=True)
            return run
        self.data = self._timed("data", lambda: data.prepare(self.dataset, self.source, self.seed))
        record["data"] |= {
            "examples": self.data.examples,
            "fingerprint": self.data.fingerprint,
            **self._describe_texts(),
        }
        model = self._build(record)
        initial_kernel = first_kernel(model)
        model, history = self._train(model, record)
        predictions, metrics = self._timed("evaluate", lambda: self._evaluate(model, record))
        self._timed("export", lambda: self._export(model))
        record["proof"] = self._timed("proof", self._prove)
        record["times"] = {**self.times, "train": history.seconds}
        record["status"] = "finished" if record["proof"]["passed"] else "proof failed"
        run = Run(
            name=record["pipeline"],
            folder=self.folder,
            record=record,
            metrics=metrics,
            history=history.columns,
            predictions=predictions,
            initial_kernel=initial_kernel,
            _model=model,
            data=self.data,
        )
        report.write(run, getattr(self.module, "plots", ()))
        files.write_json(self.folder / "run.json", record)
        self._write_manifest()
        print(summary(run), flush=True)
        if not record["proof"]["passed"]:  # the checkpoints stay: a rerun exports again
            raise RunError(
                f"{self.folder}: the export does not give what was trained; run.json says where "
                "they differ, and the same command exports again"
            )
        self._remove_checkpoints()
        return run

    def _timed(self, name: str, work):
        started = time.monotonic()
        result = work()
        self.times[name] = round(time.monotonic() - started, 2)
        return result

    def _begin(self) -> dict:
        """The record of this run: a standing one that agrees, or a new one."""
        record = self._new_record()
        path = self.folder / "run.json"
        if not path.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise UserError(f"{self.folder} stands there and is no run; use --out or --fresh")
            return record
        standing = read_json(path)
        for key in IDENTITY:
            if standing.get(key) != record[key]:
                difference = _difference(standing, record, key)
                raise UserError(
                    f"{self.folder} holds a run with another {key}: {difference}; "
                    "--fresh trains anew, --out DIR elsewhere"
                )
        # Killed between run.json and the manifest, a run is completed once more.
        finished = standing["status"] == "finished" and (self.folder / "manifest.json").is_file()
        try:
            fingerprint = data.fingerprint_of(self.dataset, self.source)
        except UserError:  # the word vectors are gone; a finished run can do without
            if not finished:
                raise
            return standing
        if standing["data"].get("fingerprint", fingerprint) != fingerprint:
            raise UserError(
                f"{self.folder} holds a run on other data (fingerprint "
                f"{standing['data']['fingerprint'][:12]}, now {fingerprint[:12]}); "
                "--fresh trains anew, --out DIR elsewhere"
            )
        if finished:
            return standing
        files.remove_leftovers(self.folder)
        record["plan"] = standing.get("plan")
        for part in ("versions", "machine"):
            for name, now in record[part].items():
                before = standing[part].get(name)
                if now != before:
                    print(
                        f"resuming with {name} {now} what began with {before}: "
                        "the last bits may differ"
                    )
        return record

    def _new_record(self) -> dict:
        entry = catalogue.read(pathlib.Path(self.module.__file__))
        return {
            "format_version": FORMAT_VERSION,
            "pipeline": entry.name,
            "task": entry.task,
            "title": entry.title,
            "command": environment.command(),
            "status": "unfinished",
            "overrides": self.settings.overrides,
            "hyperparameters": _active_values(self.settings.hp),
            "trainer": self.trainer.settings(),
            "seed": self.seed,
            "plan": None,
            "budget": self.budget,
            "code_sha256": entry.code_sha256,
            "versions": environment.versions(),
            "machine": environment.machine(),
            "data": {
                "name": self.dataset.name,
                "kind": self.source.kind,
                "official": self.source.official,
                "description": self.source.description,
                "label_names": list(self.dataset.label_names),
                "get_real": f"python pipelines/run.py {entry.name} --data real",
            },
            "target": None,
            "proof": None,
        }

    def _describe_texts(self) -> dict:
        """What was chosen on the train texts; nothing where inputs are no texts."""
        if not self.data.vocabulary:
            return {}
        train, length = self.data.train, self.data.sequence_length
        cut = float(np.mean(train.lengths[train.rows] > length))
        print(
            f"texts: a vocabulary of {len(self.data.vocabulary):,} words, the first {length} "
            f"tokens of a text; {100 * cut:.1f} % of the training texts are longer",
            flush=True,
        )
        return {
            "vocabulary": len(self.data.vocabulary),
            "sequence_length": length,
            "cut_texts": cut,
        }

    def _new_model(self, record: dict) -> keras.Model:
        keras.utils.clear_session()
        keras.utils.set_random_seed(self.seed)
        model = self.module.build_model(self.settings.hp)
        coverage = load_embeddings(model, self.dataset, self.data)
        if coverage:
            record["data"]["embeddings"] = coverage
        return model

    def _build(self, record: dict) -> keras.Model:
        model = self._new_model(record)
        self._check_purpose(model)
        self.trainer.check(model, len(self.data.train))
        self.trainer.check(model, len(self._seen))  # now, and not after the first training
        trainable = sum(weight.shape.num_elements() or 1 for weight in model.trainable_weights)
        record["model"] = {
            "name": model.name,
            "parameters": model.count_params(),
            "trainable_parameters": int(trainable),
            "layers": [
                {
                    "name": layer.name,
                    "type": type(layer).__name__,
                    "output_shape": _output_shape(layer),
                    "parameters": layer.count_params(),
                    "formula": _formula(layer),
                }
                for layer in leaf_layers(model)
            ],
        }
        if self.data.reconstructs:
            record["latents"] = dataclasses.asdict(models.latents(model))
            record["likelihood_samples"] = getattr(self.module, "likelihood_samples", 0)
        record["plan"] = (
            self.plan
            or record["plan"]
            or choose_plan(
                model, len(self.data.train), self.trainer.batch_size, self.trainer.epochs
            )
        )
        files.make_folder(self.folder)
        files.write_json(self.folder / "run.json", record)
        print(
            f"{record['pipeline']}: {model.count_params():,} parameters, "
            f"{len(self.data.train):,} training examples, plan {record['plan']}, "
            f"into {self.folder}",
            flush=True,
        )
        return model

    def _check_purpose(self, model: keras.Model) -> None:
        """Refuses a network that gives something else than the data are for, before any work."""
        parts = {layer.name for layer in model.layers}
        gives_back = {"encoder", "decoder"} <= parts
        if self.data.reconstructs and not gives_back:
            raise UserError(
                f"{model.name} has no layers named encoder and decoder, and {self.data.name} is to "
                "be given back: see models.autoencoder, or leave out reconstructed()"
            )
        if gives_back and not self.data.reconstructs:
            raise UserError(
                f"{model.name} gives images back, and {self.data.name} has labels to be learned: "
                "say reconstructed() where load_data names the dataset"
            )

    def _train(self, model: keras.Model, record: dict) -> tuple:
        history = self.trainer.fit(
            model,
            self.data,
            seed=self.seed,
            plan=record["plan"],
            folder=self.folder,
            budget=self.budget,
        )
        files.write_bytes(self.folder / "history.csv", history.to_csv().encode())
        record["training"] = {
            "epochs": len(history.rows),
            "best_epoch": history.best_epoch,
            "steps": history.step,
            "stopped_by": history.stopped_by,
        }
        if self.trainer.retrain:
            model = self._retrain(record, history.best_epoch)
        record["weights_sha256"] = weights_sha256(model)
        temporary = self.folder / ".model.part-0.keras"  # Keras insists on the suffix
        model.save(temporary)
        files.write_bytes(self.folder / "model.keras", temporary.read_bytes())
        temporary.unlink()
        return model, history

    def _retrain(self, record: dict, epochs: int) -> keras.Model:
        """The network trained anew, on train and val, for as many epochs as were best."""
        print(f"training anew on train and val for {epochs} epochs", flush=True)
        model, both = self._new_model(record), self.data.with_val_in_train()
        history = dataclasses.replace(self.trainer, epochs=epochs, patience=0).fit(
            model,
            both,
            seed=self.seed,
            plan=record["plan"],
            folder=self.folder / "retraining",
            budget=self.budget,
        )
        record["training"] |= {
            "retrained_epochs": len(history.rows),
            "retrained_examples": len(both.train),
            "retraining_seconds": round(history.seconds, 2),
        }
        return model

    def _evaluate(self, model: keras.Model, record: dict) -> tuple[dict, dict]:
        path = self.folder / "predictions.npz"
        predictions = standing_predictions(path, record["weights_sha256"])
        if predictions is None:
            name, kind = record["pipeline"], self.data.kind
            openings = evaluation.count_opening(name, self.data.name, kind, self.folder)
            export.write_npz(
                path,
                **self._open_test(model),
                weights_sha256=np.array(record["weights_sha256"]),
                openings=np.array(openings),
            )
            predictions = standing_predictions(path, record["weights_sha256"])
        record["data"]["test_openings"] = int(predictions["openings"])
        record["data"]["duplicates"] = data.count_shared(self._seen, self.data.test)
        metrics = self._metrics(model, predictions)
        files.write_json(self.folder / "metrics.json", metrics)
        target = getattr(self.module, "target", None)
        if target and self.data.reconstructs and target.metric not in metrics:
            print(f"no {target.metric} in this variant: the target does not apply", flush=True)
        elif target:
            metric = metrics[target.metric]
            record["target"] = {
                **dataclasses.asdict(target),
                "value": metric["value"],
                "low": metric["low"],
                "high": metric["high"],
                "verdict": evaluation.verdict(target, metric, self.data.kind, self.data.official),
            }
        return predictions, metrics

    def _open_test(self, model: keras.Model) -> dict[str, np.ndarray]:
        """What the network makes of the test split, as arrays."""
        test = self.data.test
        if self.data.reconstructs:
            samples = getattr(self.module, "likelihood_samples", 0)
            # What is compared with the network is fitted to what it was trained on.
            seen = self.data.with_val_in_train() if self.trainer.retrain else self.data
            return reconstruction.open_test(model, seen, self.seed, samples)
        predictions = {
            "index": test.rows,
            "label": test.labels[test.rows],
            "probabilities": predict(model, test),
        }
        if test.texts is not None and not self.data.multilabel:
            predictions["bag_of_words"] = self._bag_of_words()
        return predictions

    def _metrics(self, model: keras.Model, predictions: dict) -> dict[str, dict]:
        if self.data.reconstructs:
            return reconstruction.metrics_of(predictions, model, self.data)
        train_labels = self.data.train.labels[self.data.train.rows]
        answers = predictions["label"], predictions["probabilities"], self.data.label_names
        if self.data.multilabel:
            return evaluation.multilabel_metrics(*answers, train_labels)
        majority = int(np.bincount(train_labels).argmax())
        metrics = evaluation.classification_metrics(*answers, majority)
        if "bag_of_words" in predictions:
            metrics |= evaluation.baseline_metrics(*answers[:2], predictions["bag_of_words"])
        return metrics

    @property
    def _seen(self) -> data.Split:
        """All examples that the network was trained on."""
        return (self.data.with_val_in_train() if self.trainer.retrain else self.data).train

    def _bag_of_words(self) -> np.ndarray:
        """What TF-IDF with logistic regression says of the test texts, trained on the same."""
        print("a bag of words with logistic regression, to compare with", flush=True)
        seen, test = self._seen, self.data.test
        return baselines.bag_of_words(
            seen.take_texts(np.arange(len(seen))),
            seen.labels[seen.rows],
            test.take_texts(np.arange(len(test))),
        )

    def _export(self, model: keras.Model) -> None:
        names, val = self.data.label_names, self.data.val
        positions = np.resize(np.arange(len(val)), 64)
        if self.data.reconstructs:
            export.export_autoencoder(model, self.folder)
            export.write_golden_autoencoder(model, val.take(positions)[0], self.folder)
            return
        options = {"multilabel": self.data.multilabel}
        if self.data.vocabulary:
            inputs = val.take_texts(positions)
            options["vectorizer"] = Vectorizer(self.data.vocabulary, self.data.sequence_length)
        else:
            inputs, _ = val.take(positions)
        export.export(model, names, self.folder, **options)
        export.write_golden(model, inputs, names, self.folder, **options)

    def _prove(self) -> dict:
        print("proving the export in a process without Keras", flush=True)
        test = self.data.test
        inputs = test.inputs if test.texts is None else test.texts.content
        return export.prove(self.folder, pathlib.Path(inputs.filename))

    def _remove_checkpoints(self) -> None:
        for folder in (self.folder, self.folder / "retraining"):
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _write_manifest(self) -> None:
        """The manifest says that everything is there: it comes last."""
        final = {
            path.relative_to(self.folder).as_posix(): {
                "sha256": files.sha256(path),
                "size": path.stat().st_size,
            }
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
            and path.name != "manifest.json"
            and not {"logs", "checkpoints"} & set(path.relative_to(self.folder).parts)
        }
        content = {"format_version": FORMAT_VERSION, "files": final}
        files.write_json(self.folder / "manifest.json", content)


def load_embeddings(model: keras.Model, dataset, prepared: data.Data) -> dict | None:
    """Starts the embedding of a model with the word vectors that the dataset names, if it does.

    Returns:
        What was found, see `models.load_embeddings`, and the file.

    Raises:
        UserError: The file cannot be read or does not fit; file and line are named.
    """
    path = dataset.vectorization and dataset.vectorization.embeddings
    if not path:
        return None
    try:
        coverage = models.load_embeddings(model, path, prepared.vocabulary)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(
        f"{path}: vectors for {coverage['found']:,} of the {coverage['words']:,} words "
        f"({100 * coverage['coverage']:.1f} %); the others learn from a random start",
        flush=True,
    )
    return {"file": path, **coverage}


def predict(model: keras.Model, split: data.Split) -> np.ndarray:
    """Probabilities of all examples of a split, in its order."""
    order = split.shortest_first()
    answers = model.predict(split.at(order).batches(512), verbose=0)["probabilities"]
    probabilities = np.empty_like(answers)
    probabilities[order] = answers
    return probabilities


def _active_values(hp) -> dict:
    return {p.name: hp.values[p.name] for p in hp.space if hp.is_active(p)}


def _difference(standing: Mapping, record: Mapping, key: str) -> str:
    old, new = standing.get(key), record[key]
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
        return ", ".join(f"{n}={old.get(n)}, now {new.get(n)}" for n in names)
    return "the file was edited" if key == "code_sha256" else f"{old}, now {new}"


def _formula(layer: keras.Layer) -> str:
    """How a layer's parameters are counted: "3 × 3 × 3 × 32 + 32", kernel and bias."""
    return " + ".join(" × ".join(map(str, weight.shape)) for weight in layer.weights)


def _output_shape(layer: keras.Layer) -> list:
    shape = layer.output.shape if not isinstance(layer.output, list | dict) else ()
    return list(shape)
