"""Records an ordinary training loop in PyTorch, by hooks alone: nothing of the loop is changed.

A *step* is what lies between two updates: one forward pass or several (gradient accumulation), each
with a backward pass. A forward pass that nobody goes back through, as in an evaluation, is none of
a step. Within a pass every call of a module without children is recorded in its order.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import count
from types import MappingProxyType
from typing import Any
from unittest.mock import patch
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from backproof.backends.torch_recording import runs
from backproof.backends.torch_recording.comparing import divided_by, mask_of, unequal, versions
from backproof.backends.torch_recording.steps import Call, Copies, Loop, Pass, Step

EMPTY: Mapping[str, Tensor] = MappingProxyType({})
COUNTS = ("step", "mu", "eta")  # of updates, and what depends on these alone


class Recording(Loop):
    """A loop that is recorded while `hooked` is open; `certify_run` judges it."""

    def __init__(
        self, model: nn.Module, optimizer, scheduler=None, scaler=None, loss=None, every: int = 1
    ):
        if not isinstance(model, nn.Module):
            raise ValueError(f"the model: expected a torch.nn.Module, found {model!r}")
        if not hasattr(optimizer, "register_step_pre_hook"):
            raise ValueError(f"the optimizer: expected one of torch.optim, found {optimizer!r}")
        if every < 1:
            raise ValueError(f"every: expected 1 or more updates, found {every}")
        if scheduler is not None and getattr(scheduler, "optimizer", optimizer) is not optimizer:
            raise ValueError("the scheduler is one of another optimizer than the one given")
        super().__init__(model, optimizer, scheduler, scaler, loss, every)
        self._step = Step()
        self._pass: Pass | None = None  # the forward pass of the model that is under way
        self._loose: Pass | None = None  # calls of modules outside of one
        self._scale, self._is_open = 1.0, False
        self._versions: dict[str, list] = {}  # of what was copied last
        self._is_back, self._reached = False, list[Pass]()  # in a backward pass, and by it
        self._on_leaves: list[Any] = []  # handles of hooks on tensors that outlive a graph
        self._paths = {w: path for path, w in model.named_parameters()}

    def __repr__(self) -> str:
        return f"a recording of {len(self.steps)} steps of {type(self.model).__name__}"

    # ------------------------------------------------------------ hooks

    @contextmanager
    def hooked(self) -> Iterator[Recording]:
        """Record what happens meanwhile; every hook is gone at the end, however it comes."""
        start = time.perf_counter()
        with ExitStack() as hooks:
            for handle in self._hooks():
                hooks.callback(handle.remove)
            hooks.enter_context(self._told_of_backward())
            self._is_open = True
            try:
                yield self
                self._look_behind()
            finally:
                self._is_open, self._step, self._pass, self._loose = False, Step(), None, None
                self.seconds += time.perf_counter() - start
                for handle in self._on_leaves:
                    handle.remove()
                self._on_leaves.clear()

    def _look_behind(self) -> None:
        """Tell a parameter that is not what the last update has left."""
        if self.steps and self.steps[-1].after:
            path = unequal(self.steps[-1].after, self._parameters(self.steps[-1].after))
            why = "what is meant is done behind the `with`"
            self.behind = path and f"something changed {path} behind the last step: {why}"

    def _hooks(self) -> Iterator[Any]:
        """Hook everything, and yield the handles."""
        yield self.model.register_forward_pre_hook(self._enter, with_kwargs=True)
        for path, module in self.model.named_modules():
            if not any(True for _ in module.children()):
                yield module.register_forward_hook(partial(self._call, path))
        yield self.model.register_forward_hook(self._leave, always_call=True)
        yield self.optimizer.register_step_pre_hook(self._before_update)
        yield self.optimizer.register_step_post_hook(self._after_update)

    @property
    def _is_idle(self) -> bool:
        """Whether the update that is under way is one between those that are recorded."""
        return len(self.steps) % self.every != 0

    # ------------------------------------------------------------ the forward pass

    def _enter(self, _: nn.Module, args: tuple, kwargs: dict) -> None:
        """Begin a forward pass; what the model takes is left as it is."""
        if self._is_idle or not torch.is_grad_enabled():
            return
        x = next((one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None)
        if x is None:
            self._pass = self._begun(None)
            return
        seen = Call("input", self.model, x.detach().clone(), is_watched=x.requires_grad)
        self._pass = self._begun(seen)
        if x.requires_grad:
            self._watch(x, seen, self._pass)
            self._pass.hooks.clear()  # the user's own tensor lives on

    def _begun(self, seen: Call | None) -> Pass:
        """Add a forward pass to the step; before the first one the parameters are copied."""
        if self.scaler is not None:
            self._forget_a_skipped_step()
        if not self._step.before:
            left = self.steps[-1].after if self.steps else {}
            self._step.before = self._parameters(left)
            self._changed(left, self._step.before, "between two steps")
            self._versions["parameters"] = versions(self._paths)
        alive = [one for one in self._step.passes if one.is_used or any(of() for of in one.hooks)]
        self._loose = self._loose if self._loose in alive else None
        self._step.passes = [*alive, Pass(seen)]
        return self._step.passes[-1]

    def _forget_a_skipped_step(self) -> None:
        """Begin anew where the scaler has left a step out, whose gradients were infinite."""
        scale = self.scaler.get_scale()
        if scale < self._scale:
            self._step = Step()
        self._scale = scale

    def _call(self, path: str, module: nn.Module, args: tuple, value: Any) -> Tensor | None:
        """Record the value of a module, and look out for its cotangent."""
        if self._is_idle or not isinstance(value, Tensor):
            return None
        if self._is_back or not (self._pass or torch.is_grad_enabled()):
            return None
        if self._pass is None and self._loose is None:
            x = args[0].detach().clone() if args and isinstance(args[0], Tensor) else None
            seen = None if x is None else Call("input", self.model, x, is_watched=False)
            self._loose = self._begun(seen)
        here = self._pass or self._loose
        self._changed_in_place(here, args, value)
        is_same = any(value is one for one in args) and not getattr(module, "inplace", False)
        if is_same and value.requires_grad and torch.is_grad_enabled():
            value = value.view_as(value)  # a tensor of its own, whose cotangent is its own
        call = Call(path, module, value.detach().clone(), mask=mask_of(module, args, value))
        call.is_watched = value.requires_grad
        here.calls.append(call)
        here.left[id(value)] = ref(value), value._version, call  # noqa: SLF001, it has no other name
        if value.requires_grad:
            self._watch(value, call, here)
        return value

    def _watch(self, value: Tensor, call: Call, where: Pass) -> None:
        """Add up what comes back to a value."""

        def came_back(cotangent: Tensor) -> None:
            if self._is_open:
                self._reach(where)
                new = cotangent.detach() if self.scaler is None else self._unscaled(cotangent)
                call.cotangent = new if call.cotangent is None else call.cotangent + new

        self._hook(value, came_back, where)

    def _hook(self, value: Tensor, hook: Callable[[Tensor], None], where: Pass) -> None:
        """Hook a value: with its graph the hook goes, and on a leaf at the end of the recording."""
        handle = value.register_hook(hook)
        if value.is_leaf:
            self._on_leaves.append(handle)
        else:
            where.hooks.append(ref(hook))

    def _reach(self, where: Pass) -> None:
        """Note that a derivative came back through a forward pass."""
        where.is_used, self._loose = True, None
        self._reached.append(where)

    def _leave(self, _: nn.Module, __: tuple, output: Any) -> None:
        """End a forward pass; who goes back through it comes by its output."""
        here, self._pass = self._pass, None
        for one in tree_leaves(output) if here else ():
            if isinstance(one, Tensor) and one.requires_grad:

                def reached(_: Tensor, here: Pass = here) -> None:
                    if self._is_open:
                        self._reach(here)

                self._hook(one, reached, here)

    # ------------------------------------------------------------ the backward pass

    @contextmanager
    def _told_of_backward(self) -> Iterator[None]:
        """Hear of each backward pass what it began at, for which torch has no hook."""
        backward = torch.autograd.backward  # `Tensor.backward` calls it as well
        names = [*inspect.signature(backward).parameters]

        @wraps(backward)
        def told(*args: Any, **kwargs: Any) -> None:
            if self._is_back:  # of a part that is computed anew, as by a checkpoint
                backward(*args, **kwargs)
                return
            self._is_back, self._reached = True, []
            before = versions(self._gradients().values())
            try:
                backward(*args, **kwargs)
            finally:
                self._is_back = False
            if self._reached or before != versions(self._gradients().values()):
                given = dict(zip(names, args, strict=False)) | kwargs
                self._went_back(given["tensors"], is_whole=given.get("inputs") is None)

        with patch.object(torch.autograd, "backward", told):
            yield

    def _went_back(self, roots: Tensor | Sequence[Tensor], *, is_whole: bool) -> None:
        """Take what was gone back from for a part of the loss, and the gradients that it left."""
        if self._is_idle:
            return
        for one in self._reached:
            one.is_whole |= is_whole
        for root in (roots,) if isinstance(roots, Tensor) else roots:
            if root.numel() == 1:
                self._step.losses.append(self._unscaled(root))
        gradients = self._gradients()
        if self.scaler is not None:
            gradients = {path: self._unscaled(gradient) for path, gradient in gradients.items()}
        self._step.raw = Copies(gradients)

    def _gradients(self) -> dict[str, Tensor]:
        return {path: w.grad for w, path in self._paths.items() if w.grad is not None}

    def _unscaled(self, tensor: Tensor) -> Tensor:
        """Copy a tensor, without the factor of a scaler of gradients."""
        tensor = tensor.detach()
        return tensor.clone() if self.scaler is None else tensor / self.scaler.get_scale()

    # ------------------------------------------------------------ the update

    def _before_update(self, _: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """Take what the update is made of; of a closure behind it, which makes the gradients."""
        if self._is_idle:
            return None
        optimizer, *rest = args
        closure = rest[0] if rest else kwargs.get("closure")
        if closure is None:
            self._take()
            return None

        calls = count()

        def followed() -> Any:
            if next(calls):
                self.why_not.append("a closure that is called more than once is not recorded")
            found = closure()
            self._take()
            return found

        rest, kwargs = ([followed], kwargs) if rest else (rest, kwargs | {"closure": followed})
        return (optimizer, *rest), kwargs

    def _take(self) -> None:
        """Keep the gradients, the state and the learning rates; what nobody wrote into is there."""
        step = self._step
        if not step.before:
            step.before = self._parameters()
        elif self._versions["parameters"] != versions(self._paths):
            now = self._parameters(step.before)
            self._changed(step.before, now, "between the forward pass and the update")
        gradients = self._gradients()
        step.used = Copies.of(gradients, step.raw)
        if self.scaler is None and (factor := divided_by(step.raw, step.used)) > 1:
            words = f"the gradients were divided by {factor:g} before the update"
            self.note(f"{words}: a scaler of gradients is given as `scaler=`", len(self.steps))
        state = self._remembered()
        is_left = self.steps and self._versions.get("state") == versions(state.values())
        step.state_before = self.steps[-1].state_after if is_left else Copies(state)
        step.remembered = self._begun_states(), frozenset()
        step.rates = [float(one["lr"]) for one in self.optimizer.param_groups if "lr" in one]

    def _after_update(self, *_: Any) -> None:
        """Finish the step, without the forward passes that nobody went back through."""
        step = self._step
        if self._is_idle:
            self.steps.append(Step())
            self._versions = {}
            return
        step.passes = [one for one in step.passes if one.is_used]
        state = self._remembered()
        for call in (call for one in step.passes if not one.is_whole for call in one.seen_calls()):
            call.is_watched = call.cotangent is not None
        step.after, step.state_after = self._parameters(), Copies(state)
        step.remembered = step.remembered[0], self._begun_states()
        self._versions = {"state": versions(state.values())}
        self._odd_passes(step.passes)
        self.steps.append(step)
        self._step, self._loose = Step(), None

    def _parameters(self, earlier: Mapping[str, Tensor] = EMPTY) -> Copies:
        """Copy the parameters, unless they are what they were."""
        return Copies.of({path: w.detach() for w, path in self._paths.items()}, earlier)

    def _remembered(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers of each parameter of the model, but for counts."""
        state = self.optimizer.state
        return {
            f"{name}/{path}": one
            for w, path in self._paths.items()
            for name, one in (state[w].items() if w in state else ())
            if isinstance(one, Tensor) and name not in COUNTS
        }

    def _begun_states(self) -> frozenset[str]:
        """Return the parameters of which the optimizer remembers anything."""
        state = self.optimizer.state
        return frozenset(path for w, path in self._paths.items() if state.get(w))

    # ------------------------------------------------------------ what is odd

    def _changed(self, before: Mapping, now: Copies, when: str) -> None:
        """Note a parameter that something else than the update has changed."""
        if path := unequal(before, now):
            why = "another optimizer, an assignment, or a backward pass that updates"
            self.note(f"something changed {path} {when}: {why}", len(self.steps))

    def _changed_in_place(self, here: Pass, args: tuple, value: Any) -> None:
        """Note a value that is not what it was when the next module takes it."""
        for x in args:
            known, version, call = here.left.get(id(x), (None, 0, None))
            if known and known() is x and x is not value and x._version != version:  # noqa: SLF001
                words = f"the value of {call} was changed in place, as through a view"
                self.note(words, len(self.steps))

    def _odd_passes(self, passes: list[Pass]) -> None:
        """Note dropouts in eval mode, values that nothing came back to, and unequal passes."""
        number, sizes = len(self.steps), [len(one.calls[0].value) for one in passes if one.calls]
        if len({*sizes}) > 1:
            mean = "a mean of their means is not the mean of all"
            self.note(f"the step has forward passes of {sizes} samples: {mean}", number)
        for call in (call for one in passes for call in one.calls):
            if call.cotangent is None and call.is_watched:
                self.note(f"nothing came back to the value of {call}: is it detached?", number)
            if isinstance(call.module, nn.Dropout) and call.mask is None:
                self.note(f"{call} was in eval mode", number)

    # ------------------------------------------------------------ what was recorded

    def trajectory(self, problem, names=None):
        """Return the loop as the run of a problem; `runs.trajectory_of` says how.

        Raises:
            NotTheCase: if it can't be one.
        """
        return runs.trajectory_of(self, problem, names or {})

    def of(self, case, names):
        """Return the problem of a case that was read, with the masks drawn, and the trajectory."""
        problem = runs.problem_of(self, case, names)
        return problem, self.trajectory(problem, names)

    def save(self, path, case, names=None) -> None:
        """Write the loop as the run of a case, which `report --run` and `certify_run` judge.

        Args:
            path: of the file, `x.safetensors`.
            case: the path of its YAML file.
            names: the layers' names by module path, where neither names nor the order tell.

        Raises:
            NotTheCase: if it can't be a run of this case.
        """
        runs.save(self, path, case, names or {})


def record(model, optimizer, scheduler=None, scaler=None, loss=None, every=1):
    """Record the steps of the training loop in the body of a `with`.

    Args:
        model: the module that the loop calls.
        optimizer: of torch.optim, or of its interface; a step ends with its `step()`.
        scheduler: of its learning rate, if there is one.
        scaler: of gradients, a torch.amp.GradScaler, if there is one.
        loss: a function of outputs and targets; with it the final loss is judged too.
        every: record the first of so many updates, which saves time and memory: each one takes
            several times the room of the parameters. Those between are not judged.

    Returns:
        A context, which gives the `Recording` for `certify_run` and removes its hooks at the end.
    """
    return Recording(model, optimizer, scheduler, scaler, loss, every).hooked()
