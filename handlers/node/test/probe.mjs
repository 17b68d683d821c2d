// probe: what tests/wire/sdk_test.py asks of every library; handlers/python/test/probe.py says what.
// Usage: node probe.mjs SOCKET
import { Handler } from '../postern.mjs';

const handler = new Handler({ path: process.argv[2], app: 'probe' });

handler
  .on('open', (session) => {
    if (session.query === 'reject') session.reject(4001, 'Sign in first');
    if (session.query === 'choose') session.accept('x.v2');
  })
  .on('message', (session, data) => {
    if (data === 'kick') {
      session.kick(3999, 'Go away!');
    } else if (data.startsWith('keep ')) {
      session.state(data.slice(5));
      session.send('kept');
    } else if (data === 'flood') {
      for (const letter of 'abcde') session.send(letter.repeat(300000));
    } else if (data === 'fail') {
      session.send('failing');
      throw new Error('as asked');
    } else {
      session.send(`${session.sequence} ${session.isAgain ? 'again' : 'new'} ${session.savedState ?? '-'} ${data}`);
    }
  })
  .on('moved', () => {
    if (handler.sessions.length === 1) setImmediate(() => handler.stop());
  })
  .start();

process.on('SIGTERM', () => handler.drain());
