/** Every malformed routes file against a coordinator in its own process, over HTTP: refused, and nothing has changed. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MALFORMED } from './malformed-routes.js'

const MAIN = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
const GOOD = 'pools: { a: {} }\nroutes: [{ name: all, to: [{ pool: a }] }]\n'

let child: ChildProcess
let url = ''
let before: unknown

t.before(async () => {
  child = spawn(process.execPath, [MAIN, 'coordinator', '--port', '0', '--json', '--data', t.testdir({})], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
  ;({ url } = JSON.parse(String(line)))
  t.equal((await send('PUT', '/v1/routes', GOOD)).status, 200)
  before = await state()
})

t.teardown(async () => {
  child.kill('SIGINT')
  await once(child, 'exit')
})

interface Answer {
  status: number
  body: { error?: { code: string; message: string; path?: string }; errors?: { path: string }[] }
}

async function send(method: string, path: string, body: string | Uint8Array<ArrayBuffer>, type = 'application/yaml') {
  const answer = await fetch(new URL(path, url), { method, body, headers: { 'content-type': type } })
  return { status: answer.status, body: (await answer.json()) as Answer['body'] }
}

async function state(): Promise<unknown> {
  const read = async (path: string) => (await fetch(new URL(path, url))).json() as Promise<Record<string, unknown>>
  const [routes, status, history] = await Promise.all(['/v1/routes', '/v1/status', '/v1/routes/history'].map(read))
  return { routes, version: status?.version, history }
}

for (const [name, text, at, says] of MALFORMED) {
  t.test(`refused over HTTP, with nothing changed: ${name}`, async (t) => {
    const put = await send('PUT', '/v1/routes?message=no', text)
    t.match(put, { status: 400, body: { error: { code: 'invalid_routes', path: /./ } } })
    if (!text.startsWith('# xx')) {
      const plan = await send('POST', '/v1/routes/plan', JSON.stringify(text), 'application/json')
      t.equal(plan.status, 200)
      t.equal(plan.body.errors?.[0]?.path, put.body.error?.path, 'plan and apply name the same place')
      t.ok(plan.body.errors?.some(({ path }) => at.endsWith(` ${path}`)))
      t.match(put.body.error?.message, says)
    }
    t.same(await state(), before)
  })
}

const BYTES: readonly (readonly [string, Uint8Array<ArrayBuffer>])[] = [
  ['bytes that are no UTF-8', Uint8Array.from([...Buffer.from(GOOD), 0x23, 0xff, 0xc3, 0x28])],
  ['UTF-16', Uint8Array.from(Buffer.from(`\ufeff${GOOD}`, 'utf16le'))],
  ['zeros', new Uint8Array(1000)],
  ['5 MB', new Uint8Array(5_000_000).fill(0x23)],
]
for (const [name, bytes] of BYTES) {
  t.test(`refused over HTTP, with nothing changed: ${name}`, async (t) => {
    t.match(await send('PUT', '/v1/routes', bytes), {
      status: 400,
      body: { error: { code: 'invalid_routes', path: '$' } },
    })
    t.same(await state(), before)
  })
}

t.test('after all of that the coordinator takes a file that holds', async (t) => {
  t.ok(MALFORMED.length >= 100)
  t.equal(child.exitCode, null)
  t.equal((await send('PUT', '/v1/routes', GOOD.replaceAll('a:', 'b:').replace('pool: a', 'pool: b'))).status, 200)
})
