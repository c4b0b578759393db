"""The page on strategy: what cut-offs of the newest version earn, by PD and by value, and what is proposed.

Figures are those of `strategy_report`, which `operations.records` reads; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.adapters import layout
from loan_default.operations.book import read_contract
from loan_default.operations.records import Record, read_record
from loan_default.risk.errors import DamagedRecord
from loan_default.risk.text import percent
from loan_default.risk.validation.backtest import PRESENT, deciles_of, rules_of
from loan_default.settings import Settings
from loan_default.web import charts
from loan_default.web.charts import Chart, draw
from loan_default.web.pages.versions import group_words
from loan_default.web.rendering import kind_words, settings_of
from loan_default.web.tables import Column, PageTable, counts, shares, show

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract

_RECORDS: tuple[layout.RecordName, ...] = ("strategy_report", "provision_report", "backtest")
_RULES = {"pd": "by PD", "npv": "by value"}
_DECIDED = {**_RULES, "both": "by PD and value"}
_STAGES = {1: "1: as granted", 2: "2: a risk that has risen", 3: "3: impaired"}
_SUMS = ("lent", "expected loss", "lost", "expected NPV", "NPV")
_KEYS = ("volume", "expected_loss", "loss", "expected_npv", "npv")


def show_strategy(request: Request) -> Response:
    """Show what cut-offs earn."""
    return show(request, "strategy.html", **read_strategy(settings_of(request)))


def read_strategy(settings: Settings) -> dict[str, Any]:
    """Read what the page shows, and which records of it cannot be read."""
    damages: list[DamagedRecord] = []
    records = [read_record(settings, name, damages) for name in _RECORDS]
    return {**strategy_content(*records, contract=read_contract(settings)), "damages": damages}


def strategy_content(
    report: Record | None,
    provision: Record | None = None,
    backtest: Record | None = None,
    *,
    contract: Contract,
) -> dict[str, Any]:
    """Return what the page shows of these records, or why there is none; groups in words of the contract."""
    measured, provided = (each if each and "problem" not in each else None for each in (report, provision))
    return {
        "report": measured,
        "provision": provision,
        "problem": report["problem"] if report and "problem" in report else None,
        "charts": [npv_chart(measured)] if measured else [],
        "tables": [
            *(_tables(measured, contract) if measured else ()),
            *(_provision_tables(provided, contract) if provided else ()),
            *(_past_tables(backtest) if backtest else ()),
        ],
        "backtest": backtest,
        "damages": (),
        "read_at": datetime.now(UTC),
    }


def _tables(report: Record, contract: Contract) -> list[PageTable]:
    equal = [(_RULES[rule], *_figures(each)) for rule, each in report["equal_number"].items()]
    present = [(name, *_figures(each)) for name, each in report["present"].items()]
    caption = f"As many loans as are approved today, which is decided {_DECIDED[report['cut_offs'].get('by', 'pd')]}"
    return [
        PageTable("equal_number", caption, (Column("approved"), *_columns()), equal),
        PageTable("present", "What today's cut-offs approve", (Column("decision"), *_columns()), present),
        curve_table(report),
        proposal_table(report),
        decile_table(report["deciles"], report["unit"]),
        vintage_table(report["vintages"]),
        loss_table(report.get("vintage_losses", ())),
        group_table(report["groups"], contract),
    ]


def _columns() -> list[Column]:
    return [
        *counts("loans"),
        *shares("of all", "mean PD", "default rate"),
        *counts(*_SUMS),
        *shares("expected return", "return"),
    ]


def _figures(each: Record) -> tuple[Any, ...]:
    sums = (each[key] for key in _KEYS)
    returns = each["expected_return"], each["realised_return"]
    return (each["loans"], each["share"], each["mean_pd"], each["default_rate"], *sums, *returns)


def curve_table(report: Record) -> PageTable:
    """Tabulate both rules as their cut-offs move."""
    columns = (Column("rule"), Column("cut-off", "percent", 1), *_columns())
    points = [point for rule in _RULES for point in report["curve"] if point["rule"] == rule]
    rows = [(_RULES[point["rule"]], point["cutoff"], *_figures(point["outcome"])) for point in points]
    caption = "As the cut-off moves: PD below it, or net present value of what is lent from it on"
    return PageTable("curve", caption, columns, rows)


def proposal_table(report: Record) -> PageTable:
    """Tabulate the cut-offs that are expected to earn most within the policy's limits."""
    columns = (
        Column("decided"),
        *shares("PD below"),
        Column("interval of it", "interval"),
        *shares("value at least"),
        Column("interval of this", "interval"),
        *shares("mean PD", "default rate"),
        *counts("loans", "expected NPV", "NPV"),
        Column("bound by, or why there are none", "long"),
    )
    caption = "The cut-offs that are expected to earn most within the limits of the policy"
    rows = [
        _proposal(by, each) if each else (_DECIDED[by], *([None] * (len(columns) - 2)), _no_proposal(report, by))
        for by, each in report["proposals"].items()
    ]
    return PageTable("proposals", caption, columns, rows)


def _proposal(by: str, proposal: Record) -> tuple[Any, ...]:
    return (
        _DECIDED[by],
        *_cut_off(proposal, "approve_below", of_rule=by != "npv"),
        *_cut_off(proposal, "npv_at_least", of_rule=by != "pd"),
        *(proposal["outcome"][key] for key in ("mean_pd", "default_rate", "loans", "expected_npv", "npv")),
        ", ".join(name.replace("_", " ") for name in proposal["bound_by"]) or "nothing",
    )


def _no_proposal(report: Record, by: str) -> str:
    """Say why there are no cut-offs; what reports of before do not tell is that it is one or the other."""
    either = "No cut-offs keep the limits of the policy and are expected to earn anything."
    reason: str = report.get("no_proposal", {}).get(by, either)
    return reason


def _cut_off(proposal: Record, key: str, *, of_rule: bool) -> tuple[float | None, str | None]:
    """Return a cut-off and its interval; nothing where a rule has none."""
    if not of_rule:
        return None, None
    return proposal[key], " to ".join(percent(end) for end in proposal["intervals"][key])


def decile_table(deciles: Sequence[Record], unit: str) -> PageTable:
    """Tabulate expected and realised values by tenths of the expected."""
    columns = (
        *counts("tenth", "loans", "expected NPV of a loan", "realised", "from", "to"),
        Column("inside", "tag"),
    )
    keys = ("group", "loans", "expected", "realised", "low", "high")
    rows = [(*(each[key] for key in keys), "ok" if each["is_inside"] else "outside") for each in deciles]
    caption = (
        f"Loans by tenths of what was expected of them, in {unit} a loan; between from and to what is realised lies 19 "
        "times of 20, as loans and months differ"
    )
    return PageTable("deciles", caption, columns, rows)


def vintage_table(vintages: Sequence[Record]) -> PageTable:
    """Tabulate expected and realised losses by quarter of issue."""
    columns = (
        Column("vintage"),
        *counts("loans"),
        *shares("mean PD", "default rate"),
        *counts("expected loss", "lost", "expected NPV", "NPV"),
    )
    keys = ("vintage", "loans", "mean_pd", "default_rate", "expected_loss", "loss", "expected_npv", "npv")
    rows = [tuple(each[key] for key in keys) for each in vintages]
    return PageTable("vintages", "All loans of the test window by quarter of issue", columns, rows)


def loss_table(losses: Sequence[Record]) -> PageTable:
    """Tabulate what defaults cost beside what was expected, by quarter of issue."""
    columns = (
        Column("vintage"),
        *counts("defaults"),
        *shares("lost of what was owed"),
        Column("interval of it", "interval"),
        *shares("expected", "owed of what was lent"),
        Column("interval of this", "interval"),
        *shares("expected of that"),
    )
    rows = [
        (
            *(each["vintage"], each["defaults"], each["loss"]["value"], _interval(each["loss"]), each["expected_loss"]),
            *(each["exposure"]["value"], _interval(each["exposure"]), each["expected_exposure"]),
        )
        for each in losses
    ]
    return PageTable("vintage_losses", "Loss and exposure at default by quarter of issue", columns, rows)


def _interval(figure: Record) -> str:
    return f"{percent(figure['low'])} to {percent(figure['high'])}"


def group_table(groups: Sequence[Record], contract: Contract) -> PageTable:
    """Tabulate what both rules approve of each group."""
    columns = (
        Column("field"),
        Column("group"),
        *counts("loans"),
        *(column for word in _RULES.values() for column in (*shares(f"approved {word}", f"default rate {word}"),
          *counts(f"NPV {word}"))),
    )  # fmt: skip
    rows = [
        (
            *group_words(each["field"], each["group"], contract),
            each["loans"],
            *(each[rule][key] for rule in _RULES for key in ("approval_rate", "default_rate", "npv")),
        )
        for each in groups
    ]
    return PageTable("groups", "As many loans by either rule, by term, segment and group", columns, rows)


def _past_tables(record: Record) -> Iterator[PageTable]:
    """Tabulate a back-test; records of before do not tell tenths."""
    yield backtest_table(record)
    if any(deciles_of(record["points"])):
        yield past_decile_table(record)


def backtest_table(record: Record) -> PageTable:
    """Tabulate what both rules would have earned as of past months, beside what was expected of it then."""
    columns = (Column("as of"), Column("label", "tag"), Column("model"), Column("approved"), *_columns())
    words = {**_RULES, PRESENT: "by the policy"}
    rows = [
        (point["month"], point["label"], kind_words(point.get("model", "")), words[rule], *_figures(outcome))
        for point, rule, outcome in rules_of(record["points"])
    ]
    caption = (
        f"As of past months, on the loans of the {record['tested_months']} months after each: what the policy's "
        "cut-offs approve, and as many loans by either rule"
    )
    return PageTable("rules_of_past_months", caption, columns, rows)


def past_decile_table(record: Record) -> PageTable:
    """Tabulate how many tenths of what models of past months expected came as expected."""
    of_a_loan = counts("expected of the lowest tenth", "realised of it", "expected of the highest", "realised of this")
    columns = (Column("as of"), Column("label", "tag"), Column("model"), *counts("tenths", "inside"), *of_a_loan)
    rows = [
        (
            *(point["month"], point["label"], kind_words(point.get("model", "")), len(groups)),
            sum(group["is_inside"] for group in groups),
            *(groups[end][name] for end in (0, -1) for name in ("expected", "realised")),
        )
        for point, groups in deciles_of(record["points"])
    ]
    caption = (
        "As of past months, loans by tenths of what was expected of them: in how many what was realised lies in the "
        "interval around that in which it is 19 times of 20, and means of a loan"
        f"{f' in {unit}' if (unit := record.get('unit')) else ''}"
    )
    return PageTable("deciles_of_past_months", caption, columns, rows)


def _provision_tables(provision: Record, contract: Contract) -> Iterator[PageTable]:
    """Tabulate what open loans are expected to lose: by stage, in each scenario, and by group."""
    sums = (*counts("loans", "owed", "provision", "over the lives"), *shares("PD of a year", "PD of the life"))
    keys = ("loans", "balance", "provision", "cecl", "year_pd", "lifetime_pd")
    stages = [*((_STAGES[each["stage"]], each) for each in provision["stages"]), ("all", provision["total"])]
    rows = [(name, *(each[key] for key in keys)) for name, each in stages]
    yield PageTable("stages", "Open loans by stage", (Column("stage"), *sums), rows)
    multipliers = [Column(f"{name} times", "number", 2) for name in ("default", "prepayment", "loss")]
    by_stage = counts("provision", *(f"in stage {stage}" for stage in _STAGES), "over the lives")
    columns = (Column("scenario"), *multipliers, *shares("weight", digits=0), *by_stage)
    rows = [
        (
            *(each[key] for key in ("scenario", "hazard", "prepayment", "lgd", "weight", "provision")),
            *each["by_stage"],
            each["cecl"],
        )
        for each in provision["scenarios"]
    ]
    yield PageTable("scenarios", "The same loans in each scenario of the policy", columns, rows)
    rows = [
        (*group_words(each["field"], each["group"], contract), *(each[key] for key in keys))
        for each in provision["groups"]
    ]
    columns = (Column("field"), Column("group"), *sums)
    yield PageTable("provisions", "Open loans by quarter of issue and segment", columns, rows)
    if declined := provision.get("declined"):
        yield declined_table(declined)


def declined_table(declined: Record) -> PageTable:
    """Tabulate how many would default of those who were not approved, if their odds were so many times those said."""
    factors = declined["factors"]
    headings = [f"{each['factor']:g} times the odds" for each in factors]
    columns = (Column("applicants"), *counts("number"), *shares("PD from", "to", *headings))
    rows = [
        (
            f"turned down, fifth {number}",
            *(band[key] for key in ("applications", "pd_from", "pd_to")),
            *band["default_rates"],
        )
        for number, band in enumerate(declined["bands"], 1)
    ]
    turned_down = [each["turned_down_default_rate"] for each in factors]
    rows += [
        ("all turned down", declined["applications"] - declined["approved"], None, None, *turned_down),
        ("all applicants", declined["applications"], None, None, *(each["default_rate"] for each in factors)),
    ]
    return PageTable("declined", "Default rates that are assumed of who was not approved", columns, rows)


def npv_chart(report: Record) -> Chart:
    """Draw what is earned against how many default, by either rule as its cut-off moves."""
    series: dict[str, list[tuple[float, float]]] = {}
    for rule, word in _RULES.items():
        outcomes = [point["outcome"] for point in report["curve"] if point["rule"] == rule]
        series[f"NPV {word}"] = [(each["default_rate"], each["npv"]) for each in outcomes if each["loans"]]
    pd, value = (report["equal_number"][rule] for rule in _RULES)
    title = (
        f"NPV of {value['loans']:,} loans: {value['npv']:z,.0f} {report['unit']} by value, {pd['npv']:z,.0f} by PD"
        if pd["loans"]
        else "Today's cut-offs approve nobody"
    )
    note = (
        f"Of those by value {percent(value['default_rate'])} defaulted, of those by PD {percent(pd['default_rate'])}. "
        "Each line follows its cut-off, from few loans to all of them."
    )
    rows = [(line, *pair) for line, pairs in series.items() for pair in pairs]
    table = PageTable("trade_off", title, (Column("line"), *shares("default rate"), *counts("NPV")), rows)
    return Chart(
        title, draw(charts.trade_off(series, ("default rate", report["unit"])), f"{title}. {note}"), table, note
    )


routes = (Route("/strategy", show_strategy),)
