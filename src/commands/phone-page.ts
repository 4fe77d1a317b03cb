// The page that a phone gets: what to type into an Android phone, and the profile for an iPhone. It loads nothing.

import { createHash } from 'node:crypto';

import { markup } from './phone-markup.js';

/** A profile that the page leads to. */
export interface ProfileLink {
  readonly href: string;
  readonly protocol: 'TLS' | 'HTTPS';
}

/** What the page says. */
export interface PageFacts {
  /** The name of the machine, for people. */
  readonly host: string;
  readonly name: string;
  readonly addresses: readonly string[];
  /** Whether the addresses mean something at home only. */
  readonly onlyAtHome: boolean;
  /** Why Android phones would not accept the name, one sentence each. */
  readonly androidProblems: readonly string[];
  /** The same for Apple's systems. */
  readonly appleProblems: readonly string[];
  /** The one that is to be taken first. */
  readonly profiles: readonly ProfileLink[];
  /** Whether they bring an authority. */
  readonly bringsAuthority: boolean;
  /** Until when the page is there, for people. */
  readonly until: string;
}

const STYLE = `
:root { --paper: #f4f6f4; --card: #fff; --ink: #1d2321; --soft: #5c6662; --line: #dde2df; --good: #1f6f4d; --on: #fff; --warm: #8a5a00; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #141816; --card: #1c2220; --ink: #e8edea; --soft: #9ba8a2; --line: #323a37; --good: #62c79a; --on: #10231a; --warm: #e0ae55; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 34rem; padding: 1.25rem 1rem 2rem; background: var(--paper); color: var(--ink); font: 17px/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
header { display: flex; align-items: center; gap: .75rem; margin: 0 .25rem; }
header svg { flex: none; width: 2.4rem; height: 2.4rem; fill: var(--good); }
h1 { margin: 0; font-size: 1.35rem; line-height: 1.2; }
header p { margin: .1rem 0 0; color: var(--soft); font-size: .9rem; }
section { margin: 1rem 0 0; padding: 1rem 1.1rem 1.1rem; border: 1px solid var(--line); border-radius: .9rem; background: var(--card); }
h2 { margin: 0 0 .5rem; font-size: 1.1rem; }
ol { margin: 0; padding-left: 1.3rem; }
li { margin: .3rem 0; }
li::marker { color: var(--soft); }
b { font-weight: 600; }
.name { display: block; margin: .45rem 0 .2rem -1.3rem; padding: .65rem .8rem; border-radius: .6rem; background: var(--paper); font: 600 1.05rem/1.3 ui-monospace, monospace; text-align: center; overflow-wrap: anywhere; user-select: all; -webkit-user-select: all; }
.get { display: block; margin: 0 0 .7rem; padding: .8rem; border-radius: .7rem; background: var(--good); color: var(--on); font-weight: 600; text-align: center; text-decoration: none; }
.note { margin: .8rem 0 0; color: var(--soft); font-size: .9rem; }
.problem { margin: .5rem 0 0; padding-left: .7rem; border-left: .25rem solid var(--warm); }
.note a { color: var(--good); }
footer { margin: 1.1rem .25rem 0; color: var(--soft); font-size: .85rem; }
`;

/** The page has one style sheet, in itself, and nothing else: no script, no other file, no frame around it. */
export const PAGE_POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const SHIELD = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 1 2 3.5v4C2 11 4.5 14 8 15c3.5-1 6-4 6-7.5v-4z"/></svg>`;

/** The page, HTML. */
export function phonePage(facts: PageFacts): string {
  const { host, name, addresses, until } = facts;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Private DNS of ${markup(host)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>${SHIELD}<div><h1>Private DNS of ${markup(host)}</h1><p>${markup(name)} at ${markup(addresses.join(', '))}</p></div></header>
<main>
<section><h2>Android</h2>
${android(facts)}
</section>
<section><h2>iPhone, iPad, Mac</h2>
${apple(facts)}
</section>
</main>
<footer>This page is there until ${markup(until)}. It came over this network unencrypted: compare what it says with what the terminal says.</footer>
</body>
</html>
`;
}

const note = (html: string): string => `<p class="note">${html}</p>`;
const problems = (all: readonly string[]): string =>
  all.map(words => `<p class="problem">Not yet: ${markup(words)}.</p>`).join('\n');

const PRIVATE_DNS = '<li>Open <b>Settings</b> › <b>Network &amp; internet</b> › <b>Private DNS</b></li>';

function android({ name, androidProblems, onlyAtHome, bringsAuthority }: PageFacts): string {
  if (bringsAuthority || androidProblems.length > 0)
    return `${problems(androidProblems)}
<ol>
${PRIVATE_DNS}
<li>Choose <b>Automatic</b>${androidProblems.length > 0 ? ' meanwhile' : ''}</li>
</ol>
${note(`The phone then encrypts wherever the resolver of its network can, without a look at who that is.${bringsAuthority ? ' It takes no host name with a certificate of this network’s own authority.' : ''}`)}`;
  return `<ol>
${PRIVATE_DNS}
<li>Choose <b>Private DNS provider hostname</b></li>
<li>Type this and save: <code class="name">${markup(name)}</code></li>
</ol>
${onlyAtHome ? note(`Away from here, a phone with this name finds no names at all. Choose <b>Automatic</b> before you leave, or for good: it encrypts here, too, without a look at who answers.`) : ''}`;
}

function apple({ addresses, appleProblems, profiles, onlyAtHome, bringsAuthority }: PageFacts): string {
  const [first, ...others] = profiles;
  if (first === undefined) return problems(appleProblems);
  const trust = bringsAuthority
    ? `\n<li>On an iPhone or iPad, <b>General</b> › <b>About</b> › <b>Certificate Trust Settings</b>: switch the authority on, which the profile brings</li>`
    : '';
  const where = onlyAtHome
    ? note(
        `It is used in networks whose DNS server is ${markup(addresses.join(' or '))}. Elsewhere the phone asks as before.`,
      )
    : '';
  const more = others.map(({ href, protocol }) =>
    note(`Or <a href="${markup(href)}">the profile for ${protocol}</a>, in place of ${first.protocol}.`),
  );
  return `<a class="get" href="${markup(first.href)}">Get the profile</a>
<ol>
<li>In Safari, allow the download</li>
<li>Open <b>Settings</b> › <b>Profile Downloaded</b> and install it. On a Mac: <b>General</b> › <b>Device Management</b></li>${trust}
</ol>
${note(`The profile is not signed, and the phone says so. It holds what stands here, and nothing else.`)}
${where}${more.join('\n')}`;
}
