"""Drafts a contract from the profile of a table: what a column may be, guessed from its name and its values.

Every guess is marked as one, and comments say what a person has to decide. Profiles are `table_profile`'s; what a
contract may say is `risk.contract`'s.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from loan_default.risk.contract.columns import LOAN_ID, RESERVED, TERM
from loan_default.risk.data.table_profile import UNDECLARED, ColumnProfile, NumberStyle, TableProfile
from loan_default.risk.reviewed_file import CONF
from loan_default.risk.units import TIME, unit_of

_SUSPECT_AUC, _NOTABLE_AUC = 0.9, 0.75  # of a single field
_FEW_NUMBERS = 10  # whole numbers of which there are no more may be names of categories


def _words(words: str) -> re.Pattern[str]:
    """Match whole parts of a column's name: `pay` in pay_0 and PayAmt, not in payer."""
    return re.compile(rf"(?:^|_)(?:{'|'.join(words.split())})(?:_|\d|$)")


_ID = _words("id key number nr no loan_?id account reference nomer dogovor dogovora")
_TIME = _words("issued? orig origination date month granted disbursed disbursement opened vydachi")
_OUTCOME = _words(
    "default defaulted bad good status target class outcome label y charged_?off delinquent repaid paid_?off "
    "credit_?risk severe serious ausfall situacao situacion inadimplente moroso incumplimiento defaut statut stato "
    "durum stav allapot stare sostoyanie defolt katastasi"
)
_GOOD_NAMES = _words("good repaid paid_?off fully_?paid credit_?risk")
_BAD_LEVELS = re.compile(
    r"default|charged|charge[ -]?off|bad|write|written|loss|npl|npa\b|foreclos|delinq|unpaid|not (fully )?(re)?paid|"
    r"ausfall|ausgefallen|inadimpl|preju[ií]z|castigad|moros|incumpl|impag|défaut|défaill|insolv|sofferenz|insolut|inkasso|wanbetal|mislighold|"
    r"takip|temerrüt|ödenme|batık|nesplac|prodlen|vymáh|niespłac|windykac|przetermin|késedel|felmond|restan|"
    r"дефолт|просроч|списан|взыскан|не ?погаш|банкрот|ανεξόφλ|καθυστέρ|επισφαλ",
    re.I,
)
_EITHER = re.compile("foreclos|settled", re.I)  # a default, or in some countries a loan that was repaid
_GOOD_LEVELS = re.compile(
    r"paid|repaid|good|closed|no[n]?[ -]?default|performing|ok|getilgt|bezahlt|liquidad|quitad|pagad|rembours|estint|"
    r"afgelost|betald|betalt|kapan|öden|splacen|spłacon|fizetve|lezár|achitat|погаш|выплач|закрыт|εξοφλ",
    re.I,
)
_PAID_LATE = re.compile(r"\b(re|late )paid\b|\bpaid[ -]late\b", re.I)  # a loan that has ended, whatever it was before
_OPEN_LEVELS = re.compile(
    r"current|running|ongoing|late|overdue|grace|issued|open|active|arrear|pending|in process|"
    r"laufend|in corso|lopend|löpande|açık|em dia|em aberto|atras|vigente|al corriente|en cours|devam|aktiv|"
    r"aktywn|действу|активн|текущ|открыт|ενεργ",
    re.I,
)
_LAST_PAYMENT = re.compile(
    r"last_((re)?pa?y|pymnt|emi|instal)|letzte_zahlung|ultimo_pag|dernier_paiement|son_odeme|"
    r"posledn\w+_(platezh|splat)|ostatni\w+_(splat|wplat)"
)
_AFTERWARDS = re.compile(
    r"recover|collect|settle|hardship|charge_?off|write_?off|written|out_prncp|outstanding|total_(pymnt|rec|paid)|"
    r"(principal|interest|fees?|amount|amt|emis?|instal+ments?)_(re)?paid(_|$)|(re)?paid_(principal|interest|fees?|amount|amt)|"
    rf"{_LAST_PAYMENT.pattern}|next_((re)?pa?y|pymnt|emi|instal)|"
    r"(valor|total|montante|juros|monto|importe|montant|capital|importo)_(pago|pagado|paye|pagato)s?(_|$)|dias_((de|em)_)?(atraso|mora)|"
    r"vzyskan|days?_past|dpd|arrear|closed|close_date|foreclos|default_date|loss|pymnt_plan|last_fico"
)
_PROTECTED = _words(
    "sex gender age marital marriage married ethnic ethnicity race religion religious nationality foreign "
    "personal_status disability pregnant dependents? caste birth birthday born dob "
    "geschlecht alter familienstand nationalitat staatsangehorigkeit geburtsdatum "
    "sexe etat_civil nationalite naissance date_naissance sexo edad estado_civil nacionalidad nacimiento "
    "idade nascimento nacionalidade raca sesso nascita stato_civile geslacht leeftijd geboortedatum plec wiek "
    "urodzenia data_urodzenia stan_cywilny obywatelstwo cinsiyet yas medeni dogum uyruk "
    "pohlavi vek rodinny_stav narozeni neme eletkor csaladi_allapot szuletes szuletesi varsta stare_civila nasterii "
    "kon kjonn alder civilstand fodelsedatum pol vozrast semeinoe_polozhenie grazhdanstvo natsionalnost rozhdeniya "
    "deti detei fylo ilikia gennisis oikogeneiaki"
)
_PROTECTED_LEVELS = (  # of which most of a column's are, whatever it is called
    "m f male female man woman masculino feminino",
    "married single divorced widowed unmarried separated casado solteiro divorciado viuvo",
    "sc st obc",  # India's castes
    "hindu muslim christian sikh jain buddhist jewish",
    "white black asian hispanic latino caucasian",
)
_AGE_OF_THINGS = re.compile(  # which says nothing of the applicant's
    r"(sim|account|acct|vehicle|car|auto|property|building|house|home|loan|credit|file|card|line|trade|device|handset|phone|"
    r"company|business|firm|relationship|debt|asset|collateral|document)_age(?=_|$)"
)
_RATES = (
    "rate apr roi interest stavka taxa juros interes tasa_(de_)?interes taux zins zinssatz tasso oprocentowanie faiz "
    "urok kamat dobanda ranta"
)
_OPINIONS = _words(f"grade sub_?grade score rating ball skoring skoringovyi reiting {_RATES}")
_BUREAUS = _words(
    "bureau buro fico cibil schufa experian equifax transunion crif vantage serasa datacredito"
)  # whose scores no lender makes
_POINTS = _words("score scores points ball skoring skoringovyi")
_MONEY = _words(
    "amount amnt amt loan income inc salary balance bal limit lim value due debt mortdue mortgage payment pymnt "
    "installment instalment emis? price funded assets savings "
    "betrag kreditbetrag valor montante renda entrada monto importe ingresos montant revenu einkommen importo reddito "
    "kwota rata dochod wydatki tutar tutari gelir geliri borc limiti degeri taksit castka prijem dluh splatka osszeg "
    "jovedelem tartozas suma venit belopp inkomst summa dokhod zarplata platezh dolg zadolzhennost poso eisodima"
)
_LATIN = dict(  # a letter, without its marks, and what is written for it: of alphabets that are read letter by letter
    re.findall(
        r"(\w)(\w*)",
        "łl øo đd ßss æae ıi "
        "аa бb вv гg дd еe жzh зz иi кk лl мm нn оo "
        "пp рr сs тt уu фf хkh цts чch шsh щshch ыy эe юyu яya "
        "ъ ь іi єie ґg јj љlj њnj ћc ђdj џdz "
        "αa βv γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs ςs τt υy φf χch ψps ωo",
    )
)
_LETTERS = str.maketrans(
    _LATIN | {letter.upper(): latin.capitalize() for letter, latin in _LATIN.items() if letter not in "ßı"}
)
_IF_WRONG = "  # where letters in this file look wrong, write the code page of its country: cp1250, cp1254, cp1257 …"
_ZEROS = ("nil", "zero", "nul", "nihil")  # words that say the number 0
_UNNAMED = "units of money"
_CURRENCIES = {
    "dollars": "$ USD US$",
    "euros": "€ EUR",
    "pounds": "£ GBP",
    "francs": "CHF",
    "reais": "R$ BRL",
    "rupees": "₹ Rs Rs. INR",
    "yen": "¥ JP¥",
    "złoty": "zł PLN",
    "korun": "Kč CZK",
    "forints": "Ft HUF",
    "lira": "₺ TL TRY",
    "lei": "lei RON",
    "rubles": "₽ руб руб. RUB",
    "hryvnias": "₴ грн грн. UAH",
    "leva": "лв лв. BGN",
    "shillings": "KSh Ksh KES TSh Tsh TZS USh Ush UGX",
    "naira": "₦ NGN",
    "rand": "ZAR",
    "rupiah": "Rp IDR",
    "ringgit": "RM MYR",
}
_INCOME = _words(
    "income inc salary wage earnings einkommen gehalt renda ingresos revenu reddito dochod "
    "gelir geliri prijem jovedelem venit inkomst dokhod zarplata eisodima"
)
_PERCENT = _words(f"percent pct util utili[sz]ation ratio dti ltv debtinc share dolya {_RATES}")
_RATE = _words(_RATES)
_COUNTS = _words("number num nr count counts cycle cycles kolichestvo chislo")
_EVENTS = _words("enquiry enquiries inquiry inquiries inq delinquencies times zaprosy prosrochki")
_DAYS_LONG = _words("days?")
_MONTHS = _words("months? mths? mos? mes meses mois mesi monaten? maanden srok term duration clage tenor tenure period")
_TERMS = re.compile(
    r"((loan_)?(term|tenor|tenure|duration)|laufzeit|plazo|prazo|duree|durata|looptijd|okres|vade|futamido|splatnost|termen|"
    r"srok(_kredita)?|diarkeia|"
    r"(no|nr|n|num|number_of|numero(_de)?|qtde?(_de)?|anzahl|nombre_de)_"  # of instalments, as a rule one a month
    r"(instal+ments|emis|parcelas|prestacoes|cuotas|raten|mensualites))(_(in_)?("
    r"months?|mths?|mos?|monaten?|meses|mois|mesi|maanden|miesiace|miesiacach|ay|honap|mesice|mesicu|luni|mes|mesyatsev|"
    r"(?P<week>weeks?|wks?|wochen|semanas|semaines|settimane|weken|tygodnie|hafta|nedel)|"
    r"(?P<day>days?|tagen?|dias|jours|giorni|dagen|dni|gun|dnei)))?"
)
_LONGEST_TERM = 480  # months
_YEARS = _words("years? yrs? age yoj length jahren? anos annees? anni jaren lata lat roky yil")
_MONTHLY = _words(
    "monthly month pm emis? a_m monatlich mensuel mensual mensal mensile miesieczny miesieczne maandelijks "
    "aylik mesicni havi lunar manadlig mesyats ezhemesyachnyi"
)
_DAILY = _words("daily day")
_CODES = _words("code zip zipcode zip_code postcode postal naics sic branch")
_DATES = _words("date day dt")
# Words of which names are glued together, as in loanamount and birthdate.
_GLUED = re.compile(
    "account age amount annual application approval approved balance bank birth borrower branch card cash city "
    "client code count credit creation customer date day days debt default due duration education employment flag "
    "gender gross home house id income instal+ment interest issue job last length limit loan marital max min month "
    "monthly months net number open opened owner ownership payment postal price property purpose rate ratio residence "
    "salary score sex start state status system term time total type use value year years".replace(" ", "|")
)
_FIRST_DAYS = (("1899-12-30", "a spreadsheet's"), ("1960-01-01", "SAS"), ("1970-01-01", "R and Unix"))
_DAYS = (3_000, 80_000)  # between which counted days are dates of loans


@dataclass(frozen=True)
class Draft:
    """A drafted contract: its text, and the columns that were guessed for what every contract needs, if any."""

    text: str
    outcome: str | None
    time: str | None
    id: str | None
    suspects: Mapping[str, str]


_LONGEST_NAME = 50  # letters of a field's, which leave room for what is put before and behind it
_MARK = re.compile(r"(?<=[#.:] )(GUESS|DECIDE)\b")


def marked_lines(text: str) -> dict[str, list[int]]:
    """Return the lines, counted from 1, of each `GUESS` and each `DECIDE` of a draft that a person has not deleted."""
    lines: dict[str, list[int]] = {"GUESS": [], "DECIDE": []}
    for number, line in enumerate(text.splitlines(), 1):
        for mark in _MARK.findall(line):
            lines[mark].append(number)
    return lines


@dataclass(frozen=True)
class StatusGuess:
    """The texts of a status column, by what they may mean; `is_sure` where their words say it."""

    column: str
    defaulted: tuple[str, ...]
    repaid: tuple[str, ...]
    unresolved: tuple[str, ...]
    is_sure: bool


def normalise(column: str) -> str:
    """Turn a column's name into a field's: small letters, figures and _, beginning with a letter."""
    letters = unicodedata.normalize("NFKD", column.strip()).translate(_LETTERS)  # ä is a, and й is и
    plain = letters.encode("ascii", "ignore").decode()
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", plain)
    text = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    text = "_".join(map(_unglued, text.split("_")))
    text = text if re.match("[a-z]", text) else f"field_{text}"
    return text[:_LONGEST_NAME].rstrip("_")


def _unglued(part: str) -> str:
    """Divide a part of a name that is nothing but known words: loanamount, not corporate."""
    if not re.fullmatch(f"(?:{_GLUED.pattern})+", part):
        return part
    words = next(_divisions(part), ())
    return "_".join(words) or part


def _divisions(part: str) -> Iterator[tuple[str, ...]]:
    """Yield the ways to read a text as known words, longer words first."""
    if not part:
        yield ()
    for size in range(len(part), 0, -1):
        if _GLUED.fullmatch(part[:size]):
            yield from ((part[:size], *rest) for rest in _divisions(part[size:]))


def guess_outcome(profile: TableProfile) -> StatusGuess | None:
    """Guess which column tells how a loan ended: few levels, and a name or levels that speak of it."""
    best: tuple[float, ColumnProfile] | None = None
    for column in profile.columns:
        if not 2 <= column.distinct <= 20 or not column.levels or column.formats:
            continue
        name = normalise(column.name)
        points = 3.0 * bool(_OUTCOME.search(name)) + 2.0 * any(_BAD_LEVELS.search(level) for level in column.levels)
        points += (column.distinct == 2) + (column.name == profile.columns[-1].name)
        points -= 2.0 * _is_protected(name) + 2.0 * (column.missing > 0)
        if points >= 3 and (best is None or points > best[0]):
            best = points, column
    return _guess_status(best[1]) if best else None


def _guess_status(column: ColumnProfile) -> StatusGuess:
    levels = column.levels
    either = tuple(level for level in levels if _EITHER.search(level))
    speaking = [level for level in levels if level not in either]
    bad = tuple(level for level in speaking if _BAD_LEVELS.search(level) and not re.match(r"non?[ -]", level, re.I))
    late = [level for level in speaking if _PAID_LATE.search(level)]
    unresolved = tuple(level for level in speaking if level not in (*bad, *late) and _OPEN_LEVELS.search(level))
    good = tuple(level for level in speaking if level not in (*bad, *unresolved) and _GOOD_LEVELS.search(level))
    if bad and good:
        rest = tuple(level for level in levels if level not in (*bad, *good, *unresolved))
        return StatusGuess(column.name, bad, good, (*unresolved, *rest), is_sure=not rest)
    plain = {re.sub(r"\.0+$", "", level).lower(): level for level in levels}
    ones = next((plain[word] for word in ("1", "true", "yes", "y", "t") if word in plain), levels[-1])
    zeros = tuple(level for level in levels if level != ones)
    if _GOOD_NAMES.search(normalise(column.name)):
        return StatusGuess(column.name, zeros, (ones,), (), is_sure=False)
    return StatusGuess(column.name, (ones,), zeros, (), is_sure=False)


def draft_contract(
    profile: TableProfile,
    status: StatusGuess | None,
    *,
    name: str,
    file: str,
    separator: str = ",",
    encoding: str = "utf-8",
) -> Draft:
    """Draft a contract from a profile whose single-field AUCs were measured by the guessed status, where there is one.

    Args:
        profile: of the table.
        status: the column that tells how a loan ended.
        name: of the book.
        file: the name of the file, for comments.
        separator: of the file's columns.
        encoding: of its text.
    """
    outcome = status.column if status else None
    others = [column for column in profile.columns if column.name != outcome]
    time = _first(others, _may_date_loans, _TIME)
    numbering = sorted(filter(_is_number_of_loans, others), key=lambda column: not _names_loans(column))
    identity = _first(numbering, _is_number_of_loans, _ID)
    special = {column.name for column in (time, identity) if column}
    suspects = {c.name: reason for c in others if c.name not in special and (reason := _suspicion(c))}
    fields = [column for column in others if column.name not in {*special, *suspects}]
    term = _term(fields) if time and status and status.unresolved else None
    names = _field_names([*filter(None, (identity, time)), *fields], identity, term)
    lines = [
        *_head(profile, name, file),
        *_time_head(time, some_run=bool(status and status.unresolved), has_term=term is not None),
        *_outcome_lines(status, profile, may_run=time is not None),
        *_files_lines(profile, separator, encoding),
        *_afterwards_lines(suspects),
        "fields:",
        *_identity_lines(identity, names),
        *_time_lines(time, names),
    ]
    money = _money(profile.style)
    for column in fields:
        lines += _field_lines(column, names[column.name], money)
    text = "\n".join(lines) + "\n"
    return Draft(text, outcome, time.name if time else None, identity.name if identity else None, suspects)


def _is_number_of_loans(column: ColumnProfile) -> bool:
    """Tell whether a column may number the loans: each row has another text or whole number."""
    return column.is_unique and (column.integral or column.numbers is None)


def _is_protected(name: str) -> bool:
    """Tell whether a field's name speaks of what no model may see, as of a person's age."""
    return bool(_PROTECTED.search(_AGE_OF_THINGS.sub("", name)))


def _has_protected_levels(column: ColumnProfile) -> bool:
    """Tell whether a column's texts speak of what no model may see, as M and F do."""
    levels = {normalise(level) for level in column.levels}
    hits = max(len(levels.intersection(words.split())) for words in _PROTECTED_LEVELS)
    return hits > 1 and 2 * hits >= len(levels)


def _may_date_loans(column: ColumnProfile) -> bool:
    """Tell whether a column's dates may be when loans were granted, and not of a birth or of what came afterwards."""
    name = normalise(column.name)
    return bool(column.formats) and not (_is_protected(name) or _AFTERWARDS.search(name))


def _names_loans(column: ColumnProfile) -> bool:
    return bool({"loan", "id"} & set(normalise(column.name).split("_")) and not re.search("custom|client", column.name))


def _first(
    columns: Sequence[ColumnProfile], fits: Callable[[ColumnProfile], bool], words: re.Pattern[str]
) -> ColumnProfile | None:
    """Return the first column that fits and whose name speaks of it, else the first that fits."""
    fitting = [column for column in columns if fits(column)]
    named = [column for column in fitting if words.search(normalise(column.name))]
    return next(iter([*named, *(column for column in fitting if column.numbers is None)]), None)


def _suspicion(column: ColumnProfile) -> str | None:
    """Say why a column may have been written after the loan was granted; None where nothing points to it."""
    if _AFTERWARDS.search(normalise(column.name)):
        return "its name speaks of what comes after the loan was granted"
    if column.auc is not None and column.auc >= _SUSPECT_AUC:
        return f"alone it tells how a loan ended with an AUC of {column.auc:.2f}"
    return None


def _field_names(
    columns: Sequence[ColumnProfile], identity: ColumnProfile | None, term: ColumnProfile | None
) -> dict[str, str]:
    """Name each column's field, that of the term `term`; names that would be the same are numbered."""
    names: dict[str, str] = {}
    for column in columns:
        plain, number = TERM if column is term else normalise(column.name), 2
        is_taken = plain in RESERVED or (plain == LOAN_ID and column is not identity)
        is_taken |= plain == TERM and column.numbers is None
        plain = f"its_{plain}" if is_taken else plain
        name = plain
        while name in names.values():
            name, number = f"{plain}_{number}", number + 1
        names[column.name] = name
    return names


def _text(value: str) -> str:
    """Write a text as YAML takes it, in quotes."""
    return json.dumps(value, ensure_ascii=False)


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _head(profile: TableProfile, name: str, file: str) -> Iterator[str]:
    rows = profile.columns[0].rows if profile.columns else 0
    schema = (CONF / "contract.schema.json").as_uri()  # wherever the draft is written or moved to on this machine
    yield f"# yaml-language-server: $schema={schema}"
    yield f"# Drafted from {file}: {rows:,} rows, {len(profile.columns)} columns."
    yield "# What was guessed from names and values is marked GUESS, what only a person can know DECIDE. Go through"
    yield "# the file, delete each mark when you have looked, and run: loan-default contract check THIS_FILE DATA"
    yield "#"
    yield "# DECIDE of each field: what it means, as you would say it to an applicant (description); what is impossible"
    yield "# (range), and whether a value outside is read as missing (outside: null, in quotes), as the end (clip), or"
    yield "# rejects the row (reject); where practice leaves no doubt, how risk moves with it (risk: rising or falling)"
    yield '# and a sentence for that side: reasons: {high: "… is higher than typical: {value}."}, or {level: …}'
    yield f"name: {name}  # the registered model, the experiment and the folder in the storage follow it"
    yield f"title: {_text(name.replace('_', ' ').capitalize())}  # DECIDE: whose loans these are, and of which years"
    yield "# selection: ...  # DECIDE: who is in the file and who is not (declined applications, …), for the model card"


def _term(fields: Sequence[ColumnProfile]) -> ColumnProfile | None:
    """Return the column with the loan's term: of that name, or else the only one in months that is called like it."""
    numbers = [column for column in fields if column.numbers is not None]
    if exact := next((column for column in numbers if normalise(column.name) == TERM), None):
        return exact
    named = [column for column in numbers if _TERMS.fullmatch(normalise(column.name)) and _counts_months(column)]
    return named[0] if len(named) == 1 else None


def _counts_months(column: ColumnProfile) -> bool:
    low, high = column.numbers or (0.0, 0.0)
    return column.integral and not column.missing and low >= 1 and high * _months_each(column) <= _LONGEST_TERM


def _months_each(column: ColumnProfile) -> float:
    """Return how many months each of the numbers of a term stands for, of weeks or days a share."""
    counted = _TERMS.fullmatch(normalise(column.name))
    duration = next((name for name, text in counted.groupdict().items() if text), "month") if counted else "month"
    return float(f"{float(unit_of(duration).size):.6g}")


def _time_head(time: ColumnProfile | None, *, some_run: bool, has_term: bool) -> Iterator[str]:
    """Yield whether loans have dates and have ended; `some_run`: a status says that not all have."""
    if time is None:
        yield "time: none  # GUESS: no column holds dates. Windows are drawn by the loans' ids, and none is out of time"
        yield "outcomes: final  # GUESS: every loan has ended. DECIDE: loans that still run must not count as repaid"
    elif some_run:
        yield "# GUESS: some loans still run, so an outcome counts once the term is over. DECIDE: how many months later"
        yield "# (grace_months of the outcome), as a default is booked later than it happens."
        if not has_term:
            yield "term: 36  # DECIDE: of all loans, in months; {by: product, months: {A: 36, B: 60}}, or {horizon: 12}"
    else:
        yield "# DECIDE: has every loan ended? Else delete outcomes: final: an outcome counts once the term is over"
        yield "# then, as a number field named term says, in months, or one number for all loans (term: 36)."
        yield "outcomes: final  # GUESS"
    yield "expect: {rejected_share_at_most: 0.05, default_rate_between: [0.001, 0.70]}"
    yield ""


def _outcome_lines(status: StatusGuess | None, profile: TableProfile, *, may_run: bool) -> Iterator[str]:
    """Yield which statuses mean what; where no date says when loans mature, none is of loans that `may_run`."""
    if status is None:
        yield "# DECIDE: no column was found that tells how a loan ended. Name it, and its texts."
        yield 'outcome: {column: "?", defaulted: ["1"], repaid: ["0"]}'
        yield ""
        return
    column = profile.by_name[status.column]
    payments = (each for each in profile.columns if each.formats and _LAST_PAYMENT.search(normalise(each.name)))
    last_payment = next(payments, None) if may_run else None
    yield f"# GUESS: {column.name} tells how a loan ended: {', '.join(column.levels)} (the most frequent first)."
    mark = "" if status.is_sure else "  # DECIDE: which of them mean default"
    yield "outcome:"
    yield f"  column: {_text(status.column)}"
    yield "  # definition: ...  # DECIDE: what a default is in your operation, in a sentence, and within how long"
    yield f"  defaulted: {_list(status.defaulted)}{mark}"
    yield f"  repaid: {_list(status.repaid)}"
    for level in status.unresolved:
        if not _OPEN_LEVELS.search(level):
            yield f"  # DECIDE: {level} may be a default, or ended without one, or still running; list it there"
    if status.unresolved and may_run:
        yield f"  unresolved: {_list(status.unresolved)}"
    if last_payment is not None:
        form = last_payment.formats[0]
        format_ = "" if form in UNDECLARED else f", format: {_text(form)}"
        yield "  # DECIDE: if this column is the month of the last payment, outcomes are known before the term is over:"
        yield f"  # known: {{last_payment: {_text(last_payment.name)}{format_}, months_after_default: 5}}"
    if status.unresolved and not may_run:
        yield f"  # DECIDE: list {', '.join(map(_text, status.unresolved))} above, or leave such loans out of the file:"
        yield "  # no date says when they end, so their rows are rejected"
    yield ""


def _files_lines(profile: TableProfile, separator: str, encoding: str) -> Iterator[str]:
    """Yield how the file is written, where it differs from what is read without a word."""
    style = profile.style
    values = {
        "separator": _text(separator) if separator != "," else "",
        "encoding": f"{encoding}{_IF_WRONG if encoding.startswith('cp') else ''}" if encoding != "utf-8" else "",
        "decimal": _text(style.decimal) if style.decimal != "." else "",
        "thousands": _text(style.thousands) if style.thousands else "",
        "currency": _list(style.currencies) if style.currencies else "",
        "negative_in_brackets": "true" if style.brackets else "",
    }
    if lines := [f"  {name}: {value}" for name, value in values.items() if value]:
        yield "files:  # GUESS: how the file is written"
        yield from lines
        yield ""


def _afterwards_lines(suspects: Mapping[str, str]) -> Iterator[str]:
    yield "# Columns that are written after a loan was granted: no field may read one, as it tells how the loan ended."
    if not suspects:
        yield "known_afterwards: []  # DECIDE: name those that you know of; * stands for anything"
        yield ""
        return
    yield "known_afterwards:  # DECIDE: take out what is known on the day of the decision, and describe it as a field"
    for column, reason in suspects.items():
        yield f"  - {_text(column)}  # GUESS: {reason}"
    yield ""


def _identity_lines(column: ColumnProfile | None, names: Mapping[str, str]) -> Iterator[str]:
    if column is None:
        yield "  # GUESS: no column numbers the loans, so their rows do. DECIDE: is there one? Its role is id."
        return
    yield f"  - name: {names[column.name]}  # GUESS: each row has another"
    yield f"    column: {_text(column.name)}"
    yield "    kind: text"
    yield "    role: id"
    yield "    description: The lender's number of the loan."


def _time_lines(column: ColumnProfile | None, names: Mapping[str, str]) -> Iterator[str]:
    if column is None:
        return
    yield f"  - name: {names[column.name]}  # GUESS: DECIDE whether this is when the loan was granted"
    yield f"    column: {_text(column.name)}"
    yield "    kind: month"
    yield "    role: time"
    yield from _format_lines(column)
    yield "    required: true"
    yield "    description: The month in which the loan was granted."


def _format_lines(column: ColumnProfile) -> Iterator[str]:
    if len(column.formats) > 1:
        yield f"    # DECIDE: day and month cannot be told apart; it may as well be {_text(column.formats[1])}"
    if column.formats[0] not in UNDECLARED:
        yield f"    format: {_text(column.formats[0])}"


def _field_lines(column: ColumnProfile, name: str, money: str) -> Iterator[str]:
    """Yield the description of a field, and before it what was seen."""
    yield ""
    yield f"  # {_profile_comment(column)}"
    if column.auc is not None and column.auc >= _NOTABLE_AUC:
        yield "  # DECIDE: it tells much of how a loan ended. Was it known on the day of the decision?"
    if not re.search("[a-z]", normalise(column.name).removeprefix("field")) and any(map(str.isalpha, column.name)):
        yield "  # DECIDE: its name was not read. Is it protected (sex, age … by role: protected)? Or was it written"
        yield "  # after the loan was granted? Then delete the field, and name the column under known_afterwards."
    yield from _day_lines(column, name)
    is_called_otherwise = name == TERM != normalise(column.name)
    yield f"  - name: {name}{'  # GUESS: after so many months an outcome counts' if is_called_otherwise else ''}"
    if column.name != name:
        yield f"    column: {_text(column.name)}"
    if _is_protected(name) or _has_protected_levels(column):
        yield from _protected_lines(column, "name" if _is_protected(name) else "levels")
    elif column.distinct == 0 or (column.distinct == 1 and not column.missing):
        yield "    kind: text"
        yield f"    role: segment  # it holds {'the same in each row' if column.distinct else 'nothing'}: leave it out"
    elif _is_number_of_loans(column) and _ID.search(name):
        yield "    kind: text"
        yield "    role: segment  # GUESS: each row has another, as a number has: leave it out, or give it the role id"
    elif column.formats:
        yield "    kind: month"
        yield "    role: support  # GUESS: for derived fields, as months_between(it, the time); else leave it out"
        yield from _format_lines(column)
    elif column.numbers is not None and not (_is_coded(column, name) or _CODES.search(name)):
        yield from _number_lines(column, name, money)
    elif column.levels:
        yield from _level_lines(column, name)
    else:
        yield "    kind: text"
        yield "    role: segment  # GUESS: for reports only, as it has too many different texts"
    yield f"    description: {_text(_describe(column.name, name))}"


def _day_lines(column: ColumnProfile, name: str) -> Iterator[str]:
    """Yield the months that a column named like a date may stand for, by the day from which it may count days."""
    if column.numbers is None or not (column.integral and _DATES.search(name)):
        return
    low, high = column.numbers
    if not _DAYS[0] <= low <= high <= _DAYS[1]:
        return
    yield "  # DECIDE: it may count days. Then write kind: month, without unit, range and outside, and the format by"
    yield "  # which its months are right; if it is when the loan was granted, role: time, and delete time: none above."
    for first, writer in _FIRST_DAYS:
        months = (f"{date.fromisoformat(first) + timedelta(days=int(days)):%Y-%m}" for days in (low, high))
        yield f'  #   format: "days since {first}" ({writer}): {" to ".join(months)}'


def _profile_comment(column: ColumnProfile) -> str:
    parts = [f"{column.missing_share:.1%} missing", f"{column.distinct:,} different values"]
    if column.numbers is not None:
        parts.append(f"{column.numbers[0]:z,.10g} to {column.numbers[1]:z,.10g}")
    if column.codes:
        parts.append(f"beside {', '.join(column.codes)}")
    if column.auc is not None:
        parts.append(f"alone an AUC of {column.auc:.2f}")
    return ", ".join(parts)


def _describe(column: str, name: str) -> str:
    """Describe a field by its name; by that of its column where this is written for people, or in other letters."""
    if name == TERM:
        return "Term of the loan."
    is_written_out = " " in column.strip() or not column.isascii() or (column.isupper() and len(column) < 5)
    text = column.strip(" .") if is_written_out else normalise(column).replace("_", " ")
    return f"{text[:1].upper()}{text[1:]}."


def _is_coded(column: ColumnProfile, name: str) -> bool:
    """Tell whether whole numbers of which there are few may be names of categories."""
    names = (_MONEY, _PERCENT, _DAYS_LONG, _MONTHS, _YEARS, _POINTS)
    counts = any(words.search(name) for words in names) or re.match(r"(n|num|count)_", name)
    counts_events = column.distinct > 2 and _EVENTS.search(name)
    few = column.distinct <= _FEW_NUMBERS and bool(column.levels) and not column.suffix
    return column.integral and few and not (column.money or counts or counts_events)


def _protected_lines(column: ColumnProfile, sign: str) -> Iterator[str]:
    yield f"    role: protected  # GUESS: by its {sign}. For fairness reports only: never a feature, never a reason"
    if column.formats:
        yield "    kind: month"
        yield from _format_lines(column)
    elif column.numbers is not None and len(column.levels) == 0:
        yield "    kind: number"
        yield "    unit: years" if re.search("age|alter|edad", column.name.lower()) else "    unit: count"
        low, high = _range(column, normalise(column.name))
        yield f"    range: [{low:z.15g}, {high:z.15g}]"
        yield '    outside: "null"'
    elif column.levels:
        yield "    kind: nominal"
        yield f"    levels: {_list(_levels(column))}"
    else:
        yield "    kind: text"


def _number_lines(column: ColumnProfile, name: str, money: str) -> Iterator[str]:
    assert column.numbers is not None
    unit, scale = (TIME, 1) if column.parts else _unit(column, name, money)
    unit = column.suffix or unit
    low, high = _range(column, name, scale)
    scored = _OPINIONS.search(name) and not (column.money or _MONEY.search(name))
    yield "    kind: number"
    yield "    role: feature"
    yield f"    unit: {unit}  # GUESS" + (": name the currency, as dollars or euros" if _UNNAMED in unit else "")
    if scale != 1:
        why = "the file has fractions, and" if scale > 1 else "the file counts weeks or days, and the number of"
        yield f"    scale: {scale}  # GUESS: {why} {unit} is so many times that"
    if column.suffix:
        yield f'    strip: " {column.suffix}"'
    if column.parts:
        yield f"    parts: {{{', '.join(f'{_text(letters)}: {months}' for letters, months in column.parts.items())}}}"
    yield f"    range: [{low:z.15g}, {high:z.15g}]  # GUESS"
    if column.words:
        meanings = ("0" if word.lower() in _ZEROS else "null" for word in column.words)
        words = ", ".join(f"{_text(word)}: {meaning}" for word, meaning in zip(column.words, meanings, strict=True))
        yield f"    words: {{{words}}}  # GUESS: what these texts beside numbers stand for; null is missing"
    codes = f"  # GUESS: {', '.join(column.codes)}: no value, and read as missing" if column.codes else ""
    yield f'    outside: "null"{codes}'
    if scored and not _BUREAUS.search(name):
        yield "    opinion: true  # GUESS: the lender's own opinion of the applicant"
    if scored:
        yield f"    risk: {'rising' if _PERCENT.search(name) else 'falling'}  # GUESS"


def _level_lines(column: ColumnProfile, name: str) -> Iterator[str]:
    coded = column.numbers is not None
    yield "    kind: nominal" + (
        "  # GUESS: numbers that may be names. DECIDE: number, ordered (safest first) or nominal" if coded else ""
    )
    yield "    role: feature"
    yield f"    levels: {_list(_levels(column))}"
    if _OPINIONS.search(name):
        yield "    opinion: true  # GUESS: the lender's own. DECIDE: kind: ordered, levels safest first"


def _levels(column: ColumnProfile) -> tuple[str, ...]:
    """Return the levels, numbers in their order and as `1` where the file writes `1.0`."""
    if column.numbers is None:
        return column.levels
    return tuple(f"{number:.15g}" for number in sorted({float(level.replace(",", ".")) for level in column.levels}))


def _money(style: NumberStyle) -> str:
    """Return what the file's money is counted in, by the one currency that stands in it."""
    named = {
        name for name, signs in _CURRENCIES.items() for sign in style.currencies if sign.strip(".") in signs.split()
    }
    return named.pop() if len(named) == 1 else _UNNAMED


def _unit(column: ColumnProfile, name: str, money: str) -> tuple[str, float]:
    """Guess the unit, and how many of it the file's 1 is."""
    assert column.numbers is not None
    low, high = column.numbers
    if name == TERM and (months := _months_each(column)) != 1:
        return TIME, months
    if column.money and not _INCOME.search(name):
        return (f"{money} a month" if _MONTHLY.search(name) else money), 1
    if column.percent or "%" in column.name or _PERCENT.search(name):
        fraction = not column.percent and low >= 0 and high <= 1.5
        span = " a day" if _DAILY.search(name) else " a month" if _MONTHLY.search(name) else " a year"
        return f"percent{span if _RATE.search(name) else ''}", 100 if fraction else 1
    if _INCOME.search(name):
        return f"{money} a {'month' if _MONTHLY.search(name) else 'year'}", 1
    for words, unit in (
        (_COUNTS, "count"),
        (_EVENTS, "count"),
        (_MONEY, f"{money} a month" if _MONTHLY.search(name) else money),
        (_DAYS_LONG, "days"),
        (_MONTHS, "months"),
        (_YEARS, "years"),
        (_POINTS, "points"),
    ):
        if words.search(name):
            return unit, 1
    return ("count" if column.integral and low >= 0 else "points"), 1


def _range(column: ColumnProfile, name: str, scale: float = 1) -> tuple[float, float]:
    """Widen what was seen to round numbers: from 0, or ten times as low, to ten times as high."""
    assert column.numbers is not None
    low, high = (number * scale for number in column.numbers)
    if _words("age").search(_AGE_OF_THINGS.sub("", name)):
        return 18, 110
    return (0.0 if low >= 0 else -_round_up(-10 * low)), _round_up(10 * high if high > 0 else 1.0)


def _round_up(number: float) -> float:
    """Return the next number that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= number * 0.999999)
