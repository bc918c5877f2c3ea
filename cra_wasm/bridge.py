"""What JavaScript sees: `pyodide.pyimport("cra_wasm.bridge")`.

Strings in, the bytes of an atlas too, and JSON text out; an error is `{"error": {code, message, details}}` in
the same place, never an exception. The module owns one `Resolver(tracing="deferred")`, which the first call
makes; `configure` makes it with timers, `attach` replaces it. No proxy of a Python object crosses the border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from . import __version__
from .errors import CRAError, InvalidInput, InvalidState, Json
from .model.atlas import Atlas
from .model.ids import uuid_text
from .model.limits import MAX_PACKAGE_BYTES
from .model.parse import parse_json
from .model.resolution import compact_json
from .platform.javascript import array_of, bytes_of, call_function, object_of, object_with_bytes, promise
from .resolver import Resolver
from .timing.config import HeartbeatConfig, SessionTTLConfig
from .trace.buffer import Batch

_Arguments = ParamSpec("_Arguments")
_Config = TypeVar("_Config", HeartbeatConfig, SessionTTLConfig)

_resolver: Final[list[Resolver]] = []
_listeners: Final[list[Any]] = []


def attach(resolver: Resolver) -> None:
    """Let JavaScript use this resolver from now on. The one before is closed.

    Raises:
        InvalidInput: `not_deferred`: JavaScript drains the traces, so the resolver must be deferred, without
            a storage of its own.
    """
    stats = resolver.statistics()
    if stats.tracing != "deferred":
        raise InvalidInput("not_deferred", "attach a Resolver(tracing='deferred')", pointer="/resolver")
    resolver.redeliver()  # InvalidState `buffer_consumed` when a storage of its own drains it
    if _resolver and _resolver[0] is not resolver:
        close()
    _resolver[:] = [resolver]
    _listen(resolver)


def _runtime() -> Resolver:
    if not _resolver:
        _resolver.append(Resolver(tracing="deferred"))
        _listen(_resolver[0])
    return _resolver[0]


def _timing(given: dict[str, Json], name: str, kind: type[_Config], code: str) -> _Config | None:
    """Read one of `configure`'s members; null and absent switch it off."""
    members = given.get(name)
    if members is None:
        return None
    if not isinstance(members, dict):
        raise InvalidInput(code, "give a JSON object or null", pointer=f"/{name}")
    known = {one.name for one in fields(kind)}
    for member in members:
        if member not in known:
            raise InvalidInput(code, f"there is no member `{member}`", pointer=f"/{name}/{member}")
    try:
        return kind(**members)
    except InvalidInput as error:
        raise InvalidInput(
            code, error.message, pointer=f"/{name}" + error.details.get("pointer", "")
        ) from None


def _error_json(error: CRAError) -> str:
    return compact_json({"error": error.to_dict()})


def _answers_in_json(function: Callable[_Arguments, Json]) -> Callable[_Arguments, str]:
    """Turn what a function returns or raises into JSON text."""

    @wraps(function)
    def answer(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> str:
        try:
            return compact_json(function(*args, **kwargs))
        except CRAError as error:
            return _error_json(error)

    return answer


def _object(text: str, *, code: str = "invalid_arguments") -> dict[str, Json]:
    value = parse_json(text, code=code)
    if not isinstance(value, dict):
        raise InvalidInput(code, "give a JSON object", pointer="")
    return value


def _arguments(text: str, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Json]:
    """Read a JSON object of arguments with exactly these members."""
    given = _object(text)
    for name in given:
        if name not in required and name not in optional:
            raise InvalidInput("invalid_arguments", f"there is no argument `{name}`", pointer=f"/{name}")
    for name in required:
        if name not in given:
            raise InvalidInput("invalid_arguments", f"the argument `{name}` is missing", pointer=f"/{name}")
    return given


def _summary(atlas: Atlas) -> dict[str, Json]:
    return {
        "atlas_id": atlas.atlas_id,
        "version": atlas.version,
        "name": atlas.name,
        "actions": len(atlas.actions),
        "policies": len(atlas.policies),
        "context_blocks": len(atlas.context_blocks),
        "context_packs": len(atlas.context_packs),
        "capabilities": len(atlas.capabilities),
        "warnings": _runtime().atlas_warnings(atlas.atlas_id),
    }


@_answers_in_json
def configure(options_json: str) -> Json:
    """Make the runtime with timers, before any other call; returns {"heartbeat", "session_ttl"}.

    `options_json`: {"heartbeat"?: {"interval_seconds"?}, "session_ttl"?: {"idle_timeout_seconds"?,
    "max_lifetime_seconds"?, "idle_warning_seconds"?}}. Without this call there are none.
    """
    given = _arguments(options_json, (), ("heartbeat", "session_ttl"))
    heartbeat = _timing(given, "heartbeat", HeartbeatConfig, "invalid_heartbeat")
    session_ttl = _timing(given, "session_ttl", SessionTTLConfig, "invalid_session_ttl")
    if _resolver:
        raise InvalidState("runtime_started", "configure it before any other call, or close it first")
    _resolver.append(Resolver(tracing="deferred", heartbeat=heartbeat, session_ttl=session_ttl))
    _listen(_resolver[0])
    return {"heartbeat": heartbeat and asdict(heartbeat), "session_ttl": session_ttl and asdict(session_ttl)}


@_answers_in_json
def load_atlas(source: Any, options_json: str = "") -> Json:
    """Load an atlas and return its counts and warnings; see `Resolver.load_atlas`.

    `source` is JSON text, or a Uint8Array or ArrayBuffer with UTF-8 JSON or the zip of a package;
    `options_json` is {"strict"?}.
    """
    strict = _arguments(options_json or "{}", (), ("strict",)).get("strict", True)
    if not isinstance(strict, bool):
        raise InvalidInput("invalid_arguments", "`strict` is true or false", pointer="/strict")
    given = source if isinstance(source, str) else bytes_of(source, MAX_PACKAGE_BYTES)
    return _summary(_runtime().load_atlas(given, strict=strict))


@_answers_in_json
def get_atlas(atlas_id: str) -> Json:
    """Return a loaded atlas as it was written; that of a package has what stood in its files."""
    return _runtime().atlas(atlas_id).model_dump(mode="json", exclude_unset=True)


@_answers_in_json
def unload_atlas(atlas_id: str) -> Json:
    """Unload an atlas and return {"atlas_id"}."""
    _runtime().unload_atlas(atlas_id)
    return {"atlas_id": atlas_id}


@_answers_in_json
def list_atlases() -> Json:
    """Return the counts of each loaded atlas."""
    return [_summary(atlas) for atlas in _runtime().atlases()]


@_answers_in_json
def create_session(agent_id: str, goal: str, hash_algorithm: str = "", parent_session_id: str = "") -> Json:
    """Start a session and return {"session_id"}; an empty `hash_algorithm` means the resolver's, an empty
    `parent_session_id` none.
    """
    session_id = _runtime().create_session(
        agent_id,
        goal,
        hash_algorithm=hash_algorithm or None,
        parent_session_id=parent_session_id or None,
    )
    return {"session_id": session_id}


@_answers_in_json
def end_session(session_id: str, reason: str = "completed") -> Json:
    """End a session and return {"session_id", "reason", "duration_ms", "resolution_count",
    "action_count"}.
    """
    return {"session_id": session_id, **_runtime().end_session(session_id, reason)}


def resolve(session_id: str, goal: str, risk_tier: str = "low", options_json: str = "") -> str:
    """Return a Resolution's JSON. `options_json`, for the calls that need it: {"required_capabilities",
    "context_hints", "atlas_ids", "context", "reuse"}, each optional.
    """
    try:
        if not options_json:
            return _runtime().resolve(session_id, goal, risk_tier=risk_tier).to_json()
        options = _arguments(
            options_json, (), ("required_capabilities", "context_hints", "atlas_ids", "context", "reuse")
        )
        return _runtime().resolve(session_id, goal, risk_tier=risk_tier, **options).to_json()
    except CRAError as error:
        return _error_json(error)


def resolve_request(request_json: str) -> str:
    """Return the answer to a whole CARPRequest of operation resolve or validate; `execute` is a call of its
    own.
    """
    try:
        return _runtime().resolve_request(request_json).to_json()
    except CRAError as error:
        return _error_json(error)


def validate(request_json: str) -> str:
    """Return a ValidateResponse's JSON for a whole CARPRequest of any operation; see
    `Resolver.validate_request`.
    """
    try:
        return _runtime().validate_request(request_json).to_json()
    except CRAError as error:
        return _error_json(error)


@_answers_in_json
def explain(session_id: str, resolution_id: str) -> Json:
    """Return which policy decided each action; see `Resolver.explain`."""
    return _runtime().explain(session_id, resolution_id)


@_answers_in_json
def register_executor(action_id: str, function: Any) -> Json:
    """Let a JavaScript function run an action: `(parametersJson, callJson) => string | Promise<string>`.

    It gives JSON text; throwing or rejecting is action.failed. Returns {"action_id"}.
    """

    async def run_function(parameters: dict[str, Json], call: dict[str, Json]) -> Json:
        text = await call_function(function, compact_json(parameters), compact_json(call))
        return parse_json(text, code="invalid_result")

    _runtime().register_executor(action_id, run_function, with_call=True)
    return {"action_id": action_id}


@_answers_in_json
def unregister_executor(action_id: str) -> Json:
    """Remove an action's executor and return {"action_id", "removed"}."""
    return {"action_id": action_id, "removed": _runtime().unregister_executor(action_id)}


def execute(arguments_json: str) -> Any:
    """Return a JS Promise of an ExecuteResponse's JSON, or of an error's; it never rejects.

    `arguments_json`: {"session_id", "resolution_id", "action_id", "parameters", "idempotency_key"?}.
    """
    return promise(_execute(arguments_json))


async def _execute(arguments_json: str) -> str:
    try:
        given = _arguments(
            arguments_json,
            ("session_id", "resolution_id", "action_id", "parameters"),
            ("idempotency_key",),
        )
        response = await _runtime().execute_async(
            given["session_id"],
            given["resolution_id"],
            given["action_id"],
            given["parameters"],
            idempotency_key=given.get("idempotency_key"),
        )
        return response.to_json()
    except CRAError as error:
        return _error_json(error)


@_answers_in_json
def list_approvals(session_id: str = "") -> Json:
    """Return the approvals of one session, or of all when `session_id` is empty."""
    return _runtime().approvals(session_id or None)


@_answers_in_json
def decide_approval(arguments_json: str) -> Json:
    """Grant or refuse: {"approval_id", "granted", "approver", "reason"?, "expires_in_seconds"?, "uses"?}."""
    given = _arguments(
        arguments_json,
        ("approval_id", "granted", "approver"),
        ("reason", "expires_in_seconds", "uses"),
    )
    approval_id, approver, reason = given["approval_id"], given["approver"], given.get("reason", "")
    if given["granted"] is True:
        return _runtime().grant_approval(
            approval_id,
            approver=approver,
            reason=reason,
            expires_in_seconds=given.get("expires_in_seconds"),
            uses=given.get("uses"),
        )
    if given["granted"] is False:
        return _runtime().refuse_approval(approval_id, approver=approver, reason=reason)
    raise InvalidInput("invalid_arguments", "`granted` is true or false", pointer="/granted")


@_answers_in_json
def emit(session_id: str, event_type: str, payload_json: str) -> Json:
    """Record an event of the page's own and return {"event_id", "sequence"}, both null when it was dropped;
    see `Resolver.emit`.
    """
    raw = _runtime().emit(session_id, event_type, _object(payload_json, code="invalid_payload"))
    if raw is None:
        return {"event_id": None, "sequence": None}
    return {"event_id": uuid_text(raw.event_id(0)), "sequence": raw.first_sequence}


@_answers_in_json
def statistics() -> Json:
    """Return the runtime's state: {"version", "sessions_active", "resolutions_remembered", "atlases",
    "tracing", "pressure", "buffer": the members of `BufferStats`, "clock": those of `ClockStats`}.
    """
    stats = asdict(_runtime().statistics())
    return {"version": __version__, **stats, "atlases": list(stats["atlases"])}


@_answers_in_json
def running_sessions() -> Json:
    """Return {"session_ids", "lost_at_most"}: what a writer must know to recover the sessions of others.

    `session_ids` are those whose next event comes from here, the runtime's own among them. `lost_at_most` is
    how many events of one session can be un-acknowledged at any time, null where some may be dropped and not
    yet told (PROTOCOL 3.17).
    """
    runtime = _runtime()
    return {"session_ids": list(runtime.running_sessions()), "lost_at_most": runtime.unstored_at_most()}


def pending_events() -> int:
    """Return how many events wait to be drained."""
    return _runtime().buffer_stats().pending


@_answers_in_json
def on_pressure(function: Any = None) -> Json:
    """Have a JavaScript function called when much waits to be drained; see `Resolver.on_pressure`.

    It is called with true when a call waits until what is pending is stored, else with false. It replaces the
    one before and holds for resolvers attached later; undefined ends it. Returns {"listening"}.
    """
    _listeners[:] = [function] if callable(function) else []
    if _resolver:
        _listen(_resolver[0])
    return {"listening": bool(_listeners)}


def _listen(resolver: Resolver) -> None:
    resolver.on_pressure(_tell_pressure, wake_durable=_tell_waiting)


def _tell_pressure() -> None:
    for function in _listeners:
        function(False)


def _tell_waiting() -> None:
    for function in _listeners:
        function(True)


@_answers_in_json
def refuse_durable(reason: str, session_ids_json: str = "") -> Json:
    """Tell the calls that wait for the store that it refused them; see `Resolver.refuse_durable`.

    `session_ids_json`: a list of ids; empty means all. Returns {"told"}.
    """
    session_ids = parse_json(session_ids_json, code="invalid_arguments") if session_ids_json else None
    return {"told": _runtime().refuse_durable(reason, session_ids)}


def drain_traces(max_events: int) -> Any:
    """Return a JS object {batch_id, count, groups, bytes: Uint8Array}, or {error}.

    The array is the batch's own copy: its buffer may be transferred.
    """
    try:
        return _batch_to_js(_runtime().drain_traces(max_events))
    except CRAError as error:
        return object_of(_error_json(error))


def ack(batch_id: int) -> bool:
    """Tell that a batch is durable. False when it was not in flight."""
    return _runtime().ack(batch_id)


def redeliver() -> Any:
    """Return a JS array of the batches in flight, byte for byte, oldest first."""
    return array_of([_batch_to_js(batch) for batch in _runtime().redeliver()])


@_answers_in_json
def end() -> Json:
    """End the runtime, but let its last traces be drained until `close`; returns {"ended"}.

    Other calls answer `resolver_closed`. An executor that runs may still come to its end and record it.
    """
    if _resolver:
        _resolver[0].close()
    return {"ended": bool(_resolver)}


@_answers_in_json
def close() -> Json:
    """Close the runtime and return {"closed"}; the next call starts a new one."""
    closed = bool(_resolver)
    if _resolver:
        _resolver.pop().close()
    return {"closed": closed}


def _batch_to_js(batch: Batch) -> Any:
    header = {
        "batch_id": batch.batch_id,
        "count": batch.count,
        "groups": [group.to_dict() for group in batch.groups],
    }
    return object_with_bytes(compact_json(header), batch.data)
