/**
 * The device SDK, for Node and browsers: `import { connect } from 'sluice/device'`. docs/devices.md tells how to use it.
 */

import { SluiceError } from '../../proto/errors.js'
import type { Device } from './device.js'
import { DeviceClient } from './device-client.js'
import { checkOptions, type DeviceOptions } from './options.js'
import { systemPlatform } from './platform.js'

export { SluiceError } from '../../proto/errors.js'
export type { Location } from './candidates.js'
export type { Device } from './device.js'
export type {
  DeviceEvents,
  DeviceLimits,
  DeviceMessage,
  DeviceOptions,
  DeviceState,
  RequestOptions,
  SendOptions,
} from './options.js'
export type { DeviceSocket, Platform } from './platform.js'
export type { OnMessage } from './subscriptions.js'

/**
 * Connects to the nearest gateway that has room and stays connected until {@link Device.close}.
 * @throws SluiceError `bad_request` for wrong options; `unauthorized`, `forbidden` and their like when the gateway says so;
 * `unavailable` when there was no connection within `timeoutMs`
 */
export async function connect(options: DeviceOptions): Promise<Device> {
  const bootstrap = checkOptions(options)
  const platform = options.platform ?? (await systemPlatform())
  const client = new DeviceClient(options, bootstrap, platform)
  const timeoutMs = options.timeoutMs ?? 30_000
  return new Promise((resolve, reject) => {
    const cancel = platform.after(timeoutMs, () => {
      const why = client.lastError?.message ?? 'no gateway answered'
      client.close()
      reject(new SluiceError('unavailable', `no connection within ${timeoutMs} ms: ${why}`))
    })
    void client.run((error) => {
      cancel()
      if (error === undefined) resolve(client)
      else reject(error)
    })
  })
}
