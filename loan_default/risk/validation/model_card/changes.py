"""Writes what changed since the version before, and what is needed to make a version again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loan_default.risk.markdown import markdown_table
from loan_default.risk.validation.model_card.inputs import ModelCardInputs, VersionFacts
from loan_default.risk.validation.model_card.wording import bullets, named

_FINGERPRINTS = {
    "data_fingerprint": "Data",
    "training_fingerprint": "Windows",
    "contract_fingerprint": "Contract",
    "policy_fingerprint": "Policy",
    "code_fingerprint": "Code",
    "git_commit": "Git commit",
}
_NOT_RECORDED = "not recorded"


def since_before(inputs: ModelCardInputs) -> Iterator[str]:
    """Say in what the version differs from the one before it."""
    before = inputs.before
    if before is None:
        yield "There is no version before this one."
        return
    rows = [*_origin(inputs, before), *_model(inputs, before), *_cut_offs(inputs, before)]
    changed = [row for row in rows if row[1] != row[2]]
    same = [name for name, old, new in rows if old == new != _NOT_RECORDED]
    yield f"Against version {before.version}. The same: {', '.join(same) or 'nothing of what is compared'}."
    if changed:
        yield markdown_table(["Changed", f"Version {before.version}", "This version"], changed)
    yield from _fields(inputs, before)


def _origin(inputs: ModelCardInputs, before: VersionFacts) -> Iterator[tuple[str, str, str]]:
    for tag, label in {**_FINGERPRINTS, "seed": "Seed"}.items():
        yield label, before.origin.get(tag, _NOT_RECORDED), inputs.origin.get(tag, _NOT_RECORDED)


def _model(inputs: ModelCardInputs, before: VersionFacts) -> Iterator[tuple[str, str, str]]:
    yield "Kind", before.scorer.kind, inputs.scorer.kind
    if before.parameters is None:
        yield "Parameters", _NOT_RECORDED, "those above"
    elif before.scorer.kind == inputs.scorer.kind:
        for name in dict.fromkeys([*before.parameters, *inputs.parameters]):
            yield f"Parameter {name}", _plain(before.parameters, name), _plain(inputs.parameters, name)


def _plain(values: Mapping[str, float | int | str], name: str) -> str:
    value = values.get(name, "none")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut_offs(inputs: ModelCardInputs, before: VersionFacts) -> Iterator[tuple[str, str, str]]:
    old, new = (scorer.policy.model_dump() for scorer in (before.scorer, inputs.scorer))
    for name in dict.fromkeys([*old, *new]):
        yield f"Decision: {name}", str(old.get(name)), str(new.get(name))


def _fields(inputs: ModelCardInputs, before: VersionFacts) -> Iterator[str]:
    old, new = (set(scorer.contract.feature_names) for scorer in (before.scorer, inputs.scorer))
    added, left_out = sorted(new - old), sorted(old - new)
    if added or left_out:
        yield f"Fields added: {named(added) or 'none'}; left out: {named(left_out) or 'none'}."
    else:
        yield "The fields have the same names."


def reproduction(inputs: ModelCardInputs) -> Iterator[str]:
    """Name the code, data, contract, policy, seed and libraries that the version was made by."""
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(inputs.libraries.items()))
    fingerprints = {
        "data_fingerprint": inputs.splits.data_fingerprint,
        "training_fingerprint": inputs.splits.fingerprint,
        **inputs.origin,
    }
    rows = [
        (label, f"`{fingerprints[tag]}`" if tag in fingerprints else _NOT_RECORDED)
        for tag, label in _FINGERPRINTS.items()
    ]
    yield markdown_table(["Made by", "Fingerprint"], rows)
    yield bullets(
        [
            f"Seed: {inputs.seed}.",
            f"Libraries: {libraries}.",
            "The parameters are those above; the contract and the cut-offs are stored with the model version.",
        ]
    )
