// The status page: requests the status once a second while it is visible, and shows it.

import uPlot from 'uplot';

import 'uplot/dist/uPlot.min.css';
import './page.css';
import { type ListFacts, listWords } from '../base/list-words.js';
import {
  between,
  cacheText,
  type Sums,
  sumsFrom,
  numberText,
  percentText,
  type Rates,
  durationText,
  latencyText,
} from '../base/rates.js';

/** The data of /status.json. */
interface Status {
  readonly version: string;
  readonly up_seconds: number;
  readonly mode: string;
  readonly privacy: string;
  readonly privacy_words: string;
  readonly dnssec: string;
  readonly cache: {
    readonly entries: number;
    readonly bytes: number;
    readonly limit_bytes: number;
    readonly size_bytes: number;
  };
  readonly inflight: number;
  readonly listening: readonly string[];
  readonly portal_seconds: number;
  /** Left out while the portal window is closed. */
  readonly portal?: { readonly by: 'command' | 'detected'; readonly visit?: string; readonly open_seconds: number };
  readonly health: string;
  readonly findings: readonly Finding[];
  /** Left out if there are none. */
  readonly lists?: readonly ListFacts[];
  readonly upstreams: readonly UpstreamRow[];
  readonly sums: readonly number[];
  readonly bounds_ms: readonly number[];
  readonly validations: Readonly<Record<string, number>>;
  readonly hits: Readonly<Record<string, number>>;
  readonly connects: readonly { readonly upstream: string; readonly made: number; readonly resumed: number }[];
  readonly causes: readonly { readonly words: string; readonly count: number; readonly last_ms: number }[];
}

/** Something that is not as it should be. */
interface Finding {
  readonly id: string;
  readonly level: 'down' | 'weak' | 'note';
  readonly words: string;
  readonly advice?: string;
}

interface UpstreamRow {
  readonly upstream: string;
  /** Left out for the servers of all names that no route is for. */
  readonly purpose?: 'route' | 'portal';
  /** The groups of clients that its route is for; left out: all. */
  readonly clients?: readonly string[];
  /** Left out for those of the configuration. */
  readonly origin?: 'system' | 'announced' | 'designated';
  readonly address?: string;
  readonly port: number;
  readonly asked_port: number;
  readonly state: 'looking' | 'probing' | 'private' | 'suspect' | 'failed';
  readonly path: 'tls' | 'cleartext' | 'refuse';
  readonly cleartext_seconds?: number;
  readonly transport: 'dot' | 'https' | 'cleartext' | 'none';
  /** Why queries go over HTTPS. */
  readonly transport_reason?: string;
  readonly authenticated: boolean;
  readonly dane?: true;
  readonly rtt_ms?: number;
  readonly tls_version?: string;
  readonly key_exchange?: string;
  readonly certificate_ends_ms?: number;
  readonly failure?: string;
}

const LOOK_MS = 1000;
/** How many samples are kept: as many as the shorter chart shows, and one. */
const LIVE_SAMPLES = 121;
const DAY_MS = 86_400_000;
/** A certificate that ends sooner is pointed out. */
const ENDS_SOON_DAYS = 14;

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** Sets text only if it differs, so that selections and screen readers are not disturbed. */
function say(at: Element, text: string): void {
  if (at.textContent !== text) at.textContent = text;
}

function made(tag: string, text: string, className = ''): HTMLElement {
  const it = document.createElement(tag);
  it.textContent = text;
  if (className !== '') it.className = className;
  return it;
}

/** Replaces the content of an element, if it differs. */
function fill(id: string, content: readonly HTMLElement[]): void {
  const at = element(id);
  const wanted = content.map(each => each.outerHTML).join('');
  if (at.innerHTML !== wanted) at.replaceChildren(...content);
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

interface Lines {
  readonly id: string;
  /** Colours of the lines, by their names in the style sheet. */
  readonly colours: readonly string[];
  readonly values: (span: Rates) => (number | undefined)[];
  readonly words: (last: Rates) => string;
}

const CHARTS: readonly Lines[] = [
  {
    id: 'rates',
    colours: ['--good', '--cache'],
    values: ({ queries, fromCache }) => [queries, fromCache],
    words: ({ queries, fromCache }) =>
      `Queries per second over time; now ${numberText(queries)}, of which ${numberText(fromCache)} from cache`,
  },
  {
    id: 'times',
    colours: ['--good', '--tail'],
    values: ({ median, tail }) => [median, tail],
    words: ({ median }) => `Time to answer over time; median now ${latencyText(median, bounds)}`,
  },
];

let bounds: readonly number[] = [];
let past: Sums[] = [];
let live: Sums[] = [];
let drawn: { readonly plot: uPlot; readonly lines: Lines }[] = [];

/** The time on the daemon's clock, which may differ from the browser's. */
const nowMs = (): number => live.at(-1)?.atMs ?? Date.now();

const shownSeconds = (): number =>
  Number(document.querySelector<HTMLInputElement>('input[name=span]:checked')?.value ?? 120);

/** What happened from each look to the next. */
function ratesBetween(samples: readonly Sums[]): Rates[] {
  return samples.flatMap((after, i) => {
    const before = samples[i - 1];
    const span = before === undefined ? undefined : between(before, after, bounds);
    return span === undefined ? [] : [span];
  });
}

/** The last hour from the daemon's history and the samples since then; without a history, our own samples. */
function shown(): Rates[] {
  const first = live[0]?.atMs ?? Infinity;
  if (shownSeconds() <= 120) return ratesBetween([...past.filter(({ atMs }) => atMs < first), ...live]);
  const since = past.at(-1)?.atMs ?? 0;
  // At the daemon's interval, so that the end of the line looks like the rest.
  const step = past.length > 1 ? (past[1]?.atMs ?? 0) - (past[0]?.atMs ?? 0) : LOOK_MS;
  const rest: Sums[] = [];
  for (const look of live) if (look.atMs > (rest.at(-1)?.atMs ?? since) + step * 0.99) rest.push(look);
  const last = live.at(-1);
  return ratesBetween([...past, ...rest, ...(last === undefined || last === rest.at(-1) ? [] : [last])]);
}

function draw(): void {
  const all = shown();
  const now = nowMs() / 1000;
  for (const { plot, lines } of drawn) {
    const columns = lines.colours.map((_, i) => all.map(span => lines.values(span)[i] ?? null));
    plot.setData([all.map(({ atMs }) => atMs / 1000), ...columns], false);
    plot.setScale('x', { min: now - shownSeconds(), max: now });
    const last = all.at(-1);
    if (last !== undefined) element(lines.id).setAttribute('aria-label', lines.words(last));
  }
}

/** The time of day of seconds since 1970; with seconds if the chart is short. */
const clockText = (at: number): string =>
  new Date(at * 1000).toLocaleTimeString('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    ...(shownSeconds() <= 120 ? { second: '2-digit' } : {}),
  });

function makeCharts(): void {
  drawn.forEach(({ plot }) => plot.destroy());
  drawn = CHARTS.map(lines => {
    const at = element(lines.id);
    const axis: uPlot.Axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui',
    };
    const plot = new uPlot(
      {
        width: at.clientWidth,
        height: at.clientHeight,
        legend: { show: false },
        cursor: { show: false },
        select: { show: false, left: 0, top: 0, width: 0, height: 0 },
        scales: { x: { time: true, auto: false }, y: { range: (_self, _low, high) => [0, Math.max(1, high * 1.1)] } },
        axes: [
          { ...axis, space: 70, size: 28, values: (_self, splits) => splits.map(clockText) },
          { ...axis, size: 48 },
        ],
        series: [
          {},
          ...lines.colours.map(name => ({ stroke: colour(name), width: 2, spanGaps: true, points: { show: false } })),
        ],
      },
      [[], ...lines.colours.map(() => [])],
      at,
    );
    return { plot, lines };
  });
  draw();
}

const STATES: Readonly<Record<UpstreamRow['state'], readonly [words: string, className: string]>> = {
  looking: ['address unknown', 'fair'],
  probing: ['not reached yet', 'fair'],
  private: ['over TLS', 'good'],
  suspect: ['lost a moment ago', 'fair'],
  failed: ['not reached', 'bad'],
};

/** The names of the columns of servers. */
const columnNames = (): string[] => [...document.querySelectorAll('thead th')].map(each => each.textContent);

function serverRow(one: UpstreamRow, connects: Status['connects']): HTMLElement {
  const row = document.createElement('tr');
  const overHttps = one.transport === 'https' && one.state === 'private';
  const duration = one.cleartext_seconds === undefined ? '' : ` for ${durationText(one.cleartext_seconds)}`;
  const [words, className] =
    one.path === 'cleartext'
      ? [`in cleartext${duration}`, 'bad']
      : overHttps
        ? ['over HTTPS', 'good']
        : STATES[one.state];
  const state = made('td', '');
  const told = one.failure ?? (one.transport_reason && `Port ${one.port} cannot be used: ${one.transport_reason}`);
  // The address has a column of its own.
  const why = told?.replace(`${one.address ?? ''} port ${one.port}: `, '');
  state.append(made('span', words, className), ...(why === undefined ? [] : [made('small', why)]));
  const { made: connected = 0, resumed = 0 } = connects.find(({ upstream }) => upstream === one.upstream) ?? {};
  const days =
    one.certificate_ends_ms === undefined ? undefined : Math.floor((one.certificate_ends_ms - nowMs()) / DAY_MS);
  const name = made('td', one.upstream);
  if (one.origin !== undefined && one.origin !== 'system')
    name.append(made('small', one.origin === 'announced' ? 'announced by the network' : 'designated by the resolver'));
  const groups = one.clients === undefined ? '' : ` of ${one.clients.join(', ')}`;
  if (one.purpose !== undefined)
    name.append(made('small', one.purpose === 'route' ? `for routes${groups}` : 'for the portal'));
  row.append(
    name,
    made('td', one.address === undefined ? '' : `${one.address} port ${one.asked_port}`),
    state,
    made(
      'td',
      one.authenticated
        ? one.dane === true
          ? 'proved by DANE'
          : 'proved'
        : one.state === 'private'
          ? 'not proved'
          : '',
      one.authenticated ? 'good' : 'fair',
    ),
    made('td', [one.tls_version?.replace('v', ' '), one.key_exchange].filter(each => each !== undefined).join(', ')),
    made('td', one.rtt_ms === undefined ? '' : `${numberText(one.rtt_ms)} ms`),
    days === undefined
      ? made('td', '')
      : made(
          'td',
          days < 0 ? 'expired' : days === 0 ? 'ends today' : `ends in ${days} d`,
          days < ENDS_SOON_DAYS ? 'bad' : '',
        ),
    made('td', connected === 0 ? '' : `${resumed} of ${connected}`),
  );
  // For the cards of a narrow screen.
  for (const [i, cell] of [...row.children].entries()) cell.setAttribute('data-label', columnNames()[i] ?? '');
  return row;
}

/** In words that need no knowledge of RFCs. */
const HIT_WORDS: Readonly<Record<string, string>> = {
  positive: 'answers',
  negative: 'denials',
  aggressive: 'made from what a zone has proven',
  stale: 'expired, while servers did not answer',
  refreshed: 'refreshed ahead of their end',
};
const hitsText = (hits: Readonly<Record<string, number>>): string =>
  Object.entries(HIT_WORDS)
    .map(([kind, words]) => `${(hits[kind] ?? 0).toLocaleString('en')} ${words}`)
    .join(', ');

const facts = (rows: readonly (readonly [string, string])[]): HTMLElement[] =>
  rows.flatMap(([name, value]) => [made('dt', name), made('dd', value)]);

/** Why a portal window is open, in a sentence; empty: it is closed. */
function portalText({ portal, portal_seconds: left }: Status): string {
  if (portal === undefined) return '';
  const why = portal.by === 'command' ? 'opened by command' : 'this network has a captive portal';
  const times = `for ${durationText(left)} more, opened ${durationText(portal.open_seconds)} ago`;
  return `A portal window is open ${times} (${why}): some names go to the network's resolvers in cleartext.`;
}

/**
 * A link to the page of the portal, or to one in its place. Its address may come from the network: only a page over
 * HTTP is linked to, and it does not learn of this one.
 */
function portalLink({ portal }: Status): HTMLElement[] {
  const url = portal?.visit ?? '';
  if (!/^https?:\/\//.test(url)) return [];
  const link = document.createElement('a');
  link.href = url;
  link.rel = 'noopener noreferrer external';
  link.target = '_blank';
  link.textContent = url;
  return [made('span', 'To sign in, open '), link, made('span', ': the network shows its page there.')];
}

const PRIVACY: Readonly<Record<string, string>> = {
  authenticated: 'Private',
  encrypted: 'Encrypted',
  partly: 'Partly private',
  cleartext: 'Not private',
  none: 'No answers',
};

/** What is wrong, each with what to do about it. The portal has a place of its own. */
const findingItems = (findings: readonly Finding[]): HTMLElement[] =>
  findings
    .filter(({ id }) => id !== 'portal')
    .map(({ level, words, advice }) => {
      const item = made('li', '', level);
      item.append(made('strong', words), ...(advice === undefined ? [] : [made('small', advice)]));
      return item;
    });

function show(status: Status): void {
  bounds = status.bounds_ms;
  const look = sumsFrom(status.sums);
  live = [...live.slice(1 - LIVE_SAMPLES), look];
  // The numbers in the text cover some seconds, or they would flicker.
  const before = live.findLast(each => look.atMs - each.atMs >= 5 * LOOK_MS) ?? live[0];
  const now = before === undefined ? undefined : between(before, look, bounds);

  say(element('about'), `${status.version}, running for ${durationText(status.up_seconds)}`);
  const banner = element('privacy');
  // Private or not: without answers, nothing is fine.
  const isDown = status.findings.some(({ id, level }) => level === 'down' && id !== 'draining');
  banner.dataset['privacy'] = isDown ? 'none' : status.privacy;
  const [title, words] = [...banner.children];
  if (title !== undefined) say(title, (isDown ? PRIVACY['none'] : PRIVACY[status.privacy]) ?? status.privacy);
  if (words !== undefined) say(words, `${status.mode}: ${status.privacy_words}`);
  fill('findings', findingItems(status.findings));
  say(element('portal'), portalText(status));
  fill('portal-page', portalLink(status));
  say(element('rate'), now === undefined ? '–' : numberText(now.queries));
  say(element('hits'), percentText(now?.hits));
  say(element('encrypted'), percentText(now?.encrypted));
  say(element('median'), latencyText(now?.median, bounds));
  say(element('tail'), latencyText(now?.tail, bounds));

  fill(
    'servers',
    status.upstreams.map(each => serverRow(each, status.connects)),
  );
  fill(
    'verdicts',
    facts([
      ['mode', status.dnssec],
      ...Object.entries(status.validations).map(([verdict, count]) => [verdict, count.toLocaleString('en')] as const),
    ]),
  );
  const { entries, bytes, limit_bytes: limitBytes, size_bytes: sizeBytes } = status.cache;
  fill(
    'facts',
    facts([
      ['cache', cacheText({ entries, bytes, limitBytes, sizeBytes })],
      ['from cache', hitsText(status.hits)],
      ['waiting', `${status.inflight} queries`],
      ['listening', status.listening.join(', ')],
      ...(status.lists ?? []).map(list => [`list ${list.name}`, listWords(list)] as const),
      ...(status.health === 'nothing is wrong' ? [['health', status.health] as const] : []),
    ]),
  );
  fill(
    'causes',
    status.causes.length === 0
      ? [made('li', 'None since it was started.')]
      : status.causes.map(({ words: cause, count, last_ms: lastMs }) => {
          const item = made('li', `${cause} `);
          item.append(
            made('small', `${count.toLocaleString('en')} in all, last at ${new Date(lastMs).toLocaleTimeString()}`),
          );
          return item;
        }),
  );
  draw();
}

async function fetched(path: string): Promise<unknown> {
  const response = await fetch(path, { signal: AbortSignal.timeout(4000) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function look(): Promise<void> {
  const lost = element('lost');
  try {
    show((await fetched('status.json')) as Status);
    lost.hidden = true;
  } catch {
    say(lost, 'The daemon does not answer: what is shown is from before.');
    lost.hidden = false;
  }
}

async function remember(): Promise<void> {
  const { samples } = (await fetched('history.json')) as { readonly samples: readonly (readonly number[])[] };
  past = samples.map(sumsFrom);
}

async function begin(): Promise<void> {
  await remember().catch(() => undefined);
  await look();
  makeCharts();
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, LOOK_MS));
    // The page is hidden: nothing is requested. The daemon's history has the time that is missed.
    if (document.hidden) continue;
    if (past.length > 0 && nowMs() - (past.at(-1)?.atMs ?? 0) > 60 * LOOK_MS) await remember().catch(() => undefined);
    await look();
  }
}

element('span').addEventListener('change', draw);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', makeCharts);
new ResizeObserver(() => {
  for (const { plot, lines } of drawn)
    plot.setSize({ width: element(lines.id).clientWidth, height: element(lines.id).clientHeight });
}).observe(element('rates'));
void begin();
