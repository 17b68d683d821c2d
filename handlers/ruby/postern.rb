# frozen_string_literal: true

# postern: the Ruby handler library, one file without gems (Ruby 2.7 or later). Wire: handlers/PROTOCOL.md.
#
#   handler = Postern::Handler.new('/run/postern/handlers.sock')
#   handler.on(:message) { |session, data| session.send(data) }
#   handler.run
#
# One thread does all: it reads what has come, calls the blocks in order, and writes all that they have sent, to
# whichever session, with the acknowledgement in one BATCH: both take effect or neither. So a block that takes long holds
# up all sessions. Sessions belong to the thread of run; from another one say handler.call { session.send('news') }. Only
# call, stop and drain may be used in any thread, and in signal traps too.
#
# When the link ends its sessions are forgotten here (they live on at the gateway and come back with :open and resumed),
# and run connects again after 50 ms to 1 s, for ever. Above 1 MiB that the gateway has not taken nothing more is read
# and nothing called.
require 'json'
require 'socket'

module Postern
  LINE_MAX_BYTES = 1024
  REASON_MAX_BYTES = 123
  STATE_MAX_BYTES = 4096
  ACK_BYTES = 32 # more than an ACK frame, kept free in every batch
  READ_BYTES = 256 * 1024
  UNSENT_PAUSE_BYTES = 1024 * 1024
  RETRY_FIRST_S = 0.05
  RETRY_MAX_S = 1.0
  WELCOME_TIMEOUT_S = 10.0
  LAST_WORDS_TIMEOUT_S = 1.0

  def self.frame(head, payload = '')
    "#{head} #{payload.bytesize}\n".b << payload.b << "\n"
  end

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Why there is no link any more; with a code where the gateway is told, too.
  class LinkEnded < StandardError
    attr_reader :code

    def initialize(why, code = nil)
      super(why)
      @code = code
    end
  end

  # Cuts what a socket delivers into frames, however it is split.
  class Reader
    attr_accessor :max_frame

    def initialize(max_frame)
      @max_frame = max_frame
      @buffer = String.new(encoding: Encoding::BINARY)
      @at = 0
      @need = 1 # a large frame is looked at again when it is whole
    end

    def feed(chunk)
      @buffer = @buffer.byteslice(@at..) if @at.positive?
      @at = 0
      @buffer << chunk
    end

    # [words without the length, payload] of the next frame, nil until it is whole.
    def next
      size = @buffer.bytesize
      return if size - @at < @need

      lf = @buffer.index("\n", @at)
      fail_with("a frame's first line is too long") if (lf || size) - @at >= LINE_MAX_BYTES
      return unless lf

      *words, digits = @buffer.byteslice(@at, lf - @at).split(' ', -1)
      unless !words.empty? && digits.match?(/\A\d{1,15}\z/) && digits.to_i <= @max_frame
        fail_with("a frame's length is missing or over max_frame")
      end
      last = lf + 1 + digits.to_i
      if last >= size
        @need = last + 1 - @at
        return
      end
      fail_with('a payload is not followed by a line feed') if @buffer.getbyte(last) != 10
      @at = last + 1
      @need = 1
      [words, @buffer.byteslice(lf + 1, last - lf - 1)]
    end

    private

    def fail_with(why)
      raise LinkEnded.new(why, 'bad-frame')
    end
  end

  # One client, as seen over one link. `data` is yours. What sends returns false when the session has ended, and raises
  # ArgumentError on what the protocol does not allow.
  class Session
    attr_reader :id, :mount, :path, :query, :dialect, :transport, :remote, :origin, :subprotocol, :headers,
                :subprotocols, :saved_state # what state() had left, elsewhere; nil if nothing
    attr_accessor :data, :sequence, :is_open, :is_paused, :is_again, :resumed
    # sequence: of the message being delivered, the same on every link. again? of that message: a link that had it
    # before has died with it.
    alias open? is_open
    alias paused? is_paused
    alias again? is_again
    alias resumed? resumed

    def initialize(link, handle, info)
      @link = link
      @handle = handle
      %w[id mount path query dialect transport remote origin subprotocol].each do |name|
        instance_variable_set("@#{name}", info.fetch(name, ''))
      end
      @headers = info.fetch('headers', {})
      @subprotocols = info.fetch('subprotocols', [])
      @resumed = info.fetch('resumed', false)
      @saved_state = info['state']&.unpack1('m')
      @sequence = 0
      @is_again = @is_paused = @is_decided = false
      @is_open = true
    end

    # One message: a String is text, and binary where its encoding is (ASCII-8BIT).
    def send(data)
      is_text = data.encoding != Encoding::BINARY
      payload = is_text ? Session.utf8(data) : data
      max_frame = @link.reader.max_frame
      raise ArgumentError, "a message is larger than max_frame (#{max_frame})" if payload.bytesize > max_frame

      put("MSG #{@handle} #{is_text ? 't' : 'b'}", payload)
    end

    # Ends the client's session; no :message follows, but :close does.
    def kick(code = 1000, reason = '')
      finish('KICK', code, reason)
    end

    # Turns a waiting client away.
    def reject(code = 3000, reason = '')
      finish('REJECT', code, reason)
    end

    # Lets a waiting client in; the subprotocol is one that it offered, else the gateway turns it away.
    def accept(subprotocol = '')
      unless subprotocol.match?(/\A[!#$%&'*+\-.^_`|~0-9A-Za-z]*\z/)
        raise ArgumentError, 'a subprotocol is a token of HTTP'
      end
      return false if @is_decided

      @is_decided = true
      put("ACCEPT #{@handle}", subprotocol)
    end

    # Leaves up to 4,096 bytes with the gateway for whichever handler takes the session over.
    def state(data)
      raise ArgumentError, 'a state has at most 4096 bytes' if data.bytesize > STATE_MAX_BYTES

      put("STATE #{@handle}", data)
    end

    def self.utf8(text)
      text = text.encode(Encoding::UTF_8)
      raise ArgumentError, 'a text is not valid in its encoding' unless text.valid_encoding?

      text
    end

    private

    def finish(verb, code, reason)
      reason = Session.utf8(reason)
      raise ArgumentError, 'a close code is 1000 or 3000 to 4999' unless code == 1000 || (3000..4999).cover?(code)
      raise ArgumentError, 'a reason has at most 123 bytes' if reason.bytesize > REASON_MAX_BYTES

      is_put = put("#{verb} #{@handle} #{code}", reason)
      @is_open = false
      @is_decided = true
      is_put
    end

    def put(head, payload)
      @link.unit << Postern.frame(head, payload) if @is_open
      @is_open
    end
  end

  # One connection to the gateway: handles and delivery numbers die with it.
  class Link
    attr_reader :reader, :sessions, :unit

    def initialize(handler)
      @handler = handler
      @reader = Reader.new(handler.options[:max_frame])
      @socket = Socket.new(:UNIX, :STREAM)
      @sessions = {} # by handle
      @is_up = @has_drained = false
      @n_taken = @n_finished = @n_acked = 0 # numbers of deliveries
      @unit = [] # frames of the block that is running
      @batch = String.new(encoding: Encoding::BINARY) # frames of those before it
      @n_frames = 0 # of the batch
      @unsent = String.new(encoding: Encoding::BINARY)
    end

    def up?
      @is_up
    end

    # One turn after the other, until LinkEnded or SystemCallError.
    def serve(path, hello)
      @socket.connect_nonblock(Socket.sockaddr_un(path))
      @unsent << Postern.frame('HELLO 1', JSON.generate(hello))
      deadline = Postern.now + WELCOME_TIMEOUT_S
      loop do
        is_behind = work
        flush
        raise LinkEnded, 'stopped' if @handler.stopped?

        is_due = room? && (is_behind || @handler.calls?)
        left = if is_due then 0
               elsif !@is_up then [deadline - Postern.now, 0].max
               end
        if @handler.wait(left, room? && !is_behind ? @socket : nil, @unsent.empty? ? nil : @socket)
          read
        elsif left&.zero? && !is_due
          raise LinkEnded, 'no WELCOME'
        end
      end
    end

    # Says why where the gateway is at fault, sends what has finished, and forgets the sessions.
    def finish_with(error)
      @sessions.each_value { |session| session.is_open = false }
      @sessions.clear
      if error.is_a?(LinkEnded)
        close_batch
        @unsent << Postern.frame("ERROR #{error.code}", error.message) if error.code
        give_up_at = Postern.now + LAST_WORDS_TIMEOUT_S
        write until @unsent.empty? || !@socket.wait_writable([give_up_at - Postern.now, 0].max)
      end
    rescue SystemCallError
      nil # the gateway is gone
    ensure
      @socket.close
    end

    private

    def room?
      @unsent.bytesize <= UNSENT_PAUSE_BYTES
    end

    # Does what there is to do while what is unsent leaves room. True: there is more.
    def work
      while room?
        words, payload = @reader.next
        if words.nil?
          @handler.run_calls
          return false
        end
        take(words, payload)
      end
      true
    rescue JSON::ParserError, ArgumentError, TypeError, KeyError, NoMethodError => e
      raise LinkEnded.new("a frame of the gateway does not keep to the protocol: #{e.message}", 'bad-frame')
    end

    # Adds the unit to the batch, whole where it fits. One too large for a batch spreads over several, and its number is
    # acknowledged in the last.
    def finish(number)
      room = @reader.max_frame - ACK_BYTES
      close_batch if @batch.bytesize + @unit.sum(&:bytesize) > room
      @unit.each do |one|
        close_batch if @batch.bytesize + one.bytesize > room
        if one.bytesize > room
          @unsent << one
        else
          @batch << one
          @n_frames += 1
        end
        one.clear # frees it now and not when garbage is collected
      end
      @unit.clear
      @n_finished = number
    end

    def close_batch
      if @n_finished > @n_acked
        @batch << Postern.frame("ACK #{@n_finished}")
        @n_frames += 1
        @n_acked = @n_finished
      end
      @unsent << "BATCH #{@batch.bytesize}\n" if @n_frames > 1
      @unsent << @batch
      @unsent << "\n" if @n_frames > 1
      @batch.clear
      @n_frames = 0
    end

    def flush
      finish(@n_finished) # what was sent outside of deliveries
      close_batch
      if @handler.draining? && @is_up && !@has_drained
        @has_drained = true
        @unsent << Postern.frame('DRAIN')
      end
      write unless @unsent.empty?
    end

    def write
      n_written = @socket.write_nonblock(@unsent, exception: false)
      return if n_written == :wait_writable

      n_written == @unsent.bytesize ? @unsent.clear : @unsent = @unsent.byteslice(n_written..)
    end

    def read
      chunk = @socket.read_nonblock(READ_BYTES, exception: false)
      return if chunk == :wait_readable
      raise LinkEnded, 'the gateway has closed the link' unless chunk

      @reader.feed(chunk)
    end

    def take(words, payload)
      verb, *args = words
      if !@is_up && verb != 'WELCOME' && verb != 'ERROR'
        raise LinkEnded.new('the first frame is not WELCOME', 'bad-verb')
      end

      case verb
      when 'OPEN', 'MSG', 'CLOSE', 'MOVED' then take_delivery(verb, args, payload)
      when 'WELCOME'
        @is_up = true
        @reader.max_frame = [@reader.max_frame, JSON.parse(payload)['max_frame']].compact.min
        @handler.tell(:link)
      when 'PING' then @unsent << Postern.frame('PONG', payload)
      when 'PAUSE', 'RESUME' then take_pause(verb == 'PAUSE', @sessions[Integer(args[0], 10)])
      when 'DRAIN' then @handler.tell(:drain)
      when 'ERROR' then raise LinkEnded, "the gateway says #{args.join(' ')}: #{payload}"
      end # else: a later version's verb
    end

    def take_pause(is_paused, session)
      return unless session

      session.is_paused = is_paused
      @handler.tell(is_paused ? :pause : :resume, session)
    end

    def take_delivery(verb, args, payload)
      number, handle = args.first(2).map { |word| Integer(word, 10) }
      if number != @n_taken + 1
        raise LinkEnded.new("a delivery's number does not follow the one before", 'bad-verb')
      end
      if (verb == 'OPEN') == @sessions.key?(handle)
        raise LinkEnded.new('OPEN for a handle in use, or a delivery for one that is not open', 'bad-handle')
      end

      @n_taken = number
      session = verb == 'OPEN' ? Session.new(self, handle, JSON.parse(payload)) : @sessions[handle]
      case verb
      when 'OPEN'
        @sessions[handle] = session
        @handler.tell(:open, session)
        session.accept if @handler.options[:auto_accept]
      when 'MSG' then take_message(session, args, payload)
      when 'CLOSE'
        @sessions.delete(handle)
        session.is_open = false
        @handler.tell(:close, session, Integer(args[2], 10), payload.force_encoding(Encoding::UTF_8))
      else
        @handler.tell(:moved, session) # has the last word: what it sends or leaves as state still counts
        session.is_open = false
        @sessions.delete(handle)
      end
      finish(number)
    end

    def take_message(session, args, payload)
      session.sequence = Integer(args[2], 10)
      session.is_again = args[4] == 'again'
      payload.force_encoding(Encoding::UTF_8) if args[3] == 't'
      @handler.tell(:message, session, payload) if session.open?
    end
  end

  # Connects to the gateway, and again whenever the link ends, until stop.
  class Handler
    EVENTS = %i[open message close moved pause resume link unlink drain error].freeze

    attr_reader :options

    # path: of the gateway's handler socket. options: app, client, mounts, token, max_frame, auto_accept.
    def initialize(path, **options)
      @path = path
      @options = { app: 'app', client: 'ruby/0.1', max_frame: 1_048_576, auto_accept: true, **options }
      @blocks = EVENTS.to_h { |event| [event, []] }
      @link = nil
      @is_stopped = @is_draining = false
      @calls = Queue.new
      @bell, @alarm = IO.pipe # what is written to the one wakes the loop by the other
    end

    # Events: open(session), message(session, data), close(session, code, reason), moved(session), pause(session),
    # resume(session), link, unlink(why), drain, error(error, session). A block that fails is reported to :error, else
    # on stderr; its delivery counts as finished, for it would only fail again.
    def on(event, &block)
      @blocks.fetch(event) << block
      self
    end

    # Those that are open now.
    def sessions
      @link ? @link.sessions.values.select(&:open?) : []
    end

    # Serves until stop.
    def run
      delay = RETRY_FIRST_S
      until stopped?
        delay = run_link ? RETRY_FIRST_S : [delay * 2, RETRY_MAX_S].min
        again_at = Postern.now + delay
        until stopped? || (left = again_at - Postern.now) <= 0
          wait(left)
          run_calls
        end
      end
    ensure
      @is_stopped = @is_draining = false
    end

    # Ends run once what has finished is sent. The sessions live on at the gateway.
    def stop
      @is_stopped = true
      wake
    end

    # Before a planned end: no new sessions come, and those that are here go on at another handler where there is one,
    # each when it has nothing in flight (:moved). Also on later links, until stop.
    def drain
      @is_draining = true
      wake
    end

    # Runs the block in the thread of run, soon.
    def call(&block)
      @calls << block
      wake
    end

    # -- for the link ------------------------------------------------------------------------------

    def stopped?
      @is_stopped
    end

    def draining?
      @is_draining
    end

    # True when the socket can be read; not after so many seconds, nor when woken or it can be written.
    def wait(seconds, reading = nil, writing = nil)
      ready, = IO.select([@bell, reading].compact, [writing].compact, nil, seconds)
      @bell.read_nonblock(4096, exception: false) if ready&.include?(@bell)
      !reading.nil? && !ready.nil? && ready.include?(reading)
    end

    def calls?
      !@calls.empty?
    end

    def run_calls
      @calls.size.times { guard(nil, @calls.pop) }
    end

    def tell(event, *args)
      @blocks[event].each { |block| guard(event, block, *args) }
    end

    private

    def wake
      @alarm.write_nonblock('!', exception: false) # where it is full the loop is awake as it is
    end

    # True: the gateway had said WELCOME.
    def run_link
      link = @link = Link.new(self)
      begin
        link.serve(@path, @options.reject { |key, value| key == :auto_accept || value.nil? }.merge(features: ['batch']))
      rescue LinkEnded, SystemCallError, EOFError => e
        error = e
      ensure
        @link = nil
        link.finish_with(error)
      end
      tell(:unlink, error.message)
      link.up?
    end

    def guard(event, block, *args)
      block.call(*args)
    rescue StandardError => e
      if event == :error || @blocks[:error].empty?
        warn("postern: #{e.full_message(highlight: false)}")
      else
        tell(:error, e, args.first.is_a?(Session) ? args.first : nil)
      end
    end
  end
end
