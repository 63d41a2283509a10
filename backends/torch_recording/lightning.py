"""A callback for Lightning: what `trainer.fit` does is recorded, and judged like any other loop.

Lightning is not needed to import this: without it the callback has no base class.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from typing import Any

from backproof.backends.torch_recording.recorder import Recording


def _base() -> type:
    """Return the class of Lightning's callbacks, under whichever name it is installed."""
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(name).Callback
        except ImportError:
            continue
    return object


class LightningRecorder(_base()):  # type: ignore[misc]  # it is known when it is asked for
    """Records a training under a Lightning trainer: `Trainer(callbacks=[recorder])`.

    Attributes:
        run: the recording, of the one optimizer that the trainer has; None before `fit`.
        module: the path of the module that is recorded, in the LightningModule; all of it if empty.
        loss, every: as `record` has them.
    """

    def __init__(self, module: str = "", loss: Any = None, every: int = 1):
        super().__init__()
        self.module, self.loss, self.every = module, loss, every
        self.run: Recording | None = None
        self._hooks = ExitStack()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Hook the model and its optimizer."""
        if len(trainer.optimizers) != 1:
            raise ValueError(
                f"one optimizer is recorded; the trainer has {len(trainer.optimizers)}"
            )
        (optimizer,) = trainer.optimizers
        schedulers = [one.scheduler for one in getattr(trainer, "lr_scheduler_configs", ())]
        scaler = getattr(getattr(trainer, "precision_plugin", None), "scaler", None)
        model, scheduler = pl_module.get_submodule(self.module), next(iter(schedulers), None)
        self.run = Recording(model, optimizer, scheduler, scaler, self.loss, self.every)
        self._hooks.enter_context(self.run.hooked())

    def on_train_end(self, *_: Any) -> None:
        """Remove every hook."""
        self._hooks.close()

    def on_exception(self, *_: Any) -> None:
        """Remove every hook, whatever went wrong."""
        self._hooks.close()
