/** Peers that the system's package manager installs. Each runs on one thread, like the gateway beside it. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, isInstalled, PinnedProcess } from '../pinned-process.js'
import type { Contender, Cores, Running } from './contender.js'
import { startPeer } from './node-peers.js'

interface Installed {
  readonly name: string
  readonly program: string
  readonly protocol: 'ws' | 'mqtt'
  /** True for a proxy: uWebSockets.js runs behind it, on the cores of the rest. */
  readonly proxy: boolean
  /** Its configuration file, and the arguments to start it in the foreground. */
  config(port: number, behind: number, folder: string): string
  args(config: string, folder: string): string[]
}

function installed(server: Installed): Contender {
  return {
    name: server.name,
    frames: false,
    missing: () => (isInstalled(server.program) ? undefined : `${server.program} is not installed`),
    start: (cores) => start(server, cores),
  }
}

async function start(server: Installed, cores: Cores): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const behind = server.proxy ? await startPeer('uws-server', cores.rest) : undefined
  const port = await freePort()
  const config = join(folder, 'server.conf')
  await writeFile(config, server.config(port, behind?.port ?? 0, folder))
  const process = new PinnedProcess({ command: server.program, args: server.args(config, folder), cores: cores.server })
  await process.listening(port)
  const ports = server.protocol === 'ws' ? { ws: port, mqtt: 0 } : { ws: 0, mqtt: port }
  return {
    ...ports,
    pids: [process.pid],
    stop: async () => {
      await process.stop()
      await behind?.process.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export const haproxy = installed({
  name: 'HAProxy → uWS',
  program: 'haproxy',
  protocol: 'ws',
  proxy: true,
  config: (port, behind) => `global
  nbthread 1
  maxconn 5000
defaults
  mode tcp
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen bench
  bind 127.0.0.1:${port}
  server uws 127.0.0.1:${behind}
`,
  args: (config) => ['-db', '-q', '-f', config],
})

export const nginx = installed({
  name: 'nginx → uWS',
  program: 'nginx',
  protocol: 'ws',
  proxy: true,
  config: (port, behind, folder) => `daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 60000;
pid ${folder}/nginx.pid;
error_log stderr crit;
events { worker_connections 30000; }
http {
  access_log off;
  client_body_temp_path ${folder};
  proxy_temp_path ${folder};
  fastcgi_temp_path ${folder};
  uwsgi_temp_path ${folder};
  scgi_temp_path ${folder};
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://127.0.0.1:${behind};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 300s;
    }
  }
}
`,
  args: (config, folder) => ['-e', 'stderr', '-p', folder, '-c', config],
})

export const mosquitto = installed({
  name: 'Mosquitto',
  program: 'mosquitto',
  protocol: 'mqtt',
  proxy: false,
  config: (port) => `listener ${port} 127.0.0.1
allow_anonymous true
persistence false
log_dest none
set_tcp_nodelay true
max_queued_messages 100000
max_inflight_messages 1000
`,
  args: (config) => ['-c', config],
})

export const nats = installed({
  name: 'nats-server',
  program: 'nats-server',
  protocol: 'mqtt',
  proxy: false,
  // Its MQTT needs JetStream; QoS 1 is therefore durable, unlike that of the others.
  config: (port, _behind, folder) => `listen: "127.0.0.1:-1"
server_name: bench
jetstream { store_dir: "${folder}" }
mqtt { listen: "127.0.0.1:${port}" }
`,
  args: (config) => ['-c', config],
})
