"""`--perturb` read: families of perturbations by name, with their limits, joined by a plus."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mipverify.cli import parsing
from mipverify.errors import QueryError

if TYPE_CHECKING:
    from mipverify.problem.families import AnyFamily, Family

OPTION = "--perturb"
SHAPE = "NAME[:ARGUMENT][=LO,HI], joined by +"
FILES = (".npy", ".npz")


def read_perturbation(text: str) -> AnyFamily:
    """`brightness=-0.1,0.2+contrast`, `blur:5`, `kernels:3`, `subspace:directions.npy`, or such a file alone.

    Raises:
        InputError: an unknown name, an argument or limits that make no sense, an unreadable file.
    """
    terms = [_term(term.strip()) for term in re.split(r"\+(?=\s*[A-Za-z./~])", text)]
    total: AnyFamily = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _term(text: str) -> Family:
    head, equals, limits = text.partition("=")
    name, _, argument = head.strip().partition(":")
    if name.lower().endswith(FILES):
        name, argument = "subspace", head.strip()
    make = _families().get(name.strip().lower())
    if make is None:
        known = ", ".join(_families())
        raise QueryError(f"{OPTION}: unknown perturbation {name!r}: give {SHAPE}, with NAME one of {known}")
    family = make(argument.strip())
    if not equals:
        return family
    sides = parsing.interval(limits, f"{OPTION} {name}")
    if sides is None:
        raise QueryError(f"{OPTION} {name}: limits are LO,HI, got {limits!r}")
    return family.within(*sides)


def _families() -> dict[str, Callable[[str], Family]]:
    from mipverify.problem import families

    return {
        "brightness": _alone("brightness", families.brightness),
        "color": _alone("color", families.color),
        "contrast": lambda text: families.contrast(
            parsing.number(text, f"{OPTION} contrast") if text else None
        ),
        "blur": _blur,
        "kernels": lambda text: families.kernels(_size(text, "kernels")),
        "subspace": _subspace,
        "pixels": _alone("pixels", families.pixels),
    }


def _alone(name: str, make: Callable[[], Family]) -> Callable[[str], Family]:
    def read(text: str) -> Family:
        if text:
            raise QueryError(f"{OPTION}: {name} takes no argument, got {text!r}")
        return make()

    return read


def _size(text: str, name: str) -> int:
    if text and not text.isdecimal():
        raise QueryError(f"{OPTION}: {name} takes an odd size, got {text!r}")
    return int(text) if text else 3


def _blur(text: str) -> Family:
    from mipverify.frontend.feature_arrays import read_features
    from mipverify.problem import families

    if text and not text.isdecimal():
        return families.blur(read_features(Path(text)))
    return families.blur(_size(text, "blur"))


def _subspace(text: str) -> Family:
    from mipverify.frontend.feature_arrays import read_archive, read_features
    from mipverify.problem import families

    if not text:
        raise QueryError(f"{OPTION}: subspace needs a file of directions: subspace:FILE.npy")
    path = Path(text)
    if path.suffix.lower() != ".npz":
        return families.subspace(read_features(path))
    arrays = read_archive(path)
    if "directions" not in arrays and len(arrays) != 1:
        raise QueryError(f"{OPTION}: {path} holds {', '.join(arrays)}: name the array of directions so")
    return families.subspace(arrays.get("directions", next(iter(arrays.values()))))
