"""The caller's session and random states, and the settings that the caller made."""

import random
import re
import subprocess
import sys
import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.common import global_state

import kpipe
from kpipe import checking, engines, environment
from kpipe.errors import UserError
from kpipe.experiments.session import own_session

PUBLIC = (
    kpipe.run,
    kpipe.search,
    kpipe.learning_curve,
    kpipe.check_labels,
    checking.check_gradients,
)


def draw():
    """Draws from every random state, and names a layer."""
    numbers = [random.random(), np.random.rand(), tf.random.uniform(()), keras.random.uniform(())]
    return [*map(float, numbers), keras.layers.Flatten().name]


@pytest.mark.parametrize("seed", [None, 5])
def test_randomness_names_and_settings_of_the_caller_are_left(seed):
    with own_session():  # the test's caller
        keras.utils.clear_session(free_memory=False)
        tf.random.set_seed(0) if seed is None else keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy("mixed_bfloat16")
        states = random.getstate(), np.random.get_state()
        expected = draw()
        random.setstate(states[0])
        np.random.set_state(states[1])
        tf.random.set_seed(seed or 0)
        if seed is not None:
            keras.utils.set_random_seed(seed)
        generator = tf.random.get_global_generator().state.numpy()
        with pytest.raises(ZeroDivisionError), own_session():
            keras.layers.Flatten()  # before and after a new session
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(1)
            keras.config.set_dtype_policy("float32")
            keras.config.set_floatx("float16")
            draw()
            raise ZeroDivisionError
        found = draw()
        assert found[:3] == expected[:3]
        if seed is not None:  # else Keras' generator is drawn from Python's
            assert found[3] == expected[3]
        assert keras.layers.Flatten().name == "flatten_2" and found[4] == "flatten_1"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.config.floatx() == "float32"
        np.testing.assert_array_equal(tf.random.get_global_generator().state, generator)


@pytest.mark.parametrize("function", PUBLIC)
def test_a_second_run_of_the_process_is_refused_and_the_callers_session_is_left(function, tmp_path):
    """Each public function is in a session of its own: also if it fails, as here."""
    messages = []

    def second():
        try:
            function("mnist_mlp", out=tmp_path)
        except UserError as error:
            messages.append(str(error))

    with own_session():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        with own_session():  # the thread that runs may run again
            pass
    assert messages == [
        "another run is in progress in this process, in another thread; wait for it, or start "
        "another process"
    ]
    states = (
        random.getstate(),
        np.random.get_state()[2],
        dict(vars(global_state.GLOBAL_STATE_TRACKER)),
    )
    for _ in range(2):  # the failed call holds no lock
        with pytest.raises(UserError, match="no pipeline"):
            function("no such", out=tmp_path)
    now = random.getstate(), np.random.get_state()[2], dict(vars(global_state.GLOBAL_STATE_TRACKER))
    assert now == states


@pytest.mark.parametrize(("chosen", "expected"), [(0, 3), (1, 1)])
def test_threads_that_the_caller_chose_are_kept(chosen, expected, monkeypatch):
    counts = {"intra": chosen, "inter": chosen}
    calls = {f"get_{k}_op_parallelism_threads": lambda k=k: counts[k] for k in counts}
    calls |= {
        f"set_{k}_op_parallelism_threads": lambda n, k=k: counts.update({k: n}) for k in counts
    }
    monkeypatch.setattr(environment.tf.config, "threading", types.SimpleNamespace(**calls))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
    environment.fix_threads()
    assert counts == {"intra": expected, "inter": expected}


@pytest.mark.parametrize("given", ["", "0", " "])
def test_a_variable_without_a_number_of_threads_leaves_them_to_kpipe(given, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
    assert engines.threads_or(7) == 7
    assert engines.thread_settings(2)["TF_NUM_INTRAOP_THREADS"] == "2"


@pytest.mark.parametrize("given", ["many", "-1", "1.5", "99999999999"])
@pytest.mark.parametrize("name", ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"])
def test_what_is_no_number_of_threads_is_refused_in_one_line(name, given, monkeypatch):
    monkeypatch.setenv(name, given)
    with pytest.raises(UserError, match=f"{name}={re.escape(given)}; expected a number of threads"):
        engines.thread_settings(2)
    unset = {f"get_{k}_op_parallelism_threads": lambda: 0 for k in ("intra", "inter")}
    unset |= {f"set_{k}_op_parallelism_threads": lambda n: None for k in ("intra", "inter")}
    monkeypatch.setattr(environment.tf.config, "threading", types.SimpleNamespace(**unset))
    with pytest.raises(UserError, match=name):
        environment.fix_threads()


SETTINGS = """
import os, random, sys
os.environ["XLA_FLAGS"] = "--xla_cpu_enable_fast_math=false"
import keras, numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.experimental.enable_op_determinism()
tf.config.set_soft_device_placement(False)
tf.config.set_visible_devices([], "GPU")
keras.config.set_dtype_policy("mixed_bfloat16")
keras.utils.set_random_seed(3)

import kpipe
from tensorflow.python.framework import config

before = random.getstate(), np.random.get_state()[1].tobytes(), dict(os.environ)
run = kpipe.run("logic_gates", out=sys.argv[1], epochs=2)
assert before == (random.getstate(), np.random.get_state()[1].tobytes(), dict(os.environ))
assert config.is_op_determinism_enabled() and not tf.config.get_soft_device_placement()
assert tf.config.get_visible_devices("GPU") == [] == run.record.machine["gpus"]
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert run.record.machine["intra_op_threads"] == 1 and run.record.machine["deterministic_ops"]
assert {layer.dtype_policy.name for layer in run.model.layers} >= {"mixed_bfloat16"}
assert keras.config.dtype_policy().name == "mixed_bfloat16"
assert keras.layers.Dense(1).name == "dense" and run.record.proof.passed
"""


@pytest.mark.slow
def test_settings_that_the_caller_made_are_honoured_and_kept(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_precision_is_that_of_the_layers_and_part_of_the_folders_name(tmp_path):
    from kpipe.experiments.folders import run_folder
    from kpipe.experiments.running import open_experiment

    given = {"data": "sample", "data_dir": None, "seed": 0}
    with own_session():
        experiment = open_experiment("mnist_mlp", {}, precision="mixed_bfloat16", **given)
        model, _ = experiment.build_model()
    hidden = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    assert hidden.compute_dtype == "bfloat16"
    assert hidden.kernel.dtype == model.outputs[0].dtype == "float32"
    assert experiment.dtype_policy == "mixed_bfloat16"
    assert run_folder(tmp_path, experiment).name == "mnist_mlp-sample,precision=mixed_bfloat16"
    assert keras.config.dtype_policy().name == "float32"
