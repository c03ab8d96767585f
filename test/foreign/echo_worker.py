"""An echo worker in another language, written from docs/link-protocol.md alone.

    pip install msgpack websockets
    python3 echo_worker.py http://127.0.0.1:7000 --pool default
"""

import argparse, asyncio, os, struct, uuid
import msgpack, websockets

HELLO, ATTACH, ATTACHED, REFUSED, DETACH, DETACHED, CLOSE, FRAME, ACK, PUBLISH, PING, PONG, LOAD = range(1, 14)
MAX_RECORD = 9 * 1024 * 1024


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, pos):
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
        shift += 7


def read_frame(data):
    """The fields of a sluice.v1.Frame by number; the last one wins, as Protobuf wants it."""
    fields, pos = {}, 0
    while pos < len(data):
        tag, pos = read_varint(data, pos)
        if tag & 7 == 0:
            fields[tag >> 3], pos = read_varint(data, pos)
        elif tag & 7 == 2:
            length, pos = read_varint(data, pos)
            fields.setdefault(tag >> 3, [])
            fields[tag >> 3] = fields[tag >> 3] + [data[pos:pos + length]] if tag >> 3 == 6 else data[pos:pos + length]
            pos += length
        else:
            raise ValueError('a frame that cannot be read')
    return fields


class Link:
    """One gateway. Frames are processed as they come, so there is never anything to wait for on DETACH."""

    def __init__(self, worker, reader, writer):
        self.worker, self.reader, self.writer, self.bindings = worker, reader, writer, {}

    def send(self, kind, binding, body):
        self.writer.write(struct.pack('<IBI', len(body) + 5, kind, binding) + body)

    def control(self, kind, binding, fields):
        self.send(kind, binding, msgpack.packb(fields))

    async def serve(self):
        try:
            while True:
                length, kind, binding = struct.unpack('<IBI', await self.reader.readexactly(9))
                if not 5 <= length <= MAX_RECORD:
                    raise ValueError(f'a record of {length} bytes')
                self.record(kind, binding, await self.reader.readexactly(length - 5))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self.worker.links.discard(self)
            self.writer.close()

    def record(self, kind, binding, body):
        if kind == HELLO:
            self.control(HELLO, 0, {'protocol': 1, 'id': self.worker.id, 'role': 'worker', 'pool': self.worker.pool, 'sessions': 0})
        elif kind == PING:
            self.send(PONG, 0, body)
        elif kind == ATTACH:
            self.attach(binding, msgpack.unpackb(body))
        elif kind == FRAME and binding in self.bindings:
            self.frame(binding, self.bindings[binding], read_frame(body))
        elif kind == DETACH and binding in self.bindings:
            session = self.bindings.pop(binding)
            self.control(DETACHED, binding, {'epoch': session['epoch'], 'acked': session['seen'], 'sent': session['sent']})
        elif kind == CLOSE:
            self.bindings.pop(binding, None)

    def attach(self, binding, attach):
        key = (attach['session'], attach.get('slot'))
        known = self.worker.epochs.get(key, 0)
        if attach['epoch'] <= known:
            self.control(REFUSED, binding, {'epoch': known, 'code': 'stale_epoch', 'message': f'known epoch {known}'})
            return
        self.worker.epochs[key] = attach['epoch']
        for link in self.worker.links:
            for number, session in list(link.bindings.items()):
                if session['key'] == key:
                    del link.bindings[number]
                    link.control(CLOSE, number, {'code': 'taken_over'})
        self.bindings[binding] = {'key': key, 'epoch': attach['epoch'], 'seen': attach.get('acked', 0),
                                  'sent': attach.get('sent') or 0, 'mqtt': attach['protocol'] == 'mqtt'}
        self.control(ATTACHED, binding, {'epoch': attach['epoch']})

    def frame(self, binding, session, fields):
        seq = fields.get(2, 0)
        if (seq == 0 or seq > session['seen']) and (fields.get(1, 0) == 0 or session['mqtt']):
            answer = b''
            if seq > 0:
                session['sent'] += 1
                answer += b'\x10' + varint(session['sent'])
            for tag, value in [(b'\x22', fields.get(4, b'')), (b'\x2a', fields.get(5, b''))]:
                answer += tag + varint(len(value)) + value
            for header in fields.get(6, []):
                answer += b'\x32' + varint(len(header)) + header if b'request-id' in header else b''
            self.send(FRAME, binding, answer)
        if seq > 0:
            session['seen'] = max(session['seen'], seq)
            self.send(ACK, binding, varint(session['seen']))


class Worker:
    def __init__(self, pool, id):
        self.pool, self.id, self.epochs, self.links = pool, id, {}, set()

    async def accept(self, reader, writer):
        link = Link(self, reader, writer)
        self.links.add(link)
        await link.serve()

    async def register(self, coordinator, link):
        register = {'t': 'register_worker', 'protocol': 1, 'id': self.id, 'pool': self.pool, 'link': link, 'weight': 1,
                    'pid': os.getpid(), 'incarnation': str(uuid.uuid4()), 'sessions': 0}
        async for socket in websockets.connect(coordinator.replace('http', 'ws', 1) + '/v1/control'):
            try:
                await socket.send(msgpack.packb(register))
                answer = msgpack.unpackb(await socket.recv())
                if answer['t'] == 'refused':
                    raise SystemExit(f"refused: {answer['code']}: {answer['message']}")
                print('registered', link, flush=True)
                while True:
                    await asyncio.sleep(answer['heartbeatMs'] / 1000)
                    load = sum(len(link.bindings) for link in self.links)
                    await socket.send(msgpack.packb({'t': 'worker_heartbeat', 'sessions': load, 'lagMs': 0}))
            except websockets.ConnectionClosed:
                continue


async def main():
    flags = argparse.ArgumentParser()
    flags.add_argument('coordinator')
    flags.add_argument('--pool', default='default')
    flags.add_argument('--id', default='python-' + uuid.uuid4().hex[:8])
    flags = flags.parse_args()
    worker = Worker(flags.pool, flags.id)
    server = await asyncio.start_server(worker.accept, '127.0.0.1', 0)
    await worker.register(flags.coordinator, 'tcp://127.0.0.1:%d' % server.sockets[0].getsockname()[1])


asyncio.run(main())
