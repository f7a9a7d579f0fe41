"""Calls that come while another is being answered are answered together, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

_MOST = 64  # answered at once
_PAUSE = 0.001  # seconds: those who have just been answered come back together


class Together:
    """Lists for many users cost little more than for one, as weights are read once for all.

    So whoever comes within a moment of another is waited for.

    Parameters
    ----------
    call : callable
        From what calls have in common and a list of what they have not to a list of answers.
    """

    def __init__(self, call: Callable[[Any, list[Any]], list[Any]]) -> None:
        self._call = call
        self._waiting: list[tuple[Hashable, Any, asyncio.Future[Any]]] = []
        self._work: asyncio.Task[None] | None = None

    async def answer(self, common: Hashable, own: Any) -> Any:
        """The answer to one call; an error of the call is raised here."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((common, own, future))
        if self._work is None:
            self._work = asyncio.create_task(self._until_none_waits())
        return await future

    async def _until_none_waits(self) -> None:
        while self._waiting:
            await self._until_no_more_come()
            common = self._waiting[0][0]
            chosen = [one for one in self._waiting if one[0] == common][:_MOST]
            self._waiting = [one for one in self._waiting if one not in chosen]
            answers = await asyncio.to_thread(self._answers, common, [own for _, own, _ in chosen])
            for (_, _, future), answer in zip(chosen, answers, strict=True):
                if future.cancelled():  # the client has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        self._work = None

    async def _until_no_more_come(self) -> None:
        before = 0
        while before < len(self._waiting) < _MOST:
            before = len(self._waiting)
            await asyncio.sleep(_PAUSE)

    def _answers(self, common: Any, own: list[Any]) -> list[Any]:
        """Answers or errors; of calls that fail together, each fails or not by itself."""
        try:
            return self._call(common, own)
        except Exception as error:
            if len(own) == 1:
                return [error]
        return [answer for each in own for answer in self._answers(common, [each])]
