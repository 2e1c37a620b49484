"""Builds SavedModels and Keras files as somebody would who wants to run code elsewhere.

Those of `EDITS` change the protobuf of a good export, in milliseconds; those of `TRACED` are real
models, saved by TensorFlow, which do what they threaten if they are loaded or called.
"""

import pathlib
import shutil

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

EDITS = {}
TRACED = {}


def edit(expected):
    """Registers a change of (folder, content, canary), with what the refusal says."""

    def register(function):
        EDITS[function.__name__] = (function, expected)
        return function

    return register


def traced(expected):
    """Registers a maker of a tf.Module from the path of a canary, with what the refusal says."""

    def register(function):
        TRACED[function.__name__] = (function, expected)
        return function

    return register


def make_edited(name, export, folder, canary):
    """Copies an export and changes it."""
    shutil.copytree(export, folder)
    (folder / "manifest.json").unlink(missing_ok=True)  # what is not listed is not compared
    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel()
    content.ParseFromString(path.read_bytes())
    written = EDITS[name][0](folder, content, canary)
    if written is not False:
        path.write_bytes(content.SerializeToString())


def make_traced(name, folder, canary):
    """Saves a model that touches the canary, as TensorFlow does it."""
    module = TRACED[name][0](str(canary))
    signatures = {"serving_default": module.serve.get_concrete_function()}
    tf.saved_model.save(module, str(folder), signatures=signatures)


def _graph(content):
    return content.meta_graphs[0].graph_def


def _function(content, part="serve"):
    """A function of the export that is not the saver's."""
    return next(f for f in _graph(content).library.function if part in f.signature.name)


def _node(op, name="planted", **attributes):
    node = node_def_pb2.NodeDef(op=op, name=name)
    for key, value in attributes.items():
        if isinstance(value, bytes):
            node.attr[key].s = value
        else:
            node.attr[key].func.name = value
    return node


# Operations that touch files, network, processes or Python, in a function of a good export.
OPERATIONS = """
WriteFile ReadFile MatchingFiles PrintV2 Print PyFunc PyFuncStateless EagerPyFunc SaveV2 RestoreV2
MergeV2Checkpoints ShardedFilename SaveSlices Restore InitializeTableFromTextFileV2
LookupTableExportV2 ImmutableConst LoadAndRemapMatrix DebugIdentityV3 DumpTensor
TextLineDatasetV2 TFRecordDatasetV2 FixedLengthRecordDatasetV2 GeneratorDataset SaveDatasetV2
LoadDataset IteratorV2 MakeIterator WholeFileReaderV2 ReaderReadV2 QueueEnqueueV2 RemoteCall _Send
_Recv RpcCall XlaLaunch XlaHostCompute TPUExecute ConfigureDistributedTPU CollectiveReduceV2
CreateSummaryFileWriter WriteSummary WriteRawProtoSummary AudioSummaryV2 FileSystemSetConfiguration
DatasetToGraphV2 MapDefun SymbolicGradient DecodeProtoV2 Abort NotAnOperation
""".split()


def plant(content, op, where):
    """Adds an operation to a function, to the graph, or to a new function that nothing calls."""
    node = _node(op)
    if where == "graph":
        _graph(content).node.append(node)
    elif where == "function":
        _function(content).node_def.append(node)
    else:
        planted = _graph(content).library.function.add()
        planted.CopyFrom(_function(content))
        planted.signature.name = "__inference_planted_1"
        planted.node_def.append(node)


@edit("'WriteFile' in node 'planted' of function '__inference_planted_1'")
def nested_call(folder, content, canary):
    plant(content, "WriteFile", "new function")
    call = _node("StatefulPartitionedCall", "call", f="__inference_planted_1")
    _function(content).node_def.append(call)


@edit("calls '__inference_nowhere', which is not part of it")
def call_of_a_missing_function(folder, content, canary):
    _function(content).node_def.append(_node("PartitionedCall", "call", f="__inference_nowhere"))


@edit("the saver's function '__inference__traced_save_.*' is used elsewhere")
def saver_called_by_a_function(folder, content, canary):
    saver = _function(content, "traced_save").signature.name
    _function(content).node_def.append(_node("StatefulPartitionedCall", "call", f=saver))


@edit("the saver's function '__inference__traced_restore_.*' is used elsewhere")
def saver_as_an_object(folder, content, canary):
    name = _function(content, "traced_restore").signature.name
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = name
    content.meta_graphs[0].object_graph_def.concrete_functions[name].SetInParent()


@edit("the saver's function '__inference__traced_save_.*' is used elsewhere")
def saver_as_a_condition(folder, content, canary):
    saver = _function(content, "traced_save").signature.name
    node = _node("If", "choose", then_branch=saver, else_branch=saver)
    _function(content).node_def.append(node)


@edit("is not TensorFlow's saver")
def saver_that_writes_a_file(folder, content, canary):
    _function(content, "traced_save").node_def.append(_node("WriteFile"))


@edit("is not TensorFlow's saver")
def saver_with_a_path_of_its_own(folder, content, canary):
    function = _function(content, "traced_save")
    constant = next(n for n in function.node_def if n.op == "Const" and "num_shards" not in n.name)
    constant.attr["value"].tensor.string_val[0] = f"/../..{canary}".encode()


@edit("is not TensorFlow's saver")
def restorer_with_a_path_of_its_own(folder, content, canary):
    function = _function(content, "traced_restore")
    node = _node("Const", "elsewhere")
    node.attr["value"].tensor.string_val.append(str(canary).encode())
    function.node_def.append(node)
    restore = next(n for n in function.node_def if n.op == "RestoreV2")
    restore.input[0] = "elsewhere:output:0"


@edit("operation 'ShardedFilename'|operation 'SaveV2'|operation 'RestoreV2'")
def functions_named_as_savers_that_no_saver_calls(folder, content, canary):
    content.meta_graphs[0].saver_def.Clear()


@edit("runs the saver")
def saver_run_by_the_main_operation(folder, content, canary):
    name = content.meta_graphs[0].saver_def.save_tensor_name.partition(":")[0]
    main = next(n for n in _graph(content).node if n.op == "NoOp")
    main.input.append(f"^{name}")


@edit("2 graphs instead of one")
def several_graphs(folder, content, canary):
    content.meta_graphs.add().CopyFrom(content.meta_graphs[0])
    content.meta_graphs[1].meta_info_def.tags[:] = ["other"]


@edit("not a SavedModel, or damaged")
def no_graph(folder, content, canary):
    content.ClearField("meta_graphs")


@edit("not written by TensorFlow 2")
def graph_of_tensorflow_1(folder, content, canary):
    content.meta_graphs[0].ClearField("object_graph_def")


@edit("a second graph")
def text_beside_the_graph(folder, content, canary):
    (folder / "saved_model.pbtxt").write_text("saved_model_schema_version: 1")


@edit("a second graph")
def chunks_beside_the_graph(folder, content, canary):
    (folder / "saved_model.cpb").write_bytes(b"")


@edit("bytes; expected at most")
def huge_graph(folder, content, canary):
    with open(folder / "saved_model.pb", "r+b") as file:
        file.truncate(1 << 40)  # without a block on the disk
    return False


@edit("bytes; expected at most")
def huge_words(folder, content, canary):
    with open(folder / "assets" / "labels.txt", "r+b") as file:
        file.truncate(1 << 40)


@edit("elements in constants")
def huge_constant(folder, content, canary):
    node = _node("Const", "huge")
    tensor = node.attr["value"].tensor
    tensor.dtype, tensor.float_val[:] = 1, [0.0]
    for _ in range(3):
        tensor.tensor_shape.dim.add().size = 1 << 14
    _function(content).node_def.append(node)


@edit("reads the file 'labels.txt' when loaded")
def file_as_an_asset(folder, content, canary):
    asset = content.meta_graphs[0].asset_file_def.add()
    asset.filename, asset.tensor_info.name = "labels.txt", "Const:0"


@edit("reads the file '../../../../etc/passwd' when loaded")
def asset_outside_the_folder(folder, content, canary):
    asset = content.meta_graphs[0].asset_file_def.add()
    asset.filename, asset.tensor_info.name = "../../../../etc/passwd", "Const:0"


@edit("an object of the kind 'asset'")
def asset_as_an_object(folder, content, canary):
    content.meta_graphs[0].object_graph_def.nodes.add().asset.asset_file_def_index = 0


@edit("an object of the class '_tf_keras_layer'")
def object_of_another_class(folder, content, canary):
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.user_object.identifier = "_tf_keras_layer"


@edit("an object of the class 'Custom>Gadget'")
def object_of_a_registered_class(folder, content, canary):
    node = content.meta_graphs[0].object_graph_def.nodes.add()
    node.user_object.identifier = "_generic_user_object"
    node.registered_name = "Custom>Gadget"


@edit("an object of the class 'Custom>Saver'")
def object_with_a_saver_of_its_own(folder, content, canary):
    content.meta_graphs[0].object_graph_def.nodes[0].registered_saver = "Custom>Saver"


@edit("collection 'saved_model_assets'")
def collection_of_files(folder, content, canary):
    content.meta_graphs[0].collection_def["saved_model_assets"].node_list.value.append("x")


@edit("runs on '/job:worker/task:1'")
def node_on_another_machine(folder, content, canary):
    _function(content).node_def[0].device = "/job:worker/task:1"


@edit("a resource on '/job:worker'")
def resource_on_another_machine(folder, content, canary):
    content.meta_graphs[0].object_graph_def.nodes.add().resource.device = "/job:worker"


@edit("a link to .*, which is not part of the export")
def link_to_another_file(folder, content, canary):
    (folder / "assets" / "labels.txt").unlink()
    (folder / "assets" / "labels.txt").symlink_to("/etc/passwd")


@edit("a link to .*, which is not part of the export")
def link_to_other_variables(folder, content, canary):
    shutil.rmtree(folder / "variables")
    (folder / "variables").symlink_to("/etc")


@edit("neither a file nor a folder")
def pipe_instead_of_a_file(folder, content, canary):
    import os

    (folder / "assets" / "labels.txt").unlink()
    os.mkfifo(folder / "assets" / "labels.txt")


@edit("it lists .* bytes, and .* are stored")
def variables_cut_short(folder, content, canary):
    (data,) = (folder / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:100])


@edit(r"variables\.index.*cannot be read")
def index_of_noise(folder, content, canary):
    (folder / "variables" / "variables.index").write_bytes(b"noise" * 100)


@edit(r"operation 'WriteFile\\x1b\[2J'")
def name_that_changes_the_terminal(folder, content, canary):
    _function(content).node_def.append(_node("WriteFile\x1b[2J"))


# Models that TensorFlow saves, and that would touch the canary.


class _Serving(tf.Module):
    def __init__(self, path):
        super().__init__()
        self.path = path

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32)], autograph=False)
    def serve(self, x):
        self.touch(x)
        return {"value": x * 2}


def _called(touch):
    class Model(_Serving):
        pass

    Model.touch = staticmethod(touch)
    return Model


def _written(path, x):
    """Returns x, once the canary is written."""
    with tf.control_dependencies([tf.io.write_file(path, "canary")]):
        return tf.identity(x)


CALLS = {
    "write_file": (lambda path, x: tf.io.write_file(path, "canary"), "WriteFile"),
    "read_file": (lambda path, x: tf.io.write_file(path, tf.io.read_file("/etc/hostname")), ""),
    "print_to_file": (lambda path, x: tf.print("canary", output_stream=f"file://{path}"), "Print"),
    "print": (lambda path, x: tf.print(x), "PrintV2"),
    "matching_files": (
        lambda path, x: tf.debugging.assert_type(tf.io.matching_files("/etc/*"), tf.string),
        "MatchingFiles",
    ),
    "numpy_function": (
        lambda path, x: tf.numpy_function(
            lambda one: pathlib.Path(path).write_text("canary"), [x], tf.int64
        ),
        "PyFunc",
    ),
    "py_function": (
        lambda path, x: tf.py_function(
            lambda one: pathlib.Path(path).write_text("canary"), [x], tf.int64
        ),
        "EagerPyFunc",
    ),
    "raw_save": (
        lambda path, x: tf.raw_ops.SaveV2(
            prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[x]
        ),
        "SaveV2",
    ),
    "write_in_a_branch": (
        lambda path, x: tf.cond(tf.reduce_sum(x) > 0, lambda: _written(path, x), lambda: x),
        "WriteFile",
    ),
    "write_in_a_loop": (
        lambda path, x: tf.while_loop(lambda i: i < 2, lambda i: _written(path, i + 1), [0]),
        "WriteFile",
    ),
    "write_in_map_fn": (
        lambda path, x: tf.map_fn(lambda one: _written(path, one), x),
        "WriteFile",
    ),
    "write_under_xla": (
        lambda path, x: tf.function(
            lambda one: _written(path, one), jit_compile=True, autograph=False
        )(x),
        "WriteFile",
    ),
    "files_as_data": (
        lambda path, x: tf.data.TextLineDataset("/etc/hostname").reduce(
            tf.constant(0), lambda n, line: n + 1
        ),
        "Dataset",
    ),
    "debug_identity": (
        lambda path, x: tf.raw_ops.DebugIdentity(input=x, debug_urls=[f"file://{path}"]),
        "DebugIdentity",
    ),
    "summary": (
        lambda path, x: tf.raw_ops.CreateSummaryFileWriter(
            writer=tf.raw_ops.SummaryWriter(),
            logdir=path,
            max_queue=1,
            flush_millis=1,
            filename_suffix="",
        ),
        "SummaryWriter",
    ),
    "decode_a_variable_file": (
        lambda path, x: tf.raw_ops.RestoreV2(
            prefix="/etc/x", tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
        ),
        "RestoreV2",
    ),
}


def _register_calls():
    for name, (touch, expected) in CALLS.items():

        def make(path, touch=touch):
            model = _called(lambda x: touch(path, x))
            return model(path)

        make.__name__ = f"call_{name}"
        traced(expected)(make)


_register_calls()


class _WritesWhenLoaded(tf.saved_model.experimental.TrackableResource):
    """A resource whose initialiser runs when the model is loaded."""

    def __init__(self, path, touch):
        super().__init__()
        self.path, self.touch = path, touch

    def _create_resource(self):
        return tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self):
        self.touch(self.path)


def _loaded(touch):
    def make(path):
        module = _called(lambda x: None)(path)
        module.resource = _WritesWhenLoaded(path, touch)
        _ = module.resource.resource_handle
        return module

    return make


@traced("WriteFile")
def load_write_file(path):
    return _loaded(lambda path: tf.io.write_file(path, "canary"))(path)


@traced("PrintV2")
def load_print_to_file(path):
    return _loaded(lambda path: tf.print("canary", output_stream=f"file://{path}"))(path)


@traced("SaveV2")
def load_save(path):
    return _loaded(
        lambda path: tf.raw_ops.SaveV2(
            prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
        )
    )(path)


@traced("reads the file|an object of the")
def load_table_from_a_file(path):
    module = _called(lambda x: None)(path)
    words = pathlib.Path(path).with_name("words.txt")
    words.write_text("a\nb\n")
    initializer = tf.lookup.TextFileInitializer(
        str(words),
        tf.string,
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    return module


@traced("reads the file|an object of the")
def load_an_asset(path):
    module = _called(lambda x: None)(path)
    words = pathlib.Path(path).with_name("words.txt")
    words.write_text("a\nb\n")
    module.asset = tf.saved_model.Asset(str(words))
    return module
