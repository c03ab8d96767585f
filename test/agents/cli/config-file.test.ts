import { join } from 'node:path'
import { Command, Option } from 'commander'
import t, { type Test } from 'tap'
import { CliError, ExitCode } from '../../../agents/cli/cli-error.js'
import { GATEWAY_SETTINGS } from '../../../agents/cli/commands/gateway.js'
import { withConfigFlag } from '../../../agents/cli/config-flag.js'
import { integer } from '../../../agents/cli/flags.js'
import { MQTT_DEFAULTS } from '../../../gateway/edge/mqtt/options.js'

/** The options that a `gateway` command ends up with. */
async function read(t: Test, text: string, ...args: string[]): Promise<Record<string, unknown>> {
  const file = join(t.testdir({ 'sluice.yaml': text }), 'sluice.yaml')
  let seen: Record<string, unknown> = {}
  const command = new Command('gateway')
    .option('--mqtt-port <port>', '', integer(0, 65535), 1883)
    .option('--region <name>', '', 'local')
    .option('--insecure', '', false)
    .option('--discover <source...>', '')
    .addOption(new Option('--http <server>').choices(['uws', 'node']))
    .exitOverride()
  withConfigFlag(command, GATEWAY_SETTINGS).action((flags) => {
    seen = flags
  })
  await command.parseAsync(['--config', file, ...args], { from: 'user' })
  return seen
}

async function failure(t: Test, text: string): Promise<string> {
  try {
    await read(t, text)
  } catch (error) {
    if (error instanceof CliError && error.exitCode === ExitCode.USAGE)
      return error.message.replace(/^.*sluice\.yaml/, 'F')
    throw error
  }
  throw new Error('the file was expected to be refused')
}

t.test('keys of the section are flags, in either spelling; other sections are left alone', async (t) => {
  const flags = await read(
    t,
    'up: { gateways: 9 }\ngateway:\n  mqtt-port: 0\n  region: eu-1\n  insecure: true\n  http: node\n',
  )
  t.match(flags, { mqttPort: 0, region: 'eu-1', insecure: true, http: 'node' })
  t.match(await read(t, '{"gateway":{"mqttPort":1884}}'), { mqttPort: 1884, region: 'local' })
})

t.test('a flag that can be given several times is a list', async (t) => {
  t.same((await read(t, 'gateway:\n  discover: ["a:1", "b:2"]\n')).discover, ['a:1', 'b:2'])
  t.equal(await failure(t, 'gateway:\n  discover: a:1\n'), 'F:2:3 gateway.discover: must be a list of texts')
  t.equal(await failure(t, 'gateway:\n  discover: [1]\n'), 'F:2:3 gateway.discover: must be a list of texts')
})

t.test('a flag on the command line wins over the file', async (t) => {
  t.match(await read(t, 'gateway: { region: eu-1, mqttPort: 5 }', '--region', 'us-1'), { region: 'us-1', mqttPort: 5 })
})

t.test('settings that are no flags are handed on as they are', async (t) => {
  const { settings } = await read(t, 'gateway: { resumeWindowMs: 5000, mqtt: { maxKeepAlive: 60, queueQos0: true } }')
  t.same(settings, { resumeWindowMs: 5000, mqtt: { maxKeepAlive: 60, queueQos0: true } })
})

t.test('lists of records are settings too, and a mistake in one is found at its line', async (t) => {
  const { settings } = await read(t, 'gateway:\n  bridges:\n    - { name: a, rules: [{ topic: x, qos: 1 }] }\n')
  t.same(settings, { bridges: [{ name: 'a', rules: [{ topic: 'x', qos: 1 }] }] })
  const wrong = 'gateway:\n  bridges:\n    - name: a\n    - name: b\n      rules: [{ topic: x, qos: many }]\n'
  t.equal(await failure(t, wrong), 'F:5:27 gateway.bridges.1.rules.0.qos: must be a number, not "many"')
  t.match(await failure(t, 'gateway: { bridges: 5 }'), /gateway.bridges: must be a list/)
})

t.test('an empty file, and a file without the section, change nothing', async (t) => {
  t.match(await read(t, ''), { region: 'local', settings: {} })
  t.match(await read(t, 'worker: {}'), { region: 'local', settings: {} })
})

t.test('mistakes name file, line, column and key, and suggest what was meant', async (t) => {
  t.match(
    await failure(t, 'gateway:\n  regoin: eu'),
    'F:2:3 gateway.regoin: there is no such setting; did you mean region?',
  )
  t.match(await failure(t, 'gatway: {}'), 'F:1:1 gatway: there is no such setting; did you mean gateway?')
  t.match(await failure(t, 'gateway: { mqtt: { maxKeepAlve: 1 } }'), /gateway\.mqtt\.maxKeepAlve: .* maxKeepAlive\?/)
  t.match(await failure(t, 'gateway: { mqtt: { maxKeepAlive: x } }'), /maxKeepAlive: must be a number, not "x"/)
  t.match(await failure(t, 'gateway: { mqttPort: 70000 }'), /gateway\.mqttPort: .*from 0 to 65535/)
  t.match(await failure(t, 'gateway: { insecure: maybe }'), /must be true or false/)
  t.match(await failure(t, 'gateway: { http: apache }'), /must be one of uws, node/)
  t.match(await failure(t, 'gateway: [1]'), /gateway: must be a record of keys/)
  t.match(await failure(t, 'gateway: {'), /^F:1:/)
})

t.test('every MQTT option of the gateway can be set', async (t) => {
  t.same(Object.keys(GATEWAY_SETTINGS.mqtt).sort(), Object.keys(MQTT_DEFAULTS).sort())
  for (const [name, kind] of Object.entries(GATEWAY_SETTINGS.mqtt)) {
    t.equal(typeof MQTT_DEFAULTS[name as keyof typeof MQTT_DEFAULTS], kind, name)
  }
})
