"""Points that a sampler of Optuna chooses, and early stopping by its pruners: ask and tell.

The sweep's journal is the only store. A study in memory is filled from it each time a process begins, so that
a crash leaves nothing of Optuna's to repair. Each point gets a seed of its own: a sampler that is made again
with the same seed would repeat its draws.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from typing import TYPE_CHECKING, Any

from amlexec.errors import UsageError
from amlexec.search.domains import Choices, Range, Value
from amlexec.search.early_stop import OF_OPTUNA
from amlexec.search.space import Random
from amlexec.sweeps.sweep import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.search.domains import Domain
    from amlexec.search.early_stop import EarlyStop
    from amlexec.search.space import Parameter, Point
    from amlexec.sweeps.definition import Definition
    from amlexec.sweeps.journal import PointState
    from amlexec.sweeps.sweep import Sweep

__all__ = ["SAMPLERS", "OptunaChooser", "check"]

SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "cmaes": "CmaEsSampler", "gp": "GPSampler"}
_MOST_CHOICES = 1000
_ATTEMPTS = 20
"""How often the sampler is asked again if it chooses a point that was executed already."""


def check(definition: Definition) -> None:
    """Check that Optuna is installed, and can search this.

    Raises:
        UsageError: it is not, or can't.
    """
    if definition.sampler and definition.sampler not in SAMPLERS:
        raise UsageError(
            f"there is no sampler {definition.sampler!r}", hint=f"choose from {', '.join(SAMPLERS)}"
        )
    if not definition.metric:
        raise UsageError("Optuna needs a metric", hint="add --metric NAME --goal maximize or minimize")
    optuna = _optuna()
    for parameter in definition.parameters:
        _distribution(optuna, parameter)
    _sampler(optuna, definition, 0)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("Optuna is not installed", hint="pip install 'amlexec[optuna]'") from error
    optuna.logging.set_verbosity(logging.ERROR)
    return optuna


def _sampler(optuna: Any, definition: Definition, number: int) -> Any:
    digest = hashlib.sha256(f"{definition.seed}\0{number}".encode()).digest()
    name = definition.sampler or "tpe"
    # With several points at once, TPE must know of those that run.
    options = {"constant_liar": True} if name == "tpe" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(optuna.samplers, SAMPLERS[name])(seed=int.from_bytes(digest[:4], "big"), **options)
    except ImportError as error:
        raise UsageError(
            f"the sampler {name} needs a package that is not installed", hint=str(error).split(". ")[0]
        ) from None


def _pruner(optuna: Any, rule: EarlyStop | None) -> Any:
    if rule is None or rule.rule not in OF_OPTUNA:
        return optuna.pruners.NopPruner()
    options = dict(rule.options)
    if rule.rule == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=int(options["first"]),
            max_resource=int(options["last"]) or "auto",
            reduction_factor=int(options["factor"]),
        )
    return optuna.pruners.PercentilePruner(
        options["percentage"], n_startup_trials=int(options["others"]), n_warmup_steps=int(options["delay"])
    )


def _distribution(optuna: Any, parameter: Parameter) -> Any:
    name, domain = parameter
    kinds = optuna.distributions
    if isinstance(domain, Choices) or domain.factor is not None:
        if (domain.size or 0) > _MOST_CHOICES:
            raise UsageError(f"{name} has more than {_MOST_CHOICES} values", hint="write a range with a step")
        return kinds.CategoricalDistribution(list(dict.fromkeys(value.text for value in _all(domain))))
    low, high = float(domain.low), float(domain.high)
    if domain.step is None:
        return kinds.FloatDistribution(low, high, log=domain.is_log)
    if not domain.is_whole:
        # By its index, so that no rounding leads off the steps.
        return kinds.IntDistribution(0, (domain.size or 1) - 1)
    last = domain.at((domain.size or 1) - 1).value
    return kinds.IntDistribution(int(domain.low), last, step=int(domain.step))


def _all(domain: Domain) -> Sequence[Value]:
    return [domain.at(index) for index in range(domain.size or 0)]


def _value(domain: Domain, chosen: Any) -> Value:
    """The value that Optuna has chosen."""
    if isinstance(domain, Choices) or domain.factor is not None:
        return next(value for value in _all(domain) if value.text == chosen)
    if domain.step is None:
        found = float(chosen)
        return Value(repr(found), found)
    return Value(str(chosen), int(chosen)) if domain.is_whole else domain.at(int(chosen))


def _chosen(domain: Domain, value: Value) -> Any:
    """The inverse of `_value`."""
    if isinstance(domain, Range) and domain.factor is None:
        if domain.step is None:
            return float(value.value)
        if domain.is_whole:
            return int(value.value)
        return round((value.value - float(domain.low)) / float(domain.step))
    return value.text


class OptunaChooser:
    """Chooses points with a sampler of Optuna. See `chooser.Chooser`."""

    def __init__(self, sweep: Sweep) -> None:
        """Fills the study from the sweep's journal.

        Raises:
            UsageError: Optuna is not installed.
        """
        self._optuna = _optuna()
        self._sweep = sweep
        definition = sweep.definition
        self._domains = dict(definition.parameters)
        self._distributions = {
            parameter.name: _distribution(self._optuna, parameter) for parameter in definition.parameters
        }
        self._study = self._optuna.create_study(
            direction=definition.goal, pruner=_pruner(self._optuna, definition.early_stop)
        )
        self._trials: dict[int, Any] = {}
        self._returned: list[int] = []
        self._points: set[tuple[str, ...]] = set()
        for number, state in sorted(sweep.states.items()):
            self._restore(number, state)

    def _restore(self, number: int, state: PointState) -> None:
        point = self._sweep.point(number)
        self._points.add(_texts(point))
        if state.status == "Pending":
            self._returned.append(number)
        params = {name: _chosen(self._domains[name], value) for name, value in point}
        running = self._optuna.trial.TrialState.RUNNING
        self._study.add_trial(
            self._optuna.trial.create_trial(state=running, params=params, distributions=self._distributions)
        )
        frozen = self._study.get_trials(deepcopy=False)[-1]
        self._trials[number] = self._optuna.trial.Trial(self._study, frozen._trial_id)  # noqa: SLF001
        if state.is_over:
            self.ended(number, state)

    def next(self) -> tuple[int, Point | None] | None:
        """See `Chooser.next`."""
        if self._returned:
            return self._returned.pop(0), None
        number = len(self._sweep.states) + 1
        if number > self._sweep.total:
            return None
        for attempt in range(_ATTEMPTS):
            self._study.sampler = _sampler(self._optuna, self._sweep.definition, number + (attempt << 32))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                trial = self._study.ask(self._distributions)
            point = tuple((name, _value(self._domains[name], trial.params[name])) for name in self._domains)
            if _texts(point) not in self._points:
                return self._new(number, trial, point)
            # Optuna learns nothing from a point that is known; without an end it would count as running.
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return self._new(number, None, self._unvisited())

    def _new(self, number: int, trial: Any, point: Point) -> tuple[int, Point]:
        if trial is not None:
            self._trials[number] = trial
        self._points.add(_texts(point))
        return number, point

    def _unvisited(self) -> Point:
        """A point that was not executed yet: the sampler insists on points that were."""
        parameters = self._sweep.definition.parameters
        points = Random(parameters, len(self._points) + 1, self._sweep.definition.seed)
        return next(
            point for index in range(points.size) if _texts(point := points[index]) not in self._points
        )

    def returned(self, number: int) -> None:
        """See `Chooser.returned`."""
        self._returned.append(number)

    def ended(self, number: int, state: PointState) -> None:
        """See `Chooser.ended`."""
        trial = self._trials.get(number)
        if trial is None:
            return
        kinds = self._optuna.trial.TrialState
        value = number_of(state.metric)
        if state.is_stopped:
            if value is not None:
                self.report(number, 0, value)
            self._study.tell(trial, state=kinds.PRUNED, skip_if_finished=True)
        elif state.status == "Completed" and value is not None:
            self._study.tell(trial, value, skip_if_finished=True)
        else:
            self._study.tell(trial, state=kinds.FAIL, skip_if_finished=True)

    def report(self, number: int, count: int, value: float) -> bool:
        """Report the value number `count` of a running point; whether the pruner stops the point."""
        trial = self._trials.get(number)
        if trial is None:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.report(value, count)
            return bool(trial.should_prune())


def _texts(point: Point) -> tuple[str, ...]:
    return tuple(value.text for _, value in point)
