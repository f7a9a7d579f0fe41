"""load_movielens: every published MovieLens layout, from a name, a folder or a zip archive."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from ..errors import FileFormatError, LLMTokensError
from .archive import Source, find
from .ratings import RatingData, check_ratings, check_unique
from .tables import Kind
from .unpack import UNREADABLE

_GENRES_100K = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
]  # fmt: skip

# The codes of ml-1m's users.dat, from its README.
_OCCUPATIONS_1M = [
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker",
    "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist",
    "self-employed", "technician/engineer", "tradesman/craftsman", "unemployed", "writer",
]  # fmt: skip

_RATING_COLUMNS = ["user", "item", "rating", "timestamp"]
_RATING_KINDS: dict[str, Kind] = {
    "user": "id", "item": "id", "rating": "number", "timestamp": "time",
}  # fmt: skip
_RATING_TYPES = {"user": "int32", "item": "int32", "rating": "float64", "timestamp": "int64"}

# What a foreign, truncated or corrupted file raises while it is taken apart
_UNREADABLE = (ValueError, LookupError, TypeError, ArithmeticError, OSError, *UNREADABLE)

# "(1995)", "(2006-2007)", "(2006-)", and ml-100k's "(1995) (V)" for a video; \u2013 is a dash
_YEAR = re.compile(r"\((\d{4})(?:\s*[-\u2013]\s*(?:\d{4})?)?\)\s*(?:\((?:V|TV|VG|TV Series)\))?$")
_LAST = 60  # characters in which a year may stand

_ARTICLES = (
    "The|An|A|"  # English
    "Les|Le|La|L'|Une|Un|"  # French
    "Il|Lo|Gli|I|Una|Uno|"  # Italian
    "El|Los|Las|"  # Spanish
    "Das|Der|Die|Ein|Eine|"  # German
    "Os|As|O|"  # Portuguese
    "Det|Den|De|En|Et|Da|Het"  # Scandinavian, Dutch, slang
)
# A title, or a bracketed alternative title, that ends in ", Article"
_ARTICLE = re.compile(
    rf"(?P<lead>(?:^|\()\s*(?:a\.k\.a\.\s+)?)(?P<words>[^()\s](?:[^()]*[^()\s])?),\s(?P<article>{_ARTICLES})"
    r"(?=\s*(?:\(|\)|$))"
)

_NO_GENRE = "(no genres listed)"


def load_movielens(name_or_folder: str | os.PathLike[str], *, download: bool = False) -> RatingData:
    """A MovieLens data set, with the texts of its items.

    Parameters
    ----------
    name_or_folder : str or path
        One of ``ml-100k ml-1m ml-10m ml-20m ml-25m ml-32m ml-latest ml-latest-small``, looked for
        in Surprise's folder of built-in data sets (``~/.surprise_data``, or where the environment
        variable ``SURPRISE_DATA_FOLDER`` says); or a folder or zip archive, whose layout is told
        by the files in it. Archives are read in place, nothing is unpacked.
    download : bool
        Fetch a named set from grouplens.org if it is not there. Nothing is fetched otherwise.

    Returns
    -------
    RatingData
        Ids are int. ``items`` has ``item title genres year tags``: the title as one would say it
        ("The Matrix", not "Matrix, The (1999)"), genres and distinct lower-case tags (most
        frequent first) as tuples, empty where there are none; then ``release_date imdb_url``
        (ml-100k) or ``imdb_id tmdb_id`` (with links.csv). ``users`` has ``gender age occupation
        zip`` in ml-100k and ml-1m (there, ``age`` is the lower end of an age band).

    Raises
    ------
    DataError
        An unknown name, and ratings or items that are broken.
    StorageError
        A name or path that is not there, or cannot be read.
    FileFormatError
        A folder or archive that holds no known layout, or a file not in that layout.

    References
    ----------
    Harper & Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.

    Examples
    --------
    >>> from llmtokens.datasets import load_movielens
    >>> ml = load_movielens("ml-latest-small")  # doctest: +SKIP
    >>> ml.items.loc[0, ["title", "genres", "year"]].tolist()  # doctest: +SKIP
    ['Toy Story', ('Adventure', 'Animation', 'Children', 'Comedy', 'Fantasy'), 1995.0]
    """
    name, source = find(name_or_folder, download=download)
    with source:
        for files, read in _LAYOUTS.items():
            if all(file in source for file in files):
                try:
                    ratings, items, users, scale = read(source)
                except LLMTokensError:
                    raise
                except _UNREADABLE as error:
                    raise FileFormatError(
                        f"{source}: {', '.join(files)} are there, but not in the layout of "
                        f"MovieLens, or damaged: {error}"
                    ) from error
                break
        else:
            known = "; or ".join(", ".join(files) for files in _LAYOUTS)
            raise FileFormatError(
                f"{source}: not a MovieLens folder. It holds {source.listing()}; expected {known}."
            )
    scale = check_ratings(ratings, scale, str(source))
    check_unique(items, "item", str(source))
    return RatingData(ratings, items, users, scale, name)


_Parts = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, tuple[float, float]]


def _read_100k(source: Source) -> _Parts:
    """Tabs in u.data, pipes in u.item (with 19 genre flags) and u.user."""
    ratings = _ratings(source.table("u.data", _RATING_KINDS, "\t", _RATING_COLUMNS))
    rows = [line.split("|") for line in source.lines("u.item")]
    genres = [
        tuple(g for g, flag in zip(_GENRES_100K, row[5:], strict=True) if flag.strip() == "1")
        for row in rows
    ]
    items = _items([row[0] for row in rows], [row[1] for row in rows])
    items["genres"] = [tuple(g for g in own if g != "unknown") for own in genres]
    items["tags"] = [()] * len(items)
    items["release_date"] = [row[2] for row in rows]
    items["imdb_url"] = [row[4] for row in rows]
    users = pd.DataFrame(columns=["user", "age", "gender", "occupation", "zip"])
    if "u.user" in source:
        users = pd.DataFrame(
            [line.split("|") for line in source.lines("u.user")], columns=users.columns
        )
    return ratings, items, _users(users, ratings), (1, 5)


def _read_dat(source: Source) -> _Parts:
    """``::`` between fields: ml-1m (users.dat) and ml-10m (half stars, tags.dat)."""
    ratings = _ratings(source.table("ratings.dat", _RATING_KINDS, "::", _RATING_COLUMNS))
    rows = [_outer_fields(line, 1) for line in source.lines("movies.dat")]
    items = _items([row[0] for row in rows], [row[1] for row in rows])
    items["genres"] = genre_tuples(pd.Series([row[2] for row in rows], dtype=object))
    tags = pd.DataFrame(columns=["user", "item", "tag", "timestamp"])
    if "tags.dat" in source:
        tags = pd.DataFrame(
            [_outer_fields(line, 2) for line in source.lines("tags.dat")], columns=tags.columns
        )
    items["tags"] = tag_tuples(items["item"], tags["item"].astype("int32"), tags["tag"])
    if "users.dat" not in source:
        return ratings, items, _users(None, ratings), (0.5, 5)
    users = pd.DataFrame(
        [line.split("::") for line in source.lines("users.dat")],
        columns=["user", "gender", "age", "occupation", "zip"],
    )
    users["occupation"] = [_OCCUPATIONS_1M[int(code)] for code in users["occupation"]]
    return ratings, items, _users(users, ratings), (1, 5)


def _read_csv(source: Source) -> _Parts:
    """CSV with a header: ml-20m, ml-25m, ml-32m, ml-latest and ml-latest-small."""
    names = {"userId": "user", "movieId": "item"}
    kinds = dict(
        zip(["userId", "movieId", "rating", "timestamp"], _RATING_KINDS.values(), strict=True)
    )
    ratings = _ratings(source.table("ratings.csv", kinds).rename(columns=names))
    movies = source.table("movies.csv", {"movieId": "id", "title": "text", "genres": "text"})
    movies = movies.fillna("")
    items = _items(movies["movieId"].tolist(), movies["title"].tolist())
    items["genres"] = genre_tuples(movies["genres"])
    tags = pd.DataFrame({"movieId": pd.Series(dtype="int32"), "tag": pd.Series(dtype=str)})
    if "tags.csv" in source:
        tags = source.table("tags.csv", {"movieId": "id", "tag": "text"}).fillna("")
        tags = tags.astype({"movieId": "int32"})
    items["tags"] = tag_tuples(items["item"], tags["movieId"], tags["tag"])
    if "links.csv" in source:
        kinds = {"movieId": "id", "imdbId": "text", "tmdbId": "number"}
        links = source.table("links.csv", kinds).astype({"movieId": "int32"})
        links = links.rename(columns=names | {"imdbId": "imdb_id", "tmdbId": "tmdb_id"})
        items = items.merge(links[["item", "imdb_id", "tmdb_id"]], how="left", on="item")
    return ratings, items, _users(None, ratings), (0.5, 5)


def _ratings(table: pd.DataFrame) -> pd.DataFrame:
    return table[_RATING_COLUMNS].astype(_RATING_TYPES)


_LAYOUTS: dict[tuple[str, ...], Callable[[Source], _Parts]] = {
    ("u.data", "u.item"): _read_100k,
    ("ratings.dat", "movies.dat"): _read_dat,
    ("ratings.csv", "movies.csv"): _read_csv,
}


def _outer_fields(line: str, before: int) -> list[str]:
    """``before`` fields, free text that may hold a "::" itself, and the last field."""
    *first, rest = line.split("::", before)
    return [*first, *rest.rsplit("::", 1)]


def _items(ids: list[str], raw_titles: list[str]) -> pd.DataFrame:
    titles, years = split_titles(raw_titles)
    item = pd.Series([int(x) for x in ids], dtype="int32")
    return pd.DataFrame({"item": item, "title": titles, "genres": None, "year": years})


def _users(users: pd.DataFrame | None, ratings: pd.DataFrame) -> pd.DataFrame:
    if users is None or users.empty:
        return pd.DataFrame({"user": ratings["user"].drop_duplicates().reset_index(drop=True)})
    columns = ["user", "gender", "age", "occupation", "zip"]
    return users[columns].astype({"user": "int32", "age": "int32"})


def split_titles(raw: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Titles as one would say them, and their years (float64, NaN where there is none).

    >>> split_titles(["Matrix, The (1999)", "Amants, Les (Lovers, The) (1958)"])
    (['The Matrix', 'Les Amants (The Lovers)'], array([1999., 1958.]))
    """
    titles, years = [], []
    for text in map(str.strip, raw):
        year = _YEAR.search(text, max(len(text) - _LAST, 0))
        years.append(float(year[1]) if year else np.nan)
        title = text[: year.start()].rstrip() if year else text
        titles.append(_ARTICLE.sub(_article_first, title or text))
    return titles, np.array(years, dtype=np.float64)


def _article_first(match: re.Match[str]) -> str:
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['lead']}{match['article']}{gap}{match['words']}"


def genre_tuples(column: pd.Series) -> list[tuple[str, ...]]:
    """``"Comedy|Drama"`` as ``("Comedy", "Drama")``; none for MovieLens's word for none."""
    split = {
        text: tuple(genre for genre in text.split("|") if genre and genre != _NO_GENRE)
        for text in column.unique()
    }
    return [split[text] for text in column]


def tag_tuples(items: pd.Series, tagged: pd.Series, tags: pd.Series) -> list[tuple[str, ...]]:
    """Each item's distinct tags in lower case, the most frequent first, ties by alphabet."""
    words = tags.str.strip().str.lower()
    pairs = pd.DataFrame({"item": tagged.to_numpy(), "tag": words.to_numpy()})
    counts = pairs[words.to_numpy() != ""].value_counts(sort=False).reset_index(name="n")
    counts = counts.sort_values(["item", "n", "tag"], ascending=[True, False, True])
    of_item: dict[int, list[str]] = {}
    for item, tag in zip(counts["item"].tolist(), counts["tag"].tolist(), strict=True):
        of_item.setdefault(item, []).append(tag)
    return [tuple(of_item.get(item, ())) for item in items.tolist()]
