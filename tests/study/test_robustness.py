"""The stored robustness: that it is whole, agrees with itself and with the studies, and can be repeated."""

import functools
import re
import shutil

import pytest
import torch
from click.testing import CliRunner

import orthobook as ob
from orthobook import __main__ as command_line
from orthobook.study import robustness, studies
from orthobook.study.experiments import Run, Store, execute, execute_on_one_thread, untrained
from orthobook.study.robustness import NETWORKS, RADII

REPEATED = NETWORKS[:2]  # on the package's own images
STORED = robustness.stored
TWIN = "orthogonal_embedding"


@functools.cache
def repeated(subject):
    return execute_on_one_thread(subject.run, measure=robustness.measure_with_twin(subject.run))


def test_every_network_is_stored_and_nothing_else():
    assert list(STORED()) == list(NETWORKS)
    records = Store(robustness.RESULTS).records()
    assert {record.run.key for record in records} == {subject.run.key for subject in NETWORKS}
    assert {record.status for record in records} == {"finished"}
    for record in records:
        assert {"date", "orthobook", "torch", "numpy", "python", "device", "threads", "seconds"} <= set(record.birth)
        assert record.result["robustness"]["images"] == (2_000 if record.run.data == "fashion-mnist-small" else 10_000)


def test_the_networks_are_those_of_the_studies():
    """Each was trained again for this, to the same result: curve, accuracy, spectrum."""
    records = studies.stored_records()
    for subject, record in STORED().items():
        assert (subject.mode, subject.depth) == (record.run.mode, record.run.depth)
        assert (record.run.judged_on, record.run.seed) == ("test", 1)
        assert records[record.run.key].result.items() <= record.result.items()


def measurements():
    """Return all that was measured, of the networks and of their twins."""
    results = [record.result for record in STORED().values()]
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
    for subject, record in STORED().items():
        assert (TWIN in record.result) == (subject.mode == "constrained")
        if twin := record.result.get(TWIN):
            assert twin["embedding_norm"] == pytest.approx(1, abs=1e-5)
            assert twin["looseness"][3] < 1.05 < record.result["robustness"]["looseness"][3]


def test_curves_fall_from_the_accuracy():
    for record in STORED().values():
        for found in (record.result["robustness"], record.result.get(TWIN, record.result["robustness"])):
            for curve in (found["attacked"], found["certified"] or found["attacked"]):
                assert len(curve) == len(RADII)
                assert curve == sorted(curve, reverse=True)
                # in float64 and float32
                assert curve[0] == pytest.approx(found.get("accuracy", record.accuracy), abs=1e-3)


def test_baselines_have_no_certificate():
    for subject, record in STORED().items():
        found = record.result["robustness"]
        bounded = subject.contender != "residual, 1/√L"
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


@pytest.mark.parametrize("subject", REPEATED, ids=lambda subject: subject.contender)
def test_a_small_part_repeats(subject):
    """With the stored versions and processor to the last digit, else as far as training repeats at all.

    Radii are longer by a millionth: since they were stored, less is subtracted for rounding. No count has changed.
    """
    stored, again = STORED()[subject], repeated(subject)
    same = ("torch", "numpy", "device", "threads")
    if all(stored.birth[name] == again.birth[name] for name in same):
        assert split_off_radii(again.result) == split_off_radii(stored.result, approximately=True)
    else:
        old, new = (record.result["robustness"] for record in (stored, again))
        for name in ("attacked", "certified"):
            if old[name] is not None:
                assert new[name] == pytest.approx(old[name], abs=0.05)  # four standard deviations of 2,000 images


def test_the_measurement_is_what_the_functions_say():
    """The stored numbers of the first images, and the curves, from the network itself."""
    run = Run(architecture="maxmin", depth=2, width=8, steps=20, batch_size=16)
    data = ob.load("fashion-mnist-small")
    small = ob.Split(data.test.images[:60], data.test.labels[:60])
    seen = {}

    def measure(net, data, split):
        seen["net"] = net
        return robustness.measure(net, data, small)

    record = execute(run, device="cpu", measure=measure)
    found, net = record.result["robustness"], seen["net"]
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
    assert not torch.equal(net.embedding.weight, untrained(run, ob.load(run.data), "cpu").embedding.weight)
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


def test_nothing_is_measured_twice(tmp_path):
    copy = tmp_path / "store.jsonl"
    shutil.copy(robustness.RESULTS, copy)
    result = CliRunner().invoke(command_line.main, ["robustness", "--store", str(copy)])
    assert result.exit_code == 0, result.output
    assert result.stdout == robustness.table(STORED(), tablefmt="simple") + "\n"
    assert f"{len(NETWORKS)} records in {copy}" in result.stderr


def test_a_missing_network_is_measured(tmp_path):
    copy = tmp_path / "store.jsonl"
    _, _, *rest = robustness.RESULTS.read_text(encoding="utf-8").splitlines(keepends=True)
    copy.write_text("".join(rest), encoding="utf-8")
    records = robustness.measure_missing(Store(copy))
    assert next(records).run == NETWORKS[0].run
    records.close()
    assert Store(copy).holds(NETWORKS[0].run)
    assert not Store(copy).holds(NETWORKS[1].run)


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
    assert ("--store FILE" in result.stderr) == (len(words) == 1)
    (subject,) = (s for s in NETWORKS if (s.contender, s.depth) == (robustness.FOLD, 100) and s.mode == "free")
    found, at = STORED()[subject].result, RADII.index(0.1)
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
    copy.write_text(robustness.RESULTS.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    result = CliRunner().invoke(command_line.main, ["results", "show", "robustness", "--store", str(copy)])
    assert result.exit_code == 0, result.output
    assert [line[0] for line in rows(result.stdout)[1:]] == [
        "shifted fold, constrained",
        "shifted fold, constrained, E too",
    ]


def test_a_store_that_lacks_a_network_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "RESULTS", tmp_path / "none.jsonl")
    robustness.stored.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"none.jsonl lacks 13 networks, first Subject\(study='verification'"):
            robustness.stored()
    finally:
        robustness.stored.cache_clear()
