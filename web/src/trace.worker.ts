/** The trace worker: wiring only. */

import { receiveChannels } from "./platform.js";
import { TraceHost } from "./trace-host.js";

const { control, traces } = await receiveChannels();
new TraceHost(control, traces);
