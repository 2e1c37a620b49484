"""Edits of an export whose every operation is allowed, and that run something else all the same.

TensorFlow takes functions, kernels, devices and savers from many more places than the operations of
nodes. Importing this file adds them to `hostile.EDITS`.
"""

import tensorflow as tf
from hostile import _function, _graph, _node, edit
from tensorflow.core.protobuf import config_pb2, trackable_object_graph_pb2

from kpipe.export import parts

# Attributes that choose what runs: other functions, gradients, compilers, kernels, devices; and one
# that does not exist.
ATTRIBUTES = """
api_implements api_preferred_device _implements _gradient_op_type forward_function_name
backward_function_name _XlaCompile _xla_compile_id _XlaCluster
_xla_outside_compilation _tpu_replicate _kernel _device _assigned_device _composite_device
_lower_as_multi_device_function _executor _stateful _grappler_do_not_remove _noinline_calls
unknown
""".split()


def plant_attribute(content, key, where):
    """Adds an attribute to a function, to an argument of one, to a node of one or of the graph."""
    function = _function(content)
    if where == "function":
        function.attr[key].s = b"x"
    elif where == "argument":
        function.arg_attr[0].attr[key].s = b"x"
    elif where == "node of a function":
        function.node_def[-1].attr[key].s = b"x"
    else:
        _graph(content).node[-1].attr[key].s = b"x"


def messages_of(message, found=None):
    """One message of each kind that `parts.FIELDS` lists, by its name, somewhere in a message."""
    found = {} if found is None else found
    found.setdefault(parts.name_of(message.DESCRIPTOR), message)
    for field, value in message.ListFields():
        if parts.is_listed(field):
            value = (value,) if hasattr(value, "DESCRIPTOR") else value
            for one in value.values() if hasattr(value, "values") else value:
                messages_of(one, found)
    return found


def fill(message, field):
    """Puts something into a field of a message."""
    value, kind = getattr(message, field.name), field.message_type
    if kind is None:
        if field.is_repeated:
            value.append(_word(field))
        else:
            setattr(message, field.name, _word(field))
    elif kind.GetOptions().map_entry:
        key, inner = _word(kind.fields_by_name["key"]), kind.fields_by_name["value"]
        if inner.message_type is None:
            value[key] = _word(inner)
        else:
            value[key].SetInParent()
    elif field.is_repeated:
        value.add()
    else:
        value.SetInParent()


def _word(field):
    if field.cpp_type == field.CPPTYPE_STRING:
        return b"x" if field.type == field.TYPE_BYTES else "x"
    return 1


def _objects(content):
    return content.meta_graphs[0].object_graph_def


def _saver_call(content, end="save_tensor_name"):
    name = getattr(content.meta_graphs[0].saver_def, end).partition(":")[0]
    return next(node for node in _graph(content).node if node.name == name)


def _call(content):
    """A node of a function that calls another."""
    library = _graph(content).library
    nodes = (node for function in library.function for node in function.node_def)
    return next(node for node in nodes if node.op == "StatefulPartitionedCall")


def _saver_node(content, op, part="traced_save"):
    return next(node for node in _function(content, part).node_def if node.op == op)


# Functions that run instead of those that are called, or beside them.


@edit("the attribute 'api_(implements|preferred_device)' of a function")
def saver_that_the_optimizer_puts_in_place_of_a_function(folder, content, canary):
    for part, device in (("serve", "GPU"), ("traced_save", "CPU")):
        function = _function(content, part)
        function.attr["api_implements"].s = b"one"
        function.attr["api_preferred_device"].s = device.encode()


@edit("'gradient' in its FunctionDefLibrary")
def gradient_of_a_function(folder, content, canary):
    name = _function(content).signature.name
    _graph(content).library.gradient.add(function_name=name, gradient_func=name)


@edit("a gradient calls '__inference_nowhere', which is not part of it")
def gradient_of_an_operation(folder, content, canary):
    planted = _graph(content).library.registered_gradients.add()
    planted.gradient_func, planted.registered_op_type = "__inference_nowhere", "CustomGradient-1"


@edit("the saver's function '__inference__traced_save_.*' is used elsewhere")
def saver_as_a_gradient(folder, content, canary):
    planted = _graph(content).library.registered_gradients.add()
    planted.gradient_func = _function(content, "traced_save").signature.name
    planted.registered_op_type = "CustomGradient-1"


@edit("the gradient of node 'planted' is not part of it")
def gradient_of_the_process(folder, content, canary):
    _function(content).node_def.append(_node("IdentityN", _gradient_op_type=b"EagerPyFunc"))


@edit("a function with the name of the operation 'Switch'")
def function_with_the_name_of_an_operation_that_tensorflow_inserts(folder, content, canary):
    planted = _graph(content).library.function.add()
    planted.CopyFrom(_function(content))
    planted.signature.name = "Switch"


@edit("two functions of one name")
def function_hidden_by_another_of_its_name(folder, content, canary):
    hidden = _graph(content).library.function.add()
    hidden.CopyFrom(_function(content))
    _function(content).node_def.append(_node("WriteFile"))


@edit("calls a function with attributes")
def function_in_an_attribute_of_a_function(folder, content, canary):
    _call(content).attr["f"].func.attr["g"].func.name = "__inference__traced_save_1"


@edit("'attr' in its OpDef")
def function_that_takes_another_as_an_attribute(folder, content, canary):
    _function(content).signature.attr.add(name="g", type="func")


@edit("attribute 'g' of node")
def function_in_an_attribute_of_a_node_that_calls_nothing(folder, content, canary):
    name = _function(content).signature.name
    _function(content).node_def[-1].attr["g"].func.name = name


@edit("attribute 'executor_type' of node")
def call_with_an_executor_of_its_own(folder, content, canary):
    _call(content).attr["executor_type"].s = b"SINGLE_THREADED_EXECUTOR"


@edit("has 'custom_optimizers' in its RewriterConfig")
def call_with_an_optimizer_of_its_own(folder, content, canary):
    config = config_pb2.ConfigProto.FromString(_call(content).attr["config_proto"].s)
    config.graph_options.rewrite_options.custom_optimizers.add(name="planted")
    _call(content).attr["config_proto"].s = config.SerializeToString()


@edit("has 'cluster_def' in its ConfigProto")
def call_on_a_cluster(folder, content, canary):
    config = config_pb2.ConfigProto()
    config.cluster_def.job.add(name="worker").tasks[0] = "elsewhere:1"
    _call(content).attr["config_proto"].s = config.SerializeToString()


@edit("has noise in its ConfigProto")
def call_with_settings_of_noise(folder, content, canary):
    _call(content).attr["config_proto"].s = b"noise"


@edit("attribute '_kernel' of node")
def node_with_a_kernel_of_its_own(folder, content, canary):
    _function(content).node_def[0].attr["_kernel"].s = b"planted"


@edit("has 'experimental_debug_info'")
def node_with_names_of_another_function(folder, content, canary):
    _function(content).node_def[0].experimental_debug_info.original_func_names.append("planted")


@edit("is a handle instead of numbers")
def handle_of_a_resource_of_the_process(folder, content, canary):
    node = _node("Const", "handle")
    tensor = node.attr["value"].tensor
    tensor.dtype = tf.resource.as_datatype_enum
    tensor.resource_handle_val.add(name="other", container="localhost")
    _function(content).node_def.append(node)


# The saver, run by something else or with files of its own.


@edit("signature 'planted' runs the saver")
def saver_as_a_signature(folder, content, canary):
    call = _saver_call(content)
    planted = content.meta_graphs[0].signature_def["planted"]
    planted.inputs["file"].name = call.input[0]
    planted.outputs["saved"].name = f"{call.name}:0"


@edit("collection 'saved_model_main_op' runs the saver")
def saver_as_the_main_operation(folder, content, canary):
    collection = content.meta_graphs[0].collection_def["saved_model_main_op"]
    collection.node_list.value[:] = [_saver_call(content).name]


@edit("is not TensorFlow's saver")
def saver_that_runs_instead_of_restoring(folder, content, canary):
    saver = content.meta_graphs[0].saver_def
    restoring = saver.restore_op_name
    saver.restore_op_name = saver.save_tensor_name.partition(":")[0]
    saver.save_tensor_name = f"{restoring}:0"


@edit("operation '(ReadVariableOp|DisableCopyOnRead|ShardedFilename|SaveV2|RestoreV2)'")
def saver_in_a_condition_with_a_path_of_its_own(folder, content, canary):
    call = _saver_call(content)
    saver, call.op = call.attr["f"].func.name, "If"
    call.ClearField("attr")
    call.attr["then_branch"].func.name = saver
    call.attr["else_branch"].func.name = _function(content).signature.name
    # The first input is the condition, the second the function's first argument.
    path = _graph(content).node.add(name="elsewhere", op="Const")
    tensor = path.attr["value"].tensor
    tensor.dtype, tensor.string_val[:] = tf.string.as_datatype_enum, [str(canary).encode()]
    call.input.insert(1, path.name)


@edit("is not TensorFlow's saver")
def saver_with_a_separator_in_its_path(folder, content, canary):
    _saver_node(content, "StringJoin").attr["separator"].s = f"/../..{canary}".encode()


@edit("is not TensorFlow's saver")
def saver_with_a_path_behind_its_suffix(folder, content, canary):
    select = _saver_node(content, "Select")
    (suffix,) = (
        node
        for node in _function(content, "traced_save").node_def
        if node.name == select.input[1].partition(":")[0]
    )
    path = f"/../..{canary}".encode()
    suffix.attr["value"].tensor.tensor_content = bytes([len(path)]) + path


@edit("is not TensorFlow's saver")
def saver_with_two_nodes_of_one_name(folder, content, canary):
    _function(content, "traced_save").node_def.append(_saver_node(content, "Select"))


@edit("runs on '/job:worker'")
def saver_on_another_machine(folder, content, canary):
    _saver_node(content, "SaveV2").device = "/job:worker"


@edit("the attribute 'unknown' of a function")
def saver_with_an_attribute(folder, content, canary):
    _function(content, "traced_restore").attr["unknown"].b = True


# Objects that the loader builds and restores.


@edit("'saveable_objects' in its SavedObject")
def object_that_a_function_restores(folder, content, canary):
    saveable = _objects(content).nodes[0].saveable_objects["_serialize_to_tensors"]
    saveable.restore_function = 1


@edit("'slot_variables' in its SavedObject")
def object_with_variables_of_an_optimizer(folder, content, canary):
    _objects(content).nodes[0].slot_variables.add(slot_name="planted")


@edit("'serialized_user_proto' in its SavedObject")
def object_with_data_of_a_registered_class(folder, content, canary):
    _objects(content).nodes[0].serialized_user_proto.SetInParent()


@edit("the saver's function '__inference__traced_save_.*' is used elsewhere")
def tensor_of_the_saver(folder, content, canary):
    tensor = _objects(content).nodes.add().captured_tensor
    tensor.concrete_function = _function(content, "traced_save").signature.name


@edit("'device' in its SavedVariable")
def variable_on_another_machine(folder, content, canary):
    variable = next(n.variable for n in _objects(content).nodes if n.HasField("variable"))
    variable.device = "/job:worker"


@edit("'type_spec_value' in its StructuredValue")
def argument_of_a_registered_class(folder, content, canary):
    function = next(iter(_objects(content).concrete_functions.values()))
    function.output_signature.type_spec_value.type_spec_class_name = "planted.Spec"


@edit("'function_aliases' in its MetaGraphDef.MetaInfoDef")
def function_under_another_name(folder, content, canary):
    content.meta_graphs[0].meta_info_def.function_aliases[_function(content).signature.name] = "f"


@edit("'registered_saver' in its TrackableObjectGraph")
def variables_with_a_saver_of_their_own(folder, content, canary):
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    objects.ParseFromString(values["_CHECKPOINTABLE_OBJECT_GRAPH"])
    objects.nodes[0].registered_saver.name = "Custom.Saver"
    values["_CHECKPOINTABLE_OBJECT_GRAPH"] = objects.SerializeToString()
    for path in (folder / "variables").iterdir():
        path.unlink()
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[*values],
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )
