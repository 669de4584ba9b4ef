"""`python -m mipverify`."""

from __future__ import annotations

from mipverify.cli.main import main

if __name__ == "__main__":
    main()
