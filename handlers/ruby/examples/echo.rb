# echo: sends every message back. Usage: ruby echo.rb SOCKET
require_relative '../postern'

handler = Postern::Handler.new(ARGV.fetch(0), app: 'echo')
handler.on(:message) { |session, data| session.send(data) }
handler.on(:unlink) { |why| warn "echo: #{why}" }
handler.run
