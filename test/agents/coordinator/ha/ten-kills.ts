/**
 * Kills the leader of three coordinators again and again while routes are written, and counts: how long until writes are
 * taken again, and acknowledged writes that the history does not have.
 *
 *     node dist/test/agents/coordinator/ha/ten-kills.js [KILLS]
 */

import { NatsServer } from '../../../gateway/fanout/nats-server.js'
import { inStep, killLeader, lostWrites, startCoordinators, until, Writer } from './coordinators.js'

const kills = Number(process.argv[2] ?? 10)
const nats = await NatsServer.start()
const coordinators = await startCoordinators(nats, 3)
const writer = new Writer(coordinators)
const times: number[] = []
const lost = new Set<string>()
try {
  await until(async () => writer.acknowledged[5], 'writes')
  for (let i = 1; i <= kills; i++) {
    const from = Math.max(0, writer.acknowledged.length - 100)
    const { killed, tookMs } = await killLeader(coordinators, writer)
    const survivors = coordinators.filter((coordinator) => coordinator !== killed)
    await inStep(survivors)
    for (const { url } of survivors) for (const name of await lostWrites(url, writer, from)) lost.add(name)
    times.push(tookMs)
    console.log(`kill ${i}: ${killed.id}, writes taken again after ${Math.round(tookMs)} ms, lost so far: ${lost.size}`)
    await killed.start()
  }
} finally {
  await writer.stop()
  await Promise.all(coordinators.map((coordinator) => coordinator.kill()))
  await nats.remove()
}
const written = writer.acknowledged.length
console.log(
  `${kills} kills, ${written} acknowledged writes, ${lost.size} lost, longest ${Math.round(Math.max(...times))} ms`,
)
process.exitCode = lost.size > 0 || Math.max(...times) > 3000 ? 1 : 0
