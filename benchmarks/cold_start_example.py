# %% [markdown]
"""# The cold-start section of a paper

What is the text of items worth, on items that nobody has rated, and on items with five ratings?
The answer needs controls: the user's mean, genres and year alone, and the same text given to other
items. It runs cell by cell in an editor that knows ``# %%``, or as a script:

    python benchmarks/cold_start_example.py                           # a generated data set
    python benchmarks/cold_start_example.py --data ml-latest-small    # a MovieLens folder
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from llmtokens import HashingEncoder, LLMTokens, LLMTokensContent, LLMTokensSVD
from llmtokens.compare import compare
from llmtokens.controls import UserMean, shuffled
from llmtokens.curves import learning_curve
from llmtokens.datasets import load_movielens, synthetic
from llmtokens.model_selection import ColdItemKFold, FewShotItemKFold
from llmtokens.report import report

# %% Options; in an editor the defaults are taken
parser = argparse.ArgumentParser(description="The cold-start section of a paper.")
parser.add_argument("--data", help="a MovieLens folder; without it, a generated data set")
parser.add_argument("--ratings", type=int, default=20_000, help="of the generated set")
parser.add_argument("--folds", type=int, default=5)
parser.add_argument("--out", type=Path, default=Path("cold_start.html"))
options = parser.parse_args([] if "ipykernel" in sys.modules else None)

# %% Data
if options.data:
    data, text, encoder = load_movielens(options.data), "{title}. Genres: {genres}", None
else:
    data = synthetic(n_users=options.ratings // 60, n_ratings=options.ratings)
    text, encoder = "{title}. {description}", HashingEncoder()

# %% The section: 17 lines
structure = {"categorical": ["genres"], "numeric": ["year"]}
tokens = LLMTokens.from_frame(data.items, text, encoder=encoder, **structure)
plain = LLMTokens.from_frame(data.items, **structure)
algorithms = {
    "user mean": UserMean(),
    "genres and year, ridge": LLMTokensContent(plain),
    "shuffled tokens": LLMTokensSVD(item_tokens=shuffled(tokens), random_state=0),
    "tokens": LLMTokensSVD(item_tokens=tokens, random_state=0),
}
splits = {
    "cold items": ColdItemKFold(options.folds, random_state=0),
    "five ratings": FewShotItemKFold(options.folds, n_given=5, random_state=0),
}
result = compare(algorithms, data, splits, reference="shuffled tokens", keep_predictions=True)
curve = learning_curve(algorithms, data, n_given=[0, 1, 2, 5, 10, 20], n_splits=options.folds)
print(result, result.differences().round(4).to_string(index=False), curve, sep="\n\n")
report(result, options.out, tokens, "What text is worth on cold items", curves=[curve])
