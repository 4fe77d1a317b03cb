// What is not as it should be, as findings: what is the case, who is to blame, and what to do. Status, health, the page,
// the service manager's line, readiness and a metric read them all from the overview, so that none of them calls fine
// what another does not.

import { failureRow, RCODE } from '../base/outcome.js';
import type {
  AddressOverview,
  AnswersAlike,
  CertificateOverview,
  Facts,
  Finding,
  FindingId,
  LocalFileOverview,
  PortalOverview,
  ServerOverview,
} from '../base/overview.js';
import { durationText } from '../base/rates.js';
import { rcodeToText } from '../wire/rcode.js';
import { besideFindings } from './beside.js';
import { type AddressRow, isUsable, privacyOf, rowsOf } from './privacy.js';

/** So many questions in a row without any reply are no accident. */
const LEAST_UNANSWERED = 3;
/** A share of failed questions is told if there were so many, */
const LEAST_QUESTIONS = 10;
/** and if at least this share has failed. */
const LEAST_FAILED = 0.5;
/** The most servers that a sentence explains. */
const MOST_REASONS = 3;

const LEVELS: readonly Finding['level'][] = ['down', 'weak', 'note'];
const LIST_SERVERS = 'list other servers in upstream.servers';
const SIGN_IN = '"dotstub portal start", and sign in';

const finding = (level: Finding['level'], id: FindingId, words: string, advice?: string): Finding => ({
  id,
  level,
  words,
  advice,
});

/** All findings, the gravest first. */
export function findingsOf(facts: Facts): readonly Finding[] {
  const main = rowsOf(facts).filter(({ server }) => server.purpose === 'main');
  const all = [
    ...reaching(facts, main),
    ...validation(facts, main),
    ...clock(facts),
    ...failing(facts),
    ...stale(facts),
    ...privacy(facts, main),
    ...operating(facts),
    ...lists(facts),
    ...besideFindings(facts),
  ];
  const isDown = all.some(({ id, level }) => level === 'down' && id !== 'draining');
  return LEVELS.flatMap(level => all.filter(each => each.level === level && !(isDown && each.id === 'failing')));
}

/** Whether servers answer, and what. */
function* reaching(facts: Facts, main: readonly AddressRow[]): Iterable<Finding> {
  if (main.length === 0) {
    const words = 'there is no server to ask: /etc/resolv.conf names none but dotstub, and none is configured';
    yield finding('down', 'no_servers', words, 'connect to a network, or list servers in upstream.servers');
    return;
  }
  const usable = main.filter(({ address }) => isUsable(address));
  const isSilent = usable.length > 0 && usable.every(({ address }) => address.silent === true);
  const unanswered = facts.unanswered ?? 0;
  if (!isSilent && privacyOf(facts) === 'none') yield unreached(main);
  else if (isSilent || unanswered >= LEAST_UNANSWERED) {
    const lost = unanswered > 1 ? `, and the last ${unanswered} questions were lost` : '';
    const words = `no server answers (${namesOf(usable.length > 0 ? usable : main)})${lost}`;
    yield finding('down', 'silent', words, `is this machine online? if so, ${LIST_SERVERS}`);
  }
  yield* alike(usable);
}

function unreached(main: readonly AddressRow[]): Finding {
  const failed = main.filter(({ address }) => address.failure !== undefined);
  const reasons = failed
    .slice(0, MOST_REASONS)
    .map(({ server, address }) => `${server.label}: ${address.failure ?? ''}`);
  const more = failed.length > MOST_REASONS ? [`${failed.length - MOST_REASONS} more in "dotstub upstreams"`] : [];
  const why = [...new Set([...reasons, ...more])].join('; ');
  const words = `no server is reached${why === '' ? '' : ` (${why})`}`;
  return finding('down', 'unreached', words, reachingAdvice(failed.map(({ address }) => address)));
}

function reachingAdvice(failed: readonly AddressOverview[]): string {
  const codes = failed.map(({ failureCode }) => failureCode);
  if (codes.includes('tls_verify'))
    return `check name, pins and ca_file in upstream; if they are right, somebody else answers in place of the server, as captive portals do: ${SIGN_IN}`;
  if (codes.includes('bootstrap') || codes.includes('no_upstream'))
    return 'list the addresses of the server in upstream.servers, so that none has to be looked up';
  const hint = failed.find(each => each.hint !== undefined)?.hint ?? 'is this machine online?';
  return `${hint}; where there is a page to sign in, ${SIGN_IN}`;
}

/** Servers whose answers are all alike. */
function* alike(usable: readonly AddressRow[]): Iterable<Finding> {
  const answering = usable.filter(({ address }) => address.silent !== true);
  const useless = ({ address: { alike: what } }: AddressRow): boolean =>
    what !== undefined && what.at !== 'one_address';
  const level = answering.length > 0 && answering.every(useless) ? 'down' : 'weak';
  const told = new Set<string>();
  for (const { server, address } of answering) {
    if (address.alike === undefined) continue;
    const found = alikeFinding(server, address.alike, level);
    if (told.has(found.words)) continue;
    told.add(found.words);
    yield found;
  }
}

function alikeFinding({ label }: ServerOverview, what: AnswersAlike, level: 'down' | 'weak'): Finding {
  switch (what.at) {
    case 'errors': {
      const words = `${label} answers ${rcodeToText(what.rcode)} to everything (its last ${timesText(what.count)})`;
      const why =
        what.rcode === RCODE.REFUSED
          ? 'it does not serve this network'
          : 'its own way to the Internet may be broken: restart it if it is your router';
      return finding(level, 'errors', words, `${why}; or ${LIST_SERVERS}`);
    }
    case 'denials':
      return finding(
        level,
        'denials',
        `${label} says of every name that it does not exist (its last ${timesText(what.count)})`,
        `a captive portal or a filter does that: ${SIGN_IN}; or ${LIST_SERVERS}`,
      );
    case 'one_address':
      return finding(
        'weak',
        'one_address',
        `${label} gave the address ${what.address} for the last ${what.count} names, as captive portals do`,
        `open http://${what.address}/ in a browser, and sign in; portal.detect finds such pages by itself`,
      );
  }
}

const timesText = (count: number): string => (count === 1 ? 'answer' : `${count} answers`);

/** Whether anything is validated, and who is to blame if not. */
function* validation(facts: Facts, main: readonly AddressRow[]): Iterable<Finding> {
  const { dnssec, lostTrust, validation: found } = facts;
  for (const words of lostTrust) yield finding('down', 'lost_trust', words);
  if (dnssec !== 'require' && dnssec !== 'prefer') return;
  const stripping = main.filter(({ server }) => server.dnssec === 'strips');
  const isStripped = stripping.length > 0 && !main.some(({ server }) => server.dnssec === 'ok');
  if (isStripped) {
    const words = `nothing is validated: DNSSEC signatures are missing in the answers of ${namesOf(stripping)}`;
    const mend = 'list servers in upstream.servers that pass them on, or have the router do it';
    if (dnssec === 'prefer') yield finding('weak', 'unvalidated', words, mend);
    else {
      const accept = 'dnssec.mode prefer accepts answers that nobody has checked';
      yield finding('down', 'signatures_missing', `${words}, so that signed names fail`, `${mend}; ${accept}`);
    }
  } else if (found?.bogus !== undefined) yield bogus(found.bogus);
}

function bogus({ count, upstream, code }: NonNullable<NonNullable<Facts['validation']>['bogus']>): Finding {
  const words = `the last ${count} answers of ${upstream ?? 'all servers'} have failed validation: ${failureRow(code).words}`;
  const isTime = code === 'signature_expired' || code === 'signature_early';
  const advice = isTime
    ? 'is the clock of this machine right? "date" shows it'
    : `the server, or somebody on the way, changes answers: ${LIST_SERVERS}; "dotstub trace NAME" shows what is wrong`;
  return finding('down', 'bogus', words, advice);
}

function* clock({ clockIsSet, clockIsBehind }: Facts): Iterable<Finding> {
  const set = 'set it, and have it kept right: timedatectl set-ntp true';
  if (clockIsBehind !== undefined) {
    const shown = new Date(clockIsBehind).toISOString().slice(0, 16);
    const words = `the clock is wrong (${shown}Z), so that signatures and certificates cannot be checked`;
    yield finding('weak', 'clock', words, `${set}; names of time servers resolve meanwhile`);
  } else if (clockIsSet === false) yield finding('weak', 'clock', "nobody keeps this machine's clock right", set);
}

function* failing({ lately }: Facts): Iterable<Finding> {
  if (lately === undefined || lately.questions < LEAST_QUESTIONS) return;
  const { questions, failed, minutes, cause } = lately;
  if (failed < LEAST_FAILED * questions) return;
  const why = cause === undefined ? '' : `, most of them because: ${cause}`;
  const words = `${failed} of ${questions} questions in the last ${minutes} minutes have failed${why}`;
  yield finding('weak', 'failing', words, '"dotstub trace NAME" shows what is wrong with a name');
}

function* stale({ staleSec }: Facts): Iterable<Finding> {
  if (staleSec === undefined) return;
  const words = `servers do not answer, or only with errors: expired answers have been given for ${durationText(staleSec)}`;
  yield finding(
    'weak',
    'stale',
    words,
    '"dotstub upstreams" and "dotstub trace NAME" show why; cache.serve_stale bounds their age',
  );
}

function* privacy(facts: Facts, main: readonly AddressRow[]): Iterable<Finding> {
  const { mode, portal } = facts;
  const seen = privacyOf(facts);
  // In mode off, cleartext is what was asked for. Before TLS was tried, nothing is known.
  const failed = main.filter(({ address }) => address.path === 'cleartext' && address.failure !== undefined);
  if (mode !== 'off' && (seen === 'cleartext' || seen === 'partly') && failed.length > 0) {
    const why = failed[0]?.address.failure ?? '';
    const words = `names go in cleartext to ${namesOf(failed)}, which cannot be asked over TLS: ${why}`;
    const isListed = failed.every(({ server }) => server.origin === 'configured');
    const mend = isListed ? 'upstream.mode strict refuses that' : 'list servers in upstream.servers';
    yield finding('weak', 'cleartext', words, `${mend}: nothing leaves in cleartext then`);
  }
  if (portal !== undefined) {
    const close = '"dotstub portal stop" closes the window';
    const advice = portal.visit === undefined ? close : `${signInWords(portal.visit)}; ${close}`;
    yield finding('weak', 'portal', portalWords(portal), advice);
  }
}

/** What to do while a portal window is open. @param visit a URL */
export const signInWords = (visit: string): string => `open ${visit} in a browser to sign in`;

/** An open portal window. */
function portalWords({ by, openMs, leftMs }: PortalOverview): string {
  const [open, left] = [Math.floor(openMs / 1000), Math.ceil(leftMs / 1000)].map(durationText);
  const why = by === 'command' ? 'opened by command' : 'this network has a captive portal, found';
  return `a portal window is open for ${left ?? ''} more, and some names go in cleartext: ${why} ${open ?? ''} ago`;
}

/** Lists that are not what they should be. */
function* lists({ lists: seen }: Facts): Iterable<Finding> {
  if (seen === undefined) return;
  const again = '"dotstub lists refresh" tries again at once';
  if (seen.problem !== undefined)
    yield finding(
      'weak',
      'lists',
      `lists could not be read again: ${seen.problem}; those of before are in force`,
      again,
    );
  for (const { name, sources } of seen.lists)
    for (const { source, problem, rules } of sources) {
      if (problem === undefined) continue;
      const words = rules > 0 ? 'its rules of before are in force' : 'none of its rules are in force';
      yield finding('weak', 'lists', `the list ${name} is not current, and ${words}: ${source}: ${problem}`, again);
    }
}

function* operating({
  draining,
  reload,
  waiting,
  unwritten,
  unserved,
  sharedCache,
  local,
  unfilled = [],
  certificates = [],
}: Facts): Iterable<Finding> {
  if (draining) yield finding('down', 'draining', 'it is being taken out of service');
  if (!reload.taken) {
    const words = 'the configuration file was refused when it was last read, and the one before is in force';
    yield finding('weak', 'config_refused', words, 'the log says why, and so does "dotstub check-config FILE"');
  }
  if (waiting.length > 0) {
    const words = `changed, but only in force after a restart: ${waiting.join(', ')}`;
    yield finding('weak', 'restart', words, 'restart it, for example with systemctl restart dotstub');
  }
  for (const each of certificates) yield* certificate(each);
  for (const words of unwritten) yield finding('weak', 'unwritten', words);
  for (const words of unserved) yield finding('weak', 'unserved', words);
  if (sharedCache?.at === 'off') {
    const words = `answers are not shared with other replicas: the store is not used (${sharedCache.why})`;
    yield finding(
      'note',
      'shared_cache',
      words,
      'is it running, and is cache.shared.url right? it is tried again by itself',
    );
  }
  for (const words of unfilled) yield finding('weak', 'unfilled', words, 'check firewall_sets, and "nft list ruleset"');
  for (const each of local?.files ?? []) yield* localFile(each);
}

/** The certificate that a listener shows. */
function* certificate({ path, validity, startsMs, endsMs, leftMs, refused }: CertificateOverview): Iterable<Finding> {
  if (refused !== undefined) {
    const words = `a new certificate for clients is not used, and the one before is in force: ${refused}`;
    yield finding('weak', 'certificate_refused', words, 'correct the files: they are read as soon as they change');
  }
  const renew = 'renew it: a new one comes into force by itself';
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  switch (validity) {
    case 'ends_soon': {
      const words = `the certificate for clients (${path}) ends in ${durationText(leftMs / 1000)}`;
      yield finding('weak', 'certificate_dates', words, renew);
      break;
    }
    case 'expired': {
      const words = `the certificate for clients (${path}) has expired on ${day(endsMs)}: those that check it refuse it`;
      yield finding('weak', 'certificate_dates', words, renew);
      break;
    }
    case 'early': {
      const words = `the certificate for clients (${path}) is not valid before ${day(startsMs)}`;
      yield finding('weak', 'certificate_dates', words, 'is the clock of this machine right? "date" shows it');
      break;
    }
    case 'valid':
  }
}

/** A file with names of the local network. */
function* localFile({ path, error, problems, firstProblem, readMs }: LocalFileOverview): Iterable<Finding> {
  if (error !== undefined) {
    const before = readMs === undefined ? 'its names are not known' : 'what it had before counts';
    const words = `${path} cannot be read (${error}), and ${before}`;
    yield finding('weak', 'local_file', words, 'it is read as soon as it can be; or correct local.hosts, local.leases');
  }
  if (firstProblem === undefined) return;
  const count = problems === 1 ? 'a line' : `${problems} lines`;
  yield finding('note', 'local_lines', `${count} of ${path} cannot be used: ${firstProblem}`, 'all other lines count');
}

/** The servers, each once. */
const namesOf = (rows: readonly AddressRow[]): string =>
  [...new Set(rows.map(({ server: { label } }) => label))].join(', ');
