"""Whether the gradient of a loss is right: differences, Taylor and Jacobian tests, in float64.

    kpipe.gradients.check(my_model, my_loss, x, y).passed

It knows Keras and TensorFlow, and nothing of kpipe.
"""

from .checks import HEADING, GradientCheck, VariableCheck, check

__all__ = ["HEADING", "GradientCheck", "VariableCheck", "check"]
