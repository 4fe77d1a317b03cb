// Answers from cache: over UDP at full speed, to one socket and to many; over persistent TCP connections; and the latency
// over UDP at a low rate.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { alternate, latencyTable, loadTable, type Section } from './compare.js';
import { begin, type Contender, echo, installed, KINDS, type Setting } from './contenders.js';
import { load } from './measure.js';

const NAMES = 10_000;

/** Measures these paths. */
export async function cached(setting: Setting, rounds: number): Promise<Section[]> {
  const names = join(setting.on.path, 'cached');
  writeFileSync(names, Array.from({ length: NAMES }, (_, i) => `cached${i}.test A\n`).join(''));
  const contenders: Contender[] = [];
  for (const kind of KINDS.filter(each => each.does.includes('cache') && installed(each)))
    contenders.push(await begin(kind, setting));
  for (const contender of contenders) {
    // Fill the cache at a low rate, twice, because some contenders lose queries while their cache is empty. Then warm up the code.
    for (let i = 0; i < 2; i++) await load(contender, names, { outstanding: 50 });
    await load(contender, names, { times: 5 });
    await load(contender, names, { times: 5, tcp: true, clients: 10 });
  }
  const floor = await echo(setting.on);

  const udp = await alternate(floor === undefined ? contenders : [...contenders, floor], rounds, async each =>
    load(each, names, { times: 20 }),
  );
  const many = await alternate(floor === undefined ? contenders : [...contenders, floor], rounds, async each =>
    load(each, names, { times: 20, clients: 200 }),
  );
  const tcp = await alternate(contenders, rounds, async each =>
    load(each, names, { times: 20, tcp: true, clients: 10 }),
  );
  const quiet = await alternate(contenders, rounds, async each =>
    load(each, names, { perSecond: 2000, forSeconds: 2, verbose: true }),
  );
  for (const each of contenders) await each.stop();
  await floor?.stop();
  return [
    {
      title: 'Cached, UDP',
      how: `${NAMES} names, all in cache; 200 queries outstanding from one socket, 200,000 queries per round.`,
      table: loadTable(udp, floor?.name),
    },
    {
      title: 'Cached, UDP, many clients',
      how: 'The same from 200 sockets.',
      table: loadTable(many, floor?.name),
    },
    {
      title: 'Cached, TCP',
      how: 'The same over 10 persistent connections, 200,000 queries per round.',
      table: loadTable(tcp),
    },
    { title: 'Cached, latency', how: 'The same names over UDP at 2,000 queries/s.', table: latencyTable(quiet) },
  ];
}
