import { NameHash } from '../src/policy/lists/name-hash.js';
import { lowerCased, nameFromText } from '../src/wire/name.js';
const h = new NameHash({first: 5, second: 9});
const names = Array.from({ length: 10_000 }, (_, i) => lowerCased(nameFromText(`www.host${i}.fresh.example`)!));
for (let r = 0; r < 6; r++) { const t = process.cpuUsage(); let s = 0; for (let i = 0; i < 1e6; i++) { h.read(0, names[i % 10000]!); s += h.first[1]!; } const c = process.cpuUsage(t); console.log(((c.user+c.system)/1e3).toFixed(0), 'ns hash', s & 1); }
