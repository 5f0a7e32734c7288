"""`python -m pixelmill`: the command, without a script on the path."""

from __future__ import annotations

from pixelmill.jobs.cli import main

if __name__ == "__main__":
    main()
