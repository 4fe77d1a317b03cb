// `dotstub phone` with real programs: a reader of QR codes, and a browser that shows the page as a phone does.

import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { chromium } from 'playwright-core';
import t from 'tap';

import { qrLines } from '../../src/commands/qr-code.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { freePort } from '../fixtures/free-port.js';
import { PROGRAM, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { missing, program } from '../fixtures/servers.js';

const directory = temporaryDirectory();
t.teardown(() => directory.remove());
const at = (name: string): string => join(directory.path, name);

/** So many pixels has a module. */
const SCALE = 6;
/** Which of the two modules of a character are dark. */
const HALVES: Readonly<Record<string, readonly [upper: boolean, lower: boolean]>> = {
  ' ': [false, false],
  '▀': [true, false],
  '▄': [false, true],
  '█': [true, true],
};

/** What a reader of QR codes finds in the picture that a terminal shows, black on white. */
function read(lines: readonly string[]): string {
  const rows = lines.flatMap(line =>
    [0, 1].map(half => Array.from(line, character => (HALVES[character] ?? [true, true])[half as 0 | 1])),
  );
  const pixels = rows.flatMap(row => {
    const line = row.map(isDark => (isDark ? '1' : '0').repeat(SCALE)).join('');
    return Array.from({ length: SCALE }, () => line);
  });
  writeFileSync(at('code.pbm'), `P1\n${pixels[0]?.length ?? 0} ${pixels.length}\n${pixels.join('\n')}\n`);
  return execFileSync('zbarimg', ['-q', '--raw', at('code.pbm')], { encoding: 'utf8' }).trim();
}

/** Sequences that set colours. */
const COLOURS = /\x1b\[[\d;]*m/g;

await t.test('a reader of QR codes reads what was put into one', { skip: missing('zbarimg') }, async t => {
  for (const text of [
    'http://192.168.1.2:41155/Y_3rZesy3zWbV2iDywN1SQ/',
    'http://[fd12:3456:789a:1:2ff:fe00:1234:5678]:65535/Y_3rZesy3zWbV2iDywN1SQ/',
  ]) {
    const plain = qrLines(text, false);
    t.equal(read(plain), text);
    t.ok(plain.every(line => line.length <= 60) && plain.length <= 40, 'it has room in a terminal');
    const coloured = qrLines(text, true);
    t.ok(coloured.every(line => line.startsWith('\x1b[38;5;16;48;5;231m') && line.endsWith('\x1b[0m')));
    t.same(
      coloured.map(line => line.replace(COLOURS, '')),
      plain,
    );
  }
});

await t.test(
  'the code that is printed leads to the page, which a browser shows as wide as a phone',
  { skip: missing('zbarimg', 'chromium') },
  async t => {
    const root = authority('root');
    const name = 'dns.home.test';
    const own = certificate({ common: name, names: [name], issuer: root, usages: ['serverAuth'] });
    for (const [file, text] of Object.entries({ 'root.pem': root.cert, 'own.pem': own.cert, 'own.key': own.key }))
      writeFileSync(at(file), text);
    const daemon = await startDotstub(`
listen: ["127.0.0.1:${await freePort()}"]
listen_https: { addresses: ["127.0.0.1:${await freePort()}"], certificate: ${at('own.pem')}, key: ${at('own.key')} }
metrics: { listen: off }
upstream: { mode: off, servers: [{ addresses: ["127.0.0.1:9"] }] }
`);
    t.teardown(async () => daemon.stop());
    const [command = '', ...args] = PROGRAM;
    const options = ['--config', daemon.configFile, '--address', '127.0.0.1', '--ca', at('root.pem')];
    const child = spawn(command, [...args, 'phone', ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    const output = await new Promise<string>(resolve => {
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.includes('Ctrl-C')) resolve(text);
      });
    });
    const url = read(output.split('\n').filter(line => /^[ ▀▄█]+$/.test(line)));
    t.match(url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{22}\/$/);
    t.match(output, url);

    const browser = await chromium.launch({
      executablePath: program('chromium') ?? '',
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    });
    t.teardown(async () => browser.close());
    for (const [colorScheme, paper] of [
      ['light', 'rgb(244, 246, 244)'],
      ['dark', 'rgb(20, 24, 22)'],
    ] as const) {
      const page = await browser.newPage({ viewport: { width: 390, height: 844 }, colorScheme });
      const [troubles, asked]: [string[], string[]] = [[], []];
      page.on('console', message => void troubles.push(message.text()));
      page.on('request', request => void asked.push(request.url()));
      await page.goto(url);
      const style = async (property: string): Promise<string> =>
        page.evaluate<string>(`getComputedStyle(document.body).${property}`);
      t.equal(await style('backgroundColor'), paper, 'the style sheet counts, by the policy of the page');
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), 390, 'nothing is to be scrolled sideways');
      t.match(await page.innerText('main'), /Android[^]*Automatic[^]*iPhone, iPad, Mac[^]*not signed/);
      t.match(await page.innerText('header'), `${name} at 127.0.0.1`);
      const button = await page.locator('.get').boundingBox();
      t.ok((button?.height ?? 0) >= 44, 'a finger finds the button');
      t.same(
        asked.filter(each => each !== url && !each.endsWith('/favicon.ico')),
        [],
        'it loads nothing',
      );
      t.same(
        troubles.filter(each => !each.includes('404')),
        [],
      );
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('.get')]);
      t.equal(download.suggestedFilename(), 'dotstub-https.mobileconfig');
      await page.close();
    }
  },
);
