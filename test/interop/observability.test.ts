// Observability: the metrics as Prometheus's promtool checks them, the dashboard and the alerts against a scrape of a daemon that has
// answered the demo's queries, and the status page in a browser.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { type Browser, chromium, type Page } from 'playwright-core';
import t from 'tap';

import { ask } from '../fixtures/client.js';
import { type DemoDaemon, demoQuestions, demoWorld } from '../fixtures/demo-world.js';
import { freePort } from '../fixtures/free-port.js';
import { missing, program } from '../fixtures/servers.js';

const DEPLOY = new URL('../../deploy/', import.meta.url).pathname;
const RULES = join(DEPLOY, 'prometheus/rules.yaml');

const world = await demoWorld();
const port = await freePort();
const good = await world.daemon('dot.demo', `127.0.0.1:${port}`);
const impostor = await world.daemon('bank.demo');
const page = `http://127.0.0.1:${port}/metrics`;
const unasked = await (await fetch(page)).text();
for (const [, at, , name, options = {}] of demoQuestions(good, impostor)) await ask(at, name, options);
const scrape = await (await fetch(page)).text();

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

async function promtool(args: readonly string[], input = ''): Promise<Ran> {
  return new Promise(resolve => {
    const child = execFile(program('promtool') ?? 'promtool', args, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, output: stdout + stderr }),
    );
    child.stdin?.end(input);
  });
}

/** The selectors of an expression: series, and values that labels must have. */
function selectors(
  expression: string,
): { readonly name: string; readonly labels: readonly (readonly [string, string])[] }[] {
  return [...expression.matchAll(/\b((?:dotstub|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', labels = '']) => ({
      name,
      labels: [...labels.matchAll(/([a-z_]+)=~?"([^"]*)"/g)]
        .map(([, label = '', value = '']) => [label, value] as const)
        .filter(([label]) => label !== 'instance'),
    }),
  );
}

/** Whether a scrape has a series. A regular expression of a label must match in each of its branches. */
const has = (name: string, labels: readonly (readonly [string, string])[]): boolean =>
  labels.length === 0
    ? new RegExp(`^${name}[ {]`, 'm').test(scrape)
    : labels.every(([label, values]) =>
        values.split('|').every(value => new RegExp(`^${name}\\{[^}]*\\b${label}="${value}"`, 'm').test(scrape)),
      );

await t.test('promtool finds no fault in the metrics and the alerts', { skip: missing('promtool') }, async t => {
  t.same(await promtool(['check', 'metrics'], scrape), { code: 0, output: '' }, 'names as Prometheus wants them');
  const rules = await promtool(['check', 'rules', RULES]);
  t.equal(rules.code, 0, rules.output);
});

await t.test('every alert fires when it should, and not before', { skip: missing('promtool') }, async t => {
  const tests = RULES.replace(/\.yaml$/, '.test.yaml');
  const tested = await promtool(['test', 'rules', tests]);
  t.equal(tested.code, 0, tested.output);
  const expected = readFileSync(tests, 'utf8');
  for (const [, alert = ''] of readFileSync(RULES, 'utf8').matchAll(/alert: (\w+)/g))
    t.match(expected, new RegExp(`labels: '[^']*alertname="${alert}"`), `${alert} is expected to fire`);
});

const dashboard = JSON.parse(readFileSync(join(DEPLOY, 'grafana/dashboard.json'), 'utf8')) as {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
};

/** The series of two scrapes, a minute apart, as promtool takes them. Later the values stay. */
function inputSeries(before: string, after: string): string {
  const valuesOf = (text: string): Map<string, string> =>
    new Map(
      [...text.matchAll(/^([a-z0-9_]+(?:\{.*\})?) (\S+)$/gm)].map(([, series = '', value = '']) => [series, value]),
    );
  const earlier = valuesOf(before);
  return [...valuesOf(after)]
    .map(
      ([series, value]) => `      - { series: '${series}', values: '${earlier.get(series) ?? '_'} ${value} ${value}' }`,
    )
    .join('\n');
}

await t.test('every panel of the dashboard has data', { skip: missing('promtool') }, async t => {
  const directory = mkdtempSync(join(tmpdir(), 'dotstub-panels-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'test.yaml');
  const expressions = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({
      title,
      // A filter hides what there was none of, which is no fault of the panel.
      expr: expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', '.*').replace(/ > 0$/, ''),
    })),
  );
  t.ok(expressions.length > 40);
  // No expression has this value: promtool tells what it has instead.
  const tests = expressions.map(
    ({ expr }) =>
      `      - { expr: '${expr}', eval_time: 2m, exp_samples: [{ labels: 'expected{no="data"}', value: 0 }] }`,
  );
  writeFileSync(
    file,
    `tests:\n  - interval: 1m\n    input_series:\n${inputSeries(unasked, scrape)}\n    promql_expr_test:\n${tests.join('\n')}\n`,
  );
  const { output } = await promtool(['test', 'rules', file]);
  const got = output.split(/^ *expr: "/m).slice(1);
  t.equal(got.length, expressions.length, output.slice(0, 2000));
  for (const [i, { title, expr }] of expressions.entries()) {
    const values = [...(got[i]?.split('got:')[1] ?? '').matchAll(/[}"] (\S+?),?"?$|\} ([^\s,"]+)/gm)];
    t.ok(
      values.some(([, last, each]) => Number.isFinite(Number(last ?? each))),
      `${title}: ${expr}: ${got[i] ?? ''}`,
    );
  }
});

await t.test('every series of the dashboard and the alerts is in a scrape', async t => {
  let seen = 0;
  for (const { title, targets = [] } of dashboard.panels) {
    for (const { expr } of targets)
      for (const { name, labels } of selectors(expr)) {
        seen++;
        t.ok(has(name, labels), `${title}: ${name} ${JSON.stringify(labels)}`);
      }
  }
  t.ok(seen > 40);
  for (const [, expr = ''] of readFileSync(RULES, 'utf8').matchAll(/expr: (\|\n(?: {10}.*\n)+|.*)/g)) {
    for (const { name, labels } of selectors(expr)) t.ok(has(name, labels), `rules: ${name} ${JSON.stringify(labels)}`);
  }
});

/** The cells of the table of servers, with the words before them. */
const cards = (servers: unknown): string => {
  const cells = (
    servers as { querySelectorAll(of: string): Iterable<{ textContent: string; dataset: { label: string } }> }
  ).querySelectorAll('td');
  return [...cells].map(({ textContent, dataset }) => `${dataset.label}: ${textContent}`).join('\n');
};

/** The octets of a chart as drawn. */
const drawn = async (page: Page, chart: string): Promise<string> =>
  page.locator(`${chart} canvas`).evaluate(canvas => (canvas as unknown as { toDataURL(): string }).toDataURL());

await t.test('the status page works in a browser', { skip: missing('chromium') }, async t => {
  const browser: Browser = await chromium.launch({
    executablePath: program('chromium') ?? '',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
  });
  t.teardown(async () => browser.close());
  const troubles: string[] = [];
  const asked: string[] = [];
  async function open(options: Parameters<Browser['newPage']>[0]): Promise<Page> {
    const page = await browser.newPage(options);
    page.on(
      'console',
      message =>
        void (message.type() === 'error' || message.type() === 'warning' ? troubles.push(message.text()) : undefined),
    );
    page.on('pageerror', error => void troubles.push(error.message));
    page.on('request', request => void asked.push(new URL(request.url()).origin));
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.locator('#rates canvas').waitFor();
    return page;
  }

  const page = await open({ viewport: { width: 1200, height: 900 }, colorScheme: 'light' });
  t.equal(await page.locator('#privacy strong').innerText(), 'Private');
  const servers = await page.locator('#servers').innerText();
  t.match(servers, 'dot.demo');
  t.match(servers, 'over TLS');
  t.match(servers, 'proved');
  t.match(await page.locator('#causes').innerText(), 'the answer failed DNSSEC validation');
  t.notMatch(await page.content(), 'forged.example', 'query names are not shown');
  t.match(await page.locator('#verdicts').innerText(), /secure\s+[1-9]/);

  await t.test('the charts move within two seconds of queries', async t => {
    for (const chart of ['#rates', '#times']) {
      // Without queries only the time axis moves. Wait until nothing else does.
      await sleep(1500);
      const [before, label] = [await drawn(page, chart), await page.locator(chart).getAttribute('aria-label')];
      const startedAt = Date.now();
      for (let i = 0; i < 40; i++) await ask(good.at, 'www.example');
      while ((await page.locator(chart).getAttribute('aria-label')) === label && Date.now() - startedAt < 5000)
        await sleep(50);
      t.ok(Date.now() - startedAt < 2000, `${chart}: ${Date.now() - startedAt} ms`);
      t.not(await drawn(page, chart), before, 'redrawn');
      t.match(await page.locator('#rates').getAttribute('aria-label'), /now [1-9]/);
    }
  });

  await t.test('the page works by keyboard', async t => {
    await page.locator('input[name=span]').first().focus();
    await page.keyboard.press('ArrowRight');
    t.ok(await page.getByLabel('the last hour').isChecked());
    await page.keyboard.press('Tab');
    t.equal(
      await page.evaluate(`document.activeElement.getAttribute('aria-label')`),
      'Servers',
      'scrolling parts can be reached',
    );
  });

  await t.test('the page fits a phone, and has a dark scheme', async t => {
    const phone = await open({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', isMobile: true });
    t.equal(await phone.evaluate('document.documentElement.scrollWidth'), 360, 'nothing is wider than the screen');
    t.match(await phone.evaluate('getComputedStyle(document.body).backgroundColor'), /rgb\([12]?\d, /);
    for (const words of ['dot.demo', 'over TLS', 'proved']) {
      const box = await phone.locator('#servers td', { hasText: new RegExp(`^${words}$`) }).boundingBox();
      t.ok(box !== null && box.x >= 0 && box.x + box.width <= 360, `${words} is seen without scrolling`);
    }
    t.match(await phone.locator('#servers').evaluate(cards), /State: over TLS.*Identity: proved/s);
    await phone.close();
  });

  t.same([...new Set(asked)], [`http://127.0.0.1:${port}`], 'loads nothing from elsewhere');
  t.same(troubles, [], 'no error in the console');

  await t.test('the page says when the daemon does not answer', async t => {
    await good.program.stop();
    await page.getByRole('alert').waitFor({ timeout: 5000 });
    t.match(await page.getByRole('alert').innerText(), 'does not answer');
  });
});

await Promise.all(
  [impostor, good].map(async ({ program: running }: DemoDaemon) => running.child.exitCode === null && running.stop()),
);
await world.close();
