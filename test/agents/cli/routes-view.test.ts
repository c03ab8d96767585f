import t from 'tap'
import { renderHistory, renderPlan, renderProblem, renderRollout } from '../../../agents/cli/routes-view.js'

t.test('a plan shows what moves, pool by pool and worker by worker', async (t) => {
  const perWorker = [
    { id: 'w1', before: 10, after: 7 },
    { id: 'w2', before: 0, after: 3 },
  ]
  const text = renderPlan(
    { version: 9, errors: [], pools: { a: { slotsMoved: 4096, sessionsMoved: 3, perWorker } } },
    80,
  )
  t.match(text, /^It would become table 9 and move 3 sessions\.\n {2}a: 4096 slots, 3 sessions\n/)
  t.match(text, /a\s+w1\s+10\s+7\s+-3\n/)
  t.match(text, /a\s+w2\s+0\s+3\s+\+3$/)
})

t.test('a mistake in a routes file is shown as compilers do, with file, line and column', async (t) => {
  const mistake = { path: 'routes[0].to', line: 3, column: 5, message: 'is missing' }
  t.equal(renderProblem(mistake, 'r.yaml'), 'r.yaml:3:5 routes[0].to: is missing')
  t.equal(renderProblem({ path: '$', message: 'is empty' }, 'r.yaml'), 'r.yaml the file is empty')
})

t.test('a rollout says how far it is, or why it went back', async (t) => {
  const view = { version: 7, stage: 2, stages: 3, gateways: ['g1', 'g2'], startedAt: 'noon', bakeMs: 30_000 }
  t.equal(
    renderRollout({ ...view, state: 'running' }),
    'Stage 2 of 3 runs: table 7, since noon, on g1, g2; each stage is watched for 30 s.',
  )
  t.match(renderRollout({ ...view, state: 'withdrawn', reason: 'g2 refused' }), /went back: g2 refused/)
  t.match(renderRollout({ ...view, state: 'done' }), /every gateway has its routes, as table 7/)
  t.equal(renderRollout(null), 'No rollout was started yet.')
})

t.test('the history shows why, where somebody said it', async (t) => {
  const when = '2026-11-22T19:00:09.123Z'
  const text = renderHistory(
    [
      { version: 1, who: 'coordinator', when, what: 'default routes' },
      { version: 8, who: 'ann@ops', when, what: 'applied', message: 'a tenth to v2' },
    ],
    80,
  )
  const lines = text.split('\n')
  t.match(lines[1], /1 {2}2026-11-22T19:00:09Z {2}coordinator {2}default routes/)
  t.match(lines[2], /ann@ops\s+a tenth to v2/)
})
