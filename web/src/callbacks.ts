/** The host's callbacks, as our own code can call them: what they throw is theirs and stops nothing of ours. */

import { messageOf } from "./errors.js";
import { isNode } from "./platform.js";

/** Return what calls `callback`, if there is one, and tells what it throws, or rejects with, as that of an event's listener. */
export function guarded<T>(callback: ((value: T) => unknown) | undefined): (value: T) => void {
  return (value) => {
    try {
      const result = callback?.(value);
      // An async function's rejection would end Node.
      if (typeof result === "object" && result !== null) void Promise.resolve(result).catch(tell);
    } catch (cause) {
      tell(cause);
    }
  };
}

/** In browsers as they do it: to `window.onerror`. Node would end for that, so there it is only written. */
function tell(cause: unknown): void {
  if (!isNode && typeof reportError === "function") reportError(cause);
  else console.error(`a callback that was given to cra-wasm threw: ${messageOf(cause)}`, stackOf(cause));
}

function stackOf(cause: unknown): string {
  return cause instanceof Error && typeof cause.stack === "string" ? cause.stack : "";
}
