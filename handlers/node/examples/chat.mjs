// chat: one room. Every text goes to all who are here; who comes and goes is told. Usage: node chat.mjs SOCKET
import { Handler } from '../postern.mjs';

const handler = new Handler({ path: process.argv[2], app: 'chat' });

function tell(text) {
  for (const session of handler.sessions) session.send(text);
}

handler
  .on('open', (session) => {
    // A resumed session has been here all the time; only its handler is new.
    if (!session.resumed) tell(`* ${session.id} has joined`);
  })
  .on('message', (session, data) => {
    if (typeof data === 'string') tell(data);
  })
  .on('close', (session) => tell(`* ${session.id} has left`))
  .on('unlink', (why) => console.error(`chat: ${why}`))
  .start();

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => handler.stop());
