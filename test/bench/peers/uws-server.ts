/** uWebSockets.js by itself: `/` echoes, `/sub` subscribes, `/pub` publishes. What is left when Sluice is taken away. */

import { loadUws } from '../../../gateway/edge/server/uws-server.js'

const uws = await loadUws()
const app = uws.App()
const TOPIC = 'bench'
const behaviour = { compression: uws.DISABLED, idleTimeout: 120, maxBackpressure: 16 * 1024 * 1024 }
app.ws('/*', { ...behaviour, message: (ws, message) => void ws.send(message, true) })
app.ws('/sub', { ...behaviour, open: (ws) => void ws.subscribe(TOPIC) })
app.ws('/pub', { ...behaviour, message: (_ws, message) => void app.publish(TOPIC, message, true) })
app.listen('127.0.0.1', Number(process.argv[2]), (token) => {
  if (!token) throw new Error(`port ${process.argv[2]} is taken`)
})
