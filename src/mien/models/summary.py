"""A network layer by layer: what each module returns, what it weighs and what it costs.

Multiply-adds are those of convolutions and of matrix products (dense layers, attention), as torch
sees them being computed: groups, strides and tokens count as they are. Normalisation, activations,
pooling and sums are not counted; by this common convention they are next to nothing.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True, kw_only=True)
class LayerSummary:
    """One module of a network, with all that is inside it.

    Attributes:
        name: Attributes that lead to it from the network, with dots; empty for the network.
        kind: Its class.
        detail: What of its options tells it from others of its kind, e.g. ``3×3, stride 2``.
        input_shape: What it takes for one face, without the batch dimension; None where it was
            not called or takes no tensor.
        output_shape: What it returns, likewise.
        parameters: All parameters in it; one shared by several modules counts in the first.
        trainable_parameters: Those of them that training changes.
        multiply_adds: Multiply-adds in it for one face.
        shortcut: It adds two tensors of the shape it returns: a residual connection.
        layers: The modules in it, in the order in which they are first called.
    """

    name: str
    kind: str
    detail: str = ""
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    shortcut: bool = False
    layers: tuple["LayerSummary", ...] = ()

    @property
    def own_parameters(self) -> int:
        """Parameters that are in none of the inner layers."""
        return self.parameters - sum(layer.parameters for layer in self.layers)

    @property
    def own_multiply_adds(self) -> int:
        """Multiply-adds outside the inner layers, e.g. attention's own products."""
        return self.multiply_adds - sum(layer.multiply_adds for layer in self.layers)

    @property
    def is_idle(self) -> bool:
        """Whether it passes on what it takes: an identity, or dropout of nothing."""
        return self.kind == "Identity" or (self.kind.startswith("Dropout") and self.detail == "0")

    def is_like(self, other: "LayerSummary") -> bool:
        """Return whether the two differ in nothing but their names."""
        return (
            (self.kind, self.detail, self.shortcut) == (other.kind, other.detail, other.shortcut)
            and (self.input_shape, self.output_shape) == (other.input_shape, other.output_shape)
            and (self.parameters, self.trainable_parameters, self.multiply_adds)
            == (other.parameters, other.trainable_parameters, other.multiply_adds)
            and len(self.layers) == len(other.layers)
            and all(a.is_like(b) for a, b in zip(self.layers, other.layers, strict=True))
        )


@dataclass(frozen=True, kw_only=True)
class NetworkSummary(LayerSummary):
    """A whole network: the outermost module.

    Attributes:
        input_shape: The face: ``(1, size, size)``.
    """

    input_shape: tuple[int, ...]


def summarise(network: nn.Module, size: int = 48) -> NetworkSummary:
    """Show a network one blank face and return what happens in it.

    The network's mode, weights and statistics stay as they were. One on the ``meta`` device is
    summarised without computing anything.

    Args:
        network: Takes ``(N, 1, size, size)`` float; what it makes of that inside is its own.
        size: Side of the face in pixels.
    """
    weight = next(network.parameters(), torch.zeros(()))
    faces = torch.zeros(1, 1, size, size, device=weight.device, dtype=weight.dtype)
    recorder = _Recorder()
    with _evaluating(network), recorder.attached_to(network), torch.no_grad():
        network(faces)
    root = _layer("", network, recorder.records, set())
    return NetworkSummary(**{**vars(root), "input_shape": tuple(faces.shape[1:])})


def count_parameters(model: nn.Module, *, trainable: bool = False) -> int:
    """Return the number of parameters: all, or those that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def count_multiply_adds(model: nn.Module, size: int) -> int:
    """Return the multiply-adds of convolutions and matrix products for one grey face.

    Args:
        model: A network taking ``(N, 1, size, size)``.
        size: Side of the input in pixels.
    """
    return summarise(model, size).multiply_adds


def group_repeats(layers: Sequence[LayerSummary]) -> Iterator[tuple[LayerSummary, ...]]:
    """Yield the layers in runs of such as differ in nothing but their names."""
    run: list[LayerSummary] = []
    for layer in layers:
        if run and not run[0].is_like(layer):
            yield tuple(run)
            run = []
        run.append(layer)
    if run:
        yield tuple(run)


@dataclass
class _Record:
    """What was seen of one module's calls, but for its inner modules'; shapes with the batch."""

    order: int
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    multiply_adds: int = 0
    sums: set[tuple[int, ...]] = field(default_factory=set)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows a forward pass; gives each product and each sum to the innermost module's record."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.records: dict[nn.Module, _Record] = {}
        self._calls: list[_Record] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would import its compiler, which takes seconds, only to keep it away from here.
        return False

    @contextmanager
    def attached_to(self, network: nn.Module) -> Iterator[None]:
        """Record what the network's modules do inside the block."""
        hooks = [module.register_forward_pre_hook(self._enter) for module in network.modules()]
        hooks += [module.register_forward_hook(self._leave) for module in network.modules()]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._calls and (operations := flop_registry.get(func.overloadpacket)):
            # torch counts a multiply-add as two operations.
            self._calls[-1].multiply_adds += operations(*args, **kwargs, out_val=output) // 2
        elif self._calls and func.overloadpacket in (torch.ops.aten.add, torch.ops.aten.add_):
            shapes = [tuple(term.shape) for term in args if isinstance(term, Tensor)]
            if len(shapes) == 2 and shapes[0] == shapes[1]:
                self._calls[-1].sums.add(shapes[0])
        return output

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        record = self.records.setdefault(module, _Record(order=len(self.records)))
        record.input_shape = _shape(inputs)
        self._calls.append(record)

    def _leave(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._calls.pop().output_shape = _shape(output)


def _layer(
    name: str, module: nn.Module, records: dict[nn.Module, _Record], seen: set[int]
) -> LayerSummary:
    """Summarise a module and what is in it; ``seen`` are the ids of what was counted before."""
    own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
    seen.update(map(id, (module, *own)))
    called = sorted(module.named_children(), key=lambda item: _first_call(item[1], records))
    prefix = f"{name}." if name else ""
    layers = tuple(
        _layer(prefix + child_name, child, records, seen)
        for child_name, child in called
        if id(child) not in seen
    )
    record = records.get(module, _Record(order=-1))
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        detail=_detail(module),
        input_shape=record.input_shape[1:] if record.input_shape else None,
        output_shape=record.output_shape[1:] if record.output_shape else None,
        parameters=sum(p.numel() for p in own) + sum(part.parameters for part in layers),
        trainable_parameters=sum(p.numel() for p in own if p.requires_grad)
        + sum(part.trainable_parameters for part in layers),
        multiply_adds=record.multiply_adds + sum(part.multiply_adds for part in layers),
        shortcut=record.output_shape in record.sums,
        layers=layers,
    )


def _first_call(module: nn.Module, records: dict[nn.Module, _Record]) -> float:
    # A list of modules is never called itself, only what is in it.
    orders = [records[inner].order for inner in module.modules() if inner in records]
    return min(orders, default=math.inf)


def _shape(output: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor, or of the first of several."""
    if isinstance(output, tuple | list) and output:
        return _shape(output[0])
    return tuple(output.shape) if isinstance(output, Tensor) else None


def _detail(module: nn.Module) -> str:
    parts: list[str] = []
    kernel, stride = getattr(module, "kernel_size", None), getattr(module, "stride", None)
    if kernel is not None:
        parts.append(_sides(kernel))
        # Pooling windows usually lie side by side, which needs no mention.
        usual = kernel if "Pool" in type(module).__name__ else 1
        if stride is not None and _sides(stride) != _sides(usual):
            parts.append(f"stride {_sides(stride).split('×')[0]}")
        if (groups := getattr(module, "groups", 1)) > 1:
            parts.append(f"{groups} groups")
    elif isinstance(module, nn.modules.dropout._DropoutNd):
        parts.append(f"{module.p:g}")
    return ", ".join(parts)


def _sides(value: int | Sequence[int]) -> str:
    height, width = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return f"{height}×{width}"


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and back; keep attention from its fused kernel."""
    modes = {module: module.training for module in network.modules()}
    # The kernel that torch fuses attention into for inference hides its products from the count.
    fused = torch.backends.mha.get_fastpath_enabled()
    network.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, mode in modes.items():
            module.training = mode
