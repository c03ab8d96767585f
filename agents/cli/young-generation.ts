/**
 * Imported before anything else, for its effect: V8 doubles its young generation while much is allocated, as in a connect
 * storm, and gives nothing back to the system. Kept at its first size, 10,000 fresh sessions of a gateway cost half the
 * resident memory, and the relay is as fast: what a frame leaves behind is dead by the next scavenge
 * (docs/benchmarks.md, idle memory). The size is decided once, while the first modules load.
 */

import { setFlagsFromString } from 'node:v8'

if (process.argv[2] === 'gateway') setFlagsFromString('--semi-space-growth-factor=1')
