// `dotstub portal`: the captive portal window of the running daemon.

import { telling } from './tell.js';

export const portalCommand = telling(
  {
    name: 'portal',
    usage: 'portal start [DURATION] [NAME...] | stop | status',
    summary: "let a network's sign-in page be reached",
    details: `Some networks let nothing through before you have visited a page of theirs. "portal start" opens a window of DURATION
(5m) in which the names of portal.names, and each NAME (the page's own), go to the network's resolvers in cleartext. All
other names keep their mode. The window closes by itself; "portal stop" closes it, and has the servers connected to anew.`,
    words: ['start', 'stop', 'status'],
  },
  { least: 1, most: 66 },
);
