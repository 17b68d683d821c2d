// The stock sockjs-client under Node, and bare WebSockets, against the conformance server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';
import WebSocket from 'ws';
import { CHOSEN_CASES, PATIENCE, TRANSPORTS, makeClient } from './lib/cases.mjs';
import { startConformance } from './lib/server.mjs';

const SockJS = createRequire(import.meta.url)('sockjs-client');

let server;
before(async () => {
  server = await startConformance();
});
after(() => server.stop());

for (const transport of TRANSPORTS) {
  for (const one of CHOSEN_CASES) {
    test(`sockjs-client in Node, ${transport}: ${one.name}`, { timeout: 60000 }, async () => {
      const client = makeClient(SockJS, server.url, { transports: [transport], timeout: PATIENCE });
      assert.deepEqual(await one.run(client), one.want);
    });
  }
}

test('sockjs-client in Node, WebSocket off: the next transport is taken', { timeout: 20000 }, async () => {
  const client = makeClient(SockJS, server.url, { transports: TRANSPORTS });
  const connection = await client.open('/disabled_websocket_echo');
  assert.equal(connection.transport, 'xhr-streaming');
  connection.send('still here');
  assert.equal(await connection.next(), 'still here');
  connection.close();
});

async function openRaw(path, headers) {
  const socket = new WebSocket(server.url.replace('http', 'ws') + path, { headers });
  await once(socket, 'open');
  return socket;
}

test('bare WebSocket: no frames of SockJS around the text', { timeout: 20000 }, async () => {
  const socket = await openRaw('/echo/websocket');
  for (const text of ['plain', '["not", "unpacked"]', '\u0000\uffff\u{1f680}', 'x'.repeat(65536)]) {
    socket.send(text);
    const [data, isBinary] = await once(socket, 'message');
    assert.equal(data.toString(), text);
    assert.equal(isBinary, false);
  }
  socket.close(1000);
  const [code] = await once(socket, 'close');
  assert.equal(code, 1000);
});

test('bare WebSocket: the code and reason of the server are in the close frame', { timeout: 20000 }, async () => {
  const socket = await openRaw('/closecode/websocket');
  socket.send('4001 enough of it');
  const [code, reason] = await once(socket, 'close');
  assert.equal(code, 4001);
  assert.equal(reason.toString(), 'enough of it');
});

test('/guarded: another origin cannot open a WebSocket', { timeout: 20000 }, async () => {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/guarded/websocket`, {
    headers: { Origin: 'http://elsewhere.example' },
  });
  const status = await new Promise((resolve) => {
    socket.on('open', () => resolve(101));
    socket.on('unexpected-response', (request, response) => resolve(response.statusCode));
  });
  socket.on('error', () => {}); // what terminate() says of a handshake that never was
  socket.terminate();
  assert.equal(status, 403);
});

test('/guarded: its own origin can', { timeout: 20000 }, async () => {
  const socket = await openRaw('/guarded/websocket', { Origin: server.url });
  socket.send('home');
  const [data] = await once(socket, 'message');
  assert.equal(data.toString(), 'home');
  socket.close();
});
