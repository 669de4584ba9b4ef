"""`mipverify inspect`: what a network consists of, and how large its exact program may become."""

from __future__ import annotations

import json as json_format
from typing import TYPE_CHECKING, Annotated

import typer

from mipverify.cli import options as cli
from mipverify.cli import parsing
from mipverify.errors import QueryError

if TYPE_CHECKING:
    from mipverify.cli.console import Terminal
    from mipverify.frontend.network import Network

LISTED = ("start", "cutoff", "target", "seed", "threads", "bound", "duals", "interrupt")
LAYOUT = "{:>4}  {:<9}  {:<28}  {:<16}  {:>11}  {:>7}"


def inspect(
    network: Annotated[
        str | None, typer.Argument(metavar="[NETWORK]", help="ONNX file.", show_default=False)
    ] = None,
    solvers: Annotated[
        bool, typer.Option("--solvers", help="List the solvers instead, and what each can do here.")
    ] = False,
    mean: cli.MeanOption = None,
    std: cli.StdOption = None,
    input_shape: cli.ShapeOption = None,
    json: cli.JsonOption = False,
    quiet: cli.QuietOption = False,
    verbose: cli.VerboseOption = 0,
) -> None:
    """Show operators, shapes, parameters and ReLUs of NETWORK as it will be verified; or the solvers.

    Exit codes: 0 the network is supported; 2 it is not, or cannot be read.
    """
    if solvers:
        _list_solvers(json=json, quiet=quiet, verbose=verbose)
        return
    if network is None:
        raise QueryError("give a NETWORK to inspect, or --solvers")
    means = parsing.numbers(mean, "--mean") if mean is not None else None
    stds = parsing.numbers(std, "--std") if std is not None else None
    shape = parsing.shape(input_shape, "--input-shape") if input_shape is not None else None
    from mipverify.cli.console import Terminal
    from mipverify.frontend.network import load_network

    terminal = Terminal(quiet=quiet, verbosity=verbose)
    loaded = load_network(network, mean=means, std=stds, input_shape=shape)
    if json:
        terminal.result(json_format.dumps(description(loaded)))
        return
    if not quiet:
        _show_nodes(loaded, terminal)
    _show_totals(loaded, terminal)


def _list_solvers(*, json: bool, quiet: bool, verbose: int) -> None:
    """One line a solver: what is installed, what it solves, and what passes between it and mipverify."""
    from dataclasses import asdict

    from mipverify.cli.console import Terminal
    from mipverify.solvers.registry import backends

    terminal = Terminal(quiet=quiet, verbosity=verbose)
    if not (json or quiet):
        terminal.result(f"{'--solver':<24}  {'version':<28}  {'solves':<26}  takes and reports")
    for backend in backends():
        if json:
            terminal.result(json_format.dumps(asdict(backend)))
            continue
        if backend.missing is not None:
            if not quiet:
                kinds = " ".join(backend.capabilities.programs)
                terminal.result(f"{backend.name:<24}  {'not here':<28}  {kinds}", "dim")
            continue
        able = [word for word in LISTED if getattr(backend.capabilities, word)]
        kinds = " ".join(backend.capabilities.programs)
        terminal.result(f"{backend.name:<24}  {backend.version:<28}  {kinds:<26}  {' '.join(able)}".rstrip())


def description(network: Network) -> dict[str, object]:
    """Everything that `inspect` shows, as JSON values."""
    from dataclasses import asdict

    from mipverify.graph.operators import Relu
    from mipverify.graph.size import num_parameters, widest_layer, worst_program

    graph = network.graph
    nodes = [
        {
            "position": position,
            "operator": type(node.op).__name__,
            "name": node.name,
            "shape": node.shape,
            "inputs": node.inputs,
            "parameters": num_parameters(node),
            "relus": node.size if isinstance(node.op, Relu) else 0,
        }
        for position, node in graph
    ]
    return {
        "name": network.name,
        "digest": network.digest,
        "supported": True,
        "input_shape": graph.input_shape,
        "inputs": graph.input_size,
        "outputs": graph.output_size,
        "parameters": sum(num_parameters(node) for node in graph.nodes),
        "relus": graph.num_relus,
        "relu_layers": len(graph.relus),
        "widest_relu_layer": widest_layer(graph),
        "worst_case_program": asdict(worst_program(graph)),
        "notices": list(network.notices),
        "nodes": nodes,
    }


def _show_nodes(network: Network, terminal: Terminal) -> None:
    from mipverify.graph.operators import Relu
    from mipverify.graph.size import num_parameters

    terminal.result(LAYOUT.format("node", "operator", "name", "shape", "parameters", "relus"))
    for position, node in network.graph:
        terminal.result(
            LAYOUT.format(
                position,
                type(node.op).__name__,
                _shortened(node.name, 28),
                "x".join(str(extent) for extent in node.shape),
                num_parameters(node) or "",
                node.size if isinstance(node.op, Relu) else "",
            ).rstrip()
        )
    terminal.result("")


def _show_totals(network: Network, terminal: Terminal) -> None:
    from mipverify.graph.size import num_parameters, widest_layer, worst_program

    graph, worst = network.graph, worst_program(network.graph)
    shape = "x".join(str(extent) for extent in graph.input_shape)
    for name, value in (
        ("network", network.name),
        ("digest", network.digest),
        ("input", f"{shape} ({graph.input_size} values)"),
        ("outputs", graph.output_size),
        ("parameters", sum(num_parameters(node) for node in graph.nodes)),
        ("ReLUs", f"{graph.num_relus} in {len(graph.relus)} layers, at most {widest_layer(graph)} in one"),
        ("support", "every operator has an exact encoding"),
        (
            "program at worst",
            f"{worst.columns} columns, {worst.rows} rows, {worst.binaries} binaries (all neurons unstable)",
        ),
    ):
        terminal.result(f"{name:<18} {value}")
    for notice in network.notices:
        terminal.result(f"{'notice':<18} {notice}")


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
