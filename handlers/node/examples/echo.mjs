// echo: sends every message back. Usage: node echo.mjs SOCKET
import { Handler } from '../postern.mjs';

new Handler({ path: process.argv[2], app: 'echo' })
  .on('message', (session, data) => {
    session.send(data);
  })
  .on('unlink', (why) => console.error(`echo: ${why}`))
  .start();
