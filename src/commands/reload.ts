// `dotstub reload`.

import { telling } from './tell.js';

export const reloadCommand = telling(
  {
    name: 'reload',
    usage: 'reload',
    summary: 'have the configuration file read again, as SIGHUP does',
    details: `What takes effect at once and what waits for a restart is said; a bad file changes nothing, and is said, too.`,
  },
  { least: 0, most: 0, evenWithBadFile: true },
);
