"""Pure: what the scripted person writes. Plain ASCII, so that every keyboard can type it."""

SENTENCES = (
    "Robin says the courier comes at 11:30 from Monday on.",
    "Order 4127 was late because the label had the old address.",
    "Two of the four late orders were our own mistake, the others waited for toner.",
    "Cedar Works wants its purchase number on every invoice from now on.",
    "Ask Kim whether the table on Thursday is for six or for seven.",
    "The total for week 12 is 18,240, about four percent more than last year.",
    "We should order paper when there are ten boxes left, not five.",
    "Willow Care moves to 14 Mill Lane in April; deliveries stay at the back door.",
    "The proof for the bakery needs a lighter green on brown paper.",
    "Numbers are in orders.csv, sorted by customer.",
    "Clear the window sills before Tuesday, the cleaners come at eight.",
    "Envelopes C5: three boxes a month for Maple Motors instead of two.",
)

ANSWERS = (
    "Thank you, 11:30 is fine. There will be about 15 parcels a day.",
    "I am sorry about the delay. The boxes leave today and should be with you tomorrow morning.",
    "Yes please, half past twelve suits me.",
    "Noted, we change the address from April on.",
    "Good, I take eight. Please send them next week.",
)

DRIVER_NOTES = (
    "Ring at the back door, the bell is on the left.",
    "Closed between 12 and 1.",
    "Please take the empty pallets along.",
    "Ask for Lee at the counter.",
)

COMMANDS = (
    "ls -goh",
    "cat tasks.md",
    "head -15 orders.csv",
    "grep Hazel orders.csv",
    "grep -c ' 500 ' server.log",
    "grep ' 404 ' server.log | tail -8",
    "sort -t, -k4 -n orders.csv | tail -5",
    "wc -l *",
    "tail -20 server.log",
    "cut -d, -f2 orders.csv | sort | uniq -c",
    "cal",
    "date",
    "df -h .",
)
