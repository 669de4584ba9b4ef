r"""Bounds of the open neurons of one layer, by minimising \(h_i\) and \(-h_i\) over one program.

A minimum of \(\pm h_i\) over the columns, less the error of the affine form of \(h_i\), bounds the neuron.
Neurons go in the order of their distance from stability, \(\min(-l, u)\); of a neuron the nearer side
goes first, and the other is left out once the sign is decided. A side is left out, too, if a point that
an earlier solve returned nearly attains the bound already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf, isfinite

import numpy as np

from mipverify.graph.operators import Float64Array
from mipverify.solvers.solver import SolveOptions
from mipverify.tightening.sessions import Least, OpenSession, Session
from mipverify.tightening.values import NeuronValues

# A solve ends once its bound is above this share of the largest cost coefficient; above MIP_TOLERANCE, so
# that a claim still decides the sign after it was lowered.
DECIDED = 2e-6


class LayerTightening:
    """The work on one layer, shared by its threads.

    Args:
        values: the neurons' values over a program.
        lower, upper: their bounds, [neurons].
        least_gain: sides that can gain less than this share of the width u - l are left out.
        signs_only: leave out every side that cannot decide a sign.
        seconds_each: time limit of a solve.
        left: seconds left for the layer.

    Attributes:
        lower, upper: bounds so far, never looser than those given, [neurons].
        solves: solves begun.
        empty: a proof that the program has no point.
        interrupted: a solve was ended from outside.
        stop: set to end the work.
    """

    def __init__(
        self,
        values: NeuronValues,
        lower: Float64Array,
        upper: Float64Array,
        *,
        least_gain: float,
        signs_only: bool,
        seconds_each: float,
        left: Callable[[], float],
    ) -> None:
        self.values = values
        self.lower, self.upper = lower.copy(), upper.copy()
        self.seen_low, self.seen_up = np.full(lower.size, inf), np.full(lower.size, -inf)
        self.least_gain, self.signs_only = least_gain, signs_only
        self.seconds_each, self.left = seconds_each, left
        self.solves = 0
        self.empty = self.interrupted = False
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._queue = iter(np.argsort(np.minimum(-lower, upper), kind="stable").tolist())

    def run(self, open_session: OpenSession, threads: int) -> None:
        """Work through all neurons, or until the time is over."""
        count = min(threads, self.lower.size)
        if count <= 1:
            self._work(open_session)
            return
        with ThreadPoolExecutor(count) as pool:
            jobs = [pool.submit(self._work, open_session) for _ in range(count)]
            try:
                for job in jobs:
                    job.result()
            finally:
                self.stop.set()

    def _work(self, open_session: OpenSession) -> None:
        session: Session | None = None
        while not self.stop.is_set() and self.left() > 0:
            with self._lock:
                neuron = next(self._queue, None)
            if neuron is None:
                return
            for sign in (1, -1) if -self.lower[neuron] <= self.upper[neuron] else (-1, 1):
                if self.stop.is_set() or self.left() <= 0 or not self._worthwhile(neuron, sign):
                    continue
                session = session or open_session(self.values.program)
                self._bound(session, neuron, sign)

    def _worthwhile(self, neuron: int, sign: int) -> bool:
        low, up = self.lower[neuron], self.upper[neuron]
        if low >= 0 or up <= 0:
            return False
        attained = self.seen_low[neuron] if sign > 0 else -self.seen_up[neuron]
        known = low if sign > 0 else -up
        if self.signs_only and attained < 0:
            return False
        return bool(attained - known > self.least_gain * (up - low))

    def _bound(self, session: Session, neuron: int, sign: int) -> None:
        cost, constant = self.values.cost(neuron, sign)
        error = float(self.values.form.error[neuron])
        options = SolveOptions(
            time_limit=max(0.0, min(self.seconds_each, self.left())),
            cutoff=2 * error + DECIDED * float(np.abs(cost).max(initial=0.0)),
            stop=self.stop,
        )
        self._keep(neuron, sign, session.minimise(cost, constant, options), error)

    def _keep(self, neuron: int, sign: int, least: Least, error: float) -> None:
        bound = float(np.nextafter(least.bound - error, -inf)) if isfinite(least.bound) else -inf
        with self._lock:
            self.solves += 1
            if sign > 0:
                self.lower[neuron] = max(self.lower[neuron], bound)
            else:
                self.upper[neuron] = min(self.upper[neuron], -bound)
            if least.bound == inf or self.lower[neuron] > self.upper[neuron]:
                self.empty = True
            self.interrupted |= least.interrupted and not self.stop.is_set()
            if self.empty or least.interrupted:
                self.stop.set()
            if least.point is not None:
                form = self.values.form
                here = form.matrix @ least.point[: form.matrix.shape[1]] + form.constant
                self.seen_low = np.minimum(self.seen_low, here)
                self.seen_up = np.maximum(self.seen_up, here)


def countdown(seconds: float) -> Callable[[], float]:
    """Seconds left of `seconds` from now."""
    end = time.perf_counter() + seconds
    return lambda: end - time.perf_counter()
