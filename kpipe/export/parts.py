"""The parts of a SavedModel that an export may contain: fields of its messages, and attributes.

TensorFlow runs functions that no node calls: gradients, savers of objects, and functions that its
optimizer puts in place of others (`api_implements`). Attributes choose kernels, executors and
optimizers. Therefore what exports of kpipe do not contain is refused, harmless or not. A test
compares the lists with the exports of all pipelines.
"""

import functools
from typing import Any

from tensorflow.core.protobuf import config_pb2
from tensorflow.python.framework import op_def_registry

# Allowed fields of each message; messages that are not listed contain numbers and names alone.
FIELDS = {
    name: frozenset(fields.split())
    for name, fields in {
        "MetaGraphDef": """
            meta_info_def graph_def saver_def collection_def signature_def object_graph_def
        """,
        "MetaGraphDef.MetaInfoDef": """
            stripped_op_list tags tensorflow_version tensorflow_git_version stripped_default_attrs
        """,
        "SaverDef": "filename_tensor_name save_tensor_name restore_op_name version",
        "CollectionDef": "node_list",
        "SignatureDef": "inputs outputs method_name",
        "TensorInfo": "name dtype tensor_shape",
        "GraphDef": "node versions library",
        "FunctionDefLibrary": "function registered_gradients",
        "FunctionDef": "signature attr arg_attr node_def ret control_ret",
        "FunctionDef.ArgAttrs": "attr",
        "OpDef": "name input_arg output_arg control_output is_stateful",
        "OpDef.ArgDef": "name type handle_data",
        "SavedObjectGraph": "nodes concrete_functions",
        "SavedObject": """
            children dependencies registered_name user_object function variable
            bare_concrete_function constant resource captured_tensor
        """,
        "SavedUserObject": "identifier version",
        "SavedFunction": "concrete_functions function_spec",
        "SavedBareConcreteFunction": """
            concrete_function_name argument_keywords allowed_positional_arguments function_spec
        """,
        "SavedConcreteFunction": "bound_inputs canonicalized_input_signature output_signature",
        "SavedVariable": "name dtype shape trainable synchronization aggregation",
        "SavedConstant": "operation",
        "SavedResource": "device",
        "FunctionSpec": "fullargspec input_signature",
        "StructuredValue": """
            none_value bool_value int64_value float64_value string_value tensor_spec_value
            tuple_value list_value dict_value named_tuple_value
        """,
        "TupleValue": "values",
        "ListValue": "values",
        "DictValue": "fields",
        "NamedTupleValue": "name values",
        "PairValue": "key value",
        # The objects in the file of variables.
        "TrackableObjectGraph": "nodes",
        "TrackableObjectGraph.TrackableObject": "children attributes has_checkpoint_values",
        # The caller's settings, which TensorFlow writes into each call of a function.
        "ConfigProto": """
            device_count intra_op_parallelism_threads inter_op_parallelism_threads
            allow_soft_placement log_device_placement gpu_options pluggable_device_options
            graph_options experimental
        """,
        "ConfigProto.Experimental": """
            mlir_bridge_rollout enable_mlir_bridge enable_mlir_graph_optimization
        """,
        "GraphOptions": "optimizer_options rewrite_options",
        "RewriterConfig": """
            layout_optimizer constant_folding shape_optimization remapping arithmetic_optimization
            dependency_optimization loop_optimization function_optimization debug_stripper
            disable_model_pruning scoped_allocator_optimization pin_to_host_optimization
            implementation_selector auto_mixed_precision use_plugin_optimizers
            disable_meta_optimizer auto_mixed_precision_onednn_bfloat16 auto_mixed_precision_mkl
            min_graph_nodes
        """,
    }.items()
}
# Allowed attributes of functions, of their arguments, and of nodes beside those that their
# operation declares.
_ATTRIBUTES = {
    "FunctionDef": frozenset(
        "_XlaMustCompile _construction_context _input_shapes _noinline".split()
    ),
    "FunctionDef.ArgAttrs": frozenset(
        "_has_manual_control_dependencies _output_shapes _user_specified_name".split()
    ),
}
OF_NODES = frozenset(
    """
    _XlaMustCompile _class _collective_manager_ids _has_manual_control_dependencies
    _lower_using_switch_merge _num_original_outputs _output_shapes _read_only_resource_inputs
    """.split()
)
GRADIENT = "_gradient_op_type"
_REFUSED = frozenset("config executor_type".split())  # declared by calls; exports leave them empty


def find_part(message: Any) -> str:
    """Describes the first part of a message that no export contains; "" if there is none."""
    name = name_of(message.DESCRIPTOR)
    allowed = FIELDS[name]
    for field, value in message.ListFields():
        if field.name not in allowed:
            return f"{field.name!r} in its {name}"
        if field.name == "attr" and name in _ATTRIBUTES:
            for key in value:
                if key not in _ATTRIBUTES[name]:
                    return f"the attribute {key!a} of a function"
        if is_listed(field):
            if hasattr(value, "DESCRIPTOR"):
                value = (value,)
            for one in value.values() if hasattr(value, "values") else value:
                if problem := find_part(one):
                    return problem
    return ""


@functools.cache
def name_of(descriptor: Any) -> str:
    """The name of a kind of message, as in `FIELDS`."""
    return descriptor.full_name.removeprefix("tensorflow.")


@functools.cache
def is_listed(field: Any) -> bool:
    """Whether a field, or the values of a map, consist of messages of `FIELDS`."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        kind = kind.fields_by_name["value"].message_type
    return kind is not None and name_of(kind) in FIELDS


@functools.lru_cache(maxsize=1024)
def attributes(operation: str) -> frozenset[str]:
    """The attributes that a node of an operation may have; none if there is no such operation."""
    definition = op_def_registry.get(operation)
    if definition is None:
        return frozenset()
    allowed = OF_NODES | {GRADIENT} if operation == "IdentityN" else OF_NODES
    return (frozenset(one.name for one in definition.attr) | allowed) - _REFUSED


@functools.lru_cache(maxsize=64)
def find_setting(config: bytes) -> str:
    """Describes what of the caller's settings, an attribute of a call, is not allowed."""
    try:
        return find_part(config_pb2.ConfigProto.FromString(config))
    except Exception:  # the error's type depends on the implementation of protobuf
        return "noise in its ConfigProto"
