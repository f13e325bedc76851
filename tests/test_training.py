"""Training learns, repeats to the bit, keeps what its mode promises, and always leaves a usable network."""

import contextlib
import math
import pickle

import pytest
import torch
from small_networks import EXACT_DENSE, sizes
from tolerances import PRECISIONS
from torch.nn import functional

import orthobook as ob
from orthobook import training
from orthobook.data import Dataset, Split
from orthobook.layers import base

CLASSES = 3
FLOAT32 = PRECISIONS[torch.float32]


def blobs(number, seed):
    """Return three Gaussian clusters in the plane, far enough apart to be told from each other."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % CLASSES
    angles = labels * 2 * math.pi / CLASSES
    centres = torch.stack((angles.cos(), angles.sin()), dim=-1)
    return Split(centres + 0.2 * torch.randn(number, 2, generator=generator), labels)


@pytest.fixture(scope="module")
def data():
    return Dataset("blobs", blobs(300, 0), blobs(150, 1), classes=("a", "b", "c"), image_shape=(2,))


def network(architecture="shifted-fold", depth=20, seed=0, **options):
    size = sizes(architecture, width=8, inputs=2)
    return ob.build(architecture, depth=depth, classes=CLASSES, seed=seed, device="cpu", **size, **options)


def config(**changes):
    return ob.TrainingConfig(**{"steps": 20, "batch_size": 32, "learning_rate": 3e-3, **changes})


def run(net, data, **changes):
    return list(ob.train(net, data, config(**changes), progress=False))


@pytest.mark.parametrize("mode", ["free", "penalised", "constrained"])
@pytest.mark.parametrize("architecture", ob.architectures())
def test_every_architecture_learns_in_every_mode(architecture, mode, data):
    net = network(architecture, depth=3)
    history = run(net, data, mode=mode, steps=60, learning_rate=1e-2)
    assert [step.step for step in history] == list(range(1, 61))
    assert ob.evaluate(net, data.test).accuracy > 0.9  # chance is 1/3
    assert history[-1].loss < history[0].loss


def test_a_run_repeats_to_the_bit_and_the_seed_matters(data):
    nets = [network() for _ in range(3)]
    histories = [run(net, data, seed=seed) for net, seed in zip(nets, (0, 0, 1), strict=True)]
    losses = [[step.loss for step in history] for history in histories]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_first_measurement_is_of_the_network_as_it_was_built(data):
    net = network()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:32]
    images, labels = data.train.images[order], data.train.labels[order]
    loss = functional.cross_entropy(net(images), labels)
    accuracy = (net(images).argmax(-1) == labels).float().mean()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients))
    first = next(iter(ob.train(net, data, config(), progress=False)))
    assert first.loss == pytest.approx(loss.item())
    assert first.accuracy == pytest.approx(accuracy.item())
    assert first.gradient_norm == pytest.approx(norm, rel=1e-5)


def test_the_learning_rate_falls_linearly_and_is_smaller_in_the_trunk(data, monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def recording_step(self):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", recording_step)
    run(network(depth=25), data, steps=4, learning_rate=0.1)
    ends, trunk = zip(*rates, strict=True)
    assert ends == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert trunk == pytest.approx([rate / 5 for rate in ends])


@pytest.mark.parametrize("architecture", EXACT_DENSE)
def test_constrained_training_keeps_the_isometry_and_free_training_loses_it(architecture, data):
    deviations, errors = {}, {}
    for mode in ("constrained", "free"):
        net = network(architecture, depth=50)
        run(net, data, mode=mode)
        errors[mode] = net.orthogonality_error()
        deviations[mode] = (ob.singular_values(net, data.test.images[:8]) - 1).abs().max().item()
    assert errors["constrained"] <= FLOAT32.layer
    assert deviations["constrained"] <= FLOAT32.trunk
    assert errors["free"] > 1e-3
    if "residual" not in architecture:  # at their threshold of 3 few units are active in the plane
        assert deviations["free"] > 1e-2


def test_a_stronger_penalty_drifts_less(data):
    errors = []
    for penalty in (1e-3, 1.0, 100.0):
        net = network(depth=20)
        run(net, data, mode="penalised", penalty=penalty, steps=60)
        errors.append(net.orthogonality_error())
    free = network(depth=20)
    run(free, data, mode="free", steps=60)
    assert free.orthogonality_error() > errors[0] > errors[1] > errors[2]


def test_huge_steps_still_end_on_the_manifold(data):
    net = network(depth=10)
    run(net, data, learning_rate=1.0, steps=5)
    assert net.orthogonality_error() <= FLOAT32.layer


def interrupt_after(steps):
    """Return an Adam step that, on its n-th call, is interrupted by Ctrl-C once it has moved the parameters."""
    original, calls = torch.optim.Adam.step, []

    def step(self):
        original(self)
        calls.append(1)
        if len(calls) == steps:
            raise KeyboardInterrupt

    return step


def test_ctrl_c_in_the_middle_of_a_step_leaves_an_orthogonal_network(data, monkeypatch):
    monkeypatch.setattr(torch.optim.Adam, "step", interrupt_after(3))
    net, seen = network(), []
    steps = (seen.append(step.step) for step in ob.train(net, data, config(), progress=False))
    with pytest.raises(KeyboardInterrupt):
        list(steps)
    assert seen == [1, 2]
    assert net.orthogonality_error() <= FLOAT32.layer
    assert math.isfinite(ob.evaluate(net, data.test).loss)


def test_ctrl_c_in_the_middle_of_the_retraction_leaves_an_orthogonal_network(data, monkeypatch):
    retract, calls = base.retract, []

    def interrupted(stack):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return retract(stack)

    monkeypatch.setattr(base, "retract", interrupted)
    net = network()
    with pytest.raises(KeyboardInterrupt):
        run(net, data)
    assert len(calls) == 4
    assert net.orthogonality_error() <= FLOAT32.layer


def test_a_callers_autocast_does_not_freeze_the_weights(data):
    """Autocast keeps its copies of the weights as long as its context lasts: they must be dropped after each step."""
    net = network("linear", depth=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        history = run(net, data, steps=60, learning_rate=1e-2)
    assert history[-1].accuracy > 0.9
    assert net.orthogonality_error() <= FLOAT32.layer


@pytest.mark.parametrize("architecture", ["shifted-fold", "modified-residual", "maxmin"])
def test_products_in_bfloat16_leave_orthogonality_as_it_is(architecture, data):
    histories = {}
    for products in ("full", "bfloat16"):
        net = network(architecture, depth=5)
        histories[products] = run(net, data, products=products, steps=60, learning_rate=1e-2)
        assert histories[products][-1].accuracy > 0.9
        assert net.orthogonality_error() <= FLOAT32.layer
        assert net.dtype == torch.float32
    losses = [[step.loss for step in history] for history in histories.values()]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.05)  # three digits, through five layers
    assert losses[0] != losses[1]


def test_segments_change_no_measurement(data):
    whole, parts = (run(network(), data, segment=segment) for segment in (None, 6))
    assert [step.loss for step in parts] == pytest.approx([step.loss for step in whole], rel=1e-4)


def test_leaving_the_loop_early_leaves_a_usable_network(data):
    net = network()
    for step in ob.train(net, data, config(), progress=False):
        if step.step == 3:
            break
    assert net.orthogonality_error() <= FLOAT32.layer
    assert math.isfinite(ob.evaluate(net, data.test).loss)


def test_divergence_ends_with_the_history_and_a_finite_network(data):
    net = network("relu-he", depth=30)
    with torch.no_grad():
        net.trunk["weight"] *= 3  # activations reach 1e14: in a few steps of this rate the loss is no longer finite
    with pytest.raises(ob.TrainingDiverged, match=r"diverged at step \d+: loss .* below 1e\+10") as caught:
        run(net, data, mode="free", learning_rate=1e10, steps=50)
    history = caught.value.history
    assert all(math.isfinite(step.loss) for step in history)
    assert f"step {len(history) + 1}:" in str(caught.value)


def test_a_gradient_that_overflows_stops_training_before_it_reaches_the_parameters(data, monkeypatch):
    net = network()
    gradient = training._gradient

    def overflow(*arguments):
        loss, accuracy, _ = gradient(*arguments)
        return loss, accuracy, math.inf

    monkeypatch.setattr(training, "_gradient", overflow)
    before = [parameter.clone() for parameter in net.parameters()]
    with pytest.raises(ob.TrainingDiverged, match=r"step 1: .* gradient norm inf"):
        run(net, data)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_parameters_beyond_repair_are_a_divergence(data):
    with pytest.raises(ob.TrainingDiverged, match="step 1: parameters that are not finite") as caught:
        run(network(), data, learning_rate=1e39)
    assert caught.value.history == []


def test_a_divergence_comes_back_from_another_process():
    error = pickle.loads(pickle.dumps(ob.TrainingDiverged("diverged at step 2", [1])))
    assert str(error) == "diverged at step 2"
    assert error.history == [1]


def test_batches_visit_every_example_once_a_pass():
    batches = training._batches(10, config(batch_size=3))
    first_pass = torch.cat([next(batches) for _ in range(3)])
    second_pass = torch.cat([next(batches) for _ in range(3)])
    assert len(first_pass.unique()) == len(second_pass.unique()) == 9
    assert not torch.equal(first_pass, second_pass)


def test_evaluate_does_not_depend_on_its_batches(data):
    net = network()
    whole, parts = ob.evaluate(net, data.test), ob.evaluate(net, data.test, batch_size=7)
    logits = net(data.test.images)
    assert whole.accuracy == parts.accuracy == (logits.argmax(-1) == data.test.labels).float().mean().item()
    assert whole.loss == pytest.approx(functional.cross_entropy(logits, data.test.labels).item(), rel=1e-5)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"products": "float16"}, "unknown products 'float16'; allowed: full, bfloat16"),
        ({"segment": 0}, "segment must be .*at least 1"),
        ({"mode": "orthogonal"}, "unknown mode 'orthogonal'; allowed: free, penalised, constrained"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1, got 1.5"),
        ({"batch_size": -1}, "batch_size must be a whole number of at least 1, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be a positive finite number, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive finite number, got nan"),
        ({"penalty": math.inf}, "penalty must be a positive finite number, got inf"),
        ({"learning_rate": "a"}, "learning_rate must be a positive finite number, got 'a'"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
    ],
)
def test_bad_configurations_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_data_that_do_not_fit_are_named_before_any_work(data):
    with pytest.raises(ValueError, match="batch_size must be at most the 300 training examples, got 301"):
        ob.train(network(), data, config(batch_size=301))
    with pytest.raises(ValueError, match=r"needs a Dataset, such as ob\.load returns, got Split"):
        ob.train(network(), data.train, config())
    with pytest.raises(ValueError, match=r"a Split is needed, such as data\.test, got Dataset"):
        ob.evaluate(network(), data)
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        ob.evaluate(network(), data.test, batch_size=0)
    wide = ob.build("linear", depth=1, width=4, inputs=3, classes=CLASSES, device="cpu")
    with pytest.raises(ValueError, match=r"inputs of length 3, got images of shape \(300, 2\)"):
        ob.train(wide, data, config())
    few = ob.build("linear", depth=1, width=4, inputs=2, classes=2, device="cpu")
    with pytest.raises(ValueError, match=r"labels must lie in 0 … 1 for 2 classes, got 0 … 2"):
        ob.train(few, data, config())
    with pytest.raises(ValueError, match=r"labels must lie in 0 … 1 for 2 classes"):
        ob.evaluate(few, data.test)
    double = ob.build("linear", depth=1, width=4, inputs=2, classes=3, device="cpu", dtype=torch.float64)
    with pytest.raises(ValueError, match=r"dtype torch\.float64, got torch\.float32"):
        ob.train(double, data, config())


@pytest.mark.parametrize(
    ("environment", "progress", "shown"), [("", True, True), ("", False, False), ("1", True, False)]
)
def test_progress_bar_shows_and_hides(environment, progress, shown, monkeypatch, capsys):
    monkeypatch.setenv("TQDM_DISABLE", environment)
    net = ob.build("linear", depth=1, width=4, inputs=784, classes=10, device="cpu")
    list(ob.train(net, ob.load("fashion-mnist-small"), ob.TrainingConfig(steps=3), progress=progress))
    assert ("linear, constrained" in capsys.readouterr().err) == shown


def test_a_training_of_another_architecture_is_refused():
    """Though all shapes are the same."""
    data = ob.load("fashion-mnist-small")
    config = ob.TrainingConfig(steps=3, batch_size=8)
    one, other = (
        ob.Training(ob.build(name, depth=2, width=4, inputs=784, classes=10), data, config)
        for name in ("shifted-fold", "absolute")
    )
    next(one)
    with pytest.raises(ValueError, match=r"of a trunk ShiftedFold\(threshold=3\.0\), .* the trunk here is Absolute"):
        other.load_state_dict(one.state_dict())
    state = one.state_dict()
    with pytest.raises(ValueError, match="the saved training has 4 steps, more than 3"):
        one.load_state_dict(state | {"history": state["history"] * 4})


def test_a_caller_s_modes_change_no_training():
    data, config = ob.load("fashion-mnist-small"), ob.TrainingConfig(steps=4, batch_size=8)

    def trained(context):
        net = ob.build("shifted-fold", depth=2, width=4, inputs=784, classes=10)
        with context:
            return [m.loss for m in ob.train(net, data, config, progress=False)], net.trunk["weight"].detach().clone()

    expected = trained(contextlib.nullcontext())
    for context in (torch.no_grad(), torch.inference_mode()):
        losses, weight = trained(context)
        assert losses == expected[0]
        assert torch.equal(weight, expected[1])


def test_what_cannot_be_trained_says_so():
    data, config = ob.load("fashion-mnist-small"), ob.TrainingConfig(steps=4, batch_size=8)
    with torch.inference_mode():
        made_inside = ob.build("linear", depth=2, width=4, inputs=784, classes=10)
    frozen = ob.build("linear", depth=2, width=4, inputs=784, classes=10).requires_grad_(False)
    foreign = torch.nn.Linear(784, 10)
    for net, message in (
        (frozen, "nothing to train: all parameters"),
        (made_inside, r"made in torch\.inference_mode\(\) cannot be trained"),
        (foreign, r"net must be a DeepNetwork, as ob\.build returns, got Linear"),
    ):
        with pytest.raises(ValueError, match=message):
            ob.train(net, data, config)
    with pytest.raises(ValueError, match=r"net must be a DeepNetwork, as ob\.build returns, got Linear"):
        ob.evaluate(foreign, data.test)
