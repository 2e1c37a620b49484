"""What the first homework asks of perceptrons and of two layers."""

import keras
import numpy as np
import pytest

from kpipe import data
from kpipe.experiments import catalogue, keys, modules


def right_answers(gate, hidden_units, seed=0, epochs=6):
    """Which rows of the truth table the trained network answers rightly, bool (4,)."""
    module, _ = modules.load(catalogue.find("logic_gates"))
    settings = keys.resolve(module, {"gate": gate, "hidden_units": hidden_units, "epochs": epochs})
    prepared = data.prepare(settings.dataset, settings.dataset.find())
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = module.build_model(settings.hp)
    settings.trainer.fit(model, prepared, seed=seed)
    inputs, labels = prepared.test.take(np.arange(4))
    return model.predict(inputs, verbose=0)["probabilities"].argmax(axis=1) == labels


@pytest.mark.parametrize(
    "gate", ["and", *(pytest.param(g, marks=pytest.mark.slow) for g in ("or", "nand"))]
)
def test_a_perceptron_learns_what_a_line_separates(gate):
    assert right_answers(gate, hidden_units=0).all()


def test_a_perceptron_leaves_a_sample_of_xor_misclassified():
    assert not right_answers("xor", hidden_units=0).all()


def test_two_layers_learn_xor():
    assert right_answers("xor", hidden_units=4).all()


@pytest.mark.slow
def test_four_hidden_units_learn_xor_from_nearly_every_start():
    learned = [right_answers("xor", 4, seed, epochs=20).all() for seed in range(20)]
    assert sum(learned) >= 19  # 95 %
