"""For whom a caller asks, and what for: the person whom it names, and whether it decides on nobody.

Who the caller is itself is `access`'s; that a question which decides nothing is not logged is `scoring`'s.
Tested in `serving/test_app.py`.
"""

from __future__ import annotations

import re

from loan_default.serving.http import Headers, Request
from loan_default.serving.protocol import invalid

ON_BEHALF_OF, PURPOSE = b"x-on-behalf-of", b"x-purpose"
WHAT_IF = b"what-if"
PERSON = "[A-Za-z0-9][A-Za-z0-9 .,@+'_-]{0,99}"  # who is named, in the log and in a header
_PERSON = re.compile(PERSON.encode())


def read_purpose(request: Request) -> None:
    """Note on a request to score who is named and what it is for.

    Raises:
        Refused: 400, a header says what it cannot.
    """
    headers: Headers = request.headers
    if (person := headers.get(ON_BEHALF_OF)) is not None:
        if not _PERSON.fullmatch(person):
            raise invalid("X-On-Behalf-Of must be a name of 1 to 100 ASCII letters, digits, blanks and .,@+'_-.")
        request.person = person.decode()
    if (purpose := headers.get(PURPOSE)) is not None:
        if purpose != WHAT_IF:
            raise invalid("X-Purpose must be what-if; without it the request decides on applicants.")
        request.is_what_if = True
