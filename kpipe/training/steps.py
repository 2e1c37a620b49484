"""Training and validation steps, traced as in `Model.fit`.

They are called as concrete functions: TensorFlow counts the traces of all models in a process and
warns about many, but does not count functions requested by their signature.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import ops as tensorflow_ops

from ..errors import UserError
from .kernels import replace, single_kernels
from .plan import fused_steps


def as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps AutoGraph from rewriting a function, and from warning, as Keras does."""
    return tf.autograph.experimental.do_not_convert(function)


def create_variables(model: keras.Model, batch: tuple[tf.Tensor, ...]) -> dict:
    """Validates a batch, which creates the metrics' variables, and creates the optimizer's.

    Compiled programs cannot create variables. All values are as before, except those of metrics.

    Returns:
        The logs of the validation.
    """
    kept = [(v, tf.identity(v.value)) for v in model.non_trainable_variables]
    logs = model.test_step(batch)
    for variable, value in kept:  # a random layer may have advanced its seed
        variable.assign(value)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return logs


@contextlib.contextmanager
def unchanged(model: keras.Model, batch: tuple[tf.Tensor, ...]) -> Iterator[None]:
    """Restores all state of a model and its optimizer that training steps have changed within.

    Args:
        model: Compiled model; its variables are created, see `create_variables`.
        batch: A batch with one example.
    """
    create_variables(model, batch)
    state = [*model.variables, *model.optimizer.variables]
    kept = [tf.identity(variable.value) for variable in state]
    try:
        yield
    finally:
        for variable, value in zip(state, kept, strict=True):
            variable.assign(value)
        model.reset_metrics()


def make_train_function(
    model: keras.Model, plan: str, spec: Sequence[tf.TensorSpec], batch_size: int
) -> Callable[..., dict]:
    """Makes the function that runs all steps of an element of `training_batches`.

    An element with one step is run as in `fit`, with the model's `run_eagerly` and `jit_compile`,
    and with single kernels under the plan "kernels"; a full element of the plan "fused:K" is one
    XLA program with a loop.

    Programs for any number of examples round otherwise than those for one number, and a run can be
    resumed at any batch. So full batches have a program of their own, and all others share one,
    whichever came first.

    Args:
        model: Compiled model with built variables.
        plan: Execution plan, see `plan`.
        spec: `element_spec` of the batches.
        batch_size: Number of examples of a full batch.

    Returns:
        Function of (inputs, targets) or (inputs, targets, weights), each with a leading axis of
        steps; it returns the logs of the last step.
    """
    stack = fused_steps(plan, model)

    def one_step() -> Callable[..., dict]:
        step = _one_step(model, model.train_step)  # with traces of its own
        return as_written(lambda *batch: step(*(part[0] for part in batch)))

    @as_written
    def many_steps(*batch: tf.Tensor) -> dict:
        def one_step(*parts: tf.Tensor) -> dict:
            logs = _traced(model.train_step)(*parts)
            return {name: tf.convert_to_tensor(value) for name, value in logs.items()}

        # Traced once, before the loop, which needs initial values of the logs.
        specs = [tf.TensorSpec(part.shape[1:], part.dtype) for part in batch]
        step = tf.function(as_written(one_step)).get_concrete_function(*specs)
        outputs = step.structured_outputs
        empty = {name: tf.zeros(log.shape, log.dtype) for name, log in outputs.items()}
        _, logs = tf.while_loop(
            lambda i, _: i < stack,
            as_written(lambda i, _: (i + 1, step(*(part[i] for part in batch)))),
            (0, empty),
            maximum_iterations=stack,
        )
        return logs

    def trace(is_full: bool) -> Callable[..., dict]:
        size = batch_size if is_full else None
        shapes = [(1, size, *part.shape[2:]) for part in spec]
        parts = zip(shapes, spec, strict=True)
        specs = [tf.TensorSpec(shape, part.dtype) for shape, part in parts]
        with as_planned(model, plan if stack == 1 else "graph"):
            return tf.function(one_step()).get_concrete_function(*specs)

    eager = one_step() if model.run_eagerly else None
    fused = tf.function(many_steps, jit_compile=True)
    programs: dict[tuple[int, bool], Callable[..., dict]] = {}

    def train(*batch: tf.Tensor) -> dict:
        if eager:
            return eager(*batch)
        steps, size = batch[0].shape[:2]
        kind = (steps, size == batch_size)
        if kind not in programs:
            if steps == stack > 1:
                with as_planned(model, plan):
                    programs[kind] = fused.get_concrete_function(*batch)
            else:
                programs[kind] = trace(kind[1])
        return run_program(programs[kind], batch)

    return train


@contextlib.contextmanager
def as_planned(model: keras.Model, plan: str) -> Iterator[None]:
    """Lets the model's operations be traced as a plan computes them."""
    if plan == "kernels":
        with single_kernels(model):
            yield
    elif plan == "graph":
        yield
    else:
        with _threefry():
            yield


@contextlib.contextmanager
def _threefry() -> Iterator[None]:
    """Lets an XLA program that is traced draw its random numbers with Threefry.

    It is a generator like Philox, both of Salmon et al. (2011), and much the fastest of XLA on a
    CPU: the one that TensorFlow chooses there made dropout nine tenths of a network's time.
    """
    with contextlib.ExitStack() as stack:
        for module, name, argument in (
            (tf.random, "stateless_uniform", "alg"),
            (tf.random, "stateless_normal", "alg"),
            (tf.random, "stateless_truncated_normal", "alg"),
            (tf.nn.experimental, "stateless_dropout", "rng_alg"),
        ):
            draw = functools.partial(getattr(module, name), **{argument: "threefry"})
            replace(stack, module, name, draw)
        yield


def make_test_function(
    model: keras.Model, spec: Sequence[tf.TensorSpec]
) -> Callable[[Iterator], dict]:
    """Makes the function that runs the next validation steps, like `Model.test_function`.

    Args:
        model: Compiled model with built variables.
        spec: `element_spec` of the batches.
    """
    step = _one_step(model, model.test_step)
    program = step if model.run_eagerly else step.get_concrete_function(*spec)

    def test(batches: Iterator) -> dict:
        for _, batch in zip(range(model.steps_per_execution), batches, strict=False):
            logs = run_program(program, batch)
        return logs

    return test


def _one_step(model: keras.Model, step: Callable[[tuple], dict]) -> Any:
    """Wraps `model.train_step` or `test_step`, compiled according to the model's settings."""
    one_step = _traced(step)
    if model.run_eagerly:
        return one_step
    return tf.function(one_step, reduce_retracing=True, jit_compile=model.jit_compile)


def _traced(step: Callable[[tuple], dict]) -> Callable[..., dict]:
    """Returns a step as a function of the parts of a batch, whose trace TensorFlow can free."""

    @as_written
    def one_step(*batch: tf.Tensor) -> dict:
        logs = step(batch)
        forget_custom_gradients()
        return logs

    return one_step


def forget_custom_gradients(graph: tf.Graph | None = None) -> None:
    """Lets TensorFlow free the graph that is being traced, with the model's weights, after use.

    TensorFlow registers each custom gradient forever, and with it the graph that contains it;
    every Keras optimizer has one, in a branch if it accumulates gradients or scales the loss. At
    the end of a training step nothing is left to differentiate, unlike in functions that the graph
    calls, which other models may call too. https://github.com/tensorflow/tensorflow/issues/97697

    Args:
        graph: The graph, or that of a branch; by default the one that is being traced.
    """
    graph = graph or tf.compat.v1.get_default_graph()
    # Private: a TensorFlow without them keeps the graph, and nothing else changes.
    gradients = getattr(getattr(tensorflow_ops, "gradient_registry", None), "_registry", {})
    functions = getattr(graph, "_functions", {})
    for operation in graph.get_operations():
        if operation.type == "IdentityN":
            gradients.pop(operation.node_def.attr["_gradient_op_type"].s.decode(), None)
        elif operation.type.removeprefix("Stateless") in ("If", "Case", "While"):
            for attribute in operation.node_def.attr.values():
                for branch in (attribute.func, *attribute.list.func):
                    if branch.name in functions:
                        forget_custom_gradients(functions[branch.name].graph)


def run_program(program: Callable[..., dict], batch: Sequence[tf.Tensor]) -> dict:
    try:
        return program(*batch)
    except tf.errors.OpError as error:
        if "unsupported operations" not in error.message:
            raise
        # "... on XLA_CPU_JIT: PyFunc (No registered 'PyFunc' OpKernel for XLA_CPU_JIT devices ..."
        what = error.message.split("_JIT: ")[-1].split(" (")[0]
        raise UserError(
            f"XLA cannot compile {what}, which the model, its loss or a metric uses; use the plan "
            "graph (--plan graph), and compile the model without jit_compile=True"
        ) from None
