/** The page: boots the runtime, makes the panels and tells each what the others did. */

import type { Cra } from "../api.js";
import { createCra } from "../client.js";
import { ActionsPanel } from "./actions-panel.js";
import { AtlasBook } from "./atlas-book.js";
import { AtlasPanel } from "./atlas-panel.js";
import { bootWith } from "./boot-panel.js";
import { byId } from "./dom.js";
import { plural } from "./format.js";
import { GoalPanel } from "./goal-panel.js";
import { announce, showError } from "./notice.js";
import { SessionsPanel } from "./sessions-panel.js";
import { TracePanel } from "./trace-panel.js";

/** How often the store is asked for what other tabs, timers and heartbeats recorded. */
const POLL_MS = 2_000;

async function start(): Promise<void> {
  const cra = await bootWith((onProgress) =>
    createCra({
      baseUrl: new URL(".", document.baseURI),
      storage: "indexeddb",
      onProgress,
      onTraceProblem: (problem) => {
        announce(`Trace problem: ${problem.message}`, "bad");
      },
    }),
  );
  if (cra !== undefined) openWorkbench(cra);
}

function openWorkbench(cra: Cra): void {
  const book = new AtlasBook();
  const sessions = new SessionsPanel(cra, (sessionId) => {
    sessions.mark(sessionId);
    void trace.show(sessionId);
  });
  const trace = new TracePanel(cra, (sessionId, result) => {
    sessions.setVerdict(sessionId, result);
  });
  const follow = async (sessionId: string): Promise<void> => {
    await trace.show(sessionId);
    await refresh();
    sessions.mark(sessionId);
  };
  const onRecorded = (sessionId: string): void => {
    void follow(sessionId);
  };
  const actions = new ActionsPanel(book, { cra, onRecorded });
  const goal = new GoalPanel(cra, {
    onResolved: (resolved) => {
      actions.show(resolved);
    },
    onRecorded,
  });
  const onAtlases = (): void => {
    goal.setReady(book.size > 0);
    actions.markStale();
  };
  new AtlasPanel(cra, book, {
    onLoaded: (suggested) => {
      if (suggested !== undefined) goal.suggest(suggested);
      onAtlases();
    },
    onUnloaded: () => {
      onAtlases();
    },
  });

  /** Show what the store and the runtime have now, and read on in a trace that grew elsewhere. */
  const refresh = async (): Promise<void> => {
    try {
      const heads = await cra.sessions();
      sessions.update(heads);
      const shown = heads.find((head) => head.session_id === trace.sessionId);
      if (shown !== undefined && shown.next_sequence > trace.nextSequence) await trace.show(shown.session_id);
      await showFigures(cra);
    } catch (cause) {
      showError(byId("sessions-error", HTMLElement), "Could not read the stored sessions", cause);
    }
  };
  const poll = async (): Promise<void> => {
    if (document.visibilityState === "visible") await refresh();
    window.setTimeout(() => void poll(), POLL_MS);
  };
  byId("workbench", HTMLElement).hidden = false;
  void poll();
}

async function showFigures(cra: Cra): Promise<void> {
  const { resolver, traces } = await cra.statistics();
  const { buffer } = resolver;
  byId("runtime", HTMLElement).textContent = [
    `cra_wasm ${resolver.version}`,
    plural(resolver.sessions_active, "open session"),
    `${plural(buffer.pending + buffer.in_flight, "event")} pending, ${buffer.refused} refused`,
    `${plural(traces.events_stored, "event")} stored by this tab in ${traces.store}`,
    ...(traces.events_quarantined > 0 ? [`${plural(traces.events_quarantined, "event")} quarantined`] : []),
    ...(traces.last_error === null ? [] : [`last store error ${traces.last_error.code}`]),
  ].join(" · ");
}

void start();
