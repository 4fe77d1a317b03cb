import t from 'tap';

import { compileInPlace, type ThisProcess } from '../../src/os/compiling.js';

const MIB = 1 << 20;

/** The arguments of what is started once more; undefined: nothing is. */
function startedWith(given: Partial<ThisProcess>, limitMib: number, totalMib = 4096): readonly string[] | undefined {
  const started: string[][] = [];
  const execve = (file: string, args: readonly string[]): never => {
    started.push([file, ...args]);
    throw new Error('refused');
  };
  const argv = ['node', '/opt/cli.js', 'run', '--config', 'x'];
  const constrainedMemory = (): number => limitMib * MIB;
  const self = { argv, execArgv: ['--a'], execPath: '/bin/sh', env: {}, constrainedMemory, execve, ...given };
  compileInPlace(self, totalMib * MIB);
  return started[0];
}

const AGAIN = ['/bin/sh', '/bin/sh', '--no-concurrent-recompilation', '--a', '/opt/cli.js', 'run', '--config', 'x'];

await t.test('a daemon in a small cgroup, or on a small machine, compiles in place', t => {
  t.strictSame(startedWith({}, 64), AGAIN);
  t.strictSame(startedWith({}, 0, 128), AGAIN);
  t.strictSame(startedWith({}, 2 ** 40, 128), AGAIN);
  t.end();
});

await t.test('it is started once more once only, and only where that is of use', t => {
  t.equal(startedWith({ execArgv: ['--no-concurrent-recompilation'] }, 64), undefined);
  t.equal(startedWith({ env: { LISTEN_FDS: '1' } }, 64), undefined, 'its sockets would be closed');
  t.equal(startedWith({ execPath: '/nowhere/node (deleted)' }, 64), undefined, 'Node.js would end');
  t.equal(startedWith({}, 512), undefined);
  t.equal(startedWith({}, 0), undefined);
  t.equal(startedWith({ argv: ['node', '/opt/cli.js', 'status'] }, 64), undefined);
  t.equal(startedWith({ argv: ['node', '/opt/cli.js'] }, 64), undefined);
  t.end();
});
