/*
 * Postern's demo page: two SockJS sessions over one chosen transport. /chat shows each message to every
 * tab; /echo answers each message and so measures the way there and back.
 *
 * Only the tab that is looked at measures: over HTTP each session holds one of the six connections that a
 * browser keeps per host, and three tabs with two sessions each would leave none for sending.
 */
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const now = () => performance.now();

  const ALL = ['websocket', 'xhr-streaming', 'xhr-polling'];
  const TITLES = {
    websocket: 'WebSocket',
    'xhr-streaming': 'HTTP streaming',
    'xhr-polling': 'long polling',
  };
  const SAMPLES = 40;
  const LOG_LINES = 300;

  // --- one session that comes back by itself -----------------------------------------------------

  /* The server's herd is spared: the wait doubles to 8 s and half of it is random. */
  function waitBefore(attempt) {
    const most = Math.min(8000, 500 * 2 ** attempt);
    return most / 2 + Math.random() * most / 2;
  }

  /*
   * `on` has opened(transport, ms), message(text), closed(code, reason, waitMs or null).
   * Every open() starts a new epoch; what an older socket still reports is not heard.
   */
  class Line {
    constructor(path, on) {
      this.path = path;
      this.on = on;
      this.epoch = 0;
      this.attempt = 0;
      this.socket = null;
      this.timer = 0;
    }

    get isOpen() {
      return this.socket !== null && this.socket.readyState === SockJS.OPEN;
    }

    open(transports) {
      this.close();
      const epoch = this.epoch;
      const began = now();
      const socket = new SockJS(this.path, null, { transports });
      this.socket = socket;
      socket.onopen = () => {
        if (epoch !== this.epoch) return;
        this.attempt = 0;
        this.on.opened(socket.transport, now() - began);
      };
      socket.onmessage = (event) => {
        if (epoch === this.epoch) this.on.message(event.data);
      };
      socket.onclose = (event) => {
        if (epoch !== this.epoch) return;
        this.socket = null;
        const wait = waitBefore(this.attempt++);
        this.timer = setTimeout(() => this.open(transports), wait);
        this.on.closed(event.code, event.reason, wait);
      };
    }

    close() {
      this.epoch++;
      clearTimeout(this.timer);
      if (this.socket !== null) this.socket.close();
      this.socket = null;
    }

    send(text) {
      if (!this.isOpen) return false;
      this.socket.send(text);
      return true;
    }
  }

  // --- what the page shows -----------------------------------------------------------------------

  const WORDS = { connecting: 'Connecting', open: 'Connected', closed: 'Disconnected' };

  function showState(state, detail) {
    $('state').dataset.state = state;
    $('state').textContent = WORDS[state];
    $('detail').textContent = detail;
    $('send').disabled = state !== 'open';
  }

  /* Adds a line and keeps the end in sight, unless the reader has scrolled back. */
  function addLine(item) {
    const log = $('log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(item);
    while (log.children.length > LOG_LINES) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  function addNote(text) {
    const item = document.createElement('li');
    item.className = 'note';
    item.textContent = text;
    addLine(item);
  }

  function addMessage(message, mine) {
    const item = document.createElement('li');
    item.className = mine ? 'said mine pending' : 'said';
    const who = document.createElement('small');
    who.textContent = mine ? 'You' : message.who;
    item.append(who, message.text);
    addLine(item);
    return item;
  }

  const ms = (value) => (value < 9.95 ? value.toFixed(1) : value.toFixed(0));

  function drawMeter(samples, echoes) {
    $('echoes').textContent = String(echoes);
    if (samples.length === 0) {
      $('rtt').textContent = $('median').textContent = $('worst').textContent = '\u2013';
      $('spark').firstElementChild.setAttribute('points', '');
      return;
    }
    const sorted = samples.slice().sort((a, b) => a - b);
    const worst = sorted[sorted.length - 1];
    $('rtt').textContent = ms(samples[samples.length - 1]);
    $('median').textContent = ms(sorted[sorted.length >> 1]) + ' ms';
    $('worst').textContent = ms(worst) + ' ms';
    const left = SAMPLES - samples.length;
    const points = samples.map((value, i) =>
      `${(left + i) * 240 / (SAMPLES - 1)},${(53 - 50 * value / Math.max(worst, 2)).toFixed(1)}`);
    $('spark').firstElementChild.setAttribute('points', points.join(' '));
  }

  function pulse() {
    const path = $('path');
    path.classList.remove('pulse');
    void path.offsetWidth; // restarts the animation
    path.classList.add('pulse');
  }

  // --- chat ----------------------------------------------------------------------------------------

  const self = Math.random().toString(36).slice(2);
  const pending = new Map(); // id of a message of ours -> its line, until it has come back
  let nextId = 0;

  const chat = new Line('/chat', {
    opened(transport, took) {
      const title = TITLES[transport] || transport;
      showState('open', `over ${title}, in ${ms(took)} ms`);
      $('state').dataset.transport = transport;
      addNote(`Connected over ${title}`);
    },
    message(text) {
      let message = null;
      try {
        message = JSON.parse(text);
      } catch (error) {
        // Another program's plain text: shown as it is.
      }
      if (message === null || typeof message !== 'object' || typeof message.text !== 'string') {
        addMessage({ who: 'Handler', text }, false);
      } else if (message.from !== self) {
        addMessage({ who: String(message.who || 'Somebody'), text: message.text }, false);
      } else if (pending.has(message.id)) {
        pending.get(message.id).classList.remove('pending');
        pending.delete(message.id);
      }
    },
    closed(code, reason, wait) {
      const why = reason ? `${code}: ${reason}` : String(code);
      showState('closed', `again in ${Math.ceil(wait / 1000)} s`);
      addNote(`Connection closed (${why})`);
      setTimeout(() => {
        if (!chat.isOpen && chat.socket !== null) showState('connecting', '');
      }, wait + 50);
    },
  });

  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = $('text').value.trim();
    if (text === '') return;
    const message = { from: self, id: nextId++, who: $('name').value.trim() || 'Somebody', text };
    if (!chat.send(JSON.stringify(message))) return;
    pending.set(message.id, addMessage(message, true));
    $('text').value = '';
    $('log').scrollTop = $('log').scrollHeight;
  });

  // --- the meter -----------------------------------------------------------------------------------

  let samples = [];
  let echoes = 0;
  let sentAt = new Map(); // number of a probe -> when it left
  let nextProbe = 0;

  function probe() {
    if (sentAt.size > 8) sentAt.clear(); // they were lost with their session
    const number = String(nextProbe++);
    if (echo.send(number)) sentAt.set(number, now());
  }

  const echo = new Line('/echo', {
    opened: probe,
    message(text) {
      if (!sentAt.has(text)) return;
      samples.push(now() - sentAt.get(text));
      sentAt.delete(text);
      echoes++;
      samples = samples.slice(-SAMPLES);
      drawMeter(samples, echoes);
      pulse();
    },
    closed() {
      sentAt.clear();
    },
  });
  setInterval(probe, 1000);

  // --- the choice of transport -----------------------------------------------------------------------

  let wanted = true; // the visitor wants to be connected

  function chosen() {
    const value = document.querySelector('input[name=transport]:checked').value;
    return value === 'auto' ? ALL : [value];
  }

  function measure() {
    if (wanted && !document.hidden) echo.open(chosen());
    else echo.close();
  }

  function connect() {
    wanted = true;
    $('toggle').textContent = 'Disconnect';
    samples = [];
    sentAt = new Map();
    drawMeter(samples, echoes);
    showState('connecting', '');
    chat.open(chosen());
    measure();
  }

  function disconnect() {
    wanted = false;
    $('toggle').textContent = 'Connect';
    chat.close();
    measure();
    showState('closed', '');
    addNote('You disconnected');
  }

  $('transports').addEventListener('change', connect);
  $('toggle').addEventListener('click', () => (wanted ? disconnect() : connect()));
  document.addEventListener('visibilitychange', measure);

  const NAMES = ['Archer', 'Baker', 'Carter', 'Falconer', 'Fletcher', 'Mason', 'Miller', 'Porter',
    'Smith', 'Thatcher', 'Weaver', 'Wright'];
  $('name').value = NAMES[Math.floor(Math.random() * NAMES.length)];
  connect();
})();
