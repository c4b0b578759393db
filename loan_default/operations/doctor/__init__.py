"""The doctor: what is wrong with an installation, and what to do about it; nothing is changed but for a probe file.

Each topic has a module of checks; measuring is `adapters.probes`', printing the command line's.
"""

from loan_default.operations.doctor.check import Check, CheckContext, Diagnosis
from loan_default.operations.doctor.examination import CHECKS, examine

__all__ = ["CHECKS", "Check", "CheckContext", "Diagnosis", "examine"]
