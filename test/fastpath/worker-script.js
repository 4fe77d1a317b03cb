// A front thread from the sources; a thread does not have the loader of its parent.

import { register } from 'tsx/esm/api';

register();
await import('../../src/fastpath/worker.ts');
