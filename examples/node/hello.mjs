// Ask before you act, in ten lines. Needs the site: ./build.sh site. Run: node examples/node/hello.mjs
import { readFile } from "node:fs/promises";
import { createCra } from "../../dist/site/lib/cra-wasm.js";

const cra = await createCra({ storage: "memory" });
await cra.loadAtlas(await readFile(new URL("../atlases/customer-support.atlas.json", import.meta.url), "utf8"));
const sessionId = await cra.createSession({ agentId: "hello-agent", goal: "Help the customer of order 1234" });
const { decision, denied_actions: denied } = await cra.resolve({ sessionId, goal: "Refund order 1234" });
console.log(decision.type, denied.map((action) => `${action.action_id}: ${action.reason}`));
await cra.endSession(sessionId);
console.log(await cra.verify(sessionId));
await cra.close();
