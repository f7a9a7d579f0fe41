"""The pictures of the pages, made from ``benchmarks/results``.

python benchmarks/pictures.py    writes docs/static/*.png
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tables import ROOT, SPLITS, results

ROWS = {
    "SVD, tuned": ("#8a8a8a", "o"),
    "LLMTokensSVD, shuffled tokens": ("#b9a6d9", "D"),
    "LLMTokensSVD": ("#5e35b1", "o"),
    "LLMTokensBPMF": ("#00796b", "o"),
}


def quality() -> None:
    """RMSE by split: Surprise's SVD, the control, and two of ours."""
    summary = [row for row in results("quality")["summary"] if row["measure"] == "rmse"]
    found = {(row["algorithm"], row["split"]): row["mean"] for row in summary}
    splits = list(SPLITS)[:3]
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    for height, split in enumerate(reversed(splits)):
        values = [found[name, split] for name in ROWS]
        axes.plot([min(values), max(values)], [height] * 2, color="#d8d8d8", lw=6, zorder=1)
        for name, (colour, mark) in ROWS.items():
            label = name if height == 0 else None
            axes.scatter(
                found[name, split],
                height,
                s=70,
                c=colour,
                marker=mark,
                zorder=2,
                label=label,
                edgecolor="w",
            )
    axes.set_yticks(range(len(splits)), [SPLITS[split] for split in reversed(splits)])
    axes.set_ylim(-0.5, len(splits) - 0.5)
    axes.set_xlabel("RMSE on MovieLens ml-latest-small, five folds (left is better)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(ROOT / "docs" / "static" / "quality.png", dpi=160)


if __name__ == "__main__":
    quality()
