# chat: one room. Every text goes to all who are here; who comes and goes is told. Usage: ruby chat.rb SOCKET
require_relative '../postern'

handler = Postern::Handler.new(ARGV.fetch(0), app: 'chat')
tell = ->(text) { handler.sessions.each { |session| session.send(text) } }

# A resumed session has been here all the time; only its handler is new.
handler.on(:open) { |session| tell.call("* #{session.id} has joined") unless session.resumed? }
handler.on(:message) { |_session, data| tell.call(data) if data.encoding == Encoding::UTF_8 }
handler.on(:close) { |session| tell.call("* #{session.id} has left") }
handler.on(:unlink) { |why| warn "chat: #{why}" }

%w[INT TERM].each { |signal| trap(signal) { handler.stop } }
handler.run
