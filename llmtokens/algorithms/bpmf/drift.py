r"""What a user is like just now: a term of the ratings that have a time.

.. math:: s_u(t) \sim GP(0, \sigma^2 e^{-|t - t'| / \tau})

of every user, an Ornstein-Uhlenbeck process, in one time scale for all. It is drawn given the rest,
user by user; :math:`\sigma^2` and :math:`\tau`, log-uniform on grids, with it integrated out.
"""

from __future__ import annotations

import numpy as np

from ...kernels import drift as kernels
from ...runtime.arrays import Floats, Rows
from ...runtime.threads import over_rows
from ..drift import DriftScale, Moments, Sequence
from .priors import draw_from
from .reproducible import Purpose, by_block

VARIANCES = np.exp(np.linspace(-9.0, 1.0, 101))  # where ratings have variance 1
TIMES = np.exp(np.linspace(np.log(1e-2), np.log(1e7), 104))  # of the usual gap between two ratings
_FEW = 128  # users a thread is worth waking for
_CELL = 3  # neighbours on the grid among which one is drawn
_START = (0.05, 30.0)
_SEARCH, _REST = 32, 4  # sweeps with a turn each, and later those from turn to turn


class DriftPrior:
    """Grids of what users' processes may be like, and where on them the chain is.

    Parameters
    ----------
    unit : float
        The usual gap between two ratings of a user.
    """

    def __init__(self, unit: float, variances: Floats = VARIANCES, times: Floats = TIMES) -> None:
        self._variances, self._times = variances, times * unit
        self.variance = _nearest(variances, _START[0])
        self.tau = _nearest(self._times, _START[1] * unit)

    @classmethod
    def of(cls, moments: Moments) -> DriftPrior | None:
        """That of a chain at its start; None where no times are known."""
        return None if moments.times is None else cls(moments.unit)

    @property
    def scale(self) -> DriftScale:
        return DriftScale(self.variance, self.tau)

    def candidates(self, rng: np.random.Generator, sweep: int) -> list[DriftScale]:
        """Neighbours to choose from, of the variance and of the time by turns: a cell of the grid,
        which is divided anew each time, without regard to where the chain is. None where it is
        nobody's turn: the scale is soon found, and takes time."""
        turn, rest = (sweep, 0) if sweep < _SEARCH else divmod(sweep, _REST)
        if rest:
            return []
        if turn % 2:
            return [DriftScale(self.variance, tau) for tau in _cell(rng, self._times, self.tau)]
        return [DriftScale(v, self.tau) for v in _cell(rng, self._variances, self.variance)]

    def learn(
        self, rng: np.random.Generator, candidates: list[DriftScale], evidence: Floats
    ) -> None:
        """Draw one of them, given the log likelihood of each."""
        self.variance, self.tau = candidates[draw_from(rng, evidence)]


def _cell(rng: np.random.Generator, grid: Floats, now: float) -> list[float]:
    shift = int(rng.integers(_CELL))
    first = (int(np.argmin(np.abs(grid - now))) + shift) // _CELL * _CELL - shift
    cell: list[float] = grid[max(first, 0) : first + _CELL].tolist()
    return cell


def _nearest(grid: Floats, value: float) -> float:
    return float(grid[np.argmin(np.abs(np.log(grid / value)))])


class Drift:
    """The processes of a run of users, at their ratings.

    Attributes
    ----------
    states : (n_ratings,)
        ``s`` by rating; 0 where a rating has no time.
    """

    def __init__(self, ptr: Rows, times: Floats, first: int, seed: int) -> None:
        user = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        self._sequence = Sequence.of(user, times, len(ptr) - 1)
        self._first, self._seed, n = first, seed, len(self._sequence.at)
        self._errors, self._precision = np.zeros(n), np.ones(n)
        self.states = np.zeros(len(times))

    def read(self, errors: Floats, precision: Floats) -> None:
        """Take note of what the rest of the model leaves of the ratings, and how sure these are."""
        self._errors, self._precision = errors[self._sequence.at], precision[self._sequence.at]

    def evidence(self, candidates: list[DriftScale]) -> Floats:
        """The log likelihood of what was read, by candidate."""
        s = self._sequence
        variance, tau = np.ascontiguousarray(np.array(candidates).T)
        out = np.empty((len(s.ptr) - 1, len(candidates)))
        over_rows(
            len(out), kernels.evidence, s.ptr, s.gap, self._errors, self._precision, variance, tau,
            out, few=_FEW,
        )  # fmt: skip
        total: Floats = out.sum(axis=0)
        return total

    def expected(self, at: Rows, errors: Floats, precision: Floats, scale: DriftScale) -> Floats:
        """The states at some ratings, all of their users', given what the rest of the model leaves
        of these; 0 where there is no time."""
        s = self._sequence
        where = np.full(len(self.states), -1)
        where[at] = np.arange(len(at))
        own = np.flatnonzero(where[s.at] >= 0)
        counts = np.bincount(np.searchsorted(s.ptr, own, side="right") - 1,
                             minlength=len(s.ptr) - 1)  # fmt: skip
        part = Sequence(np.append(0, np.cumsum(counts)), where[s.at[own]], s.gap[own])
        out = np.zeros(len(at))
        out[part.at] = part.smoothed(errors[part.at], precision[part.at], scale)[0]
        return out

    def draw(self, sweep: int, scale: DriftScale) -> None:
        """Draw the states, given what was read."""
        s, n = self._sequence, len(self._sequence.at)
        normals, drawn, mean, variance = (np.empty(n) for _ in range(4))
        n_users = len(s.ptr) - 1
        for users, rng in by_block(self._seed, sweep, Purpose.DRIFT, self._first, n_users):
            rng.standard_normal(out=normals[s.ptr[users.start] : s.ptr[users.stop]])
        over_rows(
            n_users, kernels.sample, s.ptr, s.gap, self._errors, self._precision, *scale, normals,
            drawn, mean, variance, few=_FEW,
        )  # fmt: skip
        self.states[s.at] = drawn
