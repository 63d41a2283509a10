"""Loops that a hook could disturb, mistake or miss: what runs bare runs recorded, and nothing slips past."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812, the name everyone uses
from torch import nn
from torch.utils.checkpoint import checkpoint

import backproof
from backproof.cases.reading.load import load
from tests.support.loops import MSE, STEPS, batches, case, net, plain, recorded, sgd, steps


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return case(tmp_path_factory.mktemp("case") / "mine.yaml")


@pytest.fixture(scope="module")
def adams(tmp_path_factory):
    return case(tmp_path_factory.mktemp("case") / "adam.yaml", model := net(), adam(model))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The case of a dropout whose masks the case draws itself."""
    path = tmp_path_factory.mktemp("case") / "drawn.yaml"
    text = case(path, net(rate=0.5)).read_text(encoding="utf-8")
    whole, _, rest = text.partition("    mask: ")
    path.write_text(f"random: {{generator: pcg64, seed: 1}}\n{whole}{rest[rest.index('- dense') :]}", encoding="utf-8")
    return path


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=0.01)


def each(one):
    """A loop that treats every batch alike."""

    def loop(model, optimizer):
        for number, (x, t) in enumerate(steps()):
            one(number, model, optimizer, x, t)

    return loop


def step(model, optimizer, x, t):
    optimizer.zero_grad()
    MSE(model(x), t).backward()
    optimizer.step()


class Around(nn.Sequential):
    """The same network, whose modules keep their names."""

    def __init__(self):
        super().__init__(*net())


def refused(run, case) -> str:
    with pytest.raises(backproof.NotCertified) as found:
        backproof.certify_run(run, case)
    return str(found.value)


# ---------------------------------------------------------------- what is not judged


def test_a_trained_parameter_without_a_place_in_the_case_is_named(mine):
    model = Around()
    model.register_parameter("gate", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    run = recorded(plain, model, sgd(model))
    assert "the model trains gate (3,), which has no place in the case" in refused(run, mine)
    model = Around()
    model.register_parameter("gate", nn.Parameter(torch.ones(3, dtype=torch.float64), requires_grad=False))
    assert backproof.certify_run(recorded(plain, model, sgd(model)), mine).verdict == "certified"


def test_what_changes_behind_the_last_step_is_told(mine, tmp_path):
    def loop(model, optimizer):
        plain(model, optimizer)
        with torch.no_grad():
            model[0].weight.add_(1)

    run = recorded(loop, model := net(), sgd(model))
    assert "something changed 0.weight behind the last step" in refused(run, mine)
    with pytest.raises(ValueError, match=r"something changed 0.weight behind the last step"):
        run.save(tmp_path / "x.safetensors", mine)


def test_notes_stand_behind_a_certified_verdict_too(mine):
    run = recorded(plain, model := net(), sgd(model))
    run.note("something odd", 2)
    assert backproof.certify_run(run, mine).message.endswith("; step 2: something odd")


def test_a_rate_other_than_that_of_the_case_is_named(mine):
    def one(_, model, optimizer, x, t):
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        for w in model.parameters():
            w.data.add_(w.grad, alpha=-0.05)  # half of the update by hand, which leaves no trace
        optimizer.step()

    model = net()
    run = recorded(each(one), model, torch.optim.SGD(model.parameters(), lr=0.05))
    assert "step 0: the case's learning rate is 0.1, the optimizer's is 0.05" in refused(run, mine)


# ---------------------------------------------------------------- nothing of the loop is changed


class Running(Around):
    """Keeps what it sees, as NumPy and as a mean whose graph would grow."""

    def __init__(self):
        super().__init__()
        self.mean, self.seen = torch.zeros(3, dtype=torch.float64), []

    def forward(self, x):
        self.seen.append((x.numpy(), x.requires_grad))
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return super().forward(x + 0 * self.mean)


def test_what_the_model_is_given_is_left_as_it_is(mine):
    model = Running()
    judgement = backproof.certify_run(recorded(plain, model, sgd(model)), mine)
    assert not any(requires for _, requires in model.seen)
    assert judgement.lacks == ("cotangents/input",)


def test_an_input_that_requires_a_gradient_has_its_cotangent_and_no_hook_behind(mine):
    inputs = []

    def one(_, model, optimizer, x, t):
        inputs.append(x.clone().requires_grad_())
        step(model, optimizer, inputs[-1], t)

    run = recorded(each(one), model := net(), sgd(model))
    judgement = backproof.certify_run(run, mine)
    assert (judgement.verdict, judgement.scope) == ("certified", "layers")
    assert not any(x._backward_hooks for x in inputs)


def test_an_input_that_requires_one_at_some_steps_is_followed(mine):
    def one(number, model, optimizer, x, t):
        step(model, optimizer, x.clone().requires_grad_(number % 2 == 0), t)

    judgement = backproof.certify_run(recorded(each(one), model := net(), sgd(model)), mine)
    assert judgement.lacks == ("cotangents/input",)


# ---------------------------------------------------------------- ways to go back


def of_autograd(_, model, optimizer, x, t):
    optimizer.zero_grad()
    found = torch.autograd.grad(MSE(model(x), t), [*model.parameters()])
    for w, gradient in zip(model.parameters(), found, strict=True):
        w.grad = gradient
    optimizer.step()


def of_some_inputs(_, model, optimizer, x, t):
    optimizer.zero_grad()
    MSE(model(x), t).backward(inputs=[*model.parameters()])
    optimizer.step()


@pytest.mark.parametrize("one", [of_autograd, of_some_inputs])
def test_what_autograd_was_not_asked_for_is_followed(mine, one):
    """The derivative of the model's input, and where the first layer is frozen, of its value."""

    def with_input(number, model, optimizer, x, t):
        one(number, model, optimizer, x.clone().requires_grad_(), t)

    run = recorded(each(with_input), model := net(), sgd(model))
    judgement = backproof.certify_run(run, mine)
    assert "cotangents/input" in judgement.lacks


def test_a_parameter_without_a_gradient_has_zeros_all_the_same(mine):
    def one(_, model, optimizer, x, t):
        optimizer.zero_grad()
        MSE(model(x), t).backward(inputs=[w for path, w in model.named_parameters() if path != "0.bias"])
        optimizer.step()

    run = recorded(each(one), model := net(), sgd(model))
    assert "step 0, gradient of 0.bias at [0]: found 0.0" in refused(run, mine)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_second_model_beside_is_not_in_the_loss(mine, is_first):
    other = nn.Linear(3, 2).double()

    def one(_, model, optimizer, x, t):
        optimizer.zero_grad()
        output = model(x)
        losses = [MSE(other(x), t), MSE(output, t)]
        for loss in losses if is_first else reversed(losses):
            loss.backward()
        optimizer.step()

    judgement = backproof.certify_run(recorded(each(one), model := net(), sgd(model)), mine)
    assert (judgement.verdict, judgement.lacks) == ("certified", ("cotangents/input",))


def test_a_penalty_may_go_back_by_itself(mine, tmp_path):
    """It comes by no value, but leaves gradients, and is a part of the loss."""
    path, text = tmp_path / "penalty.yaml", mine.read_text(encoding="utf-8")
    penalty = "penalties: [l2: {coefficient: 0.01, parameters: ['0.weight', '2.weight']}]\ntraining:"
    path.write_text(text.replace("training:", penalty), encoding="utf-8")

    def one(_, model, optimizer, x, t):
        optimizer.zero_grad()
        MSE(model(x), t).backward()
        (0.01 * sum(layer.weight.square().sum() for layer in (model[0], model[2]))).backward()
        optimizer.step()

    run = recorded(each(one), model := net(), sgd(model))
    assert backproof.certify_run(run, path).verdict == "certified"


class Checkpointed(Around):
    is_reentrant = True

    def forward(self, x):
        return self[2](checkpoint(lambda x: self[1](self[0](x)), x, use_reentrant=self.is_reentrant))


@pytest.mark.parametrize("is_reentrant", [True, False])
def test_a_checkpoint_computes_anew_what_is_no_other_pass(mine, is_reentrant):
    """A reentrant one keeps no graph: the cotangents within it are followed."""
    model = Checkpointed()
    model.is_reentrant = is_reentrant

    def one(_, model, optimizer, x, t):
        step(model, optimizer, x.clone().requires_grad_(), t)

    judgement = backproof.certify_run(recorded(each(one), model, sgd(model)), mine)
    assert ("cotangents/1" in judgement.lacks) == is_reentrant


def test_passes_that_nobody_can_go_back_through_are_dropped():
    model = net()
    x, _ = next(steps())
    with backproof.record(model, sgd(model)) as run:
        for _ in range(5):
            model(x)
        kept = [model(x).sum() for _ in range(3)]  # the outputs are gone, the graphs are not
        model(x)
        assert len(run._step.passes) == len(kept) + 1


# ---------------------------------------------------------------- optimizers, scalers


class Mine(torch.optim.Optimizer):
    """Adam under names of one's own."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, _=None):
        for w in self.param_groups[0]["params"]:
            state = self.state[w]
            if not state:
                state.update(n=0, m=torch.zeros_like(w), v=torch.zeros_like(w))
            state["n"] += 1
            state["m"].lerp_(w.grad, 0.1)
            state["v"].mul_(0.999).addcmul_(w.grad, w.grad, value=0.001)
            mean, square = (state[name] / (1 - decay ** state["n"]) for name, decay in (("m", 0.9), ("v", 0.999)))
            w.addcdiv_(mean, square.sqrt() + 1e-8, value=-0.01)


def test_a_state_under_other_names_is_followed(adams):
    run = recorded(plain, model := net(), Mine(model.parameters()))
    message = backproof.certify_run(run, adams).message
    assert "the state is not recorded: it is followed from the start" in message
    assert "the optimizer keeps no 'exp_avg' of its parameters: what it remembers is followed" in message


def test_a_state_wider_than_its_parameter_is_followed(tmp_path):
    """Rounded, it would be judged as what it is not."""

    class Wide(torch.optim.SGD):
        """A momentum in float32, whatever the parameters are."""

        @torch.no_grad()
        def step(self, _=None):
            for w in self.param_groups[0]["params"]:
                velocity = self.state[w].setdefault("momentum_buffer", torch.zeros_like(w, dtype=torch.float32))
                velocity.mul_(0.9).add_(w.grad)
                w.sub_((0.1 * velocity).to(w))

    def loop(model, optimizer):
        for x, t in steps():
            step(model, optimizer, x.bfloat16(), t.bfloat16())

    def case_of(path):
        model, half = net().bfloat16(), [(x.bfloat16(), t.bfloat16()) for x, t in batches()]
        backproof.certify_training(model, MSE, sgd(model, momentum=0.9), half, STEPS, path=path)
        return path

    run = recorded(loop, model := net().bfloat16(), Wide(model.parameters(), lr=0.1))
    _, found = run.of(load(case_of(tmp_path / "mine.yaml")), {})
    assert not found.state_before
    assert any("keeps 'momentum_buffer' in float32" in words for words in run.notes)


def test_a_state_that_is_lost_is_still_wrong(adams):
    def one(number, model, optimizer, x, t):
        step(model, optimizer, x, t)
        if number == 2:
            optimizer.state.clear()

    run = recorded(each(one), model := net(), adam(model))
    assert "step 3, " in refused(run, adams)


def test_a_scaler_that_is_not_handed_over_is_named(mine):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def one(_, model, optimizer, x, t):
        optimizer.zero_grad()
        scaler.scale(MSE(model(x), t)).backward()
        scaler.step(optimizer)
        scaler.update()

    message = refused(recorded(each(one), model := net(), sgd(model)), mine)
    assert "the gradients were divided by 1024 before the update: a scaler of gradients is given as" in message


def test_a_closure_that_is_called_twice_is_told(mine):
    def one(_, model, optimizer, x, t):
        def closure():
            optimizer.zero_grad()
            loss = MSE(model(x), t)
            loss.backward()
            return loss

        optimizer.step(closure)

    model = net()
    run = recorded(each(one), model, torch.optim.LBFGS(model.parameters(), max_iter=2))
    assert "a closure that is called more than once is not recorded" in refused(run, mine)


# ---------------------------------------------------------------- masks


class Dropout(nn.Dropout):
    """A dropout of one's own, whose mask is `draw(x)`."""

    def __init__(self, draw):
        super().__init__(0.5)
        self.draw = draw

    def forward(self, x):
        return x * self.draw(x) * 2 if self.training else x


def dropping(draw):
    model = net(rate=0.5)
    model[2] = Dropout(draw)
    return model


DRAWS = {
    "one mask for all samples of a batch": lambda x: (torch.rand(x.shape[1]) < 0.5).to(x),
    "the loop's masks keep 240 of 240 elements; by the case's rate 0.5 it is 120, give": torch.ones_like,
    "the same mask at every step": lambda x: torch.tensor([[0, 1, 1, 0], [1, 0, 1, 0]] * 4).to(x)[: len(x)],
}


@pytest.mark.parametrize("told", DRAWS)
def test_masks_that_are_no_draws_are_refused(drawn, told):
    model = dropping(DRAWS[told])
    assert told in refused(recorded(plain, model, sgd(model)), drawn)


def test_masks_that_are_draws_are_believed_and_told(drawn):
    model = dropping(lambda x: (torch.rand_like(x) < 0.5).to(x))
    message = backproof.certify_run(recorded(plain, model, sgd(model)), drawn).message
    assert "the masks of 2 are those that the loop drew" in message


def test_a_mask_at_zeros_of_the_input_is_no_draw_that_counts(tmp_path):
    """Whether a zero was kept nobody can tell, so that it is in no count."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)).double()
    sparse = [(x * (x > 1), t) for x, t in batches()]
    path = tmp_path / "sparse.yaml"
    backproof.certify_training(model, MSE, sgd(model), sparse, STEPS, path=path)
    whole, _, rest = path.read_text(encoding="utf-8").partition("    mask: ")
    path.write_text(f"random: {{generator: pcg64, seed: 1}}\n{whole}{rest[rest.index('- dense') :]}", encoding="utf-8")

    def loop(model, optimizer):
        for number in range(STEPS):
            step(model, optimizer, *sparse[number % len(sparse)])

    assert backproof.certify_run(recorded(loop, model, sgd(model)), path).verdict == "certified"


# ---------------------------------------------------------------- the end


class Odd(Around):
    """Draws numbers, counts its calls in a buffer, and may go another way in eval mode."""

    def __init__(self, *, other=None):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.aside, self.other = nn.Identity(), other

    def forward(self, x):
        self.calls += 1
        torch.rand(1)
        if self.other and not self.training:
            return self.other(self, x)
        return self[2](self[1](self[0](x)))


def fails(*_):
    raise KeyError("not in eval mode")


def aside(model, x):
    return model[2](model[1](model[0](model.aside(x))))


def test_the_end_leaves_the_model_as_it_was(mine):
    run = recorded(plain, model := Odd(), sgd(model))
    random, calls = torch.get_rng_state(), model.calls.clone()
    assert backproof.certify_run(run, mine).lacks == ("cotangents/input",)
    assert torch.get_rng_state().equal(random)
    assert model.calls.equal(calls)
    assert model.training


@pytest.mark.parametrize(
    ("other", "why"),
    [(fails, "KeyError: 'not in eval mode'"), (aside, "in eval mode the model calls other modules")],
)
def test_final_values_that_are_not_there_are_told(mine, other, why):
    judgement = backproof.certify_run(recorded(plain, model := Odd(other=other), sgd(model)), mine)
    assert "not recorded, so not judged: final values, the final loss" in judgement.message
    assert f"final values were not taken: {why}" in judgement.message


def test_a_loss_that_raises_is_told_with_its_line(mine):
    run = recorded(plain, model := net(), sgd(model))
    run.loss = lambda output, targets: F.mse_loss(output, targets, reduction="none such")
    message = refused(run, mine)
    assert "loss: ValueError: none such is not a valid value for reduction" in message
    assert "test_torch_recording_loops.py, line " in message
    run.loss = lambda output, targets: F.mse_loss(output, targets).item()
    assert backproof.certify_run(run, mine).lacks == ("cotangents/input",)
    run.loss = lambda output, _: output
    assert "loss: expected one number, found Tensor of shape (20, 2)" in refused(run, mine)


# ---------------------------------------------------------------- words


def test_what_is_no_run_and_no_names_is_told(mine):
    run = recorded(plain, model := net(), sgd(model))
    assert "run: expected what `record` gave, or the path of a file; found None" in refused(None, mine)
    for names in (5, "ab", {"0": 5}, {"0": ["a"]}):
        with pytest.raises(backproof.NotCertified, match="names: expected the case's names by module path"):
            backproof.certify_run(run, mine, names=names)
    with pytest.raises(backproof.NotCertified, match="0 and 2 would both be the layer 2"):
        backproof.certify_run(run, mine, names={"0": "2"})


def test_what_is_no_model_and_no_optimizer_is_told():
    with pytest.raises(ValueError, match=r"the model: expected a torch.nn.Module, found None"):
        backproof.record(None, None)
    with pytest.raises(ValueError, match=r"the optimizer: expected one of torch.optim, found None"):
        backproof.record(net(), None)
