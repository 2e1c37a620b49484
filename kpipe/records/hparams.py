"""A search for TensorBoard's HParams plugin."""

import pathlib
from typing import Any

from .. import files
from .study import COMPLETED, RUNNING, Study


def write_hparams(folder: pathlib.Path, study: Study) -> pathlib.Path:
    """Writes the trials for TensorBoard: `tensorboard --logdir FOLDER/hparams`.

    A session is a trial that has ended: its values, its objective, and whether it failed. All are
    written anew and take the place of those before, so that a search that goes on is not appended
    twice.

    Args:
        folder: The search's folder.
        study: The search.

    Returns:
        The path of the folder `hparams` in it.
    """
    import tensorflow as tf  # takes seconds to import
    from tensorboard.plugins.hparams import api, api_pb2, summary  # type: ignore[import-untyped]

    path = folder / "hparams"
    keys = []
    for key in study.space:
        chosen = {_plain(trial.values[key]) for trial in study.trials if key in trial.values}
        kinds, domain = {type(value) for value in chosen}, None
        if study.scales[key] == "choice" and len(kinds) == 1:  # it refuses several types
            domain = api.Discrete(sorted(chosen))
        elif kinds and kinds <= {int, float}:
            domain = api.RealInterval(float(min(chosen)), float(max(chosen)))
        keys.append(api.HParam(key, domain))
    with files.new_folder(path) as temporary:
        with tf.summary.create_file_writer(str(temporary)).as_default():
            api.hparams_config(hparams=keys, metrics=[api.Metric(study.objective)])
        for trial in study.trials:
            if trial.status == RUNNING:
                continue
            values = {key: _plain(value) for key, value in trial.values.items()}
            with tf.summary.create_file_writer(str(temporary / f"{trial.trial:04d}")).as_default():
                api.hparams(values, trial_id=f"trial {trial.trial}")
                if trial.value is not None:
                    tf.summary.scalar(study.objective, trial.value, step=0)
                done = trial.status == COMPLETED
                status = api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE
                end = summary.session_end_pb(status).SerializeToString()
                tf.summary.experimental.write_raw_pb(end, step=0)
    return path


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
