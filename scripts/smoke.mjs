// Starts the built product on one Node binary and uses it once: `node scripts/smoke.mjs /path/to/node`.
// Checks the ready line, the status, an echo over WebSocket on every gateway, and that Ctrl-C ends all of it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { sluice } from '../dist/proto/generated/frame.js'

const { Frame } = sluice.v1
const node = process.argv[2] ?? process.execPath
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const LIMIT_MS = 30_000

const ports = ['--coordinator-port', '--gateway-port', '--mqtt-port', '--link-port'].flatMap((flag) => [flag, '0'])
const up = spawn(node, [join(root, 'dist/agents/cli/main.js'), 'up', '--json', '--devices', '0', ...ports], {
  stdio: ['ignore', 'pipe', 'inherit'],
})
const exited = once(up, 'exit')
const limit = setTimeout(() => {
  console.error(`smoke: not done after ${LIMIT_MS / 1000} s`)
  up.kill('SIGKILL')
  process.exit(1)
}, LIMIT_MS)

function check(holds, what) {
  if (!holds) throw new Error(what)
  console.log(`ok ${what}`)
}

async function echo(url) {
  const socket = new WebSocket(`${url}?device=smoke`)
  const payload = new Uint8Array([0, 1, 2, 254, 255])
  const answer = new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', (code, reason) => reject(new Error(`closed with ${code} ${reason}`)))
    socket.on('message', (data) => {
      const frame = Frame.decode(data)
      if (frame.type === 0) resolve(frame)
    })
  })
  socket.on('open', () => socket.send(Frame.encode({ type: 0, seq: 1, topic: 'smoke/echo', payload }).finish()))
  const frame = await answer
  socket.terminate()
  check(frame.topic === 'smoke/echo' && Buffer.compare(frame.payload, payload) === 0, `echo over ${url}`)
}

try {
  const line = await Promise.race([once(createInterface({ input: up.stdout }), 'line'), exited.then(() => undefined)])
  check(line !== undefined, 'up printed its ready line')
  const ready = JSON.parse(line[0])
  check(ready.gateways.length === 2 && ready.workers.length === 3, '2 gateways and 3 workers are ready')
  const status = await (await fetch(`${ready.coordinator}/v1/status`)).json()
  check(status.workers.length === 3, 'the coordinator answers /v1/status')
  for (const gateway of ready.gateways) await echo(gateway.ws)
  const asked = Date.now()
  up.kill('SIGINT')
  const [code, signal] = await exited
  check(code === 0, `Ctrl-C ends it with exit code ${signal ?? code} after ${Date.now() - asked} ms`)
  clearTimeout(limit)
} catch (error) {
  console.error(`smoke: ${error.message}`)
  up.kill('SIGTERM')
  await exited
  process.exit(1)
}
