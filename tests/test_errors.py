import keras
import numpy as np
import pytest

from kpipe.errors import first_line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", "ValueError"),
        ("  \n\n", "ValueError"),
        ("\n  first.\nsecond", "first"),
        (
            "Exception encountered when calling A.call().\n\n\x1b[1mwrong shape\x1b[0m\n\nArgs",
            "wrong shape",
        ),
        ("{{function_node __wrapped__Relu_device_/CPU:0}} wrong [Op:Relu] name: ", "wrong"),
        ("x" * 300, "x" * 200),
    ],
)
def test_the_first_line_of_an_error_is_what_is_wrong(message, expected):
    assert first_line(ValueError(message)) == expected


def test_the_first_line_of_an_error_in_a_layer_is_its_own():
    with pytest.raises(ValueError, match="Exception encountered") as caught:
        keras.layers.Reshape((3,))(np.zeros((2, 5)))
    assert first_line(caught.value, 40) == "The total size of the tensor must be unc"
