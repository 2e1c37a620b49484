"""Checks an export before anything of it is loaded: a SavedModel is a program.

Loading one runs code: initialisers of its resources can write files. Therefore its protobuf is
parsed first, without TensorFlow's loader, and every operation must be one of `ALLOWED`, every other
part one of those in parts.py. Operations that write checkpoints are allowed in the standard saver
alone, which nothing else may call.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

from ..disk import without_patterns
from ..errors import UserError, first_line
from .operations import ALLOWED
from .parts import GRADIENT, OF_NODES, attributes, find_part, find_setting
from .versions import GRAPH, version_folder

MAX_GRAPH = 64 << 20  # bytes; the largest graph of a bundled pipeline has 2 MB
MAX_TEXT = 16 << 20  # bytes of each other file but the variables
MAX_VARIABLES = 16 << 30  # bytes of a file of variables
MAX_CONSTANTS = 1 << 26  # elements of all constants, which are a few bytes in the file if equal

CALLS = frozenset(
    """
    Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While
    """.split()
)
# The two functions that TensorFlow writes into every SavedModel consist of these operations, and of
# those that take file names, see `_keeps_to`.
_HARMLESS = frozenset(
    """
    AssignVariableOp Const DisableCopyOnRead Identity NoOp ReadVariableOp StaticRegexFullMatch
    """.split()
)
_SAVING = frozenset("MergeV2Checkpoints Pack SaveV2 Select ShardedFilename StringJoin".split())
_RESTORING = frozenset(("RestoreV2",))
# No separator of a StringJoin, which would be part of the file names.
_OF_SAVERS = OF_NODES | frozenset("N T dtype dtypes pattern value".split())
_OBJECTS_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"  # of a text in the file of variables
_SUFFIXES = {b".part", b"_temp/part"}  # of the files that the saver writes
# Parts of the object graph; others are rebuilt by Python classes or read files.
_KINDS = frozenset(
    """
    bare_concrete_function captured_tensor constant function resource user_object variable
    """.split()
)
_OBJECTS = frozenset(
    """
    _generic_user_object signature_map trackable_dict_wrapper trackable_list_wrapper
    trackable_tuple_wrapper
    """.split()
)
_REGISTERED = frozenset(("", "tf.TrackableConstant", "tf.StaticHashTable"))
_COLLECTIONS = frozenset(("saved_model_main_op",))
_LOCAL = re.compile(r"(/job:localhost|/replica:0|/task:0|/device:(CPU|GPU):(\d+|\*))*")
_TYPES = frozenset(
    """
    bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 half bfloat16 float float16 float32
    float64 double complex64 complex128 string
    """.split()
)
_NUMBERS = frozenset(tf.as_dtype(name).as_datatype_enum for name in _TYPES)  # no handles


def check_graph(folder: pathlib.Path, version: int | None = None) -> None:
    """Checks that a SavedModel does nothing but compute, without loading it.

    This limits what an export can do, not the memory or time that it takes, and it does not protect
    from bugs in TensorFlow: other people's models belong in a sandbox.

    Args:
        folder: A run's folder, or a SavedModel folder.
        version: One of a run's versions; None for the latest.

    Raises:
        UserError: It contains an operation or a part that is not known to be harmless, is too large
            or cannot be read; the message names it.

    Example:
        check_graph(pathlib.Path("saved_models/mnist_mlp"))
    """
    folder = version_folder(folder, version)
    _check_files(folder)
    content = (folder / GRAPH).read_bytes()
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(content)
    except Exception:  # the error's type depends on the implementation of protobuf
        model.Clear()
    if not model.meta_graphs:
        raise UserError(f"{folder / GRAPH}: not a SavedModel, or damaged; export it again")
    if len(model.meta_graphs) > 1:
        raise _refused(folder, f"it contains {len(model.meta_graphs)} graphs instead of one")
    problem = _find_problem(model.meta_graphs[0], content)
    if problem:
        raise _refused(folder, problem)
    _check_variables(folder / "variables")


def _refused(folder: pathlib.Path, problem: str) -> UserError:
    return UserError(
        f"{folder / GRAPH}: refused before loading: {problem}; if you know who made it, --trust "
        "loads it"
    )


def _check_files(folder: pathlib.Path) -> None:
    """Checks names and sizes of all files, and that none is a device or a link to elsewhere."""
    inside = os.path.realpath(folder)
    for where, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(where, name)
            real = os.path.realpath(path)
            if os.path.commonpath([inside, real]) != inside:
                raise UserError(
                    f"{path}: refused: a link to {real}, which is not part of the export"
                )
            if not os.path.isfile(real) and not os.path.isdir(real):
                raise UserError(f"{path}: refused: neither a file nor a folder")
        for name in names:
            path = os.path.join(where, name)
            if name.startswith("saved_model.") and name != GRAPH:
                raise UserError(f"{path}: refused: a second graph; expected {GRAPH} alone")
            limit = MAX_GRAPH if name == GRAPH else MAX_TEXT
            limit = MAX_VARIABLES if name.startswith("variables.data-") else limit
            if (size := os.path.getsize(path)) > limit:
                raise UserError(f"{path}: refused: {size:,} bytes; expected at most {limit:,}")


def _find_problem(graph: Any, content: bytes) -> str:
    """Describes the first part of a graph that is not allowed; "" if there is none."""
    if not graph.HasField("object_graph_def"):
        return "it was not written by TensorFlow 2"  # whose loader runs the graph's own restoring
    if graph.asset_file_def:
        return f"it reads the file {_shown(graph.asset_file_def[0].filename)} when loaded"
    for name in graph.collection_def:
        if name not in _COLLECTIONS:
            return f"collection {_shown(name)}"
    library = graph.graph_def.library
    functions = {function.signature.name: function for function in library.function}
    if len(functions) < len(library.function):
        return "two functions of one name"
    for name in functions:
        if attributes(name):
            return f"a function with the name of the operation {_shown(name)}"
    savers, problem = _find_savers(graph, functions, content)
    parts = {"": graph.graph_def.node}
    parts |= {name: one.node_def for name, one in functions.items()}
    for name, nodes in parts.items():
        allowed = _HARMLESS | _SAVING | _RESTORING if name in savers else ALLOWED
        problem = problem or _find_operation(name, nodes, functions, allowed)
    problem = problem or _find_gradient(library, functions)
    every = (node for nodes in parts.values() for node in nodes)
    constants = sum(_elements(node) for node in every if node.op == "Const")
    if constants > MAX_CONSTANTS:
        problem = problem or f"{constants:,} elements in constants; expected {MAX_CONSTANTS:,}"
    return problem or _find_object(graph.object_graph_def) or find_part(graph)


def _find_operation(
    where: str, nodes: Any, functions: dict[str, Any], allowed: frozenset[str]
) -> str:
    for node in nodes:
        if node.op not in allowed:
            place = f"node {_shown(node.name)}"
            place += f" of function {_shown(where)}" if where else ""
            return f"operation {_shown(node.op)} in {place}"
        if node.device and not _LOCAL.fullmatch(node.device):
            return f"node {_shown(node.name)} runs on {_shown(node.device)}"
        if node.HasField("experimental_debug_info"):
            return f"node {_shown(node.name)} has 'experimental_debug_info'"
        known = attributes(node.op)
        for key in node.attr:
            if key not in known:
                return f"attribute {_shown(key)} of node {_shown(node.name)}"
        if node.op == "Const" and node.attr["value"].tensor.dtype not in _NUMBERS:
            return f"node {_shown(node.name)} is a handle instead of numbers"
        if node.op in CALLS:
            for called in _called(node):
                if called.name not in functions:
                    called = _shown(called.name)
                    return f"node {_shown(node.name)} calls {called}, which is not part of it"
                if called.attr:
                    return f"node {_shown(node.name)} calls a function with attributes"
            if problem := find_setting(node.attr["config_proto"].s):
                return f"node {_shown(node.name)} has {problem}"
    return ""


def _find_gradient(library: Any, functions: dict[str, Any]) -> str:
    """Describes a gradient that is not a function of the export, but one of the process."""
    known = set()
    for gradient in library.registered_gradients:
        known.add(gradient.registered_op_type.encode())
        if gradient.gradient_func not in functions:
            return f"a gradient calls {_shown(gradient.gradient_func)}, which is not part of it"
    for function in library.function:
        for node in function.node_def:
            has_one = node.op == "IdentityN" and GRADIENT in node.attr
            if has_one and node.attr[GRADIENT].s not in known:
                return f"the gradient of node {_shown(node.name)} is not part of it"
    return ""


def _called(node: Any) -> Iterator[Any]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func
        elif value.HasField("list"):
            yield from value.list.func


def _elements(node: Any) -> int:
    """Number of elements of a constant, which may be few bytes in the file."""
    return math.prod(max(0, dim.size) for dim in node.attr["value"].tensor.tensor_shape.dim)


def _find_savers(
    graph: Any, functions: dict[str, Any], content: bytes
) -> tuple[frozenset[str], str]:
    """Finds the two functions of the standard saver; returns their names, and what is wrong."""
    saver, found = graph.saver_def, set()
    nodes = {node.name: node for node in graph.graph_def.node}
    file_name = nodes.get(saver.filename_tensor_name.partition(":")[0])
    if file_name is None or file_name.op != "Placeholder":
        return frozenset(), ""  # no function may read or write checkpoints
    users = _users(graph)
    for end, writing in ((saver.save_tensor_name, _SAVING), (saver.restore_op_name, _RESTORING)):
        call = nodes.get(end.partition(":")[0])
        # Its first input is the function's first argument, unlike that of a condition.
        if call is None or call.op != "StatefulPartitionedCall":
            return frozenset(), ""
        if list(call.input[:1]) != [file_name.name]:
            return frozenset(), ""
        name = next((one.name for one in _called(call)), "")
        if name not in functions or not _is_standard(functions[name], writing):
            return frozenset(), f"function {_shown(name)} is not TensorFlow's saver"
        # Once as its own name, once in the saver's call; wherever else it is written can call it.
        if content.count(name.encode()) != 2:
            return frozenset(), f"the saver's function {_shown(name)} is used elsewhere"
        if call.name in users:
            kind, user = users[call.name]
            return frozenset(), f"{kind} {_shown(user)} runs the saver"
        found.add(name)
    return frozenset(found), ""


def _users(graph: Any) -> dict[str, tuple[str, str]]:
    """Which node, signature or collection uses a node, by the name of the used one."""
    users = {}
    for node in graph.graph_def.node:
        for name in node.input:
            users[name.lstrip("^").partition(":")[0]] = "node", node.name
    for key, signature in graph.signature_def.items():
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            users[info.name.partition(":")[0]] = "signature", key
    for key, collection in graph.collection_def.items():
        for name in collection.node_list.value:
            users[name.lstrip("^").partition(":")[0]] = "collection", key
    return users


def _is_standard(function: Any, writing: frozenset[str]) -> bool:
    """Whether a saver's function reads or writes only files whose prefix it is given."""
    arguments = list(function.signature.input_arg)
    nodes = {node.name: node for node in function.node_def}
    names = [*nodes, *(argument.name for argument in arguments)]
    if not arguments or len({*names}) < len(arguments) + len(function.node_def):
        return False
    prefix = arguments[0].name
    return all(
        (node.op in _HARMLESS or (node.op in writing and _keeps_to(prefix, node, nodes)))
        and _OF_SAVERS.issuperset(node.attr)
        for node in function.node_def
    )


def _keeps_to(prefix: str, node: Any, nodes: dict[str, Any]) -> bool:
    given = [name for name in node.input if not name.startswith("^")]
    makers = [nodes.get(name.partition(":")[0]) for name in given]
    made_by = [maker.op if maker is not None else "" for maker in makers]
    match node.op:
        case "RestoreV2":
            return given[:1] == [prefix]
        case "StringJoin":
            return given[:1] == [prefix] and made_by == ["", "Select"]
        case "Select":
            return made_by[1:] == ["Const", "Const"] and all(map(_is_suffix, makers[1:]))
        case "ShardedFilename":
            return made_by[:1] == ["StringJoin"]
        case "SaveV2":
            return made_by[:1] == ["ShardedFilename"]
        case "Pack":
            return set(made_by) == {"ShardedFilename"}
        case "MergeV2Checkpoints":
            return given[1:] == [prefix] and made_by[0] == "Pack"
    return False


def _is_suffix(node: Any) -> bool:
    tensor = node.attr["value"].tensor  # TensorFlow prefers its content to its strings
    words = list(tensor.string_val)
    return len(words) == 1 and words[0] in _SUFFIXES and not tensor.tensor_content


def _find_object(objects: Any) -> str:
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        if kind not in _KINDS:
            return f"an object of the kind {_shown(str(kind))}"
        if kind == "user_object" and node.user_object.identifier not in _OBJECTS:
            return f"an object of the class {_shown(node.user_object.identifier)}"
        if node.registered_name not in _REGISTERED or node.registered_saver:
            return f"an object of the class {_shown(node.registered_name or node.registered_saver)}"
        if kind == "resource" and not _LOCAL.fullmatch(node.resource.device):
            return f"a resource on {_shown(node.resource.device)}"
    return ""


def _check_variables(folder: pathlib.Path) -> None:
    """Checks the variables' sizes, before memory is taken, and that no saver restores them."""
    index = folder / "variables.index"
    if not index.is_file():
        raise UserError(f"{index} is missing; export it again")
    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        with without_patterns(folder) as readable:
            reader = tf.train.load_checkpoint(str(readable / "variables"))
            shapes = reader.get_variable_to_shape_map()
            _check_sizes(index, shapes, reader.get_variable_to_dtype_map())
            if shapes.get(_OBJECTS_KEY) == []:
                objects.ParseFromString(reader.get_tensor(_OBJECTS_KEY))
    except UserError:
        raise
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(f"{index}: cannot be read ({first_line(error, 120)})") from None
    if problem := find_part(objects):
        raise UserError(f"{index}: refused: {problem}")


def _check_sizes(index: pathlib.Path, shapes: dict[str, Any], types: dict[str, Any]) -> None:
    """Checks that the variables are as large as their index says."""
    size = 0
    for name, shape in shapes.items():
        if types[name].name not in _TYPES:
            raise UserError(f"{index}: refused: {_shown(name)} is {types[name].name}")
        size += math.prod(shape) * max(1, types[name].size)
    stored = sum(path.stat().st_size for path in index.parent.glob("variables.data-*"))
    if size > stored:
        raise UserError(f"{index}: refused: it lists {size:,} bytes, and {stored:,} are stored")


def _shown(name: str) -> str:
    """Writes a name from the file, which can contain anything."""
    return ascii(name if len(name) <= 60 else f"{name[:57]}...")
