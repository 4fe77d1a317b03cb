// The steps of "dotstub install" and of its undoing, as lists that depend on the system.

import { join } from 'node:path';

import { INSTALLED_CONFIG } from '../config/load.js';
import { givingWay, pointing, pointingBack, type PointingFacts, type Tree, wayBack } from './resolv-conf.js';
import type { Step } from './steps.js';

/** Facts about the system. */
export interface System extends PointingFacts {
  /** The program as the service starts it: Node.js and its script. */
  readonly program: readonly string[];
}

/** The options of the command. */
export interface Wishes {
  /** Whether the system uses it as its resolver. */
  readonly dns: boolean;
  /** Whether programs ask it themselves, also where systemd-resolved would ask it for them. */
  readonly direct?: boolean;
}

const UNITS = '/etc/systemd/system';
/** Where a package of the distribution has its units. */
const PACKAGED_SERVICE = '/usr/lib/systemd/system/dotstub.service';
/** The units, which are in systemd/ here. */
export const UNIT_FILES = ['dotstub.service', 'dotstub.socket', 'dotstub-tls.socket', 'dotstub-https.socket'] as const;
type UnitFile = (typeof UNIT_FILES)[number];
/** Those that every installation starts. The others are for an administrator to enable. */
const STARTED: readonly UnitFile[] = ['dotstub.socket', 'dotstub.service'];
/** What systemd makes when a unit is enabled. */
const linkOf = (name: UnitFile): string =>
  join(UNITS, name.endsWith('.socket') ? 'sockets.target.wants' : 'multi-user.target.wants', name);

/** What is written there, unless there is one. */
export const FIRST_CONFIG = `# dotstub's configuration; "dotstub check-config ${INSTALLED_CONFIG}" checks it, "systemctl reload dotstub" takes it over.
# As it is: the resolvers that the network gives, over TLS where they speak it, else in cleartext. With servers of your
# choice, nothing leaves in cleartext:
#
# upstream:
#   servers:
#     - name: dns.quad9.net
#       addresses: [9.9.9.9, 149.112.112.112, "2620:fe::fe"]
preset: laptop
`;

/** A unit that starts a program: Node.js and its script. */
export const unitFor = (text: string, program: readonly string[]): string =>
  text.replaceAll('/usr/bin/env dotstub', program.join(' '));

/** Whether the units are those of a package that this program came with: they are dpkg's then, and not ours. */
export const hasPackagedUnits = (tree: Tree, program: readonly string[]): boolean =>
  startsIt(tree.text(PACKAGED_SERVICE) ?? '', program);

const startsIt = (unit: string, program: readonly string[]): boolean =>
  unit.includes(`ExecStart=${program.join(' ')} `);

/** Installs and starts it, and makes the system use it. */
export function installSteps(system: System, { dns, direct = false }: Wishes): Step[] {
  const { running, program, packaged, tree } = system;
  const units = hasPackagedUnits(tree, program) ? [] : UNIT_FILES;
  const hidden = hiddenUnits(system);
  const isEnabled = (name: UnitFile): boolean => tree.exists(linkOf(name));
  return [
    ...(dns ? givingWay(system) : []),
    ...(running ? [{ does: 'free', why: 'it has to be for dotstub' } as const] : []),
    { does: 'write', path: INSTALLED_CONFIG, text: FIRST_CONFIG, why: 'a configuration to begin with', keep: true },
    { does: 'check', path: INSTALLED_CONFIG, why: 'the service would not start with errors in it' },
    ...replacing(hidden),
    ...units.map((name): Step => ({
      does: 'write',
      path: join(UNITS, name),
      text: unitFor(packaged(`systemd/${name}`), program),
      why: 'what systemd has to know',
    })),
    ...starting(system, hidden.filter(isEnabled)),
    ...(running ? [{ does: 'ask', why: 'it has to answer before anybody depends on it' } as const] : []),
    ...(dns
      ? [
          ...(running ? [{ does: 'prove', why: 'there has to be a way out, too' } as const] : []),
          ...pointing(system, direct),
          ...(running ? [{ does: 'resolve', why: 'they have to find names from now on' } as const] : []),
        ]
      : []),
  ];
}

/**
 * Units that an installation from npm or from the archive has written would hide those of the package, and go on to start
 * the program of before. Units of an administrator start this one, and stay.
 */
function hiddenUnits({ tree, program }: System): readonly UnitFile[] {
  const [service] = UNIT_FILES;
  const hiding = tree.text(join(UNITS, service));
  if (!hasPackagedUnits(tree, program) || hiding === undefined || startsIt(hiding, program)) return [];
  return UNIT_FILES.filter(name => tree.exists(join(UNITS, name)));
}

function replacing(hidden: readonly UnitFile[]): Step[] {
  if (hidden.length === 0) return [];
  return [
    {
      does: 'run',
      command: ['systemctl', 'disable', ...hidden],
      why: 'units of an earlier installation hide those of the package',
      links: UNIT_FILES.map(linkOf),
    },
    ...hidden.map((name): Step => ({ does: 'remove', path: join(UNITS, name), why: 'that of the package counts' })),
  ];
}

/** @param before units that were enabled, and that a package replaces */
function starting({ running }: System, before: readonly UnitFile[]): Step[] {
  const units = [...new Set([...STARTED, ...before])];
  const enable: Step = {
    does: 'run',
    command: ['systemctl', 'enable', ...units],
    why: 'starts it with the system',
    links: units.map(linkOf),
  };
  if (!running) return [enable];
  return [
    { does: 'run', command: ['systemctl', 'daemon-reload'], why: 'systemd reads it', undo: 'again' },
    enable,
    {
      does: 'run',
      // One that runs already takes the new units over.
      command: ['systemctl', 'restart', ...units],
      why: 'starts it now',
      starts: units,
    },
  ];
}

/** What is taken back. */
export interface Undoing {
  readonly running: boolean;
  /** The program as the service starts it. */
  readonly program: readonly string[];
  /** Whether the service stays, and only the resolver of the system is what it was before. */
  readonly keepService?: boolean;
}

/** Removes it; configuration and state stay, and so do units of a package. Empty: nothing of it is here. */
export function uninstallSteps(tree: Tree, { running, program, keepService = false }: Undoing): Step[] {
  const written = keepService ? [] : [...UNIT_FILES].reverse().filter(name => tree.exists(join(UNITS, name)));
  const isPackaged =
    !keepService && hasPackagedUnits(tree, program) && UNIT_FILES.some(name => tree.exists(linkOf(name)));
  const units = isPackaged ? [...UNIT_FILES].reverse() : written;
  const reload: Step = { does: 'run', command: ['systemctl', 'daemon-reload'], why: 'systemd reads it' };
  const stop: Step = {
    does: 'run',
    command: ['systemctl', 'disable', ...(running ? ['--now'] : []), ...units],
    why: 'stops it',
  };
  return [
    ...pointingBack(tree, running),
    ...(units.length === 0 ? [] : [stop]),
    ...written.map((name): Step => ({ does: 'remove', path: join(UNITS, name), why: 'systemd forgets it' })),
    ...(running && written.length > 0 ? [reload] : []),
    ...wayBack(tree, running),
  ];
}
