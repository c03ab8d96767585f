/** A process with nothing in it but its heap, as a gateway's begins: prints how large its young generation is, step by step. */

import { Session } from 'node:inspector/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { getHeapSpaceStatistics } from 'node:v8'
import { shapeYoungGeneration, tendYoungGeneration } from '../../gateway/heap.js'

const DEADLINE_MS = 20_000

function youngSize(): number {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0
}

function sizeBesideSurvivors(): number {
  const alive = Array.from({ length: 400_000 }, (_, i) => ({ i, text: `${i}` }))
  return alive.length > 0 ? youngSize() : 0
}

/** What V8 does by itself when a process was idle for some seconds, at once. */
async function makeSmall(): Promise<number> {
  const inspector = new Session()
  inspector.connect()
  await inspector.post('HeapProfiler.collectGarbage')
  inspector.disconnect()
  return youngSize()
}

async function workUntil(done: () => boolean): Promise<void> {
  const end = performance.now() + DEADLINE_MS
  while (!done() && performance.now() < end) {
    const busy = performance.now() + 2
    while (performance.now() < busy);
    await turn()
  }
}

shapeYoungGeneration()
const shaped = youngSize()
const kept = sizeBesideSurvivors()
const idle = await makeSmall()
tendYoungGeneration(5)
await workUntil(() => youngSize() >= shaped)
const working = youngSize()
console.log(JSON.stringify({ shaped, kept, idle, working, keptAgain: sizeBesideSurvivors() }))
