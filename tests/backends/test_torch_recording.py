"""What hooks see of an ordinary loop in PyTorch, and what they leave as it was."""

import re
import time

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import nn

import backproof
from backproof.backends.torch_recording.matching import NotTheCase
from backproof.backends.torch_recording.runs import problem_of
from backproof.cases.reading.load import load
from backproof.report.judging.judge import judge
from tests.support.loops import MSE, STEPS, batches, case, net, plain, recorded, sgd, steps


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return case(tmp_path_factory.mktemp("case") / "mine.yaml")


def hooks_of(model, optimizer) -> int:
    """How many hooks there are on anything."""
    modules = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    parameters = sum(len(w._backward_hooks or ()) for w in model.parameters())
    return modules + parameters + len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def test_every_leaf_module_has_values_and_cotangents(mine):
    model = net()
    run = recorded(plain, model, sgd(model))
    problem = problem_of(run, load(mine))
    found = run.trajectory(problem)
    assert found.scope == "some"
    assert [*found.values] == ["input", "0", "1", "2"]
    assert [*found.cotangents] == ["0", "1", "2"]
    assert all(array.any() for array in found.cotangents.values())
    assert found.values["1"].shape == (STEPS, 8, 4)
    assert not found.values["1"][2, 4:].any()  # behind the short batch
    judgement = judge(problem, found)
    assert (judgement.verdict, judgement.ledger.steps) == ("certified", STEPS)
    assert judgement.message == "not recorded, and followed: 1 of 4 cotangents (input)"
    assert judgement.phases == ("value", "loss", "cotangent", "gradient", "update")


def test_the_loop_is_as_without():
    """The same numbers to the last bit, no hook behind it, and inputs that require nothing."""
    alone, hooked = net(), net()
    plain(alone, sgd(alone))
    optimizer = sgd(hooked)
    recorded(plain, hooked, optimizer)
    assert all(map(torch.equal, alone.parameters(), hooked.parameters()))
    assert hooks_of(hooked, optimizer) == 0
    assert not any(x.requires_grad for x, _ in batches())


def test_hooks_are_gone_where_the_body_raises():
    model, backward = net(), torch.autograd.backward
    optimizer = sgd(model)
    runs = []

    def loop():
        with backproof.record(model, optimizer) as run:
            runs.append(run)
            assert hooks_of(model, optimizer) > 0
            plain(model, optimizer)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert hooks_of(model, optimizer) == 0
    assert torch.autograd.backward is backward
    plain(model, optimizer)
    assert len(runs[0].steps) == STEPS


def test_an_evaluation_is_no_part_of_a_step(mine):
    """In eval mode or not, under no_grad or not: nobody goes back through it."""

    def loop(model, optimizer):
        for x, t in steps():
            optimizer.zero_grad()
            model(2 * x)
            MSE(model(x), t).backward()
            with torch.no_grad():
                model(3 * x)
            optimizer.step()
            model.eval()
            model(4 * x)
            model.train()

    model = net()
    assert backproof.certify_run(recorded(loop, model, sgd(model)), mine).verdict == "certified"


def test_a_closure_is_followed(mine):
    """The gradients are those behind it, where the optimizer takes them."""

    def loop(model, optimizer):
        for x, t in steps():

            def closure(x=x, t=t):
                optimizer.zero_grad()
                loss = MSE(model(x), t)
                loss.backward()
                return loss

            optimizer.step(closure)

    model = net()
    assert backproof.certify_run(recorded(loop, model, sgd(model)), mine).verdict == "certified"


def test_a_scaler_of_gradients(mine):
    """Its factor is in no number on record, and a step that it leaves out is none."""

    def loop(model, optimizer):
        scaler = run.scaler
        for step, (x, t) in enumerate([*[*steps()][:1], *steps()]):
            optimizer.zero_grad()
            loss = scaler.scale(MSE(model(x), t))
            (loss * torch.inf if step == 0 else loss).backward()
            scaler.step(optimizer)
            scaler.update()

    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with backproof.record(model, optimizer, scaler=scaler, loss=MSE) as run:
        loop(model, optimizer)
    assert scaler.get_scale() == 2.0**9
    assert backproof.certify_run(run, mine).verdict == "certified"


class Other(nn.Module):
    """The same network in other words: a function, and names that tell nothing."""

    def __init__(self, layers):
        super().__init__()
        self.last, self.first = layers[2], layers[0]

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)))


def test_modules_are_matched_in_the_order_of_the_forward_pass(mine):
    """What is a function is followed."""
    model = Other(net())
    judgement = backproof.certify_run(recorded(plain, model, sgd(model)), mine)
    assert "followed: 2 of 4 cotangents (input, 1), 1 of 4 values (1)" in judgement.message


class Bare(nn.Module):
    """Parameters without modules."""

    def __init__(self, layers):
        super().__init__()
        self.w1, self.b1, self.w2, self.b2 = layers.parameters()

    def forward(self, x):
        return F.linear(F.linear(x, self.w1, self.b1).tanh(), self.w2, self.b2)


def test_bare_parameters_are_matched_by_names(mine):
    model = Bare(net())
    run = recorded(plain, model, sgd(model))
    with pytest.raises(backproof.NotCertified, match=r"no module is found that has 0.weight"):
        backproof.certify_run(run, mine)
    names = {"w1": "0.weight", "b1": "0.bias", "w2": "2.weight", "b2": "2.bias", "": "2"}
    judgement = backproof.certify_run(run, mine, names=names)
    assert "followed: 3 of 4 cotangents (input, 0, 1), 2 of 4 values (0, 1)" in judgement.message


def test_calls_outside_of_the_model_are_one_pass(mine):
    """As Lightning calls a part of its module; what it saw has no cotangent then."""

    def loop(model, optimizer):
        for x, t in steps():
            optimizer.zero_grad()
            MSE(model[2](model[1](model[0](x))), t).backward()
            optimizer.step()

    model = net()
    judgement = backproof.certify_run(recorded(loop, model, sgd(model)), mine)
    assert "followed: 1 of 4 cotangents (input)" in judgement.message


def test_a_file_is_judged_like_the_run(mine, tmp_path):
    model = net()
    run = recorded(plain, model, sgd(model))
    run.save(tmp_path / "x.safetensors", mine)
    from_file = backproof.certify_run(tmp_path / "x.safetensors", mine)
    assert from_file.ledger == backproof.certify_run(run, mine).ledger


def frozen(model, optimizer):
    model[0].requires_grad_(False)
    plain(model, optimizer)


def longer(model, optimizer):
    plain(model, optimizer)
    plain(model, optimizer)


def shorter_batches(model, optimizer):
    for x, t in steps():
        optimizer.zero_grad()
        MSE(model(x[1:]), t[1:]).backward()
        optimizer.step()


def twice(model, optimizer):
    for x, t in [*steps()][:5]:
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        optimizer.step()
        optimizer.step()


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (frozen, "gradient of 0.weight at .*found 0.0"),
        (longer, "the case has 9 steps, the loop made 18"),
        (shorter_batches, "step 0: its batch has 8 samples; the loop saw 7"),
        (twice, "the case has 9 steps, the loop made 10"),
        (lambda *_: None, "the case has 9 steps, the loop made 0"),
    ],
)
def test_another_loop_is_refused(mine, loop, message):
    model = net()
    with pytest.raises(backproof.NotCertified, match=message):
        backproof.certify_run(recorded(loop, model, sgd(model)), mine)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"7": "0"}, "the model has no module or parameter '7'"),
        ({"0": "one"}, "the case has no layer or parameter 'one'"),
    ],
)
def test_names_must_be_there(mine, names, message):
    model = net()
    with pytest.raises(backproof.NotCertified, match=message):
        backproof.certify_run(recorded(plain, model, sgd(model)), mine, names=names)


def test_another_dtype_is_refused(mine):
    model = net().float()
    run = recorded(lambda *_: None, model, sgd(model))
    with pytest.raises(NotTheCase, match=r"a case in float64; the model's parameters are of float32"):
        problem_of(run, load(mine))


def test_a_scheduler_of_another_optimizer_is_refused():
    model = net()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(sgd(model), 0.9)
    with pytest.raises(ValueError, match="of another optimizer"), backproof.record(model, sgd(model), scheduler):
        pass


def test_recording_costs_little():
    """About as much again as the bare loop; with a margin for a busy machine, whose fresh memory is dear."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer, loss = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    x, t = torch.randn(64, 64), torch.randint(0, 10, (64,))

    def seconds(steps: int = 40) -> float:
        start = time.process_time()
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x), t).backward()
            optimizer.step()
        return time.process_time() - start

    def hooked() -> float:
        with backproof.record(model, optimizer):
            return seconds()

    seconds()
    bare, with_hooks = (min(take() for _ in range(5)) for take in (seconds, hooked))
    assert with_hooks < 5 * bare


def test_masks_that_the_case_draws_are_those_of_the_loop(tmp_path):
    """Each loop draws its own; but a file is judged with the masks of the case."""
    path = case(tmp_path / "drop.yaml", net(rate=0.4))
    text = re.sub(r"    mask: .*?\n(?=-|parameters)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    path.write_text(text + "random: {generator: pcg64, seed: 1}\n", encoding="utf-8")
    model = net(rate=0.4)
    run = recorded(plain, model, sgd(model))
    assert backproof.certify_run(run, path).verdict == "certified"
    with pytest.raises(NotTheCase, match=r"2.mask is drawn anew by the case; a file is judged with the masks"):
        run.save(tmp_path / "x.safetensors", path)
    other = net(rate=0.4).eval()
    with pytest.raises(backproof.NotCertified, match=r"2 \(Dropout\) was in eval mode"):
        backproof.certify_run(recorded(plain, other, sgd(other)), path)


class Trainer:
    """What the callback needs of one of Lightning's."""

    def __init__(self, optimizers):
        self.optimizers = optimizers


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()


def test_the_callback_hooks_a_part_and_lets_go(mine):
    """As Lightning calls it; `docs/training-loops.md` has it under the real trainer."""
    whole, recorder = Whole(), backproof.LightningRecorder("net", loss=MSE)
    optimizer = sgd(whole)
    recorder.on_train_start(Trainer([optimizer]), whole)
    plain(whole.net, optimizer)
    recorder.on_train_end(Trainer([optimizer]), whole)
    assert hooks_of(whole, optimizer) == 0
    assert backproof.certify_run(recorder.run, mine).verdict == "certified"
    recorder.on_train_start(Trainer([optimizer]), whole)
    recorder.on_exception(Trainer([optimizer]), whole, ZeroDivisionError())
    assert hooks_of(whole, optimizer) == 0


def test_the_callback_records_one_optimizer():
    whole = Whole()
    with pytest.raises(ValueError, match="one optimizer is recorded; the trainer has 2"):
        backproof.LightningRecorder().on_train_start(Trainer([sgd(whole), sgd(whole)]), whole)


def test_without_torch_the_front_door_says_what_it_has():
    assert {"record", "certify_run", "certify_training", "LightningRecorder"} <= {*dir(backproof)}


def bug_at(number: int):
    """A loop that forgets to reset the gradients before one step."""

    def loop(model, optimizer):
        for step, (x, t) in enumerate(steps()):
            if step != number:
                optimizer.zero_grad()
            MSE(model(x), t).backward()
            optimizer.step()

    return loop


@pytest.mark.parametrize("optimizer", [sgd, lambda model: torch.optim.Adam(model.parameters(), lr=0.01)])
def test_some_steps_are_recorded_and_judged(tmp_path, optimizer):
    """A mistake between them is not seen; they are where they are, and their state is as it was then."""
    mine = case(tmp_path / "mine.yaml", model := net(), optimizer(model))
    run = recorded(plain, model := net(), optimizer(model), every=4)
    problem, found = run.of(load(mine), {})
    assert found.steps.tolist() == problem.recorded.tolist() == [0, 4, 8]
    judgement = judge(problem, found)
    assert (judgement.verdict, judgement.ledger.steps) == ("certified", 3), judgement.message
    between = recorded(bug_at(5), model := net(), optimizer(model), every=4)
    assert judge(*between.of(load(mine), {})).verdict == "certified"
    wrong = judge(*recorded(bug_at(4), model := net(), optimizer(model), every=4).of(load(mine), {}))
    assert (wrong.verdict, wrong.where.step, wrong.where.phase) == ("differs", 4, "gradient")


def test_a_last_step_that_is_not_recorded_leaves_nothing_of_the_end(mine, tmp_path):
    model = net()
    run = recorded(plain, model, sgd(model), every=5)
    problem, found = run.of(load(mine), {})
    assert found.steps.tolist() == [0, 5]
    assert (found.final_values, found.final_loss) == ({}, None)
    judgement = judge(problem, found)
    assert judgement.verdict == "certified"
    assert "not recorded, so not judged: final values, the final loss" in judgement.message
    with pytest.raises(NotTheCase, match="the loop was recorded at every 5th update; a file holds the steps that the"):
        run.save(tmp_path / "x.safetensors", mine)


def test_every_is_a_number_of_updates():
    model = net()
    with pytest.raises(ValueError, match="every: expected 1 or more updates, found 0"):
        backproof.record(model, sgd(model), every=0)
