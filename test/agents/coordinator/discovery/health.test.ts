import fc from 'fast-check'
import t from 'tap'
import { DEFAULT_HEALTH, Health } from '../../../../agents/coordinator/discovery/health.js'

t.test('the first check decides alone', async (t) => {
  const well = new Health(DEFAULT_HEALTH)
  t.equal(well.state, 'unknown')
  well.passed()
  t.equal(well.state, 'healthy')
  const ill = new Health(DEFAULT_HEALTH)
  ill.failed()
  t.equal(ill.state, 'unhealthy')
})

t.test(
  'later, so many checks in a row change the state, and one that says otherwise starts the count again',
  async (t) => {
    const health = new Health({ healthy: 3, unhealthy: 2 })
    health.passed()
    health.failed()
    t.same([health.state, health.inDoubt], ['healthy', true])
    health.passed()
    t.same([health.state, health.inDoubt], ['healthy', false])
    health.failed()
    health.failed()
    t.same([health.state, health.inDoubt], ['unhealthy', false])
    health.passed()
    health.passed()
    health.failed()
    health.passed()
    health.passed()
    t.equal(health.state, 'unhealthy')
    health.passed()
    t.equal(health.state, 'healthy')
  },
)

t.test('a worker that is not trusted any more has to pass as many checks as one that failed', async (t) => {
  const health = new Health({ healthy: 2, unhealthy: 2 })
  health.passed()
  health.distrust()
  health.passed()
  t.equal(health.state, 'unhealthy')
  health.passed()
  t.equal(health.state, 'healthy')
})

t.test('whatever comes, the state is what the last run that was long enough says', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 4 }),
      (checks, healthy, unhealthy) => {
        const health = new Health({ healthy, unhealthy })
        for (const passed of checks) passed ? health.passed() : health.failed()
        let expected = checks[0]
        let run = 0
        for (const [i, passed] of checks.entries()) {
          run = i > 0 && checks[i - 1] === passed ? run + 1 : 1
          if (run >= (passed ? healthy : unhealthy)) expected = passed
        }
        return health.state === (expected ? 'healthy' : 'unhealthy')
      },
    ),
  )
})
