// What every transport has to get right, written once and run in Node and in browsers. These functions are also
// sent into pages as text, so each uses nothing from outside itself but the `client` that it is given.

/**
 * A client over a SockJS constructor: promises instead of callbacks. The one function that knows SockJS.
 * open(path) resolves once open; next() is the next message; closed is { code, reason, wasClean }.
 * `options` is what SockJS takes as its third argument.
 */
export function makeClient(SockJS, base, options) {
  const open = (path) => new Promise((resolve, reject) => {
    const socket = new SockJS(base + path, null, options);
    const queue = [];
    const waiting = [];
    let opened = false;
    let tellClosed;
    const connection = {
      closed: new Promise((tell) => { tellClosed = tell; }),
      send: (text) => socket.send(text),
      close: (code, reason) => socket.close(code, reason),
      next: () => queue.length > 0
        ? Promise.resolve(queue.shift())
        : new Promise((take, fail) => { waiting.push({ take, fail }); }),
    };
    socket.onopen = () => {
      opened = true;
      connection.transport = socket.transport;
      resolve(connection);
    };
    socket.onmessage = (event) => {
      if (waiting.length > 0) waiting.shift().take(event.data);
      else queue.push(event.data);
    };
    socket.onclose = (event) => {
      const ended = `closed with ${event.code} ${event.reason}`;
      tellClosed({ code: event.code, reason: event.reason, wasClean: event.wasClean });
      for (const { fail } of waiting) fail(new Error(ended));
      if (!opened) reject(new Error(ended));
    };
  });
  return { open };
}

// Each case returns what is compared with `want`; a big value is boiled down before it leaves the page.
export const CASES = [
  {
    name: 'ASCII with everything that needs an escape',
    want: 'same',
    run: async (client) => {
      const text = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i)).join('');
      const connection = await client.open('/echo');
      connection.send(text);
      const back = await connection.next();
      connection.close();
      return back === text ? 'same' : JSON.stringify(back);
    },
  },
  {
    name: 'what URLs and forms read otherwise',
    want: 'same',
    run: async (client) => {
      const connection = await client.open('/echo');
      const texts = ['%20', '%', '100 %25', '%zz%u0041%c3%28', '+', 'a=b&d=["c"]', '?#;', ' ', '\r\n', '\n\r'];
      for (const text of [...texts, texts.join('')]) {
        connection.send(text);
        const back = await connection.next();
        if (back !== text) return `${JSON.stringify(text)} came back as ${JSON.stringify(back)}`;
      }
      connection.close();
      return 'same';
    },
  },
  {
    name: 'markup comes back as text, and nothing of it runs',
    want: { back: 'same', ran: [] },
    run: async (client) => {
      const ran = [];
      // Without a double quote, which is escaped in any JSON, and without a blank.
      const say = (what) => `top.postMessage('ran:${what}','*')`;
      const listen = ({ data }) => {
        if (String(data).startsWith('ran:')) ran.push(data);
      };
      globalThis.addEventListener?.('message', listen); // Node has none, and nothing that could run markup
      const texts = [
        `</script><script>${say('script')}</script>`, `</script><img src=x: onerror=${say('image')}>`,
        `<script>${say('inner')}</script>`, `");${say('end')};//`, `\\");${say('escape')};//`,
        `\u2028${say('line')}\u2029`, '<!--', '<!--<script>', ']]>', '-->', '&lt;&#60;', '\\u003c',
      ];
      const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
      const connection = await client.open('/echo');
      let back = 'same';
      for (const text of texts) {
        connection.send(text);
        const got = await Promise.race([connection.next(), pause(5000)]);
        if (got !== text) {
          back = `${JSON.stringify(got)} for ${text}`;
          break;
        }
      }
      await pause(50); // a posted message arrives later
      connection.close();
      return { back, ran };
    },
  },
  {
    name: 'every code point of Unicode',
    big: true,
    want: 'same',
    run: async (client) => {
      // Not /echo, whose answers end after 4 KiB: EventSource rests for 200 ms at each end.
      const connection = await client.open('/bench');
      const chunk = 32768; // the client waits between requests, so few of them; 512 KiB as jsonp sends it
      const text = (first) => {
        let made = '';
        for (let code = first; code < first + chunk; code++) {
          if (code < 0xd800 || code > 0xdfff) made += String.fromCodePoint(code);
        }
        return made;
      };
      for (let first = 0; first < 0x110000; first += chunk) {
        const sent = text(first);
        connection.send(sent);
        const back = await connection.next();
        if (back !== sent) {
          let at = 0;
          while (back[at] === sent[at]) at++;
          return `differs near U+${(sent.codePointAt(at) || 0).toString(16)}`;
        }
      }
      connection.close();
      return 'same';
    },
  },
  {
    name: 'a sample of Unicode',
    want: 'same',
    run: async (client) => {
      const text = 'h\u00e9 \u200b\u2028\u2029\ufeff\ufff0\uffff \u4e2d\u6587 \u{1f680}\u{10ffff}';
      const connection = await client.open('/echo');
      connection.send(text);
      const back = await connection.next();
      connection.close();
      return back === text ? 'same' : JSON.stringify(back);
    },
  },
  {
    name: 'a message of 64 KiB',
    want: 'same',
    run: async (client) => {
      const text = 'Postern '.repeat(8192);
      const connection = await client.open('/echo');
      connection.send(text);
      const back = await connection.next();
      connection.close();
      return back === text ? 'same' : `${back.length} characters came back`;
    },
  },
  {
    name: 'a message that grew to 256 KiB on the server',
    want: 262144,
    run: async (client) => {
      const connection = await client.open('/amplify');
      connection.send('18');
      const back = await connection.next();
      connection.close();
      return /^x*$/.test(back) ? back.length : 'other letters than x';
    },
  },
  {
    name: '500 small messages in order',
    want: 'in order',
    run: async (client) => {
      const connection = await client.open('/echo');
      for (let i = 0; i < 500; i++) connection.send(`message ${i}`);
      for (let i = 0; i < 500; i++) {
        const back = await connection.next();
        if (back !== `message ${i}`) return `${back} where message ${i} was due`;
      }
      connection.close();
      return 'in order';
    },
  },
  {
    name: 'messages both ways in turn',
    want: 'in turn',
    run: async (client) => {
      const connection = await client.open('/echo');
      for (let i = 0; i < 40; i++) {
        connection.send(String(i));
        const back = await connection.next();
        if (back !== String(i)) return `${back} where ${i} was due`;
      }
      connection.close();
      return 'in turn';
    },
  },
  {
    name: 'the server closes at once',
    want: { code: 3000, reason: 'Go away!', wasClean: true },
    run: async (client) => (await client.open('/close')).closed,
  },
  {
    name: 'the server closes with a code and a reason of its own',
    want: { code: 4123, reason: 'Gr\u00fc\u00dfe \u{1f44b}', wasClean: true },
    run: async (client) => {
      const connection = await client.open('/closecode');
      connection.send('4123 Gr\u00fc\u00dfe \u{1f44b}');
      return connection.closed;
    },
  },
  {
    name: 'the client closes',
    want: { code: 1000, reason: 'done', wasClean: true },
    run: async (client) => {
      const connection = await client.open('/echo');
      connection.send('one');
      await connection.next();
      connection.close(1000, 'done');
      return connection.closed;
    },
  },
  {
    name: 'a lone surrogate costs the character, not the connection',
    want: 'a\ufffdb',
    run: async (client) => {
      const connection = await client.open('/echo');
      connection.send('a\ud800b');
      const back = await connection.next();
      connection.close();
      return back;
    },
  },
];

export const TRANSPORTS = ['websocket', 'xhr-streaming', 'eventsource', 'xhr-polling'];

/** Those that only a page has, and that a mount without `*` in its origins does not offer. */
export const PAGE_TRANSPORTS = [
  'iframe-eventsource', 'htmlfile', 'iframe-htmlfile', 'iframe-xhr-polling', 'jsonp-polling',
];

/** Milliseconds to open. Of itself the client gives a transport as little as 300: less than a busy machine may need. */
export const PATIENCE = 10000;

/** The asan run looks for memory errors and leaves the bulk out. */
export const CHOSEN_CASES = CASES.filter((one) => !(one.big && process.env.POSTERN_E2E === 'short'));
