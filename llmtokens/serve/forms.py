"""What requests and answers are made of, as the documentation of the routes shows it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field, StrictInt, StrictStr

Id = Annotated[
    Annotated[StrictStr, Field(min_length=1, max_length=500)]
    | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)],
    Field(description="A raw id, as a number or as it reads."),
]
User = Annotated[str, Query(min_length=1, max_length=500, description="Raw id, known or not.")]
Item = Annotated[str, Query(min_length=1, max_length=500, description="Raw id.")]
Where = Annotated[
    str | None,
    Query(
        min_length=1, max_length=2000,
        description="Only items for which it holds, such as: year < 1990 and 'Comedy' in genres",
    ),
]  # fmt: skip
Diversity = Annotated[
    float, Query(ge=0, le=1, description="Share that goes to being unlike what stands above.")
]
N = Annotated[int, Query(ge=1, le=1000, description="Length of the list.")]


class Model(BaseModel):
    """What is served."""

    algorithm: str
    version: str
    users: int
    items: int
    scale: tuple[float, float]
    ratings: list[float] = Field(description="What people may give: some values of the scale.")
    implicit: bool = Field(description="Clicks only: ratings carry no opinion.")
    asks: bool = Field(description="Whether it can be asked in words.")
    columns: list[str] = Field(description="What a condition may be about.")
    condition: str = Field(description="An example of one; empty where there is none.")


class Line(BaseModel):
    """An item of a list; what the algorithm cannot say is left out."""

    item: int | float | str
    label: str | None = None
    score: float | None = None
    similarity: float | None = None
    common: int | None = Field(None, description="How many have rated both.")
    wish: str | None = Field(None, description="The one that it answers, where there are several.")
    est: float | None = Field(None, description="The rating to be expected.")
    std: float | None = None
    basis: Literal["ratings", "text", "popular"] | None = None


class Rated(BaseModel):
    """What a user has rated."""

    item: int | float | str
    label: str | None = None
    rating: float


class Reason(Rated):
    """A rating, and by how much the estimate would fall without it."""

    influence: float | None = None
    similarity: float | None = None


class Why(BaseModel):
    """Terms add up to the estimate."""

    sentence: str
    est: float
    terms: dict[str, float]
    basis: Literal["ratings", "text", "popular"]
    rated: list[Reason]
    nearest: list[Line]


class Liking(BaseModel):
    """What a user likes more, or less, than others do."""

    kind: str = Field(description="A column of labels, word, or item.")
    name: str
    liking: float = Field(description="On the scale of the algorithm, above or below the usual.")
    std: float | None = None
    chance: float = Field(description="How far from 0 it would be by chance.")
    items: int
    rated: int = Field(description="Items of it that the user has rated.")


class End(BaseModel):
    """What lies at one end of an entry of the tokens."""

    dim: int
    end: Literal["low", "high"]
    variance: float = Field(description="The entry's share of all variance.")
    shares: dict[str, float | None] = Field(description="What texts and columns have in it.")
    means: dict[str, float | None] = Field(description="Of numbers, over the items at this end.")
    words: list[str]
    items: list[str]


class Given(BaseModel):
    """A rating, or without one a click, which counts as the median of all ratings."""

    user: Id
    item: Id
    rating: float | None = Field(None, allow_inf_nan=False)


class Learned(BaseModel):
    """What was learned, and is on disk."""

    user: int | float | str
    item: int | float | str
    rating: float
    click: bool


class Forgotten(BaseModel):
    """How many ratings went."""

    ratings: int


class Refused(BaseModel):
    """Why there is no answer: what was found, what was expected."""

    error: str
