"""From ratings to the arrays that predictions are made from, whoever holds the users."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from ...data.entities import EntityIndex
from ...errors import LLMTokensWarning
from .cold_start import Completed, Newcomers, complete_plain
from .features import Known
from .posterior import Posterior
from .sampler import Sampler, Size
from .team import Team


class Plan(NamedTuple):
    """How long to sample, and what to print; see :class:`~.LLMTokensBPMF`."""

    n_samples: int
    burn_in: int
    verbose: bool


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
    """

    def __init__(
        self,
        team: Team,
        size: Size,
        users: EntityIndex,
        items: EntityIndex,
        known: Known,
        plain: bool,
        plan: Plan,
        std: float,
        seed: int,
    ) -> None:
        self.team, self.plan, self.std = team, plan, std
        self._n_rows = users.n_rows, items.n_rows
        self.newcomers = None
        if plain:
            self.sampler = Sampler.plain(team, size, seed)
        else:
            self.sampler = Sampler.with_features(team, size, known.text[: size.n_items], seed)
            self.newcomers = Newcomers(known.text, items.has_token, known.users, users.has_token)
        self.posterior = Posterior(
            plan.n_samples, users.n_rows, size.n_users, size.n_items, known.lead, size.n_factors
        )
        team.reserve(self.posterior.warm)

    def step(self) -> None:
        """One sweep; its sample is kept where its turn has come."""
        sweep, sampler, posterior = self.sampler.sweeps, self.sampler, self.posterior
        sampler.sweep()
        if self.plan.verbose:
            rmse, alpha = self.std * sampler.rmse, sampler.mean_alpha / self.std**2
            print(f"Processing sweep {sweep}: RMSE {rmse:.4f}, alpha {alpha:.3f}")
        late = sweep - self.plan.burn_in
        if late >= 0 and late % posterior.step == 0:
            sample = self._completed()
            self.team.total("keep", posterior.n, sample.item_spread)
            posterior.add(sample, sampler.Q - sampler.Q_mean)

    def _completed(self) -> Completed:
        if self.newcomers is None:
            return complete_plain(self.sampler, *self._n_rows)
        return self.newcomers.complete(self.sampler)

    def run(self, after: Callable[[Chain], None] | None = None) -> dict[str, Any]:
        """All sweeps that are still to come, ``after`` called after each; returns the arrays that
        predictions are made from."""
        sweeps, posterior = self.plan.burn_in + self.plan.n_samples, self.posterior
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
        return posterior.parts(self.team.collect(posterior.warm, posterior.n))
