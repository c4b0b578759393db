"""The command `loan-default`: one typed function per command, no logic."""

from loan_default.cli.entry import main

__all__ = ["main"]
