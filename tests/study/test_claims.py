"""The verdicts on the claims, by made-up outcomes whose verdict is plain, and what they say of the stored results."""

from dataclasses import replace

import pytest

from orthobook.study import claims, studies
from orthobook.study.design import Outcome
from orthobook.study.run import Record
from orthobook.study.studies import STUDIES

THRESHOLDED = "τ = 3"


def outcomes(study, accuracy, deviation=1e-6, largest=lambda cell: 1.0):
    """Return made-up outcomes: accuracy(cell) is the mean over three seeds that lie 0.001 apart."""
    made = []
    for cell in STUDIES[study].cells:
        result = {"milestones": [{"singular_values": [1 - deviation, 1.0, largest(cell)]}]}
        runs = cell.tuning_runs
        tuning = tuple(Record(run=run, status="finished", result=result | {"accuracy": accuracy(cell)}) for run in runs)
        finals = tuple(
            Record(
                run=replace(runs[0], seed=seed, judged_on="test"), status="finished", result=result | {"accuracy": a}
            )
            for seed, a in enumerate((accuracy(cell) - 0.001, accuracy(cell), accuracy(cell) + 0.001), start=1)
        )
        made.append(Outcome(cell, runs[0].learning_rate, tuning, finals))
    return made


def verdicts(
    monkeypatch,
    comparison=lambda cell: 0.85,
    modes=lambda cell: 0.85,
    partial=lambda cell: 0.85,
    persistent=lambda cell: 0.85,
    deviation=1e-6,
    nearly=None,
):
    stored = {"comparison": outcomes("comparison", comparison, deviation), "modes": outcomes("modes", modes)}
    stored |= {name: outcomes(name, comparison) for name in ("five-passes", "coherence", "knobs")}
    stored |= {"partial": outcomes("partial", partial), "persistent": outcomes("persistent", persistent)}
    stored["robustness"] = studies.stored("robustness")
    stored["nearly"] = nearly or outcomes("nearly", lambda cell: 0.85)
    monkeypatch.setattr(claims, "stored", stored.__getitem__)
    return {finding.claim.name: finding for finding in claims.findings()}


def test_all_hold_where_all_are_equal(monkeypatch):
    found = verdicts(monkeypatch)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "C1": "holds",
        "C2": "holds",
        "C3": "proved",
        "C4": "holds",
        "C5": "holds",
        "C6": "holds",
        "C7": "holds within the depth budget",
        "C8": "holds",
        "C9": "enough, but not needed",
        "C10": "fails",  # no gap, and so none that a threshold would close
        "C11": "holds",
    }


def test_c1_fails_where_a_singular_value_moves(monkeypatch):
    found = verdicts(monkeypatch, deviation=1e-3)["C1"]
    assert (found.verdict, found.measured[0][:23]) == ("fails", "largest |σ − 1| 1e-03, ")


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (lambda c: 0.85 if THRESHOLDED in c.contender.name else 0.4, "holds with a threshold"),
        (lambda c: 0.85 if c.contender.name == "MaxMin" else 0.4, "holds in part"),
        (lambda c: 0.85 if c.depth < 500 else 0.79, "fails"),
    ],
)
def test_c2_asks_the_deepest_networks(accuracy, verdict, monkeypatch):
    assert verdicts(monkeypatch, comparison=accuracy)["C2"].verdict == verdict


def skip_free(cell):
    return cell.contender.orthogonal and not cell.contender.skip


@pytest.mark.parametrize(
    ("lag", "verdict"),
    [
        (lambda c: 0.009, "holds"),
        (lambda c: 0.011, "fails"),
        (lambda c: 0.011 if c.depth == 500 else 0.0, "holds in part"),
        (lambda c: -0.1 if c.contender.name == "partial fold, τ = 3" else 0.5, "holds"),  # the best member counts
        (lambda c: 0.5 if c.depth < 100 else 0.0, "holds"),  # shallow networks do not
    ],
)
def test_c4_compares_the_best_member_with_residual_networks(lag, verdict, monkeypatch):
    found = verdicts(monkeypatch, comparison=lambda c: 0.85 - lag(c) * skip_free(c))["C4"]
    assert found.verdict == verdict


def test_c4_asks_the_best_residual_network(monkeypatch):
    """One that is better by more than a point decides, and the others are named; one that does not train is not."""

    def accuracy(cell):
        return {"residual, 1/√L": 0.87, "residual": 0.3}.get(cell.contender.name, 0.85)

    found = verdicts(monkeypatch, comparison=accuracy)["C4"]
    assert found.verdict == "fails"
    expected = "+2.00 ± 0.14 points behind residual, 1/√L; +0.00 ± 0.14 points behind ReZero; +0.00"
    assert f" 85.0 ± 0.1 %, {expected}" in found.measured[0]
    assert "behind residual;" not in found.measured[0]


def test_c2_names_the_network_without_folds(monkeypatch):
    found = verdicts(monkeypatch, comparison=lambda c: 0.81 if c.contender.name == "linear" else 0.85)["C2"]
    assert found.measured[-1] == "for comparison, without any fold (linear): 81.0 ± 0.1 %"


@pytest.mark.parametrize(
    ("claim", "mode", "lag", "verdict"),
    [
        ("C5", "free", 0.004, "holds"),
        ("C5", "free", 0.006, "fails"),
        ("C5", "penalised", 0.5, "holds"),
        ("C6", "penalised", 0.004, "holds"),
        ("C6", "penalised", 0.006, "fails"),
        ("C6", "free", 0.5, "holds"),
    ],
)
def test_c5_and_c6_compare_ways_of_training(claim, mode, lag, verdict, monkeypatch):
    assert verdicts(monkeypatch, modes=lambda c: 0.85 - lag * (c.mode == mode))[claim].verdict == verdict


def test_the_best_penalty_counts(monkeypatch):
    """As the validation split has it: three of four penalties may be bad."""
    found = verdicts(monkeypatch, modes=lambda c: 0.4 if c.mode == "penalised" and c.penalty != 0.01 else 0.85)
    assert found["C6"].verdict == "holds"


def test_c5_names_the_worst_case(monkeypatch):
    def accuracy(cell):
        return 0.85 - 0.1 * (cell.mode == "free" and cell.depth == 100 and cell.contender.name == "MaxMin")

    found = verdicts(monkeypatch, modes=accuracy)["C5"]
    assert found.verdict == "holds in part"
    worst = "worst: MaxMin, 100 layers, +10.00 ± 0.14 points behind"
    assert found.measured == ("6 of 7 cases at most 0.5 points behind", worst)


@pytest.mark.parametrize(
    ("epsilon", "lag", "verdict"),
    [
        (0.3, 0.009, "holds within the depth budget"),
        (0.3, 0.011, "holds in part"),  # within the budget at 100 layers
        (1.0, 0.5, "holds within the depth budget"),  # beyond it: not asked
    ],
)
def test_c7_asks_the_near_members_within_their_budget(epsilon, lag, verdict, monkeypatch):
    name = f"smooth fold, τ = 3, ε = {epsilon:g}"
    nearly = outcomes("nearly", lambda cell: 0.85 - lag * (cell.contender.name == name))
    found = verdicts(monkeypatch, nearly=nearly)["C7"]
    assert found.verdict == verdict
    if epsilon == 1:
        expected = "predicted to be lower: 11 of 13, from −50.00 ± 0.14 points to +0.00 ± 0.14 points ahead"
        assert found.measured[1] == expected


def test_c7_s_verdict_does_not_hang_on_the_budget_s_number(monkeypatch):
    for kappa in (2.1, 3.0, 4.5):
        monkeypatch.setattr(claims, "BUDGET", kappa)
        assert claims.finding("C7").verdict == "holds within the depth budget"


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        (lambda c: 0.79, "fails"),
        (lambda c: 0.85 if c.contender.architecture == "hard-tanh" else 0.7, "holds in part"),
        (lambda c: 0.1 if c.mode == "free" else 0.85, "holds"),  # free networks leave the class
    ],
)
def test_c8_asks_whether_all_of_them_train(accuracy, verdict, monkeypatch):
    assert verdicts(monkeypatch, partial=accuracy)["C8"].verdict == verdict


@pytest.mark.parametrize(
    ("without", "quarter", "verdict"),
    [(0.1, 0.85, "holds"), (0.85, 0.85, "enough, but not needed"), (0.1, 0.79, "fails")],
)
def test_c9_asks_what_is_enough_and_what_is_needed(without, quarter, verdict, monkeypatch):
    at = {0: without, 16: quarter}
    found = verdicts(monkeypatch, persistent=lambda c: at.get(c.contender.options["persistent"], 0.5))["C9"]
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("lag", "best_threshold", "verdict"), [(0.4, 0.84, "holds"), (0.4, 0.6, "fails"), (0.4, 0.66, "holds")]
)
def test_c10_asks_for_more_than_half_of_the_gap(lag, best_threshold, verdict, monkeypatch):
    """Residual networks at 0.85, no threshold at 0.45, half of the way is 0.65."""

    def accuracy(cell):
        return {"absolute value": 0.85 - lag, "shifted fold, τ = 4": best_threshold}.get(
            cell.contender.name, 0.85 if cell.contender.skip else 0.5
        )

    assert verdicts(monkeypatch, comparison=accuracy)["C10"].verdict == verdict


def test_c11_counts_what_is_stored(monkeypatch):
    found = claims.finding("C11")
    assert found.verdict == "holds"
    assert found.measured[0] == "117,879 certificates, 0 refuted"
    refuted = [(cell, suffix, stored | {"broken": 1}) for cell, suffix, stored in claims._robustness()]
    monkeypatch.setattr(claims, "_robustness", lambda: refuted)
    assert claims.finding("C11").verdict == "fails"


def test_one_claim_alone_is_that_of_the_list(monkeypatch):
    whole = {found.claim.name: found for found in claims.findings()}
    assert list(whole) == [f"C{number}" for number in range(1, 12)]
    asked = []
    monkeypatch.setattr(claims, "stored", lambda name: asked.append(name) or studies.stored(name))
    assert claims.finding("C5") == whole["C5"]
    assert set(asked) == {"modes"}
    with pytest.raises(ValueError, match=r"unknown claim 'C12'; allowed: C1, C2, .*, C11"):
        claims.finding("C12")


def test_a_claim_is_made_once():
    with pytest.raises(ValueError, match="the claim 'C5' is made already: Orthogonality at the start alone is enough"):
        claims.claim("C5", "Something else.", chapter="one-layer", command="list")(lambda: ("holds", ()))
    assert claims.CLAIMS["C5"].statement == "Orthogonality at the start alone is enough."


def test_the_stored_results_give_every_claim_a_finding():
    found = claims.findings()
    assert [finding.claim for finding in found] == list(claims.CLAIMS.values())
    for finding in found:
        assert finding.measured
        assert finding.claim.command.startswith("orthobook ")
    text = claims.markdown(found)
    assert all(f"**{one.claim.name}. {one.claim.statement}** *{one.verdict.capitalize()}.*" in text for one in found)
    assert text.count("\n- `orthobook ") == len(claims.CLAIMS)


def test_the_deviation_is_that_of_the_milestones():
    """An independent reading of the stored file's numbers."""
    (outcome, *_) = studies.stored("verification")
    numbers = [v for r in outcome.finals for m in r.result["milestones"] for v in (m["singular_values"])]
    assert claims.deviation(outcome) == max(max(numbers) - 1, 1 - min(numbers))
