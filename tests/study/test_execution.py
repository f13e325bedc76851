"""One run: its record, its divergence, and its checkpoints."""

import math
import signal

import pytest
import torch
from small_runs import outcome, run

import orthobook as ob
from orthobook.study import execution, source
from orthobook.study.execution import execute, execute_on_one_thread
from orthobook.study.run import Record


@pytest.mark.parametrize("mode", ["free", "penalised", "constrained"])
def test_a_record_is_what_training_by_hand_gives(mode):
    """The witness uses the package's public functions alone, on a split made by hand."""
    data = ob.load("fashion-mnist-small")
    made = execute(run(mode=mode, held_out=1000, judged_on="validation", seed=3))
    data, validation = data.held_out(1000)
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10, seed=3)
    config = ob.TrainingConfig(mode=mode, steps=12, batch_size=32, seed=3)
    history = list(ob.train(net, data, config, progress=False))
    judged = ob.evaluate(net, validation)
    assert made.status == "finished"
    assert (made.accuracy, made.result["loss"]) == (judged.accuracy, pytest.approx(judged.loss, rel=1e-8))
    assert made.result["curve"] == pytest.approx([step.loss for step in history], rel=1e-8)
    assert made.result["parameters"] == 8 * 784 + 8 + 4 * (64 + 8) + 80 + 10
    assert made.result["multiplications"] == 8 * 784 + 4 * 64 + 80
    last, ends = made.result["milestones"][-1], torch.tensor([0, 0.5, 1], dtype=torch.float64)
    values = ob.singular_values(net, validation.images[:8], dtype=torch.float64)
    assert last["orthogonality_error"] == pytest.approx(net.orthogonality_error(), rel=1e-8)
    assert last["singular_values"] == pytest.approx(values.flatten().quantile(ends).tolist())
    assert [milestone["step"] for milestone in made.result["milestones"]] == [0, 1, 3, 10, 12]


def test_a_long_curve_has_means_over_equal_parts():
    made = execute(run(steps=50))
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10)
    losses = [step.loss for step in ob.train(net, ob.load(run().data), run(steps=50).training, progress=False)]
    assert len(made.result["curve"]) == 20
    # the first of 20 parts holds steps 1 to 3 of 50, the last 49 and 50
    assert made.result["curve"][0] == pytest.approx(sum(losses[:3]) / 3, rel=1e-8)
    assert made.result["curve"][-1] == pytest.approx(sum(losses[48:]) / 2, rel=1e-8)


def test_images_are_a_run_too():
    made = execute(run(architecture="conv-shifted-fold", width=4, steps=2))
    assert made.status == "finished"
    assert "singular_values" not in made.result["milestones"][0]


def test_the_birth_certificate():
    birth = execute(run(steps=1)).birth
    assert set(birth) >= {"date", "orthobook", "torch", "numpy", "python", "device", "threads", "seconds"}
    assert (birth["orthobook"], birth["torch"]) == (ob.__version__, torch.__version__)
    assert birth["source"] == source.package_digest()
    assert birth["device"].startswith(str(ob.best_device()))
    assert birth["seconds"] >= birth["training_seconds"] > 0


def test_a_diverged_run_is_recorded_with_the_step():
    made = execute(run(architecture="relu-he", depth=30, learning_rate=1e12, depth_exponent=0.0))
    assert made.status == "diverged"
    assert "training diverged at step" in made.reason
    assert made.accuracy == 0.1
    assert Record.from_json(made.to_json()) == made


def test_a_run_that_cannot_be_run_is_recorded_with_the_reason(monkeypatch):
    def load(name):
        raise ConnectionError("no network here")

    execution._data.cache_clear()
    monkeypatch.setattr(execution, "load", load)
    made = execute(run())
    assert (made.status, made.reason) == ("failed", "ConnectionError: no network here")
    assert math.isnan(made.accuracy)
    monkeypatch.undo()
    assert "batch_size must be at most the 8000 training examples" in execute(run(batch_size=9000)).reason


def test_a_sweep_does_not_change_the_number_of_threads(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert execute_on_one_thread(run(steps=1)).birth["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- checkpoints ---


def interrupt_at(step, number):
    """Return the progress bar's stand-in, which sends the process a signal after a step."""

    def with_bar(training, progress):
        for measurement in training:
            if measurement.step == step:
                signal.raise_signal(number)
            yield measurement

    return with_bar


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["free", "penalised", "constrained"])
def test_an_interrupted_run_goes_on_to_the_bit(mode, number, tmp_path, monkeypatch):
    wanted, path = execute(run(mode=mode)), tmp_path / "run.checkpoint"
    for step in (1, 5, 11):
        with monkeypatch.context() as patch:
            patch.setattr(execution, "with_bar", interrupt_at(step, number))
            with pytest.raises(KeyboardInterrupt):
                execute(run(mode=mode), checkpoint=path)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert outcome(execute(run(mode=mode), checkpoint=path)) == outcome(wanted)
    assert [file.name for file in tmp_path.iterdir()] == ["run.checkpoint"]


def test_without_a_checkpoint_ctrl_c_acts_at_once(monkeypatch):
    monkeypatch.setattr(execution, "with_bar", interrupt_at(5, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        execute(run())


def test_a_checkpoint_is_written_from_time_to_time(tmp_path, monkeypatch):
    """What a kill without warning leaves: here one that comes as an error, just before step 8 is handed on."""
    path = tmp_path / "run.checkpoint"

    def killed(training, progress):
        for measurement in training:
            if measurement.step == 8:
                raise SystemExit
            yield measurement

    monkeypatch.setattr(execution, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "with_bar", killed)
        with pytest.raises(SystemExit):
            execute(run(), checkpoint=path)
    assert len(torch.load(path, weights_only=True)["training"]["history"]) == 7
    assert outcome(execute(run(), checkpoint=path)) == outcome(execute(run()))


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "run.checkpoint"
    monkeypatch.setattr(execution, "with_bar", interrupt_at(5, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        execute(run(), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to a run with another depth, learning_rate"):
        execute(run(depth=5, learning_rate=0.1), checkpoint=path)
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"run\.checkpoint is no checkpoint, or a damaged one"):
            execute(run(), checkpoint=path)


def test_a_single_bit_that_flips_changes_no_result(tmp_path, monkeypatch):
    """Of the bits of a checkpoint, one by one: it is refused, or what it belongs to is not there."""
    wanted, path = outcome(execute(run())), tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(execution, "with_bar", interrupt_at(5, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            execute(run(), checkpoint=path)
    whole, refused = path.read_bytes(), 0
    for place in range(100, len(whole), len(whole) // 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = execute(run(), checkpoint=path)
        except ValueError:
            refused += 1
        else:
            assert outcome(found) == wanted
    assert refused >= 30


@pytest.mark.parametrize("damage", ["training", "milestones", "run"])
def test_a_checkpoint_without_a_part_is_a_damaged_one(damage, tmp_path, monkeypatch):
    path = tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(execution, "with_bar", interrupt_at(5, signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            execute(run(), checkpoint=path)
    state = torch.load(path, weights_only=True)
    torch.save(state | {damage: "nothing"}, path)
    with pytest.raises(ValueError, match="is no checkpoint, or a damaged one"):
        execute(run(), checkpoint=path)


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_not_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="could not write the checkpoint .*; the run goes on without"):
        made = execute(run(), checkpoint=tmp_path / "file" / "run.checkpoint")
    assert outcome(made) == outcome(execute(run()))


def test_a_training_broken_off_within_a_step_cannot_be_saved(monkeypatch):
    net = ob.build("shifted-fold", depth=4, width=8, inputs=784, classes=10)
    training = ob.Training(net, ob.load(run().data), run().training)
    next(training)
    training.state_dict()

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(net, "retract_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(training)
    with pytest.raises(RuntimeError, match="broken off in the middle"):
        training.state_dict()
