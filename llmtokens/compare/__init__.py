"""Compare algorithms on the same folds: what a results section is made from.

What text is worth on items without ratings, with the controls that such a claim needs, and an
ablation; each is one more entry of a dict:

>>> from llmtokens import HashingEncoder, LLMTokens, LLMTokensSVD
>>> from llmtokens.controls import UserMean, random_like, shuffled
>>> from llmtokens.datasets import synthetic
>>> from llmtokens.model_selection import ColdItemKFold
>>> data = synthetic(n_users=60, n_items=90, n_ratings=1500)
>>> real = LLMTokens.from_frame(data.items, "{title}. {description}", encoder=HashingEncoder())
>>> genres = LLMTokens.from_frame(data.items, categorical=["genres"], numeric=["year"])
>>> tokens = {"text": real, "genres, year": genres}
>>> tokens |= {"shuffled": shuffled(real), "noise": random_like(real)}
>>> algorithms = {"user mean": UserMean()}
>>> algorithms |= {name: LLMTokensSVD(item_tokens=own) for name, own in tokens.items()}
>>> algorithms |= {f"k={k}": LLMTokensSVD(n_factors=k, item_tokens=real) for k in (10, 20)}
>>> splits = {"cold items": ColdItemKFold(3, random_state=0)}
>>> result = compare(algorithms, data, splits, measures=["rmse"], progress=False)
>>> result.differences("shuffled")["algorithm"].tolist()
['user mean', 'text', 'genres, year', 'noise', 'k=10', 'k=20']

``print(result)`` shows the tables, and :func:`llmtokens.report.report` makes a page of it.
"""

from __future__ import annotations

from .measures import full_ranking
from .results import Comparison
from .run import compare
from .trial import PeakMemory

__all__ = ["Comparison", "PeakMemory", "compare", "full_ranking"]
