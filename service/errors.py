"""The errors of use cases. `service/http/problems.py` says what each of them is answered with.

Conflict                    the request does not fit the present state
ConfirmationNeeded          somebody should confirm first
└── ConfirmationForbidden   somebody of another role should
SnapshotBehind              the snapshot that was asked for is not here yet
InvalidSetting              (ValueError) a setting that does not fit the encoder
SignInFailed                the identity provider does not vouch for somebody
└── NoRole                  it does, but they may do nothing here
ProviderUnavailable         the identity provider does not answer
"""

from __future__ import annotations

from indexer.screening.effect import Effect, Reason


class Conflict(Exception):
    """The request conflicts with the present state; the message is a sentence with the reason."""


class ConfirmationNeeded(Exception):
    """An image needs confirmation before it becomes a reference.

    effect, reasons: its effect, and why confirmation is needed. role: that may confirm it.
    """

    def __init__(self, detail: str, effect: Effect, reasons: tuple[Reason, ...], role: str) -> None:
        super().__init__(detail)
        self.effect = effect
        self.reasons = reasons
        self.role = role


class ConfirmationForbidden(ConfirmationNeeded):
    """It was confirmed with a role that may not."""


class SnapshotBehind(Exception):
    """Another process has committed a newer snapshot than this one serves; it may be here in a moment."""


class InvalidSetting(ValueError):
    """A setting that does not fit the encoder, such as a number of layers; the message is a sentence."""


class SignInFailed(Exception):
    """The identity provider's answer is none that signs anybody in; the message is a sentence with the reason."""


class NoRole(SignInFailed):
    """Somebody signed in whose groups give no role here."""


class ProviderUnavailable(Exception):
    """The identity provider does not answer, or not as one; the message is a sentence with the reason."""
