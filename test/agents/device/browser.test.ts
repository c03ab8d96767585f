import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import { GatewayStandIn } from './gateway-stand-in.js'

/** The SDK's promise: what a page loads, minified and compressed. */
const MOST_BYTES = 15 * 1024
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)

async function bundle(t: Test): Promise<string> {
  const { outputFiles, metafile } = await build({
    // Beside this file in the build: the compiled SDK.
    entryPoints: [new URL('../../../agents/device/mod.js', import.meta.url).pathname],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'sluice',
  })
  const inputs = Object.keys(metafile.inputs)
  t.same(
    inputs.filter((input) => input.includes('node_modules')),
    [],
    'no package is in the bundle',
  )
  return outputFiles[0]?.text as string
}

t.test('the browser bundle is small and has nothing of Node in it', async (t) => {
  // esbuild itself fails on an import of node:*.
  const size = gzipSync(await bundle(t)).length
  t.ok(size < MOST_BYTES, `${size} bytes compressed, at most ${MOST_BYTES}`)
})

const skip = CHROMIUM === undefined ? 'no Chromium on this machine' : false

t.test('the SDK works in a browser, from another origin than the gateway', { skip }, async (t) => {
  const gateways = [await GatewayStandIn.start('gw-1'), await GatewayStandIn.start('gw-2')] as const
  const [near, far] = gateways
  far.delayMs = 60
  far.nearest = () => ({ gateways: [far.entry(), near.entry()] })
  const script = await bundle(t)
  const page = createServer((request, response) => {
    response.setHeader('content-type', request.url === '/sdk.js' ? 'text/javascript' : 'text/html')
    response.end(request.url === '/sdk.js' ? script : '<!doctype html><script src="/sdk.js"></script>')
  })
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
  const browser = await chromium.launch({
    executablePath: CHROMIUM as string,
    args: [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  })
  t.teardown(async () => {
    await browser.close()
    page.close()
    await Promise.all(gateways.map((gateway) => gateway.close()))
  })
  const tab = await browser.newPage()
  await tab.goto(`http://127.0.0.1:${(page.address() as AddressInfo).port}/`)
  await tab.evaluate(`(async () => {
    const device = await sluice.connect({ bootstrap: ${JSON.stringify(far.http)}, device: 'browser-1', limits: { backoffFirstMs: 10 } })
    globalThis.device = device
    globalThis.got = []
    await device.subscribe('news/#', ({ topic }) => got.push(topic))
    await device.publish('news/today', 'x', { acked: true })
  })()`)
  t.equal(await tab.evaluate('device.gateway'), 'gw-1', 'the nearer one')
  t.same(await tab.evaluate('got'), ['news/today'])
  const ask = `device.request('hé').then((answer) => new TextDecoder().decode(answer))`
  t.equal(await tab.evaluate(ask), 'hé')
  near.cut()
  t.equal(await tab.evaluate(ask), 'hé', 'resumed after the connection was lost')
  t.equal(near.urls[1]?.searchParams.get('resume'), await tab.evaluate('device.session'))
})
