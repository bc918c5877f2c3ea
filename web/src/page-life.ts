/** What happens to a page: hidden, put to sleep, woken. Workers hear of none of it. */

export interface PageWatcher {
  /** It can be seen no longer; this may be the last that it hears. */
  readonly hidden: () => void;
  /** It is frozen, or waits in the back-forward cache, until it is awake or gone. */
  readonly sleep: () => void;
  readonly awake: () => void;
}

/** Tell `watcher` of the page that this script runs in, until the answer is called. Elsewhere there is none. */
export function watchPage(watcher: PageWatcher): () => void {
  if (typeof document !== "object") return () => undefined;
  const ended = new AbortController();
  const { signal } = ended;
  document.addEventListener(
    "visibilitychange",
    () => {
      if (document.visibilityState === "hidden") watcher.hidden();
    },
    { signal },
  );
  document.addEventListener("freeze", watcher.sleep, { signal });
  document.addEventListener("resume", watcher.awake, { signal });
  globalThis.addEventListener(
    "pagehide",
    ({ persisted }) => {
      if (persisted) watcher.sleep();
      else watcher.hidden();
    },
    { signal },
  );
  globalThis.addEventListener(
    "pageshow",
    ({ persisted }) => {
      if (persisted) watcher.awake();
    },
    { signal },
  );
  return () => {
    ended.abort();
  };
}
