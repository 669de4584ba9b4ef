"""The alarm that keeps a limit in wall time."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mipverify.cli.main import app
from mipverify.frontend.network import Network
from mipverify.runs.property_outcome import Networks, outcome_of
from mipverify.runs.time_limit import interrupted_after
from mipverify.verify.options import VerifyOptions
from tests.cli.conftest import MLP

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_work_that_does_not_look_at_the_clock_is_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), interrupted_after(0.05) as alarm:
        busy(60)
    assert alarm.rang


def test_work_that_is_done_is_not() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with interrupted_after(60) as alarm:
        pass
    assert not alarm.rang
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


class Finaliser:
    """Waits for a while when it goes, deaf to exceptions as all finalisers are."""

    def __del__(self) -> None:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pass


def test_an_alarm_that_a_finaliser_swallows_rings_again() -> None:
    before = sys.unraisablehook
    reached = []

    def work() -> None:
        with interrupted_after(0.05) as alarm:
            Finaliser()
            reached.append(alarm.rang)
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == [True]
    assert sys.unraisablehook is before


def test_other_threads_have_no_alarm() -> None:
    rang: list[bool] = []

    def work() -> None:
        with interrupted_after(0.01) as alarm:
            busy(0.1)
        rang.append(alarm.rang)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert rang == [False]


def test_an_instance_ends_though_its_network_never_loads(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    exported = CliRunner().invoke(app, ["export", str(MLP), "--eps", "0.05", "--vnnlib", str(path)])
    assert exported.exit_code == 0

    class Slow(Networks):
        def load(self, path: Path) -> Network:
            busy(60)
            return super().load(path)

    begun = time.monotonic()
    outcome = outcome_of(Path(MLP), path, options=VerifyOptions(time_limit=0.5), networks=Slow())
    assert (outcome.verdict, outcome.answer) == ("timeout", None)
    assert outcome.text() == "timeout\n"
    assert outcome.seconds <= time.monotonic() - begun
