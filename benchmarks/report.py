"""The benchmark's table and figures."""

import pathlib
import statistics
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import patches
from matplotlib import pyplot as plt

COLOURS = {"keras": "#c0504d", "torch": "#e08e3c", "numpy": "#6b6b6b"}
TITLES = {"keras": "Keras fit", "torch": "PyTorch", "numpy": "NumPy"}


def table(content: dict[str, Any]) -> str:
    """Writes the results as a Markdown table."""
    peak = content["bounds"]["gflops"]
    lines = [
        "| workload | kpipe, ms a step | against Keras fit | PyTorch | NumPy | GFLOP/s, of peak |"
        " memory against Keras |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in content["results"]:
        found, ratios = result["contestants"], result["kpipe_is_faster"]
        cells = [
            f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"
            if (r := ratios.get(name))
            else ""
            for name in ("keras", "torch", "numpy")
        ]
        rate = found["kpipe"]["gflops"]
        memory = found["kpipe"]["peak_bytes"] / found["keras"]["peak_bytes"]
        lines.append(
            f"| {result['workload']} | {found['kpipe']['step_ms']:.3g} | {' | '.join(cells)} "
            f"| {rate:.3g}, {rate / peak:.0%} | {memory:.2f} |"
        )
    medians = [r["kpipe_is_faster"]["keras"]["median"] for r in content["results"]]
    mean = statistics.geometric_mean(medians)
    lines.append(f"\nGeometric mean against Keras fit: {mean:.2f}")
    bounds = content["bounds"]
    lines.append(
        f"Machine: {bounds['gflops']:.0f} GFLOP/s in a matrix product, "
        f"{bounds['copy_gb']:.1f} GB/s in a copy"
    )
    return "\n".join(lines)


def draw(content: dict[str, Any], path: pathlib.Path) -> None:
    """Draws how many times as fast kpipe is as each other contestant, with 90 % intervals."""
    results = content["results"]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.75 * len(results)), layout="constrained")
    for i, result in enumerate(results):
        ratios = result["kpipe_is_faster"]
        for j, (name, r) in enumerate(ratios.items()):
            y = i + (j - (len(ratios) - 1) / 2) * 0.24
            axes.barh(y, r["median"] - 1, 0.22, left=1, color=COLOURS[name])
            axes.plot([r["low"], r["high"]], [y, y], color="black", linewidth=1)
            axes.text(max(r["high"], 1) * 1.04, y, f"{r['median']:.2f}", va="center", fontsize=8)
    axes.set_yticks(range(len(results)), [result["workload"] for result in results])
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20, 50]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.4, 1.6 * max(r["high"] for x in results for r in x["kpipe_is_faster"].values()))
    axes.set_xlabel("how many times as fast kpipe is: median of turns, 90 % interval")
    shown = [name for name in COLOURS if any(name in r["kpipe_is_faster"] for r in results)]
    handles = [patches.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in shown]
    axes.legend(handles, [TITLES[name] for name in shown], loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_growth(growth: dict[str, Any], path: pathlib.Path) -> None:
    """Draws how the cost grows with examples, width and batch size."""
    figure, panels = plt.subplots(1, len(growth), figsize=(11, 3.4), layout="constrained")
    colours = {"kpipe": "#3b6fb6", **COLOURS}
    for axes, found in zip(panels, growth.values(), strict=True):
        for name, points in found["contestants"].items():
            axes.plot(
                found["values"],
                points,
                "o-",
                color=colours[name],
                label=TITLES.get(name, name),
                markersize=4,
            )
        axes.set(xscale="log", yscale="log", xlabel=found["label"], ylabel=found["unit"])
        axes.set_xticks(found["values"], [f"{value:g}" for value in found["values"]])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [t for t in np.outer(10.0 ** np.arange(-3, 4), [1, 2, 5]).ravel() if low < t < high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
