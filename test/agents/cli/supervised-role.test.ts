import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ReadyInfo, type RoleEvents, SupervisedRole } from '../../../agents/cli/supervised-role.js'

/** A role that obeys its first argument. */
const ROLE = `
const [how, last] = process.argv.slice(2)
if (how === 'fail') { process.send({ failed: { message: 'port 1 is taken' } }, () => process.exit(1)) }
else if (how === 'crash') process.exit(7)
else {
  process.on('message', (m) => {
    if (m.stop && how !== 'deaf') process.exit(0)
    if (m.answer) process.send({ stats: { answered: m.answer.body ?? -1 } })
  })
  process.on('SIGTERM', () => process.exit(0))
  console.log('a line')
  process.send({ ready: { pid: process.pid, last: last ?? 'none', url: 'u' } })
  if (how === 'ask') process.send({ ask: { id: 1, what: 'scale', body: { workers: 3 } } })
}`

interface Watch {
  readonly events: RoleEvents
  /** What happened, in words. */
  readonly seen: string[]
  on(what: 'back' | 'stats' | 'left'): Promise<unknown>
}

function watch(): Watch {
  const waiting = new Map<string, (value: unknown) => void>()
  const seen: string[] = []
  const events: RoleEvents = {
    log: (_name, line) => seen.push(line),
    died: (name, how) => seen.push(`${name} died: ${how}`),
    back: (_name, ready) => waiting.get('back')?.(ready),
    left: (name) => waiting.get('left')?.(seen.push(`${name} left`)),
    stats: (_name, stats) => waiting.get('stats')?.(stats),
    ask: async (_name, _what, body) => (body as { workers: number }).workers * 2,
  }
  return { events, seen, on: (what) => new Promise((resolve) => waiting.set(what, resolve)) }
}

function role(t: Test, how: string) {
  const script = join(t.testdir({ 'role.mjs': ROLE }), 'role.mjs')
  const { events, seen, on } = watch()
  const args = (last: ReadyInfo | undefined) => [how, ...(last ? [String(last.url)] : [])]
  const supervised = new SupervisedRole({ name: 'role-1', args }, script, events)
  t.teardown(() => supervised.stop(100))
  return { supervised, seen, on }
}

const alive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('a role that is ready says where it is, and ends when it is asked to', async (t) => {
  const { supervised, seen } = role(t, 'good')
  const { pid } = await supervised.start()
  t.ok(alive(pid))
  t.ok(supervised.running)
  await supervised.stop(5000)
  t.notOk(alive(pid))
  t.notOk(
    seen.some((event) => /died|left/.test(event)),
    'an end that was asked for is no event',
  )
})

t.test('a role that does not listen is killed after the limit', async (t) => {
  const { supervised } = role(t, 'deaf')
  const { pid } = await supervised.start()
  await supervised.stop(50)
  t.notOk(alive(pid))
})

t.test('a role that cannot start is reported in its own words', async (t) => {
  await t.rejects(role(t, 'fail').supervised.start(), { message: 'role-1: port 1 is taken' })
  await t.rejects(role(t, 'crash').supervised.start(), {
    message: /role-1: ended with exit code 7 before it was ready/,
  })
})

t.test('a role that is killed comes back a second later with what it had', async (t) => {
  const { supervised, seen, on } = role(t, 'good')
  const { pid } = await supervised.start()
  const back = on('back')
  process.kill(pid, 'SIGKILL')
  const ready = (await back) as ReadyInfo
  t.not(ready.pid, pid)
  t.equal(ready.last, 'u', 'the restarted one is given what the first one reported')
  t.ok(seen.includes('role-1 died: signal SIGKILL'))
})

t.test('a role that ended in good order by itself stays away', async (t) => {
  const { supervised, seen, on } = role(t, 'good')
  const { pid } = await supervised.start()
  const left = on('left')
  process.kill(pid, 'SIGTERM')
  await left
  t.ok(seen.includes('role-1 left'))
  t.notOk(supervised.running)
})

t.test('a role can ask its supervisor and gets the answer', async (t) => {
  const { supervised, on } = role(t, 'ask')
  const stats = on('stats')
  await supervised.start()
  t.same(await stats, { answered: 6 })
})

t.test('kill ends it this instant, and whoever waits for its end hears of it', async (t) => {
  const { supervised, seen } = role(t, 'deaf')
  const { pid } = await supervised.start()
  const stopped = supervised.stop(60_000)
  supervised.kill()
  await stopped
  t.notOk(alive(pid))
  t.notOk(seen.some((event) => /died|left/.test(event)))
})

t.test('a role that was stopped before it started stays so', async (t) => {
  const { supervised } = role(t, 'good')
  await supervised.stop(50)
  await t.rejects(supervised.start(), { message: /role-1 was stopped before it started/ })
})
