/** Types of postern.mjs; what the calls do is said there. */

export interface HandlerOptions {
  /** The gateway's handler socket. */
  path: string;
  /** This handler's name in the gateway's log; default "app". */
  app?: string;
  /** Software and version; default "node/0.1". */
  client?: string;
  /** Mount paths to serve; default all. */
  mounts?: string[];
  /** Where the gateway's config asks for one. */
  token?: string;
  /** Largest message either way, in bytes; the gateway may lower it; default 1048576. */
  maxFrame?: number;
  /** Accept each session when its 'open' callbacks have finished, unless they rejected it; default true. */
  autoAccept?: boolean;
}

export class Session {
  /** Public id: safe to log, the same on every link. */
  readonly id: string;
  readonly mount: string;
  readonly path: string;
  readonly query: string;
  readonly dialect: string;
  readonly transport: string;
  readonly remote: string;
  readonly origin: string;
  /** WebSocket subprotocols that the client offered, its favourite first; [] when resumed. */
  readonly subprotocols: readonly string[];
  /** The one that the mount's config chose; '' for none. */
  readonly subprotocol: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Another link had this session before: the client must not be greeted again. */
  readonly resumed: boolean;
  /** What state() had left, at another handler or on an earlier link, when the session was opened here. */
  readonly savedState: Buffer | null;
  /** The session's own number of the message being delivered; the same on every link. */
  readonly sequence: number;
  /**
   * Another link had that message before, and died before it was finished. Its handler may have done everything but
   * what it would have sent: that was dropped.
   */
  readonly isAgain: boolean;
  readonly isOpen: boolean;
  /** The client takes less than is sent. */
  readonly isPaused: boolean;

  /** A string goes as text, bytes as binary. False: the session has ended. Throws RangeError over maxFrame. */
  send(data: string | Uint8Array): boolean;
  /** `code` is 1000 (default) or 3000 to 4999, `reason` at most 123 bytes; else RangeError. */
  kick(code?: number, reason?: string): boolean;
  /** Turns a waiting client away. Default code 3000. */
  reject(code?: number, reason?: string): boolean;
  /**
   * Lets a waiting client in. `subprotocol`: one of those offered, instead of the config's choice; only a raw
   * WebSocket of a mount with `accept: "handler"` waits for it. RangeError: no token of HTTP.
   */
  accept(subprotocol?: string): boolean;
  /** At most 4096 bytes, for savedState of whichever handler takes the session over; the last ones count. */
  state(data: string | Uint8Array): boolean;

  /** Properties of your own. */
  [property: string]: unknown;
}

type Result = void | unknown | Promise<unknown>;

export interface HandlerEvents {
  open: (session: Session) => Result;
  message: (session: Session, data: string | Buffer) => Result;
  close: (session: Session, code: number, reason: string) => Result;
  /** After drain(): the session goes on at another handler. What is sent in here is the last that counts. */
  moved: (session: Session) => Result;
  pause: (session: Session) => Result;
  resume: (session: Session) => Result;
  link: () => Result;
  unlink: (why: string) => Result;
  drain: () => Result;
  error: (error: unknown, session?: Session) => Result;
}

export class Handler {
  constructor(options: HandlerOptions);
  on<E extends keyof HandlerEvents>(event: E, callback: HandlerEvents[E]): this;
  off<E extends keyof HandlerEvents>(event: E, callback: HandlerEvents[E]): this;
  readonly sessions: Session[];
  start(): this;
  /** No new sessions; those that are here move to another handler where there is one. */
  drain(): void;
  stop(): void;
}
