"""The script that a user of PyTorch writes: train, keep the best epoch, evaluate, export.

    python benchmarks/script_torch.py RECIPE.json DATA.npz FOLDER

`commands.py` measures it; the last line is JSON: when each stage ended, in seconds since 1970.
"""

import copy
import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn


def main() -> None:
    with open(sys.argv[1]) as file:
        recipe = json.load(file)
    arrays = {name: torch.from_numpy(array) for name, array in np.load(sys.argv[2]).items()}
    torch.manual_seed(0)
    labels = {name: array.long() for name, array in arrays.items() if name.endswith("_y")}
    is_image, size = arrays["train_x"].dim() == 4, arrays["train_x"][0].numel()
    layers: list[nn.Module] = [nn.Flatten()]
    for units in recipe["units"]:
        layers += [
            nn.Linear(size, units),
            {"relu": nn.ReLU, "tanh": nn.Tanh}[recipe["activation"]](),
        ]
        if recipe["dropout"]:
            layers.append(nn.Dropout(recipe["dropout"]))
        size = units
    model = nn.Sequential(*layers, nn.Linear(size, recipe["classes"]))
    for layer in model:
        if isinstance(layer, nn.Linear):  # as the others
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    options = {"lr": recipe["learning_rate"], "fused": True}
    optimizer = getattr(torch.optim, recipe["optimizer"])(model.parameters(), **options)
    schedule = None
    if recipe["decay_steps"]:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe["decay_steps"])

    def scores(inputs: torch.Tensor) -> torch.Tensor:
        return model(inputs.float() / 255 if is_image else inputs)

    def accuracy(name: str) -> float:
        model.eval()
        with torch.inference_mode():
            correct = sum(
                int((scores(x).argmax(1) == y).sum())
                for x, y in zip(
                    arrays[f"{name}_x"].split(256), labels[f"{name}_y"].split(256), strict=True
                )
            )
        model.train()
        return correct / len(labels[f"{name}_y"])

    said, epochs = {"ready": time.time()}, []
    best, waited, kept = -1.0, 0, model.state_dict()
    for _ in range(recipe["epochs"]):
        for rows in torch.randperm(len(labels["train_y"])).split(recipe["batch_size"]):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                scores(arrays["train_x"][rows]), labels["train_y"][rows]
            )
            loss.backward()
            optimizer.step()
            if schedule:
                schedule.step()
        reached = accuracy("val")
        epochs.append((time.time(), reached))
        waited += 1
        if reached > best:
            best, waited, kept = reached, 0, copy.deepcopy(model.state_dict())
        if recipe["patience"] and waited >= recipe["patience"]:
            break
    model.load_state_dict(kept)
    said["trained"] = time.time()
    tested = accuracy("test")
    said["evaluated"] = time.time()
    os.makedirs(sys.argv[3], exist_ok=True)
    example = arrays["test_x"][:2].float()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, os.path.join(sys.argv[3], "model.pt2"))
    said["exported"] = time.time()
    print(json.dumps({**said, "epochs": epochs, "test_accuracy": tested}))


if __name__ == "__main__":
    main()
