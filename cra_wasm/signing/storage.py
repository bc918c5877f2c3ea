"""A storage that signs where its chains stand (PROTOCOL 3.19), for CPython; pages and Node have their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from ..errors import CRAError, InvalidInput, Json
from ..model.event import TraceEvent
from ..platform.clock import SystemClock
from ..platform.threads import new_lock
from ..ports import Clock, StorageBackend
from ..storage.rules import check_session_id, failed_error, parse_stored
from ..storage.tapped import TappedStorage
from ..trace.chain import named_algorithm
from ..trace.checkpoint import note_text, signed_entry, verifier_key, vkey_text
from .key_file import folder_key
from .side_file import SUFFIX, SideFile

DEFAULT_EVERY: Final = 10_000
_MAX_EVERY: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningStatistics:
    """How many checkpoints were `signed`, how often that (or removing them) `failed`, and how it did last.

    `last_error` is {"code", "message"} or None; it stays when a later one succeeds.
    """

    signed: int
    failed: int
    last_error: dict[str, Json] | None


class SigningStorage(TappedStorage):
    """`ports.StorageBackend`: another one, whose chains are signed where they stand.

        Resolver(storage=SigningStorage(JsonlStorage(folder), folder))

    A session is signed when a call of store_events ended it or took it past a multiple of `every`: after the
    other storage has the events and before the call returns, which takes a signature, a read and an fsync.
    Checkpoints stand in `<folder>/<session_id>.checkpoints.jsonl`, where `cra-wasm verify` takes those beside
    a JsonlStorage's files, by ascending size. Their key is `<folder>/checkpoint.key.pem` (PKCS#8, mode 0600):
    a Node store may share it, and whoever reads it signs like you. Around a JsonlStorage without `fsync`, a
    power cut can lose events whose checkpoint stays: verification tells that as a cut.

    What cannot be signed costs no event and raises nothing: `statistics()` and `health_check()` tell of it,
    and the session's next checkpoint covers its events. Ends that were stored and not signed, as by a process
    that died, are signed here, when the storage is opened. For that the other storage counts each session:
    SQLite by its index, JsonlStorage by reading each file through once, as at its first use: some 2 s a GB.

    Args:
        inner: where events go; closed with this one, and left open when this one cannot be made.
        folder: of the checkpoints and their key, created when missing.
        every: events of a session between two checkpoints, 1 to 1,000,000,000.
        clock: tells the time in a checkpoint.

    Raises:
        InvalidInput: `invalid_checkpoint_every`.
        InvalidState: `key_unsafe` where others may read the key (not asked on Windows).
        BackendFailure: `signed_unavailable` without `cra-wasm[signed]`, as in Pyodide; `storage_failed` where
            the key can neither be read nor made, `storage_corrupt` where its file holds none.
    """

    def __init__(
        self,
        inner: StorageBackend,
        folder: str | PathLike[str],
        *,
        every: int = DEFAULT_EVERY,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(inner)
        if isinstance(every, bool) or not isinstance(every, int) or not 1 <= every <= _MAX_EVERY:
            raise InvalidInput(
                "invalid_checkpoint_every",
                f"`every` is a whole number of 1 to {_MAX_EVERY} events",
                pointer="/every",
            )
        self._every = every
        self._clock = clock or SystemClock()
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._key = folder_key(self._folder)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL
            raise failed_error("checkpoint", f"have a key in `{self._folder}`", error) from error
        self._name = verifier_key(self._key.public_key)
        self._lock = new_lock()
        self._algorithms: dict[str, str] = {}
        """Of sessions that have not ended, as their first events name it."""
        self._signed = self._failed = 0
        self._last_error: dict[str, Json] | None = None
        with self._counting_failures():
            for session_id in inner.sessions():
                self._sign_end(session_id)
        self.listen(self._sign_passed)

    def public_key(self) -> str:
        """Return the key by which is signed, `name+id+base64`: what `cra-wasm verify --public-key` takes."""
        return vkey_text(self._name)

    def checkpoints(self, session_id: str) -> list[str]:
        """Return a session's lines as their file has them, without line feeds: what a witness takes.

        Raises:
            InvalidInput: `invalid_id`.
            BackendFailure: `storage_failed`.
        """
        file = self._file(session_id)
        try:
            return file.lines()
        except OSError as error:
            raise failed_error("checkpoint", "read checkpoints", error) from error

    def statistics(self) -> SigningStatistics:
        """Tell what was signed since this storage was opened."""
        with self._lock:
            return SigningStatistics(signed=self._signed, failed=self._failed, last_error=self._last_error)

    def health_check(self) -> dict[str, Json]:
        """Return what the other storage does, and `checkpoints`: {"signed", "failed", "last_error"}."""
        return {**self._inner.health_check(), "checkpoints": asdict(self.statistics())}

    def delete_session(self, session_id: str) -> int:
        """Remove a session's events and its checkpoints but the newest; return how many events there were.

        Whoever kept a copy can hold it to what stays (as 3.18.3). Raises what the other storage does.
        """
        removed = self._inner.delete_session(session_id)
        with self._lock, self._counting_failures():
            self._algorithms.pop(session_id, None)
            self._file(session_id).keep_newest()
        return removed

    def _sign_passed(self, events: Sequence[TraceEvent]) -> None:
        """Sign the sessions that these events, which are stored, ended or took past a multiple."""
        firsts: dict[str, int] = {}
        newest: dict[str, TraceEvent] = {}
        for event in events:
            session_id, sequence = event.session_id, event.sequence
            firsts[session_id] = min(sequence, firsts.get(session_id, sequence))
            if session_id not in newest or newest[session_id].sequence < sequence:
                newest[session_id] = event
            if sequence == 0:
                with self._lock, self._counting_failures():
                    self._algorithms[session_id] = named_algorithm(event.event_type, event.payload_json)
        for session_id, event in newest.items():
            # What comes again goes past the same multiple again, and its file has that checkpoint.
            passed = (event.sequence + 1) // self._every > firsts[session_id] // self._every
            if passed or _is_end(event):
                with self._lock, self._counting_failures():
                    self._sign(event)

    def _sign_end(self, session_id: str) -> None:
        with self._counting_failures():
            # One that a Node store imported has its writer elsewhere (3.18.8).
            if (self._folder / "imported" / session_id).exists():
                return
            if self._file(session_id).newest_size() < self._inner.count(session_id):
                for last in self._inner.get_events(session_id, last=1):
                    if _is_end(last):
                        self._sign(last)

    def _sign(self, event: TraceEvent) -> None:
        session_id, size = event.session_id, event.sequence + 1
        algorithm = self._algorithm_of(session_id)
        if _is_end(event):
            del self._algorithms[session_id]
        text = note_text(session_id, size, event.event_hash, algorithm, self._clock.wall_ns())
        line = signed_entry(text, self._name, self._key.sign(text.encode()))
        self._signed += self._file(session_id).append(line, size)

    def _algorithm_of(self, session_id: str) -> str:
        known = self._algorithms.get(session_id)
        if known is None:
            line = next(iter(self._inner.iter_lines(session_id)), b"")
            first = parse_stored(self._inner.name, session_id, 0, line)
            known = self._algorithms[session_id] = named_algorithm(first.event_type, first.payload_json)
        return known

    def _file(self, session_id: str) -> SideFile:
        check_session_id(session_id)
        return SideFile(self._folder / f"{session_id}{SUFFIX}")

    @contextmanager
    def _counting_failures(self) -> Iterator[None]:
        """INVARIANT: nothing gets out, whatever it was: the events are stored, and their storer hears so."""
        try:
            yield
        except Exception as error:
            self._failed += 1
            told = error if isinstance(error, CRAError) else failed_error("checkpoint", "sign", error)
            self._last_error = {"code": told.code, "message": told.message}


def _is_end(event: TraceEvent) -> bool:
    return event.event_type == "session.ended"
