"""Let an encoder learn from ratings: what the same people like comes to lie together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, MissingExtraError
from . import models
from .sentence import SentenceEncoder

if TYPE_CHECKING:
    import pandas as pd

_HELD_OUT = 0.2  # of the items, to stop by
_BATCH = 64  # pairs; those of others are what a pair is told from
_FEWEST = 20  # pairs on either side


def fine_tune(
    encoder: SentenceEncoder,
    ratings: pd.DataFrame,
    texts: Mapping[Hashable, str],
    folder: str | os.PathLike[str],
    *,
    n_epochs: int = 10,
    n_layers: int = 2,
    lr: float = 2e-5,
    pairs_per_user: int = 20,
    random_state: int = 0,
) -> SentenceEncoder:
    """An encoder whose last layers have learned which texts are liked by the same people.

    Pairs of items that one user rated above their own mean are drawn; with sentence-transformers'
    own trainer, each is told from the others of its batch (its MultipleNegativesRankingLoss;
    Henderson et al., 2017, "Efficient natural language response suggestion for smart reply"). A
    fifth of the items is held out: after every epoch pairs of these alone are measured, the best
    epoch is kept, and training ends when two epochs in a row have not been better. Where none is
    better than the start, the model is as it was.

    Parameters
    ----------
    encoder : SentenceEncoder
        Where to start; it stays as it is.
    ratings : DataFrame
        Columns user, item and rating. To judge a model, those of the training set alone.
    texts : mapping of item id to str
        What is encoded; items without a text, or an empty one, are left out.
    folder : path
        Where the new model is written, as sentence-transformers does; it must not be there yet.
    n_epochs : int, default=10
        At most.
    n_layers : int, default=2
        Layers that learn, counted from the last.
    lr : float, default=2e-5
        Learning rate, with a linear warm-up over a tenth of the steps.
    pairs_per_user : int, default=20
        Pairs drawn of a user, at most.
    random_state : int, default=0

    Returns
    -------
    SentenceEncoder
        Of ``folder``, with the settings of ``encoder``.

    Raises
    ------
    DataError
        For missing columns, a folder that is there, too few pairs, or an encoder in int8.
    MissingExtraError
        The trainer needs ``datasets`` and ``accelerate`` (extra ``training``).

    Notes
    -----
    With some hundred items it is not worth it, with a thousand it begins to be: compare cold items
    with both encoders first.
    """
    if missing := {"user", "item", "rating"} - set(ratings.columns):
        raise DataError(f"found the columns {list(ratings.columns)}; expected also {missing}")
    if Path(folder).exists():
        raise DataError(f"found {str(folder)!r}; expected a folder that is not there yet")
    if encoder.precision is not None:
        raise DataError("found an encoder in int8; expected one in float32: whole numbers learn "
                        "nothing")  # fmt: skip
    try:
        import accelerate  # noqa: F401
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"fine-tuning needs {error.name}: pip install 'llmtokens[training]'"
        ) from error
    rng = np.random.default_rng(random_state)
    known = {item: text for item, text in texts.items() if text}
    pairs, held_out = _pairs(ratings, known, pairs_per_user, rng)
    for name, some in (("pairs of items", pairs), ("pairs of held-out items", held_out)):
        if len(some) < _FEWEST:
            raise DataError(
                f"found {len(some)} {name} that one user likes and that have a text; expected at "
                f"least {_FEWEST}: fine-tuning takes more ratings"
            )
    sets = [
        datasets.Dataset.from_dict({
            "anchor": [known[a] for a, _ in some], "positive": [known[b] for _, b in some]
        })
        for some in (pairs, held_out)
    ]  # fmt: skip
    learner = SentenceEncoder(encoder.model, device=encoder.device, pooling=encoder.pooling)
    model = learner._load()
    _freeze(model, n_layers)
    with models.quiet():
        _train(model, sets[0], sets[1], n_epochs, lr, random_state)
        model.save(str(folder))
    settings = {k: v for k, v in vars(encoder).items() if not k.startswith("_")}
    return SentenceEncoder(**settings | {"model": folder})


def _pairs(
    ratings: pd.DataFrame, texts: Mapping[Hashable, str], most: int, rng: np.random.Generator
) -> tuple[list[tuple[Hashable, Hashable]], list[tuple[Hashable, Hashable]]]:
    """Pairs of items that one user likes, of the items to learn from and of those held out."""
    mean = ratings.groupby("user")["rating"].transform("mean")
    liked = ratings[(ratings["rating"] >= mean) & ratings["item"].isin(list(texts))]
    items = liked["item"].unique()
    out = set(rng.choice(items, int(_HELD_OUT * len(items)), replace=False).tolist())
    found: tuple[list[Any], list[Any]] = ([], [])
    for _, own in liked.groupby("user")["item"]:
        for side, held in ((0, False), (1, True)):
            some = [item for item in own.tolist() if (item in out) == held]
            order = rng.permutation(len(some))[: 2 * most]
            found[side].extend(
                (some[a], some[b]) for a, b in zip(order[::2], order[1::2], strict=False)
            )
    return found


def _freeze(model: Any, n_layers: int) -> None:
    """Let the last layers learn, and nothing before them."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    layers = max(
        (module for module in model.modules() if type(module).__name__ == "ModuleList"), key=len
    )
    for layer in list(layers)[-n_layers:] if n_layers else []:
        for parameter in layer.parameters():
            parameter.requires_grad = True


def _train(
    model: Any, pairs: Any, held_out: Any, n_epochs: int, lr: float, random_state: int
) -> None:
    """Sentence-transformers' trainer; the model ends in the state of its best epoch."""
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import EarlyStoppingCallback, PrinterCallback

    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder,
                num_train_epochs=n_epochs,
                per_device_train_batch_size=_BATCH,
                per_device_eval_batch_size=_BATCH,
                learning_rate=lr,
                warmup_steps=0.1,
                seed=random_state,
                data_seed=random_state,
                eval_strategy="epoch",
                save_strategy="best",
                load_best_model_at_end=True,
                metric_for_best_model="eval_loss",
                save_only_model=True,
                report_to="none",
                disable_tqdm=True,
                use_cpu=model.device.type == "cpu",
            ),
            train_dataset=pairs,
            eval_dataset=held_out,
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
        )
        trainer.remove_callback(PrinterCallback)
        start = {name: value.clone() for name, value in model.state_dict().items()}
        before = trainer.evaluate()["eval_loss"]
        trainer.train()
        if not trainer.evaluate()["eval_loss"] < before:
            model.load_state_dict(start)
