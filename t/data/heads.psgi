# Answers each request with what the reader of requests finds in its head (xt/servers/heads.t): lines of a name, and of the
# bytes in hexadecimal digits. What is undefined has no line.

use Testing::Application;
use EventSource::XS::Hub::Ticket;
use EventSource::XS::Request;

# In the place of a hub: it keeps the ticket that it is to open.
package Heads::Hub {
    sub new   { return bless {name => 'shop'}, shift }
    sub _call { $_[0]{sealed} = $_[2]; return }
}

my $ticket = EventSource::XS::Hub::Ticket->of({seconds => 600, headers => ['X-Device']});

sub {
    my $env = shift;
    my $hub = Heads::Hub->new;
    $ticket->opened($hub, $env, []);
    my $preference = EventSource::XS::Request->preference($env);
    my %found      = (
        binding => $env->{'eventsource.hub.binding'},
        coding  => EventSource::XS::Request->coding($env->{HTTP_ACCEPT_ENCODING}),
        id      => EventSource::XS::Request->last_event_id($env),
        applied => $preference && $preference->{applied},
        poll    => $preference && join(' ', @{$preference->{poll}}),
        sealed  => $hub->{sealed},
    );
    utf8::encode($found{id}) if defined $found{id};
    my $text = join '', map { defined $found{$_} ? "$_ " . unpack('H*', $found{$_}) . "\n" : () } sort keys %found;
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $text], [$text]];
};
