/** The trace worker, which ends at once when a test says so: as one that is killed or runs out of memory. */

const channel = new BroadcastChannel("cra-wasm tests: end trace workers");
channel.onmessage = () => {
  process.exit(9);
};
// It must not keep the worker alive by itself.
(channel as unknown as { unref(): void }).unref();

await import("../../web/src/trace.worker.js");
export {};
