/** connectTraces: the same trace worker for hosts that run their own Pyodide. */

import type { TraceConnection, TraceOptions } from "./api.js";
import { checkedOptions, TRACE_OPTIONS } from "./checked-options.js";
import { importBridge } from "./bridge.js";
import type { PyodideLike } from "./bridge.js";
import { folderUrl } from "./platform.js";
import { TraceSource } from "./source.js";
import { DEFAULT_DEADLINES, TraceClient } from "./traces.js";

/**
 * Store what the host's own `cra_wasm.bridge` emits. `pyodide` has the cra-wasm wheel installed; it may run on the page
 * or in a worker. The bridge has one consumer: connect once, and close before connecting again. `close` stores what is
 * pending and leaves Python as it is.
 *
 * Sessions that Python hashes with BLAKE3 are stored as well. Python needs the package for it: before the first such
 * session, `await pyodide.loadPackage("blake3")`; without it the bridge answers `hash_unavailable`.
 *
 * Rejects with `boot_failed` where the wheel is missing, `invalid_arguments` as createCra, or with the store's error.
 */
export async function connectTraces(pyodide: PyodideLike, given: TraceOptions = {}): Promise<TraceConnection> {
  const options = checkedOptions(given, TRACE_OPTIONS);
  const site = await folderUrl(options.baseUrl ?? new URL("..", import.meta.url));
  const bridge = importBridge(pyodide);
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  let source: TraceSource | null = null;
  const connectSource = (port: MessagePort): Promise<void> => {
    source?.close();
    source = new TraceSource(port, bridge, source);
    return Promise.resolve();
  };
  const release = (): void => {
    source?.close();
    bridge.destroy?.();
  };
  let client: TraceClient;
  try {
    client = await TraceClient.start(site, connectSource, options, deadlines);
  } catch (cause) {
    release();
    throw cause;
  }
  /** Where a flush ends: what Python makes while the trace worker hears of it need not be waited for. */
  const made = (): number | null => {
    try {
      return source?.made() ?? null;
    } catch {
      // Python is gone or was given back, which the trace worker knows to tell.
      return null;
    }
  };
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    try {
      await client.flush();
    } finally {
      // Python goes on, and so may its sessions.
      await client.release({ final: false });
      release();
    }
  };
  return {
    flush: (flushOptions) => client.flush(flushOptions, made()),
    traces: (sessionId) => client.traces(sessionId),
    verify: (sessionId, verifyOptions) => client.verify(sessionId, verifyOptions),
    checkpoints: (sessionId) => client.checkpoints(sessionId),
    publicKey: () => client.publicKey(),
    exportJsonl: (sessionId) => client.exportJsonl(sessionId),
    exportStream: (sessionId) => client.exportStream(sessionId),
    importSession: (source) => client.importSession(source),
    pin: (sessionId, pinned) => client.pin(sessionId, pinned),
    sealedSessions: () => client.sealedSessions(),
    sessions: () => client.sessions(),
    statistics: () => client.statistics(),
    close: () => (closing ??= close()),
  };
}
