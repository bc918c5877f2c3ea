import { receiveChannels } from "../../web/src/platform.js";
import { ResolverHost } from "../../web/src/resolver-host.js";
import { loadFakeBridge } from "./fake-bridge.js";

const { control, traces } = await receiveChannels();
new ResolverHost(control, traces, loadFakeBridge);
