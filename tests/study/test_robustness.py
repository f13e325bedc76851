"""The stored robustness: that it is whole, agrees with itself and with the studies, and can be repeated."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

import orthobook as ob
from orthobook import __main__ as command_line
from orthobook.study import robustness, studies, tables
from orthobook.study.design import by_key, run_study
from orthobook.study.execution import execute, execute_on_one_thread
from orthobook.study.robustness import RADII
from orthobook.study.run import Run
from orthobook.study.store import Store

STUDY = studies.study("robustness")
TWIN = "orthogonal_embedding"


def networks():
    """Return the cell and the record of every stored network."""
    return [(outcome.cell, outcome.finals[0]) for outcome in studies.stored("robustness")]


def test_every_network_is_stored_whole():
    assert len(networks()) == 13
    assert {record.status for _, record in networks()} == {"finished"}
    for _, record in networks():
        assert record.result["robustness"]["images"] == (2_000 if record.run.data == "fashion-mnist-small" else 10_000)


def test_the_networks_are_those_of_the_studies():
    """Each was trained again for this, to the same result: curve, accuracy, spectrum."""
    records = studies.stored_records()
    for cell, record in networks():
        assert (cell.mode, cell.depth) == (record.run.mode, record.run.depth)
        assert (record.run.judged_on, record.run.seed, record.run.penalty) == ("test", 1, 1.0)
        assert records[replace(record.run, measure="none").key].result.items() <= record.result.items()


def measurements():
    """Return all that was measured, of the networks and of their twins."""
    results = [record.result for _, record in networks()]
    return [found for result in results for name in ("robustness", TWIN) if (found := result.get(name))]


def test_no_certificate_is_broken():
    certified = [found for found in measurements() if found["certified"]]
    assert len(certified) == 10 + 6  # of all but the residual networks, and of the twins of those that are constrained
    for found in certified:
        assert found["broken"] == 0
        assert found["looseness"] == sorted(found["looseness"])
        assert found["looseness"][0] >= 1
        assert all(one <= other for one, other in zip(found["certified"], found["attacked"], strict=True))


def test_twins_have_orthogonal_embeddings_and_nearly_tight_certificates():
    for cell, record in networks():
        assert (TWIN in record.result) == (cell.mode == "constrained")
        if twin := record.result.get(TWIN):
            assert twin["embedding_norm"] == pytest.approx(1, abs=1e-5)
            assert twin["looseness"][3] < 1.05 < record.result["robustness"]["looseness"][3]


def test_curves_fall_from_the_accuracy():
    for _, record in networks():
        for found in (record.result["robustness"], record.result.get(TWIN, record.result["robustness"])):
            for curve in (found["attacked"], found["certified"] or found["attacked"]):
                assert len(curve) == len(RADII)
                assert curve == sorted(curve, reverse=True)
                # in float64 and float32
                assert curve[0] == pytest.approx(found.get("accuracy", record.accuracy), abs=1e-3)


def test_baselines_have_no_certificate():
    for cell, record in networks():
        found = record.result["robustness"]
        bounded = cell.contender.name != "residual, 1/√L"
        missing = {name for name, value in found.items() if value is None}
        needed = {"lipschitz_bound", "certified", "mean_radius", "broken", "looseness"}
        assert missing == (set() if bounded else needed)


def split_off_radii(result, approximately=False):
    """Return a result as all numbers that are no radii, and all that depend on the last digits of one."""
    rest, radii = {}, {}
    for name, value in result.items():
        if isinstance(value, dict) and "mean_radius" in value:
            radii |= {(name, key): value[key] for key in ("mean_radius", "looseness")}
            radii |= {(name, key): numbers for key, numbers in value["first"].items()}
            rest[name] = {key: of for key, of in value.items() if key not in ("mean_radius", "looseness", "first")}
        else:
            rest[name] = value
    return rest, {key: of and pytest.approx(of, rel=1e-4) if approximately else of for key, of in radii.items()}


@pytest.mark.parametrize("at", [0, 1], ids=["shifted fold", "residual"])
def test_a_small_part_repeats(at):
    """With the stored versions and processor to the last digit, else as far as training repeats at all.

    Radii are longer by a millionth: since they were stored, less is subtracted for rounding. No count has changed.
    """
    _, stored = networks()[at]  # on the package's own images
    again = execute_on_one_thread(stored.run)
    same = ("torch", "numpy", "device", "threads")
    if all(stored.birth[name] == again.birth[name] for name in same):
        assert split_off_radii(again.result) == split_off_radii(stored.result, approximately=True)
    else:
        old, new = (record.result["robustness"] for record in (stored, again))
        for name in ("attacked", "certified"):
            if old[name] is not None:
                assert new[name] == pytest.approx(old[name], abs=0.05)  # four standard deviations of 2,000 images


def test_the_measurement_is_what_the_functions_say(monkeypatch):
    """The stored numbers of the first images, and the curves, from the network itself."""
    run = Run(architecture="maxmin", depth=2, width=8, steps=20, batch_size=16, measure="robustness")
    data = ob.load("fashion-mnist-small")
    small = ob.Split(data.test.images[:60], data.test.labels[:60])
    measure, seen = robustness.measure, []

    def of_a_part(net, data, split):
        seen.append(net)
        return measure(net, data, small)

    monkeypatch.setattr(robustness, "measure", of_a_part)
    record = execute(run, device="cpu")
    found, (net, twin) = record.result["robustness"], seen
    assert record.result[TWIN]["accuracy"] == ob.evaluate(twin, data.test).accuracy
    assert record.accuracy == ob.evaluate(net, data.test).accuracy
    radius = data.std * ob.certified_radius(net, small.images, small.labels)
    assert found["first"]["radius"] == pytest.approx(radius[:10].tolist(), rel=1e-8)
    assert found["mean_radius"] == pytest.approx(radius.mean().item(), rel=1e-8)
    assert found["certified"] == pytest.approx([(radius > r).double().mean().item() for r in RADII], rel=1e-8)
    assert found["lipschitz_bound"] == pytest.approx(ob.lipschitz_bound(net), rel=1e-8)
    limit = robustness.LIMIT / data.std
    distance = data.std * ob.smallest_perturbation(net, small.images, small.labels, limit)
    assert found["first"]["distance"] == pytest.approx(distance[:10].tolist(), rel=1e-8)
    assert found["attacked"][5] == pytest.approx((distance > 0.1).double().mean().item(), rel=1e-8)


def test_an_orthogonal_embedding_is_kept():
    run = Run(architecture="shifted-fold", depth=2, width=8, steps=20, batch_size=16)
    net = robustness.with_orthogonal_embedding(run, ob.load("fashion-mnist-small"), "cpu")
    assert ob.orthogonality_error(net.embedding.weight.mT) < 1e-5
    assert not torch.equal(net.embedding.weight, run.network(ob.load(run.data), "cpu").embedding.weight)
    assert net.orthogonality_error() < 1e-5


def test_a_false_certificate_is_counted(monkeypatch):
    """The control of `broken`: radii three times too long are refuted."""
    net = ob.build("linear", depth=1, width=8, inputs=784, classes=10, device="cpu")
    data = ob.load("fashion-mnist-small")
    images = data.test.images[:40]
    split = ob.Split(images, net(images).argmax(1))
    true = robustness.measure(net, data, split)["robustness"]
    radius = ob.certified_radius
    monkeypatch.setattr(robustness, "certified_radius", lambda *given: 3 * radius(*given))
    false = robustness.measure(net, data, split)["robustness"]
    assert (true["broken"], false["broken"]) == (0, 40)
    assert torch.tensor(false["looseness"]).max() < 1


@pytest.mark.parametrize("words", [["robustness"], ["sweep", "--study", "robustness"]], ids=" ".join)
def test_nothing_is_measured_twice(words, tmp_path):
    copy = tmp_path / "store.jsonl"
    shutil.copy(STUDY.results, copy)
    result = CliRunner().invoke(command_line.main, [*words, "--store", str(copy)])
    assert result.exit_code == 0, result.output
    table = tables.table(studies.stored("robustness"), tablefmt="simple") + "\n"
    assert result.stdout == (table if len(words) == 1 else "")
    assert f"0 failed; 13 records in {copy}" in result.stderr


def test_a_missing_network_is_measured(tmp_path):
    """A store that holds the same training, without what is measured here, does not hold it."""
    copy, (_, record) = tmp_path / "store.jsonl", networks()[1]
    first, _, *rest = STUDY.results.read_text(encoding="utf-8").splitlines(keepends=True)
    copy.write_text("".join([first, *rest]), encoding="utf-8")
    plain = studies.stored_records()[replace(record.run, measure="none").key]
    assert Store(copy).append(plain)
    with ThreadPoolExecutor(1) as executor:
        (made,) = run_study(STUDY, Store(copy), executor=executor, progress=False)
    assert made.run == record.run
    assert made.result["robustness"]["images"] == 2_000
    assert len(STUDY.outcomes(by_key(Store(copy)))) == 13


def rows(printed):
    """Return a printed table as lists of words, without its rule."""
    head, _, *lines = printed.splitlines()
    return [re.split(r"  +", line.strip()) for line in (head, *lines)]


@pytest.mark.parametrize("words", [["robustness"], ["results", "show", "robustness"]])
def test_the_table_shows_what_is_stored(words):
    """A line for each network and each twin; the numbers of one of them, from its record."""
    result = CliRunner().invoke(command_line.main, words)
    assert result.exit_code == 0, result.output
    heads, *lines = rows(result.stdout)
    assert len(lines) == 13 + 6
    named = ((cell.contender.name, cell.depth, cell.mode) for cell, _ in networks())
    ((_, record),) = (
        network for network, name in zip(networks(), named, strict=True) if name == (studies.FOLD, 100, "free")
    )
    found, at = record.result, RADII.index(0.1)
    (line,) = (line for line in lines if line[:2] == ["shifted fold, free", "100"])
    shown = dict(zip(heads, line, strict=True))
    of = found["robustness"]
    assert float(shown["accuracy"]) == pytest.approx(found["accuracy"], abs=6e-4)
    assert float(shown["Γ"]) == pytest.approx(of["lipschitz_bound"], rel=1e-5)
    assert float(shown["certified at 0.1"]) == pytest.approx(of["certified"][at], abs=6e-4)
    assert float(shown["attacked at 0.1"]) == pytest.approx(of["attacked"][at], abs=6e-4)
    assert float(shown["median of found / ρ"]) == pytest.approx(of["looseness"][3], abs=6e-4)
    assert all(line[4::2] == ["–", "–", "–"] for line in lines if line[0].startswith("residual"))


def test_a_table_of_a_part_shows_that_part(tmp_path):
    copy = tmp_path / "store.jsonl"
    copy.write_text(STUDY.results.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    result = CliRunner().invoke(command_line.main, ["results", "show", "robustness", "--store", str(copy)])
    assert result.exit_code == 0, result.output
    assert [line[0] for line in rows(result.stdout)[1:]] == [
        "shifted fold, constrained",
        "shifted fold, constrained, E too",
    ]
    assert f"1 of the study's 13 cells are stored in {copy}" in result.stderr


def test_a_store_that_lacks_a_network_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"of the study .robustness. 13 runs are missing, first orthobook"):
        STUDY.outcomes(by_key(Store(tmp_path / "none.jsonl")))
