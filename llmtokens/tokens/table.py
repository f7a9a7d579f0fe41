"""LLM tokens: an immutable table from raw id to a short vector made from text."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.ids import IdIndex, as_column, id_text, table_ids
from ..data.ratings import Ratings
from ..encode import Encoder, ImageEncoder, SentenceEncoder
from ..errors import DataError, FileFormatError, LLMTokensWarning, sample
from ..runtime.arguments import pandas_of, require_length
from ..runtime.arrays import Floats, Rows, Singles, cosines, unit_rows
from ..runtime.locks import cached_property
from ..storage import container as store
from ..storage.models import Array, check
from .blocks import (
    Block,
    CategoryBlock,
    EmbeddingBlock,
    Features,
    ImageBlock,
    NumberBlock,
    TextBlock,
    as_matrix,
    require_columns,
)
from .describe import describe
from .history import History
from .labels import as_text, require_separator
from .markup import Markup
from .near import near_to
from .projection import Projection
from .words import Words

if TYPE_CHECKING:
    from typing import Self

_ID_COLUMNS = ("item", "user", "id")
_ROOM = 1 << 26  # entries of embeddings that are held in single precision, too, once asked: 256 MB
_LABEL_COLUMNS = ("title", "name")
_LAYOUT = {
    "vectors": Array(("ids", "dims")),
    "mean": Array(("features",)),
    "components": Array(("dims", "features")),
    "explained_variance_ratio": Array(("dims",)),
    "embeddings": Array(("ids", "embedding"), optional=True),
    "history": Array(("ids",), "int", optional=True),
}


@dataclass(frozen=True, eq=False)
class LLMTokens:
    """Raw ids of items or users, each with its token.

    Build one with :meth:`from_frame`, :meth:`from_texts`, :meth:`from_embeddings` or
    :meth:`concat`; the constructor takes the finished parts.

    Attributes
    ----------
    ids : list of raw ids, length n
    vectors : ndarray of float32, shape (n, d), read-only
        PCA scores in decreasing variance: the first k columns are the best k-dimensional token.
    projection : Projection
        How content becomes a token; it projects new content for :meth:`transform`.
    labels : list of str or None
        What a person calls the ids: titles or names.
    embeddings : ndarray of float16, shape (n, dim), read-only, or None
        The text alone, as the encoder gave it, at norm 1: products of rows are cosines, also with
        rows of another table that has the same :attr:`text_space`. Zeros where an id has no text,
        the mean where it has several; None where no text was encoded, several encoders were used,
        or they were not to be kept. They take 2 * n * dim bytes, in memory and in files: 7.5 MB for
        10,000 ids and all-MiniLM-L6-v2.
    history : ndarray of int64, shape (n,), or None
        How many ratings each token was made of, for those of :meth:`from_history`.
    columns : dict of str to list, or None
        What the categorical and numeric columns say of each id: lists of labels, and numbers (NaN
        where missing). They are what lists can be restricted by.

    Examples
    --------
    >>> from llmtokens import HashingEncoder, LLMTokens
    >>> texts = ["a heist in Paris", "a love story in Paris", "robots in space", "ghosts"]
    >>> tokens = LLMTokens.from_texts([10, 20, 30, 40], texts, encoder=HashingEncoder())
    >>> tokens
    LLMTokens(4 ids, 4 dims, hashing)
    >>> tokens.transform(["a heist in space"]).shape
    (1, 4)
    >>> tokens[20].shape, 20 in tokens, 50 in tokens
    ((4,), True, False)
    """

    ids: list[Hashable]
    vectors: Singles
    projection: Projection
    labels: list[str] | None = None
    embeddings: NDArray[np.float16] | None = None
    history: Rows | None = None
    columns: dict[str, list[Any]] | None = None

    def __post_init__(self) -> None:
        for array in (self.vectors, self.embeddings, self.history):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Hashable]:
        """The ids."""
        return iter(self.ids)

    def __contains__(self, raw_id: Hashable) -> bool:
        return self._index.row(raw_id) >= 0

    def __getitem__(self, raw_id: Hashable) -> Singles:
        """The token of one id, shape (d,); ids match as in :meth:`align`.

        Raises
        ------
        DataError
            For an id without a token.
        """
        row = self._index.row(raw_id)
        if row < 0:
            raise DataError(f"found the id {raw_id!r:.60}, which has no token; expected one of "
                            f"{sample(self.ids)}")  # fmt: skip
        vector: Singles = self.vectors[row]
        return vector

    def __repr__(self) -> str:
        names = dict.fromkeys(b.encoder.rsplit("/", 1)[-1] for b in self.projection.text_blocks)
        made = "+".join(names) or "embeddings"
        return f"{type(self).__name__}({len(self)} ids, {self.n_dims} dims, {made})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_index"}

    # -- build -----------------------------------------------------------------------------------

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        text: str | Sequence[str] = (),
        *,
        image: str | Sequence[str] = (),
        categorical: str | Sequence[str] = (),
        numeric: str | Sequence[str] = (),
        separator: str | None = None,
        id: str | None = None,
        label: str | None = None,
        encoder: Encoder | None = None,
        image_encoder: Encoder | None = None,
        n_components: int = 128,
        whiten: float = 0.0,
        like: LLMTokens | None = None,
        keep_embeddings: bool = True,
    ) -> LLMTokens:
        """Tokens from the columns of a frame, one row per id.

        Parameters
        ----------
        frame : DataFrame
        text : str or sequence of str
            Template(s) with column names in braces. Each template is encoded on its own: several
            short fields say more as several blocks than as one long text.
        image : str or sequence of str
            Columns of paths of image files; an empty cell is no image.
        categorical : str or sequence of str
            Columns of labels, one or several a cell: multi-hot. A cell may hold a list, an array,
            dictionaries with a "name", any of these as JSON or Python write them, or a text with
            "|", ";" or "," between labels.
        numeric : str or sequence of str
            Columns of numbers: a cubic spline basis, so that effects need not be straight lines.
        separator : str, optional
            What stands between the labels of a text in all categorical columns; "" where each text
            is one label. By default it is found, column by column: what follows it in one row
            stands alone or first in others, as genres do and the parts of a name do not.
        id : str, optional
            Column of raw ids; by default "item", "user" or "id", the first there is.
        label : str, optional
            Column of names to show to people; by default "title" or "name", in small letters or
            large, where there is one.
        encoder : Encoder, optional
            Of text. By default :class:`~llmtokens.SentenceEncoder`, all-MiniLM-L6-v2.
        image_encoder : Encoder, optional
            Of images. By default :class:`~llmtokens.ImageEncoder`, clip-ViT-B-32.
        n_components : int, default=128
            Upper bound on the length of a token.
        whiten : float, default=0.0
            Whitening power, see :class:`~llmtokens.TokenReducer`.
        like : LLMTokens, optional
            Put one text per row where these tokens are, as if it stood in place of their texts:
            what users write of themselves, beside the tokens of items. Encoder, projection and
            length are theirs; there can be no other columns.
        keep_embeddings : bool, default=True
            Keep the encoder's rows beside the tokens, as :attr:`embeddings`.

        Notes
        -----
        Each block is scaled to mean square norm 1 before PCA. A row in which the fields of a block
        are missing takes that block's mean: it says nothing, and nothing wrong.

        Raises
        ------
        DataError
            For missing columns, duplicate or missing ids, images that cannot be read, or fewer than
            two rows with content.

        Warns
        -----
        LLMTokensWarning
            If rows have no content in any block: they get no token. If labels look like lists, and
            it is not clear that they are. If texts or labels hold tags or entities of HTML, with
            what takes them out.
        """
        frame = pandas_of(frame)
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"found a {type(frame).__name__}; expected a frame with a row for each id: "
                "pd.DataFrame(rows) makes one"
            )
        templates, images = _listed(text), _listed(image)
        categorical, numeric = _listed(categorical), _listed(numeric)
        require_separator(separator)
        if not (templates or images or categorical or numeric):
            raise DataError(
                "found no text, image, categorical or numeric columns; name at least one"
            )
        id = id or next((name for name in _ID_COLUMNS if name in frame.columns), _ID_COLUMNS[0])
        label = label or _usual_label(frame)
        require_columns(frame, [id] + ([label] if label else []))
        ids = table_ids(frame[id], repr(id))
        shown = [as_text(value) for value in frame[label]] if label else None
        if like is not None:
            if len(templates) != 1 or images or categorical or numeric:
                raise DataError("found like= beside other columns than one text; expected one "
                                "template: join other tables with LLMTokens.concat")  # fmt: skip
            projection = like.projection.of_text(templates[0])
            if encoder is not None:
                projection = projection.with_encoder(encoder)
            features = projection.features(frame)
            return cls._of(ids, projection, features, shown, 1, keep_embeddings)
        encoder = (encoder or SentenceEncoder()) if templates else None
        image_encoder = (image_encoder or ImageEncoder()) if images else None
        blocks: list[Block] = [
            *(TextBlock(t, encoder.name, encoder.revision) for t in templates if encoder),
            *(
                ImageBlock(column, image_encoder.name, image_encoder.revision)
                for column in images
                if image_encoder
            ),
            *(CategoryBlock.learn(frame, column, separator) for column in categorical),
            *(NumberBlock.learn(frame, column) for column in numeric),
        ]
        used = [known for known in (encoder, image_encoder) if known is not None]
        made = cls._fit(ids, blocks, frame, used, n_components, whiten, shown, 2, keep_embeddings)
        if not made.vectors.any():
            warnings.warn(
                f"all {len(made)} rows have the same content, so that their tokens say nothing; "
                "look at the template and the columns",
                LLMTokensWarning,
                stacklevel=2,
            )
        if len(made) < len(ids):
            frame = frame.iloc[IdIndex(ids).rows(made.ids)]
        return replace(made, columns=made._columns_of(frame))

    @classmethod
    def from_texts(
        cls,
        ids: Iterable[Hashable],
        texts: Iterable[str],
        *,
        encoder: Encoder | None = None,
        n_components: int = 128,
        whiten: float = 0.0,
        keep_embeddings: bool = True,
    ) -> LLMTokens:
        """Tokens from one text per id; see :meth:`from_frame`.

        Raises
        ------
        DataError
            For duplicate or missing ids, fewer than two, or texts that are missing or empty.
        """
        raw, written = table_ids(ids, "ids"), list(texts)
        if len(raw) != len(written):
            raise DataError(f"found {len(raw)} ids and {len(written)} texts; expected one per id")
        frame = pd.DataFrame({"text": pd.Series(written, dtype=object)})
        encoder = encoder or SentenceEncoder()
        block = TextBlock("{text}", encoder.name, encoder.revision)
        return cls._fit(
            raw, [block], frame, [encoder], n_components, whiten, embeddings=keep_embeddings
        )

    @classmethod
    def from_embeddings(
        cls,
        ids: Iterable[Hashable],
        array: Any,
        *,
        n_components: int = 128,
        whiten: float = 0.0,
    ) -> LLMTokens:
        """Tokens from vectors (n, dim) the user brings: any model, any modality.

        Raises
        ------
        DataError
            For a shape other than (n_ids, dim), NaN or infinity, duplicate or missing ids.
        """
        raw, matrix = table_ids(ids, "ids"), as_matrix(array)
        if len(raw) != len(matrix):
            raise DataError(
                f"found {len(raw)} ids and {len(matrix)} rows of embeddings; expected one row "
                "per id"
            )
        block = EmbeddingBlock(matrix.shape[1])
        return cls._fit(raw, [block], matrix, [], n_components, whiten)

    @classmethod
    def concat(
        cls, parts: Sequence[LLMTokens], *, n_components: int = 128, whiten: float = 0.0
    ) -> LLMTokens:
        """Fuse tables over the union of their ids: text + images + structure.

        Every table is brought to mean square norm 1 before the joint PCA; an id that a table lacks
        takes that table's mean.

        Raises
        ------
        DataError
            If there is nothing to fuse.
        """
        if len(parts) == 0:
            raise DataError("found no tokens to concatenate; expected at least one table")
        ids: list[Hashable] = []
        for part in parts:
            known = IdIndex(ids).rows(part.ids)
            ids += [raw for raw, row in zip(part.ids, known, strict=True) if row < 0]
        stacked = []
        for part in parts:
            rows = part.align(ids)
            block = np.zeros((len(ids), part.n_dims))
            block[rows >= 0] = part.vectors[rows[rows >= 0]]
            stacked.append(block)
        projection, vectors = Projection.join(
            [part.projection for part in parts], stacked, n_components, whiten
        )
        names = {id_text(raw): text for part in reversed(parts) if part.labels
                 for raw, text in zip(part.ids, part.labels, strict=True)}  # fmt: skip
        labels = [names.get(id_text(raw), str(raw)) for raw in ids] if names else None
        embeddings = None
        said = [part for part in parts if part.projection.text_blocks]
        if projection.text_encoder and all(part.embeddings is not None for part in said):
            total = np.zeros((len(ids), projection.text_width or 0), np.float32)
            for part in said:
                rows = part.align(ids)
                total[rows >= 0] += np.asarray(part.embeddings)[rows[rows >= 0]]
            embeddings = unit_rows(total).astype(np.float16)
        return cls(ids, vectors, projection, labels, embeddings, columns=_joined(parts, ids))

    @classmethod
    def from_history(
        cls,
        ratings: pd.DataFrame | Ratings,
        item_tokens: LLMTokens,
        *,
        half_life: float | None = None,
        weights: Iterable[float] | None = None,
    ) -> LLMTokens:
        """Tokens of users from what they did: weighted means of the tokens of items.

        A rating counts by how far it lies above its user's mean (damped by ten ratings at the mean
        of all), below it with a negative sign; where all ratings are alike each counts 1. The sum
        of weight times token is divided by the sum of the weights' sizes, and the embeddings are
        averaged likewise. Texts of these users, see :meth:`query`, land in the items' space.

        Parameters
        ----------
        ratings : DataFrame or Ratings
            Columns user and item, and if there are any rating and timestamp; or the ratings of a
            trainset, whose weights are kept.
        item_tokens : LLMTokens
        half_life : float, optional
            Seconds before a user's last rating at which one counts half; None: all count alike.
        weights : sequence of float, shape (n,), optional
            How much each row counts, instead of what its rating says.

        Notes
        -----
        Such tokens have seen the ratings they are made of. To judge a model, make them of its
        training ratings alone, as ``user_tokens="history"`` does inside ``fit``.

        Raises
        ------
        DataError
            For missing columns, numbers that are not finite, or if no user did anything with items
            that have tokens.

        Examples
        --------
        >>> import pandas as pd
        >>> items = LLMTokens.from_embeddings(["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
        >>> clicks = pd.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"]})
        >>> users = LLMTokens.from_history(clicks, items)
        >>> bool(abs(users["u"]).max() < 1e-6), bool((users["v"] == items["a"]).all())
        (True, True)
        """
        if isinstance(ratings, Ratings):
            if half_life is not None or weights is not None:
                raise DataError("half_life and weights are for a DataFrame; the ratings of a "
                                "trainset have weights of their own")  # fmt: skip
            history = History.of_ratings(ratings)
        else:
            history = History.of_frame(ratings, half_life, weights)
        rows = item_tokens.align(history.item_ids)
        counts = history.counts(rows >= 0)
        some = np.flatnonzero(counts)
        if len(some) == 0:
            raise DataError(
                f"found no rating of an item that has a token, the items being "
                f"{sample(history.item_ids)} and the tokens {sample(item_tokens.ids)}; expected "
                "the ids of the ratings"
            )
        embeddings = None
        if item_tokens.embeddings is not None:
            means = history.means(item_tokens.embeddings, rows)[some]
            embeddings = unit_rows(means).astype(np.float16)
        return cls(
            ids=[history.user_ids[k] for k in some],
            vectors=history.means(item_tokens.vectors, rows)[some].astype(np.float32),
            projection=item_tokens.projection,
            embeddings=embeddings,
            history=counts[some],
        )

    def require_unseen(self, ratings: Ratings) -> None:
        """Refuse tokens of :meth:`from_history` that are made of more ratings than these.

        Raises
        ------
        DataError
            If users of the trainset have fewer ratings there than their tokens were made of.
        """
        if self.history is None:
            return
        at = self.align(ratings.user_ids)
        more = np.flatnonzero((at >= 0) & (self.history[at] > ratings.user_counts))
        if len(more):
            user = more[0]
            raise DataError(
                f"found user_tokens that have seen other ratings than those of this fit: of "
                f"{len(more)} users, the first being {ratings.user_ids[user]!r} with "
                f"{self.history[at[user]]} ratings in the tokens and {ratings.user_counts[user]} "
                'here; expected tokens of the training ratings alone: pass user_tokens="history"'
            )

    @classmethod
    def _fit(
        cls,
        ids: list[Hashable],
        blocks: list[Block],
        data: Any,
        encoders: Sequence[Encoder],
        n_components: int,
        whiten: float,
        labels: list[str] | None = None,
        fewest: int | None = None,
        embeddings: bool = False,
    ) -> LLMTokens:
        if len(ids) < 2:
            raise DataError(f"found {len(ids)} ids; expected at least two to tell apart")
        known = _by_key(encoders)
        projection, features = Projection.fit(blocks, data, known, n_components, whiten)
        return cls._of(ids, projection, features, labels, fewest or len(ids), embeddings)

    @classmethod
    def _of(
        cls,
        ids: list[Hashable],
        projection: Projection,
        features: list[Features | None],
        labels: list[str] | None,
        fewest: int,
        embeddings: bool,
    ) -> LLMTokens:
        """The table of these features; ids without any are left out, with a warning.

        ``fewest``: an error where less ids than that have content.
        """
        some = np.any([known[1] for known in features if known is not None], axis=0)
        vectors = projection.tokens(features)
        kept = projection.embeddings(features) if embeddings else None
        if some.all():
            return cls(ids, vectors, projection, labels, kept)
        found = (
            f"{int((~some).sum())} of {len(ids)} ids have no content, the first being "
            f"{sample(ids[k] for k in np.flatnonzero(~some))}"
        )
        if some.sum() < fewest:
            raise DataError(
                f"{found}; drop these ids: without a token an id is predicted from its ratings"
            )
        warnings.warn(f"{found}; they get no token", LLMTokensWarning, stacklevel=4)
        rows = np.flatnonzero(some)
        return cls(
            [ids[k] for k in rows],
            vectors[rows],
            projection,
            None if labels is None else [labels[k] for k in rows],
            None if kept is None else kept[rows],
        )

    # -- use -----------------------------------------------------------------------------------

    @property
    def n_dims(self) -> int:
        """Length d of a token."""
        return self.vectors.shape[1]

    @property
    def explained_variance_ratio(self) -> Floats:
        """Share of the content's variance in each entry of a token, shape (d,)."""
        return self.projection.explained_variance_ratio

    @property
    def mean(self) -> Floats:
        """Mean of the features of all blocks, one after the other, shape (n_features,)."""
        return self.projection.mean

    @property
    def components(self) -> Floats:
        """Projects features: ``(features - mean) @ components.T``, shape (d, n_features)."""
        return self.projection.components

    @property
    def encoder(self) -> str | None:
        """Name of the text encoder, None where no text was encoded; several are joined by "+"."""
        return (
            "+".join(dict.fromkeys(block.encoder for block in self.projection.text_blocks)) or None
        )

    @property
    def revision(self) -> str | None:
        """Revision of the encoder's weights or settings."""
        return (
            "+".join(dict.fromkeys(block.revision for block in self.projection.text_blocks)) or None
        )

    @property
    def template(self) -> tuple[str, ...]:
        """The text templates, one per text block."""
        return tuple(block.template for block in self.projection.text_blocks)

    @property
    def text_space(self) -> str | None:
        """Encoder and revision: :attr:`embeddings` of tables that agree in it can be compared.

        None where no text was encoded, or by several encoders.
        """
        known = self.projection.text_encoder
        return None if known is None else "@".join(known)

    def is_like(self, other: LLMTokens) -> bool:
        """Whether texts become tokens in one space, as with ``like=``: then inner products of rows
        of both tables say how near texts are.

        Examples
        --------
        >>> from llmtokens import HashingEncoder
        >>> films = LLMTokens.from_texts([1, 2, 3], ["ghosts", "a heist", "robots"],
        ...                              encoder=HashingEncoder(64))
        >>> films.is_like(films), films.is_like(LLMTokens.from_embeddings([1, 2], [[1.0], [2.0]]))
        (True, False)
        """
        return self.projection.has_text_axes_of(other.projection)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(self.ids)

    def align(self, raw_ids: Iterable[Hashable]) -> Rows:
        """Row of each raw id in ``vectors``, -1 where it has no token, shape (n,).

        Ids match exactly, or else through ``str(id)`` where only one token's id reads so:
        Surprise reads ids from files as text, while frames keep their type.
        """
        return self._index.rows(raw_ids)

    def transform(self, data: Any) -> Singles:
        """Tokens of new content, projected as the table's own, shape (n_new, d).

        Parameters
        ----------
        data : DataFrame, sequence of str, or array (n_new, dim)
            What the builder took: a frame for :meth:`from_frame`, texts for :meth:`from_texts`,
            vectors for :meth:`from_embeddings`; for :meth:`concat` a list with one of these per
            table, None where a table has nothing to say.

        Raises
        ------
        DataError
            If the data is of another form than the tokens were made from.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        return self.projection.tokens(self.projection.features(data))

    def query(self, text: str) -> Singles:
        """The token of a text in a person's own words, shape (d,).

        It is encoded as the text of every id was, in place of the whole template; categories,
        numbers and embeddings say nothing.

        Raises
        ------
        DataError
            If the tokens were made without text, or the text is empty.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        return self.projection.tokens(self.projection.said([text]))[0]

    def embed(self, text: str | Sequence[str]) -> Singles:
        """A text in the encoder's own space, at norm 1, shape (dim,), to compare with embeddings;
        several texts, encoded together, shape (n, dim).

        Raises
        ------
        DataError
            If the tokens were made without text, with several encoders, or the text is empty.
        ModelNotFoundError
            If the text encoder is not at hand.

        Examples
        --------
        >>> from llmtokens import HashingEncoder
        >>> titles = ["Alien", "A love story", "Aliens on the moon"]
        >>> tokens = LLMTokens.from_texts([1, 2, 3], titles, encoder=HashingEncoder())
        >>> (tokens.embeddings @ tokens.embed("a love letter")).argmax()
        np.int64(1)
        """
        one = isinstance(text, str) or not isinstance(text, Iterable)
        texts: Any = [text] if one else list(text)
        words = self.projection.of_text("{text}")
        rows = words.embeddings(words.said(texts), np.float32)
        assert rows is not None  # there is one text encoder
        return rows[0] if one else rows

    def reduced(self, n_components: int | None = None, whiten: float | None = None) -> LLMTokens:
        """The table as if it had been built with fewer components, or another whitening.

        Principal axes are nested: nothing is encoded again. Algorithms do it by name,
        ``LLMTokensSVD(tokens, item_tokens__n_components=32)``, so that Surprise's searches can
        choose among lengths of tokens.

        Parameters
        ----------
        n_components : int, optional
            Length of a token, at most that of the tokens there are. None: as it is.
        whiten : float, optional
            See :class:`~llmtokens.TokenReducer`. None: as it is.

        Raises
        ------
        DataError
            For more components than the tokens have, and values out of range.

        Examples
        --------
        >>> from llmtokens import HashingEncoder
        >>> texts = ["a heist in Paris", "a love story in Paris", "robots in space", "ghosts"]
        >>> tokens = LLMTokens.from_texts([10, 20, 30, 40], texts, encoder=HashingEncoder())
        >>> tokens.reduced(2)
        LLMTokens(4 ids, 2 dims, hashing)
        """
        from .reducer import require_reduction

        n_components = self.n_dims if n_components is None else n_components
        whiten = self.projection.whiten if whiten is None else whiten
        require_reduction(n_components, whiten)
        if n_components > self.n_dims:
            raise DataError(
                f"found n_components={n_components}; expected at most {self.n_dims}, the length of "
                "these tokens: build them with more"
            )
        projection, factors = self.projection.reduced(n_components, whiten)
        vectors = (self.vectors[:, :n_components] * factors).astype(np.float32)
        return replace(self, vectors=vectors, projection=projection)

    def similar(self, raw_id: Hashable, n: int = 10) -> pd.DataFrame:
        """The ids whose texts are nearest to that of one id.

        Categories, numbers and the like do not count, as they do in tokens: what is near in a token
        may be of one year. Where there are no :attr:`embeddings`, tokens are compared.

        Parameters
        ----------
        raw_id : hashable
        n : int, default=10

        Returns
        -------
        DataFrame
            The nearest first: id, label (where there are labels) and similarity (cosine).

        Raises
        ------
        DataError
            For an id without a token, or ``n`` out of range.

        Examples
        --------
        >>> from llmtokens import HashingEncoder
        >>> titles = ["Alien", "A love story", "Alien and robots on the moon"]
        >>> tokens = LLMTokens.from_texts(list("abc"), titles, encoder=HashingEncoder())
        >>> tokens.similar("a", n=1)["id"].tolist()
        ['c']
        """
        require_length(n)
        near = self.similarities(raw_id)
        near[self._index.row(raw_id)] = np.nan
        rows = np.argsort(-near, kind="stable")[:n]  # NaN comes last
        rows = rows[~np.isnan(near[rows])]
        columns: dict[str, Any] = {"id": as_column([self.ids[row] for row in rows])}
        if self.labels is not None:
            columns["label"] = as_column([self.labels[row] for row in rows])
        return pd.DataFrame(columns | {"similarity": near[rows]})

    def similarities(self, raw_id: Hashable) -> Floats:
        """Cosine of the text of every id with that of one, shape (n,); NaN where there is none.

        As in :meth:`similar`.

        Raises
        ------
        DataError
            For an id without a token.
        """
        vector, row = self[raw_id], self._index.row(raw_id)
        if self.embeddings is None:
            return cosines(self.vectors, vector)
        return self.near(self.embeddings[[row]].astype(np.float32))[0]

    def near(self, texts: Singles) -> Floats:
        """Cosine of the text of every id with each of some in the encoder's space, (k, n).

        NaN where either has none; what is said of one of the k does not depend on the others.
        """
        return near_to(self._singles, texts)

    @cached_property
    def _singles(self) -> NDArray[Any]:
        """Embeddings as they are multiplied, where there is room for them."""
        assert self.embeddings is not None
        room = self.embeddings.size <= _ROOM
        return self.embeddings.astype(np.float32) if room else self.embeddings

    def describe(self, k: int = 5, n: int = 5, texts: Sequence[str] | None = None) -> pd.DataFrame:
        """What the ``k`` leading entries of tokens stand for.

        Parameters
        ----------
        k : int, default=5
            How many entries (dims) to describe: they hold the most variance.
        n : int, default=5
            How many ids and words at each end, at most.
        texts : sequence of str, length len(tokens), optional
            Where words are looked for, in the order of the ids; by default the labels. Tables keep
            no texts.

        Returns
        -------
        DataFrame
            Two rows for each entry, for its low end and its high end, with

            - dim (column of ``vectors``), end, and variance: the entry's share of all variance;
            - "text share", "genres share" and so on: how much of the variance of the entry comes
              from texts, or from a column. They sum to 1; NaN where the table has no such column;
            - "year mean" and so on: the mean of a numeric column over the ids listed;
            - words: those that go with this end, the clearest first, and the labels of categorical
              columns. A word counts if it is said of five ids or more, and if the mean of their
              entries lies further out than, in 95 of 100 tables, that of any word would if words
              were said of ids by chance; there may be none;
            - items: labels of the ids that lie furthest out, or the ids.

        Raises
        ------
        DataError
            For ``k`` or ``n`` out of range, or unless there is one text per id.

        Examples
        --------
        >>> from llmtokens import HashingEncoder
        >>> from llmtokens.datasets import synthetic
        >>> items = synthetic(n_items=300, n_ratings=3000).items
        >>> tokens = LLMTokens.from_frame(
        ...     items, "{title}", categorical="genres", numeric="year", encoder=HashingEncoder()
        ... )
        >>> found = tokens.describe(2, n=3, texts=items["description"])
        >>> found.columns.tolist()[:5]
        ['dim', 'end', 'variance', 'text share', 'genres share']
        >>> shares = found[["text share", "genres share", "year share"]]
        >>> bool(((shares.sum(axis=1) - 1).abs() < 1e-6).all())
        True
        """
        names = self.labels or [str(raw) for raw in self.ids]
        texts = self.labels if texts is None else list(texts)
        words = Words.of(len(self), texts, self.columns)
        return describe(self.vectors, self.projection, self.columns, names, words, k, n)

    def with_content(self, raw_id: Hashable, content: Any) -> LLMTokens:
        """The table with a token of this content for one id, which may be new.

        Parameters
        ----------
        raw_id : hashable
            Its token is replaced if it has one.
        content : str, mapping, Series, DataFrame of one row, or array
            A text in place of all templates, the columns of a frame by name, or whatever
            :meth:`transform` takes for one row.

        Raises
        ------
        DataError
            For the content of several ids, or of another form than the tokens were made from.
        ModelNotFoundError
            If the text encoder is not at hand.
        """
        features = self._features(content)
        vectors = self.projection.tokens(features)
        if len(vectors) != 1:
            raise DataError(f"found the content of {len(vectors)} ids; expected that of one")
        row = self._index.row(raw_id)
        columns: dict[str, NDArray[Any]] = {"vectors": vectors}
        if self.embeddings is not None:
            said = self.projection.embeddings(features)
            columns["embeddings"] = np.zeros_like(self.embeddings[:1]) if said is None else said
        if self.history is not None:
            columns["history"] = np.zeros(1, np.int64)
        at = len(self) if row < 0 else row
        changed: dict[str, Any] = {}
        for name, new in columns.items():
            old = getattr(self, name)
            changed[name] = np.concatenate([old[:at], new.astype(old.dtype), old[at + 1 :]])
        ids = self.ids if row >= 0 else [*self.ids, raw_id]
        labels = self.labels
        if labels is not None:
            labels = [*labels[:at], _label(raw_id, content), *labels[at + 1 :]]
        if self.columns is not None:
            said_of = self._columns_of(_one_row(content)) or {}
            changed["columns"] = {
                name: [*old[:at], *said_of.get(name, [_missing(old)]), *old[at + 1 :]]
                for name, old in self.columns.items()
            }
        return replace(self, ids=ids, labels=labels, **changed)

    def without(self, raw_id: Hashable) -> LLMTokens:
        """The table without one id; itself where it has none."""
        row = self._index.row(raw_id)
        if row < 0:
            return self
        rest = np.delete(np.arange(len(self)), row)
        return replace(
            self,
            ids=[self.ids[k] for k in rest],
            vectors=self.vectors[rest],
            labels=None if self.labels is None else [self.labels[k] for k in rest],
            embeddings=None if self.embeddings is None else self.embeddings[rest],
            history=None if self.history is None else self.history[rest],
            columns=None
            if self.columns is None
            else {name: [x[k] for k in rest] for name, x in self.columns.items()},
        )

    def _columns_of(self, frame: pd.DataFrame) -> dict[str, list[Any]] | None:
        """What a frame says in the columns of the categorical and numeric blocks."""
        read: dict[str, list[Any]] = {}
        for block in self.projection.blocks:
            if isinstance(block, (CategoryBlock, NumberBlock)) and block.column in frame:
                read[block.column] = block.values(frame)
        return read or None

    def _features(self, content: Any) -> list[Features | None]:
        projection = self.projection
        if isinstance(content, str):
            made = projection.said([content])
            Markup.of([content]).warn_of_content()
            return made
        columns = projection.columns
        if isinstance(content, Mapping) or (isinstance(content, pd.Series) and columns):
            named = content.keys()
            if not set(columns) & set(named):
                raise DataError(f"found {sample(named)} in the content; expected some of {columns}")
            return projection.features(
                pd.DataFrame({name: [content.get(name)] for name in columns})
            )
        if isinstance(content, (pd.DataFrame, list)):
            return projection.features(content)
        return projection.features(np.atleast_2d(np.asarray(content)))

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the table as one safetensors file (format: ``llmtokens.storage.container``).

        Raises
        ------
        StorageError
            If the folder is missing, full or read-only; an older file stays as it was.
        DataError
            If an id is neither str, int nor float.
        """
        payload, arrays = self.to_parts()
        store.write(path, "tokens", payload, arrays)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        encoder: Encoder | Sequence[Encoder] | None = None,
        mmap: bool = False,
    ) -> Self:
        """Read a table.

        Parameters
        ----------
        path : str or Path
        encoder : Encoder or list of Encoder, optional
            For ``transform`` of new text and images. The offline default and ``HashingEncoder`` are
            found by their names; any other model is loaded only if you hand it over here, never
            because a file says so.
        mmap : bool, default=False
            Leave the vectors on disk, where all processes that load this file share them; see
            :func:`llmtokens.load`.

        Raises
        ------
        StorageError
            If there is no such file, or it cannot be opened.
        FileFormatError
            If it is damaged, cut short or not a token file.
        """
        _, payload, arrays = store.read(path, "tokens", mmap=mmap)
        return cls.from_parts(payload, arrays, encoder)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON-able description, and arrays by name.

        Raises
        ------
        DataError
            If an id is neither str, int nor float.
        """
        payload, arrays = self.projection.to_parts()
        ids = store.jsonable_ids(self.ids)
        own = {name: getattr(self, name) for name in ("vectors", "embeddings", "history")}
        arrays |= {name: array for name, array in own.items() if array is not None}
        columns = {} if self.columns is None else {"columns": _without_nan(self.columns)}
        return payload | {"ids": ids, "labels": self.labels} | columns, arrays

    @classmethod
    def from_parts(
        cls,
        payload: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        encoder: Encoder | Sequence[Encoder] | None,
    ) -> Self:
        """The inverse of :meth:`to_parts`.

        Raises
        ------
        FileFormatError
            If the parts are not what it gives.
        """
        if not isinstance(payload, Mapping):
            raise FileFormatError(f"found {payload!r:.60}; expected a table of tokens")
        ids, labels = payload.get("ids"), payload.get("labels")
        if not isinstance(ids, list) or not all(isinstance(x, store.ID_TYPES) for x in ids):
            raise FileFormatError("the ids of the tokens are not a list of str, int and float")
        if len(set(ids)) != len(ids):
            raise FileFormatError("an id has two tokens")
        if labels is not None and not (
            isinstance(labels, list)
            and len(labels) == len(ids)
            and all(isinstance(x, str) for x in labels)
        ):
            raise FileFormatError("the labels of the tokens are not a list of one str per id")
        check(_LAYOUT, arrays, {"ids": len(ids)})
        given: Any = encoder  # one, several or none
        known = _by_key(given if isinstance(given, (list, tuple)) else [given] if given else [])
        projection = Projection.from_parts(payload, arrays, known)
        embeddings, history = arrays.get("embeddings"), arrays.get("history")
        if embeddings is not None and embeddings.shape[1] != projection.text_width:
            raise FileFormatError("the embeddings are not as long as those of the text encoder")
        if history is not None and np.any(history < 0):
            raise FileFormatError("'history' holds a number of ratings below zero")
        columns = _checked_columns(payload.get("columns"), len(ids))
        return cls(ids, arrays["vectors"], projection, labels, embeddings, history, columns)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _by_key(encoders: Sequence[Encoder]) -> dict[tuple[str, str], Encoder]:
    return {(encoder.name, encoder.revision): encoder for encoder in encoders}


def _label(raw: Hashable, content: Any) -> str:
    """What a person would call something with this content."""
    if isinstance(content, str):
        return content
    if isinstance(content, (Mapping, pd.Series, pd.DataFrame)):
        name = next((name for name in _LABEL_COLUMNS if name in content), None)
        if name is not None:
            value = content[name]
            return as_text(value.iloc[0] if isinstance(value, pd.Series) else value)
    return str(raw)


def _one_row(content: Any) -> pd.DataFrame:
    """Content of one id as a frame; a text or an array has no columns."""
    if isinstance(content, pd.DataFrame):
        return content
    if isinstance(content, (Mapping, pd.Series)):
        return pd.DataFrame({name: [value] for name, value in content.items()})
    return pd.DataFrame(index=[0])


def _missing(column: list[Any]) -> Any:
    """What stands in such a column where nothing is known."""
    return [] if any(isinstance(value, list) for value in column) else float("nan")


def _joined(parts: Sequence[LLMTokens], ids: list[Hashable]) -> dict[str, list[Any]] | None:
    """The columns of several tables, those of the first where two have one name."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        rows = part.align(ids)
        for name, values in (part.columns or {}).items():
            gap = _missing(values)
            found.setdefault(name, [values[row] if row >= 0 else gap for row in rows])
    return found or None


def _usual_label(frame: pd.DataFrame) -> str | None:
    """The column that is usually shown, whatever the case of its letters."""
    written = {str(name).casefold(): name for name in reversed(frame.columns)}
    return next((written[name] for name in _LABEL_COLUMNS if name in written), None)


def _without_nan(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns as JSON has them: null for NaN."""
    return {
        name: [None if isinstance(x, float) and x != x else x for x in values]
        for name, values in columns.items()
    }


def _checked_columns(columns: Any, n: int) -> dict[str, list[Any]] | None:
    """Columns from a file.

    Raises
    ------
    FileFormatError
        Unless each holds one number or list of labels per id.
    """
    if columns is None:
        return None
    right = isinstance(columns, Mapping) and all(
        isinstance(values, list)
        and len(values) == n
        and (
            all(x is None or type(x) in (int, float) for x in values)
            or all(isinstance(x, list) and all(isinstance(y, str) for y in x) for x in values)
        )
        for values in columns.values()
    )
    if not right:
        raise FileFormatError("the columns of the tokens are not numbers or labels, one per id")
    nan = float("nan")
    return {name: [nan if x is None else x for x in values] for name, values in columns.items()}
