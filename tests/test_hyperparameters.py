import pytest

from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules


def load(name):
    return modules.load(catalogue.find(name))[0]


@pytest.fixture(scope="module")
def mnist():
    return load("mnist_mlp")


def test_without_overrides_everything_is_the_default(mnist):
    settings = keys.resolve(mnist, {})
    assert settings.overrides == {} and settings.choices == {}
    assert settings.hp.values["units_1"] == 1024


def test_text_and_values_are_the_same_override(mnist):
    text = {"learning_rate": "0.003", "epochs": "7", "activation": "tanh", "l2": "1e-4"}
    values = {"learning_rate": 0.003, "epochs": 7, "activation": "tanh", "l2": 1e-4}
    a, b = (keys.resolve(mnist, given) for given in (text, values))
    assert a.overrides == b.overrides == values
    assert a.trainer.epochs == 7 and a.hp.values["learning_rate"] == 0.003


def test_an_override_by_the_default_is_none(mnist):
    assert keys.resolve(mnist, {"units_1": "1024", "epochs": "80"}).overrides == {}


def test_a_value_can_bring_keys_into_being(mnist):
    given = {"units_4": "16", "num_layers": "4", "momentum": "0.5", "optimizer": "sgd_momentum"}
    values = keys.resolve(mnist, given).hp.values
    assert values["units_4"] == 16 and values["momentum"] == 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rat": "1"}, "no key 'learning_rat'; did you mean 'learning_rate'?"),
        ({"learning_rate": "fast"}, "learning_rate=fast: expected a number from 1e-05 to 1"),
        ({"learning_rate": "nan"}, "learning_rate=nan: expected a number"),
        ({"learning_rate": "5"}, "learning_rate=5: expected a number from 1e-05 to 1"),
        ({"units_1": "2.5"}, "units_1=2.5: expected an integer from 8 to 2,048"),
        ({"units_1": 2.5}, "units_1=2.5: expected an integer"),
        ({"units_1": True}, "units_1=True: expected an integer"),
        ({"epochs": "0"}, "epochs=0: expected an integer from 1"),
        ({"epochs": float("inf")}, "epochs=inf: expected an integer from 1"),
        ({"activation": "gelu"}, "activation=gelu: expected one of relu, leaky_relu, tanh"),
        ({"l2": "0.3"}, "l2=0.3: expected one of 0.0, 1e-06"),
        ({"units_4": "16"}, "units_4 has no effect here; it requires num_layers=4"),
        ({"weight_decay": "0.01"}, "weight_decay has no effect here; it requires optimizer=a"),
        (
            {"schedule": "cosine", "reduce_lr_patience": "2"},
            "reduce_lr_patience=2 and a learning-rate schedule contradict each other",
        ),
        ({"gradient_accumulation_steps": "-1"}, "cannot be built with gradient_accumulation_steps"),
    ],
)
def test_a_wrong_override_is_told_in_one_line(mnist, given, message):
    with pytest.raises(UserError) as caught:
        keys.resolve(mnist, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_values_are_choices(mnist):
    settings = keys.resolve(mnist, {"dropout": "0.1,0.2", "batch_size": "32,64"})
    assert settings.choices == {"dropout": [0.1, 0.2], "batch_size": [32, 64]}


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("False", False), ("1", True), ("0", False)]
)
def test_booleans(text, expected):
    module = load("celeba_gender")
    assert keys.resolve(module, {"flip": text}).hp.values["flip"] is expected
    with pytest.raises(UserError, match="flip=maybe: expected true or false"):
        keys.resolve(module, {"flip": "maybe"})


@pytest.mark.parametrize(("default", "text", "value"), [(-1.0, "-2", -2.0), (3, "-4", -4)])
def test_a_key_that_is_not_searched_can_be_negative(default, text, value):
    given = keys._Keys({"offset": text}, {})
    assert given.Fixed("offset", default) == value and type(value) is type(default)


def test_a_contradiction_is_judged_after_all_overrides():
    module = load("celeba_gender")
    given = {"schedule": "cosine", "decay_steps": "500", "reduce_lr_patience": "0"}
    settings = keys.resolve(module, given)
    assert settings.trainer.reduce_lr_patience == 0
    with pytest.raises(UserError, match="contradict each other"):
        keys.resolve(module, {"schedule": "cosine"})


def test_sample_data_take_fewer_epochs_unless_they_were_asked_for():
    module = load("gmm")

    def epochs(given):
        settings = keys.resolve(module, given)
        assert settings.trainer.epochs == int(given.get("epochs", 250))
        return keys.resolve(module, given, sample=True).trainer.epochs

    assert epochs({}) == 60
    assert epochs({"epochs": "100"}) == 100
    assert epochs({"epochs": "3"}) == 3


def test_the_commas_of_a_path_separate_nothing_and_a_long_one_hides_nothing():
    module = load("cifar10_transfer")
    path = "a/" * 150 + "run,seed=1"
    with pytest.raises(UserError, match=rf"weights={path}: no such file; .* a run's folder$"):
        keys.resolve(module, {"weights": path})


def test_on_sample_data_a_pipelines_shorter_settings_hold_unless_something_was_said():
    module = load("mnist_joint_vae")

    def on_sample(**overrides):
        return keys.resolve(module, overrides, sample=True)

    assert on_sample().hp.values["capacity_steps"] == module.sample["capacity_steps"]
    assert on_sample().overrides == {}  # nothing was overridden: the folder keeps its name
    assert on_sample(capacity_steps=77).hp.values["capacity_steps"] == 77
    # The default that was asked for is another setting than the sample's, and named so.
    assert on_sample(capacity_steps=25_000).overrides == {"capacity_steps": 25_000}
    fixed = on_sample(capacity="none", epochs=2)  # where the key has no effect it is not given
    assert fixed.overrides == {"capacity": "none", "epochs": 2}
    assert fixed.trainer.epochs == 2


def test_a_pipelines_functions_run_once_however_deep_the_keys(mnist, monkeypatch):
    built = []
    for name in ("load_data", "build_model", "build_trainer"):
        function = getattr(mnist, name)

        def counted(hp, name=name, function=function):
            built.append(name)
            return function(hp)

        monkeypatch.setattr(mnist, name, counted)
    given = {"num_layers": "4", "units_4": "16", "optimizer": "sgd_momentum", "momentum": "0.5"}
    keys.resolve(mnist, given, sample=True)
    assert built == ["load_data", "build_model", "build_trainer"]


def test_the_dataset_alone_needs_no_other_keys():
    module = load("grocery_cnn")
    dataset = keys.load_dataset(module, {"image_size": "32", "no_such_key": "1"})
    assert dataset.input_shape == (32, 32, 3)
    with pytest.raises(UserError, match="image_size=huge: expected one of 32, 64, 96"):
        keys.load_dataset(module, {"image_size": "huge"})
    settings = keys.resolve(module, {"image_size": "32"})
    assert settings.dataset.input_shape == dataset.input_shape
