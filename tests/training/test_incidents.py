"""Incidents counted on normal scores: by the daemon's own rules, and into limits that keep a budget."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from monitor.alarms import AlarmState, Policy, policy, step
from monitor.calibration import NS_PER_DAY, Limits, limits, p_values
from monitor.incidents import Window
from monitor.modelfile import Incidents
from training.calibrate import calibrate
from training.incidents import HALVINGS, LIFT, LOWEST, MOST, RATES, incident_rates, incidents, limit_for

STRIDE = 1 << 10  # ns; a power of two, so that dividing the decay by it rounds nothing
DAY = 1440.0  # windows
SERIES = st.lists(st.sampled_from([0.11, 0.2, 0.37, 0.53, 0.9, 1.3, 2.3, 4.7, 9.1, np.nan]), max_size=80)


def by_step(rules: Policy, scores: np.ndarray, p_value: np.ndarray, stride: int = STRIDE) -> list[tuple[int, int]]:
    """What the daemon's step raises and clears, by number of the window; those without a score never reach it."""
    state, found = AlarmState(), []
    for place in np.flatnonzero(~np.isnan(scores)).tolist():
        told = Window((place + 1) * stride, float(scores[place]), float(p_value[place]), "1")
        state, transition = step(rules, state, told)
        if transition and transition.kind == "raised":
            found.append((place, len(scores) - 1))
        elif transition:
            found[-1] = (found[-1][0], place)
    return found


@settings(max_examples=300)
@given(SERIES, st.sampled_from([0.3, 0.5, 1.0]), st.sampled_from([0.15, 0.4, 2.0]), st.sampled_from([0.0, 0.25, 1.0]))
def test_incidents_are_those_that_the_daemon_s_step_raises(
    series: list[float], limit: float, clear: float, decay: float
) -> None:
    scores, decay = np.array(series), decay + 2.0**-10  # never none at all: a limit that stands still is not lifted
    as_p = np.exp(-scores)  # any law that falls with the score
    rules = policy(
        Limits(np.exp(-limit), max(np.exp(-limit), np.exp(-clear)), limit, LIFT, decay / STRIDE), STRIDE, 0.0, 0.0
    )
    assert incidents(scores, limit, clear, decay) == by_step(rules, scores, as_p)


@pytest.mark.parametrize("budget", [0.5, 2.0, 20.0])
def test_incidents_at_a_model_s_limit_are_those_of_the_daemon_with_its_calibration(budget: float) -> None:
    scores = autocorrelated(6000, 0.9, 3).astype(np.float32).astype(np.float64)
    scores[1000:1200] = np.nan
    known = scores[~np.isnan(scores)]
    calibration = msgspec.structs.replace(calibrate([known]), incidents=incident_rates([scores], DAY))
    stride = round(NS_PER_DAY / DAY)
    made = limits(calibration, DAY, budget)
    expected = by_step(policy(made, stride, 0.0, 0.0), scores, p_values(calibration, scores), stride)
    assert calibration.incidents is not None
    assert incidents(scores, made.score, calibration.incidents.clear, made.decay_per_ns * stride) == expected
    assert len(expected) <= 1.2 * budget * len(known) / DAY + 1


# ---------------------------------------------------------------------------------------------------------- rates


def autocorrelated(count: int, memory: float, seed: int) -> np.ndarray:
    """Scores (N,) whose logarithm is a first-order autoregression."""
    noise = np.random.default_rng(seed).standard_normal(count + 500) * np.sqrt(1 - memory**2)
    result: np.ndarray = np.exp(lfilter([1.0], [1.0, -memory], noise))[500:]
    return result


LAWS_OF_SCORES = {
    "smooth": lambda random: random.exponential(1.0, 3000),
    "coarse": lambda random: random.integers(0, 4, 3000).astype(float),
    "mostly zero": lambda random: np.where(random.random(3000) < 0.999, 0.0, 1.0),
    "constant": lambda random: np.full(3000, 0.3),
    "all zero": lambda random: np.zeros(3000),
    "tiny": lambda random: random.exponential(1e-14, 3000),
    "huge": lambda random: random.exponential(1e30, 3000),
    "heavy tail": lambda random: random.pareto(0.5, 3000),
    "few": lambda random: random.exponential(1.0, 40),
    "with gaps": lambda random: np.where(random.random(3000) < 0.3, np.nan, random.exponential(1.0, 3000)),
}


@pytest.mark.parametrize("law", LAWS_OF_SCORES)
def test_rates_fall_and_limits_rise_whatever_the_scores(law: str) -> None:
    scores = LAWS_OF_SCORES[law](np.random.default_rng(0))
    found = incident_rates([scores], DAY)
    again = msgspec.json.decode(msgspec.json.encode(found), type=Incidents)
    assert again == found
    rates, limit = np.array(again.rates).T
    assert len(rates) == RATES
    assert (np.diff(rates) < 0).all()
    assert (np.diff(limit) > 0).all()
    known = scores[~np.isnan(scores)]
    assert again.days == pytest.approx(len(known) / DAY)
    assert rates[0] == pytest.approx(max(MOST * DAY, 2 / again.days))
    assert rates[-1] == pytest.approx(1 / again.days)
    assert limit[0] >= np.quantile(known, LOWEST) * (1 - 1e-9)


@pytest.mark.parametrize("law", ["smooth", "coarse", "mostly zero", "constant", "heavy tail", "huge", "few"])
def test_normal_data_raises_no_more_at_a_limit_than_its_rate_says(law: str) -> None:
    assets = [LAWS_OF_SCORES[law](np.random.default_rng(seed)) for seed in range(2)]
    found = incident_rates(assets, DAY)
    for rate, limit in found.rates:
        count = sum(len(incidents(scores, limit, found.clear, rate / DAY)) for scores in assets)
        assert count <= rate * found.days * (1 + 1e-9)


@pytest.mark.parametrize("count", [36, 41, 47, 100, 199])
def test_the_rarest_limit_is_one_that_a_single_peak_reaches(count: int) -> None:
    """One incident in all of the data is what is wanted of it, however the number of days is rounded."""
    scores = np.full(count, 0.1)
    scores[count // 2] = 5.0
    found = incident_rates([scores], 100.0)
    assert found.rates[-1][1] < 5.0


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.99])
def test_a_limit_is_the_lowest_from_which_on_no_higher_one_raises_more(memory: float) -> None:
    """Counts are not quite monotone, since a raise lifts the limit; halving still ends where a scan does."""
    scores = autocorrelated(8000, memory, 5)
    clear, days = float(np.quantile(scores, 0.99)), len(scores) / DAY
    lowest, highest = float(np.quantile(scores, LOWEST)), float(scores.max()) * (1 + 1e-6)
    candidates = np.geomspace(lowest, highest, 300)
    for rate in np.geomspace(MOST * DAY, 1.5 / days, 5).tolist():
        wanted, decay = rate * days, rate / DAY
        too_many = [len(incidents(scores, limit, clear, decay)) > wanted for limit in candidates]
        below = np.flatnonzero(too_many)
        expected = candidates[below[-1] + 1] if len(below) else lowest
        step = (highest / lowest) ** (1 / 299)
        width = (highest / lowest) ** (2.0**-HALVINGS)
        found = limit_for([scores], scores, wanted, clear, decay)
        assert expected / step / width <= found <= expected * width * (1 + 1e-9)


@pytest.mark.parametrize("memory", [0.0, 0.9, 0.98])
@pytest.mark.parametrize("budget", [1.0, 4.0])
def test_a_budget_is_kept_within_a_factor_of_two_on_fresh_data(memory: float, budget: float) -> None:
    """Limits from 60 days, tried on the next 120 of the same process."""
    seen, fresh = autocorrelated(60 * 1440, memory, 11), autocorrelated(120 * 1440, memory, 12)
    calibration = msgspec.structs.replace(calibrate([seen]), incidents=incident_rates([seen], DAY))
    made = limits(calibration, DAY, budget)
    assert calibration.incidents is not None
    raised = incidents(fresh, made.score, calibration.incidents.clear, made.decay_per_ns * NS_PER_DAY / DAY)
    assert budget / 2 <= len(raised) / 120 <= 2 * budget


def test_assets_share_the_count_and_a_raise_lifts_the_limit_of_its_asset_alone() -> None:
    one, other = np.full(100, 0.1), np.full(100, 0.1)
    one[50] = other[50] = 5.0
    assert incident_rates([one, other], DAY).days == pytest.approx(200 / DAY)
    both = np.concatenate([one, other])
    assert limit_for([one, other], both, 2.0, 0.5, 1e-9) == pytest.approx(0.1, rel=1e-3)
    assert len(incidents(both, 4.0, 0.5, 1e-9)) == 1  # the second would have to be half as high again
    assert [len(incidents(each, 4.9, 0.5, 1e-9)) for each in (one, other)] == [1, 1]


def test_an_incident_that_is_never_cleared_lasts_to_the_end() -> None:
    assert incidents(np.array([0.1, 3.0, 2.0, 2.0]), 1.0, 0.5, 0.1) == [(1, 3)]
