"""Pure: `modicum privacy report`: what is done with a person's data, as Markdown, from the terms in force.

Guarantees: the report says nothing that the configuration does not make true; where the configuration decides, its value
stands there. docs/privacy.md has the same inventory and threats for readers of the source.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from capture.consent import NEVER, Consent, Terms
from capture.units import show_duration, show_share, show_size

ON_THE_MACHINE = (
    ("spool", "sealed chunks that wait to be sent", "the archive's reader only"),
    ("copies", "copies of what was recorded, for `modicum review`", "you only"),
    ("journal.jsonl", "applications and rules, chunk ids, bytes, commands", "you only"),
    ("consent.json", "the notice that you accepted, when", "you only"),
    ("standing.json", "your pause and exemptions, with your reasons", "you only"),
    ("device, device.key", "a random pseudonym and its signing key", "you only"),
    ("ledger", "bytes on the wire by day", "you only"),
    ("learned.json", "what recording costs on this machine, your hours of activity", "you only"),
)


def report(terms: Terms, consent: Consent | None) -> str:
    """Return the report.

    Args:
        terms: of the effective configuration. consent: the person's recorded yes, None when there is none.
    """
    sections = (_heading(terms, consent), _inventory(terms), _recipients(terms), _assessment(terms), _exact(terms))
    return "\n\n".join(sections) + "\n"


def _heading(terms: Terms, consent: Consent | None) -> str:
    said = "There is no consent: nothing is recorded."
    if consent is not None:
        at = datetime.fromtimestamp(consent.accepted_wall_s, UTC)
        said = f"Consent was given on {at:%Y-%m-%d %H:%M} UTC to the notice with SHA-256 `{consent.digest}`."
    purposes = ", ".join(terms.purposes) or "none (nothing can be read)"
    return f"""\
# What is done with your data

{said} Purposes: {purposes}. The assessment of people or of their performance is not a purpose, and none can be added: the
set of purposes is closed, and readers refuse what a chunk does not name."""


def _inventory(terms: Terms) -> str:
    kinds = [*terms.kinds]
    if terms.screenshots:
        every = show_duration(timedelta(seconds=terms.screenshot_interval_s))
        kinds.append(
            f"screenshots when the picture changed, at most every {every}, blackened where nothing may be seen"
        )
    rows = "\n".join(f"| {kind} | {_source(kind)} |" for kind in kinds)
    never = "\n".join(f"- {sentence}" for sentence in NEVER)
    local = "\n".join(f"| `{name}` | {what} | {who} |" for name, what, who in ON_THE_MACHINE)
    return f"""\
## Data inventory

Recorded, of {len(terms.applications)} patterns of window classes and {len(terms.sites)} sites:

| what | from |
|---|---|
{rows}

Never:

{never}

On your machine, in one folder (0700, each file 0600):

| file | what | who can read it |
|---|---|---|
{local}"""


def _source(kind: str) -> str:
    for word, source in (
        ("screenshots", "the X server, masked before any encoder sees it"),
        ("pointer", "the X server"),
        ("keys", "the X server; the key's identity never leaves the process"),
        ("focus", "the window manager"),
    ):
        if word in kind:
            return source
    return "the accessibility bus"


def _recipients(terms: Terms) -> str:
    day, month = ("no limit" if limit is None else show_size(limit) for limit in (terms.day_bytes, terms.month_bytes))
    hold_back = show_duration(timedelta(seconds=terms.hold_back_s))
    return f"""\
## Recipients, transfer, retention

- Readable by: {terms.readers}. Sealed on this machine (HPKE); `{terms.server}`, the network and the archive's storage
  hold ciphertext, the device's pseudonym, times and sizes.
- Held back here for {hold_back}, then sent: {", ".join(terms.links) or "nothing"}; at most {day} a day, {month} a month.
- Deleted by the archive after {terms.retention_days} days; kept in: {terms.region or "no region is stated"}.
- Processor: at most {show_share(terms.cpu_mains)} of a core on mains, {show_share(terms.cpu_battery)} on battery."""


QUESTIONS = (
    (
        "Is the processing necessary and proportionate?",
        "Only named applications and sites exist for it, keys are classes and times, mail and chat give structure only; "
        "recording becomes sparser before a budget of bytes or energy is used up.",
    ),
    (
        "What is the legal basis, and is it freely given?",
        "Consent, on the machine, by the person, to a notice made of the effective configuration. Whoever employs them must "
        "see to it that a no has no consequences: no software can. Not running it, pausing without limit, exemptions and "
        "withdrawing need nobody's leave, and operators see a count of exemptions, not who, which or why.",
    ),
    (
        "Whose data besides the person's own?",
        "Those who write to them: therefore mail and chat are masked, calls and meetings too. What stands in an allowed "
        "document stays visible: allow only what is yours or your team's to share.",
    ),
    (
        "Are special categories touched (GDPR, article 9)?",
        "Health, banking, private life and sign-in are denied outright by class and host, whatever is configured. A document "
        "about them in an allowed application is not told from another: use `modicum pause` or `modicum exempt "
        "sensitive-work`.",
    ),
    (
        "How do people exercise their rights?",
        "Access: `modicum review`, `modicum journal`. Erasure: `modicum forget` before sending, `modicum erase` after it. "
        "Objection: `modicum pause`, `modicum withdraw`. Information: the notice, and this report.",
    ),
    (
        "Can it be used to assess people?",
        "No purpose for it can be stated; a chunk carries a random pseudonym; who is behind it is in no chunk, topic or log.",
    ),
)

THREATS = (
    ("An archive that is open to everybody", "Chunks are sealed for one key; without its private half they are noise."),
    (
        "A reader with another purpose in mind",
        "Purposes, consent and expiry are sealed into each chunk; readers and exports refuse.",
    ),
    (
        "An administrator who wants more",
        "Their policy can only narrow; no key starts, hides or forbids; widening asks the person.",
    ),
    ("Recording unnoticed", "A sign stays on the screen; where none can be shown, nothing is recorded."),
    ("A secret on the screen", "Password fields stop keys and frames; password managers and sign-in pages are denied."),
    ("A window that cannot be identified", "No picture is taken at all."),
    (
        "A stolen laptop",
        "What waits is sealed; the person's own copies open only with a key in their account: encrypt the disk.",
    ),
    ("Another user of the machine", "Files are 0600 in a 0700 folder; the control socket checks who asks."),
    ("Somebody with the person's own account, or root", "Nothing here protects from them."),
)


def _assessment(terms: Terms) -> str:
    questions = "\n\n".join(f"**{question}** {answer}" for question, answer in QUESTIONS)
    threats = "\n".join(f"| {threat} | {answer} |" for threat, answer in THREATS)
    return f"""\
## Threats and answers

| threat | answer |
|---|---|
{threats}

## Questions of a data protection assessment

{questions}"""


def _exact(terms: Terms) -> str:
    def listed(words: tuple[str, ...]) -> str:
        return ", ".join(f"`{word}`" for word in words) or "none"

    return f"""\
## Exact terms

SHA-256 `{terms.exact()}`

- applications: {listed(terms.applications)}
- but not: {listed(terms.denied)}
- sites: {listed(terms.sites)}
- but not: {listed(terms.denied_sites)}
- mail and chat recorded whole: {listed(terms.content)}
- the desktop's background: {"seen" if terms.show_desktop else "black"}
- never: {listed(terms.never)}"""
