"""`python -m mipverify`."""

from __future__ import annotations

from mipverify.cli.entry import main

if __name__ == "__main__":
    main()
