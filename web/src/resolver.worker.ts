/** The resolver's worker: wiring only. */

import { receiveChannels } from "./platform.js";
import { loadPyodideBridge } from "./pyodide-host.js";
import { ResolverHost } from "./resolver-host.js";

const { control, traces } = await receiveChannels();
new ResolverHost(control, traces, loadPyodideBridge);
