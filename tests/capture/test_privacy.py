"""The privacy report says what the configuration makes true."""

from __future__ import annotations

from capture.config import parse_config
from capture.consent import NEVER, Consent, digest, notice
from capture.effects import terms_of
from capture.privacy import report


def test_the_report_answers_from_the_configuration() -> None:
    config = parse_config(
        '[scope]\nallow = ["mousepad", "@ide"]\nsites = ["github.com"]\n[consent]\nretention = "90 days"\n'
        'region = "EU"\n[budget]\nday = "40 MB"\n[screens]\nmin_interval = "10 s"'
    )
    terms = terms_of(config, readers="the laboratory, key 1f2e")
    text = report(terms, Consent(digest(notice(terms)), 1_700_000_000, notice(terms), terms))
    for word in (
        *("# What is done with your data", "## Data inventory", "## Threats and answers", "## Exact terms"),
        *("2023-11-14 22:13 UTC", digest(notice(terms)), terms.exact(), "the laboratory, key 1f2e"),
        *(
            "at most every 10 s",
            "after 90 days",
            "kept in: EU",
            "at most 40 MB a day",
            "`mousepad`",
            "`github.com`",
            *NEVER,
        ),
    ):
        assert word in text, word
    assert "There is no consent" in report(terms, None)
    assert "screenshots when" not in report(terms_of(parse_config("[screens]\nenabled = false"), readers="r"), None)
