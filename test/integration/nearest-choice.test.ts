/** The device SDK measures: of three gateways behind 5, 40 and 120 ms it takes the nearest, every time. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { connect } from '../../agents/device/mod.js'
import { DelayingProxy } from './delaying-proxy.js'
import { eventually, type Product, startProduct } from './product.js'

const DELAYS = [5, 40, 120]
/** 50 for the size that issue 7 measures. */
const ROUNDS = Number(process.env.SLUICE_ROUNDS ?? 8)

let product: Product
let proxies: DelayingProxy[]
let bootstrap: Server

/** The coordinator's answer, with the proxies' addresses instead of the gateways'. */
async function throughProxies(search: string): Promise<string> {
  const answer = await (await fetch(`${product.coordinator}/v1/nearest${search}`)).text()
  let through = answer
  for (const [i, { http }] of product.gateways.entries())
    through = through.replaceAll(`:${new URL(http).port}`, `:${proxies[i]?.port}`)
  return through
}

t.before(async () => {
  product = await startProduct('--gateways', '3', '--workers', '1')
  proxies = await Promise.all(
    product.gateways.map(({ http }, i) => DelayingProxy.start(Number(new URL(http).port), DELAYS[i] as number)),
  )
  bootstrap = createServer((request, response) => {
    const { search } = new URL(request.url ?? '', 'http://bootstrap')
    void throughProxies(search).then((body) => response.end(body))
  }).listen(0, '127.0.0.1')
  await once(bootstrap, 'listening')
})

t.teardown(async () => {
  bootstrap.close()
  bootstrap.closeAllConnections()
  for (const proxy of proxies) proxy.close()
  await product.stop()
})

const join = (device: string) =>
  connect({ bootstrap: `http://127.0.0.1:${(bootstrap.address() as AddressInfo).port}`, device })

t.test('the nearest gateway is chosen every time, and the next nearest while that one drains', async (t) => {
  const [near, middle] = product.gateways
  const chosen: string[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const device = await join(`chooser-${i}`)
    chosen.push(device.gateway)
    device.close()
  }
  t.same(chosen, Array(ROUNDS).fill(near?.id))
  const stays = await join('stays')
  await product.post(`/v1/gateways/${near?.id}/drain`, { windowMs: 100 })
  await eventually('the device that was there moves to the next nearest', 5000, async () => {
    return stays.state === 'connected' && stays.gateway === middle?.id ? true : undefined
  })
  t.equal(Buffer.from(await stays.request('still there')).toString(), 'still there')
  for (let i = 0; i < 3; i++) {
    const device = await join(`late-${i}`)
    t.equal(device.gateway, middle?.id)
    device.close()
  }
  stays.close()
})
