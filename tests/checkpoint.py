"""A checkpoint of EfficientNet-Lite0 with random weights."""

import numpy as np

from kpipe.models.efficientnet_lite import STAGES


def checkpoint(seed=0):
    """Random arrays with the names and shapes of the PyTorch checkpoint."""
    random, arrays = np.random.RandomState(seed), {}

    def conv(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        arrays[f"{name}.weight"] = random.normal(0, scale, shape).astype(np.float32)

    def norm(name, size):
        for part in ("weight", "bias", "running_mean", "running_var"):
            low, high = (-0.5, 0.5) if part in ("bias", "running_mean") else (0.5, 1.5)
            arrays[f"{name}.{part}"] = random.uniform(low, high, size).astype(np.float32)

    conv("_conv_stem", 32, 3, 3, 3)
    norm("_bn0", 32)
    block, channels = 0, 32
    for expansion, filters, repeats, _, size in STAGES:
        for _ in range(repeats):
            wide, name = expansion * channels, f"_blocks.{block}"
            if expansion > 1:
                conv(f"{name}._expand_conv", wide, channels, 1, 1)
                norm(f"{name}._bn0", wide)
            conv(f"{name}._depthwise_conv", wide, 1, size, size)
            norm(f"{name}._bn1", wide)
            conv(f"{name}._project_conv", filters, wide, 1, 1)
            norm(f"{name}._bn2", filters)
            block, channels = block + 1, filters
    conv("_conv_head", 1280, 320, 1, 1)
    norm("_bn1", 1280)
    conv("_fc", 1000, 1280)
    return arrays
