/** Imported before anything else, for its effect: a gateway's heap gets its shape while the first modules load. */

import { shapeYoungGeneration } from '../../gateway/heap.js'

if (process.argv[2] === 'gateway') shapeYoungGeneration()
