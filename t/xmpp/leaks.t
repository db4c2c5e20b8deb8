# A connection that has ended is freed, with its parser, however it ended: a bridge may have to connect again for days.

use lib 't/lib';
use Testing      qw(Prosody);
use Scalar::Util qw(weaken);

require AnyEvent;
require EventSource::XS::XMPP::Connection;

my $prosody = Testing::Prosody->start;
my %AS      = (Client => {$prosody->as_client, tls => 1}, Component => {$prosody->as_component});

for my $kind (sort keys %AS) {
    for my $case (['closed', {}], ['refused', {password => 'wrong'}], ['not made', {port => 1}]) {
        my ($name, $other) = @$case;
        my $done       = AnyEvent->condvar;
        my $end        = sub { $done->send };
        my $class      = "EventSource::XS::XMPP::Connection::$kind";
        my %option     = (%{$AS{$kind}}, %$other, max_stanza => 65_536, on_ready => $end, on_end => $end);
        my $connection = $class->open(%option);
        weaken(my $parser = $connection->{parser});
        $done->recv;
        $connection->close;
        weaken $connection;
        my $turn = AnyEvent->condvar;
        AnyEvent::postpone(sub { $turn->send });
        $turn->recv;
        ok !$connection, "a connection of a $kind that was $name is freed";
        ok !$parser,     'and so is its parser';
    }
}

done_testing;
