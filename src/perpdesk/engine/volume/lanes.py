"""The self-trade guard of one token: who may quote what, and whose BUYs make room for an exit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perpdesk.strategies.volume_target import self_trade
from perpdesk.strategies.volume_target.pair import Pair
from perpdesk.strategies.volume_target.self_trade import Exit, Quotes, TokenBook


class Lanes:
    """The live quotes of all managed accounts on one token."""

    def __init__(self) -> None:
        self.book = TokenBook()
        self._cancels: dict[str, Callable[[], None]] = {}

    def ask(
        self, pair_id: str, account: int, buy: Decimal, sell: Decimal, cancel: Callable[[], None]
    ) -> bool:
        """May this pair quote now? If so it counts as live from here on, else it waits in line. cancel: asks
        the owner to take its BUY back when an exit of another needs the room."""
        self.book, may = self_trade.ask(self.book, Quotes(pair_id, account, buy, sell))
        if may:
            self._cancels[pair_id] = cancel
        return may

    def adopt(self, pair: Pair, account: int, cancel: Callable[[], None]) -> None:
        """A pair that a restart found: it is live whatever stands against it."""
        quotes = Quotes(
            pair.client_id,
            account,
            None if pair.buy.seen.is_terminal else pair.buy.price,
            None if pair.sell.seen.is_terminal else pair.sell.price,
        )
        if quotes.buy is not None or quotes.sell is not None:
            self.book = TokenBook((*self.book.live, quotes), self.book.waiting, self.book.exits)
            self._cancels[pair.client_id] = cancel

    def heard(self, pair: Pair) -> None:
        """What is known of a pair has changed: legs that have ended meet nobody any more."""
        if pair.buy.seen.is_terminal or pair.sell.seen.is_terminal:
            self.book = self_trade.leg_ended(
                self.book, pair.client_id, buy=pair.buy.seen.is_terminal, sell=pair.sell.seen.is_terminal
            )

    def withdraw(self, pair_id: str) -> None:
        """The pair is over, or does not want to quote any more."""
        self.book = self_trade.withdraw(self.book, pair_id)
        self._cancels.pop(pair_id, None)

    def room_for_exit(self, pair_id: str, account: int, limit: Decimal | None) -> bool:
        """May an exit be sent now? If not, those in its way were asked to take their BUYs back; ask again."""
        self.book, in_the_way = self_trade.ask_exit(self.book, Exit(pair_id, account, limit))
        for quotes in in_the_way:
            cancel = self._cancels.get(quotes.pair_id)
            if cancel is not None:
                cancel()
        return not in_the_way
