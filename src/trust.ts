// What the daemon puts together for validation: anchors that live, with their file; negative ones; and the commands about them.

import type { Observer } from './base/observer.js';
import type { Clock, Log } from './base/ports.js';
import { ageSec } from './base/time.js';
import type { Config } from './config/schema.js';
import { ntaCommand } from './control/nta.js';
import type { ControlCommands } from './control/server.js';
import { traceCommand } from './control/trace.js';
import { trustAnchorCommand } from './control/trust-anchor.js';
import { BUILT_IN_ANCHORS, readAnchors } from './dnssec/anchors.js';
import { isWithin, type Name, nameOf, nameText } from './dnssec/name.js';
import { negativeAnchors } from './dnssec/negative.js';
import { type Change, trustPoints, type TrustPoints } from './dnssec/rollover.js';
import { validator, type ValidatorParts } from './dnssec/validator.js';
import { stateFile } from './files.js';
import type { ResolverParts } from './pipeline/resolver.js';
import { trace } from './pipeline/trace.js';
import { upkeep } from './pipeline/upkeep.js';
import type { ValidationParts } from './pipeline/validated.js';
import type { Pool } from './upstream/pool.js';
import { nameFromText, ROOT } from './wire/name.js';

/** What it is made from. */
export interface TrustParts {
  readonly config: Config;
  readonly builtSec: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly observer: Observer;
  readonly pool: Pool;
  /** The age clock, seconds. */
  readonly nowSec: () => number;
  /** False: the kernel knows that its clock was not set by anybody; undefined: it does not tell. */
  readonly clockIsSet: () => boolean | undefined;
  readonly ttlLimits: ResolverParts['ttlLimits'];
  /** Memory for keys and proofs. */
  readonly bytes: number;
  /** Whether servers pass signatures on, as far as that was found out. */
  readonly signatures: Map<string, 'ok' | 'strips'>;
  /** What is known about these names counts no more. */
  readonly forget: (isMeant: (name: Name) => boolean) => void;
}

/** Validation, put together. */
export interface Trust {
  readonly validation: ValidationParts;
  readonly points: TrustPoints;
  readonly commands: ControlCommands;
  /** Replaces the negative trust anchors of the configuration; what is known about names that came or went is forgotten. */
  setNegative(names: readonly string[]): void;
  close(): void;
}

/** A trace is for one question: more room than that it does not need. */
const TRACE_BYTES = 1 << 18;

/** Puts it together. */
export function trust({ config, clock, log, observer, pool, nowSec, ttlLimits, ...parts }: TrustParts): Trust {
  const { dnssec } = config;
  const file = stateFile(
    config,
    'trust-anchors.json',
    log,
    'keys that a zone announces while the daemon runs are only believed after they were seen for 30 days, which start anew at each start',
  );
  const points = trustPoints(
    readAnchors(dnssec.trust_anchors.length > 0 ? dnssec.trust_anchors : BUILT_IN_ANCHORS),
    file.read(),
  );
  const negative = negativeAnchors(dnssec.negative_trust_anchors, nowSec);
  const common: Omit<ValidatorParts, 'bytes'> = {
    anchors: () => points.anchors,
    negative,
    sha1: dnssec.sha1,
    maxNsec3Iterations: dnssec.max_nsec3_iterations,
    clockNames: dnssec.ntp_names.map(name => nameOf(nameFromText(name) ?? ROOT)),
    builtSec: parts.builtSec,
    clockIsSet: parts.clockIsSet,
  };
  const made = validator({
    ...common,
    bytes: parts.bytes,
    onAnchorKeys(zone, keys, set, validated, wallSec) {
      if (made.clockIsWrong(wallSec)) return;
      const changes = points.seen(zone, keys, set, validated, wallSec);
      for (const each of changes) tell(each, log);
      file.write(points.save());
    },
  });
  const validation: ValidationParts = {
    mode: dnssec.mode,
    validator: made,
    pool,
    clock,
    log,
    observer,
    nowSec,
    signatures: parts.signatures,
  };
  const validates = dnssec.mode === 'require' || dnssec.mode === 'prefer';
  const kept = validates ? upkeep({ points, validator: made, pool, clock, nowSec }) : undefined;
  return {
    validation,
    points,
    commands: {
      'trust-anchor': trustAnchorCommand(points),
      nta: ntaCommand(
        negative,
        () => ageSec(nowSec()),
        name => {
          parts.forget(each => isWithin(each, name));
        },
      ),
      trace: traceCommand(async (name, type) =>
        trace({ pool, ttlLimits, nowSec, validation }, validator({ ...common, bytes: TRACE_BYTES }), name, type),
      ),
    },
    setNegative(names) {
      for (const name of negative.configure(names)) parts.forget(each => isWithin(each, name));
    },
    close: () => kept?.close(),
  };
}

/** What an operator should know of a key. */
function tell({ zone, key: { key, state, untilSec } }: Change, log: Log): void {
  const about = { zone: nameText(zone), key_tag: key.tag, state };
  const name = `key ${key.tag} of ${about.zone}`;
  switch (state) {
    case 'pending':
      return log.info(
        about,
        `${name} is new: a trust anchor from ${new Date(untilSec * 1000).toISOString().slice(0, 10)} on, if the zone goes on showing it (RFC 5011)`,
      );
    case 'valid':
      return log.info(about, `${name} is a trust anchor`);
    case 'missing':
      return log.warn(about, `${name}, a trust anchor, is not shown by the zone any more`);
    case 'revoked':
      return log.warn(about, `${name} was revoked: a trust anchor no more`);
    case 'removed':
      return log.info(about, `${name}, revoked a while ago, is not looked for any more`);
  }
}
