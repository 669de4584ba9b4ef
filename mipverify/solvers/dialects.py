"""What the solvers behind Pyomo call their settings, and what they can do."""

from __future__ import annotations

from dataclasses import dataclass, field

from mipverify.solvers.capabilities import LINEAR, QUADRATIC, Capabilities


@dataclass(frozen=True)
class Dialect:
    """How one solver is spoken to; a setting that has no name is not passed on.

    Attributes:
        programs: kinds that it solves.
        time: seconds.
        whole_seconds: its time limit is a whole number >= 1.
        threads, seed, gap, nodes: number of threads, random seed, relative gap, limit of nodes.
        cutoff: only better points are wanted.
        target: stop at the first point as good as this.
        fixed: settings that are always made: tolerances.
        start: takes the values of a point, by which keyword; empty for none.
        bound: reports how good an optimum can be where it stopped early.
        interrupt: ends early on Ctrl-C, with what it found.
        executable: program that must be on the path, for what runs outside this process.
    """

    programs: tuple[str, ...] = LINEAR
    time: str | None = None
    whole_seconds: bool = False
    threads: str | None = None
    seed: str | None = None
    gap: str | None = None
    nodes: str | None = None
    cutoff: str | None = None
    target: str | None = None
    fixed: dict[str, float | int | str | bool] = field(default_factory=dict)
    start: str = ""
    bound: bool = False
    interrupt: bool = False
    executable: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What passes between mipverify and this solver."""
        return Capabilities(
            programs=self.programs,
            start=bool(self.start),
            cutoff=self.cutoff is not None,
            target=self.target is not None,
            seed=self.seed is not None,
            threads=self.threads is not None,
            bound=self.bound,
            interrupt=self.interrupt,
        )


_HIGHS = Dialect(
    time="time_limit",
    threads="threads",
    seed="random_seed",
    gap="mip_rel_gap",
    nodes="mip_max_nodes",
    cutoff="objective_bound",
    target="objective_target",
    fixed={
        "mip_feasibility_tolerance": 1e-8,
        "primal_feasibility_tolerance": 1e-8,
        "mip_abs_gap": 1e-9,
        "small_matrix_value": 1e-12,
        "mip_allow_restart": False,
    },
    bound=True,
    interrupt=True,
)
# SCIP solves one program with one thread; `limits/dual` ends it as soon as nothing below the cutoff is left.
_SCIP = Dialect(
    programs=QUADRATIC,
    time="limits/time",
    seed="randomization/randomseedshift",
    gap="limits/gap",
    nodes="limits/nodes",
    cutoff="limits/dual",
    target="limits/primal",
    fixed={"numerics/feastol": 1e-8, "numerics/dualfeastol": 1e-8},
    start="warmstart_discrete_vars",
    bound=True,
    interrupt=True,
)
_GUROBI = Dialect(
    programs=QUADRATIC,
    time="TimeLimit",
    threads="Threads",
    seed="Seed",
    gap="MIPGap",
    nodes="NodeLimit",
    cutoff="BestBdStop",
    target="BestObjStop",
    fixed={"FeasibilityTol": 1e-8, "IntFeasTol": 1e-8, "MIPGapAbs": 1e-9},
    start="warmstart",
    bound=True,
)
_CPLEX = Dialect(
    programs=QUADRATIC, time="timelimit", threads="threads", gap="mip_tolerances_mipgap", start="warmstart"
)
_CBC = Dialect(
    time="sec",
    threads="threads",
    gap="ratioGap",
    nodes="maxNodes",
    # As in `solvers/cbc.py`: its preprocessing and cuts have lost optima.
    # An incumbent counts from any gain on: by default a better one by less than 1e-5 is none.
    fixed={
        "primalTolerance": 1e-9,
        "increment": 1e-9,
        "preprocess": "off",
        "cuts": "off",
        "timeMode": "elapsed",
    },
    executable="cbc",
)

DIALECTS = {
    "appsi_highs": _HIGHS,
    "highs": _HIGHS,
    "scip_direct": _SCIP,
    "scip": Dialect(programs=QUADRATIC, time="limits/time", executable="scip"),
    "cbc": _CBC,
    "glpk": Dialect(time="tmlim", whole_seconds=True, gap="mipgap", executable="glpsol"),
    "gurobi": _GUROBI,
    "gurobi_direct": _GUROBI,
    "gurobi_persistent": _GUROBI,
    "appsi_gurobi": _GUROBI,
    "cplex": _CPLEX,
    "cplex_direct": _CPLEX,
    "appsi_cplex": _CPLEX,
    "xpress": Dialect(programs=QUADRATIC, time="maxtime", threads="threads", gap="miprelstop"),
    "xpress_direct": Dialect(programs=QUADRATIC, time="maxtime", threads="threads", gap="miprelstop"),
    "mosek": Dialect(programs=QUADRATIC, time="dparam.optimizer_max_time"),
    "mosek_direct": Dialect(programs=QUADRATIC, time="dparam.optimizer_max_time"),
}
