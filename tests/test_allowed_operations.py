"""The list of allowed operations is complete: exports of all pipelines in all variants pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kpipe import models
from kpipe.errors import UserError
from kpipe.experiments import catalogue
from kpipe.experiments.running import open_experiment
from kpipe.export import export
from kpipe.export.scanning import check_graph
from kpipe.measures.calibration import calibrated_arrays
from kpipe.models.pretrained import BACKBONES

OWN_DATA = {"image_folder", "table", "text_table"}  # exported by tests of own data
# Word choices of a pipeline that need a file or a download, or change no layer.
NOT_BUILT = {"backbone", "weights", "embeddings"}


def variants(name):
    """The pipeline as it is, and with each other value of each key that is a choice of words."""
    yield {}
    space = open_experiment(name, {}, data="sample", data_dir=None, seed=0).settings.hp.space
    for key in space:
        values = getattr(key, "values", ())
        if key.name not in NOT_BUILT and all(isinstance(value, str) for value in values):
            yield from ({key.name: value} for value in values if value != key.default)


def arrays_of(experiment, prepared):
    """What the endpoints of a calibrated network need of predictions.npz."""
    if experiment.module.task not in ("classification", "multilabel"):
        return {}
    threshold = 0.9 if experiment.module.task == "classification" else None
    classes = len(prepared.label_names)
    probabilities = np.full((2, classes), 1 / classes, np.float32)
    return {"probabilities": probabilities, **calibrated_arrays(probabilities, 2.0, threshold)}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*catalogue.names()} - OWN_DATA))
def test_exports_of_a_pipeline_pass_in_all_variants(name, tmp_path):
    for i, keys in enumerate(variants(name)):
        try:
            experiment = open_experiment(name, keys, data="sample", data_dir=None, seed=0)
        except UserError:  # it contradicts another key's default
            assert keys
            continue
        prepared = experiment.prepare()
        model, _ = experiment.build_model(prepared)
        task = experiment.task
        arrays = arrays_of(experiment, prepared)
        folder = tmp_path / str(i)
        export(folder, task.endpoints(task.inference(model, prepared), prepared, arrays))
        check_graph(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_an_export_of_a_backbone_passes(name, tmp_path):
    keras.utils.clear_session()
    model = models.pretrained(name, (32, 32, 3), 3, weights="none")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda images: {"probabilities": model(images, training=False)["probabilities"]},
        input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.uint8)],
    )
    archive.write_out(tmp_path / "export", verbose=False)
    check_graph(tmp_path / "export")
