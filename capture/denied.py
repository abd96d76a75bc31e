"""Pure: what is never recorded, whatever the configuration says.

The lists name applications by their window class (lower case; `*` stands for anything). They are short on purpose: the
allowlist keeps everything else out that nobody named; these stay out even when somebody named them.
"""

from __future__ import annotations

PASSWORDS = (
    "*1password*",
    "*bitwarden*",
    "*dashlane*",
    "*enpass*",
    "*gnome-keyring*",
    "*keepass*",
    "*keepassxc*",
    "*kwalletd*",
    "*kwalletmanager*",
    "*lastpass*",
    "*nordpass*",
    "*passky*",
    "*pinentry*",
    "*proton?pass*",
    "*qtpass*",
    "*secrets",
    "*seahorse*",
    "*askpass*",
    "*buttercup*",
    "*authenticator*",
    "*authy*",
    "*polkit*",
)
REMOTE = (
    "*anydesk*",
    "*connections",
    "*freerdp*",
    "*krdc*",
    "*moonlight*",
    "*nomachine*",
    "*nxplayer*",
    "*parsec*",
    "*rdesktop*",
    "*remmina*",
    "*remote-viewer*",
    "*rustdesk*",
    "*spicy*",
    "*teamviewer*",
    "*vinagre*",
    "*virt-viewer*",
    "*vmware-view*",
    "*vnc*",
    "*wfica*",
    "*xpra*",
)
LOCK = (
    "*i3lock*",
    "*kscreenlocker*",
    "*light-locker*",
    "*lightdm*",
    "*screensaver*",
    "*sddm*",
    "*slock*",
    "*swaylock*",
    "*xlock*",
    "*xsecurelock*",
    "*gdm*",
    "*xtrlock*",
)
PRIVATE = ("*tor?browser*", "*torbrowser*", "*mullvad?browser*")
OWN = ("modicum*",)

DENIED = {
    "a password manager or a prompt for a secret": PASSWORDS,
    "a remote desktop: what is shown there is another machine's": REMOTE,
    "a lock or login screen": LOCK,
    "a browser for private browsing": PRIVATE,
    "modicum's own page": OWN,
}
"""Why, and which."""

BROWSERS = (
    "*brave*",
    "*chrom*",
    "*epiphany*",
    "*falkon*",
    "*firefox*",
    "*floorp*",
    "*iceweasel*",
    "*icecat*",
    "*konqueror*",
    "*librewolf*",
    "microsoft-edge*",
    "msedge*",
    "*.edge",
    "*midori*",
    "*palemoon*",
    "*pale moon*",
    "*navigator*",
    "opera*",
    "*.opera*",
    "*qutebrowser*",
    "*seamonkey*",
    "surf",
    "*vivaldi*",
    "*waterfox*",
    "zen",
    "zen-*",
    "*.zen_browser*",
    "*.zen",
)
"""Whose windows are judged by the site that they show, and are private when their title says so."""

PRIVATE_TITLES = (
    "private browsing",  # Firefox
    "incognito",  # Chromium, Chrome, Brave: in the accessible name only (capture/frames.py)
    "inprivate",  # Edge
    "private window",
    "private tab",
    "privater modus",  # German
    "privates fenster",
    "privates surfen",
    "inkognito",
    "navigation privée",  # French
    "fenêtre privée",
    "navegación privada",  # Spanish
    "incógnito",
    "navegação privada",  # Portuguese
    "anônima",
    "navigazione anonima",  # Italian
    "in incognito",
    "privénavigatie",  # Dutch
    "privévenster",
    "privat browsing",  # Danish, Norwegian
    "privat surfning",  # Swedish
    "prywatne",  # Polish
    "инкогнито",  # Russian
    "приватн",
    "プライベート",  # Japanese
    "シークレット",
    "隐私浏览",  # Chinese
    "无痕",
    "無痕",
    "시크릿",  # Korean
    "gizli",  # Turkish
)
"""What the windows of a private session say in their titles, lower case, in the languages of most desktops."""
