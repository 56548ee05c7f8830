"""A space and a seed go in; Optuna's TPE, drawing for each trial from a random stream of its own, comes out."""

from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from medtransfer.search.evaluate import Setting
from medtransfer.search.space import Space
from medtransfer.seeds import derive_seed


class SettingSampler(BaseSampler):
    """Multivariate TPE over a known space.

    The random numbers of a trial depend on the seed, the study's name and the trial's number. So a search that was
    killed goes on as if it had not been, and processes that share a study never draw the same numbers. A space without a
    continuous margin is never asked twice for the same setting while an untried one is left.
    """

    def __init__(self, space: Space, seed: int) -> None:
        """Sample settings of a space."""
        self._distributions = {name: one for name, one in space.distributions().items() if not one.single()}
        self._settings = space.settings()
        self._seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Give the parameters that are drawn together: all that have a choice."""
        return self._distributions

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Draw a setting: at random for the first trials, then by TPE from the finished ones."""
        if not search_space:
            return {}
        stream = derive_seed(self._seed, study.study_name, trial.number)
        tpe = TPESampler(seed=stream % 2**32, multivariate=True, constant_liar=False)
        drawn = tpe.sample_relative(study, trial, search_space)
        drawn = drawn or {name: tpe.sample_independent(study, trial, name, one) for name, one in search_space.items()}
        return self._untried(study, drawn, np.random.default_rng(stream)) if self._settings else drawn

    def _untried(self, study: Study, drawn: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        tried = {Setting(**one.params) for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
        single = {name: getattr(self._settings[0], name) for name in vars(self._settings[0]) if name not in drawn}
        if Setting(**drawn, **single) not in tried:
            return drawn
        untried = [setting for setting in self._settings if setting not in tried]
        if not untried:
            return drawn
        chosen = untried[rng.integers(len(untried))]
        return {name: getattr(chosen, name) for name in drawn}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Refuse: all parameters are drawn together."""
        raise KeyError(f"{param_name} is not a parameter of the space")
