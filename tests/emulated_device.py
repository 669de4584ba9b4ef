"""A second device in name only: on a CPU, finds what would fail on an accelerator.

Tensors that are made on `REMOTE`, or computed from such tensors, count as remote. Operations that torch
refuses between a CPU and an accelerator raise `DeviceMixError`: both in one operation (but for scalars and
indices, which may lie on the CPU), and numpy's view of a remote tensor. Everything computes on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

REMOTE = torch.device("cpu", 0)  # unlike torch.device("cpu"), and yet the same
LOCAL = torch.device("cpu")
MARK = "_is_remote"


class DeviceMixError(RuntimeError):
    """An operation that would fail with one of its tensors on an accelerator."""


class EmulatedDevice(TorchFunctionMode):
    """While entered, watches every operation on torch tensors."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = _name_of(func)
        if name == "device.__get__":
            return REMOTE if is_remote(args[0]) else func(*args)
        if name in ("numpy", "__array__") and is_remote(args[0]):
            raise DeviceMixError(f"{name} of a remote tensor: bring it back with .cpu() first")
        if name in ("to", "cpu"):
            return _moved(name, func, args, kwargs)
        remote = [t for t in _tensors((args, kwargs)) if is_remote(t)]
        if remote:
            _check_mix(name, args, kwargs)
        result = func(*args, **kwargs)
        if remote or kwargs.get("device") == REMOTE:
            for tensor in _tensors(result):
                setattr(tensor, MARK, True)
        elif name in ("__getitem__", "__setitem__") and any(is_remote(t) for t in _tensors(args[1:])):
            raise DeviceMixError(f"{name}: a tensor of the CPU is indexed by a remote one")
        return result


def is_remote(tensor: Tensor) -> bool:
    """Whether a tensor counts as remote."""
    return bool(getattr(tensor, MARK, False))


def _name_of(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        return f"{func.__self__.__name__}.__get__"  # type: ignore[attr-defined]
    return name


def _check_mix(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    indexing = name in ("__getitem__", "__setitem__", "index_put", "index_put_")
    if indexing and not is_remote(args[0]):
        raise DeviceMixError(f"{name}: a tensor of the CPU is indexed by, or set to, a remote one")
    operands = (args[0], args[2:]) if indexing else (args, kwargs)
    local = [t for t in _tensors(operands) if t.dim() > 0 and not is_remote(t)]
    if local:
        shapes = ", ".join(str(list(t.shape)) for t in local)
        raise DeviceMixError(f"{name} mixes remote tensors with tensors of the CPU of shape {shapes}")


def _moved(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    named = [a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.device | str | Tensor)]
    remote = is_remote(args[0])
    if name == "cpu":
        remote = False
    elif named:
        where = named[0]
        remote = is_remote(where) if isinstance(where, Tensor) else torch.device(where) == REMOTE
    result: Tensor = func(*args, **kwargs)
    if result is args[0]:
        result = result.view_as(result)
    setattr(result, MARK, remote)
    return result


def _tensors(tree: object) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _tensors(value)
