"""The studies: their plans, how a learning rate is chosen, and what the stored results say and whether they repeat."""

import functools
import statistics
from collections import Counter
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from test_data import with_full_set

import orthobook as ob
from orthobook import __main__ as command_line
from orthobook.study import studies, tables, verification
from orthobook.study.design import RESULTS, Cell, Study, run_study
from orthobook.study.execution import execute_on_one_thread
from orthobook.study.run import Record
from orthobook.study.store import Store
from orthobook.study.studies import CONTENDERS, STUDIES

CELL = Cell(contender=CONTENDERS["MaxMin"], depth=10, mode="constrained")


def made_up(run, accuracy, **changes):
    values = {"status": "finished", "result": {"accuracy": accuracy}, "birth": {"training_seconds": 1.0}}
    return Record(run=run, **values | changes)


def tuned(accuracies):
    """Return records of the cell's tuning runs with the given accuracies."""
    pairs = zip(CELL.tuning_runs, accuracies, strict=True)
    return {run.key: made_up(run, accuracy) for run, accuracy in pairs}


# --- plans ---


def test_every_contender_has_the_same_budget():
    """Equal depths, rates, steps and seeds, the rate chosen on the validation split: or the comparison is not fair."""
    study = STUDIES["comparison"]
    cells = Counter(cell.contender.name for cell in study.cells)
    assert set(cells) == set(CONTENDERS)
    assert set(cells.values()) == {6}
    assert len({(cell.rates, cell.seeds, tuple(sorted(cell.budget.items()))) for cell in study.cells}) == 1
    assert len(study.cells[0].rates) >= 5
    assert len(study.cells[0].seeds) >= 3
    for cell in study.cells:
        assert {run.judged_on for run in cell.tuning_runs} == {"validation"}
        assert {run.held_out for run in cell.tuning_runs} == {10_000}
        assert {run.seed for run in cell.tuning_runs}.isdisjoint(cell.seeds)


@pytest.mark.parametrize("contender", CONTENDERS.values(), ids=str)
def test_contenders_are_what_they_say(contender):
    """Their names say it, and automatic differentiation of a small network whose every unit may fold."""
    generator = torch.Generator().manual_seed(0)
    trunk = ob.Trunk(contender.architecture, depth=3, width=8, dtype=torch.float64, **contender.options)
    x = 3 * torch.randn(30, 8, dtype=torch.float64, generator=generator)
    assert contender.orthogonal == bool(ob.is_orthogonal(trunk, x)) or contender.architecture == "rezero"  # starts as 1
    assert contender.skip == ("residual" in contender.architecture or contender.architecture == "rezero")
    assert contender.thresholded == (contender.orthogonal and "τ = 3" in contender.name)


def test_members_are_kept_orthogonal_and_baselines_left_alone():
    for cell in STUDIES["comparison"].cells:
        assert cell.mode == ("constrained" if cell.contender.orthogonal else "free")


def test_studies_share_runs():
    """The same run in two studies is one record: the constrained ones of modes are those of the comparison."""
    plans = {name: {run.key for run in study.plan({})} for name, study in STUDIES.items()}
    assert len(plans["comparison"] & plans["modes"]) == 7 * 6


def test_the_learning_rate_is_the_best_on_the_validation_split():
    records = tuned([0.1, 0.2, 0.8, 0.7, 0.3, 0.1])
    assert CELL.chosen_rate(records) == 1e-3
    finals = CELL.final_runs(records)
    assert [(run.learning_rate, run.seed, run.judged_on) for run in finals] == [(1e-3, s, "test") for s in (1, 2, 3)]


def test_of_equals_the_lower_rate_is_chosen():
    assert CELL.chosen_rate(tuned([0.1, 0.8, 0.8, 0.7, 0.3, 0.1])) == 3e-4


def test_seeds_follow_when_all_rates_are_in():
    records = tuned([0.1, 0.2, 0.8, 0.7, 0.3, 0.1])
    records.popitem()
    assert CELL.chosen_rate(records) is None
    assert CELL.final_runs(records) == []


def test_an_outcome_is_the_mean_over_seeds():
    study = Study(name="comparison", question="?", design=lambda: (CELL,), results=RESULTS)
    records = tuned([0.1, 0.2, 0.8, 0.7, 0.3, 0.1])
    with pytest.raises(ValueError, match="of the study 'comparison' 3 runs are missing, first orthobook train maxmin"):
        study.outcomes(records)
    for run, accuracy in zip(CELL.final_runs(records), (0.7, 0.8, 0.9), strict=True):
        records[run.key] = made_up(run, accuracy)
    (outcome,) = study.outcomes(records)
    assert outcome.learning_rate == 1e-3
    assert outcome.accuracies == [0.7, 0.8, 0.9]
    assert (outcome.mean, outcome.spread) == (pytest.approx(0.8), pytest.approx(0.1))
    assert len(outcome.records) == 9


def test_a_study_is_run_stage_after_stage(tmp_path):
    budget = {"data": "fashion-mnist-small", "held_out": 1000, "steps": 3, "batch_size": 16, "width": 4}
    cell = replace(CELL, rates=(1e-3, 1e-2), seeds=(1, 2), budget=budget)
    study = Study(name="small", question="?", design=lambda: (cell,), results=RESULTS)
    store = Store(tmp_path / "store.jsonl")
    new = list(run_study(study, store, workers=1, progress=False))
    assert [record.run.judged_on for record in new] == ["validation"] * 2 + ["test"] * 2
    assert list(run_study(study, store, workers=1, progress=False)) == []
    (outcome,) = study.outcomes({record.run.key: record for record in store.records()})
    assert "MaxMin" in tables.table([outcome], tablefmt="simple")


def test_a_name_is_a_study_s_own():
    with pytest.raises(ValueError, match="the study 'modes' is registered already, by _modes"):
        studies.register("modes", "Another question?")(lambda: (CELL,))
    assert STUDIES["modes"].question.startswith("Is orthogonality at the start enough")


def test_an_unknown_study_is_an_error():
    with pytest.raises(ValueError, match="unknown study 'all'; allowed: verification, comparison"):
        studies.study("all")


# --- the stored results ---


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_stored_whole(name):
    outcomes = studies.stored(name)
    assert len(outcomes) == len(STUDIES[name].cells)
    assert {record.status for outcome in outcomes for record in outcome.records} <= {"finished", "diverged"}


def test_nothing_else_is_stored():
    for file in {study.results for study in STUDIES.values()}:
        records = studies.stored_records(file)
        plans = (study.plan(records) for study in STUDIES.values() if study.results == file)
        assert {run.key for plan in plans for run in plan} == set(records)


@pytest.mark.parametrize("name", STUDIES)
def test_every_stored_result_has_its_birth_certificate(name):
    for record in studies.stored_records(STUDIES[name].results).values():
        assert {"date", "orthobook", "torch", "numpy", "python", "device", "threads", "seconds"} <= set(record.birth)
        assert record.run.command.startswith("orthobook train ")


@pytest.fixture(scope="module")
def repeated():
    """What executes a run, and remembers its record."""
    return functools.cache(execute_on_one_thread)


def test_verification_repeats_the_stored_results(repeated, monkeypatch):
    """One run of every contender: to the last digit where torch and the processor are the stored ones."""
    monkeypatch.setattr(verification, "execute_on_one_thread", repeated)
    records = studies.stored_records()
    runs = verification.sample(STUDIES["verification"], records)
    assert {run.architecture for run in runs} == {contender.architecture for contender in CONTENDERS.values()}
    checks = list(verification.verify(runs, records))
    assert len(checks) == len(CONTENDERS)
    assert [check.repeated.run.command for check in checks if not check.matches] == []


@with_full_set
def test_the_smallest_run_on_the_full_data_repeats():
    records = studies.stored_records()
    runs = verification.sample(STUDIES["comparison"], records)
    smallest = min(runs, key=lambda run: records[run.key].birth["seconds"])
    (check,) = verification.verify([smallest], records)
    assert check.matches


@pytest.mark.parametrize("elsewhere", [False, True])
def test_verification_notices_what_is_not_true(elsewhere):
    """A stored accuracy off by 0.2 is noticed on any machine, one off in the last digit on the same kind."""
    (first, *_) = verification.sample(STUDIES["verification"], studies.stored_records())
    true = studies.stored_records()[first.key]
    here = execute_on_one_thread(first).birth
    false = replace(true, birth=here | ({"device": "cpu: another"} if elsewhere else {}))
    off = 0.2 if elsewhere else 5e-4
    false = replace(false, result=true.result | {"accuracy": true.accuracy - off})
    (check,) = verification.verify([first], {**studies.stored_records(), first.key: false})
    assert (check.tolerance > 0) == elsewhere
    assert not check.matches


def test_the_tolerance_elsewhere_is_four_times_the_spread_of_the_other_seeds():
    outcome = studies.stored("verification")[0]
    runs = [record.run for record in outcome.finals]
    accuracies = (0.2, 0.6, 0.7)
    elsewhere = {"device": "elsewhere"}
    records = {run.key: made_up(run, a, birth=elsewhere) for run, a in zip(runs, accuracies, strict=True)}
    checks = list(verification.verify(runs[:1], records))
    assert checks[0].tolerance == pytest.approx(4 * statistics.stdev(accuracies[1:]))


def test_verify_on_the_command_line(repeated, monkeypatch):
    monkeypatch.setattr(verification, "execute_on_one_thread", repeated)
    result = CliRunner().invoke(command_line.main, ["results", "verify", "verification"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == len(CONTENDERS)
    assert all(line.startswith("repeats ") for line in lines)
    assert "14 runs repeated, 0 of them differ" in result.stderr


def test_show_on_the_command_line():
    result = CliRunner().invoke(command_line.main, ["results", "show", "verification"])
    for name in CONTENDERS:
        assert name in result.output
