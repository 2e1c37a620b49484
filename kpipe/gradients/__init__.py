"""Checks the gradient of a loss in float64: finite differences, Taylor and Jacobian tests.

    kpipe.gradients.check(my_model, my_loss, x, y).passed

It depends on Keras and TensorFlow only, not on the rest of kpipe.
"""

from .checks import HEADING, GradientCheck, VariableCheck, check

__all__ = ["HEADING", "GradientCheck", "VariableCheck", "check"]
