# probe: what tests/wire/sdk_test.py asks of every library; handlers/python/test/probe.py says what.
# Usage: ruby probe.rb SOCKET
require_relative '../postern'

handler = Postern::Handler.new(ARGV.fetch(0), app: 'probe')
flood = %w[a b c d e].map { |letter| letter * 300_000 }

handler.on(:open) do |session|
  case session.query
  when 'reject' then session.reject(4001, 'Sign in first')
  when 'choose' then session.accept('x.v2')
  end
end

handler.on(:message) do |session, data|
  case data
  when 'kick' then session.kick(3999, 'Go away!')
  when /\Akeep (.*)/
    session.state(Regexp.last_match(1))
    session.send('kept')
  when 'flood' then flood.each { |text| session.send(text) }
  when 'fail'
    session.send('failing')
    raise 'as asked'
  when /\Alater (.*)/
    text = Regexp.last_match(1)
    Thread.new do
      sleep 0.1
      handler.call { session.send(text) }
    end
  else
    state = session.saved_state&.force_encoding(Encoding::UTF_8) || '-'
    session.send("#{session.sequence} #{session.again? ? 'again' : 'new'} #{state} #{data}")
  end
end

handler.on(:moved) { |session| handler.stop if handler.sessions == [session] }
trap('TERM') { handler.drain }
handler.run
