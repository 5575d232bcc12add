"""The channel on which a run is started, followed and collected: one call of the machine instead of three."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from amlexec.targets.answers import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

    from amlexec.ssh.channel import Stream
    from amlexec.targets.ssh_verbs import Verbs

__all__ = ["RunChannel", "RunChannels"]


class RunChannel:
    """Closed at the end of a `with` block, unless it is kept for what comes next."""

    def __init__(self, run_id: str, stream: Stream, opened: contextlib.ExitStack) -> None:
        """`opened` closes the stream."""
        self.run_id, self.stream = run_id, stream
        self._opened = opened
        self.is_kept = False

    def __enter__(self) -> Self:
        self.is_kept = False
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_kept:
            self.close()

    def close(self) -> None:
        """End it. Idempotent."""
        self._opened.close()


class RunChannels:
    """The channels of runs on a machine, of which one is kept at a time."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._begun: RunChannel | None = None
        self._ended: RunChannel | None = None

    def launch(self, run_id: str, words: Sequence[str], text: bytes, timeout: float) -> tuple[int, str]:
        """Start a run with the verb `launch`; its exit code and standard error, 0 if the run has begun.

        The next `follow` of the run from its beginning continues on the same channel.
        """
        with self._opened("launch", run_id, words, text, timeout) as opened:
            stream = opened.stream
            while line := stream.stdout.readline(LONGEST_LINE):
                if line == b"begun\n":
                    stream.take_time()
                    opened.is_kept = True
                    self._begun = opened
                    return 0, ""
            return stream.wait() or 1, stream.stderr

    def follow(self, run_id: str, sizes: Sequence[int], *, with_results: bool) -> RunChannel:
        """A channel with the output of the verb `follow` after these sizes of both logs."""
        begun, self._begun = self._begun, None
        if begun is not None:
            if begun.run_id == run_id and with_results and not any(sizes):
                return begun
            begun.close()
        words = [*map(str, sizes), *(["results"] if with_results else [])]
        return self._opened("follow", run_id, words)

    def keep(self, followed: RunChannel) -> None:
        """Keep a channel that has shown the run's end, for `results`."""
        if (before := self._ended) is not None:
            before.close()
        followed.is_kept = True
        self._ended = followed

    @contextlib.contextmanager
    def results(self, run_id: str) -> Iterator[Stream | None]:
        """The channel with the results of a run that was followed to its end; None if there is none.

        None, too, if the connection was lost before anything came: a new one may work.
        """
        ended, self._ended = self._ended, None
        if ended is None:
            yield None
            return
        with ended:
            is_usable = ended.run_id == run_id and bool(ended.stream.stdout.peek(1))  # type: ignore[attr-defined]
            yield ended.stream if is_usable else None

    def _opened(
        self,
        verb: str,
        run_id: str,
        words: Sequence[str],
        given: bytes | None = None,
        timeout: float | None = None,
    ) -> RunChannel:
        with contextlib.ExitStack() as opened:
            stream = opened.enter_context(
                self._verbs.stream(verb, run_id, *words, input=given, timeout=timeout)
            )
            return RunChannel(run_id, stream, opened.pop_all())
