"""From ratings to the arrays that predictions are made from, whoever holds the users."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import LLMTokensWarning
from ...runtime.arrays import Floats, Singles
from .cold_start import ColdStart, Sample, sample_without_tokens
from .conditional import item_left_open, open_width, user_left_open
from .corrections import corrections
from .drift import DriftPrior, DriftScale
from .features import Known
from .sampler import Sampler, Size
from .shards import Shard, Team

State = dict[str, NDArray[Any]]

logger = logging.getLogger(__name__)

THINNING = 3  # sweeps from one kept sample to the next
BUDGET = 1 << 30  # bytes the kept samples may take
_FEWEST = 10
_SMALL = ("user_map", "item_map", "user_spread", "item_spread")
_SUMS = ("user_open", "item_open", "text_share", "log_drift")
_OF_SAMPLER = ("Q", "Q_mean", "item_alpha", "item_known", "user_alpha", "sweeps")
_OF_PRIOR = (
    "m", "precision", "B", "scale", "strength", "pair_weight", "fit", "link_fit", "link_strength"
)  # fmt: skip
_OF_NOISE = ("shape", "rate")
_OF_DRIFT = ("variance", "tau")


def thinning(n_samples: int, bytes_each: int) -> int:
    """Every which sweep is kept: every third, or fewer where that would take more than 1 GiB, but
    at least ten in all.

    >>> thinning(170, 1_000_000), thinning(170, 1 << 26), thinning(170, 1 << 40)
    (3, 11, 17)
    """
    most = max(BUDGET // max(bytes_each, 1), _FEWEST)
    return max(THINNING, -(-n_samples // most)) if n_samples > _FEWEST else THINNING


def kept_samples(n_samples: int, known: Known, k: int) -> tuple[int, int]:
    """How many samples are kept, and of how many sweeps each is one."""
    n_item_rows, c = known.lead.shape
    step = thinning(n_samples, 4 * (len(known.users) * (c + k + 1) + n_item_rows * (k + 1)))
    return -(-n_samples // step), step


class Posterior:
    """Collects samples, in single precision.

    A sample of a user takes ``4 * (n_content + n_factors + 1)`` bytes, one of an item
    ``4 * (n_factors + 1)``.

    Parameters
    ----------
    team : Team
        Who holds the users with ratings, and provides the table of all.
    n_samples : int
        Sweeps to come after the burn-in.
    n_users : int
        How many have ratings.
    known : Known

    Attributes
    ----------
    step : int
        Sweeps from one sample to the next.
    slots : int
        How many samples there will be.
    n : int
        How many there are.
    """

    def __init__(self, team: Team, n_samples: int, n_users: int, known: Known, k: int) -> None:
        self._lead, n_user_rows = known.lead, len(known.users)
        n_item_rows, c = known.lead.shape
        self.slots, self.step = kept_samples(n_samples, known, k)
        self.n = 0
        self._team, self._k = team, k
        self.cold = team.reserve(n_user_rows, self.slots, c, k)
        self.items = np.empty((n_item_rows, self.slots, k + 1), np.float32)
        self._small: list[dict[str, Singles]] = []
        self.user_open = np.zeros((n_user_rows - n_users, open_width(k)))
        self.item_open = np.zeros((n_item_rows, open_width(k)))
        self.text_share, self.log_drift = np.zeros(n_item_rows), np.zeros(2)

    def add(self, sample: Sample, integrated_out: Floats, drift: DriftScale | None) -> None:
        """Keep a sample, but for the users with ratings.

        Parameters
        ----------
        sample : Sample
        integrated_out : ndarray of shape (n_items, k + 1)
            Deviations of the drawn items from their conditional means, which are what is kept.
        drift : DriftScale, optional
            Where ratings have times.
        """
        self.cold.samples[:, self.n] = sample.users
        self.items[:, self.n] = sample.items
        user, item = self._left_open(sample, integrated_out)
        small = {name: getattr(sample, name).astype(np.float32) for name in _SMALL}
        # an interrupt between these lines loses a sample's share of a variance, no more
        self.user_open, self.item_open = self.user_open + user, self.item_open + item
        self.text_share = self.text_share + sample.text_share
        if drift is not None:
            self.log_drift = self.log_drift + np.log(drift)
        self._small.append(small)
        self.n += 1

    def _left_open(self, sample: Sample, integrated_out: Floats) -> tuple[Floats, Floats]:
        c, k = self._lead.shape[1], self._k
        user = user_left_open(sample.users[:, c:], 1 / sample.user_precision, sample.item_spread)
        user[:, -1] = 1
        seen = np.column_stack([self._lead, sample.items[:, :k], np.ones(len(sample.items))])
        item = item_left_open(seen, integrated_out, 1 / sample.item_precision, sample.user_spread)
        return user, item

    def state(self) -> dict[str, Any]:
        """What was added so far, but for the users with ratings."""
        made = {"users": self.cold.samples[:, : self.n], "items": self.items[:, : self.n]}
        made |= {name: self._stacked(name) for name in _SMALL} if self.n else {}
        return made | {name: getattr(self, name) for name in _SUMS}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.n = state["items"].shape[1]
        self.cold.samples[:, : self.n] = state["users"]
        self.items[:, : self.n] = state["items"]
        self._small = [
            {name: np.array(state[name][slot]) for name in _SMALL} for slot in range(self.n)
        ]
        for name in _SUMS:
            setattr(self, name, np.array(state[name]))

    def _stacked(self, name: str) -> Singles:
        return np.stack([small[name] for small in self._small])

    def parts(self) -> dict[str, Any]:
        """The arrays that predictions are made from, by name, but for those of users."""
        n = self.n
        self._team.total(Shard.put_open, n)
        self.cold.open[:] = self.user_open / n
        # a copy where an interrupt left room
        made: dict[str, Any] = {"item_samples": np.ascontiguousarray(self.items[:, :n])}
        made |= {name: self._stacked(name) for name in _SMALL}
        made["item_open"] = (self.item_open / n).astype(np.float32)
        made["text_share"] = (self.text_share / n).astype(np.float32)
        scale = np.exp(self.log_drift / n) if self.log_drift.any() else np.zeros(2)
        made |= {"drift_variance": float(scale[0]), "drift_tau": float(scale[1])}
        return made | {"lead": self._lead}


class Plan(NamedTuple):
    """How long to sample, and what to print; see :class:`~.LLMTokensBPMF`."""

    n_samples: int
    burn_in: int
    verbose: bool

    @property
    def n_sweeps(self) -> int:
        return self.burn_in + self.n_samples


class Chain:
    """The sampler at its start, what completes its samples, and where they go.

    Parameters
    ----------
    known : Known
        The features.
    plain : bool
        Whether there are no tokens at all.
    std : float
        Standard deviation of the ratings.
    drift : DriftPrior, optional
        Where ratings have times.
    """

    def __init__(
        self,
        team: Team,
        size: Size,
        known: Known,
        plain: bool,
        plan: Plan,
        std: float,
        seed: int,
        drift: DriftPrior | None = None,
    ) -> None:
        self.team, self.plan, self.std, self.known = team, plan, std, known
        self.cold_start = None
        if plain:
            self.sampler = Sampler.plain(team, size, seed, drift)
        else:
            self.sampler = Sampler.with_features(
                team, size, known.text[: size.n_items], seed, drift, known.one_space
            )
            self.cold_start = ColdStart(
                known.text, known.has_text, known.users, known.has_user_token
            )
        self.posterior = Posterior(team, plan.n_samples, size.n_users, known, size.n_factors)

    def step(self) -> None:
        """One sweep; its sample is kept where its turn has come."""
        sweep, sampler, posterior = self.sampler.sweeps, self.sampler, self.posterior
        sampler.sweep()
        rmse, alpha = self.std * sampler.rmse, sampler.mean_alpha / self.std**2
        logger.info("sweep %d of %d: RMSE %.4f", sweep + 1, self.plan.n_sweeps, rmse)
        if self.plan.verbose:
            print(f"Processing sweep {sweep}: RMSE {rmse:.4f}, alpha {alpha:.3f}")
        late = sweep - self.plan.burn_in
        if late >= 0 and late % posterior.step == 0:
            sample = self._completed()
            self.team.total(Shard.keep, posterior.n, sample.item_spread)
            scale = None if sampler.drift is None else sampler.drift.scale
            posterior.add(sample, sampler.Q - sampler.Q_mean, scale)

    def _completed(self) -> Sample:
        """The sampler's state with rows for everybody."""
        if self.cold_start is None:
            return sample_without_tokens(self.sampler, len(self.known.users), len(self.known.lead))
        if not self.cold_start.has_learned:
            self.cold_start.learn(self.sampler)
        return self.cold_start.complete(self.sampler)

    def run(self, after: Callable[[Chain], None] | None = None) -> dict[str, Any]:
        """All sweeps that are still to come, ``after`` called after each; returns the arrays that
        predictions are made from."""
        sweeps, posterior = self.plan.n_sweeps, self.posterior
        try:
            while self.sampler.sweeps < sweeps:
                self.step()
                if after is not None:
                    after(self)
        except KeyboardInterrupt:
            if not posterior.n:
                raise
            warnings.warn(
                f"interrupted after {self.sampler.sweeps} of {sweeps} sweeps: predictions are from "
                f"the {posterior.n} samples kept so far",
                LLMTokensWarning,
                stacklevel=4,
            )
        parts = posterior.parts()
        parts |= corrections(self.team, self.sampler, self.known, parts, posterior.cold, self.std)
        rows = self.team.rows(posterior.n)
        return parts | {
            "user_samples": rows.samples, "user_open": rows.open, "selection": rows.selection
        }  # fmt: skip

    # -- a state to go on from -----------------------------------------------------------------

    def state(self) -> State:
        """All but what is with the users: a copy, float64 but for the samples kept so far."""
        out: State = {}
        for prefix, part, names in self._parts():
            for name in names:
                if getattr(part, name, None) is not None:
                    out[f"{prefix}.{name}"] = np.array(getattr(part, name), np.float64)
        out |= {f"posterior.{name}": array for name, array in self.posterior.state().items()}
        if self.cold_start is not None and self.cold_start.weights is not None:
            out["cold_start.weights"] = self.cold_start.weights
        return out

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go, from the start, to where another chain like this one was."""
        for prefix, part, names in self._parts():
            for name in names:
                if f"{prefix}.{name}" in state:
                    value, now = np.array(state[f"{prefix}.{name}"]), getattr(part, name)
                    setattr(
                        part,
                        name,
                        value if isinstance(now, np.ndarray) else type(now)(value.item()),
                    )
        head = "posterior."
        self.posterior.restore(
            {name.removeprefix(head): v for name, v in state.items() if name.startswith(head)}
        )
        if self.cold_start is not None and "cold_start.weights" in state:
            self.cold_start.weights = np.array(state["cold_start.weights"])

    def _parts(self) -> list[tuple[str, Any, tuple[str, ...]]]:
        sampler = self.sampler
        return [
            ("sampler", sampler, _OF_SAMPLER),
            ("user_prior", sampler.user_prior, _OF_PRIOR),
            ("item_prior", sampler.item_prior, _OF_PRIOR),
            ("user_noise", sampler.user_noise, _OF_NOISE),
            ("item_noise", sampler.item_noise, _OF_NOISE),
            ("drift", sampler.drift, _OF_DRIFT),
        ]
